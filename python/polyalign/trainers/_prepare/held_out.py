"""Rows held out by what belongs together, as ``polyalign bucket --test-share`` tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xxhash
from datasets import Dataset, IterableDataset

from polyalign._text.words import counted

__all__ = ["count_held_out", "hold_out", "key_of"]

_COLUMNS = ("group", "prompt", "messages", "completion", "chosen")
_ROWS = 1000


def hold_out(dataset: Any, share: float) -> tuple[Dataset, Dataset, str]:
    """Split a data set in rows that train and rows that are held out: about this share of its groups.

    Rows without a group go by their prompt, rows without a prompt by their response. Returned are the two parts, and a
    line that says how many rows and groups were held out, and of rows without a group.

    Raises
    ------
    ValueError
        The data set streams, has no columns to tell it from, or one part is empty.
    """
    if isinstance(dataset, IterableDataset):
        raise ValueError("test_share: a data set that streams can't be split; name a --dataset_test_split")
    columns = [name for name in _COLUMNS if name in dataset.column_names]
    if not columns:
        raise ValueError(f"test_share: rows are told apart by one of the columns {', '.join(_COLUMNS)}; there is none")
    parts: tuple[list[int], list[int]] = ([], [])
    groups: tuple[set[int], set[int]] = (set(), set())
    below, at, ungrouped = int(share * 2.0**64), 0, 0
    for batch in dataset.select_columns(columns).iter(_ROWS):
        for values in zip(*batch.values(), strict=True):
            row = dict(zip(batch, values, strict=True))
            key = key_of(row)
            parts[key < below].append(at)
            groups[key < below].add(key)
            ungrouped += row.get("group") is None
            at += 1
    if not all(parts):
        raise ValueError(f"test_share={share:g} holds out {len(parts[1]):,} of {at:,} rows: change it")
    said = (
        f"held out: {len(parts[1]):,} of {at:,} rows, {len(groups[1]):,} of {sum(map(len, groups)):,} "
        f"{'prompts' if ungrouped == at else 'groups'}"
    )
    if ungrouped:
        count = "the rows" if ungrouped == at else f"{ungrouped:,} rows"
        said += f"; {count} have no group, and go by their prompts: other parts of their conversations may train"
    return dataset.select(parts[0]), dataset.select(parts[1]), said


def count_held_out(dataset: Dataset) -> str:
    """Say how many rows and groups a data set has that was held out before."""
    rows = f"held out: {counted(len(dataset), 'row')}"
    if "group" not in dataset.column_names:
        return f"{rows}; no column 'group' tells whether others of their conversations train"
    groups: set[str] = set()
    without = 0
    for batch in dataset.select_columns("group").iter(_ROWS):
        groups.update(group for group in batch["group"] if group is not None)
        without += batch["group"].count(None)
    lack = f"; {counted(without, 'row has', 'rows have')} no group" if without else ""
    return f"{rows}, {counted(len(groups), 'group')}{lack}"


def key_of(row: Mapping[str, Any]) -> int:
    """Hash what a row has in common with others."""
    if row.get("group") is not None:
        return xxhash.xxh3_64_intdigest(str(row["group"]).encode())
    whole = _messages(row.get("messages"), "user")
    messages = _messages(row.get("prompt"), "user") or whole[:-1] or whole
    messages = messages or _messages(row.get("completion") or row.get("chosen"), "assistant")
    spelled = "".join(f"{message['role']}\0{message['content']}\0" for message in messages)
    return xxhash.xxh3_64_intdigest(spelled.encode())


def _messages(value: Any, role: str) -> list[Any]:
    """Return messages; a text is one."""
    return [{"role": role, "content": value}] if isinstance(value, str) and value else list(value or [])
