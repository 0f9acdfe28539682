"""What a reference is built of and asked with, as the engine takes it; and what became of the rows."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, Literal

from polyalign._io import json_text
from polyalign._io.responses import is_arrow, is_dataset
from polyalign._text.words import place
from polyalign.buckets import BucketSchema
from polyalign.buckets._fields import OnProgress, source_labels

Variant = Literal["default", "paper"]


SUPPORT = (0.1, 0.9)


def is_table(value: Any) -> bool:
    return is_arrow(value) or is_dataset(value)


def arrow_tables(item: Any) -> Iterable[Any]:
    """Return what the engine takes of an input."""
    if is_dataset(item):
        return item.with_format("arrow").iter(batch_size=10_000)  # type: ignore[no-any-return]
    if not is_table(item):
        raise TypeError(mixed(item))
    return [item]


def peek(items: Iterable[Any]) -> tuple[Any, Iterable[Any]]:
    """Return the first item, if there is one, and all of them."""
    iterator = iter(items)
    first = list(islice(iterator, 1))
    return (first[0] if first else None), chain(first, iterator)


def opened(inputs: Any) -> tuple[Iterable[Any], bool]:
    """Return inputs, and whether they are tables, which are taken one by one: they may come from far and be large."""
    if is_table(inputs) or isinstance(inputs, (str, os.PathLike)):
        inputs = [inputs]
    first, rest = peek(inputs)
    return rest, is_table(first) or (first is None and isinstance(inputs, Iterator))


def job_of_files(
    inputs: Iterable[Any],
    *,
    fields: dict[str, Any],
    bucket_field: str | None,
    max_record_bytes: int,
    threads: int | None,
    limit: int | None,
) -> dict[str, Any]:
    """Return how files are read, as the engine takes it."""
    from polyalign._io.sources import local_inputs

    return {
        "inputs": local_inputs([as_path(path) for path in inputs]),
        "fields": fields,
        "bucket_field": bucket_field,
        "max_record_bytes": max_record_bytes,
        "threads": threads or 0,
        "limit": limit,
    }


def mixed(item: Any) -> str:
    return f"inputs must be all paths or all Arrow tables: one is a {type(item).__name__}"


def as_path(path: Any) -> str:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(mixed(path))
    return os.fspath(path)


def as_paths(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str]:
    return [os.fspath(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]


def at_least_0(name: str, value: int) -> int:
    if value < 0:
        raise ValueError(f"{name} is {value}: it must be at least 0")
    return value


def as_query(support: tuple[float, float], min_count: int) -> tuple[int, float, float]:
    """Return how a reference is asked, as the engine takes it."""
    try:
        low, high = support
    except (TypeError, ValueError):
        raise ValueError(f"support is {support!r}: give two quantiles, such as {SUPPORT}") from None
    return at_least_0("min_count", min_count), low, high


def with_progress(run: Callable[[OnProgress | None], Any], progress: bool | OnProgress) -> Any:
    if progress is not True:
        return run(progress or None)
    from polyalign._io.progress import progress_bar

    with progress_bar() as on_progress:
        return run(on_progress)


def counted_under(
    schema: BucketSchema | None, sources: Iterable[str], variant: Variant, sample_size: int
) -> dict[str, Any]:
    """Return what a reference counts under, as the engine has it."""
    if variant not in ("default", "paper"):
        raise ValueError(f"variant is {variant!r}: it must be 'default' or 'paper'")
    return {
        "schema": None if schema is None else json.loads(schema.to_json()),
        "variant": variant,
        "sample_size": at_least_0("sample_size", sample_size),
        "sources": source_labels(sources),
    }


def _rejects(tally: Mapping[str, Any]) -> list[str]:
    first = tally.get("first_rejects", {})
    kinds = tally.get("rejected_by_kind", {})
    return [
        f"{count:,} for {kind}, the first in {place(first[kind])}: {first[kind]['reason']}"
        for kind, count in kinds.items()
    ]


def count_tables(
    builder: Any, tables: Iterable[Any], spec: Mapping[str, Any], threads: int | None, **more: Any
) -> dict[str, Any]:
    """Count tables into a builder, one by one, as they may come from far; return what became of the rows."""
    total: dict[str, Any] = {}
    for table in chain.from_iterable(map(arrow_tables, tables)):
        tally = json.loads(builder.add(table, json_text.one_line(spec), threads, **more))
        total["rows"] = total.get("rows", 0) + tally["rows"]
        total["used"] = total.get("used", 0) + tally["used"]
        for kind, count in tally["rejected_by_kind"].items():
            kinds = total.setdefault("rejected_by_kind", {})
            kinds[kind] = kinds.get(kind, 0) + count
        total["first_rejects"] = {**tally["first_rejects"], **total.get("first_rejects", {})}
    return total


def check_used(tally: Mapping[str, Any], what: str = "a reference") -> None:
    if not tally.get("used"):
        raise ValueError(f"no humans to build {what} of: " + ("; ".join(_rejects(tally)) or "the input is empty"))


def warn_of_rejects(tally: Mapping[str, Any], stacklevel: int) -> None:
    told = _rejects(tally)
    if told:
        warnings.warn(f"not counted: {'; '.join(told)}", stacklevel=stacklevel)
