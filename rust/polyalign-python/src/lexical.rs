//! Lexical counts for Python. Settings and reports travel as JSON.

use crate::arrow_out::Library;
use crate::buckets::from_json;
use crate::making::Making;
use crate::responses::{Column, Of, responses};
use crate::{arrow_in, errors, interrupt, threads};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, UInt8Array};
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use polyalign::buckets::BucketSchema;
use polyalign::jobs;
use polyalign::jobs::lexical::LexicalJob;
use polyalign::jobs::score::Response;
use polyalign::lexical::{Builder, FEATURES, Lexical as Engine, Scratch, Settings};
use polyalign::records::shape::FieldSpec;
use polyalign::stream::Progress;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyo3_arrow::PyTable;
use serde::Deserialize;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Scores, and features `[n, features]`.
type Measured<'py> = (Bound<'py, PyArray1<f32>>, Bound<'py, PyArray2<f32>>);

/// The n-grams of a human corpus, counted.
#[pyclass(frozen, module = "polyalign._core")]
pub struct Lexical(Engine);

#[pymethods]
impl Lexical {
    /// Reads a file.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| Engine::load(path)).map(Self).map_err(errors::to_py)
    }

    /// Reads a file's bytes.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        py.detach(|| Engine::from_bytes(bytes)).map(Self).map_err(errors::to_py)
    }

    /// Counts the records of files; returns the counts with what became of the records, as JSON.
    #[staticmethod]
    fn build(py: Python<'_>, job: &str, on_progress: Option<Py<PyAny>>) -> PyResult<(Self, String)> {
        let mut job: LexicalJob = from_json("job", job)?;
        job.threads = threads::resolve(Some(job.threads))?;
        let work = move |progress: &Progress| jobs::lexical::build(&job, progress);
        let (lexical, tally) = interrupt::run_job(py, on_progress.as_ref(), work)?;
        Ok((Self(lexical), json!(tally).to_string()))
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| self.0.to_bytes()).map_err(errors::to_py)?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.0.save(path)).map_err(errors::to_py)
    }

    fn merge(&self, py: Python<'_>, other: &Self) -> PyResult<Self> {
        py.detach(|| self.0.merge(&other.0)).map(Self).map_err(errors::to_py)
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// What it was made under and what it holds, as JSON.
    fn info(&self) -> String {
        let Settings { schema, tokenizer, keep_thinking, sample_size, bits } = self.0.settings();
        let (entries, is_full) = self.0.entries();
        let buckets = self.0.buckets().iter().map(|b| json!({"bucket": b.id, "rows": b.rows}));
        json!({
            "schema": schema,
            "tokenizer": tokenizer,
            "keep_thinking": keep_thinking,
            "sample_size": sample_size,
            "bits": bits,
            "sources": self.0.sources(),
            "entries": entries,
            "is_full": is_full,
            "buckets": buckets.collect::<Vec<_>>(),
        })
        .to_string()
    }

    /// The scores of responses; NaN where there is none.
    fn score<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        buckets: &Bound<'py, PyAny>,
        leave_one_out: bool,
        threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let scores = self.over(py, texts, buckets, threads, |responses, stop| {
            self.0.score_all(responses, leave_one_out, stop)
        })?;
        Ok(PyArray1::from_vec(py, scores))
    }

    /// The scores of responses and their features `[n, features]`; NaN where there is none.
    fn measure<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        buckets: &Bound<'py, PyAny>,
        leave_one_out: bool,
        threads: Option<usize>,
    ) -> PyResult<Measured<'py>> {
        let (scores, values) = self.over(py, texts, buckets, threads, |responses, stop| {
            self.0.measure_all(responses, leave_one_out, stop)
        })?;
        let features = PyArray1::from_vec(py, values).reshape([scores.len(), FEATURES.len()])?;
        Ok((PyArray1::from_vec(py, scores), features))
    }

    /// Every token of a response with what it costs, as a table.
    fn surprisal<'py>(
        &self,
        py: Python<'py>,
        text: &str,
        bucket: &str,
        leave_one_out: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let of = Of { name: "buckets", values: &[bucket], for_all: true };
        let responses = responses(&[text], of, None, self.0.settings().keep_thinking)?;
        let text = responses[0].text;
        let target = self.0.target(bucket).map_err(errors::to_py)?;
        let mut steps = Vec::new();
        threads::run(py, Some(1), |stop: &AtomicBool| {
            let scratch = &mut Scratch::default();
            self.0.steps(&target, text, leave_one_out, scratch, stop, |step| steps.push(step))
        })?;
        let tokens = steps.iter().map(|step| (step.start < step.end).then(|| &text[step.start..step.end]));
        let columns: [(&str, ArrayRef, bool); 5] = [
            ("token", Arc::new(StringArray::from_iter(tokens)), true),
            ("surprisal", Arc::new(Float64Array::from_iter_values(steps.iter().map(|s| s.surprisal))), false),
            ("level", Arc::new(StringArray::from_iter(steps.iter().map(|step| step.level))), true),
            ("order", Arc::new(UInt8Array::from_iter_values(steps.iter().map(|s| s.order as u8))), false),
            (
                "is_character",
                Arc::new(steps.iter().map(|step| Some(step.is_character)).collect::<BooleanArray>()),
                false,
            ),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns);
        let batch = batch.map_err(|error| errors::to_py(error.into()))?;
        let schema = batch.schema();
        Library::Arro3.table(py, PyTable::try_new(vec![batch], schema)?)
    }

    /// The scores of the sampled responses, each without its own counts, with their buckets.
    fn sample_scores<'py>(
        &self,
        py: Python<'py>,
        threads: Option<usize>,
    ) -> PyResult<(Bound<'py, PyArray1<f32>>, Vec<&str>)> {
        let buckets = self.0.buckets();
        let responses: Vec<Response<'_>> = self
            .0
            .sampled()
            .map(|(bucket, text)| Response { text, of: &buckets[bucket].id, prompt: &[], lm: &[] })
            .collect();
        let scores = threads::run(py, threads, |stop| self.0.score_all(&responses, true, stop))?;
        Ok((PyArray1::from_vec(py, scores), responses.iter().map(|response| response.of).collect()))
    }
}

impl Lexical {
    fn over<'py, T: Send>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        buckets: &Bound<'py, PyAny>,
        threads: Option<usize>,
        work: impl FnOnce(&[Response<'_>], &AtomicBool) -> polyalign::Result<T> + Send,
    ) -> PyResult<T> {
        let (texts, buckets) =
            (Column::from_python("texts", texts)?, Column::from_python("buckets", buckets)?);
        let (texts, targets) = (texts.as_strs()?, buckets.as_strs()?);
        let keep_thinking = self.0.settings().keep_thinking;
        let responses = responses(&texts, buckets.of(&targets), None, keep_thinking)?;
        threads::run(py, threads, |stop| work(&responses, stop))
    }
}

/// What counts in the making count under, as Python says it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    schema: BucketSchema,
    tokenizer: Option<String>,
    sample_size: u32,
    bits: u32,
    keep_thinking: bool,
    sources: Vec<String>,
}

/// Counts tables.
#[pyclass(frozen, module = "polyalign._core")]
pub struct LexicalBuilder(Making<Builder>);

#[pymethods]
impl LexicalBuilder {
    #[new]
    fn new(settings: &str) -> PyResult<Self> {
        let Given { schema, tokenizer, sample_size, bits, keep_thinking, sources } =
            from_json("settings", settings)?;
        let settings = Settings { schema, tokenizer, keep_thinking, sample_size, bits };
        let builder = Builder::new(settings).map_err(errors::to_py)?;
        sources.iter().for_each(|source| builder.add_source(source));
        Ok(Self(Making::new("lexical critic", builder)))
    }

    /// Counts a table; returns what became of its rows, as JSON.
    fn add(&self, table: &Bound<'_, PyAny>, fields: &str, threads: Option<usize>) -> PyResult<String> {
        let py = table.py();
        let (batches, schema) = arrow_in::table("table", table)?;
        let fields: FieldSpec = from_json("fields", fields)?;
        let builder = self.0.shared()?;
        let work = |stop: &AtomicBool| jobs::lexical::count_table(&builder, &schema, &batches, &fields, stop);
        Ok(json!(threads::run(py, threads, work)?).to_string())
    }

    fn finish(&self, py: Python<'_>) -> PyResult<Lexical> {
        let builder = self.0.take()?;
        py.detach(|| jobs::lexical::finish(builder)).map(Lexical).map_err(errors::to_py)
    }
}
