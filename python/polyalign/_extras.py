"""Modules that need packages beyond the required ones."""

from __future__ import annotations

import importlib
from types import ModuleType


def training_module(name: str) -> ModuleType:
    """Import a module that trains.

    Raises
    ------
    ModuleNotFoundError
        A package is missing; the message names it and the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("polyalign"):
            raise
        raise ModuleNotFoundError(
            f"training needs {error.name}: pip install 'polyalign[train]'", name=error.name
        ) from error
