"""What a critic is, and how it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


FURTHEST = 5.0


@runtime_checkable
class Critic(Protocol):
    """Whatever scores responses against the humans of their buckets.

    One that knows what was asked says ``uses_prompts = True`` and takes ``score(responses, buckets, prompts=None)``;
    one without that attribute is never given prompts.
    """

    def score(self, responses: Sequence[str], buckets: Sequence[str]) -> npt.NDArray[np.float32]:
        """Score responses.

        Parameters
        ----------
        responses : sequence of str, length n
            Without their reasoning, unless the critic has an attribute ``keep_thinking`` that is true (:func:`ask`).
        buckets : sequence of str, length n
            The bucket of the human answer that each response stands in for.
        prompts : sequence of str, message list or None, length n, optional
            What each response answers, as the data has it: a text is the user's, messages have ``role`` and
            ``content``, so that a system line is not taken for the user's words; ``None``: not known.

        Returns
        -------
        numpy.ndarray of float32, shape (n,)
            0 or above, lower is closer to human; NaN: can't be scored.
        """
        ...


def ask(
    critic: Critic,
    responses: Sequence[str],
    buckets: Sequence[str | None],
    prompts: Sequence[Any] | None = None,
) -> npt.NDArray[np.float32]:
    """Return a critic's scores, one for each response; reasoning is left out, as everywhere.

    Reasoning is a leading ``<think>…</think>``, or what stands before ``</think>`` alone; what does not end is all
    reasoning, and so an empty answer.

    Parameters
    ----------
    critic : Critic
        One that has a true attribute ``keep_thinking`` is given the responses as they are; one that has a true
        attribute ``uses_prompts`` is given the prompts, others are not.
    responses : sequence of str, length n
    buckets : sequence of str, length n
        The bucket of the human answer that each response stands in for.
    prompts : sequence of str, message list or None, length n, optional
        What each response answers.

    Returns
    -------
    numpy.ndarray of float32, shape (n,)

    Raises
    ------
    ValueError
        There are other numbers of prompts or buckets than of responses; the critic returned another number of scores,
        or none, or some that are negative or infinite.

    Examples
    --------
    >>> import polyalign as pa
    >>> critic = pa.critics.SupportCritic(pa.Reference.from_arrow(pa.reference.example_table()))
    >>> responses = ["Yes, it does.", "<think>Does it?</think>Yes, it does.", "<think>Does it?"]
    >>> ask(critic, responses, ["en|single|qa|short"] * 3).tolist()
    [0.0, 0.0, 5.0]
    >>> ask(critic, responses, ["en|single|qa|short"] * 3, prompts=["Does it rain?"])
    Traceback (most recent call last):
    ...
    ValueError: 1 prompt for 3 responses: give one for each, None where it is not known
    """
    return _asked(critic, "score", responses, buckets, prompts)


def ask_percentiles(
    critic: Any,
    responses: Sequence[str],
    buckets: Sequence[str | None],
    prompts: Sequence[Any] | None = None,
) -> npt.NDArray[np.float32]:
    """Return what share of humans a calibrated critic has closer than each response; else as :func:`ask`.

    Parameters
    ----------
    critic : Critic
        With a method ``percentile(responses, buckets, prompts=None)``.
    responses, buckets, prompts
        As of :func:`ask`.

    Returns
    -------
    numpy.ndarray of float32, shape (n,)
        0 to 1; NaN where there is no score.
    """
    return _asked(critic, "percentile", responses, buckets, prompts)


def ask_both(
    critic: Any,
    responses: Sequence[str],
    buckets: Sequence[str | None],
    prompts: Sequence[Any] | None = None,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """Return scores, and percentiles of a critic that is calibrated; responses are measured once where that will do."""
    scores = ask(critic, responses, buckets, prompts)
    if not is_calibrated(critic):
        return scores, None
    of_scores = getattr(getattr(critic, "calibration", None), "percentile", None)
    if callable(of_scores):
        return scores, of_scores(scores, buckets)
    return scores, ask_percentiles(critic, responses, buckets, prompts)


def is_calibrated(critic: object) -> bool:
    """Whether a critic knows how its scores lie among humans'."""
    return callable(getattr(critic, "percentile", None))


def _asked(
    critic: Any,
    what: str,
    responses: Sequence[str],
    buckets: Sequence[str | None],
    prompts: Sequence[Any] | None,
) -> npt.NDArray[np.float32]:
    import numpy as np

    from polyalign import _core
    from polyalign.critics._diagnosis import check_range

    _check_prompts(prompts, len(responses))
    kept = list(responses) if getattr(critic, "keep_thinking", False) else _core.answers(list(responses))
    given = {"prompts": prompts} if prompts is not None and getattr(critic, "uses_prompts", False) else {}
    found = np.asarray(getattr(critic, what)(kept, buckets, **given), dtype=np.float32)
    if found.shape != (len(kept),):
        raise ValueError(
            f"{type(critic).__name__} gave {what}s of shape {list(found.shape)} for {len(kept):,} responses: "
            "one each is due"
        )
    check_range(found, buckets, type(critic).__name__)
    return found


def _check_prompts(prompts: Any, count: int) -> None:
    """Refuse what are no prompts, or not as many as responses."""
    from polyalign._text.words import counted

    if prompts is None:
        return
    if isinstance(prompts, (str, bytes)) or not hasattr(prompts, "__len__"):
        raise TypeError(f"prompts is a {type(prompts).__name__}: give a list, one prompt a response")
    if len(prompts) != count:
        raise ValueError(
            f"{counted(len(prompts), 'prompt')} for {counted(count, 'response')}: give one for each, None where it is "
            "not known"
        )
