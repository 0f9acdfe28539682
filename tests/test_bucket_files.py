"""`Bucketer.bucket_files`: files in, a directory of buckets out."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
import zstandard

import small_tokenizers
from conftest import clean_environment, conversation, write_jsonl
from polyalign import Bucketer, BucketSchema, Reference, Report, TokenCounter
from polyalign._text.reading import reading_lines

SCHEMA = BucketSchema(languages=["en", "zh"], length_edges=(8, 20, 40), length_unit="words", families={"geo": "qa"})


@pytest.fixture
def bucketer() -> Bucketer:
    return Bucketer(SCHEMA)


def checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(output: Path) -> list[dict[str, Any]]:
    return ds.dataset(output / "data", partitioning="hive").to_table().to_pylist()


def test_report_and_output_agree(bucketer: Bucketer, corpus: Path, tmp_path: Path) -> None:
    report = bucketer.bucket_files(corpus, tmp_path / "out")
    assert (report.rows, report.bucketed, report.rejected) == (60, 60, 0)
    assert report.shape == "messages"
    assert report.output == str(tmp_path / "out")
    assert report.schema.families == {"geo": "qa"}
    table = ds.dataset(tmp_path / "out" / "data").to_table()
    counts = {}
    for bucket in table["bucket"].to_pylist():
        counts[bucket] = counts.get(bucket, 0) + 1
    assert counts == {bucket.bucket: bucket.rows for bucket in report.buckets}
    assert sum(bucket.share for bucket in report.buckets) == pytest.approx(1)
    assert all("|".join(bucket.parts) == bucket.bucket for bucket in report.buckets)
    assert {bucket.parts[2] for bucket in report.buckets} == {"qa"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["data", "manifest.json", "rejects.jsonl"]
    assert (tmp_path / "out" / "rejects.jsonl").read_bytes() == b""


def test_quantiles_are_those_of_the_rows(bucketer: Bucketer, corpus: Path, tmp_path: Path) -> None:
    report = bucketer.bucket_files(corpus, tmp_path / "out")
    frame = pl.read_parquet(tmp_path / "out" / "data" / "*.parquet")
    for bucket in report.buckets:
        lengths = sorted(frame.filter(pl.col("bucket") == bucket.bucket)["length"].to_list())
        nearest = {q: lengths[max(0, -(-len(lengths) * q // 100) - 1)] for q in (10, 25, 50, 75, 90)}
        assert bucket.length == {
            "min": lengths[0],
            **{f"q{q}": value for q, value in nearest.items()},
            "max": lengths[-1],
        }


def test_report_prints(bucketer: Bucketer, corpus: Path) -> None:
    report = bucketer.bucket_files(corpus, None)
    text = str(report)
    assert "60 rows from 1 file" in text
    assert all(bucket.bucket in text for bucket in report.buckets)
    assert repr(report) == f"<Report dry run: 60 rows, 60 in {len(report.buckets)} buckets, 0 rejected>"
    assert json.loads(report.to_json())["rows"] == 60
    assert Report(**report.__dict__) == report


def test_dry_run_writes_nothing(bucketer: Bucketer, corpus: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    report = bucketer.bucket_files(corpus, None, limit=10)
    assert report.output is None
    assert report.rows == 10
    assert [example["id"] for example in report.examples] == ["r0", "r1", "r2"]
    assert sorted(tmp_path.iterdir()) == before


def test_tokens_are_those_of_the_counter(corpus: Path, tmp_path: Path) -> None:
    counter = TokenCounter(small_tokenizers.build("qwen2"))
    report = Bucketer(BucketSchema(), counter).bucket_files(corpus, tmp_path / "out")
    prompts = completions = 0
    for row in rows(tmp_path / "out"):
        assert row["prompt_tokens"] == sum(counter.count([message["content"] for message in row["prompt"]]))
        assert row["completion_tokens"] == counter.count(row["completion"][0]["content"]) == row["length"]
        prompts += row["prompt_tokens"]
        completions += row["completion_tokens"]
    assert (report.prompt_tokens, report.completion_tokens) == (prompts, completions)


@pytest.mark.parametrize(
    "options",
    [{}, {"partition_by": ["language"], "test_share": 0.5}, {"assignments_only": True, "test_share": 0.5}],
    ids=str,
)
def test_same_bytes_for_any_number_of_threads(
    bucketer: Bucketer, corpus: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    outputs = []
    for threads in (1, 2, 16):
        output = tmp_path / f"out{threads}"
        bucketer.bucket_files(corpus, output, threads=threads, chunk_bytes=2000, **options)
        outputs.append(checksums(output))
    assert outputs[0] == outputs[1] == outputs[2]
    assert len(outputs[0]) > 4


def test_output_loads_in_datasets_and_trl_form(bucketer: Bucketer, corpus: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    bucketer.bucket_files(corpus, tmp_path / "out")
    dataset = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["train"]
    assert len(dataset) == 60
    assert [message["role"] for message in dataset[0]["prompt"]] == ["user"]
    assert dataset[0]["completion"][0]["role"] == "assistant"
    assert dataset[2]["prompt"][1]["role"] == "assistant"
    assert dataset[2]["bucket"].startswith("en|multi|qa|")
    assert json.loads(dataset[3]["extra"]) == {"source": "geo", "score": 1.5}


def test_no_group_is_on_both_sides(bucketer: Bucketer, tmp_path: Path) -> None:
    from datasets import load_dataset

    def record(at: int) -> dict[str, Any]:
        group = {"group": f"g{at // 5}"} if at < 200 else {}
        return {"id": f"r{at}", "prompt": f"Question {at // 2}?", "completion": f"Answer {at}.", **group}

    path = write_jsonl(tmp_path / "in.jsonl", [record(at) for at in range(400)])
    report = bucketer.bucket_files(path, tmp_path / "out", test_share=0.2, chunk_bytes=4000)
    dataset = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert set(dataset) == {"train", "test"}
    together = [{row["group"] or row["prompt"][0]["content"] for row in dataset[split]} for split in ("train", "test")]
    assert not together[0] & together[1]
    sizes = {split: len(dataset[split]) for split in dataset}
    held_out = report.held_out
    assert held_out is not None
    groups = {row["group"] or row["prompt"][0]["content"] for row in dataset["test"]}
    assert (held_out.rows, held_out.groups) == (sizes["test"], len(groups))
    assert held_out.shared_prompts == 0 or any(row["group"] for row in dataset["test"])
    assert sum(bucket.held_out for bucket in report.buckets) == sizes["test"]
    assert " held out " in str(report)
    assert sizes["train"] + sizes["test"] == report.bucketed == 400
    assert 40 < sizes["test"] < 120
    # Which ones does not depend on what else there is, nor on a table's form.
    ids = set(dataset["test"]["id"])
    pq.write_table(pa.Table.from_pylist([record(at) for at in range(100, 300)]), tmp_path / "part.parquet")
    bucketer.bucket_files(tmp_path / "part.parquet", tmp_path / "part", test_share=0.2)
    found = pq.read_table(tmp_path / "part" / "data" / "test-00000.parquet")["id"].to_pylist()
    assert found == sorted(ids & {f"r{at}" for at in range(100, 300)})
    with pytest.raises(ValueError, match="test_share is 1; it must be at least 0 and below 1"):
        bucketer.bucket_files(path, tmp_path / "out", test_share=1.0, overwrite=True)


def test_output_reads_in_pyarrow_polars_and_duckdb(bucketer: Bucketer, corpus: Path, tmp_path: Path) -> None:
    bucketer.bucket_files(corpus, tmp_path / "out", chunk_bytes=4000)
    data = tmp_path / "out" / "data"
    files = sorted(data.glob("*.parquet"))
    assert len(files) > 2
    table = ds.dataset(data).to_table()
    ids = [f"r{number}" for number in range(60)]
    assert table["id"].to_pylist() == ids
    assert pa.concat_tables([pq.read_table(file) for file in files])["id"].to_pylist() == ids
    frame = pl.read_parquet(data / "*.parquet")
    assert frame["id"].to_list() == ids
    assert frame["row"].to_list() == list(range(60))
    found = duckdb.sql(f"SELECT language, count(*) FROM '{data}/*.parquet' GROUP BY language ORDER BY language")
    assert found.fetchall() == [("en", 30), ("zh", 30)]


def test_hive_folders(bucketer: Bucketer, corpus: Path, tmp_path: Path) -> None:
    bucketer.bucket_files(corpus, tmp_path / "out", partition_by=["language", "track"])
    folders = {
        str(path.parent.relative_to(tmp_path / "out" / "data")) for path in (tmp_path / "out").rglob("*.parquet")
    }
    assert folders == {f"language={a}/track={b}" for a in ("en", "zh") for b in ("single", "multi")}
    frame = pl.read_parquet(tmp_path / "out" / "data" / "**" / "*.parquet", hive_partitioning=True)
    assert len(frame) == 60
    assert len(frame.filter(pl.col("bucket").str.starts_with(pl.concat_str("language", "track", separator="|")))) == 60


def test_kinds_of_files_agree(bucketer: Bucketer, tmp_path: Path) -> None:
    records = [conversation(number, ("en", "zh")[number % 2], words=1 + number % 3) for number in range(30)]
    lines = [json.dumps(record, ensure_ascii=False).encode() for record in records]
    jsonl = b"\n".join(lines) + b"\n"
    table = pa.Table.from_pylist(records)
    files = {
        "plain.jsonl": jsonl,
        "array.json": b"[" + b",\n".join(lines) + b"]",
        "crlf.jsonl": b"\r\n".join(lines),
        "bom.jsonl": b"\xef\xbb\xbf" + jsonl,
        "packed.jsonl.gz": gzip.compress(jsonl[: len(lines[0]) + 1]) + gzip.compress(jsonl[len(lines[0]) + 1 :]),
        "packed.jsonl.zst": zstandard.compress(jsonl),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    pq.write_table(table, tmp_path / "table.parquet")
    with pa.ipc.new_file(tmp_path / "table.arrow", table.schema) as writer:
        writer.write(table)
    seen = {}
    for name in [*files, "table.parquet", "table.arrow"]:
        report = bucketer.bucket_files(tmp_path / name, None)
        assert (report.rows, report.rejected) == (30, 0), name
        seen[name] = [(bucket.bucket, bucket.rows, bucket.length) for bucket in report.buckets]
    assert all(found == seen["plain.jsonl"] for found in seen.values())


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet", "arrow"])
def test_no_row_is_lost_where_a_block_is_full_at_the_end(
    bucketer: Bucketer, tmp_path: Path, suffix: str, count: int
) -> None:
    """Texts of 4 MiB and a little: two fill a block."""
    records = [{"prompt": f"{number}", "completion": f"{number}é " * (1 << 20)} for number in range(count)]
    path = tmp_path / f"long.{suffix}"
    table = pa.Table.from_pylist(records)
    if suffix == "parquet":
        pq.write_table(table, path, use_dictionary=False)
    elif suffix == "arrow":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write(table)
    elif suffix == "json":
        path.write_text(json.dumps(records), "utf-8")
    else:
        write_jsonl(path, records)
    report = bucketer.bucket_files(path, tmp_path / "out")
    assert (report.rows, report.bucketed) == (count, count)
    assert len(ds.dataset(tmp_path / "out" / "data").to_table(columns=["id"])) == count


def test_several_inputs_globs_and_folders(bucketer: Bucketer, tmp_path: Path) -> None:
    data = tmp_path / "data" / "deep"
    data.mkdir(parents=True)
    for number in range(4):
        write_jsonl(data / f"{number}.jsonl", [conversation(number)])
    for inputs in (data, str(data / "*.jsonl"), sorted(data.iterdir())[::-1], [str(p) for p in data.iterdir()]):
        report = bucketer.bucket_files(inputs, tmp_path / "out", overwrite=True)
        assert (report.files, report.rows) == (4, 4)
        assert [row["file"] for row in rows(tmp_path / "out")] == [f"{number}.jsonl" for number in range(4)]
    bucketer.bucket_files(tmp_path / "data", tmp_path / "out", overwrite=True)
    assert rows(tmp_path / "out")[0]["file"] == "deep/0.jsonl"


def test_datasets_folders(bucketer: Bucketer, tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_list([conversation(number) for number in range(5)]).save_to_disk(str(tmp_path / "saved"))
    report = bucketer.bucket_files(tmp_path / "saved", None)
    assert (report.rows, report.bucketed) == (5, 5)


def test_json_columns_of_datasets(bucketer: Bucketer, tmp_path: Path) -> None:
    from datasets import Dataset, Features, Json, List, Value

    records = [conversation(number) for number in range(5)]
    records[1]["messages"][1]["weight"] = 1
    records[2]["messages"][0]["content"] = [{"type": "text", "text": "What is it?"}]
    columns = {"id": Value("string"), "messages": List(Json()), "score": Json()}
    records = [{name: record[name] for name in columns} for record in records]
    write_jsonl(tmp_path / "in.jsonl", records)
    bucketer.bucket_files(tmp_path / "in.jsonl", tmp_path / "out")
    expected = [(row["id"], row["bucket"], row["prompt"], row["completion"]) for row in rows(tmp_path / "out")]
    assert len(expected) == 5
    made = Dataset.from_list(records, features=Features(columns))
    made.save_to_disk(str(tmp_path / "saved"))
    made.to_parquet(str(tmp_path / "in.parquet"))
    for name in ("saved", "in.parquet"):
        out = tmp_path / f"{name}.out"
        assert bucketer.bucket_files(tmp_path / name, out).rejected == 0
        assert [(row["id"], row["bucket"], row["prompt"], row["completion"]) for row in rows(out)] == expected
        # What they hold is still JSON for `datasets`.
        again = Dataset.from_parquet(str(out / "data" / "*.parquet"), cache_dir=str(tmp_path / "cache"))
        assert again.features["messages"] == List(Json())
        assert again[1]["messages"] == records[1]["messages"]
    assert bucketer.assign(made)["bucket"].to_pylist() == [bucket for _, bucket, _, _ in expected]


def test_json_columns_of_duckdb(bucketer: Bucketer, tmp_path: Path) -> None:
    records = [conversation(number) for number in range(5)]
    (tmp_path / "in.json").write_text(json.dumps(records), "utf-8")
    made = f"read_json('{tmp_path}/in.json', columns={{id: 'VARCHAR', messages: 'JSON'}})"
    for name, column in (("whole", "messages"), ("items", "messages::JSON[] AS messages")):
        duckdb.sql(f"COPY (SELECT id, {column} FROM {made}) TO '{tmp_path}/{name}.parquet'")
        report = bucketer.bucket_files(tmp_path / f"{name}.parquet", tmp_path / name)
        assert (report.rows, report.rejected) == (5, 0)
        assert [row["completion"][0]["content"] for row in rows(tmp_path / name)] == [
            record["messages"][1]["content"] for record in records
        ]


def test_outputs_are_rebucketed(bucketer: Bucketer, corpus: Path, tmp_path: Path) -> None:
    bucketer.bucket_files(corpus, tmp_path / "first")
    other = Bucketer(BucketSchema(axes=["language", "length"], length_unit="characters"))
    report = other.bucket_files(tmp_path / "first" / "data", tmp_path / "second")
    assert (report.rows, report.rejected) == (60, 0)
    first, second = rows(tmp_path / "first")[7], rows(tmp_path / "second")[7]
    assert second["length"] == len(first["completion"][0]["content"])
    assert second["completion"] == first["completion"]
    assert not [name for name in second if name.startswith("source_")]


def test_an_output_folder_is_an_input(bucketer: Bucketer, corpus: Path, tmp_path: Path) -> None:
    bucketer.bucket_files(corpus, tmp_path / "first")
    report = bucketer.bucket_files(tmp_path / "first", tmp_path / "second")
    assert (report.rows, report.bucketed) == (60, 60)
    assert [row["bucket"] for row in rows(tmp_path / "second")] == [row["bucket"] for row in rows(tmp_path / "first")]


def test_parts_of_an_output_are_not_escaped_twice(tmp_path: Path) -> None:
    records = [{"prompt": "Where?", "completion": "Here", "family": "Q|A 50%", "tone": "a|b"}]
    path = write_jsonl(tmp_path / "corpus.jsonl", records)
    bucketer = Bucketer(BucketSchema(axes=["family", "tone"]))
    bucketer.bucket_files(path, tmp_path / "first")
    (row,) = rows(tmp_path / "first")
    assert row["bucket"] == "q%7Ca 50%25|a%7Cb"
    bucketer.bucket_files(tmp_path / "first", tmp_path / "second")
    assert rows(tmp_path / "second") == [{**row, "file": "data/train-00000.parquet"}]
    table = pq.read_table(tmp_path / "first" / "data" / "train-00000.parquet")
    assert bucketer.assign(table)["bucket"].to_pylist() == [row["bucket"]]


def test_no_records_is_said(bucketer: Bucketer, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"\n\n")
    report = bucketer.bucket_files(tmp_path / "empty.jsonl", tmp_path / "out")
    assert report.warnings == ("the input holds no records",)
    assert rows(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,text\n1,hello\n", "corpus.jsonl: not JSON records: none of the first 2 is a JSON object"),
        (b'{"a": 1}\n', "corpus.jsonl: no known record shape: fields seen: a"),
    ],
)
def test_what_is_no_corpus_is_named(bucketer: Bucketer, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "corpus.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        bucketer.bucket_files(tmp_path / "corpus.jsonl", None)


def test_bad_records_are_rejected_and_counted(bucketer: Bucketer, tmp_path: Path) -> None:
    good = json.dumps(conversation(1)).encode()
    bad = [b'{"messages": [', b"[1]", b"\xff", b'{"messages": 3}', b'{"x": 1}', good.replace(b'"id"', b'"id":1,"id"')]
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(b"\n".join([good, *bad, good]))
    report = bucketer.bucket_files(path, tmp_path / "out")
    assert (report.rows, report.bucketed, report.rejected) == (8, 2, 6)
    assert sum(report.rejected_by_kind.values()) == 6
    assert report.rejected_share == 6 / 8
    rejects = [json.loads(line) for line in (tmp_path / "out" / "rejects.jsonl").read_text("utf-8").splitlines()]
    assert [reject["line"] for reject in rejects] == [2, 3, 4, 5, 6, 7]
    assert {reject["file"] for reject in rejects} == {"mixed.jsonl"}
    assert all(reject["reason"] and "\n" not in reject["reason"] for reject in rejects)
    firsts = {reject["kind"]: reject for reject in reversed(rejects)}
    assert {reject["kind"]: dict(reject) for reject in report.first_rejects} == firsts


def test_unreadable_rest_of_a_file(bucketer: Bucketer, tmp_path: Path) -> None:
    content = zstandard.compress(b"".join(json.dumps(conversation(n)).encode() + b"\n" for n in range(5000)))
    path = tmp_path / "cut.jsonl.zst"
    path.write_bytes(content[: len(content) - 20])
    report = bucketer.bucket_files(path, tmp_path / "out")
    assert len(report.unreadable) == 1
    assert report.unreadable[0]["file"] == "cut.jsonl.zst"
    assert report.rows == report.bucketed + report.rejected


@pytest.mark.parametrize(
    ("name", "content", "shape"),
    [
        ("trl", {"prompt": "Where?", "completion": "Right over there"}, "prompt_completion"),
        (
            "sharegpt",
            {"conversations": [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "Right over there"}]},
            "sharegpt",
        ),
        ("alpaca", {"instruction": "Say where", "input": "", "output": "Right over there"}, "alpaca"),
        ("polyalign", {"question": "Where?", "human_answer": "Right over there"}, "polyalign"),
        ("preference", {"prompt": "Where?", "chosen": "Right over there", "rejected": "No"}, "preference"),
        (
            "argilla",
            {"instruction": "Where?", "chosen_response": "Right over there", "rejected_response": "No"},
            "preference",
        ),
        (
            "openai",
            {
                "input": {"messages": [{"role": "user", "content": "Where?"}]},
                "preferred_output": [{"role": "assistant", "content": "Right over there"}],
                "non_preferred_output": [{"role": "assistant", "content": "No"}],
            },
            "preference",
        ),
        ("ms-swift", {"query": "Where?", "response": "Right over there", "history": [["Hi", "Ho"]]}, None),
        ("capybara", {"conversation": [{"input": "Where?", "output": "Right over there"}]}, "messages"),
    ],
)
def test_record_shapes(
    bucketer: Bucketer, tmp_path: Path, name: str, content: dict[str, Any], shape: str | None
) -> None:
    path = write_jsonl(tmp_path / f"{name}.jsonl", [content] * 3)
    report = bucketer.bucket_files(path, tmp_path / "out")
    assert report.shape == shape
    assert report.bucketed == 3
    assert report.buckets[0].length["max"] == 3
    pq.write_table(pa.Table.from_pylist([content] * 3), tmp_path / f"{name}.parquet")
    again = bucketer.bucket_files(tmp_path / f"{name}.parquet", tmp_path / "table")
    assert (again.shape, again.bucketed, again.fields) == (shape, 3, report.fields)


def test_tables_of_which_one_has_no_rejected_response(bucketer: Bucketer, tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "There"}]}
    pq.write_table(pa.Table.from_pylist([{**chat, "rejected_response": "No"}]), tmp_path / "a.parquet")
    assert bucketer.bucket_files(tmp_path / "a.parquet", None).shape == "preference"
    pq.write_table(pa.Table.from_pylist([chat]), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet and b\.parquet have different columns: one holds .* preference"):
        bucketer.bucket_files([tmp_path / "a.parquet", tmp_path / "b.parquet"], None)


def test_output_must_be_new(bucketer: Bucketer, corpus: Path, tmp_path: Path) -> None:
    bucketer.bucket_files(corpus, tmp_path / "out")
    before = checksums(tmp_path / "out")
    with pytest.raises(OSError, match="out") as error:
        bucketer.bucket_files(corpus, tmp_path / "out")
    assert "overwrite" in str(error.value)
    assert checksums(tmp_path / "out") == before
    bucketer.bucket_files(corpus, tmp_path / "out", overwrite=True, limit=5)
    assert len(rows(tmp_path / "out")) == 5


def test_settings_that_cannot_be(bucketer: Bucketer, corpus: Path, tmp_path: Path) -> None:
    for options in (
        {"partition_by": ["nope"]},
        {"partition_by": ["language", "language"]},
        {"chunk_bytes": -1},
        {"limit": "many"},
    ):
        with pytest.raises((ValueError, TypeError)) as error:
            bucketer.bucket_files(corpus, tmp_path / "out", **options)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "out").exists()
    with pytest.raises(OSError, match="nothing-here"):
        bucketer.bucket_files(tmp_path / "nothing-here.jsonl", tmp_path / "out")


# Progress and interruption


@pytest.fixture(scope="session")
def large_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough for the slow tokenizer to take some seconds."""
    path = tmp_path_factory.mktemp("large") / "large.jsonl"
    lines = [json.dumps(conversation(n, ("en", "zh")[n % 2], words=1 + n % 40), ensure_ascii=False) for n in range(400)]
    path.write_text("\n".join(lines * 40) + "\n", "utf-8")
    return path


@pytest.fixture(scope="session")
def slow_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slow") / "tokenizer.json"
    small_tokenizers.build("unigram").save(str(path))
    return path


def test_progress_is_reported(large_corpus: Path, slow_tokenizer: Path) -> None:
    seen: list[tuple[int, int, int]] = []
    bucketer = Bucketer(tokenizer=slow_tokenizer)
    report = bucketer.bucket_files(large_corpus, None, progress=lambda *counts: seen.append(counts))
    assert len(seen) > 3
    totals = [total for _, total, _ in seen]
    assert totals[-1] == large_corpus.stat().st_size
    assert set(totals) <= {0, totals[-1]}  # not known before the inputs are found
    assert [read for read, _, _ in seen] == sorted(read for read, _, _ in seen)
    assert max(count for _, _, count in seen) <= report.rows == 16_000


def test_raising_in_progress_stops_the_run(large_corpus: Path, slow_tokenizer: Path, tmp_path: Path) -> None:
    def stop(read: int, total: int, seen: int) -> None:
        raise LookupError("enough")

    started = time.monotonic()
    with pytest.raises(LookupError, match="enough"):
        Bucketer(tokenizer=slow_tokenizer).bucket_files(large_corpus, tmp_path / "out", progress=stop)
    assert time.monotonic() - started < 5
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("assignments_only", [False, True])
def test_a_reference_is_made_in_the_same_pass(
    bucketer: Bucketer, corpus: Path, tmp_path: Path, assignments_only: bool
) -> None:
    path = tmp_path / "human.safetensors"
    options: dict[str, Any] = {"assignments_only": assignments_only, "reference": path}
    report = bucketer.bucket_files(corpus, tmp_path / "out", **options, sources=["b", "a", "b"], sample_size=5)
    assert report.reference == str(path)
    made = Reference.load(path)
    assert (made.schema, made.sources) == (report.schema, ("a", "b"))
    assert {bucket.bucket: bucket.rows for bucket in report.buckets} == {
        name: made.count(name) for name in made.buckets
    }
    if not assignments_only:
        assert made == Reference.build(tmp_path / "out", sources=["a", "b"], sample_size=5)
    before = path.read_bytes()
    with pytest.raises(OSError, match="exists already"):
        bucketer.bucket_files(corpus, tmp_path / "other", **options)
    assert not (tmp_path / "other").exists()
    bucketer.bucket_files(corpus, None, **options)  # a dry run writes nothing
    assert path.read_bytes() == before
    bucketer.bucket_files(corpus, tmp_path / "out", **options, overwrite=True, sources="all of it")
    assert Reference.load(path).sources == ("all of it",)


RUN = """
import sys, polyalign
corpus, tokenizer, output = sys.argv[1:]
bucketer = polyalign.Bucketer(tokenizer=tokenizer)
print("started", flush=True)
bucketer.bucket_files(corpus, output, chunk_bytes=200_000, threads=2, reference=output + ".safetensors")
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL], ids=str)
def test_interrupted_runs_continue_to_the_same_bytes(
    large_corpus: Path, slow_tokenizer: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    def start(output: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", RUN, str(large_corpus), str(slow_tokenizer), str(output)]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment()
        )

    whole = start(tmp_path / "whole")
    assert whole.wait(120) == 0
    output, partial = tmp_path / "out", tmp_path / "out.partial"
    process = start(output)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(partial.rglob("*.parquet"))) < 3:
        time.sleep(0.01)
    os.kill(process.pid, sent)
    stopped = time.monotonic()
    process.wait(30)
    if sent == signal.SIGINT:
        assert time.monotonic() - stopped < 3  # a second, on a machine that does nothing else
        assert process.stderr is not None
        assert process.stderr.read().splitlines()[-1] == "KeyboardInterrupt"
    assert process.returncode != 0
    assert partial.is_dir()
    assert not output.exists()
    assert not (tmp_path / "out.safetensors").exists()
    resumed = start(output)
    assert resumed.wait(120) == 0
    assert not partial.exists()
    assert checksums(output) == checksums(tmp_path / "whole")
    references = [tmp_path / f"{name}.safetensors" for name in ("out", "whole")]
    assert references[0].read_bytes() == references[1].read_bytes()


def test_every_reply_is_a_row_with_its_history(bucketer: Bucketer, tmp_path: Path) -> None:
    chat = [("user", "What is this?"), ("assistant", "A cat."), ("user", "And that?"), ("assistant", "A dog.")]
    record = {"id": "a", "messages": [{"role": role, "content": content} for role, content in chat]}
    source = write_jsonl(tmp_path / "chats.jsonl", [record])
    last = bucketer.bucket_files(source, tmp_path / "last")
    assert (last.records, last.rows, last.reading.earlier_replies) == (1, 1, 1)
    every = bucketer.bucket_files(source, tmp_path / "all", turns="all")
    assert (every.records, every.rows, every.reading.earlier_replies) == (1, 2, 0)
    made = rows(tmp_path / "all")
    assert [(row["id"], row["group"], len(row["prompt"])) for row in made] == [("a#1", "a", 1), ("a#2", "a", 3)]
    assert made[1]["completion"] == rows(tmp_path / "last")[0]["completion"]
    with pytest.raises(ValueError, match="turns is 'some': it must be 'last' or 'all'"):
        bucketer.bucket_files(source, None, turns="some")  # type: ignore[arg-type]


def test_what_was_guessed_joined_and_not_used_is_said(tmp_path: Path) -> None:
    record = {
        "conversation_id": "c",
        "system": "Be brief.",
        "turn": 1,
        "conversations": [{"from": "prompter", "value": "What is this?"}, {"from": "Bob", "value": "A cat."}],
    }
    source = write_jsonl(tmp_path / "chats.jsonl", [record])
    with pytest.raises(ValueError, match="roles: 'Bob' is 'boss': it must be one of user, assistant, system, tool"):
        Bucketer(roles={"Bob": "boss"})
    report = Bucketer(roles={"Bob": "assistant"}).bucket_files(source, None)
    reading = report.reading
    assert [(role.name, role.taken, role.records) for role in reading.roles] == [
        ("prompter", "user", 1),
        ("Bob", "assistant", 1),
    ]
    assert [event.name for event in reading.events] == ["system"]
    assert [(group.name, group.file, group.row) for group in reading.groups] == [("conversation_id", "chats.jsonl", 0)]
    assert [field.name for field in reading.unused] == ["turn"]
    assert json.loads(report.to_json())["reading"]["unused"][0]["name"] == "turn"


def test_labels_that_name_code_are_counted(tmp_path: Path) -> None:
    labels = ["en", " Python", "sql", "Python ", "de"]
    records = [{"prompt": "How?", "completion": f"With row number {i}.", "lang": lang} for i, lang in enumerate(labels)]
    source = write_jsonl(tmp_path / "code.jsonl", records)
    reading = Bucketer().bucket_files(source, None).reading
    assert [(met.name, met.records, met.file, met.row) for met in reading.programming] == [
        ("Python", 2, "code.jsonl", 1),
        ("sql", 1, "code.jsonl", 2),
    ]
    assert reading_lines(reading) == [
        "language detected, as the label names code: Python (2), sql (1); first in code.jsonl, row 1"
    ]
    # Nothing is detected where the language makes no bucket.
    schema = BucketSchema(axes=("track",))
    assert not Bucketer(schema).bucket_files(source, None).reading.programming
