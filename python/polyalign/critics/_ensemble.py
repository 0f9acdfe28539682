"""Several critics as one, which a response pleases only by pleasing each."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign.buckets import BucketSchema
from polyalign.buckets._schema import axis_names
from polyalign.critics import _saved
from polyalign.critics._calibration import MIN_COUNT, Calibration
from polyalign.critics._discriminative import DiscriminativeCritic
from polyalign.critics._lexical import LexicalCritic
from polyalign.critics._once import CHUNK, Once, OnceCounted
from polyalign.critics._protocol import ask, ask_percentiles, is_calibrated
from polyalign.critics._support import SupportCritic

if TYPE_CHECKING:
    import numpy.typing as npt


#: What asks its `reference` alone for distances.
_OF_A_REFERENCE = (SupportCritic, DiscriminativeCritic)


class EnsembleCritic:
    """Several critics as one: a response is as far out as the critic says that finds it furthest out.

    The score is the largest of the critics' percentiles, from 0 to 1; one that can't score a response has no say.
    Calibrated, :meth:`percentile` says how far out that is among held-out humans.

    Parameters
    ----------
    critics : mapping from str to Critic
        At least two, each with a ``percentile``. Names are the user's.
    schema : BucketSchema, optional
        What the buckets are. Default: that of the first critic that has one.
    calibration : Calibration, optional
        See :meth:`calibrate`.

    Raises
    ------
    TypeError
        A critic has no ``percentile``.
    ValueError
        Fewer than two critics, or a name that can't be a folder's.

    Examples
    --------
    >>> import polyalign as pa
    >>> reference = pa.Reference.from_arrow(pa.reference.example_table())
    >>> wide, narrow = (pa.critics.SupportCritic(reference, support=band) for band in ((0.1, 0.9), (0.3, 0.7)))
    >>> critic = EnsembleCritic({"wide": wide, "narrow": narrow})
    >>> critic.score(["About ten.", ""], ["en|single|qa|short"] * 2).tolist()[1]
    1.0
    """

    def __init__(
        self,
        critics: Mapping[str, Any],
        *,
        schema: BucketSchema | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        if len(critics) < 2:
            raise ValueError(f"an ensemble of {len(critics)}: give two critics at least")
        for name, critic in critics.items():
            if not name.isidentifier():
                raise ValueError(f"critic {name!r}: a name is letters, digits and underscores")
            if not is_calibrated(critic):
                raise TypeError(
                    f"critic {name!r}, a {type(critic).__name__}, is not calibrated: scores of unlike scales"
                )
        self.critics = dict(critics)
        self.schema = schema or _schema_of(self.critics.values())
        self.calibration = calibration

    @property
    def uses_prompts(self) -> bool:
        """Whether any of them does."""
        return any(getattr(critic, "uses_prompts", False) for critic in self.critics.values())

    @property
    def keep_thinking(self) -> bool:
        """Whether reasoning counts, as it does for the first."""
        return bool(getattr(next(iter(self.critics.values())), "keep_thinking", False))

    def percentiles(
        self, responses: Sequence[str], buckets: Sequence[str | None], prompts: Sequence[Any] | None = None
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Return what each critic says, by its name: which of them a response does not please."""
        critics = _sharing(self.critics)
        parts: list[dict[str, npt.NDArray[np.float32]]] = []
        for start in range(0, max(len(responses), 1), CHUNK):
            part = slice(start, start + CHUNK)
            asked = None if prompts is None else prompts[part]
            parts.append(
                {
                    name: ask_percentiles(critic, responses[part], buckets[part], asked)
                    for name, critic in critics.items()
                }
            )
        return {name: np.concatenate([part[name] for part in parts]) for name in critics}

    def score(
        self, responses: Sequence[str], buckets: Sequence[str | None], prompts: Sequence[Any] | None = None
    ) -> npt.NDArray[np.float32]:
        """Score responses: the largest of the critics' percentiles, 0 to 1; NaN where none can score."""
        found = np.stack(list(self.percentiles(responses, buckets, prompts).values()))
        scores = np.max(found, axis=0, initial=-1.0, where=~np.isnan(found))
        return np.where(scores < 0, np.nan, scores).astype(np.float32)

    def percentile(
        self, responses: Sequence[str], buckets: Sequence[str | None], prompts: Sequence[Any] | None = None
    ) -> npt.NDArray[np.float32]:
        """Return how far out responses are among held-out humans; the score itself where it isn't calibrated."""
        scores = self.score(responses, buckets, prompts)
        return scores if self.calibration is None else self.calibration.percentile(scores, buckets)

    def calibrate(
        self,
        responses: Sequence[str],
        buckets: Sequence[str],
        *,
        prompts: Sequence[Any] | None = None,
        min_count: int = MIN_COUNT,
    ) -> EnsembleCritic:
        """Return it calibrated with humans that none of the critics was trained on.

        Raises
        ------
        ValueError
            Too few of them.
        """
        scores = ask(self, responses, buckets, prompts=prompts)
        axes = axis_names(self.schema)
        calibration = Calibration.fit(scores, buckets, axes=axes, min_count=min_count)
        return EnsembleCritic(self.critics, schema=self.schema, calibration=calibration)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Save it as a folder, each critic in one within.

        Raises
        ------
        FileExistsError
            Something is there that is not replaced.
        TypeError
            A critic can't be saved.
        """
        for name, critic in self.critics.items():
            if not hasattr(critic, "save"):
                raise TypeError(f"critic {name!r}, a {type(critic).__name__}, can't be saved")
        tensors = self.calibration.tensors() if self.calibration else {}
        settings = {"critics": list(self.critics)}
        _saved.write(folder, "ensemble", self.schema, settings, tensors, overwrite=overwrite, parts=self.critics)

    @classmethod
    def from_saved(cls, saved: _saved.Saved) -> EnsembleCritic:
        """Take what was saved; ``ValueError`` where it is damaged."""
        names = saved.setting("critics", list)
        if not all(isinstance(name, str) and name.isidentifier() for name in names):
            raise ValueError(f"{saved.folder}: critics {names!r} can't be names; it is damaged: train anew")
        critics = {name: _saved.load(saved.folder / name) for name in names}
        _share(critics)
        return cls(critics, schema=saved.schema, calibration=Calibration.of_saved(saved))

    def __repr__(self) -> str:
        return f"EnsembleCritic({', '.join(f'{name}={critic!r}' for name, critic in self.critics.items())})"


def _share(critics: dict[str, Any]) -> None:
    """Let critics that were made with equal references, or equal counts, have one."""
    references: list[Any] = []
    counts = [critic for critic in critics.values() if isinstance(critic, LexicalCritic)]
    for critic in critics.values():
        if isinstance(critic, _OF_A_REFERENCE) and critic.reference is not None:
            critic.reference = next((other for other in references if other == critic.reference), critic.reference)
            references.append(critic.reference)
        if isinstance(critic, DiscriminativeCritic):
            critic.lexical = next((other for other in counts if other == critic.lexical), critic.lexical)


def _sharing(critics: Mapping[str, Any]) -> dict[str, Any]:
    """Return critics that measure what they are all asked of one reference, or of the same counts, once."""
    once: dict[int, Once] = {}
    counted = _sharing_counts(critics)
    found = {name: counted.get(id(critic), critic) for name, critic in critics.items()}
    for name, critic in critics.items():
        if isinstance(critic, _OF_A_REFERENCE) and critic.reference is not None:
            found[name] = copy.copy(critic)
            found[name].reference = once.setdefault(id(critic.reference), Once(critic.reference))
            if isinstance(critic, DiscriminativeCritic):
                found[name].lexical = counted.get(id(critic.lexical), critic.lexical)
    return found


def _sharing_counts(critics: Mapping[str, Any]) -> dict[int, LexicalCritic]:
    """Return, by their identity, lexical critics whose features another of the critics asks for, measuring once."""
    asked = {id(critic.lexical) for critic in critics.values() if isinstance(critic, DiscriminativeCritic)}
    found = {}
    for critic in critics.values():
        if isinstance(critic, LexicalCritic) and id(critic) in asked:
            found[id(critic)] = critic._measured_by(OnceCounted(critic._core))
    return found


def _schema_of(critics: Any) -> BucketSchema:
    """Return what the buckets of critics are; ``ValueError`` where they mean different ones."""
    found: list[BucketSchema] = []
    for critic in critics:
        schema = getattr(critic, "schema", None) or getattr(getattr(critic, "reference", None), "schema", None)
        if schema is not None:
            found.append(schema)
    for other in found[1:]:
        found[0].check_fits(other)
    return found[0] if found else BucketSchema()
