//! Records out of Arrow tables: the same as from JSON, whatever the columns' types.

use crate::records_support::{FLAVOURS, Flavour, batch, field_and_array};
use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::*;
use arrow_schema::{DataType, Field, Schema};
use polyalign::records::json::{JsonRecords, JsonScratch};
use polyalign::records::record::{Record, Reject};
use polyalign::records::shape::{FieldSpec, Shape};
use polyalign::records::table::TableRecords;
use serde_json::{Value, json};
use std::sync::Arc;

/// What a reader says of a row, without what only JSON has: offsets and the remaining members.
fn outcome(record: Result<Record<'_>, Reject>) -> String {
    match record {
        Ok(mut record) => {
            record.extra = None;
            let mut unused: Vec<String> =
                record.notes.unused.iter().map(|unused| format!("{unused:?}")).collect();
            unused.sort();
            record.notes.unused = &[];
            format!("{record:?} {unused:?}")
        }
        Err(reject) => format!("{}: {}", reject.kind.name(), reject.reason),
    }
}

fn from_tables(batch: &RecordBatch, spec: &FieldSpec) -> Vec<String> {
    let records = TableRecords::new(&batch.schema(), spec).unwrap();
    let mut outcomes = Vec::new();
    records
        .for_each(batch, &mut |row, record| {
            assert_eq!(row, outcomes.len());
            outcomes.push(outcome(record));
        })
        .unwrap();
    outcomes
}

fn from_json(rows: &[Value], spec: &FieldSpec) -> Vec<String> {
    let records = JsonRecords::new(spec).unwrap();
    let mut scratch = JsonScratch::default();
    rows.iter().map(|row| outcome(records.parse(&row.to_string(), &mut scratch))).collect()
}

/// The rows with every member that any of them has, null where it is missing: as a table has them.
fn filled(rows: &[Value]) -> Vec<Value> {
    let mut all = serde_json::Map::new();
    for name in rows.iter().flat_map(|row| row.as_object().unwrap().keys()) {
        all.insert(name.clone(), Value::Null);
    }
    let fill = |row: &Value| {
        let mut full = all.clone();
        full.extend(row.as_object().unwrap().clone());
        Value::Object(full)
    };
    rows.iter().map(fill).collect()
}

#[track_caller]
fn same_as_json(shape: Shape, rows: &[Value], accepted: usize) {
    let spec = FieldSpec { shape: Some(shape), custom: vec!["meta.score".into()], ..FieldSpec::default() };
    let expected = from_json(&filled(rows), &spec);
    let fine = expected.iter().filter(|outcome| outcome.starts_with("Record")).count();
    assert_eq!(fine, accepted, "{expected:#?}");
    for flavour in FLAVOURS {
        let batch = batch(rows, flavour);
        assert_eq!(from_tables(&batch, &spec), expected, "{flavour:?}");
        for start in 0..rows.len() {
            let sliced = batch.slice(start, rows.len() - start);
            assert_eq!(from_tables(&sliced, &spec), expected[start..], "{flavour:?} from {start}");
        }
        let undecided = FieldSpec { shape: None, ..spec.clone() };
        assert_eq!(from_tables(&batch, &undecided), expected, "{flavour:?}, shape decided");
    }
}

#[test]
fn messages() {
    same_as_json(
        Shape::Messages,
        &[
            json!({"id": "a", "messages": [{"role": "user", "content": "U"}, {"role": "assistant", "content": "A", "name": "x"}]}),
            json!({"id": null, "messages": [{"role": "assistant", "content": "<think>m</think> B"}], "track": "single"}),
            json!({"id": "c", "messages": []}),
            json!({"id": "d", "messages": null}),
            json!({"id": "e", "messages": [{"role": "user", "content": "only"}]}),
            json!({"id": "f", "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": null}]}),
            json!({"id": "g", "messages": [{"role": null, "content": "x"}]}),
            json!({"id": "h", "messages": [null]}),
            json!({"id": "i", "messages": [{"role": "Human", "content": "你好"}, {"role": "gpt", "content": "嗨"}], "track": "both"}),
            json!({"id": "j", "messages": [{"role": "assistant", "content": "Z"}], "language": "zh", "meta": {"score": 1.5}}),
            json!({"id": "k", "messages": [{"role": "assistant", "content": "Z"}], "meta": {"score": 2.0}, "source": "s"}),
        ],
        4,
    );
}

#[test]
fn json_of_any_form_is_read_from_text_that_says_it_is_json() {
    let rows = [
        json!({"messages": [{"role": "user", "content": "Tea \u{1f375}?\n"}, {"role": "assistant", "content": [{"type": "text", "text": "Mint"}]}]}),
        json!({"messages": [{"role": "user", "content": "T"}, {"role": "assistant", "content": "M", "tool_calls": [{"id": 1}]}], "id": 3}),
        json!({"messages": ["x"], "id": "four"}),
        json!({"messages": [["x"], 5]}),
        json!({"messages": [null]}),
    ];
    let spec = FieldSpec { shape: Some(Shape::Messages), ..FieldSpec::default() };
    let expected = from_json(&filled(&rows), &spec);
    assert_eq!(expected.iter().filter(|outcome| outcome.starts_with("Record")).count(), 2, "{expected:#?}");
    assert_eq!(from_tables(&batch(&rows, Flavour::JsonColumns), &spec), expected);

    // What is no JSON is rejected row by row, and named.
    let (field, _) = field_and_array("messages", &[], Flavour::Plain, true);
    let texts = StringArray::from(vec![
        Some(r#"[{"role": "assistant", "content": "A"}]"#),
        Some("[{]"),
        Some(""),
        None,
        Some("null"),
        Some("[] []"),
        Some(r#"[{"role": "assistant", "content": "\ud800"}]"#),
    ]);
    let schema = Arc::new(Schema::new(vec![field]));
    let outcomes = from_tables(&RecordBatch::try_new(schema, vec![Arc::new(texts)]).unwrap(), &spec);
    assert!(outcomes[0].starts_with("Record"), "{}", outcomes[0]);
    for row in [1, 2, 5] {
        assert!(outcomes[row].contains("`messages` is not valid JSON"), "{}", outcomes[row]);
    }
    assert_eq!(outcomes[3], outcomes[4]);
    assert!(outcomes[6].contains("half a character"), "{}", outcomes[6]);
}

#[test]
fn content_parts() {
    same_as_json(
        Shape::Messages,
        &[
            json!({"messages": [{"role": "assistant", "content": [{"type": "text", "text": "one", "url": null}, {"type": "text", "text": " two"}]}]}),
            json!({"messages": [{"role": "assistant", "content": [{"type": "image", "text": null, "url": "u"}]}]}),
            json!({"messages": [{"role": "assistant", "content": [{"type": "text", "text": null}]}]}),
            json!({"messages": [{"role": "user", "content": []}, {"role": "assistant", "content": [{"type": "text", "text": "A"}]}]}),
        ],
        2,
    );
}

#[test]
fn the_other_shapes() {
    same_as_json(
        Shape::PromptCompletion,
        &[
            json!({"prompt": "P", "completion": "C", "id": 7}),
            json!({"prompt": null, "completion": "C", "id": -1}),
            json!({"prompt": "P", "completion": null}),
            json!({"prompt": "P", "completion": " "}),
        ],
        2,
    );
    same_as_json(
        Shape::PromptCompletion,
        &[
            json!({"prompt": [{"role": "user", "content": "P"}], "completion": [{"role": "assistant", "content": "C"}]}),
        ],
        1,
    );
    same_as_json(
        Shape::ShareGpt,
        &[
            json!({"conversations": [{"from": "human", "value": "U"}, {"from": "gpt", "value": "A"}]}),
            json!({"conversations": [{"from": "human", "value": "U"}, {"from": "gpt", "value": "A"}, {"from": "human", "value": "V"}]}),
        ],
        2,
    );
    same_as_json(
        Shape::Alpaca,
        &[
            json!({"instruction": "I", "input": "", "output": "O", "history": [["a", "b"], ["c", "d"]]}),
            json!({"instruction": "I", "input": "X", "output": "O", "history": null}),
            json!({"instruction": "I", "input": "X", "output": "O", "history": [["a"]]}),
            json!({"instruction": "I", "input": "X", "output": "O", "history": [["a", null]]}),
        ],
        2,
    );
    same_as_json(
        Shape::PolyAlign,
        &[
            json!({"question": "Q", "context": "C", "dialogue_history": [{"role": "user", "text": "u"}], "human_answer": "H", "family": "qa"}),
            json!({"question": null, "context": "C", "dialogue_history": [], "human_answer": "H", "group": "g"}),
            json!({"question": "Q", "context": null, "dialogue_history": null, "human_answer": ""}),
        ],
        2,
    );
    same_as_json(
        Shape::Preference,
        &[
            json!({"prompt": "P", "chosen": "C", "rejected": "R"}),
            json!({"prompt": "P", "chosen": "C", "rejected": null}),
            json!({"prompt": "P", "chosen": null, "rejected": "R"}),
        ],
        1,
    );
    let m = |role: &str, content: &str| json!({"role": role, "content": content});
    same_as_json(
        Shape::Preference,
        &[
            json!({"chosen": [m("user", "P"), m("assistant", "C")], "rejected": [m("user", "P"), m("assistant", "R")]}),
        ],
        1,
    );
}

#[test]
fn text_is_borrowed_from_the_columns() {
    let long = "x".repeat(100);
    let batch = batch(&[json!({"prompt": long, "completion": long})], Flavour::Plain);
    let records = TableRecords::new(&batch.schema(), &FieldSpec::default()).unwrap();
    let values = batch.column_by_name("prompt").unwrap().as_string::<i32>().value(0);
    let mut seen = 0;
    let check = &mut |_, record: Result<Record<'_>, Reject>| {
        seen += usize::from(record.unwrap().prompt[0].content.as_ptr() == values.as_ptr());
    };
    records.for_each(&batch, check).unwrap();
    assert_eq!(seen, 1);
    assert_eq!(records.shape(), Some(Shape::PromptCompletion));
}

#[test]
fn labels_of_every_type() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("prompt", Arc::new(StringArray::from(vec!["P"; 2]))),
        ("completion", Arc::new(StringArray::from(vec!["C"; 2]))),
        ("id", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]))),
        ("group", Arc::new(Int8Array::from(vec![-5, 6]))),
        ("source", Arc::new(Date32Array::from(vec![1, 2]))),
        ("a", Arc::new(Float32Array::from(vec![0.1, f32::NAN]))),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("c", Arc::new(DictionaryArray::<UInt64Type>::from_iter(["x", "y"]))),
        ("d", Arc::new(NullArray::new(2))),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
    let custom = ["a", "b", "c", "d", "none"].map(str::to_owned).to_vec();
    let spec = FieldSpec { custom, ..FieldSpec::default() };
    let records = TableRecords::new(&batch.schema(), &spec).unwrap();
    let mut rows = Vec::new();
    records
        .for_each(&batch, &mut |_, record| {
            let record = record.unwrap();
            let owned = |text: Option<&str>| text.unwrap_or("-").to_owned();
            let mut row = vec![owned(record.id), owned(record.group), owned(record.source)];
            row.extend(record.custom.iter().map(|text| owned(*text)));
            rows.push(row.join(" "));
        })
        .unwrap();
    assert_eq!(rows, ["18446744073709551615 -5 - 0.1 true x - -", "- 6 - NaN - y - -"]);
}

#[test]
fn columns_of_the_wrong_type_are_named_with_it() {
    let error = |fields: Vec<(&str, DataType)>, spec: &FieldSpec| {
        let fields: Vec<Field> =
            fields.into_iter().map(|(name, kind)| Field::new(name, kind, true)).collect();
        TableRecords::new(&Schema::new(fields), spec).expect_err("a usable schema").to_string()
    };
    let text = || DataType::Utf8;
    let free = FieldSpec::default();
    assert_eq!(
        error(vec![("messages", DataType::Int64)], &free),
        "the column `messages` has type Int64, expected lists: cast or rename it"
    );
    let binary = error(vec![("prompt", text()), ("completion", DataType::Binary)], &free);
    assert!(binary.contains("`completion` has type Binary, expected text or lists"), "{binary}");
    let track = error(vec![("prompt", text()), ("completion", text()), ("track", DataType::Int8)], &free);
    assert!(track.contains("`track` has type Int8, expected text:"), "{track}");
    let id = error(vec![("prompt", text()), ("completion", text()), ("id", DataType::Float64)], &free);
    assert!(id.contains("`id` has type Float64, expected text or integers"), "{id}");
    let spec = FieldSpec { source: Some("s".into()), ..free.clone() };
    let source = error(vec![("prompt", text()), ("completion", text()), ("s", DataType::Date32)], &spec);
    assert!(source.contains("`s` has type Date32"), "{source}");
    let twice = error(vec![("prompt", text()), ("completion", text()), ("prompt", text())], &free);
    assert!(twice.contains("the column `prompt` is there twice"), "{twice}");
    let unknown = error(vec![("text", text())], &free);
    assert!(unknown.contains("(fields seen: text)"), "{unknown}");
    // Columns that nobody reads may be anything.
    let fields =
        [("prompt", text()), ("completion", text()), ("x", DataType::Binary), ("x", DataType::Date32)];
    let fields: Vec<Field> = fields.into_iter().map(|(name, kind)| Field::new(name, kind, true)).collect();
    assert!(TableRecords::new(&Schema::new(fields), &free).is_ok());
}

#[test]
fn a_batch_of_another_schema_is_refused() {
    let one = batch(&[json!({"prompt": "P", "completion": "C"})], Flavour::Plain);
    let other = batch(&[json!({"completion": "C", "prompt": "P"})], Flavour::Plain);
    let records = TableRecords::new(&one.schema(), &FieldSpec::default()).unwrap();
    let error = records.for_each(&other, &mut |_, _| panic!("no row should come")).unwrap_err();
    assert!(error.to_string().contains("a batch without the column"), "{error}");
}
