"""Prompts with the human's answer and every model's: what judges and people are asked about."""

from __future__ import annotations

import hashlib
import heapq
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from polyalign._io import bucketed
from polyalign._text.words import place
from polyalign.buckets import _ids
from polyalign.evaluation import _predictions

__all__ = ["HUMAN", "Beside", "Per", "Rows", "digest", "draw", "drawn", "named", "rank", "read"]

#: Whose answer the human's is, in results.
HUMAN = "human"
Per = Literal["bucket", "length"]


@dataclass(frozen=True)
class Beside:
    """A prompt, and the answers to it."""

    id: str
    bucket: str
    prompt: list[dict[str, str]]
    """Messages: role and content."""
    human: str
    answers: Mapping[str, str]
    """By model."""


@dataclass
class Rows:
    """Prompts that every model has answered."""

    rows: list[Beside]
    models: list[str]
    axes: tuple[str, ...]
    left: Counter[str] = field(default_factory=Counter)
    """What was not used: how many of each kind."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Of each kind what it is, and where the first is."""
    unreadable: list[Mapping[str, Any]] = field(default_factory=list)

    def leave(self, kind: str, reason: str, where: str, count: int = 1) -> None:
        """Count what is not used."""
        if count:
            self.left[kind] += count
            self.reasons.setdefault(kind, f"{reason}; the first: {where}")

    def lines(self) -> list[str]:
        """Say what was not used, a line a kind."""
        return [f"{count:,} for {kind}: {self.reasons[kind]}" for kind, count in self.left.items()]


def named(predictions: Sequence[str | os.PathLike[str]]) -> dict[str, str]:
    """Return files by the names of their models: that before ``=``, or the file's own.

    Examples
    --------
    >>> named(["out/sft.jsonl", "ours=b.jsonl.zst"])
    {'sft': 'out/sft.jsonl', 'ours': 'b.jsonl.zst'}
    """
    found: dict[str, str] = {}
    for given in (os.fspath(each) for each in predictions):
        name, path = _predictions.named_file(given)
        if name in found or name == HUMAN:
            why = "the humans are called so" if name == HUMAN else "two models are"
            raise ValueError(f"{path}: {why} {name!r}: name it, as in NAME={path}")
        found[name] = path
    return found


def read(
    predictions: Mapping[str, Any], records: Any, reading: bucketed.Reading | None = None, *, empty: bool = False
) -> Rows:
    """Read models' first answers beside the humans' to the same prompts.

    Parameters
    ----------
    predictions : mapping
        By model: files, an Arrow table or a data set, with the ids of the records.
    records : str, PathLike or list of them, Arrow table, or data set
        Bucketed humans, all their splits; rows with id, bucket, prompt and completion.
    reading : Reading, optional
        How predictions are read.
    empty : bool, default False
        Whether an empty answer is one.

    Raises
    ------
    ValueError
        No prompt is answered by every model: the error says why.
    """
    humans, models = _predictions.read(predictions, records, pool=0, reading=reading)
    found = Rows([], [model.name for model in models], humans.axes)
    firsts = [_firsts(model, humans, found, empty) for model in models]
    for row in sorted({row for first in firsts for row in first}):
        identity = humans.ids[row] or str(row)
        answers = {name: first.get(row) for name, first in zip(found.models, firsts, strict=True)}
        there = {name: text for name, text in answers.items() if text is not None}
        if len(there) < len(answers):
            missing = next(name for name in answers if name not in there)
            found.leave(
                "not_all_answered", "a prompt has no answer of every model", f"{identity} has none of {missing}"
            )
        else:
            prompt = _messages(humans.prompts[row])
            found.rows.append(Beside(identity, humans.buckets[row], prompt, humans.texts[row].strip(), there))
    if not found.rows:
        why = "".join(f"; {line}" for line in found.lines())
        raise ValueError(f"no prompt has a human answer and one of every model{why}")
    return found


def _firsts(model: _predictions.Model, humans: _predictions.Humans, found: Rows, empty: bool) -> dict[int, str]:
    """Return a model's first answers by the numbers of the humans; count what else there is."""
    for skip in model.skips.to_list():
        found.leave(skip["kind"], skip["reason"], f"{model.name}: {place(skip)}", skip["count"])
    found.unreadable += model.unreadable
    answers = {}
    for row, turn, text in zip(model.of.tolist(), model.turn.tolist(), model.texts, strict=True):
        where = f"{model.name}: {humans.ids[row]}"
        if turn:
            found.leave("further_answer", "a prompt's first answer is used", where)
        elif not (empty or text.strip()):
            found.leave("empty_answer", "the answer is empty", where)
        else:
            answers[row] = text.strip()
    return answers


def _messages(prompt: Any) -> list[dict[str, str]]:
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [{"role": str(message["role"]), "content": str(message["content"] or "")} for message in prompt]


def group_of(bucket: str, axes: Sequence[str], per: Per) -> str:
    """Return what an answer is drawn within: its bucket, or its language and length.

    Examples
    --------
    >>> group_of("zh|multi|qa|short", ("language", "track", "family", "length"), "length")
    'zh|short'
    """
    if per == "bucket":
        return bucket
    parts = _ids.named_parts(bucket, axes)
    if "length" not in parts:
        raise ValueError(f"per length: the buckets have no axis length ({', '.join(axes)}): draw per bucket")
    return _ids.joined(_ids.normal(parts[axis]) for axis in ("language", "length") if axis in parts)


def draw(
    rows: Sequence[Beside], axes: Sequence[str], per: Per, count: int, seed: int
) -> tuple[dict[str, list[Beside]], dict[str, int]]:
    """Draw so many rows of each group, by the hash of the seed and their ids.

    Returns
    -------
    dict, dict
        The rows by group, sorted; and how many there are where they are fewer than asked for.
    """
    groups: dict[str, list[tuple[bytes, int]]] = defaultdict(list)
    for at, row in enumerate(rows):
        groups[group_of(row.bucket, axes, per)].append((rank(seed, row.id), at))
    drawn = {name: [rows[at] for _, at in heapq.nsmallest(count, of)] for name, of in sorted(groups.items())}
    return drawn, {name: len(of) for name, of in drawn.items() if len(of) < count}


def drawn(found: Rows, count: int, seed: int) -> list[Beside]:
    """Return so many prompts of every bucket; all of them where `count` is 0."""
    if not count:
        return list(found.rows)
    groups, _ = draw(found.rows, found.axes, "bucket", count, seed)
    return [row for rows in groups.values() for row in rows]


def digest(text: str) -> str:
    """Return what an answer is known by where its text is not: so that no other answer takes its judgement.

    Examples
    --------
    >>> digest(" So it is. ") == digest("So it is."), len(digest(""))
    (True, 16)
    """
    return hashlib.blake2b(text.strip().encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def rank(seed: int, *names: str) -> bytes:
    """Return a hash to sort and to draw by."""
    spelt = "\0".join((str(seed), *names))
    return hashlib.blake2b(spelt.encode("utf-8", "surrogatepass"), digest_size=16).digest()
