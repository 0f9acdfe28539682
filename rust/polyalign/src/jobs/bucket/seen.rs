//! What is noted of rows while a job runs, so that the next can go on as if it had seen them: `OUT.partial/rows.bin`.

use super::repeats::{Counts, Repeats, Row};
use crate::jobs::output::publish::reopen;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use twox_hash::XxHash3_64;

/// Where the notes of a chunk end, and those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    bytes: u64,
    /// Checksum of all notes up to there, each with that of those before it as its seed.
    sum: u64,
    counts: Counts,
}

impl Noted {
    fn add(&mut self, note: &[u8]) {
        self.bytes += note.len() as u64;
        self.sum = XxHash3_64::oneshot_with_seed(self.sum, note);
    }
}

/// The rows that were seen, in the making.
pub struct Seen {
    file: File,
    noted: Noted,
    repeats: Repeats,
    /// Notes that are to be written.
    notes: Vec<u8>,
}

impl Seen {
    /// Begins, or goes on after what is noted of `repeats`.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn open(path: &Path, noted: Noted, repeats: Repeats) -> io::Result<Self> {
        Ok(Self { file: reopen(path, noted.bytes)?, noted, repeats, notes: Vec::new() })
    }

    /// The file, to be brought to disk.
    ///
    /// # Errors
    /// One of the system.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Sees rows, in order.
    ///
    /// # Errors
    /// Notes that can't be written.
    pub fn add(&mut self, rows: &[Row]) -> io::Result<()> {
        self.notes.clear();
        for row in rows {
            if self.repeats.wants(row) {
                let note = row.bytes();
                self.noted.add(&note);
                self.notes.extend_from_slice(&note);
            }
            self.repeats.add(row);
        }
        self.file.write_all(&self.notes)
    }

    /// What is noted up to here.
    pub fn noted(&self) -> Noted {
        Noted { counts: self.repeats.counts(), ..self.noted }
    }

    /// What was seen.
    pub fn repeats(&self) -> &Repeats {
        &self.repeats
    }
}

/// After how many of the chunks, each of which ended with these notes, the notes are as they were written.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn whole(path: &Path, chunks: impl Iterator<Item = Noted>, cancel: &AtomicBool) -> Result<usize> {
    let Ok(file) = File::open(path) else { return Ok(0) };
    let (mut file, mut noted, mut whole) = (BufReader::new(file), Noted::default(), 0);
    for chunk in chunks {
        let read = read(&mut file, &mut noted, chunk.bytes, cancel, |_| {})?;
        if !read || (noted.bytes, noted.sum) != (chunk.bytes, chunk.sum) {
            break;
        }
        whole += 1;
    }
    Ok(whole)
}

/// What the chunks of an interrupted run have seen, the last of which ended with these notes.
///
/// # Errors
/// [`Error::Interrupted`], and notes that can't be read.
pub fn again(path: &Path, last: Option<Noted>, cancel: &AtomicBool) -> Result<Repeats> {
    let mut repeats = Repeats::default();
    let Some(last) = last else { return Ok(repeats) };
    let file = File::open(path).map_err(|error| Error::io(path, error))?;
    let mut noted = Noted::default();
    if !read(&mut BufReader::new(file), &mut noted, last.bytes, cancel, |row| repeats.add(&row))? {
        return Err(Error::Output(format!("{}: it was changed while the job began", path.display())));
    }
    repeats.set_counts(last.counts);
    Ok(repeats)
}

/// Reads notes up to a byte; whether there are so many.
fn read(
    file: &mut impl Read,
    noted: &mut Noted,
    end: u64,
    cancel: &AtomicBool,
    mut each: impl FnMut(Row),
) -> Result<bool> {
    let mut note = [0; Row::BYTES];
    while noted.bytes < end {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        if file.read_exact(&mut note).is_err() {
            return Ok(false);
        }
        noted.add(&note);
        each(Row::from_bytes(&note));
    }
    Ok(true)
}
