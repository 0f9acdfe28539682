"""The support distance as a critic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polyalign.critics._protocol import FURTHEST

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from polyalign.reference import Reference


class SupportCritic:
    """The support distance as a critic: closed form, nothing to train.

    Parameters
    ----------
    reference : Reference
        The human reference.
    support : (float, float), default (0.1, 0.9)
        The quantiles of the band of most humans.
    min_count : int, default 20
        Fewer humans have no say: the bucket's nearest ancestor stands for it.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Raises
    ------
    TypeError
        `reference` is none.

    Examples
    --------
    >>> from polyalign.reference import Reference, example_table
    >>> SupportCritic(Reference.from_arrow(example_table())).score(["About ten."], ["en|single|qa|short"]).tolist()
    [0.0]
    """

    def __init__(
        self,
        reference: Reference,
        *,
        support: tuple[float, float] = (0.1, 0.9),
        min_count: int = 20,
        threads: int | None = None,
    ) -> None:
        if not hasattr(reference, "support_distance"):
            raise TypeError(f"reference is a Reference, not {type(reference).__name__}: Reference.load reads a file")
        self.reference = reference
        self._asked: dict[str, Any] = {"support": support, "min_count": min_count, "threads": threads}
        reference.support_distance([], [], **self._asked)  # settings that can't be used are said now

    def score(self, responses: Sequence[str], buckets: Sequence[str | None]) -> npt.NDArray[np.float32]:
        """Score responses: 0 among most humans, 5 (``FURTHEST``) the furthest off and what can't be measured.

        NaN only where nobody can be asked: the bucket has no humans, or is no bucket under the reference's schema.
        """
        import numpy as np

        named = [bucket or "" for bucket in buckets]  # a row that was rejected has none
        distances = self.reference.support_distance(responses, named, warn=False, **self._asked)
        missing = np.flatnonzero(np.isnan(distances)).tolist()
        if missing:
            texts, targets = [responses[at] for at in missing], [named[at] for at in missing]
            served_by = self.reference.score(texts, targets, **self._asked)["served_by"].to_pylist()
            distances[[at for at, humans in zip(missing, served_by, strict=True) if humans is not None]] = FURTHEST
        return distances

    @property
    def keep_thinking(self) -> bool:
        """Whether reasoning counts: as it did among the humans of the reference."""
        return self.reference.keep_thinking

    def __repr__(self) -> str:
        return f"SupportCritic({self.reference!r})"
