//! Arrow data out of Python objects, validated where it enters.
//!
//! The C interface hands on pointers without their lengths, so that what an array holds can be looked at only as
//! far as its own offsets say. pyarrow knows how long its buffers are, so its objects are asked first.

use crate::arrow_out::Library;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{FieldRef, SchemaRef};
use polyalign::records::validate::{Invalid, validate};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use pyo3_arrow::input::AnyRecordBatch;
use pyo3_arrow::{PyArray, PyChunkedArray};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A column: its chunks, which are sound.
pub struct Column {
    /// The arrays.
    pub chunks: Vec<ArrayRef>,
    /// Their type.
    pub field: FieldRef,
    /// Whether it came as one array rather than as a stream of chunks.
    pub is_array: bool,
}

/// The object's Arrow column, if it has one; `name` is the argument's, for messages.
pub fn column(name: &str, object: &Bound<'_, PyAny>) -> PyResult<Option<Column>> {
    let is_array = object.hasattr("__arrow_c_array__")?;
    if !is_array && !object.hasattr("__arrow_c_stream__")? {
        return Ok(None);
    }
    let object = known_lengths(name, object)?;
    let (chunks, field) = imported(name, || match is_array {
        true => object.extract::<PyArray>().map(|array| {
            let (array, field) = array.into_inner();
            (vec![array], field)
        }),
        false => object.extract::<PyChunkedArray>().map(PyChunkedArray::into_inner),
    })?;
    let mut row = 0;
    for chunk in &chunks {
        object.py().detach(|| checked(chunk)).map_err(|invalid| refused(name, row, invalid))?;
        row += chunk.len();
    }
    Ok(Some(Column { chunks, field, is_array }))
}

/// A column as an array of arro3, or as chunks of it, validated; `None` if the object has no Arrow interface.
#[pyfunction]
pub fn arrow_column<'py>(name: &str, object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = object.py();
    let Some(Column { mut chunks, field, is_array }) = column(name, object)? else { return Ok(None) };
    let column = match chunks.pop() {
        Some(array) if is_array => Library::Arro3.array(py, PyArray::new(array, field)),
        last => {
            chunks.extend(last);
            Library::Arro3.chunked_array(py, PyChunkedArray::try_new(chunks, field)?)
        }
    };
    column.map(Some)
}

/// The object's Arrow table.
pub fn table(name: &str, object: &Bound<'_, PyAny>) -> PyResult<(Vec<RecordBatch>, SchemaRef)> {
    let object = known_lengths(name, object)?;
    let table = imported(name, || Ok(object.extract::<AnyRecordBatch>()?.into_table()?))?;
    let (batches, schema) = table.into_inner();
    let mut row = 0;
    for batch in &batches {
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            let place = || format!("{name}[{:?}]", field.name());
            object.py().detach(|| checked(column)).map_err(|invalid| refused(&place(), row, invalid))?;
        }
        row += batch.num_rows();
    }
    Ok((batches, schema))
}

/// Runs an import, of which arrow panics at some that are broken.
fn imported<T>(name: &str, import: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(import))
        .unwrap_or_else(|_| Err(PyValueError::new_err(format!("{name} is not sound Arrow data"))))
}

fn checked(array: &ArrayRef) -> Result<(), Invalid> {
    let unsound = |_| Err(Invalid { row: None, reason: "its buffers don't fit its type".into() });
    catch_unwind(AssertUnwindSafe(|| validate(&array.to_data()))).unwrap_or_else(unsound)
}

fn refused(name: &str, first: usize, Invalid { row, reason }: Invalid) -> PyErr {
    PyValueError::new_err(match row {
        Some(row) => format!("{name}[{}]: {reason}", first + row),
        None => format!("{name} is not sound Arrow data: {reason}"),
    })
}

/// The object, or all that a reader of pyarrow has yet to read, with buffers as long as their lengths say.
fn known_lengths<'py>(name: &str, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if Library::of(object)? != Library::PyArrow {
        return Ok(object.clone());
    }
    let unsound = |error: PyErr| match error.is_instance_of::<PyValueError>(object.py()) {
        true => PyValueError::new_err(format!(
            "{name} is not sound Arrow data: {}",
            one_line(object.py(), &error)
        )),
        false => error,
    };
    let object = match object.hasattr("read_all")? {
        true => object.call_method0("read_all").map_err(unsound)?,
        false => object.clone(),
    };
    if object.hasattr("validate")? {
        object.call_method0("validate").map_err(unsound)?;
    }
    Ok(object)
}

fn one_line(py: Python<'_>, error: &PyErr) -> String {
    let text = error.value(py).str().unwrap_or_else(|_| PyString::new(py, "no message"));
    text.to_string_lossy().split_whitespace().collect::<Vec<_>>().join(" ")
}
