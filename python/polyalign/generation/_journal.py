"""What of a run is finished, in a file beside the output: the next run with the same settings goes on from there."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polyalign import _core
from polyalign._io import json_text
from polyalign._io.json_text import differing
from polyalign.generation._engine import Answer, Key

__all__ = ["Journal", "beside", "opened"]

_FORMAT = "polyalign samples, unfinished"


def beside(output: Path) -> Path:
    """Return where the journal of an output is."""
    return output.with_name(f"{output.name}.unfinished")


class Journal:
    """Answers as they come, each a line; kept in memory as well."""

    def __init__(self, path: Path | None, settings: Mapping[str, Any], *, begin_anew: bool) -> None:
        self.path = path
        self.answers: dict[Key, Answer] = {}
        self.resumed = 0
        self._file: Any = None
        if path is None:
            return
        kept = self._read(path, settings, begin_anew=begin_anew) if path.exists() else 0
        self._file = path.open("r+b" if kept else "wb")
        self._file.truncate(kept)
        self._file.seek(kept)
        if not kept:
            self._write({"format": _FORMAT, "settings": settings})
        self.resumed = len(self.answers)

    def _read(self, path: Path, settings: Mapping[str, Any], *, begin_anew: bool) -> int:
        """Take what is there; return how many bytes of it go on: a kill may have torn the last line."""
        with path.open("rb") as file:
            lines = list(_whole_lines(file))
        head, *answers = [value for value, _ in lines] or [None]
        if not isinstance(head, dict) or head.get("format") != _FORMAT:
            if _begins_as_ours(path):
                return 0
            raise FileExistsError(f"{path}: not what an unfinished run leaves: move it away")
        difference = differing(head["settings"], settings)
        if difference and answers and not begin_anew:
            refused = f"{path}: begun with other settings: {difference}; give the same to go on with it, or begin anew"
            raise ValueError(_core.in_words(f"{refused}: --overwrite"))
        if difference:
            return 0
        found = (Answer(**{**told, "key": tuple(told["key"])}) for told in answers)
        self.answers = {answer.key: answer for answer in found}
        return sum(size for _, size in lines)

    def add(self, answers: Iterable[Answer]) -> list[Answer]:
        """Note answers; return those that are new."""
        new = [answer for answer in answers if answer.key not in self.answers]
        for answer in new:
            self.answers[answer.key] = answer
            if self._file is not None:
                plain = {name: value for name, value in dataclasses.asdict(answer).items() if value is not None}
                self._write(plain)
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
        return new

    def _write(self, value: object) -> None:
        self._file.write(json_text.one_line(value).encode() + b"\n")

    def close(self) -> None:
        """Close the file; what is in it stays."""
        if self._file is not None:
            self._file.close()

    def remove(self) -> None:
        """Remove the file: the run is finished."""
        self.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _whole_lines(file: Iterable[bytes]) -> Iterator[tuple[Any, int]]:
    """Give what lines hold, and their sizes, up to the first that is torn."""
    for line in file:
        try:
            value = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            return
        if value is None:
            return
        yield value, len(line)


def _begins_as_ours(path: Path) -> bool:
    """Whether a file holds nothing, or the torn beginning of a first line of ours."""
    text = path.read_bytes()
    begin = json_text.one_line({"format": _FORMAT}).encode()[:-1]
    return b"\n" not in text and text[: len(begin)] == begin[: len(text)]


@contextmanager
def opened(path: Path | None, settings: Mapping[str, Any], *, begin_anew: bool) -> Iterator[Journal]:
    """Open a journal, and close it whatever happens."""
    journal = Journal(path, settings, begin_anew=begin_anew)
    try:
        yield journal
    finally:
        journal.close()
