//! How every output appears: whole and under its name, or not at all.
//!
//! `OUT` is made in the folder `OUT.partial`, which one job at a time holds locked. It gets its name by a rename that
//! takes the place of nothing but what the job may replace; what a kill leaves of that, the next job makes good.
//!
//! | in `OUT.partial` | what it is |
//! |---|---|
//! | `lock` | locked as long as a job works here |
//! | `out` | the output in the making |
//! | `scratch` | what a library writes before it renames it |
//! | `journal.jsonl` | of a bucketing job: what is finished |
//! | `rows.bin` | of a bucketing job: what it has seen of rows |
//! | `publication.json` | which outputs a finished job was about to name, and their checksums |
//! | `replaced` | what was at `OUT`, for as long as nothing is there |
//! | `old` | what was at `OUT`, about to be removed |

use super::manifest::{BUCKETS, CRITIC, Listing, MANIFEST, PAIRS};
use crate::hash::{Hashed, hex};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::Digest;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const LOCK: &str = "lock";
const WORK: &str = "out";
const SCRATCH: &str = "scratch";
const JOURNAL: &str = "journal.jsonl";
const ROWS: &str = "rows.bin";
const RECORD: &str = "publication.json";
const REPLACED: &str = "replaced";
const OLD: &str = "old";

/// All that there may be in `OUT.partial`, the lock first.
const NAMES: [&str; 8] = [LOCK, WORK, SCRATCH, JOURNAL, ROWS, RECORD, REPLACED, OLD];

/// What file browsers leave in folders that were looked at.
const BROWSERS: [&str; 3] = [".DS_Store", "Thumbs.db", "desktop.ini"];

/// What an output is, and so what it may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file, in place of any other.
    File,
    /// A folder of buckets, in place of another or of an empty one.
    Buckets,
    /// A folder of pairs, in place of another or of an empty one.
    Pairs,
    /// A folder with a critic, in place of another or of an empty one.
    Critic,
}

impl Kind {
    /// What a folder's manifest says of it, and the command that makes it.
    fn of_folder(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::File => None,
            Self::Buckets => Some((BUCKETS, "polyalign bucket")),
            Self::Pairs => Some((PAIRS, "polyalign pairs")),
            Self::Critic => Some((CRITIC, "polyalign critic train")),
        }
    }
}

/// The right to make an output, held by one job at a time.
///
/// Dropped, it leaves nothing behind, unless the work is to be kept.
#[derive(Debug)]
pub struct Claim {
    /// As the user has it.
    shown: PathBuf,
    out: PathBuf,
    partial: PathBuf,
    kind: Kind,
    overwrite: bool,
    /// The checksum of what an unfinished publication has put there already.
    placed: Option<String>,
    /// Folders above that were made for it.
    parents: Vec<PathBuf>,
    /// Whether there is work of this job.
    began: AtomicBool,
    /// Whether it stays when the claim is given up.
    keep: AtomicBool,
    /// `None` once published or given up.
    lock: Mutex<Option<File>>,
}

impl Claim {
    /// Claims an output: locks it, makes good what a kill has left of it, and checks that it may be made.
    ///
    /// # Errors
    /// Another job makes it; it exists and is not to be replaced or not of this kind; a folder that can't be written.
    pub fn take(path: &Path, kind: Kind, overwrite: bool) -> Result<Self> {
        Self::new(path, kind, overwrite, None)
    }

    /// Claims a file that appears together with `main`. One that an interrupted run has named already, before it came
    /// to `main`, is not in the way.
    ///
    /// # Errors
    /// As [`take`](Self::take); a file within `main`.
    pub fn take_beside(path: &Path, kind: Kind, overwrite: bool, main: &Self) -> Result<Self> {
        Self::new(path, kind, overwrite, Some(main))
    }

    fn new(path: &Path, kind: Kind, overwrite: bool, main: Option<&Self>) -> Result<Self> {
        let out = place_of(path)?;
        let Some(name) = out.file_name() else {
            let what = if kind == Kind::File { "file" } else { "folder" };
            return Err(Error::Output(format!("{}: name a {what} to make", path.display())));
        };
        if main.is_some_and(|main| out.starts_with(&main.out) || out.starts_with(&main.partial)) {
            return Err(Error::Output(format!(
                "{}: lies in the folder that is made: name a place outside",
                path.display()
            )));
        }
        if kind == Kind::File && out.is_dir() {
            // The system says best what is wrong with it.
            let error = OpenOptions::new().write(true).open(&out).err();
            return Err(Error::io(path, error.unwrap_or_else(|| io::ErrorKind::IsADirectory.into())));
        }
        let partial = partial_of(&out, name);
        refuse_foreign(&partial, kind)?;
        let parents = match kind {
            Kind::Buckets => make_parents(&partial).map_err(|e| Error::io(path, e))?,
            _ => Vec::new(),
        };
        let mut claim = Self {
            lock: Mutex::new(Some(lock(&partial, path)?)),
            shown: path.to_path_buf(),
            out,
            partial,
            kind,
            overwrite,
            placed: None,
            parents,
            began: AtomicBool::new(false),
            keep: AtomicBool::new(false),
        };
        claim.recover()?;
        claim.placed = main.and_then(|main| main.recorded(&claim.out));
        claim.check()?;
        Ok(claim)
    }

    /// Where the output will be.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// The folder in which it is made.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// What is to become the output: the file or folder to make.
    pub fn work(&self) -> PathBuf {
        self.partial.join(WORK)
    }

    /// Where a job notes what is finished.
    pub fn journal(&self) -> PathBuf {
        self.partial.join(JOURNAL)
    }

    /// Where a job notes what it has seen of rows.
    pub fn rows(&self) -> PathBuf {
        self.partial.join(ROWS)
    }

    /// Begins to write, or to go on with what is there.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the claim was given up in the meantime.
    pub fn hold(&self) -> Result<()> {
        let lock = self.guard();
        self.began.store(lock.is_some(), Ordering::Relaxed);
        if lock.is_some() { Ok(()) } else { Err(Error::Interrupted) }
    }

    /// Begins anew: what an earlier job left is cleared away.
    ///
    /// # Errors
    /// As [`hold`](Self::hold); what can't be removed.
    pub fn begin(&self) -> Result<()> {
        self.hold()?;
        self.clear(&[JOURNAL, ROWS, WORK, SCRATCH]).map_err(|e| Error::io(&self.partial, e))
    }

    /// From now on the work outlives the claim, for the next run to go on with.
    pub fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }

    /// Begins a file.
    ///
    /// # Errors
    /// A file that can't be made.
    pub fn create(&self) -> Result<File> {
        self.begin()?;
        File::create(self.work()).map_err(|e| self.failed(e))
    }

    /// A folder for what is renamed to [`work`](Self::work) once it is written.
    ///
    /// # Errors
    /// A folder that can't be made.
    pub fn scratch(&self) -> io::Result<PathBuf> {
        let scratch = self.partial.join(SCRATCH);
        self.clear(&[SCRATCH])?;
        fs::create_dir(&scratch)?;
        Ok(scratch)
    }

    /// An error of the disk, with the output's name.
    pub fn failed(&self, error: io::Error) -> Error {
        Error::io(&self.shown, error)
    }

    /// Whether the output may be made.
    fn check(&self) -> Result<()> {
        if !is_there(&self.out) {
            return Ok(());
        }
        if self.kind != Kind::File && is_empty_folder(&self.out) {
            return self.check_disk();
        }
        if !self.overwrite && !self.is_placed() {
            return Err(Error::Exists(format!(
                "{}: exists already; --overwrite replaces it",
                self.shown.display()
            )));
        }
        self.check_replaceable(&self.out)
    }

    /// A folder where another disk begins can't be replaced.
    fn check_disk(&self) -> Result<()> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let disk = |path: &Path| fs::metadata(path).map(|meta| meta.dev());
            if let (Ok(out), Ok(partial)) = (disk(&self.out), disk(&self.partial))
                && out != partial
            {
                return Err(Error::Output(format!(
                    "{}: another disk begins there: name a folder within it",
                    self.shown.display()
                )));
            }
        }
        Ok(())
    }

    /// Refuses to replace what this job's like has not made.
    fn check_replaceable(&self, at: &Path) -> Result<()> {
        let shown = self.shown.display();
        let Some((format, command)) = self.kind.of_folder() else {
            return match fs::metadata(at) {
                Ok(meta) if meta.is_file() => Ok(()),
                _ => Err(Error::Exists(format!("{shown}: not a file, so it is not replaced; name another"))),
            };
        };
        if is_empty_folder(at) {
            return Ok(());
        }
        foreign_part(at, format).map_or(Ok(()), |why| {
            Err(Error::Exists(format!(
                "{shown}: not an output of {command} ({why}), so it is not replaced; name another, or remove it by hand"
            )))
        })
    }

    /// Whether what is there is what an interrupted run of this job has put there.
    fn is_placed(&self) -> bool {
        self.placed.is_some() && self.placed == identity(&self.out).ok()
    }

    /// Makes good what a kill has left of a publication.
    fn recover(&self) -> Result<()> {
        let recover = || -> io::Result<()> {
            let replaced = self.partial.join(REPLACED);
            if is_there(&replaced) {
                // Killed between two renames: only then nothing is at `OUT`.
                match is_there(&self.out) || self.check_replaceable(&replaced).is_err() {
                    true => self.remove_old(REPLACED)?,
                    false => rename_new(&replaced, &self.out)?,
                }
            }
            self.clear(&[OLD])
        };
        recover().map_err(|e| Error::io(&self.partial, e))?;
        let named = |named: &Named| identity(Path::new(&named.path)).is_ok_and(|found| found == named.sha256);
        let record = self.record();
        if !record.is_empty() && record.iter().all(named) {
            // All have their names: what is left is what was there before, and notes.
            if is_there(&self.work()) {
                self.check_replaceable(&self.work())?;
                self.remove_old(WORK).map_err(|e| Error::io(&self.partial, e))?;
            }
            self.clear(&[JOURNAL, ROWS, RECORD]).map_err(|e| Error::io(&self.partial, e))?;
            record.iter().map(|named| Path::new(&named.path)).filter(|out| *out != self.out).for_each(tidy);
        }
        Ok(())
    }

    /// Removes what was at `OUT`. Under a name that says so, as a kill may leave part of it.
    fn remove_old(&self, name: &str) -> io::Result<()> {
        self.clear(&[OLD])?;
        fs::rename(self.partial.join(name), self.partial.join(OLD))?;
        self.clear(&[OLD])
    }

    fn clear(&self, names: &[&str]) -> io::Result<()> {
        clear(&self.partial, names)
    }

    /// What a finished job was about to name; nothing if there is no such note, or not a whole one.
    fn record(&self) -> Vec<Named> {
        let bytes = fs::read(self.partial.join(RECORD)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// The checksum of an output in that note.
    fn recorded(&self, out: &Path) -> Option<String> {
        let out = out.to_string_lossy();
        self.record().into_iter().find(|named| named.path == out).map(|named| named.sha256)
    }

    /// Notes what is about to be named.
    fn write_record(&self, claims: &[&Self]) -> io::Result<()> {
        let named = claims.iter().map(|claim| {
            let path = claim.out.to_string_lossy().into_owned();
            Ok(Named { path, sha256: identity(&claim.work())? })
        });
        let record: Vec<Named> = named.collect::<io::Result<_>>()?;
        let mut file = File::create(self.partial.join(RECORD))?;
        file.write_all(&serde_json::to_vec(&record)?)?;
        file.sync_all()?;
        sync_folder(&self.partial)
    }

    /// Gives the work its name.
    fn place(&self) -> Result<()> {
        let work = self.work();
        if self.kind != Kind::File {
            return self.place_folder(&work);
        }
        let renamed = match self.overwrite || self.is_placed() {
            true => fs::rename(&work, &self.out),
            false => rename_new(&work, &self.out),
        };
        renamed.map_err(|e| self.not_placed(e))
    }

    fn place_folder(&self, work: &Path) -> Result<()> {
        // A folder takes the place of nothing but an empty folder.
        let renamed = fs::rename(work, &self.out).or_else(|e| match is_empty_folder(&self.out) {
            // Not even of that everywhere; this removes only what is empty still.
            true => fs::remove_dir(&self.out).and_then(|()| fs::rename(work, &self.out)),
            false => Err(e),
        });
        match renamed {
            Ok(()) => return Ok(()),
            Err(e) if !self.overwrite || !is_there(&self.out) => return Err(self.not_placed(e)),
            Err(_) => self.check_replaceable(&self.out)?,
        }
        let failed = |e| self.failed(e);
        if exchange(work, &self.out).is_ok() {
            if let Err(error) = self.check_replaceable(work) {
                // Something else came there in between.
                exchange(work, &self.out).map_err(failed)?;
                return Err(error);
            }
            return self.remove_old(WORK).map_err(failed);
        }
        let replaced = self.partial.join(REPLACED);
        fs::rename(&self.out, &replaced).map_err(failed)?;
        let swapped = self
            .check_replaceable(&replaced)
            .and_then(|()| fs::rename(work, &self.out).map_err(|e| self.not_placed(e)));
        if let Err(error) = swapped {
            rename_new(&replaced, &self.out).map_err(failed)?;
            return Err(error);
        }
        self.remove_old(REPLACED).map_err(failed)
    }

    fn not_placed(&self, error: io::Error) -> Error {
        match is_there(&self.out) && !self.overwrite {
            true => Error::Exists(String::new()),
            false => self.failed(error),
        }
    }

    /// What to say where something stands in the way of `claim` that was not there when the job began.
    fn in_the_way(&self, claim: &Self, error: Error) -> Error {
        let Error::Exists(message) = error else { return error };
        self.keep();
        let what = match claim.overwrite {
            true => message,
            false => {
                format!("{}: appeared while the job ran, so it is left as it is", claim.shown.display())
            }
        };
        let partial = self.partial.display();
        Error::Exists(match self.kind {
            Kind::Buckets => format!(
                "{what}; the finished work is kept in {partial}: the same command goes on from there with --overwrite, \
                 or with another output OTHER once that folder is named OTHER.partial"
            ),
            _ => format!("{what}; the finished work is kept as {partial}/{WORK}: move it to another name"),
        })
    }

    fn guard(&self) -> MutexGuard<'_, Option<File>> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the claim up: what was made is removed, unless it is to be kept.
    pub fn release(&self) {
        self.end(self.guard());
    }

    /// Gives the claim up if nothing was written yet: of a job that was interrupted while it waits for input.
    pub fn release_unused(&self) {
        let lock = self.guard();
        if !self.began.load(Ordering::Relaxed) {
            self.end(lock);
        }
    }

    fn end(&self, mut lock: MutexGuard<'_, Option<File>>) {
        let Some(lock) = lock.take() else { return };
        if self.began.load(Ordering::Relaxed) && !self.keep.load(Ordering::Relaxed) {
            // It is not what the user waits for; the next job on this output clears it.
            let _ = self.clear(&NAMES[1..]);
        }
        if leave(&self.partial, lock) {
            self.parents.iter().for_each(|folder| drop(fs::remove_dir(folder)));
        }
    }

    fn finish(&self, lock: File) -> Result<()> {
        let cleared = self.clear(&NAMES[1..]);
        leave(&self.partial, lock);
        cleared.map_err(|e| {
            let (shown, partial) = (self.shown.display(), self.partial.display());
            Error::Output(format!("{shown} is complete, but {partial} can't be removed: {e}"))
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}

/// An output of a publication, and its checksum.
#[derive(Serialize, Deserialize)]
struct Named {
    path: String,
    sha256: String,
}

/// Gives finished outputs, which are on disk, their names: all of them, or the next job that claims the last one knows
/// which have theirs.
///
/// # Errors
/// What appeared in the meantime, and is not to be replaced, stays; so does the finished work.
pub fn publish(claims: &[&Claim]) -> Result<()> {
    let Some(main) = claims.last() else { return Ok(()) };
    let mut locks: Vec<_> = claims.iter().map(|claim| claim.guard()).collect();
    if locks.iter().any(|lock| lock.is_none()) {
        // Given up by who waited for it.
        return Err(Error::Interrupted);
    }
    if main.kind != Kind::File {
        main.write_record(claims).map_err(|e| main.failed(e))?;
    }
    for step in [Claim::check, Claim::place] {
        for claim in claims {
            step(claim).map_err(|error| main.in_the_way(claim, error))?;
        }
    }
    for claim in claims {
        sync_folder(claim.out.parent().unwrap_or(&claim.out)).map_err(|e| claim.failed(e))?;
    }
    let mut locked = claims.iter().zip(&mut locks);
    locked.try_for_each(|(claim, lock)| lock.take().map_or(Ok(()), |lock| claim.finish(lock)))
}

/// The place a path stands for; a link's is where it leads.
fn place_of(path: &Path) -> Result<PathBuf> {
    // Without a slash at the end, which would lead on from a link.
    let absolute =
        std::path::absolute(path).map_err(|e| Error::io(path, e))?.components().collect::<PathBuf>();
    match absolute.is_symlink() {
        true => fs::canonicalize(&absolute).map_err(|e| Error::io(path, e)),
        false => Ok(absolute),
    }
}

/// The folder that an output is made in.
fn partial_of(out: &Path, name: &OsStr) -> PathBuf {
    let mut partial = name.to_owned();
    partial.push(".partial");
    out.with_file_name(partial)
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn is_empty_folder(path: &Path) -> bool {
    !path.is_symlink() && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// Makes the folders above a path; which were not there, the innermost first.
fn make_parents(path: &Path) -> io::Result<Vec<PathBuf>> {
    let missing = path.ancestors().skip(1).take_while(|folder| !is_there(folder));
    let missing = missing.map(Path::to_path_buf).collect();
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    Ok(missing)
}

/// Refuses a working folder in which there is what we have not made, or what another command is to go on with.
fn refuse_foreign(partial: &Path, kind: Kind) -> Result<()> {
    let shown = partial.display();
    let Ok(meta) = fs::symlink_metadata(partial) else { return Ok(()) };
    if !meta.is_dir() {
        return Err(Error::Exists(format!(
            "{shown}: in the way of the folder to work in; remove or rename it"
        )));
    }
    if kind != Kind::Buckets && is_there(&partial.join(JOURNAL)) {
        return Err(Error::Exists(format!(
            "{shown}: of an interrupted polyalign bucket; name another output, or remove it"
        )));
    }
    let entries = match fs::read_dir(partial) {
        Ok(entries) => entries,
        // Another job has just removed it.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io(partial, e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(|e| Error::io(partial, e))?.file_name());
    }
    names.sort();
    let foreign = names.iter().find(|name| !NAMES.iter().any(|own| name == own));
    let is_ours = names.iter().any(|name| name == LOCK || name == JOURNAL);
    match foreign.or(names.first().filter(|_| !is_ours)) {
        None => Ok(()),
        Some(name) => Err(Error::Exists(format!(
            "{shown}: polyalign works there but did not make {}; move it, or name another output",
            name.to_string_lossy()
        ))),
    }
}

/// Makes the working folder and locks it.
fn lock(partial: &Path, shown: &Path) -> Result<File> {
    let path = partial.join(LOCK);
    // Who holds the lock may be about to remove it with the folder.
    for _ in 0..1000 {
        match fs::create_dir(partial) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(Error::io(shown, e)),
            _ => {}
        }
        let file = match OpenOptions::new().create(true).truncate(false).write(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::io(shown, e)),
        };
        match file.try_lock() {
            Ok(()) if is_at(&file, &path) => return Ok(file),
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => break,
            // Some network file systems have no locks.
            Err(fs::TryLockError::Error(_)) => return Ok(file),
        }
    }
    Err(Error::Output(format!(
        "{}: another process is writing this output; wait for it or choose another output",
        shown.display()
    )))
}

/// Whether an open file is the one at a path.
fn is_at(file: &File, path: &Path) -> bool {
    let open = file.try_clone().and_then(same_file::Handle::from_file);
    matches!((open, same_file::Handle::from_path(path)), (Ok(open), Ok(found)) if open == found)
}

/// Unlocks a working folder, and removes it if nothing but the lock is in it.
fn leave(partial: &Path, lock: File) -> bool {
    let is_lock = |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() == LOCK);
    let is_done = fs::read_dir(partial).is_ok_and(|mut entries| entries.all(is_lock));
    if is_done {
        // While it is locked: who waits for it looks whether it is still there.
        let _ = fs::remove_file(partial.join(LOCK));
    }
    let _ = lock.unlock();
    drop(lock);
    is_done && fs::remove_dir(partial).is_ok()
}

/// Removes what a kill left where an output was made that has its name.
fn tidy(out: &Path) {
    let Some(name) = out.file_name() else { return };
    let partial = partial_of(out, name);
    if !partial.is_dir() || refuse_foreign(&partial, Kind::File).is_err() {
        return;
    }
    // Another job may be at work there by now.
    if let Ok(lock) = lock(&partial, out) {
        let _ = clear(&partial, &NAMES[1..]);
        leave(&partial, lock);
    }
}

fn clear(partial: &Path, names: &[&str]) -> io::Result<()> {
    names.iter().try_for_each(|name| remove(&partial.join(name)))
}

/// What an output is told from others by: the checksum of a file, or of a folder's manifest, which has those of all
/// its files.
fn identity(path: &Path) -> io::Result<String> {
    let path = if path.is_dir() { &path.join(MANIFEST) } else { path };
    let mut hashed = Hashed::new(io::sink());
    io::copy(&mut File::open(path)?, &mut hashed)?;
    Ok(hex(&hashed.sha256.finalize()))
}

/// Why a folder is not one of this format and no more; `None` if it is.
fn foreign_part(folder: &Path, format: &str) -> Option<String> {
    let Ok(bytes) = fs::read(folder.join(MANIFEST)) else {
        return Some("it has no manifest.json".into());
    };
    let listing = match serde_json::from_slice::<Listing>(&bytes) {
        Ok(listing) if listing.format == format => listing,
        Ok(listing) => return Some(format!("its manifest.json is of {}", listing.format)),
        Err(_) => return Some("its manifest.json is of something else".into()),
    };
    let mut known: HashSet<PathBuf> = HashSet::from([folder.join(MANIFEST)]);
    known.extend(listing.files().map(|file| folder.join(file)));
    let mut folders = vec![folder.to_path_buf()];
    while let Some(inner) = folders.pop() {
        let Ok(entries) = fs::read_dir(&inner) else {
            return Some(format!("{} can't be read", inner.display()));
        };
        for entry in entries {
            let Ok(entry) = entry else { return Some(format!("{} can't be read", inner.display())) };
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if !known.contains(&path) && !BROWSERS.iter().any(|name| entry.file_name() == *name) {
                let name = path.strip_prefix(folder).unwrap_or(&path);
                return Some(format!("it holds {} besides", name.display()));
            }
        }
    }
    None
}

/// Removes a file or folder, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Renames to a name that nothing has.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            // Neither every kernel nor every file system has it.
            Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => {}
            Err(e) => return Err(e.into()),
        }
    }
    // A second name for a file can't take the place of another; nor can a folder.
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(e),
        Err(_) if is_there(to) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

/// Exchanges two names at once, where the system can.
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    {
        let _ = (one, other);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Opens a file to write after its first `bytes`; what is beyond them is cut off.
///
/// # Errors
/// Those of the system.
pub(crate) fn reopen(path: &Path, bytes: u64) -> io::Result<File> {
    // Not to append: Windows cuts no file that is open for that alone.
    let mut file = OpenOptions::new().create(bytes == 0).truncate(false).write(true).open(path)?;
    file.set_len(bytes)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

/// Brings all of a file or folder to the disk.
pub fn sync_tree(path: &Path) -> io::Result<()> {
    if !path.is_dir() {
        // For writing: Windows flushes no other.
        return OpenOptions::new().write(true).open(path)?.sync_all();
    }
    for entry in fs::read_dir(path)? {
        sync_tree(&entry?.path())?;
    }
    sync_folder(path)
}

/// Brings the names in a folder to the disk.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
