//! Strict, lazy JSON: validates a whole record, borrows what is read, builds no tree.

use super::record::Record;
pub use super::record::Reject;
use super::shape::FieldSpec;
use crate::Result;

/// Reads records of one shape from JSON objects.
pub struct JsonRecords {}

/// Per-thread working memory of [`JsonRecords`]: what a record borrows beside the input.
#[derive(Default)]
pub struct Scratch {}

impl JsonRecords {
    /// `fields.shape` must be decided, unless `prompt` and `response` are both given.
    pub fn new(_fields: &FieldSpec) -> Result<Self> {
        todo!()
    }
    /// Parses one JSON object (a line without its line end, or an array element).
    ///
    /// Validate a whole block with `simdutf8::basic::from_utf8` and slice its lines; for a block
    /// that is not UTF-8, use [`parse_bytes`](Self::parse_bytes) line by line.
    pub fn parse<'a>(&self, _record: &'a str, _scratch: &'a mut Scratch) -> Result<Record<'a>, Reject> {
        todo!()
    }
    /// As [`parse`](Self::parse), for bytes that may not be UTF-8 (rejected as `utf8`).
    pub fn parse_bytes<'a>(
        &self,
        _record: &'a [u8],
        _scratch: &'a mut Scratch,
    ) -> Result<Record<'a>, Reject> {
        todo!()
    }
}

/// The shape of a corpus, from up to 100 of its first records (broken ones are passed over).
///
/// Not needed when `fields.shape` is set, or both `fields.prompt` and `fields.response`
/// ([`FieldSpec::needs_shape`]). The error lists the fields seen and the shapes known.
pub fn decide_shape(_samples: &[&[u8]], _fields: &FieldSpec) -> Result<super::shape::Shape> {
    todo!()
}
