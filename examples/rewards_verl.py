"""A reward for verl: how close an answer is to the humans of its bucket.

In verl's configuration

    reward.custom_reward_function.path=examples/rewards_verl.py
    +reward.custom_reward_function.reward_kwargs.reference=human.safetensors

(without `reward.` before its reward loop). verl calls `compute_score` once for each answer; the bucket and the prompt
are in the rows' `extra_info`: docs/rewards.md shows how such rows are made.
"""

from functools import cache
from typing import Any

import polyalign as pa


@cache
def reward_of(reference: str) -> Any:
    """Load the reference once in a process."""
    humans = pa.Reference.load(reference)
    return pa.rewards.combine(
        [pa.rewards.support(humans), pa.rewards.length(humans), pa.rewards.language()], weights=[1.0, 0.5, 1.0]
    )


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: dict[str, Any] | None = None,
    *,
    reference: str = "human.safetensors",
    **_: Any,
) -> float:
    """Return the reward of one answer; 0 for a row without humans, whose answers are all alike then."""
    info = extra_info or {}
    prompt = info.get("prompt", "")
    (found,) = reward_of(reference)([solution_str], prompts=[prompt], bucket=[info.get("bucket")])
    return 0.0 if found is None else found
