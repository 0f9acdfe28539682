"""What a report shows beside the numbers: distributions, over-used phrases, single answers, a map."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign._io import bucketed
from polyalign._text.words import shortened
from polyalign.evaluation.metrics import overused
from polyalign.reference import Reference

if TYPE_CHECKING:
    from polyalign.evaluation._result import Numbers
    from polyalign.evaluation._work import Measured, Work

__all__ = ["details"]

#: How many histograms, phrases and characters of texts a page has room for.
_CELLS, _PHRASES, _PHRASES_OF, _CHARACTERS = 20_000, 40, 30, 1_000_000
_WORST = 2
_REASONS = 4
_LONGEST, _SHORTEST = 700, 160


def details(numbers: Numbers, work: Work, found: Sequence[Measured]) -> dict[str, Any]:
    """Return what a page shows of models, as plain data."""
    order = _order(numbers)
    return {
        "histograms": _histograms(order, work, found),
        "phrases": _phrases(order, work, found),
        "answers": _answers(order, work, found),
    }


def _order(numbers: Numbers) -> list[str]:
    """Return the buckets with numbers, those with alerts first."""
    alerted = dict.fromkeys(alert.bucket for alert in numbers.alerts)
    judged = dict.fromkeys(bucket for model in numbers.models for bucket in model.buckets)
    return [*alerted, *(bucket for bucket in sorted(judged) if bucket not in alerted)]


# ---------------------------------------------------------------------------------------------- distributions


def _histograms(order: Sequence[str], work: Work, found: Sequence[Measured]) -> dict[str, Any]:
    """Return the features in every bucket, of humans and of each model, as a reference's page has them."""
    pages = [work.reference._page(), *(_page_of(one, work) for one in found)]
    features = {feature["name"]: feature for feature in pages[0]["features"]}
    sides = [{bucket["bucket"]: bucket for bucket in page["buckets"]} for page in pages]
    buckets = sorted(bucket for bucket in order if bucket in sides[0])
    most = max(1, _CELLS // max(1, len(buckets) * len(sides)))
    names = _telling(features, buckets, sides)[:most]
    empty = {"parts": [], "rows": 0, "backed_off": 0, "features": {}}
    return {
        "features": [features[name] for name in features if name in names],
        "all_features": len(features),
        "sides": [
            [
                {**side.get(bucket, empty), "bucket": bucket, "parts": sides[0][bucket]["parts"]}
                for bucket in buckets
            ]
            for side in sides
        ],
    }  # fmt: skip


def _page_of(one: Measured, work: Work) -> dict[str, Any]:
    """Describe the first answers of a model as a reference is described."""
    pa = bucketed.arrow()
    at = [at for at in np.flatnonzero(one.model.turn == 0).tolist() if one.side.texts[at].strip()]
    if not at:
        return {"features": [], "buckets": []}
    of = [int(one.model.of[each]) for each in at]
    table = pa.table(
        {
            "prompt": [work.messages(row) for row in of],
            "completion": [[{"role": "assistant", "content": one.side.texts[each]}] for each in at],
            "bucket": [work.humans.buckets[row] for row in of],
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return Reference.from_arrow(table, schema=work.reference.schema)._page()


def _telling(
    features: Mapping[str, Mapping[str, Any]], buckets: Sequence[str], sides: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return the features, those that tell models from humans most first; the number of words leads."""
    apart: dict[str, float] = defaultdict(float)
    for bucket in buckets:
        humans = sides[0][bucket]["features"]
        for side in sides[1:]:
            for name, cell in side.get(bucket, {"features": {}})["features"].items():
                own = humans.get(name)
                if own and own["count"] and cell["count"]:
                    scale = max(own["std"], float(features[name]["scale"]))
                    apart[name] += min(5.0, abs(cell["mean"] - own["mean"]) / scale)
    return sorted(features, key=lambda name: (name != "word_count", -apart[name], name))


# -------------------------------------------------------------------------------------------------- phrases


def _phrases(order: Sequence[str], work: Work, found: Sequence[Measured]) -> list[dict[str, Any]]:
    """Return what each model over-uses: in each language, and in the buckets that are furthest off."""
    told = []
    for one in found:
        rows = [int(row) for row in one.model.of[one.model.turn == 0].tolist()]
        texts = [one.side.texts[at] for at in np.flatnonzero(one.model.turn == 0).tolist()]
        of = [(work.languages[row], work.humans.buckets[row]) for row in rows]
        people = [work.humans.texts[row] for row in rows]
        for language in sorted({language for language, _ in of}):
            mine = [at for at, (own, _) in enumerate(of) if own == language]
            humans = [people[at] for at in mine]
            told.append(_over(one, (language, None), [texts[at] for at in mine], humans, _PHRASES))
        for bucket in [bucket for bucket in order if bucket in one.cells][:_PHRASES_OF]:
            mine = [at for at, (_, own) in enumerate(of) if own == bucket]
            more = work.more.get(bucket, np.zeros(0, dtype=np.int64)).tolist()
            humans = [*(people[at] for at in mine), *(work.humans.texts[row] for row in more)]
            told.append(_over(one, (of[mine[0]][0], bucket), [texts[at] for at in mine], humans, 8))
    return [each for each in told if each["phrases"]]


def _over(
    one: Measured, where: tuple[str, str | None], texts: list[str], humans: list[str], most: int
) -> dict[str, Any]:
    language, bucket = where
    phrases = overused(texts, humans, language, most=most)
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
        texts = [one.side.texts[row] for row in at.tolist()]
        far = work.reference.support_distance(texts, [bucket] * len(texts), threads=work.threads, warn=False)
        far = np.where(np.isnan(far), 9.0, far)
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
