"""Buckets: which ones there are, and which one an interaction belongs to."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from polyalign import _core
from polyalign.tokens import TokenCounter

__all__ = ["BucketSchema", "BucketSummary", "Bucketer", "Met", "Reading", "Report"]

_PAPER_EDGES = (40, 120, 240)
_DEFAULT_AXES = ("language", "track", "family", "length")
_FIELD_NAMES = (
    *("messages", "prompt", "response", "rejected", "system"),
    *("language", "track", "family", "source", "group", "id"),
)
_ROLES = ("user", "assistant", "system", "tool")

Shape = Literal["messages", "prompt_completion", "sharegpt", "alpaca", "polyalign", "preference"]
LengthUnit = Literal["tokens", "words", "words-paper", "characters"]
OnProgress = Callable[[int, int, int], object]


@dataclass(frozen=True, kw_only=True, repr=False)
class BucketSchema:
    """The axes of a bucket and the rules of each.

    A bucket's id is its parts joined by ``|``, one part an axis: ``en|single|qa|short``. The schema is plain
    data: it serialises to JSON and travels in every output.

    Parameters
    ----------
    length_edges : sequence of int, mapping or "auto", default (40, 120, 240)
        Upper ends (inclusive) of all length bins but the last. A mapping has edges by language and a
        ``"default"``. ``"auto"`` takes the quartiles per language of the corpus, from a first pass.
    length_unit : {"tokens", "words", "words-paper", "characters"}, optional
        What lengths are counted in. Default: tokens with a tokenizer, else words (UAX #29).
    length_bins : sequence of str, optional
        Names of the bins, one more than edges. Default: ``short``, ``medium``, ``long``, ``xlong``.
    languages : sequence of str, optional
        The languages there may be, as BCP-47 codes; detection chooses among them, and a record that names
        another is rejected. Default: any.
    default_language : str, default "und"
        Of records of which neither the record nor its text tells the language.
    families : mapping of str to str, optional
        Family by source (the record's ``source`` or ``dataset``), for records that name none.
    axes : sequence of str or mapping, default ("language", "track", "family", "length")
        In the order of an id's parts. Any other name is a column of the records; a mapping
        ``{"name": …, "column": …, "missing": …}`` names the axis and its column apart, and says which part a
        record has that lacks the column (default: it is rejected).
    version : int, default 1
        Version of the JSON form.

    Raises
    ------
    ValueError
        The settings contradict each other; the message says which rule they break.

    Examples
    --------
    >>> BucketSchema(length_edges=(50, 200), languages=["zh", "English"])
    BucketSchema(length_edges=(50, 200), languages=('en', 'zh'))
    >>> BucketSchema(length_edges=(50, 20))
    Traceback (most recent call last):
    ...
    ValueError: schema: length_edges: edges must rise, but 50 is followed by 20
    """

    length_edges: Sequence[int] | Mapping[str, Sequence[int]] | Literal["auto"] = _PAPER_EDGES
    length_unit: LengthUnit | None = None
    length_bins: Sequence[str] | None = None
    languages: Sequence[str] | None = None
    default_language: str = "und"
    families: Mapping[str, str] = dataclasses.field(default_factory=dict)
    axes: Sequence[str | Mapping[str, str]] = _DEFAULT_AXES
    version: int = 1

    def __post_init__(self) -> None:
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if isinstance(given["languages"], str):
            raise TypeError('languages is a list of codes: ["en", "zh"]')
        try:
            normal = json.loads(_core.normalise_schema(_dumps(given)))
        except ValueError as error:
            # Settings given one by one have no lines and columns.
            raise ValueError(re.sub(r" at line \d+ column \d+$", "", str(error))) from None
        for name, value in normal.items():
            object.__setattr__(self, name, _frozen(value))

    @classmethod
    def from_json(cls, text: str) -> BucketSchema:
        """Read a schema from its JSON form; members left out have their defaults."""
        return cls(**json.loads(_core.normalise_schema(text)))

    def to_json(self) -> str:
        """Return the schema as one line of JSON; equal schemas give equal text."""
        return _core.normalise_schema(_dumps(dataclasses.asdict(self)))

    def check_fits(self, reference: BucketSchema) -> None:
        """Refuse to compare buckets of this schema with a reference's, of the schema `reference`.

        Raises
        ------
        ValueError
            Ids mean something else there: other axes, or lengths that are binned otherwise.
        """
        _core.check_schema_fits(self.to_json(), reference.to_json())

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __repr__(self) -> str:
        default = {
            "length_edges": _PAPER_EDGES,
            "default_language": "und",
            "axes": _DEFAULT_AXES,
            "version": 1,
        }
        named = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        shown = [
            f"{name}={value!r}"
            for name, value in named
            if name == "length_edges" or (value and value != default.get(name))
        ]
        return f"BucketSchema({', '.join(shown)})"


class Bucketer:
    """Assigns interactions to buckets, in tables or in files of any size.

    Parameters
    ----------
    schema : BucketSchema, optional
        Default: language × track × family × length with the default edges.
    tokenizer : str, PathLike, tokenizer or TokenCounter, optional
        What :class:`TokenCounter` takes. Without one, lengths are in words and no tokens are counted.
    count : {"all", "completion"}, default "all"
        Whether the tokens of prompts are counted as well as those of responses.
    shape : str, optional
        How records hold prompt and response: ``messages``, ``prompt_completion``, ``sharegpt``, ``alpaca``,
        ``polyalign`` or ``preference``. Default: decided from the first 100 records, or from the columns.
    fields : mapping of str to str, optional
        Dotted paths of the fields to read, where they are not the shape's own: ``messages`` (whole conversations) or
        ``prompt`` and ``response``, which of a preference is the chosen one, and ``rejected``; ``system``,
        ``language``, ``track``, ``family``, ``source``, ``group``, ``id``.
    roles : mapping of str to str, optional
        What roles stand for that are not known: ``user``, ``assistant``, ``system`` or ``tool`` by the role as records
        have it.
    keep_thinking : bool, default False
        Whether a leading ``<think>…</think>`` counts as part of the response.

    Examples
    --------
    >>> import pyarrow as pa
    >>> table = pa.table({"prompt": ["What is the capital of France?"], "completion": ["It is Paris."]})
    >>> Bucketer(BucketSchema(languages=["en", "zh"])).assign(table)["bucket"].to_pylist()
    ['en|single|qa|short']
    """

    def __init__(
        self,
        schema: BucketSchema | None = None,
        tokenizer: object = None,
        *,
        count: Literal["all", "completion"] = "all",
        shape: Shape | None = None,
        fields: Mapping[str, str] | None = None,
        roles: Mapping[str, str] | None = None,
        keep_thinking: bool = False,
    ) -> None:
        if not isinstance(schema, BucketSchema | None):
            raise TypeError(f"schema is a BucketSchema, not {type(schema).__name__}")
        self.schema = schema or BucketSchema()
        if tokenizer is None or isinstance(tokenizer, TokenCounter):
            self.counter = tokenizer
        else:
            self.counter = TokenCounter(tokenizer)
        if count not in ("all", "completion"):
            raise ValueError(f"count is {count!r}: it must be 'all' or 'completion'")
        self._fields = field_spec(self.schema, shape, fields or {}, keep_thinking, roles)
        self._count_prompt = count == "all"
        self._core = self._make_core()

    def _make_core(self) -> _core.Bucketer:
        counter = None if self.counter is None else self.counter._core
        return _core.Bucketer(self.schema.to_json(), counter, self._count_prompt)

    def assign(self, table: Any, *, threads: int | None = None, with_reading: bool = False) -> Any:
        """Append each row's bucket to a table.

        Parameters
        ----------
        table : Arrow table
            Any object with ``__arrow_c_stream__`` or ``__arrow_c_array__`` (pyarrow, polars, DuckDB, pandas,
            arro3, …) or a ``datasets.Dataset``; its columns hold records of one shape.
        threads : int, optional
            Default: ``POLYALIGN_NUM_THREADS``, else every core.
        with_reading : bool, default False
            Return the :class:`Reading` too: what was guessed, joined, left out or not used.

        Returns
        -------
        pyarrow.Table or arro3.core.Table, or a tuple of it and a Reading
            pyarrow where the input was pyarrow or ``datasets``, else arro3. The table's own columns, not copied
            (one named as one of ours is ``source_<name>``), then ``bucket``, its parts, ``length``,
            ``prompt_tokens`` and ``completion_tokens``. Rows that can't be used have nulls there, and a last
            column ``bucket_error`` says why.

        Warns
        -----
        UserWarning
            Rows were read in a way that may be wrong, such as roles that are not known: how many, and the first.

        Raises
        ------
        TypeError
            ``table`` is not an Arrow table.
        ValueError
            The columns hold no known record shape; or there are more than 10,000 buckets.
        """
        if hasattr(table, "with_format") and hasattr(table, "features"):  # a datasets.Dataset
            table = table.with_format("arrow")[:]
        if not (hasattr(table, "__arrow_c_stream__") or hasattr(table, "__arrow_c_array__")):
            raise TypeError(
                f"table must be an Arrow table (pyarrow, polars, DuckDB, datasets, …), not {type(table).__name__}"
            )
        assigned, told, doubts = self._core.assign(table, _dumps(self._fields), threads)
        for doubt in doubts:
            warnings.warn(_core.in_words(doubt), stacklevel=2)
        return (assigned, Reading._of(json.loads(told))) if with_reading else assigned

    def bucket_files(
        self,
        inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        output: str | os.PathLike[str] | None,
        *,
        overwrite: bool = False,
        turns: Literal["last", "all"] = "last",
        assignments_only: bool = False,
        partition_by: Sequence[str] = (),
        test_share: float = 0.0,
        limit: int | None = None,
        chunk_bytes: int = 64 << 20,
        max_record_bytes: int = 256 << 20,
        threads: int | None = None,
        progress: bool | OnProgress = False,
        reference: str | os.PathLike[str] | None = None,
        sources: Iterable[str] = (),
        sample_size: int = 256,
    ) -> Report:
        """Bucket files into a directory of Parquet: streaming, parallel, resumable.

        The same inputs and settings give the same bytes for any number of threads. An interrupted run
        leaves ``OUTPUT.partial``; the same call continues it.

        Parameters
        ----------
        inputs : str, PathLike or iterable of them
            Files (JSONL, JSON arrays, gzip or zstd of them, Parquet, Arrow), directories, globs, names of hub
            data sets, or ``-`` for standard input.
        output : str or PathLike, optional
            The directory to make; ``None``: a dry run, which writes nothing.
        overwrite : bool, default False
            Replace an existing output of polyalign; an empty folder may be there without it.
        turns : {"last", "all"}, default "last"
            Which replies of a conversation become rows: its last, or each of them with what comes before it as its
            prompt. Then a row's id is ``ID#1``, ``ID#2``, …, and those of a conversation are one ``group``.
        assignments_only : bool, default False
            Write no texts, only the assignment columns.
        partition_by : sequence of str, optional
            Hive-style folders by these axes.
        test_share : float, default 0
            Write the rows of about this share of all groups (of prompts, where a row has no group) to files of their
            own, ``test-*.parquet`` beside ``train-*.parquet``, of which ``load_dataset`` makes two splits. A group is
            in one of them, the same one whatever the corpus.
        limit : int, optional
            Stop after this many input rows.
        chunk_bytes : int, default 64 MiB
            Decompressed input bytes per output file.
        max_record_bytes : int, default 256 MiB
            Larger records are rejected without being held in memory.
        threads : int, optional
            Default: ``POLYALIGN_NUM_THREADS``, else every core.
        progress : bool or callable, default False
            ``True``: a progress bar where standard error is a terminal. A callable gets
            ``(bytes_read, bytes_total, rows)`` many times a second; raising in it stops the run.
        reference : str or PathLike, optional
            A ``.safetensors`` file to make in the same pass: the :class:`Reference` of what is bucketed, without what
            ``test_share`` holds out. Both appear together.
        sources, sample_size
            Of the reference, as in :meth:`Reference.build`.

        Returns
        -------
        Report
            What was done; records that can't be used are counted there, not raised.

        Raises
        ------
        FileExistsError
            The output, or the reference, exists already, or came to while this ran: it stays as it is.
        OSError
            An input can't be opened, or the output can't be written, or another process writes it.
        ValueError
            The settings or inputs can't be used as a whole.
        """
        from polyalign._sources import local_inputs, local_output

        if turns not in ("last", "all"):
            raise ValueError(f"turns is {turns!r}: it must be 'last' or 'all'")
        paths = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
        job = {
            "inputs": local_inputs([os.fspath(path) for path in paths]),
            "output": None if output is None else local_output(os.fspath(output)),
            "overwrite": overwrite,
            "turns": turns,
            "fields": {**self._fields, "keep_extra": not assignments_only},
            "assignments_only": assignments_only,
            # The column `length` holds the number, `length_bin` the part.
            "partition_by": ["length_bin" if axis == "length" else axis for axis in partition_by],
            "test_share": test_share,
            "chunk_bytes": chunk_bytes,
            "max_record_bytes": max_record_bytes,
            "threads": threads or 0,
            "limit": limit,
            "reference": None
            if reference is None
            else {
                "path": local_output(os.fspath(reference)),
                "sources": source_labels(sources),
                "sample_size": sample_size,
            },
        }
        return Report._from_json(self._run(_dumps(job), progress))

    def _run(self, job: str, progress: bool | OnProgress) -> str:
        if progress is not True:
            return self._core.run(job, progress or None)
        from polyalign._progress import progress_bar

        with progress_bar() as on_progress:
            return self._core.run(job, on_progress)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_core"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._core = self._make_core()

    def __repr__(self) -> str:
        tokenizer = "" if self.counter is None else f", tokenizer={self.counter!r}"
        return f"Bucketer({self.schema!r}{tokenizer})"


@dataclass(frozen=True)
class BucketSummary:
    """One bucket of a :class:`Report`."""

    bucket: str
    """Its id."""
    parts: tuple[str, ...]
    """Its parts, in the schema's axis order."""
    rows: int
    """Records in it."""
    share: float
    """Its part of all bucketed records, 0 to 1."""
    prompt_tokens: int | None
    """Tokens of its prompts; ``None`` if not counted."""
    completion_tokens: int | None
    """Tokens of its responses; ``None`` if not counted."""
    length: Mapping[str, int]
    """Exact nearest-rank quantiles of its responses' lengths: min, q10, q25, q50, q75, q90, max."""
    held_out: int = 0
    """Of its rows those that ``test_share`` holds out."""


@dataclass(frozen=True)
class Met:
    """Something that records have; of :class:`Reading`."""

    name: str
    """What."""
    records: int
    """How many records have it."""
    file: str
    """The file of the first that has it."""
    row: int
    """The first that has it: its number in the file, from 0."""
    taken: str | None = None
    """Of a role, what it was taken for; ``None`` if it is not known and stays as it is."""


@dataclass(frozen=True)
class Reading:
    """How records were read, as a :class:`Report` has it or :meth:`Bucketer.assign` gives it.

    With each of it, how many records and the first of them: its file (``table``, of a table) and its row.

    Up to 64 names of each kind are remembered.
    """

    earlier_replies: int
    """Replies before the response: part of the prompt, and no rows of their own; 0 with ``turns="all"``."""
    events: tuple[Met, ...]
    """What was joined or left out: ``earlier_replies``; ``system`` (the record's own system message put first),
    ``joined`` (two fields, into one user message), ``once`` (messages that two fields hold), ``after`` (one field's
    messages put after another's), ``parts`` (text parts of a message joined), ``tool_calls`` (beside a message's text,
    left out), ``trailing`` (messages after the response, left out), ``prompt_mismatch`` (a rejected response to another
    prompt, left out)."""
    roles: tuple[Met, ...]
    """Roles that are not TRL's own, and what they were taken for."""
    groups: tuple[Met, ...]
    """The fields that gave the group, where they were not named."""
    programming: tuple[Met, ...]
    """Labels of the language that name a programming language or a format (``python``, ``sql``): they say nothing, and
    the language is detected."""
    unused: tuple[Met, ...]
    """Fields that were not used; ``messages[].x`` is a member of messages. They are kept in ``extra``."""
    more: bool
    """Whether there were more names than are remembered."""

    @classmethod
    def _of(cls, told: Mapping[str, Any]) -> Reading:
        kinds = ("events", "roles", "groups", "programming", "unused")
        return cls(**{**told, **{kind: tuple(Met(**met) for met in told[kind]) for kind in kinds}})


@dataclass(frozen=True)
class Repeated:
    """Rows that repeat earlier ones, of a :class:`Report`.

    They are counted by hashes as long as there are at most 900,000 different rows, and 28,000 different prompts or
    responses; beyond that they are estimated.
    """

    rows: int
    """Rows with the prompt and response of an earlier row."""
    prompts: int
    """Rows with the prompt of an earlier row."""
    responses: int
    """Rows with the response of an earlier row."""
    rows_error: int
    """The standard error of ``rows``; 0: it is exact."""
    prompts_error: int
    """The standard error of ``prompts``."""
    responses_error: int
    """The standard error of ``responses``."""
    first: Mapping[str, Any] | None
    """The first row with the prompt and response of an earlier one, ``file`` and ``row``, and that one, ``of_file`` and
    ``of_row``; rows are numbered from 0."""


@dataclass(frozen=True)
class HeldOut:
    """What ``test_share`` holds out, of a :class:`Report`."""

    rows: int
    """Rows."""
    groups: int
    """Groups; prompts, of rows without a group. Estimated beyond 900,000."""
    prompts: int
    """Different prompts. Estimated, as the next number, where there are more than 28,000 in all."""
    shared_prompts: int
    """Those of them that rows have which train too: groups part them. Without groups there are none."""


@dataclass(frozen=True)
class Report:
    """What a bucketing run did. ``rows == bucketed + rejected``, always; ``print(report)`` shows a table."""

    output: str | None
    """The directory made; ``None`` for a dry run."""
    format: str
    """What the inputs are: ``jsonl``, ``parquet``, …"""
    shape: Shape | None
    """How the records hold prompt and response, as given or decided; ``None`` if given by fields."""
    fields: Mapping[str, Any]
    """What was read from the records."""
    schema: BucketSchema
    """The schema in force, with the edges that ``"auto"`` found."""
    files: int
    """Number of input files."""
    skipped: tuple[Mapping[str, str], ...]
    """Files of the input folders that were passed over: file, reason."""
    bytes_on_disk: int
    """Input bytes as they lie on disk."""
    bytes: int
    """Input bytes after decompression."""
    records: int
    """Input records, with one for each file whose rest could not be read."""
    rows: int
    """Rows that they made: one each, or with ``turns="all"`` one for each reply. A record that can't be read is one."""
    bucketed: int
    """Rows given a bucket."""
    rejected: int
    """Rows that could not be used: the lines of the rejects file."""
    reading: Reading
    """How the records were read: what was guessed, joined, left out or not used."""
    rejected_by_kind: Mapping[str, int]
    """Rejected rows by the kind of reason."""
    first_rejects: tuple[Mapping[str, Any], ...]
    """The first rejected record of each kind: file, line, row, offset, kind, reason."""
    prompt_tokens: int | None
    """Tokens of all prompts; ``None`` if not counted."""
    completion_tokens: int | None
    """Tokens of all responses; ``None`` if not counted."""
    buckets: tuple[BucketSummary, ...]
    """The buckets, by descending rows; they count what is held out too."""
    repeated: Repeated
    """Rows that repeat earlier ones."""
    held_out: HeldOut | None
    """What is held out; ``None`` without ``test_share``."""
    shards: int
    """Number of Parquet files written."""
    unreadable: tuple[Mapping[str, Any], ...]
    """Files whose rest could not be read: file, offset, reason."""
    warnings: tuple[str, ...]
    """What the user should know, a line each."""
    resumed_from: int | None
    """Shards that an earlier, interrupted run had finished."""
    reference: str | None
    """The human reference made in the same pass."""
    examples: tuple[Mapping[str, Any], ...]
    """The first three rows; dry runs only."""

    @classmethod
    def _from_json(cls, text: str) -> Report:
        data = json.loads(text)
        data["schema"] = BucketSchema.from_json(_dumps(data["schema"]))
        data["reading"] = Reading._of(data["reading"])
        data["repeated"] = Repeated(**data["repeated"])
        data["held_out"] = None if data["held_out"] is None else HeldOut(**data["held_out"])
        data["warnings"] = [_core.in_words(warning) for warning in data["warnings"]]
        data["buckets"] = [BucketSummary(**_frozen(bucket)) for bucket in data["buckets"]]
        members: dict[str, Any] = {name: _frozen(value) for name, value in data.items()}
        return cls(**members)

    @property
    def rejected_share(self) -> float:
        """Rejected records as a part of all, 0 to 1."""
        return self.rejected / self.rows if self.rows else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, ready for JSON."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)

    def __repr__(self) -> str:
        where = "dry run" if self.output is None else self.output
        return (
            f"<Report {where}: {self.rows:,} row{'s'[: self.rows != 1]}, {self.bucketed:,} in "
            f"{len(self.buckets):,} bucket{'s'[: len(self.buckets) != 1]}, {self.rejected:,} rejected>"
        )

    def __str__(self) -> str:
        from polyalign._tables import report_text

        return report_text(self)


def field_spec(
    schema: BucketSchema | None,
    shape: str | None,
    fields: Mapping[str, str],
    keep_thinking: bool,
    roles: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return what is read from records, as the engine has it."""
    unknown = sorted(set(fields) - set(_FIELD_NAMES))
    if unknown:
        raise ValueError(f"fields: {unknown[0]!r} is not one of {', '.join(_FIELD_NAMES)}")
    if shape is not None and shape not in get_args(Shape):
        raise ValueError(f"shape is {shape!r}: it must be one of {', '.join(get_args(Shape))}")
    for role, taken in (roles or {}).items():
        if taken not in _ROLES:
            raise ValueError(f"roles: {role!r} is {taken!r}: it must be one of {', '.join(_ROLES)}")
    own_axes = [axis for axis in schema.axes if axis not in _DEFAULT_AXES] if schema else []
    custom = [axis if isinstance(axis, str) else axis["column"] for axis in own_axes]
    return {**fields, "shape": shape, "roles": dict(roles or {}), "custom": custom, "keep_thinking": keep_thinking}


def source_labels(sources: Iterable[str]) -> list[str]:
    """Return the labels of a reference's sources, as the engine has them."""
    return [sources] if isinstance(sources, str) else sorted(set(sources))


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _frozen(value: Any) -> Any:
    """Return lists as tuples, all the way down, so that a schema can't be changed by accident."""
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    if isinstance(value, dict):
        return {name: _frozen(member) for name, member in value.items()}
    return value
