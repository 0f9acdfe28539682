"""The distributional term in HDPO: a step's gradient is that of its formula, whatever splits the batch or is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl", reason="training needs polyalign[train]")

import pyarrow
import torch
from datasets import Dataset
from peft import LoraConfig, TaskType
from torch import Tensor

import polyalign as pa
import test_hdpo as hdpo
import tiny
import training
from polyalign.distribution import DistributionTerm, Measured
from polyalign.trainers import HDPO, HDPOConfig
from test_distribution import Oracle, to_others
from test_hdpo import LAMBDA, ONLINE, SPLITS, Words, answers, enumerated, expected, fixed, of_bucket, step

BUCKETS = ("en|single|qa|short", "en|multi|dialogue|short")
FEATURES = ["length", "type_token_ratio", "word_length_mean"]
SETTINGS = {
    "max_new_tokens": 8,
    "online": "distribution",
    "lambda_distribution": ONLINE,
    "online_every": 1,
    "num_online_samples": 3,
    "distribution_features": FEATURES,
}


def made_reference(buckets: tuple[str, ...] = BUCKETS) -> pa.Reference:
    """Forty people in each bucket."""
    rows = tiny.responses(40 * len(buckets), seed=9).to_list()
    table = [
        {"bucket": buckets[at % len(buckets)], **{name: row[name] for name in ("prompt", "completion")}}
        for at, row in enumerate(rows)
    ]
    return pa.Reference.from_arrow(pyarrow.Table.from_pylist(table))


REFERENCE = made_reference()


def made_pairs(rows: int = 12) -> Dataset:
    pairs = of_bucket(tiny.pairs(rows), *BUCKETS)
    return pairs.add_column("weight", [round(0.3 + 0.23 * (at * 5 % 11), 3) for at in range(rows)])


PAIRS = made_pairs()


@pytest.fixture(scope="module")
def data() -> Dataset:
    return PAIRS


def told(rows: list[dict[str, Any]], term: DistributionTerm) -> Measured:
    """The made-up responses of a batch."""
    texts = [
        tiny.tokenizer().decode(response, skip_special_tokens=True)
        for row in rows
        for response in answers([hdpo.prompt_of(row)])
    ]
    buckets, prompts = ([row[name] for row in rows for _ in range(3)] for name in ("bucket", "prompt"))
    return term.measure(texts, buckets, prompts)


def slow_scores(own: Measured, pool: Measured, names: tuple[str, ...]) -> tuple[Tensor, float]:
    """2 (E d(y, H) − E d(y, Y′)) of each response, and E², by the oracle."""
    oracles = {bucket: Oracle(REFERENCE, "marginals", bucket, list(names)) for bucket in set(own.buckets)}
    apart = [
        to_others(oracles[bucket].distance, own.take([at]), Measured.joined([own, pool]))[0]
        for at, bucket in enumerate(own.buckets)
    ]
    humans = [oracles[bucket].to_humans(row) for bucket, row in zip(own.buckets, own.rows, strict=True)]
    within = [oracles[bucket].within() for bucket in own.buckets]
    scores = [2 * (near - far) for near, far in zip(humans, apart, strict=True)]
    energy = np.nanmean([2 * a - b - c for a, b, c in zip(humans, apart, within, strict=True)])
    return torch.tensor(scores, dtype=torch.float64), float(energy)


def surrogate(model: Any, rows: list[dict[str, Any]]) -> Tensor:
    """(1/kP) Σ A_j log π(y_j) of the made-up responses, scores by the oracle."""
    term = DistributionTerm(REFERENCE, features=FEATURES)
    own = told(rows, term)
    scores, _ = slow_scores(own, own.take([]), term.features)
    total = torch.zeros((), dtype=torch.float64)
    for at, row in enumerate(rows):
        prompt, mine = hdpo.prompt_of(row), scores[3 * at : 3 * at + 3]
        for place, response in enumerate(answers([prompt])):
            advantage = mine[place] - (mine.sum() - mine[place]) / 2
            logps = training.ids_logps(model, torch.tensor(prompt + response), len(prompt))
            total = total + advantage * logps.sum()
    return total / (3 * len(rows))


@pytest.mark.parametrize("split", SPLITS)
def test_gradient(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: tuple[int, int]) -> None:
    """All micro-batches are compared with each other."""
    fixed(monkeypatch)
    trainer, (found,) = step(data, tmp_path, split, reference=REFERENCE, **SETTINGS)
    assert training.error(found, expected(data, online=surrogate)) < 1e-5
    logged = trainer.state.log_history[0]
    term = DistributionTerm(REFERENCE, features=FEATURES)
    own = told(training.rows(data, 4), term)
    assert logged["hdpo/online_distribution"] == pytest.approx(
        slow_scores(own, own.take([]), term.features)[1], rel=1e-4
    )
    assert logged["hdpo/online_distribution_unscored"] == 0
    assert logged["hdpo/online_distribution_floor"] > 0
    assert set(BUCKETS) <= {name.rpartition("/")[2] for name in logged if "online_distribution/" in name}
    assert logged["loss"] == pytest.approx(logged["hdpo/loss"] + ONLINE * logged["hdpo/online_distribution"], rel=1e-5)
    assert "hdpo/online_score" in logged  # of the reference's critic, which trains nothing


def test_both_terms_add_up(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(monkeypatch)
    settings = {**SETTINGS, "online": "both", "lambda_online": ONLINE}
    trainer, (found,) = step(data, tmp_path, (2, 2), reference=REFERENCE, critic=Words(), **settings)

    def both(model: Any, rows: list[dict[str, Any]]) -> Tensor:
        return surrogate(model, rows) + hdpo.surrogate(model, rows)

    assert training.error(found, expected(data, online=both)) < 1e-5
    logged = trainer.state.log_history[0]
    online = logged["hdpo/online_distribution"] + logged["hdpo/online_score"]
    assert logged["loss"] == pytest.approx(logged["hdpo/loss"] + ONLINE * online, rel=1e-5)


def compared_wrongly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = DistributionTerm.compare

    def own_prompt(self: DistributionTerm, measured: Measured, pool: Any = None) -> Any:
        ids = np.arange(len(measured))
        return right(self, Measured(measured.rows, measured.buckets, ids, measured.with_prompts), pool)

    def other_humans(self: DistributionTerm, measured: Measured, pool: Any = None) -> Any:
        other = [BUCKETS[bucket == BUCKETS[0]] for bucket in measured.buckets]
        found = right(self, Measured(measured.rows, other, measured.prompt_ids, measured.with_prompts), pool)
        names = {bucket: found.buckets[own] for bucket, own in zip(measured.buckets, other, strict=True)}
        return found._replace(buckets=names)

    def without_two(self: DistributionTerm, measured: Measured, pool: Any = None) -> Any:
        found = right(self, measured, pool)
        return found._replace(scores=found.scores / 2)

    def critic_alone(self: DistributionTerm, measured: Measured, pool: Any = None) -> Any:
        found = right(self, measured, pool)
        return found._replace(scores=found.shares + found.scores / 2)

    wrong = {each.__name__: each for each in (own_prompt, other_humans, without_two, critic_alone)}
    monkeypatch.setattr(DistributionTerm, "compare", wrong[name])


@pytest.mark.parametrize("name", ["own_prompt", "other_humans", "without_two", "critic_alone"])
def test_a_defect_is_seen(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    fixed(monkeypatch)
    right = expected(data, online=surrogate)
    compared_wrongly(name, monkeypatch)
    _, (found,) = step(data, tmp_path, (2, 2), reference=REFERENCE, **SETTINGS)
    assert training.error(found, right) > 1e-3


def test_the_mean_gradient_is_exact(tmp_path: Path) -> None:
    """Over many steps of sampling, the term's gradient averages to that of E², Y′ of the other prompt."""
    samples, steps = 8, 300
    data = of_bucket(tiny.pairs(2), BUCKETS[0]).add_column("weight", [1.0, 1.0])
    frozen = {"learning_rate": 0.0, "lambda_offline": 0.0, "gamma": 0.0, "num_train_epochs": steps}
    sampled = {**SETTINGS, "num_online_samples": samples, "max_new_tokens": 2, "logging_steps": 10_000}
    _, offline = step(data, tmp_path, (2, 1), **frozen)
    _, found = step(data, tmp_path, (2, 1), steps=steps, reference=REFERENCE, **frozen, **sampled)
    draws = (torch.stack(found) - offline[0]) / ONLINE
    term = DistributionTerm(REFERENCE, features=FEATURES)
    texts = _all_texts(data)
    measured = [
        term.measure(each, BUCKETS[0], [row["prompt"]] * len(each)) for each, row in zip(texts, data, strict=True)
    ]
    oracle = Oracle(REFERENCE, "marginals", BUCKETS[0], list(term.features))
    apart = torch.tensor(_apart(oracle, measured))
    to_humans = [torch.tensor([oracle.to_humans(row) for row in each.rows], dtype=torch.float64) for each in measured]

    def energy(model: Any) -> Tensor:
        one, two = (enumerated(model, hdpo.prompt_of(row))[0].exp() for row in data)
        return one @ to_humans[0] + two @ to_humans[1] - one @ apart @ two

    exact = training.gradient_of(tiny.model(dtype=torch.float64), energy)
    torch.manual_seed(0)
    directions = torch.cat((exact[None] / exact.norm(), torch.randn(8, len(exact), dtype=torch.float64)))
    along = draws @ directions.T
    spread = along.std(dim=0) / len(draws) ** 0.5
    truth = directions @ exact
    assert ((along.mean(dim=0) - truth).abs() / spread).max() < 4
    # The test would see the term twice, or half of it.
    assert truth[0] / spread[0] > 8


def _all_texts(data: Dataset) -> list[list[str]]:
    model = tiny.model(dtype=torch.float64)
    with torch.no_grad():
        found = [enumerated(model, hdpo.prompt_of(row))[1] for row in data]
    return [tiny.tokenizer().batch_decode(each, skip_special_tokens=True) for each in found]


def _apart(oracle: Oracle, measured: list[Measured]) -> Any:
    (one, no_one), (two, no_two) = (
        (np.array(side) for side in zip(*(oracle.place(row) for row in each.rows), strict=True)) for each in measured
    )
    return np.stack([(np.abs(x - two) + np.abs(no - no_two)).mean(axis=1) for x, no in zip(one, no_one, strict=True)])


def test_training_brings_samples_to_the_humans(tmp_path: Path) -> None:
    data = of_bucket(tiny.pairs(8), BUCKETS[0]).add_column("weight", [1.0] * 8)
    settings = {"beta": 1e-6, "lambda_offline": 0.0, "gamma": 0.0, "learning_rate": 0.01, "optim": "adamw_torch"}
    online = {**SETTINGS, "lambda_distribution": 1.0, "num_online_samples": 8}
    trainer, _ = step(data, tmp_path, (4, 2), steps=60, reference=REFERENCE, **settings, **online)
    found = [logged["hdpo/online_distribution"] for logged in trainer.state.log_history if "loss" in logged]
    assert len(found) == 60
    assert sum(found[-10:]) < 0.5 * sum(found[:10])


# ------------------------------------------------------------------------------------------------------ the pool


def test_earlier_samples_are_compared_with(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket with one prompt in a step has no others, until there are some of an earlier step."""
    fixed(monkeypatch)
    settings = {**SETTINGS, "learning_rate": 0.0}
    trainer, found = step(data, tmp_path, (2, 1), steps=2, reference=REFERENCE, **settings)
    unscored = [logged["hdpo/online_distribution_unscored"] for logged in trainer.state.log_history[:2]]
    assert unscored == [1, 0]
    _, offline = step(data, tmp_path, (2, 1), steps=2, learning_rate=0.0)
    torch.testing.assert_close(found[0], offline[0])
    assert not torch.equal(found[1], offline[1])
    none, _ = step(data, tmp_path, (2, 1), steps=2, reference=REFERENCE, **settings, distribution_pool=0)
    assert [logged["hdpo/online_distribution_unscored"] for logged in none.state.log_history[:2]] == [1, 1]
    assert trainer._distribution is not None
    pool = trainer._distribution.pool
    assert {bucket: len(kept) for bucket, kept in pool.by_bucket.items()} == dict.fromkeys(BUCKETS, 6)


def test_steps_and_pool_are_compared_with_alike(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(monkeypatch)
    trainer, _ = step(data, tmp_path, (2, 2), steps=2, reference=REFERENCE, **SETTINGS)
    term, rows = DistributionTerm(REFERENCE, features=FEATURES), training.rows(data, 8)
    _, energy = slow_scores(told(rows[4:], term), told(rows[:4], term), term.features)
    assert trainer.state.log_history[1]["hdpo/online_distribution"] == pytest.approx(energy, rel=1e-4)


def test_the_pool_keeps_the_last(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(monkeypatch)
    trainer, _ = step(data, tmp_path, (2, 1), steps=3, reference=REFERENCE, **SETTINGS, distribution_pool=4)
    assert trainer._distribution is not None
    for place, (bucket, kept) in enumerate(sorted(trainer._distribution.pool.by_bucket.items(), reverse=True)):
        rows = training.rows(data, 6)[place::2]
        assert len(kept) == 4, bucket
        last = told(rows, trainer._distribution.term).take(slice(5, 9))
        assert kept.rows.tobytes() == last.rows.tobytes()


def test_a_resumed_run_goes_on_with_its_pool(data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4, "learning_rate": 0.1, **SETTINGS}
    ends = []
    for resume in (None, str(tmp_path / "checkpoint-2"), str(tmp_path / "checkpoint-2")):
        args = HDPOConfig(str(tmp_path), **{**training.ARGUMENTS, "per_device_train_batch_size": 2, **given})
        trainer = HDPO(
            tiny.model(),
            tiny.model(1),
            args,
            train_dataset=data,
            processing_class=tiny.tokenizer(),
            reference=REFERENCE,
        )
        trainer.train(resume_from_checkpoint=resume)
        ends.append([logged.get("hdpo/online_distribution_score") for logged in trainer.state.log_history[2:4]])
        if resume is not None:
            (tmp_path / "checkpoint-2" / "distribution_pool.safetensors").unlink(missing_ok=True)
    assert ends[0] == ends[1] != ends[2]
    assert "checkpoint-2 has no distribution_pool.safetensors: the pool of samples is filled anew" in caplog.text


# -------------------------------------------------------------------------------------------------- what is given


def test_lora_trains(data: Dataset, tmp_path: Path) -> None:
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type=TaskType.CAUSAL_LM)
    args = HDPOConfig(str(tmp_path), **{**training.ARGUMENTS, **SETTINGS, "max_steps": 2, "online": "both"})
    trainer = HDPO(
        tiny.model(),
        args=args,
        train_dataset=data,
        processing_class=tiny.tokenizer(),
        reference=REFERENCE,
        peft_config=lora,
    )
    before = {name: weight.detach().clone() for name, weight in trainer.model.state_dict().items()}
    trainer.train()
    changed = {name for name, weight in trainer.model.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed and all("lora_" in name for name in changed)
    assert np.isfinite(trainer.state.log_history[1]["hdpo/online_distribution"])


def test_an_evaluation_has_it_too(data: Dataset, tmp_path: Path) -> None:
    trainer, _ = step(data, tmp_path, reference=REFERENCE, eval_online_prompts=8, learning_rate=0.0, **SETTINGS)
    found = [trainer.evaluate(made_pairs(9)) for _ in range(2)]
    names = ("eval_hdpo/online_distribution", "eval_hdpo/online_distribution_floor")
    assert [[each[name] for name in names] for each in found] == [[found[0][name] for name in names]] * 2
    assert found[0][names[1]] > 0


def test_rows_of_people(data: Dataset, tmp_path: Path) -> None:
    trainer, _ = step(data, tmp_path, reference=REFERENCE, **SETTINGS, distribution_over="rows")
    assert np.isfinite(trainer.state.log_history[0]["hdpo/online_distribution"])
    bare = pa.Reference.from_arrow(pa.reference.example_table(), sample_size=0)
    with pytest.raises(ValueError, match="the reference keeps 0 rows a bucket, but joint features need at least 20"):
        step(data, tmp_path, reference=bare, **SETTINGS, distribution_over="rows")


def test_buckets_without_humans(data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mixed = of_bucket(tiny.pairs(8), BUCKETS[0], "zh|single|qa|short").add_column("weight", [1.0] * 8)
    trainer, _ = step(mixed, tmp_path, (4, 1), reference=REFERENCE, **SETTINGS)
    assert (
        "the distributional term has no humans for 1 bucket of 2 (first: zh|single|qa|short: no humans in `zh|*|*|*`): "
        "samples for 4 pairs count for nothing in it"
    ) in caplog.text
    assert trainer.state.log_history[0]["hdpo/online_distribution_unscored"] == 0.5
    few = of_bucket(tiny.pairs(8), "zh|single|qa|short").add_column("weight", [1.0] * 8)
    with pytest.raises(ValueError, match=r"no humans for 1 bucket of 1 \(first: zh\|single\|qa\|short: no humans in"):
        step(few, tmp_path, (4, 1), reference=REFERENCE, **SETTINGS)


def test_no_reference(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="online='distribution' compares samples with a reference's humans: give one"):
        step(data, tmp_path, critic=Words(), **SETTINGS)
    unknown = {**SETTINGS, "distribution_features": ["tone"]}
    with pytest.raises(ValueError, match="features: 'tone' is neither a feature"):
        step(data, tmp_path, reference=REFERENCE, **unknown)


@pytest.mark.parametrize(
    ("name", "value"),
    [("online", "critics"), ("lambda_distribution", -1), ("distribution_pool", -1), ("distribution_over", "joint")],
)
def test_settings(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}="):
        HDPOConfig(output_dir=str(tmp_path), bf16=False, **{name: value})


def test_what_samples() -> None:
    def sampling(**settings: Any) -> bool:
        return HDPOConfig(output_dir="unused", bf16=False, use_cpu=True, **settings).samples

    assert sampling(online="distribution", lambda_online=0.0)
    assert not sampling(online="distribution", lambda_distribution=0.0)
    assert not sampling(lambda_online=0.0)
    assert sampling(online="both", lambda_online=0.0)


def test_samples_that_are_all_empty_move_nothing(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed(monkeypatch)
    monkeypatch.setattr(hdpo, "answers", lambda prompts: [[1] for _ in prompts for _ in range(3)])
    trainer, (found,) = step(data, tmp_path, reference=REFERENCE, **SETTINGS)
    assert training.error(found, expected(data)) < 1e-5
    logged = json.loads(json.dumps(trainer.state.log_history[0]))
    assert logged["hdpo/online_distribution"] > logged["hdpo/online_distribution_floor"]
    assert LAMBDA > 0
