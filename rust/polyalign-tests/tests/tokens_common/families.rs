//! Small tokenizers of every family, shared by the property tests and the fuzzer.

use super::{added, bpe, byte_level_step, learn_merges, splits, tokenizer};
use serde_json::{Value, json};

/// Text of many scripts, to learn merges from.
pub const SAMPLE: &str = "The quick brown fox doesn't jump over the lazy dog's back; it's 1234567 o'clock, they'll say \
     we've won!!! HELLO World HTTPServer getElementById   two  blanks\n\n\ttab\r\nλόγος Ελλάδα привет мир ПРИВЕТ \
     你好，世界！今天天气很好，我们去公园散步吧。今天的天气真的很好，你好吗？我很好。谢谢你们！ こんにちは カタカナ・テスト \
     안녕하세요 세계 ação naïve e\u{301}te\u{301} नमस्ते दुनिया สวัสดี 😀😃👍🏽 👩‍👩‍👧 x = y + 3.14; // comment\n/* a/b */ ... --- \
     's 'S 'll 'LL 've 're ſ's ǅ ª º ʰ ² ½ Ⅷ ٣ 〇 一二三 $100 €5 +1 <|im_start|>";

const WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|";
const REST: &str = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A small model with merges of every script in [`SAMPLE`].
pub fn model() -> Value {
    bpe(&learn_merges(SAMPLE, 350))
}

/// Every family by name: the pre-tokenizer the fast path must see in it, and its tokenizer.json.
pub fn families() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("gpt2", "gpt2", tokenizer(model(), byte_level_step(true))),
        ("gpt2 with a prefix space", "gpt2", gpt2_with_prefix_space()),
        ("cl100k", "cl100k", cl100k()),
        ("cl100k in another spelling", "cl100k", cl100k_in_another_spelling()),
        ("cl100k by removing nothing", "cl100k", cl100k_by_removing_nothing()),
        ("cl100k with ignore_merges", "cl100k", cl100k_with_ignore_merges()),
        ("qwen2 with NFC", "qwen2", qwen2_with_nfc()),
        (
            "o200k",
            "o200k",
            tokenizer(model(), splits(&[&cased("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", r"\p{N}{1,3}")])),
        ),
        ("tekken", "tekken", tokenizer(model(), splits(&[&cased("", r"\p{N}")]))),
        ("deepseek", "deepseek", deepseek()),
    ]
}

fn gpt2_with_prefix_space() -> Value {
    let step = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true});
    let mut json = tokenizer(model(), step);
    json["added_tokens"] = json!([added(0, "<|im_start|>", "special")]);
    json
}

fn cl100k() -> Value {
    tokenizer(model(), splits(&[&format!(r"{WORDS}\p{{N}}{{1,3}}|{REST}")]))
}

fn cl100k_in_another_spelling() -> Value {
    let regex = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s";
    tokenizer(model(), splits(&[regex]))
}

fn cl100k_by_removing_nothing() -> Value {
    let mut json = cl100k();
    json["pre_tokenizer"]["pretokenizers"][0]["behavior"] = json!("Removed");
    json["pre_tokenizer"]["pretokenizers"][0]["invert"] = json!(true);
    json
}

/// Whole words in the vocabulary that no merges make.
fn cl100k_with_ignore_merges() -> Value {
    let mut json = cl100k();
    let model = &mut json["model"];
    for (i, word) in ["ĠHELLO", "123", "aaaaaaaa", "ä½łå¥½", "...", "ĠĠĠ", "Ċ"].iter().enumerate()
    {
        let id = 10_000 + i;
        model["vocab"].as_object_mut().unwrap().entry(*word).or_insert(id.into());
    }
    model["ignore_merges"] = json!(true);
    json
}

fn qwen2_with_nfc() -> Value {
    let mut json = tokenizer(model(), splits(&[&format!(r"{WORDS}\p{{N}}|{REST}")]));
    json["normalizer"] = json!({"type": "NFC"});
    json
}

fn cased(contraction: &str, numbers: &str) -> String {
    let upper = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]";
    let lower = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]";
    let prefix = r"[^\r\n\p{L}\p{N}]?";
    format!(
        r"{prefix}{upper}*{lower}+{contraction}|{prefix}{upper}+{lower}*{contraction}|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
}

fn deepseek() -> Value {
    let words = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
    let steps = splits(&[r"\p{N}{1,3}", "[一-龥\u{3040}-ゟ゠-ヿ]+", words]);
    tokenizer(model(), steps)
}
