"""Trainers on TRL: bucket-aware SFT and HDPO.

Examples
--------
>>> from polyalign.trainers import BucketSFT, HDPO
>>> BucketSFT.__bases__[-1].__name__, HDPO.__bases__[-1].__name__
('SFTTrainer', 'DPOTrainer')
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyalign._io.extras import handing_out, training_module

if TYPE_CHECKING:
    from polyalign.trainers.bucket_sft import BucketSFT as BucketSFT
    from polyalign.trainers.bucket_sft_config import BucketSFTConfig as BucketSFTConfig
    from polyalign.trainers.evaluation_callback import EvaluationCallback as EvaluationCallback
    from polyalign.trainers.hdpo import HDPO as HDPO
    from polyalign.trainers.hdpo_config import HDPOConfig as HDPOConfig

_MODULE_OF = {
    "HDPO": "hdpo",
    "BucketSFT": "bucket_sft",
    "BucketSFTConfig": "bucket_sft_config",
    "EvaluationCallback": "evaluation_callback",
    "HDPOConfig": "hdpo_config",
}

__all__ = ["HDPO", "BucketSFT", "BucketSFTConfig", "EvaluationCallback", "HDPOConfig"]


__getattr__ = handing_out(__name__, _MODULE_OF, training_module)
