"""Files of answers through a judge."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyalign.evaluation._beside import HUMAN, Rows, drawn, named, read
from polyalign.evaluation.judges._asking import Asker, Cache, sampling_of
from polyalign.evaluation.judges._judge import CRITERION, Judged, judge_pairs, judge_scores
from polyalign.evaluation.judges._rubric import read_rubric

if TYPE_CHECKING:
    from polyalign._io import bucketed
    from polyalign.generation import Engine, Sampling

__all__ = ["pair_files", "score_files"]

Paths = Sequence["str | os.PathLike[str]"]


def score_files(
    engine: Engine,
    predictions: Paths | Mapping[str, Any],
    records: Any,
    *,
    rubric: str | os.PathLike[str] | None = None,
    judge: str | None = None,
    humans: bool = False,
    count: int = 20,
    cache: str | os.PathLike[str] | None = None,
    sampling: Sampling | None = None,
    min_count: int = 20,
    seed: int = 0,
    reading: bucketed.Reading | None = None,
    progress: bool = False,
) -> Judged:
    """Let a judge score models' answers by a rubric.

    Parameters
    ----------
    engine : Engine
        The judge, as ``polyalign.generation.OpenAIEngine("name", base_url=…)``.
    predictions : list of str or PathLike, or mapping
        Models' answers, a file each, ``NAME=FILE`` to name one; or by name: files, an Arrow table or a data set.
    records : str, PathLike or list of them, Arrow table, or data set
        The humans with the same ids.
    rubric : str or PathLike, optional
        YAML or JSON. Default: our own.
    judge : str, optional
        What it is called. Default: its model's name.
    humans : bool, default False
        Score the humans' answers too.
    count : int, default 20
        So many prompts of every bucket, drawn by the hash of the seed and their ids; 0: all.
    cache : str or PathLike, optional
        A file in which replies are kept: the same run goes on from there, and asks for nothing twice.
    sampling : Sampling, optional
        Default: temperature 0, 1,024 tokens.
    min_count : int, default 20
        With fewer prompts a mean is not given.
    seed : int, default 0
    reading : Reading, optional
        How predictions are read.
    progress : bool, default False

    Returns
    -------
    Judged

    Raises
    ------
    OSError, ValueError
        A server that does not answer, files that don't fit.
    """
    told = read_rubric(None if rubric is None else Path(rubric))
    found = _read(predictions, records, reading)
    with _asker(engine, cache, sampling, progress) as asker:
        judged = judge_scores(
            asker,
            told,
            drawn(found, count, seed),
            found.models,
            judge=judge or _name(engine),
            humans=humans,
            min_count=min_count,
            seed=seed,
        )
    return _with(judged, found)


def pair_files(
    engine: Engine,
    predictions: Paths | Mapping[str, Any],
    records: Any,
    *,
    against: str = HUMAN,
    criterion: str = CRITERION,
    judge: str | None = None,
    count: int = 20,
    cache: str | os.PathLike[str] | None = None,
    sampling: Sampling | None = None,
    min_count: int = 20,
    seed: int = 0,
    reading: bucketed.Reading | None = None,
    progress: bool = False,
) -> Judged:
    """Let a judge choose between models' answers and another's, each pair in both orders.

    Parameters
    ----------
    engine, predictions, records, judge, count, cache, sampling, min_count, seed, reading, progress
        As of :func:`score_files`.
    against : str, default "human"
        Whose answer stands beside each model's: the human's, or a model's.
    criterion : str
        The question.

    Returns
    -------
    Judged

    Raises
    ------
    OSError, ValueError
        As of :func:`score_files`; `against` is nobody.
    """
    found = _read(predictions, records, reading)
    with _asker(engine, cache, sampling, progress) as asker:
        judged = judge_pairs(
            asker,
            drawn(found, count, seed),
            found.models,
            judge=judge or _name(engine),
            against=against,
            criterion=criterion,
            min_count=min_count,
        )
    return _with(judged, found)


def _read(predictions: Any, records: Any, reading: bucketed.Reading | None) -> Rows:
    return read(predictions if isinstance(predictions, Mapping) else named(predictions), records, reading, empty=True)


@contextmanager
def _asker(
    engine: Engine, cache: str | os.PathLike[str] | None, sampling: Sampling | None, progress: bool
) -> Iterator[Asker]:
    engine.check()
    engine.form("chat")
    kept = Cache(cache)
    try:
        yield Asker(engine, kept, sampling or sampling_of(), progress=progress)
    finally:
        kept.close()


def _name(engine: Engine) -> str:
    model = engine.settings().get("model", {})
    return str(model.get("name", engine.name))


def _with(judged: Judged, found: Rows) -> Judged:
    judged.summary["left_out"] = dict(found.left)
    judged.summary["lines"] = found.lines()
    judged.summary["unreadable"] = found.unreadable
    return judged
