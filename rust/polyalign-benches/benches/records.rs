//! Reading records of about 1 KB from JSON, beside validating UTF-8 alone and serde_json.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use polyalign::records::json::{JsonRecords, JsonScratch};
use polyalign::records::shape::{FieldSpec, Shape};
use std::hint::black_box;

const ENGLISH: &str =
    "The picnic was not only moral but inevitable, she said; they drove to the grove on the south shore. ";
const CHINESE: &str = "这次野餐不仅合乎道德,而且不可避免,她说;他们开车去了湖的南岸。";

/// `messages` records of four turns.
fn corpus(text: &str, line_break: &str) -> String {
    let mut lines = String::new();
    for row in 0..4000 {
        let turn = |repeats: usize| format!("{}{line_break}{row}", text.repeat(repeats));
        lines += &format!(
            r#"{{"id": "row-{row}", "language": "xx", "family": "dialogue", "messages": [{{"role": "user", "content": "{}"}}, {{"role": "assistant", "content": "{}"}}, {{"role": "user", "content": "{}"}}, {{"role": "assistant", "content": "{}"}}], "meta": {{"licence": "none", "score": 0.5}}}}"#,
            turn(2),
            turn(1),
            turn(3),
            turn(2)
        );
        lines.push('\n');
    }
    lines
}

fn read(records: &JsonRecords, scratch: &mut JsonScratch, lines: &str) -> usize {
    let read = |line| records.parse(line, scratch).map_or(0, |record| record.response.content.len());
    lines.lines().map(read).sum()
}

fn bench(criterion: &mut Criterion) {
    for (name, lines) in [
        ("english", corpus(ENGLISH, ", ")),
        ("english with escapes", corpus(&ENGLISH.replace("; ", ";\\n\\\""), "\\n")),
        ("chinese", corpus(CHINESE, ",")),
    ] {
        let mut group = criterion.benchmark_group(format!("records/{name}"));
        group.throughput(Throughput::Bytes(lines.len() as u64)).sample_size(20);
        group.bench_function("utf8 alone", |b| {
            b.iter(|| simdutf8::basic::from_utf8(lines.as_bytes()).is_ok())
        });
        for (what, keep_extra) in [("parse", false), ("parse, extra kept", true)] {
            let spec = FieldSpec { shape: Some(Shape::Messages), keep_extra, ..FieldSpec::default() };
            let records = JsonRecords::new(&spec).expect("a usable spec");
            let mut scratch = JsonScratch::default();
            group.bench_function(what, |b| b.iter(|| read(&records, &mut scratch, black_box(&lines))));
        }
        group.bench_function("serde_json::Value", |b| {
            b.iter(|| {
                let value = |line| serde_json::from_str::<serde_json::Value>(line).is_ok();
                black_box(&lines).lines().filter(|line| value(line)).count()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
