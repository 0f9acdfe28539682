"""Pipes given by name, to every command that reads files: opened once, read once, nothing lost."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import humans
from conftest import Cli, write_jsonl
from polyalign import Reference
from polyalign.reference import example_table

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")


@pytest.fixture
def piped(tmp_path: Path) -> Callable[[Path], Path]:
    """Make a named pipe that a file comes through."""

    def make(file: Path) -> Path:
        pipe = tmp_path / f"pipe-{len(list(tmp_path.iterdir()))}"
        os.mkfifo(pipe)
        threading.Thread(target=lambda: pipe.write_bytes(file.read_bytes()), daemon=True).start()
        return pipe

    return make


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Records of some 2 MB, more than any look at a file takes."""
    records = [
        {"id": f"r{at}", "prompt": f"Question {at}?", "completion": "An answer. " * (at % 40 + 1), "bucket": QA}
        for at in range(8000)
    ]
    return write_jsonl(tmp_path / "answers.jsonl", records)


QA = "en|single|qa|short"


def told(cli: Cli, *arguments: object) -> Any:
    result = cli(*arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_commands_read_all_of_a_pipe(
    cli: Cli, piped: Callable[[Path], Path], answers: Path, tmp_path: Path, tokenizer_file: Path
) -> None:
    reference = tmp_path / "reference.safetensors"
    Reference.from_arrow(example_table()).save(reference)
    commands: list[tuple[Callable[[Path], tuple[object, ...]], Callable[[Any], Any]]] = [
        (lambda file: ("bucket", file, "--dry-run"), lambda report: (report["rows"], report["buckets"])),
        (
            lambda file: ("bucket", file, "--dry-run", "--length-edges", "auto"),
            lambda report: (report["rows"], report["buckets"]),
        ),
        (lambda file: ("count", file, "-t", tokenizer_file), lambda report: report["total"]),
        (lambda file: ("score", file, "-r", reference), lambda report: (report["tally"]["rows"], report["buckets"])),
        (
            lambda file: ("reference", "build", file, "-o", tmp_path / "made.safetensors", "--overwrite"),
            lambda report: (report["tally"]["rows"], report["rows"]),
        ),
    ]
    for command, of in commands:
        whole = of(told(cli, *command(answers)))
        assert "8000" in json.dumps(whole)
        assert of(told(cli, *command(piped(answers)))) == whole


def test_a_file_in_a_pipe_is_scored_and_written(
    cli: Cli, piped: Callable[[Path], Path], answers: Path, tmp_path: Path
) -> None:
    told(cli, "bucket", answers, "--out", tmp_path / "whole")
    told(cli, "bucket", piped(answers), "--out", tmp_path / "piped")
    counts = [
        json.loads((tmp_path / name / "manifest.json").read_text("utf-8"))["counts"] for name in ("whole", "piped")
    ]
    assert counts[0] == counts[1]


def test_pairs_read_a_pipe_once_or_say_what_to_do(cli: Cli, piped: Callable[[Path], Path], tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "humans.jsonl", humans.records())
    told(cli, "bucket", corpus, "--out", "bucketed")
    samples = [{"id": record["id"], "response": "A sample of a model, of some words."} for record in humans.records()]
    file = write_jsonl(tmp_path / "samples.jsonl", samples)
    command = ("pairs", "bucketed", "--out", "pairs", "--overwrite", "--samples")
    for named in ((), ("--response-field", "response")):
        assert told(cli, *command, piped(file), *named)["samples"] == len(samples)
    result = cli("pairs", piped(file), "--out", "other")
    assert result.returncode == 1
    assert "save it as a file" in result.stderr


def test_count_goes_through_no_links_that_lead_back(cli: Cli, tmp_path: Path, tokenizer_file: Path) -> None:
    folder = tmp_path / "texts"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.txt", "deep/b.txt"):
        (folder / name).write_text("some words", "utf-8")
    for name in ("self", "me", "deep/up"):
        (folder / name).symlink_to(folder)
    for pattern in (folder / "**/*.txt", "texts/**/*.txt"):
        files = told(cli, "count", pattern, "-t", tokenizer_file)["files"]
        assert [Path(file["file"]).name for file in files] == ["a.txt", "b.txt"]
