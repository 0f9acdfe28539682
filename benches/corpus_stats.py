"""How the generated corpus compares with real dialogue, in what counting and bucketing depend on.

`python benches/corpus_stats.py` prints both side by side: bytes a token, growth of distinct words and clauses, share
of the commonest, letters of English words, entropies of Chinese characters.
"""

from __future__ import annotations

import collections
import math
import re
from typing import Any

import harness
from counting import REFERENCE
from harness import MEGABYTE, Options, Worker

SIZES = {"en": (1e6, 4e6, 8e6), "zh": (1e6, 4e6)}
WORD = re.compile(r"[A-Za-z]+")
CLAUSE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]+")


def growth(texts: list[str], pattern: re.Pattern[str], sizes: tuple[float, ...]) -> dict[str, Any]:
    """Distinct matches when so many bytes have been read, and all counts at the last of the sizes."""
    seen: collections.Counter[str] = collections.Counter()
    read, distinct, wanted = 0, {}, list(sizes)
    for text in texts:
        read += len(text.encode())
        seen.update(match.lower() for match in pattern.findall(text))
        if wanted and read >= wanted[0]:
            distinct[wanted.pop(0)] = (len(seen), seen.total())
        if not wanted:
            break
    return {"distinct": distinct, "counts": seen}


def bytes_per_token(texts: list[str], options: Options, folder: Any) -> float:
    import json
    import tempfile

    sample = harness.take(texts, 1e6)
    python = harness.environment("tokenizers_023", ["tokenizers==0.23.*"])
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file, Worker(python, folder) as worker:
        json.dump(sample, file)
        file.flush()
        worker.ask(do="load", tokenizer=str(options.tokenizer()))
        worker.ask(do="prepare", name="sample", path=file.name)
        return harness.size_of(sample) / sum(worker.ask(do="counts", name="sample"))


def entropy(counts: collections.Counter[Any]) -> float:
    total = counts.total()
    return -sum(n / total * math.log2(n / total) for n in counts.values())


def covered(counts: collections.Counter[str], types: int) -> float:
    """The share of all occurrences that the commonest types make."""
    return sum(n for _, n in counts.most_common(types)) / counts.total()


def english(texts: list[str]) -> dict[str, str]:
    grown = growth(texts, WORD, SIZES["en"])
    counts = grown["counts"]
    lines = {f"distinct words in {size / MEGABYTE:.0f} MB": f"{n:,}" for size, (n, _) in grown["distinct"].items()}
    lines["words seen once, of the distinct"] = f"{sum(n == 1 for n in counts.values()) / len(counts):.0%}"
    for types in (100, 1000, 10_000):
        lines[f"share of the {types:,} commonest words"] = f"{covered(counts, types):.1%}"
    lines["letters a word"] = f"{sum(len(w) * n for w, n in counts.items()) / counts.total():.2f}"
    return lines


def chinese(texts: list[str]) -> dict[str, str]:
    grown = growth(texts, CLAUSE, SIZES["zh"])
    counts = grown["counts"]
    lines = {}
    for size, (distinct, total) in grown["distinct"].items():
        lines[f"distinct clauses in {size / MEGABYTE:.0f} MB, of all"] = f"{distinct:,} ({distinct / total:.0%})"
    lines["characters a clause"] = f"{sum(len(c) * n for c, n in counts.items()) / counts.total():.1f}"
    characters: collections.Counter[str] = collections.Counter()
    pairs: collections.Counter[str] = collections.Counter()
    for clause, n in counts.items():
        for i, character in enumerate(clause):
            characters[character] += n
            pairs[clause[i : i + 2]] += n if i + 1 < len(clause) else 0
    lines["distinct characters"] = f"{len(characters):,}"
    lines["distinct pairs of characters"] = f"{len(pairs):,}"
    lines["entropy of a character, bits"] = f"{entropy(characters):.2f}"
    lines["entropy of the next character, bits"] = f"{entropy(+pairs) - entropy(characters):.2f}"
    return lines


def describe(options: Options) -> dict[str, dict[str, str]]:
    """For each language, each line of the table."""
    lines: dict[str, dict[str, str]] = {}
    for language, name, describe_language in (("en", "English", english), ("zh", "Chinese", chinese)):
        texts = harness.utterances(options.corpus, language, 1e9)
        density = bytes_per_token(texts, options, "tokenizers_023")
        lines[name] = {"bytes of text a token": f"{density:.2f}", **describe_language(texts)}
    return lines


def measure(options: Options) -> dict[str, Any]:
    if options.corpus is None:
        raise SystemExit("nothing to compare with: give a real corpus by --corpus")
    return {"real": describe(options), "generated": describe(options._replace(corpus=None)), "by": REFERENCE}


def render(results: dict[str, Any]) -> str:
    rows = [
        [f"{language}: {line}", value, results["generated"][language].get(line, "")]
        for language, lines in results["real"].items()
        for line, value in lines.items()
    ]
    return harness.table(["distinct utterances", "real dialogue", "generated"], rows)


if __name__ == "__main__":
    harness.main(measure, render, __doc__)
