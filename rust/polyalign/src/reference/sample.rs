//! A bounded sample of rows: those with the smallest keys, whatever the order they come in.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A row and its key. Ordered by key, then by the row's bits.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: u64,
    pub row: Box<[f32]>,
}

impl Entry {
    /// With one NaN and one zero, so that equal rows have equal bits.
    pub fn new(key: u64, row: impl Iterator<Item = f32>) -> Self {
        Self { key, row: row.map(canonical).collect() }
    }
}

/// The one NaN, and 0 for −0.
pub(super) fn canonical(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}

/// The order of entries.
pub(super) fn order(a: (u64, &[f32]), b: (u64, &[f32])) -> Ordering {
    let bits =
        |row: &[f32], other: &[f32]| row.iter().map(|x| x.to_bits()).cmp(other.iter().map(|x| x.to_bits()));
    a.0.cmp(&b.0).then_with(|| bits(a.1, b.1))
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        order((self.key, &self.row), (other.key, &other.row))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

/// The `size` smallest entries of those seen, equal ones as often as they came.
#[derive(Debug, Default)]
pub(super) struct Smallest {
    size: usize,
    entries: BinaryHeap<Entry>,
}

impl Smallest {
    pub fn new(size: u32) -> Self {
        Self { size: size as usize, entries: BinaryHeap::new() }
    }

    /// Whether a row with this key may be among them.
    #[inline]
    pub fn wants(&self, key: u64) -> bool {
        self.entries.len() < self.size || self.entries.peek().is_some_and(|largest| key <= largest.key)
    }

    pub fn add(&mut self, entry: Entry) {
        if self.entries.len() < self.size {
            self.entries.push(entry);
        } else if let Some(mut largest) = self.entries.peek_mut()
            && entry < *largest
        {
            *largest = entry;
        }
    }

    pub fn into_sorted(self) -> Vec<Entry> {
        self.entries.into_sorted_vec()
    }
}

/// The samples of all buckets, ascending within each.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    /// Where each bucket's entries begin, and where the last's end.
    pub offsets: Vec<u64>,
    pub keys: Vec<u64>,
    /// `[entries, features]`.
    pub rows: Vec<f32>,
}

/// By bits, as NaN is a value here.
impl PartialEq for Samples {
    fn eq(&self, other: &Self) -> bool {
        let bits = |rows: &[f32]| rows.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
        self.offsets == other.offsets && self.keys == other.keys && bits(&self.rows) == bits(&other.rows)
    }
}

impl Samples {
    pub fn new() -> Self {
        Self { offsets: vec![0], keys: Vec::new(), rows: Vec::new() }
    }

    /// Adds a bucket.
    pub fn push_bucket<'a>(&mut self, entries: impl IntoIterator<Item = (u64, &'a [f32])>) {
        for (key, row) in entries {
            self.keys.push(key);
            self.rows.extend_from_slice(row);
        }
        self.offsets.push(self.keys.len() as u64);
    }

    fn range(&self, bucket: usize) -> std::ops::Range<usize> {
        self.offsets[bucket] as usize..self.offsets[bucket + 1] as usize
    }

    pub fn rows(&self, bucket: usize, features: usize) -> &[f32] {
        let range = self.range(bucket);
        &self.rows[range.start * features..range.end * features]
    }

    /// A bucket's entries.
    pub fn entries(&self, bucket: usize, features: usize) -> impl Iterator<Item = (u64, &[f32])> + Clone {
        self.keys[self.range(bucket)].iter().copied().zip(self.rows(bucket, features).chunks_exact(features))
    }
}
