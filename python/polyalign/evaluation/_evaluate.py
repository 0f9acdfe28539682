"""Models' answers held against humans', bucket by bucket."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from polyalign._io import bucketed
from polyalign._text.words import counted
from polyalign.buckets import _ids
from polyalign.critics._given import as_critic
from polyalign.critics._protocol import ask_both, is_calibrated
from polyalign.critics.attacks import known_languages, languages_of
from polyalign.evaluation._cells import Cell, Columns, Side, cells
from polyalign.evaluation._evaluation import Evaluation
from polyalign.evaluation._measures import MEASURES, critic_measure
from polyalign.evaluation._predictions import Humans, Model, read
from polyalign.evaluation._result import Alert, Difference, Measure, ModelResult, Number
from polyalign.evaluation._statistics import (
    Draws,
    centred_interval,
    holm,
    not_enough,
    p_value,
    two_sided_p,
    weighted,
)
from polyalign.evaluation.metrics import (
    aggregate,
    faults,
    language_faults,
    naturalness,
    nuf,
    tdm,
    utility,
    within_prompts,
)
from polyalign.features import extract, registry
from polyalign.generation._rows import rank

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.critics import Critic
    from polyalign.reference import Reference

    Floats = npt.NDArray[np.float64]

__all__ = ["evaluate"]

_ALPHA = 0.05
#: The p, uncorrected, that what is wrong with a bucket is told by; and how far off it must be to be the headline.
_OWN, _OFTEN = 0.01, 0.1
_BATCH = 10_000


def evaluate(
    predictions: Any,
    records: Any,
    *,
    reference: Reference | str | os.PathLike[str] | None = None,
    critics: Any = (),
    draws: int = 200,
    min_count: int = 20,
    pool: int = 500,
    seed: int = 0,
    shape: Any = None,
    fields: Mapping[str, str] | None = None,
    roles: Mapping[str, str] | None = None,
    threads: int | None = None,
    progress: Callable[[str], object] | None = None,
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
    draws : int, default 200
        Bootstrap resamples, permutations, and sets of humans.
    min_count : int, default 20
        Fewer prompts in a bucket give no number but ``not enough (n=7, need 20)``.
    pool : int, default 500
        So many humans of each bucket whose prompts nobody answered are read too, to compare humans with humans.
    seed : int, default 0
    shape, fields, roles
        How the predictions are read, as in :class:`polyalign.Bucketer`.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.
    progress : callable, optional
        Called with what is done next, and ``done`` at the end.

    Returns
    -------
    Evaluation
        The same for any order of rows.

    Raises
    ------
    OSError
        A file can't be read.
    ValueError
        No answer fits a human one, or the reference or a critic has other buckets than the records.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from polyalign.reference import example_table
    >>> people = pa.table(example_table())
    >>> ids = pa.array([str(at) for at in range(len(people))])
    >>> people = people.append_column("id", ids)
    >>> answers = pa.table({"id": ids, "response": ["I am happy to help."] * len(ids)})
    >>> found = evaluate({"helpful": answers}, people, draws=40)
    >>> found.models[0].overall["coverage"].value < found.models[0].overall["coverage"].floor
    True
    """
    for name, value, least in (("draws", draws, 20), ("min_count", min_count, 5)):
        if value < least:
            raise ValueError(f"{name} is {value}: at least {least} are needed")
    say = progress or (lambda what: None)
    say("reading")
    reading = bucketed.Reading(shape, fields or {}, roles or {}, threads)
    humans, models = read(predictions, records, pool=pool, reading=reading)
    asked = _critics(critics)
    drawn = Draws(_groups(humans), draws, seed)
    work = _Work(humans, _reference(reference, humans), asked, drawn, min_count=min_count, threads=threads)
    found = []
    for model in models:
        say(f"measuring {model.name}")
        found.append(work.measure(model))
    settings = {
        "draws": draws,
        "min_count": min_count,
        "pool": pool,
        "seed": seed,
        "reference": "built of the humans" if reference is None else _said(reference),
        "critics": list(asked),
    }
    results = tuple(work.result(one) for one in found)
    measures = work.measures(results)
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
    say("done")
    return evaluation


def _said(reference: Any) -> str:
    return os.fspath(reference) if isinstance(reference, (str, os.PathLike)) else repr(reference)


def _groups(humans: Humans) -> int:
    return int(humans.groups.max(initial=-1)) + 1


def _critics(given: Any) -> dict[str, Critic]:
    """Return critics by the names of their metrics."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        named = dict(given)
    else:
        several = [given] if isinstance(given, (str, os.PathLike)) or not isinstance(given, Sequence) else given
        named = {}
        for each in several:
            name = Path(each).name if isinstance(each, (str, os.PathLike)) else type(each).__name__
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
            "prompt": [_as_messages(humans.prompts[row]) for row in kept],
            "completion": [[{"role": "assistant", "content": humans.texts[row]}] for row in kept],
            "bucket": [humans.buckets[row] for row in kept],
        }
    )
    return Reference.from_arrow(table, schema=schema, sources=["humans"])


def _as_messages(prompt: Any) -> Any:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def _buckets(found: Sequence[Measured]) -> Iterator[str]:
    for one in found:
        yield from one.prompts


# ------------------------------------------------------------------------------------------------- measuring


@dataclass
class Measured:
    """A model's answers as metrics see them."""

    model: Model
    side: Side
    """All its answers."""
    rows: dict[str, tuple[Floats, Floats | None]]
    """By metric, what each answer has, and what the human answer to the same prompt has."""
    places: dict[str, npt.NDArray[np.int64]]
    """By bucket, the first answers to its prompts, in an order of their own."""
    cells: dict[str, dict[str, Cell]] = field(default_factory=dict)
    prompts: dict[str, int] = field(default_factory=dict)
    not_enough: dict[str, str] = field(default_factory=dict)


class _Work:
    """What all models of an evaluation share."""

    def __init__(
        self,
        humans: Humans,
        reference: Reference,
        critics: Mapping[str, Critic],
        draws: Draws,
        *,
        min_count: int,
        threads: int | None,
    ) -> None:
        self.humans, self.reference, self.critics, self.draws = humans, reference, critics, draws
        self.min_count, self.threads = min_count, threads
        self.features = registry()
        self.columns = Columns(
            np.array([feature.scale for feature in self.features]),
            np.array([feature.group == "interaction" for feature in self.features]),
            [feature.name for feature in self.features].index("word_count"),
        )
        self.languages = known_languages(languages_of(humans.buckets))
        self.side = Side(humans.texts, self._features(humans.texts, self.languages, humans.prompts), humans.groups)
        self.rows = self._rows(humans.texts, np.arange(len(humans)))
        self.more = self._more()
        #: What can't be told, by metric, and why.
        self.without: dict[str, str] = {}

    def _features(self, texts: Sequence[str], languages: Sequence[str], prompts: Sequence[Any]) -> Floats:
        parts = [np.zeros((0, len(self.features)))]
        for start in range(0, len(texts), _BATCH):
            part = slice(start, start + _BATCH)
            table = extract(
                list(texts[part]), list(languages[part]), list(prompts[part]), keep_thinking=True, threads=self.threads
            )
            parts.append(np.column_stack([np.asarray(table[feature.name], np.float64) for feature in self.features]))
        return np.concatenate(parts)

    def _more(self) -> dict[str, npt.NDArray[np.int64]]:
        """Return, by bucket, the humans whose prompts nobody answered, in an order of their own."""
        found: dict[str, list[int]] = defaultdict(list)
        for row in np.flatnonzero(self.humans.usable & ~self.humans.answered).tolist():
            found[self.humans.buckets[row]].append(row)
        return {bucket: self._ordered(rows) for bucket, rows in found.items()}

    def _ordered(self, rows: Iterable[int]) -> npt.NDArray[np.int64]:
        def place(row: int) -> tuple[int, str]:
            return rank("humans", self.humans.ids[row] or str(row)), str(self.humans.ids[row])

        return np.array(sorted(rows, key=place), dtype=np.int64)

    def _rows(self, texts: Sequence[str], of: npt.NDArray[np.int64]) -> dict[str, Floats]:
        """Return what each text has by itself, for models and humans alike."""
        buckets = [self.humans.buckets[row] for row in of.tolist()]
        prompts = [self.humans.prompts[row] for row in of.tolist()]
        found = {"empty": np.array([float(not text.strip()) for text in texts])}
        found["support"] = self._support(texts, buckets)
        for name, critic in self.critics.items():
            scores, shares = ask_both(critic, list(texts), buckets, prompts)
            found[name] = np.asarray(scores if shares is None else shares, dtype=np.float64)
        languages = [self.languages[row] for row in of.tolist()]
        spoken, said = language_faults(texts, languages), faults(texts, languages)
        told = {"wrong_language": spoken.wrong, "mixed_language": spoken.mixed, "looping": said.looping}
        return found | {name: values.astype(np.float64) for name, values in told.items()}

    def _support(self, texts: Sequence[str], buckets: Sequence[str]) -> Floats:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a language model's features, which don't count
            table = self.reference.score(list(texts), list(buckets), threads=self.threads)
        found = [math.nan if value.as_py() is None else value.as_py() for value in table["percentile"]]
        # An empty answer has no distance, and is as far from any text as can be.
        return np.array([1.0 if not text.strip() else value for text, value in zip(texts, found, strict=True)])

    # ----------------------------------------------------------------------------------------------- a model

    def measure(self, model: Model) -> Measured:
        """Measure a model's answers, and its buckets."""
        of = model.of
        languages = [self.languages[row] for row in of.tolist()]
        prompts = [self.humans.prompts[row] for row in of.tolist()]
        side = Side(model.texts, self._features(model.texts, languages, prompts), self.humans.groups[of])
        rows: dict[str, tuple[Floats, Floats | None]] = {}
        useful = utility(model.texts, [self.humans.texts[row] for row in of.tolist()], languages, threads=self.threads)
        for name in ("f1", "rouge_l", "em"):
            rows[name] = np.asarray(getattr(useful, name), np.float64), None
        for name, values in self._rows(model.texts, of).items():
            rows[name] = values, self.rows[name][of]
        rows["cut"] = model.cut.astype(np.float64), np.zeros(len(of))
        # A prompt counts once: its answers' mean stands with the first of them.
        rows = {name: (_prompt_means(values, model), own) for name, (values, own) in rows.items()}
        rows |= {name: (values, None) for name, values in self._within(model, languages).items()}
        firsts: dict[str, list[int]] = defaultdict(list)
        by_human = {int(of[at]): at for at in np.flatnonzero(model.turn == 0).tolist()}
        for row in by_human:
            firsts[self.humans.buckets[row]].append(row)
        places = {
            bucket: np.array([by_human[row] for row in self._ordered(rows_).tolist()], dtype=np.int64)
            for bucket, rows_ in sorted(firsts.items())
        }
        found = Measured(model, side, rows, places)
        for bucket, at in places.items():
            found.prompts[bucket] = len(at)
            if len(at) < self.min_count:
                found.not_enough[bucket] = not_enough(len(at), self.min_count)
            else:
                found.cells[bucket] = self.bucket(found, bucket, at)
        self._turns(found)
        for bucket in self.humans.rows:
            if bucket not in found.prompts:
                found.prompts[bucket] = 0
                found.not_enough[bucket] = not_enough(0, self.min_count)
        return found

    def bucket(self, found: Measured, bucket: str, at: npt.NDArray[np.int64]) -> dict[str, Cell]:
        """Return the numbers of a bucket over some first answers to its prompts."""
        of = found.model.of[at]
        rows = {name: (values[at], None if own is None else own[at]) for name, (values, own) in found.rows.items()}
        sides = found.side.take(at), self.side.take(of), self.side.take(self.more.get(bucket, of[:0]))
        language = self.languages[int(of[0])]
        return dict(cells(sides, rows, language, self.columns, self.draws))

    def _turns(self, found: Measured) -> None:
        """Add the turn dynamics of buckets of several turns; nothing without scikit-learn."""
        buckets = [bucket for bucket in found.cells if any(self._earlier(found, bucket))]
        if not buckets:
            return
        rows = [(bucket, at) for bucket in buckets for at in found.places[bucket].tolist()]
        of = [int(found.model.of[at]) for _, at in rows]
        asked = [_last_turn(self.humans.prompts[row]) for row in of]
        named, languages = [bucket for bucket, _ in rows], [self.languages[row] for row in of]
        people = [self.humans.texts[row] for row in of]
        try:
            told = tdm(asked, [found.side.texts[at] for _, at in rows], people, named, languages)
        except ModuleNotFoundError:
            self.without["tdm"] = "TDM needs scikit-learn: pip install 'polyalign[eval]'"
            return
        nothing = np.full(self.draws.count, np.nan)
        for bucket in buckets:
            value = told[bucket].value
            found.cells[bucket]["tdm"] = Cell(value, math.nan, nothing, math.nan, math.nan, nothing, np.zeros(0))

    def _earlier(self, found: Measured, bucket: str) -> Iterator[bool]:
        """Give whether each prompt of a bucket has an earlier turn."""
        for at in found.places[bucket].tolist():
            prompt = self.humans.prompts[int(found.model.of[at])]
            yield not isinstance(prompt, str) and any(message["role"] == "assistant" for message in prompt)

    def _within(self, model: Model, languages: Sequence[str]) -> dict[str, Floats]:
        """Return how varied the answers to each prompt are, at its first answer; of prompts with several."""
        found = {name: np.full(len(model.of), np.nan) for name in ("distinct_2", "self_bleu", "same")}
        several = {many: count for many, count in model.per_prompt().items() if many > 1}
        if not several:
            return {}
        k = min(several)
        starts = np.flatnonzero(model.turn == 0).tolist()
        for start, end in zip(starts, [*starts[1:], len(model.of)], strict=True):
            if end - start >= k:
                texts = model.texts[start:end]
                told = within_prompts(texts, [0] * len(texts), languages[start], k=k)
                for name, values in found.items():
                    values[start] = getattr(told, name)
        return {f"prompt_{name}": values for name, values in found.items()}

    # ---------------------------------------------------------------------------------------------- results

    def measures(self, results: Sequence[ModelResult]) -> tuple[Measure, ...]:
        """Return the metrics, each critic's among them."""
        critics = tuple(critic_measure(name, calibrated=is_calibrated(critic)) for name, critic in self.critics.items())
        return (*MEASURES, *critics)

    def result(self, found: Measured) -> ModelResult:
        """Return a model's numbers."""
        measures = {measure.name: measure for measure in self.measures(())}
        model, humans = found.model, self.humans
        names = list(measures)
        weights = {bucket: float(humans.rows[bucket]) for bucket in found.cells}
        overall = {name: _together(measures[name], found.cells, dict.fromkeys(found.cells, 1.0)) for name in names}
        overall |= _summaries(found)
        axes: dict[str, dict[str, dict[str, Number]]] = {}
        for place, axis in enumerate(humans.axes):
            parts: dict[str, dict[str, dict[str, Cell]]] = defaultdict(dict)
            for bucket, cell in found.cells.items():
                parts[_ids.unescaped(_ids.split(bucket)[place])][bucket] = cell
            axes[axis] = {
                part: {name: _together(measures[name], of, dict.fromkeys(of, 1.0)) for name in names}
                for part, of in sorted(parts.items())
            }
        return ModelResult(
            name=model.name,
            overall=overall,
            weighted={name: _together(measures[name], found.cells, weights) for name in names},
            buckets={
                bucket: {name: _number(measures[name], cells_.get(name)) for name in names}
                for bucket, cells_ in found.cells.items()
            },
            axes=axes,
            prompts=found.prompts,
            not_enough=found.not_enough,
            counts={
                "answers": model.answers,
                "compared": len(model.of),
                "prompts": model.prompts,
                "humans": sum(humans.rows.values()),
                "empty": int(found.side.empty.sum()),
                "cut": int(model.cut.sum()),
            },
            per_prompt=model.per_prompt(),
            skipped=model.skips.to_list(),
            notices=self._notices(found),
            settings=model.settings,
        )

    def _notices(self, found: Measured) -> list[str]:
        model, notices = found.model, list(found.model.notices)
        for name in self.critics:
            missing = int(np.isnan(found.rows[name][0][model.turn == 0]).sum())
            if missing:
                notices.append(f"{counted(missing, 'prompt')} without a score of {name.removeprefix('critic_')}")
        empty, cut = int(found.side.empty.sum()), int(model.cut.sum())
        if empty:
            notices.append(f"{counted(empty, 'answer')} of {len(model.of):,} are empty")
        if cut:
            share = cut / len(model.of)
            notices.append(f"{cut:,} of {len(model.of):,} answers ({share:.1%}) end where a limit of tokens did")
        return notices

    def warnings(self, found: Sequence[Measured]) -> list[str]:
        """Say what a reader of all numbers should know."""
        sets = {frozenset(one.model.of.tolist()) for one in found}
        warnings = []
        if len(sets) > 1:
            common = len(frozenset.intersection(*sets))
            warnings.append(
                "the models answer different prompts: each is judged on its own, and two are compared on those that "
                f"both answer ({common:,} for all)"
            )
        warnings += self.without.values()
        if not any(one.cells for one in found):
            warnings.append(f"no bucket has {self.min_count:,} answered prompts: there are no numbers")
        return warnings


def _last_turn(prompt: Any) -> str:
    """Return what the user said last."""
    if isinstance(prompt, str):
        return prompt
    said = [message["content"] or "" for message in prompt if message["role"] == "user"]
    return said[-1] if said else ""


def _prompt_means(values: Floats, model: Model) -> Floats:
    """Return, at each prompt's first answer, the mean over its answers."""
    if not (model.turn > 0).any():
        return values
    starts = np.flatnonzero(model.turn == 0)
    known = np.where(np.isnan(values), 0.0, values)
    counts = np.add.reduceat((~np.isnan(values)).astype(np.float64), starts)
    found = np.full(len(values), np.nan)
    with np.errstate(invalid="ignore"):
        found[starts] = np.add.reduceat(known, starts) / counts
    return found


# --------------------------------------------------------------------------------------------------- numbers


def _number(measure: Measure, cell: Cell | None) -> Number:
    if cell is None or not math.isfinite(cell.value):
        return Number(None)
    low, high = centred_interval(cell.value, cell.draws)
    return Number(
        cell.value,
        _within_range(low, measure),
        _within_range(high, measure),
        cell.floor if math.isfinite(cell.floor) else None,
        p_value(cell.test, cell.null, measure.better),
    )


def _within_range(end: float | None, measure: Measure) -> float | None:
    if end is None:
        return None
    low, high = measure.range
    return min(math.inf if high is None else high, max(-math.inf if low is None else low, end))


def _together(measure: Measure, buckets: Mapping[str, Mapping[str, Cell]], weights: Mapping[str, float]) -> Number:
    """Return a mean over buckets, with all resamples of it."""
    names = [bucket for bucket in buckets if measure.name in buckets[bucket]]
    found = [buckets[bucket][measure.name] for bucket in names]
    kept = [(cell, weights[bucket]) for bucket, cell in zip(names, found, strict=True) if math.isfinite(cell.value)]
    if not kept:
        return Number(None)
    of, share = [cell for cell, _ in kept], [weight for _, weight in kept]
    return _number(
        measure,
        Cell(
            value=weighted([cell.value for cell in of], share),
            floor=weighted([cell.floor for cell in of], share),
            draws=weighted([cell.draws for cell in of], share),
            noise=math.nan,
            test=weighted([cell.test for cell in of], share),
            null=weighted([cell.null for cell in of], share),
            rows=np.zeros(0),
        ),
    )


def _summaries(found: Measured) -> dict[str, Number]:
    """Return NUF and the aggregate, which are of all buckets together."""
    buckets = [of for of in found.cells.values() if math.isfinite(of["bng"].value)]
    if not buckets:
        return {"nuf": Number(None), "aggregate": Number(None)}

    def both(useful: Sequence[float], gaps: Sequence[float]) -> tuple[float, float]:
        area = nuf(useful, [naturalness(gap) for gap in gaps])
        return area, aggregate(float(np.mean(useful)), float(np.mean(gaps)), None, area)

    values = both([of["f1"].value for of in buckets], [of["bng"].value for of in buckets])
    # Moved as intervals are: a resampled gap is larger than the gap.
    centred = [of["bng"].draws - of["bng"].draws.mean() + of["bng"].value for of in buckets]
    drawn = np.array(
        [
            both([float(of["f1"].draws[draw]) for of in buckets], [max(0.0, float(gap[draw])) for gap in centred])
            for draw in range(len(centred[0]))
        ]
    )
    ends = [centred_interval(value, column) for value, column in zip(values, drawn.T, strict=True)]
    return {name: Number(value, *end) for name, value, end in zip(("nuf", "aggregate"), values, ends, strict=True)}


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


def _differences(work: _Work, found: Sequence[Measured], measures: Sequence[Measure]) -> Iterator[Difference]:
    """Give every two models compared, on the prompts that both answer: over all buckets, then bucket by bucket."""
    for one, two in combinations(found, 2):
        models, sides = (one.model.name, two.model.name), _common(work, one, two)
        if not sides[0]:
            continue
        overall = [
            _difference(models, measure, None, *(_pooled(measure, side) for side in sides)) for measure in measures
        ]
        yield from _corrected([each for each in overall if each is not None])
        by_bucket = [
            _difference(models, measure, bucket, sides[0][bucket].get(measure.name), sides[1][bucket].get(measure.name))
            for bucket in sides[0]
            for measure in measures
        ]
        yield from _corrected([each for each in by_bucket if each is not None])


def _common(work: _Work, one: Measured, two: Measured) -> tuple[dict[str, dict[str, Cell]], dict[str, dict[str, Cell]]]:
    """Return the numbers of both over the prompts that both answer."""
    found: tuple[dict[str, dict[str, Cell]], dict[str, dict[str, Cell]]] = ({}, {})
    for bucket in one.places:
        if bucket not in two.places:
            continue
        of = [side.model.of[side.places[bucket]] for side in (one, two)]
        both = np.intersect1d(of[0], of[1])
        if len(both) < work.min_count:
            continue
        for side, rows, kept in zip((one, two), of, found, strict=True):
            if len(both) == len(rows):
                kept[bucket] = side.cells[bucket]
            else:
                kept[bucket] = work.bucket(side, bucket, side.places[bucket][np.isin(rows, both)])
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
        return float(np.nanmean(rows)) / spread if spread > 0 else None
    noise = math.sqrt((a.noise**2 + b.noise**2) / 2)
    return apart / noise if math.isfinite(noise) and noise > 0 else None


def _corrected(of: Sequence[Difference]) -> Iterator[Difference]:
    """Correct p-values for their number, and name the better model where there is one."""
    for each, p in zip(of, holm([each.p for each in of]), strict=True):
        yield replace(each, p=p, better=each.better if p is not None and p < _ALPHA else None)
