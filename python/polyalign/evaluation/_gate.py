"""A gate: conditions under which an evaluation fails, for continuous integration."""

from __future__ import annotations

import difflib
import json
import math
import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from polyalign.evaluation._measures import MEASURES
from polyalign.evaluation._result import FORMAT, MACRO, WEIGHTED
from polyalign.evaluation._statistics import holm

if TYPE_CHECKING:
    from polyalign.evaluation._result import Measure, ModelResult, Number, Numbers

__all__ = ["Condition", "Finding", "check", "junit"]

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_NUMBER = re.compile(
    r"""\s*(?P<metric>\w+)
        (?:\[(?P<quote>['"])(?P<bucket>.+?)(?P=quote)\]|\.(?P<over>macro|weighted|worst))?
        (?:\.(?P<part>value|low|high|floor|p))?
        \s*(?P<sign>[<>]=?)\s*(?P<limit>[-+]?[\d.]+(?:e[-+]?\d+)?)\s*""",
    re.VERBOSE | re.IGNORECASE,
)
_WORSE = re.compile(r"\s*worse_than\s+(?P<file>.+?)\s*")
_ALPHA = 0.05
#: What the names of metrics begin with that depend on what is given.
_GIVEN = ("critic_", "judge_", "wins_", "detector_", "people_", "joint")


@dataclass(frozen=True)
class Finding:
    """What a condition came to for a model."""

    condition: str
    model: str
    failed: bool
    line: str
    """What is so, in a line."""


@dataclass(frozen=True)
class Condition:
    """A condition under which an evaluation fails; :meth:`parse` reads one."""

    text: str
    metric: str = ""
    bucket: str | None = None
    over: str = MACRO
    """``macro``, ``weighted`` or ``worst``: the bucket that is worst."""
    part: str = "value"
    sign: str = ">"
    limit: float = 0.0
    baseline: str | None = None
    """The file of an earlier evaluation's JSON, which this one may not be worse than."""

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read ``mmd.macro > 0.02``, ``hcr['en|single|qa|short'] < 0.5`` or ``worse_than baseline.json``.

        Raises
        ------
        ValueError
            It is none of these.

        Examples
        --------
        >>> Condition.parse("mmd.macro > 0.02").limit, Condition.parse("worse_than main.json").baseline
        (0.02, 'main.json')
        """
        if found := _WORSE.fullmatch(text):
            return cls(text, baseline=found["file"])
        found = _NUMBER.fullmatch(text)
        try:
            limit = float(found["limit"]) if found else math.nan
        except ValueError:
            limit = math.nan
        if found is None or math.isnan(limit):
            raise ValueError(
                f"{text!r} is no condition: give one such as 'mmd.macro > 0.02', \"hcr['en|single|qa|short'] < 0.5\" "
                "or 'worse_than baseline.json'"
            )
        return cls(
            text,
            metric=found["metric"],
            bucket=found["bucket"],
            over=found["over"] or MACRO,
            part=found["part"] or "value",
            sign=found["sign"],
            limit=limit,
        )


def check(evaluation: Numbers, conditions: Sequence[Condition]) -> list[Finding]:
    """Return what every condition comes to for every model.

    Raises
    ------
    ValueError
        A metric that is not there; a baseline that is no evaluation, or has none of the models.
    OSError
        A baseline can't be read.
    """
    return [finding for condition in conditions for finding in _checked(evaluation, condition)]


def foresee(conditions: Sequence[Condition]) -> None:
    """Refuse before the work what would be refused after it: a metric that can't be, a baseline that is none.

    Raises
    ------
    ValueError, OSError
        As of :func:`check`.
    """
    names = [measure.name for measure in MEASURES]
    for condition in conditions:
        if condition.baseline is not None:
            baseline(condition.baseline)
        elif not condition.metric.startswith(_GIVEN):
            _check_metric(condition, names)


def _check_metric(condition: Condition, known: Collection[str]) -> None:
    if condition.metric not in known:
        raise ValueError(f"{condition.text!r}: no metric {condition.metric!r}; there are {', '.join(known)}")


def _checked(evaluation: Numbers, condition: Condition) -> Iterator[Finding]:
    if condition.baseline is not None:
        yield from _worse(evaluation, condition, condition.baseline)
        return
    known = {measure.name: measure for measure in evaluation.measures}
    _check_metric(condition, known)
    if condition.bucket is not None and condition.bucket not in evaluation.humans:
        near = difflib.get_close_matches(condition.bucket, evaluation.humans, 1)
        raise ValueError(
            f"{condition.text!r}: no bucket {condition.bucket!r}" + (f"; did you mean {near[0]!r}?" if near else "")
        )
    for model in evaluation.models:
        yield _compared(model, condition, known[condition.metric])


def _compared(model: ModelResult, condition: Condition, measure: Measure) -> Finding:
    where, number = _number(model, condition, measure)
    value = None if number is None else getattr(number, condition.part)
    if value is None or not math.isfinite(value):
        # What can't be told must not pass as if it were good.
        why = model.not_enough.get(condition.bucket or "", "there is no such number")
        return Finding(condition.text, model.name, True, f"{model.name}: {condition.text}: {why}")
    failed = _COMPARISONS[condition.sign](value, condition.limit)
    said = f"{condition.metric}{where} is {value:.4g}"
    return Finding(
        condition.text, model.name, failed, f"{model.name}: {said}{', as' if failed else ', not'} {condition.text}"
    )


def _number(model: ModelResult, condition: Condition, measure: Measure) -> tuple[str, Number | None]:
    part = "" if condition.part == "value" else f" ({condition.part})"
    if condition.bucket is not None:
        return f" of {condition.bucket}{part}", model.buckets.get(condition.bucket, {}).get(condition.metric)
    if condition.over != "worst":
        numbers = model.weighted if condition.over == WEIGHTED else model.overall
        return f".{condition.over}{part}", numbers.get(condition.metric)
    there = [
        (bucket, numbers[condition.metric])
        for bucket, numbers in model.buckets.items()
        if condition.metric in numbers and numbers[condition.metric].value is not None
    ]
    if not there:
        return ".worst", None
    bucket, worst = max(there, key=lambda each: measure.off(each[1].value or 0.0, each[1].floor or 0.0))
    return f".worst, {bucket},{part}", worst


# ------------------------------------------------------------------------------------------------- baseline


def _worse(evaluation: Numbers, condition: Condition, file: str) -> Iterator[Finding]:
    """Compare with an earlier evaluation: what is worse beyond both intervals, corrected for the number of numbers."""
    told = baseline(file)
    earlier = {model["name"]: model for model in told["models"]}
    for model in evaluation.models:
        before = earlier.get(model.name)
        if before is None and len(earlier) == len(evaluation.models) == 1:
            before = next(iter(earlier.values()))
        if before is None:
            raise ValueError(f"{file}: has no model {model.name!r}: it has {', '.join(map(repr, earlier))}")
        changes, lost = list(_changes(evaluation, model, before)), list(_lost(model, before))
        corrected = holm([p for *_, p in changes])
        worse = [
            f"{name} {measure.say(was)} → {measure.say(now)}"
            for (name, measure, was, now, _), p in zip(changes, corrected, strict=True)
            if p is not None and p < _ALPHA
        ]
        said = [f"worse than {file}: {'; '.join(worse)}"] if worse else []
        if lost:  # what can't be told must not pass as if it were good
            said.append(f"{file} has numbers that can't be told any more: {', '.join(lost)}")
        if not changes:
            said.append(f"no number can be compared with {file}")
        failed = bool(said)
        said = said or [f"not worse than {file}"]
        if not _same_buckets(model, before):
            said.append("means over buckets are not compared, as they are of other buckets")
        if any(evaluation.humans.get(bucket, rows) != rows for bucket, rows in told.get("humans", {}).items()):
            said.append("its humans are others")
        yield Finding(condition.text, model.name, failed, f"{model.name}: {'; '.join(said)}")


def baseline(file: str) -> Mapping[str, Any]:
    """Return an earlier evaluation's JSON; ValueError: it is none; OSError: it can't be read."""
    try:
        told = json.loads(Path(file).read_text("utf-8"))
        whole = all(map(_is_model, told["models"])) and isinstance(told.get("humans", {}), dict)
        known = whole and bool(told["models"]) and told.get("format", FORMAT) == FORMAT
    except (ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise ValueError(f"{file}: not what this version of polyalign evaluate --json prints: make it anew")
    return told  # type: ignore[no-any-return]


def _is_model(model: Any) -> bool:
    numbers = [number for of in (model["overall"], *model["buckets"].values()) for number in of.values()]
    values = [number[part] for number in numbers if number is not None for part in ("value", "low", "high", "floor")]
    return isinstance(model["name"], str) and all(value is None or isinstance(value, (int, float)) for value in values)


def _same_buckets(model: ModelResult, before: Mapping[str, Any]) -> bool:
    return set(model.buckets) == set(before["buckets"])


def _lost(model: ModelResult, before: Mapping[str, Any]) -> Iterator[str]:
    """Give what the earlier evaluation has a number of, and this one has none."""
    gone = set(_without(model.overall, before["overall"]))
    yield from sorted(gone)
    for bucket, numbers in before["buckets"].items():
        if bucket not in model.buckets:
            yield f"{bucket} ({model.not_enough.get(bucket, 'no such bucket')})"
            continue
        yield from (f"{name} of {bucket}" for name in _without(model.buckets[bucket], numbers) if name not in gone)


def _without(now: Mapping[str, Number], before: Mapping[str, Any]) -> Iterator[str]:
    for name, was in before.items():
        if was is not None and was["value"] is not None and (name not in now or now[name].value is None):
            yield name


def _changes(
    evaluation: Numbers, model: ModelResult, before: Mapping[str, Any]
) -> Iterator[tuple[str, Measure, float, float, float]]:
    """Give the numbers that both have: where, which metric, before, now, and how likely it is no worse."""
    pairs: list[tuple[str | None, Mapping[str, Number], Mapping[str, Any]]] = [
        (bucket, numbers, before["buckets"][bucket])
        for bucket, numbers in model.buckets.items()
        if bucket in before["buckets"]
    ]
    if _same_buckets(model, before):
        pairs.insert(0, (None, model.overall, before["overall"]))
    for bucket, numbers, earlier in pairs:
        for measure in evaluation.measures:
            now, was = numbers.get(measure.name), earlier.get(measure.name)
            if now is None or now.value is None or not was or was["value"] is None:
                continue
            if now.low is None or was["low"] is None:  # nothing says how far it may move by chance
                continue
            name = measure.name if bucket is None else f"{measure.name} of {bucket}"
            yield name, measure, was["value"], now.value, _no_worse(measure, now, was)


def _no_worse(measure: Measure, now: Number, was: Mapping[str, float]) -> float:
    floor = [value for value in (now.floor, was.get("floor")) if value is not None]
    human = sum(floor) / len(floor) if floor else 0.0
    change = measure.off(now.value or 0.0, human) - measure.off(was["value"], human)
    widths = [
        (high - low) / (2 * 1.96)
        for low, high in ((now.low, now.high), (was.get("low"), was.get("high")))
        if low is not None and high is not None
    ]
    spread = math.hypot(*widths) if widths else 0.0
    if change <= 1e-5 * max(1.0, abs(was["value"])):  # a file has six digits
        return 1.0
    if spread <= 0:
        return 0.0
    return 0.5 * math.erfc(change / spread / math.sqrt(2))


def junit(findings: Sequence[Finding]) -> bytes:
    """Return findings as JUnit's XML, a test case each."""
    failed = sum(finding.failed for finding in findings)
    counts = {"tests": str(len(findings)), "failures": str(failed)}
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "polyalign evaluate", **counts})
    for finding in findings:
        about = {"classname": _xml(finding.model), "name": _xml(finding.condition)}
        case = ElementTree.SubElement(suite, "testcase", about)
        if finding.failed:
            ElementTree.SubElement(case, "failure", {"message": _xml(finding.line)})
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(finding.line)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _xml(text: str) -> str:
    """Replace what XML can't hold."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
