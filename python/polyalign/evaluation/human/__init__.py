"""People's judgement: a page that asks for it blindly, and what came of it.

Examples
--------
>>> from polyalign.evaluation import human
>>> [question.id for question in human.read_questions().questions]
['natural', 'fitting', 'helpful', 'right', 'length']
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyalign._io.extras import handing_out

if TYPE_CHECKING:
    from polyalign.evaluation.human._agreement import krippendorff_alpha as krippendorff_alpha
    from polyalign.evaluation.human._analyse import Analysis as Analysis
    from polyalign.evaluation.human._analyse import analyse as analyse
    from polyalign.evaluation.human._analyse import analyse_files as analyse_files
    from polyalign.evaluation.human._build import Study as Study
    from polyalign.evaluation.human._build import build as build
    from polyalign.evaluation.human._questions import Question as Question
    from polyalign.evaluation.human._questions import Questions as Questions
    from polyalign.evaluation.human._questions import read_questions as read_questions

_MODULE_OF = {
    "Analysis": "_analyse",
    "Question": "_questions",
    "Questions": "_questions",
    "Study": "_build",
    "analyse": "_analyse",
    "analyse_files": "_analyse",
    "build": "_build",
    "krippendorff_alpha": "_agreement",
    "read_questions": "_questions",
}

__all__ = [
    "Analysis",
    "Question",
    "Questions",
    "Study",
    "analyse",
    "analyse_files",
    "build",
    "krippendorff_alpha",
    "read_questions",
]


__getattr__ = handing_out(__name__, _MODULE_OF)


def __dir__() -> list[str]:
    return __all__
