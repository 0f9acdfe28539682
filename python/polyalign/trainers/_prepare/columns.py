"""What is done to data sets row by row, for ``datasets.map``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from datasets import Value

from polyalign import _core
from polyalign._io import responses
from polyalign.buckets import BucketSchema
from polyalign.critics import Critic
from polyalign.trainers._collate import ResponseCollator
from polyalign.trainers.bucket_sft_config import BucketSFTConfig
from polyalign.trainers.conditioning import condition, system_line, template_fields
from polyalign.trainers.hdpo_config import HDPOConfig
from polyalign.weights import gaps, language_counts, language_of, pair_weights

SCORES = ("chosen_score", "rejected_score")


# ------------------------------------------------------------------------------------------------------ responses


class Condition:
    """Puts a system line before a row's prompt."""

    def __init__(self, template: str) -> None:
        template_fields(template)
        self.template = template

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        line = system_line(self.template, row["bucket"], row)
        name = next(name for name in ("prompt", "messages", "conversations") if name in row)
        return {name: condition(row[name], line)}


class FitResponse:
    """Cuts to the longest length; says how many tokens are left, and of the response."""

    def __init__(self, args: BucketSFTConfig) -> None:
        self.limit, self.length_column = args.max_length, args.length_column_name
        self.keeps_end = args.truncation_mode == "keep_end"

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        ids, labels = row["input_ids"], row["labels"]
        is_long = self.limit is not None and len(ids) > self.limit
        if is_long:
            kept = slice(-self.limit, None) if self.keeps_end else slice(None, self.limit)
            ids, labels = ids[kept], labels[kept]
        # The first token is never predicted.
        tokens = int(np.count_nonzero(np.asarray(labels[1:]) != -100))
        told = {"response_tokens": tokens, "truncated": is_long, self.length_column: len(ids)}
        return {"input_ids": ids, "labels": labels, **told}


class NoResponse:
    """Says why nothing of a response trains."""

    columns = ("response_tokens", "truncated")

    def __init__(self, limit: int | None) -> None:
        self.limit = limit

    def __call__(self, row: Mapping[str, Any]) -> str | None:
        if row["response_tokens"] > 0:
            return None
        return f"the prompt fills max_length={self.limit}" if row["truncated"] else "the response has no tokens"


class Spread:
    """Gives every token what its row has."""

    def __init__(self, by_token: bool) -> None:
        self.by_token = by_token

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        size = len(row["input_ids"])
        weight = row["weight"] if self.by_token else row["weight"] / row["response_tokens"]
        values = (weight, row["bucket"], int(row["truncated"]))
        return {name: [value] * size for name, value in zip(ResponseCollator.packed_columns, values, strict=True)}


# ---------------------------------------------------------------------------------------------------------- pairs


def empty_response(row: Mapping[str, Any]) -> str | None:
    """Say which response of a pair is empty."""
    for name in ("chosen", "rejected"):
        if not _core.answers(responses.texts(name, [row[name]]))[0].strip():
            return f"an empty {name} response"
    return None


class ScorePairs:
    """Asks the critic for the scores of pairs, by a function such as :func:`~polyalign.critics.ask`."""

    def __init__(self, critic: Critic, names: list[str], asks: Callable[..., Any]) -> None:
        self.critic, self.names, self.asks = critic, names, asks

    def __call__(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        found = {}
        for name in self.names:
            texts = responses.texts(name, rows[name.removesuffix("_score")])
            found[name] = self.asks(self.critic, texts, rows["bucket"], rows["prompt"]).tolist()
        return found


def no_score(row: Mapping[str, Any]) -> str | None:
    """Say which response of a pair has no score."""
    for name in SCORES:
        if row[name] is None or not np.isfinite(row[name]):
            return f"no {name.replace('_', ' ')}: the critic has no humans for bucket {row['bucket']}, or can't tell"
    return None


class MeasurePairs:
    """Says how long pairs are, and what the collator will cut."""

    columns = ("prompt_ids", "chosen_ids", "rejected_ids")

    def __init__(self, args: HDPOConfig) -> None:
        self.limit, self.length_column = args.max_length, args.length_column_name
        self.keeps_end = args.truncation_mode == "keep_end"
        whole = {name: Value("int64") for name in ("prompt_tokens", "response_tokens", "rejected_tokens")}
        cut = {name: Value("bool") for name in ("truncated", "both_truncated")}
        self.types = {**whole, **cut, self.length_column: Value("int64")}

    def __call__(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        prompts, *responses = (np.array([len(ids) for ids in rows[name]]) for name in self.columns)
        ends = [(0 if self.keeps_end else prompts) + response for response in responses]
        is_cut = [np.zeros(len(end), bool) if self.limit is None else end > self.limit for end in ends]
        lengths = prompts + np.maximum(*responses)
        return {
            "prompt_tokens": prompts,
            "response_tokens": responses[0],
            "rejected_tokens": responses[1],
            "truncated": is_cut[0] | is_cut[1],
            "both_truncated": is_cut[0] & is_cut[1],
            self.length_column: lengths if self.limit is None else np.minimum(lengths, self.limit),
        }


class UnfitPair:
    """Says why a pair does not train."""

    columns = ("prompt_tokens", "response_tokens", "rejected_tokens", "both_truncated")

    def __init__(self, args: HDPOConfig) -> None:
        self.limit, self.samples = args.max_length, args.is_online
        self.keeps_end = args.truncation_mode == "keep_end"

    def __call__(self, row: Mapping[str, Any]) -> str | None:
        if reason := self.by_length(row):
            return reason
        if not row["response_tokens"] or not row["rejected_tokens"]:
            return "a response has no tokens"
        if self.samples and not row["prompt_tokens"]:
            return "an empty prompt, which can't be answered online"
        return None

    def by_length(self, row: Mapping[str, Any]) -> str | None:
        """Say what a pair has too long."""
        if self.limit is None:
            return None
        if not self.keeps_end and row["prompt_tokens"] >= self.limit:
            return f"the prompt fills max_length={self.limit}"
        if row["both_truncated"]:
            return f"both responses are cut at max_length={self.limit}"
        if self.samples and self.keeps_end and row["response_tokens"] >= self.limit:
            return f"the chosen response fills max_length={self.limit}, so that no prompt is left to be answered online"
        return None


class WeighPairs:
    """Weighs pairs by how rare their bucket and language are, and by their scores."""

    columns = ("bucket", "pair_type", *SCORES)

    def __init__(self, counts: Mapping[str, int], args: HDPOConfig, schema: BucketSchema | None) -> None:
        variant: Any = args.variant
        self.schema = schema
        self.bucket_gaps = gaps(counts, schema=schema, variant=variant)
        self.language_gaps = gaps(language_counts(counts, schema), variant=variant)
        names = ("alpha", "beta_w", "gamma_l", "eta", "weight_min", "weight_max")
        self.settings = {name: getattr(args, name) for name in names}

    def __call__(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        buckets = rows["bucket"]
        zeros = [0.0] * len(buckets)
        # A bucket that was not counted is as rare as any.
        bucket_gap = [self.bucket_gaps.get(bucket, 1.0) for bucket in buckets]
        language_gap = [self.language_gaps.get(language_of(bucket, self.schema), 1.0) for bucket in buckets]
        scores = rows if self.settings["beta_w"] > 0 else {}
        chosen_scores, rejected_scores = (scores.get(name, zeros) for name in SCORES)
        weights = pair_weights(
            bucket_gap, language_gap, chosen_scores, rejected_scores, rows.get("pair_type", zeros), **self.settings
        )
        return {"weight": weights.tolist()}
