//! Small tokenizers of every family, shared by the property tests and the fuzzer.

use super::{
    added, blanks_replaced, bpe, byte_level, byte_level_step, char_bpe, learn_char_merges, learn_merges,
    metaspace, precompiled, split, splits, tokenizer,
};
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
        ("starcoder", "gpt2-digits", tokenizer(model(), steps(&[digits(true), byte_level_step(true)]))),
        ("qwen3.5", "qwen3.5", tokenizer(model(), splits(&[QWEN35]))),
        ("kimi", "kimi", tokenizer(model(), splits(&[&kimi()]))),
        ("bloom", "general", tokenizer(model(), splits(&[r" ?[^(\s|[.,!?…。，、।۔،])]+"]))),
        ("falcon", "general", falcon()),
        ("deepseek-coder", "general", deepseek_coder()),
        ("a prefix space and no expression", "general", prefix_space_alone()),
        ("gpt2 without some bytes", "gpt2", tokenizer(without(model(), SOME), byte_level_step(true))),
        ("cl100k with unknown tokens", "cl100k", with_unknown(false)),
        ("cl100k with fused unknown tokens", "cl100k", with_unknown(true)),
        ("qwen2 with bytes to fall back to", "qwen2", with_fallback()),
        ("cl100k with every split", "cl100k", with_every_split(cl100k_with_ignore_merges())),
        ("deepseek with every split", "deepseek", with_every_split(deepseek())),
        ("llama2", "sentencepiece", sentencepiece(blanks_replaced(true), Value::Null)),
        ("gemma", "sentencepiece", gemma()),
        ("mistral", "sentencepiece", mistral()),
        ("metaspace that splits", "sentencepiece", sentencepiece(Value::Null, metaspace("always", true))),
        ("sentencepiece without bytes", "sentencepiece", without_bytes(true)),
        ("sentencepiece without fusing", "sentencepiece", without_bytes(false)),
        ("gpt2 in lower case", "gpt2", formed(json!({"type": "Lowercase"}), gpt2_with_prefix_space())),
        ("cl100k with NFKC", "cl100k", formed(json!({"type": "NFKC"}), cl100k())),
        ("qwen2 with a map of characters", "qwen2", formed(precompiled(), qwen2_with_nfc())),
        ("gemma with NFKC", "sentencepiece", formed(json!({"type": "NFKC"}), gemma())),
        ("mistral with NFC", "sentencepiece", formed(json!({"type": "NFC"}), mistral())),
        (
            "llama2 with a map of characters",
            "sentencepiece",
            formed(precompiled(), sentencepiece(blanks_replaced(true), Value::Null)),
        ),
    ]
}

const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A `pre_tokenizer` of some steps.
pub fn steps(steps: &[Value]) -> Value {
    json!({"type": "Sequence", "pretokenizers": steps})
}

pub fn digits(individual: bool) -> Value {
    json!({"type": "Digits", "individual_digits": individual})
}

/// Han apart from what o200k has.
fn kimi() -> String {
    let upper = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]";
    let lower = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]";
    let (prefix, contraction) = (r"[^\r\n\p{L}\p{N}]?", "(?i:'s|'t|'re|'ve|'m|'ll|'d)?");
    format!(
        r"[\p{{Han}}]+|{prefix}{upper}*{lower}+{contraction}|{prefix}{upper}+{lower}*{contraction}|\p{{N}}{{1,3}}|{REST}"
    )
}

/// Steps behind `ByteLevel` cut the characters that stand for bytes, some of which are numbers.
fn falcon() -> Value {
    let punctuation = json!({"type": "Punctuation", "behavior": "Contiguous"});
    let pre = steps(&[punctuation, byte_level_step(true), digits(false), split("[0-9][0-9][0-9]")]);
    tokenizer(model(), pre)
}

fn deepseek_coder() -> Value {
    let patterns = ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"];
    let mut all: Vec<Value> = patterns.iter().map(|pattern| split(pattern)).collect();
    all.extend([digits(true), byte_level_step(false)]);
    tokenizer(model(), steps(&all))
}

fn prefix_space_alone() -> Value {
    let mut step = byte_level_step(false);
    step["add_prefix_space"] = json!(true);
    tokenizer(model(), step)
}

/// Bytes of controls, letters, Han and emoji.
const SOME: &[u8] = &[0x01, 0x0b, b'q', b'7', 0xbd, 0x98, 0xf0, 0xcc];

/// A model without tokens for some bytes, nor merges of them.
pub fn without(mut model: Value, bytes: &[u8]) -> Value {
    let gone: Vec<char> = byte_level(bytes).chars().collect();
    let merges = model["merges"].as_array_mut().unwrap();
    merges.retain(|merge| [0, 1].iter().all(|i| !merge[*i].as_str().unwrap().contains(&gone[..])));
    let vocab = model["vocab"].as_object_mut().unwrap();
    gone.iter().for_each(|c| drop(vocab.shift_remove(&c.to_string())));
    model
}

/// Unknown tokens, which merges take, too.
fn with_unknown(fuse: bool) -> Value {
    let mut json = cl100k();
    let mut model = without(model(), SOME);
    for token in ["<unk>", "<unk>s", "<unk><unk>", "e<unk>"] {
        let id = 10_000 + model["vocab"].as_object().unwrap().len();
        model["vocab"].as_object_mut().unwrap().insert(token.into(), id.into());
    }
    let merges = model["merges"].as_array_mut().unwrap();
    merges.insert(3, json!(["<unk>", "s"]));
    merges.insert(40, json!(["<unk>", "<unk>"]));
    merges.insert(90, json!(["e", "<unk>"]));
    (model["unk_token"], model["fuse_unk"]) = (json!("<unk>"), json!(fuse));
    json["model"] = model;
    json
}

/// Some bytes fall back to one or two tokens, others to an unknown one, as one of their two is missing.
fn with_fallback() -> Value {
    let mut json = qwen2_with_nfc();
    let mut model = without(model(), SOME);
    let tokens =
        ["<0x71>", "<0xC2>", "<0xBD>", "<0xC3>", "<0xB0>", "<0xC4>", "<0x81>", "?", "<0x71>u", "<0xB0>s"];
    for token in tokens {
        let id = 10_000 + model["vocab"].as_object().unwrap().len();
        model["vocab"].as_object_mut().unwrap().entry(token).or_insert(id.into());
    }
    let merges = model["merges"].as_array_mut().unwrap();
    merges.insert(5, json!(["<0x71>", "u"]));
    merges.insert(6, json!(["<0xB0>", "s"]));
    (model["unk_token"], model["byte_fallback"]) = (json!("?"), json!(true));
    json["model"] = model;
    json
}

/// The merges that conversions from ranks write: every split of every token in two others, by the ranks of the three.
pub fn with_every_split(mut json: Value) -> Value {
    let vocab = json["model"]["vocab"].as_object().unwrap().clone();
    let rank = |token: &str| vocab.get(token).and_then(Value::as_u64);
    let mut merges = Vec::new();
    for (token, id) in &vocab {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(a), Some(b)) = (rank(left), rank(right)) {
                merges.push((id.as_u64(), a, b, json!([left, right])));
            }
        }
    }
    merges.sort_by_key(|(id, a, b, _)| (*id, *a, *b));
    json["model"]["merges"] = merges.into_iter().map(|(.., merge)| merge).collect();
    json
}

/// Characters of [`SAMPLE`] that are in no vocabulary here.
const MISSING: &str = "zλ😃好7";

pub fn char_model(fallback: bool) -> Value {
    let text = SAMPLE.replace('\n', " \n ") + "    two     blanks      more";
    let merges = learn_char_merges(&text.replace(|c| MISSING.contains(c), ""), 300);
    let mut known: Vec<char> = text.replace(' ', "▁").chars().filter(|&c| !MISSING.contains(c)).collect();
    known.sort_unstable();
    known.dedup();
    char_bpe(&String::from_iter(known), &merges, fallback)
}

fn sentencepiece(normalizer: Value, pre_tokenizer: Value) -> Value {
    let mut json = tokenizer(char_model(true), pre_tokenizer);
    json["normalizer"] = normalizer;
    json["added_tokens"] = json!([added(0, "<unk>", "special"), added(900, "<|im_start|>", "special")]);
    json
}

fn mistral() -> Value {
    sentencepiece(Value::Null, metaspace("first", false))
}

/// With a normaliser before that which it has.
fn formed(normalizer: Value, mut json: Value) -> Value {
    let steps: Vec<Value> =
        [normalizer, json["normalizer"].take()].into_iter().filter(|step| !step.is_null()).collect();
    json["normalizer"] = json!({"type": "Sequence", "normalizers": steps});
    json
}

/// With newlines as added tokens.
fn gemma() -> Value {
    let mut json = sentencepiece(
        blanks_replaced(false),
        json!({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false}),
    );
    for (i, token) in ["\n", "\n\n", "\n\n\n", "\t", "▁▁", "[X]"].iter().enumerate() {
        json["added_tokens"].as_array_mut().unwrap().push(added(1000 + i as u32, token, ""));
    }
    json
}

fn without_bytes(fuse: bool) -> Value {
    let mut json = sentencepiece(blanks_replaced(true), metaspace("never", false));
    json["model"] = char_model(false);
    json["model"]["fuse_unk"] = json!(fuse);
    json
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
