//! The output folder in the making: shards and rejects in order, and a journal of what is finished.

use super::encode::{Encoded, Encoder};
use super::journal::{self, Entry, Header, Journal, Mark};
use super::repeats::Repeats;
use super::resume::Left;
use super::seen::{Noted, Seen};
use super::stats::Stats;
use super::worker::BucketedBlock;
use crate::hash::{Hashed, hex};
use crate::jobs::output::manifest::{ListedFile, MANIFEST};
use crate::jobs::output::publish::{Claim, reopen, sync_folder, sync_tree};
use crate::jobs::output::shards::{REJECTS, TRAIN};
use crate::stream::block::Position;
use crate::{Error, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Wraps an error with the path and what to do.
fn failed(path: &Path, e: &dyn std::fmt::Display) -> Error {
    let e = e.to_string();
    // How the Parquet writer introduces an error of the disk.
    let e = e.strip_prefix("External: ").unwrap_or(&e);
    Error::Output(format!(
        "{}: {e}; make room or another output and run the same command again: it goes on where it stopped",
        path.display()
    ))
}

/// Where a shard is written: to its file, or, if there are many shards at once, to memory first.
enum Sink {
    File(BufWriter<File>),
    Memory(Vec<u8>),
}

impl Write for Sink {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(buf),
            Self::Memory(bytes) => bytes.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Memory(_) => Ok(()),
        }
    }
}

struct OpenShard {
    writer: SerializedFileWriter<Hashed<Sink>>,
    rows: u64,
}

/// The output of a running job.
pub struct Output<'c> {
    claim: &'c Claim,
    encoder: Arc<Encoder>,
    /// Whether shards are split into folders.
    split: bool,
    chunk: u64,
    open: BTreeMap<String, OpenShard>,
    rejects: File,
    rejects_sha256: Sha256,
    rejects_bytes: u64,
    seen: Seen,
    /// Checksum of the journal's last line.
    sealed: String,
    /// Counts of the chunk under way.
    stats: Stats,
    /// Rows it takes.
    rows: u64,
    /// Where the stream goes on after it.
    end: Position,
    /// Whether blocks were appended since a chunk ended.
    is_under_way: bool,
    totals: Stats,
    shards: Vec<ListedFile>,
    committer: Option<Committer>,
}

impl<'c> Output<'c> {
    /// Starts, or goes on with what is left of an interrupted run.
    ///
    /// # Errors
    /// A folder that can't be written.
    pub fn open(
        claim: &'c Claim,
        header: &Header,
        left: Option<Left>,
        encoder: Arc<Encoder>,
        split: bool,
    ) -> Result<Self> {
        claim.hold()?;
        claim.keep();
        let left = match left {
            Some(left) if !left.journal.entries.is_empty() => left,
            _ => {
                Left { journal: begin(claim, header)?, totals: Stats::default(), repeats: Repeats::default() }
            }
        };
        let Left { journal, totals, repeats } = left;
        let rejects = reopen_rejects(claim, journal.entries.last().map_or(0, |e| e.rejects_bytes))?;
        remove_unfinished(claim, &journal)?;
        let Mark { bytes, sha256: sealed } = journal.mark().clone();
        let path = claim.journal();
        let file = reopen(&path, bytes).map_err(|e| failed(&path, &e))?;
        let (rejects, rejects_sha256, rejects_bytes) = rejects;
        let noted = journal.entries.last().map_or(Noted::default(), |entry| entry.seen);
        let seen = Seen::open(&claim.rows(), noted, repeats);
        let (seen, notes) = seen
            .and_then(|seen| seen.file().map(|file| (seen, file)))
            .map_err(|e| failed(&claim.rows(), &e))?;
        let committer = Committer::start(
            path,
            file,
            claim.work(),
            [rejects.try_clone().map_err(|e| failed(&claim.work(), &e))?, notes],
        );
        Ok(Self {
            claim,
            encoder,
            split,
            chunk: journal.entries.len() as u64,
            open: BTreeMap::new(),
            rejects,
            rejects_sha256,
            rejects_bytes,
            seen,
            sealed,
            stats: Stats::default(),
            rows: 0,
            end: Position::default(),
            is_under_way: false,
            totals,
            shards: journal.entries.into_iter().flat_map(|entry| entry.shards).collect(),
            committer: Some(committer),
        })
    }

    /// Counts so far.
    pub fn totals(&self) -> &Stats {
        &self.totals
    }

    /// Shards finished.
    pub fn shards(&self) -> &[ListedFile] {
        &self.shards
    }

    /// The rejects file.
    pub fn rejects(&self) -> ListedFile {
        ListedFile {
            file: REJECTS.to_owned(),
            rows: self.totals.rejected(),
            bytes: self.rejects_bytes,
            sha256: hex(&self.rejects_sha256.clone().finalize()),
        }
    }

    /// What was seen of rows so far.
    pub fn repeats(&self) -> &Repeats {
        self.seen.repeats()
    }

    /// Appends what became of a block, after which the stream goes on at `end`.
    ///
    /// # Errors
    /// Output that can't be written.
    pub fn append(&mut self, block: BucketedBlock, ends_chunk: bool, end: Position) -> Result<()> {
        self.append_block(block)?;
        self.end = end;
        self.is_under_way = !ends_chunk;
        if ends_chunk { self.end_chunk() } else { Ok(()) }
    }

    fn append_block(&mut self, done: BucketedBlock) -> Result<()> {
        for (stem, group) in done.groups {
            self.append_group(stem, group)?;
        }
        if !done.rejects.is_empty() {
            let path = self.claim.work().join(REJECTS);
            self.rejects.write_all(&done.rejects).map_err(|e| failed(&path, &e))?;
            self.rejects_sha256.update(&done.rejects);
            self.rejects_bytes += done.rejects.len() as u64;
        }
        self.seen.add(&done.seen).map_err(|e| failed(&self.claim.rows(), &e))?;
        self.stats.merge(done.stats);
        self.rows += done.rows;
        Ok(())
    }

    fn append_group(&mut self, stem: String, group: Encoded) -> Result<()> {
        let path = self.shard_path(&stem);
        if !self.open.contains_key(&stem) {
            let sink = if self.split {
                Sink::Memory(Vec::new())
            } else {
                Sink::File(BufWriter::with_capacity(1 << 20, create(&path)?))
            };
            let writer = self.encoder.file(Hashed::new(sink)).map_err(|e| failed(&path, &e))?;
            self.open.insert(stem.clone(), OpenShard { writer, rows: 0 });
        }
        let Some(shard) = self.open.get_mut(&stem) else {
            return Ok(());
        };
        shard.rows += group.rows as u64;
        group.append(&mut shard.writer).map_err(|e| failed(&path, &e))
    }

    /// Name of a shard of the chunk under way, below the output folder.
    fn shard_name(&self, stem: &str) -> String {
        format!("data/{stem}-{:05}.parquet", self.chunk)
    }

    fn shard_path(&self, stem: &str) -> PathBuf {
        self.claim.work().join(self.shard_name(stem))
    }

    /// Closes the shards of a chunk; the journal learns of them once they are on disk.
    fn end_chunk(&mut self) -> Result<()> {
        let mut files = Vec::with_capacity(self.open.len());
        let mut shards = Vec::with_capacity(self.open.len());
        for (stem, shard) in std::mem::take(&mut self.open) {
            let path = self.shard_path(&stem);
            let (bytes, sha256) = close(shard.writer, &path)?;
            shards.push(ListedFile { file: self.shard_name(&stem), rows: shard.rows, bytes, sha256 });
            files.push(path);
        }
        let stats = std::mem::take(&mut self.stats);
        self.shards.extend(shards.iter().cloned());
        let ListedFile { bytes: rejects_bytes, sha256: rejects_sha256, .. } = self.rejects();
        let rows = std::mem::take(&mut self.rows);
        let seen = self.seen.noted();
        let entry = Entry { end: self.end, rows, shards, rejects_bytes, rejects_sha256, seen, stats };
        let (line, sealed) = journal::line(&self.sealed, &entry)?;
        self.sealed = sealed;
        self.totals.merge(entry.stats);
        self.chunk += 1;
        let sent = self.committer.as_ref().is_some_and(|c| c.commits.send(Commit { files, line }).is_ok());
        if sent { Ok(()) } else { self.committer.take().map_or(Ok(()), Committer::finish) }
    }

    /// Writes an empty shard if there is none, so that the output can be read as a table.
    fn ensure_shard(&mut self) -> Result<()> {
        if self.shards.is_empty() {
            self.chunk = 0;
            let name = self.shard_name(TRAIN);
            let path = self.shard_path(TRAIN);
            let sink = Sink::File(BufWriter::new(create(&path)?));
            let writer = self.encoder.file(Hashed::new(sink)).map_err(|e| failed(&path, &e))?;
            let (bytes, sha256) = close(writer, &path)?;
            sync_tree(&path).map_err(|e| failed(&path, &e))?;
            self.shards.push(ListedFile { file: name, rows: 0, bytes, sha256 });
        }
        Ok(())
    }

    /// Ends the chunk under way, and waits until all is on disk; after that the manifest can be made from what is known.
    ///
    /// # Errors
    /// Output that can't be written.
    pub fn settle(&mut self) -> Result<()> {
        // The last block need not know that it is the last: it may be full where the input ends.
        if std::mem::take(&mut self.is_under_way) {
            self.end_chunk()?;
        }
        if let Some(committer) = self.committer.take() {
            committer.finish()?;
        }
        self.ensure_shard()
    }

    /// Writes the manifest, with which the output is whole.
    ///
    /// # Errors
    /// Output that can't be written.
    pub fn write_manifest(self, manifest: &[u8]) -> Result<()> {
        let work = self.claim.work();
        let path = work.join(MANIFEST);
        let write = || -> io::Result<()> {
            let mut file = File::create(&path)?;
            file.write_all(manifest)?;
            file.sync_all()?;
            sync_folder(&work)
        };
        write().map_err(|e| failed(&path, &e))
    }
}

impl Drop for Output<'_> {
    /// What is on its way to the disk gets there before another job may work in the folder.
    fn drop(&mut self) {
        if let Some(committer) = self.committer.take() {
            // The job has failed or is stopped already; that is what the caller is told.
            let _ = committer.finish();
        }
    }
}

fn close(writer: SerializedFileWriter<Hashed<Sink>>, path: &Path) -> Result<(u64, String)> {
    let Hashed { sink, sha256, bytes } = writer.into_inner().map_err(|e: ParquetError| failed(path, &e))?;
    match sink {
        Sink::File(buffered) => drop(buffered.into_inner().map_err(|e| failed(path, e.error()))?),
        Sink::Memory(bytes) => create(path)?.write_all(&bytes).map_err(|e| failed(path, &e))?,
    }
    Ok((bytes, hex(&sha256.finalize())))
}

fn create(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|e| failed(folder, &e))?;
    }
    File::create(path).map_err(|e| failed(path, &e))
}

/// Starts anew.
fn begin(claim: &Claim, header: &Header) -> Result<Journal> {
    claim.begin()?;
    let work = claim.work();
    let start = || -> io::Result<()> {
        fs::create_dir_all(work.join("data"))?;
        File::create(work.join(REJECTS))?.sync_all()?;
        sync_folder(&work)
    };
    start().map_err(|e| failed(claim.partial(), &e))?;
    let (line, sha256) = journal::line("", header)?;
    let path = claim.journal();
    let write = || -> io::Result<()> {
        let mut file = File::create(&path)?;
        file.write_all(&line)?;
        file.sync_all()?;
        sync_folder(claim.partial())
    };
    write().map_err(|e| failed(&path, &e))?;
    Ok(Journal::new(header.clone(), Mark { bytes: line.len() as u64, sha256 }))
}

/// Cuts the rejects file back to the last finished chunk.
fn reopen_rejects(claim: &Claim, bytes: u64) -> Result<(File, Sha256, u64)> {
    let path = claim.work().join(REJECTS);
    let cut_back = || -> io::Result<(File, Sha256, u64)> {
        let file = reopen(&path, bytes)?;
        let mut hashed = Hashed::new(io::sink());
        io::copy(&mut File::open(&path)?, &mut hashed)?;
        Ok((file, hashed.sha256, bytes))
    };
    cut_back().map_err(|e| failed(&path, &e))
}

/// Removes files of a chunk that was not finished.
fn remove_unfinished(claim: &Claim, journal: &Journal) -> Result<()> {
    let work = claim.work();
    let known = journal.entries.iter().flat_map(|e| &e.shards).map(|s| work.join(&s.file));
    let known: HashSet<PathBuf> = known.chain([work.join(REJECTS)]).collect();
    let mut folders = vec![work];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(failed(&folder, &e)),
        };
        for entry in entries {
            let path = entry.map_err(|e| failed(&folder, &e))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if !known.contains(&path) {
                fs::remove_file(&path).map_err(|e| failed(&path, &e))?;
            }
        }
    }
    Ok(())
}

/// A finished chunk: its files, and its line of the journal. The files are closed: of a chunk split by thousands of
/// families not all can be open.
struct Commit {
    files: Vec<PathBuf>,
    line: Vec<u8>,
}

/// Brings finished chunks to disk on a thread of its own, several at once if they come quickly.
struct Committer {
    commits: Sender<Commit>,
    thread: JoinHandle<Result<()>>,
}

impl Committer {
    /// `appended`: what other files than shards are added to.
    fn start(path: PathBuf, journal: File, work: PathBuf, appended: [File; 2]) -> Self {
        let (commits, receiver) = bounded(16);
        let thread = std::thread::spawn(move || sync_all(&receiver, &path, journal, &work, &appended));
        Self { commits, thread }
    }

    fn finish(self) -> Result<()> {
        drop(self.commits);
        self.thread.join().unwrap_or_else(|panic| Err(Error::panic("writing the output", &*panic)))
    }
}

fn sync_all(
    commits: &Receiver<Commit>,
    path: &Path,
    mut journal: File,
    work: &Path,
    appended: &[File],
) -> Result<()> {
    while let Ok(first) = commits.recv() {
        let mut lines = Vec::new();
        let mut folders = HashSet::from([work.join("data")]);
        for Commit { files, line } in std::iter::once(first).chain(commits.try_iter()) {
            for path in files {
                sync_tree(&path).map_err(|e| failed(&path, &e))?;
                folders.extend(path.ancestors().skip(1).take_while(|f| *f != work).map(Path::to_path_buf));
            }
            lines.extend(line);
        }
        for folder in &folders {
            sync_folder(folder).map_err(|e| failed(folder, &e))?;
        }
        appended.iter().try_for_each(File::sync_data).map_err(|e| failed(work, &e))?;
        let append = journal.write_all(&lines).and_then(|()| journal.sync_data());
        append.map_err(|e| failed(path, &e))?;
    }
    Ok(())
}
