//! What one bucket has counted so far.

use super::distribution::{Cell, Totals};
use super::features::FeatureInfo;
use super::fixed::ABSENT;
use super::sample::Smallest;
use crate::features::bins::Cut;

/// Rows of values in units, feature by feature: `[features, rows]`.
pub(super) struct Block {
    pub rows: usize,
    pub columns: Vec<i64>,
}

/// Buckets of at most so many rows keep the rows: most of their bins would be empty.
const FEW_ROWS: usize = 96;

/// A bucket's counts.
pub(super) struct Accumulator {
    pub rows: u64,
    pub sample: Smallest,
    counts: Counts,
}

enum Counts {
    /// All values, feature by feature.
    Few(Vec<Vec<i64>>),
    Dense(Dense),
    /// Values and how often each came; those not sorted in yet.
    Exact(Vec<Exact>),
}

/// A sum got too large to hold, of the feature of this number.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooLarge(pub usize);

impl Accumulator {
    pub fn new(features: &[FeatureInfo], sample_size: u32) -> Self {
        let exact = features.iter().any(|feature| feature.cut.is_none());
        let counts = if exact {
            Counts::Exact(features.iter().map(|_| Exact::default()).collect())
        } else {
            Counts::Few(vec![Vec::new(); features.len()])
        };
        Self { rows: 0, sample: Smallest::new(sample_size), counts }
    }

    pub fn add(&mut self, features: &[FeatureInfo], layout: &Layout, block: &Block) -> Result<(), TooLarge> {
        self.rows += block.rows as u64;
        let columns = block.columns.chunks_exact(block.rows);
        match &mut self.counts {
            Counts::Few(values) => {
                values.iter_mut().zip(columns).for_each(|(values, column)| values.extend_from_slice(column));
                if self.rows > FEW_ROWS as u64 {
                    self.counts = Counts::Dense(Dense::from_values(features, layout, values)?);
                }
                Ok(())
            }
            Counts::Dense(dense) => dense.add(features, layout, columns),
            Counts::Exact(exact) => {
                exact.iter_mut().zip(columns).for_each(|(exact, column)| exact.add(column));
                Ok(())
            }
        }
    }

    /// The totals and bins of every feature, in order.
    pub fn finish(
        self,
        features: &[FeatureInfo],
        layout: &Layout,
        mut each: impl FnMut(Totals, &mut dyn Iterator<Item = Cell>),
    ) -> Result<(), TooLarge> {
        let dense = match self.counts {
            Counts::Few(values) => Dense::from_values(features, layout, &values)?,
            Counts::Dense(dense) => dense,
            Counts::Exact(exact) => {
                for (feature, exact) in exact.into_iter().enumerate() {
                    let (totals, counts) = exact.finish().ok_or(TooLarge(feature))?;
                    let cell = |(index, count)| Cell { index, count, sum: 0 };
                    each(totals, &mut counts.into_iter().map(cell));
                }
                return Ok(());
            }
        };
        for (feature, &totals) in dense.totals.iter().enumerate() {
            each(totals, &mut dense.cells(layout, feature));
        }
        Ok(())
    }

    /// How many bins have something in them, at most.
    pub fn cell_bound(&self) -> usize {
        match &self.counts {
            Counts::Few(values) => values.iter().map(Vec::len).sum(),
            Counts::Dense(dense) => dense.bins.iter().filter(|bin| bin[0] > 0).count(),
            Counts::Exact(exact) => exact.iter().map(|e| e.counts.len() + e.pending.len()).sum(),
        }
    }
}

/// Where each feature's bins begin in a bucket's.
pub(super) struct Layout {
    starts: Vec<usize>,
}

impl Layout {
    pub fn new(features: &[FeatureInfo]) -> Self {
        let mut starts = vec![0];
        for feature in features {
            starts.push(starts[starts.len() - 1] + feature.bins.count().unwrap_or(0) as usize);
        }
        Self { starts }
    }
}

/// All bins of a bucket: how many values each has, and the sum of their offsets.
///
/// Allocated as zeros, so that pages of bins that no value falls into take no memory.
struct Dense {
    bins: Vec<[u64; 2]>,
    totals: Vec<Totals>,
}

impl Dense {
    fn from_values(features: &[FeatureInfo], layout: &Layout, values: &[Vec<i64>]) -> Result<Self, TooLarge> {
        let bins = vec![[0; 2]; layout.starts[features.len()]];
        let mut dense = Self { bins, totals: vec![Totals::default(); features.len()] };
        dense.add(features, layout, values.iter().map(Vec::as_slice))?;
        Ok(dense)
    }

    fn add<'a>(
        &mut self,
        features: &[FeatureInfo],
        layout: &Layout,
        columns: impl Iterator<Item = &'a [i64]>,
    ) -> Result<(), TooLarge> {
        for (at, (feature, column)) in features.iter().zip(columns).enumerate() {
            let Some(cut) = feature.cut else { continue };
            let bins = &mut self.bins[layout.starts[at]..layout.starts[at + 1]];
            let part = add_column(bins, cut, column);
            let totals = &mut self.totals[at];
            *totals = part.and_then(|part| totals.plus(part)).ok_or(TooLarge(at))?;
        }
        Ok(())
    }

    fn cells(&self, layout: &Layout, feature: usize) -> impl Iterator<Item = Cell> + '_ {
        let bins = self.bins[layout.starts[feature]..layout.starts[feature + 1]].iter().enumerate();
        bins.filter(|(_, bin)| bin[0] > 0).map(|(at, &[count, sum])| Cell { index: at as i64, count, sum })
    }
}

/// Puts a column's values into their bins; their totals, or `None` if a sum got too large.
fn add_column(bins: &mut [[u64; 2]], cut: Cut, column: &[i64]) -> Option<Totals> {
    let (mut count, mut sum, mut squares) = (0, 0_i128, 0_u128);
    let (mut min, mut max, mut sums) = (i64::MAX, i64::MIN, 0);
    for &value in column {
        if value == ABSENT {
            continue;
        }
        let (index, offset) = cut.place(value);
        let bin = &mut bins[index as usize];
        bin[0] += 1;
        // Offsets are far below 2⁶³, so a sum that got there shows in its highest bit.
        bin[1] += offset;
        sums |= bin[1];
        count += 1;
        sum += i128::from(value);
        squares += u128::from(value.unsigned_abs()) * u128::from(value.unsigned_abs());
        min = min.min(value);
        max = max.max(value);
    }
    if count == 0 {
        return Some(Totals::default());
    }
    let squares = i128::try_from(squares).ok()?;
    i64::try_from(sums).is_ok().then_some(Totals { count, sum, squares, min, max })
}

/// How often each value came.
#[derive(Default)]
struct Exact {
    /// Ascending.
    counts: Vec<(i64, u64)>,
    pending: Vec<i64>,
}

impl Exact {
    fn add(&mut self, column: &[i64]) {
        self.pending.extend(column.iter().filter(|value| **value != ABSENT));
        // As many as there are values, so that each is moved only a few times in all.
        if self.pending.len() >= self.counts.len().max(1 << 12) {
            self.settle();
        }
    }

    fn settle(&mut self) {
        self.pending.sort_unstable();
        let runs = self.pending.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u64));
        let mut all: Vec<(i64, u64)> = std::mem::take(&mut self.counts).into_iter().chain(runs).collect();
        all.sort_by_key(|&(value, _)| value);
        all.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0 };
            same
        });
        self.counts = all;
        self.pending.clear();
    }

    /// The totals, and the values with their counts; `None` if a sum is too large.
    fn finish(mut self) -> Option<(Totals, Vec<(i64, u64)>)> {
        self.settle();
        let mut totals = Totals::default();
        for &(value, count) in &self.counts {
            let sum = i128::from(value).checked_mul(count.into())?;
            let squares = sum.checked_mul(value.into())?;
            totals = totals.plus(Totals { count, sum, squares, min: value, max: value })?;
        }
        Some((totals, self.counts))
    }
}
