"""Distances on one core, polyalign beside its peers: from samples, from histograms, support distance, neighbours.

Every library runs in its own process and environment, on one core, on the same arrays; rounds alternate, medians are
taken. Results are compared in the same run.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import harness
from harness import Options, Worker, WorkerError, log, median, number

REQUIREMENTS = {"scipy": ["scipy>=1.15"], "pot": ["pot>=0.9.5", "scipy>=1.15"], "torch": ["torch>=2.15", "numpy>=2"]}
PACKAGES = {"scipy": "scipy", "pot": "POT", "torch": "torch"}
NAMES = {"scipy": "scipy", "pot": "POT", "torch": "torch", "authors": "Python loop", "polyalign": "polyalign"}
BUCKETS = 64
NEIGHBOURS = 10


def sizes(quick: bool) -> dict[str, int]:
    if quick:
        return {"n": 200, "m": 100, "features": 12, "bins": 50, "responses": 500, "queries": 100, "support": 1000}
    return {"n": 2000, "m": 1000, "features": 120, "bins": 500, "responses": 20_000, "queries": 2000, "support": 20_000}


def inputs(folder: Path, size: dict[str, int]) -> None:
    """Arrays like those of real features: skewed, some of them counts; and Gaussian embeddings."""
    random = np.random.default_rng(0)
    features, bins = size["features"], size["bins"]

    def responses(rows: int) -> np.ndarray:
        values = random.lognormal(0, 1, (rows, features))
        values[:, ::3] = np.round(5 * values[:, ::3])
        return values

    values = responses(size["responses"])
    human = np.stack([responses(200) for _ in range(BUCKETS)])
    # Bell-shaped histograms of a few hundred humans, over a third of the bins.
    centres = random.integers(bins // 3, 2 * bins // 3, (features, BUCKETS, 1))
    drawn = np.rint(random.normal(centres, bins / 12, (features, BUCKETS, 400))).astype(int).clip(0, bins - 1)
    weights = np.zeros((features, BUCKETS, bins))
    np.add.at(weights, (*np.indices(drawn.shape)[:2], drawn), 1)
    arrays = {
        "x": responses(size["n"]),
        "y": 1.1 * responses(size["m"]),
        "weights": weights,
        "places": np.cumsum(random.random((features, bins)), axis=1),
        "values": values.astype(np.float32),
        "buckets": random.integers(0, BUCKETS, size["responses"]),
        "low": np.quantile(human, 0.1, axis=1),
        "high": np.quantile(human, 0.9, axis=1),
        "scale": human.std(axis=1),
        "queries": random.normal(size=(size["queries"], 384)).astype(np.float32),
        "support": random.normal(size=(size["support"], 384)).astype(np.float32),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def units(size: dict[str, int]) -> dict[str, int]:
    """How many distances a task of each name works out, by its first word, for (peer, polyalign)."""
    return {
        "samples": size["features"],
        "histograms": size["features"] * BUCKETS * (BUCKETS + 1) // 2,
        "support": size["responses"],
        "nearest": size["queries"],
        "product": size["queries"],
    }


def peer_units(size: dict[str, int]) -> dict[str, int]:
    pairs = min(200, size["features"] * (BUCKETS - 1))
    return {**units(size), "histograms": pairs, "support": min(500, size["responses"])}


def measure(options: Options) -> dict[str, Any]:
    size = sizes(options.quick)
    results: dict[str, Any] = {"size": size, "seconds": {}, "versions": {}, "errors": {}}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        inputs(Path(folder), size)
        workers, tasks = {}, {}
        for name, label in NAMES.items():
            worker = start(name, stack)
            if isinstance(worker, str):
                log(f"{label}: {worker}")
                results["errors"][name] = worker
                continue
            workers[name], tasks[name] = worker, worker.ask(do="load", folder=folder)
            if name in PACKAGES:
                results["versions"][name] = worker.ask(do="version", package=PACKAGES[name])
        compare(workers, tasks)
        for task in dict.fromkeys(task for name in workers for task in tasks[name]):
            log(f"distances: {task}")
            able = [name for name in workers if task in tasks[name]]
            seconds: dict[str, list[float]] = {name: [] for name in able}
            for _ in range(options.rounds):
                for name in able:
                    seconds[name].append(workers[name].ask(do="time", name=task))
            results["seconds"][task] = {name: median(values) for name, values in seconds.items()}
    return results


def start(name: str, stack: contextlib.ExitStack) -> Worker | str:
    """A worker of a library, or why there is none."""
    try:
        python = harness.environment(name, REQUIREMENTS[name]) if name in REQUIREMENTS else Path(sys.executable)
        return stack.enter_context(Worker(python, name, "distances_worker.py"))
    except (WorkerError, RuntimeError) as error:
        return str(error)


def compare(workers: dict[str, Worker], tasks: dict[str, list[str]]) -> None:
    """Stop if a peer's results differ from polyalign's by more than rounding."""
    for name, task in [(n, t) for n in workers for t in tasks[n] if n != "polyalign" and t in tasks["polyalign"]]:
        theirs, ours = (workers[n].ask(do="result", name=task) for n in (name, "polyalign"))
        if task.startswith("histograms"):
            # The first row of the first feature's matrix, without its diagonal.
            ours, theirs = ours[1:BUCKETS], theirs[: BUCKETS - 1]
        if task == "nearest":
            # Single precision loses digits.
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, err_msg=f"{NAMES[name]}: {task}")
        else:
            count = min(len(ours), len(theirs))
            np.testing.assert_allclose(ours[:count], theirs[:count], rtol=1e-6, err_msg=f"{NAMES[name]}: {task}")


# ------------------------------------------------------------------------------------------- tables

ROWS = [
    ("Wasserstein-1 from samples", "samples wasserstein", "samples wasserstein", ("scipy", "pot")),
    ("the same, float32", "samples wasserstein, float32", "samples wasserstein", ("scipy",)),
    ("energy distance from samples", "samples energy", "samples energy", ("scipy",)),
    ("Kolmogorov–Smirnov from samples", "samples ks", "samples ks", ("scipy",)),
    ("Wasserstein-1 from histograms", "histograms wasserstein", "histograms wasserstein", ("scipy",)),
    ("Jensen–Shannon from histograms", "histograms jensen_shannon", "histograms jensen_shannon", ("scipy",)),
    ("support distance D_b", "support", "support", ("authors",)),
]
# No peer works these out for many at once: beside scipy's Wasserstein-1 from samples.
ALONE = [
    ("Wasserstein-1", "wasserstein"),
    ("energy", "energy"),
    ("Kolmogorov–Smirnov", "ks"),
    ("total variation", "total_variation"),
    ("Jensen–Shannon", "jensen_shannon"),
    ("Hellinger", "hellinger"),
    ("PSI", "psi"),
]


def render(results: dict[str, Any]) -> str:
    size = results["size"]
    rows = [row for label, task, peer_task, peers in ROWS for row in rows_of(results, label, task, peer_task, peers)]
    of = f"{size['n']:,} vs {size['m']:,} samples, {size['features']} features, {size['bins']} bins"
    main = harness.table([f"Distances a second on one core ({of})", "peer", "", "polyalign", "times"], rows, left=2)
    return "\n\n".join([main, render_alone(results), render_nearest(results)])


def rate(results: dict[str, Any], task: str, name: str) -> float | None:
    seconds = results["seconds"].get(task, {}).get(name)
    count = units if name == "polyalign" else peer_units
    return count(results["size"])[task.split(maxsplit=1)[0]] / seconds if seconds else None


def label_of(results: dict[str, Any], name: str) -> str:
    return f"{NAMES[name]} {results['versions'].get(name, '')}".strip()


def rows_of(results: dict[str, Any], label: str, task: str, peer_task: str, peers: tuple[str, ...]) -> list[list[str]]:
    ours = rate(results, task, "polyalign")
    rows = []
    for peer in peers:
        theirs = rate(results, peer_task, peer)
        cells = [number(theirs) if theirs else "not measured", f"**{number(ours)}**", times(ours, theirs)]
        rows.append([label, label_of(results, peer), *cells])
    return rows


def times(ours: float | None, theirs: float | None) -> str:
    return f"{number(ours / theirs)}×" if ours and theirs else ""


def render_alone(results: dict[str, Any]) -> str:
    scipy = rate(results, "samples wasserstein", "scipy")
    rows = []
    for label, metric in ALONE:
        ours = rate(results, f"histograms {metric}", "polyalign")
        rows.append([label, f"**{number(ours)}**", times(ours, scipy)])
    header = [
        f"polyalign from histograms, all pairs of {BUCKETS} buckets in every feature",
        "a second",
        "× scipy from samples",
    ]
    return harness.table(header, rows)


def render_nearest(results: dict[str, Any]) -> str:
    size, seconds = results["size"], results["seconds"]
    product = seconds.get("product alone", {}).get("torch")
    rows = []
    for label, task, name in [
        ("the matrix product alone", "product alone", "torch"),
        ("`torch.cdist` + `topk`, inexact", "nearest", "torch"),
        ("**`nearest`, exact**", "nearest", "polyalign"),
    ]:
        taken = seconds.get(task, {}).get(name)
        cells = [
            f"{taken * 1e3:,.0f} ms" if taken else "not measured",
            f"{taken / product:.2f}×" if taken and product else "",
        ]
        rows.append([label, label_of(results, name), *cells])
    of = f"{NEIGHBOURS} nearest of {size['support']:,} for {size['queries']:,} vectors of 384 float32"
    return harness.table([of, "", "time", "÷ product"], rows, left=2)


if __name__ == "__main__":
    harness.main(measure, render, __doc__)
