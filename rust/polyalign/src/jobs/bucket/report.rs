//! What a bucketing job did, for a summary table or for machines, and what of it the user should be warned of.

use super::held_out::HeldOut;
use super::job::Job;
use super::reading::Reading;
use super::repeats::{HeldOutRows, Repeat, Repeated, Repeats};
use super::stats::{Quantiles, Stats};
use super::worker::{BucketPlan, Example};
use crate::buckets::{Axis, BucketSchema, Bucketer};
use crate::records::record::RejectKind;
use crate::records::shape::{FieldSpec, Shape};
use crate::stream::input::{Format, Skipped};
use crate::stream::{Rejected, Unreadable};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What the job did.
///
/// `rows == bucketed + rejected`, always; `rejected` is the number of lines of the rejects file, so
/// the unreadable rest of a file counts as one row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The directory made; `None` in a dry run.
    pub output: Option<PathBuf>,
    /// What the inputs are: `jsonl`, `json array`, `parquet`, `arrow file`, `arrow stream`; several
    /// joined by `, `.
    pub format: String,
    /// The records' shape, given or decided.
    pub shape: Option<Shape>,
    /// What was read from the records.
    pub fields: FieldSpec,
    /// The schema in force (with the edges that `auto` found).
    pub schema: BucketSchema,
    /// Number of input files.
    pub files: u64,
    /// Files of the input folders that were passed over.
    pub skipped: Vec<Skipped>,
    /// Input bytes as they lie on disk.
    pub bytes_on_disk: u64,
    /// Input bytes after decompression (Arrow memory for tables).
    pub bytes: u64,
    /// Records seen.
    pub records: u64,
    /// Rows that they made: one each, or with [`Turns::All`](crate::records::turns::Turns::All) one for each reply. A record
    /// that can't be read is one row.
    pub rows: u64,
    /// Rows given a bucket.
    pub bucketed: u64,
    /// Rows rejected.
    pub rejected: u64,
    /// How the records were read.
    pub reading: Reading,
    /// Rejected rows by kind.
    pub rejected_by_kind: BTreeMap<RejectKind, u64>,
    /// The first rejected record of each kind.
    pub first_rejects: Vec<Rejected>,
    /// Tokens of all prompts; `None` if not counted.
    pub prompt_tokens: Option<u64>,
    /// Tokens of all responses; `None` if not counted.
    pub completion_tokens: Option<u64>,
    /// The buckets, by descending rows, then id.
    pub buckets: Vec<BucketReport>,
    /// Rows that repeat earlier ones.
    pub repeated: Repeated,
    /// What is held out; `None` if nothing was to be.
    pub held_out: Option<HeldOutRows>,
    /// Number of Parquet files written.
    pub shards: u64,
    /// Files whose rest could not be read (exit code 3).
    pub unreadable: Vec<Unreadable>,
    /// What the user should know, a line each.
    pub warnings: Vec<String>,
    /// Shards that an earlier, interrupted run had finished.
    pub resumed_from: Option<u64>,
    /// The reference made in the same pass.
    pub reference: Option<PathBuf>,
    /// Dry run only: the first three rows.
    pub examples: Vec<Example>,
}

/// One bucket of a [`Report`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BucketReport {
    /// The bucket's id.
    pub bucket: String,
    /// Its parts, in the schema's axis order.
    pub parts: Vec<String>,
    /// Records in it.
    pub rows: u64,
    /// Its part of all bucketed records, 0 to 1.
    pub share: f64,
    /// Tokens of its prompts; `None` if not counted.
    pub prompt_tokens: Option<u64>,
    /// Tokens of its responses; `None` if not counted.
    pub completion_tokens: Option<u64>,
    /// Lengths of its responses in the schema's unit.
    pub length: Quantiles,
    /// Of its rows those that are held out.
    pub held_out: u64,
}

/// A bin with more than this share of all rows tells little.
const CROWDED: f64 = 0.9;
/// Fewer rows than this are no corpus to judge bins by.
const FEW_ROWS: u64 = 100;

/// Rows that repeat others are worth a warning where they are more than this share.
const MANY_REPEATED: f64 = 0.05;

impl Repeated {
    /// Whether a corpus of so many rows should be looked at for it.
    pub(super) fn warning(&self, rows: u64) -> Option<String> {
        let Repeat { file, row, of_file, of_row } = self.first.as_ref()?;
        let share = self.rows as f64 / rows.max(1) as f64;
        (rows >= FEW_ROWS && share > MANY_REPEATED).then(|| {
            format!(
                "{:.0}% of the rows repeat the prompt and response of an earlier one (the first: {file}, row {row}, that of \
                 {of_file}, row {of_row}): each counts again in buckets, references and weights",
                100.0 * share
            )
        })
    }
}

impl Report {
    /// Of all that a job took, with nothing written yet.
    pub(super) fn new(
        job: &Job,
        plan: &BucketPlan,
        fields: FieldSpec,
        shape: Option<Shape>,
        stats: &Stats,
        repeats: &Repeats,
    ) -> Self {
        let (inputs, bucketer) = (&plan.inputs, &plan.bucketer);
        let formats: BTreeSet<Format> = inputs.files.iter().map(|f| f.format).collect();
        let (prompt_tokens, completion_tokens) = token_sums(stats, bucketer);
        let name = |file: u32| inputs.files[file as usize].name.clone();
        let buckets = bucket_reports(stats, bucketer);
        let reading = stats.reading.report(name);
        let repeated = repeats.report(name);
        let warnings = warnings(&buckets, bucketer.schema(), stats);
        let warnings =
            warnings.into_iter().chain(repeated.warning(stats.bucketed())).chain(reading.warnings());
        Self {
            output: None,
            format: formats.into_iter().map(Format::name).collect::<Vec<_>>().join(", "),
            shape,
            fields,
            schema: bucketer.schema().clone(),
            files: inputs.files.len() as u64,
            skipped: inputs.skipped.clone(),
            bytes_on_disk: inputs.size(),
            bytes: stats.bytes(),
            records: stats.records(),
            rows: stats.bucketed() + stats.rejected(),
            bucketed: stats.bucketed(),
            rejected: stats.rejected(),
            warnings: warnings.collect(),
            reading,
            repeated,
            held_out: repeats.held_out(HeldOut::new(job.test_share)),
            rejected_by_kind: stats.rejects.by_kind.clone(),
            first_rejects: stats.rejects.first.values().cloned().collect(),
            prompt_tokens,
            completion_tokens,
            buckets,
            shards: 0,
            unreadable: stats.rejects.unreadable.clone(),
            resumed_from: None,
            reference: None,
            examples: Vec::new(),
        }
    }
}

/// Sums of tokens, prompts and responses; `None` where they are not counted.
pub(super) fn token_sums(stats: &Stats, bucketer: &Bucketer) -> (Option<u64>, Option<u64>) {
    let counted = bucketer.counter().is_some();
    let prompts = stats.buckets.values().map(|b| b.prompt_tokens).sum();
    let completions = stats.buckets.values().map(|b| b.completion_tokens).sum();
    ((counted && bucketer.counts_prompts()).then_some(prompts), counted.then_some(completions))
}

/// The buckets of a report: by descending rows, then id.
fn bucket_reports(stats: &Stats, bucketer: &Bucketer) -> Vec<BucketReport> {
    let counted = bucketer.counter().is_some();
    let total = stats.bucketed().max(1);
    let mut buckets: Vec<BucketReport> = stats
        .buckets
        .iter()
        .map(|(id, b)| BucketReport {
            bucket: id.clone(),
            parts: b.parts.clone(),
            rows: b.rows,
            share: b.rows as f64 / total as f64,
            prompt_tokens: (counted && bucketer.counts_prompts()).then_some(b.prompt_tokens),
            completion_tokens: counted.then_some(b.completion_tokens),
            length: b.lengths.quantiles(),
            held_out: b.held_out,
        })
        .collect();
    buckets.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.bucket.cmp(&b.bucket)));
    buckets
}

/// What the user should know of the run.
pub(super) fn warnings(buckets: &[BucketReport], schema: &BucketSchema, stats: &Stats) -> Vec<String> {
    if stats.bucketed() + stats.rejected() == 0 {
        return vec!["the input holds no records".into()];
    }
    let rows: u64 = buckets.iter().map(|b| b.rows).sum();
    let Some(axis) = schema.axes.iter().position(|axis| matches!(axis, Axis::Length)) else {
        return Vec::new();
    };
    let mut bins: BTreeMap<&str, u64> = BTreeMap::new();
    for bucket in buckets {
        *bins.entry(bucket.parts[axis].as_str()).or_default() += bucket.rows;
    }
    let crowded = |count: u64| rows >= FEW_ROWS && count as f64 > CROWDED * rows as f64;
    let Some((bin, count)) = bins.into_iter().find(|&(_, count)| crowded(count)) else {
        return Vec::new();
    };
    let percent = 100 * count / rows;
    vec![format!("{percent}% of the rows are in length bin `{bin}`: --length-edges auto splits them evenly")]
}
