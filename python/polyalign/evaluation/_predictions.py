"""Models' answers beside the humans' to the same prompts."""

from __future__ import annotations

import hashlib
import heapq
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign import _core
from polyalign._io import bucketed
from polyalign.buckets import _ids
from polyalign.evaluation._texts import joined, said
from polyalign.generation import settings_of
from polyalign.generation._run import settings_hash
from polyalign.pairs._match import Match

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign._io.manifests import Manifest

    _Indices = npt.NDArray[np.int64]

__all__ = ["Humans", "Model", "Skips", "hashed", "read"]

_LISTED = (", ", "、")
SPLITS = ("test", "train")
_COLUMNS = ("id", "bucket", "prompt", "completion", "group")


@dataclass
class Skips:
    """What is left out, by kind, with the first of each."""

    kinds: Counter[str] = field(default_factory=Counter)
    firsts: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def add(self, kind: str, count: int, place: Mapping[str, Any], reason: str | None = None) -> None:
        """Count some of a kind; the place of one is kept."""
        if count:
            self.kinds[kind] += count
            self.firsts.setdefault(kind, {"kind": kind, **place, "reason": reason or said(f"reason_{kind}")})

    def to_list(self) -> list[dict[str, Any]]:
        """Return a mapping a kind, most first: kind, count, and where the first is."""
        return [{**self.firsts[kind], "count": count} for kind, count in self.kinds.most_common()]


@dataclass(frozen=True)
class Humans:
    """Humans' answers: those that a model has an answer beside, and more of the same buckets to compare humans with."""

    ids: list[str | None]
    buckets: list[str]
    prompts: list[Any]
    texts: list[str]
    """Without reasoning."""
    groups: _Indices
    """A number a group; rows without one are each its own."""
    answered: npt.NDArray[np.bool_]
    """Whether a model has an answer beside it."""
    usable: npt.NDArray[np.bool_]
    """Whether it has a bucket, a prompt and a text."""
    rows: dict[str, int]
    """By bucket, how many humans there are in all."""
    axes: tuple[str, ...]
    made: Manifest | None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Model:
    """A model's answers."""

    name: str
    of: _Indices
    """Which human's prompt each answers; rising, answers to one prompt in their own order."""
    turn: _Indices
    """Which of the prompt's answers it is, from 0."""
    texts: list[str]
    """Without reasoning."""
    cut: npt.NDArray[np.bool_]
    settings: Mapping[str, Any] | None
    """What `polyalign generate` says that it was made with."""
    skips: Skips
    answers: int
    """How many there were in all."""
    notices: tuple[str, ...]
    """What a reader of its numbers should know."""
    unreadable: tuple[Mapping[str, Any], ...] = ()
    """The files that could not be read to their end."""

    def per_prompt(self) -> dict[int, int]:
        """Return how many prompts have how many answers."""
        counts = Counter(np.bincount(self.of).tolist()) if len(self.of) else Counter()
        return {many: counts[many] for many in sorted(counts) if many}


def read(
    predictions: Any,
    records: Any,
    *,
    pool: int = 500,
    reading: bucketed.Reading | None = None,
) -> tuple[Humans, list[Model]]:
    """Read models' answers, and humans' of the same ids.

    Parameters
    ----------
    predictions : str, PathLike, Arrow table, data set, sequence or mapping of them
        One a model; a mapping names them, else files are named after themselves.
    records : as of `bucketed.open_rows`
        Bucketed humans: all their splits.
    pool : int
        How many further humans of each bucket, those whose ids have the lowest hashes.

    Raises
    ------
    ImportError
        pyarrow is missing.
    ValueError
        Nothing fits, or two models have one name.
    """
    bucketed.arrow("holding answers against humans' needs")
    given = _named(predictions)
    opened = _opened(records)
    ids, buckets = _ids_of(opened)
    met = {name: bucketed.open_samples(source, reading or bucketed.Reading(), None) for name, source in given.items()}
    matches = {name: Match.of(ids, samples.ids) for name, samples in met.items()}
    chosen = _chosen(ids, buckets, matches.values(), pool)
    humans, unfit = _humans(opened, chosen, buckets)
    models = [
        _model((name, _settings(given[name])), met[name], matches[name], chosen.at, _Asked(humans, unfit))
        for name in given
    ]
    for model in models:
        if not len(model.of):
            why = "; ".join(map(_line, model.skips.to_list())) or "there are no answers"
            raise ValueError(f"{model.name}: no answer fits a human one: {why}")
    return humans, models


def _line(skip: Mapping[str, Any]) -> str:
    return f"{skip['count']:,} for {skip['kind']}: {skip['reason']}"


def _named(predictions: Any) -> dict[str, Any]:
    """Return the sources by the names of their models."""
    if isinstance(predictions, Mapping):
        found = {str(name): source for name, source in predictions.items()}
        if not found:
            raise ValueError("predictions is empty: name at least one file")
        return found
    if isinstance(predictions, (str, os.PathLike)) or not isinstance(predictions, Sequence):
        predictions = [predictions]
    if not predictions:
        raise ValueError("predictions is empty: name at least one file")
    found = {}
    for at, source in enumerate(predictions, 1):
        is_path = isinstance(source, (str, os.PathLike))
        name = _name_of(os.fspath(source)) if is_path else f"model {at}"
        if name in found:
            of = os.fspath(source) if is_path else name
            name = f"{Path(of).parent.name}/{name}" if is_path and Path(of).parent.name else name
        if name in found:
            raise ValueError(f"two models are called {name!r}: name them, as in {name}-2=FILE or a mapping")
        found[name] = source
    return found


def named_file(given: str) -> tuple[str, str]:
    """Return what a model is called, and its file: of ``NAME=FILE``, or of a file, which names it after itself.

    Examples
    --------
    >>> named_file("ours=run=2/samples.jsonl"), named_file("out/sft.v2.jsonl.zst")
    (('ours', 'run=2/samples.jsonl'), ('sft.v2', 'out/sft.v2.jsonl.zst'))
    """
    name, _, path = given.partition("=") if not Path(given).exists() else (given, "", "")
    return (name or _name_of(path), path) if path else (_name_of(given), given)


def _name_of(path: str) -> str:
    name = Path(path).name
    while Path(name).suffix in {".jsonl", ".json", ".ndjson", ".parquet", ".zst", ".gz"}:
        name = Path(name).stem
    return name or path


def _opened(records: Any) -> list[bucketed.Rows]:
    """Open all splits of the humans."""
    found: list[bucketed.Rows] = []
    for split in SPLITS:
        # Folders alone have splits.
        source = records if split == SPLITS[1] else _folders(records)
        if not source:
            continue
        try:
            rows = bucketed.open_rows("records", source, split)
        except ValueError:
            if split == SPLITS[0] or found:  # nothing is held out, or all of it is
                continue
            raise
        rows.require("records", "id", "prompt", "completion")
        rows.require("records", "bucket", hint="; polyalign bucket makes it")
        found.append(rows)
    return found


def _folders(records: Any) -> list[str]:
    paths = [records] if isinstance(records, (str, os.PathLike)) else records
    if not isinstance(paths, (list, tuple)):
        return []
    return [os.fspath(path) for path in paths if isinstance(path, (str, os.PathLike)) and Path(path).is_dir()]


def _ids_of(opened: Sequence[bucketed.Rows]) -> tuple[Any, list[str | None]]:
    pa = bucketed.arrow()
    ids: list[Any] = [pa.array([], pa.large_string())]
    buckets: list[str | None] = []
    for _, _, batch in chain.from_iterable(rows.batches(["id", "bucket"]) for rows in opened):
        ids.append(bucketed.ids("records", batch["id"]).cast(pa.large_string()))
        buckets += bucketed.texts("bucket", batch["bucket"]).text.to_pylist()
    return pa.concat_arrays(ids), buckets


@dataclass(frozen=True)
class _Chosen:
    """Which records are read: their numbers, rising."""

    at: list[int]
    answered: npt.NDArray[np.bool_]


def hashed(name: str) -> bytes:
    """Return what rows are put in order by, whatever order they came in."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _chosen(ids: Any, buckets: Sequence[str | None], matches: Any, pool: int) -> _Chosen:
    answered = np.zeros(len(buckets), dtype=bool)
    for match in matches:
        answered |= (match.sample_count > 0)[match.records] & (match.record_count == 1)[match.records]
    more: dict[str | None, list[tuple[bytes, int]]] = defaultdict(list)
    wanted = {buckets[at] for at in np.flatnonzero(answered).tolist()}
    names = ids.to_pylist()
    for at in np.flatnonzero(~answered).tolist():
        if buckets[at] in wanted:
            more[buckets[at]].append((hashed(names[at] or str(at)), at))
    drawn = [at for rows in more.values() for _, at in heapq.nsmallest(pool, rows)]
    chosen = sorted([*np.flatnonzero(answered).tolist(), *drawn])
    return _Chosen(chosen, answered[chosen])


def _humans(
    opened: Sequence[bucketed.Rows], chosen: _Chosen, buckets: Sequence[str | None]
) -> tuple[Humans, dict[int, str]]:
    """Read the chosen humans; return, too, which of them nothing is compared with, and why."""
    ids: list[str | None] = []
    prompts: list[Any] = []
    texts: list[str] = []
    groups: list[Any] = []
    unfit: dict[int, str] = {}
    for batch in _taken(opened, chosen.at):
        first, answer = len(ids), bucketed.texts("completion", batch["completion"])
        ids += bucketed.ids("records", batch["id"]).to_pylist()
        prompts += bucketed.prompts("prompt", batch["prompt"]).to_pylist()
        texts += _core.answers([text or "" for text in answer.text.to_pylist()])
        groups += batch["group"].to_pylist() if "group" in batch.schema.names else [None] * len(batch)
        unfit.update(dict.fromkeys((first + np.flatnonzero(answer.several)).tolist(), "several_messages"))
    for row, (at, prompt, text) in enumerate(zip(chosen.at, prompts, texts, strict=True)):
        if not buckets[at]:
            unfit[row] = "no_bucket"
        elif not prompt:
            unfit[row] = "no_prompt"
        elif not text.strip():
            unfit.setdefault(row, "empty_human")
    named = [buckets[at] or "" for at in chosen.at]
    made = opened[0].bucketed
    axes = made.schema.axes if made is not None and made.schema is not None else None
    widths = Counter(len(_ids.split(name)) for name in named)
    parts = widths.most_common(1)[0][0] if widths else len(_ids.DEFAULT_AXES)
    usual = _ids.DEFAULT_AXES if parts == len(_ids.DEFAULT_AXES) else [f"axis {n}" for n in range(1, parts + 1)]
    humans = Humans(
        ids,
        named,
        prompts,
        texts,
        _numbered(groups, ids),
        chosen.answered,
        np.array([row not in unfit for row in range(len(ids))], dtype=bool),
        dict(Counter(bucket for bucket in buckets if bucket)),
        tuple(map(str, axes or usual)),
        made,
    )
    return humans, unfit


def _taken(opened: Sequence[bucketed.Rows], chosen: Sequence[int]) -> Iterator[Any]:
    """Give batches of the rows of these numbers."""
    start, numbers = 0, np.array(chosen, dtype=np.int64)
    for _, _, batch in chain.from_iterable(rows.batches(_COLUMNS) for rows in opened):
        low, high = np.searchsorted(numbers, [start, start + len(batch)])
        if low < high:
            yield batch.take(bucketed.arrow().array(numbers[low:high] - start))
        start += len(batch)


def _numbered(groups: Sequence[Any], ids: Sequence[str | None]) -> _Indices:
    """Return a number a group, the same whatever the order of rows; a row without one is its own."""
    keys = [
        ("row", identity or str(at)) if group is None else ("group", str(group))
        for at, (group, identity) in enumerate(zip(groups, ids, strict=True))
    ]
    number = {key: at for at, key in enumerate(sorted(set(keys), key=lambda key: (hashed(key[1]), key)))}
    return np.array([number[key] for key in keys], dtype=np.int64)


@dataclass(frozen=True)
class _Asked:
    """The humans that were read, and of which of them nothing can be compared with."""

    humans: Humans
    unfit: Mapping[int, str]


def _settings(source: Any) -> Mapping[str, Any] | None:
    return settings_of(source) if isinstance(source, (str, os.PathLike)) else None


def _model(
    named: tuple[str, Mapping[str, Any] | None],
    samples: bucketed.Samples,
    match: Match,
    chosen: Sequence[int],
    asked: _Asked,
) -> Model:
    skips = Skips()
    for reject in samples.first_rejects:
        kind = reject["kind"]
        skips.add(kind, samples.rejected_by_kind[kind], reject, said(f"reason_{kind}", reason=reject["reason"]))
    records = match.record_count[match.samples] if len(samples) else np.zeros(0, dtype=np.int64)
    for kind, mask in (("unknown_id", records == 0), ("duplicate_id", records > 1)):
        at = np.flatnonzero(mask)
        if len(at):
            skips.add(kind, len(at), samples.place(int(at[0])))
    row_of = np.full(int(match.records.max(initial=-1)) + 1, -1, dtype=np.int64)
    row_of[match.records[chosen]] = np.arange(len(chosen))
    fits = np.flatnonzero(records == 1)
    of = row_of[match.samples[fits]]
    order = np.argsort(of, kind="stable")
    fits, of = fits[order], of[order]
    kept = _fitting(fits, of, samples, asked, skips)
    fits, of = fits[kept], of[kept]
    turn = np.arange(len(of)) - np.searchsorted(of, of) if len(of) else of
    told = samples.responses.text.take(bucketed.arrow().array(fits)).to_pylist()
    return Model(
        name=named[0],
        of=of,
        turn=turn,
        texts=_core.answers([text or "" for text in told]),
        cut=samples.cut[fits],
        settings=None if _of_others(named[1], samples) else named[1],
        skips=skips,
        answers=len(samples) + sum(samples.rejected_by_kind.values()),
        notices=_notices(named[1], samples, turn, of),
        unreadable=tuple(samples.unreadable),
    )


def _fitting(fits: _Indices, of: _Indices, samples: bucketed.Samples, asked: _Asked, skips: Skips) -> list[int]:
    """Return which of the answers can be compared; the others are counted."""
    keys: dict[int, bytes | None] = {}
    kept = []
    for at, (sample, row) in enumerate(zip(fits.tolist(), of.tolist(), strict=True)):
        kind = asked.unfit.get(row)
        if kind is None and samples.responses.several[sample]:
            kind = "several_messages"
        prompt, human = samples.prompts[sample].as_py(), samples.references[sample].as_py()
        if kind is None and prompt is not None:
            if row not in keys:
                keys[row] = _prompt_key(asked.humans.prompts[row])
            kind = "prompt_mismatch" if keys[row] != prompt else None
        if kind is None and human is not None and human != bucketed.text_key(asked.humans.texts[row]):
            kind = "reference_mismatch"
        if kind is None:
            kept.append(at)
        else:
            skips.add(kind, 1, samples.place(sample))
    return kept


def _prompt_key(prompt: Any) -> bytes | None:
    if isinstance(prompt, str):
        return bucketed.text_key("user", prompt)
    return bucketed.text_key(*(part for message in prompt for part in (message["role"], message["content"])))


def _of_others(settings: Mapping[str, Any] | None, samples: bucketed.Samples) -> bool:
    """Return whether the settings that stand beside a file are of none of its answers."""
    return settings is not None and bool(samples.settings) and settings_hash(dict(settings)) not in samples.settings


def _notices(
    settings: Mapping[str, Any] | None, samples: bucketed.Samples, turn: _Indices, of: _Indices
) -> tuple[str, ...]:
    """Say what a reader of a model's numbers should know."""
    found: list[str] = []
    if _of_others(settings, samples):
        found.append(said("other_settings"))
    untold = len(samples) - sum(samples.settings.values())
    of_settings = {**samples.settings, **({"–": untold} if untold and samples.settings else {})}
    if len(of_settings) > 1:
        names = (said("count", name=name, n=count) for name, count in sorted(of_settings.items()))
        found.append(said("several_settings", names=joined(names, _LISTED)))
    counts = Counter(np.bincount(of).tolist()) if len(of) else Counter()
    counts.pop(0, None)
    if len(counts) > 1:
        told = (said("count_prompts", many=many, n=counts[many]) for many in sorted(counts))
        found.append(said("unlike_counts", counts=joined(told, _LISTED)))
    if samples.unreadable:
        found.append(said("unreadable", n=len(samples.unreadable)))
    return tuple(found)
