"""What people are asked: ratings of an answer, and which of two a person wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from polyalign._io import yaml_text

__all__ = ["DEFAULT", "LOW_HIGH", "Question", "Questions", "read_questions"]

#: The file with our own wording, to begin one's own with.
DEFAULT = Path(__file__).with_name("_questions.yaml")
#: Of every rating.
LOW_HIGH = (1, 5)
_LANGUAGES = ("en", "zh")
_MOST, _LONGEST = 9, 4000
_PARTS = ("title", "instructions", "questions", "choice")
_QUESTION = ("id", "text", "low", "high")

Worded = dict[str, str]


@dataclass(frozen=True)
class Question:
    """A rating from 1 to 5, worded in each language of the page."""

    id: str
    text: Worded
    low: Worded
    """What 1 means."""
    high: Worded
    """What 5 means."""


@dataclass(frozen=True)
class Questions:
    """What a page asks."""

    title: Worded
    instructions: Worded
    questions: tuple[Question, ...]
    choice: Worded

    def to_dict(self) -> dict[str, Any]:
        """Return them as plain data."""
        return asdict(self)


def read_questions(path: Path | None = None) -> Questions:
    """Read what is asked from YAML or JSON; what the file leaves out is ours.

    Raises
    ------
    ValueError
        It is not of the form of our own: the error says where.
    """
    ours = yaml_text.members(yaml_text.load(DEFAULT), _PARTS, str(DEFAULT))
    given = {} if path is None else yaml_text.members(yaml_text.load(path), _PARTS, str(path))
    told, name = {**ours, **given}, str(path or DEFAULT)
    listed = told["questions"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= _MOST:
        raise ValueError(f"{name}: questions must be a list of one to {_MOST}")
    questions = tuple(_question(each, f"{name}: questions[{at}]") for at, each in enumerate(listed))
    names = [question.id for question in questions]
    if len(set(names)) < len(names):
        raise ValueError(f"{name}: two questions have one id: {', '.join(names)}")
    title, instructions, choice = (
        _worded(told[part], f"{name}: {part}") for part in ("title", "instructions", "choice")
    )
    return Questions(title, instructions, questions, choice)


def _question(value: Any, where: str) -> Question:
    told = yaml_text.members(value, _QUESTION, where)
    for part in _QUESTION:
        if part not in told:
            raise ValueError(f"{where} has no {part}")
    name = told["id"]
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][\w-]{0,39}", name) or name == "choice":
        raise ValueError(f"{where}.id is {name!r}: it must be a short name of letters, digits and _, and not choice")
    return Question(name, *(_worded(told[part], f"{where}.{part}") for part in _QUESTION[1:]))


def _worded(value: Any, where: str) -> Worded:
    """Return a text in each language: the same in all where it is one."""
    if isinstance(value, str):
        value = dict.fromkeys(_LANGUAGES, value)
    if not isinstance(value, Mapping) or not value or not set(value) <= set(_LANGUAGES):
        raise ValueError(f"{where} must be a text, or one for each of {', '.join(_LANGUAGES)}")
    for text in value.values():
        if not isinstance(text, str) or not text.strip() or len(text) > _LONGEST:
            raise ValueError(f"{where} must be text of at most {_LONGEST:,} characters")
    first = next(iter(value.values()))
    return {language: str(value.get(language, first)).strip() for language in _LANGUAGES}
