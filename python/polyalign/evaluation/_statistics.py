"""How sure a number is: resampling by group, what humans get against humans, and how two models compare.

All random numbers are functions of the seed and of the group's number, so that buckets, models and metrics that share
groups are resampled together: a macro mean is resampled as a whole, and two models differ over the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign.evaluation._texts import said

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.evaluation._arrays import Floats, Indices
    from polyalign.evaluation._result import Better

__all__ = [
    "Draws",
    "centred_interval",
    "holm",
    "mean_draws",
    "mean_swaps",
    "not_enough",
    "p_value",
    "two_sided_p",
    "weighted",
]

#: The part of draws that the tail is fitted to.
_TAIL = 0.1
#: A smaller p is none that so many draws could tell.
_LEAST = 1e-6


class Draws:
    """The resamples of an evaluation.

    Parameters
    ----------
    groups : int
        How many groups there are, numbered from 0.
    count : int
        How many resamples; as many permutations and as many sets of humans.
    seed : int
    """

    def __init__(self, groups: int, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        random = np.random.default_rng([seed, 1])
        # A Poisson number of times each: what a bootstrap comes to, with every group drawn by itself.
        self._times = random.poisson(1.0, (groups, count)).astype(np.float32)
        self._swapped = np.random.default_rng([seed, 2]).random((groups, count)) < 0.5

    def times(self, groups: Indices) -> npt.NDArray[np.float32]:
        """Return how often each row is in each resample, shape (rows, count)."""
        return self._times[groups]

    def swapped(self, groups: Indices) -> npt.NDArray[np.bool_]:
        """Return whether a row's two sides change places in each permutation, shape (rows, count)."""
        return self._swapped[groups]

    def halves(self, groups: Indices, size: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return two disjoint sets of `size` rows for every draw, each of shape (rows, count).

        A group's rows are drawn together, so that no group is on both sides, but for one where there are just enough.
        """
        rows = len(groups)
        one, two = np.zeros((2, rows, self.count), dtype=bool)
        unique, of = np.unique(groups, return_inverse=True)
        random = np.random.default_rng([self.seed, 3])
        for draw in range(self.count):
            order = np.argsort(random.permutation(len(unique))[of], kind="stable")
            one[order[:size], draw] = True
            two[order[rows - size :], draw] = True
        return one, two


def mean_draws(values: Floats, times: npt.NDArray[Any]) -> Floats:
    """Return the means of rows' values in each resample, [columns, resamples]; NaN doesn't count, NaN of nothing.

    Parameters
    ----------
    values : array, shape (rows, columns)
    times : array, shape (rows, resamples)
    """
    return _weighed(values, times.astype(np.float64), times.astype(np.float64))


def mean_swaps(apart: Floats, swapped: npt.NDArray[np.bool_]) -> Floats:
    """Return the means of differences where some change sides, [columns, permutations].

    Parameters
    ----------
    apart : array, shape (rows, columns)
    swapped : array, shape (rows, permutations)
    """
    return _weighed(apart, np.where(swapped, -1.0, 1.0), np.ones((len(apart), 1)))


def _weighed(values: Floats, weights: Floats, counts: Floats) -> Floats:
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((np.where(known, values, 0.0).T @ weights) / (known.T.astype(np.float64) @ counts))


def centred_interval(value: float, draws: Floats, level: float = 0.95) -> tuple[float | None, float | None]:
    """Return a bootstrap interval, moved so that the draws' mean is the value.

    Examples
    --------
    >>> [round(end, 3) for end in centred_interval(2.0, np.linspace(2.5, 3.5, 101))]
    [1.525, 2.475]
    """
    known = draws[np.isfinite(draws)]
    if not len(known) or not math.isfinite(value):
        return None, None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) - known.mean()
    return float(value + low), float(value + high)


def p_value(value: float, null: Floats, better: Better) -> float | None:
    """Return how often draws under the null are as far off as a value.

    Beyond all draws it is taken from their tail, which is as good as exponential there (Knijnenburg et al., Fewer
    permutations, more accurate P-values, 2009): a correction for hundreds of buckets needs less than 1/(draws + 1).

    Examples
    --------
    >>> null = np.arange(99.0)
    >>> p_value(50.0, null, "low"), p_value(50.0, null, "high"), p_value(200.0, null, "low") < 0.01
    (0.5, 0.52, True)
    """
    known = null[np.isfinite(null)]
    if len(known) < 19 or not math.isfinite(value):
        return None
    if better == "high":
        return _upper(-value, -known)
    if better == "human":
        return min(1.0, 2 * min(_upper(value, known), _upper(-value, -known)))
    return _upper(value, known)


def _upper(value: float, null: Floats) -> float:
    # What differs by rounding is the same.
    slack = 1e-9 * max(1e-12, float(np.abs(null).max()))
    above = int((null >= value - slack).sum())
    least = (1 + above) / (len(null) + 1)
    if above:
        return least
    ordered = np.sort(null)
    start = ordered[-max(5, int(_TAIL * len(null)))]
    excess = ordered[ordered > start] - start
    if not len(excess) or excess.mean() <= 0:
        return least
    share = len(excess) / len(null)
    return float(min(least, max(_LEAST, share * math.exp(-(value - start) / excess.mean()))))


def two_sided_p(difference: float, draws: Floats) -> float | None:
    """Return how likely a difference as far from 0 is where there is none, by the spread of its resamples.

    Examples
    --------
    >>> round(two_sided_p(1.96, np.random.default_rng(0).normal(1.96, 1, 10000)), 2)
    0.05
    """
    known = draws[np.isfinite(draws)]
    if len(known) < 19 or not math.isfinite(difference):
        return None
    spread = float(known.std(ddof=1))
    if spread <= 1e-12 * max(1.0, abs(difference)):
        return 1.0 if abs(difference) <= 1e-12 else _LEAST
    return max(_LEAST, math.erfc(abs(difference) / spread / math.sqrt(2)))


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Return p-values corrected for their number, as Holm does; what is ``None`` is no test.

    Examples
    --------
    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    order = sorted((at for at, p in enumerate(ps) if p is not None), key=lambda at: ps[at] or 0.0)
    found: list[float | None] = [None] * len(ps)
    least = 0.0
    for rank, at in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * float(ps[at] or 0.0)))
        found[at] = least
    return found


def not_enough(count: int, need: int) -> str:
    """Say that there are too few.

    Examples
    --------
    >>> not_enough(7, 20)
    'not enough (n=7, need 20)'
    """
    return said("not_enough", n=count, need=need)


def weighted(values: Sequence[Any], weights: Sequence[float]) -> Any:
    """Return the weighted mean of numbers, or of arrays draw by draw; those that are ``None`` don't count."""
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
    if not known:
        return None
    total = math.fsum(weight for _, weight in known)
    if isinstance(known[0][0], np.ndarray):
        return np.sum([value * (weight / total) for value, weight in known], axis=0)
    return math.fsum(value * (weight / total) for value, weight in known)
