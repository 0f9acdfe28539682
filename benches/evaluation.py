"""How long the metrics take, beside the obvious ways, and what humans get of them.

`python benches/evaluation.py` reads the reference data (POLYALIGN_SHARED). All metrics but those of embeddings are
taken of 10,000 predictions of two models, bucket by bucket; each is also taken of fewer, beside what NLTK, scipy,
pandas and plain Python make of the same rows (NLTK where it is installed). Times are of the processor: seconds of all
threads. `--humans` prints what one half of the humans gets against the other.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import harness
from polyalign import features
from polyalign.evaluation import metrics

PREDICTIONS, FEW = 10_000, 1_000
SCALES = [feature.scale for feature in features.registry()]


class Rows(NamedTuple):
    """Predictions of a model and what they are held against."""

    said: list[str]
    human: list[str]
    asked: list[str]
    buckets: list[str]
    languages: list[str]

    def take(self, rows: list[int]) -> Rows:
        return Rows(*([column[row] for row in rows] for column in self))

    def by_bucket(self) -> Iterator[list[int]]:
        found = collections.defaultdict(list)
        for row, bucket in enumerate(self.buckets):
            found[bucket].append(row)
        return (rows for rows in found.values() if len(rows) >= 20)


def read(count: int) -> Rows:
    """The reference data's predictions, again and again; each time with another last word."""
    file = harness.shared_directory() / "golden" / "eval" / "predictions.jsonl"
    given = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    rows = list(itertools.islice(itertools.cycle(given), count))
    said = [row["prediction"] + f" {at}" * (at >= len(given)) for at, row in enumerate(rows)]
    buckets = [row["bucket_id"] for row in rows]
    columns = ([row[name] for row in rows] for name in ("reference_output", "question"))
    return Rows(said, *columns, buckets, [bucket.split("|")[0] for bucket in buckets])


def measure(texts: list[str], languages: list[str]) -> Any:
    table = features.extract(texts, languages)
    return np.stack([np.asarray(table[name]) for name in table.column_names], axis=1).astype(np.float64)


class Suite:
    """The metrics, a method each, over the buckets of some rows."""

    def __init__(self, rows: Rows) -> None:
        self.rows, self.sets = rows, list(rows.by_bucket())
        self.parts = [rows.take(own) for own in self.sets]
        self.model, self.human = np.zeros(0), np.zeros(0)

    def features(self) -> None:
        self.model, self.human = (measure(of, self.rows.languages) for of in (self.rows.said, self.rows.human))

    def utility(self) -> Any:
        return metrics.utility(self.rows.said, self.rows.human, self.rows.languages)

    def distinct(self) -> Any:
        return [[metrics.distinct(of.said, of.languages, n) for n in (1, 2, 3)] for of in self.parts]

    def self_bleu(self) -> Any:
        return [metrics.self_bleu(of.said, of.languages) for of in self.parts]

    def bng(self) -> Any:
        return [metrics.bng(self.model[own], self.human[own], scales=SCALES) for own in self.sets]

    def hcr(self) -> Any:
        return [metrics.hcr(self.model[own], self.human[own]) for own in self.sets]

    def tails(self) -> Any:
        return [metrics.tails(self.model[own], self.human[own]) for own in self.sets]

    def mmd(self) -> Any:
        return [metrics.mmd(self.model[own], self.human[own], scales=SCALES) for own in self.sets]

    def coverage(self) -> Any:
        return [metrics.coverage(self.model[own], self.human[own], scales=SCALES) for own in self.sets]

    def tdm(self) -> Any:
        multi = [row for row, bucket in enumerate(self.rows.buckets) if "|multi|" in bucket]
        rows = self.rows.take(multi)
        return metrics.tdm(rows.asked, rows.said, rows.human, rows.buckets, rows.languages)

    def overused(self) -> Any:
        return [metrics.overused(of.said, of.human, (of.languages, of.languages)) for of in self.parts]

    def faults(self) -> Any:
        return (
            metrics.faults(self.rows.said, self.rows.languages),
            metrics.language_faults(self.rows.said, self.rows.languages),
        )

    def bootstrap(self) -> Any:
        found = metrics.utility(self.rows.said, self.rows.human, self.rows.languages)
        return metrics.resampled_sums(np.stack(found, axis=1), np.arange(len(self.rows.said)) // 2)


# ------------------------------------------------------------------------------------------- the obvious ways


def tokens(texts: list[str]) -> list[list[str]]:
    import string

    table = str.maketrans("", "", string.punctuation)
    return [
        [word for word in text.lower().translate(table).split() if word not in ("a", "an", "the")] for text in texts
    ]


def plain_utility(suite: Suite) -> None:
    for a, b in zip(tokens(suite.rows.said), tokens(suite.rows.human), strict=True):
        (collections.Counter(a) & collections.Counter(b)).total()
        row = [0] * (len(b) + 1)
        for x in a:
            before = row[:]
            for at, y in enumerate(b):
                row[at + 1] = before[at] + 1 if x == y else max(before[at + 1], row[at])


def nltk_self_bleu(suite: Suite) -> None:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smoothing = SmoothingFunction().method1
    for part in suite.parts:
        cut = tokens(part.said)
        for at, own in enumerate(cut):
            sentence_bleu(cut[:at] + cut[at + 1 :], own, smoothing_function=smoothing)


def scipy_bng(suite: Suite) -> None:
    from scipy.stats import wasserstein_distance

    for own in suite.sets:
        for x, y in zip(suite.model[own].T, suite.human[own].T, strict=True):
            known = x[~np.isnan(x)], y[~np.isnan(y)]
            if len(known[0]) and len(known[1]):
                wasserstein_distance(*known)


def scipy_mmd(suite: Suite) -> None:
    """Each shuffle anew, as the definition has it."""
    from scipy.spatial.distance import cdist

    random = np.random.default_rng(0)
    for own in suite.sets:
        rows = np.nan_to_num(np.concatenate([suite.model[own], suite.human[own]]))
        rows = (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 1e-9)
        width = np.median(cdist(rows, rows))
        for _ in range(200):
            order = random.permutation(len(rows))
            x, y = rows[order[: len(own)]], rows[order[len(own) :]]
            [np.exp(-cdist(a, b, "sqeuclidean") / (2 * width**2)).mean() for a, b in ((x, x), (y, y), (x, y))]


def pandas_bootstrap(suite: Suite) -> None:
    import pandas

    table = pandas.DataFrame({"f1": np.linspace(0, 1, len(suite.rows.said))})
    groups = dict(list(table.groupby(np.arange(len(table)) // 2)))
    random = np.random.default_rng(0)
    for _ in range(20):  # of 1,000
        drawn = random.integers(len(groups), size=len(groups)).tolist()
        pandas.concat([groups[group] for group in drawn])["f1"].mean()


PEERS: dict[str, tuple[str, Callable[[Suite], None], int]] = {
    "utility": ("plain Python", plain_utility, 1),
    "self_bleu": ("NLTK", nltk_self_bleu, 1),
    "bng": ("scipy", scipy_bng, 1),
    "mmd": ("scipy", scipy_mmd, 1),
    "bootstrap": ("pandas", pandas_bootstrap, 50),
}


def seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def names() -> list[str]:
    return [name for name, value in vars(Suite).items() if callable(value) and not name.startswith("_")]


def report() -> str:
    models = [Suite(read(PREDICTIONS)) for _ in range(2)]
    few = Suite(models[0].rows.take(list(range(FEW))))
    for name in names():  # what is imported when it is first used
        getattr(few, name)()
    lines, total = [], 0.0
    start = time.perf_counter()
    whole = {name: sum(seconds(getattr(suite, name)) for suite in models) for name in names()}
    wall = time.perf_counter() - start
    for name, all_of_it in whole.items():
        total += all_of_it
        line = [name, f"{all_of_it:.2f}"]
        own = min(seconds(getattr(few, name)) for _ in range(3))
        if name in PEERS:
            peer, call, times = PEERS[name]
            try:
                theirs = seconds(lambda call=call: call(few)) * times  # type: ignore[misc]
                line += [f"{own:.3f}", f"{theirs:.1f} ({peer})", f"{theirs / own:.0f}×"]
            except ModuleNotFoundError as error:
                line += [f"{own:.3f}", f"{error.name} is not installed", ""]
        lines.append([*line, "", "", ""][:5])
    lines.append(["all", f"{total:.2f}", "", "", ""])
    head = ["", f"{PREDICTIONS:,} × 2 models", f"{FEW:,} × 1", "the obvious way", "ratio"]
    return harness.table(head, lines) + f"\n\n{wall:.1f} seconds passed."


def humans() -> str:
    """What one half of each bucket's humans gets against the other."""
    rows = read(2_541)
    values = measure(rows.human, rows.languages)
    found: dict[str, list[float]] = collections.defaultdict(list)
    for own in rows.by_bucket():
        order = np.random.default_rng(0).permutation(own)
        one, two = order[: len(own) // 2], order[len(own) // 2 :]
        sides = values[one], values[two]
        reach, shares = metrics.coverage(*sides, scales=SCALES), metrics.tails(*sides)
        found["bng"].append(metrics.bng(*sides, scales=SCALES).value)
        found["bng, cdf"].append(metrics.bng(*sides, variant="cdf").value)
        found["bng, paper"].append(metrics.bng(*sides, variant="paper").value)
        found["hcr"].append(metrics.hcr(*sides).value)
        found["mmd"].append(metrics.mmd(*sides, scales=SCALES).value)
        for name, value in reach.model._asdict().items():
            found[name].append(value)
        for name, value in shares._asdict().items():
            found[name].append(float(np.nanmean(value)))
        texts, tags = [rows.human[row] for row in order], [rows.languages[row] for row in order]
        for n in (1, 2, 3):
            found[f"distinct_{n}"].append(metrics.distinct(texts, tags, n))
        found["self_bleu"].append(metrics.self_bleu(texts, tags))
        for fault, marks in metrics.faults(texts, tags)._asdict().items():
            found[fault].append(float(marks.mean()))
        spoken = metrics.language_faults(texts, tags)
        found["wrong language"].append(float(spoken.wrong.mean()))
        found["mixed language"].append(float(spoken.mixed.mean()))
    lines = [[name, f"{math.fsum(of) / len(of):.3f}", f"{min(of):.3f}", f"{max(of):.3f}"] for name, of in found.items()]
    return harness.table(["", "mean over buckets", "least", "most"], lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--humans", action="store_true", help="print what humans get")
    print(humans() if parser.parse_args().humans else report())
