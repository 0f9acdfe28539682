//! The distributional term for Python.

use crate::reference::Reference;
use crate::responses::{Column, Prompts, messages, responses};
use crate::{errors, threads};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use polyalign::Error;
use polyalign::features::registry::{FEATURES, Group};
use polyalign::jobs::score::{Response, measure_all};
use polyalign::reference::meter::Values;
use polyalign::reference::{Compared, Energy, Over, Query, Set, Term, Variant};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde_json::json;
use std::collections::HashMap;

/// Samples as Python has them: rows, buckets and prompts.
type Samples<'py> = (PyReadonlyArray2<'py, f32>, Vec<String>, PyReadonlyArray1<'py, i64>);

/// Mean distances of samples from humans and from others, and by bucket what they are of, as JSON.
type Found<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>, String);

/// What a reference says of sets of samples.
#[pyclass(frozen, module = "polyalign._core")]
pub struct DistributionTerm {
    term: Term,
}

#[pymethods]
impl DistributionTerm {
    /// Over "marginals" or "rows"; of the features for which `columns` says so.
    #[new]
    fn new(
        py: Python<'_>,
        reference: &Reference,
        over: &str,
        columns: Vec<bool>,
        min_count: u64,
    ) -> PyResult<Self> {
        let over = match over {
            "marginals" => Over::Marginals,
            "rows" => Over::Rows,
            other => {
                return Err(PyValueError::new_err(format!(
                    "over is {other:?}: it must be 'marginals' or 'rows'"
                )));
            }
        };
        let query = Query { min_count, ..Query::default() };
        let engine = reference.engine();
        let term = py.detach(|| Term::new(engine, query, over, columns)).map_err(errors::to_py)?;
        Ok(Self { term })
    }

    /// The feature values of responses, `[n, features]`; all NaN where the target is none under the schema.
    fn measure<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        targets: &Bound<'py, PyAny>,
        prompts: Option<Prompts>,
        threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (texts, buckets) =
            (Column::from_python("responses", texts)?, Column::from_python("buckets", targets)?);
        let (texts, targets) = (texts.as_strs()?, buckets.as_strs()?);
        let prompts = prompts.as_ref().map(messages);
        let reference = self.term.reference();
        let keep_thinking = reference.settings().keep_thinking;
        let found = responses(&texts, buckets.of(&targets), prompts.as_deref(), keep_thinking)?;
        let width = FEATURES.len();
        let work = |stop: &_| {
            let mut languages: HashMap<&str, Option<String>> = HashMap::new();
            for response in &found {
                languages.entry(response.of).or_insert_with(|| self.term.language(response.of));
            }
            let of = |response: &Response<'_>| languages[response.of].as_deref();
            let known: Vec<Response<'_>> = found
                .iter()
                .filter_map(|response| Some(Response { of: languages[response.of].as_deref()?, ..*response }))
                .collect();
            let Values::Default(rows) = measure_all(Variant::Default, &Group::ALL, &known, stop)? else {
                return Err(Error::Input("the paper's features have no distributional term".into()));
            };
            if known.len() == found.len() {
                return Ok(rows);
            }
            let mut rows = rows.chunks_exact(width);
            let nothing = vec![f32::NAN; width];
            let all = found.iter().map(|response| of(response).and_then(|_| rows.next()).unwrap_or(&nothing));
            Ok(all.flatten().copied().collect())
        };
        let rows = threads::run(py, threads, work)?;
        PyArray1::from_vec(py, rows).reshape([found.len(), width])
    }

    /// Compares the samples of every bucket with its humans, and with those of its other prompts and of the pool.
    fn compare<'py>(
        &self,
        py: Python<'py>,
        samples: Samples<'py>,
        pool: Samples<'py>,
        with_prompts: bool,
        threads: Option<usize>,
    ) -> PyResult<Found<'py>> {
        let names =
            [&samples, &pool].map(|(_, names, _)| names.iter().map(String::as_str).collect::<Vec<_>>());
        let own = (samples.0.as_slice()?, samples.2.as_slice()?);
        let pooled = (pool.0.as_slice()?, pool.2.as_slice()?);
        let work =
            |stop: &_| {
                let [own, pool] = [(own, &names[0]), (pooled, &names[1])]
                    .map(|((rows, prompts), targets)| Set { rows, targets, prompts });
                self.term.compare(own, pool, with_prompts, stop)
            };
        let Compared { means, buckets } = threads::run(py, threads, work)?;
        let buckets: Vec<_> = buckets.iter().map(told).collect();
        Ok((
            PyArray1::from_vec(py, means.population),
            PyArray1::from_vec(py, means.others),
            json!(buckets).to_string(),
        ))
    }
}

fn told(energy: &Energy) -> serde_json::Value {
    let number = |value: f64| (!value.is_nan()).then_some(value);
    json!({
        "bucket": energy.target,
        "served_by": energy.served_by,
        "humans": energy.humans,
        "features": energy.features,
        "samples": energy.samples,
        "prompts": energy.prompts,
        "energy": number(energy.energy),
        "floor": number(energy.floor),
        "within": number(energy.within),
        "reason": energy.reason,
    })
}
