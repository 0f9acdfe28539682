"""Metrics: their definitions, that the order of rows changes nothing, that humans sit at the floor, faults seen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metrics_oracle as oracle
from polyalign import _core
from polyalign.evaluation import metrics

WORDS = [
    "the",
    "A",
    "cat",
    "cats,",
    "sat",
    "Don’t",
    "it's",
    "x1",
    "3.5",
    "。",
    "我们",
    "爱吃",
    "カタ",
    "です",
    "É",
    "…",
    "!",
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)
LANGUAGES = st.sampled_from(["en", "zh", "ja", "de-AT", "und"])
VARIANTS = ("default", "paper")


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


# --------------------------------------------------------------------------------------------------- texts


@given(st.lists(TEXTS, max_size=6), LANGUAGES, st.sampled_from(VARIANTS))
def test_tokens_are_cut_as_the_oracle_cuts_them(texts, language, variant):
    found = _core.answer_tokens(texts, language, variant == "paper")
    assert found == [oracle.tokens(text, language, variant) for text in texts]


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6), LANGUAGES, st.sampled_from(VARIANTS))
def test_utility_is_its_definition(pairs, language, variant):
    said, wanted = zip(*pairs, strict=True)
    found = metrics.utility(said, wanted, language, variant=variant)
    for row, (a, b) in enumerate(pairs):
        x, y = (oracle.tokens(text, language, variant) for text in (a, b))
        assert (found.em_raw[row], found.em[row]) == (a == b, x == y)
        assert found.f1[row] == pytest.approx(oracle.f1((Counter(x) & Counter(y)).total(), x, y))
        assert found.rouge_l[row] == pytest.approx(oracle.f1(oracle.longest_common(x, y), x, y))


@given(st.lists(TEXTS, max_size=8), LANGUAGES, st.integers(1, 3), st.sampled_from(VARIANTS))
def test_distinct_is_its_definition(texts, language, n, variant):
    said = [ngram for text in texts for ngram in oracle.ngrams(oracle.tokens(text, language, variant), n)]
    found = metrics.distinct(texts, language, n, variant=variant)
    if said:
        assert found == pytest.approx(len({*said}) / len(said))
        assert metrics.distinct(texts, language, n, at=1) in (1.0, pytest.approx(1.0)) or variant == "paper"
        if variant == "default":
            assert metrics.distinct(texts, language, n, at=len(said)) == pytest.approx(found)
    else:
        assert found == 0 if variant == "paper" else math.isnan(found)


def test_distinct_of_fewer_is_what_drawing_them_gives():
    texts = ["so it is"] * 6 + ["and so on it goes", "who knows what it is"]
    said = [token for text in texts for token in oracle.tokens(text, "en")]
    random = np.random.default_rng(0)
    drawn = [len({*random.choice(said, 9, replace=False).tolist()}) / 9 for _ in range(4000)]
    assert metrics.distinct(texts, "en", 1, at=9) == pytest.approx(np.mean(drawn), abs=0.01)


@given(st.lists(TEXTS, max_size=7), LANGUAGES, st.integers(1, 4), st.sampled_from(VARIANTS))
def test_self_bleu_is_its_definition(texts, language, n, variant):
    cut = [oracle.tokens(text, language, variant) for text in texts]
    if variant == "default":
        cut = [tokens for tokens in cut if tokens]
    each = [
        oracle.bleu(own, cut[:at] + cut[at + 1 :], n, variant == "paper") if own else 0.0
        for at, own in enumerate(cut)
        if len(cut) > 1
    ]
    expected = mean(each)
    assert metrics.self_bleu(texts, language, n, variant=variant) == pytest.approx(expected, nan_ok=True)


def test_within_prompts():
    texts = ["It is so.", "It is so.", "It is not so.", "Who knows?", "Well, yes.", "Alone."]
    prompts = ["a", "a", "a", "b", "b", "c"]
    found = metrics.within_prompts(texts, prompts, "en", embeddings=np.eye(6))
    assert (found.k, found.prompts, found.left_out) == (2, 2, 1)
    # Of three pairs of a one is the same, of b none; embeddings at right angles.
    assert (found.same, found.embedding) == (pytest.approx(1 / 6), pytest.approx(1.0))
    three = metrics.within_prompts(texts, prompts, "en", k=3)
    answers = [oracle.tokens(text, "en") for text in texts[:3]]
    said = [ngram for tokens in answers for ngram in oracle.ngrams(tokens, 2)]
    assert (three.prompts, three.left_out) == (1, 2)
    assert three.distinct_2 == pytest.approx(len({*said}) / len(said))
    assert three.self_bleu == pytest.approx(metrics.self_bleu(texts[:3], "en"))
    assert math.isnan(metrics.within_prompts(texts, range(6), "en").distinct_1)


@given(st.lists(TEXTS, min_size=1, max_size=6), st.lists(TEXTS, min_size=1, max_size=6), st.sampled_from(["en", "zh"]))
def test_phrases_are_counted_as_the_oracle_counts_them(model, human, language):
    found = _core.phrase_counts((model, language), (human, language), 3, 1, None)
    for size, (words, counts, totals) in enumerate(found, 1):
        sides = [oracle.phrases(texts, language, size) for texts in (model, human)]
        assert totals == (sides[0].total(), sides[1].total())
        said = {tuple(of): tuple(own) for of, own in zip(words, counts.tolist(), strict=True)}
        assert said == {of: (sides[0][of], sides[1][of]) for of in sides[0] | sides[1]}


def chat(count: int, seed: int) -> list[str]:
    """Made-up sentences of words of Zipf's kind."""
    random = np.random.default_rng(seed)
    words = np.array([f"w{number}" for number in range(400)])
    shares = 1 / np.arange(1, 401)
    return [" ".join(random.choice(words, random.integers(5, 20), p=shares / shares.sum())) for _ in range(count)]


def test_what_is_overused_is_found_and_humans_overuse_nothing():
    model, human = chat(300, 1), chat(300, 2)
    assert metrics.overused(model, human, "en") == []
    planted = [f"{text}. It is worth noting that {text}" if at % 5 == 0 else text for at, text in enumerate(model)]
    found = metrics.overused(planted, human, "en", n=3)
    assert {phrase.text for phrase in found} == {"it is worth", "is worth noting", "worth noting that"}
    assert all((phrase.model, phrase.human) == (60, 0) and phrase.p < 0.05 for phrase in found)
    assert all("worth noting" in example for phrase in found for example in phrase.examples)
    assert [phrase.text for phrase in metrics.overused(planted, human, "en", n=5)] == ["it is worth noting that"]
    chinese = [f"首先，我们{at % 7}个。" for at in range(60)], [f"好吧，我们{at % 7}个。" for at in range(60)]
    assert [phrase.text for phrase in metrics.overused(*chinese, "zh")] == ["首先"]
    assert metrics.overused([], human) == metrics.overused(model, []) == []
    # Half of the humans say "often", and all of the model: surer, and less apart, than what a tenth of it alone says.
    human = ["It is." if at % 2 else "It is often." for at in range(300)]
    model = ["It is often." if at % 10 else "Indeed. It is often." for at in range(300)]
    assert [phrase.text for phrase in metrics.overused(model, human, "en")] == ["is often", "indeed"]
    assert [phrase.text for phrase in metrics.overused(model, human, "en", order="log_odds", most=1)] == ["indeed"]


def test_language_faults():
    english, chinese = "It does not rain here at all today, I think.", "今天这里完全不会下雨，我觉得。"
    texts = [english, chinese, chinese * 6 + english[:-1] + ", but who knows.", "OK", "", "我喜欢 iPhone 15 Pro Max。"]
    found = metrics.language_faults(texts, "zh")
    assert found.wrong.tolist() == [True, False, False, False, False, False]
    assert found.mixed.tolist() == [False, False, True, False, False, False]
    assert not metrics.language_faults(texts, "und").wrong.any()
    assert metrics.language_faults([], "en").detected == []


def test_faults():
    texts = ["", " \n", "好的好的" * 20, "It is so.", "It is (so)", "So it", "Great 😀"]
    found = metrics.faults(texts, "zh")
    assert found.empty.tolist() == [True, True] + [False] * 5
    assert found.looping.tolist() == [False, False, True] + [False] * 4
    assert found.cut.tolist() == [False, False, True, False, False, True, False]
    assert metrics.faults(["So it"], "en", cut=[False]).cut.tolist() == [False]


# ------------------------------------------------------------------------------------------------ features


def humans(count: int, seed: int, features: int = 6) -> Any:
    """Features of the kinds there are: normal, of long tails, counts mostly 0, a constant, correlated, some NaN."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, features))
    rows[:, 1] = np.exp(rows[:, 1])
    rows[:, 2] = np.maximum(np.round(rows[:, 2]), 0)
    rows[:, 3] = 7
    rows[:, 4] += rows[:, 0]
    rows[random.random(count) < 0.1, 5] = np.nan
    return rows


OF_FEATURES: dict[str, Callable[[Any, Any], Any]] = {
    "bng": metrics.bng,
    "bng cdf": lambda model, human: metrics.bng(model, human, variant="cdf"),
    "bng paper": lambda model, human: metrics.bng(model, human, variant="paper"),
    "hcr": lambda model, human: metrics.hcr(model, human)._replace(inside=None),
    "tails": metrics.tails,
    "mmd": lambda model, human: metrics.mmd(model, human, permutations=19),
    "coverage": metrics.coverage,
    "mauve": lambda model, human: metrics.mauve(np.nan_to_num(model), np.nan_to_num(human), seeds=2),
    "length_gap": lambda model, human: metrics.length_gap(model[:, 0], human[:, 0]),
}


def numbers(result: Any) -> list[float]:
    """All numbers of a result, and of the results in it."""
    found: list[float] = []
    for value in result:
        if isinstance(value, tuple):
            found += numbers(value)
        elif isinstance(value, np.ndarray):
            found += value.ravel().tolist()
        elif isinstance(value, (int, float)):
            found.append(float(value))
    return found


@pytest.mark.parametrize("name", OF_FEATURES)
def test_the_order_of_rows_changes_nothing(name):
    model, human = humans(60, 1) + 0.3, humans(70, 2)
    random = np.random.default_rng(0)
    found = OF_FEATURES[name](model, human)
    again = OF_FEATURES[name](model[random.permutation(60)], human[random.permutation(70)])
    assert numbers(again) == pytest.approx(numbers(found), rel=1e-9, abs=1e-12, nan_ok=True)


def test_the_order_of_texts_changes_nothing():
    model, human = [text + " so it is" for text in chat(40, 1)], chat(40, 2)
    order = np.random.default_rng(0).permutation(40).tolist()
    mixed = [model[at] for at in order]
    for n in (1, 4):
        assert metrics.self_bleu(mixed, "en", n) == pytest.approx(metrics.self_bleu(model, "en", n), rel=1e-12)
    assert metrics.distinct(mixed, "en") == metrics.distinct(model, "en")
    assert metrics.overused(mixed, human, "en") == metrics.overused(model, human, "en")
    prompts = [at // 4 for at in range(40)]
    again = metrics.within_prompts(mixed, [prompts[at] for at in order], "en", k=3)
    assert again == pytest.approx(metrics.within_prompts(model, prompts, "en", k=3), nan_ok=True)


def test_shuffled_p_values_are_uniform():
    """Of the humans' other half: each tenth has as many, as far as chance goes."""
    p = [metrics.mmd(humans(25, 2 * at), humans(30, 2 * at + 1), permutations=39).p for at in range(200)]
    counts = np.histogram(p, np.arange(11) / 10 + 1e-9)[0]
    assert ((counts - 20) ** 2 / 20).sum() < 27.9  # chi squared with 9 degrees of freedom, p = .001


def test_the_humans_other_half_sits_at_the_floor():
    draws = [(humans(200, 2 * at), humans(200, 2 * at + 1)) for at in range(20)]
    below = [metrics.mmd(*draw, permutations=99) for draw in draws]
    assert sum(found.value > found.floor for found in below) <= 5
    assert abs(np.mean([found.value for found in below])) < 0.002
    rates = [metrics.hcr(*draw).value for draw in draws]
    assert abs(np.mean(rates) - 0.9) < 0.015
    reach = [metrics.coverage(*draw) for draw in draws[:8]]
    for name in ("precision", "recall", "density", "coverage"):
        gap = np.mean([getattr(found.model, name) - getattr(found.humans, name) for found in reach])
        assert abs(gap) < 0.06, name
    for share in (metrics.tails(*draws[0]), metrics.tails(*draws[1])):
        assert np.nanmean(share.below) == pytest.approx(0.1, abs=0.03)
        assert np.nanmean(share.above) == pytest.approx(0.1, abs=0.03)
    assert metrics.mauve(np.nan_to_num(draws[0][0]), np.nan_to_num(draws[0][1])).value > 0.85


def test_the_hcr_of_one_more_human_is_exact():
    """Leaving one out in turn, whatever the folds: on average it is the coverage, ties and all."""
    rates = []
    for seed in range(60):
        rows = np.round(humans(41, seed), 1)  # with ties
        rates.append(metrics.hcr(rows[:1], rows[1:], coverage=0.8, folds=4).value)
    assert np.mean(rates) == pytest.approx(0.8, abs=0.08)


PLANTED: dict[str, Callable[[Any], Any]] = {
    "moved": lambda rows: rows + np.eye(6)[0],
    "wider": lambda rows: rows * 2,
    "collapsed": lambda rows: rows[:1].repeat(len(rows), axis=0),
    "stuck in the middle": lambda rows: rows * [0.2, 0.2, 0.2, 1, 0.2, 0.2],
    "the constant broken": lambda rows: rows + np.eye(6)[3],
    # Each feature as before, their dependence gone.
    "correlation lost": lambda rows: np.concatenate([rows[:, :4], np.roll(rows, 7, axis=0)[:, 4:]], axis=1),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_planted_faults_are_seen(fault):
    human = humans(300, 1)
    model = PLANTED[fault](humans(300, 2))
    found = metrics.mmd(model, human, permutations=99)
    assert found.p < 0.05
    assert found.value > found.floor


def test_coverage_sees_what_precision_does_not():
    human, stuck = humans(200, 1), humans(200, 2) * [0.2, 0.2, 0.2, 1, 0.2, 0.2]
    found = metrics.coverage(stuck, human)
    assert found.model.precision > 0.9
    assert found.model.recall < 0.5 * found.humans.recall
    middle = metrics.tails(stuck[:, 0], human[:, 0])
    assert (middle.below, middle.above) == (0, 0)
    assert middle.middle > 0.9
    assert metrics.hcr(stuck, human).value > 0.95


def test_tails_turned_round_are_the_same():
    random = np.random.default_rng(0)
    human = random.integers(0, 9, 10).astype(float)
    model = np.concatenate([human, human + 0.5, [-99.0, 99.0]])
    found, turned = metrics.tails(model, human), metrics.tails(-model, -human)
    assert (found.below, found.above) == pytest.approx((turned.above, turned.below))
    assert found.middle == pytest.approx(turned.middle)


def test_gaps_are_their_definition():
    scipy = pytest.importorskip("scipy.stats")
    model, human = humans(80, 1) * 1.5, humans(90, 2)
    expected = []
    for x, y in zip(model.T, human.T, strict=True):
        known = x[~np.isnan(x)], y[~np.isnan(y)]
        expected.append(scipy.wasserstein_distance(*known) / (known[1].std() or 1.0))
    found = metrics.bng(model, human, variant="paper")
    assert found.by_feature == pytest.approx(expected)
    assert found.value == pytest.approx(np.mean(expected))
    # Under a change of scale that is not even linear the gap of ranks stays.
    ranks = metrics.bng(model, human, variant="cdf").value
    assert metrics.bng(np.exp(model), np.exp(human), variant="cdf").value == pytest.approx(ranks)
    assert 0 <= ranks <= 1


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=20), st.lists(st.integers(-3, 3), min_size=1, max_size=20))
def test_gaps_are_bounded(model, human):
    sides = [np.array(side, np.float64)[:, None] for side in (model, human)]
    assert 0 <= metrics.bng(*sides).value <= 2 + 1e-12
    assert 0 <= metrics.bng(*sides, variant="cdf").value <= 1 + 1e-12
    shares = metrics.tails(sides[0][:, 0], sides[1][:, 0])
    assert min(shares) >= 0 and shares.below + shares.above <= 1 + 1e-12
    own = metrics.tails(sides[1][:, 0], sides[1][:, 0])
    assert own == pytest.approx((0.1, 0.1, 0.5))


def test_discrepancy_is_its_definition():
    model, human = np.nan_to_num(humans(23, 1))[:, :2], np.nan_to_num(humans(31, 2))[:, :2]

    def mean_kernel(x: Any, y: Any, same: bool) -> float:
        values = [
            math.exp(-((a - b) ** 2).sum() / 2) for i, a in enumerate(x) for j, b in enumerate(y) if not same or i != j
        ]
        return sum(values) / len(values)

    expected = mean_kernel(model, model, True) + mean_kernel(human, human, True) - 2 * mean_kernel(model, human, False)
    found = metrics.mmd(model, human, standardise=False, bandwidth=1.0)
    assert found.value == pytest.approx(expected, abs=1e-12)


# ------------------------------------------------------------------------------------------------- numbers


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6))
def test_nuf_is_the_area_below_the_points(points):
    found = metrics.nuf(*zip(*points, strict=True))
    grid = (np.arange(200) + 0.5) / 200
    below = np.zeros((200, 200), bool)
    for x, y in points:
        below |= (grid[:, None] < x) & (grid[None, :] < y)
    assert found == pytest.approx(below.mean(), abs=0.02)


def test_aggregate_leaves_out_what_is_missing():
    assert metrics.aggregate(0.25, 0.0, math.nan, None) == pytest.approx(0.5)
    assert math.isnan(metrics.aggregate(0.25, None))
    assert math.isnan(metrics.nuf([math.nan], [0.5]))
    assert math.isnan(metrics.naturalness(math.nan))


def test_draws_are_those_of_groups_and_of_no_thread():
    values = np.random.default_rng(0).normal(size=(40, 3))
    groups = [f"g{at // 4}" for at in range(40)]
    found = metrics.resampled_sums(values, groups, draws=400, threads=1)
    assert (metrics.resampled_sums(values, groups, draws=400, threads=3) == found).all()
    order = np.random.default_rng(1).permutation(40)
    again = metrics.resampled_sums(values[order], [groups[at] for at in order], draws=400)
    assert again == pytest.approx(found)
    # Rows of a group are drawn together: sums are whole numbers of groups' ones.
    ones = metrics.resampled_sums(np.ones(40), groups, draws=50)
    assert (ones == 40).all()
    spread = found[:, 0].std()
    sums = values[:, 0].reshape(10, 4).sum(axis=1)
    assert spread == pytest.approx(math.sqrt(10) * sums.std(), rel=0.15)


def test_lengths_are_matched():
    random = np.random.default_rng(0)
    model, human = random.normal(50, 10, 300), random.normal(40, 20, 300)
    rows = metrics.match_lengths(model, human)
    assert len(rows[0]) == len(rows[1]) > 100
    before, after = metrics.length_gap(model, human), metrics.length_gap(model[rows[0]], human[rows[1]])
    assert after.w1 < before.w1 / 4


# ----------------------------------------------------------------------------------------------- bad input


def test_too_few_rows_say_so():
    few, many = humans(7, 1), humans(60, 2)
    reasons = [metrics.mmd(few, many).reason, metrics.coverage(few, many).reason, metrics.hcr(many, few).reason]
    reasons += [metrics.mauve(np.nan_to_num(few), np.nan_to_num(many)).reason]
    assert all("not enough" in str(reason) and "n=7, need 20" in str(reason) for reason in reasons)
    assert metrics.bng(np.zeros((0, 2)), np.zeros((3, 2))).reason == "model has no rows"
    assert metrics.bng([[np.nan]], [[1.0]]).reason == "no feature is defined on both sides"
    found = metrics.tdm(["Why?"], ["So."], ["No."], ["b"], "en")["b"]
    assert (math.isnan(found.value), found.reason) == (True, "not enough rows (n=1, need 20)")


def test_features_that_a_side_lacks_are_left_out():
    model, human = humans(40, 1), humans(40, 2)
    expected = metrics.bng(model[:, :5], human[:, :5])
    model[:, 5] = np.nan
    found = metrics.bng(model, human)
    assert (found.features, found.value) == (5, pytest.approx(expected.value))
    assert math.isnan(found.by_feature[5])
    assert not math.isnan(metrics.mmd(model, human).value)
    assert not math.isnan(metrics.hcr(model, human).value)


def test_rows_all_alike_are_at_no_distance():
    rows = np.full((30, 2), 3.0)
    found = metrics.mmd(rows, rows)
    assert (found.value, found.p) == (0.0, 1.0)
    assert metrics.bng(rows, rows).value == 0
    assert metrics.hcr(rows, rows).reason == "all humans have the same features"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.utility(["a"], []), "1 predictions and 0 references"),
        (lambda: metrics.utility("a", "b"), "predictions is one str"),
        (lambda: metrics.utility(["a"], ["b"], ["en", "zh"]), "1 texts and 2 languages"),
        (lambda: metrics.utility(["a"], ["b"], variant="own"), "variant is 'own'"),
        (lambda: metrics.distinct([None]), r"texts\[0\] is NoneType"),
        (lambda: metrics.distinct(["a"], n=0), "n is 0"),
        (lambda: metrics.distinct(["a"], at=0), "at is 0"),
        (lambda: metrics.bng([[1.0]], [[1.0, 2.0]]), "model has 1 features, human has 2"),
        (lambda: metrics.bng([[np.inf]], [[1.0]]), r"model\[0, 0\] is infinite"),
        (lambda: metrics.bng([[1.0]], [[1.0]], scales=[1, 2]), r"scales has shape \[2\]"),
        (lambda: metrics.hcr([[1.0]], [[1.0]], coverage=1.5), "coverage is 1.5"),
        (lambda: metrics.mmd([[1.0]], [[1.0]], bandwidth=-1), "bandwidth is -1"),
        (lambda: metrics.mauve([[np.nan]], [[1.0]]), "model holds NaN"),
        (lambda: metrics.tails([1.0], [[1.0]]), "model and human have shapes"),
        (lambda: metrics.overused(["a"], ["b"], prior=0), "prior is 0"),
        (lambda: metrics.overused(["a"], ["b"], order="p"), "order is 'p'"),
        (lambda: metrics.overused(["a"], ["b"], correction="none"), "correction is 'none'"),
        (lambda: metrics.within_prompts(["a"], []), "1 texts and 0 prompts"),
        (lambda: metrics.resampled_sums([[np.nan]]), "values holds NaN"),
        (lambda: metrics.resampled_sums([1.0], ["a", "b"]), "1 rows and 2 groups"),
        (lambda: metrics.nuf([1.0], []), "1 utilities and 0 naturalnesses"),
        (lambda: metrics.tdm(["a"], ["a"], [], ["b"]), "0 human"),
    ],
)
def test_what_can_not_be_used_says_why(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_turns():
    random = np.random.default_rng(0)
    words = [f"w{number}" for number in range(60)]
    asked = [" ".join(random.choice(words, 8)) for _ in range(80)]
    human = [" ".join([*text.split()[:3], *random.choice(words, 4)]) for text in asked]
    buckets = ["b"] * 80

    def value(model: list[str], variant: Any = "default") -> metrics.TDM:
        return metrics.tdm(asked, model, human, buckets, "en", variant=variant)["b"]

    for variant in VARIANTS:
        assert value(human, variant).value == pytest.approx(1.0)
        strangers = value(human[1:] + human[:1], variant)
        # What is said is as before, but not to whom.
        assert strangers.length_ratio == pytest.approx(1.0)
        assert strangers.lexical < 0.6
        assert value([text * 3 for text in human], variant).length_ratio < 0.6
    order = random.permutation(80).tolist()
    sides = [[of[at] for at in order] for of in (asked, human[1:] + human[:1], human, buckets)]
    again = metrics.tdm(*sides, "en")["b"]
    assert numbers(again) == pytest.approx(numbers(value(human[1:] + human[:1])), abs=1e-9)


def test_mauve_is_the_published_one():
    published = pytest.importorskip("mauve")
    random = np.random.default_rng(0)
    model, human = random.normal(size=(300, 8)) + 0.3, random.normal(size=(300, 8))
    theirs = metrics.mauve(model, human, variant="paper", seeds=2)
    assert published and theirs.value == pytest.approx(metrics.mauve(model, human).value, abs=0.08)
