"""The distance from a bucket's humans in the space of an encoder, as a critic."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from polyalign import distances
from polyalign._text.words import counted
from polyalign.buckets import BucketSchema, _ids
from polyalign.buckets._schema import axis_names
from polyalign.critics import _saved
from polyalign.critics._calibration import MIN_COUNT, Calibration
from polyalign.critics._encoder import HuggingFaceEncoder, Known, as_encoder, check_cut, saved_encoder, unit
from polyalign.critics._sample import SupportSample

if TYPE_CHECKING:
    import numpy.typing as npt

Metric = Literal["knn", "energy", "mahalanobis"]
_METRICS = ("knn", "energy", "mahalanobis")
_FOLDS = 10
#: Vectors that are nearer to each other are those of one text.
_SAME = 1e-3


class EmbeddingCritic:
    """How far a response lies from the humans of its bucket in the space of an encoder.

    Each bucket is a sample of its humans' responses, as vectors of length 1. A response's score is its mean distance to
    the `k` nearest of them (``"knn"``, 0 to 2); or ``"energy"``, 2 E|x − y| − E|y − y′| (0 to 4); or
    ``"mahalanobis"``, its distance from their mean in their covariance. One that is a human's of the sample, word for
    word, is measured by the others, so that to repeat a human is no way to be nearest. Blank responses are the furthest
    there is. It does not look at prompts.

    Made by :meth:`train`, :meth:`of_sample` or :func:`polyalign.critics.load`.

    Examples
    --------
    >>> import numpy as np
    >>> def encode(texts):  # how often each of five letters is there
    ...     return np.array([[1 + text.count(letter) for letter in "aeiou"] for text in texts], dtype=np.float32)
    >>> humans, buckets = [f"Yes, {word}." for word in "it is as we all see it in a year or so".split()] * 2, []
    >>> critic = EmbeddingCritic.train(humans, ["en|single|qa|short"] * len(humans), encode)
    >>> near, far = critic.score(["Yes, it is.", "uuuuuu"], ["en|single|qa|short"] * 2)
    >>> bool(near < far)
    True
    """

    #: It looks at responses alone.
    uses_prompts = False

    def __init__(
        self,
        *,
        schema: BucketSchema,
        encoder: Any,
        vectors: npt.NDArray[np.float32],
        hashes: npt.NDArray[np.uint64],
        sizes: Mapping[str, int],
        settings: Mapping[str, Any],
        probe: npt.NDArray[np.float32],
        provenance: Mapping[str, Any],
        calibration: Calibration,
        threads: int | None = None,
    ) -> None:
        self.schema, self.provenance = schema, dict(provenance)
        self.metric, self.k, self.min_count = settings["metric"], settings["k"], settings["min_count"]
        self.keep_thinking: bool = settings["keep_thinking"]
        #: Responses that the encoder has read the beginning of alone, since this was made or loaded.
        self.truncated = 0
        self._settings, self._encoder, self._probe, self._threads = dict(settings), encoder, probe, threads
        self._vectors, self._hashes, self._sizes = vectors, hashes, dict(sizes)
        self._axes = axis_names(schema)
        self._levels = self._supports()
        self._known = Known(encoder, probe, self._settings)
        self.calibration = calibration

    # ------------------------------------------------------------------------------------------------ making

    @classmethod
    def train(
        cls,
        responses: Sequence[str],
        buckets: Sequence[str | None],
        encoder: str | HuggingFaceEncoder | Callable[[list[str]], Any],
        *,
        prompts: Sequence[Any] | None = None,
        schema: BucketSchema | None = None,
        metric: Metric = "knn",
        k: int = 10,
        min_count: int = MIN_COUNT,
        sample_size: int = 256,
        calibration_size: int = 768,
        keep_thinking: bool = False,
        threads: int | None = None,
    ) -> EmbeddingCritic:
        """Make one of human responses.

        Parameters
        ----------
        responses : sequence of str, length n
            What people said.
        buckets : sequence of str, length n
        encoder : str or callable
            A folder or a name on the hub, of an encoder whose last hidden state is averaged; a
            :class:`HuggingFaceEncoder`, which has its settings; or ``encode(list of str) -> float32 [n, dimension]``.
        prompts : sequence, length n, optional
            What rows are drawn by, beside the response.
        schema : BucketSchema, optional
            What makes the buckets. Default: ``BucketSchema()``.
        metric : {"knn", "energy", "mahalanobis"}, default "knn"
        k : int, default 10
            Neighbours, of ``"knn"``.
        min_count : int, default 20
            A bucket with fewer humans is served by its nearest ancestor.
        sample_size : int, default 256
            Humans that stand for a bucket, or an ancestor.
        calibration_size : int, default 768
            Further humans of each bucket that percentiles are calibrated with, beside these.
        keep_thinking : bool, default False
            Whether reasoning counts as part of a response.
        threads : int, optional
            Of distances. Default: ``POLYALIGN_NUM_THREADS``, else every core.

        Raises
        ------
        ValueError
            Lengths that differ, a bucket that is none under the schema, too few humans in any language, an encoder that
            reads of every response the beginning alone, or gives no vectors.
        OSError, ImportError
            There is no such encoder.

        Warns
        -----
        UserWarning
            Responses are longer than what the encoder reads.
        """
        sample = SupportSample(sample_size + calibration_size, keep_thinking=keep_thinking)
        sample.add(responses, buckets, prompts)
        return cls.of_sample(
            sample,
            encoder,
            schema=schema,
            metric=metric,
            k=k,
            min_count=min_count,
            sample_size=sample_size,
            threads=threads,
        )

    @classmethod
    def of_sample(
        cls,
        sample: SupportSample,
        encoder: str | HuggingFaceEncoder | Callable[[list[str]], Any],
        *,
        schema: BucketSchema | None = None,
        metric: Metric = "knn",
        k: int = 10,
        min_count: int = MIN_COUNT,
        sample_size: int = 256,
        threads: int | None = None,
    ) -> EmbeddingCritic:
        """Make one of a sample, which may have been merged of parts; the same sample gives the same bytes.

        The first `sample_size` humans of each bucket stand for it; all of them calibrate. Parameters and errors are
        those of :meth:`train`.
        """
        schema = schema or BucketSchema()
        if metric not in _METRICS:
            raise ValueError(f"metric is {metric!r}: it is one of {', '.join(map(repr, _METRICS))}")
        for name, value, least in (("k", k, 1), ("min_count", min_count, 3), ("sample_size", sample_size, min_count)):
            if value < least:
                raise ValueError(f"{name} is {value}: it must be at least {least}")
        for bucket in sample.rows:
            _ids.checked_parts(bucket, axis_names(schema))
        found = as_encoder(encoder)
        rows = [(bucket, at, *row) for bucket, kept in sample.rows.items() for at, row in enumerate(kept)]
        if not rows:
            raise ValueError("there are no human responses: all are blank, or have no bucket")
        vectors, cut = found([response for *_, response in rows])
        check_cut(found, cut)
        vectors = unit(vectors)
        if np.isnan(vectors).any():
            bad = int(np.flatnonzero(np.isnan(vectors).any(axis=1))[0])
            raise ValueError(f"encoder {found!r} gave no vector, or one of zeros, of {rows[bad][-1][:60]!r}")
        stands = np.array([at < sample_size for _, at, _, _ in rows], dtype=bool)
        buckets = [bucket for bucket, *_ in rows]
        made = cls(
            schema=schema,
            encoder=found,
            vectors=vectors[stands],
            hashes=np.array([drawn for _, _, drawn, _ in rows], dtype=np.uint64)[stands],
            sizes={bucket: min(len(kept), sample_size) for bucket, kept in sample.rows.items()},
            settings={
                "metric": metric,
                "k": k,
                "min_count": min_count,
                "sample_size": sample_size,
                "keep_thinking": sample.keep_thinking,
            },
            probe=Known.probe(found),
            provenance={"humans": sample.counts, "truncated": int(cut.sum())},
            calibration=Calibration({}),
            threads=threads,
        )
        made._calibrate(vectors, stands, buckets)
        return made

    def _supports(self) -> dict[str, _Support]:
        """Return every level that has enough humans: those of its buckets with the smallest hashes."""
        rows: dict[str, list[int]] = {}
        start = 0
        for bucket, size in self._sizes.items():
            for level in _ids.targets(bucket, self._axes):
                rows.setdefault(level, []).extend(range(start, start + size))
            start += size
        found = {}
        for level, places in rows.items():
            drawn = np.array(places)[np.argsort(self._hashes[places], kind="stable")][: self._settings["sample_size"]]
            if len(drawn) >= self.min_count:
                found[level] = _Support(drawn, self._vectors[drawn], self.metric, self.k, self._threads)
        return found

    def _calibrate(
        self, vectors: npt.NDArray[np.float32], stands: npt.NDArray[np.bool_], buckets: Sequence[str]
    ) -> None:
        """Calibrate with humans: each by the others that stand for its bucket."""
        found = np.full(len(vectors), np.nan)
        # Places among those that stand; of the others none.
        places = np.where(stands, np.cumsum(stands) - 1, -1)
        rows: dict[str, list[int]] = {}
        for at, bucket in enumerate(buckets):
            rows.setdefault(self.serving(bucket) or "", []).append(at)
        for level, of_level in rows.items():
            if level not in self._levels:
                continue
            support, asked = self._levels[level], np.array(of_level)
            left_out = np.full(len(self._vectors) + 1, np.nan)
            left_out[support.places] = support.left_out()
            own = left_out[places[asked]]  # the last is nobody's
            found[asked] = np.where(np.isnan(own), support.score(vectors[asked]), own)
        self.calibration = Calibration.fit(found, buckets, axes=self._axes, min_count=self.min_count)

    # ----------------------------------------------------------------------------------------------- scoring

    def score(
        self, responses: Sequence[str], buckets: Sequence[str | None], prompts: Sequence[Any] | None = None
    ) -> npt.NDArray[np.float32]:
        """Score responses: 0 where humans are; NaN where nobody stands for the bucket.

        Raises
        ------
        ValueError
            There is no encoder (a saved critic has none that was a function), or it is another than the critic's.
        """
        if len(responses) != len(buckets):
            raise ValueError(
                f"{counted(len(responses), 'response')} and {counted(len(buckets), 'bucket')}: one for each"
            )
        found = np.full(len(responses), np.nan)
        places: dict[str, list[int]] = {}
        for at, bucket in enumerate(buckets):
            level = self.serving(bucket or "")
            if level is not None:
                if responses[at].strip():
                    places.setdefault(level, []).append(at)
                else:
                    found[at] = self._levels[level].furthest
        asked = [at for of_level in places.values() for at in of_level]
        if asked:
            vectors = np.full((len(responses), self._vectors.shape[1]), np.nan, dtype=np.float32)
            vectors[asked] = self._encoded([responses[at] for at in asked])
            for level, of_level in places.items():
                known = [at for at in of_level if not np.isnan(vectors[at]).any()]
                if known:
                    found[known] = self._levels[level].score(vectors[known])
        return found.astype(np.float32)

    def percentile(
        self, responses: Sequence[str], buckets: Sequence[str | None], prompts: Sequence[Any] | None = None
    ) -> npt.NDArray[np.float32]:
        """Return the share of the bucket's humans that are closer than each response; NaN where it has no score."""
        return self.calibration.percentile(self.score(responses, buckets), buckets)

    def serving(self, bucket: str) -> str | None:
        """Return the level whose humans stand for a bucket: itself, or its nearest ancestor; ``None``: nobody."""
        if bucket in self._levels:
            return bucket
        try:
            levels = _ids.targets(bucket, self._axes)
        except ValueError:
            return None
        return next((level for level in levels if level in self._levels), None)

    def _encoded(self, texts: list[str]) -> npt.NDArray[np.float32]:
        vectors, cut = self._known.read(texts)
        self.truncated += int(cut.sum())
        return vectors

    # ------------------------------------------------------------------------------------------------ saving

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Save it as a folder; of the encoder its name and revision, of a function nothing but what it is called.

        Raises
        ------
        FileExistsError
            Something is there that is not replaced.
        """
        encoder = self._settings.get("encoder") if self._encoder is None else self._encoder.told
        settings = {**self._settings, "encoder": encoder, "sizes": self._sizes, "provenance": self.provenance}
        tensors: dict[str, npt.NDArray[Any]] = {
            "vectors": self._vectors,
            "hashes": self._hashes,
            "probe": self._probe,
            **self.calibration.tensors(),
        }
        _saved.write(folder, "embedding", self.schema, settings, tensors, overwrite=overwrite)

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], *, encoder: Any = None, threads: int | None = None
    ) -> EmbeddingCritic:
        """Load one that was saved.

        Parameters
        ----------
        folder : str or PathLike
        encoder : optional
            As of :meth:`train`, in the place of the one that it names; needed where that was a function.
        threads : int, optional

        Raises
        ------
        FileNotFoundError, ValueError
            There is none, or it is of another kind, or damaged.
        """
        return cls.from_saved(_saved.read(folder, "embedding"), encoder=encoder, threads=threads)

    @classmethod
    def from_saved(cls, saved: _saved.Saved, *, encoder: Any = None, threads: int | None = None) -> EmbeddingCritic:
        """Take what was saved; ``ValueError`` where it is damaged."""
        kinds = {"metric": str, "k": int, "min_count": int, "sample_size": int, "keep_thinking": bool, "encoder": dict}
        settings = {name: saved.setting(name, kind) for name, kind in kinds.items()}
        sizes, told = saved.setting("sizes", dict), settings["encoder"]
        axes = axis_names(saved.schema)
        least = {"k": 1, "min_count": 3, "sample_size": 1}
        if settings["metric"] not in _METRICS or any(settings[name] < low for name, low in least.items()):
            raise _damaged(saved, "settings that can't be")
        if not all(_is_size(bucket, size, axes) for bucket, size in sizes.items()) or [*sizes] != sorted(sizes):
            raise _damaged(saved, "buckets that can't be")
        vectors = saved.tensor("vectors", np.float32, (sum(sizes.values()), None))
        hashes = saved.tensor("hashes", np.uint64, (len(vectors),))
        probe = saved.tensor("probe", np.float32, (vectors.shape[1],))
        if not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3) or not vectors.shape[1]:
            raise _damaged(saved, "vectors that are not of length 1")
        calibration = Calibration.from_tensors(saved.tensors, axes, str(saved.folder))
        return cls(
            schema=saved.schema,
            encoder=saved_encoder(saved, told, encoder),
            vectors=vectors,
            hashes=hashes,
            sizes=sizes,
            settings=settings,
            probe=probe,
            provenance=saved.setting("provenance", dict),
            calibration=calibration,
            threads=threads,
        )

    def __repr__(self) -> str:
        name = self._settings["encoder"]["function"] if self._encoder is None else repr(self._encoder)
        humans = f"{counted(len(self._vectors), 'human')} in {counted(len(self._sizes), 'bucket')}"
        return f"<EmbeddingCritic: {self.metric}, {humans}, encoder {name}>"


class _Support:
    """The humans of a level."""

    def __init__(
        self, places: npt.NDArray[np.int64], vectors: npt.NDArray[np.float32], metric: str, k: int, threads: int | None
    ) -> None:
        self.places, self._vectors, self._metric, self._k, self._threads = places, vectors, metric, k, threads

    def score(self, queries: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the distance of each vector, shape [n]; one that is among the humans' is left out for itself."""
        if self._metric == "mahalanobis":
            return distances.mahalanobis(queries, self._vectors, threads=self._threads)
        return self._nearest(queries) if self._metric == "knn" else self._energy(queries)

    def left_out(self) -> npt.NDArray[np.float64]:
        """Return the distance of each human from the others, shape [m]."""
        if self._metric != "mahalanobis":
            return self.score(self._vectors)
        # A covariance for each human would be too many.
        found = np.empty(len(self._vectors))
        for fold in range(_FOLDS):
            is_in = np.arange(len(found)) % _FOLDS == fold
            if is_in.any():
                others = self._vectors[~is_in]
                found[is_in] = distances.mahalanobis(self._vectors[is_in], others, threads=self._threads)
        return found

    def _nearest(self, queries: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        count = len(self._vectors)
        apart, _ = distances.nearest(queries, self._vectors, min(self._k + 1, count), threads=self._threads)
        found: npt.NDArray[np.float64] = apart[:, : min(self._k, count)].mean(axis=1)
        return np.where(apart[:, 0] < _SAME, apart[:, 1:].mean(axis=1), found)

    def _energy(self, queries: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        count = len(self._vectors)
        sums = self._sums(queries)
        is_own = distances.nearest(queries, self._vectors, 1, threads=self._threads)[0][:, 0] < _SAME
        found = 2 * sums / count - self._among / count**2
        others = 2 * sums / (count - 1) - (self._among - 2 * sums) / (count - 1) ** 2
        return np.maximum(np.where(is_own, others, found), 0.0)

    @cached_property
    def _among(self) -> float:
        """Σ |y − y′|."""
        return float(self._sums(self._vectors).sum())

    def _sums(self, queries: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return Σ |x − y| of each vector."""
        count = len(self._vectors)
        found: npt.NDArray[np.float64] = distances.knn_distance(queries, self._vectors, count, threads=self._threads)
        return found * count

    @cached_property
    def furthest(self) -> float:
        """What a response that says nothing has: the most that vectors of length 1 can, or twice any human's."""
        if self._metric == "mahalanobis":
            return 2 * float(self.left_out().max())
        return 2.0 if self._metric == "knn" else 4.0


def _is_size(bucket: Any, size: Any, axes: Sequence[str]) -> bool:
    try:
        _ids.checked_parts(bucket, axes)
    except ValueError:
        return False
    return isinstance(size, int) and not isinstance(size, bool) and size > 0


def _damaged(saved: _saved.Saved, what: str) -> ValueError:
    return ValueError(f"{saved.folder}: {what}: it is damaged; train anew")
