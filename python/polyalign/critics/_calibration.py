"""Where held-out humans' scores lie, bucket by bucket: what turns a critic's score into a percentile."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign._io import responses as texts_of
from polyalign._text.words import counted
from polyalign.buckets import _ids
from polyalign.buckets._schema import axis_names

if TYPE_CHECKING:
    from typing import Self

    import numpy.typing as npt

    from polyalign.buckets import BucketSchema

#: At the most so many order statistics are kept of a level.
_KEPT = 1024
MIN_COUNT = 20
#: The score, as −ln of a probability, of what says nothing: no classifier's is above.
SURE = 50.0


class Calibration:
    """Held-out humans' scores by bucket, as order statistics; fewer than `min_count` back off to an ancestor's.

    A percentile is read as "further out than this share of the bucket's humans". Between the humans it is interpolated,
    equal scores have the middle of their ranks, and beyond the furthest of n it rises from n/(n+1) towards 1, so that
    of two responses the further one is always told.

    Parameters
    ----------
    humans : mapping from str to numpy.ndarray of float64
        By level (a bucket, or one with ``*`` for all values of an axis), the sorted scores of at least two humans.
    axes : sequence of str
        What the parts of an id are.

    Examples
    --------
    >>> scores, bucket = np.arange(99) / 10, "en|single|qa|short"
    >>> calibration = Calibration.fit(scores, [bucket] * 99)
    >>> calibration.percentile([0.0, 4.9, 9.8, 50.0], [bucket, bucket, "en|multi|chat|short", "fr|single|qa|short"])
    array([0.01, 0.5 , 0.99,  nan], dtype=float32)
    """

    def __init__(self, humans: Mapping[str, npt.NDArray[np.float64]], axes: Sequence[str] = _ids.DEFAULT_AXES) -> None:
        self.axes = tuple(axes)
        self.humans = dict(sorted(humans.items()))
        self._curves = {level: _Curve(scores) for level, scores in self.humans.items()}

    @classmethod
    def fit(
        cls,
        scores: npt.ArrayLike,
        buckets: Sequence[str],
        *,
        axes: Sequence[str] = _ids.DEFAULT_AXES,
        min_count: int = MIN_COUNT,
    ) -> Calibration:
        """Calibrate with held-out humans.

        Parameters
        ----------
        scores : array_like of float, shape (n,)
            The critic's, of humans that it was not trained on. NaN: left out.
        buckets : sequence of str, length n
        axes : sequence of str
            The schema's.
        min_count : int, default 20
            A level with fewer humans is left to its ancestors.

        Raises
        ------
        ValueError
            Lengths that differ; no level has enough humans.
        """
        values = np.asarray(scores, dtype=np.float64)
        if values.shape != (len(buckets),):
            raise ValueError(f"scores of shape {list(values.shape)} for {len(buckets):,} buckets: give one for each")
        levels: dict[str, list[int]] = {}
        ancestors = {bucket: _ids.targets(bucket, axes) for bucket in sorted(set(buckets))}
        for at in np.flatnonzero(~np.isnan(values)).tolist():
            for level in ancestors[buckets[at]]:
                levels.setdefault(level, []).append(at)
        humans = {
            level: _thinned(np.sort(values[rows])) for level, rows in levels.items() if len(rows) >= max(2, min_count)
        }
        if not humans:
            most = max(Counter(buckets).values(), default=0)
            raise ValueError(
                f"nobody to calibrate with: {counted(len(buckets), 'held-out human')}, at most {most:,} in a bucket, "
                f"fewer than {max(2, min_count)} with a score in any language"
            )
        return cls(humans, axes)

    def percentile(self, scores: npt.ArrayLike, buckets: Sequence[str | None]) -> npt.NDArray[np.float32]:
        """Return how far out scores are among the humans of their buckets.

        Parameters
        ----------
        scores : array_like of float, shape (n,)
        buckets : sequence of str, length n

        Returns
        -------
        numpy.ndarray of float32, shape (n,)
            0 to 1; NaN: no score, or no humans of the language.
        """
        values = np.asarray(scores, dtype=np.float64)
        found = np.full(len(values), np.nan)
        rows: dict[str, list[int]] = {}
        for at, bucket in enumerate(buckets):
            rows.setdefault(bucket or "", []).append(at)
        for bucket, places in rows.items():
            level = self.serving(bucket)
            if level is not None:
                found[places] = self._curves[level](values[places])
        return found.astype(np.float32)

    def serving(self, bucket: str) -> str | None:
        """Return the level whose humans stand for a bucket, or for a level such as ``en|single|qa|*``.

        Itself, or its nearest ancestor; ``None``: nobody.
        """
        try:
            levels = _levels(bucket, self.axes)
        except ValueError:
            return None
        return next((level for level in levels if level in self.humans), None)

    def tensors(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return what is to be saved, by name."""
        return {f"calibration/{level}": scores for level, scores in self.humans.items()}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, npt.NDArray[np.float64]], axes: Sequence[str], name: str
    ) -> Calibration:
        """Take what was saved.

        Raises
        ------
        ValueError
            It is not what :meth:`tensors` gave; the message begins with `name`.
        """
        humans = {}
        for key, scores in tensors.items():
            head, _, level = key.partition("/")
            if head != "calibration":
                continue
            ordered = scores.ndim == 1 and len(scores) >= 2 and bool((np.diff(scores) >= 0).all())
            if scores.dtype != np.float64 or not ordered or not np.isfinite(scores[[0, -1]]).all():
                raise ValueError(f"{name}: tensor {key!r} is not a row of sorted scores")
            humans[level] = scores
        return cls(humans, axes)

    @classmethod
    def of_saved(cls, saved: Any) -> Calibration | None:
        """Take what a saved critic (`_saved.Saved`) holds; ``None``: not calibrated; ``ValueError``: it is damaged."""
        found = cls.from_tensors(saved.tensors, axis_names(saved.schema), str(saved.folder))
        return found if len(found) else None

    def __len__(self) -> int:
        return len(self.humans)

    def __repr__(self) -> str:
        return f"<Calibration of {counted(len(self.humans), 'level')}>"


def _levels(bucket: str, axes: Sequence[str]) -> list[str]:
    """Return a bucket or level and its ancestors, nearest first; ``ValueError`` unless it may be one of a language."""
    parts = _ids.split(bucket)
    open_axes = [at for at, part in enumerate(parts) if part == _ids.ALL]
    if any(at < len(axes) and axes[at] == "language" for at in open_axes):
        raise ValueError(f"level {bucket!r} is of no language")
    for at in open_axes:
        parts[at] = "any"
    found = []
    for level in _ids.targets(_ids.joined(parts), axes):
        parts = _ids.split(level)
        for at in open_axes:
            parts[at] = _ids.ALL
        found.append(_ids.joined(parts))
    return found


class CalibratedCritic(ABC):
    """A critic that was trained on some humans and is calibrated with others."""

    schema: BucketSchema
    calibration: Calibration | None
    #: Hashes of the humans that it was trained on, with their prompts.
    _trained: npt.NDArray[np.uint64]

    @abstractmethod
    def score(
        self, responses: Sequence[str], buckets: Sequence[str | None], prompts: Sequence[Any] | None = None
    ) -> npt.NDArray[np.float32]:
        """Score responses."""

    def percentile(
        self, responses: Sequence[str], buckets: Sequence[str | None], prompts: Sequence[Any] | None = None
    ) -> npt.NDArray[np.float32]:
        """Return how far out responses are among held-out humans of their buckets, 0 to 1.

        Raises
        ------
        ValueError
            It is not calibrated.
        """
        if self.calibration is None:
            raise ValueError("the critic is not calibrated: calibrate it with humans that it was not trained on")
        return self.calibration.percentile(self.score(responses, buckets, prompts), buckets)

    def calibrate(
        self,
        responses: Sequence[str],
        buckets: Sequence[str],
        *,
        prompts: Sequence[Any] | None = None,
        min_count: int = MIN_COUNT,
    ) -> Self:
        """Return it calibrated with humans that it was not trained on.

        Raises
        ------
        ValueError
            It was trained on more than half of them (with their prompts); too few of them.
        """
        seen = np.isin(keys_of(responses, prompts), self._trained)
        if seen.size and seen.mean() > 0.5:
            raise ValueError(
                f"{int(seen.sum()):,} of {counted(len(responses), 'human')} are what the critic was trained on: "
                "calibrate it with others"
            )
        scores = self.score(responses, buckets, prompts)
        self.calibration = Calibration.fit(scores, buckets, axes=axis_names(self.schema), min_count=min_count)
        return self


def keys_of(responses: Sequence[str], prompts: Sequence[Any] | None) -> npt.NDArray[np.uint64]:
    """Return a hash of each response with its prompt."""
    asked = texts_of.prompts(prompts) or [None] * len(responses)
    told = (
        repr((text, prompt)).encode("utf-8", "surrogatepass") for text, prompt in zip(responses, asked, strict=True)
    )
    found = [int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") for key in told]
    return np.array(found, dtype=np.uint64)


def _thinned(ordered: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return at most so many order statistics, evenly spaced, the ends among them."""
    if len(ordered) <= _KEPT:
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, _KEPT).round().astype(np.int64)]


class _Curve:
    """From scores to percentiles."""

    def __init__(self, humans: npt.NDArray[np.float64]) -> None:
        count = len(humans)
        scores, first, equal = np.unique(humans, return_index=True, return_counts=True)
        ranks = (first + (equal + 1) / 2) / (count + 1)
        if scores[0] > 0:  # a response may be closer than all of them
            scores, ranks = np.append(0.0, scores), np.append(0.0, ranks)
        self.scores, self.ranks = scores, ranks
        self.beyond = 1 - ranks[-1]
        # How fast the tail is left: the humans' own spread, or what is there of a scale.
        self.scale = float(np.std(humans)) or float(abs(humans[-1])) or 1.0

    def __call__(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        found = np.interp(values, self.scores, self.ranks)
        furthest = self.scores[-1]
        # Slowly, so that float32 tells even far ones apart.
        tail = 1 - self.beyond / (1 + np.maximum(values - furthest, 0) / self.scale)
        found = np.where(values > furthest, tail, found)
        return np.where(np.isnan(values), np.nan, found)
