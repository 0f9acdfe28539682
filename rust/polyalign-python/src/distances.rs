//! Distances for Python: numpy arrays in and out, contiguous and of the types the engine takes.

use crate::errors;
use crate::threads::run;
use numpy::{
    Element, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use polyalign::distance::batch::{Batch, Pair};
use polyalign::distance::embedding::mahalanobis::Gaussian;
use polyalign::distance::embedding::nearest::Neighbours;
use polyalign::distance::embedding::{Matrix, kernels, nearest as neighbours, sliced};
use polyalign::distance::histogram::{Distance, Histograms};
use polyalign::distance::samples::{self, Sample, Sorted};
use polyalign::distance::support::Bands;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::atomic::AtomicBool;

type Rows<'py, T> = PyReadonlyArray2<'py, T>;
type Column<'py, T> = PyReadonlyArray1<'py, T>;

/// The distance of each pair: rows `p[first]` and `q[second]` on places `[group]`.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "the Python side has named them")]
pub fn histogram_distances<'py>(
    py: Python<'py>,
    metric: &str,
    floor: f64,
    p: Rows<'py, f64>,
    q: Rows<'py, f64>,
    places: Option<(Rows<'py, f64>, Rows<'py, f64>)>,
    pairs: (Column<'py, i64>, Column<'py, i64>, Column<'py, i64>),
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let distance = histogram_metric(metric, floor)?;
    let places = match &places {
        Some((p, q)) => [p.as_slice()?, q.as_slice()?],
        None => [&[][..]; 2],
    };
    let batch = Batch { weights: [p.as_slice()?, q.as_slice()?], places, bins: p.shape()[1] };
    let (first, second, group) = (pairs.0.as_slice()?, pairs.1.as_slice()?, pairs.2.as_slice()?);
    // What is no row number is none that is there.
    let number = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
    let work = |stop: &AtomicBool| {
        let rows = first.iter().zip(second).zip(group);
        let pairs: Vec<Pair> = rows
            .map(|((&p, &q), &group)| Pair { rows: [number(p), number(q)], group: number(group) })
            .collect();
        batch.distances(distance, &pairs, stop)
    };
    Ok(PyArray1::from_vec(py, run(py, threads, work)?))
}

/// The distances between all rows of each set of `rows` rows: `[sets × rows × rows]`. Places are none, one
/// row, one a set, or one for each row.
#[pyfunction]
pub fn pairwise_histograms<'py>(
    py: Python<'py>,
    metric: &str,
    floor: f64,
    weights: Rows<'py, f64>,
    rows: usize,
    places: Option<Rows<'py, f64>>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let distance = histogram_metric(metric, floor)?;
    let bins = weights.shape()[1];
    let size = rows * bins;
    let weights = weights.as_slice()?;
    let places = places.as_ref().map_or(Ok(&[][..]), |places| places.as_slice())?;
    let sets = weights.len().checked_div(size).unwrap_or(0);
    let each = if places.len() <= bins { 0 } else { places.len().checked_div(sets).unwrap_or(0) };
    let own = |set: usize| if each == 0 { places } else { &places[set * each..(set + 1) * each] };
    let work = |stop: &AtomicBool| {
        let of_set = |set: usize| {
            Histograms::new(&weights[set * size..(set + 1) * size], own(set), bins)?.pairwise(distance, stop)
        };
        (0..sets).map(of_set).collect::<polyalign::Result<Vec<_>>>().map(|sets| sets.concat())
    };
    Ok(PyArray1::from_vec(py, run(py, threads, work)?))
}

fn histogram_metric(name: &str, floor: f64) -> PyResult<Distance> {
    match name {
        "wasserstein" => Ok(Distance::Wasserstein),
        "energy" => Ok(Distance::Energy),
        "ks" => Ok(Distance::KolmogorovSmirnov),
        "total_variation" => Ok(Distance::TotalVariation),
        "jensen_shannon" => Ok(Distance::JensenShannon),
        "hellinger" => Ok(Distance::Hellinger),
        "psi" if floor > 0.0 && floor < 1.0 => Ok(Distance::Psi { floor }),
        "psi" => Err(PyValueError::new_err(format!("floor is {floor}: it must lie between 0 and 1"))),
        other => Err(PyValueError::new_err(format!(
            "metric is {other:?}: it must be wasserstein, energy, ks, total_variation, jensen_shannon, \
             hellinger or psi"
        ))),
    }
}

fn sample_metric(name: &str) -> PyResult<samples::Distance> {
    match name {
        "wasserstein" => Ok(samples::Distance::Wasserstein),
        "wasserstein2" => Ok(samples::Distance::Wasserstein2),
        "energy" => Ok(samples::Distance::Energy),
        "ks" => Ok(samples::Distance::KolmogorovSmirnov),
        other => Err(PyValueError::new_err(format!(
            "metric is {other:?}: between samples it must be wasserstein, wasserstein2, energy or ks \
             (the others need bins: histogram_distance)"
        ))),
    }
}

/// Sets of rows, all single or all double.
#[derive(FromPyObject)]
pub enum Sets<'py> {
    /// float32.
    Single(Vec<Rows<'py, f32>>),
    /// float64.
    Double(Vec<Rows<'py, f64>>),
}

/// The distance between two sets of `[n, features]`, in each feature.
#[pyfunction]
pub fn sample_distances<'py>(
    py: Python<'py>,
    metric: &str,
    sets: Sets<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let distance = sample_metric(metric)?;
    let found = match &sets {
        Sets::Single(sets) => between_two(py, sets, distance, threads)?,
        Sets::Double(sets) => between_two(py, sets, distance, threads)?,
    };
    Ok(PyArray1::from_vec(py, found))
}

fn between_two<T: Sample + Element>(
    py: Python<'_>,
    sets: &[Rows<'_, T>],
    distance: samples::Distance,
    threads: Option<usize>,
) -> PyResult<Vec<f64>> {
    let [x, y] = sets else { return Err(PyValueError::new_err("samples: two sets are compared")) };
    let (x, y) = ((x.as_slice()?, x.shape()[1]), (y.as_slice()?, y.shape()[1]));
    run(py, threads, |_| Sorted::new(x.0, x.1)?.distances(&Sorted::new(y.0, y.1)?, distance))
}

/// The distances between all sets in each feature: `[sets × sets × features]`.
#[pyfunction]
pub fn pairwise_samples<'py>(
    py: Python<'py>,
    metric: &str,
    sets: Sets<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let distance = sample_metric(metric)?;
    let found = match &sets {
        Sets::Single(sets) => between_all(py, sets, distance, threads)?,
        Sets::Double(sets) => between_all(py, sets, distance, threads)?,
    };
    Ok(PyArray1::from_vec(py, found))
}

fn between_all<T: Sample + Element>(
    py: Python<'_>,
    sets: &[Rows<'_, T>],
    distance: samples::Distance,
    threads: Option<usize>,
) -> PyResult<Vec<f64>> {
    let sets: Vec<(&[T], usize)> =
        sets.iter().map(|set| Ok((set.as_slice()?, set.shape()[1]))).collect::<PyResult<_>>()?;
    run(py, threads, |stop| {
        let sorted = sets.iter().map(|(values, features)| Sorted::new(values, *features));
        samples::pairwise(&sorted.collect::<polyalign::Result<Vec<_>>>()?, distance, stop)
    })
}

/// Bands: low, high and scale `[buckets, features]`, floor `[features]`, and the cap.
type BandArrays<'py> = (Rows<'py, f64>, Rows<'py, f64>, Rows<'py, f64>, Column<'py, f64>, f64);

fn bands((low, high, scale, floor, cap): &BandArrays<'_>) -> PyResult<Bands> {
    Bands::new(low.as_slice()?, high.as_slice()?, scale.as_slice()?, floor.as_slice()?, *cap)
        .map_err(errors::to_py)
}

/// Features of responses, single or double.
#[derive(FromPyObject)]
pub enum Values<'py> {
    /// float32.
    Single(Rows<'py, f32>),
    /// float64.
    Double(Rows<'py, f64>),
}

/// The support distance of each row of values.
#[pyfunction]
pub fn support_distances<'py>(
    py: Python<'py>,
    values: Values<'py>,
    buckets: Column<'py, i64>,
    of: BandArrays<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (bands, buckets) = (bands(&of)?, buckets.as_slice()?);
    let found = match &values {
        Values::Single(rows) => {
            let values = rows.as_slice()?;
            run(py, threads, |_| bands.distances(values, buckets))?
        }
        Values::Double(rows) => {
            let values = rows.as_slice()?;
            run(py, threads, |_| bands.distances(values, buckets))?
        }
    };
    Ok(PyArray1::from_vec(py, found))
}

/// What each feature adds to it.
#[pyfunction]
pub fn support_contributions<'py>(
    py: Python<'py>,
    values: Values<'py>,
    buckets: Column<'py, i64>,
    of: BandArrays<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (bands, buckets) = (bands(&of)?, buckets.as_slice()?);
    let shape = [buckets.len(), of.3.len()];
    let found = match &values {
        Values::Single(rows) => {
            let values = rows.as_slice()?;
            run(py, threads, |_| bands.contributions(values, buckets))?
        }
        Values::Double(rows) => {
            let values = rows.as_slice()?;
            run(py, threads, |_| bands.contributions(values, buckets))?
        }
    };
    PyArray1::from_vec(py, found).reshape(shape)
}

/// Vectors, and what messages call them.
#[derive(FromPyObject)]
pub struct Vectors<'py>(String, Rows<'py, f32>);

/// Two sides, as slices and their dimensions.
struct Sides<'a>([(&'a str, &'a [f32], usize); 2]);

impl<'a> Sides<'a> {
    fn of(x: &'a Vectors<'_>, y: &'a Vectors<'_>) -> PyResult<Self> {
        let side = |side: &'a Vectors<'_>| -> PyResult<(&'a str, &'a [f32], usize)> {
            Ok((&side.0, side.1.as_slice()?, side.1.shape()[1]))
        };
        Ok(Self([side(x)?, side(y)?]))
    }

    fn matrices(&self) -> polyalign::Result<(Matrix<'a>, Matrix<'a>)> {
        let [x, y] = self.0.map(|(name, values, columns)| Matrix::new(name, values, columns));
        Ok((x?, y?))
    }
}

fn find(
    py: Python<'_>,
    (queries, support): (&Vectors<'_>, &Vectors<'_>),
    k: usize,
    threads: Option<usize>,
) -> PyResult<Neighbours> {
    let sides = Sides::of(queries, support)?;
    run(py, threads, |stop| {
        let (queries, support) = sides.matrices()?;
        neighbours::nearest(queries, support, k, stop)
    })
}

/// Distances and rows of the k nearest, `[queries, k]`.
#[pyfunction]
#[expect(clippy::type_complexity, reason = "a pair of arrays")]
pub fn nearest<'py>(
    py: Python<'py>,
    queries: Vectors<'py>,
    support: Vectors<'py>,
    k: usize,
    threads: Option<usize>,
) -> PyResult<(Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<i64>>)> {
    let found = find(py, (&queries, &support), k, threads)?;
    let shape = [queries.1.shape()[0], k];
    let distances = PyArray1::from_vec(py, found.distances).reshape(shape)?;
    Ok((distances, PyArray1::from_vec(py, found.indices).reshape(shape)?))
}

/// The mean distance to the k nearest.
#[pyfunction]
pub fn mean_nearest<'py>(
    py: Python<'py>,
    queries: Vectors<'py>,
    support: Vectors<'py>,
    k: usize,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    Ok(PyArray1::from_vec(py, find(py, (&queries, &support), k, threads)?.means(k)))
}

/// The Mahalanobis distance of each query, and the shrinkage in force.
#[pyfunction]
pub fn mahalanobis<'py>(
    py: Python<'py>,
    queries: Vectors<'py>,
    support: Vectors<'py>,
    shrinkage: Option<f64>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let sides = Sides::of(&queries, &support)?;
    let work = |stop: &AtomicBool| {
        let (queries, support) = sides.matrices()?;
        Gaussian::fit(support, shrinkage, stop)?.distances(queries, stop)
    };
    Ok(PyArray1::from_vec(py, run(py, threads, work)?))
}

/// The squared maximum mean discrepancy; without a bandwidth, at the median distance.
#[pyfunction]
pub fn mmd<'py>(
    py: Python<'py>,
    x: Vectors<'py>,
    y: Vectors<'py>,
    bandwidth: Option<f64>,
    unbiased: bool,
    threads: Option<usize>,
) -> PyResult<f64> {
    let sides = Sides::of(&x, &y)?;
    run(py, threads, |stop| {
        let (x, y) = sides.matrices()?;
        let bandwidth = bandwidth.map_or_else(|| kernels::median_distance(x, y, stop), Ok)?;
        kernels::mmd_squared(x, y, bandwidth, unbiased, stop)
    })
}

/// The unbiased squared discrepancy of each division of rows in two, `labels` being 1 for the first part.
#[pyfunction]
pub fn divided_mmd<'py>(
    py: Python<'py>,
    rows: Rows<'py, f64>,
    bandwidth: f64,
    labels: Rows<'py, f64>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (values, columns, labels) = (rows.as_slice()?, rows.shape()[1], labels.as_slice()?);
    let work = |stop: &AtomicBool| kernels::divided_mmd_squared(values, columns, bandwidth, labels, stop);
    Ok(PyArray1::from_vec(py, run(py, threads, work)?))
}

/// The energy distance.
#[pyfunction]
pub fn embedding_energy<'py>(
    py: Python<'py>,
    x: Vectors<'py>,
    y: Vectors<'py>,
    threads: Option<usize>,
) -> PyResult<f64> {
    let sides = Sides::of(&x, &y)?;
    run(py, threads, |stop| {
        let (x, y) = sides.matrices()?;
        kernels::energy(x, y, stop)
    })
}

/// Directions `[count, columns]`, uniform on the sphere.
#[pyfunction]
pub fn directions(
    py: Python<'_>,
    count: usize,
    columns: usize,
    seed: u64,
) -> PyResult<Bound<'_, PyArray2<f64>>> {
    let directions = py.detach(|| sliced::directions(count, columns, seed));
    PyArray1::from_vec(py, directions).reshape([count, columns])
}

/// The sliced Wasserstein distance along directions `[count, columns]`.
#[pyfunction]
pub fn sliced_wasserstein<'py>(
    py: Python<'py>,
    x: Vectors<'py>,
    y: Vectors<'py>,
    directions: Rows<'py, f64>,
    p: u32,
    threads: Option<usize>,
) -> PyResult<f64> {
    let (sides, directions) = (Sides::of(&x, &y)?, directions.as_slice()?);
    run(py, threads, |stop| {
        let (x, y) = sides.matrices()?;
        sliced::sliced_wasserstein(x, y, directions, p, stop)
    })
}
