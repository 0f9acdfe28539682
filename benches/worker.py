"""Counts with one peer, in that peer's own environment, on one core: driven by `harness.Worker` through pipes.

Only the standard library and the peer are imported. A command is a line of JSON, and so is its answer.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.metadata
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Count = Callable[[Sequence[str]], Sequence[int]]


def polyalign(tokenizer: str) -> Count:
    from polyalign import TokenCounter

    counter = TokenCounter(tokenizer)
    return lambda texts: counter.count(texts, threads=1)


def polyalign_arrow(tokenizer: str) -> Count:
    """The same from an Arrow column, made before the clock starts (see `prepare`)."""
    return polyalign(tokenizer)


def tokenizers_023(tokenizer: str) -> Count:
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_file(tokenizer)
    loaded.no_truncation()
    loaded.no_padding()
    encode = loaded.encode_batch_fast
    return lambda texts: [len(e) for e in encode(texts, add_special_tokens=False)]


def tokenizers_1(tokenizer: str) -> Count:
    from tokenizers import Tokenizer

    encode = Tokenizer.from_file(tokenizer).encode_batch
    return lambda texts: [len(e) for e in encode(texts, add_special_tokens=False, padding=None, truncation=None)]


def tiktoken(tokenizer: str) -> Count:
    """From the ranks and the split pattern of a tokenizer.json, where it has one pattern."""
    from tiktoken import Encoding

    spec = json.loads(Path(tokenizer).read_text(encoding="utf-8"))
    encoding = Encoding(
        "bench",
        pat_str=split_pattern(spec),
        mergeable_ranks=byte_ranks(spec["model"]["vocab"]),
        special_tokens={t["content"]: t["id"] for t in spec["added_tokens"]},
    )
    encode = encoding.encode_ordinary
    return lambda texts: [len(encode(text)) for text in texts]


def split_pattern(spec: dict[str, Any]) -> str:
    steps = spec["pre_tokenizer"].get("pretokenizers", [spec["pre_tokenizer"]])
    patterns = [step["pattern"]["Regex"] for step in steps if step["type"] == "Split"]
    if len(patterns) != 1:
        raise ValueError(f"{len(patterns)} split patterns; tiktoken takes one")
    return patterns[0]


def byte_ranks(vocab: dict[str, int]) -> dict[bytes, int]:
    """A byte-level vocabulary as bytes: GPT-2's map of bytes to printable characters, undone."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in set(printable)]
    byte_of = {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}
    return {bytes(byte_of[c] for c in token): rank for token, rank in vocab.items() if set(token) <= byte_of.keys()}


def fastokens(tokenizer: str) -> Count:
    from fastokens import Tokenizer

    return flat_counts(Tokenizer.from_file(tokenizer).encode_batch_flat)


def flat_counts(encode: Callable[[Sequence[str]], tuple[bytes, bytes]]) -> Count:
    """Counts of what gives all ids in one, and where those of a text begin."""

    def count(texts: Sequence[str]) -> list[int]:
        offsets = memoryview(encode(texts)[1]).cast("q").tolist()
        return [end - start for start, end in itertools.pairwise(offsets)]

    return count


def gigatoken(tokenizer: str) -> Count:
    from awkward import num
    from gigatoken import Tokenizer

    encode = Tokenizer(tokenizer).encode_batch
    return lambda texts: num(encode(texts, parallel=False), axis=1)


def snaptokens(tokenizer: str) -> Count:
    from snaptokens import Tokenizer

    return flat_counts(Tokenizer.from_file(tokenizer).encode_batch_flat)


def kitoken(tokenizer: str) -> Count:
    from kitoken import Kitoken

    encode = Kitoken.from_tokenizers_file(tokenizer).encode_all
    return lambda texts: [len(ids) for ids in encode(texts, True)]


def tokie(tokenizer: str) -> Count:
    from tokie import Tokenizer

    return Tokenizer.from_json(tokenizer).count_tokens_batch


def tuetoken(tokenizer: str) -> Count:
    from tuetoken import Tokenizer

    count = Tokenizer(tokenizer).count_tokens_batch
    return lambda texts: count(texts, num_threads=1)


def quicktok(tokenizer: str) -> Count:
    """Counts with the vocabulary it bundles under that name."""
    from quicktok import get_encoding

    bundled = {"qwen2.5": "qwen3", "llama3": "llama3", "o200k_base": "o200k_base"}
    name = Path(tokenizer).name.removesuffix(".tokenizer.json")
    if name not in bundled:
        raise ValueError(f"no bundled vocabulary for {name}")
    count = get_encoding(bundled[name]).count
    return lambda texts: [count(text) for text in texts]


def toktok(_tokenizer: str) -> Count:
    """Counts with o200k_base, whatever the tokenizer: it has no other that is compared here."""
    from toktok import batch_count

    return lambda texts: batch_count(texts, "o200k_base", threads=1)


ADAPTERS = {
    f.__name__: f
    for f in (
        polyalign,
        polyalign_arrow,
        tokenizers_023,
        tokenizers_1,
        tiktoken,
        fastokens,
        gigatoken,
        snaptokens,
        kitoken,
        tokie,
        tuetoken,
        quicktok,
        toktok,
    )
}


class State:
    """The loaded tokenizer and the texts given so far, by name."""

    def __init__(self, adapter: str) -> None:
        self.adapter = adapter
        self.count: Count | None = None
        self.texts: dict[str, Any] = {}

    def load(self, tokenizer: str) -> float:
        start = time.perf_counter()
        self.count = ADAPTERS[self.adapter](tokenizer)
        return time.perf_counter() - start

    def version(self, package: str) -> str:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(package)
        return importlib.import_module(package).__version__

    def prepare(self, name: str, path: str) -> None:
        texts = json.loads(Path(path).read_text(encoding="utf-8"))
        if self.adapter == "polyalign_arrow":
            import pyarrow

            texts = pyarrow.array(texts, pyarrow.large_string())
        self.texts[name] = texts

    def time(self, name: str, clock: str = "perf_counter") -> float:
        texts, now = self.texts[name], getattr(time, clock)
        gc.collect()
        gc.disable()
        start = now()
        self.count(texts)
        elapsed = now() - start
        gc.enable()
        return elapsed

    def counts(self, name: str) -> list[int]:
        counts = self.count(self.texts[name])
        return [int(n) for n in (counts.tolist() if hasattr(counts, "tolist") else counts)]


def serve(state: State, commands: Any, answers: Any) -> None:
    for line in commands:
        command = json.loads(line)
        try:
            answer = {"value": getattr(state, command.pop("do"))(**command)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main(state: type[State] = State) -> None:
    # Peers may print; answers go to the pipe that was standard output, prints to standard error.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    serve(state(sys.argv[1]), sys.stdin, answers)


if __name__ == "__main__":
    main()
