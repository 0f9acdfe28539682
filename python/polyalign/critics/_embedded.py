"""What an encoder sees, as evidence for or against a person: a linear classifier of its vectors."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign.critics._encoder import Known, as_encoder, saved_encoder
from polyalign.critics._vectors import Cache, last_messages

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.critics import _saved

#: Names of what a critic saves of it.
WEIGHTS, PROBE = "embedding/weights", "embedding/probe"


class Embedded:
    """An encoder, and a weight for each number of its vectors; with prompts for each product with the prompt's, too."""

    def __init__(
        self,
        encoder: Any,
        *,
        with_prompts: bool,
        cache: str | os.PathLike[str] | None = None,
        told: dict[str, Any] | None = None,
        probe: npt.NDArray[np.float32] | None = None,
    ) -> None:
        found: Any = None if encoder is None else as_encoder(encoder)
        #: What a saved critic says of the encoder.
        self.told: dict[str, Any] = told or found.told
        self.probe: npt.NDArray[np.float32] = Known.probe(found) if probe is None else probe
        self.with_prompts = with_prompts
        self._vectors = Cache(Known(found, self.probe, {"encoder": self.told}), cache)
        self.weights: npt.NDArray[np.float32] = np.zeros(len(self.probe) * (1 + with_prompts), dtype=np.float32)
        self.bias = 0.0

    def columns(
        self,
        texts: Sequence[str],
        prompts: Sequence[Any] | None,
        update: Callable[[int], object] = lambda rows: None,
    ) -> npt.NDArray[np.float32]:
        """Return what the classifier is of, shape [n, weights]; where a prompt is not known, its products are zeros."""
        own = self._vectors(texts, update)
        if not self.with_prompts:
            return own
        asked = np.zeros_like(own) if prompts is None else self._vectors(last_messages(prompts), update)
        return np.concatenate([own, own * asked * np.float32(len(self.probe) ** 0.5)], axis=1)

    def evidence(self, texts: Sequence[str], prompts: Sequence[Any] | None) -> npt.NDArray[np.float32]:
        """Return the log-odds of each text, above 0 for the machine, shape [n]."""
        found: npt.NDArray[np.float32] = self.columns(texts, prompts) @ self.weights + np.float32(self.bias)
        return found

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return what is to be saved."""
        return {WEIGHTS: self.weights, PROBE: self.probe}

    def settings(self) -> dict[str, Any]:
        """Return what is to be said of it."""
        return {**self.told, "with_prompts": self.with_prompts, "bias": self.bias}


def from_saved(saved: _saved.Saved, told: dict[str, Any], encoder: Any) -> Embedded:
    """Take what was saved; ``ValueError`` where it is damaged, or its encoder can't be opened."""
    with_prompts, bias = told.get("with_prompts"), told.get("bias")
    if not isinstance(with_prompts, bool) or not isinstance(bias, float):
        raise ValueError(f"{saved.folder}: an encoder that can't be: it is damaged; train anew")
    named = {name: value for name, value in told.items() if name not in ("with_prompts", "bias", "own")}
    probe = saved.tensor(PROBE, np.float32, (None,))
    found = Embedded(saved_encoder(saved, named, encoder), with_prompts=with_prompts, told=named, probe=probe)
    found.weights, found.bias = saved.tensor(WEIGHTS, np.float32, found.weights.shape), bias
    return found
