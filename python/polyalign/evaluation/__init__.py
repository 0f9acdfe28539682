"""How human what a model writes is, bucket by bucket: the metrics, and what is made of them.

:mod:`polyalign.evaluation.metrics` has the metrics, as functions of texts and of feature matrices;
:mod:`polyalign.evaluation.human` asks people.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyalign.evaluation import human as human
    from polyalign.evaluation import metrics as metrics

_MODULES = {"human", "metrics"}

__all__ = ["human", "metrics"]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"polyalign.evaluation.{name}")
    raise AttributeError(f"module 'polyalign.evaluation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
