"""Critics: how far a response is from the humans of its bucket.

Any object with ``score(responses, buckets) -> float32 [n]`` is one, lower being closer to human; one that has
``uses_prompts = True`` is given ``prompts=`` too.

Examples
--------
>>> import polyalign as pa
>>> critic = pa.critics.SupportCritic(pa.Reference.from_arrow(pa.reference.example_table()))
>>> buckets = ["en|single|qa|short", "en|single|qa|short", "fr|single|qa|short"]
>>> critic.score(["Yes, it does.", "", "Oui."], buckets).tolist()
[0.0, 5.0, nan]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyalign._io.extras import handing_out
from polyalign.critics._diagnosis import BucketScores, Diagnosis, check_scores
from polyalign.critics._floor import ask_floored
from polyalign.critics._protocol import FURTHEST, Critic, ask, ask_percentiles, is_calibrated
from polyalign.critics._saved import load
from polyalign.critics._support import SupportCritic

if TYPE_CHECKING:
    from polyalign.critics import attacks as attacks
    from polyalign.critics._compare import Comparison as Comparison
    from polyalign.critics._compare import CriticReport as CriticReport
    from polyalign.critics._compare import compare as compare
    from polyalign.critics._discriminative import DiscriminativeCritic as DiscriminativeCritic
    from polyalign.critics._embedding import EmbeddingCritic as EmbeddingCritic
    from polyalign.critics._encoder import HuggingFaceEncoder as HuggingFaceEncoder
    from polyalign.critics._ensemble import EnsembleCritic as EnsembleCritic
    from polyalign.critics._lexical import LexicalCritic as LexicalCritic
    from polyalign.critics._likelihood import Likelihood as Likelihood
    from polyalign.critics._neural import NeuralCritic as NeuralCritic
    from polyalign.critics._sample import SupportSample as SupportSample

# What needs numpy is loaded when it is used.
_MODULE_OF = {
    "Comparison": "_compare",
    "CriticReport": "_compare",
    "DiscriminativeCritic": "_discriminative",
    "EmbeddingCritic": "_embedding",
    "EnsembleCritic": "_ensemble",
    "HuggingFaceEncoder": "_encoder",
    "LexicalCritic": "_lexical",
    "Likelihood": "_likelihood",
    "NeuralCritic": "_neural",
    "SupportSample": "_sample",
    "attacks": "attacks",
    "compare": "_compare",
}

__all__ = [
    "FURTHEST",
    "BucketScores",
    "Comparison",
    "Critic",
    "CriticReport",
    "Diagnosis",
    "DiscriminativeCritic",
    "EmbeddingCritic",
    "EnsembleCritic",
    "HuggingFaceEncoder",
    "LexicalCritic",
    "Likelihood",
    "NeuralCritic",
    "SupportCritic",
    "SupportSample",
    "ask",
    "ask_floored",
    "ask_percentiles",
    "attacks",
    "check_scores",
    "compare",
    "is_calibrated",
    "load",
]


__getattr__ = handing_out(__name__, _MODULE_OF)


def __dir__() -> list[str]:
    return __all__
