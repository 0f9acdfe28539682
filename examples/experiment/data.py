"""Which rows are for what: groups are parted by their hash, once and for all."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import polyalign

PARTS = ("train", "judge", "valid", "report")
COLUMNS = ["id", "bucket", "language", "prompt", "completion", "group"]


def part_of(group: str) -> str:
    """Return the part of a group: .5 trains, .2 is the judge's, settings are chosen by .1, and .2 is reported."""
    share = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "little") / 2**64
    return "train" if share < 0.5 else "judge" if share < 0.7 else "valid" if share < 0.8 else "report"


def bucket(corpus: str, schema: dict[str, Any], folder: Path) -> None:
    """Assign each exchange of a corpus to its bucket."""
    polyalign.Bucketer(polyalign.BucketSchema(**schema)).bucket_files(corpus, str(folder))


def short(table: pa.Table, tokenizer: Any, largest: int, max_length: int) -> pa.Table:
    """Return the rows that a model takes, of the largest buckets a sample, so that small ones count."""
    table = table.take(drawn(table["bucket"].to_pylist(), table["id"].to_pylist(), largest))
    texts = tokenizer.apply_chat_template(
        [[*row["prompt"], {"role": "assistant", "content": reply(row)}] for row in table.to_pylist()], tokenize=False
    )
    lengths = np.array([len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]])
    return table.filter(pa.array(lengths <= max_length))


def of_part(table: pa.Table, part: str) -> pa.Table:
    """Return the rows of a part."""
    return table.filter(pa.array([part_of(group) == part for group in table["group"].to_pylist()]))


def even(table: pa.Table, count: int, salt: str) -> pa.Table:
    """Return so many rows, as many of each bucket as there are or as it takes."""
    buckets, names = table["bucket"].to_pylist(), [salt + name for name in table["id"].to_pylist()]
    sizes = sorted(Counter(buckets).values())
    each = next((each for each in range(1, count) if sum(min(each, size) for size in sizes) >= count), count)
    return table.take(drawn(buckets, names, each)[:count])


def natural(table: pa.Table, count: int, salt: str) -> pa.Table:
    """Return so many rows, whatever their buckets."""
    names = [salt + name for name in table["id"].to_pylist()]
    return table.take(drawn([""] * len(names), names, count))


def drawn(buckets: list[str], names: list[str], each: int) -> list[int]:
    """Return the places of so many rows of each bucket, in the order of a hash."""
    order = sorted(range(len(names)), key=lambda at: hashlib.sha256(names[at].encode()).digest())
    taken: Counter[str] = Counter()
    places = []
    for at in order:
        taken[buckets[at]] += 1
        if taken[buckets[at]] <= each:
            places.append(at)
    return places


def reply(row: dict[str, Any]) -> str:
    """Return the human response of a row."""
    return str(row["completion"][-1]["content"])


def read_rows(path: Path) -> pa.Table:
    """Read a table, or the folder of a bucketed corpus."""
    return pq.read_table(path / "data", columns=COLUMNS) if path.is_dir() else pq.read_table(path)


def write_lines(path: Path, rows: Iterable[Any]) -> None:
    """Write a row a line, as JSON."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows), "utf-8")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read what `write_lines` wrote."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
