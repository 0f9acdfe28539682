"""What a run is to do, and what it came to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polyalign._io import json_text

if TYPE_CHECKING:
    from polyalign.evaluation import Evaluation

__all__ = ["Outcome", "PlannedStage", "plan_table", "verdict"]

#: So many models that are alike are named.
_NAMED = 3


@dataclass(frozen=True)
class PlannedStage:
    """A stage as it would be."""

    name: str
    """Its folder."""
    state: str
    """``done``, ``goes on``, ``to do``, ``made anew``, or ``refused: …`` with what is otherwise than it was."""
    size: str
    """What it works on."""


@dataclass(frozen=True)
class Outcome:
    """What the whole method came to. ``print(outcome)`` says it."""

    output: str
    """The folder."""
    split: str
    """Whose prompts were answered: ``"test"`` or ``"validation"``."""
    verdicts: tuple[str, ...]
    """A line a model; where there are tasks, another of what training has cost."""
    verdict: str
    """Which model is the most human, by what."""
    report: str
    """The report, one HTML file; beside it is `report.md`."""
    evaluation: str
    """All numbers, JSON, as ``polyalign evaluate --json`` prints them."""
    models: dict[str, str]
    """Where each model is, or its name on the hub."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Return it as JSON."""
        return json_text.indented(self.to_dict())

    def __str__(self) -> str:
        return "\n".join([*self.verdicts, f"{self.verdict}; report: {self.report}"])


def plan_table(stages: Sequence[PlannedStage]) -> Any:
    """Return a table of what would be done."""
    from polyalign._text import tables

    return tables.columns_table(
        {
            "stage": [stage.name for stage in stages],
            "state": [stage.state for stage in stages],
            "size": [stage.size for stage in stages],
        },
        ("stage", "state", "size"),
    )


def verdict(evaluation: Evaluation, contenders: Sequence[str]) -> str:
    """Say which of some models is the most human, by the first metric that decides and that all of them have."""
    from polyalign.evaluation._verdict import DECIDING

    models = [model for model in evaluation.models if model.name in contenders]
    for metric in DECIDING:
        numbers = [model.overall.get(metric) for model in models]
        if models and all(number is not None and number.value is not None for number in numbers):
            measure = evaluation.measure(metric)

            def off(at: int, numbers: Any = numbers, measure: Any = measure) -> float:
                number = numbers[at]
                return float(measure.off(number.value, number.floor if number.floor is not None else 0.0))

            best = min(range(len(models)), key=off)
            number: Any = numbers[best]
            humans = "" if number.floor is None else f", humans {measure.say(number.floor)}"
            said = f"most human: {models[best].name} ({measure.title} {measure.say(number.value)}{humans})"
            return said + _alike(evaluation, metric, models[best].name, contenders)
    return "which is the most human can't be said: too few answers in every bucket"


def _alike(evaluation: Evaluation, metric: str, best: str, contenders: Sequence[str]) -> str:
    """Name the models that are not told apart from the best."""
    found = [
        each.one if each.two == best else each.two
        for each in evaluation.differences
        if each.metric == metric and each.bucket is None and best in (each.one, each.two) and each.better is None
    ]
    named = [name for name in found if name in contenders]
    more = f" and {len(named) - _NAMED:,} more" if len(named) > _NAMED else ""
    return f", not told apart from {', '.join(named[:_NAMED])}{more}" if named else ""
