//! JSON values as Arrow arrays, whatever the columns' types.
#![allow(dead_code)] // each test uses its part

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::*;
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field};
use serde_json::Value;
use std::sync::Arc;

/// How the columns of a test hold text and lists.
#[derive(Clone, Copy, Debug)]
pub enum Flavour {
    Plain,
    Large,
    View,
    Dictionary,
    SmallDictionary,
    Sliced,
    /// Lists of JSON, as `datasets` makes them of messages whose keys differ.
    JsonItems,
    /// Everything is JSON.
    JsonColumns,
}

pub const FLAVOURS: [Flavour; 8] = [
    Flavour::Plain,
    Flavour::Large,
    Flavour::View,
    Flavour::Dictionary,
    Flavour::SmallDictionary,
    Flavour::Sliced,
    Flavour::JsonItems,
    Flavour::JsonColumns,
];

/// A field and an array of JSON values, all of one type or null, or all of them as JSON.
pub fn field_and_array(
    name: &str,
    values: &[Value],
    flavour: Flavour,
    is_json: bool,
) -> (Arc<Field>, ArrayRef) {
    if !is_json {
        let array = array(values, flavour);
        return (Arc::new(Field::new(name, array.data_type().clone(), true)), array);
    }
    let texts = values.iter().map(|value| (!value.is_null()).then(|| value.to_string()));
    let extension = [("ARROW:extension:name", "arrow.json"), ("ARROW:extension:metadata", "")];
    let metadata = extension.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let field = Field::new(name, DataType::Utf8, true).with_metadata(metadata);
    (Arc::new(field), Arc::new(texts.collect::<StringArray>()))
}

/// An Arrow array of JSON values, all of one type or null.
pub fn array(values: &[Value], flavour: Flavour) -> ArrayRef {
    match values.iter().find(|value| !value.is_null()) {
        None => Arc::new(NullArray::new(values.len())),
        Some(Value::Bool(_)) => Arc::new(values.iter().map(Value::as_bool).collect::<BooleanArray>()),
        Some(Value::Number(number)) if number.is_i64() => {
            Arc::new(values.iter().map(Value::as_i64).collect::<Int64Array>())
        }
        Some(Value::Number(_)) => Arc::new(values.iter().map(Value::as_f64).collect::<Float64Array>()),
        Some(Value::String(_)) => text(values, flavour),
        Some(Value::Array(_)) => list(values, flavour),
        Some(Value::Object(_)) => structs(values, flavour),
        Some(Value::Null) => unreachable!(),
    }
}

fn text(values: &[Value], flavour: Flavour) -> ArrayRef {
    let texts = values.iter().map(Value::as_str);
    match flavour {
        Flavour::Plain | Flavour::JsonItems | Flavour::JsonColumns => {
            Arc::new(texts.collect::<StringArray>())
        }
        Flavour::Large => Arc::new(texts.collect::<LargeStringArray>()),
        Flavour::View => Arc::new(texts.collect::<StringViewArray>()),
        Flavour::Dictionary => Arc::new(texts.collect::<DictionaryArray<Int32Type>>()),
        Flavour::SmallDictionary => {
            // A null that is a key to a null value.
            let mut keys = Vec::new();
            let mut distinct: Vec<Option<&str>> = vec![None];
            for text in texts {
                let key = distinct.iter().position(|known| *known == text).unwrap_or_else(|| {
                    distinct.push(text);
                    distinct.len() - 1
                });
                keys.push(key as i8);
            }
            let values: StringArray = distinct.into_iter().collect();
            Arc::new(DictionaryArray::<Int8Type>::new(Int8Array::from(keys), Arc::new(values)))
        }
        Flavour::Sliced => {
            let padded = [Some("before")].into_iter().chain(texts).chain([Some("after")]);
            Arc::new(padded.collect::<StringArray>().slice(1, values.len()))
        }
    }
}

fn list(values: &[Value], flavour: Flavour) -> ArrayRef {
    let rows: Vec<&[Value]> =
        values.iter().map(|value| value.as_array().map_or(&[][..], Vec::as_slice)).collect();
    let nulls = Some(values.iter().map(|value| !value.is_null()).collect::<NullBuffer>());
    let is_json = matches!(flavour, Flavour::JsonItems);
    let (field, elements) = field_and_array("item", &rows.concat(), flavour, is_json);
    let lengths = || rows.iter().map(|row| row.len());
    match flavour {
        Flavour::Large => {
            let offsets = OffsetBuffer::from_lengths(lengths());
            Arc::new(LargeListArray::new(field, offsets, elements, nulls))
        }
        Flavour::View => {
            let sizes: ScalarBuffer<i32> = lengths().map(|length| length as i32).collect();
            let starts = OffsetBuffer::<i32>::from_lengths(lengths());
            let offsets: ScalarBuffer<i32> = starts.iter().copied().take(rows.len()).collect();
            Arc::new(ListViewArray::new(field, offsets, sizes, elements, nulls))
        }
        _ => Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths()), elements, nulls)),
    }
}

fn structs(values: &[Value], flavour: Flavour) -> ArrayRef {
    let mut names: Vec<&String> = Vec::new();
    for name in values.iter().filter_map(Value::as_object).flat_map(|object| object.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let column = |name: &String| {
        let members: Vec<Value> =
            values.iter().map(|value| value.get(name).cloned().unwrap_or_default()).collect();
        field_and_array(name, &members, flavour, matches!(flavour, Flavour::JsonColumns))
    };
    let (fields, columns): (Vec<_>, Vec<_>) = names.iter().map(|name| column(name)).unzip();
    let nulls = Some(values.iter().map(|value| !value.is_null()).collect::<NullBuffer>());
    let array = StructArray::new(fields.into(), columns, nulls);
    Arc::new(array)
}

pub fn batch(rows: &[Value], flavour: Flavour) -> RecordBatch {
    RecordBatch::from(structs(rows, flavour).as_struct())
}
