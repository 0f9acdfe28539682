//! What travels from the reader to the workers: blocks of whole records and where they are from.

use crate::records::record::RejectKind;
use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A place between two records of the input stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Index of the file.
    pub file: u32,
    /// Decompressed bytes of it before this place (rows in tables).
    pub offset: u64,
    /// Records of it before this place.
    pub row: u64,
    /// Line ends of it before this place.
    pub line: u64,
}

/// Where blocks and chunks are cut, and what is too much.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A block ends with the first record that reaches this.
    pub block_bytes: u64,
    /// A chunk ends with the first record that reaches this.
    pub chunk_bytes: u64,
    /// Records above this are rejected.
    pub max_record_bytes: u64,
    /// Records left to read.
    pub rows: u64,
}

/// What is held of a record at least, with what is made of it: of so many the shortest weigh as much as their block.
pub const ROW_BYTES: u64 = 128;

/// Where one JSON record lies in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its bytes in [`InputBlock::data`].
    pub range: Range<usize>,
    /// Line ends of the file before it.
    pub line: u64,
}

/// Successive JSON records of one file.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Index of the file.
    pub file: u32,
    /// Where the segment begins in [`InputBlock::data`].
    pub start: usize,
    /// Decompressed bytes of the file before `start`.
    pub offset: u64,
    /// Number of the first record in the file.
    pub row: u64,
    /// The records.
    pub records: Vec<Span>,
}

/// A record, or the rest of a file, that the reader could not hand on.
#[derive(Clone, Debug)]
pub struct Bad {
    /// Where it begins.
    pub at: Position,
    /// The kind of reason.
    pub kind: RejectKind,
    /// Why, in one line.
    pub reason: String,
}

/// Successive rows of a table.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Index of the file.
    pub file: u32,
    /// Number of the first row in the file.
    pub row: u64,
    /// The rows.
    pub batch: RecordBatch,
}

/// One part of a block.
#[derive(Clone, Debug)]
pub enum Item {
    /// JSON records.
    Json(Segment),
    /// Rows of a table.
    Table(Rows),
    /// Something unreadable.
    Bad(Bad),
}

/// Whole records: the unit of work. Where a block ends depends on the stream alone.
#[derive(Debug, Default)]
pub struct InputBlock {
    /// The bytes that segments point into.
    pub data: Vec<u8>,
    /// Its parts, in stream order.
    pub items: Vec<Item>,
    /// Decompressed bytes of each file it holds a part of.
    pub file_bytes: Vec<(u32, u64)>,
    /// Input bytes it stands for.
    pub bytes: u64,
    /// Rows it stands for, of those that there may be ([`Limits::rows`]): not the unreadable rest of a file.
    pub rows: u64,
    /// Whether the chunk ends with it.
    pub ends_chunk: bool,
    /// Where the stream goes on.
    pub end: Position,
}

impl InputBlock {
    /// Whether there is nothing in it to work on.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes that its records and what is made of them take at least.
    pub fn held(&self) -> u64 {
        let rows = |item: &Item| match item {
            Item::Json(segment) => segment.records.len(),
            Item::Table(rows) => rows.batch.num_rows(),
            Item::Bad(_) => 1,
        };
        // What was dropped of long records is no longer held.
        let bytes = if self.data.is_empty() { self.bytes } else { self.bytes.min(self.data.len() as u64) };
        bytes.max(ROW_BYTES * self.items.iter().map(rows).sum::<usize>() as u64)
    }

    /// Adds bytes read of a file.
    pub fn add_bytes(&mut self, file: u32, bytes: u64) {
        self.bytes += bytes;
        match self.file_bytes.last_mut() {
            Some((last, total)) if *last == file => *total += bytes,
            _ => self.file_bytes.push((file, bytes)),
        }
    }
}

/// The reason a record is rejected for its size; the same wherever that is noticed.
pub fn size_reason(bytes: u64, max: u64) -> String {
    format!("the record has {bytes} bytes, more than the {max} allowed (--max-record-bytes)")
}
