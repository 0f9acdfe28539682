"""The command line: ``polyalign bucket | count | show | reference | score | generate | pairs | sft | hdpo | …``."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback

from polyalign.cli._exit import ERROR, INTERRUPTED, USAGE, complain

__all__ = ["main"]


def main() -> None:
    """Run the command line; every error is one line, with a traceback only after ``--debug``."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line and return the exit code."""
    from polyalign import _core

    named = _core.name_flags(True)
    try:
        return _run(arguments)
    finally:
        _core.name_flags(named)


def _run(arguments: list[str]) -> int:
    try:
        from polyalign.cli._app import app

        result = app(arguments, prog_name="polyalign", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output (`head`, a pager) has had enough. Python flushes once more at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR
    except KeyboardInterrupt:  # before or after the command itself
        result = INTERRUPTED
    except BaseException as error:
        if not (isinstance(error, Exception) or type(error).__name__ == "PanicException"):
            raise
        return _report(error, debug="--debug" in arguments)
    if result == INTERRUPTED:
        return _interrupted(arguments)
    return result if isinstance(result, int) else 0


def _interrupted(arguments: list[str]) -> int:
    hint = ""
    goes_on = arguments[:1] == ["bucket"] and not {"-", "--dry-run"} & set(arguments)
    judging = arguments[:2] in (["judge", "score"], ["judge", "pairs"])
    if goes_on or judging or arguments[:1] in (["generate"], ["rounds"], ["align"]):
        hint = "; the same command goes on where it was"
    elif arguments[:2] in (["reference", "build"], ["reference", "merge"]):
        hint = "; no reference was written"
    elif arguments[:2] == ["critic", "train"]:
        hint = "; no critic was written"
    elif arguments[:1] == ["score"] or arguments[:2] == ["critic", "score"]:
        hint = "; no file was written"
    elif arguments[:1] == ["pairs"]:
        hint = "; no folder was made"
    elif arguments[:1] in (["sft"], ["hdpo"]):
        hint = "; --resume_from_checkpoint true goes on from the last checkpoint"
    elif arguments[:1] == ["demo"]:
        hint = "; the same command begins anew, but for a model that is there"
    if sys.stderr.isatty():
        print(file=sys.stderr)  # a line of its own after the terminal's ^C
    print(f"polyalign: interrupted{hint}", file=sys.stderr)
    return INTERRUPTED


def _report(error: BaseException, *, debug: bool) -> int:
    if hasattr(error, "format_message"):  # a usage error of click
        line, code = " ".join(error.format_message().split()), USAGE
    elif isinstance(error, (ValueError, TypeError, OSError, ImportError)):
        line, code = _one_line(error), ERROR
    else:
        line, code = f"{type(error).__name__}: {_one_line(error)}", ERROR
        if not debug:
            line += " (--debug shows where)"
    if debug:
        traceback.print_exception(error)
    complain(line)
    return code


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        # Whatever else we write is named.
        full = error.filename is None and error.errno in (errno.ENOSPC, errno.EFBIG)
        name = "standard output" if full else error.filename
        return error.strerror if name is None else f"{name}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
