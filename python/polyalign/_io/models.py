"""Models of transformers: what a folder holds, loaded quietly, and for a while in another state."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def is_adapter(name: str) -> bool:
    """Whether it is a folder with an adapter and no model."""
    return (Path(name) / "adapter_config.json").is_file() and not (Path(name) / "config.json").is_file()


def why_not(name: str, error: Exception) -> str:
    """Return why a model can't be opened: a path that is none is no matter of the hub.

    Examples
    --------
    >>> why_not("/no/such", OSError("Repo id must use alphanumeric chars"))
    'no such folder'
    """
    said = " ".join(str(error).split())
    if Path(name).exists():
        return said
    return f"no such folder here; {said}" if re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", name) else "no such folder"


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Put a model in evaluation mode, without dropout, and back in what it was in."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def quiet_off_terminal() -> Iterator[None]:
    """Keep the bars of transformers, as of loading weights, off what is no terminal, as ours are."""
    from transformers.utils import logging

    if sys.stderr.isatty() or not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


@contextmanager
def generating_by(model: Any, config: Any) -> Iterator[None]:
    """Put a generation config in the place of the model's: `generate` takes what is None from there."""
    holders = [model, *([model.get_base_model()] if hasattr(model, "get_base_model") else [])]
    holders = [holder for holder in holders if "generation_config" in vars(holder)]
    kept = [holder.generation_config for holder in holders]
    for holder in holders:
        holder.generation_config = config
    try:
        yield
    finally:
        for holder, own in zip(holders, kept, strict=True):
            holder.generation_config = own
