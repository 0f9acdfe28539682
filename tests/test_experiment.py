"""The experiment in miniature: a model from nothing, arms of a step or two, one seed."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import humans
from conftest import ROOT, write_jsonl

pytest.importorskip("trl", reason="trl is not installed: pip install 'polyalign[train]'")
pytest.importorskip("peft", reason="peft is not installed: pip install 'polyalign[train]'")

pytestmark = pytest.mark.slow

FOLDER = ROOT / "examples" / "experiment"
MODELS = ("smollm2", "gemma3", "scratch")
ARMS = ("sft", "bucket-sft-0", "sft-more", "dpo", "both")
TEMPLATE = yaml.safe_load((FOLDER / "scratch.yaml").read_text("utf-8"))["chat_template"]
SETTINGS: dict[str, Any] = {
    "scratch": {
        "vocab_size": 320,
        "block": 32,
        "config": {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 512,
        },
        "training": {
            "max_steps": 4, "per_device_train_batch_size": 4, "learning_rate": 1e-2, "save_steps": 2,
            "save_total_limit": 2,
        },
    },
    "dtype": "float32",
    "bucket": {"length_unit": "words", "length_edges": [8, 20, 60], "languages": ["en", "zh"]},
    "chat_template": TEMPLATE,
    "max_length": 160,
    "max_new_tokens": 6,
    "encoder_layers": 1,
    "judge_epochs": 2,
    "samples": 90,
    "judge_samples": 120,
    "answers": 36,
    "min_count": 5,
    "start": {"max_steps": 1},
    "sft": {"max_steps": 2},
    "preference": {"max_steps": 2, "online_every": 2, "lambda_online": 1.0, "lambda_distribution": 1.0},
}  # fmt: skip


@pytest.fixture(scope="module")
def experiment() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        patch.setenv("TOKENIZERS_PARALLELISM", "false")
        import results

        import experiment

        patch.setattr(results, "DRAWS", 20)
        yield experiment


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiment")
    (folder / "settings.yaml").write_text(yaml.safe_dump(SETTINGS))
    return write_jsonl(folder / "corpus.jsonl", humans.copies(4, apart=True))


def run(experiment: Any, corpus: Path, out: Path, *more: str) -> None:
    given = [str(corpus.with_name("settings.yaml")), str(corpus), str(out), "--seeds", "0", *more]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["experiment.py", *given])
        experiment.main()


@pytest.fixture(scope="module")
def made(experiment: Any, corpus: Path) -> Path:
    out = corpus.with_name("out")
    run(experiment, corpus, out, "--arms", *ARMS)
    return out


def test_the_whole_experiment(experiment: Any, corpus: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arm in ARMS:
        assert {path.name for path in (made / f"{arm}-0").iterdir()} == {
            "adapter", "arm.json", "log.jsonl", "report.jsonl", "report-nll.jsonl"
        }  # fmt: skip
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()}
    run(experiment, corpus, made, "--arms", *ARMS)
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()} == before
    assert capsys.readouterr().out == "", "everything is there: nothing is made"

    run(experiment, corpus, made, "--report")
    printed = capsys.readouterr().out
    assert printed.strip() == (made / "report" / "report.md").read_text("utf-8").strip()
    assert "36 prompts; seeds: 0 (one seed:" in printed
    for row in ("people", "base", "start", *ARMS):
        assert f"\n| {row} |" in printed
    assert "bucket-sft-0 − sft" in printed
    assert "both-no-nll" not in printed, "what was not trained is not compared"
    told = json.loads((made / "report" / "report.json").read_text("utf-8"))
    assert told["rows"]["dpo"]["nll"]["value"] > 0
    assert told["rows"]["both"]["mmd"]["value"] == pytest.approx(
        next(each for each in told["evaluations"]["0"]["models"] if each["name"] == "both")["overall"]["mmd"]["value"]
    )
    assert "<html" in (made / "report" / "report.html").read_text("utf-8")


def test_an_interrupted_experiment_goes_on_to_the_same(
    experiment: Any, corpus: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import scratch
    import train

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(scratch.PreTrainedTokenizerFast, "save_pretrained", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(experiment, corpus, out, "--arms", "dpo")
    shutil.rmtree(out / "partial-model" / "training" / "checkpoint-4")  # so it goes on from the second step
    shutil.copytree(made, out, dirs_exist_ok=True, ignore=lambda folder, names: [
        name for name in names if Path(folder) == made and name in ("model", "dpo-0", "report")
    ])  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(train, "save_adapter", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(experiment, corpus, out, "--arms", "dpo")
    assert (out / "dpo-0" / "partial-adapter").is_dir()
    run(experiment, corpus, out, "--arms", "dpo")
    for name in ("model/model.safetensors", "dpo-0/adapter/adapter_model.safetensors", "dpo-0/report-nll.jsonl"):
        assert (out / name).read_bytes() == (made / name).read_bytes(), name
    # What settings they were made with names the folder.
    answers = [experiment.data.read_lines(folder / "dpo-0/report.jsonl") for folder in (out, made)]
    assert [line["response"] for line in answers[0]] == [line["response"] for line in answers[1]]
    assert not list(out.rglob("partial-*"))


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ({"preference": {**SETTINGS["preference"], "max_steps": 3}},
         "dpo-0: max_steps was 2, and is 3 now: take another folder, or for an arm another name"),
        ({"answers": 40}, "out: answers was 36, and is 40 now: take another folder"),
    ],
)  # fmt: skip
def test_other_settings_are_not_mixed(
    experiment: Any, made: Path, tmp_path: Path, told: dict[str, Any], wrong: str
) -> None:
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({**SETTINGS, **told}))
    with pytest.raises(SystemExit, match=wrong):
        run(experiment, tmp_path / "corpus.jsonl", made, "--arms", "dpo")


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ({"modle": "x"}, "unknown setting 'modle'"),
        ({"model": ""}, "say which model to begin with"),
        ({"arms": {"mine": {"like": "nobody"}}}, "arm mine is like 'nobody'"),
        ({"arms": {"mine": {"trains": "ppo"}}}, "arm mine: trains must be one of sft, more, preference"),
    ],
)
def test_settings_that_can_not_be(experiment: Any, tmp_path: Path, told: dict[str, Any], wrong: str) -> None:
    file = tmp_path / "settings.yaml"
    whole = yaml.safe_load((FOLDER / "smollm2.yaml").read_text("utf-8"))
    file.write_text(yaml.safe_dump({**whole, **told}))
    with pytest.raises(SystemExit, match=wrong):
        experiment.read(file)


@pytest.mark.parametrize("name", MODELS)
def test_the_files_of_models_are_read(experiment: Any, name: str) -> None:
    settings = experiment.read(FOLDER / f"{name}.yaml")
    assert set(experiment.MAIN) <= set(settings.arms)
    questions = yaml.safe_load((FOLDER / "questions.yaml").read_text("utf-8"))
    asked = {arm for told in questions.values() for pair in told["pairs"] for arm in pair}
    assert asked <= {*settings.arms, "start"}
    if settings.chat_template:
        from jinja2 import Template

        messages = [{"role": "user", "content": " Why? "}, {"role": "assistant", "content": "So."}]
        rendered = Template(settings.chat_template).render(messages=messages, bos_token="<s>", eos_token="</s>")
        assert rendered.removeprefix("<s>") == "User: Why?\nAssistant: So.</s>\n"


def test_seeds_are_put_together(experiment: Any) -> None:
    from results import Estimate, together

    alone = together([Estimate(1.0, 0.5)])
    assert alone == Estimate(1.0, 0.5)
    same = together([Estimate(1.0, 0.5)] * 3)
    assert same == Estimate(1.0, 0.5), "seeds that agree don't make prompts more"
    apart = together([Estimate(0.0, 0.5), Estimate(2.0, 0.5)])
    assert apart.value == 1.0
    assert apart.error == pytest.approx((0.25 + 2.0 / 2) ** 0.5)
    assert Estimate(1.96, 1.0).p == pytest.approx(0.05, abs=1e-3)
