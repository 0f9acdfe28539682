"""Random numbers of which each answer has its own: what is drawn for one does not depend on what else is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["add_noise", "words"]

_MIX = (-2048144789, -1028477387)  # the two multipliers of MurmurHash3's last step, as signed numbers
_STEP = np.uint64(0x9E3779B97F4A7C15)


def words(seeds: Sequence[int], step: int) -> npt.NDArray[np.int32]:
    """Return two words [n, 2] for a step of each seed (SplitMix64)."""
    with np.errstate(over="ignore"):
        state = np.asarray(seeds, np.uint64) + np.uint64(step + 1) * _STEP
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state.view(np.int32).reshape(-1, 2)


def add_noise(scores: Tensor, seeds: Sequence[int], step: int) -> Tensor:
    """Add Gumbel noise to logits [n, vocabulary], in place: the largest sum is a draw from their softmax.

    The number for a token is a hash of the row's seed, the step and the token: the same in any batch, on any device.
    """
    keys = torch.from_numpy(words(seeds, step).copy()).to(scores.device)
    tokens = torch.arange(scores.shape[-1], dtype=torch.int32, device=scores.device)
    # On a CPU a row at a time stays in the cache, which is two and a half times as fast.
    size = 1 if scores.device.type == "cpu" else len(scores)
    for start in range(0, len(scores), size):
        part = slice(start, start + size)
        scores[part] -= _log_exponential(tokens, keys[part])
    return scores


def _log_exponential(tokens: Tensor, keys: Tensor) -> Tensor:
    """Return logarithms of exponentially distributed numbers [n, vocabulary]."""
    hashed = tokens ^ keys[:, :1]
    spare = torch.empty_like(hashed)
    _mix(hashed, spare)
    hashed += keys[:, 1:]
    _mix(hashed, spare)
    hashed &= 0x7FFFFFFF
    # Of a uniform number near 0 a float keeps every bit: there lie the exponentials that win.
    uniform = hashed.to(torch.float32).add_(0.5).mul_(-(2.0**-31))
    return uniform.log1p_().neg_().log_()


def _mix(hashed: Tensor, spare: Tensor) -> None:
    """Mix the bits of 32-bit words, in place."""
    for shift, mask, factor in ((16, 0xFFFF, _MIX[0]), (13, 0x7FFFF, _MIX[1]), (16, 0xFFFF, None)):
        torch.bitwise_right_shift(hashed, shift, out=spare)
        spare &= mask  # torch's shift keeps the sign
        hashed ^= spare
        if factor is not None:
            hashed *= factor


def greedy_processor(seeds: Sequence[int], start: int) -> Any:
    """Return a logits processor that adds the noise of answers whose prompts are `start` tokens long, with padding."""
    from transformers import LogitsProcessor

    class Noise(LogitsProcessor):  # type: ignore[misc, unused-ignore]
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            step = input_ids.shape[1] - start
            if step == 0 and bool(torch.isnan(scores).any()):
                raise ValueError("the model gives no numbers (NaN): load it with another dtype, such as float32")
            return add_noise(scores, seeds, step)

    return Noise()
