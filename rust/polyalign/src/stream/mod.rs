//! The inputs of a job as one stream of records, through workers, in input order.

pub mod batches;
pub mod block;
mod foreign;
pub mod input;
pub(crate) mod ipc;
pub(crate) mod open;
mod pipeline;
mod read;
pub mod split;
mod zones;

pub(crate) use pipeline::{BlockWorker, Blocks};
pub(crate) use read::{Place, RecordReader, Records};
pub use read::{Rejected, Unreadable};

use crate::records::json::{JsonRecords, decide_fields};
use crate::records::shape::{FieldSpec, Shape};
use crate::records::table::{self, TableRecords};
use crate::stream::batches::{TableBlocks, Tables, table_schema};
use crate::stream::block::{Limits, Position};
use crate::stream::input::{Inputs, discover};
use crate::stream::split::TextBlocks;
use crate::{Error, Result};
use arrow_schema::SchemaRef;
use crossbeam_channel::RecvTimeoutError;
use pipeline::Shared;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

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

impl Progress {
    fn copy_to(&self, other: &Self) {
        let copy =
            |from: &AtomicU64, to: &AtomicU64| to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        copy(&self.bytes_read, &other.bytes_read);
        copy(&self.bytes_total, &other.bytes_total);
        copy(&self.rows, &other.rows);
    }
}

/// Records that the shape is decided from.
const SAMPLES: usize = 100;

/// How long a cancelled job may go unnoticed, and how long it is waited for before it is left to end on
/// its own.
const TICK: Duration = Duration::from_millis(20);
/// How often a job is looked after from outside: it may be over in less than a tick.
const WATCH: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_millis(500);

/// Runs a job on a thread of its own, so that cancelling works while it waits for a pipe or a disk.
pub(crate) fn supervised<T: Send + 'static>(
    progress: &Progress,
    job: impl FnOnce(&Progress) -> Result<T> + Send + 'static,
) -> Result<T> {
    let inner = Arc::new(Progress::default());
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let shared = Arc::clone(&inner);
    let thread = std::thread::spawn(move || {
        // Nobody listens any more to a job that was left to end on its own.
        let _ = sender.send(job(&shared));
    });
    let mut cancelled: Option<Instant> = None;
    loop {
        let result = receiver.recv_timeout(WATCH);
        inner.copy_to(progress);
        match result {
            Ok(result) => {
                let _ = thread.join();
                return result;
            }
            Err(RecvTimeoutError::Disconnected) => {
                let panic = thread.join().err();
                return Err(panic.map_or(Error::Interrupted, |panic| Error::panic("the job", &*panic)));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if progress.cancel.load(Ordering::Relaxed) {
            inner.cancel.store(true, Ordering::Relaxed);
            if cancelled.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return Err(Error::Interrupted);
            }
        }
    }
}

/// The number of threads that is meant; 0: all cores.
pub(crate) fn thread_count(threads: usize) -> usize {
    match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

/// The inputs of a job under way.
pub(crate) struct Stream<'a> {
    /// The files.
    pub inputs: Arc<Inputs>,
    /// The columns of table input.
    pub table: Option<SchemaRef>,
    /// The different sets of columns that its files have.
    sets: Vec<(u32, Vec<String>)>,
    /// What the caller sees.
    pub progress: &'a Progress,
    limits: Limits,
    threads: usize,
    in_flight: u64,
    shared: Shared,
}

impl<'a> Stream<'a> {
    /// Finds the inputs ([`discover`]). `threads` 0: all cores; `in_flight`: bytes of input held at a time, at most.
    ///
    /// # Errors
    /// Inputs that don't exist or don't go together.
    pub fn open(
        patterns: &[String],
        own: &[PathBuf],
        limits: Limits,
        threads: usize,
        in_flight: u64,
        progress: &'a Progress,
    ) -> Result<Self> {
        let inputs = Arc::new(discover(patterns, own)?);
        progress.bytes_total.store(inputs.size(), Ordering::Relaxed);
        let tables = match inputs.is_table() {
            true => {
                inputs.keep_pipes(&progress.cancel)?;
                Some(table_schema(&inputs)?)
            }
            false => None,
        };
        let (table, sets) = tables.map_or((None, Vec::new()), |Tables { schema, sets }| (Some(schema), sets));
        let threads = thread_count(threads);
        let in_flight = (limits.block_bytes * (threads as u64 + 2)).min(in_flight);
        Ok(Self { inputs, table, sets, progress, limits, threads, in_flight, shared: Shared::default() })
    }

    /// Worker threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Set when the job is to stop.
    pub fn cancel(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.cancel)
    }

    /// Counts anew from the start, for another pass.
    pub fn rewind(&self) {
        self.shared.bytes_read.store(0, Ordering::Relaxed);
        self.progress.rows.store(0, Ordering::Relaxed);
    }

    /// The input from the start.
    pub fn all_blocks(&self) -> Blocks {
        self.blocks(Position::default(), 0)
    }

    /// The input from a position on, which `rows` records lie before.
    pub fn blocks(&self, position: Position, rows: u64) -> Blocks {
        let limits = Limits { rows: self.limits.rows.saturating_sub(rows), ..self.limits };
        let (inputs, shared) = (Arc::clone(&self.inputs), self.shared.clone());
        shared.bytes_read.store(0, Ordering::Relaxed);
        match &self.table {
            Some(schema) => Blocks::table(TableBlocks::new(
                inputs,
                Arc::clone(schema),
                limits,
                position,
                shared.bytes_read,
                shared.cancel,
            )),
            None => Blocks::text(TextBlocks::new(inputs, limits, position, shared.bytes_read, shared.cancel)),
        }
    }

    /// The fields, with the records' shape decided.
    pub fn with_shape(&self, fields: &FieldSpec, blocks: &mut Blocks) -> Result<FieldSpec> {
        let mut fields = fields.clone();
        fields.shape = fields.known_shape();
        if let Some(schema) = &self.table {
            return table::decide_fields(schema, &fields);
        }
        if fields.needs_shape() {
            let samples = blocks.first(SAMPLES)?;
            // No record at all is no error: nothing in, nothing out.
            let decided = match samples.is_empty() {
                true => Ok(FieldSpec { shape: Some(Shape::PromptCompletion), ..fields }),
                false => decide_fields(&samples, &fields),
            };
            let place = |error: Error| match blocks.first_file() {
                Some(file) => Error::Input(format!("{}: {error}", self.inputs.files[file as usize].name)),
                None => error,
            };
            return decided.map_err(place);
        }
        Ok(fields)
    }

    /// The reader of records, and their shape.
    pub fn records(&self, fields: &FieldSpec) -> Result<(Records, Option<Shape>)> {
        match &self.table {
            Some(schema) => {
                let records = TableRecords::new(schema, fields)?;
                let shape = records.shape();
                self.check_shapes(shape, fields)?;
                Ok((Records::Table(records), shape))
            }
            None => Ok((Records::Json(JsonRecords::new(fields)?), fields.shape)),
        }
    }

    /// Refuses tables that together have a shape which not all of them have.
    fn check_shapes(&self, shape: Option<Shape>, fields: &FieldSpec) -> Result<()> {
        let Some(shape) = shape.filter(|_| self.sets.len() > 1) else { return Ok(()) };
        let fits = |names: &[String]| shape.fits(|field| names.iter().any(|name| name == field), fields);
        let (yes, no): (Vec<_>, Vec<_>) = self.sets.iter().partition(|(_, names)| fits(names));
        let name = |set: &(u32, Vec<String>)| self.inputs.files[set.0 as usize].name.as_str();
        match (yes.first(), no.first()) {
            (Some(yes), Some(no)) => Err(Error::Input(format!(
                "{} and {} have different columns: one holds records of the shape {shape}, the other has only {}; \
                 bucket them in separate runs",
                name(yes),
                name(no),
                no.1.join(", "),
            ))),
            _ => Ok(()),
        }
    }

    /// Runs all blocks through workers; `each` gets their output in input order, with whether the chunk ends
    /// there and where the stream goes on.
    pub fn pump<W: BlockWorker + 'static>(
        &self,
        blocks: Blocks,
        worker: impl Fn() -> W + Send + Sync + 'static,
        each: impl FnMut(W::Done, bool, Position) -> Result<()>,
    ) -> Result<()> {
        pipeline::run(blocks, worker, self.threads, self.in_flight, &self.shared, self.progress, each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelling_does_not_wait_for_a_job_that_never_looks() {
        let progress = Progress::default();
        progress.cancel.store(true, Ordering::Relaxed);
        let (release, released) = crossbeam_channel::bounded::<()>(0);
        let ended = Arc::new(AtomicBool::new(false));
        let job = {
            let ended = Arc::clone(&ended);
            move |_: &Progress| {
                let _ = released.recv_timeout(Duration::from_secs(60));
                ended.store(true, Ordering::Relaxed);
                Ok(())
            }
        };
        assert!(matches!(supervised(&progress, job), Err(Error::Interrupted)));
        assert!(!ended.load(Ordering::Relaxed));
        drop(release);
    }
}
