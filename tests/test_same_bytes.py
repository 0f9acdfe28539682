"""Outputs stay as they are: digests of all that a small corpus leads to are kept in ``same_bytes.json``.

Where outputs are meant to change, the failing test says the command that writes the file anew.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import humans
import small_tokenizers
from conftest import conversation, write_jsonl

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benches"))

import outputs  # noqa: E402

KEPT = Path(__file__).with_name("same_bytes.json")
_FILES = 5


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A corpus of several files, and a tokenizer."""
    folder = tmp_path_factory.mktemp("given")
    corpus, tokenizer = folder / "corpus", folder / "tokenizer.json"
    corpus.mkdir()
    records = humans.records()
    for at in range(_FILES):
        write_jsonl(corpus / f"humans-{at}.jsonl", records[at::_FILES])
    turns = [conversation(at, ("en", "zh")[at % 2], turns=1 + at % 3, words=1 + at % 7) for at in range(30)]
    write_jsonl(corpus / "turns.jsonl", turns)
    small_tokenizers.build("qwen2").save(str(tokenizer))
    return corpus, tokenizer


@pytest.fixture(scope="module")
def made(given: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all outputs."""
    folder = tmp_path_factory.mktemp("made")
    outputs.make(given[0], folder, given[1])
    return folder


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="the digests are of Linux on x86_64: logarithms of other systems may round otherwise",
)
def test_outputs_are_as_they_were(given, made):
    corpus, tokenizer = given
    found = outputs.content_digests(made)
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    differing = sorted(name for name in {*kept, *found} if kept.get(name) != found.get(name))
    assert not differing, (
        f"{', '.join(differing)} changed. If that is meant, say so in the commit, and keep what is new: "
        f"python benches/outputs.py {corpus} --tokenizer {tokenizer} --content --out tests/{KEPT.name}"
    )


@pytest.mark.parametrize("threads", ["1", "3"])
def test_threads_and_folders_change_nothing(given, made, threads, tmp_path, monkeypatch):
    monkeypatch.setenv("POLYALIGN_NUM_THREADS", threads)
    corpus, tokenizer = given
    assert outputs.digests(corpus, tmp_path, tokenizer, content=False) == outputs.raw_digests(made)


def test_what_changes_is_seen(made, tmp_path):
    for path in sorted(file for file in made.rglob("*") if file.is_file()):
        changed = tmp_path / path.name
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            pq.write_table(table.slice(1), changed)
            assert outputs.content_digest(changed) != outputs.content_digest(path)
            name = table.column_names[0]
            pq.write_table(table.set_column(0, name, pa.nulls(len(table), table[name].type)), changed)
        else:
            data = path.read_bytes()
            at = data.index(b'"rows": ') + 8 if path.suffix == ".json" else len(data) // 2
            changed.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert outputs.content_digest(changed) != outputs.content_digest(path), path


def test_what_a_library_changes_is_not_seen(made, tmp_path):
    (path, *_) = sorted(made.rglob("*.parquet"))
    again = tmp_path / path.name
    pq.write_table(pq.read_table(path), again, compression="gzip", row_group_size=7)
    assert again.read_bytes() != path.read_bytes()
    assert outputs.content_digest(again) == outputs.content_digest(path)
