"""A reference as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import html
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BARS = 48
# Values that reach this many times the smallest that matters are drawn on a logarithmic axis.
_DECADES = 30.0
# What an axis leaves out at either end, as a share of all buckets; the page says how much in each.
_TAIL = 0.002
_QUANTILES = ("min", "q10", "q25", "q50", "q75", "q90", "max")
_STATISTICS = ("mean", "std", *_QUANTILES)


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


def render(data: Mapping[str, Any]) -> str:
    """Draw a reference as one self-contained HTML page.

    Parameters
    ----------
    data : mapping
        The description of a reference: ``title``, ``labels``, ``variant``, ``registry``, ``schema``, ``min_count``,
        ``features`` and ``buckets``, each bucket with its features' counts, moments, quantiles and sparse bins.

    Returns
    -------
    str
        The page. It refers to nothing outside itself, and is ASCII but for its own Chinese texts.

    Examples
    --------
    >>> feature = {"name": "word_count", "group": "length", "definition": "Words.", "unit": "words",
    ...            "languages": "all", "scale": 1.0}
    >>> cell = {"count": 2, "mean": 1.5, "std": 0.5, "min": 1, "q10": 1, "q25": 1, "q50": 1, "q75": 2, "q90": 2,
    ...         "max": 2, "bins": [[1, 2, 1], [2, 3, 1]]}
    >>> bucket = {"bucket": "en", "parts": ["en"], "rows": 2, "backed_off": 1, "features": {"word_count": cell}}
    >>> page = render({"title": "Two answers", "labels": [], "variant": "default", "registry": {"version": 1},
    ...                "schema": {"axes": ["language"], "length_unit": "words"}, "min_count": 20,
    ...                "features": [feature], "buckets": [bucket]})
    >>> page.startswith("<!doctype html>")
    True
    """
    axes, packed = _encode(data["features"], data["buckets"])
    about = {name: data.get(name) for name in ("title", "labels", "variant", "registry", "schema", "min_count")}
    about["features"] = [
        {**feature, "axis": asdict(axis)} for feature, axis in zip(data["features"], axes, strict=True)
    ]
    about["buckets"] = [
        {name: bucket[name] for name in ("bucket", "parts", "rows", "backed_off")} for bucket in data["buckets"]
    ]
    about["zh"] = chinese_names()
    parts = {
        "title": html.escape(str(data["title"])).encode("ascii", "xmlcharrefreplace").decode(),
        "style": _file("_page.css"),
        "script": _file("_page.js"),
        "about": _json(about),
        "numbers": base64.b64encode(packed).decode(),
    }
    # In one pass, so that nothing inserted is taken for a place to insert at.
    return re.sub(r"<!--(\w+)-->", lambda place: parts[place[1]], _file("_page.html"))


def chinese_names() -> dict[str, dict[str, str]]:
    """Return Chinese names: of ``axes``, ``groups``, ``languages``, ``units`` and ``features``."""
    names: dict[str, dict[str, str]] = json.loads(_file("_page_zh.json"))
    return names


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _json(value: object) -> str:
    """JSON that no HTML parser reads as markup: ASCII, without ``<``, ``>`` and ``&``."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return re.sub("[<>&]", lambda mark: f"\\u{ord(mark[0]):04x}", text)


def _encode(
    features: Sequence[Mapping[str, Any]], buckets: Sequence[Mapping[str, Any]]
) -> tuple[list[Axis], bytes]:
    """Return the features' axes, and all numbers, compressed.

    The numbers are, feature by feature and within it bucket by bucket: the counts (uint32), then the statistics,
    the height of the tallest bar and the share beyond the axis (float32), column by column; their four bytes lie
    apart, least significant first, so that they compress. The heights of the bars follow, as bytes, 255 the
    tallest. A height is the share of humans over the width, the mean width being 1.
    """
    import numpy as np

    shape = (len(features), len(buckets))
    counts = np.zeros(shape, "<u4")
    columns = np.zeros((len(_STATISTICS) + 2, *shape), np.float64)
    axes, bars = [], []
    for row, feature in enumerate(features):
        cells = [bucket["features"].get(feature["name"]) for bucket in buckets]
        there = [place for place, cell in enumerate(cells) if cell and cell["count"]]
        humans = [cells[place] for place in there]
        counts[row, there] = [min(cell["count"], 2**32 - 1) for cell in humans]
        for column, name in enumerate(_STATISTICS):
            columns[column, row, there] = [cell[name] for cell in humans]
        bins = _flat(humans)
        axes.append(_axis(float(feature["scale"]), columns[2:9, row, there], bins))
        shares = np.zeros((len(buckets), axes[-1].bars))
        shares[there] = _shares(axes[-1], bins, len(humans))
        columns[-1, row, there] = np.clip(1 - shares[there].sum(axis=1), 0, 1)
        widths = np.diff(axes[-1].bar_edges())
        heights = shares * (widths.mean() / widths)
        tallest = heights.max(axis=1, initial=0.0)
        columns[-2, row] = tallest
        bars.append(np.rint(heights * (255 / np.where(tallest > 0, tallest, 1))[:, None]).astype(np.uint8))
        bars[-1][(heights > 0) & (bars[-1] == 0)] = 1  # rare is not never
    floats = np.concatenate([_short(columns[:-2], 16), _short(columns[-2:], 8)])
    words = np.concatenate([counts.ravel(), floats.ravel()])
    planes = np.ascontiguousarray(words.view(np.uint8).reshape(-1, 4).T)
    return axes, zlib.compress(planes.tobytes() + b"".join(bar.tobytes() for bar in bars), 9)


def _short(values: Floats, bits: int) -> NDArray[np.uint32]:
    """Return values as the bits of float32, rounded to so many places of their mantissa."""
    import numpy as np

    largest = np.finfo(np.float32).max / 2
    words = np.clip(values, -largest, largest).astype("<f4").view("<u4")
    step = 1 << (23 - bits)
    return ((words + step // 2) & ~np.uint32(step - 1)).astype("<u4")


@dataclass(frozen=True)
class _Bins:
    """The bins of a feature in all buckets, one after another; `shares` add up to 1 in each bucket."""

    bucket: NDArray[np.intp]
    low: Floats
    high: Floats
    shares: Floats


def _flat(cells: Sequence[Mapping[str, Any]]) -> _Bins:
    """Join the bins of all buckets; the outermost end where the values do."""
    import numpy as np

    rows = [bin_ for cell in cells for bin_ in cell["bins"]]
    table = np.array(rows, np.float64).reshape(-1, 3)  # an open end is None: NaN
    bucket = np.repeat(np.arange(len(cells)), [len(cell["bins"]) for cell in cells])
    smallest = np.array([cell["min"] for cell in cells], np.float64)[bucket]
    largest = np.array([cell["max"] for cell in cells], np.float64)[bucket]
    total = np.bincount(bucket, table[:, 2], len(cells))[bucket]
    low, high = np.fmax(table[:, 0], smallest), np.fmin(table[:, 1], np.nextafter(largest, np.inf))
    if _is_whole(smallest) and _is_whole(largest) and _is_whole(low):
        high = np.fmin(table[:, 1], largest + 1)
    return _Bins(bucket, low, np.fmax(low, high), table[:, 2] / np.where(total > 0, total, 1))


def _is_whole(values: Floats) -> bool:
    import numpy as np

    return bool(np.all(values == np.rint(values)))


def _axis(scale: float, quantiles: Floats, bins: _Bins) -> Axis:
    """Choose the axis of a feature from its quantiles (rows as in `_QUANTILES`) and bins."""
    import numpy as np

    if not len(bins.low):
        return Axis(log=False, whole=False, scale=scale, low=0.0, high=scale, bars=1)
    order = np.argsort(bins.low)
    cumulative = np.cumsum(bins.shares[order])
    ends = np.searchsorted(cumulative, cumulative[-1] * np.array([_TAIL, 0.1, 1 - _TAIL]))
    low, smaller, high = bins.low[order][np.minimum(ends, len(order) - 1)]
    low, high = min(low, quantiles[1].min()), max(high, quantiles[5].max())
    whole = _is_whole(quantiles) and _is_whole(bins.low)
    log = bool(max(high, -low) > _DECADES * max(scale, abs(smaller)))
    if log:  # it has room for all values
        low, high = quantiles[0].min(), quantiles[6].max()
    if low > 0 and (not log or low < scale) and low < 0.25 * high:
        low = 0.0
    if whole:
        low, high = low - 0.5, max(high, low + 1) + 0.5
    elif high <= low:
        high = low + scale
    if not log and whole:
        step = np.ceil((high - low) / _BARS)
        bars = int(np.ceil((high - low) / step))
        return Axis(log=False, whole=True, scale=scale, low=float(low), high=float(low + bars * step), bars=bars)
    axis = Axis(log=log, whole=whole, scale=scale, low=low, high=high, bars=_BARS)
    low, high = axis.positions(np.array([low, high]))
    axis = replace(axis, low=float(low), high=float(high))
    if not whole:
        return axis
    # No bar begins within a whole number.
    edges = np.unique(np.floor(np.sinh(axis.bar_edges()) * scale) + 0.5)
    edges = np.unique(np.clip(edges, np.sinh(low) * scale, np.sinh(high) * scale).round(1))
    return replace(axis, bars=len(edges) - 1, edges=tuple(edges.tolist()))


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
