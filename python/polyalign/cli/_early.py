"""What is wrong with the arguments of ``sft`` and ``hdpo``, as far as it shows before torch is imported (seconds)."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import importlib.util
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import click

from polyalign._io import manifests
from polyalign._io.sources import DATA_READERS, data_suffix, is_path
from polyalign.cli import _config
from polyalign.cli._options import load_reference

__all__ = ["check", "check_model", "config_keys", "near", "normal"]

#: The sources that declare the options of both commands which are not ours; importing them takes seconds.
_THEIRS = {
    "trl": (
        "scripts/utils.py",
        "trainer/base_config.py",
        "trainer/sft_config.py",
        "trainer/dpo_config.py",
        "trainer/model_config.py",
    ),
    "transformers": ("training_args.py",),
}
#: What a folder with a trained model or adapter has.
_MODEL_FILES = ("config.json", "adapter_config.json")
#: What says how humans answer.
_HUMANS = ("reference", "critic", "held_out_critic")


def check(command: str, arguments: Sequence[str]) -> None:
    """Refuse what can't be meant: unknown options, files and folders that are not there, a finished model's folder.

    Raises
    ------
    click.UsageError
        An unknown option or key, or one that is missing.
    OSError
        A file or folder.
    """
    known = options()
    flags = normal(arguments)
    given = _flags(flags, known)
    if "config" in given:
        if known is not None:
            config_keys(given["config"], known)
        given = {**_in_file(given["config"]), **given}
    _require(given)
    check_model("--model_name_or_path", given["model_name_or_path"])
    for name in ("dataset_name", "bucket_counts", "ref_model", "chat_template_path", *_HUMANS):
        _check_there(name, given.get(name))
    _check_dataset(given.get("dataset_name"))
    if command == "hdpo":
        _check_humans(given)
    _check_output(command, given)


# ------------------------------------------------------------------------------------------------------- the options


def options() -> frozenset[str] | None:
    """Return the names of all options, TRL's from the sources that declare them; ``None`` if these are not there."""
    paths: list[Path] = []
    for package, names in _THEIRS.items():
        spec = importlib.util.find_spec(package)
        folders = (spec.submodule_search_locations if spec else None) or []
        paths += [Path(folder) / name for folder in folders for name in names]
    if len(paths) < sum(map(len, _THEIRS.values())) or not all(path.is_file() for path in paths):
        return None
    return _declared(tuple(paths))


@cache
def _declared(paths: tuple[Path, ...]) -> frozenset[str]:
    """Return the names that sources declare, and our own."""
    from polyalign.cli._script import HDPOOptions
    from polyalign.trainers._settings import BucketSFTSettings, HDPOSettings

    declared = (HDPOOptions, BucketSFTSettings, HDPOSettings)
    own = {field.name for settings in declared for field in dataclasses.fields(settings)}
    return frozenset(own.union(*map(_fields, paths)))


def _fields(path: Path) -> Iterable[str]:
    """Give the names of the fields that classes of a source declare."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                    yield line.target.id


def normal(arguments: Sequence[str]) -> list[str]:
    """Leave out what is not TRL's: a bare ``--debug``, and ``--config=FILE`` in one word."""
    found: list[str] = []
    for at, argument in enumerate(arguments):
        follower = arguments[at + 1] if at + 1 < len(arguments) else "-"
        if argument == "--debug" and follower.startswith("-"):
            continue
        if argument == "--config" and follower.startswith("-"):
            raise click.UsageError("--config needs a YAML file")
        found += argument.split("=", 1) if argument.startswith("--config=") else [argument]
    return found


def _flags(arguments: Sequence[str], known: frozenset[str] | None) -> dict[str, str]:
    """Return the values of flags by name; that of a bare one is empty."""
    given: dict[str, str] = {}
    for at, argument in enumerate(arguments):
        if not argument.startswith("--"):
            continue
        flag, _, value = argument.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if known is not None and name != "config" and name.removeprefix("no_") not in known and name not in known:
            raise click.UsageError(f"no such option: {flag}{near(flag, known)}")
        follower = arguments[at + 1] if at + 1 < len(arguments) else "--"
        given[name] = value or ("" if follower.startswith("--") else follower)
    return given


def config_keys(path: str, known: Iterable[str]) -> set[str]:
    """Return the keys of a file; of one that is none, say in which line."""
    known = {*known, "env"}
    seen: set[str] = set()
    for key, _, line in _entries(path):
        if key not in known:
            raise click.UsageError(f"{path}:{line}: unknown key {key!r}{near(key, known)}")
        if key in seen:
            raise click.UsageError(f"{path}:{line}: key {key!r} is there twice")
        seen.add(key)
    return seen


def _in_file(path: str) -> dict[str, str]:
    """Return the values of a file by key, as far as they are plain."""
    return {key: str(node.value) for key, node, _ in _entries(path) if isinstance(node.value, str) and node.value}


def _entries(path: str) -> list[tuple[str, Any, int]]:
    if not Path(path).is_file():
        raise click.UsageError(f"--config: {path}: no such file")
    return _config.read(Path(path))


def near(name: str, known: Iterable[str]) -> str:
    """Say which known name one is nearest to."""
    found = difflib.get_close_matches(name.lstrip("-").replace("-", "_").lower(), sorted(known), 1)
    return f"; did you mean {found[0]}?" if found else ""


def _require(given: Mapping[str, str]) -> None:
    if not given.get("model_name_or_path"):
        raise click.UsageError("say which model to train: --model_name_or_path")
    if not given.get("dataset_name") and "datasets" not in given and "config" not in given:
        raise click.UsageError("say what to train on: --dataset_name")


# ------------------------------------------------------------------------------------------------- files and folders


def _check_there(name: str, value: str | None) -> None:
    if value and not Path(value).exists() and (is_path(value) or Path(value).suffix in (*DATA_READERS, ".safetensors")):
        raise FileNotFoundError(f"--{name}: {value}: no such file or folder")


def check_model(flag: str, name: str) -> None:
    """Refuse a model's name that is a path at which there is none."""
    path = Path(name)
    if path.is_file():
        raise NotADirectoryError(f"{flag}: {name}: a file; give the model's folder, or its name on the hub")
    if path.is_dir():
        if not any((path / file).is_file() for file in _MODEL_FILES):
            raise FileNotFoundError(f"{flag}: {name}: no model: the folder has no config.json")
    elif is_path(name):
        raise FileNotFoundError(f"{flag}: {name}: no such folder")


def _check_dataset(name: str | None) -> None:
    """Refuse a file or folder that has no data in it."""
    path = Path(name or "")
    if not name or not path.exists():
        return
    if path.is_file():
        if data_suffix(path) not in DATA_READERS:
            raise ValueError(f"--dataset_name: {name}: not a data file; those end in {', '.join(DATA_READERS)}")
    elif not any(data_suffix(file) in DATA_READERS for file in path.rglob("*") if file.is_file()):
        raise FileNotFoundError(f"--dataset_name: {name}: the folder has no data files ({', '.join(DATA_READERS)})")


def _check_humans(given: Mapping[str, str]) -> None:
    """Refuse references and critics that are none, and data of other buckets; one of the hub is looked at later."""
    from polyalign.critics import _saved

    paths = {name: given[name] for name in _HUMANS if given.get(name) and Path(given[name]).exists()}
    for name, path in paths.items():
        # A critic is not made of what is read: that may import torch.
        is_saved = name != "reference" and (Path(path) / "manifest.json").is_file()
        found = _saved.read(path) if is_saved else load_reference(path)
        if given.get("dataset_name"):
            manifests.check_fits(given["dataset_name"], found)
    trains, held_out = paths.get("critic", paths.get("reference")), paths.get("held_out_critic")
    if trains and held_out and os.path.realpath(trains) == os.path.realpath(held_out):
        raise ValueError(f"--held_out_critic: {held_out}: the one that trains; give one of another kind")


def _check_output(command: str, given: Mapping[str, str]) -> None:
    """Refuse an output that is a file, that can't be written, or that a finished model would be lost in."""
    name = given.get("output_dir") or "trainer_output"
    path = Path(name)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"--output_dir: {name}: a file; name a folder")
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not os.access(there, os.W_OK):
        raise PermissionError(f"--output_dir: {name}: {there} can't be written to")
    if path.resolve() == Path(given["model_name_or_path"]).resolve():
        raise ValueError(f"--output_dir: {name}: the model that trains is in it: name another folder")
    resumes = given.get("resume_from_checkpoint", "false").lower() != "false"
    overwrites = given.get("overwrite", "false").lower() != "false"
    if not (resumes or overwrites) and any((path / file).is_file() for file in _MODEL_FILES):
        raise FileExistsError(
            f"--output_dir: {name}: there is a model in it: name another folder, or give --overwrite to replace it "
            f"(--resume_from_checkpoint true goes on with an interrupted polyalign {command})"
        )
