//! The same bytes for any number of threads, and after an interruption at any time.

mod bucketing_support;

use bucketing_support::*;
use polyalign::jobs::bucket::Job;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::tempdir;

/// A corpus of several files, formats and flaws.
fn corpus(folder: &Path) {
    write(folder, "a.jsonl", lines(0..3000) + "broken\n" + &lines(3000..3500));
    write(
        folder,
        "b.jsonl.gz",
        [gzip(lines(3500..5000).as_bytes()), gzip(lines(5000..5500).as_bytes())].concat(),
    );
    let array = (5500..6500).map(record).collect::<Vec<_>>().join(",\n");
    write(folder, "c.json", format!("[{array}, {{\"no\": \"shape\"}}]"));
    let zst = zstd(lines(6500..8000).as_bytes());
    write(folder, "d.jsonl.zst", &zst[..zst.len() - 200]);
    write(folder, "e.jsonl", lines(8000..9000).trim_end());
}

fn corpus_job(folder: &Path, output: &str) -> Job {
    let mut job = job(&folder.join("in"), &folder.join(output));
    job.chunk_bytes = 300_000;
    job
}

#[test]
fn bytes_do_not_depend_on_threads() {
    let dir = tempdir().unwrap();
    corpus(&dir.path().join("in"));
    for (kind, partition_by, assignments_only) in
        [("full", vec![], false), ("bare", vec![], true), ("split", vec!["language".to_owned()], false)]
    {
        let mut expected = None;
        for threads in [1, 2, 16] {
            let mut job = corpus_job(dir.path(), &format!("{kind}-{threads}"));
            (job.threads, job.assignments_only) = (threads, assignments_only);
            job.test_share = if kind == "split" { 0.3 } else { 0.0 };
            job.partition_by.clone_from(&partition_by);
            let report = bucket(&job).unwrap();
            assert!(report.shards > 5);
            assert_conserved(&report, job.output.as_ref().unwrap());
            let files = tree(job.output.as_ref().unwrap());
            match &expected {
                None => expected = Some(files),
                Some(expected) => assert!(*expected == files, "{kind} with {threads} threads"),
            }
        }
    }
}

#[test]
fn chunks_end_where_the_stream_says() {
    let dir = tempdir().unwrap();
    corpus(&dir.path().join("in"));
    let job = corpus_job(dir.path(), "out");
    bucket(&job).unwrap();
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.path().join("out/manifest.json")).unwrap()).unwrap();
    let total = manifest["counts"]["bytes"].as_u64().unwrap();
    let shards = manifest["shards"].as_array().unwrap().len() as u64;
    // Each chunk is at least its size and less than that and a record, the last one aside.
    assert!(shards >= total / (job.chunk_bytes + 8000) && shards <= total / job.chunk_bytes + 1, "{shards}");
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bytes() {
    let dir = tempdir().unwrap();
    corpus(&dir.path().join("in"));
    bucket(&corpus_job(dir.path(), "whole")).unwrap();
    let whole = tree(&dir.path().join("whole"));
    for rows in [1, 3100, 5200, 6000, 7500] {
        let job = corpus_job(dir.path(), &format!("out-{rows}"));
        interrupt_after(&job, rows);
        assert!(!job.output.as_ref().unwrap().exists());
        let report = bucket(&job).unwrap();
        assert!(report.resumed_from.is_some_and(|chunks| chunks > 0));
        assert!(tree(job.output.as_ref().unwrap()) == whole, "after {rows} rows");
        assert!(!dir.path().join(format!("out-{rows}.partial")).exists());
    }
}

#[test]
fn a_limit_holds_across_an_interruption() {
    let dir = tempdir().unwrap();
    corpus(&dir.path().join("in"));
    let mut job = corpus_job(dir.path(), "whole");
    job.limit = Some(5000);
    assert_eq!(bucket(&job).unwrap().rows, 5000);
    job.output = Some(dir.path().join("out"));
    interrupt_after(&job, 2000);
    assert_eq!(bucket(&job).unwrap().rows, 5000);
    assert!(tree(&dir.path().join("out")) == tree(&dir.path().join("whole")));
}

#[test]
fn changes_since_the_interruption_are_noticed() {
    let dir = tempdir().unwrap();
    let input = dir.path().join("in");
    corpus(&input);
    let job = corpus_job(dir.path(), "out");
    interrupt_after(&job, 1000);
    let refused = |job: &Job, what: &str| {
        let error = bucket(job).unwrap_err().to_string();
        assert!(error.contains(what) && error.contains("--overwrite"), "{error}");
    };
    let mut other = job.clone();
    other.chunk_bytes += 1;
    refused(&other, "chunk_bytes");
    other = job.clone();
    other.fields.keep_thinking = true;
    refused(&other, "fields");
    write(&input, "f.jsonl", lines(0..1));
    refused(&job, "f.jsonl");
    fs::remove_file(input.join("f.jsonl")).unwrap();
    let e = fs::read(input.join("e.jsonl")).unwrap();
    fs::remove_file(input.join("e.jsonl")).unwrap();
    refused(&job, "e.jsonl");
    write(&input, "e.jsonl", [&e[..e.len() - 1], b" "].concat());
    refused(&job, "e.jsonl");
    let mut anew = job.clone();
    anew.overwrite = true;
    let report = bucket(&anew).unwrap();
    assert_eq!(report.resumed_from, None);
    assert!(report.warnings.iter().any(|w| w.contains("e.jsonl")), "{:?}", report.warnings);
}

#[test]
fn overwriting_replaces_only_at_the_end() {
    let dir = tempdir().unwrap();
    corpus(&dir.path().join("in"));
    let mut job = corpus_job(dir.path(), "out");
    bucket(&job).unwrap();
    let old = tree(&dir.path().join("out"));
    assert!(bucket(&job).unwrap_err().to_string().contains("exists"));
    job.overwrite = true;
    job.assignments_only = true;
    interrupt_after(&job, 1000);
    assert!(tree(&dir.path().join("out")) == old);
    let report = bucket(&job).unwrap();
    assert!(report.resumed_from.is_some());
    assert!(tree(&dir.path().join("out")) != old);
    assert!(!dir.path().join("out.partial").exists());
}

#[test]
fn two_processes_do_not_share_an_output() {
    let dir = tempdir().unwrap();
    corpus(&dir.path().join("in"));
    let job = corpus_job(dir.path(), "out");
    fs::create_dir_all(dir.path().join("out.partial")).unwrap();
    let lock = File::create(dir.path().join("out.partial/lock")).unwrap();
    lock.lock().unwrap();
    assert!(bucket(&job).unwrap_err().to_string().contains("another process"));
    drop(lock);
    bucket(&job).unwrap();
}

/// The job of the environment: what the test below starts and kills.
#[test]
#[ignore = "run by killed_runs_go_on_to_the_same_bytes"]
fn child() {
    if let Ok(job) = std::env::var("POLYALIGN_TEST_JOB") {
        bucket(&serde_json::from_str(&job).unwrap()).unwrap();
    }
}

#[test]
fn killed_runs_go_on_to_the_same_bytes() {
    let dir = tempdir().unwrap();
    let input = dir.path().join("in");
    corpus(&input);
    write(&input, "f.jsonl", lines(0..20_000));
    let start = Instant::now();
    bucket(&corpus_job(dir.path(), "whole")).unwrap();
    let whole_time = start.elapsed();
    let whole = tree(&dir.path().join("whole"));
    let rounds = if std::env::var_os("POLYALIGN_LONG_TESTS").is_some() { 40 } else { 6 };
    let (mut killed, mut resumed) = (0, 0);
    for round in 0..rounds {
        let job = corpus_job(dir.path(), &format!("out-{round}"));
        let out = job.output.clone().unwrap();
        // Kill it again and again, each time a little later, until it gets through.
        for attempt in 0u32.. {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "child", "--ignored", "--quiet"])
                .env("POLYALIGN_TEST_JOB", serde_json::to_string(&job).unwrap())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            let share = f64::from((round * 37 + attempt * 11) % 100) / 100.0;
            std::thread::sleep(whole_time.mul_f64(share) + Duration::from_millis(u64::from(attempt) * 20));
            child.kill().unwrap();
            let status = child.wait().unwrap();
            if out.exists() {
                break;
            }
            assert!(!status.success());
            killed += 1;
            let journal = fs::read_to_string(dir.path().join(format!("out-{round}.partial/journal.jsonl")));
            resumed += u32::from(journal.is_ok_and(|j| j.lines().count() > 1));
        }
        assert!(tree(&out) == whole, "round {round}");
    }
    assert!(
        killed > 0 && resumed > 0,
        "killed {killed} times, {resumed} of them with something to go on with"
    );
}
