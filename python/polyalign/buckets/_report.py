"""What bucketing a corpus came to."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polyalign import _core
from polyalign._io import json_text
from polyalign._text.words import counted
from polyalign.buckets._fields import Shape
from polyalign.buckets._schema import BucketSchema, frozen

if TYPE_CHECKING:
    from rich.table import Table

_QUANTILES = ("min", "q10", "q25", "q50", "q75", "q90", "max")
# What a narrow terminal does without, first things first.
_DISPENSABLE = (
    ("of responses",),
    ("held out",),
    ("q25", "q75"),
    ("min", "max"),
    ("q10", "q90"),
    ("tokens",),
    ("share",),
)


@dataclass(frozen=True)
class BucketSummary:
    """One bucket of a :class:`Report`."""

    bucket: str
    """Its id."""
    parts: tuple[str, ...]
    """Its parts, in the schema's axis order."""
    rows: int
    """Records in it."""
    share: float
    """Its part of all bucketed records, 0 to 1."""
    prompt_tokens: int | None
    """Tokens of its prompts; ``None`` if not counted."""
    completion_tokens: int | None
    """Tokens of its responses; ``None`` if not counted."""
    length: Mapping[str, int]
    """Exact nearest-rank quantiles of its responses' lengths: min, q10, q25, q50, q75, q90, max."""
    held_out: int = 0
    """Of its rows those that ``test_share`` holds out."""


@dataclass(frozen=True)
class Met:
    """Something that records have; of :class:`Reading`."""

    name: str
    """What."""
    records: int
    """How many records have it."""
    file: str
    """The file of the first that has it."""
    row: int
    """The first that has it: its number in the file, from 0."""
    taken: str | None = None
    """Of a role, what it was taken for; ``None`` if it is not known and stays as it is."""


@dataclass(frozen=True)
class Reading:
    """How records were read, as a :class:`Report` has it or :meth:`Bucketer.assign` gives it.

    With each of it, how many records and the first of them: its file (``table``, of a table) and its row.

    Up to 64 names of each kind are remembered.
    """

    earlier_replies: int
    """Replies before the response: part of the prompt, and no rows of their own; 0 with ``turns="all"``."""
    events: tuple[Met, ...]
    """What was joined or left out: ``earlier_replies``; ``system`` (the record's own system message put first),
    ``joined`` (two fields, into one user message), ``once`` (messages that two fields hold), ``after`` (one field's
    messages put after another's), ``parts`` (text parts of a message joined), ``tool_calls`` (beside a message's text,
    left out), ``trailing`` (messages after the response, left out), ``prompt_mismatch`` (a rejected response to another
    prompt, left out)."""
    roles: tuple[Met, ...]
    """Roles that are not TRL's own, and what they were taken for."""
    groups: tuple[Met, ...]
    """The fields that gave the group, where they were not named."""
    programming: tuple[Met, ...]
    """Labels of the language that name a programming language or a format (``python``, ``sql``): they say nothing, and
    the language is detected."""
    unused: tuple[Met, ...]
    """Fields that were not used; ``messages[].x`` is a member of messages. They are kept in ``extra``."""
    more: bool
    """Whether there were more names than are remembered."""

    @classmethod
    def _of(cls, told: Mapping[str, Any]) -> Reading:
        kinds = ("events", "roles", "groups", "programming", "unused")
        return cls(**{**told, **{kind: tuple(Met(**met) for met in told[kind]) for kind in kinds}})


@dataclass(frozen=True)
class Repeated:
    """Rows that repeat earlier ones, of a :class:`Report`.

    They are counted by hashes as long as there are at most 900,000 different rows, and 28,000 different prompts or
    responses; beyond that they are estimated.
    """

    rows: int
    """Rows with the prompt and response of an earlier row."""
    prompts: int
    """Rows with the prompt of an earlier row."""
    responses: int
    """Rows with the response of an earlier row."""
    rows_error: int
    """The standard error of ``rows``; 0: it is exact."""
    prompts_error: int
    """The standard error of ``prompts``."""
    responses_error: int
    """The standard error of ``responses``."""
    first: Mapping[str, Any] | None
    """The first row with the prompt and response of an earlier one, ``file`` and ``row``, and that one, ``of_file`` and
    ``of_row``; rows are numbered from 0."""


@dataclass(frozen=True)
class HeldOut:
    """What ``test_share`` holds out, of a :class:`Report`."""

    rows: int
    """Rows."""
    groups: int
    """Groups; prompts, of rows without a group. Estimated beyond 900,000."""
    prompts: int
    """Different prompts. Estimated, as the next number, where there are more than 28,000 in all."""
    shared_prompts: int
    """Those of them that rows have which train too: groups part them. Without groups there are none."""


@dataclass(frozen=True)
class Report:
    """What a bucketing run did. ``rows == bucketed + rejected``, always; ``print(report)`` shows a table."""

    output: str | None
    """The directory made; ``None`` for a dry run."""
    format: str
    """What the inputs are: ``jsonl``, ``parquet``, …"""
    shape: Shape | None
    """How the records hold prompt and response, as given or decided; ``None`` if given by fields."""
    fields: Mapping[str, Any]
    """What was read from the records."""
    schema: BucketSchema
    """The schema in force, with the edges that ``"auto"`` found."""
    files: int
    """Number of input files."""
    skipped: tuple[Mapping[str, str], ...]
    """Files of the input folders that were passed over: file, reason."""
    bytes_on_disk: int
    """Input bytes as they lie on disk."""
    bytes: int
    """Input bytes after decompression."""
    records: int
    """Input records, with one for each file whose rest could not be read."""
    rows: int
    """Rows that they made: one each, or with ``turns="all"`` one for each reply. A record that can't be read is one."""
    bucketed: int
    """Rows given a bucket."""
    rejected: int
    """Rows that could not be used: the lines of the rejects file."""
    reading: Reading
    """How the records were read: what was guessed, joined, left out or not used."""
    rejected_by_kind: Mapping[str, int]
    """Rejected rows by the kind of reason."""
    first_rejects: tuple[Mapping[str, Any], ...]
    """The first rejected record of each kind: file, line, row, offset, kind, reason."""
    prompt_tokens: int | None
    """Tokens of all prompts; ``None`` if not counted."""
    completion_tokens: int | None
    """Tokens of all responses; ``None`` if not counted."""
    buckets: tuple[BucketSummary, ...]
    """The buckets, by descending rows; they count what is held out too."""
    repeated: Repeated
    """Rows that repeat earlier ones."""
    held_out: HeldOut | None
    """What is held out; ``None`` without ``test_share``."""
    shards: int
    """Number of Parquet files written."""
    unreadable: tuple[Mapping[str, Any], ...]
    """Files whose rest could not be read: file, offset, reason."""
    warnings: tuple[str, ...]
    """What the user should know, a line each."""
    resumed_from: int | None
    """Shards that an earlier, interrupted run had finished."""
    reference: str | None
    """The human reference made in the same pass."""
    examples: tuple[Mapping[str, Any], ...]
    """The first three rows; dry runs only."""

    @classmethod
    def _from_json(cls, text: str) -> Report:
        data = json.loads(text)
        data["schema"] = BucketSchema.from_json(json_text.one_line(data["schema"]))
        data["reading"] = Reading._of(data["reading"])
        data["repeated"] = Repeated(**data["repeated"])
        data["held_out"] = None if data["held_out"] is None else HeldOut(**data["held_out"])
        data["warnings"] = [_core.in_words(warning) for warning in data["warnings"]]
        data["buckets"] = [BucketSummary(**frozen(bucket)) for bucket in data["buckets"]]
        members: dict[str, Any] = {name: frozen(value) for name, value in data.items()}
        return cls(**members)

    @property
    def rejected_share(self) -> float:
        """Rejected records as a part of all, 0 to 1."""
        return self.rejected / self.rows if self.rows else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, ready for JSON."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json_text.indented(self.to_dict())

    def __repr__(self) -> str:
        where = "dry run" if self.output is None else self.output
        return (
            f"<Report {where}: {counted(self.rows, 'row')}, {self.bucketed:,} in "
            f"{counted(len(self.buckets), 'bucket')}, {self.rejected:,} rejected>"
        )

    def __str__(self) -> str:
        from polyalign._text import tables

        table = bucket_table(self.buckets, length_unit(self), tables.WIDE)
        return tables.printed(headline(self), table)


def length_unit(report: Report) -> str:
    """Return the unit that lengths of a report are in."""
    return report.schema.length_unit or ("words" if report.completion_tokens is None else "tokens")


def headline(report: Report) -> str:
    """One line: what went in and what became of it."""
    from polyalign._text import tables

    files = f"{counted(report.files, 'file')}"
    tokens = ""
    if report.completion_tokens is not None:
        total = report.completion_tokens + (report.prompt_tokens or 0)
        tokens = f", {total:,} tokens"
    records = "" if report.records == report.rows else f" of {counted(report.records, 'record')}"
    return (
        f"{report.rows:,} rows{records} from {files} ({tables.size(report.bytes)} of {report.format}){tokens}: "
        f"{report.bucketed:,} in {counted(len(report.buckets), 'bucket')}, "
        f"{report.rejected:,} rejected"
    )


def bucket_table(buckets: Sequence[BucketSummary], unit: str, width: int, limit: int | None = None) -> Table:
    """One line a bucket: rows, share, tokens, quantiles of its lengths; as many columns as fit into `width`."""
    from polyalign._text import tables

    columns = _columns(buckets if limit is None else buckets[:limit])
    left = [] if limit is None else buckets[limit:]
    if left:
        rows, share = sum(bucket.rows for bucket in left), sum(bucket.share for bucket in left)
        more = {"bucket": f"… {len(left):,} more", "rows": f"{rows:,}", "share": f"{share:.1%}"}
        for name, cells in columns.items():
            cells.append(more.get(name, ""))
    tables.fit(columns, _DISPENSABLE, width)
    table = tables.columns_table(columns)
    table.caption = f"lengths in {unit}"
    return table


def _columns(buckets: Sequence[BucketSummary]) -> dict[str, list[str]]:
    """Return the table's columns by name."""
    columns = {
        "bucket": [bucket.bucket for bucket in buckets],
        "rows": [f"{bucket.rows:,}" for bucket in buckets],
        "share": [f"{bucket.share:.1%}" for bucket in buckets],
    }
    if any(bucket.held_out for bucket in buckets):
        columns["held out"] = [f"{bucket.held_out:,}" for bucket in buckets]
    if any(bucket.completion_tokens is not None for bucket in buckets):
        tokens = [_tokens(bucket.prompt_tokens, bucket.completion_tokens) for bucket in buckets]
        columns["tokens"] = [whole for whole, _ in tokens]
        columns["of responses"] = [completion for _, completion in tokens]
    for name in _QUANTILES:
        columns[name.replace("q50", "median")] = [f"{bucket.length[name]:,}" for bucket in buckets]
    return columns


def _tokens(prompt: int | None, completion: int | None) -> tuple[str, str]:
    if completion is None:
        return "", ""
    return "" if prompt is None else f"{prompt + completion:,}", f"{completion:,}"
