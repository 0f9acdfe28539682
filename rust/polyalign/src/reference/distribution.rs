//! One feature's distribution: exact moments and a histogram.

use super::{Variant, fixed};
use crate::distance::histogram::Bin;
use crate::features::bins::Bins;
use crate::{Error, Result};

/// A bin with something in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The bin's number ([`Bins::index`]).
    pub index: i64,
    /// How many values fell into it.
    pub count: u64,
    /// The sum of how far they are from the bin's [`Bins::anchor`], in units.
    pub sum: u64,
}

/// Exact totals of a feature, in units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub count: u64,
    pub sum: i128,
    pub squares: i128,
    /// 0 where there is nothing.
    pub min: i64,
    pub max: i64,
}

impl Totals {
    /// Both together; `None` if a sum is too large.
    pub fn plus(self, other: Self) -> Option<Self> {
        if self.count == 0 || other.count == 0 {
            return Some(if self.count == 0 { other } else { self });
        }
        Some(Self {
            count: self.count.checked_add(other.count)?,
            sum: self.sum.checked_add(other.sum)?,
            squares: self.squares.checked_add(other.squares)?,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        })
    }
}

/// How a feature is distributed: moments, quantiles, shares, bins.
///
/// Of no values, all numbers are NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    variant: Variant,
    bins: Bins,
    totals: Totals,
    cells: Vec<Cell>,
}

impl Distribution {
    pub(super) fn new(variant: Variant, bins: Bins, totals: Totals, cells: Vec<Cell>) -> Self {
        Self { variant, bins, totals, cells }
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// Bins with something in them, ascending.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.totals.count
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.defined(|| fixed::mean(self.totals.sum, self.totals.count) / fixed::units(self.variant))
    }

    /// The population standard deviation, √(Σ(x − x̄)² / n).
    pub fn std(&self) -> f64 {
        let Totals { sum, squares, count, .. } = self.totals;
        self.defined(|| fixed::variance(sum, squares, count).sqrt() / fixed::units(self.variant))
    }

    /// The least value.
    pub fn min(&self) -> f64 {
        self.defined(|| self.value(self.totals.min))
    }

    /// The greatest value.
    pub fn max(&self) -> f64 {
        self.defined(|| self.value(self.totals.max))
    }

    /// The quantile of `p`, 0 to 1 (what is beyond counts as the end): the ⌈n·p⌉-th smallest value, as the mean of its
    /// bin; the first and the last value are exact. So are small whole numbers, which have bins of their own.
    ///
    /// The paper's variant: the exact value of rank (n − 1)·p, rounded half to even.
    pub fn quantile(&self, p: f64) -> f64 {
        self.defined(|| self.ranked(self.rank(p)))
    }

    /// The 1-based rank of a quantile.
    fn rank(&self, p: f64) -> u64 {
        let (p, n) = (if p.is_nan() { 0.0 } else { p.clamp(0.0, 1.0) }, self.totals.count);
        let rank = match self.variant {
            // The product may have rounded up over a whole number.
            Variant::Default => (n as f64 * p * (1.0 - 2.0 * f64::EPSILON)).ceil() as u64,
            Variant::Paper => (n.saturating_sub(1) as f64 * p).round_ties_even() as u64 + 1,
        };
        rank.clamp(1, n.max(1))
    }

    fn ranked(&self, rank: u64) -> f64 {
        if rank <= 1 {
            return self.min();
        }
        if rank >= self.totals.count {
            return self.max();
        }
        let mut before = 0;
        let holds = |cell: &&Cell| {
            before += cell.count;
            before >= rank
        };
        self.cells.iter().find(holds).map_or(f64::NAN, |cell| self.place(cell))
    }

    /// The band between two quantiles.
    pub fn support(&self, low: f64, high: f64) -> (f64, f64) {
        (self.quantile(low), self.quantile(high))
    }

    /// The share of values that are at most `x`.
    ///
    /// Exact at the bins' ends, and so for small whole numbers. Within a bin it rises evenly to half of the bin at its
    /// mean, and evenly from there; the first bin begins at the least value, the last ends at the greatest.
    pub fn cdf(&self, x: f64) -> f64 {
        if x.is_nan() {
            return f64::NAN;
        }
        self.defined(|| {
            let mut below = 0.0;
            for cell in &self.cells {
                let part = self.part_up_to(cell, x);
                below += part * cell.count as f64;
                if part < 1.0 {
                    break;
                }
            }
            below / self.totals.count as f64
        })
    }

    /// How much of a bin's weight is at most `x`, 0 to 1.
    fn part_up_to(&self, cell: &Cell, x: f64) -> f64 {
        let (low, high) = self.bins.bounds(cell.index);
        let (low, high) = (self.value(low.max(self.totals.min)), self.value(high.min(self.totals.max)));
        let mean = self.place(cell);
        if x >= high {
            1.0
        } else if x < low {
            0.0
        } else if mean <= low || mean >= high {
            // All of it is at that end.
            if x >= mean { 1.0 } else { 0.0 }
        } else if x < mean {
            0.5 * ((x - low) / (mean - low))
        } else {
            0.5 + 0.5 * ((x - mean) / (high - mean))
        }
    }

    /// The histogram for [`crate::distance::histogram::Histograms`]: each bin's count and mean.
    ///
    /// Bins are numbered as [`Bins::index`] does. The paper's have no numbers of 32 bits: theirs are ranks, not to be
    /// compared with another distribution's; [`super::compare()`] does that.
    pub fn histogram(&self) -> Vec<Bin> {
        let index = |rank: usize, cell: &Cell| match self.bins {
            Bins::Exact => rank as u32,
            _ => cell.index as u32,
        };
        let bin = |(rank, cell): (usize, &Cell)| Bin {
            index: index(rank, cell),
            count: cell.count,
            mean: self.place(cell),
        };
        self.cells.iter().enumerate().map(bin).collect()
    }

    /// Each bin's least value, the value where the next bin begins, and count: what a plot draws. The first begins at
    /// the least value and the last ends at the greatest.
    pub fn bars(&self) -> Vec<(f64, f64, u64)> {
        let bar = |cell: &Cell| {
            let (low, high) = self.bins.bounds(cell.index);
            let end = (high + 1).min(self.totals.max);
            (self.value(low.max(self.totals.min)), self.value(end), cell.count)
        };
        self.cells.iter().map(bar).collect()
    }

    /// The mean of a bin's values.
    pub(super) fn place(&self, cell: &Cell) -> f64 {
        let count = cell.count.max(1);
        let (anchor, side) = self.bins.anchor(cell.index);
        let whole = (side * anchor) as f64 + (cell.sum / count) as f64;
        let rest = (cell.sum % count) as f64 / count as f64;
        side as f64 * (whole + rest) / fixed::units(self.variant)
    }

    fn value(&self, fixed: i64) -> f64 {
        fixed::to_value(fixed, self.variant)
    }

    fn defined(&self, number: impl FnOnce() -> f64) -> f64 {
        if self.totals.count == 0 { f64::NAN } else { number() }
    }

    /// Both together.
    pub(super) fn plus(self, other: &Self, feature: &str) -> Result<Self> {
        let too_large = || Error::Input(format!("reference: the sums of `{feature}` are too large to add"));
        let totals = self.totals.plus(other.totals).ok_or_else(too_large)?;
        let cells = add_cells(&self.cells, &other.cells).ok_or_else(too_large)?;
        Ok(Self { totals, cells, ..self })
    }
}

/// Two ascending rows of bins as one; `None` if a sum is too large.
fn add_cells(a: &[Cell], b: &[Cell]) -> Option<Vec<Cell>> {
    let mut both = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        let next = match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if x.index == y.index => {
                let (x, y) = (a.next()?, b.next()?);
                Cell { index: x.index, count: x.count.checked_add(y.count)?, sum: add_sums(x.sum, y.sum)? }
            }
            (Some(x), Some(y)) => *if x.index < y.index { a.next()? } else { b.next()? },
            (Some(_), None) => *a.next()?,
            (None, Some(_)) => *b.next()?,
            (None, None) => return Some(both),
        };
        both.push(next);
    }
}

/// A bin's sum, which a file holds as a signed number.
pub(super) fn add_sums(a: u64, b: u64) -> Option<u64> {
    a.checked_add(b).filter(|sum| i64::try_from(*sum).is_ok())
}
