"""Counting tokens exactly as the ``tokenizers`` library would, much faster."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, overload

from polyalign import _core

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from polyalign._core import ArrowArrayExportable, ArrowStreamExportable

__all__ = ["TokenCounter"]

logger = logging.getLogger("polyalign")
_slow_tokenizers_logged: set[str] = set()
#: Engines that have no pre-tokenizer.
_WITHOUT = {
    "sentencepiece": "SentencePiece BPE",
    "sentencepiece-unigram": "SentencePiece Unigram",
    "wordpiece": "WordPiece",
    "unigram": "Unigram",
}


class TokenCounter:
    """Counts the tokens of texts under one tokenizer.

    A count is ``len(tokenizer.encode(text, add_special_tokens=False).ids)`` of the ``tokenizers`` library with
    truncation and padding off, for every string; special tokens that stand in a text are counted as text where the
    tokenizer is set so (``encode_special_tokens``, ``split_special_tokens``). Of a ``tokenizer.model`` it is
    ``len(SentencePieceProcessor.encode(text))``. Byte-level BPE (GPT-2, Llama-3, Qwen,
    o200k, DeepSeek and their like) and SentencePiece's BPE (Llama-2, Mistral, Gemma and theirs) are counted by
    polyalign's own code; any other tokenizer by ``tokenizers`` itself, which is slower and logged once, with the
    reason, under the logger ``polyalign``.

    Parameters
    ----------
    source : str, PathLike, tokenizers.Tokenizer or transformers fast tokenizer
        A ``tokenizer.json`` file, a directory that holds one, a loaded tokenizer, or the name of a model or
        dataset on the Hugging Face hub, which is looked up through ``huggingface_hub``'s cache; or a file of ranks:
        ``mistral-common``'s ``tekken.json``, or ``tiktoken``'s, whose pattern its name says (``cl100k_base.tiktoken``)
        or a name before it (``"llama3:tokenizer.model"``), and which counts as ``encode_ordinary`` does; or a
        model file of SentencePiece, BPE or Unigram (``tokenizer.model``, also of a folder without a tokenizer.json),
        which is told from ranks by what it holds. Of the
        ``tokenizer_config.json`` beside a tokenizer.json (and ``special_tokens_map.json``, ``added_tokens.json``) are
        read, as ``transformers`` does: ``split_special_tokens``, and the tokens that the file lacks. An
        ``add_prefix_space`` that is not the file's is logged, not followed; the other settings change no count.
    revision : str, optional
        Branch, tag or commit of a hub name.

    Attributes
    ----------
    is_fast : bool
        Whether polyalign's own code counts.
    engine : str
        ``"byte-level BPE (qwen2)"`` or the like, ``"SentencePiece BPE"``, ``"SentencePiece Unigram"``,
        ``"WordPiece"`` (BERT's), ``"Unigram"``, or ``"tokenizers: <why>"``.
    sha256 : str
        Hash of the tokenizer's canonical JSON: the same for a path, an object and a hub name; of a model file, of its
        bytes.

    Raises
    ------
    FileNotFoundError
        No such file, or nothing of that name in the cache while offline.
    ValueError
        The tokenizer can't be used; for example, its BPE has dropout.
    TypeError
        ``source`` is none of the above; for example, a ``transformers`` tokenizer without a Rust backend.

    Examples
    --------
    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "hello": 1, "world": 2}, unk_token="[UNK]"))
    >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    >>> counter = TokenCounter(tokenizer)
    >>> counter.count(["hello world", "hello"])
    array([2, 1], dtype=uint32)
    >>> counter.is_fast
    False
    """

    def __init__(self, source: object, *, revision: str | None = None) -> None:
        from polyalign._io.sources import tokenizer_json

        self._json, origin = tokenizer_json(source, revision)
        self._core = _core.TokenCounter(self._json, origin)
        reason = self._core.slow_reason
        if reason is not None and self.sha256 not in _slow_tokenizers_logged:
            _slow_tokenizers_logged.add(self.sha256)
            logger.warning("%s is counted by the tokenizers library, which is slower: %s", origin, reason)

    @overload
    def count(self, texts: str, *, threads: int | None = None) -> int: ...  # type: ignore[overload-overlap]
    @overload
    def count(self, texts: ArrowArrayExportable | ArrowStreamExportable, *, threads: int | None = None) -> Any: ...
    @overload
    def count(
        self, texts: Iterable[str] | npt.NDArray[Any], *, threads: int | None = None
    ) -> npt.NDArray[np.uint32]: ...
    def count(self, texts: Any, *, threads: int | None = None) -> Any:
        """Count the tokens of each text.

        The work is spread over threads with the GIL released. Texts are read where they lie: nothing is
        copied from Arrow columns and from ASCII Python strings.

        Parameters
        ----------
        texts : iterable of str, Arrow column, numpy array or str
            Arrow: any object with ``__arrow_c_array__`` or ``__arrow_c_stream__`` (pyarrow, polars, arro3,
            pandas, …) of type string, large_string, string_view or a dictionary of these. numpy: one
            dimension of ``str``, ``object`` or ``StringDType``.
        threads : int, optional
            Default: ``POLYALIGN_NUM_THREADS``, else every core.

        Returns
        -------
        numpy.ndarray of uint32, shape (n,)
            Tokens per text. An Arrow column gives an Arrow column instead (pyarrow for pyarrow, otherwise
            arro3) in the same chunks, null where the text is null. A single ``str`` gives an ``int``.

        Raises
        ------
        TypeError
            An item is ``None`` or not a string; the message has its index.
        ValueError
            An item holds a lone surrogate; the message has its index.
        """
        return self._core.count(texts, threads)

    @property
    def is_fast(self) -> bool:
        """Whether polyalign's own code counts, rather than the ``tokenizers`` library."""
        return self._core.slow_reason is None

    @property
    def engine(self) -> str:
        """What counts: ``"byte-level BPE (<family>)"``, ``"SentencePiece BPE"``, or ``"tokenizers: <why>"``.

        A model file of Unigram is counted by ``"SentencePiece Unigram"``. ``"WordPiece"`` and ``"Unigram"`` give words
        of unusual characters to the ``tokenizers`` library.
        """
        if self._core.slow_reason is None:
            family = self._core.pre_tokenizer or ""
            return _WITHOUT.get(family, f"byte-level BPE ({family})")
        return f"tokenizers: {self._core.slow_reason}"

    @property
    def sha256(self) -> str:
        """SHA-256 of the tokenizer's canonical JSON, or of its model file, in hexadecimal."""
        return self._core.sha256

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_json, (self._json,)

    def __repr__(self) -> str:
        return f"<TokenCounter {self.engine}, sha256 {self.sha256[:12]}>"


def _from_json(json: bytes) -> TokenCounter:
    """Unpickle: the content has been accepted, and its speed logged, where it was pickled."""
    counter = TokenCounter.__new__(TokenCounter)
    counter._json = json
    counter._core = _core.TokenCounter(json)
    return counter
