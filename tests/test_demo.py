"""The demo: a corpus, its buckets, their reference, scores."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import Cli
from polyalign import demo


def test_demo_makes_what_it_says(cli: Cli, tmp_path: Path) -> None:
    result = cli("demo", "--out", "shown")
    assert result.returncode == 0, result.stderr
    made = "corpus.jsonl tokenizer.json bucketed lengths.png human.safetensors answers.jsonl reference.html"
    for name in made.split():
        assert f"shown/{name}" in result.stdout
        assert (tmp_path / "shown" / name).exists()
    assert (tmp_path / "shown" / "lengths.png").read_bytes().startswith(b"\x89PNG")
    records = [json.loads(line) for line in (tmp_path / "shown" / "corpus.jsonl").read_text("utf-8").splitlines()]
    assert len(records) > 500
    assert {record["language"] for record in records} == {"en", "zh"}
    buckets = json.loads(cli("show", "shown/bucketed", "--json").stdout)
    assert sum(bucket["rows"] for bucket in buckets) == len(records)
    assert {bucket["parts"]["track"] for bucket in buckets} == {"single", "multi"}
    assert {bucket["parts"]["family"] for bucket in buckets} == {"assistant", "code", "dialogue", "qa"}

    score = cli("score", "shown/answers.jsonl", "--reference", "shown/human.safetensors", "-o", "scores.jsonl")
    assert score.returncode == 0, score.stderr
    scores = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text("utf-8").splitlines()]
    assert {line["bucket"].split("|")[0] for line in scores} == {"en", "zh"}
    for human, assistant in zip(scores[::2], scores[1::2], strict=True):
        assert human["bucket"] == human["served_by"] == assistant["bucket"]
        assert human["percentile"] < 0.95 < assistant["percentile"]
        assert f"{human['distance']:.3f}" in result.stdout
        assert f"{assistant['distance']:.3f}" in result.stdout


def test_demo_can_be_repeated(tmp_path: Path) -> None:
    first = demo.run_demo(tmp_path / "demo")
    files = {path: path.read_bytes() for path in sorted((tmp_path / "demo").rglob("*")) if path.is_file()}
    assert demo.run_demo(tmp_path / "demo") == first
    assert {path: path.read_bytes() for path in files} == files


def test_dialogues_and_lists_of_answers() -> None:
    turns = ["Hi", "Hello", "How are you?", "Fine"]
    dialogue = list(demo._interactions(turns, is_dialogue=True))
    assert [len(messages) for messages in dialogue] == [2, 4]
    assert dialogue[1][-1] == {"role": "assistant", "content": "Fine"}
    answers = list(demo._interactions(["Who?", "A", "Who?", "B"], is_dialogue=False))
    assert [messages[1]["content"] for messages in answers] == ["A", "B"]
