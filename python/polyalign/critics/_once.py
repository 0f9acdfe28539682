"""What several critics of a call ask of one reference and of the same counts, measured once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from polyalign.critics import attacks

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign import _core
    from polyalign.reference import Reference

_T = TypeVar("_T")
#: Critics measure so many responses at a time, so that they all ask the same.
CHUNK = 5_000


class _Last(Generic[_T]):
    """What was asked last, and what was found."""

    def __init__(self) -> None:
        self._kept: tuple[Any, _T] | None = None

    def __call__(self, asked: Any, find: Callable[[], _T]) -> _T:
        if self._kept is None or self._kept[0] != asked:
            self._kept = None  # both need not be held while it is found
            self._kept = (asked, find())
        return self._kept[1]


class Once:
    """A reference that keeps what it was asked last, for the critics of one call; else that reference."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._last: _Last[tuple[Any, npt.NDArray[np.float32]]] = _Last()

    @classmethod
    def of(cls, reference: Any) -> Once:
        """Return a reference as one: itself, where it is."""
        return reference if isinstance(reference, cls) else cls(reference)

    def measure(
        self, texts: Sequence[str], buckets: Sequence[str], *, prompts: Sequence[Any] | None = None, **settings: Any
    ) -> tuple[Any, npt.NDArray[np.float32]]:
        """Return what :meth:`Reference.score` does, and the features of the texts as they are, [n, features]."""
        asked = (list(texts), list(buckets), None if prompts is None else list(prompts), self._measured_by(settings))

        def find() -> tuple[Any, npt.NDArray[np.float32]]:
            languages = attacks.known_languages(attacks.languages_of(buckets))
            return self._reference._score_and_measure(texts, buckets, languages, prompts=prompts, **settings)

        return self._last(asked, find)

    def score(
        self,
        texts: Sequence[str],
        buckets: Sequence[str],
        *,
        prompts: Sequence[Any] | None = None,
        warn: bool = True,
        **settings: Any,
    ) -> Any:
        """Return what :meth:`Reference.score` does, which warns of nothing here."""
        return self.measure(texts, buckets, prompts=prompts, **settings)[0]

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
        return distances(self.score(texts, buckets, prompts=prompts, **settings))

    @staticmethod
    def _measured_by(settings: dict[str, Any]) -> tuple[Any, ...]:
        """Return what a distance depends on; the number of threads is not of it."""
        from polyalign.reference._inputs import SUPPORT

        return tuple(settings.get("support", SUPPORT)), settings.get("min_count", 20), settings.get("lm")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reference, name)


class OnceCounted:
    """The engine's lexical counts, which keep what they were asked last: scores and features at once; else those."""

    def __init__(self, core: _core.Lexical) -> None:
        self._core = core
        self._last: _Last[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = _Last()

    def measure(
        self, texts: Sequence[str], buckets: Sequence[str], leave_one_out: bool, threads: int | None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return what the engine's does; the number of threads changes nothing."""
        asked = (list(texts), list(buckets), leave_one_out)
        return self._last(asked, lambda: self._core.measure(texts, buckets, leave_one_out, threads))

    def score(
        self, texts: Sequence[str], buckets: Sequence[str], leave_one_out: bool, threads: int | None
    ) -> npt.NDArray[np.float32]:
        """Return the scores alone."""
        return self.measure(texts, buckets, leave_one_out, threads)[0]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


def distances(scored: Any) -> npt.NDArray[np.float32]:
    """Return the support distances of a table of :meth:`Reference.score`."""
    return np.asarray(scored["distance"], dtype=np.float32)
