//! WordPiece behind BERT's steps, for the words of ASCII that most texts are made of: lower case, cut at blanks and around
//! punctuation, each word by the longest tokens from its beginning on. All else is for the crate.

use serde_json::Value;
use std::collections::HashSet;

/// Counts words of ASCII.
pub(super) struct WordPiece {
    /// Tokens that begin a word.
    first: HashSet<Box<[u8]>>,
    /// Tokens that go on within one, without their prefix.
    inner: HashSet<Box<[u8]>>,
    longest: usize,
    most_chars: usize,
    lowercase: bool,
    /// Bytes that added tokens begin with.
    special: Vec<u8>,
}

impl WordPiece {
    /// For a tokenizer whose words are apart; `None` if its steps are not BERT's.
    pub(super) fn of(file: &Value) -> Option<Self> {
        let (model, normalizer) = (&file["model"], &file["normalizer"]);
        let is = |step: &Value, kind: &str| step["type"] == kind;
        let bert = is(model, "WordPiece") && is(normalizer, "BertNormalizer");
        if !bert || !is(&file["pre_tokenizer"], "BertPreTokenizer") {
            return None;
        }
        let mut special = Vec::new();
        for token in file["added_tokens"].as_array().map_or(&[][..], Vec::as_slice) {
            if token["normalized"] != false {
                return None;
            }
            special.extend(token["content"].as_str()?.bytes().next());
        }
        let vocab = model["vocab"].as_object()?;
        vocab.get(model["unk_token"].as_str()?)?;
        let prefix = model["continuing_subword_prefix"].as_str()?;
        let boxed = |token: &str| token.as_bytes().into();
        let first: HashSet<Box<[u8]>> = vocab.keys().map(|token| boxed(token)).collect();
        Some(Self {
            inner: vocab.keys().filter_map(|token| token.strip_prefix(prefix)).map(boxed).collect(),
            longest: first.iter().map(|token| token.len()).max()?,
            first,
            most_chars: usize::try_from(model["max_input_chars_per_word"].as_u64()?).ok()?,
            lowercase: normalizer["lowercase"].as_bool()?,
            special,
        })
    }

    /// The number of tokens of a stretch of text, if that can be told here.
    pub(super) fn count(&self, text: &[u8]) -> Option<u32> {
        let told =
            |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..0x7f) && !self.special.contains(byte);
        if !text.iter().all(told) {
            return None;
        }
        let lower = if self.lowercase { text.to_ascii_lowercase() } else { text.to_vec() };
        let words = lower.split(|byte| byte.is_ascii_whitespace() || byte.is_ascii_punctuation());
        let marks = lower.iter().filter(|byte| byte.is_ascii_punctuation());
        let words = words.filter(|word| !word.is_empty()).map(|word| self.count_word(word));
        Some(words.chain(marks.map(|mark| self.count_word(std::slice::from_ref(mark)))).sum())
    }

    /// The number of tokens of a word; the unknown token where some of it has none.
    fn count_word(&self, word: &[u8]) -> u32 {
        if word.len() > self.most_chars {
            return 1;
        }
        let (mut at, mut count) = (0, 0);
        while at < word.len() {
            let tokens = if at == 0 { &self.first } else { &self.inner };
            let ends = (at + 1..=word.len().min(at + self.longest)).rev();
            let Some(end) = ends.into_iter().find(|&end| tokens.contains(&word[at..end])) else { return 1 };
            (at, count) = (end, count + 1);
        }
        count
    }
}
