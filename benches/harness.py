"""What the benchmarks share: where things lie, environments for the peers, workers, texts, medians."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import venv
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

import generate

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
MEGABYTE = 1e6


def cache_directory() -> Path:
    """Where environments, generated corpora and trained vocabularies are kept between runs."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "polyalign-benches"
    path = Path(os.environ.get("POLYALIGN_BENCH_CACHE", default))
    path.mkdir(parents=True, exist_ok=True)
    return path


def shared_directory() -> Path:
    return Path(os.environ.get("POLYALIGN_SHARED", REPOSITORY.parent / "shared"))


# ------------------------------------------------------------------------------------------- options


class Options(NamedTuple):
    """What a run measures with."""

    corpus: Path | None
    tokenizers: Path
    quick: bool
    rounds: int
    threads: int

    def tokenizer(self, name: str = "qwen2.5") -> Path:
        path = self.tokenizers / f"{name}.tokenizer.json"
        if not path.exists():
            raise SystemExit(f"{path}: no such file; give the folder of the tokenizers by --tokenizers")
        return path

    def has_tokenizer(self, name: str) -> bool:
        return (self.tokenizers / f"{name}.tokenizer.json").exists()


def add_options(parser: argparse.ArgumentParser) -> None:
    data = shared_directory() / "data" / "interactions.jsonl.zst"
    parser.add_argument(
        "--corpus",
        type=Path,
        default=Path(os.environ["POLYALIGN_BENCH_CORPUS"]) if "POLYALIGN_BENCH_CORPUS" in os.environ else data,
        help="JSONL (or .zst) of question/context/dialogue_history/human_answer records; "
        "without it texts are generated (%(default)s)",
    )
    parser.add_argument(
        "--tokenizers",
        type=Path,
        default=shared_directory() / "tokenizers",
        help="folder of qwen2.5.tokenizer.json and, if wanted, llama3.…, deepseek-v3.… and others (%(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds: to see that it runs")
    parser.add_argument("--rounds", type=int, default=None, help="rounds that medians are taken over (5; quick 2)")
    parser.add_argument("--threads", type=int, default=2, help="cores for whole-pipeline benchmarks, both sides (2)")


def options_from(arguments: argparse.Namespace) -> Options:
    corpus = arguments.corpus if arguments.corpus.exists() else None
    rounds = arguments.rounds or (2 if arguments.quick else 5)
    return Options(corpus, arguments.tokenizers, arguments.quick, rounds, arguments.threads)


def main(measure: Callable[[Options], dict[str, Any]], render: Callable[[dict[str, Any]], str], doc: str) -> None:
    """Run one benchmark by itself and print its table."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    print(render(measure(options_from(parser.parse_args()))))


def log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------- environments


def environment(name: str, requirements: list[str]) -> Path:
    """The Python of a virtual environment that holds `requirements`, made when first asked for."""
    folder = cache_directory() / "envs" / f"{name}-py{sys.version_info.major}{sys.version_info.minor}"
    python = folder / "bin" / "python"
    stamp = folder / ".requirements"
    wanted = "\n".join(requirements)
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    log(f"installing {', '.join(requirements)}")
    shutil.rmtree(folder, ignore_errors=True)
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv:
        run_quietly([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        install = [uv, "pip", "install", "--quiet", "--prerelease=allow", "--python", str(python)]
    else:
        venv.create(folder, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run_quietly([*install, *requirements])
    stamp.write_text(wanted)
    return python


def run_quietly(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"{Path(command[0]).name}: {lines[-1]}")


# ------------------------------------------------------------------------------------------- workers


class WorkerError(RuntimeError):
    """A peer could not do what it was asked, in its own words."""


class Worker:
    """A process that works with one peer on one core, and times itself."""

    def __init__(self, python: Path, adapter: str, script: str = "worker.py") -> None:
        # Not a pipe: one that nobody reads could fill up. Closed on exit.
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        environment = {**os.environ, "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.process = subprocess.Popen(
            [str(python), str(HERE / script), adapter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
        )

    def ask(self, **command: Any) -> Any:
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            self.errors.seek(0)
            lines = self.errors.read().decode(errors="replace").strip().splitlines() or ["died"]
            raise WorkerError(lines[-1])
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["value"]

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


# ------------------------------------------------------------------------------------------- whole processes


class Timed(NamedTuple):
    """What a process took: wall and processor seconds, peak resident bytes, and what it printed."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: str


def run_timed(command: list[str], cores: int, **environment: str) -> Timed:
    """Run a process on so many cores, from its start to its end."""
    before = os.times()
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        with limited_to(cores):
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, **environment}
            )
        watch = PeakMemory(process.pid)
        watch.start()
        output = process.communicate()[0]
        seconds = time.perf_counter() - start
        watch.stop()
        if process.returncode:
            errors.seek(0)
            lines = errors.read().strip().splitlines() or [f"exit code {process.returncode}"]
            raise WorkerError(lines[-1])
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Timed(seconds, cpu, watch.peak, output)


@contextlib.contextmanager
def limited_to(cores: int) -> Iterator[None]:
    """Processes started meanwhile run on so many cores, where the system can say so."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class PeakMemory(threading.Thread):
    """Follows the peak resident size of a process.

    `getrusage` would do, if it did not also count what the parent held when it started the process.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.status = Path(f"/proc/{pid}/status")
        self.peak = 0
        self.done = threading.Event()

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            while not self.done.wait(0.01):
                peak = self.status.read_text().split("VmHWM:")[1].split()[0]
                self.peak = max(self.peak, int(peak) * 1024)

    def stop(self) -> None:
        self.done.set()
        self.join()


def polyalign_bucket(inputs: Path, output: Path, *options: str) -> list[str]:
    """The command line of `polyalign bucket`."""
    bucket = [sys.executable, "-m", "polyalign", "bucket", str(inputs), "--out", str(output), "--overwrite"]
    return [*bucket, "--json", *options]


def warm(path: Path) -> int:
    """Read a file, so that it lies in the page cache; its size."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass
    return path.stat().st_size


# ------------------------------------------------------------------------------------------- texts


def open_text(path: Path) -> io.TextIOBase:
    if path.suffix != ".zst":
        return path.open(encoding="utf-8")
    return io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(path.open("rb")), encoding="utf-8")


@functools.cache
def generated(tokens: float) -> Path:
    """The generated corpus of a size, kept in the cache."""
    path = cache_directory() / f"headline-{tokens:.0e}-v{generate.VERSION}.jsonl"
    if not path.exists():
        log(f"generating {tokens:.0e} tokens")
        partial = path.with_suffix(".partial")
        generate.write(str(partial), tokens)
        partial.rename(path)
    return path


class Turns(NamedTuple):
    """One record's texts: what was said before, and the answer."""

    language: str
    earlier: list[str]
    answer: str


def records(corpus: Path | None) -> Iterator[Turns]:
    with open_text(corpus or generated(1e7)) as lines:
        for line in lines:
            record = json.loads(line)
            if "messages" in record:
                said = [m["content"] for m in record["messages"]]
                yield Turns(record["language"], said[:-1], said[-1])
                continue
            history = [turn["text"] for turn in record.get("dialogue_history") or []]
            asked = [record.get("context") or "", record["question"]]
            yield Turns(record["language"], [t for t in (*history, *asked) if t], record["human_answer"])


def take(texts: Iterable[str], size: float) -> list[str]:
    """Texts until they make `size` bytes."""
    taken, total = [], 0
    for text in texts:
        if total >= size:
            break
        taken.append(text)
        total += len(text.encode())
    return taken


def size_of(texts: Iterable[str]) -> int:
    return sum(len(text.encode()) for text in texts)


@functools.cache
def all_records(corpus: Path | None) -> list[Turns]:
    return list(records(corpus))


def is_for_training(record: Turns) -> bool:
    """Whether vocabularies are trained on a conversation: on half of them, which is not tested."""
    return zlib.crc32((*record.earlier, record.answer)[0].encode()) % 2 == 1


def chosen(corpus: Path | None, language: str, training: bool | None) -> list[Turns]:
    """The records of a language: all, or those of one half."""
    of_language = [r for r in all_records(corpus) if r.language == language]
    return [r for r in of_language if training is None or is_for_training(r) == training]


def documents(corpus: Path | None, language: str, size: float, training: bool | None = None) -> list[str]:
    """Whole conversations, one text each, in a shuffled order: histories repeat from record to record."""
    conversations = chosen(corpus, language, training)
    random.Random(7).shuffle(conversations)
    return take(("\n".join([*r.earlier, r.answer]) for r in conversations), size)


def utterances(corpus: Path | None, language: str, size: float, training: bool | None = None) -> list[str]:
    """Distinct utterances, in a shuffled order."""
    turns = (text for r in chosen(corpus, language, training) for text in (*r.earlier, r.answer) if text)
    distinct = list(dict.fromkeys(turns))
    random.Random(7).shuffle(distinct)
    return take(distinct, size)


# ------------------------------------------------------------------------------------------- numbers


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def machine() -> dict[str, Any]:
    """What a reader needs to judge the numbers."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def number(value: float | None) -> str:
    """Two significant figures below ten, whole above."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def table(header: list[str], rows: list[list[str]], left: int = 1) -> str:
    """A Markdown table; the first `left` columns are words, the rest numbers."""
    rule = ["---" if i < left else "---:" for i in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])
