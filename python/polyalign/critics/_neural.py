"""The paper's learned critic: an encoder, the bucket's parts as vectors, and a small network above them."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from polyalign._io.extras import training_module
from polyalign.buckets import BucketSchema, _ids
from polyalign.buckets._schema import axis_names
from polyalign.critics import _network, _saved
from polyalign.critics._calibration import SURE, CalibratedCritic, Calibration, keys_of
from polyalign.critics._encoder import OWN, HuggingFaceEncoder, Known, as_encoder, check_reads, saved_encoder
from polyalign.critics._protocol import FURTHEST
from polyalign.critics._sides import Rows, examples_of
from polyalign.critics._vectors import Cache, last_messages

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.reference import Reference

Objective = Literal["classification", "paper"]
_OBJECTIVES = ("classification", "paper")
_CHUNK = 4096
#: Tokens that an encoder reads which learns, as the published critic's.
_LENGTH = 512
# Of frozen vectors a step may be of more rows.
_PAIRS_A_STEP, _ROWS_A_STEP, _VECTORS_A_STEP = 8, 16, 64


class NeuralCritic(CalibratedCritic):
    """An encoder's vector of a response, and of its prompt where there are prompts, with the bucket's; a network.

    The encoder is frozen, its vectors are made once and kept in `cache`; or it learns as well (`train_encoder`), and is
    saved with the critic. A bucket is the mean of vectors that stand
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
        self._vectors = Cache(Known(encoder, probe, settings), cache)
        self._network = {name: np.asarray(network[name], dtype=np.float32) for name in _network.TENSORS}
        self._parts = list(parts)
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
        cut: Sequence[bool] | None = None,
        objective: Objective = "classification",
        reference: Reference | None = None,
        schema: BucketSchema | None = None,
        epochs: int = 3,
        learning_rate: float = 1e-3,
        train_encoder: bool | int = False,
        encoder_learning_rate: float = 2e-5,
        mixed_precision: str | None = None,
        held_out: float = 0.25,
        cache: str | os.PathLike[str] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 500,
        seed: int = 0,
        progress: bool = False,
    ) -> NeuralCritic:
        """Train one, and calibrate it with humans that it has not seen.

        Where ``accelerate launch`` or ``torchrun`` starts several processes, each calls this with the same rows, has
        its part of every batch, and returns the same critic, which the first one saves. One process gives the same
        bytes every time.

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
        cut : sequence of bool, length n, optional
            Whether a limit of tokens has cut the sample: it counts at the human's length alone, so that its end, which
            tells of the limit, is not learnt.
        objective : {"classification", "paper"}, default "classification"
        reference : Reference, optional
            What the support distance is of; ``"paper"`` needs it.
        schema : BucketSchema, optional
            Default: the reference's, else ``BucketSchema()``.
        epochs : int, default 3
        learning_rate : float, default 0.001
            Of AdamW, for the network.
        train_encoder : bool or int, default False
            Whether the encoder learns: all of it, or so many of its last layers. Named, it reads 512 tokens of a text;
            a :class:`HuggingFaceEncoder` says otherwise, and stays as it is: a copy learns. Its dropout is off.
        encoder_learning_rate : float, default 0.00002
            Of AdamW, for the encoder.
        mixed_precision : {"no", "bf16", "fp16"}, optional
            What the encoder computes in while it learns. Default: what ``accelerate launch`` was told, else all digits.
        held_out : float, default .25
            The share of rows that calibrate, by the hash of their group.
        cache : str or PathLike, optional
            A folder in which a frozen encoder's vectors are kept: an interrupted run goes on with those that there are.
        checkpoint : str or PathLike, optional
            A folder in which the training is kept. An interrupted one goes on from there, and ends with the same bytes.
        checkpoint_every : int, default 500
            After so many steps.
        seed : int, default 0
        progress : bool, default False
            Show how many rows are learnt, where standard error is a terminal.

        Raises
        ------
        TypeError
            `train_encoder` with a function.
        ValueError
            Lengths that differ; fewer than 20 humans or samples to train on; ``"paper"`` without a reference; an
            encoder that would see the beginnings of all responses alone, or has fewer layers; a checkpoint of another
            schema, encoder, data or settings.
        ImportError
            torch or accelerate is missing.
        """
        _check(objective, reference, train_encoder, mixed_precision)
        for name, value in (
            ("epochs", epochs),
            ("learning_rate", learning_rate),
            ("encoder_learning_rate", encoder_learning_rate),
            ("checkpoint_every", checkpoint_every),
        ):
            if not value > 0:
                raise ValueError(f"{name} is {value}: it must be above 0")
        schema = schema or (BucketSchema() if reference is None else reference.schema)
        rows = Rows.of(responses, buckets, samples, prompts=prompts, groups=groups, cut=cut)
        known, unseen = rows.parted(held_out, schema)
        for module in ("torch", "accelerate"):
            training_module(module, "training this critic")
        from polyalign.critics import _learning

        learns = train_encoder is not False
        asked = _learning.Settings(
            epochs=epochs,
            batch=_PAIRS_A_STEP if objective == "paper" else _ROWS_A_STEP if learns else _VECTORS_A_STEP,
            rate=learning_rate,
            seed=seed,
            encoder_rate=encoder_learning_rate if learns else 0.0,
            layers=train_encoder,
            mixed_precision=mixed_precision,
        )
        parts = sorted({part for bucket in set(known.buckets) for part in _network.parts_of(bucket)})
        lessons = _learning.Lessons(*_texts(known, objective, parts, reference, seed))
        with _learning.Learner(asked) as learner:  # first, so that an encoder is opened where its process computes
            found = _own_encoder(encoder) if learns else as_encoder(encoder)
            check_reads(found, known.responses)
            settings: dict[str, Any] = {"encoder": found.told, "prompts": prompts is not None, "objective": objective}
            probe = Known.probe(found)
            network = learner(
                lessons,
                found,
                Cache(Known(found, probe, settings), cache),
                probe,
                objective=objective,
                schema=json.dumps(json.loads(schema.to_json()), sort_keys=True),
                checkpoint=checkpoint,
                every=checkpoint_every,
                progress=progress,
            )
        if learns:
            settings["encoder"], probe = {**found.told, "own": True}, Known.probe(found)
        told: dict[str, Any] = {"epochs": epochs, "learning_rate": learning_rate, "seed": seed}
        if learns:
            told |= {"train_encoder": train_encoder, "encoder_learning_rate": encoder_learning_rate}
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
                **told,
            },
            cache=cache,
        )
        return critic.calibrate(unseen.responses, unseen.buckets, prompts=unseen.prompts)

    # ----------------------------------------------------------------------------------------------- scoring

    def score(
        self, responses: Sequence[str], buckets: Sequence[str | None], prompts: Sequence[Any] | None = None
    ) -> npt.NDArray[np.float32]:
        """Score responses; the furthest for what says nothing, NaN where the bucket is none under the schema.

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
            vectors = self._vectors([responses[at] for at in rows])
            if asked is not None:
                vectors = np.concatenate([vectors, self._vectors(last_messages(asked))], axis=1)
            shares = _network.shares([buckets[at] or "" for at in rows], self._parts)
            found[rows] = _network.forward(self._network, vectors, shares)
            blank = [at for at in rows if not responses[at].strip()]
            found[blank] = FURTHEST if self._settings["objective"] == "paper" else SURE
        return found

    def _is_bucket(self, bucket: str | None) -> bool:
        try:
            _ids.checked_parts(bucket or "", self._axes)
        except ValueError:
            return False
        return True

    # ------------------------------------------------------------------------------------------------ saving

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Save it as a folder, with its encoder where that was trained; else its name, or what a function is called.

        Raises
        ------
        FileExistsError
            Something is there that is not replaced.
        """
        settings = {**self._settings, "parts": self._parts, "provenance": self.provenance}
        tensors: dict[str, npt.NDArray[Any]] = {
            **{f"network/{name}": values for name, values in self._network.items()},
            "probe": self._probe,
            "trained": self._trained,
            **(self.calibration.tensors() if self.calibration else {}),
        }
        parts = {OWN: self._encoder} if self._settings["encoder"].get("own") else {}
        _saved.write(folder, "neural", self.schema, settings, tensors, overwrite=overwrite, parts=parts)

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
        return cls.from_saved(_saved.read(folder, "neural"), encoder=encoder, cache=cache)

    @classmethod
    def from_saved(cls, saved: _saved.Saved, *, encoder: Any = None, cache: Any = None) -> NeuralCritic:
        """Take what was saved; ``ValueError`` where it is damaged."""
        settings = {"encoder": saved.setting("encoder", dict), "prompts": saved.setting("prompts", bool)}
        settings["objective"] = saved.setting("objective", str)
        parts = saved.setting("parts", list)
        probe = saved.tensor("probe", np.float32, (None,))
        shapes = _network.shapes(len(parts), (2 if settings["prompts"] else 1) * len(probe))
        network = {name: saved.tensor(f"network/{name}", np.float32, shape) for name, shape in shapes.items()}
        if not all(isinstance(part, str) for part in parts):
            raise ValueError(f"{saved.folder}: parts of buckets that can't be; it is damaged: train anew")
        calibration = Calibration.of_saved(saved)
        found = saved_encoder(saved, settings["encoder"], encoder)
        if encoder is not None:
            settings["encoder"] = found.told
        return cls(
            schema=saved.schema,
            encoder=found,
            network=network,
            parts=parts,
            settings=settings,
            probe=probe,
            trained=saved.tensor("trained", np.uint64, (None,)),
            provenance=saved.setting("provenance", dict),
            calibration=calibration,
            cache=cache,
        )

    def __repr__(self) -> str:
        told = self.provenance
        prompts = ", with prompts" if self.uses_prompts else ""
        return (
            f"<NeuralCritic of {told['humans']:,} humans and {told['samples']:,} samples, "
            f"{self._settings['objective']}{prompts}>"
        )


def _check(objective: str, reference: Any, train_encoder: bool | int, mixed_precision: str | None) -> None:
    """Refuse settings that can't be."""
    if objective not in _OBJECTIVES:
        raise ValueError(f"objective is {objective!r}: it is one of {', '.join(map(repr, _OBJECTIVES))}")
    if objective == "paper" and reference is None:
        raise ValueError("objective 'paper' learns the support distance: give a reference")
    if train_encoder is not False and train_encoder < 1:
        raise ValueError(f"train_encoder is {train_encoder}: it is a number of layers, or whether all learn")
    if mixed_precision not in (None, "no", "bf16", "fp16"):
        raise ValueError(f"mixed_precision is {mixed_precision!r}: it is one of 'no', 'bf16', 'fp16'")


def _own_encoder(given: Any) -> HuggingFaceEncoder:
    """Return an encoder that may be changed."""
    if isinstance(given, HuggingFaceEncoder):
        return copy.deepcopy(given)
    if isinstance(given, (str, os.PathLike)):
        return HuggingFaceEncoder(os.fspath(given), max_length=_LENGTH)
    raise TypeError(
        f"train_encoder with a {type(given).__name__}: what learns is an encoder of transformers, by its folder or "
        "its name on the hub"
    )


def _texts(
    rows: Rows, objective: str, parts: Sequence[str], reference: Reference | None, seed: int
) -> tuple[list[list[str]], npt.NDArray[np.float32], npt.NDArray[np.float32], int]:
    """Return the texts to learn by, as segments of rows; the rows' buckets; what is to be learnt of each; how many.

    For the classification a row is an example, and its targets are side and weight. For the paper's objective humans
    come first and their samples after them, and the target is the distance, NaN where it is not defined.
    """
    if objective == "paper":
        assert reference is not None
        both = [at for at, sample in enumerate(rows.samples) if sample is not None]
        texts = [rows.responses[at] for at in both] + [rows.samples[at] or "" for at in both]
        at, count = both * 2, len(both)
    else:
        examples = examples_of(rows, seed)
        texts, at, count = examples.texts, examples.rows, len(examples.texts)
    buckets = [rows.buckets[row] for row in at]
    prompts = None if rows.prompts is None else [rows.prompts[row] for row in at]
    if objective == "paper":
        assert reference is not None
        targets = reference.support_distance(texts, buckets, prompts=prompts, warn=False)[:, None]
    else:
        targets = np.column_stack([examples.machine, examples.balanced(rows.buckets)])
    segments = [texts, *([] if prompts is None else [last_messages(prompts)])]
    return segments, _network.shares(buckets, parts), targets.astype(np.float32), count
