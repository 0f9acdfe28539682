"""Tables for people, as wide as their terminal."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from polyalign.features import Feature

WIDE = 200
# How wide the definition of a feature is at least.
_DEFINITION = 30


def console(file: Any = None) -> Console:
    """Return a console as wide as the terminal, or wide enough for any table where there is none."""
    probe = Console(file=file, highlight=False, soft_wrap=False)
    return probe if probe.is_terminal else Console(file=file, highlight=False, width=WIDE)


def share_table(rows: Mapping[str, int], limit: int) -> Table:
    """One line a bucket: its rows and its share of all; `limit` lines."""
    total = max(1, sum(rows.values()))
    named = dict(list(rows.items())[:limit])
    if len(rows) > limit:
        named[f"… {len(rows) - limit:,} more"] = total - sum(named.values())
    return columns_table(
        {
            "bucket": list(named),
            "rows": [f"{count:,}" for count in named.values()],
            "share": [f"{count / total:.1%}" for count in named.values()],
        }
    )


def score_table(buckets: Mapping[str, Mapping[str, Any]], width: int, limit: int) -> Table:
    """One line a bucket that responses were scored against, and one for all: as many columns as fit into `width`.

    Parameters
    ----------
    buckets : mapping
        By bucket: ``rows``, ``scored``, ``mean_distance``, ``mean_percentile``, ``beyond_95``, ``energy``,
        ``energy_floor``, ``served_by``; and where a critic scored too, ``critic_scored``, ``mean_critic`` and perhaps
        ``mean_critic_percentile``.
    width : int
        Of the terminal.
    limit : int
        How many buckets, those with most rows first.
    """
    order = sorted(buckets, key=lambda bucket: -buckets[bucket]["rows"])
    shown = [(bucket, buckets[bucket]) for bucket in order[:limit]]
    if len(order) > limit:
        shown.append((f"… {len(order) - limit:,} more", _together([buckets[bucket] for bucket in order[limit:]])))
    if len(order) > 1:
        shown.append(("all", _together(list(buckets.values()))))
    scores = [score for _, score in shown]
    columns = {
        "bucket": [name for name, _ in shown],
        "rows": [f"{score['rows']:,}" for score in scores],
        "scored": [f"{score['scored']:,}" for score in scores],
        "distance": [number(score["mean_distance"], ".3f") for score in scores],
        "percentile": [number(score["mean_percentile"], ".0%") for score in scores],
        "beyond 95%": [number(score["beyond_95"], ".1%") for score in scores],
        "E² (humans)": [_energy(score) for score in scores],
        **_critic_columns(scores),
        "served by": [_server(name, score) for name, score in shown],
    }
    fit(columns, [("scored",), ("served by",), ("beyond 95%",), ("E² (humans)",)], width)
    table = columns_table(columns, ("bucket", "served by"))
    told = "; E²: of all together, and what 95% of as many humans have less than" if "E² (humans)" in columns else ""
    table.caption = Text(f"means; humans: percentile 50%, beyond 95% 5%{told}")
    return table


def _energy(score: Mapping[str, Any]) -> str:
    energy, floor = score["energy"], score.get("energy_floor")
    return number(energy, ".3f") + ("" if floor is None else f" ({floor:.3f})")


def _critic_columns(scores: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return a critic's means: percentiles, if it is calibrated, else scores."""
    for name, form in (("mean_critic_percentile", ".0%"), ("mean_critic", ".3f")):
        if name in scores[0]:
            return {"critic": [number(score[name], form) for score in scores]}
    return {}


def _server(bucket: str, score: Mapping[str, Any]) -> str:
    if "served_by" not in score:  # several buckets together
        return ""
    return "itself" if score["served_by"] == bucket else score["served_by"] or "nobody"


def _together(buckets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the scores of several buckets as those of one."""

    def mean(name: str, count: str) -> float | None:
        known = [(score[name], score[count]) for score in buckets if score[name] is not None]
        rows = sum(count for _, count in known)
        return sum(value * count for value, count in known) / rows if rows else None

    names = dict.fromkeys(("mean_distance", "mean_percentile", "beyond_95", "energy"), "scored")
    names |= {name: "critic_scored" for name in ("mean_critic", "mean_critic_percentile") if name in buckets[0]}
    sums = {name: sum(score[name] for score in buckets) for name in ("rows", "scored")}
    return {**sums, **{name: mean(name, count) for name, count in names.items()}}


def number(value: float | None, form: str) -> str:
    """Return a number in a format, a dash where there is none."""
    return "–" if value is None else format(value, form)


def feature_table(features: Sequence[Feature], width: int) -> Table:
    """One line a feature: its name, unit, languages and definition, under its group; the definition always fits."""
    columns = {
        "feature": [feature.name for feature in features],
        "unit": [feature.unit for feature in features],
        "languages": [feature.languages for feature in features],
    }
    fit(columns, [("languages",), ("unit",)], width - _DEFINITION)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=True)
    table.add_column("definition", overflow="fold")
    group = None
    for feature, *cells in zip(features, *columns.values(), strict=True):
        if feature.group != group:
            group = feature.group
            table.add_row(Text(group, style="bold dim"))
        table.add_row(*map(Text, (*cells, feature.definition)))
    return table


def columns_table(columns: Mapping[str, Sequence[str]], left: Sequence[str] = ("bucket",)) -> Table:
    """Return columns as a table; those named by `left` hold words, the others numbers."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", caption_justify="right")
    for name in columns:
        is_text = name in left
        table.add_column(Text(name), justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, row))
    return table


def fit(columns: dict[str, list[str]], dispensable: Sequence[Sequence[str]], width: int) -> None:
    """Take columns out, those named first first, until a table of the rest fits into `width`."""
    for names in dispensable:
        if 1 + sum(max(map(cell_len, [name, *cells])) + 3 for name, cells in columns.items()) <= width:
            return
        for name in names:
            columns.pop(name, None)


def printed(*parts: Any) -> str:
    """Return what the console would print, as plain text."""
    out = io.StringIO()
    console = Console(file=out, width=WIDE, no_color=True, highlight=False, markup=False)
    for part in parts:
        console.print(part)
    return out.getvalue().rstrip("\n")


def plain(columns: Mapping[str, Sequence[str]], left: Sequence[str] = ("bucket",)) -> str:
    """Return columns as a table of plain text, for logs; those named by `left` hold words, the others numbers."""
    return "\n".join(line.rstrip() for line in printed(columns_table(columns, left)).splitlines()).strip("\n")


def size(count: int) -> str:
    """Bytes in decimal units: ``145.2 MB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
