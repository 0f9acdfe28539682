"""Files of ranks, as ``tiktoken`` and ``mistral-common`` read them, as the tokenizer.json that counts alike."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"


def _cased(upper: str, lower: str) -> str:
    prefix, contraction = r"[^\r\n\p{L}\p{N}]?", "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    return f"{prefix}[{upper}]*[{lower}]+{contraction}|{prefix}[{upper}]+[{lower}]*{contraction}"


_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CL100K = rf"{_WORDS}|\p{{N}}{{1,3}}|{_REST}"
_O200K = rf"{_cased(_UPPER, _LOWER)}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_NOT_HAN = r"&&[^\p{Han}]"
#: The patterns that a file of ranks may be split by, under the names of such files.
PATTERNS = {
    "gpt2": _GPT2,
    "r50k_base": _GPT2,
    "p50k_base": _GPT2,
    "cl100k_base": _CL100K,
    "llama3": _CL100K,
    "o200k_base": _O200K,
    "o200k_harmony": _O200K,
    "qwen": rf"{_WORDS}|\p{{N}}|{_REST}",
    "kimi": rf"[\p{{Han}}]+|{_cased(_UPPER + _NOT_HAN, _LOWER + _NOT_HAN)}|\p{{N}}{{1,3}}|{_REST}",
}
_NORMALIZED = {"qwen"}
_SUFFIX = ".tiktoken"


def pattern_of(source: str) -> tuple[str, Path] | None:
    """Return the name of a pattern and the file of ``NAME:FILE``, or of a ``NAME.tiktoken``; None of all else."""
    name, colon, file = source.partition(":")
    if colon and name in PATTERNS:
        return name, Path(file)
    path = Path(source)
    if path.suffix != _SUFFIX:
        return None
    if path.stem not in PATTERNS:
        known = ", ".join(PATTERNS)
        raise ValueError(
            f"{source}: whose pattern? name it before the file, as in cl100k_base:{source}; known: {known}"
        )
    return path.stem, path


def is_tekken(path: Path) -> bool:
    """Whether a file is one of ``mistral-common``'s, by its name."""
    return path.name.startswith("tekken") and path.suffix == ".json"


def from_tiktoken(content: bytes, name: str, origin: str) -> bytes:
    """Return the tokenizer.json of lines of a token in base64 and its rank.

    Parameters
    ----------
    content : bytes
        The file.
    name : str
        One of `PATTERNS`.
    origin : str
        What the file is called in errors.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise ValueError(f"{origin}:{number}: not a token in base64 and its rank") from None
    return _tokenizer(ranks, PATTERNS[name], origin, normalized=name in _NORMALIZED)


def from_tekken(content: bytes, origin: str) -> bytes:
    """Return the tokenizer.json of a tekken.json; control tokens in a text are text, as for ``mistral-common``.

    Parameters
    ----------
    content : bytes
        The file.
    origin : str
        What the file is called in errors.
    """
    try:
        held = json.loads(content)
        config = held["config"]
        most = config["default_vocab_size"] - config["default_num_special_tokens"]
        ranks = {base64.b64decode(token["token_bytes"]): int(token["rank"]) for token in held["vocab"][:most]}
        pattern = str(config["pattern"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{origin}: not a tekken.json: {type(error).__name__} {error}") from None
    return _tokenizer(ranks, pattern, origin, normalized=False)


def _tokenizer(ranks: dict[bytes, int], pattern: str, origin: str, *, normalized: bool) -> bytes:
    if missing := [byte for byte in range(256) if bytes([byte]) not in ranks]:
        raise ValueError(f"{origin}: no rank for the byte {missing[0]:#04x}, which every file of ranks has")
    if len(set(ranks.values())) < len(ranks):
        raise ValueError(f"{origin}: two tokens have one rank")
    characters = _characters()
    model: dict[str, Any] = {
        "type": "BPE",
        "ignore_merges": True,
        "vocab": {token.decode("latin-1").translate(characters): rank for token, rank in ranks.items()},
        "merges": [[part.decode("latin-1").translate(characters) for part in pair] for pair in _merges(ranks)],
    }
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    made: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": {"type": "NFC"} if normalized else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "model": model,
    }
    return json.dumps(made, ensure_ascii=False).encode()


def _merges(ranks: dict[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
    """Yield every split of every token in two others: neighbours merge in the order of what they become."""
    for token in sorted(ranks, key=ranks.__getitem__):
        pairs = ((token[:at], token[at:]) for at in range(1, len(token)))
        yield from (pair for pair in pairs if pair[0] in ranks and pair[1] in ranks)


def _characters() -> dict[int, str]:
    """Return the characters that stand for bytes in a byte-level vocabulary."""
    printable: Iterable[int] = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
    table = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in table)
    return table | {byte: chr(256 + spare) for spare, byte in enumerate(list(others))}
