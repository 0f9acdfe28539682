//! Counts of the real tokenizers on golden and real texts. Without the measuring sticks these tests skip.

use crate::tokens_common::{Pair, REAL, real_tokenizer, shared};
use polyalign::tokens::TokenCounter;
use serde_json::Value;

#[test]
fn golden_counts_are_exact() {
    let Some(shared) = shared() else { return };
    let golden = std::fs::read_to_string(shared.join("golden/token_counts.jsonl")).unwrap();
    for name in REAL {
        let counter = TokenCounter::from_file(&real_tokenizer(name).unwrap()).unwrap();
        let mut scratch = counter.scratch();
        let mut wrong = 0;
        for line in golden.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let text = row["text"].as_str().unwrap();
            let count = counter.count(text, &mut scratch).unwrap();
            if row["tokens"][name] != count {
                wrong += 1;
                eprintln!("{name}: {count} instead of {} for {:.100?}", row["tokens"][name], text);
            }
        }
        assert_eq!(wrong, 0, "{name}");
    }
}

/// Every string of every record: minutes, so only on request.
#[test]
fn corpus_counts_are_exact() {
    let Some(path) = std::env::var_os("POLYALIGN_CORPUS") else {
        eprintln!("skipped: set POLYALIGN_CORPUS to an unpacked interactions.jsonl");
        return;
    };
    let corpus = std::fs::read_to_string(path).unwrap();
    let mut texts = std::collections::BTreeSet::new();
    for line in corpus.lines() {
        collect(&serde_json::from_str(line).unwrap(), &mut texts);
    }
    eprintln!("{} distinct texts, {} bytes", texts.len(), texts.iter().map(String::len).sum::<usize>());
    for name in REAL {
        let json = std::fs::read_to_string(real_tokenizer(name).unwrap()).unwrap();
        let mut pair = Pair::new(&json);
        let mut tokens = 0u64;
        for text in &texts {
            let (expected, found) = pair.counts(text);
            assert_eq!(found, expected, "{name}: {text:?}");
            tokens += found as u64;
        }
        eprintln!("{name}: {tokens} tokens, all exact");
    }
}

fn collect(value: &Value, texts: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::String(s) if !texts.contains(s) => drop(texts.insert(s.clone())),
        Value::Array(items) => items.iter().for_each(|v| collect(v, texts)),
        Value::Object(map) => map.values().for_each(|v| collect(v, texts)),
        _ => {}
    }
}
