//! What became of the records of a job.

use crate::records::record::shortened;
use crate::stream::{Rejected, Unreadable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Counts of a job's records. `rows == used + rejected`, always; the unreadable rest of a file counts as one rejected row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Records seen.
    pub rows: u64,
    /// Records counted or scored.
    pub used: u64,
    /// Records that could not be used.
    pub rejected: u64,
    /// Rejected records by kind of reason.
    pub rejected_by_kind: BTreeMap<String, u64>,
    /// The first rejected record of each kind.
    pub first_rejects: BTreeMap<String, Rejected>,
    /// Files whose rest could not be read.
    pub unreadable: Vec<Unreadable>,
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
        if rejected.kind == "file" {
            self.unreadable.push(Unreadable {
                file: rejected.file.clone(),
                offset: rejected.offset.unwrap_or(rejected.row),
                reason: rejected.reason.clone(),
            });
        }
        match self.rejected_by_kind.get_mut(&rejected.kind) {
            Some(count) => *count += 1,
            None => {
                self.rejected_by_kind.insert(rejected.kind.clone(), 1);
                let reason = shortened(&rejected.reason);
                self.first_rejects.insert(rejected.kind.clone(), Rejected { reason, ..rejected });
            }
        }
    }

    /// Adds the counts of what comes after.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.used += other.used;
        self.rejected += other.rejected;
        self.bytes += other.bytes;
        for (kind, count) in other.rejected_by_kind {
            *self.rejected_by_kind.entry(kind).or_default() += count;
        }
        for (kind, reject) in other.first_rejects {
            self.first_rejects.entry(kind).or_insert(reject);
        }
        self.unreadable.extend(other.unreadable);
    }
}
