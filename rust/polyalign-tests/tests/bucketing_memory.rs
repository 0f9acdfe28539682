//! Memory does not grow with the input. In a process of its own, as it measures that.
#![cfg(target_os = "linux")]

mod bucketing_support;

use bucketing_support::*;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use tempfile::tempdir;

/// Most memory this process has used, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// A single line of a gigabyte (10 with POLYALIGN_LONG_TESTS), which is read without being held.
#[test]
fn an_endless_line_is_not_held() {
    let dir = tempdir().unwrap();
    let gigabytes = if std::env::var_os("POLYALIGN_LONG_TESTS").is_some() { 10 } else { 1 };
    let path = write(dir.path(), "in.jsonl", lines(0..10));
    let mut file = File::options().append(true).open(&path).unwrap();
    // A hole: it takes no room on disk.
    file.seek(SeekFrom::Start(gigabytes << 30)).unwrap();
    file.set_len(gigabytes << 30).unwrap();
    file.write_all(format!("\n{}", lines(10..20)).as_bytes()).unwrap();
    let out = dir.path().join("out");
    let before = peak_mib();
    let mut job = job(&path, &out);
    job.max_record_bytes = 16 << 20;
    let report = bucket(&job).unwrap();
    assert_eq!((report.bucketed, rejects(&out).len()), (20, 1));
    assert_eq!(rejects(&out)[0]["kind"], "size");
    assert!(peak_mib() < before.max(100) + 400, "{} MiB before, {} after", before, peak_mib());
    assert_conserved(&report, &out);
}
