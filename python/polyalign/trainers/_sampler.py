"""Drawing rows by weight, alone or in batches of like length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import BatchRebalanceSampler

__all__ = ["DrawnBatches", "WeightedSampler"]


class WeightedSampler(Sampler[int]):
    """Draws rows by weight: n in an epoch, of which a row has its share of the weights, up or down to a whole number.

    So rows of equal weight come as often, but for one draw; where all weights are equal, every row comes once. The same
    on every process, another in every epoch.

    Parameters
    ----------
    weights : array-like, shape [n]
        Not all 0.
    seed : int
        Of the draws.
    """

    def __init__(self, weights: Any, seed: int) -> None:
        self._weights = np.asarray(weights, dtype=np.float64)
        self._seed, self._epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._weights)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self._seed, self._epoch])
        # Side by side, rows of one weight share what is rounded.
        order = rng.permutation(len(self))
        order = order[np.argsort(self._weights[order], kind="stable")]
        ends = np.cumsum(self._weights[order])
        places = (np.arange(len(self)) + rng.random()) * (ends[-1] / len(self))
        drawn = order[np.searchsorted(ends, np.minimum(places, np.nextafter(ends[-1], 0)), side="right")]
        yield from rng.permutation(drawn).tolist()


class DrawnBatches(BatchRebalanceSampler):
    """The batches that transformers makes of an epoch's rows, made of those that are drawn.

    Parameters
    ----------
    rows : WeightedSampler
        What draws.
    batches : BatchRebalanceSampler
        How rows that come once each are batched.
    """

    def __init__(self, rows: WeightedSampler, batches: BatchRebalanceSampler) -> None:
        names = ("effective_batch_size", "dp_size", "grad_accum", "rank", "drop_last")
        self._settings: dict[str, Any] = {name: getattr(batches, name) for name in names}
        super().__init__(batches.lengths, **self._settings)
        self._rows = rows

    def __iter__(self) -> Iterator[list[int]]:
        self._rows.set_epoch(self.epoch)
        drawn = list(self._rows)
        lengths = [self.lengths[row] for row in drawn]
        for batch in BatchRebalanceSampler(lengths, shuffle=False, **self._settings):
            yield [drawn[at] for at in batch]
