"""Words and phrases that a model says more often than humans do."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from polyalign import _core
from polyalign.evaluation.metrics._tokens import checked, of_texts

__all__ = ["Phrase", "overused"]

_CHARACTER = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_Doubles = npt.NDArray[np.float64]

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
    order: Literal["z", "log_odds"] = "z",
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
    order : {"z", "log_odds"}, default "z"
        What comes first, and is kept: what is surest, as common words that longer texts have more of; or by how many
        times more the model says it.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    list of Phrase
        By descending z or log-odds; empty where a side has no texts.

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
    if order not in ("z", "log_odds"):
        raise ValueError(f"order is {order!r}: it must be 'z' or 'log_odds'")
    texts = checked(model, "model"), checked(human, "human")
    given = languages if isinstance(languages, tuple) else (languages, languages)
    tags = [of_texts(tag, len(side)) for side, tag in zip(texts, given, strict=True)]
    if not texts[0] or not texts[1]:
        return []
    orders = [
        (words, counts, *_odds(counts, totals, prior))
        for words, counts, totals in _core.phrase_counts(
            (texts[0], tags[0]), (texts[1], tags[1]), n, max(min_count, 1), threads
        )
    ]
    scores = np.concatenate([z for *_, z in orders])
    corrected = np.empty(len(scores))
    ranked = np.argsort(-scores, kind="stable")
    corrected[ranked] = _corrected([_beyond(z) for z in scores[ranked].tolist()], correction)
    found: list[_Found] = []
    for (words, counts, odds, z), p in zip(
        orders, np.split(corrected, np.cumsum([len(words) for words, *_ in orders])[:-1]), strict=True
    ):
        found += [
            _Found(
                tuple(words[at]), (int(counts[at, 0]), int(counts[at, 1])), float(odds[at]), float(z[at]), float(p[at])
            )
            for at in np.flatnonzero(p <= alpha)
        ]
    found.sort(key=lambda row: (-row.z, -len(row.words), row.words))
    kept = _without_parts(found)
    if order == "log_odds":
        kept.sort(key=lambda row: -row.odds)
    kept = kept[:most]
    examples = _examples([row.words for row in kept], texts[0], tags[0])
    return [_phrase(row, (len(texts[0]), len(texts[1])), examples[row.words]) for row in kept]


class _Found(NamedTuple):
    words: tuple[str, ...]
    said: tuple[int, int]
    odds: float
    z: float
    p: float


def _odds(counts: npt.NDArray[np.int64], totals: tuple[int, int], prior: float) -> tuple[_Doubles, _Doubles]:
    """Return the log-odds of each phrase, and the same in standard errors."""
    said = counts.astype(np.float64)
    if not totals[0] or not totals[1]:
        return np.zeros(len(said)), np.zeros(len(said))
    shrunk = prior * said.sum(axis=1, keepdims=True) / sum(totals)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The only phrase that there is is said no more by either: its odds are infinite on both sides.
        logs = np.log((said + shrunk) / (np.array(totals) + prior - said - shrunk))
        odds = np.nan_to_num(logs[:, 0] - logs[:, 1])
    return odds, odds / np.sqrt((1 / (said + shrunk)).sum(axis=1))


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


def _without_parts(found: list[_Found]) -> list[_Found]:
    said = {row.words: row.said[0] for row in found}
    covered: set[tuple[str, ...]] = set()
    for row in found:
        for size in range(1, len(row.words)):
            for at in range(len(row.words) - size + 1):
                part = row.words[at : at + size]
                if row.said[0] >= _WITHIN * said.get(part, math.inf):
                    covered.add(part)
    return [row for row in found if row.words not in covered]


def _examples(
    wanted: list[tuple[str, ...]], texts: list[str], tags: list[str]
) -> dict[tuple[str, ...], tuple[str, ...]]:
    found: dict[tuple[str, ...], list[str]] = {words: [] for words in wanted}
    shortest = sorted(range(len(texts)), key=lambda row: (len(texts[row]), texts[row]))
    open_ones, sizes = set(wanted), {len(words) for words in wanted}
    for start in range(0, len(shortest), 256):
        if not open_ones:
            break
        rows = shortest[start : start + 256]
        cut = _core.phrase_pieces([texts[row] for row in rows], [tags[row] for row in rows])
        for row, pieces in zip(rows, cut, strict=True):
            for words in _said(pieces, sizes) & open_ones:
                found[words].append(_around(texts[row], words))
                if len(found[words]) == 3:
                    open_ones.discard(words)
    return {words: tuple(of) for words, of in found.items()}


def _said(pieces: list[list[str]], sizes: set[int]) -> set[tuple[str, ...]]:
    return {tuple(of[at : at + size]) for of in pieces for size in sizes for at in range(len(of) - size + 1)}


def _around(text: str, words: tuple[str, ...], width: int = 60) -> str:
    text = " ".join(text.split())
    pattern = r"[\W_]*".join(re.escape(word).replace("'", "['’]") for word in words)
    place = re.search(pattern, text, re.IGNORECASE)
    if place is None:
        return text[: 2 * width]
    start, end = max(place.start() - width, 0), min(place.end() + width, len(text))
    return ("…" if start else "") + text[start:end].strip() + ("…" if end < len(text) else "")


def _phrase(row: _Found, sizes: tuple[int, int], examples: tuple[str, ...]) -> Phrase:
    text = row.words[0]
    for before, word in itertools.pairwise(row.words):
        joined = _CHARACTER.search(before[-1]) and _CHARACTER.search(word[0])
        text += word if joined else f" {word}"
    rates = row.said[0] / sizes[0], row.said[1] / sizes[1]
    return Phrase(text, len(row.words), *row.said, rates, row.odds, row.z, row.p, examples)
