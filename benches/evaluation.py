"""How long an evaluation takes, beside the authors' way of one answer, one feature, one pair at a time.

`evaluate` holds 10,000 predictions of each of two models, made of the corpus, against its humans, from the process's
start to its end: all metrics but those of embeddings, with intervals, floors and comparisons. Then each metric as
published is taken of the reference data's predictions (POLYALIGN_SHARED), beside what NLTK, scipy, scikit-learn and
plain Python make of the same rows, text by text, as the published code does (evaluation_peer.py); and a bootstrap and a
permutation test beside pandas and scipy. Times are of the processor. `--humans` prints what one half of the humans gets
against the other.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import harness
from harness import Options, log
from polyalign import features
from polyalign.evaluation import metrics

SCALES = [feature.scale for feature in features.registry()]
#: Texts a second of the extractor published with the paper, which is not on PyPI: measured elsewhere, see features.py.
EXTRACTED = {"en": 248, "zh": 1063}
PEERS = ("numpy", "nltk", "scipy", "scikit-learn", "pandas")


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


def read(count: int | None = None) -> Rows:
    """The reference data's predictions."""
    file = harness.shared_directory() / "golden" / "eval" / "predictions.jsonl"
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()][:count]
    columns = ([row[name] for row in rows] for name in ("prediction", "reference_output", "question", "bucket_id"))
    said, human, asked, buckets = columns
    return Rows(said, human, asked, buckets, [bucket.split("|")[0] for bucket in buckets])


def measure_features(texts: list[str], languages: list[str], **options: Any) -> Any:
    table = features.extract(texts, languages, **options)
    return np.stack([np.asarray(table[name]) for name in table.column_names], axis=1).astype(np.float64)


# ------------------------------------------------------------------------------------------- the whole suite


def predictions(count: int, rows: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Two models: one says what other humans of the bucket said, one loops, shuffles, cuts and repeats."""
    from polyalign.critics.attacks import battery

    random = np.random.default_rng(0)
    chosen = [rows[at] for at in sorted(random.choice(len(rows), count, replace=False).tolist())]
    texts, buckets = ([row[name] for row in chosen] for name in ("text", "bucket"))
    others = battery(texts, buckets, attacks=["other_prompt"])["other_prompt"]
    attacks = list(battery(texts, buckets).values())
    attacked = [attacks[at % len(attacks)][at] for at in range(count)]
    files = []
    for name, said in (("others", others), ("attacks", attacked)):
        files.append(folder / f"{name}.jsonl")
        lines = (
            json.dumps({"id": row["id"], "response": text or row["text"]}, ensure_ascii=False)
            for row, text in zip(chosen, said, strict=True)
        )
        files[-1].write_text("\n".join(lines) + "\n", encoding="utf-8")
    return files


def bucketed(options: Options, folder: Path) -> list[dict[str, Any]]:
    """Bucket the corpus into a folder; the ids, buckets and answers of its records whose id is theirs alone."""
    import pyarrow.parquet as pq

    corpus = options.corpus or harness.generated(1e6)
    harness.run_timed(harness.polyalign_bucket(corpus, folder, "--languages", "en,zh"), options.threads)
    table = pq.read_table(folder / "data", columns=["id", "bucket", "completion"]).to_pylist()
    seen = collections.Counter(row["id"] for row in table)
    alone = [row for row in table if seen[row["id"]] == 1]
    return [{"id": row["id"], "bucket": row["bucket"], "text": row["completion"][-1]["content"]} for row in alone]


def measure_whole(options: Options) -> dict[str, Any]:
    count = 500 if options.quick else 10_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = bucketed(options, folder / "humans")
        files = [str(file) for file in predictions(count, rows, folder)]
        command = [sys.executable, "-m", "polyalign", "evaluate", *files, "--join", str(folder / "humans")]
        log(f"evaluation: {count:,} predictions of two models")
        runs = [harness.run_timed([*command, "--json"], options.threads) for _ in range(min(options.rounds, 3))]
    found = {part: harness.median(getattr(run, part) for run in runs) for part in ("seconds", "cpu_seconds")}
    judged = len(json.loads(runs[0].output)["models"][0]["buckets"])
    peak = max(run.peak_bytes for run in runs)
    return {"predictions": count, "humans": len(rows), "buckets": judged, "peak_bytes": peak, **found}


# ------------------------------------------------------------------------------------------- metric by metric


class Suite:
    """The metrics as published, a method each, over the buckets of some rows; then what tells how sure they are."""

    def __init__(self, rows: Rows) -> None:
        self.rows, self.sets = rows, list(rows.by_bucket())
        self.parts = [rows.take(own) for own in self.sets]
        self.model, self.human = np.zeros(0), np.zeros(0)

    def features(self) -> None:
        sides = self.rows.said, self.rows.human
        self.model, self.human = (measure_features(of, self.rows.languages, variant="paper") for of in sides)

    def utility(self) -> Any:
        return metrics.utility(self.rows.said, self.rows.human, variant="paper")

    def distinct(self) -> Any:
        sides = [side for part in self.parts for side in (part.said, part.human)]
        return [[metrics.distinct(of, n=n, variant="paper") for n in (1, 2, 3)] for of in sides]

    def self_bleu(self) -> Any:
        return [metrics.self_bleu(of.said, variant="paper") for of in self.parts]

    def bng(self) -> Any:
        return [metrics.bng(self.model[own], self.human[own], variant="paper") for own in self.sets]

    def hcr(self) -> Any:
        found = []
        for own in self.sets:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of features that a language lacks
                low, high = np.nanquantile(self.human[own], [0.1, 0.9], axis=0)
            found.append(metrics.hcr_paper(self.model[own], low, high))
        return found

    def tdm(self) -> Any:
        multi = [row for row, bucket in enumerate(self.rows.buckets) if "|multi|" in bucket]
        rows = self.rows.take(multi)
        return metrics.tdm(rows.asked, rows.said, rows.human, rows.buckets, variant="paper")

    def mmd(self) -> Any:
        return [metrics.mmd(self.model[own], self.human[own]) for own in self.sets]

    def bootstrap(self) -> Any:
        f1 = np.linspace(0, 1, len(self.rows.said))
        return metrics.resampled_sums(np.stack([f1, np.ones(len(f1))], axis=1), np.arange(len(f1)) // 2)


PUBLISHED = ("features", "utility", "distinct", "self_bleu", "bng", "hcr", "tdm")
NAMES = (*PUBLISHED, "mmd", "bootstrap")
WITH = {"utility": "plain Python", "distinct": "plain Python", "self_bleu": "NLTK", "bng": "scipy"}
WITH |= {"hcr": "plain Python", "tdm": "scikit-learn", "mmd": "scipy, 199 permutations", "bootstrap": "pandas, 1,000"}
WITH |= {"features": "the paper's extractor, measured elsewhere"}


def seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def measure_metrics(options: Options) -> dict[str, Any]:
    rows = read(300 if options.quick else None)
    suite = Suite(rows)
    for name in NAMES:  # what is imported when it is first used
        getattr(suite, name)()
    ours = {name: min(seconds(getattr(suite, name)) for _ in range(3)) for name in NAMES}
    log(f"evaluation: {len(rows.said):,} predictions one by one")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = {**rows._asdict(), "sets": suite.sets}
        (folder / "rows.json").write_text(json.dumps(given, ensure_ascii=False), encoding="utf-8")
        np.savez(folder / "features.npz", model=suite.model, human=suite.human)
        python = harness.environment("evaluation", list(PEERS))
        peer = str(harness.HERE / "evaluation_peer.py")
        theirs = json.loads(harness.run_timed([str(python), peer, str(folder)], 1).output)
    languages = collections.Counter(rows.languages)
    theirs["features"] = sum(2 * count / EXTRACTED.get(of, EXTRACTED["en"]) for of, count in languages.items())
    return {"predictions": len(rows.said), "buckets": len(suite.sets), "ours": ours, "theirs": theirs}


def measure(options: Options) -> dict[str, Any]:
    return {"whole": measure_whole(options), "metrics": measure_metrics(options)}


def render(results: dict[str, Any]) -> str:
    whole, of = results["whole"], results["metrics"]
    title = (
        f"{whole['predictions']:,} predictions of two models, {whole['humans']:,} humans, {whole['buckets']} buckets"
    )
    row = ["`polyalign evaluate`", f"{whole['seconds']:.1f} s", f"{whole['cpu_seconds']:.1f} s"]
    tables = [harness.table([title, "passed", "of the processor", "memory"],
                            [[*row, f"{whole['peak_bytes'] / harness.MEGABYTE:,.0f} MB"]])]  # fmt: skip
    lines = []
    for name in (*PUBLISHED, "all of these", *NAMES[len(PUBLISHED) :]):
        parts = PUBLISHED if name == "all of these" else (name,)
        theirs, ours = (sum(of[side][part] for part in parts) for side in ("theirs", "ours"))
        label = name if name == "all of these" else f"`{name}`"
        lines.append([label, WITH.get(name, ""), f"{theirs:.2f} s", f"{ours:.4f} s", f"{theirs / ours:,.0f}×"])
    title = f"{of['predictions']:,} predictions, {of['buckets']} buckets, as published"
    return "\n\n".join([*tables, harness.table([title, "one by one", "", "polyalign", "times"], lines, left=2)])


def humans() -> str:
    """What one half of each bucket's humans gets against the other."""
    rows = read()
    values = measure_features(rows.human, rows.languages)
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
    harness.add_options(parser)
    arguments = parser.parse_args()
    print(humans() if arguments.humans else render(measure(harness.options_from(arguments))))
