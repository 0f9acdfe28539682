//! Counting tokens under small tokenizers of each family: one text again and again, and texts that are all new,
//! with the widest instructions of this processor and with those that any has.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use polyalign::cpu::{Level, at_most};
use polyalign::tokens::TokenCounter;
use std::hint::black_box;

#[path = "../../polyalign-tests/tests/tokens_common/mod.rs"]
mod tokens_common;

const ENGLISH: &str =
    "The picnic was not only moral but inevitable, she said; they drove to the grove on the south shore. ";
const CHINESE: &str = "这次野餐不仅合乎道德，而且不可避免，她说；他们开车去了湖的南岸。";

/// A megabyte of the characters of `text` in an order that does not come again.
fn shuffled(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        chars[(state >> 33) as usize % chars.len()]
    };
    let mut shuffled = String::with_capacity(1 << 20);
    while shuffled.len() < 1_000_000 {
        shuffled.push(next());
    }
    shuffled
}

fn bench(criterion: &mut Criterion) {
    for (name, _, json) in tokens_common::families::families() {
        let counter = TokenCounter::from_json(json.to_string().as_bytes()).expect("a usable tokenizer");
        let mut group = criterion.benchmark_group(format!("tokens/{name}"));
        for (language, text) in [("english", ENGLISH), ("chinese", CHINESE)] {
            for (kind, text) in [("repeated", text.repeat(1_000_000 / text.len())), ("new", shuffled(text))] {
                let mut scratch = counter.scratch();
                group.throughput(Throughput::Bytes(text.len() as u64));
                let mut count = || counter.count(black_box(&text), &mut scratch);
                group.bench_function(format!("{language}, {kind}"), |bencher| bencher.iter(&mut count));
                at_most(Level::Portable, || {
                    let name = format!("{language}, {kind}, any processor");
                    group.bench_function(name, |bencher| bencher.iter(&mut count));
                });
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(2));
    targets = bench
}
criterion_main!(benches);
