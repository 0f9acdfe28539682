"""`Reference.score_files`: files of responses in, a line each out."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import humans
import small_tokenizers
from conftest import clean_environment, write_jsonl
from polyalign import Bucketer, BucketSchema, Reference, TokenCounter
from polyalign.distribution import DistributionTerm

QA = "en|single|qa|short"


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return humans.table()


@pytest.fixture(scope="module")
def reference() -> Reference:
    return humans.reference()


@pytest.fixture(scope="module")
def rows(table: pa.Table) -> list[dict[str, Any]]:
    """The humans' records with their buckets."""
    return table.select(["id", "prompt", "completion", "language", "family", "bucket"]).to_pylist()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def adds_up(report: dict[str, Any]) -> None:
    tally = report["tally"]
    assert tally["rows"] == tally["used"] + tally["rejected"]
    assert tally["rejected"] == sum(tally["rejected_by_kind"].values())
    assert tally["used"] == report["scored"] + report["unscored"]
    assert report["unscored"] == sum(report["unscored_by_reason"].values())
    assert report["scored"] == sum(bucket["scored"] for bucket in report["buckets"].values())


def test_lines_are_the_scores_in_memory(
    reference: Reference, table: pa.Table, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    report = reference.score_files(write_jsonl(tmp_path / "a.jsonl", rows), tmp_path / "scores.jsonl")
    adds_up(report)
    assert report["output"] == str(tmp_path / "scores.jsonl")
    wanted = pa.table(reference.score(table["completion"], table["bucket"], prompts=table["prompt"])).to_pylist()
    found = lines(tmp_path / "scores.jsonl")
    assert [(line["id"], line["row"], line["file"]) for line in found] == [
        (row["id"], at, "a.jsonl") for at, row in enumerate(rows)
    ]
    for line, row in zip(found, wanted, strict=True):
        assert {name: line[name] for name in ("bucket", "served_by", "reason")} == {
            name: row[name] for name in ("bucket", "served_by", "reason")
        }
        for name in ("distance", "percentile"):
            assert line[name] == (None if math.isnan(row[name]) else pytest.approx(row[name], rel=1e-6))
    scored = [line for line in found if line["distance"] is not None]
    assert report["scored"] == len(scored)
    for bucket, sums in report["buckets"].items():
        own = [line for line in found if line["bucket"] == bucket]
        numbers = [line for line in own if line["distance"] is not None]
        assert (sums["rows"], sums["scored"]) == (len(own), len(numbers))
        if numbers:
            mean = sum(line["distance"] for line in numbers) / len(numbers)
            assert sums["mean_distance"] == pytest.approx(mean, rel=1e-6)
            assert sums["served_by"] == numbers[0]["served_by"]
            beyond = sum(line["percentile"] > 0.95 for line in numbers) / len(numbers)
            assert sums["beyond_95"] == pytest.approx(beyond)
        else:
            assert sums["mean_distance"] is sums["mean_percentile"] is sums["beyond_95"] is None
    together = DistributionTerm(reference).energy(table["completion"], table["bucket"], table["prompt"])
    assert any(sums["energy"] is not None for sums in report["buckets"].values())
    for bucket, sums in report["buckets"].items():
        for name, value in (("energy", together[bucket].energy), ("energy_floor", together[bucket].floor)):
            expected = None if math.isnan(together[bucket].energy) else pytest.approx(value, rel=1e-9, abs=1e-12)
            assert sums[name] == expected


def test_every_shape_gives_the_same_distances(reference: Reference, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    rows = [row for row in rows if len(row["prompt"]) == 1]

    def plain(row: dict[str, Any]) -> tuple[str, str]:
        return row["prompt"][0]["content"], row["completion"][0]["content"]

    kept = [{name: row[name] for name in ("id", "bucket")} for row in rows]
    shapes = {
        "messages": [{**k, "messages": row["prompt"] + row["completion"]} for k, row in zip(kept, rows, strict=True)],
        "prompt_completion": [
            {**k, "prompt": plain(row)[0], "completion": plain(row)[1]} for k, row in zip(kept, rows, strict=True)
        ],
        "sharegpt": [
            {**k, "conversations": [{"from": "human", "value": plain(row)[0]}, {"from": "gpt", "value": plain(row)[1]}]}
            for k, row in zip(kept, rows, strict=True)
        ],
        "alpaca": [
            {**k, "instruction": plain(row)[0], "output": plain(row)[1]} for k, row in zip(kept, rows, strict=True)
        ],
    }
    found = []
    for shape, records in shapes.items():
        report = reference.score_files(
            write_jsonl(tmp_path / f"{shape}.jsonl", records), tmp_path / f"{shape}.out.jsonl"
        )
        assert report["shape"] == shape
        found.append(
            [(line["id"], line["bucket"], line["distance"]) for line in lines(tmp_path / f"{shape}.out.jsonl")]
        )
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=50)
    reference.score_files(tmp_path / "rows.parquet", tmp_path / "rows.out.jsonl")
    found.append([(line["id"], line["bucket"], line["distance"]) for line in lines(tmp_path / "rows.out.jsonl")])
    assert all(other == found[0] for other in found[1:])
    assert sum(distance is not None for _, _, distance in found[0]) > 200


def test_same_bytes_for_any_number_of_threads(reference: Reference, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    # Large enough for several blocks.
    path = write_jsonl(tmp_path / "a.jsonl", [{**row, "more": "x" * 9000} for row in rows] * 3)
    for suffix in ("jsonl", "parquet"):
        outputs = []
        for threads in (1, 2, 5):
            output = tmp_path / f"{threads}.{suffix}"
            report = reference.score_files(path, output, threads=threads, explain=3)
            outputs.append((output.read_bytes(), {**report, "output": None}))
        assert outputs[0] == outputs[1] == outputs[2]
    assert not list(tmp_path.glob("*.partial"))


def test_parquet_has_what_lines_have(reference: Reference, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [*rows[:60], {"completion": ""}, {"completion": "Oui.", "bucket": "x"}])
    one = reference.score_files(path, tmp_path / "a.out.jsonl", explain=2)
    other = reference.score_files(path, tmp_path / "a.parquet", explain=2)
    assert {**one, "output": None} == {**other, "output": None}
    found = pq.read_table(tmp_path / "a.parquet").to_pylist()
    for line, row in zip(lines(tmp_path / "a.out.jsonl"), found, strict=True):
        assert row == {"outside": [], **line, "distance": row["distance"], "percentile": row["percentile"]}
        for name in ("distance", "percentile"):
            assert row[name] == (None if line[name] is None else pytest.approx(line[name], rel=1e-6))


def test_explanations_are_those_in_memory(reference: Reference, tmp_path: Path) -> None:
    text = "As an AI language model, I can't say!!!"
    path = write_jsonl(tmp_path / "a.jsonl", [{"completion": text, "bucket": QA}])
    reference.score_files(path, tmp_path / "out.jsonl", explain=4)
    (line,) = lines(tmp_path / "out.jsonl")
    assert line["outside"] == [part.words for part in reference.explain(text, QA, most=4).outside]
    assert len(line["outside"]) == 4
    reference.score_files(path, tmp_path / "out.jsonl", overwrite=True)
    assert "outside" not in lines(tmp_path / "out.jsonl")[0]


# Which bucket


def test_records_that_can_not_be_scored_have_a_line_too(reference: Reference, tmp_path: Path) -> None:
    records: list[Any] = [
        {"id": "a", "prompt": "So?", "completion": "Yes.", "bucket": QA},
        {"id": "b", "prompt": "So?", "completion": "", "bucket": QA},
        {"id": "c", "prompt": "So?", "completion": "Oui.", "bucket": "fr|single|qa|short"},
        {"prompt": "So?", "completion": "Yes.", "bucket": "nonsense"},
        {"id": "e", "prompt": "So?", "completion": "!!", "bucket": QA},
        {"id": "f", "prompt": "So?", "completion": "Yes.", "bucket": None, "language": "en", "family": "qa"},
        {"id": "g", "prompt": "So?", "completion": None, "bucket": QA},
        {"id": {"h": 1}, "prompt": "So?", "completion": None, "bucket": QA},
    ]
    path = write_jsonl(tmp_path / "a.jsonl", records)
    with path.open("a", encoding="utf-8") as file:
        file.write("{no json\n")
    report = reference.score_files(path, tmp_path / "out.jsonl")
    adds_up(report)
    assert (report["tally"]["rows"], report["tally"]["rejected"]) == (9, 3)
    assert report["tally"]["rejected_by_kind"] == {"json": 1, "no_response": 2}
    assert report["tally"]["first_rejects"]["no_response"]["id"] == "g"
    found = lines(tmp_path / "out.jsonl")
    assert [line["id"] for line in found] == ["a", "b", "c", "a.jsonl:3", "e", "f", "g", "a.jsonl:7", "a.jsonl:8"]
    assert [line["distance"] is None for line in found] == [line["reason"] is not None for line in found]
    assert [line["bucket"] for line in found] == [
        QA, QA, "fr|single|qa|short", "nonsense", QA, "en|single|qa|*", None, None, None,
    ]  # fmt: skip
    assert found[1]["reason"] == "the response is empty"
    assert found[2]["reason"] == "only 5 humans in `fr|*|*|*`"
    assert found[3]["reason"].startswith('target "nonsense" has 1 parts')


def test_responses_alone_are_found_by_their_name(reference: Reference, table: pa.Table, tmp_path: Path) -> None:
    ours = {"id": "a", "prompt": "So?", "completion": "Yes.", "bucket": QA}
    wanted = reference.score_files(write_jsonl(tmp_path / "ours.jsonl", [ours]))
    assert "response_field" not in wanted["tally"]
    for name in ("response", "prediction", "generated_text", "output"):
        # Beside a model's text, `completion` is the human's.
        for human in ({}, {"completion": "A human said so."}):
            model = {"id": "a", "prompt": "So?", **human, name: "Yes.", "bucket": QA}
            path = write_jsonl(tmp_path / "model.jsonl", [model])
            report = reference.score_files(path)
            assert report["tally"].pop("response_field") == name
            assert report["buckets"] == wanted["buckets"]
    alone = write_jsonl(tmp_path / "alone.jsonl", [{"id": "a", "response": "Yes.", "bucket": QA}])
    assert reference.score_files(alone)["scored"] == 1
    named = reference.score_files(alone, fields={"response": "response"})
    assert "response_field" not in named["tally"]


def test_humans_are_found_by_the_name_of_responses(table: pa.Table, tmp_path: Path) -> None:
    rows = table.to_pylist()
    ours = write_jsonl(tmp_path / "ours.jsonl", rows)
    renamed = [{**row, "response": row["completion"]} for row in rows]
    for row in renamed:
        del row["completion"]
    # A corpus that has the shape's own field keeps to it.
    beside = [{**row, "output": "Another."} for row in rows]
    wanted = Reference.build(ours)
    assert Reference.build(write_jsonl(tmp_path / "renamed.jsonl", renamed)) == wanted
    assert Reference.build(write_jsonl(tmp_path / "beside.jsonl", beside)) == wanted


def test_buckets_are_joined_by_id(reference: Reference, tmp_path: Path) -> None:
    human = [
        {"id": "x", "prompt": "So?", "completion": "Yes we do.", "language": "en", "family": "qa"},
        {"id": "y", "prompt": "So?", "completion": "Yes " * 30, "language": "en", "family": "qa"},
        {"id": "z", "prompt": "So?", "completion": "Yes.", "language": "en", "family": "qa"},
        {"id": "z", "prompt": "So?", "completion": "Yes " * 30, "language": "en", "family": "qa"},
    ]
    bucketer = Bucketer(humans.SCHEMA)
    bucketer.bucket_files(write_jsonl(tmp_path / "human.jsonl", human), tmp_path / "human")
    answers = [
        {"id": name, "prompt": "So?", "completion": "We do.", "language": "en", "family": "story"} for name in "xyzw"
    ]
    answers[0]["bucket"] = "en|single|qa|long"
    path = write_jsonl(tmp_path / "a.jsonl", answers)
    for join in (tmp_path / "human", str(tmp_path / "human"), [tmp_path / "human"]):
        adds_up(reference.score_files(path, tmp_path / "out.jsonl", join=join, overwrite=True))
        buckets = [line["bucket"] for line in lines(tmp_path / "out.jsonl")]
        # Its own, the human's, and, where none or several have the id, that of the record over all lengths.
        assert buckets == ["en|single|qa|long", "en|single|qa|long", "en|single|story|*", "en|single|story|*"]
    with pytest.raises(ValueError, match="human"):
        reference.score_files(path, join=tmp_path / "human.jsonl")


def test_own_lengths(reference: Reference, tmp_path: Path) -> None:
    texts = {"short": "We do.", "medium": "we " * 15, "long": "we " * 50, "xlong": "we " * 90}
    records = [
        {"prompt": "So?", "completion": text, "bucket": QA, "language": "en", "family": "qa"} for text in texts.values()
    ]
    path = write_jsonl(tmp_path / "a.jsonl", records)
    reference.score_files(path, tmp_path / "out.jsonl", own_length=True)
    assert [line["bucket"] for line in lines(tmp_path / "out.jsonl")] == [f"en|single|qa|{length}" for length in texts]


def test_own_lengths_in_tokens_need_the_tokenizer(table: pa.Table, tokenizer_file: Path, tmp_path: Path) -> None:
    plain = write_jsonl(tmp_path / "plain.jsonl", humans.records())
    Bucketer(BucketSchema(length_edges=(20, 60, 200)), tokenizer_file).bucket_files(plain, tmp_path / "folder")
    reference = Reference.build(tmp_path / "folder")
    with pytest.raises(ValueError, match="tokenizer"):
        reference.score_files(plain, own_length=True)
    other = TokenCounter(small_tokenizers.build("gpt2"))
    with pytest.raises(ValueError, match="tokenizer"):
        reference.score_files(plain, own_length=True, tokenizer=other)
    counter = TokenCounter(tokenizer_file)
    reference.score_files(plain, tmp_path / "out.jsonl", own_length=True, tokenizer=tokenizer_file)
    for line, record in zip(lines(tmp_path / "out.jsonl"), humans.records(), strict=True):
        tokens = counter.count(record["completion"][0]["content"])
        bins = ["short"] * 21 + ["medium"] * 40 + ["long"] * 140
        assert line["bucket"].rsplit("|", 1)[1] == (bins[tokens] if tokens <= 200 else "xlong")
    # Without own lengths none is needed.
    assert reference.score_files(plain)["scored"] > 300


# Outputs


def test_standard_input_and_output(reference: Reference, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    reference.save(tmp_path / "human.safetensors")
    path = write_jsonl(tmp_path / "a.jsonl", rows[:40])
    code = "import polyalign, sys; polyalign.Reference.load(sys.argv[1]).score_files('-', '-')"
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "human.safetensors")],
        input=path.read_text("utf-8"),
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=clean_environment(PYTHONPATH=":".join(sys.path)),
        check=True,
    )
    reference.score_files(path, tmp_path / "out.jsonl")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [{**line, "file": "a.jsonl"} for line in found] == lines(tmp_path / "out.jsonl")


def test_an_output_that_exists_stays(reference: Reference, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", rows[:5])
    (tmp_path / "out.jsonl").write_text("mine")
    with pytest.raises(OSError, match=r"out\.jsonl: exists already"):
        reference.score_files(path, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "mine"
    reference.score_files(path, tmp_path / "out.jsonl", overwrite=True)
    assert len(lines(tmp_path / "out.jsonl")) == 5


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("out.csv", {}, (OSError, "out.csv: name a .jsonl or .parquet file, or - for standard output")),
        ("no/out.jsonl", {}, (FileNotFoundError, "out.jsonl: there is no folder")),
        ("folder.jsonl", {"overwrite": True}, (IsADirectoryError, "Is a directory")),
        ("folder.parquet", {"overwrite": True}, (IsADirectoryError, "Is a directory")),
        ("out.jsonl", {"support": (0.9, 0.1)}, (ValueError, "a band from quantile 0.9 to 0.1")),
        ("out.jsonl", {"min_count": -1}, (ValueError, "min_count is -1")),
        ("out.jsonl", {"explain": -1}, (ValueError, "explain is -1")),
        ("out.jsonl", {"join": ["nowhere"]}, (FileNotFoundError, "nowhere")),
        (
            "out.jsonl",
            {"shape": "other"},
            (ValueError, "shape is 'other': it must be one of messages, prompt_completion"),
        ),
        ("out.jsonl", {"fields": {"nope": "x"}}, (ValueError, "fields: 'nope' is not one of")),
    ],
)
def test_what_fails_leaves_nothing_behind(
    reference: Reference, tmp_path: Path, name: str, options: dict[str, Any], error: tuple[type[Exception], str]
) -> None:
    kind, message = error
    for folder in ("folder.jsonl", "folder.parquet"):
        (tmp_path / folder).mkdir()
    path = write_jsonl(tmp_path / "a.jsonl", [{"completion": "Yes.", "bucket": QA}])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(kind) as raised:
        reference.score_files(path, tmp_path / name, **options)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_inputs_that_are_not_there(reference: Reference, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jsonl"):
        reference.score_files(tmp_path / "nowhere.jsonl", tmp_path / "out.jsonl")
    with pytest.raises(ValueError, match="no input given"):
        reference.score_files([], tmp_path / "out.jsonl")
    assert not list(tmp_path.iterdir())


def test_raising_in_progress_stops_it(reference: Reference, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", rows * 100)
    calls: list[tuple[int, int, int]] = []

    def on_progress(*at: int) -> None:
        calls.append(at)  # type: ignore[arg-type]
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        reference.score_files(path, tmp_path / "out.jsonl", threads=1, progress=on_progress)
    assert calls[0][1] == path.stat().st_size
    assert list(tmp_path.iterdir()) == [path]


def test_a_limit(reference: Reference, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    report = reference.score_files(write_jsonl(tmp_path / "a.jsonl", rows), tmp_path / "out.jsonl", limit=7)
    assert report["tally"]["rows"] == len(lines(tmp_path / "out.jsonl")) == 7
