"""Weights: how much an example counts, so that every bucket has its say and none is a few rows shouting.

Examples
--------
>>> import polyalign as pa
>>> weights = pa.weights.bucket_weights({"en|single|qa|short": 900, "zh|single|qa|short": 100})
>>> {bucket: round(weight, 3) for bucket, weight in weights.weights.items()}
{'en|single|qa|short': 0.932, 'zh|single|qa|short': 1.614}
>>> round(weights.effective_sample_size)
960
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import operator
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from polyalign._text.words import counted
from polyalign.buckets import _ids
from polyalign.buckets._schema import axis_names

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from polyalign.buckets import BucketSchema

__all__ = ["BucketWeights", "bucket_weights", "gaps", "language_counts", "language_of", "pair_types", "pair_weights"]

_MOST = 2**63

#: Drawn by these weights, rows did better than plain SFT in less than an epoch and over some, where it was measured.
DEFAULT_TAU = 0.75

Variant = Literal["default", "paper"]

#: The types of pairs by the names that the published code has, and by the others that it takes for them.
_NAMED = {"global": 0.0, "local": 0.5, "distribution": 1.0}
_OTHER_NAMES = {
    "global": ("global_utility", "quality"),
    "local": ("local_alignment", "locality"),
    "distribution": ("dist", "distributional"),
}
_PAIR_TYPES = _NAMED | {other: _NAMED[name] for name, others in _OTHER_NAMES.items() for other in others}


@dataclass(frozen=True, kw_only=True, repr=False)
class BucketWeights:
    """The weight of every bucket, and what came of it. ``print(weights)`` is a report to log before training.

    Made by :func:`bucket_weights`.
    """

    weights: Mapping[str, float]
    """By bucket: what the loss of each of its examples (with `tokens`: of each of its tokens) is multiplied by."""
    counts: Mapping[str, int]
    """By bucket: its examples."""
    tokens: Mapping[str, int] | None
    """By bucket: its tokens, where tokens are weighted."""
    served_by: Mapping[str, str]
    """By bucket: whose count its weight is of: its own, or an ancestor's, with ``*`` for all values of an axis."""
    uncapped: Mapping[str, float]
    """By bucket: the weight before the cap; their mean over the rows (or tokens) is 1."""
    tau: float
    """0: every bucket counts the same; 1: every example does."""
    min_count: int
    """A bucket with fewer examples is weighted as its ancestor."""
    max_weight: float
    """No weight is above it; their mean is 1."""
    _amounts: _Amounts = dataclasses.field(repr=False)
    _scale: float = dataclasses.field(repr=False)

    @property
    def capped(self) -> tuple[str, ...]:
        """The buckets whose weight would be above `max_weight`."""
        return tuple(bucket for bucket, target in self.served_by.items() if self._weight(target) > self.max_weight)

    @property
    def tiny(self) -> tuple[str, ...]:
        """The buckets with fewer than `min_count` examples."""
        return tuple(bucket for bucket, count in self.counts.items() if count < self.min_count)

    @property
    def largest(self) -> tuple[str, float]:
        """The bucket of the largest weight, and that weight."""
        return max(self.weights.items(), key=lambda item: item[1])

    @property
    def mean(self) -> float:
        """The mean weight over the counted rows, or tokens where these were given: 1, up to rounding."""
        return _dot(self.weights, self._sizes) / sum(self._sizes.values())

    @property
    def effective_sample_size(self) -> float:
        """How many equally weighted rows estimate as well: (Σw)² / Σw² over the rows."""
        return _effective(self.weights, self.counts)

    @property
    def is_noisy(self) -> bool:
        """Whether the effective sample is under half of the rows, so that the loss has twice plain SFT's variance."""
        return 2 * self.effective_sample_size < sum(self.counts.values())

    @property
    def loss_shares(self) -> dict[str, float]:
        """By bucket: its share of the weighted loss, were the loss the same everywhere. They sum to 1."""
        whole = _dot(self.weights, self._sizes)
        return {bucket: weight * self._sizes[bucket] / whole for bucket, weight in self.weights.items()}

    @property
    def _sizes(self) -> Mapping[str, int]:
        return self.counts if self.tokens is None else self.tokens

    def weight_of(self, bucket: str) -> float:
        """Return the weight of a bucket, counted or not.

        One that was not counted has 0 examples, so it is weighted as its nearest ancestor.

        Raises
        ------
        KeyError
            Nothing of its language was counted.
        ValueError
            `bucket` is no bucket's id under the schema.
        """
        if bucket in self.weights:
            return self.weights[bucket]
        target = self._amounts.serving(bucket, self.min_count)
        if target not in self._amounts.counts:
            raise KeyError(f"bucket {bucket!r} has no weight: nothing of its language was counted")
        return min(self._weight(target), self.max_weight)

    def _weight(self, target: str) -> float:
        """Return a weight that may be above the cap."""
        return self._scale * self._amounts.power(target, self.tau)

    def __str__(self) -> str:
        return _report(self)

    def __repr__(self) -> str:
        least, largest = min(self.weights.values()), max(self.weights.values())
        count = len(self.weights)
        return f"<BucketWeights: {counted(count, 'bucket')}, {least:.3g} to {largest:.3g}, tau={self.tau:g}>"


def bucket_weights(
    counts: Mapping[str, int],
    *,
    tau: float | None = None,
    min_count: int = 20,
    max_weight: float = 10.0,
    tokens: Mapping[str, int] | None = None,
    schema: BucketSchema | None = None,
    variant: Variant = "default",
) -> BucketWeights:
    """Weigh buckets by how many examples they have.

    With m_b the examples of bucket b, w_b = min(c·m_b^(τ−1), `max_weight`), with the c for which the mean over the N
    examples is 1: what capped buckets lack goes to the others. With no small bucket and none capped, at τ = 0 it is
    N / (|B|·n_b). A bucket with fewer than `min_count` examples has the m of its nearest ancestor that has them (all
    counted buckets that agree once the custom axes from the last, the family, the track and the length are dropped in
    turn), at the last its language's.

    Parameters
    ----------
    counts : mapping of str to int
        Examples by bucket, of the data that trains.
    tau : float, default 0.75
        From 0, where every bucket counts the same, to 1, where every example does: n_b^τ is a bucket's share.
    min_count : int, default 20
        Fewer examples have no weight of their own.
    max_weight : float, default 10.0
        The cap, from 1, where all weights are equal; ``math.inf``: none. As the mean weight is 1, an example counts at
        most so many times as much as in plain SFT.
    tokens : mapping of str to int, optional
        Response tokens by bucket: weighs tokens instead of examples. `min_count` is of examples all the same.
    schema : BucketSchema, optional
        Whose ids these are. Default: language × track × family × length.
    variant : {"default", "paper"}, default "default"
        ``"paper"``: N / (|B|·n_b); `min_count` and `max_weight` have no effect and `tau` is 0.

    Returns
    -------
    BucketWeights
        Its buckets are in the order of their ids.

    Raises
    ------
    ValueError
        A count is no whole number above 0, an id is none under the schema, `tokens` has other buckets, or a setting is
        out of its range.

    Examples
    --------
    >>> found = bucket_weights({"en|single|qa|short": 4000, "en|single|qa|long": 950, "en|multi|qa|long": 3})
    >>> found.served_by["en|multi|qa|long"], found.tiny
    ('en|*|*|long', ('en|multi|qa|long',))
    >>> round(found.weights["en|multi|qa|long"], 2) == round(found.weight_of("en|multi|dialogue|long"), 2)
    True
    """
    if tau is None:
        tau = 0.0 if variant == "paper" else DEFAULT_TAU
    _check_settings(tau, min_count, max_weight, variant)
    if variant == "paper":
        min_count, max_weight = 0, math.inf
    amounts = _Amounts(counts, tokens, schema)
    sizes = amounts.buckets if amounts.bucket_tokens is None else amounts.bucket_tokens
    served_by = {bucket: amounts.serving(bucket, min_count) for bucket in sizes}
    powers = {bucket: amounts.power(target, tau) for bucket, target in served_by.items()}
    free, scale = (scale_to_mean_1(powers, sizes, cap) for cap in (math.inf, max_weight))
    return BucketWeights(
        weights={bucket: min(scale * power, float(max_weight)) for bucket, power in powers.items()},
        counts=amounts.buckets,
        tokens=amounts.bucket_tokens,
        served_by=served_by,
        uncapped={bucket: free * power for bucket, power in powers.items()},
        tau=float(tau),
        min_count=min_count,
        max_weight=float(max_weight),
        _amounts=amounts,
        _scale=scale,
    )


def gaps(
    counts: Mapping[str, int],
    *,
    min_count: int = 20,
    schema: BucketSchema | None = None,
    variant: Variant = "default",
) -> dict[str, float]:
    """Say how rare each key is among K, from 0 (as many examples as the others, or more) to 1 (the rarest).

    max(0, log(N / (K·m_k))) over the largest of them, with m_k as in :func:`bucket_weights`; all 0 where none is rare.

    Parameters
    ----------
    counts : mapping of str to int
        Examples by bucket; or by language, as :func:`language_counts` has them.
    min_count, schema
        As in :func:`bucket_weights`; without a schema, ids without ``|`` are languages.
    variant : {"default", "paper"}, default "default"
        ``"paper"``: max(0, N / (K·n_k) − 1) over the largest, so that one bucket of a single row flattens all others.

    Returns
    -------
    dict of str to float
        In the order of the keys.

    Examples
    --------
    >>> gaps({"en": 8000, "zh": 500, "de": 50})
    {'de': 1.0, 'en': 0.0, 'zh': 0.4304...}
    """
    _check_settings(0, min_count, 1, variant)
    languages = schema is None and not any(len(_ids.split(key)) > 1 for key in counts if isinstance(key, str))
    amounts = _Amounts(counts, None, schema, axes=("language",) if languages else None)
    even = sum(amounts.buckets.values()) / len(amounts.buckets)
    if variant == "paper":
        rarity = {key: even / count - 1 for key, count in amounts.buckets.items()}
    else:
        rarity = {key: math.log(even / amounts.counts[amounts.serving(key, min_count)]) for key in amounts.buckets}
    largest = max(rarity.values())
    return {key: max(0.0, rare) / largest if largest > 0 else 0.0 for key, rare in rarity.items()}


def language_counts(counts: Mapping[str, int], schema: BucketSchema | None = None) -> dict[str, int]:
    """Sum counts of buckets by language.

    Examples
    --------
    >>> language_counts({"en|single|qa|short": 5, "en|multi|qa|short": 2, "zh|multi|qa|short": 4})
    {'en': 7, 'zh': 4}
    """
    amounts = _Amounts(counts, None, schema)
    found: Counter[str] = Counter()
    for bucket, count in amounts.buckets.items():
        found[language_of(bucket, schema)] += count
    return dict(sorted(found.items()))


def language_of(bucket: str, schema: BucketSchema | None = None) -> str:
    """Return the language of a bucket; the schema's default one where it has no axis of languages.

    Examples
    --------
    >>> language_of("zh|multi|qa|short")
    'zh'
    """
    axes = axis_names(schema)
    if "language" not in axes:
        return "und" if schema is None else schema.default_language
    return _ids.checked_parts(bucket, axes)[axes.index("language")]


def pair_weights(
    bucket_gap: npt.ArrayLike,
    language_gap: npt.ArrayLike,
    chosen_scores: npt.ArrayLike | None,
    rejected_scores: npt.ArrayLike | None,
    pair_type: npt.ArrayLike = 0.0,
    *,
    alpha: float = 0.5,
    beta_w: float = 1.0,
    gamma_l: float = 0.25,
    eta: float = 0.25,
    weight_min: float = 0.5,
    weight_max: float = 3.0,
) -> npt.NDArray[np.float64]:
    """Weigh preference pairs: clip(1 + α·gap_b + β_w·max(0, s⁻ − s⁺) + γ_l·gap_lang + η·pair_type).

    Parameters
    ----------
    bucket_gap, language_gap : array_like, shape (n,) or a number
        Of each pair's bucket and language, from :func:`gaps`.
    chosen_scores, rejected_scores : array_like, shape (n,), or None
        s⁺ and s⁻, a critic's; lower is closer to human. None for both: the weights have no term of scores.
    pair_type : array_like, default 0.0
        0 for ordinary pairs; numbers or names, as :func:`pair_types` takes them.
    alpha, beta_w, gamma_l, eta : float
        What each term counts, 0 or above.
    weight_min, weight_max : float
        Where weights are clipped.

    Returns
    -------
    numpy.ndarray of float64, shape (n,)

    Raises
    ------
    ValueError
        A number is NaN, infinite or out of its range, as the NaN score of a pair whose bucket has no humans; or
        lengths differ.

    Examples
    --------
    >>> pair_weights([0.0, 1.0], [0.0, 1.0], [0.2, 0.9], [0.7, 0.3])
    array([1.5 , 1.75])
    """
    import numpy as np

    coefficients = {"alpha": alpha, "beta_w": beta_w, "gamma_l": gamma_l, "eta": eta, "weight_min": weight_min}
    for name, value in coefficients.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value}: it must be a number of 0 or above")
    if not weight_min <= weight_max < math.inf:
        raise ValueError(f"weight_max is {weight_max}: it must be a number not below weight_min, {weight_min}")
    if (chosen_scores is None) != (rejected_scores is None):
        raise ValueError("chosen_scores and rejected_scores: give both or neither")
    terms = {"bucket_gap": bucket_gap, "language_gap": language_gap, "pair_type": pair_types(pair_type)}
    arrays = {name: _finite(name, value) for name, value in terms.items()}
    if chosen_scores is not None and rejected_scores is not None:
        arrays["chosen_scores"] = _finite("chosen_scores", chosen_scores)
        arrays["rejected_scores"] = _finite("rejected_scores", rejected_scores)
    lengths = {len(array) for array in arrays.values() if len(array) != 1}
    if len(lengths) > 1:
        told = ", ".join(f"{name} {len(array):,}" for name, array in arrays.items())
        raise ValueError(f"lengths differ ({told}): give one number for each pair")
    weights = 1 + alpha * arrays["bucket_gap"] + gamma_l * arrays["language_gap"] + eta * arrays["pair_type"]
    if "chosen_scores" in arrays:
        weights = weights + beta_w * np.maximum(0.0, arrays["rejected_scores"] - arrays["chosen_scores"])
    return np.clip(weights, weight_min, weight_max)


def pair_types(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the types of pairs as numbers, where they may have names: what η counts in :func:`pair_weights`.

    Parameters
    ----------
    values : array_like, shape (n,), or one for all
        Numbers; or ``"global"`` (0), ``"local"`` (0.5), ``"distribution"`` (1), or what the published code takes for
        them, as ``"dist"``; None is global.

    Returns
    -------
    numpy.ndarray of float64, shape (n,)

    Raises
    ------
    ValueError
        Another name, or what is no finite number.

    Examples
    --------
    >>> pair_types(["global", None, "local", "distribution", 0.25]).tolist()
    [0.0, 0.0, 0.5, 1.0, 0.25]
    """
    import numpy as np

    array = np.atleast_1d(np.asarray(values, dtype=object))
    given = ("global" if value is None else value for value in array.tolist())
    found: list[Any] = [_PAIR_TYPES.get(value) if isinstance(value, str) else value for value in given]
    if None in found:
        at = found.index(None)
        raise ValueError(f"pair_type: {array[at]!r} at {at}: it must be a number, or one of {', '.join(_NAMED)}")
    return _finite("pair_type", found)


class _Amounts:
    """Examples, and tokens, of the counted buckets and of all their ancestors."""

    def __init__(
        self,
        counts: Mapping[str, int],
        tokens: Mapping[str, int] | None,
        schema: BucketSchema | None,
        axes: Sequence[str] | None = None,
    ) -> None:
        self.axes = tuple(axes or axis_names(schema))
        self.buckets = _checked("counts", counts)
        self.bucket_tokens = None if tokens is None else _checked("tokens", tokens)
        if self.bucket_tokens is not None:
            _check_same_buckets(self.buckets, self.bucket_tokens)
        self.counts = self._pooled(self.buckets)
        self._pooled_sizes = self.counts if self.bucket_tokens is None else self._pooled(self.bucket_tokens)

    def targets(self, bucket: str) -> list[str]:
        """Return the bucket and its ancestors, nearest first."""
        return _ids.targets(bucket, self.axes)

    def serving(self, bucket: str, min_count: int) -> str:
        """Return the nearest target with `min_count` examples, else the last: the language's."""
        targets = self.targets(bucket)
        enough = (target for target in targets if self.counts.get(target, 0) >= max(1, min_count))
        return next(enough, targets[-1])

    def power(self, target: str, tau: float) -> float:
        """Return m^(τ−1), m the target's size."""
        return math.pow(self._pooled_sizes[target], tau - 1)

    def _pooled(self, amounts: Mapping[str, int]) -> dict[str, int]:
        found: Counter[str] = Counter()
        for bucket, amount in amounts.items():
            for target in self.targets(bucket):
                found[target] += amount
        return dict(found)


def _checked(name: str, amounts: Mapping[str, int]) -> dict[str, int]:
    """Return amounts in the order of their ids, so that sums don't depend on how they came."""
    if not isinstance(amounts, Mapping):
        raise TypeError(f"{name} is a mapping from buckets to numbers, not {type(amounts).__name__}")
    if not amounts:
        raise ValueError(f"{name}: there are no buckets")
    found = {bucket: _whole(name, bucket, amount) for bucket, amount in amounts.items()}
    return dict(sorted(found.items(), key=lambda item: str(item[0])))


def _whole(name: str, bucket: str, amount: Any) -> int:
    """Return a count as an int; numpy's and whole floats count as numbers too."""
    is_whole_float = isinstance(amount, float) and amount.is_integer()
    try:
        number = int(amount) if is_whole_float else operator.index(amount)
    except TypeError:
        number = 0
    if not 0 < number < _MOST:
        raise ValueError(f"{name}: bucket {bucket!r} has {amount!r}: it must be a whole number above 0")
    return number


def _check_same_buckets(counts: Mapping[str, int], tokens: Mapping[str, int]) -> None:
    for name, other, has, lacks in (("tokens", "counts", tokens, counts), ("counts", "tokens", counts, tokens)):
        more = [bucket for bucket in has if bucket not in lacks]
        if more:
            told = f"{name} has {counted(len(more), 'bucket')} that {other} lacks, as {more[0]!r}"
            raise ValueError(f"{told}: count the same rows")


def _check_settings(tau: float, min_count: int, max_weight: float, variant: str) -> None:
    if variant not in ("default", "paper"):
        raise ValueError(f"variant is {variant!r}: it must be 'default' or 'paper'")
    if not 0 <= tau <= 1:
        raise ValueError(f"tau is {tau}: it must be from 0 (every bucket the same) to 1 (every example the same)")
    if variant == "paper" and tau != 0:
        raise ValueError(f"tau is {tau}: the paper's variant has none, leave it at 0")
    if not min_count >= 0:
        raise ValueError(f"min_count is {min_count}: it must be 0 or above")
    if not max_weight >= 1:
        raise ValueError(f"max_weight is {max_weight}: it must be at least 1, plain SFT's weight")


def _finite(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    import numpy as np

    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if array.ndim != 1:
        raise ValueError(f"{name} has {array.ndim} dimensions: give one number for each pair")
    bad = ~np.isfinite(array)
    if bad.any():
        first = int(bad.argmax())
        told = f"{bad.sum():,} of {len(array):,} are not finite numbers, the first {array[first]} at {first}"
        raise ValueError(f"{name}: {told}")
    return array


def _dot(values: Mapping[str, float], sizes: Mapping[str, int]) -> float:
    return math.fsum(value * sizes[bucket] for bucket, value in values.items())


def scale_to_mean_1(weights: Mapping[str, float], sizes: Mapping[str, int], cap: float) -> float:
    """Return the c for which min(c·weight, `cap`) has the mean 1 over the rows that `sizes` counts; `cap` is from 1."""
    order = sorted(weights, key=lambda bucket: -weights[bucket])
    sums = itertools.accumulate(weights[bucket] * sizes[bucket] for bucket in reversed(order))
    left = float(sum(sizes[bucket] for bucket in order))
    for bucket, rest in zip(order, reversed(list(sums)), strict=True):  # those before it are capped
        scale = left / rest
        if scale * weights[bucket] <= cap:
            return scale
        left -= cap * sizes[bucket]
    return cap / weights[order[-1]]


def _effective(weights: Mapping[str, float], counts: Mapping[str, int]) -> float:
    squares = {bucket: weight * weight for bucket, weight in weights.items()}
    return _dot(weights, counts) ** 2 / _dot(squares, counts)


# Of a report's table: this many of the largest weights, and of the smallest.
_SHOWN = 10


def _report(weights: BucketWeights) -> str:
    """Say in words what the weights are, then in a table of the largest and the smallest."""
    from polyalign._text import tables

    order = sorted(weights.weights, key=lambda bucket: (-weights.uncapped[bucket], bucket))
    lines = [_headline(weights), _spread(weights), *_notes(weights)]
    return "\n".join([*lines, tables.plain(_columns(weights, order), ("bucket", ""))])


def _headline(weights: BucketWeights) -> str:
    tokens = "" if weights.tokens is None else f", {sum(weights.tokens.values()):,} tokens"
    cap = "no cap" if weights.max_weight == math.inf else f"max_weight {weights.max_weight:g}"
    return (
        f"Bucket weights of {counted(len(weights.counts), 'bucket')}, {sum(weights.counts.values()):,} rows{tokens}: "
        f"tau {weights.tau:g}, min_count {weights.min_count}, {cap}"
    )


def _spread(weights: BucketWeights) -> str:
    rows = sum(weights.counts.values())
    effective = weights.effective_sample_size
    line = (
        f"Weights {_digits(min(weights.weights.values()))} to {_digits(weights.largest[1])}, mean 1. "
        f"Effective sample size {effective:,.0f} of {rows:,} rows ({effective / rows:.1%})"
    )
    if weights.capped:
        line += f"; {_effective(weights.uncapped, weights.counts):,.0f} without the cap"
    return line + "."


def _notes(weights: BucketWeights) -> Iterable[str]:
    if weights.tiny:
        rows = sum(weights.counts[bucket] for bucket in weights.tiny)
        told = counted(len(weights.tiny), "bucket has", "buckets have")
        yield f"{told} fewer than {weights.min_count} rows ({rows:,} together), so an ancestor's weight, named below."
    if weights.max_weight == 1:
        yield "max_weight 1 leaves no bucket favoured: this is plain SFT."
    elif weights.capped:
        shares = weights.loss_shares
        share = sum(shares[bucket] for bucket in weights.capped)
        line = f"{counted(len(weights.capped), 'bucket is', 'buckets are')} capped, with {share:.1%} of the loss."
        if 2 * len(weights.capped) > len(weights.weights):
            line += " That is most: a larger tau or max_weight would tell them apart."
        yield line
    if weights.is_noisy:
        yield "The effective sample is under half of the rows: a larger tau or a smaller max_weight makes less noise."


def _columns(weights: BucketWeights, order: Sequence[str]) -> dict[str, list[str]]:
    """Return the table's columns; what is between the largest and the smallest becomes one line."""
    groups: list[Sequence[str]] = [[bucket] for bucket in order]
    if len(order) > 2 * _SHOWN + 1:
        groups[_SHOWN:-_SHOWN] = [order[_SHOWN:-_SHOWN]]
    rows, shares, capped = sum(weights.counts.values()), weights.loss_shares, set(weights.capped)
    counts = [sum(weights.counts[bucket] for bucket in group) for group in groups]
    columns = {
        "bucket": [group[0] if len(group) == 1 else f"… {len(group):,} more" for group in groups],
        "rows": [f"{count:,}" for count in counts],
        "of rows": [f"{count / rows:.1%}" for count in counts],
    }
    if weights.tokens is not None:
        columns["tokens"] = [f"{sum(weights.tokens[bucket] for bucket in group):,}" for group in groups]
    columns["weight"] = [_range([weights.weights[bucket] for bucket in group]) for group in groups]
    columns["of loss"] = [f"{sum(shares[bucket] for bucket in group):.1%}" for group in groups]
    columns[""] = [_why(weights, group[0], capped) if len(group) == 1 else "" for group in groups]
    return columns


def _range(values: Sequence[float]) -> str:
    low, high = _digits(min(values)), _digits(max(values))
    return low if low == high else f"{low}–{high}"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _why(weights: BucketWeights, bucket: str, capped: Container[str]) -> str:
    """Say what a weight is, if it is not simply by the bucket's own count."""
    told = []
    if weights.served_by[bucket] != bucket:
        told.append(f"as {weights.served_by[bucket]}")
    if bucket in capped:
        told.append(f"capped, {_digits(weights.uncapped[bucket])} without")
    return ", ".join(told)
