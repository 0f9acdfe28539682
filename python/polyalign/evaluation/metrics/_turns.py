"""TDM, turn dynamics: whether a model's answers relate to what they answer as humans' do."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from polyalign import _core
from polyalign.evaluation.metrics._rows import Doubles, pooled_deviation
from polyalign.evaluation.metrics._tokens import Variant, answer_tokens, checked, of_texts
from polyalign.evaluation.metrics._weighted import Weights, w1

__all__ = ["TDM", "tdm"]

_NO_SPREAD = 1e-12
_MIX = 0x9E3779B97F4A7C15
_RANK = 64
# How many questions the latent space is made of.
_MOST = 2_000
# Up to so many rows all eigenvectors cost less than some.
_DENSE = 500
# What is multiplied at once.
_ROWS = 256


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
    decomposition of the questions' TF-IDF vectors. Needs scipy, the paper's scikit-learn:
    ``pip install 'polyalign[eval]'``.

    Parameters
    ----------
    questions, model, human : sequence of str, length n
        The user's last turns, the model's answers and the humans'.
    buckets : sequence of str, length n
    languages : str, or one for each row
    variant : {"default", "paper"}, default "default"
        ``"paper"``: terms are runs of word characters, so that a Chinese sentence is one; one space for all languages.
        Default: terms are words, in Chinese and Japanese characters, and pairs of these; one space for each language;
        an exact decomposition, of 2,000 questions where there are more; a standard deviation of both sides together
        where that is greater.
    min_count : int, default 20
        A bucket of fewer rows has no number.

    Returns
    -------
    dict from a bucket to its TDM

    Raises
    ------
    ModuleNotFoundError
        scipy or scikit-learn is not installed.

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
    own = np.arange(len(buckets))
    sides = measured_turns(texts[0], [(texts[1], own), (texts[2], own)], tag, variant)
    if sides is None:
        return found | {
            bucket: TDM(nan, nan, nan, nan, nan, len(rows), "the texts have no words")
            for bucket, rows in enough.items()
        }
    return found | {
        bucket: _of_bucket(sides[0].take(np.array(rows)), sides[1].take(np.array(rows)), variant)
        for bucket, rows in enough.items()
    }


def _of_bucket(model: Turns, human: Turns, variant: Variant) -> TDM:
    rows = len(model.gauges)
    one, two = np.zeros((2, 2 * rows, 1))
    one[:rows], two[rows:] = 1.0, 1.0
    parts = similarities(Turns.joined(model, human), spreads(model, human, variant), one, two)[:, 0].tolist()
    return TDM(math.fsum(parts) / 4, parts[0], parts[1], parts[2], parts[3], rows, None)


class Turns(NamedTuple):
    """Questions with their answers, row by row, as turn dynamics see them."""

    gauges: Doubles
    """Length ratio, cosine of TF-IDF vectors, and cosine in the latent space: [rows, 3]."""
    questions: Doubles
    """In the latent space: [rows, rank]."""
    answers: Doubles
    """In the latent space: [rows, rank]."""

    def take(self, rows: npt.NDArray[np.int64]) -> Turns:
        """Return some rows."""
        return Turns(*(of[rows] for of in self))

    @classmethod
    def joined(cls, *sides: Turns) -> Turns:
        """Return the rows of several, one after the other."""
        return cls(*(np.concatenate(of) for of in zip(*sides, strict=True)))


def spreads(model: Turns, human: Turns, variant: Variant = "default") -> Doubles:
    """Return what gaps between gauges are measured in: [3]."""
    scale = human.gauges.std(axis=0)
    if variant == "default":
        scale = np.maximum(scale, pooled_deviation(model.gauges, human.gauges))
    return np.where(scale > _NO_SPREAD, scale, 1.0)


def similarities(turns: Turns, scale: Doubles, one: Weights, two: Weights) -> Doubles:
    """Return the four similarities between weighted sets of turns, [4, sets]; weights are [rows, sets] of either."""
    gaps = w1(turns.gauges, one, two) / scale[:, None]
    model, human = _maps(turns, one), _maps(turns, two)
    norms, apart = np.linalg.norm(human, axis=1), np.linalg.norm(model - human, axis=1)
    return 1.0 / (1.0 + np.stack([*gaps, apart / np.where(norms > _NO_SPREAD, norms, 1.0)]))


def _maps(turns: Turns, weights: Weights) -> Doubles:
    """Return the covariances of questions and answers in the latent space, [sets, rank · rank]."""
    shares = (weights / weights.sum(axis=0, dtype=np.float64)).T
    sides = turns.questions, turns.answers
    means = [shares @ side for side in sides]
    found = -_products(*means)
    for start in range(0, shares.shape[1], _ROWS):
        part = slice(start, start + _ROWS)
        found += shares[:, part] @ _products(*(side[part] for side in sides))
    return found


def _products(x: Doubles, y: Doubles) -> Doubles:
    """Return all products of either row's values."""
    found: Doubles = (x[:, :, None] * y[:, None, :]).reshape(len(x), -1)
    return found


def measured_turns(
    questions: Sequence[str],
    sides: Sequence[tuple[Sequence[str], npt.NDArray[np.int64]]],
    tag: str,
    variant: Variant = "default",
) -> list[Turns] | None:
    """Measure answers to questions in one space, side by side; none where no text has a word.

    Parameters
    ----------
    questions : sequence of str
    sides : sequence of (answers, numbers)
        The last are the humans'. Which question each answers.
    tag : str
        The language of all.
    variant : {"default", "paper"}
    """
    texts = [list(questions), *(list(answers) for answers, _ in sides)]
    vectors, lengths = _published_vectors(texts) if variant == "paper" else _vectors(texts, tag)
    if vectors is None:
        return None
    latent = _latent(vectors, list(questions), variant)
    found = []
    for at, (_, of) in enumerate(sides, 1):
        ratios = lengths[at] / np.maximum(lengths[0][of], 1)
        lexical = np.asarray(vectors[at].multiply(vectors[0][of]).sum(axis=1)).ravel()
        asked = latent[0][of]
        found.append(Turns(np.stack([ratios, lexical, _cosine(asked, latent[at])], axis=1), asked, latent[at]))
    return found


def _cosine(x: Doubles, y: Doubles) -> Doubles:
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    product: Doubles = (x * y).sum(axis=1)
    return np.where(norms > _NO_SPREAD, product / np.where(norms > _NO_SPREAD, norms, 1.0), 0.0)


# --------------------------------------------------------------------------------------------------- the space


def _missing(error: ModuleNotFoundError) -> ModuleNotFoundError:
    name = {"sklearn": "scikit-learn"}.get(str(error.name).split(".")[0], "scipy")
    return ModuleNotFoundError(f"TDM needs {name}: pip install 'polyalign[eval]'", name=error.name)


def _published_vectors(texts: list[list[str]]) -> tuple[list[Any] | None, list[Doubles]]:
    """Return the TF-IDF vectors of questions and of all sides' answers, and how long they are."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    lengths = [np.array([len(row) for row in answer_tokens(of, "und", "paper")], np.float64) for of in texts]
    vectorizer = TfidfVectorizer(token_pattern=r"\b\w+\b")
    try:
        # In the paper's order: questions, humans, models.
        vectorizer.fit([text for of in (texts[0], *texts[:0:-1]) for text in of])
    except ValueError:  # an empty vocabulary
        return None, lengths
    return [vectorizer.transform(of) for of in texts], lengths


def _vectors(texts: list[list[str]], tag: str) -> tuple[list[Any] | None, list[Doubles]]:
    """Return the same, of tokens and pairs of them, weighed as scikit-learn does, whose import takes a second."""
    try:
        from scipy.sparse import csr_array
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    terms, rows, lengths = [], [], []
    ends = np.cumsum([0, *map(len, texts)])
    for start, of in zip(ends, texts, strict=False):
        ids, stops = _core.answer_ids(of, tag or "und", None)
        row = np.repeat(np.arange(len(of)), np.diff(stops)) + start
        within = row[1:] == row[:-1]
        # A hash of both, in their order.
        pairs = (ids[:-1] * np.uint64(_MIX) ^ (ids[1:] >> np.uint64(7))) * np.uint64(_MIX)
        terms += [ids, pairs[within]]
        rows += [row, row[1:][within]]
        lengths.append(np.diff(stops).astype(np.float64))
    known, columns = np.unique(np.concatenate(terms), return_inverse=True)
    if not len(known):
        return None, lengths
    shape = int(ends[-1]), len(known)
    weighed = csr_array((np.ones(len(columns)), (np.concatenate(rows), columns)), shape=shape)
    weighed.sum_duplicates()
    weighed.data *= (np.log((1 + shape[0]) / (1 + np.bincount(weighed.indices, minlength=shape[1]))) + 1)[
        weighed.indices
    ]
    norms = np.sqrt(np.asarray((weighed * weighed).sum(axis=1)).ravel())
    weighed.data /= np.repeat(norms, np.diff(weighed.indptr))
    return [weighed[start:stop] for start, stop in pairwise(ends)], lengths


def _latent(vectors: list[Any], questions: list[str], variant: Variant) -> list[Doubles]:
    rows, terms = vectors[0].shape
    rank = min(_RANK, rows - 1, terms - 1)
    if rank < 1:
        return [np.zeros((of.shape[0], 1)) for of in vectors]
    if variant == "paper":
        from sklearn.decomposition import TruncatedSVD

        projection = TruncatedSVD(rank, algorithm="randomized", n_iter=5, n_oversamples=10, random_state=0)
        projection.fit(vectors[0])
        return [projection.transform(of) for of in vectors]
    some = sorted(
        range(rows), key=lambda row: hashlib.blake2b(questions[row].encode("utf-8", "surrogatepass")).digest()
    )
    fitted = vectors[0][sorted(some[:_MOST])]
    there = np.unique(fitted.indices)
    basis = _leading(fitted[:, there], min(rank, fitted.shape[0] - 1))
    return [np.asarray(of[:, there] @ basis) for of in vectors]


def _leading(questions: Any, rank: int) -> Doubles:
    """Return the leading right singular vectors; the same for any order of rows, but for rounding."""
    from scipy.sparse.linalg import LinearOperator, eigsh

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
    return np.asarray(two @ basis / np.sqrt(values[kept]) if wide else basis)
