//! One reader, several workers, and the caller's thread, which takes the output in input order.

use super::{Progress, TICK};
use crate::stream::batches::TableBlocks;
use crate::stream::block::{InputBlock, Item, Position, Segment};
use crate::stream::split::TextBlocks;
use crate::{Error, Result};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// Samples are taken from at most this many bytes.
const SAMPLE_BYTES: u64 = 64 << 20;

/// The input, as blocks.
pub struct Blocks {
    /// Blocks that were looked at already.
    seen: VecDeque<InputBlock>,
    source: Source,
}

enum Source {
    Text(Box<TextBlocks>),
    Table(Box<TableBlocks>),
}

impl Blocks {
    /// From JSON files.
    pub fn text(source: TextBlocks) -> Self {
        Self { seen: VecDeque::new(), source: Source::Text(Box::new(source)) }
    }

    /// From tables.
    pub fn table(source: TableBlocks) -> Self {
        Self { seen: VecDeque::new(), source: Source::Table(Box::new(source)) }
    }

    fn read(&mut self, buffer: Vec<u8>) -> Result<Option<InputBlock>> {
        match &mut self.source {
            Source::Text(source) => source.next_block(buffer),
            Source::Table(source) => source.next_block(),
        }
    }

    fn next(&mut self, buffer: impl FnOnce() -> Vec<u8>) -> Result<Option<InputBlock>> {
        match self.seen.pop_front() {
            Some(block) => Ok(Some(block)),
            None => self.read(buffer()),
        }
    }

    /// The first JSON records, up to `count` of them, or those of the first 64 MiB. They stay to be read.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn first(&mut self, count: usize) -> Result<Vec<&[u8]>> {
        let (mut records, mut bytes) = (0, 0);
        while records < count && bytes < SAMPLE_BYTES {
            let Some(block) = self.read(Vec::new())? else { break };
            records += spans(&block).count();
            bytes += block.bytes;
            self.seen.push_back(block);
        }
        Ok(self.seen.iter().flat_map(spans).take(count).collect())
    }

    /// The file of the first JSON record that was looked at.
    pub fn first_file(&self) -> Option<u32> {
        self.seen.iter().flat_map(segments).next().map(|segment| segment.file)
    }
}

/// A block's JSON.
fn segments(block: &InputBlock) -> impl Iterator<Item = &Segment> {
    block.items.iter().filter_map(|item| match item {
        Item::Json(segment) => Some(segment),
        _ => None,
    })
}

/// The bytes of a block's JSON records.
fn spans(block: &InputBlock) -> impl Iterator<Item = &[u8]> {
    segments(block).flat_map(|s| &s.records).map(|span| &block.data[span.range.clone()])
}

/// What a running job's threads share.
#[derive(Clone, Default)]
pub struct Shared {
    /// Set to stop all of them.
    pub cancel: Arc<AtomicBool>,
    /// Input bytes read, as they lie on disk.
    pub bytes_read: Arc<AtomicU64>,
}

/// Bytes that may be between the reader and the writer.
struct Budget {
    used: Mutex<u64>,
    freed: Condvar,
    limit: u64,
}

impl Budget {
    /// Waits for room. A block above the whole budget waits until it is alone.
    fn take(&self, bytes: u64, cancel: &AtomicBool) -> Result<u64> {
        let bytes = bytes.clamp(1, self.limit);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while *used + bytes > self.limit {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            used = self.freed.wait_timeout(used, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
        *used += bytes;
        Ok(bytes)
    }

    fn give(&self, bytes: u64) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) -= bytes;
        self.freed.notify_all();
    }
}

/// One thread's work, with its working memory.
pub trait BlockWorker {
    /// A block's output.
    type Done: Send + 'static;

    /// The output of a block.
    ///
    /// # Errors
    /// [`Error::Interrupted`], and what the job can't go on from.
    fn work(&mut self, block: &InputBlock) -> Result<Self::Done>;

    /// Records that were taken or rejected.
    fn rows(done: &Self::Done) -> u64;
}

/// A block on its way.
struct Work {
    number: u64,
    taken: u64,
    block: InputBlock,
}

/// A block's output on its way.
struct Finished<D> {
    taken: u64,
    done: D,
    ends_chunk: bool,
    end: Position,
}

/// Runs all blocks through workers and hands their output over in input order, with whether the chunk
/// ends there and where the stream goes on.
///
/// `in_flight` bounds the bytes of input held at a time. On an error, threads still busy with a block
/// are left to finish it on their own; they write nothing.
///
/// # Errors
/// That of the first block that failed, of `each`, and [`Error::Interrupted`].
pub fn run<W: BlockWorker + 'static>(
    blocks: Blocks,
    worker: impl Fn() -> W + Send + Sync + 'static,
    threads: usize,
    in_flight: u64,
    shared: &Shared,
    progress: &Progress,
    mut each: impl FnMut(W::Done, bool, Position) -> Result<()>,
) -> Result<()> {
    let budget = Arc::new(Budget { used: Mutex::new(0), freed: Condvar::new(), limit: in_flight });
    let (work_tx, work_rx) = bounded::<Work>(2 * threads);
    let (done_tx, done_rx) = unbounded();
    let (free_tx, free_rx) = bounded(threads + 2);
    let stop = StopOnDrop(Arc::clone(&shared.cancel));
    let mut handles = Vec::with_capacity(threads + 1);
    let worker = Arc::new(worker);
    for _ in 0..threads {
        let (worker, work, done, free) =
            (Arc::clone(&worker), work_rx.clone(), done_tx.clone(), free_tx.clone());
        handles.push(thread::spawn(move || work_all(worker(), &work, &done, &free)));
    }
    drop((work_rx, free_tx));
    let (read_budget, cancel) = (Arc::clone(&budget), Arc::clone(&shared.cancel));
    handles
        .push(thread::spawn(move || read_all(blocks, &read_budget, &cancel, &free_rx, &work_tx, &done_tx)));

    let mut waiting = BTreeMap::new();
    let mut next = 0;
    loop {
        progress.bytes_read.store(shared.bytes_read.load(Ordering::Relaxed), Ordering::Relaxed);
        if progress.cancel.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        match done_rx.recv_timeout(TICK) {
            Ok((number, finished)) => waiting.insert(number, finished),
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        while let Some(finished) = waiting.remove(&next) {
            let Finished { taken, done, ends_chunk, end } = finished?;
            let rows = W::rows(&done);
            each(done, ends_chunk, end)?;
            progress.rows.fetch_add(rows, Ordering::Relaxed);
            budget.give(taken);
            next += 1;
        }
    }
    if let Some((_, finished)) = waiting.pop_first() {
        finished?;
        return Err(Error::Input("a worker thread ended early".into()));
    }
    for handle in handles {
        handle.join().map_err(|panic| Error::panic("a worker thread", &*panic))?;
    }
    stop.disarm();
    progress.bytes_read.store(shared.bytes_read.load(Ordering::Relaxed), Ordering::Relaxed);
    Ok(())
}

/// Stops the other threads however [`run`] ends, unless it ended well.
struct StopOnDrop(Arc<AtomicBool>);

impl StopOnDrop {
    fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Results<D> = Sender<(u64, Result<Finished<D>>)>;

/// The reader's thread.
fn read_all<D>(
    mut blocks: Blocks,
    budget: &Budget,
    cancel: &AtomicBool,
    free: &Receiver<Vec<u8>>,
    work: &Sender<Work>,
    results: &Results<D>,
) {
    let mut number = 0;
    let mut read = |number| -> Result<bool> {
        let Some(block) = blocks.next(|| free.try_recv().unwrap_or_default())? else {
            return Ok(false);
        };
        let taken = budget.take(block.held(), cancel)?;
        Ok(work.send(Work { number, taken, block }).is_ok())
    };
    loop {
        match catch_unwind(AssertUnwindSafe(|| read(number))) {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return,
            Ok(Err(e)) => {
                let _ = results.send((number, Err(e)));
                return;
            }
            Err(panic) => {
                let _ = results.send((number, Err(Error::panic("reading the input", &*panic))));
                return;
            }
        }
        number += 1;
    }
}

/// A worker's thread.
fn work_all<W: BlockWorker>(
    mut worker: W,
    work: &Receiver<Work>,
    results: &Results<W::Done>,
    free: &Sender<Vec<u8>>,
) {
    for Work { number, taken, mut block } in work {
        let result = catch_unwind(AssertUnwindSafe(|| worker.work(&block)))
            .unwrap_or_else(|panic| Err(Error::panic("working on the input", &*panic)));
        let failed = result.is_err();
        let (ends_chunk, end) = (block.ends_chunk, block.end);
        // The buffer of an unusually long record is not kept.
        let buffer = std::mem::take(&mut block.data);
        if buffer.len() as u64 <= 2 * block.bytes.max(1 << 20) && buffer.len() <= 64 << 20 {
            let _ = free.try_send(buffer);
        }
        let finished = result.map(|done| Finished { taken, done, ends_chunk, end });
        if results.send((number, finished)).is_err() || failed {
            return;
        }
    }
}
