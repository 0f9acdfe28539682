"""What came of an experiment: every arm by the whole suite, and the questions it was made for."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import data
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import yaml

import polyalign
from polyalign import _core, critics
from polyalign.distribution import DistributionTerm
from polyalign.evaluation import Evaluation, evaluate
from polyalign.evaluation._statistics import holm

Floats = npt.NDArray[np.float64]
QUESTIONS = Path(__file__).with_name("questions.yaml")
#: Two halves of the features by their groups: what one arm trains on judges the other.
HALVES = {
    "1": ["length", "orthography", "readability", "sentiment"],
    "2": ["structure", "lexical", "punctuation", "function", "interaction"],
}
DRAWS = 200
#: A bucket with a smaller share of the rows that train is rare.
RARE = 0.05
#: What the table of arms shows, and which way humans are; None: they lie between.
SHOWN = {
    "critic_held_out": "held-out critic, percentile",
    "mmd": "MMD²",
    "bng": "BNG",
    "energy_1": "E² of half 1",
    "energy_2": "E² of half 2",
    "gibberish": "beyond 95% of people, lexical",
    "coverage": "coverage",
    "precision": "precision",
    "distinct_2": "distinct-2",
    "length_entropy": "entropy of lengths",
    "nll": "NLL of people's answers",
    "f1": "F1",
}
#: How far each came from where all start to people.
WAY = ("critic_held_out", "mmd", "bng", "energy_1", "energy_2", "w1_1", "w1_2")


class Estimate(NamedTuple):
    """A number of one seed, or of all of them."""

    value: float
    error: float
    """Its standard error: over groups of prompts, and over seeds where there are several."""

    @property
    def ends(self) -> tuple[float, float]:
        """The interval of 95%."""
        return self.value - 1.96 * self.error, self.value + 1.96 * self.error

    @property
    def p(self) -> float | None:
        """How likely a value as far from 0 is where there is no difference."""
        if not (math.isfinite(self.value) and self.error > 0):
            return None
        return math.erfc(abs(self.value) / self.error / math.sqrt(2))


def together(seeds: Sequence[Estimate]) -> Estimate:
    """Return the mean of seeds: prompts are the same in all, so that more seeds don't make their error smaller.

    Examples
    --------
    >>> together([Estimate(1.0, 0.3), Estimate(3.0, 0.3)])
    Estimate(value=2.0, error=1.0440306508910548)
    """
    known = [each for each in seeds if math.isfinite(each.value)]
    if not known:
        return Estimate(math.nan, math.nan)
    values = [each.value for each in known]
    between = statistics.variance(values) / len(values) if len(values) > 1 else 0.0
    return Estimate(statistics.fmean(values), math.sqrt(statistics.fmean(each.error**2 for each in known) + between))


@dataclass
class Row:
    """A row of the tables: a model, with all that was measured of it by seed."""

    name: str
    own: dict[int, dict[str, tuple[float, Floats]]] = field(default_factory=dict)
    """By seed and measure, the value and its resamples."""
    evaluated: dict[int, dict[str, Estimate]] = field(default_factory=dict)

    def of(self, measure: str) -> Estimate:
        """Return a measure over all seeds."""
        found = [told[measure] for told in self.evaluated.values() if measure in told]
        found += [_estimate(*told[measure]) for told in self.own.values() if measure in told]
        return together(found)


class Results:
    """All that an experiment's answers come to.

    Parameters
    ----------
    out : Path
        The experiment's folder.
    part : str
        Whose prompts the answers are to.
    names : mapping
        By row of the tables, the folder of its answers by seed; what has one model for all seeds has the seed -1.
    people : pyarrow.Table
        The rows of all parts: those that nobody answered are whom people are held against, to know the floors.
    train : pyarrow.Table
        The rows that train.
    """

    def __init__(
        self, out: Path, part: str, names: Mapping[str, Mapping[int, Path]], people: pa.Table, train: pa.Table
    ) -> None:
        self.out, self.part, self.names, self.people = out, part, names, people
        self.seeds = sorted({seed for of in names.values() for seed in of if seed >= 0}) or [-1]
        self.rows_by_id = {row["id"]: row for row in people.to_pylist()}
        counts = Counter(train["bucket"].to_pylist())
        self.rare = {bucket for bucket in people["bucket"].unique().to_pylist() if counts[bucket] < RARE * len(train)}
        self.reference = polyalign.Reference.load(out / "reference.safetensors")
        self.judge: Any = critics.load(out / "judge")
        self.ensemble: Any = critics.load(out / "ensemble")
        self.terms = {name: DistributionTerm(self.reference, features=half) for name, half in HALVES.items()}
        groups = sorted({row["group"] for row in self.rows_by_id.values()})
        self.group_of = {group: at for at, group in enumerate(groups)}
        # A Poisson number of times each: a bootstrap in which every group is drawn by itself.
        self.times = np.random.default_rng(0).poisson(1.0, (len(groups), DRAWS))
        self.rows = {name: Row(name) for name in names}
        self.evaluations: dict[int, Evaluation] = {}
        self.people_have: dict[str, Estimate] = {}

    def measure(self, min_count: int, say: Callable[[str], object]) -> None:
        """Measure all of it."""
        for seed in self.seeds:
            files = {name: of.get(seed, of.get(-1)) for name, of in self.names.items()}
            there = {name: folder / f"{self.part}.jsonl" for name, folder in files.items() if folder is not None}
            say(f"seed {seed}: {', '.join(there)}")
            self.evaluations[seed] = evaluate(
                {name: str(path) for name, path in there.items()},
                self.people,
                reference=self.reference,
                critics={"held_out": self.judge, "ensemble": self.ensemble},
                draws=DRAWS,
                min_count=min_count,
                page=seed == self.seeds[0],
                progress=say,
            )
            for model in self.evaluations[seed].models:
                row = self.rows[model.name]
                if -1 in self.names[row.name] and row.evaluated:
                    continue  # the same model for all seeds
                row.evaluated[seed] = {name: _number(number) for name, number in model.overall.items()}
                row.own[seed] = self._own(there[row.name])
        self._people()

    def _people(self) -> None:
        """Take what people have: the floors, and what their own answers to the same prompts get."""
        evaluation = self.evaluations[self.seeds[0]]
        for measure in evaluation.measures:
            floors = [model.overall[measure.name].floor for model in evaluation.models if measure.name in model.overall]
            known = [floor for floor in floors if floor is not None]
            if known:
                self.people_have[measure.name] = Estimate(statistics.median(known), math.nan)
        ids = [line["id"] for line in data.read_lines(self._any_answers())]
        own = self._told({name: data.reply(self.rows_by_id[name]) for name in ids})
        self.people_have |= {name: _estimate(*of) for name, of in own.items()}

    def _any_answers(self) -> Path:
        folder = next(folder for of in self.names.values() for folder in of.values())
        return folder / f"{self.part}.jsonl"

    # ------------------------------------------------------------------------------------ beside the suite

    def _own(self, answers: Path) -> dict[str, tuple[float, Floats]]:
        """Measure what `evaluate` has not: energies on halves of features, gibberish, NLL of people's answers."""
        found = self._told({line["id"]: line["response"] for line in data.read_lines(answers)})
        path = answers.with_name(f"{self.part}-nll.jsonl")
        if path.is_file():
            nll = {line["id"]: line["nll"] for line in data.read_lines(path)}
            found["nll"] = self._mean(nll)
            for name, is_rare in (("nll_rare", True), ("nll_common", False)):
                of = {each: nll[each] for each in nll if (self.rows_by_id[each]["bucket"] in self.rare) is is_rare}
                if of:
                    found[name] = self._mean(of, by_bucket=True)
        return found

    def _told(self, texts: Mapping[str, str]) -> dict[str, tuple[float, Floats]]:
        rows = [self.rows_by_id[name] for name in texts]
        said, buckets = list(texts.values()), [row["bucket"] for row in rows]
        prompts = [row["prompt"] for row in rows]
        lexical = np.nan_to_num(self.ensemble.critics["lexical"].percentile(said, buckets), nan=1.0)
        found = {"gibberish": self._mean(dict(zip(texts, (lexical > 0.95).astype(float).tolist(), strict=True)))}
        words = [len(each) for each in _core.cut_words(said, [row["language"] for row in rows])]
        found["length_entropy"] = self._entropy(list(texts), words)
        for name, term in self.terms.items():
            found[f"energy_{name}"] = self._energy(term, list(texts), said, buckets, prompts)
        for name, value in self._w1(said, rows).items():
            found[f"w1_{name}"] = value, np.full(DRAWS, math.nan)
        return found

    def _often(self, ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return how often each row is in each resample, shape (rows, draws)."""
        return self.times[[self.group_of[self.rows_by_id[name]["group"]] for name in ids]]

    def _mean(self, values: Mapping[str, float], *, by_bucket: bool = False) -> tuple[float, Floats]:
        """Return a mean over answers, or over buckets of theirs."""
        cells = defaultdict(list)
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                cells[self.rows_by_id[name]["bucket"] if by_bucket else ""].append(name)
        means, drawn = [], []
        for names in cells.values():
            of, often = np.array([values[name] for name in names]), self._often(names)
            means.append(of.mean())
            with np.errstate(invalid="ignore"):
                drawn.append((of @ often) / often.sum(axis=0))
        return float(np.mean(means)), np.asarray(np.nanmean(drawn, axis=0))

    def _entropy(self, ids: list[str], words: list[int]) -> tuple[float, Floats]:
        """Return the entropy of lengths, in bits, in bins of half an octave."""
        bins = np.minimum(12, (2 * np.log2(1 + np.array(words))).astype(int))
        counted = (np.eye(13)[bins].T @ self._often(ids)).T
        return _bits(np.bincount(bins, minlength=13)), np.array([_bits(each) for each in counted])

    def _energy(
        self, term: DistributionTerm, ids: list[str], texts: list[str], buckets: list[str], prompts: list[Any]
    ) -> tuple[float, Floats]:
        """Return E², the mean over answers of their bucket's."""
        measured = term.measure(texts, buckets, prompts)

        def energy(places: Sequence[int]) -> float:
            of = [each for each in term.compare(measured.take(places)).buckets.values() if math.isfinite(each.energy)]
            return sum(each.samples * each.energy for each in of) / max(1, sum(each.samples for each in of))

        often = self._often(ids)
        drawn = [energy(np.repeat(np.arange(len(ids)), often[:, draw]).tolist()) for draw in range(DRAWS)]
        return energy(range(len(ids))), np.array(drawn)

    def _w1(self, texts: list[str], rows: list[dict[str, Any]]) -> dict[str, float]:
        """Return the mean W1/σ over features of each half, over buckets by their answers."""
        table = pa.table(
            {"bucket": [row["bucket"] for row in rows], "prompt": [row["prompt"] for row in rows], "completion": texts}
        )
        group_of = {feature.name: feature.group for feature in polyalign.features.registry()}
        told = pa.table(self.reference.diff(polyalign.Reference.from_arrow(table))).to_pylist()
        counts, found = Counter(row["bucket"] for row in rows), {}
        for name, half in HALVES.items():
            by = defaultdict(list)
            for row in told:
                value = row["wasserstein_scaled"]
                if group_of[row["feature"]] in half and not math.isnan(value) and row["bucket"] in counts:
                    by[row["bucket"]].append(value)
            total = sum(counts[bucket] for bucket in by)
            found[name] = sum(counts[bucket] * statistics.fmean(of) for bucket, of in by.items()) / max(1, total)
        return found

    # ---------------------------------------------------------------------------------------- differences

    def difference(self, one: str, two: str, measure: str) -> Estimate:
        """Return how much more the second row has than the first, on the same prompts, over seeds that both have."""
        name, _, where = measure.partition("@")
        seeds = [seed for seed in self.seeds if all({seed, -1} & set(self.names[row]) for row in (one, two))]
        found = [self._difference(seed, one, two, name, where) for seed in seeds]
        return together([each for each in found if each is not None])

    def _difference(self, seed: int, one: str, two: str, measure: str, where: str) -> Estimate | None:
        own = [self._own_of(row, seed).get(measure) for row in (one, two)]
        if own[0] is not None and own[1] is not None:
            return _estimate(own[1][0] - own[0][0], own[1][1] - own[0][1])
        found = []
        for each in self.evaluations[seed].differences:
            in_place = (
                each.bucket is None if not where else each.bucket and (each.bucket in self.rare) == (where == "rare")
            )
            if each.metric == measure and in_place and {each.one, each.two} == {one, two} and each.low is not None:
                sign = 1.0 if each.two == two else -1.0
                found.append(Estimate(sign * each.difference, (each.high - each.low) / 3.92))
        if not found:
            return None
        error = math.sqrt(sum(each.error**2 for each in found)) / len(found)
        return Estimate(statistics.fmean(each.value for each in found), error)

    def _own_of(self, row: str, seed: int) -> dict[str, tuple[float, Floats]]:
        own = self.rows[row].own
        return own.get(seed) or next(iter(own.values()), {})

    # ------------------------------------------------------------------------------------------- tables

    def markdown(self) -> str:
        """Return the tables."""
        return "\n\n".join([self._said(), self._arms(), self._way(), *self._questions(), self._suite()]) + "\n"

    def _said(self) -> str:
        answered = len(data.read_lines(self._any_answers()))
        seeds = ", ".join(map(str, self.seeds))
        some = "one seed: intervals are over prompts alone, and say nothing of another training"
        return f"{answered} prompts; seeds: {seeds}" + (f" ({some})." if len(self.seeds) == 1 else ".")

    def _arms(self) -> str:
        rows = [["people", "", *(_cell(self.people_have.get(name)) for name in SHOWN)]]
        for name, row in self.rows.items():
            count = "" if -1 in self.names[name] else str(len(self.names[name]))
            rows.append([name, count, *(_cell(row.of(measure)) for measure in SHOWN)])
        return _table(["", "seeds", *SHOWN.values()], rows)

    def _way(self) -> str:
        """Return how much of the way from the start to people each arm came."""
        if "start" not in self.rows:
            return ""
        start, rows = self.rows["start"], []
        for name, row in self.rows.items():
            if name not in ("base", "start"):
                rows.append([name, *(self._share(row, start, measure) for measure in WAY)])
        titles = [SHOWN.get(name, f"W1/σ of half {name[-1]}") for name in WAY]
        return "How much of the way from the start to people:\n\n" + _table(["", *titles], rows)

    def _share(self, row: Row, start: Row, measure: str) -> str:
        people = self.people_have.get(measure)
        if people is None:
            return ""
        begins, found = start.of(measure).value, row.of(measure).value
        gap = begins - people.value
        return f"{(begins - found) / gap:.0%}" if math.isfinite(found) and abs(gap) > 1e-9 else ""

    def _questions(self) -> Iterable[str]:
        for asked, told in yaml.safe_load(QUESTIONS.read_text("utf-8")).items():
            tests = [(one, two, measure) for one, two in told["pairs"] for measure in told["measures"]
                     if one in self.rows and two in self.rows]  # fmt: skip
            if not tests:
                continue
            found = [self.difference(*test) for test in tests]
            corrected = holm([each.p for each in found])
            rows = []
            for (one, two, measure), each, p in zip(tests, found, corrected, strict=True):
                better = "" if p is None else _better(measure, each.value) if p < 0.05 else "not told apart"
                title = _title(measure)
                rows.append(
                    [f"{two} − {one}", title, _cell(each, signed=True), "" if p is None else f"{p:.3f}", better]
                )
            yield f"**{asked}**\n\n" + _table(["", "", "difference", "p (Holm)", ""], rows)

    def _suite(self) -> str:
        """Return all of the suite, a row a metric."""
        names = [measure.name for measure in self.evaluations[self.seeds[0]].measures]
        rows = []
        for name in names:
            cells = [_cell(row.of(name), brief=True) for row in self.rows.values()]
            if any(cells):
                rows.append([name, _cell(self.people_have.get(name), brief=True), *cells])
        return "The whole suite, means over buckets:\n\n" + _table(["", "people", *self.rows], rows)

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain data."""
        return {
            "seeds": self.seeds,
            "rare": sorted(self.rare),
            "people": {name: _plain(each) for name, each in self.people_have.items()},
            "rows": {
                name: {measure: _plain(row.of(measure)) for measure in self._measures(row)}
                for name, row in self.rows.items()
            },
            "evaluations": {str(seed): each.to_dict() for seed, each in self.evaluations.items()},
        }

    @staticmethod
    def _measures(row: Row) -> list[str]:
        return sorted({name for told in (*row.evaluated.values(), *row.own.values()) for name in told})

    def write(self) -> str:
        """Write the tables, the report as a page and all numbers; return the tables."""
        folder = self.out / "report"
        folder.mkdir(exist_ok=True)
        told = self.markdown()
        (folder / f"{self.part}.md").write_text(told, "utf-8")
        (folder / f"{self.part}.json").write_text(json.dumps(self.to_dict(), indent=1) + "\n", "utf-8")
        self.evaluations[self.seeds[0]].to_html(folder / f"{self.part}.html")
        return told


def _estimate(value: float, draws: Floats) -> Estimate:
    known = draws[np.isfinite(draws)]
    return Estimate(value, float(known.std(ddof=1)) if len(known) > 1 else math.nan)


def _number(number: Any) -> Estimate:
    value = math.nan if number.value is None else number.value
    return Estimate(value, math.nan if number.low is None else (number.high - number.low) / 3.92)


def _bits(counts: Any) -> float:
    shares = counts[counts > 0] / max(1, counts.sum())
    return float(-(shares * np.log2(shares)).sum())


def _plain(each: Estimate) -> dict[str, float | None]:
    return {name: float(f"{value:.6g}") if math.isfinite(value) else None for name, value in each._asdict().items()}


def _title(measure: str) -> str:
    name, _, where = measure.partition("@")
    name, where = (
        (name[: -len(end) - 1], end) if (end := name.rpartition("_")[2]) in ("rare", "common") else (name, where)
    )
    return SHOWN.get(name, name) + (f", {where} buckets" if where else "")


def _better(measure: str, difference: float) -> str:
    name = measure.partition("@")[0]
    is_low = name not in ("coverage", "precision", "f1", "hcr", "rouge_l")
    return "better" if (difference < 0) == is_low else "worse"


def _cell(each: Estimate | None, *, signed: bool = False, brief: bool = False) -> str:
    if each is None or not math.isfinite(each.value):
        return ""
    sign = "+" if signed else ""
    if brief or not math.isfinite(each.error):
        return f"{each.value:{sign}.3f}"
    low, high = each.ends
    return f"{each.value:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
