"""A folder of pairs: Parquet in files of a bounded size, and a manifest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polyalign._io import bucketed, json_text, manifests
from polyalign.pairs._report import Report

_SHARD_BYTES = 128 << 20


_GROUP_ROWS = 10_000


def write_shards(tables: Iterator[Any], folder: Path) -> list[dict[str, Any]]:
    """Write tables as Parquet, in files of a bounded size; return what they are."""
    import pyarrow.parquet as pq

    folder.mkdir()
    shards: list[dict[str, Any]] = []
    writer, size = None, 0
    try:
        for table in _groups(tables):
            if writer is None:
                path = folder / f"train-{len(shards):05}.parquet"
                writer, size = pq.ParquetWriter(path, table.schema, compression="zstd"), 0
                shards.append({"file": f"data/{path.name}", "rows": 0})
            writer.write_table(table)
            shards[-1]["rows"] += len(table)
            size += table.nbytes
            if size >= _SHARD_BYTES:
                writer = writer.close()
    finally:
        if writer is not None:
            writer.close()
    return [{**shard, "sha256": manifests.sha256(folder.parent / shard["file"])} for shard in shards]


def _groups(tables: Iterator[Any]) -> Iterator[Any]:
    """Bring small tables together, so that row groups are not tiny."""
    pa = bucketed.arrow()
    waiting: list[Any] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= _GROUP_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def write_manifest(path: Path, report: Report, shards: list[dict[str, Any]]) -> None:
    """Write what the pairs are; it names no time, host or place, so the same input gives the same bytes."""
    from polyalign import __version__

    told = {name: value for name, value in report.to_dict().items() if name != "output"}
    manifest = {
        "format": manifests.PAIRS,
        "format_version": 1,
        "polyalign_version": __version__,
        **told,
        "shards": shards,
    }
    path.write_text(json_text.indented(manifest) + "\n", "utf-8", newline="\n")
