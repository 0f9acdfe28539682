//! The input's own columns beside ours.

use super::columns::Layout;
use super::encode::Storage;
use arrow::datatypes::{Field, Schema};
use std::collections::HashSet;

/// Columns that only an output of ours has together.
const MARKS: [&str; 8] =
    ["id", "file", "row", "bucket", "length", "prompt_tokens", "completion_tokens", "group"];

/// The columns of a table that stay in the output.
#[derive(Default)]
pub struct OwnColumns {
    /// Their indices.
    pub columns: Vec<usize>,
    /// Their fields in the output.
    pub fields: Vec<(Field, Storage)>,
}

impl OwnColumns {
    /// All columns, except that an output of ours gives up those that are made anew. One that is named
    /// as one of ours becomes `source_<name>`.
    pub fn new(schema: &Schema, layout: &Layout) -> Self {
        let ours: HashSet<String> = layout.fields().iter().map(|(field, _)| field.name().clone()).collect();
        Self::beside(schema, &ours)
    }

    /// As [`new`](Self::new), beside columns of these names.
    pub fn beside(schema: &Schema, ours: &HashSet<String>) -> Self {
        let is_output = MARKS.iter().all(|mark| schema.column_with_name(mark).is_some());
        let mut own = Self::default();
        let mut taken: HashSet<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        for (i, field) in schema.fields().iter().enumerate() {
            let mut field = field.as_ref().clone();
            if ours.contains(field.name()) {
                if is_output {
                    continue;
                }
                let mut name = format!("source_{}", field.name());
                while taken.contains(&name) || ours.contains(&name) {
                    name = format!("source_{name}");
                }
                taken.insert(name.clone());
                field = field.with_name(name);
            }
            own.columns.push(i);
            own.fields.push((field, Storage::Own));
        }
        own
    }
}
