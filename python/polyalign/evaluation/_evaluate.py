"""Models' answers held against humans', bucket by bucket."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from polyalign._io import bucketed
from polyalign.critics._given import as_critic
from polyalign.evaluation._cells import Cell
from polyalign.evaluation._evaluation import Evaluation
from polyalign.evaluation._judged import in_both, read_judged
from polyalign.evaluation._maps import as_methods
from polyalign.evaluation._predictions import Humans, read
from polyalign.evaluation._result import Alert, Difference, Measure, ModelResult
from polyalign.evaluation._statistics import (
    Draws,
    centred_interval,
    holm,
    two_sided_p,
)
from polyalign.evaluation._texts import said
from polyalign.evaluation._verdict import DECIDING, USEFUL, first_of
from polyalign.evaluation._work import GROUPS, Measured, Work, as_messages

if TYPE_CHECKING:
    from polyalign.critics import Critic
    from polyalign.reference import Reference


__all__ = ["Known", "evaluate", "named_critics"]

_ALPHA = 0.05
#: The p, uncorrected, that what is wrong with a bucket is told by; and how far off it must be to be the headline.
_OWN, _OFTEN = 0.01, 0.1


class Known:
    """What one evaluation after the other knows of the same humans."""

    work: Work | None = None


def evaluate(
    predictions: Any,
    records: Any,
    *,
    reference: Reference | str | os.PathLike[str] | None = None,
    critics: Any = (),
    judged: Any = (),
    draws: int = 200,
    min_count: int = 20,
    pool: int = 500,
    seed: int = 0,
    page: bool = True,
    maps: Sequence[str] | str = ("pca",),
    encoder: Any = None,
    shape: Any = None,
    fields: Mapping[str, str] | None = None,
    roles: Mapping[str, str] | None = None,
    threads: int | None = None,
    progress: Callable[[str], object] | None = None,
    known: Known | None = None,
) -> Evaluation:
    """Say how human each model answers in every bucket, with intervals, noise floors, and which model is better.

    Parameters
    ----------
    predictions : str, PathLike, Arrow table, data set, or sequence or mapping of them
        One a model: files of any record shape with an id and a response, as :func:`polyalign.pairs.pair_files` reads
        samples. A mapping names the models, else files are named after themselves.
    records : str, PathLike, Arrow table, data set or list of files
        The humans' answers: what ``polyalign bucket`` made. An answer belongs to the record with its id.
    reference : Reference, str or PathLike, optional
        What `support` and the reasons of single answers are told by. Default: one of the humans that are read.
    critics : Critic, str, PathLike, or sequence or mapping of them
        Each is asked too; folders that ``polyalign critic train`` made, by their names.
    judged : str, PathLike, or sequence of them or of lines
        What judges, detectors and people said of these answers: files that ``polyalign judge score`` and ``pairs``,
        ``detect --out`` and ``human-eval analyse --out`` wrote, or lines of them as mappings. Each judge is a metric
        of its own, over the prompts that it judged; judgements of other answers, ids and models are counted.
    draws : int, default 200
        Bootstrap resamples, permutations, and sets of humans.
    min_count : int, default 20
        Fewer prompts in a bucket give no number but ``not enough (n=7, need 20)``.
    pool : int, default 500
        So many humans of each bucket whose prompts nobody answered are read too, to compare humans with humans.
    seed : int, default 0
    page : bool, default True
        Whether to gather what :meth:`Evaluation.to_html` shows beside the numbers: histograms, phrases, answers.
    maps : sequence of {"pca", "tsne", "umap"}, default ("pca",)
        How the page's map places answers; one of them is chosen there. t-SNE needs scikit-learn, UMAP ``umap-learn``:
        without them a warning says so.
    encoder : str, PathLike or callable, optional
        A folder, an encoder on the hub, or a function of texts: for MAUVE, of 300 answers and twice as many humans of
        a bucket, and for maps of its vectors beside those of features.
    shape, fields, roles
        How the predictions are read, as in :class:`polyalign.Bucketer`.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.
    progress : callable, optional
        Called with what is done next, and ``done`` at the end.
    known : Known, optional
        Keeps what is measured of the humans, who are not measured again where they are those of the evaluation before.

    Returns
    -------
    Evaluation
        The same for any order of rows.

    Raises
    ------
    OSError
        A file can't be read.
    ValueError
        No answer fits a human one, the reference or a critic has other buckets than the records, or a line of `judged`
        is of no form that we know.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from polyalign.reference import example_table
    >>> people = pa.table(example_table())
    >>> ids = pa.array([str(at) for at in range(len(people))])
    >>> people = people.append_column("id", ids).append_column("prompt", ids)
    >>> answers = pa.table({"id": ids, "response": ["I am happy to help."] * len(ids)})
    >>> found = evaluate({"helpful": answers}, people, draws=40)
    >>> found.models[0].overall["coverage"].value < found.models[0].overall["coverage"].floor
    True
    """
    for name, value, least in (("draws", draws, 20), ("min_count", min_count, 5)):
        if value < least:
            raise ValueError(f"{name} is {value}: at least {least} are needed")
    say = progress or (lambda what: None)
    methods, reads = as_methods(maps), _reader(encoder)
    judgements = read_judged(judged)
    say("reading")
    reading = bucketed.Reading(shape, fields or {}, roles or {}, threads)
    humans, models = read(predictions, records, pool=pool, reading=reading)
    asked = named_critics(critics)
    drawn = Draws(_groups(humans), draws, seed)
    if reads is not None:
        from polyalign.critics._encoder import check_reads

        check_reads(reads, humans.texts)
    given: dict[str, Any] = {"min_count": min_count, "threads": threads, "judged": judgements}
    given |= {"encoder": reads, "before": known.work if known else None}
    work = Work(humans, _reference(reference, humans), asked, drawn, **given)
    if known is not None:
        known.work = work
    found = []
    for model in models:
        say(f"measuring {model.name}")
        found.append(work.measure(model))
    settings = {
        "draws": draws,
        "min_count": min_count,
        "pool": pool,
        "seed": seed,
        "reference": said("built_of_humans") if reference is None else _said(reference),
        "critics": list(asked),
        **({"encoder": repr(reads)} if reads is not None else {}),
        **({"judged": judgements.files} if judgements is not None else {}),
    }
    results = tuple(work.result(one) for one in found)
    measures = work.measures()
    say("comparing")
    alerts = tuple(sorted(_alerts(found, results, measures), key=lambda alert: _rank(alert, measures)))
    evaluation = Evaluation(
        models=results,
        measures=measures,
        alerts=alerts,
        differences=tuple(_differences(work, found, measures)),
        humans={bucket: humans.rows[bucket] for bucket in sorted({*_buckets(found)})},
        axes=humans.axes,
        settings=settings,
        warnings=tuple(work.warnings(found)),
    )
    if page:
        from polyalign.evaluation._details import details
        from polyalign.evaluation._maps import maps as drawn_maps

        say("what the page shows")
        placed, notices = drawn_maps(work, found, methods)
        shown = {**details(evaluation, work, found), "maps": placed}
        evaluation = replace(evaluation, details=shown, warnings=(*evaluation.warnings, *notices))
    say("done")
    return evaluation


def _reader(encoder: Any) -> Any:
    """Return what makes vectors of texts, or ``None``."""
    if encoder is None:
        return None
    from polyalign.critics._encoder import as_encoder

    return as_encoder(encoder)


def _said(reference: Any) -> str:
    return os.fspath(reference) if isinstance(reference, (str, os.PathLike)) else repr(reference)


def _groups(humans: Humans) -> int:
    return int(humans.groups.max(initial=-1)) + 1


def named_critics(given: Any) -> dict[str, Critic]:
    """Return critics by the names of their metrics."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        named = dict(given)
    else:
        several = [given] if isinstance(given, (str, os.PathLike)) or not isinstance(given, Sequence) else given
        named = {}
        for each in several:
            is_path = isinstance(each, (str, os.PathLike))
            name = Path(each).name.removesuffix(".safetensors") if is_path else type(each).__name__
            known = name
            for number in range(2, len(named) + 2):
                if known not in named:
                    break
                known = f"{name}_{number}"
            named[known] = each
    found = {}
    for name, each in named.items():
        plain = "".join(letter if letter.isalnum() else "_" for letter in str(name)).strip("_").lower()
        critic = as_critic(each)
        if critic is None:
            raise TypeError("a critic is None: give an object with score(responses, buckets), or a saved one's folder")
        found[f"critic_{plain}"] = critic
    return found


def _reference(given: Any, humans: Humans) -> Reference:
    from polyalign.reference import Reference

    if isinstance(given, (str, os.PathLike)):
        given = Reference.from_pretrained(given)
    if given is not None:
        if humans.made is not None:
            humans.made.check_fits(given)
        return given  # type: ignore[no-any-return]
    schema = humans.made.schema if humans.made is not None else None
    kept = np.flatnonzero(humans.usable).tolist()
    pa = bucketed.arrow()
    table = pa.table(
        {
            "prompt": [as_messages(humans.prompts[row]) for row in kept],
            "completion": [[{"role": "assistant", "content": humans.texts[row]}] for row in kept],
            "bucket": [humans.buckets[row] for row in kept],
        }
    )
    return Reference.from_arrow(table, schema=schema, sources=["humans"])


def _buckets(found: Sequence[Measured]) -> Iterator[str]:
    for one in found:
        yield from one.prompts


# ---------------------------------------------------------------------------------------------------- alerts


def _alerts(found: Sequence[Measured], results: Sequence[ModelResult], measures: Sequence[Measure]) -> Iterator[Alert]:
    """Give an alert a bucket that is further off than humans are, with what says it most plainly."""
    told = [measure for measure in measures if measure.alerts]
    for one, result in zip(found, results, strict=True):
        tests = [(bucket, measure) for bucket in one.cells for measure in told]
        corrected = holm([result.buckets[bucket][measure.name].p for bucket, measure in tests])
        by_bucket: dict[str, list[_Off]] = defaultdict(list)
        for (bucket, measure), p in zip(tests, corrected, strict=True):
            cell = one.cells[bucket].get(measure.name)
            if cell is None or p is None or not math.isfinite(cell.floor) or measure.off(cell.value, cell.floor) <= 0:
                continue
            alone = result.buckets[bucket][measure.name].p or 0.0
            by_bucket[bucket].append(_Off(measure, cell, alone, p, measure.size(cell.value, cell.floor)))
        for bucket, off in by_bucket.items():
            for related in (False, True):
                of = [each for each in off if (each.measure.alerts == 1) == related]
                if any(each.corrected < _ALPHA for each in of):
                    yield _alert(result.name, bucket, of, [each for each in off if each not in of])
                    break


class _Off(NamedTuple):
    measure: Measure
    cell: Cell
    p: float
    corrected: float
    size: float


def _alert(model: str, bucket: str, of: Sequence[_Off], others: Sequence[_Off]) -> Alert:
    """Return the alert of a bucket that is off by some metric: what says most plainly what is wrong with it."""
    # That something is wrong is told by what holds among all buckets and metrics; what, by the bucket's own.
    ranked = sorted(
        (each for each in of if each.corrected < _ALPHA or each.p < _OWN),
        key=lambda each: (each.measure.alerts if each.size >= _OFTEN or each.measure.alerts <= 2 else 0, each.size),
        reverse=True,
    )
    first = ranked[0]
    also = [each.measure.name for each in (*ranked[1:], *(each for each in others if each.corrected < _ALPHA))]
    noise = first.cell.noise if math.isfinite(first.cell.noise) else None
    return Alert(
        model,
        bucket,
        first.measure.name,
        first.cell.value,
        first.cell.floor,
        noise,
        min(each.corrected for each in of),
        max(each.size for each in ranked),
        tuple(also),
    )


def _rank(alert: Alert, measures: Sequence[Measure]) -> tuple[bool, float, str, str]:
    """Return what alerts are sorted by: what answers are like comes before how they relate to what was asked."""
    related = any(measure.name == alert.metric and measure.alerts == 1 for measure in measures)
    return related, -alert.size, alert.bucket, alert.model


# ----------------------------------------------------------------------------------------------- differences


def _differences(work: Work, found: Sequence[Measured], measures: Sequence[Measure]) -> Iterator[Difference]:
    """Give every two models compared, on the prompts that both answer: over all buckets, then bucket by bucket."""
    compared = []
    for one, two in combinations(found, 2):
        models, sides = (one.model.name, two.model.name), _common(work, one, two)
        if sides[0]:
            compared.append((_overall(models, sides, measures), _by_bucket(models, sides, measures)))
    # What the verdict rests on is not corrected for all else that is looked at.
    verdict = [[first_of(overall, DECIDING), first_of(overall, USEFUL)] for overall, _ in compared]
    deciding = [each for of in verdict for each in of if each is not None]
    corrected = dict(zip(deciding, _corrected(deciding), strict=True))
    for overall, by_bucket in compared:
        others = iter(_corrected([each for each in overall if each not in corrected]))
        yield from (corrected[each] if each in corrected else next(others) for each in overall)
        yield from _corrected(by_bucket)


_Sides = tuple[dict[str, dict[str, Cell]], dict[str, dict[str, Cell]]]


def _overall(models: tuple[str, str], sides: _Sides, measures: Sequence[Measure]) -> list[Difference]:
    found = [_difference(models, measure, None, *_both(measure, sides)) for measure in measures]
    return [each for each in found if each is not None]


def _both(measure: Measure, sides: _Sides) -> list[Cell | None]:
    """Return the macro means of both, over the buckets in which both have a number."""
    there = [{name for name, of in side.items() if measure.name in of and math.isfinite(of[measure.name].value)}
             for side in sides]  # fmt: skip
    return [_pooled(measure, {name: of for name, of in side.items() if name in there[0] & there[1]}) for side in sides]


def _by_bucket(models: tuple[str, str], sides: _Sides, measures: Sequence[Measure]) -> list[Difference]:
    found = [
        _difference(models, measure, bucket, sides[0][bucket].get(measure.name), sides[1][bucket].get(measure.name))
        for bucket in sides[0]
        for measure in measures
    ]
    return [each for each in found if each is not None]


def _common(work: Work, one: Measured, two: Measured) -> _Sides:
    """Return the numbers of both over the prompts that both answer."""
    found: _Sides = ({}, {})
    for bucket in one.places:
        if bucket not in two.places:
            continue
        of = [side.model.of[side.places[bucket]] for side in (one, two)]
        both = np.intersect1d(of[0], of[1])
        if len(both) < work.min_count or len(np.unique(work.humans.groups[both])) < GROUPS:
            continue
        for side, rows, kept in zip((one, two), of, found, strict=True):
            if len(both) == len(rows):
                kept[bucket] = side.cells[bucket]
            else:
                kept[bucket] = work.bucket(side, bucket, side.places[bucket][np.isin(rows, both)])
        if work.judged is not None:  # those are of the prompts that are judged of both
            at = [side.places[bucket][np.isin(rows, both)] for side, rows in zip((one, two), of, strict=True)]
            columns = in_both((one.judged, two.judged), at)
            for side, kept, rows, own in zip((one, two), found, at, columns, strict=True):
                others = {name: cell for name, cell in kept[bucket].items() if name not in work.judged.names()}
                kept[bucket] = others | work.judgements(own, rows, side.side)
    return found


def _pooled(measure: Measure, buckets: Mapping[str, Mapping[str, Cell]]) -> Cell | None:
    """Return a macro mean as a cell."""
    of = [cells_[measure.name] for cells_ in buckets.values() if measure.name in cells_]
    of = [cell for cell in of if math.isfinite(cell.value)]
    if not of:
        return None
    rows = np.concatenate([cell.rows for cell in of])
    noise = math.sqrt(sum(cell.noise**2 for cell in of)) / len(of)
    means = {name: np.mean([getattr(cell, name) for cell in of], axis=0) for name in ("value", "draws", "floor")}
    return Cell(float(means["value"]), float(means["floor"]), means["draws"], noise, math.nan, np.zeros(0), rows)


def _difference(
    models: tuple[str, str], measure: Measure, bucket: str | None, a: Cell | None, b: Cell | None
) -> Difference | None:
    if a is None or b is None or not (math.isfinite(a.value) and math.isfinite(b.value)):
        return None
    draws = b.draws - a.draws
    apart = b.value - a.value
    low, high = centred_interval(apart, draws)
    p = two_sided_p(apart, draws)
    nearer = None
    off = [measure.off(cell.value, cell.floor if math.isfinite(cell.floor) else 0.0) for cell in (a, b)]
    if off[0] != off[1]:
        nearer = models[off[0] > off[1]]
    return Difference(*models, measure.name, bucket, apart, low, high, _effect(a, b, apart), p, nearer)


def _effect(a: Cell, b: Cell, apart: float) -> float | None:
    """Return Cohen's d of paired rows, or the difference in units of humans' noise."""
    if len(a.rows) == len(b.rows) > 1:
        rows = b.rows - a.rows
        spread = float(np.nanstd(rows, ddof=1)) if (~np.isnan(rows)).sum() > 1 else 0.0
        return apart / spread if spread > 0 else None
    noise = math.sqrt((a.noise**2 + b.noise**2) / 2)
    return apart / noise if math.isfinite(noise) and noise > 0 else None


def _corrected(of: Sequence[Difference]) -> Iterator[Difference]:
    """Correct p-values for their number, and name the better model where there is one."""
    for each, p in zip(of, holm([each.p for each in of]), strict=True):
        yield replace(each, p=p, better=each.better if p is not None and p < _ALPHA else None)
