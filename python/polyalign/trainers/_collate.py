"""Collators that carry buckets, weights and scores beside what TRL's collators make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["PairCollator", "ResponseCollator"]

Collator = Callable[[list[dict[str, Any]]], dict[str, Any]]


def _without(features: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    return [{name: value for name, value in feature.items() if name not in names} for feature in features]


@dataclass
class ResponseCollator:
    """Adds to a batch of examples, padded, padding-free or packed, what :class:`BucketSFT` reads.

    ``bucket``, ``weight``, ``response_tokens``, ``truncated`` and ``row`` have an entry for each of the batch's E
    examples; ``token_weight`` has the shape of ``labels``: the weight of a token's loss, 0 where there is none;
    ``num_examples`` [1] is what they count as in the size of a global batch, ``num_rows`` [1] the data set's rows.
    """

    inner: Collator
    by_token: bool
    weighted: bool
    """Whether weights are in the loss; else they say how often rows are drawn."""
    length_column: str
    examples_per_row: float | None = None
    """Of a packed data set the mean number of examples a row: its rows count as that many."""

    columns = ("bucket", "weight", "response_tokens", "truncated")
    packed_columns = ("token_weight", "token_bucket", "token_truncated")

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate features; see the class."""
        batch = self.inner(_without(features, (*self.columns, *self.packed_columns, self.length_column)))
        examples = [example for row, feature in enumerate(features) for example in self._examples(row, feature)]
        labels = batch["labels"]
        token_weight = torch.zeros(labels.shape)
        is_flat = "position_ids" in batch
        start = 0
        for example in examples:
            row, begin = (0, start) if is_flat else (example["row"], 0)
            token_weight[row, begin : begin + example["size"]] = example["token_weight"]
            start += example["size"]
        # What is no label has no loss; TRL masks more of them than a data set does, as the first token of a sequence.
        batch["token_weight"] = token_weight.masked_fill(labels == -100, 0.0)
        for name in ("bucket", "response_tokens", "row"):
            batch[name] = torch.tensor([example[name] for example in examples])
        for name in ("weight", "truncated"):
            batch[name] = torch.tensor([float(example[name]) for example in examples])
        rows = len(features) * self.examples_per_row if self.examples_per_row else len(examples)
        batch["num_rows"] = torch.tensor([len(features)])
        batch["num_examples"] = torch.tensor([float(rows)])
        return batch

    def _examples(self, row: int, feature: dict[str, Any]) -> list[dict[str, Any]]:
        if "token_weight" not in feature:
            weight = feature["weight"] if self.weighted else 1.0
            per_token = weight if self.by_token else weight / feature["response_tokens"]
            given = {name: feature[name] for name in ("bucket", "truncated", "response_tokens")}
            size = len(feature["input_ids"])
            return [{"row": row, "size": size, "token_weight": per_token, "weight": weight, **given}]
        examples, start = [], 0
        for size in feature["seq_lengths"]:
            per_token = feature["token_weight"][start]
            tokens = sum(label != -100 for label in feature["labels"][start + 1 : start + size])
            examples.append(
                {
                    "row": row,
                    "size": size,
                    "token_weight": per_token,
                    "bucket": feature["token_bucket"][start],
                    "weight": per_token if self.by_token else per_token * tokens,
                    "response_tokens": tokens,
                    "truncated": feature["token_truncated"][start],
                }
            )
            start += size
        return examples


@dataclass
class PairCollator:
    """Adds to a batch of n preference pairs the columns that :class:`HDPO` reads, one entry a pair."""

    inner: Collator
    length_column: str

    numbers = ("weight", "chosen_score", "rejected_score", "truncated")
    #: What the critic is told of a pair.
    told = ("bucket_name", "prompt")
    columns = ("bucket", *told, *numbers)

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate features; see the class."""
        batch = self.inner(_without(features, (*self.columns, self.length_column)))
        batch["bucket"] = torch.tensor([feature["bucket"] for feature in features])
        for name in self.told:
            if name in features[0]:
                batch[name] = [feature[name] for feature in features]
        batch["row"], batch["num_rows"] = torch.arange(len(features)), torch.tensor([len(features)])
        for name in self.numbers:
            if name in features[0]:
                batch[name] = torch.tensor([float(feature[name]) for feature in features])
        return batch
