//! Sparse rows of bins, one after the other.

use super::distribution::Cell;

/// The bins of every (bucket, feature), ascending within each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cells {
    /// Where each row begins, and where the last ends.
    pub offsets: Vec<u64>,
    pub indices: Indices,
    pub counts: Vec<u64>,
    /// Per bin, the sum of how far its values are from its anchor.
    pub sums: Vec<u64>,
}

/// Numbers of bins: the paper's are the values themselves, which take more room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Indices {
    Narrow(Vec<u32>),
    Wide(Vec<i64>),
}

impl Cells {
    pub fn new(wide: bool, rows: usize, cells: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        let indices = if wide {
            Indices::Wide(Vec::with_capacity(cells))
        } else {
            Indices::Narrow(Vec::with_capacity(cells))
        };
        Self { offsets, indices, counts: Vec::with_capacity(cells), sums: Vec::with_capacity(cells) }
    }

    /// Adds a row.
    pub fn push_row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        for Cell { index, count, sum } in cells {
            match &mut self.indices {
                Indices::Narrow(indices) => indices.push(index as u32),
                Indices::Wide(indices) => indices.push(index),
            }
            self.counts.push(count);
            self.sums.push(sum);
        }
        self.offsets.push(self.counts.len() as u64);
    }

    pub fn row(&self, row: usize) -> impl ExactSizeIterator<Item = Cell> + '_ {
        let range = self.offsets[row] as usize..self.offsets[row + 1] as usize;
        range.map(|at| Cell { index: self.indices.get(at), count: self.counts[at], sum: self.sums[at] })
    }
}

impl Indices {
    pub fn get(&self, at: usize) -> i64 {
        match self {
            Self::Narrow(indices) => indices[at].into(),
            Self::Wide(indices) => indices[at],
        }
    }
}
