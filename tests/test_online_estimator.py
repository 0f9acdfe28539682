"""The online surrogate's expected gradient is that of the mean expected score: on a policy small enough to sum over.

The policy writes one of three tokens, the last of which ends the text, at most three times. It is a table of logits for
every prompt and every beginning, so that all its texts, their probabilities and the exact gradient are known.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="torch is not installed: pip install 'polyalign[train]'")

from polyalign.trainers import losses  # noqa: E402

PROMPTS, TOKENS, LONGEST, END = 3, 3, 3, 2
DRAWS = 20_000

BEGINNINGS = [text for length in range(LONGEST) for text in itertools.product(range(END), repeat=length)]
TEXTS = [
    (*beginning, token)
    for beginning in BEGINNINGS
    for token in range(TOKENS)
    if token == END or len(beginning) == LONGEST - 1
]

Surrogate = Callable[[Any, Any], Any]


def text_logps(logits: Any, *, skip_end: bool = False) -> Any:
    """log π of every text for every prompt, the token that ends it included; shape [prompts, texts]."""
    logps = logits.log_softmax(dim=-1)
    columns = []
    for text in TEXTS:
        steps = [(BEGINNINGS.index(text[:place]), token) for place, token in enumerate(text)]
        kept = [step for step in steps if not (skip_end and step[1] == END)]
        columns.append(sum((logps[:, state, token] for state, token in kept), start=0 * logps[:, 0, 0]))
    return torch.stack(columns, dim=1)


@functools.cache
def problem() -> tuple[Any, Any, Any]:
    """Logits of the policy, scores of the texts, and the exact gradient of the mean expected score."""
    generator = np.random.default_rng(5)
    logits = torch.tensor(generator.normal(0, 0.7, (PROMPTS, len(BEGINNINGS), TOKENS)))
    # Scores far from 0, as the critic's are: without a baseline that is mostly noise.
    scores = torch.tensor(3 + generator.exponential(1, (PROMPTS, len(TEXTS))))
    with_gradient = logits.clone().requires_grad_()
    expected = (text_logps(with_gradient).exp() * scores).sum(dim=1).mean()
    (exact,) = torch.autograd.grad(expected, with_gradient)
    return logits, scores, exact


def estimates(surrogate: Surrogate, k: int, *, skip_end: bool = False) -> Any:
    """Gradients of the surrogate for many draws of k texts a prompt; shape [draws, parameters]."""
    logits, scores, _ = problem()
    generator = torch.Generator().manual_seed(k)
    probabilities = text_logps(logits).exp()
    drawn = torch.multinomial(probabilities, DRAWS * k, replacement=True, generator=generator)
    drawn = drawn.view(PROMPTS, DRAWS, k).transpose(0, 1)

    def value(logits: Any, places: Any) -> Any:
        logps = text_logps(logits, skip_end=skip_end).gather(1, places)
        # A critic that shares weights with the policy has a gradient too, which must not get in.
        attached = scores.gather(1, places) + (logps - logps.detach())
        return surrogate(attached, logps)

    gradients = torch.func.vmap(torch.func.grad(value), in_dims=(None, 0))(logits, drawn)
    return gradients.flatten(1)


def standard_errors_off(gradients: Any) -> Any:
    """How many standard errors the mean of the draws is from the exact gradient, for every parameter."""
    exact = problem()[2].flatten()
    error = gradients.std(dim=0) / math.sqrt(len(gradients))
    return (gradients.mean(dim=0) - exact).abs() / error.clamp(min=1e-9)


def test_the_texts_are_all_that_the_policy_can_write() -> None:
    logits, scores, exact = problem()
    assert len(TEXTS) == len(set(TEXTS)) == 15
    torch.testing.assert_close(text_logps(logits).exp().sum(dim=1), torch.ones(PROMPTS, dtype=torch.float64))
    step = 1e-6
    for place in ((0, 0, 0), (2, 3, 1)):
        moved = [logits.clone() for _ in range(2)]
        moved[0][place] += step
        moved[1][place] -= step
        above, below = ((text_logps(table).exp() * scores).sum(dim=1).mean() for table in moved)
        assert (above - below) / (2 * step) == pytest.approx(exact[place].item(), rel=1e-5)


@pytest.mark.parametrize("k", [2, 4, 8])
def test_the_mean_of_many_draws_is_the_exact_gradient(k: int) -> None:
    off = standard_errors_off(estimates(losses.online_surrogate, k))
    assert off.max() < 4
    assert off.square().mean() < 2  # 1 is expected


def test_more_responses_are_less_noise() -> None:
    noise = [estimates(losses.online_surrogate, k).var(dim=0).sum().item() for k in (2, 4, 8)]
    assert noise[0] > 1.8 * noise[1] > 1.8**2 * noise[2]


def summed_over_responses(scores: Any, logps: Any) -> Any:
    return losses.online_surrogate(scores, logps) * scores.shape[1]


def summed_over_prompts(scores: Any, logps: Any) -> Any:
    return losses.online_surrogate(scores, logps, num_prompts=1)


def own_score_in_the_baseline(scores: Any, logps: Any) -> Any:
    scores = scores.detach()
    return ((scores - scores.mean(dim=1, keepdim=True)) * logps).mean()


def divided_by_standard_deviation(scores: Any, logps: Any) -> Any:
    scores = scores.detach()
    spread = scores.std(dim=1, keepdim=True) + 1e-4
    return (losses.advantages(scores) / spread * logps).mean()


def not_detached(scores: Any, logps: Any) -> Any:
    k = scores.shape[1]
    others = (scores.sum(dim=1, keepdim=True) - scores) / (k - 1)
    return ((scores - others) * logps).mean()


def likelier_where_further(scores: Any, logps: Any) -> Any:
    return -losses.online_surrogate(scores, logps)


def a_constant(scores: Any, logps: Any) -> Any:
    return scores.detach().mean() + 0 * logps.sum()


@pytest.mark.parametrize("k", [2, 4, 8])
@pytest.mark.parametrize(
    "wrong",
    [
        summed_over_responses,
        summed_over_prompts,
        own_score_in_the_baseline,
        divided_by_standard_deviation,
        not_detached,
        likelier_where_further,
        a_constant,
    ],
)
def test_a_wrong_surrogate_is_far_off(wrong: Surrogate, k: int) -> None:
    assert standard_errors_off(estimates(wrong, k)).max() > 8


@pytest.mark.parametrize("k", [2, 4, 8])
def test_without_the_end_of_sequence_it_is_far_off(k: int) -> None:
    assert standard_errors_off(estimates(losses.online_surrogate, k, skip_end=True)).max() > 8


def test_descending_on_it_lowers_the_expected_score() -> None:
    logits, scores, _ = problem()
    logits = logits.clone().requires_grad_()
    generator = torch.Generator().manual_seed(0)

    def expected() -> float:
        return (text_logps(logits.detach()).exp() * scores).sum(dim=1).mean().item()

    before = expected()
    for _ in range(300):
        logps = text_logps(logits)
        drawn = torch.multinomial(logps.detach().exp(), 4, replacement=True, generator=generator)
        (gradient,) = torch.autograd.grad(
            losses.online_surrogate(scores.gather(1, drawn), logps.gather(1, drawn)), logits
        )
        with torch.no_grad():
            logits -= gradient
    best = float(scores.min(dim=1).values.mean())
    assert expected() - best < 0.25 * (before - best)
