"""Sampling responses from the model that trains, for the online term."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig

from polyalign._io.models import evaluating, generating_by
from polyalign.trainers._prepare.ends import stop_tokens
from polyalign.trainers._trl import DistributedBackend, pad, unwrap_model_for_generation

__all__ = ["Samples", "calls", "noise", "sample"]


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

    def of(self, start: int, stop: int) -> Samples:
        """Return some of them."""
        part = slice(start, stop)
        return Samples(self.prompts[part], self.responses[part], self.cut[part])

    def those(self, places: list[int]) -> Samples:
        """Return those at some places."""
        prompts, responses = ([values[at] for at in places] for values in (self.prompts, self.responses))
        return Samples(prompts, responses, [self.cut[at] for at in places])

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
    model: Any,
    accelerator: Any,
    prompts: Sequence[list[int]],
    tokenizer: Any,
    args: Any,
    max_new_tokens: int,
    *,
    seed: Sequence[int],
    fill: bool = False,
) -> Samples:
    """Sample ``args.num_online_samples`` responses to each prompt from the model's own distribution.

    Every token stays possible: temperature 1, and nothing of what a model's generation config says beyond its ends of
    sequence. In evaluation mode; the model's mode is as it was afterwards, as are the states of random numbers.

    Parameters
    ----------
    model : torch.nn.Module
        As accelerate wrapped it.
    accelerator : accelerate.Accelerator
        Every process must call this alike, with at least one prompt.
    prompts : list of list of int
        Token ids, none empty.
    tokenizer : PreTrainedTokenizerBase
        For its special tokens.
    args : HDPOConfig
        The settings; ``online_batch_size`` responses are generated at once.
    max_new_tokens : int
        The longest response.
    seed : sequence of int
        What the noise is made from: the same numbers, the same responses.
    fill : bool, default False
        Whether every response is as long as it may be, to see whether that fits in memory.
    """
    # Those of like length together, the longest first: what does not fit in memory is seen at once.
    order = sorted(range(len(prompts)), key=lambda at: -len(prompts[at]))
    parts = calls(accelerator, len(prompts), max(1, args.online_batch_size // args.num_online_samples))
    responses: list[list[list[int]]] = [[] for _ in prompts]
    with (
        noise(accelerator.device, seed),
        unwrap_model_for_generation(
            model, accelerator, gradient_checkpointing_kwargs=args.gradient_checkpointing_kwargs
        ) as unwrapped,
        torch.no_grad(),
        DistributedBackend(accelerator).summon_full_params(model, recurse=False),
        evaluating(unwrapped),
    ):
        ends = stop_tokens(unwrapped, tokenizer)
        config = GenerationConfig(
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            repetition_penalty=1.0,
            num_return_sequences=args.num_online_samples,
            max_new_tokens=max_new_tokens,
            min_new_tokens=max_new_tokens if fill else None,
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
        )
        with generating_by(unwrapped, config):
            for part in np.array_split(order, parts):
                # Sharded models generate in step: a process that has no more prompts answers one again.
                answered = [prompts[at] for at in part] or [prompts[order[-1]]]
                rows = _generate(unwrapped, answered, tokenizer, config, accelerator.device)
                for at, found in zip(part, rows, strict=False):
                    responses[at] = [_until(row, set(ends)) for row in found]
    every = [response for found in responses for response in found]
    return Samples(
        [prompt for prompt in prompts for _ in range(args.num_online_samples)],
        every,
        [response[-1] not in ends for response in every],
    )


def calls(accelerator: Any, count: int, at_once: int) -> int:
    """Return how often a model is called: on all processes as often as on the one with the most to do."""
    if accelerator.num_processes > 1:
        count = int(accelerator.gather(torch.tensor([count], device=accelerator.device)).max())
    return -(-count // at_once)


def _generate(
    model: Any, prompts: list[list[int]], tokenizer: Any, config: GenerationConfig, device: torch.device
) -> list[list[list[int]]]:
    """Return the responses to each prompt."""
    ids = [torch.tensor(prompt) for prompt in prompts]
    padded = {
        "input_ids": pad(ids, padding_value=tokenizer.pad_token_id, padding_side="left"),
        "attention_mask": pad([torch.ones_like(tokens) for tokens in ids], padding_value=0, padding_side="left"),
    }
    padded = {name: tensor.to(device) for name, tensor in padded.items()}
    # `generate` sees to it that processes take as many steps (`synced_gpus`).
    output = model.generate(**padded, **_without_balance(model), generation_config=config)
    rows = output[:, padded["input_ids"].size(1) :].tolist()
    many = config.num_return_sequences
    return [rows[at * many : (at + 1) * many] for at in range(len(prompts))]


@contextmanager
def noise(device: torch.device, seed: Sequence[int]) -> Iterator[None]:
    """Draw random numbers from a seed of their own; afterwards the training's go on as if nothing had been drawn."""
    # MPS has one generator, which can't be kept this way.
    kept = [] if device.type in ("cpu", "mps") else [device]
    with torch.random.fork_rng(kept, device_type=device.type if kept else "cuda"):
        torch.manual_seed(int(np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)[0] >> 1))
        yield


def _without_balance(model: Any) -> dict[str, bool]:
    """Return what keeps a mixture of experts from its balancing loss, whose mask has not the shape of cached tokens."""
    asks = getattr(model.config.get_text_config(), "output_router_logits", False)
    return {"output_router_logits": False} if asks else {}


def _until(row: list[int], ends: set[int]) -> list[int]:
    stop = next((at for at, token in enumerate(row) if token in ends), len(row) - 1)
    return row[: stop + 1]
