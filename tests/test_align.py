"""The whole method by one file: what is made, what is not made again, what can't be."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

import humans
from conftest import Cli, write_jsonl
from polyalign import Bucketer
from polyalign import cli as command_line
from polyalign._io import stages
from polyalign._io.output import alone
from polyalign.align import Config, Outcome, align, example, plan

pytest.importorskip("trl", reason="trl is not installed: pip install 'polyalign[train]'")

import tiny
from polyalign.generation import Answer
from polyalign.trainers._prepare.held_out import key_of

pytestmark = pytest.mark.slow

TRAINING = {**tiny.QUIET, "max_steps": 1, "per_device_train_batch_size": 4, "learning_rate": 1e-3}
#: What is quick.
SETTINGS: dict[str, Any] = {
    "model": "model",
    "corpus": "corpus.jsonl",
    "out": "out",
    "bucket": {"length_unit": "words", "length_edges": [8, 20, 60], "test_share": 0.2, "validation_share": 0.1},
    "sft": TRAINING,
    "hdpo": {**TRAINING, "max_new_tokens": 4},
    "generate": {"samples": 2, "max_new_tokens": 6, "prompts": 20},
    "evaluate": {"prompts": 40, "draws": 20, "min_count": 5},
    "critic": "support",
    "held_out": "lexical",
    "models": {"base": None, "oracle": None, "bucket_sft": None, "hdpo": None},
}


class Speaker:
    """Answers at once; what it says depends on the model, the prompt and the noise."""

    asked: list[tuple[str, str]] = []  # noqa: RUF012 - of all of them

    def __init__(self, model: str) -> None:
        self.name = Path(model).parent.name or model

    def check(self) -> None: ...

    def form(self, form: Any) -> str:
        return "chat"

    def settings(self) -> dict[str, Any]:
        return {"engine": "speaker"}

    def prepare(self, prompt: Any, *_: Any) -> Any:
        return prompt

    def notes(self) -> list[str]:
        return []

    def answers(self, requests: Any, *_: Any) -> Iterator[list[Answer]]:
        for request in requests:
            messages = request.prompt.messages
            self.asked.append((self.name, messages[0]["content"] if messages[0]["role"] == "system" else ""))
            words = " so".join(str(request.seed)[:4])
            yield [Answer(request.key, f"I think {self.name} {words}{'!' * (request.key[1] + 1)}")]


@pytest.fixture
def place(tmp_path: Path, corpus_and_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("corpus.jsonl", "model"):
        (tmp_path / name).symlink_to(corpus_and_model / name)
    monkeypatch.chdir(tmp_path)
    Speaker.asked.clear()
    return tmp_path


@pytest.fixture(scope="module")
def corpus_and_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("align")
    write_jsonl(folder / "corpus.jsonl", humans.copies(2, apart=False))
    tokenizer = tiny.chat_tokenizer()
    tiny.chat_model(len(tokenizer)).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder


def config(**changes: Any) -> Config:
    Path("align.yaml").write_text(yaml.safe_dump({**SETTINGS, **changes}, sort_keys=False))
    return Config.read("align.yaml")


def run(out: str = "out", **changes: Any) -> tuple[Outcome, list[str]]:
    said: list[str] = []
    return align(config(**changes), out=out, engine=Speaker, say=said.append), said


@pytest.fixture(scope="module")
def made(corpus_and_model: Path) -> tuple[Path, Outcome]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(corpus_and_model)
        return corpus_and_model / "out", run()[0]


STAGES = [
    "bucket",
    "parts",
    "reference",
    "held-out",
    "models/bucket_sft",
    "round-1/samples",
    "round-1/critic",
    "answers/test/base",
    "answers/test/oracle",
    "answers/test/bucket_sft",
    "round-1/pairs",
    "models/hdpo",
    "answers/test/hdpo",
    "evaluation/test",
]


def test_the_whole_method(made: tuple[Path, Outcome]) -> None:
    out, outcome = made
    for name in STAGES:
        assert json.loads((out / name / "stage.json").read_text())["done"], name
    assert len(outcome.verdicts) == 4
    assert outcome.verdict.startswith("most human: ")
    assert "oracle" not in outcome.verdict, "a leak control is no contender"
    told = json.loads((out / "evaluation/test/evaluation.json").read_text())
    assert [model["name"] for model in told["models"]] == ["base", "oracle (leak control)", "bucket_sft", "hdpo"]
    assert (out / "evaluation/test/report.md").read_text().count("###") == 4
    assert str(outcome).endswith(f"report: {Path('out/evaluation/test/report.html')}")
    settings = json.loads((out / "models/bucket_sft/sft.yaml").read_text())
    assert settings["dataset_name"] == str(Path("out/parts/train"))
    assert json.loads((out / "models/hdpo/hdpo.yaml").read_text())["model_name_or_path"] == str(
        Path("out/models/bucket_sft/model")
    )


def rows(folder: Path, split: str) -> list[dict[str, Any]]:
    return [row for file in sorted(folder.glob(f"data/{split}-*.parquet")) for row in pq.read_table(file).to_pylist()]


def test_groups_are_parted(made: tuple[Path, Outcome]) -> None:
    """As `bucket --test-share` of the test part alone would part it; and what is answered trains nothing."""
    parts = made[0] / "parts"
    groups = {
        name: {row["group"] for row in rows(parts / name, split)}
        for name, split in (("train", "train"), ("validation", "test"), ("test", "test"))
    }
    assert all(groups.values())
    assert not (groups["train"] | groups["validation"]) & groups["test"]
    assert not groups["train"] & groups["validation"]
    assert {row["group"] for row in rows(parts / "train", "test")} == groups["validation"]
    assert all(key_of({"group": group}) < 0.2 * 2**64 for group in groups["test"])
    Bucketer(humans.SCHEMA).bucket_files(
        made[0].parent / "corpus.jsonl", made[0].parent / "alone", test_share=0.2, overwrite=True
    )
    assert {row["group"] for row in rows(made[0].parent / "alone", "test")} == groups["test"]
    answered = [json.loads(line) for line in (made[0] / "answers/test/hdpo/samples.jsonl").open()]
    assert {line["id"] for line in answered} <= {row["id"] for row in rows(parts / "test", "test")}
    assert len(answered) == 40


def test_what_is_done_is_not_done_again(made: tuple[Path, Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    out, outcome = made
    monkeypatch.chdir(out.parent)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    again, said = run()
    assert again == outcome
    assert said == [f"{name}: done before" for name in STAGES]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(ValueError, match=r"models/hdpo: hdpo.beta was null, and is 0.5"):
        run(hdpo={**SETTINGS["hdpo"], "beta": 0.5})
    # Of what is not made by transformers the plan says that it is otherwise.
    states = {stage.name: stage.state for stage in plan(config())}
    assert states["models/bucket_sft"] == "done"
    assert states["answers/test/base"].startswith("refused: engine was null")
    assert list(states) == STAGES


def test_a_model_more(place: Path, made: tuple[Path, Outcome]) -> None:
    """All that is there stays, but for the report."""
    shutil.copytree(made[0], "out")
    models = {**SETTINGS["models"], "divpo": None, "again": {"like": "hdpo", "rounds": 2, "lambda_online": 0}}
    outcome, said = run(models=models, evaluate={**SETTINGS["evaluate"], "split": "test"})
    new = [line for line in said if line.endswith(" …")]
    assert new == [
        f"{name} …"
        for name in (
            "round-1/divpo/pairs",
            "models/divpo",
            "answers/test/divpo",
            "models/again",
            "more/again/round-2/samples",
            "more/again/round-2/critic",
            "more/again/round-2/pairs",
            "models/again-round-2",
            "answers/test/again-round-2",
            "evaluation/test",
        )
    ]
    assert outcome.models["again"] == str(Path("out/models/again-round-2/model"))
    trained = json.loads(Path("out/models/divpo/hdpo.yaml").read_text())
    assert (trained["lambda_offline"], trained["gamma"], trained["weight_max"]) == (0, 0, 1)


class Interruption(KeyboardInterrupt):
    pass


@pytest.mark.parametrize("after", ["parts", "models/bucket_sft", "round-1/critic", "models/hdpo", "evaluation/test"])
def test_interrupted_it_ends_with_the_same(
    place: Path, made: tuple[Path, Outcome], monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    """Cut off within a stage, when all of its work is done but it is not said to be."""
    shutil.copytree(made[0], "out")
    at = STAGES.index(after)
    # A training is cut off by itself; what comes after it is as it was, if it ends with the same.
    shutil.rmtree(Path("out", after))
    write = stages._write

    def cut_off(folder: Path, told: Any) -> None:
        if told["done"] and folder == Path("out", after):
            raise Interruption
        write(folder, told)

    monkeypatch.setattr(stages, "_write", cut_off)
    with pytest.raises(Interruption):
        run()
    monkeypatch.setattr(stages, "_write", write)
    outcome, said = run()
    assert outcome == made[1]
    assert said[at] == f"{after}: goes on …"
    assert [line for line in said if line.endswith("…")] == [f"{after}: goes on …"], "it came out as it was"
    for file in ("report.html", "report.md", "evaluation.json"):
        name = Path("evaluation", "test", file)
        assert Path("out", name).read_bytes() == (made[0] / name).read_bytes()


def test_two_runs_in_one_folder(place: Path, made: tuple[Path, Outcome]) -> None:
    shutil.copytree(made[0], "out")
    with alone(Path("out")), pytest.raises(OSError, match=r"^out: another process is writing this output; wait for it"):
        run()
    assert run()[0] == made[1]
    assert not list(Path("out").glob("stages*"))


def test_a_stage_that_was_hardly_begun_or_half_removed_is_made(
    place: Path, made: tuple[Path, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made[0], "out")
    last = Path("out", "evaluation", "test")
    shutil.rmtree(last)
    last.mkdir()
    (last / ".stage.json").write_text('{"format": "poly')
    assert run()[0] == made[1]

    # Cut off while what was made of other settings is removed: what tells that it is a stage is there until the end.
    remove = shutil.rmtree

    def cut_off(path: Path, *given: Any, **settings: Any) -> None:
        if path == last:
            assert [left.name for left in last.iterdir()] == ["stage.json"]
            raise Interruption
        remove(path, *given, **settings)

    monkeypatch.setattr(shutil, "rmtree", cut_off)
    with pytest.raises(Interruption):
        run(evaluate={**SETTINGS["evaluate"], "draws": 21})
    monkeypatch.setattr(shutil, "rmtree", remove)
    assert run()[0] == made[1]


def test_what_models_are_asked(place: Path, made: tuple[Path, Outcome]) -> None:
    for name in STAGES[:7]:
        shutil.copytree(made[0] / name, Path("out", name))
    models = {"prompt": None, "oracle": None, "spoken": {"like": "base", "conditioning": "Speak {language}."}}
    run(models=models, evaluate={**SETTINGS["evaluate"], "split": "validation"})
    asked = {line.split("\n")[0] for _, line in Speaker.asked}
    assert any(line.startswith("Answer as a person does in this situation: language en, track") for line in asked)
    assert "Speak en." in asked
    shown = next(line for _, line in Speaker.asked if line.startswith("A person has answered"))
    answers = {row["completion"][0]["content"] for row in rows(Path("out/parts/validation"), "test")}
    assert shown.split("Their answer: ", 1)[1] in answers
    assert Path("out/evaluation/validation/report.md").is_file()


# ------------------------------------------------------------------------------------------------- bad input

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "key": ({"modle": "x"}, r"align.yaml:\d+: unknown key 'modle'; did you mean model\?"),
    "inner": ({"generate": {"sample": 2}}, r"align.yaml:\d+: unknown key 'sample' in generate; did you mean samples\?"),
    "type": ({"rounds": "two"}, r"align.yaml:\d+: rounds is 'two': it must be a whole number"),
    "baseline": ({"models": {"hpdo": None}}, r"align.yaml:\d+: no baseline is called 'hpdo'; did you mean hdpo\?"),
    "like": ({"models": {"x": {"like": "ppo"}}}, r"align.yaml:\d+: no baseline is called 'ppo'"),
    "none": ({"models": {}}, "models names none"),
    "name": ({"models": {"../x": {"like": "hdpo"}}}, "is no name of a folder"),
    "training": ({"sft": {"lerning_rate": 1}}, "align.yaml: bucket_sft: sft: no such option: --lerning_rate"),
    "own": ({"models": {"hdpo": {"bata": 1}}}, "align.yaml: hdpo: hdpo: no such option: --bata; did you mean beta"),
    "ours": ({"hdpo": {"output_dir": "x"}}, r"align.yaml:\d+: output_dir is for the stages to say"),
    "asked": ({"models": {"base": {"beta": 1}}}, "unknown key 'beta' in models.base"),
    "model": ({"model": "./none"}, r"align.yaml: model: ./none: no such folder"),
    "corpus": ({"corpus": "none.jsonl"}, "align.yaml: corpus: none.jsonl: no such file or folder"),
    "both": ({"bucketed": "x"}, "say what people wrote: corpus, or a folder that is bucketed"),
    "bucketed": ({"bucketed": "x", "corpus": None, "bucket": None}, "x: not a folder that polyalign bucket made"),
    "share": ({"bucket": {"test_share": 0}}, r"test_share is 0: it must be above 0"),
    "much": ({"bucket": {"test_share": 0.6, "validation_share": 0.4}}, "nothing is left to train on"),
    "part": ({"bucket": {}, "evaluate": {"split": "validation"}}, "split is validation, and validation_share is 0"),
    "judge": ({"held_out": "support"}, "held_out is 'support', which trains"),
    "learnt": (
        {"critic": "ensemble", "held_out": "embedding", "generate": {"samples": 2, "prompts": 79}},
        "generate.prompts is 79: critic 'ensemble' learns from answers to them, and keeps a quarter to calibrate by, "
        "20 at least: give 100 or more",
    ),
    "looked": ({"evaluate": {"prompts": 19}}, "evaluate.prompts is 19: a bucket needs 20 answered prompts"),
    "single": ({"generate": {"samples": 1}}, "hdpo: select 'furthest' chooses among several answers"),
    "tasks": ({"lm_eval": {"limit": 5}}, "align.yaml: lm_eval names no tasks"),
    "held": (
        {"bucketed": "all", "corpus": None, "bucket": None, "sft": {"lerning_rate": 1}},
        "no such option: --lerning_rate",
    ),
    "condition": ({"sft": {"conditioning": "{length}"}}, "conditioning: the models would be asked without it"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_said_first(place: Path, case: str) -> None:
    changes, message = BAD[case]
    if case == "held":  # nothing is held out of it, which must not hide what else is wrong
        Bucketer().bucket_files("corpus.jsonl", "all")
    with pytest.raises((ValueError, OSError), match=message):
        run(**changes)
    assert not Path("out").exists()


def test_without_a_chat_template_there_is_no_thinking(place: Path) -> None:
    shutil.copytree("model", "plain")
    tiny.chat_tokenizer(None).save_pretrained("plain")
    Path("plain", "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(ValueError, match="cot asks by a system message: it needs a chat template, and plain has none"):
        run(model="plain", models={"cot": None})
    with pytest.raises(ValueError, match="plain has no chat template to train with"):
        run(model="plain", models={"sft": None})


def test_the_command(place: Path, made: tuple[Path, Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    """With transformers' engine; and the plan, which makes nothing."""
    config(models={"base": None}, evaluate={**SETTINGS["evaluate"], "prompts": 25})
    assert command_line.run(["align", "align.yaml", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "25 prompts × 1 answer" in shown
    assert "to do" in shown
    assert not Path("out").exists()
    shutil.copytree(made[0] / "bucket", Path("out", "bucket"))
    assert command_line.run(["align", "align.yaml"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith("most human: base (")
    assert last.endswith(f"; report: {Path('out/evaluation/test/report.html')}")
    assert command_line.run(["align", "align.yaml", "--dry-run", "--json"]) == 0
    assert {stage["state"] for stage in json.loads(capsys.readouterr().out)} == {"done"}
    assert command_line.run(["align", "align.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] in last


# ---------------------------------------------------------------------------------------------- lm-eval's tasks

#: In the place of lm-eval's program: worse after training, on one of two tasks beyond chance.
LM_EVAL = """
import json, pathlib, sys
given = dict(zip(sys.argv[2::2], sys.argv[3::2]))
if given["--tasks"] == "nosuch":
    sys.exit("ValueError: Tasks not found: nosuch")
drop = 0.0 if given["--model_args"].startswith("pretrained=model,") else 0.2
out = pathlib.Path(given["--output_path"], "m")
out.mkdir(parents=True)
scores = {"acc,none": 0.5 - drop, "acc_stderr,none": 0.01, "alias": "x"}
loose = {**scores, "acc_stderr,none": 0.4, "ppl,none": 9.0 + drop, "ppl_stderr,none": "N/A"}
told = {"results": {"a": scores, "b": loose},
        "higher_is_better": {"a": {"acc": True}, "b": {"acc": True, "ppl": False}}}
(out / "results_2026.json").write_text(json.dumps(told))
"""


@pytest.fixture
def lm_eval(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = place / "packages" / "lm_eval"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(LM_EVAL, "utf-8")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("PYTHONPATH", str(package.parent), prepend=os.pathsep)


@pytest.mark.usefixtures("lm_eval")
def test_tasks_before_and_after(place: Path) -> None:
    settings: dict[str, Any] = {"models": {"base": None, "sft": None}, "lm_eval": {"tasks": ["a", "b"], "limit": 9}}
    stages = {stage.name: stage for stage in plan(config(**settings))}
    assert stages["lm_eval/base"].size == "2 tasks" and "lm_eval/sft" in stages
    outcome, said = run(**settings)
    assert said.index("lm_eval/base …") < said.index("models/sft …"), (
        "what can't be done is seen before hours are spent"
    )
    assert outcome.verdicts[-1] == "sft, tasks: worse in a acc -0.200"
    report = Path("out/evaluation/test/report.md").read_text()
    assert "| a | acc | 0.500 ± 0.010 | 0.300 ± 0.010 (-0.200*) |" in report
    assert "| b | acc | 0.500 ± 0.400 | 0.300 ± 0.400 (-0.200) |" in report
    assert "| b | ppl (lower is better) | 9.000 | 9.200 (+0.200) |" in report
    again, said = run(**settings)
    assert again == outcome and all(line.endswith("done before") for line in said if line.startswith("lm_eval"))
    failing = {**settings, "lm_eval": {"tasks": ["nosuch"]}}
    with pytest.raises(ValueError, match=r"lm_eval of model: exit code 1: ValueError: Tasks not found: nosuch; all of"):
        run("other", **failing)
    assert not Path("other/models").exists()


def test_without_lm_eval_it_is_said_first(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config(lm_eval={"tasks": ["a"]})
    with pytest.raises(
        ModuleNotFoundError, match=r"align.yaml: lm_eval needs the package lm-eval: pip install lm-eval"
    ):
        plan("align.yaml")
    assert not Path("out").exists()


def test_lm_eval_itself_does_a_local_task(place: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    from polyalign.align import _tasks

    write_jsonl(place / "colours.jsonl", [{"question": f"{at} is", "answer": at % 2} for at in range(6)])
    told = {
        "task": "colours", "dataset_path": "json", "test_split": "test", "output_type": "multiple_choice",
        "dataset_kwargs": {"data_files": {"test": str(place / "colours.jsonl")}}, "doc_to_text": "{{question}}",
        "doc_to_choice": ["red", "blue"], "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }  # fmt: skip
    (place / "tasks").mkdir()
    (place / "tasks" / "colours.yaml").write_text(yaml.safe_dump(told))
    settings = {"tasks": ["colours"], "include_path": "tasks", "batch_size": 2}
    found = _tasks.run(place, "model", "model", settings, {"device": "cpu", "dtype": "float32"})
    value, error, higher = found["scores"]["colours"]["acc"]
    assert 0 <= value <= 1 and error > 0 and higher
    assert json.loads((place / "results.json").read_text())["n-samples"]["colours"]["effective"] == 6


def test_the_first_settings(place: Path, cli: Cli) -> None:
    result = cli("align", "--init", "mine.yaml")
    assert result.returncode == 0, result.stderr
    assert (place / "mine.yaml").read_text("utf-8") == example()
    found = Config.read(place / "mine.yaml")
    assert [model.kind for model in found.models] == ["base", "prompt", "sft", "bucket_sft", "dpo", "hdpo"]
    # With every line that has a default or a further model.
    text = example().replace("  # ", "  ").replace("\n# start", "\nstart")
    assert cli("align", "--init", "mine.yaml").returncode == 1
    assert cli("align", "none.yaml").stderr.endswith("polyalign align --init none.yaml writes one\n")
    assert "dpo_norm" in text
