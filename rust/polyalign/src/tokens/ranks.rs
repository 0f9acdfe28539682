//! Files of ranks, as `tiktoken` and `mistral-common` read them, as the tokenizer.json that counts alike.
//!
//! There neighbours merge in the order of the ranks of what they become. What becomes a token is merged, up to then, with
//! nothing around it, so always in the same way: one merge a token stands for that, the last when it is merged alone.

use super::alphabet::Alphabet;
use super::hash::hash_bytes;
use super::parallel;
use crate::{Error, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A pattern that a file of ranks may be split by.
pub struct RankPattern {
    /// What such files are called.
    pub name: &'static str,
    pattern: &'static str,
    /// Whether texts are put in NFC before.
    normalized: bool,
}

macro_rules! cased {
    ($upper:literal, $lower:literal) => {
        concat!(
            r"[^\r\n\p{L}\p{N}]?[",
            $upper,
            "]*[",
            $lower,
            "]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"|[^\r\n\p{L}\p{N}]?[",
            $upper,
            "]+[",
            $lower,
            "]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        )
    };
}

macro_rules! words {
    ($numbers:literal) => {
        concat!(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|", $numbers, "|", rest!())
    };
}

macro_rules! rest {
    () => {
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    };
}

pub(super) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
pub(super) const CL100K: &str = words!(r"\p{N}{1,3}");
pub(super) const QWEN2: &str = words!(r"\p{N}");
pub(super) const O200K: &str = concat!(
    cased!(r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"),
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Han apart, and o200k's words.
pub(super) const KIMI: &str = concat!(
    r"[\p{Han}]+|",
    cased!(r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]", r"\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]"),
    r"|\p{N}{1,3}|",
    rest!()
);

const fn plain(name: &'static str, pattern: &'static str) -> RankPattern {
    RankPattern { name, pattern, normalized: false }
}

/// All that are known.
pub const RANK_PATTERNS: [RankPattern; 9] = [
    plain("gpt2", GPT2),
    plain("r50k_base", GPT2),
    plain("p50k_base", GPT2),
    plain("cl100k_base", CL100K),
    plain("llama3", CL100K),
    plain("o200k_base", O200K),
    plain("o200k_harmony", O200K),
    RankPattern { name: "qwen", pattern: QWEN2, normalized: true },
    plain("kimi", KIMI),
];

/// The longest token: the work for one grows with the square of its length.
const LONGEST: usize = 4096;

type Ranks<'a> = HashMap<Cow<'a, [u8]>, u32, Hashing>;

type Hashing = BuildHasherDefault<TokenHasher>;

/// Hashing of tokens: the map's own takes most of the time.
#[derive(Default)]
struct TokenHasher(u64);

impl Hasher for TokenHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 ^= hash_bytes(bytes);
    }

    /// Of the length, which is in the hash of the bytes.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The tokenizer.json of `tiktoken`'s lines of a token in base64 and its rank, for the pattern of a name.
///
/// # Errors
/// [`Error::Tokenizer`] if the name is unknown or the lines are others.
pub fn from_tiktoken(content: &[u8], name: &str) -> Result<String> {
    let known = || RANK_PATTERNS.map(|pattern| pattern.name).join(", ");
    let pattern = RANK_PATTERNS
        .into_iter()
        .find(|pattern| pattern.name == name)
        .ok_or_else(|| Error::Tokenizer(format!("no pattern is called {name}; known: {}", known())))?;
    let mut ranks = Ranks::default();
    for (number, line) in (1..).zip(content.split(|&byte| byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let (token, rank) = rank_of_line(line)
            .ok_or_else(|| Error::Tokenizer(format!("line {number}: not a token in base64 and its rank")))?;
        ranks.insert(token.into(), rank);
    }
    tokenizer(&ranks, pattern.pattern, pattern.normalized)
}

fn rank_of_line(line: &[u8]) -> Option<(Vec<u8>, u32)> {
    let (token, rank) = std::str::from_utf8(line).ok()?.split_once([' ', '\t'])?;
    Some((BASE64_STANDARD.decode(token).ok()?, rank.trim_ascii_start().parse().ok()?))
}

#[derive(serde::Deserialize)]
struct Tekken<'a> {
    config: TekkenConfig,
    #[serde(borrow)]
    vocab: Vec<TekkenToken<'a>>,
}

#[derive(serde::Deserialize)]
struct TekkenConfig {
    pattern: String,
    default_vocab_size: usize,
    default_num_special_tokens: usize,
}

#[derive(serde::Deserialize)]
struct TekkenToken<'a> {
    rank: u32,
    #[serde(borrow)]
    token_bytes: Cow<'a, str>,
}

/// Whether JSON seems to be a tekken.json of `mistral-common` rather than a tokenizer.json.
pub(super) fn is_tekken(json: &[u8]) -> bool {
    memchr::memmem::find(&json[..json.len().min(4096)], b"\"default_num_special_tokens\"").is_some()
}

/// The tokenizer.json of a tekken.json; control tokens in a text are text, as for `mistral-common`.
///
/// # Errors
/// [`Error::Tokenizer`] if it is none.
pub fn from_tekken(content: &[u8]) -> Result<String> {
    let none = |what: String| Error::Tokenizer(format!("not a tekken.json: {what}"));
    let Tekken { config, mut vocab } = serde_json::from_slice(content).map_err(|e| none(e.to_string()))?;
    let most = config.default_vocab_size.checked_sub(config.default_num_special_tokens);
    vocab.truncate(most.ok_or_else(|| none("more special tokens than tokens".into()))?);
    let decode =
        |token: &TekkenToken| Some((BASE64_STANDARD.decode(&*token.token_bytes).ok()?.into(), token.rank));
    let ranks: Option<Ranks> = vocab.iter().map(decode).collect();
    tokenizer(&ranks.ok_or_else(|| none("a token that is not base64".into()))?, &config.pattern, false)
}

fn tokenizer(ranks: &Ranks, pattern: &str, normalized: bool) -> Result<String> {
    let wrong = |what: String| Err(Error::Tokenizer(what));
    if let Some(byte) = (0..=255u8).find(|byte| !ranks.contains_key([*byte].as_slice())) {
        return wrong(format!("no rank for the byte {byte:#04x}, which every file of ranks has"));
    }
    let mut tokens: Vec<(u32, &[u8])> = ranks.iter().map(|(token, &rank)| (rank, &**token)).collect();
    tokens.sort_unstable();
    if let Some(pair) = tokens.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return wrong(format!("two tokens have the rank {}", pair[0].0));
    }
    if let Some((_, token)) = tokens.iter().find(|(_, token)| token.len() > LONGEST) {
        return wrong(format!("a token of {} bytes, the most are {LONGEST}", token.len()));
    }
    let alphabet = Alphabet::new();
    let spelled = |bytes: &[u8]| -> String { bytes.iter().map(|&byte| alphabet.char_of(byte)).collect() };
    let merges = parallel::filter_map(&tokens, |&(_, token)| {
        let (left, right) = token.split_at(split_of(token, ranks)?);
        Some([spelled(left), spelled(right)])
    });
    let split =
        json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    let byte_level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let model = Model {
        kind: "BPE",
        ignore_merges: true,
        vocab: tokens.iter().map(|&(rank, token)| (spelled(token), rank)).collect(),
        merges,
    };
    let file = Made {
        version: "1.0",
        added_tokens: [],
        normalizer: normalized.then(|| json!({"type": "NFC"})),
        pre_tokenizer: json!({"type": "Sequence", "pretokenizers": [split, byte_level]}),
        model,
    };
    serde_json::to_string(&file).map_err(|error| Error::Tokenizer(error.to_string()))
}

/// A tokenizer.json, written without a copy of its tables.
#[derive(serde::Serialize)]
struct Made {
    version: &'static str,
    added_tokens: [Value; 0],
    normalizer: Option<Value>,
    pre_tokenizer: Value,
    model: Model,
}

#[derive(serde::Serialize)]
struct Model {
    #[serde(rename = "type")]
    kind: &'static str,
    ignore_merges: bool,
    #[serde(serialize_with = "as_map")]
    vocab: Vec<(String, u32)>,
    merges: Vec<[String; 2]>,
}

fn as_map<S: serde::Serializer>(vocab: &[(String, u32)], to: S) -> std::result::Result<S::Ok, S::Error> {
    to.collect_map(vocab.iter().map(|(token, rank)| (token, rank)))
}

/// Where the last merge of a token joins two, if merging alone comes to it.
fn split_of(token: &[u8], ranks: &Ranks) -> Option<usize> {
    // Where the parts begin, the end included, and the rank of what each becomes with the next.
    let mut starts: Vec<usize> = (0..=token.len()).collect();
    let rank = |starts: &[usize], at: usize| {
        let (from, to) = (starts[at], *starts.get(at + 2)?);
        ranks.get(&token[from..to]).copied()
    };
    let mut next: Vec<Option<u32>> = (0..starts.len()).map(|at| rank(&starts, at)).collect();
    while starts.len() > 2 {
        let (_, at) = next.iter().zip(0..).filter_map(|(rank, at)| Some(((*rank)?, at))).min()?;
        if starts.len() == 3 {
            return Some(starts[1]);
        }
        starts.remove(at + 1);
        next.remove(at + 1);
        next[at] = rank(&starts, at);
        if at > 0 {
            next[at - 1] = rank(&starts, at - 1);
        }
    }
    None
}
