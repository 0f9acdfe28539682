//! What became of the records of a job that counts or scores them.

use super::rejects::Rejects;
use crate::stream::Rejected;
use serde::{Deserialize, Serialize};

/// Counts of a job's records. `rows == used + rejected`, always; the unreadable rest of a file counts as one rejected row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Records seen.
    pub rows: u64,
    /// Records counted or scored.
    pub used: u64,
    /// Records that could not be used.
    pub rejected: u64,
    /// Why not.
    #[serde(flatten)]
    pub rejects: Rejects,
    /// The field that responses were read from, where it was found by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_field: Option<String>,
    /// Rows of bucketed folders that a reference is not made of, as they are held out.
    #[serde(default)]
    pub held_out: u64,
    /// Input bytes after decompression (Arrow memory for tables).
    pub bytes: u64,
}

impl Tally {
    /// Counts a record that was used.
    pub fn used(&mut self) {
        self.rows += 1;
        self.used += 1;
    }

    /// Counts a record that can't be used.
    pub fn reject(&mut self, rejected: Rejected) {
        self.rows += 1;
        self.rejected += 1;
        self.rejects.add(rejected);
    }

    /// Adds the counts of what comes after.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.used += other.used;
        self.rejected += other.rejected;
        self.bytes += other.bytes;
        self.rejects.merge(other.rejects);
    }
}
