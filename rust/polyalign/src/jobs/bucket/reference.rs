//! The reference of what is bucketed, made in the same pass.

use crate::Result;
use crate::buckets::{BucketTable, Bucketer};
use crate::jobs::build::{BuildJob, build};
use crate::records::record::Record;
use crate::reference::meter::{Batch, Meter, record_key, response_language};
use crate::reference::{Builder, Reference, Settings, Variant};
use crate::stream::Progress;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A reference to make beside the output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReferenceOutput {
    /// The file to make.
    pub path: PathBuf,
    /// Where the rows are from, in the user's words.
    pub sources: Vec<String>,
    /// Rows of each bucket kept to calibrate scores with.
    pub sample_size: u32,
}

impl Default for ReferenceOutput {
    fn default() -> Self {
        let Settings { sample_size, .. } = Settings::default();
        Self { path: PathBuf::new(), sources: Vec::new(), sample_size }
    }
}

impl ReferenceOutput {
    /// An empty builder of it.
    pub(super) fn builder(&self, bucketer: &Bucketer, keep_thinking: bool) -> Result<Builder> {
        let builder = Builder::new(Settings {
            schema: bucketer.schema().clone(),
            tokenizer: bucketer.counter().map(|counter| counter.sha256().to_owned()),
            variant: Variant::Default,
            sample_size: self.sample_size,
            keep_thinking,
        })?;
        self.sources.iter().for_each(|source| builder.add_source(source));
        Ok(builder)
    }

    /// Of an output that was written in several runs: read again.
    pub(super) fn rebuild(&self, output: &Path, threads: usize, progress: &Progress) -> Result<Reference> {
        let job = BuildJob {
            inputs: vec![output.to_string_lossy().into_owned()],
            sources: self.sources.clone(),
            sample_size: self.sample_size,
            threads,
            ..BuildJob::default()
        };
        Ok(build(&job, progress)?.0)
    }
}

/// Rows of a bucket that are counted together: few enough to be in the cache still.
const ROWS: usize = 128;

/// Counts the rows of blocks on one thread.
pub struct Counting {
    builder: Arc<Builder>,
    meter: Meter,
    cancel: Arc<AtomicBool>,
    /// By bucket of the block.
    batches: Vec<Batch>,
    /// What went wrong first.
    failed: Result<()>,
}

impl Counting {
    /// Into a builder that threads share, until it is cancelled.
    pub fn new(builder: Arc<Builder>, cancel: Arc<AtomicBool>) -> Self {
        Self { builder, meter: Meter::new(Variant::Default), cancel, batches: Vec::new(), failed: Ok(()) }
    }

    /// Measures a record of a bucket of the block. What fails is told at the block's end.
    pub fn add(&mut self, record: &Record<'_>, bucket: u32, table: &BucketTable) {
        let number = bucket as usize;
        while self.batches.len() <= number {
            self.batches.push(Batch::new(0, Variant::Default));
        }
        let language = response_language(&self.builder.settings().schema, table.parts(bucket), record);
        let batch = &mut self.batches[number];
        let (values, cancel) = (&mut batch.values, &self.cancel);
        if let Err(error) = self.meter.measure(record.answer(), language, record.prompt, values, cancel) {
            self.failed = Err(error);
            return;
        }
        batch.keys.push(record_key(record));
        if batch.keys.len() == ROWS && self.failed.is_ok() {
            self.failed = flush(batch, table.parts(bucket), &self.builder);
        }
    }

    /// Hands the rest of the block's rows to the builder.
    pub fn end_block(&mut self, table: &BucketTable) -> Result<()> {
        std::mem::replace(&mut self.failed, Ok(()))?;
        let left = self.batches.iter_mut().enumerate().filter(|(_, batch)| !batch.keys.is_empty());
        left.into_iter()
            .try_for_each(|(bucket, batch)| flush(batch, table.parts(bucket as u32), &self.builder))
    }
}

fn flush(batch: &mut Batch, parts: &[String], builder: &Builder) -> Result<()> {
    batch.bucket = builder.bucket(parts)?;
    batch.flush(builder)
}
