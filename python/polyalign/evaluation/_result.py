"""What an evaluation came to, in numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from polyalign._io import json_text
from polyalign._text.words import counted

__all__ = ["Alert", "Difference", "Measure", "ModelResult", "Number", "Numbers"]

FORMAT = "polyalign evaluation"
#: Which values are humans': the least, the most, or those in the middle.
Better = Literal["low", "high", "human"]
#: Beside a bucket's name: means over all buckets, each alike, or by its number of humans.
MACRO, WEIGHTED = "macro", "weighted"


@dataclass(frozen=True)
class Measure:
    """What a metric is."""

    name: str
    title: str
    chinese: str
    kind: str
    """``utility``, ``faithfulness``, ``diversity``, ``fault``, ``critic``, ``judged`` or ``summary``."""
    better: Better
    """What humans have: the least, the most, or what lies between."""
    formula: str
    source: str
    range: tuple[float | None, float | None] = (0.0, None)
    share: bool = False
    """Whether it is a share, for people in percent."""
    alerts: int = 0
    """How plainly it names a fault: of a bucket's alerts the highest is the headline. 1: of how answers relate to what
    was asked, whatever they are like; 0: it is no alert."""
    main: bool = False
    """Whether small tables have it, beside those that all evaluations have."""

    def say(self, value: float | None) -> str:
        """Return a value for people."""
        if value is None:
            return "–"
        if self.share:
            return f"{value:.1%}"
        return f"{value + 0.0 if abs(value) >= 0.0005 else 0.0:.3f}" if abs(value) < 10 else f"{value:,.1f}"

    def off(self, value: float, floor: float) -> float:
        """Return how far off humans a value is: above 0 is worse."""
        if self.better == "high":
            return floor - value
        return value - floor if self.better == "low" else abs(value - floor)

    def size(self, value: float, floor: float) -> float:
        """Return how far off it is from 0 to 1, to put metrics side by side."""
        off = max(0.0, self.off(value, floor))
        return min(1.0, off) if self.share else off / (off + max(abs(floor), 0.2))


@dataclass(frozen=True)
class Number:
    """One number, and what it means."""

    value: float | None
    """``None``: not enough answers, or it does not apply."""
    low: float | None = None
    """Where its 95% interval begins: groups are resampled."""
    high: float | None = None
    """Where it ends."""
    floor: float | None = None
    """What as many humans get."""
    p: float | None = None
    """How often a model whose answers are humans' would be as far off."""

    def to_dict(self) -> dict[str, float | None]:
        """Return the five as plain data."""
        return {name: _plain(value) for name, value in vars(self).items()}


def _plain(value: float | None) -> float | None:
    """Return a number as JSON has it, with as many digits as can mean something."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")


@dataclass(frozen=True)
class Alert:
    """Where a model is further off than humans are from one another."""

    model: str
    bucket: str
    metric: str
    """What says it most plainly."""
    value: float
    floor: float
    noise: float | None
    """How much humans' own value varies: a standard deviation."""
    p: float
    """That of the metric by which the bucket is most surely off, corrected for the number of buckets and metrics."""
    size: float
    """0 to 1, to sort alerts of different metrics by."""
    also: tuple[str, ...]
    """The bucket's other metrics that say so."""


@dataclass(frozen=True)
class Difference:
    """Two models compared, on the prompts that both answer."""

    one: str
    two: str
    metric: str
    bucket: str | None
    """``None``: the macro mean."""
    difference: float
    """Of the second to the first."""
    low: float | None
    high: float | None
    effect: float | None
    """The difference over its unit: the standard deviation of answers' own differences (Cohen's d, paired) where each
    answer has a value, else that of sets of humans."""
    p: float | None
    """Corrected (Holm): those of the verdict, a metric each for human and useful, for their number among all pairs of
    models; the others of two models for the number of metrics, or of buckets and metrics."""
    better: str | None
    """The model that is better, where p < .05."""


@dataclass(frozen=True)
class ModelResult:
    """A model's numbers."""

    name: str
    overall: Mapping[str, Number]
    """By metric, the mean over buckets, each alike; ``utility`` metrics likewise."""
    weighted: Mapping[str, Number]
    """By metric, the mean over buckets by their numbers of humans."""
    buckets: Mapping[str, Mapping[str, Number]]
    axes: Mapping[str, Mapping[str, Mapping[str, Number]]]
    """By axis and its value, the mean over the buckets that have it."""
    prompts: Mapping[str, int]
    """By bucket, how many prompts are compared."""
    not_enough: Mapping[str, str]
    """Which buckets have no numbers, and why."""
    counts: Mapping[str, int]
    """Answers given, compared, empty, cut; prompts and humans: prompts that numbers are of, and humans in all."""
    per_prompt: Mapping[int, int]
    """How many prompts have how many answers."""
    skipped: Sequence[Mapping[str, Any]]
    """What was left out: kind, count, and where the first is."""
    notices: Sequence[str]
    settings: Mapping[str, Any] | None
    """What `polyalign generate` recorded of the decoding."""
    unreadable: Sequence[Mapping[str, Any]] = ()
    """The files that could not be read to their end: file, offset, reason."""
    judged: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By metric of a judge, a detector or people and by bucket, how many prompts it judged."""
    needed: Mapping[str, int] = field(default_factory=dict)
    """By such a metric, how many a bucket's number needs."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""

        def plain(numbers: Mapping[str, Number]) -> dict[str, Any]:
            return {
                name: None if number.value is None or not math.isfinite(number.value) else number.to_dict()
                for name, number in numbers.items()
            }

        return {
            "name": self.name,
            "overall": plain(self.overall),
            "buckets": {bucket: plain(numbers) for bucket, numbers in self.buckets.items()},
            "weighted": plain(self.weighted),
            "axes": {
                axis: {part: plain(numbers) for part, numbers in parts.items()} for axis, parts in self.axes.items()
            },
            "prompts": dict(self.prompts),
            "not_enough": dict(self.not_enough),
            "counts": dict(self.counts),
            "per_prompt": {str(many): count for many, count in self.per_prompt.items()},
            "skipped": [dict(skip) for skip in self.skipped],
            "notices": list(self.notices),
            "unreadable": [dict(file) for file in self.unreadable],
            "judged": {metric: dict(buckets) for metric, buckets in self.judged.items()},
            "needed": dict(self.needed),
            "settings": self.settings,
        }


@dataclass(frozen=True)
class Numbers:
    """All numbers of an evaluation; what they look like is said by :class:`Evaluation`."""

    models: tuple[ModelResult, ...]
    measures: tuple[Measure, ...]
    alerts: tuple[Alert, ...]
    """The worst first."""
    differences: tuple[Difference, ...]
    """Every two models compared; over all buckets, then by bucket."""
    humans: Mapping[str, int]
    """By bucket, how many there are in all."""
    axes: tuple[str, ...]
    settings: Mapping[str, Any]
    """What the numbers depend on beside the data."""
    warnings: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What the page shows beside the numbers: histograms, phrases, answers."""

    def measure(self, name: str) -> Measure:
        """Return what a metric is.

        Raises
        ------
        KeyError
            There is none of that name.
        """
        found = [measure for measure in self.measures if measure.name == name]
        return found[0] if found else _no(name)

    def model(self, name: str) -> ModelResult:
        """Return a model's numbers.

        Raises
        ------
        KeyError
            There is none of that name.
        """
        found = [model for model in self.models if model.name == name]
        return found[0] if found else _no(name)

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain data, ready for JSON; what does not apply is None."""
        return {
            "format": FORMAT,
            "models": [model.to_dict() for model in self.models],
            "alerts": [_rounded(asdict(alert)) for alert in self.alerts],
            "differences": [_rounded(asdict(difference)) for difference in self.differences],
            "humans": dict(self.humans),
            "settings": dict(self.settings),
            "warnings": list(self.warnings),
        }

    def to_json(self) -> str:
        """Return all numbers as JSON; NaN does not occur in it."""
        return json_text.indented(self.to_dict())

    def rows(self) -> Iterator[dict[str, Any]]:
        """Give a row a number: model, bucket, metric, value, low, high, floor, p; ``macro`` and ``weighted`` first."""
        for model in self.models:
            for bucket, numbers in ((MACRO, model.overall), (WEIGHTED, model.weighted), *model.buckets.items()):
                for metric, number in numbers.items():
                    yield {"model": model.name, "bucket": bucket, "metric": metric, **number.to_dict()}

    def to_arrow(self) -> Any:
        """Return a row a number, a pyarrow table: model, bucket, metric, value, low, high, floor, p."""
        import pyarrow as pa

        texts = [(name, pa.string()) for name in ("model", "bucket", "metric")]
        numbers = [(name, pa.float64()) for name in ("value", "low", "high", "floor", "p")]
        return pa.Table.from_pylist(list(self.rows()), schema=pa.schema([*texts, *numbers]))

    def __repr__(self) -> str:
        return f"<Evaluation of {counted(len(self.models), 'model')} in {counted(len(self.humans), 'bucket')}>"


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) if isinstance(value, float) else value for name, value in values.items()}


def _no(name: str) -> Any:
    raise KeyError(name)
