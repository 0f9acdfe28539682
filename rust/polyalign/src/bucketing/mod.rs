//! The bucketing job: files in, buckets out; streaming, parallel, resumable, deterministic.

mod assign;
mod report;

pub use assign::assign_table;
pub use report::{BucketReport, Example, Quantiles, Report, Skipped, Unreadable};

use crate::Result;
use crate::buckets::Bucketer;
use crate::io::shape::FieldSpec;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// What to bucket and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Job {
    /// Files, directories, globs, or `-` for standard input.
    pub inputs: Vec<String>,
    /// The directory to make; `None`: a dry run.
    pub output: Option<PathBuf>,
    /// Replace an existing output, and give up an interrupted run that does not fit this job.
    pub overwrite: bool,
    /// What to read from a record.
    pub fields: FieldSpec,
    /// Write no texts, only the assignment columns.
    pub assignments_only: bool,
    /// Hive-style folders by these axes.
    pub partition_by: Vec<String>,
    /// Decompressed input bytes per shard.
    pub chunk_bytes: u64,
    /// Records above this are rejected without being held.
    pub max_record_bytes: u64,
    /// Worker threads; 0: all cores.
    pub threads: usize,
    /// Stop after this many input rows.
    pub limit: Option<u64>,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            inputs: Vec::new(),
            output: None,
            overwrite: false,
            fields: FieldSpec { keep_extra: true, ..FieldSpec::default() },
            assignments_only: false,
            partition_by: Vec::new(),
            chunk_bytes: 64 << 20,
            max_record_bytes: 256 << 20,
            threads: 0,
            limit: None,
        }
    }
}

/// Shared with the caller while the job runs.
#[derive(Default)]
pub struct Progress {
    /// Input bytes consumed, as they lie on disk (for the ETA).
    pub bytes_read: AtomicU64,
    /// Input bytes in all; 0 if unknown.
    pub bytes_total: AtomicU64,
    /// Records seen.
    pub rows: AtomicU64,
    /// Set to stop the job within a second.
    pub cancel: AtomicBool,
}

/// Runs the job.
///
/// # Errors
/// Inputs that don't exist or don't go together, an output that exists or can't be written, an
/// interrupted run that belongs to another job, more than 10,000 buckets, and
/// [`Error::Interrupted`](crate::Error::Interrupted). Records that can't be used are no error: they
/// are counted in the [`Report`] and listed in the rejects file.
pub fn run(_job: &Job, _bucketer: &Bucketer, _progress: &Progress) -> Result<Report> {
    todo!()
}
