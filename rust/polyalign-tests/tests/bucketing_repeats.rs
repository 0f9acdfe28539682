//! What a corpus holds more than once, and what is held out of it.

use crate::bucketing_support::*;
use arrow_array::cast::AsArray;
use polyalign::jobs::bucket::{HeldOutRows, Job, Progress, ReferenceOutput, Repeat, Repeated};
use polyalign::jobs::build::{BuildJob, build};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tempfile::tempdir;

fn manifest(output: &Path) -> Value {
    serde_json::from_slice(&fs::read(output.join("manifest.json")).unwrap()).unwrap()
}

#[test]
fn what_is_there_more_than_once_is_counted() {
    let dir = tempdir().unwrap();
    let input = dir.path().join("in");
    write(&input, "a.jsonl", lines(0..2000));
    // 97 responses in all, and the prompt of one record with another.
    let other = record(7).replace("the quick brown fox", "a slow fox");
    write(&input, "b.jsonl", lines(1000..1200) + &other + "\nbroken\n");
    let first = Repeat { file: "b.jsonl".into(), row: 0, of_file: "a.jsonl".into(), of_row: 1000 };
    let expected =
        Repeated { rows: 200, prompts: 201, responses: 2201 - 98, first: Some(first), ..Repeated::default() };
    for bare in [false, true] {
        let made = |name: &str, threads| Job {
            threads,
            chunk_bytes: 100_000,
            assignments_only: bare,
            ..job(&input, &dir.path().join(format!("{name}-{bare}")))
        };
        let one = made("one", 1);
        let report = bucket(&one).unwrap();
        assert_eq!((report.bucketed, &report.repeated), (2201, &expected));
        let said = "9% of the rows repeat the prompt and response of an earlier one (the first: b.jsonl, row 0, that of \
                    a.jsonl, row 1000)";
        assert!(report.warnings.iter().any(|warning| warning.contains(said)), "{:?}", report.warnings);
        let whole = tree(one.output.as_ref().unwrap());
        let told: Repeated =
            serde_json::from_value(manifest(one.output.as_ref().unwrap())["repeated"].clone()).unwrap();
        assert_eq!(told, expected);
        let many = made("many", 16);
        bucket(&many).unwrap();
        assert!(tree(many.output.as_ref().unwrap()) == whole);
        for rows in [1, 300, 600] {
            let resumed = made(&format!("resumed-{rows}"), 2);
            interrupt_after(&resumed, rows);
            let report = bucket(&resumed).unwrap();
            assert!(report.resumed_from.is_some_and(|chunks| chunks > 0));
            assert_eq!(report.repeated, expected, "after {rows} rows");
            assert!(tree(resumed.output.as_ref().unwrap()) == whole, "after {rows} rows");
        }
    }
    let dry = Job { output: None, ..job(&input, dir.path()) };
    assert_eq!(bucket(&dry).unwrap().repeated, expected);
}

#[test]
fn a_preference_with_another_rejected_response_is_another_row() {
    let dir = tempdir().unwrap();
    let line = |rejected| format!(r#"{{"prompt":"How?","chosen":"So.","rejected":"{rejected}"}}"#) + "\n";
    let input = write(dir.path(), "in.jsonl", line("No.") + &line("Never.") + &line("No."));
    let report = bucket(&job(&input, &dir.path().join("out"))).unwrap();
    assert_eq!((report.repeated.rows, report.repeated.prompts, report.repeated.responses), (1, 2, 1));
}

/// Records in groups of three; two groups share their prompts.
fn grouped(at: usize) -> String {
    let (group, prompt) = (at / 3, at % 900);
    format!(
        r#"{{"id":"r{at}","group":"g{group}","prompt":"Question {prompt}?","completion":"It is {at}, so {group}.","language":"en"}}"#
    ) + "\n"
}

#[test]
fn what_is_held_out_is_counted_and_no_part_of_the_reference() {
    let dir = tempdir().unwrap();
    let input = write(dir.path(), "in.jsonl", (0..1800).map(grouped).collect::<String>());
    let at = |name: &str| dir.path().join(name);
    let made = |name: &str, threads: usize, test_share: f64, input: &Path| Job {
        threads,
        test_share,
        chunk_bytes: 20_000,
        reference: Some(ReferenceOutput {
            path: at(&format!("{name}.safetensors")),
            ..ReferenceOutput::default()
        }),
        ..job(input, &at(name))
    };
    let report = bucket(&made("one", 1, 0.3, &input)).unwrap();
    let (mut kept, mut held_out) = (String::new(), Vec::new());
    for (name, _) in tree(&at("one/data")) {
        let is_test = name.starts_with("test-");
        let file = fs::File::open(at("one/data").join(name)).unwrap();
        let reader =
            parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build();
        for batch in reader.unwrap() {
            for id in batch.unwrap().column_by_name("id").unwrap().as_string::<i32>() {
                let row: usize = id.unwrap()[1..].parse().unwrap();
                if is_test { held_out.push(row) } else { kept += &grouped(row) }
            }
        }
    }
    let held: BTreeSet<usize> = held_out.iter().copied().collect();
    let groups: BTreeSet<usize> = held.iter().map(|row| row / 3).collect();
    let prompts: BTreeSet<usize> = held.iter().map(|row| row % 900).collect();
    let shared =
        prompts.iter().filter(|&&prompt| !(held.contains(&prompt) && held.contains(&(prompt + 900))));
    let expected = HeldOutRows {
        rows: held.len() as u64,
        groups: groups.len() as u64,
        prompts: prompts.len() as u64,
        shared_prompts: shared.count() as u64,
    };
    assert!(
        expected.rows > 300 && expected.shared_prompts > 100 && expected.shared_prompts < expected.prompts
    );
    assert_eq!(report.held_out, Some(expected));
    assert_eq!(report.buckets.iter().map(|bucket| bucket.held_out).sum::<u64>(), expected.rows);
    let told = manifest(&at("one"));
    assert_eq!(told["counts"]["held_out"], serde_json::to_value(expected).unwrap());
    let told = told["buckets"].as_array().unwrap().iter().map(|bucket| bucket["held_out"].as_u64().unwrap());
    assert_eq!(told.sum::<u64>(), expected.rows);
    // The reference is that of the rows that train, however it is made.
    let reference = |name: &str| fs::read(at(&format!("{name}.safetensors"))).unwrap();
    let kept = write(dir.path(), "kept.jsonl", kept);
    let of_kept = bucket(&made("kept", 2, 0.0, &kept)).unwrap();
    assert_eq!((of_kept.held_out, of_kept.bucketed), (None, 1800 - expected.rows));
    assert!(reference("one") == reference("kept"));
    let again = BuildJob { inputs: vec![at("one").to_str().unwrap().into()], ..BuildJob::default() };
    let (again, tally) = build(&again, &Progress::default()).unwrap();
    assert!(again.to_bytes().unwrap() == reference("one"));
    assert_eq!((tally.held_out, tally.used), (expected.rows, 1800 - expected.rows));
    bucket(&made("many", 16, 0.3, &input)).unwrap();
    // A run that ends before it can be interrupted is made again.
    let resumed = Job { overwrite: true, ..made("resumed", 2, 0.3, &input) };
    assert!((0..50).any(|_| {
        interrupt_after(&resumed, 1);
        bucket(&resumed).unwrap().resumed_from.is_some()
    }));
    for name in ["many", "resumed"] {
        assert!(tree(&at(name)) == tree(&at("one")), "{name}");
        assert!(reference(name) == reference("one"), "{name}");
    }
    // A dry run says it too.
    let dry = Job { output: None, reference: None, ..made("dry", 2, 0.3, &input) };
    assert_eq!(bucket(&dry).unwrap().held_out, Some(expected));
}

#[test]
fn without_groups_no_prompt_is_on_both_sides() {
    let dir = tempdir().unwrap();
    let ungrouped = |at: usize| grouped(at).replace("\"group\"", "\"party\"");
    let input = write(dir.path(), "in.jsonl", (0..1800).map(ungrouped).collect::<String>());
    let report = bucket(&Job { test_share: 0.3, ..job(&input, &dir.path().join("out")) }).unwrap();
    let held_out = report.held_out.unwrap();
    assert_eq!((held_out.rows, held_out.groups), (2 * held_out.prompts, held_out.prompts));
    assert!(held_out.prompts > 200 && held_out.shared_prompts == 0);
}
