"""`Reference`: how it is built, kept and asked."""

from __future__ import annotations

import copy
import functools
import json
import math
import pickle
import random
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import humans
from conftest import write_jsonl
from polyalign import Bucketer, BucketSchema, Reference, features, reference_schema
from polyalign.reference import example_table

QA = "en|single|qa|short"
QUANTILES = {"q10": 0.1, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q90": 0.9}


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """The humans, with their buckets."""
    return humans.table()


@pytest.fixture(scope="module")
def reference() -> Reference:
    return humans.reference()


@pytest.fixture(scope="module")
def values(table: pa.Table) -> pa.Table:
    """The features of the humans."""
    return pa.table(features.extract(table["completion"], table["language"], table["prompt"]))


@pytest.fixture(scope="module")
def buckets(table: pa.Table) -> Any:
    return np.array(table["bucket"].to_pylist())


# How it is built


def test_every_way_in_gives_the_same_bytes(table: pa.Table, reference: Reference, tmp_path: Path) -> None:
    import datasets

    expected = reference.to_bytes()
    rows = list(humans.records())
    kept = table.select(["id", "prompt", "completion", "language", "bucket"])
    bucketed = [{**row, "bucket": bucket} for row, bucket in zip(rows, table["bucket"].to_pylist(), strict=True)]
    Bucketer(humans.SCHEMA).bucket_files(write_jsonl(tmp_path / "plain.jsonl", rows), tmp_path / "folder")
    Bucketer(humans.SCHEMA).bucket_files(tmp_path / "plain.jsonl", tmp_path / "parts", partition_by=["language"])
    lines = write_jsonl(tmp_path / "bucketed.jsonl", bucketed)
    messages = [{"messages": row["prompt"] + row["completion"], "bucket": row["bucket"]} for row in reversed(bucketed)]
    pq.write_table(kept, tmp_path / "bucketed.parquet")
    frame = pl.DataFrame(kept)

    def build(inputs: Any, **options: Any) -> bytes:
        return Reference.build(inputs, **options).to_bytes()

    assert build(tmp_path / "folder") == expected  # the schema comes with it
    assert build(str(tmp_path / "parts"), threads=1) == expected
    schema = {"schema": humans.SCHEMA}
    assert build([lines], **schema, threads=1) == expected
    assert build((path for path in [lines]), **schema, threads=4) == expected
    assert build(write_jsonl(tmp_path / "m.jsonl", messages), **schema) == expected
    assert build(tmp_path / "bucketed.parquet", **schema) == expected
    assert build(kept, **schema) == expected
    assert build(frame, **schema) == expected
    assert build(kept.to_reader(max_chunksize=7), **schema) == expected
    assert build((kept.slice(at, 100) for at in range(0, len(kept), 100)), **schema) == expected
    assert build([frame[200:], frame[:200]], **schema, threads=3) == expected
    assert build(datasets.Dataset(kept), **schema) == expected
    assert build(datasets.Dataset(kept).to_iterable_dataset(), **schema) == expected
    assert build(kept.to_batches(), **schema) == expected


def test_named_fields_are_read(table: pa.Table, tmp_path: Path) -> None:
    rows = [{"q": "Does it?", "a": "Yes.", "where": {"bucket": QA}} for _ in range(3)]
    built = Reference.build(
        write_jsonl(tmp_path / "a.jsonl", rows), fields={"prompt": "q", "response": "a"}, bucket_field="where.bucket"
    )
    assert (built.buckets, built.rows) == ((QA,), 3)
    assert built.quantile(QA, "user_overlap_share", 0.5, min_count=1) == 0
    assert (
        Reference.build(
            tmp_path / "a.jsonl", fields={"prompt": "q", "response": "a"}, bucket_field="where.bucket", limit=2
        ).rows
        == 2
    )


def test_tokens_travel_with_a_bucketed_folder(tokenizer_file: Path, tmp_path: Path) -> None:
    lines = write_jsonl(tmp_path / "plain.jsonl", humans.records())
    bucketer = Bucketer(BucketSchema(), tokenizer_file)
    bucketer.bucket_files(lines, tmp_path / "folder")
    built = Reference.build(tmp_path / "folder")
    assert built.schema.length_unit == "tokens"
    other = Reference.build(bucketer.assign(pa.Table.from_pylist(list(humans.records()))), schema=built.schema)
    with pytest.raises(ValueError, match=r"references of different tokenizers don't merge: [0-9a-f]{64} and none"):
        built.merge(other)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), parts=st.integers(2, 6), sample_size=st.sampled_from([0, 5, 256]))
def test_merging_in_any_order_gives_the_same_bytes(table: pa.Table, seed: int, parts: int, sample_size: int) -> None:
    source = random.Random(seed)
    part_of = np.array([source.randrange(parts) for _ in range(len(table))])
    kept = table.select(["prompt", "completion", "bucket"])

    def build(rows: pa.Table) -> Reference:
        return Reference.from_arrow(rows, schema=humans.SCHEMA, sample_size=sample_size, sources=["a"])

    built = [build(kept.filter(part_of == part)) for part in set(part_of.tolist())]
    source.shuffle(built)
    whole = build(kept)
    assert built[0].merge(*built[1:]).to_bytes() == whole.to_bytes()
    middle = len(built) // 2
    nested = built[0].merge(*built[1:middle]).merge(built[middle].merge(*built[middle + 1 :]))
    assert nested == whole
    assert hash(nested) == hash(whole)


def test_what_it_says_of_itself(table: pa.Table, reference: Reference, buckets: Any) -> None:
    assert reference.rows == len(table) == sum(map(reference.count, reference.buckets))
    assert reference.buckets == tuple(sorted(set(buckets.tolist())))
    assert len(reference) == len(reference.buckets)
    assert QA in reference
    assert "en|single|poem|short" not in reference
    assert reference.count("en|single|poem|short") == 0
    assert reference.features == tuple(feature.name for feature in features.registry())
    assert reference.schema == humans.SCHEMA
    assert (reference.variant, reference.sources) == ("default", ())
    assert repr(reference) == f"<Reference: {reference.rows} humans in {len(reference)} buckets, 145 features>"
    assert Reference.from_arrow(example_table(), sources=["b", "a", "b"]).sources == ("a", "b")
    assert Reference.from_arrow(example_table(), sources="corpus of 1999").sources == ("corpus of 1999",)
    assert set(reference_schema()) >= {"completion", "bucket"}
    assert set(example_table().column_names) <= set(reference_schema())


def test_a_schema_without_languages_reads_the_column(table: pa.Table) -> None:
    schema = BucketSchema(axes=["track", "family"], length_unit="words")
    assigned = pa.table(Bucketer(schema).assign(table.select(["prompt", "completion", "language", "family"])))
    built = Reference.from_arrow(assigned, schema=schema)
    assert "single|qa" in built
    assert built.resolve("*|poem").served_by == "*|*"
    of = {
        row["feature"]: row["count"] for row in pa.table(built.describe()).to_pylist() if row["bucket"] == "single|qa"
    }
    assert 0 < of["flesch_reading_ease"] < of["char_count"] == built.count("single|qa")


# Rows that can't be used


def test_rejected_rows_are_told_of(tmp_path: Path) -> None:
    rows = [{"prompt": "Does it?", "completion": text} for text in ["Yes, it does.", "", "No, never.", "Of course."]]
    table = pa.table(Bucketer().assign(pa.Table.from_pylist(rows)))
    assert table["bucket"].null_count == 1
    told = "not counted: 1 for no_response, the first in table, row 1: "
    for make in (Reference.from_arrow, Reference.build, lambda table: Reference.build(iter([table]))):
        with pytest.warns(UserWarning, match=told) as caught:
            assert make(table).rows == 3
        assert caught[0].filename == __file__
    lines = [{**row, "bucket": None} for row in rows[2:]]
    path = write_jsonl(tmp_path / "a.jsonl", [{**rows[0], "bucket": QA}, *lines, {**rows[0], "bucket": "a|b"}])
    with path.open("a") as file:
        file.write("{no json\n")
    with pytest.warns(
        UserWarning, match=r"not counted: 3 for bucket, the first in a.jsonl:2: the record has no buck.*; 1 for json"
    ) as caught:
        assert Reference.build(path).rows == 1
    assert caught[0].filename == __file__


def test_without_humans_there_is_no_reference(tmp_path: Path) -> None:
    nothing = pa.table({"completion": pa.array(["a", "b"]), "bucket": pa.nulls(2, pa.string())})
    with pytest.raises(
        ValueError, match="no humans to build a reference of: 2 for bucket, the first in table, row 0: "
    ):
        Reference.from_arrow(nothing)
    for empty in (nothing[:0], iter([]), write_jsonl(tmp_path / "empty.jsonl", [])):
        with pytest.raises(ValueError, match="no humans to build a reference of: the input is empty"):
            Reference.build(empty)


@pytest.mark.parametrize(
    ("inputs", "options", "error", "message"),
    [
        ([], {}, ValueError, "no input given"),
        (["nowhere.jsonl"], {}, FileNotFoundError, "nowhere.jsonl"),
        (None, {}, TypeError, "not iterable"),
        ([7], {}, TypeError, "inputs must be all paths or all Arrow tables: one is a int"),
        ([example_table(), "a.jsonl"], {}, TypeError, "one is a str"),
        (["a.jsonl", example_table()], {}, TypeError, "one is a Table"),
        (pa.table({"completion": ["a"]}), {}, ValueError, "the table has no column `bucket`, only completion"),
        (pa.table({"text": ["a"], "bucket": [QA]}), {}, ValueError, "completion"),
        (example_table(), {"variant": "other"}, ValueError, "variant is 'other': it must be 'default' or 'paper'"),
        (example_table(), {"sample_size": -1}, ValueError, "sample_size is -1: it must be at least 0"),
        (example_table(), {"sample_size": 1 << 20}, ValueError, "a sample of 1048576 rows: at most 65536"),
        (example_table(), {"schema": BucketSchema(axes=["family"])}, ValueError, "has 4 parts, not one for each of"),
        (example_table(), {"schema": BucketSchema(length_edges="auto")}, ValueError, 'length_edges are "auto"'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refusals(inputs: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        Reference.build(inputs, **options)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_other_references_do_not_merge() -> None:
    one = Reference.from_arrow(example_table())
    others = [{"sample_size": 3}, {"variant": "paper"}, {"schema": BucketSchema(length_edges=(5, 9, 11))}]
    for options in others:
        with pytest.raises(ValueError, match=r"references of different .* don't merge: .* and .*"):
            one.merge(Reference.from_arrow(example_table(), **options))
    with pytest.raises(TypeError, match="references merge with references, not with str"):
        one.merge("other")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is compared with a reference, not with str"):
        one.diff("other")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="schema is a BucketSchema, not str"):
        Bucketer("other")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="table must be an Arrow table"):
        Reference.from_arrow(["a"])


# How it is kept


def test_kept_and_read_again(reference: Reference, tmp_path: Path) -> None:
    path = tmp_path / "human.safetensors"
    path.write_text("what was there before")
    reference.save(path)
    assert path.read_bytes() == reference.to_bytes()
    copies = [
        Reference.load(path),
        Reference.load(str(path)),
        Reference.from_pretrained(tmp_path),
        Reference.from_pretrained(path),
        Reference.from_bytes(reference.to_bytes()),
        pickle.loads(pickle.dumps(reference)),
        copy.deepcopy(reference),
        copy.copy(reference),
    ]
    assert all(copied == reference and copied.to_bytes() == reference.to_bytes() for copied in copies)
    assert reference != Reference.from_arrow(example_table())
    assert reference != "human.safetensors"
    assert [file.name for file in tmp_path.iterdir()] == ["human.safetensors"]


def test_saving_fails_in_one_line_and_leaves_nothing(reference: Reference, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        reference.save(tmp_path / "no" / "human.safetensors")
    assert str(raised.value) == f"[Errno 2] No such file or directory: '{tmp_path}/no/human.safetensors'"
    with pytest.raises(IsADirectoryError):
        reference.save(tmp_path)
    with pytest.raises(IsADirectoryError):
        reference.plot(tmp_path)
    assert not list(tmp_path.iterdir())
    assert not list(tmp_path.parent.glob("*.tmp"))


def test_upload_and_download(reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    class Hub:
        """What the hub does, in a folder."""

        def __init__(self, token: str | None = None) -> None:
            assert token == "secret"

        def create_repo(self, repo_id: str, *, repo_type: str, private: bool | None, exist_ok: bool) -> None:
            assert (repo_id, repo_type, private, exist_ok) == ("me/humans", "dataset", True, True)

        def upload_file(self, *, path_or_fileobj: bytes, path_in_repo: str, **options: Any) -> Any:
            assert options == {
                "repo_id": "me/humans",
                "repo_type": "dataset",
                "commit_message": f"Human reference: {len(reference)} buckets",
            }
            (tmp_path / path_in_repo).write_bytes(path_or_fileobj)
            return SimpleNamespace(commit_url="https://hub/me/humans/commit/1")

    def download(name: str, file: str, *, repo_type: str, revision: str | None) -> str:
        assert (name, repo_type, revision) == ("me/humans", "dataset", "v1")
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert reference.push_to_hub("me/humans", private=True, token="secret") == "https://hub/me/humans/commit/1"
    assert Reference.from_pretrained("me/humans", revision="v1") == reference


def test_the_page_is_one_file(reference: Reference, tmp_path: Path) -> None:
    reference.plot(tmp_path / "page.html", title="Of <humans>")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "Of &lt;humans&gt;" in page
    assert QA in page
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


# Its numbers, beside those of the same humans


def column(values: pa.Table, rows: Any, feature: str) -> Any:
    """A feature of some rows, ascending, without what is not defined."""
    found = values[feature].to_numpy()[rows].astype(float)
    return np.sort(found[~np.isnan(found)])


def width(feature: features.Feature, value: float) -> float:
    """The most that a bin's mean is from a value in it."""
    kind, *ends = feature.bins.split()
    if kind == "count":
        return 0 if value < 128 else value / 64
    return max(2.0 ** (int(ends[0]) - 7), abs(value) / 64)


def test_descriptions_are_those_of_the_humans(reference: Reference, values: pa.Table, buckets: Any) -> None:
    described = pa.table(reference.describe()).to_pylist()
    assert len(described) == len(reference) * len(reference.features)
    registry = {feature.name: feature for feature in features.registry()}
    for row in described:
        exact = column(values, buckets == row["bucket"], row["feature"])
        assert row["count"] == len(exact)
        if not len(exact):
            assert all(math.isnan(row[name]) for name in ("mean", "std", "min", "max", *QUANTILES))
            continue
        moments = [row["mean"], row["std"], row["min"], row["max"]]
        assert moments == pytest.approx([exact.mean(), exact.std(), exact[0], exact[-1]], rel=1e-6, abs=2e-6)
        for name, p in QUANTILES.items():
            nearest_rank = exact[max(0, math.ceil(len(exact) * p - 1e-9) - 1)]
            assert abs(row[name] - nearest_rank) <= width(registry[row["feature"]], nearest_rank) + 2e-6, row


def test_bins_hold_all_humans(reference: Reference, values: pa.Table, buckets: Any) -> None:
    bins = pl.DataFrame(reference.to_arrow()).with_columns(pl.col("bucket", "feature").cast(pl.String))
    assert (bins["low"] <= bins["mean"]).all()
    assert (bins["mean"] <= bins["high"]).all()
    summed = bins.group_by("bucket", "feature").agg(
        pl.col("count").sum().alias("n"), (pl.col("count") * pl.col("mean")).sum().alias("sum")
    )
    described = pl.DataFrame(reference.describe()).with_columns(pl.col("bucket", "feature").cast(pl.String))
    both = described.filter(pl.col("count") > 0).join(summed, on=["bucket", "feature"])
    assert len(both) == len(summed)
    assert (both["n"] == both["count"]).all()
    assert np.allclose(both["sum"] / both["n"], both["mean"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "feature", ["word_count", "char_count", "type_token_ratio", "word_length_mean", "vader_compound"]
)
def test_quantiles_and_shares(reference: Reference, values: pa.Table, buckets: Any, feature: str) -> None:
    info = next(known for known in features.registry() if known.name == feature)
    exact = column(values, np.char.startswith(buckets, "en|"), feature)
    shares = np.linspace(0, 1, 41)
    found = reference.quantile("en|*|*|*", feature, shares)
    ranks = np.clip(np.ceil(len(exact) * shares - 1e-9).astype(int), 1, None) - 1
    assert (np.abs(found - exact[ranks]) <= [width(info, value) + 2e-6 for value in exact[ranks]]).all()
    assert (np.diff(found) >= 0).all()
    assert (found[0], found[-1]) == pytest.approx((exact[0], exact[-1]), abs=1e-6)
    assert reference.quantile("en|*|*|*", feature, 0.5) == found[20]
    assert reference.support("en|*|*|*", feature) == (found[4], found[36])
    assert reference.support("en|*|*|*", feature, (0.25, 0.75)) == (found[10], found[30])
    # Shares are exact where bins end, and between that as far off as the bin's humans are many.
    places = np.concatenate([exact[::9], exact[::9] + 0.01, [-1e9, 1e9]])
    cdf = reference.cdf("en|*|*|*", feature, places)
    for x, share in zip(places, cdf, strict=True):
        near = 0 if abs(x) > 1e8 else width(info, x) * 1.02 + 2e-6
        assert (exact <= x - near).mean() - 1e-12 <= share <= (exact <= x + near).mean() + 1e-12
    assert reference.cdf("en|*|*|*", feature, float(places[3])) == cdf[3]


def test_small_counts_are_exact(reference: Reference, values: pa.Table, buckets: Any) -> None:
    exact = column(values, buckets == QA, "word_count")
    assert exact.max() < 128
    for x in range(-1, 12):
        assert reference.cdf(QA, "word_count", x) == pytest.approx((exact <= x).mean(), abs=1e-12)
    for p in np.linspace(0.01, 1, 34):
        assert reference.quantile(QA, "word_count", p) == exact[math.ceil(len(exact) * p - 1e-9) - 1]


def test_questions_that_are_none(reference: Reference) -> None:
    assert math.isnan(reference.quantile("fr|single|qa|short", "word_count", 0.5))
    assert math.isnan(reference.cdf("de|single|qa|short", "word_count", 3))
    assert math.isnan(reference.cdf(QA, "word_count", math.nan))
    with pytest.raises(KeyError, match=r'no feature "nope": polyalign\.features\.registry'):
        reference.quantile(QA, "nope", 0.5)
    for p in (-0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match=r"p is .*: it must be 0 to 1"):
            reference.quantile(QA, "word_count", p)
    with pytest.raises(ValueError, match="min_count is -1: it must be at least 0"):
        reference.quantile(QA, "word_count", 0.5, min_count=-1)


def test_differences_are_those_of_the_humans(reference: Reference, table: pa.Table, values: pa.Table) -> None:
    half = np.arange(len(table)) % 3 == 0
    kept = table.select(["prompt", "completion", "bucket"])
    one, other = (Reference.from_arrow(kept.filter(rows), schema=humans.SCHEMA) for rows in (half, ~half))
    buckets = np.array(table["bucket"].to_pylist())
    found = pa.table(one.diff(other, threads=2)).to_pylist()
    assert {row["bucket"] for row in found} == set(one.buckets) & set(other.buckets)
    checked = 0
    for row in found:
        x, y = (column(values, (buckets == row["bucket"]) & rows, row["feature"]) for rows in (half, ~half))
        assert (row["count"], row["other_count"]) == (len(x), len(y))
        if min(len(x), len(y)) < 20:
            continue
        checked += 1
        exact = scipy.stats.wasserstein_distance(x, y)
        assert abs(row["wasserstein"] - exact) <= 0.04 * max(x.std(), y.std()) + 1e-6, row
        assert 0 <= row["ks"] <= 1
        assert 0 <= row["total_variation"] <= 1
        if row["feature"] == "word_count" and max(x.max(), y.max()) < 128:
            assert row["ks"] == pytest.approx(scipy.stats.ks_2samp(x, y).statistic)
    assert checked > 200
    same = pl.DataFrame(one.diff(one)).drop_nans()
    assert (same["wasserstein"] == 0).all()
    assert (same["psi"] == 0).all()
    with pytest.raises(ValueError, match=r"references of different schemas have no buckets to compare"):
        one.diff(Reference.from_arrow(example_table()))


# Which humans serve


def levels(target: str) -> Iterator[str]:
    """A target and its ancestors."""
    parts = target.split("|")
    yield target
    for axis in (2, 1, 3):
        if parts[axis] != "*":
            parts[axis] = "*"
            yield "|".join(parts)


def agree(buckets: Any, level: str) -> Any:
    """Which rows are in a bucket, or in buckets taken together."""
    parts = level.split("|")
    return np.array([all(w in ("*", p) for w, p in zip(parts, bucket.split("|"), strict=True)) for bucket in buckets])


@pytest.mark.parametrize("min_count", [1, 20, 100])
@pytest.mark.parametrize(
    "target",
    [
        QA,
        "en|single|poem|short",
        "en|multi|qa|xlong",
        "zh|multi|dialogue|medium",
        "en|*|*|*",
        "en|single|*|short",
        "fr|single|qa|short",
        "ja|single|qa|short",
    ],
)
def test_who_serves(reference: Reference, values: pa.Table, buckets: Any, target: str, min_count: int) -> None:
    found = reference.resolve(target, min_count=min_count)
    wanted = [(level, agree(buckets, level)) for level in levels(target)]
    served_by = next((level for level, rows in wanted if rows.sum() >= min_count), None)
    assert (found.target, found.served_by) == (target, served_by)
    assert found.rows == (None if served_by is None else dict(wanted)[served_by].sum())
    order = [level for level, _ in wanted]
    for feature in ("word_count", "type_token_ratio", "flesch_reading_ease", "han_share", "history_overlap_share"):
        if feature in reference.features:
            enough = [level for level, rows in wanted if len(column(values, rows, feature)) >= min_count]
            assert found.features[feature] == (enough[0] if enough else None), feature
    assert found.undefined == sum(level is None for level in found.features.values())
    further = [
        level for level in found.features.values() if level and order.index(level) > order.index(served_by or level)
    ]
    assert found.backed_off == len(further)
    last = wanted[-1]
    reason = f"only {last[1].sum()} humans in `{last[0]}`" if last[1].any() else f"no humans in `{last[0]}`"
    assert found.reason == (reason if served_by is None else None)


def test_targets_are_normalised(reference: Reference) -> None:
    assert reference.resolve("EN| Single |QA|short").target == QA
    assert reference.resolve("en|single|a%7CB|short").target == "en|single|a%7Cb|short"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", "no bucket is named"),
        ("en|single|qa", 'target "en|single|qa" has 3 parts, not one for each of language, track, family, length'),
        ("en|single|qa|huge", 'length bin "huge" is none of short, medium, long, xlong'),
        ("en|double|qa|short", 'track "double" is neither `single` nor `multi`'),
        ("klingon|single|qa|short", '"klingon" is no language'),
        ("*|single|qa|short", "has no language: name one"),
        ("en|single||short", "has a blank part"),
        ("en|sin\ngle|qa|short", "track"),
    ],
)
def test_targets_that_are_none(reference: Reference, target: str, message: str) -> None:
    ask = [
        lambda: reference.resolve(target),
        lambda: reference.quantile(target, "word_count", 0.5),
        lambda: reference.explain("Yes.", target),
    ]
    for question in ask:
        with pytest.raises(ValueError) as raised:
            question()
        assert message in str(raised.value)
        assert "\n" not in str(raised.value)
    with pytest.warns(UserWarning, match="1 of 2 responses have no distance: 1: "):
        distances = reference.support_distance(["Yes.", "No."], [target, QA])
    assert np.isnan(distances).tolist() == [True, False]


# How far a response is


RESPONSES = [
    ("We think so.", QA),
    ("As an AI language model, I can't have opinions!!! However, here are some:\n\n- **One**\n- **Two**", QA),
    ("我们觉得可能是的。", "zh|single|qa|short"),
    ("The river runs late.", "zh|single|qa|short"),
    ("因为天气很好，所以他们今天早上在公园跑步。" * 9, "zh|multi|dialogue|medium"),
    ("x" * 3000, "en|*|*|*"),
    ("Maybe they don't understand that; I think you do.", "en|single|poem|medium"),
]
RESPONSE_PROMPTS: list[Any] = ["So?", None, [{"role": "user", "content": "怎么样？"}], None, None, None, "Do they?"]


Humans = Callable[[str, str], Any]


def slow_distance(
    reference: Reference, humans_of: Humans, row: dict[str, float], target: str, asked: dict[str, Any]
) -> float:
    """D_b as the method has it, from the humans' values; bands are the reference's."""
    parts = []
    bands = 0
    for feature in features.registry():
        for level in levels(target):
            found = humans_of(level, feature.name)
            if len(found) >= asked["min_count"]:
                break
        else:
            continue
        bands += 1
        z = row[feature.name]
        if math.isnan(z):
            continue
        low, high = reference.support(level, feature.name, asked["support"], min_count=asked["min_count"])
        outside = max(low - z, z - high, 0)
        parts.append(min(5, outside / max(high - low, found.std(), feature.scale)))
    return math.nan if 2 * len(parts) < bands or not bands else math.fsum(parts) / len(parts)


@pytest.mark.parametrize(("support", "min_count"), [((0.1, 0.9), 20), ((0.25, 0.75), 5), ((0.0, 1.0), 60)])
def test_distances_are_the_slow_ones(
    reference: Reference, values: pa.Table, buckets: Any, support: tuple[float, float], min_count: int
) -> None:
    texts, targets = zip(*RESPONSES, strict=True)
    languages = [target[:2] for target in targets]
    rows = pa.table(features.extract(texts, languages, RESPONSE_PROMPTS)).to_pylist()
    asked = {"support": support, "min_count": min_count}

    @functools.cache
    def humans_of(level: str, feature: str) -> Any:
        return column(values, agree(buckets, level), feature)

    wanted = [
        slow_distance(reference, humans_of, row, target, asked) for row, target in zip(rows, targets, strict=True)
    ]
    options = {"prompts": RESPONSE_PROMPTS, "warn": False, **asked}
    found = reference.support_distance(texts, targets, **options)
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx(wanted, rel=2e-5, nan_ok=True)
    assert np.isfinite(found).sum() >= 5
    assert found.tobytes() == reference.support_distance(texts, targets, **options, threads=1).tobytes()


def test_many_threads_may_ask_at_once(table: pa.Table, reference: Reference) -> None:
    fresh = Reference.from_bytes(reference.to_bytes())
    expected = reference.support_distance(table["completion"], table["bucket"], warn=False).tobytes()

    def ask(number: int) -> bytes:
        found = fresh.support_distance(table["completion"], table["bucket"], warn=False, threads=1 + number % 3)
        return found.tobytes()

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(ask, range(24))) == {expected}


def test_humans_are_in_the_middle_of_humans(reference: Reference, table: pa.Table) -> None:
    scores = pl.DataFrame(reference.score(table["completion"], table["bucket"], prompts=table["prompt"]))
    own = scores.filter(pl.col("served_by") == pl.col("bucket"))
    assert len(own) > 300
    means = own.group_by("bucket").agg(pl.col("percentile").mean(), pl.col("distance").mean(), pl.len())
    # The sample holds all of them, so the mean is .5 exactly.
    assert means["percentile"].to_list() == pytest.approx([0.5] * len(means), abs=1e-6)
    assert (means["distance"] < 0.35).all()
    assert scores["percentile"].drop_nans().is_between(0, 1).all()
    sampled = Reference.from_arrow(
        table.select(["prompt", "completion", "bucket"]), schema=humans.SCHEMA, sample_size=40
    )
    some = pl.DataFrame(sampled.score(table["completion"], table["bucket"], prompts=table["prompt"]))
    assert some["distance"].to_list() == pytest.approx(scores["distance"].to_list(), nan_ok=True)
    assert some["percentile"].drop_nans().mean() == pytest.approx(0.5, abs=0.06)
    none = Reference.from_arrow(table.select(["prompt", "completion", "bucket"]), schema=humans.SCHEMA, sample_size=0)
    assert np.isnan(pa.table(none.score(["Yes."], QA))["percentile"].to_numpy()).all()


def test_scores_say_all_that_is_known(reference: Reference) -> None:
    texts = ["We think so.", "", "Oui.", "Yes.", "Yes."]
    targets = ["EN|single|poem|short", QA, "fr|single|qa|short", "nonsense", QA]
    scores = pa.table(reference.score(texts, targets)).to_pylist()
    assert list(scores[0]) == ["bucket", "served_by", "distance", "percentile", "reason"]
    assert [row["bucket"] for row in scores] == ["en|single|poem|short", QA, "fr|single|qa|short", "nonsense", QA]
    assert [row["served_by"] for row in scores] == ["en|single|*|short", QA, None, None, QA]
    reasons = [row["reason"] for row in scores]
    assert reasons[0] is reasons[4] is None
    assert reasons[1] == "the response is empty"
    assert reasons[2] == "only 5 humans in `fr|*|*|*`"
    assert reasons[3].startswith('target "nonsense" has 1 parts')
    distances = reference.support_distance(texts, targets, warn=False)
    assert [row["distance"] for row in scores] == pytest.approx(distances.tolist(), nan_ok=True)
    assert [math.isnan(row["percentile"]) for row in scores] == [False, True, True, True, False]
    assert pa.table(reference.score([], [])).num_rows == 0


def test_missing_distances_are_warned_of(reference: Reference) -> None:
    texts, targets = ["", "Oui.", "Yes.", "", "No."], [QA, "fr|single|qa|short", None, QA, QA]
    wanted = (
        "4 of 5 responses have no distance: 2: the response is empty; "
        "1: only 5 humans in `fr|*|*|*`; 1: no bucket is named"
    )
    with pytest.warns(UserWarning) as caught:
        distances = reference.support_distance(texts, pa.array(targets))
    assert [str(warning.message) for warning in caught] == [wanted]
    assert caught[0].filename == __file__
    assert np.isnan(distances).tolist() == [True, True, True, True, False]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reference.support_distance(texts, pa.array(targets), warn=False)
        reference.support_distance(["Yes."], QA)
        assert reference.support_distance([], []).shape == reference.support_distance([], QA).shape == (0,)


@pytest.mark.parametrize("text", ["As an AI, I can't!!! 真的", "We think so.", "z" * 400])
def test_explanations_add_up(reference: Reference, text: str) -> None:
    prompt = [{"role": "user", "content": "So?"}]
    explanation = reference.explain(text, QA, prompt=prompt, most=1000)
    wanted = pa.table(reference.score([text], [QA], prompts=[prompt])).to_pylist()[0]
    assert explanation.distance == pytest.approx(wanted["distance"])
    assert explanation.percentile == pytest.approx(wanted["percentile"])
    assert (explanation.bucket, explanation.served_by, explanation.reason) == (QA, QA, None)
    row = pa.table(features.extract([text], "en", [prompt])).to_pylist()[0]
    served = reference.resolve(QA).features
    counted = sum(served[name] is not None and not math.isnan(value) for name, value in row.items())
    outside = explanation.outside
    assert sum(part.counts for part in outside) / counted == pytest.approx(explanation.distance, rel=1e-5)
    assert [part.counts for part in outside] == sorted((part.counts for part in outside), reverse=True)
    for part in outside:
        assert part.value == row[part.feature]
        level = served[part.feature]
        assert level is not None
        assert (part.low, part.high) == reference.support(level, part.feature)
        assert not part.low <= part.value <= part.high
        assert 0 < part.counts <= 5
        assert part.cdf == reference.cdf(level, part.feature, part.value)
        assert part.words.startswith(f"{part.feature} is ")
        assert part.words in str(explanation)
    assert reference.explain(text, QA, prompt=prompt, most=1).outside == outside[:1]
    assert reference.explain(text, QA, prompt=prompt, most=0).outside == ()
    message = [{"role": "assistant", "content": text}]
    assert reference.explain(message, QA, prompt="So?", most=1000) == explanation  # type: ignore[arg-type]


def test_explanations_without_a_distance(reference: Reference) -> None:
    assert str(reference.explain("", QA)) == (f"no distance from {QA}: the response is empty")
    assert reference.explain("Oui.", "fr|single|qa|short").reason == "only 5 humans in `fr|*|*|*`"
    assert "(served by en|single|*|short)" in str(reference.explain("Hm.", "en|single|poem|short"))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("Yes.", QA), {}, TypeError, "texts is one str: give a list of them"),
        ((["Yes.", None], QA), {}, TypeError, "texts[1] is None: every item must be a str"),
        ((["Yes.", "\ud800"], QA), {}, ValueError, "texts[1] has a lone surrogate at character 0"),
        ((["Yes.", "No."], [QA]), {}, ValueError, "2 texts and 1 buckets: give one for each text"),
        ((["Yes."], [None]), {}, TypeError, "buckets[0] is None: every item must be a str"),
        ((["Yes."], 7), {}, TypeError, "buckets must be a list of str"),
        ((["Yes."], QA), {"prompts": "a"}, TypeError, "prompts is one str"),
        ((["Yes."], QA), {"prompts": [None, None]}, ValueError, "1 texts and 2 prompts: give one for each text"),
        ((["Yes."], QA), {"support": (0.9, 0.1)}, ValueError, "a band from quantile 0.9 to 0.1: they must be 0 to 1"),
        ((["Yes."], QA), {"support": (0.1, math.nan)}, ValueError, "a band from quantile 0.1 to NaN"),
        ((["Yes."], QA), {"support": 0.8}, ValueError, "support is 0.8: give two quantiles, such as (0.1, 0.9)"),
        ((["Yes."], QA), {"min_count": -1}, ValueError, "min_count is -1: it must be at least 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_responses_that_are_refused(
    reference: Reference, arguments: Any, options: Any, error: type[Exception], message: str
) -> None:
    for method in (reference.support_distance, reference.score):
        with pytest.raises(error) as raised:
            method(*arguments, **options)
        assert str(raised.value).startswith(message)
        assert "\n" not in str(raised.value)


# The paper's variant


@pytest.fixture(scope="module")
def predictions(shared: Path) -> Path:
    return shared / "golden" / "eval" / "predictions.jsonl"


def build_of_paper(predictions: Path, variant: Any) -> Reference:
    fields = {"prompt": "question", "response": "reference_output"}
    return Reference.build(predictions, variant=variant, fields=fields, bucket_field="bucket_id")


@pytest.fixture(scope="module")
def targets(shared: Path) -> list[dict[str, Any]]:
    lines = (shared / "golden" / "critic_targets.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_the_papers_references_are_met(shared: Path, predictions: Path) -> None:
    built = build_of_paper(predictions, "paper")
    golden = json.loads((shared / "golden" / "bucket_references.json").read_text("utf-8"))
    assert built.buckets == tuple(sorted(golden))
    assert repr(built).endswith(", variant 'paper'>")
    described = {(row["bucket"], row["feature"]): row for row in pa.table(built.describe()).to_pylist()}
    for bucket, wanted in golden.items():
        assert built.count(bucket) == wanted["count"]
        for feature, statistics in wanted["feature_stats"].items():
            found = described[bucket, feature]
            assert {name: found[name] for name in statistics} == pytest.approx(statistics, rel=1e-6)
            for band, support in (("support_q10_q90", (0.1, 0.9)), ("support_q25_q75", (0.25, 0.75))):
                low, high = built.support(bucket, feature, support)
                assert {"low": low, "high": high} == pytest.approx(wanted[band][feature], rel=1e-6)


def test_the_papers_distances_are_met(predictions: Path, targets: list[dict[str, Any]]) -> None:
    built = build_of_paper(predictions, "paper")
    texts, buckets = ([row[name] for row in targets] for name in ("text", "bucket_id"))
    for name, support in (("d_q10_q90", (0.1, 0.9)), ("d_q25_q75", (0.25, 0.75))):
        found = built.support_distance(texts, buckets, support=support)
        wanted = np.array([row[name] for row in targets])
        assert np.abs(found - wanted).max() <= 1e-6 * wanted.max()
        assert found.tolist() == pytest.approx(wanted.tolist(), rel=1e-6)
    # It does not back off.
    assert built.resolve("en|single|story|short").served_by is None


def test_by_default_nothing_is_further_than_five(predictions: Path, targets: list[dict[str, Any]]) -> None:
    built = build_of_paper(predictions, "default")
    assert max(row["d_q10_q90"] for row in targets) > 50_000
    found = built.support_distance([row["text"] for row in targets], [row["bucket_id"] for row in targets])
    assert ((found >= 0) & (found <= 5)).all()
    rows = [json.loads(line) for line in predictions.read_text("utf-8").splitlines()]
    texts, buckets, prompts = ([row[name] for row in rows] for name in ("reference_output", "bucket_id", "question"))
    scores = pl.DataFrame(built.score(texts, buckets, prompts=prompts))
    means = scores.group_by("bucket").agg(pl.col("percentile").mean())["percentile"]
    assert means.to_list() == pytest.approx([0.5] * 14, abs=1e-6)
