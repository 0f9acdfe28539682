"""Words for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with what there are so many of.

    Examples
    --------
    >>> counted(1, "row"), counted(1200, "row"), counted(2, "reply", "replies")
    ('1 row', '1,200 rows', '2 replies')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def shortened(text: str, longest: int) -> str:
    """Return a text, or the beginning of a long one.

    Examples
    --------
    >>> shortened("What is the capital?", 7), shortened("What is", 7)
    ('What is…', 'What is')
    """
    return text if len(text) <= longest else f"{text[:longest]}…"


def place(row: Mapping[str, Any]) -> str:
    """Return where a row that the engine tells of stands: its ``file``, and its ``line`` or else its ``row``.

    Examples
    --------
    >>> place({"file": "a.jsonl", "line": 3, "row": 2}), place({"file": "a.parquet", "line": None, "row": 2})
    ('a.jsonl:3', 'a.parquet, row 2')
    """
    return f"{row['file']}:{row['line']}" if row.get("line") else f"{row['file']}, row {row['row']}"
