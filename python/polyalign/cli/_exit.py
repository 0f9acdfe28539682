"""What a run's report means for the exit code, and what is said of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyalign.buckets import Report

_UNREADABLE, _TOO_MANY_REJECTS = 3, 4


def exit_code(report: Report, max_rejects: float) -> int:
    """Print what a run could not use, a line each; return the exit code that it makes."""
    for file in report.unreadable:
        why = file["reason"].removeprefix("the rest of the file can't be read: ")
        complain(f"{file['file']}: unreadable from byte or row {file['offset']:,} on: {why}")
    if report.unreadable:
        return _UNREADABLE
    if report.rejected_share > max_rejects:
        where = "" if report.output is None else f"; see {Path(report.output) / 'rejects.jsonl'}"
        complain(
            f"{report.rejected:,} of {report.rows:,} rows rejected ({report.rejected_share:.1%}), "
            f"more than --max-rejects {max_rejects:g}{where}"
        )
        return _TOO_MANY_REJECTS
    return 0


def complain(line: str) -> None:
    """Print a line to standard error."""
    print(f"polyalign: {line}", file=sys.stderr)
