//! Property tests: every family counts what the `tokenizers` crate counts, on random and adversarial Unicode.
//!
//! `POLYALIGN_LONG=1000000` runs that many cases of each.

use crate::tokens_common::families::{SAMPLE, digits, families, model, steps};
use crate::tokens_common::{Pair, bpe, byte_level_step, cases, tokenizer};
use polyalign::tokens::Engine;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

/// Characters of every class that a pre-tokenizer tells apart, and those at the edges.
fn characters() -> impl Strategy<Value = String> {
    let edges: Vec<char> = "aAbzZ09 '’.,!?-_/\\\t\n\r\u{b}\u{c}\u{0}\u{1}\u{7f}\u{80}\u{85}\u{a0}\u{ad}ſKÅßİıǅªº²½éÉëñøÆœλΩжЖאبية٣३ก๎\u{301}\u{302}\u{323}\u{3099}\u{200b}\u{200d}\u{2028}\u{2029}\u{3000}\u{feff}、。，！？「」・ー゛゠〇一你好世界天今龥龦\u{3040}\u{3097}\u{30ff}あアｱﾞ가힣각Ⅷ①€+＋№😀👍🏽🇨🇳\u{fe0f}\u{1d400}𠀀𠮷\u{e000}\u{fffd}\u{10ffff}"
        .chars()
        .collect();
    let any = any::<char>().prop_map(String::from);
    let edge = proptest::sample::select(edges).prop_map(String::from);
    let words = proptest::sample::select(vec![
        "'s",
        "'S",
        "'ſ",
        "'ll",
        "'LL",
        "'Re",
        "'ve",
        "'d",
        "'x",
        "don't",
        "the",
        " the",
        "HELLO",
        "Hello",
        "iPhone",
        "123",
        "1234",
        "3.14",
        "   ",
        "\n\n",
        "\r\n",
        " \n",
        "\n ",
        "//",
        "...",
        " -",
        "你好",
        "今天天气",
        "的",
        "こん",
        "カタ",
        "привет",
        "नमस्ते",
        "😀😀",
        "e\u{301}",
        "ﬁ",
        "▁",
        "▁▁",
        "      ",
        "zz",
        "<unk>",
        "今天的天气真的很好",
        "aaaaaaaa",
        "<|im_start|>",
        "[X]",
    ])
    .prop_map(String::from);
    prop_oneof![4 => edge, 3 => words, 1 => any]
}

fn texts() -> impl Strategy<Value = String> {
    let mixed = proptest::collection::vec(characters(), 0..24).prop_map(|v| v.concat());
    let runs = proptest::collection::vec((characters(), 1..40usize), 1..5)
        .prop_map(|v| v.into_iter().map(|(c, n)| c.repeat(n)).collect::<String>());
    prop_oneof![5 => mixed, 2 => runs, 1 => any::<String>()]
}

pub fn check(mut pair: Pair, short: u32) {
    pair.check(SAMPLE);
    let mut runner =
        TestRunner::new(Config { cases: cases(short), failure_persistence: None, ..Config::default() });
    let pair = std::cell::RefCell::new(pair);
    runner
        .run(&texts(), |text| {
            let (expected, found) = pair.borrow_mut().counts(&text);
            prop_assert_eq!(found, expected, "{:?}", text);
            Ok(())
        })
        .unwrap();
}

/// Checks `short` random texts, or as many as `POLYALIGN_LONG` says, under the family called `name`.
pub fn check_family(name: &str, short: u32) {
    let found = families().into_iter().find(|(called, ..)| *called == name);
    let (_, pre_tokenizer, json) = found.expect("a family of that name");
    check(Pair::fast(&json, pre_tokenizer), short);
}

#[test]
fn gpt2() {
    check_family("gpt2", 2000);
}

#[test]
fn gpt2_with_prefix_space() {
    check_family("gpt2 with a prefix space", 1000);
}

#[test]
fn cl100k() {
    check_family("cl100k", 2000);
}

#[test]
fn cl100k_in_another_spelling() {
    check_family("cl100k in another spelling", 1000);
}

#[test]
fn cl100k_by_removing_nothing() {
    check_family("cl100k by removing nothing", 500);
}

#[test]
fn ignore_merges_takes_whole_words() {
    check_family("cl100k with ignore_merges", 2000);
}

#[test]
fn qwen2_with_nfc() {
    check_family("qwen2 with NFC", 2000);
}

#[test]
fn forms_other_than_nfc() {
    for name in ["gpt2 in lower case", "cl100k with NFKC", "qwen2 with a map of characters"] {
        check_family(name, 1000);
    }
}

#[test]
fn o200k() {
    check_family("o200k", 3000);
}

#[test]
fn tekken() {
    check_family("tekken", 1000);
}

#[test]
fn deepseek() {
    check_family("deepseek", 3000);
}

#[test]
fn starcoder() {
    check_family("starcoder", 2000);
}

#[test]
fn qwen35() {
    check_family("qwen3.5", 2000);
}

#[test]
fn kimi() {
    check_family("kimi", 1500);
}

#[test]
fn bloom() {
    check_family("bloom", 1000);
}

#[test]
fn falcon() {
    check_family("falcon", 1000);
}

#[test]
fn deepseek_coder() {
    check_family("deepseek-coder", 1000);
}

#[test]
fn a_prefix_space_and_no_expression() {
    check_family("a prefix space and no expression", 500);
}

/// Some steps before and behind `ByteLevel`, of every kind.
#[test]
fn any_sequence_of_steps() {
    let behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"];
    let patterns = [
        json!({"String": " "}),
        json!({"String": "a|b"}),
        json!({"String": "你"}),
        json!({"Regex": r"\p{L}+"}),
        json!({"Regex": r"\s+(?!\S)|\s+"}),
        json!({"Regex": "['!aä]"}),
    ];
    let step = (0..9usize, 0..5usize, any::<bool>()).prop_map(move |(kind, behavior, flag)| match kind {
        0 => digits(flag),
        1 => json!({"type": "Punctuation", "behavior": behaviors[behavior]}),
        2 => json!({"type": "Punctuation"}),
        kind => json!({"type": "Split", "pattern": patterns[kind - 3], "behavior": behaviors[behavior], "invert": flag}),
    });
    let before = proptest::collection::vec(step.clone(), 0..3);
    let after = proptest::collection::vec(step, 0..3);
    let texts = proptest::collection::vec(texts(), 1..12);
    let mut runner =
        TestRunner::new(Config { cases: cases(150), failure_persistence: None, ..Config::default() });
    let model = model();
    runner
        .run(&(before, after, any::<[bool; 2]>(), texts), |(mut all, after, [prefix, regex], texts)| {
            let mut byte_level = byte_level_step(regex);
            byte_level["add_prefix_space"] = json!(prefix);
            all.push(byte_level);
            all.extend(after);
            let mut pair = Pair::new(&tokenizer(model.clone(), steps(&all)).to_string());
            let fast = matches!(pair.counter.engine(), Engine::Fast { .. });
            prop_assert!(fast, "{:?}", pair.counter.engine());
            for text in texts {
                let (expected, found) = pair.counts(&text);
                prop_assert_eq!(found, expected, "{:?} {:?}", text, all);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn gpt2_without_some_bytes() {
    check_family("gpt2 without some bytes", 1500);
}

#[test]
fn cl100k_with_unknown_tokens() {
    check_family("cl100k with unknown tokens", 1000);
    check_family("cl100k with fused unknown tokens", 1000);
}

#[test]
fn qwen2_with_bytes_to_fall_back_to() {
    check_family("qwen2 with bytes to fall back to", 1500);
}

#[test]
fn cl100k_with_every_split() {
    check_family("cl100k with every split", 1500);
}

#[test]
fn deepseek_with_every_split() {
    check_family("deepseek with every split", 1500);
}

/// Random merge lists, well formed or not: parts made after they are used, several ways to one token, bytes without a
/// token and what stands for them.
#[test]
fn any_list_of_merges() {
    let alphabet = ["a", "b", "c", "Ġ", "<unk>", "<0x62>", "<0xC4>", "<0xA0>"];
    let mut runner =
        TestRunner::new(Config { cases: cases(300), failure_persistence: None, ..Config::default() });
    let picks = proptest::collection::vec(
        (any::<proptest::sample::Index>(), any::<proptest::sample::Index>()),
        0..40,
    );
    let words = proptest::collection::vec("[abc ]{0,80}", 1..8);
    runner
        .run(&(picks, any::<u64>(), any::<u8>(), words), |(picks, seed, flags, words)| {
            let flag = |i: u8| flags >> i & 1 == 1;
            let bytes = if flag(0) { &alphabet[..4] } else { &alphabet };
            let mut tokens: Vec<String> = bytes.iter().map(|s| s.to_string()).collect();
            let mut merges = Vec::new();
            for (i, j) in picks {
                let (a, b) = (i.get(&tokens).clone(), j.get(&tokens).clone());
                if a.len() + b.len() <= 30 && !merges.contains(&(a.clone(), b.clone())) {
                    tokens.push(format!("{a}{b}"));
                    merges.push((a, b));
                }
            }
            // Half of the lists lose their order.
            if seed % 2 == 1 {
                let n = merges.len().max(1);
                merges.rotate_left(seed as usize / 2 % n);
            }
            // With unknown tokens and bytes to fall back to: without tokens for some of the bytes.
            let gone = |token: &str| token == "b" && flag(1) || token == "Ġ" && flag(2);
            let mut model = bpe(&merges);
            merges.retain(|(a, b)| !gone(a) && !gone(b));
            model["merges"] = json!(merges);
            let vocab = model["vocab"].as_object_mut().unwrap();
            for token in &alphabet[4..] {
                vocab
                    .entry(*token)
                    .or_insert((100_000 + token.len() * 9 + token.as_bytes()[3] as usize).into());
            }
            vocab.retain(|token, _| !gone(token));
            let names = ["ignore_merges", "fuse_unk", "byte_fallback"];
            names.iter().zip(3..).for_each(|(name, i)| model[*name] = json!(flag(i)));
            model["unk_token"] = if flag(6) { json!("<unk>") } else { Value::Null };
            let mut pair = Pair::fast(&tokenizer(model, byte_level_step(true)), "gpt2");
            for word in words {
                let (expected, found) = pair.counts(&word);
                prop_assert_eq!(found, expected, "{:?} {:?}", word, merges);
            }
            Ok(())
        })
        .unwrap();
}
