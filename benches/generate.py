"""Generate the headline corpus: JSONL `messages` records of about 1 KB, half English, half Chinese.

    python benches/generate.py --tokens 1e9 --out /tmp/headline.jsonl

The text means nothing, but its statistics are those that counting and bucketing depend on: words drawn from a
two-regime Zipf-Mandelbrot law without end, so that new types keep appearing (Heaps' law); frequent phrases; names,
misspellings, numbers, dates and prices; capitals and punctuation; Chinese clauses whose characters depend on each
other, with Latin words and digits between. docs/benchmarks.md compares it with real dialogue.

The same seed and size give the same bytes for any number of processes (with one version of numpy).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lexicon import (
    CHINESE_CHARACTERS,
    CHINESE_SUFFIXES,
    CHINESE_SURNAMES,
    CHINESE_WORDS,
    ENGLISH_CODAS,
    ENGLISH_NUCLEI,
    ENGLISH_ONSETS,
    ENGLISH_PREFIXES,
    ENGLISH_STEMS,
    ENGLISH_SUFFIXES,
    ENGLISH_WORDS,
)

# Raise it with any change of what is generated: kept corpora are named by it.
VERSION = 1
# Tokens of message contents a record under the Qwen2.5 tokenizer, a little under the measured mean, so that a corpus
# has at least the tokens asked for.
TOKENS_PER_RECORD = 222
CHUNK_RECORDS = 4096
ENGLISH, CHINESE = 0, 1
LANGUAGES = ("en", "zh")
FAMILIES = ("assistant", "qa", "dialogue")
WORD_TABLE, PHRASE_TABLE = 100_000, 50_000


# ---------------------------------------------------------------------------------------------- hashing


def mix(value: int) -> int:
    """64 well-mixed bits of an integer (splitmix64's finaliser)."""
    value = (value + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return value ^ (value >> 31)


def pick(items, bits: int):
    """One of `items`, and what is left of the bits."""
    rest, index = divmod(bits, len(items))
    return items[index], rest


# ---------------------------------------------------------------------------------------------- rank laws


class RankLaw(NamedTuple):
    """Zipf-Mandelbrot to rank `len(cdf)`, holding `head` of the mass; beyond it a Pareto tail without end."""

    cdf: np.ndarray
    head: float
    tail_exponent: float

    @classmethod
    def fit(cls, ranks: int, shift: float, exponent: float, head: float, tail_exponent: float) -> RankLaw:
        weights = (np.arange(1, ranks + 1) + shift) ** -exponent
        return cls(np.cumsum(weights) / weights.sum(), head, tail_exponent)

    def ranks(self, uniform: np.ndarray) -> np.ndarray:
        """Ranks from 0 for uniform numbers in [0, 1)."""
        in_head = uniform < self.head
        ranks = np.searchsorted(self.cdf, np.where(in_head, uniform / self.head, 0.0), side="right")
        survival = np.maximum((1.0 - uniform) / (1.0 - self.head), 1e-9)
        tail = len(self.cdf) * survival ** (-1.0 / (self.tail_exponent - 1.0))
        return np.where(in_head, np.minimum(ranks, len(self.cdf) - 1), np.minimum(tail, 1e15)).astype(np.int64)


def quantiles(law: RankLaw) -> list[int]:
    """The law's ranks at 65,536 evenly spaced probabilities: a cheap draw from 16 bits."""
    return law.ranks((np.arange(1 << 16) + 0.5) / (1 << 16)).tolist()


# Fitted to the growth of types in real dialogue; see docs/benchmarks.md.
ENGLISH_LAW = RankLaw.fit(3000, 5.0, 1.22, 0.935, 1.65)
CHINESE_LAW = RankLaw.fit(3000, 4.0, 0.94, 0.88, 1.65)
PHRASE_LAW = RankLaw.fit(3000, 10.0, 0.8, 0.5, 1.5)
ENGLISH_QUANTILES, CHINESE_QUANTILES = quantiles(ENGLISH_LAW), quantiles(CHINESE_LAW)


# ---------------------------------------------------------------------------------------------- English


def syllables(bits: int, count: int) -> str:
    parts = []
    for _ in range(count):
        onset, bits = pick(ENGLISH_ONSETS, bits)
        nucleus, bits = pick(ENGLISH_NUCLEI, bits)
        coda, bits = pick(ENGLISH_CODAS, bits)
        parts.append(onset + nucleus + coda)
    return "".join(parts)


def misspell(word: str, bits: int) -> str:
    """Swap, double or drop one letter."""
    at = 1 + bits % max(1, len(word) - 1)
    kind = (bits >> 16) % 3
    if kind == 0 and at + 1 < len(word):
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1:
        return word[:at] + word[at - 1] + word[at:]
    return word[:at] + word[at + 1 :]


def derived_word(bits: int) -> str:
    """A stem with a suffix, sometimes a prefix."""
    stem, bits = pick(ENGLISH_STEMS, bits)
    suffix, bits = pick(["", *ENGLISH_SUFFIXES], bits)
    if bits % 5 == 0:
        prefix, _ = pick(ENGLISH_PREFIXES, bits // 5)
        stem = prefix + stem
    if stem.endswith("e") and suffix[:1] in set("aeiouy"):
        stem = stem[:-1]
    return stem + suffix


@functools.lru_cache(maxsize=1 << 18)
def english_word(rank: int) -> str:
    """The word of a rank: listed, or formed by rule; rarer ranks hold more names and misspellings."""
    if rank < len(ENGLISH_WORDS):
        return ENGLISH_WORDS[rank]
    bits = mix(rank)
    kind, bits = bits % 16, bits // 16
    if rank < 1800 or kind < 9:
        return derived_word(bits)
    if kind < 12:
        return syllables(bits, 1 + bits % 2).capitalize()
    if kind < 14:
        return misspell(pick(ENGLISH_WORDS, bits // 3)[0], bits)
    return syllables(bits, 2)


def english_phrase(rank: int) -> str:
    """Two or three words that keep company."""
    bits = mix(rank ^ 0x5DEECE66D)
    shifts = (0, 16, 32) if bits >> 63 else (0, 16)
    words = [english_word(ENGLISH_QUANTILES[bits >> shift & 0xFFFF]) for shift in shifts]
    text = " ".join(words)
    return f'\\"{text}\\"' if (bits >> 50) % 256 == 0 else text


def clock_time(n: int) -> str:
    return f"{1 + n % 12}:{n // 12 % 4 * 15:02d} {'ap'[n // 48 % 2]}m"


def ordinal(n: int) -> str:
    day = 1 + n % 28
    return f"{day}{ {1: 'st', 2: 'nd', 3: 'rd', 21: 'st', 22: 'nd', 23: 'rd'}.get(day, 'th') }"


ENGLISH_NUMBERS: list[Callable[[int], str]] = [
    *[lambda n: str(n % 30)] * 4,
    lambda n: str(1950 + n % 80),
    *[clock_time] * 2,
    lambda n: f"${n % 400}" if n & 1 else f"${n % 90}.{n // 90 % 100:02d}",
    ordinal,
    lambda n: f"{n % 1000},{n // 1000 % 1000:03d}",
    lambda n: f"{200 + n % 800}-555-{n // 800 % 10000:04d}",
    lambda n: f"{n % 100}.{n // 100 % 10}%" if n & 1 else str(n % 100000),
]


def english_number(bits: int) -> str:
    maker, n = pick(ENGLISH_NUMBERS, bits)
    return maker(n)


# ---------------------------------------------------------------------------------------------- Chinese


@functools.cache
def chinese_characters() -> list[str]:
    """The characters, each repeated by its weight, so that a uniform pick follows a falling law."""
    distinct = list(dict.fromkeys(CHINESE_CHARACTERS))
    common = [c for i, c in enumerate(distinct) for _ in range(round(60_000 / (i + 60)))]
    rest = [c for c in coded_characters("gb2312", range(0xB0, 0xF8)) if c not in CHINESE_CHARACTERS]
    traditional = coded_characters("big5", range(0xA4, 0xC7))[::4]
    return common + rest * 4 + traditional * 2


def coded_characters(encoding: str, first_bytes: range) -> list[str]:
    """The Han characters of an older encoding: the rare ones of real text."""
    pairs = (bytes((first, second)) for first in first_bytes for second in range(0x40, 0xFF))
    decoded = (pair.decode(encoding, errors="ignore") for pair in pairs)
    return [c for c in decoded if len(c) == 1 and "\u4e00" <= c <= "\u9fff"]


@functools.lru_cache(maxsize=1 << 18)
def chinese_word(rank: int) -> str:
    """The word of a rank: listed, compounded of listed ones, or composed of two to four characters."""
    if rank < len(CHINESE_WORDS):
        return CHINESE_WORDS[rank]
    characters = chinese_characters()
    bits = mix(rank + (1 << 40))
    kind, bits = bits % 32, bits // 32
    if kind >= 24:
        first, bits = pick(CHINESE_WORDS, bits)
        second, _ = pick(CHINESE_WORDS if kind > 28 else CHINESE_SUFFIXES, bits)
        return first + second
    length = 2 if kind < 18 else 3 if kind < 22 else 4
    chosen = []
    for _ in range(length):
        character, bits = pick(characters, bits)
        chosen.append(character)
    if kind in (18, 19):
        chosen[-1] = CHINESE_SUFFIXES[bits % len(CHINESE_SUFFIXES)]
    elif kind == 20:
        chosen[0] = CHINESE_SURNAMES[bits % len(CHINESE_SURNAMES)]
    return "".join(chosen)


def chinese_phrase(rank: int) -> str:
    """Two or three words that keep company."""
    bits = mix(rank ^ 0x2545F4914F6CDD1D)
    shifts = (0, 16, 32) if bits >> 63 else (0, 16)
    words = [chinese_word(CHINESE_QUANTILES[bits >> shift & 0xFFFF]) for shift in shifts]
    text = "".join(words)
    quote = (bits >> 48) % 64
    return f"《{text}》" if quote == 0 else f"“{text}”" if quote == 1 else text


def latin_word(n: int) -> str:
    word = english_word(n % 3000)
    return f" {word} " if n >> 20 & 1 else word


CHINESE_NUMBERS: list[Callable[[int], str]] = [
    *[lambda n: str(n % 30)] * 3,
    *[lambda n: f"{1950 + n % 80}年"] * 2,
    lambda n: f"{1 + n % 12}月{1 + n // 12 % 28}日",
    *[lambda n: f"{n % 1000}元"] * 2,
    lambda n: f"{n % 5}.{n // 5 % 10}分",
    lambda n: f"0{10 + n % 80}-{10_000_000 + n // 80 % 80_000_000}",
    latin_word,
    lambda n: f"{n % 24}:{n // 24 % 60:02d}-{n // 1440 % 24}:00",
]


def chinese_number(bits: int) -> str:
    maker, n = pick(CHINESE_NUMBERS, bits)
    return maker(n)


# ---------------------------------------------------------------------------------------------- punctuation


class Punctuation(NamedTuple):
    """Marks that may follow a word (the first is none), how often inside a message and at its end, what they do."""

    marks: list[str]
    inside: np.ndarray
    final: np.ndarray
    ends_sentence: np.ndarray
    no_space_after: np.ndarray


def punctuation(rows: list[tuple[str, float, float, bool]]) -> Punctuation:
    inside, final = (np.cumsum([row[i] for row in rows]) for i in (1, 2))
    return Punctuation(
        [row[0] for row in rows],
        inside / inside[-1],
        final / final[-1],
        np.array([row[3] for row in rows]),
        np.array([row[0].endswith(("\\n", "- ")) for row in rows]),
    )


ENGLISH_MARKS = punctuation(
    [
        ("", 0.838, 0.10, False),
        (".", 0.066, 0.55, True),
        (",", 0.055, 0.0, False),
        ("?", 0.016, 0.28, True),
        ("!", 0.008, 0.07, True),
        (":", 0.003, 0.0, False),
        (";", 0.002, 0.0, False),
        (" -", 0.003, 0.0, False),
        ("...", 0.002, 0.0, True),
        (".\\n\\n", 0.005, 0.0, True),
        (".\\n- ", 0.002, 0.0, True),
    ]
)
CHINESE_MARKS = punctuation(
    [
        ("", 0.757, 0.12, False),
        ("，", 0.151, 0.0, False),
        ("。", 0.048, 0.52, True),
        ("？", 0.012, 0.26, True),
        ("！", 0.007, 0.07, True),
        ("、", 0.012, 0.0, False),
        ("：", 0.004, 0.0, False),
        ("；", 0.002, 0.0, False),
        ("……", 0.002, 0.03, True),
        ("。\\n\\n", 0.003, 0.0, True),
        (",", 0.002, 0.0, False),
    ]
)


# ---------------------------------------------------------------------------------------------- tables


VARIANTS = [(False, False), (True, False), (False, True), (True, True)]  # capital, glued


class Tables(NamedTuple):
    """Every string that is not made on the fly, and where each sort of them starts."""

    strings: list[bytes]
    starts: dict[str, int]


def english_variant(text: str, capital: bool, glued: bool) -> bytes:
    """As a sentence's first word or not, after a space or not."""
    if capital:
        at = 2 if text.startswith("\\") else 0  # past an escaped quote
        text = text[:at] + text[at : at + 1].upper() + text[at + 1 :]
    return (text if glued else " " + text).encode()


def build_tables() -> Tables:
    strings: list[bytes] = []
    starts: dict[str, int] = {}

    def add(name: str, items: Iterator[bytes] | list[bytes]) -> None:
        starts[name] = len(strings)
        strings.extend(items)

    def heads() -> Iterator[bytes]:
        for language in LANGUAGES:
            for family in FAMILIES:
                yield (
                    f'"}}]}}\n{{"language":"{language}","family":"{family}","messages":[{{"role":"user","content":"'
                ).encode()

    add("heads", heads())
    add("turns", [f'"}},{{"role":"{role}","content":"'.encode() for role in ("user", "assistant")])
    add("english marks", [m.encode() for m in ENGLISH_MARKS.marks])
    add("chinese marks", [m.encode() for m in CHINESE_MARKS.marks])
    english = [english_word(rank) for rank in range(WORD_TABLE)]
    english += [english_phrase(rank) for rank in range(PHRASE_TABLE)]
    add("english", (english_variant(text, *forms) for text in english for forms in VARIANTS))
    chinese = [chinese_word(rank) for rank in range(WORD_TABLE)]
    chinese += [chinese_phrase(rank) for rank in range(PHRASE_TABLE)]
    add("chinese", (text.encode() for text in chinese))
    return Tables(strings, starts)


tables: Callable[[], Tables] = functools.cache(build_tables)


# ---------------------------------------------------------------------------------------------- records


class Layout(NamedTuple):
    """The shape of a chunk of records: messages of records, units (words, phrases, numbers) of messages."""

    language: np.ndarray  # of each record
    family: np.ndarray  # of each record
    first_message: np.ndarray  # of each message: does it open its record
    assistant: np.ndarray  # of each message
    message_units: np.ndarray  # of each message
    unit_language: np.ndarray  # of each unit
    first_unit: np.ndarray  # index of each message's first unit


# Mean units a record; a unit is one word or a phrase of a few.
MEAN_UNITS = np.array([110.0, 100.0])
SPREAD = 0.5


def lay_out(rng: np.random.Generator, records: int) -> Layout:
    language = rng.integers(0, 2, records)
    exchanges = rng.choice([1, 2, 3, 4], records, p=[0.5, 0.25, 0.15, 0.10])
    single = exchanges == 1
    family = np.where(single, rng.integers(0, 2, records), 2)
    units = MEAN_UNITS[language] * rng.lognormal(-(SPREAD**2) / 2, SPREAD, records)
    messages = exchanges * 2
    record = np.repeat(np.arange(records), messages)
    first_index = np.cumsum(messages) - messages
    place = np.arange(len(record)) - first_index[record]
    assistant = place % 2 == 1
    # Assistants write long answers in `assistant`, short ones in `qa`, and about as much as users in `dialogue`.
    leaning = np.where(assistant, np.array([4.0, 0.4, 1.1])[family[record]], 1.0)
    share = rng.gamma(2.0, 1.0, len(record)) * leaning
    share /= np.add.reduceat(share, first_index)[record]
    message_units = np.maximum(1, np.rint(share * units[record])).astype(np.int64)
    return Layout(
        language,
        family,
        place == 0,
        assistant,
        message_units,
        np.repeat(language[record], message_units),
        np.cumsum(message_units) - message_units,
    )


def draw_marks(rng: np.random.Generator, layout: Layout) -> np.ndarray:
    """The mark after each unit, as an index into its language's list."""
    final = np.zeros(len(layout.unit_language), bool)
    final[layout.first_unit + layout.message_units - 1] = True
    uniform = rng.random(len(final))
    marks = np.zeros(len(final), np.int64)
    for language, rules in ((ENGLISH, ENGLISH_MARKS), (CHINESE, CHINESE_MARKS)):
        for place, cdf in ((~final, rules.inside), (final, rules.final)):
            chosen = place & (layout.unit_language == language)
            marks[chosen] = np.searchsorted(cdf, uniform[chosen], side="right")
    return marks


def draw_ranks(
    rng: np.random.Generator, count: int, law: RankLaw, phrase_share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks, and which of them are of phrases."""
    uniform = rng.random(count)
    is_phrase = rng.random(count) < phrase_share
    ranks = np.empty(count, np.int64)
    ranks[is_phrase] = PHRASE_LAW.ranks(uniform[is_phrase])
    ranks[~is_phrase] = law.ranks(uniform[~is_phrase])
    return ranks, is_phrase


class Units(NamedTuple):
    """The strings of a language's units, as indices; `made` are those not in the tables, by place."""

    index: np.ndarray
    made_at: np.ndarray
    made: list[str]


def draw_units(
    rng: np.random.Generator,
    count: int,
    law: RankLaw,
    number_share: float,
    makers: tuple[Callable[[int], str], Callable[[int], str], Callable[[int], str]],
) -> Units:
    make_word, make_phrase, make_number = makers
    ranks, is_phrase = draw_ranks(rng, count, law, phrase_share=0.25)
    is_number = rng.random(count) < number_share
    made_flag = is_number | (ranks >= np.where(is_phrase, PHRASE_TABLE, WORD_TABLE))
    made_at = np.flatnonzero(made_flag)
    bits = rng.integers(0, 1 << 62, len(made_at)).tolist()
    kinds = zip(is_number[made_at].tolist(), is_phrase[made_at].tolist(), ranks[made_at].tolist(), bits, strict=True)
    made = [
        make_number(bit) if number else make_phrase(rank) if phrase else make_word(rank)
        for number, phrase, rank, bit in kinds
    ]
    return Units(np.where(is_phrase, ranks + WORD_TABLE, ranks), made_at, made)


def unit_strings(rng: np.random.Generator, layout: Layout, marks: np.ndarray) -> tuple[np.ndarray, list[bytes]]:
    """For each unit its place among the tables' strings followed by the made strings; and those."""
    starts = tables().starts
    strings = np.empty(len(marks), np.int64)
    made: list[bytes] = []
    base = len(tables().strings)

    at = np.flatnonzero(layout.unit_language == ENGLISH)
    opens = np.zeros(len(marks), bool)
    opens[layout.first_unit] = True
    previous = np.concatenate([[0], marks[:-1]])
    capital = (opens | ENGLISH_MARKS.ends_sentence[previous])[at]
    glued = (opens | ENGLISH_MARKS.no_space_after[previous])[at]
    units = draw_units(rng, len(at), ENGLISH_LAW, 0.03, (english_word, english_phrase, english_number))
    variant = capital + 2 * glued
    place = starts["english"] + 4 * units.index + variant
    place[units.made_at] = base + np.arange(len(units.made))
    strings[at] = place
    chosen = variant[units.made_at].tolist()
    made += [english_variant(text, *VARIANTS[v]) for text, v in zip(units.made, chosen, strict=True)]

    at = np.flatnonzero(layout.unit_language == CHINESE)
    units = draw_units(rng, len(at), CHINESE_LAW, 0.035, (chinese_word, chinese_phrase, chinese_number))
    place = starts["chinese"] + units.index
    place[units.made_at] = base + len(made) + np.arange(len(units.made))
    strings[at] = place
    made += [text.encode() for text in units.made]
    return strings, made


def message_openings(layout: Layout) -> np.ndarray:
    """For each message the string that opens it: the record's head, or the next turn."""
    starts = tables().starts
    openings = starts["turns"] + layout.assistant.astype(np.int64)
    openings[layout.first_message] = starts["heads"] + layout.language * len(FAMILIES) + layout.family
    return openings


def chunk(seed: int, number: int, records: int) -> bytes:
    """The `number`-th chunk of the corpus."""
    rng = np.random.default_rng([seed, number])
    layout = lay_out(rng, records)
    marks = draw_marks(rng, layout)
    strings, made = unit_strings(rng, layout, marks)
    all_strings, starts = tables()

    opens = np.zeros(len(marks), np.int64)
    opens[layout.first_unit] = 1
    marked = (marks > 0).astype(np.int64)
    place = np.cumsum(opens + 1 + marked) - marked - 1
    order = np.empty(len(marks) + int(marked.sum()) + len(layout.first_unit), np.int64)
    order[place] = strings
    order[place[layout.first_unit] - 1] = message_openings(layout)
    mark_start = np.where(layout.unit_language == ENGLISH, starts["english marks"], starts["chinese marks"])
    has_mark = marked.astype(bool)
    order[place[has_mark] + 1] = (mark_start + marks)[has_mark]

    known = len(all_strings)
    all_strings.extend(made)
    text = b"".join(map(all_strings.__getitem__, order.tolist()))
    del all_strings[known:]
    # A head closes the record before it; the chunk's first has none, its last is closed here.
    return text[len('"}]}\n') :] + b'"}]}\n'


def chunk_arguments(seed: int, tokens: float) -> Iterator[tuple[int, int, int]]:
    records = math.ceil(tokens / TOKENS_PER_RECORD)
    for number, start in enumerate(range(0, records, CHUNK_RECORDS)):
        yield seed, number, min(CHUNK_RECORDS, records - start)


def generate(tokens: float, seed: int = 0, jobs: int | None = None) -> Iterator[bytes]:
    """Chunks of whole lines, in order, at least `tokens` tokens in all (Qwen2.5)."""
    jobs = jobs or os.cpu_count() or 1
    if jobs == 1 or tokens <= CHUNK_RECORDS * TOKENS_PER_RECORD:
        yield from (chunk(*arguments) for arguments in chunk_arguments(seed, tokens))
        return
    tables()  # built once, inherited where processes fork
    with multiprocessing.Pool(jobs) as pool:
        yield from pool.imap(_chunk, chunk_arguments(seed, tokens))


def _chunk(arguments: tuple[int, int, int]) -> bytes:
    return chunk(*arguments)


def write(path: str, tokens: float, seed: int = 0, jobs: int | None = None) -> int:
    """Write the corpus to `path` (`-`: standard output) and return its bytes."""
    size = 0
    with contextlib.ExitStack() as stack:
        out = sys.stdout.buffer if path == "-" else stack.enter_context(Path(path).open("wb"))
        for text in generate(tokens, seed, jobs):
            out.write(text)
            size += len(text)
        out.flush()
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=float, default=1e7, help="tokens under the Qwen2.5 tokenizer, at least (1e7)")
    parser.add_argument("--out", default="headline.jsonl", help="file to write, `-` for standard output")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=None, help="processes (all cores)")
    arguments = parser.parse_args()
    size = write(arguments.out, arguments.tokens, arguments.seed, arguments.jobs)
    print(f"{arguments.out}: {size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
