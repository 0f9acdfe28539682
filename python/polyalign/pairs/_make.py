"""Pairs of records and samples, or of preferences that exist: in memory, or written as they come."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyalign._io import bucketed, manifests
from polyalign._io.progress import row_bar
from polyalign.critics._given import as_critic
from polyalign.pairs import _match
from polyalign.pairs._report import Pairs, Report, bucket_pairs, skip_lines
from polyalign.pairs._select import THRESHOLD, Select, Selection
from polyalign.pairs._write import write_manifest, write_shards

if TYPE_CHECKING:
    from polyalign._io.manifests import Manifest
    from polyalign.buckets._fields import OnProgress, Shape
    from polyalign.critics import Critic
    from polyalign.reference import Reference


_SUPPORT = (0.1, 0.9)


def from_samples(
    records: Any,
    samples: Any,
    *,
    reference: Reference | str | os.PathLike[str] | None = None,
    critic: Critic | str | os.PathLike[str] | None = None,
    select: Select = "all",
    threshold: tuple[float, float] = THRESHOLD,
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
    critic : Critic or str, optional
        What else scores them: ``score(responses, buckets) -> float32 [n]``, lower is closer to human, or the folder of
        a saved critic. One with ``uses_prompts = True`` is given the records' prompts too.
    select : {"all", "first", "furthest", "divpo"}, default "all"
        Of several samples of a record each is a pair; the first is; the one that is furthest from humans; or, as
        in DivPO, the least diverse of those that are bad, beside the most diverse of those that are good and the human
        response. Diversity is the mean distance to the other responses to the prompt: the share of their words and
        pairs of words that only one of two has. Of equal ones the first is taken.
    threshold : tuple of two floats, default (0.5, 0.9)
        Of "divpo": a sample is good up to the first percentile among humans, and bad beyond the second.
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
        A column is missing, buckets of another schema than the reference's, scores that can't be, or no pair at all;
        nothing to select among, or by.
    """
    given = _Given.of(
        Selection(select, threshold), reference, critic, support=support, min_count=min_count, threads=threads
    )
    reading = bucketed.Reading(shape, fields or {}, roles or {}, threads, False)
    with _job(records, samples, given, reading, folder=None) as job:
        return job.collect()


def from_preferences(
    preferences: Any,
    *,
    reference: Reference | str | os.PathLike[str] | None = None,
    critic: Critic | str | os.PathLike[str] | None = None,
    support: tuple[float, float] = _SUPPORT,
    min_count: int = 20,
    threads: int | None = None,
) -> Pairs:
    """Make pairs of preferences that exist.

    Parameters
    ----------
    preferences : str, PathLike, list of them, Arrow table or datasets.Dataset
        With ``bucket``, ``prompt``, ``chosen`` and ``rejected``: a folder that ``polyalign bucket`` made of preference
        data, Parquet, or a table. Columns ``group``, ``weight`` and ``pair_type`` (a number or a name, as
        :func:`polyalign.weights.pair_types` takes them), and without a critic ``chosen_score`` and
        ``rejected_score``, go along.
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
    given = _Given.of(Selection(), reference, critic, support=support, min_count=min_count, threads=threads)
    with _job(preferences, None, given, bucketed.Reading(threads=threads), folder=None) as job:
        return job.collect()


def pair_files(
    records: Any,
    output: str | os.PathLike[str],
    *,
    samples: Any = None,
    reference: Reference | str | os.PathLike[str] | None = None,
    critic: Critic | str | os.PathLike[str] | None = None,
    select: Select = "all",
    threshold: tuple[float, float] = THRESHOLD,
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
    samples, reference, critic, select, threshold, support, min_count, shape, fields, roles, threads
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
    from polyalign._io.output import check_folder, publishing
    from polyalign._io.sources import local_output

    target = Path(local_output(os.fspath(output)))
    given = _Given.of(
        Selection(select, threshold), reference, critic, support=support, min_count=min_count, threads=threads
    )
    if samples is None and (shape or fields or roles):
        raise ValueError("the shape, fields and roles say how samples are read, and there are none: give samples")
    check_folder(target, "to make it in")
    with publishing(target, "pairs", overwrite=overwrite) as made:
        folder = Path(made.work)
        folder.mkdir()
        with _job(
            records, samples, given, bucketed.Reading(shape, fields or {}, roles or {}, threads, progress), folder
        ) as job:
            shards = write_shards(job.tables(), folder / "data")
            report = dataclasses.replace(job.report(), output=os.fspath(output))
        write_manifest(folder / "manifest.json", report, shards)
    return report


@dataclass(frozen=True)
class _Given:
    """What scores the responses, and selects among them."""

    critic: Critic | None
    reference: Reference | None
    told: dict[str, Any] | None
    """What the report says of it."""
    selection: Selection

    @classmethod
    def of(
        cls,
        selection: Selection,
        reference: Any,
        critic: Any,
        *,
        support: tuple[float, float],
        min_count: int,
        threads: int | None,
    ) -> _Given:
        if reference is None:
            found = as_critic(critic)
            return cls(found, None, None if found is None else _told(found, critic), selection)
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
        return cls(critic, reference, told, selection)

    def check(self, bucketed: Manifest | None) -> None:
        """Refuse buckets that the reference or critic means otherwise."""
        if bucketed is not None and self.critic is not None:
            bucketed.check_fits(self.critic)


def _told(critic: Critic, given: Any) -> dict[str, Any]:
    """Return what a report says of a critic: its class, and of a saved one the checksum of what lists its files."""
    told = {"name": type(critic).__name__}
    listing = Path(given) / "manifest.json" if isinstance(given, (str, os.PathLike)) else None
    return told if listing is None or not listing.is_file() else {**told, "manifest": manifests.sha256(listing)}


class _Job:
    """One pass over records."""

    def __init__(self, rows: bucketed.Rows, samples: bucketed.Samples | None, given: _Given, bar: Any) -> None:
        self._rows, self._samples, self._given = rows, samples, given
        self._pairer = _match.Pairer(given.critic, given.selection)
        self._on_rows = bar
        self._records = 0

    def tables(self) -> Iterator[Any]:
        """Give the pairs, batch by batch; an error if there are none."""
        if self._samples is None:
            found = _match.from_preferences(self._rows, self._pairer, self._count)
        else:
            found = _match.from_samples(self._rows, self._samples, self._pairer, self._count)
        yield from (table for table in found if len(table))
        if not self._pairer.tally.pairs:
            raise ValueError(f"no pairs: {self._why_none()}")

    def collect(self) -> Pairs:
        """Return all pairs in one table."""
        pa = bucketed.arrow()
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
            selection=self._given.selection.told(tally.selected),
            schema=self._rows.bucketed.schema if self._rows.bucketed else None,
            tokenizer=self._rows.bucketed.tokenizer if self._rows.bucketed else None,
            buckets=bucket_pairs(tally),
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


@contextmanager
def _job(records: Any, samples: Any, given: _Given, reading: bucketed.Reading, folder: Path | None) -> Iterator[_Job]:
    rows = bucketed.open_rows("preferences" if samples is None else "records", records)
    given.check(rows.bucketed)
    held = None
    if samples is None:
        given.selection.check(given.critic, most=None)
    else:
        held = bucketed.open_samples(samples, reading, folder)
    with row_bar(rows.count, reading.progress is True) as on_rows:
        yield _Job(rows, held, given, on_rows)
