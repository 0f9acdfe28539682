"""What judges, detectors and people said of answers, as metrics beside the others."""

from __future__ import annotations

import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from polyalign._text.words import place
from polyalign.evaluation._beside import HUMAN, digest
from polyalign.evaluation._cells import Cell, mean_cells
from polyalign.evaluation._predictions import Humans, Model, Skips
from polyalign.evaluation._result import Measure, Number
from polyalign.evaluation._summaries import wilson
from polyalign.evaluation._texts import Said, said
from polyalign.evaluation._texts import part as part_of
from polyalign.evaluation.detectors._detect import RATES, beyond, needed

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.evaluation._arrays import Floats, Indices
    from polyalign.evaluation._statistics import Draws

__all__ = ["Column", "Judgements", "in_both", "joint_measures", "judged_cells", "read_judged", "widened"]

#: What a metric is made of: a mean, a choice between two, how well scores tell sides apart, or the share of answers
#: beyond all but so many humans.
Form = Literal["mean", "choice", "apart", "beyond"]
#: With fewer prompts that people judged there is no number; of all others `min_count` says it.
PEOPLE = 5
_OVERALL, _CHOICE, _WHOLE, _CUT = "overall", "choice", "whole", "equal length"
_RATED = (1.0, 5.0)
_KIND = "judged"


@dataclass(frozen=True)
class _Metric:
    """A metric of a judge, a detector, or people."""

    measure: Measure
    form: Form
    who: str
    part: str
    """What of a judge's or of people's it is."""
    rate: float = 0.0
    """The share of humans that may be taken for machines."""

    @property
    def of_scores(self) -> bool:
        """Whether it holds answers' scores against the humans'."""
        return self.form in ("apart", "beyond")

    @property
    def people(self) -> bool:
        """Whether people judged."""
        return self.who == "people"

    @property
    def called(self) -> str:
        """Who judged, for people."""
        return said("source_people") if self.people else self.who

    @property
    def of_humans(self) -> bool:
        """Whether a choice was between the model's answer and the human's: who can't tell chooses either."""
        return self.part in (HUMAN, _CHOICE)

    @property
    def role(self) -> str:
        """What it is of a joint score: quality, likeness, or nothing."""
        if self.form == "mean":
            return "quality" if self.people or self.part == _OVERALL else ""
        if self.form == "apart":
            return "likeness" if self.part == _WHOLE else ""
        return "likeness" if self.people else ""


@dataclass(frozen=True)
class Column:
    """What a model's answers got of a metric: a value an answer, NaN where it was not judged."""

    metric: _Metric
    model: Floats
    humans: Floats
    """What the human's answer to the same prompt got; of a choice what is left of 1."""

    @property
    def name(self) -> str:
        """What the metric is called."""
        return self.metric.measure.name

    def known(self, at: Indices) -> npt.NDArray[np.bool_]:
        """Return which of some answers were judged, and where that is needed the human's too."""
        found = ~np.isnan(self.model[at])
        return found & ~np.isnan(self.humans[at]) if self.metric.of_scores else found

    def least(self, min_count: int) -> int:
        """Return how many judged prompts a number needs."""
        if self.metric.rate:  # one of them at least is beyond
            return max(min_count, needed(self.metric.rate))
        return min(PEOPLE, min_count) if self.metric.people else min_count


# --------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class _Line:
    """A judgement, whatever file it is of."""

    place: Mapping[str, Any]
    id: str
    source: str
    """Whose answer was judged."""
    answer: str | None
    """The digest of it, where the file has it."""
    key: tuple[str, ...]
    """What is the same where the same is judged twice."""
    values: Mapping[str, float]
    """By metric."""
    humans: Mapping[str, float] = field(default_factory=dict)
    """By metric, what the human's answer got, where the line has both."""
    unjudged: str | None = None
    """Why there is no value."""


class Judgements:
    """Lines of judges, detectors and people, and the metrics that they have."""

    def __init__(self) -> None:
        self.lines: list[_Line] = []
        self.files: list[str] = []
        self.metrics: dict[str, _Metric] = {}
        self._names: dict[tuple[str, ...], str] = {}

    def read(self, source: str, line: Mapping[str, Any], where: Mapping[str, Any]) -> None:
        """Take a line; ValueError: it is of no form that we know."""
        form = next((read for names, read in _FORMS if names <= line.keys()), None)
        if form is None:
            raise ValueError(
                f"{source}: no line of polyalign judge (score, pairs), detect --out or human-eval analyse --out"
            )
        try:
            self.lines.append(form(self, line, where))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ValueError(f"{source}: a judgement that can't be read: {type(error).__name__}: {error}") from None

    def name(self, key: tuple[str, ...], who: str, part: str, made: Any, *, rate: float = 0.0) -> str:
        """Return the name of a metric, and make it where it is new."""
        if key not in self._names:
            plain = "_".join(filter(None, ("".join(c if c.isalnum() else "_" for c in each).strip("_").lower()
                                           for each in key)))  # fmt: skip
            name, number = plain, 2
            while name in self.metrics:
                name, number = f"{plain}_{number}", number + 1
            self._names[key] = name
            form, measure = made(name)
            self.metrics[name] = _Metric(measure, form, who, part, rate)
        return self._names[key]

    def names(self) -> set[str]:
        """Return the names of all its metrics."""
        return {*self.metrics, *(measure.name for measure in joint_measures(self.metrics.values()))}

    # ------------------------------------------------------------------------------------------- fitting

    def of(self, model: Model, humans: Humans) -> tuple[dict[str, Column], list[str]]:
        """Return what was said of a model's first answers, and what a reader should know; count what does not fit."""
        rows = {humans.ids[row]: row for row in np.flatnonzero(humans.answered & humans.usable).tolist()}
        first = {int(model.of[at]): at for at in np.flatnonzero(model.turn == 0).tolist()}
        every = np.arange(len(model.of))
        sums: dict[str, Floats] = defaultdict(lambda: np.zeros((4, len(every))))
        seen: set[tuple[str, ...]] = set()
        for line in self.lines:
            if line.source not in (model.name, HUMAN):
                continue
            at, why = self._place(line, rows, first, model, humans)
            if at is not None and line.key in seen:
                at, why = None, "judged_twice"
            if at is None:
                if line.source == model.name:
                    reason = said("unjudged", reason=line.unjudged) if why == "unjudged" else said(why)
                    model.skips.add(why, 1, line.place, reason)
                continue
            seen.add(line.key)
            side = 0 if line.source == model.name else 2
            for offset, values in ((side, line.values), (2, line.humans)):
                for name, value in values.items():
                    sums[name][offset, at] += value
                    sums[name][offset + 1, at] += 1
        found = {name: Column(self.metrics[name], _means(sums[name][:2]), self._other(name, sums[name]))
                 for name in self.metrics}  # fmt: skip
        heard: dict[str, bool] = {}
        for column in found.values():
            heard[column.metric.called] = heard.get(column.metric.called, False) or bool(column.known(every).any())
        return found, [said("judged_none", who=who) for who, there in heard.items() if not there]

    def _other(self, name: str, sums: Floats) -> Floats:
        metric = self.metrics[name]
        if metric.form != "choice":
            return _means(sums[2:])
        return 1.0 - _means(sums[:2]) if metric.of_humans else np.full(sums.shape[1], np.nan)

    def _place(
        self, line: _Line, rows: Mapping[Any, int], first: Mapping[int, int], model: Model, humans: Humans
    ) -> tuple[int | None, str]:
        """Return which answer a line is about, or why none."""
        if line.unjudged is not None:
            return None, "unjudged"
        row = rows.get(line.id)
        if row is None:
            return None, "judged_unknown_id"
        at = first.get(row)
        if at is None:
            return None, "judged_unanswered"
        text = model.texts[at] if line.source == model.name else humans.texts[row]
        if line.answer is not None and line.answer != digest(text):
            return None, "judged_other_answer"
        return at, ""

    def warnings(self, models: Sequence[Model], humans: Humans) -> list[Said]:
        """Say which judgements are of nobody, and which of humans are not used."""
        names = [model.name for model in models]
        nobody = Counter(line.source for line in self.lines if line.source not in (*names, HUMAN))
        found = []
        if nobody:
            said_of = ", ".join(f"{name} ({count:,})" for name, count in nobody.most_common(5))
            found.append(said("judged_nobody", n=nobody.total(), names=said_of, models=", ".join(names)))
        left = Skips()
        rows = {humans.ids[row]: row for row in np.flatnonzero(humans.answered & humans.usable).tolist()}
        for line in self.lines:
            if line.source != HUMAN:
                continue
            if line.unjudged is not None:
                left.add("unjudged", 1, line.place, said("unjudged", reason=line.unjudged))
            elif line.id not in rows:
                left.add("judged_unknown_id", 1, line.place, said("judged_unknown_id"))
            elif line.answer is not None and line.answer != digest(humans.texts[rows[line.id]]):
                left.add("judged_other_answer", 1, line.place, said("judged_other_answer"))
        for skip in left.to_list():
            given = {"n": skip["count"], "kind": skip["kind"], "place": place(skip), "reason": skip["reason"]}
            found.append(said("judged_humans_left", **given))
        return found


def _means(sums: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[0] / np.where(sums[1] > 0, sums[1], np.nan))


def read_judged(judged: Any) -> Judgements | None:
    """Read what judges, detectors and people said: files, or lines themselves; ``None`` where there is nothing.

    Raises
    ------
    OSError, ValueError
        A file is not there, or a line is of no form that we know: the error says which.
    """
    if judged is None:
        return None
    given: list[Any] = [judged] if isinstance(judged, (str, os.PathLike)) else list(judged)
    if given and isinstance(given[0], Mapping):
        given = [given]
    if not given:
        return None
    found = Judgements()
    for number, each in enumerate(given, 1):
        is_file = isinstance(each, (str, os.PathLike))
        name = os.fspath(each) if is_file else f"judged {number}"
        found.files.append(name)
        empty = True
        lines: Iterable[tuple[int, Any]] = _lines(each, name) if is_file else enumerate(each, 1)
        for at, line in lines:
            empty = False
            found.read(f"{name}:{at}", line, {"file": name, "line": at, "row": at - 1})
        if empty:
            raise ValueError(f"{name}: no judgements in it")
    return found


def _lines(path: Any, name: str) -> Iterator[tuple[int, Any]]:
    with Path(path).open(encoding="utf-8") as file:
        for at, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{name}:{at}: not a line of JSON: {error}") from None
            if not isinstance(line, Mapping):
                raise ValueError(f"{name}:{at}: not an object of JSON")
            yield at, line


# ----------------------------------------------------------------------------------------------------- forms


def _scores(told: Judgements, line: Mapping[str, Any], where: Mapping[str, Any]) -> _Line:
    judge, values = str(line["judge"]), {}
    for kind, most in (("totals", (0.0, 100.0)), ("scores", _RATED)):
        for part, value in (line.get(kind) or {}).items():
            made = partial(_score_measure, judge, str(part), most)
            values[told.name(("judge", judge, "" if part == _OVERALL else str(part)), judge, str(part), made)] = (
                _number(value)
            )
    return _Line(where, *_about(line, "source"), ("judge", judge, *_about(line, "source")[:2]), values,
                 unjudged=_unjudged(line))  # fmt: skip


def _score_measure(judge: str, part: str, scale: tuple[float, float], name: str) -> tuple[Form, Measure]:
    main = part == _OVERALL
    title = said("judge", who=judge) if main else said("judge_part", who=judge, part=part_of(part))
    formula = said("judge_formula", who=judge, part=part_of(part))
    return "mean", _measure(name, title, formula, "source_judge", scale, main=main)


def _pairs(told: Judgements, line: Mapping[str, Any], where: Mapping[str, Any]) -> _Line:
    judge, against = str(line["judge"]), str(line["against"])
    values = {}
    made = partial(_wins_measure, judge, against)
    name = told.name(("wins", judge, "" if against == HUMAN else f"over {against}"), judge, against, made)
    if "value" in line:
        values[name] = _number(line["value"])
    about = _about(line, "model")
    return _Line(where, *about, ("wins", judge, against, *about[:2]), values, unjudged=_unjudged(line))


def _wins_measure(judge: str, against: str, name: str) -> tuple[Form, Measure]:
    if against == HUMAN:
        title, formula = said("wins", who=judge), said("wins_formula", who=judge)
    else:
        title = said("wins_over", who=judge, against=against)
        formula = said("wins_over_formula", who=judge, against=against)
    return "choice", _measure(name, title, formula, "source_judge", (0.0, 1.0), share=True, main=True)


def _detected(told: Judgements, line: Mapping[str, Any], where: Mapping[str, Any]) -> _Line:
    detector = str(line["detector"])
    about = _about(line, "model")
    values, humans = {}, {}
    for cut, pair in ((False, line), (True, line.get("equal_length") or {})):
        part = _CUT if cut else _WHOLE
        for rate in (0.0, *RATES):
            made = partial(_detector_measure, _short(detector), rate, cut=cut)
            key = ("detector", _short(detector), f"tpr {100 * rate:g}" if rate else "", _CUT if cut else "")
            name = told.name(key, detector, part, made, rate=rate)
            if pair.get("score") is not None and pair.get("human") is not None:
                values[name], humans[name] = _number(pair["score"]), _number(pair["human"])
    why = None if values else "the detector has no score for the text"
    return _Line(where, *about, ("detector", detector, *about[:2]), values, humans, why)


def _short(detector: str) -> str:
    """Return what a detector is called: its kind, and its models without their folders."""
    kind, _, models = detector.partition("=")
    return " ".join([kind, *(Path(model).name for model in models.split(",") if model)])


def _detector_measure(who: str, rate: float, name: str, *, cut: bool) -> tuple[Form, Measure]:
    title, formula = ("detector_cut", "detector_cut_formula") if cut else ("detector", "detector_formula")
    if not rate:
        told = said(title, who=who), said(formula, who=who)
        return "apart", _measure(name, *told, "source_detect", (0.0, 1.0), main=not cut, better="low")
    given = {"who": who, "rate": f"{rate:.0%}", "need": needed(rate)}
    told = said("tpr_cut" if cut else "tpr", **given), said("tpr_cut_formula" if cut else "tpr_formula", **given)
    return "beyond", _measure(name, *told, "source_detect", (0.0, 1.0), share=True, better="low")


def _rated(told: Judgements, line: Mapping[str, Any], where: Mapping[str, Any]) -> _Line:
    question, about = str(line["question"]), _about(line, "source")
    name = told.name(("people", "picked" if question == _CHOICE else question), "people", question,
                     partial(_people_measure, question))  # fmt: skip
    key = ("people", str(line["rater"]), question, *about[:2])
    return _Line(where, *about, key, {name: _number(line["value"])})


def _people_measure(question: str, name: str) -> tuple[Form, Measure]:
    if question == _CHOICE:
        told = said("picked"), said("picked_formula")
        return "choice", _measure(name, *told, "source_people", (0.0, 1.0), share=True, main=True)
    asked = part_of(question)
    told = said("people", part=asked), said("people_formula", part=asked)
    return "mean", _measure(name, *told, "source_people", _RATED, main=True)


#: What the lines of each kind of file have, and what reads them.
_FORMS = (
    ({"id", "model", "against", "judge"}, _pairs),
    ({"id", "source", "judge"}, _scores),
    ({"id", "model", "detector"}, _detected),
    ({"id", "source", "rater", "question", "value"}, _rated),
)


def _about(line: Mapping[str, Any], source: str) -> tuple[str, str, str | None]:
    answer = line.get("answer")
    return str(line["id"]), str(line[source]), None if answer is None else str(answer)


def _unjudged(line: Mapping[str, Any]) -> str | None:
    told = line.get("unjudged")
    if told is None:
        return None
    return ": ".join(str(told[name]) for name in ("kind", "reason") if told.get(name)) or "?"


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _measure(
    name: str,
    title: Said,
    formula: Said,
    source: str,
    scale: tuple[float, float],
    *,
    share: bool = False,
    main: bool = False,
    better: Literal["low", "high"] = "high",
) -> Measure:
    return Measure(name, title, title.chinese, _KIND, better, formula, said(source), scale, share=share, main=main)


# ----------------------------------------------------------------------------------------------------- cells


def judged_cells(
    columns: Iterable[Column], at: Indices, groups: Indices, draws: Draws, min_count: int
) -> dict[str, Cell]:
    """Return the metrics of a bucket that enough of its answers were judged for, and what joins them.

    Parameters
    ----------
    columns : iterable of Column
    at : array
        The bucket's first answers, as numbers of the model's answers.
    groups : array
        Their groups.
    """
    found: dict[str, Cell] = {}
    kept: list[Column] = []
    for column in columns:
        known = column.known(at)
        if known.sum() >= column.least(min_count):
            form = column.metric.form
            rows = np.where(known, column.model[at], np.nan), np.where(known, column.humans[at], np.nan)
            made = (
                partial(_beyond, rate=column.metric.rate) if form == "beyond" else _apart if form == "apart" else _mean
            )
            found[column.name] = made(*rows, groups, draws)
            if form == "choice":
                found[column.name] = replace(found[column.name], floor=0.5 if column.metric.of_humans else math.nan)
            kept.append(column)
    return found | _joined(kept, found, draws.count)


def in_both(columns: Sequence[Mapping[str, Column]], at: Sequence[Indices]) -> list[dict[str, Column]]:
    """Return what was said of two models' answers to the same prompts, where it was said of both."""
    found: list[dict[str, Column]] = [{}, {}]
    for name in columns[0].keys() & columns[1].keys():
        both = columns[0][name].known(at[0]) & columns[1][name].known(at[1])
        for of, rows, kept in zip(columns, at, found, strict=True):
            values = np.full(len(of[name].model), np.nan)
            values[rows[both]] = of[name].model[rows[both]]
            kept[name] = replace(of[name], model=values)
    return found


def _mean(model: Floats, humans: Floats, groups: Indices, draws: Draws) -> Cell:
    beside = np.where(np.isnan(model), np.nan, humans)
    (found,) = mean_cells(model[:, None], beside[:, None], groups, draws)
    return found


def _apart(model: Floats, humans: Floats, groups: Indices, draws: Draws) -> Cell:
    """Return the AUROC of scores, the model's the higher."""
    known = np.flatnonzero(~np.isnan(model))
    values = np.concatenate([model[known], humans[known]])
    times, swap = draws.times(groups)[known].astype(np.float64), draws.swapped(groups)[known].astype(np.float64)
    nothing = np.zeros_like(times)
    ones = np.ones((len(known), 1))
    value = float(_areas(values, np.concatenate([ones, 0 * ones]), np.concatenate([0 * ones, ones]))[0])
    drawn = _areas(values, np.concatenate([times, nothing]), np.concatenate([nothing, times]))
    null = _areas(values, np.concatenate([1 - swap, swap]), np.concatenate([swap, 1 - swap]))
    rows = np.full(len(model), np.nan)
    below = np.sort(humans[known])
    rows[known] = (np.searchsorted(below, model[known]) + np.searchsorted(below, model[known], side="right")) / (
        2 * len(below)
    )
    return Cell(value, 0.5, drawn, float(null.std()), value, null, rows)


def _beyond(model: Floats, humans: Floats, groups: Indices, draws: Draws, *, rate: float) -> Cell:
    """Return the share of answers above the lowest threshold that at most a share of the humans is above."""
    known = np.flatnonzero(~np.isnan(model))
    ours, theirs = humans[known], model[known]
    times, swap = draws.times(groups)[known].astype(np.float64), draws.swapped(groups)[known]
    above = theirs > _thresholds(ours, np.ones((len(known), 1)), rate)[0]
    with np.errstate(invalid="ignore"):
        drawn = ((theirs[:, None] > _thresholds(ours, times, rate)) * times).sum(axis=0) / times.sum(axis=0)
    sides = np.where(swap, theirs[:, None], ours[:, None]), np.where(swap, ours[:, None], theirs[:, None])
    most = int(beyond(rate, len(known)))
    null = (sides[1] > np.sort(sides[0], axis=0)[len(known) - 1 - most]).mean(axis=0)
    rows = np.full(len(model), np.nan)
    rows[known] = above
    return Cell(float(above.mean()), rate, drawn, float(null.std()), float(above.mean()), null, rows)


def _thresholds(humans: Floats, times: Floats, rate: float) -> Floats:
    """Return, by sets of humans [humans, sets], the lowest of them that at most a share of the set is above."""
    order = np.argsort(-humans, kind="stable")
    most = beyond(rate, times.sum(axis=0))
    return np.asarray(humans[order][(np.cumsum(times[order], axis=0) > most).argmax(axis=0)])


def _areas(values: Floats, one: Floats, two: Floats) -> Floats:
    """Return how often a value of the first side is above one of the second, ties half, by weights [values, sets]."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(values[order]) > 0]))
    sides = [np.add.reduceat(side[order], starts, axis=0) for side in (one, two)]
    below = np.cumsum(sides[1], axis=0) - sides[1] / 2
    with np.errstate(invalid="ignore"):
        return np.asarray((sides[0] * below).sum(axis=0) / (one.sum(axis=0) * two.sum(axis=0)))


def _joined(columns: Sequence[Column], cells: Mapping[str, Cell], count: int) -> dict[str, Cell]:
    """Return the joint scores that a bucket's judgements allow."""
    of: dict[tuple[bool, str], list[Cell]] = defaultdict(list)
    for column in columns:
        of[column.metric.people, column.metric.role].append(cells[column.name])
    rated = [_scaled(cell, *_RATED) for cell in of[True, "quality"]]
    # Of two answers the right one is chosen as often as scores put the machine's above: an AUROC.
    picked = [_scaled(cell, 1.0, 0.0) for cell in of[True, "likeness"]]
    found = {}
    for name, good, apart in (
        ("joint", [_scaled(cell, 0.0, 100.0) for cell in of[False, "quality"]], of[False, "likeness"]),
        ("joint_people", rated, picked),
    ):
        if good and apart:
            sides = [
                [np.mean([getattr(cell, part) for cell in side], axis=0) for side in (good, apart)]
                for part in ("value", "draws", "floor")
            ]
            value, drawn, floor = (_harmonic(*side) for side in sides)
            nothing = np.full(count, np.nan)
            found[name] = Cell(float(value), float(floor), drawn, math.nan, math.nan, nothing, np.zeros(0))
    return found


def _scaled(cell: Cell, low: float, high: float) -> Cell:
    """Return a cell with its values as shares of a scale."""
    values = {name: (getattr(cell, name) - low) / (high - low) for name in ("value", "draws", "floor")}
    return replace(cell, **values)


def _harmonic(quality: Any, area: Any) -> Any:
    """As :func:`polyalign.evaluation.detectors.joint_score`, of arrays."""
    likeness = np.clip(2 * (1 - area), 0.0, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = 2 * quality * likeness / (quality + likeness)
    return np.where((quality + likeness) == 0, 0.0, found)


def joint_measures(metrics: Iterable[_Metric]) -> Iterator[Measure]:
    """Give the joint scores that some metrics allow."""
    roles = {(metric.people, metric.role) for metric in metrics}
    for name, people in (("joint", False), ("joint_people", True)):
        if {(people, "quality"), (people, "likeness")} <= roles:
            yield _measure(name, said(name), said(f"{name}_formula"), "source_joint", (0.0, 1.0), main=True)


def widened(number: Number, worth: float) -> Number:
    """Return a share with Wilson's interval where that is wider: draws of ten alike answers don't vary."""
    if number.value is None or worth <= 0:
        return number
    low, high = wilson(number.value, worth)
    ends = [
        low if number.low is None else min(low, number.low),
        high if number.high is None else max(high, number.high),
    ]
    return replace(number, low=ends[0], high=ends[1])
