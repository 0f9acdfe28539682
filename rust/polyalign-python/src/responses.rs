//! Responses out of Python objects: texts, what each is of, and the prompts before them.

use crate::arrow_in;
use crate::texts::{Strings, arrow_strs, as_str};
use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use polyalign::jobs::score::Response;
use polyalign::records::record::Message;
use polyalign::text::answer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Prompts as `(role, content)`; `None` where there is none.
pub type Prompts = Vec<Option<Vec<(String, String)>>>;

/// A column of texts, held so that they can be borrowed.
pub struct Column<'py> {
    /// The argument's name, for messages.
    name: &'static str,
    texts: Texts<'py>,
}

enum Texts<'py> {
    One(Bound<'py, PyString>),
    Python(Strings<'py>),
    Arrow(Vec<ArrayRef>),
}

impl<'py> Column<'py> {
    /// From one string for all, a list, an Arrow column or a numpy array of strings.
    pub fn from_python(name: &'static str, texts: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(text) = texts.cast::<PyString>() {
            return Ok(Self { name, texts: Texts::One(text.clone()) });
        }
        let texts = match arrow_in::column(name, texts)? {
            None => Texts::Python(Strings::from_python(name, texts)?),
            Some(column) => Texts::Arrow(column.chunks),
        };
        Ok(Self { name, texts })
    }

    /// As what responses are of; `values` are its texts.
    pub fn of<'a>(&self, values: &'a [&'a str]) -> Of<'a> {
        Of { name: self.name, values, for_all: matches!(self.texts, Texts::One(_)) }
    }

    /// The texts, nulls as `""`.
    pub fn as_strs(&self) -> PyResult<Vec<&str>> {
        let chunks = match &self.texts {
            Texts::One(text) => return Ok(vec![as_str(&self.name, text)?]),
            Texts::Python(strings) => return strings.as_strs(),
            Texts::Arrow(chunks) => chunks,
        };
        let mut all = Vec::new();
        for chunk in chunks {
            let values = arrow_strs(self.name, chunk)?;
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

/// What responses are of: languages or targets, one each or one for all.
pub struct Of<'a> {
    /// The argument's name.
    pub name: &'static str,
    pub values: &'a [&'a str],
    /// Whether there is one, for all.
    pub for_all: bool,
}

/// Responses, one a text; what they are of and the prompts are as many. Without their reasoning, unless it is kept.
pub fn responses<'a>(
    texts: &[&'a str],
    of: Of<'a>,
    prompts: Option<&'a [Vec<Message<'a>>]>,
    keep_thinking: bool,
) -> PyResult<Vec<Response<'a>>> {
    let n = texts.len();
    let Of { name, values, for_all } = of;
    if !for_all && values.len() != n {
        return Err(PyValueError::new_err(format!(
            "{n} texts and {} {name}: give one for each text",
            values.len()
        )));
    }
    if let Some(prompts) = prompts.filter(|prompts| prompts.len() != n) {
        return Err(PyValueError::new_err(format!(
            "{n} texts and {} prompts: give one for each text",
            prompts.len()
        )));
    }
    let response = |(at, &text): (usize, &&'a str)| Response {
        text: if keep_thinking { text } else { answer(text) },
        of: values[if for_all { 0 } else { at }],
        prompt: match prompts {
            Some(prompts) => &prompts[at],
            None => &[],
        },
        lm: &[],
    };
    Ok(texts.iter().enumerate().map(response).collect())
}

/// Texts without their reasoning.
#[pyfunction]
pub fn answers<'py>(texts: Vec<Bound<'py, PyString>>) -> PyResult<Vec<Bound<'py, PyString>>> {
    let answer = |text: Bound<'py, PyString>| {
        let whole = as_str(&"texts", &text)?;
        let part = answer(whole);
        Ok(if part.len() == whole.len() { text } else { PyString::new(text.py(), part) })
    };
    texts.into_iter().map(answer).collect()
}
