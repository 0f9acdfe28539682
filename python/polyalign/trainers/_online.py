"""Sampling responses from the model that trains, for the online term."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from polyalign.trainers._trl import DistributedBackend, pad, unwrap_model_for_generation

__all__ = ["Samples", "sample"]


@dataclass(frozen=True)
class Samples:
    """Sampled responses, those of a prompt one after the other, n in all.

    Attributes
    ----------
    prompts, responses : list of list of int
        Token ids; a response ends with its end of sequence, unless it was cut.
    cut : list of bool
        Whether a response was cut at ``max_new_tokens``.
    """

    prompts: list[list[int]]
    responses: list[list[int]]
    cut: list[bool]

    def batch(self, pad_token_id: int, device: torch.device, pad_to_multiple_of: int | None) -> dict[str, Tensor]:
        """Return the model's inputs, prompts and responses laid out as in training; labels are the responses."""
        ids = [torch.tensor(prompt + response) for prompt, response in zip(self.prompts, self.responses, strict=True)]
        labels = [tokens.clone() for tokens in ids]
        for tokens, prompt in zip(labels, self.prompts, strict=True):
            tokens[: len(prompt)] = -100
        columns = {
            "input_ids": (ids, pad_token_id),
            "attention_mask": ([torch.ones_like(tokens) for tokens in ids], 0),
            "labels": (labels, -100),
        }
        return {
            name: pad(tensors, padding_value=value, pad_to_multiple_of=pad_to_multiple_of).to(device)
            for name, (tensors, value) in columns.items()
        }


def sample(
    model: Any, accelerator: Any, prompts: Sequence[list[int]], tokenizer: Any, args: Any, max_new_tokens: int
) -> Samples:
    """Sample ``args.num_online_samples`` responses to each prompt from the model's own distribution.

    Every token stays possible: temperature 1, and nothing of what a model's generation config says beyond its ends of
    sequence. In evaluation mode; the model's mode is as it was afterwards.

    Parameters
    ----------
    model : torch.nn.Module
        As accelerate wrapped it.
    accelerator : accelerate.Accelerator
        Every process must call this alike.
    prompts : list of list of int
        Token ids, none empty.
    tokenizer : PreTrainedTokenizerBase
        For its special tokens.
    args : HDPOConfig
        The settings.
    max_new_tokens : int
        The longest response.
    """
    ids = [torch.tensor(prompt) for prompt in prompts]
    padded = {
        "input_ids": pad(ids, padding_value=tokenizer.pad_token_id, padding_side="left"),
        "attention_mask": pad([torch.ones_like(tokens) for tokens in ids], padding_value=0, padding_side="left"),
    }
    padded = {name: tensor.to(accelerator.device) for name, tensor in padded.items()}
    with (
        unwrap_model_for_generation(
            model, accelerator, gradient_checkpointing_kwargs=args.gradient_checkpointing_kwargs
        ) as unwrapped,
        torch.no_grad(),
        DistributedBackend(accelerator).summon_full_params(model, recurse=False),
        _evaluating(unwrapped),
    ):
        ends = _ends(unwrapped, tokenizer)
        config = GenerationConfig(
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            repetition_penalty=1.0,
            num_return_sequences=args.num_online_samples,
            max_new_tokens=max_new_tokens,
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
        )
        with _generating_by(unwrapped, config):
            # Sharded models generate in step: `generate` sees to it (`synced_gpus`).
            output = unwrapped.generate(**padded, **_without_balance(unwrapped), generation_config=config)
    rows = output[:, padded["input_ids"].size(1) :].tolist()
    responses = [_until(row, set(ends)) for row in rows]
    return Samples(
        [prompt for prompt in prompts for _ in range(args.num_online_samples)],
        responses,
        [response[-1] not in ends for response in responses],
    )


def _ends(model: Any, tokenizer: Any) -> list[int]:
    given = model.generation_config.eos_token_id
    listed = given if isinstance(given, list) else [given]
    return sorted({token for token in (*listed, tokenizer.eos_token_id) if token is not None})


def _without_balance(model: Any) -> dict[str, bool]:
    """Return what keeps a mixture of experts from its balancing loss, whose mask has not the shape of cached tokens."""
    asks = getattr(model.config.get_text_config(), "output_router_logits", False)
    return {"output_router_logits": False} if asks else {}


def _until(row: list[int], ends: set[int]) -> list[int]:
    stop = next((at for at, token in enumerate(row) if token in ends), len(row) - 1)
    return row[: stop + 1]


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def _generating_by(model: Any, config: GenerationConfig) -> Iterator[None]:
    """Put a config in the place of the model's: `generate` takes what is None from there."""
    holders = [model, *([model.get_base_model()] if hasattr(model, "get_base_model") else [])]
    holders = [holder for holder in holders if "generation_config" in vars(holder)]
    kept = [holder.generation_config for holder in holders]
    for holder in holders:
        holder.generation_config = config
    try:
        yield
    finally:
        for holder, own in zip(holders, kept, strict=True):
            holder.generation_config = own
