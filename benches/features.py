"""Features of responses on one core, polyalign beside its peers: all of them, with prompts, group by group.

Texts are answers of the corpus, each once, and generated texts that are longer. Every library runs in its own process
and environment, on one core, on the same texts; each round takes texts new to the process; medians are taken.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness
from harness import MEGABYTE, Options, Worker, WorkerError, log, median, number

# The newest textstat that downloads nothing when it is first used is 0.7.8.
REQUIREMENTS = {
    "textstat": ["textstat==0.7.8"],
    "vader": ["vaderSentiment>=3.3.2"],
    "lexicalrichness": ["lexicalrichness>=0.5.1"],
    "jieba": ["jieba>=0.42.1", "setuptools<81"],
}
PACKAGES = {"textstat": "textstat", "vader": "vaderSentiment", "lexicalrichness": "lexicalrichness", "jieba": "jieba"}
LANGUAGES = {"en": "English", "zh": "Chinese"}
KINDS = {"answers": "answers", "long": "generated texts"}
SETS = [(language, kind) for kind in KINDS for language in LANGUAGES]
# The published extractor of arXiv:2606.13227 (134 features, on NLTK), measured elsewhere: (texts, MB) a second on one
# core of a machine of the same kind, on texts of 347 and 65 bytes. It is not on PyPI.
AUTHORS = {"en": (248, 0.086), "zh": (1063, 0.069)}
# Processor seconds of a peer's round.
BUDGET = 0.5
WHOLE = ["all", "all, with prompts", "paper"]


def name_of(language: str, kind: str) -> str:
    return f"{language} {kind}"


# ------------------------------------------------------------------------------------------- texts


def answers(options: Options, language: str) -> list[tuple[str, str]]:
    """Distinct answers of the corpus and what they answer, in a shuffled order."""
    chosen = [r for r in harness.all_records(options.corpus) if r.language == language and r.answer]
    pairs = list({r.answer: (r.answer, r.earlier[-1] if r.earlier else "") for r in chosen}.values())
    random.Random(7).shuffle(pairs)
    return pairs


def long_texts(options: Options, language: str) -> list[tuple[str, str]]:
    """Generated records as one text each, with the first turn of the next for a prompt."""
    corpus = harness.generated(1e5 if options.quick else 3e6)
    records = [json.loads(line) for line in corpus.open(encoding="utf-8")]
    said = [[m["content"] for m in r["messages"]] for r in records if r["language"] == language]
    return [("\n\n".join(turns), after[0]) for turns, after in itertools.pairwise(said)]


def write_parts(pairs: list[tuple[str, str]], folder: Path, name: str, options: Options) -> list[Path]:
    """A part to warm up with, and one for each round."""
    size, chosen = (2e5 if options.quick else 4e6), []
    for pair in pairs:
        if size <= 0:
            break
        chosen.append(pair)
        size -= len(pair[0].encode())
    paths = []
    for part in range(options.rounds + 1):
        path = folder / f"{name}-{part}.json"
        path.write_text(json.dumps(chosen[part :: options.rounds + 1]), encoding="utf-8")
        paths.append(path)
    return paths


def write_texts(options: Options, folder: Path) -> dict[str, list[Path]]:
    sources = {"answers": answers, "long": long_texts}
    return {
        name_of(language, kind): write_parts(sources[kind](options, language), folder, f"{kind}-{language}", options)
        for language, kind in SETS
    }


# ------------------------------------------------------------------------------------------- measuring


def measure(options: Options) -> dict[str, Any]:
    results: dict[str, Any] = {"rates": {}, "versions": {}, "errors": {}, "bytes": {}}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        parts = write_texts(options, Path(folder))
        workers = start_all(stack, results)
        if "polyalign" not in workers:
            raise SystemExit(f"features: {results['errors']['polyalign']}")
        results["features"] = workers["polyalign"].ask(do="counts")
        compare(workers, parts)
        for (language, kind), jobs in jobs_of(workers, groups_of(results)).items():
            name = name_of(language, kind)
            log(f"features: {name}")
            results["rates"][name] = measure_set(workers, jobs, parts[name])
            results["bytes"][name] = mean_bytes(parts[name])
    results["corpus"] = "dialogue" if options.corpus else "generated"
    return results


def start_all(stack: contextlib.ExitStack, results: dict[str, Any]) -> dict[str, Worker]:
    """The workers of the libraries that can be installed; what the others said is kept."""
    workers = {}
    for name in [*REQUIREMENTS, "polyalign"]:
        worker = start(name, stack)
        if isinstance(worker, str):
            log(f"{name}: {worker}")
            results["errors"][name] = worker
            continue
        workers[name] = worker
        if name in PACKAGES:
            results["versions"][name] = worker.ask(do="version", package=PACKAGES[name])
    return workers


def start(name: str, stack: contextlib.ExitStack) -> Worker | str:
    """A worker of a library, or why there is none."""
    try:
        python = harness.environment(name, REQUIREMENTS[name]) if name in REQUIREMENTS else Path(sys.executable)
        worker = stack.enter_context(Worker(python, name, "features_worker.py"))
        worker.ask(do="load")
        return worker
    except (WorkerError, RuntimeError) as error:
        return str(error)


def jobs_of(workers: dict[str, Worker], groups: list[str]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """By set of texts: who does what, the peers of English on English."""
    jobs = {}
    for language, kind in SETS:
        ours = [("polyalign", f"{language} {task}") for task in [*WHOLE, *groups]]
        peers = [(peer, task) for _, _, peer, task, of in PEERS if of == language]
        jobs[language, kind] = [(who, task) for who, task in [*peers, *ours] if who in workers]
    return jobs


def measure_set(
    workers: dict[str, Worker], jobs: list[tuple[str, str]], parts: list[Path]
) -> dict[str, dict[str, float]]:
    """MB and texts a second of every job, medians over the parts; the first warms up."""
    rates: dict[str, list[tuple[float, float]]] = {}
    for number_of, path in enumerate(parts):
        for who, task in jobs:
            texts, size, seconds = workers[who].ask(do="time", task=task, path=str(path), budget=BUDGET)
            if number_of:
                job = f"{who}: {task.removeprefix('en ').removeprefix('zh ')}"
                rates.setdefault(job, []).append((size / MEGABYTE / seconds, texts / seconds))
    return {
        job: {"mb_s": median(mb for mb, _ in values), "texts_s": median(texts for _, texts in values)}
        for job, values in rates.items()
    }


def groups_of(results: dict[str, Any]) -> list[str]:
    return [group for group in results["features"] if group != "paper"]


def mean_bytes(parts: list[Path]) -> float:
    texts = [text for path in parts for text, _ in json.loads(path.read_text(encoding="utf-8"))]
    return harness.size_of(texts) / max(1, len(texts))


def compare(workers: dict[str, Worker], parts: dict[str, list[Path]]) -> None:
    """Stop if a sentiment is not that of vaderSentiment; the other peers count by rules of their own."""
    if "vader" not in workers:
        return
    path = str(parts[name_of("en", "answers")][0])
    theirs = workers["vader"].ask(do="result", task="sentiment", path=path, most=1000)
    ours = workers["polyalign"].ask(do="result", task="en sentiment", path=path, most=1000, column="vader_compound")
    differ = sum(abs(a - b) > 1e-4 for a, b in zip(ours, theirs, strict=True))
    if differ:
        raise SystemExit(f"features: {differ} of {len(ours)} sentiments are not those of vaderSentiment")


# ------------------------------------------------------------------------------------------- tables

# What a peer does: label, polyalign's group that does it, the peer, its task, the language.
PEERS = [
    ("readability, 8 measures", "readability", "textstat", "readability", "en"),
    ("sentiment", "sentiment", "vader", "sentiment", "en"),
    ("lexical richness, 5 measures", "lexical", "lexicalrichness", "lexical", "en"),
    ("words", "length", "jieba", "words", "zh"),
]


def render(results: dict[str, Any]) -> str:
    kinds = list(KINDS)
    return "\n\n".join([render_whole(results), render_peers(results, kinds), render_groups(results)])


def render_short(results: dict[str, Any]) -> str:
    """The tables of the README: all features, and the peers on answers."""
    return "\n\n".join([render_whole(results), render_peers(results, ["answers"])])


def rate(results: dict[str, Any], language: str, kind: str, job: str, unit: str = "mb_s") -> float | None:
    return results["rates"].get(name_of(language, kind), {}).get(job, {}).get(unit)


def headings(results: dict[str, Any]) -> list[str]:
    """The sets of texts, with their mean sizes."""
    sizes = {(language, kind): results["bytes"][name_of(language, kind)] for language, kind in SETS}
    return [f"{LANGUAGES[language]} {KINDS[kind]}, {sizes[language, kind]:,.0f} B each" for language, kind in SETS]


def both(mb: float | None, texts: float | None) -> str:
    return "not measured" if mb is None else f"{number(mb)} ({texts:,.0f})"


def render_whole(results: dict[str, Any]) -> str:
    counts = results["features"]
    total = sum(counts[group] for group in groups_of(results))
    quoted = [f"{mb:.3f} ({texts:,})" for texts, mb in AUTHORS.values()]
    rows = [["the paper's extractor, 134 features (measured elsewhere)", *quoted, "", ""]]
    labels = [
        f"{total - counts['interaction']} features",
        f"with prompts, {total} features",
        f'`variant="paper"`, {counts["paper"]} features',
    ]
    for label, task in zip(labels, WHOLE, strict=True):
        cells = [
            both(*(rate(results, *which, f"polyalign: {task}", unit) for unit in ("mb_s", "texts_s"))) for which in SETS
        ]
        row = [f"polyalign, {label}", *cells]
        rows.append([f"**{cell}**" for cell in row] if task == "all" else row)
    return harness.table(["Features, MB/s (texts/s) on one core", *headings(results)], rows)


def render_peers(results: dict[str, Any], kinds: list[str]) -> str:
    rows = []
    for label, group, peer, task, language in PEERS:
        for kind in kinds:
            theirs = rate(results, language, kind, f"{peer}: {task}")
            ours = rate(results, language, kind, f"polyalign: {group}")
            name = f"{PACKAGES[peer]} {results['versions'].get(peer, '')}".strip()
            gain = f"{ours / theirs:,.0f}×" if ours and theirs else ""
            what = f"{label}, {LANGUAGES[language]} {KINDS[kind]}"
            mine = f"**{number(ours)}** (`{group}`, {results['features'][group]})" if ours else "not measured"
            rows.append([what, name, small(theirs), mine, gain])
    header = ["MB/s on one core", "peer", "", "polyalign (the group, its features)", "times"]
    return harness.table(header, rows, left=2)


def small(value: float | None) -> str:
    """Two digits of a rate below one, too."""
    if value is None:
        return "not measured"
    return number(value) if value >= 1 else f"{value:.2f}"


def render_groups(results: dict[str, Any]) -> str:
    rows = []
    for group in groups_of(results):
        cells = [number(rate(results, *which, f"polyalign: {group}")) or "not measured" for which in SETS]
        rows.append([f"`{group}`", str(results["features"][group]), *cells])
    return harness.table(["A group alone, MB/s on one core", "features", *headings(results)], rows)


if __name__ == "__main__":
    harness.main(measure, render, __doc__)
