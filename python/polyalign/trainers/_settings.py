"""Checks of settings, for the configurations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from polyalign import _core


@contextmanager
def bf16_explained() -> Iterator[None]:
    """Say what helps where transformers refuses bfloat16."""
    try:
        yield
    except ValueError as error:
        if "bf16/gpu" not in str(error):
            raise
        told = "no GPU with bfloat16 here: --bf16 false trains in float32, --use_cpu in bfloat16 on the CPU"
        raise ValueError(_core.in_words(told)) from None


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise a ValueError unless a setting is one of its choices."""
    if value not in choices:
        raise ValueError(f"{name}={value!r}: it is one of {', '.join(map(repr, choices))}")


def check_number(
    name: str, value: float | None, low: float = -math.inf, high: float = math.inf, *, above: float = -math.inf
) -> None:
    """Raise a ValueError unless a setting is None or a number in its range."""
    if value is None or (low <= value <= high and value > above and math.isfinite(value)):
        return
    ends = [f"above {above:g}"] if above > -math.inf else [f"at least {low:g}"] if low > -math.inf else []
    ends += [f"at most {high:g}"] if high < math.inf else []
    raise ValueError(f"{name}={value}: it must be a number {' and '.join(ends)}".rstrip())
