"""Responses of files by a human reference and a critic, line by line.

:meth:`Reference.score_files` streams files through the engine; here a critic, which is Python's, has its say beside it.
Needs pyarrow: ``pip install 'polyalign[pairs]'``.
"""

from __future__ import annotations

import json
import math
import operator
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from polyalign._io import bucketed, manifests
from polyalign._io.output import publishing
from polyalign._io.progress import row_bar
from polyalign._io.sources import local_inputs, local_output
from polyalign.critics import check_scores, is_calibrated
from polyalign.critics._given import as_critic, schema_of
from polyalign.critics._protocol import ask_both

if TYPE_CHECKING:
    from polyalign.critics import Critic
    from polyalign.reference import Reference

__all__ = ["score_files"]

_BATCH = 10_000
_ENDINGS = (".jsonl", ".ndjson", ".json", ".parquet")
#: Names of what a critic adds to a line.
_SCORE, _PERCENTILE = "critic", "critic_percentile"


def score_files(
    reference: Reference | str | os.PathLike[str],
    critic: Critic | str | os.PathLike[str] | None,
    inputs: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    lm: Any = None,
    overwrite: bool = False,
    progress: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Score the responses of files by a reference and by a critic; a line each, in the order of the records.

    Parameters
    ----------
    reference : Reference or str
        The human reference: it finds each response's bucket, and gives its distance.
    critic : Critic, str or None
        An object with ``score(responses, buckets)``, or the folder of a saved one. It is given the prompts if it uses
        them. ``None``: `lm` stands for one.
    lm : str, PathLike or polyalign.lm.LanguageModel, optional
        The language model that the reference was built with: the critic is the reference's own support distance, its
        features counted (:class:`polyalign.critics.SupportCritic`).
    inputs, output, overwrite, progress, **settings
        As of :meth:`Reference.score_files`. Texts are kept on disk while they are scored, in batches.

    Returns
    -------
    dict
        As of :meth:`Reference.score_files`; and ``critic``: its ``name``, ``scored``, ``unscored``, the ``mean`` of its
        scores and, if it is calibrated, the ``mean_percentile``. Each of ``buckets`` has ``critic_scored``,
        ``mean_critic`` and ``mean_critic_percentile`` (``None`` where there is none). Lines have ``critic`` and, if it
        is calibrated, ``critic_percentile``, null where it can't tell.

    Raises
    ------
    OSError, ValueError
        As of :meth:`Reference.score_files`; a critic of another schema than the reference, damaged, or collapsed; both
        a critic and a language model; another one than the reference's.
    TypeError
        Neither of both.
    """
    from polyalign.reference import Reference

    bucketed.arrow()
    if isinstance(reference, (str, os.PathLike)):
        reference = Reference.from_pretrained(reference)
    found = as_critic(critic) if lm is None else _with_lm(reference, critic, lm, settings)
    if found is None:
        raise TypeError(
            "critic is None: give an object with score(responses, buckets), a saved critic's folder, or lm="
        )
    _check_fits(reference, found)
    name = None if output is None else local_output(os.fspath(output))
    file = None if name in (None, "-") else name
    if file is not None and Path(file).suffix not in _ENDINGS:
        raise ValueError(f"{file}: name a .jsonl or .parquet file, or - for standard output")
    with nullcontext() if file is None else publishing(file, overwrite=overwrite) as made, _workplace(file) as folder:
        work = _Work(reference, found, folder, ".jsonl" if file is None else Path(file).suffix, progress)
        report = work.score(_paths(inputs, folder), settings)
        if made is not None:
            shutil.move(work.scored, made.work)
        if name == "-":
            sys.stdout.flush()
            with work.scored.open("rb") as lines:
                shutil.copyfileobj(lines, sys.stdout.buffer)
    return {**report, "output": name}


@contextmanager
def _workplace(output: str | None) -> Iterator[Path]:
    """Give a folder for what is in the making, on the disk of the output."""
    beside = None if output is None else Path(output).absolute().parent
    with tempfile.TemporaryDirectory(dir=beside, prefix=".polyalign-score-") as folder:
        yield Path(folder)


def _with_lm(reference: Reference, critic: Any, lm: Any, settings: Mapping[str, Any]) -> Critic:
    """Return the support distance with the features of a language model, which is looked at before the work."""
    from polyalign.critics import SupportCritic
    from polyalign.reference._lm import fitting

    if critic is not None:
        raise ValueError("critic and lm are both a critic beside the distance: leave one out")
    asked = {name: settings[name] for name in ("support", "min_count", "threads") if name in settings}
    return SupportCritic(reference, lm=fitting(lm, reference.lm), **asked)


def _check_fits(reference: Reference, critic: Critic) -> None:
    """Refuse a critic whose buckets are others than the reference's."""
    schema = schema_of(critic)
    if schema is None:
        return
    try:
        schema.check_fits(reference.schema)
    except ValueError as error:
        raise ValueError(f"critic {type(critic).__name__}: {error}") from None


def _paths(inputs: Any, folder: Path) -> list[str]:
    """Return the names of inputs, which are read twice: what is piped is kept meanwhile."""
    paths = [os.fspath(path) for path in ([inputs] if isinstance(inputs, (str, os.PathLike)) else inputs)]
    found = local_inputs(paths)
    if "-" in found:
        piped = folder / "-"  # lines name the file that a record is from
        with piped.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        found = [str(piped) if path == "-" else path for path in found]
    return found


class _Work:
    """The two passes of the engine, for lines and for texts, and the critic's over both."""

    def __init__(self, reference: Reference, critic: Critic, folder: Path, ending: str, progress: bool) -> None:
        self.reference, self.critic, self.folder, self.progress = reference, critic, folder, progress
        self.lines, self.scored = folder / f"lines{ending}", folder / f"scored{ending}"
        self.tally = _Tally(is_calibrated(critic))

    def score(self, inputs: list[str], settings: Mapping[str, Any]) -> dict[str, Any]:
        report = self.reference.score_files(inputs, self.lines, progress=self.progress, **settings)
        is_bucketed = any(manifests.read(Path(path)) is not None for path in inputs)
        met = _Met(self._read(inputs, settings, is_bucketed), is_bucketed=is_bucketed)
        with row_bar(report["tally"]["rows"], self.progress) as on_rows:
            if self.lines.suffix == ".parquet":
                self._table(met, on_rows)
            else:
                self._json(met, on_rows)
        if met.rest is not None:
            raise ValueError("the input changed while it was read: score it again")
        return self.tally.told(report, type(self.critic).__name__)

    def _read(self, inputs: list[str], settings: Mapping[str, Any], is_bucketed: bool) -> Iterator[_Text]:
        """Give the texts of the records, as far as they can be read, in the order of the lines."""
        named = settings.get("fields") or {}
        fields = {name: path for name, path in named.items() if name in _FIELDS}
        reading = bucketed.Reading(settings.get("shape"), fields, settings.get("roles") or {}, None, self.progress)
        reader = bucketed.record_reader(reading, samples=not is_bucketed)
        limits = {name: settings[name] for name in ("limit", "max_record_bytes", "threads") if name in settings}
        target = self.folder / "read"
        reader.bucket_files(inputs, target, progress=self.progress, **limits)
        return _texts(sorted((target / "data").glob("*.parquet")))

    def _json(self, met: _Met, on_rows: Any) -> None:
        with self.lines.open("rb") as file, self.scored.open("wb") as scored:
            while lines := list(islice(file, _BATCH)):
                told = [json.loads(line) for line in lines]
                found = self._asked([(line["file"], line["row"], line["bucket"]) for line in told], met)
                more = zip(*(map(_number, values) for values in found.values()), strict=True)
                for line, numbers in zip(lines, more, strict=True):
                    members = ",".join(f'"{name}":{number}' for name, number in zip(found, numbers, strict=True))
                    scored.write(line.rstrip()[:-1] + f",{members}}}\n".encode())
                on_rows(len(lines))

    def _table(self, met: _Met, on_rows: Any) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.lines) as file:
            schema = file.schema_arrow
            for name in self.tally.names:
                schema = schema.append(pa.field(name, pa.float32()))
            with pq.ParquetWriter(self.scored, schema, compression="zstd") as writer:
                for batch in file.iter_batches(_BATCH):
                    keys = [batch[name].to_pylist() for name in ("file", "row", "bucket")]
                    found = self._asked(list(zip(*keys, strict=True)), met)
                    columns = [pa.array(values, pa.float32(), from_pandas=True) for values in found.values()]
                    writer.write_table(pa.Table.from_arrays([*batch.columns, *columns], schema=schema))
                    on_rows(len(batch))

    def _asked(self, lines: Sequence[tuple[str, int, str | None]], met: _Met) -> dict[str, Any]:
        """Ask the critic about the responses of some lines; NaN where there is none, or no bucket."""
        import numpy as np

        found = {name: np.full(len(lines), np.nan, dtype=np.float32) for name in self.tally.names}
        texts = [met.of(file, row) for file, row, _ in lines]
        at = [at for at, text in enumerate(texts) if text is not None and lines[at][2] is not None]
        if at:
            responses = [texts[each].response for each in at]  # type: ignore[union-attr]
            prompts = [texts[each].prompt for each in at]  # type: ignore[union-attr]
            buckets = [lines[each][2] for each in at]
            for name, values in zip(found, ask_both(self.critic, responses, buckets, prompts), strict=False):
                found[name][at] = values
            scores = found[_SCORE][at]
            known = np.flatnonzero(~np.isnan(scores)).tolist()
            check_scores(
                scores[known],
                [buckets[each] for each in known],
                responses=[responses[each] for each in known],
                name=type(self.critic).__name__,
            )
        self.tally.add([bucket for _, _, bucket in lines], found)
        return found


#: What of `fields` says where a text is.
_FIELDS = {"id", "messages", "prompt", "response", "rejected", "system"}


class _Text(NamedTuple):
    file: str
    row: int
    response: str
    prompt: list[dict[str, str]] | None


def _texts(files: Iterable[Path]) -> Iterator[_Text]:
    """Give what was read: responses, and prompts of messages."""
    import pyarrow.parquet as pq

    for path in files:
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(_BATCH, columns=["file", "row", "completion", "prompt"]):
                responses = bucketed.texts("completion", batch["completion"]).text.to_pylist()
                prompts = bucketed.prompts("prompt", batch["prompt"]).to_pylist()
                places = batch["file"].to_pylist(), batch["row"].to_pylist()
                for file, row, response, prompt in zip(*places, responses, prompts, strict=True):
                    yield _Text(file, row, response or "", prompt or None)


class _Met:
    """Finds the text of a line; both come in one order, and some lines have none."""

    def __init__(self, texts: Iterator[_Text], *, is_bucketed: bool) -> None:
        self._texts = texts
        # Of a bucketed folder the lines name files without their folder.
        self._same = _is_same_name if is_bucketed else operator.eq
        self.rest = next(texts, None)

    def of(self, file: str, row: int) -> _Text | None:
        """Return the text of a record, if it could be read."""
        found = self.rest
        if found is None or found.row != row or not self._same(found.file, file):
            return None
        self.rest = next(self._texts, None)
        return found


def _is_same_name(one: str, other: str) -> bool:
    return one.rpartition("/")[2] == other.rpartition("/")[2]


class _Tally:
    """Sums of a critic's scores by bucket."""

    def __init__(self, calibrated: bool) -> None:
        self.names = (_SCORE, _PERCENTILE) if calibrated else (_SCORE,)
        #: By bucket, of each name: how many have one, and the sum.
        self._sums: dict[str, list[float]] = {}
        self._missing = 0

    def add(self, buckets: Sequence[str | None], found: Mapping[str, Any]) -> None:
        for bucket, *values in zip(buckets, *(array.tolist() for array in found.values()), strict=True):
            if math.isnan(values[0]):
                self._missing += 1
                continue
            sums = self._sums.setdefault(bucket or "", [0.0] * 2 * len(self.names))
            for at, value in enumerate(values):
                if not math.isnan(value):  # a score may have no percentile
                    sums[2 * at] += 1
                    sums[2 * at + 1] += value

    def told(self, report: Mapping[str, Any], name: str) -> dict[str, Any]:
        """Return a report with the means."""
        buckets, others = {}, [0.0] * 2 * len(self.names)
        for bucket, sums in self._sums.items():
            if bucket not in report["buckets"]:
                others = [a + b for a, b in zip(others, sums, strict=True)]
        for bucket, told in report["buckets"].items():
            buckets[bucket] = {**told, **self._means(self._sums.get(bucket, others))}
        every = [sum(values) for values in zip(*self._sums.values(), strict=True)] or others
        whole = self._means(every)
        critic = {
            "name": name,
            "scored": whole["critic_scored"],
            "unscored": self._missing,
            "mean": whole["mean_critic"],
        }
        if len(self.names) > 1:
            critic["mean_percentile"] = whole["mean_critic_percentile"]
        return {**report, "buckets": buckets, "critic": critic}

    def _means(self, sums: Sequence[float]) -> dict[str, Any]:
        each = zip(self.names, sums[::2], sums[1::2], strict=True)
        means = {f"mean_{name}": total / count if count else None for name, count, total in each}
        return {"critic_scored": int(sums[0]), **means}


def _number(value: Any) -> str:
    """Return a number as JSON has it."""
    return "null" if math.isnan(value) else str(value)
