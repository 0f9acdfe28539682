//! Random tokenizer.json files against the `tokenizers` crate: steps, models and added tokens of every kind, in any
//! company. A disagreement is told by the smallest file and text that still show it.

use polyalign::cpu::{Level, at_most};
use polyalign::tokens::{Engine, TokenCounter};
use serde_json::{Map, Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::LazyLock;
use tokenizers::Tokenizer;

use crate::count::{DICTIONARY, SEEDS};
use crate::mutate::{Random, mutate};
use crate::tokens_common::families::{SAMPLE, char_model, families, with_every_split, without};
use crate::tokens_common::{added, blanks_replaced, bpe, learn_merges, metaspace, precompiled, tokenizer};

/// What [`check`] says of a case.
pub const LABELS: [&str; 4] = ["of byte-level BPE", "of SentencePiece's BPE", "left to the crate", "refused"];

/// Texts of a case: loading a tokenizer takes as long as counting so many.
const TEXTS: usize = 200;

/// A case is a number, of which all else comes.
pub fn generate(random: &mut Random) -> Vec<u8> {
    random.word().to_string().into_bytes()
}

/// Panics with the smallest case if a count differs from the crate's, or if only we refuse a file.
pub fn check(case: &[u8]) -> [bool; 4] {
    let number = std::str::from_utf8(case).ok().and_then(|text| text.parse().ok()).expect("a number");
    let case = Case::new(number);
    match case.run() {
        Ok(found) => std::array::from_fn(|i| found as usize == i),
        Err(_) => {
            let smallest = case.shrunk();
            let why = smallest.run().expect_err("it still fails");
            panic!("{why}\n{}\n{}", smallest.tokenizer, json!(smallest.texts));
        }
    }
}

/// Who counts, as [`LABELS`] has it.
#[derive(Clone, Copy, Debug)]
enum Path {
    ByteLevel,
    SentencePiece,
    Crate,
    Refused,
}

#[derive(Clone)]
struct Case {
    tokenizer: Value,
    texts: Vec<String>,
}

impl Case {
    fn new(number: u64) -> Self {
        let mut random = Random::new(number);
        let tokenizer = configuration(&mut random);
        let dictionary = [DICTIONARY, MORE].concat();
        let text = |_| {
            let mut text = mutate(SEEDS, &dictionary, &mut random);
            if random.once_in(100) {
                text = text.repeat(random.below(40));
            }
            String::from_utf8_lossy(&text).into_owned()
        };
        Self { tokenizer, texts: (0..TEXTS).map(text).collect() }
    }

    /// Who counts, or what is wrong.
    fn run(&self) -> Result<Path, String> {
        let json = self.tokenizer.to_string();
        let mut plain = self.tokenizer.clone();
        let members = plain.as_object_mut().expect("an object");
        let encode_special = members.remove("encode_special_tokens") == Some(json!(true));
        let theirs = catch_unwind(|| Tokenizer::from_str(&plain.to_string()).ok()).ok().flatten();
        let ours = catch_unwind(|| TokenCounter::from_json(json.as_bytes()));
        let ours = ours.map_err(|_| "a panic while loading".to_owned())?;
        let Some(mut theirs) = theirs else { return Ok(Path::Refused) };
        let ours = match ours {
            Ok(ours) => ours,
            // The crate looks for nothing without end.
            Err(error) if error.to_string().contains("leaves nothing of") => return Ok(Path::Refused),
            Err(error) => return Err(format!("only we refuse it: {error}")),
        };
        theirs.set_encode_special_tokens(encode_special);
        let mut scratch = ours.scratch();
        let levels = [Level::Avx512, Level::Avx2, Level::Portable];
        for (i, text) in self.texts.iter().enumerate() {
            let encode = AssertUnwindSafe(|| theirs.encode_fast(text.as_str(), false).ok());
            let expected =
                catch_unwind(encode).ok().flatten().map(|encoding| encoding.get_ids().len() as u32);
            for j in 0..levels.len() {
                let level = levels[(i + j) % levels.len()];
                let count = AssertUnwindSafe(|| at_most(level, || ours.count(text, &mut scratch).ok()));
                let found = catch_unwind(count).map_err(|_| format!("a panic in {text:?}, {level:?}"))?;
                if expected.is_some() && found != expected {
                    let engine = ours.engine();
                    return Err(format!("{found:?}, not {expected:?}, of {text:?}, {level:?}, {engine:?}"));
                }
            }
        }
        Ok(match ours.engine() {
            Engine::Fast { pre_tokenizer } if pre_tokenizer == "sentencepiece" => Path::SentencePiece,
            // They give it some words.
            Engine::Fast { pre_tokenizer } if ["wordpiece", "unigram"].contains(&&**pre_tokenizer) => {
                Path::Crate
            }
            Engine::Fast { .. } => Path::ByteLevel,
            Engine::Tokenizers { .. } => Path::Crate,
        })
    }

    fn fails(&self) -> bool {
        self.run().is_err()
    }

    /// The smallest case that still fails, by leaving out what can be left out.
    fn shrunk(mut self) -> Self {
        loop {
            let before = self.size();
            self.texts = shorter(self.texts.clone(), |texts| Self { texts, ..self.clone() }.fails());
            if let [text] = &self.texts[..] {
                let chars = shorter(text.chars().collect(), |chars| {
                    Self { texts: vec![String::from_iter(chars)], ..self.clone() }.fails()
                });
                self.texts = vec![String::from_iter(chars)];
            }
            for pointer in ["/pre_tokenizer", "/normalizer", "/post_processor", "/encode_special_tokens"] {
                self.put(pointer, &Value::Null);
            }
            for pointer in
                ["/added_tokens", "/pre_tokenizer/pretokenizers", "/normalizer/normalizers", "/model/merges"]
            {
                let Some(items) = self.tokenizer.pointer(pointer).and_then(Value::as_array) else { continue };
                let items = shorter(items.clone(), |items| self.with(pointer, &json!(items)).is_some());
                self.put(pointer, &json!(items));
            }
            self.shrink_vocab();
            if self.size() == before {
                return self;
            }
        }
    }

    fn size(&self) -> usize {
        self.tokenizer.to_string().len() + self.texts.concat().len()
    }

    fn shrink_vocab(&mut self) {
        let Some(vocab) = self.tokenizer["model"]["vocab"].as_object() else {
            let Some(pieces) = self.tokenizer["model"]["vocab"].as_array() else { return };
            let pieces =
                shorter(pieces.clone(), |pieces| self.with("/model/vocab", &json!(pieces)).is_some());
            return self.put("/model/vocab", &json!(pieces));
        };
        let entries: Vec<(String, Value)> =
            vocab.iter().map(|(token, id)| (token.clone(), id.clone())).collect();
        let object = |entries: Vec<(String, Value)>| Value::Object(Map::from_iter(entries));
        let entries = shorter(entries, |entries| self.with("/model/vocab", &object(entries)).is_some());
        self.put("/model/vocab", &object(entries));
    }

    /// The case with something else in a place, if there is such a place and the case still fails.
    fn with(&self, pointer: &str, value: &Value) -> Option<Self> {
        let mut other = self.clone();
        *other.tokenizer.pointer_mut(pointer)? = value.clone();
        other.fails().then_some(other)
    }

    fn put(&mut self, pointer: &str, value: &Value) {
        if let Some(other) = self.with(pointer, value) {
            *self = other;
        }
    }
}

/// The items without those that `fails` can do without: halves, then quarters, down to single ones.
fn shorter<T: Clone>(mut items: Vec<T>, fails: impl Fn(Vec<T>) -> bool) -> Vec<T> {
    let mut size = items.len();
    while size > 0 {
        let mut at = 0;
        while at < items.len() {
            let mut fewer = items.clone();
            drop(fewer.drain(at..(at + size).min(items.len())));
            if fails(fewer.clone()) {
                items = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    items
}

// ------------------------------------------------------------------------------------------- configurations

fn configuration(random: &mut Random) -> Value {
    let mut json = match random.below(8) {
        0..=2 => {
            let mut json = tokenizer(byte_level_model(random), byte_level_steps(random));
            json["normalizer"] = if random.once_in(2) { Value::Null } else { normalizer(random, 0) };
            json
        }
        3..=5 => sentencepiece(random),
        6 => {
            let model = word_piece(random);
            of_words(model, random)
        }
        _ => {
            let model = unigram(random);
            of_words(model, random)
        }
    };
    vary_merges(&mut json, random);
    let tokens = if random.once_in(3) { random.below(8) } else { random.below(3) };
    json["added_tokens"] = (0..tokens).map(|i| added_token(i, random)).collect();
    if random.once_in(8) {
        json["post_processor"] = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true});
    }
    if random.once_in(10) {
        json["encode_special_tokens"] = json!(true);
    }
    json
}

const CONTENTS: &[&str] = &[
    "<tag>",
    "<tag>x",
    "<|im_start|>",
    "cat",
    "the",
    "é",
    "e\u{301}",
    "\n",
    "\n\n",
    "\t",
    "  ",
    " ",
    "▁",
    "▁▁",
    "▁the",
    "好",
    "你好",
    "。",
    "[X]",
    "a",
    "A",
    "ﬁ",
    "<unk>",
    "<0x0A>",
    "1",
    "'",
    "s",
    "\u{3000}",
];

fn added_token(i: usize, random: &mut Random) -> Value {
    let flags = ["single_word", "lstrip", "rstrip", "normalized", "special"];
    let on: Vec<&str> = flags.into_iter().filter(|_| random.once_in(3)).collect();
    added(900 + i as u32, random.pick(CONTENTS), &on.join(" "))
}

fn sequence(kind: &str, steps: Vec<Value>) -> Value {
    json!({"type": "Sequence", kind: steps})
}

fn normalizer(random: &mut Random, depth: usize) -> Value {
    let replace =
        |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
    match random.below(if depth < 2 { 16 } else { 13 }) {
        0..=2 => json!({"type": "NFC"}),
        3 | 4 => json!({"type": "NFKC"}),
        5 => json!({"type": random.pick(&["NFD", "NFKD", "Lowercase", "StripAccents", "Nmt"])}),
        6 => precompiled(),
        7 => json!({"type": "Prepend", "prepend": random.pick(&["▁", "▁", "a", " "])}),
        8 | 9 => replace(json!({"String": " "}), "▁"),
        10 => {
            let text = random.pick(&["a", "the", "  ", "▁", "\n", "好", "''"]);
            replace(json!({"String": text}), random.pick(&["", "b", " ", "▁", "ab"]))
        }
        11 => replace(
            json!({"Regex": random.pick(&[" {2,}", r"\s+", r"\d", "[好你]"])}),
            random.pick(&[" ", "▁", "1"]),
        ),
        12 => json!({"type": "Strip", "strip_left": random.once_in(2), "strip_right": random.once_in(2)}),
        _ => {
            sequence("normalizers", (0..1 + random.below(3)).map(|_| normalizer(random, depth + 1)).collect())
        }
    }
}

const BEHAVIORS: &[&str] = &["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"];

const LITERALS: &[&str] = &[" ", "a", "ab", "a|b", "你", "▁", ".", "\n", "  ", "Ġ", "the"];

const REGEXES: &[&str] = &[
    r"\p{L}+",
    r"\s+(?!\S)|\s+",
    r"\p{N}{1,3}",
    r"\p{N}",
    "[0-9][0-9][0-9]",
    r"\s",
    r" ?\p{L}+",
    "(?i:'s|'t|'ll)",
    r"\s*[\r\n]+",
    "[一-龥]+",
    r"\p{Han}+",
    r"(?=\p{L})\p{L}+",
    r"\w+|[^\w\s]+",
    r"[^\s\p{L}]+",
    "a+?b",
    r"\d+(?=\s)",
    "[^a]{2,4}",
];

static PATTERNS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let families = families();
    let steps = families.iter().filter_map(|(.., json)| json["pre_tokenizer"]["pretokenizers"].as_array());
    let known = steps.flatten().filter(|step| step["type"] == "Split").map(|step| step["pattern"].clone());
    let regexes = REGEXES.iter().map(|regex| json!({"Regex": regex}));
    known.chain(regexes).chain(LITERALS.iter().map(|text| json!({"String": text}))).collect()
});

/// A step beside `ByteLevel`.
fn step(random: &mut Random) -> Value {
    match random.below(12) {
        0..=5 => {
            json!({"type": "Split", "pattern": random.one_of(&PATTERNS), "behavior": random.pick(BEHAVIORS),
                        "invert": random.once_in(4)})
        }
        6 | 7 => json!({"type": "Digits", "individual_digits": random.once_in(2)}),
        8 | 9 => json!({"type": "Punctuation", "behavior": random.pick(BEHAVIORS)}),
        10 => metaspace(random.pick(&["first", "always", "never"]), random.once_in(2)),
        _ => word_step(random),
    }
}

/// A step that cuts words out.
fn word_step(random: &mut Random) -> Value {
    match random.below(5) {
        0 => json!({"type": "CharDelimiterSplit", "delimiter": random.pick(&[" ", "a", "好"])}),
        1 => json!({"type": random.pick(&["UnicodeScripts", "BertPreTokenizer"])}),
        _ => json!({"type": random.pick(&["Whitespace", "WhitespaceSplit", "BertPreTokenizer"])}),
    }
}

fn byte_level_steps(random: &mut Random) -> Value {
    if random.once_in(3) {
        let families = families();
        return random.one_of(&families).2["pre_tokenizer"].clone();
    }
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": random.once_in(3), "trim_offsets": random.once_in(2),
        "use_regex": random.once_in(2)});
    let mut steps: Vec<Value> = (0..random.below(4)).map(|_| step(random)).collect();
    steps.push(byte_level);
    if random.once_in(5) {
        steps.extend((0..1 + random.below(2)).map(|_| step(random)));
    }
    sequence("pretokenizers", steps)
}

fn byte_level_model(random: &mut Random) -> Value {
    static LEARNED: LazyLock<Vec<(String, String)>> = LazyLock::new(|| learn_merges(SAMPLE, 350));
    let mut model = bpe(&LEARNED[..random.below(LEARNED.len() + 1)]);
    if random.once_in(3) {
        let bytes: Vec<u8> = (0..1 + random.below(8))
            .map(|_| random.pick(&[SAMPLE.as_bytes(), BYTES])[random.below(8)])
            .collect();
        model = without(model, &bytes);
    }
    if random.once_in(3) {
        ["Ġthe", "ĠHELLO", "123", "ä½łå¥½", "...", "ĠĠĠ", "Ċ", "cat"]
            .iter()
            .for_each(|token| insert(&mut model, token));
        model["ignore_merges"] = json!(random.once_in(2));
    }
    if random.once_in(3) {
        unknowns(&mut model, random);
    }
    model
}

/// Bytes that a vocabulary may lack.
const BYTES: &[u8] = &[0x01, 0x04, b'q', b'7', 0xbd, 0x98, 0xf0, 0xcc];

/// Gives a model of characters or bytes an unknown token and tokens for bytes, some of them.
fn unknowns(model: &mut Value, random: &mut Random) {
    insert(model, "<unk>");
    model["unk_token"] = json!(random.one_of(&[Some("<unk>"), Some("<unk>"), Some("?"), None]));
    for name in ["fuse_unk", "byte_fallback"] {
        model[name] = json!(random.once_in(2));
    }
    if random.once_in(2) {
        let all = random.once_in(2);
        for byte in 0..=255u8 {
            if all || !random.once_in(8) {
                insert(model, &format!("<{byte:#04X}>"));
            }
        }
    }
}

fn insert(model: &mut Value, token: &str) {
    let vocab = model["vocab"].as_object_mut().expect("a vocabulary by token");
    let next = vocab.values().filter_map(Value::as_u64).max().map_or(0, |most| most + 1);
    vocab.entry(token).or_insert(next.into());
}

/// Merges in another order, twice, missing, or of any two tokens; or every split of every token.
fn vary_merges(json: &mut Value, random: &mut Random) {
    if json["model"]["type"] != "BPE" {
        return;
    }
    if random.once_in(3) {
        *json = with_every_split(json.take());
    }
    let model = &mut json["model"];
    let mut merges: Vec<Value> = model["merges"].as_array().cloned().unwrap_or_default();
    let place = |merges: &[Value], random: &mut Random| random.below(merges.len() + 1);
    if random.once_in(3) && merges.len() > 1 {
        for _ in 0..random.below(20) {
            let at = random.below(merges.len() - 1);
            merges.swap(at, at + 1);
        }
    }
    if random.once_in(4) && !merges.is_empty() {
        for _ in 0..1 + random.below(4) {
            let (merge, at) = (random.one_of(&merges), place(&merges, random));
            merges.insert(at, merge);
        }
    }
    if random.once_in(4) && !merges.is_empty() {
        for _ in 0..random.below(5) {
            let at = random.below(merges.len());
            merges.remove(at);
            if merges.is_empty() {
                break;
            }
        }
    }
    if random.once_in(3) {
        for _ in 0..random.below(12) {
            let tokens: Vec<String> = model["vocab"].as_object().expect("a map").keys().cloned().collect();
            let (left, right) = (random.one_of(&tokens), random.one_of(&tokens));
            insert(model, &format!("{left}{right}"));
            let at = place(&merges, random);
            merges.insert(at, json!([left, right]));
        }
    }
    model["merges"] = json!(merges);
    if random.once_in(4) {
        renumber(model, random);
    }
}

/// Other ids, with gaps.
fn renumber(model: &mut Value, random: &mut Random) {
    let (factor, start) = (1 + random.below(3), random.below(5));
    let vocab = model["vocab"].as_object_mut().expect("a map");
    for id in vocab.values_mut() {
        *id = (id.as_u64().expect("an id") as usize * factor + start).into();
    }
}

fn sentencepiece(random: &mut Random) -> Value {
    let mut model = char_model(random.once_in(2));
    for name in ["fuse_unk", "ignore_merges"] {
        if random.once_in(3) {
            model[name] = json!(random.once_in(2));
        }
    }
    if random.once_in(4) {
        unknowns(&mut model, random);
    }
    let metaspace = metaspace(random.pick(&["first", "always", "never"]), random.once_in(3));
    let (mut normalizer_of, mut pre_tokenizer) = match random.below(4) {
        0 => (blanks_replaced(true), Value::Null),
        1 => (blanks_replaced(false), Value::Null),
        2 => (Value::Null, metaspace),
        _ => (normalizer(random, 0), metaspace),
    };
    if random.once_in(3) {
        // Forms of characters come first, as in the files of the hub.
        let form = random.one_of(&[json!({"type": "NFC"}), json!({"type": "NFKC"}), precompiled()]);
        let steps = [form, normalizer_of].into_iter().filter(|step| !step.is_null()).collect();
        normalizer_of = sequence("normalizers", steps);
    }
    if random.once_in(8) {
        pre_tokenizer = match pre_tokenizer {
            Value::Null => step(random),
            other => sequence("pretokenizers", vec![other, step(random)]),
        };
    }
    let mut json = tokenizer(model, pre_tokenizer);
    json["normalizer"] = normalizer_of;
    json
}

/// What comes before models whose words are apart.
fn of_words(model: Value, random: &mut Random) -> Value {
    let mut steps: Vec<Value> = (0..random.below(2)).map(|_| step(random)).collect();
    let meta = metaspace(random.pick(&["first", "always", "never"]), !random.once_in(4));
    steps.push(if random.once_in(2) { word_step(random) } else { meta });
    let pre_tokenizer = if random.once_in(3) {
        json!({"type": "BertPreTokenizer"})
    } else {
        sequence("pretokenizers", steps)
    };
    let mut json = tokenizer(model, pre_tokenizer);
    json["normalizer"] = match random.below(3) {
        0 => Value::Null,
        1 => normalizer(random, 0),
        _ => {
            json!({"type": "BertNormalizer", "clean_text": random.once_in(2), "handle_chinese_chars": random.once_in(2),
                    "strip_accents": random.one_of(&[None, Some(true), Some(false)]), "lowercase": random.once_in(2)})
        }
    };
    json
}

/// Words, beginnings and ends of words of the sample.
fn parts(random: &mut Random) -> Vec<String> {
    let mut parts: Vec<String> =
        SAMPLE.chars().filter(|c| !c.is_whitespace() && !random.once_in(8)).map(String::from).collect();
    for word in SAMPLE.split_whitespace() {
        let cut = word.char_indices().nth(1 + random.below(4)).map_or(word.len(), |(at, _)| at);
        parts.extend([word, &word[..cut], &word[cut..]].map(String::from));
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn word_piece(random: &mut Random) -> Value {
    let mut model = json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": random.pick(&["##", "##", "@"]),
        "max_input_chars_per_word": random.one_of(&[100, 100, 5]), "vocab": {"[UNK]": 0}});
    let prefix = model["continuing_subword_prefix"].as_str().expect("a text").to_owned();
    for part in parts(random) {
        insert(&mut model, &part);
        insert(&mut model, &part.to_lowercase());
        if random.once_in(2) {
            insert(&mut model, &format!("{prefix}{part}"));
        }
    }
    model
}

fn unigram(random: &mut Random) -> Value {
    let mut seen = std::collections::HashSet::new();
    let mut vocab = vec![json!(["<unk>", 0.0])];
    let mut all = parts(random);
    all.extend(parts(random).into_iter().map(|part| format!("▁{part}")));
    all.push("▁".into());
    if random.once_in(3) {
        all.extend((0..=255u8).map(|byte| format!("<{byte:#04X}>")));
    }
    for part in all {
        if seen.insert(part.clone()) {
            vocab.push(json!([part, -((random.below(4000) + 1) as f64) / 256.0]));
        }
    }
    json!({"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": random.once_in(3)})
}

/// What normalisers and characters of blanks have to do with.
const MORE: &[&[u8]] = &[
    "▁".as_bytes(),
    "▁▁ ".as_bytes(),
    "ﬁ".as_bytes(),
    "Ａ".as_bytes(),
    "…".as_bytes(),
    "\u{ad}".as_bytes(),
    "\u{212b}".as_bytes(),
    "e\u{300}".as_bytes(),
    "é".as_bytes(),
    b"\t",
    b"<unk>",
    b"[X]",
    b"<0x0A>",
    b"zzz",
    b"the",
    b" the cat",
];
