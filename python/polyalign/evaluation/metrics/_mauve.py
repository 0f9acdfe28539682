"""MAUVE: the area under the divergence frontier of two sets of embeddings, over seeds and at equal lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from polyalign.evaluation.metrics._rows import Doubles, drawn, matrices, ordered, squared_distances

__all__ = ["Mauve", "match_lengths", "mauve"]

_SCALING = 5.0
_POINTS = 25


class Mauve(NamedTuple):
    """MAUVE over several seeds."""

    value: float
    """The mean over seeds: 0 (nothing in common) to 1. NaN where there is a reason."""
    spread: float
    """The standard deviation over seeds: a smaller difference of two models says nothing."""
    by_seed: tuple[float, ...]
    """Of each seed."""
    size: int
    """How many rows of either side were compared."""
    clusters: int
    """How many clusters they were divided into."""
    reason: str | None
    """Why there is no number."""


def mauve(
    model: Any,
    human: Any,
    *,
    clusters: int | None = None,
    seeds: int | Sequence[int] = 5,
    explained: float = 0.9,
    most: int = 5_000,
    min_count: int = 20,
    variant: Literal["default", "paper"] = "default",
) -> Mauve:
    """Measure MAUVE of embeddings: of all texts, or of one bucket's (C-MAUVE is the mean over buckets).

    Both sides, with as many rows each, are projected on the principal components that explain .9 of their variance and
    divided into clusters by k-means; with P and Q their shares of the clusters and R = λP + (1 − λ)Q, MAUVE is the area
    under the curve of (exp(−c KL(Q‖R)), exp(−c KL(P‖R))), 0 < λ < 1, c = 5.

    Parameters
    ----------
    model, human : array, shape (rows, dimension)
        Embeddings: of GPT-2 as published, or of any encoder. Values of different encoders don't compare.
    clusters : int, optional
        Default: a tenth of the rows of a side, at least 2.
    seeds : int or sequence of int, default 5
        How many, or which.
    explained : float, default 0.9
    most : int, default 5000
        Rows of a side that are looked at.
    min_count : int, default 20
        Fewer rows on a side give no number.
    variant : {"default", "paper"}, default "default"
        ``"paper"``: as the package ``mauve-text`` has it (``pip install 'polyalign[eval]'``), with its own settings;
        rows need not be as many.

    Returns
    -------
    Mauve
        The same for any order of rows.

    References
    ----------
    Pillutla et al., "MAUVE", 2021.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(400, 4))
    >>> alike, apart = mauve(rows[:200], rows[200:]), mauve(rows[:200] + 5, rows[200:])
    >>> alike.value > 0.9 > 0.1 > apart.value
    True
    """
    rows, humans = matrices(model, human)
    for name, side in (("model", rows), ("human", humans)):
        if np.isnan(side).any():
            raise ValueError(f"{name} holds NaN: leave out rows without an embedding")
    size = min(len(rows), len(humans), most)
    if size < max(min_count, 2):
        fewer = "model" if len(rows) < len(humans) else "humans"
        none = math.nan
        return Mauve(none, none, (), size, 0, f"not enough rows of {fewer} (n={size}, need {max(min_count, 2)})")
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not numbers:
        raise ValueError("seeds: at least one is needed")
    if variant == "paper":
        return _published(ordered(rows)[:most], ordered(humans)[:most], clusters, numbers)
    if variant != "default":
        raise ValueError(f"variant is {variant!r}: it must be 'default' or 'paper'")
    count = max(2, round(size / 10)) if clusters is None else clusters
    if not 2 <= count <= 2 * size:
        raise ValueError(f"clusters is {count}: it must be 2 to {2 * size}")
    found = []
    for seed in numbers:
        both = np.concatenate([drawn(rows, size, seed), drawn(humans, size, seed)])
        found.append(area_of(components(both, explained), count, seed))
    return _over_seeds(found, size, count)


def area_of(both: Doubles, clusters: int, seed: int) -> float:
    """Return MAUVE of rows on their components, the first half of them the model's."""
    labels = _clusters(both, clusters, seed)
    p, q = (np.bincount(part, minlength=clusters) / len(part) for part in np.split(labels, 2))
    return frontier_area(p, q)


def _over_seeds(found: list[float], size: int, clusters: int) -> Mauve:
    spread = float(np.std(found, ddof=1)) if len(found) > 1 else math.nan
    return Mauve(math.fsum(found) / len(found), spread, tuple(found), size, clusters, None)


def frontier_area(p: Doubles, q: Doubles) -> float:
    """Return the area under the divergence frontier of two shares of the same clusters."""
    mixes = np.linspace(1e-6, 1 - 1e-6, _POINTS)[:, None]
    mixed = mixes * p + (1 - mixes) * q
    points = [np.exp(-_SCALING * _divergence(side, mixed)) for side in (q, p)]
    x, y = (np.concatenate([[start], line, [end]]) for line, start, end in ((points[0], 1, 0), (points[1], 0, 1)))
    # As published: the mean of the areas over either axis.
    areas = [_area(x, y), _area(y, x)]
    return sum(areas) / 2


def _divergence(side: Doubles, mixed: Doubles) -> Doubles:
    """Return KL(side‖each row), 0 where the side has nothing."""
    there = side > 0
    total: Doubles = (side[there] * np.log(side[there] / mixed[:, there])).sum(axis=1)
    return total


def _area(x: Doubles, y: Doubles) -> float:
    order = np.argsort(x, kind="stable")
    return float(np.trapezoid(y[order], x[order]))


def components(rows: Doubles, explained: float) -> Doubles:
    """Return rows of unit length on as many principal components as explain that share of the variance."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(norms > 0, norms, 1.0)
    rows = rows - rows.mean(axis=0)
    values, vectors = np.linalg.eigh(rows.T @ rows)
    shares = np.cumsum(np.maximum(values[::-1], 0.0))
    if not shares[-1]:
        return rows[:, :1]
    found: Doubles = rows @ vectors[:, ::-1][:, : int(np.searchsorted(shares, explained * shares[-1])) + 1]
    return found


def _clusters(rows: Doubles, count: int, seed: int, rounds: int = 100) -> npt.NDArray[np.intp]:
    """Return the cluster of each row: Lloyd's rounds from k-means++'s starts."""
    # Where rows lie close, rows before and after would be drawn otherwise: in an order of their own.
    order = np.lexsort(rows.T[::-1])
    centres = _starts(rows[order], count, np.random.default_rng(seed))
    labels = np.full(len(rows), -1, np.intp)
    for _ in range(rounds):
        nearest = squared_distances(rows, centres).argmin(axis=1)
        if (nearest == labels).all():
            break
        labels = nearest
        sizes = np.bincount(labels, minlength=count)
        sums = np.zeros_like(centres)
        np.add.at(sums, labels, rows)
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
    return labels


def _starts(rows: Doubles, count: int, random: np.random.Generator) -> Doubles:
    chosen = [int(random.integers(len(rows)))]
    nearest = squared_distances(rows, rows[chosen])[:, 0]
    for _ in range(count - 1):
        total = np.cumsum(nearest)
        at = np.searchsorted(total, random.random() * total[-1], side="right") if total[-1] > 0 else 0
        chosen.append(min(int(at), len(rows) - 1))
        nearest = np.minimum(nearest, squared_distances(rows, rows[chosen[-1:]])[:, 0])
    return rows[chosen]


def _published(rows: Doubles, humans: Doubles, clusters: int | None, seeds: Sequence[int]) -> Mauve:
    try:
        from mauve import compute_mauve
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"MAUVE as published needs {error.name}: pip install 'polyalign[eval]'", name=error.name
        ) from error
    count = clusters or max(2, round(min(len(rows), len(humans)) / 10))
    sides = {"p_features": humans.astype(np.float32), "q_features": rows.astype(np.float32)}
    found = [
        float(compute_mauve(**sides, num_buckets=clusters or "auto", seed=seed, verbose=False).mauve) for seed in seeds
    ]
    return _over_seeds(found, min(len(rows), len(humans)), count)


def match_lengths(model: Any, human: Any, *, seed: int = 0) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Choose rows of both sides whose lengths are distributed alike: MAUVE and others see lengths before all else.

    Parameters
    ----------
    model, human : array of float, shape (rows)
        Lengths. Both are cut at the deciles of all of them; of each piece as many rows of either side are taken as the
        smaller has.
    seed : int, default 0

    Returns
    -------
    tuple of two arrays of int64
        Numbers of rows, as many of either side, ascending.

    Examples
    --------
    >>> found = match_lengths([5, 5, 90, 90], [5, 90, 90, 90])
    >>> [len(rows) for rows in found]
    [3, 3]
    """
    sides = [np.asarray(side, np.float64).ravel() for side in (model, human)]
    if not len(sides[0]) or not len(sides[1]):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    for name, side in zip(("model", "human"), sides, strict=True):
        if np.isnan(side).any():
            raise ValueError(f"{name} holds NaN: leave out rows without a length")
    # Each side weighs half, whatever its size.
    edges = np.unique(np.mean([np.quantile(side, np.arange(1, 10) / 10) for side in sides], axis=0))
    pieces = [np.searchsorted(edges, side, side="left") for side in sides]
    random = np.random.default_rng(seed)
    chosen: tuple[list[int], list[int]] = ([], [])
    for piece in range(len(edges) + 1):
        rows = [np.flatnonzero(of == piece) for of in pieces]
        count = min(map(len, rows))
        for kept, own in zip(chosen, rows, strict=True):
            kept.extend(random.permutation(own)[:count].tolist())
    return tuple(np.array(sorted(kept), np.int64) for kept in chosen)  # type: ignore[return-value]
