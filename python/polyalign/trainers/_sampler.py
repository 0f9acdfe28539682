"""Drawing rows by weight."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import Sampler

__all__ = ["WeightedSampler"]


class WeightedSampler(Sampler[int]):
    """Draws rows with replacement, each as often as its weight says; the same on every process, another in every epoch.

    Parameters
    ----------
    weights : array-like, shape [n]
        Not all 0.
    seed : int
        Of the draws.
    """

    def __init__(self, weights: Any, seed: int) -> None:
        self._cumulative = np.cumsum(np.asarray(weights, dtype=np.float64))
        self._seed, self._epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._cumulative)

    def __iter__(self) -> Iterator[int]:
        draws = np.random.default_rng([self._seed, self._epoch]).random(len(self)) * self._cumulative[-1]
        yield from np.searchsorted(self._cumulative, draws, side="right").clip(max=len(self) - 1).tolist()
