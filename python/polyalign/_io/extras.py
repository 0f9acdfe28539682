"""Modules that need packages beyond the required ones."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType


def training_module(name: str, what: str = "training") -> ModuleType:
    """Import a module that trains, or what needs the same packages.

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
        python = "Python 3.11 or later and " if sys.version_info < (3, 11) else ""
        raise ModuleNotFoundError(
            f"{what} needs {python}{error.name}: pip install 'polyalign[train]'", name=error.name
        ) from error
