"""`polyalign.trainers.losses`: every function against its formula in numpy, its gradient, what must not change it."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

torch: Any = pytest.importorskip("torch", reason="torch is not installed: pip install 'polyalign[train]'")

from polyalign.trainers import losses  # noqa: E402

Array = np.ndarray

# A busy machine may take its time over an example.
properties = settings(deadline=None, max_examples=40)

logprobs = st.floats(-12, 0)
positive = st.floats(0.1, 10)
unscored = st.floats(0, 5) | st.just(math.nan)

LOSSES_AND_DIVERGENCES = [  # those that are defined
    (loss_type, divergence)
    for loss_type, divergence in itertools.product(losses.LOSS_TYPES, losses.DIVERGENCES)
    if divergence == "reverse_kl" or loss_type in losses.DIVERGENCE_LOSS_TYPES
]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def double(values: Any) -> Any:
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def vectors(count: int, elements: st.SearchStrategy[float], rows: int = 6) -> st.SearchStrategy[list[Array]]:
    """`count` arrays of one length."""
    sizes = st.integers(1, rows)
    return sizes.flatmap(lambda size: st.lists(hnp.arrays(np.float64, size, elements=elements), **exactly(count)))


def exactly(count: int) -> dict[str, int]:
    return {"min_size": count, "max_size": count}


@st.composite
def pairs(draw: st.DrawFn) -> losses.PairLogps:
    """Log-probabilities of up to six pairs, in double precision."""
    n = draw(st.integers(1, 6))
    logps = [double(draw(hnp.arrays(np.float64, n, elements=logprobs))) for _ in range(4)]
    lengths = [torch.tensor(draw(hnp.arrays(np.int64, n, elements=st.integers(0, 9)))) for _ in range(2)]
    return losses.PairLogps(*logps, *lengths)


@st.composite
def tokens(draw: st.DrawFn, *, even: bool = True) -> tuple[Array, Array]:
    """Log-probabilities of the tokens of responses that follow a prompt, and their mask."""
    rows = draw(st.integers(1, 4)) * (2 if even else 1)
    width = draw(st.integers(1, 8))
    logps = draw(hnp.arrays(np.float64, (rows, width), elements=logprobs))
    starts, ends = (draw(hnp.arrays(np.int64, (rows, 1), elements=st.integers(0, width))) for _ in range(2))
    place = np.arange(width)
    return logps, (place >= starts) & (place < ends)


@st.composite
def tables(draw: st.DrawFn, elements: st.SearchStrategy[float] = unscored) -> Array:
    """Scores of prompts × responses."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(2, 6)))
    return draw(hnp.arrays(np.float64, shape, elements=elements))


def close(ours: Any, theirs: Any, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=tolerance, atol=tolerance)


# ------------------------------------------------------------------------------------------- golden values


@pytest.mark.shared
def test_golden_losses_and_gradients(shared: Path) -> None:
    cases = json.loads((shared / "golden" / "hdpo_loss.json").read_text(encoding="utf-8"))["cases"]
    assert len(cases) >= 8
    for case in cases:
        chosen, rejected = (double(case[f"policy_{side}_logps"]).requires_grad_() for side in ("chosen", "rejected"))
        references = [double(case[f"ref_{side}_logps"]) for side in ("chosen", "rejected")]
        lengths = torch.ones(len(chosen))
        logps = losses.PairLogps(chosen, rejected, *references, lengths, lengths)
        scores = [double(case[f"{side}_scores"]) for side in ("chosen", "rejected")]
        dpo = losses.preference_loss(logps, "sigmoid", beta=case["beta"])
        expected = losses.regularizer(losses.margin("policy", logps), *scores, case["beta"])
        loss = losses.hdpo_loss(
            dpo,
            double(case["weights"]),
            expected,
            None,
            lambda_offline=case["reg_lambda"],
            gamma=0.0,
            mean_weight=1.0,
            num_pairs=len(chosen),
            variant="paper",
        )
        loss.backward()
        close(dpo, case["dpo_losses"])
        close(expected, case["regularizer"])
        close(loss, case["loss"])
        close(chosen.grad, case["grad_chosen"])
        close(rejected.grad, case["grad_rejected"])


# ------------------------------------------------------------------------------------------- log-probabilities


@properties
@given(tokens(), st.none() | st.floats(0, 1))
def test_response_logps(batch: tuple[Array, Array], ld_alpha: float | None) -> None:
    logps, mask = batch
    half = len(logps) // 2
    expected = []
    for row in range(len(logps)):
        shared = min(mask[row % half].sum(), mask[row % half + half].sum())
        of_response = logps[row][mask[row]]
        beyond = 1.0 if ld_alpha is None else ld_alpha
        expected.append(of_response[:shared].sum() + beyond * of_response[shared:].sum())
    close(losses.response_logps(double(logps), torch.tensor(mask), ld_alpha), expected)


@properties
@given(tokens(even=False))
def test_mean_nll(batch: tuple[Array, Array]) -> None:
    logps, mask = batch
    expected = [-row[kept].mean() if kept.any() else 0.0 for row, kept in zip(logps, mask, strict=True)]
    close(losses.mean_nll(double(logps), torch.tensor(mask)), expected)


@properties
@given(tokens(), st.randoms(use_true_random=False))
def test_wpo_weights(batch: tuple[Array, Array], random: Any) -> None:
    logps, mask = batch
    squares = -np.array([[random.random() * 5 for _ in row] for row in logps])
    alone = [np.exp((p - s)[m].mean()) if m.any() else 1.0 for p, s, m in zip(logps, squares, mask, strict=True)]
    half = len(alone) // 2
    weights = losses.wpo_weights(double(logps).requires_grad_(), double(squares), torch.tensor(mask))
    close(weights, np.array(alone[:half]) * alone[half:])
    assert not weights.requires_grad


@properties
@given(tokens(even=False))
def test_sft_loss(batch: tuple[Array, Array]) -> None:
    logps, mask = batch
    weights = rng().uniform(0.5, 3, len(logps))
    total = (weights[:, None] * mask).sum()
    expected = -(weights[:, None] * logps * mask).sum() / max(total, 1)
    ours = losses.sft_loss(double(logps), torch.tensor(mask), double(weights), weighted_tokens=max(total, 1))
    close(ours, expected)


@properties
@given(tokens(even=False), st.floats(0.1, 5))
def test_token_loss(batch: tuple[Array, Array], size: float) -> None:
    logps, mask = batch
    weights = np.abs(np.sin(np.arange(logps.size))).reshape(logps.shape) * mask
    found = losses.token_loss(double(logps), double(weights), size)
    close(found, -(weights * logps).sum() / size)
    dft = losses.token_loss(double(logps), double(weights), size, dft=True)
    close(dft, -(weights * logps * np.exp(logps)).sum() / size)


def test_token_loss_is_bucket_sft_in_any_layout() -> None:
    random = rng()
    logps, mask = -random.random((3, 5)), np.array([[1] * 5, [1, 1, 0, 0, 0], [0, 1, 1, 1, 0]])
    weights, mean = np.array([2.0, 0.5, 1.0]), 1.3
    per_token = weights[:, None] / mean / mask.sum(axis=1, keepdims=True) * mask
    whole = losses.bucket_sft_loss(
        losses.mean_nll(double(logps), torch.tensor(mask)), double(weights), mean_weight=mean, num_examples=3
    )
    close(losses.token_loss(double(logps), double(per_token), 3), whole)
    packed = mask.astype(bool)
    close(losses.token_loss(double(logps[packed])[None], double(per_token[packed])[None], 3), whole)


@pytest.mark.parametrize("garbage", [math.nan, -math.inf])
@pytest.mark.parametrize("mask_dtype", [torch.bool, torch.int64, torch.float32])
def test_what_the_mask_hides_has_no_effect(garbage: float, mask_dtype: Any) -> None:
    mask = torch.tensor([[0, 1, 1, 0], [0, 1, 0, 0]], dtype=mask_dtype)
    logps = torch.full((2, 4), -1.5, dtype=torch.float64).masked_fill(~mask.bool(), garbage).requires_grad_()
    ones = torch.ones(2, dtype=torch.float64)
    values = [
        losses.response_logps(logps, mask),
        losses.response_logps(logps, mask, 0.5),
        losses.mean_nll(logps, mask),
        losses.sft_loss(logps, mask, ones, weighted_tokens=3),
    ]
    assert [value.tolist() for value in values] == [[-3, -1.5], [-2.25, -1.5], [1.5, 1.5], 1.5]
    assert losses.wpo_weights(logps, logps, mask).tolist() == [1]
    sum(value.sum() for value in values).backward()
    assert logps.grad.isfinite().all()
    assert (logps.grad[~mask.bool()] == 0).all()


def test_pairs_need_an_even_number_of_rows() -> None:
    with pytest.raises(ValueError, match="3 rows"):
        losses.response_logps(torch.zeros(3, 2), torch.ones(3, 2))


# ------------------------------------------------------------------------------------------- preference losses


def log_sigmoid(x: Array) -> Array:
    return -np.logaddexp(0, -x)


def sigmoid(x: Array) -> Array:
    return np.exp(log_sigmoid(x))


def divergence_oracle(ratios: Array, divergence: str, alpha: float) -> Array:
    """f'(u) of the divergence's generator at u = π/π_ref."""
    u = np.exp(ratios)
    return {
        "reverse_kl": lambda: np.log(u),
        "forward_kl": lambda: 1 - 1 / u,
        "js_divergence": lambda: np.log(2 * u / (1 + u)),
        "alpha_divergence": lambda: np.log(u) if alpha == 1 else (u ** (alpha - 1) - 1) / (alpha - 1),
    }[divergence]()


def loss_oracle(logps: losses.PairLogps, loss_type: str, divergence: str, **options: float) -> Array:
    """The formulas of the papers, written out."""
    beta, epsilon, tau = (options[name] for name in ("beta", "label_smoothing", "discopop_tau"))
    alpha = options["f_alpha_divergence_coef"]
    chosen, rejected, ref_chosen, ref_rejected, *lengths = (
        getattr(logps, name).detach().numpy() for name in losses.PairLogps.__dataclass_fields__
    )
    win, lose = chosen - ref_chosen, rejected - ref_rejected
    chosen_score, rejected_score = (divergence_oracle(ratios, divergence, alpha) for ratios in (win, lose))
    x = beta * (chosen_score - rejected_score)
    chosen_length, rejected_length = (np.maximum(length, 1) for length in lengths)
    per_token = chosen_score / chosen_length - rejected_score / rejected_length

    def smoothed(t: Array) -> Array:
        return -log_sigmoid(beta * t) * (1 - epsilon) - log_sigmoid(-beta * t) * epsilon

    q = sigmoid(x / tau)
    formulas: dict[str, Callable[[], Array]] = {
        "sigmoid": lambda: -log_sigmoid(x),
        "sigmoid_norm": lambda: -log_sigmoid(beta * per_token),
        "hinge": lambda: np.maximum(0, 1 - x),
        "ipo": lambda: (per_token - 1 / (2 * beta)) ** 2,
        "exo_pair": lambda: (
            sigmoid(x) * (log_sigmoid(x) - np.log(1 - epsilon)) + sigmoid(-x) * (log_sigmoid(-x) - np.log(epsilon))
        ),
        "robust": lambda: (-(1 - epsilon) * log_sigmoid(x) + epsilon * log_sigmoid(-x)) / (1 - 2 * epsilon),
        "discopop": lambda: -log_sigmoid(x) * (1 - q) + np.exp(-x) * q,
        "nca_pair": lambda: -log_sigmoid(beta * win) - 0.5 * log_sigmoid(-beta * win) - 0.5 * log_sigmoid(-beta * lose),
        "bco_pair": lambda: -log_sigmoid(beta * win) - log_sigmoid(-beta * lose),
        "sppo_hard": lambda: (win - 1 / (2 * beta)) ** 2 + (lose + 1 / (2 * beta)) ** 2,
        "aot": lambda: smoothed(np.sort(chosen - rejected) - np.sort(ref_chosen - ref_rejected)),
        "aot_unpaired": lambda: smoothed(np.sort(win) - np.sort(lose)),
        "apo_zero": lambda: 1 - sigmoid(beta * win) + sigmoid(beta * lose),
        "apo_down": lambda: sigmoid(beta * win) + 1 - sigmoid(beta * (win - lose)),
    }
    return formulas[loss_type]()


def loss_options() -> st.SearchStrategy[dict[str, float]]:
    return st.fixed_dictionaries(
        {
            "beta": st.floats(0.01, 1),
            "label_smoothing": st.floats(0.01, 0.4),
            "discopop_tau": st.floats(0.05, 1),
            "f_alpha_divergence_coef": st.sampled_from([0.3, 0.5, 1, 1.5]),
        }
    )


@pytest.mark.parametrize(("loss_type", "divergence"), LOSSES_AND_DIVERGENCES)
@settings(deadline=None, max_examples=20)
@given(pairs(), loss_options())
def test_preference_losses_are_the_papers(
    loss_type: str, divergence: str, logps: losses.PairLogps, options: dict[str, float]
) -> None:
    ours = losses.preference_loss(logps, loss_type, f_divergence_type=divergence, **options)
    with np.errstate(over="ignore", invalid="ignore"):
        oracle = loss_oracle(logps, loss_type, divergence, **options)
    assert ours.shape == logps.chosen.shape
    finite = np.isfinite(oracle)
    assert finite.all() or loss_type == "discopop"  # written out, it is 0·∞ for pairs far the wrong way round
    np.testing.assert_allclose(ours.numpy()[finite], oracle[finite], rtol=1e-8, atol=1e-9)


def random_pairs(n: int = 5, *, seed: int = 0, spread: float = 2.0, dtype: Any = None) -> losses.PairLogps:
    """Distinct log-probabilities, with gradient for the policy's."""
    values = [torch.tensor(row) for row in rng(seed).normal(-12, spread, (4, n))]
    values = [value.to(dtype or torch.float64).requires_grad_(place < 2) for place, value in enumerate(values)]
    lengths = [torch.tensor(row) for row in rng(seed).integers(2, 9, (2, n))]
    return losses.PairLogps(*values, *lengths)


@pytest.mark.parametrize(("loss_type", "divergence"), LOSSES_AND_DIVERGENCES)
def test_gradients_of_preference_losses(loss_type: str, divergence: str) -> None:
    logps = random_pairs()

    def loss(chosen: Any, rejected: Any) -> Any:
        moved = losses.PairLogps(
            chosen, rejected, logps.ref_chosen, logps.ref_rejected, logps.chosen_lengths, logps.rejected_lengths
        )
        return losses.preference_loss(
            moved, loss_type, beta=0.3, label_smoothing=0.1, f_divergence_type=divergence, discopop_tau=0.5
        )

    assert torch.autograd.gradcheck(loss, (logps.chosen, logps.rejected))


# But for the square of an exponential, which does overflow.
FINITE = [pair for pair in LOSSES_AND_DIVERGENCES if pair not in (("ipo", "forward_kl"), ("ipo", "alpha_divergence"))]


@pytest.mark.parametrize(("loss_type", "divergence"), FINITE)
@pytest.mark.parametrize("ratio", [-200.0, 200.0])
def test_far_pairs_have_finite_losses_and_gradients(loss_type: str, divergence: str, ratio: float) -> None:
    far = [torch.tensor([-300.0 + ratio / 2]), torch.tensor([-300.0 - ratio / 2])]
    policy = [value.requires_grad_() for value in far]
    ones = torch.ones(1)
    logps = losses.PairLogps(*policy, torch.tensor([-300.0]), torch.tensor([-300.0]), 100 * ones, 80 * ones)
    loss = losses.preference_loss(logps, loss_type, beta=1.0, label_smoothing=0.1, f_divergence_type=divergence)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert all(value.grad.isfinite().all() for value in policy)


def test_smoothing_and_divergences_where_they_are_not_defined() -> None:
    logps = random_pairs()
    refused = [
        ({"loss_type": "sft"}, "loss_type is 'sft'"),
        ({"loss_type": "exo_pair"}, "label_smoothing is 0.0"),
        ({"loss_type": "robust", "label_smoothing": 0.5}, "label_smoothing is 0.5"),
        ({"loss_type": "nca_pair", "f_divergence_type": "forward_kl"}, "'nca_pair' is defined for"),
        ({"loss_type": "sigmoid", "f_divergence_type": "kl"}, "f_divergence_type is 'kl'"),
    ]
    for options, message in refused:
        with pytest.raises(ValueError, match=message):
            losses.preference_loss(logps, beta=0.1, **options)


# ------------------------------------------------------------------------------------------- regulariser


@properties
@given(pairs())
def test_margins(logps: losses.PairLogps) -> None:
    chosen, rejected, ref_chosen, ref_rejected, *lengths = (
        getattr(logps, name).numpy() for name in losses.PairLogps.__dataclass_fields__
    )
    long, short = (np.maximum(length, 1) for length in lengths)
    close(losses.margin("policy", logps), chosen - rejected)
    close(losses.margin("reward", logps), (chosen - ref_chosen) - (rejected - ref_rejected))
    close(losses.margin("policy_per_token", logps), chosen / long - rejected / short)
    close(losses.margin("reward_per_token", logps), (chosen - ref_chosen) / long - (rejected - ref_rejected) / short)


def test_an_unknown_margin_is_refused() -> None:
    with pytest.raises(ValueError, match="margin is 'ratio'"):
        losses.margin("ratio", random_pairs())


@properties
@given(vectors(3, st.floats(0, 5)), st.floats(0.01, 3))
def test_regularizer(values: list[Array], kappa: float) -> None:
    m, chosen, rejected = values[0] - 2.5, *values[1:]
    p = sigmoid(kappa * m)
    margin = double(m).requires_grad_()
    ours = losses.regularizer(margin, double(chosen), double(rejected), kappa)
    close(ours, p * chosen + (1 - p) * rejected)
    ours.sum().backward()
    close(margin.grad, kappa * p * (1 - p) * (chosen - rejected))


@pytest.mark.parametrize("kind", losses.MARGINS)
def test_gradients_of_the_regularizer(kind: str) -> None:
    logps = random_pairs()
    scores = [double(row) for row in rng().uniform(0, 5, (2, 5))]

    def regularizer(chosen: Any, rejected: Any) -> Any:
        moved = losses.PairLogps(
            chosen, rejected, logps.ref_chosen, logps.ref_rejected, logps.chosen_lengths, logps.rejected_lengths
        )
        return losses.regularizer(losses.margin(kind, moved), *scores, 0.5)

    assert torch.autograd.gradcheck(regularizer, (logps.chosen, logps.rejected))


def test_a_pair_without_a_score_is_left_out_of_the_regularizer() -> None:
    margin = double([0.5, 0.5, 0.5, 0.5]).requires_grad_()
    chosen, rejected = double([1.0, math.nan, 1.0, math.nan]), double([2.0, 2.0, math.nan, math.nan])
    value = losses.regularizer(margin, chosen, rejected, 1.0)
    value.sum().backward()
    assert value[1:].tolist() == [0, 0, 0]
    assert margin.grad[1:].tolist() == [0, 0, 0]
    assert value[0] > 1
    assert margin.grad[0] < 0


# ------------------------------------------------------------------------------------------- online term


def advantages_oracle(scores: Array) -> Array:
    result = np.zeros_like(scores)
    for prompt, place in np.ndindex(*scores.shape):
        others = np.delete(scores[prompt], place)
        others = others[~np.isnan(others)]
        if len(others) and not np.isnan(scores[prompt, place]):
            result[prompt, place] = scores[prompt, place] - others.mean()
    return result


@properties
@given(tables())
def test_advantages(scores: Array) -> None:
    ours = losses.advantages(double(scores).requires_grad_())
    close(ours, advantages_oracle(scores))
    assert not ours.requires_grad
    close(ours.sum(dim=1), 0)


@properties
@given(tables(st.floats(0, 5)), st.floats(-100, 100), st.randoms(use_true_random=False))
def test_advantages_do_not_change_with_shift_or_order(scores: Array, shift: float, random: Any) -> None:
    ours = losses.advantages(double(scores))
    close(losses.advantages(double(scores + shift)), ours.numpy())
    order = random.sample(range(scores.shape[1]), scores.shape[1])
    close(losses.advantages(double(scores[:, order])), ours.numpy()[:, order], 1e-12)


@properties
@given(st.floats(0, 5), st.integers(2, 8))
def test_equal_scores_have_no_advantage_at_all(score: float, k: int) -> None:
    assert not losses.advantages(torch.full((3, k), score)).any()


@pytest.mark.parametrize("scores", [[[3.0, math.nan, math.nan]], [[math.nan] * 3], [[3.0]]])
def test_fewer_than_two_scores_say_nothing(scores: list[list[float]]) -> None:
    assert not losses.advantages(double(scores)).any()


@properties
@given(tables(), st.integers(1, 20))
def test_online_surrogate(scores: Array, num_prompts: int) -> None:
    logps = rng().normal(-9, 3, scores.shape)
    with_gradient = double(logps).requires_grad_()
    ours = losses.online_surrogate(double(scores), with_gradient, num_prompts)
    expected = advantages_oracle(scores) / (scores.shape[1] * num_prompts)
    close(ours, (expected * logps).sum())
    ours.backward()
    close(with_gradient.grad, expected)
    whole = losses.online_surrogate(double(scores), double(logps))
    close(whole * len(scores), ours.item() * num_prompts)


def test_online_surrogate_of_no_prompt_is_nothing() -> None:
    logps = torch.zeros(0, 2, requires_grad=True)
    for num_prompts in (None, 4):
        assert losses.online_surrogate(torch.zeros(0, 2), logps, num_prompts).item() == 0


def test_online_surrogate_needs_a_baseline_and_one_shape() -> None:
    with pytest.raises(ValueError, match="1 responses a prompt"):
        losses.online_surrogate(torch.ones(3, 1), torch.ones(3, 1))
    with pytest.raises(ValueError, match="one shape"):
        losses.online_surrogate(torch.ones(3, 2), torch.ones(2, 3))


# ------------------------------------------------------------------------------------------- global batches


def hdpo_oracle(
    dpo: Array, weights: Array, expected: Array, nll: Array, *, variant: str, lam: float, gamma: float, mean: float
) -> float:
    total = 0.0
    for i in range(len(dpo)):
        factor = weights[i] / weights.sum() if variant == "paper" else weights[i] / mean / len(dpo)
        total += factor * dpo[i] + (lam * expected[i] + gamma * nll[i]) / len(dpo)
    return total


@properties
@given(vectors(4, positive), positive, st.floats(0, 1), st.floats(0, 1), st.sampled_from(["default", "paper"]))
def test_hdpo_loss(values: list[Array], mean: float, lam: float, gamma: float, variant: Any) -> None:
    dpo, weights, expected, nll = (double(value) for value in values)
    options = {"mean_weight": mean, "num_pairs": len(dpo), "variant": variant}
    ours = losses.hdpo_loss(dpo, weights, expected, nll, lambda_offline=lam, gamma=gamma, **options)
    close(ours, hdpo_oracle(*values, variant=variant, lam=lam, gamma=gamma, mean=mean))
    without = losses.hdpo_loss(dpo, weights, None, None, lambda_offline=lam, gamma=gamma, **options)
    close(without, hdpo_oracle(*values, variant=variant, lam=0, gamma=0, mean=mean))


def shares_of(
    values: Sequence[Any], cuts: Sequence[int], *, variant: Any = "default", of_batch: bool = True
) -> list[Any]:
    """What every micro-batch contributes when the batch is cut at `cuts`."""
    weights = values[1]
    totals = {"mean_weight": 1.7, "num_pairs": len(weights), "weight_sum": weights.sum() if of_batch else None}
    ends = sorted({0, *cuts, len(weights)})
    return [
        losses.hdpo_loss(
            *(value[start:end] for value in values), lambda_offline=0.3, gamma=0.2, variant=variant, **totals
        )
        for start, end in itertools.pairwise(ends)
    ]


@properties
@given(vectors(4, positive, rows=8), st.lists(st.integers(0, 8)), st.sampled_from(["default", "paper"]))
def test_shares_of_any_split_add_up_to_the_whole(values: list[Array], cuts: list[int], variant: Any) -> None:
    inside = [cut for cut in cuts if cut < len(values[0])]
    batch = [double(value).requires_grad_() for value in values]
    whole, split = (sum(shares_of(batch, places, variant=variant)) for places in ([], inside))
    close(split, whole.item())
    gradients = [torch.autograd.grad(total, [batch[0], *batch[2:]]) for total in (whole, split)]
    for ours, theirs in zip(*gradients, strict=True):
        close(ours, theirs.numpy())


def test_weights_vanish_where_each_micro_batch_divides_by_its_own() -> None:
    batch = [double(value) for value in ([1.0, 5.0], [3.0, 1.0], [0.0, 0.0], [0.0, 0.0])]
    alone, whole = (sum(shares_of(batch, [1], variant="paper", of_batch=of_batch)) for of_batch in (False, True))
    assert alone.item() == 6  # weights of 3 and 1 have no effect
    assert whole.item() == 2  # (3·1 + 1·5)/4


@properties
@given(vectors(2, positive, rows=8), st.lists(st.integers(0, 8)), positive)
def test_sft_losses(values: list[Array], cuts: list[int], scale: float) -> None:
    nll, weights = values
    ends = sorted({0, *(cut for cut in cuts if cut < len(nll)), len(nll)})
    parts = [(double(nll[start:end]), double(weights[start:end])) for start, end in itertools.pairwise(ends)]
    mean, total = weights.mean(), weights.sum()
    macro = (weights * nll).sum() / total
    close(sum(losses.bucket_sft_loss(*part, mean_weight=mean, num_examples=len(nll)) for part in parts), macro)
    close(sum(losses.paper_mean(*part, weight_sum=total) for part in parts), macro)
    close(losses.paper_mean(double(nll), double(scale * weights)), macro)
    scaled = losses.bucket_sft_loss(
        double(nll), double(scale * weights), mean_weight=scale * mean, num_examples=len(nll)
    )
    close(scaled, macro)


@properties
@given(tokens(even=False), st.integers(0, 4))
def test_shares_of_the_loss_by_token_add_up(batch: tuple[Array, Array], cut: int) -> None:
    logps, mask, weights = double(batch[0]), torch.tensor(batch[1]), double(rng().uniform(0.5, 3, len(batch[0])))
    cut = min(cut, len(logps))
    total = (weights[:, None] * mask).sum().clamp(min=1)
    whole = losses.sft_loss(logps, mask, weights, weighted_tokens=total)
    parts = [
        losses.sft_loss(logps[rows], mask[rows], weights[rows], weighted_tokens=total)
        for rows in (slice(cut), slice(cut, None))
    ]
    close(sum(parts), whole.item())


def test_gradients_of_the_batch_losses() -> None:
    dpo, weights, expected, nll = (double(row).requires_grad_() for row in rng().uniform(0.5, 3, (4, 5)))
    options = {"lambda_offline": 0.3, "gamma": 0.2, "mean_weight": 1.3, "num_pairs": 7}
    for variant in ("default", "paper"):
        assert torch.autograd.gradcheck(
            lambda *terms, variant=variant: losses.hdpo_loss(
                terms[0], weights.detach(), *terms[1:], **options, variant=variant, weight_sum=9.0
            ),
            (dpo, expected, nll),
        )
    logps = double(rng().normal(-3, 1, (4, 6))).requires_grad_()
    mask = torch.tensor(rng().random((4, 6)) < 0.7)
    weights = weights.detach()[:4]
    functions = [
        lambda x: losses.response_logps(x, mask),
        lambda x: losses.response_logps(x, mask, 0.4),
        lambda x: losses.mean_nll(x, mask),
        lambda x: losses.sft_loss(x, mask, weights, weighted_tokens=11.0),
        lambda x: losses.bucket_sft_loss(losses.mean_nll(x, mask), weights, mean_weight=1.3, num_examples=7),
        lambda x: losses.paper_mean(losses.mean_nll(x, mask), weights),
        lambda x: losses.online_surrogate(double(rng().random((4, 6))), x, 5),
    ]
    for function in functions:
        assert torch.autograd.gradcheck(function, (logps,))


def test_an_unknown_variant_is_refused() -> None:
    ones = torch.ones(2)
    with pytest.raises(ValueError, match="variant is 'papers'"):
        losses.hdpo_loss(
            ones, ones, None, None, lambda_offline=0, gamma=0, mean_weight=1, num_pairs=2, variant="papers"
        )


# ------------------------------------------------------------------------------------------- dtypes and devices


def everything(dtype: Any, device: str = "cpu") -> dict[str, Any]:
    """Every function, on tensors of `dtype`; critic's scores and weights are float32 and float64, as they come."""
    policy = torch.randn(4, 6, dtype=dtype, device=device)
    mask = torch.ones(4, 6, dtype=torch.int64, device=device)
    scores, table = torch.ones(2, device=device), torch.ones(2, 6, device=device)
    weights = torch.ones(2, dtype=torch.float64, device=device)
    total = torch.ones((), dtype=torch.float64, device=device)
    chosen, rejected = losses.response_logps(policy, mask, 0.5).chunk(2)
    logps = losses.PairLogps(chosen, rejected, rejected, chosen, mask[:2].sum(dim=1), mask[2:].sum(dim=1))
    nll = losses.mean_nll(policy[:2], mask[:2])
    results = {
        f"{loss_type} {divergence}": losses.preference_loss(
            logps, loss_type, beta=0.1, label_smoothing=0.1, f_divergence_type=divergence
        )
        for loss_type, divergence in LOSSES_AND_DIVERGENCES
    }
    for kind in losses.MARGINS:
        margin = losses.margin(kind, logps)
        results |= {kind: margin, f"regularizer {kind}": losses.regularizer(margin, scores, scores, 0.1)}
    for variant in ("default", "paper"):
        results[f"hdpo {variant}"] = losses.hdpo_loss(
            nll,
            weights,
            nll,
            nll,
            lambda_offline=0.1,
            gamma=0.1,
            mean_weight=total,
            num_pairs=total,
            weight_sum=total,
            variant=variant,
        )
    return results | {
        "logps": chosen,
        "nll": nll,
        "wpo": losses.wpo_weights(policy, policy, mask),
        "online": losses.online_surrogate(table, policy[:2], total),
        "bucket_sft": losses.bucket_sft_loss(nll, weights, mean_weight=total, num_examples=total),
        "paper_mean": losses.paper_mean(nll, weights),
        "sft": losses.sft_loss(policy[:2], mask[:2], weights, weighted_tokens=total),
    }


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_results_have_the_callers_dtype(dtype: Any) -> None:
    assert {name: value.dtype for name, value in everything(dtype).items() if value.dtype != dtype} == {}


def test_nothing_waits_for_the_device() -> None:
    # A meta tensor has no values: whatever reads one on the host raises.
    results = everything(torch.float32, "meta")
    assert {value.device.type for value in results.values()} == {"meta"}
    with pytest.raises((RuntimeError, NotImplementedError)):
        results["online"].item()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_nothing_waits_for_a_gpu() -> None:
    torch.cuda.set_sync_debug_mode("error")
    try:
        results = everything(torch.float32, "cuda")
        with pytest.raises(RuntimeError, match="synchroniz"):
            results["online"].item()
    finally:
        torch.cuda.set_sync_debug_mode("default")
