"""Judgements, one a line: what ``polyalign evaluate --judged`` takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from polyalign._io import json_text
from polyalign._io.output import publishing

__all__ = ["refuse_existing", "write"]


def refuse_existing(path: Path | None, *, overwrite: bool) -> None:
    """Say that a file is there before the work that it is of."""
    if path is not None and path.exists() and not overwrite:
        raise FileExistsError(f"{path}: exists already; --overwrite replaces it")


def write(path: Path, lines: Iterable[Mapping[str, Any]], *, overwrite: bool) -> None:
    """Write lines of JSON; the file appears whole."""
    with publishing(path, overwrite=overwrite) as made, Path(made.work).open("w", encoding="utf-8") as file:
        file.writelines(json_text.one_line(line) + "\n" for line in lines)
