"""A small model from nothing: its tokenizer and its weights, from the part of the corpus that trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    default_data_collator,
)
from transformers.trainer_utils import get_last_checkpoint

END, PAD = "<|end|>", "<|pad|>"


def make(rows: pa.Table, told: Mapping[str, Any], template: str, path: Path) -> None:
    """Train a tokenizer and a language model, and save them; goes on from the last checkpoint in the folder."""
    conversations = list(_conversations(rows))
    tokenizer = _tokenizer(conversations, told["vocab_size"], template)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        **told["config"],
    )
    torch.manual_seed(0)
    arguments = TrainingArguments(
        **{
            "output_dir": str(path / "training"),
            "lr_scheduler_type": "cosine",
            "warmup_steps": told["training"]["max_steps"] // 20,
            "use_cpu": not torch.cuda.is_available(),
            "logging_steps": 20,
            "save_steps": 100,
            "save_total_limit": 1,
            "report_to": "none",
            "disable_tqdm": True,
            **told["training"],
        }
    )
    trainer = Trainer(
        LlamaForCausalLM(config),
        arguments,
        train_dataset=_blocks(conversations, tokenizer, told["block"]),
        data_collator=default_data_collator,
    )
    trainer.remove_callback(PrinterCallback)
    kept = arguments.output_dir
    trainer.train(resume_from_checkpoint=get_last_checkpoint(kept) if Path(kept).is_dir() else None)
    trainer.save_model(str(path))
    tokenizer.save_pretrained(path)


def _conversations(rows: pa.Table) -> Iterator[list[dict[str, str]]]:
    """Give the longest conversation of each group: rows of a conversation's turns repeat its beginning."""
    longest: dict[str, tuple[int, list[dict[str, str]]]] = {}
    for row in rows.select(["group", "prompt", "completion"]).to_pylist():
        messages = [*row["prompt"], *row["completion"]]
        if len(messages) > longest.get(row["group"], (0, []))[0]:
            longest[row["group"]] = len(messages), messages
    for group in sorted(longest):
        yield longest[group][1]


def _tokenizer(conversations: list[list[dict[str, str]]], size: int, template: str) -> Any:
    """Train byte-level BPE."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator((message["content"] for each in conversations for message in each), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token=PAD, eos_token=END, chat_template=template)


def _blocks(conversations: list[list[dict[str, str]]], tokenizer: Any, size: int) -> datasets.Dataset:
    """Return conversations one after another, cut into blocks."""
    texts = tokenizer.apply_chat_template(conversations, tokenize=False)
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    order = np.random.default_rng(0).permutation(len(ids))
    joined = np.concatenate([np.asarray(ids[at], dtype=np.int64) for at in order])
    blocks = joined[: len(joined) // size * size].reshape(-1, size)
    return datasets.Dataset.from_dict({"input_ids": blocks, "labels": blocks})
