//! The k nearest neighbours, exactly.
//!
//! Single-precision products of blocks find the candidates: all that might be among the k nearest,
//! given how far rounding can take the products. Their distances are then worked out in double
//! precision.

use super::gemm::{View, product_f32};
use super::{Matrix, invalid, same_dimension, squared_distance, unless_stopped};
use crate::Result;
use crate::distance::simd::vectorised;
use rayon::prelude::*;
use std::sync::atomic::AtomicBool;

/// Rows of a block of products: enough to make up for packing the other side.
const QUERIES: usize = 256;
/// Columns of a block of products: 1 MiB of them in all.
const SUPPORT: usize = 1024;
/// Products looked at together.
const GROUP: usize = 16;

/// The nearest neighbours of each query.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    /// Euclidean distances `[queries, k]`, ascending.
    pub distances: Vec<f64>,
    /// Rows of the support `[queries, k]`; of equally near ones, the first.
    pub indices: Vec<i64>,
}

impl Neighbours {
    /// The mean distance of each query to its `k` neighbours.
    pub fn means(&self, k: usize) -> Vec<f64> {
        self.distances.chunks_exact(k.max(1)).map(|near| near.iter().sum::<f64>() / k as f64).collect()
    }
}

/// The `k` rows of `support` nearest to each row of `queries`.
pub fn nearest(queries: Matrix<'_>, support: Matrix<'_>, k: usize, stop: &AtomicBool) -> Result<Neighbours> {
    same_dimension(queries, support)?;
    if k == 0 || k > support.rows() {
        return Err(invalid(format!(
            "k is {k}: it must be 1 to {}, the rows of the support",
            support.rows()
        )));
    }
    let search = Search::new(support, k);
    let blocks: Vec<Vec<(f64, u32)>> = queries
        .values
        .par_chunks(QUERIES * queries.columns)
        .map(|block| search.block(Matrix { values: block, columns: queries.columns }, stop))
        .collect::<Result<_>>()?;
    let found = || blocks.iter().flatten();
    Ok(Neighbours {
        distances: found().map(|(distance, _)| distance.sqrt()).collect(),
        indices: found().map(|&(_, index)| index.into()).collect(),
    })
}

/// A support to look in. Nearness is |y|²/2 − xy: half the squared distance less |x|²/2.
struct Search<'a> {
    support: Matrix<'a>,
    k: usize,
    half_norms: Vec<f32>,
    greatest_norm: f64,
}

/// What may yet be among the k nearest of one query.
struct Candidates {
    nearness: Vec<(f32, u32)>,
    /// Nothing above it can be.
    threshold: f32,
    /// How far a nearness can be wrong, twice.
    margin: f64,
    /// Length at which to look which are still worth keeping.
    prune_at: usize,
}

impl<'a> Search<'a> {
    fn new(support: Matrix<'a>, k: usize) -> Self {
        let zero = vec![0.0; support.columns];
        let norms: Vec<f64> =
            support.values.par_chunks(support.columns).map(|row| squared_distance(row, &zero)).collect();
        let greatest_norm = norms.iter().copied().fold(0.0, f64::max).sqrt();
        Self { support, k, half_norms: norms.iter().map(|norm| (0.5 * norm) as f32).collect(), greatest_norm }
    }

    /// The squared distances and rows of the neighbours of some queries, `k` for each.
    fn block(&self, queries: Matrix<'_>, stop: &AtomicBool) -> Result<Vec<(f64, u32)>> {
        let columns = queries.columns;
        let mut candidates: Vec<Candidates> =
            queries.values.chunks_exact(columns).map(|query| self.candidates(query)).collect();
        let mut products = vec![0.0; queries.rows() * SUPPORT.min(self.support.rows())];
        for (number, block) in self.support.values.chunks(SUPPORT * columns).enumerate() {
            unless_stopped(stop)?;
            let (first, rows) = (number * SUPPORT, block.len() / columns);
            product_f32(
                View::new(queries.values, columns),
                View::new(block, columns).transposed(),
                &mut products,
            );
            for (candidates, products) in candidates.iter_mut().zip(products.chunks_exact(rows)) {
                candidates.add(&self.half_norms[first..first + rows], products, first as u32, self.k);
            }
        }
        let rows = queries.values.chunks_exact(columns);
        Ok(rows.zip(candidates).flat_map(|(query, candidates)| self.check(query, candidates)).collect())
    }

    fn candidates(&self, query: &[f32]) -> Candidates {
        // A product of n terms is within n u |x| |y| of the truth in any order of summation, to first
        // order; the rest are the roundings of the norm, of the difference and of the threshold.
        let unit = f64::from(f32::EPSILON) / 2.0;
        let zero = vec![0.0; query.len()];
        let norm = squared_distance(query, &zero).sqrt();
        let size = self.greatest_norm * (norm + self.greatest_norm);
        let error = 1.1 * unit * (query.len() as f64 + 8.0) * size + 1e-35;
        // Close to overflow nothing is known: every row is then a candidate.
        let margin = if size < 1e37 { 2.0 * error } else { f64::INFINITY };
        Candidates { nearness: Vec::new(), threshold: f32::INFINITY, margin, prune_at: 2 * self.k + GROUP }
    }

    fn check(&self, query: &[f32], candidates: Candidates) -> Vec<(f64, u32)> {
        let mut found: Vec<(f64, u32)> = candidates
            .nearness
            .iter()
            .filter(|(nearness, _)| may_be_nearer(*nearness, candidates.threshold))
            .map(|&(_, row)| (squared_distance(query, self.support.row(row as usize)), row))
            .collect();
        found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        found.truncate(self.k);
        found
    }
}

impl Candidates {
    fn add(&mut self, half_norms: &[f32], products: &[f32], first: u32, k: usize) {
        let length = collect_near(half_norms, products, self.threshold, first, &mut self.nearness);
        if length > self.prune_at {
            let (_, kth, _) = self.nearness.select_nth_unstable_by(k - 1, |a, b| a.0.total_cmp(&b.0));
            self.threshold = (f64::from(kth.0) + self.margin) as f32;
            let threshold = self.threshold;
            self.nearness.retain(|(nearness, _)| may_be_nearer(*nearness, threshold));
            self.prune_at = 2 * self.nearness.len().max(k) + GROUP;
        }
    }
}

/// Not above the threshold; NaN, after an overflow, is not above anything.
#[inline(always)]
fn may_be_nearer(nearness: f32, threshold: f32) -> bool {
    !matches!(nearness.partial_cmp(&threshold), Some(std::cmp::Ordering::Greater))
}

vectorised! {
    /// Appends the rows whose nearness is not above the threshold; how many there are now.
    fn collect_near(
        half_norms: &[f32], products: &[f32], threshold: f32, first: u32, to: &mut Vec<(f32, u32)>,
    ) -> usize {
        let groups = half_norms.chunks(GROUP).zip(products.chunks(GROUP));
        for (group, (norms, products)) in groups.enumerate() {
            let above = match (norms.first_chunk::<GROUP>(), products.first_chunk::<GROUP>()) {
                (Some(norms), Some(products)) => {
                    let mut above = 0;
                    for lane in 0..GROUP {
                        above += u32::from(norms[lane] - products[lane] > threshold);
                    }
                    above
                }
                _ => 0,
            };
            if above == GROUP as u32 {
                continue;
            }
            for (lane, (norm, product)) in norms.iter().zip(products).enumerate() {
                let nearness = norm - product;
                if may_be_nearer(nearness, threshold) {
                    to.push((nearness, first + (group * GROUP + lane) as u32));
                }
            }
        }
        to.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GO_ON, STOP, distance, two_sets};
    use super::*;
    use proptest::prelude::*;

    /// All distances, sorted.
    fn oracle(queries: Matrix<'_>, support: Matrix<'_>, k: usize) -> Vec<f64> {
        let each = (0..queries.rows()).flat_map(|query| {
            let mut all: Vec<f64> =
                (0..support.rows()).map(|row| distance(queries.row(query), support.row(row))).collect();
            all.sort_by(f64::total_cmp);
            all.truncate(k);
            all
        });
        each.collect()
    }

    fn check(columns: usize, x: &[f32], y: &[f32], k: usize) {
        let [x, y] = [x, y].map(|values| Matrix::new("x", values, columns).unwrap());
        let found = nearest(x, y, k, &GO_ON).unwrap();
        for (at, (found, expected)) in found.distances.iter().zip(oracle(x, y, k)).enumerate() {
            assert!((found - expected).abs() <= 1e-12 * expected.max(1.0), "{at}: {found} {expected}");
        }
        for (at, &row) in found.indices.iter().enumerate() {
            assert_eq!(found.distances[at], squared_distance(x.row(at / k), y.row(row as usize)).sqrt());
        }
    }

    proptest! {
        #[test]
        fn neighbours_are_those_of_sorting_all((columns, x, y) in two_sets(60, 20), k in 1_usize..12) {
            let k = k.min(y.len() / columns);
            check(columns, &x, &y, k);
        }
    }

    /// Numbers that look random, −1 to 1.
    fn noise(count: usize, seed: u32) -> Vec<f32> {
        let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        let states = std::iter::successors(Some(seed), next).skip(1).take(count);
        states.map(|state| (state >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    #[test]
    fn neighbours_over_several_blocks() {
        check(7, &noise(7 * (QUERIES + 3), 1), &noise(7 * (2 * SUPPORT + 5), 2), 10);
    }

    #[test]
    fn neighbours_far_from_the_origin_and_close_to_overflow() {
        let far = |seed| noise(5 * 1500, seed).iter().map(|v| 1000.0 + v * 1e-2).collect::<Vec<f32>>();
        check(5, &far(3)[..50], &far(4), 5);
        let huge = |seed| noise(5 * 1500, seed).iter().map(|v| v * 1e38).collect::<Vec<f32>>();
        let [x, y] = [huge(5)[..10].to_vec(), huge(6)];
        let [x, y] = [&x, &y].map(|values| Matrix::new("x", values, 5).unwrap());
        let found = nearest(x, y, 3, &GO_ON).unwrap();
        for (found, expected) in found.distances.iter().zip(oracle(x, y, 3)) {
            assert!((found / expected - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn the_first_of_equals_comes_first() {
        let y = [1.0, 0.0, 1.0, 0.0, 0.0];
        let [x, y] = [&[0.0_f32][..], &y].map(|values| Matrix::new("x", values, 1).unwrap());
        let found = nearest(x, y, 4, &GO_ON).unwrap();
        assert_eq!(found.indices, [1, 3, 4, 0]);
        assert_eq!(found.means(4), [0.25]);
    }

    #[test]
    fn what_can_not_be_used_is_an_error() {
        let [x, y] = [1, 2].map(|columns| Matrix::new("x", &[1.0, 2.0], columns).unwrap());
        assert!(nearest(x, y, 1, &GO_ON).unwrap_err().to_string().contains("vectors of 1 numbers"));
        assert_eq!(nearest(x, x, 1, &STOP).unwrap_err().to_string(), "interrupted");
        assert!(nearest(x, x, 3, &GO_ON).unwrap_err().to_string().contains("k is 3: it must be 1 to 2"));
    }
}
