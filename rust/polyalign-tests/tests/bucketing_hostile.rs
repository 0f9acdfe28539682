//! Broken input: every record ends up in a bucket or among the rejects, with its place and the reason.

use crate::bucketing_support::*;
use polyalign::buckets::BucketSchema;
use polyalign::records::record::RejectKind;
use proptest::prelude::*;
use serde_json::Value;
use std::io::Read;
use tempfile::tempdir;

fn kinds(rejects: &[Value]) -> Vec<&str> {
    rejects.iter().map(|r| r["kind"].as_str().unwrap()).collect()
}

#[test]
fn rejects_say_where_and_why() {
    let dir = tempdir().unwrap();
    let good = record(1);
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(200), "]".repeat(200));
    let bad: Vec<Vec<u8>> = vec![
        b"not json".to_vec(),
        b"{\"messages\": [}".to_vec(),
        b"[1, 2]".to_vec(),
        b"{\"messages\": []}".to_vec(),
        b"{\"id\": \"\xff\", \"messages\": []}".to_vec(),
        b"{\"prompt\": \"a\", \"completion\": \"b\"}".to_vec(),
        good.replace("\"note\"", "\"id\"").into(),
        deep.into(),
        good.replace("{\"n\": 1}", "NaN").into(),
        good.replace("\"en\"", "\"xx-none\"").into(),
    ];
    let mut corpus = Vec::new();
    let mut places = Vec::new();
    for line in &bad {
        corpus.extend_from_slice(good.as_bytes());
        corpus.push(b'\n');
        corpus.push(b'\n');
        places.push(corpus.len() as u64);
        corpus.extend_from_slice(line);
        corpus.push(b'\n');
    }
    let out = dir.path().join("out");
    let report = bucket(&job(&write(dir.path(), "in.jsonl", &corpus), &out)).unwrap();
    assert_conserved(&report, &out);
    let rejects = rejects(&out);
    assert_eq!(rejects.len(), bad.len(), "{rejects:#?}");
    for (i, reject) in rejects.iter().enumerate() {
        assert_eq!(reject["file"], "in.jsonl");
        assert_eq!(reject["line"], 3 * i as u64 + 3);
        assert_eq!(reject["row"], 2 * i as u64 + 1);
        assert_eq!(reject["offset"], places[i]);
        assert!(!reject["reason"].as_str().unwrap().is_empty());
    }
    assert_eq!(rejects.last().unwrap()["kind"], "language");
    assert!(report.unreadable.is_empty());
}

#[test]
fn truncated_and_corrupt_streams_end_with_one_entry() {
    let dir = tempdir().unwrap();
    let text = lines(0..3000);
    let zst = zstd(text.as_bytes());
    let gz = gzip(text.as_bytes());
    let flip_last = |bytes: &[u8], from_end: usize| {
        let mut bytes = bytes.to_vec();
        let i = bytes.len() - from_end;
        bytes[i] ^= 0x55;
        bytes
    };
    let garbage = |bytes: &[u8]| [bytes, b"trailing garbage, not a frame"].concat();
    for (name, content, all) in [
        ("cut.jsonl.zst", zst[..zst.len() / 2].to_vec(), false),
        ("cut.jsonl.gz", gz[..gz.len() / 2].to_vec(), false),
        ("checksum.jsonl.zst", flip_last(&zst, 1), true),
        ("checksum.jsonl.gz", flip_last(&gz, 6), true),
        ("garbage.jsonl.zst", garbage(&zst), true),
        ("garbage.jsonl.gz", garbage(&gz), true),
    ] {
        let input = write(dir.path(), &format!("{name}/1-{name}"), content);
        write(dir.path(), &format!("{name}/2.jsonl"), lines(0..5));
        let out = dir.path().join("out").join(name);
        let report = bucket(&job(input.parent().unwrap(), &out)).unwrap();
        assert_conserved(&report, &out);
        let rejects = rejects(&out);
        assert_eq!(kinds(&rejects), ["file"], "{name}");
        assert_eq!(report.unreadable.len(), 1, "{name}");
        assert_eq!(rejects[0]["row"].as_u64().unwrap() + 5, report.bucketed, "{name}");
        if all {
            // A decoder may keep what it was about to give when it finds the checksum wrong.
            assert!((2900..=3005).contains(&report.bucketed), "{name}: {}", report.bucketed);
        } else {
            assert!(report.bucketed < 3005, "{name}");
        }
        // Every record before the damage is there, in order.
        let found = rows(&out);
        assert!(
            found.iter().take(found.len() - 5).enumerate().all(|(i, r)| r.id == format!("r{i}")),
            "{name}"
        );
    }
}

#[test]
fn broken_arrays_keep_what_came_before() {
    let dir = tempdir().unwrap();
    let (a, b) = (record(1), record(2));
    for (name, text, good, reason) in [
        ("cut", format!("[{a},{b},"), 2, "no closing"),
        ("cut-within", format!("[{a},{}", &b[..50]), 1, "no closing"),
        ("missing-comma", format!("[{a} {b}]"), 1, "comma"),
        ("empty-element", format!("[{a},,{b}]"), 1, "missing"),
        ("trailing-comma", format!("[{a},]"), 1, "missing"),
        ("after-end", format!("[{a}] {b}"), 1, "after"),
        ("mismatch", format!("[{a},{{\"x\": ]}},{b}]"), 1, "closes nothing"),
        ("open-string", format!("[{a},{{\"x: 1}},{b}]"), 1, ""),
    ] {
        let out = dir.path().join(name);
        let report = bucket(&job(&write(dir.path(), &format!("{name}.json"), &text), &out)).unwrap();
        assert_conserved(&report, &out);
        let rejects = rejects(&out);
        assert_eq!(report.bucketed, good, "{name}: {rejects:?}");
        assert_eq!(kinds(&rejects).last(), Some(&"file"), "{name}");
        assert!(rejects.last().unwrap()["reason"].as_str().unwrap().contains(reason), "{name}: {rejects:?}");
    }
    // Elements that are no objects are rejected one by one.
    let out = dir.path().join("scalars");
    let text = format!("[{a}, 1, \"two, ]\", null, [3, {{}}], {{\"y\": \"\\\"]}}\"}}\n, {b}]");
    let report = bucket(&job(&write(dir.path(), "scalars.json", &text), &out)).unwrap();
    assert_conserved(&report, &out);
    assert_eq!((report.bucketed, report.rejected, report.unreadable.len()), (2, 5, 0));
    for reject in rejects(&out) {
        let offset = reject["offset"].as_u64().unwrap() as usize;
        assert!(matches!(text.as_bytes()[offset], b'1' | b'"' | b'n' | b'[' | b'{'), "{reject}");
    }
}

#[test]
fn records_above_the_limit_are_rejected_wherever_they_are() {
    let dir = tempdir().unwrap();
    let long = format!("{{\"x\": \"{}\"}}", "a".repeat(3_000_000));
    for (name, text) in [
        ("first.jsonl", format!("{long}\n{}", lines(0..10))),
        ("last.jsonl", format!("{}{long}", lines(0..10))),
        ("crlf.jsonl", format!("{}{long}\r\n{}", lines(0..5), lines(5..10))),
        (
            "array.json",
            format!("[{}, {long} , {}]", record(0), (1..10).map(record).collect::<Vec<_>>().join(",")),
        ),
    ] {
        let offset = text.find(&long).unwrap() as u64;
        let mut job = job(&write(dir.path(), name, &text), &dir.path().join("out"));
        job.overwrite = true;
        job.max_record_bytes = 100_000;
        let report = bucket(&job).unwrap();
        let out = dir.path().join("out");
        assert_conserved(&report, &out);
        let found = rejects(&out);
        assert_eq!((report.bucketed, kinds(&found)), (10, vec!["size"]), "{name}");
        assert_eq!(found[0]["offset"], offset, "{name}");
        assert!(found[0]["reason"].as_str().unwrap().contains(&long.len().to_string()), "{name}: {found:?}");
        // The limit itself is allowed.
        job.max_record_bytes = long.len() as u64;
        assert_eq!(bucket(&job).unwrap().rejected_by_kind.get(&RejectKind::Size), None, "{name}");
        job.max_record_bytes -= 1;
        assert_eq!(bucket(&job).unwrap().rejected_by_kind.get(&RejectKind::Size), Some(&1), "{name}");
    }
}

#[test]
fn a_record_of_100_megabytes_is_bucketed() {
    let dir = tempdir().unwrap();
    let text = "a few words and more ".repeat(5_000_000);
    let long = record(1).replacen("the quick", &text, 1);
    let out = dir.path().join("out");
    let report =
        bucket(&job(&write(dir.path(), "in.jsonl", format!("{}{long}\n", lines(0..3))), &out)).unwrap();
    assert_eq!((report.rows, report.bucketed), (4, 4));
    assert!(rows(&out)[3].length > 20_000_000);
}

#[test]
fn a_job_is_cancelled_within_a_giant_record() {
    let dir = tempdir().unwrap();
    let text = "a few words and more ".repeat(4_000_000);
    let long = record(1).replacen("the quick", &text, 1);
    let input = write(dir.path(), "in.jsonl", format!("{}{long}\n", lines(0..3)));
    let out = dir.path().join("out");
    for milliseconds in [1, 50, 200, 400] {
        let progress = polyalign::jobs::bucket::Progress::default();
        std::thread::scope(|scope| {
            let running =
                scope.spawn(|| polyalign::jobs::bucket::run(&job(&input, &out), &bucketer(), &progress));
            std::thread::sleep(std::time::Duration::from_millis(milliseconds));
            progress.cancel.store(true, std::sync::atomic::Ordering::Relaxed);
            let result = running.join().unwrap();
            assert!(matches!(result, Err(polyalign::Error::Interrupted)) || out.exists());
        });
        if out.exists() {
            return;
        }
        wait_until_left(&out);
    }
}

#[test]
fn too_many_buckets_name_the_axis() {
    let dir = tempdir().unwrap();
    let line = |i: usize| record(i).replace("\"note\"", &format!("\"family\": \"f{i}\", \"note\""));
    let text: String = (0..10_500).map(|i| line(i) + "\n").collect();
    let out = dir.path().join("out");
    let error = bucket(&job(&write(dir.path(), "in.jsonl", text), &out)).unwrap_err().to_string();
    assert!(error.contains("family") && error.contains("10000"), "{error}");
    assert!(!out.exists());
}

#[test]
fn outputs_that_cannot_be_made() {
    let dir = tempdir().unwrap();
    let input = write(dir.path(), "in.jsonl", lines(0..10));
    let precious = dir.path().join("precious");
    write(&precious, "thesis.txt", "the only copy");
    let mut job = job(&input, &precious);
    assert!(bucket(&job).unwrap_err().to_string().contains("exists"));
    job.overwrite = true;
    assert!(bucket(&job).unwrap_err().to_string().contains("not an output"));
    assert!(precious.join("thesis.txt").exists());
    job.output = Some(input.join("below-a-file"));
    let error = bucket(&job).unwrap_err().to_string();
    assert!(error.contains("below-a-file") && !error.contains('\n'), "{error}");
    job.output = Some("/".into());
    assert!(bucket(&job).unwrap_err().to_string().contains("name a folder"));
    job.output = Some(dir.path().join("out"));
    job.chunk_bytes = 0;
    assert!(bucket(&job).unwrap_err().to_string().contains("chunk_bytes"));
}

#[test]
fn auto_edges_are_found_in_a_first_pass() {
    let dir = tempdir().unwrap();
    let input = write(dir.path(), "in.jsonl", lines(0..2000));
    let out = dir.path().join("out");
    let schema: BucketSchema = serde_json::from_str(r#"{"length_edges": "auto"}"#).unwrap();
    let bucketer = polyalign::buckets::Bucketer::new(schema, None, true).unwrap();
    let report = polyalign::jobs::bucket::run(&job(&input, &out), &bucketer, &Default::default()).unwrap();
    assert!(!report.schema.needs_edges());
    assert_eq!(report.bucketed, 2000);
    let mut bins = std::collections::BTreeMap::<String, u64>::new();
    for bucket in &report.buckets {
        *bins.entry(bucket.parts[3].clone()).or_default() += bucket.rows;
    }
    assert_eq!(bins.len(), 4);
    assert!(bins.values().all(|&rows| (400..=600).contains(&rows)), "{bins:?}");
}

/// A line that is a record, is broken, or is blank.
fn any_line() -> impl Strategy<Value = (Vec<u8>, bool)> {
    prop_oneof![
        4 => (0..1000usize).prop_map(|i| (record(i).into_bytes(), true)),
        2 => proptest::collection::vec(any::<u8>().prop_filter("a line", |b| *b != b'\n'), 0..80)
            .prop_map(|line| { let counts = line.iter().any(|b| !b" \t\r".contains(b)); (line, counts) }),
        1 => (0..1000usize, 0..60usize).prop_map(|(i, cut)| (record(i).as_bytes()[..cut + 1].to_vec(), true)),
        1 => Just((b" \t\r".to_vec(), false)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost(
        lines in proptest::collection::vec(any_line(), 1..120),
        chunk in 1..20_000u64,
        max in 20..6000u64,
        newline in any::<bool>(),
    ) {
        let dir = tempdir().unwrap();
        let mut text = record(0).into_bytes();
        for (line, _) in &lines {
            text.push(b'\n');
            text.extend_from_slice(line);
        }
        if newline {
            text.push(b'\n');
        }
        let out = dir.path().join("out");
        let mut job = job(&write(dir.path(), "in.jsonl", &text), &out);
        job.chunk_bytes = chunk;
        job.max_record_bytes = max;
        job.fields.shape = Some(polyalign::records::shape::Shape::Messages);
        let report = bucket(&job).unwrap();
        assert_conserved(&report, &out);
        let expected = 1 + lines.iter().filter(|(line, counts)| *counts || line.len() as u64 > max).count();
        prop_assert_eq!(report.rows as usize, expected);
        let mut numbers: Vec<i64> = rows(&out).iter().map(|r| r.row).collect();
        numbers.extend(rejects(&out).iter().map(|r| r["row"].as_i64().unwrap()));
        numbers.sort_unstable();
        prop_assert!(numbers.iter().enumerate().all(|(i, &row)| row == i as i64));
        for reject in rejects(&out) {
            let (line, offset) = (reject["line"].as_u64().unwrap(), reject["offset"].as_u64().unwrap() as usize);
            prop_assert_eq!(text[..offset].iter().filter(|&&b| b == b'\n').count() as u64 + 1, line);
        }
    }
}

/// A gzip stream must give the same records before an error wherever reading began.
#[test]
fn damage_is_found_at_the_same_place_when_resumed() {
    let dir = tempdir().unwrap();
    let mut gz = gzip(lines(0..4000).as_bytes());
    let middle = gz.len() / 2;
    gz[middle..middle + 64].fill(0xa5);
    let mut text = String::new();
    let _ = flate2::read::MultiGzDecoder::new(&gz[..]).read_to_string(&mut text);
    let input = write(dir.path(), "in.jsonl.gz", &gz);
    let mut job = job(&input, &dir.path().join("whole"));
    job.chunk_bytes = 50_000;
    bucket(&job).unwrap();
    let whole = tree(&dir.path().join("whole"));
    for rows in [100, 900] {
        job.output = Some(dir.path().join(format!("resumed-{rows}")));
        interrupt_after(&job, rows);
        let report = bucket(&job).unwrap();
        assert!(report.resumed_from.is_some());
        assert!(tree(job.output.as_ref().unwrap()) == whole);
    }
}
