"""What a critic is, and how it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


FURTHEST = 5.0


@runtime_checkable
class Critic(Protocol):
    """Whatever scores responses against the humans of their buckets."""

    def score(self, responses: Sequence[str], buckets: Sequence[str]) -> npt.NDArray[np.float32]:
        """Score responses.

        Parameters
        ----------
        responses : sequence of str, length n
            Without their reasoning, unless the critic has an attribute ``keep_thinking`` that is true (:func:`ask`).
        buckets : sequence of str, length n
            The bucket of the human answer that each response stands in for.

        Returns
        -------
        numpy.ndarray of float32, shape (n,)
            0 or above, lower is closer to human; NaN: can't be scored.
        """
        ...


def ask(critic: Critic, responses: Sequence[str], buckets: Sequence[str | None]) -> npt.NDArray[np.float32]:
    """Return a critic's scores, one for each response; reasoning is left out, as everywhere.

    Reasoning is a leading ``<think>…</think>``, or what stands before ``</think>`` alone; what does not end is all
    reasoning, and so an empty answer.

    Parameters
    ----------
    critic : Critic
        One that has a true attribute ``keep_thinking`` is given the responses as they are.
    responses : sequence of str, length n
    buckets : sequence of str, length n
        The bucket of the human answer that each response stands in for.

    Returns
    -------
    numpy.ndarray of float32, shape (n,)

    Raises
    ------
    ValueError
        The critic returned another number of scores, or none.

    Examples
    --------
    >>> import polyalign as pa
    >>> critic = pa.critics.SupportCritic(pa.Reference.from_arrow(pa.reference.example_table()))
    >>> responses = ["Yes, it does.", "<think>Does it?</think>Yes, it does.", "<think>Does it?"]
    >>> ask(critic, responses, ["en|single|qa|short"] * 3).tolist()
    [0.0, 0.0, 5.0]
    """
    import numpy as np

    from polyalign import _core

    kept = list(responses) if getattr(critic, "keep_thinking", False) else _core.answers(list(responses))
    scores = np.asarray(critic.score(kept, buckets), dtype=np.float32)  # type: ignore[arg-type]
    if scores.shape != (len(kept),):
        raise ValueError(
            f"{type(critic).__name__} gave scores of shape {list(scores.shape)} for {len(kept):,} responses: "
            "one each is due"
        )
    return scores
