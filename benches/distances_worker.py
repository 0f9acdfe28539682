"""Measures distances with one library on one core: driven by `harness.Worker` through pipes.

Inputs are `.npy` files; a task is timed from arrays in memory to results in memory, by the processor's clock:
one thread's work takes as long on a busy machine.
"""

from __future__ import annotations

import os

# One core, and its own kernels, whatever the environment says; before numpy is loaded.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)

import gc  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

import worker  # noqa: E402

Arrays = dict[str, np.ndarray]
Tasks = dict[str, Callable[[], Any]]


def scipy(a: Arrays) -> Tasks:
    from scipy import stats
    from scipy.spatial.distance import jensenshannon

    x, y, weights, places = a["x"], a["y"], a["weights"], a["places"]
    features = range(x.shape[1])
    # The same pairs of rows as polyalign's, as many as a second or so has room for.
    pairs = [(f, b) for f in range(len(weights)) for b in range(1, weights.shape[1])][:200]

    def each(function: Callable[[int, int], float]) -> list[float]:
        return [function(f, b) for f, b in pairs]

    return {
        "samples wasserstein": lambda: [stats.wasserstein_distance(x[:, f], y[:, f]) for f in features],
        "samples energy": lambda: [stats.energy_distance(x[:, f], y[:, f]) for f in features],
        "samples ks": lambda: [stats.ks_2samp(x[:, f], y[:, f], method="asymp").statistic for f in features],
        "histograms wasserstein": lambda: each(
            lambda f, b: stats.wasserstein_distance(places[f], places[f], weights[f, 0], weights[f, b])
        ),
        "histograms jensen_shannon": lambda: each(lambda f, b: jensenshannon(weights[f, 0], weights[f, b])),
    }


def pot(a: Arrays) -> Tasks:
    import ot

    return {"samples wasserstein": lambda: ot.wasserstein_1d(a["x"], a["y"], p=1)}


def torch(a: Arrays) -> Tasks:
    import torch as library

    library.set_num_threads(1)
    queries, support = library.from_numpy(a["queries"]), library.from_numpy(a["support"])
    transposed = support.t().contiguous()

    def nearest() -> Any:
        return library.cdist(queries, support).topk(10, largest=False).values.numpy()

    def product() -> Any:
        return queries @ transposed

    return {"nearest": nearest, "product alone": product}


def authors(a: Arrays) -> Tasks:
    """The paper's support distance in plain Python: a response at a time, features by name."""
    names = [f"feature_{number}" for number in range(a["values"].shape[1])]

    def band(low: float, high: float, scale: float) -> dict[str, float]:
        return {"low": float(low), "high": float(high), "std": float(scale)}

    references = [
        {name: band(*ends) for name, *ends in zip(names, low, high, scale, strict=True)}
        for low, high, scale in zip(a["low"], a["high"], a["scale"], strict=True)
    ]
    rows = [dict(zip(names, map(float, row), strict=True)) for row in a["values"][:500]]
    buckets = a["buckets"][:500].tolist()

    def distance(row: dict[str, float], reference: dict[str, dict[str, float]]) -> float:
        parts = []
        for name in names:
            value, band = row[name], reference[name]
            if value < band["low"]:
                gap = band["low"] - value
            elif value > band["high"]:
                gap = value - band["high"]
            else:
                gap = 0.0
            parts.append(gap / max(band["high"] - band["low"], band["std"], 1e-6))
        return float(np.mean(parts))

    return {"support": lambda: [distance(row, references[b]) for row, b in zip(rows, buckets, strict=True)]}


def polyalign(a: Arrays) -> Tasks:
    from polyalign import distances as d

    x, y, weights, places = a["x"], a["y"], a["weights"], a["places"]
    single_x, single_y = x.astype(np.float32), y.astype(np.float32)
    bands = (a["low"], a["high"], a["scale"], 1e-6)
    tasks: Tasks = {
        f"samples {metric}": lambda metric=metric: d.sample_distance(x, y, metric, threads=1)
        for metric in ("wasserstein", "energy", "ks")
    }
    tasks["samples wasserstein, float32"] = lambda: d.sample_distance(single_x, single_y, threads=1)
    for metric in ("wasserstein", "energy", "ks", "total_variation", "jensen_shannon", "hellinger", "psi"):
        tasks[f"histograms {metric}"] = lambda metric=metric: d.pairwise_histogram_distance(
            weights, metric, places=places, threads=1
        )
    return {
        **tasks,
        "support": lambda: d.support_distance(a["values"], a["buckets"], *bands, cap=np.inf, threads=1),
        "nearest": lambda: d.nearest(a["queries"], a["support"], 10, threads=1)[0],
    }


ADAPTERS = {f.__name__: f for f in (scipy, pot, torch, authors, polyalign)}


class State(worker.State):
    """The inputs and tasks of one library."""

    def load(self, folder: str) -> list[str]:
        arrays = {path.stem: np.load(path) for path in Path(folder).glob("*.npy")}
        self.tasks = ADAPTERS[self.adapter](arrays)
        return list(self.tasks)

    def time(self, name: str) -> float:
        """Seconds of processor time, over as many runs as a tenth of a second has room for."""
        gc.collect()
        runs, start = 0, time.process_time()
        while runs == 0 or time.process_time() - start < 0.1:
            self.tasks[name]()
            runs += 1
        return (time.process_time() - start) / runs

    def result(self, name: str) -> list[float]:
        return np.asarray(self.tasks[name](), float).ravel()[:1000].tolist()


if __name__ == "__main__":
    worker.main(State)
