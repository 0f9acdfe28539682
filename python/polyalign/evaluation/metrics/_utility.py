"""Utility: how much of the human's answer a model's answer has.

Each is a number of 0 to 1 for every answer, 1 being best; the mean over answers is what is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from polyalign import _core
from polyalign.evaluation.metrics._tokens import Variant, checked, is_paper, of_texts

__all__ = ["Utility", "utility"]

Doubles = npt.NDArray[np.float64]


class Utility(NamedTuple):
    """Utility of answers, a number each."""

    em_raw: Doubles
    """1 where both texts are the same, character for character."""
    em: Doubles
    """Exact match: 1 where their tokens are the same."""
    f1: Doubles
    """F1 of their tokens, as multisets: 2 · common / (tokens of both)."""
    rouge_l: Doubles
    """ROUGE-L: F1 of the longest common subsequence of their tokens."""


def utility(
    predictions: Sequence[str],
    references: Sequence[str],
    languages: str | Sequence[str] = "und",
    *,
    variant: Variant = "default",
    threads: int | None = None,
) -> Utility:
    """Measure exact match, F1 and ROUGE-L of each answer.

    Where both have no tokens, F1 and ROUGE-L are 1; where one has none, 0.

    Parameters
    ----------
    predictions, references : sequence of str, length n
        The model's answers and the humans'.
    languages : str, or one for each answer
        English articles are dropped from English answers. Tokens are words, in Chinese and Japanese characters.
    variant : {"default", "paper"}, default "default"
        ``"paper"``: tokens are what stands between blanks, so that a Chinese answer is mostly one.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    Utility
        Arrays of float64, [n].

    Raises
    ------
    ValueError
        There are not as many references, or languages, as predictions.

    References
    ----------
    Rajpurkar et al., "SQuAD", 2016 (EM, F1); Lin, "ROUGE", 2004.

    Examples
    --------
    >>> found = utility(["The Seine.", "巴黎在塞纳河。"], ["It is the Seine.", "巴黎。"], ["en", "zh"])
    >>> found.f1.round(3).tolist(), found.em.tolist()
    ([0.5, 0.5], [0.0, 0.0])
    """
    predictions, references = checked(predictions, "predictions"), checked(references, "references")
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions and {len(references)} references: give one for each")
    tags, paper = of_texts(languages, len(predictions)), is_paper(variant)
    raw = np.array([a == b for a, b in zip(predictions, references, strict=True)], np.float64)
    return Utility(raw, *_core.answer_overlaps(predictions, references, tags, paper, threads))
