//! Records out of Arrow tables: the same shapes, from columns.

use super::json::Reject;
use super::record::Record;
use super::shape::FieldSpec;
use crate::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

/// Reads records of one shape from record batches of one schema.
pub struct TableRecords {}

impl TableRecords {
    /// Finds the columns; decides the shape by column names if `fields.shape` is `None`.
    pub fn new(_schema: &Schema, _fields: &FieldSpec) -> Result<Self> {
        todo!()
    }
    /// Calls `each` with every row's record or reason, in row order.
    pub fn for_each(
        &self,
        _batch: &RecordBatch,
        _each: &mut dyn FnMut(usize, Result<Record<'_>, Reject>),
    ) -> Result<()> {
        todo!()
    }
}
