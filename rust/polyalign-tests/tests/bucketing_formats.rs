//! The same records in every text format, compression and layout get the same buckets.

use crate::bucketing_support::*;
use arrow_array::Array;
use arrow_array::cast::AsArray;
use std::fs;
use tempfile::tempdir;

const N: usize = 700;

#[test]
fn all_text_formats_agree() {
    let dir = tempdir().unwrap();
    let plain = lines(0..N);
    let out = dir.path().join("expected");
    let report = bucket(&job(&write(dir.path(), "in/plain.jsonl", &plain), &out)).unwrap();
    assert_eq!((report.rows, report.bucketed), (N as u64, N as u64));
    let expected = assignments(&out);
    assert_eq!(expected.len(), N);

    let array = format!("[{}]", (0..N).map(record).collect::<Vec<_>>().join(","));
    let values: Vec<serde_json::Value> = (0..N).map(|i| serde_json::from_str(&record(i)).unwrap()).collect();
    let (first, second) = plain.split_at(plain.find("{\"id\": \"r300\"").unwrap());
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(plain.as_bytes())].concat();
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("crlf.jsonl", plain.replace('\n', "\r\n").into()),
        ("bom.jsonl", format!("\u{feff}{plain}").into()),
        ("bom-array.json", format!("\u{feff} {array}\n").into()),
        ("no-newline.jsonl", plain.trim_end().into()),
        ("blank-lines.jsonl", format!("\n \t\r\n{}\n\n\r\n", plain.replace('\n', "\n\n")).into()),
        ("array.json", array.clone().into()),
        ("array-named-lines.jsonl", array.clone().into()),
        ("pretty.json", serde_json::to_vec_pretty(&values).unwrap()),
        (
            "spaced.json",
            format!("\n\n[\n{}\n]  \n\n", array[1..array.len() - 1].replace("},{\"id\"", "} ,\n{\"id\""))
                .into(),
        ),
        ("members.jsonl.gz", [gzip(first.as_bytes()), gzip(b""), gzip(second.as_bytes())].concat()),
        ("frames.jsonl.zst", [zstd(first.as_bytes()), zstd(second.as_bytes())].concat()),
        ("skippable.jsonl.zst", skippable),
        ("array.json.gz", gzip(array.as_bytes())),
        ("wrong-name.jsonl.gz", plain.clone().into()),
        ("gz-without-a-name", gzip(plain.as_bytes())),
    ];
    for (name, content) in files {
        let out = dir.path().join("out").join(name);
        let report = bucket(&job(&write(dir.path(), &format!("in/{name}"), content), &out)).unwrap();
        assert_eq!(report.rejected, 0, "{name}: {:?}", rejects(&out));
        assert_eq!(assignments(&out), expected, "{name}");
        assert!(rows(&out).iter().enumerate().all(|(i, r)| r.row == i as i64 && r.file == name), "{name}");
    }
}

#[test]
fn files_form_one_stream_in_byte_order() {
    let dir = tempdir().unwrap();
    let corpus = dir.path().join("in");
    for (i, name) in ["b.jsonl", "a/z.jsonl", "a.jsonl", "é.jsonl", "a/b/c.jsonl"].iter().enumerate() {
        write(&corpus, name, lines(i * 10..i * 10 + 10));
    }
    write(&corpus, ".hidden.jsonl", "broken");
    write(&corpus, "readme.md", "not a record");
    write(&corpus, "empty.jsonl", "");
    let out = corpus.join("out");
    let report = bucket(&job(&corpus, &out)).unwrap();
    let mut files: Vec<_> = rows(&out).into_iter().map(|r| r.file).collect();
    files.dedup();
    assert_eq!(files, ["a.jsonl", "a/b/c.jsonl", "a/z.jsonl", "b.jsonl", "é.jsonl"]);
    assert_eq!((report.files, report.rows, report.rejected), (6, 50, 0));
    let skipped: Vec<_> = report.skipped.iter().map(|s| s.file.as_str()).collect();
    assert_eq!(skipped, [".hidden.jsonl", "readme.md"]);

    // Its own output below the input is passed over, and said.
    let mut again = job(&corpus, &out);
    again.overwrite = true;
    let report = bucket(&again).unwrap();
    assert_eq!(report.rows, 50);
    assert!(
        report.skipped.iter().any(|s| s.file == "out" && s.reason.contains("output")),
        "{:?}",
        report.skipped
    );
}

#[test]
fn globs_and_several_inputs() {
    let dir = tempdir().unwrap();
    for (i, name) in ["x/1.jsonl", "x/2.jsonl", "y/1.jsonl", "x/skip.txt"].iter().enumerate() {
        write(dir.path(), name, lines(i * 10..i * 10 + 10));
    }
    let at = |p: &str| dir.path().join(p).to_str().unwrap().to_owned();
    let mut job = job(&dir.path().join("x"), &dir.path().join("out"));
    job.inputs = vec![at("*/1.jsonl"), at("x/1.jsonl"), at("x/2.jsonl")];
    let report = bucket(&job).unwrap();
    assert_eq!((report.files, report.rows), (3, 30));
    let mut files: Vec<_> = rows(&dir.path().join("out")).into_iter().map(|r| r.file).collect();
    files.dedup();
    assert_eq!(files, ["x/1.jsonl", "x/2.jsonl", "y/1.jsonl"]);

    for (inputs, message) in [
        (vec![at("x/*.parquet")], "no file matches"),
        (vec![at("nothing.jsonl")], "nothing.jsonl"),
        (vec![], "no input"),
        (vec!["-".into(), at("x/1.jsonl")], "standard input"),
    ] {
        job.inputs = inputs;
        job.overwrite = true;
        let error = bucket(&job).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn ten_thousand_small_files() {
    let dir = tempdir().unwrap();
    for i in 0..10_000 {
        write(dir.path(), &format!("in/{}/{i}.jsonl", i % 10), lines(i..i + 1));
    }
    let out = dir.path().join("out");
    let report = bucket(&job(&dir.path().join("in"), &out)).unwrap();
    assert_eq!((report.files, report.rows, report.bucketed), (10_000, 10_000, 10_000));
    assert_eq!(report.shards, 1);
    assert_conserved(&report, &out);
}

#[test]
fn nothing_in_nothing_out() {
    let dir = tempdir().unwrap();
    for (name, content) in [("a.jsonl", ""), ("b.jsonl", "\n\n \n"), ("c.json", "[]"), ("d.jsonl.gz", "")] {
        let out = dir.path().join(format!("out-{name}"));
        let report = bucket(&job(&write(dir.path(), name, content), &out)).unwrap();
        assert_eq!((report.rows, report.rejected, report.shards), (0, 0, 1), "{name}");
        assert!(batches(&out).iter().all(|b| b.num_rows() == 0));
        assert!(out.join("manifest.json").is_file() && out.join("rejects.jsonl").is_file());
    }
}

#[test]
fn outputs_have_the_stated_columns_and_files() {
    let dir = tempdir().unwrap();
    let input = write(dir.path(), "in.jsonl", lines(0..50));
    let columns = |out: &std::path::Path| {
        let batch = &batches(out)[0];
        batch.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>()
    };
    let ours =
        "id file row bucket language track family length_bin length prompt_tokens completion_tokens group";
    let full = dir.path().join("full");
    bucket(&job(&input, &full)).unwrap();
    assert_eq!(columns(&full).join(" "), format!("{ours} prompt completion extra"));
    let files: Vec<_> = tree(&full).into_keys().collect();
    assert_eq!(files, ["data/train-00000.parquet", "manifest.json", "rejects.jsonl"]);
    assert!(!dir.path().join("full.partial").exists());
    let extra = batches(&full)[0].column_by_name("extra").unwrap().clone();
    assert_eq!(extra.as_string::<i32>().value(7), r#"{"note":{"n": 7}}"#);

    let mut bare = job(&input, &dir.path().join("bare"));
    bare.assignments_only = true;
    bucket(&bare).unwrap();
    assert_eq!(columns(&dir.path().join("bare")).join(" "), ours);

    let mut split = job(&input, &dir.path().join("split"));
    split.partition_by = vec!["language".into(), "family".into()];
    let report = bucket(&split).unwrap();
    let folders: Vec<_> = tree(&dir.path().join("split/data")).into_keys().collect();
    assert!(folders.iter().all(|f| f.starts_with("language=")), "{folders:?}");
    assert_conserved(&report, &dir.path().join("split"));
    assert_eq!(assignments(&dir.path().join("split")), assignments(&full));

    split.partition_by = vec!["planet".into()];
    split.overwrite = true;
    let error = bucket(&split).unwrap_err().to_string();
    assert!(error.contains("planet") && error.contains("language"), "{error}");
}

#[test]
fn manifest_is_complete_and_names_no_place() {
    let dir = tempdir().unwrap();
    let input = write(dir.path(), "in.jsonl", lines(0..300) + "broken\n");
    let out = dir.path().join("out");
    bucket(&job(&input, &out)).unwrap();
    let text = fs::read_to_string(out.join("manifest.json")).unwrap();
    assert!(!text.contains(dir.path().to_str().unwrap()) && !text.contains("threads"));
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(manifest["counts"]["rows"], 301);
    assert_eq!(manifest["counts"]["rejected_by_kind"]["json"], 1);
    assert_eq!(manifest["inputs"][0]["file"], "in.jsonl");
    assert_eq!(manifest["inputs"][0]["bytes"], fs::metadata(&input).unwrap().len());
    let shard = &manifest["shards"][0];
    let bytes = fs::read(out.join(shard["file"].as_str().unwrap())).unwrap();
    use sha2::Digest;
    let sha: String = sha2::Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(shard["sha256"], sha);
    assert_eq!(shard["bytes"], bytes.len());
    let rows: u64 = manifest["buckets"].as_array().unwrap().iter().map(|b| b["rows"].as_u64().unwrap()).sum();
    assert_eq!(rows, 300);
}

#[test]
fn dry_run_and_limit() {
    let dir = tempdir().unwrap();
    let mut look = job(&write(dir.path(), "in.jsonl", lines(0..500)), &dir.path().join("out"));
    look.output = None;
    look.limit = Some(120);
    let report = bucket(&look).unwrap();
    assert_eq!((report.rows, report.bucketed, report.examples.len()), (120, 120, 3));
    assert_eq!(report.examples[1].id, "r1");
    assert_eq!(report.shape, Some(polyalign::records::shape::Shape::Messages));
    assert!(!dir.path().join("out").exists() && !dir.path().join("out.partial").exists());

    look.output = Some(dir.path().join("out"));
    look.chunk_bytes = 4000;
    assert_eq!(bucket(&look).unwrap().rows, 120);
    assert_eq!(rows(&dir.path().join("out")).len(), 120);
}

#[test]
fn preference_rows_keep_both_responses() {
    let dir = tempdir().unwrap();
    let line = |i: usize| {
        format!(
            r#"{{"prompt": "question {i}", "chosen": "good answer {i}", "rejected": "bad {i}", "group": "g{i}"}}"#
        )
    };
    let input = write(dir.path(), "in.jsonl", (0..5).map(|i| line(i) + "\n").collect::<String>());
    let out = dir.path().join("out");
    let report = bucket(&job(&input, &out)).unwrap();
    assert_eq!((report.bucketed, report.shape), (5, Some(polyalign::records::shape::Shape::Preference)));
    let batch = &batches(&out)[0];
    let text = |column: &str, i: usize| {
        let messages = batch.column_by_name(column).unwrap().as_list::<i32>().value(i);
        let messages = messages.as_struct();
        assert_eq!(messages.len(), 1);
        let value =
            |name: &str| messages.column_by_name(name).unwrap().as_string::<i32>().value(0).to_owned();
        (value("role"), value("content"))
    };
    assert_eq!(text("prompt", 3), ("user".into(), "question 3".into()));
    assert_eq!(text("chosen", 3), ("assistant".into(), "good answer 3".into()));
    assert_eq!(text("rejected", 3), ("assistant".into(), "bad 3".into()));
    assert!(batch.column_by_name("completion").is_none());
    assert_eq!(batch.column_by_name("group").unwrap().as_string::<i32>().value(4), "g4");
    assert_eq!(rows(&out)[2].id, "in.jsonl:2");
}

#[test]
fn columns_of_the_users_are_axes() {
    let dir = tempdir().unwrap();
    let line =
        |i: usize| record(i).replace("\"note\"", &format!("\"Team Size\": \"T {}/%\", \"note\"", i % 2));
    let input = write(dir.path(), "in.jsonl", (0..40).map(|i| line(i) + "\n").collect::<String>());
    let schema = r#"{"axes": ["language", "length", {"name": "team", "column": "Team Size"}]}"#;
    let schema: polyalign::buckets::BucketSchema = serde_json::from_str(schema).unwrap();
    let bucketer = polyalign::buckets::Bucketer::new(schema, None, true).unwrap();
    let out = dir.path().join("out");
    let mut job = job(&input, &out);
    job.partition_by = vec!["team".into(), "length".into()];
    let report = polyalign::jobs::bucket::run(&job, &bucketer, &Default::default()).unwrap();
    assert_eq!(report.bucketed, 40, "{:?}", rejects(&out));
    assert!(
        report.buckets.iter().all(|b| b.parts.len() == 3 && b.parts[2].starts_with("t ")),
        "{:?}",
        report.buckets
    );
    // A part's own escapes are escaped again, so that readers give the part back.
    let files: Vec<_> = tree(&out.join("data")).into_keys().collect();
    assert!(
        files.iter().all(|f| f.starts_with("team=t%20") && f.contains("%2F%2525/length_bin=")),
        "{files:?}"
    );
}
