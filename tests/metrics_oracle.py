"""The metrics of texts, slow and obvious."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence

from polyalign import _core

ARTICLES = {"a", "an", "the"}
KANA = re.compile(r"[ァ-ヿㇰ-ㇿｦ-ﾟ]")
BREAKS = re.compile(r"[.!?;:,。！？；：，、…—()（）\[\]【】{}\"“”«»「」『』\r\n]")


def tokens(text: str, language: str, variant: str = "default") -> list[str]:
    if variant == "paper":
        kept = text.lower().translate(str.maketrans("", "", string.punctuation))
        return [word for word in kept.split() if word not in ARTICLES]
    found: list[str] = []
    for word in _core.cut_words([text], "en")[0]:
        lower = word.lower().replace("’", "'")
        if KANA.search(lower):
            found.extend(lower)
        elif language != "en" or lower not in ARTICLES:
            found.append(lower)
    return found


def ngrams(row: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(row[at : at + n]) for at in range(len(row) - n + 1)]


def f1(common: int, a: Sequence[str], b: Sequence[str]) -> float:
    return float(not a and not b) if not a or not b else 2 * common / (len(a) + len(b))


def longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def bleu(own: list[str], others: list[list[str]], n: int, whole: bool) -> float:
    """NLTK's sentence_bleu with smoothing method 1; without the orders that a text is too short for, unless `whole`."""
    logs = []
    for size in range(1, n + 1):
        counts = Counter(ngrams(own, size))
        met = sum(min(count, max(Counter(ngrams(other, size))[of] for other in others)) for of, count in counts.items())
        if size == 1 and not met:
            return 0.0
        if counts or whole:
            logs.append(math.log((met or 0.1) / max(counts.total(), 1)))
    nearest = min((len(other) for other in others), key=lambda length: (abs(length - len(own)), length))
    return math.exp(sum(logs) / len(logs)) * (1.0 if len(own) > nearest else math.exp(1 - nearest / len(own)))


def phrases(texts: Sequence[str], language: str, n: int) -> Counter[tuple[str, ...]]:
    """How many texts say each phrase of `n` words."""
    counts: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        said: set[tuple[str, ...]] = set()
        for piece in BREAKS.split(text.lower()):
            words = _core.cut_words([piece], "zh" if language == "zh" else "en")[0]
            said.update(ngrams([word.replace("’", "'") for word in words], n))
        counts.update(said)
    return counts
