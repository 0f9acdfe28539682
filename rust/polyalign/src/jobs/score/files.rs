//! Scoring the responses of any records against a reference.

use super::join::Joined;
use super::together::Together;
use super::write::{Encoded, Format, Line, Lines, Sink};
use crate::buckets::{self, Axis, BucketTable, Bucketer, LengthUnit, Unassigned, join_parts};
use crate::error::shortened;
use crate::features::registry::FEATURES;
use crate::jobs::named::{BLOCK, IN_FLIGHT, fields};
use crate::jobs::output::bucketed::Bucketed;
use crate::jobs::output::publish::{Claim, Kind};
use crate::jobs::tally::Tally;
use crate::records::record::{Record, Reject};
use crate::records::shape::{FieldSpec, Shape};
use crate::reference::meter::{Meter, Values, response_language};
use crate::reference::scorer::{Score, Scorer, Target};
use crate::reference::{Energy, Over, Query, Reference, Term, Variant};
use crate::stream::block::{InputBlock, Limits};
use crate::stream::input::Inputs;
use crate::stream::{self, Place, Progress, RecordReader, Stream};
use crate::tokens::TokenCounter;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What to score, and where to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScoreJob {
    /// Files, folders, globs, or `-` for standard input.
    pub inputs: Vec<String>,
    /// A `.jsonl` or `.parquet` file to make, `-` for lines on standard output; `None`: only the report.
    pub output: Option<PathBuf>,
    /// Replace an existing output.
    pub overwrite: bool,
    /// What to read from a record.
    pub fields: FieldSpec,
    /// Where a record's bucket is; default `bucket`.
    pub bucket_field: Option<String>,
    /// Bucketed folders whose human answers the responses stand in for, joined by id.
    pub join: Vec<String>,
    /// Score against the bin of the response's own length, which hides verbosity.
    pub own_length: bool,
    /// How many features that put a response outside are named, at most.
    pub explain: usize,
    /// Fewer humans than this have no say.
    pub min_count: u64,
    /// The quantiles between which humans are inside.
    pub support: (f64, f64),
    /// Records above this are rejected without being held.
    pub max_record_bytes: u64,
    /// Worker threads; 0: all cores.
    pub threads: usize,
    /// Stop after this many input rows.
    pub limit: Option<u64>,
}

impl Default for ScoreJob {
    fn default() -> Self {
        let Query { min_count, low, high, .. } = Query::default();
        Self {
            inputs: Vec::new(),
            output: None,
            overwrite: false,
            fields: FieldSpec::default(),
            bucket_field: None,
            join: Vec::new(),
            own_length: false,
            explain: 0,
            min_count,
            support: (low, high),
            max_record_bytes: 256 << 20,
            threads: 0,
            limit: None,
        }
    }
}

/// What a scoring job did. `tally.used == scored + unscored`, always.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoreReport {
    /// The file made.
    pub output: Option<PathBuf>,
    /// How records hold prompt and response, as given or decided.
    pub shape: Option<Shape>,
    /// What became of the records.
    pub tally: Tally,
    /// Responses with a distance.
    pub scored: u64,
    /// Responses without one.
    pub unscored: u64,
    /// Those, by kind of reason: `empty`, `no_humans`, `undefined`, `bucket`, `language` or `track`.
    pub unscored_by_reason: BTreeMap<String, u64>,
    /// The first reason of each kind.
    pub unscored_examples: BTreeMap<String, String>,
    /// What told which humans a response is compared with.
    pub told_by: ToldBy,
    /// Responses to no prompt: what compares them with one does not count.
    pub without_prompt: u64,
    /// By target; beyond the first 10,000 targets all others together, as `(others)`.
    pub buckets: BTreeMap<String, BucketScores>,
}

/// How many responses' targets were told by what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldBy {
    /// The record's bucket.
    pub bucket: u64,
    /// The human answer with the same id.
    pub join: u64,
    /// Language, track and family of the record itself, over all lengths: detected where it does not name them.
    pub record: u64,
    /// The same, and its own length.
    pub own_length: u64,
}

impl ToldBy {
    fn merge(&mut self, other: Self) {
        self.bucket += other.bucket;
        self.join += other.join;
        self.record += other.record;
        self.own_length += other.own_length;
    }
}

/// The scores of one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BucketScores {
    /// The bucket, or buckets taken together, whose humans served it.
    pub served_by: Option<String>,
    /// Responses.
    pub rows: u64,
    /// Those with a distance.
    pub scored: u64,
    /// Their mean distance; `None` without any.
    pub mean_distance: Option<f64>,
    /// Their mean percentile; humans have .5.
    pub mean_percentile: Option<f64>,
    /// The share of them that is further out than 95 of 100 humans; humans have .05.
    pub beyond_95: Option<f64>,
    /// How far up to 256 of them, drawn evenly, are from the humans as a set: the energy distance E² over marginals,
    /// each feature on its own; humans have 0 on average.
    pub energy: Option<f64>,
    /// What 95% of as large sets of humans' answers stay below.
    pub energy_floor: Option<f64>,
}

/// Scores the responses of records, one line each, in order.
///
/// # Errors
/// Inputs that don't exist or don't go together, an output that exists or can't be written, a reference that lengths
/// can't be binned for, and [`Error::Interrupted`]. Records that can't be used are no error: they have a line with the
/// reason, and are counted.
pub fn score(
    job: &ScoreJob,
    reference: Arc<Reference>,
    counter: Option<TokenCounter>,
    progress: &Progress,
) -> Result<ScoreReport> {
    let format = job.output.as_deref().map(Format::of).transpose()?;
    let file = job.output.as_deref().filter(|path| *path != Path::new("-"));
    // Before any work, so that two jobs don't both do it.
    let claim = file.map(|path| Claim::take(path, Kind::File, job.overwrite)).transpose()?.map(Arc::new);
    let (job, claimed) = (job.clone(), claim.clone());
    let result = stream::supervised(progress, move |progress| {
        run(&job, format, claimed, reference, counter, progress)
    });
    // A job that is interrupted may still wait for input, and so hold it.
    if let (Err(_), Some(claim)) = (&result, claim) {
        claim.release();
    }
    result
}

fn run(
    job: &ScoreJob,
    format: Option<Format>,
    claim: Option<Arc<Claim>>,
    reference: Arc<Reference>,
    counter: Option<TokenCounter>,
    progress: &Progress,
) -> Result<ScoreReport> {
    let query = Query { min_count: job.min_count, low: job.support.0, high: job.support.1, lm: false };
    query.check()?;
    let bucketed = Bucketed::find(&job.inputs, true)?;
    bucketed.check_fits(&reference)?;
    let plan = Plan {
        bucketer: bucketer(&reference, job.own_length, counter)?,
        joined: Joined::read(&job.join, &reference)?,
        scorer: Scorer::new(reference, query).with_threads(stream::thread_count(job.threads))?,
        own_length: job.own_length,
        explain: job.explain,
        format: format.unwrap_or(Format::Lines),
        writes: format.is_some(),
    };
    let limits = Limits {
        block_bytes: BLOCK,
        chunk_bytes: u64::MAX,
        max_record_bytes: job.max_record_bytes,
        rows: job.limit.unwrap_or(u64::MAX),
    };
    // What is there already is never read.
    let own = claim.iter().flat_map(|claim| [claim.out().to_path_buf(), claim.partial().to_path_buf()]);
    let own: Vec<PathBuf> = own.collect();
    let stream = Stream::open(&bucketed.inputs, &own, limits, job.threads, IN_FLIGHT, progress)?;
    let mut sink = Sink::open(claim, format)?;
    let mut blocks = stream.all_blocks();
    let mut fields = fields(&job.fields, job.bucket_field.as_deref());
    // In what a bucketing job wrote, other columns than its own are not the response.
    fields.samples = bucketed.schema.is_none();
    fields.keep_thinking = plan.scorer.reference().settings().keep_thinking;
    let fields = stream.with_shape(&fields, &mut blocks)?;
    let (records, shape) = stream.records(&fields)?;
    let plan = Arc::new(plan);
    let compared = Arc::clone(&plan);
    let (inputs, cancel, stop) = (Arc::clone(&stream.inputs), stream.cancel(), stream.cancel());
    let worker = move || {
        let reader = RecordReader::new(records.clone(), Arc::clone(&cancel));
        Worker::new(Arc::clone(&plan), reader, Arc::clone(&inputs), Arc::clone(&cancel))
    };
    let response_field = fields.response.filter(|_| job.fields.response.is_none());
    let mut totals = Totals { tally: Tally { response_field, ..Tally::default() }, ..Totals::default() };
    stream.pump(blocks, worker, |done: Done, _, _| {
        totals.merge(done.totals);
        sink.write(done.encoded)
    })?;
    totals.check()?;
    let term = compared.term()?;
    let energy = |id: &str, together: &Together| match &term {
        Some(term) => compared.scorer.install(|_| together.energy(term, id, &stop)),
        None => Ok(None),
    };
    let report = totals.report(job.output.clone(), shape, energy)?;
    sink.finish()?;
    Ok(report)
}

/// What tells a record's bucket where nothing says it.
fn bucketer(
    reference: &Reference,
    own_length: bool,
    counter: Option<TokenCounter>,
) -> Result<Option<Bucketer>> {
    let mut schema = reference.schema().clone();
    if own_length {
        let sha256 = counter.as_ref().map(|counter| counter.sha256().to_owned());
        let needs_tokens = schema.length_unit == Some(LengthUnit::Tokens);
        if needs_tokens && sha256 != reference.settings().tokenizer {
            let what = if sha256.is_some() { "another one was given" } else { "none was given" };
            return Err(Error::Input(format!(
                "the reference's lengths are in tokens of the tokenizer with SHA-256 {}, but {what}: own lengths need it",
                reference.settings().tokenizer.as_deref().unwrap_or("unknown")
            )));
        }
        return Bucketer::new(schema, counter, false).map(Some);
    }
    schema.axes.retain(|axis| *axis != Axis::Length);
    if schema.axes.is_empty() {
        return Ok(None);
    }
    // Lengths are not looked at, but some unit there must be.
    schema.length_unit = Some(LengthUnit::Characters);
    Bucketer::new(schema, None, false).map(Some)
}

/// What all workers share.
struct Plan {
    scorer: Scorer,
    bucketer: Option<Bucketer>,
    joined: Joined,
    own_length: bool,
    explain: usize,
    format: Format,
    writes: bool,
}

impl Plan {
    /// What compares the responses of a bucket with its humans as sets; nothing does by the paper's features.
    fn term(&self) -> Result<Option<Term>> {
        let of = |reference: &Arc<Reference>| {
            let columns = vec![true; FEATURES.len()];
            Term::new(Arc::clone(reference), *self.scorer.query(), Over::Marginals, columns)
        };
        let has_one = self.scorer.reference().variant() == Variant::Default;
        has_one.then(|| self.scorer.install(of)).transpose()
    }

    /// The target of a record; the error is why there is none.
    fn target(
        &self,
        record: &Record<'_>,
        table: &mut BucketTable,
        scratch: &mut Option<buckets::BucketerScratch>,
        told_by: &mut ToldBy,
    ) -> Result<Arc<Target>, (&'static str, String)> {
        let mut inferred = || {
            let inferred = self.inferred(record, table, scratch);
            inferred.map_err(|Unassigned { kind, reason }| (kind.name(), reason))
        };
        let target = if self.own_length {
            told_by.own_length += 1;
            self.scorer.target(&inferred()?)
        } else if let Some(id) = record.custom.first().copied().flatten() {
            told_by.bucket += 1;
            self.scorer.target(id)
        } else if let Some(id) = record.id.and_then(|id| self.joined.bucket(id)) {
            told_by.join += 1;
            self.scorer.target(id)
        } else {
            told_by.record += 1;
            self.scorer.target(&inferred()?)
        };
        target.map_err(|error| ("bucket", error.to_string()))
    }

    /// The bucket that a record's language, track and family make, over all lengths unless its own counts.
    fn inferred(
        &self,
        record: &Record<'_>,
        table: &mut BucketTable,
        scratch: &mut Option<buckets::BucketerScratch>,
    ) -> Result<String, Unassigned> {
        let (Some(bucketer), Some(scratch)) = (&self.bucketer, scratch) else { return Ok("*".into()) };
        // The custom column is the bucket's here, so the schema's own are not read.
        let assigned = bucketer.assign(&Record { custom: &[], ..*record }, table, scratch)?;
        let mut parts = table.parts(assigned.bucket).to_vec();
        if !self.own_length
            && let Some(at) = self.scorer.reference().schema().axes.iter().position(|a| *a == Axis::Length)
        {
            parts.insert(at, "*".into());
        }
        Ok(join_parts(&parts))
    }
}

struct Worker {
    plan: Arc<Plan>,
    reader: RecordReader,
    inputs: Arc<Inputs>,
    state: State,
}

/// What changes from record to record.
struct State {
    meter: Meter,
    cancel: Arc<AtomicBool>,
    values: Values,
    table: BucketTable,
    scratch: Option<buckets::BucketerScratch>,
    lines: Lines,
    totals: Totals,
}

struct Done {
    encoded: Encoded,
    totals: Totals,
}

impl Worker {
    fn new(plan: Arc<Plan>, reader: RecordReader, inputs: Arc<Inputs>, cancel: Arc<AtomicBool>) -> Self {
        let variant = plan.scorer.reference().variant();
        let state = State {
            meter: Meter::new(variant),
            cancel,
            values: Values::new(variant),
            table: BucketTable::default(),
            scratch: plan.bucketer.as_ref().map(Bucketer::scratch),
            lines: Lines::new(plan.format),
            totals: Totals::default(),
        };
        Self { plan, reader, inputs, state }
    }
}

impl State {
    fn take(
        &mut self,
        plan: &Plan,
        record: Result<Record<'_>, Reject>,
        place: Place,
        inputs: &Inputs,
    ) -> Result<()> {
        let file = &inputs.files[place.file as usize].name;
        let line = Line { file, row: place.row, ..Line::default() };
        let record = match record {
            Ok(record) => record,
            Err(reject) => {
                let id = reject.id.as_deref();
                self.totals.tally.reject(place.rejected(inputs, id, reject.kind, &reject.reason));
                return self.write(plan, Line { id, reason: Some(&reject.reason), ..line });
            }
        };
        let line = Line { id: record.id, ..line };
        self.totals.without_prompt += u64::from(record.prompt.is_empty());
        let told_by = &mut self.totals.told_by;
        let target = match plan.target(&record, &mut self.table, &mut self.scratch, told_by) {
            Ok(target) => target,
            Err((kind, reason)) => {
                self.totals.unscored(kind, &reason);
                self.totals.without_humans(&reason);
                let bucket = record.custom.first().copied().flatten();
                return self.write(plan, Line { bucket, reason: Some(&reason), ..line });
            }
        };
        let language = response_language(plan.scorer.reference().schema(), &target.parts, &record);
        self.values.clear();
        let Self { meter, values, cancel, .. } = self;
        meter.measure(record.answer(), language, record.prompt, values, cancel)?;
        values.end_row(&[], plan.scorer.reference().settings().lm_features());
        let score = target.score(record.answer(), &self.values);
        let reason = target.reason_of(score);
        if let (None, Some(reason)) = (&target.served_by, &target.reason) {
            self.totals.without_humans(reason);
        }
        self.totals.add(&target, score);
        self.totals.compare(&target, &self.values, &record, place);
        let scorer = &plan.scorer;
        let outside = match plan.explain {
            0 => Vec::new(),
            most => target.outside(scorer.reference(), scorer.query(), &self.values, most)?,
        };
        let outside: Vec<String> =
            outside.iter().map(|outside| outside.in_words(scorer.reference())).collect();
        let served_by = target.served_by.as_deref();
        let line = Line {
            bucket: Some(&target.id),
            served_by,
            score: Some(score),
            reason,
            outside: &outside,
            ..line
        };
        self.write(plan, line)
    }

    fn write(&mut self, plan: &Plan, line: Line<'_>) -> Result<()> {
        if plan.writes { self.lines.push(&line) } else { Ok(()) }
    }
}

impl stream::BlockWorker for Worker {
    type Done = Done;

    fn work(&mut self, block: &InputBlock) -> Result<Done> {
        let Self { plan, reader, inputs, state } = self;
        let mut failed = Ok(());
        let mut take = |record: Result<Record<'_>, Reject>, place: Place| {
            if failed.is_ok() {
                failed = state.take(plan, record, place, inputs);
            }
        };
        reader.block(block, inputs, &mut take)?;
        failed?;
        let mut totals = std::mem::take(&mut state.totals);
        totals.tally.bytes += block.bytes;
        Ok(Done { encoded: state.lines.finish()?, totals })
    }

    fn rows(done: &Done) -> u64 {
        done.totals.tally.rows
    }
}

/// Sums over responses; those of floats run in input order.
#[derive(Default)]
struct Totals {
    tally: Tally,
    unscored_by_reason: BTreeMap<String, u64>,
    unscored_examples: BTreeMap<String, String>,
    told_by: ToldBy,
    without_prompt: u64,
    /// Responses that no humans serve, and why the first has none.
    without_humans: u64,
    first_without_humans: Option<String>,
    buckets: BTreeMap<String, Sums>,
}

/// Targets whose scores are summed up each for itself, and what stands for all others: records name what they like.
const MAX_TARGETS: usize = 10_000;
const OTHERS: &str = "(others)";

#[derive(Default)]
struct Sums {
    served_by: Option<String>,
    rows: u64,
    scored: u64,
    ranked: u64,
    distances: f64,
    percentiles: f64,
    beyond_95: u64,
    together: Together,
}

impl Totals {
    fn unscored(&mut self, kind: &str, reason: &str) {
        self.tally.used();
        match self.unscored_by_reason.get_mut(kind) {
            Some(count) => *count += 1,
            None => {
                self.unscored_by_reason.insert(kind.to_owned(), 1);
                self.unscored_examples.insert(kind.to_owned(), shortened(reason));
            }
        }
    }

    fn without_humans(&mut self, reason: &str) {
        self.without_humans += 1;
        self.first_without_humans.get_or_insert_with(|| shortened(reason));
    }

    /// Refuses a reference that has humans for none of the responses.
    fn check(&self) -> Result<()> {
        match &self.first_without_humans {
            Some(reason) if self.without_humans == self.tally.used => Err(Error::Input(format!(
                "the reference has humans for none of {} responses: {reason}; are both bucketed alike?",
                self.tally.used
            ))),
            _ => Ok(()),
        }
    }

    fn add(&mut self, target: &Target, score: Score) {
        match target.kind_of(score).zip(target.reason_of(score)) {
            Some((kind, reason)) => self.unscored(kind, reason),
            None => self.tally.used(),
        }
        if !self.buckets.contains_key(&target.id) {
            let served_by = target.served_by.clone();
            self.buckets.insert(target.id.clone(), Sums { served_by, ..Sums::default() });
        }
        let Some(sums) = self.buckets.get_mut(&target.id) else { return };
        sums.rows += 1;
        if !score.distance.is_nan() {
            sums.scored += 1;
            sums.distances += score.distance;
        }
        if !score.percentile.is_nan() {
            sums.ranked += 1;
            sums.percentiles += score.percentile;
            sums.beyond_95 += u64::from(score.percentile > 0.95);
        }
    }

    /// Keeps a response that may be compared with humans as one of a set.
    fn compare(&mut self, target: &Target, values: &Values, record: &Record<'_>, place: Place) {
        if let (Some(sums), Values::Default(row), Some(_)) =
            (self.buckets.get_mut(&target.id), values, &target.served_by)
        {
            sums.together.add(place, record, &row[..FEATURES.len()]);
        }
    }

    fn merge(&mut self, other: Self) {
        self.tally.merge(other.tally);
        self.told_by.merge(other.told_by);
        self.without_prompt += other.without_prompt;
        self.without_humans += other.without_humans;
        self.first_without_humans = self.first_without_humans.take().or(other.first_without_humans);
        for (reason, count) in other.unscored_by_reason {
            *self.unscored_by_reason.entry(reason).or_default() += count;
        }
        for (kind, example) in other.unscored_examples {
            self.unscored_examples.entry(kind).or_insert(example);
        }
        for (id, mut sums) in other.buckets {
            let mut id = id;
            if self.buckets.len() >= MAX_TARGETS && !self.buckets.contains_key(&id) {
                id = OTHERS.to_owned();
                sums.served_by = None;
                sums.together = Together::default();
            }
            let own = self.buckets.entry(id).or_default();
            own.served_by = sums.served_by;
            own.rows += sums.rows;
            own.scored += sums.scored;
            own.ranked += sums.ranked;
            own.distances += sums.distances;
            own.percentiles += sums.percentiles;
            own.beyond_95 += sums.beyond_95;
            own.together.merge(sums.together);
        }
    }

    fn report(
        self,
        output: Option<PathBuf>,
        shape: Option<Shape>,
        energy: impl Fn(&str, &Together) -> Result<Option<Energy>>,
    ) -> Result<ScoreReport> {
        let mean = |sum: f64, count: u64| (count > 0).then(|| sum / count as f64);
        let number = |value: f64| (!value.is_nan()).then_some(value);
        let bucket = |(id, sums): (String, Sums)| {
            let energy = energy(&id, &sums.together)?;
            let scores = BucketScores {
                served_by: sums.served_by,
                rows: sums.rows,
                scored: sums.scored,
                mean_distance: mean(sums.distances, sums.scored),
                mean_percentile: mean(sums.percentiles, sums.ranked),
                beyond_95: mean(sums.beyond_95 as f64, sums.ranked),
                energy: energy.as_ref().and_then(|energy| number(energy.energy)),
                energy_floor: energy.as_ref().and_then(|energy| number(energy.floor)),
            };
            Ok((id, scores))
        };
        let unscored = self.unscored_by_reason.values().sum();
        Ok(ScoreReport {
            output,
            shape,
            scored: self.tally.used - unscored,
            unscored,
            unscored_by_reason: self.unscored_by_reason,
            unscored_examples: self.unscored_examples,
            told_by: self.told_by,
            without_prompt: self.without_prompt,
            buckets: self.buckets.into_iter().map(bucket).collect::<Result<_>>()?,
            tally: self.tally,
        })
    }
}
