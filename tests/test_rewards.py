"""`rewards.support` and `rewards.critic`: reward functions as TRL calls them."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import humans
from polyalign import Reference, critics, rewards

QA = "en|single|qa|short"
TEXTS = ["We think so.", "As an AI language model, I can't say!!!", "", "Maybe they don't."]


@pytest.fixture(scope="module")
def reference() -> Reference:
    return humans.reference()


def test_rewards_are_negative_distances(reference: Reference) -> None:
    found = rewards.support(reference)(TEXTS, bucket=[QA] * 4)
    distances = reference.support_distance(TEXTS, QA, warn=False).tolist()
    assert math.isnan(distances[2])
    assert found[2] == -5.0, "saying nothing is no way out"
    assert [-reward for reward in found if reward is not None] == [5.0 if math.isnan(d) else d for d in distances]
    assert rewards.support(reference)(TEXTS[:1], bucket=["de|single|qa|short"]) == [None]
    assert all(type(reward) is float for reward in found if reward is not None)
    first, second = found[:2]
    assert first is not None
    assert second is not None
    assert -5 <= second < first <= 0


def test_what_is_no_reference_is_said_before_training() -> None:
    with pytest.raises(TypeError, match=r"Reference\.load"):
        rewards.support("human.safetensors")  # type: ignore[arg-type]


def test_scale(reference: Reference) -> None:
    one, three = (rewards.support(reference, scale=scale)(TEXTS[:2], bucket=[QA] * 2) for scale in (1.0, 3.0))
    assert three == [3 * reward for reward in one if reward is not None]
    for scale in (0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"scale is .*: it must be a number above 0"):
            rewards.support(reference, scale=scale)


def test_trls_calling_convention(reference: Reference) -> None:
    reward = rewards.support(reference)
    prompts = ["What do you think?", "Is it?"]
    columns = {
        "completion_ids": [[1, 2], [3]],
        "bucket": [QA, QA],
        "source": ["a", None],
        "trainer_state": SimpleNamespace(global_step=3),
        "log_extra": None,
        "log_metric": None,
    }
    texts = reward(prompts=prompts, completions=TEXTS[:2], **columns)
    conversational = reward(
        prompts=[[{"role": "user", "content": prompt}] for prompt in prompts],
        completions=[[{"role": "assistant", "content": text}] for text in TEXTS[:2]],
        **columns,
    )
    assert texts == conversational
    assert texts == (-reference.support_distance(TEXTS[:2], QA, prompts=prompts)).tolist()
    assert texts != reward(TEXTS[:2], bucket=[QA, QA])  # the prompts count
    assert reward.__name__ == "support_reward"  # TRL logs by it


def test_no_distance_is_no_reward(reference: Reference) -> None:
    buckets = [None, "", "fr|single|qa|short", "nonsense", QA]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = rewards.support(reference)(["We think so."] * 5, bucket=buckets)
    assert found[:4] == [None] * 4
    assert found[4] is not None
    assert rewards.support(reference)([], bucket=[]) == []


def test_tool_calls_without_text_have_no_reward(reference: Reference) -> None:
    message = {"role": "assistant", "content": None}
    call = {**message, "tool_calls": [{"function": {"name": "look_up"}}]}
    assert rewards.support(reference)([[call], [message], []], bucket=[QA] * 3) == [None, -5.0, -5.0]


def test_columns(reference: Reference) -> None:
    reward = rewards.support(reference, bucket_column="of")
    assert reward(TEXTS[:1], of=[QA], bucket=["nonsense"]) == rewards.support(reference)(TEXTS[:1], bucket=[QA])
    with pytest.raises(ValueError, match=r"the data set has no column 'of': Bucketer.assign appends it"):
        reward(TEXTS[:1], bucket=[QA])
    with pytest.raises(ValueError, match="2 texts and 1 buckets: give one for each text"):
        reward(TEXTS[:2], of=[QA])


def test_a_data_set_as_bucketed(reference: Reference) -> None:
    datasets: Any = pytest.importorskip("datasets")
    rows = [{**row, "bucket": bucket} for row, bucket in zip(humans.records(), [QA] * 9, strict=False)]
    dataset = datasets.Dataset.from_list(rows)
    columns = {name: dataset[name] for name in dataset.column_names if name not in ("prompt", "completion")}
    found = rewards.support(reference)(prompts=dataset["prompt"], completions=dataset["completion"], **columns)
    expected = reference.support_distance(dataset["completion"], QA, prompts=dataset["prompt"], warn=False)
    assert found == [-distance for distance in expected.tolist()]


# ------------------------------------------------------------------------------------------------- any critic


class Calibrated(humans.Listener):
    """A critic of lengths, of which a tenth is the percentile."""

    def percentile(self, responses: Any, buckets: Any, prompts: Any = None) -> Any:
        return np.minimum(self.score(responses, buckets, prompts) / 10, 1)


def test_a_critics_rewards_are_negative_scores() -> None:
    critic = humans.Listener()
    chat = [{"role": "user", "content": "Is it?"}]
    completions = [[{"role": "assistant", "content": "<think>Hm.</think>Yes."}], [{"role": "assistant", "content": ""}]]
    reward = rewards.critic(critic, bucket_column="of", scale=2)
    assert reward(completions, prompts=[chat, chat], of=[QA, QA], bucket=["x", "y"]) == [-8.0, 0.0]
    assert critic.heard == [("Yes.", QA, chat), ("", QA, chat)]
    assert reward.__name__ == "critic_reward"
    with pytest.raises(ValueError, match="the data set has no column 'of'"):
        reward(completions, prompts=[chat, chat], bucket=[QA, QA])
    with pytest.raises(ValueError, match="1 prompt for 2 responses"):
        reward(completions, prompts=[chat], of=[QA, QA])


def test_a_calibrated_critics_rewards_are_bounded() -> None:
    """Being closer than the median human earns nothing; without a floor a reward is minus the percentile."""
    texts = ["Yes.", "No.", "y" * 5, "y" * 6, "y" * 9, "y" * 1000]
    given = {"prompts": list("abcdef"), "bucket": [QA] * 6}
    floored = rewards.critic(Calibrated(), scale=3)(texts, **given)
    assert floored == pytest.approx([0.0, 0.0, 0.0, -0.6, -2.4, -3.0])
    assert rewards.critic(Calibrated(), scale=3, floor="none")(texts, **given) == pytest.approx(
        [-1.2, -0.9, -1.5, -1.8, -2.7, -3.0]
    )


def test_a_critic_that_cannot_tell_gives_no_reward(reference: Reference) -> None:
    reward = rewards.critic(critics.SupportCritic(reference))
    first, nobody, nothing = reward(["We think so.", "We think so.", ""], bucket=[QA, "fr|single|qa|short", QA])
    assert nobody is None
    assert first is not None
    assert nothing is not None
    assert nothing < first <= 0
    message = {"role": "assistant", "content": None}
    call = {**message, "tool_calls": [{"function": {"name": "look_up"}}]}
    told, empty = reward([[call], [message]], bucket=[QA, QA])
    assert told is None
    assert empty == nothing


def test_what_is_no_critic_is_said_before_training(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"critic is an object with score\(responses, buckets\), .* not int"):
        rewards.critic(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="critic is None"):
        rewards.critic(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scale is 0"):
        rewards.critic(humans.Listener(), scale=0)
    with pytest.raises(ValueError, match="floor='mean': it is one of 'median', 'none'"):
        rewards.critic(humans.Listener(), floor="mean")  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        rewards.critic(tmp_path / "nothing.safetensors")
    negative = SimpleNamespace(score=lambda responses, buckets: np.full(len(responses), -1.0))
    with pytest.raises(ValueError, match="scores are 0 or above"):
        rewards.critic(negative)(["Yes."], bucket=[QA])
