"""What the demo's model learns from: people's replies in the conversations of the package ``chitchat-dataset``."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from polyalign.demo._corpus import require

__all__ = ["SOURCE", "drawn", "part_of", "records"]

SOURCE = "chitchat"
_LAST = 10
_CONTEXT = 3
_FEWEST_WORDS = 4
_LONGEST_PROMPT, _LONGEST_REPLY = 400, 300
_PARTS = {"train": 0.6, "valid": 0.8, "test": 1.0}


def records() -> Iterator[dict[str, Any]]:
    """Give every second of a conversation's first messages, with up to three before it as its prompt.

    What greets (fewer than four words before it) and what is long is left out: it is a demo for two cores.
    """
    path = Path(require("chitchat_dataset").__file__).with_name("dataset.json")
    for group, conversation in json.loads(path.read_text("utf-8")).items():
        turns = ["\n".join(said["text"].strip() for said in turn) for turn in conversation["messages"]]
        for at in range(1, min(len(turns), _LAST), 2):
            prompt, reply = turns[max(0, at - _CONTEXT) : at], turns[at]
            if _is_taken(prompt, reply):
                roles = ("user", "assistant")
                messages = [{"role": roles[n % 2], "content": turn} for n, turn in enumerate([*prompt, reply])]
                yield {
                    "id": f"{group}#{at}",
                    "messages": messages,
                    "language": "en",
                    "source": SOURCE,
                    "group": group,
                }


def _is_taken(prompt: Sequence[str], reply: str) -> bool:
    asks = len(re.findall(r"\w+", prompt[-1])) >= _FEWEST_WORDS
    fits = sum(map(len, prompt)) <= _LONGEST_PROMPT and len(reply) <= _LONGEST_REPLY
    return asks and fits and all(map(str.strip, (*prompt, reply)))


def part_of(group: str) -> str:
    """Return what a conversation is for, told by a hash: to train on, to judge by, or to report on."""
    share = hashlib.sha256(group.encode()).digest()[0] / 256
    return next(name for name, end in _PARTS.items() if share < end)


def drawn(rows: Iterable[Mapping[str, Any]], count: int, besides: Iterable[Mapping[str, Any]] = ()) -> list[Any]:
    """Return so many rows, one a conversation, none of those of `besides`: drawn by a hash, whatever is in them."""
    groups = {row["group"] for row in besides}
    found: list[Any] = []
    for row in sorted(rows, key=lambda row: hashlib.sha256(row["id"].encode()).digest()):
        if len(found) == count:
            break
        if row["group"] not in groups:
            groups.add(row["group"])
            found.append(row)
    return found
