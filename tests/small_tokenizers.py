"""Small tokenizers of every family, trained on a few sentences when asked for."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

TEXTS = [
    "The quick brown fox jumps over the lazy dog; it's 1,234.56 metres away, isn't it?",
    "Human answers differ from bucket to bucket: short ones, long ones, lists and code.",
    "def count(texts):\n    return [len(encode(text)) for text in texts]  # 中文注释\n",
    "WE'LL see what they've done, I'd say. You're right -- she'S here... I'M not!",
    "人类的回答在每个桶里都不一样：有的很短，有的很长。今天天气很好，我们去公园散步吧！",
    "你好，世界！法国的首都是巴黎，位于塞纳河畔。２０２４年１２月，价格是３．５元。",
    "日本語のテキストもあります。カタカナとひらがな、漢字。한국어도 조금 있습니다.",
    "Ünïcödé, naïve café, Straße, ПРИВЕТ мир, Ελληνικά, עברית, العربية، हिन्दी",
    "🙂🙃 emoji 👩‍👩‍👧‍👦 and flags 🇨🇳🇬🇧, math ∑∫√, arrows →←, quotes “”‘’\t\ttabs\r\n\r\nlines",
]

SPECIALS: list[str | AddedToken] = [
    "<|endoftext|>",
    AddedToken("<|left|>", lstrip=True, special=True),
    AddedToken("<|right|>", rstrip=True, special=True),
    AddedToken("<|word|>", single_word=True, special=True),
]

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_CL100K_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_O200K_UPPER, _O200K_LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PATTERNS = {
    "llama3": [_CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _CL100K_TAIL],
    "qwen2": [_CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _CL100K_TAIL],
    "o200k": [
        rf"[^\r\n\p{{L}}\p{{N}}]?{_O200K_UPPER}*{_O200K_LOWER}+{_CONTRACTIONS}?"
        rf"|[^\r\n\p{{L}}\p{{N}}]?{_O200K_UPPER}+{_O200K_LOWER}*{_CONTRACTIONS}?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ],
    "deepseek": [
        r"\p{N}{1,3}",
        "[一-龥\u3040-ゟ゠-ヿ]+",
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
        "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
    ],
}
FAST = ["gpt2", *PATTERNS, "another_split", "sentencepiece"]
SLOW = ["wordpiece", "unigram"]


@functools.cache
def build(family: str) -> Tokenizer:
    """Return a tokenizer of one of the families `FAST` and `SLOW`."""
    builders: dict[str, Callable[[], Tokenizer]] = {
        "wordpiece": _wordpiece,
        "unigram": _unigram,
        "sentencepiece": _sentencepiece,
    }
    tokenizer = builders[family]() if family in builders else _byte_level(family)
    tokenizer.add_special_tokens([token for token in SPECIALS if isinstance(token, AddedToken)])
    tokenizer.add_tokens([AddedToken("fox trot", normalized=True), AddedToken("散步吧", single_word=False)])
    return tokenizer


def _byte_level(family: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(ignore_merges=family == "llama3"))
    patterns = [r"\w+|\s+|[^\w\s]+"] if family == "another_split" else PATTERNS.get(family, [])
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not splits)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level]) if splits else byte_level
    if family == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 2, trainer)
    return tokenizer


def _wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=["[UNK]", "[CLS]"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 2, trainer)
    return tokenizer


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=400, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 2, trainer)
    return tokenizer


def _sentencepiece() -> Tokenizer:
    """BPE over characters with bytes for the unknown ones, as in Llama-2."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=500, limit_alphabet=100, show_progress=False)
    trained.train_from_iterator(TEXTS * 2, trainer)
    model = json.loads(trained.to_str())["model"]
    vocab = {"<unk>": 0}
    for token in [*(f"<0x{byte:02X}>" for byte in range(256)), *sorted(model["vocab"], key=model["vocab"].get)]:
        vocab.setdefault(token, len(vocab))
    merges = [tuple(pair) for pair in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.ByteFallback()
    return tokenizer


def expected(tokenizer: Tokenizer, text: str) -> int:
    """Return what a count must be."""
    return len(tokenizer.encode(text, add_special_tokens=False).ids)
