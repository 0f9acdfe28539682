"""Model files of SentencePiece for tests: written field by field, or trained on a few sentences."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Iterator
from typing import Any

import sentencepiece

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
UNIGRAM, BPE, WORD, CHAR = range(1, 5)

#: A piece: its text, its score, its kind.
Piece = tuple[str, float, int]
BYTES: list[Piece] = [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]

SENTENCES = [
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on.",
    "Whatever the weather, we weather the weather, whether we like it or not.",
    "She sells sea shells by the sea shore; the shells she sells are sea shells, I'm sure.",
    "How much wood would a woodchuck chuck, if a woodchuck could chuck wood?",
    "It was the best of times, it was the worst of times: 1775, 1789 and 2024.",
    "def main(arguments):\tprint('hello', arguments[0]) # a comment",
    "今天天气很好，我们去公园散步吧。",
    "今天的天气不好，我们明天再去公园。",
    "你好，你今天好吗？我很好，谢谢你。",
    "我们的朋友在公园里看书，天气好的时候他们散步。",
    "Ｆｕｌｌ ｗｉｄｔｈ ① ﬁne café naïve",
    "tab\tand  two blanks   and three",
]

FRAGMENTS = [
    *(" ", "  ", "   ", "\t", "\n", "\n\n", "\n\n\n", "\r\n", "\u3000", "\u00a0", "\u200b", "\ufeff", "\x00", "\x07"),
    *("▁", "▁▁", "▁▁▁", "▁a", "the", " the", " weather", "whether", "x y", "x  y", "ab", "abab", "aaaa", "1789", "!"),
    *(
        "你好",
        "好的",
        "，",
        "。",
        "今天天气",
        "公园",
        "龥",
        "\U00020000",
        "각",
        "한국",
        "\u1112\u1161\u11ab",
        "ア",
        "ｱﾞ",
    ),
    *("é", "e\u0301", "\u0301", "ﬁ", "①", "Ａ", "…", "½", "ß", "İ", "ǅ", "㌔", "ﷺ", "𝒜", "🙂", "👩‍👩‍👧", "\ufffd"),
    *("<sep>", "<s>", "<unk>", "</s>", "<0x41>", "<mask>", "ж", "ё", "ك", "नि"),
]


def texts(seed: int, count: int) -> list[str]:
    """Texts that are cruel in different ways."""
    rng = random.Random(seed)

    def code() -> str:
        planes = [(32, 127), (0x4E00, 0x9FFF), (0, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x1FFFF)]
        return chr(rng.randint(*rng.choice(planes)))

    def one() -> str:
        kind = rng.random()
        if kind < 0.4:
            return "".join(rng.choice(FRAGMENTS) for _ in range(rng.randrange(14)))
        if kind < 0.5:
            return "".join(code() for _ in range(rng.randrange(20)))
        if kind < 0.6:
            return rng.choice([*FRAGMENTS, "z", "的好", "aab"]) * rng.randrange(1, 120)
        letters = list(" ".join(rng.choice(SENTENCES) for _ in range(rng.randrange(1, 4))))
        for _ in range(rng.randrange(5)):
            letters.insert(rng.randrange(len(letters)), rng.choice(FRAGMENTS))
        start = rng.randrange(len(letters))
        return "".join(letters[start : start + rng.randrange(1, 120)])

    return [one() for _ in range(count)]


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: int | float | bytes) -> bytes:
    """A field of a protobuf: a number, a float or bytes."""
    if isinstance(value, bytes):
        return _varint(number << 3 | 2) + _varint(len(value)) + value
    if isinstance(value, float):
        return _varint(number << 3 | 5) + struct.pack("<f", value)
    return _varint(number << 3) + _varint(value)


def fields(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The numbers and the contents of those fields that are bytes."""
    at = 0

    def varint() -> int:
        nonlocal at
        number = shift = 0
        while True:
            byte = content[at]
            at, number, shift = at + 1, number | (byte & 127) << shift, shift + 7
            if byte < 128:
                return number

    while at < len(content):
        tag = varint()
        if tag & 7 == 2:
            size = varint()
            yield tag >> 3, content[at : at + size]
            at += size
        elif tag & 7 == 5:
            at += 4
        else:
            varint()


def charsmap(model: bytes) -> bytes:
    """The table of a model's normalizer."""
    normalizer = next(value for number, value in fields(model) if number == 3)
    return next(value for number, value in fields(normalizer) if number == 2)


def written(
    pieces: list[Piece],
    kind: int,
    *,
    bytes_too: bool = False,
    dummy_prefix: bool = True,
    trimmed: bool = True,
    escaped: bool = True,
    suffix: bool = False,
    table: bytes = b"",
) -> bytes:
    """A model file of these pieces."""
    listed = [field(1, field(1, text.encode()) + field(2, score) + field(3, of)) for text, score, of in pieces]
    trainer = field(3, kind) + field(24, int(suffix)) + field(35, int(bytes_too))
    flags = field(3, int(dummy_prefix)) + field(4, int(trimmed)) + field(5, int(escaped))
    normalizer = (field(2, table) if table else b"") + flags
    return b"".join(listed) + field(2, trainer) + field(3, normalizer)


def trained(kind: str, **settings: Any) -> bytes:
    """A model file that the library makes of `SENTENCES`."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 3),
        model_writer=out,
        model_type=kind,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **settings,
    )
    return out.getvalue()
