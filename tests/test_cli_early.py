"""A mistake in `polyalign sft` and `hdpo` is refused before torch is imported, which takes seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import humans
from conftest import Cli, clean_environment, write_jsonl
from polyalign import Bucketer, BucketSchema, Reference, critics
from polyalign.cli import _early, run

ARGUMENTS = ("--model_name_or_path", "model", "--dataset_name", "data/", "--output_dir", "out")
LIST = (
    "import sys; from polyalign import cli; code = cli.run(sys.argv[1:]); print('torch' in sys.modules); sys.exit(code)"
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "part.parquet").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "adapter_config.json").write_text("{}")
    (tmp_path / "odd.yaml").write_text("learning_rate: 1e-3\n\nlerning_rate: 1e-3\n")
    (tmp_path / "twice.yaml").write_text("tau: 1\ntau: 0.5\n")


def change(name: str, value: str) -> list[str]:
    changed = list(ARGUMENTS)
    changed[changed.index(f"--{name}") + 1] = value
    return changed


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([*ARGUMENTS, "--lerning_rate", "1"], 2, "no such option: --lerning_rate; did you mean learning_rate?"),
        ([*ARGUMENTS, "--no-such=1"], 2, "no such option: --no-such"),
        ([*ARGUMENTS, "--config", "none.yaml"], 2, "--config: none.yaml: no such file"),
        ([*ARGUMENTS, "--config", "odd.yaml"], 2, "odd.yaml:3: unknown key 'lerning_rate'; did you mean"),
        ([*ARGUMENTS, "--config", "twice.yaml"], 2, "twice.yaml:2: key 'tau' is there twice"),
        (ARGUMENTS[2:], 2, "say which model to train: --model_name_or_path"),
        (ARGUMENTS[:2], 2, "say what to train on: --dataset_name"),
        (change("model_name_or_path", "./none"), 1, "--model_name_or_path: ./none: no such folder"),
        (change("model_name_or_path", "empty"), 1, "empty: no model: the folder has no config.json"),
        (change("model_name_or_path", "notes.txt"), 1, "notes.txt: a file; give the model's folder"),
        (change("dataset_name", "none/"), 1, "--dataset_name: none/: no such file or folder"),
        (change("dataset_name", "none.jsonl"), 1, "--dataset_name: none.jsonl: no such file or folder"),
        (change("dataset_name", "notes.txt"), 1, "--dataset_name: notes.txt: not a data file; those end in .parquet"),
        (change("dataset_name", "empty"), 1, "--dataset_name: empty: the folder has no data files"),
        (change("output_dir", "notes.txt"), 1, "--output_dir: notes.txt: a file; name a folder"),
        (change("output_dir", "model"), 1, "--output_dir: model: the model that trains is in it"),
        (change("output_dir", "done"), 1, "--output_dir: done: there is a model in it: name another"),
        ([*ARGUMENTS, "--bucket_counts", "./none.json"], 1, "--bucket_counts: ./none.json: no such file or folder"),
    ],
    ids=lambda value: value[-60:] if isinstance(value, str) else "",
)  # fmt: skip
def test_mistakes_are_refused(arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("sft", "hdpo"):
        assert run([command, *arguments]) == code
        assert said in " ".join(capsys.readouterr().err.split())


def test_torch_is_not_imported_to_refuse(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LIST, "sft", *change("dataset_name", "none/")],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (1, "False\n")


def test_a_reference_is_looked_for_at_once(cli: Cli) -> None:
    result = cli("hdpo", *ARGUMENTS, "--reference", "none.safetensors")
    assert result.returncode == 1
    assert "--reference: none.safetensors: no such file or folder" in result.stderr


@pytest.mark.parametrize("option", ["", "--length-edges 5,9,20", "--length-unit characters", "--axes language,length"])
@pytest.mark.parametrize("made_by", ["bucket", "pairs"])
def test_buckets_that_the_reference_means_otherwise_are_refused_at_once(
    cli: Cli, tmp_path: Path, option: str, made_by: str
) -> None:
    rows = [{"id": str(at), "prompt": f"Is it {at}?", "completion": f"Yes, {at}, I think."} for at in range(20)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    write_jsonl(tmp_path / "samples.jsonl", [{"id": row["id"], "response": "No."} for row in rows])
    for name, more in (("others", option), ("own", "")):
        options = f"--length-unit words {more}" if "unit" not in more else more
        result = cli("bucket", "rows.jsonl", "--out", name, "--reference", f"{name}.safetensors", *options.split())
        assert result.returncode == 0, result.stderr
    if made_by == "pairs":
        assert cli("pairs", "others", "--samples", "samples.jsonl", "--out", "pairs").returncode == 0
    data = "pairs" if made_by == "pairs" else "others"
    given = ["hdpo", *change("dataset_name", data), "--reference", "own.safetensors"]
    if not option:
        _early.check("hdpo", given[1:])
        return
    result = cli(*given)
    assert result.returncode == 1
    assert f"{data}: bucketed with" in " ".join(result.stderr.split())
    assert "bucket the records alike, or build the reference of the same corpus" in " ".join(result.stderr.split())
    listed = subprocess.run(
        [sys.executable, "-c", LIST, *given], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (listed.returncode, listed.stdout) == (1, "False\n")


def test_critics_are_looked_at_at_once(cli: Cli, tmp_path: Path) -> None:
    for name, schema in (("own", humans.SCHEMA), ("other", BucketSchema(length_unit="words", length_edges=(3, 7)))):
        bucketer = Bucketer(schema)
        rows = write_jsonl(tmp_path / f"{name}.jsonl", list(humans.records()))
        bucketer.bucket_files(rows, tmp_path / f"{name}-bucketed", reference=tmp_path / f"{name}.safetensors")
        critics.SupportCritic(Reference.load(tmp_path / f"{name}.safetensors")).save(tmp_path / name)
    given = ["hdpo", *change("dataset_name", "own-bucketed")]
    refused = {
        "--critic none/": "--critic: none/: no such file or folder",
        "--held_out_critic none.safetensors": "--held_out_critic: none.safetensors: no such file or folder",
        "--critic own-bucketed": "own-bucketed: not a critic but polyalign buckets",
        "--critic other": "own-bucketed: bucketed with length_edges [8,20,60], the critic with [3,7]",
        "--critic own.safetensors --held_out_critic other.safetensors": "the reference with [3,7]",
        "--critic own --held_out_critic ./own/": "--held_out_critic: ./own/: the one that trains",
        "--reference own.safetensors --held_out_critic own.safetensors": "own.safetensors: the one that trains",
    }
    for options, said in refused.items():
        listed = subprocess.run(
            [sys.executable, "-c", LIST, *given, *options.split()], cwd=tmp_path, env=clean_environment(),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (listed.returncode, listed.stdout) == (1, "False\n"), options
        assert said in " ".join(listed.stderr.split()), options
    _early.check("hdpo", [*given[1:], "--reference", "own.safetensors", "--critic", "own"])
    (tmp_path / "own" / "human.safetensors").write_bytes(b"{}")
    with pytest.raises(ValueError, match=r"human\.safetensors: not the file that manifest\.json lists"):
        _early.check("hdpo", [*given[1:], "--critic", "own"])


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_must_be_writable(tmp_path: Path) -> None:
    (tmp_path / "empty").chmod(0o500)
    with pytest.raises(PermissionError, match="empty can't be written to"):
        _early.check("sft", change("output_dir", "empty/out"))


def test_what_goes_on_or_is_told_to_overwrite_may() -> None:
    done = change("output_dir", "done")
    for more in (["--overwrite"], ["--overwrite", "true"], ["--resume_from_checkpoint", "true"]):
        _early.check("sft", [*done, *more])
    for more in (["--overwrite", "false"], ["--resume_from_checkpoint", "false"]):
        with pytest.raises(FileExistsError):
            _early.check("sft", [*done, *more])


def test_names_on_the_hub_are_left_to_it() -> None:
    _early.check("sft", ["--model_name_or_path", "Qwen/Qwen2.5-1.5B", "--dataset_name", "owner/name"])


def test_all_options_of_the_parsers_are_known() -> None:
    pytest.importorskip("trl", reason="trl is not installed: pip install 'polyalign[train]'")
    from polyalign.cli._training import make_parser

    known = _early.options()
    assert known is not None
    for command in ("sft", "hdpo"):
        flags = {flag for action in make_parser(command)._actions for flag in action.option_strings}
        names = {flag.lstrip("-").replace("-", "_") for flag in flags} - {"h", "help"}
        assert {name for name in names if name not in known and name.removeprefix("no_") not in known} == set()
