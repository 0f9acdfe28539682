"""The rows that are answered, read from a bucketed set as often as they are needed."""

from __future__ import annotations

import difflib
import hashlib
import heapq
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from polyalign._io import bucketed
from polyalign.generation._settings import Selection

__all__ = ["Row", "Source", "choose", "rank"]

_COLUMNS = ("id", "bucket", "prompt")
_OPTIONAL = ("group", "tools", "extra")


@dataclass(frozen=True)
class Row:
    """A row of a bucketed set."""

    at: int
    """Its number among all rows."""
    id: str | None
    bucket: str | None
    prompt: Any
    """A text, or messages."""
    group: str | None
    tools: list[Any] | None
    columns: Mapping[str, Any]
    """What else was asked for."""
    place: Mapping[str, Any]
    """The file, the number there, and the id."""


class Source:
    """A bucketed set."""

    def __init__(self, records: Any, split: str) -> None:
        self.rows = bucketed.open_rows("records", records, split)
        self.rows.require("records", *_COLUMNS)
        made = self.rows.bucketed
        self.schema = made.schema if made else None

    def ids(self) -> Iterator[tuple[int, str | None, str | None]]:
        """Give number, id and bucket of all rows."""
        start = 0
        for _, _, batch in self.rows.batches(["id", "bucket"]):
            named = zip(bucketed.ids("records", batch["id"]).to_pylist(), batch["bucket"].to_pylist(), strict=True)
            yield from ((at, *pair) for at, pair in enumerate(named, start))
            start += len(batch)

    def read(self, chosen: Sequence[int] | None, columns: Iterable[str] = ()) -> Iterator[Row]:
        """Give rows by their numbers, which rise; `None`: all."""
        wanted = [*_COLUMNS, *_OPTIONAL, *(name for name in columns if name not in (*_COLUMNS, *_OPTIONAL))]
        start, left = 0, None if chosen is None else iter(chosen)
        ahead = next(left, None) if left is not None else None
        for file, first, batch in self.rows.batches(wanted):
            places = list(range(len(batch)))
            if left is not None:
                places = []
                while ahead is not None and ahead < start + len(batch):
                    places.append(ahead - start)
                    ahead = next(left, None)
            if places:
                table = batch.take(places) if len(places) < len(batch) else batch
                identities = bucketed.ids("records", table["id"]).to_pylist()
                for place, identity, values in zip(places, identities, table.to_pylist(), strict=True):
                    yield _row(start + place, file, first + place, identity, values)
            start += len(batch)


def _row(at: int, file: str, number: int, identity: str | None, values: dict[str, Any]) -> Row:
    place = {"file": file, "row": number, "id": identity}
    prompt, group = values.get("prompt"), values.get("group")
    return Row(at, identity, values.get("bucket"), prompt, group, _tools(values), values, place)


def _tools(values: Mapping[str, Any]) -> list[Any] | None:
    """Return the tools that a row offers: a column of its own, or a member that the reader left over; maybe as JSON."""
    tools, extra = values.get("tools"), values.get("extra")
    if tools is None and isinstance(extra, str) and '"tools"' in extra:
        members = json.loads(extra)
        tools = members.get("tools") if isinstance(members, dict) else None
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except ValueError:
            return None
    if not isinstance(tools, list):
        return None
    return [_bare(json.loads(tool) if isinstance(tool, str) else tool) for tool in tools] or None


def _bare(value: Any) -> Any:
    """Leave out the members that only other rows of a table have: Arrow's structs have those of all."""
    if isinstance(value, dict):
        return {name: _bare(member) for name, member in value.items() if member is not None}
    return [_bare(item) for item in value] if isinstance(value, list) else value


def choose(source: Source, selection: Selection) -> list[int] | None:
    """Return the numbers of the rows that are asked for, rising; `None`: all.

    Raises
    ------
    ValueError
        No bucket is of that name.
    """
    if not (selection.buckets or selection.per_bucket or selection.limit):
        return None
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    seen: set[str] = set()
    draws = selection.per_bucket is not None or selection.limit is not None
    for at, identity, bucket in source.ids():
        seen.add(str(bucket))
        if not selection.buckets or any(_is(str(bucket), pattern) for pattern in selection.buckets):
            found[str(bucket)].append((rank("rows", str(identity)) if draws else at, at))
    for pattern in selection.buckets:
        if not any(_is(bucket, pattern) for bucket in found):
            close = difflib.get_close_matches(pattern, sorted(seen), n=3, cutoff=0.3)
            raise ValueError(f"no bucket is {pattern!r}" + (f"; did you mean {' or '.join(close)}?" if close else ""))
    kept = [
        rows if selection.per_bucket is None else heapq.nsmallest(selection.per_bucket, rows) for rows in found.values()
    ]
    flat = [row for rows in kept for row in rows]
    if selection.limit is not None:
        flat = heapq.nsmallest(selection.limit, flat)
    return sorted(at for _, at in flat)


def _is(bucket: str, pattern: str) -> bool:
    return bucket == pattern or fnmatchcase(bucket, pattern)


def rank(*parts: object) -> int:
    """Return 64 bits that are the same for the same parts, on any machine."""
    spelled = json.dumps(parts, ensure_ascii=True).encode()
    return int.from_bytes(hashlib.blake2b(spelled, digest_size=8).digest(), "little")
