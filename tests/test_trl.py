"""Our reward in TRL's trainer, with a tiny random model."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import humans
import small_tokenizers
from conftest import ROOT, clean_environment
from polyalign import Bucketer, Reference, rewards

torch: Any = pytest.importorskip("torch", reason="torch is not installed: pip install 'polyalign[train]'")
pytest.importorskip("trl", reason="trl is not installed: pip install 'polyalign[train]'")

pytestmark = pytest.mark.slow

TEMPLATE = (
    "{% for message in messages %}{{ message.role + ': ' + message.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2 of a few thousand weights and its tokenizer."""
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    end = "<|endoftext|>"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=small_tokenizers.build("qwen2"), eos_token=end, pad_token=end, chat_template=TEMPLATE
    )
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("model")
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return pa.table(Bucketer(humans.SCHEMA).assign(pa.Table.from_pylist(list(humans.records()))))


@pytest.mark.parametrize("conversational", [False, True])
def test_grpo_trains_on_the_reward(model_folder: Path, table: pa.Table, tmp_path: Path, conversational: bool) -> None:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    reference = Reference.from_arrow(table, schema=humans.SCHEMA)
    rows = [row for row in table.select(["prompt", "bucket"]).to_pylist() if row["bucket"].startswith("en|")][:12]
    # A row that was rejected has no bucket, and one has no humans: neither has a reward.
    rows[1]["bucket"], rows[2]["bucket"] = None, "de|single|qa|short"
    if not conversational:
        rows = [{**row, "prompt": row["prompt"][-1]["content"]} for row in rows]
    reward = rewards.support(reference)
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
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
    )
    trainer = GRPOTrainer(str(model_folder), reward_funcs=watched, args=config, train_dataset=Dataset.from_list(rows))
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert len(logged) == 3
    assert all(math.isfinite(entry["reward"]) and -5 <= entry["reward"] <= 0 for entry in logged)
    assert all(math.isfinite(entry["loss"]) for entry in logged)
    assert len(seen) == 24
    assert all(reward is None for bucket, reward in seen if bucket in (None, "de|single|qa|short"))
    assert sum(reward is None for _, reward in seen) < len(seen) / 2
    before = AutoModelForCausalLM.from_pretrained(model_folder).state_dict()
    after = trainer.model.state_dict()
    assert any(not torch.equal(before[name], weights.cpu().to(before[name].dtype)) for name, weights in after.items())
    assert all(weights.isfinite().all() for weights in after.values())


def test_the_example_runs(model_folder: Path, table: pa.Table, tmp_path: Path) -> None:
    data = tmp_path / "humans.parquet"
    pq.write_table(table.select(["prompt", "completion"]), data)
    command = [sys.executable, ROOT / "examples" / "grpo_reward.py", model_folder, data, tmp_path]
    environment = clean_environment(PYTHONPATH=":".join(sys.path), CUDA_VISIBLE_DEVICES="")
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    assert "mean reward -" in result.stdout
