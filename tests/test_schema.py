"""`BucketSchema`: plain data, checked when made."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from typing import Any

import pyarrow
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polyalign import Bucketer, BucketSchema, _core
from polyalign.buckets import _ids

SCHEMAS = [
    {},
    {"length_edges": "auto", "length_unit": "words"},
    {"length_edges": {"default": [10, 20], "Chinese": (5, 9)}, "length_bins": ["s", "m", "l"]},
    {"languages": ["zh-CN", "eng"], "default_language": "en"},
    {"families": {"sgd": "Dialogue", "dolly": "assistant"}, "axes": ["family", "length"]},
    {"axes": ["language", {"name": "tone", "column": "meta.tone", "missing": "none"}, "topic"]},
]


@pytest.mark.parametrize("settings", SCHEMAS, ids=str)
def test_json_keeps_everything(settings: dict[str, Any]) -> None:
    schema = BucketSchema(**settings)
    copied = BucketSchema.from_json(schema.to_json())
    assert copied == schema
    assert hash(copied) == hash(schema)
    assert copied.to_json() == schema.to_json()
    assert set(json.loads(schema.to_json())) == {field.name for field in dataclasses.fields(schema)}


@pytest.mark.parametrize("settings", SCHEMAS, ids=str)
def test_repr_makes_the_schema_again(settings: dict[str, Any]) -> None:
    schema = BucketSchema(**settings)
    assert eval(repr(schema)) == schema
    assert copy.deepcopy(schema) == schema
    assert pickle.loads(pickle.dumps(schema)) == schema


def test_names_are_normalised() -> None:
    schema = BucketSchema(languages=["Chinese", "en-GB", "cmn"], families={"a": " QA "})
    assert schema.languages == ("en", "zh")
    assert schema.families == {"a": "qa"}


def test_schemas_differ() -> None:
    assert BucketSchema() == BucketSchema(length_edges=[40, 120, 240])
    assert BucketSchema() != BucketSchema(length_edges=[40, 120, 241])


def test_schemas_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        BucketSchema().length_unit = "words"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length_edges": (50, 20)}, "edges must rise"),
        ({"length_edges": ()}, "0 edges"),
        ({"length_edges": (1.5,)}, "length_edges is"),
        ({"length_edges": "quartiles"}, "length_edges is"),
        ({"length_edges": {"zh": [1, 2, 3]}}, "need a `default`"),
        ({"length_unit": "bytes"}, "unknown variant `bytes`"),
        ({"length_bins": ["one"]}, "3 edges make 4 bins"),
        ({"languages": ["klingonese"]}, "is no language"),
        ({"languages": []}, "the list is empty"),
        ({"axes": []}, "0 given"),
        ({"axes": ["language", "language"]}, "there twice"),
        ({"axes": ["bucket"]}, "name of an output column"),
        ({"axes": [{"name": "x", "colum": "y"}]}, "unknown field `colum`"),
        ({"version": 2}, "version 2"),
        ({"families": {"a": " "}}, "blank"),
    ],
)
def test_broken_rules_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        BucketSchema(**settings)
    assert "\n" not in str(error.value)
    assert "line 1" not in str(error.value)


def test_languages_as_one_string_is_an_error() -> None:
    with pytest.raises(TypeError, match="a list of codes"):
        BucketSchema(languages="en,zh")


def test_broken_json_says_where() -> None:
    with pytest.raises(ValueError, match="line 1 column"):
        BucketSchema.from_json('{"axes": ["language",]}')
    with pytest.raises(ValueError, match="unknown field `edges`"):
        BucketSchema.from_json('{"edges": [1]}')


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": "prompt"}, "must be 'all' or 'completion'"),
        ({"fields": {"answer": "x"}}, "'answer' is not one of messages, prompt, response"),
        ({"schema": BucketSchema(length_unit="tokens")}, "tokenizer"),
    ],
)
def test_bucketers_refuse(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Bucketer(**arguments)


def test_the_usual_axes_are_the_engines() -> None:
    assert tuple(json.loads(_core.normalise_schema("{}"))["axes"]) == _ids.DEFAULT_AXES


@given(
    st.lists(
        st.text(st.sampled_from("|%7CcÉz *\t\x1c\x1f\x85\u3000中") | st.characters(), max_size=6),
        min_size=2,
        max_size=2,
    )
)
@example(["q|a", "100%"])
@example(["a", "b\x1f"])
@example(["0", " * "])
def test_ids_that_the_engine_writes_are_read(values: list[str]) -> None:
    schema = BucketSchema(axes=["language", "first", "second"])
    record = {"prompt": "Why?", "response": "So.", "language": "en", "first": values[0], "second": values[1]}
    table = pyarrow.Table.from_pylist([record])
    (bucket,) = pyarrow.table(Bucketer(schema).assign(table))["bucket"].to_pylist()
    if bucket is None:
        assert any(value.isspace() or not value or value.strip() == "*" for value in values)
        return
    assert _ids.joined(_ids.checked_parts(bucket, schema.axes)) == bucket
    said = _ids.named_parts(bucket, schema.axes)
    for name, value in zip(("first", "second"), values, strict=True):
        assert said[name].strip() == value.strip().lower()
