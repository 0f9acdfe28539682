"""Files of answers through detectors."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign.evaluation._beside import Beside, digest, drawn, named, read
from polyalign.evaluation.detectors._classifier import ClassifierDetector
from polyalign.evaluation.detectors._detect import Detector, Scored, said_of, scored
from polyalign.evaluation.detectors._likelihood import Binoculars, FastDetectGPT

if TYPE_CHECKING:
    from polyalign._io import bucketed

__all__ = ["detect_files", "open_detector"]

_KINDS = {
    "fast-detectgpt": "fast-detectgpt=MODEL or fast-detectgpt=MODEL,OBSERVER",
    "binoculars": "binoculars=OBSERVER,PERFORMER",
    "classifier": "classifier=MODEL or classifier=MODEL,LABEL",
}


def open_detector(spec: str, *, max_length: int | None = None) -> Detector:
    """Open a detector by its kind and its models.

    Parameters
    ----------
    spec : str
        ``"fast-detectgpt=MODEL[,OBSERVER]"``, ``"binoculars=OBSERVER,PERFORMER"`` or ``"classifier=MODEL[,LABEL]"``;
        models are folders or names on the hub.
    max_length : int, optional
        Tokens of a text that are looked at: of language models the last, of classifiers the first.

    Raises
    ------
    ValueError
        It is of no such form.

    Examples
    --------
    >>> open_detector("binoculars=tiiuae/falcon-7b,tiiuae/falcon-7b-instruct")
    Binoculars(LanguageModel('tiiuae/falcon-7b'), LanguageModel('tiiuae/falcon-7b-instruct'))
    """
    kind, _, rest = spec.partition("=")
    models = [name.strip() for name in rest.split(",") if name.strip()]
    if kind not in _KINDS or not (2 if kind == "binoculars" else 1) <= len(models) <= 2:
        raise ValueError(f"detector {spec!r}: give {'; '.join(_KINDS.values())}")
    if kind == "fast-detectgpt":
        return FastDetectGPT(models[0], *models[1:], max_length=max_length)
    if kind == "binoculars":
        return Binoculars(models[0], models[1], max_length=max_length)
    label = models[1] if len(models) > 1 else None
    return ClassifierDetector(
        models[0], label=int(label) if label is not None and label.isdecimal() else label, max_length=max_length
    )


def detect_files(
    detectors: Mapping[str, Detector],
    predictions: Sequence[str | os.PathLike[str]] | Mapping[str, Any],
    records: Any,
    *,
    count: int = 20,
    with_prompts: bool = False,
    min_count: int = 20,
    seed: int = 0,
    reading: bucketed.Reading | None = None,
) -> dict[str, Any]:
    """Say how well detectors tell models' answers from the humans' to the same prompts.

    Parameters
    ----------
    detectors : mapping
        By name.
    predictions : list of str or PathLike, or mapping
        Models' answers, a file each, ``NAME=FILE`` to name one; or by name: files, an Arrow table or a data set.
    records : str, PathLike or list of them, Arrow table, or data set
        The humans with the same ids.
    count : int, default 20
        So many prompts of every bucket, drawn by the hash of the seed and their ids; 0: all.
    with_prompts : bool, default False
        Show detectors what was answered; in the papers each text stands alone.
    min_count, seed
        As of :func:`detection`.
    reading : Reading, optional
        How predictions are read.

    Returns
    -------
    dict
        ``detectors``, as :func:`detect` says; ``scores``, a line an answer, which :func:`polyalign.evaluation.evaluate`
        takes; ``prompts``, how many there are; ``left_out`` by kind; ``lines``, which
        say it; ``unreadable`` files.

    Raises
    ------
    OSError, ValueError
        Files or models that are not there, or don't fit.
    """
    found = read(predictions if isinstance(predictions, Mapping) else named(predictions), records, reading)
    rows = drawn(found, count, seed)
    told = scored(
        detectors,
        [row.human for row in rows],
        {model: [row.answers[model] for row in rows] for model in found.models},
        [row.bucket for row in rows],
        [row.prompt for row in rows] if with_prompts else None,
    )
    return {
        "detectors": said_of(told, detectors, min_count=min_count, seed=seed),
        "scores": [line for each in told for line in _lines(each, rows)],
        "prompts": len(rows),
        "left_out": dict(found.left),
        "lines": found.lines(),
        "unreadable": found.unreadable,
    }


def _lines(each: Scored, rows: Sequence[Beside]) -> list[dict[str, Any]]:
    """Return what a detector says of each answer, and of the human's to the same prompt."""
    columns = [[_plain(value) for value in side] for side in (*each.whole, *each.equal_length)]
    return [
        {
            "id": row.id,
            "bucket": row.bucket,
            "model": each.model,
            "detector": each.detector,
            "answer": digest(row.answers[each.model]),
            "score": score,
            "human": human,
            "equal_length": {"score": cut, "human": cut_human},
        }
        for row, human, score, cut_human, cut in zip(rows, *columns, strict=True)
    ]


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
