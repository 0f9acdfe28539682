"""Counting tokens on one core, polyalign beside its peers, in both languages, under two protocols.

Repeated dialogues: whole conversations, whose histories repeat, counted several times over: caches are warm for
everyone. Distinct utterances: each text occurs once, is counted once, by a process whose caches were warmed on other
text just before. Every peer runs in its own process and environment, on one core, takes a list of `str` and gives the
counts; the rounds of all peers alternate, the best of some runs in a row is a round's, and medians are taken.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import harness
import vocabularies
from harness import Options, Worker, WorkerError, log, median, number

LANGUAGES = {"en": "English", "zh": "Chinese"}
REFERENCE = "tokenizers 0.23"
RIVAL = "tokenizers 1.0.0rc3"
PARTS = 5
# Most runs in a row of repeated dialogues, and the seconds after which no other is begun.
RUNS, PATIENCE = 5, 2.0


class Peer(NamedTuple):
    """A library to measure: how it is installed, which adapter of worker.py drives it, what it can load."""

    name: str
    package: str
    requirement: str | None
    adapter: str
    loads: str
    note: str = ""

    def python(self) -> Path:
        if self.requirement is None:
            return Path(sys.executable)
        return harness.environment(self.adapter, [self.requirement])


PEERS = [
    Peer("tokenizers 0.23", "tokenizers", "tokenizers==0.23.*", "tokenizers_023", "yes", "`encode_batch_fast`"),
    Peer("kitoken", "kitoken", "kitoken==0.11.*", "kitoken", "yes", "`encode_all`"),
    Peer("tiktoken", "tiktoken", "tiktoken==0.14.*", "tiktoken", "ranks", "`encode_ordinary`"),
    Peer("tuetoken", "tuetoken", "tuetoken==0.1.*", "tuetoken", "yes", "`count_tokens_batch`"),
    Peer("quicktok", "quicktok-v1", "quicktok-v1==0.4.*", "quicktok", "bundled few", "`count`"),
    Peer("fastokens", "fastokens", "fastokens==0.3.*", "fastokens", "most BPE", "`encode_batch_flat`"),
    Peer("tokie", "tokie", "tokie==0.1.*", "tokie", "yes", "`count_tokens_batch`"),
    Peer("tokenizers 1.0.0rc3", "tokenizers", "tokenizers==1.0.0rc3", "tokenizers_1", "yes", "`encode_batch`"),
    Peer("toktok-rs", "toktok-rs", "toktok-rs==0.3.*", "toktok", "bundled few", "`batch_count`, o200k vocabulary"),
    Peer("polyalign", "polyalign", None, "polyalign", "yes", "`count` of a list"),
    Peer("polyalign, Arrow", "polyalign", None, "polyalign_arrow", "yes", "`count` of an Arrow column"),
]
# Those that count with another vocabulary than the one asked for: fast or slow, but not comparable token by token.
OTHER_VOCABULARY = {"toktok-rs"}


# ------------------------------------------------------------------------------------------- texts


class Texts(NamedTuple):
    """Files of texts that workers read, and their sizes in bytes."""

    documents: dict[str, Path]
    warming: dict[str, Path]
    parts: dict[str, list[Path]]
    sizes: dict[Path, int]


def write_texts(options: Options, folder: Path) -> Texts:
    size = 1e6 if options.quick else 12e6
    documents, warming, parts, sizes = {}, {}, {}, {}

    def save(name: str, texts: list[str]) -> Path:
        path = folder / f"{name}.json"
        path.write_text(json.dumps(texts), encoding="utf-8")
        sizes[path] = harness.size_of(texts)
        return path

    for language in LANGUAGES:
        documents[language] = save(
            f"{language}-documents", harness.documents(options.corpus, language, size, training=False)
        )
        distinct = harness.utterances(options.corpus, language, size, training=False)
        quarter = len(distinct) // 4
        warming[language] = save(f"{language}-warming", distinct[:quarter])
        timed = distinct[quarter:]
        parts[language] = [save(f"{language}-part-{i}", timed[i::PARTS]) for i in range(PARTS)]
    return Texts(documents, warming, parts, sizes)


# ------------------------------------------------------------------------------------------- protocols


@contextlib.contextmanager
def workers(peers: list[Peer], tokenizer: Path) -> Iterator[tuple[dict[str, Worker], dict[str, str]]]:
    """A worker for each peer that can load the tokenizer; and what the others said."""
    with contextlib.ExitStack() as stack:
        ready: dict[str, Worker] = {}
        failed: dict[str, str] = {}
        for peer in peers:
            worker = start(peer, tokenizer, stack)
            if isinstance(worker, str):
                log(f"{peer.name}: {worker}")
                failed[peer.name] = worker
            else:
                ready[peer.name] = worker
        yield ready, failed


def start(peer: Peer, tokenizer: Path, stack: contextlib.ExitStack) -> Worker | str:
    """A worker with the tokenizer loaded, or why there is none."""
    try:
        worker = stack.enter_context(Worker(peer.python(), peer.adapter))
        worker.ask(do="load", tokenizer=str(tokenizer))
        return worker
    except (WorkerError, RuntimeError) as error:
        return str(error)


def repeated(ready: dict[str, Worker], texts: Texts, language: str, rounds: int) -> dict[str, dict[str, Any]]:
    """MB/s on whole conversations, several times over, and the texts that a peer counts wrong."""
    path = texts.documents[language]
    for worker in ready.values():
        worker.ask(do="prepare", name=path.name, path=str(path))
    counts = {name: worker.ask(do="counts", name=path.name) for name, worker in ready.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(rounds):
        for name, worker in ready.items():
            seconds[name].append(best_in_a_row(worker, path.name))
    return {
        name: {
            "mb_s": texts.sizes[path] / harness.MEGABYTE / median(seconds[name]),
            "wrong": wrong(counts, name),
            "texts": len(counts[name]),
        }
        for name in ready
    }


def best_in_a_row(worker: Worker, name: str) -> float:
    """Seconds of the best of some runs in a row: after the first, the caches hold this peer's tables too."""
    runs = [worker.ask(do="time", name=name)]
    while len(runs) < RUNS and sum(runs) < PATIENCE:
        runs.append(worker.ask(do="time", name=name))
    return min(runs)


def wrong(counts: dict[str, list[int]], name: str) -> int | None:
    """Texts counted otherwise than by the reference; None where the vocabularies differ."""
    if REFERENCE not in counts or name in OTHER_VOCABULARY:
        return None
    return sum(a != b for a, b in zip(counts[name], counts[REFERENCE], strict=True))


def distinct(ready: dict[str, Worker], texts: Texts, language: str) -> dict[str, float]:
    """MB/s on texts seen for the first time, once, by fresh processes warmed on other text."""
    warming, parts = texts.warming[language], texts.parts[language]
    for worker in ready.values():
        for path in (warming, *parts):
            worker.ask(do="prepare", name=path.name, path=str(path))
    seconds = {}
    for name, worker in ready.items():
        # In a row: the processor's caches hold this peer's tables, too.
        worker.ask(do="time", name=warming.name)
        seconds[name] = sum(worker.ask(do="time", name=part.name) for part in parts)
    size = sum(texts.sizes[part] for part in parts) / harness.MEGABYTE
    return {name: size / seconds[name] for name in ready}


def measure_tokenizer(peers: list[Peer], tokenizer: Path, texts: Texts, rounds: int) -> dict[str, Any]:
    """Every peer under both protocols in both languages with one tokenizer."""
    rows: dict[str, dict[str, Any]] = {peer.name: {} for peer in peers}
    with workers(peers, tokenizer) as (ready, failed):
        for name, reason in failed.items():
            rows[name]["error"] = reason
        for peer in peers:
            if peer.name in ready:
                rows[peer.name]["version"] = ready[peer.name].ask(do="version", package=peer.package)
        for language in LANGUAGES:
            log(f"counting {language}, repeated dialogues, {tokenizer.name}")
            for name, result in repeated(ready, texts, language, rounds).items():
                rows[name][f"{language} repeated"] = result.pop("mb_s")
                rows[name][f"{language} wrong"], rows[name][f"{language} texts"] = result["wrong"], result["texts"]
    able = [peer for peer in peers if peer.name not in failed]
    for language in LANGUAGES:
        log(f"counting {language}, distinct utterances, {tokenizer.name}")
        speeds: dict[str, list[float]] = {peer.name: [] for peer in able}
        for _ in range(rounds):
            with workers(able, tokenizer) as (ready, _):
                for name, speed in distinct(ready, texts, language).items():
                    speeds[name].append(speed)
        for name, values in speeds.items():
            rows[name][f"{language} distinct"] = median(values) if values else None
    return rows


# ------------------------------------------------------------------------------------------- tokenizers


def measure(options: Options) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        texts = write_texts(options, Path(folder))
        main = measure_tokenizer(PEERS, options.tokenizer(), texts, options.rounds)
        few = [p for p in PEERS if p.name in (REFERENCE, RIVAL, "polyalign")]
        others = {
            name: measure_tokenizer(few, options.tokenizer(name), texts, options.rounds)
            for name in ("llama3", "deepseek-v3")
            if options.has_tokenizer(name)
        }
        others["o200k-style, 200k"] = measure_tokenizer(
            few, vocabularies.trained("o200k", 200_000, options), texts, options.rounds
        )
        sizes = {
            language: {
                "documents": texts.sizes[texts.documents[language]],
                "utterances": sum(texts.sizes[p] for p in texts.parts[language]),
            }
            for language in LANGUAGES
        }
    source = "dialogue" if options.corpus else "generated"
    return {"qwen2.5": main, "others": others, "bytes": sizes, "corpus": source}


# ------------------------------------------------------------------------------------------- tables

COLUMNS = ["en repeated", "zh repeated", "en distinct", "zh distinct"]
HEADINGS = ["English, repeated", "Chinese, repeated", "English, distinct", "Chinese, distinct"]


def render(results: dict[str, Any]) -> str:
    rows = [row_of(peer, results["qwen2.5"][peer.name]) for peer in PEERS if peer.name in results["qwen2.5"]]
    rows.append(ratios(results["qwen2.5"]))
    header = ["Tokens counted, Qwen2.5, MB/s on one core", *HEADINGS, "texts wrong", "any tokenizer.json"]
    main = harness.table(header, rows)
    return main + "\n\n" + render_others(results)


def row_of(peer: Peer, row: dict[str, Any]) -> list[str]:
    version = row.get("version", "")
    name = peer.name if version in ("", peer.name.split()[-1]) or peer.name.startswith(("poly", "tokenizers")) else ""
    label = f"{name or f'{peer.name} {version}'} {peer.note}"
    if "error" in row:
        return [label, *["not measured"] * len(COLUMNS), "", peer.loads]
    speeds = [number(row[column]) for column in COLUMNS]
    if peer.name.startswith("polyalign"):
        label, speeds = f"**{label}**", [f"**{speed}**" for speed in speeds]
    return [label, *speeds, wrongs(row), peer.loads]


def wrongs(row: dict[str, Any]) -> str:
    values = [row[f"{language} wrong"] for language in LANGUAGES]
    if None in values:
        return "not compared"
    return f"{sum(values):,} of {sum(row[f'{language} texts'] for language in LANGUAGES):,}"


def ratios(rows: dict[str, dict[str, Any]]) -> list[str]:
    return [f"polyalign ÷ {RIVAL}", *(ratio(rows, "polyalign", RIVAL, column) for column in COLUMNS), "", ""]


def ratio(rows: dict[str, dict[str, Any]], ours: str, peer: str, column: str) -> str:
    a, b = (rows.get(name, {}).get(column) for name in (ours, peer))
    return f"{a / b:.1f}×" if a and b else ""


def render_others(results: dict[str, Any]) -> str:
    """polyalign with other tokenizers, and as many times tokenizers 1.0."""
    rows = []
    for tokenizer, measured in {"Qwen2.5": results["qwen2.5"], **results["others"]}.items():
        ours = measured["polyalign"]
        if "error" in ours:
            rows.append([tokenizer, *["not measured"] * len(COLUMNS), ""])
            continue
        cells = [f"{number(ours[c])} ({ratio(measured, 'polyalign', RIVAL, c)})" for c in COLUMNS]
        rows.append([tokenizer, *cells, wrongs(ours)])
    header = [f"polyalign, MB/s on one core (× {RIVAL})", *HEADINGS, "texts wrong"]
    return harness.table(header, rows)


if __name__ == "__main__":
    harness.main(measure, render, __doc__)
