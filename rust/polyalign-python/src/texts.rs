//! Texts out of Python objects, borrowed where they lie.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

/// Strong references to Python strings: what is borrowed from them stays valid with the GIL
/// released, whatever other threads do to the list they came from.
pub struct Strings<'py> {
    /// The argument's name, for messages.
    name: &'static str,
    strings: Vec<Bound<'py, PyString>>,
}

impl<'py> Strings<'py> {
    /// From a list, a tuple, a one-dimensional numpy array of strings, or any iterable of `str`.
    pub fn from_python(name: &'static str, texts: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(list) = texts.cast::<PyList>() {
            return Self::new(name, list.iter().map(Ok));
        }
        if let Ok(tuple) = texts.cast::<PyTuple>() {
            return Self::new(name, tuple.iter().map(Ok));
        }
        if texts.is_instance_of::<PyBytes>() || texts.is_instance_of::<PyDict>() {
            return Err(not_texts(name, texts));
        }
        if texts.hasattr("dtype")? && texts.hasattr("tolist")? {
            return Self::from_numpy(name, texts);
        }
        Self::new(name, texts.try_iter().map_err(|_| not_texts(name, texts))?)
    }

    fn new(name: &'static str, items: impl Iterator<Item = PyResult<Bound<'py, PyAny>>>) -> PyResult<Self> {
        let strings = items.enumerate().map(|(index, item)| as_string(name, index, item?));
        Ok(Self { name, strings: strings.collect::<PyResult<_>>()? })
    }

    fn from_numpy(name: &'static str, array: &Bound<'py, PyAny>) -> PyResult<Self> {
        let dtype = array.getattr("dtype")?;
        let kind: String = dtype.getattr("kind").and_then(|kind| kind.extract()).unwrap_or_default();
        if !matches!(kind.as_str(), "U" | "T" | "O") {
            return Err(PyTypeError::new_err(format!(
                "{name} must be strings, not an array of {dtype}: use dtype str, object or StringDType"
            )));
        }
        let ndim: usize = array.getattr("ndim")?.extract()?;
        if ndim != 1 {
            return Err(PyValueError::new_err(format!(
                "{name} must be one-dimensional, not {ndim}-dimensional: use {name}.ravel()"
            )));
        }
        Self::from_python(name, array.call_method0("tolist")?.cast::<PyList>()?.as_any())
    }

    /// The texts as UTF-8; a lone surrogate is an error that names its index.
    pub fn as_strs(&self) -> PyResult<Vec<&str>> {
        let texts = self.strings.iter().enumerate();
        texts.map(|(index, text)| as_str(&format_args!("{}[{index}]", self.name), text)).collect()
    }
}

/// UTF-8 of a Python string (cached in the string object by Python itself).
pub fn as_str<'a>(name: &dyn std::fmt::Display, text: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    text.to_str().map_err(|error| {
        let at = error.value(text.py()).getattr("start").and_then(|start| start.extract::<usize>());
        let at = at.map_or(String::new(), |start| format!(" at character {start}"));
        PyValueError::new_err(format!(
            "{name} has a lone surrogate{at}: it is not valid Unicode; \
             clean it with text.encode('utf-8', 'replace').decode()"
        ))
    })
}

fn as_string<'py>(name: &str, index: usize, item: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    item.cast_into::<PyString>().map_err(|error| {
        let item = error.into_inner();
        if item.is_none() {
            return PyTypeError::new_err(format!(
                "{name}[{index}] is None: every item must be a str (an Arrow column may hold nulls)"
            ));
        }
        PyTypeError::new_err(format!("{name}[{index}] is {}: every item must be a str", type_name(&item)))
    })
}

fn not_texts(name: &str, object: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!(
        "{name} must be a list of str, an Arrow string column or a numpy array of strings, not {}",
        type_name(object)
    ))
}

fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "this object".to_owned(), |name| name.to_string())
}

/// The values of an Arrow string array of any layout, nulls as `""`; a dictionary's values for a
/// dictionary array.
pub fn arrow_strs<'a>(name: &str, array: &'a ArrayRef) -> PyResult<Vec<&'a str>> {
    match array.data_type() {
        DataType::Utf8 => Ok(array.as_string::<i32>().iter().map(Option::unwrap_or_default).collect()),
        DataType::LargeUtf8 => Ok(array.as_string::<i64>().iter().map(Option::unwrap_or_default).collect()),
        DataType::Utf8View => Ok(array.as_string_view().iter().map(Option::unwrap_or_default).collect()),
        DataType::Dictionary(_, _) => arrow_strs(name, array.as_any_dictionary().values()),
        DataType::Null => Ok(vec![""; array.len()]),
        DataType::Struct(_) => {
            let message = "must be one string column, not a table: pass table[\"column\"]";
            Err(PyTypeError::new_err(format!("{name} {message}")))
        }
        other => Err(PyTypeError::new_err(format!("{name} must be an Arrow string column, not {other}"))),
    }
}
