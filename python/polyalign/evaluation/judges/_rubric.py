"""What a judge is asked, and what its scores come to."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from polyalign._io import yaml_text

__all__ = ["DEFAULT", "HIGH", "LOW", "Cap", "Dimension", "Rubric", "read_rubric"]

#: The file with our own, to begin one's own with.
DEFAULT = Path(__file__).with_name("_rubric.yaml")
#: The ends of a dimension's scale.
LOW, HIGH = 1, 5
#: What a judge's scores come to, all dimensions by their weights.
OVERALL = "overall"
_MOST, _LONGEST = 20, 2000
_PARTS = ("dimensions", "composites", "caps")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class Dimension:
    """What gets a score from 1 to 5."""

    id: str
    text: str
    anchors: Mapping[int, str]
    weight: float


@dataclass(frozen=True)
class Cap:
    """What, if it is so, nothing may be above."""

    id: str
    text: str
    most: float


@dataclass(frozen=True)
class Rubric:
    """Dimensions, composites and caps.

    Attributes
    ----------
    dimensions : tuple of Dimension
    composites : mapping
        By name, the weights of some dimensions; ``overall`` is always among them.
    caps : tuple of Cap
    """

    dimensions: tuple[Dimension, ...]
    composites: Mapping[str, Mapping[str, float]]
    caps: tuple[Cap, ...]

    def totals(self, scores: Mapping[str, float], flags: Mapping[str, bool]) -> dict[str, float]:
        """Return every composite, from 0 to 100.

        Parameters
        ----------
        scores : mapping
            Of every dimension, from 1 to 5: 1 counts 0, 5 counts 100.
        flags : mapping
            Of every cap, whether it is so.

        Examples
        --------
        >>> rubric = read_rubric()
        >>> scores = {dimension.id: 4 for dimension in rubric.dimensions}
        >>> rubric.totals(scores, {})["overall"]
        75.0
        >>> rubric.totals(scores, {"wrong_language": True})["overall"]
        20.0
        """
        most = min((cap.most for cap in self.caps if flags.get(cap.id)), default=100.0)
        found = {}
        for name, weights in self.composites.items():
            total = math.fsum(weight * (scores[of] - LOW) / (HIGH - LOW) for of, weight in weights.items())
            found[name] = round(min(most, 100 * total / math.fsum(weights.values())), 6)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def read_rubric(path: str | Path | None = None) -> Rubric:
    """Read a rubric from YAML or JSON; without a file, our own.

    Raises
    ------
    OSError, ValueError
        It is not there, or not of the form of our own: the error says where.
    """
    path = Path(path or DEFAULT)
    told = yaml_text.members(yaml_text.load(path), _PARTS, str(path))
    dimensions = tuple(
        _dimension(each, f"{path}: dimensions[{at}]")
        for at, each in enumerate(_listed(told.get("dimensions"), f"{path}: dimensions", least=1))
    )
    caps = tuple(
        _cap(each, f"{path}: caps[{at}]") for at, each in enumerate(_listed(told.get("caps") or [], f"{path}: caps"))
    )
    names = [*(each.id for each in dimensions), *(cap.id for cap in caps)]
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: two dimensions or caps have one id: {', '.join(names)}")
    composites: dict[str, Mapping[str, float]] = {OVERALL: {each.id: each.weight for each in dimensions}}
    given = told.get("composites") or {}
    if not isinstance(given, Mapping):
        raise ValueError(f"{path}: composites must be names with weights of dimensions")
    for name, weights in given.items():
        composites[_name(name, f"{path}: composites")] = _weights(
            weights, [each.id for each in dimensions], f"{path}: composites.{name}"
        )
    return Rubric(dimensions, composites, caps)


def _listed(value: Any, where: str, least: int = 0) -> list[Any]:
    if not isinstance(value, list) or not least <= len(value) <= _MOST:
        raise ValueError(f"{where} must be a list of {least} to {_MOST}")
    return value


def _dimension(value: Any, where: str) -> Dimension:
    told = yaml_text.members(value, ("id", "text", "anchors", "weight"), where)
    anchors = told.get("anchors") or {}
    if not isinstance(anchors, Mapping):
        raise ValueError(f"{where}.anchors must say what scores mean, as 1: …")
    read = {}
    for score, text in anchors.items():
        if str(score) not in map(str, range(LOW, HIGH + 1)):
            raise ValueError(f"{where}.anchors has {score!r}: scores are {LOW} to {HIGH}")
        read[int(score)] = _text(text, f"{where}.anchors[{score}]")
    weight = _number(told.get("weight", 1.0), f"{where}.weight", 1e9)
    return Dimension(
        _name(told.get("id"), where), _text(told.get("text"), f"{where}.text"), dict(sorted(read.items())), weight
    )


def _cap(value: Any, where: str) -> Cap:
    told = yaml_text.members(value, ("id", "text", "most"), where)
    most = _number(told.get("most"), f"{where}.most", 100)
    return Cap(_name(told.get("id"), where), _text(told.get("text"), f"{where}.text"), most)


def _weights(value: Any, known: list[str], where: str) -> dict[str, float]:
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{where} must be weights of dimensions")
    for name in value:
        if name not in known:
            raise ValueError(f"{where}: no dimension {name!r}; there are {', '.join(known)}")
    found = {str(name): _number(weight, f"{where}.{name}", 1e9) for name, weight in value.items()}
    if not sum(found.values()):
        raise ValueError(f"{where}: all weights are 0")
    return found


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"{where}: {value!r} is no id: give small letters, digits and _")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST:
        raise ValueError(f"{where} must be text of at most {_LONGEST:,} characters")
    return value.strip()


def _number(value: Any, where: str, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise ValueError(f"{where} is {value!r}: it must be a number from 0 to {most:g}")
    return float(value)
