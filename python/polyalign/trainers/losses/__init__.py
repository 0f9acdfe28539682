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

from polyalign.trainers.losses._logps import PairLogps, mean_nll, response_logps, wpo_weights
from polyalign.trainers.losses._objectives import bucket_sft_loss, hdpo_loss, paper_mean, sft_loss, token_loss
from polyalign.trainers.losses._online import advantages, online_surrogate
from polyalign.trainers.losses._preference import (
    DIVERGENCE_LOSS_TYPES,
    DIVERGENCES,
    LOSS_TYPES,
    divergence_scores,
    preference_loss,
)
from polyalign.trainers.losses._regularizer import MARGINS, margin, regularizer

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
