"""`Bucketer.assign`: any Arrow table in, the same table with buckets out."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import arro3.core
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import small_tokenizers
from polyalign import Bucketer, BucketSchema, TokenCounter

PROMPTS = ["What is the capital of France?", "法国的首都是哪里？", "Say it in one word."]
ANSWERS = ["The capital of France is Paris.", "法国的首都是巴黎。", " ".join(["word"] * 60)]
TABLE = pa.table({"prompt": PROMPTS, "completion": ANSWERS, "score": [1.0, None, 3.0]})
SCHEMA = BucketSchema(languages=["en", "zh"], axes=["language", "track", "length"], length_unit="words")
BUCKETS = ["en|single|short", "zh|single|short", "en|single|medium"]


@pytest.fixture
def bucketer() -> Bucketer:
    return Bucketer(SCHEMA)


def test_pyarrow_gives_pyarrow(bucketer: Bucketer) -> None:
    result = bucketer.assign(TABLE)
    assert isinstance(result, pa.Table)
    assert result.column_names[:3] == TABLE.column_names
    assert result["bucket"].to_pylist() == BUCKETS
    assert result["length"].to_pylist()[2] == 60
    assert result["length_bin"].to_pylist() == ["short", "short", "medium"]
    assert result["prompt_tokens"].null_count == 3
    assert bucketer.assign(TABLE.to_batches()[0])["bucket"].to_pylist() == BUCKETS
    reader = pa.RecordBatchReader.from_batches(TABLE.schema, TABLE.to_batches())
    assert bucketer.assign(reader)["bucket"].to_pylist() == BUCKETS


def test_columns_are_not_copied(bucketer: Bucketer) -> None:
    result = bucketer.assign(TABLE)
    for name in TABLE.column_names:
        before, after = (table[name].chunk(0).buffers() for table in (TABLE, result))
        addresses = [buffer and buffer.address for buffer in before]
        # A validity bitmap may be left out or added; values and offsets stay where they are.
        assert [buffer and buffer.address for buffer in after][1:] == addresses[1:]


@pytest.mark.parametrize(
    "convert",
    [pl.from_arrow, lambda table: table.to_pandas(), duckdb.from_arrow, arro3.core.Table.from_arrow],
    ids=["polars", "pandas", "duckdb", "arro3"],
)
def test_other_libraries_give_arro3(bucketer: Bucketer, convert: Any) -> None:
    result = bucketer.assign(convert(TABLE))
    assert isinstance(result, arro3.core.Table)
    assert pa.table(result)["bucket"].to_pylist() == BUCKETS
    assert pl.DataFrame(result)["bucket"].to_list() == BUCKETS


def test_datasets_give_pyarrow(bucketer: Bucketer) -> None:
    from datasets import Dataset

    dataset = Dataset.from_dict({"prompt": PROMPTS, "completion": ANSWERS})
    result = bucketer.assign(dataset)
    assert isinstance(result, pa.Table)
    assert result["bucket"].to_pylist() == BUCKETS
    assert bucketer.assign(dataset.select([2, 0]))["bucket"].to_pylist() == [BUCKETS[2], BUCKETS[0]]


def test_chunks_stay_chunks(bucketer: Bucketer) -> None:
    chunked = pa.concat_tables([TABLE, TABLE.slice(1), TABLE.slice(0, 0)])
    result = bucketer.assign(chunked)
    assert result["bucket"].to_pylist() == BUCKETS + BUCKETS[1:]


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_any_number_of_threads_gives_the_same(bucketer: Bucketer, threads: int) -> None:
    many = pa.concat_tables([TABLE] * 700).combine_chunks()
    assert bucketer.assign(many, threads=threads).equals(bucketer.assign(many, threads=1))


def test_tokens_are_counted() -> None:
    tokenizer = small_tokenizers.build("qwen2")
    counter = TokenCounter(tokenizer)
    result = Bucketer(BucketSchema(), tokenizer).assign(TABLE)
    assert result["prompt_tokens"].to_pylist() == counter.count(PROMPTS).tolist()
    assert result["completion_tokens"].to_pylist() == counter.count(ANSWERS).tolist()
    assert result["length"].to_pylist() == counter.count(ANSWERS).tolist()
    only = Bucketer(BucketSchema(), counter, count="completion").assign(TABLE)
    assert only["prompt_tokens"].null_count == 3
    assert only["completion_tokens"].to_pylist() == counter.count(ANSWERS).tolist()


def test_message_columns(bucketer: Bucketer) -> None:
    messages = [
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello there, friend"}],
        [
            {"role": "user", "content": "你好"},
            {"role": "assistant", "content": "你好呀"},
            {"role": "user", "content": "今天天气怎么样"},
            {"role": "assistant", "content": "今天天气很好"},
        ],
    ]
    result = bucketer.assign(pa.table({"messages": messages}))
    assert result["bucket"].to_pylist() == ["en|single|short", "zh|multi|short"]


def test_rows_that_cannot_be_used_say_why(bucketer: Bucketer) -> None:
    table = pa.table({"prompt": ["a question", "b"], "completion": ["an answer in words", None]})
    result = bucketer.assign(table)
    assert result["bucket"].to_pylist() == ["en|single|short", None]
    assert result["length"].to_pylist() == [4, None]
    reasons = result["bucket_error"].to_pylist()
    assert reasons[0] is None
    assert "completion" in reasons[1]


def test_how_rows_were_read_is_said(bucketer: Bucketer) -> None:
    def messages(role: str) -> list[dict[str, str]]:
        return [{"role": role, "content": "Why?"}, {"role": "assistant", "content": "So it is, my friend"}]

    rows = [{"messages": messages("human"), "system": "Be brief.", "score": 1}] * 3000
    table = pa.Table.from_pylist([*rows, {"messages": messages("Alice"), "system": None, "score": None}])
    with pytest.warns(
        UserWarning, match=r"`Alice` is not known, .* in 1 records \(the first: table, row 3000\)"
    ) as told:
        assigned, reading = bucketer.assign(table, with_reading=True, threads=2)
    assert [("roles Alice=ROLE" in str(warning.message), warning.filename) for warning in told] == [(True, __file__)]
    assert assigned.num_rows == 3001
    met = {"events": reading.events, "roles": reading.roles, "unused": reading.unused}
    assert {kind: [(one.name, one.records, one.row) for one in names] for kind, names in met.items()} == {
        "events": [("system", 3000, 0)],
        "roles": [("human", 3000, 0), ("Alice", 1, 3000)],
        "unused": [("score", 3000, 0)],
    }
    again, known = Bucketer(SCHEMA, roles={"Alice": "user"}).assign(table, with_reading=True)
    assert (again["bucket"].null_count, [(one.name, one.taken) for one in known.roles][1]) == (0, ("Alice", "user"))


def test_columns_of_our_names_are_kept_aside(bucketer: Bucketer) -> None:
    result = bucketer.assign(TABLE.append_column("bucket", pa.array(["x", "y", "z"])))
    assert result["source_bucket"].to_pylist() == ["x", "y", "z"]
    assert result["bucket"].to_pylist() == BUCKETS


def test_fields_and_custom_axes() -> None:
    table = pa.table(
        {"meta": [{"q": "Where?", "tone": "Warm"}, {"q": "Who?", "tone": None}], "reply": ["Right here", "I am"]}
    )
    schema = BucketSchema(axes=["length", {"name": "tone", "column": "meta.tone", "missing": "none"}])
    bucketer = Bucketer(schema, fields={"prompt": "meta.q", "response": "reply"})
    assert bucketer.assign(table)["bucket"].to_pylist() == ["short|warm", "short|none"]


def test_bucketers_pickle(bucketer: Bucketer, tmp_path: Path) -> None:
    copied = pickle.loads(pickle.dumps(bucketer))
    assert copied.schema == bucketer.schema
    assert copied.assign(TABLE).equals(bucketer.assign(TABLE))


def test_empty_tables(bucketer: Bucketer) -> None:
    result = bucketer.assign(TABLE.slice(0, 0))
    assert result.num_rows == 0
    assert "bucket" in result.column_names
    assert bucketer.assign(TABLE.schema.empty_table()).num_rows == 0


@pytest.mark.parametrize(
    "table", [None, 1, [1], {"prompt": ["a"]}, "table", pa.array(["a"])], ids=lambda table: type(table).__name__
)
def test_what_is_no_table(bucketer: Bucketer, table: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        bucketer.assign(table)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("messages", "remedy"),
    [
        (pa.array(['[{"role": "user", "content": "Hi"}]']), "parse it first if it holds JSON"),
        (pa.array([b"Hi"]), "cast or rename it"),
        (pa.array([[[("role", "user"), ("content", "Hi")]]], pa.list_(pa.map_(pa.string(), pa.string()))), "structs"),
    ],
    ids=["json", "binary", "maps"],
)
def test_columns_that_hold_no_messages_say_what_to_do(bucketer: Bucketer, messages: pa.Array, remedy: str) -> None:
    with pytest.raises(ValueError, match="column `messages` has ") as error:
        bucketer.assign(pa.table({"messages": messages}))
    assert remedy in str(error.value)


def test_unknown_columns_are_named(bucketer: Bucketer) -> None:
    with pytest.raises(ValueError, match="foo"):
        bucketer.assign(pa.table({"foo": [1]}))


def test_large_pandas_strings(bucketer: Bucketer) -> None:
    frame = pd.DataFrame({"prompt": PROMPTS, "completion": ANSWERS})
    assert pa.table(bucketer.assign(frame))["bucket"].to_pylist() == BUCKETS
