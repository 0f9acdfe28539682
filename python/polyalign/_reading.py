"""What a report says of how records were read, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyalign.buckets import Met, Reading

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
        of = f"{replies:,} earlier {'reply' if replies == 1 else 'replies'} of {_records(earlier)}"
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


def _named(title: str, names: Sequence[Met], say: Callable[[Met], str]) -> list[str]:
    if not names:
        return []
    said = [f"{say(met)} ({met.records:,})" for met in names[:_SHOWN]]
    more = f", … {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    first = names[0]
    return [f"{title}: {', '.join(said)}{more}; first in {first.file}, row {first.row}"]


def _records(met: Met) -> str:
    return f"{met.records:,} record{'s' * (met.records != 1)} (first: {met.file}, row {met.row})"
