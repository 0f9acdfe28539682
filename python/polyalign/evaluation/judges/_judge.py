"""A language model as a judge: scores by a rubric, choices in both orders, and what biases it shows."""

from __future__ import annotations

import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign._io import json_text
from polyalign.evaluation._beside import HUMAN, Beside, digest
from polyalign.evaluation._statistics import not_enough
from polyalign.evaluation._summaries import mean_of, rate_of, rounded
from polyalign.evaluation.human._agreement import alphas, coincidences
from polyalign.evaluation.judges._ask import Choice, Scores, pair_messages, read_choice, read_scores, score_messages
from polyalign.evaluation.judges._asking import Asker, Unjudged
from polyalign.evaluation.judges._rubric import HIGH, OVERALL, Rubric
from polyalign.evaluation.metrics import resampled_sums

if TYPE_CHECKING:
    from polyalign.evaluation._arrays import Floats

__all__ = ["CRITERION", "Judged", "agreement", "judge_pairs", "judge_scores", "read_judged"]

CRITERION = "Which of the two is more likely to have been written by a person in this conversation?"
_TIE = 0.5
#: Of rank correlations, and of what has many values.
_DRAWS = 500


@dataclass
class Judged:
    """Judgements, one a line, and what they come to.

    Attributes
    ----------
    lines : list of dict
        In the order of the prompts. Scores: ``id``, ``bucket``, ``source``, ``judge``, ``answer`` (a hash of it),
        ``scores``, ``flags``, ``totals``, ``reason``; pairs: ``id``, ``bucket``, ``model``, ``against``, ``judge``,
        ``answer``, ``chosen`` in both orders, ``value``. One that could not be had has ``unjudged`` with its kind and
        reason, and no number.
    summary : dict
        By source or model what they come to; biases; what could not be judged; what was spent.
    """

    lines: list[dict[str, Any]]
    summary: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the summary as JSON."""
        return json_text.indented(self.summary)


# ---------------------------------------------------------------------------------------------------------- scores


def judge_scores(
    asker: Asker,
    rubric: Rubric,
    rows: Sequence[Beside],
    models: Sequence[str],
    *,
    judge: str,
    humans: bool = False,
    min_count: int = 20,
    seed: int = 0,
) -> Judged:
    """Score answers by a rubric.

    Parameters
    ----------
    asker : Asker
    rubric : Rubric
    rows : sequence of Beside
        Prompts with the human's answer, which the judge sees too, and every model's.
    models : sequence of str
        Whose answers are scored.
    judge : str
        What the judge is called in the lines.
    humans : bool, default False
        Score the humans' answers as well. Beside themselves they agree with the reference by construction.
    min_count : int, default 20
        With fewer prompts a mean is not given.
    seed : int, default 0
        Of intervals.
    """
    sources = [*((HUMAN,) if humans else ()), *models]
    tasks = [(row, source, row.human if source == HUMAN else row.answers[source]) for row in rows for source in sources]
    knows_empty = any(cap.id == "empty" for cap in rubric.caps)
    asked = [answer != "" or not knows_empty for _, _, answer in tasks]
    questions = [
        score_messages(rubric, row.prompt, row.human, answer)
        for (row, _, answer), ask in zip(tasks, asked, strict=True)
        if ask
    ]
    told = iter(asker.judge(questions, lambda reply: read_scores(rubric, reply)))
    lines = []
    for (row, source, answer), ask in zip(tasks, asked, strict=True):
        scores = next(told) if ask else None
        line: dict[str, Any] = {"id": row.id, "bucket": row.bucket, "source": source, "judge": judge}
        line["answer"] = digest(answer)
        if scores is None:  # nothing to ask about: the cap says what it comes to
            best = {dimension.id: float(HIGH) for dimension in rubric.dimensions}
            flags = {cap.id: cap.id == "empty" for cap in rubric.caps}
            line |= {"flags": flags, "totals": rubric.totals(best, flags), "characters": 0}
        elif isinstance(scores, Scores):
            line |= {"scores": scores.scores, "flags": scores.flags, "reason": scores.reason}
            line |= {"totals": rubric.totals(scores.scores, scores.flags), "characters": len(answer)}
        else:
            line["unjudged"] = _unjudged(scores)
        lines.append(line)
    names = list(rubric.composites)
    summary = {
        "judge": judge,
        "models": {source: _totals(lines, source, names, min_count, seed) for source in sources},
        "buckets": {
            bucket: {source: _totals(of, source, names, min_count, seed) for source in sources}
            for bucket, of in sorted(_by(lines, "bucket").items())
        },
        "length": {source: _length(lines, source, min_count, seed) for source in sources},
        "unjudged": _count_unjudged(lines),
        "usage": asdict(asker.usage),
    }
    return Judged(lines, summary)


def _unjudged(told: Any) -> dict[str, str]:
    assert isinstance(told, Unjudged)
    return {name: value for name, value in asdict(told).items() if value}


def _by(lines: Sequence[Mapping[str, Any]], name: str) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for line in lines:
        found[line[name]].append(line)
    return found


def _totals(
    lines: Sequence[Mapping[str, Any]], source: str, names: Sequence[str], min_count: int, seed: int
) -> dict[str, Any]:
    """Return the means of totals and of dimensions, how often each flag was raised, and how many were not judged."""
    of = [line for line in lines if line["source"] == source]
    judged = [line for line in of if "totals" in line]
    dimensions = next((list(line["scores"]) for line in judged if "scores" in line), [])
    flags = list(judged[0]["flags"]) if judged else []

    def values(kind: str, name: str) -> dict[str, list[float]]:
        return {line["id"]: [float(line[kind][name])] for line in judged if kind in line}

    return {
        "totals": {name: mean_of(values("totals", name), min_count, seed) for name in names},
        "dimensions": {name: mean_of(values("scores", name), min_count, seed) for name in dimensions},
        "flags": {name: rate_of(values("flags", name), min_count) for name in flags},
        "answers": len(of),
        "unjudged": len(of) - len(judged),
    }


def _length(lines: Sequence[Mapping[str, Any]], source: str, min_count: int, seed: int) -> dict[str, Any]:
    """Return the rank correlation of a judge's total with the length of the answer."""
    of = sorted(
        (line["id"], line["characters"], line["totals"][OVERALL])
        for line in lines
        if line["source"] == source and "scores" in line
    )
    told: dict[str, Any] = {"spearman": None, "low": None, "high": None, "answers": len(of)}
    if len(of) < max(3, min_count):
        return {**told, "reason": not_enough(len(of), max(3, min_count))}
    lengths, totals = (np.array(column, dtype=np.float64) for column in list(zip(*of, strict=True))[1:])
    value = spearman(lengths, totals)
    if math.isnan(value):
        return {**told, "reason": "all lengths, or all totals, are the same"}
    spread = _spread(lengths, totals, seed)
    return {**told, "spearman": rounded(value), "low": rounded(spread[0]), "high": rounded(spread[1])}


def spearman(one: Floats, two: Floats) -> float:
    """Return the rank correlation; equal values have their mean rank. NaN where one does not vary.

    Examples
    --------
    >>> round(spearman(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])), 3)
    0.8
    """
    ranks = [_ranks(values) for values in (one, two)]
    if any(rank.std() == 0 for rank in ranks):
        return math.nan
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _spread(one: Floats, two: Floats, seed: int) -> tuple[float, float]:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(_DRAWS):
        at = random.integers(len(one), size=len(one))
        found.append(spearman(one[at], two[at]))
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


# ----------------------------------------------------------------------------------------------------------- pairs


def judge_pairs(
    asker: Asker,
    rows: Sequence[Beside],
    models: Sequence[str],
    *,
    judge: str,
    against: str = HUMAN,
    criterion: str = CRITERION,
    min_count: int = 20,
) -> Judged:
    """Let a judge choose between answers, in both orders.

    Parameters
    ----------
    asker, rows, models, judge, min_count
        As of :func:`judge_scores`.
    against : str, default "human"
        Whose answer each model's stands beside.
    criterion : str
        The question.

    Returns
    -------
    Judged
        A model's ``wins`` counts 1 where it is chosen in both orders, 0 where the other is, else .5. ``consistent`` is
        the share of pairs with one verdict in both orders, ``first`` that of choices for what stands first (.5 without
        a bias of position), ``longer`` that of choices for the longer answer, in pairs with one verdict.
    """
    texts = [{HUMAN: row.human, **row.answers} for row in rows]
    if against not in (HUMAN, *models):
        raise ValueError(f"against is {against!r}: it must be one of {', '.join((HUMAN, *models))}")
    tasks = [
        (row, model, of[model], of[against])
        for row, of in zip(rows, texts, strict=True)
        for model in models
        if model != against and of[model].split() != of[against].split()
    ]
    questions = [
        pair_messages(row.prompt, *order, criterion)
        for row, _, ours, theirs in tasks
        for order in ((ours, theirs), (theirs, ours))
    ]
    told = asker.judge(questions, read_choice)
    lines = [_pair(task, told[2 * at], told[2 * at + 1], against, judge) for at, task in enumerate(tasks)]
    asked = [model for model in models if model != against]
    summary = {
        "judge": judge,
        "against": against,
        "criterion": criterion,
        "models": {model: _wins([line for line in lines if line["model"] == model], min_count) for model in asked},
        "buckets": {
            bucket: {model: _wins([line for line in of if line["model"] == model], min_count) for model in asked}
            for bucket, of in sorted(_by(lines, "bucket").items())
        },
        "alike": len(rows) * len(asked) - len(tasks),
        "unjudged": _count_unjudged(lines),
        "usage": asdict(asker.usage),
    }
    return Judged(lines, summary)


def _pair(task: tuple[Beside, str, str, str], one: Any, two: Any, against: str, judge: str) -> dict[str, Any]:
    """Return a pair as a line; its value is a number only where both orders have a verdict."""
    row, model, ours, theirs = task
    line: dict[str, Any] = {"id": row.id, "bucket": row.bucket, "model": model, "against": against, "judge": judge}
    line["answer"] = digest(ours)
    missing = next((told for told in (one, two) if not isinstance(told, Choice)), None)
    if missing is not None:
        return {**line, "unjudged": _unjudged(missing)}
    chosen = [one.better, two.better]
    values = [{"first": 1.0, "second": 0.0}.get(one.better, _TIE), {"first": 0.0, "second": 1.0}.get(two.better, _TIE)]
    return {
        **line,
        "chosen": chosen,
        "value": values[0] if values[0] == values[1] else _TIE,
        "consistent": values[0] == values[1],
        "longer": len(ours) - len(theirs),
        "reasons": [one.reason, two.reason],
    }


def _wins(lines: Sequence[Mapping[str, Any]], min_count: int) -> dict[str, Any]:
    judged = [line for line in lines if "value" in line]
    decided = [line for line in judged if line["consistent"] and line["value"] != _TIE and line["longer"]]
    firsts = {
        line["id"]: [float(chosen == "first") for chosen in line["chosen"] if chosen != "neither"] for line in judged
    }
    longer = {line["id"]: [float((line["value"] == 1) == (line["longer"] > 0))] for line in decided}
    return {
        "wins": mean_of({line["id"]: [line["value"]] for line in judged}, min_count, 0),
        "consistent": rate_of({line["id"]: [float(line["consistent"])] for line in judged}, min_count),
        "first": rate_of({name: of for name, of in firsts.items() if of}, min_count),
        "longer": rate_of(longer, min_count),
        "is_longer": rounded(np.mean([line["longer"] > 0 for line in judged])) if judged else None,
        "pairs": len(lines),
        "unjudged": len(lines) - len(judged),
    }


def _count_unjudged(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how many there are of each kind, with the first of it."""
    left = [line for line in lines if "unjudged" in line]
    found: dict[str, Any] = {}
    for kind, count in Counter(line["unjudged"]["kind"] for line in left).items():
        first = next(line for line in left if line["unjudged"]["kind"] == kind)
        found[kind] = {"count": count, "first": first["id"], "reason": first["unjudged"]["reason"]}
    return found


# ------------------------------------------------------------------------------------------------------- agreement


def read_judged(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the lines of a judge's scores.

    Raises
    ------
    OSError, ValueError
        The file is not there, or a line is none of ours.
    """
    lines = []
    with Path(path).open(encoding="utf-8") as file:
        for at, text in enumerate(file, 1):
            try:
                line = json.loads(text)
                if not {"id", "source", "judge"} <= line.keys():
                    raise ValueError("no id, source and judge in it")
            except (ValueError, AttributeError, RecursionError) as error:
                raise ValueError(f"{os.fspath(path)}:{at}: no line of scores of a judge: {error}") from None
            lines.append(line)
    return lines


def agreement(judged: Sequence[Sequence[Mapping[str, Any]]], *, seed: int = 0) -> dict[str, Any]:
    """Say how far judges agree on the same answers.

    Parameters
    ----------
    judged : sequence of sequences of dict
        Lines of scores, a judge each.
    seed : int, default 0
        Of intervals.

    Returns
    -------
    dict
        ``judges``; ``dimensions`` and ``totals``, each by name Krippendorff's alpha (interval) with its interval and
        the number of answers that two judges scored; ``pairs``, for every two judges the rank correlation of the
        overall totals and their mean difference.

    Raises
    ------
    ValueError
        Fewer than two judges, two of one name, or an answer that is there twice.
    """
    tables: dict[str, dict[tuple[str, str], Mapping[str, Any]]] = {}
    for lines in judged:
        name = lines[0]["judge"] if lines else "?"
        if name in tables:
            raise ValueError(f"two files are of the judge {name!r}: give one a judge, or other names (--name)")
        tables[name] = {}
        for line in lines:
            key = (line["id"], line["source"])
            if key in tables[name]:
                raise ValueError(f"{name}: {line['source']}'s answer to {line['id']} is there twice")
            if "scores" in line:
                tables[name][key] = line
    if len(tables) < 2:
        raise ValueError("one judge agrees with nobody: give the scores of two or more")
    keys = sorted({key for table in tables.values() for key in table})
    found: dict[str, Any] = {"judges": list(tables), "answers": len(keys)}
    for kind, told in (("dimensions", "scores"), ("totals", "totals")):
        names = sorted({name for table in tables.values() for line in table.values() for name in line[told]})
        found[kind] = {name: _alpha(tables, keys, told, name, seed) for name in names}
    found["pairs"] = [_two(one, two, tables) for at, one in enumerate(tables) for two in list(tables)[at + 1 :]]
    return found


def _alpha(
    tables: Mapping[str, Mapping[Any, Mapping[str, Any]]], keys: Sequence[Any], kind: str, name: str, seed: int
) -> dict[str, Any]:
    values = np.full((len(tables), len(keys)), np.nan)
    for row, table in enumerate(tables.values()):
        for at, key in enumerate(keys):
            if key in table and name in table[key][kind]:
                values[row, at] = table[key][kind][name]
    both = values[:, (~np.isnan(values)).sum(axis=0) > 1]
    told: dict[str, Any] = {"alpha": None, "low": None, "high": None, "answers": both.shape[1]}
    if not both.size:
        return {**told, "reason": "no answer was scored by two judges"}
    if kind == "totals":  # as many values as answers: rounded, so that they can be counted
        both = np.round(both)
    levels, matrices = coincidences(both)
    alpha = alphas(matrices.sum(axis=0)[None], levels, "interval")[0]
    if math.isnan(alpha):
        return {**told, "reason": "all scores are one value: there is nothing to agree on"}
    # 1 − D_o/D_e of draws, by sums over answers.
    drawn = resampled_sums(matrices.reshape(len(matrices), -1), draws=_DRAWS, seed=seed)
    spread = [float(alphas(sums.reshape(1, len(levels), len(levels)), levels, "interval")[0]) for sums in drawn]
    low, high = np.nanquantile(spread, [0.025, 0.975])
    return {**told, "alpha": rounded(alpha), "low": rounded(low), "high": rounded(high)}


def _two(one: str, two: str, tables: Mapping[str, Mapping[Any, Mapping[str, Any]]]) -> dict[str, Any]:
    keys = sorted(tables[one].keys() & tables[two].keys())
    told: dict[str, Any] = {"judges": [one, two], "answers": len(keys), "spearman": None, "difference": None}
    if len(keys) < 3:
        return {**told, "reason": not_enough(len(keys), 3)}
    totals = [np.array([tables[name][key]["totals"][OVERALL] for key in keys]) for name in (one, two)]
    value = spearman(totals[0], totals[1])
    difference = rounded((totals[0] - totals[1]).mean())
    return {**told, "spearman": None if math.isnan(value) else rounded(value), "difference": difference}
