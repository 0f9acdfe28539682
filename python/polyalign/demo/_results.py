"""What the demo's training came to, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polyalign._text.words import shortened

if TYPE_CHECKING:
    from polyalign.demo._training import Stage, Trained

__all__ = ["distances", "print_results"]

_FEWEST = 5
_SHOWN = 6
_LONGEST = 72


def distances(trained: Trained) -> dict[str, dict[str, float]]:
    """Return the mean distance by model and bucket, of the buckets with enough held-out rows, the largest first."""
    buckets = _buckets(trained)
    stages = (*trained.stages, trained.humans)
    return {stage.name: {bucket: stage.distances[bucket] for bucket in buckets} for stage in stages}


def print_results(trained: Trained) -> None:
    """Print how far each model's answers are from humans, bucket by bucket, and some of the answers."""
    from polyalign._text import tables

    console = tables.console()
    stages, buckets = (*trained.stages, trained.humans), _buckets(trained)
    table = tables.columns_table(_columns(stages, buckets, trained.sizes))
    console.print("\nHow far answers to held-out prompts are from the humans of their bucket (0: among most of them):")
    console.print(table)
    left = len(trained.sizes) - len(buckets)
    print(
        f"Mean of buckets: each of the {len(buckets)} above counts alike; those with fewer than {_FEWEST} held-out "
        f"rows are left out ({left}).\n"
        "NLL: of the humans' held-out answers, nats a token; under humans: of how often each token occurs, no model.\n"
        "Look at BucketSFT beside SFT in the mean of buckets and where few rows train (the lower lines), at HDPO\n"
        "beside BucketSFT in every line, and at all of them beside humans.\n"
        "A demonstration, no evidence: one seed, settings chosen by these same held-out rows, and HDPO trains on the\n"
        "distance that is measured here (its NLL is beside it).\n"
    )
    _print_answers(console, trained)


def _buckets(trained: Trained) -> list[str]:
    enough = [bucket for bucket, (_, held_out) in trained.sizes.items() if held_out >= _FEWEST]
    return enough or list(trained.sizes)


def _columns(
    stages: Sequence[Stage], buckets: Sequence[str], sizes: Mapping[str, tuple[int, int]]
) -> dict[str, list[str]]:
    def line(values: Mapping[str, float], mean: float, losses: Mapping[str, float]) -> list[str]:
        cells = [values[bucket] for bucket in buckets]
        nll = sum(losses[bucket] for bucket in buckets) / len(buckets)
        numbers = [*cells, sum(cells) / len(cells), mean]
        return [*(f"{number:.3f}" for number in numbers), f"{nll:.2f}"]

    totals = [sum(sizes[bucket][at] for bucket in sizes) for at in (0, 1)]
    return {
        "bucket": [*buckets, "mean of buckets", "mean of answers", "NLL, mean of buckets"],
        "train": [*(f"{sizes[bucket][0]:,}" for bucket in buckets), "", f"{totals[0]:,}", ""],
        "held out": [*(f"{sizes[bucket][1]:,}" for bucket in buckets), "", f"{totals[1]:,}", ""],
        **{stage.name: line(stage.distances, stage.mean_distance, stage.losses) for stage in stages},
    }


def _print_answers(console: Any, trained: Trained) -> None:
    """Print every model's first answer to some prompts."""
    first, last = trained.stages[1], trained.stages[-1]
    print("Some answers:")
    for place in range(0, len(trained.rows), max(1, len(trained.rows) // _SHOWN)):
        row = trained.rows[place]
        texts = {
            first.name: first.answers[place][0],
            last.name: last.answers[place][0],
            "human": row["completion"][-1]["content"],
        }
        print(f"  {row['bucket']}  {_short(row['prompt'][-1]['content'])}")
        for name, text in texts.items():
            print(f"      {name:5}  {_short(text)}")
    print()


def _short(text: str) -> str:
    return shortened(" ".join(text.split()), _LONGEST)
