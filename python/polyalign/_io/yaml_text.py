"""YAML that users write: small, and refused where it is hostile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["check_size", "load", "members", "named"]

# What no file of settings needs, and a hostile one has: depth, and nodes with aliases written out.
_DEPTH, _NODES = 16, 100_000


def load(path: Path) -> Any:
    """Return what a file says, as plain data; one whose name ends in ``.json`` is read as JSON.

    Raises
    ------
    ValueError
        It is neither, or larger than anyone writes: the error names the file and the line.
    """
    import yaml

    try:
        text = path.read_text("utf-8")
        if path.suffix == ".json":
            return json.loads(text)
        check_size(path, text)
        return yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError(f"{path}: nested too deep") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise named(error, path) from None


def members(value: Any, known: tuple[str, ...], where: str) -> Mapping[str, Any]:
    """Return a mapping with none but known members; ``ValueError`` says where another stands."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: must have members: {', '.join(known)}")
    for key in value:
        if key not in known:
            raise ValueError(f"{where}: unknown member {key!r}; known are {', '.join(known)}")
    return value


def check_size(path: Path, text: str) -> None:
    """Refuse YAML that is too deep, or too large with its aliases written out."""
    if problem := _excess(text):
        raise ValueError(f"{path}:{problem}")


def named(error: Exception, path: Path) -> ValueError:
    """Return what is wrong with a file's YAML, and where."""
    import yaml

    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        return ValueError(f"{path}{where}: not YAML: {error.problem}")
    return ValueError(f"{path}: not YAML: {' '.join(str(error).split())}")


def _excess(text: str) -> str | None:
    """Return the line at which YAML gets too deep, or too large with its aliases written out, and what it is."""
    import yaml

    sizes: dict[str | None, int] = {}
    open_: list[tuple[str | None, int]] = [(None, 0)]  # of collections: the anchor, and nodes so far
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        match event:
            case yaml.CollectionStartEvent():
                open_.append((event.anchor, 1))
                if len(open_) > _DEPTH:
                    return f"{line}: nested more than {_DEPTH} deep"
                continue
            case yaml.CollectionEndEvent():
                anchor, size = open_.pop()
                sizes[anchor] = size
            case yaml.ScalarEvent():
                size = sizes[event.anchor] = 1
            case yaml.AliasEvent():
                if any(event.anchor == anchor for anchor, _ in open_):
                    return f"{line}: *{event.anchor} holds itself"
                size = sizes.get(event.anchor, 1)  # one of nothing is said when it is read
            case _:
                continue
        anchor, before = open_[-1]
        open_[-1] = (anchor, before + size)
        if before + size > _NODES:
            return f"{line}: more than {_NODES:,} values, with aliases written out"
    return None
