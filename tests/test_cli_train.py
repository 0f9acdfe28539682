"""`polyalign sft` and `polyalign hdpo`, with models of a few thousand weights."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import clean_environment, write_jsonl
from polyalign import Bucketer, BucketSchema, Reference, cli, critics
from polyalign.pairs import pair_files

pytest.importorskip("torch", reason="torch is not installed: pip install 'polyalign[train]'")
pytest.importorskip("trl", reason="trl is not installed: pip install 'polyalign[train]'")

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

import tiny
from training import FAST

pytestmark = pytest.mark.slow

# The tests run elsewhere.
PACKAGE = {"PYTHONPATH": os.pathsep.join((str(Path(cli.__file__).parents[2]), os.environ.get("PYTHONPATH", "")))}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, bucketed responses, pairs and a reference."""
    folder = tmp_path_factory.mktemp("training")
    tiny.model().save_pretrained(folder / "model")
    tiny.tokenizer().save_pretrained(folder / "model")
    for name, dataset in (("bucketed", tiny.responses()), ("pairs", tiny.pairs()), ("raw", tiny.pairs(scored=False))):
        (folder / name / "data").mkdir(parents=True)
        dataset.to_parquet(folder / name / "data" / "train-00000.parquet")
    counts = datasets.Dataset.to_pandas(tiny.responses())["bucket"].value_counts()
    manifest = {"buckets": [{"bucket": bucket, "rows": int(rows)} for bucket, rows in counts.items()]}
    for name in ("bucketed", "pairs"):
        (folder / name / "manifest.json").write_text(json.dumps(manifest))
    answers = [
        {"bucket": row["bucket"], "completion": row["chosen"][0]["content"]} for row in tiny.pairs(400, scored=False)
    ]
    Reference.from_arrow(pa.Table.from_pylist(answers)).save(folder / "human.safetensors")
    held = [{**row, "id": f"held {at}"} for at, row in enumerate(tiny.responses().to_list())]
    pq.write_table(pa.Table.from_pylist(held), folder / "held.parquet")
    return folder


@pytest.fixture(autouse=True)
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in made.iterdir():
        (tmp_path / each.name).symlink_to(each)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(made / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


Run = Callable[[str], "tuple[int, str, str]"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process; its exit code, output and errors."""

    def inner(command: str) -> tuple[int, str, str]:
        code = cli.run(shlex.split(command))
        out, err = capsys.readouterr()
        return code, out, "".join(line for line in err.splitlines(True) if line.startswith("polyalign: "))

    return inner


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The trainers that are made, which then do not train."""
    from polyalign.cli import _training

    found: list[Any] = []
    monkeypatch.setattr(_training, "_train", lambda trainer, *_: found.append(trainer))
    return found


# What is there


@pytest.mark.parametrize("command", ["sft", "hdpo"])
def test_help_has_every_option_of_ours(command: str) -> None:
    """Help reads the settings' source; the parser has the same, and a few hundred of TRL's."""
    from polyalign.cli import _train, _training
    from polyalign.trainers import BucketSFTConfig, HDPOConfig

    parser = _training.make_parser(command)
    kinds = {"sft": (_training.SFTArguments, BucketSFTConfig), "hdpo": (_training.HDPOArguments, HDPOConfig)}[command]
    ours = {
        option.name: option
        for kind in kinds
        for option in dataclasses.fields(kind)
        if option.name not in {inherited.name for inherited in dataclasses.fields(trl_base(kind))}
    }
    shown = dict(getattr(_train, command).own_options())
    assert {flag.split()[0].removeprefix("--") for flag in shown} == set(ours)
    for flag, text in shown.items():
        name, _, choices = flag.removeprefix("--").partition(" ")
        assert text.startswith(ours[name].metadata["help"])
        assert choices.split("|") == ours[name].metadata.get("choices", [""])
    assert {action.dest for action in parser._actions} > {*ours, "learning_rate", "lora_r", "dataset_name", "datasets"}


def trl_base(kind: type) -> type:
    return next(base for base in kind.__mro__ if base.__module__.startswith("trl."))


@pytest.mark.parametrize("command", ["sft", "hdpo"])
def test_help_is_quick(command: str) -> None:
    code = (
        f"import sys; from polyalign.cli import run; run(['{command}', '--help']); "
        "print('torch' in sys.modules or 'trl' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean_environment(**PACKAGE)
    )
    assert result.stdout.endswith("False\n")
    assert "--model_name_or_path" in result.stdout
    assert "--help-all" in result.stdout


def test_all_help_has_what_trl_has(run: Run) -> None:
    code, out, _ = run("sft --help-all")
    assert code == 0
    assert "--tau" in out
    assert "--packing_strategy" in out


def test_says_what_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("polyalign.cli._training", "polyalign.trainers._trl"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "trl", None)
    code, _, err = run("sft --model_name_or_path model --dataset_name bucketed")
    assert (code, err) == (1, "polyalign: training needs trl: pip install 'polyalign[train]'\n")
    monkeypatch.setattr(sys, "version_info", (3, 10, 14))
    code, _, err = run("sft --model_name_or_path model --dataset_name bucketed")
    assert err == "polyalign: training needs Python 3.11 or later and trl: pip install 'polyalign[train]'\n"


# Options


def test_flags(run: Run, built: list[Any]) -> None:
    options = "--tau 0.5 --balance sample --max-weight 4 --learning-rate 0.001 --use_peft --lora_r 4 --dtype bfloat16"
    code, _, err = run(f"sft --model_name_or_path model --dataset_name bucketed --output_dir out {options} {FAST}")
    assert (code, err) == (0, "")
    args = built[0].args
    assert (args.tau, args.balance, args.max_weight, args.learning_rate) == (0.5, "sample", 4, 0.001)
    assert built[0].model.peft_config["default"].r == 4
    assert str(built[0].model.base_model.dtype) == "torch.bfloat16"
    assert not args.trust_remote_code


def test_file_and_flags(run: Run, built: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from polyalign.cli import _training

    file = """
        model_name_or_path: model
        dataset_name: pairs
        reference: human.safetensors
        output_dir: out
        learning_rate: 2e-4
        lambda_offline: 0.3
        margin: reward_per_token
        loss_type: [sigmoid, sft]
        loss_weights: [1.0, 0.5]
        max_new_tokens: 8
        support: 0.25,0.75
        min_count: 5
        use_cpu: true
        bf16: false
    """
    Path("hdpo.yaml").write_text(textwrap.dedent(file))
    asked: list[dict[str, Any]] = []
    critic = _training.SupportCritic
    monkeypatch.setattr(_training, "SupportCritic", lambda *a, **k: asked.append(k) or critic(*a, **k))
    code, _, err = run("hdpo --config=hdpo.yaml --lambda-offline 0.4 --ref_model model")
    assert (code, err) == (
        0,
        "polyalign: the train data set has chosen_score and rejected_score: the critic does not score these, they "
        "count as they are, without a floor\n",
    )
    trainer = built[0]
    assert (trainer.args.lambda_offline, trainer.args.learning_rate) == (0.4, 2e-4)
    assert (trainer.args.margin, trainer.loss_types) == ("reward_per_token", ["sigmoid", "sft"])
    assert (asked[0]["support"], asked[0]["min_count"]) == ((0.25, 0.75), 5)
    assert trainer.ref_model is not None


BAD = [
    ("sft", 2, "say which model to train: --model_name_or_path"),
    ("sft --model_name_or_path model", 2, "say what to train on: --dataset_name"),
    ("sft --model_name_or_path model --dataset_name bucketed --lambda_online 1", 2, "no such option: --lambda_online"),
    ("sft {} --lerning_rate 1", 2, "no such option: --lerning_rate; did you mean learning_rate?"),
    ("sft {} --tau x", 2, "argument --tau: invalid float value: 'x'"),
    ("sft {} --tau 3", 2, "tau=3.0: it must be a number at least 0 and at most 1"),
    ("sft {} --config", 2, "--config needs a YAML file"),
    ("sft {} --config none.yaml", 2, "--config: none.yaml: no such file"),
    ("sft {} --config bad.yaml", 2, "bad.yaml:2: unknown key 'lerning_rate'; did you mean learning_rate?"),
    ("sft {} --config twice.yaml", 2, "twice.yaml:2: key 'tau' is there twice"),
    ("sft {} --config broken.yaml", 1, "broken.yaml:2:1: not YAML"),
    ("sft {} --config two.yaml", 2, "dataset_name and datasets both say what to train on: leave one out"),
    ("sft {} --dataset_name nowhere", 1, "nowhere"),
    ("sft {} --dataset_name model/config.txt", 1, "model/config.txt"),
    ("sft {} --dataset_name raw", 1, "the train data set does not say which text is the response"),
    ("sft {} --dataset_train_split other", 1, "bucketed: --dataset_train_split other: Unknown split"),
    ("sft {} --eval_strategy steps", 1, "--test_share 0.05 holds out a part of those that train"),
    ("sft {} --model_name_or_path nowhere", 1, "model nowhere: "),
    ("sft {} --dataset_streaming --bucket_counts none.json", 1, "none.json: no such file or folder"),
    ("sft {} --dataset_streaming --bucket_counts bad.yaml", 1, "bad.yaml: neither a manifest of buckets nor a JSON"),
    ("sft {} --dataset_streaming --test_split_size 0.1", 1, "test_split_size: a data set that streams can't be split"),
    ("sft {} --dataset_streaming --test_share 0.1", 1, "test_share: a data set that streams can't be split"),
    ("sft {} --test_share 0.1 --test_split_size 0.1", 1, "test_share and test_split_size both say what is held out"),
    ("sft {} --test_share 1", 2, "test_share is 1: it must be at least 0 and below 1"),
    ("sft {} --test_share 0.000001", 1, "test_share=1e-06 holds out 0 of 48 rows"),
    ("sft {} --resume_from_checkpoint true", 1, "resume_from_checkpoint: there is no checkpoint in out"),
    ("sft {} --resume_from_checkpoint none", 1, "resume_from_checkpoint: none: no such folder"),
    ("sft {} --eval_humans held.parquet", 2, "eval_humans_every says every how many steps held-out prompts are"),
    (
        "sft {} --eval_humans_every 1 --eval_humans held.parquet --eval_humans_prompts 4",
        1,
        "prompts is 4: it must be 5",
    ),
    ("hdpo {} --dataset_name raw --reference human.safetensors --eval_humans_every 1", 1, "--eval_humans FOLDER"),
    ("hdpo {} --dataset_name pairs", 1, "lambda_online > 0 scores samples: give a reference or a critic"),
    ("hdpo {} --dataset_name pairs --reference none.safetensors", 1, "none.safetensors: no such file"),
    ("hdpo {} --dataset_name pairs --reference human.safetensors --support 1", 2, "'1' is not two rising shares"),
]


@pytest.mark.parametrize(("command", "code", "told"), BAD)
def test_bad_options_are_one_line(command: str, code: int, told: str, run: Run) -> None:
    Path("bad.yaml").write_text("tau: 0.5\nlerning_rate: 1\n")
    Path("twice.yaml").write_text("tau: 0.5\ntau: 0\n")
    Path("broken.yaml").write_text("tau: [\n")
    Path("two.yaml").write_text("datasets: [{path: bucketed}]\n")
    Path("model/config.txt").write_text("")
    given = f"--model_name_or_path model --dataset_name bucketed --output_dir out {FAST}"
    found, _, err = run(command.format(given))
    assert err.count("\n") == 1
    assert told in err
    assert found == code


def test_bf16_without_a_gpu(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.training_args.is_torch_bf16_gpu_available", lambda: False)
    code, _, err = run("sft --model_name_or_path model --dataset_name bucketed")
    assert code == 2
    assert err == (
        "polyalign: no GPU with bfloat16 here: --bf16 false trains in float32, --use_cpu in bfloat16 on the CPU\n"
    )
    from polyalign.trainers import BucketSFTConfig, HDPOConfig

    for config in (BucketSFTConfig, HDPOConfig):
        with pytest.raises(ValueError, match=r"^no GPU with bfloat16 here: bf16=False trains in float32, use_cpu=True"):
            config(output_dir="out")


def test_no_chat_template(run: Run) -> None:
    tiny.model().save_pretrained("bare")
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = None
    tokenizer.save_pretrained("bare")
    told = "polyalign: the tokenizer has no chat template, which conversations need: "
    code, _, err = run(f"sft --model_name_or_path bare --dataset_name bucketed --output_dir out {FAST}")
    assert (code, err) == (1, f"{told}--chat_template_path takes a .jinja file, or a model that has one\n")
    code, _, err = run(f"hdpo --model_name_or_path bare --dataset_name pairs --lambda_online 0 --output_dir out {FAST}")
    assert code == 1
    assert err.startswith(f"{told}start from a model that has one") and err.count("\n") == 1
    Path("chat.jinja").write_text(tiny.TEMPLATE)
    given = f"sft --model_name_or_path bare --dataset_name bucketed --output_dir out {FAST}"
    assert run(f"{given} --chat_template_path chat.jinja")[0] == 0


def test_debug_is_ours_alone_and_transformers_with_a_value(run: Run, built: list[Any]) -> None:
    given = f"sft --model_name_or_path model --dataset_name bucketed --output_dir out {FAST}"
    assert run(f"{given} --debug")[0] == 0
    assert run(f"{given} --debug --tau 0")[0] == 0
    assert run(f"{given} --debug underflow_overflow")[0] == 0
    assert [bool(trainer.args.debug) for trainer in built] == [False, False, True]


# Data


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl", "rows.jsonl.gz", "saved", "saved_dict"])
def test_data_of_any_form(name: str, run: Run, built: list[Any]) -> None:
    rows = tiny.responses(24)
    match name.partition(".")[2]:
        case "parquet":
            rows.to_parquet(name)
        case "jsonl" | "jsonl.gz":
            rows.to_json(name)
        case _:
            (datasets.DatasetDict(train=rows) if name == "saved_dict" else rows).save_to_disk(name)
    code, _, err = run(f"sft --model_name_or_path model --dataset_name {name} --output_dir out {FAST}")
    assert (code, err) == (0, "")
    assert len(built[0].train_dataset) == 24


def test_evaluates_a_part(run: Run, built: list[Any]) -> None:
    given = f"sft --model_name_or_path model --dataset_name bucketed --output_dir out {FAST} --eval_strategy steps"
    assert run(f"{given} --test_split_size 0.25")[0] == 0
    assert run(f"{given} --dataset_train_split train[:40] --dataset_test_split train[40:]")[0] == 0
    assert [(len(each.train_dataset), len(each.eval_dataset)) for each in built] == [(36, 12), (40, 8)]


def test_evaluates_the_groups_that_bucket_holds_out(run: Run, built: list[Any]) -> None:
    rows = [
        {
            "id": f"r{at}",
            "prompt": [{"role": "user", "content": "Sun?" if at % 3 else f"Rain {at}?"}],
            "completion": "Yes.",
            "language": "en",
            **({} if at % 3 else {"group": f"g{at % 12}"}),
        }
        for at in range(90)
    ]
    Bucketer(BucketSchema(axes=["language"])).bucket_files(write_jsonl(Path("rows.jsonl"), rows), Path("whole"))
    Bucketer(BucketSchema(axes=["language"])).bucket_files(Path("rows.jsonl"), Path("apart"), test_share=0.5)
    given = f"sft --model_name_or_path model --output_dir out {FAST} --eval_strategy steps --dataset_name"
    for options in ("whole --test_share 0.5", "apart"):
        code, out, err = run(f"{given} {options}")
        assert (code, err) == (0, "")
        said = re.findall(r"^held out: .*$", out, re.M)
        found = {"rows": len(built[-1].eval_dataset), "groups": len({*built[-1].eval_dataset["group"]} - {None})}
        without = built[-1].eval_dataset["group"][:].count(None)
        of = (
            " of 90",
            " of 5",
            "60 rows have no group, and go by their prompts: other parts of their conversations may ",
        )
        told = f"held out: {found['rows']}{of[0]} rows, {{}}{of[1]} groups; {of[2]}train"
        if options == "apart":
            told = f"held out: {found['rows']} rows, {{}} groups; {without} rows have no group"
        # Those that go by their prompt are one group more.
        assert said == [told.format(found["groups"] + (options != "apart" and without > 0))]
    ids = [[set(part["id"]) for part in (each.train_dataset, each.eval_dataset)] for each in built]
    assert ids[0] == ids[1]
    assert sum(map(len, ids[0])) == 90
    assert all(ids[0])


def test_pairs_are_held_out_by_their_groups(run: Run, built: list[Any]) -> None:
    rows = [
        {"id": str(at), "prompt": f"Sun {at}?", "completion": "Yes.", "language": "en", "group": f"talk {at % 9}"}
        for at in range(90)
    ]
    samples = [{"id": str(at), "response": "No."} for at in range(90)]
    Bucketer(BucketSchema(axes=["language"])).bucket_files(write_jsonl(Path("rows.jsonl"), rows), Path("whole"))
    pair_files("whole", "made", samples=write_jsonl(Path("samples.jsonl"), samples))
    bare = datasets.load_dataset("made", split="train").remove_columns("group")
    bare.to_parquet("bare.parquet")
    given = f"hdpo --model_name_or_path model --output_dir out {FAST} --eval_strategy steps --test_share 0.4"
    given += " --lambda_online 0 --lambda_offline 0 --beta_w 0 --dataset_name"
    code, out, err = run(f"{given} made")
    assert (code, err) == (0, "")
    held = re.search(r"^held out: (\d+) of 90 rows, (\d) of 9 groups$", out, re.M)
    groups = [set(part["group"]) for part in (built[0].train_dataset, built[0].eval_dataset)]
    assert not groups[0] & groups[1] and len(groups[0] | groups[1]) == 9
    assert held and (int(held[1]), int(held[2])) == (len(built[0].eval_dataset), len(groups[1]))
    _, out, _ = run(f"{given} bare.parquet --overwrite")
    assert re.search(
        r"^held out: \d+ of 90 rows, \d+ of 90 prompts; the rows have no group, and go by their", out, re.M
    )


def test_mixture(run: Run, built: list[Any]) -> None:
    Path("mix.yaml").write_text("datasets:\n  - path: bucketed\n  - path: bucketed\ntest_split_size: 0.25\n")
    given = f"--model_name_or_path model --config mix.yaml --output_dir out {FAST} --eval_strategy"
    code, _, err = run(f"sft {given} steps")
    assert (code, err) == (0, "")
    assert (len(built[0].train_dataset), len(built[0].eval_dataset)) == (72, 24)
    Path("mix.yaml").write_text("datasets: [{path: bucketed}]\nstreaming: true\nbucket_counts: bucketed\n")
    assert run(f"sft {given} no")[0] == 0


WEIGHTED = "polyalign: buckets are weighted in the loss, rows are not drawn: the training data set streams\n"


@pytest.mark.parametrize("counts", ["", "--bucket_counts bucketed", "--bucket_counts counts.json"])
def test_a_stream_takes_the_counts_of_its_folder(counts: str, run: Run, built: list[Any]) -> None:
    manifest = json.loads(Path("bucketed/manifest.json").read_text())
    expected = {bucket["bucket"]: bucket["rows"] for bucket in manifest["buckets"]}
    Path("counts.json").write_text(json.dumps(expected))
    options = f"--dataset_streaming {counts} {FAST}"
    code, _, err = run(f"sft --model_name_or_path model --dataset_name bucketed --output_dir out {options}")
    assert (code, err) == (0, WEIGHTED)
    assert built[0].bucket_weights.counts == expected


def test_a_stream_counts_nothing_that_is_held_out(run: Run, built: list[Any]) -> None:
    rows = [{"prompt": f"Rain {at}?", "completion": "Yes.", "language": ["en", "de"][at % 2]} for at in range(60)]
    path = write_jsonl(Path("rows.jsonl"), rows)
    Bucketer(BucketSchema(axes=["language"])).bucket_files(path, Path("apart"), test_share=0.5)
    options = f"--dataset_streaming {FAST}"
    code, _, err = run(f"sft --model_name_or_path model --dataset_name apart --output_dir out {options}")
    assert (code, err) == (0, WEIGHTED)
    trains = datasets.load_dataset("apart", split="train")["bucket"]
    assert 15 < len(trains) < 45
    assert built[0].bucket_weights.counts == {bucket: list(trains).count(bucket) for bucket in ("de", "en")}


# Training


def test_sft_then_hdpo(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(f"sft --model_name_or_path model --dataset_name bucketed --output_dir sft {FAST}")
    assert (code, err) == (0, "")
    assert out.startswith("Bucket weights of 4 buckets, 48 rows")
    assert re.search(r"^2 steps in \d+ s, mean loss [\d.]+; written to sft$", out, re.MULTILINE)
    # Buckets are for trackers.
    assert "'sft/loss'" in out
    assert "'sft/loss/" not in out
    assert "polyalign" in Path("sft/README.md").read_text()

    options = "--online_every 1 --max_new_tokens 8 --num_online_samples 2 --eval_strategy steps --test_split_size 0.2"
    given = (
        f"hdpo --model_name_or_path sft --dataset_name raw --reference human.safetensors --output_dir hdpo {options}"
    )
    code, out, err = run(f"{given} {FAST} --eval_steps 1")
    assert (code, err) == (0, "")
    # In every step: also the first, and the one after an evaluation.
    assert out.count("'hdpo/online_score'") == out.count("'eval_hdpo/loss'") == 2
    assert Path("hdpo/model.safetensors").is_file()
    assert Path("hdpo/tokenizer.json").is_file()

    # A critic in the reference's place, and another one for the logs.
    reference = Reference.load("human.safetensors")
    critics.SupportCritic(reference).save("critic")
    answers = [{"bucket": bucket, "completion": f"Not {at}."} for at in range(40) for bucket in tiny.BUCKETS]
    critics.SupportCritic(Reference.from_arrow(pa.Table.from_pylist(answers))).save("another")
    given = given.replace("--reference human.safetensors", "--critic critic --held_out_critic another")
    code, out, err = run(f"{given} {FAST} --eval_steps 1 --overwrite")
    assert (code, err) == (0, "")
    for name in ("hdpo/online_score", "hdpo/online_held_out_score"):
        assert out.count(f"'{name}'") == out.count(f"'eval_{name}'") == 2
    assert "- Critic: `SupportCritic(" in Path("hdpo/README.md").read_text()
    assert "- Held-out critic: `SupportCritic(" in Path("hdpo/README.md").read_text()


@pytest.mark.parametrize("command", ["sft", "hdpo"])
def test_held_out_prompts_are_answered_while_it_trains(command: str, run: Run) -> None:
    data = "bucketed" if command == "sft" else "raw --reference human.safetensors"
    given = "--eval_humans held.parquet --eval_humans_every 2 --eval_humans_prompts 6 --eval_humans_max_new_tokens 4"
    code, out, err = run(f"{command} --model_name_or_path model --dataset_name {data} --output_dir out {given} {FAST}")
    assert (code, err) == (0, "")
    assert out.count("eval_humans/coverage'") == 2  # before the first step, and after the second


def test_an_adapter_trains_on(run: Run) -> None:
    code, _, err = run(f"sft --model_name_or_path model --dataset_name bucketed --output_dir sft --use_peft {FAST}")
    assert (code, err) == (0, "")
    assert not Path("sft/config.json").exists()
    given = f"hdpo --model_name_or_path sft --dataset_name pairs --lambda_online 0 {FAST} --learning_rate 0.01"
    code, out, err = run(f"{given} --output_dir hdpo")
    assert (code, err) == (0, "")
    # The reference is the adapter as it was: no preference before the first step.
    assert "'hdpo/preference': '0.6931'" in out.splitlines()[0]
    before, after = (json.loads(Path(name, "adapter_config.json").read_text()) for name in ("sft", "hdpo"))
    assert before["base_model_name_or_path"] == after["base_model_name_or_path"] == "model"
    code, _, err = run(f"{given} --output_dir other --use_peft")
    assert code == 1
    assert "leave use_peft out" in err


def test_resume(run: Run) -> None:
    given = f"sft --model_name_or_path model --dataset_name bucketed {FAST} --save_strategy steps --save_steps 1"
    assert run(f"{given} --output_dir whole")[0] == 0
    whole = run(f"{given} --output_dir whole --overwrite --max_steps 4")[1]
    for checkpoint in ("true", "part/checkpoint-2"):
        assert run(f"{given} --output_dir part --overwrite --max_steps 4")[0] == 0
        for late in ("3", "4"):
            subprocess.run(["rm", "-r", f"part/checkpoint-{late}"], check=True)
        code, out, err = run(f"{given} --output_dir part --max_steps 4 --resume_from_checkpoint {checkpoint}")
        assert (code, err) == (0, "")
        assert losses(out) == losses(whole)[2:]


def losses(out: str) -> list[str]:
    return re.findall(r"'loss': '([\d.]+)'", out)


def test_interrupted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("polyalign.trainers.bucket_sft.BucketSFT.train", interrupt)
    code, _, err = run(f"sft --model_name_or_path model --dataset_name bucketed --output_dir out {FAST}")
    assert code == 130
    assert err == "polyalign: interrupted; --resume_from_checkpoint true goes on from the last checkpoint\n"
