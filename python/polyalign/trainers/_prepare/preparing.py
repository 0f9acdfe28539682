"""Preparing data sets: which rows train, in which bucket, with what weight."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets import ClassLabel, Dataset, Features, IterableDataset, concatenate_datasets

from polyalign.buckets import BucketSchema
from polyalign.buckets._ids import DEFAULT_AXES, suggested_axes
from polyalign.trainers._logs import get_logger
from polyalign.trainers._trl import get_dataset_column_names
from polyalign.weights import BucketWeights

logger = get_logger(__name__)

#: Stands for the buckets that a stream has beyond those that were counted.
OTHER = "other"
_BATCH, _ROWS = 10_000, 1000
_TOLD = 10

Reason = Callable[[Mapping[str, Any]], "str | None"]
RowFunction = Callable[[dict[str, Any]], dict[str, Any]]
BatchFunction = Callable[[dict[str, list[Any]]], dict[str, Any]]


def is_streaming(dataset: Any) -> bool:
    """Whether a data set has no length."""
    return isinstance(dataset, IterableDataset)


def columns_of(dataset: Any) -> list[str]:
    """Return a data set's columns; a stream is asked for its first row.

    Raises
    ------
    ValueError
        The stream is empty.
    """
    try:
        return list(get_dataset_column_names(dataset))
    except StopIteration:
        raise ValueError("the data set has no rows") from None


def batches(dataset: Dataset, columns: Sequence[str]) -> Iterable[Mapping[str, Any]]:
    """Go through some columns of a data set, as numpy arrays."""
    return dataset.select_columns(list(columns)).with_format("numpy").iter(_BATCH)


def schema_of(bucket: str) -> BucketSchema | None:
    """Return the schema that a bucket's parts suggest, where they are not the usual four."""
    axes = suggested_axes(bucket)
    return None if axes == DEFAULT_AXES else BucketSchema(axes=axes)


class Skips:
    """Rows that do not train: how many, why, and the first of each kind. Said once, before the first step."""

    def __init__(self, dataset: Any, dataset_name: str) -> None:
        self.dataset_name = dataset_name
        #: The rows there were; None of a stream, of which that is not known.
        self.total = None if is_streaming(dataset) else len(dataset)
        self.counts: Counter[str] = Counter()
        self.firsts: dict[str, int] = {}
        #: Where the rows that are left were at first; None: there.
        self._places: npt.NDArray[np.int64] | None = None

    def __call__(self, reason: str, at: int) -> None:
        """Count a row, one of those that are left."""
        self.counts[reason] += 1
        self.firsts.setdefault(reason, at if self._places is None else int(self._places[at]))

    def leave(self, kept: Sequence[int]) -> None:
        """Say which of the rows are left."""
        places = np.asarray(kept, dtype=np.int64)
        self._places = places if self._places is None else self._places[places]

    def check(self) -> None:
        """Raise a ValueError where nothing is left."""
        if self.total is not None and self.counts and self.counts.total() >= self.total:
            raise ValueError(self._told(self.total))

    def say(self) -> None:
        """Log what was skipped.

        Raises
        ------
        ValueError
            Nothing is left.
        """
        self.check()
        if self.total is not None and self.counts:
            logger.warning(self._told(self.total))

    def _told(self, total: int) -> str:
        reasons = "; ".join(
            f"{rows:,}: {reason} ({'row' if rows == 1 else 'first: row'} {self.firsts[reason]:,})"
            for reason, rows in self.counts.most_common()
        )
        skipped = f"{self.counts.total():,} of {total:,} rows"
        return f"{skipped} of the {self.dataset_name} data set do not train: {reasons}"


def sift(dataset: Any, reason_of: Reason, columns: Sequence[str], skips: Skips) -> Any:
    """Leave out the rows for which there is a reason, and count them; `columns` are what it is told from.

    Of a stream, the first row of each reason is said when it passes.
    """
    if is_streaming(dataset):
        said: set[str] = set()

        def passes(row: Mapping[str, Any]) -> bool:
            reason = reason_of(row)
            if reason is not None and reason not in said:
                said.add(reason)
                logger.warning(f"rows of the {skips.dataset_name} stream are skipped: {reason}")
            return reason is None

        return dataset.filter(passes)
    kept = []
    for at, row in enumerate(_rows(dataset, columns)):
        reason = reason_of(row)
        if reason is None:
            kept.append(at)
        else:
            skips(reason, at)
    if len(kept) == len(dataset):  # as it is: a selection has to be written out sooner or later
        return dataset
    skips.leave(kept)
    return dataset.select(kept)


def sift_cut(dataset: Any, args: Any, skips: Skips, lost: Any, by_length: Reason, what: str) -> Any:
    """Leave out the rows of which `lost` says that nothing is left to train; say first which are cut, and how many.

    `by_length` says it of rows that are cut; `lost.columns` are what both are told from.
    """
    if args.max_length is not None and skips.total is not None:
        part = "start" if args.truncation_mode == "keep_end" else "end"
        _say_cut(dataset, args.max_length, part, skips.dataset_name, by_length, lost.columns, what)
    dataset = sift(dataset, lost, lost.columns, skips)
    skips.check()
    return dataset


def _say_cut(
    dataset: Dataset, most: int, part: str, dataset_name: str, lost: Reason, columns: Sequence[str], what: str
) -> None:
    """Log the buckets whose rows are cut to the longest length, those that lose the most rows first."""
    rows, cut, emptied = Counter[str](), Counter[str](), Counter[str]()
    for batch in batches(dataset, list(dict.fromkeys(("bucket", "truncated", *columns)))):
        buckets, is_cut = batch["bucket"].astype(str), batch["truncated"].astype(bool)
        rows.update(buckets.tolist())
        cut.update(buckets[is_cut].tolist())
        for at in np.flatnonzero(is_cut).tolist():
            if lost({name: batch[name][at] for name in columns}) is not None:
                emptied[str(buckets[at])] += 1
    if not cut:
        return
    told = [
        f"{bucket} {cut[bucket]:,} of {rows[bucket]:,}" + (f" ({emptied[bucket]:,})" if emptied[bucket] else "")
        for bucket in sorted(cut, key=lambda bucket: (-emptied[bucket], -cut[bucket], bucket))
    ]
    more = f", {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    lack = f", of which {emptied.total():,} do not train" if emptied else ""
    logger.warning(
        f"max_length={most} cuts the {part} of {cut.total():,} of {rows.total():,} {what} of the {dataset_name} data "
        f"set{lack}: {', '.join(told[:_TOLD])}{more}"
    )


def some_rows(dataset: Any, most: int, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return rows of a data set, evenly spread; of a stream the first."""
    if is_streaming(dataset):
        return [{name: row[name] for name in columns} for row in dataset.take(most)]
    places = np.unique(np.linspace(0, len(dataset) - 1, num=most, dtype=np.int64))
    return list(dataset.select_columns(list(columns)).select(places))


def _rows(dataset: Dataset, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for batch in dataset.select_columns(list(columns)).iter(_ROWS):
        yield from (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))


def mapped(dataset: Any, function: RowFunction, num_proc: int | None, desc: str) -> Any:
    """Map a data set, row by row."""
    if is_streaming(dataset):
        return dataset.map(function)
    return dataset.map(function, num_proc=num_proc, desc=f"{desc} dataset")


def extended(dataset: Any, function: BatchFunction, columns: Sequence[str], types: Mapping[str, Any]) -> Any:
    """Give a data set the columns that a function makes of batches of `columns`, where it has these.

    Its other columns are not read or written anew.
    """
    if is_streaming(dataset):
        return dataset.map(function, batched=True)
    features = Features(types)
    kinds = {name: features.arrow_schema.field(name).type for name in types}
    made: dict[str, list[Any]] = {name: [pa.array([], kind)] for name, kind in kinds.items()}
    for batch in dataset.select_columns([name for name in columns if name in dataset.column_names]).iter(_ROWS):
        for name, values in function(batch).items():
            # Python's numbers of all rows would take some forty times as much.
            made[name].append(pa.array(values, kinds[name]))
    new = Dataset.from_dict({name: pa.chunked_array(arrays) for name, arrays in made.items()}, features=features)
    rest = dataset.remove_columns([name for name in made if name in dataset.column_names])
    return concatenate_datasets([rest, new], axis=1)


def bucket_type(dataset: Any, names: list[str]) -> Any:
    """Return the type of a column of buckets' numbers: theirs with their names."""
    return None if is_streaming(dataset) else ClassLabel(names=names)


def no_bucket(row: Mapping[str, Any]) -> str | None:
    """Say why a row is in no bucket.

    Raises
    ------
    ValueError
        Its bucket is no text.
    """
    bucket = row["bucket"]
    if bucket is not None and not isinstance(bucket, str):
        raise ValueError(f"column 'bucket' holds {bucket!r}: a bucket's id is text, as 'en|single|qa|short'")
    return None if bucket else "no bucket (polyalign bucket rejected it)"


def bad_weight(row: Mapping[str, Any]) -> str | None:
    """Say what is wrong with a row's weight."""
    weight = row["weight"]
    if weight is None or not math.isfinite(weight):
        return "its weight is not finite"
    return "its weight is negative" if weight < 0 else None


class Tally:
    """Rows, response tokens and weights by bucket."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.weighted_rows: dict[str, float] = defaultdict(float)
        self.weighted_tokens: dict[str, float] = defaultdict(float)

    def add_all(self, dataset: Dataset, *, weighs: bool) -> None:
        """Count a prepared data set.

        Raises
        ------
        ValueError
            A weight that is not finite or negative, or all are 0.
        """
        start = 0
        for batch in batches(dataset, ["bucket", "response_tokens", *(["weight"] if weighs else [])]):
            names, places = np.unique(batch["bucket"].astype(str), return_inverse=True)
            tokens = batch["response_tokens"].astype(np.float64)
            weights = np.asarray(batch["weight"], dtype=np.float64) if weighs else np.ones(len(tokens))
            _check_weights(weights, start)
            start += len(tokens)
            sums = (np.bincount(places, values, len(names)) for values in (None, tokens, weights, weights * tokens))
            for name, *found in zip(names.tolist(), *(array.tolist() for array in sums), strict=True):
                self.rows[name] += int(found[0])
                self.tokens[name] += int(found[1])
                self.weighted_rows[name] += found[2]
                self.weighted_tokens[name] += found[3]
        if weighs and not any(self.weighted_rows.values()):
            raise ValueError("column 'weight': all weights are 0, so that no row trains")

    def mean_weight(self, *, by_token: bool) -> float:
        """Return the mean weight over rows, or over tokens."""
        sums, sizes = (self.weighted_tokens, self.tokens) if by_token else (self.weighted_rows, self.rows)
        return sum(sums.values()) / sum(sizes.values())


def _check_weights(weights: npt.NDArray[np.float64], start: int) -> None:
    bad = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
    if len(bad):
        raise ValueError(
            f"column 'weight', row {start + bad[0]} of those that train: {weights[bad[0]]:g} is no weight; weights are "
            "finite and at least 0"
        )


def buckets_of(dataset: Dataset) -> set[str]:
    """Return the buckets of a data set."""
    found: set[str] = set()
    for batch in batches(dataset, ["bucket"]):
        found.update(batch["bucket"].tolist())
    return found


class Attach:
    """Gives a row its bucket's number, and its weight.

    Parameters
    ----------
    ids : mapping of str to int
        The buckets' numbers.
    missing : float
        The weight of rows that have none, as an evaluation's where those that train brought theirs.
    weights : BucketWeights, optional
        Where weights are from; None: the row has its own.
    mean : float, default 1.0
        What weights are divided by.
    most : float, default inf
        The largest that a weight is then.
    names : bool, default False
        Whether the bucket's name stays, as ``bucket_name``: not all buckets of a stream have a number of their own.
    """

    columns = ("bucket", "weight")

    def __init__(
        self,
        ids: Mapping[str, int],
        *,
        missing: float,
        weights: BucketWeights | None = None,
        mean: float = 1.0,
        most: float = math.inf,
        names: bool = False,
    ) -> None:
        self.ids, self.missing, self.mean, self.most, self.names = ids, missing, mean, most, names
        self.source = weights
        self.known = {bucket: weight_of(weights, bucket) for bucket in ids} if weights else {}

    def no_weight(self, row: Mapping[str, Any]) -> str | None:
        """Say why a row has no weight."""
        bucket = row["bucket"]
        if self._weight(bucket) is not None:
            return None
        return f"no row of the language of bucket {bucket} was counted"

    def _weight(self, bucket: str) -> float | None:
        if bucket in self.known or self.source is None:
            return self.known.get(bucket)
        return weight_of(self.source, bucket)

    def __call__(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """Return the columns of a batch."""
        buckets = rows["bucket"]
        if self.source is None:
            weights = rows.get("weight", [self.missing] * len(buckets))
        else:
            weights = [self._weight(bucket) for bucket in buckets]
        made = {
            "bucket": [self.ids.get(bucket, self.ids.get(OTHER)) for bucket in buckets],
            "weight": [min(float(weight) / self.mean, self.most) for weight in weights],
        }
        return {**made, "bucket_name": buckets} if self.names else made


def weight_of(weights: BucketWeights, bucket: str) -> float | None:
    """Return a bucket's weight; None where nothing of its language was counted."""
    try:
        return weights.weight_of(bucket)
    except (KeyError, ValueError):
        return None


def counts_given(bucket_counts: Mapping[str, int] | BucketWeights | None) -> dict[str, int] | None:
    """Return counts by bucket."""
    if isinstance(bucket_counts, BucketWeights):
        return dict(bucket_counts.counts)
    return None if bucket_counts is None else {str(bucket): int(count) for bucket, count in bucket_counts.items()}
