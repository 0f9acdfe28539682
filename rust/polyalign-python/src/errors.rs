//! Engine errors as the Python exceptions a user expects.

use crate::words::in_words;
use polyalign::Error;
use pyo3::PyErr;
use pyo3::exceptions::{PyFileExistsError, PyKeyboardInterrupt, PyOSError, PyRuntimeError, PyValueError};

/// `OSError` (its subclass follows from errno) for files, `KeyboardInterrupt` for a cancelled run,
/// `ValueError` for everything a user can mend.
pub fn to_py(error: Error) -> PyErr {
    match error {
        Error::Io { path, source } => match source.raw_os_error() {
            Some(errno) => {
                let full = source.to_string();
                let reason = full.split(" (os error").next().unwrap_or(&full).to_owned();
                PyOSError::new_err((errno, reason, path.into_os_string()))
            }
            None => PyOSError::new_err(format!("{}: {source}", path.display())),
        },
        Error::Output(message) => PyOSError::new_err(in_words(message)),
        Error::Exists(message) => PyFileExistsError::new_err(in_words(message)),
        error @ Error::Internal { .. } => PyRuntimeError::new_err(error.to_string()),
        Error::Interrupted => PyKeyboardInterrupt::new_err(()),
        other => PyValueError::new_err(in_words(other.to_string())),
    }
}
