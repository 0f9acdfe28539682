//! Records out of blocks, one after the other, with where they are.

use crate::records::json::{self, JsonRecords};
use crate::records::record::{Record, Reject, RejectKind};
use crate::records::table::TableRecords;
use crate::stream::block::{Bad, InputBlock, Item, Rows, Segment, Span};
use crate::stream::input::Inputs;
use crate::{Error, Result};
use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes checked as UTF-8 at once, so that they are still in the cache when they are parsed.
const CHECK_BYTES: usize = 256 << 10;

/// How records are read.
#[derive(Clone)]
pub enum Records {
    /// From JSON.
    Json(JsonRecords),
    /// From tables.
    Table(TableRecords),
}

/// Where a record is.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Index of the file.
    pub file: u32,
    /// Its number in the file, from 0.
    pub row: u64,
    /// Its line, from 1; `None` in tables.
    pub line: Option<u64>,
    /// Its first byte after decompression; `None` in tables.
    pub offset: Option<u64>,
}

impl Place {
    /// Of something unreadable.
    pub fn of(bad: &Bad, inputs: &Inputs) -> Self {
        let is_table = inputs.files[bad.at.file as usize].format.is_table();
        Self {
            file: bad.at.file,
            row: bad.at.row,
            line: (!is_table).then_some(bad.at.line + 1),
            offset: (!is_table).then_some(bad.at.offset),
        }
    }

    /// A record at this place that can't be used.
    pub fn rejected(&self, inputs: &Inputs, id: Option<&str>, kind: RejectKind, reason: &str) -> Rejected {
        Rejected {
            file: inputs.files[self.file as usize].name.clone(),
            line: self.line,
            row: self.row,
            offset: self.offset,
            id: id.map(str::to_owned),
            kind,
            reason: reason.to_owned(),
        }
    }
}

/// A rejected record: a line of the rejects file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Relative to the inputs' common root.
    pub file: String,
    /// Its line, from 1; `None` in tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Its number in the file, from 0.
    pub row: u64,
    /// Its first byte after decompression; `None` in tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The record's id, if it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The kind of reason.
    pub kind: RejectKind,
    /// Why.
    pub reason: String,
}

/// A file whose rest could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Relative to the inputs' common root.
    pub file: String,
    /// Byte offset (decompressed) or row from which on it could not be read.
    pub offset: u64,
    /// Why.
    pub reason: String,
}

/// Reads records on one thread.
pub struct RecordReader {
    records: Records,
    json: json::JsonScratch,
    cancel: Arc<AtomicBool>,
}

impl RecordReader {
    /// A reader of these records, which stops when `cancel` is set.
    pub fn new(records: Records, cancel: Arc<AtomicBool>) -> Self {
        Self { records, json: json::JsonScratch::default(), cancel }
    }

    /// Reads all records of a block; what the reader could not hand on is rejected in its place.
    ///
    /// # Errors
    /// [`Error::Interrupted`], and a batch without the columns of the first.
    pub fn block(
        &mut self,
        block: &InputBlock,
        inputs: &Inputs,
        each: &mut dyn FnMut(Result<Record<'_>, Reject>, Place),
    ) -> Result<()> {
        for item in &block.items {
            match item {
                Item::Json(segment) => self.json(&block.data, segment, inputs, each)?,
                Item::Table(rows) => self.table(rows, &rows.batch, each)?,
                Item::Bad(bad) => {
                    let reject = Reject { kind: bad.kind, reason: bad.reason.clone(), offset: 0, id: None };
                    each(Err(reject), Place::of(bad, inputs));
                }
            }
        }
        Ok(())
    }

    /// Reads the records of a segment.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn json(
        &mut self,
        data: &[u8],
        segment: &Segment,
        inputs: &Inputs,
        each: &mut dyn FnMut(Result<Record<'_>, Reject>, Place),
    ) -> Result<()> {
        let Records::Json(records) = &self.records else {
            return Err(Error::Input("JSON records in a table job".into()));
        };
        records.enter(&inputs.files[segment.file as usize].keys, &mut self.json);
        let mut row = segment.row;
        let mut rest = &segment.records[..];
        while let Some(first) = rest.first() {
            let start = first.range.start;
            let n = rest.partition_point(|span| span.range.start - start < CHECK_BYTES);
            let (piece, after) = rest.split_at(n);
            let end = piece.last().map_or(start, |span| span.range.end);
            let text = simdutf8::basic::from_utf8(&data[start..end]).ok();
            for Span { range, line } in piece {
                if self.cancel.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                // Line ends and commas are ASCII, so that records begin and end at characters.
                let record = match text.and_then(|t| t.get(range.start - start..range.end - start)) {
                    Some(text) => records.parse(text, &mut self.json),
                    None => records.parse_bytes(&data[range.clone()], &mut self.json),
                };
                let offset = segment.offset + (range.start - segment.start) as u64;
                each(record, Place { file: segment.file, row, line: Some(*line + 1), offset: Some(offset) });
                row += 1;
            }
            rest = after;
        }
        Ok(())
    }

    /// Reads the records of a table's rows, as `batch` has them.
    ///
    /// # Errors
    /// [`Error::Interrupted`], and a batch without the columns of the first.
    pub fn table(
        &mut self,
        rows: &Rows,
        batch: &RecordBatch,
        each: &mut dyn FnMut(Result<Record<'_>, Reject>, Place),
    ) -> Result<()> {
        let Records::Table(records) = &self.records else {
            return Err(Error::Input("table rows in a JSON job".into()));
        };
        let mut interrupted = false;
        records.for_each(batch, &mut |i, record| {
            interrupted |= self.cancel.load(Ordering::Relaxed);
            if !interrupted {
                each(record, Place { file: rows.file, row: rows.row + i as u64, line: None, offset: None });
            }
        })?;
        if interrupted { Err(Error::Interrupted) } else { Ok(()) }
    }
}
