//! What the tests of token counting share.
#![allow(dead_code, missing_docs)]

pub mod families;

use polyalign::tokens::{Engine, TokenCounter, TokenScratch};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::str::FromStr;
use tokenizers::Tokenizer;

/// The real tokenizers.
pub const REAL: [&str; 3] = ["qwen2.5", "llama3", "deepseek-v3"];

/// The folder of measuring sticks, if it is there.
pub fn shared() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = std::env::var_os("POLYALIGN_SHARED").map_or(beside, PathBuf::from);
    if !folder.is_dir() {
        eprintln!("skipped: no {}; set POLYALIGN_SHARED", folder.display());
        return None;
    }
    Some(folder)
}

pub fn real_tokenizer(name: &str) -> Option<PathBuf> {
    shared().map(|s| s.join(format!("tokenizers/{name}.tokenizer.json")))
}

/// The number of random cases: `POLYALIGN_LONG` or, in CI, `short`.
pub fn cases(short: u32) -> u32 {
    std::env::var("POLYALIGN_LONG").ok().and_then(|n| n.parse().ok()).unwrap_or(short)
}

/// A counter beside the crate it must agree with.
pub struct Pair {
    pub counter: TokenCounter,
    pub crate_tokenizer: Tokenizer,
    pub scratch: TokenScratch,
}

impl Pair {
    pub fn new(json: &str) -> Self {
        let counter =
            TokenCounter::from_json(json.as_bytes()).expect("the counter loads what the crate loads");
        let mut crate_tokenizer = Tokenizer::from_str(json).unwrap();
        crate_tokenizer.with_truncation(None).unwrap();
        crate_tokenizer.with_padding(None);
        Self { scratch: counter.scratch(), counter, crate_tokenizer }
    }

    /// A pair that must be on the fast path.
    pub fn fast(json: &Value, family: &str) -> Self {
        let pair = Self::new(&json.to_string());
        assert_eq!(pair.counter.engine(), &Engine::Fast { pre_tokenizer: family.into() });
        pair
    }

    /// The crate's count and ours.
    pub fn counts(&mut self, text: &str) -> (u32, u32) {
        let expected = self.crate_tokenizer.encode_fast(text, false).unwrap().get_ids().len() as u32;
        (expected, self.counter.count(text, &mut self.scratch).unwrap())
    }

    pub fn check(&mut self, text: &str) {
        let (expected, found) = self.counts(text);
        assert_eq!(found, expected, "{text:?}");
    }
}

/// The characters that stand for bytes in a byte-level vocabulary.
pub fn byte_chars() -> Vec<char> {
    let mut spare = 256;
    (0..=255u8)
        .map(|b| match b {
            b'!'..=b'~' | 0xa1..=0xac | 0xae.. => b as char,
            _ => {
                spare += 1;
                char::from_u32(spare - 1).unwrap()
            }
        })
        .collect()
}

pub fn byte_level(bytes: &[u8]) -> String {
    let chars = byte_chars();
    bytes.iter().map(|&b| chars[b as usize]).collect()
}

/// A byte-level BPE model: the 256 bytes, then what `merges` make, in order.
pub fn bpe(merges: &[(String, String)]) -> Value {
    let mut vocab = serde_json::Map::new();
    for c in byte_chars() {
        vocab.insert(c.to_string(), vocab.len().into());
    }
    for (a, b) in merges {
        let id = vocab.len();
        vocab.entry(format!("{a}{b}")).or_insert(id.into());
    }
    json!({"type": "BPE", "vocab": vocab, "merges": merges})
}

/// Merges learned from `text` by joining the most frequent neighbours within words cut at spaces, so that they
/// look like those of a real vocabulary. Deterministic.
pub fn learn_merges(text: &str, n: usize) -> Vec<(String, String)> {
    let words =
        text.split_inclusive(' ').map(|w| byte_level(w.as_bytes()).chars().map(String::from).collect());
    learn(words.collect(), n)
}

/// The same over the characters of words that begin with `▁`.
pub fn learn_char_merges(text: &str, n: usize) -> Vec<(String, String)> {
    let text = text.replace(' ', "▁");
    let mut words: Vec<Vec<String>> = vec![Vec::new()];
    for c in text.chars() {
        if c == '▁' && words.last().is_some_and(|word| word.iter().any(|c| c != "▁")) {
            words.push(Vec::new());
        }
        words.last_mut().expect("there is one").push(c.to_string());
    }
    learn(words, n)
}

fn learn(mut words: Vec<Vec<String>>, n: usize) -> Vec<(String, String)> {
    let mut merges = Vec::new();
    while merges.len() < n {
        let mut counts = std::collections::BTreeMap::<(&str, &str), usize>::new();
        for word in &words {
            for pair in word.windows(2) {
                *counts.entry((&pair[0], &pair[1])).or_default() += 1;
            }
        }
        let Some((pair, _)) = counts.into_iter().max_by_key(|&((a, b), n)| (n, std::cmp::Reverse((a, b))))
        else {
            break;
        };
        let pair = (pair.0.to_owned(), pair.1.to_owned());
        for word in &mut words {
            let mut i = 0;
            while i + 1 < word.len() {
                if word[i] == pair.0 && word[i + 1] == pair.1 {
                    let right = word.remove(i + 1);
                    word[i] += &right;
                }
                i += 1;
            }
        }
        merges.push(pair);
    }
    merges
}

/// A BPE model over characters: the unknown token, with `fallback` one for every byte, the characters of `known`, and
/// every split of what `merges` make, as in a file of the hub.
pub fn char_bpe(known: &str, merges: &[(String, String)], fallback: bool) -> Value {
    let mut tokens = vec!["<unk>".to_owned()];
    if fallback {
        tokens.extend((0..=255u8).map(|byte| format!("<{byte:#04X}>")));
    }
    tokens.extend(known.chars().map(String::from));
    tokens.extend(merges.iter().map(|(a, b)| format!("{a}{b}")));
    let mut vocab = serde_json::Map::new();
    for token in tokens {
        let id = vocab.len();
        vocab.entry(token).or_insert(id.into());
    }
    let mut splits = Vec::new();
    for (a, b) in merges {
        let token = format!("{a}{b}");
        for (at, _) in token.char_indices().skip(1) {
            let (a, b) = token.split_at(at);
            if vocab.contains_key(a)
                && vocab.contains_key(b)
                && !splits.contains(&(a.to_owned(), b.to_owned()))
            {
                splits.push((a.to_owned(), b.to_owned()));
            }
        }
    }
    json!({"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": fallback, "vocab": vocab,
           "merges": splits})
}

/// A `Precompiled` normaliser made by sentencepiece of some rules: `ﬁ` to `fi`, `Ａ` to `A`, tabs, no-break and
/// ideographic blanks to blanks, `é` to `e\u{301}`, `e\u{300}` to `è`, the soft hyphen to nothing, `Å` to `Å`, `…` to `...`.
pub fn precompiled() -> Value {
    json!({"type": "Precompiled", "precompiled_charsmap": CHARSMAP})
}

const CHARSMAP: &str = "AAQAAAAgAAAJDQAAAQAAgMwcAgCABQAAEwAAgKARAAAAAACAqQUAAAkAAICAgAIArTEAAKYFAAADAACAhKgCAKt9AAAQAACAgAwCAIBBAAANAACAgR0AAKENAAAHAACAFgAAABkAAAAYAAAAGwAAABoAAAAdAAAAHAAAAB8AAAAeAAAArNQCACAAAAAjAAAAIgAAACUAAAAkAAAAJwAAACYAAAApAAAAKAAAACsAAAAqAAAALQAAACwAAAAvAAAALgAAALwQAgAwAAAAMwAAADIAAAA1AAAANAAAADcAAAA2AAAAOQAAADgAAAA7AAAAOgAAAD0AAAA8AAAAPwAAAD4AAABBAAAAQAAAAEMAAABCAAAARQAAAEQAAABHAAAARgAAAEkAAABIAAAASwAAAEoAAABNAAAATAAAAE8AAABOAAAAUQAAAFAAAABTAAAAUgAAAFUAAABUAAAAVwAAAFYAAABZAAAAWAAAAFsAAABaAAAAXQAAAFwAAABfAAAAXgAAAGEAAABgAAAAYwAAAGIAAABlAAAAZAAAAGcAAABmAAAAaQAAAGgAAABrAAAAagAAAG0AAABliAIAbwAAAG4AAABxAAAAcAAAAHMAAAByAAAAdQAAAHQAAAB3AAAAdgAAAHkAAAB4AAAAewAAAHoAAAB9AAAAfAAAAH8AAAB+AAAAgQAAAIAAAACDAAAAggAAAIUAAACEAAAAhwAAAIYAAACJAAAAiAAAAIsAAACKAAAAjQAAAIwAAACPAAAAjgAAAJEAAACQAAAAkwAAAJIAAACVAAAAlAAAAJcAAACWAAAAmQAAAJgAAACbAAAAmgAAAJ0AAACcAAAAnwAAAJ4AAAChAAAAoAAAAKMAAACiAAAApQAAAKQAAACnAAAApgAAAKkAAACoAAAAqwAAAKoAAACtAAAArAAAAK8AAACuAAAAsQAAALAAAACzAAAAsgAAALUAAAC0AAAAtwAAALYAAAC5AAAAuAAAALsAAAC6AAAAvQAAALwAAAC/AAAAvgAAAMEAAADAAAAAwwAAAMIAAADFAAAAxAAAAMcAAADGAAAAyQAAAMgAAADCsAEAw6gBAM0AAADMAAAAzwAAAM4AAADRAAAA0AAAANMAAADSAAAA1QAAANQAAADXAAAA1gAAANkAAADYAAAA2wAAANoAAADdAAAA3AAAAN8AAADeAAAA4QAAAOAAAADjAAAA4gAAAOUAAADkAAAA5wAAAO+sAQDpAAAA6AAAAOKAAQDj6AEA7QAAAOwAAADvAAAA7gAAAPEAAADwAAAA8wAAAPIAAAD1AAAA9AAAAPcAAAD2AAAA+QAAAPgAAAD7AAAA+gAAAP0AAAD8AAAA/wAAAP4AAAAAIAAuLi4AQQBlzIEAZmkAw4UAw6gA";

/// A normaliser that puts `▁` for blanks, and one before the text if `prepend`.
pub fn blanks_replaced(prepend: bool) -> Value {
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let prefix = json!({"type": "Prepend", "prepend": "▁"});
    if prepend { json!({"type": "Sequence", "normalizers": [prefix, replace]}) } else { replace }
}

pub fn metaspace(scheme: &str, split: bool) -> Value {
    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split})
}

pub fn split(regex: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false})
}

pub fn byte_level_step(use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": use_regex})
}

/// A `pre_tokenizer` of some splits and a `ByteLevel`.
pub fn splits(regexes: &[&str]) -> Value {
    let mut steps: Vec<Value> = regexes.iter().map(|r| split(r)).collect();
    steps.push(byte_level_step(false));
    json!({"type": "Sequence", "pretokenizers": steps})
}

pub fn tokenizer(model: Value, pre_tokenizer: Value) -> Value {
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
           "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": null, "model": model})
}

pub fn added(id: u32, content: &str, flags: &str) -> Value {
    let on = |name: &str| flags.split(' ').any(|f| f == name);
    json!({"id": id, "content": content, "single_word": on("single_word"), "lstrip": on("lstrip"),
           "rstrip": on("rstrip"), "normalized": on("normalized"), "special": on("special")})
}
