"""Conditional human-distribution alignment.

Bucket a corpus by language, track, family and length; know how humans answer in every bucket; train towards
it and measure against it. Names are imported when first used, so that ``import polyalign`` costs next to
nothing.

Examples
--------
>>> import polyalign as pa
>>> schema = pa.BucketSchema(length_edges=(40, 120, 240))
>>> pa.Bucketer(schema)
Bucketer(BucketSchema(length_edges=(40, 120, 240)))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyalign import align as align
    from polyalign import critics as critics
    from polyalign import distances as distances
    from polyalign import distribution as distribution
    from polyalign import evaluation as evaluation
    from polyalign import features as features
    from polyalign import generation as generation
    from polyalign import lm as lm
    from polyalign import pairs as pairs
    from polyalign import rewards as rewards
    from polyalign import rounds as rounds
    from polyalign import scoring as scoring
    from polyalign import weights as weights
    from polyalign.buckets import Bucketer as Bucketer
    from polyalign.buckets import BucketSchema as BucketSchema
    from polyalign.buckets import BucketSummary as BucketSummary
    from polyalign.buckets import Report as Report
    from polyalign.lm import lm_features as lm_features
    from polyalign.reference import Reference as Reference
    from polyalign.reference import reference_schema as reference_schema
    from polyalign.tokens import TokenCounter as TokenCounter

    __version__: str

_MODULE_OF = {
    "BucketSchema": "polyalign.buckets",
    "BucketSummary": "polyalign.buckets",
    "Bucketer": "polyalign.buckets",
    "Reference": "polyalign.reference",
    "Report": "polyalign.buckets",
    "TokenCounter": "polyalign.tokens",
    "__version__": "polyalign._core",
    "lm_features": "polyalign.lm",
    "reference_schema": "polyalign.reference",
}
_MODULES = {
    "align",
    "critics",
    "distances",
    "distribution",
    "evaluation",
    "features",
    "generation",
    "lm",
    "pairs",
    "reference",
    "rewards",
    "rounds",
    "scoring",
    "weights",
}

__all__ = [
    "BucketSchema",
    "BucketSummary",
    "Bucketer",
    "Reference",
    "Report",
    "TokenCounter",
    "__version__",
    "align",
    "critics",
    "distances",
    "distribution",
    "evaluation",
    "features",
    "generation",
    "lm",
    "lm_features",
    "pairs",
    "reference_schema",
    "rewards",
    "rounds",
    "scoring",
    "weights",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"polyalign.{name}")
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'polyalign' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
