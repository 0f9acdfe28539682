//! Every reply as a row, and what is said of how records were read.

use crate::bucketing_support::*;
use crate::records_support::{Flavour, batch};
use arrow_array::cast::AsArray;
use arrow_cast::cast;
use arrow_schema::DataType;
use parquet::arrow::ArrowWriter;
use polyalign::jobs::bucket::{Met, Report};
use polyalign::records::record::RejectKind;
use polyalign::records::turns::Turns;
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;
use tempfile::tempdir;

fn message(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

/// Three conversations: of two replies, of three of which one is empty, of one; and none.
fn conversations() -> Vec<Value> {
    let [q, r, s] = ["What is this?", "And that?", "And those?"].map(|text| message("user", text));
    let reply = |text: &str| message("assistant", text);
    vec![
        json!({"id": "a", "track": "multi", "tag": "x", "messages": [q, reply("A cat."), r, reply("A dog.")]}),
        json!({"id": null, "track": null, "tag": "y", "messages": [q, reply("One."), r, reply(" "), s, reply("Three.")]}),
        json!({"id": "c", "track": null, "tag": "z", "messages": [q, reply("Only one.")]}),
        json!({"id": "d", "track": null, "tag": "w", "messages": [q]}),
    ]
}

fn jsonl(records: &[Value]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

/// By row: id, bucket, group and number of the record.
fn labels(output: &Path) -> Vec<(String, String, String, i64)> {
    let mut labels = Vec::new();
    for batch in batches(output) {
        let text = |name: &str| cast(batch.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
        let [id, bucket, group] = ["id", "bucket", "group"].map(text);
        let row = batch.column_by_name("row").unwrap().as_primitive::<arrow_array::types::Int64Type>();
        for at in 0..batch.num_rows() {
            let of = |column: &arrow_array::ArrayRef| column.as_string::<i32>().value(at).to_owned();
            labels.push((of(&id), of(&bucket), of(&group), row.value(at)));
        }
    }
    labels
}

fn run(input: &Path, output: &Path) -> Report {
    let mut job = job(input, output);
    job.turns = Turns::All;
    bucket(&job).unwrap()
}

fn expected(file: &str) -> Vec<(String, String, String, i64)> {
    let second = format!("{file}:1");
    [
        // What the record says of its track is true of its last reply.
        ("a#1", "en|single|qa|short", "a", 0),
        ("a#2", "en|multi|dialogue|short", "a", 0),
        (&format!("{second}#1"), "en|single|qa|short", &second, 1),
        (&format!("{second}#3"), "en|multi|dialogue|short", &second, 1),
        ("c#1", "en|single|qa|short", "c", 2),
    ]
    .map(|(id, bucket, group, row)| (id.to_owned(), bucket.to_owned(), group.to_owned(), row))
    .to_vec()
}

#[test]
fn every_reply_is_a_row_of_its_conversation_group() {
    let dir = tempdir().unwrap();
    let input = write(dir.path(), "in.jsonl", jsonl(&conversations()));
    let output = dir.path().join("out");
    let report = run(&input, &output);
    assert_eq!(labels(&output), expected("in.jsonl"));
    // Four records make seven rows: the empty reply and the record without any are rejected.
    assert_eq!((report.records, report.rows, report.bucketed, report.rejected), (4, 7, 5, 2));
    let rejects = rejects(&output);
    assert_eq!(rejects[0]["reason"], "reply 2: the response is empty");
    assert_eq!((&rejects[1]["row"], &rejects[1]["kind"]), (&json!(3), &json!("no_response")));
    assert_eq!(report.reading.earlier_replies, 0);
    assert_conserved(&report, &output);
}

#[test]
fn rows_of_a_table_are_repeated_beside_their_replies() {
    let dir = tempdir().unwrap();
    let rows = batch(&conversations(), Flavour::Plain);
    let input = dir.path().join("in.parquet");
    let mut writer = ArrowWriter::try_new(File::create(&input).unwrap(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let output = dir.path().join("out");
    let report = run(&input, &output);
    assert_eq!(labels(&output), expected("in.parquet"));
    assert_eq!((report.records, report.rows), (4, 7));
    let tags: Vec<String> = batches(&output)
        .iter()
        .flat_map(|batch| {
            let tags = cast(batch.column_by_name("tag").unwrap(), &DataType::Utf8).unwrap();
            tags.as_string::<i32>().iter().map(|tag| tag.unwrap().to_owned()).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(tags, ["x", "x", "y", "y", "z"]);
}

#[test]
fn the_same_bytes_after_an_interruption_for_any_number_of_threads_and_a_limit_of_records() {
    let dir = tempdir().unwrap();
    let records = conversations();
    let many: Vec<Value> = (0..20_000).map(|i| records[i % records.len()].clone()).collect();
    let input = write(dir.path(), "in/many.jsonl", jsonl(&many));
    let with = |name: &str, threads: usize| {
        let mut job = job(&input, &dir.path().join(name));
        (job.turns, job.threads, job.chunk_bytes, job.limit) = (Turns::All, threads, 100_000, Some(15_001));
        job
    };
    let report = bucket(&with("whole", 1)).unwrap();
    assert_eq!(report.records, 15_001);
    let whole = tree(&dir.path().join("whole"));
    for (name, threads, rows) in [("two", 2, 2000), ("four", 4, 6000)] {
        let job = with(name, threads);
        interrupt_after(&job, rows);
        let resumed = bucket(&job).unwrap();
        assert_eq!((resumed.records, resumed.rows, &resumed.reading), (15_001, report.rows, &report.reading));
        assert!(tree(&dir.path().join(name)) == whole);
    }
}

#[test]
fn preferences_have_one_reply() {
    let dir = tempdir().unwrap();
    let input = write(dir.path(), "in.jsonl", r#"{"prompt":"Q","chosen":"A","rejected":"B"}"#);
    let mut job = job(&input, &dir.path().join("out"));
    job.turns = Turns::All;
    assert!(bucket(&job).unwrap_err().to_string().contains("preferences, of one reply each"));
}

#[test]
fn the_report_says_how_records_were_read() {
    let dir = tempdir().unwrap();
    let one = json!({"conversation_id": "k", "system": "Be brief.", "turn": 2, "conversations": [
        {"from": "human", "value": "What is this?"}, {"from": "gpt", "value": "A cat."},
        {"from": "human", "value": "And that?"}, {"from": "gpt", "value": "A dog.", "weight": 1},
    ]});
    let other = json!({"conversation_id": "l", "lang": "Python", "conversations": [
        {"from": "Narrator", "value": "It rains."}, {"from": "human", "value": "Is it wet?"}, {"from": "bing", "value": "It is."},
    ]});
    let input = write(dir.path(), "in.jsonl", jsonl(&[one, other.clone(), other]));
    let report = bucket(&job(&input, &dir.path().join("out"))).unwrap();
    let told = |met: &[Met]| -> Vec<String> {
        let tell = |met: &Met| format!("{} {} {}:{}", met.name, met.records, met.file, met.row);
        met.iter().map(tell).collect()
    };
    let reading = &report.reading;
    assert_eq!(reading.earlier_replies, 1);
    assert_eq!(told(&reading.events), ["earlier_replies 1 in.jsonl:0", "system 1 in.jsonl:0"]);
    assert_eq!(
        told(&reading.roles),
        ["human 3 in.jsonl:0", "Narrator 2 in.jsonl:1", "bing 2 in.jsonl:1", "gpt 1 in.jsonl:0"]
    );
    assert_eq!(reading.roles[1].taken, None);
    assert_eq!(told(&reading.groups), ["conversation_id 3 in.jsonl:0"]);
    assert_eq!(told(&reading.programming), ["Python 2 in.jsonl:1"]);
    assert_eq!(told(&reading.unused), ["conversations[].weight 1 in.jsonl:0", "turn 1 in.jsonl:0"]);
    assert!(
        report.warnings.iter().any(|line| line.contains("the role `Narrator` is not known")),
        "{:?}",
        report.warnings
    );
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("out/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["reading"], serde_json::to_value(reading).unwrap());
}

#[test]
fn a_role_that_decides_the_bucket_is_asked_for() {
    let dir = tempdir().unwrap();
    let record = json!({"messages": [message("Alice", "Where is the station?"), message("assistant", "Over there."),
        message("Alice", "And the bank?"), message("assistant", "Next to it.")]});
    let input = write(dir.path(), "in.jsonl", jsonl(&[record]));
    let mut job = job(&input, &dir.path().join("out"));
    let report = bucket(&job).unwrap();
    assert_eq!(report.rejected_by_kind[&RejectKind::Ambiguous], 1);
    let reason = &report.first_rejects[0].reason;
    assert!(
        reason.contains("the track is `multi` if it is the user's, `single` if it is the assistant's; say which with --role Alice=ROLE"),
        "{reason}"
    );
    job.overwrite = true;
    job.fields.roles = [("Alice".to_owned(), "user".to_owned())].into();
    assert_eq!(bucket(&job).unwrap().buckets[0].bucket, "en|multi|dialogue|short");
}

#[test]
fn names_without_end_are_counted_to_a_bound() {
    let dir = tempdir().unwrap();
    let records: Vec<Value> =
        (0..500).map(|i| json!({"prompt": "Q", "completion": "A", format!("field {i}"): 1})).collect();
    let input = write(dir.path(), "in.jsonl", jsonl(&records));
    let report = bucket(&job(&input, &dir.path().join("out"))).unwrap();
    assert_eq!(report.reading.unused.len(), 64);
    assert!(report.reading.more);
}
