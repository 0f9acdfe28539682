//! Inputs that can be read once, and inputs that change while they are read.
#![cfg(unix)]

mod bucketing_support;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use bucketing_support::*;
use parquet::arrow::ArrowWriter;
use polyalign::Error;
use polyalign::buckets::{BucketSchema, Bucketer, LengthEdges};
use polyalign::jobs::bucket::{Job, Progress, Report, run};
use polyalign::stream::batches::{TableBlocks, table_schema};
use polyalign::stream::block::{Limits, Position};
use polyalign::stream::input::{Inputs, discover};
use polyalign::stream::split::TextBlocks;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tempfile::tempdir;

fn table(range: std::ops::Range<usize>) -> RecordBatch {
    let column = |what: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(
            range.clone().map(|i| format!("{what} number {i} is of some words")),
        ))
    };
    RecordBatch::try_from_iter([("prompt", column("question")), ("completion", column("answer"))]).unwrap()
}

fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn arrow_file(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn arrow_stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

/// Makes a named pipe and writes into it from a thread.
fn pipe(path: &Path, content: Vec<u8>) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let path = path.to_path_buf();
    std::thread::spawn(move || {
        let mut file = File::options().write(true).open(path).unwrap();
        // The reader may have had enough.
        let _ = file.write_all(&content);
    });
}

fn auto() -> Bucketer {
    let schema = BucketSchema { length_edges: LengthEdges::Auto, ..BucketSchema::default() };
    Bucketer::new(schema, None, true).unwrap()
}

fn assigned(report: &Report) -> (u64, u64, Vec<(String, u64)>) {
    (report.rows, report.bucketed, report.buckets.iter().map(|b| (b.bucket.clone(), b.rows)).collect())
}

#[test]
fn a_pipe_by_name_gives_all_of_its_records() {
    let folder = tempdir().unwrap();
    let lines = lines(0..800).into_bytes();
    let array = format!("[{}]", (0..800).map(record).collect::<Vec<_>>().join(",\n")).into_bytes();
    let rows = table(0..800);
    let forms = [
        ("lines", lines.clone()),
        ("gz", gzip(&lines)),
        ("zst", zstd(&lines)),
        ("array", array.clone()),
        ("array.zst", zstd(&array)),
        ("parquet", parquet(&rows)),
        ("arrow", arrow_file(&rows)),
        ("arrows", arrow_stream(std::slice::from_ref(&rows))),
    ];
    for (name, content) in forms {
        for (what, bucketer) in [("plain", bucketer()), ("auto", auto())] {
            let file = write(folder.path(), &format!("file/{name}"), &content);
            let fifo = folder.path().join(format!("{name}-{what}"));
            pipe(&fifo, content.clone());
            let go = |input: &Path| {
                let job = Job { chunk_bytes: 100_000, ..job(input, &folder.path().join("out")) };
                let report = run(&job, &bucketer, &Progress::default()).unwrap();
                assert_conserved(&report, &folder.path().join("out"));
                fs::remove_dir_all(folder.path().join("out")).unwrap();
                report
            };
            let (plain, piped) = (go(&file), go(&fifo));
            assert_eq!((plain.rows, plain.bucketed), (800, 800), "{name}");
            assert_eq!(assigned(&plain), assigned(&piped), "{name}, {what}");
            assert_eq!(plain.schema, piped.schema, "{name}, {what}");
        }
    }
}

#[test]
fn a_dry_run_of_a_pipe_and_pipes_beside_files() {
    let folder = tempdir().unwrap();
    let fifo = folder.path().join("pipe");
    pipe(&fifo, lines(0..300).into_bytes());
    let file = write(folder.path(), "a.jsonl", lines(300..400));
    let inputs = [&fifo, &file, &fifo].map(|path| path.to_str().unwrap().to_owned()).to_vec();
    let report = bucket(&Job { inputs, threads: 2, ..Job::default() }).unwrap();
    assert_eq!((report.rows, report.bucketed, report.files), (400, 400, 2));
    let devices = vec!["/dev/null".to_owned(), file.to_str().unwrap().to_owned()];
    assert_eq!(bucket(&Job { inputs: devices, ..Job::default() }).unwrap().rows, 100);
}

#[test]
fn pipes_in_folders_are_passed_over() {
    let folder = tempdir().unwrap();
    write(folder.path(), "a.jsonl", lines(0..10));
    assert!(Command::new("mkfifo").arg(folder.path().join("b.jsonl")).status().unwrap().success());
    for pattern in ["", "/*.jsonl", "/**/*.jsonl"] {
        let inputs = discover(&[format!("{}{pattern}", folder.path().display())], &[]).unwrap();
        assert_eq!(
            inputs.files.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(),
            ["a.jsonl"],
            "{pattern}"
        );
        let skipped: Vec<_> = inputs.skipped.iter().map(|s| (s.file.as_str(), s.reason.as_str())).collect();
        assert_eq!(
            skipped,
            [("b.jsonl", "a pipe or a device, which is read only where it is named")],
            "{pattern}"
        );
    }
}

#[test]
fn links_neither_hang_nor_give_a_file_twice() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    write(root, "a.jsonl", lines(0..1));
    write(root, "deep/b.jsonl", lines(1..2));
    let aside = tempdir().unwrap();
    let far = write(aside.path(), "blob", lines(2..3));
    for (target, link) in [(root, "self"), (root, "me"), (root, "deep/up"), (&root.join("deep"), "other")] {
        symlink(target, root.join(link)).unwrap();
    }
    symlink(root.join("a.jsonl"), root.join("z.jsonl")).unwrap();
    // As the hub's cache has it: two names of one content, kept elsewhere.
    symlink(&far, root.join("c.jsonl")).unwrap();
    symlink(&far, root.join("d.jsonl")).unwrap();
    for pattern in ["", "/**/*.jsonl", "/**"] {
        let inputs = discover(&[format!("{}{pattern}", root.display())], &[]).unwrap();
        let names: Vec<_> = inputs.files.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["a.jsonl", "c.jsonl", "d.jsonl", "deep/b.jsonl"], "{pattern}");
        let link = inputs.skipped.iter().find(|s| s.file == "z.jsonl").unwrap();
        assert_eq!(link.reason, "a link to a file that is read under its own name");
    }
    let linked = discover(&[format!("{}/**/other/*.jsonl", root.display())], &[]).unwrap();
    assert_eq!(linked.files.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["deep/b.jsonl"]);
}

const LIMITS: Limits =
    Limits { block_bytes: 10_000, chunk_bytes: u64::MAX, max_record_bytes: 1 << 20, rows: u64::MAX };

/// Reads a text file on after its first block.
fn text_error(path: &Path, change: impl FnOnce(&Path)) -> Option<String> {
    let inputs = Arc::new(discover(&[path.to_str().unwrap().to_owned()], &[]).unwrap());
    let mut blocks = TextBlocks::new(inputs, LIMITS, Position::default(), Arc::default(), Arc::default());
    blocks.next_block(Vec::new()).unwrap().unwrap();
    change(path);
    loop {
        match blocks.next_block(Vec::new()) {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(e) => return Some(e.to_string()),
        }
    }
}

/// Reads a table on after its first block.
fn table_error(path: &Path, change: impl FnOnce(&Path)) -> Option<String> {
    let inputs: Arc<Inputs> = Arc::new(discover(&[path.to_str().unwrap().to_owned()], &[]).unwrap());
    let schema = table_schema(&inputs).unwrap().schema;
    let mut blocks =
        TableBlocks::new(inputs, schema, LIMITS, Position::default(), Arc::default(), Arc::default());
    blocks.next_block().unwrap().unwrap();
    change(path);
    loop {
        match blocks.next_block() {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(e) => return Some(e.to_string()),
        }
    }
}

fn truncate(path: &Path) {
    File::options().write(true).open(path).unwrap().set_len(20_000).unwrap();
}

fn grow(path: &Path) {
    File::options().append(true).open(path).unwrap().write_all(b"{}\n").unwrap();
}

fn overwrite(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes.rotate_left(5);
    // The clock of a file system ticks every few milliseconds.
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::write(path, bytes).unwrap();
}

/// What it is called, does, and is told as.
type Change = (&'static str, fn(&Path), &'static str);

#[test]
fn a_file_that_changes_while_it_is_read_ends_the_job() {
    let folder = tempdir().unwrap();
    let parts: Vec<RecordBatch> = (0..20).map(|i| table(i * 200..(i + 1) * 200)).collect();
    let changes: [Change; 3] = [
        ("cut", truncate, "to 20000 bytes while the job ran"),
        ("grown", grow, "bytes while the job ran"),
        ("written", overwrite, "the file was written to while the job ran"),
    ];
    for (how, change, told) in changes {
        for (name, content) in [
            ("a.jsonl", lines(0..800)),
            ("b.json", format!("[{}]", (0..800).map(record).collect::<Vec<_>>().join(","))),
        ] {
            let error = text_error(&write(folder.path(), name, content), change).expect(how);
            assert!(
                error.starts_with(&format!("{name}: the file ")) && error.contains(told),
                "{how}: {error}"
            );
        }
        for (name, content) in [("c.parquet", parquet(&table(0..4000))), ("d.arrows", arrow_stream(&parts))] {
            let error = table_error(&write(folder.path(), name, content), change).expect(how);
            assert!(
                error.starts_with(&format!("{name}: the file ")) && error.contains(told),
                "{how}: {error}"
            );
        }
    }
    let path = write(folder.path(), "a.jsonl", lines(0..800));
    assert_eq!(text_error(&path, |_| ()), None);
    // What was opened is still whole where another file takes its name.
    let replace = |path: &Path| fs::rename(write(folder.path(), "new", "{}"), path).unwrap();
    assert_eq!(text_error(&path, replace), None);
}

#[test]
fn a_file_that_changed_before_it_was_opened_ends_the_job() {
    let folder = tempdir().unwrap();
    let path = write(folder.path(), "a.jsonl", lines(0..10));
    let inputs = Arc::new(discover(&[path.to_str().unwrap().to_owned()], &[]).unwrap());
    fs::rename(write(folder.path(), "new", lines(0..5)), &path).unwrap();
    let mut blocks = TextBlocks::new(inputs, LIMITS, Position::default(), Arc::default(), Arc::default());
    let error = blocks.next_block(Vec::new()).unwrap_err();
    assert!(
        matches!(&error, Error::Input(message) if message.starts_with("a.jsonl: the file went from")),
        "{error}"
    );
}
