//! Responses out of Python objects: texts, what each is of, and the prompts before them.

use crate::texts::{Strings, arrow_strs};
use crate::tokens::arrow_input;
use arrow::array::{ArrayRef, AsArray};
use polyalign::io::record::Message;
use polyalign::scoring::Response;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3_arrow::input::AnyArray;

/// Prompts as `(role, content)`; `None` where there is none.
pub type Prompts = Vec<Option<Vec<(String, String)>>>;

/// A column of texts, held so that they can be borrowed.
pub enum Column<'py> {
    Python(Strings<'py>),
    Arrow(Vec<ArrayRef>),
}

impl<'py> Column<'py> {
    /// From a list, an Arrow column or a numpy array of strings.
    pub fn from_python(texts: &Bound<'py, PyAny>) -> PyResult<Self> {
        match arrow_input(texts)? {
            None => Strings::from_python(texts).map(Self::Python),
            Some(AnyArray::Array(array)) => Ok(Self::Arrow(vec![array.array().clone()])),
            Some(column) => Ok(Self::Arrow(column.into_chunked_array()?.into_inner().0)),
        }
    }

    /// The texts, nulls as `""`.
    pub fn as_strs(&self) -> PyResult<Vec<&str>> {
        let chunks = match self {
            Self::Python(strings) => return strings.as_strs(),
            Self::Arrow(chunks) => chunks,
        };
        let mut all = Vec::new();
        for chunk in chunks {
            let values = arrow_strs(chunk)?;
            match chunk.as_any_dictionary_opt() {
                Some(_) if values.is_empty() => all.resize(all.len() + chunk.len(), ""),
                Some(dictionary) => {
                    all.extend(dictionary.normalized_keys().into_iter().map(|key| values[key]))
                }
                None => all.extend(values),
            }
        }
        Ok(all)
    }
}

/// The messages of prompts, borrowed.
pub fn messages(prompts: &Prompts) -> Vec<Vec<Message<'_>>> {
    prompts
        .iter()
        .map(|prompt| {
            prompt.iter().flatten().map(|(role, content)| Message { role, content }).collect::<Vec<_>>()
        })
        .collect()
}

/// Responses, one a text; `of` and the prompts are as many, or `of` is one for all.
pub fn responses<'a>(
    texts: &[&'a str],
    of: (&str, &[&'a str]),
    prompts: Option<&'a [Vec<Message<'a>>]>,
) -> PyResult<Vec<Response<'a>>> {
    let n = texts.len();
    let (what, of) = of;
    if !(of.len() == n || of.len() == 1) {
        return Err(PyValueError::new_err(format!(
            "{n} texts and {} {what}: give one for each text",
            of.len()
        )));
    }
    if let Some(prompts) = prompts.filter(|prompts| prompts.len() != n) {
        return Err(PyValueError::new_err(format!(
            "{n} texts and {} prompts: give one for each text",
            prompts.len()
        )));
    }
    let response = |(at, &text): (usize, &&'a str)| Response {
        text,
        of: if of.len() == n { of[at] } else { of[0] },
        prompt: match prompts {
            Some(prompts) => &prompts[at],
            None => &[],
        },
    };
    Ok(texts.iter().enumerate().map(response).collect())
}
