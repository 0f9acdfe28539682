"""The reference of a corpus: how each feature is distributed among the humans of every bucket."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyalign import _core
from polyalign._io import json_text, responses
from polyalign._io.output import check_folder
from polyalign._text.words import counted
from polyalign.buckets import BucketSchema
from polyalign.buckets._fields import OnProgress, Shape, field_spec
from polyalign.reference import _lm
from polyalign.reference._explanation import Explanation, Outside, Resolved
from polyalign.reference._inputs import (
    SUPPORT,
    Variant,
    as_paths,
    as_query,
    at_least_0,
    check_used,
    count_tables,
    counted_under,
    is_table,
    job_of_files,
    opened,
    warn_of_rejects,
    with_progress,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


_FILE = "human.safetensors"


class Reference:
    """How each feature is distributed among the humans of every bucket.

    Made by :meth:`build`, :meth:`from_arrow`, :meth:`load` or :meth:`from_pretrained`; it does not change. The same
    rows give the same bytes, whatever their order, the number of threads, or the parts they were merged from. It holds
    counts, and per bucket a bounded sample of feature values, but no text.

    Examples
    --------
    >>> import polyalign as pa
    >>> reference = Reference.from_arrow(pa.reference.example_table())
    >>> reference
    <Reference: 48 humans in 2 buckets, 145 features>
    >>> reference.support_distance(["Perhaps twelve."], ["en|single|qa|short"], warn=False).dtype
    dtype('float32')
    """

    def __init__(self, core: _core.Reference) -> None:
        self._core = core
        self._info: dict[str, Any] = json.loads(core.info())

    # ---------------------------------------------------------------------------------------------- making

    @classmethod
    def build(
        cls,
        inputs: Any,
        *,
        schema: BucketSchema | None = None,
        sources: Iterable[str] = (),
        variant: Variant = "default",
        sample_size: int = 256,
        shape: Shape | None = None,
        fields: Mapping[str, str] | None = None,
        roles: Mapping[str, str] | None = None,
        bucket_field: str | None = None,
        keep_thinking: bool = False,
        lm: Any = None,
        limit: int | None = None,
        max_record_bytes: int = 256 << 20,
        threads: int | None = None,
        progress: bool | OnProgress = False,
    ) -> Reference:
        """Build the reference of a bucketed corpus, read once.

        Parameters
        ----------
        inputs : str, PathLike, iterable of them, Arrow table, or iterable of tables
            Folders that ``polyalign bucket`` made (their schema and tokenizer come with them); files whose records have
            a bucket; or what :meth:`from_arrow` takes, whole or table by table.
        schema : BucketSchema, optional
            What makes the buckets, where no bucketed folder says it. Default: ``BucketSchema()``.
        sources : iterable of str, optional
            Labels that say where the rows are from; they travel with the reference.
        variant : {"default", "paper"}, default "default"
            ``"paper"``: the published code's features, exact quantiles and no back-off (for small corpora).
        sample_size : int, default 256
            Rows of feature values kept per bucket, which percentiles are calibrated with; 0: none.
        shape, fields, roles, keep_thinking, limit, max_record_bytes, threads, progress
            As in :class:`Bucketer` and :meth:`Bucketer.bucket_files`.
        bucket_field : str, optional
            Dotted path of the bucket in the records of files. Default: ``bucket``.
        lm : str, PathLike or polyalign.lm.LanguageModel, optional
            A causal language model whose features are counted too: the group ``lm``. It reads every row, with its
            prompt and without. Of bucketed folders, Parquet, tables and data sets as ``polyalign bucket`` makes them.

        Returns
        -------
        Reference

        Warns
        -----
        UserWarning
            Rows that could not be used: how many, and why the first of each kind; rows of which the language model
            could not say all.

        Raises
        ------
        OSError
            An input can't be opened.
        ValueError
            Inputs that don't go together, values that can't be counted, or nothing that could be used.
        """
        if is_table(inputs) or isinstance(inputs, (str, os.PathLike)):
            inputs = [inputs]
        asked: dict[str, Any] = {
            "schema": schema,
            "sources": sources,
            "variant": variant,
            "sample_size": sample_size,
            "shape": shape,
            "fields": fields,
            "roles": roles,
            "bucket_field": bucket_field,
            "keep_thinking": keep_thinking,
            "limit": limit,
            "threads": threads,
            "progress": progress,
        }
        if lm is not None:
            made, tally = build_with_lm(inputs, lm, **asked)
            warn_of_rejects(tally, stacklevel=3)
            if told := _lm.said(tally["lm"]):
                warnings.warn(f"of the language model not all is known: {'; '.join(told)}", stacklevel=2)
            return made
        found, are_tables = opened(inputs)
        if are_tables:
            given = counted_under(schema or BucketSchema(), sources, variant, sample_size)
            return cls._from_tables(found, given, field_spec(None, shape, fields or {}, keep_thinking, roles), threads)
        reference, tally = build_files(found, max_record_bytes=max_record_bytes, **asked)
        warn_of_rejects(tally, stacklevel=3)
        return reference

    @classmethod
    def from_arrow(
        cls,
        table: Any,
        *,
        schema: BucketSchema | None = None,
        sources: Iterable[str] = (),
        variant: Variant = "default",
        sample_size: int = 256,
        keep_thinking: bool = False,
        threads: int | None = None,
    ) -> Reference:
        """Build the reference of a table in memory, whose columns :func:`reference_schema` lists.

        Parameters
        ----------
        table : Arrow table
            Anything with ``__arrow_c_stream__`` (pyarrow, polars, DuckDB, pandas, …) or a ``datasets.Dataset``.
        schema, sources, variant, sample_size, keep_thinking, threads
            As in :meth:`build`.
        """
        if not is_table(table):
            raise TypeError(f"table must be an Arrow table (pyarrow, polars, DuckDB, …), not {type(table).__name__}")
        given = counted_under(schema or BucketSchema(), sources, variant, sample_size)
        return cls._from_tables([table], given, field_spec(None, None, {}, keep_thinking), threads)

    @classmethod
    def _from_tables(
        cls, tables: Iterable[Any], given: dict[str, Any], spec: dict[str, Any], threads: int | None
    ) -> Reference:
        settings = {**given, "tokenizer": None, "keep_thinking": spec["keep_thinking"]}
        builder = _core.ReferenceBuilder(json_text.one_line(settings))
        total = count_tables(builder, tables, spec, threads)
        check_used(total)
        warn_of_rejects(total, stacklevel=4)
        return cls(builder.finish())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Reference:
        """Read a reference's file.

        Raises
        ------
        OSError
            It can't be read.
        ValueError
            It is damaged, of another version, or something else: the message says what is wrong.
        """
        return cls(_core.Reference.load(os.fspath(path)))

    @classmethod
    def from_bytes(cls, data: bytes) -> Reference:
        """Read what :meth:`to_bytes` gave."""
        return cls(_core.Reference.from_bytes(data))

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], *, revision: str | None = None) -> Reference:
        """Read a reference from a folder, a file, or the Hugging Face hub (a data set's ``human.safetensors``).

        Raises
        ------
        FileNotFoundError
            It is no name on the hub, and there is no such file, or none in that folder.
        """
        path, text = Path(name), os.fspath(name)
        if path.is_dir():
            if not (path / _FILE).exists():
                raise FileNotFoundError(f"{text}: a folder without {_FILE}; name the reference's file")
            return cls.load(path / _FILE)
        if path.exists():
            return cls.load(path)
        if text.count("/") != 1 or text.endswith(".safetensors"):
            raise FileNotFoundError(f"{text}: no such file; polyalign reference build makes one")
        from polyalign._io.sources import hub_reference

        return cls.load(hub_reference(os.fspath(name), _FILE, revision))

    def merge(self, *others: Reference) -> Reference:
        """Add the humans of other references; in any order, the result is the same bytes.

        Raises
        ------
        ValueError
            Another schema, tokenizer, variant, version of the features or sample size: both sides are named.
        """
        core = self._core
        for other in others:
            if not isinstance(other, Reference):
                raise TypeError(f"references merge with references, not with {type(other).__name__}")
            core = core.merge(other._core)
        return Reference(core)

    # --------------------------------------------------------------------------------------------- keeping

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one ``.safetensors`` file; it appears as a whole or not at all, in place of a file that is there.

        Raises
        ------
        OSError
            It can't be written, or another process writes it.
        """
        self._core.save(os.fspath(path))

    def to_bytes(self) -> bytes:
        """Return the bytes that :meth:`save` writes."""
        return self._core.to_bytes()

    def push_to_hub(
        self, repo_id: str, *, private: bool | None = None, token: str | None = None, commit_message: str | None = None
    ) -> str:
        """Upload the reference to a data set on the Hugging Face hub, and return its address.

        The file holds counts and feature values, no text.
        """
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        info = api.upload_file(
            path_or_fileobj=self.to_bytes(),
            path_in_repo=_FILE,
            repo_id=repo_id,
            repo_type="dataset",
            commit_message=commit_message or f"Human reference: {len(self):,} buckets",
        )
        return str(info.commit_url)

    # --------------------------------------------------------------------------------------------- looking

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
    def buckets(self) -> tuple[str, ...]:
        """The ids of its buckets, ascending."""
        return tuple(bucket["bucket"] for bucket in self._info["buckets"])

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features."""
        return tuple(self._info["features"])

    @property
    def rows(self) -> int:
        """How many human responses it counts."""
        return int(self._info["rows"])

    @property
    def sources(self) -> tuple[str, ...]:
        """Where its rows are from, as whoever built it said."""
        return tuple(self._info["sources"])

    @property
    def variant(self) -> str:
        """``"default"`` or ``"paper"``."""
        return str(self._info["variant"])

    @property
    def sample_size(self) -> int:
        """Rows of feature values kept of each bucket, at the most."""
        return int(self._info["sample_size"])

    @property
    def keep_thinking(self) -> bool:
        """Whether reasoning counts as part of a response, in what was counted and in what is scored."""
        return bool(self._info["keep_thinking"])

    @property
    def lm(self) -> dict[str, Any] | None:
        """The language model whose features it has, the last ones; ``None``: it has none.

        Its ``name``, ``revision``, ``prefix`` and ``max_length``, and the ``fingerprint`` that it is known again by.
        """
        lm: dict[str, Any] | None = self._info.get("lm")
        return lm

    def count(self, bucket: str) -> int:
        """Return how many humans a bucket has; 0 if it is not there."""
        return next((int(known["rows"]) for known in self._info["buckets"] if known["bucket"] == bucket), 0)

    def resolve(self, target: str, *, min_count: int = 20) -> Resolved:
        """Say which humans stand for a target.

        A bucket with fewer than `min_count` humans backs off to its nearest ancestor: custom axes are dropped from the
        last, then family, track and length; never the language.

        Raises
        ------
        ValueError
            A target that is none under the schema: the wrong number of parts, a length bin or track that is not there.
        """
        return Resolved(**json.loads(self._core.resolve(target, at_least_0("min_count", min_count))))

    def describe(self, *, threads: int | None = None) -> Any:
        """Return every feature of every bucket in numbers, an Arrow table.

        Columns are ``bucket``, ``feature``, ``count``, ``mean``, ``std``, ``min``, ``q10``, ``q25``, ``q50``, ``q75``,
        ``q90`` and ``max``; NaN where no human has a value.
        """
        return self._core.describe(threads)

    def to_arrow(self) -> Any:
        """Return every bin of every feature in every bucket: low, high, count and mean, an Arrow table."""
        return self._core.bins()

    def diff(self, other: Reference, *, threads: int | None = None) -> Any:
        """Compare the buckets that both have: an Arrow table, a row a bucket and feature, a column a distance.

        ``wasserstein_scaled`` is the Wasserstein distance over this reference's σ, no less than the feature's scale.
        """
        if not isinstance(other, Reference):
            raise TypeError(f"a reference is compared with a reference, not with {type(other).__name__}")
        return self._core.diff(other._core, threads)

    def quantile(self, target: str, feature: str, p: float | Iterable[float], *, min_count: int = 20) -> Any:
        """Return nearest-rank quantiles of a feature among the humans that serve a target; NaN where nobody does.

        Exact for whole numbers below 128, else a bin's mean, within a sixty-fourth of it.
        """
        values = self._core.quantile(target, feature, _floats(p), at_least_0("min_count", min_count))
        return values if isinstance(p, Iterable) else float(values[0])

    def cdf(self, target: str, feature: str, x: float | Iterable[float], *, min_count: int = 20) -> Any:
        """Return the share of the humans that serve a target whose value is at most x; NaN where nobody does."""
        values = self._core.cdf(target, feature, _floats(x), at_least_0("min_count", min_count))
        return values if isinstance(x, Iterable) else float(values[0])

    def support(
        self, target: str, feature: str, band: tuple[float, float] = SUPPORT, *, min_count: int = 20
    ) -> tuple[float, float]:
        """Return the band between two quantiles that holds most humans."""
        low, high = self.quantile(target, feature, list(band), min_count=min_count)
        return float(low), float(high)

    def plot(
        self,
        path: str | os.PathLike[str],
        *,
        against: Reference | None = None,
        names: tuple[str, str] | None = None,
        title: str | None = None,
        min_count: int = 20,
        threads: int | None = None,
    ) -> None:
        """Write a page that shows every bucket's histograms: one HTML file, in English and Chinese.

        Parameters
        ----------
        path : path
            The file. One that is there is replaced.
        against : Reference, optional
            One to compare with, that of a model's answers, say: the page shows where the two differ, bucket by bucket.
        names : tuple of two str, optional
            What the two are called then. Default: their sources.
        title : str, optional
            The heading. Default: the sources, or the names of the two.
        min_count : int
            Features with fewer values in a bucket are marked, and are left out of mean differences.
        threads : int, optional
            How many threads work at it. Default: all cores.

        Raises
        ------
        TypeError
            `against` is no reference.
        ValueError
            The two have different schemas or variants.
        OSError
            The file can't be written.
        """
        from polyalign._io.output import publishing
        from polyalign.reference._page import render

        check_folder(path)
        with publishing(path, overwrite=True) as output:
            if against is None:
                data = self._page(title, min_count, threads)
            else:
                data = self._pair(against, names, title, min_count, threads)
            output.write(render(data).encode())

    def _pair(
        self, other: Reference, names: tuple[str, str] | None, title: str | None, min_count: int, threads: int | None
    ) -> dict[str, Any]:
        from polyalign.reference._page import pair

        table = self.diff(other, threads=threads)
        columns = ([value.as_py() for value in table[name]] for name in ("bucket", "feature", "wasserstein_scaled"))
        differences = {
            (bucket, feature): apart
            for bucket, feature, apart in zip(*columns, strict=True)
            if not math.isnan(apart)  # both sides have values
        }
        if names is None:
            one, two = (" · ".join(side.sources) for side in (self, other))
            names = (one, two) if one and two and one != two else (one or "A", f"{two} (B)" if two else "B")
        title = title or " – ".join(names)
        one_page, other_page = (side._page(title, min_count, threads) for side in (self, other))
        return pair(one_page, other_page, differences, names)

    def _page(self, title: str | None = None, min_count: int = 20, threads: int | None = None) -> dict[str, Any]:
        title = title or " · ".join(self.sources) or "Human reference"
        return dict(json.loads(self._core.page(title, min_count, threads)))

    # --------------------------------------------------------------------------------------------- scoring

    def support_distance(
        self,
        texts: Any,
        buckets: Any,
        *,
        prompts: Any = None,
        lm: Any = None,
        support: tuple[float, float] = SUPPORT,
        min_count: int = 20,
        threads: int | None = None,
        warn: bool = True,
    ) -> npt.NDArray[np.float32]:
        """Measure how far responses are from the humans of their buckets.

        D_b(z) is the mean over features of 0 inside the band [low, high] of most humans, else min(5, distance to the
        nearer end / max(high − low, σ, s_f)), over the features that are defined for z and for at least `min_count`
        humans of the bucket or its nearest ancestor. (The paper's variant has 10⁻⁶ for s_f, no cap and no back-off.)

        Parameters
        ----------
        texts : list of str, Arrow column or numpy array of strings
            The responses; message lists count as the text of their last message.
        buckets : str, or one for each text
            That of the human answer a response stands in for; ``*`` for all values of an axis: ``en|single|qa|*``.
        prompts : list, optional
            What each response answers, as in :func:`polyalign.features.extract`.
        lm : str, PathLike or polyalign.lm.LanguageModel, optional
            The language model that the reference was built with, whose features count then. Default: they don't, of
            nobody.
        support : (float, float), default (0.1, 0.9)
            The quantiles of the band.
        min_count : int, default 20
            Fewer humans have no say.
        threads : int, optional
            Default: ``POLYALIGN_NUM_THREADS``, else every core.
        warn : bool, default True
            Whether to warn of responses without a distance, and of features of a language model that don't count.

        Returns
        -------
        numpy.ndarray of float32, shape (n,)
            0 is among most humans, 5 the most. NaN where there is no distance: a language without humans, a target that
            is none under the schema, a response for which fewer than half of the features are defined (an empty one).
        """
        given = self._responses(texts, buckets, prompts)
        values = self._lm_values(lm, texts, prompts)
        distances, reasons = self._core.support_distance(*given, as_query(support, min_count), threads, lm=values)
        if warn and lm is None and self.lm is not None:
            warnings.warn(_lm.uncounted(self.lm), stacklevel=2)
        if warn and reasons:
            missing = sum(count for _, count in reasons)
            told = "; ".join(f"{count:,}: {reason}" for reason, count in reasons[:3])
            warnings.warn(f"{missing:,} of {len(distances):,} responses have no distance: {told}", stacklevel=2)
        return distances

    def score(
        self,
        texts: Any,
        buckets: Any,
        *,
        prompts: Any = None,
        lm: Any = None,
        support: tuple[float, float] = SUPPORT,
        min_count: int = 20,
        threads: int | None = None,
        warn: bool = True,
    ) -> Any:
        """Score responses, with all that is known of each.

        Parameters are those of :meth:`support_distance`; `warn` is of features of a language model alone.

        Returns
        -------
        arro3.core.Table
            ``bucket``, ``served_by`` (whose humans), ``distance``, ``percentile`` (the share of humans that are closer,
            from the bucket's sample), and ``reason`` where there is no distance.

        Warns
        -----
        UserWarning
            The reference has features of a language model, and `lm` is not given: they don't count.
        """
        given = self._responses(texts, buckets, prompts)
        values = self._lm_values(lm, texts, prompts)
        if warn and lm is None and self.lm is not None:
            warnings.warn(_lm.uncounted(self.lm), stacklevel=2)
        return self._core.score(*given, as_query(support, min_count), threads, lm=values)

    def _score_and_measure(
        self,
        texts: Any,
        buckets: Any,
        languages: Any,
        *,
        prompts: Any = None,
        lm: Any = None,
        support: tuple[float, float] = SUPPORT,
        min_count: int = 20,
        threads: int | None = None,
    ) -> tuple[Any, npt.NDArray[np.float32]]:
        """Return what :meth:`score` does, warning of nothing, and the features of the texts in their languages.

        The latter, [n, features], are those of :func:`polyalign.features.extract` with ``keep_thinking=True``: measured
        in one pass, where both are of the same text and language.
        """
        told, asked, answered = self._responses(texts, buckets, prompts)
        values, query = self._lm_values(lm, texts, prompts), as_query(support, min_count)
        return self._core.score_and_measure(told, asked, languages, answered, query, threads, values)

    def explain(
        self,
        text: str,
        bucket: str,
        *,
        prompt: Any = None,
        lm: Any = None,
        most: int = 10,
        support: tuple[float, float] = SUPPORT,
        min_count: int = 20,
        threads: int | None = None,
    ) -> Explanation:
        """Say which features put a response outside the humans of a bucket.

        Parameters
        ----------
        text, bucket, prompt, lm, support, min_count
            One of what :meth:`support_distance` takes lists of.
        most : int, default 10
            How many features, those that count most first.
        threads : int, optional
            Default: ``POLYALIGN_NUM_THREADS``, else every core.

        Examples
        --------
        >>> import polyalign as pa
        >>> reference = Reference.from_arrow(pa.reference.example_table())
        >>> print(reference.explain("As an AI language model, I can't!!!", "en|single|qa|short", most=1))
        distance ... from en|single|qa|short, further out than 100% of humans
          ...
        """
        (text,), prompts = responses.texts("texts", [text]), responses.prompts([prompt])
        asked, values = as_query(support, min_count), self._lm_values(lm, [text], [prompt])
        told = self._core.explain(text, bucket, prompts, asked, at_least_0("most", most), threads, lm=values)
        found = json.loads(told)
        return Explanation(**{**found, "outside": tuple(Outside(**outside) for outside in found["outside"])})

    def score_files(
        self,
        inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        output: str | os.PathLike[str] | None = None,
        *,
        tokenizer: Any = None,
        overwrite: bool = False,
        join: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
        own_length: bool = False,
        explain: int = 0,
        bucket_field: str | None = None,
        shape: Shape | None = None,
        fields: Mapping[str, str] | None = None,
        roles: Mapping[str, str] | None = None,
        support: tuple[float, float] = SUPPORT,
        min_count: int = 20,
        limit: int | None = None,
        max_record_bytes: int = 256 << 20,
        threads: int | None = None,
        progress: bool | OnProgress = False,
    ) -> dict[str, Any]:
        """Score the responses of files, streaming, a line each in the order of the records.

        A response is scored against its record's ``bucket``; else that of the human answer with the same id in `join`;
        else its language, track and family over all lengths.

        Parameters
        ----------
        inputs : str, PathLike or iterable of them
            Files of any record shape, folders, globs, or ``-`` for standard input.
        output : str or PathLike, optional
            A ``.jsonl`` or ``.parquet`` file to make; ``-``: lines on standard output; ``None``: only the report.
        tokenizer : optional
            What :class:`TokenCounter` takes; `own_length` needs it where lengths are in tokens.
        overwrite : bool, default False
            Replace an existing output.
        join : str, PathLike or iterable of them, optional
            Bucketed folders of the human answers.
        own_length : bool, default False
            Score against the bin of the response's own length, which hides verbosity.
        explain : int, default 0
            How many features that put a response outside each line names, at most.
        bucket_field, shape, fields, roles, limit, max_record_bytes, threads, progress
            As in :meth:`build`.
        support, min_count
            As in :meth:`support_distance`.

        Returns
        -------
        dict
            ``tally`` (rows, used, rejected and why), ``scored``, ``unscored``, ``unscored_by_reason`` (how many of each
            kind: ``empty``, ``no_humans``, ``undefined``, ``bucket``, ``language``, ``track``), ``unscored_examples``
            (the first reason of each kind) and ``buckets``: by target, ``rows``, ``scored``, ``mean_distance``,
            ``mean_percentile`` (humans: .5), ``beyond_95`` (humans: .05), ``energy``, the energy distance of up to 256
            of the responses, as a set, from the humans (0 on average for humans' answers; see
            :class:`polyalign.distribution.DistributionTerm`) and ``energy_floor``, what 95% of as large sets of humans'
            answers have less than; of more than 10,000 targets, the rest together as ``(others)``.

        Raises
        ------
        FileExistsError
            The output exists already, or came to while this ran: it stays as it is.
        OSError
            A file can't be read or written, or another process writes the same output.
        ValueError
            The settings or inputs can't be used as a whole.
        """
        from polyalign._io.sources import local_inputs
        from polyalign.tokens import TokenCounter

        if tokenizer is not None and not isinstance(tokenizer, TokenCounter):
            tokenizer = TokenCounter(tokenizer)
        asked = as_query(support, min_count)
        if output not in (None, "-"):
            check_folder(output)
        job = {
            "inputs": local_inputs(as_paths(inputs)),
            "output": None if output is None else os.fspath(output),
            "overwrite": overwrite,
            "fields": field_spec(None, shape, fields or {}, self.keep_thinking, roles),
            "bucket_field": bucket_field,
            "join": as_paths(join),
            "own_length": own_length,
            "explain": at_least_0("explain", explain),
            "min_count": asked[0],
            "support": asked[1:],
            "max_record_bytes": max_record_bytes,
            "threads": threads or 0,
            "limit": limit,
        }
        counter = None if tokenizer is None else tokenizer._core

        def run(on_progress: OnProgress | None) -> str:
            return self._core.score_files(json_text.one_line(job), counter, on_progress)

        return dict(json.loads(with_progress(run, progress)))

    def _lm_values(self, lm: Any, texts: Any, prompts: Any) -> npt.NDArray[np.float32] | None:
        """Return what the reference's language model says of responses, if it is given, as the engine takes it."""
        if lm is None:
            return None
        return _lm.fitting(lm, self.lm).measure(texts, prompts, keep_thinking=self.keep_thinking)

    @staticmethod
    def _responses(texts: Any, buckets: Any, prompts: Any) -> tuple[Any, Any, Any]:
        return responses.texts("texts", texts), buckets, responses.prompts(prompts)

    # ------------------------------------------------------------------------------------------- the object

    def __len__(self) -> int:
        return len(self._info["buckets"])

    def __contains__(self, bucket: object) -> bool:
        return bucket in self.buckets

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and self._core == other._core

    def __hash__(self) -> int:
        return hash((self.rows, self.buckets))

    def __reduce__(self) -> tuple[Callable[[bytes], Reference], tuple[bytes]]:
        return Reference.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        variant = "" if self.variant == "default" else f", variant {self.variant!r}"
        if self.lm is not None:
            variant += f", {_lm.COUNT} of them of the language model {_lm.named(self.lm)}"
        return (
            f"<Reference: {self.rows:,} humans in {counted(len(self), 'bucket')}, "
            f"{len(self.features):,} features{variant}>"
        )


def build_with_lm(
    inputs: Iterable[Any],
    lm: Any,
    *,
    variant: Variant = "default",
    shape: Shape | None = None,
    fields: Mapping[str, str] | None = None,
    roles: Mapping[str, str] | None = None,
    bucket_field: str | None = None,
    **settings: Any,
) -> tuple[Reference, dict[str, Any]]:
    """Build a reference with the features of a language model, and return it with what became of the rows."""
    others = {"shape": shape, "fields": fields, "roles": roles, "bucket_field": bucket_field}
    if variant != "default":
        raise ValueError(f"variant {variant!r} has no features of a language model: leave lm out")
    for name, value in others.items():
        if value:
            raise ValueError(f"lm does not go with {name}: bucket the records first (polyalign bucket)")
    core, tally = _lm.build(inputs, lm, **settings)
    check_used(tally)
    return Reference(core), tally


def build_files(
    inputs: Iterable[str | os.PathLike[str]],
    *,
    schema: BucketSchema | None = None,
    sources: Iterable[str] = (),
    variant: Variant = "default",
    sample_size: int = 256,
    shape: Shape | None = None,
    fields: Mapping[str, str] | None = None,
    roles: Mapping[str, str] | None = None,
    bucket_field: str | None = None,
    keep_thinking: bool = False,
    limit: int | None = None,
    max_record_bytes: int = 256 << 20,
    threads: int | None = None,
    progress: bool | OnProgress = False,
) -> tuple[Reference, dict[str, Any]]:
    """Build the reference of files as :meth:`Reference.build` does; return it with what became of their rows.

    The rows are counted under ``rows``, ``used``, ``rejected``, ``rejected_by_kind``, ``first_rejects``, ``unreadable``
    and ``bytes``, of which nothing is warned.
    """
    job = counted_under(schema, sources, variant, sample_size) | job_of_files(
        inputs,
        fields=field_spec(None, shape, fields or {}, keep_thinking, roles),
        bucket_field=bucket_field,
        max_record_bytes=max_record_bytes,
        threads=threads,
        limit=limit,
    )
    core, told = with_progress(
        lambda on_progress: _core.Reference.build(json_text.one_line(job), on_progress), progress
    )
    tally = dict(json.loads(told))
    check_used(tally)
    return Reference(core), tally


def _floats(value: float | Iterable[float]) -> list[float]:
    return [float(number) for number in value] if isinstance(value, Iterable) else [float(value)]
