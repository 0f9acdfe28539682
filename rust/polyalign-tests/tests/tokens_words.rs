//! Tokenizers that the crate counts a word at a time count as it counts whole texts.

use crate::tokens_common::{Pair, added, metaspace, tokenizer};
use crate::tokens_families::check;
use serde_json::{Value, json};

fn bert(lowercase: bool, chinese: bool) -> Value {
    let tokens = [
        "[UNK]",
        "[MASK]",
        "the",
        "quick",
        "##s",
        "a",
        "##a",
        "##b",
        "b",
        "c",
        "don",
        "'",
        "t",
        "##t",
        "hello",
        "你",
        "好",
        "##好",
        "今",
        "天",
        "!",
        ".",
        "1",
        "##2",
        "##3",
        "3",
        "e",
        "##e",
        "cat",
        "привет",
        "x",
        "こ",
        "##ん",
    ];
    let vocab: serde_json::Map<String, Value> =
        tokens.iter().enumerate().map(|(id, token)| (token.to_string(), id.into())).collect();
    let model = json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100, "vocab": vocab});
    let mut json = tokenizer(model, json!({"type": "BertPreTokenizer"}));
    json["normalizer"] = json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": chinese,
        "strip_accents": null, "lowercase": lowercase});
    json["added_tokens"] = json!([added(0, "[UNK]", "special"), added(1, "[MASK]", "special lstrip")]);
    json
}

fn unigram(scheme: &str, before: &[Value], normalizer: Value) -> Value {
    let scores = [
        ("<unk>", 0.0),
        ("▁", -2.0),
        ("▁the", -3.0),
        ("the", -3.5),
        ("a", -4.0),
        ("b", -4.0),
        ("ab", -5.0),
        ("ba", -6.1),
        ("s", -4.1),
        ("▁a", -3.2),
        ("你", -5.0),
        ("好", -5.0),
        ("你好", -8.0),
        ("今天", -6.0),
        ("天", -5.5),
        ("1", -4.0),
        ("e", -3.0),
        (".", -3.0),
        ("!", -3.5),
        ("\u{301}", -6.0),
        ("一", -5.0),
    ];
    let model = json!({"type": "Unigram", "unk_id": 0, "vocab": scores, "byte_fallback": false});
    let steps: Vec<Value> = before.iter().cloned().chain([metaspace(scheme, true)]).collect();
    let mut json = tokenizer(model, json!({"type": "Sequence", "pretokenizers": steps}));
    json["normalizer"] = normalizer;
    json["added_tokens"] = json!([
        added(0, "<unk>", "special"),
        added(900, "<mask>", "special lstrip"),
        added(901, "[X]", "single_word")
    ]);
    json
}

#[test]
fn word_piece() {
    for (lowercase, chinese) in [(true, true), (false, true), (true, false)] {
        let mut pair = Pair::new(&bert(lowercase, chinese).to_string());
        for text in [
            "The[MASK] quick",
            "dont't AB!ab abba\nBAA  a",
            "[UNK]a \t b[",
            &"ab".repeat(51),
            "a\u{1}b \u{b}c 123",
        ] {
            pair.check(text);
        }
        check(pair, 1500);
    }
}

#[test]
fn unigram_of_words() {
    let blanks = json!({"type": "WhitespaceSplit"});
    let spaces = json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"});
    let strip = json!({"type": "Strip", "strip_left": false, "strip_right": true});
    let all = json!({"type": "Sequence", "normalizers": [{"type": "Nmt"}, {"type": "NFKC"}, strip, spaces]});
    for scheme in ["always", "first", "never"] {
        check(Pair::new(&unigram(scheme, &[], json!({"type": "NFKC"})).to_string()), 700);
        check(Pair::new(&unigram(scheme, std::slice::from_ref(&blanks), all.clone()).to_string()), 700);
    }
}

/// What looks across blanks is not cut.
#[test]
fn others_are_counted_whole() {
    let mut split = unigram("always", &[], Value::Null);
    split["pre_tokenizer"] = metaspace("always", false);
    let mut phrase = bert(true, true);
    phrase["added_tokens"] = json!([added(900, "the cat", "normalized"), added(901, "a", "rstrip")]);
    let mut left = unigram("always", &[], json!({"type": "Strip", "strip_left": true, "strip_right": true}));
    left["added_tokens"] = json!([]);
    let mut single = bert(true, true);
    single["added_tokens"] = json!([added(900, "cat", "single_word"), added(901, "今", "")]);
    for json in [split, phrase, left, single] {
        let mut pair = Pair::new(&json.to_string());
        for text in ["the cat a  the", "  the a", "好cat cat今天 ", "a  b\u{301} c", "x the  cat\n the"] {
            pair.check(text);
            pair.check(text);
        }
    }
}
