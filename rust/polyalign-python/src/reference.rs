//! References for Python. Settings and reports travel as JSON.

use crate::arrow_out::Library;
use crate::buckets::from_json;
use crate::features::subtags;
use crate::making::Making;
use crate::output::Output;
use crate::responses::{Column, Of, Prompts, messages, responses};
use crate::tokens::TokenCounter;
use crate::{arrow_in, errors, interrupt, threads};
use arrow_array::{ArrayRef, Float32Array, RecordBatch, StringArray};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2};
use polyalign::buckets::BucketSchema;
use polyalign::features::registry::FEATURES;
use polyalign::jobs;
use polyalign::jobs::build::BuildJob;
use polyalign::jobs::score::{Response, ScoreJob, Scored};
use polyalign::records::shape::FieldSpec;
use polyalign::reference::scorer::Scorer;
use polyalign::reference::{
    Builder, Distribution, LanguageModel, Query, Reference as Engine, Settings, Variant,
};
use polyalign::stream::Progress;
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyo3_arrow::PyTable;
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

/// The human distribution of every feature in every bucket.
#[pyclass(frozen, module = "polyalign._core")]
pub struct Reference {
    engine: Arc<Engine>,
    /// What scores against it, by how it is asked.
    scorers: Mutex<Vec<Arc<Scorer>>>,
}

/// Why responses have no distance, an example of each kind, and how many.
type Reasons = Vec<(String, u64)>;

/// How a reference is asked: `min_count`, and the quantiles of the band.
type Asked = (u64, f64, f64);

/// What a language model says of responses, `[n, features]`; `None`: it is not asked.
type Lm<'py> = Option<PyReadonlyArray2<'py, f32>>;

fn query((min_count, low, high): Asked, lm: bool) -> Query {
    Query { min_count, low, high, lm }
}

/// The values, row after row.
fn lm_values<'a>(lm: &'a Lm<'_>) -> PyResult<&'a [f32]> {
    lm.as_ref().map_or(Ok(&[]), |lm| lm.as_slice().map_err(|e| PyValueError::new_err(format!("lm: {e}"))))
}

impl Reference {
    fn new(engine: Engine) -> Self {
        Self { engine: Arc::new(engine), scorers: Mutex::default() }
    }

    /// The engine's.
    pub fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine)
    }

    fn scorer(&self, asked: Asked, lm: bool) -> PyResult<Arc<Scorer>> {
        const KEPT: usize = 8;
        let query = query(asked, lm);
        query.check().map_err(errors::to_py)?;
        let mut scorers = self.scorers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scorer) = scorers.iter().find(|scorer| *scorer.query() == query) {
            return Ok(Arc::clone(scorer));
        }
        if scorers.len() == KEPT {
            scorers.remove(0);
        }
        let scorer = Arc::new(Scorer::new(Arc::clone(&self.engine), query));
        scorers.push(Arc::clone(&scorer));
        Ok(scorer)
    }

    fn feature(&self, name: &str) -> PyResult<usize> {
        let found = self.engine.features().iter().position(|feature| feature.name == name);
        found.ok_or_else(|| {
            PyKeyError::new_err(format!("no feature {name:?}: polyalign.features.registry() lists them"))
        })
    }

    fn keep_thinking(&self) -> bool {
        self.engine.settings().keep_thinking
    }

    /// Gives responses what a language model says of them.
    fn with_lm<'a>(&self, responses: &mut [Response<'a>], lm: &'a Lm<'_>) -> PyResult<()> {
        let (values, width) = (lm_values(lm)?, self.engine.settings().lm_features());
        if lm.is_none() {
            return Ok(());
        }
        if width == 0 || values.len() != responses.len() * width {
            return Err(PyValueError::new_err(format!(
                "lm has {} values for {} responses: the reference has {width} features of a language model",
                values.len(),
                responses.len()
            )));
        }
        responses.iter_mut().zip(values.chunks_exact(width)).for_each(|(response, row)| response.lm = row);
        Ok(())
    }

    fn score_all<'a>(
        &self,
        py: Python<'_>,
        responses: &mut [Response<'a>],
        lm: &'a Lm<'_>,
        asked: Asked,
        threads: Option<usize>,
    ) -> PyResult<Vec<Scored>> {
        self.with_lm(responses, lm)?;
        let scorer = self.scorer(asked, lm.is_some())?;
        threads::run(py, threads, |stop| scorer.score_all(responses, stop))
    }

    /// A number of a feature's humans for a target, for each of `at`; NaN where no humans serve it.
    fn each<'py>(
        &self,
        py: Python<'py>,
        (target, feature, min_count): (&str, &str, u64),
        at: Vec<f64>,
        of: fn(&Distribution, f64) -> f64,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let feature = self.feature(feature)?;
        let query = Query { min_count, ..Query::default() };
        let work = || -> polyalign::Result<Vec<f64>> {
            let resolved = self.engine.resolve(target, &query)?;
            let humans = self.engine.target_distribution(&resolved, feature)?;
            let number = |at: f64| humans.as_ref().map_or(f64::NAN, |humans| of(humans, at));
            Ok(at.into_iter().map(number).collect())
        };
        Ok(PyArray1::from_vec(py, py.detach(work).map_err(errors::to_py)?))
    }
}

fn batch_table<'py>(py: Python<'py>, batch: RecordBatch) -> PyResult<Bound<'py, PyAny>> {
    let schema = batch.schema();
    Library::Arro3.table(py, PyTable::try_new(vec![batch], schema)?)
}

#[pymethods]
impl Reference {
    /// Reads a file.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| Engine::load(path)).map(Self::new).map_err(errors::to_py)
    }

    /// Reads a file's bytes.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        py.detach(|| Engine::from_bytes(bytes)).map(Self::new).map_err(errors::to_py)
    }

    /// Builds one from files; returns it with what became of the records, as JSON.
    #[staticmethod]
    fn build(py: Python<'_>, job: &str, on_progress: Option<Py<PyAny>>) -> PyResult<(Self, String)> {
        let mut job: BuildJob = from_json("job", job)?;
        job.threads = threads::resolve(Some(job.threads))?;
        let work = move |progress: &Progress| jobs::build::build(&job, progress);
        let (reference, tally) = interrupt::run_job(py, on_progress.as_ref(), work)?;
        Ok((Self::new(reference), json!(tally).to_string()))
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| self.engine.to_bytes()).map_err(errors::to_py)?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.engine.save(path)).map_err(errors::to_py)
    }

    /// Writes it to an output in the making.
    fn write_to(&self, py: Python<'_>, output: &Output) -> PyResult<()> {
        py.detach(|| self.engine.write_to(&output.0)).map_err(errors::to_py)
    }

    fn merge(&self, py: Python<'_>, other: &Self) -> PyResult<Self> {
        py.detach(|| self.engine.merge(&other.engine)).map(Self::new).map_err(errors::to_py)
    }

    fn __eq__(&self, other: &Self) -> bool {
        *self.engine == *other.engine
    }

    /// What it was made under and what it holds, as JSON.
    fn info(&self) -> String {
        let of = &self.engine;
        let settings = of.settings();
        let buckets = of.buckets().iter();
        json!({
            "schema": settings.schema,
            "tokenizer": settings.tokenizer,
            "variant": settings.variant.name(),
            "sample_size": settings.sample_size,
            "keep_thinking": settings.keep_thinking,
            "lm": settings.lm,
            "sources": of.sources(),
            "rows": of.rows(),
            "features": of.features().iter().map(|feature| feature.name).collect::<Vec<_>>(),
            "buckets": buckets.map(|b| json!({"bucket": b.id, "parts": b.parts, "rows": b.rows})).collect::<Vec<_>>(),
        })
        .to_string()
    }

    fn describe<'py>(&self, py: Python<'py>, threads: Option<usize>) -> PyResult<Bound<'py, PyAny>> {
        batch_table(py, threads::run(py, threads, |stop| self.engine.describe_table(stop))?)
    }

    fn bins<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let batch = py.detach(|| self.engine.bins_table()).map_err(errors::to_py)?;
        batch_table(py, batch)
    }

    fn diff<'py>(
        &self,
        py: Python<'py>,
        other: &Self,
        threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyAny>> {
        batch_table(py, threads::run(py, threads, |stop| self.engine.diff_table(&other.engine, stop))?)
    }

    /// What a page shows, as JSON.
    fn page(&self, py: Python<'_>, title: &str, min_count: u64, threads: Option<usize>) -> PyResult<String> {
        let query = Query { min_count, ..Query::default() };
        threads::run(py, threads, |stop| self.engine.page(title, &query, stop).map(|page| page.to_string()))
    }

    /// What serves a target, as JSON.
    fn resolve(&self, py: Python<'_>, target: &str, min_count: u64) -> PyResult<String> {
        let query = Query { min_count, ..Query::default() };
        let resolved = py.detach(|| self.engine.resolve(target, &query)).map_err(errors::to_py)?;
        let level = |level: Option<usize>| level.map(|level| resolved.levels[level].id.as_str());
        let features = self.engine.features().iter().zip(&resolved.feature_levels);
        Ok(json!({
            "target": resolved.target,
            "served_by": resolved.served_by,
            "reason": resolved.reason,
            "rows": resolved.serving().map(|level| level.rows),
            "backed_off": resolved.backed_off,
            "undefined": resolved.undefined,
            "features": features.map(|(f, at)| (f.name, level(*at))).collect::<HashMap<_, _>>(),
        })
        .to_string())
    }

    /// Quantiles of a feature for a target; NaN where no humans serve it.
    fn quantile<'py>(
        &self,
        py: Python<'py>,
        target: &str,
        feature: &str,
        p: Vec<f64>,
        min_count: u64,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        if let Some(p) = p.iter().find(|p| !(0.0..=1.0).contains(*p)) {
            return Err(PyValueError::new_err(format!("p is {p}: it must be 0 to 1")));
        }
        self.each(py, (target, feature, min_count), p, Distribution::quantile)
    }

    /// The share of humans with a value of at most x; NaN where no humans serve the target.
    fn cdf<'py>(
        &self,
        py: Python<'py>,
        target: &str,
        feature: &str,
        x: Vec<f64>,
        min_count: u64,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        self.each(py, (target, feature, min_count), x, Distribution::cdf)
    }

    /// The support distances of responses, NaN where there is none; and the reasons for that with how often each holds.
    #[expect(clippy::too_many_arguments, reason = "the Python side has named them")]
    #[pyo3(signature = (texts, targets, prompts, asked, threads, lm=None))]
    fn support_distance<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        targets: &Bound<'py, PyAny>,
        prompts: Option<Prompts>,
        asked: Asked,
        threads: Option<usize>,
        lm: Lm<'py>,
    ) -> PyResult<(Bound<'py, PyArray1<f32>>, Reasons)> {
        let (texts, buckets) =
            (Column::from_python("texts", texts)?, Column::from_python("buckets", targets)?);
        let (texts, targets) = (texts.as_strs()?, buckets.as_strs()?);
        let prompts = prompts.as_ref().map(messages);
        let mut responses =
            responses(&texts, buckets.of(&targets), prompts.as_deref(), self.keep_thinking())?;
        let scored = self.score_all(py, &mut responses, &lm, asked, threads)?;
        let mut kinds: Vec<(&str, String, u64)> = Vec::new();
        let distances = scored.iter().map(|scored| {
            let (distance, reason) = outcome(scored);
            if let Some(reason) = reason {
                let kind = scored.as_ref().map_or(Some("bucket"), |(target, score)| target.kind_of(*score));
                let kind = kind.unwrap_or_default();
                match kinds.iter_mut().find(|(known, ..)| *known == kind) {
                    Some((.., count)) => *count += 1,
                    None => kinds.push((kind, reason.to_owned(), 1)),
                }
            }
            distance as f32
        });
        let distances = distances.collect();
        let reasons = kinds.into_iter().map(|(_, example, count)| (example, count)).collect();
        Ok((PyArray1::from_vec(py, distances), reasons))
    }

    /// Scores with all that is known of them, as a table.
    #[expect(clippy::too_many_arguments, reason = "the Python side has named them")]
    #[pyo3(signature = (texts, targets, prompts, asked, threads, lm=None))]
    fn score<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        targets: &Bound<'py, PyAny>,
        prompts: Option<Prompts>,
        asked: Asked,
        threads: Option<usize>,
        lm: Lm<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (texts, buckets) =
            (Column::from_python("texts", texts)?, Column::from_python("buckets", targets)?);
        let (texts, targets) = (texts.as_strs()?, buckets.as_strs()?);
        let prompts = prompts.as_ref().map(messages);
        let mut responses =
            responses(&texts, buckets.of(&targets), prompts.as_deref(), self.keep_thinking())?;
        let scored = self.score_all(py, &mut responses, &lm, asked, threads)?;
        scored_table(py, scored, &responses)
    }

    /// Scores with all that is known of them, as a table, and the features of the texts `[n, features]`: in their
    /// languages, with their reasoning. Measured once where a score is of the same.
    #[expect(clippy::too_many_arguments, reason = "the Python side has named them")]
    fn score_and_measure<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        targets: &Bound<'py, PyAny>,
        languages: &Bound<'py, PyAny>,
        prompts: Option<Prompts>,
        asked: Asked,
        threads: Option<usize>,
        lm: Lm<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyArray2<f32>>)> {
        let (texts, buckets) =
            (Column::from_python("texts", texts)?, Column::from_python("buckets", targets)?);
        let languages = Column::from_python("languages", languages)?;
        let (texts, targets) = (texts.as_strs()?, buckets.as_strs()?);
        let subtags = subtags(&languages.as_strs()?)?;
        let prompts = prompts.as_ref().map(messages);
        let whole = responses(&texts, languages.of(&subtags), prompts.as_deref(), true)?;
        let mut responses =
            responses(&texts, buckets.of(&targets), prompts.as_deref(), self.keep_thinking())?;
        self.with_lm(&mut responses, &lm)?;
        let scorer = self.scorer(asked, lm.is_some())?;
        let (scored, values) =
            threads::run(py, threads, |stop| scorer.score_and_measure_all(&responses, &whole, stop))?;
        let features = PyArray1::from_vec(py, values).reshape([scored.len(), FEATURES.len()])?;
        Ok((scored_table(py, scored, &responses)?, features))
    }

    /// The features that put a response outside its target's humans, as JSON.
    #[expect(clippy::too_many_arguments, reason = "the Python side has named them")]
    #[pyo3(signature = (text, target, prompts, asked, most, threads, lm=None))]
    fn explain(
        &self,
        py: Python<'_>,
        text: &str,
        target: &str,
        prompts: Option<Prompts>,
        asked: Asked,
        most: usize,
        threads: Option<usize>,
        lm: Lm<'_>,
    ) -> PyResult<String> {
        let prompts = prompts.as_ref().map(messages);
        let of = Of { name: "buckets", values: &[target], for_all: true };
        let mut responses = responses(&[text], of, prompts.as_deref(), self.keep_thinking())?;
        self.with_lm(&mut responses, &lm)?;
        let scorer = self.scorer(asked, lm.is_some())?;
        let work = |stop: &AtomicBool| {
            let (target, values) = scorer.measure(&responses[0], stop)?;
            let outside = target.outside(&self.engine, scorer.query(), &values, most)?;
            Ok((target.score(text, &values), target, outside))
        };
        let (score, target, outside) = threads::run(py, threads, work)?;
        let defined = |value: f64| (!value.is_nan()).then_some(value);
        let features: Vec<_> = outside
            .iter()
            .map(|outside| {
                json!({
                    "feature": self.engine.features()[outside.feature].name,
                    "value": outside.value,
                    "low": outside.low,
                    "high": outside.high,
                    "counts": outside.counts,
                    "cdf": outside.cdf,
                    "share": outside.share,
                    "words": outside.in_words(&self.engine),
                })
            })
            .collect();
        Ok(json!({
            "bucket": target.id,
            "served_by": target.served_by,
            "distance": defined(score.distance),
            "percentile": defined(score.percentile),
            "reason": target.reason_of(score),
            "outside": features,
        })
        .to_string())
    }

    /// Scores the records of files; returns the report as JSON.
    fn score_files(
        &self,
        py: Python<'_>,
        job: &str,
        counter: Option<&TokenCounter>,
        on_progress: Option<Py<PyAny>>,
    ) -> PyResult<String> {
        let mut job: ScoreJob = from_json("job", job)?;
        job.threads = threads::resolve(Some(job.threads))?;
        let counter = counter.map(|counter| counter.counter.clone());
        let engine = Arc::clone(&self.engine);
        let work = move |progress: &Progress| jobs::score::score(&job, engine, counter, progress);
        Ok(json!(interrupt::run_job(py, on_progress.as_ref(), work)?).to_string())
    }
}

/// What is known of scores, as a table.
fn scored_table<'py>(
    py: Python<'py>,
    scored: Vec<Scored>,
    responses: &[Response<'_>],
) -> PyResult<Bound<'py, PyAny>> {
    let text = |of: &dyn Fn(&(Scored, &str)) -> Option<String>, rows: &[(Scored, &str)]| -> ArrayRef {
        Arc::new(StringArray::from_iter(rows.iter().map(of)))
    };
    let rows: Vec<(Scored, &str)> =
        scored.into_iter().zip(responses.iter().map(|response| response.of)).collect();
    let number = |of: &dyn Fn(&Scored) -> f64| -> ArrayRef {
        Arc::new(Float32Array::from_iter_values(rows.iter().map(|(scored, _)| of(scored) as f32)))
    };
    let percentile = |scored: &Scored| scored.as_ref().map_or(f64::NAN, |(_, score)| score.percentile);
    let bucket = |(scored, given): &(Scored, &str)| {
        Some(scored.as_ref().map_or_else(|_| (*given).to_owned(), |(target, _)| target.id.clone()))
    };
    let served_by =
        |(scored, _): &(Scored, &str)| scored.as_ref().ok().and_then(|(t, _)| t.served_by.clone());
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("bucket", text(&bucket, &rows), false),
        ("served_by", text(&served_by, &rows), true),
        ("distance", number(&|scored| outcome(scored).0), false),
        ("percentile", number(&percentile), false),
        ("reason", text(&|(scored, _)| outcome(scored).1.map(str::to_owned), &rows), true),
    ]);
    batch_table(py, batch.map_err(|error| errors::to_py(error.into()))?)
}

/// A distance, or NaN and why.
fn outcome(scored: &Scored) -> (f64, Option<&str>) {
    match scored {
        Ok((target, score)) => (score.distance, target.reason_of(*score)),
        Err(reason) => (f64::NAN, Some(reason)),
    }
}

/// What a reference in the making counts under, as Python says it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    schema: BucketSchema,
    tokenizer: Option<String>,
    variant: Variant,
    sample_size: u32,
    keep_thinking: bool,
    lm: Option<LanguageModel>,
    sources: Vec<String>,
}

/// Builds a reference from tables.
#[pyclass(frozen, module = "polyalign._core")]
pub struct ReferenceBuilder(Making<Builder>);

#[pymethods]
impl ReferenceBuilder {
    #[new]
    fn new(settings: &str) -> PyResult<Self> {
        let Given { schema, tokenizer, variant, sample_size, keep_thinking, lm, sources } =
            from_json("settings", settings)?;
        let settings = Settings { schema, tokenizer, variant, sample_size, keep_thinking, lm };
        let builder = Builder::new(settings).map_err(errors::to_py)?;
        sources.iter().for_each(|source| builder.add_source(source));
        Ok(Self(Making::new("reference", builder)))
    }

    /// Counts a table, with what a language model says of its rows; returns what became of them, as JSON.
    #[pyo3(signature = (table, fields, threads, lm=None))]
    fn add(
        &self,
        table: &Bound<'_, PyAny>,
        fields: &str,
        threads: Option<usize>,
        lm: Lm<'_>,
    ) -> PyResult<String> {
        let py = table.py();
        let (batches, schema) = arrow_in::table("table", table)?;
        let fields: FieldSpec = from_json("fields", fields)?;
        let builder = self.0.shared()?;
        let lm = lm_values(&lm)?;
        let work =
            |stop: &AtomicBool| jobs::build::count_table(&builder, &schema, &batches, &fields, lm, stop);
        Ok(json!(threads::run(py, threads, work)?).to_string())
    }

    fn finish(&self, py: Python<'_>) -> PyResult<Reference> {
        let builder = self.0.take()?;
        py.detach(|| jobs::build::finish(builder)).map(Reference::new).map_err(errors::to_py)
    }
}
