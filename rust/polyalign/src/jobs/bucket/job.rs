//! What a bucketing job is asked to do: its settings, their defaults, which of them make no sense, and what follows from
//! them.

use super::reference::ReferenceOutput;
use crate::buckets::Bucketer;
use crate::records::shape::FieldSpec;
use crate::records::turns::Turns;
use crate::stream::block::Limits;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Bytes of a block whose texts are written, and of one whose texts are not: large enough for good row
/// groups, small enough to keep many threads within a gigabyte.
const TEXT_BLOCK: u64 = 8 << 20;
const BARE_BLOCK: u64 = 16 << 20;

/// Input bytes held at a time, at most.
const TEXT_IN_FLIGHT: u64 = 160 << 20;
const BARE_IN_FLIGHT: u64 = 320 << 20;

/// What to bucket and where to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Job {
    /// Files, directories, globs, or `-` for standard input.
    pub inputs: Vec<String>,
    /// The directory to make; `None`: a dry run.
    pub output: Option<PathBuf>,
    /// Replace an existing output, and give up an interrupted run that does not fit this job.
    pub overwrite: bool,
    /// What to read from a record; `custom` and `keep_extra` follow from the schema and from
    /// `assignments_only`.
    pub fields: FieldSpec,
    /// Which replies of a conversation become rows.
    pub turns: Turns,
    /// Write no texts, only the assignment columns.
    pub assignments_only: bool,
    /// Hive-style folders by these axes.
    pub partition_by: Vec<String>,
    /// The share of groups, else of prompts, whose rows go to `test-*.parquet` files of their own.
    pub test_share: f64,
    /// Decompressed input bytes per shard.
    pub chunk_bytes: u64,
    /// Records above this are rejected without being held.
    pub max_record_bytes: u64,
    /// Worker threads; 0: all cores.
    pub threads: usize,
    /// Stop after this many input rows.
    pub limit: Option<u64>,
    /// A reference to make in the same pass.
    pub reference: Option<ReferenceOutput>,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            inputs: Vec::new(),
            output: None,
            overwrite: false,
            fields: FieldSpec::default(),
            turns: Turns::Last,
            assignments_only: false,
            partition_by: Vec::new(),
            test_share: 0.0,
            chunk_bytes: 64 << 20,
            max_record_bytes: 256 << 20,
            threads: 0,
            limit: None,
            reference: None,
        }
    }
}

impl Job {
    /// Refuses settings that make no sense.
    pub(super) fn check(&self) -> Result<()> {
        let range = |name: &str, value: u64, max: u64| {
            if (1..=max).contains(&value) {
                return Ok(());
            }
            Err(Error::Input(format!("{name} is {value}; it must be between 1 and {max}")))
        };
        range("chunk_bytes", self.chunk_bytes, 64 << 30)?;
        range("max_record_bytes", self.max_record_bytes, 1 << 30)?;
        if !(0.0..1.0).contains(&self.test_share) {
            return Err(Error::Input(format!(
                "test_share is {}; it must be at least 0 and below 1",
                self.test_share
            )));
        }
        range("limit", self.limit.unwrap_or(1), u64::MAX)
    }

    /// The job with what follows for its fields from the rest of it.
    pub(super) fn resolved(&self, bucketer: &Bucketer) -> Self {
        Self { fields: resolved_fields(&self.fields, bucketer, !self.assignments_only), ..self.clone() }
    }

    /// Where its input is cut.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            block_bytes: if self.assignments_only { BARE_BLOCK } else { TEXT_BLOCK },
            chunk_bytes: self.chunk_bytes,
            max_record_bytes: self.max_record_bytes,
            rows: self.limit.unwrap_or(u64::MAX),
        }
    }

    /// Bytes of its input that are held at a time, at most.
    pub(super) fn in_flight(&self) -> u64 {
        if self.assignments_only { BARE_IN_FLIGHT } else { TEXT_IN_FLIGHT }
    }

    /// The settings that an output depends on, as given: no paths, no number of threads.
    pub(super) fn settings(&self, bucketer: &Bucketer) -> Result<Map<String, Value>> {
        let settings = json!({
            "polyalign_version": env!("CARGO_PKG_VERSION"),
            "schema": bucketer.schema(),
            "tokenizer_sha256": bucketer.counter().map(|c| c.sha256()),
            "count": if bucketer.counts_prompts() { "all" } else { "completion" },
            "fields": self.fields,
            "turns": self.turns,
            "assignments_only": self.assignments_only,
            "partition_by": self.partition_by,
            "test_share": self.test_share,
            "chunk_bytes": self.chunk_bytes,
            "max_record_bytes": self.max_record_bytes,
            "limit": self.limit,
        });
        match settings {
            Value::Object(map) => Ok(map),
            _ => Err(Error::Output("settings are no object".into())),
        }
    }
}

/// Fields with what follows from the other settings: the schema's own columns, and whether the rest of a record is
/// written.
pub(super) fn resolved_fields(fields: &FieldSpec, bucketer: &Bucketer, keep_extra: bool) -> FieldSpec {
    let custom = bucketer.schema().custom_axes().map(|axis| axis.column.clone()).collect();
    FieldSpec { custom, keep_extra, ..fields.clone() }
}
