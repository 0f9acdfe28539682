"""Counts are those of the `tokenizers` package, for every string and every kind of tokenizer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

import small_tokenizers
from polyalign import TokenCounter

CASES = int(os.environ.get("POLYALIGN_LONG") or 60)

FRAGMENTS = [
    *("<|endoftext|>", "<|left|>", "<|right|>", "<|word|>", "fox trot", "散步吧", "[UNK]", "<unk>", "<0x0A>"),
    *("'s", "'S", "'LL", "'ve", "’s", "I'm", "can't", "'ſ"),
    *(" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n ", "\u3000", "\u00a0", "\u200b", "\u2028", "\x00", "\x1f", "\x85"),
    *("0", "12", "123", "1234567", "３．５", "½", "²", "Ⅷ", "٣"),
    *("fox", " fox", "FOX", "Fox", "ǅ", "ß", "ﬁ", "e\u0301", "é", "\u0301", "İ", "ı", "K", "Å"),
    *("你好", "，", "。", "天气", "龥", "龦", "㐀", "\U00020000", "々", "ー", "ア", "ひ", "각", "\u1100\u1161\u11a8"),
    *("🙂", "👩‍👩‍👧‍👦", "🇨🇳", "\u200d", "\ufe0f", "\ufeff", "\uffff", "\U0010ffff", "\ue000"),
    *("!", "...", "——", "//", "/\n", "(", "[x]", "$", "€", "→", "_", "▁", "Ġ", "``` py"),
]
texts = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join),
    st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=4)), max_size=12).map("".join),
    st.builds(lambda piece, n: piece * n, st.sampled_from(FRAGMENTS), st.integers(0, 300)),
)


def compare(tokenizer: Tokenizer, counter: TokenCounter, batch: list[str]) -> None:
    expected = [small_tokenizers.expected(tokenizer, text) for text in batch]
    counted = counter.count(batch, threads=1).tolist()
    wrong = [(text, e, c) for text, e, c in zip(batch, expected, counted, strict=True) if e != c]
    assert not wrong


@pytest.fixture(scope="module", params=[*small_tokenizers.FAST, *small_tokenizers.SLOW])
def pair(request: pytest.FixtureRequest) -> tuple[Tokenizer, TokenCounter]:
    tokenizer = small_tokenizers.build(request.param)
    counter = TokenCounter(tokenizer)
    assert counter.is_fast == (request.param in small_tokenizers.FAST), counter.engine
    return tokenizer, counter


@settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(batch=st.lists(texts, min_size=1, max_size=20))
def test_counts_are_those_of_tokenizers(pair: tuple[Tokenizer, TokenCounter], batch: list[str]) -> None:
    compare(*pair, batch)


def test_each_fragment_alone_and_beside_each_other(pair: tuple[Tokenizer, TokenCounter]) -> None:
    compare(*pair, FRAGMENTS + [a + b for a in FRAGMENTS for b in FRAGMENTS])


def test_training_texts(pair: tuple[Tokenizer, TokenCounter]) -> None:
    compare(*pair, [*small_tokenizers.TEXTS, "\n".join(small_tokenizers.TEXTS), ""])


@pytest.mark.parametrize("piece", ["a", " ", "\n", "中", "🙂", "aB", "1", "'s", "\u0301", "<|endoftext|>"])
def test_long_repetitions_are_exact(pair: tuple[Tokenizer, TokenCounter], piece: str) -> None:
    compare(*pair, [piece * 3000])


@pytest.mark.shared
@pytest.mark.parametrize("name", ["qwen2.5", "llama3", "deepseek-v3"])
def test_golden_counts(shared: Path, name: str) -> None:
    counter = TokenCounter(shared / "tokenizers" / f"{name}.tokenizer.json")
    assert counter.is_fast, counter.engine
    with (shared / "golden" / "token_counts.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    usable = [row for row in rows if not any("\ud800" <= char <= "\udfff" for char in row["text"])]
    assert len(usable) > 800
    counted = counter.count([row["text"] for row in usable]).tolist()
    wrong = [
        (row["text"], row["tokens"][name], count)
        for row, count in zip(usable, counted, strict=True)
        if row["tokens"][name] != count
    ]
    assert not wrong
