"""`scoring`: responses of files by a reference and a critic beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import humans
from conftest import Cli, clean_environment, write_jsonl
from polyalign import Bucketer, BucketSchema, Reference, critics, scoring

QA = "en|single|qa|short"


@pytest.fixture(scope="module")
def reference() -> Reference:
    return humans.reference()


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, Any]]:
    """Records with a bucket, beside some that can't be read, scored or asked about."""
    buckets = humans.table()["bucket"].to_pylist()
    found: list[Any] = [{**row, "bucket": bucket} for row, bucket in zip(humans.records(), buckets, strict=True)][:90]
    found[3]["completion"] = None
    found[5]["completion"] = [{"role": "assistant", "content": "<think>Hm.</think>"}]
    found[7]["bucket"] = "nonsense"
    found[9]["prompt"] = "Why?"
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_critic_stands_beside_the_distance(reference: Reference, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    with path.open("a", encoding="utf-8") as file:
        file.write("{no json\n" + json.dumps(rows[0]) + "\n")
    critics.SupportCritic(reference).save(tmp_path / "critic")
    report = scoring.score_files(reference, tmp_path / "critic", path, tmp_path / "out.jsonl", explain=2)
    plain = reference.score_files(path, tmp_path / "plain.jsonl", explain=2)
    found, wanted = lines(tmp_path / "out.jsonl"), lines(tmp_path / "plain.jsonl")
    assert [{k: v for k, v in line.items() if not k.startswith("critic")} for line in found] == wanted
    assert len(found) == 92
    for line in found:
        if line["distance"] is not None:
            assert (line["critic"], line["critic_percentile"]) == (line["distance"], line["percentile"])
    # What can't be measured is the furthest; what nobody can be asked about has no score.
    assert (found[5]["distance"], found[5]["critic"], found[5]["critic_percentile"]) == (None, 5.0, 1.0)
    assert [found[at]["critic"] for at in (3, 7, 90)] == [None] * 3
    assert found[91]["critic"] == found[0]["critic"]
    known = [line["critic"] for line in found if line["critic"] is not None]
    assert report["critic"]["scored"] == len(known)
    assert report["critic"]["unscored"] == 92 - len(known) >= 3
    assert report["critic"]["mean"] == pytest.approx(np.mean(known))
    by_bucket = defaultdict(list)
    for line in found:
        if line["critic"] is not None:
            by_bucket[line["bucket"]].append((line["critic"], line["critic_percentile"]))
    for bucket, told in report["buckets"].items():
        assert told["critic_scored"] == len(by_bucket[bucket])
        means = np.mean(by_bucket[bucket], axis=0) if by_bucket[bucket] else (None, None)
        assert (told["mean_critic"], told["mean_critic_percentile"]) == (
            (None, None) if means[0] is None else pytest.approx(tuple(means))
        )
        assert {name: told[name] for name in plain["buckets"][bucket]} == plain["buckets"][bucket]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "critic", "out.jsonl", "plain.jsonl"]


def test_scores_without_a_percentile_spoil_no_mean(
    reference: Reference, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    class Half(humans.Listener):
        def percentile(self, responses: Any, buckets: Any, prompts: Any = None) -> Any:
            return np.where(np.arange(len(responses)) % 2, 0.5, np.nan)

    report = scoring.score_files(reference, Half(), write_jsonl(tmp_path / "a.jsonl", rows))
    assert report["critic"]["mean_percentile"] == 0.5


def test_parquet_has_what_lines_have(
    reference: Reference, rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    critic = critics.SupportCritic(reference)
    report = scoring.score_files(reference, critic, path, tmp_path / "out.jsonl")
    monkeypatch.setattr(scoring, "_BATCH", 7)
    again = scoring.score_files(reference, critic, path, tmp_path / "out.parquet")
    assert {**again, "output": None} == {**report, "output": None}
    table = pq.read_table(tmp_path / "out.parquet")
    assert [{k: v for k, v in row.items() if k != "outside"} for row in table.to_pylist()] == [
        {
            **line,
            **{
                k: None if line[k] is None else pytest.approx(line[k], rel=1e-6)
                for k in line
                if "c" in k and k not in ("bucket", "reason", "served_by")
            },
        }
        for line in lines(tmp_path / "out.jsonl")
    ]
    scoring.score_files(reference, critic, path, tmp_path / "small.jsonl")
    assert (tmp_path / "small.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()


def test_the_critic_is_told_what_was_asked(reference: Reference, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    for row in rows:
        row.pop("completion") if row["completion"] is None else row
    critic = humans.Listener()
    report = scoring.score_files(reference, critic, write_jsonl(tmp_path / "a.jsonl", rows))
    kept = [row for at, row in enumerate(rows) if at not in (3, 7)]
    wanted = [
        ("" if row is rows[5] else row["completion"][0]["content"], row["bucket"], _messages(row["prompt"]))
        for row in kept
    ]
    nonsense = ("nonsense", rows[7]["completion"][0]["content"])
    assert [heard for heard in critic.heard if heard[1] != nonsense[0]] == wanted
    assert "mean_percentile" not in report["critic"]
    assert report["output"] is None
    # Samples without a prompt are asked about without one.
    critic = humans.Listener()
    samples = [{"id": row["id"], "response": "Model.", "bucket": QA} for row in rows]
    scoring.score_files(reference, critic, write_jsonl(tmp_path / "b.jsonl", samples), fields={"language": "x"})
    assert critic.heard == [("Model.", QA, None)] * len(rows)


def _messages(prompt: Any) -> Any:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


@pytest.mark.parametrize("test_share", [0.0, 0.3])
def test_bucketed_folders(reference: Reference, tmp_path: Path, test_share: float) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", list(humans.records()))
    Bucketer(humans.SCHEMA).bucket_files(rows, tmp_path / "bucketed", test_share=test_share)
    report = scoring.score_files(
        reference, critics.SupportCritic(reference), tmp_path / "bucketed", tmp_path / "o.jsonl"
    )
    found = lines(tmp_path / "o.jsonl")
    assert report["critic"]["scored"] >= report["scored"] > 100
    assert all(line["critic"] == line["distance"] for line in found if line["distance"] is not None)


def test_what_is_piped_is_read_twice(reference: Reference, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    reference.save(tmp_path / "human.safetensors")
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    code = "import sys; from polyalign import scoring; scoring.score_files(sys.argv[1], sys.argv[1], '-', '-')"
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "human.safetensors")],
        input=path.read_bytes(),
        capture_output=True,
        env=clean_environment(PYTHONPATH=":".join(sys.path)),
        check=True,
    )
    scoring.score_files(reference, tmp_path / "human.safetensors", path, tmp_path / "out.jsonl")
    found = [json.loads(line) for line in result.stdout.decode().splitlines()]
    assert [{**line, "file": "a.jsonl"} for line in found] == lines(tmp_path / "out.jsonl")


def test_what_is_wrong_leaves_nothing(reference: Reference, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    (tmp_path / "mine.jsonl").write_text("mine")
    constant, other = humans.Listener(), humans.Listener()
    constant.score = lambda responses, buckets, prompts=None: np.ones(len(responses))  # type: ignore[method-assign]
    other.schema = BucketSchema(length_unit="words", length_edges=(3, 7))  # type: ignore[attr-defined]
    for critic, output, message in (
        (constant, "out.jsonl", "Listener has collapsed"),
        (other, "out.jsonl", r"critic Listener: bucketed with length_edges \[3,7\], the reference with \[8,20,60\]"),
        (humans.Listener(), "mine.jsonl", "exists already"),
        (humans.Listener(), "out.txt", "out.txt"),
        (tmp_path / "none.safetensors", "out.jsonl", "none.safetensors"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            scoring.score_files(reference, critic, path, tmp_path / output)
    with pytest.raises(TypeError, match="critic is None"):
        scoring.score_files(reference, None, path)  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "mine.jsonl"]
    assert (tmp_path / "mine.jsonl").read_text() == "mine"


def test_the_command(cli: Cli, reference: Reference, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    reference.save(tmp_path / "human.safetensors")
    critics.SupportCritic(reference).save(tmp_path / "critic")
    write_jsonl(tmp_path / "a.jsonl", rows)
    given = ("score", "a.jsonl", "--reference", "human.safetensors", "--critic", "critic", "--max-rejects", "1")
    result = cli(*given, "--out", "out.jsonl")
    assert result.returncode == 0, result.stderr
    said = " ".join(result.stdout.split())
    assert "SupportCritic: " in said
    assert " critic served by " in said or " critic " in said
    assert "rows have no score of SupportCritic" in said
    assert "critic_percentile" in lines(tmp_path / "out.jsonl")[0]
    report = json.loads(cli(*given, "--json").stdout)
    assert set(report["critic"]) == {"name", "scored", "unscored", "mean", "mean_percentile"}
    none = cli(*given[:-4], "--critic", "nothing/")
    assert (none.returncode, none.stderr.count("\n")) == (1, 1)
