"""What answers are cut into for utility and diversity."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Literal

from polyalign import _core

Variant = Literal["default", "paper"]

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = frozenset(("a", "an", "the"))
_KANA = re.compile(r"[ァ-ヿㇰ-ㇿｦ-ﾟ]")


def answer_tokens(
    texts: Sequence[str], languages: str | Sequence[str], variant: Variant = "default"
) -> list[list[str]]:
    """Return the tokens of answers, in lower case, without punctuation, and in English without articles.

    Default: words as UAX #29 has them, where each character of Chinese and Japanese is one. ``"paper"``: what stands
    between blanks once ASCII punctuation is deleted, without English articles in any language.
    """
    texts = checked(texts)
    tags = of_texts(languages, len(texts))
    if variant == "paper":
        return [
            [word for word in text.lower().translate(_PUNCTUATION).split() if word not in _ARTICLES] for text in texts
        ]
    if variant != "default":
        raise ValueError(f"variant is {variant!r}: it must be 'default' or 'paper'")
    cut = _core.cut_words(list(texts), "en") if texts else []
    return [_tokens(words, tag) for words, tag in zip(cut, tags, strict=True)]


def checked(texts: Sequence[str], name: str = "texts") -> list[str]:
    """Return texts as a list."""
    if isinstance(texts, (str, bytes)):
        raise TypeError(f"{name} is one {type(texts).__name__}: give a list of them")
    found = list(texts)
    for at, text in enumerate(found):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{at}] is {type(text).__name__}: every item must be a str")
    return found


def of_texts(languages: str | Sequence[str], count: int) -> list[str]:
    """Return the language of each text: its first subtag, in lower case."""
    given = [languages] * count if isinstance(languages, str) else list(languages)
    if len(given) != count:
        raise ValueError(f"{count} texts and {len(given)} languages: give one for all, or one for each text")
    return [language.replace("_", "-").split("-")[0].strip().lower() for language in given]


def _tokens(words: list[str], language: str) -> list[str]:
    found: list[str] = []
    for word in words:
        lower = word.lower().replace("’", "'")
        if _KANA.search(lower):
            found.extend(lower)
        elif language != "en" or lower not in _ARTICLES:
            found.append(lower)
    return found
