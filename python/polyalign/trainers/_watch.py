"""What the logs of the samples say about the training: that it pleases its critic, that its answers become alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

__all__ = ["warnings"]

#: Readings whose trend is looked at.
_WINDOW = 5
#: What a trend of no more than noise exceeds, in its standard errors, once in twenty times (Student's t, of so many
#: readings less two).
_BEYOND_NOISE = 2.353
#: Readings of distinct-2 whose median it was, and is.
_SMOOTHED = 3


def warnings(history: Sequence[Mapping[str, Any]], prefix: str) -> list[str]:
    """Return what the last log has to say, which the one before it had not.

    Parameters
    ----------
    history : sequence of mappings
        The logs, the oldest first, those that have nothing of samples among them.
    prefix : str
        What stands before the names, such as ``"hdpo/"`` or ``"eval_hdpo/"``.

    Notes
    -----
    - The critic that trains improves and the held-out one does not: over the last five readings the least-squares line
      of ``online_score`` falls by more than its noise (its slope is below 0 with 95% certainty, by the scatter of the
      readings about it), and that of ``online_held_out_score`` does not fall.
    - Answers become alike: the median of the last three readings of ``online_distinct_2`` is below half of that of the
      first three, of four readings or more.
    """
    found = []
    scores = [_series(history, prefix + name) for name in ("online_score", "online_held_out_score")]
    both = [pair for pair in zip(*scores, strict=True) if None not in pair]
    last = history[-1] if history else {}
    if f"{prefix}online_held_out_score" in last and _begins(_pleases, both):
        (trained, held_out), (trained_now, held_out_now) = both[-_WINDOW], both[-1]
        found.append(
            f"over the last {_WINDOW} readings of {prefix}online_score the critic that trains improves "
            f"({trained:.3g} to {trained_now:.3g}) and the held-out one does not ({held_out:.3g} to "
            f"{held_out_now:.3g}): the model learns what pleases its critic. Read some samples; stop here, lower "
            "lambda_online, or train a critic on samples of this model"
        )
    pairs = [value for value in _series(history, f"{prefix}online_distinct_2") if value is not None]
    if f"{prefix}online_distinct_2" in last and _begins(_alike, pairs):
        found.append(
            f"{prefix}online_distinct_2 is {_now(pairs):.2g}, it was {_was(pairs):.2g}: the model's answers become "
            "alike, or loop. Read some samples; stop here, or lower lambda_online"
        )
    return found


def _series(history: Sequence[Mapping[str, Any]], name: str) -> list[float | None]:
    return [entry.get(name) for entry in history]


def _begins(sign: Any, readings: Sequence[Any]) -> bool:
    """Whether a sign is there now, and was not at the reading before."""
    return sign(readings) and not sign(readings[:-1])


def _pleases(readings: Sequence[tuple[float, float]]) -> bool:
    if len(readings) < _WINDOW:
        return False
    (change, noise), (held_out, _) = (_trend(values) for values in zip(*readings[-_WINDOW:], strict=True))
    return change < -_BEYOND_NOISE * noise and held_out >= 0


def _trend(values: Sequence[float]) -> tuple[float, float]:
    """Return the slope of the least-squares line through readings, and its standard error.

    What is rounding is no slope.
    """
    times = np.arange(len(values)) - (len(values) - 1) / 2
    of = np.asarray(values, dtype=np.float64)
    spread = float(times @ times)
    slope = float(times @ of) / spread
    if abs(slope) <= 1e-9 * float(np.abs(of).max()):
        return 0.0, 0.0
    rest = of - of.mean() - slope * times
    return slope, float(np.sqrt(rest @ rest / (len(values) - 2) / spread))


def _alike(readings: Sequence[float]) -> bool:
    return len(readings) > _SMOOTHED and _now(readings) < _was(readings) / 2


def _was(readings: Sequence[float]) -> float:
    return median(readings[:_SMOOTHED])


def _now(readings: Sequence[float]) -> float:
    return median(readings[-_SMOOTHED:])
