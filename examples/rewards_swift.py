"""A reward for ms-swift: how close an answer is to the humans of its bucket.

    swift rlhf --rlhf_type grpo --external_plugins examples/rewards_swift.py --reward_funcs human …

The data set's rows have `messages` (without the answer) and `bucket`: docs/rewards.md shows how they are made. The
environment's POLYALIGN_REFERENCE names the human reference.
"""

import os
from collections.abc import Sequence
from typing import Any

from swift.rewards import ORM, orms  # of ms-swift 3: swift.plugin

import polyalign as pa


class Human(ORM):  # type: ignore[misc]
    """What ms-swift makes once, and calls with the answers of a batch and the columns of its rows."""

    def __init__(self, args: Any = None, **kwargs: Any) -> None:
        super().__init__(args, **kwargs)
        humans = pa.Reference.load(os.environ.get("POLYALIGN_REFERENCE", "human.safetensors"))
        self.reward = pa.rewards.combine(
            [pa.rewards.support(humans), pa.rewards.length(humans), pa.rewards.language()], weights=[1.0, 0.5, 1.0]
        )

    def __call__(
        self, completions: Sequence[str], messages: Sequence[Any] = (), **columns: Any
    ) -> list["float | None"]:
        """Return the rewards of answers, which are the last of their messages."""
        return self.reward(completions, prompts=[each[:-1] for each in messages], **columns)


orms["human"] = Human
