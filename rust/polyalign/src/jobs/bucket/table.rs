//! The input's own columns beside ours.

use super::columns::Layout;
use super::encode::Storage;
use crate::buckets::{BucketSchema, unescape_part};
use crate::records::unify::storable;
use crate::{Error, Result};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema};
use std::collections::HashSet;
use std::sync::Arc;

/// Columns that only an output of ours has together.
const MARKS: [&str; 8] =
    ["id", "file", "row", "bucket", "length", "prompt_tokens", "completion_tokens", "group"];

/// Columns that TRL's trainers take for what they make themselves, or for pictures.
const TRAINERS: [&str; 16] = [
    "assistant_masks",
    "attention_mask",
    "chosen_ids",
    "completion_ids",
    "completion_mask",
    "image",
    "images",
    "input_ids",
    "labels",
    "pixel_values",
    "position_ids",
    "prompt_ids",
    "rejected_ids",
    "seq_lengths",
    "token_type_ids",
    "videos",
];

/// Whether a table is an output of ours, or part of one.
pub fn is_output(schema: &Schema) -> bool {
    MARKS.iter().all(|mark| schema.column_with_name(mark).is_some())
}

/// The table with the parts of buckets as labels again: an output of ours holds them as they stand in ids,
/// and what is read from a table is escaped.
///
/// # Errors
/// Columns of parts that are no text.
pub fn with_plain_parts(batch: &RecordBatch, schema: &BucketSchema) -> Result<RecordBatch> {
    if !is_output(batch.schema_ref()) {
        return Ok(batch.clone());
    }
    let is_axis = |name: &str| schema.axes.iter().any(|axis| axis.column() == name);
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, column)| match is_axis(field.name()) {
        true => unescaped(column),
        false => Ok(Arc::clone(column)),
    });
    let columns = columns.collect::<Result<_>>()?;
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

fn unescaped(column: &ArrayRef) -> Result<ArrayRef> {
    if let Some(dictionary) = column.as_any_dictionary_opt() {
        return Ok(dictionary.with_values(unescaped(dictionary.values())?));
    }
    let texts = cast(column, &DataType::Utf8)?;
    let parts = texts.as_string::<i32>();
    if !parts.iter().flatten().any(|part| part.contains('%')) {
        return Ok(Arc::clone(column));
    }
    let plain: StringArray = parts.iter().map(|part| part.map(unescape_part)).collect();
    Ok(cast(&plain, column.data_type())?)
}

/// The columns of a table that stay in the output.
#[derive(Default)]
pub struct OwnColumns {
    /// Their indices.
    pub columns: Vec<usize>,
    /// Their fields in the output.
    pub fields: Vec<(Field, Storage)>,
}

impl OwnColumns {
    /// All columns as Parquet can hold them, except that an output of ours gives up those that are made anew. One
    /// that is named as one of ours, or as one that trainers take for their own, becomes `source_<name>`.
    ///
    /// # Errors
    /// A column of a type that Parquet does not have.
    pub fn new(schema: &Schema, layout: &Layout) -> Result<Self> {
        let ours: HashSet<String> = layout.fields().iter().map(|(field, _)| field.name().clone()).collect();
        let mut own = Self::renamed(schema, &ours, &TRAINERS);
        for (field, _) in &mut own.fields {
            *field = storable(field).map_err(|found| {
                Error::Input(format!(
                    "the column `{}` can't be stored as Parquet, which has no {found}: cast or drop it, or write \
                     no texts with --assignments-only",
                    field.name()
                ))
            })?;
        }
        Ok(own)
    }

    /// All columns as they are, beside columns of these names.
    pub fn beside(schema: &Schema, ours: &HashSet<String>) -> Self {
        Self::renamed(schema, ours, &[])
    }

    fn renamed(schema: &Schema, ours: &HashSet<String>, trainers: &[&str]) -> Self {
        let is_output = is_output(schema);
        let is_taken = |name: &str| ours.contains(name) || trainers.contains(&name);
        let mut own = Self::default();
        let mut names: HashSet<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        for (i, field) in schema.fields().iter().enumerate() {
            let mut field = field.as_ref().clone();
            if is_output && ours.contains(field.name()) {
                continue;
            }
            if is_taken(field.name()) {
                let mut name = format!("source_{}", field.name());
                while names.contains(&name) || is_taken(&name) {
                    name = format!("source_{name}");
                }
                names.insert(name.clone());
                field = field.with_name(name);
            }
            own.columns.push(i);
            own.fields.push((field, Storage::Own));
        }
        own
    }
}
