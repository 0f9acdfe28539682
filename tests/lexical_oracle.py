"""The lexical critic, slowly: dictionaries of n-grams, no hashes, and all of it spelled out."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

DISCOUNT, MOST, ANY_CHARACTER = 0.75, 50.0, 1 / 65536
BEGIN, END = "<begin>", "<end>"

Row = tuple[str, str]
"""A bucket and a response."""


def levels(bucket: str) -> list[str]:
    """Return a bucket and its ancestors, the language last."""
    language, track, _, length = bucket.split("|")
    return list(
        dict.fromkeys(
            [bucket, f"{language}|{track}|*|{length}", f"{language}|*|*|{length}", f"{language}|*|*|*"],
        )
    )


def words(text: str) -> list[str]:
    """Return the words and marks of a plain English text."""
    return re.findall(r"[a-z0-9]+(?:'[a-z]+)*|[^\sa-z0-9]", text.lower())


def characters(text: str) -> list[str]:
    return [character for character in text.lower() if not character.isspace()]


class Oracle:
    """Counts of rows, and what they say of others."""

    def __init__(self, rows: Iterable[Row], cut: dict[str, list[str]] | None = None) -> None:
        self.cut = cut or {}
        """The words of texts that no simple rule cuts."""
        self.counts: dict[tuple[str, str, tuple[str, ...]], Counter[str]] = defaultdict(Counter)
        for bucket, text in rows:
            self.add(bucket, text)

    def views(self, bucket: str, text: str) -> dict[str, list[str]]:
        language = levels(bucket)[-1][:2]
        if language == "zh":
            return {"words": self.cut[text], "characters": characters(text)}
        return {"characters": characters(text)} if language == "ja" else {"words": words(text)}

    def add(self, bucket: str, text: str) -> None:
        *others, language = levels(bucket)
        for view, tokens in self.views(bucket, text).items():
            history = [BEGIN] * 3
            for token in [*tokens, END]:
                for level in (*others, language):
                    self.counts[level, view, ()][token] += 1
                for level in (others[0], language):
                    self.counts[level, view, tuple(history[-1:])][token] += 1
                for order in (3, 4)[: 2 if view == "characters" else 1]:
                    self.counts[language, view, tuple(history[-order + 1 :])][token] += 1
                history.append(token)
                if view == "words" and token != END:
                    self.spell(language, token)

    def spell(self, language: str, word: str) -> None:
        history = [BEGIN] * 3
        for character in [*word, END]:
            for order in (1, 2, 3, 4):
                self.counts[language, "spelling", tuple(history[len(history) - order + 1 :])][character] += 1
            history.append(character)

    def following(self, level: str, view: str, history: Sequence[str]) -> Counter[str]:
        return self.counts.get((level, view, tuple(history)), Counter())

    def spelling(self, language: str, word: str) -> list[float]:
        """Return the surprisal of each character of a word, and of its end."""
        history, found = [BEGIN] * 3, []
        for character in [*word, END]:
            p = ANY_CHARACTER
            for order in (1, 2, 3, 4):
                after = self.following(language, "spelling", history[len(history) - order + 1 :])
                if not after:
                    break
                p = (after[character] + len(after) * p) / (after.total() + len(after))
            found.append(-math.log(p))
            history.append(character)
        return found

    def tokens(self, bucket: str, text: str) -> dict[str, list[tuple[str, float, float, str | None, int]]]:
        """Return of each view its tokens: what each costs, by itself too, and the level and order that served it."""
        return {view: list(self._tokens(bucket, view, tokens)) for view, tokens in self.views(bucket, text).items()}

    def _tokens(self, bucket: str, view: str, tokens: list[str]) -> Iterable[tuple[str, float, float, str | None, int]]:
        *others, language = levels(bucket)
        history = [BEGIN] * 3
        for token in [*tokens, END]:
            p, served, order = 0.0, None, 0
            if not self.following(language, view, ())[token]:
                p = ANY_CHARACTER
                if view == "words":
                    p = 0.0 if token == END else math.exp(-min(MOST, sum(self.spelling(language, token))))
            steps = [(level, 1) for level in (language, *reversed(others))]
            steps += [(language, 2), *((level, 2) for level in others[:1]), (language, 3)]
            steps += [(language, 4)] if view == "characters" else []
            alone = 0.0
            for level, longest in steps:
                after = self.following(level, view, history[len(history) - longest + 1 :])
                if after:
                    seen = max(after[token] - DISCOUNT, 0)
                    p = (seen + DISCOUNT * len(after) * p) / after.total()
                if after[token]:
                    served, order = level, longest
                if longest == 1:
                    alone = nats(p)
            yield token, nats(p), alone, served, order
            history.append(token)

    def score(self, bucket: str, text: str) -> float:
        """Return the mean over views of the mean surprisal, times the square of the share that context leaves."""
        if not self.following(levels(bucket)[-1], self.first_view(bucket), ()):
            return math.nan
        found = []
        for tokens in self.tokens(bucket, text).values():
            if len(tokens) == 1:
                found.append(MOST)
                continue
            surprisal = math.fsum(token[1] for token in tokens)
            alone = math.fsum(token[2] for token in tokens)
            found.append(min(MOST, surprisal / len(tokens) * (surprisal / alone) ** 2))
        return sum(found) / len(found)

    @staticmethod
    def first_view(bucket: str) -> str:
        return "characters" if bucket.startswith("ja") else "words"

    def features(self, bucket: str, text: str) -> dict[str, float]:
        """Return those of the features that are defined."""
        found: dict[str, float] = {}
        language = levels(bucket)[-1]
        for view, tokens in self.tokens(bucket, text).items():
            if len(tokens) == 1:
                continue
            name = view.removesuffix("s")
            surprisals = [token[1] for token in tokens]
            mean, alone = (math.fsum(token[at] for token in tokens) / len(tokens) for at in (1, 2))
            windows = [surprisals[at : at + 8] for at in range(max(1, len(surprisals) - 7))]
            found |= {
                f"{name}_surprisal": mean,
                f"{name}_surprisal_alone": alone,
                f"{name}_surprisal_gain": alone - mean,
                f"{name}_surprisal_worst": max(sum(window) / len(window) for window in windows),
                f"{name}_end_surprisal": surprisals[-1],
            }
            history = [BEGIN] * 3 + [token[0] for token in tokens]
            for order, what in ((1, "unseen_share"), (2, "pair_unseen_share"), (3, "triple_unseen_share")):
                unseen = [
                    self.following(language, view, history[at + 4 - order : at + 3])[token[0]] == 0
                    for at, token in enumerate(tokens)
                ]
                if order > 1 or view == "words":
                    found[f"{name}_{what}"] = sum(unseen) / len(unseen)
            if view == "words":
                squares = math.fsum((surprisal - mean) ** 2 for surprisal in surprisals)
                found["word_surprisal_std"] = math.sqrt(squares / len(surprisals))
        if language.startswith("en") and words(text):
            spelled = [cost for word in words(text) for cost in self.spelling(language, word)]
            found["character_surprisal"] = sum(spelled) / len(spelled)
        return found


def nats(p: float) -> float:
    return min(MOST, max(0.0, -math.log(p))) if p > 0 else MOST
