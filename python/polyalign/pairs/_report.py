"""What was paired, what was not, and why."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from polyalign._io import json_text
from polyalign._text.words import counted, place
from polyalign.pairs import _match

if TYPE_CHECKING:
    from rich.table import Table

    from polyalign.buckets import BucketSchema


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
    selection: Mapping[str, Any] | None
    """How samples were selected, and of how many records; ``None``: all of them are pairs."""
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
        harmless = sum(self.skipped_by_kind.get(kind, 0) for kind in _match.HARMLESS)
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
        return json_text.indented(self.to_dict())

    def __repr__(self) -> str:
        where = "in memory" if self.output is None else self.output
        buckets = f"{counted(len(self.buckets), 'bucket')}"
        pairs = f"{counted(self.pairs, 'pair')} in {buckets}"
        return f"<Report {where}: {counted(self.rows, 'row')}, {pairs}, {self.skipped:,} skipped>"

    def __str__(self) -> str:
        from polyalign._text import tables

        lines = [*selection_lines(self), *(f"skipped: {line}" for line in skip_lines(self))]
        return tables.printed(headline(self), bucket_table(self, len(self.buckets)), *lines)


class Pairs(NamedTuple):
    """Pairs in memory, and what became of the input."""

    table: Any
    """pyarrow.Table: ``id``, ``bucket``, ``prompt``, ``chosen``, ``rejected``, the records' ``group`` if they have one,
    ``pair_type`` where samples were selected by what a critic says of them, and with a critic ``chosen_score`` and
    ``rejected_score``. ``datasets.Dataset(table)`` takes it without a copy."""
    report: Report
    """What was paired, what was not, and why."""


def selection_lines(report: Report) -> list[str]:
    """Say what was selected, of how many records."""
    told = report.selection
    if told is None:
        return []
    parts = [f"{told['select']} of the samples of {counted(told['records'], 'record')}"]
    if told.get("single"):
        parts.append(f"{told['single']:,} had one alone")
    if told.get("tied"):
        parts.append(f"{counted(told['tied'], 'choice')} among equals, of which the first was taken")
    if "samples_chosen" in told:
        parts.append(f"{told['samples_chosen']:,} chosen responses are samples")
    return [f"selected: {'; '.join(parts)}"]


def skip_lines(report: Report) -> list[str]:
    """Say what was skipped: a line a kind, with the first of it."""
    firsts: dict[str, Mapping[str, Any]] = {}
    for skip in report.first_skips:
        firsts.setdefault(skip["kind"], skip)
    return [f"{count:,} for {kind}{_first(firsts.get(kind))}" for kind, count in report.skipped_by_kind.items()]


def _first(skip: Mapping[str, Any] | None) -> str:
    if skip is None:
        return ""
    named = f" (id {skip['id']!r})" if skip.get("id") is not None else ""
    return f", the first at {place(skip)}{named}: {skip['reason']}"


def bucket_pairs(tally: _match.Tally) -> tuple[BucketPairs, ...]:
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


def headline(report: Report) -> str:
    """One line: what went in and what became of it."""
    given = {"row" if report.samples is None else "record": report.records}
    if report.samples is not None:
        given["sample"] = report.samples
    what = " and ".join(counted(count, name) for name, count in given.items())
    return (
        f"{what}: {counted(report.pairs, 'pair')} in "
        f"{counted(len(report.buckets), 'bucket')}, {report.skipped:,} skipped"
    )


def bucket_table(report: Report, limit: int) -> Table:
    """One line a bucket of pairs: how many, and where there is a critic the means of its scores."""
    from polyalign._text import tables

    shown = report.buckets[:limit]
    left = report.buckets[limit:]
    columns = {
        "bucket": [bucket.bucket for bucket in shown],
        "pairs": [f"{bucket.pairs:,}" for bucket in shown],
        "share": [f"{bucket.share:.1%}" for bucket in shown],
    }
    scores = {
        "chosen": ([bucket.chosen_score for bucket in shown], ".3f"),
        "rejected": ([bucket.rejected_score for bucket in shown], ".3f"),
        "rejected further": ([bucket.rejected_further for bucket in shown], ".1%"),
    }
    if report.critic is not None:
        columns |= {name: [tables.number(value, form) for value in values] for name, (values, form) in scores.items()}
    if left:
        pairs, share = sum(bucket.pairs for bucket in left), sum(bucket.share for bucket in left)
        more = {"bucket": f"… {len(left):,} more", "pairs": f"{pairs:,}", "share": f"{share:.1%}"}
        for name, cells in columns.items():
            cells.append(more.get(name, ""))
    table = tables.columns_table(columns)
    if report.critic is not None:
        table.caption = f"mean scores by {report.critic['name']}: lower is closer to humans"
    return table
