"""Texts and prompts from users: strings, TRL's messages, Arrow columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_Prompts = list[list[tuple[str, str]] | None]


def texts(name: str, value: Any) -> Any:
    """Return `value` as the engine takes texts; the text of message lists is that of their last message."""
    if isinstance(value, str):
        raise TypeError(f"{name} is one str: give a list of them")
    if not isinstance(value, (list, tuple)):
        return value
    return [item if isinstance(item, str) else _last_text(f"{name}[{at}]", item) for at, item in enumerate(value)]


def prompts(value: Any) -> _Prompts | None:
    """Return prompts as lists of (role, content): a text is the user's, messages are as they are, `None` is none."""
    if value is None:
        return None
    if hasattr(value, "to_pylist"):  # an Arrow column
        value = value.to_pylist()
    if isinstance(value, str):
        raise TypeError("prompts is one str: give a list, one prompt a text")
    return [_prompt(f"prompts[{at}]", item) for at, item in enumerate(value)]


def _prompt(name: str, item: Any) -> list[tuple[str, str]] | None:
    if item is None:
        return None
    if isinstance(item, str):
        return [("user", item)]
    return [_message(f"{name}[{at}]", message) for at, message in enumerate(item)]


def _last_text(name: str, item: Any) -> Any:
    if not isinstance(item, (list, tuple)):
        return item  # the engine says what is wrong with it
    if not item:
        return ""
    return _message(f"{name}[{len(item) - 1}]", item[-1])[1]


def _message(name: str, message: Any) -> tuple[str, str]:
    if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
        raise TypeError(f"{name} is no message: it must have role and content")
    content = message["content"]
    if isinstance(content, (list, tuple)):
        parts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        if not all(isinstance(part, str) for part in parts):
            raise TypeError(f"{name} has content that is not text")
        content = "".join(parts)
    if content is None:
        content = ""
    if not isinstance(content, str):
        raise TypeError(f"{name} has content that is not text")
    return str(message["role"]), content
