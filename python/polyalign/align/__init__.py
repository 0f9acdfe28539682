"""The whole method by one file of settings: from a corpus to trained models, held against humans and each other.

Needs torch and TRL: ``pip install 'polyalign[train]'``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyalign._io.extras import handing_out

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


__getattr__ = handing_out(__name__, _MODULE_OF)


def __dir__() -> list[str]:
    return __all__
