//! Schemas, bucketers and the bucketing job for Python. Settings and reports travel as JSON.

use crate::arrow_out::Library;
use crate::tokens::TokenCounter;
use crate::{arrow_in, errors, interrupt, threads};
use polyalign::buckets::BucketSchema;
use polyalign::jobs::bucket::{self, Job, Progress};
use polyalign::records::shape::FieldSpec;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3_arrow::PyTable;
use serde::de::DeserializeOwned;
use std::path::PathBuf;

/// Refuses buckets of a schema that a reference of another one means otherwise; both as JSON.
#[pyfunction]
pub fn check_schema_fits(schema: &str, reference: &str) -> PyResult<()> {
    let [own, theirs] = [schema, reference].map(BucketSchema::from_json);
    own.and_then(|own| own.check_fits(&theirs?)).map_err(errors::to_py)
}

/// A schema's canonical JSON, every field written; `ValueError` if it breaks a rule.
#[pyfunction]
pub fn normalise_schema(json: &str) -> PyResult<String> {
    Ok(BucketSchema::from_json(json).map_err(errors::to_py)?.to_json())
}

/// The same of settings given one by one, which Python has written as JSON: errors name no place in it.
#[pyfunction]
pub fn normalise_settings(json: &str) -> PyResult<String> {
    // What Python writes is JSON but for this.
    let wrong =
        |_| PyValueError::new_err("schema: a number is NaN or infinite, or lists are nested too deep");
    let members = serde_json::from_str(json).map_err(wrong)?;
    Ok(BucketSchema::from_members(members).map_err(errors::to_py)?.to_json())
}

/// Assigns records to buckets.
#[pyclass(frozen, module = "polyalign._core")]
pub struct Bucketer(polyalign::buckets::Bucketer);

#[pymethods]
impl Bucketer {
    #[new]
    fn new(schema: &str, counter: Option<&TokenCounter>, count_prompt: bool) -> PyResult<Self> {
        let schema = BucketSchema::from_json(schema).map_err(errors::to_py)?;
        let counter = counter.map(|counter| counter.counter.clone());
        polyalign::buckets::Bucketer::new(schema, counter, count_prompt).map(Self).map_err(errors::to_py)
    }

    /// The table with the assignment columns appended; then how its rows were read, and what of that may be wrong.
    fn assign<'py>(
        &self,
        table: &Bound<'py, PyAny>,
        fields: &str,
        threads: Option<usize>,
    ) -> PyResult<(Bound<'py, PyAny>, String, Vec<String>)> {
        let py = table.py();
        let library = Library::of(table)?;
        let (batches, schema) = arrow_in::table("table", table)?;
        let fields: FieldSpec = from_json("fields", fields)?;
        let threads = threads::resolve(threads)?;
        let bucketer = self.0.clone();
        let work = move || bucket::assign_table(&schema, &batches, &bucketer, &fields, threads);
        let (schema, batches, reading) =
            interrupt::run(py, work, || Ok(()), || ())?.map_err(errors::to_py)?;
        let told =
            serde_json::to_string(&reading).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok((library.table(py, PyTable::try_new(batches, schema)?)?, told, reading.warnings()))
    }

    /// Runs a job and returns its report; calls `on_progress(bytes_read, bytes_total, rows)` meanwhile.
    fn run(&self, py: Python<'_>, job: &str, on_progress: Option<Py<PyAny>>) -> PyResult<String> {
        let mut job: Job = from_json("job", job)?;
        job.threads = threads::resolve(Some(job.threads))?;
        let bucketer = self.0.clone();
        let work = move |progress: &Progress| bucket::run(&job, &bucketer, progress);
        let report = interrupt::run_job(py, on_progress.as_ref(), work)?;
        serde_json::to_string(&report).map_err(|error| PyValueError::new_err(error.to_string()))
    }
}

/// Settings out of their JSON form.
pub fn from_json<T: DeserializeOwned>(what: &str, json: &str) -> PyResult<T> {
    serde_json::from_str(json).map_err(|error| PyValueError::new_err(format!("{what}: {error}")))
}

/// The first rows of an output's bucket (of any, if `None`), as a table.
#[pyfunction]
pub fn first_rows<'py>(
    py: Python<'py>,
    output: PathBuf,
    bucket: Option<String>,
    limit: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let work = move || polyalign::jobs::output::rows::first_rows(&output, bucket.as_deref(), limit);
    let (schema, batches) = interrupt::run(py, work, || Ok(()), || ())?.map_err(errors::to_py)?;
    Library::Arro3.table(py, PyTable::try_new(batches, schema)?)
}
