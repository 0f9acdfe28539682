"""Faults of a single answer: another language, several at once; nothing said, the same again and again, cut short."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from polyalign import _core
from polyalign.evaluation.metrics._tokens import checked, of_texts

__all__ = ["Faults", "LanguageFaults", "faults", "language_faults"]

Booleans = npt.NDArray[np.bool_]

_SENTENCES = re.compile(r"[^.!?。！？\n]*[.!?。！？\n]*")
# Fewer letters of an alphabet may be a name in any language.
_FEW_LATIN, _SENTENCE_LATIN, _FEW_OTHERS = 20, 40, 6
_LOOP_OF, _LOOPS, _LEAST_LOOPED = 4, 0.5, 16
_ENDS = frozenset(".!?…。！？～~)）]】}」』\"”’'`*:：;；>|")


class LanguageFaults(NamedTuple):
    """Which answers are not in the language wanted."""

    wrong: Booleans
    """In another language, [n]."""
    mixed: Booleans
    """In the language wanted, with a sentence or more in another, [n]."""
    detected: list[str]
    """The language of each answer, ``"und"`` where it can't be told."""


def language_faults(texts: Sequence[str], languages: str | Sequence[str]) -> LanguageFaults:
    """Say which answers are in another language than was wanted, or in several.

    Languages are told as :class:`polyalign.Bucketer` tells them. A text in Latin letters is in another language from 20
    letters on, a sentence of it from 40; in other scripts a sentence from 6: names and terms are no other language.
    Where a language can't be told, nothing is wrong.

    Parameters
    ----------
    texts : sequence of str, length n
    languages : str, or one for each text
        What was wanted. ``"und"``: nothing is wrong.

    Returns
    -------
    LanguageFaults
        The rate is ``wrong.mean()``, 0 to 1; humans are near 0.

    Examples
    --------
    >>> found = language_faults(["今天是晴天，不会下雨。", "It does not rain here today, I think."], "zh")
    >>> found.wrong.tolist(), found.detected
    ([False, True], ['zh', 'en'])
    """
    from polyalign.buckets import detect_languages

    texts = checked(texts)
    wanted = of_texts(languages, len(texts))
    sentences = [(row, part) for row, text in enumerate(texts) for part in _SENTENCES.findall(text) if _long(part)]
    found = detect_languages([*texts, *(part for _, part in sentences)])
    whole, parts = found[: len(texts)], found[len(texts) :]
    wrong = np.array([_other(*row, _FEW_LATIN) for row in zip(texts, wanted, whole, strict=True)], np.bool_)
    mixed = np.zeros(len(texts), np.bool_)
    for (row, part), language in zip(sentences, parts, strict=True):
        mixed[row] |= _other(part, wanted[row], language, _SENTENCE_LATIN)
    return LanguageFaults(wrong, mixed & ~wrong, whole)


def _long(sentence: str) -> bool:
    return len(sentence) >= _FEW_OTHERS and not sentence.isspace()


def _other(text: str, wanted: str, own: str, few: int) -> bool:
    """Whether a text is in another language than was wanted, as far as can be told."""
    if wanted == own or "und" in (wanted, own) or not wanted:
        return False
    letters = list(filter(str.isalpha, text))
    latin = sum(map(_is_latin, letters))
    return latin >= few if latin > len(letters) / 2 else len(letters) >= _FEW_OTHERS


@cache
def _is_latin(letter: str) -> bool:
    return letter.isascii() or unicodedata.name(letter, "").startswith("LATIN")


class Faults(NamedTuple):
    """What is wrong with answers, whatever they say."""

    empty: Booleans
    """Nothing but blanks, [n]."""
    looping: Booleans
    """More than half of the fours of tokens have been said before, of 16 or more; [n]."""
    cut: Booleans
    """Ended by the limit of its length where that is known, else not at the end of a sentence; [n]."""


def faults(
    texts: Sequence[str], languages: str | Sequence[str] = "und", *, cut: Sequence[bool] | None = None
) -> Faults:
    """Say which answers are empty, loop or are cut short.

    Parameters
    ----------
    texts : sequence of str, length n
    languages : str, or one for each text
    cut : sequence of bool, length n, optional
        Whether each was ended by the limit of its length, as samplers report it. Without it an answer counts as cut
        that does not end in punctuation: hold the rate against the humans', many of whom end so.

    Returns
    -------
    Faults
        The rate of each is its mean, 0 to 1.

    Examples
    --------
    >>> found = faults(["", "No. " * 20, "It is the"], "en")
    >>> found.empty.tolist(), found.looping.tolist(), found.cut.tolist()
    ([True, False, False], [False, True, False], [False, False, True])
    """
    texts = checked(texts)
    if cut is not None and len(cut) != len(texts):
        raise ValueError(f"{len(texts)} texts and {len(cut)} marks of being cut: give one for each text")
    empty = np.array([not text.strip() for text in texts], np.bool_)
    tags = of_texts(languages, len(texts))
    looping = np.zeros(len(texts), np.bool_)
    if texts:
        different, total = _core.distinct_ngrams(texts, tags, False, _LOOP_OF, np.arange(len(texts)), None)
        looping = (total >= _LEAST_LOOPED) & (different < _LOOPS * total)
    if cut is not None:
        return Faults(empty, looping, np.array(cut, np.bool_))
    ends = [text.rstrip()[-1:] for text in texts]
    return Faults(empty, looping, np.array([bool(end) and not _finished(end) for end in ends], np.bool_))


def _finished(end: str) -> bool:
    # Symbols among them: people end sentences by emoji.
    return end in _ENDS or unicodedata.category(end) in ("So", "Sk", "Pf", "Pe")
