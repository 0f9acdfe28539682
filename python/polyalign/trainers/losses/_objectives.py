"""The objectives over a global batch, put together of the terms."""

from __future__ import annotations

import torch

from polyalign.trainers.losses._shared import Number, Variant, masked, over


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
    return over((weights.to(nll.dtype) / mean_weight * nll).sum(), num_examples)


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
    totals = masked(token_logps, mask.bool()).sum(dim=1)
    return over(-(weights.to(totals.dtype) * totals).sum(), weighted_tokens)


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
    return over((weights * values).sum(), weights.sum() if weight_sum is None else weight_sum)


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
        loss = loss + over(lambda_offline * regularizer.sum(), num_pairs)
    if nll is not None:
        loss = loss + over(gamma * nll.sum(), num_pairs)
    return loss
