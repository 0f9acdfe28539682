"""What humans say, word by word, as a critic."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polyalign import _core
from polyalign._io import json_text
from polyalign._io.responses import texts
from polyalign._text.words import counted
from polyalign.buckets import BucketSchema
from polyalign.buckets._fields import OnProgress, Shape, field_spec, source_labels
from polyalign.buckets._schema import axis_names
from polyalign.critics import _saved
from polyalign.reference._inputs import (
    at_least_0,
    check_used,
    count_tables,
    is_table,
    job_of_files,
    opened,
    warn_of_rejects,
    with_progress,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from polyalign.critics._calibration import Calibration

_FILE = "counts.safetensors"
_WHAT = "lexical counts"


class LexicalCritic:
    """What humans of a language and bucket say, word by word: n-grams of a corpus, counted in one bounded table.

    A response's score is its mean surprisal under them, in nats a token, times the square of the share that it is of
    what the same tokens cost each by itself: gibberish costs much, and so does what stands in no human order. Words
    (with marks) are asked for in threes, pairs and alone, in the bucket, its ancestors and the language; a word that
    was never seen is spelled. In Chinese both words and characters count; where words can't be told, characters alone.
    The end is a token: what is cut off in the middle costs.

    Made by :meth:`build`, :meth:`from_arrow`, :meth:`load` or :func:`polyalign.critics.load`; it does not change. The
    same rows give the same bytes, whatever their order, the number of threads, or the parts they were merged from. It
    holds hashed counts, and up to `sample_size` responses of each bucket as texts, to calibrate percentiles with.

    Examples
    --------
    >>> import polyalign as pa
    >>> critic = LexicalCritic.from_arrow(pa.reference.example_table())
    >>> critic
    <LexicalCritic: 48 humans in 2 buckets, 760 n-grams>
    >>> scores = critic.score(["Yes, it does.", "does it, Yes.", "Xq zzrb."], ["en|single|qa|short"] * 3)
    >>> bool(scores[0] < min(scores[1:]))
    True
    """

    #: It looks at responses alone.
    uses_prompts = False

    #: The names of what :meth:`features` returns.
    feature_names: tuple[str, ...] = _core.LEXICAL_FEATURES

    def __init__(self, core: _core.Lexical, *, threads: int | None = None) -> None:
        self._core = core
        self._info: dict[str, Any] = json.loads(core.info())
        self._threads = threads
        self._calibration: Calibration | None = None

    # ---------------------------------------------------------------------------------------------- making

    @classmethod
    def build(
        cls,
        inputs: Any,
        *,
        schema: BucketSchema | None = None,
        bits: int = 22,
        sources: Iterable[str] = (),
        sample_size: int = 1024,
        shape: Shape | None = None,
        fields: Mapping[str, str] | None = None,
        roles: Mapping[str, str] | None = None,
        bucket_field: str | None = None,
        keep_thinking: bool = False,
        limit: int | None = None,
        max_record_bytes: int = 256 << 20,
        threads: int | None = None,
        progress: bool | OnProgress = False,
    ) -> LexicalCritic:
        """Count a bucketed corpus, read once.

        Parameters
        ----------
        inputs : str, PathLike, iterable of them, Arrow table, or iterable of tables
            As :meth:`polyalign.Reference.build` takes them: folders that ``polyalign bucket`` made, of which what is
            held out is left out; files whose records have a bucket; tables.
        schema : BucketSchema, optional
            What makes the buckets, where no bucketed folder says it. Default: ``BucketSchema()``.
        bits : int, default 22
            The table holds 2 to this power n-grams, at most (8 to 28); one takes 12 bytes on disk, some 50 in memory.
            Where there are more, the longest are left out first, context by context.
        sources : iterable of str, optional
            Labels that say where the rows are from.
        sample_size : int, default 1024
            Responses of each bucket that are kept as texts, for percentiles; 0: none. Those of more than 16 KB are not.
        shape, fields, roles, bucket_field, keep_thinking, limit, max_record_bytes, threads, progress
            As in :meth:`polyalign.Reference.build`; `threads` are those of scoring, too.

        Returns
        -------
        LexicalCritic

        Warns
        -----
        UserWarning
            Rows that could not be used: how many, and why the first of each kind.

        Raises
        ------
        OSError
            An input can't be opened.
        ValueError
            Inputs that don't go together, nothing that could be used, or more different words than there is room for.
        """
        given = _given(schema, bits, sources, sample_size)
        spec = field_spec(None, shape, fields or {}, keep_thinking, roles)
        found, are_tables = opened(inputs)
        if are_tables:
            return cls._from_tables(found, given, spec, threads)
        job = given | job_of_files(
            found,
            fields=spec,
            bucket_field=bucket_field,
            max_record_bytes=max_record_bytes,
            threads=threads,
            limit=limit,
        )
        core, told = with_progress(
            lambda on_progress: _core.Lexical.build(json_text.one_line(job), on_progress), progress
        )
        tally = dict(json.loads(told))
        check_used(tally, _WHAT)
        warn_of_rejects(tally, stacklevel=3)
        return cls(core, threads=threads)

    @classmethod
    def from_arrow(
        cls,
        table: Any,
        *,
        schema: BucketSchema | None = None,
        bits: int = 22,
        sources: Iterable[str] = (),
        sample_size: int = 1024,
        keep_thinking: bool = False,
        threads: int | None = None,
    ) -> LexicalCritic:
        """Count a table in memory, whose columns :func:`polyalign.reference.reference_schema` lists.

        Parameters
        ----------
        table : Arrow table
            Anything with ``__arrow_c_stream__`` (pyarrow, polars, DuckDB, pandas, …) or a ``datasets.Dataset``.
        schema, bits, sources, sample_size, keep_thinking, threads
            As in :meth:`build`.
        """
        if not is_table(table):
            raise TypeError(f"table must be an Arrow table (pyarrow, polars, DuckDB, …), not {type(table).__name__}")
        spec = field_spec(None, None, {}, keep_thinking)
        return cls._from_tables([table], _given(schema, bits, sources, sample_size), spec, threads)

    @classmethod
    def _from_tables(
        cls, tables: Iterable[Any], given: dict[str, Any], spec: dict[str, Any], threads: int | None
    ) -> LexicalCritic:
        given["schema"] = given["schema"] or json.loads(BucketSchema().to_json())
        settings = {**given, "tokenizer": None, "keep_thinking": spec["keep_thinking"]}
        builder = _core.LexicalBuilder(json_text.one_line(settings))
        tally = count_tables(builder, tables, spec, threads)
        check_used(tally, _WHAT)
        warn_of_rejects(tally, stacklevel=4)
        return cls(builder.finish(), threads=threads)

    def merge(self, *others: LexicalCritic) -> LexicalCritic:
        """Add the humans of others; in any order, the result is the same bytes.

        Raises
        ------
        ValueError
            Another schema, tokenizer, rule for reasoning, `bits` or `sample_size`: both sides are named.
        """
        core = self._core
        for other in others:
            if not isinstance(other, LexicalCritic):
                raise TypeError(f"a LexicalCritic merges with others of its kind, not with {type(other).__name__}")
            core = core.merge(other._core)
        return LexicalCritic(core, threads=self._threads)

    # --------------------------------------------------------------------------------------------- keeping

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Save it as a folder.

        Raises
        ------
        FileExistsError
            Something is there that is not replaced.
        OSError
            It can't be written.
        """
        settings = {name: self._info[name] for name in ("bits", "sample_size", "sources", "keep_thinking")}
        told = {**settings, "rows": self.rows, "n_grams": self.entries}
        _saved.write(folder, "lexical", self.schema, told, {}, overwrite=overwrite, parts={_FILE: self._core})

    @classmethod
    def from_saved(cls, saved: _saved.Saved) -> LexicalCritic:
        """Take what was saved; ``ValueError`` where it is damaged."""
        path = saved.folder / _FILE
        if not path.is_file():
            raise ValueError(f"{saved.folder}: there is no {_FILE}; the critic is damaged: train anew")
        critic = cls(_core.Lexical.load(os.fspath(path)))
        if critic.schema != saved.schema:
            raise ValueError(f"{saved.folder}: {_FILE} was counted under another schema: it is damaged; train anew")
        return critic

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, threads: int | None = None) -> LexicalCritic:
        """Load one that was saved.

        Raises
        ------
        FileNotFoundError
            There is none.
        ValueError
            It is of another kind, of a newer version, or damaged.
        """
        critic = cls.from_saved(_saved.read(folder, "lexical"))
        critic._threads = threads
        return critic

    def to_bytes(self) -> bytes:
        """Return it as the bytes of one safetensors file."""
        return self._core.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> LexicalCritic:
        """Read what :meth:`to_bytes` gave."""
        return cls(_core.Lexical.from_bytes(data))

    # --------------------------------------------------------------------------------------------- scoring

    def score(
        self,
        responses: Sequence[str],
        buckets: Sequence[str | None],
        prompts: Sequence[Any] | None = None,
        *,
        leave_one_out: bool = False,
    ) -> npt.NDArray[np.float32]:
        """Score responses: lower is closer to what humans say.

        Parameters
        ----------
        responses : sequence of str, length n
        buckets : sequence of str, length n
        prompts : optional
            Not looked at.
        leave_one_out : bool, default False
            The responses are rows of the corpus: each is scored without its own counts. (Rows that say the same are
            humans like others, and stay.) Some ten times slower.

        Returns
        -------
        numpy.ndarray of float32, shape (n,)
            0 to 50; 50 for what says nothing. NaN where nobody can be asked: there are no humans of the language, or it
            is no bucket under the schema.
        """
        return self._core.score(texts("responses", responses), _named(buckets), leave_one_out, self._threads)

    def percentile(
        self,
        responses: Sequence[str],
        buckets: Sequence[str | None],
        prompts: Sequence[Any] | None = None,
        *,
        leave_one_out: bool = False,
    ) -> npt.NDArray[np.float32]:
        """Return how far out responses are: the share of the bucket's sampled humans that are closer.

        Each of these is scored without its own counts; a bucket with fewer than 20 backs off to its ancestors.

        Returns
        -------
        numpy.ndarray of float32, shape (n,)
            0 to 1; NaN where there is no score.

        Raises
        ------
        ValueError
            The sample is too small in every language.
        """
        scores = self.score(responses, buckets, leave_one_out=leave_one_out)
        return self.calibration.percentile(scores, buckets)

    @property
    def calibration(self) -> Calibration:
        """Where its sampled humans' own scores lie; worked out once."""
        if self._calibration is None:
            from polyalign.critics._calibration import Calibration

            scores, buckets = self._core.sample_scores(self._threads)
            self._calibration = Calibration.fit(scores, buckets, axes=axis_names(self.schema))
        return self._calibration

    def features(
        self, responses: Sequence[str], buckets: Sequence[str | None], *, leave_one_out: bool = False
    ) -> npt.NDArray[np.float32]:
        """Return what a classifier can use.

        Returns
        -------
        numpy.ndarray of float32, shape (n, 16)
            A column for each of ``feature_names``; NaN where one is not defined.

        Examples
        --------
        >>> import polyalign as pa
        >>> critic = LexicalCritic.from_arrow(pa.reference.example_table())
        >>> values = critic.features(["Yes, it does."], ["en|single|qa|short"])
        >>> values.shape == (1, len(critic.feature_names)), critic.feature_names[0]
        (True, 'word_surprisal')
        """
        return self._core.measure(texts("responses", responses), _named(buckets), leave_one_out, self._threads)[1]

    def surprisal(self, response: str, bucket: str, *, leave_one_out: bool = False) -> Any:
        """Return what each token of a response costs, and where it was found.

        Returns
        -------
        arro3.core.Table
            ``token`` (null: the end), ``surprisal`` in nats, ``level`` (the bucket, an ancestor or the language; null:
            it was never seen), ``order`` (how many tokens it was found with, itself among them; 0: never), and
            ``is_character`` (Chinese has a row for each character after those of its words).

        Raises
        ------
        ValueError
            It is no bucket under the schema.

        Examples
        --------
        >>> import polyalign as pa
        >>> critic = LexicalCritic.from_arrow(pa.reference.example_table())
        >>> table = critic.surprisal("Yes, quite.", "en|single|qa|short")
        >>> list(zip(table["token"].to_pylist(), table["order"].to_pylist()))
        [('Yes', 3), (',', 3), ('quite', 0), ('.', 1), (None, 2)]
        """
        return self._core.surprisal(response, bucket, leave_one_out)

    # ------------------------------------------------------------------------------------------- the object

    @property
    def schema(self) -> BucketSchema:
        """What makes its buckets."""
        return BucketSchema.from_json(json_text.one_line(self._info["schema"]))

    @property
    def tokenizer(self) -> str | None:
        """The SHA-256 of the ``tokenizer.json`` that lengths were counted with; ``None``: words or characters."""
        tokenizer: str | None = self._info["tokenizer"]
        return tokenizer

    @property
    def keep_thinking(self) -> bool:
        """Whether reasoning counts as part of a response, in what was counted and in what is scored."""
        return bool(self._info["keep_thinking"])

    @property
    def buckets(self) -> tuple[str, ...]:
        """The ids of its buckets, ascending."""
        return tuple(bucket["bucket"] for bucket in self._info["buckets"])

    @property
    def sources(self) -> tuple[str, ...]:
        """Where its rows are from, as whoever built it said."""
        return tuple(self._info["sources"])

    @property
    def rows(self) -> int:
        """How many human responses it counts."""
        return sum(int(bucket["rows"]) for bucket in self._info["buckets"])

    @property
    def bits(self) -> int:
        """The table holds 2 to this power n-grams, at most."""
        return int(self._info["bits"])

    @property
    def entries(self) -> int:
        """How many n-grams it holds."""
        return int(self._info["entries"])

    @property
    def is_full(self) -> bool:
        """Whether n-grams were left out, as there was no room for them."""
        return bool(self._info["is_full"])

    def _measured_by(self, core: Any) -> LexicalCritic:
        """Return it with what stands before its counts; its percentiles are worked out here, once for all such."""
        found = LexicalCritic.__new__(LexicalCritic)
        found.__dict__ = {**self.__dict__, "_core": core, "_calibration": self.calibration}
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LexicalCritic) and self._core == other._core

    def __hash__(self) -> int:
        return hash((self.rows, self.entries))

    def __reduce__(self) -> tuple[Callable[[bytes], LexicalCritic], tuple[bytes]]:
        return LexicalCritic.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        full = ", full" if self.is_full else ""
        humans = f"{self.rows:,} humans in {counted(len(self.buckets), 'bucket')}"
        return f"<LexicalCritic: {humans}, {self.entries:,} n-grams{full}>"


def _given(schema: BucketSchema | None, bits: int, sources: Iterable[str], sample_size: int) -> dict[str, Any]:
    """Return what is counted under, as the engine has it."""
    return {
        "schema": None if schema is None else json.loads(schema.to_json()),
        "bits": at_least_0("bits", bits),
        "sources": source_labels(sources),
        "sample_size": at_least_0("sample_size", sample_size),
    }


def _named(buckets: Sequence[str | None]) -> Any:
    """Return buckets as the engine takes them: a row that was rejected has none."""
    return buckets if isinstance(buckets, str) else [bucket or "" for bucket in buckets]
