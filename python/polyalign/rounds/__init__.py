"""Rounds: a model answers, a critic learns from its answers, pairs are made of them, HDPO trains; and again.

Needs torch and TRL: ``pip install 'polyalign[train]'``.
"""

from __future__ import annotations

from polyalign.rounds._report import Report, Round
from polyalign.rounds._run import rounds

__all__ = ["Report", "Round", "rounds"]
