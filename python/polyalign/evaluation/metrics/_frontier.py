"""Several metrics in one number: naturalness, the frontier of utility and naturalness, the aggregate."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["aggregate", "naturalness", "nuf"]


def naturalness(bng: float, c_mauve: float | None = None, tdm: float | None = None) -> float:
    """Return the naturalness of a bucket: the geometric mean of 1 / (1 + BNG), C-MAUVE and TDM, each within 0 to 1.

    What is None or NaN is left out.

    Returns
    -------
    float
        0 to 1, humans near 1; NaN where nothing is known.

    Examples
    --------
    >>> naturalness(1.0, 0.5)
    0.5
    """
    gap = math.nan if _missing(bng) else 1 / (1 + bng)
    return _geometric_mean([gap, c_mauve, tdm])


def nuf(utility: Sequence[float], naturalness: Sequence[float]) -> float:
    """Return NUF: the area below the Pareto frontier of (utility, naturalness), a point a bucket, towards (0, 0).

    Parameters
    ----------
    utility : sequence of float
        F1 of each bucket, 0 to 1; clipped to that.
    naturalness : sequence of float
        Of each bucket (:func:`naturalness`), 0 to 1; clipped to that.

    Returns
    -------
    float
        0 to 1; buckets of which either is NaN are left out, NaN where none is left. It never falls as buckets are
        added: compare models on the same ones.

    Examples
    --------
    >>> round(nuf([0.5, 0.2, 0.1], [0.4, 0.8, 0.3]), 9)
    0.28
    """
    if len(utility) != len(naturalness):
        raise ValueError(f"{len(utility)} utilities and {len(naturalness)} naturalnesses: give one for each bucket")
    known = [
        (_clip(a), _clip(b)) for a, b in zip(utility, naturalness, strict=True) if not _missing(a) and not _missing(b)
    ]
    if not known:
        return math.nan
    frontier: list[tuple[float, float]] = []
    for point in sorted(known, key=lambda point: (-point[0], -point[1])):
        if not frontier or point[1] > frontier[-1][1]:
            frontier.append(point)
    # Going up: each step of utility has the greatest naturalness that is still to be had there.
    before = [0.0, *(point[0] for point in reversed(frontier[1:]))]
    return math.fsum((point[0] - start) * point[1] for point, start in zip(reversed(frontier), before, strict=True))


def aggregate(f1: float | None, bng: float | None, mauve: float | None = None, nuf: float | None = None) -> float:
    """Return the aggregate: the geometric mean of F1, 1 / (1 + BNG), MAUVE and NUF, without those that are missing.

    Returns
    -------
    float
        0 to 1; NaN where fewer than two are known. Numbers made of different parts don't compare.

    Examples
    --------
    >>> round(aggregate(0.5, 1.0, 0.5), 9)
    0.5
    """
    parts = [f1, None if _missing(bng) else 1 / (1 + float(bng or 0.0)), mauve, nuf]
    return _geometric_mean(parts) if sum(not _missing(part) for part in parts) > 1 else math.nan


def _geometric_mean(parts: Sequence[float | None]) -> float:
    known = [_clip(part) for part in parts if part is not None and not math.isnan(part)]
    if not known:
        return math.nan
    return math.prod(known) ** (1 / len(known))


def _missing(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _clip(value: float) -> float:
    return min(max(float(value), 0.0), 1.0)
