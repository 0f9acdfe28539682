"""Preference pairs: a human response beside a model's, for the same prompt, with their scores.

What :class:`polyalign.trainers.HDPO` trains on. Needs pyarrow: ``pip install 'polyalign[pairs]'``.

Examples
--------
>>> import pyarrow
>>> records = pyarrow.table(
...     {"id": ["a"], "bucket": ["en|single|qa|short"], "prompt": ["Where?"], "completion": ["In Paris."]}
... )
>>> table, report = from_samples(records, pyarrow.table({"id": ["a"], "response": ["As an AI, I can't say."]}))
>>> table.drop_columns("bucket").to_pylist()
[{'id': 'a', 'prompt': 'Where?', 'chosen': 'In Paris.', 'rejected': "As an AI, I can't say."}]
>>> report
<Report in memory: 1 row, 1 pair in 1 bucket, 0 skipped>
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from polyalign import _manifests, _pair_data, _pairing

if TYPE_CHECKING:
    from polyalign._manifests import Manifest
    from polyalign.buckets import BucketSchema, OnProgress, Shape
    from polyalign.critics import Critic
    from polyalign.reference import Reference

__all__ = ["BucketPairs", "Pairs", "Report", "from_preferences", "from_samples", "pair_files"]

_SUPPORT = (0.1, 0.9)
_SHARD_BYTES = 128 << 20
_GROUP_ROWS = 10_000


@dataclass(frozen=True)
class BucketPairs:
    """The pairs of one bucket."""

    bucket: str
    """Its id."""
    pairs: int
    """How many there are."""
    share: float
    """Its part of all pairs, 0 to 1."""
    chosen_score: float | None
    """Mean score of the chosen responses; ``None`` without a critic."""
    rejected_score: float | None
    """Mean score of the rejected ones."""
    rejected_further: float | None
    """Share of the pairs whose rejected response is further from humans than the chosen one, 0 to 1."""


@dataclass(frozen=True)
class Report:
    """What became of the input. ``rows == pairs + skipped``, always; ``print(report)`` shows a table.

    A row is a sample with its record, a record without a sample, or a sample without a record; of preferences, a row of
    them.
    """

    output: str | None
    """The folder made; ``None``: in memory."""
    records: int
    """Records, or rows of preferences."""
    samples: int | None
    """Samples, with those that could not be read; ``None`` for preferences."""
    rows: int
    """What there was to pair."""
    pairs: int
    """What was paired."""
    skipped: int
    """What was not."""
    skipped_by_kind: Mapping[str, int]
    """Skipped rows by the kind of reason, most first."""
    first_skips: tuple[Mapping[str, Any], ...]
    """The first skipped rows of each kind: kind, file, row, id where there is one, reason."""
    unreadable: tuple[Mapping[str, Any], ...]
    """Files of samples whose rest could not be read: file, offset, reason."""
    critic: Mapping[str, Any] | None
    """What scored: its name, and of a human reference its hash and settings; ``None``: nothing did."""
    schema: BucketSchema | None
    """What made the buckets, where the records say so."""
    tokenizer: str | None
    """The SHA-256 of the tokenizer that lengths were counted with, where they were."""
    buckets: tuple[BucketPairs, ...]
    """The buckets, by descending pairs."""

    def faults(self) -> dict[str, Any]:
        """Return what was skipped for a fault, of what: ``rejected`` of ``rows``, and the ``unreadable`` files.

        It is none that a record has no sample, or that a sample is the human response itself.
        """
        harmless = sum(self.skipped_by_kind.get(kind, 0) for kind in _pairing.HARMLESS)
        rows = self.rows - self.skipped_by_kind.get("no_sample", 0)
        return {"rows": rows, "rejected": self.skipped - harmless, "unreadable": self.unreadable}

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, ready for JSON."""
        schema = None if self.schema is None else json.loads(self.schema.to_json())
        tokenizer = None if self.tokenizer is None else {"sha256": self.tokenizer}
        members = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        buckets = [dataclasses.asdict(bucket) for bucket in self.buckets]
        return {**members, "schema": schema, "tokenizer": tokenizer, "buckets": buckets}

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)

    def __repr__(self) -> str:
        where = "in memory" if self.output is None else self.output
        buckets = f"{len(self.buckets):,} bucket{'s'[: len(self.buckets) != 1]}"
        pairs = f"{self.pairs:,} pair{'s'[: self.pairs != 1]} in {buckets}"
        return f"<Report {where}: {self.rows:,} row{'s'[: self.rows != 1]}, {pairs}, {self.skipped:,} skipped>"

    def __str__(self) -> str:
        from polyalign._tables import pairs_text

        return pairs_text(self, skip_lines(self))


class Pairs(NamedTuple):
    """Pairs in memory, and what became of the input."""

    table: Any
    """pyarrow.Table: ``id``, ``bucket``, ``prompt``, ``chosen``, ``rejected``, the records' ``group`` if they have one,
    and with a critic ``chosen_score`` and ``rejected_score``. ``datasets.Dataset(table)`` takes it without a copy."""
    report: Report
    """What was paired, what was not, and why."""


def from_samples(
    records: Any,
    samples: Any,
    *,
    reference: Reference | str | os.PathLike[str] | None = None,
    critic: Critic | None = None,
    support: tuple[float, float] = _SUPPORT,
    min_count: int = 20,
    shape: Shape | None = None,
    fields: Mapping[str, str] | None = None,
    roles: Mapping[str, str] | None = None,
    threads: int | None = None,
) -> Pairs:
    """Pair human responses with a model's samples of the same ids.

    Parameters
    ----------
    records : str, PathLike, list of them, Arrow table or datasets.Dataset
        With ``id``, ``bucket``, ``prompt`` and ``completion``: a folder that ``polyalign bucket`` made, Parquet, or a
        table that :meth:`Bucketer.assign` gave.
    samples : str, PathLike, list of them, Arrow table or datasets.Dataset
        With the record's ``id`` and the response, a text or messages, under ``response``, ``prediction``,
        ``generated_text``, ``output`` or ``completion``: files of any format that ``polyalign bucket`` reads, or a
        table. Several samples of an id give several pairs. A ``prompt`` of their own must be the record's, a
        ``reference`` (or ``human_answer``) its completion, but for white space.
    reference : Reference or str, optional
        The human reference to score both responses with, or where it is.
    critic : Critic, optional
        What else scores them: ``score(responses, buckets) -> float32 [n]``, lower is closer to human.
    support, min_count
        How the reference is asked, as in :meth:`Reference.support_distance`.
    shape, fields, roles
        How the samples' files are read, as in :class:`Bucketer`; of tables, `fields` names the columns ``id``,
        ``prompt`` and ``response``, and there is nothing else to say.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    Pairs
        In the order of the records. Prompts that are messages give conversations in all three columns, texts give
        texts.

    Raises
    ------
    OSError
        A file can't be read.
    ValueError
        A column is missing, buckets of another schema than the reference's, scores that can't be, or no pair at all.
    """
    given = _Given.of(reference, critic, support, min_count, threads)
    reading = _pair_data.Reading(shape, fields or {}, roles or {}, threads, False)
    with _job(records, samples, given, reading, folder=None) as job:
        return job.collect()


def from_preferences(
    preferences: Any,
    *,
    reference: Reference | str | os.PathLike[str] | None = None,
    critic: Critic | None = None,
    support: tuple[float, float] = _SUPPORT,
    min_count: int = 20,
    threads: int | None = None,
) -> Pairs:
    """Make pairs of preferences that exist.

    Parameters
    ----------
    preferences : str, PathLike, list of them, Arrow table or datasets.Dataset
        With ``bucket``, ``prompt``, ``chosen`` and ``rejected``: a folder that ``polyalign bucket`` made of preference
        data, Parquet, or a table. Columns ``group``, ``weight`` and ``pair_type``, and without a critic
        ``chosen_score`` and ``rejected_score``, go along.
    reference, critic, support, min_count, threads
        As in :func:`from_samples`.

    Returns
    -------
    Pairs
        In the order of the rows.

    Raises
    ------
    OSError, ValueError
        As in :func:`from_samples`.

    Examples
    --------
    >>> import pyarrow
    >>> row = {"bucket": "en|single|qa|short", "prompt": "Why?", "chosen": "So."}
    >>> rows = [{**row, "rejected": "So. "}, {**row, "rejected": "No."}]
    >>> table, report = from_preferences(pyarrow.Table.from_pylist(rows))
    >>> table["rejected"].to_pylist(), report.skipped_by_kind
    (['No.'], {'exact_match': 1})
    """
    given = _Given.of(reference, critic, support, min_count, threads)
    with _job(preferences, None, given, _pair_data.Reading(threads=threads), folder=None) as job:
        return job.collect()


def pair_files(
    records: Any,
    output: str | os.PathLike[str],
    *,
    samples: Any = None,
    reference: Reference | str | os.PathLike[str] | None = None,
    critic: Critic | None = None,
    support: tuple[float, float] = _SUPPORT,
    min_count: int = 20,
    shape: Shape | None = None,
    fields: Mapping[str, str] | None = None,
    roles: Mapping[str, str] | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    progress: bool | OnProgress = False,
) -> Report:
    """Write pairs to a folder that ``datasets.load_dataset`` opens; records stream through, samples are held.

    The same input gives the same bytes. The folder appears whole or not at all.

    Parameters
    ----------
    records
        As in :func:`from_samples`; without `samples`, preferences as in :func:`from_preferences`.
    output : str or PathLike
        The folder to make.
    overwrite : bool, default False
        Replace an existing one, if it holds pairs.
    progress : bool or callable, default False
        ``True``: a progress bar where standard error is a terminal.
    samples, reference, critic, support, min_count, shape, fields, roles, threads
        As in :func:`from_samples`.

    Returns
    -------
    Report
        What was paired, what was not, and why.

    Raises
    ------
    FileExistsError
        The folder exists already, or came to while this ran.
    OSError, ValueError
        As in :func:`from_samples`; another process writes the same folder.
    """
    from polyalign._output import publishing
    from polyalign._sources import local_output

    target = Path(local_output(os.fspath(output)))
    given = _Given.of(reference, critic, support, min_count, threads)
    if samples is None and (shape or fields or roles):
        raise ValueError("the shape, fields and roles say how samples are read, and there are none: give samples")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: there is no folder {target.parent} to make it in")
    with publishing(target, "pairs", overwrite=overwrite) as made:
        folder = Path(made.work)
        folder.mkdir()
        with _job(
            records, samples, given, _pair_data.Reading(shape, fields or {}, roles or {}, threads, progress), folder
        ) as job:
            shards = _write(job.tables(), folder / "data")
            report = dataclasses.replace(job.report(), output=os.fspath(output))
        _write_manifest(folder / "manifest.json", report, shards)
    return report


# ---------------------------------------------------------------------------------------------------- work


@dataclass(frozen=True)
class _Given:
    """What scores the responses."""

    critic: Critic | None
    reference: Reference | None
    told: dict[str, Any] | None
    """What the report says of it."""

    @classmethod
    def of(
        cls, reference: Any, critic: Any, support: tuple[float, float], min_count: int, threads: int | None
    ) -> _Given:
        if reference is None:
            if critic is not None and not callable(getattr(critic, "score", None)):
                raise TypeError(f"critic has no method score(responses, buckets): it is {type(critic).__name__}")
            return cls(critic, None, None if critic is None else {"name": type(critic).__name__})
        if critic is not None:
            raise ValueError("give a reference or a critic, not both: one of them scores")
        from polyalign.critics import SupportCritic
        from polyalign.reference import Reference

        if isinstance(reference, (str, os.PathLike)):
            reference = Reference.from_pretrained(reference)
        critic = SupportCritic(reference, support=support, min_count=min_count, threads=threads)
        told = {
            "name": type(critic).__name__,
            "reference": hashlib.sha256(reference.to_bytes()).hexdigest(),
            "support": list(support),
            "min_count": min_count,
        }
        return cls(critic, reference, told)

    def check(self, bucketed: Manifest | None) -> None:
        """Refuse buckets that the reference means otherwise."""
        if bucketed is not None and self.reference is not None:
            bucketed.check_fits(self.reference)


class _Job:
    """One pass over records."""

    def __init__(self, rows: _pair_data.Rows, samples: _pair_data.Samples | None, given: _Given, bar: Any) -> None:
        self._rows, self._samples, self._given = rows, samples, given
        self._pairer = _pairing.Pairer(given.critic)
        self._on_rows = bar
        self._records = 0

    def tables(self) -> Iterator[Any]:
        """Give the pairs, batch by batch; an error if there are none."""
        if self._samples is None:
            found = _pairing.from_preferences(self._rows, self._pairer, self._count)
        else:
            found = _pairing.from_samples(self._rows, self._samples, self._pairer, self._count)
        yield from (table for table in found if len(table))
        if not self._pairer.tally.pairs:
            raise ValueError(f"no pairs: {self._why_none()}")

    def collect(self) -> Pairs:
        """Return all pairs in one table."""
        pa = _pair_data.arrow()
        return Pairs(pa.concat_tables(self.tables()), self.report())

    def report(self) -> Report:
        """Return what was done; once the tables have been given."""
        tally, samples = self._pairer.tally, self._samples
        kinds = sorted(tally.skipped.items(), key=lambda item: (-item[1], item[0]))
        return Report(
            output=None,
            records=self._records,
            samples=None if samples is None else len(samples) + sum(samples.rejected_by_kind.values()),
            rows=tally.rows,
            pairs=tally.pairs,
            skipped=sum(tally.skipped.values()),
            skipped_by_kind=dict(kinds),
            first_skips=tuple(first for kind, _ in kinds for first in tally.firsts.get(kind, ())),
            unreadable=() if samples is None else samples.unreadable,
            critic=self._given.told,
            schema=self._rows.bucketed.schema if self._rows.bucketed else None,
            tokenizer=self._rows.bucketed.tokenizer if self._rows.bucketed else None,
            buckets=_bucket_pairs(tally),
        )

    def _count(self, rows: int) -> None:
        self._records += rows
        self._on_rows(rows)

    def _why_none(self) -> str:
        report = self.report()
        told = {"records": report.records} | ({} if report.samples is None else {"samples": report.samples})
        for name, count in told.items():
            if not count:
                return f"there are no {name if report.samples is not None else 'rows'}"
        return "; ".join(skip_lines(report)) + ("" if report.samples is None else "; do the ids match?")


def skip_lines(report: Report) -> list[str]:
    """Say what was skipped: a line a kind, with the first of it."""
    firsts: dict[str, Mapping[str, Any]] = {}
    for skip in report.first_skips:
        firsts.setdefault(skip["kind"], skip)
    return [f"{count:,} for {kind}{_first(firsts.get(kind))}" for kind, count in report.skipped_by_kind.items()]


def _first(skip: Mapping[str, Any] | None) -> str:
    if skip is None:
        return ""
    where = f"{skip['file']}:{skip['line']}" if skip.get("line") else f"{skip['file']}, row {skip['row']}"
    named = f" (id {skip['id']!r})" if skip.get("id") is not None else ""
    return f", the first at {where}{named}: {skip['reason']}"


def _bucket_pairs(tally: _pairing.Tally) -> tuple[BucketPairs, ...]:
    order = sorted(tally.buckets.items(), key=lambda item: (-item[1]["pairs"], item[0]))

    def mean(sums: Mapping[str, float], name: str) -> float | None:
        return sums[name] / sums["pairs"] if name in sums else None

    return tuple(
        BucketPairs(
            bucket=bucket,
            pairs=int(sums["pairs"]),
            share=sums["pairs"] / tally.pairs,
            chosen_score=mean(sums, "chosen"),
            rejected_score=mean(sums, "rejected"),
            rejected_further=mean(sums, "further"),
        )
        for bucket, sums in order
    )


@contextmanager
def _job(records: Any, samples: Any, given: _Given, reading: _pair_data.Reading, folder: Path | None) -> Iterator[_Job]:
    rows = _pair_data.open_rows("preferences" if samples is None else "records", records)
    given.check(rows.bucketed)
    held = None
    if samples is not None:
        held = _pair_data.open_samples(samples, reading, folder)
    with _row_bar(rows.count, reading.progress is True) as on_rows:
        yield _Job(rows, held, given, on_rows)


@contextmanager
def _row_bar(total: int | None, shown: bool) -> Iterator[Callable[[int], object]]:
    """Show rows done of rows in all, on a terminal only."""
    if not shown:
        yield lambda rows: None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit=" rows", unit_scale=True, dynamic_ncols=True, leave=False, disable=None) as bar:
        yield bar.update


# -------------------------------------------------------------------------------------------------- output


def _write(tables: Iterator[Any], folder: Path) -> list[dict[str, Any]]:
    """Write tables as Parquet, in files of a bounded size; return what they are."""
    import pyarrow.parquet as pq

    folder.mkdir()
    shards: list[dict[str, Any]] = []
    writer, size = None, 0
    try:
        for table in _groups(tables):
            if writer is None:
                path = folder / f"train-{len(shards):05}.parquet"
                writer, size = pq.ParquetWriter(path, table.schema, compression="zstd"), 0
                shards.append({"file": f"data/{path.name}", "rows": 0})
            writer.write_table(table)
            shards[-1]["rows"] += len(table)
            size += table.nbytes
            if size >= _SHARD_BYTES:
                writer = writer.close()
    finally:
        if writer is not None:
            writer.close()
    return [{**shard, "sha256": _sha256(folder.parent / shard["file"])} for shard in shards]


def _groups(tables: Iterator[Any]) -> Iterator[Any]:
    """Bring small tables together, so that row groups are not tiny."""
    pa = _pair_data.arrow()
    waiting: list[Any] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= _GROUP_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _write_manifest(path: Path, report: Report, shards: list[dict[str, Any]]) -> None:
    """Write what the pairs are; it names no time, host or place, so the same input gives the same bytes."""
    from polyalign import __version__

    told = {name: value for name, value in report.to_dict().items() if name != "output"}
    manifest = {
        "format": _manifests.PAIRS,
        "format_version": 1,
        "polyalign_version": __version__,
        **told,
        "shards": shards,
    }
    path.write_text(json.dumps(manifest, ensure_ascii=False, indent=2) + "\n", "utf-8")
