//! Rules of token counting: added tokens, normalisers, refusals, hostile files, hashes, long texts.

use crate::tokens_common::{
    Pair, REAL, added, bpe, byte_level_step, cases, learn_merges, precompiled, real_tokenizer, splits,
    tokenizer,
};
use polyalign::Error;
use polyalign::tokens::{Engine, TokenCounter};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::sync::Arc;

const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

fn small() -> Value {
    let text = "the cat sat on the mat, 你好你好世界 and then the other cat sat <tag> é ".repeat(3);
    tokenizer(bpe(&learn_merges(&text, 120)), splits(&[QWEN2]))
}

fn load_error(json: &[u8]) -> String {
    match TokenCounter::from_json(json) {
        Err(Error::Tokenizer(what)) => what,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("loaded"),
    }
}

/// Every combination of the flags of two added tokens, one of which begins like the other.
#[test]
fn added_tokens_with_every_flag() {
    let names = ["single_word", "lstrip", "rstrip", "normalized", "special"];
    let parts = [
        "<tag>", "<tag>x", "é", "e\u{301}", " ", "  ", "\n", "\u{3000}", "a", "ba", "_", "9", "你", "<",
        "tag>", "!", "cat",
    ];
    let mut runner =
        TestRunner::new(Config { cases: cases(40), failure_persistence: None, ..Config::default() });
    let texts = proptest::collection::vec(
        proptest::collection::vec(proptest::sample::select(parts.to_vec()), 0..12),
        4,
    );
    for nfc in [false, true] {
        for flags in 0..32usize {
            let flags: Vec<&str> = (0..5).filter(|i| flags >> i & 1 == 1).map(|i| names[i]).collect();
            let flags = flags.join(" ");
            let mut json = small();
            json["added_tokens"] = json!([
                added(900, "<tag>", &flags),
                added(901, "<tag>x", "normalized"),
                added(902, "é", &flags),
                added(903, "cat", &flags),
            ]);
            if nfc {
                json["normalizer"] = json!({"type": "NFC"});
            }
            let pair = std::cell::RefCell::new(Pair::fast(&json, "qwen2"));
            runner
                .run(&texts, |texts| {
                    for text in texts {
                        let text = text.concat();
                        let (expected, found) = pair.borrow_mut().counts(&text);
                        prop_assert_eq!(found, expected, "{:?} {:?}", text, flags);
                    }
                    Ok(())
                })
                .unwrap();
        }
    }
}

#[test]
fn truncation_and_padding_are_off() {
    let mut json = small();
    json["truncation"] =
        json!({"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"});
    json["padding"] = json!({"strategy": {"Fixed": 50}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "a"});
    for normalizer in [Value::Null, json!({"type": "StripAccents"})] {
        json["normalizer"] = normalizer;
        let mut pair = Pair::new(&json.to_string());
        pair.check("the cat sat on the mat and then the other cat sat");
        pair.check("the");
    }
}

#[test]
fn dropout_is_refused_and_zero_is_not() {
    let mut json = small();
    json["model"]["dropout"] = json!(0.1);
    assert!(load_error(json.to_string().as_bytes()).contains("dropout of 0.1"));
    json["model"]["dropout"] = json!(0.0);
    Pair::fast(&json, "qwen2").check("the cat sat");
}

#[test]
fn other_tokenizers_go_through_the_crate() {
    let vocab = json!({"[UNK]": 0, "the": 1, "cat": 2, "##s": 3, "sat": 4});
    let word_piece = json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100, "vocab": vocab});
    let unigram = json!({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["▁the", -1.0], ["▁cat", -2.0], ["s", -3.0]],
        "byte_fallback": false});
    let word_level = json!({"type": "WordLevel", "unk_token": "[UNK]", "vocab": vocab});
    let blanks = json!({"type": "Whitespace"});
    let mut accents = small();
    accents["normalizer"] = json!({"type": "StripAccents"});
    let mut twice = small();
    twice["post_processor"] = json!({"type": "TemplateProcessing", "special_tokens": {},
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}]});
    let cases = [
        (tokenizer(word_piece, blanks.clone()), "model WordPiece"),
        (
            tokenizer(
                unigram,
                json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": false}),
            ),
            "model Unigram",
        ),
        (tokenizer(word_level, blanks), "model WordLevel"),
        (accents, "normalizer StripAccents"),
        (twice, "a template that does not hold the text once"),
        (
            tokenizer(small()["model"].clone(), splits(&[r"\w++\W|\W|\w"])),
            "pre-tokenizer Split + ByteLevel: a possessive pattern",
        ),
        (tokenizer(small()["model"].clone(), Value::Null), "no pre-tokenizer"),
    ];
    for (json, why) in cases {
        let mut pair = Pair::new(&json.to_string());
        assert_eq!(pair.counter.engine(), &Engine::Tokenizers { reason: why.into() });
        for text in ["", "the cats sat", "The CAT zz 你好 é", "  the\n"] {
            pair.check(text);
        }
    }
}

/// A byte without a token, where the unknown token has none either: then a text with that byte is an error.
#[test]
fn an_unknown_token_that_is_unknown_is_an_error_of_the_text() {
    let mut json = small();
    json["model"]["vocab"].as_object_mut().unwrap().shift_remove("z");
    json["model"]["unk_token"] = json!("[UNK]");
    let counter = TokenCounter::from_json(json.to_string().as_bytes()).unwrap();
    let reason = "no token for the byte 0x7a, nor the unknown token \"[UNK]\"";
    assert_eq!(counter.engine(), &Engine::Tokenizers { reason: reason.into() });
    let mut scratch = counter.scratch();
    assert!(counter.count("the cat", &mut scratch).is_ok());
    assert!(counter.count("the zoo", &mut scratch).unwrap_err().to_string().contains("[UNK]"));
}

/// `tokenizers` finds it everywhere, and takes memory until there is none.
#[test]
fn an_added_token_that_is_normalised_to_nothing_is_refused() {
    let strip = json!({"type": "Strip", "strip_left": true, "strip_right": true});
    for (normalizer, content) in [(strip, " "), (precompiled(), "\u{ad}")] {
        let mut json = small();
        json["normalizer"] = normalizer;
        json["added_tokens"] = json!([added(900, content, "normalized")]);
        let error = load_error(json.to_string().as_bytes());
        assert!(error.contains("leaves nothing of the added token"), "{error}");
        json["added_tokens"] = json!([added(900, content, "")]);
        Pair::new(&json.to_string()).check(&format!("the{content}cat"));
    }
}

#[test]
fn hostile_files_are_errors() {
    let good = small();
    let change = |f: &dyn Fn(&mut Value)| {
        let mut json = good.clone();
        f(&mut json);
        json.to_string()
    };
    let files = [
        String::new(),
        "{".into(),
        "[]".into(),
        "null".into(),
        "{}".into(),
        "[".repeat(100_000),
        format!("{{\"model\":{}", "{\"a\":".repeat(100_000)),
        change(&|j| drop(j.as_object_mut().unwrap().remove("model"))),
        change(&|j| j["model"]["vocab"] = json!({"a": -1})),
        change(&|j| j["model"]["vocab"] = json!({"a": 1.5})),
        change(&|j| j["model"]["merges"] = json!(["a b c"])),
        change(&|j| j["model"]["merges"] = json!(["ab"])),
        change(&|j| j["model"]["merges"] = json!([["a"]])),
        change(&|j| j["model"]["merges"] = json!([["a", "b", "c"]])),
        change(&|j| j["model"]["merges"] = json!([["q", "nowhere"]])),
        change(&|j| j["model"]["merges"] = json!(["t h", ["a", "b"]])),
        change(&|j| j["model"]["merges"] = json!(7)),
        change(&|j| j["model"]["dropout"] = json!("much")),
        change(&|j| j["model"]["type"] = json!("None")),
        change(&|j| {
            j["pre_tokenizer"] =
                json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false})
        }),
        change(&|j| j["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"})),
        change(&|j| j["added_tokens"] = json!([{"id": 1}])),
        change(&|j| j["version"] = json!("9.9")),
    ];
    for file in files {
        let what = TokenCounter::from_json(file.as_bytes()).err().map(|e| e.to_string());
        let what = what.unwrap_or_else(|| panic!("loaded: {file:.200}"));
        assert!(what.starts_with("tokenizer: ") && !what.contains('\n'), "{what}");
    }
    assert!(load_error(b"\xff{}").contains("tokenizer.json"));
}

#[test]
fn a_missing_file_is_named() {
    let error = TokenCounter::from_file("nowhere/tokenizer.json".as_ref()).err().unwrap();
    assert!(matches!(&error, Error::Io { .. }) && error.to_string().contains("nowhere"));
}

/// A file, what `Tokenizer.to_str()` makes of it, and merges in the old form have one hash.
#[test]
fn the_hash_survives_serialising() {
    let json = small();
    let hash = |json: &str| TokenCounter::from_json(json.as_bytes()).unwrap().sha256().to_owned();
    let expected = hash(&json.to_string());
    assert_eq!(expected.len(), 64);
    let saved = Pair::new(&json.to_string()).crate_tokenizer;
    assert_eq!(hash(&saved.to_string(false).unwrap()), expected);
    assert_eq!(hash(&saved.to_string(true).unwrap()), expected);
    let mut lines = json.clone();
    for merge in lines["model"]["merges"].as_array_mut().unwrap() {
        *merge = json!(format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap()));
    }
    assert_eq!(hash(&lines.to_string()), expected);
    let mut other = json.clone();
    other["model"]["ignore_merges"] = json!(true);
    assert_ne!(hash(&other.to_string()), expected);
    let mut truncated = json;
    truncated["truncation"] =
        json!({"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"});
    assert_eq!(hash(&truncated.to_string()), expected);
    for name in REAL {
        let Some(path) = real_tokenizer(name) else { return };
        let json = std::fs::read_to_string(path).unwrap();
        assert_eq!(hash(&Pair::new(&json).crate_tokenizer.to_string(false).unwrap()), hash(&json), "{name}");
    }
}

#[test]
fn a_batch_counts_as_one_by_one() {
    let counter = TokenCounter::from_json(small().to_string().as_bytes()).unwrap();
    let texts: Vec<String> = (0..5000).map(|i| "the cat 你好 é, ".repeat(i % 17) + &i.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut scratch = counter.scratch();
    let expected: Vec<u32> = texts.iter().map(|t| counter.count(t, &mut scratch).unwrap()).collect();
    assert_eq!(counter.count_batch(&texts, &Arc::default()).unwrap(), expected);
    assert_eq!(counter.count_batch(&[], &Arc::default()).unwrap(), Vec::<u32>::new());
}

/// Working memory that came from another counter is not believed.
#[test]
fn scratch_of_another_counter_is_replaced() {
    let one = TokenCounter::from_json(small().to_string().as_bytes()).unwrap();
    let other =
        TokenCounter::from_json(tokenizer(bpe(&[]), byte_level_step(true)).to_string().as_bytes()).unwrap();
    let mut scratch = one.scratch();
    let fine = one.count("the cat", &mut scratch).unwrap();
    assert_eq!(other.count("the cat", &mut scratch).unwrap(), 7);
    assert_eq!(one.count("the cat", &mut scratch).unwrap(), fine);
}

/// A tenth of a megabyte of one thing each: quadratic code would take minutes.
#[test]
fn long_runs_are_exact() {
    let Some(path) = real_tokenizer("qwen2.5") else { return };
    let mut pair = Pair::new(&std::fs::read_to_string(path).unwrap());
    for unit in ["a", " ", "\n", "😀", "的", "ab", "的了", "a ", "é", "\u{301}", "1", "'s", "!", "\t", "ก"]
    {
        pair.check(&unit.repeat(100_000 / unit.len()));
    }
}

#[test]
fn a_text_that_is_too_long_is_refused() {
    let counter =
        TokenCounter::from_json(tokenizer(bpe(&[]), byte_level_step(true)).to_string().as_bytes()).unwrap();
    let text = String::from_utf8(vec![b' '; (512 << 20) + 1]).unwrap();
    let error = counter.count(&text, &mut counter.scratch()).unwrap_err().to_string();
    assert_eq!(error, "tokenizer: a text of 512 MiB: count it in parts of at most 512 MiB");
}
