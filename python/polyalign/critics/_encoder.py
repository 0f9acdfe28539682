"""Texts to vectors: a pretrained encoder, or a function of the user's."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign._io.models import quiet_off_terminal, why_not
from polyalign._text.words import counted

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.critics import _saved

#: What an encoder must give as it did when the critic was made.
_PROBE = "The river was quiet, and 他们 went home at 7."
_ALIKE = 0.999
#: Texts whose lengths are alike share a batch of at most so many.
_BATCH = 64
#: Tokens of a batch with its padding, on a CPU and elsewhere: what attention needs grows with their square.
_BATCH_TOKENS, _BATCH_TOKENS_GPU = 4096, 16384
#: Texts by which it is seen whether an encoder has room for them.
_TRIED = 256
#: Where a critic's folder holds an encoder that was trained with it.
OWN = "encoder"
# What a tokenizer without a limit says of itself is a huge number.
_NO_LIMIT = 1_000_000


class HuggingFaceEncoder:
    """An encoder of the hub, or of a folder: mean over the tokens of the last hidden state.

    Parameters
    ----------
    name : str
        What ``AutoModel.from_pretrained`` takes. No code of its repository is run.
    revision : str, optional
        Of the hub.
    max_length : int, optional
        Tokens that are read, at most. Default: as many as the model has room for.
    device : str, optional
        Default: a GPU, where there is one.
    batch_size : int, default 64
        Texts that are read at once; fewer of long ones.

    Raises
    ------
    OSError
        There is no such encoder.
    ValueError
        It leaves no room for text.
    ImportError
        transformers and torch are missing.
    """

    def __init__(
        self,
        name: str,
        *,
        revision: str | None = None,
        max_length: int | None = None,
        device: str | None = None,
        batch_size: int = _BATCH,
    ) -> None:
        try:
            import torch
            from transformers import AutoModel, AutoTokenizer
        except ImportError:
            raise ImportError("an encoder needs transformers and torch: pip install 'polyalign[train]'") from None
        self.name, self.revision, self.max_length, self.batch_size = name, revision, max_length, batch_size
        try:
            with quiet_off_terminal():
                self._tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
                model = AutoModel.from_pretrained(name, revision=revision, dtype=torch.float32)
        except (OSError, ValueError, KeyError) as error:
            why = why_not(name, error) if isinstance(error, OSError) else " ".join(str(error).split())
            kind = OSError if isinstance(error, OSError) else ValueError
            raise kind(f"encoder {name}: it is none that transformers opens: {why}") from None
        model = model.get_encoder() if model.config.is_encoder_decoder else model
        #: What makes hidden states of tokens.
        self.model: Any = model.eval().to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.limit = _room(self._tokenizer, model.config, max_length)
        if self.limit - self._tokenizer.num_special_tokens_to_add() < 1:
            raise ValueError(f"encoder {name}: it reads {counted(self.limit, 'token')}, which leaves no room for text")
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token

    @property
    def told(self) -> dict[str, Any]:
        """What a saved critic says of it."""
        return {"name": self.name, "revision": self.revision, "max_length": self.max_length}

    def __call__(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Return a vector of each text, and whether it was cut, shapes [n, dimension] and [n]."""
        import torch

        if not texts:
            return np.zeros((0, int(self.model.config.hidden_size)), dtype=np.float32), np.zeros(0, dtype=bool)
        whole = self._tokenizer(list(texts), verbose=False)["input_ids"]
        lengths = np.array([len(ids) for ids in whole], dtype=np.int64)
        # Those of like length together; the same texts make the same batches.
        order = np.argsort(-lengths, kind="stable").tolist()
        found: list[Any] = [None] * len(order)
        most = _BATCH_TOKENS if self.model.device.type == "cpu" else _BATCH_TOKENS_GPU
        start = 0
        with torch.no_grad():
            while start < len(order):
                longest = min(int(lengths[order[start]]), self.limit)
                places = order[start : start + max(1, min(self.batch_size, most // max(1, longest)))]
                start += len(places)
                tokens = self.tokens([texts[at] for at in places]).to(self.model.device)
                means = mean_of_tokens(self.model, tokens)
                for at, vector in zip(places, means.cpu().numpy(), strict=True):
                    found[at] = vector
        return np.stack(found), lengths > self.limit

    def tokens(self, texts: Sequence[str]) -> Any:
        """Return what its model takes of texts, cut and padded."""
        return self._tokenizer(list(texts), truncation=True, max_length=self.limit, padding=True, return_tensors="pt")

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Save model and tokenizer as transformers opens them, in safetensors and JSON."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is not None:  # what it was last asked is no part of it
            backend.no_truncation()
            backend.no_padding()
        with quiet_off_terminal():
            self.model.save_pretrained(folder)
            self._tokenizer.save_pretrained(folder)

    def __repr__(self) -> str:
        return repr(self.name)


def mean_of_tokens(model: Any, tokens: Mapping[str, Any]) -> Any:
    """Return the mean over its tokens of the last hidden state of each text, a tensor of shape [n, dimension]."""
    hidden = model(**tokens).last_hidden_state.float()
    mask = tokens["attention_mask"].unsqueeze(2).to(hidden.dtype)
    return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


class FunctionEncoder:
    """A function of the user's: ``encode(list of str) -> float32 [n, dimension]``."""

    limit = None

    def __init__(self, encode: Callable[[list[str]], Any]) -> None:
        self._encode = encode
        self.name = getattr(encode, "__qualname__", type(encode).__qualname__)

    @property
    def told(self) -> dict[str, Any]:
        """What a saved critic says of it: it can't be found again by that."""
        return {"function": self.name}

    def __call__(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Return a vector of each text, shape [n, dimension]; what it cuts it does not say.

        Raises
        ------
        ValueError
            It returns something else.
        """
        found = np.asarray(self._encode(list(texts)))
        if found.ndim != 2 or len(found) != len(texts) or found.dtype.kind != "f":
            raise ValueError(
                f"encode {self.name} gave {found.dtype}{list(found.shape)} for {counted(len(texts), 'text')}: "
                "float32 [texts, dimension] is due"
            )
        return found.astype(np.float32), np.zeros(len(texts), dtype=bool)

    def __repr__(self) -> str:
        return self.name


def _room(tokenizer: Any, config: Any, given: int | None) -> int:
    """Return how many tokens are read at most."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and "roberta" in str(config.model_type):
        positions -= 2  # that many stand for padding
    limits = [tokenizer.model_max_length, positions, given]
    return int(min(limit for limit in [*limits, _NO_LIMIT] if limit is not None))


def as_encoder(given: Any) -> Any:
    """Return what makes vectors of texts.

    Raises
    ------
    TypeError
        It is none.
    """
    if isinstance(given, (str, os.PathLike)):
        return HuggingFaceEncoder(os.fspath(given))
    if isinstance(given, (HuggingFaceEncoder, FunctionEncoder)):
        return given
    if callable(given):
        return FunctionEncoder(given)
    raise TypeError(f"encoder is a folder, a name on the hub or a function of texts, not {type(given).__name__}")


def saved_encoder(saved: _saved.Saved, told: Mapping[str, Any], given: Any) -> Any:
    """Return the encoder of a saved critic: the user's, or the one that it names or holds; ``None`` of a function.

    Raises
    ------
    ValueError
        It names none that can be opened, or is damaged.
    """
    if given is not None:
        return as_encoder(given)
    if "function" in told:
        return None
    name, revision, most, own = (told.get(key) for key in ("name", "revision", "max_length", "own"))
    if not (
        isinstance(name, str)
        and isinstance(revision, (str, type(None)))
        and isinstance(most, (int, type(None)))
        and not isinstance(most, bool)
        and own in (None, True)
    ):
        raise ValueError(f"{saved.folder}: an encoder that can't be: it is damaged; train anew")
    try:
        if own:
            return HuggingFaceEncoder(os.fspath(saved.folder / OWN), max_length=most)
        return HuggingFaceEncoder(name, revision=revision, max_length=most)
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())
        raise ValueError(
            f"{saved.folder}: its encoder {name!r} can't be opened: {why}; load(folder, encoder=…) "
            "takes another place of it"
        ) from None


def check_cut(encoder: Any, cut: npt.NDArray[np.bool_]) -> None:
    """Refuse an encoder that sees beginnings alone; say how many responses it cuts."""
    if cut.all():
        raise ValueError(
            f"encoder {encoder!r} reads {counted(encoder.limit, 'token')}, and all {counted(len(cut), 'response')} are "
            "longer: it would compare their beginnings alone; take one that reads more"
        )
    if cut.any():
        warnings.warn(
            f"encoder {encoder!r} reads {counted(encoder.limit, 'token')}: of {cut.sum():,} of "
            f"{counted(len(cut), 'response')} it sees the beginning alone",
            stacklevel=4,
        )


def check_reads(encoder: Any, texts: Sequence[str]) -> None:
    """Refuse an encoder that sees beginnings alone, by some of the texts that it is to read."""
    some = [text for text in texts if text.strip()][:_TRIED]
    if encoder.limit is not None and some:
        check_cut(encoder, encoder(some)[1])


def unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return vectors of length 1; NaN of one of zeros, or that is not finite."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: npt.NDArray[np.float32] = (vectors / lengths).astype(np.float32)
    found[~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0))] = np.nan
    return found


class Known:
    """An encoder that must give what it gave when a critic was made."""

    def __init__(self, encoder: Any, probe: npt.NDArray[np.float32], settings: Mapping[str, Any]) -> None:
        self._encoder, self._probe, self._settings = encoder, probe, settings
        self._is_known = False

    @staticmethod
    def probe(encoder: Any) -> npt.NDArray[np.float32]:
        """Return what an encoder gives of one text, by which it is known again, shape [dimension]."""
        found: npt.NDArray[np.float32] = unit(encoder([_PROBE])[0])[0]
        return found

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        return len(self._probe)

    @property
    def key(self) -> bytes:
        """What tells its vectors from another encoder's."""
        return self._probe.tobytes()

    def read(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Return a vector of length 1 of each text, and whether it was cut, shapes [n, dimension] and [n].

        Raises
        ------
        ValueError
            There is no encoder, or another.
        """
        if self._encoder is None:
            raise ValueError(
                f"the critic's encoder is a function, {self._settings['encoder']['function']}, which is not saved: "
                "load(folder, encoder=…) of its class takes it"
            )
        if not self._is_known:
            probe = self.probe(self._encoder)
            if probe.shape != self._probe.shape or not float(probe @ self._probe) > _ALIKE:
                raise ValueError(
                    f"encoder {self._encoder!r} is another than the one that the critic was made with: give that one "
                    "(its revision), or train anew"
                )
            self._is_known = True
        vectors, cut = self._encoder(texts)
        return unit(vectors), cut

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return a vector of length 1 of each text, shape [n, dimension]."""
        return self.read(texts)[0]
