"""What each critic tells apart, on held-out human responses of a real corpus and a real model's answers to them.

    python benches/critics.py CORPUS SAMPLES [--train 180 5000] [--steps 500] [--json OUT]
    python benches/critics.py CORPUS SAMPLES --likelihood MODEL [--rows 300] [--test-rows 200] [--json OUT]
    python benches/critics.py CORPUS SAMPLES --speed 20000 [--json OUT]

CORPUS is what `polyalign bucket` takes, SAMPLES what `polyalign generate` wrote of it, bucketed by words. Groups are
parted by their hash: with two thirds critics are trained, on so many of the samples; the rest is what the table is of.
Nothing is chosen here. With `--likelihood` it is of few rows, as the language model reads each some twenty times: those
of short and medium answers with a sample, the classifier with the model and without.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow

import polyalign as pa
from polyalign import _core, critics
from polyalign._io import bucketed
from polyalign.critics import attacks
from polyalign.critics._auroc import auroc, combined
from polyalign.critics._likelihood import NAMES, Likelihood
from polyalign.critics._score import compare_files
from polyalign.critics._train import Humans, Sampled, Skipped, _lexical, read_humans, read_samples, share_of, train

_TEST_SHARE = 0.34


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("samples", type=Path)
    parser.add_argument("--train", type=int, nargs="+", default=[180, 5000], help="samples to train on")
    parser.add_argument("--steps", type=int, default=0, help="steps of hill climbing against each critic")
    parser.add_argument("--limit", type=int, default=2000, help="human responses that the table is of, at most")
    parser.add_argument("--languages", default="en,zh")
    parser.add_argument("--likelihood", metavar="MODEL", help="what a causal language model adds to the classifier")
    parser.add_argument("--rows", type=int, default=300, help="of which it is trained then; 0: it is not")
    parser.add_argument("--test-rows", type=int, default=200, help="of which the table is then")
    parser.add_argument("--dtype", default="bfloat16", help="of that model")
    parser.add_argument("--speed", type=int, default=0, metavar="N", help="how fast critics score so many responses")
    parser.add_argument("--json", type=Path, help="write all numbers")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "bucketed"
        bucketer = pa.Bucketer(pa.BucketSchema(length_unit="words", languages=given.languages.split(",")))
        bucketer.bucket_files(given.corpus, str(folder), test_share=_TEST_SHARE)
        if given.likelihood:
            found = _with_likelihood(folder, given)
        elif given.speed:
            found = _speed(folder, given)
        for count in () if found else given.train:
            found[str(count)] = _of(folder, given, count, Path(made))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


def _of(folder: Path, given: argparse.Namespace, count: int, scratch: Path) -> dict[str, Any]:
    """Train on so many samples at most, and print the table."""
    started = time.perf_counter()
    few = _few(folder, given.samples, count, scratch)
    ensemble, told = train("ensemble", str(folder), samples=str(few), seed=0)
    print(f"\n{count:,} samples at most: {told['rows']}, trained in {time.perf_counter() - started:.0f} s")
    ensemble.save(scratch / f"critic-{count}")
    loaded = critics.load(scratch / f"critic-{count}")
    asked = {"ensemble": loaded, **loaded.critics}  # type: ignore[attr-defined]
    compared, skipped = compare_files(asked, str(folder), str(given.samples), steps=given.steps, limit=given.limit)
    print(compared, *skipped, sep="\n")
    longer, _ = compare_files(asked, _longer(folder), limit=given.limit)
    print("Answers of 8 words (12 characters) or more, with samples or without:", longer, sep="\n")
    return {"rows": told["rows"], **compared.to_dict(), "longer": longer.to_dict()}


def _speed(folder: Path, given: argparse.Namespace) -> dict[str, float]:
    """Print how many responses a second of one core is: of the ensemble, its critics one by one, what they measure."""
    ensemble, _ = train("ensemble", str(folder), samples=str(given.samples), seed=0, threads=1)
    every: dict[bool, Humans] = {True: Humans(), False: Humans()}
    rows = bucketed.open_rows("records", str(folder))
    read_humans(rows, Sampled(), lambda row, _: every[row["bucket"].startswith("zh|")], Skipped())
    chinese = every[True].lowest(given.speed * 3 // 10)
    asked = chinese + every[False].lowest(given.speed - len(chinese))
    texts, buckets, prompts = asked.responses, asked.buckets, asked.prompts
    languages, members = attacks.languages_of(buckets), ensemble.critics
    found = {}
    for name, work in {
        "ensemble, with prompts": lambda: ensemble.percentiles(texts, buckets, prompts),
        "its critics one by one": lambda: [
            critics.ask_percentiles(critic, texts, buckets, prompts) for critic in members.values()
        ],
        "ensemble, without prompts": lambda: ensemble.percentiles(texts, buckets),
        "features": lambda: pa.features.extract(texts, languages, threads=1),
        "lexical features and score": lambda: members["lexical"].features(texts, buckets),
    }.items():
        seconds = []
        for _ in range(4):
            before = time.process_time()
            work()
            seconds.append(time.process_time() - before)
        found[name] = min(seconds)
        print(f"{name}: {found[name]:.3f} s for {len(texts):,}, {len(texts) / found[name]:,.0f} a second")
    return found


def _with_likelihood(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Print what a language model tells by itself, and what classifiers tell with it and without, of the same rows."""
    samples = read_samples(str(given.samples), bucketed.Reading(), Skipped())
    unseen, model = _sampled(folder, "test", samples, given.test_rows), Likelihood(given.likelihood, dtype=given.dtype)
    told = [text or "" for text in unseen.samples]
    cut_humans, cut_samples = attacks.equal_length(unseen.responses, told, unseen.buckets)
    other = attacks.battery(unseen.responses, unseen.buckets, attacks=["other_prompt"])["other_prompt"]
    tests = {
        "another prompt's answer": (unseen.responses, other),
        "the model's": (unseen.responses, told),
        "the model's, at equal length": (cut_humans, cut_samples),
    }
    texts = [text or "" for sides in tests.values() for side in sides for text in side]
    model(texts, unseen.prompts * (len(texts) // len(unseen)))  # once, so that it reads each prompt once
    score: dict[str, Any] = {
        name: lambda texts, of=of, sign=sign: sign * model(texts, unseen.prompts)[:, NAMES.index(of)]
        for name, of, sign in (("gain", "gain_per_token", -1), ("surprisal", "conditional_nll_mean", 1))
    }
    classifiers = _trained(folder, given, samples, model)
    for name, critic in classifiers.items():
        score[name] = lambda texts, critic=critic: critic.score(texts, unseen.buckets, unseen.prompts)
    found: dict[str, Any] = {}
    for test, (humans, machine) in tests.items():
        found[test] = {name: _told(of, humans, machine, unseen.buckets) for name, of in score.items()}
        print(test, *(f"{name} {value}" for name, value in found[test].items()), sep="; ", flush=True)
    return found


def _trained(folder: Path, given: argparse.Namespace, samples: dict[str, str], model: Likelihood) -> dict[str, Any]:
    """Return classifiers of the same rows, with the language model and without; of no rows, none."""
    if not given.rows:
        return {}
    known = _sampled(folder, "train", samples, given.rows)
    rows, groups = bucketed.open_rows("records", str(folder)), set(known.groups)
    assert rows.bucketed is not None
    asked: dict[str, Any] = {
        "prompts": known.prompts,
        "groups": known.groups,
        "reference": pa.Reference.build(str(folder)),
        "lexical": _lexical(rows, rows.bucketed.schema, lambda group: group not in groups, None, False),
    }
    return {
        name: critics.DiscriminativeCritic.train(
            known.responses, known.buckets, known.samples, likelihood=likelihood, **asked
        )
        for name, likelihood in (("without", None), ("with", model))
    }


def _sampled(folder: Path, split: str, samples: dict[str, str], count: int) -> Humans:
    """Return rows of a split with a short or medium answer and a sample, so many, by the hash of their group."""
    humans = Humans()

    def keep(row: dict[str, Any], sampled: bool) -> Humans | None:
        return humans if sampled and row["bucket"].endswith(("|short", "|medium")) else None

    read_humans(bucketed.open_rows("records", str(folder), split), samples, keep, Skipped())
    return humans.lowest(count)


def _told(score: Any, humans: list[str], machine: list[str | None], buckets: list[str]) -> dict[str, Any]:
    """Return how often a human response is the closer one, within buckets, with the interval."""
    at = [row for row, text in enumerate(machine) if text is not None]
    nearer, further = score(humans), score([text or "" for text in machine])
    parts = []
    for bucket in sorted(set(buckets)):
        own = [row for row in range(len(buckets)) if buckets[row] == bucket]
        parts.append(auroc(nearer[own], further[[row for row in own if row in set(at)]]))
    whole = combined(parts)
    return {name: round(getattr(whole, name), 3) for name in ("value", "low", "high")} | {"counts": whole.counts}


def _longer(folder: Path) -> Any:
    """Return the held-out rows in which there are words to shuffle."""
    columns = ["id", "bucket", "prompt", "completion", "group"]
    tables = []
    for _, _, batch in bucketed.open_rows("records", str(folder), "test").batches(columns):
        texts = bucketed.texts("completion", batch["completion"]).text.to_pylist()
        languages = attacks.languages_of(batch["bucket"].to_pylist())
        rows = zip(texts, languages, _core.cut_words(texts, languages), strict=True)
        keep = [sum(map(str.isalpha, text)) >= 12 if own == "zh" else len(words) >= 8 for text, own, words in rows]
        tables.append(pyarrow.Table.from_batches([batch]).filter(pyarrow.array(keep)))
    return pyarrow.concat_tables(tables)


def _few(folder: Path, samples: Path, count: int, scratch: Path) -> Path:
    """Write so many of the samples of rows to train on, by the hash of their id."""
    ids = {
        identity
        for _, _, batch in bucketed.open_rows("records", str(folder)).batches(["id"])
        for identity in batch["id"].to_pylist()
    }
    lines = [line for line in samples.read_text().splitlines() if json.loads(line)["id"] in ids]
    lines.sort(key=lambda line: share_of(json.loads(line)["id"]))
    path = scratch / f"samples-{count}.jsonl"
    path.write_text("".join(line + "\n" for line in lines[:count]))
    return path


if __name__ == "__main__":
    main()
