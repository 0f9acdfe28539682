//! The time zones of a Parquet file's columns: arrow takes them from the Arrow schema beside the data only where the
//! unit of time is the same there.

use super::open::Handle;
use arrow_ipc::convert::try_schema_from_ipc_buffer;
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::Result;
use parquet::file::metadata::ParquetMetaData;
use std::sync::Arc;

/// What a file says of itself, with the zones that its writer named.
///
/// # Errors
/// Metadata that can't be read.
pub fn metadata(file: &Handle) -> Result<ArrowReaderMetadata> {
    let read = ArrowReaderMetadata::load(file, ArrowReaderOptions::default())?;
    let Some(told) = told_schema(read.metadata()) else { return Ok(read) };
    let fields = zoned_fields(read.schema().fields(), told.fields());
    if fields == *read.schema().fields() {
        return Ok(read);
    }
    let schema = Schema::new_with_metadata(fields, read.schema().metadata().clone());
    let options = ArrowReaderOptions::default().with_schema(Arc::new(schema));
    ArrowReaderMetadata::try_new(Arc::clone(read.metadata()), options)
}

/// The Arrow schema that a writer left beside the data.
fn told_schema(metadata: &ParquetMetaData) -> Option<Schema> {
    let entries = metadata.file_metadata().key_value_metadata()?;
    let entry = entries.iter().find(|entry| entry.key == ARROW_SCHEMA_META_KEY)?;
    try_schema_from_ipc_buffer(&STANDARD.decode(entry.value.as_deref()?).ok()?).ok()
}

fn zoned_fields(read: &Fields, told: &Fields) -> Fields {
    let zoned = |field: &FieldRef| match told.find(field.name()) {
        Some((_, told)) => zoned(field, told),
        None => Arc::clone(field),
    };
    read.iter().map(zoned).collect()
}

fn zoned(read: &FieldRef, told: &Field) -> FieldRef {
    use DataType::{FixedSizeList, LargeList, List, Struct, Timestamp};
    let data_type = match (read.data_type(), told.data_type()) {
        (Timestamp(unit, Some(_)), Timestamp(_, zone @ Some(_))) => Timestamp(*unit, zone.clone()),
        (Struct(read), Struct(told)) => Struct(zoned_fields(read, told)),
        (List(read), List(told)) => List(zoned(read, told)),
        (LargeList(read), LargeList(told)) => LargeList(zoned(read, told)),
        (FixedSizeList(read, size), FixedSizeList(told, _)) => FixedSizeList(zoned(read, told), *size),
        _ => return Arc::clone(read),
    };
    Arc::new(read.as_ref().clone().with_data_type(data_type))
}
