"""Reward functions, as TRL, verl and ms-swift call them."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import math
import sys
import types
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import humans
from conftest import ROOT
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


# ---------------------------------------------------------------------------------------------------- length


def test_a_length_within_humans_costs_nothing_and_beyond_it_rises(reference: Reference) -> None:
    reward = rewards.length(reference)
    low, high = reference.support(QA, "char_count")
    assert 0 < low < high
    texts = ["y" * size for size in range(1, 4 * int(high))]
    found = reward(texts, bucket=[QA] * len(texts))
    inside = [at for at, text in enumerate(texts) if low <= len(text) <= high]
    assert {found[at] for at in inside} == {0.0}
    for text, value in zip(texts, found, strict=True):
        beyond = max(low - len(text), len(text) - high, 0) / (high - low)
        assert value == pytest.approx(-beyond / (1 + beyond))
    above = found[inside[-1] :]
    assert above == sorted(above, reverse=True)
    assert len(set(above)) == len(above), "it is always better to be less too long"
    assert all(value is not None and -1 <= value <= 0 for value in found)
    assert reward(["", "<think>" + "y" * 20 + "</think>", "y" * 10**6], bucket=[QA] * 3)[:2] == [-1.0, -1.0]
    assert reward.__name__ == "length_reward"


def test_each_bucket_has_its_lengths(reference: Reference) -> None:
    reward = rewards.length(reference, scale=2, bucket_column="of", feature="word_count", band=(0.25, 0.75))
    text = "We think that maybe it is so however late it may be"
    found = reward([text] * 4, of=[QA, "zh|multi|qa|short", None, "nonsense"])
    assert found[2:] == [None, None]
    for bucket, value in zip((QA, "zh|multi|qa|short"), found, strict=False):
        low, high = reference.support(bucket, "word_count", (0.25, 0.75))
        beyond = max(low - 12, 12 - high, 0) / max(high - low, 1)
        assert value == pytest.approx(-2 * beyond / (1 + beyond))
    assert found[0] != found[1]


def test_settings_of_lengths(reference: Reference) -> None:
    with pytest.raises(ValueError, match="feature is 'type_token_ratio': it must be one of char_count"):
        rewards.length(reference, feature="type_token_ratio")
    for band in ((0.9, 0.1), (0.5, 0.5), (-1, 0.5), (0.1, math.nan)):
        with pytest.raises(ValueError, match="two rising quantiles"):
            rewards.length(reference, band=band)
    with pytest.raises(TypeError, match=r"Reference\.load"):
        rewards.length("human.safetensors")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------- language

ENGLISH, CHINESE = "Does it rain today, and will it tomorrow?", "今天下雨吗？"
LONG = "No, it does not rain at all today, as far as I can see."


@pytest.mark.parametrize(
    ("prompt", "answer", "wanted"),
    [
        (ENGLISH, LONG, 0),
        (ENGLISH, "不下雨。", -1),
        (ENGLISH, "不下雨，今天是晴天，明天也许会下雨，我不太确定，你可以看看天气预报。", -1),
        (ENGLISH, "Non, il ne pleut pas du tout aujourd'hui, à ce que je vois.", -1),
        (ENGLISH, "Oui.", 0),
        (ENGLISH, "42", 0),
        (ENGLISH, "", -1),
        (ENGLISH, "<think>今天是晴天。</think>" + LONG, 0),
        (CHINESE, "不下雨。", 0),
        (CHINESE, LONG, -1),
        (CHINESE, "No.", 0),
        ("42?", LONG, 0),
        ("", LONG, 0),
        (None, LONG, 0),
    ],
)
def test_the_prompts_language_is_asked_for(prompt: str | None, answer: str, wanted: float) -> None:
    reward = rewards.language()
    assert reward([answer], prompts=[prompt]) == [wanted]
    if prompt:
        chat = [{"role": "system", "content": "你是一个助手。"}, {"role": "user", "content": prompt}]
        assert reward([[{"role": "assistant", "content": answer}]], prompts=[chat]) == [wanted]


def test_languages_are_told_all_at_once_and_need_prompts() -> None:
    reward = rewards.language(scale=3)
    answers = [LONG, "不下雨。", LONG, LONG]
    assert reward(answers, prompts=[ENGLISH, ENGLISH, CHINESE, ENGLISH]) == [0, -3, -3, 0]
    assert reward.__name__ == "language_reward"
    assert reward([], prompts=[]) == []
    with pytest.raises(ValueError, match="no prompts are given"):
        reward([LONG])
    with pytest.raises(ValueError, match="2 texts and 1 prompts"):
        reward([LONG, LONG], prompts=[ENGLISH])
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "look_up"}}]}
    assert reward([[call]], prompts=[ENGLISH]) == [None]


# -------------------------------------------------------------------------------------------------- several


def given(*values: float | None) -> Any:
    return lambda completions, **columns: list(values)


def test_several_rewards_are_their_weighted_mean() -> None:
    both = rewards.combine([given(-1.0, None, None), given(-0.5, -0.25, None)], [3, 1])
    assert both(["a", "b", "c"]) == [-0.875, -0.25, None]
    assert both.__name__ == "combined_reward"
    assert rewards.combine([given(-1.0), given(0.0)])(["a"]) == [-0.5]
    assert rewards.combine([given(-1.0), given(0.0)], [0, 1])(["a"]) == [0.0]
    assert rewards.combine([given(-1.0, -1.0), given(None, 0.0)], [0, 1])(["a", "b"]) == [None, 0.0]


def test_no_reward_is_all_there_is() -> None:
    assert rewards.combine([given(-math.inf, 1e9), given(0.0, 0.0)])(["a", "b"]) == [-2.5, 2.5]
    assert rewards.combine([given(-4.0), given(0.0)], bound=1)(["a"]) == [-0.5]


def test_what_is_asked_of_parts_is_what_is_given(reference: Reference) -> None:
    parts = [rewards.support(reference), rewards.length(reference), rewards.language()]
    columns: dict[str, Any] = {
        "prompts": [ENGLISH] * 4,
        "bucket": [QA] * 4,
        "log_metric": None,
        "completion_ids": [[1]] * 4,
    }
    found = rewards.combine(parts, [1, 0.5, 1])(TEXTS, **columns)
    own = [part(TEXTS, **columns) for part in parts]
    for at, value in enumerate(found):
        assert value == pytest.approx((own[0][at] + own[1][at] / 2 + own[2][at]) / 2.5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([given(0.0)], [1, 2]), ValueError, "1 rewards and 2 weights"),
        (([], []), ValueError, "not all 0"),
        (([given(0.0)], [0]), ValueError, "not all 0"),
        (([given(0.0), given(0.0)], [2, -1]), ValueError, "0 or above"),
        (([given(0.0)], [math.nan]), ValueError, "0 or above"),
        ((["support"],), TypeError, "rewards has a str: give functions"),
    ],
)
def test_what_cannot_be_combined_is_said_before_training(arguments: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        rewards.combine(*arguments)


def test_what_parts_give_is_looked_at() -> None:
    with pytest.raises(ValueError, match="gave 1 rewards for 2 completions"):
        rewards.combine([given(0.0)])(["a", "b"])
    with pytest.raises(ValueError, match="gave NaN for completion 0: give None"):
        rewards.combine([given(math.nan)])(["a"])
    with pytest.raises(ValueError, match="bound is 0"):
        rewards.combine([given(0.0)], bound=0)


# ------------------------------------------------------------------------------------------ other frameworks


def module_of(name: str) -> types.ModuleType:
    """Load an example as frameworks load a user's file."""
    spec = importlib.util.spec_from_file_location("custom_module", ROOT / "examples" / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_verl_calls_the_example(reference: Reference, tmp_path: Path) -> None:
    """As its naive reward manager: each answer by itself, by keywords, in a thread, with the settings of its file."""
    reference.save(tmp_path / "human.safetensors")
    compute_score = module_of("rewards_verl.py").compute_score
    assert not inspect.iscoroutinefunction(compute_score)
    prompt = np.array([{"role": "user", "content": ENGLISH}])  # as Parquet gives it

    async def scored(text: str, bucket: str) -> Any:
        info = {"bucket": bucket, "prompt": prompt, "num_turns": None, "rollout_reward_scores": {}}
        rest = {"data_source": "humans", "solution_str": text, "ground_truth": "We think so.", "extra_info": info}
        settings = {"reference": str(tmp_path / "human.safetensors"), "reward_router_address": None}
        return await asyncio.get_running_loop().run_in_executor(None, lambda: compute_score(**rest, **settings))

    async def all_of_them() -> list[Any]:
        return list(await asyncio.gather(*(scored(text, QA) for text in TEXTS), scored(TEXTS[0], "de|single|qa|short")))

    *found, nobody = asyncio.run(all_of_them())
    parts = [rewards.support(reference), rewards.length(reference), rewards.language()]
    combined = rewards.combine(parts, [1, 0.5, 1])
    assert found == combined(TEXTS, prompts=[prompt] * 4, bucket=[QA] * 4)
    assert all(type(value) is float for value in [*found, nobody])
    assert nobody == 0


def test_ms_swift_calls_the_example(reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its GRPO trainer: made once, then called with the answers of a batch, and columns with the messages."""

    class ORM:
        def __init__(self, args: Any = None, **kwargs: Any) -> None:
            self.args = args

    orms: dict[str, Any] = {}
    monkeypatch.setitem(sys.modules, "swift", types.ModuleType("swift"))
    plugin = types.ModuleType("swift.rewards")
    vars(plugin).update(ORM=ORM, orms=orms)
    monkeypatch.setitem(sys.modules, "swift.rewards", plugin)
    monkeypatch.setenv("POLYALIGN_REFERENCE", str(tmp_path / "human.safetensors"))
    reference.save(tmp_path / "human.safetensors")
    module_of("rewards_swift.py")
    reward = orms["human"](args=SimpleNamespace())
    prompt = [{"role": "user", "content": ENGLISH}]
    messages = [[*prompt, {"role": "assistant", "content": text}] for text in TEXTS]
    found = reward(TEXTS, trainer_state=None, messages=messages, bucket=[QA] * 4, response_token_ids=[[1]] * 4)
    parts = [rewards.support(reference), rewards.length(reference), rewards.language()]
    assert found == rewards.combine(parts, [1, 0.5, 1])(TEXTS, prompts=[prompt] * 4, bucket=[QA] * 4)
