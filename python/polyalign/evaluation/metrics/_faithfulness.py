"""Faithfulness: how near a model's features are to those of the humans of its bucket.

All take features of one bucket: the model's rows and the humans', a column a feature. :func:`macro` makes one number of
those of several buckets.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from polyalign import distances
from polyalign.evaluation.metrics._rows import (
    Doubles,
    comparable,
    matrices,
    matrix,
    of_features,
    pooled_deviation,
)

__all__ = ["BNG", "HCR", "LengthGap", "bng", "hcr", "hcr_paper", "length_gap", "macro"]

_NO_SPREAD = 1e-12


class BNG(NamedTuple):
    """A bucket naturalness gap."""

    value: float
    """The mean over features: 0 where model and humans are alike. NaN where there is a reason."""
    by_feature: Doubles
    """That of each feature, [features]; NaN of one that either side lacks."""
    features: int
    """How many features were compared."""
    reason: str | None
    """Why there is no number."""


def bng(
    model: Any,
    human: Any,
    *,
    scales: Any = None,
    variant: Literal["default", "cdf", "paper"] = "default",
    threads: int | None = None,
) -> BNG:
    """Measure the bucket naturalness gap: the mean over features of the Wasserstein-1 distance in units of a scale.

    Parameters
    ----------
    model, human : array, shape (rows, features)
        Features of one bucket; NaN where one is not defined for a row.
    scales : array, shape (features), optional
        What counts as one step of a feature, as :class:`polyalign.features.Feature` has it; for the default.
    variant : {"default", "cdf", "paper"}, default "default"
        With W1 the Wasserstein-1 distance of a feature and σ its humans' standard deviation:

        - ``"default"``: W1 / max(σ, σ of both sides together, scale): 0 to 2, so that a feature that is constant among
          humans, or one wild answer, can't outweigh all others;
        - ``"cdf"``: 2 · W1 between F(model) and F(human), F the humans' distribution function (at the middle of its
          step): 0 to 1, the same under any monotone change of scale;
        - ``"paper"``: W1 / σ, with 1 for a σ of 0: 0 to ∞.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    BNG

    Raises
    ------
    ValueError
        The sides have different features, or a value is infinite.

    Examples
    --------
    >>> bng([[1.0], [3.0]], [[0.0], [2.0]], variant="paper").value
    1.0
    >>> bng([[9.0], [9.0]], [[0.0], [0.0]]).value, bng([[9.0]], [[0.0]], variant="cdf").value
    (2.0, 1.0)
    """
    if variant not in ("default", "cdf", "paper"):
        raise ValueError(f"variant is {variant!r}: it must be 'default', 'cdf' or 'paper'")
    given = matrices(model, human)
    sides = comparable(*given)
    found = np.full(len(sides.used), np.nan)
    least = np.zeros(len(found)) if scales is None else of_features("scales", scales, len(found))
    found[sides.used] = _gaps(sides.model, sides.human, least[sides.used], variant, threads)
    count = int(sides.used.sum())
    reason = None if count else _nothing(given)
    return BNG(math.fsum(found[sides.used]) / count if count else math.nan, found, count, reason)


def _gaps(model: Doubles, human: Doubles, least: Doubles, variant: str, threads: int | None) -> Doubles:
    """Return the gap of each feature: all that every row has at once, the others one by one."""
    found = np.empty(model.shape[1])
    whole = ~np.isnan(model).any(axis=0) & ~np.isnan(human).any(axis=0)
    if whole.any():
        found[whole] = _gap(model[:, whole], human[:, whole], least[whole], variant, threads)
    for at in np.flatnonzero(~whole):
        sides = [column[~np.isnan(column)][:, None] for column in (model[:, at], human[:, at])]
        found[at] = _gap(sides[0], sides[1], least[at : at + 1], variant, threads)[0]
    return found


def _gap(model: Doubles, human: Doubles, least: Doubles, variant: str, threads: int | None) -> Doubles:
    if variant == "cdf":
        columns = list(zip(model.T, human.T, strict=True))
        ranks = [np.stack([_ranks(column[at], column[1]) for column in columns], axis=1) for at in (0, 1)]
        return 2.0 * distances.sample_distance(ranks[0], ranks[1], threads=threads)
    gap, scale = distances.sample_distance(model, human, threads=threads), human.std(axis=0)
    if variant == "paper":
        return np.asarray(gap / np.where(scale > _NO_SPREAD, scale, 1.0))
    scale = np.where(scale > _NO_SPREAD * np.abs(human).max(axis=0), scale, 0.0)
    scale = np.maximum(np.maximum(scale, pooled_deviation(model, human)), least)
    return np.where(scale > 0, gap / np.where(scale > 0, scale, 1.0), 0.0)


def _w1(x: Doubles, y: Doubles) -> float:
    return float(distances.sample_distance(x, y))


def _ranks(values: Doubles, human: Doubles) -> Doubles:
    """Return the humans' distribution function of values, at the middle of its steps."""
    ordered = np.sort(human)
    return (np.searchsorted(ordered, values) + np.searchsorted(ordered, values, side="right")) / (2.0 * len(human))


def _nothing(given: tuple[Doubles, Doubles]) -> str:
    for name, side in zip(("model", "human"), given, strict=True):
        if not len(side):
            return f"{name} has no rows"
    return "no feature is defined on both sides"


class HCR(NamedTuple):
    """A human coverage rate."""

    value: float
    """The share of the model's rows within the humans' region. NaN where there is a reason."""
    inside: Doubles
    """Of each of the model's rows, 0 to 1: how surely it is within, [rows]."""
    humans: float
    """What held-out humans get: exactly this, on average."""
    feature_rate: float
    """The mean over rows and features of whether a feature alone is within its band."""
    reason: str | None
    """Why there is no number."""


def hcr(model: Any, human: Any, *, coverage: float = 0.9, folds: int = 5, min_count: int = 20, seed: int = 0) -> HCR:
    """Measure the calibrated human coverage rate: how many of the model's answers lie where 90% of humans do.

    How far out a row is, is the mean over its features of −log(2 min(F, 1 − F)), F the humans' distribution function
    at the middle of its steps: as Fisher combines p-values. The region holds exactly `coverage` of held-out humans:
    each fold of humans is judged by the others, and the model's rows by each fold's others in turn.

    Parameters
    ----------
    model, human : array, shape (rows, features)
        Features of one bucket; NaN where one is not defined for a row.
    coverage : float, default 0.9
        What held-out humans get.
    folds : int, default 5
        At least 2. Humans whose features are all the same are in one fold.
    min_count : int, default 20
        Fewer humans give no number.
    seed : int, default 0
        Which humans share a fold.

    Returns
    -------
    HCR
        0 to 1. `coverage` where the model's rows are as humans'; above it where they crowd in the middle.

    Raises
    ------
    ValueError
        The sides have different features, a value is infinite, or `coverage` or `folds` can't be.

    References
    ----------
    Vovk, "Cross-conformal predictors", 2015.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(400, 3))
    >>> bool(abs(hcr(rows[:200], rows[200:]).value - 0.9) < 0.06), hcr(rows[:200] + 9, rows[200:]).value
    (True, 0.0)
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage is {coverage}: it must lie between 0 and 1")
    if folds < 2:
        raise ValueError(f"folds is {folds}: at least 2 are needed")
    sides = comparable(model, human)
    rows, humans = sides.model, sides.human
    if len(humans) < max(min_count, folds) or not len(rows) or not rows.shape[1]:
        reason = f"not enough humans (n={len(humans)}, need {max(min_count, folds)})"
        if len(humans) >= max(min_count, folds):
            reason = _nothing((rows, humans))
        return HCR(math.nan, np.full(len(rows), np.nan), coverage, math.nan, reason)
    fold_of = _folds(humans, folds, seed)
    # All humans may be alike, and a fold empty.
    kept = [fold for fold in range(folds) if 0 < (fold_of == fold).sum() < len(humans)]
    if not kept:
        return HCR(math.nan, np.full(len(rows), np.nan), coverage, math.nan, "all humans have the same features")
    odd = _oddness(rows, humans, [fold_of != fold for fold in kept])
    held_out = np.full(len(humans), np.nan)
    for fold, scores in zip(kept, odd, strict=True):
        held_out[fold_of == fold] = scores[len(rows) :][fold_of == fold]
    by_fold = [scores[: len(rows)] for scores in odd]
    inside = np.mean([_within(odd, np.sort(held_out[~np.isnan(held_out)]), coverage) for odd in by_fold], axis=0)
    tails = (1 - coverage) / 2
    low, high = np.nanquantile(humans, [tails, 1 - tails], axis=0)
    known = ~np.isnan(rows)
    rate = float(((rows >= low) & (rows <= high))[known].mean()) if known.any() else math.nan
    scored = inside[~np.isnan(inside)]
    value = math.fsum(np.sort(scored)) / len(scored) if len(scored) else math.nan
    return HCR(value, inside, coverage, rate, None if len(scored) else "no row has a feature")


def _folds(rows: Doubles, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the fold of each row: by what it holds, so that the order does not matter, and nearly even."""
    rows = np.ascontiguousarray(rows) + 0.0  # no negative zero
    keys = [hashlib.blake2b(row.tobytes(), digest_size=8, salt=str(seed).encode()[:16]).digest() for row in rows]
    number = {key: at % folds for at, key in enumerate(sorted(set(keys)))}
    return np.array([number[key] for key in keys])


def _oddness(rows: Doubles, humans: Doubles, sets: list[npt.NDArray[np.bool_]]) -> Doubles:
    """Return how far out rows, and humans after them, are among each set of humans: [sets, rows and humans].

    It is the mean over features of −log of the tail beyond; NaN of a row without any.
    """
    both = np.concatenate([rows, humans])
    total, known = np.zeros((2, len(sets), len(both)))
    for column in both.T:
        there = np.flatnonzero(~np.isnan(column))
        # Sorted once; among whom a value stands is then a matter of counting.
        values, codes = np.unique(column[there], return_inverse=True)
        is_human = there >= len(rows)
        for at, among in enumerate(sets):
            counts = np.bincount(codes[is_human][among[there[is_human] - len(rows)]], minlength=len(values))
            upto = np.cumsum(counts)
            if upto[-1] == 0:
                continue
            # One more on either side: beyond all humans is not beyond doubt.
            share = (2 * upto - counts + 1) / (2 * upto[-1] + 2)
            total[at, there] -= np.log(2 * np.minimum(share, 1 - share))[codes]
            known[at, there] += 1
    with np.errstate(invalid="ignore"):
        return np.where(known > 0, total / known, np.nan)


def _within(odd: Doubles, held_out: Doubles, coverage: float) -> Doubles:
    """Return how surely scores are among the nearest `coverage` of the held-out humans and one more."""
    place = coverage * (len(held_out) + 1)
    whole = math.floor(place)
    # A score among `below` that are less and `upto` that are no greater takes any of these places, and its own.
    below = np.searchsorted(held_out, odd)
    upto = np.searchsorted(held_out, odd, side="right")
    share = np.clip((whole + (place - whole) - below) / (upto - below + 1), 0.0, 1.0)
    return np.where(np.isnan(odd), np.nan, share)


def hcr_paper(model: Any, low: Any, high: Any) -> HCR:
    """Measure the paper's human coverage rate: the share of rows with every feature within its band, ends included.

    With many features almost no row is, a human's neither: :func:`hcr` is calibrated.

    Parameters
    ----------
    model : array, shape (rows, features)
    low, high : array, shape (features)
        The bands of the bucket's humans, q10 to q90 as a rule.

    Returns
    -------
    HCR
        0 to 1; what humans get is not known.

    Examples
    --------
    >>> found = hcr_paper([[1.0, 2.0], [1.0, 9.0]], [0.0, 0.0], [1.0, 3.0])
    >>> found.value, found.feature_rate
    (0.5, 0.75)
    """
    rows = matrix("model", model)
    low, high = (of_features(name, end, rows.shape[1]) for name, end in (("low", low), ("high", high)))
    if not rows.size:
        return HCR(math.nan, np.zeros(0), math.nan, math.nan, "model has no rows" if not len(rows) else "no features")
    inside = (rows >= low) & (rows <= high)
    whole = inside.all(axis=1).astype(np.float64)
    return HCR(float(whole.mean()), whole, math.nan, float(inside.mean()), None)


class LengthGap(NamedTuple):
    """How far apart the lengths of two sets are."""

    w1: float
    """Wasserstein-1, in the unit of the lengths."""
    relative: float
    """The same as a share of the humans' mean length; 0 to ∞."""
    difference: float
    """The model's mean length less the humans', as a share of it."""


def length_gap(model: Any, human: Any) -> LengthGap:
    """Measure how far the lengths of a model's answers are from those of humans.

    Parameters
    ----------
    model, human : array of float, shape (rows)
        Lengths, in words, tokens or characters. NaN: left out.

    Returns
    -------
    LengthGap
        NaN where a side is empty.

    Examples
    --------
    >>> length_gap([4, 6], [8, 12])
    LengthGap(w1=5.0, relative=0.5, difference=-0.5)
    """
    sides = [np.asarray(side, np.float64).ravel() for side in (model, human)]
    sides = [side[~np.isnan(side)] for side in sides]
    if not len(sides[0]) or not len(sides[1]):
        return LengthGap(math.nan, math.nan, math.nan)
    gap, means = _w1(sides[0], sides[1]), [math.fsum(side) / len(side) for side in sides]
    if not means[1]:
        return LengthGap(gap, math.nan, math.nan)
    return LengthGap(gap, gap / means[1], means[0] / means[1] - 1)


def macro(values: Mapping[str, float], weights: Mapping[str, float] | None = None) -> float:
    """Return the mean over buckets, NaN left out: of the plain kind, or weighted.

    Parameters
    ----------
    values : mapping from a bucket to a number
    weights : mapping from a bucket to a number, optional
        As many as a bucket has rows, say.

    Examples
    --------
    >>> macro({"a": 1.0, "b": 3.0, "c": float("nan")}), macro({"a": 1.0, "b": 4.0}, {"a": 2, "b": 1})
    (2.0, 2.0)
    """
    known = [(value, 1.0 if weights is None else float(weights[key])) for key, value in values.items()]
    known = sorted((value, weight) for value, weight in known if not math.isnan(value))
    total = math.fsum(weight for _, weight in known)
    return math.fsum(value * weight for value, weight in known) / total if total else math.nan
