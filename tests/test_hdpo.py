"""HDPO: a step's gradient is that of the formula, term by term, however the batch is split."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl", reason="training needs polyalign[train]")

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.functional import logsigmoid
from trl import DPOConfig, DPOTrainer

import polyalign.trainers.hdpo as hdpo_module
import tiny
import training
from polyalign.trainers import HDPO, HDPOConfig, losses
from polyalign.trainers._online import Samples

SPLITS = [(4, 1), (2, 2), (1, 4)]
MARGINS = ["policy", "reward", "policy_per_token", "reward_per_token"]
OFFLINE = {"lambda_online": 0.0}
BETA, LAMBDA, GAMMA, ONLINE = 0.2, 1.3, 0.7, 0.9


class Words:
    """A critic: how far the number of letters is from twenty."""

    def __init__(self) -> None:
        self.calls = 0

    def score(self, responses: Any, buckets: Any) -> Any:
        self.calls += 1
        assert len(responses) == len(buckets)
        assert all(bucket in tiny.BUCKETS for bucket in buckets)
        return np.array([abs(len(response) - 20) / 10 for response in responses], dtype=np.float32)


@pytest.fixture(scope="module")
def data() -> Dataset:
    pairs = tiny.pairs(12)
    return pairs.add_column("weight", [round(0.3 + 0.23 * (at * 5 % 11), 3) for at in range(len(pairs))])


def step(data: Any, tmp_path: Path, split: tuple[int, int] = (4, 1), steps: int = 1, **settings: Any):
    size, accumulation = split
    critic = settings.pop("critic", None)
    own = {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulation, "max_steps": steps}
    terms = {"beta": BETA, "lambda_offline": LAMBDA, "gamma": GAMMA, **OFFLINE}
    return training.train(
        HDPO,
        HDPOConfig,
        tmp_path,
        model=tiny.model(dtype=torch.float64),
        settings={**own, **terms, **settings},
        train_dataset=data,
        ref_model=tiny.model(1, dtype=torch.float64),
        critic=critic,
    )


def expected(
    data: Dataset,
    *,
    margin: str = "policy",
    variant: str = "default",
    lambda_offline: float = LAMBDA,
    gamma: float = GAMMA,
    ld_alpha: float | None = None,
    online: Any = None,
    count: int = 4,
) -> Tensor:
    """The gradient of the first global batch."""
    rows, reference = training.rows(data, count), tiny.model(1, dtype=torch.float64)
    weights = torch.tensor([row["weight"] for row in rows], dtype=torch.float64)
    mean_weight = sum(data["weight"]) / len(data)
    kappa = BETA if not margin.endswith("per_token") else 2.0

    def terms(model: Any, row: Any) -> tuple[Tensor, Tensor, Tensor]:
        by = {}
        for name in ("chosen", "rejected"):
            logps = training.token_logps(model, row["prompt"], row[name])
            with torch.no_grad():
                ref = training.token_logps(reference, row["prompt"], row[name])
            by[name] = (logps, ref)
        shared = min(len(by["chosen"][0]), len(by["rejected"][0]))

        def total(tokens: Tensor) -> Tensor:
            return tokens.sum() if ld_alpha is None else tokens[:shared].sum() + ld_alpha * tokens[shared:].sum()

        delta = [total(logps) - total(ref) for logps, ref in by.values()]
        lengths = [len(logps) for logps, _ in by.values()]
        dpo = -logsigmoid(BETA * (delta[0] - delta[1]))
        sums = [logps.sum() for logps, _ in by.values()] if margin.startswith("policy") else delta
        if margin.endswith("per_token"):
            sums = [value / length for value, length in zip(sums, lengths, strict=True)]
        p = torch.sigmoid(kappa * (sums[0] - sums[1]))
        r = p * row["chosen_score"] + (1 - p) * row["rejected_score"]
        return dpo, r, -by["chosen"][0].mean()

    def loss(model: Any) -> Tensor:
        dpo, r, nll = (torch.stack(values) for values in zip(*(terms(model, row) for row in rows), strict=True))
        if variant == "paper":
            preference = (weights * dpo).sum() / weights.sum()
        else:
            preference = (weights / mean_weight * dpo).sum() / count
        whole = preference + (lambda_offline * r + gamma * nll).sum() / count
        return whole if online is None else whole + ONLINE * online(model, rows)

    return training.gradient_of(tiny.model(dtype=torch.float64), loss)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("split", SPLITS)
def test_gradient(data: Dataset, tmp_path: Path, split: tuple[int, int], margin: str) -> None:
    _, (found,) = step(data, tmp_path, split, margin=margin)
    assert training.error(found, expected(data, margin=margin)) < 1e-5


@pytest.mark.parametrize("split", SPLITS)
def test_paper(data: Dataset, tmp_path: Path, split: tuple[int, int]) -> None:
    _, (found,) = step(data, tmp_path, split, variant="paper")
    assert training.error(found, expected(data, variant="paper")) < 1e-5


@pytest.mark.parametrize("margin", MARGINS[:2])
def test_ld_alpha(data: Dataset, tmp_path: Path, margin: str) -> None:
    _, (found,) = step(data, tmp_path, (2, 2), ld_alpha=0.4, margin=margin)
    assert training.error(found, expected(data, margin=margin, ld_alpha=0.4)) < 1e-5


def test_precomputed(data: Dataset, tmp_path: Path) -> None:
    _, (found,) = step(data, tmp_path, (2, 2), precompute_ref_log_probs=True)
    assert training.error(found, expected(data)) < 1e-5


def test_batch_rebalance(data: Dataset, tmp_path: Path) -> None:
    """Length decides only the micro-batch: the gradient is that of the batch's rows, in any split."""
    trainer, (found,) = step(data, tmp_path, (2, 2), train_sampling_strategy="batch_rebalance")
    order = [at for batch in list(trainer._get_train_sampler())[:2] for at in batch]
    assert sorted(order) != order[:4] or len(order) == 4
    chosen = data.select(order + [at for at in range(len(data)) if at not in order])
    assert training.error(found, expected(chosen)) < 1e-5


# ----------------------------------------------------------------------------------------------------- online


def answers(prompts: list[list[int]], samples: int = 3) -> list[list[int]]:
    """Made-up responses, which depend on their prompt."""
    words = len(tiny.WORDS)
    return [
        [6 + (sum(prompt) * 7 + at * 11 + place * place * 3) % words for place in range(1 + (at * 2 + len(prompt)) % 5)]
        + [1]
        for prompt in prompts
        for at in range(samples)
    ]


def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    def sample(model: Any, accelerator: Any, prompts: Any, *_: Any) -> Samples:
        responses = answers(prompts)
        return Samples([prompt for prompt in prompts for _ in range(3)], responses, [False] * len(responses))

    monkeypatch.setattr(hdpo_module, "sample", sample)


def surrogate(model: Any, rows: list[dict[str, Any]]) -> Tensor:
    """(1/kP) Σ A_j log π(y_j) of the made-up responses."""
    total = torch.zeros((), dtype=torch.float64)
    tokenizer = tiny.tokenizer()
    for row in rows:
        ids, start = training.sequence(row["prompt"], row["chosen"])
        prompt = ids[:start].tolist()
        responses = answers([prompt])
        scores = [abs(len(tokenizer.decode(response, skip_special_tokens=True)) - 20) / 10 for response in responses]
        for at, response in enumerate(responses):
            others = scores[:at] + scores[at + 1 :]
            advantage = scores[at] - sum(others) / len(others)
            total = total + advantage * training.ids_logps(model, torch.tensor(prompt + response), len(prompt)).sum()
    return total / (3 * len(rows))


ONLINE_SETTINGS = {"max_new_tokens": 8, "lambda_online": ONLINE, "online_every": 1, "num_online_samples": 3}


@pytest.mark.parametrize("split", SPLITS)
def test_online_gradient(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: tuple[int, int]
) -> None:
    fixed(monkeypatch)
    _, (found,) = step(data, tmp_path, split, critic=Words(), **ONLINE_SETTINGS)
    assert training.error(found, expected(data, online=surrogate)) < 1e-5


@pytest.mark.parametrize("split", SPLITS)
def test_online_prompts_are_bounded(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: tuple[int, int]
) -> None:
    """Two prompts of four, the first of each micro-batch."""
    fixed(monkeypatch)
    trainer, (found,) = step(data, tmp_path, split, critic=Words(), online_prompts=2, **ONLINE_SETTINGS)
    places = {(4, 1): [0, 1], (2, 2): [0, 2], (1, 4): None}[split]
    if places is None:  # two of the four micro-batches of one row
        places = [at for at in range(4) if trainer._allot([{"bucket": [0]} for _ in range(4)])[at]]
        assert len(places) == 2

    def some(model: Any, rows: Any) -> Tensor:
        return surrogate(model, [rows[at] for at in places])

    assert training.error(found, expected(data, online=some)) < 1e-5


def _ranks(folder: Path) -> None:
    pairs = tiny.pairs(12)
    data = pairs.add_column("weight", [round(0.3 + 0.23 * (at * 5 % 11), 3) for at in range(len(pairs))])
    with pytest.MonkeyPatch.context() as monkeypatch:
        fixed(monkeypatch)
        for name, split, settings, _ in RANKED:
            given = {**settings, "critic": Words()} if "lambda_online" in settings else settings
            _, gradients = step(data, folder / "out", split, **given)
            training.save(folder, name, gradients)
    trainer, _ = step(data, folder / "out", (2, 1), learning_rate=0.0)
    found = trainer.evaluate(tiny.pairs(7, seed=3).add_column("weight", [1.5] * 7))
    training.save(folder, "evaluation", [torch.tensor([found["eval_loss"], found["eval_hdpo/regularizer"]])])


RANKED = [
    *((f"2x1 {margin}", (2, 1), {"margin": margin}, {"margin": margin}) for margin in MARGINS),
    ("1x2", (1, 2), {}, {}),
    ("paper", (1, 2), {"variant": "paper"}, {"variant": "paper"}),
    ("online", (1, 2), ONLINE_SETTINGS, {"online": surrogate}),
]


@pytest.mark.slow
def test_two_ranks(data: Dataset, tmp_path: Path) -> None:
    training.on_two_ranks(_ranks, tmp_path)
    for name, _, _, told in RANKED:
        assert training.error(training.load(tmp_path, name)[0], expected(data, **told)) < 1e-5, name
    trainer, _ = step(data, tmp_path / "one", learning_rate=0.0)
    alone = trainer.evaluate(tiny.pairs(7, seed=3).add_column("weight", [1.5] * 7))
    found = training.load(tmp_path, "evaluation")[0].tolist()
    assert found == pytest.approx([alone["eval_loss"], alone["eval_hdpo/regularizer"]], rel=1e-5)


# -------------------------------------------------------------------------------------------------------- defects


def normalised_by_micro_batch(patch: pytest.MonkeyPatch) -> None:
    right = HDPO.compute_loss

    def wrong(self: Any, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        inputs["weight"] = inputs["weight"] / inputs["weight"].mean() * self.weight_mean
        shares = {**num_items_in_batch, "pairs": torch.tensor(float(len(inputs["weight"])))}
        return right(self, model, inputs, return_outputs, shares) / self.args.gradient_accumulation_steps

    patch.setattr(HDPO, "compute_loss", wrong)


def replaced(name: str, wrong: Any) -> Any:
    def apply(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(losses, name, wrong)

    return apply


def times(name: str, factor: float) -> Any:
    right = getattr(losses, name)
    return replaced(name, lambda *given, **named: factor * right(*given, **named))


def unscaled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(HDPO, "loss_is_scaled_for_ga", False)


DEFECTS = {
    "9.1: each micro-batch by its own weights": normalised_by_micro_batch,
    "9.2: the online term is a constant": replaced(
        "online_surrogate", lambda scores, logps, num_prompts=None: scores.mean() + 0 * logps.sum()
    ),
    "divided by the accumulation steps again": unscaled,
    "preference twice": times("preference_loss", 2.0),
    "preference missing": times("preference_loss", 0.0),
    "regularizer twice": times("regularizer", 2.0),
    "regularizer missing": times("regularizer", 0.0),
    "nll twice": times("mean_nll", 2.0),
    "nll missing": times("mean_nll", 0.0),
    "online twice": times("online_surrogate", 2.0),
    "online missing": times("online_surrogate", 0.0),
    "online, a sum over samples": times("online_surrogate", 3.0),
    "no baseline": replaced("advantages", lambda scores: scores.detach()),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_seen(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    fixed(monkeypatch)
    DEFECTS[name](monkeypatch)
    _, (found,) = step(data, tmp_path, (1, 4), critic=Words(), **ONLINE_SETTINGS)
    assert training.error(found, expected(data, online=surrogate)) > 1e-2


# ------------------------------------------------------------------------------------------------------ TRL's own

PLAIN = {
    "lambda_offline": 0.0,
    "lambda_online": 0.0,
    "gamma": 0.0,
    "alpha": 0.0,
    "beta_w": 0.0,
    "gamma_l": 0.0,
    "eta": 0.0,
}


@pytest.mark.parametrize("loss", [["sigmoid"], ["ipo"], ["sigmoid", "sft"], ["aot"]])
def test_plain_is_trls_dpo(data: Dataset, tmp_path: Path, loss: list[str]) -> None:
    """With λ = λ_online = γ = 0 and unit weights: the same weights and losses, step for step."""
    pairs = data.remove_columns("weight")
    settings = {"per_device_train_batch_size": 4, "max_steps": 3, "learning_rate": 0.05, "loss_type": loss}
    both = [
        training.train(
            trainer,
            config,
            tmp_path,
            model=tiny.model(),
            ref_model=tiny.model(1),
            settings={**settings, **more},
            train_dataset=pairs,
        )[0]
        for trainer, config, more in ((DPOTrainer, DPOConfig, {}), (HDPO, HDPOConfig, PLAIN))
    ]
    for theirs, ours in zip(*(trainer.model.parameters() for trainer in both), strict=True):
        torch.testing.assert_close(ours, theirs)
    histories = (trainer.state.log_history[:-1] for trainer in both)
    for theirs, ours in zip(*histories, strict=True):
        assert {*theirs} <= {*ours}
        for name in theirs:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("split", [(1, 4), (2, 2)])
def test_plain_is_trls_single_large_batch(data: Dataset, tmp_path: Path, split: tuple[int, int]) -> None:
    """Micro-batches of one size: TRL's mean of means is the mean."""
    pairs, (size, accumulation) = data.remove_columns("weight"), split
    settings = {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulation, "max_steps": 2}
    found = [
        training.train(
            trainer,
            config,
            tmp_path,
            model=tiny.model(),
            ref_model=tiny.model(1),
            settings={**settings, "learning_rate": 0.05, **more},
            train_dataset=pairs,
        )[1]
        for trainer, config, more in ((DPOTrainer, DPOConfig, {}), (HDPO, HDPOConfig, PLAIN))
    ]
    for theirs, ours in zip(*found, strict=True):
        assert training.error(ours, theirs) < 1e-5


# ----------------------------------------------------------------------------------------------------------- logs


def test_logs_by_bucket(data: Dataset, tmp_path: Path) -> None:
    trainer, _ = step(data, tmp_path, (2, 2), learning_rate=0.0)
    rows, logged = training.rows(data, 4), trainer.state.log_history[0]
    model = tiny.model(dtype=torch.float64)
    for bucket in {row["bucket"] for row in rows}:
        inside = [row for row in rows if row["bucket"] == bucket]
        margins = []
        for row in inside:
            with torch.no_grad():
                chosen, rejected = (
                    training.token_logps(model, row["prompt"], row[name]).sum() for name in ("chosen", "rejected")
                )
            margins.append((chosen - rejected).item())
        ps = [1 / (1 + math.exp(-BETA * margin)) for margin in margins]
        scores = [[row[name] for row in inside] for name in ("chosen_score", "rejected_score")]
        wanted = {
            "margin": margins,
            "p": ps,
            "p(1-p)": [p * (1 - p) for p in ps],
            "regularizer": [p * good + (1 - p) * bad for p, good, bad in zip(ps, *scores, strict=True)],
            "weight": [row["weight"] for row in inside],
            "chosen_score": scores[0],
            "rejected_score": scores[1],
            "truncated": [0.0] * len(inside),
        }
        for name, values in wanted.items():
            assert logged[f"hdpo/{name}/{bucket}"] == pytest.approx(sum(values) / len(values), rel=1e-4, abs=1e-6), name
    seen = {name.rsplit("/", 1)[1] for name in logged if name.startswith("hdpo/margin/")}
    assert seen == {row["bucket"] for row in rows}
    assert logged["loss"] == pytest.approx(logged["hdpo/loss"], rel=1e-6)


@pytest.mark.parametrize("size", [1, 5, 16])
def test_evaluation_loss(data: Dataset, tmp_path: Path, size: int) -> None:
    """It is the offline objective over the whole set, whatever the batches; nothing is sampled."""
    critic = Words()
    settings = {
        **ONLINE_SETTINGS,
        "online_every": 99,
        "per_device_eval_batch_size": size,
        "loss_type": ["sigmoid", "sft"],
    }
    trainer, _ = step(data, tmp_path, learning_rate=0.0, critic=critic, **settings)
    held_out = tiny.pairs(13, seed=5).add_column("weight", [0.5 + at % 3 for at in range(13)])
    found = trainer.evaluate(held_out)
    model, reference = (tiny.model(seed, dtype=torch.float64) for seed in (0, 1))
    total, weighted, tokens = 0.0, 0.0, 0.0
    for row in held_out:
        with torch.no_grad():
            logps = [
                [training.token_logps(m, row["prompt"], row[name]) for name in ("chosen", "rejected")]
                for m in (model, reference)
            ]
        (good, bad), (ref_good, ref_bad) = logps
        delta = (good.sum() - ref_good.sum() - bad.sum() + ref_bad.sum()).item()
        p = torch.sigmoid(BETA * (good.sum() - bad.sum())).item()
        dpo = math.log1p(math.exp(-BETA * delta))
        r = p * row["chosen_score"] + (1 - p) * row["rejected_score"]
        total += row["weight"] / trainer.weight_mean * dpo + LAMBDA * r + GAMMA * -good.mean().item()
        weighted += row["weight"] * -good.sum().item()
        tokens += row["weight"] * len(good)
    assert found["eval_loss"] == pytest.approx(total / 13 + weighted / tokens, rel=1e-5)
    assert critic.calls == 0
