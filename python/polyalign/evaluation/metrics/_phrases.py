"""Words and phrases that a model says more often than humans do."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from polyalign import _core
from polyalign.evaluation.metrics._tokens import checked, of_texts

__all__ = ["Phrase", "overused"]

_BREAKS = re.compile(r"[.!?;:,。！？；：，、…—()（）\[\]【】{}\"“”«»「」『』\r\n]+")
_CHARACTER = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
# A part of a longer phrase that is seldom said without it tells nothing more.
_WITHIN = 0.8


class Phrase(NamedTuple):
    """A word or phrase and how often both sides say it."""

    text: str
    """In lower case; words apart by blanks, characters of Chinese and Japanese not."""
    words: int
    """How many words it has."""
    model: int
    """How many of the model's texts say it."""
    human: int
    """How many of the humans'."""
    rates: tuple[float, float]
    """The same as shares of their texts."""
    log_odds: float
    """The logarithm of the ratio of both sides' odds, shrunk by the prior; above 0: the model says it more."""
    z: float
    """The same in standard errors."""
    p: float
    """One-sided, corrected for the number of phrases."""
    examples: tuple[str, ...]
    """Where the model says it: up to three of its shortest texts, cut around it."""


def overused(
    model: Sequence[str],
    human: Sequence[str],
    languages: str | tuple[str | Sequence[str], str | Sequence[str]] = "und",
    *,
    n: int = 3,
    prior: float = 500.0,
    min_count: int = 5,
    alpha: float = 0.05,
    most: int = 50,
    correction: Literal["holm", "bh"] = "holm",
    threads: int | None = None,
) -> list[Phrase]:
    """Find words and phrases that a model over-uses, by log-odds with an informative Dirichlet prior.

    With y the texts of a side that say a phrase, N the sum of y over all phrases as long, α = prior · (share of the
    phrase in both sides together), α₀ = prior: δ = log((y + α) / (N + α₀ − y − α)) of the model less that of the
    humans, and z = δ / √(1/(y₁ + α) + 1/(y₂ + α)). A text counts once, however often it says a phrase, so that one text
    in a loop is no habit. Phrases end at punctuation.

    Parameters
    ----------
    model, human : sequence of str
        Texts of one bucket; they need not be as many. The other way round: what a model avoids.
    languages : str, or a pair of those of the model's and of the humans' texts
        Each one for all, or one for each text. Chinese is cut into the words of a dictionary; where words can't be
        told, characters stand for them.
    n : int, default 3
        Words of the longest phrase.
    prior : float, default 500
        How many counts the prior is worth; more shrinks rare phrases more.
    min_count : int, default 5
        Phrases that fewer texts of both sides together say are not looked at.
    alpha : float, default 0.05
        The greatest p of what is returned.
    most : int, default 50
        How many are returned at most; parts of a longer one that are seldom said without it are left out.
    correction : {"holm", "bh"}, default "holm"
        Holm's: the chance of one mistake at all is at most `alpha`. ``"bh"``, Benjamini and Hochberg's: so is the share
        of mistakes.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    list of Phrase
        By descending z; empty where a side has no texts.

    References
    ----------
    Monroe, Colaresi and Quinn, "Fightin' Words", 2008.

    Examples
    --------
    >>> humans = [f"It is number {number}." for number in range(50)]
    >>> found = overused(["Sure thing! " + text for text in humans], humans, "en")
    >>> [(phrase.text, phrase.model, phrase.human) for phrase in found]
    [('sure thing', 50, 0)]
    """
    if n < 1:
        raise ValueError(f"n is {n}: a phrase has one word at least")
    if not prior > 0:
        raise ValueError(f"prior is {prior}: it must be above 0")
    if correction not in ("holm", "bh"):
        raise ValueError(f"correction is {correction!r}: it must be 'holm' or 'bh'")
    texts = checked(model, "model"), checked(human, "human")
    tags = languages if isinstance(languages, tuple) else (languages, languages)
    counts = [_count(side, of_texts(tag, len(side)), n) for side, tag in zip(texts, tags, strict=True)]
    tested = [row for size in range(1, n + 1) for row in _odds(counts[0][size], counts[1][size], prior, min_count)]
    tested.sort(key=lambda row: (-row[1], -len(row[0]), row[0]))
    corrected = _corrected([_beyond(z) for _, z, _ in tested], correction)
    found: list[tuple[tuple[str, ...], float, float, float]] = []
    for (words, z, odds), p in zip(tested, corrected, strict=True):
        if p > alpha:
            break
        found.append((words, z, odds, p))
    kept = _without_parts(found, counts[0])[:most]
    examples = _examples([words for words, *_ in kept], texts[0], of_texts(tags[0], len(texts[0])))
    return [
        _phrase(row, (counts[0][len(row[0])][row[0]], counts[1][len(row[0])][row[0]]), texts, examples[row[0]])
        for row in kept
    ]


_Counts = dict[int, Counter[tuple[str, ...]]]


def _count(texts: list[str], tags: list[str], n: int) -> _Counts:
    """Return how many texts say each phrase, by its length."""
    counts: _Counts = {size: Counter() for size in range(1, n + 1)}
    for pieces in _cut(texts, tags):
        for size, into in counts.items():
            into.update({ngram for words in pieces for ngram in zip(*(words[at:] for at in range(size)), strict=False)})
    return counts


def _cut(texts: list[str], tags: list[str]) -> list[list[list[str]]]:
    """Return the words of each text's pieces between punctuation."""
    found: list[list[list[str]]] = [[] for _ in texts]
    for chinese in (False, True):
        rows = [row for row, tag in enumerate(tags) if (tag == "zh") == chinese]
        pieces = [(row, piece) for row in rows for piece in _BREAKS.split(texts[row].lower()) if piece]
        # A new language may begin with a text only: one call for each way of cutting.
        words = _core.cut_words([piece for _, piece in pieces], "zh" if chinese else "en") if pieces else []
        for (row, _), cut in zip(pieces, words, strict=True):
            if cut:
                found[row].append([word.replace("’", "'") for word in cut])
    return found


def _odds(
    model: Counter[tuple[str, ...]], human: Counter[tuple[str, ...]], prior: float, min_count: int
) -> list[tuple[tuple[str, ...], float, float]]:
    totals = model.total(), human.total()
    if not totals[0] or not totals[1]:
        return []
    found = []
    for words in model.keys() | human.keys():
        said = model[words], human[words]
        if sum(said) < min_count:
            continue
        shrunk = prior * sum(said) / sum(totals)
        logs = (
            [
                math.log((count + shrunk) / (total + prior - count - shrunk))
                for count, total in zip(said, totals, strict=True)
            ]
            if sum(said) < sum(totals)
            else [0.0, 0.0]
        )
        odds = logs[0] - logs[1]
        found.append((words, odds / math.sqrt(1 / (said[0] + shrunk) + 1 / (said[1] + shrunk)), odds))
    return found


def _beyond(z: float) -> float:
    return math.erfc(z / math.sqrt(2)) / 2


def _corrected(ordered: list[float], correction: str) -> list[float]:
    """Return ascending p-values corrected for their number."""
    count, found = len(ordered), list(ordered)
    if correction == "holm":
        largest = 0.0
        for at, p in enumerate(ordered):
            largest = max(largest, min(1.0, p * (count - at)))
            found[at] = largest
        return found
    least = 1.0
    for at in range(count - 1, -1, -1):
        least = min(least, ordered[at] * count / (at + 1))
        found[at] = least
    return found


def _without_parts(
    found: list[tuple[tuple[str, ...], float, float, float]], counts: _Counts
) -> list[tuple[tuple[str, ...], float, float, float]]:
    covered: set[tuple[str, ...]] = set()
    for words, *_ in found:
        for size in range(1, len(words)):
            for at in range(len(words) - size + 1):
                part = words[at : at + size]
                if counts[len(words)][words] >= _WITHIN * counts[size][part]:
                    covered.add(part)
    return [row for row in found if row[0] not in covered]


def _examples(
    wanted: list[tuple[str, ...]], texts: list[str], tags: list[str]
) -> dict[tuple[str, ...], tuple[str, ...]]:
    found: dict[tuple[str, ...], list[str]] = {words: [] for words in wanted}
    shortest = sorted(range(len(texts)), key=lambda row: (len(texts[row]), texts[row]))
    open_ones = set(wanted)
    for start in range(0, len(shortest), 256):
        if not open_ones:
            break
        rows = shortest[start : start + 256]
        for row, pieces in zip(rows, _cut([texts[row] for row in rows], [tags[row] for row in rows]), strict=True):
            for words in [words for words in open_ones if _says(pieces, words)]:
                found[words].append(_around(texts[row], words))
                if len(found[words]) == 3:
                    open_ones.discard(words)
    return {words: tuple(of) for words, of in found.items()}


def _says(pieces: list[list[str]], words: tuple[str, ...]) -> bool:
    size = len(words)
    return any(tuple(of[at : at + size]) == words for of in pieces for at in range(len(of) - size + 1))


def _around(text: str, words: tuple[str, ...], width: int = 60) -> str:
    text = " ".join(text.split())
    pattern = r"[\W_]*".join(re.escape(word).replace("'", "['’]") for word in words)
    place = re.search(pattern, text, re.IGNORECASE)
    if place is None:
        return text[: 2 * width]
    start, end = max(place.start() - width, 0), min(place.end() + width, len(text))
    return ("…" if start else "") + text[start:end].strip() + ("…" if end < len(text) else "")


def _phrase(
    row: tuple[tuple[str, ...], float, float, float],
    said: tuple[int, int],
    texts: tuple[list[str], list[str]],
    examples: tuple[str, ...],
) -> Phrase:
    words, z, odds, p = row
    text = words[0]
    for before, word in itertools.pairwise(words):
        joined = _CHARACTER.search(before[-1]) and _CHARACTER.search(word[0])
        text += word if joined else f" {word}"
    rates = said[0] / len(texts[0]), said[1] / len(texts[1])
    return Phrase(text, len(words), *said, rates, odds, z, p, examples)
