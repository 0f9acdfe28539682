//! Words, character n-grams and trees for Python: texts and numpy arrays in, numpy arrays out.

use crate::errors;
use crate::features::subtags;
use crate::responses::{Column, responses};
use crate::threads::run;
use numpy::{PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use polyalign::classifier::ngrams::Ngrams;
use polyalign::classifier::trees::{Columns, Trees};
use polyalign::features::{Cutter, Language};
use polyalign::jobs::score::Response;
use pyo3::prelude::*;
use std::sync::atomic::AtomicBool;

/// The words of each text, as features count them; `languages` are one for all, or one each.
#[pyfunction]
pub fn cut_words(texts: &Bound<'_, PyAny>, languages: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<String>>> {
    let (texts, languages) =
        (Column::from_python("texts", texts)?, Column::from_python("languages", languages)?);
    let texts = texts.as_strs()?;
    let subtags = subtags(&languages.as_strs()?)?;
    let texts = responses(&texts, languages.of(&subtags), None, true)?;
    let mut cutter = Cutter::default();
    let cut = |of: &Response<'_>| {
        cutter.words(of.text, Language::of(of.of)).into_iter().map(str::to_owned).collect()
    };
    Ok(texts.iter().map(cut).collect())
}

/// A sparse matrix as scipy has it: `indptr`, `indices`, `values`.
type Csr<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<f32>>);

/// The hashed character n-grams of each text.
#[pyfunction]
pub fn char_ngrams<'py>(
    py: Python<'py>,
    texts: &Bound<'py, PyAny>,
    most: usize,
    bits: u32,
    threads: Option<usize>,
) -> PyResult<Csr<'py>> {
    let texts = Column::from_python("texts", texts)?;
    let texts = texts.as_strs()?;
    let ngrams = Ngrams::new(most, bits).map_err(errors::to_py)?;
    let rows = run(py, threads, |stop: &AtomicBool| ngrams.rows(&texts, stop))?;
    Ok((
        PyArray1::from_vec(py, rows.indptr),
        PyArray1::from_vec(py, rows.indices),
        PyArray1::from_vec(py, rows.values),
    ))
}

/// The sum of each text's n-grams by their weights, one for each of 2^bits columns.
#[pyfunction]
pub fn ngram_scores<'py>(
    py: Python<'py>,
    texts: &Bound<'py, PyAny>,
    most: usize,
    weights: PyReadonlyArray1<'py, f32>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let texts = Column::from_python("texts", texts)?;
    let texts = texts.as_strs()?;
    let weights = weights.as_slice()?;
    let ngrams = Ngrams::new(most, weights.len().checked_ilog2().unwrap_or(0)).map_err(errors::to_py)?;
    Ok(PyArray1::from_vec(py, run(py, threads, |stop: &AtomicBool| ngrams.scores(&texts, weights, stop))?))
}

/// The nodes of trees: roots, columns, thresholds, whether a missing value goes left, left and right, values.
type Nodes<'py> = (
    PyReadonlyArray1<'py, u32>,
    PyReadonlyArray1<'py, i32>,
    PyReadonlyArray1<'py, f64>,
    PyReadonlyArray1<'py, bool>,
    PyReadonlyArray1<'py, u32>,
    PyReadonlyArray1<'py, u32>,
    PyReadonlyArray1<'py, f64>,
);

/// The sum of the leaves that each row falls into.
#[pyfunction]
pub fn tree_scores<'py>(
    py: Python<'py>,
    rows: PyReadonlyArray2<'py, f64>,
    nodes: Nodes<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let columns = Columns {
        roots: nodes.0.as_slice()?,
        column: nodes.1.as_slice()?,
        threshold: nodes.2.as_slice()?,
        missing_left: nodes.3.as_slice()?,
        children: [nodes.4.as_slice()?, nodes.5.as_slice()?],
        value: nodes.6.as_slice()?,
    };
    let trees = Trees::new(columns, rows.shape()[1]).map_err(errors::to_py)?;
    let rows = rows.as_slice()?;
    Ok(PyArray1::from_vec(py, run(py, threads, |stop: &AtomicBool| trees.scores(rows, stop))?))
}
