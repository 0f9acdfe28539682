"""What a model's answers are like, by what trained it and by what did not."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyalign import _core
from polyalign._io import bucketed
from polyalign.critics._protocol import ask_both
from polyalign.critics.attacks import known_languages, languages_of

if TYPE_CHECKING:
    from polyalign.critics import Critic


def read_answers(file: Path) -> list[dict[str, Any]]:
    """Return the lines that ``polyalign generate`` wrote."""
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def human_answers(records: Path, split: str, answers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the humans' answers to the same prompts, in the form of a model's."""
    wanted = {line["id"]: line for line in answers}
    found: dict[str, str] = {}
    for _, _, batch in bucketed.open_rows("records", str(records), split).batches(["id", "completion"]):
        texts = bucketed.texts("completion", batch["completion"]).text.to_pylist()
        for identity, text in zip(bucketed.ids("records", batch["id"]).to_pylist(), texts, strict=True):
            if identity in wanted:
                found[identity] = text or ""
    return [{**line, "response": found[identity], "finish": "stop"} for identity, line in wanted.items()]


def has_split(records: Path, split: str) -> bool:
    """Whether there are rows of a split."""
    try:
        return bool(bucketed.open_rows("records", str(records), split).count)
    except ValueError:
        return False


def measured(answers: Sequence[dict[str, Any]], critic: Critic, held_out: Critic) -> dict[str, Any]:
    """Return what a set of answers is like, ready for JSON; None where there is no saying."""
    texts = [line["response"] for line in answers]
    asked = texts, [line["bucket"] for line in answers], [line["prompt"] for line in answers]
    scores, percentiles = _means(held_out, *asked)
    own_scores, own_percentiles = _means(critic, *asked)
    return {
        "answers": len(texts),
        "held_out_score": scores,
        "held_out_percentile": percentiles,
        "critic_score": own_scores,
        "critic_percentile": own_percentiles,
        "distinct_2": distinct_2(texts, asked[1]),
        "characters": math.fsum(map(len, _core.answers(texts))) / len(texts),
        "empty": sum(not text.strip() for text in texts),
        "cut": sum(line["finish"] == "length" for line in answers),
    }


def _means(critic: Critic, *asked: Any) -> tuple[float | None, float | None]:
    """Return the mean score and the mean percentile of those that have one."""
    scores, percentiles = ask_both(critic, *asked)
    return _mean(scores.tolist()), None if percentiles is None else _mean(percentiles.tolist())


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else None


def distinct_2(texts: Sequence[str], buckets: Sequence[str]) -> float | None:
    """Return how many of all pairs of neighbouring words are different ones; None: there is none."""
    cut = _core.cut_words([text.lower() for text in texts], known_languages(languages_of(buckets)))
    pairs = [pair for words in cut for pair in itertools.pairwise(words)]
    return len(set(pairs)) / len(pairs) if pairs else None
