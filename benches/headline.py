"""The headline: a billion generated tokens bucketed on two cores, with exact counts, and the memory it takes.

`polyalign bucket --assignments-only` on the corpus of generate.py at three sizes, from the process's start to its end,
the file in the page cache. The smallest is also counted by `tokenizers`, and the totals must agree.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import harness
from harness import MEGABYTE, Options, Worker, WorkerError, log, median, number


def sizes(options: Options) -> list[float]:
    return [1e5, 1e6] if options.quick else [1e7, 1e8, 1e9]


def bucket(corpus: Path, tokenizer: Path, options: Options) -> dict[str, Any]:
    """Several runs on one file: median seconds, highest memory."""
    runs, report = [], {}
    with tempfile.TemporaryDirectory(dir=corpus.parent) as folder:
        flags = ["--tokenizer", str(tokenizer), "--assignments-only", "--threads", str(options.threads)]
        command = harness.polyalign_bucket(corpus, Path(folder) / "out", *flags)
        for _ in range(min(options.rounds, 3)):
            runs.append(harness.run_timed(command, options.threads))
            report = json.loads(runs[-1].output)
    return {
        "seconds": median(run.seconds for run in runs),
        "cpu_seconds": median(run.cpu_seconds for run in runs),
        "peak_bytes": max(run.peak_bytes for run in runs),
        "records": report["bucketed"],
        "rejected": report["rejected"],
        "tokens": report["prompt_tokens"] + report["completion_tokens"],
    }


def count_by_reference(corpus: Path, tokenizer: Path) -> int:
    """All tokens of the corpus, by `tokenizers` 0.23."""
    with corpus.open(encoding="utf-8") as lines:
        texts = [message["content"] for line in lines for message in json.loads(line)["messages"]]
    python = harness.environment("tokenizers_023", ["tokenizers==0.23.*"])
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(texts, file)
        file.flush()
        with Worker(python, "tokenizers_023") as worker:
            worker.ask(do="load", tokenizer=str(tokenizer))
            worker.ask(do="prepare", name="all", path=file.name)
            return sum(worker.ask(do="counts", name="all"))


def measure(options: Options) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for tokens in sizes(options):
        corpus = harness.generated(tokens)
        size = harness.warm(corpus)
        log(f"headline: {tokens:.0e} tokens")
        try:
            rows.append({"asked": tokens, "bytes": size, **bucket(corpus, options.tokenizer(), options)})
        except WorkerError as error:
            log(f"headline: {error}")
            rows.append({"asked": tokens, "bytes": size, "error": str(error)})
    log("headline: checking the smallest against tokenizers")
    reference = count_by_reference(harness.generated(sizes(options)[0]), options.tokenizer())
    counted = rows[0].get("tokens", reference)
    if counted != reference:
        raise SystemExit(f"headline: {counted:,} tokens counted, tokenizers counts {reference:,}")
    return {"runs": rows, "reference": reference, "threads": options.threads}


def render(results: dict[str, Any]) -> str:
    rows = []
    for run in results["runs"]:
        if "error" in run:
            rows.append([f"{run['asked']:.0e}", *["not measured"] * 7])
            continue
        seconds = run["seconds"]
        rows.append(
            [
                f"{run['tokens']:,}",
                f"{run['records']:,}",
                f"{run['bytes'] / 1e9:.3f}",
                f"{run['bytes'] / run['tokens']:.2f}",
                f"**{seconds:.2f}**",
                f"{run['tokens'] / seconds / 1e6:.1f}",
                number(run["bytes"] / MEGABYTE / seconds),
                f"{run['peak_bytes'] / MEGABYTE:,.0f}",
            ]
        )
    header = ["tokens", "records", "GB", "bytes a token", "seconds", "M tokens/s", "MB/s", "peak memory, MB"]
    return harness.table(header, rows, left=0)


if __name__ == "__main__":
    harness.main(measure, render, __doc__)
