"""Hot paths under pytest-benchmark: `pytest benches`. Texts and tokenizer are made here: numbers compare over time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import generate
import train_vocabulary
from polyalign import Bucketer, BucketSchema, TokenCounter


@pytest.fixture(scope="session")
def records() -> list[dict]:
    return [json.loads(line) for line in b"".join(generate.generate(5e5, jobs=1)).decode().splitlines()]


@pytest.fixture(scope="session")
def texts(records) -> dict[str, list[str]]:
    by_language: dict[str, list[str]] = {"en": [], "zh": []}
    for record in records:
        by_language[record["language"]] += [message["content"] for message in record["messages"]]
    return by_language


@pytest.fixture(scope="session")
def tokenizer_file(texts, tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_vocabulary.train([*texts["en"], *texts["zh"]], 8000).save(str(path))
    return path


@pytest.fixture(scope="session")
def counter(tokenizer_file) -> TokenCounter:
    return TokenCounter(tokenizer_file)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_count_a_list(benchmark, counter, texts, language):
    counts = benchmark(counter.count, texts[language], threads=1)
    assert counts.min() > 0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_count_an_arrow_column(benchmark, counter, texts, language):
    pyarrow = pytest.importorskip("pyarrow")
    column = pyarrow.array(texts[language])
    counts = benchmark(counter.count, column, threads=1)
    assert counts.to_pylist() == counter.count(texts[language]).tolist()


def test_load_a_tokenizer(benchmark, tokenizer_file):
    assert benchmark(TokenCounter, tokenizer_file).is_fast


@pytest.mark.parametrize("known", [True, False], ids=["language given", "language detected"])
def test_assign_a_table(benchmark, counter, records, known):
    pyarrow = pytest.importorskip("pyarrow")
    rows = [record if known else {"messages": record["messages"]} for record in records]
    table = pyarrow.Table.from_pylist(rows)
    bucketer = Bucketer(BucketSchema(languages=("en", "zh")), counter)
    buckets = benchmark(bucketer.assign, table, threads=1)["bucket"].to_pylist()
    assert buckets[0].split("|")[0] == records[0]["language"]


@pytest.mark.parametrize("flags", [{"assignments_only": True}, {}], ids=["assignments only", "texts too"])
def test_bucket_a_file(benchmark, counter, records, tmp_path, flags):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    bucketer = Bucketer(tokenizer=counter)
    report = benchmark(bucketer.bucket_files, corpus, tmp_path / "out", overwrite=True, threads=1, **flags)
    assert report.bucketed == len(records)


def test_import(benchmark):
    benchmark(subprocess.run, [sys.executable, "-c", "import polyalign"], check=True)
