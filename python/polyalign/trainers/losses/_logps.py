"""Log-probabilities of responses, from those of their tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from polyalign.trainers.losses._shared import masked


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
    kept = masked(token_logps, mask)
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
    return -masked(token_logps, mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


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
