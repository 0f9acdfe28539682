"""Outputs of every command: whole or not there, made by one job, in the place of nothing but what is to be replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import humans
from conftest import Cli, clean_environment, write_jsonl
from polyalign import Bucketer, Reference
from polyalign._io.output import publishing
from polyalign.pairs import pair_files

resource = pytest.importorskip("resource")

THESIS = "my only copy"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bucketed corpus, its reference, and samples."""
    folder = tmp_path_factory.mktemp("outputs")
    records = list(humans.records())
    write_jsonl(folder / "corpus.jsonl", records)
    Bucketer(humans.SCHEMA).bucket_files(
        folder / "corpus.jsonl", folder / "bucketed", reference=folder / "human.safetensors"
    )
    write_jsonl(folder / "samples.jsonl", [{"id": r["id"], "response": f"Sample of {r['id']}."} for r in records])
    return folder


@pytest.fixture(scope="module")
def reference(place: Path) -> Reference:
    return Reference.load(place / "human.safetensors")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def one_line(text: str) -> str:
    (line,) = text.splitlines()
    return line


def commands(place: Path) -> dict[str, list[str]]:
    """Each command that makes something, by the name of what it makes."""
    human, bucketed = str(place / "human.safetensors"), str(place / "bucketed")
    return {
        "made": ["bucket", str(place / "corpus.jsonl"), "--out", "made"],
        "scores.jsonl": ["score", str(place / "corpus.jsonl"), "-r", human, "--out", "scores.jsonl"],
        "scores.parquet": ["score", str(place / "corpus.jsonl"), "-r", human, "--out", "scores.parquet"],
        "pairs": ["pairs", bucketed, "--samples", str(place / "samples.jsonl"), "--out", "pairs"],
        "built.safetensors": ["reference", "build", bucketed, "--out", "built.safetensors"],
        "merged.safetensors": ["reference", "merge", human, "--out", "merged.safetensors"],
        "page.html": ["reference", "show", human, "--html", "page.html"],
    }


MADE = sorted(commands(Path()))


def run_within(folder: Path, arguments: Sequence[str], most: int) -> subprocess.CompletedProcess[str]:
    """Run a command that can't write files larger than `most` bytes, as if the disk were full."""
    return subprocess.run(
        [sys.executable, "-m", "polyalign", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=folder,
        env=clean_environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", MADE)
def test_a_full_disk_is_told_with_the_name(place: Path, tmp_path: Path, cli: Cli, name: str) -> None:
    arguments = commands(place)[name]
    result = run_within(tmp_path, arguments, 1500)
    assert result.returncode == 1, result.stderr
    assert name in one_line(result.stderr)
    assert "File too large" in result.stderr
    assert not (tmp_path / name).exists()
    assert names(tmp_path) == (["made.partial"] if name == "made" else [])
    # With room, the same command makes it.
    assert cli(*arguments).returncode == 0
    assert names(tmp_path) == [name]


def test_a_disk_that_is_full_before_the_pairs_is_told_with_their_name(place: Path, tmp_path: Path) -> None:
    """The samples find room, and what pyarrow writes does not: its error names no file."""
    result = run_within(tmp_path, commands(place)["pairs"], 20_000)
    assert result.returncode == 1
    assert one_line(result.stderr) == "polyalign: pairs: File too large"
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [["features"], ["features", "--json"], ["count", "corpus.jsonl", "-t"]])
def test_a_full_standard_output_is_told(place: Path, tokenizer_file: Path, arguments: list[str]) -> None:
    if arguments[-1] == "-t":
        arguments = [*arguments, str(tokenizer_file)]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "polyalign", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=place,
            env=clean_environment(),
            check=False,
        )
    assert result.returncode == 1
    assert one_line(result.stderr) == "polyalign: standard output: No space left on device"


def test_a_disk_that_is_full_before_the_reference_loses_neither(place: Path, tmp_path: Path, cli: Cli) -> None:
    arguments = [*commands(place)["made"], "--reference", "made.safetensors"]
    assert cli(*arguments).returncode == 0
    made = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    largest = max(len(content) for name, content in made.items() if name != "made.safetensors")
    again = tmp_path / "again"
    again.mkdir()
    most = (largest + len(made["made.safetensors"])) // 2
    assert largest < most - 5000, "there is room for all but the reference"
    result = run_within(again, arguments, most)
    assert result.returncode == 1
    assert "made.safetensors" in one_line(result.stderr)
    assert names(again) == ["made.partial"]
    assert run_within(again, arguments, 1 << 40).returncode == 0
    assert {path.name: path.read_bytes() for path in again.rglob("*") if path.is_file()} == made


@pytest.mark.parametrize("name", MADE)
def test_what_a_kill_left_is_cleared(place: Path, tmp_path: Path, cli: Cli, name: str) -> None:
    partial = tmp_path / f"{name}.partial"
    (partial / "out").mkdir(parents=True)
    (partial / "out" / "half.parquet").write_text("half")
    (partial / "lock").touch()
    result = cli(*commands(place)[name])
    assert result.returncode == 0, result.stderr
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", [name for name in MADE if name != "page.html"])
def test_what_is_there_stays(place: Path, tmp_path: Path, cli: Cli, name: str) -> None:
    (tmp_path / name).write_text(THESIS)
    result = cli(*commands(place)[name])
    assert result.returncode == 1
    assert one_line(result.stderr).endswith("exists already; --overwrite replaces it")
    assert (tmp_path / name).read_text() == THESIS
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", ["made", "pairs"])
def test_an_empty_folder_is_fine(place: Path, tmp_path: Path, cli: Cli, name: str) -> None:
    (tmp_path / name).mkdir()
    assert cli(*commands(place)[name]).returncode == 0
    assert (tmp_path / name / "manifest.json").is_file()
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", ["made", "pairs"])
def test_folders_are_replaced_only_by_their_like(place: Path, tmp_path: Path, cli: Cli, name: str) -> None:
    arguments = [*commands(place)[name], "--overwrite"]
    assert cli(*arguments).returncode == 0
    assert cli(*arguments).returncode == 0
    (tmp_path / name / "notes.txt").write_text(THESIS)
    result = cli(*arguments)
    assert result.returncode == 1
    assert "(it holds notes.txt besides), so it is not replaced" in one_line(result.stderr)
    assert (tmp_path / name / "notes.txt").read_text() == THESIS
    (tmp_path / name / "notes.txt").unlink()
    other = {"made": "pairs", "pairs": "made"}[name]
    (tmp_path / name).rename(tmp_path / other)
    result = cli(*commands(place)[other], "--overwrite")
    assert "its manifest.json is of polyalign" in one_line(result.stderr)
    assert names(tmp_path) == [other]


def test_errors_have_their_kind(place: Path, tmp_path: Path, reference: Reference) -> None:
    (tmp_path / "out").write_text(THESIS)
    (tmp_path / "out.jsonl").write_text(THESIS)
    with pytest.raises(FileExistsError, match=r"out: exists already"):
        Bucketer(humans.SCHEMA).bucket_files(place / "corpus.jsonl", tmp_path / "out")
    with pytest.raises(FileExistsError, match=r"out\.jsonl: exists already"):
        reference.score_files(place / "corpus.jsonl", tmp_path / "out.jsonl")
    with pytest.raises(FileExistsError, match=r"human\.safetensors: exists already"):
        Bucketer(humans.SCHEMA).bucket_files(
            place / "corpus.jsonl", tmp_path / "new", reference=place / "human.safetensors"
        )
    assert names(tmp_path) == ["out", "out.jsonl"]


# Something happens while a job runs


class Slow:
    """A critic that lets something happen before it scores."""

    def __init__(self, happen: Callable[[], object]) -> None:
        self._happen = happen

    def score(self, responses: Sequence[str], buckets: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        self._happen()
        return np.arange(len(responses), dtype=np.float32)


def test_pairs_are_made_by_one_job(place: Path, tmp_path: Path) -> None:
    def make(critic: Slow | None = None) -> object:
        return pair_files(place / "bucketed", tmp_path / "pairs", samples=place / "samples.jsonl", critic=critic)

    def second() -> None:
        with pytest.raises(OSError, match="pairs: another process is writing this output"):
            make()

    make(Slow(second))
    assert names(tmp_path) == ["pairs"]


def test_what_appears_where_pairs_are_made_stays(place: Path, tmp_path: Path) -> None:
    def appear() -> None:
        (tmp_path / "pairs").mkdir(exist_ok=True)
        (tmp_path / "pairs" / "thesis.txt").write_text(THESIS)

    with pytest.raises(FileExistsError, match="pairs: appeared while the job ran") as raised:
        pair_files(place / "bucketed", tmp_path / "pairs", samples=place / "samples.jsonl", critic=Slow(appear))
    assert "\n" not in str(raised.value)
    assert names(tmp_path / "pairs") == ["thesis.txt"]
    assert names(tmp_path / "pairs.partial" / "out") == ["data", "manifest.json"]


@pytest.fixture(scope="module")
def many(place: Path) -> Path:
    """Enough to score for a while."""
    path = place / "many.jsonl"
    path.write_bytes((place / "corpus.jsonl").read_bytes() * 100)
    return path


@pytest.mark.parametrize("name", ["scores.jsonl", "scores.parquet"])
def test_scores_are_made_by_one_job(many: Path, tmp_path: Path, reference: Reference, name: str) -> None:
    refused = []

    def second(*_: int) -> None:
        if not refused:
            with pytest.raises(OSError, match=f"{name}: another process is writing this output"):
                reference.score_files(many, tmp_path / name, threads=1)
            refused.append(True)

    report = reference.score_files(many, tmp_path / name, threads=1, progress=second)
    assert refused
    assert report["tally"]["rows"] == 38_400
    assert names(tmp_path) == [name]


def test_what_appears_where_scores_are_made_stays(many: Path, tmp_path: Path, reference: Reference) -> None:
    path = tmp_path / "scores.jsonl"
    with pytest.raises(FileExistsError, match=r"scores\.jsonl: appeared while the job ran"):
        reference.score_files(many, path, threads=1, progress=lambda *_: path.write_text(THESIS))
    assert path.read_text() == THESIS
    assert len((tmp_path / "scores.jsonl.partial" / "out").read_text("utf-8").splitlines()) == 38_400
    reference.score_files(many, path, limit=5, overwrite=True)
    assert names(tmp_path) == ["scores.jsonl"]


def test_an_interrupted_scoring_leaves_nothing(many: Path, tmp_path: Path, reference: Reference) -> None:
    def stop(*_: int) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError):
        reference.score_files(many, tmp_path / "scores.jsonl", threads=1, progress=stop)
    deadline = time.monotonic() + 30
    while names(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert names(tmp_path) == []
    reference.score_files(many, tmp_path / "scores.jsonl", limit=5)


def test_a_reference_is_built_by_one_job(place: Path, tmp_path: Path, cli: Cli) -> None:
    arguments = ["reference", "build", "-", "--out", "human.safetensors"]
    process = subprocess.Popen(
        [sys.executable, "-m", "polyalign", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=clean_environment(),
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "human.safetensors.partial" / "lock").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    refused = cli("reference", "build", place / "bucketed", "--out", "human.safetensors")
    assert "human.safetensors: another process is writing this output" in one_line(refused.stderr)
    (tmp_path / "human.safetensors").write_text(THESIS)
    row = {"bucket": "en|single|qa|short", "prompt": "Why?", "completion": "So it is."}
    _, told = process.communicate("".join(json.dumps(row) + "\n" for _ in range(30)))
    assert process.returncode == 1
    assert "human.safetensors: appeared while the job ran" in one_line(told)
    assert (tmp_path / "human.safetensors").read_text() == THESIS


def test_many_writers_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    made = []

    def write(number: int) -> None:
        try:
            with publishing(path, overwrite=True) as output:
                output.write(bytes([number]) * 5000)
        except OSError as error:
            assert "another process" in str(error)
        else:
            made.append(number)

    threads = [
        threading.Thread(target=lambda number: [write(number) for _ in range(50)], args=(number,))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made
    assert path.read_bytes() in [bytes([number]) * 5000 for number in range(4)]
    assert names(tmp_path) == ["page.html"]


def test_only_files_are_replaced_by_files(tmp_path: Path, reference: Reference) -> None:
    os.mkfifo(tmp_path / "human.safetensors")
    with pytest.raises(FileExistsError, match="not a file, so it is not replaced"):
        reference.save(tmp_path / "human.safetensors")
    (tmp_path / "linked.safetensors").symlink_to("elsewhere.safetensors")
    (tmp_path / "elsewhere.safetensors").write_text("old")
    reference.save(tmp_path / "linked.safetensors")
    assert (tmp_path / "linked.safetensors").is_symlink()
    assert Reference.load(tmp_path / "elsewhere.safetensors") == reference
