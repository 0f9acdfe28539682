"""What several critics of a call ask of one reference, measured once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.reference import Reference

#: Critics measure so many responses at a time, so that they all ask the same.
CHUNK = 5_000


class Once:
    """A reference that keeps what it was asked last, for the critics of one call; else that reference."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._last: tuple[Any, Any] | None = None

    def score(
        self, texts: Sequence[str], buckets: Sequence[str], *, prompts: Sequence[Any] | None = None, **settings: Any
    ) -> Any:
        """Return what :meth:`Reference.score` does."""
        asked = (list(texts), list(buckets), None if prompts is None else list(prompts), self._measured_by(settings))
        if self._last is None or self._last[0] != asked:
            self._last = (asked, self._reference.score(texts, buckets, prompts=prompts, **settings))
        return self._last[1]

    def support_distance(
        self,
        texts: Sequence[str],
        buckets: Sequence[str],
        *,
        prompts: Sequence[Any] | None = None,
        warn: bool = True,
        **settings: Any,
    ) -> npt.NDArray[np.float32]:
        """Return what :meth:`Reference.support_distance` does, which warns of nothing here."""
        found = self.score(texts, buckets, prompts=prompts, **settings)["distance"]
        return np.asarray(found.to_pylist(), dtype=np.float32)

    @staticmethod
    def _measured_by(settings: dict[str, Any]) -> tuple[Any, ...]:
        """Return what a distance depends on; the number of threads is not of it."""
        from polyalign.reference._inputs import SUPPORT

        return tuple(settings.get("support", SUPPORT)), settings.get("min_count", 20), settings.get("lm")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reference, name)
