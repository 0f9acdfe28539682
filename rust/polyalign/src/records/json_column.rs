//! Columns whose text is JSON.

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use parquet::basic::LogicalType;
use parquet::schema::types::{SchemaDescriptor, Type};
use std::sync::Arc;

/// How a field's metadata says that its text is JSON: `datasets`' `Json()`, pyarrow's `json_`, Parquet's JSON.
pub const EXTENSION: (&str, &str) = ("ARROW:extension:name", "arrow.json");

/// Whether a column's text is JSON.
pub fn is_json(field: &Field) -> bool {
    field.metadata().get(EXTENSION.0).is_some_and(|name| name == EXTENSION.1)
}

/// The schema of a Parquet file in which text that Parquet says is JSON is so in Arrow too.
pub fn marked(schema: &SchemaRef, parquet: &SchemaDescriptor) -> SchemaRef {
    let is_json = |leaf: &Arc<parquet::schema::types::ColumnDescriptor>| {
        leaf.logical_type_ref() == Some(&LogicalType::Json)
    };
    let columns = parquet.root_schema().get_fields();
    if !parquet.columns().iter().any(is_json) || columns.len() != schema.fields().len() {
        return Arc::clone(schema);
    }
    let fields = schema.fields().iter().zip(columns).map(|(field, column)| mark(field, column));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn mark(field: &FieldRef, column: &Type) -> FieldRef {
    let marked = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
            if column.is_primitive()
                && column.get_basic_info().logical_type_ref() == Some(&LogicalType::Json) =>
        {
            let mut metadata = field.metadata().clone();
            metadata.entry(EXTENSION.0.to_owned()).or_insert_with(|| EXTENSION.1.to_owned());
            return Arc::new(field.as_ref().clone().with_metadata(metadata));
        }
        DataType::Struct(members) if column.is_group() && column.get_fields().len() == members.len() => {
            let members = members.iter().zip(column.get_fields());
            DataType::Struct(members.map(|(member, column)| mark(member, column)).collect())
        }
        DataType::List(item) => match element(column) {
            Some(column) => DataType::List(mark(item, column)),
            None => return Arc::clone(field),
        },
        DataType::LargeList(item) => match element(column) {
            Some(column) => DataType::LargeList(mark(item, column)),
            None => return Arc::clone(field),
        },
        _ => return Arc::clone(field),
    };
    Arc::new(field.as_ref().clone().with_data_type(marked))
}

/// The elements of a list as Parquet has it: a group of a repeated group of one.
fn element(list: &Type) -> Option<&Type> {
    let [repeated] = list.is_group().then(|| list.get_fields())? else { return None };
    let [element] = repeated.is_group().then(|| repeated.get_fields())? else { return None };
    Some(element)
}
