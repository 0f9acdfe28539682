"""Rounds of generating, training a critic, pairing and HDPO: what is made, what is not made again."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import humans
from conftest import Cli, write_jsonl
from polyalign import Bucketer, BucketSchema, critics
from polyalign import cli as command_line

pytest.importorskip("trl", reason="trl is not installed: pip install 'polyalign[train]'")

import tiny
from polyalign._io import stages
from polyalign.generation import Sampling
from polyalign.rounds import Report, rounds

pytestmark = pytest.mark.slow

STAGES = ["samples", "critic", "pairs", "hdpo", "answers", "evaluation"]
HDPO = {**tiny.QUIET, "max_steps": 1, "per_device_train_batch_size": 4, "max_new_tokens": 4, "learning_rate": 1e-3}
#: What is quick.
SETTINGS: dict[str, Any] = {
    "hdpo": HDPO,
    "sampling": Sampling(samples=2, max_new_tokens=6),
    "prompts": 40,
    "critic": "support",
    "held_out": "lexical",
    "evaluate": 10,
}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bucketed corpus and a model."""
    folder = tmp_path_factory.mktemp("rounds")
    records = [
        {
            **row,
            "id": f"{row['id']}-{copy}",
            "completion": [{**row["completion"][0], "content": f"{text} {copy}"}],
        }
        for copy in (1, 2, 3)
        for row in humans.records()
        for text in [row["completion"][0]["content"]]
        if row["language"] != "fr"
    ]
    write_jsonl(folder / "records.jsonl", records)
    Bucketer(humans.SCHEMA).bucket_files(folder / "records.jsonl", folder / "bucketed", test_share=0.2)
    tokenizer = tiny.chat_tokenizer()
    tiny.chat_model(len(tokenizer)).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder


def run(given: Path, out: Path, **settings: Any) -> tuple[Report, list[str]]:
    said: list[str] = []
    report = rounds(given / "bucketed", given / "model", out, **{**SETTINGS, **settings}, say=said.append)
    return report, said


@pytest.fixture(scope="module")
def made(given: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report, list[str]]:
    out = tmp_path_factory.mktemp("made") / "out"
    return out, *run(given, out)


def stage(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "stage.json").read_text("utf-8"))
    return found


def test_two_rounds(made: tuple[Path, Report, list[str]]) -> None:
    out, report, said = made
    for number in (1, 2):
        folder = out / f"round-{number}"
        assert sorted(path.name for path in folder.iterdir()) == sorted(STAGES)
        assert all(stage(folder / name)["done"] for name in STAGES)
        assert (folder / "hdpo" / "model" / "model.safetensors").is_file()
        assert critics.load(folder / "critic" / "critic")
        scored, trained = (
            pq.read_table(folder / name) for name in ("pairs/pairs/data/train-00000.parquet", "hdpo/pairs.parquet")
        )
        assert trained == scored.drop_columns(["chosen_score", "rejected_score"])
        lines = (folder / "samples" / "samples.jsonl").read_text("utf-8").splitlines()
        assert len(lines) == 80
    assert [row.name for row in report.rounds] == ["humans", "start", "round 1", "round 2"]
    assert report.model == str(out / "round-2" / "hdpo" / "model")
    assert report.split == "test"
    assert json.loads((out / "rounds.json").read_text("utf-8")) == json.loads(report.to_json())
    people, start, *_ = report.rounds
    assert people.answers == start.answers == 10
    assert people.held_out_percentile is not None
    assert start.held_out_percentile is not None
    assert people.held_out_percentile < start.held_out_percentile, "a random model is no human"
    assert "held-out critic" in str(report)
    assert "10 answers to held-out prompts" in str(report)
    assert any("round-2/hdpo …" in line for line in said)
    assert any("answers" in line and "empty" in line for line in said)


def test_each_round_goes_on_from_the_last(made: tuple[Path, Report, list[str]]) -> None:
    out, _, _ = made
    first, second = (json.loads((out / f"round-{number}/hdpo/hdpo.yaml").read_text()) for number in (1, 2))
    assert second["model_name_or_path"] == str(out / "round-1" / "hdpo" / "model")
    assert first["held_out_critic"] == second["held_out_critic"] == str(out / "held-out" / "critic")
    assert first["critic"] == str(out / "round-1" / "critic" / "critic")
    inputs = stage(out / "round-2" / "samples")["inputs"]
    assert inputs["model"]["name"] == "round-1"
    assert inputs["sampling"]["seed"] == 2
    asked = [stage(out / name / "answers")["inputs"]["sampling"]["seed"] for name in ("start", "round-1", "round-2")]
    assert asked == [0, 0, 0], "what changes is the model"
    assert len(stage(out / "round-2" / "critic")["inputs"]["samples"]) == 2


def test_what_is_done_is_not_done_again(given: Path, made: tuple[Path, Report, list[str]], tmp_path: Path) -> None:
    out, report, _ = made
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != "rounds.json"}
    again, said = run(given, out)
    assert again == report
    assert {line.split(": ")[-1] for line in said} == {"done before"}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    longer = tmp_path / "longer"
    shutil.copytree(out, longer)
    _, said = run(given, longer, rounds=3)
    assert [line for line in said if line.startswith("round-2/")] == [f"round-2/{name}: done before" for name in STAGES]
    assert (longer / "round-3" / "hdpo" / "model" / "model.safetensors").is_file()


class Interruption(KeyboardInterrupt):
    pass


@pytest.mark.parametrize("after", [f"round-1/{name}" for name in STAGES])
def test_interrupted_it_ends_with_the_same(
    given: Path,
    made: tuple[Path, Report, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: str,
) -> None:
    """Cut off within a stage, when all of its work is done but it is not said to be."""
    out, report, _ = made
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    # As if nothing had come after it.
    for name in STAGES[STAGES.index(after.split("/")[1]) :]:
        shutil.rmtree(copy / "round-1" / name)
    shutil.rmtree(copy / "round-2")
    (copy / "rounds.json").unlink()
    write = stages._write

    def cut_off(folder: Path, told: Any) -> None:
        if told["done"] and folder == copy / after:
            raise Interruption
        write(folder, told)

    monkeypatch.setattr(stages, "_write", cut_off)
    with pytest.raises(Interruption):
        run(given, copy)
    assert not (copy / "rounds.json").exists()
    monkeypatch.setattr(stages, "_write", write)
    again, said = run(given, copy)
    assert f"{after}: goes on …" in said
    assert again.to_dict()["rounds"] == tuple(
        {**row, "model": row["model"] and row["model"].replace(str(out), str(copy))}
        for row in report.to_dict()["rounds"]  # type: ignore[attr-defined]
    )
    for name in ("round-1", "round-2"):
        weights = [(folder / name / "hdpo" / "model" / "model.safetensors").read_bytes() for folder in (out, copy)]
        assert weights[0] == weights[1]


def test_other_settings_are_refused_or_made_anew(
    given: Path, made: tuple[Path, Report, list[str]], tmp_path: Path
) -> None:
    out, _, _ = made
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    with pytest.raises(ValueError, match=r"round-1/pairs: select was \"furthest\", and is \"all\"; give what it was"):
        run(given, copy, select="all")
    _, said = run(given, copy, select="all", rounds=1, overwrite=True)
    assert "round-1/critic: done before" in said
    assert "round-1/pairs …" in said
    assert "round-1/hdpo …" in said
    (copy / "round-1" / "critic" / "critic" / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match=r"critic/manifest.json is not the file that stage.json lists"):
        run(given, copy, select="all", rounds=1)
    (copy / "round-1" / "critic" / "stage.json").unlink()
    with pytest.raises(FileExistsError, match="round-1/critic: not a stage of polyalign"):
        run(given, copy, select="all", rounds=1)


def test_without_samples_in_training_the_held_out_critic_judges_answers_alone(
    given: Path, made: tuple[Path, Report, list[str]], tmp_path: Path
) -> None:
    shutil.copytree(made[0], tmp_path / "out")
    report, _ = run(given, tmp_path / "out", rounds=1, hdpo={**HDPO, "lambda_online": 0.0}, overwrite=True)
    assert "held_out_critic" not in json.loads((tmp_path / "out/round-1/hdpo/hdpo.yaml").read_text())
    assert report.rounds[-1].held_out_percentile is not None


def test_a_critic_learns_from_all_answers_or_the_last(given: Path, tmp_path: Path) -> None:
    settings = {"critic": "discriminative", "select": "all", "prompts": 200}
    out = tmp_path / "out"
    report, said = run(given, out, **settings)
    assert report.rounds[-1].critic_percentile is not None
    heard = [json.loads(line) for line in (out / "round-2/critic/samples.jsonl").read_text("utf-8").splitlines()]
    drawn = {(line["id"], line["response"]) for line in heard}
    assert len(heard) == len({line["id"] for line in heard})
    of = {
        number: {
            (line["id"], line["response"])
            for line in map(json.loads, (out / f"round-{number}/samples/samples.jsonl").open(encoding="utf-8"))
        }
        for number in (1, 2)
    }
    assert drawn <= of[1] | of[2]
    assert drawn & (of[1] - of[2])
    assert drawn & (of[2] - of[1])
    assert any("discriminative; rows: " in line for line in said)
    with pytest.raises(ValueError, match="round-2/critic: samples was"):
        run(given, out, **settings, critic_samples="last")


def test_by_default_an_ensemble_trains_and_embeddings_judge(given: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report, _ = run(given, out, rounds=1, critic="ensemble", held_out="embedding", prompts=200)
    assert stage(out / "held-out")["inputs"]["encoder"]["name"] == "model"
    assert all(row.held_out_percentile is not None and row.critic_percentile is not None for row in report.rounds)


def test_an_adapter_trains_on(given: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="peft is not installed: pip install 'polyalign[peft]'")
    hdpo = {**HDPO, "use_peft": True, "lora_r": 2, "lora_target_modules": ["q_proj", "v_proj"]}
    report, _ = run(given, tmp_path / "out", hdpo=hdpo)
    for number in (1, 2):
        model = tmp_path / "out" / f"round-{number}" / "hdpo" / "model"
        assert (model / "adapter_config.json").is_file()
        assert not (model / "config.json").exists()
    assert report.rounds[-1].answers == 10


def test_another_process_trains_and_another_engine_answers(given: Path, tmp_path: Path) -> None:
    class Terse:
        """Says the same to all."""

        def __init__(self, model: str) -> None:
            self.name = model
            names.append(Path(model).name)

        def check(self) -> None: ...

        def form(self, form: Any) -> str:
            return "chat"

        def settings(self) -> dict[str, Any]:
            return {"engine": "terse"}

        def prepare(self, prompt: Any, *_: Any) -> Any:
            return prompt

        def notes(self) -> list[str]:
            return ["it says the same to all"]

        def answers(self, requests: Any, *_: Any) -> Any:
            from polyalign.generation import Answer

            for request in requests:
                yield [Answer(request.key, "I think so." if request.key[1] else "No!!! No!!! No!!!")]

    names: list[str] = []
    (tmp_path / "hdpo.yaml").write_text(json.dumps(HDPO))
    report, said = run(
        given, tmp_path / "out", rounds=1, engine=Terse, launch=sys.executable, hdpo=tmp_path / "hdpo.yaml"
    )
    assert names == ["model", "model", "model"]
    assert "warning: it says the same to all" in said
    distinct = [row.distinct_2 for row in report.rounds]
    assert distinct[1] == distinct[2]
    assert distinct[1] is not None
    assert distinct[1] < 0.3
    assert (tmp_path / "out" / "round-1" / "hdpo" / "model" / "model.safetensors").is_file()
    with pytest.raises(ChildProcessError, match="exit code"):
        run(given, tmp_path / "other", rounds=1, engine=Terse, launch="false")


# ------------------------------------------------------------------------------------------------- bad input

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "rounds": ({"rounds": 0}, "rounds is 0: it must be 1 or more"),
    "critic": ({"critic": "best"}, "critic is 'best': it must be one of support, "),
    "same": ({"critic": "support", "held_out": "support"}, "held_out is 'support', which trains"),
    "part": ({"critic": "ensemble", "held_out": "lexical"}, "held_out is 'lexical', which trains"),
    "learnt": ({"held_out": "discriminative"}, "held_out is 'discriminative', which learns from samples"),
    "samples": ({"critic_samples": "some"}, "critic_samples is 'some': it must be one of all, last"),
    "single": ({"sampling": Sampling()}, "select 'furthest' chooses among several answers"),
    "ours": ({"hdpo": {**HDPO, "output_dir": "x"}}, "hdpo: output_dir is for the rounds to say: leave it out"),
    "unknown": ({"hdpo": {**HDPO, "bata": 0.1}}, "hdpo: no such option: --bata; did you mean beta"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_said_first(given: Path, tmp_path: Path, case: str) -> None:
    settings, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        run(given, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_files_that_are_none(given: Path, tmp_path: Path) -> None:
    ask: Callable[..., Any] = rounds
    for text, message in (("[", "not YAML"), ("- a", "not a mapping"), ("bata: 1", "hdpo.yaml:1: unknown key 'bata'")):
        (tmp_path / "hdpo.yaml").write_text(text)
        with pytest.raises(ValueError, match=message):
            ask(given / "bucketed", given / "model", tmp_path / "out", **{**SETTINGS, "hdpo": tmp_path / "hdpo.yaml"})
    with pytest.raises(ValueError, match="not a folder that polyalign bucket made"):
        ask(tmp_path, given / "model", tmp_path / "out", **SETTINGS)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        ask(given / "bucketed", given / "model", tmp_path / "no" / "out", **SETTINGS)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="a file; name a folder"):
        ask(given / "bucketed", given / "model", tmp_path / "file", **SETTINGS)


def test_a_critic_that_exists_judges(
    given: Path, made: tuple[Path, Report, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = made[0] / "held-out" / "critic"
    report, _ = run(given, tmp_path / "out", rounds=1, held_out="embedding", held_out_critic=judge)
    assert report.rounds[:3] == tuple(
        dataclasses.replace(row, model=row.model and row.model.replace(str(made[0]), str(tmp_path / "out")))
        for row in made[1].rounds[:3]
    )
    with pytest.raises(FileNotFoundError, match="no critic is there"):
        run(given, tmp_path / "other", held_out_critic=tmp_path / "nothing")
    other = BucketSchema(length_unit="words", length_edges=(7,))
    critics.LexicalCritic.from_arrow(Bucketer(other).assign(_table()), schema=other).save(tmp_path / "critic")
    with pytest.raises(ValueError, match="the critic"):
        run(given, tmp_path / "other", held_out_critic=tmp_path / "critic")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="rounds run in one process"):
        run(given, tmp_path / "other")


def _table() -> Any:
    import pyarrow as pa

    return pa.Table.from_pylist(list(humans.records()))


def test_the_command(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What Python made goes on with the command, with the same settings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hdpo.yaml").write_text(json.dumps(HDPO))
    run(given, Path("out"), rounds=1)
    command = [
        "rounds",
        given / "bucketed",
        "--model",
        given / "model",
        "--hdpo",
        "hdpo.yaml",
        "--out",
        "out",
        "-n",
        "1",
    ]
    rest = ["-k", "2", "--max-new-tokens", "6", "--prompts", "40", "--critic", "support", "--held-out", "lexical"]
    given_all = [*map(str, command), *rest, "--evaluate", "10"]
    assert command_line.run(given_all) == 0
    shown = capsys.readouterr().out
    assert "round-1/hdpo: done before" in shown
    assert "held-out critic" in shown
    assert "written to out" in shown
    assert command_line.run([*given_all, "--json"]) == 0
    told = capsys.readouterr()
    assert [row["name"] for row in json.loads(told.out)["rounds"]] == ["humans", "start", "round 1"]
    assert "round-1/hdpo: done before" in told.err


def test_the_command_says_what_is_wrong(cli: Cli, given: Path, tmp_path: Path) -> None:
    for arguments, code, message in (
        ([given / "bucketed", "--model", given / "model"], 2, "--out"),
        ([tmp_path / "nothing", "--model", "m", "-o", "x"], 2, "nothing"),
        ([given / "bucketed", "--model", tmp_path / "no" / "model", "-o", "x"], 1, "no such folder"),
        ([given / "bucketed", "--model", given / "model", "-o", "x", "-k", "1"], 1, "chooses among several answers"),
        ([given / "bucketed", "--model", given / "model", "-o", "x", "--threshold", "a"], 2, "not two percentiles"),
    ):
        result = cli("rounds", *arguments)
        assert (result.returncode, result.stdout) == (code, ""), result.stderr
        (line,) = result.stderr.splitlines()
        assert message in line
