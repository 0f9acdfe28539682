"""Means and shares of judgements, with intervals: those of one prompt are no independent ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign.evaluation._statistics import not_enough
from polyalign.evaluation.metrics import resampled_sums

if TYPE_CHECKING:
    from polyalign.evaluation._arrays import Floats

__all__ = ["DRAWS", "design_effect", "mean_of", "rate_of", "rounded", "wilson"]

#: So many draws make an interval.
DRAWS = 2000
_QUANTILE = 1.959963984540054


def mean_of(values: Mapping[str, Sequence[float]], min_count: int, seed: int) -> dict[str, Any]:
    """Return the mean of judgements by prompt, with percentiles of draws of prompts.

    Returns
    -------
    dict
        ``mean``, ``low``, ``high``, ``prompts``, ``judgements``; with fewer prompts than `min_count` the first three
        are ``None``, and there is a ``reason``.
    """
    if (few := _few(values, min_count)) is not None:
        return few
    sums, counts = _sums(dict(sorted(values.items())))
    drawn = resampled_sums(np.stack([sums, counts], axis=1), draws=DRAWS, seed=seed)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return _told(sums, counts, float(low), float(high))


def rate_of(values: Mapping[str, Sequence[float]], min_count: int) -> dict[str, Any]:
    """Return the share of judgements, as :func:`mean_of` does, with Wilson's interval for what they are worth."""
    if (few := _few(values, min_count)) is not None:
        return few
    sums, counts = _sums(values)
    share = float(sums.sum() / counts.sum())
    return _told(sums, counts, *wilson(share, float(counts.sum()) / design_effect(sums, counts)))


def _sums(values: Mapping[str, Sequence[float]]) -> tuple[Floats, Floats]:
    sums, counts = np.array([(sum(of), len(of)) for of in values.values()], dtype=np.float64).T
    return sums, counts


def _told(sums: Floats, counts: Floats, low: float, high: float) -> dict[str, Any]:
    mean = rounded(sums.sum() / counts.sum())
    ends = {"low": rounded(low), "high": rounded(high)}
    return {"mean": mean, **ends, "prompts": len(sums), "judgements": int(counts.sum())}


def _few(values: Mapping[str, Sequence[float]], min_count: int) -> dict[str, Any] | None:
    if values and len(values) >= min_count:
        return None
    counts = {"prompts": len(values), "judgements": sum(map(len, values.values()))}
    reason = not_enough(len(values), max(1, min_count))
    return {"mean": None, "low": None, "high": None, **counts, "reason": reason}


def design_effect(sums: Floats, counts: Floats) -> float:
    """Return by how much judgements in clusters are worth less than as many alone; never less than 1.

    The variance of a share with clusters (linearised) over that without.
    """
    number, clusters = float(counts.sum()), len(counts)
    share = float(sums.sum()) / number
    alone = share * (1 - share) / number
    if clusters < 2 or alone == 0:
        return max(1.0, number / clusters)
    residuals = sums - share * counts
    clustered = clusters / (clusters - 1) * float((residuals**2).sum()) / number**2
    return max(1.0, clustered / alone)


def wilson(share: float, number: float) -> tuple[float, float]:
    """Return the interval of a share of so many.

    Examples
    --------
    >>> [round(end, 3) for end in wilson(0.5, 100)]
    [0.404, 0.596]
    """
    square = _QUANTILE**2
    middle = (share + square / (2 * number)) / (1 + square / number)
    half = _QUANTILE / (1 + square / number) * math.sqrt(share * (1 - share) / number + square / (4 * number**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def rounded(value: Any) -> float:
    """Return a number with six places."""
    return round(float(value), 6)
