//! Parquet, Arrow and `datasets` folders: the same buckets as JSONL, and their own columns beside ours.

use crate::bucketing_support::*;
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, Int64Array, ListArray, RecordBatch, StringArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{DataType, Field, Fields};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use polyalign::jobs::bucket::Job;
use std::path::Path;
use std::sync::Arc;
use tempfile::tempdir;

const N: usize = 5000;

/// The records of the JSONL corpus as a table.
fn table(range: std::ops::Range<usize>) -> RecordBatch {
    let records: Vec<serde_json::Value> = range.map(|i| serde_json::from_str(&record(i)).unwrap()).collect();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let messages = |key: &str| -> ArrayRef {
        let all = records.iter().flat_map(|r| r["messages"].as_array().unwrap());
        Arc::new(StringArray::from(all.map(|m| text(&m[key])).collect::<Vec<_>>()))
    };
    let fields = Fields::from(vec![
        Field::new("role", DataType::Utf8, true),
        Field::new("content", DataType::Utf8, true),
    ]);
    let items = StructArray::new(fields.clone(), vec![messages("role"), messages("content")], None);
    let item = Arc::new(Field::new("item", DataType::Struct(fields), true));
    let list =
        ListArray::new(item, OffsetBuffer::from_lengths(records.iter().map(|_| 2)), Arc::new(items), None);
    let column = |key: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(records.iter().map(|r| text(&r[key]))))
    };
    let notes = Int64Array::from_iter_values(records.iter().map(|r| r["note"]["n"].as_i64().unwrap()));
    RecordBatch::try_from_iter(vec![
        ("id", column("id")),
        ("messages", Arc::new(list) as ArrayRef),
        ("language", column("language")),
        ("note", Arc::new(notes)),
    ])
    .unwrap()
}

fn parquet(batches: &[RecordBatch], group_rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batches[0].schema(), Some(properties)).unwrap();
    batches.iter().for_each(|b| writer.write(b).unwrap());
    writer.into_inner().unwrap()
}

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|b| writer.write(b).unwrap());
    writer.into_inner().unwrap()
}

fn file(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = FileWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|b| writer.write(b).unwrap());
    writer.into_inner().unwrap()
}

/// A folder as `Dataset.save_to_disk` leaves it.
fn dataset(folder: &Path, batches: &[RecordBatch]) {
    for (i, batch) in batches.iter().enumerate() {
        write(
            folder,
            &format!("data-{i:05}-of-{:05}.arrow", batches.len()),
            stream(std::slice::from_ref(batch)),
        );
    }
    let names: Vec<String> = (0..batches.len())
        .map(|i| format!(r#"{{"filename": "data-{i:05}-of-{:05}.arrow"}}"#, batches.len()))
        .collect();
    write(
        folder,
        "state.json",
        format!(r#"{{"_data_files": [{}], "_indices_files": null}}"#, names.join(",")),
    );
    write(folder, "dataset_info.json", r#"{"features": {}}"#);
    write(folder, "cache-1234.arrow", "not part of it");
}

#[test]
fn all_tables_agree_with_jsonl() {
    let dir = tempdir().unwrap();
    let out = dir.path().join("expected");
    bucket(&job(&write(dir.path(), "in.jsonl", lines(0..N)), &out)).unwrap();
    let expected = assignments(&out);
    let halves = [table(0..N / 2), table(N / 2..N)];
    let input = |name: &str| dir.path().join("in").join(name);
    let small: Vec<_> = (0..N).step_by(100).map(|start| table(start..start + 100)).collect();
    write(&input("parquet"), "a.parquet", parquet(&halves, 100));
    write(&input("file"), "a.arrow", file(&small));
    write(&input("stream"), "a.arrow", stream(&small));
    write(&input("two"), "1.parquet", parquet(&halves[..1], 100));
    write(&input("two"), "2.arrow", stream(&halves[1..]));
    dataset(&input("dataset"), &small);
    dataset(&input("dict/train"), &small[..20]);
    dataset(&input("dict/validation"), &small[20..]);
    write(&input("dict"), "dataset_dict.json", r#"{"splits": ["train", "validation"]}"#);
    for name in ["parquet", "file", "stream", "two", "dataset", "dict"] {
        let out = dir.path().join("out").join(name);
        let mut job = job(&input(name), &out);
        job.chunk_bytes = 50_000;
        let report = bucket(&job).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(report.rejected, 0, "{name}");
        assert!(report.shards > 1, "{name}");
        assert_eq!(assignments(&out), expected, "{name}");
        let batch = &batches(&out)[0];
        let schema = batch.schema();
        let columns: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(
            columns[columns.len() - 6..],
            ["prompt", "completion", "source_id", "messages", "source_language", "note"]
        );

        // Interrupted or with other threads: the same bytes.
        job.output = Some(dir.path().join("again").join(name));
        job.threads = 5;
        interrupt_after(&job, 100);
        bucket(&job).unwrap();
        assert!(tree(job.output.as_ref().unwrap()) == tree(&out), "{name}");
    }
}

#[test]
fn our_own_output_is_bucketed_again_in_place() {
    let dir = tempdir().unwrap();
    let first = dir.path().join("first");
    bucket(&job(&write(dir.path(), "in.jsonl", lines(0..200)), &first)).unwrap();
    let second = dir.path().join("second");
    bucket(&job(&first.join("data"), &second)).unwrap();
    assert_eq!(batches(&first)[0].schema().fields(), batches(&second)[0].schema().fields());
    assert_eq!(assignments(&first), assignments(&second));
    for column in ["prompt", "completion", "extra", "bucket", "language", "group"] {
        assert_eq!(
            batches(&first)[0].column_by_name(column),
            batches(&second)[0].column_by_name(column),
            "{column}"
        );
    }
}

#[test]
fn rows_that_cannot_be_used_are_left_out_of_their_own_columns() {
    let dir = tempdir().unwrap();
    let batch = table(0..10);
    let mut languages: Vec<Option<&str>> = vec![Some("en"); 10];
    languages[3] = Some("xx-none");
    let columns: Vec<ArrayRef> = vec![
        batch.column(0).clone(),
        batch.column(1).clone(),
        Arc::new(StringArray::from(languages)),
        batch.column(3).clone(),
    ];
    let batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
    let out = dir.path().join("out");
    let report = bucket(&job(&write(dir.path(), "in.parquet", parquet(&[batch], 4)), &out)).unwrap();
    assert_conserved(&report, &out);
    let reject = &rejects(&out)[0];
    assert_eq!((report.rejected, reject["row"].as_i64(), reject.get("line")), (1, Some(3), None));
    let notes = batches(&out)[0].column_by_name("note").unwrap().clone();
    assert_eq!(notes.as_primitive::<arrow_array::types::Int64Type>().values(), &[0, 1, 2, 4, 5, 6, 7, 8, 9]);
}

/// A table of one row a text, with these columns besides.
fn chat(answers: &[&str], more: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let texts: ArrayRef = Arc::new(StringArray::from(answers.to_vec()));
    let prompts: ArrayRef = Arc::new(StringArray::from(vec!["What is a good tea?"; answers.len()]));
    let columns = [("prompt", prompts), ("completion", texts)].into_iter().chain(more);
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn as_type(column: ArrayRef, to: &DataType) -> ArrayRef {
    arrow_cast::cast(&column, to).unwrap()
}

/// A column of an output, as text, null as `-`.
fn shown(out: &Path, name: &str) -> Vec<String> {
    let options = arrow_cast::display::FormatOptions::default().with_null("-");
    let of = |batch: &RecordBatch| {
        let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no {name}")).clone();
        let texts = arrow_cast::display::ArrayFormatter::try_new(&column, &options).unwrap();
        (0..column.len()).map(|row| texts.value(row).to_string()).collect::<Vec<_>>()
    };
    batches(out).iter().flat_map(of).collect()
}

#[test]
fn shards_whose_columns_differ_in_what_does_not_matter_are_one_table() {
    let dir = tempdir().unwrap();
    let text = |texts: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
    let first = chat(
        &["Mint tea is good.", "Green tea is good."],
        vec![
            ("source", text(vec![Some("a"), None])),
            ("n", Arc::new(arrow_array::Int32Array::from(vec![1, 2]))),
            ("list", {
                let item = Arc::new(Field::new("item", DataType::Utf8, true));
                let offsets = OffsetBuffer::from_lengths([1, 0]);
                Arc::new(ListArray::new(item, offsets, text(vec![Some("x")]), None))
            }),
            ("meta", {
                let fields = Fields::from(vec![Field::new("a", DataType::Utf8, true)]);
                Arc::new(StructArray::new(fields, vec![text(vec![Some("p"), None])], None))
            }),
        ],
    );
    let write_both = |name: &str, second: RecordBatch| {
        let input = dir.path().join(name);
        write(&input, "a.parquet", parquet(std::slice::from_ref(&first), 10));
        write(&input, "b.arrow", stream(&[second]));
        let out = dir.path().join(format!("{name}.out"));
        let report = bucket(&job(&input, &out)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((report.bucketed, report.rejected), (3, 0), "{name}: {:?}", rejects(&out));
        out
    };
    let one = chat(&["Black tea is good."], vec![]);
    let with = |more| chat(&["Black tea is good."], more);

    let out = write_both("missing", one.clone());
    assert_eq!(shown(&out, "source"), ["a", "-", "-"]);
    assert_eq!(shown(&out, "list"), ["[x]", "[]", "-"]);
    let out = write_both("null", with(vec![("source", Arc::new(arrow_array::NullArray::new(1)))]));
    assert_eq!(shown(&out, "source"), ["a", "-", "-"]);
    let out = write_both(
        "order",
        with(vec![("n", Arc::new(Int64Array::from(vec![1 << 40])))]).project(&[2, 1, 0]).unwrap(),
    );
    assert_eq!(shown(&out, "n"), ["1", "2", "1099511627776"]);
    let out = write_both("more", with(vec![("z", text(vec![Some("z")]))]));
    assert_eq!(shown(&out, "z"), ["-", "-", "z"]);
    let dictionary = DataType::Dictionary(DataType::Int8.into(), DataType::Utf8.into());
    for (name, to) in
        [("large", DataType::LargeUtf8), ("view", DataType::Utf8View), ("dictionary", dictionary)]
    {
        let columns = with(vec![("source", text(vec![Some("b")]))]);
        let columns = columns.columns().iter().map(|column| as_type(column.clone(), &to));
        let named = ["prompt", "completion", "source"].into_iter().zip(columns);
        let out = write_both(name, RecordBatch::try_from_iter(named).unwrap());
        assert_eq!(shown(&out, "source"), ["a", "-", "b"], "{name}");
        assert_eq!(shown(&out, "completion").len(), 3);
    }
    let item = Arc::new(Field::new("element", DataType::LargeUtf8, false));
    for (name, to) in [
        ("large_list", DataType::LargeList(item.clone())),
        ("list_view", DataType::ListView(item.clone())),
        ("fixed", DataType::FixedSizeList(item.clone(), 2)),
    ] {
        let values = as_type(text(vec![Some("y"), Some("z")]), &DataType::LargeUtf8);
        let list: ArrayRef =
            Arc::new(ListArray::new(item.clone(), OffsetBuffer::from_lengths([2]), values, None));
        let out = write_both(name, with(vec![("list", as_type(list, &to))]));
        assert_eq!(shown(&out, "list"), ["[x]", "[]", "[y, z]"], "{name}");
    }
    let fields = Fields::from(vec![
        Field::new("b", DataType::Int64, false),
        Field::new("a", DataType::LargeUtf8, false),
    ]);
    let columns = vec![
        Arc::new(Int64Array::from(vec![5])) as ArrayRef,
        as_type(text(vec![Some("q")]), &DataType::LargeUtf8),
    ];
    let out = write_both("struct", with(vec![("meta", Arc::new(StructArray::new(fields, columns, None)))]));
    assert_eq!(shown(&out, "meta"), ["{a: p, b: -}", "{a: -, b: -}", "{a: q, b: 5}"]);
}

#[test]
fn columns_that_parquet_does_not_have() {
    let dir = tempdir().unwrap();
    let stored = |name: &str, column: ArrayRef| {
        let input = write(
            dir.path(),
            &format!("{name}.arrow"),
            file(&[chat(&["Mint tea is good."], vec![("meta", column)])]),
        );
        let out = dir.path().join(name);
        let report = bucket(&job(&input, &out));
        (report, out)
    };
    // Structs without members become JSON, also within others; dictionaries of lists lists.
    let empty: ArrayRef = Arc::new(StructArray::new_empty_fields(1, None));
    let (report, out) = stored("empty", empty.clone());
    assert_eq!(report.unwrap().bucketed, 1);
    assert_eq!(shown(&out, "meta"), ["{}"]);
    assert_eq!(
        batches(&out)[0].schema().field_with_name("meta").unwrap().metadata()["ARROW:extension:name"],
        "arrow.json"
    );
    let fields = vec![Arc::new(Field::new("in", empty.data_type().clone(), true))];
    let (report, out) = stored("nested", Arc::new(StructArray::new(fields.into(), vec![empty], None)));
    assert_eq!(report.unwrap().bucketed, 1);
    assert_eq!(shown(&out, "meta"), ["{in: {}}"]);
    let item = Arc::new(Field::new("item", DataType::Int64, true));
    let lists =
        ListArray::new(item, OffsetBuffer::from_lengths([2]), Arc::new(Int64Array::from(vec![1, 2])), None);
    let keys = arrow_array::Int32Array::from(vec![0]);
    let lists = arrow_array::DictionaryArray::new(keys, Arc::new(lists) as ArrayRef);
    let (report, out) = stored("lists", Arc::new(lists));
    assert_eq!(report.unwrap().bucketed, 1);
    assert_eq!(shown(&out, "meta"), ["[1, 2]"]);

    // What can't be written is named before work starts, and only then.
    let fields = [(0, Arc::new(Field::new("a", DataType::Int64, true)))].into_iter().collect();
    let union: ArrayRef = Arc::new(
        arrow_array::UnionArray::try_new(
            fields,
            vec![0].into(),
            None,
            vec![Arc::new(Int64Array::from(vec![1]))],
        )
        .unwrap(),
    );
    let item = Arc::new(Field::new("item", union.data_type().clone(), true));
    let unions: ArrayRef =
        Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([1]), union.clone(), None));
    let span = arrow_buffer::IntervalMonthDayNano::new(1, 2, 3);
    let interval: ArrayRef = Arc::new(arrow_array::IntervalMonthDayNanoArray::from(vec![span]));
    for (name, column) in [("union", union), ("unions", unions), ("interval", interval)] {
        let (report, out) = stored(name, column);
        let error = report.unwrap_err().to_string();
        assert!(error.contains("the column `meta` can't be stored as Parquet"), "{error}");
        assert!(error.contains("--assignments-only"), "{error}");
        let input = dir.path().join(format!("{name}.arrow"));
        let bare = Job { assignments_only: true, ..job(&input, &out) };
        assert_eq!(bucket(&bare).unwrap().bucketed, 1, "{name}");
    }
}

#[test]
fn columns_that_trainers_take_for_their_own_get_other_names() {
    let dir = tempdir().unwrap();
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let names = ["labels", "input_ids", "images", "label", "source_labels"];
    let more = names.iter().map(|name| (*name, text.clone())).collect();
    let input = write(dir.path(), "a.parquet", parquet(&[chat(&["Mint tea is good."], more)], 10));
    let out = dir.path().join("out");
    bucket(&job(&input, &out)).unwrap();
    let schema = batches(&out)[0].schema();
    let own: Vec<&str> = schema.fields().iter().rev().take(5).map(|field| field.name().as_str()).collect();
    assert_eq!(own, ["source_labels", "label", "source_images", "source_input_ids", "source_source_labels"]);
}

#[test]
fn inputs_that_do_not_go_together() {
    let dir = tempdir().unwrap();
    let input = dir.path().join("in");
    write(&input, "a.parquet", parquet(&[table(0..5)], 10));
    write(&input, "b.jsonl", lines(0..5));
    let out = dir.path().join("out");
    let error = bucket(&job(&input, &out)).unwrap_err().to_string();
    assert!(error.contains("a.parquet") && error.contains("b.jsonl"), "{error}");
    std::fs::remove_file(input.join("b.jsonl")).unwrap();
    write(&input, "c.parquet", parquet(&[table(0..5).project(&[0, 2, 3]).unwrap()], 10));
    let error = bucket(&job(&input, &out)).unwrap_err().to_string();
    assert!(error.contains("different columns") && error.contains("only id, language, note"), "{error}");
    let notes: ArrayRef = Arc::new(StringArray::from(vec!["a"; 5]));
    let mut columns = table(0..5).columns().to_vec();
    columns[3] = notes;
    let named = ["id", "messages", "language", "note"].into_iter().zip(columns);
    write(&input, "c.parquet", parquet(&[RecordBatch::try_from_iter(named).unwrap()], 10));
    let error = bucket(&job(&input, &out)).unwrap_err().to_string();
    assert!(error.contains("`note` is Int64 in one, Utf8 in the other"), "{error}");
    assert!(!out.exists() && !dir.path().join("out.partial").exists());
}

#[test]
fn damaged_tables_are_one_entry_each() {
    let dir = tempdir().unwrap();
    let input = dir.path().join("in");
    let good = parquet(&[table(0..300)], 100);
    write(&input, "1-good.parquet", &good);
    write(&input, "2-cut.parquet", &good[..good.len() / 2]);
    write(&input, "3-text.parquet", "this is no table");
    let mut damaged = good.clone();
    let middle = good.len() / 2;
    damaged[middle..middle + 300].fill(0xee);
    write(&input, "4-damaged.parquet", damaged);
    let streamed = stream(&[table(0..100), table(100..200)]);
    write(&input, "5-cut.arrow", &streamed[..streamed.len() * 3 / 4]);
    write(&input, "6-empty.parquet", "");
    let out = dir.path().join("out");
    let report = bucket(&job(&input, &out)).unwrap();
    assert_conserved(&report, &out);
    let files: Vec<_> = report.unreadable.iter().map(|u| u.file.as_str()).collect();
    assert_eq!(files, ["2-cut.parquet", "3-text.parquet", "4-damaged.parquet", "5-cut.arrow"]);
    assert!(report.bucketed >= 400, "{}", report.bucketed);
}
