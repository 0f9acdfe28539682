"""Maximum mean discrepancy: whether a model's rows and the humans' could be drawn from one distribution."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from polyalign import _core
from polyalign.evaluation.metrics._rows import Doubles, drawn, squared_distances, standardised

__all__ = ["MMD", "mmd"]

_MEDIAN_OF = 1_000


class MMD(NamedTuple):
    """A squared maximum mean discrepancy and what to hold it against."""

    value: float
    """Unbiased: 0 on average where both sides are alike, and then often below; at most 2. NaN: see `reason`."""
    p: float
    """How often sides shuffled together come out as far apart or further: small where the model differs."""
    floor: float
    """What humans against humans, at these sizes, stay below 95% of the time."""
    bandwidth: float
    """That of the kernel, in standard deviations."""
    sizes: tuple[int, int]
    """Rows of the model and of the humans that were compared."""
    reason: str | None
    """Why there is no number."""


def mmd(
    model: Any,
    human: Any,
    *,
    scales: Any = None,
    standardise: bool | tuple[Any, Any] = True,
    bandwidth: float | None = None,
    permutations: int = 199,
    most: int = 2_000,
    min_count: int = 20,
    seed: int = 0,
    threads: int | None = None,
) -> MMD:
    """Measure the squared MMD of features or embeddings, its permutation p-value, and the humans' own floor.

    E k(y, y′) + E k(h, h′) − 2 E k(y, h) over different rows y of the model and h of humans, with the kernel
    exp(−|x − y|² / (2 bandwidth²)).

    Parameters
    ----------
    model, human : array, shape (rows, features)
        Of one bucket. Features that a side lacks are left out; a NaN counts as the feature's mean.
    scales : array, shape (features), optional
        The least scale of each feature, as :class:`polyalign.features.Feature` has it.
    standardise : bool or (centre, scale), default True
        True: by the mean and the standard deviation over both sides, each weighing half. A pair of arrays: by these, so
        that several models are measured alike. False: not at all, for embeddings.
    bandwidth : float, optional
        Default: the median distance between rows of both sides, of at most 1,000. Give one to compare models.
    permutations : int, default 199
        How often sides are shuffled; p is 1 / (permutations + 1) at least.
    most : int, default 2000
        Rows of a side that are looked at; of more, as many are drawn.
    min_count : int, default 20
        Fewer rows on a side give no number.
    seed : int, default 0
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    MMD
        The same for any order of rows.

    Raises
    ------
    ValueError
        The sides have different features, a value is infinite, or `bandwidth` is not above 0.

    References
    ----------
    Gretton et al., "A kernel two-sample test", 2012.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(120, 3))
    >>> alike, moved = mmd(rows[:60], rows[60:]), mmd(rows[:60] + 1, rows[60:])
    >>> alike.p > 0.05, moved.p, moved.value > moved.floor
    (True, 0.005, True)
    """
    if bandwidth is not None and not 0 < bandwidth < math.inf:
        raise ValueError(f"bandwidth is {bandwidth}: it must be finite and above 0")
    if permutations < 1:
        raise ValueError(f"permutations is {permutations}: at least 1 is needed")
    rows, humans = (drawn(side, most, seed) for side in standardised(model, human, scales, standardise))
    sizes = len(rows), len(humans)
    reason = _reason(rows, humans, max(min_count, 2))
    if reason:
        return MMD(math.nan, math.nan, math.nan, math.nan, sizes, reason)
    together = np.concatenate([rows, humans])
    width = bandwidth or _median(together, seed)
    if not width:
        return MMD(0.0, 1.0, 0.0, math.nan, sizes, None)  # all rows are the same
    random = np.random.default_rng(seed)
    # In an order that has forgotten who wrote what.
    order = np.lexsort(together.T[::-1])
    labels = np.concatenate([_first(sizes[0], len(order)), _shuffles(random, permutations, sizes[0], order)])
    found, *shuffled = _core.divided_mmd(together, width, labels, threads).tolist()
    # What differs by rounding alone is the same.
    p = (1 + sum(other >= found - 1e-12 for other in shuffled)) / (permutations + 1)
    return MMD(found, p, _floor(humans, sizes, random, (permutations, width, threads)), width, sizes, None)


def _reason(rows: Doubles, humans: Doubles, least: int) -> str | None:
    for name, side in (("model", rows), ("humans", humans)):
        if len(side) < least:
            return f"not enough rows of {name} (n={len(side)}, need {least})"
    return None


def _median(rows: Doubles, seed: int) -> float:
    """Return the median distance between different rows, 0 where all are the same."""
    rows = drawn(rows, _MEDIAN_OF, seed)
    squared = squared_distances(rows, rows)[np.triu_indices(len(rows), 1)]
    squared[squared < 1e-20] = 0.0
    middle = float(np.median(squared))
    return math.sqrt(middle) if middle else math.sqrt(float(squared.mean()))


def _first(count: int, of: int) -> Doubles:
    labels = np.zeros((1, of))
    labels[:, :count] = 1.0
    return labels


def _shuffles(random: np.random.Generator, draws: int, count: int, order: npt.NDArray[np.intp]) -> Doubles:
    """Return labels, [draws, rows]: each time `count` rows, drawn by their places in an order."""
    labels = np.zeros((draws, len(order)))
    for row in labels:
        row[order[random.permutation(len(order))[:count]]] = 1.0
    return labels


def _floor(
    rows: Doubles, sizes: tuple[int, int], random: np.random.Generator, drawn: tuple[int, float, int | None]
) -> float:
    """Return the 95% point of humans against humans, divided as the sides are; scaled from its sizes to theirs."""
    humans, (draws, width, threads) = len(rows), drawn
    if humans < 4:
        return math.nan
    first = min(max(round(humans * sizes[0] / sum(sizes)), 2), humans - 2)
    found = _core.divided_mmd(rows, width, _shuffles(random, draws, first, np.arange(humans)), threads)
    own, wanted = 1 / first + 1 / (humans - first), 1 / sizes[0] + 1 / sizes[1]
    return float(np.quantile(found, 0.95)) * wanted / own
