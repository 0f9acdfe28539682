"""How human what a model writes is, bucket by bucket: the metrics, and what is made of them.

:func:`evaluate` holds models' answers against the humans' to the same prompts. :mod:`polyalign.evaluation.metrics` has
the metrics, as functions of texts and of feature matrices; :mod:`polyalign.evaluation.detectors` has detectors of
machine text, :mod:`polyalign.evaluation.judges` asks language models, :mod:`polyalign.evaluation.human` people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyalign._io.extras import handing_out

if TYPE_CHECKING:
    from polyalign.evaluation import detectors as detectors
    from polyalign.evaluation import human as human
    from polyalign.evaluation import judges as judges
    from polyalign.evaluation import metrics as metrics
    from polyalign.evaluation._evaluate import evaluate as evaluate
    from polyalign.evaluation._evaluation import Evaluation as Evaluation
    from polyalign.evaluation._gate import Condition as Condition
    from polyalign.evaluation._gate import Finding as Finding
    from polyalign.evaluation._gate import check as check
    from polyalign.evaluation._gate import junit as junit
    from polyalign.evaluation._result import Alert as Alert
    from polyalign.evaluation._result import Difference as Difference
    from polyalign.evaluation._result import Measure as Measure
    from polyalign.evaluation._result import ModelResult as ModelResult
    from polyalign.evaluation._result import Number as Number

_MODULE_OF = {
    **{name: name for name in ("detectors", "human", "judges", "metrics")},
    "Alert": "_result",
    "Condition": "_gate",
    "Difference": "_result",
    "Evaluation": "_evaluation",
    "Finding": "_gate",
    "Measure": "_result",
    "ModelResult": "_result",
    "Number": "_result",
    "check": "_gate",
    "evaluate": "_evaluate",
    "junit": "_gate",
}

__all__ = [
    "Alert",
    "Condition",
    "Difference",
    "Evaluation",
    "Finding",
    "Measure",
    "ModelResult",
    "Number",
    "check",
    "detectors",
    "evaluate",
    "human",
    "judges",
    "junit",
    "metrics",
]


__getattr__ = handing_out(__name__, _MODULE_OF)


def __dir__() -> list[str]:
    return __all__
