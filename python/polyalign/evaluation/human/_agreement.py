"""How well raters agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from polyalign.evaluation._arrays import Floats

__all__ = ["Level", "alphas", "coincidences", "krippendorff_alpha"]

Level = Literal["nominal", "ordinal", "interval"]
_LEVELS = ("nominal", "ordinal", "interval")


def krippendorff_alpha(ratings: Any, level: Level = "ordinal") -> float:
    """Return Krippendorff's alpha: 1 where raters agree, 0 as by chance, below where they disagree systematically.

    Parameters
    ----------
    ratings : array_like of float, shape (raters, units)
        NaN where a rater has not rated a unit. Units with fewer than two ratings say nothing.
    level : {"nominal", "ordinal", "interval"}, default "ordinal"
        How far values are apart: alike or not; by how many ratings lie between them; or by their difference.

    Returns
    -------
    float
        NaN where no unit has two ratings, or all ratings are one value.

    Raises
    ------
    ValueError
        Ratings of another shape, or a level that is not known.

    Notes
    -----
    1 − D_o/D_e, D_o the mean squared distance of two ratings of one unit, D_e that of any two that can be paired.

    References
    ----------
    K. Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011.

    Examples
    --------
    >>> krippendorff_alpha([[1, 2, 3, 4], [1, 2, 3, 4]])
    1.0
    """
    given = np.asarray(ratings, dtype=np.float64)
    if given.ndim != 2:
        raise ValueError(f"ratings have {given.ndim} dimensions: give a row a rater, a column a unit")
    values, matrices = coincidences(given)
    return float(alphas(matrices.sum(axis=0)[None], values, level)[0])


def coincidences(ratings: Floats) -> tuple[Floats, Floats]:
    """Return the values there are, and of each unit how often two of them meet, [units, values, values]."""
    known = ~np.isnan(ratings)
    values = np.unique(ratings[known])
    counts = (ratings[:, :, None] == values).sum(axis=0).astype(np.float64)
    many = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :]
    pairs -= counts[:, :, None] * np.eye(len(values))
    return values, np.where(many[:, None, None] > 1, pairs / np.maximum(many - 1, 1)[:, None, None], 0.0)


def alphas(matrices: Floats, values: Floats, level: Level) -> Floats:
    """Return alpha of each matrix of coincidences, [n, values, values]."""
    if level not in _LEVELS:
        raise ValueError(f"level is {level!r}: it must be one of {', '.join(_LEVELS)}")
    totals = matrices.sum(axis=2)
    number = totals.sum(axis=1)
    if level == "ordinal":
        # Half of the two values' own ratings, and all between them.
        middles = np.cumsum(totals, axis=1) - totals / 2
        apart = (middles[:, :, None] - middles[:, None, :]) ** 2
    elif level == "interval":
        apart = np.broadcast_to((values[:, None] - values[None]) ** 2, matrices.shape)
    else:
        apart = np.broadcast_to(1.0 - np.eye(len(values)), matrices.shape)
    observed = (matrices * apart).sum(axis=(1, 2))
    expected = (totals[:, :, None] * totals[:, None, :] * apart).sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = 1 - (number - 1) * observed / expected
    return np.where(expected > 0, found, np.nan)
