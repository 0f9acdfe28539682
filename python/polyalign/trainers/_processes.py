"""Errors before the first step: that of one process ends all, with the same line."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from accelerate import PartialState
from accelerate.utils import gather_object

from polyalign.trainers._trl import global_then_local_main_first

__all__ = ["agree", "agreed", "main_first", "released", "tell"]

_KNOWN = "_polyalign_known_to_all"


def agree(error: Exception | None = None) -> None:
    """Ask all processes whether there was an error, and raise the first.

    All processes call it alike; one that has an error calls it once with it, and ends.
    """
    if PartialState().num_processes == 1:
        if error is not None:
            raise error
        return
    told = gather_object([None if error is None else _sendable(error)])
    first = next((each for each in told if each is not None), None)
    if first is not None:
        # Its own, which knows where it was raised.
        found: Exception = error if error is not None and str(error) == str(first) else first
        setattr(found, _KNOWN, True)
        raise found


def tell(error: Exception) -> None:
    """Tell the other processes of an error, unless they know; they ask by :func:`agree`."""
    if not getattr(error, _KNOWN, False) and PartialState().num_processes > 1:
        with suppress(RuntimeError):  # they are gone
            gather_object([_sendable(error)])
        setattr(error, _KNOWN, True)


@contextmanager
def agreed() -> Iterator[None]:
    """Do something that every process does; the error of one is that of all."""
    try:
        yield
    except Exception as error:
        if not getattr(error, _KNOWN, False):
            agree(error)
        raise
    agree()


@contextmanager
def main_first() -> Iterator[None]:
    """Let the main process go first, as TRL does; the error of one is that of all, and leaves none waiting."""
    with agreed(), released(), global_then_local_main_first():
        yield


@contextmanager
def released() -> Iterator[None]:
    """Do what TRL's trainers do with the main process first; after an error, meet the others where they wait for it."""
    try:
        yield
    except Exception:
        state = PartialState()
        # They wait at the beginnings of two scopes, of all machines and of their own.
        for _ in range(2 if state.is_main_process else int(state.is_local_main_process)):
            state.wait_for_everyone()
        raise


def _sendable(error: Exception) -> Exception:
    """Return an error as another process gets it, without what can't be sent."""
    for make in (lambda: error, lambda: type(error)(str(error))):
        with suppress(Exception):
            sent: Exception = pickle.loads(pickle.dumps(make()))  # type: ignore[no-untyped-call]
            if str(sent) == str(error):
                return sent
    return RuntimeError(f"{type(error).__name__}: {error}")
