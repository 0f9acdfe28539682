"""JSONL in, lengths and bucket ids out: `polyalign bucket` beside what people write today, on the same cores.

The clock of `datasets` starts after its imports; polyalign's runs from the process's start to its end. So that no one's
start-up hides a rate, polyalign and tokenizers 1.0 read the corpus repeated to a gigabyte; the slower peers, whose
start-up does not count beside their run, read it once.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import harness
from harness import MEGABYTE, Options, WorkerError, log, median, number

GIGABYTE = 1e9


class Peer(NamedTuple):
    """Another way to do a job: what it installs, what it asks pipeline_peer.py for, which corpus."""

    name: str
    requirements: list[str]
    how: str
    large: bool = False


class Job(NamedTuple):
    """What is done, on how many cores (`None`: the run's), how polyalign does it, and who else does."""

    name: str
    cores: int | None
    ours: list[str]
    peers: list[Peer]


def datasets_peers(how: str) -> list[Peer]:
    return [
        Peer("`datasets` + tokenizers 0.23", ["datasets==5.2.*", "tokenizers==0.23.*"], how),
        Peer("`datasets` + tokenizers 1.0.0rc3", ["datasets==5.2.*", "tokenizers==1.0.0rc3"], how, large=True),
    ]


TOKENS = ["--tokenizer", "TOKENIZER", "--assignments-only"]
JOBS = [
    Job(
        "answers counted",
        None,
        [*TOKENS, "--count", "completion"],
        datasets_peers("answers"),
    ),
    Job(
        "whole conversations counted",
        None,
        [*TOKENS, "--count", "all"],
        datasets_peers("all"),
    ),
    Job("the same, texts written too", None, ["--tokenizer", "TOKENIZER", "--count", "all"], []),
    Job(
        "answers' words by the paper's rule",
        1,
        ["--length-unit", "words-paper", "--assignments-only"],
        [Peer("`json` + `re`", [], "words")],
    ),
    Job("answers' words, UAX #29", 1, ["--length-unit", "words", "--assignments-only"], []),
]


def plain_corpus(options: Options) -> Path:
    """The corpus unpacked, so that no one's clock runs on decompression."""
    if options.corpus is None:
        return harness.generated(1e6 if options.quick else 3e7)
    name = "corpus-quick.jsonl" if options.quick else "corpus.jsonl"
    path = harness.cache_directory() / name
    with harness.open_text(options.corpus) as lines, path.open("w", encoding="utf-8") as out:
        for i, line in enumerate(lines):
            if options.quick and i >= 5000:
                break
            out.write(line)
    return path


def repeated(path: Path, size: float) -> Path:
    """The file, over and over, until it has `size` bytes."""
    target = path.with_name(f"{path.stem}-repeated.jsonl")
    with target.open("wb") as out:
        while out.tell() < size:
            with path.open("rb") as source:
                shutil.copyfileobj(source, out, 1 << 24)
    return target


def time_peer(peer: Peer, corpus: Path, tokenizer: Path, cores: int) -> dict[str, Any]:
    python = Path(sys.executable)
    if peer.requirements:
        name = "-".join(["datasets", *peer.requirements[1:]]).replace("=", "").replace("*", "x")
        python = harness.environment(name, peer.requirements)
    script = str(harness.HERE / "pipeline_peer.py")
    command = [str(python), script, peer.how, str(corpus), str(tokenizer), str(cores)]
    quiet = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return json.loads(harness.run_timed(command, cores, **quiet).output.splitlines()[-1])


def time_ours(flags: list[str], corpus: Path, tokenizer: Path, cores: int) -> dict[str, Any]:
    flags = [str(tokenizer) if flag == "TOKENIZER" else flag for flag in flags]
    with tempfile.TemporaryDirectory(dir=corpus.parent) as folder:
        command = harness.polyalign_bucket(corpus, Path(folder) / "out", *flags, "--threads", str(cores))
        timed = harness.run_timed(command, cores)
    report = json.loads(timed.output)
    return {
        "rows": report["bucketed"],
        "total": (report["completion_tokens"] or 0) + (report["prompt_tokens"] or 0),
        "seconds": timed.seconds,
        "peak_bytes": timed.peak_bytes,
    }


def measure_job(job: Job, corpus: Path, large: Path, options: Options) -> dict[str, Any]:
    cores, tokenizer = job.cores or options.threads, options.tokenizer()
    ours = Peer("polyalign", [], "", large=True)
    runs: dict[str, list[dict[str, Any]]] = {}
    errors: dict[str, str] = {}
    for _ in range(min(options.rounds, 3)):
        for peer in [ours, *job.peers]:
            if peer.name in errors:
                continue
            log(f"{job.name}: {peer.name}")
            path = large if peer.large else corpus
            try:
                run = (
                    time_ours(job.ours, path, tokenizer, cores)
                    if peer is ours
                    else time_peer(peer, path, tokenizer, cores)
                )
            except (WorkerError, RuntimeError) as error:
                errors[peer.name] = str(error)
                log(f"{peer.name}: {error}")
                continue
            size = path.stat().st_size
            runs.setdefault(peer.name, []).append({**run, "bytes": size, "mb_s": size / MEGABYTE / run["seconds"]})
    measured = {name: {**of[0], "mb_s": median(run["mb_s"] for run in of)} for name, of in runs.items()}
    return {"cores": cores, "runs": measured, "errors": errors}


def measure(options: Options) -> dict[str, Any]:
    corpus = plain_corpus(options)
    large = repeated(corpus, 2e7 if options.quick else GIGABYTE)
    harness.warm(corpus)
    harness.warm(large)
    jobs = {job.name: measure_job(job, corpus, large, options) for job in JOBS}
    checks = {name: agreement(job["runs"]) for name, job in jobs.items()}
    repeats = round(large.stat().st_size / corpus.stat().st_size)
    large.unlink()
    return {
        "jobs": jobs,
        "same totals": checks,
        "corpus": "dialogue" if options.corpus else "generated",
        "bytes": corpus.stat().st_size,
        "repeats": repeats,
    }


def agreement(runs: dict[str, dict[str, Any]]) -> bool | None:
    """Whether everyone counted the same tokens a byte of corpus; None where there is nothing to compare."""
    densities = {run["total"] / run["bytes"] for run in runs.values() if run["total"]}
    if len(runs) < 2 or "polyalign" not in runs or not runs["polyalign"]["total"]:
        return None
    return max(densities) - min(densities) < 1e-12


def render(results: dict[str, Any]) -> str:
    rows = []
    for name, job in results["jobs"].items():
        ours = job["runs"].get("polyalign")
        peers = [(peer, run["mb_s"]) for peer, run in job["runs"].items() if peer != "polyalign"]
        mine = f"**{number(ours['mb_s'])}**" if ours else "not measured"
        for peer, speed in peers or [("", None)]:
            gain = f"{ours['mb_s'] / speed:,.0f}×" if ours and speed else ""
            rows.append([name, str(job["cores"]), peer, number(speed), mine, gain])
    header = ["JSONL → lengths and bucket ids", "cores", "peer", "MB/s of JSONL", "polyalign", "times"]
    return harness.table(header, rows)


if __name__ == "__main__":
    harness.main(measure, render, __doc__)
