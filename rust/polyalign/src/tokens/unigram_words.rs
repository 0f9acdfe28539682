//! Unigram behind the steps of T5, mT5, XLM-R and their kin, for words of plain characters: what each of these becomes is
//! told from it alone, a `▁` is put before a word, and our own Viterbi counts it. All else is for the crate.
//!
//! As in model files, a blank stands for `▁`.

use super::chars::META;
use super::charsmap::Charsmap;
use super::normalise::Normaliser;
use super::steps::{kind, steps};
use super::unicode::{NFC_SUSPECT, TABLE, decode};
use super::unigram::{Double, Node, Unigram, Unknown};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use std::collections::HashMap;
use tokenizers::{ModelWrapper, Tokenizer};

/// Counts words of plain characters.
pub(super) struct UnigramWords {
    model: Unigram,
    /// What becomes of a character, by its code.
    fates: Box<[Fate; 1 << 16]>,
    /// What characters become that are mapped.
    maps: HashMap<char, Box<str>>,
    scheme: Scheme,
    /// Whether blanks are taken out before a `▁` is put anywhere.
    split: bool,
    /// Blanks in a row that are as one.
    most_blanks: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    /// Becomes another text.
    Mapped,
    Blank,
    /// Who knows.
    Other,
}

/// Where a `▁` is put before a word without a blank before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Always,
    First,
    Never,
}

/// What normalizers do.
struct Steps {
    charsmap: Option<Charsmap>,
    /// Unicode's normal forms.
    forms: Normaliser,
    /// What stands for blanks in a row, if one does.
    blanks: Option<char>,
}

impl UnigramWords {
    /// For a tokenizer, loaded from `file`, whose words are apart; `None` if its steps are others.
    pub(super) fn of(tokenizer: &Tokenizer, file: &Value) -> Option<Self> {
        let steps = Steps::of(&file["normalizer"])?;
        let (split, scheme) = pre_tokenizer(&file["pre_tokenizer"])?;
        let (mut fates, mut maps): (Vec<Fate>, HashMap<char, Box<str>>) = Default::default();
        for c in 0..1 << 16 {
            let (fate, map) = steps.fate(c, split);
            fates.push(fate);
            maps.extend(char::from_u32(c).zip(map));
        }
        let (model, unknown) = model(tokenizer, file)?;
        // Where an added token could begin, or the unknown one.
        let mut firsts: Vec<char> = unknown.chars().take(1).collect();
        for token in file["added_tokens"].as_array().map_or(&[][..], Vec::as_slice) {
            let first = token["content"].as_str()?.chars().next()?;
            if token["normalized"] != false && fates.get(first as usize) != Some(&Fate::Stays) {
                return None;
            }
            firsts.push(first);
        }
        for (c, fate) in (0..).zip(&mut fates).filter(|(_, fate)| **fate != Fate::Other) {
            let map = char::from_u32(c).and_then(|c| maps.get(&c));
            if firsts.iter().any(|&first| first as u32 == c || map.is_some_and(|map| map.contains(first))) {
                *fate = Fate::Other;
            }
        }
        let one = if split { steps.blanks == Some(META) } else { steps.blanks.is_none() };
        Some(Self {
            model,
            fates: fates.try_into().ok()?,
            maps,
            scheme,
            split,
            most_blanks: if one { 1 } else { usize::MAX },
        })
    }

    /// The number of tokens of a stretch of text, if that can be told here.
    pub(super) fn count(&self, text: &str, nodes: &mut Vec<Node>) -> Option<u32> {
        let (mut at, mut count) = (0, 0);
        let mut buffer = String::new();
        while at < text.len() {
            let (blanks, from) = self.run(text, at, |fate| fate == Fate::Blank);
            let mut mapped = false;
            let (_, to) = self.run(text, from, |fate| {
                mapped |= fate == Fate::Mapped;
                matches!(fate, Fate::Stays | Fate::Mapped)
            });
            if to == from || blanks > self.most_blanks {
                return None;
            }
            let prefix = match self.scheme {
                Scheme::Always => true,
                Scheme::First => !self.split || blanks == 0,
                Scheme::Never => !self.split && blanks > 0,
            };
            let word = if !mapped && !prefix {
                &text[from..to]
            } else if !mapped && text[at..from].ends_with(' ') {
                &text[from - 1..to]
            } else {
                buffer.clear();
                buffer.extend(prefix.then_some(' '));
                self.map(&text[from..to], &mut buffer);
                &buffer
            };
            count += self.model.count::<Double>(word.as_bytes(), nodes, &None);
            at = to;
        }
        Some(count)
    }

    /// How many characters from `from` on are as said, and where they end.
    #[inline(always)]
    fn run(&self, text: &str, from: usize, mut is: impl FnMut(Fate) -> bool) -> (usize, usize) {
        let (mut at, mut count) = (from, 0);
        while at < text.len() {
            let (c, len) = decode(text.as_bytes(), at);
            if !is(self.fates.get(c as usize).copied().unwrap_or(Fate::Other)) {
                break;
            }
            (at, count) = (at + len, count + 1);
        }
        (count, at)
    }

    fn map(&self, word: &str, out: &mut String) {
        let mut done = 0;
        for (at, c) in word.char_indices() {
            if self.fates[c as usize] != Fate::Mapped {
                continue;
            }
            out.push_str(&word[done..at]);
            done = at + c.len_utf8();
            out.push_str(&self.maps[&c]);
        }
        out.push_str(&word[done..]);
    }
}

impl Steps {
    /// `None` where there are others.
    fn of(normalizer: &Value) -> Option<Self> {
        let (mut charsmap, mut forms, mut blanks) = (None, Vec::new(), None);
        for step in steps(normalizer, "normalizers") {
            match kind(step) {
                "Precompiled" if charsmap.is_none() && blanks.is_none() => {
                    let bytes = BASE64_STANDARD.decode(step["precompiled_charsmap"].as_str()?).ok()?;
                    charsmap = Some(Charsmap::new(&bytes).ok()?);
                }
                "NFC" | "NFKC" => forms.push(step),
                // It changes blanks and controls alone.
                "Nmt" => {}
                "Strip" if step["strip_left"] == false => {}
                "Replace" if step["pattern"]["Regex"] == " {2,}" && blanks.is_none() => {
                    blanks = Some(match step["content"].as_str()? {
                        " " => ' ',
                        "▁" => META,
                        _ => return None,
                    });
                }
                _ => return None,
            }
        }
        let both = charsmap.is_some() && !forms.is_empty();
        (!both).then(|| Self { charsmap, forms: Normaliser::split(&forms).0, blanks })
    }

    /// What a character becomes that stands alone, if that is not itself.
    fn mapped(&self, c: u32) -> Option<String> {
        let c = char::from_u32(c)?;
        let text = c.to_string();
        let mapped = match &self.charsmap {
            Some(map) => map.shortest(text.as_bytes())?.to_owned(),
            None => self.forms.apply(&text).ok()?.into_owned(),
        };
        (mapped != text).then_some(mapped)
    }

    /// What becomes of a character, and what it is mapped to.
    fn fate(&self, c: u32, split: bool) -> (Fate, Option<Box<str>>) {
        let is_blank = |c: char| c.is_whitespace() || c == META;
        let is_inert = |c: u32| self.forms.is_none() || stands_alone(c) && is_inert(c);
        let fate = match self.mapped(c) {
            Some(text) if text == " " && c < 128 => Fate::Blank,
            Some(text) if stands_alone(c) && !text.is_empty() && !text.contains(is_blank) => {
                let inert = text.chars().all(|c| is_inert(c as u32));
                return if inert { (Fate::Mapped, Some(text.into())) } else { (Fate::Other, None) };
            }
            Some(_) => Fate::Other,
            None if c == ' ' as u32 || split && matches!(c, 0x09 | 0x0a) => Fate::Blank,
            None if stands_alone(c) && is_inert(c) => Fate::Stays,
            None => Fate::Other,
        };
        (fate, None)
    }
}

/// Whether a character, beside others like it, is a grapheme of its own; it is no blank and no `▁`.
fn stands_alone(c: u32) -> bool {
    matches!(c,
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0x2ff | 0x391..=0x3a1 | 0x3a3..=0x3ff | 0x400..=0x481 | 0x2010..=0x2027
        | 0x2030..=0x205e | 0x20a0..=0x20bf | 0x2100..=0x214f | 0x2190..=0x2580 | 0x2582..=0x27bf
        | 0x3001..=0x3029 | 0x3041..=0x3096 | 0x30a1..=0x30fa | 0x30fc | 0x3400..=0x4dbf | 0x4e00..=0x9fff
        | 0xac00..=0xd7a3 | 0xff01..=0xff9d | 0xffe0..=0xffe6)
}

/// Whether composing leaves a character as it is, and apart from what is before it.
fn is_inert(c: u32) -> bool {
    TABLE.byte(c) & NFC_SUSPECT == 0
}

/// Whether blanks are taken out first, and where a `▁` is put.
fn pre_tokenizer(value: &Value) -> Option<(bool, Scheme)> {
    let (split, metaspace) = match steps(value, "pretokenizers").as_slice() {
        [metaspace] => (false, *metaspace),
        [first, metaspace] if kind(first) == "WhitespaceSplit" => (true, *metaspace),
        _ => return None,
    };
    let scheme = match metaspace["prepend_scheme"].as_str() {
        _ if kind(metaspace) != "Metaspace" => return None,
        Some("never") => Scheme::Never,
        _ if metaspace["add_prefix_space"] == false => Scheme::Never,
        Some("always") | None => Scheme::Always,
        Some("first") => Scheme::First,
        _ => return None,
    };
    Some((split, scheme))
}

/// The vocabulary that the crate has loaded, and its unknown token.
fn model<'t>(tokenizer: &'t Tokenizer, file: &Value) -> Option<(Unigram, &'t str)> {
    let ModelWrapper::Unigram(vocab) = tokenizer.get_model() else { return None };
    let unknown = usize::try_from(file["model"]["unk_id"].as_u64()?).ok()?;
    // Else unknown characters could be better than a token of them.
    if vocab.min_score > 0.0 {
        return None;
    }
    let (mut tokens, mut places): (Vec<(String, f64)>, HashMap<String, usize>) = Default::default();
    let mut unknown_place = u32::MAX;
    for (id, (token, score)) in vocab.iter().enumerate() {
        // No text comes to them: blanks are written otherwise.
        if token.is_empty() || token.contains(' ') {
            continue;
        }
        let token = token.replace(META, " ");
        // Of a repeated one the last counts.
        let place = *places.entry(token.clone()).or_insert(tokens.len());
        if place == tokens.len() {
            tokens.push((token, *score));
        }
        tokens[place].1 = *score;
        if id == unknown {
            unknown_place = place as u32;
        } else if unknown_place == place as u32 {
            unknown_place = u32::MAX;
        }
    }
    let is_known = |byte: u8| places.contains_key(&format!("<{byte:#04X}>"));
    let unknown_is = match vocab.byte_fallback() {
        true if (0..=255).all(is_known) => Unknown::Bytes(META.len_utf8() as u32),
        true => return None,
        false => Unknown::Fused,
    };
    let model = Unigram::new(&tokens, unknown_place, vocab.min_score - 10.0, unknown_is).ok()?;
    Some((model, &vocab.iter().nth(unknown)?.0))
}
