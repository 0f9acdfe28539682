"""`weights`: formulas, back-off, caps and reports, against slow oracles and the paper's golden values."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT
from polyalign import BucketSchema, weights

PAGE = ROOT / "docs" / "weights.md"
AXES = ("language", "track", "family", "length")
# What is dropped of an id for its ancestors, nearest first.
DROPPED = ({"family"}, {"family", "track"}, {"family", "track", "length"})
LIKE_A_CORPUS = {
    "en|multi|dialogue|short": 121_405,
    "en|multi|dialogue|medium": 2_123,
    "en|multi|dialogue|long": 1,
    "en|multi|qa|medium": 4,
    "en|single|qa|short": 177,
    "en|single|qa|long": 209,
    "zh|multi|dialogue|short": 10_083,
    "zh|multi|dialogue|long": 2,
    "fr|single|qa|short": 3,
}

ids = st.builds(
    "|".join,
    st.tuples(
        st.sampled_from(["en", "zh", "fr"]),
        st.sampled_from(["single", "multi"]),
        st.sampled_from(["qa", "a%7Cb", "dialogue"]),
        st.sampled_from(["short", "long"]),
    ),
)
# Small numbers, around the smallest that is enough, and large ones.
sizes = st.integers(1, 45) | st.integers(1, 200_000)
corpora = st.dictionaries(ids, sizes, min_size=1, max_size=20)
taus = st.sampled_from([0.0, 1.0]) | st.floats(0, 1)


def agree(bucket: str, other: str, dropped: set[str]) -> bool:
    parts = zip(AXES, bucket.split("|"), other.split("|"), strict=True)
    return all(axis in dropped or one == another for axis, one, another in parts)


def serving_buckets(counts: Mapping[str, int], bucket: str, min_count: int) -> list[str]:
    """The counted buckets whose sum weighs a bucket, found by going through all of them."""
    for dropped in (set(), *DROPPED):
        found = [other for other in counts if agree(bucket, other, dropped)]
        if sum(counts[other] for other in found) >= min_count:
            break
    return found


def slow_weights(
    counts: Mapping[str, int], sizes: Mapping[str, int], tau: float, min_count: int, max_weight: float
) -> dict[str, float]:
    served = {bucket: serving_buckets(counts, bucket, min_count) for bucket in counts}
    powers = {bucket: sum(sizes[other] for other in served[bucket]) ** (tau - 1) for bucket in counts}
    capped: set[str] = set()
    while True:  # what those above the cap give up goes to the others, which may come to lie above it
        free = [bucket for bucket in counts if bucket not in capped]
        left = (
            sum(sizes.values()) - max_weight * sum(sizes[bucket] for bucket in capped)
            if capped
            else sum(sizes.values())
        )
        scale = left / sum(sizes[bucket] * powers[bucket] for bucket in free) if free else 0
        above = {bucket for bucket in free if scale * powers[bucket] > max_weight * (1 + 1e-12)}
        if not above:
            return {bucket: max_weight if bucket in capped else scale * powers[bucket] for bucket in counts}
        capped |= above


@given(counts=corpora, tau=taus, min_count=st.integers(1, 60), max_weight=st.floats(1, 100), data=st.data())
def test_weights_are_those_of_the_formula(
    counts: dict[str, int], tau: float, min_count: int, max_weight: float, data: st.DataObject
) -> None:
    tokens = data.draw(st.none() | st.fixed_dictionaries(dict.fromkeys(counts, sizes)))
    found = weights.bucket_weights(counts, tau=tau, min_count=min_count, max_weight=max_weight, tokens=tokens)
    expected = slow_weights(counts, tokens or counts, tau, min_count, max_weight)
    assert dict(found.weights) == pytest.approx(expected, rel=1e-12)
    uncapped = slow_weights(counts, tokens or counts, tau, min_count, math.inf)
    assert dict(found.uncapped) == pytest.approx(uncapped, rel=1e-12)
    assert set(found.capped) <= {bucket for bucket, weight in expected.items() if weight >= max_weight * (1 - 1e-9)}
    assert set(found.capped) >= {bucket for bucket, weight in uncapped.items() if weight > max_weight * (1 + 1e-9)}
    assert set(found.tiny) == {bucket for bucket, count in counts.items() if count < min_count}


@given(counts=corpora, tau=taus, max_weight=st.sampled_from([1.0, math.inf]) | st.floats(1, 20), data=st.data())
def test_no_example_counts_more_than_max_weight_times_plain_sfts(
    counts: dict[str, int], tau: float, max_weight: float, data: st.DataObject
) -> None:
    tokens = data.draw(st.none() | st.fixed_dictionaries(dict.fromkeys(counts, sizes)))
    found = weights.bucket_weights(counts, tau=tau, tokens=tokens, max_weight=max_weight)
    assert found.mean == pytest.approx(1, rel=1e-12)
    assert found.largest[1] <= max_weight
    # The larger the bucket, the less its examples count, and the more the bucket, capped or not.
    order = sorted(found.weights, key=lambda bucket: -found.uncapped[bucket])
    assert all(found.weights[one] >= found.weights[other] for one, other in itertools.pairwise(order))


@given(counts=corpora, tau=taus, max_weight=st.floats(1, 20))
def test_summary_is_that_of_the_rows(counts: dict[str, int], tau: float, max_weight: float) -> None:
    found = weights.bucket_weights(counts, tau=tau, max_weight=max_weight)
    buckets = list(counts)
    rows = np.repeat([found.weights[bucket] for bucket in buckets], [counts[bucket] for bucket in buckets])
    assert found.mean == pytest.approx(rows.mean())
    assert found.effective_sample_size == pytest.approx(rows.sum() ** 2 / (rows**2).sum())
    assert found.largest[1] == rows.max() == found.weights[found.largest[0]]
    shares = {bucket: counts[bucket] * found.weights[bucket] / rows.sum() for bucket in buckets}
    assert found.loss_shares == pytest.approx(shares)


def test_summary_of_tokens() -> None:
    counts, tokens = {"en|single|qa|short": 100, "en|single|qa|long": 100}, {}
    tokens = {"en|single|qa|short": 1_000, "en|single|qa|long": 9_000}
    found = weights.bucket_weights(counts, tau=0, tokens=tokens, max_weight=2.0)
    assert found.uncapped == pytest.approx({"en|single|qa|short": 5.0, "en|single|qa|long": 5 / 9})
    # What is left to 9,000 of the 10,000 tokens.
    assert found.weights == pytest.approx({"en|single|qa|short": 2.0, "en|single|qa|long": 8 / 9})
    assert found.effective_sample_size == pytest.approx(100 * (2 + 8 / 9) ** 2 / (4 + 64 / 81))


@given(counts=corpora, tau=taus, seed=st.integers(0, 99))
def test_order_of_counts_does_not_matter(counts: dict[str, int], tau: float, seed: int) -> None:
    shuffled = list(counts.items())
    random.Random(seed).shuffle(shuffled)
    one, another = (weights.bucket_weights(of, tau=tau) for of in (counts, dict(shuffled)))
    assert list(one.weights.items()) == list(another.weights.items())
    assert one.mean == another.mean
    assert one.effective_sample_size == another.effective_sample_size
    assert str(one) == str(another)
    assert list(weights.gaps(counts).items()) == list(weights.gaps(dict(shuffled)).items())


@given(corpora)
def test_ends_of_tau(counts: dict[str, int]) -> None:
    assert set(weights.bucket_weights(counts, tau=1).weights.values()) == {1.0}
    enough = {bucket: count + 20 for bucket, count in counts.items()}
    macro = weights.bucket_weights(enough, tau=0, max_weight=math.inf)
    expected = {bucket: sum(enough.values()) / len(enough) / count for bucket, count in enough.items()}
    assert dict(macro.weights) == pytest.approx(expected)
    assert macro.loss_shares == pytest.approx(dict.fromkeys(counts, 1 / len(counts)))
    paper = weights.bucket_weights(counts, variant="paper")
    expected = {bucket: sum(counts.values()) / len(counts) / count for bucket, count in counts.items()}
    assert dict(paper.weights) == pytest.approx(expected)
    assert (paper.capped, paper.tiny) == ((), ())


def test_back_off_drops_family_then_track_then_length_never_language() -> None:
    found = weights.bucket_weights(LIKE_A_CORPUS, tau=0)
    assert {bucket: target for bucket, target in found.served_by.items() if bucket != target} == {
        "en|multi|qa|medium": "en|multi|*|medium",
        "en|multi|dialogue|long": "en|*|*|long",
        "zh|multi|dialogue|long": "zh|*|*|*",
        "fr|single|qa|short": "fr|*|*|*",
    }
    assert found.uncapped["en|multi|qa|medium"] / found.uncapped["en|multi|dialogue|medium"] == pytest.approx(
        2_123 / 2_127
    )


def test_back_off_drops_custom_axes_first_and_from_the_last() -> None:
    axes = ["topic", "length", "language", {"name": "tone", "column": "meta.tone"}, "family", "track"]
    schema = BucketSchema(axes=axes)
    counts = {
        "law|short|en|stern|qa|single": 5,
        "law|short|en|mild|qa|single": 14,
        "art|short|en|mild|qa|single": 30,
        "art|long|en|mild|story|single": 20,
        "art|long|zh|mild|story|single": 20,
    }
    served = weights.bucket_weights(counts, min_count=19, schema=schema).served_by
    assert served["law|short|en|stern|qa|single"] == "law|short|en|*|qa|single"
    served = weights.bucket_weights(counts, min_count=20, schema=schema).served_by
    assert served["law|short|en|stern|qa|single"] == "*|short|en|*|qa|single"
    served = weights.bucket_weights(counts, min_count=50, schema=schema).served_by
    assert served["law|short|en|stern|qa|single"] == "*|*|en|*|*|*"
    assert served["art|long|zh|mild|story|single"] == "*|*|zh|*|*|*"
    assert weights.language_counts(counts, schema) == {"en": 69, "zh": 20}


def test_schema_without_languages() -> None:
    schema = BucketSchema(axes=["family", "length"], default_language="zh")
    counts = {"qa|short": 3, "qa|long": 500}
    found = weights.bucket_weights(counts, schema=schema)
    assert found.served_by["qa|short"] == "*|*"
    assert found.weight_of("story|long") == found.weights["qa|long"]
    assert weights.language_counts(counts, schema) == {"zh": 503}


@given(counts=corpora, bucket=ids, tau=taus)
def test_bucket_that_was_not_counted_is_weighted_as_its_ancestor(
    counts: dict[str, int], bucket: str, tau: float
) -> None:
    found = weights.bucket_weights(counts, tau=tau)
    if bucket in counts:
        assert found.weight_of(bucket) == found.weights[bucket]
    elif bucket[:2] in {counted[:2] for counted in counts}:
        m = sum(counts[other] for other in serving_buckets(counts, bucket, 20))
        slow = slow_weights(counts, counts, tau, 20, 10)
        some = min(slow, key=lambda counted: slow[counted])  # not capped
        theirs = sum(counts[other] for other in serving_buckets(counts, some, 20))
        assert found.weight_of(bucket) == pytest.approx(min(10, slow[some] * (m / theirs) ** (tau - 1)))
    else:
        with pytest.raises(KeyError, match=r"has no weight: nothing of its language was counted"):
            found.weight_of(bucket)


def test_weight_of_what_is_no_bucket() -> None:
    found = weights.bucket_weights(LIKE_A_CORPUS)
    with pytest.raises(ValueError, match=r"bucket 'en\|single\|qa' has 3 parts, not one for each of language, track"):
        found.weight_of("en|single|qa")
    assert weights.bucket_weights({"en|single|qa|short": 1}, min_count=0).weight_of("en|single|qa|long") == 1.0


def test_numbers_of_other_types() -> None:
    counts = {"en|single|qa|short": np.int32(30), "en|single|qa|long": np.float64(60.0)}
    assert weights.bucket_weights(counts, tau=0).weights == {"en|single|qa|long": 0.75, "en|single|qa|short": 1.5}


def test_pickles() -> None:
    found = weights.bucket_weights(LIKE_A_CORPUS)
    copied = pickle.loads(pickle.dumps(found))
    assert copied.weights == found.weights
    assert copied.weight_of("zh|single|qa|long") == found.weight_of("zh|single|qa|long")


ONE = {"en|single|qa|short": 30}


@pytest.mark.parametrize("function", [weights.bucket_weights, weights.gaps, weights.language_counts])
@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "there are no buckets"),
        ({"en|single|qa|short": 0}, "has 0: it must be a whole number above 0"),
        ({"en|single|qa|short": -3}, "has -3: it must be"),
        ({"en|single|qa|short": 2.5}, "has 2.5: it must be"),
        ({"en|single|qa|short": math.nan}, "has nan: it must be"),
        ({"en|single|qa|short": math.inf}, "has inf: it must be"),
        ({"en|single|qa|short": "7"}, "has '7': it must be"),
        ({"en|single|qa|short": None}, "has None: it must be"),
        ({"en|single|qa|short": 10**400}, "it must be a whole number above 0"),
        ({**ONE, "en|single|short": 30}, "has 3 parts, not one for each of language, track, family, length"),
        ({**ONE, "": 30}, "has 1 part, not one for each"),
        ({"en|single||short": 30}, "part '' is not as ids have them"),
        ({"EN|single|qa|short": 30}, "part 'EN' is not as ids have them: trimmed, lower case, escaped"),
        ({"en|single| qa|short": 30}, "part ' qa' is not as ids have them"),
        ({"en|single|100%|short": 30}, "part '100%' is not as ids have them"),
        ({"en|single|*|short": 30}, r"a part is `\*`, which stands for all"),
        ({**ONE, None: 30}, "a bucket is a text, not None"),
        ({("en", "single"): 30}, "a bucket is a text, not"),
    ],
)
def test_counts_that_are_none(function: Callable[..., object], counts: dict[Any, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        function(counts)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tau": -0.1}, "tau is -0.1: it must be from 0"),
        ({"tau": 1.1}, "tau is 1.1"),
        ({"tau": math.nan}, "tau is nan"),
        ({"min_count": -1}, "min_count is -1: it must be 0 or above"),
        ({"max_weight": 0.99}, "max_weight is 0.99: it must be at least 1, plain SFT's weight"),
        ({"max_weight": -1.0}, "max_weight is -1.0"),
        ({"max_weight": math.nan}, "max_weight is nan"),
        ({"variant": "papr"}, "variant is 'papr': it must be 'default' or 'paper'"),
        ({"variant": "paper", "tau": 0.5}, "the paper's variant has none"),
        ({"tokens": {}}, "tokens: there are no buckets"),
        ({"tokens": {"en|single|qa|short": 0}}, "tokens: bucket .* has 0"),
        (
            {"tokens": {**ONE, "en|single|qa|long": 9}},
            "tokens has 1 bucket that counts lacks, as 'en.*long': count the",
        ),
        ({"tokens": {"en|single|qa|long": 9}}, "tokens has 1 bucket that counts lacks"),
        ({"schema": BucketSchema(axes=["language", "length"])}, "has 4 parts, not one for each of language, length"),
    ],
)
def test_settings_that_are_none(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        weights.bucket_weights(ONE, **settings)
    assert "\n" not in str(error.value)


def test_tokens_that_lack_a_bucket() -> None:
    with pytest.raises(ValueError, match=r"counts has 1 bucket that tokens lacks, as 'en\|single\|qa\|long'"):
        weights.bucket_weights({**ONE, "en|single|qa|long": 9}, tokens=ONE)


def test_what_is_no_mapping_or_schema() -> None:
    with pytest.raises(TypeError, match="counts is a mapping from buckets to numbers, not list"):
        weights.bucket_weights(["en|single|qa|short"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="schema is a BucketSchema, not str"):
        weights.bucket_weights(ONE, schema="language")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------ report


def test_report() -> None:
    told = str(weights.bucket_weights(LIKE_A_CORPUS, tau=0))
    first, second, third, fourth, fifth, *table = told.splitlines()
    assert first == "Bucket weights of 9 buckets, 134,007 rows: tau 0, min_count 20, max_weight 10"
    assert second.startswith("Weights 0.")
    assert "mean 1." in second
    assert " of 134,007 rows (" in second
    assert "without the cap" in second
    assert third == "4 buckets have fewer than 20 rows (10 together), so an ancestor's weight, named below."
    assert fourth.startswith("6 buckets are capped, with ")
    assert "a larger tau or max_weight would tell them apart" in fourth
    assert fifth.startswith("The effective sample is under half of the rows: ")
    assert "under half" not in str(weights.bucket_weights(LIKE_A_CORPUS, tau=0.75))
    cells = {line.split()[0]: line.split() for line in table if "|" in line}
    assert set(cells) == set(LIKE_A_CORPUS)
    assert cells["en|multi|dialogue|short"][1:3] == ["121,405", "90.6%"]
    assert cells["en|multi|dialogue|long"][5:9] == ["as", "en|*|*|long,", "capped,", "106"]
    assert cells["zh|multi|dialogue|long"][5:] == ["as", "zh|*|*|*"]
    assert all(line == line.rstrip() and len(line) <= 120 for line in table)


def test_report_of_many_buckets_shows_the_ends() -> None:
    counts = {f"en|single|f{number:03}|short": 20 + number for number in range(300)}
    tokens = {bucket: 30 * count for bucket, count in counts.items()}
    told = str(weights.bucket_weights(counts, tau=0, tokens=tokens, max_weight=math.inf))
    assert told.startswith("Bucket weights of 300 buckets, 50,850 rows, 1,525,500 tokens: tau 0, min_count 20, no cap")
    assert "capped" not in told
    shown = [line.split()[0] for line in told.splitlines() if "|" in line]
    assert shown == [f"en|single|f{number:03}|short" for number in (*range(10), *range(290, 300))]
    (between,) = [line.split() for line in told.splitlines() if "… 280 more" in line]
    rows = sum(range(30, 310))
    assert between[3:6] == [f"{rows:,}", f"{rows / 50_850:.1%}", f"{30 * rows:,}"]
    assert between[7] == f"{280 / 300:.1%}"


def test_report_of_the_smallest_cap() -> None:
    found = weights.bucket_weights({"en|single|qa|short": 900, "en|single|qa|long": 100}, max_weight=1)
    assert list(found.weights.values()) == pytest.approx([1.0, 1.0])
    assert "max_weight 1 leaves no bucket favoured" in str(found)
    assert "capped" not in str(weights.bucket_weights(ONE))
    assert "1 bucket, 30 rows" in str(weights.bucket_weights(ONE))


def test_page_shows_the_report_that_comes_out() -> None:
    page = PAGE.read_text("utf-8")
    code, shown = (
        re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0] for kind in ("python", "text")
    )
    names: dict[str, Any] = {}
    exec(compile(code, PAGE.name, "exec"), names)
    assert shown == f"{names['weights']}\n"


# -------------------------------------------------------------------------------------------------------------- gaps


@given(counts=corpora, min_count=st.integers(1, 60))
def test_gaps_are_those_of_the_formula(counts: dict[str, int], min_count: int) -> None:
    even = sum(counts.values()) / len(counts)
    m = {key: sum(counts[other] for other in serving_buckets(counts, key, min_count)) for key in counts}
    for found, rare in (
        (weights.gaps(counts, min_count=min_count), {key: max(0, math.log(even / m[key])) for key in counts}),
        (weights.gaps(counts, variant="paper"), {key: max(0, even / count - 1) for key, count in counts.items()}),
    ):
        largest = max(rare.values())
        assert found == pytest.approx({key: gap / largest if largest else 0.0 for key, gap in rare.items()}, abs=1e-9)
        assert min(found.values()) >= 0
        assert max(found.values()) == (1 if largest > 0 else 0)


def test_gaps_of_languages() -> None:
    found = weights.gaps(weights.language_counts(LIKE_A_CORPUS))
    assert list(found) == ["en", "fr", "zh"]
    assert (found["en"], found["fr"]) == (0.0, 1.0)
    even = sum(LIKE_A_CORPUS.values()) / 3
    assert found["zh"] == pytest.approx(math.log(even / 10_085) / math.log(even / 3))


def test_no_gap_where_all_are_alike() -> None:
    even = {"en|single|qa|short": 50, "zh|single|qa|short": 50}
    for variant in ("default", "paper"):
        assert weights.gaps(even, variant=variant) == {"en|single|qa|short": 0.0, "zh|single|qa|short": 0.0}  # type: ignore[arg-type]
    assert weights.gaps({"en": 7}) == {"en": 0.0}


def test_gaps_check_their_settings() -> None:
    for settings, message in (({"min_count": -1}, "min_count is -1"), ({"variant": "linear"}, "variant is 'linear'")):
        with pytest.raises(ValueError, match=message):
            weights.gaps(ONE, **settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has 1 part, not one for each"):
        weights.gaps({"en": 7, **ONE})


def test_language_of() -> None:
    assert weights.language_of("zh|multi|qa|short") == "zh"
    with pytest.raises(ValueError, match="has 1 part"):
        weights.language_of("zh")


# ------------------------------------------------------------------------------------------------------ pair weights

unit = st.floats(0, 1)
score = st.floats(0, 5)


@given(st.lists(st.tuples(unit, unit, score, score, unit), min_size=1, max_size=9), st.floats(0, 2), st.floats(0, 2))
def test_pair_weights_are_those_of_the_formula(
    pairs: Sequence[tuple[float, ...]], beta_w: float, weight_min: float
) -> None:
    bucket_gap, language_gap, chosen, rejected, kind = np.array(pairs).T
    found = weights.pair_weights(bucket_gap, language_gap, chosen, rejected, kind, beta_w=beta_w, weight_min=weight_min)
    expected = [
        min(3.0, max(weight_min, 1 + 0.5 * gap + beta_w * max(0, worse - better) + 0.25 * other + 0.25 * type_))
        for gap, other, better, worse, type_ in pairs
    ]
    assert found.dtype == np.float64
    assert found.tolist() == pytest.approx(expected)


def test_every_term_of_a_pair_weight_counts() -> None:
    base = {"bucket_gap": 0.0, "language_gap": 0.0, "chosen_scores": [0.5], "rejected_scores": [0.5]}

    def weight(**changed: Any) -> float:
        return float(weights.pair_weights(**{**base, **changed})[0])

    assert weight() == 1.0
    assert weight(bucket_gap=1.0) == 1.5
    assert weight(bucket_gap=1.0, alpha=1) == 2.0
    assert weight(language_gap=1.0) == 1.25
    assert weight(language_gap=1.0, gamma_l=1) == 2.0
    assert weight(pair_type=1.0) == 1.25
    assert weight(pair_type=1.0, eta=1) == 2.0
    assert weight(rejected_scores=[1.5]) == 2.0
    assert weight(rejected_scores=[1.5], beta_w=0.5) == 1.5
    assert weight(chosen_scores=[1.5]) == 1.0
    assert weight(rejected_scores=[5.0]) == 3.0
    assert weight(weight_min=1.75) == 1.75


def test_pair_weights_broadcast_and_do_without_scores() -> None:
    assert weights.pair_weights([0.0, 1.0], 1.0, None, None).tolist() == [1.25, 1.75]
    assert weights.pair_weights(0.0, 0.0, [0.1, 0.2], [0.1, 0.7]).tolist() == [1.0, 1.5]
    assert weights.pair_weights([], [], [], []).shape == (0,)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"chosen_scores": [0.1, math.nan]}, "chosen_scores: 1 of 2 are not finite numbers, the first nan at 1"),
        ({"rejected_scores": [math.inf, 0.1]}, "rejected_scores: 1 of 2 are not finite"),
        ({"bucket_gap": [math.nan, 0.1]}, "bucket_gap: 1 of 2"),
        ({"pair_type": math.nan}, "pair_type: 1 of 1"),
        ({"chosen_scores": [0.1, 0.2, 0.3]}, r"lengths differ \(.*chosen_scores 3.*\): give one number for each pair"),
        ({"bucket_gap": [[0.1]]}, "bucket_gap has 2 dimensions"),
        ({"chosen_scores": None}, "give both or neither"),
        ({"alpha": -1.0}, "alpha is -1.0: it must be a number of 0 or above"),
        ({"beta_w": math.nan}, "beta_w is nan"),
        ({"gamma_l": math.inf}, "gamma_l is inf"),
        ({"eta": -0.1}, "eta is -0.1"),
        ({"weight_min": -0.5}, "weight_min is -0.5"),
        ({"weight_min": 4.0}, "weight_max is 3.0: it must be a number not below weight_min, 4.0"),
        ({"weight_max": math.nan}, "weight_max is nan"),
    ],
)
def test_pairs_that_have_no_weight(changed: dict[str, Any], message: str) -> None:
    given = {"bucket_gap": 0.0, "language_gap": 0.0, "chosen_scores": [0.1, 0.2], "rejected_scores": [0.3, 0.4]}
    with pytest.raises(ValueError, match=message) as error:
        weights.pair_weights(**{**given, **changed})
    assert "\n" not in str(error.value)


# ------------------------------------------------------------------------------------------------------------ golden


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shared / "golden" / "weights.json").read_text("utf-8"))
    return found


@pytest.mark.shared
def test_golden_weights_and_gaps(golden: dict[str, Any]) -> None:
    counts = golden["bucket_counts"]
    found = weights.bucket_weights(counts, variant="paper")
    assert dict(found.weights) == pytest.approx(golden["macro_weights"], rel=1e-12, abs=1e-9)
    assert weights.gaps(counts, variant="paper") == pytest.approx(golden["bucket_gap"], abs=1e-9)
    languages = weights.gaps(weights.language_counts(counts), variant="paper")
    assert languages == pytest.approx(golden["language_gap"], abs=1e-9)


@pytest.mark.shared
def test_golden_pair_weights(golden: dict[str, Any]) -> None:
    given = golden["pair_weight"]
    cases = given["cases"]
    found = weights.pair_weights(
        [golden["bucket_gap"][case["bucket_id"]] for case in cases],
        [golden["language_gap"][case["language"]] for case in cases],
        [case["chosen_score"] for case in cases],
        [case["rejected_score"] for case in cases],
        given["pair_type_score"],
        alpha=given["alpha"],
        beta_w=given["beta"],
        gamma_l=given["gamma"],
        eta=given["eta"],
        weight_min=given["w_min"],
        weight_max=given["w_max"],
    )
    assert found.tolist() == pytest.approx([case["weight"] for case in cases], abs=1e-9)


@pytest.mark.shared
def test_back_off_and_cap_keep_the_real_corpus_in_use(golden: dict[str, Any]) -> None:
    counts = golden["bucket_counts"]
    paper = weights.bucket_weights(counts, variant="paper")
    assert paper.largest == ("en|multi|dialogue|long", pytest.approx(7939.6, abs=0.1))
    assert paper.effective_sample_size == pytest.approx(176.17, abs=0.01)
    found = weights.bucket_weights(counts)
    assert found.effective_sample_size == pytest.approx(115_176, abs=1)
    macro = {"tau": 0, "max_weight": math.inf}
    for settings in ({"variant": "paper"}, macro, *({"tau": tau} for tau in (0, 0.25, 0.5, 0.75))):
        told = f"{weights.bucket_weights(counts, **settings).effective_sample_size:,.0f}"  # type: ignore[arg-type]
        assert f"| {told} |" in PAGE.read_text("utf-8"), "docs/weights.md has other numbers"
    assert set(found.tiny) == {"en|multi|dialogue|long", "en|multi|qa|medium", "zh|multi|dialogue|long"}
