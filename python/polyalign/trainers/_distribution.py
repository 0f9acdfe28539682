"""The distributional term in training: what samples of all processes and of earlier steps say of each other."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from polyalign._text.words import counted
from polyalign.distribution import Comparison, DistributionTerm, Measured, Pool
from polyalign.features import registry
from polyalign.trainers._logs import get_logger

__all__ = ["METRICS", "DistributionScores"]

logger = get_logger(__name__)

#: What is logged of samples: E² (the mean of their shares), its floor, and what trains.
METRICS = (
    "online_distribution",
    "online_distribution_floor",
    "online_distribution_score",
    "online_distribution_unscored",
)
_POOL = "distribution_pool.safetensors"
_FEATURES = [feature.name for feature in registry()]


class DistributionScores:
    """Scores samples by the distributional term: those of a step, of all processes, and a pool of earlier ones.

    Parameters
    ----------
    term : DistributionTerm
        What compares.
    size : int
        How many of each bucket's earlier samples are kept, the last ones; 0: none.
    """

    def __init__(self, term: DistributionTerm, size: int) -> None:
        self.term, self.pool = term, Pool(size)

    def check(self, counts: Mapping[str, int]) -> None:
        """Say which buckets have no humans, of those that train and how many pairs they have.

        Raises
        ------
        ValueError
            None has.
        """
        reasons = {}
        for bucket in counts:
            resolved = self.term.reference.resolve(bucket, min_count=self.term.min_count)
            if resolved.served_by is None:
                reasons[bucket] = resolved.reason
        if not reasons:
            return
        first = next(iter(reasons))
        told = (
            f"the distributional term has no humans for {counted(len(reasons), 'bucket')} of {len(counts):,} (first: "
            f"{first}: {reasons[first]})"
        )
        if len(reasons) == len(counts):
            raise ValueError(f"{told}: is the reference of other data? set online='critic', or give another reference")
        pairs = counted(sum(counts[bucket] for bucket in reasons), "pair")
        logger.warning(f"{told}: samples for {pairs} count for nothing in it")

    def score(
        self,
        texts: Sequence[str],
        buckets: Sequence[str],
        prompts: Sequence[Any],
        *,
        rank: int,
        processes: int,
        keep: bool,
    ) -> dict[str, Tensor]:
        """Return what is known of this process's samples, by :data:`METRICS`, shape [n] each; all processes call alike.

        With `keep` they are compared with the pool too, and join it afterwards.
        """
        own = self.term.measure(texts, buckets, prompts)
        parts = _shared(own, rank, processes)
        start = sum(len(part) for at, part in parts.items() if at < rank)
        step = Measured.joined(parts[at] for at in sorted(parts))
        found = self.term.compare(step, self.pool.of(step.buckets) if keep else None)
        if keep:
            self._warn(found)
            self.pool.add(step)
        mine = slice(start, start + len(own))
        floors = np.array([found.buckets[bucket].floor for bucket in own.buckets])
        scores = found.scores[mine]
        values = (found.shares[mine], floors, scores, np.isnan(scores))
        return {name: torch.from_numpy(each.astype(np.float32)) for name, each in zip(METRICS, values, strict=True)}

    def _warn(self, found: Comparison) -> None:
        lacking = [energy for energy in found.buckets.values() if energy.reason is not None and energy.humans]
        if lacking:
            logger.warning_once(
                f"{lacking[0].bucket}: {lacking[0].reason} in this step: samples without others count for nothing in "
                "the distributional term; larger batches or a distribution_pool make that rare "
                "(online_distribution_unscored says how rare)"
            )

    # ------------------------------------------------------------------------------------------ checkpoints

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Keep the pool in a checkpoint."""
        parts = list(self.pool.by_bucket.values())
        told = {"buckets": json.dumps(list(self.pool.by_bucket)), "features": json.dumps(_FEATURES)}
        told["with_prompts"] = json.dumps([part.with_prompts for part in parts])
        tensors: dict[str, Any] = {f"rows.{at}": np.ascontiguousarray(part.rows) for at, part in enumerate(parts)}
        tensors.update({f"prompt_ids.{at}": part.prompt_ids for at, part in enumerate(parts)})
        save_file(tensors, Path(folder) / _POOL, told)

    def load(self, folder: str | os.PathLike[str]) -> None:
        """Take the pool of a checkpoint; one that has none, or of other features, fills it anew."""
        path, size = Path(folder) / _POOL, self.pool.size
        self.pool = Pool(size)
        if not path.is_file():
            logger.warning(f"{folder} has no {_POOL}: the pool of samples is filled anew")
            return
        try:
            with safe_open(path, "numpy") as file:
                told = {name: json.loads(value) for name, value in file.metadata().items()}
                if told["features"] != _FEATURES:
                    raise ValueError("it is of other features")
                for at, (bucket, with_prompts) in enumerate(zip(told["buckets"], told["with_prompts"], strict=True)):
                    rows, ids = (file.get_tensor(f"{name}.{at}") for name in ("rows", "prompt_ids"))
                    self.pool.add(Measured(rows, [bucket] * len(rows), ids, with_prompts))
        except (SafetensorError, ValueError, KeyError, OSError) as error:
            self.pool = Pool(size)
            logger.warning(f"{path}: {error}: the pool of samples is filled anew")


def _shared(own: Measured, rank: int, processes: int) -> dict[int, Measured]:
    """Return the samples of all processes by rank; those of one rank, as of a tensor-parallel group, once."""
    if processes == 1:
        return {rank: own}
    return dict(gather_object([(rank, own)]))
