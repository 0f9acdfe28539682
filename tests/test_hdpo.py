"""HDPO: a step's gradient is that of the formula, term by term, however the batch is split."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl", reason="training needs polyalign[train]")

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import LlamaModel
from trl import DPOConfig, DPOTrainer

import humans
import polyalign
import polyalign.trainers._answering as answering_module
import polyalign.trainers._online as online_module
import tiny
import training
from conftest import write_jsonl
from polyalign import Bucketer, BucketSchema
from polyalign.critics import SupportCritic, ask_floored
from polyalign.pairs import pair_files
from polyalign.trainers import HDPO, HDPOConfig, losses
from polyalign.trainers._online import Samples
from polyalign.trainers.conditioning import condition
from polyalign.trainers.losses import _online as online_term

SPLITS = [(4, 1), (2, 2), (1, 4)]
SIDES = ("chosen", "rejected")
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
    given = {name: settings.pop(name) for name in ("critic", "held_out_critic", "reference") if name in settings}
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
        **given,
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


def test_a_paper_batch_without_weight(data: Dataset, tmp_path: Path) -> None:
    """Of a global batch whose weights are all 0 the other terms are left."""
    weightless = changed(data, "weight", 0, 0.0)
    for at in range(1, 4):
        weightless = changed(weightless, "weight", at, 0.0)
    _, (found,) = step(weightless, tmp_path, (2, 2), variant="paper")
    rest, (whole,) = step(weightless, tmp_path, (2, 2))
    assert training.error(found, whole) < 1e-6
    assert all(weight.isfinite().all() for weight in rest.model.parameters())


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
    def sample(model: Any, accelerator: Any, prompts: Any, *_: Any, **__: Any) -> Samples:
        SAMPLED.extend(map(tuple, prompts))
        responses = answers(prompts)
        return Samples([prompt for prompt in prompts for _ in range(3)], responses, [False] * len(responses))

    SAMPLED.clear()
    monkeypatch.setattr(answering_module, "sample", sample)


SAMPLED: list[tuple[int, ...]] = []


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
    trainer, (found,) = step(data, tmp_path, split, critic=Words(), **ONLINE_SETTINGS)
    assert training.error(found, expected(data, online=surrogate)) < 1e-5
    logged = trainer.state.log_history[0]
    assert logged["loss"] == pytest.approx(logged["hdpo/loss"] + ONLINE * logged["hdpo/online_score"], rel=1e-5)


class Calibrated(Words):
    """Its percentiles are two fifths of its scores, at most 1."""

    def percentile(self, responses: Any, buckets: Any, prompts: Any = None) -> Any:
        return np.minimum(self.score(responses, buckets) * 0.4, 1).astype(np.float32)


COUNTED = {
    "median": ({}, lambda score: max(0.0, 2 * min(0.4 * score, 1) - 1)),
    "none": ({"critic_floor": "none"}, lambda score: min(0.4 * score, 1)),
    "paper": ({"variant": "paper"}, lambda score: score),
}


@pytest.mark.parametrize("floor", COUNTED)
def test_a_calibrated_critics_scores_count_from_the_median_human(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, floor: str
) -> None:
    """In pairs, in their weights, in samples and in what is held out, all alike; the published variant has them raw."""
    fixed(monkeypatch)
    settings, counts = COUNTED[floor]
    pairs = tiny.pairs(8, scored=False)
    given = {"critic": Calibrated(), "held_out_critic": Calibrated(), **ONLINE_SETTINGS, "alpha": 0.0, "gamma_l": 0.0}
    trainer, _ = step(pairs, tmp_path, **{**given, **settings})
    raw = {side: Words().score([row[side][-1]["content"] for row in pairs], pairs["bucket"][:]) for side in SIDES}
    for side in SIDES:
        assert trainer.train_dataset[f"{side}_score"][:] == pytest.approx(
            [counts(score) for score in raw[side]], abs=1e-6
        )
    for row in trainer.train_dataset:
        wanted = 1 + max(0.0, row["rejected_score"] - row["chosen_score"])
        assert row["weight"] == pytest.approx(min(3.0, wanted), abs=1e-6)
    texts = [tiny.tokenizer().decode(text, skip_special_tokens=True) for text in answers([*map(list, SAMPLED)])]
    mean = np.mean([counts(score) for score in Words().score(texts, [tiny.BUCKETS[0]] * len(texts))])
    logged = trainer.state.log_history[0]
    assert logged["hdpo/online_score"] == logged["hdpo/online_held_out_score"] == pytest.approx(mean, rel=1e-5)
    assert "without a floor" not in caplog.text
    trainer.create_model_card()
    told = {"median": "counted from the median human of each bucket", "none": "as percentiles"}
    assert f"; its scores {told.get(floor, 'as it gives them')}\n" in (tmp_path / "README.md").read_text()


def test_scores_that_have_no_floor_are_told(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fixed(monkeypatch)
    step(data, tmp_path, critic=Words(), held_out_critic=Calibrated(), **ONLINE_SETTINGS)
    assert "critic: Words has no percentiles, so its scores are as it gives them, without a floor" in caplog.text
    assert "does not score these, they count as they are, without a floor" in caplog.text
    assert "held_out_critic" not in caplog.text


@pytest.mark.parametrize("streams", [False, True])
def test_the_critic_is_told_what_was_asked_of_samples(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streams: bool
) -> None:
    """In training and in evaluation, each prompt beside the answers to it, as the data set has it."""
    fixed(monkeypatch)
    ruled = data.map(lambda row: {"prompt": condition(row["prompt"], row["prompt"][0]["content"][::-1])})
    answered = {
        (tiny.tokenizer().decode(response, skip_special_tokens=True), row["bucket"], repr(row["prompt"]))
        for row in ruled
        for response in answers([prompt_of(row)])
    }
    critic, held_out = humans.Listener(), humans.Listener()
    given = ruled.to_iterable_dataset() if streams else ruled
    settings = {**ONLINE_SETTINGS, "online_prompts": 3, "steps": 2, "eval_online_prompts": 5}
    trainer, _ = step(given, tmp_path, (2, 2), critic=critic, held_out_critic=held_out, **settings)
    tried = 2 * len(data)
    assert len(critic.heard) == len(held_out.heard) == tried + 2 * 3 * 3
    sampled = critic.heard[tried:]
    assert {(text, bucket, repr(prompt)) for text, bucket, prompt in sampled} <= answered
    assert len({repr(prompt) for _, _, prompt in sampled}) == 6
    assert held_out.heard == critic.heard

    del critic.heard[:], held_out.heard[:]
    trainer.evaluate(given)
    assert len(critic.heard) == len(held_out.heard) == 5 * 3
    assert {(text, bucket, repr(prompt)) for text, bucket, prompt in critic.heard} <= answered
    assert held_out.heard == critic.heard


class Letters:
    """Another critic, which can't tell of one bucket."""

    def __init__(self, silent: str = tiny.BUCKETS[1]) -> None:
        self.silent = silent

    def score(self, responses: Any, buckets: Any) -> Any:
        found = np.array([float(response.count("e")) for response in responses])
        return np.where([bucket == self.silent for bucket in buckets], math.nan, found)


def test_a_held_out_critic_is_logged_and_trains_nothing(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fixed(monkeypatch)
    settings = {**ONLINE_SETTINGS, "eval_online_prompts": 4}
    plain, (wanted,) = step(data, tmp_path / "plain", critic=Words(), **settings)
    letters = Letters(silent=data[0]["bucket"])
    trainer, (found,) = step(data, tmp_path / "held", critic=Words(), held_out_critic=letters, **settings)
    assert torch.equal(found, wanted)
    logged, before = trainer.state.log_history[0], plain.state.log_history[0]
    for name in before:
        assert logged[name] == before[name] or "second" in name, name
    rows = training.rows(data, 4)
    texts = {
        at: [tiny.tokenizer().decode(response, skip_special_tokens=True) for response in answers([prompt_of(row)])]
        for at, row in enumerate(rows)
    }
    scores = {at: letters.score(texts[at], [rows[at]["bucket"]] * 3) for at in texts}
    known = np.concatenate(list(scores.values()))
    assert np.isnan(known).any()
    assert logged["hdpo/online_held_out_score"] == pytest.approx(np.nanmean(known), rel=1e-6)
    assert logged["hdpo/online_held_out_unscored"] == pytest.approx(np.isnan(known).mean())
    for bucket in {row["bucket"] for row in rows}:
        of = np.concatenate([scores[at] for at in scores if rows[at]["bucket"] == bucket])
        name = f"hdpo/online_held_out_score/{bucket}"
        assert (name in logged) == (not np.isnan(of).all())
        if name in logged:
            assert logged[name] == pytest.approx(of.mean())
    assert "held_out_critic: no score for" in caplog.text
    assert "samples without a score count for nothing" in caplog.text
    evaluated = trainer.evaluate(tiny.pairs(6, seed=3))
    assert evaluated["eval_hdpo/online_held_out_score"] >= 0
    assert evaluated["eval_hdpo/online_score"] > 0
    log = (tmp_path / "held" / "bucket_log.csv").read_text().splitlines()
    assert "online_held_out_score" in log[0].split(",")
    trainer.create_model_card()
    plain.create_model_card()
    cards = [(tmp_path / name / "README.md").read_text() for name in ("held", "plain")]
    assert "- Held-out critic: `<" in cards[0]
    assert "Nothing independent" not in cards[0]
    assert "; its scores as it gives them\n" in cards[0]
    assert "- Held-out critic: none. Nothing independent of the critic above has judged this model" in cards[1]
    assert "online_held_out" not in (tmp_path / "plain" / "bucket_log.csv").read_text()


def test_a_held_out_critic_is_another_one(data: Dataset, tmp_path: Path, reference: Any) -> None:
    critic = Words()
    with pytest.raises(ValueError, match="held_out_critic is the critic that trains"):
        step(data, tmp_path, critic=critic, held_out_critic=critic, **ONLINE_SETTINGS)
    path = tmp_path / "human.safetensors"
    reference.save(path)
    pairs = of_bucket(tiny.pairs(8), reference.buckets[0])
    for trains, held_out in ((path, str(path)), (SupportCritic(reference), path), (reference, reference)):
        with pytest.raises(
            ValueError, match="held_out_critic is the critic that trains, or a part of it, SupportCritic"
        ):
            step(pairs, tmp_path, critic=trains, held_out_critic=held_out, **ONLINE_SETTINGS)
    ensemble = polyalign.critics.EnsembleCritic(
        {"wide": SupportCritic(reference), "narrow": SupportCritic(reference, support=(0.3, 0.7))}
    )
    with pytest.raises(ValueError, match="held_out_critic is the critic that trains, or a part of it, SupportCritic"):
        step(pairs, tmp_path, critic=ensemble, held_out_critic=ensemble.critics["narrow"], **ONLINE_SETTINGS)
    # By their folders too.
    lexical = polyalign.critics.LexicalCritic.from_arrow(humans.table(), schema=humans.SCHEMA)
    support = SupportCritic(humans.reference())
    polyalign.critics.EnsembleCritic({"support": support, "lexical": lexical}).save(tmp_path / "critic")
    for part in ("", "lexical", "support"):
        with pytest.raises(ValueError, match="held_out_critic is the critic that trains, or a part of it"):
            step(
                data,
                tmp_path,
                critic=tmp_path / "critic",
                held_out_critic=tmp_path / "critic" / part,
                **ONLINE_SETTINGS,
            )
    # Two that were trained with one reference are two.
    trained = [SimpleNamespace(reference=reference, score=Words().score) for _ in range(2)]
    step(data, tmp_path, critic=trained[0], held_out_critic=trained[1], **ONLINE_SETTINGS)
    with pytest.raises(TypeError, match=r"^held_out_critic is an object with score"):
        step(data, tmp_path, critic=critic, held_out_critic=3, **ONLINE_SETTINGS)
    with pytest.raises(ValueError, match="held_out_critic scores samples, and none are drawn: set lambda_online"):
        step(data, tmp_path, critic=critic, held_out_critic=Letters())


@pytest.mark.parametrize("which", ["critic", "held_out_critic"])
def test_critics_of_samples_are_tried_before_training(tmp_path: Path, which: str) -> None:
    """The pairs have scores, so that no critic is asked for them."""
    constant = SimpleNamespace(score=lambda responses, buckets: np.ones(len(responses), dtype=np.float32))
    with pytest.raises(ValueError, match=f"^{which} has collapsed: 120 responses"):
        step(tiny.pairs(60), tmp_path, **{"critic": Words(), which: constant}, **ONLINE_SETTINGS)
    nobody = SimpleNamespace(score=lambda responses, buckets: np.full(len(responses), math.nan, dtype=np.float32))
    with pytest.raises(ValueError, match=f"^{which}: none of 120 responses has a score"):
        step(tiny.pairs(60), tmp_path, **{"critic": Words(), which: nobody}, **ONLINE_SETTINGS)


@pytest.mark.parametrize("which", ["critic", "held_out_critic"])
def test_a_critic_of_another_schema(tmp_path: Path, which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its ids, of a data set in memory; of a folder by what its manifest says, before a model is loaded."""
    other = Words()
    other.schema = BucketSchema(axes=["language", "family"])  # type: ignore[attr-defined]
    given = {"critic": Words(), which: other}
    with pytest.raises(ValueError, match="the data set and the critic Words are of different schemas: bucket 'en"):
        step(tiny.pairs(8), tmp_path, **given, **ONLINE_SETTINGS)
    rows = [{"id": str(at), "prompt": f"Is it {at}?", "completion": f"Yes, {at}."} for at in range(20)]
    Bucketer(BucketSchema(length_unit="words")).bucket_files(write_jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "b")
    samples = write_jsonl(tmp_path / "samples.jsonl", [{"id": str(at), "response": "No."} for at in range(20)])
    pair_files(tmp_path / "b", tmp_path / "pairs", samples=samples)
    other.schema = BucketSchema(length_unit="words", length_edges=(3, 7))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"pairs: bucketed with length_edges .*, the critic with \[3,7\]"):
        HDPO("no such model", train_dataset=str(tmp_path / "pairs"), **given)


@pytest.mark.parametrize("split", SPLITS)
def test_online_prompts_are_bounded(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: tuple[int, int]
) -> None:
    """Two prompts of four: of two micro-batches one each, where there are more."""
    fixed(monkeypatch)
    _, (found,) = step(data, tmp_path, split, critic=Words(), online_prompts=2, **ONLINE_SETTINGS)
    rows = training.rows(data, 4)
    answered = [row for row in rows if tuple(prompt_of(row)) in SAMPLED]
    assert len(SAMPLED) == len(answered) == 2

    def some(model: Any, _: Any) -> Tensor:
        return surrogate(model, answered)

    assert training.error(found, expected(data, online=some)) < 1e-5


def prompt_of(row: dict[str, Any]) -> list[int]:
    ids, start = training.sequence(row["prompt"], row["chosen"])
    return ids[:start].tolist()


@pytest.mark.parametrize(("strategy", "bound"), [("sequential", 2), ("batch_rebalance", 5)])
def test_bounded_prompts_are_no_biased_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str, bound: int
) -> None:
    """Each prompt counts for the same over many steps, whatever micro-batch its length puts it in."""
    fixed(monkeypatch)
    data = tiny.pairs(12, seed=6).add_column("weight", [1.0] * 12)
    counted = dict.fromkeys(range(12), 0.0)

    given = {
        "learning_rate": 0.0,
        "num_train_epochs": 150,
        "online_prompts": bound,
        "train_sampling_strategy": strategy,
    }
    right = HDPO._answer

    def counting(self: Any, batches: Any, **named: Any) -> None:
        right(self, batches, **named)
        for batch in batches:
            for prompt in batch["online"].samples.prompts[::3] if "online" in batch else []:
                counted[places[tuple(prompt)]] += batch["online_share"]

    places = {tuple(prompt_of(row)): at for at, row in enumerate(data)}
    assert len(places) == 12
    monkeypatch.setattr(HDPO, "_answer", counting)
    step(data, tmp_path, (4, 3), steps=150, critic=Words(), **{**ONLINE_SETTINGS, **given})
    found = np.array(list(counted.values())) / 150
    assert found.mean() == pytest.approx(1, abs=0.15)
    # A prompt is drawn 25 or 62 times: no mean is far from 1.
    assert (np.abs(found - 1) < 4.5 * (12 / bound / 150) ** 0.5).all()


# -------------------------------------------------------------------------------------------------------- defects


def normalised_by_micro_batch(patch: pytest.MonkeyPatch) -> None:
    right = HDPO.compute_loss

    def wrong(self: Any, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        inputs["weight"] = inputs["weight"] / inputs["weight"].mean() * self.weight_mean
        shares = {**num_items_in_batch, "pairs": torch.tensor(float(len(inputs["weight"])))}
        return right(self, model, inputs, return_outputs, shares) / self.args.gradient_accumulation_steps

    patch.setattr(HDPO, "compute_loss", wrong)


def replaced(name: str, wrong: Any, module: Any = losses) -> Any:
    def apply(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(module, name, wrong)

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
    "no baseline": replaced("advantages", lambda scores: scores.detach(), online_term),
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
    """It is the offline objective over the whole set, whatever the batches; nothing need be sampled."""
    critic = Words()
    settings = {
        **ONLINE_SETTINGS,
        "online_every": 99,
        "eval_online_prompts": 0,
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


# ------------------------------------------------------------------------------------- what is really sampled


def enumerated(model: Any, prompt: list[int]) -> tuple[Tensor, list[list[int]]]:
    """log π of every response of at most two tokens."""
    first = model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
    starts = [token for token in range(len(first)) if token != 1]
    after = model(torch.tensor([[*prompt, token] for token in starts])).logits[:, -1].log_softmax(-1)
    pairs = first[starts][:, None] + after
    return torch.cat((first[1:2], pairs.flatten())), [[1], *([a, b] for a in starts for b in range(len(first)))]


def test_the_mean_gradient_is_exact(tmp_path: Path) -> None:
    """Over many steps of sampling, the online term's gradient averages to that of the expected score."""
    samples, steps = 4, 300
    data = tiny.pairs(2).add_column("weight", [1.0, 1.0])
    frozen = {"learning_rate": 0.0, "lambda_offline": 0.0, "gamma": 0.0, "num_train_epochs": steps}
    sampled = {**ONLINE_SETTINGS, "num_online_samples": samples, "max_new_tokens": 2, "logging_steps": 10_000}
    _, offline = step(data, tmp_path, (2, 1), **frozen)
    trainer, found = step(data, tmp_path, (2, 1), steps=steps, critic=Words(), **frozen, **sampled)
    draws = (torch.stack(found) - offline[0]) / ONLINE

    def score(model: Any) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for row in data:
            ids, start = training.sequence(row["prompt"], row["chosen"])
            logps, responses = enumerated(model, ids[:start].tolist())
            texts = tiny.tokenizer().batch_decode(responses, skip_special_tokens=True)
            scores = Words().score(texts, [row["bucket"]] * len(texts))
            total = total + (logps.exp() * torch.from_numpy(scores)).sum() / len(data)
        return total

    exact = training.gradient_of(tiny.model(dtype=torch.float64), score)
    torch.manual_seed(0)
    directions = torch.cat((exact[None] / exact.norm(), torch.randn(8, len(exact), dtype=torch.float64)))
    along = draws @ directions.T
    spread = along.std(dim=0) / len(draws) ** 0.5
    truth = directions @ exact
    assert ((along.mean(dim=0) - truth).abs() / spread).max() < 4
    # The test would see the term twice, or half of it.
    assert truth[0] / spread[0] > 8
    assert trainer.state.global_step == steps


def test_every_token_stays_possible() -> None:
    from accelerate import Accelerator

    from polyalign.trainers._online import sample

    model, tokenizer = tiny.model(), tiny.tokenizer()
    torch.nn.init.zeros_(model.lm_head.weight)
    model.generation_config.update(top_k=20, top_p=0.3, temperature=0.2, repetition_penalty=1.9, suppress_tokens=[7, 8])
    before = model.generation_config.to_dict()
    args = HDPOConfig(output_dir="unused", bf16=False, use_cpu=True, num_online_samples=500)
    model.train()
    drawn = sample(model, Accelerator(cpu=True), [[3, 9, 4]], tokenizer, args, 1, seed=[0])
    counts = torch.bincount(torch.tensor([response[0] for response in drawn.responses]), minlength=32)
    assert counts.min() > 0
    # Each about 1 in 32: no token is preferred either (chi-square, 31 degrees of freedom).
    assert ((counts - 500 / 32) ** 2 / (500 / 32)).sum() < 62
    assert model.generation_config.to_dict() == before
    assert model.training


def test_samples_are_laid_out_as_in_training() -> None:
    batch = Samples([[3, 9, 4], [3, 4]], [[7, 1], [8, 9, 10]], [False, True]).batch(0, torch.device("cpu"), None)
    assert batch["input_ids"].tolist() == [[3, 9, 4, 7, 1], [3, 4, 8, 9, 10]]
    assert batch["labels"].tolist() == [[-100, -100, -100, 7, 1], [-100, -100, 8, 9, 10]]
    assert batch["attention_mask"].tolist() == [[1] * 5, [1] * 5]


def test_training_lowers_the_expected_score(tmp_path: Path) -> None:
    data = tiny.pairs(8).add_column("weight", [1.0] * 8)
    settings = {"beta": 1e-6, "lambda_offline": 0.0, "gamma": 0.0, "learning_rate": 0.01, "optim": "adamw_torch"}
    online = {**ONLINE_SETTINGS, "lambda_online": 1.0, "num_online_samples": 8}
    trainer, _ = step(data, tmp_path, (4, 2), steps=60, critic=Words(), **settings, **online)
    scores = [logged["hdpo/online_score"] for logged in trainer.state.log_history if "hdpo/online_score" in logged]
    assert len(scores) == 60
    assert sum(scores[-10:]) / 10 < 0.6 * sum(scores[:10]) / 10


def spoken(rows: list[dict[str, Any]]) -> dict[str, list[tuple[str, Tensor]]]:
    """By bucket, the made-up responses to rows, and the model's entropies where it chose their tokens."""
    model, tokenizer = tiny.model(dtype=torch.float64), tiny.tokenizer()
    found: dict[str, list[tuple[str, Tensor]]] = {}
    for row in rows:
        prompt = prompt_of(row)
        for response in answers([prompt]):
            with torch.no_grad():
                logps = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            text = tokenizer.decode(response, skip_special_tokens=True)
            found.setdefault(row["bucket"], []).append((text, -(logps.exp() * logps).sum(-1)))
    return found


def check_spoken(logged: dict[str, float], rows: list[dict[str, Any]], prefix: str) -> None:
    everything = spoken(rows)
    sums = dict.fromkeys(("entropy", "distinct_2"), 0.0)
    counts = dict(sums)
    for bucket, of in everything.items():
        cut = [text.lower().split() for text, _ in of]
        pairs = [pair for words in cut for pair in itertools.pairwise(words)]
        entropies = torch.cat([entropy for _, entropy in of])
        assert logged[f"{prefix}online_entropy/{bucket}"] == pytest.approx(entropies.mean().item(), rel=1e-5)
        assert logged[f"{prefix}online_distinct_2/{bucket}"] == pytest.approx(len({*pairs}) / len(pairs))
        for name, total, count in (
            ("entropy", entropies.sum().item(), len(entropies)),
            ("distinct_2", len({*pairs}), len(pairs)),
        ):
            sums[name] += total
            counts[name] += count
    for name, total in sums.items():
        assert logged[f"{prefix}online_{name}"] == pytest.approx(total / counts[name], rel=1e-5)
    assert logged[f"{prefix}online_empty"] == np.mean([not text for of in everything.values() for text, _ in of])


@pytest.mark.parametrize("split", SPLITS)
def test_how_varied_samples_are_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: tuple[int, int]
) -> None:
    """Of all that a step samples, whatever its micro-batches; of an evaluation whatever its batches."""
    fixed(monkeypatch)
    english = [bucket for bucket in tiny.BUCKETS if bucket.startswith("en")][:2]
    pairs = of_bucket(tiny.pairs(12), *english)
    settings = {**ONLINE_SETTINGS, "learning_rate": 0.0, "eval_online_prompts": 9, "per_device_eval_batch_size": 4}
    trainer, _ = step(pairs, tmp_path, split, critic=Words(), **settings)
    check_spoken(trainer.state.log_history[0], training.rows(pairs, 4), "hdpo/")
    held_out = of_bucket(tiny.pairs(9, seed=5), *english)
    check_spoken(trainer.evaluate(held_out), list(held_out), "eval_hdpo/")


class Another:
    """A critic of another kind: how far the letters are from twenty, squared; or how close."""

    def __init__(self, *, honest: bool) -> None:
        self.honest = honest

    def score(self, responses: Any, buckets: Any) -> Any:
        found = np.array([((len(response) - 20) / 10) ** 2 for response in responses], dtype=np.float32)
        return found if self.honest else np.maximum(0, 5 - found)


@pytest.mark.parametrize("honest", [True, False])
def test_a_critic_that_is_gamed_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture, honest: bool) -> None:
    """Where the held-out critic worsens, once; where it improves as well, not."""
    data = tiny.pairs(8).add_column("weight", [1.0] * 8)
    settings = {"beta": 1e-6, "lambda_offline": 0.0, "gamma": 0.0, "learning_rate": 0.01, "optim": "adamw_torch"}
    online = {**ONLINE_SETTINGS, "lambda_online": 1.0, "num_online_samples": 8, "logging_steps": 6}
    critics = {"critic": Words(), "held_out_critic": Another(honest=honest)}
    trainer, _ = step(data, tmp_path, (4, 2), steps=48, **critics, **settings, **online)
    scores = [logged["hdpo/online_score"] for logged in trainer.state.log_history if "hdpo/online_score" in logged]
    assert len(scores) == 8
    assert scores[-1] < scores[0]
    told = caplog.text.count("the critic that trains improves")
    assert told == (0 if honest else 1), caplog.text


def test_it_samples_before_any_forward(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no activations are held, and before a sharded model is between forward and backward."""
    found: list[str] = []
    right, forward = answering_module.sample, LlamaModel.forward

    def sample(*given: Any, **named: Any) -> Samples:
        found.append("sample")
        return right(*given, **named)

    def counted(self: Any, *given: Any, **named: Any) -> Any:
        if torch.is_grad_enabled():
            found.append("forward")
        return forward(self, *given, **named)

    monkeypatch.setattr(answering_module, "sample", sample)
    monkeypatch.setattr(LlamaModel, "forward", counted)
    step(data, tmp_path, (2, 2), critic=Words(), **ONLINE_SETTINGS)
    # Once for all micro-batches; then the samples and the pairs of each.
    assert found == ["sample"] + ["forward"] * 4


def test_when_it_samples(data: Dataset, tmp_path: Path) -> None:
    """At every third step, once for all of its micro-batches; the critic is tried first, and in two trials."""
    critic = Words()
    settings = {**ONLINE_SETTINGS, "online_every": 3}
    trainer, _ = step(data, tmp_path, (1, 2), steps=7, learning_rate=0.0, critic=critic, **settings)
    sampled = [logged["step"] for logged in trainer.state.log_history if "hdpo/online_score" in logged]
    assert sampled == [3, 6]
    assert critic.calls == 1 + 4
    # A run that ends before has none.
    critic = Words()
    step(data, tmp_path, (1, 2), steps=2, learning_rate=0.0, critic=critic, **settings)
    assert critic.calls == 0


class Patched:
    """What `generate` is asked for, and the seed of its noise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[int, list[list[int]], int | None]] = []
        right = online_module._generate

        def generate(model: Any, prompts: Any, tokenizer: Any, config: Any, device: Any) -> Any:
            self.asked.append((torch.initial_seed(), prompts, config.min_new_tokens))
            return right(model, prompts, tokenizer, config, device)

        monkeypatch.setattr(online_module, "_generate", generate)


def test_responses_go_to_their_prompts_however_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate import Accelerator

    def generate(model: Any, prompts: Any, *_: Any) -> Any:
        calls.append(len(prompts))
        return [[[*prompt, at, 1, 0, 0] for at in (8, 9)] for prompt in prompts]

    calls: list[int] = []
    monkeypatch.setattr(online_module, "_generate", generate)
    prompts = [[3, 4], [5, 6, 7, 8], [5], [3, 3, 4]]
    for at_once, expected_calls in ((100, [4]), (4, [2, 2]), (1, [1] * 4)):
        calls.clear()
        args = HDPOConfig(
            output_dir="unused", bf16=False, use_cpu=True, num_online_samples=2, online_batch_size=at_once
        )
        found = online_module.sample(tiny.model(), Accelerator(cpu=True), prompts, tiny.tokenizer(), args, 9, seed=[0])
        assert calls == expected_calls
        assert found.prompts == [prompt for prompt in prompts for _ in range(2)]
        assert found.responses == [[*prompt, at, 1] for prompt in prompts for at in (8, 9)]
        assert found.cut == [False] * 8


def test_a_trial_comes_first_and_changes_nothing(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first two steps sample the longest there can be, without a gradient, and dropout draws what it would."""
    asked = Patched(monkeypatch).asked
    model = {"attention_dropout": 0.3}
    given = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "max_steps": 3, **ONLINE_SETTINGS}

    def gradients(**settings: Any) -> list[Tensor]:
        asked.clear()
        return training.train(
            HDPO,
            HDPOConfig,
            tmp_path,
            model=tiny.model(**model),
            settings={**given, **settings},
            train_dataset=data,
            ref_model=tiny.model(1),
            critic=Words(),
        )[1]

    offline = gradients(lambda_online=0.0)
    assert not asked
    found = gradients(online_every=3)
    assert all(map(torch.equal, found[:2], offline[:2]))
    assert not torch.equal(found[2], offline[2])
    longest = max(len(prompt_of(row)) for row in data)
    assert [least for *_, least in asked] == [8, 8, None]
    assert [{len(prompt) for prompt in prompts} for _, prompts, _ in asked[:2]] == [{longest}] * 2
    assert len({seed for seed, *_ in asked}) == 3


def test_what_does_not_fit_is_said_at_the_first_step(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(model: Any, prompts: Any, *_: Any) -> Any:
        raise torch.OutOfMemoryError("tried to allocate 80 GiB")

    monkeypatch.setattr(online_module, "_generate", generate)
    steps: list[int] = []
    monkeypatch.setattr(HDPO, "training_step", lambda *_, **__: steps.append(1))
    with pytest.raises(
        torch.OutOfMemoryError,
        match=r"^3 responses of 8 tokens to each of 4 prompts of up to \d+ tokens do not fit in memory: lower "
        r"online_batch_size \(128\).*tried to allocate 80 GiB$",
    ):
        step(data, tmp_path, (2, 2), steps=20, critic=Words(), **{**ONLINE_SETTINGS, "online_every": 10})
    assert not steps


def test_a_resumed_run_draws_the_same(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Patched(monkeypatch).asked
    given = {"save_strategy": "steps", "save_steps": 4, "max_steps": 6, "learning_rate": 0.1, **ONLINE_SETTINGS}
    ends = []
    for resume in (None, str(tmp_path / "checkpoint-4")):
        asked.clear()
        args = HDPOConfig(str(tmp_path), **{**training.ARGUMENTS, **given, "online_every": 3})
        trainer = HDPO(
            tiny.model(attention_dropout=0.3),
            tiny.model(1),
            args,
            train_dataset=data,
            processing_class=tiny.tokenizer(),
            critic=Words(),
        )
        trainer.train(resume_from_checkpoint=resume)
        ends.append((asked[-1], trainer.state.log_history[-2], list(trainer.model.parameters())))
    (first, logged, weights), (second, logged_again, weights_again) = ends
    assert first == second
    assert logged["hdpo/online_score"] == logged_again["hdpo/online_score"]
    assert all(map(torch.equal, weights, weights_again))


def test_samples_are_drawn_in_evaluation_mode(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout would draw from another distribution than the one whose gradient is taken, which trains with it."""
    right, trains = online_module._generate, []

    def generate(model: Any, *args: Any) -> Any:
        trains.append(any(module.training for module in model.modules()))
        return right(model, *args)

    monkeypatch.setattr(online_module, "_generate", generate)
    settings = {"per_device_train_batch_size": 2, "max_steps": 1, **ONLINE_SETTINGS}
    trainer, _ = training.train(
        HDPO, HDPOConfig, tmp_path, model=tiny.model(attention_dropout=0.3), settings=settings, train_dataset=data,
        ref_model=tiny.model(1), critic=Words(),
    )  # fmt: skip
    assert trains and not any(trains)
    assert trainer.model.training


def test_processes_of_one_tensor_parallel_group_draw_alike() -> None:
    def rank(process: int, size: int) -> int:
        accelerator = SimpleNamespace(process_index=process, num_processes=4)
        return HDPO._data_parallel_rank.fget(SimpleNamespace(accelerator=accelerator, get_tp_size=lambda: size))

    assert [rank(process, 2) for process in range(4)] == [0, 0, 1, 1]
    assert [rank(process, 1) for process in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize("streams", [False, True])
def test_an_evaluation_answers_the_same_prompts(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streams: bool
) -> None:
    asked = Patched(monkeypatch).asked
    held_out: Any = tiny.pairs(9, seed=5).add_column("weight", [1.0] * 9)
    trainer, _ = step(data, tmp_path, critic=Words(), eval_online_prompts=5, learning_rate=0.0)
    assert not asked  # λ_online is 0
    held_out = held_out.to_iterable_dataset() if streams else held_out
    found = [trainer.evaluate(held_out) for _ in range(2)]
    assert asked[0] == asked[1]
    assert len(asked) == 2
    assert len(asked[0][1]) == 5
    assert found[0]["eval_hdpo/online_score"] == found[1]["eval_hdpo/online_score"] > 0
    by_bucket = {name for name in found[0] if name.startswith("eval_hdpo/online_score/")}
    assert by_bucket
    trainer.args.eval_online_prompts = 0
    assert "eval_hdpo/online_score" not in trainer.evaluate(held_out)


# ----------------------------------------------------------------------------------------------- scores and weights


def test_scores_are_attached_once(data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    critic = Words()
    unscored = data.remove_columns(["chosen_score", "rejected_score"])
    trainer, (found,) = step(unscored, tmp_path, critic=critic)
    calls = critic.calls
    assert calls
    texts = [row["chosen"][0]["content"] for row in data]
    scored = {
        name: Words().score([row[name][0]["content"] for row in data], data["bucket"][:])
        for name in ("chosen", "rejected")
    }
    assert trainer.train_dataset["chosen_score"][:] == pytest.approx(scored["chosen"].tolist())
    assert len(texts) == len(trainer.train_dataset)
    with_scores = unscored
    for name, values in scored.items():
        with_scores = with_scores.add_column(f"{name}_score", values.tolist())
    assert training.error(found, expected(with_scores)) < 1e-5
    assert "does not score" not in caplog.text
    step(with_scores, tmp_path, critic=critic)
    assert critic.calls == calls
    assert "the train data set has chosen_score and rejected_score: the critic does not score these" in caplog.text


def test_the_critic_is_told_what_was_asked_of_the_pairs(tmp_path: Path) -> None:
    """The data set's prompts, whether they have a column or begin both conversations, of messages or texts."""
    pairs = tiny.pairs(6, scored=False)
    tools = [json.dumps([{"type": "function", "function": {"name": f"tool{at}"}}]) for at in range(6)]
    ruled = pairs.map(lambda row: {"prompt": condition(row["prompt"], "qa, short answer")})
    whole = pairs.map(
        lambda row: {side: row["prompt"] + row[side] for side in ("chosen", "rejected")}, remove_columns="prompt"
    )
    texts = pairs.map(lambda row: {name: row[name][-1]["content"] for name in ("prompt", "chosen", "rejected")})
    given = {
        "tools": pairs.add_column("tools", tools),
        "ruled": ruled,
        "whole": whole,
        "texts": Dataset.from_list(list(texts)),
    }
    for name, data in given.items():
        critic = humans.Listener()
        step(data, tmp_path / name, critic=critic)
        prompts = {"ruled": ruled["prompt"], "texts": [row["prompt"] for row in texts]}.get(name, pairs["prompt"])
        wanted = [
            (row[side][-1]["content"], row["bucket"], prompt)
            for side in ("chosen", "rejected")
            for row, prompt in zip(pairs, prompts, strict=True)
        ]
        assert critic.heard == wanted, name


def test_weights(data: Dataset, tmp_path: Path) -> None:
    """clip(1 + α·gap_b + β_w·max(0, s⁻−s⁺) + γ_l·gap_lang + η·pair_type, low, high), w̄ their mean."""
    pairs = tiny.pairs(60, seed=4)
    types = {"global": 0, "local": 0.5, "distribution": 1}
    pairs = pairs.add_column("pair_type", [list(types)[at % 3] for at in range(60)])
    trainer, _ = step(pairs, tmp_path)
    counts = {bucket: pairs["bucket"][:].count(bucket) for bucket in set(pairs["bucket"])}
    total = {language: sum(n for b, n in counts.items() if b.startswith(language)) for language in ("en", "zh")}

    def served(bucket: str) -> int:
        """Fewer than 20: without family, track, length, in that order; else the language's."""
        parts = bucket.split("|")
        for dropped in ((), (2,), (1, 2), (1, 2, 3)):
            n = sum(
                m
                for other, m in counts.items()
                if all(
                    a == b for at, (a, b) in enumerate(zip(parts, other.split("|"), strict=True)) if at not in dropped
                )
            )
            if n >= 20:
                return n
        return total[parts[0]]

    def gaps(sizes: dict[str, int], whole: int) -> dict[str, float]:
        raw = {key: max(0.0, math.log(whole / (len(sizes) * n))) for key, n in sizes.items()}
        return {key: value / max(raw.values()) for key, value in raw.items()}

    bucket_gap = gaps({bucket: served(bucket) for bucket in counts}, 60)
    language_gap = gaps(total, 60)
    for row, raw in zip(trainer.train_dataset, pairs, strict=True):
        weight = 1 + 0.5 * bucket_gap[raw["bucket"]] + max(0.0, raw["rejected_score"] - raw["chosen_score"])
        weight += 0.25 * language_gap[raw["bucket"][:2]] + 0.25 * types[raw["pair_type"]]
        assert row["weight"] == pytest.approx(min(3.0, max(0.5, weight)))
    assert trainer.weight_mean == pytest.approx(np.mean(trainer.train_dataset["weight"][:]))


def test_sft_and_wpo_are_weighted(data: Dataset, tmp_path: Path) -> None:
    """−Σ w_i Σ log p / Σ w_i T_i over the global batch, beside the preference loss."""
    settings = {"lambda_offline": 0.0, "gamma": 0.0, "loss_type": ["sigmoid", "sft"], "loss_weights": [0.5, 2.0]}
    found = [step(data, tmp_path, split, **settings)[1][0] for split in SPLITS]
    rows = training.rows(data, 4)
    weights = torch.tensor([row["weight"] for row in rows], dtype=torch.float64)

    def loss(model: Any) -> Tensor:
        logps = [training.token_logps(model, row["prompt"], row["chosen"]) for row in rows]
        tokens = torch.tensor([len(logp) for logp in logps], dtype=torch.float64)
        return -2.0 * (weights * torch.stack([logp.sum() for logp in logps])).sum() / (weights * tokens).sum()

    sft = training.gradient_of(tiny.model(dtype=torch.float64), loss)
    dpo = expected(data, lambda_offline=0.0, gamma=0.0)
    for gradient in found:
        assert training.error(gradient, 0.5 * dpo + sft) < 1e-5
    wpo = [step(data, tmp_path, split, use_weighting=True, **settings)[1][0] for split in SPLITS]
    assert training.error(wpo[1], wpo[0]) < 1e-6
    assert training.error(wpo[2], wpo[0]) < 1e-6
    assert training.error(wpo[0], found[0]) > 0.1


def test_aot_needs_equal_weights(data: Dataset, tmp_path: Path) -> None:
    for name in ("aot", "aot_unpaired"):
        with pytest.raises(ValueError, match=f"loss_type '{name}' sorts the pairs of a batch"):
            step(data, tmp_path, loss_type=[name])
    step(data.remove_columns("weight").add_column("weight", [2.0] * len(data)), tmp_path, loss_type=["aot"])


def test_streaming(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"streams: its weights need bucket_counts .* or a column 'weight'"):
        step(data.remove_columns("weight").to_iterable_dataset(), tmp_path)
    mean = sum(data["weight"]) / len(data)
    _, (found,) = step(data.to_iterable_dataset(), tmp_path, (2, 2), weight_mean=mean)
    assert training.error(found, expected(data)) < 1e-5


# ------------------------------------------------------------------------------------------------------ bad input


def test_nothing_to_score_with(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lambda_online > 0 scores samples: give a reference or a critic"):
        step(data, tmp_path, lambda_online=0.1)
    with pytest.raises(ValueError, match="no column 'chosen_score': give a reference or a critic"):
        step(data.remove_columns(["chosen_score", "rejected_score"]), tmp_path)
    # Where no term needs scores, neither is needed.
    unscored = data.remove_columns(["chosen_score", "rejected_score"])
    _, (found,) = step(unscored, tmp_path, lambda_offline=0.0)
    assert training.error(found, expected(data, lambda_offline=0.0)) < 1e-5
    # Nor is it then asked whether those there are can be right.
    many = tiny.pairs(60, scored=False)
    for name in ("chosen_score", "rejected_score"):
        many = many.add_column(name, [0.0] * 60)
    step(many, tmp_path, lambda_offline=0.0, beta_w=0.0)
    with pytest.raises(ValueError, match="has collapsed"):
        step(many, tmp_path)
    with pytest.raises(TypeError, match="or its file's name, not LlamaForCausalLM: ref_model is TRL's"):
        HDPO(
            tiny.model(),
            args=HDPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True),
            train_dataset=data,
            reference=tiny.model(),
        )


@pytest.mark.parametrize("column", ["bucket", "chosen", "rejected"])
def test_missing_columns(data: Dataset, tmp_path: Path, column: str) -> None:
    with pytest.raises(ValueError, match=f"the train data set has no column '{column}'"):
        step(data.remove_columns(column), tmp_path)


def changed(data: Dataset, column: str, at: int, value: Any) -> Dataset:
    values = data[column][:]
    values[at] = value
    return data.remove_columns(column).add_column(column, values)


def test_skips_are_counted_and_explained(data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = changed(data, "chosen", 0, [{"role": "assistant", "content": " "}])
    bad = changed(bad, "chosen_score", 1, math.nan)
    bad = changed(bad, "bucket", 2, None)
    long = [{"role": "assistant", "content": " ".join(["tea"] * 40)}]
    bad = changed(changed(bad, "chosen", 3, long), "rejected", 3, long)
    bad = changed(bad, "prompt", 4, [{"role": "user", "content": " ".join(["tea"] * 40)}])
    trainer, _ = step(bad, tmp_path, max_length=36)
    assert len(trainer.train_dataset) == len(data) - 5
    told = caplog.text
    assert "5 of 12 rows of the train data set do not train: " in told
    for reason in (
        "1: an empty chosen response",
        f"1: no chosen score: the critic has no humans for bucket {data[1]['bucket']}",
        "1: no bucket",
        "1: both responses are cut at max_length=36",
        "1: the prompt fills max_length=36",
    ):
        assert reason in told
    # By bucket: a pair with one response that is cut trains.
    once = changed(changed(data, "rejected", 5, long), "bucket", 5, "en|single|qa|short")
    once = changed(changed(changed(once, "chosen", 3, long), "rejected", 3, long), "bucket", 3, "en|single|qa|short")
    once = changed(changed(once, "prompt", 4, bad[4]["prompt"]), "bucket", 4, "zh|single|qa|short")
    rows = {bucket: once["bucket"][:].count(bucket) for bucket in ("en|single|qa|short", "zh|single|qa|short")}
    caplog.clear()
    step(once, tmp_path, max_length=36)
    told = (
        "max_length=36 cuts the end of 3 of 12 pairs of the train data set, of which 2 do not train: "
        f"en|single|qa|short 2 of {rows['en|single|qa|short']} (1), "
        f"zh|single|qa|short 1 of {rows['zh|single|qa|short']} (1)"
    )
    assert told in caplog.text
    caplog.clear()
    step(data, tmp_path, max_length=36)
    assert "max_length" not in caplog.text


def test_prompts_that_are_cut_away_are_not_answered(
    data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With keep_end a response can leave nothing of its prompt, and a long prompt is cut to what the model can take."""
    long = " ".join(["tea"] * 125)
    cut = changed(data, "chosen", 0, [{"role": "assistant", "content": long}])
    cut = changed(cut, "prompt", 1, [{"role": "user", "content": long}])
    settings = {**ONLINE_SETTINGS, "truncation_mode": "keep_end", "max_length": 24}
    trainer, _ = step(cut, tmp_path, steps=3, critic=Words(), **settings)
    assert len(trainer.train_dataset) == len(data) - 1
    assert "1: the chosen response fills max_length=24, so that no prompt is left" in caplog.text
    offline, _ = step(cut, tmp_path, truncation_mode="keep_end", max_length=24)
    assert len(offline.train_dataset) == len(data)


@pytest.mark.parametrize("score", [-1.0, math.inf])
def test_scores_out_of_range(data: Dataset, tmp_path: Path, score: float) -> None:
    with pytest.raises(ValueError, match=r"columns chosen_score and rejected_score: score 5 \(bucket"):
        step(changed(data, "chosen_score", 5, score), tmp_path)


@pytest.mark.parametrize("weight", [math.nan, -1.0])
def test_bad_weights(data: Dataset, tmp_path: Path, weight: float) -> None:
    with pytest.raises(ValueError, match="column 'weight', row 5 of those that train"):
        step(changed(data, "weight", 5, weight), tmp_path)


def test_a_critic_of_the_wrong_shape(data: Dataset, tmp_path: Path) -> None:
    class Short:
        def score(self, responses: Any, buckets: Any) -> Any:
            return np.zeros(len(responses) - 1, dtype=np.float32)

    with pytest.raises(ValueError, match=r"gave scores of shape \[11\] for 12 responses"):
        step(data.remove_columns(["chosen_score", "rejected_score"]), tmp_path, critic=Short())


def test_a_collapsed_critic(tmp_path: Path) -> None:
    class Constant:
        def score(self, responses: Any, buckets: Any) -> Any:
            return np.ones(len(responses), dtype=np.float32)

    with pytest.raises(ValueError, match="critic"):
        step(tiny.pairs(60, scored=False), tmp_path, critic=Constant())


def test_reentrant_checkpointing_on_several_processes() -> None:
    """Its backward pass would have a parameter's gradient ready twice; what the message advises is taken."""

    def refuse(processes: int, *, checkpointing: bool = True, reentrant: bool = True, online: float = 0.1) -> None:
        args = HDPOConfig(
            output_dir="unused",
            bf16=False,
            use_cpu=True,
            activation_checkpointing=checkpointing,
            activation_checkpointing_kwargs={"use_reentrant": reentrant},
            lambda_online=online,
        )
        HDPO._refuse_reentrant(SimpleNamespace(args=args, accelerator=SimpleNamespace(num_processes=processes)))

    refuse(1)
    refuse(2, online=0.0)
    refuse(2, checkpointing=False)
    refuse(2, reentrant=False)
    with pytest.raises(
        ValueError, match=r"reentrant activation checkpointing.*: set activation_checkpointing=False, or"
    ):
        refuse(2)


def test_beyond_the_model(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"max_new_tokens=120 and the longest prompt, \d+ tokens, are beyond the model's 128"
    ):
        step(data, tmp_path, critic=Words(), lambda_online=0.1, max_new_tokens=120, steps=10)
    # Where nothing is sampled, there need be no room.
    step(data, tmp_path, critic=Words(), lambda_online=0.1, max_new_tokens=120)
    step(data, tmp_path, max_new_tokens=120)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("margin", "x"),
        ("critic_floor", "mean"),
        ("num_online_samples", 1),
        ("online_every", 0),
        ("lambda_offline", -1),
        ("weight_min", 4.0),
        ("margin_beta", 0),
    ],
)
def test_settings(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}="):
        HDPOConfig(output_dir=str(tmp_path), bf16=False, **{name: value})


def test_the_published_variant_takes_scores_as_they_are() -> None:
    with pytest.raises(ValueError, match="variant='paper' takes scores as they are: critic_floor='none' is for others"):
        HDPOConfig(output_dir="unused", bf16=False, variant="paper", critic_floor="none")
    assert HDPOConfig(output_dir="unused", bf16=False, variant="paper").critic_floor is None
    assert HDPOConfig(output_dir="unused", bf16=False).critic_floor == "median"


# ------------------------------------------------------------------------------------------- the human reference


@pytest.fixture(scope="module")
def reference() -> Any:
    return polyalign.Reference.from_arrow(polyalign.reference.example_table())


def with_reference(data: Any, tmp_path: Path, reference: Any, **settings: Any):
    return training.train(
        HDPO,
        HDPOConfig,
        tmp_path,
        model=tiny.model(),
        settings={"per_device_train_batch_size": 4, "max_steps": 1, "max_new_tokens": 8, "online_every": 1, **settings},
        train_dataset=data,
        ref_model=tiny.model(1),
        reference=reference,
    )


def of_bucket(pairs: Dataset, *buckets: str) -> Dataset:
    named = [buckets[at % len(buckets)] for at in range(len(pairs))]
    return pairs.remove_columns("bucket").add_column("bucket", named)


def test_a_reference_is_the_critic(reference: Any, tmp_path: Path) -> None:
    pairs = of_bucket(tiny.pairs(8, scored=False), reference.buckets[0])
    trainer, _ = with_reference(pairs, tmp_path, reference)
    assert repr(trainer.critic).startswith("SupportCritic(")
    texts = [row["chosen"][0]["content"] for row in pairs]
    wanted = ask_floored(SupportCritic(reference), texts, [reference.buckets[0]] * 8, pairs["prompt"])
    assert trainer.train_dataset["chosen_score"][:] == pytest.approx(wanted.tolist())
    assert 0 < trainer.state.log_history[0]["hdpo/online_score"] <= 1
    assert trainer.state.log_history[0]["hdpo/online_unscored"] == 0


def test_a_saved_critic_is_named_by_its_folder(reference: Any, tmp_path: Path) -> None:
    SupportCritic(reference, min_count=10).save(tmp_path / "critic")
    pairs = of_bucket(tiny.pairs(8, scored=False), reference.buckets[0])
    critics = {"critic": str(tmp_path / "critic"), "held_out_critic": Letters()}
    trainer, _ = step(pairs, tmp_path, **critics, **ONLINE_SETTINGS)
    wanted, _ = step(pairs, tmp_path, critic=SupportCritic(reference, min_count=10))
    assert trainer.train_dataset["chosen_score"][:] == wanted.train_dataset["chosen_score"][:]
    with pytest.raises(ValueError, match="held_out_critic is the critic that trains"):
        step(pairs, tmp_path, critic=tmp_path / "critic", held_out_critic=tmp_path / "critic", **ONLINE_SETTINGS)
    (tmp_path / "critic" / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match="critic: not a critic"):
        step(pairs, tmp_path, **critics, **ONLINE_SETTINGS)


def test_a_reference_of_another_schema(reference: Any, tmp_path: Path) -> None:
    for bucket in ("en|single|qa", "en|single|qa|huge", "en|sometimes|qa|short"):
        with pytest.raises(ValueError, match="the data set and the reference are of different schemas: "):
            with_reference(of_bucket(tiny.pairs(8, scored=False), bucket), tmp_path, reference)


def test_a_folder_of_another_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lengths that are binned otherwise have the same ids: the folder says so, before a model is loaded."""
    monkeypatch.chdir(tmp_path)
    rows = [{"id": str(at), "prompt": f"Is it {at}?", "completion": f"Yes, {at}."} for at in range(20)]
    samples = Dataset.from_list([{"id": str(at), "response": "No."} for at in range(20)])
    for name, edges in (("own", (5, 9, 20)), ("other", (40, 120, 240))):
        schema = BucketSchema(length_unit="words", length_edges=edges)
        written = write_jsonl(tmp_path / "rows.jsonl", rows)
        Bucketer(schema).bucket_files(written, name, reference=f"{name}.safetensors")
        pair_files(name, f"{name}-pairs", samples=samples)
    own = polyalign.Reference.load("own.safetensors")
    args = HDPOConfig(output_dir="out", bf16=False, use_cpu=True)
    given = {"args": args, "train_dataset": "own-pairs"}
    told = r"^other-pairs: bucketed with length_edges \[40,120,240\], the reference with \[5,9,20\]: bucket the records"
    for data in (
        {"train_dataset": "other-pairs"},
        {"eval_dataset": Path("other-pairs")},
        {"eval_dataset": {"a": "other-pairs"}},
    ):
        for scores in ({"reference": own}, {"reference": "own.safetensors"}, {"critic": SupportCritic(own)}):
            with pytest.raises(ValueError, match=told):
                HDPO("./no-model-is-loaded", **{**given, **data}, **scores)
    with pytest.raises(ValueError, match="the data set and the reference are of different schemas"):
        HDPO("./no-model-is-loaded", args=args, train_dataset=tiny.pairs(8, buckets=("en|single|qa",)), reference=own)
    with pytest.raises(OSError, match="no-model-is-loaded"):
        HDPO("./no-model-is-loaded", **given, reference=own)


def test_buckets_without_humans(reference: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pairs = of_bucket(tiny.pairs(8, scored=False), reference.buckets[0], "ru|single|qa|short")
    trainer, _ = with_reference(pairs, tmp_path, reference)
    assert len(trainer.train_dataset) == 4
    assert "4 of 8 rows of the train data set do not train: 4: no chosen score: the critic has no humans" in caplog.text
    with pytest.raises(ValueError, match="8 of 8 rows of the train data set do not train"):
        with_reference(of_bucket(tiny.pairs(8, scored=False), "ru|single|qa|short"), tmp_path, reference)
