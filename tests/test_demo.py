"""The demo: a corpus, its buckets, their reference, scores; a tiny model trained on it."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import polyalign
from conftest import Cli
from polyalign import demo, weights
from polyalign.critics import SupportCritic
from polyalign.demo import _corpus


def test_demo_makes_what_it_says(cli: Cli, tmp_path: Path) -> None:
    result = cli("demo", "--no-train", "--out", "shown")
    assert result.returncode == 0, result.stderr
    made = "corpus.jsonl tokenizer.json bucketed lengths.png human.safetensors answers.jsonl reference.html"
    for name in made.split():
        assert f"shown/{name}" in result.stdout
        assert (tmp_path / "shown" / name).exists()
    assert not (tmp_path / "shown" / "training").exists()
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
    first = demo.run_demo(tmp_path / "demo", train=False)
    files = {path: path.read_bytes() for path in sorted((tmp_path / "demo").rglob("*")) if path.is_file()}
    assert demo.run_demo(tmp_path / "demo", train=False) == first
    assert {path: path.read_bytes() for path in files} == files


def test_dialogues_and_lists_of_answers() -> None:
    turns = ["Hi", "Hello", "How are you?", "Fine"]
    dialogue = list(_corpus.interactions(turns, is_dialogue=True))
    assert [len(messages) for messages in dialogue] == [2, 4]
    assert dialogue[1][-1] == {"role": "assistant", "content": "Fine"}
    answers = list(_corpus.interactions(["Who?", "A", "Who?", "B"], is_dialogue=False))
    assert [messages[1]["content"] for messages in answers] == ["A", "B"]


def test_what_is_held_out_shares_no_text_with_what_trains() -> None:
    records = _corpus.records()
    texts: dict[bool, set[str]] = {True: set(), False: set()}
    for record in records:
        texts[_corpus.is_held_out(record["group"])] |= {
            re.sub(r"[\W_]+", "", message["content"].casefold()) for message in record["messages"]
        }
    assert not texts[True] & texts[False]
    assert 0.1 < sum(_corpus.is_held_out(record["group"]) for record in records) / len(records) < 0.3


def test_demo_without_the_training_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_TRAINING", ("json", "torch_that_is_not_there", "nor_this"))
    assert demo.run_demo(tmp_path / "demo").bucketed > 0
    told = "needs torch_that_is_not_there, nor_this: pip install 'polyalign[demo]'"
    assert told in capsys.readouterr().out
    assert not (tmp_path / "demo" / "training").exists()


WHAT = ("rows", "pairs")


def test_demo_trains(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trl", reason="trl is not installed: pip install 'polyalign[train]'")
    from polyalign.demo import _training
    from polyalign.trainers._trl import ignore_old_names

    made: list[Any] = []
    trainers: list[tuple[Any, list[str]]] = []
    right = _training.train
    monkeypatch.setattr(_training, "train", lambda *given: made.append(right(*given)) or made[0])
    for name in ("BucketSFT", "HDPO"):
        monkeypatch.setattr(_training, name, remembered(getattr(_training, name), trainers))
    recipe = _training.Recipe(
        hidden_size=32, layers=1, heads=2, batch=16, most_rows=80, max_steps=12, max_length=64, online_every=6,
        online_prompts=4, max_new_tokens=16, answers=1,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        ignore_old_names()
        demo.run_demo(tmp_path / "demo", recipe=recipe)
    out, err = capfd.readouterr()
    # No bars, and of two trainings on the same rows one note.
    noted = [
        rf"polyalign: max_length=64 cuts the end of [1-9]\d* of \d+ {what} of the train data set: .*\n" for what in WHAT
    ]
    assert re.fullmatch("".join(noted), err)
    (trained,) = made
    folder = tmp_path / "demo" / "training"
    for name in ("answers.jsonl", "human.safetensors", "pairs.parquet", "distances.png"):
        assert str(folder / name) in out
        assert (folder / name).is_file()

    # What trains, and on what: nothing that is held out.
    plain, weighted, hdpo = (trainer for trainer, _ in trainers)
    assert (plain.args.tau, weighted.args.tau) == (1, weights.DEFAULT_TAU)
    assert len(set(plain.bucket_weights.weights.values())) == 1 < len(set(weighted.bucket_weights.weights.values()))
    held_out = {row["id"] for row in trained.rows}
    groups = {row["id"]: row["group"] for row in pq.read_table(tmp_path / "demo" / "bucketed" / "data").to_pylist()}
    assert all(_corpus.is_held_out(groups[row]) for row in held_out)
    for _, rows in trainers:
        assert len(rows) > 70
        assert not any(_corpus.is_held_out(groups[row]) for row in rows)
    assert hdpo.reference.buckets == polyalign.Reference.load(folder / "human.safetensors").buckets

    # What is measured: each model after its own training, as it was saved, on the held-out rows.
    for stage, name in zip(trained.stages[1:], ("sft", "bucket-sft", "hdpo"), strict=True):
        assert stage.losses == pytest.approx(losses_of(folder / name, trained.rows), rel=1e-4)
    first, *others = (stage.losses for stage in trained.stages)
    assert all(sum(losses.values()) < sum(first.values()) for losses in others)
    assert len({tuple(losses.values()) for losses in (first, *others)}) == 4
    assert sum(trained.humans.losses.values()) > 0
    critic = SupportCritic(polyalign.Reference.load(folder / "human.safetensors"))
    lines = [json.loads(line) for line in (folder / "answers.jsonl").read_text("utf-8").splitlines()]
    means = []
    for stage in trained.stages:
        its = [line for line in lines if line["id"].startswith(f"{stage.name}/")]
        assert [line["completion"] for line in its] == [answer for (answer,) in stage.answers]
        assert len(its) == 80
        scores = critic.score(*([line[name] for line in its] for name in ("completion", "bucket", "prompt")))
        means.append(f"{float(scores.mean()):.3f}")
    assert re.search(rf"mean of answers +80 +80 +{' +'.join(means)} ", out)


def remembered(trainer: Any, made: list[tuple[Any, list[str]]]) -> Any:
    """What stands in for a trainer: keeps each that is made, and the ids of the rows that it is given."""

    def make(*given: Any, train_dataset: Any, **more: Any) -> Any:
        made.append((trainer(*given, train_dataset=train_dataset, **more), train_dataset["id"][:]))
        return made[-1][0]

    make.__module__ = trainer.__module__
    return make


def losses_of(folder: Path, rows: list[dict[str, Any]]) -> dict[str, float]:
    """The mean NLL of the answers' tokens by bucket, from the logits of each exchange alone."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    found: dict[str, list[float]] = {}
    for row in rows:
        apply = functools.partial(tokenizer.apply_chat_template, return_dict=False)
        start = len(apply(row["prompt"], add_generation_prompt=True))
        ids = torch.tensor(apply([*row["prompt"], *row["completion"]]))
        with torch.no_grad():
            logps = model(input_ids=ids[None]).logits[0, :-1].log_softmax(dim=-1)
        nll = -logps.gather(1, ids[1:, None])[start - 1 :]
        found.setdefault(row["bucket"], []).append(float(nll.mean()))
    return {bucket: sum(values) / len(values) for bucket, values in found.items()}


def test_training_looks_for_no_hub() -> None:
    pytest.importorskip("trl", reason="trl is not installed: pip install 'polyalign[train]'")
    code = (
        "import sys\n"
        "from polyalign import demo\n"
        "assert not {'datasets', 'huggingface_hub', 'torch'} & set(sys.modules)\n"
        "with demo._environment():\n"
        "    import datasets, huggingface_hub as hub\n"
        "print(hub.constants.HF_HUB_OFFLINE, hub.constants.HF_HUB_DISABLE_TELEMETRY, datasets.config.HF_HUB_OFFLINE)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["True", "True", "True"]
