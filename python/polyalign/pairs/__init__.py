"""Preference pairs: a human response chosen, a model's response rejected.

What :class:`polyalign.trainers.HDPO` trains on. Needs pyarrow: ``pip install 'polyalign[pairs]'``.
"""

from __future__ import annotations

from polyalign.pairs._make import from_preferences, from_samples, pair_files
from polyalign.pairs._report import BucketPairs, Pairs, Report

__all__ = ["BucketPairs", "Pairs", "Report", "from_preferences", "from_samples", "pair_files"]
