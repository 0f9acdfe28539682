"""Critics: how far a response is from the humans of its bucket.

Any object with ``score(responses, buckets) -> float32 [n]`` is one, lower being closer to human; one that has
``uses_prompts = True`` is given ``prompts=`` too.

Examples
--------
>>> import polyalign as pa
>>> critic = SupportCritic(pa.Reference.from_arrow(pa.reference.example_table()))
>>> buckets = ["en|single|qa|short", "en|single|qa|short", "fr|single|qa|short"]
>>> critic.score(["Yes, it does.", "", "Oui."], buckets).tolist()
[0.0, 5.0, nan]
"""

from __future__ import annotations

from polyalign.critics._diagnosis import BucketScores, Diagnosis, check_scores
from polyalign.critics._protocol import FURTHEST, Critic, ask, ask_percentiles, is_calibrated
from polyalign.critics._saved import load
from polyalign.critics._support import SupportCritic

__all__ = [
    "FURTHEST",
    "BucketScores",
    "Critic",
    "Diagnosis",
    "SupportCritic",
    "ask",
    "ask_percentiles",
    "check_scores",
    "is_calibrated",
    "load",
]
