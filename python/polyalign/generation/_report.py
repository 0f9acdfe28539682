"""What a run generated, what it left out, and why."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polyalign._io import json_text
from polyalign._text.words import counted, place

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["BucketSamples", "Report", "Tally", "bucket_table", "headline", "notices"]

#: What is left out because it was asked to be.
_ASKED = ("over_max_prompt_tokens",)


@dataclass(frozen=True)
class BucketSamples:
    """What a bucket's prompts were answered with."""

    bucket: str
    prompts: int
    samples: int
    empty: int
    """Answers without text."""
    cut: int
    """Answers that ended at ``max_new_tokens``."""
    mean_tokens: float | None
    """Of an answer; ``None``: not known."""


@dataclass(frozen=True)
class Report:
    """What was generated; ``print(report)`` shows a table."""

    output: str | None
    """The file made; ``None``: in memory."""
    prompts: int
    """Rows that were asked for."""
    samples: int
    """Answers written."""
    resumed: int
    """How many of them an earlier run had generated."""
    tokens: int
    """Of all answers, as far as that is known."""
    empty: int
    """Answers without text."""
    cut: int
    """Answers that ended at ``max_new_tokens``."""
    unthought: int
    """Answers without the reasoning that was asked for."""
    fewer_examples: int
    """Prompts with fewer examples than asked for: those of the bucket, or the model's context, did not suffice."""
    finish: Mapping[str, int]
    """Answers by how they ended."""
    skipped: int
    """Prompts, or single answers, that there is nothing for."""
    skipped_by_kind: Mapping[str, int]
    """Those by the kind of reason, most first."""
    first_skips: tuple[Mapping[str, Any], ...]
    """The first of each kind: kind, file, row, id, reason."""
    settings_hash: str
    """What the lines name their settings by."""
    settings: Mapping[str, Any]
    """Everything that the answers depend on."""
    buckets: tuple[BucketSamples, ...]
    """The buckets, by descending samples."""

    def faults(self) -> dict[str, Any]:
        """Return what was skipped for a fault, of what: ``rejected`` of ``rows``."""
        asked = sum(self.skipped_by_kind.get(kind, 0) for kind in _ASKED)
        return {"rows": self.samples + self.skipped - asked, "rejected": self.skipped - asked, "unreadable": ()}

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, ready for JSON."""
        members = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            **members,
            "first_skips": list(self.first_skips),
            "buckets": [dataclasses.asdict(bucket) for bucket in self.buckets],
        }

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json_text.indented(self.to_dict())

    def __repr__(self) -> str:
        where = "in memory" if self.output is None else self.output
        return f"<Report {where}: {counted(self.samples, 'sample')} of {counted(self.prompts, 'prompt')}>"

    def __str__(self) -> str:
        from polyalign._text import tables

        return tables.printed(headline(self), bucket_table(self, len(self.buckets)), *notices(self))


class Tally:
    """Counts while the output is written."""

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        self.firsts: dict[str, Mapping[str, Any]] = {}
        self.counts: Counter[str] = Counter()
        self.finish: Counter[str] = Counter()
        self.buckets: dict[str, Counter[str]] = defaultdict(Counter)

    def skip(self, kind: str, reason: str, where: Mapping[str, Any]) -> None:
        """Count what there is no answer for."""
        self.skipped[kind] += 1
        self.firsts.setdefault(kind, {"kind": kind, **where, "reason": reason})

    def add(self, bucket: str, line: Mapping[str, Any], *, first: bool, unthought: bool) -> None:
        """Count an answer; `first`: of its prompt."""
        told = {
            "prompts": first,
            "samples": 1,
            "empty": not line["response"],
            "cut": line["finish"] == "length",
            "tokens": line["tokens"] or 0,
            "known": line["tokens"] is not None,
        }
        self.buckets[bucket].update({name: int(count) for name, count in told.items()})
        self.counts["unthought"] += unthought
        self.finish[line["finish"]] += 1

    def report(self, **given: Any) -> Report:
        """Return what was counted."""
        sums: Counter[str] = Counter()
        for counts in self.buckets.values():
            sums.update(counts)
        kinds = self.skipped.most_common()
        order = sorted(self.buckets.items(), key=lambda item: (-item[1]["samples"], item[0]))
        return Report(
            samples=sums["samples"],
            tokens=sums["tokens"],
            empty=sums["empty"],
            cut=sums["cut"],
            unthought=self.counts["unthought"],
            fewer_examples=self.counts["fewer_examples"],
            finish=dict(self.finish.most_common()),
            skipped=self.skipped.total(),
            skipped_by_kind=dict(kinds),
            first_skips=tuple(self.firsts[kind] for kind, _ in kinds),
            buckets=tuple(_bucket(bucket, counts) for bucket, counts in order),
            **given,
        )

    def why_none(self) -> str:
        """Say why there is nothing to answer."""
        return "; ".join(_skips(self.skipped, self.firsts)) or "there are no rows"


def _bucket(bucket: str, counts: Counter[str]) -> BucketSamples:
    mean = counts["tokens"] / counts["known"] if counts["known"] else None
    return BucketSamples(bucket, counts["prompts"], counts["samples"], counts["empty"], counts["cut"], mean)


def _skips(kinds: Mapping[str, int], firsts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    told = ((count, firsts[kind]) for kind, count in kinds.items())
    return [
        f"{count:,} for {first['kind']}, the first at {place(first)} (id {first['id']!r}): {first['reason']}"
        for count, first in told
    ]


def headline(report: Report) -> str:
    """One line: what went in and what became of it."""
    earlier = f", {report.resumed:,} of them by an earlier run" if report.resumed else ""
    return (
        f"{counted(report.prompts, 'prompt')}: {counted(report.samples, 'sample')}{earlier}, {report.skipped:,} skipped"
    )


def notices(report: Report) -> list[str]:
    """Say what a reader of the samples should know: a line each."""
    lines = [f"skipped: {line}" for line in _skips(report.skipped_by_kind, {s["kind"]: s for s in report.first_skips})]
    total = max(1, report.samples)
    if report.cut:
        most = report.settings["sampling"]["max_new_tokens"]
        lines.append(f"cut at {most:,} tokens: {report.cut:,} samples ({report.cut / total:.1%})")
    if report.empty:
        lines.append(f"without text: {report.empty:,} samples ({report.empty / total:.1%})")
    others = {name: count for name, count in report.finish.items() if name not in ("stop", "length")}
    lines += [f"ended by {name}: {counted(count, 'sample')}" for name, count in others.items()]
    if report.unthought:
        lines.append(
            f"without the reasoning that was asked for: {report.unthought:,} samples ({report.unthought / total:.1%})"
        )
    if report.fewer_examples:
        lines.append(f"fewer examples than asked for: {counted(report.fewer_examples, 'prompt')}")
    return lines


def bucket_table(report: Report, limit: int) -> Table:
    """One line a bucket."""
    from polyalign._text import tables

    shown = report.buckets[:limit]
    table = tables.columns_table(
        {
            "bucket": [bucket.bucket for bucket in shown],
            "prompts": [f"{bucket.prompts:,}" for bucket in shown],
            "samples": [f"{bucket.samples:,}" for bucket in shown],
            "mean tokens": [tables.number(bucket.mean_tokens, ".1f") for bucket in shown],
            "cut": [f"{bucket.cut / bucket.samples:.1%}" for bucket in shown],
            "empty": [f"{bucket.empty / bucket.samples:.1%}" for bucket in shown],
        }
    )
    if len(report.buckets) > limit:
        table.caption = f"and {len(report.buckets) - limit:,} more buckets"
    return table
