"""What a report says of how records were read, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from polyalign._text.words import counted

if TYPE_CHECKING:
    from polyalign.buckets._report import HeldOut, Met, Reading, Repeated

_EVENTS = {
    "system": "the record's own system message put first",
    "joined": "two fields joined into one user message",
    "once": "messages that two fields hold taken once",
    "after": "one field's messages put after another's",
    "parts": "text parts of a message joined",
    "tool_calls": "tool calls beside a message's text left out",
    "trailing": "messages after the last reply left out",
    "prompt_mismatch": "rejected responses to another prompt left out",
}
# More names than these are not printed; `--json` has them.
_SHOWN = 12


def reading_lines(reading: Reading) -> list[str]:
    """Return what is worth saying, a line each: earlier replies, joins, roles, labels and what was not used."""
    lines = []
    events = {event.name: event for event in reading.events}
    if earlier := events.pop("earlier_replies", None):
        replies = reading.earlier_replies
        of = f"{counted(replies, 'earlier reply', 'earlier replies')} of {_records(earlier)}"
        are = "is part of the prompt" if replies == 1 else "are part of prompts"
        lines.append(f"left out: {of} {are} alone: --turns all makes each a row")
    lines += [f"read: {_EVENTS.get(name, name)}, in {_records(event)}" for name, event in events.items()]
    lines += _named("roles", reading.roles, lambda role: f"{role.name} as {role.taken or 'it is'}")
    lines += _named("group", reading.groups, lambda group: group.name)
    lines += _named("language detected, as the label names code", reading.programming, lambda label: label.name)
    lines += _named("not used", reading.unused, lambda field: field.name)
    if reading.more:
        lines.append("… and other names, which are not counted")
    return lines


def repeated_lines(repeated: Repeated, rows: int) -> list[str]:
    """Return what of `rows` rows stands there more than once, in a line; none if nothing does."""
    counts = {
        "rows": (repeated.rows, repeated.rows_error),
        "prompts": (repeated.prompts, repeated.prompts_error),
        "responses": (repeated.responses, repeated.responses_error),
    }
    said = []
    for what, (count, error) in counts.items():
        # What is within the error of an estimate is nothing to speak of.
        if count > 2 * error:
            share = f"{count / max(1, rows):.1%}"
            said.append(f"about {count:,} ± {error:,} {what} ({share})" if error else f"{count:,} {what} ({share})")
    if not said:
        return []
    first = repeated.first
    where = (
        f"; the first row: {first['file']}, row {first['row']}, that of {first['of_file']}, row {first['of_row']}"
        if first
        else ""
    )
    return [f"repeated: {', '.join(said)}{where}"]


def held_out_lines(held_out: HeldOut | None) -> list[str]:
    """Return what is held out, in a line; none if nothing was to be."""
    if held_out is None:
        return []
    rows, groups = held_out.rows, held_out.groups
    said = f"held out: {counted(rows, 'row')} of {counted(groups, 'group')}"
    if held_out.shared_prompts:
        said += (
            f"; {held_out.shared_prompts:,} of their {held_out.prompts:,} prompts train too, in rows of another group "
            "(without groups, prompts are not parted)"
        )
    return [said]


def _named(title: str, names: Sequence[Met], say: Callable[[Met], str]) -> list[str]:
    if not names:
        return []
    said = [f"{say(met)} ({met.records:,})" for met in names[:_SHOWN]]
    more = f", … {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    first = names[0]
    return [f"{title}: {', '.join(said)}{more}; first in {first.file}, row {first.row}"]


def _records(met: Met) -> str:
    return f"{counted(met.records, 'record')} (first: {met.file}, row {met.row})"
