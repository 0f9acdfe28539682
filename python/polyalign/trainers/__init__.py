"""Trainers on TRL: bucket-aware SFT and HDPO.

Examples
--------
>>> from polyalign.trainers import BucketSFT, HDPO
>>> BucketSFT.__bases__[-1].__name__, HDPO.__bases__[-1].__name__
('SFTTrainer', 'DPOTrainer')
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyalign._io.extras import training_module

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


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'polyalign.trainers' has no attribute {name!r}")
    module = training_module(f"polyalign.trainers.{_MODULE_OF[name]}")
    value = getattr(module, name)
    globals()[name] = value
    return value
