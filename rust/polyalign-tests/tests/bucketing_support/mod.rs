//! What the tests of the bucketing job share: corpora, and reading outputs back.
#![allow(dead_code)]

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt32Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use polyalign::Result;
use polyalign::buckets::{BucketSchema, Bucketer};
use polyalign::jobs::bucket::{Job, Progress, Report, run};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// A bucketer that needs no tokenizer.
pub fn bucketer() -> Bucketer {
    Bucketer::new(BucketSchema::default(), None, true).unwrap()
}

/// A job over one input.
pub fn job(input: &Path, output: &Path) -> Job {
    let inputs = vec![input.to_str().unwrap().to_owned()];
    Job { inputs, output: Some(output.to_path_buf()), threads: 2, ..Job::default() }
}

/// Runs a job to its end.
pub fn bucket(job: &Job) -> Result<Report> {
    run(job, &bucketer(), &Progress::default())
}

/// The `i`th record of a corpus, of very different lengths.
pub fn record(i: usize) -> String {
    let words = "the quick brown fox jumps over the lazy dog and runs away ".repeat(1 + i * 7919 % 97);
    let question = if i.is_multiple_of(3) {
        "你今天过得怎么样？我们去公园散步吧。"
    } else {
        "How was your day, my friend?"
    };
    format!(
        r#"{{"id": "r{i}", "messages": [{{"role": "user", "content": "{question} \n{i}"}}, {{"role": "assistant", "content": "{words}"}}], "language": "{}", "note": {{"n": {i}}}}}"#,
        if i.is_multiple_of(3) { "zh" } else { "en" }
    )
}

/// Records `range` as lines.
pub fn lines(range: std::ops::Range<usize>) -> String {
    range.map(|i| record(i) + "\n").collect()
}

/// Writes a file and returns its path.
pub fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

/// Bytes as one gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes as one Zstandard frame with a checksum.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// All files below a folder with their contents, by relative path.
pub fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// The batches of all shards, in order.
pub fn batches(output: &Path) -> Vec<RecordBatch> {
    let mut paths: Vec<_> = tree(&output.join("data")).into_keys().collect();
    paths.sort();
    let read = |path: String| {
        let file = File::open(output.join("data").join(path)).unwrap();
        ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().map(|b| b.unwrap())
    };
    paths.into_iter().flat_map(read).collect()
}

/// An output row without its texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub id: String,
    pub file: String,
    pub row: i64,
    pub bucket: String,
    pub length: u32,
}

/// All rows of an output, in order.
pub fn rows(output: &Path) -> Vec<Row> {
    let text = |batch: &RecordBatch, name: &str, i: usize| {
        batch.column_by_name(name).unwrap().as_string::<i32>().value(i).to_owned()
    };
    let of_batch = |batch: RecordBatch| {
        let row = |i| Row {
            id: text(&batch, "id", i),
            file: text(&batch, "file", i),
            row: batch.column_by_name("row").unwrap().as_primitive::<Int64Type>().value(i),
            bucket: text(&batch, "bucket", i),
            length: batch.column_by_name("length").unwrap().as_primitive::<UInt32Type>().value(i),
        };
        (0..batch.num_rows()).map(row).collect::<Vec<_>>()
    };
    batches(output).into_iter().flat_map(of_batch).collect()
}

/// Ids, buckets and lengths, sorted by id.
pub fn assignments(output: &Path) -> Vec<(String, String, u32)> {
    let mut all: Vec<_> = rows(output).into_iter().map(|r| (r.id, r.bucket, r.length)).collect();
    all.sort();
    all
}

/// The lines of the rejects file.
pub fn rejects(output: &Path) -> Vec<Value> {
    let text = fs::read_to_string(output.join("rejects.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Checks that nothing was lost, by the report, the shards and the rejects file.
pub fn assert_conserved(report: &Report, output: &Path) {
    assert_eq!(report.rows, report.bucketed + report.rejected);
    assert_eq!(report.bucketed as usize, rows(output).len());
    assert_eq!(report.rejected as usize, rejects(output).len());
    assert_eq!(report.rejected, report.rejected_by_kind.values().sum::<u64>());
    assert_eq!(report.bucketed, report.buckets.iter().map(|b| b.rows).sum::<u64>());
}

/// Runs a job and stops it once at least so many rows are through and a chunk is journalled. A job that
/// is quicker than that is run again, over what was there before.
pub fn interrupt_after(job: &Job, rows: u64) {
    let output = job.output.as_ref().unwrap();
    let before = if output.exists() { tree(output) } else { BTreeMap::new() };
    for _ in 0..500 {
        match try_to_interrupt(job, rows) {
            Err(polyalign::Error::Interrupted) => return wait_until_left(output),
            Err(e) => panic!("{e}"),
            Ok(_) => fs::remove_dir_all(output).unwrap(),
        }
        for (name, content) in &before {
            write(output, name, content);
        }
    }
    panic!("never interrupted");
}

/// Waits for the end of a job that is not waited for: on a busy machine it takes a while.
pub fn wait_until_left(output: &Path) {
    let lock = format!("{}.partial/lock", output.display());
    while fs::File::open(&lock).is_ok_and(|file| file.try_lock().is_err()) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn try_to_interrupt(job: &Job, rows: u64) -> Result<Report> {
    let progress = Progress::default();
    let journal = PathBuf::from(format!("{}.partial/journal.jsonl", job.output.as_ref().unwrap().display()));
    let chunks = || fs::read(&journal).map_or(0, |bytes| bytes.iter().filter(|&&b| b == b'\n').count());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run(job, &bucketer(), &progress));
        while !running.is_finished() && (progress.rows.load(Ordering::Relaxed) < rows || chunks() < 2) {
            std::thread::yield_now();
        }
        progress.cancel.store(true, Ordering::Relaxed);
        running.join().unwrap()
    })
}
