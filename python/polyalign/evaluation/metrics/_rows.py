"""Rows of numbers, made ready: features that can't be compared left out, rows in an order of their own."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from polyalign._io.arrays import check_shape, doubles

Doubles = npt.NDArray[np.float64]


class Sides(NamedTuple):
    """The rows of a model and of humans, in the same features."""

    model: Doubles
    human: Doubles
    used: npt.NDArray[np.bool_]
    """Which features were given in both; the others were left out."""


def matrix(name: str, value: Any) -> Doubles:
    """Return features as an array of float64, [rows, features]; infinite values are an error."""
    rows = doubles(name, value)
    check_shape(name, rows, "rows, features")
    if np.isinf(rows).any():
        row, column = (int(at) for at in np.argwhere(np.isinf(rows))[0])
        raise ValueError(f"{name}[{row}, {column}] is infinite: features are finite, or NaN where not defined")
    return rows


def matrices(model: Any, human: Any) -> tuple[Doubles, Doubles]:
    """Return both sides, which must have the same features."""
    rows = matrix("model", model), matrix("human", human)
    if rows[0].shape[1] != rows[1].shape[1]:
        raise ValueError(f"model has {rows[0].shape[1]} features, human has {rows[1].shape[1]}: give the same ones")
    return rows


def comparable(model: Any, human: Any) -> Sides:
    """Return both sides without the features that no row of either has."""
    rows = matrices(model, human)
    used = np.logical_not(np.isnan(rows[0]).all(axis=0) | np.isnan(rows[1]).all(axis=0))
    return Sides(rows[0][:, used], rows[1][:, used], used)


def of_features(name: str, value: Any, features: int) -> Doubles:
    """Return a number for each feature; one number is that of all."""
    numbers = doubles(name, value)
    if numbers.ndim == 0:
        return np.full(features, float(numbers))
    if numbers.shape != (features,):
        raise ValueError(f"{name} has shape {list(numbers.shape)}: it must be [{features}], one for each feature")
    return numbers


def standardised(
    model: Any, human: Any, scales: Any = None, standardise: bool | tuple[Any, Any] = True
) -> tuple[Doubles, Doubles]:
    """Return both sides about a centre and in units of a scale, NaN as the centre.

    True: the mean and the standard deviation of all rows together, each side weighing half. A pair: a centre and a
    scale of each feature. A scale is no less than that of `scales`; features without any are left out.
    """
    rows = matrices(model, human)
    features = rows[0].shape[1]
    least = np.zeros(features) if scales is None else of_features("scales", scales, features)
    sides = comparable(*rows)
    if standardise is True:
        means = [np.nanmean(side, axis=0) for side in sides[:2]]
        centre = (means[0] + means[1]) / 2
        scale = pooled_deviation(sides.model, sides.human)
    elif standardise is False:
        centre, scale = np.zeros(int(sides.used.sum())), np.ones(int(sides.used.sum()))
    else:
        centre, scale = (
            of_features(name, value, features)[sides.used]
            for name, value in zip(("centre", "scale"), standardise, strict=True)
        )
    scale = np.maximum(scale, least[sides.used]) if standardise is not False else scale
    kept = scale > 0
    found = [np.nan_to_num((side[:, kept] - centre[kept]) / scale[kept], nan=0.0) for side in sides[:2]]
    return found[0], found[1]


def pooled_deviation(model: Doubles, human: Doubles) -> Doubles:
    """Return the standard deviation of each feature over both sides, each weighing half; 0 where all are equal.

    A feature has one value at least on each side.
    """
    means = [np.nanmean(side, axis=0) for side in (model, human)]
    within = (np.nanvar(model, axis=0) + np.nanvar(human, axis=0)) / 2
    deviation = np.sqrt(within + (means[0] - means[1]) ** 2 / 4)
    # What rounding leaves of rows that are all the same is no spread.
    size = np.maximum(np.abs(means[0]), np.abs(means[1]))
    return np.where(deviation > 1e-12 * size, deviation, 0.0)


def ordered(rows: Doubles) -> Doubles:
    """Return rows in an order that is theirs alone, so that what is drawn by number is drawn by what they hold."""
    return rows[np.lexsort(rows.T[::-1])] if rows.size else rows


def drawn(rows: Doubles, most: int, seed: int) -> Doubles:
    """Return at most so many rows, drawn from them in their own order."""
    rows = ordered(rows)
    if len(rows) <= most:
        return rows
    return rows[np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))]


def squared_distances(x: Doubles, y: Doubles) -> Doubles:
    """Return |x − y|² of all pairs."""
    squared = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None, :] - 2.0 * (x @ y.T)
    found: Doubles = np.maximum(squared, 0.0, out=squared)
    return found


def reach(squared: Doubles, k: int) -> Doubles:
    """Return of rows' squared distances, which lose their diagonal, that to each row's k-th neighbour; a hair more."""
    np.fill_diagonal(squared, -1.0)
    # What is as near as that is within reach.
    found: Doubles = np.partition(squared, k, axis=1)[:, k] * (1 + 1e-9) + 1e-12
    return found
