"""A reference in the terminal: tables of its buckets, of one feature, of one bucket."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from polyalign.reference._histograms import Axis, Histograms, draw

if TYPE_CHECKING:
    from rich.console import Console

Cell = Mapping[str, Any]

_BLOCKS = " ▁▂▃▄▅▆▇█"
# The features of an overview: those of these that there are, as many as fit.
_CHOSEN = (
    *("word_count", "char_count", "sentence_words_mean", "type_token_ratio", "comma_count", "question_mark_count"),
    *("punctuation_share", "list_line_share"),
)
_PADDING = 2
_NARROWEST, _WIDEST = 12, 48
_LONGEST_ID = 40


def reference_table(
    data: Mapping[str, Any], console: Console, features: Sequence[str] | None = None, limit: int | None = None
) -> None:
    """Print one line a bucket: rows, features that back off, median and q10–q90 of some features.

    Parameters
    ----------
    data : mapping
        The description of a reference, as :func:`polyalign.reference._page.render` takes it.
    console : rich.console.Console
        Where to print; features that don't fit into its width are left out.
    features : sequence of str, optional
        Which features. Default: a few that say most.
    limit : int, optional
        How many buckets. Default: all.

    Raises
    ------
    ValueError
        There is no such feature.
    """
    by_name = {feature["name"]: feature for feature in data["features"]}
    chosen = [named(by_name, name, "feature") for name in features or [name for name in _CHOSEN if name in by_name]]
    buckets = data["buckets"][:limit]
    columns = {
        "bucket": [_plain(bucket["bucket"]) for bucket in buckets],
        "rows": [f"{bucket['rows']:,}" for bucket in buckets],
        "back off": [f"{bucket['backed_off']:,}" for bucket in buckets],
    }
    used = sum(min(_LONGEST_ID, _width(name, cells)) + _PADDING for name, cells in columns.items())
    for feature in chosen:
        spreads = [_spread(feature, bucket["features"].get(feature["name"])) for bucket in buckets]
        used += _width(feature["name"], spreads) + _PADDING
        if used > console.width and len(columns) > 3:
            break
        columns[feature["name"]] = spreads
    rows = sum(bucket["rows"] for bucket in data["buckets"])
    left = len(data["buckets"]) - len(buckets)
    caption = f"{rows:,} human responses; median and q10–q90" + (f"; {left:,} more buckets" if left else "")
    _print(console, _plain(str(data["title"])), columns, caption)


def feature_table(data: Mapping[str, Any], feature: str, console: Console) -> None:
    """Print one line a bucket: humans, quantiles and histogram of a feature, all on one axis.

    Raises
    ------
    ValueError
        There is no such feature.
    """
    about = named({known["name"]: known for known in data["features"]}, feature, "feature")
    there = [bucket for bucket in data["buckets"] if _cell(bucket, feature)]
    cells = [bucket["features"][feature] for bucket in there]
    title = f"{feature}: {about['definition']} Unit: {about['unit']}; languages: {about['languages']}"
    columns = {"bucket": [_plain(bucket["bucket"]) for bucket in there], **_quantiles([about] * len(cells), cells)}
    bars = _fit(columns, console.width)
    if not cells:
        console.print(Text(f"{title}\nno humans with this feature"))
        return
    histograms = draw(float(about["scale"]), cells, bars)
    columns[_ruler(about, histograms.axis, bars)] = [_sparkline(histograms, row, bars) for row in range(len(cells))]
    axis = "logarithmic" if histograms.axis.log else "linear"
    missing = len(data["buckets"]) - len(there)
    _print(console, title, columns, f"{axis} axis" + (f"; {missing:,} buckets without humans" if missing else ""))


def bucket_table(data: Mapping[str, Any], bucket: str, console: Console) -> None:
    """Print one line a feature: quantiles and histogram in a bucket, on the axis the feature has in all buckets.

    Raises
    ------
    ValueError
        There is no such bucket.
    """
    about = named({known["bucket"]: known for known in data["buckets"]}, bucket, "bucket")
    there = [feature for feature in data["features"] if _cell(about, feature["name"])]
    cells = [about["features"][feature["name"]] for feature in there]
    columns = {"feature": [feature["name"] for feature in there], **_quantiles(there, cells)}
    bars = _fit(columns, console.width)
    drawn, ends = [], []
    for feature in there:
        everywhere = [cell for other in data["buckets"] if (cell := _cell(other, feature["name"]))]
        histograms = draw(float(feature["scale"]), everywhere, bars)
        place = next(row for row, cell in enumerate(everywhere) if cell is about["features"][feature["name"]])
        drawn.append(_sparkline(histograms, place, bars))
        ends.append(feature["group"])
    columns["histogram".ljust(bars)] = drawn
    title = f"{_plain(bucket)}: {about['rows']:,} human responses, {about['backed_off']:,} features back off"
    _print(console, title, columns, "histograms on the axes of all buckets", ends)


def _cell(bucket: Mapping[str, Any], feature: str) -> Cell | None:
    cell: Cell | None = bucket["features"].get(feature)
    return cell if cell and cell["count"] else None


def difference_table(rows: Sequence[Mapping[str, Any]], units: Mapping[str, str], console: Console) -> None:
    """Print one line a bucket and feature: its medians in two references, and how far these are apart.

    Parameters
    ----------
    rows : sequence of mapping
        ``bucket``, ``feature``, ``median``, ``other_median``, ``count``, ``other_count``, ``wasserstein_scaled``
        and ``ks``.
    units : mapping
        The unit of each feature.
    console : rich.console.Console
        Where to print; the numbers of humans, then the medians are left out where it is narrow.
    """

    def said(name: str) -> list[str]:
        return [_say({"unit": units[row["feature"]]}, row[name]) for row in rows]

    columns = {
        "bucket": [_plain(row["bucket"]) for row in rows],
        "feature": [row["feature"] for row in rows],
        "median A": said("median"),
        "median B": said("other_median"),
        "W1/σ": [f"{row['wasserstein_scaled']:.2f}" for row in rows],
        "KS": [f"{row['ks']:.2f}" for row in rows],
        "values A": [f"{row['count']:,}" for row in rows],
        "values B": [f"{row['other_count']:,}" for row in rows],
    }
    for narrower in (("values A", "values B"), ("median A", "median B")):
        widths = {name: _width(name, cells) + _PADDING for name, cells in columns.items()}
        if min(widths["bucket"], _LONGEST_ID) + sum(widths.values()) - widths["bucket"] <= console.width:
            break
        for name in narrower:
            del columns[name]
    _print(
        console, "what differs most", columns, "W1/σ: how far a value moves on average; KS: the largest gap in shares"
    )


def named(known: Mapping[str, Any], name: str, kind: str) -> Any:
    """Return what has a name; ``ValueError`` with the nearest one if nothing has it."""
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 1)
    raise ValueError(f"there is no {kind} {name!r} in the reference" + (f"; did you mean {near[0]!r}?" if near else ""))


def _quantiles(features: Iterable[Mapping[str, Any]], cells: Sequence[Cell]) -> dict[str, list[str]]:
    pairs = list(zip(features, cells, strict=True))
    return {
        "humans": [f"{cell['count']:,}" for cell in cells],
        "median": [_say(feature, cell["q50"]) for feature, cell in pairs],
        "q25–q75": [f"{_say(feature, cell['q25'])}–{_say(feature, cell['q75'])}" for feature, cell in pairs],
        "q10–q90": [f"{_say(feature, cell['q10'])}–{_say(feature, cell['q90'])}" for feature, cell in pairs],
    }


def _spread(feature: Mapping[str, Any], cell: Cell | None) -> str:
    if not cell or not cell["count"]:
        return "–"
    return f"{_say(feature, cell['q50'])} ({_say(feature, cell['q10'])}–{_say(feature, cell['q90'])})"


def _say(feature: Mapping[str, Any], value: float) -> str:
    """Write a value in the feature's manner: shares in percent, whole numbers whole, others in three digits."""
    if feature["unit"] == "share":
        return f"{_digits(value * 100)}%"
    return _digits(value)


def _digits(value: float) -> str:
    if abs(value) >= 1e7:
        return f"{value:.2e}"
    if abs(value) >= 100 or value == round(value):
        return f"{math.floor(value + 0.5):,}"  # halves go up, as on the page
    return f"{value:.3g}" if abs(value) >= 1e-3 else f"{value:.1g}"


def _fit(columns: dict[str, list[str]], width: int) -> int:
    """Return how many cells a histogram has beside the columns; drops what a narrow terminal can do without."""
    for name in ("", "q25–q75", "humans", "q10–q90"):
        columns.pop(name, None)
        used = [_width(column, cells) + _PADDING for column, cells in columns.items()]
        used[0] = min(used[0], _LONGEST_ID + _PADDING)
        left = width - sum(used) - _PADDING
        if left >= _NARROWEST:
            break
    return max(_NARROWEST, min(_WIDEST, left))


def _sparkline(histograms: Histograms, row: int, bars: int) -> str:
    """Draw a histogram in so many cells, its tallest bar a full block; what is not 0 is at least the lowest one."""
    import numpy as np

    edges = histograms.axis.bar_edges()
    middles = np.linspace(edges[0], edges[-1], 2 * bars + 1)[1::2]
    places = np.clip(np.searchsorted(edges, middles, side="right") - 1, 0, histograms.axis.bars - 1)
    heights = histograms.heights[row]
    levels = np.ceil(heights / (heights.max() or 1.0) * (len(_BLOCKS) - 1)).astype(int)
    return "".join(_BLOCKS[level] for level in levels[places])


def _ruler(feature: Mapping[str, Any], axis: Axis, bars: int) -> str:
    """Write the axis above the histograms: its values, each begun where it lies."""
    import numpy as np

    if axis.log:
        powers = [0.0, *(10.0**power for power in range(-4, 10))]
        values = sorted({sign * value for value in powers if value == 0 or value >= axis.scale for sign in (1, -1)})
    else:
        rough = (axis.high - axis.low) / 4
        power = 10 ** np.floor(np.log10(rough))
        step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough)
        if axis.whole:
            step = max(1.0, step)
        first = int(np.ceil(axis.low / step - 1e-9))
        values = [place * step for place in range(first, int(np.floor(axis.high / step + 1e-9)) + 1)]
    line = ""
    for value in values:
        place = (float(axis.positions(np.array(value))) - axis.low) / (axis.high - axis.low) * bars
        label = _say(feature, value)
        start = min(int(place), bars - len(label))
        if 0 <= place <= bars and start >= len(line) + (1 if line else 0):
            line = line.ljust(start) + label
    return line.ljust(bars)


def _plain(text: str) -> str:
    """Show what could steer a terminal as a replacement character."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _width(name: str, cells: Iterable[str]) -> int:
    return max(map(cell_len, [name, *cells]))


def _print(
    console: Console, title: str, columns: dict[str, list[str]], caption: str, groups: Sequence[str] | None = None
) -> None:
    """Print columns as a table; `groups` has the group of each row, headed where it changes."""
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, padding=(0, 1), header_style="bold",
        title=Text(title), title_justify="left", title_style="bold", caption=Text(caption), caption_justify="left",
    )  # fmt: skip
    for place, name in enumerate(columns):
        is_wide = place == 0 or set("".join(columns[name])) & set(_BLOCKS[1:])
        table.add_column(
            Text(name), justify="left" if is_wide else "right", no_wrap=place > 0, overflow="fold",
            max_width=_LONGEST_ID if place == 0 else None,
        )  # fmt: skip
    previous = None
    for place, row in enumerate(zip(*columns.values(), strict=True)):
        if groups and groups[place] != previous:
            previous = groups[place]
            table.add_row(Text(previous, style="bold dim"))
        table.add_row(*map(Text, row))
    console.print(table)
