"""Which of several samples of a record are its pair."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from polyalign import _core
from polyalign.critics._protocol import is_calibrated

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    _Indices = npt.NDArray[np.int64]

Select = Literal["all", "first", "furthest", "divpo"]
SELECTS: tuple[Select, ...] = get_args(Select)
#: Percentiles among humans: up to the first a sample is good, beyond the second it is bad.
THRESHOLD = (0.5, 0.9)
#: What of a pair's type a selection says, by the names that the published code has.
_PAIR_TYPES = {"furthest": "local", "divpo": "distribution"}
_HUMAN = -1


@dataclass(frozen=True)
class Selection:
    """How a record's samples become pairs."""

    select: Select = "all"
    threshold: tuple[float, float] = THRESHOLD

    def __post_init__(self) -> None:
        if self.select not in SELECTS:
            raise ValueError(f"select is {self.select!r}: it must be one of {', '.join(SELECTS)}")
        good, bad = self.threshold
        if not 0 <= good <= bad < 1:
            raise ValueError(
                f"threshold is {self.threshold}: it must be two percentiles, rising, of 0 or more and below 1"
            )

    @property
    def pair_type(self) -> str | None:
        """The type of the pairs; ``None``: they are ordinary ones."""
        return _PAIR_TYPES.get(self.select)

    def check(self, critic: Any, most: int | None) -> None:
        """Refuse to select without what it takes: a critic, and records of which there are several samples.

        `most` is how many samples a record has at the most; ``None``: there are preferences in their place.
        """
        if self.select == "all":
            return
        if most is None:
            raise ValueError(f"select {self.select!r} is of samples, and these are preferences: give samples too")
        if self.select == "first":
            return
        what = f"select {self.select!r}"
        if critic is None:
            raise ValueError(f"{what} asks how far samples are from humans: give a reference or a critic")
        if self.select == "divpo" and not is_calibrated(critic):
            raise ValueError(
                f"{what} asks for percentiles among humans, and {type(critic).__name__} has no method percentile: "
                "give a reference, or a critic that is calibrated"
            )
        if most == 1:
            raise ValueError(f"{what} chooses among the samples of a record, and none has more than one: generate more")

    def told(self, tally: Counter[str]) -> dict[str, Any] | None:
        """Return what a report says of it."""
        if self.select == "all":
            return None
        told: dict[str, Any] = {"select": self.select, "records": tally["records"]}
        if self.select != "first":
            told |= {"single": tally["single"], "tied": tally["tied"]}
        if self.select == "divpo":
            told |= {"threshold": list(self.threshold), "samples_chosen": tally["samples_chosen"]}
        return told

    def pick(self, scored: Scored, texts: Texts | None) -> Picked:
        """Choose among candidates."""
        import numpy as np

        if self.select == "all" or not len(scored.of):
            return Picked(np.arange(len(scored.of)), np.full(len(scored.of), _HUMAN))
        if self.select == "divpo":
            return _divpo(scored, texts, self.threshold)
        return _least(scored.of, -scored.rejected if self.select == "furthest" else np.zeros(len(scored.of)))


@dataclass(frozen=True)
class Scored:
    """Candidates that can be pairs, those of a record together."""

    of: _Indices
    """Whose record each is, rising, [m]."""
    rejected: npt.NDArray[np.float32]
    """The score of each; zeros where nothing scores."""
    percentile: npt.NDArray[np.float32] | None
    """What share of humans is closer, of a critic that is calibrated."""


@dataclass(frozen=True)
class Texts:
    """What the candidates and their records' humans say."""

    rejected: Sequence[str]
    human: Sequence[str]
    """Of each candidate's record."""
    languages: Sequence[str]


@dataclass(frozen=True)
class Picked:
    """What was chosen of candidates, by their numbers."""

    rejected: _Indices
    """Those that are rejected responses of pairs, [p]."""
    chosen: _Indices
    """Beside each the candidate that is chosen; -1: the human response, [p]."""
    left: Mapping[str, _Indices] = field(default_factory=dict)
    """Those that make no pair, by kind."""
    tally: Counter[str] = field(default_factory=Counter)
    """Of the records, how many had a single candidate, and how many of them several that were as good."""


def _starts(of: _Indices) -> _Indices:
    """Return where the candidates of each record begin."""
    import numpy as np

    return np.flatnonzero(np.diff(of, prepend=-1))


def _tally(of: _Indices, **more: int) -> Counter[str]:
    import numpy as np

    sizes = np.diff([*_starts(of), len(of)])
    return Counter(records=len(sizes), single=int((sizes == 1).sum()), **more)


def _least(of: _Indices, cost: npt.NDArray[Any]) -> Picked:
    """Take of each record the candidate with the least cost, of equal ones the first."""
    import numpy as np

    starts = _starts(of)
    group = np.cumsum(np.diff(of, prepend=-1) != 0) - 1
    is_least = cost == np.minimum.reduceat(cost, starts)[group]
    at = np.flatnonzero(is_least)
    _, first = np.unique(group[at], return_index=True)
    taken = at[first]
    left = np.setdiff1d(np.arange(len(of)), taken)
    tied = int((np.add.reduceat(is_least.astype(np.int64), starts) > 1).sum())
    return Picked(taken, np.full(len(taken), _HUMAN), {"not_selected": left}, _tally(of, tied=tied))


def _divpo(scored: Scored, texts: Texts | None, threshold: tuple[float, float]) -> Picked:
    """Take of each record the most diverse response that is good, and the least diverse one that is bad.

    Lanchantin et al. 2025. The human response is good, whatever the critic says of it.
    """
    import numpy as np

    good, bad = threshold
    assert texts is not None
    assert scored.percentile is not None, "`Selection.check` has seen to it"
    grams = _grams([*texts.rejected, *texts.human], [*texts.languages, *texts.languages])
    rejected, chosen, tied = [], [], 0
    left: dict[str, list[int]] = {"none_bad": [], "chosen_sample": [], "not_selected": []}
    starts = _starts(scored.of).tolist()
    for start, end in zip(starts, [*starts[1:], len(scored.of)], strict=True):
        rows = range(start, end)
        diversity = _diversity([grams[len(scored.of) + start], *(grams[row] for row in rows)])
        of = dict(zip((_HUMAN, *rows), diversity, strict=True))
        worst = [row for row in rows if scored.percentile[row] > bad]
        if not worst:
            left["none_bad"] += rows
            continue
        best = [_HUMAN, *(row for row in rows if scored.percentile[row] <= good)]
        taken = max(best, key=of.__getitem__), min(worst, key=of.__getitem__)
        tied += sum(sum(of[row] == of[at] for row in among) > 1 for at, among in zip(taken, (best, worst), strict=True))
        chosen.append(taken[0])
        rejected.append(taken[1])
        left["chosen_sample"] += [at for at in taken[:1] if at != _HUMAN]
        left["not_selected"] += [row for row in rows if row not in taken]
    return Picked(
        np.array(rejected, dtype=np.int64),
        np.array(chosen, dtype=np.int64),
        {kind: np.array(rows, dtype=np.int64) for kind, rows in left.items()},
        _tally(scored.of, tied=tied, samples_chosen=sum(at != _HUMAN for at in chosen)),
    )


def _grams(texts: Sequence[str], languages: Sequence[str]) -> list[frozenset[tuple[str, ...]]]:
    """Return the words of each text, and its pairs of neighbouring ones, without regard to case."""
    from polyalign.critics.attacks import known_languages

    cut = _core.cut_words([text.lower() for text in texts], known_languages(languages))
    return [frozenset([*((word,) for word in words), *itertools.pairwise(words)]) for words in cut]


def _diversity(grams: Sequence[frozenset[tuple[str, ...]]]) -> list[float]:
    """Return the mean distance of each response to the others: the share of their n-grams that only one of two has."""
    sums = [0.0] * len(grams)
    for at, one in enumerate(grams):
        for other in range(at):
            union = len(one | grams[other])
            apart = 1 - len(one & grams[other]) / union if union else 0.0
            sums[at] += apart
            sums[other] += apart
    # Equal means differ in their last digits by the order of their sums.
    return [round(total / (len(grams) - 1), 9) for total in sums]
