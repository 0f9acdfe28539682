"""Every formula of the training objectives, as a pure function of tensors.

What the trainers compute is here: the preference losses per pair, the regulariser, the online surrogate, and how they
are normalised over a global batch. Functions keep the caller's dtype and device; none waits for the device, talks to
other ranks or changes its arguments. In shapes, ``n`` counts pairs (or examples), ``T`` token positions, ``P`` prompts
and ``k`` responses a prompt; rows of a ``[2n, T]`` tensor are the chosen responses, then the rejected ones. Masks are
bool, or integers that are 0 where a token is not the response's; what log-probabilities hold there is not read.

Numbers over the global batch (its examples, its sum of weights) are floats or 0-d tensors, so that they can come
straight from a reduction over ranks.

Examples
--------
>>> import torch
>>> from polyalign.trainers import losses
>>> ones = torch.ones(2)
>>> logps = losses.PairLogps(torch.tensor([-5.0, -9.0]), torch.tensor([-9.0, -5.0]), -7 * ones, -7 * ones, ones, ones)
>>> losses.preference_loss(logps, "sigmoid", beta=0.5)
tensor([0.1269, 2.1269])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch.nn.functional import logsigmoid

__all__ = [
    "DIVERGENCES",
    "DIVERGENCE_LOSS_TYPES",
    "LOSS_TYPES",
    "MARGINS",
    "PairLogps",
    "advantages",
    "bucket_sft_loss",
    "divergence_scores",
    "hdpo_loss",
    "margin",
    "mean_nll",
    "online_surrogate",
    "paper_mean",
    "preference_loss",
    "regularizer",
    "response_logps",
    "sft_loss",
    "token_loss",
    "wpo_weights",
]

Number: TypeAlias = "float | torch.Tensor"
Margin = Literal["policy", "reward", "policy_per_token", "reward_per_token"]
Variant = Literal["default", "paper"]

DIVERGENCES = ("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence")
MARGINS = ("policy", "reward", "policy_per_token", "reward_per_token")

# The largest exponent whose exponential, cast back, is finite.
_MAX_EXPONENT = {torch.float16: 11.0, torch.bfloat16: 80.0, torch.float32: 80.0, torch.float64: 700.0}


@dataclass(frozen=True)
class PairLogps:
    """The log-probabilities of pairs of responses under the policy and the reference model.

    Attributes
    ----------
    chosen, rejected : torch.Tensor, shape [n]
        Log-probability of the response under the policy, summed over its tokens (:func:`response_logps`).
    ref_chosen, ref_rejected : torch.Tensor, shape [n]
        The same under the reference model.
    chosen_lengths, rejected_lengths : torch.Tensor, shape [n]
        Tokens of the response.

    Examples
    --------
    >>> logps = PairLogps(*torch.tensor([[-4.0], [-6.0], [-5.0], [-5.0], [2.0], [3.0]]))
    >>> logps.chosen_logratios, logps.rejected_logratios
    (tensor([1.]), tensor([-1.]))
    """

    chosen: torch.Tensor
    rejected: torch.Tensor
    ref_chosen: torch.Tensor
    ref_rejected: torch.Tensor
    chosen_lengths: torch.Tensor
    rejected_lengths: torch.Tensor

    @property
    def chosen_logratios(self) -> torch.Tensor:
        """Δ⁺ = log π(y⁺) − log π_ref(y⁺), shape [n]."""
        return self.chosen - self.ref_chosen

    @property
    def rejected_logratios(self) -> torch.Tensor:
        """Δ⁻ = log π(y⁻) − log π_ref(y⁻), shape [n]."""
        return self.rejected - self.ref_rejected


# ------------------------------------------------------------------------------------------- log-probabilities


def response_logps(token_logps: torch.Tensor, mask: torch.Tensor, ld_alpha: float | None = None) -> torch.Tensor:
    """Sum the log-probability of every response over its tokens.

    With `ld_alpha`, as LD-DPO (arXiv:2409.06411) has it: the tokens beyond the length of the pair's shorter response
    count `ld_alpha` times.

    Parameters
    ----------
    token_logps : torch.Tensor, shape [2n, T]
        Log-probability of each token, chosen responses first.
    mask : torch.Tensor, shape [2n, T]
        Which positions are the response's.
    ld_alpha : float, optional
        From 0 (only the common length counts) to 1 (the plain sum).

    Returns
    -------
    torch.Tensor, shape [2n]
        Chosen, then rejected.

    Raises
    ------
    ValueError
        The number of rows is odd.

    Examples
    --------
    >>> token_logps = torch.tensor([[-1.0, -2.0, -3.0], [-4.0, 0.0, 0.0]])
    >>> mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    >>> response_logps(token_logps, mask)
    tensor([-6., -4.])
    >>> response_logps(token_logps, mask, ld_alpha=0.5)
    tensor([-3.5000, -4.0000])
    """
    if token_logps.shape[0] % 2:
        raise ValueError(f"there are {token_logps.shape[0]} rows: every chosen response needs its rejected one")
    mask = mask.bool()
    kept = _masked(token_logps, mask)
    if ld_alpha is None:
        return kept.sum(dim=1)
    chosen_lengths, rejected_lengths = mask.sum(dim=1).chunk(2)
    shared = torch.minimum(chosen_lengths, rejected_lengths).repeat(2)
    is_shared = mask.cumsum(dim=1) <= shared[:, None]
    return torch.where(is_shared, kept, ld_alpha * kept).sum(dim=1)


def mean_nll(token_logps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Average the negative log-likelihood of every response over its tokens.

    Parameters
    ----------
    token_logps, mask : torch.Tensor, shape [n, T]
        Log-probability of each token, and which positions are the response's.

    Returns
    -------
    torch.Tensor, shape [n]
        0 for a response without tokens.

    Examples
    --------
    >>> mean_nll(torch.tensor([[-1.0, -2.0, -9.0]]), torch.tensor([[1, 1, 0]]))
    tensor([1.5000])
    """
    mask = mask.bool()
    return -_masked(token_logps, mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def wpo_weights(token_logps: torch.Tensor, log_sum_sq_probs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Weigh every pair by how likely the policy is to write it: WPO (arXiv:2406.11827), eq. 2, aligned weights.

    The product over the pair's two responses of exp(mean over tokens of log p − log Σ_v p_v²), without gradient.

    Parameters
    ----------
    token_logps : torch.Tensor, shape [2n, T]
        Log-probability of each token, chosen responses first.
    log_sum_sq_probs : torch.Tensor, shape [2n, T]
        log Σ_v p_v² of the distribution that each token was drawn from.
    mask : torch.Tensor, shape [2n, T]
        Which positions are the response's.

    Returns
    -------
    torch.Tensor, shape [n]
        To multiply a pair's loss by.

    Examples
    --------
    >>> uniform = torch.full((2, 3), 0.25).log()  # over a vocabulary of four
    >>> wpo_weights(uniform, uniform, torch.ones(2, 3))
    tensor([1.])
    """
    aligned = mean_nll(log_sum_sq_probs.detach() - token_logps.detach(), mask)
    chosen, rejected = aligned.chunk(2)
    return torch.exp(chosen + rejected)


# ------------------------------------------------------------------------------------------- preference losses


def divergence_scores(
    logratios: torch.Tensor, f_divergence_type: str = "reverse_kl", f_alpha_divergence_coef: float = 0.5
) -> torch.Tensor:
    """Turn log-ratios into implicit rewards under an f-divergence: f'(π/π_ref) of f-DPO (arXiv:2309.16240).

    With r the log-ratio: ``"reverse_kl"`` r; ``"forward_kl"`` 1 − e^−r; ``"js_divergence"`` log 2 + log σ(r);
    ``"alpha_divergence"`` (e^((α−1)r) − 1)/(α − 1), which is r at α = 1. Exponents are bounded where the exponential
    would overflow the dtype.

    Parameters
    ----------
    logratios : torch.Tensor
        log π − log π_ref, any shape.
    f_divergence_type : str, default "reverse_kl"
        One of `DIVERGENCES`.
    f_alpha_divergence_coef : float, default 0.5
        α of ``"alpha_divergence"``.

    Returns
    -------
    torch.Tensor
        The shape of `logratios`.

    Raises
    ------
    ValueError
        `f_divergence_type` is none of `DIVERGENCES`.

    Examples
    --------
    >>> divergence_scores(torch.tensor([0.0, 1.0]), "forward_kl")
    tensor([0.0000, 0.6321])
    """
    if f_divergence_type == "reverse_kl":
        return logratios
    if f_divergence_type == "forward_kl":
        return 1 - _bounded_exp(-logratios)
    if f_divergence_type == "js_divergence":
        return math.log(2) + logsigmoid(logratios)
    if f_divergence_type == "alpha_divergence":
        power = f_alpha_divergence_coef - 1
        return logratios if abs(power) < 1e-6 else (_bounded_exp(power * logratios) - 1) / power
    raise ValueError(f"f_divergence_type is {f_divergence_type!r}: it must be one of {', '.join(DIVERGENCES)}")


def preference_loss(
    logps: PairLogps,
    loss_type: str,
    *,
    beta: float,
    label_smoothing: float = 0.0,
    f_divergence_type: str = "reverse_kl",
    f_alpha_divergence_coef: float = 0.5,
    discopop_tau: float = 0.05,
) -> torch.Tensor:
    """Compute a preference loss of TRL's ``DPOTrainer`` for every pair.

    With Δ⁺, Δ⁻ the log-ratios of the two responses, d the difference of their :func:`divergence_scores` and ε the label
    smoothing; |y| is a response's length:

    =================  ==================================================================================
    ``sigmoid``        −log σ(βd) (DPO, arXiv:2305.18290)
    ``sigmoid_norm``   −log σ(βd̄), each score of d̄ over |y| (Tülu 3, arXiv:2411.15124)
    ``hinge``          max(0, 1 − βd) (SLiC, arXiv:2305.10425)
    ``ipo``            (d̄ − 1/(2β))², each score of d̄ over |y| (arXiv:2310.12036, eq. 17)
    ``exo_pair``       KL of (σ(βd), σ(−βd)) from (1−ε, ε) (arXiv:2402.00856, eq. 16)
    ``robust``         −((1−ε) log σ(βd) − ε log σ(−βd)) / (1 − 2ε) (arXiv:2403.00409)
    ``discopop``       (1−q)·(−log σ(βd)) + q·e^(−βd), q = σ(βd/τ) (arXiv:2406.08414, eq. 5)
    ``nca_pair``       −log σ(βΔ⁺) − ½ log σ(−βΔ⁺) − ½ log σ(−βΔ⁻) (arXiv:2402.05369)
    ``bco_pair``       −log σ(βΔ⁺) − log σ(−βΔ⁻) (arXiv:2404.04656, without its shift)
    ``sppo_hard``      (Δ⁺ − 1/(2β))² + (Δ⁻ + 1/(2β))² (arXiv:2405.00675)
    ``aot``            −(1−ε) log σ(βt) − ε log σ(−βt), t the difference of the sorted log-probability
                       differences of policy and reference (arXiv:2406.05882)
    ``aot_unpaired``   the same, t the difference of the sorted Δ⁺ and the sorted Δ⁻
    ``apo_zero``       σ(−βΔ⁺) + σ(βΔ⁻) (arXiv:2408.06266, eq. 7)
    ``apo_down``       σ(βΔ⁺) + σ(−β(Δ⁺−Δ⁻)) (arXiv:2408.06266, eq. 8)
    =================  ==================================================================================

    TRL's ``sft`` is a ratio over tokens: :func:`sft_loss`. The `aot` losses sort, so that their values belong to the
    batch and not to its pairs.

    Parameters
    ----------
    logps : PairLogps
        Log-probabilities of n pairs.
    loss_type : str
        One of `LOSS_TYPES`.
    beta : float
        β, above 0.
    label_smoothing : float, default 0.0
        ε. ``exo_pair`` needs one in (0, 1), ``robust`` any but 0.5.
    f_divergence_type : str, default "reverse_kl"
        One of `DIVERGENCES`; another than ``"reverse_kl"`` for `DIVERGENCE_LOSS_TYPES` alone.
    f_alpha_divergence_coef : float, default 0.5
        α of ``"alpha_divergence"``.
    discopop_tau : float, default 0.05
        τ of ``discopop``.

    Returns
    -------
    torch.Tensor, shape [n]
        The loss of each pair.

    Raises
    ------
    ValueError
        An unknown `loss_type` or `f_divergence_type`, or a setting that the loss is not defined for.

    Examples
    --------
    >>> logps = PairLogps(*torch.tensor([[-4.0], [-6.0], [-5.0], [-5.0], [2.0], [3.0]]))
    >>> preference_loss(logps, "sigmoid", beta=0.1)
    tensor([0.5981])
    >>> preference_loss(logps, "ipo", beta=0.5, f_divergence_type="js_divergence")
    tensor([0.3640])
    """
    if loss_type not in _LOSSES:
        raise ValueError(f"loss_type is {loss_type!r}: it must be one of {', '.join(LOSS_TYPES)}")
    if f_divergence_type != "reverse_kl" and loss_type not in DIVERGENCE_LOSS_TYPES:
        raise ValueError(f"loss_type {loss_type!r} is defined for f_divergence_type 'reverse_kl' alone")
    if loss_type == "exo_pair" and not 0 < label_smoothing < 1:
        raise ValueError(f"label_smoothing is {label_smoothing}: 'exo_pair' needs one above 0 and below 1, as 0.001")
    if loss_type == "robust" and label_smoothing == 0.5:
        raise ValueError("label_smoothing is 0.5: 'robust' needs labels that tell something, below 0.5")
    chosen_scores, rejected_scores = (
        divergence_scores(ratios, f_divergence_type, f_alpha_divergence_coef)
        for ratios in (logps.chosen_logratios, logps.rejected_logratios)
    )
    return _LOSSES[loss_type](
        _Terms(logps, chosen_scores, rejected_scores, beta, label_smoothing, discopop_tau),
    )


@dataclass(frozen=True)
class _Terms:
    """What a preference loss is computed from."""

    logps: PairLogps
    chosen_scores: torch.Tensor
    rejected_scores: torch.Tensor
    beta: float
    epsilon: float
    tau: float

    @property
    def logits(self) -> torch.Tensor:
        """βd."""
        return self.beta * (self.chosen_scores - self.rejected_scores)

    @property
    def delta_per_token(self) -> torch.Tensor:
        """d̄: the scores' difference, each over its own length."""
        chosen = self.chosen_scores / self.logps.chosen_lengths.clamp(min=1)
        rejected = self.rejected_scores / self.logps.rejected_lengths.clamp(min=1)
        return chosen - rejected

    @property
    def chosen_rewards(self) -> torch.Tensor:
        """βΔ⁺."""
        return self.beta * self.logps.chosen_logratios

    @property
    def rejected_rewards(self) -> torch.Tensor:
        """βΔ⁻."""
        return self.beta * self.logps.rejected_logratios


def _sigmoid(terms: _Terms) -> torch.Tensor:
    return -logsigmoid(terms.logits)


def _sigmoid_norm(terms: _Terms) -> torch.Tensor:
    return -logsigmoid(terms.beta * terms.delta_per_token)


def _hinge(terms: _Terms) -> torch.Tensor:
    return torch.relu(1 - terms.logits)


def _ipo(terms: _Terms) -> torch.Tensor:
    return (terms.delta_per_token - 1 / (2 * terms.beta)) ** 2


def _exo_pair(terms: _Terms) -> torch.Tensor:
    log_win, log_lose = logsigmoid(terms.logits), logsigmoid(-terms.logits)
    win, lose = torch.sigmoid(terms.logits), torch.sigmoid(-terms.logits)
    return win * (log_win - math.log1p(-terms.epsilon)) + lose * (log_lose - math.log(terms.epsilon))


def _robust(terms: _Terms) -> torch.Tensor:
    clean = -(1 - terms.epsilon) * logsigmoid(terms.logits)
    flipped = -terms.epsilon * logsigmoid(-terms.logits)
    return (clean - flipped) / (1 - 2 * terms.epsilon)


def _discopop(terms: _Terms) -> torch.Tensor:
    # q·e^(−βd) as one exponential: apart, it is 0·∞ for a pair that the policy has far the wrong way round.
    exponential = torch.exp(logsigmoid(terms.logits / terms.tau) - terms.logits)
    return exponential - torch.sigmoid(-terms.logits / terms.tau) * logsigmoid(terms.logits)


def _nca_pair(terms: _Terms) -> torch.Tensor:
    chosen, rejected = terms.chosen_rewards, terms.rejected_rewards
    return -logsigmoid(chosen) - 0.5 * logsigmoid(-chosen) - 0.5 * logsigmoid(-rejected)


def _bco_pair(terms: _Terms) -> torch.Tensor:
    return -logsigmoid(terms.chosen_rewards) - logsigmoid(-terms.rejected_rewards)


def _sppo_hard(terms: _Terms) -> torch.Tensor:
    goal = 0.5 / terms.beta
    return (terms.logps.chosen_logratios - goal) ** 2 + (terms.logps.rejected_logratios + goal) ** 2


def _aot(terms: _Terms) -> torch.Tensor:
    logps = terms.logps
    policy, reference = logps.chosen - logps.rejected, logps.ref_chosen - logps.ref_rejected
    return _smoothed(terms, policy.sort().values - reference.sort().values)


def _aot_unpaired(terms: _Terms) -> torch.Tensor:
    chosen, rejected = terms.logps.chosen_logratios, terms.logps.rejected_logratios
    return _smoothed(terms, chosen.sort().values - rejected.sort().values)


def _smoothed(terms: _Terms, delta: torch.Tensor) -> torch.Tensor:
    logits = terms.beta * delta
    return -(1 - terms.epsilon) * logsigmoid(logits) - terms.epsilon * logsigmoid(-logits)


def _apo_zero(terms: _Terms) -> torch.Tensor:
    return torch.sigmoid(-terms.chosen_rewards) + torch.sigmoid(terms.rejected_rewards)


def _apo_down(terms: _Terms) -> torch.Tensor:
    chosen, rejected = terms.chosen_rewards, terms.rejected_rewards
    return torch.sigmoid(chosen) + torch.sigmoid(rejected - chosen)


# Losses of d, the difference of two scores, from which log Z(x) drops out under any f-divergence.
_SCORE_LOSSES: dict[str, Callable[[_Terms], torch.Tensor]] = {
    "sigmoid": _sigmoid,
    "sigmoid_norm": _sigmoid_norm,
    "hinge": _hinge,
    "ipo": _ipo,
    "exo_pair": _exo_pair,
    "robust": _robust,
    "discopop": _discopop,
}
_LOSSES = _SCORE_LOSSES | {
    "nca_pair": _nca_pair,
    "bco_pair": _bco_pair,
    "sppo_hard": _sppo_hard,
    "aot": _aot,
    "aot_unpaired": _aot_unpaired,
    "apo_zero": _apo_zero,
    "apo_down": _apo_down,
}
LOSS_TYPES = tuple(_LOSSES)
DIVERGENCE_LOSS_TYPES = tuple(_SCORE_LOSSES)


# ------------------------------------------------------------------------------------------- regulariser


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
    chosen, rejected = (
        _masked(scores.detach(), scored).to(margin.dtype) for scores in (chosen_scores, rejected_scores)
    )
    return torch.sigmoid(kappa * margin) * chosen + torch.sigmoid(-kappa * margin) * rejected


# ------------------------------------------------------------------------------------------- online term


def advantages(scores: torch.Tensor) -> torch.Tensor:
    """Compare every score with those of the prompt's other responses: A_j = s_j − mean of the others.

    The baseline of a response does not contain its own score, which keeps the estimator of :func:`online_surrogate`
    unbiased (arXiv:2402.14740). Not divided by a standard deviation, which would bias it.

    Parameters
    ----------
    scores : torch.Tensor, shape [P, k]
        The critic's. A NaN score has advantage 0 and is no part of the others' mean.

    Returns
    -------
    torch.Tensor, shape [P, k]
        Without gradient; exactly 0 where all scores of a prompt are equal, or fewer than two are there.

    Examples
    --------
    >>> advantages(torch.tensor([[1.0, 2.0, 6.0], [1.0, float("nan"), 2.0]]))
    tensor([[-3.0000, -1.5000,  4.5000],
            [-1.0000,  0.0000,  1.0000]])
    """
    scores = scores.detach()
    scored = ~scores.isnan()
    both = scored[:, :, None] & scored[:, None, :]
    # A sum of differences, and not a difference of sums: equal scores cancel exactly.
    differences = _masked(scores[:, :, None] - scores[:, None, :], both)
    others = (scored.sum(dim=1, keepdim=True) - 1).clamp(min=1)
    return differences.sum(dim=2) / others


def online_surrogate(scores: torch.Tensor, logps: torch.Tensor, num_prompts: Number | None = None) -> torch.Tensor:
    """Build the scalar whose expected gradient is that of the mean expected score E_{y~π}[s(y)] over the prompts.

    (1/(kP)) Σ_prompts Σ_j A_j·log π(y_j), with A of :func:`advantages`. Its value means nothing; report the mean score.

    Parameters
    ----------
    scores : torch.Tensor, shape [P, k]
        The critic's, of k ≥ 2 responses that were sampled from the policy as it is.
    logps : torch.Tensor, shape [P, k]
        log π(y_j) of the sampled tokens, summed, end of sequence included; with gradient.
    num_prompts : float or 0-d tensor, optional
        Prompts of the global batch, when these are a share of them; P by default.

    Returns
    -------
    torch.Tensor, 0-d
        In the dtype of `logps`.

    Raises
    ------
    ValueError
        The shapes differ, or there are fewer than two responses a prompt.

    Examples
    --------
    >>> logps = torch.tensor([[-2.0, -3.0]], requires_grad=True)
    >>> online_surrogate(torch.tensor([[1.0, 3.0]]), logps).backward()
    >>> logps.grad
    tensor([[-1.,  1.]])
    """
    if scores.shape != logps.shape or scores.ndim != 2:
        raise ValueError(f"scores {list(scores.shape)} and logps {list(logps.shape)} must be two tables of one shape")
    prompts, samples = scores.shape
    if samples < 2:
        raise ValueError(f"there are {samples} responses a prompt: a baseline from the others needs at least 2")
    total = (advantages(scores).to(logps.dtype) * logps).sum()
    return _over(total, samples * (max(prompts, 1) if num_prompts is None else num_prompts))


# ------------------------------------------------------------------------------------------- global batches


def bucket_sft_loss(
    nll: torch.Tensor, weights: torch.Tensor, *, mean_weight: Number, num_examples: Number
) -> torch.Tensor:
    """Compute the share of these examples in the loss of their global batch: Σ (w_i/w̄)·ℓ_i / M.

    Neither w̄ nor M depends on how the batch is split, so the shares of any split add up to the same loss.

    Parameters
    ----------
    nll : torch.Tensor, shape [n]
        ℓ of :func:`mean_nll`.
    weights : torch.Tensor, shape [n]
        The examples' weights.
    mean_weight : float or 0-d tensor
        w̄: mean weight over the rows that train (not over the batch).
    num_examples : float or 0-d tensor
        M: examples of the global batch.

    Returns
    -------
    torch.Tensor, 0-d

    Examples
    --------
    >>> nll, weights = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 1.0])
    >>> bucket_sft_loss(nll, weights, mean_weight=2.0, num_examples=2)
    tensor(1.2500)
    """
    return _over((weights.to(nll.dtype) / mean_weight * nll).sum(), num_examples)


def token_loss(
    token_logps: torch.Tensor, token_weights: torch.Tensor, size: Number, *, dft: bool = False
) -> torch.Tensor:
    """Compute the share of these tokens in a loss whose weights are by token: −Σ_t w_t log p_t / size.

    With w_t = w_i/(w̄·T_i) and `size` M it is :func:`bucket_sft_loss`, in whatever layout the tokens are, padded or
    packed; with w_t = w_i/w̄ and `size` T it is bucket SFT by token.

    Parameters
    ----------
    token_logps, token_weights : torch.Tensor, one shape
        Log-probability of each token, and its weight: 0 where it is not the response's.
    size : float or 0-d tensor
        What the global batch is divided by: M, or T.
    dft : bool, default False
        Whether each token's loss is multiplied by its own probability, without gradient (arXiv:2508.05629).

    Returns
    -------
    torch.Tensor, 0-d

    Examples
    --------
    >>> token_loss(torch.tensor([[-1.0, -2.0, -9.0]]), torch.tensor([[0.5, 0.25, 0.0]]), 2)
    tensor(0.5000)
    """
    losses = -token_logps * token_logps.exp().detach() if dft else -token_logps
    return (token_weights.to(losses.dtype) * losses).sum() / size


def sft_loss(
    token_logps: torch.Tensor, mask: torch.Tensor, weights: torch.Tensor, *, weighted_tokens: Number
) -> torch.Tensor:
    """Compute the share of these examples in a weighted loss by token: −Σ_i w_i Σ_t log p / Σ_i w_i T_i.

    With `weighted_tokens` = w̄·T, T the response tokens of the global batch, it is bucket SFT by token.

    Parameters
    ----------
    token_logps, mask : torch.Tensor, shape [n, T]
        Log-probability of each token, and which positions are the response's.
    weights : torch.Tensor, shape [n]
        The examples' weights.
    weighted_tokens : float or 0-d tensor
        Σ w_i T_i over the global batch, T_i the tokens of a response.

    Returns
    -------
    torch.Tensor, 0-d

    Examples
    --------
    >>> token_logps, mask = torch.tensor([[-1.0, -2.0], [-3.0, 0.0]]), torch.tensor([[1, 1], [1, 0]])
    >>> sft_loss(token_logps, mask, torch.tensor([1.0, 2.0]), weighted_tokens=4)
    tensor(2.2500)
    """
    totals = _masked(token_logps, mask.bool()).sum(dim=1)
    return _over(-(weights.to(totals.dtype) * totals).sum(), weighted_tokens)


def paper_mean(values: torch.Tensor, weights: torch.Tensor, weight_sum: Number | None = None) -> torch.Tensor:
    """Average as the paper does: Σ w_i v_i / Σ w_i.

    Its denominator changes with the batch, so that a weight counts for less the smaller the batch is, and for nothing
    in a batch of one.

    Parameters
    ----------
    values, weights : torch.Tensor, shape [n]
        What is averaged, and by what.
    weight_sum : float or 0-d tensor, optional
        Σ w over the global batch, when these are a share of it; their own sum by default.

    Returns
    -------
    torch.Tensor, 0-d

    Examples
    --------
    >>> paper_mean(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 1.0]))
    tensor(1.2500)
    """
    weights = weights.to(values.dtype)
    return _over((weights * values).sum(), weights.sum() if weight_sum is None else weight_sum)


def hdpo_loss(
    dpo: torch.Tensor,
    weights: torch.Tensor,
    regularizer: torch.Tensor | None,
    nll: torch.Tensor | None,
    *,
    lambda_offline: float,
    gamma: float,
    mean_weight: Number,
    num_pairs: Number,
    weight_sum: Number | None = None,
    variant: Variant = "default",
) -> torch.Tensor:
    """Compute the share of these pairs in the offline objective of their global batch.

    ``(1/M) Σ [(w_i/w̄)·DPO_i + λ·R_i + γ·NLL_i]``; under ``variant="paper"``
    ``Σ w_i·DPO_i / Σ w_i + (1/M) Σ [λ·R_i + γ·NLL_i]``.

    Parameters
    ----------
    dpo : torch.Tensor, shape [n]
        :func:`preference_loss`, or a sum of several.
    weights : torch.Tensor, shape [n]
        The pairs' weights.
    regularizer : torch.Tensor, shape [n], or None
        R of :func:`regularizer`; None: the term is left out.
    nll : torch.Tensor, shape [n], or None
        :func:`mean_nll` of the chosen responses; None: the term is left out.
    lambda_offline, gamma : float
        λ and γ.
    mean_weight : float or 0-d tensor
        w̄: mean weight over the rows that train (not over the batch). Not used by the paper's variant.
    num_pairs : float or 0-d tensor
        M: pairs of the global batch.
    weight_sum : float or 0-d tensor, optional
        Σ w over the global batch, for the paper's variant; the sum of `weights` by default.
    variant : {"default", "paper"}
        How the preference term is normalised.

    Returns
    -------
    torch.Tensor, 0-d

    Raises
    ------
    ValueError
        `variant` is unknown.

    Examples
    --------
    >>> dpo, weights = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 1.0])
    >>> terms = {"lambda_offline": 0.5, "gamma": 0.0, "mean_weight": 2.0, "num_pairs": 2}
    >>> hdpo_loss(dpo, weights, torch.tensor([2.0, 4.0]), None, **terms)
    tensor(2.7500)
    """
    if variant not in ("default", "paper"):
        raise ValueError(f"variant is {variant!r}: it must be default or paper")
    if variant == "paper":
        loss = paper_mean(dpo, weights, weight_sum)
    else:
        loss = bucket_sft_loss(dpo, weights, mean_weight=mean_weight, num_examples=num_pairs)
    if regularizer is not None:
        loss = loss + _over(lambda_offline * regularizer.sum(), num_pairs)
    if nll is not None:
        loss = loss + _over(gamma * nll.sum(), num_pairs)
    return loss


def _masked(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Put 0 where `mask` is false, whatever is there; ``torch.where`` would copy that 0 to the device, and wait."""
    return values.masked_fill(~mask, 0)


def _over(total: torch.Tensor, count: Number) -> torch.Tensor:
    """Divide a sum by a count of the global batch, which may be a tensor of another dtype."""
    return (total / count).to(total.dtype)


def _bounded_exp(exponents: torch.Tensor) -> torch.Tensor:
    """exp, in single precision at the least, that stays finite in the dtype of `exponents`."""
    dtype = exponents.dtype
    wide = exponents.to(torch.promote_types(dtype, torch.float32))
    return wide.clamp(max=_MAX_EXPONENT[dtype]).exp().to(dtype)
