//! What an interrupted run had finished, so that the same command goes on.
//!
//! `OUT.partial/journal.jsonl` has a line for the job and one for every finished chunk. A line is
//! written once what it speaks of is on disk, so the journal never promises more than there is.

use super::stats::Stats;
use crate::buckets::BucketSchema;
use crate::io::block::Position;
use crate::io::input::{Input, Inputs};
use crate::io::shape::FieldSpec;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// The journal's layout; raised when it changes.
const VERSION: u32 = 1;

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

/// A file of a finished chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Relative to the output folder, with `/` between folders.
    pub file: String,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// Checksum.
    pub sha256: String,
}

/// A finished chunk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Where the stream goes on.
    pub end: Position,
    /// Its files.
    pub shards: Vec<Shard>,
    /// Length of the rejects file after it.
    pub rejects_bytes: u64,
    /// Its counts.
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
        let files = if inputs.is_stdin() { &[][..] } else { &inputs.files };
        let inputs = files.iter().map(identity).collect::<Result<_>>()?;
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
        let mut file = File::open(&input.path)?;
        let mut hasher = Sha256::new();
        let mut buf = Vec::new();
        (&mut file).take(END_BYTES).read_to_end(&mut buf)?;
        hasher.update(&buf);
        if input.size > END_BYTES {
            buf.clear();
            file.seek(SeekFrom::Start((input.size - END_BYTES).max(END_BYTES)))?;
            file.take(END_BYTES).read_to_end(&mut buf)?;
            hasher.update(&buf);
        }
        Ok(hex(&hasher.finalize()))
    };
    let ends_sha256 = hash().map_err(|e| Error::io(&input.path, e))?;
    Ok(InputIdentity { file: input.name.clone(), size: input.size, mtime: input.mtime, ends_sha256 })
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// One line of a journal.
///
/// # Errors
/// None in practice: all of it can be written as JSON.
pub fn line(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value).map_err(|e| Error::Output(format!("journal: {e}")))?;
    line.push(b'\n');
    Ok(line)
}

/// A journal as it was left behind.
pub struct Journal {
    /// The job.
    pub header: Header,
    /// Its finished chunks.
    pub entries: Vec<Entry>,
    /// Bytes of the journal up to the last whole line.
    pub bytes: u64,
}

impl Journal {
    /// Reads a journal; `None` if there is none, or not even its first line is whole. A last line that
    /// was cut off is left out.
    ///
    /// # Errors
    /// A journal that can't be read.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(path, e)),
        };
        let mut lines = text.split_inclusive(|&b| b == b'\n').filter(|line| line.ends_with(b"\n"));
        let Some(header) =
            lines.next().and_then(|line| Some((serde_json::from_slice(line).ok()?, line.len())))
        else {
            return Ok(None);
        };
        let mut journal = Self { header: header.0, entries: Vec::new(), bytes: header.1 as u64 };
        for line in lines {
            match serde_json::from_slice(line) {
                Ok(entry) => journal.entries.push(entry),
                Err(_) => break,
            }
            journal.bytes += line.len() as u64;
        }
        Ok(Some(journal))
    }
}
