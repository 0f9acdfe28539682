"""Texts and prompts from users: strings, TRL's messages, Arrow columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from polyalign import _core

_Prompts = list[list[tuple[str, str]] | None]


def texts(name: str, value: Any) -> Any:
    """Return `value` as the engine takes texts; the text of message lists is that of their last message."""
    if isinstance(value, str):
        raise TypeError(f"{name} is one str: give a list of them")
    if is_arrow(value):
        column = _core.arrow_column(name, value)
        if not _is_nested(column.type):
            return column
        value = ["" if item is None else item for item in _items(name, column)]
    elif isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        return value  # the engine says what is wrong with it
    elif getattr(value, "dtype", "O") != "O":  # numpy's strings
        return value
    return [item if isinstance(item, str) else _last_text(f"{name}[{at}]", item) for at, item in enumerate(value)]


def prompts(value: Any) -> _Prompts | None:
    """Return prompts as lists of (role, content): a text is the user's, messages are as they are, `None` is none."""
    if value is None:
        return None
    if isinstance(value, (str, bytes, Mapping)):
        raise TypeError(f"prompts is one {type(value).__name__}: give a list, one prompt a text")
    if is_arrow(value):
        value = _items("prompts", _core.arrow_column("prompts", value))
    # Several responses to a prompt have it as one object, as a rule.
    known: dict[int, list[tuple[str, str]] | None] = {}
    items = value if isinstance(value, (list, tuple)) else list(value)  # alive, so that no other has the same id
    for at, item in enumerate(items):
        if id(item) not in known:
            known[id(item)] = _prompt(f"prompts[{at}]", item)
    return [known[id(item)] for item in items]


def is_arrow(value: Any) -> bool:
    """Whether an object hands out Arrow data."""
    return hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__")


def is_dataset(value: Any) -> bool:
    """Whether it is of the package `datasets`."""
    return hasattr(value, "with_format") and hasattr(value, "features")


def _items(name: str, column: Any) -> list[Any]:
    """Return the values of a column; arro3 panics, which is no `Exception`, at types that it has no Python for."""
    try:
        return list(column.to_pylist())
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
    kind = str(column.type).strip().removeprefix("arro3.core.DataType<").removesuffix(">")
    raise TypeError(f"{name} is an Arrow column of {kind}: give texts or lists of messages")


def _is_nested(of: Any) -> bool:
    from arro3.core import DataType

    return bool(DataType.is_list(of) or DataType.is_large_list(of) or DataType.is_list_view(of))


def _prompt(name: str, item: Any) -> list[tuple[str, str]] | None:
    if item is None:
        return None
    if isinstance(item, str):
        return [("user", _valid(name, item))]
    if isinstance(item, Mapping) or not isinstance(item, Iterable):
        raise TypeError(f"{name} is {type(item).__name__}: give a text, a list of messages, or None")
    found = []
    for at, message in enumerate(item):
        if type(message) is dict:  # as nearly all are: there are many
            role, content = message.get("role"), message.get("content")
            if type(role) is str and type(content) is str and content.isascii():
                found.append((role, content))
                continue
        found.append(_message(f"{name}[{at}]", message))
    return found


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
        known = [part for part in parts if isinstance(part, str)]
        content = "".join(known) if len(known) == len(parts) else parts
    if content is None:
        content = ""
    if not isinstance(content, str):
        raise TypeError(f"{name} has content that is not text")
    return str(message["role"]), _valid(name, content)


def _valid(name: str, text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{name} has a lone surrogate at character {error.start}: it is not valid Unicode; "
                "clean it with text.encode('utf-8', 'replace').decode()"
            ) from None
    return text
