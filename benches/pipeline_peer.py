"""JSONL to lengths and bucket ids as one does it without polyalign: `pipeline_peer.py HOW CORPUS TOKENIZER PROCESSES`.

HOW is `answers` or `all` (datasets: load, then map with tokenizers), or `words` (json and regular expressions, one
process). Prints rows, the sum of the lengths, and seconds, the imports left out.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EDGES = ((40, "short"), (120, "medium"), (240, "long"))


def length_bin(length: int) -> str:
    return next((name for edge, name in EDGES if length <= edge), "xlong")


def bucket(language: str, track: str, family: str, length: int) -> str:
    return f"{language}|{track}|{family}|{length_bin(length)}"


# ------------------------------------------------------------------------------------------- datasets + tokenizers


def load_tokenizer(path: str) -> Any:
    """A function from texts to their numbers of tokens, as fast as this version of tokenizers can."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    encode = getattr(tokenizer, "encode_batch_fast", tokenizer.encode_batch)
    return lambda texts: [len(e) for e in encode(texts, add_special_tokens=False)]


def columns(batch: dict[str, list[Any]]) -> tuple[list[list[str]], list[str], list[str]]:
    """Of each row: the messages of the prompt, the answer, and the track."""
    if "messages" in batch:
        said = [[m["content"] for m in messages] for messages in batch["messages"]]
        tracks = ["multi" if len(texts) > 2 else "single" for texts in said]
        return [texts[:-1] for texts in said], [texts[-1] for texts in said], tracks
    asked = [f"{c}\n\n{q}" if c else q for c, q in zip(batch["context"], batch["question"], strict=True)]
    histories = [[turn["text"] for turn in history] for history in batch["dialogue_history"]]
    prompts = [[*history, question] for history, question in zip(histories, asked, strict=True)]
    return prompts, batch["human_answer"], batch["track"]


def mapper(tokenizer: str, whole: bool) -> Any:
    count = None

    def map_batch(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        nonlocal count
        count = count or load_tokenizer(tokenizer)  # once a process: it can't be pickled
        prompts, answers, tracks = columns(batch)
        lengths = count(answers)
        keys = zip(batch["language"], tracks, batch["family"], lengths, strict=True)
        added = {"length": lengths, "bucket": [bucket(*key) for key in keys]}
        if whole:
            flat = iter(count([text for texts in prompts for text in texts]))
            added["prompt_tokens"] = [sum(next(flat) for _ in texts) for texts in prompts]
        return added

    return map_batch


def datasets_map(corpus: str, tokenizer: str, processes: int, whole: bool) -> tuple[int, int, float]:
    import datasets
    import tokenizers  # noqa: F401

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(dir=Path(corpus).parent) as cache:
        start = time.perf_counter()
        rows = datasets.load_dataset("json", data_files=corpus, split="train", cache_dir=cache)
        rows = rows.map(mapper(tokenizer, whole), batched=True, num_proc=processes, remove_columns=rows.column_names)
        seconds = time.perf_counter() - start
        lengths = sum(rows["length"]) + (sum(rows["prompt_tokens"]) if whole else 0)
        return len(rows), lengths, seconds


# ------------------------------------------------------------------------------------------- regular expressions

WORD = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)?|\d+|[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\w\s]")
BLANK_RUN = re.compile(r"\s+")
BLANK_LINES = re.compile(r"\n{3,}")


def normalise(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    lines = [BLANK_RUN.sub(" ", line).rstrip() for line in text.split("\n")]
    return BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


def regex_words(corpus: str) -> tuple[int, int, float]:
    start = time.perf_counter()
    rows, total = [], 0
    with Path(corpus).open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            _, (answer,), (track,) = columns({name: [value] for name, value in record.items()})
            length = len(WORD.findall(normalise(answer)))
            total += length
            rows.append((length, bucket(record["language"], track, record["family"], length)))
    return len(rows), total, time.perf_counter() - start


def main() -> None:
    how, corpus, tokenizer, processes = sys.argv[1:]
    if how == "words":
        rows, total, seconds = regex_words(corpus)
    else:
        rows, total, seconds = datasets_map(corpus, tokenizer, int(processes), how == "all")
    print(json.dumps({"rows": rows, "total": total, "seconds": seconds}))


if __name__ == "__main__":
    main()
