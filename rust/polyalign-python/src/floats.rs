//! Numbers out of Arrow columns, as numpy arrays.

use crate::arrow_in;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use numpy::{Element, PyArray1, PyArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// Whole numbers below it are doubles, exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A numpy array of float32, or of float64 where float32 can't hold the type: `[n]` from a column of
/// numbers, `[n, d]` from lists of one length, `[n, columns]` from a table of numbers; null is NaN.
/// `None` if the object has no Arrow interface.
#[pyfunction]
pub fn arrow_floats<'py>(name: &str, object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(column) = arrow_in::column(name, object)? else { return Ok(None) };
    let (chunks, data_type) = (column.chunks, column.field.data_type());
    let floats = match fits_single(data_type) {
        None => return Err(not_numbers(name, data_type)),
        Some(true) => to_numpy::<Float32Type>(object.py(), name, &chunks)?,
        Some(false) => to_numpy::<Float64Type>(object.py(), name, &chunks)?,
    };
    Ok(Some(floats))
}

/// Whether float32 holds all values of a type; `None` if they are not numbers.
fn fits_single(data_type: &DataType) -> Option<bool> {
    match data_type {
        DataType::Boolean | DataType::Float16 | DataType::Float32 => Some(true),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => Some(true),
        DataType::Int32 | DataType::UInt32 | DataType::Int64 | DataType::UInt64 | DataType::Float64 => {
            Some(false)
        }
        DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item) => {
            fits_single(item.data_type())
        }
        DataType::Struct(fields) if !fields.is_empty() => fields
            .iter()
            .map(|field| fits_single(field.data_type()))
            .try_fold(true, |all, one| Some(all & one?)),
        _ => None,
    }
}

fn not_numbers(name: &str, data_type: &DataType) -> PyErr {
    PyTypeError::new_err(format!(
        "{name} must hold numbers (a column of them, of lists of them, or a table of such columns), not Arrow {data_type}"
    ))
}

/// The values of all chunks, in the shape that each of them has beyond its rows.
fn to_numpy<'py, T>(py: Python<'py>, name: &str, chunks: &[ArrayRef]) -> PyResult<Bound<'py, PyAny>>
where
    T: ArrowPrimitiveType<Native: Element + From<f32> + Into<f64>>,
{
    let mut values: Vec<T::Native> = Vec::new();
    let mut shape: Option<Vec<usize>> = None;
    let (mut rows, mut seen) = (0, Vec::new());
    for chunk in chunks {
        let inner = append::<T>(&Place { name, row: rows }, chunk, &mut values)?;
        rows += chunk.len();
        if chunk.is_empty() {
            seen = inner;
        } else if *shape.get_or_insert_with(|| inner.clone()) != inner {
            return Err(PyValueError::new_err(format!(
                "{name} has lists of different lengths: vectors must have one length"
            )));
        }
    }
    let shape = [vec![rows], shape.unwrap_or(seen)].concat();
    Ok(PyArray1::from_vec(py, values).reshape(shape)?.into_any())
}

/// Where values came from, for messages.
struct Place<'a> {
    name: &'a str,
    row: usize,
}

/// Appends a chunk's values, and says what shape a row has.
fn append<T>(place: &Place<'_>, array: &ArrayRef, to: &mut Vec<T::Native>) -> PyResult<Vec<usize>>
where
    T: ArrowPrimitiveType<Native: Element + From<f32> + Into<f64>>,
{
    match array.data_type() {
        DataType::FixedSizeList(_, size) => {
            no_nulls(place, array)?;
            let size = usize::try_from(*size).unwrap_or(0);
            let inner = append::<T>(place, array.as_fixed_size_list().values(), to)?;
            Ok([vec![size], inner].concat())
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            lists::<T>(place, array, list.value_offsets(), list.values(), to)
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            lists::<T>(place, array, list.value_offsets(), list.values(), to)
        }
        DataType::Struct(_) => {
            no_nulls(place, array)?;
            let columns = array.as_struct().columns();
            let columns: Vec<PrimitiveArray<T>> =
                columns.iter().map(|column| numbers::<T>(place, column)).collect::<PyResult<_>>()?;
            to.reserve(array.len() * columns.len());
            for row in 0..array.len() {
                to.extend(columns.iter().map(|column| value_or_nan(column, row)));
            }
            Ok(vec![columns.len()])
        }
        _ => {
            let column = numbers::<T>(place, array)?;
            match column.null_count() {
                0 => to.extend_from_slice(column.values()),
                _ => to.extend((0..column.len()).map(|row| value_or_nan(&column, row))),
            }
            Ok(Vec::new())
        }
    }
}

fn lists<T>(
    place: &Place<'_>,
    array: &ArrayRef,
    offsets: &[impl Copy + TryInto<usize>],
    values: &ArrayRef,
    to: &mut Vec<T::Native>,
) -> PyResult<Vec<usize>>
where
    T: ArrowPrimitiveType<Native: Element + From<f32> + Into<f64>>,
{
    no_nulls(place, array)?;
    let offsets: Vec<usize> = offsets.iter().map(|&offset| offset.try_into().unwrap_or(0)).collect();
    let lengths = || offsets.windows(2).map(|ends| ends[1] - ends[0]);
    let length = lengths().next().unwrap_or(0);
    if let Some(row) = lengths().position(|other| other != length) {
        return Err(PyValueError::new_err(format!(
            "{}[{}] has {} numbers, others have {length}: vectors must have one length",
            place.name,
            place.row + row,
            offsets[row + 1] - offsets[row]
        )));
    }
    let used = values.slice(offsets[0], offsets[offsets.len() - 1] - offsets[0]);
    let inner = append::<T>(place, &used, to)?;
    Ok([vec![length], inner].concat())
}

fn no_nulls(place: &Place<'_>, array: &ArrayRef) -> PyResult<()> {
    match (0..array.len()).find(|&row| array.null_count() > 0 && array.is_null(row)) {
        None => Ok(()),
        Some(row) => Err(PyValueError::new_err(format!(
            "{}[{}] is null: leave out rows without a vector",
            place.name,
            place.row + row
        ))),
    }
}

/// A column of numbers in the type asked for, exactly.
fn numbers<T: ArrowPrimitiveType<Native: Into<f64>>>(
    place: &Place<'_>,
    array: &ArrayRef,
) -> PyResult<PrimitiveArray<T>> {
    let unusable = || not_numbers(place.name, array.data_type());
    if array.data_type().is_nested() {
        return Err(unusable());
    }
    let column = cast(array, &T::DATA_TYPE).map_err(|_| unusable())?;
    let column = column.as_primitive_opt::<T>().ok_or_else(unusable)?.clone();
    if matches!(array.data_type(), DataType::Int64 | DataType::UInt64) {
        // 2⁵³ itself may be the rounding of 2⁵³ + 1.
        if let Some(row) = column.values().iter().position(|&value| value.into().abs() >= EXACT) {
            return Err(PyValueError::new_err(format!(
                "{}[{}] is past 2^53, where float64 skips whole numbers: convert the column to float64",
                place.name,
                place.row + row
            )));
        }
    }
    Ok(column)
}

fn value_or_nan<T: ArrowPrimitiveType<Native: From<f32>>>(
    column: &PrimitiveArray<T>,
    row: usize,
) -> T::Native {
    if column.is_null(row) { f32::NAN.into() } else { column.value(row) }
}
