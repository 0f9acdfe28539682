"""What a run's report means for the exit code, and what is said of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyalign._text.words import place

if TYPE_CHECKING:
    from polyalign.buckets import Report

ERROR, USAGE, INTERRUPTED = 1, 2, 130
UNREADABLE, _TOO_MANY_REJECTS = 3, 4


def exit_code(report: Report, max_rejects: float) -> int:
    """Print what a bucketing run could not use, a line each; return the exit code that it makes."""
    where = "" if report.output is None else f"; see {Path(report.output) / 'rejects.jsonl'}"
    return _exit_code(report.unreadable, report.rejected, report.rows, max_rejects, where)


def tally_exit_code(tally: Mapping[str, Any], max_rejects: float) -> int:
    """Print what another run could not use, a line each; return the exit code that it makes."""
    return _exit_code(tally["unreadable"], tally["rejected"], tally["rows"], max_rejects)


def _exit_code(
    unreadable: Iterable[Mapping[str, Any]], rejected: int, rows: int, max_rejects: float, where: str = ""
) -> int:
    code = 0
    for file in unreadable:
        why = file["reason"].removeprefix("the rest of the file can't be read: ")
        complain(f"{file['file']}: unreadable from byte or row {file['offset']:,} on: {why}")
        code = UNREADABLE
    share = rejected / rows if rows else 0.0
    if code == 0 and share > max_rejects:
        complain(
            f"{rejected:,} of {rows:,} rows rejected ({share:.1%}), more than --max-rejects {max_rejects:g}{where}"
        )
        code = _TOO_MANY_REJECTS
    return code


def rejected(by_kind: Mapping[str, int], firsts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say which rows were rejected: a line a kind, with the first of it."""
    lines = []
    for first in firsts:
        kind = first["kind"]
        lines.append(f"rejected: {by_kind[kind]:,} for {kind}, the first at {place(first)}: {first['reason']}")
    return lines


def complain(line: str) -> None:
    """Print a line to standard error; what would steer the terminal is escaped, as file names may hold anything."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda match: f"\\x{ord(match[0]):02X}", line)
    print(f"polyalign: {line}", file=sys.stderr)
