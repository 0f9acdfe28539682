//! Tables whose columns differ in what does not matter, as one: by name, text as text, lists as lists, what
//! is not there as null.

use super::json_column::{EXTENSION, is_json};
use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, GenericListArray, OffsetSizeTrait, StringArray, StructArray,
    new_null_array,
};
use arrow_buffer::OffsetBuffer;
use arrow_cast::display::FormatOptions;
use arrow_cast::{CastOptions, can_cast_types, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit};
use std::collections::HashMap;
use std::sync::Arc;

/// A column for both of two that have the same name; `None` if there is none.
pub fn merged(a: &Field, b: &Field) -> Option<Field> {
    let nullable = a.is_nullable() || b.is_nullable() || a.data_type().is_null() != b.data_type().is_null();
    let common = match (a.data_type(), b.data_type()) {
        (DataType::Null, _) => b.clone(),
        (_, DataType::Null) => a.clone(),
        // Text that is JSON is no other text.
        _ if is_json(a) != is_json(b) => return None,
        (x, y) => {
            let mut field = a.clone().with_data_type(common_type(x, y)?);
            if a.metadata() != b.metadata() {
                // Of metadata only what both say stays.
                let same = |(key, value): &(&String, &String)| b.metadata().get(*key) == Some(value);
                let same = a.metadata().iter().filter(same);
                field = field.with_metadata(same.map(|(k, v)| (k.clone(), v.clone())).collect());
            }
            field
        }
    };
    Some(common.with_nullable(nullable))
}

fn common_type(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Dictionary, Float32, Float64, LargeList, List, Struct};
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (Dictionary(_, a), Dictionary(_, b)) => common_type(a, b),
        (Dictionary(_, a), b) | (b, Dictionary(_, a)) => common_type(a, b),
        (Struct(a), Struct(b)) => Some(Struct(merged_fields(a, b)?)),
        _ if is_text(a) && is_text(b) => Some(larger(a, b, DataType::Utf8, DataType::LargeUtf8)),
        _ if is_binary(a) && is_binary(b) => Some(larger(a, b, DataType::Binary, DataType::LargeBinary)),
        _ if a.is_integer() && b.is_integer() => common_integer(a, b),
        _ if a.is_floating() && b.is_floating() => {
            let double = matches!(a, Float64) || matches!(b, Float64);
            Some(if double { Float64 } else { Float32 })
        }
        _ => {
            let item = Arc::new(merged(item(a)?, item(b)?)?);
            Some(if is_large(a) || is_large(b) { LargeList(item) } else { List(item) })
        }
    }
}

/// The members of both, those of the first first.
fn merged_fields(a: &Fields, b: &Fields) -> Option<Fields> {
    let mut all: Vec<FieldRef> = Vec::with_capacity(a.len());
    let absent = |field: &Field| Arc::new(field.clone().with_nullable(true));
    for field in a {
        all.push(match b.find(field.name()) {
            Some((_, other)) => Arc::new(merged(field, other)?),
            None => absent(field),
        });
    }
    all.extend(b.iter().filter(|field| a.find(field.name()).is_none()).map(|field| absent(field)));
    // A member that is there twice has no name to go by.
    let names: HashMap<&str, ()> = all.iter().map(|field| (field.name().as_str(), ())).collect();
    (names.len() == all.len()).then(|| Fields::from(all))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn larger(a: &DataType, b: &DataType, small: DataType, large: DataType) -> DataType {
    if *a == large || *b == large { large } else { small }
}

fn common_integer(a: &DataType, b: &DataType) -> Option<DataType> {
    const SIGNED: [DataType; 4] = [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64];
    const UNSIGNED: [DataType; 4] = [DataType::UInt8, DataType::UInt16, DataType::UInt32, DataType::UInt64];
    let place = |types: &[DataType], wanted: &DataType| types.iter().position(|t| t == wanted);
    // Unsigned numbers fit in the next longer signed ones.
    let signed = |t: &DataType| place(&SIGNED, t).or_else(|| place(&UNSIGNED, t).map(|at| at + 1));
    match (place(&UNSIGNED, a), place(&UNSIGNED, b)) {
        (Some(a), Some(b)) => Some(UNSIGNED[a.max(b)].clone()),
        _ => SIGNED.get(signed(a)?.max(signed(b)?)).cloned(),
    }
}

/// The field of a list's elements; `None` if it is no list.
pub(super) fn item(list: &DataType) -> Option<&Field> {
    match list {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => Some(item),
        _ => None,
    }
}

fn is_large(list: &DataType) -> bool {
    matches!(list, DataType::LargeList(_) | DataType::LargeListView(_))
}

/// The column with the type that [`merged`] or [`storable`] found for it.
///
/// # Errors
/// Values that don't fit the type.
pub fn conform(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == to {
        return Ok(Arc::clone(column));
    }
    match (column.data_type(), to) {
        (DataType::Null, _) => Ok(new_null_array(to, column.len())),
        (DataType::Struct(_), DataType::Struct(fields)) => conform_struct(column.as_struct(), fields),
        (DataType::Struct(fields), DataType::Utf8) if fields.is_empty() => Ok(empty_objects(column)),
        (DataType::List(_), DataType::List(item)) => conform_list(column.as_list::<i32>(), item),
        (DataType::LargeList(_), DataType::LargeList(item)) => conform_list(column.as_list::<i64>(), item),
        (DataType::FixedSizeList(..), DataType::FixedSizeList(item, size)) => {
            let list = column.as_fixed_size_list();
            let values = conform(list.values(), item.data_type())?;
            let list = FixedSizeListArray::try_new(Arc::clone(item), *size, values, list.nulls().cloned())?;
            Ok(Arc::new(list))
        }
        (DataType::Dictionary(_, values), _) if values.is_nested() => conform(&cast(column, values)?, to),
        (from, DataType::List(_)) if item(from).is_some() => {
            conform(&cast(column, &DataType::List(of_list(from)))?, to)
        }
        (from, DataType::LargeList(_)) if item(from).is_some() => {
            conform(&cast(column, &DataType::LargeList(of_list(from)))?, to)
        }
        _ => cast(column, to),
    }
}

fn of_list(list: &DataType) -> FieldRef {
    Arc::new(item(list).cloned().unwrap_or_else(|| Field::new("item", DataType::Null, true)))
}

/// As arrow casts; what does not fit is an error, not null.
fn cast(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let strict = CastOptions { safe: false, format_options: FormatOptions::default() };
    cast_with_options(column, to, &strict)
}

fn conform_struct(rows: &StructArray, fields: &Fields) -> Result<ArrayRef, ArrowError> {
    let member = |field: &FieldRef| match rows.column_by_name(field.name()) {
        Some(column) => conform(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), rows.len())),
    };
    let columns = fields.iter().map(member).collect::<Result<Vec<_>, _>>()?;
    let nulls = rows.nulls().cloned();
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, rows.len())?))
}

fn conform_list<O: OffsetSizeTrait>(
    list: &GenericListArray<O>,
    item: &FieldRef,
) -> Result<ArrayRef, ArrowError> {
    let values = conform(list.values(), item.data_type())?;
    let offsets: OffsetBuffer<O> = list.offsets().clone();
    let nulls = list.nulls().cloned();
    Ok(Arc::new(GenericListArray::<O>::try_new(Arc::clone(item), offsets, values, nulls)?))
}

/// Objects without members, as JSON.
fn empty_objects(column: &ArrayRef) -> ArrayRef {
    let rows = (0..column.len()).map(|row| column.is_valid(row).then_some("{}"));
    Arc::new(rows.collect::<StringArray>())
}

/// The column as Parquet can hold it: dictionaries of lists and structs without the dictionary, structs
/// without members as the JSON `{}`, and times in seconds as milliseconds.
///
/// # Errors
/// What it can't hold: of which type.
pub fn storable(field: &Field) -> Result<Field, DataType> {
    let of = |item: &FieldRef| storable(item).map(Arc::new);
    let stored = |data_type| Ok(field.clone().with_data_type(data_type));
    match field.data_type() {
        DataType::Struct(fields) if fields.is_empty() => {
            let mut metadata = field.metadata().clone();
            metadata.insert(EXTENSION.0.to_owned(), EXTENSION.1.to_owned());
            Ok(field.clone().with_data_type(DataType::Utf8).with_metadata(metadata))
        }
        DataType::Struct(fields) => {
            stored(DataType::Struct(fields.iter().map(of).collect::<Result<Vec<_>, _>>()?.into()))
        }
        DataType::List(item) => stored(DataType::List(of(item)?)),
        DataType::LargeList(item) => stored(DataType::LargeList(of(item)?)),
        DataType::FixedSizeList(item, size) => stored(DataType::FixedSizeList(of(item)?, *size)),
        DataType::ListView(item) => Ok(match of(item)? {
            same if same == *item => field.clone(),
            item => field.clone().with_data_type(DataType::List(item)),
        }),
        DataType::LargeListView(item) => Ok(match of(item)? {
            same if same == *item => field.clone(),
            item => field.clone().with_data_type(DataType::LargeList(item)),
        }),
        DataType::Dictionary(_, values) if values.is_nested() => {
            storable(&field.clone().with_data_type(values.as_ref().clone()))
        }
        DataType::Dictionary(_, values) => {
            match storable(&Field::new("", values.as_ref().clone(), true))?.data_type() {
                same if same == values.as_ref() => Ok(field.clone()),
                other => stored(other.clone()),
            }
        }
        DataType::RunEndEncoded(_, values) => match of(values)? {
            same if same == *values => Ok(field.clone()),
            other => castable(field, other.data_type().clone()),
        },
        DataType::Map(entries, is_sorted) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => match of(entries)? {
                same if same == *entries => Ok(field.clone()),
                other => castable(field, DataType::Map(other, *is_sorted)),
            },
            _ => Err(field.data_type().clone()),
        },
        // Arrow writes these as plain integers, which others read as such.
        DataType::Timestamp(TimeUnit::Second, zone) => {
            stored(DataType::Timestamp(TimeUnit::Millisecond, zone.clone()))
        }
        DataType::Time32(TimeUnit::Second) => stored(DataType::Time32(TimeUnit::Millisecond)),
        DataType::Date64 => stored(DataType::Date32),
        other if is_stored(other) => Ok(field.clone()),
        other => Err(other.clone()),
    }
}

/// The field with another type, if arrow casts to it.
fn castable(field: &Field, to: DataType) -> Result<Field, DataType> {
    match can_cast_types(field.data_type(), &to) {
        true => Ok(field.clone().with_data_type(to)),
        false => Err(field.data_type().clone()),
    }
}

fn is_stored(data_type: &DataType) -> bool {
    match data_type {
        DataType::Union(..) | DataType::Interval(IntervalUnit::MonthDayNano) => false,
        DataType::Time32(unit) => matches!(unit, TimeUnit::Second | TimeUnit::Millisecond),
        DataType::Time64(unit) => matches!(unit, TimeUnit::Microsecond | TimeUnit::Nanosecond),
        _ => true,
    }
}
