"""The offline term: the critic's score that the policy's preference expects, of margins between responses."""

from __future__ import annotations

from typing import Literal

import torch

from polyalign.trainers.losses._logps import PairLogps
from polyalign.trainers.losses._shared import masked

Margin = Literal["policy", "reward", "policy_per_token", "reward_per_token"]
MARGINS = ("policy", "reward", "policy_per_token", "reward_per_token")


def margin(kind: str, logps: PairLogps) -> torch.Tensor:
    """Measure by how much the policy prefers the chosen response.

    Parameters
    ----------
    kind : {"policy", "reward", "policy_per_token", "reward_per_token"}
        log π(y⁺) − log π(y⁻), the paper's; Δ⁺ − Δ⁻; or either with each response's value over its own length, which
        long responses do not saturate.
    logps : PairLogps
        Log-probabilities of n pairs.

    Returns
    -------
    torch.Tensor, shape [n]
        m, with gradient.

    Raises
    ------
    ValueError
        `kind` is none of `MARGINS`.

    Examples
    --------
    >>> logps = PairLogps(*torch.tensor([[-4.0], [-6.0], [-5.0], [-5.0], [2.0], [3.0]]))
    >>> margin("policy", logps), margin("policy_per_token", logps)
    (tensor([2.]), tensor([0.]))
    """
    if kind not in MARGINS:
        raise ValueError(f"margin is {kind!r}: it must be one of {', '.join(MARGINS)}")
    chosen, rejected = logps.chosen, logps.rejected
    if kind.startswith("reward"):
        chosen, rejected = logps.chosen_logratios, logps.rejected_logratios
    if kind.endswith("per_token"):
        chosen = chosen / logps.chosen_lengths.clamp(min=1)
        rejected = rejected / logps.rejected_lengths.clamp(min=1)
    return chosen - rejected


def regularizer(
    margin: torch.Tensor, chosen_scores: torch.Tensor, rejected_scores: torch.Tensor, kappa: float
) -> torch.Tensor:
    """Compute the critic's score that the policy's preference expects: R = p·s(y⁺) + (1 − p)·s(y⁻), p = σ(κm).

    Its gradient in m is κ·p(1 − p)·(s(y⁺) − s(y⁻)): towards the response that is closer to human.

    Parameters
    ----------
    margin : torch.Tensor, shape [n]
        m of :func:`margin`.
    chosen_scores, rejected_scores : torch.Tensor, shape [n]
        The critic's, in any float dtype, without gradient. A pair with a NaN score is left out: 0, without gradient.
    kappa : float
        κ: β for margins that are sums, about 2 for those per token.

    Returns
    -------
    torch.Tensor, shape [n]
        R of each pair, in the dtype of `margin`.

    Examples
    --------
    >>> regularizer(torch.tensor([0.0, 30.0]), torch.tensor([1.0, 1.0]), torch.tensor([3.0, 3.0]), 1.0)
    tensor([2., 1.])
    """
    scored = ~(chosen_scores + rejected_scores).isnan()
    chosen, rejected = (masked(scores.detach(), scored).to(margin.dtype) for scores in (chosen_scores, rejected_scores))
    return torch.sigmoid(kappa * margin) * chosen + torch.sigmoid(-kappa * margin) * rejected
