"""How far answers are from people's, with intervals: what the demo's table consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign.critics import ask_percentiles

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.float64]

__all__ = ["MEASURES", "Judges", "Measure", "Stage", "difference"]

_DRAWS = 1000
_FAR = 0.95
#: What is measured, and what it is called.
MEASURES = {
    "percentile": "trained against",
    "beyond": "beyond 95%",
    "held_out_percentile": "never trained against",
    "held_out_beyond": "beyond 95%",
    "apart": "as a set",
    "characters": "characters",
}


@dataclass(frozen=True)
class Measure:
    """A number, and the interval that holds it in 95 of 100 such samples of conversations."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, drawn: Numbers) -> Measure:
        low, high = np.nanquantile(drawn, (0.025, 0.975))
        return cls(value, float(low), float(high))

    def of_share(self, groups: int) -> Measure:
        """Return it with room where no resample differs: none, or all, of n may well be 3/n of very many."""
        if self.low < self.high or self.value not in (0, 1):
            return self
        room = min(1.0, 3 / groups)
        return Measure(self.value, max(0.0, self.value - room), min(1.0, self.value + room))


@dataclass(frozen=True)
class Stage:
    """A model's answers to the held-out prompts, or people's, and how far they are from people's."""

    name: str
    answers: list[str]
    measures: dict[str, Measure]
    """By the names of `MEASURES`."""
    drawn: dict[str, Numbers]
    """The same of each resample, shape [draws]; those of two models are of the same conversations."""


class Judges:
    """What measures answers.

    Parameters
    ----------
    critic : Critic
        What was trained against, with percentiles.
    held_out : Critic
        What was not.
    encoder : callable
        From texts to vectors, shape [n, dimension], and whether each was cut: what sets of answers are compared in.
    people : sequence of str
        Other people's answers, a conversation each, that sets are compared with.
    """

    def __init__(self, critic: Any, held_out: Any, encoder: Callable[..., Any], people: Sequence[str]) -> None:
        self._critics = {"": critic, "held_out_": held_out}
        self._encoder = encoder
        self._people = self._vectors(people)

    def measured(self, name: str, rows: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> Stage:
        """Measure the answers to rows with a bucket, a prompt and a group; whole groups are resampled."""
        groups = np.array([row["group"] for row in rows])
        weights = _resampled(groups)
        buckets, prompts = [row["bucket"] for row in rows], [row["prompt"] for row in rows]
        each: dict[str, Numbers] = {"characters": np.array([len(answer) for answer in answers], dtype=np.float64)}
        for which, critic in self._critics.items():
            found = ask_percentiles(critic, answers, buckets, prompts).astype(np.float64)
            each[f"{which}percentile"] = found
            each[f"{which}beyond"] = np.where(np.isnan(found), np.nan, found > _FAR)
        drawn = {what: _means(values, weights) for what, values in each.items()}
        drawn["apart"] = self._apart(self._vectors(answers), weights, groups[:, None] != groups)
        # The first of the weights are those of the rows as they are.
        measures = {what: Measure.of(float(drawn[what][0]), drawn[what][1:]) for what in MEASURES}
        for what in ("beyond", "held_out_beyond"):
            measures[what] = measures[what].of_share(len(set(groups)))
        return Stage(name, list(answers), measures, {what: values[1:] for what, values in drawn.items()})

    def _vectors(self, texts: Sequence[str]) -> Numbers:
        """Return a vector of length 1 for each text; of a blank one, 0."""
        said = [at for at, text in enumerate(texts) if text.strip()]
        found, _ = self._encoder([texts[at] for at in said])
        vectors = np.zeros((len(texts), found.shape[1]))
        vectors[said] = found / np.linalg.norm(found, axis=1, keepdims=True)
        return vectors

    def _apart(self, vectors: Numbers, weights: Numbers, are_two: npt.NDArray[np.bool_]) -> Numbers:
        """Return the energy distance 2 E|x − y| − E|x − x′| − E|y − y′| of each resample, y being other people's.

        It is unbiased: no answer is compared with one of the same conversation, nor with its copies in a resample.
        """
        people = self._people
        across = _distances(vectors, people).mean(axis=1)
        among_people = _distances(people, people).sum() / (len(people) * (len(people) - 1))
        with np.errstate(invalid="ignore"):  # a resample of one conversation alone has no pair
            among = _pairs(weights, _distances(vectors, vectors) * are_two) / _pairs(weights, are_two)
        found: Numbers = 2 * (weights @ across) / weights.sum(axis=1) - among - among_people
        return found


def difference(after: Stage, before: Stage, what: str) -> Measure:
    """Return by how much a measure changed on the same prompts."""
    change = after.measures[what].value - before.measures[what].value
    return Measure.of(change, after.drawn[what] - before.drawn[what])


def _resampled(groups: npt.NDArray[np.str_]) -> Numbers:
    """Return how often each row is in the sample itself, then in resamples of whole groups: [1 + draws, n]."""
    names, place = np.unique(groups, return_inverse=True)
    counts = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=_DRAWS)
    return np.concatenate([np.ones((1, len(groups))), counts[:, place]]).astype(np.float64)


def _means(values: Numbers, weights: Numbers) -> Numbers:
    """Return the weighted means of what is a number."""
    known = ~np.isnan(values)
    found: Numbers = (weights[:, known] @ values[known]) / weights[:, known].sum(axis=1)
    return found


def _pairs(weights: Numbers, of_pairs: npt.NDArray[Any]) -> Numbers:
    """Return the sum over pairs, each with the weights of both."""
    found: Numbers = ((weights @ of_pairs) * weights).sum(axis=1)
    return found


def _distances(x: Numbers, y: Numbers) -> Numbers:
    squared = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None, :] - 2 * x @ y.T
    found: Numbers = np.sqrt(np.maximum(squared, 0))
    return found
