"""The online term: sampled responses, those closer to humans made likelier."""

from __future__ import annotations

import torch

from polyalign.trainers.losses._shared import Number, masked, over


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
    differences = masked(scores[:, :, None] - scores[:, None, :], both)
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
    return over(total, samples * (max(prompts, 1) if num_prompts is None else num_prompts))
