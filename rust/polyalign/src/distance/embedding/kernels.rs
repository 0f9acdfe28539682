//! Distances that are means over pairs of vectors: maximum mean discrepancy and energy distance.

use super::gemm::{View, product_f64};
use super::{Matrix, invalid, same_dimension, unless_stopped};
use crate::Result;
use rayon::prelude::*;
use std::sync::atomic::AtomicBool;

/// Rows of a block of pairs.
const BLOCK: usize = 128;

/// Vectors that the median heuristic looks at, at most.
const MEDIAN_OF: usize = 2_000;

/// Where |x − y|² is less than this part of |x|² + |y|², it is worked out from x − y.
const CANCELS: f64 = 1e-6;

/// The squared maximum mean discrepancy under the kernel exp(−|x − y|² / (2 bandwidth²)).
///
/// `unbiased` is the U-statistic, without the pairs of a vector and itself: its mean is 0 for equal
/// distributions, so it can be negative, and both sides need two rows. Otherwise the V-statistic, at least 0.
pub fn mmd_squared(
    x: Matrix<'_>,
    y: Matrix<'_>,
    bandwidth: f64,
    unbiased: bool,
    stop: &AtomicBool,
) -> Result<f64> {
    if !(bandwidth > 0.0 && bandwidth.is_finite()) {
        return Err(invalid(format!("bandwidth is {bandwidth}: it must be finite and above 0")));
    }
    if unbiased && (x.rows() < 2 || y.rows() < 2) {
        return Err(invalid("the unbiased form needs two rows on each side".into()));
    }
    let (x, y) = centred(x, y)?;
    let factor = -0.5 / (bandwidth * bandwidth);
    let kernel = |squared: f64| libm::exp(factor * squared);
    let (n, m) = (x.rows() as f64, y.rows() as f64);
    let across = x.sum_with(&y, stop, kernel)? / (n * m);
    let within = |set: &Set, n: f64| -> Result<f64> {
        let pairs = 2.0 * set.sum_of_pairs(stop, kernel)?;
        Ok(if unbiased { pairs / (n * (n - 1.0)) } else { (pairs + n) / (n * n) })
    };
    let squared = within(&x, n)? + within(&y, m)? - 2.0 * across;
    Ok(if unbiased { squared } else { squared.max(0.0) })
}

/// The unbiased squared discrepancy of each division of rows in two: `labels` `[divisions, rows]` are 1 for the rows of the
/// first part, else 0; both parts have two rows at least. The kernel is that of [`mmd_squared`], and is nowhere kept whole.
pub fn divided_mmd_squared(
    values: &[f64],
    columns: usize,
    bandwidth: f64,
    labels: &[f64],
    stop: &AtomicBool,
) -> Result<Vec<f64>> {
    if !(bandwidth > 0.0 && bandwidth.is_finite()) {
        return Err(invalid(format!("bandwidth is {bandwidth}: it must be finite and above 0")));
    }
    if columns == 0 || values.is_empty() || !values.len().is_multiple_of(columns) {
        return Err(invalid(format!("{} values in rows of {columns}", values.len())));
    }
    let rows = values.len() / columns;
    if !labels.len().is_multiple_of(rows) {
        return Err(invalid(format!("{} labels of {rows} rows", labels.len())));
    }
    let set = Set::new(values.to_vec(), columns);
    let divisions = labels.len() / rows;
    let factor = -0.5 / (bandwidth * bandwidth);
    // Of each block: within the first part and touching it, for each division; and all there is.
    let of_block = |(number, block): (usize, &[f64])| {
        let (first, height) = (number * BLOCK, block.len() / columns);
        let mut products = vec![0.0; height * BLOCK];
        let mut weighed = vec![0.0; height * divisions];
        let mut part = vec![0.0; height * divisions];
        let mut sums = vec![0.0; height];
        for begin in (0..rows).step_by(BLOCK) {
            unless_stopped(stop)?;
            let width = BLOCK.min(rows - begin);
            let there = View::new(&set.values[begin * columns..(begin + width) * columns], columns);
            product_f64(View::new(block, columns), there.transposed(), &mut products);
            for (i, products) in products.chunks_exact_mut(width).take(height).enumerate() {
                for (j, product) in products.iter_mut().enumerate() {
                    let (i, j) = (first + i, begin + j);
                    *product =
                        if i == j { 0.0 } else { libm::exp(factor * set.squared(i, &set, j, *product)) };
                }
                sums[i] += products.iter().sum::<f64>();
            }
            let of_columns =
                View { values: &labels[begin..], rows: width, columns: divisions, strides: (1, rows) };
            product_f64(View::new(&products[..height * width], width), of_columns, &mut part);
            weighed.iter_mut().zip(&part).for_each(|(sum, part)| *sum += part);
        }
        let mut found = vec![(0.0, 0.0); divisions];
        for (i, weighed) in weighed.chunks_exact(divisions).enumerate() {
            for (division, (found, weighed)) in found.iter_mut().zip(weighed).enumerate() {
                let label = labels[division * rows + first + i];
                *found = (found.0 + label * weighed, found.1 + label * sums[i]);
            }
        }
        Ok((found, sums.iter().sum::<f64>()))
    };
    let blocks =
        set.values.par_chunks(BLOCK * columns).enumerate().map(of_block).collect::<Result<Vec<_>>>()?;
    let all: f64 = blocks.iter().map(|block| block.1).sum();
    let of_division = |division: usize| {
        let (within, touched) = blocks
            .iter()
            .map(|block| block.0[division])
            .fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        let first: f64 = labels[division * rows..(division + 1) * rows].iter().sum();
        let second = rows as f64 - first;
        within / (first * (first - 1.0)) + (all - 2.0 * touched + within) / (second * (second - 1.0))
            - 2.0 * (touched - within) / (first * second)
    };
    Ok((0..divisions).map(of_division).collect())
}

/// The median of the distances between different vectors of both sides: the usual bandwidth.
///
/// Of more than 2,000 vectors, as many are taken, evenly spaced.
pub fn median_distance(x: Matrix<'_>, y: Matrix<'_>, stop: &AtomicBool) -> Result<f64> {
    let (x, y) = centred(x, y)?;
    let columns = x.columns;
    let mut pooled = x.values;
    pooled.extend(y.values);
    let rows = pooled.len() / columns;
    if rows > MEDIAN_OF {
        let row = |number: usize| &pooled[number * rows / MEDIAN_OF * columns..][..columns];
        pooled = (0..MEDIAN_OF).flat_map(row).copied().collect();
    }
    let mut distances = Set::new(pooled, columns).pair_distances(stop)?;
    let middle = distances.len() / 2;
    let even = distances.len().is_multiple_of(2);
    let (below, &mut upper, _) = distances.select_nth_unstable_by(middle, f64::total_cmp);
    let lower = if even { below.iter().copied().fold(0.0, f64::max) } else { upper };
    let median = 0.5 * (lower.sqrt() + upper.sqrt());
    if median > 0.0 {
        return Ok(median);
    }
    Err(invalid("the median distance is 0, most vectors being the same: give a bandwidth".into()))
}

/// √(2 E|x − y| − E|x − x′| − E|y − y′|), each mean over all pairs: `scipy.stats.energy_distance` in
/// any dimension.
pub fn energy(x: Matrix<'_>, y: Matrix<'_>, stop: &AtomicBool) -> Result<f64> {
    let (x, y) = centred(x, y)?;
    let (n, m) = (x.rows() as f64, y.rows() as f64);
    let across = x.sum_with(&y, stop, f64::sqrt)? / (n * m);
    let within =
        |set: &Set, n: f64| -> Result<f64> { Ok(2.0 * set.sum_of_pairs(stop, f64::sqrt)? / (n * n)) };
    let within = within(&x, n)? + within(&y, m)?;
    Ok((2.0 * across - within).max(0.0).sqrt())
}

/// Vectors about a common centre, with their squared norms.
struct Set {
    values: Vec<f64>,
    columns: usize,
    norms: Vec<f64>,
}

/// Both sides less the mean of the second, so that products lose few digits.
fn centred(x: Matrix<'_>, y: Matrix<'_>) -> Result<(Set, Set)> {
    same_dimension(x, y)?;
    let centre = y.mean();
    Ok((Set::new(x.centred(&centre), x.columns), Set::new(y.centred(&centre), y.columns)))
}

impl Set {
    fn new(values: Vec<f64>, columns: usize) -> Self {
        let norms = values.chunks_exact(columns).map(|row| super::dot(row, row)).collect();
        Self { values, columns, norms }
    }

    fn rows(&self) -> usize {
        self.norms.len()
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// Σ of `of(|x − y|²)` over all x here and y there.
    fn sum_with(&self, other: &Set, stop: &AtomicBool, of: impl Fn(f64) -> f64 + Sync) -> Result<f64> {
        let add = |total: &mut f64, _, _, squared| *total += of(squared);
        Ok(self.fold_blocks(other, stop, |_| 0, || 0.0, add)?.into_iter().sum())
    }

    /// Σ of `of(|x − x′|²)` over all pairs, each once.
    fn sum_of_pairs(&self, stop: &AtomicBool, of: impl Fn(f64) -> f64 + Sync) -> Result<f64> {
        let add = |total: &mut f64, i, j, squared| {
            if i < j {
                *total += of(squared);
            }
        };
        Ok(self.fold_blocks(self, stop, |first| first, || 0.0, add)?.into_iter().sum())
    }

    /// |x − x′|² of all pairs; one 0 where there is none.
    fn pair_distances(&self, stop: &AtomicBool) -> Result<Vec<f64>> {
        let add = |found: &mut Vec<f64>, i, j, squared| {
            if i < j {
                found.push(squared);
            }
        };
        let mut found = self.fold_blocks(self, stop, |first| first, Vec::new, add)?.concat();
        if found.is_empty() {
            found.push(0.0);
        }
        Ok(found)
    }

    /// Folds (i, j, squared distance) over the rows j of `other` from block `from(first row)` on, for
    /// each block of rows here.
    fn fold_blocks<T: Send>(
        &self,
        other: &Set,
        stop: &AtomicBool,
        from: impl Fn(usize) -> usize + Sync,
        start: impl Fn() -> T + Sync,
        add: impl Fn(&mut T, usize, usize, f64) + Sync,
    ) -> Result<Vec<T>> {
        let columns = self.columns;
        let blocks = self.values.par_chunks(BLOCK * columns).enumerate();
        let fold = |(number, block): (usize, &[f64])| {
            let (first, rows) = (number * BLOCK, block.len() / columns);
            let mut folded = start();
            let mut products = vec![0.0; rows * BLOCK];
            for begin in (from(first)..other.rows()).step_by(BLOCK) {
                unless_stopped(stop)?;
                let end = (begin + BLOCK).min(other.rows());
                let there = View::new(&other.values[begin * columns..end * columns], columns);
                product_f64(View::new(block, columns), there.transposed(), &mut products);
                for (i, products) in (first..).zip(products.chunks_exact(end - begin)).take(rows) {
                    for (j, product) in (begin..end).zip(products) {
                        add(&mut folded, i, j, self.squared(i, other, j, *product));
                    }
                }
            }
            Ok(folded)
        };
        blocks.map(fold).collect()
    }

    #[inline(always)]
    fn squared(&self, i: usize, other: &Set, j: usize, product: f64) -> f64 {
        let norms = self.norms[i] + other.norms[j];
        let squared = norms - 2.0 * product;
        if squared > CANCELS * norms {
            return squared;
        }
        self.row(i).iter().zip(other.row(j)).map(|(x, y)| (x - y) * (x - y)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GO_ON, STOP, distance, two_sets};
    use super::*;
    use proptest::prelude::*;

    fn mean(x: Matrix<'_>, y: Matrix<'_>, skip_same: bool, of: impl Fn(f64) -> f64) -> f64 {
        let (mut total, mut count) = (0.0, 0);
        for i in 0..x.rows() {
            for j in (0..y.rows()).filter(|&j| !(skip_same && i == j)) {
                total += of(distance(x.row(i), y.row(j)));
                count += 1;
            }
        }
        total / f64::from(count)
    }

    proptest! {
        #[test]
        fn distances_are_their_definition((columns, x, y) in two_sets(160, 4), bandwidth in 0.3_f64..3.0) {
            let [x, y] = [&x, &y].map(|values| Matrix::new("x", values, columns).unwrap());
            for unbiased in [false, true] {
                if unbiased && (x.rows() < 2 || y.rows() < 2) {
                    continue;
                }
                let kernel = |d: f64| (-d * d / (2.0 * bandwidth * bandwidth)).exp();
                let expected = mean(x, x, unbiased, kernel) + mean(y, y, unbiased, kernel) - 2.0 * mean(x, y, false, kernel);
                let found = mmd_squared(x, y, bandwidth, unbiased, &GO_ON).unwrap();
                prop_assert!((found - expected).abs() < 1e-12, "{found} {expected}");
            }
            let expected = 2.0 * mean(x, y, false, |d| d) - mean(x, x, false, |d| d) - mean(y, y, false, |d| d);
            let found = energy(x, y, &GO_ON).unwrap();
            prop_assert!((found * found - expected).abs() < 1e-11, "{found} {expected}");
            prop_assert!((found - energy(y, x, &GO_ON).unwrap()).abs() < 1e-6);
        }

        #[test]
        fn a_set_is_at_no_distance_from_itself((columns, x, _) in two_sets(40, 4)) {
            let x = Matrix::new("x", &x, columns).unwrap();
            // Its square is what rounding left of a difference of sums.
            prop_assert!(energy(x, x, &GO_ON).unwrap().powi(2) < 1e-13);
            prop_assert!(mmd_squared(x, x, 1.0, false, &GO_ON).unwrap() < 1e-14);
        }
    }

    #[test]
    fn divisions_are_their_definition() {
        let values: Vec<f32> =
            (0..600_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 20) as f32 / 1000.0).collect();
        let (columns, rows) = (2, 300);
        let doubles: Vec<f64> = values.iter().copied().map(f64::from).collect();
        let mut labels = vec![0.0; 2 * rows];
        labels[..130].fill(1.0);
        labels[rows..].iter_mut().step_by(3).for_each(|label| *label = 1.0);
        let found = divided_mmd_squared(&doubles, columns, 1.3, &labels, &GO_ON).unwrap();
        for (labels, found) in labels.chunks(rows).zip(found) {
            let part = |of: f64| -> Vec<f32> {
                let kept = values.chunks(columns).zip(labels).filter(|(_, label)| **label == of);
                kept.flat_map(|(row, _)| row.to_vec()).collect()
            };
            let [x, y] = [part(1.0), part(0.0)];
            let [x, y] = [&x, &y].map(|values| Matrix::new("x", values, columns).unwrap());
            let expected = mmd_squared(x, y, 1.3, true, &GO_ON).unwrap();
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert!(divided_mmd_squared(&doubles, columns, 0.0, &labels, &GO_ON).is_err());
        assert!(divided_mmd_squared(&doubles, columns, 1.0, &labels[1..], &GO_ON).is_err());
        assert_eq!(
            divided_mmd_squared(&doubles, 2, 1.0, &labels, &STOP).unwrap_err().to_string(),
            "interrupted"
        );
    }

    #[test]
    fn closed_forms() {
        let [x, y] = [&[0.0_f32][..], &[3.0]].map(|values| Matrix::new("x", values, 1).unwrap());
        assert_eq!(energy(x, y, &GO_ON).unwrap(), 6.0_f64.sqrt());
        assert_eq!(median_distance(x, y, &GO_ON).unwrap(), 3.0);
        let biased = mmd_squared(x, y, 3.0, false, &GO_ON).unwrap();
        assert!((biased - 2.0 * (1.0 - (-0.5_f64).exp())).abs() < 1e-15);
    }

    #[test]
    fn the_median_is_that_of_all_pairs() {
        let [x, y] = [&[0.0_f32, 1.0][..], &[3.0, 7.0]].map(|values| Matrix::new("x", values, 1).unwrap());
        // 1, 2, 3, 4, 6, 7
        assert_eq!(median_distance(x, y, &GO_ON).unwrap(), 3.5);
    }

    #[test]
    fn what_can_not_be_used_is_an_error() {
        let x = Matrix::new("x", &[1.0], 1).unwrap();
        assert!(mmd_squared(x, x, 0.0, false, &GO_ON).unwrap_err().to_string().contains("bandwidth is 0"));
        assert!(mmd_squared(x, x, 1.0, true, &GO_ON).unwrap_err().to_string().contains("two rows"));
        assert_eq!(energy(x, x, &STOP).unwrap_err().to_string(), "interrupted");
        assert!(median_distance(x, x, &GO_ON).unwrap_err().to_string().contains("give a bandwidth"));
    }
}
