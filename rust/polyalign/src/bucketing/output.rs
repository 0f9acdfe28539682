//! The output folder: shards and rejects in order, a journal of what is finished, one rename at the end.
//!
//! Everything is made in `OUT.partial`: the journal and, in `OUT.partial/out`, what becomes `OUT`.

use super::encode::{Encoded, Encoder};
use super::journal::{self, Entry, Header, Journal, Shard};
use super::stats::Stats;
use super::worker::Done;
use crate::io::block::Position;
use crate::{Error, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// Where a job writes.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The folder to make.
    pub out: PathBuf,
    /// Where it is made.
    pub partial: PathBuf,
}

impl Paths {
    /// The paths for an output folder.
    ///
    /// # Errors
    /// A path without a last part, like `/`.
    pub fn new(out: &Path) -> Result<Self> {
        let absolute = std::path::absolute(out).map_err(|e| Error::io(out, e))?;
        let Some(name) = absolute.file_name() else {
            return Err(Error::Output(format!("{}: name a folder to make", out.display())));
        };
        let mut partial = name.to_owned();
        partial.push(".partial");
        Ok(Self { partial: absolute.with_file_name(partial), out: absolute })
    }

    fn work(&self) -> PathBuf {
        self.partial.join("out")
    }

    fn journal(&self) -> PathBuf {
        self.partial.join("journal.jsonl")
    }

    /// Whether the output may be made.
    ///
    /// # Errors
    /// It exists, and is not to be replaced or not one of ours.
    pub fn check(&self, overwrite: bool) -> Result<()> {
        if fs::symlink_metadata(&self.out).is_err() {
            return Ok(());
        }
        let shown = self.out.display();
        if !overwrite {
            return Err(Error::Output(format!(
                "{shown} exists: choose another output, or replace it with --overwrite"
            )));
        }
        let is_ours = self.out.join("manifest.json").is_file() && self.out.join("data").is_dir();
        let is_empty = fs::read_dir(&self.out).is_ok_and(|mut entries| entries.next().is_none());
        if is_ours || is_empty {
            return Ok(());
        }
        Err(Error::Output(format!(
            "{shown} is not an output of polyalign (it has no manifest.json): remove it by hand"
        )))
    }
}

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

/// Counts and hashes what is written.
struct Hashed<W> {
    sink: W,
    sha256: Sha256,
    bytes: u64,
}

impl<W> Hashed<W> {
    fn new(sink: W) -> Self {
        Self { sink, sha256: Sha256::new(), bytes: 0 }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.sink.write(buf)?;
        self.sha256.update(&buf[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
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
pub struct Output {
    paths: Paths,
    /// Whether shards are split into folders.
    split: bool,
    chunk: u64,
    open: BTreeMap<String, OpenShard>,
    rejects: File,
    rejects_sha256: Sha256,
    rejects_bytes: u64,
    /// Counts of the chunk under way.
    stats: Stats,
    totals: Stats,
    shards: Vec<Shard>,
    committer: Option<Committer>,
    /// Held locked for as long as the job runs.
    _lock: File,
}

/// What an interrupted run left to go on with.
pub struct Resume {
    /// Where the stream goes on.
    pub position: Position,
    /// Chunks finished.
    pub chunks: u64,
}

impl Output {
    /// The header of the interrupted run in `OUT.partial`, if there is one.
    ///
    /// # Errors
    /// A journal that can't be read.
    pub fn interrupted(paths: &Paths) -> Result<Option<Journal>> {
        Journal::read(&paths.journal())
    }

    /// Starts, or goes on with a journal.
    ///
    /// # Errors
    /// A folder that can't be written, or in which another process works.
    pub fn open(
        paths: Paths,
        header: &Header,
        journal: Option<Journal>,
        split: bool,
    ) -> Result<(Self, Resume)> {
        let lock = lock(&paths)?;
        let journal = match journal {
            Some(journal) if shards_exist(&paths, &journal) => journal,
            _ => begin(&paths, header)?,
        };
        let rejects = reopen_rejects(&paths, journal.entries.last().map_or(0, |e| e.rejects_bytes))?;
        remove_unfinished(&paths, &journal)?;
        let path = paths.journal();
        let file = OpenOptions::new().append(true).open(&path).map_err(|e| failed(&path, &e))?;
        file.set_len(journal.bytes).map_err(|e| failed(&path, &e))?;
        let resume = Resume {
            position: journal.entries.last().map_or(Position::default(), |e| e.end),
            chunks: journal.entries.len() as u64,
        };
        let (rejects, rejects_sha256, rejects_bytes) = rejects;
        let committer = Committer::start(
            path,
            file,
            paths.work(),
            rejects.try_clone().map_err(|e| failed(&paths.work(), &e))?,
        );
        let mut output = Self {
            paths,
            split,
            chunk: resume.chunks,
            open: BTreeMap::new(),
            rejects,
            rejects_sha256,
            rejects_bytes,
            stats: Stats::default(),
            totals: Stats::default(),
            shards: Vec::new(),
            committer: Some(committer),
            _lock: lock,
        };
        for entry in journal.entries {
            output.totals.merge(entry.stats);
            output.shards.extend(entry.shards);
        }
        Ok((output, resume))
    }

    /// Counts so far.
    pub fn totals(&self) -> &Stats {
        &self.totals
    }

    /// Shards finished.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The rejects file's length and checksum.
    pub fn rejects(&self) -> (u64, String) {
        (self.rejects_bytes, journal::hex(&self.rejects_sha256.clone().finalize()))
    }

    /// Appends a block's output.
    ///
    /// # Errors
    /// Output that can't be written.
    pub fn append(&mut self, encoder: &Encoder, done: Done) -> Result<()> {
        for (folder, group) in done.groups {
            self.append_group(encoder, folder, group)?;
        }
        if !done.rejects.is_empty() {
            let path = self.paths.work().join("rejects.jsonl");
            self.rejects.write_all(&done.rejects).map_err(|e| failed(&path, &e))?;
            self.rejects_sha256.update(&done.rejects);
            self.rejects_bytes += done.rejects.len() as u64;
        }
        self.stats.merge(done.stats);
        Ok(())
    }

    fn append_group(&mut self, encoder: &Encoder, folder: String, group: Encoded) -> Result<()> {
        let path = self.shard_path(&folder);
        if !self.open.contains_key(&folder) {
            let sink = if self.split {
                Sink::Memory(Vec::new())
            } else {
                Sink::File(BufWriter::with_capacity(1 << 20, create(&path)?))
            };
            let writer = encoder.file(Hashed::new(sink)).map_err(|e| failed(&path, &e))?;
            self.open.insert(folder.clone(), OpenShard { writer, rows: 0 });
        }
        let Some(shard) = self.open.get_mut(&folder) else {
            return Ok(());
        };
        shard.rows += group.rows as u64;
        group.append(&mut shard.writer).map_err(|e| failed(&path, &e))
    }

    /// Name of a shard of the chunk under way, below the output folder.
    fn shard_name(&self, folder: &str) -> String {
        let separator = if folder.is_empty() { "" } else { "/" };
        format!("data/{folder}{separator}train-{:05}.parquet", self.chunk)
    }

    fn shard_path(&self, folder: &str) -> PathBuf {
        self.paths.work().join(self.shard_name(folder))
    }

    /// Closes the shards of a chunk; the journal learns of them once they are on disk.
    ///
    /// # Errors
    /// Output that can't be written.
    pub fn end_chunk(&mut self, end: Position) -> Result<()> {
        let mut files = Vec::with_capacity(self.open.len());
        let mut shards = Vec::with_capacity(self.open.len());
        for (folder, shard) in std::mem::take(&mut self.open) {
            let path = self.shard_path(&folder);
            let (file, bytes, sha256) = close(shard.writer, &path)?;
            shards.push(Shard { file: self.shard_name(&folder), rows: shard.rows, bytes, sha256 });
            files.push((path, file));
        }
        let stats = std::mem::take(&mut self.stats);
        self.shards.extend(shards.iter().cloned());
        let entry = Entry { end, shards, rejects_bytes: self.rejects_bytes, stats };
        let line = journal::line(&entry)?;
        self.totals.merge(entry.stats);
        self.chunk += 1;
        let sent = self.committer.as_ref().is_some_and(|c| c.commits.send(Commit { files, line }).is_ok());
        if sent { Ok(()) } else { self.committer.take().map_or(Ok(()), Committer::finish) }
    }

    /// Writes an empty shard if there is none, so that the output can be read as a table.
    fn ensure_shard(&mut self, encoder: &Encoder) -> Result<()> {
        if self.shards.is_empty() {
            self.chunk = 0;
            let name = self.shard_name("");
            let path = self.shard_path("");
            let sink = Sink::File(BufWriter::new(create(&path)?));
            let writer = encoder.file(Hashed::new(sink)).map_err(|e| failed(&path, &e))?;
            let (file, bytes, sha256) = close(writer, &path)?;
            file.sync_all().map_err(|e| failed(&path, &e))?;
            self.shards.push(Shard { file: name, rows: 0, bytes, sha256 });
        }
        Ok(())
    }

    /// Waits until all is on disk; after that the manifest can be made from what is known.
    ///
    /// # Errors
    /// Output that can't be written.
    pub fn settle(&mut self, encoder: &Encoder) -> Result<()> {
        if let Some(committer) = self.committer.take() {
            committer.finish()?;
        }
        self.ensure_shard(encoder)
    }

    /// Writes the manifest and makes the output appear, in place of an older one if there is one.
    ///
    /// # Errors
    /// Output that can't be written.
    pub fn publish(&mut self, manifest: &[u8]) -> Result<()> {
        let work = self.paths.work();
        let path = work.join("manifest.json");
        let write = || -> io::Result<()> {
            let mut file = File::create(&path)?;
            file.write_all(manifest)?;
            file.sync_all()?;
            sync_folder(&work)
        };
        write().map_err(|e| failed(&path, &e))?;
        let Paths { out, partial } = &self.paths;
        let replaced = partial.join("replaced");
        let swap = || -> io::Result<()> {
            if fs::symlink_metadata(out).is_ok() {
                fs::rename(out, &replaced)?;
            }
            fs::rename(&work, out)?;
            out.parent().map_or(Ok(()), sync_folder)
        };
        swap().map_err(|e| failed(out, &e))?;
        fs::remove_dir_all(partial).map_err(|e| {
            Error::Output(format!("the output is complete, but {} can't be removed: {e}", partial.display()))
        })
    }
}

impl Drop for Output {
    /// What is on its way to the disk gets there before another job may work in the folder.
    fn drop(&mut self) {
        if let Some(committer) = self.committer.take() {
            // The job has failed or is stopped already; that is what the caller is told.
            let _ = committer.finish();
        }
    }
}

fn close(writer: SerializedFileWriter<Hashed<Sink>>, path: &Path) -> Result<(File, u64, String)> {
    let Hashed { sink, sha256, bytes } = writer.into_inner().map_err(|e: ParquetError| failed(path, &e))?;
    let file = match sink {
        Sink::File(buffered) => buffered.into_inner().map_err(|e| failed(path, e.error()))?,
        Sink::Memory(bytes) => {
            let mut file = create(path)?;
            file.write_all(&bytes).map_err(|e| failed(path, &e))?;
            file
        }
    };
    Ok((file, bytes, journal::hex(&sha256.finalize())))
}

fn create(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|e| failed(folder, &e))?;
    }
    File::create(path).map_err(|e| failed(path, &e))
}

/// Keeps a second process from working in the same folder.
fn lock(paths: &Paths) -> Result<File> {
    fs::create_dir_all(&paths.partial).map_err(|e| failed(&paths.partial, &e))?;
    let path = paths.partial.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| failed(&path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::Output(format!(
            "{}: another process is writing this output; wait for it or choose another output",
            paths.partial.display()
        ))),
        // Some network file systems have no locks.
        Err(fs::TryLockError::Error(_)) => Ok(file),
    }
}

/// Starts anew.
fn begin(paths: &Paths, header: &Header) -> Result<Journal> {
    let work = paths.work();
    let start = || -> io::Result<()> {
        match fs::remove_dir_all(&work) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        fs::create_dir_all(work.join("data"))?;
        File::create(work.join("rejects.jsonl"))?.sync_all()?;
        sync_folder(&work)
    };
    start().map_err(|e| failed(&paths.partial, &e))?;
    let line = journal::line(header)?;
    let path = paths.journal();
    let write = || -> io::Result<()> {
        let mut file = File::create(&path)?;
        file.write_all(&line)?;
        file.sync_all()?;
        sync_folder(&paths.partial)
    };
    write().map_err(|e| failed(&path, &e))?;
    Ok(Journal { header: header.clone(), entries: Vec::new(), bytes: line.len() as u64 })
}

/// Whether all that the journal speaks of is there.
fn shards_exist(paths: &Paths, journal: &Journal) -> bool {
    let work = paths.work();
    let size = |file: &str| fs::metadata(work.join(file)).map_or(u64::MAX, |m| m.len());
    let rejects = journal.entries.last().map_or(0, |e| e.rejects_bytes);
    let whole = |shard: &Shard| size(&shard.file) == shard.bytes;
    let has_rejects = fs::metadata(work.join("rejects.jsonl")).is_ok_and(|m| m.len() >= rejects);
    has_rejects && journal.entries.iter().flat_map(|e| &e.shards).all(whole)
}

/// Cuts the rejects file back to the last finished chunk.
fn reopen_rejects(paths: &Paths, bytes: u64) -> Result<(File, Sha256, u64)> {
    let path = paths.work().join("rejects.jsonl");
    let reopen = || -> io::Result<(File, Sha256, u64)> {
        let file = OpenOptions::new().read(true).append(true).open(&path)?;
        file.set_len(bytes)?;
        let mut hashed = Hashed::new(io::sink());
        io::copy(&mut &file, &mut hashed)?;
        Ok((file, hashed.sha256, bytes))
    };
    reopen().map_err(|e| failed(&path, &e))
}

/// Removes files of a chunk that was not finished.
fn remove_unfinished(paths: &Paths, journal: &Journal) -> Result<()> {
    let work = paths.work();
    let known = journal.entries.iter().flat_map(|e| &e.shards).map(|s| work.join(&s.file));
    let known: HashSet<PathBuf> = known.collect();
    let mut folders = vec![work.join("data")];
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

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// A finished chunk: its files, and its line of the journal.
struct Commit {
    files: Vec<(PathBuf, File)>,
    line: Vec<u8>,
}

/// Brings finished chunks to disk on a thread of its own, several at once if they come quickly.
struct Committer {
    commits: Sender<Commit>,
    thread: JoinHandle<Result<()>>,
}

impl Committer {
    fn start(path: PathBuf, journal: File, work: PathBuf, rejects: File) -> Self {
        let (commits, receiver) = bounded(16);
        let thread = std::thread::spawn(move || sync_all(&receiver, &path, journal, &work, &rejects));
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
    rejects: &File,
) -> Result<()> {
    while let Ok(first) = commits.recv() {
        let mut lines = Vec::new();
        let mut folders = HashSet::from([work.join("data")]);
        for Commit { files, line } in std::iter::once(first).chain(commits.try_iter()) {
            for (path, file) in files {
                file.sync_all().map_err(|e| failed(&path, &e))?;
                folders.extend(path.ancestors().skip(1).take_while(|f| *f != work).map(Path::to_path_buf));
            }
            lines.extend(line);
        }
        for folder in &folders {
            sync_folder(folder).map_err(|e| failed(folder, &e))?;
        }
        rejects.sync_data().map_err(|e| failed(&work.join("rejects.jsonl"), &e))?;
        let append = journal.write_all(&lines).and_then(|()| journal.sync_data());
        append.map_err(|e| failed(path, &e))?;
    }
    Ok(())
}
