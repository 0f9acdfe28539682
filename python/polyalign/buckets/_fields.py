"""What is read of records, as the engine takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_args

from polyalign.buckets._ids import DEFAULT_AXES
from polyalign.buckets._schema import BucketSchema

FIELD_NAMES = (
    *("messages", "prompt", "response", "rejected", "system"),
    *("language", "track", "family", "source", "group", "id"),
)


ROLES = ("user", "assistant", "system", "tool")


Shape = Literal["messages", "prompt_completion", "sharegpt", "alpaca", "polyalign", "preference"]


OnProgress = Callable[[int, int, int], object]


def field_spec(
    schema: BucketSchema | None,
    shape: str | None,
    fields: Mapping[str, str],
    keep_thinking: bool,
    roles: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return what is read from records, as the engine has it."""
    unknown = sorted(set(fields) - set(FIELD_NAMES))
    if unknown:
        raise ValueError(f"fields: {unknown[0]!r} is not one of {', '.join(FIELD_NAMES)}")
    if shape is not None and shape not in get_args(Shape):
        raise ValueError(f"shape is {shape!r}: it must be one of {', '.join(get_args(Shape))}")
    for role, taken in (roles or {}).items():
        if taken not in ROLES:
            raise ValueError(f"roles: {role!r} is {taken!r}: it must be one of {', '.join(ROLES)}")
    own_axes = [axis for axis in schema.axes if axis not in DEFAULT_AXES] if schema else []
    custom = [axis if isinstance(axis, str) else axis["column"] for axis in own_axes]
    return {**fields, "shape": shape, "roles": dict(roles or {}), "custom": custom, "keep_thinking": keep_thinking}


def source_labels(sources: Iterable[str]) -> list[str]:
    """Return the labels of a reference's sources, as the engine has them."""
    return [sources] if isinstance(sources, str) else sorted(set(sources))
