"""The settings that the configurations have beside TRL's, and how they are checked.

They stand apart from the configurations, which import torch and TRL: ``polyalign sft --help`` shows them in no time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from polyalign import _core
from polyalign.critics._floor import FLOORS
from polyalign.weights import DEFAULT_TAU

BALANCES = ("auto", "sample", "weight")
MARGINS = ("policy", "reward", "policy_per_token", "reward_per_token")
REDUCTIONS = ("example", "token")
ONLINE = ("critic", "distribution", "both")
OVER = ("marginals", "rows")
VARIANTS = ("default", "paper")


@dataclass
class TrainerSettings:
    """What both have beside TRL's settings."""

    weight_mean: float | None = field(
        default=None,
        metadata={"help": "The mean weight that weights are divided by. Default: that of what trains."},
    )
    log_buckets: int = field(
        default=20,
        metadata={"help": "So many buckets are logged by name, the others together; bucket_log.csv has all."},
    )
    variant: str = field(
        default="default",
        metadata={"help": "'paper' weighs and normalises as the paper does.", "choices": list(VARIANTS)},
    )


@dataclass
class BucketSFTSettings(TrainerSettings):
    """What :class:`~polyalign.trainers.BucketSFTConfig`, which explains it, has beside TRL's settings."""

    tau: float | None = field(
        default=None,
        metadata={
            "help": "Buckets are weighted by n_b ** (tau - 1): 0 weighs all alike, 1 is plain SFT. "
            f"Default: {DEFAULT_TAU:g}; with variant='paper' 0."
        },
    )
    reduction: str = field(
        default="example",
        metadata={
            "help": "Whether an example counts by the mean loss of its response tokens, or each token counts alike.",
            "choices": list(REDUCTIONS),
        },
    )
    balance: str = field(
        default="auto",
        metadata={
            "help": "How buckets get their weight: by how often their rows are drawn (sample), or in the loss (weight)."
            " Default: by drawing; in the loss with packing, streams, a column 'weight', and with a "
            "train_sampling_strategy other than random and batch_rebalance.",
            "choices": list(BALANCES),
        },
    )
    min_count: int = field(
        default=20,
        metadata={"help": "A bucket with fewer rows is weighted as its nearest ancestor that has them."},
    )
    max_weight: float = field(
        default=10.0, metadata={"help": "The most that an example counts, relative to plain SFT's."}
    )
    conditioning: str | None = field(
        default=None,
        metadata={"help": "A system line for every prompt, as '{family}, {length} answer, {language}'."},
    )


@dataclass
class HDPOSettings(TrainerSettings):
    """What :class:`~polyalign.trainers.HDPOConfig`, which explains it, has beside TRL's settings."""

    eos_token: str | None = field(
        default=None,
        metadata={
            "help": "The token that ends a response. Default: the tokenizer's; where the chosen responses all end in "
            "another, that."
        },
    )
    critic_floor: str | None = field(
        default=None,
        metadata={
            "help": "What a calibrated critic's scores count from: 'median', 0 for what is as close as the median "
            "human or closer, 1 for the furthest; 'none', the percentile itself. Default: median; with variant='paper' "
            "scores are as they are.",
            "choices": list(FLOORS),
        },
    )
    lambda_offline: float = field(
        default=0.1, metadata={"help": "Weight of the expected score of a pair's two responses (lambda)."}
    )
    margin: str = field(
        default="policy",
        metadata={
            "help": "Of what the preference p is made: the policy's or the reward's margin, in sums or per token.",
            "choices": list(MARGINS),
        },
    )
    margin_beta: float | None = field(
        default=None, metadata={"help": "Factor of the margin (kappa). Default: beta for sums, 2 per token."}
    )
    online: str = field(
        default="critic",
        metadata={
            "help": "What scores the model's own responses: the critic, each alone; how the responses of a bucket are "
            "distributed beside its humans (needs a reference); or both.",
            "choices": list(ONLINE),
        },
    )
    lambda_online: float = field(
        default=0.05, metadata={"help": "Weight of the critic's expected score of the model's own responses."}
    )
    lambda_distribution: float = field(
        default=0.05, metadata={"help": "Weight of the energy distance between responses and humans (--online)."}
    )
    distribution_over: str = field(
        default="marginals",
        metadata={
            "help": "Whether features are compared each alone, or all together, from the reference's sampled rows.",
            "choices": list(OVER),
        },
    )
    distribution_features: list[str] = field(
        default_factory=list,
        metadata={"help": "Names of features that are compared, or of their groups. Default: all."},
    )
    distribution_pool: int = field(
        default=64,
        metadata={"help": "Of each bucket, so many earlier responses are compared with those of a step; 0: none."},
    )
    online_every: int = field(default=10, metadata={"help": "Responses are sampled every so many optimizer steps."})
    num_online_samples: int = field(default=4, metadata={"help": "Sampled responses a prompt, 2 or more."})
    online_prompts: int | None = field(
        default=None, metadata={"help": "At most so many prompts a sampling step. Default: those of all pairs."}
    )
    online_batch_size: int = field(
        default=128, metadata={"help": "So many responses are generated at once on a process."}
    )
    max_new_tokens: int = field(default=256, metadata={"help": "The longest sampled response, in tokens."})
    eval_online_prompts: int | None = field(
        default=None,
        metadata={
            "help": "So many prompts, always the same, are answered at every evaluation. Default: 32 where responses "
            "are sampled in training, else 0."
        },
    )
    gamma: float = field(default=0.05, metadata={"help": "Weight of the mean NLL of the chosen response's tokens."})
    alpha: float = field(default=0.5, metadata={"help": "How much the rarity of its bucket adds to a pair's weight."})
    beta_w: float = field(
        default=1.0, metadata={"help": "How much the rejected response's extra distance adds to a pair's weight."}
    )
    gamma_l: float = field(
        default=0.25, metadata={"help": "How much the rarity of its language adds to a pair's weight."}
    )
    eta: float = field(default=0.25, metadata={"help": "How much the column pair_type adds to a pair's weight."})
    weight_min: float = field(default=0.5, metadata={"help": "The smallest weight of a pair."})
    weight_max: float = field(default=3.0, metadata={"help": "The largest weight of a pair."})


@contextmanager
def bf16_explained() -> Iterator[None]:
    """Say what helps where transformers refuses bfloat16."""
    try:
        yield
    except ValueError as error:
        if "bf16/gpu" not in str(error):
            raise
        told = "no GPU with bfloat16 here: --bf16 false trains in float32, --use_cpu in bfloat16 on the CPU"
        raise ValueError(_core.in_words(told)) from None


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise a ValueError unless a setting is one of its choices."""
    if value not in choices:
        raise ValueError(f"{name}={value!r}: it is one of {', '.join(map(repr, choices))}")


def check_number(
    name: str, value: float | None, low: float = -math.inf, high: float = math.inf, *, above: float = -math.inf
) -> None:
    """Raise a ValueError unless a setting is None or a number in its range."""
    if value is None or (low <= value <= high and value > above and math.isfinite(value)):
        return
    ends = [f"above {above:g}"] if above > -math.inf else [f"at least {low:g}"] if low > -math.inf else []
    ends += [f"at most {high:g}"] if high < math.inf else []
    raise ValueError(f"{name}={value}: it must be a number {' and '.join(ends)}".rstrip())
