//! Outputs appear whole and together, take the place of nothing else, and a resume takes over nothing that is damaged.

mod bucketing_support;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use bucketing_support::*;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use polyalign::Error;
use polyalign::buckets::{BucketSchema, Bucketer};
use polyalign::jobs::bucket::{Job, Progress, Report, run};
use polyalign::jobs::output::publish::{Claim, Kind, publish};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::{TempDir, tempdir};

const REFERENCE: &str = "human.safetensors";

/// A job in several chunks, some rows of which are rejected, with a reference.
fn corpus_job(folder: &Path) -> Job {
    let text: String =
        (0..400).map(|i| if i % 37 == 5 { format!("broken {i}\n") } else { record(i) + "\n" }).collect();
    let mut job = job(&write(folder, "in.jsonl", text), &folder.join("out"));
    job.chunk_bytes = 100_000;
    job.reference =
        Some(polyalign::jobs::bucket::ReferenceOutput { path: folder.join(REFERENCE), ..Default::default() });
    job
}

fn output(folder: &Path) -> PathBuf {
    folder.join("out")
}

fn partial(folder: &Path) -> PathBuf {
    folder.join("out.partial")
}

/// What a job makes.
#[derive(PartialEq)]
struct Made {
    files: BTreeMap<String, Vec<u8>>,
    reference: Option<Vec<u8>>,
}

fn made(folder: &Path) -> Made {
    Made { files: tree(&output(folder)), reference: fs::read(folder.join(REFERENCE)).ok() }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Runs a job at whose place something appears meanwhile, and returns what it says.
fn run_while_appears(job: &Job, appear: impl Fn()) -> String {
    let out = job.output.clone().unwrap();
    let folder = out.parent().unwrap();
    for _ in 0..100 {
        let result = std::thread::scope(|scope| {
            let running = scope.spawn(|| bucket(job));
            while !partial(folder).join("journal.jsonl").exists() && !running.is_finished() {
                std::thread::yield_now();
            }
            appear();
            running.join().unwrap()
        });
        match result {
            Err(Error::Exists(message)) if message.contains("appeared") => return message,
            Err(error) => panic!("{error}"),
            // It was over before.
            Ok(_) => {
                fs::remove_dir_all(&out).unwrap();
                fs::remove_file(folder.join(REFERENCE)).ok();
            }
        }
    }
    panic!("the job was always over before");
}

/// Leaves a job as a kill right before its outputs get their names would, all of its chunks finished.
fn finish_but_for_names(job: &Job) {
    let out = job.output.clone().unwrap();
    run_while_appears(job, || drop(fs::write(&out, "in the way")));
    fs::remove_file(out).unwrap();
}

#[test]
fn what_appears_meanwhile_stays() {
    let dir = tempdir().unwrap();
    let mut job = corpus_job(dir.path());
    bucket(&job).unwrap();
    let whole = made(dir.path());
    fs::remove_dir_all(output(dir.path())).unwrap();
    fs::remove_file(dir.path().join(REFERENCE)).unwrap();

    let message = run_while_appears(&job, || drop(write(&output(dir.path()), "thesis.txt", "the only copy")));
    assert!(message.contains("out.partial") && message.contains("--overwrite") && !message.contains('\n'));
    assert_eq!(tree(&output(dir.path())), BTreeMap::from([("thesis.txt".into(), b"the only copy".to_vec())]));
    assert!(!dir.path().join(REFERENCE).exists());

    // The work that is kept is finished under another name, where it comes to the same bytes.
    fs::rename(partial(dir.path()), dir.path().join("other.partial")).unwrap();
    job.output = Some(dir.path().join("other"));
    let report = bucket(&job).unwrap();
    assert!(report.resumed_from.is_some_and(|chunks| chunks > 3));
    assert!(tree(&dir.path().join("other")) == whole.files);
    assert!(fs::read(dir.path().join(REFERENCE)).ok() == whole.reference);
    assert_eq!(names(dir.path()), [REFERENCE, "in.jsonl", "other", "out"]);
}

#[test]
fn an_output_that_appears_is_replaced_only_when_that_is_asked_for() {
    let dir = tempdir().unwrap();
    let job = corpus_job(dir.path());
    let mut small = job.clone();
    (small.limit, small.reference, small.output) = (Some(3), None, Some(dir.path().join("small")));
    bucket(&small).unwrap();
    let small = tree(&dir.path().join("small"));
    let put = || small.iter().for_each(|(name, bytes)| drop(write(&output(dir.path()), name, bytes)));
    run_while_appears(&job, put);
    assert!(tree(&output(dir.path())) == small);
    assert!(bucket(&job).unwrap_err().to_string().contains("exists already"));
    let report = bucket(&Job { overwrite: true, ..job }).unwrap();
    assert!(report.resumed_from.is_some());
    assert_eq!(rows(&output(dir.path())).len() as u64, report.bucketed);
    assert_eq!(names(dir.path()), [REFERENCE, "in.jsonl", "out", "small"]);
}

#[test]
fn a_reference_that_appears_stays() {
    let dir = tempdir().unwrap();
    let job = corpus_job(dir.path());
    run_while_appears(&job, || fs::write(dir.path().join(REFERENCE), "mine").unwrap());
    assert_eq!(fs::read_to_string(dir.path().join(REFERENCE)).unwrap(), "mine");
    assert_eq!(names(dir.path()), [REFERENCE, "in.jsonl", "out.partial"]);
    bucket(&Job { overwrite: true, ..job }).unwrap();
    assert_eq!(names(dir.path()), [REFERENCE, "in.jsonl", "out"]);
}

#[test]
fn an_empty_folder_is_a_place_for_an_output() {
    let dir = tempdir().unwrap();
    let job = corpus_job(dir.path());
    fs::create_dir(output(dir.path())).unwrap();
    bucket(&job).unwrap();
    assert_eq!(names(dir.path()), [REFERENCE, "in.jsonl", "out"]);
}

#[test]
fn only_what_was_made_is_replaced() {
    let dir = tempdir().unwrap();
    let job = Job { overwrite: true, ..corpus_job(dir.path()) };
    bucket(&job).unwrap();
    let refused = |what: &str| {
        let before = tree(dir.path());
        let error = bucket(&job).unwrap_err();
        assert!(matches!(error, Error::Exists(_)) && error.to_string().contains(what), "{error}");
        assert!(tree(dir.path()) == before);
    };
    write(&output(dir.path()), "data/notes.txt", "mine");
    refused("data/notes.txt");
    fs::remove_file(output(dir.path()).join("data/notes.txt")).unwrap();
    write(&output(dir.path()), ".DS_Store", "a file browser's");
    bucket(&job).unwrap();
    // Nor is a folder worked in that holds other things.
    write(&partial(dir.path()), "mine.txt", "mine");
    refused("mine.txt");
    fs::rename(partial(dir.path()).join("mine.txt"), partial(dir.path()).join("out")).unwrap();
    refused("did not make out");
    fs::remove_dir_all(partial(dir.path())).unwrap();
    fs::write(partial(dir.path()), "mine").unwrap();
    refused("in the way");
    fs::remove_file(partial(dir.path())).unwrap();
    // The reference has a place of its own.
    let mut inside = job.clone();
    inside.reference.as_mut().unwrap().path = output(dir.path()).join(REFERENCE);
    let error = bucket(&inside).unwrap_err().to_string();
    assert!(error.contains("name a place outside"), "{error}");
    bucket(&job).unwrap();
}

#[cfg(unix)]
#[test]
fn a_link_leads_to_where_the_output_is_made() {
    let dir = tempdir().unwrap();
    let mut job = corpus_job(dir.path());
    fs::create_dir_all(dir.path().join("disk/out")).unwrap();
    std::os::unix::fs::symlink("disk/out", output(dir.path())).unwrap();
    bucket(&job).unwrap();
    job.overwrite = true;
    bucket(&job).unwrap();
    assert!(output(dir.path()).is_symlink());
    assert_eq!(names(&dir.path().join("disk")), ["out"]);
    assert_eq!(names(&dir.path().join("disk/out")), ["data", "manifest.json", "rejects.jsonl"]);
}

#[test]
fn two_jobs_do_not_make_one_output() {
    for schema in [r#"{"length_edges": "auto"}"#, "{}"] {
        for limit in [None, Some(2000)] {
            let dir = tempdir().unwrap();
            let input = write(dir.path(), "in.jsonl", lines(0..3000));
            let job = Job { limit, ..job(&input, &output(dir.path())) };
            let schema: BucketSchema = serde_json::from_str(schema).unwrap();
            let bucketer = Bucketer::new(schema, None, true).unwrap();
            let both: Vec<_> = std::thread::scope(|scope| {
                let start = || scope.spawn(|| run(&job, &bucketer, &Progress::default()));
                let (one, other) = (start(), start());
                [one, other].map(|running| running.join().unwrap()).into()
            });
            let (done, refused): (Vec<_>, Vec<_>) = both.into_iter().partition(Result::is_ok);
            assert_eq!(done.len(), 1, "{limit:?}");
            let refused = refused.into_iter().map(Result::unwrap_err).next().unwrap().to_string();
            assert!(refused.contains("another process is writing this output"), "{refused}");
            assert_eq!(names(dir.path()), ["in.jsonl", "out"]);
        }
    }
}

#[test]
fn a_claim_is_one_jobs_and_leaves_nothing() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.txt");
    let claim = Claim::take(&path, Kind::File, false).unwrap();
    assert!(Claim::take(&path, Kind::File, false).unwrap_err().to_string().contains("another process"));
    drop(claim);
    assert!(names(dir.path()).is_empty());
    // Many at once: each is alone, and none finds what another has left half removed.
    let (count, alone) = (std::sync::atomic::AtomicU32::new(0), std::sync::Mutex::new(()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..300 {
                    match Claim::take(&path, Kind::File, true) {
                        Ok(claim) => {
                            let alone = alone.try_lock().expect("one at a time");
                            fs::write(claim.work(), "x").unwrap();
                            publish(&[&claim]).unwrap_or_else(|e| panic!("{e}"));
                            // Before the claim, which another thread may have from then on.
                            drop(alone);
                            drop(claim);
                            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                        Err(error) => assert!(error.to_string().contains("another process"), "{error}"),
                    }
                }
            });
        }
    });
    assert!(count.into_inner() > 0);
    assert_eq!(names(dir.path()), ["a.txt"]);
}

/// It waits for a pipe that nobody writes to, so it can't end: but nor does it hold what it has not begun.
#[cfg(target_os = "linux")]
#[test]
fn an_interrupted_job_that_waits_for_input_holds_nothing() {
    let dir = tempdir().unwrap();
    let pipe = dir.path().join("pipe.jsonl");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let waiting = job(&pipe, &output(dir.path()));
    let progress = Progress::default();
    let result = std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&waiting, &bucketer(), &progress));
        while !partial(dir.path()).join("lock").exists() {
            std::thread::yield_now();
        }
        progress.cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        running.join().unwrap()
    });
    assert!(matches!(result, Err(Error::Interrupted)));
    let job = corpus_job(dir.path());
    bucket(&job).unwrap();
    let whole = made(dir.path());
    // It goes on when the pipe is closed, and still leaves alone what is not its own.
    drop(File::options().write(true).open(&pipe).unwrap());
    std::thread::sleep(Duration::from_millis(300));
    assert!(made(dir.path()) == whole);
    assert_eq!(names(dir.path()), [REFERENCE, "in.jsonl", "out", "pipe.jsonl"]);
}

#[test]
fn a_kill_within_the_publication_is_made_good() {
    let dir = tempdir().unwrap();
    let job = corpus_job(dir.path());
    bucket(&job).unwrap();
    let whole = made(dir.path());
    let clear = || {
        fs::remove_dir_all(output(dir.path())).unwrap();
        fs::remove_file(dir.path().join(REFERENCE)).unwrap();
    };
    clear();
    let reference = || fs::write(dir.path().join(REFERENCE), whole.reference.as_ref().unwrap()).unwrap();
    // Before any name, and after the first.
    for first_is_named in [false, true] {
        finish_but_for_names(&job);
        if first_is_named {
            reference();
        }
        bucket(&job).unwrap();
        assert!(made(dir.path()) == whole, "{first_is_named}");
        assert_eq!(names(dir.path()), [REFERENCE, "in.jsonl", "out"]);
        clear();
    }
    // After both: it is complete.
    finish_but_for_names(&job);
    reference();
    fs::rename(partial(dir.path()).join("out"), output(dir.path())).unwrap();
    assert!(bucket(&job).unwrap_err().to_string().contains("exists already"));
    assert!(made(dir.path()) == whole);
    assert_eq!(names(dir.path()), [REFERENCE, "in.jsonl", "out"]);
    // A reference that is not that of the killed run is in the way.
    clear();
    finish_but_for_names(&job);
    fs::write(dir.path().join(REFERENCE), "mine").unwrap();
    assert!(bucket(&job).unwrap_err().to_string().contains("exists already"));
    assert_eq!(fs::read_to_string(dir.path().join(REFERENCE)).unwrap(), "mine");
}

#[test]
fn a_kill_while_an_output_is_replaced_is_made_good() {
    let dir = tempdir().unwrap();
    let job = Job { reference: None, overwrite: true, ..corpus_job(dir.path()) };
    bucket(&job).unwrap();
    let whole = tree(&output(dir.path()));
    // The two names were exchanged: what is worked on is what was there before.
    let mut small = job.clone();
    (small.limit, small.output) = (Some(3), Some(dir.path().join("small")));
    bucket(&small).unwrap();
    fs::remove_dir_all(output(dir.path())).unwrap();
    finish_but_for_names(&Job { overwrite: false, ..job.clone() });
    fs::rename(partial(dir.path()).join("out"), output(dir.path())).unwrap();
    fs::rename(dir.path().join("small"), partial(dir.path()).join("out")).unwrap();
    assert!(bucket(&Job { overwrite: false, ..job.clone() }).is_err());
    assert!(tree(&output(dir.path())) == whole);
    assert_eq!(names(dir.path()), ["in.jsonl", "out"]);
    // Part of what was there before is left, under either name.
    for name in ["replaced", "old"] {
        write(&partial(dir.path()), &format!("{name}/data/train-00000.parquet"), "half of it");
        write(&partial(dir.path()), "lock", "");
        let report = bucket(&job).unwrap();
        assert_eq!(report.resumed_from, None);
        assert!(tree(&output(dir.path())) == whole);
        assert_eq!(names(dir.path()), ["in.jsonl", "out"]);
    }
    // Killed while nothing was there.
    fs::create_dir(partial(dir.path())).unwrap();
    write(&partial(dir.path()), "lock", "");
    fs::rename(output(dir.path()), partial(dir.path()).join("replaced")).unwrap();
    assert!(bucket(&Job { overwrite: false, ..job }).unwrap_err().to_string().contains("exists already"));
    assert!(tree(&output(dir.path())) == whole);
    assert_eq!(names(dir.path()), ["in.jsonl", "out"]);
}

/// The job of the environment: what the test below starts and kills.
#[test]
#[ignore = "run by killed_runs_end_with_both_outputs"]
fn child() {
    if let Ok(job) = std::env::var("POLYALIGN_TEST_JOB") {
        bucket(&serde_json::from_str(&job).unwrap()).unwrap();
    }
}

#[test]
fn killed_runs_end_with_both_outputs() {
    let dir = tempdir().unwrap();
    let job = corpus_job(dir.path());
    bucket(&job).unwrap();
    let whole = made(dir.path());
    let rounds = if std::env::var_os("POLYALIGN_LONG_TESTS").is_some() { 200 } else { 12 };
    let mut killed = 0;
    for round in 0..rounds {
        // Over an output that is there, and where none is.
        let job = Job { overwrite: round % 2 == 1, ..job.clone() };
        if !job.overwrite {
            fs::remove_dir_all(output(dir.path())).unwrap();
            fs::remove_file(dir.path().join(REFERENCE)).unwrap();
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--quiet"])
            .env("POLYALIGN_TEST_JOB", serde_json::to_string(&job).unwrap())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Right within the publication, or somewhere before it.
        let awaited = ["publication.json", "out/manifest.json", "journal.jsonl"][round % 3];
        while !partial(dir.path()).join(awaited).exists() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(((round * 7919) % 1000) as u64));
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        match bucket(&job) {
            Ok(_) => {}
            Err(Error::Exists(_)) if !job.overwrite => {}
            Err(error) => panic!("round {round}: {error}"),
        }
        assert!(made(dir.path()) == whole, "round {round}");
        assert_eq!(names(dir.path()), [REFERENCE, "in.jsonl", "out"], "round {round}");
    }
    assert!(killed > rounds as u32 / 3, "killed {killed} of {rounds}");
}

/// A job all of whose chunks are finished, and what it comes to.
struct Finished {
    dir: TempDir,
    job: Job,
    left: BTreeMap<String, Vec<u8>>,
    whole: Made,
}

impl Finished {
    fn new() -> Self {
        let dir = tempdir().unwrap();
        let job = corpus_job(dir.path());
        bucket(&job).unwrap();
        let whole = made(dir.path());
        fs::remove_dir_all(output(dir.path())).unwrap();
        fs::remove_file(dir.path().join(REFERENCE)).unwrap();
        finish_but_for_names(&job);
        let left = tree(&partial(dir.path()));
        Self { dir, job, left, whole }
    }

    /// Runs the job from what is left, after a change to it.
    fn run_after(&self, change: impl FnOnce(&Path)) -> Report {
        let partial = partial(self.dir.path());
        fs::remove_dir_all(output(self.dir.path())).ok();
        fs::remove_file(self.dir.path().join(REFERENCE)).ok();
        fs::remove_dir_all(&partial).ok();
        for (name, bytes) in &self.left {
            write(&partial, name, bytes);
        }
        change(&partial);
        let report = bucket(&self.job).unwrap();
        assert!(made(self.dir.path()) == self.whole);
        report
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[test]
fn nothing_damaged_is_taken_over() {
    let finished = Finished::new();
    let whole = finished.run_after(|_| {});
    let chunks = whole.resumed_from.unwrap();
    assert!(chunks > 5 && whole.warnings.is_empty(), "{:?}", whole.warnings);
    let shards: Vec<_> = finished.left.keys().filter(|name| name.ends_with(".parquet")).cloned().collect();
    assert_eq!(shards.len() as u64, chunks);
    for (number, shard) in shards.iter().enumerate() {
        for change in 0..3 {
            let report = finished.run_after(|partial| match change {
                0 => flip(&partial.join(shard), 7919 * (number + 1)),
                1 => fs::remove_file(partial.join(shard)).unwrap(),
                _ => File::options().write(true).open(partial.join(shard)).unwrap().set_len(100).unwrap(),
            });
            assert_eq!(report.resumed_from.unwrap_or(0), number as u64);
            let (name, said) = (shard.strip_prefix("out/").unwrap(), report.warnings.join("\n"));
            assert!(said.contains(name), "{said}");
        }
    }
    let rejects = finished.left["out/rejects.jsonl"].len();
    for at in [0, rejects / 2, rejects - 1] {
        let report = finished.run_after(|partial| flip(&partial.join("out/rejects.jsonl"), at));
        assert!(report.resumed_from.unwrap_or(0) < chunks);
        assert!(report.warnings[0].contains("rejects.jsonl"), "{:?}", report.warnings);
    }
    let notes = finished.left["rows.bin"].len();
    for at in [0, notes / 2, notes - 1] {
        let report = finished.run_after(|partial| flip(&partial.join("rows.bin"), at));
        assert!(report.resumed_from.unwrap_or(0) < chunks);
        assert!(report.warnings[0].contains("notes of rows"), "{:?}", report.warnings);
    }
}

#[test]
fn a_damaged_journal_is_noticed() {
    let finished = Finished::new();
    let lines: Vec<Vec<u8>> =
        finished.left["journal.jsonl"].split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
    let run = |lines: Vec<Vec<u8>>| {
        finished.run_after(|partial| fs::write(partial.join("journal.jsonl"), lines.concat()).unwrap())
    };
    let chunks = lines.len() as u64 - 1;
    assert_eq!(run(lines.clone()).resumed_from, Some(chunks));
    for at in 0..lines.len() {
        let kept = (at > 1).then_some(at as u64 - 1);
        let mut flipped = lines.clone();
        let middle = flipped[at].len() / 2;
        flipped[at][middle] ^= 1;
        let mut dropped = lines.clone();
        dropped.remove(at);
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at].clone());
        let mut swapped = lines.clone();
        swapped.swap(at, (at + 1) % lines.len());
        for (name, changed, kept) in [
            ("flipped", flipped, kept),
            ("dropped", dropped, kept),
            ("doubled", doubled, (at > 0).then_some(at as u64)),
            ("swapped", swapped, if at + 1 < lines.len() { kept } else { None }),
        ] {
            let report = run(changed);
            assert_eq!(report.resumed_from, kept, "{name} {at}");
            let is_shorter = name == "dropped" && at as u64 == chunks;
            assert_eq!(report.warnings.len(), usize::from(!is_shorter), "{name} {at}: {:?}", report.warnings);
        }
        // A line that was not written to its end is what every kill may leave.
        let mut cut = lines[..=at].to_vec();
        cut[at].truncate(middle);
        let report = run(cut);
        assert_eq!((report.resumed_from, report.warnings.len()), (kept, 0));
    }
}

#[test]
fn the_journal_does_not_grow_with_the_lengths() {
    let finished = Finished::new();
    let line = |records: &str| {
        let dir = tempdir().unwrap();
        let mut job = job(&write(dir.path(), "in.jsonl", records), &output(dir.path()));
        job.limit = Some(300);
        finish_but_for_names(&job);
        tree(&partial(dir.path()))["journal.jsonl"].split(|&b| b == b'\n').nth(1).unwrap().len()
    };
    assert!(!finished.left.is_empty());
    let of_lengths = |lengths: usize| -> String {
        let row = |i: usize| {
            format!("{{\"prompt\": \"a\", \"completion\": \"{}\"}}\n", "word ".repeat(1 + i % lengths))
        };
        (0..300).map(row).collect()
    };
    let (few, many) = (line(&of_lengths(2)), line(&of_lengths(300)));
    assert!(many < few + 20, "{few} {many}");
}

/// Files with every kind of reject, the unreadable rests of files among them.
fn rejects_corpus(folder: &Path, seed: usize) {
    let good = |range: std::ops::Range<usize>| lines(range.start + seed..range.end + seed);
    let long = format!("{{\"x\": \"{}\"}}\n", "a".repeat(40_000));
    let language = record(seed).replace("\"en\"", "\"no-such\"").replace("\"zh\"", "\"no-such\"");
    let bad = format!("broken\n[1, 2]\n{{\"no\": \"shape\"}}\n{language}\n");
    write(
        folder,
        "a.jsonl",
        [good(0..20).as_bytes(), bad.as_bytes(), b"{\"\xff\": 1}\n", good(20..40).as_bytes()].concat(),
    );
    let gz = gzip(good(40..80).as_bytes());
    write(folder, "b.jsonl.gz", &gz[..gz.len() - 40]);
    write(folder, "c.json", format!("[{}, {}, 7", record(80), record(81)));
    write(folder, "d.jsonl", good(82..100) + &long + &good(100..110));
    write(folder, "e.json", format!("[{} {}]", record(110), record(111)));
    let zst = zstd(good(112..150).as_bytes());
    write(folder, "f.jsonl.zst", &zst[..zst.len() - 30]);
    write(folder, "g.jsonl", good(150..160));
}

/// Tables with rows that are rejected, one that is cut off and one that is damaged.
fn rejects_tables(folder: &Path, seed: usize) {
    let answer = |i: usize| (!i.is_multiple_of(7)).then(|| "so it is ".repeat(1 + i % 13));
    for (name, rows) in [("a", 0..40), ("b", 40..80), ("c", 80..120), ("d", 120..160)] {
        let rows: Vec<usize> = rows.map(|i| i + seed).collect();
        let prompt = StringArray::from_iter_values(rows.iter().map(|i| format!("Why {i}?")));
        let completion = StringArray::from_iter(rows.iter().map(|&i| answer(i)));
        let columns: [(&str, ArrayRef); 2] =
            [("prompt", Arc::new(prompt)), ("completion", Arc::new(completion))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let compressed = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
            .set_max_row_group_row_count(Some(10))
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(compressed)).unwrap();
        writer.write(&batch).unwrap();
        let mut bytes = writer.into_inner().unwrap();
        let half = bytes.len() / 2;
        match name {
            "b" => bytes.truncate(half),
            "c" => bytes[half / 2..half / 2 + 200].fill(0xa5),
            _ => {}
        }
        write(folder, &format!("{name}.parquet"), bytes);
    }
}

/// From as many lines of the journal as each kill could leave, the job ends as it does without a kill.
fn resumes_from_any_chunk(folder: &Path, job: &Job) {
    let expected = bucket(job).unwrap();
    let whole = tree(&output(folder));
    fs::remove_dir_all(output(folder)).unwrap();
    finish_but_for_names(job);
    let left = tree(&partial(folder));
    let journal = &left["journal.jsonl"];
    let ends = (0..journal.len()).filter(|&i| journal[i] == b'\n');
    for (chunks, end) in ends.enumerate() {
        fs::remove_dir_all(output(folder)).ok();
        fs::remove_dir_all(partial(folder)).ok();
        left.iter().for_each(|(name, bytes)| drop(write(&partial(folder), name, bytes)));
        write(&partial(folder), "journal.jsonl", &journal[..=end]);
        let report = bucket(job).unwrap();
        assert_eq!(report.resumed_from.unwrap_or(0), chunks as u64);
        assert_eq!((report.rows, report.rejected), (expected.rows, expected.rejected));
        assert!(tree(&output(folder)) == whole, "after {chunks} chunks");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn a_resume_from_any_chunk_ends_with_the_same_bytes(
        seed in 0..1000usize,
        chunk in 8_000..60_000u64,
        limit in prop_oneof![Just(None), (1..175u64).prop_map(Some)],
    ) {
        let dir = tempdir().unwrap();
        rejects_corpus(&dir.path().join("in"), seed);
        let mut job = job(&dir.path().join("in"), &output(dir.path()));
        (job.chunk_bytes, job.limit, job.max_record_bytes) = (chunk, limit, 30_000);
        resumes_from_any_chunk(dir.path(), &job);
    }

    #[test]
    fn a_resume_of_tables_ends_with_the_same_bytes(
        seed in 0..1000usize,
        chunk in 300..3000u64,
        limit in prop_oneof![Just(None), (1..160u64).prop_map(Some)],
    ) {
        let dir = tempdir().unwrap();
        rejects_tables(&dir.path().join("in"), seed);
        let mut job = job(&dir.path().join("in"), &output(dir.path()));
        (job.chunk_bytes, job.limit) = (chunk, limit);
        resumes_from_any_chunk(dir.path(), &job);
    }
}
