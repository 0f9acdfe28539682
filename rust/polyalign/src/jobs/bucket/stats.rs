//! Exact counts per bucket and per file; adding them up is all there is to merging.

use super::reading;
use crate::jobs::rejects::Rejects;
use crate::stream::Rejected;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Exact nearest-rank quantiles of integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Smallest.
    pub min: u32,
    /// 10%.
    pub q10: u32,
    /// 25%.
    pub q25: u32,
    /// Median.
    pub q50: u32,
    /// 75%.
    pub q75: u32,
    /// 90%.
    pub q90: u32,
    /// Largest.
    pub max: u32,
}

/// How often each length occurs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(BTreeMap<u32, u64>);

impl Histogram {
    /// Adds one occurrence.
    pub fn add(&mut self, length: u32) {
        *self.0.entry(length).or_default() += 1;
    }

    /// Adds several occurrences.
    pub fn add_many(&mut self, length: u32, count: u64) {
        if count > 0 {
            *self.0.entry(length).or_default() += count;
        }
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        for (&length, &count) in &other.0 {
            *self.0.entry(length).or_default() += count;
        }
    }

    /// Nearest-rank quantiles; zeros if nothing was counted.
    pub fn quantiles(&self) -> Quantiles {
        let total: u64 = self.0.values().sum();
        let at = |percent: u64| {
            let rank = (total * percent).div_ceil(100).max(1);
            let mut below = 0;
            let found = self.0.iter().find(|&(_, &count)| {
                below += count;
                below >= rank
            });
            found.map_or(0, |(&length, _)| length)
        };
        Quantiles {
            min: at(0),
            q10: at(10),
            q25: at(25),
            q50: at(50),
            q75: at(75),
            q90: at(90),
            max: at(100),
        }
    }
}

/// What is known of one bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketStats {
    /// Its parts, in axis order.
    pub parts: Vec<String>,
    /// Records.
    pub rows: u64,
    /// Those that are held out.
    pub held_out: u64,
    /// Tokens of prompts, 0 if not counted.
    pub prompt_tokens: u64,
    /// Tokens of responses, 0 if not counted.
    pub completion_tokens: u64,
    /// Lengths of responses.
    pub lengths: Histogram,
}

impl BucketStats {
    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.held_out += other.held_out;
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.lengths.merge(&other.lengths);
    }
}

/// What is known of one input file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStats {
    /// Decompressed bytes read.
    pub bytes: u64,
    /// Rows given a bucket.
    pub bucketed: u64,
    /// Rows rejected.
    pub rejected: u64,
    /// Rows beyond the first of their records.
    #[serde(default)]
    pub further: u64,
}

/// Counts of a part of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// By bucket id. A journal is not to grow with the lengths there are, so these are read from what was written.
    #[serde(skip)]
    pub buckets: BTreeMap<String, BucketStats>,
    /// By index of the file.
    pub files: BTreeMap<u32, FileStats>,
    /// What could not be used.
    pub rejects: Rejects,
    /// How the records were read.
    #[serde(default)]
    pub reading: reading::Counts,
}

impl Stats {
    /// Adds the counts of another part of the input.
    pub fn merge(&mut self, other: Self) {
        for (id, stats) in other.buckets {
            match self.buckets.get_mut(&id) {
                Some(own) => own.merge(&stats),
                None => {
                    self.buckets.insert(id, stats);
                }
            }
        }
        for (file, stats) in other.files {
            let own = self.files.entry(file).or_default();
            own.bytes += stats.bytes;
            own.bucketed += stats.bucketed;
            own.rejected += stats.rejected;
            own.further += stats.further;
        }
        self.reading.merge(other.reading);
        self.rejects.merge(other.rejects);
    }

    /// Counts a rejected record.
    pub fn reject(&mut self, file: u32, rejected: Rejected) {
        self.files.entry(file).or_default().rejected += 1;
        self.rejects.add(rejected);
    }

    /// Rows given a bucket.
    pub fn bucketed(&self) -> u64 {
        self.files.values().map(|f| f.bucketed).sum()
    }

    /// Rows rejected.
    pub fn rejected(&self) -> u64 {
        self.files.values().map(|f| f.rejected).sum()
    }

    /// Records of the input.
    pub fn records(&self) -> u64 {
        self.bucketed() + self.rejected() - self.files.values().map(|f| f.further).sum::<u64>()
    }

    /// Decompressed bytes read.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|f| f.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_rank() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantiles(), Quantiles::default());
        (1..=10).for_each(|length| histogram.add(length));
        let q = histogram.quantiles();
        assert_eq!((q.min, q.q10, q.q25, q.q50, q.q75, q.q90, q.max), (1, 1, 3, 5, 8, 9, 10));
    }
}
