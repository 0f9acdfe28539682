"""Outputs that appear whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from polyalign import _core


@contextmanager
def publishing(
    path: str | os.PathLike[str], kind: Literal["file", "pairs", "critic"] = "file", *, overwrite: bool
) -> Iterator[_core.Output]:
    """Give an output to make, which appears at `path` if all goes well.

    Make ``output.work``, a file or a folder, or call ``output.write``. Nothing else is made at `path` meanwhile; what
    appears there is replaced only with `overwrite`, and a folder only if it is of the same kind.

    Raises
    ------
    FileExistsError
        Something is there that is not replaced.
    OSError
        Another process makes it, or it can't be written: the error names `path`.
    """
    path = os.fspath(path)
    output = _core.Output(path, kind, overwrite)
    try:
        yield output
        output.publish()
    except OSError as error:
        raise _named(error, path) from None
    finally:
        output.release()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder of stages.

    Raises
    ------
    OSError
        Another run is in it.
    """
    lock = os.fspath(folder / "stages")
    try:
        output = _core.Output(lock, "file", True)
    except OSError as error:
        raise OSError(str(error).replace(lock, os.fspath(folder))) from None
    try:
        yield
    finally:
        output.release()


def check_folder(path: str | os.PathLike[str], what: str = "to write it to") -> None:
    """Refuse an output whose folder is not there, before work starts."""
    folder = Path(path).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{os.fspath(path)}: there is no folder {folder} {what}")


def check_run(path: Path) -> None:
    """Refuse a folder for the stages of a run that can't be one."""
    check_folder(path, "to make it in")
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path}: a file; name a folder")


def check_file(path: str | os.PathLike[str]) -> None:
    """Raise ``OSError`` where no file can be written, or replaced; nothing is left there."""
    check_folder(path)
    path = os.fspath(path)
    try:
        _core.Output(path, "file", True).release()
    except OSError as error:
        raise _named(error, path) from None


def _named(error: OSError, path: str) -> OSError:
    """Name the output in an error of the disk that names no file."""
    if error.errno is None or error.filename is not None:
        return error
    return OSError(error.errno, os.strerror(error.errno), path)
