//! Strict, lazy JSON: validates a whole record, borrows what is read, builds no tree.

use super::record::Record;
use super::shape::FieldSpec;
use crate::Result;

/// Why a record can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// A stable word: `json`, `utf8`, `shape`, `type`, `no_response`, `language`, `size`, …
    pub kind: &'static str,
    /// One line for people.
    pub reason: String,
    /// Byte offset within the record where it was noticed.
    pub offset: usize,
}

/// Reads records of one shape from JSON objects.
pub struct JsonRecords {}

/// Per-thread working memory of [`JsonRecords`].
#[derive(Default)]
pub struct Scratch {}

impl JsonRecords {
    /// `fields.shape` must be decided.
    pub fn new(_fields: &FieldSpec) -> Result<Self> {
        todo!()
    }
    /// Parses one JSON object (a line without its line end, or an array element).
    /// `utf8_checked`: the caller has validated the bytes as UTF-8 already.
    pub fn parse<'a>(
        &self,
        _record: &'a [u8],
        _utf8_checked: bool,
        _scratch: &'a mut Scratch,
    ) -> Result<Record<'a>, Reject> {
        todo!()
    }
}
