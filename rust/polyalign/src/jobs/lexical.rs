//! The job that counts the n-grams of a corpus; and many responses in memory under such counts.

use super::named::{self, Made, Reading, only_holder};
use super::score::Response;
use super::tally::Tally;
use crate::Result;
use crate::buckets::{BucketSchema, BucketTable};
use crate::error::unless_stopped;
use crate::lexical::{Builder, Counter, FEATURES, Lexical, Scratch, Settings, Target};
use crate::records::record::Record;
use crate::records::shape::FieldSpec;
use crate::stream::{self, Progress};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What to count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LexicalJob {
    /// Folders made by a bucketing job; or files whose records have a bucket. Folders, globs, or `-` for standard input.
    pub inputs: Vec<String>,
    /// What to read from a record.
    pub fields: FieldSpec,
    /// Where a record's bucket is; default `bucket`.
    pub bucket_field: Option<String>,
    /// What makes the buckets, where no bucketed folder says it.
    pub schema: Option<BucketSchema>,
    /// Responses of each bucket kept to calibrate scores with.
    pub sample_size: u32,
    /// The table holds 2 to this power n-grams, at most.
    pub bits: u32,
    /// Where the rows are from, in the user's words.
    pub sources: Vec<String>,
    /// Records above this are rejected without being held.
    pub max_record_bytes: u64,
    /// Worker threads; 0: all cores.
    pub threads: usize,
    /// Stop after this many input rows.
    pub limit: Option<u64>,
}

impl Default for LexicalJob {
    fn default() -> Self {
        let Settings { sample_size, bits, .. } = Settings::default();
        Self {
            inputs: Vec::new(),
            fields: FieldSpec::default(),
            bucket_field: None,
            schema: None,
            sample_size,
            bits,
            sources: Vec::new(),
            max_record_bytes: 256 << 20,
            threads: 0,
            limit: None,
        }
    }
}

/// Counts the n-grams of a bucketed corpus, read once.
///
/// The same rows give the same counts, in any order, from any number of files and threads. Of bucketed folders what is held
/// out is left out.
///
/// # Errors
/// Inputs that don't exist or don't go together, more than 10,000 buckets, more different words than there is room for, and
/// [`Error::Interrupted`](crate::Error::Interrupted). Records that can't be used are no error: they are counted in the
/// [`Tally`].
pub fn build(job: &LexicalJob, progress: &Progress) -> Result<(Lexical, Tally)> {
    let job = job.clone();
    stream::supervised(progress, move |progress| run(&job, progress))
}

fn run(job: &LexicalJob, progress: &Progress) -> Result<(Lexical, Tally)> {
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
        let (sample_size, bits) = (job.sample_size, job.bits);
        let builder = Builder::new(Settings { schema, tokenizer, keep_thinking, sample_size, bits })?;
        job.sources.iter().for_each(|source| builder.add_source(source));
        Ok(builder)
    };
    let (builder, tally) = named::count_files(&reading, progress, make, Counter::new)?;
    Ok((builder.finish()?, tally))
}

/// The counts of a builder that no thread counts into any more.
///
/// # Errors
/// More different words than there is room for.
pub fn finish(builder: Arc<Builder>) -> Result<Lexical> {
    only_holder(builder)?.finish()
}

impl named::Counter for Counter {
    fn check_bucket(&self, parts: &[String]) -> Result<()> {
        self.builder().bucket(parts)
    }

    fn add(&mut self, record: &Record<'_>, _: u64, bucket: u32, table: &BucketTable, stop: &AtomicBool) {
        self.add(record, bucket, table, stop);
    }

    fn flush(&mut self, table: &BucketTable) -> Result<()> {
        self.flush(table)
    }
}

/// Counts the rows of a table in memory: its columns hold records of one shape, and `bucket`. On rayon's current threads.
///
/// # Errors
/// Columns of no known shape, and [`Error::Interrupted`](crate::Error::Interrupted) soon after `stop` is set. Rows that
/// can't be used are no error: they are counted in the [`Tally`].
pub fn count_table(
    builder: &Arc<Builder>,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    spec: &FieldSpec,
    stop: &AtomicBool,
) -> Result<Tally> {
    named::count_table(|| Counter::new(Arc::clone(builder)), schema, batches, spec, stop)
}

/// Responses that a thread takes at a time.
const PIECE: usize = 64;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Lexical {
    /// The scores of responses, in order, on rayon's current threads; NaN where there are no humans, or no such bucket.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::Error::Interrupted) soon after `stop` is set.
    pub fn score_all(
        &self,
        responses: &[Response<'_>],
        leave_one_out: bool,
        stop: &AtomicBool,
    ) -> Result<Vec<f32>> {
        let mut scores = vec![f32::NAN; responses.len()];
        self.each(responses, &mut scores, 1, stop, |target, text, score, scratch| {
            score[0] = self.score(target, text, leave_one_out, scratch, stop)? as f32;
            Ok(())
        })?;
        Ok(scores)
    }

    /// The scores of responses and their features `[n, features]`, in order, on rayon's current threads.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::Error::Interrupted) soon after `stop` is set.
    pub fn measure_all(
        &self,
        responses: &[Response<'_>],
        leave_one_out: bool,
        stop: &AtomicBool,
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let width = 1 + FEATURES.len();
        let mut values = vec![f32::NAN; responses.len() * width];
        self.each(responses, &mut values, width, stop, |target, text, row, scratch| {
            let (score, features) = self.measure(target, text, leave_one_out, scratch, stop)?;
            let all = [score].into_iter().chain(features);
            row.iter_mut().zip(all).for_each(|(value, measured)| *value = measured as f32);
            Ok(())
        })?;
        let rows = values.chunks_exact(width);
        Ok((
            rows.clone().map(|row| row[0]).collect(),
            rows.flat_map(|row| row[1..].iter().copied()).collect(),
        ))
    }

    /// Fills the row of each response whose target is one.
    fn each(
        &self,
        responses: &[Response<'_>],
        values: &mut [f32],
        width: usize,
        stop: &AtomicBool,
        fill: impl Fn(&Target, &str, &mut [f32], &mut Scratch) -> Result<()> + Sync,
    ) -> Result<()> {
        let mut targets: HashMap<&str, Option<Target>> = HashMap::new();
        for response in responses {
            targets.entry(response.of).or_insert_with(|| self.target(response.of).ok());
        }
        let pieces = values.par_chunks_mut(PIECE * width).zip(responses.par_chunks(PIECE));
        pieces.try_for_each(|(values, responses)| {
            SCRATCH.with_borrow_mut(|scratch| {
                for (response, row) in responses.iter().zip(values.chunks_exact_mut(width)) {
                    unless_stopped(stop)?;
                    if let Some(Some(target)) = targets.get(response.of) {
                        fill(target, response.text, row, scratch)?;
                    }
                }
                Ok(())
            })
        })
    }
}
