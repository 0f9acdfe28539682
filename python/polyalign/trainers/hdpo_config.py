"""The settings of :class:`~polyalign.trainers.HDPO`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polyalign.critics import ask, ask_floored
from polyalign.critics._floor import FLOORS
from polyalign.trainers._settings import (
    MARGINS,
    ONLINE,
    OVER,
    VARIANTS,
    HDPOSettings,
    bf16_explained,
    check_choice,
    check_number,
)
from polyalign.trainers._trl import DPOConfig

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["HDPOConfig"]

# What κ is for margins per token: with β they would stay between .46 and .54.
_PER_TOKEN_BETA = 2.0
_EVAL_PROMPTS = 32


@dataclass
class HDPOConfig(HDPOSettings, DPOConfig):
    r"""
    Settings of [`HDPO`]: TRL's [`~trl.DPOConfig`] and what follows.

    The objective is the mean over the pairs of a global batch of (w/w̄)·DPO + λ·R + γ·NLL, plus, over responses y that
    the model samples, λ_online·E[s(y)] or λ_distribution·E²(y, humans), or both.

    Parameters
    ----------
    eos_token : str, optional
        The token that ends a response. Default: the tokenizer's; where the chosen responses all end in another, that.
    critic_floor : {"median", "none"}, optional
        What the scores of a calibrated critic count from, of pairs, of samples and in weights
        (:func:`~polyalign.critics.ask_floored`). ``"median"``: s = max(0, 2q − 1), q the percentile among the humans of
        the bucket, so that being closer than the median human earns nothing, and humans have .25 on average.
        ``"none"``: s = q. Default: median; with ``variant="paper"`` scores are as the critic gives them, as those of a
        critic that is not calibrated always are.
    lambda_offline : float, default 0.1
        λ, the weight of R = p·s(chosen) + (1−p)·s(rejected), p = σ(κ·margin). 0: scores of pairs are needed by the
        weights alone.
    margin : {"policy", "reward", "policy_per_token", "reward_per_token"}, default "policy"
        Of what p is made: log π(chosen) − log π(rejected); the same of log π − log π_ref; either per token, each
        log-probability over its own length.
    margin_beta : float, optional
        κ. Default: ``beta`` for sums, 2 per token.
    online : {"critic", "distribution", "both"}, default "critic"
        What scores the model's own responses. The critic sees each alone, so that its optimum is the one that it likes
        best, always. ``"distribution"``, which needs a reference, compares those of a bucket with its humans as sets,
        by a `DistributionTerm`: 0 exactly where both are distributed alike.
    lambda_online : float, default 0.05
        The weight of the critic's expected score. 0: it trains nothing.
    lambda_distribution : float, default 0.05
        The weight of the energy distance between a bucket's responses and its humans, the mean over the responses.
    distribution_over : {"marginals", "rows"}, default "marginals"
        Whether each feature's distribution is compared, or all features together, from the reference's sampled rows.
    distribution_features : list of str, optional
        Names of the features that are compared, or of their groups. Default: all.
    distribution_pool : int, default 64
        So many of each bucket's earlier responses, the last ones, are compared with those of a step; they were sampled
        from the model as it was. 0: only those of a step, of other prompts. Checkpoints keep them.
    online_every : int, default 10
        Responses are sampled every so many optimizer steps.
    num_online_samples : int, default 4
        Responses a prompt, 2 or more.
    online_prompts : int, optional
        At most so many prompts a sampling step, over all processes (at least one of each). Default: those of all pairs.
    online_batch_size : int, default 128
        So many responses are generated at once on a process; all prompts of a sampling step are answered together, as
        far as that allows.
    max_new_tokens : int, default 256
        The longest sampled response, in tokens; one that is cut is scored as it is.
    eval_online_prompts : int, optional
        So many prompts of the evaluation's data, always the same, are answered at every evaluation, with the same
        noise: ``eval_hdpo/online_score``. 0: none. Default: 32 where responses are sampled in training, else 0.
    gamma : float, default 0.05
        γ, the weight of the mean NLL of the chosen response's tokens.
    alpha, beta_w, gamma_l, eta : float, default 0.5, 1.0, 0.25, 0.25
        A pair's weight is 1 + alpha·(rarity of its bucket) + beta_w·max(0, s(rejected) − s(chosen)) + gamma_l·(rarity
        of its language) + eta·``pair_type`` (a column, 0 where there is none), clipped.
    weight_min, weight_max : float, default 0.5, 3.0
        The ends of a pair's weight.
    weight_mean : float, optional
        The mean weight w̄ that weights are divided by. Default: that of the pairs that train; 1 where they stream.
    log_buckets : int, default 20
        So many buckets, the largest, are logged by name, the others together as ``other``. All of them are in
        ``bucket_log.csv`` in the output folder.
    variant : {"default", "paper"}, default "default"
        ``"paper"`` has linear rarities and divides a batch's weighted preference loss by the batch's weights.

    Raises
    ------
    ValueError
        A setting out of its range; the message names it.

    Examples
    --------
    >>> from polyalign.trainers import HDPOConfig
    >>> HDPOConfig(output_dir="out", margin="reward", bf16=False).kappa
    0.1
    """

    def __post_init__(self) -> None:
        with bf16_explained():
            super().__post_init__()
        check_choice("margin", self.margin, MARGINS)
        check_choice("online", self.online, ONLINE)
        check_choice("distribution_over", self.distribution_over, OVER)
        check_choice("variant", self.variant, VARIANTS)
        check_choice("critic_floor", self.critic_floor or "none", FLOORS)
        for name in ("lambda_offline", "lambda_online", "lambda_distribution", "gamma", "alpha", "beta_w"):
            check_number(name, getattr(self, name), 0)
        for name in ("gamma_l", "eta", "weight_min"):
            check_number(name, getattr(self, name), 0)
        for name in ("margin_beta", "weight_mean", "weight_max"):
            check_number(name, getattr(self, name), above=0)
        least_of = {"online_every": 1, "num_online_samples": 2, "online_prompts": 1, "online_batch_size": 1}
        least_of.update({"max_new_tokens": 1, "eval_online_prompts": 0, "log_buckets": 0, "distribution_pool": 0})
        for name, least in least_of.items():
            check_number(name, getattr(self, name), least)
        if self.weight_min > self.weight_max:
            raise ValueError(f"weight_min={self.weight_min} is above weight_max={self.weight_max}")
        if self.eval_online_prompts is None:
            self.eval_online_prompts = _EVAL_PROMPTS if self.is_online else 0
        if self.variant == "paper" and self.margin != "policy":
            raise ValueError(f"variant='paper' has margin='policy', not {self.margin!r}")
        if self.variant == "paper" and self.critic_floor is not None:
            raise ValueError(
                f"variant='paper' takes scores as they are: critic_floor={self.critic_floor!r} is for others"
            )
        if self.variant == "default" and self.critic_floor is None:
            self.critic_floor = "median"

    @property
    def samples(self) -> bool:
        """Whether a step comes in which responses are sampled, as far as the settings say."""
        return self.is_online and not 0 < self.max_steps < self.online_every

    @property
    def critic_weight(self) -> float:
        """The weight of the critic's score of samples, where it trains."""
        return 0.0 if self.online == "distribution" else self.lambda_online

    @property
    def distribution_weight(self) -> float:
        """The weight of the distributional term, where it trains."""
        return 0.0 if self.online == "critic" else self.lambda_distribution

    @property
    def is_online(self) -> bool:
        """Whether a term trains on samples."""
        return self.critic_weight > 0 or self.distribution_weight > 0

    @property
    def scored_by(self) -> Callable[..., npt.NDArray[np.float32]]:
        """The function that asks critics for scores."""
        return ask if self.critic_floor is None else functools.partial(ask_floored, floor=self.critic_floor)

    @property
    def kappa(self) -> float:
        """The factor κ of the margin."""
        if self.margin_beta is not None:
            return self.margin_beta
        return _PER_TOKEN_BETA if self.margin.endswith("per_token") else self.beta
