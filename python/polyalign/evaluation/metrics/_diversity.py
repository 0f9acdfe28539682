"""Diversity: how much the texts of a set repeat one another."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from polyalign import _core
from polyalign._io.arrays import check_shape, doubles
from polyalign.evaluation.metrics._tokens import Variant, checked, is_paper, of_texts

__all__ = ["WithinPrompts", "distinct", "self_bleu", "self_bleu_of_each", "within_prompts"]

_Doubles = npt.NDArray[np.float64]
_Integers = npt.NDArray[np.int64]


def distinct(
    texts: Sequence[str],
    languages: str | Sequence[str] = "und",
    n: int = 2,
    *,
    at: int | None = None,
    variant: Variant = "default",
    threads: int | None = None,
) -> float:
    """Return distinct-n: different n-grams / n-grams, over all texts of a set; 0 (all the same) to 1 (no two alike).

    It falls as a set grows: compare sets of one size, or give `at`.

    Parameters
    ----------
    texts : sequence of str
    languages : str, or one for each text
    n : int, default 2
        Tokens of an n-gram; tokens are words, in Chinese and Japanese characters.
    at : int, optional
        The expected share among so many n-grams drawn from the set, for sets of unlike sizes:
        Σ (1 − C(N − c, at) / C(N, at)) / at over the n-grams, c the count of each, N all.
    variant : {"default", "paper"}, default "default"
        ``"paper"``: tokens are what stands between blanks; a set without n-grams has 0.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    float
        NaN where there are no n-grams, or fewer than `at`.

    References ---------- Li et al., "A diversity-promoting objective function for neural conversation models", 2016;
    Hurlbert, 1971, for `at`.

    Examples
    --------
    >>> distinct(["It is so.", "It is so."], "en", 2)
    0.5
    """
    _check_n(n)
    if at is not None and at < 1:
        raise ValueError(f"at is {at}: it must be at least 1")
    given, tags, paper = checked(texts), of_texts(languages, len(texts)), is_paper(variant)
    said = _core.ngram_occurrences(given, tags, paper, n, threads)
    total = sum(count * of for count, of in said)
    if not total or (at is not None and at > total):
        return 0.0 if paper and at is None else math.nan
    if at is None:
        return sum(of for _, of in said) / total
    return _expected(said, total, at)


def self_bleu(
    texts: Sequence[str],
    languages: str | Sequence[str] = "und",
    n: int = 4,
    *,
    variant: Variant = "default",
    threads: int | None = None,
) -> float:
    """Return Self-BLEU: the mean BLEU of each text against all others of the set; 0 to 1, higher being less diverse.

    BLEU is NLTK's ``sentence_bleu`` with uniform weights and smoothing method 1 (Chen and Cherry, 2014). All texts
    count, at a cost that grows with their tokens alone.

    Parameters
    ----------
    texts : sequence of str
    languages : str, or one for each text
    n : int, default 4
        N-grams of 1 to `n` tokens.
    variant : {"default", "paper"}, default "default"
        ``"paper"``: tokens are what stands between blanks, and all orders count for every text. Default: tokens are
        words, in Chinese and Japanese characters; orders that a text is too short for are left out of its mean, and
        empty texts are left out.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    float
        NaN with fewer than two texts.

    References
    ----------
    Zhu et al., "Texygen", 2018.

    Examples
    --------
    >>> self_bleu(["It is so.", "It is so.", "It is so."], "en")
    1.0
    """
    return _mean(self_bleu_of_each(texts, languages, n, variant=variant, threads=threads))


def self_bleu_of_each(
    texts: Sequence[str],
    languages: str | Sequence[str] = "und",
    n: int = 4,
    *,
    variant: Variant = "default",
    threads: int | None = None,
) -> _Doubles:
    """Return the BLEU of each text against all others of the set: what :func:`self_bleu` is the mean of.

    Parameters
    ----------
    texts, languages, n, variant, threads
        As of :func:`self_bleu`.

    Returns
    -------
    numpy.ndarray of float64, shape (n)
        NaN where there is no other text, and by default for texts without tokens.

    Examples
    --------
    >>> self_bleu_of_each(["It is so.", "It is so.", "No."], "en").round(6).tolist()
    [1.0, 1.0, 0.0]
    """
    _check_n(n)
    given, tags, paper = checked(texts), of_texts(languages, len(texts)), is_paper(variant)
    return _core.bleu_of_each(given, tags, paper, n, paper, None, threads)


class WithinPrompts(NamedTuple):
    """How varied the answers to one prompt are: the mean over prompts."""

    distinct_1: float
    """Distinct-1 of a prompt's first k answers."""
    distinct_2: float
    """Distinct-2 of them."""
    self_bleu: float
    """Self-BLEU of them."""
    same: float
    """The share of pairs of a prompt's answers whose tokens are the same; the same for any k."""
    embedding: float
    """The mean cosine distance of such pairs, 0 to 2; NaN without embeddings."""
    k: int
    """How many answers of each prompt were compared."""
    prompts: int
    """How many prompts have as many."""
    left_out: int
    """How many have fewer."""


def within_prompts(
    texts: Sequence[str],
    prompts: Sequence[Hashable],
    languages: str | Sequence[str] = "und",
    *,
    k: int | None = None,
    embeddings: Any = None,
    threads: int | None = None,
) -> WithinPrompts:
    """Measure how varied the answers to each prompt are, where a prompt has several.

    Distinct-n and Self-BLEU depend on how many answers there are: `k` of each prompt are compared, the first of them in
    the order of their texts' hashes, whatever order they are given in.

    Parameters
    ----------
    texts : sequence of str, length n
    prompts : sequence, length n
        What each text answers: a text, a number, or another key.
    languages : str, or one for each text
    k : int, optional
        At least 2. Default: the least that a prompt has of those with two or more.
    embeddings : array, shape (n, dimension), optional
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    WithinPrompts
        NaN where no prompt has k answers.

    Examples
    --------
    >>> found = within_prompts(["Yes.", "Yes.", "No.", "I think so."], [0, 0, 1, 1], "en")
    >>> found.same, found.k, found.prompts
    (0.5, 2, 2)
    """
    texts = checked(texts)
    if len(texts) != len(prompts):
        raise ValueError(f"{len(texts)} texts and {len(prompts)} prompts: give one for each text")
    rows_of: dict[Hashable, list[int]] = defaultdict(list)
    for row, prompt in enumerate(prompts):
        rows_of[prompt].append(row)
    several = [rows for rows in rows_of.values() if len(rows) > 1]
    if k is not None and k < 2:
        raise ValueError(f"k is {k}: it must be at least 2")
    wanted = k or min(map(len, several), default=2)
    compared = [sorted(rows, key=lambda row: _hash(texts[row])) for rows in several if len(rows) >= wanted]
    directions = None if embeddings is None else _directions(embeddings, len(texts))
    tags = of_texts(languages, len(texts))
    angles = [math.nan] if directions is None else [_cosine_distance(directions[rows]) for rows in compared]
    rows = [row for own in compared for row in own[:wanted]]
    first, own_tags = [texts[row] for row in rows], [tags[row] for row in rows]
    sets = np.repeat(np.arange(len(compared)), wanted)
    shares = [_distinct_of_sets(first, own_tags, n, sets, threads) for n in (1, 2)]
    bleu = _core.bleu_of_each(first, own_tags, False, 4, False, sets, threads) if rows else np.zeros(0)
    known = ~np.isnan(bleu)
    of_sets = np.bincount(sets[known], bleu[known], len(compared))
    counts = np.bincount(sets[known], minlength=len(compared))
    return WithinPrompts(
        _mean(shares[0]),
        _mean(shares[1]),
        _mean(np.where(counts > 0, of_sets / np.maximum(counts, 1), np.nan)),
        _mean(_same(_core.answer_keys(texts, tags, threads) if texts else np.zeros(0), compared)),
        _mean(angles),
        wanted,
        len(compared),
        len(rows_of) - len(compared),
    )


def _distinct_of_sets(texts: list[str], tags: list[str], n: int, sets: _Integers, threads: int | None) -> _Doubles:
    if not texts:
        return np.zeros(0)
    different, total = _core.distinct_ngrams(texts, tags, False, n, sets, threads)
    return np.where(total > 0, different / np.maximum(total, 1), np.nan)


def _same(keys: npt.NDArray[Any], compared: list[list[int]]) -> list[float]:
    """Return the share of pairs of each prompt's answers that are the same."""
    found = []
    for rows in compared:
        alike = np.unique(keys[rows], return_counts=True)[1]
        found.append(float((alike * (alike - 1)).sum()) / (len(rows) * (len(rows) - 1)))
    return found


def _expected(said: Iterable[tuple[int, int]], total: int, at: int) -> float:
    """Return the expected share of different ones among `at` of all, `of` of which are there `count` times each."""
    return math.fsum(of * (1 - _none_of(count, total, at)) for count, of in said) / at


def _none_of(count: int, total: int, drawn: int) -> float:
    """Return how likely none of `count` is among `drawn` of `total`."""
    if total - count < drawn:
        return 0.0
    log = math.lgamma
    return math.exp(log(total - count + 1) - log(total - count - drawn + 1) - log(total + 1) + log(total - drawn + 1))


class Ngrams:
    """The n-grams of texts in one language, numbered: for how different those of any of the texts are."""

    def __init__(self, texts: Sequence[str], language: str, n: int) -> None:
        ids, ends = _core.answer_ids(list(texts), language, None)
        tokens = np.unique(ids, return_inverse=True)[1].astype(np.int64)
        rows = np.repeat(np.arange(len(texts)), np.diff(ends))
        numbers, last = tokens, rows
        for at in range(1, n):
            # That of an n-gram is of its first part and its last token.
            inside = last[: len(rows) - at] == rows[at:]
            pairs = numbers[: len(rows) - at] * (1 + int(tokens.max(initial=0))) + tokens[at:]
            numbers = np.unique(pairs, return_inverse=True)[1].astype(np.int64)
            last = np.where(inside, rows[at:], -1)
        there = last >= 0
        self._numbers, self._rows = numbers[there], last[there]
        self._kinds = int(self._numbers.max(initial=-1)) + 1

    def total(self, texts: npt.NDArray[np.bool_]) -> int:
        """Return how many n-grams some texts have."""
        return int(texts[self._rows].sum())

    def distinct(self, texts: npt.NDArray[np.bool_], at: int) -> float:
        """Return the expected share of different ones among `at` of some texts' n-grams, as :func:`distinct` does."""
        counts = np.bincount(self._numbers[texts[self._rows]], minlength=self._kinds)
        total, times = int(counts.sum()), np.bincount(counts)
        if not at or at > total:
            return math.nan
        return _expected(((size, int(times[size])) for size in np.flatnonzero(times).tolist() if size), total, at)


def _mean(values: Iterable[float]) -> float:
    known = sorted(float(value) for value in values if not math.isnan(value))
    return math.fsum(known) / len(known) if known else math.nan


def _hash(text: str) -> tuple[bytes, str]:
    import hashlib

    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), text


def _directions(embeddings: Any, count: int) -> Any:
    vectors = doubles("embeddings", embeddings)
    check_shape("embeddings", vectors, "n, dimension")
    if len(vectors) != count:
        raise ValueError(f"{count} texts and {len(vectors)} embeddings: give one for each text")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1.0)


def _cosine_distance(vectors: Any) -> float:
    count = len(vectors)
    together = float((vectors.sum(axis=0) ** 2).sum()) - float((vectors**2).sum())
    return 1.0 - together / (count * (count - 1))


def _check_n(n: int) -> None:
    if n < 1:
        raise ValueError(f"n is {n}: an n-gram has one token at least")
