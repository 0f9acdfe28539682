"""The paper's metrics as its code takes them, one by one: `evaluation_peer.py FOLDER`, which evaluation.py fills.

Prints the seconds of the processor of each, the imports left out.
"""

from __future__ import annotations

import json
import string
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nltk.translate.bleu_score as bleu
import numpy as np
import pandas
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

PUNCTUATION = str.maketrans("", "", string.punctuation)


def tokens(text: str) -> list[str]:
    words = text.lower().translate(PUNCTUATION).split()
    return [word for word in words if word not in ("a", "an", "the")]


def common_subsequence(a: list[str], b: list[str]) -> int:
    row = [0] * (len(b) + 1)
    for x in a:
        before = row[:]
        for at, y in enumerate(b):
            row[at + 1] = before[at] + 1 if x == y else max(before[at + 1], row[at])
    return row[-1]


class Peer:
    """A metric a method."""

    def __init__(self, folder: Path) -> None:
        given = json.loads((folder / "rows.json").read_text("utf-8"))
        self.said, self.human, self.asked, self.buckets = (
            given[name] for name in ("said", "human", "asked", "buckets")
        )
        self.sets: list[list[int]] = given["sets"]
        features = np.load(folder / "features.npz")
        self.model, self.people = features["model"], features["human"]

    def utility(self) -> None:
        for said, human in zip(self.said, self.human, strict=True):
            a, b = tokens(said), tokens(human)
            common = sum((Counter(a) & Counter(b)).values())
            _ = (a == b, 2 * common / max(1, len(a) + len(b)), common_subsequence(a, b))

    def distinct(self) -> None:
        for own in self.sets:
            for side in (self.said, self.human):
                cut = [tokens(side[row]) for row in own]
                for n in (1, 2, 3):
                    grams = [tuple(text[at : at + n]) for text in cut for at in range(len(text) - n + 1)]
                    _ = len(set(grams)) / max(1, len(grams))

    def self_bleu(self) -> None:
        smoothing = bleu.SmoothingFunction().method1
        for own in self.sets:
            cut = [tokens(self.said[row]) for row in own]
            for at, text in enumerate(cut):
                bleu.sentence_bleu(cut[:at] + cut[at + 1 :], text, smoothing_function=smoothing)

    def bng(self) -> None:
        for own in self.sets:
            for x, y in zip(self.model[own].T, self.people[own].T, strict=True):
                known = x[~np.isnan(x)], y[~np.isnan(y)]
                if len(known[0]) and len(known[1]):
                    _ = wasserstein_distance(*known) / (known[1].std() or 1.0)

    def hcr(self) -> None:
        for own in self.sets:
            bands = [sorted(column) for column in self.people[own].T.tolist()]
            ends = [(of[round((len(of) - 1) * 0.1)], of[round((len(of) - 1) * 0.9)]) for of in bands]
            for row in self.model[own].tolist():
                inside = [low <= value <= high for value, (low, high) in zip(row, ends, strict=True)]
                _ = (all(inside), sum(inside) / len(inside))

    def tdm(self) -> None:
        multi = [row for row, bucket in enumerate(self.buckets) if "|multi|" in bucket]
        asked, said, human = ([of[row] for row in multi] for of in (self.asked, self.said, self.human))
        vectorizer = TfidfVectorizer(token_pattern=r"\b\w+\b").fit(asked + human + said)
        vectors = [vectorizer.transform(of) for of in (asked, said, human)]
        rank = min(64, vectors[0].shape[0] - 1, vectors[0].shape[1] - 1)
        svd = TruncatedSVD(rank, n_iter=5, n_oversamples=10, random_state=0).fit(vectors[0])
        latent = [svd.transform(of) for of in vectors]
        lengths = [[len(tokens(text)) for text in of] for of in (asked, said, human)]
        by_bucket: dict[str, list[int]] = {}
        for at, row in enumerate(multi):
            by_bucket.setdefault(self.buckets[row], []).append(at)
        for own in by_bucket.values():
            gauges: list[list[list[float]]] = [[], [], []]
            for side in (1, 2):
                gauges[0].append([lengths[side][at] / max(1, lengths[0][at]) for at in own])
                gauges[1].append([vectors[0][at].multiply(vectors[side][at]).sum() for at in own])
                norms = [np.linalg.norm(latent[0][at]) * np.linalg.norm(latent[side][at]) for at in own]
                pairs = zip(own, norms, strict=True)
                gauges[2].append([float(latent[0][at] @ latent[side][at]) / (norm or 1.0) for at, norm in pairs])
            gaps = [wasserstein_distance(*sides) / (float(np.std(sides[1])) or 1.0) for sides in gauges]
            maps = [(latent[0][own] - latent[0][own].mean(0)).T @ latent[side][own] / len(own) for side in (1, 2)]
            _ = (gaps, np.linalg.norm(maps[0] - maps[1]) / (np.linalg.norm(maps[1]) or 1.0))

    def mmd(self) -> None:
        """Each shuffle anew, as the definition has it."""
        random = np.random.default_rng(0)
        for own in self.sets:
            rows = np.nan_to_num(np.concatenate([self.model[own], self.people[own]]))
            rows = (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 1e-9)
            width = np.median(cdist(rows, rows))
            for _ in range(199):
                order = random.permutation(len(rows))
                x, y = rows[order[: len(own)]], rows[order[len(own) :]]
                [np.exp(-cdist(a, b, "sqeuclidean") / (2 * width**2)).mean() for a, b in ((x, x), (y, y), (x, y))]

    def bootstrap(self) -> None:
        table = pandas.DataFrame({"f1": np.linspace(0, 1, len(self.said))})
        groups = dict(list(table.groupby(np.arange(len(table)) // 2)))
        random = np.random.default_rng(0)
        for _ in range(20):  # of 1,000
            drawn = random.integers(len(groups), size=len(groups)).tolist()
            pandas.concat([groups[group] for group in drawn])["f1"].mean()


def seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    peer = Peer(Path(sys.argv[1]))
    names = [name for name in vars(Peer) if not name.startswith("_")]
    found = {name: seconds(getattr(peer, name)) for name in names}
    found["bootstrap"] *= 50
    print(json.dumps(found))


if __name__ == "__main__":
    main()
