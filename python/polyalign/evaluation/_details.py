"""What a report shows beside the numbers: distributions, over-used phrases, single answers, a map."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign._text.words import shortened
from polyalign.evaluation._distributions import distributions
from polyalign.evaluation.metrics import overused

if TYPE_CHECKING:
    from polyalign.evaluation._result import Numbers
    from polyalign.evaluation._work import Measured, Work

__all__ = ["details"]

#: How many phrases and characters of texts a page has room for.
_PHRASES, _PHRASES_OF, _CHARACTERS = 40, 30, 1_000_000
_WORST = 2
_REASONS = 4
_LONGEST, _SHORTEST = 700, 160


def details(numbers: Numbers, work: Work, found: Sequence[Measured]) -> dict[str, Any]:
    """Return what a page shows of models, as plain data."""
    order = _order(numbers)
    return {
        "histograms": distributions(order, work, found),
        "phrases": _phrases(order, work, found),
        "answers": _answers(order, work, found),
    }


def _order(numbers: Numbers) -> list[str]:
    """Return the buckets with numbers, those with alerts first."""
    alerted = dict.fromkeys(alert.bucket for alert in numbers.alerts)
    judged = dict.fromkeys(bucket for model in numbers.models for bucket in model.buckets)
    return [*alerted, *(bucket for bucket in sorted(judged) if bucket not in alerted)]


# -------------------------------------------------------------------------------------------------- phrases


def _phrases(order: Sequence[str], work: Work, found: Sequence[Measured]) -> list[dict[str, Any]]:
    """Return what each model over-uses: in each language, and in the buckets that are furthest off."""
    told = []
    for one in found:
        by_language: dict[str, list[int]] = defaultdict(list)
        for at in one.places.values():
            by_language[work.languages[int(one.model.of[at[0]])]].extend(at.tolist())
        for language, rows in sorted(by_language.items()):
            told.append(_over(one, work, (language, None), rows, [], most=_PHRASES))
        for bucket in [bucket for bucket in order if bucket in one.cells][:_PHRASES_OF]:
            rows = one.places[bucket].tolist()
            where, more = (work.languages[int(one.model.of[rows[0]])], bucket), work.more.get(bucket)
            told.append(_over(one, work, where, rows, [] if more is None else more.tolist(), most=8))
    return [each for each in told if each["phrases"]]


def _over(
    one: Measured, work: Work, where: tuple[str, str | None], rows: list[int], more: list[int], *, most: int
) -> dict[str, Any]:
    """Return what some answers over-use, against the humans' to the same prompts and further ones."""
    language, bucket = where
    texts, humans = one.side.texts, work.humans.texts
    against = [humans[row] for row in (*one.model.of[rows].tolist(), *more)]
    phrases = overused([texts[at] for at in rows], against, language, most=most, order="log_odds", threads=work.threads)
    return {
        "model": one.model.name,
        "language": language,
        "bucket": bucket,
        "phrases": [
            {
                "text": phrase.text,
                "model": phrase.rates[0],
                "humans": phrase.rates[1],
                "log_odds": round(phrase.log_odds, 3),
                "p": float(f"{phrase.p:.2g}"),
                "examples": list(phrase.examples[: 2 if bucket is None else 1]),
            }
            for phrase in phrases
        ],
    }


# -------------------------------------------------------------------------------------------------- answers


def _answers(order: Sequence[str], work: Work, found: Sequence[Measured]) -> list[dict[str, Any]]:
    """Return the answers furthest from humans, and one in the middle, beside the human's, with the reasons."""
    places = [(one, bucket) for bucket in order for one in found if bucket in one.cells]
    each = _CHARACTERS // max(1, len(places)) // (3 * (_WORST + 1))
    longest, worst = max(_SHORTEST, min(_LONGEST, each)), _WORST if each >= _SHORTEST else 1
    fits = max(1, _CHARACTERS // (3 * (worst + 1) * longest))
    told = []
    for one, bucket in places[:fits]:
        at = one.places[bucket]
        far = np.where(np.isnan(one.far[at]), 9.0, one.far[at])
        ranked = np.lexsort((np.arange(len(at)), -far)).tolist()
        for kind, place in [*(("worst", place) for place in ranked[:worst]), ("median", ranked[len(ranked) // 2])]:
            told.append(_answer(kind, int(at[place]), one, work, longest))
    return told


def _answer(kind: str, at: int, one: Measured, work: Work, longest: int) -> dict[str, Any]:
    row, text = int(one.model.of[at]), one.side.texts[at]
    bucket = work.humans.buckets[row]
    reasons: list[list[Any]] = []
    percentile = None
    if text.strip():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            why = work.reference.explain(text, bucket, most=_REASONS, threads=work.threads)
        reasons = [[each.feature, each.value, each.low, each.high] for each in why.outside]
        percentile = why.percentile
    prompt = work.humans.prompts[row]
    asked = prompt if isinstance(prompt, str) else prompt[-1]["content"] or ""
    return {
        "model": one.model.name,
        "bucket": bucket,
        "kind": kind,
        "id": work.humans.ids[row],
        "prompt": shortened(asked, longest),
        "answer": shortened(text, longest),
        "human": shortened(work.humans.texts[row], longest),
        "percentile": percentile,
        "reasons": [[name, *(_plain(value) for value in values)] for name, *values in reasons],
    }


def _plain(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None
