//! The bucketing job: files in, buckets out; streaming, parallel, resumable, deterministic.

use crate::Result;
use crate::buckets::Bucketer;
use crate::io::shape::FieldSpec;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// What to bucket and where to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Files, directories, globs, or `-` for standard input.
    pub inputs: Vec<String>,
    /// The directory to make; `None`: a dry run.
    pub output: Option<PathBuf>,
    /// Replace an existing output.
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

/// What the job did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {}

/// Runs the job.
pub fn run(_job: &Job, _bucketer: &Bucketer, _progress: &Progress) -> Result<Report> {
    todo!()
}
