"""Bucketed records and a model's samples, read as Arrow batches of one form."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyalign import _core
from polyalign._io import manifests
from polyalign._io.responses import is_arrow, is_dataset

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from polyalign._io.manifests import Manifest
    from polyalign.buckets._fields import OnProgress, Shape

# Where a sample is looked for, what names a model's text most plainly first.
RESPONSE_FIELDS: tuple[str, ...] = _core.RESPONSE_FIELDS
_REFERENCE_FIELDS = ("reference", "human_answer")
# Ours, and that of servers.
_FINISH_FIELDS = ("finish", "finish_reason")
_SETTINGS_FIELDS = ("settings",)
_BATCH_ROWS = 10_000
# A path that no record has: what a sample says of its language and the like has no say.
_NOT_READ = "polyalign.not-read"

Place = Mapping[str, Any]


def arrow(what: str = "pairs need") -> Any:
    """Return pyarrow, or say what needs it and how it is had."""
    try:
        import pyarrow
    except ImportError:
        raise ImportError(f"{what} pyarrow: pip install 'polyalign[pairs]'") from None
    return pyarrow


# ------------------------------------------------------------------------------------------------- columns


@dataclass(frozen=True)
class Texts:
    """A column of responses."""

    text: Any
    """Arrow strings; null where there is none, or where it is more than one message."""
    several: npt.NDArray[np.bool_]
    """Whether a response is more than one message."""


def texts(name: str, column: Any) -> Texts:
    """Read a column of texts, or of message lists with one message each."""
    import numpy as np

    pa = arrow()
    column = _plain(column)
    if pa.types.is_string(column.type) or pa.types.is_null(column.type):
        return Texts(column.cast(pa.string()), np.zeros(len(column), dtype=bool))
    _, content, offsets = _messages(name, column)
    lengths = np.diff(offsets)
    return Texts(content.take(pa.array(offsets[:-1], mask=lengths != 1)), lengths > 1)


def contents(folder: Path, columns: Sequence[str]) -> Iterator[list[str]]:
    """Read the texts of some columns of a bucketed folder, in lists: of messages their contents."""
    pa = arrow("the texts of records need")
    for file in sorted(folder.rglob("*.parquet")):
        with _open_parquet(file) as parquet:
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=list(columns)):
                for name in columns:
                    column = _plain(batch.column(name))
                    text = column if pa.types.is_string(column.type) else _messages(name, column)[1]
                    if found := [text for text in text.to_pylist() if text]:
                        yield found


def is_empty_list(column: Any) -> npt.NDArray[np.bool_]:
    """Whether each value is a list of no messages: what `bucket` makes of a rejected response to another prompt."""
    import numpy as np

    pa = arrow()
    column = _plain(column)
    if pa.types.is_string(column.type) or pa.types.is_null(column.type):
        return np.zeros(len(column), dtype=bool)
    lengths = pa.compute.list_value_length(column).fill_null(1)
    return lengths.to_numpy(zero_copy_only=False) == 0  # type: ignore[no-any-return]


def prompts(name: str, column: Any) -> Any:
    """Read a column of prompts: Arrow strings, or lists of role and content."""
    pa = arrow()
    column = _plain(column)
    if pa.types.is_string(column.type) or pa.types.is_null(column.type):
        return column.cast(pa.string())
    roles, content, offsets = _messages(name, column)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), _structs(roles, content))


def as_messages(text: Any) -> Any:
    """Return texts as conversations of one message, the assistant's."""
    pa = arrow()
    return pa.ListArray.from_arrays(
        pa.array(range(len(text) + 1), pa.int32()), _structs(pa.repeat(pa.scalar("assistant"), len(text)), text)
    )


def prompt_keys(prompts: Any) -> list[bytes | None]:
    """Return a hash of each prompt but for its white space; `None` where there is none. A text is the user's."""
    if arrow().types.is_string(prompts.type):
        return [text_key("user", text) if text else None for text in prompts.to_pylist()]
    roles, content, offsets = _messages("prompt", prompts)
    parts = list(zip(roles.to_pylist(), content.to_pylist(), strict=True))
    bounds = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    return [text_key(*(part for message in parts[start:end] for part in message)) for start, end in bounds]


def text_key(*parts: str | None) -> bytes | None:
    """Return a hash of texts but for their white space; `None` of no texts."""
    if not parts:
        return None
    spelled = "\0".join(" ".join((part or "").split()) for part in parts)
    return hashlib.blake2b(spelled.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _plain(column: Any) -> Any:
    """Return an array without chunks, dictionaries and the larger or newer kinds of strings and lists."""
    pa = arrow()
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        return column.cast(pa.string())
    if pa.types.is_large_list(column.type) or pa.types.is_list_view(column.type):
        return column.cast(pa.list_(column.type.value_type))
    return column


def _messages(name: str, column: Any) -> tuple[Any, Any, npt.NDArray[np.int64]]:
    """Return the roles and contents of all messages, and where each row's begin; a null row has none."""
    import numpy as np

    pa = arrow()
    is_list = pa.types.is_list(column.type) and pa.types.is_struct(column.type.value_type)
    names = {field.name for field in column.type.value_type} if is_list else set()
    if not {"role", "content"} <= names:
        raise ValueError(f"column {name!r} holds {column.type}: it must hold texts, or lists of role and content")
    values = column.flatten()  # of this slice, without what null rows hide
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    roles, content = (_plain(values.field(values.type.get_field_index(part))) for part in ("role", "content"))
    for part, kind in (("role", roles.type), ("content", content.type)):
        if not (pa.types.is_string(kind) or pa.types.is_null(kind)):
            raise ValueError(f"column {name!r} has messages whose {part} is {kind}: it must be text")
    return roles.cast(pa.string()), content.cast(pa.string()), offsets


def _structs(roles: Any, content: Any) -> Any:
    return arrow().StructArray.from_arrays([roles, content], names=["role", "content"])


# ------------------------------------------------------------------------------------------------- records


@dataclass(frozen=True)
class Rows:
    """Rows that can be read again and again."""

    columns: tuple[str, ...]
    """What they have."""
    count: int | None
    """How many there are; `None`: not known."""
    bucketed: Manifest | None
    """What made their buckets, where that is said."""
    read: Callable[[Sequence[str]], Iterator[tuple[str, Any]]]
    """Give columns as batches, each with the name of where it is from."""

    def require(self, what: str, *names: str, hint: str = "") -> None:
        """Refuse rows that lack a column."""
        for name in names:
            if name not in self.columns:
                seen = ", ".join(self.columns) or "none"
                raise ValueError(f"the {what} have no column {name!r} (columns: {seen}){hint}")

    def batches(self, wanted: Sequence[str]) -> Iterator[tuple[str, int, Any]]:
        """Give the wanted columns that are there as batches, each with its place: a name and a number of row."""
        chosen = [name for name in wanted if name in self.columns]
        last, row = None, 0
        for name, batch in self.read(chosen):
            last, row = name, (row if name == last else 0)
            yield name, row, batch
            row += len(batch)


def open_rows(what: str, source: Any, split: str = "train") -> Rows:
    """Open records: a split of bucketed folders, Parquet, an Arrow table or a data set."""
    if is_dataset(source):
        return _dataset(what, source)
    return _table(what, source) if is_arrow(source) else _parquet(what, _paths(what, source), split)


def _paths(what: str, source: Any) -> list[str]:
    """Return the names of files; anything else is refused."""
    paths = [source] if isinstance(source, (str, os.PathLike)) else source
    if isinstance(paths, Mapping):
        raise TypeError(f"{what} is a {type(source).__name__}: give one of its members: {', '.join(map(str, paths))}")
    if not isinstance(paths, (list, tuple)) or not all(isinstance(path, (str, os.PathLike)) for path in paths):
        raise TypeError(f"{what} is {type(source).__name__}: give a folder, files, an Arrow table or a data set")
    if not paths:
        raise ValueError(f"{what} is an empty list: name at least one file")
    return [os.fspath(path) for path in paths]


def _dataset(what: str, source: Any) -> Rows:
    def read(columns: Sequence[str]) -> Iterator[tuple[str, Any]]:
        batches = source.select_columns(list(columns)).with_format("arrow").iter(batch_size=_BATCH_ROWS)
        return ((what, batch) for table in batches for batch in table.combine_chunks().to_batches())

    count = len(source) if hasattr(source, "__len__") else None
    return Rows(tuple(source.column_names or ()), count, None, read)


def _table(what: str, source: Any) -> Rows:
    table = arrow().table(source)

    def read(columns: Sequence[str]) -> Iterator[tuple[str, Any]]:
        return ((what, batch) for batch in table.select(columns).to_batches(max_chunksize=_BATCH_ROWS))

    return Rows(tuple(table.column_names), len(table), None, read)


def _parquet(what: str, paths: Sequence[str], split: str) -> Rows:
    from polyalign._io.sources import local_inputs

    arrow()
    manifests, files = [], []
    for path in map(Path, local_inputs(list(paths))):
        manifests.append(_manifest(path))
        files += _parquet_files(what, path, split)
    if len({made and (made.schema, made.tokenizer) for made in manifests}) > 1:
        raise ValueError(f"the {what} are bucketed by different schemas, or some are not bucketed: bucket them alike")
    opened = [_open_parquet(file) for file, _ in files]
    columns = tuple(opened[0].schema_arrow.names)
    for (file, _), parquet in zip(files, opened, strict=True):
        if set(parquet.schema_arrow.names) != set(columns):
            raise ValueError(f"{file}: other columns than {files[0][0]}")

    def read(wanted: Sequence[str]) -> Iterator[tuple[str, Any]]:
        for file, name in files:
            with _open_parquet(file) as parquet:
                yield from ((name, batch) for batch in parquet.iter_batches(_BATCH_ROWS, columns=list(wanted)))

    count = sum(parquet.metadata.num_rows for parquet in opened)
    for parquet in opened:
        parquet.close()
    return Rows(columns, count, manifests[0], read)


def _manifest(path: Path) -> Manifest | None:
    """Return what a folder of ours says of itself; `None` of anything else."""
    made = manifests.read(path)
    if made is None and (path / "manifest.json").is_file():
        raise ValueError(f"{path / 'manifest.json'}: not a manifest of polyalign bucket")
    if made is not None and made.settings.get("assignments_only"):
        raise ValueError(
            _core.in_words(f"{path}: written without texts (--assignments-only): bucket the corpus with its texts")
        )
    return made


def _parquet_files(what: str, path: Path, split: str) -> list[tuple[Path, str]]:
    """Return the Parquet files of an input, in order, with their names for messages."""
    if path.is_dir():
        there = [file for file in sorted(path.rglob("*.parquet")) if not file.name.startswith(".")]
        found = [file for file in there if file.name.startswith("test-") == (split == "test")]
        if there and not found and split == "test":
            raise ValueError(f"{path}: nothing in it is held out; polyalign bucket --test-share does that")
        if not found:
            raise ValueError(f"{path}: no Parquet in it; polyalign bucket makes such a folder of a corpus")
        return [(file, file.relative_to(path.parent).as_posix()) for file in found]
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if not path.is_file():
        raise ValueError(f"{path}: a pipe can be read once, and the {what} is read several times: save it as a file")
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            raise ValueError(
                f"{path}: the {what} must be a folder made by polyalign bucket, or Parquet: bucket it first"
            )
    return [(path, path.name)]


def _open_parquet(file: Path) -> Any:
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file)
    except arrow().ArrowInvalid as error:
        raise ValueError(f"{file}: not readable as Parquet: {str(error).splitlines()[0]}") from None


# ------------------------------------------------------------------------------------------------- samples


@dataclass(frozen=True)
class Samples:
    """All samples of a model, in memory: ids and texts; of prompts and references a hash."""

    ids: Any
    responses: Texts
    prompts: Any
    """16 bytes each; null where the sample has no prompt of its own."""
    references: Any
    """Likewise, of the human response that the sample says it stands in for."""
    cut: npt.NDArray[np.bool_]
    """Whether the sample says that it ends where a limit of tokens did (``finish: length``)."""
    settings: Mapping[str, int]
    """What samples say they were made with, in short, and how many say so."""
    files: Any
    rows: npt.NDArray[np.int64]
    rejected_by_kind: Mapping[str, int]
    """What the reader could not use."""
    first_rejects: tuple[Place, ...]
    unreadable: tuple[Place, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def place(self, at: int) -> dict[str, Any]:
        """Return where a sample is."""
        return {"file": self.files[at].as_py(), "row": int(self.rows[at]), "id": self.ids[at].as_py()}


@dataclass(frozen=True)
class Reading:
    """How samples are read."""

    shape: Shape | None = None
    fields: Mapping[str, str] = dataclasses.field(default_factory=dict)
    roles: Mapping[str, str] = dataclasses.field(default_factory=dict)
    threads: int | None = None
    progress: bool | OnProgress = False


def open_samples(source: Any, reading: Reading, folder: Path | None) -> Samples:
    """Read all samples: files of any record shape, an Arrow table or a data set.

    Files are read by the engine, into Parquet in a temporary folder below `folder`.
    """
    arrow()
    if is_arrow(source) or is_dataset(source):
        return _sample_table(open_rows("samples", source), reading)
    paths = _paths("samples", source)
    with tempfile.TemporaryDirectory(dir=folder, prefix="samples-") as made:
        target = Path(made) / "read"
        report = _read_samples(paths, target, reading)
        files = sorted((target / "data").glob("*.parquet"))
        return _collect(
            _engine_batches(files),
            rejected_by_kind=report.rejected_by_kind,
            first_rejects=report.first_rejects,
            unreadable=report.unreadable,
        )


def _read_samples(paths: Sequence[str], target: Path, reading: Reading) -> Any:
    from polyalign._io.sources import local_inputs

    inputs = local_inputs(list(paths))
    reader = record_reader(reading)
    return reader.bucket_files(inputs, target, threads=reading.threads, progress=reading.progress)


def record_reader(reading: Reading, *, samples: bool = True) -> Any:
    """Return a reader of records: a bucketer on the one axis that is always known.

    Of `samples` a model's text comes before a human's; a response needs no prompt, and an empty one is one.
    """
    from polyalign.buckets import Bucketer, BucketSchema

    labels = dict.fromkeys(("language", "track", "family", "source", "group"), _NOT_READ)
    schema = BucketSchema(axes=["track"])
    fields = {**labels, **reading.fields}
    reader = Bucketer(schema, shape=reading.shape, fields=fields, roles=reading.roles, keep_thinking=True)
    reader._fields.update(lenient=True, samples=samples)
    return reader


def _engine_batches(files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for file in files:
        with _open_parquet(file) as parquet:
            wanted = ["id", "file", "row", "prompt", "completion"]
            more = ("extra", *_REFERENCE_FIELDS, *_FINISH_FIELDS, *_SETTINGS_FIELDS)
            columns = [name for name in parquet.schema_arrow.names if name in (*wanted, *more)]
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=columns):
                yield {
                    **{name: batch[name] for name in wanted},
                    "reference": _members(batch, _REFERENCE_FIELDS),
                    "finish": _members(batch, _FINISH_FIELDS),
                    "settings": _members(batch, _SETTINGS_FIELDS),
                }


def _members(batch: Any, names: Sequence[str]) -> list[str | None]:
    """Return what each sample says under the first of these names, in a column or in the members left over."""
    for name in names:
        if name in batch.schema.names and arrow().types.is_string(_plain(batch[name]).type):
            return list(batch[name].to_pylist())
    if "extra" not in batch.schema.names:
        return [None] * len(batch)
    return [_left_over(extra, names) for extra in batch["extra"].to_pylist()]


def _left_over(extra: str | None, names: Sequence[str]) -> str | None:
    if not extra or not any(f'"{name}"' in extra for name in names):
        return None
    members = json.loads(extra)
    return next((members[name] for name in names if isinstance(members.get(name), str)), None)


def _sample_table(rows: Rows, reading: Reading) -> Samples:
    fields = reading.fields
    unused = sorted({*fields} - {"id", "prompt", "response"})
    if unused or reading.roles or reading.shape:
        what = f"fields={{{unused[0]!r}: …}}" if unused else "roles" if reading.roles else "shape"
        raise ValueError(f"{what}: samples that are a table have columns id, response and prompt; give a file instead")
    identity, prompt = fields.get("id", "id"), fields.get("prompt", "prompt")
    known = [name for name in RESPONSE_FIELDS if name in rows.columns]
    response = fields.get("response") or (known[0] if known else None)
    if response is None:
        seen = ", ".join(rows.columns)
        raise ValueError(f"the samples have none of the columns {', '.join(RESPONSE_FIELDS)} (columns: {seen})")
    rows.require("samples", identity, response)

    def batches() -> Iterator[dict[str, Any]]:
        more = (*_REFERENCE_FIELDS, *_FINISH_FIELDS, *_SETTINGS_FIELDS)
        for file, row, batch in rows.batches([identity, response, prompt, *more]):
            yield {
                "id": batch[identity],
                "completion": batch[response],
                "prompt": batch[prompt] if prompt in rows.columns and prompt != response else None,
                "reference": _members(batch, _REFERENCE_FIELDS),
                "finish": _members(batch, _FINISH_FIELDS),
                "settings": _members(batch, _SETTINGS_FIELDS),
                "file": arrow().repeat(arrow().scalar(file), len(batch)),
                "row": arrow().array(range(row, row + len(batch)), arrow().int64()),
            }

    return _collect(batches(), rejected_by_kind={}, first_rejects=(), unreadable=())


def _collect(batches: Iterable[Mapping[str, Any]], **tally: Any) -> Samples:
    """Bring batches of samples together; texts are kept, prompts and references hashed."""
    import numpy as np

    pa = arrow()
    kinds = {
        "id": pa.large_string(),
        "text": pa.large_string(),
        "prompt": pa.binary(16),
        "reference": pa.binary(16),
        "file": pa.dictionary(pa.int32(), pa.string()),
        "row": pa.int64(),
    }
    parts: dict[str, list[Any]] = {name: [] for name in kinds}
    several, cut = [np.zeros(0, dtype=bool)], [np.zeros(0, dtype=bool)]
    settings: Counter[str] = Counter()
    for batch in batches:
        response = texts("response", batch["completion"])
        keys: list[bytes | None] = [None] * len(response.text)
        if batch["prompt"] is not None:
            keys = prompt_keys(prompts("prompt", batch["prompt"]))
        columns = {
            "id": ids("samples", batch["id"]),
            "text": response.text,
            "prompt": pa.array(keys, pa.binary(16)),
            "reference": pa.array([text_key(text) if text else None for text in batch["reference"]], pa.binary(16)),
            "file": batch["file"].dictionary_encode(),
            "row": batch["row"],
        }
        for name, column in columns.items():
            parts[name].append(column.cast(kinds[name]))
        several.append(response.several)
        cut.append(np.array([finish == "length" for finish in batch["finish"]], dtype=bool))
        settings.update(name for name in batch["settings"] if name)
    whole = {name: pa.chunked_array(columns, kinds[name]).unify_dictionaries() for name, columns in parts.items()}
    held = {name: column.combine_chunks() for name, column in whole.items()}
    return Samples(
        ids=held["id"],
        responses=Texts(held["text"], np.concatenate(several)),
        prompts=held["prompt"],
        references=held["reference"],
        cut=np.concatenate(cut),
        settings=dict(settings),
        files=held["file"],
        rows=held["row"].to_numpy(zero_copy_only=False),
        **tally,
    )


def ids(what: str, column: Any) -> Any:
    """Return ids as Arrow strings; whole numbers are written out."""
    pa = arrow()
    column = _plain(column)
    if pa.types.is_integer(column.type) or pa.types.is_string(column.type) or pa.types.is_null(column.type):
        return column.cast(pa.string())
    raise ValueError(f"the {what} have ids of type {column.type}: they must be text or whole numbers")
