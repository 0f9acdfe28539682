"""Features of humans' and models' answers in every bucket, as histograms that a report shows beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from polyalign._io import bucketed
from polyalign.reference._histograms import QUANTILES

if TYPE_CHECKING:
    from polyalign.evaluation._arrays import Floats, Indices
    from polyalign.evaluation._work import Measured, Work
    from polyalign.features import Feature
    from polyalign.reference import Reference

    Cells = list[dict[str, Any] | None]

__all__ = ["distributions"]

#: How many histograms a page has room for.
_CELLS = 20_000
_MOST_APART = 5.0
_RANKS = {name: float(name[1:]) / 100 for name in QUANTILES if name[1:].isdigit()}


def distributions(order: Sequence[str], work: Work, found: Sequence[Measured]) -> dict[str, Any]:
    """Return the features in every bucket, of humans and of each model, as a reference's page has them.

    Of many buckets and models those features are kept that tell them apart most; the number of words leads.
    """
    # A reference of the paper's features has others of the same names: then humans are those that were read.
    counted = work.reference.variant == "default"
    of_humans = {} if counted else _buckets(work.humans.buckets, np.flatnonzero(work.humans.usable))
    there = {*work.reference.buckets} if counted else {*of_humans}
    buckets = sorted(there.intersection(order))
    humans: _Side = (
        _Counted(work.reference, buckets, len(work.features))
        if counted
        else _Given(work.side.features, buckets, of_humans)
    )
    sides = [humans, *(_of_model(one, buckets) for one in found)]
    most = max(1, _CELLS // max(1, len(buckets) * len(sides)))
    kept = sorted(_telling(work.features, sides)[:most])
    cells = [[side.cells(at, work.features[at]) for at in kept] for side in sides]
    names = [work.features[at].name for at in kept]
    return {
        "features": [_described(work.features[at]) for at in kept],
        "all_features": len(work.features),
        "sides": [
            [
                {
                    "bucket": bucket,
                    "rows": side.rows[place],
                    "features": {name: of[place] for name, of in zip(names, columns, strict=True) if of[place]},
                }
                for place, bucket in enumerate(buckets)
            ]
            for side, columns in zip(sides, cells, strict=True)
        ],
    }


def _described(feature: Feature) -> dict[str, Any]:
    names = ("name", "group", "definition", "unit", "languages", "scale")
    return {name: getattr(feature, name) for name in names}


def _buckets(buckets: Sequence[str], rows: Indices) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in rows.tolist():
        found.setdefault(buckets[row], []).append(row)
    return found


def _of_model(one: Measured, buckets: Sequence[str]) -> _Given:
    """Return the first answers of a model that say something."""
    said = {bucket: np.sort(at[~one.side.empty[at]]).tolist() for bucket, at in one.places.items()}
    return _Given(one.side.features, buckets, said)


def _telling(features: Sequence[Feature], sides: Sequence[_Side]) -> list[int]:
    """Return the features, those that tell models from humans most first."""
    scale = np.array([feature.scale for feature in features])
    humans, apart = sides[0], np.zeros(len(features))
    for side in sides[1:]:
        gaps = np.abs(side.means - humans.means) / np.fmax(humans.stds, scale)
        apart += np.nan_to_num(np.minimum(gaps, _MOST_APART)).sum(axis=0)
    return sorted(range(len(features)), key=lambda at: (features[at].name != "word_count", -apart[at], at))


class _Side(Protocol):
    """Whose features they are: means and deviations [buckets, features], NaN where nobody has a value."""

    @property
    def rows(self) -> list[int]: ...

    @property
    def means(self) -> Floats: ...

    @property
    def stds(self) -> Floats: ...

    def cells(self, at: int, feature: Feature) -> Cells:
        """Return a feature in every bucket, as `reference._page.encode` takes it."""


@dataclass(frozen=True)
class _Counted:
    """The humans that a reference counted."""

    reference: Reference
    buckets: Sequence[str]
    features: int
    """How many of its features are looked at: a language model's come after these, and models' answers lack them."""

    @cached_property
    def rows(self) -> list[int]:
        known = {bucket["bucket"]: int(bucket["rows"]) for bucket in self.reference._info["buckets"]}
        return [known[bucket] for bucket in self.buckets]

    @cached_property
    def _told(self) -> dict[str, Floats]:
        """What describes features in numbers, each [buckets, features]."""
        places = {bucket: place for place, bucket in enumerate(self.reference.buckets)}
        kept, table = [places[bucket] for bucket in self.buckets], self.reference.describe()
        return {
            name: np.asarray(table[name], np.float64).reshape(len(places), -1)[kept, : self.features]
            for name in ("count", "mean", "std", *QUANTILES)
        }

    @property
    def means(self) -> Floats:
        return self._told["mean"]

    @property
    def stds(self) -> Floats:
        return self._told["std"]

    @cached_property
    def _bins(self) -> tuple[Indices, Indices, Floats]:
        """The feature and the bucket of every bin, and its ends and its count."""
        table = bucketed.arrow().table(self.reference.to_arrow())
        features, buckets = (
            _codes(table[name], names)
            for name, names in (("feature", self.reference.features), ("bucket", self.buckets))
        )
        return features, buckets, np.column_stack([table[name].to_numpy() for name in ("low", "high", "count")])

    def cells(self, at: int, feature: Feature) -> Cells:
        features, buckets, bins = self._bins
        of = np.flatnonzero(features == at)
        of = of[np.argsort(buckets[of], kind="stable")]
        ends = np.searchsorted(buckets[of], np.arange(len(self.buckets) + 1))
        columns = {name: values[:, at].tolist() for name, values in self._told.items()}
        return _cells(columns, bins[of], ends)


def _codes(column: Any, names: Sequence[str]) -> Indices:
    """Return which of some names every value of a column is; -1: none."""
    places = {name: place for place, name in enumerate(names)}
    values = column.combine_chunks()
    values = values if hasattr(values, "dictionary") else values.dictionary_encode()
    known = np.array([places.get(name, -1) for name in values.dictionary.to_pylist()], dtype=np.int64)
    return np.asarray(known[values.indices.to_numpy()])


@dataclass(frozen=True)
class _Given:
    """Answers whose features are there: [answers, features], and the rows of each bucket."""

    features: Floats
    buckets: Sequence[str]
    of: dict[str, list[int]]

    @cached_property
    def rows(self) -> list[int]:
        return [len(self.of.get(bucket, ())) for bucket in self.buckets]

    @cached_property
    def _order(self) -> Indices:
        return np.array([row for bucket in self.buckets for row in self.of.get(bucket, ())], dtype=np.int64)

    @cached_property
    def _bucket(self) -> Indices:
        return np.repeat(np.arange(len(self.buckets)), self.rows)

    @cached_property
    def means(self) -> Floats:
        return self._moments[0]

    @cached_property
    def stds(self) -> Floats:
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[Floats, Floats]:
        means, stds = np.full((2, len(self.buckets), self.features.shape[1]), np.nan)
        for place, (start, end) in enumerate(pairwise(np.cumsum([0, *self.rows]).tolist())):
            rows = self.features[self._order[start:end]]
            known = ~np.isnan(rows)
            count = np.where(known.any(axis=0), known.sum(axis=0), np.nan)
            means[place] = np.where(known, rows, 0.0).sum(axis=0) / count
            stds[place] = np.sqrt((np.where(known, rows - means[place], 0.0) ** 2).sum(axis=0) / count)
        return means, stds

    def cells(self, at: int, feature: Feature) -> Cells:
        values = self.features[self._order, at]
        known = ~np.isnan(values)
        values, bucket = values[known], self._bucket[known]
        order = np.lexsort((values, bucket))
        values, bucket = values[order], bucket[order]
        ends = np.searchsorted(bucket, np.arange(len(self.buckets) + 1))
        counts = np.diff(ends)
        columns = {"count": counts.tolist(), "mean": self.means[:, at].tolist(), "std": self.stds[:, at].tolist()}
        for name in QUANTILES:  # by nearest rank
            rank = {"min": 0.0, "max": 1.0}.get(name, _RANKS.get(name))
            places = ends[:-1] + np.maximum(np.ceil(rank * counts).astype(int) - 1, 0)
            columns[name] = values[np.minimum(places, len(values) - 1)].tolist() if len(values) else counts.tolist()
        new = np.flatnonzero(np.append(True, (np.diff(values) != 0) | (np.diff(bucket) != 0)) if len(values) else [])
        step = 1.0 if feature.bins.startswith("count") else 0.0
        bins = np.column_stack([values[new], values[new] + step, np.diff(np.append(new, len(values)))])
        return _cells(columns, bins, np.searchsorted(bucket[new], np.arange(len(self.buckets) + 1)))


def _cells(columns: dict[str, list[Any]], bins: Floats, ends: Indices) -> Cells:
    """Return a cell a bucket: what describes it, and its bins."""
    return [
        {**{name: values[place] for name, values in columns.items()}, "bins": bins[start:end]} if end > start else None
        for place, (start, end) in enumerate(pairwise(ends.tolist()))
    ]
