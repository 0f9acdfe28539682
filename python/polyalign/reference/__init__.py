"""The human reference: how humans write in every bucket, and how far a response is from them."""

from __future__ import annotations

from polyalign.reference._example import example_table, reference_schema
from polyalign.reference._explanation import Explanation, Outside, Resolved
from polyalign.reference._reference import Reference

__all__ = ["Explanation", "Outside", "Reference", "Resolved", "example_table", "reference_schema"]
