//! Property tests: every family counts what the `tokenizers` crate counts, on random and adversarial Unicode.
//!
//! `POLYALIGN_LONG=1000000` runs that many cases of each.

mod tokens_common;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokens_common::{Pair, added, bpe, byte_level_step, cases, learn_merges, splits, tokenizer};

const SAMPLE: &str = "The quick brown fox doesn't jump over the lazy dog's back; it's 1234567 o'clock, they'll say \
     we've won!!! HELLO World HTTPServer getElementById   two  blanks\n\n\ttab\r\nλόγος Ελλάδα привет мир ПРИВЕТ \
     你好，世界！今天天气很好，我们去公园散步吧。今天的天气真的很好，你好吗？我很好。谢谢你们！ こんにちは カタカナ・テスト \
     안녕하세요 세계 ação naïve e\u{301}te\u{301} नमस्ते दुनिया สวัสดี 😀😃👍🏽 👩‍👩‍👧 x = y + 3.14; // comment\n/* a/b */ ... --- \
     's 'S 'll 'LL 've 're ſ's ǅ ª º ʰ ² ½ Ⅷ ٣ 〇 一二三 $100 €5 +1 <|im_start|>";

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

fn check(mut pair: Pair, short: u32) {
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

fn model() -> Value {
    bpe(&learn_merges(SAMPLE, 350))
}

const WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|";
const REST: &str = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

#[test]
fn gpt2() {
    check(Pair::fast(&tokenizer(model(), byte_level_step(true)), "gpt2"), 2000);
}

#[test]
fn gpt2_with_prefix_space() {
    let step = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true});
    let mut json = tokenizer(model(), step);
    json["added_tokens"] = json!([added(0, "<|im_start|>", "special")]);
    check(Pair::fast(&json, "gpt2"), 1000);
}

#[test]
fn cl100k() {
    let regex = format!(r"{WORDS}\p{{N}}{{1,3}}|{REST}");
    check(Pair::fast(&tokenizer(model(), splits(&[&regex])), "cl100k"), 2000);
}

#[test]
fn cl100k_in_another_spelling() {
    let regex = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s";
    check(Pair::fast(&tokenizer(model(), splits(&[regex])), "cl100k"), 1000);
}

#[test]
fn cl100k_by_removing_nothing() {
    let mut json = tokenizer(model(), splits(&[&format!(r"{WORDS}\p{{N}}{{1,3}}|{REST}")]));
    json["pre_tokenizer"]["pretokenizers"][0]["behavior"] = json!("Removed");
    json["pre_tokenizer"]["pretokenizers"][0]["invert"] = json!(true);
    check(Pair::fast(&json, "cl100k"), 500);
}

#[test]
fn qwen2_with_nfc() {
    let mut json = tokenizer(model(), splits(&[&format!(r"{WORDS}\p{{N}}|{REST}")]));
    json["normalizer"] = json!({"type": "NFC"});
    check(Pair::fast(&json, "qwen2"), 2000);
}

#[test]
fn o200k() {
    let contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
    check(Pair::fast(&tokenizer(model(), splits(&[&cased(contraction, r"\p{N}{1,3}")])), "o200k"), 3000);
}

#[test]
fn tekken() {
    check(Pair::fast(&tokenizer(model(), splits(&[&cased("", r"\p{N}")])), "tekken"), 1000);
}

fn cased(contraction: &str, numbers: &str) -> String {
    let upper = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]";
    let lower = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]";
    let prefix = r"[^\r\n\p{L}\p{N}]?";
    format!(
        r"{prefix}{upper}*{lower}+{contraction}|{prefix}{upper}+{lower}*{contraction}|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
}

#[test]
fn deepseek() {
    let words = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
    let steps = splits(&[r"\p{N}{1,3}", "[一-龥\u{3040}-ゟ゠-ヿ]+", words]);
    check(Pair::fast(&tokenizer(model(), steps), "deepseek"), 3000);
}

#[test]
fn ignore_merges_takes_whole_words() {
    let mut model = model();
    for (i, word) in ["ĠHELLO", "123", "aaaaaaaa", "ä½łå¥½", "...", "ĠĠĠ", "Ċ"].iter().enumerate()
    {
        let id = 10_000 + i;
        model["vocab"].as_object_mut().unwrap().entry(*word).or_insert(id.into());
    }
    model["ignore_merges"] = json!(true);
    check(
        Pair::fast(&tokenizer(model, splits(&[&format!(r"{WORDS}\p{{N}}{{1,3}}|{REST}")])), "cl100k"),
        2000,
    );
}

/// Random merge lists, well formed or not: parts made after they are used, several ways to one token.
#[test]
fn any_list_of_merges() {
    let alphabet = ["a", "b", "c", "Ġ"];
    let mut runner =
        TestRunner::new(Config { cases: cases(300), failure_persistence: None, ..Config::default() });
    let picks = proptest::collection::vec(
        (any::<proptest::sample::Index>(), any::<proptest::sample::Index>()),
        0..40,
    );
    let words = proptest::collection::vec("[abc ]{0,80}", 1..8);
    runner
        .run(&(picks, any::<u64>(), any::<bool>(), words), |(picks, seed, ignore_merges, words)| {
            let mut tokens: Vec<String> = alphabet.iter().map(|s| s.to_string()).collect();
            let mut merges = Vec::new();
            for (i, j) in picks {
                let (a, b) = (i.get(&tokens).clone(), j.get(&tokens).clone());
                if a.len() + b.len() <= 12 && !merges.contains(&(a.clone(), b.clone())) {
                    tokens.push(format!("{a}{b}"));
                    merges.push((a, b));
                }
            }
            // Half of the lists lose their order.
            if seed % 2 == 1 {
                let n = merges.len().max(1);
                merges.rotate_left(seed as usize / 2 % n);
            }
            let mut model = bpe(&merges);
            model["ignore_merges"] = json!(ignore_merges);
            let mut pair = Pair::fast(&tokenizer(model, byte_level_step(true)), "gpt2");
            for word in words {
                let (expected, found) = pair.counts(&word);
                prop_assert_eq!(found, expected, "{:?} {:?}", word, merges);
            }
            Ok(())
        })
        .unwrap();
}
