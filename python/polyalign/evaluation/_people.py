"""The humans of a bucket, and what is told of them alone: once for all models that answer the same prompts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from polyalign.evaluation.metrics import self_bleu_of_each
from polyalign.evaluation.metrics._coverage import tail_shares
from polyalign.evaluation.metrics._diversity import Ngrams
from polyalign.evaluation.metrics._faithfulness import hcr
from polyalign.evaluation.metrics._rows import reach, squared_distances
from polyalign.evaluation.metrics._weighted import discrepancies, w1

if TYPE_CHECKING:
    from polyalign.evaluation._arrays import Floats, Indices, Mask, Singles
    from polyalign.evaluation._statistics import Draws

__all__ = ["NEAREST", "NEAR_DRAWS", "NEAR_ROWS", "ROWS", "Columns", "People", "Side", "near_shares"]

#: So many prompts of a bucket, and twice as many humans, are looked at in distances between sets.
ROWS = 1000
#: How far a neighbourhood reaches, and how many rows and draws it is worth.
NEAREST, NEAR_ROWS, NEAR_DRAWS = 5, 300, 60
#: An empty answer's squared distance from any text.
_FAR = 1e12
_FURTHEST = 5.0


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
        """Return rows in these units, as `standardised`."""
        return standardised(rows, self.centre, self.spread)


def standardised(rows: Floats, centre: Floats, spread: Floats) -> Floats:
    """Return rows about the centre in units of the spread; what is not defined is as the centre.

    What is beyond 5 counts as 5, as in the support distance: a feature that hardly varies among humans must not be all
    that is seen.
    """
    found = (rows - centre) / spread
    found[np.isnan(found)] = 0.0
    return np.clip(found, -_FURTHEST, _FURTHEST, out=found)


class People:
    """The humans of a bucket.

    Parameters
    ----------
    humans, more : Side
        Those whose prompts a model answers, and further ones.
    language : str
    columns : Columns
    draws : Draws
    """

    def __init__(self, humans: Side, more: Side, language: str, columns: Columns, draws: Draws) -> None:
        self.humans, self.more, self.language, self.columns, self.draws = humans, more, language, columns, draws
        self.all = Side.joined(humans, more)
        self.scale = Scale.of(self.all.features, columns)
        #: The features that say what an answer is like, whatever was asked.
        self.alone = np.flatnonzero(self.scale.used & ~columns.related)
        #: As many humans as can be parted into two sets of one size, up to the model's.
        self.half = min(len(humans), len(self.all) // 2)

    @cached_property
    def kept(self) -> People:
        """Those that distances between sets look at: the first, in order of hashes."""
        return self._first(ROWS)

    @cached_property
    def near(self) -> People:
        """Those that neighbours are looked for among."""
        return self._first(NEAR_ROWS)

    def _first(self, most: int) -> People:
        if len(self.humans) <= most and len(self.all) <= 2 * most:
            return self
        kept = min(most, len(self.humans))
        sides = self.humans.take(np.arange(kept)), self.more.take(np.arange(min(2 * most - kept, len(self.more))))
        return People(*sides, self.language, self.columns, self.draws)

    @cached_property
    def width(self) -> float:
        """The median distance of humans."""
        texts = self.all.take(np.flatnonzero(~self.all.empty)[:ROWS])
        rows = self.scale.standardised(texts.features)[:, self.alone]
        squared = squared_distances(rows, rows)[np.triu_indices(len(rows), 1)]
        middle = math.sqrt(float(np.median(squared))) if len(squared) else 0.0
        return middle or 1.0

    def squared(self, side: Side) -> Floats:
        """Return the squared distances of rows; an empty text is far from any other, and as other empty ones."""
        rows = self.scale.standardised(side.features)[:, self.alone]
        squared = squared_distances(rows, rows)
        if side.empty.any():
            squared[side.empty[:, None] != side.empty[None, :]] = _FAR
            squared[side.empty[:, None] & side.empty[None, :]] = 0.0
        return squared

    def kernel(self, side: Side) -> Singles:
        """Return how alike rows are, 0 to 1; 0 of a row and itself."""
        squared = self.squared(side)
        squared /= -2.0 * self.width * self.width
        found = squared.astype(np.float32)
        np.exp(found, out=found)
        np.fill_diagonal(found, 0.0)
        return found

    @cached_property
    def halves(self) -> tuple[Mask, Mask]:
        """Two sets of as many humans, without a row of both, for every draw; nobody where there are few."""
        if self.half < 5:
            return np.zeros((2, len(self.all), 0), dtype=bool)  # type: ignore[return-value]
        return self.draws.halves(self.all.groups, self.half)

    # ----------------------------------------------------------------------------- of as many humans against others

    @cached_property
    def discrepancies(self) -> Floats:
        """The squared MMD: [draws]."""
        one, two = (half.astype(np.float32) for half in self.halves)
        return discrepancies(self.kernel(self.all), one, two)

    @cached_property
    def gaps(self) -> Floats:
        """W1 of each feature: [features, draws]."""
        one, two = (half.astype(np.float32) for half in self.halves)
        return w1(self.all.features, one, two)

    @cached_property
    def shares(self) -> list[tuple[float, float]]:
        """Precision and coverage, of fewer draws."""
        if self.half <= NEAREST:
            return []
        squared = self.squared(self.all)
        halves = (half[:, :NEAR_DRAWS].T for half in self.halves)
        return [near_shares(squared, np.flatnonzero(a), np.flatnonzero(b)) for a, b in zip(*halves, strict=True)]

    # ------------------------------------------------------------------------------------------ of single humans

    def inside(self, side: Side) -> Floats:
        """Return how surely answers are within the region of 90% of humans."""
        return self._inside(side, self.all)

    @cached_property
    def held_out(self) -> Floats:
        """The same of the humans: either half is judged by the other."""
        order = np.argsort(np.random.default_rng([self.draws.seed, 4]).permutation(len(self.all)), kind="stable")
        own = np.full(len(self.all), np.nan)
        for one, two in ((order[::2], order[1::2]), (order[1::2], order[::2])):
            own[one] = self._inside(self.all.take(one), self.all.take(two))
        return own[: len(self.humans)]

    def _inside(self, side: Side, humans: Side) -> Floats:
        if len(humans) < 20:
            return np.full(len(side), np.nan)
        found = hcr(side.features[:, self.alone], humans.features[:, self.alone])
        inside = np.asarray(found.inside, dtype=np.float64).copy()
        inside[side.empty & ~np.isnan(inside)] = 0.0
        return inside

    def tails(self, side: Side) -> Floats:
        """Return, for each answer, the shares of its features below, above and in the middle half of the humans'."""
        sums, known = np.zeros((3, len(side))), np.zeros(len(side))
        for at in self.alone.tolist():
            found = tail_shares(side.features[:, at], self.all.features[:, at])
            there = ~np.isnan(found[0])
            sums[:, there] += found[:, there]
            known += there
        with np.errstate(invalid="ignore"):
            return np.asarray(sums / np.where(known > 0, known, np.nan))

    @cached_property
    def own_tails(self) -> Floats:
        """The same of the humans."""
        return self.tails(self.humans)

    @cached_property
    def bleu(self) -> Floats:
        """BLEU of each human answer against the others."""
        return self_bleu_of_each(self.humans.texts, self.language)

    def ngrams(self, side: Side, n: int) -> Ngrams:
        """Return the n-grams of some answers, and of the humans' after them."""
        return Ngrams([*side.texts, *self.humans.texts], self.language, n)


def near_shares(squared: Floats, model: Indices, humans: Indices) -> tuple[float, float]:
    """Return precision and coverage of some rows against others."""
    if len(humans) <= NEAREST:
        return math.nan, math.nan
    own = squared[np.ix_(humans, humans)]
    near = squared[np.ix_(model, humans)] <= reach(own, NEAREST)[None, :]
    return float(near.any(axis=1).mean()), float(near.any(axis=0).mean())
