//! Matrix products.
//!
//! In single precision they only pick candidates, so the fastest library does. In double precision
//! they are what is reported: those are worked out here, without fused operations and in one order,
//! for the same bits on every processor.

use super::unless_stopped;
use crate::Result;
use crate::distance::simd::vectorised;
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// A matrix as it lies in memory: element (i, j) at `i * strides.0 + j * strides.1`.
#[derive(Clone, Copy)]
pub(super) struct View<'a, T> {
    pub values: &'a [T],
    pub rows: usize,
    pub columns: usize,
    pub strides: (usize, usize),
}

impl<'a, T: Copy> View<'a, T> {
    /// A row-major matrix.
    pub fn new(values: &'a [T], columns: usize) -> Self {
        Self { values, rows: values.len() / columns, columns, strides: (columns, 1) }
    }

    /// Its transpose.
    pub fn transposed(self) -> Self {
        let strides = (self.strides.1, self.strides.0);
        Self { rows: self.columns, columns: self.rows, strides, ..self }
    }

    /// Asserts that every element lies within the slice.
    fn check(&self) {
        if self.rows > 0 && self.columns > 0 {
            assert!(
                (self.rows - 1) * self.strides.0 + (self.columns - 1) * self.strides.1 < self.values.len()
            );
        }
    }

    #[inline(always)]
    fn at(&self, row: usize, column: usize) -> T {
        self.values[row * self.strides.0 + column * self.strides.1]
    }
}

/// `to` = a b, row-major, in single precision.
pub(super) fn product_f32(a: View<'_, f32>, b: View<'_, f32>, to: &mut [f32]) {
    a.check();
    b.check();
    assert!(a.columns == b.rows && to.len() >= a.rows * b.columns);
    let stride = |stride: usize| stride as isize;
    // SAFETY: by the assertions every element that is read or written lies in its slice, and
    // the elements of `to` do not overlap.
    unsafe {
        matrixmultiply::sgemm(
            a.rows,
            a.columns,
            b.columns,
            1.0,
            a.values.as_ptr(),
            stride(a.strides.0),
            stride(a.strides.1),
            b.values.as_ptr(),
            stride(b.strides.0),
            stride(b.strides.1),
            0.0,
            to.as_mut_ptr(),
            stride(b.columns),
            1,
        );
    }
}

/// Rows and columns of a tile, whose sums stay in registers.
const TILE: (usize, usize) = (4, 8);
/// Terms of a sum added up at a time: a panel of them, 16 KiB, stays in the first-level cache.
const DEPTH: usize = 256;
/// Columns of b whose panels, 1 MiB, stay in the second-level cache.
const WIDTH: usize = 512;
/// Rows of a product that one thread works out at a time.
const ROWS: usize = 64;

/// `to` = a b, row-major: each element is Σ a b over blocks of `DEPTH` terms, in order.
pub(super) fn product_f64(a: View<'_, f64>, b: View<'_, f64>, to: &mut [f64]) {
    rows_of_product(a, b, 0, a.rows, &mut to[..a.rows * b.columns], &AtomicBool::new(false));
}

/// The same on all threads of the pool; an error if told to stop.
pub(super) fn product_f64_parallel(
    a: View<'_, f64>,
    b: View<'_, f64>,
    to: &mut [f64],
    stop: &AtomicBool,
) -> Result<()> {
    to.par_chunks_mut(ROWS * b.columns).enumerate().for_each(|(block, to)| {
        let first = block * ROWS;
        rows_of_product(a, b, first, (first + ROWS).min(a.rows), to, stop);
    });
    unless_stopped(stop)
}

/// The rows `first..end`; unfinished if told to stop.
fn rows_of_product(
    a: View<'_, f64>,
    b: View<'_, f64>,
    first: usize,
    end: usize,
    to: &mut [f64],
    stop: &AtomicBool,
) {
    assert!(a.columns == b.rows && to.len() == (end - first) * b.columns);
    to.fill(0.0);
    let mut left = Vec::with_capacity(DEPTH * TILE.0);
    let mut right = Vec::with_capacity(DEPTH * WIDTH);
    for columns in ranges(0, b.columns, WIDTH) {
        for terms in ranges(0, a.columns, DEPTH) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            right.clear();
            for tile in ranges(columns.0, columns.1, TILE.1) {
                pack::<{ TILE.1 }>(b.transposed(), tile, terms, &mut right);
            }
            for rows in ranges(first, end, TILE.0) {
                left.clear();
                pack::<{ TILE.0 }>(a, rows, terms, &mut left);
                let panels = right.chunks_exact(TILE.1 * (terms.1 - terms.0));
                for (tile, panel) in ranges(columns.0, columns.1, TILE.1).zip(panels) {
                    let sums = tile_of_product(&left, panel);
                    for (row, sums) in (rows.0..rows.1).zip(sums) {
                        let to = &mut to[(row - first) * b.columns..][tile.0..tile.1];
                        to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
                    }
                }
            }
        }
    }
}

/// `from..end` in steps of at most `by`, as (start, end).
fn ranges(from: usize, end: usize, by: usize) -> impl Iterator<Item = (usize, usize)> {
    (from..end).step_by(by).map(move |start| (start, (start + by).min(end)))
}

/// Appends the terms of some rows, term by term, with zeros for the rows that `N` has more.
fn pack<const N: usize>(of: View<'_, f64>, rows: (usize, usize), terms: (usize, usize), to: &mut Vec<f64>) {
    let start = to.len();
    to.resize(start + N * (terms.1 - terms.0), 0.0);
    for (lane, row) in (rows.0..rows.1).enumerate() {
        let places = to[start + lane..].iter_mut().step_by(N);
        places.zip(terms.0..terms.1).for_each(|(place, term)| *place = of.at(row, term));
    }
}

/// The sums of a tile.
type Tile = [[f64; TILE.1]; TILE.0];

vectorised! {
    /// Σ left × right over the terms of a packed panel of each.
    fn tile_of_product(left: &[f64], right: &[f64]) -> Tile {
        let mut sums = [[0.0; TILE.1]; TILE.0];
        for (left, right) in left.as_chunks::<{ TILE.0 }>().0.iter().zip(right.as_chunks::<{ TILE.1 }>().0) {
            for (sums, left) in sums.iter_mut().zip(left) {
                for lane in 0..TILE.1 {
                    sums[lane] += left * right[lane];
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use proptest::prelude::*;

    fn oracle(a: View<'_, f64>, b: View<'_, f64>) -> Vec<f64> {
        let entry = |at: usize| {
            let (i, j) = (at / b.columns, at % b.columns);
            (0..a.columns).map(|k| a.at(i, k) * b.at(k, j)).sum()
        };
        (0..a.rows * b.columns).map(entry).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn products_are_their_definition(
            rows in 1_usize..140, terms in 1_usize..600, columns in 1_usize..20, wide: bool, seed: u16,
        ) {
            let columns = if wide { columns + WIDTH } else { columns };
            // Whole numbers: every order of summation gives the same.
            let number = |at: usize| ((at * 2_654_435_761 + usize::from(seed)) % 17) as f64 - 8.0;
            let [a, b] = [rows * terms, terms * columns].map(|n| (0..n).map(number).collect::<Vec<f64>>());
            let views = [
                (View::new(&a, terms), View::new(&b, columns)),
                (View::new(&a, rows).transposed(), View::new(&b, terms).transposed()),
            ];
            for (a, b) in views {
                let mut found = vec![f64::NAN; rows * columns];
                product_f64(a, b, &mut found);
                prop_assert_eq!(&found, &oracle(a, b));
                found.fill(f64::NAN);
                product_f64_parallel(a, b, &mut found, &AtomicBool::new(false)).unwrap();
                prop_assert_eq!(found, oracle(a, b));
            }
        }
    }

    #[test]
    fn a_stopped_product_is_an_error() {
        let a = View::new(&[1.0], 1);
        let stopped = product_f64_parallel(a, a, &mut [0.0], &AtomicBool::new(true));
        assert!(matches!(stopped, Err(Error::Interrupted)));
    }
}
