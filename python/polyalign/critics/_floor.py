"""What a critic's scores count for where something is trained with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polyalign.critics._protocol import ask, ask_percentiles, is_calibrated

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from polyalign.critics._protocol import Critic

FLOORS = ("median", "none")


def ask_floored(
    critic: Critic,
    responses: Sequence[str],
    buckets: Sequence[str | None],
    prompts: Sequence[Any] | None = None,
    *,
    floor: str = "median",
) -> npt.NDArray[np.float32]:
    """Return what training lowers: how much further out than the median human each response is.

    Of a calibrated critic that is max(0, 2q − 1), q the response's percentile among the humans of its bucket: 0 for one
    that is as close as the median human or closer, so that nothing is gained beyond; towards 1 for one that is further
    out than all; .25 for humans, on average, in every bucket and with any critic. Any other critic's scores are
    returned as they are (:func:`no_floor` says why).

    Parameters
    ----------
    critic, responses, buckets, prompts
        As of :func:`ask`.
    floor : {"median", "none"}, default "median"
        With ``"none"`` it is q itself, .5 for the median human.

    Returns
    -------
    numpy.ndarray of float32, shape (n,)
        NaN where there is no score.

    Raises
    ------
    ValueError
        As of :func:`ask`; a `floor` that is none of these.

    Examples
    --------
    >>> import polyalign as pa
    >>> critic = pa.critics.SupportCritic(pa.Reference.from_arrow(pa.reference.example_table()))
    >>> ask_floored(critic, ["Yes, it does.", ""], ["en|single|qa|short"] * 2).tolist()
    [0.0, 1.0]
    """
    import numpy as np

    check_floor(floor)
    if no_floor(critic):
        return ask(critic, responses, buckets, prompts)
    shares = ask_percentiles(critic, responses, buckets, prompts)
    return np.maximum(2 * shares - 1, 0, dtype=np.float32) if floor == "median" else shares


def check_floor(floor: str) -> None:
    """Refuse a floor that is none."""
    if floor not in FLOORS:
        raise ValueError(f"floor={floor!r}: it is one of {', '.join(map(repr, FLOORS))}")


def no_floor(critic: Any) -> str | None:
    """Return why it isn't known how far out a critic finds the median human; ``None`` where it is."""
    from polyalign.critics._support import SupportCritic

    name = type(critic).__name__
    if not is_calibrated(critic):
        return f"{name} has no percentiles"
    if isinstance(critic, SupportCritic) and not critic.reference.sample_size:
        return "the reference has no sampled humans"
    try:
        is_known = getattr(critic, "calibration", critic) is not None
    except ValueError:  # worked out when it is asked for
        is_known = False
    return None if is_known else f"{name} is not calibrated"
