"""Our reward in TRL's trainer, with a tiny random model."""

from __future__ import annotations

import math
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import humans
from conftest import ROOT
from polyalign import Reference, critics, rewards

pytest.importorskip("trl", reason="trl is not installed: pip install 'polyalign[train]'")

import torch

import tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2 of a few thousand weights and its tokenizer."""
    folder, tokenizer = tmp_path_factory.mktemp("model"), tiny.chat_tokenizer()
    tiny.chat_model(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return humans.table()


def combined(reference: Reference) -> rewards.Reward:
    critic = rewards.critic(critics.SupportCritic(reference))
    return rewards.combine([critic, rewards.length(reference), rewards.language()], [1.0, 0.5, 1.0])


@pytest.mark.parametrize(
    ("conversational", "made"), [(False, rewards.support), (True, rewards.support), (True, combined)]
)
def test_grpo_trains_on_the_reward(
    model_folder: Path,
    table: pa.Table,
    tmp_path: Path,
    conversational: bool,
    made: Callable[[Reference], rewards.Reward],
) -> None:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    reference = humans.reference()
    rows = [row for row in table.select(["prompt", "bucket"]).to_pylist() if row["bucket"].startswith("en|")][:12]
    # A row that was rejected has no bucket, and one has no humans: neither has a reward.
    rows[1]["bucket"], rows[2]["bucket"] = None, "de|single|qa|short"
    if not conversational:
        rows = [{**row, "prompt": row["prompt"][-1]["content"]} for row in rows]
    reward = made(reference)
    seen: list[tuple[str | None, float | None]] = []

    def watched(completions: list[Any], **columns: Any) -> list[float | None]:
        found = reward(completions, **columns)
        seen.extend(zip(columns["bucket"], found, strict=True))
        return found

    config = GRPOConfig(
        str(tmp_path),
        max_steps=3,
        per_device_train_batch_size=8,
        num_generations=2,
        max_completion_length=16,
        learning_rate=1e-2,
        logging_steps=1,
        **tiny.QUIET,
    )
    trainer = GRPOTrainer(str(model_folder), reward_funcs=watched, args=config, train_dataset=Dataset.from_list(rows))
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert len(logged) == 3
    assert all(math.isfinite(entry["reward"]) and -5 <= entry["reward"] <= 0 for entry in logged)
    assert all(math.isfinite(entry["loss"]) for entry in logged)
    assert len(seen) == 24
    if made is rewards.support:  # of several one has no need of humans
        assert all(reward is None for bucket, reward in seen if bucket in (None, "de|single|qa|short"))
    assert sum(reward is None for _, reward in seen) < len(seen) / 2
    before = AutoModelForCausalLM.from_pretrained(model_folder).state_dict()
    after = trainer.model.state_dict()
    assert any(not torch.equal(before[name], weights.cpu().to(before[name].dtype)) for name, weights in after.items())
    assert all(weights.isfinite().all() for weights in after.values())


def test_the_example_runs(
    model_folder: Path,
    table: pa.Table,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = tmp_path / "humans.parquet"
    pq.write_table(table.select(["prompt", "completion"]), data)
    script = str(ROOT / "examples" / "grpo_reward.py")
    monkeypatch.setattr(sys, "argv", [script, str(model_folder), str(data), str(tmp_path)])
    runpy.run_path(script)
    assert "mean reward -" in capsys.readouterr().out
