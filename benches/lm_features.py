"""Responses a second of `polyalign.lm_features` beside one response at a time, from whole matrices of logits.

    python benches/lm_features.py MODEL BUCKETED [--rows 64] [--buckets "en|*"] [--device cpu] [--dtype float32]
        [--answers 8]

With `--answers` so many responses to each prompt, those of the rows after it with its own, as samples or attacks are.
Both see the same tokens: each response after its prompt in the chat template, and without. The largest difference of a
sum of log-probabilities is said beside the times; on a CPU these are of its cores, which others don't shorten.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import torch

import polyalign
from polyalign.generation import Selection, TransformersEngine
from polyalign.generation._prompts import messages_of
from polyalign.generation._rows import Source, choose


@torch.inference_mode()
def one_by_one(model: Any, tokenizer: Any, texts: list[str], prompts: list[Any]) -> list[list[float]]:
    """Return the sums of log-probabilities without the prompts and with them, as a user would write it."""
    sums: list[list[float]] = []
    for text, prompt in zip(texts, prompts, strict=True):
        answer = tokenizer(text, add_special_tokens=False)["input_ids"]
        chat = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
        sums.append([])
        for before in ([tokenizer.bos_token_id], chat):
            ids = torch.tensor([[*before, *answer]], device=model.device)
            logps = model(ids).logits[0, :-1].float().log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
            sums[-1].append(float(logps[len(before) - 1 :].sum()))
    return sums


def measure(
    engine: TransformersEngine, texts: list[str], prompts: list[Any], batch_tokens: int | None
) -> dict[str, Any]:
    """Return responses a second of both, their ratio, and the largest difference of a sum."""
    model, tokenizer = engine.loaded().eval(), engine.tokenizer
    clock = time.process_time if model.device.type == "cpu" else time.perf_counter
    one_by_one(model, tokenizer, texts[:1], prompts[:1])
    began = clock()
    expected = np.array(one_by_one(model, tokenizer, texts, prompts))
    middle = clock()
    found = polyalign.lm_features(model, texts, prompts, tokenizer=tokenizer, batch_tokens=batch_tokens)
    end = clock()
    names = ("unconditional_logprob_sum", "conditional_logprob_sum")
    sums = np.stack([found[name].to_numpy() for name in names], axis=1)
    return {
        "responses": len(texts),
        "polyalign_per_s": round(len(texts) / (end - middle), 2),
        "one_by_one_per_s": round(len(texts) / (middle - began), 2),
        "ratio": round((middle - began) / (end - middle), 2),
        "largest_difference": float(np.nanmax(np.abs(sums - expected))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("records")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--buckets", nargs="*", default=[])
    parser.add_argument("--batch-tokens", type=int)
    parser.add_argument("--answers", type=int, default=1)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device")
    given = parser.parse_args()
    source = Source(given.records, "train")
    chosen = choose(source, Selection(limit=given.rows, buckets=given.buckets))
    rows = list(source.read(chosen, ["completion"]))
    texts = [row.columns["completion"][0]["content"] for row in rows]
    engine = TransformersEngine(given.model, dtype=given.dtype, device=given.device)
    prompts = [messages_of(row.prompt) for row in rows]
    both = [(texts[(at + other) % len(rows)], prompts[at]) for at in range(len(rows)) for other in range(given.answers)]
    print(json.dumps(measure(engine, *map(list, zip(*both, strict=True)), given.batch_tokens), indent=2))


if __name__ == "__main__":
    main()
