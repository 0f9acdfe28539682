"""The numbers of a model in one bucket, with all that is resampled of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from polyalign.evaluation._statistics import mean_draws
from polyalign.evaluation.metrics import self_bleu_of_each
from polyalign.evaluation.metrics._faithfulness import hcr
from polyalign.evaluation.metrics._rows import reach, squared_distances
from polyalign.evaluation.metrics._tokens import answer_tokens

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.evaluation._statistics import Draws

    Floats = npt.NDArray[np.float64]
    Singles = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]
    Indices = npt.NDArray[np.int64]

__all__ = ["Cell", "Side", "cells"]

#: How far a neighbourhood reaches, and how many rows and draws it is worth.
_NEAREST, _NEAR_ROWS, _NEAR_DRAWS = 5, 300, 60
_KERNEL_ROWS = 1000
_TAIL = 0.1
#: What held-out humans have of HCR.
_COVERAGE = 0.9
#: An empty answer's squared distance from any text.
_FAR = 1e12
_FURTHEST = 5.0


@dataclass(frozen=True)
class Cell:
    """A number, and what it came to in every resample.

    Attributes
    ----------
    value, floor : float
        The model's, and that of as many humans; NaN: there is none.
    draws : array, shape (resamples)
        The value, groups resampled.
    noise : float
        How much the humans' value varies: a standard deviation.
    test : float
        What is compared with `null`: the value, or how far it is from the humans' to the same prompts.
    null : array, shape (permutations)
        That, where answers of model and human change places at random.
    rows : array, shape (prompts)
        What each prompt adds to a mean; empty where it is none.
    """

    value: float
    floor: float
    draws: Floats
    noise: float
    test: float
    null: Floats
    rows: Floats


@dataclass(frozen=True)
class Side:
    """One side of a bucket.

    Attributes
    ----------
    texts : list of str
    features : array, shape (rows, features)
    groups : array, shape (rows)
    """

    texts: list[str]
    features: Floats
    groups: Indices

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def empty(self) -> Mask:
        """Whether a text is none."""
        return np.array([not text.strip() for text in self.texts], dtype=bool)

    def take(self, rows: Indices) -> Side:
        """Return some rows."""
        return Side([self.texts[row] for row in rows.tolist()], self.features[rows], self.groups[rows])

    @classmethod
    def joined(cls, *sides: Side) -> Side:
        """Return the rows of several, one after the other."""
        return cls(
            [text for side in sides for text in side.texts],
            np.concatenate([side.features for side in sides]),
            np.concatenate([side.groups for side in sides]),
        )


@dataclass(frozen=True)
class Columns:
    """What the features are.

    Attributes
    ----------
    least : array, shape (features)
        The least scale of each.
    related : array of bool, shape (features)
        Whether one relates the answer to what was asked. What is told of answers alone leaves those out.
    words : int
        Which is the number of words.
    """

    least: Floats
    related: Mask
    words: int


@dataclass(frozen=True)
class Scale:
    """What features of a bucket are measured in: that of its humans."""

    centre: Floats
    spread: Floats
    used: Mask

    @classmethod
    def of(cls, humans: Floats, columns: Columns) -> Scale:
        """Return it, of the features that humans have."""
        used = (~np.isnan(humans)).sum(axis=0) >= min(20, len(humans))
        centre, spread = np.zeros(humans.shape[1]), np.ones(humans.shape[1])
        if used.any():
            centre[used] = np.nanmean(humans[:, used], axis=0)
            spread[used] = np.nanstd(humans[:, used], axis=0)
        return cls(centre, np.maximum(spread, columns.least), used)

    def standardised(self, rows: Floats) -> Floats:
        """Return rows about the centre in units of the spread; what is not defined is as the centre.

        What is beyond 5 counts as 5, as in the support distance: a feature that hardly varies among humans must not be
        all that is seen.
        """
        found = (rows - self.centre) / self.spread
        return np.clip(np.nan_to_num(found, nan=0.0), -_FURTHEST, _FURTHEST)


def cells(
    sides: tuple[Side, Side, Side],
    rows: Mapping[str, tuple[Floats, Floats | None]],
    language: str,
    columns: Columns,
    draws: Draws,
) -> Iterator[tuple[str, Cell]]:
    """Give the metrics of a bucket.

    Parameters
    ----------
    sides : tuple of three Side
        The model's answers, humans' to the same prompts, row by row, and further humans of the bucket.
    rows : mapping
        By metric, what each of the model's and of the humans' answers has; ``None``: humans have none.
    language : str
    columns : Columns
    draws : Draws
    """
    bucket = _Bucket(sides, language, columns, draws)
    for name, (of_model, of_humans) in rows.items():
        yield name, bucket.mean(of_model, of_humans)
    yield "mmd", bucket.mmd()
    yield "bng", bucket.bng()
    yield "interaction", bucket.interaction()
    yield "length_w1", bucket.length()
    yield "hcr", bucket.hcr()
    yield from bucket.tails()
    yield from bucket.near()
    yield from bucket.diversity()


class _Bucket:
    def __init__(self, sides: tuple[Side, Side, Side], language: str, columns: Columns, draws: Draws) -> None:
        model, humans, more = sides
        self.model, self.humans, self.language, self.draws, self.columns = model, humans, language, draws, columns
        self.all = Side.joined(humans, more)
        self.scale = Scale.of(self.all.features, columns)
        #: The features that say what an answer is like, whatever was asked.
        self.alone = np.flatnonzero(self.scale.used & ~columns.related)
        #: As many humans as can be parted into two sets of one size, up to the model's.
        self.half = min(len(model), len(self.all) // 2)

    # ------------------------------------------------------------------------------------------------- means

    def mean(self, model: Floats, humans: Floats | None) -> Cell:
        """Return the mean of rows; humans have theirs to the same prompts, or the model is not held against any."""
        times = self.draws.times(self.model.groups)
        value, found = _mean(model), mean_draws(model, times)
        if humans is None:
            nothing = np.full(self.draws.count, np.nan)
            return Cell(value, math.nan, found, math.nan, math.nan, nothing, model)
        own = mean_draws(humans, times)
        apart = model - humans
        known = ~np.isnan(apart)
        signs = np.where(self.draws.swapped(self.model.groups)[known], -1.0, 1.0)
        count = max(1, int(known.sum()))
        null = (apart[known] @ signs) / count
        noise = float(np.nanstd(own)) if np.isfinite(own).any() else math.nan
        test = _mean(apart)
        return Cell(value, _mean(humans), found, noise, test, np.asarray(null), model)

    # ---------------------------------------------------------------------------------------------- distances

    def between(self, union: Side, measured: Callable[[Singles, Singles], Floats]) -> Cell:
        """Return a distance between sets: measured of weights [rows of the union, sets] of either side.

        The union is the model, the humans to the same prompts, and further ones.
        """
        count, rows = len(self.model), len(union)
        first, second = slice(0, count), slice(count, 2 * count)

        def sides(one: npt.NDArray[np.generic], two: npt.NDArray[np.generic]) -> tuple[Singles, Singles]:
            found = np.zeros((2, rows, one.shape[1]), dtype=np.float32)
            found[0, first], found[1, second] = one, two
            return found[0], found[1]

        ones = np.ones((count, 1))
        value = float(measured(*sides(ones, ones))[0])
        times = self.draws.times(self.model.groups)
        found = measured(*sides(times, times))
        swapped = self.draws.swapped(self.model.groups)
        one, two = sides(~swapped, ~swapped)
        one[second], two[first] = swapped, swapped
        null = measured(one, two)
        own = self._humans_apart(rows, measured)
        floor, noise = (float(own.mean()), float(own.std())) if len(own) else (math.nan, math.nan)
        return Cell(value, floor, found, noise, value, null, np.zeros(0))

    def _humans_apart(self, rows: int, measured: Callable[[Singles, Singles], Floats]) -> Floats:
        """Return the distances of as many humans from as many others."""
        if self.half < 5:
            return np.zeros(0)
        count = len(self.model)
        one, two = self.draws.halves(self.all.groups[: rows - count], min(self.half, (rows - count) // 2))
        sides = np.zeros((2, rows, one.shape[1]), dtype=np.float32)
        sides[0, count:], sides[1, count:] = one, two
        return measured(sides[0], sides[1])

    @cached_property
    def union(self) -> Side:
        return Side.joined(self.model, self.all)

    def mmd(self) -> Cell:
        """Return the squared MMD of standardised features."""
        kept = self._kept(_KERNEL_ROWS)
        squared, width = kept.squared(kept.union), kept.width
        kernel = np.exp(squared / (-2.0 * width * width)).astype(np.float32)
        np.fill_diagonal(kernel, 0.0)
        return kept.between(kept.union, lambda one, two: _discrepancies(kernel, one, two))

    @cached_property
    def width(self) -> float:
        """The median distance of humans."""
        texts = self.all.take(np.flatnonzero(~self.all.empty)[:_KERNEL_ROWS])
        rows = self.scale.standardised(texts.features)[:, self.alone]
        squared = squared_distances(rows, rows)[np.triu_indices(len(rows), 1)]
        middle = math.sqrt(float(np.median(squared))) if len(squared) else 0.0
        return middle or 1.0

    def squared(self, union: Side) -> Floats:
        """Return the squared distances of all rows; an empty text is far from any other, and as other empty ones."""
        rows = self.scale.standardised(union.features)[:, self.alone]
        squared = squared_distances(rows, rows)
        squared[union.empty[:, None] != union.empty[None, :]] = _FAR
        squared[union.empty[:, None] & union.empty[None, :]] = 0.0
        return squared

    def _kept(self, most: int) -> _Bucket:
        """Return the bucket with so many prompts and so many humans at most: the first, in order of hashes."""
        if len(self.model) <= most and len(self.all) <= 2 * most:
            return self
        kept = np.arange(min(most, len(self.model)))
        more = self.all.take(np.arange(len(self.humans), len(self.all))[: 2 * most - len(kept)])
        sides = self.model.take(kept), self.humans.take(kept), more
        return _Bucket(sides, self.language, self.columns, self.draws)

    def bng(self) -> Cell:
        """Return the mean over features of W1 in units of the humans' spread, or that of both."""
        return self._gap(self.alone)

    def interaction(self) -> Cell:
        """Return the same of the features that relate an answer to what was asked."""
        return self._gap(np.flatnonzero(self.scale.used & self.columns.related))

    def _gap(self, columns: Indices) -> Cell:
        kept = self._kept(_KERNEL_ROWS)
        columns = columns[(~np.isnan(kept.model.features[:, columns])).any(axis=0)]
        if not len(columns):
            return self._nothing()
        spread = np.fmax(kept.scale.spread, _spread(kept.model.features, kept.humans.features))
        return kept.between(kept.union, lambda one, two: _gaps(kept.union.features, columns, spread, one, two))

    def length(self) -> Cell:
        """Return W1 of the numbers of words over the humans' mean."""
        words = self.columns.words
        spread = np.full(len(self.columns.least), max(1.0, float(np.nanmean(self.humans.features[:, words]))))
        columns = np.array([words])
        return self.between(self.union, lambda one, two: _gaps(self.union.features, columns, spread, one, two))

    # ------------------------------------------------------------------------------------------------ regions

    def hcr(self) -> Cell:
        """Return the calibrated coverage rate; humans of either half are judged by the other."""
        inside = self._inside(self.model, self.all)
        order = np.argsort(np.random.default_rng([self.draws.seed, 4]).permutation(len(self.all)), kind="stable")
        own = np.full(len(self.all), np.nan)
        for one, two in ((order[::2], order[1::2]), (order[1::2], order[::2])):
            own[one] = self._inside(self.all.take(one), self.all.take(two))
        found = self.mean(inside, own[: len(self.humans)])
        return found if math.isfinite(found.floor) else replace(self.mean(inside, None), floor=_COVERAGE)

    def _inside(self, side: Side, humans: Side) -> Floats:
        if len(humans) < 20:
            return np.full(len(side), np.nan)
        found = hcr(side.features[:, self.alone], humans.features[:, self.alone])
        inside = np.asarray(found.inside, dtype=np.float64).copy()
        inside[side.empty & ~np.isnan(inside)] = 0.0
        return inside

    def tails(self) -> Iterator[tuple[str, Cell]]:
        """Give the shares of values below, above and in the middle half of the humans'."""
        own = self.all.features[:, self.alone]
        model, humans = (_tails(side.features[:, self.alone], own) for side in (self.model, self.humans))
        for name, one, two in zip(("below", "above", "middle"), model, humans, strict=True):
            yield name, self.mean(one, two)

    def near(self) -> Iterator[tuple[str, Cell]]:
        """Give precision and coverage, by neighbours, with as many rows of either side."""
        kept = self._kept(_NEAR_ROWS)
        squared, count = kept.squared(kept.union), len(kept.model)
        one, two = np.arange(count), np.arange(count, 2 * count)
        value = _shares(squared, one, two)
        inside = kept.draws.swapped(kept.model.groups)[:, :_NEAR_DRAWS]
        # Halves without replacement vary as the whole does; what is drawn twice would be its own neighbour.
        found = [_shares(squared, one[half], two[half]) for half in inside.T if half.sum() > _NEAREST]
        null = [_shares(squared, np.where(swap, two, one), np.where(swap, one, two)) for swap in inside.T]
        own = []
        if kept.half > _NEAREST:
            halves = (half[:, :_NEAR_DRAWS].T for half in kept.draws.halves(kept.all.groups, kept.half))
            own = [
                _shares(squared, count + np.flatnonzero(a), count + np.flatnonzero(b))
                for a, b in zip(*halves, strict=True)
            ]
        for at, name in enumerate(("precision", "coverage")):
            mine = np.array([shares[at] for shares in own])
            yield (
                name,
                Cell(
                    value[at],
                    float(mine.mean()) if len(mine) else math.nan,
                    _padded([shares[at] for shares in found], self.draws.count),
                    float(mine.std()) if len(mine) else math.nan,
                    value[at],
                    _padded([shares[at] for shares in null], self.draws.count),
                    np.zeros(0),
                ),
            )

    # ---------------------------------------------------------------------------------------------- diversity

    def diversity(self) -> Iterator[tuple[str, Cell]]:
        """Give distinct-n and Self-BLEU over the answers, beside the humans' to the same prompts."""
        kept = self._kept(_KERNEL_ROWS)
        model, humans = (answer_tokens(side.texts, self.language) for side in (kept.model, kept.humans))
        for n in (1, 2):
            yield f"distinct_{n}", kept.distinct(model, humans, n)
        bleu = [self_bleu_of_each(side.texts, self.language) for side in (kept.model, kept.humans)]
        yield "self_bleu", kept.mean(*bleu)

    def distinct(self, model: Sequence[list[str]], humans: Sequence[list[str]], n: int) -> Cell:
        """Return the share of different n-grams expected among as many as both sides have."""
        grams = _Ngrams([*model, *humans], n)
        count = len(model)
        rows = np.arange(2 * count)
        first = rows < count
        at = min(grams.total(first), grams.total(~first))
        if not at:
            return self._nothing()
        value, floor = grams.distinct(first, at), grams.distinct(~first, at)
        swapped = self.draws.swapped(self.model.groups)
        halves, own, null = [], [], []
        for draw in range(min(_NEAR_DRAWS, self.draws.count)):
            swap = swapped[:, draw]
            one, two = np.concatenate([swap, ~swap & False]), np.concatenate([swap & False, swap])
            size = max(1, min(at // 2, grams.total(one), grams.total(two)))
            halves.append(grams.distinct(one, size))
            own.append(grams.distinct(two, size))
            one = np.concatenate([~swap, swap])
            size = min(at, grams.total(one), grams.total(~one))
            null.append(grams.distinct(one, size) - grams.distinct(~one, size) if size else math.nan)
        padded = (_padded(values, self.draws.count) for values in (halves, null))
        return Cell(value, floor, next(padded), float(np.std(own)), value - floor, next(padded), np.zeros(0))

    def _nothing(self) -> Cell:
        nothing = np.full(self.draws.count, np.nan)
        return Cell(math.nan, math.nan, nothing, math.nan, math.nan, nothing, np.zeros(0))


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _padded(values: Sequence[float], count: int) -> Floats:
    """Return fewer draws as if they were as many as all others."""
    if not values:
        return np.full(count, np.nan)
    return np.resize(np.asarray(values, dtype=np.float64), count)


def _discrepancies(kernel: Singles, one: Singles, two: Singles) -> Floats:
    """Return the unbiased squared MMD of weighted sets, over pairs of different rows; the kernel has no diagonal."""

    def pairs(a: Singles, b: Singles, product: Singles) -> Floats:
        sums = a.sum(axis=0, dtype=np.float64) * b.sum(axis=0, dtype=np.float64)
        sums -= (a.astype(np.float64) * b).sum(axis=0)
        return np.asarray((product * b).sum(axis=0, dtype=np.float64) / np.maximum(sums, 1.0))

    of_one, of_two = kernel @ one, kernel @ two
    return pairs(one, one, of_one) + pairs(two, two, of_two) - 2.0 * pairs(one, two, of_one)


def _gaps(rows: Floats, columns: Indices, spread: Floats, one: Singles, two: Singles) -> Floats:
    """Return the mean over features of W1 between weighted sets, in units of a spread."""
    total = np.zeros(one.shape[1])
    counted = np.zeros(one.shape[1])
    plain = _shares_of(one) - _shares_of(two)
    for column in columns.tolist():
        values = rows[:, column]
        known = np.flatnonzero(~np.isnan(values))
        order = known[np.argsort(values[known], kind="stable")]
        apart = (plain if len(known) == len(rows) else _known(one, two, known))[order]
        sizes = np.diff(values[order])
        steps = np.flatnonzero(sizes > 0)
        if len(steps):
            # Where values are equal only the sum matters.
            starts = np.concatenate([[0], steps + 1])
            rising = np.cumsum(np.add.reduceat(apart, starts, axis=0)[:-1], axis=0)
            gap = (sizes[steps] / spread[column]).astype(np.float32) @ np.abs(rising)
        else:
            gap = np.zeros(one.shape[1])
        there = ~np.isnan(gap)
        total[there] += gap[there]
        counted += there
    with np.errstate(invalid="ignore"):
        return total / counted


def _shares_of(weights: Singles) -> Singles:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(weights / weights.sum(axis=0))


def _known(one: Singles, two: Singles, known: Indices) -> Singles:
    """Return the difference of the shares of rows with a value; NaN where a side has none."""
    found = np.zeros_like(one)
    found[known] = _shares_of(one[known]) - _shares_of(two[known])
    return found


def _spread(model: Floats, humans: Floats) -> Floats:
    """Return each feature's standard deviation over both sides, each weighing half; NaN where one has no value."""
    found = np.full(model.shape[1], np.nan)
    there = (~np.isnan(model)).any(axis=0) & (~np.isnan(humans)).any(axis=0)
    if there.any():
        sides = [side[:, there] for side in (model, humans)]
        means = [np.nanmean(side, axis=0) for side in sides]
        within = sum(np.nanvar(side, axis=0) for side in sides) / 2
        found[there] = np.sqrt(within + (means[0] - means[1]) ** 2 / 4)
    return found


def _tails(rows: Floats, humans: Floats) -> tuple[Floats, Floats, Floats]:
    """Return, for each row, the share of its features below, above and in the middle of the humans'.

    A value that several humans have takes the places of all of them, so that humans get exactly 10%, 10% and 50%.
    """
    sums, known = np.zeros((3, len(rows))), np.zeros(len(rows))
    for column, own in zip(rows.T, humans.T, strict=True):
        ordered = np.sort(own[~np.isnan(own)])
        low = np.searchsorted(ordered, column) / len(ordered)
        high = np.searchsorted(ordered, column, side="right") / len(ordered)
        # A value that no human has is a point between two of them.
        wide = np.maximum(high - low, 1e-9)
        high = low + wide
        there = ~np.isnan(column)
        for at, (start, end) in enumerate(((-1.0, _TAIL), (1 - _TAIL, 2.0), (0.25, 0.75))):
            part = np.clip(np.minimum(high, end) - np.maximum(low, start), 0.0, None) / wide
            sums[at, there] += part[there]
        known += there
    with np.errstate(invalid="ignore"):
        below, above, middle = sums / np.where(known > 0, known, np.nan)
    return below, above, middle


def _shares(squared: Floats, model: Indices, humans: Indices) -> tuple[float, float]:
    """Return precision and coverage of some rows against others."""
    if len(humans) <= _NEAREST:
        return math.nan, math.nan
    own = squared[np.ix_(humans, humans)]
    near = squared[np.ix_(model, humans)] <= reach(own, _NEAREST)[None, :]
    return float(near.any(axis=1).mean()), float(near.any(axis=0).mean())


class _Ngrams:
    """The n-grams of texts, as numbers."""

    def __init__(self, texts: Sequence[list[str]], n: int) -> None:
        numbers: dict[tuple[str, ...], int] = {}
        found, rows = [], []
        for row, tokens in enumerate(texts):
            grams = list(zip(*(tokens[at:] for at in range(n)), strict=False))
            found += [numbers.setdefault(gram, len(numbers)) for gram in grams]
            rows += [row] * len(grams)
        self._numbers, self._rows = np.array(found, dtype=np.int64), np.array(rows, dtype=np.int64)
        self._kinds = len(numbers)
        self._log = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, len(found) + 1)))])

    def total(self, texts: Mask) -> int:
        """Return how many n-grams some texts have."""
        return int(texts[self._rows].sum()) if len(self._rows) else 0

    def distinct(self, texts: Mask, at: int) -> float:
        """Return the expected share of different ones among `at` n-grams drawn from those of some texts."""
        counts = np.bincount(self._numbers[texts[self._rows]], minlength=self._kinds)
        total = int(counts.sum())
        if not at or at > total:
            return math.nan
        sizes, times = np.unique(counts[counts > 0], return_counts=True)
        log, left = self._log, total - sizes
        there = left >= at
        none = np.zeros(len(sizes))
        none[there] = np.exp(log[left[there]] - log[left[there] - at] - log[total] + log[total - at])
        return float((times * (1 - none)).sum() / at)
