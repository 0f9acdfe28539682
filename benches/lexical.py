"""What the lexical critic tells from humans, how fast, and how its percentiles lie: the numbers of docs/critics.md.

    python benches/lexical.py CORPUS [--part test] [--bits 22]

CORPUS is anything that ``polyalign bucket`` reads, with groups. A twentieth of the groups is for choosing (``--part
validation``), another to report (``test``); the rest is counted. Each attack is made of held-out human answers of 8
words (12 characters) or more, and is set against these in the same buckets.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import string
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from polyalign import Bucketer, features
from polyalign.critics import LexicalCritic

PARTS = 20
MOST = 3000
ROUNDS = 5
ASKED = 20_000


def rows_of(corpus: str, folder: Path) -> pa.Table:
    """Bucket a corpus, and return what counts of it."""
    Bucketer().bucket_files(corpus, folder / "bucketed")
    columns = ["id", "group", "bucket", "language", "prompt", "completion"]
    return pa.concat_tables(
        pq.read_table(file, columns=columns) for file in sorted((folder / "bucketed" / "data").glob("*.parquet"))
    )


def part_of(row: dict[str, Any]) -> int:
    return int(hashlib.md5((row["group"] or row["id"]).encode()).hexdigest()[:8], 16) % PARTS


def auroc(humans: np.ndarray, others: np.ndarray) -> float:
    """Return how often another's score is above a human's; equal ones count half."""
    order = np.sort(humans)
    below, up_to = np.searchsorted(order, others, "left"), np.searchsorted(order, others, "right")
    return float((below + up_to).mean() / 2 / len(order))


def attacks(language: str, cut: Callable[[str], list[str]], humans: list[str], pool: list[str]) -> dict[str, list[str]]:
    """Return by name, of each human answer, what is made of it."""
    pick = random.Random(1)
    join = "".join if language == "zh" else " ".join

    def letter() -> str:
        return chr(pick.randrange(0x4E00, 0x9FA5)) if language == "zh" else pick.choice(string.ascii_lowercase)

    made: dict[str, list[str]] = {"letters": [], "random words": [], "shuffled": [], "cut": []}
    if language == "zh":
        made["characters shuffled"] = []
    for answer in humans:
        words = cut(answer)
        made["letters"].append("".join(letter() if c.isalpha() else c for c in answer))
        made["random words"].append(join(pick.choice(pool) for _ in words))
        made["shuffled"].append(join(pick.sample(words, len(words))))
        if language == "zh":
            made["characters shuffled"].append("".join(pick.sample(answer, len(answer))))
        made["cut"].append(join(words[: pick.randrange(1, len(words))]) if len(words) > 1 else "")
    return made


def words_of(critic: LexicalCritic, bucket: str) -> Callable[[str], list[str]]:
    """Return what cuts answers of a bucket into words."""

    def cut(text: str) -> list[str]:
        table = critic.surprisal(text, bucket)
        tokens = zip(table["token"].to_pylist(), table["is_character"].to_pylist(), strict=True)
        return [token for token, is_character in tokens if token is not None and not is_character]

    return cut if bucket.startswith("zh") else str.split


def quality(critic: LexicalCritic, train: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> dict[str, Any]:
    """Return by language and attack the AUROC, of scores and of features."""
    found: dict[str, Any] = {}
    for language in sorted({row["language"] for row in held_out}):
        long = [row for row in held_out if row["language"] == language and is_long(row["text"], language)]
        random.Random(0).shuffle(long)
        long = long[:MOST]
        if len(long) < 100:
            continue
        cut = words_of(critic, f"{language}|single|qa|short")
        pool = [word for row in train if row["language"] == language for word in cut(row["text"])][:300_000]
        humans, buckets = [row["text"] for row in long], [row["bucket"] for row in long]
        scores, values = critic.score(humans, buckets), critic.features(humans, buckets)
        found[language] = {"humans": len(long), "score": {}, "features": {name: {} for name in critic.feature_names}}
        for name, texts in attacks(language, cut, humans, pool).items():
            found[language]["score"][name] = round(auroc(scores, critic.score(texts, buckets)), 4)
            others = critic.features(texts, buckets)
            for at, feature in enumerate(critic.feature_names):
                both = values[:, at], others[:, at]
                if not any(np.isnan(of).all() for of in both):
                    told = auroc(*(of[~np.isnan(of)] for of in both))
                    found[language]["features"][feature][name] = round(told, 3)
    return found


def is_long(text: str, language: str) -> bool:
    return len(text) >= 12 if language == "zh" else len(text.split()) >= 8


def calibration(critic: LexicalCritic, held_out: list[dict[str, Any]]) -> dict[str, float]:
    """Return by bucket of 200 held-out humans how far their percentiles are from uniform (Kolmogorov–Smirnov)."""
    by_bucket: dict[str, list[str]] = {}
    for row in held_out:
        by_bucket.setdefault(row["bucket"], []).append(row["text"])
    found = {}
    for bucket, texts in sorted(by_bucket.items()):
        if len(texts) >= 200:
            ordered = np.sort(critic.percentile(texts, [bucket] * len(texts)))
            steps = np.arange(len(ordered) + 1) / len(ordered)
            found[bucket] = round(float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max())), 3)
    return found


def per_second(work: Callable[[], object], count: int) -> int:
    """Return how many a second of the processor, on one thread: the best of some rounds."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return round(count / min(seconds))


def speed(critic: LexicalCritic, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return by language how many short answers are scored in a second of one core."""
    found = {}
    for language in sorted({row["language"] for row in rows}):
        short = [row for row in rows if row["language"] == language and row["bucket"].endswith("|short")][:ASKED]
        texts, buckets = [row["text"] for row in short], [row["bucket"] for row in short]
        critic.score(texts[:9], buckets[:9])
        both = lambda texts=texts, buckets=buckets, language=language: (  # noqa: E731
            features.extract(texts, language, threads=1),
            critic.score(texts, buckets),
        )
        found[language] = {
            "score": per_second(lambda texts=texts, buckets=buckets: critic.score(texts, buckets), len(texts)),
            "features": per_second(lambda texts=texts, buckets=buckets: critic.features(texts, buckets), len(texts)),
            "score and the registry's features": per_second(both, len(texts)),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    parser.add_argument("--bits", type=int, default=22)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = rows_of(arguments.corpus, Path(folder))
    rows = table.to_pylist()
    parts = np.array([part_of(row) for row in rows])
    for row in rows:
        row["text"] = row.pop("completion")[-1]["content"]
    counted = table.filter(pa.array(parts >= 2)).select(["bucket", "prompt", "completion"])
    start = time.process_time()
    critic = LexicalCritic.from_arrow(counted, bits=arguments.bits, threads=1)
    seconds = time.process_time() - start
    held_out = [row for row, part in zip(rows, parts, strict=True) if part == (arguments.part == "test")]
    train = [row for row, part in zip(rows, parts, strict=True) if part >= 2]
    told = {
        "part": arguments.part,
        "rows": critic.rows,
        "n_grams": critic.entries,
        "is_full": critic.is_full,
        "megabytes": round(len(critic.to_bytes()) / 1e6, 1),
        "seconds_to_count": round(seconds, 2),
        "auroc": quality(critic, train, held_out),
        "calibration": calibration(critic, held_out),
        "a_second": speed(critic, rows),
    }
    print(json.dumps(told, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
