//! The job that builds a reference: of a bucketed corpus, of any records that name their bucket, or of a table in memory.

use super::named::{self, Made, Reading, only_holder};
use super::tally::Tally;
use crate::buckets::{BucketSchema, BucketTable};
use crate::records::record::Record;
use crate::records::shape::FieldSpec;
use crate::reference::counter::RecordCounter;
use crate::reference::{Builder, Reference, Settings, Variant};
use crate::stream::{self, Progress};
use crate::{Error, Result};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What to build a reference from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuildJob {
    /// Folders made by a bucketing job; or files whose records have a bucket. Folders, globs, or `-` for standard input.
    pub inputs: Vec<String>,
    /// What to read from a record.
    pub fields: FieldSpec,
    /// Where a record's bucket is; default `bucket`.
    pub bucket_field: Option<String>,
    /// What makes the buckets, where no bucketed folder says it.
    pub schema: Option<BucketSchema>,
    /// `default` or `paper`.
    pub variant: Variant,
    /// Rows of each bucket kept to calibrate scores with.
    pub sample_size: u32,
    /// Where the rows are from, in the user's words.
    pub sources: Vec<String>,
    /// Records above this are rejected without being held.
    pub max_record_bytes: u64,
    /// Worker threads; 0: all cores.
    pub threads: usize,
    /// Stop after this many input rows.
    pub limit: Option<u64>,
}

impl Default for BuildJob {
    fn default() -> Self {
        Self {
            inputs: Vec::new(),
            fields: FieldSpec::default(),
            bucket_field: None,
            schema: None,
            variant: Variant::Default,
            sample_size: Settings::default().sample_size,
            sources: Vec::new(),
            max_record_bytes: 256 << 20,
            threads: 0,
            limit: None,
        }
    }
}

/// Builds the reference of a bucketed corpus, read once.
///
/// The same rows give the same reference, in any order, from any number of files and threads. Of bucketed folders what is
/// held out is left out.
///
/// # Errors
/// Inputs that don't exist or don't go together, values that can't be counted, more than 10,000 buckets, and
/// [`Error::Interrupted`](crate::Error::Interrupted). Records that can't be used are no error: they are counted in the [`Tally`].
pub fn build(job: &BuildJob, progress: &Progress) -> Result<(Reference, Tally)> {
    let job = job.clone();
    stream::supervised(progress, move |progress| run(&job, progress))
}

fn run(job: &BuildJob, progress: &Progress) -> Result<(Reference, Tally)> {
    let reading = Reading {
        inputs: &job.inputs,
        fields: &job.fields,
        bucket_field: job.bucket_field.as_deref(),
        schema: job.schema.as_ref(),
        max_record_bytes: job.max_record_bytes,
        threads: job.threads,
        limit: job.limit,
    };
    let make = |of: Made| {
        let Made { schema, tokenizer, keep_thinking } = of;
        let (variant, sample_size) = (job.variant, job.sample_size);
        let builder =
            Builder::new(Settings { schema, tokenizer, variant, sample_size, keep_thinking, lm: None })?;
        job.sources.iter().for_each(|source| builder.add_source(source));
        Ok(builder)
    };
    let (builder, tally) = named::count_files(&reading, progress, make, RecordCounter::new)?;
    Ok((builder.finish()?, tally))
}

/// The reference of a builder that no thread counts into any more.
///
/// # Errors
/// Values that could not be counted.
pub fn finish(builder: Arc<Builder>) -> Result<Reference> {
    only_holder(builder)?.finish()
}

impl named::Counter for RecordCounter {
    fn check_bucket(&self, parts: &[String]) -> Result<()> {
        self.builder().bucket(parts).map(drop)
    }

    fn add(&mut self, record: &Record<'_>, _: u64, bucket: u32, table: &BucketTable, stop: &AtomicBool) {
        self.add(record, bucket, table, stop);
    }

    fn flush(&mut self, table: &BucketTable) -> Result<()> {
        self.flush(table)
    }
}

/// Counts records with what a language model says of them.
struct WithLm<'a> {
    counter: RecordCounter,
    /// `[rows, features]`.
    values: &'a [f32],
}

impl named::Counter for WithLm<'_> {
    fn check_bucket(&self, parts: &[String]) -> Result<()> {
        self.counter.check_bucket(parts)
    }

    fn add(&mut self, record: &Record<'_>, row: u64, bucket: u32, table: &BucketTable, stop: &AtomicBool) {
        let width = self.counter.builder().settings().lm_features();
        let values = &self.values[row as usize * width..][..width];
        self.counter.add_with(record, values, bucket, table, stop);
    }

    fn flush(&mut self, table: &BucketTable) -> Result<()> {
        self.counter.flush(table)
    }
}

/// Counts the rows of a table in memory: its columns hold records of one shape, and `bucket`. Without a prompt column
/// there is none. `lm` has what a language model says of each row, `[rows, features]`, where the builder counts that. On
/// rayon's current threads.
///
/// # Errors
/// Columns of no known shape, other numbers of `lm` than of rows, values that can't be counted, and [`Error::Interrupted`](crate::Error::Interrupted) soon after
/// `stop` is set. Rows that can't be used are no error: they are counted in the [`Tally`].
pub fn count_table(
    builder: &Arc<Builder>,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    spec: &FieldSpec,
    lm: &[f32],
    stop: &AtomicBool,
) -> Result<Tally> {
    let counter = || RecordCounter::new(Arc::clone(builder));
    let (rows, width) =
        (batches.iter().map(RecordBatch::num_rows).sum::<usize>(), builder.settings().lm_features());
    if lm.len() != rows * width {
        let values = lm.len();
        return Err(Error::Input(format!(
            "{values} values are not {rows} rows of {width} of a language model"
        )));
    }
    if width == 0 {
        return named::count_table(counter, schema, batches, spec, stop);
    }
    named::count_table(|| WithLm { counter: counter(), values: lm }, schema, batches, spec, stop)
}
