"""Resampling of whole groups: the rows of a conversation or a document are drawn together or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from polyalign import _core
from polyalign._io.arrays import doubles

__all__ = ["resampled_sums"]


def resampled_sums(
    values: Any, groups: Any = None, *, draws: int = 1_000, seed: int = 0, threads: int | None = None
) -> npt.NDArray[np.float64]:
    """Return the sums of columns over the rows of as many groups as there are, drawn with replacement, again and again.

    A mean is one column over another: give 1 for each row that has a value. The same for any number of threads; with
    groups, for any order of rows but for rounding.

    Parameters
    ----------
    values : array, shape (rows, columns) or (rows)
        NaN is an error: leave such rows out or put 0 in the value and in its count.
    groups : sequence, length rows, optional
        What is drawn as a whole: keys of any kind that sort. Default: each row by its number.
    draws : int, default 1000
    seed : int, default 0
        Of the draws, which depend on it and on the number of groups alone: so models with the same groups are drawn
        alike, and the difference of two is a paired one.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    numpy.ndarray of float64, shape (draws, columns)

    Examples
    --------
    >>> import numpy as np
    >>> f1 = np.array([0.0, 0.5, 1.0, 0.5])
    >>> sums = resampled_sums(np.stack([f1, np.ones(4)], axis=1), ["a", "a", "b", "c"], draws=200)
    >>> means = sums[:, 0] / sums[:, 1]
    >>> sums.shape, bool(means.min() >= 0.25), bool(means.max() <= 1.0)
    ((200, 2), True, True)
    """
    rows = doubles("values", values)
    if rows.ndim == 1:
        rows = rows[:, None]
    if rows.ndim != 2:
        raise ValueError(f"values has shape {list(rows.shape)}: it must be [rows] or [rows, columns]")
    if not np.isfinite(rows).all():
        raise ValueError("values holds NaN or infinity: leave such rows out, or put 0 in the value and in its count")
    if draws < 1:
        raise ValueError(f"draws is {draws}: at least 1 is needed")
    if groups is None:
        sums = rows
    else:
        if len(groups) != len(rows):
            raise ValueError(f"{len(rows)} rows and {len(groups)} groups: give one for each row")
        keys, numbers = np.unique(np.asarray(groups), return_inverse=True)
        sums = np.zeros((len(keys), rows.shape[1]))
        np.add.at(sums, numbers.ravel(), rows)
    return _core.resampled_sums(np.ascontiguousarray(sums), draws, seed, threads)
