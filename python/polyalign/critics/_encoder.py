"""Texts to vectors: a pretrained encoder, or a function of the user's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign._text.words import counted

if TYPE_CHECKING:
    import numpy.typing as npt

#: Texts whose lengths are alike share a batch of at most so many.
_BATCH = 64
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
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
        model = AutoModel.from_pretrained(name, revision=revision, dtype=torch.float32)
        model = model.get_encoder() if model.config.is_encoder_decoder else model
        self._model = model.eval().to(self._device)
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
            return np.zeros((0, int(self._model.config.hidden_size)), dtype=np.float32), np.zeros(0, dtype=bool)
        whole = self._tokenizer(list(texts), verbose=False)["input_ids"]
        lengths = np.array([len(ids) for ids in whole], dtype=np.int64)
        # Those of like length together; the same texts make the same batches.
        order = np.argsort(-lengths, kind="stable").tolist()
        found: list[Any] = [None] * len(order)
        with torch.no_grad():
            for start in range(0, len(order), self.batch_size):
                places = order[start : start + self.batch_size]
                batch = self._tokenizer(
                    [texts[at] for at in places],
                    truncation=True,
                    max_length=self.limit,
                    padding=True,
                    return_tensors="pt",
                ).to(self._device)
                hidden = self._model(**batch).last_hidden_state.float()
                mask = batch["attention_mask"].unsqueeze(2).to(hidden.dtype)
                means = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
                for at, vector in zip(places, means.cpu().numpy(), strict=True):
                    found[at] = vector
        return np.stack(found), lengths > self.limit

    def __repr__(self) -> str:
        return repr(self.name)


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
