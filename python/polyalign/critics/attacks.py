"""Texts that must not please a critic: what a model may turn to when it is trained against one.

Each attack makes one text of every human response, in its language. :func:`battery` makes them all, :func:`hill_climb`
looks for texts that please one critic, whatever they say.

Examples
--------
>>> humans = ["Well, I think that it will rain today.", "Nobody told me, sorry.", "我们去公园散步吧。"]
>>> buckets = ["en|single|qa|short", "en|single|qa|short", "zh|single|qa|short"]
>>> made = battery(humans, buckets)
>>> sorted(made) == sorted(ATTACKS)
True
>>> sorted(made["words_shuffled"][0].lower()) == sorted(humans[0].lower())
True
>>> made["other_prompt"]
['Nobody told me, sorry.', 'Well, I think that it will rain today.', None]
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign import _core
from polyalign.buckets import _ids

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.critics._protocol import Critic

__all__ = ["ATTACKS", "at_human_length", "battery", "equal_length", "hill_climb"]

_OPENING_WORDS, _LOOPS = 6, 10
# So often another's text is looked for in a bucket where most say the same.
_DRAWS = 32
_BOILERPLATE = {
    "en": ("As an AI language model, ", " I hope this helps! Let me know if you have any other questions."),
    "zh": ("作为一个人工智能语言模型，", "希望这些信息对您有帮助！如果您还有其他问题，请随时告诉我。"),
}


@dataclass
class _Text:
    """A response cut into words and what is between them: always one more of the latter."""

    words: list[str]
    between: list[str]

    @classmethod
    def of(cls, text: str, words: Iterable[str]) -> _Text:
        found, between, at = [], [], 0
        for word in words:
            start = text.index(word, at)
            found.append(word)
            between.append(text[at:start])
            at = start + len(word)
        return cls(found, [*between, text[at:]])

    def joined(self, words: Sequence[str] | None = None) -> str:
        """Return the text, with other words in their places."""
        words = self.words if words is None else words
        return "".join(part for pair in zip(self.between, [*words, ""], strict=True) for part in pair)

    def first(self, count: int) -> str:
        """Return the text up to the end of a word."""
        words = self.words[:count]
        return "".join(part for pair in zip(self.between[: len(words)], words, strict=True) for part in pair)


@dataclass
class _Humans:
    """The responses that attacks are made of."""

    texts: Sequence[str]
    buckets: Sequence[str]
    languages: list[str]
    cut: list[_Text]
    _pools: dict[str, Any] = field(default_factory=dict)

    def letters(self, language: str) -> list[str]:
        """Return the letters that people use in a language, in lower case."""
        return self._pool(f"letters {language}", lambda at: filter(str.isalpha, self.texts[at].lower()), language, set)

    def words(self, language: str) -> list[str]:
        """Return the words that people use in a language, as often as they do."""
        return self._pool(f"words {language}", lambda at: self.cut[at].words, language, list)

    def _pool(self, key: str, of: Callable[[int], Iterable[str]], language: str, kind: Any) -> list[str]:
        rows = (at for at, own in enumerate(self.languages) if own == language)
        pool: list[str] = self._once(key, lambda: sorted(kind(member for at in rows for member in of(at))))
        return pool

    def bucket(self, at: int) -> list[int]:
        """Return the rows of the same bucket, shorter ones first."""
        rows: dict[str, list[int]] = self._once("buckets", lambda: _rows(self.buckets, self.texts))
        return rows[self.buckets[at]]

    def foreign(self, at: int) -> list[int]:
        """Return the rows of other languages, of the same bucket but for that where there are some."""
        bucket = self.buckets[at]
        rest = bucket.partition("|")[2]

        def found() -> list[int]:
            rows = [row for row, own in enumerate(self.languages) if own != self.languages[at]]
            return [row for row in rows if self.buckets[row].partition("|")[2] == rest] or rows

        rows: list[int] = self._once(f"foreign {bucket}", found)
        return rows

    def _once(self, key: str, made: Callable[[], Any]) -> Any:
        if key not in self._pools:
            self._pools[key] = made()
        return self._pools[key]


_Rng = np.random.Generator
_Attack = Callable[[_Humans, int, _Rng], "str | None"]


def _letters_at_random(humans: _Humans, at: int, rng: _Rng) -> str | None:
    """Put another letter that people use in the place of each, upper case where it was."""
    letters, text = humans.letters(humans.languages[at]), humans.texts[at]
    if not any(map(str.isalpha, text)):
        return None
    drawn = [letters[draw] for draw in rng.integers(len(letters), size=len(text))]
    both = zip(text, drawn, strict=True)
    return "".join((new.upper() if old.isupper() else new) if old.isalpha() else old for old, new in both)


def _words_shuffled(humans: _Humans, at: int, rng: _Rng) -> str | None:
    """Put its words in another order, the marks where they were."""
    text = humans.cut[at]
    if len(text.words) < 2:
        return None
    return text.joined([text.words[place] for place in rng.permutation(len(text.words))])


def _random_words(humans: _Humans, at: int, rng: _Rng) -> str | None:
    """Take as many words of anybody in its language, the marks where they were."""
    text, pool = humans.cut[at], humans.words(humans.languages[at])
    if not text.words:
        return None
    return text.joined([pool[draw] for draw in rng.integers(len(pool), size=len(text.words))])


def _other_prompt(humans: _Humans, at: int, rng: _Rng) -> str | None:
    """Take what somebody said to another prompt of the same bucket."""
    rows = humans.bucket(at)
    drawn = (humans.texts[rows[draw]] for draw in rng.integers(len(rows), size=_DRAWS))
    return next((text for text in drawn if text != humans.texts[at]), None)


def _constant(humans: _Humans, at: int, rng: _Rng) -> str | None:
    """Say one human answer of the bucket, of medium length, to everything."""
    rows = humans.bucket(at)
    return humans.texts[rows[len(rows) // 2]]


def _looping(humans: _Humans, at: int, rng: _Rng) -> str | None:
    """Say its first words again and again."""
    text = humans.cut[at]
    if not text.words:
        return None
    opening = text.first(_OPENING_WORDS)
    glue = "" if _is_unspaced(opening) else " "
    return glue.join([opening.strip()] * _LOOPS)


def _wrong_language(humans: _Humans, at: int, rng: _Rng) -> str | None:
    """Take what somebody said in another language."""
    rows = humans.foreign(at)
    return humans.texts[rows[rng.integers(len(rows))]] if rows else None


def _boilerplate(humans: _Humans, at: int, rng: _Rng) -> str | None:
    """Say an assistant's phrases before and after."""
    before, after = _BOILERPLATE.get(humans.languages[at], _BOILERPLATE["en"])
    return before + humans.texts[at] + after


def _cut_short(humans: _Humans, at: int, rng: _Rng) -> str | None:
    """End in the middle, after a third to two thirds of its words."""
    text = humans.cut[at]
    if len(text.words) < 4:
        return None
    return text.first(max(1, round(len(text.words) * rng.uniform(1 / 3, 2 / 3))))


ATTACKS: dict[str, _Attack] = {
    "letters_at_random": _letters_at_random,
    "words_shuffled": _words_shuffled,
    "random_words": _random_words,
    "other_prompt": _other_prompt,
    "constant": _constant,
    "looping": _looping,
    "wrong_language": _wrong_language,
    "boilerplate": _boilerplate,
    "cut_short": _cut_short,
}
"""By name. Beside them are :func:`hill_climb`, for which there must be a critic, and an older model's answers."""

#: These are people's own words: only a critic that reads the prompt, or all of a bucket's responses, can tell.
SINGLY_HUMAN = ("other_prompt", "constant")


def battery(
    responses: Sequence[str],
    buckets: Sequence[str],
    *,
    attacks: Iterable[str] | None = None,
    human_length: bool = False,
    seed: int = 0,
) -> dict[str, list[str | None]]:
    """Make each attack of human responses.

    Parameters
    ----------
    responses : sequence of str, length n
        What people said, without reasoning; the words and letters that attacks need are theirs.
    buckets : sequence of str, length n
        Their buckets; the first part is the language.
    attacks : iterable of str, optional
        Names of :data:`ATTACKS`. Default: all.
    human_length : bool, default False
        Cut what is longer than the response that it is made of at that many words.
    seed : int, default 0
        The same gives the same texts, and each response's do not depend on the attacks asked for.

    Returns
    -------
    dict from str to list of str or None
        By attack, n texts; ``None`` where there is none: no words, one language, nobody else in the bucket.

    Raises
    ------
    ValueError
        Lengths that differ; no such attack.
    """
    if len(responses) != len(buckets):
        raise ValueError(f"{len(responses):,} responses and {len(buckets):,} buckets: give one for each")
    chosen = tuple(ATTACKS if attacks is None else attacks)
    unknown = [name for name in chosen if name not in ATTACKS]
    if unknown:
        raise ValueError(f"no attack is called {unknown[0]!r}: there are {', '.join(ATTACKS)}")
    languages = languages_of(buckets)
    humans = _Humans(responses, buckets, languages, _cut(responses, languages))
    made = {}
    for name in chosen:
        key = zlib.crc32(name.encode())
        made[name] = [ATTACKS[name](humans, at, np.random.default_rng([seed, key, at])) for at in range(len(responses))]
        if human_length:
            made[name] = at_human_length(made[name], responses, buckets)
    return made


def at_human_length(texts: Sequence[str | None], responses: Sequence[str], buckets: Sequence[str]) -> list[str | None]:
    """Cut what is longer than the response that it is made of at as many words as that has.

    Parameters
    ----------
    texts : sequence of str or None, length n
    responses : sequence of str, length n
    buckets : sequence of str, length n
        The first part is the language.

    Returns
    -------
    list of str or None, length n

    Examples
    --------
    >>> at_human_length(["Well, I think that it rains."], ["It rains."], ["en|single|qa|short"])
    ['Well, I']
    """
    languages = languages_of(buckets)
    cut = _cut([text or "" for text in texts], languages), _cut(responses, languages)
    return [
        text if text is None or len(own.words) <= len(human.words) else own.first(len(human.words))
        for text, own, human in zip(texts, *cut, strict=True)
    ]


def equal_length(
    responses: Sequence[str], others: Sequence[str], buckets: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Cut the longer of each two texts at as many words as the shorter has, so that length tells nothing.

    Parameters
    ----------
    responses, others : sequence of str, length n
    buckets : sequence of str, length n
        The first part is the language.

    Returns
    -------
    (list of str, list of str)
        Both, of length n.

    Examples
    --------
    >>> equal_length(["It rains."], ["Well, I think that it rains."], ["en|single|qa|short"])
    (['It rains.'], ['Well, I'])
    """
    languages = languages_of(buckets)
    cut = _cut(responses, languages), _cut(others, languages)
    both = [(a, b, min(len(a.words), len(b.words))) for a, b in zip(*cut, strict=True)]
    shorter = [
        tuple(text.first(most) if len(text.words) > most else text.joined() for text in (a, b)) for a, b, most in both
    ]
    return [a for a, _ in shorter], [b for _, b in shorter]


def hill_climb(
    critic: Critic,
    starts: Sequence[str],
    buckets: Sequence[str],
    *,
    prompts: Sequence[Any] | None = None,
    steps: int = 500,
    seed: int = 0,
) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Change texts letter by letter so that a critic likes them more.

    A step puts another character in the place of one, adds one, or takes one away, and is kept if the score is no
    worse. The characters are those of the texts to begin with.

    Parameters
    ----------
    critic : Critic
    starts : sequence of str, length n
        Where to begin: letters at random, as a rule.
    buckets : sequence of str, length n
    prompts : sequence, optional
        As in :func:`ask`.
    steps : int, default 500
        Of each text.
    seed : int, default 0

    Returns
    -------
    (list of str, numpy.ndarray of float32)
        The texts, and their scores.
    """
    from polyalign.critics._protocol import ask

    rngs = [np.random.default_rng([seed, at]) for at in range(len(starts))]
    alphabets: dict[str, set[str]] = {}
    for language, text in zip(languages_of(buckets), starts, strict=True):
        alphabets.setdefault(language, set()).update(text, " .,")
    pools = [sorted(alphabets[language]) for language in languages_of(buckets)]
    asked = {} if prompts is None else {"prompts": prompts}
    texts, scores = list(starts), ask(critic, starts, buckets, **asked)
    scores = np.where(np.isnan(scores), np.inf, scores)
    for _ in range(steps):
        tried = [_edited(text, pool, rng) for text, pool, rng in zip(texts, pools, rngs, strict=True)]
        found = ask(critic, tried, buckets, **asked)
        better = ~np.isnan(found) & (found <= scores)
        texts = [new if keep else old for new, old, keep in zip(tried, texts, better, strict=True)]
        scores = np.where(better, found, scores)
    return texts, scores.astype(np.float32)


def _edited(text: str, pool: Sequence[str], rng: _Rng) -> str:
    at, kind = int(rng.integers(len(text) + 1)), int(rng.integers(3))
    new = pool[int(rng.integers(len(pool)))]
    return text[:at] + ("" if kind == 2 else new) + text[at + (kind != 1) :]


def languages_of(buckets: Sequence[str]) -> list[str]:
    """Return the languages that buckets name."""
    return [_ids.unescaped(_ids.split(bucket)[0]) for bucket in buckets]


def _rows(buckets: Sequence[str], texts: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for at in sorted(range(len(texts)), key=lambda at: (len(texts[at]), texts[at])):
        found.setdefault(buckets[at], []).append(at)
    return found


def _cut(texts: Sequence[str], languages: Sequence[str]) -> list[_Text]:
    if not texts:
        return []
    known = known_languages(languages)
    words = _core.cut_words(list(texts), known)
    return [_Text.of(text, found) for text, found in zip(texts, words, strict=True)]


def known_languages(languages: Sequence[str]) -> list[str]:
    """Return them, with ``und`` for what is no code that the engine takes, which is cut letter for letter."""
    return [language if _is_language(language) else "und" for language in languages]


@cache
def _is_language(language: str) -> bool:
    try:
        _core.cut_words([""], [language])
    except ValueError:
        return False
    return True


def _is_unspaced(text: str) -> bool:
    return " " not in text.strip() and not text.isascii()
