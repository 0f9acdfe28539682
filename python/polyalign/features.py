"""Features of a response: named numbers that say how it is written.

:func:`extract` measures texts, :func:`registry` says what each feature is. ``docs/features.md`` has them all in one
table.

Examples
--------
>>> import polyalign as pa
>>> table = pa.features.extract(["Sure! Which one do you mean?", "好的，请稍等。"], ["en", "zh"], groups=["length"])
>>> [value.as_py() for value in table["word_count"]]
[6.0, 3.0]
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from polyalign import _core
from polyalign._io import responses

__all__ = ["GROUPS", "Feature", "extract", "registry"]

GROUPS = (
    "length",
    "structure",
    "lexical",
    "function",
    "punctuation",
    "orthography",
    "readability",
    "sentiment",
    "interaction",
)
"""The groups of features, in the order of their columns."""
LM = "lm"
"""One more, whose features a language model gives (:mod:`polyalign.lm`)."""

Variant = Literal["default", "paper"]


class Feature(NamedTuple):
    """What a feature is."""

    name: str
    """The column's name."""
    group: str
    """What it is computed with."""
    definition: str
    """What it is, in a line."""
    unit: str
    """What it is counted in."""
    range: tuple[float | None, float | None]
    """The least and the greatest value; ``None`` where there is no end."""
    languages: str
    """In which languages it is defined."""
    scale: float
    """What counts as one step: a support distance is measured in no smaller unit."""
    bins: str
    """Where a reference cuts its values."""


def extract(
    texts: Any,
    languages: str | Sequence[str],
    prompts: Any = None,
    *,
    groups: Sequence[str] | str | None = None,
    variant: Variant = "default",
    keep_thinking: bool = False,
    threads: int | None = None,
) -> Any:
    """Measure the features of responses.

    Parameters
    ----------
    texts : list of str, Arrow column or numpy array of strings
        The responses; message lists count as the text of their last message.
    languages : str, or one for each text
        BCP 47 codes or names of languages; ``"und"`` where it is not known. One for all, or a list.
    prompts : list, optional
        What each response answers: a text (the user's), a list of ``{"role", "content"}``, or ``None``. Without it the
        features of the group ``interaction`` are not defined.
    groups : sequence of str, optional
        Which of :data:`GROUPS`. Default: all. Not for the paper's variant. ``"syntax"`` besides: shares of universal
        parts of speech, for Chinese, in builds with the cargo feature ``pos``.
    variant : {"default", "paper"}, default "default"
        ``"paper"``: the features of the paper's published code (arXiv:2606.13227), value for value.
    keep_thinking : bool, default False
        Whether leading reasoning, up to ``</think>``, counts as part of a response.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    arro3.core.Table
        A float32 column a feature, a row a text; NaN where a feature is not defined for the text or its language.

    Raises
    ------
    ValueError
        A language, group or variant that is not known; texts, languages and prompts of different numbers.

    Examples
    --------
    >>> table = extract(["It is Paris."], "en", [[{"role": "user", "content": "What is the capital?"}]])
    >>> table["user_overlap_share"][0].as_py()
    0.33333301544189453
    """
    if isinstance(groups, str):
        groups = [groups]
    if variant == "paper" and groups is not None:
        raise ValueError("groups are of the default variant: the paper's features come as a whole")
    if groups is not None and LM in groups:
        raise ValueError(
            "groups: 'lm' takes a language model, polyalign.lm.LanguageModel(model).measure(texts, prompts)"
        )
    if groups is not None and not groups:
        raise ValueError(f"groups is empty: name some of {', '.join(GROUPS)}")
    return _core.extract_features(
        responses.texts("texts", texts),
        languages,
        responses.prompts(prompts),
        list(GROUPS if groups is None else groups),
        variant,
        keep_thinking,
        threads,
    )


def registry(variant: Variant = "default", *, groups: Sequence[str] | None = None) -> list[Feature]:
    """Return all features of a variant, in the order of their columns.

    Parameters
    ----------
    variant : {"default", "paper"}, default "default"
    groups : sequence of str, optional
        Some of :data:`GROUPS`, and ``"lm"``: what a language model says of a response (:mod:`polyalign.lm`), which
        texts alone don't. Default: all that are measured of texts.

    Examples
    --------
    >>> registry()[0]
    Feature(name='char_count', group='length', definition='Characters.', unit='characters', ...)
    """
    features = json.loads(_core.feature_registry(variant))["features"]
    if groups is not None and (unknown := sorted({*groups} - {*GROUPS, LM})):
        raise ValueError(f"groups: {unknown[0]!r} is not one of {', '.join((*GROUPS, LM))}")
    wanted = (*GROUPS, "paper") if groups is None else groups
    return [
        Feature(**{**feature, "range": tuple(feature["range"])}) for feature in features if feature["group"] in wanted
    ]
