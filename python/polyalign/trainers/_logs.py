"""Where logs go: to the terminal, to trackers, to a file; and what is said before the first step."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate.logging import MultiProcessAdapter
from accelerate.logging import get_logger as accelerate_logger
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

__all__ = ["FILE", "BucketFile", "get_logger", "printing", "shorten_console"]

#: The file in the output folder.
FILE = "bucket_log.csv"
_KEYS = ("step", "epoch", "split", "bucket")


class BucketFile(TrainerCallback):
    """A CSV file with a row for every bucket at every log: step, epoch, split, bucket, then the means.

    What a bucket has no mean of is empty. A training begins the file anew; one that is resumed goes on where its
    checkpoint was made.

    Parameters
    ----------
    folder : str
        The output folder.
    metrics : sequence of str
        The names of the means.
    """

    def __init__(self, folder: str, metrics: Sequence[str]) -> None:
        self.path, self.metrics = Path(folder) / FILE, tuple(metrics)
        self._began = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leave out what a resumed training says again."""
        if not state.is_world_process_zero or not self.path.is_file():
            return
        last = state.global_step if state.global_step or self._began else -1
        kept = [row for row in self._rows() if row[0].isdigit() and int(row[0]) <= last]
        if not kept:
            self.path.unlink()
            return
        part = self.path.with_suffix(".part")
        part.write_text(_lines([[*_KEYS, *self.metrics], *kept]), encoding="utf-8", newline="")
        part.replace(self.path)

    def add(self, state: Any, split: str, by_bucket: Mapping[str, Mapping[str, float]]) -> None:
        """Add a log: the means by bucket, then by metric."""
        rows: list[list[Any]] = [] if self.path.is_file() else [[*_KEYS, *self.metrics]]
        epoch = _text(state.epoch or 0.0)
        for bucket in sorted(by_bucket):
            means = by_bucket[bucket]
            values = (_text(means[name]) if name in means else "" for name in self.metrics)
            rows.append([state.global_step, epoch, split, bucket, *values])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # One write: a reader sees a log as a whole.
        with self.path.open("ab", buffering=0) as file:
            file.write(_lines(rows).encode())
        self._began = True

    def _rows(self) -> Iterator[list[str]]:
        """Give the rows that are whole; none of a file with other columns."""
        text = self.path.read_text(encoding="utf-8", errors="replace")
        whole = text[: text.rfind("\n") + 1]
        rows = csv.reader(io.StringIO(whole, newline=""))
        head = [*_KEYS, *self.metrics]
        if next(rows, None) == head:
            yield from (row for row in rows if len(row) == len(head))


def _text(value: float) -> str:
    return f"{value:.6g}"


def _lines(rows: Sequence[Sequence[Any]]) -> str:
    made = io.StringIO(newline="")
    csv.writer(made, lineterminator="\n").writerows(rows)
    return made.getvalue()


# ---------------------------------------------------------------------------------------------------- the terminal


class _Overall:
    """Leaves what is logged by bucket out; a terminal has no room for it."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        told = {name: value for name, value in (logs or {}).items() if name.count("/") < 2}
        super().on_log(args, state, control, logs=told, **kwargs)  # type: ignore[misc]


class _Printer(_Overall, PrinterCallback):
    pass


class _Progress(_Overall, ProgressCallback):
    pass


def shorten_console(callbacks: list[Any]) -> None:
    """Put printers of what is overall in the place of transformers' own."""
    shorter: dict[type, Callable[[], Any]] = {PrinterCallback: _Printer, ProgressCallback: _Progress}
    for at, callback in enumerate(callbacks):
        if type(callback) in shorter:
            callbacks[at] = shorter[type(callback)]()


# ------------------------------------------------------------------------------------------------- what is said


class _MainProcess(MultiProcessAdapter):
    """Logs on the main process, as accelerate's loggers do, without naming it."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs.setdefault("stacklevel", 2)
        return msg, kwargs


def get_logger(name: str) -> MultiProcessAdapter:
    """Return the logger of a module."""
    return _MainProcess(accelerate_logger(name).logger, {})


class _New(logging.Filter):
    """Passes what has not been said."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        is_new = text not in self._said
        self._said.add(text)
        return is_new


@contextmanager
def printing(*, is_main: bool = True) -> Iterator[None]:
    """Print warnings of ours to standard error, each once, on the main process."""
    logger, handler = logging.getLogger("polyalign"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("polyalign: %(message)s"))
    handler.setLevel(logging.WARNING if is_main else logging.CRITICAL)
    handler.addFilter(_New())
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
