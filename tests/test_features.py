"""`features.extract`: what it takes, what it gives, how it refuses."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import clean_environment
from polyalign.features import GROUPS, Feature, extract, registry

TEXTS = ["Sure! Which one do you mean?", "好的，请稍等。", "", "- one\n- two\n\n`code` and 3rd, https://x.y"]
LANGUAGES = ["en", "zh", "en", "en"]
PROMPTS: list[Any] = [
    "Which one?",
    None,
    [{"role": "user", "content": "Say nothing."}],
    [{"role": "user", "content": ""}],
]


def matrix(table: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The values `[rows, features]`."""
    return np.column_stack([column.to_numpy() for column in pa.table(table).columns])


def bits(table: Any) -> bytes:
    return matrix(table).tobytes()


@pytest.fixture(scope="module")
def expected() -> bytes:
    return bits(extract(TEXTS, LANGUAGES))


# What it gives


def test_a_column_a_feature_and_a_row_a_text() -> None:
    table = pa.table(extract(TEXTS, LANGUAGES, PROMPTS))
    assert table.column_names == [feature.name for feature in registry()]
    assert set(table.schema.types) == {pa.float32()}
    assert table.num_rows == len(TEXTS)
    row = {name: column[0].as_py() for name, column in zip(table.column_names, table.columns, strict=True)}
    assert (row["char_count"], row["word_count"], row["question_mark_count"]) == (28, 6, 1)


def test_registry_is_complete() -> None:
    features = registry()
    assert all(isinstance(feature, Feature) and all(str(part) for part in feature) for feature in features)
    assert len({feature.name for feature in features}) == len(features)
    assert [group for group in GROUPS if any(feature.group == group for feature in features)] == list(GROUPS)
    assert all(feature.scale > 0 for feature in features)
    assert len(registry("paper")) == 69


def test_undefined_is_nan_by_language() -> None:
    texts = ["The cat sat on the mat. It was the first of 3.", "我们今天去公园散步吧！天气很好。"] * 2
    table = pa.table(extract(texts, ["en", "zh", "fr", "und"], ["A cat?", "去哪里？"] * 2))
    defined_for = {"en": [0], "zh": [1], "en, zh": [0, 1]}
    for feature in registry():
        rows = defined_for.get(feature.languages)
        if rows is not None:
            found = np.flatnonzero(np.isfinite(table[feature.name].to_numpy()))
            assert found.tolist() == rows, feature
    assert np.isfinite(table["char_count"].to_numpy()).all()


def test_an_empty_text_has_counts_and_no_shares() -> None:
    table = pa.table(extract([""], "en"))
    assert table["char_count"][0].as_py() == table["word_count"][0].as_py() == 0
    assert math.isnan(table["type_token_ratio"][0].as_py())


def test_interaction_needs_a_prompt() -> None:
    table = pa.table(extract(TEXTS, LANGUAGES, PROMPTS, groups="interaction"))
    without = pa.table(extract(TEXTS, LANGUAGES, groups="interaction"))
    assert np.isnan(matrix(without)).all()
    assert np.isfinite(table["user_overlap_share"][0].as_py())
    assert np.isnan(matrix(table)[1]).all()


def test_groups_are_columns_of_the_whole() -> None:
    whole = pa.table(extract(TEXTS, LANGUAGES, PROMPTS))
    parts = [pa.table(extract(TEXTS, LANGUAGES, PROMPTS, groups=[group])) for group in GROUPS]
    assert [name for part in parts for name in part.column_names] == whole.column_names
    assert np.concatenate([matrix(part) for part in parts], axis=1).tobytes() == bits(whole)
    two = extract(TEXTS, LANGUAGES, groups=["punctuation", "length", "length"])
    assert pa.table(two).column_names == [f.name for f in registry() if f.group in ("length", "punctuation")]


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
            st.sampled_from(["en", "zh", "fr", "ja", "und"]),
            st.none() | st.text("ab 你。?", max_size=9),
        ),
        max_size=80,
    )
)
def test_same_bits_for_any_threads_and_neighbours(rows: list[tuple[str, str, str | None]]) -> None:
    texts, languages, prompts = ([row[at] for row in rows] for at in range(3))
    one = matrix(extract(texts, languages, prompts, threads=1))
    assert one.tobytes() == bits(extract(texts, languages, prompts, threads=4))
    assert one[::-1].tobytes() == bits(extract(texts[::-1], languages[::-1], prompts[::-1]))
    assert not np.isinf(one).any()


def test_the_result_is_arrow_for_everyone() -> None:
    table = extract(TEXTS, LANGUAGES)
    arrow = pa.table(table)
    again = pa.table(table)
    addresses = [t["char_count"].chunk(0).buffers()[1].address for t in (arrow, again)]
    assert addresses[0] == addresses[1]  # nothing was copied
    assert pl.DataFrame(table)["char_count"].to_list() == arrow["char_count"].to_pylist()
    assert pd.DataFrame.from_arrow(table)["char_count"].tolist() == arrow["char_count"].to_pylist()


def test_empty_input() -> None:
    for texts in ([], (), np.array([], str), pa.array([], pa.string()), pa.chunked_array([], pa.string())):
        table = extract(texts, "en")
        assert (table.num_rows, table.num_columns) == (0, len(registry()))
    assert extract([], []).num_rows == 0


# What it takes


@pytest.mark.parametrize(
    "make",
    [
        tuple,
        lambda texts: (text for text in texts),
        np.array,
        lambda texts: np.array(texts, object),
        lambda texts: np.array(texts, np.dtypes.StringDType()),
        pa.array,
        lambda texts: pa.array(texts, pa.large_string()),
        lambda texts: pa.array(texts, pa.string_view()),
        lambda texts: pa.array(texts).dictionary_encode(),
        lambda texts: pa.chunked_array([texts[:1], texts[1:]]),
        lambda texts: pa.array(["x", *texts, "y"])[1:-1],
        pl.Series,
        lambda texts: pl.Series(texts, dtype=pl.Categorical),
        pd.Series,
        lambda texts: pd.Series(texts, dtype=object),
        lambda texts: _dataset(texts)["text"],
        lambda texts: _dataset(texts).with_format("arrow")[:]["text"],
    ],
    ids=lambda _: "",
)
def test_texts_and_languages_of_every_kind(make: Any, expected: bytes) -> None:
    assert bits(extract(make(TEXTS), LANGUAGES)) == expected
    assert bits(extract(TEXTS, make(LANGUAGES))) == expected


def _dataset(texts: list[str]) -> Any:
    datasets = pytest.importorskip("datasets")
    messages = [[{"role": "user", "content": "?"}, {"role": "assistant", "content": text}] for text in texts]
    return datasets.Dataset.from_dict({"text": texts, "messages": messages})


@pytest.mark.parametrize(
    "make",
    [
        lambda messages: messages,
        tuple,
        lambda messages: tuple(map(tuple, messages)),
        pa.array,
        lambda messages: pa.chunked_array([messages[:2], messages[2:]]),
        pl.Series,
        pd.Series,
        lambda messages: _dataset([m[-1]["content"] for m in messages])["messages"],
    ],
    ids=lambda _: "",
)
def test_message_lists_of_every_kind(make: Any, expected: bytes) -> None:
    messages = [[{"role": "user", "content": "?"}, {"role": "assistant", "content": text}] for text in TEXTS]
    assert bits(extract(make(messages), LANGUAGES)) == expected
    prompts = [message[:1] for message in messages]
    assert bits(extract(TEXTS, LANGUAGES, make(prompts))) == bits(extract(TEXTS, LANGUAGES, ["?"] * len(TEXTS)))


def test_content_in_parts_is_joined() -> None:
    message = {"role": "assistant", "content": [{"type": "text", "text": "Sure! "}, {"type": "text", "text": "Which?"}]}
    assert bits(extract([[message]], "en")) == bits(extract(["Sure! Which?"], "en"))
    assert bits(extract([[], [{"role": "assistant", "content": None}]], "en")) == bits(extract(["", ""], "en"))


def test_arrow_nulls_are_empty() -> None:
    assert bits(extract(pa.array(["a", None]), "en")) == bits(extract(["a", ""], "en"))
    assert bits(extract(pa.nulls(1), "en")) == bits(extract([""], "en"))
    messages = pa.array([None, [{"role": "assistant", "content": "a"}]])
    assert bits(extract(messages, pa.array(["en", None]))) == bits(extract(["", "a"], ["en", "und"]))


@pytest.mark.parametrize(
    ("name", "code"), [("Chinese", "zh"), ("zho", "zh"), ("cmn-Hans", "zh"), ("ENG", "en"), ("", "und")]
)
def test_languages_by_any_name(name: str, code: str) -> None:
    assert bits(extract(TEXTS, name)) == bits(extract(TEXTS, [code] * len(TEXTS)))


def test_a_text_is_the_users_prompt() -> None:
    messages = [[{"role": "user", "content": "Which one?"}], None, None, None]
    as_texts = ["Which one?", None, None, None]
    assert bits(extract(TEXTS, "en", messages)) == bits(extract(TEXTS, "en", as_texts))


# How it refuses


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("text", "en"), TypeError, "texts is one str: give a list of them"),
        ((["a", None], "en"), TypeError, "texts[1] is None: every item must be a str"),
        ((["a", 1], "en"), TypeError, "texts[1] is int: every item must be a str"),
        (([["a"]], "en"), TypeError, "texts[0][0] is no message: it must have role and content"),
        (([[{"role": "user", "content": 3}]], "en"), TypeError, "texts[0][0] has content that is not text"),
        (
            ([[{"role": "user", "content": [{"image": 1}]}]], "en"),
            TypeError,
            "texts[0][0] has content that is not text",
        ),
        ((["a", "b\ud800"], "en"), ValueError, "texts[1] has a lone surrogate at character 1"),
        ((b"text", "en"), TypeError, "texts must be a list of str, an Arrow string column or a numpy array of strings"),
        (({"a": 1}, "en"), TypeError, "texts must be a list of str"),
        ((7, "en"), TypeError, "texts must be a list of str"),
        ((pa.array([1]), "en"), TypeError, "texts must be an Arrow string column, not Int64"),
        ((pa.table({"t": ["a"]}), "en"), TypeError, "texts must be one string column, not a table"),
        ((np.array([["a"]]), "en"), ValueError, "texts must be one-dimensional, not 2-dimensional"),
        ((np.array([1.0]), "en"), TypeError, "texts must be strings, not an array of float64"),
        ((["a"], "Klingonese"), ValueError, 'languages[0] is "Klingonese": give a code such as'),
        ((["a", "b"], ["en", "xx-y"]), ValueError, "languages[1] is"),
        ((["a"], [None]), TypeError, "languages[0] is None: every item must be a str"),
        ((["a"], None), TypeError, "languages must be a list of str"),
        ((["a", "b"], ["en"]), ValueError, "2 texts and 1 languages: give one for each text"),
        ((["a"], ["en", "en"]), ValueError, "1 texts and 2 languages: give one for each text"),
        ((["a"], []), ValueError, "1 texts and 0 languages"),
        ((["a"], "en", ["x", "y"]), ValueError, "1 texts and 2 prompts: give one for each text"),
        ((["a"], "en", "x"), TypeError, "prompts is one str: give a list, one prompt a text"),
        ((["a"], "en", [3]), TypeError, "prompts[0] is int: give a text, a list of messages, or None"),
        ((["a"], "en", [{"role": "user", "content": "x"}]), TypeError, "prompts[0] is dict: give a text, a list of"),
        ((["a"], "en", [["x"]]), TypeError, "prompts[0][0] is no message"),
        ((["a"], "en", ["\udfff"]), ValueError, "prompts[0] has a lone surrogate at character 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refusals(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        extract(*arguments)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": ["nope"]}, 'groups: "nope" is not one of length, structure'),
        ({"groups": []}, "groups is empty: name some of length"),
        ({"groups": "length", "variant": "paper"}, "groups are of the default variant"),
        ({"variant": "other"}, "variant is \"other\": it must be 'default' or 'paper'"),
    ],
)
def test_options_that_are_not_there(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=r"^\S") as raised:
        extract(["a"], "en", **options)
    assert str(raised.value).startswith(message)


# The paper's variant


def test_the_papers_values_are_met(shared: Path) -> None:
    lines = (shared / "golden" / "features.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    table = pa.table(extract([row["text"] for row in rows], [row["language"] for row in rows], variant="paper"))
    found = table.to_pylist()
    assert {len(row["features"]) for row in rows} == {53, 69}
    for row, values in zip(rows, found, strict=True):
        wanted = {name: float(np.float32(value)) for name, value in row["features"].items()}
        assert {name: values[name] for name in wanted} == wanted, row["id"]
        assert all(math.isnan(values[name]) for name in values.keys() - wanted.keys())


# Being stopped


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
@pytest.mark.parametrize("call", ["extract", "paper", "score", "explain", "from_arrow"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_control_c_stops_one_long_text(call: str, language: str) -> None:
    """In the midst of it: as processor time has it, of which the timer takes a tenth of what the whole needs."""
    code = f"""if True:
    import signal, sys, time, pyarrow
    from polyalign import Reference, features
    from polyalign.reference import example_table
    language, bucket = {language!r}, "{language}|single|qa|short"
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    piece = " ".join(digits[at % 36] + digits[at // 36 % 36] + digits[at // 1296 % 36] for at in range(46_656))
    text = "".join(f"{{chr(0x4E00 + at)}}{{piece}}, " for at in range(80))
    reference = Reference.from_arrow(example_table())
    calls = {{
        "extract": lambda: features.extract([text], language, threads=1),
        "paper": lambda: features.extract([text], language, variant="paper", threads=1),
        "score": lambda: reference.score([text], [bucket], threads=1),
        "explain": lambda: reference.explain(text, bucket, threads=1),
        "from_arrow": lambda: Reference.from_arrow(
            pyarrow.table({{"completion": [text], "bucket": [bucket]}}), threads=1
        ),
    }}
    call = calls[{call!r}]
    start = time.process_time()
    call()
    whole = time.process_time() - start
    signal.signal(signal.SIGPROF, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_PROF, whole / 10)
    start = time.process_time()
    try:
        call()
        print("done")
    except KeyboardInterrupt:
        print("stopped", (time.process_time() - start) / whole)
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=clean_environment(PYTHONPATH=":".join(sys.path)),
        timeout=300,
        check=False,
    )
    word, _, share = done.stdout.partition(" ")
    assert word == "stopped", done.stderr
    assert float(share) < 0.5


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
@pytest.mark.parametrize("variant", ["default", "paper"])
def test_control_c_stops_it_soon(variant: str) -> None:
    code = f"""
import polyalign.features
texts = ["One more sentence, and another word. " * 200] * 200_000
print("ready", flush=True)
try:
    polyalign.features.extract(texts, "en", variant={variant!r}, threads=1)
except KeyboardInterrupt:
    print("stopped", flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(PYTHONPATH=":".join(sys.path)),
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        # Without being stopped it would take minutes.
        assert process.communicate(timeout=30)[0] == "stopped\n"
    finally:
        process.kill()
