"""The support distance as a critic."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polyalign.critics import _saved
from polyalign.critics._protocol import FURTHEST

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from polyalign.lm import LanguageModel
    from polyalign.reference import Reference


class SupportCritic:
    """The support distance as a critic: closed form, nothing to train.

    Given prompts, it counts the features of interaction too, as the reference does (overlap with what was asked, length
    beside it).

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
    lm : str, PathLike or polyalign.lm.LanguageModel, optional
        The language model that the reference was built with, where it was: its features count then. It is opened when
        the critic is first asked.

    Warns
    -----
    UserWarning
        The reference has features of a language model, and `lm` is not given: they don't count.

    Raises
    ------
    TypeError
        `reference` is none.
    ValueError
        `lm` is given, and the reference has no such features; when it is asked: it is another model.

    Examples
    --------
    >>> from polyalign.reference import Reference, example_table
    >>> SupportCritic(Reference.from_arrow(example_table())).score(["About ten."], ["en|single|qa|short"]).tolist()
    [0.0]
    """

    #: It knows what was asked.
    uses_prompts = True

    def __init__(
        self,
        reference: Reference,
        *,
        support: tuple[float, float] = (0.1, 0.9),
        min_count: int = 20,
        threads: int | None = None,
        lm: Any = None,
    ) -> None:
        if not hasattr(reference, "support_distance"):
            raise TypeError(f"reference is a Reference, not {type(reference).__name__}: Reference.load reads a file")
        self.reference = reference
        self._asked: dict[str, Any] = {"support": support, "min_count": min_count, "threads": threads}
        # Settings that can't be used are said now, and that a language model is missing.
        reference.support_distance([], [], **self._asked, warn=lm is None)
        self.lm = None if lm is None else _lm_of(reference, lm)

    def score(
        self,
        responses: Sequence[str],
        buckets: Sequence[str | None],
        prompts: Sequence[Any] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Score responses: 0 among most humans, 5 (``FURTHEST``) the furthest off and what can't be measured.

        `prompts` are texts (the user's), message lists, or ``None`` where they are not known.

        NaN only where nobody can be asked: the bucket has no humans, or is no bucket under the reference's schema.
        """
        import numpy as np

        named = [bucket or "" for bucket in buckets]  # a row that was rejected has none
        distances = self.reference.support_distance(
            responses, named, prompts=prompts, lm=self.lm, warn=False, **self._asked
        )
        missing = np.flatnonzero(np.isnan(distances)).tolist()
        if missing:
            # Whose humans would have been asked does not depend on the prompt.
            texts, targets = [responses[at] for at in missing], [named[at] for at in missing]
            served_by = self.reference.score(texts, targets, warn=False, **self._asked)["served_by"].to_pylist()
            distances[[at for at, humans in zip(missing, served_by, strict=True) if humans is not None]] = FURTHEST
        return distances

    def percentile(
        self, responses: Sequence[str], buckets: Sequence[str | None], prompts: Sequence[Any] | None = None
    ) -> npt.NDArray[np.float32]:
        """Return how far out responses are: the share of the bucket's humans that are closer, of those in the sample.

        Beyond all n of a full sample it rises from n/(n + 1) with the distance. NaN where nobody can be asked; 1 for
        what can't be measured.

        Raises
        ------
        ValueError
            The reference has no sampled humans.
        """
        import numpy as np

        if not self.reference.sample_size:
            raise ValueError("the reference has no sampled humans, whose percentiles these are: build it with some")
        named = [bucket or "" for bucket in buckets]
        scores = self.reference.score(responses, named, prompts=prompts, lm=self.lm, warn=False, **self._asked)
        found = np.asarray(scores["percentile"].to_pylist(), dtype=np.float32)
        beyond, sampled = found == 1, self.reference.sample_size
        distances = np.asarray(scores["distance"].to_pylist(), dtype=np.float32)
        found[beyond] = 1 - 1 / (1 + sampled) / (1 + distances[beyond])
        served = np.array([humans is not None for humans in scores["served_by"].to_pylist()], dtype=bool)
        found[np.isnan(found) & served] = 1.0
        return found

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Save it as a folder, the reference in it.

        Raises
        ------
        FileExistsError
            Something is there that is not replaced.
        """
        settings: dict[str, Any] = {
            "support": list(self._asked["support"]),
            "min_count": self._asked["min_count"],
            **({} if self.lm is None else {"lm": self.lm.settings}),
        }
        parts = {"human.safetensors": self.reference}
        _saved.write(folder, "support", self.reference.schema, settings, {}, overwrite=overwrite, parts=parts)

    @classmethod
    def from_saved(cls, saved: _saved.Saved) -> SupportCritic:
        """Take what was saved; ``ValueError`` where it is damaged."""
        from polyalign.reference import Reference

        band, min_count = saved.setting("support", list), saved.setting("min_count", int)
        ends = [end for end in band if isinstance(end, (int, float)) and 0 <= end <= 1]
        if len(band) != 2 or len(ends) != 2 or min_count < 0:
            raise ValueError(f"{saved.folder}: settings that can't be: it is damaged; train anew")
        reference, lm = Reference.load(saved.folder / "human.safetensors"), saved.settings.get("lm")
        if lm is not None:
            lm = lm_from_settings(lm)
            if lm is None or reference.lm is None:
                raise ValueError(f"{saved.folder}: a language model that can't be: it is damaged; train anew")
        return cls(reference, support=(ends[0], ends[1]), min_count=min_count, lm=lm)

    @property
    def keep_thinking(self) -> bool:
        """Whether reasoning counts: as it did among the humans of the reference."""
        return self.reference.keep_thinking

    def __repr__(self) -> str:
        return f"SupportCritic({self.reference!r}{'' if self.lm is None else f', lm={self.lm!r}'})"


def _lm_of(reference: Reference, lm: Any) -> LanguageModel:
    from polyalign.reference import _lm

    if reference.lm is None:
        raise ValueError(_lm.NONE)
    return _lm.as_model(lm, reference.lm)


def lm_from_settings(told: Any) -> LanguageModel | None:
    """Return the language model that saved settings describe; ``None``: they can't be."""
    from polyalign.lm import LanguageModel

    kinds: dict[str, tuple[type, ...]] = {
        "model": (str,),
        "revision": (str, type(None)),
        "prefix": (str, type(None)),
        "max_length": (int, type(None)),
        "dtype": (str,),
    }
    if not isinstance(told, dict) or set(told) != set(kinds):
        return None
    if any(not isinstance(told[name], kind) or isinstance(told[name], bool) for name, kind in kinds.items()):
        return None
    return LanguageModel(**told)
