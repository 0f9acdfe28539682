"""Diversity: how much the texts of a set repeat one another."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from polyalign._io.arrays import check_shape, doubles
from polyalign.evaluation.metrics._tokens import Variant, answer_tokens, checked

__all__ = ["WithinPrompts", "distinct", "self_bleu", "within_prompts"]

_Ngram = tuple[str, ...]


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
    counts = Counter(ngram for tokens in answer_tokens(texts, languages, variant) for ngram in _ngrams(tokens, n))
    total = counts.total()
    if at is not None and at < 1:
        raise ValueError(f"at is {at}: it must be at least 1")
    if not total or (at is not None and at > total):
        return 0.0 if variant == "paper" and at is None else math.nan
    if at is None:
        return len(counts) / total
    different = Counter(counts.values())
    return math.fsum(of * (1 - _none_of(count, total, at)) for count, of in sorted(different.items())) / at


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
    _check_n(n)
    tokens = answer_tokens(texts, languages, variant)
    return _mean(bleu_of_each(tokens, n, shorter=variant == "default"))


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
    tokens = answer_tokens(texts, languages)
    directions = None if embeddings is None else _directions(embeddings, len(texts))
    measured = [_within([tokens[row] for row in rows], wanted) for rows in compared]
    angles = [math.nan] if directions is None else [_cosine_distance(directions[rows]) for rows in compared]
    one, two, bleu, same = [_mean(values) for values in zip(*measured, strict=True)] or [math.nan] * 4
    left_out = len(rows_of) - len(compared)
    return WithinPrompts(one, two, bleu, same, _mean(angles), wanted, len(compared), left_out)


def _within(answers: list[list[str]], k: int) -> tuple[float, float, float, float]:
    first = answers[:k]
    alike = Counter(map(tuple, answers))
    pairs = len(answers) * (len(answers) - 1)
    same = sum(count * (count - 1) for count in alike.values()) / pairs
    return _share(first, 1), _share(first, 2), _mean(bleu_of_each(first, 4, shorter=True)), same


def _share(answers: list[list[str]], n: int) -> float:
    counts = Counter(ngram for tokens in answers for ngram in _ngrams(tokens, n))
    return len(counts) / counts.total() if counts else math.nan


def bleu_of_each(texts: list[list[str]], n: int, *, shorter: bool) -> list[float]:
    """Return the BLEU of each text against all others; of each n-gram the two largest counts are all it takes."""
    if shorter:
        texts = [tokens for tokens in texts if tokens]
    if len(texts) < 2:
        return []
    lengths = sorted(map(len, texts))
    logs = [0.0] * len(texts)
    orders = [0] * len(texts)
    silent = [False] * len(texts)
    for size in range(1, n + 1):
        own = [Counter(_ngrams(tokens, size)) for tokens in texts]
        largest = _largest(own)
        for text, counts in enumerate(own):
            total = counts.total()
            if shorter and not total:
                continue
            found = 0
            for ngram, count in counts.items():
                first, holder, second = largest[ngram]
                found += min(count, second if holder == text else first)
            silent[text] |= size == 1 and not found
            logs[text] += math.log((found or 0.1) / max(total, 1))
            orders[text] += 1
    return [
        0.0 if silent[text] else _brevity(len(tokens), lengths) * math.exp(logs[text] / orders[text])
        for text, tokens in enumerate(texts)
    ]


def _largest(counted: list[Counter[_Ngram]]) -> dict[_Ngram, tuple[int, int, int]]:
    """Return the largest count of each n-gram, the text that has it, and the largest of the others."""
    found: dict[_Ngram, tuple[int, int, int]] = {}
    for text, counts in enumerate(counted):
        for ngram, count in counts.items():
            first, holder, second = found.get(ngram, (0, -1, 0))
            found[ngram] = (count, text, first) if count > first else (first, holder, max(second, count))
    return found


def _brevity(length: int, lengths: list[int]) -> float:
    """Return the penalty of a text against the nearest length of the others, the shorter of two as near."""
    if not length:
        return 0.0
    at = int(np.searchsorted(lengths, length))
    others = lengths[max(at - 1, 0) : at] + lengths[at + 1 : at + 2]
    nearest = min(others, key=lambda other: (abs(other - length), other))
    return 1.0 if length > nearest else math.exp(1 - nearest / length)


def _ngrams(tokens: list[str], n: int) -> Iterable[_Ngram]:
    return zip(*(tokens[at:] for at in range(n)), strict=False)


def _none_of(count: int, total: int, drawn: int) -> float:
    """Return how likely none of `count` is among `drawn` of `total`."""
    if total - count < drawn:
        return 0.0
    log = math.lgamma
    return math.exp(log(total - count + 1) - log(total - count - drawn + 1) - log(total + 1) + log(total - drawn + 1))


def _mean(values: Iterable[float]) -> float:
    known = sorted(value for value in values if not math.isnan(value))
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
