"""Critics side by side: what they tell apart, what they can be fooled with, how they are calibrated."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign._io.output import publishing
from polyalign._io.progress import row_bar
from polyalign._text.words import counted
from polyalign.critics import attacks
from polyalign.critics._auroc import Auroc, auroc, combined
from polyalign.critics._calibration import MIN_COUNT
from polyalign.critics._protocol import ask, ask_percentiles, is_calibrated

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.critics._protocol import Critic

#: All buckets together.
ALL = "all"
SAMPLES, EQUAL, OLDER, CLIMBED = "samples", "samples_equal_length", "older_model", "hill_climbed"
_AT_HUMAN_LENGTH = "_human_length"
# Of these the length is the human's anyhow, or other people's own.
_ONE_LENGTH = ("letters_at_random", "words_shuffled", "random_words", "cut_short", "other_prompt", "constant")
#: Buckets where fewer than this stand on either side are not shown alone.
_SHOWN = MIN_COUNT
_CLIMBERS = 8
#: Of two samples' Kolmogorov–Smirnov distance, p = .01, by the root of 1/n + 1/m.
_SURELY_APART = 1.63


@dataclass(frozen=True)
class CriticReport:
    """What was seen of one critic."""

    name: str
    tests: dict[str, dict[str, Auroc]] = field(default_factory=dict)
    """By test and bucket (``"all"``: over pairs of the same bucket), how often a human response is the closer one."""
    kolmogorov_smirnov: dict[str, float] = field(default_factory=dict)
    """By bucket with so many humans, how far their percentiles are from uniform; nothing where it isn't calibrated."""
    strangers: list[str] = field(default_factory=list)
    """Buckets where they are further from it than chance puts them (p < .01) if only 20 humans calibrated it there."""
    spearman: dict[str, float] = field(default_factory=dict)
    """By bucket, the rank correlation of its scores with the support distance, over humans and samples."""
    per_second: float = math.nan
    """Responses scored in a second, with what it is asked in this comparison."""
    unscored: int = 0
    """Human responses without a score."""
    collapsed: str | None = None
    """Why its scores tell nothing; ``None``: they do."""
    climbed_past_humans: dict[str, float] = field(default_factory=dict)
    """By bucket, the share of texts made to please it that came closer than the median human."""

    def worse_than_chance(self) -> list[tuple[str, str]]:
        """Return the tests and buckets in which the other side is surely the closer one."""
        return [
            (test, bucket)
            for test, buckets in self.tests.items()
            if test not in attacks.SINGLY_HUMAN
            for bucket, found in buckets.items()
            if found.high < 0.5
        ]


@dataclass(frozen=True, repr=False)
class Comparison:
    """Critics side by side. ``print(comparison)`` shows them over all buckets."""

    critics: dict[str, CriticReport]
    rows: int
    """Human responses."""
    samples: int
    """Those with a model's response to the same prompt."""

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as what JSON can say; what is not a number is null."""
        return {
            "rows": self.rows,
            "samples": self.samples,
            "critics": {name: _report(report) for name, report in self.critics.items()},
        }

    def faults(self) -> list[str]:
        """Return what speaks against training on a critic, or against this comparison, a line each."""
        few = []
        if self.rows < MIN_COUNT:
            told = counted(self.rows, "human response")
            few = [f"{told} to compare on: nothing is certain of critics with fewer than {MIN_COUNT}"]
        return few + [line for report in self.critics.values() for line in _faults(report, self.rows)]

    def __str__(self) -> str:
        from polyalign._text import tables

        tests = list(dict.fromkeys(test for report in self.critics.values() for test in report.tests))
        columns = {"human closer than": [*tests, "humans' percentiles (KS)", "Spearman with support", "responses/s"]}
        for name, report in self.critics.items():
            cells = [_cell(report.tests.get(test, {}).get(ALL)) for test in tests]
            ks, rho = report.kolmogorov_smirnov.get(ALL), report.spearman.get(ALL)
            cells += ["–" if ks is None else f"{ks:.3f}", "–" if rho is None else f"{rho:.2f}"]
            columns[name] = [*cells, f"{report.per_second:,.0f}"]
        head = (
            f"{self.rows:,} human responses, {self.samples:,} with a model's: AUROC within buckets, with 95% intervals"
        )
        return "\n".join([head, tables.plain(columns, ("human closer than",)), *self.faults()])

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(self.critics)}: {self.rows:,} humans>"

    def to_html(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a page with every bucket, which needs no network.

        Raises
        ------
        FileExistsError
            Something is there that is not replaced.
        """
        with publishing(path, overwrite=overwrite) as output:
            Path(output.work).write_text(_page(self), "utf-8", newline="\n")


def compare(
    critics: Mapping[str, Critic],
    responses: Sequence[str],
    buckets: Sequence[str],
    samples: Sequence[str | None] | None = None,
    *,
    prompts: Sequence[Any] | None = None,
    older: Sequence[str | None] | None = None,
    steps: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> Comparison:
    """Compare critics on humans that none was trained on.

    Parameters
    ----------
    critics : mapping from str to Critic
        By the names that they are shown with.
    responses : sequence of str, length n
        What people said.
    buckets : sequence of str, length n
    samples : sequence of str or None, length n, optional
        What a model said to the same prompt.
    prompts : sequence, length n, optional
        For critics that read them.
    older : sequence of str or None, length n, optional
        What an older model said: none that a critic was trained on.
    steps : int, default 0
        Steps of :func:`attacks.hill_climb` against each critic, from letters at random, in buckets of 20 humans.
    seed : int, default 0
    progress : bool, default False
        Show how many responses are scored, where standard error is a terminal.

    Returns
    -------
    Comparison
        AUROCs are over pairs of the same bucket, .5 by chance; those "at human length" are of texts cut to the human's.

    Raises
    ------
    ValueError
        No critic; lengths that differ; scores that can't be right.
    """
    if not critics:
        raise ValueError("no critic to compare: give one at least, with its name")
    given = {"buckets": buckets, "samples": samples, "prompts": prompts, "older": older}
    for name, values in given.items():
        if values is not None and len(values) != len(responses):
            raise ValueError(f"{len(responses):,} responses and {len(values):,} {name}: give one for each")
    humans = _Humans(list(responses), list(buckets), prompts)
    tests = dict(_tests(humans, samples, older, seed))
    support = next((critic for critic in critics.values() if type(critic).__name__ == "SupportCritic"), None)
    trial = _Trial(humans, tests, support, _distances(support, humans, tests.get(SAMPLES)), steps, seed)
    asked = len(critics) * (len(humans.texts) + sum(len(of.texts) for of in tests.values()))
    with row_bar(asked, progress) as update:
        reports = {name: _judged(name, critic, trial, update) for name, critic in critics.items()}
    return Comparison(reports, len(responses), sum(bool(sample) for sample in samples or ()))


@dataclass(frozen=True)
class _Humans:
    texts: list[str]
    buckets: list[str]
    prompts: Sequence[Any] | None

    def at(self, rows: Sequence[int]) -> tuple[list[str], list[Any] | None]:
        """Return the buckets and prompts of rows."""
        prompts = None if self.prompts is None else [self.prompts[row] for row in rows]
        return [self.buckets[row] for row in rows], prompts


@dataclass(frozen=True)
class _Test:
    """Texts that stand against humans', each of the row that it is made of."""

    rows: list[int]
    texts: list[str]
    humans: list[str] | None = None
    """The humans' side where it is changed too."""


def _tests(
    humans: _Humans, samples: Sequence[str | None] | None, older: Sequence[str | None] | None, seed: int
) -> Iterator[tuple[str, _Test]]:
    for name, side in ((SAMPLES, samples), (OLDER, older)):
        if side is not None:
            yield name, _test(side)
    if samples is not None:
        rows = [row for row, sample in enumerate(samples) if sample]
        own, cut = attacks.equal_length(
            [humans.texts[row] for row in rows], [samples[row] or "" for row in rows], humans.at(rows)[0]
        )
        yield EQUAL, _Test(rows, cut, own)
    made = attacks.battery(humans.texts, humans.buckets, seed=seed)
    for name, texts in made.items():
        yield name, _test(texts)
    for name in (name for name in made if name not in _ONE_LENGTH):
        yield name + _AT_HUMAN_LENGTH, _test(attacks.at_human_length(made[name], humans.texts, humans.buckets))


def _test(texts: Sequence[str | None]) -> _Test:
    rows = [row for row, text in enumerate(texts) if text]
    return _Test(rows, [texts[row] or "" for row in rows])


@dataclass(frozen=True)
class _Trial:
    """What every critic is asked."""

    humans: _Humans
    tests: Mapping[str, _Test]
    support: Critic | None
    distances: npt.NDArray[np.float32] | None
    """Its scores of the humans, and of their samples after them."""
    steps: int
    seed: int


def _judged(name: str, critic: Critic, trial: _Trial, update: Callable[[int], object]) -> CriticReport:
    humans = trial.humans
    started = time.perf_counter()
    scores = ask(critic, humans.texts, humans.buckets, humans.prompts)
    asked = len(humans.texts)
    update(asked)
    found: dict[str, dict[str, Auroc]] = {}
    sides: dict[str, npt.NDArray[np.float32]] = {}
    for test, of in trial.tests.items():
        buckets, prompts = humans.at(of.rows)
        sides[test] = ask(critic, of.texts, buckets, prompts)
        own = scores if of.humans is None else ask(critic, of.humans, buckets, prompts)
        own_buckets = humans.buckets if of.humans is None else buckets
        asked += len(of.texts)
        update(len(of.texts))
        found[test] = _by_bucket(own, own_buckets, sides[test], buckets)
    per_second = asked / max(time.perf_counter() - started, 1e-9)
    return CriticReport(
        name,
        found,
        *_uniform(critic, humans),
        {} if critic is trial.support else _spearman(trial, scores, sides.get(SAMPLES)),
        per_second,
        int(np.isnan(scores).sum()),
        _collapsed(scores, humans, name),
        _climbed(critic, trial, scores) if trial.steps else {},
    )


def _by_bucket(
    humans: npt.NDArray[np.float32],
    human_buckets: Sequence[str],
    others: npt.NDArray[np.float32],
    buckets: Sequence[str],
) -> dict[str, Auroc]:
    """Return AUROCs of the buckets that have enough on both sides, and over all pairs of a bucket."""
    own, their = _places(human_buckets), _places(buckets)
    each = {bucket: auroc(humans[own[bucket]], others[rows]) for bucket, rows in their.items() if bucket in own}
    shown = {bucket: found for bucket, found in each.items() if min(found.counts) >= _SHOWN}
    return {ALL: combined(list(each.values())), **dict(sorted(shown.items(), key=lambda item: -item[1].counts[0]))}


def _places(buckets: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for at, bucket in enumerate(buckets):
        found.setdefault(bucket, []).append(at)
    return found


def _uniform(critic: Critic, humans: _Humans) -> tuple[dict[str, float], list[str]]:
    if not is_calibrated(critic):
        return {}, []
    shares = ask_percentiles(critic, humans.texts, humans.buckets, humans.prompts)
    found, strangers = {ALL: _from_uniform(shares)}, []
    for bucket, rows in _places(humans.buckets).items():
        if len(rows) >= _SHOWN:
            found[bucket] = _from_uniform(shares[rows])
            if found[bucket] > _SURELY_APART * (1 / len(rows) + 1 / MIN_COUNT) ** 0.5:
                strangers.append(bucket)
    return found, strangers


def _from_uniform(shares: npt.NDArray[np.float32]) -> float:
    """Return the Kolmogorov–Smirnov distance from uniform; equal ones are taken at the middle of their ranks."""
    values, counts = np.unique(shares[~np.isnan(shares)], return_counts=True)
    if not counts.size:
        return math.nan
    middle = (np.cumsum(counts) - counts / 2) / counts.sum()
    return float(np.abs(values - middle).max())


def _distances(support: Critic | None, humans: _Humans, samples: _Test | None) -> npt.NDArray[np.float32] | None:
    if support is None:
        return None
    own = ask(support, humans.texts, humans.buckets, humans.prompts)
    return own if samples is None else np.concatenate([own, ask(support, samples.texts, *humans.at(samples.rows))])


def _spearman(trial: _Trial, scores: npt.NDArray[np.float32], side: npt.NDArray[np.float32] | None) -> dict[str, float]:
    humans, theirs, samples = trial.humans, trial.distances, trial.tests.get(SAMPLES)
    if theirs is None:
        return {}
    ours, buckets = scores, humans.buckets
    if samples is not None and side is not None:
        ours, buckets = np.concatenate([ours, side]), buckets + humans.at(samples.rows)[0]
    places = {bucket: rows for bucket, rows in _places(buckets).items() if len(rows) >= _SHOWN}
    each = {bucket: _rank_correlation(ours[rows], theirs[rows]) for bucket, rows in places.items()}
    shown = {bucket: value for bucket, value in each.items() if not math.isnan(value)}
    total = sum(len(places[bucket]) for bucket in shown)
    if not total:
        return {}
    return {ALL: math.fsum(len(places[bucket]) * value for bucket, value in shown.items()) / total, **shown}


def _rank_correlation(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    known = ~(np.isnan(a) | np.isnan(b))
    if known.sum() < 2:
        return math.nan
    ours, theirs = _ranks(a[known]), _ranks(b[known])
    if not np.ptp(ours) or not np.ptp(theirs):
        return math.nan
    return float(np.corrcoef(ours, theirs)[0, 1])


def _ranks(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _collapsed(scores: npt.NDArray[np.float32], humans: _Humans, name: str) -> str | None:
    from polyalign.critics._diagnosis import check_scores

    try:
        check_scores(scores, humans.buckets, responses=humans.texts, name=name)
    except ValueError as error:
        return str(error)
    return None


def _climbed(critic: Critic, trial: _Trial, scores: npt.NDArray[np.float32]) -> dict[str, float]:
    """Climb from letters at random in each bucket; return the share that ends closer than the median human."""
    humans = trial.humans
    made = attacks.battery(humans.texts, humans.buckets, attacks=["letters_at_random"], seed=trial.seed)
    starts, rows, medians = [], [], {}
    for bucket, places in _places(humans.buckets).items():
        known = scores[places]
        if len(places) < _SHOWN or np.isnan(known).all():
            continue
        medians[bucket] = float(np.nanmedian(known))
        texts = [(made["letters_at_random"][row], row) for row in places]
        some = [(text, row) for text, row in texts if text][:_CLIMBERS]
        starts += [text for text, _ in some]
        rows += [row for _, row in some]
    if not rows:
        return {}
    buckets, prompts = humans.at(rows)
    _, reached = attacks.hill_climb(critic, starts, buckets, prompts=prompts, steps=trial.steps, seed=trial.seed)
    closer = reached < np.array([medians[bucket] for bucket in buckets])
    shares = {bucket: float(closer[at].mean()) for bucket, at in _places(buckets).items()}
    return {ALL: float(closer.mean()), **shares}


def _report(report: CriticReport) -> dict[str, Any]:
    return {
        "tests": {
            test: {
                bucket: _known({**found._asdict(), "counts": list(found.counts)}) for bucket, found in buckets.items()
            }
            for test, buckets in report.tests.items()
        },
        "kolmogorov_smirnov": _known(report.kolmogorov_smirnov),
        "strangers": report.strangers,
        "spearman": _known(report.spearman),
        "responses_per_second": round(report.per_second, 1),
        "unscored": report.unscored,
        "collapsed": report.collapsed,
        "climbed_past_humans": _known(report.climbed_past_humans),
    }


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}


def _faults(report: CriticReport, rows: int) -> Iterator[str]:
    name = report.name
    if report.collapsed:
        yield report.collapsed
    elif report.unscored:
        which = "none" if report.unscored == rows else f"{rows - report.unscored:,}"
        yield f"{name} scores {which} of {counted(rows, 'human response')}: it has no humans of the others' languages"
    below: dict[str, list[str]] = {}
    for test, bucket in report.worse_than_chance():
        below.setdefault(test, []).append(bucket)
    for test, buckets in below.items():
        found = report.tests[test]
        worst = min(buckets, key=lambda bucket: found[bucket].value)
        where = "over all buckets" if worst == ALL else f"in {worst}"
        more = len(set(buckets) - {ALL, worst})
        others = f", and in {counted(more, 'bucket')} more" if more else ""
        yield (
            f"{name} is worse than chance {where}{others}: {test} is closer than humans ({_cell(found[worst])}); don't "
            "train on it there"
        )
    if report.strangers:
        worst = max(report.strangers, key=lambda bucket: report.kolmogorov_smirnov[bucket])
        yield (
            f"{name} takes humans for others than they are in {counted(len(report.strangers), 'bucket')}: in {worst} "
            f"their percentiles are {report.kolmogorov_smirnov[worst]:.2f} from uniform; calibrate it with people of it"
        )
    constant = report.tests.get("constant", {}).get(ALL)
    if constant is not None and constant.high < 0.5:
        yield (
            f"{name} likes one answer to everything better than humans ({_cell(constant)}): a model trained on it "
            "alone collapses"
        )
    past = {bucket: share for bucket, share in report.climbed_past_humans.items() if bucket != ALL and share > 0}
    if past:
        worst = max(past, key=lambda bucket: past[bucket])
        yield (
            f"{name} can be pleased with gibberish in {len(past)} of {len(report.climbed_past_humans) - 1} buckets: in "
            f"{worst}, {past[worst]:.0%} of climbs ended closer than the median human"
        )


def _cell(found: Auroc | None) -> str:
    if found is None or math.isnan(found.value):
        return "–"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _page(comparison: Comparison) -> str:
    from html import escape

    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        "<title>Critics side by side</title><style>",
        ":root{color-scheme:light dark}",
        "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}",
        "table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}",
        "td,th{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #8884;white-space:nowrap}",
        "td:first-child,th:first-child{text-align:left}.bad{color:#c33}small{opacity:.7}summary{cursor:pointer}</style>",
        f"<h1>Critics side by side</h1><p>{comparison.rows:,} human responses, {comparison.samples:,} with a model's. "
        "A cell is the share of pairs of the same bucket in which the human response is the closer one: .5 by chance, "
        "with its 95% interval.</p>",
    ]
    faults = comparison.faults()
    if faults:
        parts.append("<ul>" + "".join(f"<li class=bad>{escape(line)}" for line in faults) + "</ul>")
    tests = list(dict.fromkeys(test for report in comparison.critics.values() for test in report.tests))
    for test in tests:
        buckets = list(dict.fromkeys(b for r in comparison.critics.values() for b in r.tests.get(test, {})))
        head = "".join(f"<th>{escape(name)}" for name in comparison.critics)
        body = "".join(
            f"<tr><td>{escape(bucket)}"
            + "".join(_td(r.tests.get(test, {}).get(bucket)) for r in comparison.critics.values())
            for bucket in buckets
        )
        opened = " open" if test in (SAMPLES, EQUAL) else ""
        parts.append(
            f"<details{opened}><summary>{escape(test)}</summary><table><tr><th>bucket{head}{body}</table></details>"
        )
    return "\n".join(parts) + "\n"


def _td(found: Auroc | None) -> str:
    if found is None or math.isnan(found.value):
        return "<td>–"
    bad = " class=bad" if found.high < 0.5 else ""
    return f"<td{bad}>{found.value:.3f} <small>{found.low:.3f}–{found.high:.3f}</small>"
