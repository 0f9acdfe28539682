"""How much the demo trains and answers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Recipe"]


@dataclass(frozen=True)
class Recipe:
    """How much is trained and answered: what two cores of a laptop do in ten minutes."""

    batch: int = 8
    steps: int = 30
    """Of BucketSFT."""
    learning_rate: float = 5e-4
    hdpo_steps: int = 8
    hdpo_learning_rate: float = 1e-4
    gamma: float = 0.5
    """Weight of the NLL in HDPO, that so few pairs do not make it forget."""
    online_every: int = 4
    online_prompts: int = 4
    num_online_samples: int = 2
    rank: int = 16
    """Of LoRA, on queries and values."""
    max_length: int = 256
    max_new_tokens: int = 60
    temperature: float = 0.7
    answered: int = 72
    """Held-out prompts that each model answers."""
    sampled: int = 48
    """Prompts that are answered for the critic that HDPO trains against."""
    judged: int = 400
    """Human answers that stand for people where the held-out critic judges, a conversation each."""
    seed: int = 0

    @classmethod
    def quick(cls) -> Recipe:
        """Return the sizes that only show that all of it runs."""
        return cls(
            batch=4, steps=2, hdpo_steps=2, online_every=2, online_prompts=1, max_length=160, max_new_tokens=16,
            answered=16, sampled=32, judged=60,
        )  # fmt: skip
