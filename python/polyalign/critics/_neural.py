"""The paper's learned critic: an encoder, the bucket's parts as vectors, and a small network above them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from polyalign._io import responses as texts_of
from polyalign._io.extras import training_module
from polyalign.buckets import BucketSchema, _ids
from polyalign.buckets._schema import axis_names
from polyalign.critics import _saved
from polyalign.critics._calibration import CalibratedCritic, Calibration, keys_of
from polyalign.critics._encoder import Known, as_encoder, check_cut, named_encoder
from polyalign.critics._sides import Rows, examples_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.reference import Reference

Objective = Literal["classification", "paper"]
_OBJECTIVES = ("classification", "paper")
_CHUNK = 4096
#: Responses by which it is seen whether the encoder has room for them.
_TRIED = 256
_BUCKET, _HIDDEN, _DROPOUT = 64, 256, 0.1
_MARGIN, _PAIRS_A_STEP, _ROWS_A_STEP = 0.1, 8, 16
_TENSORS = ("parts", "hidden.weight", "hidden.bias", "out.weight", "out.bias")


class NeuralCritic(CalibratedCritic):
    """An encoder's vector of a response, and of its prompt where there are prompts, with the bucket's; a network.

    The encoder is frozen: its vectors are made once, and kept in `cache`. A bucket is the mean of vectors that stand
    for its parts, so that an unseen combination of known parts is not unknown. Above them are a layer of 256, GELU, and
    one number, made positive by softplus. ``objective="classification"`` learns humans against samples and attacks, as
    :class:`DiscriminativeCritic` does; ``"paper"`` learns the support distance of both sides (L1) and that a sample's
    score is .1 above its human's (hinge), as the published critic does (arXiv:2606.13227).

    Made by :meth:`train` or :func:`polyalign.critics.load`.
    """

    def __init__(
        self,
        *,
        schema: BucketSchema,
        encoder: Any,
        network: Mapping[str, npt.NDArray[np.float32]],
        parts: Sequence[str],
        settings: Mapping[str, Any],
        probe: npt.NDArray[np.float32],
        trained: npt.NDArray[np.uint64],
        provenance: Mapping[str, Any],
        calibration: Calibration | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        self.schema, self.provenance, self.calibration = schema, dict(provenance), calibration
        #: Whether it was trained with prompts.
        self.uses_prompts: bool = settings["prompts"]
        self._settings = dict(settings)
        self._encoder, self._probe, self._trained = encoder, probe, trained
        self._vectors = _Cache(Known(encoder, probe, settings), cache)
        self._network = {name: np.asarray(network[name], dtype=np.float32) for name in _TENSORS}
        self._part_names = list(parts)
        self._part_places = {name: at for at, name in enumerate(self._part_names)}
        self._axes = axis_names(schema)

    @classmethod
    def train(
        cls,
        responses: Sequence[str],
        buckets: Sequence[str],
        samples: Sequence[str | None],
        encoder: Any,
        *,
        prompts: Sequence[Any] | None = None,
        groups: Sequence[str] | None = None,
        objective: Objective = "classification",
        reference: Reference | None = None,
        schema: BucketSchema | None = None,
        epochs: int = 3,
        learning_rate: float = 1e-3,
        held_out: float = 0.25,
        cache: str | os.PathLike[str] | None = None,
        seed: int = 0,
    ) -> NeuralCritic:
        """Train one, and calibrate it with humans that it has not seen.

        Parameters
        ----------
        responses : sequence of str, length n
            What people said.
        buckets : sequence of str, length n
        samples : sequence of str or None, length n
            What a model said to the same prompt; ``None``: nothing.
        encoder : str or callable
            As of :class:`EmbeddingCritic`.
        prompts : sequence, length n, optional
            As texts or message lists; the last message is what is read.
        groups : sequence of str, length n, optional
            Rows of one group are held out together.
        objective : {"classification", "paper"}, default "classification"
        reference : Reference, optional
            What the support distance is of; ``"paper"`` needs it.
        schema : BucketSchema, optional
            Default: the reference's, else ``BucketSchema()``.
        epochs : int, default 3
        learning_rate : float, default 0.001
            Of AdamW.
        held_out : float, default .25
            The share of rows that calibrate, by the hash of their group.
        cache : str or PathLike, optional
            A folder in which vectors are kept: an interrupted run goes on with those that there are.
        seed : int, default 0

        Raises
        ------
        ValueError
            Lengths that differ; fewer than 20 humans or samples to train on; ``"paper"`` without a reference; an
            encoder that would see the beginnings of all responses alone.
        ImportError
            torch is missing.
        """
        if objective not in _OBJECTIVES:
            raise ValueError(f"objective is {objective!r}: it is one of {', '.join(map(repr, _OBJECTIVES))}")
        if objective == "paper" and reference is None:
            raise ValueError("objective 'paper' learns the support distance: give a reference")
        if epochs < 1 or not learning_rate > 0:
            raise ValueError(f"epochs is {epochs} and learning_rate {learning_rate}: both must be above 0")
        schema = schema or (BucketSchema() if reference is None else reference.schema)
        for bucket in set(buckets):
            _ids.checked_parts(bucket, axis_names(schema))
        rows = Rows.of(responses, buckets, samples, prompts, groups)
        known, unseen = rows.split(held_out)
        known.check()
        found = as_encoder(encoder)
        if found.limit is not None:
            some = [text for text in known.responses if text.strip()][:_TRIED]
            check_cut(found, found(some)[1])
        settings: dict[str, Any] = {"encoder": found.told, "prompts": prompts is not None, "objective": objective}
        probe = Known.probe(found)
        vectors = _Cache(Known(found, probe, settings), cache)
        parts = sorted({part for bucket in set(known.buckets) for part in _parts(bucket)})
        learner = _Learner(vectors, parts, known.prompts is not None, seed)
        if objective == "paper":
            assert reference is not None
            network = learner.paper(known, reference, epochs, learning_rate)
        else:
            network = learner.classification(known, epochs, learning_rate, seed)
        critic = cls(
            schema=schema,
            encoder=found,
            network=network,
            parts=parts,
            settings=settings,
            probe=probe,
            trained=np.unique(keys_of(known.responses, known.prompts)),
            provenance={
                "humans": len(known.responses),
                "samples": sum(sample is not None for sample in known.samples),
                "seed": seed,
                "epochs": epochs,
                "learning_rate": learning_rate,
            },
            cache=cache,
        )
        return critic.calibrate(unseen.responses, unseen.buckets, prompts=unseen.prompts)

    # ----------------------------------------------------------------------------------------------- scoring

    def score(
        self, responses: Sequence[str], buckets: Sequence[str | None], prompts: Sequence[Any] | None = None
    ) -> npt.NDArray[np.float32]:
        """Score responses; NaN where the bucket is none under the schema.

        Raises
        ------
        ValueError
            There is no encoder, or another than the critic's; it was trained with prompts and there are none.
        """
        if self.uses_prompts and prompts is None:
            raise ValueError("the critic was trained with prompts: give them")
        found = np.full(len(responses), np.nan, dtype=np.float32)
        known = [at for at, bucket in enumerate(buckets) if self._is_bucket(bucket)]
        for start in range(0, len(known), _CHUNK):
            rows = known[start : start + _CHUNK]
            asked = None if prompts is None or not self.uses_prompts else [prompts[at] for at in rows]
            vectors = _inputs(self._vectors, [responses[at] for at in rows], asked)
            found[rows] = self._forward(vectors, [buckets[at] or "" for at in rows])
        return found

    def _forward(self, vectors: npt.NDArray[np.float32], buckets: Sequence[str]) -> npt.NDArray[np.float32]:
        network = self._network
        means = np.stack([network["parts"][_places(bucket, self._part_places)].mean(axis=0) for bucket in buckets])
        hidden = np.concatenate([vectors, means], axis=1) @ network["hidden.weight"].T + network["hidden.bias"]
        scores = _gelu(hidden) @ network["out.weight"].T + network["out.bias"]
        found: npt.NDArray[np.float32] = np.logaddexp(np.float32(0), scores[:, 0]).astype(np.float32)
        return found

    def _is_bucket(self, bucket: str | None) -> bool:
        try:
            _ids.checked_parts(bucket or "", self._axes)
        except ValueError:
            return False
        return True

    # ------------------------------------------------------------------------------------------------ saving

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Save it as a folder; of the encoder its name and revision, of a function nothing but what it is called.

        Raises
        ------
        FileExistsError
            Something is there that is not replaced.
        """
        settings = {**self._settings, "parts": self._part_names, "provenance": self.provenance}
        tensors: dict[str, npt.NDArray[Any]] = {
            **{f"network/{name}": values for name, values in self._network.items()},
            "probe": self._probe,
            "trained": self._trained,
            **(self.calibration.tensors() if self.calibration else {}),
        }
        _saved.write(folder, "neural", self.schema, settings, tensors, overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, encoder: Any = None, cache: Any = None) -> NeuralCritic:
        """Load one that was saved.

        Parameters
        ----------
        folder : str or PathLike
        encoder : optional
            In the place of the one that it names; needed where that was a function.
        cache : str or PathLike, optional
            As of :meth:`train`.

        Raises
        ------
        FileNotFoundError, ValueError
            There is none, or it is of another kind, or damaged.
        """
        saved = _saved.read(folder)
        if saved.kind != "neural":
            raise ValueError(f"{folder}: a critic of the kind {saved.kind!r}, not 'neural'")
        return cls.from_saved(saved, encoder=encoder, cache=cache)

    @classmethod
    def from_saved(cls, saved: _saved.Saved, *, encoder: Any = None, cache: Any = None) -> NeuralCritic:
        """Take what was saved; ``ValueError`` where it is damaged."""
        settings = {"encoder": saved.setting("encoder", dict), "prompts": saved.setting("prompts", bool)}
        settings["objective"] = saved.setting("objective", str)
        parts = saved.setting("parts", list)
        probe = saved.tensor("probe", np.float32, (None,))
        width = (2 if settings["prompts"] else 1) * len(probe) + _BUCKET
        shapes = ((len(parts) + 1, _BUCKET), (_HIDDEN, width), (_HIDDEN,), (1, _HIDDEN), (1,))
        tensors = zip(_TENSORS, shapes, strict=True)
        network = {name: saved.tensor(f"network/{name}", np.float32, shape) for name, shape in tensors}
        if not all(isinstance(part, str) for part in parts):
            raise ValueError(f"{saved.folder}: parts of buckets that can't be; it is damaged: train anew")
        if encoder is None and "function" not in settings["encoder"]:
            encoder = named_encoder(saved, settings["encoder"])
        calibration = Calibration.from_tensors(saved.tensors, axis_names(saved.schema), str(saved.folder))
        return cls(
            schema=saved.schema,
            encoder=None if encoder is None else as_encoder(encoder),
            network=network,
            parts=parts,
            settings=settings,
            probe=probe,
            trained=saved.tensor("trained", np.uint64, (None,)),
            provenance=saved.setting("provenance", dict),
            calibration=calibration if len(calibration) else None,
            cache=cache,
        )

    def __repr__(self) -> str:
        told = self.provenance
        prompts = ", with prompts" if self.uses_prompts else ""
        return (
            f"<NeuralCritic of {told['humans']:,} humans and {told['samples']:,} samples, "
            f"{self._settings['objective']}{prompts}>"
        )


class _Cache:
    """Vectors of texts, by the hash of a text and its encoder, in memory and, where there is a folder, on the disk."""

    def __init__(self, known: Known, folder: str | os.PathLike[str] | None) -> None:
        self._known, self._folder = known, None if folder is None else Path(folder)
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return a vector of each text, shape [n, dimension]; of a blank one zeros."""
        if self._folder is None:
            return self._of(texts)
        parts = [self._part(self._folder, texts[start : start + _CHUNK]) for start in range(0, len(texts), _CHUNK)]
        return np.concatenate(parts) if parts else self._of([])

    def _part(self, folder: Path, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        digest = hashlib.blake2b(self._known.key, digest_size=16)
        for text in texts:
            digest.update(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())
        path = folder / f"{digest.hexdigest()}.npy"
        try:
            found: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
            if found.shape == (len(texts), self._known.dimension) and found.dtype == np.float32:
                return found
        except (OSError, ValueError):
            pass  # none yet, or torn
        made = self._of(texts)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.save(file, made)
        partial.replace(path)
        return made

    def _of(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        found = np.zeros((len(texts), self._known.dimension), dtype=np.float32)
        asked = [at for at, text in enumerate(texts) if text.strip()]
        if asked:
            found[asked] = self._known([texts[at] for at in asked])
        return found


class _Learner:
    """Trains the network on vectors that the encoder has made."""

    def __init__(self, vectors: _Cache, parts: Sequence[str], with_prompts: bool, seed: int) -> None:
        self._torch = training_module("torch")
        self._vectors, self._with_prompts = vectors, with_prompts
        self._places = {name: at for at, name in enumerate(parts)}
        torch = self._torch
        self._random = torch.Generator().manual_seed(seed)
        width = (2 if with_prompts else 1) * vectors._known.dimension + _BUCKET
        self._network = {
            # The last stands for parts that were never seen.
            "parts": 0.1 * torch.randn(len(parts) + 1, _BUCKET, generator=self._random),
            "hidden.weight": torch.randn(_HIDDEN, width, generator=self._random) / width**0.5,
            "hidden.bias": torch.zeros(_HIDDEN),
            "out.weight": torch.randn(1, _HIDDEN, generator=self._random) / _HIDDEN**0.5,
            "out.bias": torch.zeros(1),
        }
        for tensor in self._network.values():
            tensor.requires_grad_()

    def classification(self, rows: Rows, epochs: int, rate: float, seed: int) -> dict[str, Any]:
        """Learn humans against samples and attacks, with the weights of both sides."""
        torch = self._torch
        examples = examples_of(rows, seed)
        prompts = None if rows.prompts is None else [rows.prompts[row] for row in examples.rows]
        inputs = torch.from_numpy(_inputs(self._vectors, examples.texts, prompts))
        buckets = self._buckets([rows.buckets[row] for row in examples.rows])
        weights = torch.from_numpy(examples.balanced(rows.buckets)).float()
        machine = torch.tensor(examples.machine).float()

        def loss(rows: Any) -> Any:
            margins = self._margins(inputs[rows], buckets[rows])
            each = torch.nn.functional.binary_cross_entropy_with_logits(margins, machine[rows], reduction="none")
            return (weights[rows] * each).mean()

        return self._descend(loss, len(examples.texts), 4 * _ROWS_A_STEP, epochs, rate)

    def paper(self, rows: Rows, reference: Reference, epochs: int, rate: float) -> dict[str, Any]:
        """Learn the support distance of both sides, and that a sample is further out than its human."""
        torch = self._torch
        both = [at for at, sample in enumerate(rows.samples) if sample is not None]
        sides = [[rows.responses[at] for at in both], [rows.samples[at] or "" for at in both]]
        of, prompts = (
            [rows.buckets[at] for at in both],
            None if rows.prompts is None else [rows.prompts[at] for at in both],
        )
        inputs = [torch.from_numpy(_inputs(self._vectors, side, prompts)) for side in sides]
        buckets = self._buckets(of)
        wanted = [reference.support_distance(side, of, prompts=prompts, warn=False) for side in sides]
        known = [torch.from_numpy(~np.isnan(side)).float() for side in wanted]
        targets = [torch.from_numpy(np.nan_to_num(side)).float() for side in wanted]

        def loss(rows: Any) -> Any:
            scores = [torch.nn.functional.softplus(self._margins(side[rows], buckets[rows])) for side in inputs]
            apart = [(k[rows] * (s - t[rows]).abs()).mean() for k, s, t in zip(known, scores, targets, strict=True)]
            return sum(apart) / 2 + (_MARGIN - scores[1] + scores[0]).clamp(min=0).mean()

        return self._descend(loss, len(both), _PAIRS_A_STEP, epochs, rate)

    def _buckets(self, buckets: Sequence[str]) -> Any:
        return self._torch.tensor([_places(bucket, self._places) for bucket in buckets])

    def _margins(self, inputs: Any, buckets: Any) -> Any:
        torch, network = self._torch, self._network
        whole = torch.cat([inputs, network["parts"][buckets].mean(dim=1)], dim=1)
        hidden = torch.nn.functional.gelu(whole @ network["hidden.weight"].T + network["hidden.bias"])
        kept = torch.rand(hidden.shape, generator=self._random) >= _DROPOUT
        return ((hidden * kept / (1 - _DROPOUT)) @ network["out.weight"].T + network["out.bias"])[:, 0]

    def _descend(self, loss: Callable[[Any], Any], count: int, batch: int, epochs: int, rate: float) -> dict[str, Any]:
        torch = self._torch
        optimizer = torch.optim.AdamW(self._network.values(), lr=rate)
        for _ in range(epochs):
            for rows in torch.randperm(count, generator=self._random).split(batch):
                optimizer.zero_grad()
                loss(rows).backward()
                torch.nn.utils.clip_grad_norm_(self._network.values(), 1.0)
                optimizer.step()
        return {name: tensor.detach().numpy() for name, tensor in self._network.items()}


def _inputs(vectors: _Cache, texts: Sequence[str], prompts: Sequence[Any] | None) -> npt.NDArray[np.float32]:
    own = vectors(texts)
    if prompts is None:
        return own
    asked = [prompt[-1][1] if prompt else "" for prompt in texts_of.prompts(prompts) or []]
    return np.concatenate([own, vectors(asked)], axis=1)


def _parts(bucket: str) -> list[str]:
    """Return the parts of a bucket, each with the number of its axis."""
    return [f"{axis}|{part}" for axis, part in enumerate(_ids.split(bucket))]


def _places(bucket: str, known: Mapping[str, int]) -> list[int]:
    return [known.get(part, len(known)) for part in _parts(bucket)]


def _gelu(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    from math import erf

    found: npt.NDArray[np.float32] = values * 0.5 * (1 + np.vectorize(erf, otypes=[np.float32])(values / np.sqrt(2)))
    return found.astype(np.float32, copy=False)
