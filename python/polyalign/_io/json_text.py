"""JSON as it is written here: characters as they are."""

from __future__ import annotations

import json


def one_line(value: object) -> str:
    """Return a value as a line of JSON, as the engine takes it."""
    return json.dumps(value, ensure_ascii=False)


def indented(value: object) -> str:
    """Return a value as JSON for people."""
    return json.dumps(value, ensure_ascii=False, indent=2)
