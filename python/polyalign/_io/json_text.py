"""JSON as it is written here: characters as they are."""

from __future__ import annotations

import json
from typing import Any


def one_line(value: object) -> str:
    """Return a value as a line of JSON, as the engine takes it."""
    return json.dumps(value, ensure_ascii=False)


def indented(value: object) -> str:
    """Return a value as JSON for people."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def differing(was: Any, now: Any, name: str = "") -> str | None:
    """Say in what settings differ first.

    Examples
    --------
    >>> differing({"sampling": {"seed": 1}}, {"sampling": {"seed": 2}})
    'sampling.seed was 1, and is 2'
    """
    if isinstance(was, dict) and isinstance(now, dict):
        for key in (*was, *(key for key in now if key not in was)):
            found = differing(was.get(key), now.get(key), f"{name}.{key}" if name else key)
            if found:
                return found
        return None
    return None if was == now else f"{name} was {one_line(was)}, and is {one_line(now)}"
