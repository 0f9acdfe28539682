//! What of a folder is read, and what its name says.

use crate::bucketing_support::*;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use polyalign::jobs::bucket::Job;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use tempfile::tempdir;

fn table(columns: &[(&str, &[Option<&str>])]) -> Vec<u8> {
    let column = |texts: &[Option<&str>]| -> ArrayRef { Arc::new(StringArray::from(texts.to_vec())) };
    let columns = columns.iter().map(|(name, texts)| (*name, column(texts), true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn tea() -> Vec<u8> {
    table(&[
        ("prompt", &[Some("What is a good tea?")]),
        ("completion", &[Some("Mint tea is a good choice.")]),
    ])
}

fn passed_over(report: &polyalign::jobs::bucket::Report) -> Vec<(&str, &str)> {
    report.skipped.iter().map(|skipped| (skipped.file.as_str(), skipped.reason.as_str())).collect()
}

#[test]
fn folders_as_spark_delta_iceberg_and_the_hub_leave_them() {
    let dir = tempdir().unwrap();
    let read = |name: &str, others: &[&str]| {
        let folder = dir.path().join(name);
        write(&folder, "data/part-0.snappy.parquet", tea());
        for other in others {
            let content = if other.ends_with(".parquet") { tea() } else { br#"{"a": 1}"#.to_vec() };
            write(&folder, other, content);
        }
        let report = bucket(&job(&folder, &dir.path().join(format!("{name}.out"))))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((report.files, report.bucketed), (1, 1), "{name}: {:?}", report.skipped);
        report
    };
    let spark = read("spark", &["_SUCCESS", "_temporary/0/task_1/part-0.parquet", "_metadata", ".x.crc"]);
    let names: Vec<_> = passed_over(&spark).into_iter().map(|(file, _)| file).collect();
    assert_eq!(names, [".x.crc", "_SUCCESS", "_metadata", "_temporary"]);
    let delta = read("delta", &["_delta_log/00000000000000000000.json"]);
    assert!(passed_over(&delta)[0].1.contains("the log of a Delta table, which is not read"));
    read("iceberg", &["metadata/v1.metadata.json", "metadata/snap-1.avro", "metadata/version-hint.text"]);
    let hub = read("hub", &["dataset_infos.json", "README.md", ".gitattributes", "data.csv"]);
    let csv = passed_over(&hub).into_iter().find(|(file, _)| *file == "data.csv").unwrap();
    assert!(csv.1.starts_with("CSV, which is not read: convert it"), "{}", csv.1);

    // A wildcard stands for no `_` at a name's start; named, such files are read.
    let spark = dir.path().join("spark");
    let glob = |pattern: &str, out: &str| {
        let inputs = vec![spark.join(pattern).to_str().unwrap().to_owned()];
        bucket(&Job { inputs, ..job(&spark, &dir.path().join(out)) })
    };
    let report = glob("**/*.parquet", "glob").unwrap();
    assert_eq!((report.files, report.skipped.len()), (1, 1));
    assert_eq!(glob("_temporary/0/*/*.parquet", "named").unwrap().files, 1);
    assert_eq!(glob("_temporary", "folder").unwrap().files, 1);
}

#[test]
fn what_folders_are_called_is_a_column() {
    let dir = tempdir().unwrap();
    let hive = dir.path().join("hive");
    let one =
        |answer: &str| table(&[("prompt", &[Some("What is a good tea?")]), ("completion", &[Some(answer)])]);
    write(&hive, "language=yue/source=caf%C3%A9/1.parquet", one("不如去飲茶啦，樓下嗰間幾好食。"));
    write(
        &hive,
        "language=en/source=__HIVE_DEFAULT_PARTITION__/1.parquet",
        one("Mint tea is a good choice."),
    );
    // The file's own column counts.
    write(
        &hive,
        "language=fr/2.parquet",
        table(&[
            ("prompt", &[Some("Quel thé ?")]),
            ("completion", &[Some("Le thé à la menthe est bon.")]),
            ("language", &[Some("de")]),
        ]),
    );
    let read = |input: &Path, out: &str| {
        let out = dir.path().join(out);
        bucket(&job(input, &out)).unwrap();
        let text = |batch: &RecordBatch, name: &str| {
            let column = batch.column_by_name(name).unwrap().as_string::<i32>().clone();
            (0..column.len())
                .map(|row| if column.is_null(row) { "-".to_owned() } else { column.value(row).to_owned() })
                .collect::<Vec<_>>()
        };
        let of = |name: &str| batches(&out).iter().flat_map(|batch| text(batch, name)).collect::<Vec<_>>();
        (of("language"), of("source_language"), of("source"))
    };
    let (languages, own, sources) = read(&hive, "out");
    assert_eq!(languages, ["en", "de", "yue"]);
    assert_eq!(own, ["en", "de", "yue"]);
    assert_eq!(sources, ["-", "-", "café"]);
    // A part of it has the columns of the whole.
    let (languages, _, sources) = read(&hive.join("language=yue"), "part");
    assert_eq!((languages, sources), (vec!["yue".to_owned()], vec!["café".to_owned()]));
    let (languages, ..) = read(&hive.join("language=yue/source=caf%C3%A9/1.parquet"), "file");
    assert_eq!(languages, ["yue"]);

    // Our own partitioned output is read as it was.
    let split = Job { partition_by: vec!["language".into()], ..job(&hive, &dir.path().join("split")) };
    bucket(&split).unwrap();
    bucket(&job(&dir.path().join("split"), &dir.path().join("again"))).unwrap();
    assert_eq!(assignments(&dir.path().join("again")), assignments(&dir.path().join("out")));
    let names = |out: &str| batches(&dir.path().join(out))[0].schema().fields().clone();
    assert_eq!(names("split"), names("again"));
}

#[test]
fn what_folders_of_json_are_called_is_a_member() {
    let dir = tempdir().unwrap();
    let hive = dir.path().join("hive");
    let record = |more: &str| format!(r#"{{"prompt": "Tea?", "completion": "Mint tea is good."{more}}}"#);
    write(&hive, "language=fr/year=2024/a.jsonl", record(""));
    write(
        &hive,
        "language=fr/year=2024/b.json",
        format!("[{}]", record(r#", "n": 1, "year": 1, "language": "de""#)),
    );
    write(&hive, "x/c.jsonl", record(""));
    let out = dir.path().join("out");
    bucket(&job(&hive, &out)).unwrap();
    let text = |name: &str| {
        let of = |batch: &RecordBatch| {
            let column = batch.column_by_name(name).unwrap().as_string::<i32>().clone();
            column.iter().map(|text| text.unwrap_or("-").to_owned()).collect::<Vec<_>>()
        };
        batches(&out).iter().flat_map(of).collect::<Vec<_>>()
    };
    assert_eq!(text("language"), ["fr", "de", "en"]);
    assert_eq!(text("extra"), [r#"{"year":"2024"}"#, r#"{"n":1,"year":1}"#, "-"]);
}

#[test]
fn json_that_is_no_records_is_called_what_it_is() {
    let dir = tempdir().unwrap();
    let message = r#"{"role": "user", "content": "Tea?"}"#;
    for (name, content, expected) in [
        (
            "pretty.json",
            "{\n  \"prompt\": \"Tea?\",\n  \"completion\": \"Yes.\"\n}".to_owned(),
            "an object over several lines goes on one: jq -c .",
        ),
        (
            "data.json",
            r#"{"version": [1], "data": [{"ask": "Tea?", "reply": "Yes."}]}"#.to_owned(),
            "the one record has a list `data`: if these are the records, jq -c '.[\"data\"][]'",
        ),
        (
            "lists.jsonl",
            format!("[{message}, {message}]\n[{message}]\n"),
            "each record is a message, not a conversation: put each",
        ),
        ("one.json", format!("[{message}, {message}]"), "each record is a message"),
        ("lists2.jsonl", "[[1]]\n".to_owned(), "a list of messages goes into an object"),
        ("utf16.jsonl", "{\0}\0\n\0".to_owned(), "it looks like UTF-16 text"),
        ("utf16be.jsonl", "\0{\0}\0\n".to_owned(), "it looks like UTF-16 text"),
        ("plain.jsonl", "tea\n".to_owned(), "not a JSON object"),
    ] {
        let input = write(dir.path(), name, content);
        let error = bucket(&job(&input, &dir.path().join("out"))).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(expected), "{error}");
    }
}

#[test]
fn files_of_other_formats_are_called_by_their_name() {
    let dir = tempdir().unwrap();
    for (name, content, message) in [
        ("a.csv", &b"prompt,completion\nQ,A\n"[..], "is CSV, which is not read: convert it"),
        ("a.tsv", b"prompt\tcompletion\nQ\tA\n", "is CSV"),
        ("a.jsonl.bz2", b"BZh91AY&SY", "is packed with bzip2, which is not read: unpack it with bunzip2"),
        ("a.xz", b"\xfd7zXZ\0\0", "is packed with xz"),
        ("a.zip", b"PK\x03\x04\x14\0", "is a ZIP archive"),
        ("a.xlsx", b"PK\x03\x04\x14\0", "is an Excel workbook"),
        ("a.orc", b"ORC\x11", "is ORC"),
        ("a.avro", b"Obj\x01", "is Avro"),
        ("a.feather", b"FEA1", "is Feather of version 1"),
        ("utf16.jsonl", b"\xff\xfe{\0}\0", "is UTF-16 text, which is not read: convert it with iconv"),
    ] {
        let input = write(dir.path(), name, content);
        let error = bucket(&job(&input, &dir.path().join("out"))).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(message), "{error}");
    }
    // What such a file is called does not matter where it is JSON or a table.
    for (name, content) in [("b.csv", lines(0..3).into_bytes()), ("c.db", tea())] {
        let input = write(dir.path(), name, content);
        let out = dir.path().join(name.replace('.', "_"));
        assert_eq!(bucket(&job(&input, &out)).unwrap().rejected, 0);
    }
    let folder = dir.path().join("none");
    write(&folder, "a.csv", "x");
    let error = bucket(&job(&folder, &dir.path().join("out"))).unwrap_err().to_string();
    assert!(error.contains("(1 files passed over, the first a.csv: CSV, which is not read"), "{error}");
}

#[test]
fn frames_of_long_windows_are_read() {
    let dir = tempdir().unwrap();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(30).unwrap();
    std::io::Write::write_all(&mut encoder, lines(0..50).as_bytes()).unwrap();
    let input = write(dir.path(), "a.jsonl.zst", encoder.finish().unwrap());
    let report = bucket(&job(&input, &dir.path().join("out"))).unwrap();
    assert_eq!((report.bucketed, report.rejected), (50, 0));
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_stay_apart_and_printable() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempdir().unwrap();
    let folder = dir.path().join("in");
    std::fs::create_dir(&folder).unwrap();
    for (i, name) in
        [&b"\xff.jsonl"[..], b"\xfe.jsonl", b"\x1b[31m\n.jsonl", "é.jsonl".as_bytes()].iter().enumerate()
    {
        // Some file systems take no such names.
        if std::fs::write(folder.join(OsStr::from_bytes(name)), lines(i..i + 1)).is_err() {
            return;
        }
    }
    let out = dir.path().join("out");
    bucket(&job(&folder, &out)).unwrap();
    let files: Vec<_> = rows(&out).into_iter().map(|row| row.file).collect();
    assert_eq!(files, [r"\x1B[31m\x0A.jsonl", r"\xFE.jsonl", r"\xFF.jsonl", "é.jsonl"]);
    let missing = dir.path().join("\x1bm.jsonl");
    let error = bucket(&job(&missing, &dir.path().join("out2"))).unwrap_err().to_string();
    assert!(error.contains(r"\x1Bm.jsonl") && !error.contains('\x1b'), "{error}");
}
