"""How much of what a model reads is padding, by the way that transformers' trainer groups examples by length.

Lengths are those of the corpus: the tokens of every turn under the Qwen2.5 tokenizer and ChatML's five around it, cut
at TRL's default length. No model runs: the samplers are transformers' own, each micro-batch is as long as its longest.
"""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Iterator
from typing import Any

import harness
from harness import Options, log

MAX_LENGTH = 1024
AROUND_A_TURN = 5
#: Rows of a micro-batch, micro-batches of an optimizer step, processes.
SHAPES = ((4, 4, 1), (8, 4, 1), (16, 4, 1), (4, 4, 8), (16, 1, 8))
STRATEGIES = ("random", "group_by_length", "batch_rebalance")
ROWS = 100_000
#: A micro-batch's lengths, the micro-batches of an optimizer step.
Step = list[list[int]]


def lengths_of(options: Options) -> list[int]:
    """Tokens of the corpus's exchanges, in a random order."""
    from polyalign import TokenCounter

    counter = TokenCounter(str(options.tokenizer()))
    records = list(harness.records(options.corpus))
    turns = [text for record in records for text in (*record.earlier, record.answer)]
    counts = iter(counter.count(turns).tolist())
    sizes = [sum(next(counts) + AROUND_A_TURN for _ in (*record.earlier, record.answer)) for record in records]
    random.Random(7).shuffle(sizes)
    return [min(size, MAX_LENGTH) for size in sizes[: ROWS // 10 if options.quick else ROWS]]


def steps(strategy: str, lengths: list[int], shape: tuple[int, int, int]) -> Iterator[Step]:
    """The optimizer steps of an epoch that are full."""
    import torch
    from transformers.trainer_pt_utils import BatchRebalanceSampler, LengthGroupedSampler

    size, accumulated, processes = shape
    whole = size * accumulated * processes
    if strategy == "batch_rebalance":
        samplers = [
            BatchRebalanceSampler(lengths, whole, dp_size=processes, grad_accum=accumulated, rank=rank)
            for rank in range(processes)
        ]
        slots = zip(*samplers, strict=True)
        for _ in range(len(lengths) // whole):
            taken = itertools.islice(slots, accumulated)
            yield [[lengths[at] for at in batch] for ranks in taken for batch in ranks]
        return
    torch.manual_seed(0)
    if strategy == "random":
        order = torch.randperm(len(lengths)).tolist()
    else:
        order = list(LengthGroupedSampler(size * accumulated, lengths=lengths))
    for start in range(0, len(order) - whole + 1, whole):
        rows = [lengths[at] for at in order[start : start + whole]]
        yield [rows[at : at + size] for at in range(0, whole, size)]


def measure_one(strategy: str, lengths: list[int], shape: tuple[int, int, int]) -> dict[str, float]:
    read = filled = 0
    means, largest = [], []
    for step in steps(strategy, lengths, shape):
        padded = [len(batch) * max(batch) for batch in step]
        read += sum(padded)
        filled += sum(map(sum, step))
        largest.append(max(padded))
        means.append(statistics.fmean(size for batch in step for size in batch))
    return {
        "padding": 1 - filled / read,
        "spread": statistics.stdev(means),
        "largest": max(largest),
        "rows": sum(len(batch) for batch in next(steps(strategy, lengths, shape))),
    }


def measure(options: Options) -> dict[str, Any]:
    lengths = lengths_of(options)
    found = []
    for shape in SHAPES:
        log(f"padding: {shape}")
        by_strategy = {strategy: measure_one(strategy, lengths, shape) for strategy in STRATEGIES}
        wrong = {name: of["rows"] for name, of in by_strategy.items() if of["rows"] != shape[0] * shape[1] * shape[2]}
        if wrong:
            raise SystemExit(f"padding: a global batch of {shape} has not its size: {wrong}")
        found.append({"shape": list(shape), **by_strategy})
    return {
        "rows": len(lengths),
        "mean": statistics.fmean(lengths),
        "median": statistics.median(lengths),
        "shapes": found,
    }


def render(results: dict[str, Any]) -> str:
    title = f"{results['rows']:,} exchanges, {results['mean']:.0f} tokens each (median {results['median']:.0f})"
    header = [f"{title}: rows × micro-batches × processes", *(f"`{name}`" for name in STRATEGIES)]
    header += [f"batches' lengths, `{name}`" for name in STRATEGIES[1:]]
    rows = []
    for of in results["shapes"]:
        spreads = [of[name]["spread"] / of["random"]["spread"] for name in STRATEGIES[1:]]
        rows.append(
            [
                " × ".join(map(str, of["shape"])),
                *(f"{of[name]['padding']:.1%}" for name in STRATEGIES),
                *(f"{spread:.2f}×" for spread in spreads),
            ]
        )
    return harness.table(header, rows)


if __name__ == "__main__":
    harness.main(measure, render, __doc__ or "")
