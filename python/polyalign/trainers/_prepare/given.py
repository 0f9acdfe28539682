"""What the trainers are given by name: data sets and references."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets

from polyalign._io.sources import DATA_READERS, data_suffix, is_path
from polyalign.reference import Reference

__all__ = ["as_dataset", "as_reference", "load"]


def as_reference(given: Any) -> Reference | None:
    """Return a reference: itself, or the one of a file, of a folder, or of the hub."""
    if isinstance(given, (str, os.PathLike)):
        return Reference.from_pretrained(given)
    if given is not None and not hasattr(given, "support_distance"):
        raise TypeError(f"reference is a Reference, or its file's name, not {type(given).__name__}: ref_model is TRL's")
    found: Reference | None = given
    return found


def as_dataset(given: Any, name: str) -> Any:
    """Return a data set: itself, or the split ``train`` of a folder, a file, or a data set of the hub.

    Raises
    ------
    TypeError
        It is none.
    ValueError
        It has no rows.
    FileNotFoundError
        There is no such file.
    """
    if given is None:
        return None
    if isinstance(given, (datasets.DatasetDict, datasets.IterableDatasetDict)):
        raise TypeError(f"{name} has splits, {', '.join(given)}: give one of them, as data['{next(iter(given))}']")
    if isinstance(given, Mapping) and name == "eval_dataset":
        return {key: as_dataset(each, f"{name}[{key!r}]") for key, each in given.items()}
    if isinstance(given, (str, os.PathLike)):
        given = load(os.fspath(given), None, "train", streaming=False)
    if not isinstance(given, (datasets.Dataset, datasets.IterableDataset)):
        raise TypeError(
            f"{name} is a {type(given).__name__}: give a Dataset (datasets.Dataset.from_list makes one of a list of "
            "rows), a folder of polyalign bucket or pairs, a file, or a name on the hub"
        )
    if isinstance(given, datasets.Dataset) and len(given) == 0:
        raise ValueError(f"{name} has no rows")
    return given


def load(name: str, config: str | None, split: str, *, streaming: bool) -> Any:
    """Load a split of a data set: a folder, a file, or a name on the hub."""
    path = Path(name)
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        saved = datasets.load_from_disk(name)
        if isinstance(saved, datasets.Dataset):
            saved = {"train": saved}
        if split not in saved:
            raise ValueError(f"no such split; there is {', '.join(saved)}")
        return saved[split].to_iterable_dataset() if streaming else saved[split]
    ending = data_suffix(path)
    if path.is_file():
        if ending not in DATA_READERS:
            raise ValueError(f"{name}: not a data file; those end in {', '.join(DATA_READERS)}")
        return datasets.load_dataset(DATA_READERS[ending], data_files=name, split=split, streaming=streaming)
    if not path.exists() and (ending in DATA_READERS or is_path(name)):
        raise FileNotFoundError(f"{name}: no such file or folder")
    return datasets.load_dataset(name, config, split=split, streaming=streaming)
