"""How well detectors tell a model's answers from humans' to the same prompts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from polyalign.critics._auroc import auroc
from polyalign.critics.attacks import equal_length
from polyalign.evaluation._statistics import not_enough
from polyalign.evaluation._summaries import rounded

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.evaluation._arrays import Floats

__all__ = ["Detector", "Scored", "detect", "detection", "joint_score", "said_of", "scored"]

_DRAWS = 500
RATES = (0.01, 0.05, 0.10)


@runtime_checkable
class Detector(Protocol):
    """What tells machines' texts from people's."""

    threshold: float | None
    """Above it a text is taken for a machine's; `None`: that is not known."""

    def score(self, texts: Any, prompts: Any = None) -> npt.NDArray[np.float64]:
        """Return a number a text, higher for what is more likely a machine's; NaN where there is none."""


def detection(
    humans: npt.ArrayLike,
    machines: npt.ArrayLike,
    *,
    threshold: float | None = None,
    rates: Sequence[float] = RATES,
    min_count: int = 20,
    seed: int = 0,
) -> dict[str, Any]:
    """Say how well scores tell machines' texts from humans'.

    Parameters
    ----------
    humans, machines : array_like of float
        Higher for what is more likely a machine's. NaN: left out, and counted.
    threshold : float, optional
        Above it a text is taken for a machine's.
    rates : sequence of float, default (.01, .05, .10)
        Shares of humans that may be taken for machines.
    min_count : int, default 20
        With fewer of either nothing is said.
    seed : int, default 0
        Of the draws that make the intervals of ``tpr``.

    Returns
    -------
    dict
        ``auroc`` with ``value``, ``low`` and ``high``: the share of pairs in which the machine's has the higher score;
        .5 where they can't be told apart. ``tpr`` by rate: the share of machines above the lowest threshold that at
        most that share of these humans is above; with fewer than 1/rate humans ``None`` and a reason. ``detected``: the
        share of each above `threshold`. ``humans``, ``machines``, ``unscored``: how many there are.

    Examples
    --------
    >>> found = detection(range(100), [98.5] * 30 + [0.0] * 30)
    >>> found["tpr"]["0.05"]["value"], found["tpr"]["0.01"]["value"]
    (0.5, 0.5)
    """
    sides = [np.asarray(side, dtype=np.float64).ravel() for side in (humans, machines)]
    ours, theirs = (side[~np.isnan(side)] for side in sides)
    told: dict[str, Any] = {"humans": len(ours), "machines": len(theirs)}
    told["unscored"] = sum(map(len, sides)) - len(ours) - len(theirs)
    least = min(len(ours), len(theirs))
    if least < max(1, min_count):
        reason = not_enough(least, max(1, min_count))
        nothing = {"value": None, "low": None, "high": None, "reason": reason}
        return {"auroc": nothing, "tpr": {f"{rate:g}": nothing for rate in rates}, "detected": None, **told}
    area = auroc(ours, theirs)
    random = np.random.default_rng(seed)
    drawn = [(np.sort(random.choice(ours, len(ours))), random.choice(theirs, len(theirs))) for _ in range(_DRAWS)]
    detected = None
    if threshold is not None:
        detected = {
            "humans": rounded((ours > threshold).mean()),
            "machines": rounded((theirs > threshold).mean()),
        }
    return {
        "auroc": {"value": rounded(area.value), "low": rounded(area.low), "high": rounded(area.high)},
        "tpr": {f"{rate:g}": _tpr(np.sort(ours), theirs, rate, drawn) for rate in rates},
        "detected": detected,
        **told,
    }


def needed(rate: float) -> int:
    """Return how many humans there must be for one of them to be beyond the threshold of a rate."""
    return math.ceil(1 / rate - 1e-9)


def beyond(rate: float, count: Floats | int) -> Floats:
    """Return how many of so many humans may be beyond the threshold of a rate."""
    # Rounding must not make 5% of 100 humans four of them.
    return np.asarray(np.floor(rate * count + 1e-9))


def _tpr(ours: Floats, theirs: Floats, rate: float, drawn: Sequence[tuple[Floats, Floats]]) -> dict[str, Any]:
    """Return the share of machines beyond all but so many humans, who are sorted."""
    most = int(beyond(rate, len(ours)))
    if most < 1:
        return {"value": None, "low": None, "high": None, "reason": not_enough(len(ours), needed(rate))}

    def share(humans: Floats, machines: Floats) -> float:
        return float((machines > humans[len(humans) - 1 - most]).mean())

    low, high = np.quantile([share(*sides) for sides in drawn], [0.025, 0.975])
    return {"value": rounded(share(ours, theirs)), "low": rounded(low), "high": rounded(high)}


def detect(
    detectors: Mapping[str, Detector],
    humans: Sequence[str],
    answers: Mapping[str, Sequence[str]],
    buckets: Sequence[str],
    *,
    prompts: Sequence[Any] | None = None,
    min_count: int = 20,
    seed: int = 0,
) -> dict[str, Any]:
    """Say how well each detector tells each model's answers from the humans' to the same prompts.

    Parameters
    ----------
    detectors : mapping
        By name.
    humans : sequence of str, length n
    answers : mapping
        By model, its answers to the same prompts, n each.
    buckets : sequence of str, length n
        The first part is the language, which says how words are counted.
    prompts : sequence, optional, length n
        What was answered, for detectors to see; without them each text stands alone, as in the papers.
    min_count, seed
        As of :func:`detection`.

    Returns
    -------
    dict
        By detector, by model, what :func:`detection` says of ``whole`` texts, and at ``equal_length``: the longer of
        each two cut at the words of the shorter, so that length tells nothing.

    Raises
    ------
    ValueError
        Lengths that differ.

    Examples
    --------
    >>> class Length:
    ...     threshold = None
    ...     def score(self, texts, prompts=None):
    ...         return np.array([float(len(text)) for text in texts])
    >>> humans, model = ["So it is"] * 20, ["So it is as we all know"] * 20
    >>> found = detect({"length": Length()}, humans, {"m": model}, ["en|single|qa|short"] * 20)
    >>> found["length"]["m"]["whole"]["auroc"]["value"], found["length"]["m"]["equal_length"]["auroc"]["value"]
    (1.0, 0.5)
    """
    told = scored(detectors, humans, answers, buckets, prompts)
    return said_of(told, detectors, min_count=min_count, seed=seed)


@dataclass(frozen=True)
class Scored:
    """What a detector says of a model's answers and of the humans' to the same prompts."""

    detector: str
    model: str
    whole: tuple[Floats, Floats]
    """The humans', and the model's."""
    equal_length: tuple[Floats, Floats]


def scored(
    detectors: Mapping[str, Detector],
    humans: Sequence[str],
    answers: Mapping[str, Sequence[str]],
    buckets: Sequence[str],
    prompts: Sequence[Any] | None = None,
) -> list[Scored]:
    """Let detectors score texts; arguments and errors are those of :func:`detect`."""
    lengths = {"humans": len(humans), "buckets": len(buckets), **{name: len(of) for name, of in answers.items()}}
    if prompts is not None:
        lengths["prompts"] = len(prompts)
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise ValueError(f"lengths differ ({told}): give one for each prompt")
    return list(_scores(detectors, list(humans), answers, buckets, prompts))


def _scores(
    detectors: Mapping[str, Detector],
    humans: list[str],
    answers: Mapping[str, Sequence[str]],
    buckets: Sequence[str],
    prompts: Sequence[Any] | None,
) -> Iterator[Scored]:
    for name, detector in detectors.items():
        whole = detector.score(humans, prompts)
        for model, texts in answers.items():
            cut_humans, cut_texts = equal_length(humans, list(texts), buckets)
            cut = detector.score(cut_humans, prompts), detector.score(cut_texts, prompts)
            yield Scored(name, model, (whole, detector.score(list(texts), prompts)), cut)


def said_of(
    told: Sequence[Scored], detectors: Mapping[str, Detector], *, min_count: int = 20, seed: int = 0
) -> dict[str, Any]:
    """Say how well detectors tell, of what they scored, as :func:`detect` does."""
    found: dict[str, Any] = {name: {} for name in detectors}
    for each in told:
        given: dict[str, Any] = {"threshold": detectors[each.detector].threshold, "min_count": min_count, "seed": seed}
        found[each.detector][each.model] = {
            "whole": detection(*each.whole, **given),
            "equal_length": detection(*each.equal_length, **given),
        }
    return found


def joint_score(quality: float, area: float) -> float:
    """Return the harmonic mean of quality and human-likeness, 0 to 1.

    Parameters
    ----------
    quality : float
        Of a benchmark or a judge, 0 to 1.
    area : float
        The AUROC of a detector, the machine's the higher. Human-likeness is 2·(1 − AUROC), at most 1: the paper does
        not publish its formula, and this is ours.

    Raises
    ------
    ValueError
        A number that is not from 0 to 1.

    Examples
    --------
    >>> round(joint_score(0.8, 0.7), 4)
    0.6857
    """
    for name, value in (("quality", quality), ("area", area)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}: it must be from 0 to 1")
    likeness = min(1.0, 2 * (1 - area))
    return 2 * quality * likeness / (quality + likeness) if quality + likeness else 0.0
