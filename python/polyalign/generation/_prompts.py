"""What a model is asked: the prompt with a system line, with examples of its bucket, as messages or as text."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polyalign.buckets._ids import named_parts
from polyalign.buckets._schema import axis_names
from polyalign.generation._rows import Row, Source, rank
from polyalign.generation._settings import Form, Prompting
from polyalign.trainers.conditioning import condition, system_line, template_fields

if TYPE_CHECKING:
    from polyalign.buckets import BucketSchema

__all__ = ["Asker", "Prompt", "as_dialogue", "as_plain", "messages_of", "stops"]

#: How many records of a bucket examples are taken from, and how long these are at most, in characters.
_POOL, _LONGEST = 256, 2000
_BINS = ("short", "medium", "long", "xlong")
_LABELS = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tool"}
_THINK = (
    "You answer as a person does in one kind of situation: {situation}.\n"
    "First think, between <think> and </think>: who speaks here, what a person would say to this, in which tone, at "
    "what length, and what they would leave out.\n"
    "Then write the answer, and nothing else: in the language of the situation, and as long as answers are there."
)

Message = dict[str, Any]


@dataclass(frozen=True)
class Prompt:
    """What is asked, before it becomes tokens."""

    messages: list[Message]
    tools: list[Any] | None


def messages_of(prompt: Any) -> list[Message]:
    """Return a prompt as messages with role and text; a text is the user's."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}] if prompt.strip() else []
    messages = [{**_bare(message), "content": _text(message.get("content"))} for message in prompt or ()]
    return messages if any(message["content"].strip() for message in messages) else []


def _text(content: Any) -> str:
    """Return the text of a message; of parts, that of those which are text."""
    if isinstance(content, str) or content is None:
        return content or ""
    return "".join(part["text"] for part in content if isinstance(part.get("text"), str))


def _bare(message: Mapping[str, Any]) -> Message:
    """Leave out what only other messages of the column have."""
    return {name: value for name, value in message.items() if value is not None}


def as_dialogue(messages: Sequence[Message]) -> str:
    r"""Return messages as the text of a dialogue, in which the assistant speaks next.

    Examples
    --------
    >>> as_dialogue([{"role": "user", "content": "Why?"}])
    'User: Why?\nAssistant:'
    """
    lines = [f"{_LABELS.get(message['role'], message['role'])}: {message['content'].strip()}" for message in messages]
    return "\n".join([*lines, f"{_LABELS['assistant']}:"])


def as_plain(messages: Sequence[Message]) -> str:
    """Return the texts of messages, blank lines between them."""
    return "\n\n".join(message["content"] for message in messages)


def stops(form: Form) -> tuple[str, ...]:
    """Return where an answer ends beside what was set: in a dialogue, where somebody speaks again."""
    return ("\nUser:", "\nAssistant:", "\nSystem:") if form == "dialogue" else ()


class Asker:
    """Makes prompts of rows."""

    def __init__(self, source: Source, prompting: Prompting, form: Form, examples_of: Callable[[], Source]) -> None:
        self.prompting, self.form, self.schema = prompting, form, source.schema
        self.axes = axis_names(source.schema)
        default = 3 if form == "dialogue" else 0
        self.few_shot = default if prompting.few_shot is None else prompting.few_shot
        self._pools = _pools(examples_of()) if self.few_shot else {}
        #: The columns of rows that system lines name.
        self.columns = template_fields(prompting.conditioning) if prompting.conditioning else ()

    def prompts(self, row: Row, messages: list[Message]) -> Iterator[tuple[int, Prompt]]:
        """Give the prompt of a row, and shorter ones in case it does not fit: each with its number of examples."""
        base = self._told(row, messages)
        examples = self._examples(row, messages)
        for count in range(len(examples), -1, -1):
            yield count, Prompt(_shown(base, examples[:count]), row.tools)

    def _told(self, row: Row, messages: list[Message]) -> list[Message]:
        lines = []
        bucket = row.bucket or ""
        if self.prompting.conditioning:
            lines.append(system_line(self.prompting.conditioning, bucket, row.columns, self.axes))
        if self.prompting.think:
            lines.append(_THINK.format(situation=situation(bucket, self.schema)))
        return condition(messages, "\n\n".join(lines)) if lines else messages

    def _examples(self, row: Row, messages: list[Message]) -> list[_Example]:
        """Return examples of a row's bucket: the same ones always, and never the row, its group or its prompt."""
        pool = self._pools.get(row.bucket or "", [])
        found: list[_Example] = []
        start = rank("examples", str(row.id)) % max(1, len(pool))
        for example in (*pool[start:], *pool[:start]):
            if len(found) == self.few_shot:
                break
            same_group = row.group is not None and example.group == row.group
            if not (same_group or example.id == row.id or example.messages == messages):
                found.append(example)
        return found


@dataclass(frozen=True)
class _Example:
    """A prompt and what a human answered."""

    id: str | None
    group: str | None
    messages: list[Message]
    answer: Message


def _pools(source: Source) -> dict[str, list[_Example]]:
    """Return records of each bucket that may be shown: those of lowest rank, which no order of rows changes."""
    source.rows.require("records", "completion", hint="; few-shot examples need the human responses")
    pools: dict[str, list[tuple[int, int, _Example]]] = defaultdict(list)
    for row in source.read(None, ["completion"]):
        messages, answer = messages_of(row.prompt), messages_of(row.columns["completion"])
        size = sum(len(message["content"]) for message in (*messages, *answer))
        if not messages or len(answer) != 1 or size > _LONGEST:
            continue
        example = _Example(row.id, row.group, messages, {"role": "assistant", "content": answer[0]["content"]})
        pool, key = pools[str(row.bucket)], (-rank("pool", str(row.id)), row.at, example)
        if len(pool) < _POOL:
            heapq.heappush(pool, key)
        elif key[:2] > pool[0][:2]:
            heapq.heapreplace(pool, key)
    return {
        bucket: [example for *_, example in sorted(pool, key=lambda key: key[:2])] for bucket, pool in pools.items()
    }


def _shown(messages: list[Message], examples: Iterable[_Example]) -> list[Message]:
    """Put examples before a conversation, after its system message."""
    begins = next((at for at, message in enumerate(messages) if message["role"] != "system"), len(messages))
    turns = [turn for each in examples for turn in (*_without_system(each.messages), each.answer)]
    return [*messages[:begins], *turns, *messages[begins:]]


def _without_system(messages: list[Message]) -> list[Message]:
    return [message for message in messages if message["role"] != "system"]


def situation(bucket: str, schema: BucketSchema | None) -> str:
    """Say in words which situation a bucket is.

    Examples
    --------
    >>> from polyalign import BucketSchema
    >>> situation("en|single|qa|short", BucketSchema(length_edges=(40, 120, 240), length_unit="words"))
    'language en, track single, family qa, length short (at most 40 words)'
    """
    parts = named_parts(bucket, axis_names(schema))
    said = {axis: f"{axis} {value}" for axis, value in parts.items()}
    if schema is not None and "length" in said:
        said["length"] += _range(parts, schema)
    return ", ".join(said.values())


def _range(parts: Mapping[str, str], schema: BucketSchema) -> str:
    """Say how long answers of a length bin are, where that is known."""
    edges = schema.length_edges
    if isinstance(edges, Mapping):
        edges = edges.get(parts.get("language", ""), edges.get("default", ()))
    bins = list(schema.length_bins or _BINS)
    if isinstance(edges, str) or len(bins) != len(edges) + 1 or parts["length"] not in bins:
        return ""
    unit, at = schema.length_unit or "tokens", bins.index(parts["length"])
    if at == len(edges):
        return f" (more than {edges[-1]} {unit})"
    return f" (at most {edges[0]} {unit})" if at == 0 else f" ({edges[at - 1] + 1} to {edges[at]} {unit})"
