"""Language models as judges: scores by a rubric, choices in both orders, and how far to believe them.

Examples
--------
>>> from polyalign.evaluation import judges
>>> [cap.id for cap in judges.read_rubric().caps]
['empty', 'wrong_language', 'contradicts_context']
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyalign._io.extras import handing_out

if TYPE_CHECKING:
    from polyalign.evaluation.judges._asking import sampling_of as sampling_of
    from polyalign.evaluation.judges._files import pair_files as pair_files
    from polyalign.evaluation.judges._files import score_files as score_files
    from polyalign.evaluation.judges._judge import CRITERION as CRITERION
    from polyalign.evaluation.judges._judge import Judged as Judged
    from polyalign.evaluation.judges._judge import agreement as agreement
    from polyalign.evaluation.judges._judge import read_judged as read_judged
    from polyalign.evaluation.judges._rubric import Cap as Cap
    from polyalign.evaluation.judges._rubric import Dimension as Dimension
    from polyalign.evaluation.judges._rubric import Rubric as Rubric
    from polyalign.evaluation.judges._rubric import read_rubric as read_rubric

_MODULE_OF = {
    "CRITERION": "_judge",
    "Cap": "_rubric",
    "Dimension": "_rubric",
    "Judged": "_judge",
    "Rubric": "_rubric",
    "agreement": "_judge",
    "pair_files": "_files",
    "sampling_of": "_asking",
    "read_judged": "_judge",
    "read_rubric": "_rubric",
    "score_files": "_files",
}

__all__ = [
    "CRITERION",
    "Cap",
    "Dimension",
    "Judged",
    "Rubric",
    "agreement",
    "pair_files",
    "read_judged",
    "read_rubric",
    "sampling_of",
    "score_files",
]


__getattr__ = handing_out(__name__, _MODULE_OF)


def __dir__() -> list[str]:
    return __all__
