"""How well scores tell two sets apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_QUANTILE = 1.959963984540054


class Auroc(NamedTuple):
    """The share of pairs, one of each set, in which the first has the lower score; equal ones count half."""

    value: float
    """NaN where a set is empty."""
    low: float
    """Where the 95% interval begins."""
    high: float
    """Where it ends."""
    counts: tuple[int, int]
    """Of scores, in both."""
    spread: float = math.nan
    """The standard error of the value."""


def auroc(nearer: npt.ArrayLike, further: npt.ArrayLike) -> Auroc:
    """Return how well scores tell two sets apart, .5 by chance, with DeLong's interval on the log-odds scale.

    Parameters
    ----------
    nearer, further : array_like of float
        Scores; those of `nearer` should be lower. NaN: left out.

    Examples
    --------
    >>> found = auroc([0.0, 1.0, 2.0], [1.0, 3.0])
    >>> round(found.value, 4), found.counts
    (0.75, (3, 2))
    """
    a, b = (values[~np.isnan(values)] for values in (np.asarray(side, dtype=np.float64) for side in (nearer, further)))
    counts = (len(a), len(b))
    if not min(counts):
        return Auroc(math.nan, math.nan, math.nan, counts)
    ordered_a, ordered_b = np.sort(a), np.sort(b)
    # Of each of one set, the share of the other that lies beyond it.
    of_a = 1 - (np.searchsorted(ordered_b, a) + np.searchsorted(ordered_b, a, side="right")) / 2 / len(b)
    of_b = (np.searchsorted(ordered_a, b) + np.searchsorted(ordered_a, b, side="right")) / 2 / len(a)
    value = float(of_a.mean())
    spread = math.sqrt(sum(float(side.var(ddof=1)) / len(side) for side in (of_a, of_b) if len(side) > 1))
    return Auroc(value, *_interval(value, spread, min(counts)), counts, spread)


def _interval(value: float, spread: float, count: int) -> tuple[float, float]:
    """On the log-odds scale; where all pairs agree, as of a share of which none in `count` was seen."""
    if not 0 < value < 1 or not spread:
        rest = 1 - 0.05 ** (1 / count)
        return (1 - rest, 1.0) if value >= 0.5 else (0.0, rest)
    odds, step = math.log(value / (1 - value)), _QUANTILE * spread / (value * (1 - value))
    return tuple(1 / (1 + math.exp(-(odds + sign * step))) for sign in (-1, 1))  # type: ignore[return-value]


def combined(parts: Sequence[Auroc]) -> Auroc:
    """Return the mean of AUROCs over separate sets, each weighing as many as its second side has.

    Pairs are of one set: what tells the sets themselves apart does not count.
    """
    known = [part for part in parts if min(part.counts)]
    if not known:
        return Auroc(math.nan, math.nan, math.nan, (0, 0))
    counts = (sum(part.counts[0] for part in known), sum(part.counts[1] for part in known))
    shares = [part.counts[1] / counts[1] for part in known]
    value = math.fsum(share * part.value for share, part in zip(shares, known, strict=True))
    spread = math.sqrt(math.fsum((share * part.spread) ** 2 for share, part in zip(shares, known, strict=True)))
    return Auroc(value, *_interval(value, spread, min(counts)), counts, spread)
