"""Files through critics: scores as lines, and critics side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from polyalign._io import bucketed, json_text
from polyalign._text.words import place
from polyalign.critics._compare import Comparison, compare
from polyalign.critics._protocol import ask_both
from polyalign.critics._train import Humans, Sampled, Skipped, read_humans, read_samples

if TYPE_CHECKING:
    from polyalign.critics._protocol import Critic

_CHUNK = 10_000
_SPLITS = ("test", "train")


def score_files(
    critic: Critic, responses: Any, humans: Any, out: TextIO, *, threads: int | None = None
) -> dict[str, Any]:
    """Write a line for each response: id, bucket, score, percentile; return what was counted."""
    samples = bucketed.open_samples(responses, bucketed.Reading(threads=threads), None)
    targets, skipped = _targets(critic, humans, set(samples.ids.to_pylist())), Skipped()
    skipped.add_rejects("responses", samples)
    told = {"rows": len(samples), "scored": 0, "unscored": 0, "unmatched": 0}
    for rows in _chunks(samples, targets, told, skipped):
        buckets = [targets[samples.ids[row].as_py()][0] for row in rows]
        prompts = [targets[samples.ids[row].as_py()][1] for row in rows]
        texts = [samples.responses.text[row].as_py() or "" for row in rows]
        scores, shares = ask_both(critic, texts, buckets, prompts)
        if shares is None:
            shares = np.full(len(rows), np.nan, dtype=np.float32)
        missing = int(np.isnan(scores).sum())
        told["scored"] += len(rows) - missing
        told["unscored"] += missing
        for row, bucket, score, share in zip(rows, buckets, scores.tolist(), shares.tolist(), strict=True):
            line = {
                "id": samples.ids[row].as_py(),
                "bucket": bucket,
                "score": _number(score),
                "percentile": _number(share),
            }
            out.write(json_text.one_line(line) + "\n")
    return {**told, "skipped": skipped.lines(), "unreadable": list(samples.unreadable)}


def _targets(critic: Critic, humans: Any, ids: set[str]) -> dict[str, tuple[str, Any]]:
    """Return the buckets and prompts of the humans with these ids."""
    found: dict[str, tuple[str, Any]] = {}
    splits = [split for split in _SPLITS if _has(humans, split)]
    opened = [bucketed.open_rows("records", humans, split) for split in splits or ["train"]]
    for rows in opened:
        rows.require("records", "id", "bucket", "prompt")
        _check_fits(critic, rows)
    for _, _, batch in chain.from_iterable(rows.batches(("id", "bucket", "prompt")) for rows in opened):
        of = bucketed.ids("records", batch["id"]).to_pylist()
        wanted = [at for at, identity in enumerate(of) if identity in ids]
        if not wanted:
            continue
        part = batch.take(bucketed.arrow().array(wanted))
        for at, bucket, prompt in zip(wanted, part["bucket"].to_pylist(), part["prompt"].to_pylist(), strict=True):
            found.setdefault(of[at], (bucket, prompt))
    return found


def _check_fits(critic: Critic, rows: bucketed.Rows) -> None:
    """Refuse a critic whose buckets are others than those of the rows."""
    if rows.bucketed is not None:
        rows.bucketed.check_fits(critic)


def _has(humans: Any, split: str) -> bool:
    """Whether there are rows of a split."""
    try:
        return bool(bucketed.open_rows("records", humans, split).count)
    except ValueError:
        return False


def _chunks(
    samples: bucketed.Samples, targets: Mapping[str, Any], told: dict[str, int], skipped: Skipped
) -> Iterator[list[int]]:
    waiting: list[int] = []
    for row, identity in enumerate(samples.ids.to_pylist()):
        if identity not in targets:
            told["unmatched"] += 1
            skipped.add("responses with the id of no human response", place(samples.place(row)))
            continue
        waiting.append(row)
        if len(waiting) == _CHUNK:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)


def compare_files(
    critics: Mapping[str, Critic],
    records: Any,
    samples: Any = None,
    older: Any = None,
    *,
    split: str | None = None,
    steps: int = 0,
    limit: int = 2000,
    seed: int = 0,
    progress: bool = False,
) -> tuple[Comparison, list[str]]:
    """Compare critics on human responses, those with samples first; return that, and what was not used.

    Without a split it is on the held-out rows where there are some.
    """
    skipped = Skipped()
    reading = bucketed.Reading()
    sampled = Sampled() if samples is None else read_samples(samples, reading, skipped)
    aged = Sampled() if older is None else read_samples(older, reading, skipped)
    humans = _Chosen(samples is not None, limit)
    split = split or next((split for split in _SPLITS if _has(records, split)), "train")
    rows = bucketed.open_rows("records", records, split)
    for critic in critics.values():
        _check_fits(critic, rows)
    met = read_humans(rows, sampled, humans.keep, skipped)
    skipped.add_unmet("samples", sampled, met)
    chosen = humans.rows.lowest(limit)
    if not len(chosen):
        raise ValueError(f"no human responses to compare on{' with the id of a sample' if samples else ''}{skipped}")
    olders = [aged.get(identity or "") for identity in chosen.ids] if aged else None
    given = chosen.samples if samples is not None else None
    found = compare(
        critics,
        chosen.responses,
        chosen.buckets,
        given,
        prompts=chosen.prompts,
        older=olders,
        steps=steps,
        seed=seed,
        progress=progress,
    )
    return found, skipped.lines()


class _Chosen:
    """Human responses: where there are samples, those with one."""

    def __init__(self, sampled: bool, limit: int) -> None:
        self.sampled, self.limit, self.rows = sampled, limit, Humans()

    def keep(self, row: dict[str, Any], sampled: bool) -> Humans | None:
        if len(self.rows) == 2 * self.limit:
            self.rows = self.rows.lowest(self.limit)
        return self.rows if sampled or not self.sampled else None
