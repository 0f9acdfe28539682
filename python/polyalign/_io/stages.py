"""Stages: folders that say what they were made of, so that what is done is not done again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyalign import _core
from polyalign._io import json_text, manifests
from polyalign._io.json_text import differing

_MANIFEST = "stage.json"
#: What it is called until all of it is written.
_WRITTEN = f".{_MANIFEST}"
_FORMAT = "polyalign stage"
#: Stands for what comes out of a stage that is not made.
_UNKNOWN = "unknown until it is made"


@dataclass(frozen=True)
class Stage:
    """A stage that is done."""

    folder: Path
    told: Mapping[str, Any]
    """What it says of what came out."""
    identity: str
    """A hash of what came out, by which the stages know it that go on from there."""
    resumed: bool
    """Whether it was done before."""


class Stages:
    """The stages of a run, each in a folder of its own."""

    def __init__(self, out: Path, *, overwrite: bool, say: Callable[[str], object]) -> None:
        self.out, self.overwrite, self.say = out, overwrite, say

    def run(
        self,
        name: str,
        inputs: Mapping[str, Any],
        outputs: Iterable[str],
        make: Callable[[Path], Mapping[str, Any] | None],
    ) -> Stage:
        """Do a stage, unless it is done with the same inputs.

        Parameters
        ----------
        name : str
            Its folder.
        inputs : mapping
            What its outcome depends on, ready for JSON.
        outputs : iterable of str
            Patterns of the files that come out, in its folder.
        make : callable
            Does it in a folder, where an interrupted attempt with the same inputs may have left something; returns what
            is to be told of it.

        Raises
        ------
        ValueError
            It was begun with other inputs, or what came out is no longer there.
        FileExistsError
            Its folder holds something else.
        """
        folder, inputs = self.out / name, json.loads(json.dumps(inputs))
        begun = self._begun(folder, inputs)
        if begun is not None and begun.get("done"):
            self.say(f"{name}: done before")
            return Stage(folder, begun["told"], _identity(begun["files"]), resumed=True)
        self.say(f"{name} …" if begun is None else f"{name}: goes on …")
        folder.mkdir(parents=True, exist_ok=True)
        head = {"format": _FORMAT, "format_version": 1, "inputs": inputs}
        _write(folder, {**head, "done": False})
        told = json.loads(json.dumps(make(folder) or {}))
        files = [_listed(path, folder) for pattern in outputs for path in sorted(folder.glob(pattern))]
        _write(folder, {**head, "done": True, "told": told, "files": files})
        return Stage(folder, told, _identity(files), resumed=False)

    def _begun(self, folder: Path, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what a folder says of an earlier run with these inputs; clear away that of another one."""
        told, difference = _look(folder, inputs)
        if told is None or difference is None:
            return told
        if not self.overwrite:
            refused = (
                f"{folder}: {difference}; give what it was made of, name another folder, or make it anew, and what "
            )
            raise ValueError(_core.in_words(f"{refused}follows from it: --overwrite"))
        _clear(folder)
        return None


class Planned(Stages):
    """The stages of a run that is not: each is looked at, and none is made."""

    def __init__(self, out: Path, *, overwrite: bool) -> None:
        super().__init__(out, overwrite=overwrite, say=lambda line: None)
        #: By its folder, what would become of a stage.
        self.found: dict[str, str] = {}

    def run(
        self,
        name: str,
        inputs: Mapping[str, Any],
        outputs: Iterable[str],
        make: Callable[[Path], Mapping[str, Any] | None],
    ) -> Stage:
        """Say whether a stage is done; of one that is not nobody knows what will come out."""
        folder, inputs = self.out / name, json.loads(json.dumps(inputs))
        if _UNKNOWN in json.dumps(inputs):
            self.found[name] = "to do"
            return Stage(folder, {}, _UNKNOWN, resumed=True)
        told, difference = _look(folder, inputs)
        if told is not None and difference is not None:
            self.found[name] = "made anew" if self.overwrite else f"refused: {difference}"
        elif told is not None and told.get("done"):
            self.found[name] = "done"
            return Stage(folder, told["told"], _identity(told["files"]), resumed=True)
        else:
            self.found[name] = "to do" if told is None else "goes on"
        return Stage(folder, {}, _UNKNOWN, resumed=True)


def _look(folder: Path, inputs: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """Return what a folder says of an earlier run, and what is otherwise now, if something is."""
    # An interruption leaves the file that tells of a stage under its other name, and nothing else yet.
    if not folder.exists() or all(path.name == _WRITTEN for path in folder.iterdir()):
        return None, None
    try:
        told = json.loads((folder / _MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        told = None
    if not isinstance(told, dict) or told.get("format") != _FORMAT:
        raise FileExistsError(f"{folder}: not a stage of polyalign: move it away, or name another folder")
    return told, differing(told.get("inputs"), inputs) or _lost(folder, told)


def _lost(folder: Path, told: Mapping[str, Any]) -> str | None:
    """Say which of its files a stage no longer has."""
    for listed in told.get("files", ()):
        path = folder / listed["file"]
        if not path.is_file() or path.stat().st_size != listed["bytes"]:
            return f"{listed['file']} is not the file that {_MANIFEST} lists"
    return None


def _clear(folder: Path) -> None:
    """Remove a stage; last of all what tells that it is one, so that an interrupted removal can go on."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _MANIFEST:
            path.unlink()
    shutil.rmtree(folder)


def _write(folder: Path, told: Mapping[str, Any]) -> None:
    made = folder / _WRITTEN
    made.write_text(json_text.indented(told) + "\n", "utf-8", newline="\n")
    made.replace(folder / _MANIFEST)


def _listed(path: Path, folder: Path) -> dict[str, Any]:
    name = path.relative_to(folder).as_posix()
    return {"file": name, "bytes": path.stat().st_size, "sha256": manifests.sha256(path)}


def _identity(files: Iterable[Mapping[str, Any]]) -> str:
    spelled = "".join(f"{each['file']} {each['sha256']}\n" for each in files)
    return hashlib.sha256(spelled.encode()).hexdigest()
