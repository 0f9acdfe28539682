"""Modules that are imported when they are used, and those that need packages beyond the required ones."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType


def handing_out(
    package: str, module_of: Mapping[str, str], load: Callable[[str], ModuleType] = importlib.import_module
) -> Callable[[str], object]:
    """Return a package's ``__getattr__``, which takes names from their modules when they are first used.

    A name that is its module's own is the module.
    """

    def take(name: str) -> object:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = load(f"{package}.{module_of[name]}")
        value = module if module_of[name] == name else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return take


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
