"""Finding tokenizers and data sets: on disk, in loaded objects, on the Hugging Face hub."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from polyalign._io import ranks
from polyalign._io.tokenizer_config import encoding_special, with_config

_TOKENIZER = "tokenizer.json"
#: What a folder may hold in its place.
_OTHERS = ("tekken.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
_DATASET_URL = "hf://datasets/"
_DATA_SUFFIXES = ("jsonl", "ndjson", "json", "parquet", "arrow", "feather", "ipc")
_DATA_PATTERNS = [f"*.{suffix}{zip_}" for suffix in _DATA_SUFFIXES for zip_ in ("", ".gz", ".zst")]
_NOT_DATA = ["dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", ".*"]
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

_T = TypeVar("_T")


def tokenizer_json(source: object, revision: str | None = None) -> tuple[bytes, str]:
    """Return the tokenizer.json or tokenizer.model of `source`, and a name of `source` for messages."""
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if ranked := ranks.pattern_of(os.fspath(source)):
            pattern, path = ranked
            return ranks.from_tiktoken(path.read_bytes(), pattern, str(path)), str(path)
        if path.exists():
            return _read_tokenizer(path), str(path)
        if isinstance(source, os.PathLike) or source.endswith((".json", ".model")) or is_path(source):
            raise FileNotFoundError(
                f"{path}: no such file or directory; give a tokenizer.json, a tokenizer.model or their folder"
            )
        return _hub_tokenizer(source, revision), source
    return _object_json(source), type(source).__name__


def _read_tokenizer(path: Path) -> bytes:
    file = path / _TOKENIZER if path.is_dir() else path
    if not file.exists():
        file = next((other for name in _OTHERS if (other := path / name).is_file()), file)
    if ranks.is_tekken(file):
        return ranks.from_tekken(file.read_bytes(), str(file))
    if not file.exists():
        raise FileNotFoundError(
            f"{file}: no such file; write one with AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    if file.name != _TOKENIZER:
        return ranks.without_ranks(file.read_bytes(), str(file))

    def beside(name: str) -> Path | None:
        other = file.with_name(name)
        return other if other.is_file() else None

    return with_config(file.read_bytes(), beside, str(path))


def _object_json(source: Any) -> bytes:
    """Return the JSON of a loaded `tokenizers` or `transformers` tokenizer."""
    name = type(source).__name__
    backend = getattr(source, "backend_tokenizer", source)
    if not hasattr(backend, "to_str") and hasattr(source, "tokenizer"):  # a transformers processor
        return _object_json(source.tokenizer)
    if hasattr(backend, "to_str"):
        try:
            content = str(backend.to_str()).encode()
        except Exception as error:  # tokenizers raises plain Exception for custom Python components
            raise ValueError(f"{name} can't be written as a tokenizer.json: {error}") from None
        # Of transformers and of tokenizers: transformers sets the other's from its own at each call.
        splits = getattr(source, "split_special_tokens", getattr(backend, "encode_special_tokens", False))
        return encoding_special(content) if splits else content
    if hasattr(source, "encode") and hasattr(source, "convert_ids_to_tokens"):
        raise TypeError(
            f"{name} is a transformers tokenizer without a Rust backend, so it has no tokenizer.json: "
            "load a fast one (AutoTokenizer.from_pretrained) or convert it first"
        )
    raise TypeError(
        f"{name} is not a tokenizer: give a tokenizer.json path, a directory, a hub name, "
        "a tokenizers.Tokenizer or a transformers fast tokenizer"
    )


def _hub_tokenizer(name: str, revision: str | None) -> bytes:
    from huggingface_hub import hf_hub_download

    path = _from_hub(name, "model", lambda: hf_hub_download(name, _TOKENIZER, revision=revision))

    def beside(file: str) -> Path | None:
        with contextlib.suppress(FileNotFoundError):  # many have none, and offline it need not be in the cache
            return Path(_from_hub(name, "model", lambda: hf_hub_download(name, file, revision=revision)))
        return None

    return with_config(Path(path).read_bytes(), beside, name)


def hub_reference(name: str, file: str, revision: str | None) -> str:
    """Return where a reference of the hub is downloaded to."""
    from huggingface_hub import hf_hub_download

    def download() -> str:
        return hf_hub_download(name, file, repo_type="dataset", revision=revision)

    return _from_hub(name, "dataset", download)


def local_inputs(inputs: list[str]) -> list[str]:
    """Replace hub data sets among the inputs by the folder they are downloaded to."""
    return [_local_input(name) for name in inputs]


def local_output(name: str) -> str:
    """Return the name of an output, if one can be made there."""
    _check_name(name)
    if _URL.match(name):
        raise ValueError(f"{name}: an output is a folder of this machine; copy it there afterwards")
    return name


def _check_name(name: str) -> None:
    if not name:
        raise ValueError("the name of an input or output is empty")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name!a}: the name is not UTF-8; rename the file") from None


def _local_input(name: str) -> str:
    _check_name(name)
    if _URL.match(name) and not name.startswith(_DATASET_URL):
        raise ValueError(f"{name}: not a file of this machine; download it, or pipe it to polyalign bucket -")
    if not name.startswith(_DATASET_URL):
        if name == "-" or not _REPO_ID.fullmatch(name) or Path(name).exists() or _is_data_file(name):
            return name
        return _download_dataset(name, None, "")
    owner, _, rest = name.removeprefix(_DATASET_URL).partition("/")
    repo, _, inner = rest.partition("/")
    repo, _, revision = repo.partition("@")
    if not _REPO_ID.fullmatch(f"{owner}/{repo}"):
        raise ValueError(f"{name}: a hub data set is named {_DATASET_URL}OWNER/NAME[@REVISION][/FILES]")
    return _download_dataset(f"{owner}/{repo}", revision or None, inner)


def _is_data_file(name: str) -> bool:
    """Whether a two-part name is that of a (missing) data file, not of a hub data set."""
    return Path(name).suffix.removeprefix(".") in {*_DATA_SUFFIXES, "gz", "zst"}


def _download_dataset(repo: str, revision: str | None, inner: str) -> str:
    from huggingface_hub import snapshot_download

    patterns = [inner, f"{inner.rstrip('/')}/*"] if inner else _DATA_PATTERNS
    folder = _from_hub(
        repo,
        "dataset",
        lambda: snapshot_download(
            repo, repo_type="dataset", revision=revision, allow_patterns=patterns, ignore_patterns=_NOT_DATA
        ),
    )
    return str(Path(folder) / inner) if inner else folder


def _from_hub(name: str, kind: str, download: Callable[[], _T]) -> _T:
    """Run a download; say in one line what the hub's many errors mean."""
    from huggingface_hub import constants, errors

    what = "a tokenizer.json" if kind == "model" else "data files"
    try:
        return download()
    except errors.HFValidationError:
        raise FileNotFoundError(f"{name}: not on disk, and not a name the hub could have") from None
    except errors.GatedRepoError:
        raise PermissionError(f"{name}: gated on the hub; accept its terms there, then `hf auth login`") from None
    except errors.RepositoryNotFoundError:
        raise FileNotFoundError(f"{name}: not on disk, and no such {kind} on the hub (or it is private)") from None
    except errors.RevisionNotFoundError:
        raise FileNotFoundError(f"{name}: the hub has no such revision of it") from None
    except errors.LocalEntryNotFoundError:
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub can't be reached"
        raise FileNotFoundError(f"{name}: not on disk, {what} of that name not in the hub cache, and {why}") from None
    except errors.EntryNotFoundError:
        raise FileNotFoundError(f"{name}: found on the hub, but it has no {what.removeprefix('a ')}") from None
    except (errors.OfflineModeIsEnabled, ConnectionError) as error:
        raise FileNotFoundError(f"{name}: not on disk, and the hub can't be reached ({error})") from None


#: How `datasets` reads a file with an ending.
DATA_READERS = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".csv": "csv", ".arrow": "arrow"}
_COMPRESSED = {".gz", ".zst", ".bz2", ".xz"}


def data_suffix(path: Path) -> str:
    """Return the ending of a file that says what it holds, below that of its compression."""
    return next((suffix for suffix in reversed(path.suffixes) if suffix not in _COMPRESSED), "")


def is_path(name: str) -> bool:
    """Whether a name can only be a path: names on the hub are NAME or OWNER/NAME."""
    return name.startswith((".", "/", "~")) or name.endswith("/") or name.count("/") > 1 or "\\" in name
