"""Coverage and precision apart: how much of the humans' variety a model reaches, and how much of it is theirs."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from polyalign._io.arrays import doubles
from polyalign.evaluation.metrics._rows import Doubles, drawn, ordered, reach, squared_distances, standardised

__all__ = ["Coverage", "Tails", "coverage", "tails"]


class Shares(NamedTuple):
    """What is within reach of what, each of 0 to 1 but for density."""

    precision: float
    """The share of the model's rows that lie within the humans' manifold: some human's k-th neighbour is further."""
    recall: float
    """The share of humans that lie within the model's."""
    density: float
    """How many humans' neighbourhoods a model's row lies in, over k: 1 on average for humans, more in the middle."""
    coverage: float
    """The share of humans with a row of the model in their neighbourhood."""


class Coverage(NamedTuple):
    """Coverage and precision of a model, and of humans."""

    model: Shares
    """Of the model against the humans. NaN where there is a reason."""
    humans: Shares
    """Of one half of the humans against the other: what a model that writes as they do gets, about."""
    size: int
    """How many rows of either side were compared."""
    reason: str | None
    """Why there is no number."""


def coverage(
    model: Any,
    human: Any,
    *,
    k: int = 5,
    scales: Any = None,
    standardise: bool | tuple[Any, Any] = True,
    most: int = 2_000,
    min_count: int = 20,
    seed: int = 0,
) -> Coverage:
    """Measure precision, recall, density and coverage by nearest neighbours, with as many rows of either side.

    Parameters
    ----------
    model, human : array, shape (rows, features)
        Features or embeddings of one bucket.
    k : int, default 5
        A row's neighbourhood reaches to its k-th neighbour of its own side.
    scales, standardise
        As of :func:`polyalign.evaluation.metrics.mmd`.
    most : int, default 2000
        Rows of a side that are looked at; of more, as many are drawn.
    min_count : int, default 20
        Fewer rows on a side give no number.
    seed : int, default 0

    Returns
    -------
    Coverage
        The same for any order of rows.

    References
    ----------
    Kynkäänniemi et al., "Improved precision and recall metric", 2019 (precision, recall); Naeem et al., "Reliable
    fidelity and diversity metrics for generative models", 2020 (density, coverage).

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(400, 2))
    >>> found = coverage(rows[:200] / 10, rows[200:])
    >>> found.model.precision, found.model.coverage < 0.5 < found.humans.coverage
    (1.0, True)
    """
    if k < 1:
        raise ValueError(f"k is {k}: at least 1 is needed")
    rows, humans = standardised(model, human, scales, standardise)
    size, least = min(len(rows), len(humans), most), max(min_count, k + 1)
    none = Shares(math.nan, math.nan, math.nan, math.nan)
    if size < least:
        fewer = "model" if len(rows) < len(humans) else "humans"
        return Coverage(none, none, size, f"not enough rows of {fewer} (n={size}, need {least})")
    found = _shares(drawn(rows, size, seed), drawn(humans, size, seed), k)
    half = min(len(humans) // 2, size)
    order = np.random.default_rng(seed).permutation(len(humans))
    own = ordered(humans)
    parts = own[order[:half]], own[order[half : 2 * half]]
    return Coverage(found, _shares(*parts, k) if half > k else none, size, None)


def _shares(rows: Doubles, humans: Doubles, k: int) -> Shares:
    across = squared_distances(rows, humans)
    reach_of_humans, reach_of_rows = (reach(squared_distances(side, side), k) for side in (humans, rows))
    near = across <= reach_of_humans[None, :]
    return Shares(
        float(near.any(axis=1).mean()),
        float((across <= reach_of_rows[:, None]).any(axis=0).mean()),
        float(near.sum(axis=1).mean()) / k,
        float(near.any(axis=0).mean()),
    )


class Tails(NamedTuple):
    """Shares of a model's values that are rare among humans, a number each or one for each feature."""

    below: Any
    """Below the humans' quantile `share`."""
    above: Any
    """Above the quantile 1 − `share`."""
    middle: Any
    """In the middle half of humans: .5 for them, more where a model is stuck there."""


def tails(model: Any, human: Any, share: float = 0.1) -> Tails:
    """Say how many of a model's values lie beyond and below those of most humans; humans get `share` on either side.

    For features, lengths or a critic's scores alike. A value that several humans have counts as any of the places that
    they take, so that humans get exactly `share`, constants too.

    Parameters
    ----------
    model, human : array, shape (rows) or (rows, features)
        NaN: left out.
    share : float, default 0.1
        Above 0, below .5.

    Returns
    -------
    Tails
        Numbers, or arrays of float64 [features]; NaN where a side has no values.

    Examples
    --------
    >>> tails([5.0, 5.0], range(11)).middle
    1.0
    >>> round(tails(range(100), range(100)).above, 9)
    0.1
    """
    if not 0 < share < 0.5:
        raise ValueError(f"share is {share}: it must lie between 0 and .5")
    sides = [
        doubles(name, list(side) if isinstance(side, range) else side)
        for name, side in (("model", model), ("human", human))
    ]
    if sides[0].ndim not in (1, 2) or sides[0].shape[1:] != sides[1].shape[1:]:
        shapes = " and ".join(str(list(side.shape)) for side in sides)
        raise ValueError(
            f"model and human have shapes {shapes}: they must be [rows], or [rows, features] with the same"
        )
    columns = [side[:, None] if side.ndim == 1 else side for side in sides]
    found = np.array([_tails(a, b, share) for a, b in zip(columns[0].T, columns[1].T, strict=True)]).reshape(-1, 3).T
    if sides[0].ndim == 1:
        return Tails(*(float(of[0]) for of in found))
    return Tails(*found)


def _tails(model: Doubles, human: Doubles, share: float) -> tuple[float, ...]:
    found = tail_shares(model, human, share)
    found = found[:, ~np.isnan(found[0])]
    count = found.shape[1]
    return tuple(math.fsum(np.sort(of)) / count for of in found) if count else (math.nan,) * 3


def tail_shares(model: Doubles, human: Doubles, share: float = 0.1) -> Doubles:
    """Return how much of each value lies below, above and in the middle half of the humans', 0 to 1: [3, rows]."""
    found = np.full((3, len(model)), np.nan)
    known, ordered = np.flatnonzero(~np.isnan(model)), np.sort(human[~np.isnan(human)])
    if not len(ordered):
        return found
    # The places that a value takes among humans: from what is less to what is no greater.
    low, high = (np.searchsorted(ordered, model[known], side) / len(ordered) for side in ("left", "right"))
    width = high - low
    said, wide = width > 0, np.where(width > 0, width, 1.0)
    for of, (start, end) in zip(found, ((0.0, share), (1.0 - share, 1.0), (0.25, 0.75)), strict=True):
        part = np.clip(np.minimum(high, end) - np.maximum(low, start), 0.0, None) / wide
        # What no human has stands at one place; at a border, half on either side, so that below is above turned round.
        after = 1.0 if start == 0 else ((low > start) + (low >= start) * 1.0) / 2
        before = 1.0 if end == 1 else ((low < end) + (low <= end) * 1.0) / 2
        of[known] = np.where(said, part, after * before)
    return found
