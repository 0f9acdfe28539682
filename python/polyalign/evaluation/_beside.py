"""Prompts with the human's answer and every model's: what judges and people are asked about."""

from __future__ import annotations

import hashlib
import heapq
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from polyalign import _core
from polyalign._io import bucketed
from polyalign._io.responses import is_arrow, is_dataset
from polyalign._io.sources import local_inputs
from polyalign._text.words import place
from polyalign.buckets import _ids
from polyalign.buckets._schema import axis_names

__all__ = ["HUMAN", "Beside", "Per", "Rows", "draw", "rank", "read"]

#: Whose answer the human's is, in results.
HUMAN = "human"
Per = Literal["bucket", "length"]
_SPLITS = ("test", "train")
_COLUMNS = ("id", "bucket", "prompt", "completion")
_ENDINGS = {".jsonl", ".json", ".ndjson", ".parquet", ".zst", ".gz"}


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
    """What was not used: how many, by why."""
    firsts: dict[str, str] = field(default_factory=dict)
    """Where the first of each is."""
    unreadable: list[Mapping[str, Any]] = field(default_factory=list)

    def leave(self, why: str, where: str, count: int = 1) -> None:
        """Count what is not used."""
        if count:
            self.left[why] += count
            self.firsts.setdefault(why, where)

    def lines(self) -> list[str]:
        """Say what was not used, a line a kind."""
        return [f"{count:,} {why}, the first: {self.firsts[why]}" for why, count in self.left.items()]


def named(predictions: Sequence[str | os.PathLike[str]]) -> dict[str, str]:
    """Return files by the names of their models: that before ``=``, or the file's own.

    Examples
    --------
    >>> named(["out/sft.jsonl", "ours=b.jsonl.zst"])
    {'sft': 'out/sft.jsonl', 'ours': 'b.jsonl.zst'}
    """
    found: dict[str, str] = {}
    for given in (os.fspath(each) for each in predictions):
        name, _, path = given.rpartition("=") if not Path(given).exists() else ("", "", given)
        stem = Path(path)
        while stem.suffix in _ENDINGS:
            stem = stem.with_suffix("")
        name = name or stem.name
        if name in found or name == HUMAN:
            why = "the humans are called so" if name == HUMAN else "two models are"
            raise ValueError(f"{path}: {why} {name!r}: name it, as in NAME={path}")
        found[name] = path
    return found


def read(
    predictions: Mapping[str, Any], records: Any, reading: bucketed.Reading | None = None, *, empty: bool = False
) -> Rows:
    """Read models' answers beside the humans' of the same ids.

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
    opened = _opened(records)
    made = opened[0].bucketed
    found = Rows([], list(predictions), axis_names(made.schema if made else None))
    known = Counter(chain.from_iterable(_ids_of(rows) for rows in opened))
    firsts = {
        name: _firsts(name, bucketed.open_samples(source, reading or bucketed.Reading(), None), known, found, empty)
        for name, source in predictions.items()
    }
    for name, first, batch in chain.from_iterable(rows.batches(_COLUMNS) for rows in opened):
        of = bucketed.ids("records", batch["id"]).to_pylist()
        answered = [at for at, identity in enumerate(of) if any(identity in answers for answers in firsts.values())]
        if answered:
            _add(found, batch.take(bucketed.arrow().array(answered)), firsts, f"{name}, from row {first} on")
    if not found.rows:
        raise ValueError(
            f"no prompt has a human answer and one of every model{''.join(f'; {x}' for x in found.lines())}"
        )
    return found


@dataclass(frozen=True)
class _First:
    text: str
    prompt: bytes | None
    human: bytes | None
    where: str


def _opened(records: Any) -> list[bucketed.Rows]:
    """Open all splits there are."""
    if is_arrow(records) or is_dataset(records):
        opened = [bucketed.open_rows("records", records)]
    else:
        given = [records] if isinstance(records, (str, os.PathLike)) else records
        paths = local_inputs([os.fspath(path) for path in given])
        folders = [path for path in paths if Path(path).is_dir()]
        files = [path for path in paths if path not in folders]  # they have no splits
        opened = [bucketed.open_rows("records", folders, split) for split in _SPLITS if _has(folders, split)]
        if files or not opened:
            opened.append(bucketed.open_rows("records", files or folders))
    for rows in opened:
        rows.require("records", *_COLUMNS, hint="; polyalign bucket makes them")
    return opened


def _has(records: Any, split: str) -> bool:
    """Whether there are rows of a split."""
    try:
        return bool(records) and bool(bucketed.open_rows("records", records, split).count)
    except ValueError:
        return False


def _ids_of(rows: bucketed.Rows) -> list[str | None]:
    return [each for _, _, batch in rows.batches(["id"]) for each in bucketed.ids("records", batch["id"]).to_pylist()]


def _firsts(
    model: str, samples: bucketed.Samples, known: Mapping[str | None, int], found: Rows, empty: bool
) -> dict[str | None, _First]:
    """Return a model's first answer to each record."""
    for reject in samples.first_rejects:
        kind = reject["kind"]
        found.leave(f"answers rejected ({kind})", place(reject), samples.rejected_by_kind[kind])
    found.unreadable += samples.unreadable
    texts = _core.answers([text or "" for text in samples.responses.text.to_pylist()])
    prompts, humans = samples.prompts.to_pylist(), samples.references.to_pylist()
    answers: dict[str | None, _First] = {}
    for at, (identity, text) in enumerate(zip(samples.ids.to_pylist(), texts, strict=True)):
        where = f"{model}: {place(samples.place(at))}"
        if known.get(identity, 0) != 1 or identity is None:
            found.leave("answers with the id of no record" if not known.get(identity) else
                        "answers with the id of several records", where)  # fmt: skip
        elif identity in answers:
            found.leave("further answers to a prompt", where)
        elif samples.responses.several[at]:
            found.leave("answers of more than one message", where)
        elif not (empty or text.strip()):
            found.leave("empty answers", where)
        else:
            answers[identity] = _First(text.strip(), prompts[at], humans[at], where)
    return answers


def _add(found: Rows, batch: Any, firsts: Mapping[str, Mapping[str | None, _First]], where: str) -> None:
    """Add the prompts of a batch that can be used."""
    asked = bucketed.prompts("prompt", batch["prompt"])
    told = bucketed.texts("completion", batch["completion"]).text.to_pylist()
    humans = _core.answers([text or "" for text in told])
    ids, buckets = bucketed.ids("records", batch["id"]).to_pylist(), batch["bucket"].to_pylist()
    keys = bucketed.prompt_keys(asked)
    rows = zip(ids, buckets, asked.to_pylist(), keys, told, humans, strict=True)
    for identity, bucket, prompt, key, whole, human in rows:
        answers = {model: of.get(identity) for model, of in firsts.items()}
        there = {model: answer for model, answer in answers.items() if answer is not None}
        unlike = [answer for answer in there.values() if answer.prompt not in (None, key)]
        other = [answer for answer in there.values() if answer.human not in (None, bucketed.text_key(whole))]
        if not bucket or not prompt or not human.strip():
            found.leave("records without a bucket, a prompt or an answer", f"{where}: {identity}")
        elif unlike:
            found.leave("answers to another prompt than the record's", unlike[0].where)
        elif other:
            found.leave("answers that name another human answer than the record's", other[0].where)
        elif len(there) < len(firsts):
            missing = next(model for model in firsts if model not in there)
            found.leave("prompts without an answer of every model", f"{identity} has none of {missing}")
        else:
            texts = {model: answer.text for model, answer in there.items()}
            found.rows.append(Beside(str(identity), bucket, _messages(prompt), human.strip(), texts))


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


def rank(seed: int, *names: str) -> bytes:
    """Return a hash to sort and to draw by."""
    spelt = "\0".join((str(seed), *names))
    return hashlib.blake2b(spelt.encode("utf-8", "surrogatepass"), digest_size=16).digest()
