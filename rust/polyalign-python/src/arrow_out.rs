//! Arrow results: pyarrow where the input was pyarrow, arro3 otherwise.

use pyo3::prelude::*;
use pyo3::types::PyString;
use pyo3_arrow::{PyArray, PyChunkedArray, PyTable};

/// The library whose objects a result comes back in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Library {
    PyArrow,
    Arro3,
}

impl Library {
    /// pyarrow for pyarrow objects, arro3 for all others.
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let module = object.get_type().getattr("__module__")?;
        let is_pyarrow =
            module.cast::<PyString>().is_ok_and(|name| name.to_string_lossy().starts_with("pyarrow"));
        Ok(if is_pyarrow { Self::PyArrow } else { Self::Arro3 })
    }

    /// One contiguous array.
    pub fn array(self, py: Python<'_>, array: PyArray) -> PyResult<Bound<'_, PyAny>> {
        match self {
            Self::PyArrow => py.import("pyarrow")?.call_method1("array", (array,)),
            Self::Arro3 => array.into_arro3(py),
        }
    }

    /// A chunked array.
    pub fn chunked_array(self, py: Python<'_>, array: PyChunkedArray) -> PyResult<Bound<'_, PyAny>> {
        match self {
            Self::PyArrow => py.import("pyarrow")?.call_method1("chunked_array", (array,)),
            Self::Arro3 => array.into_arro3(py),
        }
    }

    /// A table.
    pub fn table(self, py: Python<'_>, table: PyTable) -> PyResult<Bound<'_, PyAny>> {
        match self {
            Self::PyArrow => table.into_pyarrow(py),
            Self::Arro3 => table.into_arro3(py),
        }
    }
}
