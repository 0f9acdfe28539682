//! BPE over characters counts what the `tokenizers` crate counts: every way to treat blanks, unknown characters, any
//! list of merges, and, where they are at hand, real files.

use crate::tokens_common::{
    Pair, added, blanks_replaced, cases, char_bpe, metaspace, precompiled, tokenizer,
};
use crate::tokens_families::{check, check_family};
use polyalign::cpu::{Level, at_most};
use polyalign::tokens::{Engine, TokenCounter};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

#[test]
fn llama2() {
    check_family("llama2", 1500);
}

#[test]
fn gemma() {
    check_family("gemma", 1500);
}

#[test]
fn mistral() {
    check_family("mistral", 1000);
}

#[test]
fn a_metaspace_that_splits() {
    check_family("metaspace that splits", 1000);
}

#[test]
fn unknown_characters_are_fused() {
    check_family("sentencepiece without bytes", 1500);
}

#[test]
fn unknown_characters_are_not_fused() {
    check_family("sentencepiece without fusing", 1000);
}

#[test]
fn forms_come_before_blanks() {
    for name in ["gemma with NFKC", "llama2 with a map of characters", "mistral with NFC"] {
        check_family(name, 1000);
    }
}

/// Where the normaliser leaves nothing of the beginning or of all.
#[test]
fn what_a_form_removes() {
    for (first, normalised) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut json = small(&[("▁", "a"), ("a", "b")], true);
        json["normalizer"] =
            json!({"type": "Sequence", "normalizers": [precompiled(), blanks_replaced(true)]});
        if first {
            (json["normalizer"], json["pre_tokenizer"]) = (precompiled(), metaspace("first", false));
        }
        json["added_tokens"] =
            json!([added(900, "é", if normalised { "normalized" } else { "" }), added(901, "[X]", "")]);
        let mut pair = Pair::new(&json.to_string());
        // What is first in the text as it was can't be told.
        assert_eq!(matches!(pair.counter.engine(), Engine::Fast { .. }), !(first && normalised));
        for text in
            ["\u{ad}", "\u{ad}ab", "ab\u{ad}", "[X]\u{ad}[X]ab", "\u{ad}[X]ab", "é\u{3000}ab\t…", "e\u{301}"]
        {
            pair.check(text);
        }
    }
}

fn small(merges: &[(&str, &str)], fallback: bool) -> Value {
    let merges: Vec<(String, String)> = merges.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
    tokenizer(char_bpe("▁ab好的!", &merges, fallback), Value::Null)
}

fn runner(short: u32) -> TestRunner {
    TestRunner::new(Config { cases: cases(short), failure_persistence: None, ..Config::default() })
}

/// Random merge lists, well formed or not, under every way to treat blanks, with every kind of unknown character, on
/// every machine.
#[test]
fn any_list_of_merges() {
    let alphabet = ["a", "b", "▁", "好", "的", "!", "٣"];
    let picks = proptest::collection::vec(
        (any::<proptest::sample::Index>(), any::<proptest::sample::Index>()),
        0..40,
    );
    let words = proptest::collection::vec("[ab好的!٣zé你▁😀 ]{0,90}|[ab ]{60,140}|[好的你]{0,60}", 1..8);
    runner(300)
        .run(&(picks, any::<u64>(), words), |(picks, seed, words)| {
            let mut tokens: Vec<String> = alphabet.iter().map(|s| s.to_string()).collect();
            let mut merges = Vec::new();
            for (i, j) in picks {
                let (a, b) = (i.get(&tokens).clone(), j.get(&tokens).clone());
                if a.chars().count() + b.chars().count() <= 6 && !merges.contains(&(a.clone(), b.clone())) {
                    tokens.push(format!("{a}{b}"));
                    merges.push((a, b));
                }
            }
            let mut json = tokenizer(char_bpe(&alphabet.concat(), &merges, seed & 1 != 0), Value::Null);
            // Half of the lists lose their order and the splits that no one made.
            if seed & 2 != 0 {
                let n = merges.len().max(1);
                merges.rotate_left((seed >> 8) as usize % n);
                json["model"]["merges"] = json!(merges);
            }
            json["model"]["fuse_unk"] = json!(seed & 4 != 0);
            json["model"]["ignore_merges"] = json!(seed & 8 != 0 && seed >> 4 & 7 != 4);
            match seed >> 4 & 7 {
                0 => json["normalizer"] = blanks_replaced(true),
                1 | 2 => json["normalizer"] = blanks_replaced(false),
                3 => json["pre_tokenizer"] = metaspace("first", false),
                4 => json["pre_tokenizer"] = metaspace("always", true),
                5 => json["pre_tokenizer"] = metaspace("always", false),
                _ => json["pre_tokenizer"] = metaspace("never", false),
            }
            if seed & 128 != 0 {
                json["added_tokens"] = json!([
                    added(900, "ab", ""),
                    added(901, "的", "normalized"),
                    added(902, "<s>", "normalized")
                ]);
            }
            let mut pair = Pair::fast(&json, "sentencepiece");
            for word in words {
                let (expected, found) = pair.counts(&word);
                prop_assert_eq!(found, expected, "{:?} {}", &word, &json);
                for level in [Level::Portable, Level::Avx2] {
                    let found = at_most(level, || pair.counter.count(&word, &mut pair.scratch)).unwrap();
                    prop_assert_eq!(found, expected, "{:?} {}, {:?}", &word, &json, level);
                }
            }
            Ok(())
        })
        .unwrap();
}

/// Every combination of the flags of added tokens, under every way to treat blanks.
#[test]
fn added_tokens_with_every_flag() {
    let names = ["single_word", "lstrip", "rstrip", "normalized", "special"];
    let parts = ["<s>", "<s>a", "a", "b", "ab", " ", "  ", "▁", "\n", "好", "的", "é", "!", "<", "_"];
    let texts = proptest::collection::vec(
        proptest::collection::vec(proptest::sample::select(parts.to_vec()), 0..12),
        4,
    );
    let ways = [
        (blanks_replaced(true), Value::Null),
        (blanks_replaced(false), Value::Null),
        (blanks_replaced(false), metaspace("always", false)),
        (Value::Null, metaspace("first", false)),
        (Value::Null, metaspace("always", true)),
        (Value::Null, metaspace("never", false)),
    ];
    for (i, (normalizer, pre_tokenizer)) in ways.iter().enumerate() {
        for flags in 0..32usize {
            let flags: Vec<&str> = (0..5).filter(|i| flags >> i & 1 == 1).map(|i| names[i]).collect();
            let flags = flags.join(" ");
            let mut json = small(&[("▁", "a"), ("a", "b"), ("▁", "▁"), ("好", "的")], true);
            json["normalizer"] = normalizer.clone();
            json["pre_tokenizer"] = pre_tokenizer.clone();
            json["added_tokens"] = json!([
                added(900, "<s>", &flags),
                added(901, "<s>a", "normalized"),
                added(902, "b", &flags),
                added(903, "▁▁", ""),
            ]);
            let pair = std::cell::RefCell::new(Pair::fast(&json, "sentencepiece"));
            runner(30)
                .run(&texts, |texts| {
                    for text in texts {
                        let text = text.concat();
                        let (expected, found) = pair.borrow_mut().counts(&text);
                        prop_assert_eq!(found, expected, "{:?} {:?} {}", text, flags, i);
                    }
                    Ok(())
                })
                .unwrap();
        }
    }
}

/// What can't be exact says why.
#[test]
fn others_go_through_the_crate() {
    let good = || {
        let mut json = small(&[("▁", "a"), ("a", "b")], true);
        json["normalizer"] = blanks_replaced(true);
        json
    };
    let change = |f: &dyn Fn(&mut Value)| {
        let mut json = good();
        f(&mut json);
        json
    };
    let cases = [
        (
            change(&|j| j["normalizer"]["normalizers"][1]["pattern"] = json!({"Regex": " "})),
            "normalizer Replace",
        ),
        (change(&|j| j["normalizer"]["normalizers"][0]["prepend"] = json!("_")), "normalizer Prepend"),
        (change(&|j| j["normalizer"]["normalizers"][0] = json!({"type": "Nmt"})), "normalizer Nmt"),
        (
            change(&|j| {
                j["normalizer"]["normalizers"].as_array_mut().unwrap().push(json!({"type": "NFC"}));
            }),
            "normalizer NFC",
        ),
        (
            change(&|j| j["pre_tokenizer"] = json!({"type": "Whitespace"})),
            "pre-tokenizer Whitespace is not one of the fast ones",
        ),
        (
            change(&|j| j["pre_tokenizer"] = metaspace("always", false)),
            "a Prepend and a Metaspace that prepends",
        ),
        (
            change(&|j| {
                j["normalizer"] = Value::Null;
                j["pre_tokenizer"] = metaspace("always", true);
                j["model"]["ignore_merges"] = json!(true);
            }),
            "ignore_merges with a Metaspace that splits",
        ),
        (
            change(&|j| drop(j["model"]["vocab"].as_object_mut().unwrap().shift_remove("<0x41>"))),
            "no token for the byte 0x41",
        ),
        (
            change(&|j| {
                j["model"]["byte_fallback"] = json!(false);
                j["model"]["unk_token"] = Value::Null;
            }),
            "no unknown token",
        ),
        (
            change(&|j| {
                j["model"]["vocab"]["<0x41>a"] = json!(999);
                j["model"]["merges"].as_array_mut().unwrap().push(json!(["<0x41>", "a"]));
            }),
            "a merge of <0x41>, which stands for what is unknown",
        ),
    ];
    for (json, why) in cases {
        let mut pair = Pair::new(&json.to_string());
        assert_eq!(pair.counter.engine(), &Engine::Tokenizers { reason: why.into() });
        for text in ["", "a b ab", "  A Aab", "好的é "] {
            pair.check(text);
        }
    }
}

/// Runs of one thing, longer than a window: quadratic code would take minutes, and a window may end anywhere.
#[test]
fn long_runs_are_exact() {
    let merges = [
        ("a", "b"),
        ("▁", "▁"),
        ("▁▁", "▁▁"),
        ("▁", "a"),
        ("好", "的"),
        ("a", "a"),
        ("aa", "aa"),
        ("aa", "a"),
        ("b", "▁"),
    ];
    for fallback in [true, false] {
        let mut json = small(&merges, fallback);
        json["normalizer"] = blanks_replaced(true);
        let mut pair = Pair::fast(&json, "sentencepiece");
        for unit in ["a", " ", "ab", "好", "好的", "é", "a é", "😀", "!", "ab ", "▁", " a好"] {
            pair.check(&unit.repeat(100_000 / unit.len()));
        }
    }
}

/// Real files, on random texts: `POLYALIGN_TOKENIZERS` names them, apart by colons.
#[test]
fn real_files() {
    let Ok(files) = std::env::var("POLYALIGN_TOKENIZERS") else {
        eprintln!("skipped: set POLYALIGN_TOKENIZERS to some files tokenizer.json");
        return;
    };
    for file in files.split(':') {
        let json = std::fs::read_to_string(file).unwrap();
        let counter = TokenCounter::from_json(json.as_bytes()).unwrap();
        eprintln!("{file}: {:?}", counter.engine());
        check(Pair::new(&json), 2000);
    }
}
