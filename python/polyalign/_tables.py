"""Tables for people: the buckets of a run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from polyalign.buckets import BucketSummary, Report

_QUANTILES = ("min", "q10", "q25", "q50", "q75", "q90", "max")
_WIDE = 200


def console(file: Any = None) -> Console:
    """Return a console as wide as the terminal, or wide enough for any table where there is none."""
    probe = Console(file=file, highlight=False, soft_wrap=False)
    return probe if probe.is_terminal else Console(file=file, highlight=False, width=_WIDE)


def bucket_table(buckets: Sequence[BucketSummary], unit: str, limit: int | None = None) -> Table:
    """One line a bucket: rows, share, tokens, quantiles of its lengths."""
    shown = buckets if limit is None else buckets[:limit]
    has_tokens = any(bucket.completion_tokens is not None for bucket in buckets)
    table = Table(caption=f"lengths in {unit}", caption_justify="right", header_style="bold")
    table.add_column("bucket", overflow="fold")
    numbers = ["rows", "share", *(["tokens", "of responses"] if has_tokens else []), *_QUANTILES]
    for name in numbers:
        table.add_column(name.replace("q50", "median"), justify="right", no_wrap=True)
    for bucket in shown:
        tokens = _tokens(bucket.prompt_tokens, bucket.completion_tokens) if has_tokens else []
        lengths = [f"{bucket.length[name]:,}" for name in _QUANTILES]
        table.add_row(bucket.bucket, f"{bucket.rows:,}", f"{bucket.share:.1%}", *tokens, *lengths)
    left = len(buckets) - len(shown)
    if left:
        table.add_section()
        rows = sum(bucket.rows for bucket in buckets[len(shown) :])
        share = sum(bucket.share for bucket in buckets[len(shown) :])
        table.add_row(f"… {left:,} more", f"{rows:,}", f"{share:.1%}", *[""] * (len(numbers) - 2))
    return table


def _tokens(prompt: int | None, completion: int | None) -> list[str]:
    if completion is None:
        return ["", ""]
    total = "" if prompt is None else f"{prompt + completion:,}"
    return [total, f"{completion:,}"]


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
    plain.print(bucket_table(report.buckets, length_unit(report)))
    return out.getvalue().rstrip("\n")
