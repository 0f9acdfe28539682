"""Buckets for files and tables."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from polyalign import _core
from polyalign._io import json_text
from polyalign.buckets._fields import OnProgress, Shape, field_spec, source_labels
from polyalign.buckets._report import Reading, Report
from polyalign.buckets._schema import BucketSchema
from polyalign.tokens import TokenCounter


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
        assigned, told, doubts = self._core.assign(table, json_text.one_line(self._fields), threads)
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
        from polyalign._io.sources import local_inputs, local_output

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
        return Report._from_json(self._run(json_text.one_line(job), progress))

    def _run(self, job: str, progress: bool | OnProgress) -> str:
        if progress is not True:
            return self._core.run(job, progress or None)
        from polyalign._io.progress import progress_bar

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
