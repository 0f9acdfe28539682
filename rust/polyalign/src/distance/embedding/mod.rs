//! Distances between sets of vectors: a model's responses and a bucket's human support.
//!
//! What may take long is given a flag, `stop`: once it is set, the result is
//! [`Error::Interrupted`](crate::Error::Interrupted) within moments.

mod gemm;
pub mod kernels;
pub mod mahalanobis;
pub mod nearest;
pub mod sliced;

use super::simd::{LANES, sum, vectorised};
use crate::error::unless_stopped;
use crate::{Error, Result};

/// Vectors, one a row; all finite.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    values: &'a [f32],
    columns: usize,
}

impl<'a> Matrix<'a> {
    /// From values `[rows, columns]`. `name` is what errors call it.
    pub fn new(name: &str, values: &'a [f32], columns: usize) -> Result<Self> {
        if columns == 0 || values.is_empty() || !values.len().is_multiple_of(columns) {
            return Err(invalid(format!(
                "{name} has {} values in rows of {columns}: at least one whole row is needed",
                values.len()
            )));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(invalid(format!(
                "{name}[{}, {}] is {}: leave out rows that are not finite",
                at / columns,
                at % columns,
                values[at]
            )));
        }
        Ok(Self { values, columns })
    }

    /// The number of vectors.
    pub fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    /// The vectors' dimension.
    pub fn columns(&self) -> usize {
        self.columns
    }

    fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// The mean vector.
    fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.columns];
        for row in self.values.chunks_exact(self.columns) {
            for (mean, &value) in mean.iter_mut().zip(row) {
                *mean += f64::from(value);
            }
        }
        let rows = self.rows() as f64;
        mean.iter_mut().for_each(|mean| *mean /= rows);
        mean
    }

    /// The values less `centre`, as doubles.
    fn centred(&self, centre: &[f64]) -> Vec<f64> {
        let rows = self.values.chunks_exact(self.columns);
        rows.flat_map(|row| row.iter().zip(centre).map(|(&value, centre)| f64::from(value) - centre))
            .collect()
    }
}

fn same_dimension(x: Matrix<'_>, y: Matrix<'_>) -> Result<()> {
    if x.columns == y.columns {
        return Ok(());
    }
    Err(invalid(format!("one side has vectors of {} numbers, the other of {}", x.columns, y.columns)))
}

fn invalid(message: String) -> Error {
    Error::Input(format!("embeddings: {message}"))
}

vectorised! {
    /// The squared Euclidean distance.
    pub(super) fn squared_distance(x: &[f32], y: &[f32]) -> f64 {
        let mut sums = [0.0; LANES];
        let ((xs, x), (ys, y)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
        for (x, y) in xs.iter().zip(ys) {
            for lane in 0..LANES {
                let difference = f64::from(x[lane]) - f64::from(y[lane]);
                sums[lane] += difference * difference;
            }
        }
        for lane in 0..x.len() {
            let difference = f64::from(x[lane]) - f64::from(y[lane]);
            sums[lane] += difference * difference;
        }
        sum(sums)
    }
}

vectorised! {
    /// The inner product.
    fn dot(x: &[f64], y: &[f64]) -> f64 {
        let mut sums = [0.0; LANES];
        let ((xs, x), (ys, y)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
        for (x, y) in xs.iter().zip(ys) {
            for lane in 0..LANES {
                sums[lane] += x[lane] * y[lane];
            }
        }
        for lane in 0..x.len() {
            sums[lane] += x[lane] * y[lane];
        }
        sum(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicBool;

    /// A set of vectors of the dimension given.
    pub(super) fn vectors(rows: usize, columns: usize) -> impl Strategy<Value = Vec<f32>> {
        let value = prop_oneof![-3.0_f32..3.0, (-2_i8..2).prop_map(f32::from)];
        (1..=rows).prop_flat_map(move |rows| prop::collection::vec(value.clone(), rows * columns))
    }

    /// Two sets of vectors, and their dimension.
    pub(super) fn two_sets(
        rows: usize,
        columns: usize,
    ) -> impl Strategy<Value = (usize, Vec<f32>, Vec<f32>)> {
        (1..=columns)
            .prop_flat_map(move |columns| (Just(columns), vectors(rows, columns), vectors(rows, columns)))
    }

    /// A flag that nobody sets.
    pub(super) static GO_ON: AtomicBool = AtomicBool::new(false);
    /// One that is set.
    pub(super) static STOP: AtomicBool = AtomicBool::new(true);

    pub(super) fn distance(x: &[f32], y: &[f32]) -> f64 {
        x.iter().zip(y).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum::<f64>().sqrt()
    }

    proptest! {
        #[test]
        fn sums_in_lanes_are_sums((_, x, y) in two_sets(1, 40)) {
            prop_assert!((squared_distance(&x, &y).sqrt() - distance(&x, &y)).abs() < 1e-12);
            let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
            let expected: f64 = wide(&x).iter().zip(wide(&y)).map(|(x, y)| x * y).sum();
            prop_assert!((dot(&wide(&x), &wide(&y)) - expected).abs() < 1e-11);
        }
    }

    #[test]
    fn what_can_not_be_used_is_an_error() {
        let error = |values: &[f32], columns| Matrix::new("x", values, columns).unwrap_err().to_string();
        assert!(error(&[1.0, 2.0, f32::NAN, 4.0], 2).contains("x[1, 0] is NaN"));
        assert!(error(&[], 2).contains("at least one whole row"));
        assert!(error(&[1.0; 3], 2).contains("3 values in rows of 2"));
    }
}
