"""Leave out, aloud, what needs torch where it is not installed."""

from __future__ import annotations

import importlib.util
import os

# Tests run side by side, on models that one thread is enough for; torch reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

HAS_TORCH = importlib.util.find_spec("torch") is not None

collect_ignore_glob = [] if HAS_TORCH else ["python/polyalign/trainers/*", "python/polyalign/cli/_training.py"]


def pytest_report_header() -> str | None:
    """Say what is not tested, and why."""
    return None if HAS_TORCH else "polyalign.trainers is not tested: torch is not installed (polyalign[train])"
