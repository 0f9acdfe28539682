"""The distributional term: how far a set of responses is from the humans of its bucket, and what each adds to that.

A single response can be as humans write while all together are not: one good reply to everybody, or too little variety.
The energy distance between a bucket's responses Y and its humans H sees that:

E² = 2 E d(Y, H) − E d(Y, Y′) − E d(H, H′)

It is 0 exactly where both are distributed alike, as far as d sees. The gradient of E² with regard to a policy is that
of the expected score 2 (E d(y, H) − E d(y, Y′)) of its responses, Y′ independent ones of the bucket's other prompts.

Examples
--------
>>> import polyalign as pa
>>> term = DistributionTerm(pa.Reference.from_arrow(pa.reference.example_table()))
>>> bucket = "en|single|qa|short"
>>> term.energy(["Yes, it does."] * 9, [bucket] * 9)[bucket].energy > 0.1
True
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from polyalign import _core
from polyalign._io import responses as given
from polyalign.features import GROUPS, Feature, registry

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from polyalign.reference import Reference

__all__ = ["Comparison", "DistributionTerm", "Energy", "Measured", "Pool"]

Over = Literal["marginals", "rows"]

# Prompts that are not known: each another one.
_UNKNOWN = itertools.count(-1, -1)


class Energy(NamedTuple):
    """How far a bucket's responses are from its humans, as a set."""

    bucket: str
    """Whose humans were asked for."""
    served_by: str | None
    """Whose stand for them."""
    humans: int
    """How many these are."""
    features: int
    """How many features were compared."""
    samples: int
    """How many responses there are."""
    prompts: int
    """How many prompts they answer."""
    energy: float
    """E², each mean over different prompts and humans: 0 on average for humans' answers, and then often below. NaN
    where it can't be told."""
    floor: float
    """What sets of as many humans' answers as there are prompts stay below, about 95% of them. NaN where the reference
    has no sampled rows."""
    within: float
    """E d(H, H′): how far two humans are apart."""
    reason: str | None
    """Why there is no E²."""


@dataclass(frozen=True)
class Measured:
    """Responses as a distributional term sees them; made by :meth:`DistributionTerm.measure`.

    Attributes
    ----------
    rows : numpy.ndarray of float32, shape (n, features)
        Their feature values; NaN is none.
    buckets : list of str, length n
        Whose humans each is compared with.
    prompt_ids : numpy.ndarray of int64, shape (n,)
        Equal for responses to one prompt.
    with_prompts : bool
        Whether prompts were given, and features of interaction count.
    """

    rows: npt.NDArray[np.float32]
    buckets: list[str]
    prompt_ids: npt.NDArray[np.int64]
    with_prompts: bool

    def __len__(self) -> int:
        return len(self.buckets)

    def take(self, places: Sequence[int] | slice) -> Measured:
        """Return some of them."""
        numbers = range(len(self))[places] if isinstance(places, slice) else places
        chosen = list(numbers)
        buckets = [self.buckets[at] for at in chosen]
        return Measured(self.rows[chosen], buckets, self.prompt_ids[chosen], self.with_prompts)

    @classmethod
    def joined(cls, parts: Iterable[Measured]) -> Measured:
        """Return those of several, one after the other; at least one."""
        import numpy as np

        parts = list(parts)
        return cls(
            np.concatenate([part.rows for part in parts]),
            [bucket for part in parts for bucket in part.buckets],
            np.concatenate([part.prompt_ids for part in parts]),
            all(part.with_prompts for part in parts if len(part)),
        )


class Pool:
    """The last samples of every bucket, to compare later ones with.

    Parameters
    ----------
    size : int
        How many of each bucket; 0: none.
    """

    def __init__(self, size: int) -> None:
        if size < 0:
            raise ValueError(f"size is {size}: a pool has at least 0 samples of each bucket")
        self.size = size
        self.by_bucket: dict[str, Measured] = {}

    def add(self, measured: Measured) -> None:
        """Add samples, the newest last."""
        for bucket in dict.fromkeys(measured.buckets) if self.size else ():
            new = measured.take([at for at, name in enumerate(measured.buckets) if name == bucket])
            known = self.by_bucket.get(bucket)
            both = new if known is None else Measured.joined([known, new])
            self.by_bucket[bucket] = both.take(slice(max(0, len(both) - self.size), None))

    def of(self, buckets: Iterable[str]) -> Measured | None:
        """Return those of some buckets; ``None`` where there are none."""
        parts = [self.by_bucket[bucket] for bucket in sorted(set(buckets)) if bucket in self.by_bucket]
        return Measured.joined(parts) if parts else None


class Comparison(NamedTuple):
    """What a distributional term says of responses."""

    scores: npt.NDArray[np.float64]
    """2 (E d(y, H) − E d(y, Y′)) of each, shape (n,): below 0 where humans are and the other responses are not. NaN
    where the bucket has no humans, or no responses to other prompts."""
    shares: npt.NDArray[np.float64]
    """2 E d(y, H) − E d(y, Y′) − E d(H, H′) of each, shape (n,): their mean in a bucket is its E²."""
    buckets: dict[str, Energy]
    """By bucket, as it was given."""


class DistributionTerm:
    """How far sets of responses are from the humans of their buckets, and what each response adds to that.

    Values are standardised, as distances from the median of the bucket's humans over their σ, no less than the
    feature's scale; what is beyond 5 σ counts as 5, as in the support distance. Over ``"marginals"``, d is the mean
    over the features of |Δ|: exact from the reference's histograms. Over ``"rows"`` it is the root of the mean of Δ²,
    which sees features that go together, too: from the reference's sampled rows, up to ``sample_size`` of a bucket. A
    value that is not defined is 1 from all that are. As d is a mean, scores are of one size in every bucket: two humans
    are about 0.6 apart over marginals, 1 over rows.

    A bucket with fewer than `min_count` humans backs off as a whole to its nearest ancestor, and of these humans,
    features that fewer than `min_count` of them have are left out.

    Parameters
    ----------
    reference : Reference
        The human reference, of the default variant.
    over : {"marginals", "rows"}, default "marginals"
        What is compared. n responses of a bucket take n log n steps over marginals, n² over rows.
    features : sequence of str, optional
        Names of features or of their groups. Default: all that are measured of texts.
    min_count : int, default 20
        Fewer humans have no say.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Raises
    ------
    TypeError
        `reference` is none.
    ValueError
        A reference of the paper's variant; a feature that is not known; joint features of a reference that keeps fewer
        than `min_count` rows.

    References
    ----------
    Székely and Rizzo, Energy statistics, 2013.

    Examples
    --------
    >>> import polyalign as pa
    >>> reference = pa.Reference.from_arrow(pa.reference.example_table())
    >>> term = DistributionTerm(reference, features=["length", "comma_count"])
    >>> buckets = ["en|single|qa|short"] * 3
    >>> term.score(["About ten.", "About ten.", "It depends on what you mean by it, I'd say."], buckets).shape
    (3,)
    """

    def __init__(
        self,
        reference: Reference,
        *,
        over: Over = "marginals",
        features: Sequence[str] | str | None = None,
        min_count: int = 20,
        threads: int | None = None,
    ) -> None:
        if not hasattr(reference, "support_distance"):
            raise TypeError(f"reference is a Reference, not {type(reference).__name__}: Reference.load reads a file")
        if min_count < 0:
            raise ValueError(f"min_count is {min_count}: it must be at least 0")
        self.reference, self.over, self.threads, self.min_count = reference, over, threads, min_count
        known = registry()
        self.features = _features(known, features)
        wanted = [feature.name in set(self.features) for feature in known]
        self._core = _core.DistributionTerm(reference._core, over, wanted, min_count)

    def measure(
        self,
        responses: Any,
        buckets: Any,
        prompts: Any = None,
        *,
        prompt_ids: Sequence[int] | None = None,
    ) -> Measured:
        """Measure responses, to compare them once or keep them as a pool.

        Parameters
        ----------
        responses : list of str, Arrow column or numpy array of strings
            Texts; message lists count as the text of their last message.
        buckets : str, or one for each response
            That of the human answer a response stands in for.
        prompts : list, optional
            What each response answers: a text, messages, or ``None`` where it is not known. Without them features of
            interaction don't count.
        prompt_ids : sequence of int, optional
            Equal for responses to one prompt. Default: told by `prompts`; where there are none, each is another one.

        Raises
        ------
        ValueError
            Other numbers of buckets, prompts or ids than of responses.
        """
        import numpy as np

        texts, asked = given.texts("responses", responses), given.prompts(prompts)
        if isinstance(buckets, str):
            buckets = [buckets] * len(texts)
        elif given.is_arrow(buckets):
            buckets = _core.arrow_column("buckets", buckets).to_pylist()
        named = [bucket or "" for bucket in buckets]  # a row that was rejected has none
        if len(named) != len(texts):
            raise ValueError(f"{len(texts):,} responses and {len(named):,} buckets: give one for each")
        rows = self._core.measure(texts, named, asked, self.threads)
        if prompt_ids is None:
            prompt_ids = [_prompt_id(prompt) for prompt in (asked or [None] * len(named))]
        ids = np.asarray(prompt_ids, dtype=np.int64)
        if ids.shape != (len(named),):
            raise ValueError(f"{len(named):,} responses and prompt_ids of shape {list(ids.shape)}: give one for each")
        return Measured(rows, named, ids, asked is not None and any(asked))

    def compare(self, measured: Measured, pool: Measured | None = None) -> Comparison:
        """Compare responses, those of every bucket together, with its humans.

        Parameters
        ----------
        measured : Measured
            The responses.
        pool : Measured, optional
            Further ones, as of earlier steps: E d(y, Y′) is over both. They get no scores.
        """
        import numpy as np

        if pool is None:
            pool = measured.take(slice(0))
        own, more = ((np.ascontiguousarray(one.rows), one.buckets, one.prompt_ids) for one in (measured, pool))
        humans, others, told = self._core.compare(own, more, measured.with_prompts, self.threads)
        found = [Energy(**{**each, **_nan(each)}) for each in json.loads(told)]
        names = dict(zip(dict.fromkeys(measured.buckets), found, strict=True))
        within = np.array([names[bucket].within for bucket in measured.buckets], dtype=np.float64)
        return Comparison(2.0 * (humans - others), 2.0 * humans - others - within, names)

    def score(
        self,
        responses: Any,
        buckets: Any,
        prompts: Any = None,
        *,
        prompt_ids: Sequence[int] | None = None,
        pool: Measured | None = None,
    ) -> npt.NDArray[np.float64]:
        """Return 2 (E d(y, H) − E d(y, Y′)) of each response, Y′ those of the bucket's other prompts.

        Its expected policy gradient, with a baseline of the same prompt's other responses, is that of E². (With Y′ of
        the same prompt it would not be: the baseline sees y through the others' scores.)

        Parameters
        ----------
        responses, buckets, prompts, prompt_ids
            As of :meth:`measure`.
        pool : Measured, optional
            Further responses that Y′ may be.

        Returns
        -------
        numpy.ndarray of float64, shape (n,)
            NaN where the bucket has no humans, or no responses to other prompts.
        """
        return self.compare(self.measure(responses, buckets, prompts, prompt_ids=prompt_ids), pool).scores

    def energy(
        self, responses: Any, buckets: Any, prompts: Any = None, *, prompt_ids: Sequence[int] | None = None
    ) -> dict[str, Energy]:
        """Return E² of every bucket's responses from its humans, with what humans have.

        Parameters are those of :meth:`measure`; buckets are in the order of their first responses.
        """
        return self.compare(self.measure(responses, buckets, prompts, prompt_ids=prompt_ids)).buckets

    def __repr__(self) -> str:
        features = "" if len(self.features) == len(registry()) else f", {len(self.features)} features"
        return f"DistributionTerm({self.reference!r}, over={self.over!r}{features})"


def _features(known: Sequence[Feature], wanted: Sequence[str] | str | None) -> tuple[str, ...]:
    """Return the names of the wanted features, in the registry's order."""
    wanted = GROUPS if wanted is None else [wanted] if isinstance(wanted, str) else list(wanted)
    names = {feature.name for feature in known}
    unknown = next((name for name in wanted if name not in GROUPS and name not in names), None)
    if unknown is not None:
        raise ValueError(
            f"features: {unknown!r} is neither a feature (polyalign.features.registry() lists them) nor a group of "
            f"them ({', '.join(GROUPS)})"
        )
    chosen = set(wanted)
    return tuple(feature.name for feature in known if feature.name in chosen or feature.group in chosen)


def _prompt_id(prompt: list[tuple[str, str]] | None) -> int:
    """Return a number that stands for a prompt, the same on all processes; of one that is not known a new one."""
    if not prompt:
        return next(_UNKNOWN)
    spelled = json.dumps(prompt).encode()
    return int.from_bytes(hashlib.blake2b(spelled, digest_size=8).digest(), "little") >> 1


def _nan(told: dict[str, Any]) -> dict[str, float]:
    return {name: math.nan for name in ("energy", "floor", "within") if told[name] is None}
