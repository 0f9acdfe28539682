"""What a reference says of a target, and of a response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Resolved:
    """Which humans stand for a target."""

    target: str
    """The target: a bucket's id, with ``*`` for all values of an axis."""
    served_by: str | None
    """The target itself, or its nearest ancestor with enough humans; ``None``: nobody."""
    rows: int | None
    """How many humans these are."""
    reason: str | None
    """Why nobody serves."""
    backed_off: int
    """How many features are served by an ancestor further off, for want of humans for whom they are defined."""
    undefined: int
    """How many features nobody serves."""
    features: Mapping[str, str | None]
    """By feature: which bucket, or buckets taken together, serve it."""


@dataclass(frozen=True)
class Outside:
    """A feature that puts a response outside."""

    feature: str
    """Its name."""
    value: float
    """The response's value."""
    low: float
    """Where the band of most humans begins."""
    high: float
    """Where it ends."""
    counts: float
    """What it adds to the sum whose mean is the distance, 0 to 5."""
    cdf: float
    """The share of humans with a value that is not above the response's."""
    share: float
    """The share of humans that are strictly less far out on that side."""
    words: str
    """All of that in words."""


@dataclass(frozen=True, repr=False)
class Explanation:
    """How far a response is from its bucket's humans, and why. ``print(explanation)`` says it in words."""

    bucket: str
    """The target it was scored against."""
    served_by: str | None
    """Whose humans served it."""
    distance: float | None
    """The support distance."""
    percentile: float | None
    """The share of humans that are closer."""
    reason: str | None
    """Why there is no distance."""
    outside: tuple[Outside, ...]
    """The features that put it outside, those that count most first."""

    def __str__(self) -> str:
        if self.distance is None:
            return f"no distance from {self.bucket}: {self.reason}"
        rank = "" if self.percentile is None else f", further out than {self.percentile:.0%} of humans"
        served = "" if self.served_by == self.bucket else f" (served by {self.served_by})"
        lines = [f"distance {self.distance:.3f} from {self.bucket}{served}{rank}"]
        return "\n".join(lines + [f"  {outside.words}" for outside in self.outside])

    def __repr__(self) -> str:
        distance = "no distance" if self.distance is None else f"distance {self.distance:.3f}"
        return f"<Explanation {self.bucket}: {distance}, {len(self.outside):,} named>"
