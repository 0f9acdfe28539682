"""Preference data for training: what pairs can't train left out and told, scores and weights attached."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Value

from polyalign._io import responses
from polyalign._io.manifests import check_fits
from polyalign._text.words import counted
from polyalign.buckets import BucketSchema
from polyalign.buckets._ids import checked_parts
from polyalign.buckets._schema import axis_names
from polyalign.critics import Critic, ask, check_scores
from polyalign.critics._given import schema_of
from polyalign.trainers._base import BucketTrainer
from polyalign.trainers._logs import get_logger
from polyalign.trainers._prepare import preparing
from polyalign.trainers._prepare.columns import (
    SCORES,
    MeasurePairs,
    ScorePairs,
    UnfitPair,
    WeighPairs,
    empty_response,
    no_score,
)
from polyalign.trainers._prepare.ends import ROWS, set_end
from polyalign.trainers._prepare.preparing import Skips
from polyalign.trainers._prepare.unfit import Unfit
from polyalign.trainers._processes import main_first
from polyalign.trainers._trl import extract_prompt
from polyalign.trainers.hdpo_config import HDPOConfig

if TYPE_CHECKING:
    from polyalign.reference import Reference

__all__ = ["PairPreparation"]

logger = get_logger(__name__)

#: Pairs whose responses a critic is tried on.
_TRIED = 128
_WITHOUT_TEMPLATE = "start from a model that has one (polyalign sft saves it), or put chat_template.jinja in its folder"


class PairPreparation(BucketTrainer):
    """A trainer on pairs: which of them train, how far their responses are from humans, what they weigh."""

    reference: Reference | None
    critic: Critic | None
    held_out_critic: Critic | None
    _weigher: WeighPairs | None = None
    #: Tokens; of a data set that is no stream.
    _longest_prompt = 0

    if TYPE_CHECKING:
        _tokenizer: Any

    def _prepared_dataset(
        self,
        dataset: Any,
        columns: list[str],
        skips: Skips,
        processing_class: Any,
        args: Any,
        dataset_name: str,
    ) -> Any:
        _check_columns(columns, dataset_name)
        weighs, num_proc = "weight" in columns, args.dataset_num_proc
        if args.eos_token is not None:  # with which TRL ends texts
            set_end(None, self._tokenizer, args.eos_token)
        responses = ("chosen", "rejected")
        unfit = Unfit(self._tokenizer, columns, responses, without_template=_WITHOUT_TEMPLATE)
        with main_first():
            dataset = preparing.sift(dataset, preparing.no_bucket, ["bucket"], skips)
            dataset = preparing.sift(dataset, unfit, unfit.columns, skips)
            skips.check()
            if "prompt" not in columns:
                dataset = preparing.mapped(dataset, extract_prompt, num_proc, "Extracting prompts of")
                unfit = Unfit(self._tokenizer, [*columns, "prompt"], responses, without_template=_WITHOUT_TEMPLATE)
                dataset = preparing.sift(dataset, unfit, unfit.columns, skips)
            dataset = preparing.sift(dataset, empty_response, ["chosen", "rejected"], skips)
            skips.check()
            self._check_schema(dataset)
            dataset = self._score(dataset, args, columns, dataset_name, skips)
            if dataset_name == "train" and not self._is_weighed:
                self._try_critics(dataset, args, columns)
        skips.check()
        # TRL would drop without a word.
        untouched = copy.copy(args)
        untouched.max_length = None
        dataset = self._prepared_by_trl(dataset, unfit, skips, processing_class, untouched, dataset_name)
        with main_first():
            measure = MeasurePairs(args)
            dataset = preparing.extended(dataset, measure, measure.columns, measure.types)
            lost = UnfitPair(args)
            dataset = preparing.sift_cut(dataset, args, skips, lost, lost.by_length, "pairs")
            if dataset_name == "train" and not self._is_weighed:
                for row in preparing.some_rows(dataset, ROWS, ["chosen_ids"]):
                    self._ends.add(row["chosen_ids"])
                self._count(dataset, args, weighs=weighs)
            self._register_all(dataset)
            if weighs:  # those of a data set that trains are known to be right
                dataset = preparing.sift(dataset, preparing.bad_weight, ["weight"], skips)
            elif self._weigher is not None:
                dataset = preparing.extended(
                    dataset, self._weigher, self._weigher.columns, {"weight": Value("float64")}
                )
            skips.say()
            if dataset_name == "train" and not self._is_weighed:
                self._weigh(dataset, args)
            # The critic asks for the names of a stream's buckets.
            attach = preparing.Attach(
                dict(self._bucket_ids), missing=self.weight_mean, names=preparing.is_streaming(dataset)
            )
            return self._attached(dataset, attach)

    @property
    def _humans(self) -> list[Any]:
        """What buckets are looked up in: the reference, and the critics' own, or the critics themselves."""
        found = [self.reference, *(getattr(each, "reference", each) for each in (self.critic, self.held_out_critic))]
        return [each for each in found if each is not None]

    def _check_fits(self, data: Any) -> None:
        """Raise a ValueError for a folder, by its name, whose buckets a reference or critic means otherwise."""
        for each in data.values() if isinstance(data, Mapping) else [data]:
            if isinstance(each, (str, os.PathLike)):
                check_fits(each, *self._humans)

    def _check_schema(self, dataset: Any) -> None:
        """Raise a ValueError for a bucket that is none under a reference's schema, or a critic's."""
        if dataset is None or not self._humans or self._is_prepared(dataset):
            return
        if preparing.is_streaming(dataset):
            buckets = set(self._counts_given or {})
        else:
            buckets = preparing.buckets_of(dataset) if "bucket" in dataset.column_names else set()
        for bucket in sorted(bucket for bucket in buckets if isinstance(bucket, str) and bucket):
            for each in self._humans:
                is_reference, schema = hasattr(each, "resolve"), schema_of(each)
                try:
                    if is_reference:
                        each.resolve(bucket)
                    elif schema is not None:
                        checked_parts(bucket, axis_names(schema))
                except ValueError as error:
                    what = "reference" if is_reference else f"critic {type(each).__name__}"
                    raise ValueError(f"the data set and the {what} are of different schemas: {error}") from None

    def _score(self, dataset: Any, args: HDPOConfig, columns: list[str], dataset_name: str, skips: Skips) -> Any:
        """Give every pair its scores, where a term needs them."""
        needed = args.lambda_offline > 0 or (args.beta_w > 0 and "weight" not in columns)
        missing = [name for name in SCORES if name not in columns]
        given = [name for name in SCORES if name in columns]
        if given and self.critic is not None:
            logger.warning(
                f"the {dataset_name} data set has {' and '.join(given)}: the critic does not score these"
                + (", they count as they are, without a floor" if args.critic_floor == "median" else "")
            )
        if not needed:
            return dataset
        if missing:
            if self.critic is None:
                raise ValueError(
                    f"the {dataset_name} data set has no column {missing[0]!r}: give a reference or a critic, or set "
                    "lambda_offline=0 and beta_w=0"
                )
            dataset = _batched(
                dataset, ScorePairs(self.critic, missing, args.scored_by), None, f"Scoring {dataset_name}"
            )
        if not preparing.is_streaming(dataset):
            found = [_arrays(dataset, name) for name in (*SCORES, "bucket")]
            scores, buckets = np.concatenate(found[:2]), np.concatenate([found[2], found[2]])
            check_scores(scores, buckets.tolist(), name="critic" if missing else f"columns {' and '.join(SCORES)}")
        return preparing.sift(dataset, no_score, [*SCORES, "bucket"], skips)

    def _try_critics(self, dataset: Any, args: HDPOConfig, columns: list[str]) -> None:
        """Ask the critics that will score samples about some responses: what can't be right is seen before training.

        Where all responses of the data set are scored, the critic has been asked.
        """
        scores = {*SCORES}
        is_known = (
            not preparing.is_streaming(dataset)
            and not scores <= {*columns}
            and scores <= {*preparing.columns_of(dataset)}
        )
        tried = {
            "critic": self.critic if args.samples and not is_known else None,
            "held_out_critic": self.held_out_critic,
        }
        for name, critic in tried.items():
            if critic is not None:
                _try_critic(dataset, critic, name)

    def _count(self, dataset: Any, args: HDPOConfig, *, weighs: bool) -> None:
        """Find how rare every bucket is."""
        tally = preparing.Tally()
        if not preparing.is_streaming(dataset):
            tally.add_all(dataset, weighs=weighs)
            longest = int(_arrays(dataset, "prompt_tokens").max())
            self._longest_prompt = longest if args.max_length is None else min(longest, args.max_length)
        elif not weighs and self._counts_given is None:
            raise ValueError(
                "the training data set streams: its weights need bucket_counts (rows by bucket) or a column 'weight'"
            )
        self._counts = self._counts_given or dict(tally.rows)
        self._register(tally.rows or self._counts)
        if self._counts:
            self._weigher = WeighPairs(self._counts, args, self._schema())
        if weighs:
            self._tell_own_weights()

    def _schema(self) -> BucketSchema | None:
        if self.reference is not None:
            return self.reference.schema
        return preparing.schema_of(next(iter(self._counts))) if self._counts else None

    def _weigh(self, dataset: Any, args: HDPOConfig) -> None:
        """Find the mean weight of the pairs that train."""
        self._is_weighed = True
        weights = None if preparing.is_streaming(dataset) else _arrays(dataset, "weight")
        self.weight_mean = args.weight_mean or (1.0 if weights is None else float(weights.mean()))
        sorts = [loss_type for loss_type in args.loss_type if loss_type.startswith("aot")]
        if sorts and (weights is None or weights.min() != weights.max()):
            raise ValueError(
                f"loss_type {sorts[0]!r} sorts the pairs of a batch, so that no value is a pair's to weigh: it needs "
                "equal weights (alpha=0, beta_w=0, gamma_l=0, eta=0, or a column 'weight' of ones)"
            )


def _try_critic(dataset: Any, critic: Critic, name: str) -> None:
    """Ask a critic about some responses of a data set; say how many it has no score for.

    Raises
    ------
    ValueError
        Scores that can't be, or that tell nothing.
    """
    rows = preparing.some_rows(dataset, _TRIED, ["bucket", "prompt", "chosen", "rejected"])
    texts = [text for side in ("chosen", "rejected") for text in responses.texts(side, [row[side] for row in rows])]
    buckets, prompts = ([row[column] for row in rows] * 2 for column in ("bucket", "prompt"))
    scores = ask(critic, texts, buckets, prompts)
    found = check_scores(scores, buckets, responses=texts, name=name)
    if found.overall.missing:
        bucket = buckets[int(np.flatnonzero(np.isnan(scores))[0])]
        logger.warning(
            f"{name}: no score for {found.overall.missing:,} of {counted(len(texts), 'response')} tried, the first in "
            f"bucket {bucket}: samples without a score count for nothing"
        )


def _check_columns(columns: list[str], dataset_name: str) -> None:
    for name in ("bucket", "chosen", "rejected"):
        if name not in columns:
            raise ValueError(
                f"the {dataset_name} data set has no column {name!r} (but {', '.join(columns)}): polyalign pairs makes "
                "preference data with buckets"
            )


def _arrays(dataset: Any, column: str) -> Any:
    return np.concatenate([np.asarray(batch[column]) for batch in preparing.batches(dataset, [column])])


def _batched(dataset: Any, function: Any, num_proc: int | None, desc: str) -> Any:
    if preparing.is_streaming(dataset):
        return dataset.map(function, batched=True)
    return dataset.map(function, batched=True, num_proc=num_proc, desc=f"{desc} dataset")
