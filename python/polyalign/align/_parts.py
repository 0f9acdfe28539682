"""The parts of a bucketed corpus: what trains, with the validation part beside it; and what is answered."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from polyalign._io import bucketed, json_text, manifests
from polyalign._io.extras import training_module

__all__ = ["ANSWER", "part_files"]

#: A column of what is answered: what the human said, as text. The leak control is shown it.
ANSWER = "human_answer"
_HELD = "data/test-00000.parquet"
_ROWS = 10_000


def part_files(source: Path, folder: Path, test_share: float | None) -> dict[str, int]:
    """Write folders like the bucketed one, and return how many rows ``train``, ``validation`` and ``test`` have.

    Of what is held out there, groups whose hash is below the share are the test part, as if they alone were held out;
    the others are the validation part. Without a share all of it is the test part. ``train`` has the rows that train
    and, as its split ``test``, the validation part; ``validation`` and ``test`` have the rows that train, for examples,
    and the part as their split ``test``. Files of rows that train are linked where they can be.

    Raises
    ------
    ValueError
        A part has no rows.
    """
    made = json.loads((source / "manifest.json").read_text("utf-8"))
    shards = {held: [shard for shard in made["shards"] if _is_held(shard["file"]) == held] for held in (False, True)}
    if not shards[True]:
        raise ValueError(f"{source}: nothing in it is held out; polyalign bucket --test-share does that")
    parts = ("test",) if test_share is None else ("validation", "test")
    for name in ("train", *parts):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name / "data").mkdir(parents=True)
        for shard in shards[False]:
            _link(source / shard["file"], folder / name / shard["file"])
    counts = {"train": sum(shard["rows"] for shard in shards[False]), "validation": 0, "test": 0}
    held = [source / shard["file"] for shard in shards[True]]
    with ExitStack() as stack:
        writers: dict[str, Any] = {}
        for part, table in _parted(held, test_share):
            counts[part] += table.num_rows
            _write(stack, writers, folder / part / _HELD, _with_answers(table))
            if part == "validation":
                _write(stack, writers, folder / "train" / _HELD, table)
    for part in parts:
        if not counts[part]:
            raise ValueError(f"the {part} part has no rows: raise {part}_share")
    for name in ("train", *parts):
        _describe(folder / name, made, shards[False])
    return counts


def _is_held(file: str) -> bool:
    return Path(file).name.startswith("test-")


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _parted(held: list[Path], test_share: float | None) -> Iterator[tuple[str, Any]]:
    """Give what is held out, piece by piece, each with its part."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    below = None if test_share is None else int(test_share * 2.0**64)
    for path in held:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS):
                table = pa.Table.from_batches([batch])
                if below is None:
                    yield "test", table
                    continue
                key_of = training_module("polyalign.trainers._prepare.held_out").key_of
                columns = [name for name in ("group", "prompt", "completion") if name in table.column_names]
                is_test = [key_of(row) < below for row in table.select(columns).to_pylist()]
                for part, wanted in (("test", True), ("validation", False)):
                    chosen = table.filter(pa.array([each is wanted for each in is_test]))
                    if chosen.num_rows:
                        yield part, chosen


def _with_answers(table: Any) -> Any:
    import pyarrow as pa

    texts = bucketed.texts("completion", table["completion"].combine_chunks()).text.to_pylist()
    return table.append_column(ANSWER, pa.array([text or "" for text in texts], pa.string()))


def _write(stack: ExitStack, writers: dict[str, Any], path: Path, table: Any) -> None:
    import pyarrow.parquet as pq

    key = str(path)
    if key not in writers:
        writers[key] = stack.enter_context(pq.ParquetWriter(path, table.schema))
    writers[key].write_table(table)


def _describe(folder: Path, made: Mapping[str, Any], shards: list[Any]) -> None:
    """Write the manifest of a part: that of the whole, with its own files."""
    import pyarrow.parquet as pq

    path = folder / _HELD
    held = []
    if path.is_file():
        rows = pq.read_metadata(path).num_rows
        held = [{"file": _HELD, "rows": rows, "bytes": path.stat().st_size, "sha256": manifests.sha256(path)}]
    told = json_text.indented({**made, "shards": [*shards, *held]})
    (folder / "manifest.json").write_text(f"{told}\n", "utf-8", newline="\n")
