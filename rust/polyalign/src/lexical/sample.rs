//! A bounded sample of responses: those with the smallest keys, whatever the order they come in.

use std::collections::BinaryHeap;

/// Bytes above which a response is not sampled.
pub(super) const LONGEST: usize = 1 << 14;

/// A key and a response.
pub(super) type Row = (u64, Box<str>);

/// By bucket: its rows, ascending.
pub(super) type Samples = Vec<Vec<Row>>;

/// The `size` smallest rows of those seen, equal ones as often as they came.
#[derive(Debug)]
pub(super) struct Smallest {
    size: usize,
    rows: BinaryHeap<Row>,
}

impl Smallest {
    pub fn new(size: u32) -> Self {
        Self { size: size as usize, rows: BinaryHeap::new() }
    }

    pub fn add(&mut self, key: u64, text: &str) {
        let wanted =
            self.rows.len() < self.size || self.rows.peek().is_some_and(|(largest, _)| key <= *largest);
        if wanted && text.len() <= LONGEST {
            self.push((key, text.into()));
        }
    }

    fn push(&mut self, row: Row) {
        if self.rows.len() < self.size {
            self.rows.push(row);
        } else if let Some(mut largest) = self.rows.peek_mut()
            && row < *largest
        {
            *largest = row;
        }
    }

    pub fn merge(&mut self, other: Self) {
        other.rows.into_iter().for_each(|row| self.push(row));
    }

    pub fn into_sorted(self) -> Vec<Row> {
        self.rows.into_sorted_vec()
    }
}
