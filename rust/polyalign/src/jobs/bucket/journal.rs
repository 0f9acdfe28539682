//! What an interrupted run had finished, so that the same command goes on.
//!
//! `OUT.partial/journal.jsonl` has a line for the job and one for every finished chunk. A line is
//! written once what it speaks of is on disk, so the journal never promises more than there is. It ends
//! in a checksum of itself and of all lines before it, so that none is changed, dropped, doubled or moved
//! without notice.

use super::seen::Noted;
use super::stats::Stats;
use crate::buckets::BucketSchema;
use crate::hash::hex;
use crate::jobs::output::manifest::ListedFile;
use crate::records::shape::FieldSpec;
use crate::stream::block::Position;
use crate::stream::input::{Input, Inputs};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// The journal's layout; raised when it changes.
const VERSION: u32 = 5;

/// Bytes at either end of a file that tell whether it changed.
const END_BYTES: u64 = 1 << 20;

/// The job a journal belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    version: u32,
    /// All settings that the output depends on, as they were given.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// The inputs.
    pub inputs: Vec<InputIdentity>,
    /// The schema with its edges found.
    pub schema: BucketSchema,
    /// What is read, with the shape decided.
    pub fields: FieldSpec,
}

/// What tells whether a file is the same as before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputIdentity {
    /// Relative to the inputs' common root.
    pub file: String,
    size: u64,
    mtime: i128,
    ends_sha256: String,
}

/// A finished chunk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Where the stream goes on.
    pub end: Position,
    /// The rows it takes of those that there may be (`limit`).
    pub rows: u64,
    /// Its files.
    pub shards: Vec<ListedFile>,
    /// Length of the rejects file after it.
    pub rejects_bytes: u64,
    /// Checksum of the rejects file up to there.
    pub rejects_sha256: String,
    /// What is noted of rows after it.
    #[serde(default)]
    pub seen: Noted,
    /// Its counts, but for those of buckets: its files have them.
    pub stats: Stats,
}

impl Header {
    /// Describes a job.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn new(
        settings: serde_json::Map<String, serde_json::Value>,
        inputs: &Inputs,
        schema: &BucketSchema,
        fields: &FieldSpec,
    ) -> Result<Self> {
        // What comes through a pipe is gone when a run is interrupted.
        let files = inputs.files.iter().filter(|input| input.pipe.is_none());
        let inputs = files.map(identity).collect::<Result<_>>()?;
        Ok(Self { version: VERSION, settings, inputs, schema: schema.clone(), fields: fields.clone() })
    }

    /// Why this job can't go on where `old` stopped; `None` if it can.
    pub fn differs(&self, old: &Self) -> Option<String> {
        if self.version != old.version {
            return Some("it was begun by another version of polyalign".into());
        }
        let keys = self.settings.keys().chain(old.settings.keys());
        if let Some(key) = keys.into_iter().find(|key| self.settings.get(*key) != old.settings.get(*key)) {
            return Some(format!("`{key}` was set otherwise"));
        }
        let changed = self.inputs.iter().zip(&old.inputs).find(|(new, old)| new != old);
        match changed {
            Some((new, old)) if new.file == old.file => Some(format!("{} has changed since", new.file)),
            Some((new, old)) if new.file < old.file => Some(format!("{} is new since", new.file)),
            Some((_, old)) => Some(format!("{} is gone since", old.file)),
            None if self.inputs.len() > old.inputs.len() => {
                Some(format!("{} is new since", self.inputs[old.inputs.len()].file))
            }
            None if self.inputs.len() < old.inputs.len() => {
                Some(format!("{} is gone since", old.inputs[self.inputs.len()].file))
            }
            None => None,
        }
    }
}

fn identity(input: &Input) -> Result<InputIdentity> {
    let hash = || -> io::Result<String> {
        let mut file = input.open_file()?;
        let mut hasher = Sha256::new();
        let mut buf = Vec::new();
        (&mut file).take(END_BYTES).read_to_end(&mut buf)?;
        hasher.update(&buf);
        if input.size() > END_BYTES {
            buf.clear();
            file.seek(SeekFrom::Start((input.size() - END_BYTES).max(END_BYTES)))?;
            file.take(END_BYTES).read_to_end(&mut buf)?;
            hasher.update(&buf);
        }
        Ok(hex(&hasher.finalize()))
    };
    let ends_sha256 = hash().map_err(|e| Error::io(&input.path, e))?;
    Ok(InputIdentity { file: input.name.clone(), size: input.size(), mtime: input.stamp.mtime, ends_sha256 })
}

/// Bytes that a line's checksum takes: `,"sha256":"…"}` and the line's end.
const SEAL: usize = 78;

fn seal(before: &str, body: &[u8]) -> (String, String) {
    let sha256 = hex(&Sha256::new().chain_update(before).chain_update(body).finalize());
    (format!(",\"sha256\":\"{sha256}\"}}\n"), sha256)
}

/// A line of a journal, after one with the checksum `before` (the first: after none, ``), and its own checksum.
///
/// # Errors
/// None in practice: all of it can be written as JSON.
pub fn line(before: &str, value: &impl Serialize) -> Result<(Vec<u8>, String)> {
    let mut line = serde_json::to_vec(value).map_err(|e| Error::Output(format!("journal: {e}")))?;
    let (seal, sha256) = seal(before, &line);
    line.pop();
    line.extend_from_slice(seal.as_bytes());
    Ok((line, sha256))
}

/// What a line holds, and its checksum; `None` if it is not as it was written, or not there.
fn unseal<T: DeserializeOwned>(before: &str, line: &[u8]) -> Option<(T, String)> {
    let (body, found) = line.split_at(line.len().checked_sub(SEAL)?);
    let body = [body, b"}"].concat();
    let (seal, sha256) = seal(before, &body);
    if found != seal.as_bytes() {
        return None;
    }
    Some((serde_json::from_slice(&body).ok()?, sha256))
}

/// A journal as it was left behind.
pub struct Journal {
    /// The job.
    pub header: Header,
    /// Its finished chunks.
    pub entries: Vec<Entry>,
    /// Where the lines end, that of the job first.
    marks: Vec<Mark>,
}

/// The end of a line.
#[derive(Clone)]
pub struct Mark {
    /// Bytes up to there.
    pub bytes: u64,
    /// The line's checksum.
    pub sha256: String,
}

impl Journal {
    /// A journal of no chunks.
    pub fn new(header: Header, first: Mark) -> Self {
        Self { header, entries: Vec::new(), marks: vec![first] }
    }

    /// Reads a journal up to the first line that is not whole; the other result says so if that is no line cut off.
    ///
    /// # Errors
    /// A journal that can't be read.
    pub fn read(path: &Path) -> Result<(Option<Self>, Option<String>)> {
        let mut file = match File::open(path) {
            Ok(file) => BufReader::new(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((None, None)),
            Err(e) => return Err(Error::io(path, e)),
        };
        let mut journal: Option<Self> = None;
        let mut line = Vec::new();
        for number in 1u64.. {
            line.clear();
            file.read_until(b'\n', &mut line).map_err(|e| Error::io(path, e))?;
            if line.last() != Some(&b'\n') {
                break;
            }
            let taken = match &mut journal {
                None => unseal("", &line).map(|(header, sha256)| {
                    journal = Some(Self::new(header, Mark { bytes: line.len() as u64, sha256 }));
                }),
                Some(journal) => journal.push(&line),
            };
            if taken.is_none() {
                return Ok((journal, Some(format!("its journal is damaged from line {number} on"))));
            }
        }
        Ok((journal, None))
    }

    fn push(&mut self, line: &[u8]) -> Option<()> {
        let Mark { bytes, sha256 } = self.mark();
        let (entry, sha256) = unseal(sha256, line)?;
        let mark = Mark { bytes: bytes + line.len() as u64, sha256 };
        self.entries.push(entry);
        self.marks.push(mark);
        Some(())
    }

    /// Forgets all chunks after the first few.
    pub fn cut(&mut self, chunks: usize) {
        self.entries.truncate(chunks);
        self.marks.truncate(chunks + 1);
    }

    /// Where the last line ends.
    pub fn mark(&self) -> &Mark {
        // There is that of the job at least.
        &self.marks[self.marks.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_whole_and_in_its_place_or_nothing() {
        let (first, one) = line("", &vec_of(1)).unwrap();
        let (second, _) = line(&one, &vec_of(2)).unwrap();
        assert_eq!(first.len() - serde_json::to_vec(&vec_of(1)).unwrap().len(), SEAL - 1);
        assert!(serde_json::from_slice::<serde_json::Value>(&second).is_ok());
        assert_eq!(unseal::<serde_json::Value>(&one, &second).unwrap().0, vec_of(2));
        assert!(unseal::<serde_json::Value>("", &second).is_none());
        for at in 0..second.len() {
            let mut flipped = second.clone();
            flipped[at] ^= 1;
            assert!(unseal::<serde_json::Value>(&one, &flipped).is_none(), "byte {at}");
        }
    }

    fn vec_of(number: u64) -> serde_json::Value {
        serde_json::json!({ "number": number })
    }
}
