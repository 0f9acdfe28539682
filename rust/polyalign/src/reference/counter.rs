//! From records to a builder's counts: what a thread does that makes a reference.
//!
//! A record is measured when it comes; its row waits with others of its bucket until there are enough, so that a builder's
//! lock is taken once for all of them while their values are still in the cache.

use super::meter::{Meter, Values, record_key, response_language};
use super::{Builder, Variant};
use crate::Result;
use crate::buckets::BucketTable;
use crate::records::record::Record;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Rows of a bucket that are counted together.
const ROWS: usize = 128;

/// Counts records into a builder that threads share, on one thread. Buckets are numbered by a table of the caller's.
pub struct RecordCounter {
    builder: Arc<Builder>,
    meter: Meter,
    /// By the bucket's number in the caller's table.
    waiting: Vec<WaitingRows>,
    /// What went wrong first.
    failed: Result<()>,
}

impl RecordCounter {
    /// One that has seen nothing.
    pub fn new(builder: Arc<Builder>) -> Self {
        let meter = Meter::new(builder.settings().variant);
        Self { builder, meter, waiting: Vec::new(), failed: Ok(()) }
    }

    /// What it counts into.
    pub fn builder(&self) -> &Builder {
        &self.builder
    }

    /// Measures a record of a bucket of the table. What fails is told by [`flush`](Self::flush).
    pub fn add(&mut self, record: &Record<'_>, bucket: u32, table: &BucketTable, stop: &AtomicBool) {
        self.add_with(record, &[], bucket, table, stop);
    }

    /// The same, with what a language model says of it; empty: nothing.
    pub fn add_with(
        &mut self,
        record: &Record<'_>,
        lm: &[f32],
        bucket: u32,
        table: &BucketTable,
        stop: &AtomicBool,
    ) {
        let (number, parts) = (bucket as usize, table.parts(bucket));
        let settings = self.builder.settings();
        while self.waiting.len() <= number {
            self.waiting.push(WaitingRows::new(settings.variant));
        }
        let rows = &mut self.waiting[number];
        let language = response_language(&settings.schema, parts, record);
        if let Err(error) =
            self.meter.measure(record.answer(), language, record.prompt, &mut rows.values, stop)
        {
            self.failed = Err(error);
            return;
        }
        rows.values.end_row(lm, settings.lm_features());
        rows.keys.push(record_key(record));
        if rows.keys.len() == ROWS && self.failed.is_ok() {
            self.failed = rows.flush(parts, &self.builder);
        }
    }

    /// Hands all rows that wait to the builder.
    ///
    /// # Errors
    /// What went wrong first since the last time: values or buckets that can't be counted, and
    /// [`Interrupted`](crate::Error::Interrupted).
    pub fn flush(&mut self, table: &BucketTable) -> Result<()> {
        std::mem::replace(&mut self.failed, Ok(()))?;
        let waiting = (0..).zip(&mut self.waiting).filter(|(_, rows)| !rows.keys.is_empty());
        waiting.into_iter().try_for_each(|(bucket, rows)| rows.flush(table.parts(bucket), &self.builder))
    }

    /// From now on numbers are of another table. Nothing may wait.
    pub fn forget_buckets(&mut self) {
        self.waiting.iter_mut().for_each(|rows| rows.bucket = None);
    }
}

/// Rows of one bucket that are counted together.
struct WaitingRows {
    /// The bucket's number in the builder, once it was asked for.
    bucket: Option<usize>,
    /// A key for each row.
    keys: Vec<u64>,
    values: Values,
}

impl WaitingRows {
    fn new(variant: Variant) -> Self {
        Self { bucket: None, keys: Vec::new(), values: Values::new(variant) }
    }

    fn flush(&mut self, parts: &[String], builder: &Builder) -> Result<()> {
        let bucket = match self.bucket {
            Some(bucket) => bucket,
            None => *self.bucket.insert(builder.bucket(parts)?),
        };
        match &self.values {
            Values::Default(values) => builder.add_rows(bucket, &self.keys, values)?,
            Values::Paper(values) => builder.add_rows(bucket, &self.keys, values)?,
        }
        self.keys.clear();
        self.values.clear();
        Ok(())
    }
}
