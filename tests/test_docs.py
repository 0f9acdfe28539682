"""The commands and the code of the documentation run as written."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partialmethod
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
import zstandard

import polyalign
from conftest import ROOT, clean_environment, conversation, write_jsonl
from polyalign import cli
from ready import Ready

NAME = attrgetter("name")
#: Of which commands and code go on from one another.
IN_TURN = ("training.md", "rounds.md", "align.md")
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if page.is_file()]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def workplace(tmp_path: Path, corpus: Path, tokenizer_file: Path) -> Path:
    """A folder with the files that the documentation speaks of."""
    assert corpus.parent == tmp_path
    # Enough that differ to train a critic on.
    with corpus.open("a", encoding="utf-8") as file:
        for number in range(60, 600):
            record: Any = conversation(
                number, ("en", "zh")[number % 2], turns=1 + number % 3 // 2, words=1 + number % 7
            )
            record["messages"][-1]["content"] += f" {number}"
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    (tmp_path / "tokenizer.json").write_bytes(tokenizer_file.read_bytes())
    (tmp_path / "notes.txt").write_text("Some notes.\n")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "part.jsonl.zst").write_bytes(zstandard.compress(corpus.read_bytes()))
    answers = [
        {"id": f"r{number}", "prompt": "Where?", "completion": "It is Paris.", "bucket": "en|single|qa|short"}
        for number in range(30)
    ]
    for name in ("answers", "labelled"):
        write_jsonl(tmp_path / f"{name}.jsonl", answers)
    samples = [{"id": f"r{number}", "response": f"Great question! It is Paris, {number}."} for number in range(600)]
    write_jsonl(tmp_path / "samples.jsonl", samples)
    preferences = [{"prompt": "Where is it?", "chosen": "It is here.", "rejected": f"As an AI, {n}."} for n in range(9)]
    write_jsonl(tmp_path / "preferences.jsonl", preferences)
    chats = [{"log": [{"role": "Alice", "content": "Why?"}, {"role": "assistant", "content": "So."}]}]
    write_jsonl(tmp_path / "chats.jsonl", chats)
    reply = {"message_id": "b", "parent_id": "a", "message_tree_id": "a", "role": "assistant", "text": "So."}
    prompt = {**reply, "message_id": "a", "parent_id": None, "role": "prompter", "text": "Why?"}
    pq.write_table(pa.Table.from_pylist([reply, prompt]), tmp_path / "oasst1.parquet")
    tree = {"message_tree_id": "a", "prompt": {**prompt, "replies": [{**reply, "replies": []}]}}
    write_jsonl(tmp_path / "trees.jsonl", [tree])
    for day, first in (("monday", 0), ("tuesday", 20)):
        made = polyalign.Reference.from_arrow(pa.Table.from_pylist(answers[first:]), sources=[day])
        made.save(tmp_path / f"{day}.safetensors")
    for name in ("cli", "training", "rounds"):
        for text in blocks(ROOT / "docs" / f"{name}.md", "yaml"):
            (tmp_path / text.split("\n", 1)[0].removeprefix("# ")).write_text(text, "utf-8")
    return tmp_path


@pytest.fixture
def models(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small models under the names of those that pages train; and a machine on which they train as they say."""
    pytest.importorskip("trl", reason="trl is not installed: pip install 'polyalign[train]'")
    import datasets

    import tiny
    from polyalign.generation import Sampling
    from polyalign.trainers import BucketSFTConfig, HDPOConfig

    tiny.hub(workplace)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(workplace / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("transformers.training_args.is_torch_bf16_gpu_available", lambda: True)
    for settings in (BucketSFTConfig, HDPOConfig, Sampling):
        monkeypatch.setattr(settings, "__post_init__", partialmethod(of_little, settings.__post_init__))


def of_little(settings: Any, post_init: Callable[[Any], None]) -> None:
    """End training after two steps, where its settings don't say how long it is, and answers after eight tokens."""
    if getattr(settings, "max_steps", 0) < 0:
        settings.max_steps = 2
    if hasattr(settings, "max_new_tokens"):
        object.__setattr__(settings, "max_new_tokens", min(8, settings.max_new_tokens))  # it may be frozen
    post_init(settings)


def commands(text: str) -> list[str]:
    return [line for line in text.replace("\\\n", " ").splitlines() if re.search(r"(^|\| )polyalign ", line)]


def trains(page: Path) -> bool:
    return bool(
        re.search(
            r"^polyalign (sft|hdpo|generate|detect) |polyalign.(trainers|generation) import|pa.lm_features",
            page.read_text("utf-8"),
            re.MULTILINE,
        )
    )


@contextmanager
def answering(command: str, said: str | None = None) -> Iterator[str]:
    """Give a command that asks a server, if it does, one that is there."""
    if "http://localhost:8000/v1" not in command:
        yield command
        return
    from test_generation_server import Server, answer

    def says(handler: Any, _: Any) -> None:
        handler.say(200, {"choices": [{"message": {"content": said}, "finish_reason": "stop"}]})

    with Server(answer if said is None else says) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield command.replace("http://localhost:8000/v1", server.url)
        server.shutdown()


def run(command: str, workplace: Path, ready: Ready) -> None:
    """Run a command, in a shell where it needs one; one that trains or generates here, where torch is loaded already,
    and not for long."""
    if re.match("polyalign (sft|hdpo) ", command):
        assert cli.run([*shlex.split(command)[1:], "--max_steps", "2", "--save_steps", "2"]) == 0, command
        return
    if re.match("polyalign (rounds|align) ", command):
        if command.startswith("polyalign rounds "):
            with Path("hdpo-rounds.yaml").open("a", encoding="utf-8") as file:
                file.write("max_steps: 2\n")
        assert cli.run(shlex.split(command)[1:]) == 0, command
        if "--init" in command:
            shrink(Path("align.yaml"))
        return
    if command.startswith("polyalign detect "):
        assert cli.run(shlex.split(command)[1:]) == 0, command
        return
    if command.startswith("polyalign generate "):
        with answering(command) as served:
            assert cli.run([*shlex.split(served)[1:], "--max-new-tokens", "8", "--overwrite"]) == 0, command
        return
    if re.match("polyalign judge (score|pairs) ", command):
        with answering(command, judgement()) as served:
            check(command, ready.run([*shlex.split(served)[1:], "--overwrite"], workplace, clean_environment()))
        return
    if command.startswith("polyalign human-eval analyse "):
        rate(workplace)
    if not re.search(r"[|&;<>$*#(]", command):
        check(command, ready.run(shlex.split(command)[1:], workplace, clean_environment()))
        return
    environment = clean_environment(PYTHONPATH=str(Path(polyalign.__file__).parents[1]))
    environment["PATH"] = f"{workplace}:{environment['PATH']}"
    script = workplace / "polyalign"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m polyalign "$@"\n')
    script.chmod(0o755)
    result = subprocess.run(
        ["bash", "-c", command], cwd=workplace, env=environment, capture_output=True, text=True, check=False
    )
    check(command, result)


def shrink(settings: Path) -> None:
    """Leave of a file for `polyalign align` what takes seconds."""
    told = yaml.safe_load(settings.read_text("utf-8"))
    told |= {"critic": "support", "held_out": "lexical", "models": {"base": None, "bucket_sft": None, "hdpo": None}}
    told["bucket"]["validation_share"] = 0  # there are too few prompts for three parts
    told["generate"]["prompts"], told["evaluate"] = 16, {"prompts": 24, "draws": 20, "min_count": 5}
    settings.write_text(json.dumps(told), "utf-8")


def judgement() -> str:
    """Say what a judge would that finds all alike."""
    from polyalign.evaluation.judges import read_rubric

    scores = {dimension.id: 4 for dimension in read_rubric().dimensions}
    return json.dumps({"reason": "So.", "scores": scores, "flags": {}, "better": "first"})


def rate(workplace: Path) -> None:
    """Write what a rater would export who finds all alike."""
    key = json.loads((workplace / "page.key.json").read_text("utf-8"))
    said = {
        task: {"choice": "a"} if "model" in about else dict.fromkeys(key["questions"], 3)
        for task, about in key["tasks"].items()
    }
    told = {"format": "polyalign human evaluation, ratings", "page": key["page"], "rater": "Ann", "ratings": said}
    (workplace / "ratings-Ann.json").write_text(json.dumps(told), "utf-8")


def check(command: str, result: subprocess.CompletedProcess[str]) -> None:
    # A page may show a bucket that the test's corpus does not have; everything else must work.
    assert result.returncode == 0 or "has no bucket" in result.stderr, f"{command}\n{result.stderr}"


def pages(language: str) -> list[Path]:
    return [page for page in PAGES if page.name not in IN_TURN and blocks(page, language)]


@pytest.mark.parametrize("page", [page for page in pages("bash") if commands("".join(blocks(page, "bash")))], ids=NAME)
def test_commands_run(
    page: Path, workplace: Path, ready: Ready, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    if trains(page):
        request.getfixturevalue("models")
    for command in commands("".join(blocks(page, "bash"))):
        run(command, workplace, ready)


@pytest.mark.parametrize("page", pages("python"), ids=NAME)
def test_python_runs(
    page: Path, workplace: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    if trains(page):
        request.getfixturevalue("models")
    names = {"any_arrow_table": pa.table({"prompt": ["Hi"], "completion": ["Hello there"]})}
    for code in blocks(page, "python"):
        exec(compile(code, page.name, "exec"), names)


@pytest.mark.slow
@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("page", IN_TURN)
def test_pages_of_trainings_run(workplace: Path, ready: Ready, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    """Commands and code in turn: each goes on from what is above it."""
    monkeypatch.chdir(workplace)
    # An ensemble takes more humans than there are.
    run_rounds = importlib.import_module("polyalign.rounds").rounds
    quick = {"critic": "support", "held_out": "lexical"}
    monkeypatch.setattr("polyalign.rounds.rounds", lambda *given, **settings: run_rounds(*given, **settings | quick))
    names: dict[str, object] = {}
    text = (ROOT / "docs" / page).read_text("utf-8")
    for language, block in re.findall(r"^```(bash|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language == "python":
            exec(compile(block.replace("max_new_tokens=256", "max_new_tokens=8"), page, "exec"), names)
        else:
            for command in commands(block):
                run(command, workplace, ready)


def test_python_page_says_what_comes_out() -> None:
    table = pa.table({"prompt": ["What is the capital of France?"], "completion": ["It is Paris."]})
    assert polyalign.Bucketer().assign(table)["bucket"].to_pylist() == ["en|single|qa|short"]
    assert "# ['en|single|qa|short']" in (ROOT / "docs" / "python.md").read_text("utf-8")


def example(name: str, *arguments: object) -> str:
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_examples_run(workplace: Path) -> None:
    pq.write_table(pa.table({"text": ["Hello, world!", None, "你好"]}), workplace / "texts.parquet")
    counted = example("count_tokens.py", workplace / "texts.parquet", "text", workplace / "tokenizer.json")
    assert counted.startswith("2 texts, ")
    shown = example("bucket_dataset.py", workplace / "corpus", workplace / "saved")
    assert "en|" in shown
    assert (workplace / "saved" / "dataset_info.json").is_file()
