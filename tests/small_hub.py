"""Small models under the names of large ones: documentation and recipes find them as folders, and run as written."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import decoders
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

import small_tokenizers

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|finetune_right_pad_id|>"]


def tokenizer(template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    end = "<|endoftext|>"
    backend = small_tokenizers.build("qwen2")
    backend.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end, pad_token=end, chat_template=template)
    made.add_special_tokens({"additional_special_tokens": SPECIAL})
    return made


def model(vocabulary: int) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=vocabulary,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=4096,
            bos_token_id=None,
            eos_token_id=0,
        )
    )


def make(folder: Path) -> None:
    """Make the models that recipes and documentation name."""
    for name, template in (("Qwen/Qwen2.5-1.5B", TEMPLATE), ("meta-llama/Llama-3.2-3B", None)):
        made = tokenizer(template)
        model(len(made)).save_pretrained(folder / name)
        made.save_pretrained(folder / name)
    instruct = tokenizer()
    instruct.eos_token = "<|im_end|>"
    instruct.save_pretrained(folder / "meta-llama" / "Llama-3.2-3B-Instruct")
