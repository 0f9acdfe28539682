"""Digests of every output that a corpus leads to: bucketed, with a reference, scored and paired.

    python benches/outputs.py CORPUS [--tokenizer TOKENIZER] [--out FILE] [--content]

Run before and after a change that is to leave outputs as they are, and compare. With `--content`, of Parquet what it
holds counts, and no version: digests that newer libraries leave alone, as a test keeps them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

import polyalign as pa

_BATCH_ROWS = 10_000


def digests(corpus: Path, folder: Path, tokenizer: Path | None, *, content: bool) -> dict[str, str]:
    """Make every output of `corpus` below `folder`; return the SHA-256 of each file, by its path there."""
    make(corpus, folder, tokenizer)
    return content_digests(folder) if content else raw_digests(folder)


def raw_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder, by its path there."""
    return {path.relative_to(folder).as_posix(): raw_digest(path) for path in _files(folder)}


def content_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of what each file below a folder says, by its path there."""
    return {path.relative_to(folder).as_posix(): content_digest(path) for path in _files(folder)}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def make(corpus: Path, folder: Path, tokenizer: Path | None) -> None:
    """Bucket in three ways, build references, score and pair."""
    schema = pa.BucketSchema(length_unit="words", length_edges=(8, 20, 60))
    words = pa.Bucketer(schema)
    words.bucket_files(corpus, folder / "words", reference=folder / "pass.safetensors")
    words.bucket_files(corpus, folder / "split", partition_by=["language", "length"], test_share=0.2, turns="all")
    if tokenizer is not None:
        edges = pa.BucketSchema(length_edges="auto")
        pa.Bucketer(edges, tokenizer=tokenizer).bucket_files(corpus, folder / "tokens")
    reference = pa.Reference.build(folder / "words")
    reference.save(folder / "built.safetensors")
    pa.Reference.build(folder / "words", variant="paper").save(folder / "paper.safetensors")
    samples = folder / "samples.jsonl"
    samples.write_text("".join(_samples(folder / "words")), encoding="utf-8")
    for ending in ("jsonl", "parquet"):
        reference.score_files(samples, folder / f"scores.{ending}", join=folder / "words", explain=3)
    pa.pairs.pair_files(folder / "words", folder / "pairs", samples=samples, reference=reference)


def _samples(bucketed: Path) -> Iterator[str]:
    """Give every record the response of the one before it, as if a model had said it."""
    before = "Well."
    for file in sorted((bucketed / "data").glob("*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(_BATCH_ROWS, columns=["id", "completion"]):
            for row in batch.to_pylist():
                yield json.dumps({"id": row["id"], "response": before}, ensure_ascii=False) + "\n"
                before = row["completion"][-1]["content"] or before


def raw_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def content_digest(path: Path) -> str:
    """Return the SHA-256 of what a file says, whatever version wrote it."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        told = [str(table.schema.remove_metadata()), *map(json.dumps, table.to_pylist())]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()
    data = path.read_bytes()
    if path.name == "manifest.json":
        data = re.sub(rb'"(polyalign_version|sha256|bytes)": [^\n,]+', b"", data)
    return hashlib.sha256(data).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--content", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = digests(options.corpus, Path(folder), options.tokenizer, content=options.content)
    told = json.dumps(found, indent=2) + "\n"
    if options.out:
        options.out.write_text(told)
    else:
        print(told, end="")


if __name__ == "__main__":
    main()
