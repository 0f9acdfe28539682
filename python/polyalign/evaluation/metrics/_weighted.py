"""Distances between weighted sets of rows, of many sets at once: what resampling asks for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from polyalign.evaluation.metrics._rows import Doubles

__all__ = ["Weights", "discrepancies", "w1"]

#: How often each row is in each set, [rows, sets].
Weights = npt.NDArray[np.floating[Any]]


def discrepancies(kernel: Weights, one: Weights, two: Weights) -> Doubles:
    """Return the unbiased squared MMD between weighted sets, over pairs of different rows.

    Parameters
    ----------
    kernel : array, shape (rows, rows)
        With zeros on its diagonal.
    one, two : array, shape (rows, sets)
    """
    # Rows that no set of a side has cost nothing.
    first, second = (np.asarray(side.any(axis=1)) for side in (one, two))

    def pairs(a: Weights, b: Weights, product: Weights) -> Doubles:
        sums = a.sum(axis=0, dtype=np.float64) * b.sum(axis=0, dtype=np.float64)
        sums -= np.einsum("rs,rs->s", a, b, dtype=np.float64)
        return np.asarray(np.einsum("rs,rs->s", product, b, dtype=np.float64) / np.maximum(sums, 1.0))

    def times(rows: npt.NDArray[np.bool_], columns: npt.NDArray[np.bool_], weights: Weights) -> Weights:
        found = np.zeros_like(weights)
        found[rows] = kernel[np.ix_(rows, columns)] @ weights[columns]
        return found

    of_one, of_two = times(first | second, first, one), times(second, second, two)
    return pairs(one, one, of_one) + pairs(two, two, of_two) - 2.0 * pairs(one, two, of_one)


def w1(rows: Doubles, one: Weights, two: Weights) -> Doubles:
    """Return the Wasserstein-1 distances of columns between weighted sets; NaN is in no set.

    Parameters
    ----------
    rows : array, shape (rows, columns)
    one, two : array, shape (rows, sets)

    Returns
    -------
    array, shape (columns, sets)
        NaN where a side has nothing.
    """
    there = one.any(axis=1) | two.any(axis=1)
    rows, one, two = rows[there], one[there], two[there]
    missing, all_known = np.isnan(rows), _apart(one, two)
    found = np.full((rows.shape[1], one.shape[1]), np.nan)
    for column, (values, absent) in enumerate(zip(rows.T, missing.T, strict=True)):
        known = np.flatnonzero(~absent)
        if len(known):
            apart = all_known if len(known) == len(rows) else _apart(one[known], two[known])
            found[column] = _area(values[known], apart)
    return found


def _apart(one: Weights, two: Weights) -> Weights:
    """Return the difference of the shares of rows; NaN where a side has none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(one / one.sum(axis=0) - two / two.sum(axis=0))


def _area(values: Doubles, apart: Weights) -> Doubles:
    """Return the area between distribution functions, given how far apart the shares of values are."""
    order = np.argsort(values, kind="stable")
    sizes = np.diff(values[order])
    steps = np.flatnonzero(sizes > 0)
    # Where values are equal only the sum matters.
    rising = np.add.reduceat(apart[order], np.concatenate([[0], steps + 1]), axis=0)
    np.cumsum(rising, axis=0, out=rising)
    # The last is 0, or NaN.
    area = sizes[steps].astype(rising.dtype) @ np.abs(rising[:-1])
    return np.where(np.isnan(rising[-1]), np.nan, area)
