"""Tables for people: the buckets of a run."""

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
    from polyalign.buckets import BucketSummary, Report
    from polyalign.features import Feature
    from polyalign.pairs import Report as PairsReport

_QUANTILES = ("min", "q10", "q25", "q50", "q75", "q90", "max")
_WIDE = 200
# What a narrow terminal does without, first things first.
_DISPENSABLE = (
    ("of responses",),
    ("held out",),
    ("q25", "q75"),
    ("min", "max"),
    ("q10", "q90"),
    ("tokens",),
    ("share",),
)
# How wide the definition of a feature is at least.
_DEFINITION = 30


def console(file: Any = None) -> Console:
    """Return a console as wide as the terminal, or wide enough for any table where there is none."""
    probe = Console(file=file, highlight=False, soft_wrap=False)
    return probe if probe.is_terminal else Console(file=file, highlight=False, width=_WIDE)


def bucket_table(buckets: Sequence[BucketSummary], unit: str, width: int, limit: int | None = None) -> Table:
    """One line a bucket: rows, share, tokens, quantiles of its lengths; as many columns as fit into `width`."""
    columns = _columns(buckets if limit is None else buckets[:limit])
    left = [] if limit is None else buckets[limit:]
    if left:
        rows, share = sum(bucket.rows for bucket in left), sum(bucket.share for bucket in left)
        more = {"bucket": f"… {len(left):,} more", "rows": f"{rows:,}", "share": f"{share:.1%}"}
        for name, cells in columns.items():
            cells.append(more.get(name, ""))
    for names in _DISPENSABLE:
        if 1 + sum(max(map(cell_len, [name, *cells])) + 3 for name, cells in columns.items()) <= width:
            break
        for name in names:
            columns.pop(name, None)
    table = Table(caption=f"lengths in {unit}", caption_justify="right", header_style="bold", box=box.SIMPLE_HEAD)
    for name in columns:
        is_id = name == "bucket"
        table.add_column(name, justify="left" if is_id else "right", no_wrap=not is_id, overflow="fold")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, row))
    return table


def _columns(buckets: Sequence[BucketSummary]) -> dict[str, list[str]]:
    """Return the table's columns by name."""
    columns = {
        "bucket": [bucket.bucket for bucket in buckets],
        "rows": [f"{bucket.rows:,}" for bucket in buckets],
        "share": [f"{bucket.share:.1%}" for bucket in buckets],
    }
    if any(bucket.held_out for bucket in buckets):
        columns["held out"] = [f"{bucket.held_out:,}" for bucket in buckets]
    if any(bucket.completion_tokens is not None for bucket in buckets):
        tokens = [_tokens(bucket.prompt_tokens, bucket.completion_tokens) for bucket in buckets]
        columns["tokens"] = [whole for whole, _ in tokens]
        columns["of responses"] = [completion for _, completion in tokens]
    for name in _QUANTILES:
        columns[name.replace("q50", "median")] = [f"{bucket.length[name]:,}" for bucket in buckets]
    return columns


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
        By bucket: ``rows``, ``scored``, ``mean_distance``, ``mean_percentile``, ``beyond_95``, ``served_by``.
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
        "distance": [_number(score["mean_distance"], ".3f") for score in scores],
        "percentile": [_number(score["mean_percentile"], ".0%") for score in scores],
        "beyond 95%": [_number(score["beyond_95"], ".1%") for score in scores],
        "served by": [_server(name, score) for name, score in shown],
    }
    for name in ("scored", "served by", "beyond 95%"):
        if 1 + sum(max(map(cell_len, [column, *cells])) + 3 for column, cells in columns.items()) <= width:
            break
        del columns[name]
    table = columns_table(columns, ("bucket", "served by"))
    table.caption = Text("means; humans: percentile 50%, beyond 95% 5%")
    return table


def _server(bucket: str, score: Mapping[str, Any]) -> str:
    if "served_by" not in score:  # several buckets together
        return ""
    return "itself" if score["served_by"] == bucket else score["served_by"] or "nobody"


def _together(buckets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the scores of several buckets as those of one."""

    def mean(name: str) -> float | None:
        known = [(score[name], score["scored"]) for score in buckets if score[name] is not None]
        rows = sum(count for _, count in known)
        return sum(value * count for value, count in known) / rows if rows else None

    sums = {name: sum(score[name] for score in buckets) for name in ("rows", "scored")}
    return {**sums, **{name: mean(name) for name in ("mean_distance", "mean_percentile", "beyond_95")}}


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def feature_table(features: Sequence[Feature], width: int) -> Table:
    """One line a feature: its name, unit, languages and definition, under its group; the definition always fits."""
    columns = {
        "feature": [feature.name for feature in features],
        "unit": [feature.unit for feature in features],
        "languages": [feature.languages for feature in features],
    }
    for name in ("languages", "unit"):
        if sum(max(map(cell_len, [column, *cells])) + 3 for column, cells in columns.items()) + _DEFINITION <= width:
            break
        del columns[name]
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


def plain(columns: Mapping[str, Sequence[str]], left: Sequence[str] = ("bucket",)) -> str:
    """Return columns as a table of plain text, for logs; those named by `left` hold words, the others numbers."""
    out = io.StringIO()
    Console(file=out, width=_WIDE, no_color=True, highlight=False).print(columns_table(columns, left))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n")


def _tokens(prompt: int | None, completion: int | None) -> tuple[str, str]:
    if completion is None:
        return "", ""
    return "" if prompt is None else f"{prompt + completion:,}", f"{completion:,}"


def length_unit(report: Report) -> str:
    """Return the unit that lengths of a report are in."""
    return report.schema.length_unit or ("words" if report.completion_tokens is None else "tokens")


def headline(report: Report) -> str:
    """One line: what went in and what became of it."""
    files = f"{report.files:,} file{'s'[: report.files != 1]}"
    tokens = ""
    if report.completion_tokens is not None:
        total = report.completion_tokens + (report.prompt_tokens or 0)
        tokens = f", {total:,} tokens"
    records = "" if report.records == report.rows else f" of {report.records:,} record{'s'[: report.records != 1]}"
    return (
        f"{report.rows:,} rows{records} from {files} ({size(report.bytes)} of {report.format}){tokens}: "
        f"{report.bucketed:,} in {len(report.buckets):,} bucket{'s'[: len(report.buckets) != 1]}, "
        f"{report.rejected:,} rejected"
    )


def size(count: int) -> str:
    """Bytes in decimal units: ``145.2 MB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def pairs_headline(report: PairsReport) -> str:
    """One line: what went in and what became of it."""
    given = {"row" if report.samples is None else "record": report.records}
    if report.samples is not None:
        given["sample"] = report.samples
    what = " and ".join(f"{count:,} {name}{'s'[: count != 1]}" for name, count in given.items())
    return (
        f"{what}: {report.pairs:,} pair{'s'[: report.pairs != 1]} in "
        f"{len(report.buckets):,} bucket{'s'[: len(report.buckets) != 1]}, {report.skipped:,} skipped"
    )


def pairs_table(report: PairsReport, limit: int) -> Table:
    """One line a bucket of pairs: how many, and where there is a critic the means of its scores."""
    shown = report.buckets[:limit]
    left = report.buckets[limit:]
    columns = {
        "bucket": [bucket.bucket for bucket in shown],
        "pairs": [f"{bucket.pairs:,}" for bucket in shown],
        "share": [f"{bucket.share:.1%}" for bucket in shown],
    }
    scores = {
        "chosen": ([bucket.chosen_score for bucket in shown], ".3f"),
        "rejected": ([bucket.rejected_score for bucket in shown], ".3f"),
        "rejected further": ([bucket.rejected_further for bucket in shown], ".1%"),
    }
    if report.critic is not None:
        columns |= {name: [_number(value, form) for value in values] for name, (values, form) in scores.items()}
    if left:
        pairs, share = sum(bucket.pairs for bucket in left), sum(bucket.share for bucket in left)
        more = {"bucket": f"… {len(left):,} more", "pairs": f"{pairs:,}", "share": f"{share:.1%}"}
        for name, cells in columns.items():
            cells.append(more.get(name, ""))
    table = columns_table(columns)
    if report.critic is not None:
        table.caption = Text(f"mean scores by {report.critic['name']}: lower is closer to humans")
    return table


def pairs_text(report: PairsReport, skipped: Sequence[str]) -> str:
    """Return a report of pairs as plain text."""
    out = io.StringIO()
    plain = Console(file=out, width=_WIDE, no_color=True, highlight=False)
    plain.print(pairs_headline(report))
    plain.print(pairs_table(report, len(report.buckets)))
    for line in skipped:
        plain.print(f"skipped: {line}", markup=False)
    return out.getvalue().rstrip("\n")


def report_text(report: Report) -> str:
    """Return the whole report as plain text."""
    out = io.StringIO()
    plain = Console(file=out, width=_WIDE, no_color=True, highlight=False)
    plain.print(headline(report))
    plain.print(bucket_table(report.buckets, length_unit(report), _WIDE))
    return out.getvalue().rstrip("\n")
