"""What a critic of single responses does not see: how varied sampled responses are, and whether they loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from polyalign import _core
from polyalign.critics.attacks import known_languages

__all__ = ["VARIETY", "Logged", "variety"]

VARIETY = ("online_distinct_1", "online_distinct_2", "online_repetition", "online_empty")
#: Tokens in a row that a response may have said before, as published for loops.
_LOOP = 4


@dataclass(frozen=True)
class Logged:
    """What is logged of responses, by name: a sum each, float [n], and its count where that is not 1."""

    sums: Mapping[str, Tensor] = field(default_factory=dict)
    counts: Mapping[str, Tensor] = field(default_factory=dict)

    def of(self, start: int, stop: int) -> Logged:
        """Return that of some responses."""
        return Logged(*({name: values[start:stop] for name, values in of.items()} for of in (self.sums, self.counts)))

    def __or__(self, other: Logged) -> Logged:
        return Logged({**self.sums, **other.sums}, {**self.counts, **other.counts})


def variety(texts: Sequence[str], buckets: Sequence[str], languages: Sequence[str]) -> Logged:
    """Return how varied responses are.

    ``online_distinct_1`` and ``online_distinct_2`` are the tokens, and the pairs of them in a row, that no earlier
    response of the bucket has, among all of them; ``online_repetition`` the share of a response's four in a row that it
    has said before, NaN of a shorter one; ``online_empty`` whether it says nothing.

    Parameters
    ----------
    texts, buckets : sequence of str, length n
        Of one sampling step; the texts of a bucket are one set.
    languages : sequence of str, length n
        A token is a word, in lower case; in Chinese, and where words can't be told, a character.

    Examples
    --------
    >>> found = variety(["Yes, it is.", "Yes, it is.", ""], ["en|single|qa|short"] * 3, ["en"] * 3)
    >>> [found.sums[name].tolist() for name in VARIETY if name in found.counts]
    [[3.0, 0.0, 0.0], [2.0, 0.0, 0.0]]
    >>> found.counts["online_distinct_2"].tolist(), found.sums["online_empty"].tolist()
    ([2.0, 2.0, 0.0], [0.0, 0.0, 1.0])
    """
    answers = _core.answers(list(texts))
    said = _tokens(answers, languages)
    sums: dict[str, list[float]] = {}
    counts: dict[str, list[float]] = {}
    for size in (1, 2):
        name, rows = f"online_distinct_{size}", [_ngrams(tokens, size) for tokens in said]
        sums[name] = _new(rows, buckets)
        counts[name] = [float(len(row)) for row in rows]
    loops = [_ngrams(tokens, _LOOP) for tokens in said]
    sums["online_repetition"] = [1 - len({*rows}) / len(rows) if rows else float("nan") for rows in loops]
    sums["online_empty"] = [float(not answer.strip()) for answer in answers]
    return Logged(*({name: torch.tensor(values) for name, values in of.items()} for of in (sums, counts)))


def _tokens(texts: list[str], languages: Sequence[str]) -> list[list[str]]:
    known = known_languages(languages)
    words = _core.cut_words(texts, known) if texts else []
    return [
        [character for character in text if not character.isspace()] if language == "zh" else list(map(str.lower, cut))
        for text, language, cut in zip(texts, known, words, strict=True)
    ]


def _ngrams(tokens: list[str], size: int) -> list[tuple[str, ...]]:
    return list(zip(*(tokens[at:] for at in range(size)), strict=False))


def _new(rows: list[list[tuple[str, ...]]], sets: Sequence[str]) -> list[float]:
    """Return how many different entries each row has that no earlier row of its set has."""
    seen: dict[str, set[tuple[str, ...]]] = {}
    found = []
    for row, own in zip(rows, sets, strict=True):
        known = seen.setdefault(own, set())
        found.append(float(len({*row} - known)))
        known.update(row)
    return found
