"""The two trainers beside TRL's that they extend, and short runs of either, for tests of what both must do."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

import tiny
from conftest import clean_environment
from polyalign.trainers import HDPO, BucketSFT, BucketSFTConfig, HDPOConfig

datasets.disable_progress_bars()
gc.freeze()  # as in tiny

SETTINGS = {
    **tiny.QUIET,
    "logging_steps": 1,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "per_device_eval_batch_size": 5,
    "learning_rate": 1e-2,
    "max_steps": 2,
}


@dataclass(frozen=True)
class Kind:
    """A trainer, TRL's that it extends, and what it trains on."""

    prefix: str
    trainer: Any
    config: Any
    trl_trainer: Any
    trl_config: Any
    data: Callable[..., Dataset]
    settings: dict[str, Any] = field(default_factory=dict)
    #: With these, it is TRL's trainer with batches of one size.
    plain: dict[str, Any] = field(default_factory=dict)

    def make(self, model: Any, output: Path, rows: Any = None, *, given: dict[str, Any] | None = None, **settings: Any):
        """Make a trainer; `given` goes to it, the rest are settings."""
        given = dict(given or {})
        if self is HUMAN_DPO:
            given.setdefault("critic", tiny.Critic())
        args = self.config(output_dir=str(output), **{**SETTINGS, **self.settings, **settings})
        return _made(self.trainer, model, args, self.data(24) if rows is None else rows, given)

    def train(self, *arguments: Any, **options: Any) -> Any:
        """Make a trainer and train."""
        trainer = self.make(*arguments, **options)
        trainer.train()
        return trainer

    def make_trl(self, model: Any, output: Path, rows: Any = None, *, given: Any = None, **settings: Any) -> Any:
        """Make TRL's trainer alike."""
        args = self.trl_config(output_dir=str(output), **{**SETTINGS, **settings})
        return _made(self.trl_trainer, model, args, self.data(24) if rows is None else rows, given or {})

    def train_trl(self, *arguments: Any, **options: Any) -> Any:
        """Make TRL's trainer, and train."""
        trainer = self.make_trl(*arguments, **options)
        trainer.train()
        return trainer


def _made(trainer_class: Any, model: Any, args: Any, rows: Any, given: dict[str, Any]) -> Any:
    if isinstance(model, torch.nn.Module):
        given = {"processing_class": tiny.tokenizer(), **given}
    else:
        model = str(model)
    trainer = trainer_class(model, args=args, train_dataset=rows, **given)
    trainer.remove_callback(PrinterCallback)
    return trainer


BUCKET_SFT = Kind(
    "sft", BucketSFT, BucketSFTConfig, SFTTrainer, SFTConfig, tiny.responses, {}, {"tau": 1.0, "reduction": "token"}
)
HUMAN_DPO = Kind(
    "hdpo",
    HDPO,
    HDPOConfig,
    DPOTrainer,
    DPOConfig,
    tiny.pairs,
    {"online_every": 2, "num_online_samples": 2, "max_new_tokens": 4},
    {"lambda_offline": 0.0, "lambda_online": 0.0, "gamma": 0.0, "alpha": 0.0, "beta_w": 0.0, "gamma_l": 0.0},
)
BOTH = [pytest.param(BUCKET_SFT, id="sft"), pytest.param(HUMAN_DPO, id="hdpo")]


class Gradients(TrainerCallback):
    """Keeps the gradients of every optimizer step."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def on_pre_optimizer_step(self, *_: Any, model: Any = None, **__: Any) -> None:
        grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
        self.steps.append(torch.cat([grad.detach().flatten().double() for grad in grads]))


def logged(trainer: Any, *names: str) -> list[dict[str, Any]]:
    """The logs of the training steps; the names given, or all."""
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    return [{name: entry[name] for name in names} for entry in logs] if names else logs


def losses(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in logged(trainer)]


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """The names of the weights that differ."""
    assert set(before) == set(after)
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference over the largest entry."""
    return float((found - expected).abs().max() / expected.abs().max())


def launched(launcher: list[str], model: Path, output: Path) -> Any:
    """Run `launched.py` by a launcher, and return what rank 0 told."""
    script = Path(__file__).parent / "launched.py"
    environment = clean_environment(PYTHONPATH=os.pathsep.join(sys.path), CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1")
    command = [*launcher, str(script), str(model), str(output)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads((output / "told.json").read_text(encoding="utf-8"))
