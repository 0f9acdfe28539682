"""Tables for people: the buckets of a run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from polyalign.buckets import BucketSummary, Report

_QUANTILES = ("min", "q10", "q25", "q50", "q75", "q90", "max")
_WIDE = 200
# What a narrow terminal does without, first things first.
_DISPENSABLE = (("of responses",), ("q25", "q75"), ("min", "max"), ("q10", "q90"), ("tokens",), ("share",))


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
        table.add_row(*row)
    return table


def _columns(buckets: Sequence[BucketSummary]) -> dict[str, list[str]]:
    """Return the table's columns by name."""
    columns = {
        "bucket": [bucket.bucket for bucket in buckets],
        "rows": [f"{bucket.rows:,}" for bucket in buckets],
        "share": [f"{bucket.share:.1%}" for bucket in buckets],
    }
    if any(bucket.completion_tokens is not None for bucket in buckets):
        tokens = [_tokens(bucket.prompt_tokens, bucket.completion_tokens) for bucket in buckets]
        columns["tokens"] = [whole for whole, _ in tokens]
        columns["of responses"] = [completion for _, completion in tokens]
    for name in _QUANTILES:
        columns[name.replace("q50", "median")] = [f"{bucket.length[name]:,}" for bucket in buckets]
    return columns


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
    return (
        f"{report.rows:,} rows from {files} ({size(report.bytes)} of {report.format}){tokens}: "
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


def report_text(report: Report) -> str:
    """Return the whole report as plain text."""
    out = io.StringIO()
    plain = Console(file=out, width=_WIDE, no_color=True, highlight=False)
    plain.print(headline(report))
    plain.print(bucket_table(report.buckets, length_unit(report), _WIDE))
    return out.getvalue().rstrip("\n")
