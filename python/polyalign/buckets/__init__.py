"""Buckets: which ones there are, and which one an interaction belongs to."""

from __future__ import annotations

from polyalign.buckets._bucketer import Bucketer
from polyalign.buckets._detect import detect_languages
from polyalign.buckets._report import BucketSummary, Met, Reading, Report
from polyalign.buckets._schema import BucketSchema

__all__ = ["BucketSchema", "BucketSummary", "Bucketer", "Met", "Reading", "Report", "detect_languages"]
