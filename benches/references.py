"""References and scores: bucketing with and without a reference, building, scoring, and small things on one core.

Commands run on as many cores as the pipelines, the corpus unpacked and in the page cache, from the process's start to
its end; rounds alternate, medians are taken. Nobody else makes such references, so there is no peer: bucketing with a
reference is measured beside bucketing alone, which reads and writes the same.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness
import pipeline
from harness import MEGABYTE, Options, Timed, Worker, log, median, number

BATCHES = (1, 64, 10_000)
EXPLAINED = 5


def commands(options: Options, corpus: Path, folder: Path) -> dict[str, list[str]]:
    """By name, what is run; every command replaces what it made before."""
    threads = ["--threads", str(options.threads)]
    bucketed, reference = folder / "bucketed", folder / "human.safetensors"

    def polyalign(*arguments: object) -> list[str]:
        return [sys.executable, "-m", "polyalign", *map(str, arguments), "--overwrite", "--json", *threads]

    def bucket(*flags: object) -> list[str]:
        return harness.polyalign_bucket(corpus, bucketed, *map(str, flags), *threads)

    score = ["score", corpus, "--reference", reference, "--out", folder / "scores.jsonl"]
    made = {"bucket": bucket(), "bucket --reference": bucket("--reference", reference)}
    if options.has_tokenizer("qwen2.5"):
        tokens = ["--tokenizer", options.tokenizer()]
        made["bucket --tokenizer"] = bucket(*tokens)
        made["bucket --tokenizer --reference"] = bucket(*tokens, "--reference", folder / "tokens.safetensors")
    return made | {
        "reference build": polyalign("reference", "build", bucketed, "--out", folder / "built.safetensors"),
        "score": polyalign(*score),
        "score --explain": polyalign(*score, "--explain", EXPLAINED),
    }


# ------------------------------------------------------------------------------------------- commands


def measure_commands(options: Options, corpus: Path, folder: Path, rows: int) -> dict[str, dict[str, float]]:
    runs: dict[str, list[Timed]] = {}
    for round_ in range(options.rounds):
        for name, command in commands(options, corpus, folder).items():
            log(f"references: {name}, {round_ + 1} of {options.rounds}")
            timed = harness.run_timed(command, options.threads)
            check_rows(name, json.loads(timed.output), rows)
            runs.setdefault(name, []).append(timed)
    return {
        name: {
            "seconds": median(run.seconds for run in of),
            "cpu_seconds": median(run.cpu_seconds for run in of),
            "peak_bytes": max(run.peak_bytes for run in of),
        }
        for name, of in runs.items()
    }


def check_rows(name: str, report: dict[str, Any], rows: int) -> None:
    """Stop if a command did not use every row."""
    used = report["bucketed"] if "bucketed" in report else report["tally"]["used"]
    if used != rows:
        raise SystemExit(f"references: {name} used {used:,} of {rows:,} rows")


# ------------------------------------------------------------------------------------------- small things


def half_references(options: Options, corpus: Path, folder: Path) -> dict[str, str]:
    """References of the corpus's halves, that the reference of the whole is merged from."""
    lines = corpus.read_bytes().splitlines(keepends=True)
    paths = {}
    for name, half in (("first", lines[: len(lines) // 2]), ("second", lines[len(lines) // 2 :])):
        part, reference = folder / f"{name}.jsonl", folder / f"{name}.safetensors"
        part.write_bytes(b"".join(half))
        harness.run_timed(
            harness.polyalign_bucket(part, folder / f"{name}-bucketed", "--reference", str(reference)), options.threads
        )
        part.unlink()
        paths[name] = str(reference)
    return paths


def measure_small(options: Options, folder: Path, texts: list[harness.Turns], halves: dict[str, str]) -> dict[str, Any]:
    """Loading, saving, merging, and the distances of batches, by the processor's clock on one core."""
    rows = folder / "responses.json"
    rows.write_text(json.dumps([(r.answer, f"{r.language}|*|*|*") for r in texts if r.answer]), encoding="utf-8")
    with Worker(Path(sys.executable), "polyalign", "references_worker.py") as worker:
        reference = worker.ask(do="open", whole=str(folder / "human.safetensors"), **halves)
        if not worker.ask(do="halves_make_the_whole"):
            raise SystemExit("references: the halves' references don't merge into the reference of the whole")
        worker.ask(do="responses", path=str(rows))
        times: dict[str, list[float]] = {}
        for round_ in range(options.rounds):
            log(f"references: one core, {round_ + 1} of {options.rounds}")
            for what in ("load", "save", "merge"):
                times.setdefault(what, []).append(worker.ask(do=what))
            for batch in BATCHES:
                calls = max(1, (500 if options.quick else 5000) // batch)
                taken = worker.ask(do="distances", batch=batch, calls=calls, start=10_000 * round_)
                times.setdefault(f"batch {batch}", []).append(taken)
    return {"reference": reference, "seconds": {name: median(values) for name, values in times.items()}}


def measure(options: Options) -> dict[str, Any]:
    corpus = pipeline.plain_corpus(options)
    size = harness.warm(corpus)
    texts = list(harness.records(corpus))
    with tempfile.TemporaryDirectory(dir=corpus.parent) as name:
        folder = Path(name)
        measured = measure_commands(options, corpus, folder, len(texts))
        small = measure_small(options, folder, texts, half_references(options, corpus, folder))
    return {
        "commands": measured,
        **small,
        "rows": len(texts),
        "bytes": size,
        "text_bytes": sum(harness.size_of((*r.earlier, r.answer)) for r in texts),
        "threads": options.threads,
        "corpus": "dialogue" if options.corpus else "generated",
    }


# ------------------------------------------------------------------------------------------- tables

LABELS = {
    "bucket": "`bucket`, lengths in words",
    "bucket --reference": "the same with `--reference`",
    "bucket --tokenizer": "`bucket --tokenizer`, Qwen2.5",
    "bucket --tokenizer --reference": "the same with `--reference`",
    "reference build": "`reference build` of the bucketed folder",
    "score": "`score`",
    "score --explain": f"`score --explain {EXPLAINED}`",
}


def render(results: dict[str, Any]) -> str:
    rows = [row_of(results, name) for name in LABELS if name in results["commands"]]
    header = [
        title(results),
        "seconds",
        "processor seconds",
        "rows/s",
        "MB/s",
        "peak memory, MB",
        "÷ without reference",
    ]
    return harness.table(header, rows) + "\n\n" + render_small(results)


def render_short(results: dict[str, Any]) -> str:
    """The table of the README: wall-clock times, and the time of a response."""
    rows = []
    for name in LABELS:
        if name in results["commands"]:
            label, seconds, _, rows_s, mb_s, _, ratio = row_of(results, name)
            rows.append([label, seconds, rows_s, mb_s, ratio])
    return harness.table([title(results), "seconds", "rows/s", "MB/s", "÷ without reference"], rows)


def title(results: dict[str, Any]) -> str:
    return f"{results['rows']:,} rows, {results['bytes'] / MEGABYTE:,.0f} MB of JSONL, {results['threads']} cores"


def row_of(results: dict[str, Any], name: str) -> list[str]:
    run = results["commands"][name]
    # A bucketed folder is Parquet: what its texts hold counts.
    size = results["text_bytes" if name == "reference build" else "bytes"]
    strong = "reference" in name or name.startswith("score")
    mb_s = number(size / MEGABYTE / run["seconds"])
    return [
        LABELS[name],
        f"{run['seconds']:.2f}",
        f"{run['cpu_seconds']:.2f}",
        f"{results['rows'] / run['seconds']:,.0f}",
        f"**{mb_s}**" if strong else mb_s,
        f"{run['peak_bytes'] / MEGABYTE:,.0f}",
        ratio(results, name),
    ]


def ratio(results: dict[str, Any], name: str) -> str:
    """How many times the same command without `--reference`: wall and processor seconds."""
    alone = results["commands"].get(name.removesuffix(" --reference"))
    if alone is None or not name.endswith(" --reference"):
        return ""
    run = results["commands"][name]
    return f"{run['seconds'] / alone['seconds']:.2f}× ({run['cpu_seconds'] / alone['cpu_seconds']:.2f}×)"


def render_small(results: dict[str, Any]) -> str:
    seconds, reference = results["seconds"], results["reference"]
    of = f"{reference['rows']:,} humans, {reference['buckets']} buckets, {reference['features']} features"
    rows = [[f"the reference's file: {of}", f"{reference['bytes'] / MEGABYTE:.1f} MB"]]
    for name, label in (("load", "`Reference.load`"), ("save", "`save`"), ("merge", "`merge` of two halves")):
        rows.append([label, f"{seconds[name] * 1e3:,.1f} ms"])
    for batch in BATCHES:
        label = f"`support_distance`, {batch:,} at a time, a response"
        rows.append([label, f"{seconds[f'batch {batch}'] * 1e6:,.1f} µs"])
    return harness.table(["One core", ""], rows)


if __name__ == "__main__":
    harness.main(measure, render, __doc__)
