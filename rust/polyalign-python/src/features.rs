//! Features for Python.

use crate::arrow_out::Library;
use crate::responses::{Column, Prompts, messages, responses};
use crate::{errors, threads};
use arrow_array::{ArrayRef, Float32Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use polyalign::buckets::language::primary_subtag;
use polyalign::features::registry::{FEATURES, Group, LM_FEATURES, VERSION};
use polyalign::jobs::score::{Response, measure_all};
use polyalign::reference::meter::Values;
use polyalign::reference::{Variant, features};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3_arrow::PyTable;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The variant of that name.
pub fn variant(name: &str) -> PyResult<Variant> {
    Variant::named(name)
        .ok_or_else(|| PyValueError::new_err(format!("variant is {name:?}: it must be 'default' or 'paper'")))
}

fn group(name: &str) -> PyResult<Group> {
    Group::named(name).ok_or_else(|| {
        let known: Vec<&str> = Group::ALL.iter().map(|group| group.name()).collect();
        PyValueError::new_err(format!("groups: {name:?} is not one of {}", known.join(", ")))
    })
}

/// Subtags of languages by any name; one that is not known is an error.
pub fn subtags(languages: &[&str]) -> PyResult<Vec<&'static str>> {
    let subtag = |(at, name): (usize, &&str)| match primary_subtag(name) {
        Some(tag) => Ok(tag),
        None if name.is_empty() || *name == "und" => Ok("und"),
        None => Err(PyValueError::new_err(format!(
            "languages[{at}] is {name:?}: give a code such as 'en' or 'zh', or 'und' where it is not known"
        ))),
    };
    languages.iter().enumerate().map(subtag).collect()
}

/// The features of texts as a table, a column a feature.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "the Python side has named them")]
pub fn extract_features<'py>(
    py: Python<'py>,
    texts: &Bound<'py, PyAny>,
    languages: &Bound<'py, PyAny>,
    prompts: Option<Prompts>,
    groups: Vec<String>,
    variant: &str,
    keep_thinking: bool,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyAny>> {
    let variant = self::variant(variant)?;
    let with_syntax = groups.iter().any(|name| name == "syntax");
    check_syntax(with_syntax)?;
    let groups: Vec<Group> =
        groups.iter().filter(|name| *name != "syntax").map(|name| group(name)).collect::<PyResult<_>>()?;
    let (texts, languages) =
        (Column::from_python("texts", texts)?, Column::from_python("languages", languages)?);
    let texts = texts.as_strs()?;
    let subtags = subtags(&languages.as_strs()?)?;
    let prompts = prompts.as_ref().map(messages);
    let responses = responses(&texts, languages.of(&subtags), prompts.as_deref(), keep_thinking)?;
    let work = |stop: &AtomicBool| {
        let syntax = if with_syntax { syntax(&responses, stop)? } else { Vec::new() };
        Ok((measure_all(variant, &groups, &responses, stop)?, syntax))
    };
    let (values, syntax) = threads::run(py, threads, work)?;
    let width = features(variant).len();
    let wanted = |at: &usize| variant == Variant::Paper || groups.contains(&FEATURES[*at].group);
    let wanted: Vec<usize> = (0..width).filter(wanted).collect();
    let mut fields: Vec<Field> =
        wanted.iter().map(|&at| Field::new(features(variant)[at].name, DataType::Float32, false)).collect();
    let mut columns = match &values {
        Values::Default(values) => columns(values, width, &wanted, |value| value),
        Values::Paper(values) => columns(values, width, &wanted, |value| value as f32),
    };
    for (name, column) in syntax {
        fields.push(Field::new(name, DataType::Float32, false));
        columns.push(column);
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns).map_err(|error| errors::to_py(error.into()))?;
    Library::Arro3.table(py, PyTable::try_new(vec![batch], schema)?)
}

/// The wanted columns of rows, turned around a few rows at a time, so that they stay in the cache.
fn columns<T: Copy>(values: &[T], width: usize, wanted: &[usize], to: impl Fn(T) -> f32) -> Vec<ArrayRef> {
    const ROWS: usize = 32;
    let mut columns = vec![Vec::with_capacity(values.len() / width); wanted.len()];
    for rows in values.chunks(ROWS * width) {
        for (column, &at) in columns.iter_mut().zip(wanted) {
            column.extend(rows.iter().skip(at).step_by(width).map(|value| to(*value)));
        }
    }
    columns.into_iter().map(|column| Arc::new(Float32Array::from(column)) as ArrayRef).collect()
}

fn check_syntax(wanted: bool) -> PyResult<()> {
    if wanted && !cfg!(feature = "pos") {
        return Err(PyValueError::new_err(
            "groups: 'syntax' is not in this build: build polyalign with it (maturin build --release --features pos)",
        ));
    }
    Ok(())
}

/// The columns of the part-of-speech shares.
#[cfg(feature = "pos")]
fn syntax(responses: &[Response<'_>], stop: &AtomicBool) -> polyalign::Result<Vec<(&'static str, ArrayRef)>> {
    use polyalign::features::{Language, syntax};
    let shares = |response: &Response<'_>| {
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(polyalign::Error::Interrupted);
        }
        Ok(syntax::shares(response.text, Language::of(response.of)))
    };
    let rows = responses.iter().map(shares).collect::<polyalign::Result<Vec<_>>>()?;
    let column = |at: usize| Arc::new(rows.iter().map(|row| row[at]).collect::<Float32Array>()) as ArrayRef;
    Ok(syntax::NAMES.iter().enumerate().map(|(at, name)| (*name, column(at))).collect())
}

#[cfg(not(feature = "pos"))]
fn syntax(_: &[Response<'_>], _: &AtomicBool) -> polyalign::Result<Vec<(&'static str, ArrayRef)>> {
    Ok(Vec::new())
}

/// Ends of a range; what is open has none.
fn range((least, greatest): (f64, f64)) -> [Option<f64>; 2] {
    [least, greatest].map(|end| end.is_finite().then_some(end))
}

/// All features of a variant, those of a language model with them, as JSON.
#[pyfunction]
pub fn feature_registry(variant: &str) -> PyResult<String> {
    let variant = self::variant(variant)?;
    let list: Vec<_> = match variant {
        Variant::Default => FEATURES
            .iter()
            .chain(LM_FEATURES)
            .map(|feature| {
                json!({
                    "name": feature.name,
                    "group": feature.group.name(),
                    "definition": feature.definition,
                    "unit": feature.unit,
                    "range": range(feature.range()),
                    "languages": feature.languages.name(),
                    "scale": feature.scale,
                    "bins": feature.bins.to_string(),
                })
            })
            .collect(),
        Variant::Paper => features(variant)
            .iter()
            .map(|feature| {
                json!({
                    "name": feature.name,
                    "group": "paper",
                    "definition": "As the paper's published code computes it.",
                    "unit": "",
                    "range": range((0.0, f64::INFINITY)),
                    "languages": feature.languages,
                    "scale": feature.scale,
                    "bins": feature.bins.to_string(),
                })
            })
            .collect(),
    };
    Ok(json!({"version": VERSION, "features": list}).to_string())
}
