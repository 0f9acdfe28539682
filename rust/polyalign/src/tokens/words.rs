//! The `tokenizers` crate a word at a time, for models whose words have nothing to do with one another (WordPiece,
//! Unigram): a text is cut before blanks, and for BERT around Han, and what the crate says of a word is kept.
//!
//! A cut is exact where every step of the tokenizer stops at it: no normaliser looks across, no added token lies
//! across, and the pre-tokenizer splits there anyway. So only steps that are known are cut, and only between characters
//! that are. Words of ASCII under BERT's steps are counted here ([`word_piece`](super::word_piece)), and most of Unigram
//! ([`unigram_words`](super::unigram_words)).

use super::cache::{Cache, Key, MAX_KEY};
use super::fallback;
use super::pieces::CountScratch;
use super::pretokens::Portable;
use super::steps::{kind, steps};
use super::unicode::{decode, is_continuation};
use super::unigram::Node;
use super::unigram_words::UnigramWords;
use super::word_piece::WordPiece;
use crate::Result;
use serde_json::Value;
use std::ops::Range;
use tokenizers::Tokenizer;

/// Counts words by the crate.
pub(super) struct Words {
    tokenizer: Box<Tokenizer>,
    /// Whether Han characters stand alone.
    han: bool,
    /// Whether all blanks end words, not the space alone.
    newlines: bool,
    word_piece: Option<WordPiece>,
    unigram: Option<UnigramWords>,
}

impl Words {
    /// For a tokenizer loaded from `file`; the tokenizer itself if its words are not known to be apart.
    pub(super) fn new(tokenizer: Box<Tokenizer>, file: &Value) -> std::result::Result<Self, Box<Tokenizer>> {
        match splits_at_blanks(file) {
            true => Ok(Self {
                han: splits_at_han(file),
                newlines: splits_at_newlines(file),
                word_piece: WordPiece::of(file),
                unigram: UnigramWords::of(&tokenizer, file),
                tokenizer,
            }),
            false => Err(tokenizer),
        }
    }

    /// The name of what counts most words here, if that is not the crate.
    pub(super) fn own(&self) -> Option<&'static str> {
        let of_pieces = self.word_piece.as_ref().map(|_| "wordpiece");
        of_pieces.or_else(|| self.unigram.as_ref().map(|_| "unigram"))
    }

    /// The number of tokens of a text.
    pub(super) fn count(&self, text: &str, scratch: &mut CountScratch) -> Result<u32> {
        let CountScratch { cache, nodes, .. } = scratch;
        let (mut from, mut count) = (0, 0);
        while from < text.len() {
            let to = self.next_cut(text.as_bytes(), from);
            count += count_kept(text, from..to, cache, |word| self.count_anew(word, nodes))?;
            from = to;
        }
        Ok(count)
    }

    fn count_anew(&self, word: &str, nodes: &mut Vec<Node>) -> Result<u32> {
        let ours = match (&self.word_piece, &self.unigram) {
            (Some(model), _) => model.count(word.as_bytes()),
            (_, Some(model)) => model.count(word, nodes),
            _ => None,
        };
        ours.map_or_else(|| fallback::count(&self.tokenizer, word), Ok)
    }

    /// Where the word that begins at `from` ends.
    #[inline]
    fn next_cut(&self, text: &[u8], from: usize) -> usize {
        let mut at = from + 1;
        while at < text.len() {
            let byte = text[at];
            let cut = match byte {
                b' ' => ends_word(text, at),
                b'\n' if self.newlines => ends_word(text, at),
                0x80..0xc0 => false,
                0xe4..=0xe9 if self.han && is_han(decode(text, at).0) => ends_word(text, at),
                _ if self.han && text[at - 1] >= 0x80 => {
                    is_han(char_before(text, at)) && is_plain(decode(text, at).0)
                }
                _ => false,
            };
            if cut {
                return at;
            }
            at += 1;
        }
        at
    }
}

/// The number of tokens of a word of a text: what is kept of it, else by `count`.
pub(super) fn count_kept<E>(
    text: &str,
    range: Range<usize>,
    cache: &mut Cache,
    count: impl FnOnce(&str) -> std::result::Result<u32, E>,
) -> std::result::Result<u32, E> {
    let word = &text[range.clone()];
    if word.len() > MAX_KEY {
        if let Some(kept) = cache.find_long(word.as_bytes()) {
            return Ok(kept);
        }
        let count = count(word)?;
        cache.insert_long(word.as_bytes(), count);
        return Ok(count);
    }
    let key = Key::at(text.as_bytes(), range.start, word.len());
    let near = cache.near(Portable, key);
    if near > 0 {
        return Ok(near);
    }
    let far = cache.far(Portable, key);
    if far > 0 {
        cache.promote(key, far);
        return Ok(far);
    }
    let count = count(word)?;
    // A kept 0 would say that there is nothing, and a byte holds the count.
    if (1..256).contains(&count) {
        cache.insert(key, count);
    }
    Ok(count)
}

/// Whether the character before may end a word: none that joins with a blank, and none that is one.
#[inline]
fn ends_word(text: &[u8], at: usize) -> bool {
    match text[at - 1] {
        0..=b' ' | 0x7f => false,
        b'!'..0x7f => true,
        _ => is_plain(char_before(text, at)),
    }
}

fn char_before(text: &[u8], at: usize) -> u32 {
    let from = text[..at].iter().rposition(|&byte| !is_continuation(byte)).unwrap_or(0);
    decode(text, from).0
}

fn is_han(c: u32) -> bool {
    (0x4e00..=0x9fff).contains(&c)
}

/// Characters that neither blank out nor join with what is beside them: visible ASCII, letters of common scripts, Han,
/// kana, Hangul, and the punctuation that comes with them.
fn is_plain(c: u32) -> bool {
    matches!(c,
        0x21..=0x7e | 0xc0..=0x24f | 0x400..=0x481 | 0x2018..=0x201d | 0x3001 | 0x3002 | 0x3008..=0x3011
        | 0x3041..=0x3096 | 0x30a1..=0x30fa | 0x4e00..=0x9fff | 0xac00..=0xd7a3 | 0xff01..=0xff5e)
}

/// Whether nothing joins a word with a blank after it.
fn splits_at_blanks(file: &Value) -> bool {
    let normalizers = steps(&file["normalizer"], "normalizers");
    let pre_tokenizers = steps(&file["pre_tokenizer"], "pretokenizers");
    let local = |step: &&Value| match kind(step) {
        "BertNormalizer" | "Lowercase" | "NFC" | "NFD" | "NFKC" | "NFKD" | "StripAccents" | "Nmt"
        | "Precompiled" => true,
        "Strip" => step["strip_left"] == false,
        "Replace" => match (step["pattern"]["String"].as_str(), step["pattern"]["Regex"].as_str()) {
            (Some(text), None) => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()),
            (None, Some(regex)) => regex == " {2,}" && (step["content"] == " " || step["content"] == "▁"),
            _ => false,
        },
        _ => false,
    };
    let splits = |step: &&Value| match kind(step) {
        "BertPreTokenizer" | "Whitespace" | "WhitespaceSplit" => true,
        "Metaspace" => step["replacement"] == "▁" && step["split"] != false,
        _ => false,
    };
    let is_known = |step: &&Value| match kind(step) {
        "Digits" => true,
        "Punctuation" => step["behavior"].is_null() || step["behavior"] == "Isolated",
        _ => splits(step),
    };
    let replaces = normalizers.iter().any(|step| kind(step) == "Replace");
    let tokens = file["added_tokens"].as_array().map_or(&[][..], Vec::as_slice);
    let apart = |token: &Value| {
        let plain = |c: char| c.is_ascii_graphic() || !c.is_ascii() && is_plain(c as u32);
        token["rstrip"] == false
            && token["content"].as_str().is_some_and(|content| content.chars().all(plain))
            && (token["normalized"] == false || !replaces)
    };
    normalizers.iter().all(local)
        && pre_tokenizers.iter().all(is_known)
        && pre_tokenizers.iter().any(splits)
        && matches!(kind(&file["model"]), "WordPiece" | "Unigram" | "WordLevel")
        && tokens.iter().all(apart)
}

/// Whether nothing joins a word with a newline after it: blanks of all kinds split before anything else is done.
fn splits_at_newlines(file: &Value) -> bool {
    let pre_tokenizers = steps(&file["pre_tokenizer"], "pretokenizers");
    let first = pre_tokenizers.first().map_or("", |step| kind(step));
    matches!(first, "BertPreTokenizer" | "Whitespace" | "WhitespaceSplit")
}

/// Whether nothing joins a Han character with one beside it either.
fn splits_at_han(file: &Value) -> bool {
    let tokens = file["added_tokens"].as_array().map_or(&[][..], Vec::as_slice);
    let apart = |token: &Value| {
        token["single_word"] == false && token["content"].as_str().is_some_and(|content| content.is_ascii())
    };
    let normalizer = &file["normalizer"];
    kind(normalizer) == "BertNormalizer"
        && normalizer["handle_chinese_chars"] == true
        && kind(&file["pre_tokenizer"]) == "BertPreTokenizer"
        && tokens.iter().all(apart)
}
