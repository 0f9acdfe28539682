//! `TokenCounter` for Python.

use crate::arrow_in::Column;
use crate::arrow_out::Library;
use crate::texts::{Strings, arrow_strs, as_str};
use crate::{arrow_in, errors, interrupt, threads};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_schema::{DataType, Field};
use numpy::PyArray1;
use polyalign::Error;
use polyalign::tokens::{Engine, TokenScratch, ranks};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use pyo3_arrow::{PyArray, PyChunkedArray};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// Texts below this many bytes in all are counted by the calling thread: waking others costs more.
const SEQUENTIAL_BYTES: usize = 32 << 10;

/// Bytes counted between two looks for Ctrl-C: well under a second for either engine.
const FAST_BATCH_BYTES: usize = 64 << 20;
const SLOW_BATCH_BYTES: usize = 2 << 20;

/// Counts tokens under one tokenizer.json or tokenizer.model.
#[pyclass(frozen, module = "polyalign._core")]
pub struct TokenCounter {
    pub counter: polyalign::tokens::TokenCounter,
    /// Working memory of earlier calls, kept for later ones.
    scratches: Mutex<Vec<TokenScratch>>,
}

#[pymethods]
impl TokenCounter {
    /// `content`: a tokenizer.json or a tokenizer.model; `origin`: what it is called in errors, if it is from somewhere.
    #[new]
    #[pyo3(signature = (content, origin=None))]
    fn new(py: Python<'_>, content: &[u8], origin: Option<&str>) -> PyResult<Self> {
        let counter = py.detach(|| polyalign::tokens::TokenCounter::from_bytes(content));
        let counter = counter.map_err(|error| match (error, origin) {
            (Error::Tokenizer(what), Some(origin)) => PyValueError::new_err(format!("{origin}: {what}")),
            (error, _) => errors::to_py(error),
        })?;
        Ok(Self { counter, scratches: Mutex::default() })
    }

    /// The pre-tokenizer family of the fast engine, else `None`.
    #[getter]
    fn pre_tokenizer(&self) -> Option<&str> {
        match self.counter.engine() {
            Engine::Fast { pre_tokenizer } => Some(pre_tokenizer),
            Engine::Tokenizers { .. } => None,
        }
    }

    /// Why the `tokenizers` engine counts, else `None`.
    #[getter]
    fn slow_reason(&self) -> Option<&str> {
        match self.counter.engine() {
            Engine::Fast { .. } => None,
            Engine::Tokenizers { reason } => Some(reason),
        }
    }

    /// SHA-256 of the tokenizer's canonical JSON.
    #[getter]
    fn sha256(&self) -> &str {
        self.counter.sha256()
    }

    /// Token counts of a text, a sequence of texts or an Arrow column of texts.
    #[pyo3(signature = (texts, threads=None))]
    fn count<'py>(&self, texts: &Bound<'py, PyAny>, threads: Option<usize>) -> PyResult<Bound<'py, PyAny>> {
        let py = texts.py();
        if let Ok(text) = texts.cast::<PyString>() {
            let text = as_str(&"the text", text)?;
            return Ok(self.count_strs(py, &[text], threads)?[0].into_pyobject(py)?.into_any());
        }
        if let Some(column) = arrow_in::column("texts", texts)? {
            return self.count_arrow(py, &column, Library::of(texts)?, threads);
        }
        let strings = Strings::from_python("texts", texts)?;
        let counts = self.count_strs(py, &strings.as_strs()?, threads)?;
        Ok(PyArray1::from_vec(py, counts).into_any())
    }
}

impl TokenCounter {
    fn count_strs(&self, py: Python<'_>, texts: &[&str], threads: Option<usize>) -> PyResult<Vec<u32>> {
        let threads = threads::resolve(threads)?;
        let batch_bytes = match self.counter.engine() {
            Engine::Fast { .. } => FAST_BATCH_BYTES,
            Engine::Tokenizers { .. } => SLOW_BATCH_BYTES,
        };
        let mut counts = Vec::with_capacity(texts.len());
        for batch in batches(texts, batch_bytes) {
            let bytes: usize = batch.iter().map(|text| text.len()).sum();
            let alone = threads == 1 || batch.len() == 1;
            if bytes < SEQUENTIAL_BYTES || alone && bytes < SLOW_BATCH_BYTES {
                py.detach(|| self.count_sequentially(batch, &mut counts)).map_err(errors::to_py)?;
            } else if bytes <= batch_bytes || matches!(self.counter.engine(), Engine::Fast { .. }) {
                let (pool, stop) = (threads::pool(py, threads)?, Arc::default());
                let work = || self.counter.count_batch(batch, &stop);
                counts.extend(interrupt::run_until(py, &pool, &stop, work)?.map_err(errors::to_py)?);
            } else {
                counts.push(self.count_or_leave(py, batch[0])?);
            }
            py.check_signals()?;
        }
        Ok(counts)
    }

    /// Counts a text that the `tokenizers` crate takes long for: a copy of it, as Ctrl-C leaves it behind.
    fn count_or_leave(&self, py: Python<'_>, text: &str) -> PyResult<u32> {
        let (counter, text) = (self.counter.clone(), text.to_owned());
        let work = move || counter.count(&text, &mut counter.scratch());
        interrupt::run(py, work, || Ok(()), || ())?.map_err(errors::to_py)
    }

    fn count_sequentially(&self, texts: &[&str], counts: &mut Vec<u32>) -> polyalign::Result<()> {
        let kept = self.scratches.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut scratch = kept.unwrap_or_else(|| self.counter.scratch());
        let done = counts.len();
        counts.resize(done + texts.len(), 0);
        self.counter.count_each(texts, &mut counts[done..], &mut scratch)?;
        self.scratches.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        Ok(())
    }

    fn count_arrow<'py>(
        &self,
        py: Python<'py>,
        column: &Column,
        library: Library,
        threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let count = || column.chunks.iter().map(|chunk| self.count_array(py, chunk, threads)).collect();
        let counts: Vec<UInt32Array> = catch_unwind(AssertUnwindSafe(count)).unwrap_or_else(|_| {
            Err(PyValueError::new_err("texts can't be counted: its buffers were written to meanwhile"))
        })?;
        let mut counts = counts.into_iter().map(|counts| Arc::new(counts) as ArrayRef);
        match counts.next() {
            Some(array) if column.is_array => library.array(py, PyArray::from_array_ref(array)),
            first => {
                let counts = first.into_iter().chain(counts).collect();
                let field = Arc::new(Field::new("", DataType::UInt32, true));
                library.chunked_array(py, PyChunkedArray::try_new(counts, field)?)
            }
        }
    }

    fn count_array(&self, py: Python<'_>, array: &ArrayRef, threads: Option<usize>) -> PyResult<UInt32Array> {
        let counts = self.count_strs(py, &arrow_strs("texts", array)?, threads)?;
        let counts = match array.as_any_dictionary_opt() {
            // An empty dictionary has only null keys.
            Some(_) if counts.is_empty() => vec![0; array.len()],
            Some(dictionary) => dictionary.normalized_keys().into_iter().map(|key| counts[key]).collect(),
            None => counts,
        };
        Ok(UInt32Array::new(counts.into(), array.logical_nulls()))
    }
}

/// Whether this is the content of a tokenizer.model.
#[pyfunction]
pub fn is_model_file(content: &[u8]) -> bool {
    polyalign::tokens::is_model_file(content)
}

/// The tokenizer.json of `tiktoken`'s ranks, for the pattern of a name, or, without one, of a tekken.json; `origin` is what
/// the file is called in errors.
#[pyfunction]
pub fn tokenizer_of_ranks<'py>(
    py: Python<'py>,
    content: &[u8],
    pattern: Option<&str>,
    origin: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let json = py.detach(|| match pattern {
        Some(pattern) => ranks::from_tiktoken(content, pattern),
        None => ranks::from_tekken(content),
    });
    let json = json.map_err(|error| match error {
        Error::Tokenizer(what) => PyValueError::new_err(format!("{origin}: {what}")),
        error => errors::to_py(error),
    })?;
    Ok(PyBytes::new(py, json.as_bytes()))
}

/// Cuts `texts` into runs of at most `limit` bytes, at least one text each.
fn batches<'a, 'b>(texts: &'a [&'b str], limit: usize) -> impl Iterator<Item = &'a [&'b str]> {
    let mut rest = texts;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|text| {
            bytes += text.len();
            bytes <= limit
        });
        let length = fits.count().max(1).min(rest.len());
        let (batch, after) = rest.split_at(length);
        rest = after;
        (length > 0).then_some(batch)
    })
}
