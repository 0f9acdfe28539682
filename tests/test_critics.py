"""`critics`: the support distance as a critic, and the checks that any critic's scores must pass."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

import humans
from polyalign import Bucketer, Reference, critics, rewards
from polyalign.critics._floor import no_floor

QA = "en|single|qa|short"
TEXTS = ["We think so.", "As an AI language model, I can't say!!!", "", "Maybe they don't.", " \n", "!"]


@pytest.fixture(scope="module")
def reference() -> Reference:
    return humans.reference()


def test_scores_are_support_distances(reference: Reference) -> None:
    found = critics.SupportCritic(reference).score(TEXTS, [QA] * 6)
    distances = reference.support_distance(TEXTS, QA, warn=False)
    assert np.isnan(distances).tolist() == [False, False, True, False, True, True]
    assert (found.dtype, found.shape) == (np.float32, (6,))
    assert found.tolist() == np.where(np.isnan(distances), 5.0, distances).tolist()
    assert 0 <= found[0] < found[1] < 5
    assert critics.SupportCritic(reference).score([], []).shape == (0,)


def test_scores_are_negative_rewards(reference: Reference) -> None:
    found = critics.SupportCritic(reference).score(TEXTS, [QA] * 6)
    assert (-found).tolist() == rewards.support(reference)(TEXTS, bucket=[QA] * 6)


def test_nobody_to_ask_is_nan_whatever_is_said(reference: Reference) -> None:
    buckets: Sequence[Any] = ["fr|single|qa|short", "de|single|qa|short", "nonsense", "", None, QA]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text in ("We think so.", ""):
            found = critics.SupportCritic(reference).score([text] * 6, buckets)
            assert np.isnan(found).tolist() == [True] * 5 + [False]


def test_small_buckets_back_off(reference: Reference) -> None:
    story, long = "en|single|story|medium", "en|single|*|medium"
    scores = critics.SupportCritic(reference).score(TEXTS[:2] * 2, [story] * 2 + [long] * 2)
    assert scores[:2].tolist() == scores[2:].tolist()


def test_settings_reach_the_distance(reference: Reference) -> None:
    texts = TEXTS[:2]
    for settings in ({"support": (0.25, 0.75)}, {"min_count": 100}, {"support": (0.4, 0.6), "threads": 1}):
        found = critics.SupportCritic(reference, **settings).score(texts, [QA] * 2)  # type: ignore[arg-type]
        assert found.tolist() == reference.support_distance(texts, QA, **settings).tolist()  # type: ignore[arg-type]
    narrow = critics.SupportCritic(reference, support=(0.45, 0.55)).score(texts, [QA] * 2)
    assert (narrow > critics.SupportCritic(reference).score(texts, [QA] * 2)).all()
    assert np.isnan(critics.SupportCritic(reference, min_count=9999).score([""], [QA])).all()


def test_what_is_wrong_is_said_when_it_is_made(reference: Reference) -> None:
    with pytest.raises(TypeError, match=r"reference is a Reference, not str: Reference\.load reads a file"):
        critics.SupportCritic("human.safetensors")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"a band from quantile 0\.9 to 0\.1"):
        critics.SupportCritic(reference, support=(0.9, 0.1))
    with pytest.raises(ValueError, match="min_count"):
        critics.SupportCritic(reference, min_count=-1)
    with pytest.raises(ValueError, match="2 texts and 1 buckets"):
        critics.SupportCritic(reference).score(["a", "b"], [QA])


def test_the_protocol_is_one_method(reference: Reference) -> None:
    class Length:
        def score(self, responses: Sequence[str], buckets: Sequence[str]) -> npt.NDArray[np.float32]:
            return np.array([len(response) for response in responses], dtype=np.float32)

    mine: critics.Critic = Length()
    for critic in (mine, critics.SupportCritic(reference)):
        assert isinstance(critic, critics.Critic)
    assert not isinstance(reference.rows, critics.Critic)


class Old:
    """A critic of two arguments."""

    def score(self, responses: Sequence[str], buckets: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.array([len(response) for response in responses], dtype=np.float32)


def test_prompts_are_for_those_that_use_them() -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?"}]
    prompts = ["Why?", chat, None]
    listener = humans.Listener()
    found = critics.ask(listener, ["a", "<think>b</think>cc", ""], [QA] * 3, prompts)
    assert found.tolist() == [1, 2, 0]
    assert listener.heard == [("a", QA, "Why?"), ("cc", QA, chat), ("", QA, None)]
    assert critics.ask(Old(), ["a"], [QA], ["Why?"]).tolist() == [1]
    deaf = humans.Listener()
    deaf.uses_prompts = False
    with pytest.raises(AssertionError):  # it is given none
        critics.ask(deaf, ["a"], [QA], ["Why?"])
    assert critics.ask(critics.SupportCritic(humans.reference()), [], [], []).shape == (0,)


@pytest.mark.parametrize("critic", [Old(), humans.Listener()])
def test_wrong_prompts_are_said_whether_they_are_used_or_not(critic: Any) -> None:
    with pytest.raises(ValueError, match=r"^2 prompts for 3 responses: give one for each, None where it is not known$"):
        critics.ask(critic, ["a"] * 3, [QA] * 3, ["Why?"] * 2)
    with pytest.raises(TypeError, match=r"^prompts is a str: give a list, one prompt a response$"):
        critics.ask(critic, ["a"] * 3, [QA] * 3, "Why")


def test_scores_that_cannot_be_are_no_answer() -> None:
    class Broken:
        def __init__(self, score: float) -> None:
            self.value = score

        def score(self, responses: Sequence[str], buckets: Sequence[str]) -> npt.NDArray[np.float32]:
            return np.array([0.5] * (len(responses) - 1) + [self.value], dtype=np.float32)

    with pytest.raises(ValueError, match=r"^Broken: score 1 \(bucket 'en\|single\|qa\|short'\) is -1: scores are 0 or"):
        critics.ask(Broken(-1), ["a", "b"], [QA] * 2)
    with pytest.raises(ValueError, match=r"^Broken: score 0 \(bucket ''\) is inf"):
        critics.ask(Broken(math.inf), ["a"], [None])
    assert np.isnan(critics.ask(Broken(math.nan), ["a"], [QA])).all()


def test_percentiles_are_asked_alike() -> None:
    class Calibrated(humans.Listener):
        def percentile(
            self, responses: Sequence[str], buckets: Sequence[str], prompts: Sequence[Any] | None = None
        ) -> npt.NDArray[np.float32]:
            return self.score(responses, buckets, prompts) / 10

    critic = Calibrated()
    found = critics.ask_percentiles(critic, ["<think>b</think>cc"], [QA], ["Why?"])
    assert found.tolist() == pytest.approx([0.2])
    assert critic.heard == [("cc", QA, "Why?")]
    assert critics.is_calibrated(critic)
    assert not critics.is_calibrated(humans.Listener())


def test_what_training_lowers_has_its_floor_at_the_median_human(reference: Reference) -> None:
    """In each bucket 0 up to the median of the humans, .25 on average over them, below 1; of any critic that knows."""
    rows = [row for row in humans.table().to_pylist() if not row["bucket"].startswith("fr")]
    texts, buckets = [row["completion"][0]["content"] for row in rows], [row["bucket"] for row in rows]
    support = critics.SupportCritic(reference)
    shares = critics.ask_percentiles(support, texts, buckets)
    found = critics.ask_floored(support, texts, buckets)
    assert (found.dtype, found.min()) == (np.float32, 0.0)
    assert found.max() <= 1
    assert (found[shares <= 0.5] == 0).all()
    np.testing.assert_allclose(found[shares > 0.5], 2 * shares[shares > 0.5] - 1, rtol=1e-6)
    assert critics.ask_floored(support, texts, buckets, floor="none").tolist() == shares.tolist()
    for bucket in {bucket for bucket in buckets if buckets.count(bucket) >= 40}:
        of = [score for score, own in zip(found.tolist(), buckets, strict=True) if own == bucket]
        assert sum(of) / len(of) == pytest.approx(0.25, abs=0.03), bucket
    nobody = critics.ask_floored(support, ["Yes.", ""], ["fr|single|qa|short", QA])
    assert np.isnan(nobody[0])
    assert nobody[1] == 1
    with pytest.raises(ValueError, match="floor='mean': it is one of 'median', 'none'"):
        critics.ask_floored(support, texts, buckets, floor="mean")


def test_without_percentiles_scores_are_as_they_are() -> None:
    class Own:
        calibration = None

        def score(self, responses: Any, buckets: Any) -> Any:
            return np.array([7.0] * len(responses), dtype=np.float32)

    class Uncalibrated(Own):
        def percentile(self, responses: Any, buckets: Any, prompts: Any = None) -> Any:
            raise AssertionError

    unsampled = Reference.from_arrow(humans.table(), schema=humans.SCHEMA, sample_size=0)
    support = critics.SupportCritic(unsampled)
    wanted = support.score(TEXTS, [QA] * 6).tolist()
    with pytest.raises(ValueError, match="the reference has no sampled humans"):
        support.percentile(TEXTS, [QA] * 6)
    for critic, scores, reason in (
        (Own(), [7.0] * 6, "Own has no percentiles"),
        (Uncalibrated(), [7.0] * 6, "Uncalibrated is not calibrated"),
        (support, wanted, "the reference has no sampled humans"),
    ):
        assert no_floor(critic) == reason
        for floor in ("median", "none"):
            assert critics.ask_floored(critic, TEXTS, [QA] * 6, floor=floor).tolist() == scores


def test_the_support_critic_knows_what_was_asked(reference: Reference) -> None:
    rows = [row for row in humans.records() if row["language"] == "en"][:40]
    texts, prompts = [row["completion"][0]["content"] for row in rows], [row["prompt"] for row in rows]
    # What was asked, said again.
    echoes = [prompt[-1]["content"] for prompt in prompts]
    critic = critics.SupportCritic(reference)
    assert critic.uses_prompts
    for responses in (texts, echoes):
        wanted = reference.support_distance(responses, QA, prompts=prompts, warn=False)
        assert critics.ask(critic, responses, [QA] * 40, prompts).tolist() == wanted.tolist()
    blind, seeing = (critics.ask(critic, echoes, [QA] * 40, given).mean() for given in (None, prompts))
    assert seeing > blind + 0.02
    # What the system says is not the user's words.
    system = [[{"role": "system", "content": echo}, {"role": "user", "content": "Why?"}] for echo in echoes]
    user = [[{"role": "system", "content": "Why?"}, {"role": "user", "content": echo}] for echo in echoes]
    for given in (system, user):
        wanted = reference.support_distance(echoes, QA, prompts=given, warn=False)
        assert critics.ask(critic, echoes, [QA] * 40, given).tolist() == wanted.tolist()
    assert (critics.ask(critic, echoes, [QA] * 40, system) != critics.ask(critic, echoes, [QA] * 40, user)).any()
    assert critics.ask(critic, ["", "!"], [QA] * 2, ["Why?", None]).tolist() == [5, 5]
    assert critics.ask(critic, texts[:1], [QA], [None]).tolist() == critic.score(texts[:1], [QA]).tolist()
    with pytest.raises(TypeError, match=r"prompts\[0\]\[0\] is no message: it must have role and content"):
        critics.ask(critic, ["a"], [QA], [[{"from": "human"}]])


def test_critics_do_without_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import polyalign; polyalign.critics.SupportCritic"
    loaded = subprocess.run(
        [sys.executable, "-c", f"{code}; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    assert not {"numpy", "pyarrow", "transformers"} & set(loaded.stdout.split())


# ------------------------------------------------------------------------------------------------------- diagnostics


def test_diagnosis_counts_by_bucket() -> None:
    scores = np.array([0.5, 1.5, math.nan, 0.25, math.nan], dtype=np.float32)
    found = critics.check_scores(scores, ["b", "b", "b", "a", None])
    assert found.overall == critics.BucketScores(count=5, missing=2, mean=0.75, min=0.25, max=1.5)
    assert list(found.buckets) == ["", "a", "b"]
    assert found.buckets["b"] == critics.BucketScores(count=3, missing=1, mean=1.0, min=0.5, max=1.5)
    assert found.buckets["a"] == critics.BucketScores(count=1, missing=0, mean=0.25, min=0.25, max=0.25)
    nobody = found.buckets[""]
    assert (nobody.count, nobody.missing) == (1, 1)
    assert all(math.isnan(value) for value in (nobody.mean, nobody.min, nobody.max))
    assert critics.check_scores([], []).overall.count == 0


def test_diagnosis_is_readable() -> None:
    told = str(critics.check_scores([0.5, 1.5, math.nan, 2.0, 2.0], ["b", "b", "b", "a", "a"], name="mine"))
    first, *table = told.splitlines()
    assert first == "Scores of mine, lower is closer to human"
    cells = {line.split()[0]: line.split()[1:] for line in table if line}
    assert cells["bucket"] == ["responses", "no", "score", "mean", "min", "max"]
    assert cells["b"] == ["3", "1", "1", "0.5", "1.5"]
    assert cells["a"] == ["2", "0", "2", "2", "2", "all", "the", "same"]
    assert cells["all"] == ["5", "1", "1.5", "0.5", "2"]


def test_diagnosis_of_many_buckets_shows_the_largest() -> None:
    buckets = [f"f{number:02}" for number in range(40) for _ in range(1 + number)]
    told = str(critics.check_scores(np.linspace(0, 1, len(buckets)), buckets))
    assert told.startswith("Scores of critic, lower is closer to human, the largest 20 buckets of 40\n")
    shown = [line.split()[0] for line in told.splitlines() if line.startswith("  f")]
    assert shown == [f"f{number}" for number in range(39, 19, -1)]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([0.1, -0.5, 0.2], r"mine: score 1 \(bucket 'b'\) is -0.5: scores are 0 or above, lower is closer to human"),
        ([math.inf, 0.1, -1.0], r"mine: score 0 \(bucket 'a'\) is inf, and 1 more wrong"),
        ([0.1, 0.2, -math.inf], r"score 2 \(bucket ''\) is -inf"),
        ([0.1, 0.2], r"scores of shape \[2\] for 3 buckets: give one for each"),
        ([[0.1, 0.2, 0.3]], r"scores of shape \[1, 3\] for 3 buckets"),
        (["a", "b", "c"], "mine: scores are numbers"),
    ],
)
def test_scores_out_of_range(scores: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        critics.check_scores(scores, ["a", "b", None], name="mine")
    assert "\n" not in str(error.value)


def test_responses_as_many_as_scores() -> None:
    with pytest.raises(ValueError, match="critic: 2 scores and 1 responses: give one for each"):
        critics.check_scores([0.1, 0.2], [QA] * 2, responses=["a"])


def texts(different: int, count: int) -> list[str]:
    return [f"Answer {number % different}." for number in range(count)]


def test_a_constant_is_a_collapse() -> None:
    with pytest.raises(
        ValueError, match=r"^mine has collapsed: 50 responses \(20 different, in 1 bucket\) all "
    ) as error:
        critics.check_scores([0.37] * 50, [QA] * 50, responses=texts(20, 50), name="mine")
    assert "have the score 0.37" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"50 responses \(50 different, in 2 buckets\)"):
        critics.check_scores([0.0] * 50, [QA, "en|single|qa|long"] * 25)


def test_what_is_no_collapse() -> None:
    critics.check_scores([0.37] * 49, [QA] * 49)
    critics.check_scores([0.37] * 49 + [math.nan], [QA] * 50)
    critics.check_scores([0.37] * 49 + [0.38], [QA] * 50)
    critics.check_scores([5.0] * 500, [QA] * 500, responses=texts(19, 500))
    # Only the responses that have a score count as different ones.
    critics.check_scores([0.37] * 50 + [math.nan] * 30, [QA] * 80, responses=["same"] * 50 + texts(30, 30))


def test_no_score_for_anybody() -> None:
    with pytest.raises(ValueError, match=r"none of 50 responses has a score, the first in bucket 'de.*same schema"):
        critics.check_scores([math.nan] * 50, ["de|single|qa|short"] * 50)
    assert critics.check_scores([math.nan] * 49, [QA] * 49).overall.missing == 49


def test_scores_of_the_support_critic_pass(reference: Reference) -> None:
    rows = [row for row in humans.records() if row["language"] == "en"]
    responses = [row["completion"][0]["content"] for row in rows]
    buckets = Bucketer(humans.SCHEMA).assign(pa.Table.from_pylist(rows))["bucket"].to_pylist()
    scores = critics.SupportCritic(reference).score(responses, buckets)
    found = critics.check_scores(scores, buckets, responses=responses)
    assert found.overall.missing == 0
    assert 0 < found.overall.mean < 1
