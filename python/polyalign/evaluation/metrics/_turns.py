"""TDM, turn dynamics: whether a model's answers relate to what they answer as humans' do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from polyalign import _core, distances
from polyalign.evaluation.metrics._rows import Doubles, pooled_deviation
from polyalign.evaluation.metrics._tokens import Variant, answer_tokens, checked, of_texts

__all__ = ["TDM", "tdm"]

_NO_SPREAD = 1e-12
_MIX = 0x9E3779B97F4A7C15
_RANK = 64
# Up to so many rows all eigenvectors cost less than some.
_DENSE = 500


class TDM(NamedTuple):
    """Turn dynamics of a bucket: four similarities of 0 to 1, and their mean."""

    value: float
    """The mean of the four: 1 where the model's turns are as the humans'. NaN where there is a reason."""
    length_ratio: float
    """Of how long answers are beside their questions."""
    lexical: float
    """Of how many words of the question they take up: the cosine of TF-IDF vectors."""
    semantic: float
    """Of how near they stay to its subject: the cosine in the latent space of questions."""
    transition: float
    """Of where they lead from it: the map from questions to answers in that space."""
    rows: int
    """How many answers there are."""
    reason: str | None
    """Why there is no number."""


def tdm(
    questions: Sequence[str],
    model: Sequence[str],
    human: Sequence[str],
    buckets: Sequence[str],
    languages: str | Sequence[str] = "und",
    *,
    variant: Variant = "default",
    min_count: int = 20,
) -> dict[str, TDM]:
    """Measure the turn dynamics of each bucket. Give rows of several turns, of all buckets together.

    Each similarity is 1 / (1 + gap): the Wasserstein-1 distance of the model's from the humans', in units of the
    humans' standard deviation, for length ratios and for both cosines; ‖T_model − T_human‖ / ‖T_human‖ (Frobenius) for
    the covariance T of question and answer in the latent space. That is of rank 64 at most, by a singular value
    decomposition of the questions' TF-IDF vectors. Needs scikit-learn: ``pip install 'polyalign[eval]'``.

    Parameters
    ----------
    questions, model, human : sequence of str, length n
        The user's last turns, the model's answers and the humans'.
    buckets : sequence of str, length n
    languages : str, or one for each row
    variant : {"default", "paper"}, default "default"
        ``"paper"``: terms are runs of word characters, so that a Chinese sentence is one; one space for all languages.
        Default: terms are words, in Chinese and Japanese characters, and pairs of these; one space for each language;
        an exact decomposition; a standard deviation of both sides together where that is greater.
    min_count : int, default 20
        A bucket of fewer rows has no number.

    Returns
    -------
    dict from a bucket to its TDM

    Raises
    ------
    ModuleNotFoundError
        scikit-learn is not installed.

    Examples
    --------
    >>> asked = [f"Where is number {number} of them?" for number in range(20)]
    >>> said = [f"Number {number} is there." for number in range(20)]
    >>> round(tdm(asked, said, said, ["en|multi|qa|short"] * 20, "en")["en|multi|qa|short"].value, 9)
    1.0
    """
    names = ("questions", "model", "human")
    texts = [checked(of, name) for of, name in zip((questions, model, human), names, strict=True)]
    if len({len(texts[0]), len(texts[1]), len(texts[2]), len(buckets)}) != 1:
        counts = ", ".join(f"{len(of)} {name}" for of, name in zip((*texts, buckets), (*names, "buckets"), strict=True))
        raise ValueError(f"{counts}: give one of each for every row")
    if variant not in ("default", "paper"):
        raise ValueError(f"variant is {variant!r}: it must be 'default' or 'paper'")
    tags = of_texts(languages, len(buckets))
    if variant == "paper":
        tags = [""] * len(tags)
    found = {}
    for tag in sorted(set(tags)):
        rows = [row for row, of in enumerate(tags) if of == tag]
        own = [[of[row] for row in rows] for of in texts]
        found.update(_of_space(own, [buckets[row] for row in rows], tag, variant, min_count))
    return {bucket: found[bucket] for bucket in dict.fromkeys(buckets)}


def _of_space(texts: list[list[str]], buckets: list[str], tag: str, variant: Variant, min_count: int) -> dict[str, TDM]:
    rows_of: dict[str, list[int]] = {}
    for row, bucket in enumerate(buckets):
        rows_of.setdefault(bucket, []).append(row)
    enough = {bucket: rows for bucket, rows in rows_of.items() if len(rows) >= max(min_count, 2)}
    nan = math.nan
    found = {
        bucket: TDM(nan, nan, nan, nan, nan, len(rows), f"not enough rows (n={len(rows)}, need {max(min_count, 2)})")
        for bucket, rows in rows_of.items()
        if bucket not in enough
    }
    if not enough:
        return found
    space = _space(texts, tag, variant)
    if space is None:
        return found | {
            bucket: TDM(nan, nan, nan, nan, nan, len(rows), "the texts have no words")
            for bucket, rows in enough.items()
        }
    return found | {bucket: _of_bucket(space, rows, variant) for bucket, rows in enough.items()}


class _Space(NamedTuple):
    ratios: tuple[Doubles, Doubles]
    lexical: tuple[Doubles, Doubles]
    latent: tuple[Doubles, Doubles, Doubles]
    """Questions, the model's answers and the humans'."""


def _space(texts: list[list[str]], tag: str, variant: Variant) -> _Space | None:
    """Return what rows are measured in; none where no text has a word."""
    _require_sklearn()
    vectors, lengths = _published_vectors(texts) if variant == "paper" else _vectors(texts, tag)
    if vectors is None:
        return None
    ratios = [lengths[at] / np.maximum(lengths[0], 1) for at in (1, 2)]
    lexical = [np.asarray(vectors[at].multiply(vectors[0]).sum(axis=1)).ravel() for at in (1, 2)]
    latent = _latent(vectors, variant)
    return _Space((ratios[0], ratios[1]), (lexical[0], lexical[1]), latent)


def _require_sklearn() -> None:
    try:
        import sklearn  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("TDM needs scikit-learn: pip install 'polyalign[eval]'", name=error.name) from error


def _published_vectors(texts: list[list[str]]) -> tuple[list[Any] | None, list[Doubles]]:
    """Return the TF-IDF vectors of questions, the model's answers and the humans', and how long they are."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    lengths = [np.array([len(row) for row in answer_tokens(of, "und", "paper")], np.float64) for of in texts]
    vectorizer = TfidfVectorizer(token_pattern=r"\b\w+\b")
    try:
        vectorizer.fit([text for at in (0, 2, 1) for text in texts[at]])
    except ValueError:  # an empty vocabulary
        return None, lengths
    return [vectorizer.transform(of) for of in texts], lengths


def _vectors(texts: list[list[str]], tag: str) -> tuple[list[Any] | None, list[Doubles]]:
    """Return the same, of tokens and pairs of them, as scikit-learn weighs them."""
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import TfidfTransformer

    terms, rows = [], []
    lengths = []
    for at, of in enumerate(texts):
        ids, ends = _core.answer_ids(of, tag or "und", None)
        row = np.repeat(np.arange(len(of)), np.diff(ends)) + at * len(of)
        within = row[1:] == row[:-1]
        # A hash of both, in their order.
        pairs = (ids[:-1] * np.uint64(_MIX) ^ (ids[1:] >> np.uint64(7))) * np.uint64(_MIX)
        terms += [ids, pairs[within]]
        rows += [row, row[1:][within]]
        lengths.append(np.diff(ends).astype(np.float64))
    known, columns = np.unique(np.concatenate(terms), return_inverse=True)
    if not len(known):
        return None, lengths
    shape = 3 * len(texts[0]), len(known)
    counts = csr_array((np.ones(len(columns)), (np.concatenate(rows), columns)), shape=shape)
    counts.sum_duplicates()
    weighed = TfidfTransformer().fit_transform(counts)
    size = len(texts[0])
    return [weighed[at * size : (at + 1) * size] for at in range(3)], lengths


def _latent(vectors: list[Any], variant: Variant) -> tuple[Doubles, Doubles, Doubles]:
    from sklearn.decomposition import TruncatedSVD

    rows, terms = vectors[0].shape
    rank = min(_RANK, rows - 1, terms - 1)
    if rank < 1:
        none = np.zeros((rows, 1))
        return none, none, none
    if variant == "paper":
        projection = TruncatedSVD(rank, algorithm="randomized", n_iter=5, n_oversamples=10, random_state=0)
        projection.fit(vectors[0])
        found = [projection.transform(of) for of in vectors]
    else:
        found = _exact(vectors, rank)
    return found[0], found[1], found[2]


def _exact(vectors: list[Any], rank: int) -> list[Doubles]:
    """Project on the leading right singular vectors of the first; the same for any order of rows, but for rounding."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    questions = vectors[0]
    # Through the smaller of both products.
    wide = questions.shape[1] > questions.shape[0]
    one, two = (questions, questions.T.tocsr()) if wide else (questions.T.tocsr(), questions)
    size = one.shape[0]
    if size <= _DENSE:
        values, basis = np.linalg.eigh((one @ two).toarray())
        values, basis = values[-rank:], basis[:, -rank:]
    else:
        product = LinearOperator((size, size), matvec=lambda x: one @ (two @ x), dtype=np.float64)
        values, basis = eigsh(product, rank, v0=np.ones(size))
    kept = values > 1e-12 * max(float(values.max()), 1e-300)
    basis = basis[:, kept]
    if wide:
        basis = two @ basis / np.sqrt(values[kept])
    return [np.asarray(of @ basis) for of in vectors]


def _of_bucket(space: _Space, rows: list[int], variant: Variant) -> TDM:
    questions, model, human = (of[rows] for of in space.latent)
    cosines = [_cosine(questions, answers) for answers in (model, human)]
    gaps = [
        _gap(space.ratios[0][rows], space.ratios[1][rows], variant),
        _gap(space.lexical[0][rows], space.lexical[1][rows], variant),
        _gap(cosines[0], cosines[1], variant),
    ]
    questions, model, human = (of - of.mean(axis=0) for of in (questions, model, human))
    maps = [questions.T @ answers / len(rows) for answers in (model, human)]
    norm = float(np.linalg.norm(maps[1]))
    gaps.append(float(np.linalg.norm(maps[0] - maps[1])) / (norm if norm > _NO_SPREAD else 1.0))
    parts = [1 / (1 + gap) for gap in gaps]
    return TDM(math.fsum(parts) / 4, parts[0], parts[1], parts[2], parts[3], len(rows), None)


def _cosine(x: Doubles, y: Doubles) -> Doubles:
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    product: Doubles = (x * y).sum(axis=1)
    return np.where(norms > _NO_SPREAD, product / np.where(norms > _NO_SPREAD, norms, 1.0), 0.0)


def _gap(model: Doubles, human: Doubles, variant: Variant) -> float:
    gap, scale = float(distances.sample_distance(model, human)), float(human.std())
    if variant == "default":
        scale = max(scale, float(pooled_deviation(model[:, None], human[:, None])[0]))
    return gap / (scale if scale > _NO_SPREAD else 1.0)
