//! Outputs that Python writes.

use crate::errors;
use polyalign::jobs::output::publish::{Claim, Kind, publish, sync_tree};
use polyalign::{Error, Result};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::path::PathBuf;

/// A file or folder in the making, which no other job may make meanwhile.
#[pyclass(frozen, module = "polyalign._core")]
pub struct Output(pub Claim);

#[pymethods]
impl Output {
    /// Claims it, and clears away what a killed job has left. `kind` is `file`, `pairs` or `critic`.
    #[new]
    fn new(py: Python<'_>, path: PathBuf, kind: &str, overwrite: bool) -> PyResult<Self> {
        let kind = match kind {
            "file" => Kind::File,
            "pairs" => Kind::Pairs,
            "critic" => Kind::Critic,
            _ => return Err(PyValueError::new_err(format!("no kind of output is called {kind:?}"))),
        };
        let claim = || -> Result<Claim> {
            let claim = Claim::take(&path, kind, overwrite)?;
            claim.begin()?;
            Ok(claim)
        };
        py.detach(claim).map(Self).map_err(errors::to_py)
    }

    /// The file or folder to make.
    #[getter]
    fn work(&self) -> PathBuf {
        self.0.work()
    }

    /// Writes the file.
    fn write(&self, py: Python<'_>, content: &[u8]) -> PyResult<()> {
        let write = || std::fs::write(self.0.work(), content).map_err(|error| self.0.failed(error));
        py.detach(write).map_err(errors::to_py)
    }

    /// Gives it its name, once it is whole.
    fn publish(&self, py: Python<'_>) -> PyResult<()> {
        let finish = || -> Result<(), Error> {
            sync_tree(&self.0.work()).map_err(|error| self.0.failed(error))?;
            publish(&[&self.0])
        };
        py.detach(finish).map_err(errors::to_py)
    }

    /// Gives it up, unless it was published: what was made is removed.
    fn release(&self, py: Python<'_>) {
        py.detach(|| self.0.release());
    }
}
