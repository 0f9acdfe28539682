"""What ``transformers`` reads beside a tokenizer.json and that changes what a text's tokens are."""

from __future__ import annotations

import codecs
import contextlib
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

CONFIG = "tokenizer_config.json"
_NAMED, _ADDED = "special_tokens_map.json", "added_tokens.json"
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
# These load a tokenizer.json as it is; other classes may build its parts anew.
_PLAIN_CLASSES = (None, "PreTrainedTokenizerFast", "TokenizersBackend")

#: Bytes in which a member mostly ends: a tokenizer.json may have tens of millions.
_WINDOW = 4 << 20

_T = TypeVar("_T")

logger = logging.getLogger("polyalign")


def with_config(content: bytes, beside: Callable[[str], Path | None], origin: str) -> bytes:
    """Return a tokenizer.json with what the files beside it say: tokens that it lacks, and whether those are text.

    Parameters
    ----------
    content : bytes
        The tokenizer.json.
    beside : callable
        Where the file of a name is, if there is one.
    origin : str
        What messages call the tokenizer.
    """
    settings = _settings(beside(CONFIG))
    tokens = list(_tokens(settings, beside))
    if "add_prefix_space" in settings:
        _check_prefix_space(_member(content, "pre_tokenizer", dict), settings, origin)
    if _changes(_member(content, "added_tokens", list), tokens):
        parsed = _parsed(content)
        if parsed is not None:
            _add(parsed, tokens)
            content = json.dumps(parsed, ensure_ascii=False).encode()
    return encoding_special(content) if settings.get("split_special_tokens") else content


def encoding_special(content: bytes) -> bytes:
    """Return a tokenizer.json with a setting that a tokenizer has beside it: special tokens in a text are text."""
    return content.replace(b"{", b'{"encode_special_tokens": true, ', 1)


def without_setting(content: bytes) -> tuple[bytes, bool]:
    """Return what :func:`encoding_special` was given, and whether it has been there."""
    if b'"encode_special_tokens"' not in content:
        return content, False
    parsed = json.loads(content)
    is_set = parsed.pop("encode_special_tokens", False)
    return json.dumps(parsed, ensure_ascii=False).encode(), bool(is_set)


def _settings(path: Path | None) -> dict[str, Any]:
    """Return the object that a file holds; none, where it holds something else."""
    if path is None:
        return {}
    try:
        held = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); remove or mend it") from None
    return held if isinstance(held, dict) else {}


def _member(content: bytes, name: str, kind: type[_T]) -> _T | None:
    """Return a member of a tokenizer.json, without reading the megabytes of the others where it comes before them."""
    at = content.find(f'"{name}"'.encode())
    if at >= 0:
        for size in (_WINDOW, len(content)):
            with contextlib.suppress(ValueError):
                text = codecs.getincrementaldecoder("utf-8")().decode(content[at : at + size])
                colon = re.match(r'"\w+"\s*:\s*', text)
                found = json.JSONDecoder().raw_decode(text, colon.end())[0] if colon else None
                if isinstance(found, kind):
                    return found
    held = (_parsed(content) or {}).get(name)
    return held if isinstance(held, kind) else None


def _parsed(content: bytes) -> dict[str, Any] | None:
    """Return a tokenizer.json that can be added to; what else it may be, the engine says."""
    try:
        parsed = json.loads(content)
    except ValueError:
        return None
    fits = isinstance(parsed, dict) and isinstance(parsed.get("model"), dict)
    added = parsed.setdefault("added_tokens", []) if fits else None
    whole = isinstance(added, list) and all(
        isinstance(token, dict) and isinstance(token.get("id"), int) and isinstance(token.get("content"), str)
        for token in added
    )
    return parsed if whole else None


def _tokens(settings: dict[str, Any], beside: Callable[[str], Path | None]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield the added tokens that are named, and whether that changes one of the same text."""
    decoder = settings.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        for token in decoder.values():
            yield from ((token, True) for token in _token(token))
    else:
        settings = {**settings, **_settings(beside(_NAMED))}
    named = [value for key, value in settings.items() if key.endswith("_token")]
    extra = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or []
    more = settings.get("model_specific_special_tokens")
    for group in (named, extra, more):
        for value in group.values() if isinstance(group, dict) else group if isinstance(group, list) else []:
            yield from ((token, False) for token in _token(value))
    if not isinstance(decoder, dict):
        for text in _settings(beside(_ADDED)):
            yield {**dict.fromkeys(_FLAGS, False), "normalized": True, "content": text}, False


def _token(said: Any) -> Iterator[dict[str, Any]]:
    """Yield the added token that a text, or an object of its flags, stands for."""
    if isinstance(said, str) and said:
        yield {**dict.fromkeys(_FLAGS, False), "special": True, "content": said}
    elif isinstance(said, dict) and isinstance(said.get("content"), str) and said["content"]:
        special = bool(said.get("special", True))
        flags = {flag: bool(said.get(flag, False)) for flag in _FLAGS}
        yield {**flags, "normalized": bool(said.get("normalized", not special)), "special": special, **_text(said)}


def _text(said: dict[str, Any]) -> dict[str, str]:
    return {"content": said["content"]}


def _changes(added: list[Any] | None, tokens: list[tuple[dict[str, Any], bool]]) -> bool:
    """Whether a tokenizer with these added tokens lacks some, or has some otherwise than is said."""
    known = {token.get("content"): token for token in added or () if isinstance(token, dict)}

    def differs(token: dict[str, Any]) -> bool:
        return any(known[token["content"]].get(flag) != value for flag, value in token.items())

    return any(token["content"] not in known or (wins and differs(token)) for token, wins in tokens)


def _add(parsed: dict[str, Any], tokens: list[tuple[dict[str, Any], bool]]) -> None:
    """Add the tokens that a tokenizer lacks, and change those that are said to be otherwise."""
    added = parsed["added_tokens"]
    known = {token["content"]: token for token in added}
    vocabulary = _vocabulary(parsed["model"])
    free = max([len(vocabulary), *(token["id"] + 1 for token in added)])
    for token, wins in tokens:
        text = token["content"]
        if text not in known:
            number = vocabulary.get(text, free)
            free += number == free
            known[text] = {"id": number, **token}
            added.append(known[text])
        elif wins:
            known[text].update(token)
    added.sort(key=lambda token: token["id"])


def _vocabulary(model: dict[str, Any]) -> dict[str, int]:
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, list):  # of a Unigram model: pieces and their scores
        return {piece[0]: number for number, piece in enumerate(vocabulary)}
    return vocabulary if isinstance(vocabulary, dict) else {}


def _check_prefix_space(pre_tokenizer: Any, settings: dict[str, Any], origin: str) -> None:
    """Say where a setting is not that of the tokenizer.json, which some classes of ``transformers`` build anew."""
    said, own = settings.get("add_prefix_space"), list(_prefix_spaces(pre_tokenizer))
    name = settings.get("tokenizer_class")
    if isinstance(said, bool) and own and said not in own and name not in _PLAIN_CLASSES:
        logger.warning(
            "%s: %s says add_prefix_space %s and tokenizer.json %s, which is counted with: TokenCounter("
            "AutoTokenizer.from_pretrained(...)) counts as %s does",
            *(origin, CONFIG, str(said).lower(), str(own[0]).lower(), name),
        )


def _prefix_spaces(pre_tokenizer: Any) -> Iterator[bool]:
    if isinstance(pre_tokenizer, dict):
        if pre_tokenizer.get("type") == "ByteLevel":
            yield bool(pre_tokenizer.get("add_prefix_space", True))
        for part in pre_tokenizer.get("pretokenizers") or []:
            yield from _prefix_spaces(part)
