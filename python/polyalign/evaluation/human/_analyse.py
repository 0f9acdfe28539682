"""What came of a page: ratings with the key beside them."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign._io import json_text
from polyalign._text.words import counted
from polyalign.evaluation._beside import HUMAN
from polyalign.evaluation._summaries import DRAWS, mean_of, rate_of, rounded
from polyalign.evaluation.human._agreement import Level, alphas, coincidences
from polyalign.evaluation.human._build import KEY, RATINGS
from polyalign.evaluation.human._questions import LOW_HIGH
from polyalign.evaluation.metrics import resampled_sums

if TYPE_CHECKING:
    from polyalign.evaluation._arrays import Floats

__all__ = ["Analysis", "analyse", "analyse_files"]

_CHOICE = "choice"


@dataclass(frozen=True)
class Analysis:
    """What people found.

    Attributes
    ----------
    raters : list of dict
        Of each: name, how many ratings and choices were finished of how many, and the share of choices that were right.
    models : dict
        By source, ``human`` first: ``ratings`` by question, and of models ``beyond_human``, the mean difference to the
        human's answer to the same prompt, and ``picked``, how often theirs was taken for the human's.
    languages, groups : dict
        The same by language, and by what the page drew within.
    agreement : dict
        By question, ``choice`` among them: alpha at each level that fits, with its interval.
    problems : list of str
        What could not be used.
    """

    page: str
    raters: list[dict[str, Any]]
    models: dict[str, Any]
    languages: dict[str, Any]
    groups: dict[str, Any]
    agreement: dict[str, Any]
    problems: list[str]
    lines: list[dict[str, Any]] = field(default_factory=list, repr=False)
    """Each value by itself, which :func:`polyalign.evaluation.evaluate` takes: id, bucket, source, rater, question."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; what is not known is ``None``, with a reason where there is one to give."""
        return {name: value for name, value in vars(self).items() if name != "lines"}

    def to_json(self) -> str:
        """Return it as JSON."""
        return json_text.indented(self.to_dict())


def analyse_files(
    ratings: Sequence[str | os.PathLike[str]], key: str | os.PathLike[str], *, min_count: int = 5, seed: int = 0
) -> Analysis:
    """Read files that a page exported, and its key, and analyse them.

    Raises
    ------
    OSError, ValueError
        A file is not there, is none of ours, or is of another page; two are of one rater.
    """
    told = _read(key, KEY, "a key that polyalign human-eval build made")
    if not _is_whole(told):
        raise ValueError(f"{os.fspath(key)}: the key is not whole: take it as polyalign human-eval build wrote it")
    found: dict[str, Any] = {}
    for path in ratings:
        given = _read(path, RATINGS, "ratings that the page exported")
        if given.get("page") != told["page"]:
            raise ValueError(f"{path}: ratings of the page {given.get('page')!r}; the key is of {told['page']!r}")
        rater = given.get("rater")
        if not isinstance(rater, str) or not isinstance(given.get("ratings"), dict):
            raise ValueError(f"{path}: no rater, or no ratings, in it: export it again")
        if rater in found:
            raise ValueError(f"{path}: ratings of {rater!r} are there already: give one file a rater")
        found[rater] = given["ratings"]
    return analyse(found, told, min_count=min_count, seed=seed)


def _read(path: str | os.PathLike[str], kind: str, what: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)}: not JSON: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict) or found.get("format") != kind:
        raise ValueError(f"{os.fspath(path)}: not {what}")
    return found


def _is_whole(key: Mapping[str, Any]) -> bool:
    """Return whether a key has all that is read of it."""
    try:
        lists = isinstance(key["models"], list) and isinstance(key["questions"], list) and "page" in key
        return lists and all(
            {"record", "bucket", "group"} <= about.keys() and ("source" in about or {"model", "human"} <= about.keys())
            for about in key["tasks"].values()
        )
    except (KeyError, AttributeError):
        return False


@dataclass(frozen=True)
class _Said:
    """One value that one rater gave."""

    rater: str
    task: str
    record: str
    question: str
    value: float
    source: str
    """Whose the answer is; of a choice the model beside the human."""


def analyse(
    ratings: Mapping[str, Mapping[str, Any]], key: Mapping[str, Any], *, min_count: int = 5, seed: int = 0
) -> Analysis:
    """Say how people rated each model, how often they took it for a person, and how far they agree.

    Parameters
    ----------
    ratings : mapping
        By rater: by task its answers, as the page exports them.
    key : mapping
        As `build` makes it.
    min_count : int, default 5
        With fewer prompts a mean is not given, but for their number.
    seed : int, default 0
        Of the draws that make intervals.

    Returns
    -------
    Analysis
        Intervals are of 95%. Those of means and of alpha are percentiles of draws with replacement: of prompts, since
        ratings of one answer are no independent ones; of alpha, of answers. That of a rate is Wilson's, for as many
        judgements as they are worth: their number over the design effect that prompts have.
    """
    said, problems = _said(ratings, key)
    models = ["human", *key["models"]]
    whole = _Part(said, min_count, seed)
    languages, groups = (_parted(said, of) for of in (_language(key), _group(key)))
    return Analysis(
        page=str(key["page"]),
        raters=[_rater(name, said, key) for name in ratings],
        models=whole.models(models, key),
        languages={name: _Part(of, min_count, seed).models(models, key) for name, of in languages.items()},
        groups={name: _Part(of, min_count, seed).models(models, key) for name, of in groups.items()},
        agreement=_agreement(said, [*key["questions"], _CHOICE], list(ratings), seed),
        problems=problems,
        lines=[_line(each, key["tasks"][each.task]) for each in said],
    )


def _line(each: _Said, about: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": each.record,
        "bucket": about["bucket"],
        "source": each.source,
        "rater": each.rater,
        "question": each.question,
        "value": each.value,
        **({"answer": about["answer"]} if "answer" in about else {}),
    }


def _said(ratings: Mapping[str, Mapping[str, Any]], key: Mapping[str, Any]) -> tuple[list[_Said], list[str]]:
    """Return every value that counts; and what does not, a line a kind."""
    found, unfit = [], defaultdict(list)
    for rater, tasks in ratings.items():
        for task, values in tasks.items():
            about = key["tasks"].get(task)
            if about is None or not isinstance(values, Mapping):
                unfit["of no task of the page"].append(f"{rater}, task {task}")
                continue
            for question, value in values.items():
                told = _value(about, question, value, key["questions"])
                if told is None:
                    unfit["that the page does not give"].append(f"{rater}, task {task}, {question}: {value!r}"[:200])
                else:
                    source = about.get("source") or about["model"]
                    found.append(_Said(rater, task, about["record"], question, told, source))
    return found, [f"{counted(len(of), 'value')} {why}, the first: {of[0]}" for why, of in unfit.items()]


def _value(about: Mapping[str, Any], question: str, value: Any, questions: Sequence[str]) -> float | None:
    """Return a rating, or 1 where the model's answer was taken for the human's; `None`: it is neither."""
    if "model" in about:
        return float(value != about["human"]) if question == _CHOICE and value in ("a", "b") else None
    fits = question in questions and isinstance(value, int) and not isinstance(value, bool)
    return float(value) if fits and LOW_HIGH[0] <= value <= LOW_HIGH[1] else None


def _group(key: Mapping[str, Any]) -> Callable[[str], str]:
    return lambda task: str(key["tasks"][task]["group"])


def _language(key: Mapping[str, Any]) -> Callable[[str], str]:
    return lambda task: str(key["tasks"][task]["bucket"]).split("|", 1)[0]


def _parted(said: Iterable[_Said], of: Callable[[str], str]) -> dict[str, list[_Said]]:
    found: dict[str, list[_Said]] = defaultdict(list)
    for each in said:
        found[of(each.task)].append(each)
    return dict(sorted(found.items()))


def _rater(name: str, said: Sequence[_Said], key: Mapping[str, Any]) -> dict[str, Any]:
    """Say how much a rater has done."""
    asked = set(key["questions"])
    values: dict[str, set[str]] = defaultdict(set)
    taken = [each.value for each in said if each.rater == name and each.question == _CHOICE]
    for each in said:
        if each.rater == name:
            values[each.task].add(each.question)
    kinds = ["choice" if "model" in about else "rating" for about in key["tasks"].values()]
    return {
        "name": name,
        "ratings": sum(asked <= given for given in values.values()),
        "ratings_asked": kinds.count("rating"),
        "choices": len(taken),
        "choices_asked": kinds.count("choice"),
        "right": 1 - sum(taken) / len(taken) if taken else None,
    }


@dataclass(frozen=True)
class _Part:
    """Some of what was said."""

    said: Sequence[_Said]
    min_count: int
    seed: int

    def models(self, models: Sequence[str], key: Mapping[str, Any]) -> dict[str, Any]:
        """Return what was found of each source."""
        found: dict[str, Any] = {}
        for source in models:
            ratings = {name: self._values(source, name) for name in key["questions"]}
            found[source] = {"ratings": {name: self._mean(values) for name, values in ratings.items()}}
            if source != HUMAN:
                found[source]["beyond_human"] = {
                    name: self._mean(_differences(values, self._values(HUMAN, name)))
                    for name, values in ratings.items()
                }
                found[source]["picked"] = rate_of(self._values(source, _CHOICE), self.min_count)
        return found

    def _mean(self, values: Mapping[str, Sequence[float]]) -> dict[str, Any]:
        return mean_of(values, self.min_count, self.seed)

    def _values(self, source: str, question: str) -> dict[str, list[float]]:
        """Return values by record."""
        found: dict[str, list[float]] = defaultdict(list)
        for each in self.said:
            if each.source == source and each.question == question:
                found[each.record].append(each.value)
        return found


def _differences(ours: Mapping[str, Sequence[float]], humans: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Return the difference of the mean ratings of two answers to each prompt."""
    return {
        record: [sum(values) / len(values) - sum(humans[record]) / len(humans[record])]
        for record, values in ours.items()
        if humans.get(record)
    }


def _agreement(said: Sequence[_Said], questions: Sequence[str], raters: Sequence[str], seed: int) -> dict[str, Any]:
    """Return alpha of each question."""
    found: dict[str, Any] = {}
    rows = {name: at for at, name in enumerate(raters)}
    for question in questions:
        of = [each for each in said if each.question == question]
        tasks = {task: at for at, task in enumerate(sorted({each.task for each in of}))}
        table = np.full((len(raters), len(tasks)), np.nan)
        for each in of:
            table[rows[each.rater], tasks[each.task]] = each.value
        levels: tuple[Level, ...] = ("nominal",) if question == _CHOICE else ("ordinal", "interval")
        found[question] = {level: _alpha(table, level, seed) for level in levels}
    return found


def _alpha(table: Floats, level: Level, seed: int) -> dict[str, Any]:
    values, matrices = coincidences(table)
    matrices = matrices[matrices.sum(axis=(1, 2)) > 0]
    told: dict[str, Any] = {"alpha": None, "low": None, "high": None, "units": len(matrices)}
    if not len(matrices):
        return {**told, "reason": "no answer was judged by two raters"}
    alpha = alphas(matrices.sum(axis=0)[None], values, level)[0]
    if np.isnan(alpha):
        return {**told, "reason": "all judgements are one value: there is nothing to agree on"}
    drawn = resampled_sums(matrices.reshape(len(matrices), -1), draws=DRAWS, seed=seed)
    spread = alphas(drawn.reshape(-1, *matrices.shape[1:]), values, level)
    spread = spread[~np.isnan(spread)]
    if len(matrices) > 1 and len(spread):
        told["low"], told["high"] = map(rounded, np.quantile(spread, [0.025, 0.975]))
    return {**told, "alpha": rounded(alpha)}
