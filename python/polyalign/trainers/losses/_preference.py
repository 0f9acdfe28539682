"""Losses of preference pairs, one value a pair: those of TRL's ``DPOTrainer``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from polyalign.trainers.losses._logps import PairLogps

DIVERGENCES = ("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence")

# The largest exponent whose exponential, cast back, is finite.
_MAX_EXPONENT = {torch.float16: 11.0, torch.bfloat16: 80.0, torch.float32: 80.0, torch.float64: 700.0}


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


def _bounded_exp(exponents: torch.Tensor) -> torch.Tensor:
    """exp, in single precision at the least, that stays finite in the dtype of `exponents`."""
    dtype = exponents.dtype
    wide = exponents.to(torch.promote_types(dtype, torch.float32))
    return wide.clamp(max=_MAX_EXPONENT[dtype]).exp().to(dtype)
