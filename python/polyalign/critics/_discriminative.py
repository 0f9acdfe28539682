"""A classifier of human against machine as a critic."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign import _core, features
from polyalign._io.progress import row_bar
from polyalign.buckets import BucketSchema
from polyalign.buckets._schema import axis_names
from polyalign.critics import _saved, attacks
from polyalign.critics._calibration import SURE, CalibratedCritic, Calibration, keys_of
from polyalign.critics._embedded import Embedded
from polyalign.critics._embedded import from_saved as embedded_from_saved
from polyalign.critics._encoder import as_encoder, check_reads
from polyalign.critics._likelihood import NAMES as LIKELIHOOD_NAMES
from polyalign.critics._likelihood import Likelihood
from polyalign.critics._likelihood import from_saved as likelihood_from_saved
from polyalign.critics._once import CHUNK, Once, distances
from polyalign.critics._sides import Rows, examples_of
from polyalign.critics._vectors import scale_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.reference import Reference

_MOST_CHARACTERS, _BITS = 4, 18
_FOLDS = 5
#: Of standard scores, which are many: weights are held small. (Of .0001 to 1 the one that told most of folds unseen.)
_EMBEDDED_C = 0.01
# Texts are scored so many at a time.
_CHUNK = 20_000
#: Where a language model reads prompts, how a response fits its own is for trees of their own: few and small ones, of
#: what tells of the prompt alone.
_FITS = {"max_iter": 60, "max_leaf_nodes": 6, "max_features": 1.0, "min_samples_leaf": 20}
_NODES = ("roots", "column", "threshold", "missing_left", "left", "right", "value")
_TREES, _FIT = "trees", "prompt"
_NODE_TYPES = ("uint32", "int32", "float64", "bool", "uint32", "uint32", "float64")


class DiscriminativeCritic(CalibratedCritic):
    """A classifier of human against machine as a critic: −ln of the probability that a person wrote the response.

    Boosted trees over the features of a response (with its prompt), its support distance and lexical surprisals where a
    reference and a lexical critic are given, and the evidence of a logistic regression on hashed character n-grams; of
    another on an encoder's vectors, where one is given.
    Where a language model is given and prompts, further trees say how well the response fits its prompt, and the score
    is −ln of the probability of both. Trained by :meth:`train`, with scikit-learn; it scores without.

    Examples
    --------
    >>> import polyalign as pa
    >>> humans = [f"Well, I think it is number {n}." for n in range(120)]
    >>> samples = [f"Certainly! The number is {n}. I hope this helps!" for n in range(120)]
    >>> buckets = ["en|single|qa|short"] * 120
    >>> critic = DiscriminativeCritic.train(humans, buckets, samples, seed=0)
    >>> human, machine = critic.score(["Well, I think it is number 70.", "Certainly! I hope this helps!"], buckets[:2])
    >>> bool(human < machine)
    True
    """

    uses_prompts = True

    def __init__(
        self,
        *,
        schema: BucketSchema,
        weights: npt.NDArray[np.float32],
        bias: float,
        nodes: tuple[npt.NDArray[Any], ...],
        base: float,
        fits: tuple[tuple[npt.NDArray[Any], ...], float] | None = None,
        trained: npt.NDArray[np.uint64],
        provenance: Mapping[str, Any],
        reference: Reference | None = None,
        lexical: Any = None,
        likelihood: Likelihood | None = None,
        embedded: Embedded | None = None,
        calibration: Calibration | None = None,
        threads: int | None = None,
    ) -> None:
        self.schema = schema
        self.reference, self.lexical, self.likelihood = reference, lexical, likelihood
        self.calibration = calibration
        self._embedded = embedded
        self.provenance = dict(provenance)
        self._weights, self._bias = weights, bias
        self._nodes, self._base = nodes, base
        #: The nodes and base of trees that say how a response fits its prompt.
        self._fits = fits
        self._trained = trained
        self._threads = threads

    @classmethod
    def train(
        cls,
        responses: Sequence[str],
        buckets: Sequence[str],
        samples: Sequence[str | None],
        *,
        prompts: Sequence[Any] | None = None,
        groups: Sequence[str] | None = None,
        cut: Sequence[bool] | None = None,
        reference: Reference | None = None,
        lexical: Any = None,
        likelihood: Any = None,
        encoder: Any = None,
        cache: str | os.PathLike[str] | None = None,
        schema: BucketSchema | None = None,
        held_out: float = 0.25,
        seed: int = 0,
        threads: int | None = None,
        progress: bool = False,
    ) -> DiscriminativeCritic:
        """Train one, and calibrate it with humans that it has not seen.

        The machine's side are the samples, and every attack that a single response can show (:mod:`attacks`), half of
        the weight each; each sample counts as it is and cut to the length of the human's, as the human cut to its own.
        Within a bucket both sides weigh the same, so that the bucket tells nothing.

        Parameters
        ----------
        responses : sequence of str, length n
            What people said. Not rows that `lexical` was built of, whose words it would know too well.
        buckets : sequence of str, length n
        samples : sequence of str or None, length n
            What a model said to the same prompt; ``None``: nothing.
        prompts : sequence, length n, optional
            As texts or message lists.
        groups : sequence of str, length n, optional
            Rows of one group are held out together. Default: every row is its own.
        cut : sequence of bool, length n, optional
            Whether a limit of tokens has cut the sample: it counts at the human's length alone, so that its end, which
            tells of the limit, is not learnt.
        reference : Reference, optional
        lexical : LexicalCritic, optional
        likelihood : str, PathLike or polyalign.lm.LanguageModel, optional
            A causal language model, by its folder or its name on the hub: how likely it finds a response, with its
            prompt and without. It reads all examples, some ten for each row.
        encoder : str or callable, optional
            As of :class:`EmbeddingCritic`, frozen: it reads all examples, and prompts where there are prompts.
        cache : str or PathLike, optional
            A folder in which its vectors are kept: an interrupted run goes on with those that there are.
        schema : BucketSchema, optional
            What the buckets are. Default: the reference's, else ``BucketSchema()``.
        held_out : float, default .25
            The share of rows that calibrate, by the hash of their group.
        seed : int, default 0
        threads : int, optional
        progress : bool, default False
            Show how many examples are measured and learnt, where standard error is a terminal.

        Raises
        ------
        ValueError
            Lengths that differ; fewer than 20 humans or samples to train on, or humans to calibrate with; a bucket that
            is none of the schema; an encoder that would see the beginnings of all responses alone.
        ImportError
            scikit-learn is missing.
        """
        schema = schema or (BucketSchema() if reference is None else reference.schema)
        rows = Rows.of(responses, buckets, samples, prompts=prompts, groups=groups, cut=cut)
        known, unseen = rows.parted(held_out, schema)
        measured = _Measured(reference, lexical, None if likelihood is None else Likelihood.of(likelihood), threads)
        if encoder is not None:
            encoder = as_encoder(encoder)
            check_reads(encoder, known.responses)
            measured.embedded = Embedded(encoder, with_prompts=rows.prompts is not None, cache=cache)
        critic = _train(cls, known, measured, schema, seed=seed, progress=progress)
        return critic.calibrate(unseen.responses, unseen.buckets, prompts=unseen.prompts)

    def score(
        self, responses: Sequence[str], buckets: Sequence[str | None], prompts: Sequence[Any] | None = None
    ) -> npt.NDArray[np.float32]:
        """Score responses: 0 for what people alone would write, 50 for what says nothing.

        NaN where the bucket is none of the schema.
        """
        named = [bucket or "" for bucket in buckets]
        asked = None if prompts is None else list(prompts)
        found = np.empty(len(responses), dtype=np.float32)
        for start in range(0, len(responses), _CHUNK):
            part = slice(start, start + _CHUNK)
            matrix = self._measured().matrix(responses[part], named[part], asked and asked[part])
            columns: list[npt.NDArray[Any]] = [matrix, self.evidence(responses[part])]
            if self._embedded is not None:
                columns.append(self._embedded.evidence(responses[part], asked and asked[part]))
            margins = _core.tree_scores(np.column_stack(columns), self._nodes, self._threads)
            scores = np.logaddexp(0.0, margins + self._base)
            if self._fits is not None:
                nodes, base = self._fits
                of_prompt = np.ascontiguousarray(matrix[:, self._measured().of_prompt()])
                scores += np.logaddexp(0.0, _core.tree_scores(of_prompt, nodes, self._threads) + base)
            found[part] = scores
        found[[at for at, text in enumerate(responses) if not text.strip()]] = SURE
        axes = axis_names(self.schema)
        broken = [bucket.count("|") + 1 != len(axes) for bucket in named]
        found[np.flatnonzero(broken)] = np.nan
        return found

    def evidence(self, responses: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the log-odds of the character n-grams alone, above 0 for the machine."""
        return _core.ngram_scores(list(responses), _MOST_CHARACTERS, self._weights, self._threads) + np.float32(
            self._bias
        )

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Save it as a folder; of an encoder its name and revision, of a function nothing but what it is called.

        Raises
        ------
        FileExistsError
            Something is there that is not replaced.
        """
        tensors: dict[str, npt.NDArray[Any]] = {
            "ngrams": self._weights,
            "trained": self._trained,
            **_named(_TREES, self._nodes),
            **({} if self._fits is None else _named(_FIT, self._fits[0])),
            **(self.calibration.tensors() if self.calibration else {}),
        }
        parts: dict[str, Any] = {}
        if self.reference is not None:
            parts["human.safetensors"] = self.reference
        if self.lexical is not None:
            parts["lexical"] = self.lexical
        if self.likelihood is not None:
            tensors["likelihood"] = self.likelihood.probe
        if self._embedded is not None:
            tensors |= self._embedded.tensors()
        settings = {
            "encoder": None if self._embedded is None else self._embedded.settings(),
            "likelihood": None if self.likelihood is None else self.likelihood.told,
            "bias": self._bias,
            "base": self._base,
            **({} if self._fits is None else {"fits": self._fits[1]}),
            "columns": self._measured().names(),
            "reference": self.reference is not None,
            "lexical": self.lexical is not None,
            "provenance": self.provenance,
        }
        _saved.write(folder, "discriminative", self.schema, settings, tensors, overwrite=overwrite, parts=parts)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, encoder: Any = None) -> DiscriminativeCritic:
        """Load one that was saved.

        Parameters
        ----------
        folder : str or PathLike
        encoder : optional
            In the place of the one that it names; needed where that was a function.

        Raises
        ------
        FileNotFoundError, ValueError
            There is none, or it is of another kind, or damaged.
        """
        return cls.from_saved(_saved.read(folder, "discriminative"), encoder=encoder)

    @classmethod
    def from_saved(cls, saved: _saved.Saved, *, encoder: Any = None) -> DiscriminativeCritic:
        """Take what was saved; ``ValueError`` where it is damaged or measured otherwise today."""
        from polyalign.reference import Reference

        reference = lexical = None
        if saved.setting("reference", bool):
            reference = Reference.load(saved.folder / "human.safetensors")
        if saved.setting("lexical", bool):
            lexical = _saved.load(saved.folder / "lexical")
        told = saved.setting("likelihood", dict, type(None))
        # Those saved before there were encoders do not speak of one.
        named = saved.setting("encoder", dict, type(None)) if "encoder" in saved.settings else None
        nodes = _nodes_of(saved, _TREES)
        # Those saved before there were any do not speak of them.
        fits = (_nodes_of(saved, _FIT), saved.setting("fits", float, int)) if "fits" in saved.settings else None
        critic = cls(
            schema=saved.schema,
            weights=saved.tensor("ngrams", np.float32, (1 << _BITS,)),
            bias=saved.setting("bias", float, int),
            nodes=nodes,
            base=saved.setting("base", float, int),
            fits=fits,
            trained=saved.tensor("trained", np.uint64, (None,)),
            provenance=saved.setting("provenance", dict),
            reference=reference,
            lexical=lexical,
            likelihood=None if told is None else likelihood_from_saved(saved, told),
            embedded=None if named is None else embedded_from_saved(saved, named, encoder),
            calibration=Calibration.of_saved(saved),
        )
        names = critic._measured().names()
        if saved.setting("columns", list) != names:
            raise ValueError(f"{saved.folder}: trained on other features than this polyalign measures; train anew")
        try:
            _core.tree_scores(np.zeros((1, len(names) + (1 if named is None else 2))), nodes, 1)
            if fits is not None:
                _core.tree_scores(np.zeros((1, len(critic._measured().of_prompt()))), fits[0], 1)
        except ValueError as error:
            raise ValueError(f"{saved.folder}: {error}; it is damaged: train anew") from None
        return critic

    @property
    def keep_thinking(self) -> bool:
        """Whether reasoning counts: as it did among the humans of the reference."""
        return self.reference is not None and self.reference.keep_thinking

    def _measured(self) -> _Measured:
        return _Measured(self.reference, self.lexical, self.likelihood, self._threads)

    def __repr__(self) -> str:
        told = self.provenance
        state = "" if self.calibration is not None else ", not calibrated"
        return f"<DiscriminativeCritic of {told['humans']:,} humans and {told['samples']:,} samples{state}>"


class _Measured:
    """What trees see of a response but for its characters."""

    def __init__(
        self, reference: Reference | None, lexical: Any, likelihood: Likelihood | None, threads: int | None
    ) -> None:
        self.reference, self.lexical, self.likelihood, self.threads = reference, lexical, likelihood, threads
        #: What has its say in training as evidence, as characters have.
        self.embedded: Embedded | None = None

    def names(self) -> list[str]:
        names = [feature.name for feature in features.registry()]
        if self.reference is not None:
            names.append("support_distance")
        if self.lexical is not None:
            names += [f"lexical_{name}" for name in self.lexical.feature_names]
        if self.likelihood is not None:
            names += [f"likelihood_{name}" for name in LIKELIHOOD_NAMES]
        return names

    def of_prompt(self) -> list[int]:
        """Return the places of the columns that tell how a response fits its prompt."""
        told = {feature.name for feature in features.registry(groups=["interaction"])}
        told |= {f"likelihood_{name}" for name in LIKELIHOOD_NAMES}
        return [at for at, name in enumerate(self.names()) if name in told]

    def matrix(
        self,
        texts: Sequence[str],
        buckets: Sequence[str],
        prompts: Sequence[Any] | None,
        update: Callable[[int], object] = lambda rows: None,
    ) -> npt.NDArray[np.float64]:
        """Return a row a text, a column a name; NaN: not defined."""
        found = np.empty((len(texts), len(self.names())))
        for start in range(0, len(texts), CHUNK):
            part = slice(start, start + CHUNK)
            found[part] = self._part(texts[part], buckets[part], None if prompts is None else prompts[part])
            update(len(texts[part]))
        return found

    def _part(
        self, texts: Sequence[str], buckets: Sequence[str], prompts: Sequence[Any] | None
    ) -> npt.NDArray[np.float64]:
        columns: list[npt.NDArray[Any]] = []
        if self.reference is not None:
            scored, found = Once.of(self.reference).measure(texts, buckets, prompts=prompts, threads=self.threads)
            columns += [found, distances(scored)]
        else:
            languages = attacks.known_languages(attacks.languages_of(buckets))
            table = features.extract(texts, languages, prompts=prompts, keep_thinking=True, threads=self.threads)
            columns += [np.asarray(table[name]) for name in table.column_names]
        if self.lexical is not None:
            columns.append(self.lexical.features(texts, buckets))
        if self.likelihood is not None:
            columns.append(self.likelihood(texts, prompts))
        return np.column_stack(columns).astype(np.float64)


def _train(
    cls: type[DiscriminativeCritic],
    rows: Rows,
    measured: _Measured,
    schema: BucketSchema,
    *,
    seed: int,
    progress: bool,
) -> DiscriminativeCritic:
    sklearn = _sklearn()
    examples = examples_of(rows, seed)
    weights = examples.balanced(rows.buckets)
    machine = np.array(examples.machine)
    folds = _folds([rows.groups[row] for row in examples.rows])
    grams = _csr(examples.texts, measured.threads)
    regression = sklearn["LogisticRegression"](C=10.0, max_iter=60, tol=1e-3, random_state=0)
    with row_bar(_FOLDS * len(machine), progress, "n-grams") as update:
        evidence = _out_of_fold(regression, grams, (machine, weights, folds), update)
        regression.fit(grams, machine, sample_weight=weights)
    buckets = [rows.buckets[row] for row in examples.rows]
    prompts = None if rows.prompts is None else [rows.prompts[row] for row in examples.rows]
    with row_bar(len(machine), progress, "features") as update:
        matrix = np.column_stack([measured.matrix(examples.texts, buckets, prompts, update), evidence])
    if measured.embedded is not None:
        rows_of = (machine, weights, folds)
        evidence = _embed(measured.embedded, sklearn, rows_of, (examples.texts, prompts), progress)
        matrix = np.column_stack([matrix, evidence])
    matrix[:, np.isnan(matrix).all(axis=0)] = 0.0  # scikit-learn can't bin what is never defined; no tree asks for it
    fits, text = None, np.ones(len(machine), dtype=bool)
    if measured.likelihood is not None and rows.prompts is not None:
        misplaced = np.array(examples.misplaced)
        fits = _fit(sklearn, matrix[:, measured.of_prompt()], (machine, weights, misplaced), seed)
        text = ~misplaced  # of the text itself these are people's
    nodes, base = _grown(sklearn, matrix[text], machine[text], weights[text], seed)
    provenance = {
        "humans": len(rows.responses),
        "samples": sum(sample is not None for sample in rows.samples),
        "examples": len(machine),
        "seed": seed,
        "prompts": rows.prompts is not None,
    }
    return cls(
        schema=schema,
        weights=regression.coef_[0].astype(np.float32),
        bias=float(regression.intercept_[0]),
        nodes=nodes,
        base=base,
        fits=fits,
        trained=np.unique(keys_of(rows.responses, rows.prompts)),
        provenance=provenance,
        reference=measured.reference,
        lexical=measured.lexical,
        likelihood=measured.likelihood,
        embedded=measured.embedded,
        threads=measured.threads,
    )


def _fit(
    sklearn: dict[str, Any],
    columns: npt.NDArray[np.float64],
    rows: tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64], npt.NDArray[np.bool_]],
    seed: int,
) -> tuple[tuple[npt.NDArray[Any], ...], float] | None:
    """Learn humans' answers to their own prompts against those to others; ``None``: there are none of the latter."""
    machine, weights, misplaced = rows
    if not misplaced.any():
        return None
    known = ~machine | misplaced
    weights = np.where(misplaced, weights * weights[~machine].sum() / weights[misplaced].sum(), weights)
    return _grown(sklearn, columns[known], machine[known], weights[known], seed, **_FITS)


def _grown(
    sklearn: dict[str, Any],
    matrix: npt.NDArray[np.float64],
    machine: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float64],
    seed: int,
    **settings: Any,
) -> tuple[tuple[npt.NDArray[Any], ...], float]:
    """Return trees that tell the machine, as the engine reads them: their nodes and what all begin with."""
    asked = {"max_iter": 300, "max_leaf_nodes": 15, "max_features": 0.3, "min_samples_leaf": 10, **settings}
    trees = sklearn["HistGradientBoostingClassifier"](
        learning_rate=0.06, l2_regularization=1.0, random_state=seed, early_stopping=False, **asked
    )
    trees.fit(matrix, machine, sample_weight=weights)
    nodes, base = _nodes(trees)
    _check_same(trees, matrix, nodes, base)
    return nodes, base


def _named(head: str, nodes: tuple[npt.NDArray[Any], ...]) -> dict[str, npt.NDArray[Any]]:
    """Return nodes by the names that they are saved under."""
    return {f"{head}/{name}": values for name, values in zip(_NODES, nodes, strict=True)}


def _nodes_of(saved: _saved.Saved, head: str) -> tuple[npt.NDArray[Any], ...]:
    """Take nodes that were saved."""
    return tuple(
        saved.tensor(f"{head}/{name}", dtype, (None,)) for name, dtype in zip(_NODES, _NODE_TYPES, strict=True)
    )


def _embed(
    embedded: Embedded,
    sklearn: dict[str, Any],
    rows: tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64], npt.NDArray[np.int64]],
    texts: tuple[Sequence[str], Sequence[Any] | None],
    progress: bool,
) -> npt.NDArray[np.float64]:
    """Learn the weights of an encoder's vectors; return the evidence of each example by others'."""
    machine, weights, _ = rows
    with row_bar(len(machine) * (1 + embedded.with_prompts), progress, "encoder") as update:
        columns = embedded.columns(*texts, update)
    mean, spread = scale_of(columns)
    columns = (columns - mean) / spread
    regression = sklearn["LogisticRegression"](C=_EMBEDDED_C, max_iter=200, tol=1e-3, random_state=0)
    found = _out_of_fold(regression, columns, rows)
    regression.fit(columns, machine, sample_weight=weights)
    embedded.weights = (regression.coef_[0] / spread).astype(np.float32)
    embedded.bias = float(regression.intercept_[0]) - float(embedded.weights @ mean)
    return found


def _out_of_fold(
    regression: Any,
    columns: Any,
    rows: tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64], npt.NDArray[np.int64]],
    update: Callable[[int], object] = lambda rows: None,
) -> npt.NDArray[np.float64]:
    """Return the evidence of each example by a regression that has not seen its fold; `rows` has side, weight, fold."""
    machine, weights, folds = rows
    found = np.zeros(len(machine))
    for fold in range(_FOLDS):
        own = folds == fold
        if own.any():
            regression.fit(columns[~own], machine[~own], sample_weight=weights[~own])
            found[own] = regression.decision_function(columns[own])
        update(len(machine))
    return found


def _sklearn() -> dict[str, Any]:
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise ImportError("training this critic needs scikit-learn: pip install 'polyalign[critics]'") from None
    return {
        "HistGradientBoostingClassifier": HistGradientBoostingClassifier,
        "LogisticRegression": LogisticRegression,
    }


def _csr(texts: Sequence[str], threads: int | None) -> Any:
    from scipy.sparse import csr_matrix

    indptr, indices, values = _core.char_ngrams(list(texts), _MOST_CHARACTERS, _BITS, threads)
    return csr_matrix((values, indices, indptr), shape=(len(texts), 1 << _BITS))


def _folds(groups: Sequence[str]) -> npt.NDArray[np.int64]:
    """Part examples by their group, whatever else there is."""
    hashes = [hashlib.blake2b(group.encode(), digest_size=8, person=b"folds").digest() for group in groups]
    return np.array([int.from_bytes(found, "big") % _FOLDS for found in hashes])


def _nodes(trees: Any) -> tuple[tuple[npt.NDArray[Any], ...], float]:
    """Return the nodes of scikit-learn's trees as columns."""
    parts = [predictor[0].nodes for predictor in trees._predictors]
    offsets = np.cumsum([0, *map(len, parts)])
    nodes = np.concatenate(parts)
    shift = np.repeat(offsets[:-1], [len(part) for part in parts])
    leaf = nodes["is_leaf"].astype(bool)
    column = np.where(leaf, -1, nodes["feature_idx"].astype(np.int64)).astype(np.int32)
    columns = (
        offsets[:-1].astype(np.uint32),
        column,
        # Infinite where what is defined goes left.
        np.where(leaf, 0.0, np.minimum(nodes["num_threshold"], np.finfo(np.float64).max)).astype(np.float64),
        nodes["missing_go_to_left"].astype(bool),
        (nodes["left"] + shift).astype(np.uint32),
        (nodes["right"] + shift).astype(np.uint32),
        nodes["value"].astype(np.float64),
    )
    return columns, float(np.ravel(trees._baseline_prediction)[0])


def _check_same(trees: Any, matrix: npt.NDArray[np.float64], nodes: Any, base: float) -> None:
    """Whatever version of scikit-learn trained them, the engine's trees are its own."""
    rows = np.ascontiguousarray(matrix[:200])
    if not np.allclose(_core.tree_scores(rows, nodes, 1) + base, trees.decision_function(rows), atol=1e-6):
        raise RuntimeError("this version of scikit-learn keeps its trees in another way: polyalign can't read them")
