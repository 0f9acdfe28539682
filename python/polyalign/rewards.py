"""Reward functions for TRL: how close a completion is to the humans of its bucket.

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
from typing import TYPE_CHECKING, Any, Literal

from polyalign.critics import FURTHEST, Critic, ask_floored
from polyalign.critics._floor import check_floor
from polyalign.critics._given import as_critic

if TYPE_CHECKING:
    from polyalign.reference import Reference

__all__ = ["critic", "support"]

_UNMEASURABLE = {
    "the response is empty",
    "fewer than half of the features are defined for the response",
}

Reward = Callable[..., list["float | None"]]


def critic(
    critic: Critic | str | os.PathLike[str],
    *,
    bucket_column: str = "bucket",
    scale: float = 1.0,
    floor: Literal["median", "none"] = "median",
) -> Reward:
    """Make a reward function of any critic, for ``GRPOTrainer`` and whatever else takes TRL's rewards.

    The reward of a completion is ``-scale`` × how much further out it is than the median human of its row's bucket,
    where the critic is calibrated (:func:`~polyalign.critics.ask_floored`): 0 for whatever is as close as that one or
    closer, so that nothing is earned by being closer than humans are, and never below ``-scale``. Of a critic that is
    not calibrated, it is ``-scale`` × its score. ``None`` (no reward, in TRL) where the critic has no score, and where
    the completion is a tool call without an answer. The critic is given the prompts if it uses them.

    Parameters
    ----------
    critic : Critic or str
        Your own, or the folder of a saved one.
    bucket_column : str, default "bucket"
        The data set's column of bucket ids; TRL hands it to the function.
    scale : float, default 1.0
        Greater than 0.
    floor : {"median", "none"}, default "median"
        ``"none"``: ``-scale`` × the percentile itself, so that the closest of all is worth most.

    Returns
    -------
    callable
        ``reward(completions, prompts=None, bucket=…, **columns) -> list of float or None``. Completions are texts or
        message lists, prompts likewise.

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
    _check_scale(scale)
    scorer = as_critic(critic)
    if scorer is None:
        raise TypeError("critic is None: give an object with score(responses, buckets), or a saved critic's folder")
    check_floor(floor)

    def critic_reward(
        completions: Sequence[Any], prompts: Sequence[Any] | None = None, **columns: Any
    ) -> list[float | None]:
        from polyalign import _core
        from polyalign._io import responses

        buckets = _buckets(columns, bucket_column)
        texts = list(responses.texts("completions", list(completions)))
        scores = ask_floored(scorer, texts, buckets, prompts, floor=floor)
        found = zip(completions, _core.answers(texts), scores.tolist(), strict=True)
        return [
            None if math.isnan(score) or (_calls_tools(completion) and not answer.strip()) else 0.0 - scale * score
            for completion, answer, score in found
        ]

    return critic_reward


def support(reference: Reference, *, bucket_column: str = "bucket", scale: float = 1.0) -> Reward:
    """Make a reward function of the support distance, for ``GRPOTrainer`` and whatever else takes TRL's rewards.

    The reward of a completion is ``-scale`` × its support distance from the humans of its row's bucket: 0 for one that
    no human feature tells apart, ``-5 * scale`` at the most. A completion that can't be measured, as an empty one, has
    that too: it must not be a way out. ``None`` (no reward, in TRL) where the completion is a tool call, and where the
    row is at fault: its bucket has no humans.

    Parameters
    ----------
    reference : Reference
        The human reference.
    bucket_column : str, default "bucket"
        The data set's column of bucket ids; TRL hands it to the function.
    scale : float, default 1.0
        Greater than 0.

    Returns
    -------
    callable
        ``reward(completions, prompts=None, bucket=…, **columns) -> list of float or None``. Completions are texts or
        message lists, prompts likewise.

    Raises
    ------
    TypeError
        `reference` is none.
    ValueError
        `scale` is not a number above 0; when called: the column is not there.
    """
    if not hasattr(reference, "support_distance"):
        raise TypeError(f"reference is a Reference, not {type(reference).__name__}: Reference.load reads a file")
    _check_scale(scale)

    def support_reward(
        completions: Sequence[Any], prompts: Sequence[Any] | None = None, **columns: Any
    ) -> list[float | None]:
        buckets = _buckets(columns, bucket_column)
        scores = reference.score(list(completions), buckets, prompts=prompts)
        distances, reasons = ([value.as_py() for value in scores[name]] for name in ("distance", "reason"))
        scored = zip(completions, distances, reasons, strict=True)
        return [
            None if _calls_tools(completion) and reason else _reward(scale, distance, reason)
            for completion, distance, reason in scored
        ]

    return support_reward


def _check_scale(scale: float) -> None:
    if not 0 < scale < math.inf:
        raise ValueError(f"scale is {scale}: it must be a number above 0")


def _buckets(columns: Any, name: str) -> list[str]:
    buckets = columns.get(name)
    if buckets is None:
        raise ValueError(f"the data set has no column {name!r}: Bucketer.assign appends it")
    return [bucket or "" for bucket in buckets]  # a row that was rejected has none


def _calls_tools(completion: Any) -> bool:
    return isinstance(completion, (list, tuple)) and bool(completion) and bool(completion[-1].get("tool_calls"))


def _reward(scale: float, distance: float, reason: str | None) -> float | None:
    if reason in _UNMEASURABLE:
        return -FURTHEST * scale
    return None if math.isnan(distance) else 0.0 - scale * distance
