"""Histograms to look at: the sparse bins of a feature in many buckets, as bars on one axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

QUANTILES = ("min", "q10", "q25", "q50", "q75", "q90", "max")

# Values that reach this many times the smallest that matters are drawn on a logarithmic axis.
_DECADES = 30.0
# What an axis leaves out at either end, as a share of all buckets.
_TAIL = 0.002
# How many steps an axis has room for at least, that one value everywhere is a spike and no uniform distribution.
_ROOM = 8


@dataclass(frozen=True)
class Axis:
    """What the histograms of a feature share: `bars` bars from `low` to `high`, in units of the axis.

    A position on a logarithmic axis is asinh(value / scale): equal steps below the scale, equal ratios beyond
    it, zero and negative values included. Whole numbers are drawn half a step to either side. Bars are equally
    wide, but on a logarithmic axis of whole numbers, where `edges` has the values they begin and end at.
    """

    log: bool
    whole: bool
    scale: float
    low: float
    high: float
    bars: int
    edges: tuple[float, ...] | None = None

    def positions(self, values: Floats) -> Floats:
        """Return where values lie on the axis."""
        import numpy as np

        return np.arcsinh(values / self.scale) if self.log else values

    def bar_edges(self) -> Floats:
        """Return where the bars begin, and where the last one ends, in units of the axis."""
        import numpy as np

        if self.edges is None:
            return np.linspace(self.low, self.high, self.bars + 1)
        return self.positions(np.array(self.edges))


@dataclass(frozen=True)
class Histograms:
    """The histograms of a feature in some buckets.

    `heights` has a row a bucket and a column a bar: the share of humans over the bar's width, the mean width
    being 1. `beyond` is each bucket's share outside the axis.
    """

    axis: Axis
    heights: Floats
    beyond: Floats


def draw(scale: float, cells: Sequence[Mapping[str, Any]], most: int) -> Histograms:
    """Draw the bins of a feature as bars on an axis that suits all its buckets.

    Parameters
    ----------
    scale : float
        What counts as one step of the feature.
    cells : sequence of mapping
        The feature in each bucket: its quantiles by name, and ``bins``, a list or an array of ``(low, high, count)``,
        ascending; an open end is None.
    most : int
        How many bars there may be.

    Examples
    --------
    >>> cell = {"min": 1, "q10": 1, "q25": 1, "q50": 1, "q75": 2, "q90": 2, "max": 2, "bins": [(1, 2, 3), (2, 3, 1)]}
    >>> drawn = draw(1.0, [cell], 48)
    >>> drawn.axis.bars, drawn.axis.low, drawn.heights.tolist()
    (2, 0.5, [[0.75, 0.25]])
    """
    import numpy as np

    quantiles = np.array([[cell[name] for cell in cells] for name in QUANTILES], np.float64)
    bins = _flat(scale, cells, quantiles)
    axis = _axis(scale, quantiles, bins, most)
    shares = _shares(axis, bins, len(cells))
    widths = np.diff(axis.bar_edges())
    beyond = np.clip(1 - shares.sum(axis=1), 0, 1)
    return Histograms(axis, shares * (widths.mean() / widths), beyond)


@dataclass(frozen=True)
class _Bins:
    """The bins of a feature in all buckets, one after another; `shares` add up to 1 in each bucket."""

    whole: bool  # all values are whole numbers, as far as bins and quantiles tell
    bucket: NDArray[np.intp]
    low: Floats
    high: Floats
    shares: Floats


def _flat(scale: float, cells: Sequence[Mapping[str, Any]], quantiles: Floats) -> _Bins:
    """Join the bins of all buckets; the outermost end where the values do."""
    import numpy as np

    bins = [np.asarray(cell["bins"], np.float64).reshape(-1, 3) for cell in cells]  # an open end is None: NaN
    table = np.concatenate([np.zeros((0, 3)), *bins])
    bucket = np.repeat(np.arange(len(cells)), [len(cell["bins"]) for cell in cells])
    smallest, largest = quantiles[0][bucket], quantiles[-1][bucket]
    total = np.bincount(bucket, table[:, 2], len(cells))[bucket]
    low = np.fmax(table[:, 0], smallest)
    # What has steps below 1 is no count, though all of it be 0 or 1.
    whole = scale >= 1 and _is_whole(quantiles) and _is_whole(low)
    high = np.fmin(table[:, 1], largest + 1 if whole else np.nextafter(largest, np.inf))
    return _Bins(whole, bucket, low, np.fmax(low, high), table[:, 2] / np.where(total > 0, total, 1))


def _is_whole(values: Floats) -> bool:
    import numpy as np

    return bool(np.all(values == np.rint(values)))


def _axis(scale: float, quantiles: Floats, bins: _Bins, most: int) -> Axis:
    """Choose the axis of a feature from its quantiles (rows as in `QUANTILES`) and bins."""
    import numpy as np

    if not len(bins.low):
        return Axis(log=False, whole=False, scale=scale, low=0.0, high=scale, bars=1)
    order = np.argsort(bins.low)
    cumulative = np.cumsum(bins.shares[order])
    ends = np.searchsorted(cumulative, cumulative[-1] * np.array([_TAIL, 0.1, 1 - _TAIL]))
    low, smaller, high = bins.low[order][np.minimum(ends, len(order) - 1)]
    low, high = min(low, quantiles[1].min()), max(high, quantiles[5].max())
    log = bool(max(high, -low) > _DECADES * max(scale, abs(smaller)))
    if log:  # it has room for all values
        low, high = quantiles[0].min(), quantiles[6].max()
    if low > 0 and (not log or low < scale) and low < 0.25 * high:
        low = 0.0
    if high <= low:
        low, high = _room(low, scale, bins.whole, most)
    if bins.whole:
        low, high = low - 0.5, high + 0.5
    if not log and bins.whole:
        step = np.ceil((high - low) / most)
        bars = int(np.ceil((high - low) / step))
        return Axis(log=False, whole=True, scale=scale, low=float(low), high=float(low + bars * step), bars=bars)
    axis = Axis(log=log, whole=bins.whole, scale=scale, low=low, high=high, bars=most)
    low, high = axis.positions(np.array([low, high]))
    axis = replace(axis, low=float(low), high=float(high))
    if not bins.whole:
        return axis
    # No bar begins within a whole number.
    edges = np.unique(np.floor(np.sinh(axis.bar_edges()) * scale) + 0.5)
    edges = np.unique(np.clip(edges, np.sinh(low) * scale, np.sinh(high) * scale).round(1))
    return replace(axis, bars=len(edges) - 1, edges=tuple(edges.tolist()))


def _room(value: float, scale: float, whole: bool, most: int) -> tuple[float, float]:
    """Return the ends of an axis with one value, which has room beside it; it is not negative for that."""
    if not whole and scale < 1 and 0 <= value <= 1:
        return 0.0, 1.0
    steps = min(_ROOM, most - 1) if whole else _ROOM
    step = 1.0 if whole else max(scale, abs(value) * 2**-20)
    low = value - steps // 2 * step
    if value >= 0:
        low = max(0.0, low)
    return low, low + steps * step


def _shares(axis: Axis, bins: _Bins, buckets: int) -> Floats:
    """Return the share of each bar, one row a bucket: a bin gives each bar the part of it that lies there."""
    import numpy as np

    half = 0.5 if axis.whole else 0.0
    edges = axis.bar_edges()
    low, high = axis.positions(bins.low - half), axis.positions(bins.high - half)
    # A bin too narrow to divide lies in the bar of its lower end.
    point = high - low < 1e-9 * (axis.high - axis.low)
    width = np.where(point, 1.0, high - low)
    bar = np.searchsorted(edges, low, side="right") - 1
    bar[point & (low == axis.high)] = axis.bars - 1
    bar = np.where(point, bar, np.maximum(bar, 0))
    shares = np.zeros(buckets * axis.bars)
    bucket, share = bins.bucket, bins.shares
    while len(bar):
        inside = (bar >= 0) & (bar < axis.bars)
        bar, low, high, point, width = bar[inside], low[inside], high[inside], point[inside], width[inside]
        bucket, share = bucket[inside], share[inside]
        overlap = np.where(point, 1.0, np.minimum(high, edges[bar + 1]) - np.maximum(low, edges[bar])) / width
        np.add.at(shares, bucket * axis.bars + bar, np.maximum(overlap, 0) * share)
        bar = np.where(~point & (high > edges[bar + 1]), bar + 1, axis.bars)
    return shares.reshape(buckets, axis.bars)
