"""How far what a model writes is from what humans write.

Between distributions of features, from histograms (:func:`histogram_distance`) or from samples
(:func:`sample_distance`); from one response to the bands of its bucket (:func:`support_distance`); and between
sets of embeddings (:func:`nearest` and all that follow it).

Arrays are numpy's, torch tensors on the CPU (read in place), Arrow columns and tables (``pyarrow``, ``polars``, …;
lists are vectors, a table is a column a feature, null is NaN), pandas objects or nested lists. Results are numpy
arrays, the same bits for any number of threads and on every processor. Work runs on ``threads`` threads
(``POLYALIGN_NUM_THREADS``, else every core) with the GIL released, and stops at Ctrl-C.

Examples
--------
>>> import polyalign as pa
>>> float(pa.distances.sample_distance([0.0, 1.0, 3.0], [5.0, 6.0, 8.0]))
5.0
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from polyalign import _core
from polyalign._io.arrays import check_shape, doubles, first, floats, integers, singles

__all__ = [
    "energy_distance",
    "histogram_distance",
    "knn_distance",
    "mahalanobis",
    "mmd",
    "nearest",
    "pairwise_histogram_distance",
    "pairwise_sample_distance",
    "sample_distance",
    "sliced_wasserstein",
    "support_contributions",
    "support_distance",
]

Doubles = npt.NDArray[np.float64]
NamedVectors = tuple[str, npt.NDArray[np.float32]]
HistogramMetric = Literal["wasserstein", "energy", "ks", "total_variation", "jensen_shannon", "hellinger", "psi"]
SampleMetric = Literal["wasserstein", "wasserstein2", "energy", "ks"]


# ------------------------------------------------------------------------------------------- histograms


def histogram_distance(
    p: Any,
    q: Any,
    metric: HistogramMetric = "wasserstein",
    *,
    places: Any = None,
    edges: Any = None,
    floor: float = 1e-4,
    threads: int | None = None,
) -> Doubles:
    """Measure the distance between histograms on the same bins, over all leading axes at once.

    Parameters
    ----------
    p, q : array, shape (..., bins)
        Weights, which need not add up to 1: counts will do. Leading axes are broadcast.
    metric : str
        With F, G the distribution functions and p, q the shares:

        - ``"wasserstein"``: Wasserstein-1, ∫|F − G|;
        - ``"energy"``: √(2 ∫(F − G)²), as ``scipy.stats.energy_distance``;
        - ``"ks"``: Kolmogorov–Smirnov, max|F − G| at a bin's end;
        - ``"total_variation"``: ½ Σ|p − q|;
        - ``"jensen_shannon"``: √JSD in nats, as ``scipy.spatial.distance.jensenshannon``;
        - ``"hellinger"``: √(½ Σ(√p − √q)²);
        - ``"psi"``: population stability index, Σ(p − q) ln(p/q), shares below `floor` raised to it.
    places : array, shape (..., bins), or a pair of them, optional
        Where the mass of each bin lies (its mean, say), ascending; leading axes are broadcast against the
        result's. A pair gives p and q places of their own, which must not pass those of the next bin.
        Default: 0, 1, 2, …. Only Wasserstein and energy distance depend on it.
    edges : array, shape (..., bins + 1), optional
        Instead of `places`: the bins' ends, their middles being the places.
    floor : float
        For ``"psi"``.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    numpy.ndarray of float64
        The shape that the leading axes broadcast to; NaN for a histogram without weight.

    Raises
    ------
    TypeError
        An input does not hold numbers, or lies on another device.
    ValueError
        A weight is negative or not finite, places do not ascend, or shapes do not fit.

    Examples
    --------
    >>> from polyalign.distances import histogram_distance
    >>> human, model = [2, 1, 1, 0], [0, 1, 1, 2]
    >>> float(histogram_distance(human, model, places=[0, 10, 20, 30]))
    15.0
    >>> histogram_distance([human, model], human, "total_variation").tolist()
    [0.0, 0.5]
    """
    p, q = _weights("p", p), _weights("q", q)
    bins = p.shape[-1]
    if q.shape[-1] != bins:
        raise ValueError(f"p has {bins} bins, q has {q.shape[-1]}: histograms are compared on the same bins")
    leading = _broadcast("p and q", p.shape[:-1], q.shape[:-1])
    sides = _places_of_sides(places, edges, bins, leading)
    groups = np.zeros((), np.int64)
    own = None
    if sides is not None:
        shape = _broadcast("places", sides[0].shape[:-1], sides[1].shape[:-1])
        groups = np.arange(_size(shape)).reshape(shape)
        p_places, q_places = (_rows(np.broadcast_to(side, (*shape, bins))) for side in sides)
        own = p_places, q_places
    p_numbers, q_numbers = (np.arange(_size(side.shape[:-1])).reshape(side.shape[:-1]) for side in (p, q))
    pairs = [np.broadcast_to(rows, leading).ravel() for rows in (p_numbers, q_numbers, groups)]
    try:
        found = _core.histogram_distances(
            metric, floor, _rows(p), _rows(q), own, (pairs[0], pairs[1], pairs[2]), threads
        )
    except ValueError as error:
        _check_weights(("p", p), ("q", q))
        raise ValueError(str(error)) from None
    return found.reshape(leading)[()]


def pairwise_histogram_distance(
    p: Any,
    metric: HistogramMetric = "wasserstein",
    *,
    places: Any = None,
    edges: Any = None,
    floor: float = 1e-4,
    threads: int | None = None,
) -> Doubles:
    """Measure the distances between all rows of a set of histograms, or of many sets at once.

    Parameters
    ----------
    p : array, shape (..., rows, bins)
        Weights, as of :func:`histogram_distance`. Leading axes are sets: features, say, with buckets as rows.
    metric, edges, floor, threads
        As of :func:`histogram_distance`; `edges` of shape (bins + 1) or (..., bins + 1).
    places : array, optional
        Of shape (bins), of shape (..., bins), one for each set, or of the shape of `p`, one for each row.

    Returns
    -------
    numpy.ndarray of float64, shape (..., rows, rows)
        Symmetric; 0 on the diagonal, NaN where a row has no weight.

    Examples
    --------
    >>> from polyalign.distances import pairwise_histogram_distance
    >>> pairwise_histogram_distance([[1, 0, 0], [0, 1, 1], [0, 0, 1]]).tolist()
    [[0.0, 1.5, 2.0], [1.5, 0.0, 0.5], [2.0, 0.5, 0.0]]
    """
    p = doubles("p", p)
    if p.ndim < 2 or p.shape[-1] == 0:
        raise ValueError(f"p has shape {list(p.shape)}: it must be [..., rows, bins], with at least one bin")
    *leading, rows, bins = p.shape
    own = _places(places, edges, bins)
    if own is not None:
        own = own if own.ndim == 1 else _places_of_sets(own, p.shape)
    try:
        found = _core.pairwise_histograms(metric, floor, _rows(p), rows, None if own is None else _rows(own), threads)
    except ValueError as error:
        _check_weights(("p", p))
        raise ValueError(str(error)) from None
    return found.reshape(*leading, rows, rows)


def _weights(name: str, value: Any) -> Doubles:
    weights = doubles(name, value)
    if weights.ndim == 0 or weights.shape[-1] == 0:
        raise ValueError(f"{name} has shape {list(weights.shape)}: it must be [..., bins], with at least one bin")
    return weights


def _check_weights(*sides: tuple[str, Doubles]) -> None:
    """Say which weight it is that the engine refused, if it was a weight."""
    for name, weights in sides:
        bad = ~((weights >= 0) & (weights < np.inf))
        if bad.any():
            where, weight = first(name, weights, bad)
            raise ValueError(f"{where} is {weight}: weights are finite and not negative")


def _places(places: Any, edges: Any, bins: int) -> Doubles | None:
    """Return the places of bins, given as such or by the bins' ends."""
    if edges is not None:
        if places is not None:
            raise ValueError("give places or edges, not both")
        ends = doubles("edges", edges)
        if ends.ndim == 0 or ends.shape[-1] != bins + 1:
            raise ValueError(f"edges has shape {list(ends.shape)}: {bins} bins have {bins + 1} edges")
        return 0.5 * (ends[..., 1:] + ends[..., :-1])
    if places is None:
        return None
    found = doubles("places", places)
    if found.ndim == 0 or found.shape[-1] != bins:
        raise ValueError(f"places has shape {list(found.shape)}: it must be [..., {bins}], a place for each bin")
    return found


def _places_of_sides(places: Any, edges: Any, bins: int, leading: tuple[int, ...]) -> tuple[Doubles, Doubles] | None:
    """Return the places of p and of q."""
    if isinstance(places, tuple) and len(places) == 2 and edges is None:
        sides = _places(places[0], None, bins), _places(places[1], None, bins)
    else:
        both = _places(places, edges, bins)
        sides = both, both
    first_side, second_side = sides
    if first_side is None or second_side is None:
        return None
    for side in (first_side, second_side):
        if _broadcast("places and weights", side.shape[:-1], leading) != leading:
            raise ValueError(f"places has shape {list(side.shape)}: its leading axes must fit into {list(leading)}")
    return first_side, second_side


def _places_of_sets(places: Doubles, shape: tuple[int, ...]) -> Doubles:
    """Return places for each set, or for each row if they are given so."""
    target = shape if places.ndim == len(shape) else (*shape[:-2], shape[-1])
    try:
        return np.ascontiguousarray(np.broadcast_to(places, target))
    except ValueError:
        raise ValueError(
            f"places has shape {list(places.shape)}: for p of {list(shape)} it must be [{shape[-1]}], "
            f"{[*shape[:-2], shape[-1]]} or {list(shape)}"
        ) from None


def _broadcast(what: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        words = " and ".join(str(list(shape)) for shape in shapes)
        raise ValueError(f"the leading axes of {what} do not fit together: {words}") from None


def _rows(array: Doubles) -> Doubles:
    return np.ascontiguousarray(array).reshape(-1, array.shape[-1])


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


# ------------------------------------------------------------------------------------------- samples


def sample_distance(x: Any, y: Any, metric: SampleMetric = "wasserstein", *, threads: int | None = None) -> Doubles:
    """Measure the exact distance between two sets of responses in each feature.

    Parameters
    ----------
    x, y : array, shape (n, features) and (m, features), or (n,) and (m,)
        A response a row, a feature a column; n and m may differ. NaN is a feature that a response does not have,
        and is left out. Equal shares at an infinity are no distance apart, unequal ones infinitely far.
    metric : str
        With F, G the empirical distribution functions: ``"wasserstein"``, ∫|F − G|; ``"wasserstein2"``,
        √∫(F⁻¹ − G⁻¹)²; ``"energy"``, √(2 ∫(F − G)²); ``"ks"``, max|F − G|.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    numpy.ndarray of float64, shape (features,)
        NaN where a side has no value. One number for one-dimensional input.

    Raises
    ------
    TypeError
        An input does not hold numbers, or lies on another device.
    ValueError
        Shapes do not fit, or no such metric.

    Examples
    --------
    >>> from polyalign.distances import sample_distance
    >>> human, model = [[1.0, 0.0], [3.0, 0.0]], [[2.0, 5.0], [4.0, float("nan")], [6.0, 5.0]]
    >>> sample_distance(human, model).tolist()
    [2.0, 5.0]
    """
    sets = _samples({"x": x, "y": y})
    if x_is_flat := sets[0].ndim == 1:
        sets = [samples.reshape(-1, 1) for samples in sets]
    found = _core.sample_distances(metric, sets, threads)
    return found[0] if x_is_flat else found


def pairwise_sample_distance(
    sets: Sequence[Any], metric: SampleMetric = "wasserstein", *, threads: int | None = None
) -> Doubles:
    """Measure the exact distances between all sets of responses in each feature.

    Parameters
    ----------
    sets : sequence of array, shapes (n, features)
        As `x` of :func:`sample_distance`; each is sorted once.
    metric, threads
        As of :func:`sample_distance`.

    Returns
    -------
    numpy.ndarray of float64, shape (sets, sets, features)
        Symmetric. Without the last axis for one-dimensional sets.

    Examples
    --------
    >>> from polyalign.distances import pairwise_sample_distance
    >>> pairwise_sample_distance([[0.0, 2.0], [1.0, 1.0], [5.0]], "ks").tolist()
    [[0.0, 0.5, 1.0], [0.5, 0.0, 1.0], [1.0, 1.0, 0.0]]
    """
    if len(sets) == 0:
        raise ValueError("sets is empty: give at least one set of samples")
    arrays = _samples({f"sets[{number}]": samples for number, samples in enumerate(sets)})
    count = len(arrays)
    if arrays[0].ndim == 1:
        arrays = [samples.reshape(-1, 1) for samples in arrays]
        return _core.pairwise_samples(metric, arrays, threads).reshape(count, count)
    return _core.pairwise_samples(metric, arrays, threads).reshape(count, count, -1)


def _samples(named: dict[str, Any]) -> list[npt.NDArray[Any]]:
    """Return sets of samples in one type, with one number of features."""
    sets = {name: floats(name, value) for name, value in named.items()}
    name, model = next(iter(sets.items()))
    for other, samples in sets.items():
        check_shape(other, samples, "n", "n, features")
        if samples.ndim != model.ndim or samples.shape[1:] != model.shape[1:]:
            raise ValueError(
                f"{name} has shape {list(model.shape)}, {other} has {list(samples.shape)}: "
                "they must have the same features"
            )
    if model.ndim == 2 and model.shape[1] == 0:
        raise ValueError(f"{name} has shape {list(model.shape)}: at least one feature is needed")
    dtype = np.result_type(*(samples.dtype for samples in sets.values()))
    return [samples.astype(dtype, copy=False) for samples in sets.values()]


# ------------------------------------------------------------------------------------------- support


def support_distance(  # noqa: PLR0917 - the parts of one formula
    values: Any,
    buckets: Any,
    low: Any,
    high: Any,
    scale: Any,
    floor: Any,
    *,
    cap: float = 5.0,
    threads: int | None = None,
) -> Doubles:
    """Measure how far each response lies outside the bands of its bucket: the support distance D_b.

    The mean over features of 0 inside [low, high], else min(cap, distance to the nearer end / max(high − low,
    scale, floor)), over the features that both have a band and are not NaN.

    Parameters
    ----------
    values : array, shape (n, features)
        Features of responses; NaN where a feature is not defined.
    buckets : array of int, shape (n,)
        The row of `low`, `high` and `scale` that each response is compared with; −1 for none.
    low, high : array, shape (buckets, features)
        Ends of the bands, such as the humans' 10% and 90% quantiles; NaN where a bucket has no band.
    scale : array, shape (buckets, features)
        The humans' standard deviation σ; NaN counts as 0.
    floor : array, shape (features,), or float
        The least divisor of each feature, above 0.
    cap : float
        The most that one feature counts. With ``cap=inf, floor=1e-6`` it is the paper's.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    numpy.ndarray of float64, shape (n,)
        NaN where fewer than half of the bucket's bands have a value, where the bucket has no band, and where
        `buckets` names none.

    Raises
    ------
    TypeError
        An input does not hold numbers, or lies on another device.
    ValueError
        Shapes do not fit, a band is upside down, or a floor is not above 0.

    Examples
    --------
    >>> from polyalign.distances import support_distance
    >>> low, high, scale = [[10.0, 0.0]], [[20.0, 1.0]], [[4.0, 0.5]]
    >>> support_distance([[15.0, 0.5], [25.0, 0.5], [1000.0, 0.5]], [0, 0, 0], low, high, scale, 1.0).tolist()
    [0.0, 0.25, 2.5]
    """
    return _core.support_distances(*_support(values, buckets, (low, high, scale), floor, cap), threads)


def support_contributions(  # noqa: PLR0917
    values: Any,
    buckets: Any,
    low: Any,
    high: Any,
    scale: Any,
    floor: Any,
    *,
    cap: float = 5.0,
    threads: int | None = None,
) -> npt.NDArray[np.float32]:
    """Return what each feature adds to the mean that :func:`support_distance` is.

    Parameters and errors are those of :func:`support_distance`.

    Returns
    -------
    numpy.ndarray of float32, shape (n, features)
        NaN where a feature is not counted.

    Examples
    --------
    >>> from polyalign.distances import support_contributions
    >>> support_contributions([[25.0, float("nan")]], [0], [[10.0, 0.0]], [[20.0, 1.0]], [[4.0, 0.5]], 1.0).tolist()
    [[0.5, nan]]
    """
    return _core.support_contributions(*_support(values, buckets, (low, high, scale), floor, cap), threads)


def _support(
    values: Any, buckets: Any, bands: tuple[Any, Any, Any], floor: Any, cap: float
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64], tuple[Doubles, Doubles, Doubles, Doubles, float]]:
    """Return the engine's arguments."""
    responses, rows = floats("values", values), integers("buckets", buckets)
    check_shape("values", responses, "n, features")
    check_shape("buckets", rows, "n")
    n, features = responses.shape
    if len(rows) != n:
        raise ValueError(f"values has {n} rows, buckets {len(rows)}: each response has one bucket")
    ends = [doubles(name, band) for name, band in zip(("low", "high", "scale"), bands, strict=True)]
    for name, band in zip(("low", "high", "scale"), ends, strict=True):
        if band.shape != ends[0].shape or band.ndim != 2 or band.shape[1] != features:
            raise ValueError(
                f"{name} has shape {list(band.shape)}: low, high and scale must all be [buckets, {features}]"
            )
    floors = doubles("floor", floor)
    if floors.shape not in ((), (features,)):
        raise ValueError(f"floor has shape {list(floors.shape)}: it must be a number or [{features}]")
    low, high, scale = ends
    return responses, rows, (low, high, scale, np.ascontiguousarray(np.broadcast_to(floors, features)), float(cap))


# ------------------------------------------------------------------------------------------- embeddings


def nearest(
    queries: Any, support: Any, k: int = 10, *, threads: int | None = None
) -> tuple[Doubles, npt.NDArray[np.int64]]:
    """Find the k nearest neighbours of each query, exactly.

    Parameters
    ----------
    queries : array of float32, shape (n, dimension)
        Embeddings of responses. float64 is taken where every number is a float32.
    support : array of float32, shape (m, dimension)
        Embeddings to look among.
    k : int
        At most m.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    distances : numpy.ndarray of float64, shape (n, k)
        Euclidean, ascending.
    indices : numpy.ndarray of int64, shape (n, k)
        Rows of `support`; of equally near ones, the first.

    Raises
    ------
    TypeError
        An input does not hold numbers, or lies on another device.
    ValueError
        Shapes do not fit, a number is not finite or not a float32, or k is out of range.

    Examples
    --------
    >>> from polyalign.distances import nearest
    >>> distances, indices = nearest([[0.0, 0.0]], [[3.0, 4.0], [1.0, 0.0], [9.0, 9.0]], k=2)
    >>> distances.tolist(), indices.tolist()
    ([[1.0, 5.0]], [[1, 0]])
    """
    _check_neighbours(k)
    return _core.nearest(*_vectors(queries=queries, support=support), k, threads)


def knn_distance(queries: Any, support: Any, k: int = 10, *, threads: int | None = None) -> Doubles:
    """Measure each query's mean distance to its k nearest neighbours.

    Parameters and errors are those of :func:`nearest`.

    Returns
    -------
    numpy.ndarray of float64, shape (n,)

    Examples
    --------
    >>> from polyalign.distances import knn_distance
    >>> knn_distance([[0.0, 0.0]], [[3.0, 4.0], [1.0, 0.0], [9.0, 9.0]], k=2).tolist()
    [3.0]
    """
    _check_neighbours(k)
    return _core.mean_nearest(*_vectors(queries=queries, support=support), k, threads)


def mahalanobis(queries: Any, support: Any, *, shrinkage: float | None = None, threads: int | None = None) -> Doubles:
    """Measure each query's Mahalanobis distance from the support.

    √((x − μ)ᵀ C⁻¹ (x − μ)), with C = (1 − s) S + s (tr S / dimension) I and S the maximum-likelihood covariance.

    Parameters
    ----------
    queries, support : array of float32, shape (n, dimension) and (m, dimension)
        As of :func:`nearest`.
    shrinkage : float, optional
        s, from 0 to 1. Default: Ledoit and Wolf's, as ``sklearn.covariance.LedoitWolf``.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    numpy.ndarray of float64, shape (n,)

    Raises
    ------
    ValueError
        As of :func:`nearest`; also where the covariance is singular.

    References
    ----------
    Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004.

    Examples
    --------
    >>> from polyalign.distances import mahalanobis
    >>> mahalanobis([[4.0, 0.0]], [[2.0, 1.0], [-2.0, 1.0], [2.0, -1.0], [-2.0, -1.0]], shrinkage=0.0).tolist()
    [2.0]
    """
    return _core.mahalanobis(*_vectors(queries=queries, support=support), shrinkage, threads)


def mmd(
    x: Any,
    y: Any,
    *,
    bandwidth: float | Literal["median"] | None = "median",
    unbiased: bool = True,
    threads: int | None = None,
) -> float:
    """Measure the squared maximum mean discrepancy under a Gaussian kernel, exp(−|x − y|² / (2 bandwidth²)).

    Parameters
    ----------
    x, y : array of float32, shape (n, dimension) and (m, dimension)
        As of :func:`nearest`.
    bandwidth : float or "median"
        ``"median"`` (or ``None``): the median distance between different vectors of both sides, of at most 2,000
        of them, evenly spaced. Give a number to compare results with one another.
    unbiased : bool
        The U-statistic, whose mean is 0 for equal distributions, and which can be negative; else the V-statistic,
        which is at least 0.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    float
        The square; take its root where it is to be a distance.

    Raises
    ------
    ValueError
        As of :func:`nearest`; also where the unbiased form has a side of one vector.

    References
    ----------
    Gretton et al., "A kernel two-sample test", 2012.

    Examples
    --------
    >>> from polyalign.distances import mmd
    >>> round(mmd([[0.0], [1.0]], [[0.0], [1.0]], bandwidth=1.0, unbiased=False), 12)
    0.0
    """
    if isinstance(bandwidth, str) and bandwidth != "median":
        raise ValueError(f"bandwidth is {bandwidth!r}: it must be a number or 'median'")
    width = None if bandwidth is None or isinstance(bandwidth, str) else float(bandwidth)
    return _core.mmd(*_vectors(x=x, y=y), width, unbiased, threads)


def energy_distance(x: Any, y: Any, *, threads: int | None = None) -> float:
    """Measure the energy distance between two sets of vectors, √(2 E|x − y| − E|x − x′| − E|y − y′|).

    In one dimension it is ``scipy.stats.energy_distance``.

    Parameters
    ----------
    x, y : array of float32, shape (n, dimension) and (m, dimension)
        As of :func:`nearest`.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As of :func:`nearest`.

    References
    ----------
    Székely and Rizzo, "Energy statistics: A class of statistics based on distances", 2013.

    Examples
    --------
    >>> from polyalign.distances import energy_distance
    >>> round(energy_distance([[0.0, 0.0]], [[3.0, 4.0]]) ** 2, 9)
    10.0
    """
    return _core.embedding_energy(*_vectors(x=x, y=y), threads)


def sliced_wasserstein(
    x: Any, y: Any, *, directions: Any = 128, seed: int = 0, p: Literal[1, 2] = 1, threads: int | None = None
) -> float:
    """Measure the sliced Wasserstein distance: (mean over directions of W_p^p of the projections)^(1/p).

    Parameters
    ----------
    x, y : array of float32, shape (n, dimension) and (m, dimension)
        As of :func:`nearest`.
    directions : int or array, shape (count, dimension)
        How many directions to draw, uniform on the sphere; or the directions themselves, taken as they are.
    seed : int
        The same seed draws the same directions on every machine.
    p : int
        1 or 2.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As of :func:`nearest`.

    References
    ----------
    Bonneel et al., "Sliced and Radon Wasserstein barycenters of measures", 2015.

    Examples
    --------
    >>> from polyalign.distances import sliced_wasserstein
    >>> sliced_wasserstein([[0.0, 0.0], [1.0, 0.0]], [[3.0, 0.0], [4.0, 0.0]], directions=[[1.0, 0.0]])
    3.0
    """
    sides = _vectors(x=x, y=y)
    dimension = sides[0][1].shape[1]
    if isinstance(directions, (int, np.integer)) and not isinstance(directions, bool):
        if directions < 1:
            raise ValueError(f"directions is {directions}: at least one is needed")
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed is {seed}: it must be 0 to 2^64 - 1")
        lines = _core.directions(int(directions), dimension, int(seed))
    else:
        lines = doubles("directions", directions)
        check_shape("directions", lines, "count, dimension")
        if lines.shape[1] != dimension or len(lines) == 0:
            raise ValueError(f"directions has shape {list(lines.shape)}: it must be [count, {dimension}]")
    if p not in (1, 2):
        raise ValueError(f"p is {p}: it must be 1 or 2")
    return _core.sliced_wasserstein(*sides, lines, p, threads)


def _check_neighbours(k: int) -> None:
    if k < 1:
        raise ValueError(f"k is {k}: it must be at least 1")


def _vectors(**sides: Any) -> tuple[NamedVectors, NamedVectors]:
    """Return each side under its name, for the engine's messages."""
    vectors = [(name, singles(name, value)) for name, value in sides.items()]
    for name, values in vectors:
        check_shape(name, values, "n, dimension")
        if values.size == 0:
            raise ValueError(f"{name} has shape {list(values.shape)}: at least one vector is needed")
    x, y = vectors
    (name, values), (other, others) = x, y
    if values.shape[1] != others.shape[1]:
        raise ValueError(f"{name} has vectors of {values.shape[1]} numbers, {other} of {others.shape[1]}")
    return x, y
