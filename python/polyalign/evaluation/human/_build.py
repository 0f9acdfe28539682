"""A page that people rate answers on without knowing whose they are, and the key that says it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from polyalign._io import bucketed, json_text
from polyalign._text import pages
from polyalign.buckets import _ids
from polyalign.evaluation._beside import HUMAN, Beside, Per, Rows, digest, draw, named, rank, read
from polyalign.evaluation.human._questions import LOW_HIGH, Questions, read_questions

__all__ = ["KEY", "RATINGS", "Study", "Tasks", "build"]

#: What the two files say they are.
KEY, RATINGS = "polyalign human evaluation, key", "polyalign human evaluation, ratings"
Tasks = Literal["both", "ratings", "choices"]
_FILES = Path(__file__).parent


@dataclass(frozen=True)
class Study:
    """A page and its key."""

    page: str
    """HTML that needs nothing else, and does not say whose an answer is."""
    key: Mapping[str, Any]
    """What each task is: the id of the record, its bucket, whose the answer is, on which side the human's stands."""
    counts: Mapping[str, Any]
    """How many tasks of each kind, groups, prompts; groups that had fewer prompts than asked for; what was left out."""

    def key_json(self) -> str:
        """Return the key as the text of its file."""
        return json_text.indented(self.key) + "\n"


def build(
    predictions: Any,
    records: Any,
    *,
    per: Per = "bucket",
    count: int = 5,
    tasks: Tasks = "both",
    languages: Sequence[str] | None = None,
    seed: int = 0,
    questions: str | os.PathLike[str] | None = None,
    reading: bucketed.Reading | None = None,
) -> Study:
    """Draw answers, hide whose they are, and make the page that asks about them.

    Each prompt that is drawn gives a rating of the human's answer and of each model's, and a choice between the human's
    and each model's. Ratings come first: a choice shows what a rating would.

    Parameters
    ----------
    predictions : list of str or PathLike, or mapping
        Models' answers, a file each, ``NAME=FILE`` to name one; or by name: files, an Arrow table or a data set. They
        have the ids of the records.
    records : str, PathLike or list of them, Arrow table, or data set
        The humans: folders that ``polyalign bucket`` made, or rows with id, bucket, prompt and completion.
    per : {"bucket", "length"}
        What so many prompts are drawn of: every bucket, or every length of every language.
    count : int, default 5
        Prompts of each.
    tasks : {"both", "ratings", "choices"}
        What is asked.
    languages : sequence of str, optional
        Only buckets of these.
    seed : int, default 0
        Of what is drawn, of the order and of the sides.
    questions : str or PathLike, optional
        YAML or JSON with the wording. Default: our own.
    reading : Reading, optional
        How predictions are read.

    Returns
    -------
    Study

    Raises
    ------
    OSError, ValueError
        A file is not there or of another form; nothing is left to ask about.
    """
    asked = read_questions(None if questions is None else Path(questions))
    given = predictions if isinstance(predictions, Mapping) else named(predictions)
    return study(
        read(given, records, reading), asked, per=per, count=count, tasks=tasks, languages=languages, seed=seed
    )


def study(
    found: Rows,
    questions: Questions,
    *,
    per: Per = "bucket",
    count: int = 5,
    tasks: Tasks = "both",
    languages: Sequence[str] | None = None,
    seed: int = 0,
) -> Study:
    """Make the page of prompts with their answers."""
    rows = [row for row in found.rows if languages is None or _ids.split(row.bucket)[0] in languages]
    if not rows:
        there = ", ".join(sorted({_ids.split(row.bucket)[0] for row in found.rows}))
        raise ValueError(f"no prompt is in {', '.join(languages or ())}: the languages are {there}")
    drawn, few = draw(rows, found.axes, per, count, seed)
    made = _tasks(drawn, found.models, tasks, seed)
    shown = [{"id": str(at), **task.shown} for at, task in enumerate(made, 1)]
    asked = questions.to_dict()
    page = hashlib.sha256(json_text.one_line([shown, asked, seed]).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    key = {
        "format": KEY,
        "page": page,
        "seed": seed,
        "per": per,
        "count": count,
        "models": found.models,
        "questions": [question.id for question in questions.questions],
        "tasks": {str(at): task.hidden for at, task in enumerate(made, 1)},
    }
    counts = {
        "page": page,
        "groups": len(drawn),
        "prompts": sum(map(len, drawn.values())),
        "ratings": sum("answer" in task for task in shown),
        "choices": sum("answers" in task for task in shown),
        "alike": sum(
            row.human.split() == text.split() for of in drawn.values() for row in of for text in row.answers.values()
        ),
        "few": few,
        "left_out": dict(found.left),
        "lines": found.lines(),
        "unreadable": found.unreadable,
    }
    return Study(_page(page, questions, shown), key, counts)


@dataclass(frozen=True)
class _Task:
    shown: dict[str, Any]
    hidden: dict[str, Any]


def _tasks(drawn: Mapping[str, Sequence[Beside]], models: Sequence[str], tasks: Tasks, seed: int) -> list[_Task]:
    """Return the tasks in an order that tells nothing, ratings first."""
    ratings: list[tuple[bytes, _Task]] = []
    choices: list[tuple[bytes, _Task]] = []
    for group, rows in drawn.items():
        for row in rows:
            about = {"record": row.id, "bucket": row.bucket, "group": group}
            for source in (HUMAN, *models) if tasks != "choices" else ():
                text = row.human if source == HUMAN else row.answers[source]
                task = _Task(
                    {"prompt": row.prompt, "answer": text}, {**about, "source": source, "answer": digest(text)}
                )
                ratings.append((rank(seed, "rating", row.id, source), task))
            for model in models if tasks != "ratings" else ():
                if row.human.split() == row.answers[model].split():
                    continue  # nothing to choose between
                hashed = rank(seed, "choice", row.id, model)
                first = hashed[0] % 2 == 0
                texts = [row.human, row.answers[model]] if first else [row.answers[model], row.human]
                hidden = {**about, "model": model, "human": "ab"[not first], "answer": digest(row.answers[model])}
                task = _Task({"prompt": row.prompt, "answers": texts}, hidden)
                choices.append((rank(seed, "order", row.id, model), task))
    return [task for kind in (ratings, choices) for _, task in sorted(kind, key=lambda each: each[0])]


def _page(page: str, questions: Questions, shown: Sequence[Mapping[str, Any]]) -> str:
    from polyalign.reference._page import stylesheet

    about = {
        "format": RATINGS,
        "page": page,
        "scale": list(range(LOW_HIGH[0], LOW_HIGH[1] + 1)),
        **questions.to_dict(),
        "tasks": shown,
    }
    parts = {
        "title": pages.escaped(questions.title["en"]),
        "style": stylesheet() + (_FILES / "_page.css").read_text("utf-8"),
        "script": (_FILES / "_page.js").read_text("utf-8"),
        "about": pages.embedded(about),
    }
    return pages.filled((_FILES / "_page.html").read_text("utf-8"), parts)
