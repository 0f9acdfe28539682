//! Records that a job can't use: how many of each kind, the first of each, and what could not be read at all.

use crate::error::shortened;
use crate::records::record::RejectKind;
use crate::stream::{Rejected, Unreadable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rejected records; the unreadable rest of a file counts as one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejects {
    /// How many, by kind of reason.
    #[serde(rename = "rejected_by_kind")]
    pub by_kind: BTreeMap<RejectKind, u64>,
    /// The first of each kind.
    #[serde(rename = "first_rejects")]
    pub first: BTreeMap<RejectKind, Rejected>,
    /// Files whose rest could not be read.
    pub unreadable: Vec<Unreadable>,
}

impl Rejects {
    /// Counts one.
    pub fn add(&mut self, rejected: Rejected) {
        if rejected.kind == RejectKind::File {
            self.unreadable.push(Unreadable {
                file: rejected.file.clone(),
                offset: rejected.offset.unwrap_or(rejected.row),
                reason: rejected.reason.clone(),
            });
        }
        *self.by_kind.entry(rejected.kind).or_default() += 1;
        self.first.entry(rejected.kind).or_insert_with(|| {
            let reason = shortened(&rejected.reason);
            Rejected { reason, ..rejected }
        });
    }

    /// Adds those of what comes after.
    pub fn merge(&mut self, later: Self) {
        for (kind, count) in later.by_kind {
            *self.by_kind.entry(kind).or_default() += count;
        }
        for (kind, rejected) in later.first {
            self.first.entry(kind).or_insert(rejected);
        }
        self.unreadable.extend(later.unreadable);
    }
}
