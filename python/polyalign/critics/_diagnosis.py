"""A critic's scores by bucket, and what can't be right about them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polyalign._text.words import counted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


# So many scores of so many responses don't coincide.
_MANY_SCORES = 50


_MANY_RESPONSES = 20


_SHOWN = 20


@dataclass(frozen=True)
class BucketScores:
    """The scores of a bucket's responses."""

    count: int
    """Responses."""
    missing: int
    """Those without a score (NaN)."""
    mean: float
    """Of the scores there are; NaN where there are none."""
    min: float
    max: float

    @property
    def is_constant(self) -> bool:
        """Whether all its scores, at least two, are the same."""
        return self.count - self.missing > 1 and self.min == self.max


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What a critic's scores look like. ``print(diagnosis)`` shows them by bucket."""

    name: str
    """Whose scores these are."""
    overall: BucketScores
    """Of all responses."""
    buckets: dict[str, BucketScores]
    """By bucket, in the order of the ids."""

    def __str__(self) -> str:
        from polyalign._text import tables

        order = sorted(self.buckets, key=lambda bucket: (-self.buckets[bucket].count, bucket))
        shown = {bucket: self.buckets[bucket] for bucket in order[:_SHOWN]}
        if len(self.buckets) > 1:
            shown["all"] = self.overall
        scores = list(shown.values())
        columns = {"bucket": list(shown), "responses": [f"{score.count:,}" for score in scores]}
        columns["no score"] = [f"{score.missing:,}" for score in scores]
        for name in ("mean", "min", "max"):
            columns[name] = [_number(getattr(score, name)) for score in scores]
        columns[""] = ["all the same" if score.is_constant else "" for score in scores]
        more = f", the largest {_SHOWN} buckets of {len(order):,}" if len(order) > _SHOWN else ""
        return f"Scores of {self.name}, lower is closer to human{more}\n{tables.plain(columns, ('bucket', ''))}"

    def __repr__(self) -> str:
        count = len(self.buckets)
        return f"<Diagnosis of {self.name}: {self.overall.count:,} scores in {counted(count, 'bucket')}>"


def check_scores(
    scores: npt.ArrayLike,
    buckets: Sequence[str | None],
    *,
    responses: Sequence[str] | None = None,
    name: str = "critic",
) -> Diagnosis:
    """Check a critic's scores before anything is trained on them.

    Parameters
    ----------
    scores : array_like, shape (n,)
        What the critic returned.
    buckets : sequence of str, length n
        What it was asked.
    responses : sequence of str, length n, optional
        What it was asked: equal responses may have equal scores. Without them each score counts as another response's.
    name : str, default "critic"
        What messages call the critic.

    Returns
    -------
    Diagnosis
        By bucket, how many scores there are and where they lie.

    Raises
    ------
    ValueError
        A score is negative or infinite; or the critic collapsed: at least 50 scores, over at least 20 different
        responses, are all the same, or none of so many responses has one.

    Examples
    --------
    >>> found = check_scores([0.5, 1.5, float("nan")], ["en|single|qa|short"] * 3)
    >>> found.overall.mean, found.overall.missing
    (1.0, 1)
    >>> check_scores([0.5, -1.5], ["en|single|qa|short"] * 2)
    Traceback (most recent call last):
    ...
    ValueError: critic: score 1 (bucket 'en|single|qa|short') is -1.5: scores are 0 or above, lower is closer to human
    """
    import numpy as np

    try:
        values = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: scores are numbers, one for each response: {error}") from None
    if values.ndim != 1 or len(values) != len(buckets):
        shape = list(values.shape)
        raise ValueError(f"{name}: scores of shape {shape} for {len(buckets):,} buckets: give one for each")
    if responses is not None and len(responses) != len(values):
        raise ValueError(f"{name}: {len(values):,} scores and {len(responses):,} responses: give one for each")
    named = [bucket or "" for bucket in buckets]
    check_range(values, named, name)
    _check_collapse(values, named, responses, name)
    rows: dict[str, list[int]] = {}
    for at, bucket in enumerate(named):
        rows.setdefault(bucket, []).append(at)
    return Diagnosis(name, _summary(values), {bucket: _summary(values[rows[bucket]]) for bucket in sorted(rows)})


def check_range(values: npt.NDArray[Any], buckets: Sequence[str | None], name: str) -> None:
    """Refuse scores that can't be: negative or infinite ones."""
    import numpy as np

    broken = np.flatnonzero((values < 0) | np.isinf(values))
    if broken.size:
        first = int(broken[0])
        others = f", and {broken.size - 1:,} more wrong" if broken.size > 1 else ""
        raise ValueError(
            f"{name}: score {first} (bucket {buckets[first] or ''!r}) is {values[first]:g}{others}: "
            "scores are 0 or above, lower is closer to human"
        )


def _check_collapse(
    values: npt.NDArray[np.float64], buckets: Sequence[str], responses: Sequence[str] | None, name: str
) -> None:
    """Refuse scores that tell nothing."""
    import numpy as np

    scored = np.flatnonzero(~np.isnan(values)).tolist()
    if not scored and len(values) >= _MANY_SCORES:
        raise ValueError(
            f"{name}: none of {len(values):,} responses has a score, the first in bucket {buckets[0]!r}: "
            "no bucket has humans to compare with; check that the reference and the data have the same schema"
        )
    if len(scored) < _MANY_SCORES or np.ptp(values[scored]) > 0:
        return
    different = len(scored) if responses is None else len({responses[at] for at in scored})
    if different >= _MANY_RESPONSES:
        kinds = f"{different:,} different, in {counted(len({buckets[at] for at in scored}), 'bucket')}"
        raise ValueError(
            f"{name} has collapsed: {len(scored):,} responses ({kinds}) all have the score {values[scored[0]]:g}; "
            "check that the critic is trained, and that it is given the responses' texts"
        )


def _summary(values: npt.NDArray[np.float64]) -> BucketScores:
    import numpy as np

    scored = values[~np.isnan(values)]
    missing = len(values) - len(scored)
    if not scored.size:
        return BucketScores(len(values), missing, math.nan, math.nan, math.nan)
    mean = math.fsum(scored.tolist()) / len(scored)
    return BucketScores(len(values), missing, mean, float(scored.min()), float(scored.max()))


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}"
