"""`polyalign.distances`: agreement with the field's libraries, what it takes, how it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polyalign import distances as d

METRICS = ["wasserstein", "energy", "ks", "total_variation", "jensen_shannon", "hellinger", "psi"]
BOUNDED = ["ks", "total_variation", "hellinger"]
TRUE_METRICS = [metric for metric in METRICS if metric != "psi"]
SAMPLE_METRICS = ["wasserstein", "wasserstein2", "energy", "ks"]

# A busy machine may take its time over an example.
properties = settings(deadline=None, max_examples=50)

weights = st.one_of(st.just(0.0), st.floats(0.01, 100))
numbers = st.one_of(st.floats(-100, 100, width=32), st.integers(-3, 3).map(float))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@st.composite
def histograms(draw: st.DrawFn, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of weights, none of them empty, and ascending places."""
    bins = draw(st.integers(1, 30))
    rows_of_weights = draw(hnp.arrays(np.float64, (rows, bins), elements=weights))
    rows_of_weights[:, draw(st.integers(0, bins - 1))] += 1
    steps = draw(hnp.arrays(np.float64, bins, elements=st.floats(0, 10)))
    return rows_of_weights, np.cumsum(steps) - 20


def vectors(rows: int = 30, columns: int = 5) -> st.SearchStrategy[np.ndarray]:
    elements = st.floats(-3, 3, width=32)
    shapes = st.tuples(st.integers(2, rows), st.just(columns))
    return shapes.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=elements))


# ------------------------------------------------------------------------------------------- histograms


@properties
@given(histograms(2))
def test_histograms_agree_with_scipy(case: Any) -> None:
    stats = pytest.importorskip("scipy.stats")
    spatial = pytest.importorskip("scipy.spatial.distance")
    (p, q), places = case
    expected = {
        "wasserstein": stats.wasserstein_distance(places, places, p, q),
        "energy": stats.energy_distance(places, places, p, q),
        "jensen_shannon": spatial.jensenshannon(p, q),
    }
    for metric, value in expected.items():
        # scipy's roots of differences of sums are good to half the digits near 0.
        near_zero = 1e-6 if metric != "wasserstein" else 1e-9
        assert d.histogram_distance(p, q, metric, places=places) == pytest.approx(value, rel=1e-9, abs=near_zero)


@properties
@given(histograms(2))
def test_histograms_agree_with_their_definitions(case: Any) -> None:
    (p, q), places = case
    p_shares, q_shares = p / p.sum(), q / q.sum()
    floored = [np.maximum(shares, 1e-3) for shares in (p_shares, q_shares)]
    expected = {
        "ks": np.abs(np.cumsum(p_shares) - np.cumsum(q_shares)).max(),
        "total_variation": np.abs(p_shares - q_shares).sum() / 2,
        "hellinger": np.sqrt(((np.sqrt(p_shares) - np.sqrt(q_shares)) ** 2).sum() / 2),
        "psi": ((floored[0] - floored[1]) * np.log(floored[0] / floored[1])).sum(),
    }
    for metric, value in expected.items():
        found = d.histogram_distance(p, q, metric, places=places, floor=1e-3)
        assert found == pytest.approx(value, rel=1e-12, abs=1e-12)


@properties
@given(histograms(3), st.sampled_from(TRUE_METRICS))
def test_histogram_distances_are_metrics(case: Any, metric: Any) -> None:
    rows, places = case
    matrix = d.pairwise_histogram_distance(rows, metric, places=places)
    assert (np.diag(matrix) == 0).all()
    assert (matrix == matrix.T).all()
    assert matrix[0, 2] <= matrix[0, 1] + matrix[1, 2] + 1e-9
    if metric in BOUNDED:
        assert ((matrix >= 0) & (matrix <= 1)).all()
    pairs = d.histogram_distance(rows[:, None], rows[None], metric, places=places)
    np.testing.assert_allclose(pairs, matrix, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_leading_axes_broadcast(metric: Any) -> None:
    buckets, features, bins = 4, 3, 11
    p, q = rng(1).random((buckets, features, bins)), rng(2).random((features, bins))
    places = np.sort(rng(3).random((features, bins)))
    found = d.histogram_distance(p, q, metric, places=places)
    assert found.shape == (buckets, features)
    for bucket in range(buckets):
        for feature in range(features):
            alone = d.histogram_distance(p[bucket, feature], q[feature], metric, places=places[feature])
            assert isinstance(alone, float)
            assert found[bucket, feature] == pytest.approx(alone, rel=1e-12, abs=1e-12)
    apart = d.histogram_distance(p, q, metric, places=np.broadcast_to(places, p.shape))
    np.testing.assert_allclose(apart, found, rtol=1e-12, atol=1e-12)
    sets = d.pairwise_histogram_distance(p.transpose(1, 0, 2), metric, places=places)
    expected = d.histogram_distance(p[:, None], p[None], metric, places=places)
    np.testing.assert_allclose(sets, expected.transpose(2, 0, 1), rtol=1e-12, atol=1e-12)


def test_places_of_either_side() -> None:
    p, q = np.ones(2), np.ones(2)
    assert d.histogram_distance(p, q, places=([0.0, 2.0], [1.0, 3.0])) == 1.0
    rows = np.ones((2, 2))
    assert d.pairwise_histogram_distance(rows, places=[[0.0, 2.0], [1.0, 3.0]])[0, 1] == 1.0
    assert d.histogram_distance([1, 0], [0, 1], edges=[0, 2, 10]) == 5.0
    assert d.histogram_distance([1, 0], [0, 1], "energy", edges=[0, 2, 10]) == pytest.approx(10**0.5)


def test_closed_forms_of_histograms() -> None:
    p, q = [1, 0, 0, 0], [0, 0, 0, 1]
    found = {metric: float(d.histogram_distance(p, q, metric)) for metric in METRICS}
    psi = 2 * (1 - 1e-4) * np.log(1e4)
    assert found == pytest.approx(
        dict(zip(METRICS, [3.0, 6**0.5, 1.0, 1.0, np.log(2) ** 0.5, 1.0, psi], strict=True)), rel=1e-14
    )


def test_histograms_without_weight_are_nan() -> None:
    found = d.histogram_distance([[0, 0], [1, 0]], [1, 1])
    assert np.isnan(found).tolist() == [True, False]
    assert np.isnan(d.pairwise_histogram_distance([[0, 0], [1, 0]])).tolist() == [[True, True], [True, False]]
    assert d.histogram_distance(np.ones((0, 3)), np.ones(3)).shape == (0,)
    assert d.pairwise_histogram_distance(np.ones((0, 3))).shape == (0, 0)
    assert d.pairwise_histogram_distance(np.ones((2, 0, 3))).shape == (2, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1, -1], [1, 1]), {}, r"p\[1\] is -1.0: weights are finite and not negative"),
        (([1, 1], [[1, 1], [1, np.nan]]), {}, r"q\[1, 1\] is nan: weights"),
        (([1, np.inf], [1, 1]), {}, r"p\[1\] is inf"),
        (([1, 1], [1, 1, 1]), {}, "p has 2 bins, q has 3"),
        ((1, [1]), {}, r"p has shape \[\]: it must be \[..., bins\]"),
        ((np.ones((2, 3)), np.ones((4, 3))), {}, r"the leading axes of p and q do not fit together: \[2\] and \[4\]"),
        (([1, 1], [1, 1]), {"places": [1, 0]}, "bin 1 has place 0, below place 1"),
        (([1, 1], [1, 1]), {"places": [0, np.nan]}, "bin 1 has place NaN"),
        (([1, 1], [1, 1]), {"places": [0, 1, 2]}, r"places has shape \[3\]: it must be \[..., 2\]"),
        (([1, 1], [1, 1]), {"places": [[0, 1]]}, "its leading axes must fit into"),
        (([1, 1], [1, 1]), {"edges": [0, 1]}, "2 bins have 3 edges"),
        (([1, 1], [1, 1]), {"places": [0, 1], "edges": [0, 1, 2]}, "not both"),
        (([1, 1], [1, 1], "cosine"), {}, 'metric is "cosine": it must be wasserstein'),
        (([1, 1], [1, 1], "psi"), {"floor": 0}, "floor is 0: it must lie between 0 and 1"),
    ],
)
def test_histograms_that_can_not_be_used(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        d.histogram_distance(*arguments, **options)
    assert "\n" not in str(error.value)


def test_pairwise_histograms_that_can_not_be_used() -> None:
    with pytest.raises(ValueError, match=r"p\[0, 1\] is -2.0"):
        d.pairwise_histogram_distance([[1, -2]])
    with pytest.raises(ValueError, match=r"it must be \[..., rows, bins\]"):
        d.pairwise_histogram_distance([1, 2])
    with pytest.raises(ValueError, match=r"for p of \[3, 2\] it must be \[2\], \[2\] or \[3, 2\]"):
        d.pairwise_histogram_distance(np.ones((3, 2)), places=np.ones((4, 2)))


# ------------------------------------------------------------------------------------------- samples


@properties
@given(hnp.arrays(np.float64, st.integers(1, 60), elements=numbers), st.data())
def test_samples_agree_with_scipy(x: np.ndarray, data: Any) -> None:
    stats = pytest.importorskip("scipy.stats")
    y = data.draw(hnp.arrays(np.float64, st.integers(1, 60), elements=numbers))
    assert d.sample_distance(x, y) == pytest.approx(stats.wasserstein_distance(x, y), rel=1e-9, abs=1e-9)
    assert d.sample_distance(x, y, "energy") == pytest.approx(stats.energy_distance(x, y), rel=1e-9, abs=1e-6)
    ks = stats.ks_2samp(x, y, method="asymp").statistic
    assert d.sample_distance(x, y, "ks") == pytest.approx(ks, abs=1e-12)


@properties
@given(hnp.arrays(np.float64, st.integers(1, 40), elements=numbers), st.data())
def test_samples_agree_with_pot(x: np.ndarray, data: Any) -> None:
    ot = pytest.importorskip("ot")
    y = data.draw(hnp.arrays(np.float64, st.integers(1, 40), elements=numbers))
    assert d.sample_distance(x, y) == pytest.approx(ot.wasserstein_1d(x, y, p=1), rel=1e-9, abs=1e-9)
    squared = d.sample_distance(x, y, "wasserstein2") ** 2
    assert squared == pytest.approx(ot.wasserstein_1d(x, y, p=2), rel=1e-9, abs=1e-9)


@properties
@given(
    hnp.arrays(np.float32, st.tuples(st.just(3), st.integers(1, 20)), elements=numbers), st.sampled_from(SAMPLE_METRICS)
)
def test_sample_distances_are_metrics(sets: np.ndarray, metric: Any) -> None:
    matrix = d.pairwise_sample_distance(list(sets), metric)
    assert (np.diag(matrix) == 0).all()
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-12)
    assert matrix[0, 2] <= matrix[0, 1] + matrix[1, 2] + 1e-6
    double = d.pairwise_sample_distance([s.astype(np.float64) for s in sets], metric)
    np.testing.assert_allclose(matrix, double, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("metric", SAMPLE_METRICS)
def test_features_are_columns(metric: Any) -> None:
    x, y = rng(1).normal(size=(50, 37)), rng(2).normal(1, 2, size=(30, 37))
    x[rng(3).random(x.shape) < 0.2] = np.nan
    found = d.sample_distance(x, y, metric)
    alone = [d.sample_distance(x[:, f][~np.isnan(x[:, f])], y[:, f], metric) for f in range(37)]
    assert found.tolist() == alone
    every = d.pairwise_sample_distance([x, y, y[:5]], metric)
    assert every.shape == (3, 3, 37)
    assert every[0, 1].tolist() == alone


def test_samples_at_the_edges() -> None:
    nan, inf = np.nan, np.inf
    found = d.sample_distance([[nan, 1.0, inf]], [[1.0, 1.0, 1.0]])
    assert np.isnan(found[0])
    assert found[1:].tolist() == [0.0, inf]
    assert np.isnan(d.sample_distance(np.ones((0, 2)), np.ones((3, 2)))).all()
    assert d.sample_distance([0.0, 0.0], [3.0, 5.0], "wasserstein2") == 17**0.5
    # Singles and doubles are compared as doubles.
    assert d.sample_distance(np.float32([0.1]), np.array([0.1])) == float(np.float32(0.1)) - 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0]], [1.0]), r"x has shape \[1, 1\], y has \[1\]: they must have the same features"),
        ((np.ones((2, 3)), np.ones((2, 4))), "the same features"),
        ((np.ones((2, 0)), np.ones((2, 0))), "at least one feature"),
        ((1.0, 2.0), r"x has shape \[\]: it must be \[n\] or \[n, features\]"),
        (([1.0], [2.0], "psi"), r'metric is "psi": between samples .* \(the others need bins: histogram_distance\)'),
        (([[1.0], [2.0, 3.0]], [1.0]), "x must be rectangular"),
    ],
)
def test_samples_that_can_not_be_used(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        d.sample_distance(*arguments)


def test_sets_that_can_not_be_used() -> None:
    with pytest.raises(ValueError, match="sets is empty"):
        d.pairwise_sample_distance([])
    with pytest.raises(ValueError, match=r"sets\[0\] has shape \[1\], sets\[1\] has \[1, 1\]"):
        d.pairwise_sample_distance([[1.0], [[1.0]]])


# ------------------------------------------------------------------------------------------- support


def support_by_definition(values: Any, buckets: Any, bands: Any, cap: float) -> Any:
    low, high, scale, floor = bands
    distances = []
    for row, bucket in zip(values.astype(float), buckets, strict=True):
        parts, defined = [], 0
        for f, value in enumerate(row):
            if bucket < 0 or np.isnan(low[bucket, f]) or np.isnan(high[bucket, f]):
                continue
            defined += 1
            if not np.isnan(value):
                outside = max(low[bucket, f] - value, value - high[bucket, f], 0.0)
                width = max(high[bucket, f] - low[bucket, f], np.nan_to_num(scale[bucket, f]), floor[f])
                parts.append(min(cap, outside / width))
        distances.append(np.mean(parts) if parts and 2 * len(parts) >= defined else np.nan)
    return np.array(distances)


@properties
@given(st.integers(1, 20), st.integers(0, 2**32 - 1), st.sampled_from([5.0, np.inf]))
def test_support_distance_is_its_definition(features: int, seed: int, cap: float) -> None:
    random = rng(seed)
    values = random.normal(0, 10, (9, features)).astype(random.choice([np.float32, np.float64]))
    values[random.random(values.shape) < 0.3] = np.nan
    low = random.normal(-3, 3, (4, features))
    low[random.random(low.shape) < 0.2] = np.nan
    high = low + random.choice([0.0, 1.0, 5.0], low.shape)
    scale = random.choice([np.nan, 0.0, 2.0], low.shape)
    floor = random.choice([0.05, 1.0], features)
    buckets = random.integers(-1, 4, 9)
    found = d.support_distance(values, buckets, low, high, scale, floor, cap=cap)
    expected = support_by_definition(values, buckets, (low, high, scale, floor), cap)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    parts = d.support_contributions(values, buckets, low, high, scale, floor, cap=cap)
    assert parts.dtype == np.float32
    known = ~np.isnan(found)
    np.testing.assert_allclose([np.nanmean(row.astype(float)) for row in parts[known]], found[known], rtol=1e-6)


def test_support_of_no_responses() -> None:
    band = np.ones((1, 2))
    assert d.support_distance(np.ones((0, 2)), [], band, band, band, 1.0).shape == (0,)
    assert d.support_contributions(np.ones((0, 2)), [], band, band, band, 1.0).shape == (0, 2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"low": [[3.0, 0.0]]}, ValueError, r"low\[0, 0\] is 3, above high, 1"),
        ({"floor": [0.0, 1.0]}, ValueError, r"floor\[0\] is 0: it must be finite and above 0"),
        ({"floor": [1.0]}, ValueError, r"floor has shape \[1\]: it must be a number or \[2\]"),
        ({"cap": 0.0}, ValueError, "cap is 0: it must be above 0"),
        ({"cap": np.nan}, ValueError, "cap is NaN"),
        ({"values": [1.0, 2.0]}, ValueError, r"values has shape \[2\]: it must be \[n, features\]"),
        ({"values": [["a", "b"]]}, TypeError, "values must hold numbers, not <U1"),
        ({"buckets": [0, 0]}, ValueError, "values has 1 rows, buckets 2"),
        ({"buckets": [0.5]}, TypeError, "buckets must hold whole numbers, not float64"),
        ({"scale": [[1.0]]}, ValueError, r"scale has shape \[1, 1\]: low, high and scale must all be \[buckets, 2\]"),
    ],
)
def test_support_that_can_not_be_used(change: dict[str, Any], error: type[Exception], message: str) -> None:
    band = [[1.0, 1.0]]
    arguments = {"values": [[1.0, 2.0]], "buckets": [0], "low": band, "high": band, "scale": band, "floor": 1.0}
    with pytest.raises(error, match=message):
        d.support_distance(**{**arguments, **change})


# ------------------------------------------------------------------------------------------- embeddings


@pytest.mark.parametrize(("n", "m", "dimension", "k"), [(7, 40, 3, 5), (300, 2500, 24, 10), (1, 1, 1, 1)])
def test_neighbours_agree_with_scikit_learn(n: int, m: int, dimension: int, k: int) -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    queries, support = (rng(s).normal(size=(r, dimension)).astype(np.float32) for s, r in ((1, n), (2, m)))
    distances, indices = d.nearest(queries, support, k)
    # In doubles: brute force in singles is wrong in the fourth digit.
    search = neighbors.NearestNeighbors(n_neighbors=k, algorithm="brute").fit(support.astype(float))
    expected, rows = search.kneighbors(queries.astype(float))
    np.testing.assert_allclose(distances, expected, rtol=1e-9)
    assert (indices == rows).all()
    np.testing.assert_allclose(d.knn_distance(queries, support, k), distances.mean(axis=1), rtol=1e-14)


@properties
@given(vectors(), vectors(), st.integers(1, 4))
def test_neighbours_are_those_of_sorting_all(queries: np.ndarray, support: np.ndarray, k: int) -> None:
    k = min(k, len(support))
    distances, indices = d.nearest(queries, support, k)
    differences = queries[:, None].astype(float) - support[None].astype(float)
    every = np.sqrt((differences**2).sum(axis=2))
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :k], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.take_along_axis(every, indices, axis=1), distances, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("m", "dimension"), [(200, 5), (30, 40), (1000, 70)])
def test_mahalanobis_agrees_with_scikit_learn(m: int, dimension: int) -> None:
    covariance = pytest.importorskip("sklearn.covariance")
    support = (rng(1).normal(size=(m, dimension)) @ rng(2).normal(size=(dimension, dimension))).astype(np.float32)
    queries = rng(3).normal(0, 3, size=(11, dimension)).astype(np.float32)
    for shrinkage, model in ((None, covariance.LedoitWolf()), (0.3, covariance.ShrunkCovariance(shrinkage=0.3))):
        expected = np.sqrt(model.fit(support.astype(float)).mahalanobis(queries.astype(float)))
        np.testing.assert_allclose(d.mahalanobis(queries, support, shrinkage=shrinkage), expected, rtol=1e-8)


@properties
@given(vectors(), vectors(), st.floats(0.3, 4), st.booleans())
def test_mmd_agrees_with_scikit_learn(x: np.ndarray, y: np.ndarray, bandwidth: float, unbiased: bool) -> None:
    pairwise = pytest.importorskip("sklearn.metrics.pairwise")

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return pairwise.rbf_kernel(a.astype(float), b.astype(float), gamma=1 / (2 * bandwidth**2))

    n, m = len(x), len(y)
    kxx, kyy, kxy = kernel(x, x), kernel(y, y), kernel(x, y).mean()
    within = {
        True: (kxx.sum() - n) / (n * (n - 1)) + (kyy.sum() - m) / (m * (m - 1)),
        False: kxx.mean() + kyy.mean(),
    }
    found = d.mmd(x, y, bandwidth=bandwidth, unbiased=unbiased)
    assert found == pytest.approx(within[unbiased] - 2 * kxy, rel=1e-9, abs=1e-9)


def test_median_bandwidth() -> None:
    spatial = pytest.importorskip("scipy.spatial.distance")
    x, y = (rng(s).normal(s, 1, (40, 6)).astype(np.float32) for s in (1, 2))
    median = float(np.median(spatial.pdist(np.concatenate([x, y]).astype(float))))
    expected = d.mmd(x, y, bandwidth=median)
    assert d.mmd(x, y) == pytest.approx(expected, rel=1e-9)
    assert d.mmd(x, y, bandwidth=None) == d.mmd(x, y, bandwidth="median")


@properties
@given(vectors(columns=1), vectors(columns=1))
def test_energy_in_one_dimension_agrees_with_scipy(x: np.ndarray, y: np.ndarray) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.energy_distance(x.ravel().astype(float), y.ravel().astype(float))
    assert d.energy_distance(x, y) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert d.energy_distance(x, y) == pytest.approx(
        d.sample_distance(x.ravel(), y.ravel(), "energy"), rel=1e-6, abs=1e-6
    )


@properties
@given(vectors(), vectors())
def test_energy_is_its_definition(x: np.ndarray, y: np.ndarray) -> None:
    spatial = pytest.importorskip("scipy.spatial.distance")

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(spatial.cdist(a.astype(float), b.astype(float)).mean())

    expected = 2 * mean(x, y) - mean(x, x) - mean(y, y)
    assert d.energy_distance(x, y) ** 2 == pytest.approx(expected, rel=1e-9, abs=1e-11)
    assert d.energy_distance(y, x) == pytest.approx(d.energy_distance(x, y), rel=1e-6, abs=1e-6)
    assert d.energy_distance(x, x) < 1e-6


@pytest.mark.parametrize("p", [1, 2])
def test_sliced_wasserstein_agrees_with_pot(p: Any) -> None:
    ot = pytest.importorskip("ot")
    x, y = (rng(s).normal(s, 1, (r, 6)).astype(np.float32) for s, r in ((1, 50), (2, 70)))
    lines = rng(3).normal(size=(20, 6))
    lines /= np.linalg.norm(lines, axis=1, keepdims=True)
    expected = ot.sliced_wasserstein_distance(x.astype(float), y.astype(float), projections=lines.T, p=p)
    assert d.sliced_wasserstein(x, y, directions=lines, p=p) == pytest.approx(expected, rel=1e-9)


@properties
@given(vectors(), vectors(), st.integers(0, 2**64 - 1))
def test_sliced_wasserstein_by_its_parts(x: np.ndarray, y: np.ndarray, seed: int) -> None:
    found = d.sliced_wasserstein(x, y, directions=8, seed=seed)
    assert found == d.sliced_wasserstein(x, y, directions=8, seed=seed, threads=1)
    assert d.sliced_wasserstein(x, x, seed=seed) == 0
    assert found == pytest.approx(d.sliced_wasserstein(y, x, directions=8, seed=seed), rel=1e-9, abs=1e-9)
    marginals = d.sample_distance(x, y).mean()
    assert d.sliced_wasserstein(x, y, directions=np.eye(5)) == pytest.approx(marginals, rel=1e-6, abs=1e-6)
    assert d.sliced_wasserstein(x, x + np.float32(2), directions=[[1, 0, 0, 0, 0]]) == pytest.approx(2, rel=1e-6)


EMBEDDING = [d.nearest, d.knn_distance, d.mahalanobis, d.mmd, d.energy_distance, d.sliced_wasserstein]


@pytest.mark.parametrize("function", EMBEDDING, ids=lambda function: function.__name__)
def test_vectors_that_can_not_be_used(function: Any) -> None:
    good = np.ones((3, 2), np.float32)
    bad = good.copy()
    bad[2, 1] = np.nan
    cases = [
        ((good[0], good), ValueError, r"has shape \[2\]: it must be \[n, dimension\]"),
        ((good[:0], good), ValueError, r"has shape \[0, 2\]: at least one vector is needed"),
        ((good[:, :1], good), ValueError, "has vectors of 1 numbers, .* of 2"),
        ((bad, good), ValueError, r"(x|queries)\[2, 1\] is NaN"),
        ((good, bad), ValueError, r"(y|support)\[2, 1\] is NaN"),
        ((good, good.astype(float) + 0.1), ValueError, r"(y|support)\[0, 0\] is .*float32"),
        ((good.astype(float) * 1e300, good), ValueError, "which float32 can't hold"),
        ((np.array([["a"]]), good), TypeError, "must hold numbers, not <U1"),
        ((good.astype(complex), good), TypeError, "must hold numbers, not complex128"),
    ]
    for arguments, error, message in cases:
        with pytest.raises(error, match=message) as caught:
            function(*arguments)
        assert "\n" not in str(caught.value)


def test_options_that_can_not_be_used() -> None:
    x = rng(0).normal(size=(4, 2)).astype(np.float32)
    for call, message in [
        (lambda: d.nearest(x, x, 5), "k is 5: it must be 1 to 4"),
        (lambda: d.knn_distance(x, x, 0), "k is 0: it must be at least 1"),
        (lambda: d.mahalanobis(x, x, shrinkage=2), "shrinkage is 2: it must be 0 to 1"),
        (lambda: d.mahalanobis(x, np.ones_like(x)), "singular"),
        (lambda: d.mmd(x, x, bandwidth=-1), "bandwidth is -1: it must be finite and above 0"),
        (lambda: d.mmd(x, x, bandwidth="mean"), "bandwidth is 'mean': it must be a number or 'median'"),
        (lambda: d.mmd(x[:1], x, bandwidth=1), "two rows"),
        (lambda: d.mmd(x[:1], x[:1], unbiased=False), "give a bandwidth"),
        (lambda: d.sliced_wasserstein(x, x, directions=0), "directions is 0: at least one is needed"),
        (lambda: d.sliced_wasserstein(x, x, directions=[[1.0]]), r"it must be \[count, 2\]"),
        (lambda: d.sliced_wasserstein(x, x, directions=[[1.0, np.inf]]), "directions must be finite"),
        (lambda: d.sliced_wasserstein(x, x, seed=-1), "seed is -1"),
        (lambda: d.sliced_wasserstein(x, x, p=3), "p is 3: it must be 1 or 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


# ------------------------------------------------------------------------------------------- inputs

MATRIX = rng(5).normal(size=(6, 4)).astype(np.float32)


def forms(matrix: np.ndarray) -> dict[str, Any]:
    """The same numbers in every form that is taken."""
    columns = {f"c{i}": matrix[:, i] for i in range(matrix.shape[1])}
    flat = pa.array(matrix.ravel())
    lists = pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])
    return {
        "list": matrix.tolist(),
        "Fortran order": np.asfortranarray(matrix),
        "strided": np.repeat(matrix, 2, axis=0)[::2],
        "backwards": matrix[::-1][::-1],
        "big-endian": matrix.astype(">f4"),
        "read-only": np.frombuffer(matrix.tobytes(), np.float32).reshape(matrix.shape),
        "double": matrix.astype(np.float64),
        "arrow table": pa.table(columns),
        "arrow record batch": pa.RecordBatch.from_pydict(columns),
        "arrow chunks": pa.concat_tables([pa.table(columns).slice(0, 2), pa.table(columns).slice(2)]),
        "arrow fixed-size lists": lists,
        "arrow sliced lists": pa.concat_arrays([lists[:3], lists])[3:],
        "arrow lists": lists.cast(pa.list_(pa.float32())),
        "arrow large lists": lists.cast(pa.large_list(pa.float64())),
        "arrow chunked lists": pa.chunked_array([lists[:1], lists[1:]]),
        "polars frame": pl.DataFrame(columns),
        "polars lists": pl.Series(matrix.tolist(), dtype=pl.List(pl.Float32)),
        "polars arrays": pl.Series(matrix, dtype=pl.Array(pl.Float32, matrix.shape[1])),
        "pandas frame": pd.DataFrame(columns),
    }


@pytest.mark.parametrize("form", forms(MATRIX))
def test_every_form_of_vectors(form: str) -> None:
    value = forms(MATRIX)[form]
    support = rng(6).normal(size=(9, 4)).astype(np.float32)
    assert d.knn_distance(value, support, 3).tolist() == d.knn_distance(MATRIX, support, 3).tolist()
    assert d.energy_distance(support, value) == d.energy_distance(support, MATRIX)
    assert d.sample_distance(value, support).tolist() == d.sample_distance(MATRIX, support).tolist()


def test_columns_of_numbers() -> None:
    values = [3, 1, 2]
    expected = d.sample_distance(np.array([3.0, 1.0, 2.0]), [0.0])
    columns = [
        *(np.array(values, dtype) for dtype in ("i1", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "?")),
        *(pa.array(values, dtype) for dtype in (pa.int8(), pa.uint16(), pa.int32(), pa.int64(), pa.uint64())),
        pa.chunked_array([pa.array([3.0]), pa.array([], pa.float64()), pa.array([1.0, 2.0])]),
        pd.Series(values),
        pl.Series(values),
    ]
    for column in columns:
        numbers = np.asarray(column).astype(float)
        want = expected if numbers.tolist() == [3.0, 1.0, 2.0] else d.sample_distance(numbers, [0.0])
        assert d.sample_distance(column, [0.0]) == want
    # Null is NaN, and NaN is left out.
    assert d.sample_distance(pa.array([1.0, None, 3.0]), [0.0]) == 2.0
    assert d.sample_distance(pa.array([1, None, 3]), [0.0]) == 2.0
    table = pa.table({"a": [1, None], "b": pa.array([2.0, 4.0], pa.float32())})
    assert d.sample_distance(table, [[0.0, 0.0]]).tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("column", "error", "message"),
    [
        (pa.array(["a"]), TypeError, "x must hold numbers .*, not Arrow (Utf8|LargeUtf8|String)"),
        (pa.table({"a": ["b"]}), TypeError, "x must hold numbers"),
        (pa.array([[1.0], [2.0, 3.0]]), ValueError, r"x\[1\] has 2 numbers, others have 1"),
        (pa.chunked_array([[[1.0]], [[1.0, 2.0]]]), ValueError, "lists of different lengths"),
        (pa.array([[1.0], None]), ValueError, r"x\[1\] is null"),
        (pa.array([1, 2**53 + 1]), ValueError, r"x\[1\] is past 2\^53"),
        (np.array([1, 2**60]), ValueError, r"x\[1\] is 1152921504606846976, past 2\^53"),
        (["a"], TypeError, "x must hold numbers, not <U1"),
        ([None, object()], TypeError, "x must hold numbers, not object"),
        (np.array(["2020-01-01"], "M8[D]"), TypeError, "x must hold numbers, not datetime64"),
        ({"a": 1}, TypeError, "x must hold numbers, not object"),
        (None, TypeError, "x must hold numbers, not object"),
    ],
)
def test_columns_that_can_not_be_used(column: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        d.sample_distance(column, [1.0])
    assert "\n" not in str(caught.value)


def test_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(MATRIX.copy())
    support = rng(6).normal(size=(9, 4)).astype(np.float32)
    expected = d.knn_distance(MATRIX, support, 3).tolist()
    for form in (tensor, tensor.t().contiguous().t(), tensor.double(), tensor.repeat_interleave(2, 0)[::2]):
        assert d.knn_distance(form, torch.from_numpy(support), 3).tolist() == expected
    assert d.sample_distance(torch.tensor([1, 2]), torch.tensor([3.0, 4.0])) == 2.0
    with pytest.raises(TypeError, match=r"x requires grad: .* use x\.detach\(\)\.cpu\(\)"):
        d.energy_distance(tensor.clone().requires_grad_(), support)
    with pytest.raises(TypeError, match=r"x can't be read as a numpy array, use x\.float\(\)"):
        d.energy_distance(tensor.bfloat16(), support)
    with pytest.raises(TypeError, match=r"x can't be read as a numpy array.*: Unknown device type meta"):
        d.energy_distance(tensor.to("meta"), support)


class OnAnotherDevice:
    """What a tensor on a GPU says of itself."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, **_: object) -> object:
        raise AssertionError("nothing is copied off a device unasked")


def test_tensors_on_another_device() -> None:
    with pytest.raises(TypeError, match=r"x is not in the CPU's memory: use x\.detach\(\)\.cpu\(\)"):
        d.energy_distance(OnAnotherDevice(), MATRIX)


def test_cuda_tensors_are_refused() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    with pytest.raises(TypeError, match=r"use x\.detach\(\)\.cpu\(\)"):
        d.energy_distance(torch.ones((2, 4), device="cuda"), MATRIX)


def test_inputs_are_left_alone() -> None:
    x, y = MATRIX.copy(), MATRIX[::-1].copy()
    for function in EMBEDDING:
        function(x, y, **({"k": 2} if function in (d.nearest, d.knn_distance) else {}))
    d.sample_distance(x, y)
    d.histogram_distance(np.abs(x), np.abs(y))
    assert (x == MATRIX).all() and (y == MATRIX[::-1]).all()


# ------------------------------------------------------------------------------------------- threads


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_threads_change_nothing(seed: int) -> None:
    random = rng(seed)
    x, y = (random.normal(size=(n, 9)).astype(np.float32) for n in (700, 900))
    rows = random.random((300, 40))
    bands = np.sort(random.normal(size=(2, 5, 9)), axis=0)
    calls = [
        lambda t: d.nearest(x, y, 5, threads=t)[0],
        lambda t: d.mahalanobis(x, y, threads=t),
        lambda t: d.mmd(x, y, threads=t),
        lambda t: d.energy_distance(x, y, threads=t),
        lambda t: d.sliced_wasserstein(x, y, threads=t),
        lambda t: d.sample_distance(x, y, "energy", threads=t),
        lambda t: d.pairwise_sample_distance([x[:, 0], y[:, 0], y[:, 1]], threads=t),
        lambda t: d.pairwise_histogram_distance(rows, "jensen_shannon", threads=t),
        lambda t: d.histogram_distance(rows, rows[::-1], places=np.cumsum(rows[0]), threads=t),
        lambda t: d.support_distance(x, random.integers(0, 1, 700), bands[0], bands[1], bands[1] ** 2, 0.1, threads=t),
    ]
    for call in calls:
        assert np.asarray(call(1)).tobytes() == np.asarray(call(3)).tobytes()


def test_threads_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYALIGN_NUM_THREADS", "many")
    with pytest.raises(ValueError, match='POLYALIGN_NUM_THREADS is "many"'):
        d.energy_distance(MATRIX, MATRIX)
    assert d.energy_distance(MATRIX, MATRIX, threads=1) < 1e-6


def test_other_threads_run_meanwhile() -> None:
    x = rng(0).normal(size=(3000, 64)).astype(np.float32)
    ticks = []
    worker = threading.Thread(target=lambda: d.energy_distance(x, x, threads=1))
    worker.start()
    while worker.is_alive():
        ticks.append(time.monotonic())
        time.sleep(0.001)
    assert len(ticks) > 1


# Each would take many seconds on any core.
LONG_CALLS = [
    "d.energy_distance(x, x, threads=1)",
    "d.mmd(x, x, bandwidth=1.0, threads=1)",
    "d.nearest(x, x, 10, threads=1)",
    "d.pairwise_histogram_distance(abs(x), threads=1)",
    "d.sliced_wasserstein(x, x, directions=10_000, threads=1)",
]


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("call", LONG_CALLS)
def test_ctrl_c_stops_a_long_call(call: str) -> None:
    code = f"""
import numpy as np
from polyalign import distances as d
x = np.random.default_rng(0).normal(size=(60_000, 200)).astype(np.float32)
print("ready", flush=True)
try:
    {call}
except KeyboardInterrupt:
    # The pool is free again.
    assert d.energy_distance(x[:9], x[:9]) < 1e-3
    print("interrupted")
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == "interrupted\n"
    finally:
        process.kill()
        process.wait()
