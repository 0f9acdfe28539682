"""Both sides that a classifier learns: humans; and a model's samples and what attacks make of humans."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign._text.words import counted
from polyalign.buckets import _ids
from polyalign.buckets._schema import axis_names
from polyalign.critics import attacks
from polyalign.critics._calibration import MIN_COUNT, Calibration

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.buckets import BucketSchema

#: An end in mid-sentence is what texts cut to equal length have as well; the others are people's own words.
_NOT_LEARNT = ("cut_short", "constant")
_OTHER = "other_prompt"


@dataclass
class Rows:
    """What people said, and a model to the same prompts."""

    responses: list[str]
    buckets: list[str]
    samples: list[str | None]
    prompts: list[Any] | None
    groups: list[str]
    cut: list[bool]
    """Whether a limit of tokens has cut the sample."""

    @classmethod
    def of(
        cls, responses: Any, buckets: Any, samples: Any, *, prompts: Any = None, groups: Any = None, cut: Any = None
    ) -> Rows:
        given = {"responses": responses, "buckets": buckets, "samples": samples, "prompts": prompts, "groups": groups}
        given["cut"] = cut
        lengths = {name: len(value) for name, value in given.items() if value is not None}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
            raise ValueError(f"lengths differ ({told}): give one for each")
        told_groups = [str(at) for at in range(len(responses))] if groups is None else [str(group) for group in groups]
        samples = [sample or None for sample in samples]
        told_cut = [False] * len(samples) if cut is None else list(map(bool, cut))
        return cls(list(responses), list(buckets), samples, prompts, told_groups, told_cut)

    def split(self, share: float) -> tuple[Rows, Rows]:
        """Part them by the hash of their group: so much goes into the second."""
        if not 0 < share < 1:
            raise ValueError(f"held_out is {share}: it must be between 0 and 1")
        hashes = [hashlib.blake2b(group.encode(), digest_size=8).digest() for group in self.groups]
        held = [int.from_bytes(found, "big") < share * 2**64 for found in hashes]
        return self._taken(not value for value in held), self._taken(held)

    def parted(self, share: float, schema: BucketSchema) -> tuple[Rows, Rows]:
        """Part them into those to train on and those to calibrate with; refuse what will not do, before the work.

        Raises
        ------
        ValueError
            A bucket that is none under the schema; too few of either.
        """
        axes = axis_names(schema)
        for bucket in set(self.buckets):
            _ids.checked_parts(bucket, axes)
        known, unseen = self.split(share)
        known.check()
        Calibration.fit(np.zeros(len(unseen.buckets)), unseen.buckets, axes=axes)
        return known, unseen

    def _taken(self, keep: Iterable[bool]) -> Rows:
        at = [row for row, kept in enumerate(keep) if kept]
        prompts = None if self.prompts is None else [self.prompts[row] for row in at]
        responses, buckets = ([column[row] for row in at] for column in (self.responses, self.buckets))
        samples = [self.samples[row] for row in at]
        groups, cut = [self.groups[row] for row in at], [self.cut[row] for row in at]
        return Rows(responses, buckets, samples, prompts, groups, cut)

    def check(self) -> None:
        samples = sum(sample is not None for sample in self.samples)
        for count, what in ((len(self.responses), "human"), (samples, "sample")):
            if count < MIN_COUNT:
                raise ValueError(
                    f"{counted(count, what)} to train on: {MIN_COUNT} at least are needed of each side, beside "
                    "those that calibrate: answer more prompts"
                )


class Examples:
    """Texts of both sides with their weights; `rows` are those that they are made of."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.rows: list[int] = []
        self.machine: list[bool] = []
        self.weights: list[float] = []
        #: Whether it is a human's answer, but to another prompt.
        self.misplaced: list[bool] = []

    def add(
        self, made: Iterable[tuple[int, str | None]], machine: bool, weight: float, *, misplaced: bool = False
    ) -> None:
        found = [(row, text) for row, text in made if text is not None]
        self.texts += [text for _, text in found]
        self.rows += [row for row, _ in found]
        self.machine += [machine] * len(found)
        self.weights += [weight / max(1, len(found))] * len(found)
        self.misplaced += [misplaced] * len(found)

    def balanced(self, buckets: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return weights of mean 1 with which both sides weigh the same in each bucket."""
        weights, machine = np.array(self.weights), np.array(self.machine)
        _, bucket = np.unique([buckets[row] for row in self.rows], return_inverse=True)
        sums = [np.bincount(bucket, weights * side) for side in (~machine, machine)]
        smaller = np.minimum(*sums)
        for side, total in zip((~machine, machine), sums, strict=True):
            weights[side] *= (smaller / np.maximum(total, 1e-300))[bucket[side]]
        weights /= weights.mean()
        return weights


def examples_of(rows: Rows, seed: int) -> Examples:
    """Return both sides: humans, whole and cut to their sample's length; samples likewise, and attacks, half each.

    A sample that a limit of tokens has cut is there at equal length alone: its end would tell of the limit.
    """
    found = Examples()
    both = [at for at, sample in enumerate(rows.samples) if sample is not None]
    samples = [rows.samples[at] or "" for at in both]
    cut_humans, cut_samples = attacks.equal_length(
        [rows.responses[at] for at in both], samples, [rows.buckets[at] for at in both]
    )
    found.add(enumerate(rows.responses), False, 1.0)
    found.add(zip(both, cut_humans, strict=True), False, 0.5)
    whole = [(at, sample) for at, sample in zip(both, samples, strict=True) if not rows.cut[at]]
    found.add(whole, True, 0.5 if whole else 0.0)
    found.add(zip(both, cut_samples, strict=True), True, 0.5 if whole else 1.0)
    made = _attacks(rows, seed)
    for name, texts in made.items():
        found.add(enumerate(texts), True, 1.0 / len(made), misplaced=name == _OTHER)
    return found


def _attacks(rows: Rows, seed: int) -> dict[str, list[str | None]]:
    """Return each attack that a single response can show."""
    learnt = [name for name in attacks.ATTACKS if name not in _NOT_LEARNT]
    if rows.prompts is None:
        learnt.remove(_OTHER)
    return attacks.battery(rows.responses, rows.buckets, attacks=learnt, seed=seed)
