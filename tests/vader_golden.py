"""Writes the sentiments that the package vaderSentiment gives for made-up texts, for the engine's tests.

Run with vaderSentiment 3.3.2 on Python 3.11 (`sum` rounds otherwise from 3.12 on):
`python tests/vader_golden.py > rust/polyalign-tests/tests/vader_golden.jsonl`
"""

from __future__ import annotations

import importlib
import json
import random
import sys

SENTENCES = [
    *("", " ", "\n\t ", "!", "?!", "...", "a", "No.", "no", "NO", ":)", ":(", "B-)", "xD", "XD", "<3", "o.o", ":-))"),
    *("The soup was good.", "The soup was GOOD.", "THE SOUP WAS GOOD.", "The soup was good!", "The soup was good!!!!!"),
    *("Good soup?", "Good soup??", "Good soup???", "Good soup????", "Good soup!?!?", "Bad soup??", "Soup!!"),
    *("The soup was very good.", "The soup was VERY good.", "The soup was very very good.", "An utterly awful soup."),
    *("It was extremely bad.", "It was EXTREMELY bad.", "It was barely good.", "It was BARELY bad.", "Kinda good."),
    *("It was not good.", "It wasn't good.", "It WASN'T good.", "Not a good soup.", "Not at all a good soup."),
    *("Nobody wouldn't've liked it", "y'ain'tcha happy", "It was never this good.", "It was never so good."),
    *("It was never quite this good.", "never so very good", "so it was good", "this is really good", "so good"),
    *("Without doubt a good soup.", "Without a doubt good.", "Without any doubt good.", "without good", "doubt good"),
    *("The least good soup.", "At least good soup.", "the very least good soup", "least good", "LEAST GOOD soup"),
    *("no good", "no, good", "No GOOD", "NO good", "KIND of", "no way good", "no good or bad", "no soup nor good"),
    *("no x or good", "no bad nor good", "good no", "no hope", "kind of good", "a kind of good", "it was sort of good"),
    *("just enough good soup", "that is just enough joy", "he is kind", "he is kind of sad", "the kind soup"),
    *("Good, but bad.", "good but good", "good good but good bad good", "good but", "good BUT bad but good"),
    *("bad bad but bad bad", "but good", "great good but half of great is good", "This is the shit", "it is the shit"),
    *(
        "this is really the bomb",
        "he is a bad ass",
        "such a badass soup",
        "bomb",
        "waiting at the bus stop",
        "yeah right",
    ),
    *("well oh yeah right", "it is a kiss of death for us", "soup to die for honestly great", "my beating heart hurts"),
    *("a soup to die for", "I would die for it", "we were at the bus stop happy", "back handed love", "hand to mouth"),
    *("(good)", "'good'", '"good",', "--good--", "good's", "go-od", "don't", "'don't'", "...ok...", "[ok]", "(no)"),
    *("GOOD BAD", "good BAD", "GOOD 1", "GOOD :)", "GOOD x", "I am GREAT", "I AM GREAT", "ÉCOLE good", "ÉCOLE GOOD"),
    *("ß GOOD", "ǅ GOOD", "Ⅷ GOOD", "中文 GOOD", "好 good 坏", "“good”", "good…", "good\u00a0bad", "good\u3000BAD x"),
    *("good\u2028bad", "good\u200bbad", "good\x1cbad\x85sad", "\u212aIND words", "\u212aind of"),
    *("😀", "good😀", "😀good", "😀 good", "😀😀", "😢!", "I 💘 it", "I💘it", "⁉️", "🈲 🚫", "©", "®good"),
    *("🆗", "🇨🇳", "👍🏽"),
    *(
        "not 😀",
        "\n😀",
        "İ good",
        "n\x00 good",
        "👩‍👩‍👧‍👦 love",
        "💔but💘",
        "é😀é",
        "x" * 200 + " good",
        "good " * 70,
        "good bad " * 9,
    ),
    "She praised the plot, the cast and the music, but the ending was a terrible, hateful mess!",
    "I can't say I hate it; it's not that it's bad, it's just hardly the best thing I've ever enjoyed...",
    "GREAT service, friendly staff, and WONDERFUL food - never disappointed, never sad, never this happy!!",
    "Nothing works. None of the fixes helped, nor did support; despite promises I'm really, really angry.",
]
WORDS = [
    *("good", "bad", "great", "awful", "love", "hate", "kind", "no", "lol", "doubt", "stop", "shit", "ass", "bomb"),
    *("die", "kiss", "death", "heart", "yeah", "very", "kinda", "so", "this", "never", "not", "without", "least"),
    *("at", "or", "nor", "of", "sort", "just", "enough", "but", "the", "bus", "right", "to", "for", "beating"),
    *("wouldn't've", "isn't", "uh-uh", ":)", ":-(", "soup", "I", "中文", "😀", "💔", "it", "is", "and", "a"),
]


def soup(random: random.Random) -> str:
    """Words in any order, some in capitals, some with punctuation."""
    words = []
    for _ in range(random.choice([2, 4, 7, 12, 20])):
        word = random.choice(WORDS)
        word = random.choice([word] * 6 + [word.upper(), word.title()])
        words.append(random.choice([""] * 9 + ["(", "'"]) + word + random.choice([""] * 9 + [".", "!", "?", ","]))
    return " ".join(words)


def main() -> None:
    """Writes the texts and their sentiments, each score as the digits that give exactly the same number."""
    vader = importlib.import_module("vaderSentiment.vaderSentiment")
    vars(vader)["round"] = lambda score, _digits: score
    analyzer = vader.SentimentIntensityAnalyzer()
    seeded = random.Random(15)
    for text in SENTENCES + [soup(seeded) for _ in range(300)]:
        scores = analyzer.polarity_scores(text)
        row = {"text": text, **{name: repr(float(score)) for name, score in scores.items()}}
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
