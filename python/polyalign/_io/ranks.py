"""Files of ranks, as ``tiktoken`` and ``mistral-common`` read them: whose pattern a file is split by."""

from __future__ import annotations

import re
from pathlib import Path

from polyalign import _core

_SUFFIX = ".tiktoken"
_RANK = re.compile(rb"[A-Za-z0-9+/]+=* \d+\r?\n")


def pattern_of(source: str) -> tuple[str, Path] | None:
    """Return the name of a pattern and the file of ``NAME:FILE``, or of a ``NAME.tiktoken``; None of all else."""
    name, colon, file = source.partition(":")
    if colon and name in _core.RANK_PATTERNS:
        return name, Path(file)
    path = Path(source)
    if path.suffix != _SUFFIX:
        return None
    if path.stem not in _core.RANK_PATTERNS:
        raise _whose(source)
    return path.stem, path


def _whose(source: str) -> ValueError:
    known = ", ".join(_core.RANK_PATTERNS)
    return ValueError(f"{source}: whose pattern? name it before the file, as in cl100k_base:{source}; known: {known}")


def without_ranks(content: bytes, origin: str) -> bytes:
    """Return the content of a file that is none of ``tiktoken``'s ranks; one that is lacks its pattern's name."""
    if _RANK.match(content):
        raise _whose(origin)
    return content


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
        One of the patterns' names.
    origin : str
        What the file is called in errors.
    """
    if _core.is_model_file(content):
        raise ValueError(f"{origin}: a model file of SentencePiece, without ranks: leave out {name}:")
    return _core.tokenizer_of_ranks(content, name, origin)


def from_tekken(content: bytes, origin: str) -> bytes:
    """Return the tokenizer.json of a tekken.json; control tokens in a text are text, as for ``mistral-common``.

    Parameters
    ----------
    content : bytes
        The file.
    origin : str
        What the file is called in errors.
    """
    return _core.tokenizer_of_ranks(content, None, origin)
