"""Tokenizers and models of a few thousand weights, and made-up data sets, for the tests of training."""

from __future__ import annotations

import atexit
import gc
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

import small_tokenizers

# Every training begins with a collection of garbage, which need not look through all that was imported.
gc.freeze()
atexit.register(gc.unfreeze)

WORDS = "yes no the a it is was does do I you we like rain sun tea cat dog big small very really not and or".split()
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ message['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
#: As chat models' templates are: every message ends in a token of its own, and nothing is marked.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BUCKETS = ("en|single|qa|short", "en|single|qa|medium", "en|multi|dialogue|short", "zh|single|qa|short")


#: Settings of a training on the CPU that says and saves nothing.
QUIET = {"bf16": False, "use_cpu": True, "report_to": "none", "save_strategy": "no", "disable_tqdm": True}


def tokenizer(words: Sequence[str] = WORDS) -> PreTrainedTokenizerFast:
    """A token a word."""
    special = ["<pad>", "<eos>", "<unk>", "<|user|>", "<|assistant|>", "<|system|>"]
    vocabulary = {token: at for at, token in enumerate([*special, *words])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", chat_template=TEMPLATE
    )


SIZES = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 128,
    "initializer_range": 0.5,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
}


def model(seed: int = 0, dtype: torch.dtype = torch.float32, **settings: object) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**{**SIZES, **settings})).to(dtype)


def experts(seed: int = 0, **settings: object) -> MixtralForCausalLM:
    """A mixture of four experts."""
    torch.manual_seed(seed)
    mixture = {"num_local_experts": 4, "num_experts_per_tok": 2, "router_aux_loss_coef": 0.5}
    return MixtralForCausalLM(MixtralConfig(**{**SIZES, **mixture, "output_router_logits": True, **settings}))


def chat_tokenizer(template: str | None = CHAT_TEMPLATE) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer, for texts of any words."""
    end = "<|endoftext|>"
    backend = small_tokenizers.build("qwen2")
    backend.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end, pad_token=end, chat_template=template)
    special = ["<|im_start|>", "<|im_end|>", "<|finetune_right_pad_id|>"]
    made.add_special_tokens({"additional_special_tokens": special})
    return made


def chat_model(vocabulary: int) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    sizes = {**SIZES, "max_position_embeddings": 4096, "initializer_range": 0.02, "pad_token_id": None}
    return Qwen2ForCausalLM(Qwen2Config(**{**sizes, "vocab_size": vocabulary, "eos_token_id": 0}))


def hub(folder: Path) -> None:
    """Make the models that recipes and documentation name: they find these as folders, and run as written."""
    for name, template in (("Qwen/Qwen2.5-1.5B", CHAT_TEMPLATE), ("meta-llama/Llama-3.2-3B", None)):
        made = chat_tokenizer(template)
        chat_model(len(made)).save_pretrained(folder / name)
        made.save_pretrained(folder / name)
    instruct = chat_tokenizer()
    instruct.eos_token = "<|im_end|>"
    instruct.save_pretrained(folder / "meta-llama" / "Llama-3.2-3B-Instruct")


def save(folder: Path, model: Any) -> Path:
    """Save a model with the tokenizer, as `from_pretrained` wants them."""
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def sentence(rng: random.Random, longest: int = 8) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(1, longest)))


def responses(rows: int = 48, seed: int = 0, buckets: tuple[str, ...] = BUCKETS) -> Dataset:
    """Prompts and completions, in buckets of unequal size."""
    rng = random.Random(seed)
    shares = [2**-at for at in range(len(buckets))]
    return Dataset.from_list(
        [
            {
                "bucket": rng.choices(buckets, shares)[0],
                "prompt": [{"role": "user", "content": sentence(rng)}],
                "completion": [{"role": "assistant", "content": sentence(rng)}],
            }
            for _ in range(rows)
        ]
    )


def pairs(rows: int = 48, seed: int = 0, buckets: tuple[str, ...] = BUCKETS, *, scored: bool = True) -> Dataset:
    """Prompts with two responses and their scores."""
    rng = random.Random(seed)
    made = responses(rows, seed, buckets).rename_column("completion", "chosen")
    rejected = [[{"role": "assistant", "content": sentence(rng) + " really"}] for _ in range(rows)]
    made = made.add_column("rejected", rejected)
    if scored:
        for name in ("chosen_score", "rejected_score"):
            made = made.add_column(name, [round(rng.uniform(0, 2), 3) for _ in range(rows)])
    return made


class Critic:
    """Scores by the number of words, and keeps what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def score(self, responses: Sequence[str], buckets: Sequence[str]) -> npt.NDArray[np.float32]:
        assert set(buckets) <= set(BUCKETS)
        self.calls.append(list(responses))
        return np.array([len(response.split()) / 4 for response in responses], dtype=np.float32)
