"""Arrow from others: what is not sound is refused in one line wherever it enters, and no input ends the process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import small_tokenizers
from conftest import ROOT
from polyalign import Bucketer, BucketSchema, Reference, TokenCounter
from polyalign.distances import energy_distance
from polyalign.features import extract
from polyalign.reference import example_table

BUCKETER = Bucketer(BucketSchema(length_edges=[5, 20]))
REFERENCE = Reference.from_arrow(example_table())
QA = "en|single|qa|short"

# What `str` could not hold: no UTF-8, an overlong form, half a surrogate, a character cut in two.
NOT_TEXT = {"bytes": b"\xab\xff\xfe", "overlong": b"\xc0\xaf", "surrogate": b"\xed\xa0\x80", "cut": b"\xe4\xbd"}


def hostile(bad: bytes) -> dict[str, Any]:
    """The same texts in every layout."""
    offsets = pa.py_buffer(b"".join(n.to_bytes(4, "little") for n in (0, 2, 2 + len(bad), 4 + len(bad))))
    text = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"ab" + bad + b"cd")])
    wide = pa.py_buffer(b"".join(n.to_bytes(8, "little") for n in (0, 2, 2 + len(bad), 4 + len(bad))))
    large = pa.Array.from_buffers(pa.large_string(), 3, [None, wide, pa.py_buffer(b"ab" + bad + b"cd")])
    views = pa.py_buffer(b"".join(len(t).to_bytes(4, "little") + t.ljust(12, b"\0") for t in (b"ab", bad, b"cd")))
    view = pa.Array.from_buffers(pa.string_view(), 3, [None, views])
    labels = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.int8()), text)
    return {
        "string": text,
        "large": large,
        "view": view,
        "labels": labels,
        "chunks": pa.chunked_array([text[:1], text[1:]]),
    }


@pytest.fixture(scope="module")
def users() -> dict[str, Callable[[Any], object]]:
    """Everything that takes a column of texts."""
    fast = TokenCounter(small_tokenizers.build("qwen2"))
    slow = TokenCounter(small_tokenizers.build("wordpiece"))
    return {
        "fast": fast.count,
        "slow": slow.count,
        "features": lambda texts: extract(texts, "en"),
        "languages": lambda texts: extract(["a"] * 3, texts),
        "prompts": lambda texts: extract(["a"] * 3, "en", prompts=texts),
        "distance": lambda texts: REFERENCE.support_distance(texts, QA),
        "score": lambda texts: REFERENCE.score(texts, QA),
        "buckets": lambda texts: REFERENCE.support_distance(["a"] * 3, texts),
        "assign": lambda texts: BUCKETER.assign(pa.table({"prompt": ["q"] * 3, "completion": texts})),
        "unused": lambda texts: BUCKETER.assign(
            pa.table({"prompt": ["q"] * 3, "completion": ["a"] * 3, "note": texts})
        ),
        "reference": lambda texts: Reference.from_arrow(
            pa.table({"prompt": ["q"] * 3, "completion": texts, "bucket": [QA] * 3})
        ),
    }


@pytest.mark.parametrize("kind", NOT_TEXT)
def test_text_that_is_not_utf8_is_refused_wherever_it_enters(
    kind: str, users: dict[str, Callable[[Any], object]]
) -> None:
    for layout, texts in hostile(NOT_TEXT[kind]).items():
        for name, use in users.items():
            with pytest.raises(ValueError) as raised:
                use(texts)
            message = str(raised.value)
            assert "UTF" in message.upper(), (layout, name, message)
            assert "\n" not in message
            if layout in {"string", "large", "chunks"}:
                assert "[1]: the text is not UTF-8" in message, (layout, name, message)


def test_nested_text_names_its_column_and_row(users: dict[str, Callable[[Any], object]]) -> None:
    bad = hostile(b"\xff")["string"]
    turns = pa.StructArray.from_arrays([pa.array(["user", "user", "assistant"]), bad], ["role", "content"])
    messages = pa.ListArray.from_arrays(pa.array([0, 1, 3], pa.int32()), turns)
    with pytest.raises(ValueError, match=r'^table\["messages"\]\[1\]: the text is not UTF-8$'):
        BUCKETER.assign(pa.table({"messages": messages}))
    with pytest.raises(ValueError, match=r"^texts\[1\]: the text is not UTF-8$"):
        extract(messages, "en")


def changed(array: pa.Array, old: bytes, new: bytes) -> Any:
    """A table of the array with other bytes in its buffers, as pyarrow's reader of files takes them."""
    batch = pa.record_batch({"prompt": pa.nulls(len(array)), "completion": array})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data = sink.getvalue().to_pybytes()
    assert data.count(old) == 1
    return pa.ipc.open_stream(data.replace(old, new)).read_all()


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little", signed=True) for value in values)


VIEW = "a text that a view keeps aside"
UNSOUND = {
    "beyond": lambda: changed(pa.array(["abc", "defg"]), numbers(0, 3, 7), numbers(0, 3, 1 << 30)),
    "negative": lambda: changed(pa.array(["abc", "defg"]), numbers(0, 3, 7), numbers(0, 3, -7)),
    "backwards": lambda: changed(pa.array(["abc", "defg"]), numbers(0, 3, 7), numbers(0, 9, 7)),
    "key": lambda: pa.table(
        {
            "prompt": ["q"],
            "completion": pa.DictionaryArray.from_arrays(pa.array([9], pa.int8()), pa.array(["a"]), safe=False),
        }
    ),
    "view": lambda: changed(
        pa.array([VIEW], pa.string_view()), numbers(len(VIEW)) + VIEW[:4].encode(), numbers(1 << 30) + VIEW[:4].encode()
    ),
}


@pytest.mark.parametrize("kind", UNSOUND)
def test_offsets_and_keys_that_do_not_hold(kind: str, users: dict[str, Callable[[Any], object]]) -> None:
    for name in ("fast", "slow", "features", "distance"):
        with pytest.raises(ValueError, match=r"^texts is not sound Arrow data: ") as raised:
            users[name](UNSOUND[kind]()["completion"])
        assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match=r"^table(\[\"completion\"\])? is not sound Arrow data: "):
        BUCKETER.assign(UNSOUND[kind]())


def test_vectors_whose_lists_do_not_hold() -> None:
    vectors = changed(pa.array([[1.0, 2.0], [3.0, 4.0]]), numbers(0, 2, 4), numbers(0, 2, 99))["completion"]
    with pytest.raises(ValueError, match=r"^x is not sound Arrow data: "):
        energy_distance(vectors, [[1.0, 2.0]])


def test_a_reader_of_batches_is_looked_at_too() -> None:
    table = pa.table({"prompt": ["q"] * 3, "completion": hostile(b"\xff")["string"]})
    with pytest.raises(ValueError, match=r'^table\["completion"\]\[1\]: the text is not UTF-8$'):
        BUCKETER.assign(pa.RecordBatchReader.from_batches(table.schema, table.to_batches()))


def test_sound_tables_of_every_type_are_taken(users: dict[str, Callable[[Any], object]]) -> None:
    table = pa.table(
        {
            "prompt": pa.array(["q", None, "q"], pa.large_string()).dictionary_encode(),
            "completion": pa.array(["a" * 20, "b", None], pa.string_view()),
            "union": pa.UnionArray.from_sparse(
                pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(["a", "b", "c"])]
            ),
            "runs": pa.RunEndEncodedArray.from_arrays([1, 3], ["a", None]),
            "none": pa.nulls(3),
            "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
            "seen": pa.array([[1, None], None, []], pa.list_view(pa.int16())),
            "span": pa.array([None, None, None], pa.month_day_nano_interval()),
        }
    )
    for data in (table, table.slice(1), table.to_batches()[0]):
        assigned = BUCKETER.assign(data)
        assert assigned.select(table.column_names).equals(pa.table(data))
        assert assigned["bucket"].null_count == data["completion"].null_count
    sliced = pa.array(["one", "two words", None, "three"])[1:]
    assert users["slow"](sliced).to_pylist()[1] is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_times_keep_their_kind_and_zone(form: str, tmp_path: Path) -> None:
    times: dict[str, tuple[pa.DataType, pa.DataType]] = {
        "second": (pa.timestamp("s"), pa.timestamp("ms")),
        "paris": (pa.timestamp("s", "Europe/Paris"), pa.timestamp("ms", "Europe/Paris")),
        "offset": (pa.timestamp("ns", "+02:00"), pa.timestamp("ns", "+02:00")),
        "day": (pa.date64(), pa.date32()),
        "clock": (pa.time32("s"), pa.time32("ms")),
        "micro": (pa.time64("us"), pa.time64("us")),
        "span": (pa.duration("s"), pa.duration("s")),
        "label": (pa.dictionary(pa.int32(), pa.timestamp("s", "UTC")), pa.timestamp("ms", "UTC")),
        "list": (pa.list_(pa.timestamp("s", "UTC")), pa.list_(pa.timestamp("ms", "UTC"))),
        "struct": (pa.struct({"day": pa.date64()}), pa.struct({"day": pa.date32()})),
        "map": (pa.map_(pa.string(), pa.time32("s")), pa.map_(pa.string(), pa.time32("ms"))),
    }
    columns: dict[str, Any] = {"prompt": ["q"] * 3, "completion": ["an answer"] * 3}
    for name, (kind, _) in times.items():
        number = 86_400_000
        values = {"list": [number], "struct": {"day": number}, "map": [("k", 5)], "clock": 5, "micro": 5}
        plain = kind.value_type if name == "label" else kind
        column = pa.array([values.get(name, number), None, values.get(name, number)], _numbers(plain)).cast(plain)
        columns[name] = column.dictionary_encode() if name == "label" else column
    table = pa.table(columns)
    file = tmp_path / f"times.{form}"
    if form == "parquet":
        pq.write_table(table, file)
    else:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    BUCKETER.bucket_files(file, tmp_path / "out")
    out = pq.read_table(tmp_path / "out" / "data")
    for name, (_, kind) in times.items():
        assert _items(out.schema.field(name).type) == _items(kind), name
        assert out[name].cast(kind).to_pylist() == table[name].cast(kind).to_pylist(), name


def _numbers(kind: pa.DataType) -> pa.DataType:
    """The type of the numbers that a type of times holds."""
    if pa.types.is_list(kind):
        return pa.list_(_numbers(kind.value_type))
    if pa.types.is_map(kind):
        return pa.map_(kind.key_type, _numbers(kind.item_type))
    if pa.types.is_struct(kind):
        return pa.struct({field.name: _numbers(field.type) for field in kind})
    return pa.int32() if pa.types.is_time32(kind) else pa.int64()


def _items(kind: pa.DataType) -> str:
    """A type without the names of lists' and maps' items, which Parquet has its own for."""
    return str(kind).replace("element:", "item:").replace(" ('map')", "")


@pytest.mark.skipif(sys.platform != "linux", reason="the bound on memory needs /proc")
@pytest.mark.parametrize("name", ["arrow", "arrows", "parquet", "gz", "zst", "pycapsule"])
def test_damaged_inputs_end_no_process(name: str, tmp_path: Path) -> None:
    script = ROOT / "fuzz" / "tables.py"
    run = subprocess.run(
        [sys.executable, script, "100", "5", name], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    taken = int(run.stdout.split(": ")[2].split(" taken")[0])
    assert 5 < taken < 95
