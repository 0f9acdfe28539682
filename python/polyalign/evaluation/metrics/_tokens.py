"""What answers are cut into for utility and diversity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from polyalign import _core

Variant = Literal["default", "paper"]


def answer_tokens(
    texts: Sequence[str], languages: str | Sequence[str], variant: Variant = "default"
) -> list[list[str]]:
    """Return the tokens of answers, in lower case, without punctuation, and in English without articles.

    Default: words as UAX #29 has them, where each character of Chinese and Japanese is one. ``"paper"``: what stands
    between blanks once ASCII punctuation is deleted, without English articles in any language.
    """
    tags = of_texts(languages, len(texts))
    return _core.answer_tokens(checked(texts), tags, is_paper(variant)) if len(texts) else []


def is_paper(variant: Variant) -> bool:
    """Whether a variant is the paper's."""
    if variant not in ("default", "paper"):
        raise ValueError(f"variant is {variant!r}: it must be 'default' or 'paper'")
    return variant == "paper"


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
