//! `manifest.json`: what an output is and how it came about; the same for the same input and settings.

use super::Job;
use super::journal::Shard;
use super::report::{BucketReport, HeldOutRows, Quantiles, Reading, Repeated, Report};
use super::stats::Stats;
use crate::buckets::{Axis, BucketSchema, Bucketer};
use crate::records::shape::FieldSpec;
use crate::stream::input::Inputs;
use crate::{Error, Result};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The layout of outputs; raised when it changes.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Manifest<'a> {
    format: &'static str,
    format_version: u32,
    polyalign_version: &'static str,
    schema: &'a BucketSchema,
    fields: &'a FieldSpec,
    settings: &'a Map<String, Value>,
    tokenizer: Value,
    counts: Counts<'a>,
    repeated: &'a Repeated,
    reading: Reading,
    buckets: Vec<Bucket<'a>>,
    inputs: Vec<InputCounts<'a>>,
    rejects: Rejects,
    shards: &'a [Shard],
}

#[derive(Serialize)]
struct Counts<'a> {
    records: u64,
    rows: u64,
    bucketed: u64,
    rejected: u64,
    rejected_by_kind: &'a BTreeMap<String, u64>,
    bytes: u64,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    held_out: Option<HeldOutRows>,
}

#[derive(Serialize)]
struct Bucket<'a> {
    bucket: &'a str,
    parts: BTreeMap<&'a str, &'a str>,
    rows: u64,
    held_out: u64,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    length: Quantiles,
}

#[derive(Serialize)]
struct InputCounts<'a> {
    file: &'a str,
    size: u64,
    bytes: u64,
    rows: u64,
    bucketed: u64,
    rejected: u64,
}

#[derive(Serialize)]
struct Rejects {
    file: &'static str,
    rows: u64,
    bytes: u64,
    sha256: String,
}

/// The settings that an output depends on, as given: no paths, no number of threads.
pub fn settings(job: &Job, bucketer: &Bucketer) -> Result<Map<String, Value>> {
    let Job { fields, turns, assignments_only, partition_by, test_share, .. } = job;
    let Job { chunk_bytes, max_record_bytes, limit, .. } = job;
    let settings = json!({
        "polyalign_version": env!("CARGO_PKG_VERSION"),
        "schema": bucketer.schema(),
        "tokenizer_sha256": bucketer.counter().map(|c| c.sha256()),
        "count": if bucketer.counts_prompts() { "all" } else { "completion" },
        "fields": fields,
        "turns": turns,
        "assignments_only": assignments_only,
        "partition_by": partition_by,
        "test_share": test_share,
        "chunk_bytes": chunk_bytes,
        "max_record_bytes": max_record_bytes,
        "limit": limit,
    });
    match settings {
        Value::Object(map) => Ok(map),
        _ => Err(Error::Output("settings are no object".into())),
    }
}

/// The engine that counts, in words.
fn engine(bucketer: &Bucketer) -> Value {
    use crate::tokens::Engine;
    match bucketer.counter() {
        None => Value::Null,
        Some(counter) => json!({
            "sha256": counter.sha256(),
            "engine": match counter.engine() {
                Engine::Fast { pre_tokenizer } => format!("fast: {pre_tokenizer}"),
                Engine::Tokenizers { .. } => "tokenizers".to_owned(),
            },
        }),
    }
}

/// Sums of tokens, prompts and responses; `None` where they are not counted.
pub fn token_sums(stats: &Stats, bucketer: &Bucketer) -> (Option<u64>, Option<u64>) {
    let counted = bucketer.counter().is_some();
    let prompts = stats.buckets.values().map(|b| b.prompt_tokens).sum();
    let completions = stats.buckets.values().map(|b| b.completion_tokens).sum();
    ((counted && bucketer.counts_prompts()).then_some(prompts), counted.then_some(completions))
}

/// The buckets of a report: by descending rows, then id.
pub fn bucket_reports(stats: &Stats, bucketer: &Bucketer) -> Vec<BucketReport> {
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

/// The manifest's bytes.
///
/// # Errors
/// None in practice: all of it can be written as JSON.
pub fn write(
    settings: &Map<String, Value>,
    bucketer: &Bucketer,
    report: &Report,
    inputs: &Inputs,
    stats: &Stats,
    shards: &[Shard],
    rejects: (u64, String),
) -> Result<Vec<u8>> {
    let (prompt_tokens, completion_tokens) = token_sums(stats, bucketer);
    let counted = bucketer.counter().is_some();
    let axes: Vec<&str> = bucketer.schema().axes.iter().map(Axis::column).collect();
    let mut settings = settings.clone();
    // Said once, as they came out, at the top.
    for key in ["polyalign_version", "schema", "fields", "tokenizer_sha256"] {
        settings.remove(key);
    }
    let buckets = stats.buckets.iter().map(|(id, b)| Bucket {
        bucket: id,
        parts: axes.iter().copied().zip(b.parts.iter().map(String::as_str)).collect(),
        rows: b.rows,
        held_out: b.held_out,
        prompt_tokens: (counted && bucketer.counts_prompts()).then_some(b.prompt_tokens),
        completion_tokens: counted.then_some(b.completion_tokens),
        length: b.lengths.quantiles(),
    });
    let names = &inputs.files;
    let inputs = names.iter().enumerate().map(|(i, input)| {
        let counts = stats.files.get(&(i as u32)).copied().unwrap_or_default();
        InputCounts {
            file: &input.name,
            size: input.size(),
            bytes: counts.bytes,
            rows: counts.bucketed + counts.rejected,
            bucketed: counts.bucketed,
            rejected: counts.rejected,
        }
    });
    let (bytes, sha256) = rejects;
    let reading = stats.reading.report(|file| names[file as usize].name.clone());
    let manifest = Manifest {
        format: "polyalign buckets",
        format_version: FORMAT,
        polyalign_version: env!("CARGO_PKG_VERSION"),
        schema: bucketer.schema(),
        fields: &report.fields,
        settings: &settings,
        tokenizer: engine(bucketer),
        counts: Counts {
            records: stats.records(),
            rows: stats.bucketed() + stats.rejects(),
            bucketed: stats.bucketed(),
            rejected: stats.rejects(),
            rejected_by_kind: &stats.rejected,
            bytes: stats.bytes(),
            prompt_tokens,
            completion_tokens,
            held_out: report.held_out,
        },
        repeated: &report.repeated,
        reading,
        buckets: buckets.collect(),
        inputs: inputs.collect(),
        rejects: Rejects { file: "rejects.jsonl", rows: stats.rejects(), bytes, sha256 },
        shards,
    };
    let mut bytes =
        serde_json::to_vec_pretty(&manifest).map_err(|e| Error::Output(format!("manifest.json: {e}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}
