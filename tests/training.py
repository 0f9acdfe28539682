"""Runs single steps of the trainers, and what the gradient of a step must be, from the formulas and plain logits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor
from transformers import TrainerCallback

import tiny

datasets.disable_progress_bars()

#: Of a command that trains.
FAST = "--use_cpu --bf16 false --max_steps 2 --per_device_train_batch_size 2 --logging_steps 1 --save_strategy no"

ARGUMENTS = {
    **tiny.QUIET,
    "optim": "sgd",
    "learning_rate": 1.0,
    "lr_scheduler_type": "constant",
    "max_grad_norm": 0.0,
    "gradient_checkpointing": False,
    "train_sampling_strategy": "sequential",
    "logging_steps": 1,
}


class Gradients(TrainerCallback):
    """Keeps the gradient of every optimizer step."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []

    def on_pre_optimizer_step(self, *_: Any, model: Any = None, **__: Any) -> None:
        model = getattr(model, "module", model)
        self.steps.append(gradient(model))


def gradient(model: Any) -> Tensor:
    return torch.cat([(p.grad if p.grad is not None else p * 0).detach().flatten().clone() for p in model.parameters()])


def train(trainer_class: Any, config_class: Any, output: Path, *, model: Any, settings: dict[str, Any], **given: Any):
    """Train; return the trainer and the gradients of its steps."""
    gradients = Gradients()
    args = config_class(output_dir=str(output), **{**ARGUMENTS, **settings})
    trainer = trainer_class(model=model, args=args, processing_class=tiny.tokenizer(), callbacks=[gradients], **given)
    trainer.train()
    return trainer, gradients.steps


def sequence(prompt: Any, response: Any) -> tuple[Tensor, int]:
    """The token ids of an exchange, and where the response begins."""
    tokenizer = tiny.tokenizer()
    head = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=True, return_dict=False)
    whole = tokenizer.apply_chat_template([*prompt, *response], tokenize=True, return_dict=False)
    return torch.tensor(whole), len(head)


def token_logps(model: Any, prompt: Any, response: Any) -> Tensor:
    """log π of every token of a response, from the logits of the exchange alone: no padding, no fused head."""
    ids, start = sequence(prompt, response)
    return ids_logps(model, ids, start)


def ids_logps(model: Any, ids: Tensor, start: int) -> Tensor:
    logits = model(ids[None]).logits[0, :-1]
    return logits.log_softmax(dim=-1).gather(1, ids[1:, None])[start - 1 :, 0]


def gradient_of(model: Any, loss: Callable[[Any], Tensor]) -> Tensor:
    model.zero_grad()
    loss(model).backward()
    found = gradient(model)
    model.zero_grad()
    return found


def error(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest entry."""
    return float((found - expected).abs().max() / expected.abs().max())


def rows(dataset: Any, count: int) -> list[dict[str, Any]]:
    return [dataset[at] for at in range(count)]


# ------------------------------------------------------------------------------------------------ two processes


def save(folder: Path, name: str, values: Iterable[Tensor]) -> None:
    if os.environ["RANK"] == "0":
        np.save(folder / f"{name}.npy", torch.stack(list(values)).numpy())


def load(folder: Path, name: str) -> Tensor:
    return torch.from_numpy(np.load(folder / f"{name}.npy"))
