"""Training: what all arms start from, and the arms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import torch
from data import write_lines
from peft import LoraConfig
from settings import Settings
from transformers import AutoModelForCausalLM, PrinterCallback

import polyalign
from polyalign import critics
from polyalign.trainers import HDPO, BucketSFT, BucketSFTConfig, HDPOConfig


def load(model: str | Path, settings: Settings) -> Any:
    """Load a model, onto a GPU where there is one."""
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, settings.dtype))
    return loaded.to("cuda" if torch.cuda.is_available() else "cpu")


def sft(
    model: str | Path,
    rows: pa.Table,
    told: Mapping[str, Any],
    settings: Settings,
    *,
    tokenizer: Any,
    path: Path,
    seed: int,
) -> Any:
    """Train by BucketSFT, and return the trainer."""
    args = BucketSFTConfig(**_arguments(settings, told, path, seed))
    trainer = BucketSFT(
        load(model, settings),
        args,
        train_dataset=datasets.Dataset(rows),
        processing_class=tokenizer,
        peft_config=LoraConfig(**settings.lora, task_type="CAUSAL_LM"),
    )
    return _fit(trainer)


def save_whole(trainer: Any, tokenizer: Any, path: Path) -> None:
    """Save a model with its adapter merged into it."""
    trainer.model.merge_and_unload().save_pretrained(path)
    tokenizer.save_pretrained(path)


def save_adapter(trainer: Any, path: Path) -> None:
    """Save an adapter, and the training's log beside it."""
    trainer.save_model(str(path))
    write_lines(path.parent / "log.jsonl", trainer.state.log_history)


def hdpo(
    start: Path, pairs: pa.Table, told: Mapping[str, Any], settings: Settings, *, tokenizer: Any, path: Path, seed: int
) -> Any:
    """Train by HDPO on pairs, and return the trainer. Critics and the reference lie beside `start`."""
    told = dict(told)
    critic = told.pop("critic", None)
    args = HDPOConfig(**{**_arguments(settings, told, path, seed), "max_new_tokens": settings.max_new_tokens})
    needs = critic is not None or args.online != "critic"
    out = start.parent
    trainer = HDPO(
        load(start, settings),
        args=args,
        train_dataset=datasets.Dataset(pairs),
        processing_class=tokenizer,
        peft_config=LoraConfig(**settings.lora, task_type="CAUSAL_LM"),
        reference=polyalign.Reference.load(out / "reference.safetensors") if needs else None,
        critic=str(out / "ensemble") if critic == "ensemble" else None,
        held_out_critic=critics.load(out / "judge") if args.is_online else None,
    )
    return _fit(trainer)


def _arguments(settings: Settings, told: Mapping[str, Any], path: Path, seed: int) -> dict[str, Any]:
    """Return the arguments of a training."""
    steps = int(told["max_steps"])
    return {
        "output_dir": str(path),
        "learning_rate": 1e-4,
        "lr_scheduler_type": "cosine",
        "warmup_steps": steps // 10,
        "per_device_train_batch_size": settings.micro_batch,
        "gradient_accumulation_steps": settings.batch // settings.micro_batch,
        "train_sampling_strategy": "batch_rebalance",
        "max_length": settings.max_length,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": not torch.cuda.is_available(),
        "logging_steps": 2,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": seed,
        **settings.training,
        **told,
    }


def _fit(trainer: Any) -> Any:
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer
