"""The numbers of a model in one bucket, with all that is resampled of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from polyalign.evaluation._people import NEAR_DRAWS, NEAR_ROWS, NEAREST, ROWS, People, Side, near_shares
from polyalign.evaluation._statistics import mean_draws, mean_swaps
from polyalign.evaluation.metrics import match_lengths, self_bleu_of_each
from polyalign.evaluation.metrics._mauve import area_of, components
from polyalign.evaluation.metrics._rows import pooled_deviation
from polyalign.evaluation.metrics._turns import Turns, similarities, spreads
from polyalign.evaluation.metrics._weighted import discrepancies, w1

if TYPE_CHECKING:
    from polyalign.evaluation._arrays import Floats, Indices, Singles
    from polyalign.evaluation._statistics import Draws

__all__ = ["Cell", "Rows", "cells", "mean_cells"]

#: MAUVE is the mean over so many seeds, and is resampled so often; fewer rows of like length give none.
_SEEDS, _MAUVE_DRAWS, _MAUVE_ROWS = 5, 40, 20
_EXPLAINED = 0.9
#: An empty answer's gap from any text: what two points far apart come to in units of the spread of both.
_MOST_APART = 2.0
#: What held-out humans have of HCR.
_COVERAGE = 0.9


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


#: By metric, what each of the model's and of the humans' answers has; ``None``: humans have none.
Rows = Mapping[str, "tuple[Floats, Floats | None]"]


def cells(
    model: Side,
    people: People,
    rows: Rows,
    turns: tuple[Turns, Turns] | None = None,
    vectors: tuple[Singles, Singles] | None = None,
) -> Iterator[tuple[str, Cell]]:
    """Give the metrics of a bucket.

    Parameters
    ----------
    model : Side
        The model's answers.
    people : People
        Humans' answers to the same prompts, row by row, and further humans of the bucket.
    rows : mapping
        What is known of single answers.
    turns : tuple of two Turns, optional
        The model's and all humans', where there are several turns.
    vectors : tuple of two arrays, optional
        Embeddings of the answers, and of the humans, that neighbours are looked for among.
    """
    bucket = _Bucket(model, people)
    yield from bucket.means({**rows, **bucket.rows()})
    yield "mmd", bucket.mmd()
    yield "bng", bucket.bng()
    yield "interaction", bucket.interaction()
    yield "length_w1", bucket.length()
    yield from bucket.near()
    yield from bucket.distinct()
    if turns is not None:
        yield "tdm", bucket.turns(*turns)
    if vectors is not None:
        yield "mauve", bucket.mauve(*vectors)


def mean_cells(model: Floats, humans: Floats, groups: Indices, draws: Draws) -> list[Cell]:
    """Return the means of columns of rows.

    Parameters
    ----------
    model, humans : array, shape (rows, columns)
        What each answer has, and the human's to the same prompt; NaN: nothing.
    groups : array, shape (rows)
    draws : Draws
    """
    times, apart, ones = draws.times(groups), model - humans, np.ones((len(model), 1))
    values, floors, tests = (mean_draws(of, ones)[:, 0].tolist() for of in (model, humans, apart))
    drawn, own = mean_draws(model, times), mean_draws(humans, times)
    null = mean_swaps(apart, draws.swapped(groups))
    noises = [float(np.nanstd(of)) if np.isfinite(of).any() else math.nan for of in own]
    parts = zip(values, floors, drawn, noises, tests, null, model.T, strict=True)
    return [Cell(*of) for of in parts]


def _mean_gap(gaps: Floats, spread: Floats) -> Floats:
    """Return the mean over features of gaps [features, sets] in units of their spread, of those that are known."""
    gaps = gaps / spread[:, None]
    known = ~np.isnan(gaps)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, gaps, 0.0).sum(axis=0) / known.sum(axis=0))


class _Bucket:
    def __init__(self, model: Side, people: People) -> None:
        self.all, self.everyone, self.draws = model, people, people.draws
        #: What distances between sets look at.
        self.model, self.people = model.take(np.arange(min(ROWS, len(model)))), people.kept

    # ------------------------------------------------------------------------------------------------- means

    def rows(self) -> Rows:
        """Return what is told of single answers by the humans of the bucket: of either side."""
        people = self.everyone
        held_out = people.held_out
        found: dict[str, tuple[Floats, Floats | None]] = {
            "hcr": (people.inside(self.all), None if np.isnan(held_out).all() else held_out)
        }
        own = people.own_tails
        for at, (name, values) in enumerate(zip(("below", "above", "middle"), people.tails(self.all), strict=True)):
            found[name] = values, own[at]
        kept = len(self.model)
        bleu = self_bleu_of_each(self.model.texts, self.people.language), self.people.bleu
        both = np.full((2, len(self.all)), np.nan)
        both[:, :kept] = bleu
        return found | {"self_bleu": (both[0], both[1])}

    def means(self, rows: Rows) -> Iterator[tuple[str, Cell]]:
        """Give the means of rows; humans have theirs to the same prompts, or the model is not held against any."""
        names, none = list(rows), np.full(len(self.all), np.nan)
        model = np.column_stack([rows[name][0] for name in names])
        humans = np.column_stack([none if (own := rows[name][1]) is None else own for name in names])
        for name, cell in zip(names, mean_cells(model, humans, self.all.groups, self.draws), strict=True):
            unknown = name == "hcr" and math.isnan(cell.floor)
            yield name, replace(cell, floor=_COVERAGE) if unknown else cell

    # ---------------------------------------------------------------------------------------------- distances

    def between(self, measured: Callable[[Singles, Singles], Floats], own: Floats, most: int | None = None) -> Cell:
        """Return a distance between sets: measured of weights [rows, sets] of either side.

        The rows are the model's and the humans' to the same prompts; `own` are distances of humans from others.
        """
        count, draws = len(self.model), min(self.draws.count, most or self.draws.count)
        one, two = np.zeros((2, 2 * count, 1 + 2 * draws), dtype=np.float32)
        resampled, permuted = slice(1, 1 + draws), slice(1 + draws, None)
        groups = self.model.groups
        times, swapped = self.draws.times(groups)[:, :draws], self.draws.swapped(groups)[:, :draws]
        one[:count, 0] = two[count:, 0] = 1.0
        one[:count, resampled] = two[count:, resampled] = times
        one[:count, permuted] = two[count:, permuted] = ~swapped
        one[count:, permuted] = two[:count, permuted] = swapped
        found = measured(one, two)
        floor, noise = (float(own.mean()), float(own.std())) if len(own) else (math.nan, math.nan)
        value, resamples, null = float(found[0]), *(self._padded(found[of]) for of in (resampled, permuted))
        return Cell(value, floor, resamples, noise, value, null, np.zeros(0))

    @cached_property
    def union(self) -> Side:
        return Side.joined(self.model, self.people.humans)

    def mmd(self) -> Cell:
        """Return the squared MMD of standardised features."""
        kernel = self.people.kernel(self.union)
        return self.between(lambda one, two: discrepancies(kernel, one, two), self.people.discrepancies)

    def bng(self) -> Cell:
        """Return the mean over features of W1 in units of the humans' spread, or that of both."""
        return self._gap(self.people.alone)

    def interaction(self) -> Cell:
        """Return the same of the features that relate an answer to what was asked."""
        return self._gap(np.flatnonzero(self.people.scale.used & self.people.columns.related))

    def _gap(self, columns: Indices) -> Cell:
        union, empty = self.union, self.union.empty
        sides = [of.features[~of.empty] for of in (self.model, self.people.humans)]
        kept = columns
        for side in sides:
            kept = kept[(~np.isnan(side[:, kept])).any(axis=0)]
        if not len(kept) and not empty.any():
            return self._nothing()
        if len(kept):
            both = pooled_deviation(*(side[:, kept] for side in sides))
        else:  # nothing but empty answers
            kept, both = columns, np.zeros(len(columns))
        spread = np.maximum(self.people.scale.spread[kept], both)
        if not empty.any():
            return self._gaps(kept, spread)
        rows = np.where(empty[:, None], np.nan, union.features[:, kept])

        def gap(one: Singles, two: Singles) -> Floats:
            found = _mean_gap(w1(rows, one, two), spread)
            # What is empty on one side alone is as far as can be; of the rest the features tell.
            shares = [(of * empty[:, None]).sum(axis=0) / of.sum(axis=0) for of in (one, two)]
            rest = 1.0 - np.maximum(*shares)
            return np.asarray(np.where(rest > 0, rest * found, 0.0) + _MOST_APART * np.abs(shares[0] - shares[1]))

        return self.between(gap, _mean_gap(self.people.gaps[kept], spread))

    def length(self) -> Cell:
        """Return W1 of the numbers of words over the humans' mean."""
        words = self.people.columns.words
        mean = max(1.0, float(np.nanmean(self.people.humans.features[:, words])))
        return self._gaps(np.array([words]), np.array([mean]))

    def _gaps(self, columns: Indices, spread: Floats) -> Cell:
        rows = self.union.features[:, columns]
        return self.between(
            lambda one, two: _mean_gap(w1(rows, one, two), spread), _mean_gap(self.people.gaps[columns], spread)
        )

    def turns(self, model: Turns, humans: Turns) -> Cell:
        """Return turn dynamics, of fewer draws; the humans' are of all of them."""
        people, count = self.people, len(self.model)
        more = len(self.everyone.humans) + np.arange(len(people.more))
        own = humans.take(np.concatenate([np.arange(count), more]))
        model, same = model.take(np.arange(count)), own.take(np.arange(count))
        scale, union = spreads(model, same), Turns.joined(model, same)

        def mean(of: Turns, one: Singles, two: Singles) -> Floats:
            return np.asarray(similarities(of, scale, one, two).mean(axis=0))

        halves = (half[:, :NEAR_DRAWS].astype(np.float32) for half in people.halves)
        return self.between(lambda one, two: mean(union, one, two), mean(own, *halves), NEAR_DRAWS)

    # ------------------------------------------------------------------------------------------------ regions

    def near(self) -> Iterator[tuple[str, Cell]]:
        """Give precision and coverage, by neighbours, with as many rows of either side."""
        people, model = self.people.near, self.model.take(np.arange(min(NEAR_ROWS, len(self.model))))
        count = len(model)
        squared = people.squared(Side.joined(model, people.humans))
        one, two = np.arange(count), np.arange(count, 2 * count)
        value = near_shares(squared, one, two)
        inside = self.draws.swapped(model.groups)[:, :NEAR_DRAWS]
        # Halves without replacement vary as the whole does; what is drawn twice would be its own neighbour.
        found = [near_shares(squared, one[half], two[half]) for half in inside.T if half.sum() > NEAREST]
        null = [near_shares(squared, np.where(swap, two, one), np.where(swap, one, two)) for swap in inside.T]
        for at, name in enumerate(("precision", "coverage")):
            own = np.array([shares[at] for shares in people.shares])
            floor, noise = (float(own.mean()), float(own.std())) if len(own) else (math.nan, math.nan)
            draws, swaps = (self._padded([shares[at] for shares in of]) for of in (found, null))
            yield name, Cell(value[at], floor, draws, noise, value[at], swaps, np.zeros(0))

    def mauve(self, model: Singles, humans: Singles) -> Cell:
        """Return MAUVE of as many answers as neighbours are looked for among, of either side with like lengths."""
        people, count = self.people.near, len(model)
        rows = components(np.concatenate([model, humans]).astype(np.float64), _EXPLAINED)
        sides = self.model.features[:count], people.all.features
        words = np.nan_to_num(np.concatenate(sides)[:, people.columns.words])

        def area(one: Indices, two: Indices, seed: int) -> float:
            first, second = match_lengths(words[one], words[two], seed=seed)
            if len(first) < _MAUVE_ROWS:
                return math.nan
            both = rows[np.concatenate([one[first], two[second]])]
            return area_of(both, max(2, round(len(first) / 10)), seed)

        one, two = np.arange(count), np.arange(count, 2 * count)
        value = float(np.mean([area(one, two, seed) for seed in range(_SEEDS)]))
        # Halves without replacement, as of neighbours; each draw has a seed of its own.
        swaps = list(enumerate(self.draws.swapped(self.model.groups[:count]).T[:_MAUVE_DRAWS]))
        found = [area(one[half], two[half], seed) for seed, half in swaps]
        null = [area(np.where(swap, two, one), np.where(swap, one, two), seed) for seed, swap in swaps]
        halves = enumerate(zip(*(half.T[:_MAUVE_DRAWS] for half in people.halves), strict=True))
        own = np.array([area(count + np.flatnonzero(a), count + np.flatnonzero(b), seed) for seed, (a, b) in halves])
        own = own[~np.isnan(own)]
        floor, noise = (float(own.mean()), float(own.std())) if len(own) else (math.nan, math.nan)
        return Cell(value, floor, self._padded(found), noise, value, self._padded(null), np.zeros(0))

    # ---------------------------------------------------------------------------------------------- diversity

    def distinct(self) -> Iterator[tuple[str, Cell]]:
        """Give distinct-n over the answers, beside the humans' to the same prompts."""
        for n in (1, 2):
            yield f"distinct_{n}", self._distinct(n)

    def _distinct(self, n: int) -> Cell:
        """Return the share of different n-grams expected among as many as both sides have."""
        grams = self.people.ngrams(self.model, n)
        count = len(self.model)
        first = np.arange(2 * count) < count
        at = min(grams.total(first), grams.total(~first))
        if not at:
            return self._nothing()
        value, floor = grams.distinct(first, at), grams.distinct(~first, at)
        halves, own, null = [], [], []
        for swap in self.draws.swapped(self.model.groups).T[:NEAR_DRAWS]:
            none = np.zeros_like(swap)
            one, two = np.concatenate([swap, none]), np.concatenate([none, swap])
            size = max(1, min(at // 2, grams.total(one), grams.total(two)))
            halves.append(grams.distinct(one, size))
            own.append(grams.distinct(two, size))
            one = np.concatenate([~swap, swap])
            size = min(at, grams.total(one), grams.total(~one))
            null.append(grams.distinct(one, size) - grams.distinct(~one, size) if size else math.nan)
        draws, swaps = self._padded(halves), self._padded(null)
        return Cell(value, floor, draws, float(np.std(own)), value - floor, swaps, np.zeros(0))

    def _padded(self, values: Sequence[float] | Floats) -> Floats:
        """Return fewer draws as if they were as many as all others."""
        if not len(values):
            return np.full(self.draws.count, np.nan)
        return np.resize(np.asarray(values, dtype=np.float64), self.draws.count)

    def _nothing(self) -> Cell:
        nothing = np.full(self.draws.count, np.nan)
        return Cell(math.nan, math.nan, nothing, math.nan, math.nan, nothing, np.zeros(0))
