"""The whole method by one file of settings: from a corpus to trained models, held against humans and each other.

Needs torch and TRL: ``pip install 'polyalign[train]'``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyalign.align._config import Config as Config
    from polyalign.align._config import example as example
    from polyalign.align._report import Outcome as Outcome
    from polyalign.align._report import PlannedStage as PlannedStage
    from polyalign.align._run import align as align
    from polyalign.align._run import plan as plan

_MODULE_OF = {
    "Config": "_config",
    "Outcome": "_report",
    "PlannedStage": "_report",
    "align": "_run",
    "example": "_config",
    "plan": "_run",
}

__all__ = ["Config", "Outcome", "PlannedStage", "align", "example", "plan"]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'polyalign.align' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"polyalign.align.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
