"""Vectors of texts, kept by what they are of."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign._io import responses as texts_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.critics._encoder import Known

#: So many are kept in a file, and are lost at most when a run is interrupted.
_CHUNK = 512
_CONSTANT = 1e-6


class Cache:
    """Vectors of texts, by the hash of the texts and their encoder, on the disk where there is a folder."""

    def __init__(self, known: Known, folder: str | os.PathLike[str] | None) -> None:
        self._known, self._folder = known, None if folder is None else Path(folder)
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)

    def __call__(
        self, texts: Sequence[str], update: Callable[[int], object] = lambda rows: None
    ) -> npt.NDArray[np.float32]:
        """Return a vector of each text, shape [n, dimension]; of a blank one zeros."""
        found = np.empty((len(texts), self._known.dimension), dtype=np.float32)
        for start in range(0, len(texts), _CHUNK):
            part = texts[start : start + _CHUNK]
            found[start : start + _CHUNK] = self._part(part)
            update(len(part))
        return found

    def _part(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        if self._folder is None:
            return self._of(texts)
        digest = hashlib.blake2b(self._known.key, digest_size=16)
        for text in texts:
            digest.update(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())
        path = self._folder / f"{digest.hexdigest()}.npy"
        try:
            found: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
            if found.shape == (len(texts), self._known.dimension) and found.dtype == np.float32:
                return found
        except (OSError, ValueError):
            pass  # none yet, or torn
        made = self._of(texts)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.save(file, made)
        partial.replace(path)
        return made

    def _of(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        found = np.zeros((len(texts), self._known.dimension), dtype=np.float32)
        asked = [at for at, text in enumerate(texts) if text.strip()]
        if asked:
            found[asked] = self._known([texts[at] for at in asked])
        return found


def scale_of(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return mean and spread of each number, by whose standard scores more is learnt; 1 of one that is constant."""
    mean, spread = vectors.mean(axis=0, dtype=np.float64), vectors.std(axis=0, dtype=np.float64)
    return mean.astype(np.float32), np.where(spread > _CONSTANT, spread, 1.0).astype(np.float32)


def last_messages(prompts: Sequence[Any]) -> list[str]:
    """Return what an encoder reads of prompts: the last message of each."""
    return [prompt[-1][1] if prompt else "" for prompt in texts_of.prompts(prompts) or []]
