"""Tokens a second of `polyalign generate` beside a loop by hand, on the same batches: `model.generate(do_sample=True)`.

    python benches/generation.py MODEL BUCKETED [--prompts 64] [--buckets "en|*"] [--new-tokens 64] [--device cpu]

In one process and in turns; on a CPU by the time of its cores, which others on the machine don't shorten. Every answer
has as many tokens as it may, so that both take the same steps. The loop by hand pads to the left, samples from the
whole vocabulary and decodes; ours draws noise of each answer's own, and finds what ends an answer. The ratio is that of
the medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from polyalign.generation import Answer, Prompting, Request, Sampling, Selection, TransformersEngine
from polyalign.generation._run import _Job
from polyalign.generation._transformers import batches


def by_hand(model: Any, tokenizer: Any, parts: Sequence[Sequence[Request]], sampling: Sampling) -> list[str]:
    """Answer batch by batch, as a user would write it."""
    texts: list[str] = []
    tokenizer.padding_side = "left"
    for part in parts:
        batch = tokenizer.pad({"input_ids": [request.prompt.tolist() for request in part]}, return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(
                **batch.to(model.device),
                do_sample=True,
                temperature=sampling.temperature,
                top_k=sampling.top_k,
                top_p=sampling.top_p,
                max_new_tokens=sampling.max_new_tokens,
                min_new_tokens=sampling.min_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
            )
        texts += tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


def seconds(run: Callable[[], Sequence[Any]], on_gpu: bool) -> float:
    """Return the seconds that a run takes; its answers are on the CPU when it ends, so nothing is left under way."""
    clock = time.perf_counter if on_gpu else time.process_time
    began = clock()
    run()
    return clock() - began


def measure(
    engine: TransformersEngine, records: Any, sampling: Sampling, selection: Selection, turns: int
) -> dict[str, Any]:
    """Return tokens a second of both, and their ratio."""
    job = _Job(records, engine, sampling, Prompting(form="chat"), selection)
    parts = batches(job.requests, sampling, engine.batch_tokens)
    model, tokenizer = engine.loaded(), engine.tokenizer
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.eval()

    def ours() -> list[Answer]:
        return [answer for found in engine.answers(job.requests, sampling, (), {}) for answer in found]

    def theirs() -> list[str]:
        return by_hand(model, tokenizer, parts, sampling)

    tokens = len(job.requests) * sampling.max_new_tokens
    assert sum(answer.tokens or 0 for answer in ours()) == tokens
    assert len(theirs()) == len(job.requests)
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for turn in range(turns):
        order = (("ours", ours), ("theirs", theirs)) if turn % 2 else (("theirs", theirs), ("ours", ours))
        for name, run in order:
            times[name].append(seconds(run, model.device.type != "cpu"))
    ours_at, theirs_at = (tokens / statistics.median(times[name]) for name in ("ours", "theirs"))
    return {
        "requests": len(job.requests),
        "batches": [len(part) for part in parts],
        "polyalign_tokens_per_s": round(ours_at, 1),
        "by_hand_tokens_per_s": round(theirs_at, 1),
        "ratio": round(ours_at / theirs_at, 3),
        "seconds": {name: [round(value, 2) for value in values] for name, values in times.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("records")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--buckets", nargs="*", default=[])
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--batch-tokens", type=int, default=16384)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device")
    given = parser.parse_args()
    engine = TransformersEngine(given.model, dtype=given.dtype, device=given.device, batch_tokens=given.batch_tokens)
    many = given.new_tokens
    sampling = Sampling(temperature=given.temperature, max_new_tokens=many, min_new_tokens=many)
    selection = Selection(limit=given.prompts, buckets=given.buckets)
    print(json.dumps(measure(engine, given.records, sampling, selection, given.turns), indent=2))


if __name__ == "__main__":
    main()
