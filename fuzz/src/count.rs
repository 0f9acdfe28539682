//! The token counter against the `tokenizers` crate: texts under every family, and tokenizer.json files
//! that are almost right.

use polyalign::cpu::{Level, at_most};
use polyalign::tokens::{Engine, TokenCounter};
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use tokenizers::Tokenizer;

use crate::mutate::{Random, mutate};
use crate::tokens_common::families::{SAMPLE, families};
use crate::tokens_common::{Pair, added, bpe, byte_level_step, learn_merges, splits, tokenizer};

/// A counter of every family beside the crate. Their caches live on from case to case, as in use.
pub struct Counters(Vec<Pair>);

impl Default for Counters {
    fn default() -> Self {
        let mut pairs: Vec<Pair> = families().iter().map(|(_, seen, json)| Pair::fast(json, seen)).collect();
        // Every family again, with added tokens that strip, stand alone and are searched in normalised text.
        for (.., mut json) in families() {
            json["added_tokens"] = json!([
                added(900, "<tag>", "special"),
                added(901, "<tag>x", "lstrip"),
                added(902, "cat", "single_word normalized"),
                added(903, "é", "normalized rstrip"),
                added(904, "\n\n", ""),
                added(905, "好", "lstrip rstrip"),
            ]);
            pairs.push(Pair::new(&json.to_string()));
        }
        Self(pairs)
    }
}

/// A case: a byte that picks the counter, then the text; or one past the counters, then a tokenizer.json.
pub fn generate(random: &mut Random, counters: &Counters, files: &[Vec<u8>]) -> Vec<u8> {
    let file = random.below(16) == 0;
    let which = if file { counters.0.len() } else { random.below(counters.0.len()) };
    let mut case = vec![which as u8];
    if file {
        let seeds: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        case.extend(mutate(&seeds, FILE_DICTIONARY, random));
    } else {
        case.extend(mutate(SEEDS, DICTIONARY, random));
        if random.below(64) == 0 {
            let text = case[1..].to_vec();
            (0..random.below(40)).for_each(|_| case.extend_from_slice(&text));
        }
    }
    case
}

/// Panics if a count differs from the crate's, or a file is taken that should not be. Says whether the case was a
/// file, and whether that was loaded.
pub fn check(case: &[u8], counters: &mut Counters) -> [bool; 2] {
    let Some((&which, rest)) = case.split_first() else { return [false; 2] };
    match counters.0.get_mut(usize::from(which)) {
        Some(pair) => {
            let text = String::from_utf8_lossy(rest);
            let (expected, found) = pair.counts(&text);
            assert_eq!(found, expected, "{text:?}");
            for level in [Level::Portable, Level::Avx2] {
                let found = at_most(level, || pair.counter.count(&text, &mut pair.scratch));
                assert_eq!(found.ok(), Some(expected), "{text:?}, {level:?}");
            }
            [false; 2]
        }
        None => [true, check_file(rest)],
    }
}

/// A file the crate loads is loaded and counts as the crate does; a refusal is one line. The fast path does not
/// look at members that bear on no count, so it may load what the crate refuses for those.
fn check_file(data: &[u8]) -> bool {
    let text = std::str::from_utf8(data).ok();
    let theirs = text.and_then(|text| catch_unwind(|| Tokenizer::from_str(text).ok()).ok().flatten());
    let counter = match TokenCounter::from_json(data) {
        Ok(counter) => counter,
        Err(error) => {
            let what = error.to_string();
            assert!(what.starts_with("tokenizer: ") && !what.contains(['\n', '\r']), "{what:?}");
            // The crate reads some files that are not JSON.
            let json = serde_json::from_slice::<Value>(data).is_ok();
            let known = what.contains("dropout") || what.contains("leaves nothing of");
            assert!(theirs.is_none() || !json || known, "only we refuse: {what}");
            return false;
        }
    };
    let Some(mut theirs) = theirs else {
        assert!(matches!(counter.engine(), Engine::Fast { .. }), "only the crate refuses it");
        return true;
    };
    theirs.with_truncation(None).expect("none");
    theirs.with_padding(None);
    let mut scratch = counter.scratch();
    for text in ["", "the cat sat", "cat<tag>x 12345\n\n", SAMPLE] {
        let encoded = catch_unwind(AssertUnwindSafe(|| theirs.encode_fast(text, false).ok())).ok().flatten();
        let found = counter.count(text, &mut scratch).ok();
        let expected = encoded.map(|encoding| encoding.get_ids().len() as u32);
        assert!(found == expected || expected.is_none(), "{found:?}, not {expected:?}, for {text:?}");
    }
    true
}

/// Small tokenizer.json files to start from.
pub fn files() -> Vec<Vec<u8>> {
    let merges = learn_merges("the cat sat on the mat and then the other cat sat 你好 <tag> 12", 40);
    let qwen2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let mut plain = tokenizer(bpe(&merges), splits(&[qwen2]));
    plain["added_tokens"] = json!([added(900, "<tag>", "special lstrip"), added(901, "cat", "single_word")]);
    let mut nfc = plain.clone();
    nfc["normalizer"] = json!({"type": "NFC"});
    nfc["model"]["ignore_merges"] = json!(true);
    nfc["model"]["dropout"] = Value::Null;
    let mut gpt2 = tokenizer(bpe(&merges), byte_level_step(true));
    gpt2["post_processor"] = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true});
    let vocab = json!({"[UNK]": 0, "the": 1, "cat": 2, "##s": 3, "sat": 4});
    let word_piece = json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100, "vocab": vocab});
    let unigram = json!({"type": "Unigram", "unk_id": 0, "byte_fallback": false,
        "vocab": [["<unk>", 0.0], ["▁the", -1.0], ["▁cat", -2.0], ["s", -3.0]]});
    let files = [
        plain,
        nfc,
        gpt2,
        tokenizer(word_piece, json!({"type": "Whitespace"})),
        tokenizer(
            unigram,
            json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}),
        ),
    ];
    files.iter().map(|json| json.to_string().into_bytes()).collect()
}

/// Texts to start from.
pub(crate) const SEEDS: &[&[u8]] = &[
    b"",
    SAMPLE.as_bytes(),
    b"the cat sat on the mat, and then the other cat sat",
    b"I'll say we've DON'T they'RE iPhone HTTPServer 12345678 3.14 //path/to x_y --- ...",
    "你好，世界！今天天气很好，我们去公园散步吧。".as_bytes(),
    "今天的天气真的很好<tag>你好吗？catalogue cat 好好 e\u{301} é".as_bytes(),
    "こんにちは カタカナ・テスト 안녕하세요 привет Ελλάδα नमस्ते สวัสดี 😀👍🏽".as_bytes(),
    b"   \n\n \t\r\n  x  \n y\n\n\n z   ",
];

pub(crate) const DICTIONARY: &[&[u8]] = &[
    b" ",
    b"  ",
    b"\n",
    b"\r\n",
    b"'s",
    b"'LL",
    "'ſ".as_bytes(),
    b"cat",
    b"<tag>",
    b"<tag>x",
    b"<|im_start|>",
    b"123",
    b"/",
    b"aaaaaaaaaaaaaaaa",
    "的".as_bytes(),
    "你好".as_bytes(),
    "好".as_bytes(),
    "天气".as_bytes(),
    "，".as_bytes(),
    "é".as_bytes(),
    "e\u{301}".as_bytes(),
    "\u{301}".as_bytes(),
    "가".as_bytes(),
    "\u{1100}\u{1161}".as_bytes(),
    "ア".as_bytes(),
    "ー".as_bytes(),
    "龥".as_bytes(),
    "龦".as_bytes(),
    "𠀀".as_bytes(),
    "\u{3000}".as_bytes(),
    "\u{a0}".as_bytes(),
    "\u{85}".as_bytes(),
    "٣".as_bytes(),
    "²".as_bytes(),
    "ǅ".as_bytes(),
    "Ⅷ".as_bytes(),
    "😀".as_bytes(),
    "\u{200d}".as_bytes(),
    "\u{fe0f}".as_bytes(),
    "\u{10ffff}".as_bytes(),
];

const FILE_DICTIONARY: &[&[u8]] = &[
    b"null",
    b"true",
    b"false",
    b"-1",
    b"0",
    b"1e9",
    b"4294967296",
    b"\"\"",
    b"\"a\"",
    b"[]",
    b"{}",
    b",",
    b":",
    b"{\"type\":",
    b"\"NFC\"",
    b"\"NFD\"",
    b"\"Lowercase\"",
    b"\"ByteLevel\"",
    b"\"Sequence\"",
    b"\"BPE\"",
    b"\"dropout\":0.5,",
    b"\"ignore_merges\":true,",
    b"\"byte_fallback\":true,",
    b"\"fuse_unk\":true,",
    b"\"unk_token\":\"a\",",
    b"\"end_of_word_suffix\":\"t\",",
    b"\"continuing_subword_prefix\":\"##\",",
    b"[\"a\",\"t\"],",
    b"\"c at\",",
    b"\"add_prefix_space\":true,",
    b"\"use_regex\":false,",
    b"\\u0120",
    b"\\n",
    b"\n",
    "Ġ".as_bytes(),
];
