"""Detectors of machine text, and how well they tell a model's answers from humans'.

Any object with ``score(texts, prompts=None) -> float64 [n]`` is one, higher being more likely a machine's; above its
``threshold``, where it has one, it takes a text for a machine's.

Examples
--------
>>> from polyalign.evaluation import detectors
>>> found = detectors.detection([0.1, 0.2, 0.3, 0.4], [0.35, 0.5, 0.6], min_count=3)
>>> round(found["auroc"]["value"], 3)
0.917
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyalign._io.extras import handing_out

if TYPE_CHECKING:
    from polyalign.evaluation.detectors._classifier import ClassifierDetector as ClassifierDetector
    from polyalign.evaluation.detectors._detect import Detector as Detector
    from polyalign.evaluation.detectors._detect import detect as detect
    from polyalign.evaluation.detectors._detect import detection as detection
    from polyalign.evaluation.detectors._detect import joint_score as joint_score
    from polyalign.evaluation.detectors._files import detect_files as detect_files
    from polyalign.evaluation.detectors._files import open_detector as open_detector
    from polyalign.evaluation.detectors._likelihood import Binoculars as Binoculars
    from polyalign.evaluation.detectors._likelihood import FastDetectGPT as FastDetectGPT

_MODULE_OF = {
    "Binoculars": "_likelihood",
    "ClassifierDetector": "_classifier",
    "Detector": "_detect",
    "FastDetectGPT": "_likelihood",
    "detect": "_detect",
    "detect_files": "_files",
    "detection": "_detect",
    "joint_score": "_detect",
    "open_detector": "_files",
}

__all__ = [
    "Binoculars",
    "ClassifierDetector",
    "Detector",
    "FastDetectGPT",
    "detect",
    "detect_files",
    "detection",
    "joint_score",
    "open_detector",
]


__getattr__ = handing_out(__name__, _MODULE_OF)


def __dir__() -> list[str]:
    return __all__
