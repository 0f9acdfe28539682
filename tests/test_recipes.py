"""The recipes of examples/: the real parsers take them, and they run, with small models under the names of theirs."""

from __future__ import annotations

import json
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, conversation, write_jsonl
from polyalign import Bucketer, BucketSchema, cli, pairs

pytest.importorskip("torch", reason="torch is not installed: pip install 'polyalign[train]'")
pytest.importorskip("trl", reason="trl is not installed: pip install 'polyalign[train]'")

import datasets

import tiny
from polyalign.cli import _training

pytestmark = pytest.mark.slow

RECIPES = sorted((ROOT / "examples" / "recipes").glob("*.yaml"))
LAUNCHES = sorted((ROOT / "examples" / "launch").glob("*.yaml"))
FAST = (
    "--use_cpu --max_steps 2 --per_device_train_batch_size 2 --gradient_accumulation_steps 2 --eval_steps 2 "
    "--test_split_size 4 --save_steps 2"
)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the recipes name: models, a bucketed corpus, a reference, pairs."""
    folder = tmp_path_factory.mktemp("recipes")
    tiny.hub(folder)
    records = [conversation(at, ("en", "zh")[at % 2], words=1 + at % 4) for at in range(80)]
    samples = [{"id": f"r{at}", "response": f"Great question! It is Paris, {at}."} for at in range(80)]
    write_jsonl(folder / "corpus.jsonl", records)
    write_jsonl(folder / "samples.jsonl", samples)
    bucketer = Bucketer(BucketSchema(languages=["en", "zh"]), tokenizer=str(folder / "Qwen/Qwen2.5-1.5B"))
    bucketer.bucket_files(
        str(folder / "corpus.jsonl"), str(folder / "bucketed"), reference=str(folder / "human.safetensors")
    )
    pairs.pair_files(
        str(folder / "bucketed"),
        str(folder / "pairs"),
        samples=str(folder / "samples.jsonl"),
        reference=str(folder / "human.safetensors"),
    )
    return folder


@pytest.fixture
def place(workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for each in workplace.iterdir():
        (tmp_path / each.name).symlink_to(each)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


def command(recipe: Path) -> str:
    return "hdpo" if "-hdpo" in recipe.stem else "sft"


def test_there_are_recipes() -> None:
    models = ("llama-3.2-3b", "qwen2.5-1.5b")
    expected = {f"{model}-{kind}" for model in models for kind in ("hdpo", "hdpo-lora", "sft", "sft-lora")}
    assert {path.stem for path in RECIPES} == expected


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_taken_as_they_are(recipe: Path) -> None:
    script, args, model_args, _ = _training.parse(command(recipe), ["--config", str(recipe), "--use_cpu"])
    given = yaml.safe_load(recipe.read_text("utf-8"))
    found = {**vars(script), **vars(args), **vars(model_args)}
    for name, value in given.items():
        if name == "test_split_size":
            continue
        expected = [] if (name, value) == ("report_to", "none") else value
        assert found[name] == expected, name
    # A step is of as many rows whatever fits the memory; each recipe says how to run it and writes what it is called.
    assert args.per_device_train_batch_size * args.gradient_accumulation_steps == 64
    assert args.output_dir == f"out/{recipe.stem}"
    assert f"polyalign {command(recipe)} --config examples/recipes/{recipe.name}" in recipe.read_text("utf-8")


@pytest.mark.parametrize("name", ["qwen2.5-1.5b-{}", "qwen2.5-1.5b-{}-lora", "llama-3.2-3b-{}", "llama-3.2-3b-{}-lora"])
def test_recipes_run(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """BucketSFT, then HDPO of what came out."""
    for kind, more in (("sft", ""), ("hdpo", "--online_every 1 --max_new_tokens 4")):
        recipe = ROOT / "examples" / "recipes" / f"{name.format(kind)}.yaml"
        code = cli.run([kind, "--config", str(recipe), *shlex.split(f"{FAST} {more}")])
        out, err = capsys.readouterr()
        assert code == 0, err
        assert "'eval_loss'" in out
        written = place / "out" / name.format(kind)
        lora = name.endswith("lora")
        assert (written / ("adapter_model.safetensors" if lora else "model.safetensors")).is_file()
        tokens = json.loads((written / "tokenizer_config.json").read_text("utf-8"))
        assert tokens["eos_token"] == "<|im_end|>"
        assert "im_start" in (written / "chat_template.jinja").read_text("utf-8")


@pytest.mark.parametrize("launch", LAUNCHES, ids=lambda path: path.stem)
def test_accelerate_takes_the_launch_files(launch: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.utils import DistributedType

    kinds = {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "deepspeed_zero2": "DEEPSPEED", "deepspeed_zero3": "DEEPSPEED"}
    loaded = load_config_from_file(str(launch))  # unknown keys are errors
    assert loaded.distributed_type == DistributedType(kinds[launch.stem])
    assert loaded.mixed_precision == "bf16"
    if launch.stem == "fsdp2":
        from accelerate.commands.launch import launch_command_parser

        flags = {flag for action in launch_command_parser()._actions for flag in action.option_strings}
        assert {f"--{key}" for key in loaded.fsdp_config} <= flags


def test_example_runs(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    script = str(ROOT / "examples" / "train_hdpo.py")
    names = ["Qwen/Qwen2.5-1.5B", "bucketed", "pairs", "human.safetensors", "out"]
    monkeypatch.setattr(sys, "argv", [script, *names])
    runpy.run_path(script)
    assert "Bucket weights of 4 buckets, 80 rows" in capsys.readouterr().out
    assert (place / "out" / "hdpo" / "model.safetensors").is_file()
