"""Which of several samples of a record are its pair: the first, the furthest, DivPO's."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import humans
from conftest import Cli, write_jsonl
from polyalign import Bucketer, pairs
from polyalign.pairs import _select

QA = "en|single|qa|short"
WORDS = ("tea", "Tea", "sun", "cat")


class Lengths:
    """Length is the score, a tenth of it the percentile; a response with a ? can't be scored."""

    def score(self, responses: Sequence[str], buckets: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.array([math.nan if "?" in text else len(text) for text in responses], dtype=np.float32)

    def percentile(self, responses: Sequence[str], buckets: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.minimum(self.score(responses, buckets) / 10, 1)


class Uncalibrated:
    score = Lengths.score


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows))


def record(identity: str, completion: str = "Human.", bucket: str = QA) -> dict[str, Any]:
    return {"id": identity, "bucket": bucket, "prompt": "Why?", "completion": completion}


def samples(**texts: Sequence[str]) -> pa.Table:
    return table(*({"id": name, "response": text} for name, several in texts.items() for text in several))


def made(records: pa.Table, of: pa.Table, **given: Any) -> tuple[list[tuple[str, str, str]], pairs.Report]:
    found, report = pairs.from_samples(records, of, **given)
    assert report.rows == report.pairs + report.skipped
    assert report.skipped == sum(report.skipped_by_kind.values())
    assert {skip["kind"] for skip in report.first_skips} == set(report.skipped_by_kind)
    return [(row["id"], row["chosen"], row["rejected"]) for row in found.to_pylist()], report


def test_the_first_that_is_a_pair() -> None:
    given = table(record("a"), record("b"), record("c")), samples(b=["Human.", "bb", "b"], a=["a", "aaa"])
    rows, report = made(*given, select="first")
    assert rows == [("a", "Human.", "a"), ("b", "Human.", "bb")]
    assert report.skipped_by_kind == {"not_selected": 2, "exact_match": 1, "no_sample": 1}
    assert report.faults()["rejected"] == 0
    assert report.selection == {"select": "first", "records": 2}
    assert "selected: first of the samples of 2 records" in str(report)
    assert "pair_type" not in pairs.from_samples(*given, select="first").table.column_names


def test_the_furthest() -> None:
    given = table(record("a"), record("b"), record("c")), samples(a=["a", "aaa", "aa"], b=["xx", "yy"], c=["c?", "c"])
    rows, report = made(*given, select="furthest", critic=Lengths())
    assert rows == [("a", "Human.", "aaa"), ("b", "Human.", "xx"), ("c", "Human.", "c")]
    assert report.skipped_by_kind == {"not_selected": 3, "no_score": 1}
    assert report.selection == {"select": "furthest", "records": 3, "single": 1, "tied": 1}
    line = "selected: furthest of the samples of 3 records; 1 had one alone; 1 choice among equals, of which the first"
    assert line in str(report)
    found = pairs.from_samples(*given, select="furthest", critic=Lengths()).table
    assert found["rejected_score"].to_pylist() == [3, 2, 1]
    assert found["pair_type"].to_pylist() == ["local"] * 3


def test_divpo() -> None:
    """Of the bad ones (over nine letters) the most like the others, of the good ones and the human the least."""
    own = samples(a=["tea tea tea", "tea tea tea sun", "cat dog sun moon", "sea", "tea"], b=["tea", "tea tea"])
    given = table(record("a", "tea tea tea tea"), record("b")), own
    rows, report = made(*given, select="divpo", critic=Lengths())
    assert rows == [("a", "sea", "tea tea tea")]
    assert report.skipped_by_kind == {"not_selected": 3, "none_bad": 2, "chosen_sample": 1}
    told = {"select": "divpo", "records": 2, "single": 0, "tied": 0, "threshold": [0.5, 0.9], "samples_chosen": 1}
    assert report.selection == told
    assert "1 chosen responses are samples" in str(report)
    found = pairs.from_samples(*given, select="divpo", critic=Lengths()).table
    assert (found["chosen_score"].to_pylist(), found["rejected_score"].to_pylist()) == ([3], [11])
    assert found["pair_type"].to_pylist() == ["distribution"]
    rows, _ = made(*given, select="divpo", critic=Lengths(), threshold=(0.1, 0.4))
    assert rows == [("a", "tea tea tea tea", "tea tea tea"), ("b", "Human.", "tea tea")], "the human is always good"


def test_words_of_languages_without_spaces_count() -> None:
    one, other, third = _select._grams(["我们去公园散步", "我们去公园吃饭", "!!!"], ["zh", "zh", "zh"])
    assert len(one & other) > 2
    assert _select._diversity([one, other, third])[2] == 1
    assert _select._diversity([third, third]) == [0, 0]


def slow_grams(text: str) -> set[tuple[str, ...]]:
    words = text.lower().split()
    return {tuple(words[at : at + size]) for size in (1, 2) for at in range(len(words) - size + 1)}


def slow_distance(one: str, other: str) -> float:
    a, b = slow_grams(one), slow_grams(other)
    return 1 - len(a & b) / len(a | b) if a | b else 0.0


def slow_divpo(human: str, own: list[str], good: float, bad: float) -> tuple[str, str] | None:
    """The chosen and the rejected response."""
    pool = [human, *own]
    diversity = [
        round(math.fsum(slow_distance(text, other) for other in [*pool[:at], *pool[at + 1 :]]) / len(own), 9)
        for at, text in enumerate(pool)
    ]
    lengths = list(map(len, pool))
    worst = [at for at in range(1, len(pool)) if lengths[at] / 10 > bad]
    best = [0, *(at for at in range(1, len(pool)) if lengths[at] / 10 <= good)]
    if not worst:
        return None
    return pool[max(best, key=diversity.__getitem__)], pool[min(worst, key=diversity.__getitem__)]


SAID = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(SAID, st.lists(SAID, max_size=5)), min_size=1, max_size=5), st.sampled_from([0.35, 0.75]))
def test_selected_is_what_is_found_the_slow_way(data: list[tuple[str, list[str]]], threshold: float) -> None:
    own = {str(at): [text for text in several if text != human] for at, (human, several) in enumerate(data)}
    people = {str(at): human for at, (human, _) in enumerate(data)}
    if max(map(len, own.values())) < 2:
        return
    given = table(*(record(*each) for each in people.items())), samples(**own)
    rows, report = made(*given, select="furthest", critic=Lengths())
    assert rows == [(name, people[name], max(several, key=len)) for name, several in own.items() if several]
    assert report.selection is not None
    longest = [Counter(map(len, several))[max(map(len, several))] for several in own.values() if several]
    assert report.selection["tied"] == sum(times > 1 for times in longest)
    wanted = [
        (name, slow_divpo(people[name], several, threshold, threshold)) for name, several in own.items() if several
    ]
    pairs_wanted = [(name, *pair) for name, pair in wanted if pair]
    if pairs_wanted:
        assert made(*given, select="divpo", critic=Lengths(), threshold=(threshold, threshold))[0] == pairs_wanted
    else:
        with pytest.raises(ValueError, match=r"no pairs: .*for none_bad"):
            made(*given, select="divpo", critic=Lengths(), threshold=(threshold, threshold))


@pytest.mark.parametrize("select", ["furthest", "divpo"])
def test_what_is_missing_is_said(select: Any) -> None:
    records, several, single = table(record("a")), samples(a=["a", "bb"]), samples(a=["a"])
    for of, critic, message in (
        (several, None, f"select '{select}' asks how far samples are from humans: give a reference or a critic"),
        (single, Lengths(), f"select '{select}' chooses among the samples of a record, and none has more than one"),
    ):
        with pytest.raises(ValueError, match=message):
            pairs.from_samples(records, of, select=select, critic=critic)
    with pytest.raises(ValueError, match="no pairs: 2 for unknown_id"):
        pairs.from_samples(records, samples(z=["a", "bb"]), select=select, critic=Lengths())
    with pytest.raises(ValueError, match="no pairs: 2 for no_score"):
        pairs.from_samples(records, samples(a=["a?", "bb?"]), select=select, critic=Lengths())


def test_settings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    records, several = table(record("a")), samples(a=["a", "bb"])
    with pytest.raises(ValueError, match="Uncalibrated has no method percentile"):
        pairs.from_samples(records, several, select="divpo", critic=Uncalibrated())
    with pytest.raises(ValueError, match="select is 'best': it must be one of all, first, furthest, divpo"):
        pairs.from_samples(records, several, select="best")  # type: ignore[arg-type]
    for threshold in ((0.9, 0.5), (-0.1, 0.5), (0.5, 1.0), (math.nan, 0.5)):
        with pytest.raises(ValueError, match="it must be two percentiles, rising"):
            pairs.from_samples(records, several, select="divpo", critic=Lengths(), threshold=threshold)
    preferences = table({"bucket": QA, "prompt": "Why?", "chosen": "So.", "rejected": "No."})
    with pytest.raises(ValueError, match="select 'first' is of samples, and these are preferences"):
        pairs.pair_files(preferences, tmp_path / "pairs", select="first")
    assert list(tmp_path.iterdir()) == []


def test_names_of_types_go_along_and_unknown_ones_are_refused() -> None:
    row = {"bucket": QA, "prompt": "Why?", "chosen": "So.", "rejected": "No."}
    named = table({**row, "pair_type": "local"}, {**row, "pair_type": None})
    assert pairs.from_preferences(named).table["pair_type"].to_pylist() == ["local", None]
    with pytest.raises(ValueError, match="pair_type: 'globl' at 1: it must be a number, or one of global, local, dist"):
        pairs.from_preferences(table({**row, "pair_type": "local"}, {**row, "pair_type": "globl"}))


def test_the_command(cli: Cli, tmp_path: Path) -> None:
    records = humans.records()
    write_jsonl(tmp_path / "records.jsonl", records)
    Bucketer(humans.SCHEMA).bucket_files(
        tmp_path / "records.jsonl", tmp_path / "bucketed", reference=tmp_path / "human.safetensors"
    )
    texts = [row["completion"][0]["content"] for row in records]
    rows = [
        {"id": row["id"], "response": (texts[at - 1], "As an AI, I cannot say !!!", texts[at - 2])[sample]}
        for at, row in enumerate(records)
        for sample in range(3)
    ]
    write_jsonl(tmp_path / "samples.jsonl", rows)
    command = ["pairs", "bucketed", "-s", "samples.jsonl", "--max-rejects", "1", "--overwrite", "-o", "pairs"]
    asked = ["--reference", "human.safetensors"]
    for select, name in (("furthest", "local"), ("divpo", "distribution")):
        result = cli(*command, *asked, "--select", select)
        assert result.returncode == 0, result.stderr
        assert f"selected: {select} of the samples of " in result.stdout
        assert set(pq.read_table(tmp_path / "pairs" / "data")["pair_type"].to_pylist()) == {name}
        assert json.loads((tmp_path / "pairs" / "manifest.json").read_text())["selection"]["select"] == select
    first = (tmp_path / "pairs" / "data" / "train-00000.parquet").read_bytes()
    cli(*command, *asked, "--select", "divpo", "--threads", "3")
    assert (tmp_path / "pairs" / "data" / "train-00000.parquet").read_bytes() == first
    for arguments, code, message in (
        ([*command, "--select", "furthest"], 1, "give a reference or a critic"),
        ([*command, *asked, "--threshold", "half"], 2, "'half' is not two percentiles such as 0.5,0.9"),
        ([*command, *asked, "--select", "best"], 2, "'best' is not one of"),
        ([*command, *asked, "--select", "divpo", "--threshold", "0.9,0.5"], 1, "must be two percentiles, rising"),
    ):
        result = cli(*arguments)
        assert (result.returncode, result.stdout) == (code, ""), result.stderr
        (line,) = result.stderr.splitlines()
        assert message in line
