"""Model files of SentencePiece are counted as its library encodes, for every string and every kind of model."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

import model_files
from conftest import Cli
from model_files import BPE, BYTES, CHAR, CONTROL, NORMAL, UNIGRAM, UNKNOWN, UNUSED, USER_DEFINED, WORD, Piece
from polyalign import TokenCounter

LONG = int(os.environ.get("POLYALIGN_LONG") or 0)
_SYMBOLS = ["<sep>", "\n", "\n\n", "▁▁", "▁▁▁", "ab", "好的", "x y"]


@pytest.fixture
def load(tmp_path: Path) -> Callable[[bytes], TokenCounter]:
    def load(content: bytes) -> TokenCounter:
        (tmp_path / "tokenizer.model").write_bytes(content)
        return TokenCounter(tmp_path / "tokenizer.model")

    return load


def check(content: bytes, counter: TokenCounter, texts: list[str]) -> None:
    library = sentencepiece.SentencePieceProcessor(model_proto=content)
    expected = [len(ids) for ids in library.encode(texts, num_threads=1)]
    counted = counter.count(texts, threads=1).tolist()
    assert [row for row in zip(texts, expected, counted, strict=True) if row[1] != row[2]] == []


TRAINED: dict[str, dict[str, Any]] = {
    "llama": {"byte_fallback": True, "normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    "gemma": {
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "add_dummy_prefix": False,
        "user_defined_symbols": _SYMBOLS,
    },
    "t5": {"normalization_rule_name": "nmt_nfkc"},
    "symbols": {"normalization_rule_name": "nmt_nfkc", "user_defined_symbols": _SYMBOLS, "character_coverage": 0.98},
    "suffix": {"treat_whitespace_as_suffix": True, "normalization_rule_name": "nmt_nfkc_cf", "byte_fallback": True},
}


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("settings", TRAINED.values(), ids=TRAINED)
def test_trained(kind: str, settings: dict[str, Any], load: Callable[[bytes], TokenCounter]) -> None:
    content = model_files.trained(kind, vocab_size=700 if settings.get("byte_fallback") else 400, **settings)
    counter = load(content)
    assert counter.is_fast
    assert counter.engine == f"SentencePiece {'BPE' if kind == 'bpe' else 'Unigram'}"
    check(content, counter, [*model_files.SENTENCES, *model_files.texts(7, LONG or 700)])


def some_pieces(rng: random.Random, kind: int) -> list[Piece]:
    """Pieces of which some lack characters, share scores, are unused or never come about."""
    letters = [letter for letter in "ab▁好é\n" if rng.random() < 0.9]
    count = rng.randrange(30)
    longer = {"".join(rng.choice("aab▁好\n") for _ in range(rng.randrange(2, 6))) for _ in range(count)}
    scores = [float(-n) for n in range(1, rng.choice([2, 5, 60]))]
    odd = rng.choice([0.0, 0.1, 0.4])

    def piece(text: str) -> Piece:
        of = rng.choice([UNUSED, USER_DEFINED]) if rng.random() < odd else NORMAL
        return text, rng.choice(scores) + (rng.random() if kind == UNIGRAM else 0.0), of

    return [
        (rng.choice(["<unk>", "?"]), 0.0, UNKNOWN),
        ("<s>", 0.0, CONTROL),
        ("c", -3.0, rng.choice([NORMAL, CONTROL, UNUSED])),
        *map(piece, sorted({*letters, *longer})),
    ]


@pytest.mark.parametrize("kind", [BPE, UNIGRAM], ids=["bpe", "unigram"])
def test_any_pieces(kind: int, load: Callable[[bytes], TokenCounter]) -> None:
    rng = random.Random(kind)
    table = model_files.charsmap(model_files.trained("bpe", vocab_size=300))
    for _ in range(LONG or 150):
        fallback = rng.random() < 0.4
        flags = {name: rng.random() < 0.5 for name in ("dummy_prefix", "trimmed", "suffix")}
        content = model_files.written(
            [*some_pieces(rng, kind), *(BYTES if fallback else [])],
            kind,
            bytes_too=fallback,
            escaped=rng.random() < 0.9,
            table=rng.choice([b"", table]),
            **flags,
        )
        atoms = ["a", "b", "ab", "▁", " ", "  ", "好", "é", "e\u0301", "\n", "\n\n", "c", "?", "Ａ", "\u3000", "<s>"]
        texts = ["".join(rng.choice(atoms) for _ in range(rng.randrange(1, 40))) for _ in range(30)]
        check(content, load(content), [*texts, "ab" * 400, "a" * 1000 + " " + "b" * 3, " " * 99])


def test_long_texts(load: Callable[[bytes], TokenCounter]) -> None:
    """Sums are rounded as the library rounds them, however long a text is."""
    for kind in ("bpe", "unigram"):
        content = model_files.trained(kind, vocab_size=400)
        check(content, load(content), [" ".join(model_files.texts(3, 4000)), "今天天气" * 20_000])


SMALL: list[Piece] = [("<unk>", 0.0, UNKNOWN), ("a", -1.0, NORMAL), ("▁", -2.0, NORMAL), ("▁a", -3.0, NORMAL)]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (model_files.written(SMALL, WORD), "a model of words; known are BPE and Unigram"),
        (model_files.written(SMALL, CHAR), "a model of characters"),
        (model_files.written(SMALL, 9), "the unknown type 9"),
        (model_files.written(SMALL[1:], BPE), "0 unknown pieces"),
        (model_files.written([*SMALL, SMALL[1]], BPE), 'the piece "a" is there twice'),
        (model_files.written([*SMALL, ("", 0.0, NORMAL)], BPE), "a piece is empty"),
        (model_files.written([*SMALL, ("x", float("nan"), NORMAL)], BPE), 'the score of "x" is NaN'),
        (model_files.written([*SMALL, ("x" * 5000, 0.0, NORMAL)], BPE), "a piece of 5000 bytes"),
        (model_files.written([*SMALL, ("x\0", 0.0, UNUSED)], BPE), 'the piece "x\\0" holds a NUL'),
        (model_files.written([*SMALL, *BYTES], BPE), '"<0x00>" is of a byte, without byte_fallback'),
        (model_files.written([*SMALL, *BYTES[1:]], BPE, bytes_too=True), "no piece <0x00>, with byte_fallback"),
        (model_files.written(SMALL, BPE, table=b"nothing"), "the table of its normalizer"),
        (model_files.written(SMALL, BPE)[:-3], "the file is broken"),
        (model_files.field(1, model_files.field(1, b"\xff")), "a piece is not UTF-8"),
    ],
)
def test_what_is_refused(content: bytes, what: str, load: Callable[[bytes], TokenCounter]) -> None:
    with pytest.raises(ValueError, match=r"tokenizer\.model: not a usable SentencePiece model: ") as refused:
        load(content)
    assert what in str(refused.value)
    assert "\n" not in str(refused.value)


def test_broken_files(load: Callable[[bytes], TokenCounter]) -> None:
    """Whatever a file holds, it is refused in a line, or what it counts is counted."""
    rng = random.Random(5)
    table = model_files.charsmap(model_files.trained("bpe", vocab_size=300))
    pieces = [*SMALL, ("aa", -4.0, NORMAL), ("b\n", 0.0, USER_DEFINED)]
    whole = [model_files.written(pieces, kind, table=table) for kind in (BPE, UNIGRAM)]
    for _ in range(LONG or 400):
        content = bytearray(rng.choice(whole))
        # At both ends, where what matters is.
        places = [*range(2, 90), *range(len(content) - 20, len(content)), *range(90, len(content), 997)]
        for place in rng.choices(places, k=rng.randrange(1, 4)):
            content[place] = rng.randrange(256)
        del content[rng.choice([len(content), rng.randrange(3, len(content))]) :]
        try:
            counter = load(bytes(content))
        except ValueError as error:
            assert "\n" not in str(error)
        else:
            counter.count(model_files.texts(rng.randrange(1000), 3))


def test_where_a_file_is_looked_for(tmp_path: Path, load: Callable[[bytes], TokenCounter]) -> None:
    counter = load(model_files.written(SMALL, BPE))
    assert counter.count("a a b") == 4
    assert TokenCounter(tmp_path).sha256 == counter.sha256
    with pytest.raises(ValueError, match=r"a model file of SentencePiece, without ranks: leave out llama3:"):
        TokenCounter(f"llama3:{tmp_path / 'tokenizer.model'}")
    (tmp_path / "ranks.model").write_text("IQ== 0\nIg== 1\n")
    with pytest.raises(ValueError, match=r"whose pattern\? name it before the file"):
        TokenCounter(tmp_path / "ranks.model")
    with pytest.raises(FileNotFoundError, match=r"none\.model: no such file"):
        TokenCounter("none.model")


def test_command(tmp_path: Path, load: Callable[[bytes], TokenCounter], cli: Cli) -> None:
    load(model_files.trained("unigram", vocab_size=300))
    (tmp_path / "texts.txt").write_text("\n".join(model_files.SENTENCES), "utf-8")
    options = ["--validate", "--bench", "--json"]
    result = cli("count", "texts.txt", "--lines", "--tokenizer", "tokenizer.model", *options)
    assert result.returncode == 0, result.stderr
    comparison = json.loads(result.stdout)["comparison"]
    assert comparison["library"] == f"sentencepiece {sentencepiece.__version__}"
    assert (comparison["compared"], comparison["wrong"]) == (len(model_files.SENTENCES), 0)


_METASPACE: Any = pre_tokenizers.Metaspace
_BLANKS: Any = pre_tokenizers.WhitespaceSplit


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("scheme", ["always", "first", "never"])
@pytest.mark.parametrize("blanks", [None, " ", "▁"])
def test_unigram_of_a_tokenizer_json(fallback: bool, scheme: str, blanks: str | None, tmp_path: Path) -> None:
    """The steps of T5 and XLM-R, with their table, as the tokenizers library has them."""
    content = model_files.trained("unigram", vocab_size=700, normalization_rule_name="nmt_nfkc", byte_fallback=fallback)
    library = sentencepiece.SentencePieceProcessor(model_proto=content)
    vocab = [(library.id_to_piece(i), library.get_score(i)) for i in range(library.get_piece_size())]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=fallback))
    steps: list[Any] = [normalizers.Precompiled(model_files.charsmap(content))]
    if blanks:
        from tokenizers import Regex

        steps += [normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), blanks)]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.add_special_tokens(["<s>", "</s>", "<mask>"])
    for split in (False, True):
        metaspace = _METASPACE(prepend_scheme=scheme)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([_BLANKS(), metaspace]) if split else metaspace
        counter = TokenCounter(tokenizer)
        texts = [*model_files.SENTENCES, *model_files.texts(11, LONG or 250)]
        expected = [len(found.ids) for found in tokenizer.encode_batch(texts, add_special_tokens=False)]
        counted = counter.count(texts, threads=1).tolist()
        assert [row for row in zip(texts, expected, counted, strict=True) if row[1] != row[2]] == []
