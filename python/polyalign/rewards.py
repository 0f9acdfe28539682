"""Reward functions for TRL: how close a completion is to the humans of its bucket.

Each function here makes one, for ``GRPOTrainer(reward_funcs=…)`` and whatever else takes TRL's rewards::

    reward(completions, prompts=None, bucket=…, **columns) -> list of float or None

Completions are texts or message lists, prompts likewise; of a completion its answer counts, without reasoning. The data
set's column of bucket ids (`bucket_column`) is handed to the function by TRL; :meth:`polyalign.Bucketer.assign` appends
it. A reward is ``-scale`` times a cost that is 0 or above (but for :func:`distribution`), and bounded unless an
uncalibrated critic gives it. ``None``
is no reward, in TRL: for what a row is at fault, as a bucket without humans, and for a tool call without an answer. An
empty answer has the highest cost: it must not be a way out.

Examples
--------
>>> import polyalign as pa
>>> reference = pa.Reference.from_arrow(pa.reference.example_table())
>>> reward = pa.rewards.support(reference)
>>> [round(value, 2) for value in reward(["Yes, it does."], bucket=["en|single|qa|short"])]
[0.0]
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from polyalign.critics import FURTHEST, Critic, ask_floored
from polyalign.critics._floor import check_floor
from polyalign.critics._given import as_critic

if TYPE_CHECKING:
    from polyalign.reference import Reference

__all__ = ["combine", "critic", "distribution", "language", "length", "support"]

_UNMEASURABLE = {
    "the response is empty",
    "fewer than half of the features are defined for the response",
}
#: A text with fewer letters than these, which many languages have, tells no language.
_FEW_LETTERS = 20

Reward = Callable[..., list["float | None"]]


@dataclass(frozen=True)
class _Batch:
    """What a reward function is asked about, n of each."""

    texts: list[str]
    """The completions."""
    answers: list[str]
    """They without their reasoning."""
    buckets: list[str]
    """Empty where a row has none."""
    prompts: Sequence[Any] | None


def _made(name: str, costs: Callable[[_Batch], Sequence[float]], scale: float, bucket_column: str | None) -> Reward:
    """Make a reward function of what a batch costs, NaN where there is no saying; TRL logs it by its name."""
    if not 0 < scale < math.inf:
        raise ValueError(f"scale is {scale}: it must be a number above 0")

    def reward(completions: Sequence[Any], prompts: Sequence[Any] | None = None, **columns: Any) -> list[float | None]:
        from polyalign import _core
        from polyalign._io import responses

        texts = list(responses.texts("completions", list(completions)))
        answers = _core.answers(texts)
        buckets = [""] * len(texts) if bucket_column is None else _buckets(columns, bucket_column, len(texts))
        found = zip(completions, answers, costs(_Batch(texts, answers, buckets, prompts)), strict=True)
        return [
            None if math.isnan(cost) or (_calls_tools(completion) and not answer.strip()) else 0.0 - scale * cost
            for completion, answer, cost in found
        ]

    reward.__name__ = reward.__qualname__ = f"{name}_reward"
    return reward


def _buckets(columns: Any, name: str, count: int) -> list[str]:
    buckets = columns.get(name)
    if buckets is None:
        raise ValueError(f"the data set has no column {name!r}: Bucketer.assign appends it")
    if len(buckets) != count:
        raise ValueError(f"{count} texts and {len(buckets)} buckets: give one for each text")
    return [bucket or "" for bucket in buckets]  # a row that was rejected has none


def _calls_tools(completion: Any) -> bool:
    return isinstance(completion, (list, tuple)) and bool(completion) and bool(completion[-1].get("tool_calls"))


def _check_reference(reference: Any) -> None:
    if not hasattr(reference, "support_distance"):
        raise TypeError(f"reference is a Reference, not {type(reference).__name__}: Reference.load reads a file")


def critic(
    critic: Critic | str | os.PathLike[str],
    *,
    bucket_column: str = "bucket",
    scale: float = 1.0,
    floor: Literal["median", "none"] = "median",
) -> Reward:
    """Make a reward function of any critic.

    The cost of a completion is how much further out it is than the median human of its row's bucket, where the critic
    is calibrated (:func:`~polyalign.critics.ask_floored`): 0 for whatever is as close as that one or closer, so that
    nothing is earned by being closer than humans are, and never above 1. Of a critic that is not calibrated, it is its
    score. The critic is given the prompts if it uses them.

    Parameters
    ----------
    critic : Critic or str
        Your own, or the folder of a saved one.
    bucket_column : str, default "bucket"
        The data set's column of bucket ids.
    scale : float, default 1.0
        Greater than 0.
    floor : {"median", "none"}, default "median"
        ``"none"``: the cost is the percentile itself, so that the closest of all is worth most.

    Returns
    -------
    callable
        A reward function.

    Raises
    ------
    TypeError
        `critic` is none.
    ValueError
        `scale` is not a number above 0, `floor` is none of these; when called: the column is not there, or a score is
        negative or infinite.

    Examples
    --------
    >>> import polyalign as pa
    >>> support = pa.critics.SupportCritic(pa.Reference.from_arrow(pa.reference.example_table()))
    >>> reward = critic(support)
    >>> reward(["Yes, it does.", ""], bucket=["en|single|qa|short"] * 2)
    [0.0, -1.0]
    """
    scorer = as_critic(critic)
    if scorer is None:
        raise TypeError("critic is None: give an object with score(responses, buckets), or a saved critic's folder")
    check_floor(floor)

    def costs(batch: _Batch) -> list[float]:
        found: list[float] = ask_floored(scorer, batch.texts, batch.buckets, batch.prompts, floor=floor).tolist()
        return found

    return _made("critic", costs, scale, bucket_column)


def distribution(
    reference: Reference,
    *,
    over: Literal["marginals", "rows"] = "marginals",
    features: Sequence[str] | str | None = None,
    pool: int = 64,
    bucket_column: str = "bucket",
    scale: float = 1.0,
) -> Reward:
    """Make a reward function of a whole batch: how its completions are distributed beside the humans of their buckets.

    The cost of a completion y is 2 (E d(y, H) − E d(y, Y′)), H the humans of its row's bucket and Y′ the bucket's
    completions for other prompts, in this call and of earlier ones: below 0 where humans are and the other completions
    are not, between -20 and 20 and mostly within 1. What lowers it on average lowers the energy distance between
    completions and humans, which one good reply to everybody does not
    (:class:`polyalign.distribution.DistributionTerm`). No reward where there are no completions for other prompts.

    Parameters
    ----------
    reference : Reference
        The human reference.
    over : {"marginals", "rows"}, default "marginals"
        Whether each feature's distribution is compared, or all features together.
    features : sequence of str, optional
        Names of features, or of groups. Default: all.
    pool : int, default 64
        So many completions of each bucket are kept from call to call, the last ones; 0: only those of a call count. The
        function keeps them: make one for each training. In TRL each process has its own.
    bucket_column, scale
        As of :func:`critic`.

    Returns
    -------
    callable
        A reward function.

    Raises
    ------
    TypeError, ValueError
        As of :class:`polyalign.distribution.DistributionTerm`; `scale` is not a number above 0; when called: the column
        or the prompts are not there.

    Examples
    --------
    >>> import polyalign as pa
    >>> reward = distribution(pa.Reference.from_arrow(pa.reference.example_table()))
    >>> asked = {"prompts": ["Is it?", "Was it?", "How many?"], "bucket": ["en|single|qa|short"] * 3}
    >>> one, again, other = reward(["Yes, it does.", "Yes, it does.", "About ten."], **asked)
    >>> one == again < other
    True
    """
    from polyalign.distribution import DistributionTerm, Pool

    term, earlier = DistributionTerm(reference, over=over, features=features), Pool(pool)

    def costs(batch: _Batch) -> list[float]:
        if batch.prompts is None:
            raise ValueError("completions are compared with those for other prompts, and no prompts are given")
        measured = term.measure(batch.texts, batch.buckets, batch.prompts)
        scores: list[float] = term.compare(measured, earlier.of(measured.buckets)).scores.tolist()
        earlier.add(measured)
        return scores

    return _made("distribution", costs, scale, bucket_column)


def support(reference: Reference, *, bucket_column: str = "bucket", scale: float = 1.0) -> Reward:
    """Make a reward function of the support distance.

    The cost of a completion is its support distance from the humans of its row's bucket: 0 for one that no human
    feature tells apart, 5 at the most, as for one that can't be measured.

    Parameters
    ----------
    reference : Reference
        The human reference.
    bucket_column, scale
        As of :func:`critic`.

    Returns
    -------
    callable
        A reward function.

    Raises
    ------
    TypeError
        `reference` is none.
    ValueError
        `scale` is not a number above 0; when called: the column is not there.
    """
    _check_reference(reference)

    def costs(batch: _Batch) -> list[float]:
        scores = reference.score(batch.texts, batch.buckets, prompts=batch.prompts)
        distances, reasons = ([value.as_py() for value in scores[name]] for name in ("distance", "reason"))
        scored = zip(distances, reasons, strict=True)
        return [FURTHEST if reason in _UNMEASURABLE else distance for distance, reason in scored]

    return _made("support", costs, scale, bucket_column)


def length(
    reference: Reference,
    *,
    feature: str = "char_count",
    band: tuple[float, float] = (0.1, 0.9),
    min_count: int = 20,
    bucket_column: str = "bucket",
    scale: float = 1.0,
) -> Reward:
    """Make a reward function of how long humans answer.

    Nothing is charged for a length between two quantiles of the humans of the row's bucket. Beyond them the cost is
    d / (1 + d), d being the distance from the nearer one over the distance of the two: so it goes on rising, and stays
    below 1. (A cost by rank, as 2F − 1 without its sign, is least at one single length, to which it would draw all
    answers, and says nothing more beyond the longest human.)

    Parameters
    ----------
    reference : Reference
        The human reference.
    feature : str, default "char_count"
        What a length is: another is ``"word_count"``.
    band : tuple of two floats, default (0.1, 0.9)
        The quantiles.
    min_count : int, default 20
        A bucket with fewer humans is served by a larger group.
    bucket_column, scale
        As of :func:`critic`.

    Returns
    -------
    callable
        A reward function.

    Raises
    ------
    TypeError
        `reference` is none.
    ValueError
        `scale` is not a number above 0, `feature` not one of the group ``length``, `band` not two rising quantiles;
        when called: the column is not there.

    Examples
    --------
    >>> import polyalign as pa
    >>> reward = length(pa.Reference.from_arrow(pa.reference.example_table()))
    >>> [round(value, 2) for value in reward(["Yes, it does.", "No! " * 20, ""], bucket=["en|single|qa|short"] * 3)]
    [0.0, -0.75, -1.0]
    """
    from polyalign.features import registry

    _check_reference(reference)
    lengths = [known for known in registry() if known.group == "length"]
    least = {known.name: known.scale for known in lengths}.get(feature)
    if least is None:
        raise ValueError(f"feature is {feature!r}: it must be one of {', '.join(known.name for known in lengths)}")
    if not 0 <= band[0] < band[1] <= 1:
        raise ValueError(f"band is {band}: it must be two rising quantiles such as (0.1, 0.9)")
    bands: dict[str, tuple[float, float]] = {}

    def band_of(bucket: str) -> tuple[float, float]:
        if bucket not in bands:
            try:
                bands[bucket] = reference.support(bucket, feature, band, min_count=min_count)
            except ValueError:  # no bucket, or none of these axes
                bands[bucket] = math.nan, math.nan
        return bands[bucket]

    def costs(batch: _Batch) -> list[float]:
        from polyalign import features
        from polyalign.critics.attacks import known_languages, languages_of

        languages = known_languages(languages_of(batch.buckets))
        measured = features.extract(batch.answers, languages, groups=["length"], keep_thinking=True)[feature]
        found = []
        for bucket, answer, value in zip(batch.buckets, batch.answers, measured, strict=True):
            low, high = band_of(bucket)
            if math.isnan(low):
                found.append(math.nan)
            elif not answer.strip():
                found.append(1.0)
            else:
                own = value.as_py()
                beyond = max(0.0, low - own, own - high) / max(high - low, least)
                found.append(beyond / (1 + beyond))
        return found

    return _made("length", costs, scale, bucket_column)


def language(*, scale: float = 1.0) -> Reward:
    """Make a reward function of whether an answer is in its prompt's language.

    The cost is 0 in the language of the user's last turn, 1 in another. Languages are told as
    :class:`polyalign.Bucketer` tells them. Where one can't be told the cost is 0; so it is where both are in Latin
    letters, of which one has fewer than 20: such a language is a guess.

    Parameters
    ----------
    scale : float, default 1.0
        Greater than 0.

    Returns
    -------
    callable
        A reward function.

    Raises
    ------
    ValueError
        `scale` is not a number above 0; when called: without prompts.

    Examples
    --------
    >>> reward = language()
    >>> reward(["不下雨，今天是晴天。", "No, it does not rain at all today."], prompts=["Does it rain today?"] * 2)
    [-1.0, 0.0]
    """

    def costs(batch: _Batch) -> list[float]:
        from polyalign.buckets import detect_languages

        asked = _asked(batch)
        rows = zip(asked, detect_languages(asked), batch.answers, detect_languages(batch.answers), strict=True)
        return [
            float(not answer.strip() or _differ(prompt, wanted, answer, own)) for prompt, wanted, answer, own in rows
        ]

    return _made("language", costs, scale, None)


def _asked(batch: _Batch) -> list[str]:
    """Return the user's last turns."""
    from polyalign._io import responses

    prompts = responses.prompts(batch.prompts)
    if prompts is None:
        raise ValueError("the language that is wanted is the prompt's, and no prompts are given")
    if len(prompts) != len(batch.texts):
        raise ValueError(f"{len(batch.texts)} texts and {len(prompts)} prompts: give one for each text")
    users = ([text for role, text in prompt or () if role == "user"] for prompt in prompts)
    return [turns[-1] if turns else "" for turns in users]


def _differ(asked: str, wanted: str, answer: str, own: str) -> bool:
    """Whether an answer is in another language than was wanted, as far as can be told."""
    if wanted == own or "und" in (wanted, own):
        return False
    both = ["".join(filter(str.isalpha, text)) for text in (asked, answer)]
    return min(map(len, both)) >= _FEW_LETTERS or not all(map(_are_latin, both))


def _are_latin(letters: str) -> bool:
    import unicodedata

    return all(unicodedata.name(letter, "").startswith("LATIN") for letter in letters)


def combine(rewards: Sequence[Reward], weights: Sequence[float] | None = None, *, bound: float = FURTHEST) -> Reward:
    """Make one reward function of several: their weighted mean.

    TRL takes several itself (``reward_funcs=[…], reward_weights=[…]``), and logs each; others take one.

    Parameters
    ----------
    rewards : sequence of callable
        Reward functions, of this module or others like them.
    weights : sequence of float, optional
        How much each counts, 0 or above. Default: all alike.
    bound : float, default 5.0
        Rewards beyond ±bound count as that, so that none is all there is.

    Returns
    -------
    callable
        A reward function. Its reward is the mean over those functions that have one for a completion, and so between
        the lowest and the highest of theirs; ``None`` where none has.

    Raises
    ------
    TypeError
        A reward is no function.
    ValueError
        Other numbers of weights than of rewards, weights below 0 or all 0, `bound` not above 0; when called: a function
        gave another number of rewards than of completions, or one that is no number.

    Examples
    --------
    >>> import polyalign as pa
    >>> reference = pa.Reference.from_arrow(pa.reference.example_table())
    >>> reward = combine([support(reference), length(reference), language()], [1, 0.5, 1])
    >>> reward(["Yes, it does."], prompts=["Does it rain?"], bucket=["en|single|qa|short"])
    [0.0]
    """
    parts = list(rewards)
    for part in parts:
        if not callable(part):
            raise TypeError(f"rewards has a {type(part).__name__}: give functions, as rewards.support(reference)")
    counts = [1.0] * len(parts) if weights is None else [float(weight) for weight in weights]
    if len(counts) != len(parts):
        raise ValueError(f"{len(parts)} rewards and {len(counts)} weights: give one for each")
    if not sum(counts) > 0 or not all(0 <= count < math.inf for count in counts):
        raise ValueError(f"weights are {counts}: they must be 0 or above, and not all 0")
    if not 0 < bound < math.inf:
        raise ValueError(f"bound is {bound}: it must be a number above 0")

    def combined_reward(
        completions: Sequence[Any], prompts: Sequence[Any] | None = None, **columns: Any
    ) -> list[float | None]:
        sums, totals = [0.0] * len(completions), [0.0] * len(completions)
        for part, count in zip(parts, counts, strict=True):
            found = part(completions=completions, prompts=prompts, **columns)
            if len(found) != len(completions):
                raise ValueError(f"{_name(part)} gave {len(found)} rewards for {len(completions)} completions")
            for at, value in enumerate(found):
                if value is None:
                    continue
                if math.isnan(value):
                    raise ValueError(f"{_name(part)} gave NaN for completion {at}: give None where there is no reward")
                sums[at] += count * min(bound, max(-bound, value))
                totals[at] += count
        return [value / total if total else None for value, total in zip(sums, totals, strict=True)]

    return combined_reward


def _name(part: Reward) -> str:
    return getattr(part, "__name__", type(part).__name__)
