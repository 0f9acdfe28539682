"""The distributional term: against a slow oracle, on a policy small enough to sum over, and with what can't be used."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow
import pytest

import humans
import polyalign as pa
from polyalign.distribution import Comparison, DistributionTerm, Measured
from polyalign.features import GROUPS, registry

Array = npt.NDArray[np.float64]
QA, LONG, ZH = "en|single|qa|short", "en|single|qa|long", "zh|single|qa|short"


# ------------------------------------------------------------------------------------------------- the oracle


class Oracle:
    """The formulas as they are written, in loops: the humans are the bins of those that serve a bucket."""

    def __init__(self, reference: pa.Reference, over: str, bucket: str, names: list[str], min_count: int = 20) -> None:
        self.names = reference.features
        served_by = reference.resolve(bucket, min_count=min_count).served_by
        assert served_by is not None
        level = [own for own in reference.buckets if _within(own, served_by)]
        self.humans = sum(reference.count(own) for own in level)
        table = reference.to_arrow()
        columns = zip(*(table[name].to_pylist() for name in ("bucket", "feature", "count", "mean")), strict=True)
        bins: dict[str, dict[float, int]] = {}
        for own, feature, count, mean in columns:
            if own in level:
                bins.setdefault(feature, {})[mean] = bins.setdefault(feature, {}).get(mean, 0) + count
        scale_of = {feature.name: feature.scale for feature in registry()}
        self.axes = []
        for name in names:
            values, counts = (np.array(side) for side in zip(*sorted(bins.get(name, {0.0: 0}).items()), strict=True))
            if counts.sum() < min_count:
                continue
            # One bucket: its quantiles and moments are asked of the reference.
            row = next(
                row
                for row in pyarrow.table(reference.describe()).to_pylist()
                if (row["bucket"], row["feature"]) == (served_by, name)
            )
            self.axes.append(
                (self.names.index(name), np.float32(row["q50"]), max(row["std"], scale_of[name]), values, counts)
            )
        self.over = over

    def place(self, row: Any) -> tuple[Array, Array]:
        """A row's standardised values, and which are not defined."""
        raw = np.array([row[at] for at, *_ in self.axes], dtype=np.float64)
        centre, scale = (np.array([axis[at] for axis in self.axes], dtype=np.float64) for at in (1, 2))
        z = np.clip((raw - centre) / scale, -5, 5)
        return np.nan_to_num(z, nan=0.0), np.isnan(raw).astype(float)

    def distance(self, x: Any, y: Any) -> float:
        (x, no_x), (y, no_y) = self.place(x), self.place(y)
        if self.over == "rows":
            return float(np.sqrt((np.square(x - y) + np.square(no_x - no_y)).mean()))
        return float((np.abs(x - y) + np.abs(no_x - no_y)).mean())

    def to_humans(self, row: Any) -> float:
        """E d(y, H) from the bins."""
        z, missing = self.place(row)
        total = []
        for at, (_, centre, scale, values, counts) in enumerate(self.axes):
            places = np.clip((values - centre) / scale, -5, 5)
            none = self.humans - counts.sum()
            apart = (np.abs(places - z[at]) * counts).sum() + abs(z[at]) * none
            total.append((apart + (counts.sum() if missing[at] else none)) / self.humans)
        return float(np.mean(total))

    def within(self) -> float:
        """E d(H, H′) over different humans."""
        total = []
        for _, centre, scale, values, counts in self.axes:
            places = np.clip((values - centre) / scale, -5, 5)
            none = self.humans - counts.sum()
            places, weights = np.append(places, 0.0), np.append(counts, none).astype(float)
            apart = (np.abs(places[:, None] - places) * weights[:, None] * weights).sum() + 2 * none * counts.sum()
            total.append(apart / (self.humans * (self.humans - 1)))
        return float(np.mean(total))


def _within(bucket: str, level: str) -> bool:
    return all(part in (own, "*") for own, part in zip(bucket.split("|"), level.split("|"), strict=True))


def to_others(distance: Callable[[Any, Any], float], own: Measured, pool: Measured) -> list[float]:
    """E d(y, Y′) of each, Y′ those of its bucket's other prompts."""
    every = Measured.joined([own, pool])
    found = []
    for at in range(len(own)):
        others = [
            distance(own.rows[at], every.rows[other])
            for other in range(len(every))
            if every.buckets[other] == own.buckets[at] and every.prompt_ids[other] != own.prompt_ids[at]
        ]
        found.append(float(np.mean(others)) if others else math.nan)
    return found


def sampled(term: DistributionTerm, count: int, seed: int, prompts: int = 5) -> Measured:
    """Made-up answers of two buckets, some of them empty, some the same."""
    texts = [record["completion"][0]["content"] for record in humans.records() if record["language"] == "en"]
    source = np.random.default_rng(seed)
    drawn = [("", "So it is.", texts[at])[min(2, at % 7)] for at in source.integers(0, len(texts), count)]
    asked = [f"Why {at}?" for at in source.integers(0, prompts, count)]
    return term.measure(drawn, [(QA, LONG)[at % 2] for at in range(count)], asked)


@pytest.fixture(scope="module")
def reference() -> pa.Reference:
    return humans.reference()


def test_marginals_are_those_of_the_slow_version(reference: pa.Reference) -> None:
    names = list(reference.features)
    term = DistributionTerm(reference)
    own, pool = sampled(term, 40, 1), sampled(term, 30, 2)
    found = term.compare(own, pool)
    for bucket in (QA, LONG):
        oracle = Oracle(reference, "marginals", bucket, names)
        places = [at for at in range(len(own)) if own.buckets[at] == bucket]
        mine = own.take(places)
        humans_, others = [oracle.to_humans(row) for row in mine.rows], to_others(oracle.distance, mine, pool)
        scores = 2 * (np.array(humans_) - others)
        np.testing.assert_allclose(found.scores[places], scores, rtol=1e-9, atol=1e-12)
        shares = 2 * np.array(humans_) - others - oracle.within()
        np.testing.assert_allclose(found.shares[places], shares, rtol=1e-9, atol=1e-12)
        energy = found.buckets[bucket]
        assert energy.energy == pytest.approx(shares.mean(), rel=1e-9)
        assert energy.features == len(oracle.axes) > 80
        assert (energy.samples, energy.prompts) == (len(places), len(set(mine.prompt_ids.tolist())))


def test_rows_are_those_of_the_slow_version() -> None:
    """All humans are in the sample: what the histograms know of joint features is nothing."""
    answers = [record for record in humans.records() if record["family"] == "qa" and record["language"] == "en"]
    table = pa.Bucketer(humans.SCHEMA).assign(pyarrow.Table.from_pylist(answers))
    reference = pa.Reference.from_arrow(table, schema=humans.SCHEMA)
    assert max(reference.count(bucket) for bucket in reference.buckets) <= reference.sample_size
    term = DistributionTerm(reference, over="rows")
    own, pool = sampled(term, 24, 1).take(slice(0, 24, 2)), sampled(term, 10, 2)
    found = term.compare(own, pool)
    oracle = Oracle(reference, "rows", QA, list(reference.features))
    rows = pyarrow.table(table).to_pylist()
    own_bucket = [row for row in rows if row["bucket"] == QA]
    people = term.measure(
        [row["response"] if "response" in row else row["completion"][0]["content"] for row in own_bucket],
        QA,
        [row["prompt"] for row in own_bucket],
    )
    assert len(people) == reference.count(QA)
    to_humans = [np.mean([oracle.distance(row, human) for human in people.rows]) for row in own.rows]
    scores = 2 * (np.array(to_humans) - to_others(oracle.distance, own, pool))
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5, atol=1e-6)


def test_other_people_are_below_the_floor() -> None:
    """Sets of people who are not in the reference: about 95 times in 100, and 0 on average."""
    source = random.Random(3)
    texts = [humans.answer(source, "en", source.randint(1, 8)) for _ in range(600)]
    found: dict[str, list[float]] = {"marginals": [], "rows": []}
    for _ in range(80):
        source.shuffle(texts)
        table = pyarrow.table({"bucket": [QA] * 150, "completion": texts[:150]})
        reference = pa.Reference.from_arrow(table, schema=humans.SCHEMA, sample_size=150)
        for over, ratios in found.items():
            term = DistributionTerm(reference, over=over)  # type: ignore[arg-type]
            everyone = term.measure(texts[150:], QA)
            for at in range(0, 450, 30):
                energy = term.compare(everyone.take(slice(at, at + 30))).buckets[QA]
                ratios.append(energy.energy / energy.floor)
    for ratios in found.values():
        assert abs(np.mean(ratios)) < 0.1
        assert 0.92 < np.mean(np.array(ratios) < 1) < 0.99


def test_order_and_threads_change_no_bit(reference: pa.Reference) -> None:
    for over in ("marginals", "rows"):
        one = DistributionTerm(reference, over=over, threads=1)  # type: ignore[arg-type]
        own = sampled(one, 60, 4)
        first = one.compare(own)
        order = np.random.default_rng(5).permutation(len(own)).tolist()
        two = DistributionTerm(reference, over=over, threads=2)  # type: ignore[arg-type]
        assert two.compare(own).scores.tobytes() == first.scores.tobytes()
        if over == "marginals":
            assert two.compare(own.take(order)).scores.tobytes() == first.scores[order].tobytes()


def test_the_same_response_to_the_same_prompt_has_the_same_score(reference: pa.Reference) -> None:
    term = DistributionTerm(reference)
    scores = term.score(["Maybe.", "Maybe.", "I think so, however."], QA, prompt_ids=[1, 1, 2])
    assert scores[0] == scores[1]


# ---------------------------------------------------------------------------------------- a policy in a table

TEXTS = [
    "Yes.", "No, not really.", "I think it does, however.", "We go to the river; they stay here.", "7 or 8?",
    "Well... that depends!", "It is late. We run. They come.", "Because of rain, because of wind, because of snow.",
]  # fmt: skip
#: How many humans gave each.
PEOPLE = [40, 120, 60, 200, 30, 90, 160, 100]
PROMPTS, DRAWS = 3, 1_500
SOME = ["char_count", "word_length_mean", "comma_count", "sentence_count", "type_token_ratio"]


class Tabular:
    """A policy that gives one of eight answers to each of three prompts: all is known of it."""

    def __init__(self) -> None:
        rows = [
            {"prompt": "Why?", "response": text, "language": "en", "family": family}
            for texts, people, family in ((TEXTS, PEOPLE, "qa"), (TEXTS[:3], [300, 20, 20], "chat"))
            for text, count in zip(texts, people, strict=True)
            for _ in range(count)
        ]
        schema = pa.BucketSchema(axes=("language", "family"))
        table = pa.Bucketer(schema).assign(pyarrow.Table.from_pylist(rows))
        # No rows, so that there is no floor to work out for thousands of buckets.
        self.reference = pa.Reference.from_arrow(table, schema=schema, sample_size=0)
        self.term = DistributionTerm(self.reference, features=SOME)
        self.rows = self.term.measure(TEXTS, "en|qa").rows
        self.people = np.array(PEOPLE) / sum(PEOPLE)
        oracle = Oracle(self.reference, "marginals", "en|qa", SOME)
        self.to_humans = np.array([oracle.to_humans(row) for row in self.rows])
        self.apart = np.array([[oracle.distance(x, y) for y in self.rows] for x in self.rows])
        self.within = oracle.within()

    def energy(self, policies: Array) -> float:
        """E² of the bucket: the mean over its prompts, Y′ of the others."""
        total = 0.0
        for at, policy in enumerate(policies):
            others = np.mean([policies[other] for other in range(PROMPTS) if other != at], axis=0)
            total += 2 * policy @ self.to_humans - policy @ self.apart @ others
        return total / PROMPTS - self.within

    def gradient(self, logits: Array) -> Array:
        """The exact one, by differences."""
        found, step = np.zeros_like(logits), 1e-5
        for place in np.ndindex(*logits.shape):
            sides = []
            for sign in (1, -1):
                moved = logits.copy()
                moved[place] += sign * step
                sides.append(self.energy(softmax(moved)))
            found[place] = (sides[0] - sides[1]) / (2 * step)
        return found

    def estimates(self, logits: Array, k: int, *, pool: int = 0, seed: int = 0, **wrong: Any) -> Array:
        """What many steps' surrogates have for gradients, shape [steps, prompts, answers]: k answers a prompt."""
        torch = pytest.importorskip("torch")
        from polyalign.trainers import losses

        policies, source = softmax(logits), np.random.default_rng([seed, k, pool])
        drawn, earlier = (
            np.stack([source.choice(len(TEXTS), (DRAWS, size), p=policy) for policy in policies], axis=1)
            for size in (k, pool)
        )
        # A bucket a step: all of them are served by the same humans, and samples of one are none of another.
        found = self.compare(drawn, earlier, **wrong)
        scores = torch.from_numpy(found.scores.reshape(DRAWS, PROMPTS, k))

        def surrogate(logits: Any, places: Any, scores: Any) -> Any:
            logps = logits.log_softmax(dim=-1).gather(1, places)
            return losses.online_surrogate(scores, logps)

        gradient = torch.func.vmap(torch.func.grad(surrogate), in_dims=(None, 0, 0))
        gradients: Array = gradient(torch.from_numpy(logits), torch.from_numpy(drawn), scores).numpy()
        return gradients

    def compare(self, drawn: Any, earlier: Any, *, family: str = "qa", own_prompt: bool = False) -> Comparison:
        """Compare all steps' samples at once; `own_prompt`: Y′ has those of the prompt, too."""

        def measured(places: Any, first: int) -> Measured:
            steps, prompts, _ = np.indices(places.shape)
            ids = np.arange(places.size) + first if own_prompt else prompts.ravel()
            buckets = [f"en|{family}{step}" for step in steps.ravel().tolist()]
            return Measured(self.rows[places.ravel()], buckets, ids.astype(np.int64), False)

        return self.served(family).compare(measured(drawn, 0), measured(earlier, drawn.size))

    def served(self, family: str) -> DistributionTerm:
        """A term by whose reference every bucket has the humans of one family."""
        rows = [
            {"prompt": "Why?", "response": text, "language": "en", "family": family}
            for text, count in zip(TEXTS, PEOPLE if family == "qa" else [300, 20, 20, 0, 0, 0, 0, 0], strict=True)
            for _ in range(count)
        ]
        table = pa.Bucketer(self.reference.schema).assign(pyarrow.Table.from_pylist(rows))
        reference = pa.Reference.from_arrow(table, schema=self.reference.schema, sample_size=0)
        return DistributionTerm(reference, features=SOME)


def softmax(logits: Array) -> Array:
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def tabular() -> Tabular:
    return Tabular()


def standard_errors_off(gradients: Array, exact: Array) -> Array:
    error = gradients.std(axis=0, ddof=1) / math.sqrt(len(gradients))
    return np.abs(gradients.mean(axis=0) - exact) / np.maximum(error, 1e-12)


def some_logits() -> Array:
    return np.random.default_rng(8).normal(0, 0.8, (PROMPTS, len(TEXTS)))


@pytest.mark.parametrize(("k", "pool"), [(2, 0), (4, 0), (8, 0), (2, 5), (4, 3)])
def test_the_mean_of_many_steps_is_the_exact_gradient(tabular: Tabular, k: int, pool: int) -> None:
    logits = some_logits()
    off = standard_errors_off(tabular.estimates(logits, k, pool=pool), tabular.gradient(logits))
    assert off.max() < 4
    assert np.square(off).mean() < 2  # 1 is expected


@pytest.mark.parametrize("wrong", [{"own_prompt": True}, {"family": "chat"}], ids=str)
def test_a_wrong_comparison_is_far_off(tabular: Tabular, wrong: dict[str, Any]) -> None:
    """Y′ of the prompt's own samples, which are its baseline too; another bucket's humans."""
    logits = some_logits()
    off = standard_errors_off(tabular.estimates(logits, 2, **wrong), tabular.gradient(logits))
    assert off.max() > 6


def test_there_is_no_gradient_where_the_policy_is_the_humans(tabular: Tabular) -> None:
    logits = np.log(np.tile(tabular.people, (PROMPTS, 1)))
    exact = tabular.gradient(logits)
    assert np.abs(exact).max() < 1e-3 * np.abs(tabular.gradient(some_logits())).max()
    off = standard_errors_off(tabular.estimates(logits, 4), np.zeros_like(exact))
    assert off.max() < 4
    assert abs(tabular.energy(softmax(logits))) < 2 / sum(PEOPLE)  # as the humans are a sample, too
    # One who says the best thing always is among most humans, and is told to go.
    best = int(tabular.to_humans.argmin())
    constant = np.zeros((PROMPTS, len(TEXTS)))
    constant[:, best] = 4.0
    assert tabular.energy(softmax(constant)) > 0.2
    gradients = tabular.estimates(constant, 4)
    mean, error = gradients.mean(axis=0)[:, best], gradients.std(axis=0)[:, best] / math.sqrt(DRAWS)
    assert (mean > 5 * error).all()


def test_descending_on_it_ends_at_the_humans(tabular: Tabular) -> None:
    """From one answer to everybody, to as many answers as people have; a policy that does not look at its prompt."""
    logits, term, source = np.zeros(len(TEXTS)), tabular.served("qa"), np.random.default_rng(0)
    logits[int(tabular.to_humans.argmin())] = 4.0

    def found() -> tuple[float, float]:
        policy = softmax(logits)
        return tabular.energy(np.tile(policy, (PROMPTS, 1))), -(policy * np.log(policy)).sum()

    energy, _ = found()
    for step in range(600):
        policy = softmax(logits)
        drawn = source.choice(len(TEXTS), (PROMPTS, 8), p=policy)
        ids = np.repeat(np.arange(PROMPTS), 8)
        scores = term.compare(Measured(tabular.rows[drawn.ravel()], ["en|qa"] * drawn.size, ids, False)).scores
        scores = scores.reshape(drawn.shape)
        advantages = (scores - scores.mean(axis=1, keepdims=True)) * 8 / 7
        logits -= (
            10.0 / (1 + step / 50) * (advantages[..., None] * (np.eye(len(TEXTS))[drawn] - policy)).mean(axis=(0, 1))
        )
    after, entropy = found()
    assert after < 0.02 * energy
    assert entropy == pytest.approx(-(tabular.people * np.log(tabular.people)).sum(), rel=0.1)


# ------------------------------------------------------------------------------------------------ what is given


def test_features_are_named_or_groups(reference: pa.Reference) -> None:
    term = DistributionTerm(reference, features=["length", "comma_count"])
    length = [feature.name for feature in registry() if feature.group == "length"]
    assert term.features == (*length, "comma_count")
    assert DistributionTerm(reference, features="comma_count").features == ("comma_count",)
    with pytest.raises(ValueError, match="features: 'lenght' is neither a feature"):
        DistributionTerm(reference, features=["lenght"])
    with pytest.raises(ValueError, match="features: none is named"):
        DistributionTerm(reference, features=[])
    halves = [DistributionTerm(reference, features=GROUPS[at::2]).features for at in (0, 1)]
    assert sorted([*halves[0], *halves[1]]) == sorted(reference.features)


def test_one_good_reply_to_everybody_is_far_from_people(reference: pa.Reference) -> None:
    term = DistributionTerm(reference)
    people = [
        record["completion"][0]["content"]
        for record in humans.records()
        if (record["language"], record["family"]) == ("en", "qa")
    ][:50]
    bucket = "en|single|qa|*"
    distances = reference.support_distance(people, bucket)
    constant = term.energy([people[int(distances.argmin())]] * 50, bucket)[bucket]
    various = term.energy(people, bucket)[bucket]
    assert constant.energy > 5 * constant.floor
    assert various.energy < various.floor


def test_prompts_tell_which_samples_are_of_one(reference: pa.Reference) -> None:
    term = DistributionTerm(reference)
    asked = ["Why?", [{"role": "user", "content": "Why?"}], "How?", None, None]
    ids = term.measure(["So."] * 5, QA, asked).prompt_ids.tolist()
    assert ids[0] == ids[1] != ids[2]
    assert len(set(ids)) == 4
    again = term.measure(["So."], QA, ["Why?"]).prompt_ids.tolist()
    assert again == ids[:1]


def test_what_can_not_be_compared_has_a_reason(reference: pa.Reference) -> None:
    term = DistributionTerm(reference)
    found = term.compare(
        term.measure(
            ["So.", "Maybe.", "Yes.", "No.", "Peut-être.", "Oui.", "Once.", "Twice."],
            [QA, QA, LONG, LONG, "fr|single|qa|short", "fr|single|qa|short", "none", ""],
            prompt_ids=[1, 2, 3, 3, 4, 5, 6, 7],
        )
    )
    assert np.isnan(found.scores).tolist() == [False] * 2 + [True] * 6
    reasons = {bucket: energy.reason for bucket, energy in found.buckets.items()}
    assert reasons[QA] is None
    assert reasons[LONG] == "no samples of other prompts"
    assert "only 5 humans" in str(reasons["fr|single|qa|short"])
    assert "parts" in str(reasons["none"])
    assert reasons[""] == "no bucket is named"
    # With others from earlier they can.
    pool = term.measure(["Well, it is so."], [LONG], prompt_ids=[9])
    lonely = term.measure(["Yes.", "No."], [LONG] * 2, prompt_ids=[3, 3])
    assert not np.isnan(term.compare(lonely, pool).scores).any()
    assert np.isnan(term.compare(lonely, term.measure(["Yes."], [LONG], prompt_ids=[3])).scores).all()


def test_no_samples(reference: pa.Reference) -> None:
    term = DistributionTerm(reference)
    assert term.score([], []).shape == (0,)
    assert term.energy([], []) == {}


def test_empty_samples_are_far_from_people(reference: pa.Reference) -> None:
    term = DistributionTerm(reference)
    found = term.energy([""] * 9, QA)[QA]
    assert found.energy > found.floor
    assert np.unique(term.score([""] * 9, QA)).size == 1


def test_wrong_arguments(reference: pa.Reference) -> None:
    with pytest.raises(TypeError, match="reference is a Reference, not str"):
        DistributionTerm("human.safetensors")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="over is \"columns\": it must be 'marginals' or 'rows'"):
        DistributionTerm(reference, over="columns")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="min_count is -1"):
        DistributionTerm(reference, min_count=-1)
    term = DistributionTerm(reference)
    with pytest.raises(ValueError, match="2 responses and 1 buckets"):
        term.measure(["So.", "No."], [QA])
    with pytest.raises(ValueError, match=r"2 responses and prompt_ids of shape \[1\]"):
        term.measure(["So.", "No."], QA, prompt_ids=[1])
    with pytest.raises(ValueError, match="2 texts and 1 prompts"):
        term.measure(["So.", "No."], QA, ["Why?"])


def test_references_that_do_not_do() -> None:
    table = humans.table()
    paper = pa.Reference.from_arrow(table, schema=humans.SCHEMA, variant="paper")
    with pytest.raises(ValueError, match="not of the paper's variant"):
        DistributionTerm(paper)
    bare = pa.Reference.from_arrow(table, schema=humans.SCHEMA, sample_size=10)
    with pytest.raises(ValueError, match="keeps 10 rows a bucket, but joint features need at least 20: build it with"):
        DistributionTerm(bare, over="rows")
    term = DistributionTerm(pa.Reference.from_arrow(table, schema=humans.SCHEMA, sample_size=0))
    energy = term.energy(["So.", "Maybe."], QA)[QA]
    assert math.isnan(energy.floor)
    assert not math.isnan(energy.energy)


def test_references_of_parts_have_the_same_rows(reference: pa.Reference) -> None:
    """What joint features are compared with does not depend on how the humans came."""
    rows = humans.table().to_pylist()
    parts = [
        pa.Reference.from_arrow(
            pyarrow.Table.from_pylist(rows[at::3], schema=humans.table().schema), schema=humans.SCHEMA
        )
        for at in range(3)
    ]
    merged = parts[2].merge(parts[0], parts[1])
    terms = [
        DistributionTerm(one, over="rows") for one in (reference, merged, pa.Reference.from_bytes(merged.to_bytes()))
    ]
    own = sampled(terms[0], 20, 6)
    assert len({term.compare(own).scores.tobytes() for term in terms}) == 1
