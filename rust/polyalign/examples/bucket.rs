//! Buckets files from Rust: `bucket JOB.json [TOKENIZER.json]`, where the job is a
//! [`polyalign::jobs::bucket::Job`] in JSON. Prints the report and how long it took.

mod common;

use common::say;
use polyalign::buckets::{BucketSchema, Bucketer};
use polyalign::jobs::bucket::{Job, Progress, run};
use polyalign::tokens::TokenCounter;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let job = args.next().ok_or("usage: bucket JOB.json [TOKENIZER.json]")?;
    let job: Job = serde_json::from_str(&std::fs::read_to_string(job)?)?;
    let counter = args.next().map(|path| TokenCounter::from_file(Path::new(&path))).transpose()?;
    let bucketer = Bucketer::new(BucketSchema::default(), counter, true)?;
    let start = Instant::now();
    let report = run(&job, &bucketer, &Progress::default())?;
    let seconds = start.elapsed().as_secs_f64();
    say!("{}", serde_json::to_string_pretty(&report)?);
    let tokens = report.prompt_tokens.unwrap_or(0) + report.completion_tokens.unwrap_or(0);
    let megabytes = report.bytes as f64 / 1e6;
    eprintln!(
        "{seconds:.2} s, {:.0} MB/s, {:.1} M tokens/s",
        megabytes / seconds,
        tokens as f64 / 1e6 / seconds
    );
    Ok(())
}
