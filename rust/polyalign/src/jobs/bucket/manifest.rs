//! The manifest of a folder of buckets, filled in: the same for the same input and settings.

use super::reading::Reading;
use super::repeats::{HeldOutRows, Repeated};
use super::report::{Report, token_sums};
use super::stats::{Quantiles, Stats};
use crate::buckets::{Axis, Bucketer};
use crate::jobs::output::manifest::{BUCKETS, ListedFile, MANIFEST, Manifest, Tokenizer};
use crate::records::record::RejectKind;
use crate::stream::input::Inputs;
use crate::tokens::{Engine, TokenCounter};
use crate::{Error, Result};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The layout of outputs; raised when it changes.
const FORMAT: u32 = 1;

/// What a manifest tells of the rows.
#[derive(Serialize)]
struct Told<'a> {
    counts: Counts<'a>,
    repeated: &'a Repeated,
    reading: Reading,
    buckets: Vec<Bucket<'a>>,
    inputs: Vec<InputCounts<'a>>,
}

#[derive(Serialize)]
struct Counts<'a> {
    records: u64,
    rows: u64,
    bucketed: u64,
    rejected: u64,
    rejected_by_kind: &'a BTreeMap<RejectKind, u64>,
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

/// The tokenizer, and what counts with it.
fn tokenizer(counter: &TokenCounter) -> Tokenizer {
    let engine = match counter.engine() {
        Engine::Fast { pre_tokenizer } => format!("fast: {pre_tokenizer}"),
        Engine::Tokenizers { .. } => "tokenizers".to_owned(),
    };
    Tokenizer { sha256: counter.sha256().to_owned(), engine }
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
    shards: &[ListedFile],
    rejects: ListedFile,
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
    let reading = stats.reading.report(|file| names[file as usize].name.clone());
    let told = Told {
        counts: Counts {
            records: stats.records(),
            rows: stats.bucketed() + stats.rejected(),
            bucketed: stats.bucketed(),
            rejected: stats.rejected(),
            rejected_by_kind: &stats.rejects.by_kind,
            bytes: stats.bytes(),
            prompt_tokens,
            completion_tokens,
            held_out: report.held_out,
        },
        repeated: &report.repeated,
        reading,
        buckets: buckets.collect(),
        inputs: inputs.collect(),
    };
    let manifest = Manifest {
        format: BUCKETS.to_owned(),
        format_version: FORMAT,
        polyalign_version: env!("CARGO_PKG_VERSION").to_owned(),
        schema: json!(bucketer.schema()),
        fields: json!(report.fields),
        settings,
        tokenizer: bucketer.counter().map(tokenizer),
        told,
        rejects: Some(rejects),
        shards: shards.to_vec(),
    };
    let mut bytes =
        serde_json::to_vec_pretty(&manifest).map_err(|e| Error::Output(format!("{MANIFEST}: {e}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}
