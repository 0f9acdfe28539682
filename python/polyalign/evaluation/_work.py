"""What is measured of models' answers, and what it comes to over buckets."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign._io import bucketed
from polyalign.buckets import _ids
from polyalign.critics._protocol import ask_both, is_calibrated
from polyalign.critics.attacks import known_languages, languages_of
from polyalign.evaluation._cells import Cell, cells
from polyalign.evaluation._judged import Column, Judgements, joint_measures, judged_cells, widened
from polyalign.evaluation._measures import MEASURES, critic_measure
from polyalign.evaluation._people import NEAR_ROWS, Columns, People, Side
from polyalign.evaluation._predictions import Humans, Model, hashed
from polyalign.evaluation._result import Measure, ModelResult, Number
from polyalign.evaluation._statistics import (
    Draws,
    centred_interval,
    not_enough,
    p_value,
    weighted,
)
from polyalign.evaluation._texts import said
from polyalign.evaluation.metrics import (
    WithinPrompts,
    aggregate,
    faults,
    language_faults,
    naturalness,
    nuf,
    utility,
    within_prompts,
)
from polyalign.evaluation.metrics._turns import Turns, measured_turns
from polyalign.features import extract, registry

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.critics import Critic
    from polyalign.evaluation._arrays import Floats
    from polyalign.reference import Reference

__all__ = ["Measured", "Work", "as_messages"]

_BATCH = 10_000
#: Fewer groups are no sample: drawn again as wholes, they say nothing of how sure a number is.
GROUPS = 5


def as_messages(prompt: Any) -> Any:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


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
    far: Floats
    """The support distance of each answer; NaN where there is none."""
    turns: dict[str, tuple[Turns, Turns]]
    """By bucket of several turns, those of these answers, and of all humans."""
    cells: dict[str, dict[str, Cell]] = field(default_factory=dict)
    prompts: dict[str, int] = field(default_factory=dict)
    not_enough: dict[str, str] = field(default_factory=dict)
    judged: dict[str, Column] = field(default_factory=dict)
    """By metric, what judges, detectors and people said."""
    notices: list[str] = field(default_factory=list)


class Work:
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
        judged: Judgements | None = None,
        encoder: Any = None,
        before: Work | None = None,
    ) -> None:
        """`before`: work of earlier; where its humans are these, what was measured of them is."""
        self.judged, self.encoder = judged, encoder
        self._vectors: dict[str, npt.NDArray[np.float32]] = {}
        self.humans, self.reference, self.critics, self.draws = humans, reference, critics, draws
        self.min_count, self.threads = min_count, threads
        self.features = registry()
        self.columns = Columns(
            np.array([feature.scale for feature in self.features]),
            np.array([feature.group == "interaction" for feature in self.features]),
            [feature.name for feature in self.features].index("word_count"),
        )
        self.languages = known_languages(languages_of(humans.buckets))
        known = before if before is not None and before._fits(self) else None
        self.side: Side = known.side if known else self._humans_side()
        #: What humans' answers have by themselves; NaN where nobody answered the prompt: nothing is held against them.
        self.rows: dict[str, Floats] = known.rows if known else self._humans_rows()
        self.more = self._more()
        #: The buckets where some prompt has an earlier turn.
        self.dialogues = {
            bucket
            for bucket, prompt in zip(humans.buckets, humans.prompts, strict=True)
            if not isinstance(prompt, str) and any(message["role"] == "assistant" for message in prompt or ())
        }
        self._met: dict[tuple[str, bytes], People] = known._met if known else {}
        self._varied_people: dict[tuple[str, str, int], WithinPrompts] = {}
        #: What can't be told, by metric, and why.
        self.without: dict[str, str] = {}

    def _fits(self, other: Work) -> bool:
        """Return whether what was measured of the humans is the same for another."""
        ours, theirs = self.humans, other.humans
        lists = ("ids", "buckets", "texts", "prompts")
        arrays = ("groups", "answered", "usable")
        return (
            self.reference is other.reference
            and self.critics.keys() == other.critics.keys()
            and all(critic is other.critics[name] for name, critic in self.critics.items())
            and (self.draws.seed, self.draws.count) == (other.draws.seed, other.draws.count)
            and all(getattr(ours, name) == getattr(theirs, name) for name in lists)
            and all(np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in arrays)
        )

    def _humans_side(self) -> Side:
        humans = self.humans
        return Side(humans.texts, self._features(humans.texts, self.languages, humans.prompts), humans.groups)

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
        return {bucket: self.ordered(rows) for bucket, rows in found.items()}

    def ordered(self, rows: Iterable[int]) -> npt.NDArray[np.int64]:
        """Return humans in the order of their ids' hashes, whatever order they came in."""
        found = np.array(list(rows), dtype=np.int64)
        return found[np.argsort(self._ranks[found], kind="stable")]

    @cached_property
    def _ranks(self) -> npt.NDArray[np.int64]:
        """Where each human comes in that order."""
        names = [(hashed(name or str(row)), str(name)) for row, name in enumerate(self.humans.ids)]
        ranks = np.zeros(len(names), dtype=np.int64)
        ranks[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
        return ranks

    def _humans_rows(self) -> dict[str, Floats]:
        answered = np.flatnonzero(self.humans.answered)
        found = {}
        texts = [self.humans.texts[row] for row in answered.tolist()]
        for name, values in self._rows(texts, answered)[0].items():
            found[name] = np.full(len(self.humans), np.nan)
            found[name][answered] = values
        return found

    def _rows(self, texts: Sequence[str], of: npt.NDArray[np.int64]) -> tuple[dict[str, Floats], Floats]:
        """Return what each text has by itself, for models and humans alike, and its support distance."""
        buckets = [self.humans.buckets[row] for row in of.tolist()]
        prompts = [self.humans.prompts[row] for row in of.tolist()]
        found = {"empty": np.array([float(not text.strip()) for text in texts])}
        found["support"], far = self._support(texts, buckets)
        for name, critic in self.critics.items():
            scores, shares = ask_both(critic, list(texts), buckets, prompts)
            found[name] = np.asarray(scores if shares is None else shares, dtype=np.float64)
        languages = [self.languages[row] for row in of.tolist()]
        spoken, said = language_faults(texts, languages), faults(texts, languages)
        told = {"wrong_language": spoken.wrong, "mixed_language": spoken.mixed, "looping": said.looping}
        return found | {name: values.astype(np.float64) for name, values in told.items()}, far

    def _support(self, texts: Sequence[str], buckets: Sequence[str]) -> tuple[Floats, Floats]:
        """Return the share of humans that are closer, and the distance."""
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a language model's features, which don't count
            table = self.reference.score(list(texts), list(buckets), threads=self.threads)
        shares, far = (
            bucketed.arrow().chunked_array(table[name]).to_numpy().astype(np.float64)
            for name in ("percentile", "distance")
        )
        # An empty answer has no distance, and is as far from any text as can be.
        return np.where([not text.strip() for text in texts], 1.0, shares), far

    def messages(self, row: int) -> Any:
        """Return the prompt of a human as messages."""
        return as_messages(self.humans.prompts[row])

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
        own, far = self._rows(model.texts, of)
        rows |= {name: (values, self.rows[name][of]) for name, values in own.items()}
        rows["cut"] = model.cut.astype(np.float64), np.zeros(len(of))
        # A prompt counts once: its answers' mean stands with the first of them.
        rows = {name: (_prompt_means(values, model), own) for name, (values, own) in rows.items()}
        rows |= self._within(model, languages)
        firsts: dict[str, list[int]] = defaultdict(list)
        by_human = {int(of[at]): at for at in np.flatnonzero(model.turn == 0).tolist()}
        for row in by_human:
            firsts[self.humans.buckets[row]].append(row)
        places = {
            bucket: np.array([by_human[row] for row in self.ordered(rows_).tolist()], dtype=np.int64)
            for bucket, rows_ in sorted(firsts.items())
        }
        found = Measured(model, side, rows, places, far, self._turns(model, places))
        if self.judged is not None:
            found.judged, found.notices = self.judged.of(model, self.humans)
        for bucket, at in places.items():
            found.prompts[bucket] = len(at)
            groups = len(np.unique(side.groups[at]))
            if len(at) < self.min_count:
                found.not_enough[bucket] = not_enough(len(at), self.min_count)
            elif groups < GROUPS:
                found.not_enough[bucket] = said("few_groups", n=groups, need=GROUPS)
            else:
                found.cells[bucket] = self.bucket(found, bucket, at)
        for bucket in self.humans.rows:
            if bucket not in found.prompts:
                found.prompts[bucket] = 0
                found.not_enough[bucket] = not_enough(0, self.min_count)
        return found

    def bucket(self, found: Measured, bucket: str, at: npt.NDArray[np.int64]) -> dict[str, Cell]:
        """Return the numbers of a bucket over some first answers to its prompts."""
        of = found.model.of[at]
        rows = {name: (values[at], None if own is None else own[at]) for name, (values, own) in found.rows.items()}
        more = self.more.get(bucket, of[:0])
        turns = found.turns.get(bucket)
        if turns is not None and len(at) < len(found.places[bucket]):
            kept = np.flatnonzero(np.isin(found.places[bucket], at))
            others = np.arange(len(found.places[bucket]), len(turns[1].gauges))
            turns = turns[0].take(kept), turns[1].take(np.concatenate([kept, others]))
        people, vectors = self._people(bucket, of, more), None
        if self.encoder is not None:
            texts = [found.side.texts[row] for row in at[:NEAR_ROWS].tolist()]
            vectors = self.embedded(texts), self.embedded(people.kept.near.all.texts)
        told = dict(cells(found.side.take(at), people, rows, turns, vectors))
        return told | self.judgements(found.judged, at, found.side)

    def judgements(self, columns: Mapping[str, Column], at: npt.NDArray[np.int64], side: Side) -> dict[str, Cell]:
        """Return what was said of some first answers of a bucket."""
        return judged_cells(columns.values(), at, side.groups[at], self.draws, self.min_count)

    def _people(self, bucket: str, of: npt.NDArray[np.int64], more: npt.NDArray[np.int64]) -> People:
        """Return the humans of a bucket: the same ones for all models that answer the same prompts."""
        key = bucket, of.tobytes()
        if key not in self._met:
            language = self.languages[int(of[0])]
            self._met[key] = People(self.side.take(of), self.side.take(more), language, self.columns, self.draws)
        return self._met[key]

    def embedded(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the vectors of texts; each text is read once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors.update(zip(new, self.encoder(new)[0], strict=True))
        return np.stack([self._vectors[text] for text in texts])

    def _turns(self, model: Model, places: Mapping[str, npt.NDArray[np.int64]]) -> dict[str, tuple[Turns, Turns]]:
        """Return the turns of a model, and of all humans, of the buckets that have several; nothing without scipy."""
        by_language: dict[str, list[str]] = defaultdict(list)
        for bucket, at in places.items():
            if bucket in self.dialogues and len(at) >= self.min_count:
                by_language[self.languages[int(model.of[at[0]])]].append(bucket)
        found: dict[str, tuple[Turns, Turns]] = {}
        try:
            for language, buckets in by_language.items():
                found |= self._turns_of(model, {bucket: places[bucket] for bucket in buckets}, language)
        except ModuleNotFoundError as error:
            # Its message is in English alone.
            self.without["tdm"] = said("no_tdm", package=str(error.name).split(".")[0])
        return found

    def _turns_of(
        self, model: Model, places: Mapping[str, npt.NDArray[np.int64]], language: str
    ) -> dict[str, tuple[Turns, Turns]]:
        """Return the same of the buckets of one language."""
        texts: tuple[list[str], list[str], list[str]] = ([], [], [])
        asked_by: list[int] = []
        ends = []
        for bucket, at in places.items():
            people = np.concatenate([model.of[at], self.more.get(bucket, at[:0])])
            asked_by += (len(texts[0]) + np.arange(len(at))).tolist()
            texts[0].extend(_last_turn(self.humans.prompts[row]) for row in people.tolist())
            texts[1].extend(model.texts[row] for row in at.tolist())
            texts[2].extend(self.humans.texts[row] for row in people.tolist())
            ends.append((len(texts[1]), len(texts[2])))
        sides = [(texts[1], np.array(asked_by)), (texts[2], np.arange(len(texts[2])))]
        told = measured_turns(texts[0], sides, language)
        if told is None:
            return {}
        starts = [(0, 0), *ends]
        return {
            bucket: (told[0].take(np.arange(start[0], end[0])), told[1].take(np.arange(start[1], end[1])))
            for bucket, start, end in zip(places, starts, ends, strict=False)
        }

    def _within(self, model: Model, languages: Sequence[str]) -> dict[str, tuple[Floats, Floats | None]]:
        """Return how varied the answers to each prompt are, at its first answer; of prompts with several.

        Beside it stands what as many humans' answers to the same prompt have, where there are as many.
        """
        several = {many: count for many, count in model.per_prompt().items() if many > 1}
        if not several:
            return {}
        k, names = min(several), ("distinct_2", "self_bleu", "same", "embedding")
        found = {name: np.full((2, len(model.of)), np.nan) for name in names[: None if self.encoder else -1]}
        starts = np.flatnonzero(model.turn == 0).tolist()
        for start, end in zip(starts, [*starts[1:], len(model.of)], strict=True):
            if end - start < k:
                continue
            sides = [self._varied(model.texts[start:end], languages[start], k)]
            prompt = self._asked(int(model.of[start]))
            if len(self._asked_alike.get(prompt, [])) >= k:
                sides.append(self._people_varied(prompt, languages[start], k))
            for side, told in enumerate(sides):
                for name, values in found.items():
                    values[side, start] = getattr(told, name)
        return {f"prompt_{name}": (values[0], values[1]) for name, values in found.items()}

    def _varied(self, texts: Sequence[str], language: str, k: int) -> WithinPrompts:
        vectors = self.embedded(texts) if self.encoder else None
        return within_prompts(texts, [0] * len(texts), language, k=k, embeddings=vectors)

    def _people_varied(self, prompt: str, language: str, k: int) -> WithinPrompts:
        """Return how varied the humans' answers to a prompt are: once, however many rows and models ask it."""
        key = prompt, language, k
        if key not in self._varied_people:
            texts = [self.humans.texts[row] for row in self._asked_alike[prompt]]
            self._varied_people[key] = self._varied(texts, language, k)
        return self._varied_people[key]

    def _asked(self, row: int) -> str:
        """Return what tells prompts apart."""
        return repr(self.messages(row))

    @cached_property
    def _asked_alike(self) -> dict[str, list[int]]:
        """The humans of every prompt, in an order of their own."""
        found: dict[str, list[int]] = defaultdict(list)
        for row in self.ordered(np.flatnonzero(self.humans.usable).tolist()).tolist():
            found[self._asked(row)].append(row)
        return found

    # ---------------------------------------------------------------------------------------------- results

    def measures(self) -> tuple[Measure, ...]:
        """Return the metrics, each critic's, judge's and detector's among them."""
        critics = tuple(critic_measure(name, calibrated=is_calibrated(critic)) for name, critic in self.critics.items())
        if self.judged is None:
            return (*MEASURES, *critics)
        metrics = self.judged.metrics.values()
        return (*MEASURES, *critics, *(metric.measure for metric in metrics), *joint_measures(metrics))

    def result(self, found: Measured) -> ModelResult:
        """Return a model's numbers."""
        measures = {measure.name: measure for measure in self.measures()}
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
                "prompts": sum(found.prompts[bucket] for bucket in found.cells),
                "humans": sum(humans.rows.values()),
                "empty": int(found.side.empty.sum()),
                "cut": int(model.cut.sum()),
            },
            per_prompt=model.per_prompt(),
            skipped=model.skips.to_list(),
            notices=self._notices(found),
            settings=model.settings,
            unreadable=model.unreadable,
            judged={
                name: {bucket: int(column.known(at).sum()) for bucket, at in found.places.items()}
                for name, column in found.judged.items()
            },
            needed={name: column.least(self.min_count) for name, column in found.judged.items()},
        )

    def _notices(self, found: Measured) -> list[str]:
        model, notices = found.model, [*found.model.notices, *found.notices]
        for name in self.critics:
            missing = int(np.isnan(found.rows[name][0][model.turn == 0]).sum())
            if missing:
                notices.append(said("no_critic", n=missing, critic=name.removeprefix("critic_")))
        for who, (most, need) in self._few(found).items():
            notices.append(said("judged_few", who=who, need=need, most=most))
        empty, cut = int(found.side.empty.sum()), int(model.cut.sum())
        if empty:
            share = f"{empty / len(model.of):.1%}"
            notices.append(said("empty_answers", n=empty, all=len(model.of), share=share))
        if cut:
            share = f"{cut / len(model.of):.1%}"
            notices.append(said("cut_answers", n=cut, all=len(model.of), share=share))
        return notices

    def _few(self, found: Measured) -> dict[Any, tuple[int, int]]:
        """Return who judged too few prompts of every bucket: how many at most, and how many are needed."""
        most: dict[Any, tuple[int, int]] = {}
        for column in found.judged.values():
            if column.metric.rate:  # the same scores need more
                continue
            counts = [int(column.known(at).sum()) for at in found.places.values()]
            if any(counts):
                who = column.metric.called
                most[who] = max(most.get(who, (0, 0)), (max(counts), column.least(self.min_count)))
        return {who: counts for who, counts in most.items() if counts[0] < counts[1]}

    def warnings(self, found: Sequence[Measured]) -> list[str]:
        """Say what a reader of all numbers should know."""
        sets = {frozenset(one.model.of.tolist()) for one in found}
        warnings: list[str] = []
        if len(sets) > 1:
            common = len(frozenset.intersection(*sets))
            warnings.append(said("unlike_prompts", n=common))
        if self.judged is not None:
            warnings += self.judged.warnings([one.model for one in found], self.humans)
        warnings += self.without.values()
        most = max((count for one in found for count in one.prompts.values()), default=0)
        if most < self.min_count:
            warnings.append(said("no_numbers", need=self.min_count))
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


def _number(measure: Measure, cell: Cell | None, worth: float | None = None) -> Number:
    """Return a cell as a number; `worth`: how many answers its mean is worth, where rows don't say it."""
    if cell is None or not math.isfinite(cell.value):
        return Number(None)
    low, high = centred_interval(cell.value, cell.draws)
    found = Number(
        cell.value,
        _within_range(low, measure),
        _within_range(high, measure),
        cell.floor if math.isfinite(cell.floor) else None,
        p_value(cell.test, cell.null, measure.better),
    )
    if measure.kind == "judged" and measure.share:
        return widened(found, float((~np.isnan(cell.rows)).sum()) if worth is None else worth)
    return found


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
    each = [weight**2 / max(1, int((~np.isnan(cell.rows)).sum())) for cell, weight in kept]
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
        worth=math.fsum(share) ** 2 / math.fsum(each),
    )


def _summaries(found: Measured) -> dict[str, Number]:
    """Return NUF and the aggregate, which are of all buckets together."""
    buckets = [of for of in found.cells.values() if math.isfinite(of["bng"].value)]
    if not buckets:
        return {"nuf": Number(None), "aggregate": Number(None)}
    # MAUVE counts where every bucket has it.
    whole = all("mauve" in of and math.isfinite(of["mauve"].value) for of in buckets)
    names = ("f1", "bng", "mauve") if whole else ("f1", "bng")
    values = np.array([[of[name].value for of in buckets] for name in names])
    drawn = np.array([[of[name].draws for of in buckets] for name in names])
    # Too few rows of like length for a resample of MAUVE: it is as it is.
    drawn = np.where(np.isnan(drawn), values[:, :, None], drawn)
    # Moved as intervals are: a resampled gap is larger than the gap.
    drawn[1:] += values[1:, :, None] - drawn[1:].mean(axis=2, keepdims=True)
    value = _both(values)
    resampled = np.array([_both(np.clip(drawn[..., draw], 0.0, None)) for draw in range(drawn.shape[2])])
    ends = [centred_interval(of, column) for of, column in zip(value, resampled.T, strict=True)]
    return {name: Number(of, *end) for name, of, end in zip(("nuf", "aggregate"), value, ends, strict=True)}


def _both(of: Floats) -> tuple[float, float]:
    """Return NUF and the aggregate of F1, BNG and perhaps MAUVE, each [buckets]."""
    mauves = of[2].tolist() if len(of) > 2 else [None] * of.shape[1]
    natural = [naturalness(gap, mauve) for gap, mauve in zip(of[1].tolist(), mauves, strict=True)]
    area, means = nuf(of[0].tolist(), natural), of.mean(axis=1).tolist()
    return area, aggregate(means[0], means[1], means[2] if len(means) > 2 else None, area)
