"""A gate: conditions under which an evaluation fails, for continuous integration."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

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


def _checked(evaluation: Numbers, condition: Condition) -> Iterator[Finding]:
    if condition.baseline is not None:
        yield from _worse(evaluation, condition, condition.baseline)
        return
    known = {measure.name: measure for measure in evaluation.measures}
    if condition.metric not in known:
        raise ValueError(f"{condition.text!r}: no metric {condition.metric!r}; there are {', '.join(known)}")
    if condition.bucket is not None and condition.bucket not in evaluation.humans:
        raise ValueError(f"{condition.text!r}: no bucket {condition.bucket!r}")
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
    earlier = {model["name"]: model for model in baseline(file)}
    for model in evaluation.models:
        before = earlier.get(model.name)
        if before is None and len(earlier) == len(evaluation.models) == 1:
            before = next(iter(earlier.values()))
        if before is None:
            raise ValueError(f"{file}: has no model {model.name!r}: it has {', '.join(map(repr, earlier))}")
        changes = list(_changes(evaluation, model, before))
        corrected = holm([p for *_, p in changes])
        worse = [
            f"{name} {measure.say(was)} → {measure.say(now)}"
            for (name, measure, was, now, _), p in zip(changes, corrected, strict=True)
            if p is not None and p < _ALPHA
        ]
        if not changes:
            line = f"{model.name}: {condition.text}: the two have no number in common"
            yield Finding(condition.text, model.name, True, line)
            continue
        said = f"worse than {file}: {'; '.join(worse)}" if worse else f"not worse than {file}"
        yield Finding(condition.text, model.name, bool(worse), f"{model.name}: {said}")


def baseline(file: str) -> list[Mapping[str, Any]]:
    """Return the models of an earlier evaluation's JSON; ValueError: it is none; OSError: it can't be read."""
    try:
        told = json.loads(Path(file).read_text("utf-8"))
        models = told["models"]
        if told.get("format", FORMAT) != FORMAT or not all("overall" in model and "name" in model for model in models):
            raise KeyError("format")
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{file}: not what polyalign evaluate --json prints") from None
    return list(models)


def _changes(
    evaluation: Numbers, model: ModelResult, before: Mapping[str, Any]
) -> Iterator[tuple[str, Measure, float, float, float]]:
    """Give the numbers that both have: where, which metric, before, now, and how likely it is no worse."""
    earlier: dict[str | None, Any] = {None: before["overall"], **before.get("buckets", {})}
    own: list[tuple[str | None, Mapping[str, Number]]] = [(None, model.overall), *model.buckets.items()]
    for bucket, numbers in own:
        for measure in evaluation.measures:
            now, was = numbers.get(measure.name), (earlier.get(bucket) or {}).get(measure.name)
            if now is None or now.value is None or not was or was.get("value") is None:
                continue
            if now.low is None or was.get("low") is None:  # nothing says how far it may move by chance
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
