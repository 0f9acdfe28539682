//! Mahalanobis distance under a covariance shrunk as Ledoit and Wolf have it.

use super::gemm::{View, product_f64_parallel};
use super::{Matrix, dot, invalid, same_dimension, unless_stopped};
use crate::Result;
use crate::distance::simd::{LANES, Lanes, vectorised};
use rayon::prelude::*;
use std::sync::atomic::AtomicBool;

/// Mean and covariance of a support, (1 − s) S + s μ I with S the maximum-likelihood covariance, μ its
/// mean eigenvalue and s the shrinkage.
#[derive(Clone, Debug)]
pub struct Gaussian {
    mean: Vec<f64>,
    /// The covariance's Cholesky factor, lower, row-major.
    factor: Vec<f64>,
    shrinkage: f64,
}

impl Gaussian {
    /// From a support, with a shrinkage of 0 to 1, or else Ledoit and Wolf's ("A well-conditioned
    /// estimator for large-dimensional covariance matrices", 2004), as scikit-learn's `LedoitWolf`.
    pub fn fit(support: Matrix<'_>, shrinkage: Option<f64>, stop: &AtomicBool) -> Result<Self> {
        let (n, columns) = (support.rows() as f64, support.columns);
        let mean = support.mean();
        let centred = support.centred(&mean);
        let view = View::new(&centred, columns);
        let mut covariance = vec![0.0; columns * columns];
        product_f64_parallel(view.transposed(), view, &mut covariance, stop)?;
        covariance.iter_mut().for_each(|value| *value /= n);
        let scale = (0..columns).map(|i| covariance[i * columns + i]).sum::<f64>() / columns as f64;
        let shrinkage = match shrinkage {
            None => ledoit_wolf(&centred, &covariance, scale),
            Some(given) if (0.0..=1.0).contains(&given) => given,
            Some(given) => return Err(invalid(format!("shrinkage is {given}: it must be 0 to 1"))),
        };
        covariance.iter_mut().for_each(|value| *value *= 1.0 - shrinkage);
        (0..columns).for_each(|i| covariance[i * columns + i] += shrinkage * scale);
        factorise(&mut covariance, columns, stop)?;
        Ok(Self { mean, factor: covariance, shrinkage })
    }

    /// The shrinkage in force.
    pub fn shrinkage(&self) -> f64 {
        self.shrinkage
    }

    /// √((x − mean)ᵀ C⁻¹ (x − mean)) for each row.
    pub fn distances(&self, x: Matrix<'_>, stop: &AtomicBool) -> Result<Vec<f64>> {
        let columns = self.mean.len();
        same_dimension(x, Matrix { values: &[], columns })?;
        let blocks: Vec<Lanes> = x
            .values
            .par_chunks(LANES * columns)
            .map(|block| {
                unless_stopped(stop)?;
                let mut rows = vec![[0.0; LANES]; columns];
                for (lane, row) in block.chunks_exact(columns).enumerate() {
                    for (at, &value) in row.iter().enumerate() {
                        rows[at][lane] = f64::from(value) - self.mean[at];
                    }
                }
                Ok(squared_norms(&self.factor, &mut rows).map(f64::sqrt))
            })
            .collect::<Result<_>>()?;
        Ok(blocks.into_iter().flatten().take(x.rows()).collect())
    }
}

/// The shrinkage: the part of the covariance's distance from μI that is its own noise.
fn ledoit_wolf(centred: &[f64], covariance: &[f64], scale: f64) -> f64 {
    let columns = covariance.len().isqrt();
    let (n, p) = ((centred.len() / columns) as f64, columns as f64);
    let norms = centred.chunks_exact(columns).map(|row| dot(row, row));
    let fourth: f64 = norms.map(|norm| norm * norm).sum();
    let squares = dot(covariance, covariance);
    let noise = (fourth / n - squares) / (n * p);
    let spread = (squares - p * scale * scale) / p;
    let noise = noise.min(spread);
    if noise > 0.0 { noise / spread } else { 0.0 }
}

/// Cholesky: the lower triangle becomes the factor.
fn factorise(matrix: &mut [f64], columns: usize, stop: &AtomicBool) -> Result<()> {
    let greatest = (0..columns).map(|i| matrix[i * columns + i]).fold(0.0, f64::max);
    for i in 0..columns {
        unless_stopped(stop)?;
        for j in 0..=i {
            let (above, row) = matrix.split_at_mut(i * columns);
            if i == j {
                let pivot = row[i] - dot(&row[..i], &row[..i]);
                // Below this a pivot is what rounding left.
                if pivot <= greatest * f64::EPSILON * columns as f64 {
                    return Err(invalid(
                        "the support's covariance is singular: give more rows, or a shrinkage above 0".into(),
                    ));
                }
                row[i] = pivot.sqrt();
            } else {
                let upper = &above[j * columns..(j + 1) * columns];
                row[j] = (row[j] - dot(&row[..j], &upper[..j])) / upper[j];
            }
        }
    }
    Ok(())
}

vectorised! {
    /// |L⁻¹ x|² of the vector in each lane, by forward substitution.
    fn squared_norms(factor: &[f64], vectors: &mut [Lanes]) -> Lanes {
        let columns = vectors.len();
        let mut norms = [0.0; LANES];
        for i in 0..columns {
            let row = &factor[i * columns..i * columns + i + 1];
            let (solved, rest) = vectors.split_at_mut(i);
            let mut value = rest[0];
            for (entry, solved) in row.iter().zip(solved) {
                for lane in 0..LANES {
                    value[lane] -= entry * solved[lane];
                }
            }
            for lane in 0..LANES {
                value[lane] /= row[i];
                norms[lane] += value[lane] * value[lane];
            }
            rest[0] = value;
        }
        norms
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GO_ON, STOP, two_sets};
    use super::*;
    use proptest::prelude::*;

    /// By Gaussian elimination, on a covariance summed entry by entry.
    fn oracle(support: Matrix<'_>, shrinkage: f64, x: &[f32]) -> f64 {
        let (n, p) = (support.rows(), support.columns());
        let mean: Vec<f64> =
            (0..p).map(|j| (0..n).map(|i| f64::from(support.row(i)[j])).sum::<f64>() / n as f64).collect();
        let off = |i: usize, j: usize| f64::from(support.row(i)[j]) - mean[j];
        let entry = |a: usize, b: usize| (0..n).map(|i| off(i, a) * off(i, b)).sum::<f64>() / n as f64;
        let scale = (0..p).map(|j| entry(j, j)).sum::<f64>() / p as f64;
        let mut rows: Vec<Vec<f64>> = (0..p)
            .map(|a| {
                let shrunk =
                    |b| (1.0 - shrinkage) * entry(a, b) + if a == b { shrinkage * scale } else { 0.0 };
                (0..p).map(shrunk).chain([f64::from(x[a]) - mean[a]]).collect()
            })
            .collect();
        for a in 0..p {
            let pivot = rows[a].clone();
            for (b, row) in rows.iter_mut().enumerate() {
                let factor = row[a] / pivot[a];
                if b != a {
                    row.iter_mut().zip(&pivot).for_each(|(value, pivot)| *value -= factor * pivot);
                }
            }
        }
        (0..p).map(|a| (f64::from(x[a]) - mean[a]) * rows[a][p] / rows[a][a]).sum::<f64>().sqrt()
    }

    proptest! {
        #[test]
        fn distances_are_their_definition((columns, x, y) in two_sets(30, 12), shrinkage in 0.05_f64..1.0) {
            let [x, y] = [&x, &y].map(|values| Matrix::new("x", values, columns).unwrap());
            let spread = y.centred(&y.mean()).iter().any(|value| value.abs() > 1e-3);
            prop_assume!(spread);
            let fit = Gaussian::fit(y, Some(shrinkage), &GO_ON).unwrap();
            for (row, found) in fit.distances(x, &GO_ON).unwrap().into_iter().enumerate() {
                let expected = oracle(y, shrinkage, x.row(row));
                prop_assert!((found - expected).abs() <= 1e-8 * expected.max(1.0), "{found} {expected}");
            }
        }
    }

    #[test]
    fn closed_forms() {
        // Variance 4 along one axis and 1 along the other.
        let y = [2.0, 1.0, -2.0, 1.0, 2.0, -1.0, -2.0, -1.0];
        let [x, y] = [&[4.0, 0.0, 0.0, 3.0][..], &y].map(|values| Matrix::new("x", values, 2).unwrap());
        let found = Gaussian::fit(y, Some(0.0), &GO_ON).unwrap().distances(x, &GO_ON).unwrap();
        assert_eq!(found, [2.0, 3.0]);
    }

    #[test]
    fn what_can_not_be_used_is_an_error() {
        let same = Matrix::new("x", &[1.0; 6], 2).unwrap();
        let error = |shrinkage, stop| Gaussian::fit(same, shrinkage, stop).unwrap_err().to_string();
        assert!(error(None, &GO_ON).contains("singular"));
        assert!(error(Some(1.5), &GO_ON).contains("shrinkage is 1.5"));
        assert_eq!(error(None, &STOP), "interrupted");
        let fit = Gaussian::fit(same, Some(0.5), &GO_ON);
        assert!(fit.unwrap_err().to_string().contains("singular"));
    }
}
