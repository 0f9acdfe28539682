"""A reference, or two compared, as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyalign._text import pages
from polyalign.reference._histograms import QUANTILES, Axis, draw

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BARS = 48
_STATISTICS = ("mean", "std", *QUANTILES)


def render(data: Mapping[str, Any]) -> str:
    """Draw a reference as one self-contained HTML page.

    Parameters
    ----------
    data : mapping
        The description of a reference: ``title``, ``labels``, ``variant``, ``registry``, ``schema``, ``min_count``,
        ``features`` and ``buckets``, each bucket with its features' counts, moments, quantiles and sparse bins; or of
        two references, as `pair` makes it.

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
    axes, packed = encode(data["features"], data["buckets"], data.get("differences", ()))
    kept = ("title", "labels", "variant", "registry", "schema", "min_count", "sides")
    about = {name: data.get(name) for name in kept}
    about["features"] = [
        {**feature, "axis": asdict(axis)} for feature, axis in zip(data["features"], axes, strict=True)
    ]
    about["buckets"] = [
        {name: bucket[name] for name in ("bucket", "parts", "rows", "backed_off")} for bucket in data["buckets"]
    ]
    about["zh"] = _chinese_names_of({feature["name"] for feature in data["features"]})
    parts = {
        "title": pages.escaped(str(data["title"])),
        "style": stylesheet(),
        "script": script(_file("_page.js")),
        "about": pages.embedded(about),
        "numbers": base64.b64encode(packed).decode(),
    }
    return pages.filled(_file("_page.html"), parts)


def pair(
    one: Mapping[str, Any], two: Mapping[str, Any], differences: Mapping[tuple[str, str], float], names: tuple[str, str]
) -> dict[str, Any]:
    """Join the descriptions of two references, that their page shows where they differ.

    Parameters
    ----------
    one, two : mapping
        Their descriptions, as `render` takes them, of the same features.
    differences : mapping
        How far they are apart, W1/σ, by bucket and feature.
    names : tuple
        What they are called on the page.

    Returns
    -------
    dict
        What `render` takes: the buckets that both have as those of `one`, then, in the same order, those of `two`;
        ``sides`` with the names, the rows and the own buckets of each; and ``differences``, by feature and bucket.
    """
    sides = [{bucket["bucket"]: bucket for bucket in side["buckets"]} for side in (one, two)]
    both = [name for name in sides[0] if name in sides[1]]
    own = [
        [{"bucket": name, "rows": side[name]["rows"]} for name in side if name not in other]
        for side, other in (sides, sides[::-1])
    ]
    return {
        **one,
        "labels": [],
        "buckets": [side[name] for side in sides for name in both],
        "sides": {
            "names": names,
            "rows": [sum(bucket["rows"] for bucket in side.values()) for side in sides],
            "only": [sorted(side, key=lambda bucket: -bucket["rows"]) for side in own],
        },
        "differences": [[differences.get((name, known["name"]), 0.0) for name in both] for known in one["features"]],
    }


def chinese_names() -> dict[str, dict[str, str]]:
    """Return Chinese names of axes, groups, languages, units and features, and the features' definitions."""
    names: dict[str, dict[str, str]] = json.loads(_file("_page_zh.json"))
    return names


def _chinese_names_of(features: set[str]) -> dict[str, dict[str, str]]:
    names = chinese_names()
    for kind in ("features", "definitions"):
        names[kind] = {name: chinese for name, chinese in names[kind].items() if name in features}
    return names


def stylesheet() -> str:
    """Return the look of pages, for others of ours."""
    return _file("_page.css")


def script(page: str) -> str:
    """Return a page's script with what draws histograms, for others of ours."""
    return pages.filled(page, {"parts": _file("_parts.js")})


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def encode(
    features: Sequence[Mapping[str, Any]], buckets: Sequence[Mapping[str, Any]], differences: Sequence[Sequence[float]]
) -> tuple[list[Axis], bytes]:
    """Return the features' axes, and all numbers, compressed.

    The numbers are, feature by feature and within it bucket by bucket: the counts (uint32), then the statistics,
    the height of the tallest bar and the share beyond the axis (float32), column by column, and the differences of
    two references (float32); their four bytes lie apart, least significant first, so that they compress. The heights
    of the bars follow, as bytes, 255 the tallest. A height is the share of humans over the width, the mean width
    being 1.
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
        histograms = draw(float(feature["scale"]), humans, _BARS)
        axes.append(histograms.axis)
        heights = np.zeros((len(buckets), histograms.axis.bars))
        heights[there] = histograms.heights
        tallest = heights.max(axis=1, initial=0.0)
        columns[-2, row] = tallest
        columns[-1, row, there] = histograms.beyond
        bars.append(np.rint(heights * (255 / np.where(tallest > 0, tallest, 1))[:, None]).astype(np.uint8))
        bars[-1][(heights > 0) & (bars[-1] == 0)] = 1  # rare is not never
    apart = _short(np.array(differences, np.float64), 16)
    words = np.concatenate([counts, _short(columns[:-2], 16), _short(columns[-2:], 8), apart], axis=None)
    planes = np.ascontiguousarray(words.view(np.uint8).reshape(-1, 4).T)
    return axes, zlib.compress(planes.tobytes() + b"".join(bar.tobytes() for bar in bars))


def _short(values: Floats, bits: int) -> NDArray[np.uint32]:
    """Return values as the bits of float32, rounded to so many places of their mantissa."""
    import numpy as np

    largest = np.finfo(np.float32).max / 2
    words = np.clip(values, -largest, largest).astype("<f4").view("<u4")
    step = 1 << (23 - bits)
    return ((words + step // 2) & ~np.uint32(step - 1)).astype("<u4")
