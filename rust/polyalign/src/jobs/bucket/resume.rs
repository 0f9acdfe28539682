//! What an interrupted run of a job has left to go on with: as much as is as it was written, if it is of the same job.

use super::job::Job;
use super::journal::{Entry, Header, Journal};
use super::repeats::Repeats;
use super::seen;
use super::stats::{BucketStats, Stats};
use crate::hash::{Hashed, hex};
use crate::jobs::output::manifest::ListedFile;
use crate::jobs::output::publish::Claim;
use crate::jobs::output::shards::{REJECTS, is_test};
use crate::stream::Stream;
use crate::stream::block::Position;
use crate::{Error, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{Array, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// What an interrupted run left to go on with.
pub struct Left {
    /// What it had finished.
    pub journal: Journal,
    /// The counts of that.
    pub totals: Stats,
    /// What it has seen of rows.
    pub repeats: Repeats,
}

impl Left {
    /// Where the stream goes on, and the rows before that.
    pub fn position(&self) -> (Position, u64) {
        let entries = &self.journal.entries;
        let rows = entries.iter().map(|entry| entry.rows).sum();
        (entries.last().map_or(Position::default(), |entry| entry.end), rows)
    }
}

/// What is left of an interrupted run of the job, if it can go on; `warnings` say where it can't, or not from all of it.
///
/// # Errors
/// What is left of another job, unless it is to be overwritten; what can't be read; and [`Error::Interrupted`].
pub fn interrupted(
    job: &Job,
    stream: &Stream<'_>,
    claim: &Claim,
    header: &Header,
    warnings: &mut Vec<String>,
) -> Result<Option<Left>> {
    let (journal, damage) = Journal::read(&claim.journal())?;
    let Some(mut journal) = journal else {
        warnings.extend(damage.map(|what| format!("an interrupted run was given up: {what}")));
        return Ok(None);
    };
    if stream.inputs.has_pipe() {
        warnings.push("an interrupted run can't go on from a pipe: it was started anew".into());
        return Ok(None);
    }
    if job.reference.is_some() && job.assignments_only {
        warnings
            .push("a reference of an output without texts needs one whole run: it was started anew".into());
        return Ok(None);
    }
    match header.differs(&journal.header) {
        None => {}
        Some(why) if job.overwrite => {
            warnings.push(format!("an interrupted run was given up: {why}"));
            return Ok(None);
        }
        Some(why) => {
            return Err(Error::Output(format!(
                "{} holds an interrupted run, but {why}: put that back to go on, or start anew with --overwrite",
                claim.partial().display()
            )));
        }
    }
    let (work, threads, cancel) = (claim.work(), stream.threads(), &stream.progress.cancel);
    let lost = check(&work, &claim.rows(), &mut journal, threads, cancel)?;
    // What came first, as all after it is done again.
    warnings.extend(lost.or(damage).map(|what| {
        let kept = match journal.entries.len() {
            0 => "all was made anew".to_owned(),
            chunks => format!("made anew from chunk {} on", chunks + 1),
        };
        format!("an interrupted run is not as it was left: {what}; {kept}")
    }));
    let totals = totals(&work, &journal.entries, threads, cancel)?;
    let repeats = seen::again(&claim.rows(), journal.entries.last().map(|chunk| chunk.seen), cancel)?;
    Ok(Some(Left { journal, totals, repeats }))
}

/// Cuts a journal back to before the first file in `work`, or part of the notes `rows`, that is not as it says. Returns which
/// that is, in words.
///
/// # Errors
/// [`Error::Interrupted`].
fn check(
    work: &Path,
    rows: &Path,
    journal: &mut Journal,
    threads: usize,
    cancel: &AtomicBool,
) -> Result<Option<String>> {
    let shards: Vec<(usize, &ListedFile)> = by_chunk(&journal.entries);
    let whole = each(shards.len(), threads, |i| is_whole(work, shards[i].1, cancel))?;
    let damaged = whole.iter().position(|whole| !whole).map(|i| (shards[i].0, shards[i].1.file.clone()));
    let before = damaged.as_ref().map_or(journal.entries.len(), |&(chunk, _)| chunk);
    let rejects = whole_rejects(&work.join(REJECTS), &journal.entries[..before]);
    let seen = seen::whole(rows, journal.entries[..rejects].iter().map(|chunk| chunk.seen), cancel)?;
    let all = journal.entries.len();
    journal.cut(seen);
    Ok(match damaged {
        _ if seen < rejects => Some("its notes of rows are damaged".into()),
        _ if rejects < before => Some("its rejects.jsonl is damaged".into()),
        Some((_, file)) if rejects < all => Some(format!("its {file} is damaged")),
        _ => None,
    })
}

/// The counts of all that was written.
///
/// # Errors
/// [`Error::Interrupted`], and shards that can't be read.
fn totals(work: &Path, entries: &[Entry], threads: usize, cancel: &AtomicBool) -> Result<Stats> {
    let mut totals = Stats::default();
    for entry in entries {
        totals.merge(entry.stats.clone());
    }
    let shards = by_chunk(entries);
    let counts = each(shards.len(), threads, |i| {
        let path = work.join(&shards[i].1.file);
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        buckets(&path, is_test(&shards[i].1.file))
    })?;
    for buckets in counts {
        totals.merge(Stats { buckets, ..Stats::default() });
    }
    Ok(totals)
}

fn by_chunk(entries: &[Entry]) -> Vec<(usize, &ListedFile)> {
    let chunks = entries.iter().enumerate();
    chunks.flat_map(|(chunk, entry)| entry.shards.iter().map(move |shard| (chunk, shard))).collect()
}

/// Whether a shard is as it was written.
fn is_whole(work: &Path, shard: &ListedFile, cancel: &AtomicBool) -> Result<bool> {
    let Ok(mut file) = File::open(work.join(&shard.file)) else { return Ok(false) };
    if !file.metadata().is_ok_and(|meta| meta.len() == shard.bytes) {
        return Ok(false);
    }
    let (mut sha256, mut buffer) = (Sha256::new(), vec![0; READ_BYTES]);
    loop {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(&sha256.finalize()) == shard.sha256),
            Ok(n) => sha256.update(&buffer[..n]),
            Err(_) => return Ok(false),
        }
    }
}

/// After how many chunks the rejects file is as it was written.
fn whole_rejects(path: &Path, entries: &[Entry]) -> usize {
    let Ok(file) = File::open(path) else { return 0 };
    let mut file = BufReader::with_capacity(READ_BYTES, file);
    let mut hashed = Hashed::new(io::sink());
    for (chunk, entry) in entries.iter().enumerate() {
        let more = entry.rejects_bytes.saturating_sub(hashed.bytes);
        let copied = io::copy(&mut (&mut file).take(more), &mut hashed);
        if copied.ok() != Some(more) || hex(&hashed.sha256.clone().finalize()) != entry.rejects_sha256 {
            return chunk;
        }
    }
    entries.len()
}

/// The counts of a shard's buckets.
fn buckets(path: &Path, held_out: bool) -> Result<BTreeMap<String, BucketStats>> {
    const COLUMNS: [&str; 4] = ["bucket", "length", "prompt_tokens", "completion_tokens"];
    let failed = |e: &dyn std::fmt::Display| Error::Output(format!("{}: {e}", path.display()));
    let file = File::open(path).map_err(|e| failed(&e))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| failed(&e))?;
    let mask = ProjectionMask::columns(reader.parquet_schema(), COLUMNS);
    let mut buckets: BTreeMap<String, BucketStats> = BTreeMap::new();
    for batch in reader.with_projection(mask).build().map_err(|e| failed(&e))? {
        add(&mut buckets, &batch.map_err(|e| failed(&e))?).ok_or_else(|| failed(&"columns are missing"))?;
    }
    buckets.values_mut().filter(|_| held_out).for_each(|bucket| bucket.held_out = bucket.rows);
    Ok(buckets)
}

fn add(buckets: &mut BTreeMap<String, BucketStats>, batch: &RecordBatch) -> Option<()> {
    let ids = batch.column_by_name("bucket")?.as_string_opt::<i32>()?;
    let number = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<UInt32Type>();
    let (lengths, prompts, completions) =
        (number("length")?, number("prompt_tokens")?, number("completion_tokens")?);
    for row in 0..batch.num_rows() {
        let id = ids.value(row);
        if !buckets.contains_key(id) {
            let parts = id.split(crate::buckets::SEPARATOR).map(str::to_owned).collect();
            buckets.insert(id.to_owned(), BucketStats { parts, ..BucketStats::default() });
        }
        let stats = buckets.get_mut(id)?;
        stats.rows += 1;
        let tokens = |of: &arrow_array::UInt32Array| if of.is_null(row) { 0 } else { of.value(row).into() };
        stats.prompt_tokens += tokens(prompts);
        stats.completion_tokens += tokens(completions);
        stats.lengths.add(lengths.value(row));
    }
    Some(())
}

/// Works on all numbers below `count`, on several threads.
fn each<T: Send>(count: usize, threads: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let share = || -> Result<Vec<(usize, T)>> {
        let mut done = Vec::new();
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                i if i < count => done.push((i, work(i)?)),
                _ => return Ok(done),
            }
        }
    };
    let mut done = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.min(count)).map(|_| scope.spawn(share)).collect();
        let joined = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|panic| Err(Error::panic("looking at an interrupted run", &*panic)))
        });
        // All are joined before the first error is told.
        let shares: Vec<_> = joined.collect();
        shares.into_iter().try_fold(Vec::with_capacity(count), |mut all, share| {
            all.extend(share?);
            Ok::<_, Error>(all)
        })
    })?;
    done.sort_by_key(|&(i, _)| i);
    Ok(done.into_iter().map(|(_, done)| done).collect())
}
