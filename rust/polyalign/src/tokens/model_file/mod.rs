//! SentencePiece's own model files, `tokenizer.model`: counts are those of its `encode`. A text is normalised
//! ([`normaliser`]), user-defined symbols are cut out of it, and what lies between is BPE or Unigram.
//!
//! BPE is merged by rank like that of a tokenizer.json ([`sentencepiece`](super::sentencepiece)) where that comes to the
//! same, else step by step ([`by_score`]).

mod by_score;
mod normaliser;
mod proto;

use super::added::{Matcher, matchers};
use super::chars::META;
use super::config::{AddedToken, ModelConfig, Text};
use super::parallel;
use super::pieces::CountScratch;
use super::sentencepiece::{Tables, take_runs};
use super::unigram::{LONGEST, Single, Unigram, Unknown};
use super::vocab::Vocab;
use super::words::count_kept;
use crate::{Error, Result};
use aho_corasick::{AhoCorasick, Input};
use by_score::{ByScore, Piece};
use normaliser::{Normaliser, longest_of};
use proto::{File, Kind};
use serde_json::json;
use std::borrow::Cow;
use std::collections::HashSet;
use std::convert::Infallible;
use std::ops::Range;

/// Counts under a model file.
pub(super) struct ModelFile {
    normaliser: Normaliser,
    model: Model,
}

enum Model {
    Unigram(Unigram),
    /// Merges by rank between user-defined symbols.
    Ranked(Matcher, Box<Ranked>),
    /// Merges by score.
    Scored(ByScore, Option<AhoCorasick>, Unknown),
}

/// Merges by rank, but by score around pieces that share theirs with others.
struct Ranked {
    tables: Tables,
    /// The shortest of such pieces.
    alike: Option<AhoCorasick>,
    scored: ByScore,
    /// User-defined symbols, for those that are counted as runs of a character and not cut out.
    frozen: Option<AhoCorasick>,
    unknown: Unknown,
}

impl Ranked {
    /// The number of tokens of a text without user-defined symbols.
    fn count(&self, text: &str, scratch: &mut CountScratch) -> u32 {
        let (mut count, mut done) = (0, 0);
        while let Some(found) =
            self.alike.as_ref().and_then(|alike| alike.find(Input::new(text).range(done..)))
        {
            let (from, to) = self.stretch(text, done, found.range());
            if from > done {
                count += self.tables.count(&text[done..from], scratch);
            }
            let CountScratch { cache, merging, .. } = scratch;
            let Ok(stretch) = count_kept(text, from..to, cache, |stretch| {
                Ok::<u32, Infallible>(self.scored.count(stretch, self.frozen.as_ref(), self.unknown, merging))
            });
            count += stretch;
            done = to;
        }
        count + if done < text.len() { self.tables.count(&text[done..], scratch) } else { 0 }
    }

    /// A range from cut to cut: no piece reaches beyond. The text is cut at `done`.
    fn stretch(&self, text: &str, done: usize, Range { mut start, mut end }: Range<usize>) -> (usize, usize) {
        let mut left = text[done..start].chars().rev();
        let mut right = text[start..].chars().next();
        while let (Some(before), Some(after)) = (left.next(), right) {
            if !self.tables.joined(before, after) {
                break;
            }
            start -= before.len_utf8();
            right = Some(before);
        }
        let mut last = text[..end].chars().next_back();
        for next in text[end..].chars() {
            if last.is_some_and(|last| !self.tables.joined(last, next)) {
                break;
            }
            end += next.len_utf8();
            last = Some(next);
        }
        (start, end)
    }
}

/// Whether this is the content of a model file rather than JSON.
pub fn is_model_file(bytes: &[u8]) -> bool {
    let Some((b'\n', rest)) = bytes.split_first() else { return false };
    // A length, then the tag of a piece's text, score or kind.
    let len = rest.iter().take(10).take_while(|&&byte| byte >= 0x80).count() + 1;
    let is_json = bytes.trim_ascii_start().first().is_some_and(|byte| matches!(byte, b'{' | b'[' | b'"'));
    !is_json && matches!(rest.get(len), Some(0x0a | 0x15 | 0x18))
}

impl ModelFile {
    /// Reads a file, or says why it can't be used.
    pub(super) fn new(bytes: &[u8]) -> std::result::Result<Self, String> {
        let mut file = File::read(bytes)?;
        file.pieces.retain(|piece| piece.text != "\0" || piece.kind != Kind::Unused);
        check(&file)?;
        let normaliser = Normaliser::new(&file)?;
        let model = match file.model_type {
            1 => Model::Unigram(unigram(&file, &normaliser)?),
            2 => bpe(&file, &normaliser)?,
            3 => return Err("a model of words; known are BPE and Unigram".into()),
            4 => return Err("a model of characters; known are BPE and Unigram".into()),
            other => return Err(format!("a model of the unknown type {other}; known are BPE and Unigram")),
        };
        Ok(Self { normaliser, model })
    }

    /// What counts, in a word.
    pub(super) fn kind(&self) -> &'static str {
        match self.model {
            Model::Unigram(_) => "sentencepiece-unigram",
            _ => "sentencepiece",
        }
    }

    /// The number of tokens of a text.
    pub(super) fn count(&self, text: &str, scratch: &mut CountScratch) -> Result<u32> {
        let mut buffer = std::mem::take(&mut scratch.buffer);
        let normalised = self.normaliser.normalise(text, &mut buffer);
        if normalised.len() >= 1 << 31 {
            return Err(Error::Tokenizer("a text of 2 GiB when normalised: count it in parts".into()));
        }
        let count = self.count_normalised(normalised, scratch);
        scratch.keep(buffer);
        Ok(count)
    }

    fn count_normalised(&self, text: &str, scratch: &mut CountScratch) -> u32 {
        match &self.model {
            Model::Unigram(model) => {
                model.count::<Single>(text.as_bytes(), &mut scratch.nodes, &scratch.merging.stop)
            }
            Model::Ranked(user_defined, ranked) => {
                let Ok(count) =
                    user_defined.count(text, |part| Ok::<_, Infallible>(ranked.count(part, scratch)));
                count
            }
            Model::Scored(model, user_defined, unknown) => {
                model.count(text, user_defined.as_ref(), *unknown, &scratch.merging)
            }
        }
    }
}

/// Refuses what SentencePiece does.
fn check(file: &File) -> std::result::Result<(), String> {
    let (mut of_text, mut reserved) = (HashSet::new(), HashSet::new());
    let mut unknown = 0;
    let mut bytes = HashSet::new();
    for piece in &file.pieces {
        if piece.text.len() > LONGEST {
            return Err(format!("a piece of {} bytes, the most are {LONGEST}", piece.text.len()));
        }
        if piece.text.contains('\0') {
            return Err(format!("the piece {:?} holds a NUL", piece.text));
        }
        let set = if piece.kind.is_of_text() { &mut of_text } else { &mut reserved };
        if !set.insert(piece.text) {
            return Err(format!("the piece {:?} is there twice", piece.text));
        }
        match piece.kind {
            Kind::Unknown => unknown += 1,
            Kind::Byte if !file.byte_fallback => {
                return Err(format!("the piece {:?} is of a byte, without byte_fallback", piece.text));
            }
            Kind::Byte => drop(bytes.insert(piece.text)),
            _ => {}
        }
    }
    if let Some(both) = reserved.iter().find(|text| of_text.contains(*text)) {
        return Err(format!("the piece {both:?} is there twice"));
    }
    if unknown != 1 {
        return Err(format!("{unknown} unknown pieces, not one"));
    }
    if file.byte_fallback {
        if let Some(missing) = byte_pieces().find(|piece| !bytes.contains(piece.as_str())) {
            return Err(format!("no piece {missing}, with byte_fallback"));
        }
        if bytes.len() > 256 {
            return Err("pieces of bytes that are none".into());
        }
    }
    Ok(())
}

fn byte_pieces() -> impl Iterator<Item = String> {
    (0..=255).map(|byte| format!("<{byte:#04X}>"))
}

/// What a character without a piece is.
fn unknown_of(file: &File) -> Unknown {
    match file.byte_fallback {
        true => Unknown::Bytes(if file.escape_blanks { '▁'.len_utf8() as u32 } else { 1 }),
        false => Unknown::Fused,
    }
}

fn unigram(file: &File, normaliser: &Normaliser) -> std::result::Result<Unigram, String> {
    let scores = || file.pieces.iter().filter(|piece| piece.kind == Kind::Normal).map(|piece| piece.score);
    let lowest = scores().fold(f32::MAX, f32::min);
    let mut tokens = Vec::with_capacity(file.pieces.len());
    for piece in file.pieces.iter().filter(|piece| piece.kind.is_of_text()) {
        let score = match piece.kind {
            Kind::UserDefined => (0.1 * (piece.text.len() as f64 - 1.0)) as f32 as f64,
            Kind::Unused => f64::NAN,
            _ => piece.score as f64,
        };
        tokens.extend(normaliser.piece(piece.text).map(|text| (text.into_owned(), score)));
    }
    Unigram::new(&tokens, u32::MAX, (lowest - 10.0) as f64, unknown_of(file))
}

fn bpe(file: &File, normaliser: &Normaliser) -> std::result::Result<Model, String> {
    let of_text = file.pieces.iter().filter(|piece| piece.kind.is_of_text());
    let pieces = ByScore::new(of_text.filter_map(|piece| {
        let text = normaliser.piece(piece.text)?.into_owned().into_boxed_str();
        Some((text, Piece { score: piece.score, unused: piece.kind == Kind::Unused }))
    }));
    let user_defined: Vec<String> = file
        .pieces
        .iter()
        .filter(|piece| piece.kind == Kind::UserDefined)
        .filter_map(|piece| normaliser.piece(piece.text).map(Cow::into_owned))
        .collect();
    let (frozen, unknown) = (longest_of(&user_defined)?, unknown_of(file));
    let Some((config, alike)) = ranked(file, normaliser, &pieces) else {
        return Ok(Model::Scored(pieces, frozen, unknown));
    };
    let mut added = user_defined.iter().map(|text| added(text)).collect();
    let runs = take_runs(&mut added, |_| true);
    let tables = Tables::new(&config, &Vocab::new(&config)?, false, &runs)?;
    let (user_defined, _) = matchers(added, |_| None, 0, |s| Ok(s.to_owned()), false)?;
    let ranked = Ranked { tables, alike: longest_of(&alike)?, scored: pieces, frozen, unknown };
    Ok(Model::Ranked(user_defined, Box::new(ranked)))
}

fn added(text: &str) -> AddedToken {
    AddedToken {
        id: 0,
        content: text.to_owned(),
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: false,
    }
}

/// The merges of a BPE in order, if they come to what scores do but for pieces that share theirs; and those.
fn ranked<'a>(
    file: &File<'a>,
    normaliser: &Normaliser,
    pieces: &ByScore,
) -> Option<(ModelConfig<'a>, Vec<String>)> {
    let unknown = file.pieces.iter().find(|piece| piece.kind == Kind::Unknown)?.text;
    // What is unknown is counted by the bytes of what stands there, and a character that is no piece is unknown.
    let is_character = |piece: &proto::Piece| !piece.kind.is_of_text() && piece.text.chars().nth(1).is_none();
    if !normaliser.escapes() || !pieces.has(" ") || file.pieces.iter().any(is_character) {
        return None;
    }
    let is_merged = |piece: &proto::Piece| matches!(piece.kind, Kind::Normal | Kind::Unused);
    let mut merged: Vec<Merged> = parallel::filter_map(&file.pieces, |piece| {
        is_merged(piece).then(|| Merged::of(piece, normaliser, pieces)).flatten()
    });
    let known = |text: &str| text.chars().nth(1).is_some() || pieces.has(&text.replace(META, " "));
    if merged.iter().any(|merged| merged.unused || !known(merged.left) || !known(merged.right)) {
        return None;
    }
    merged.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
    let alike =
        merged.chunk_by(|a, b| a.score.total_cmp(&b.score).is_eq()).filter(|alike| alike.len() > 1).flatten();
    let alike = shortest(alike.map(|merged| format!("{}{}", merged.left, merged.right).replace(META, " ")));
    let used = file.pieces.iter().filter(|piece| piece.kind != Kind::Unused);
    let settings = json!({"unk_token": unknown, "fuse_unk": true, "byte_fallback": file.byte_fallback});
    let config = ModelConfig {
        vocab: used.zip(0..).map(|(piece, id)| (Text(piece.text.into()), id)).collect(),
        merges: merged.iter().map(|merged| (Text(merged.left.into()), Text(merged.right.into()))).collect(),
        rest: settings.as_object().cloned().unwrap_or_default(),
    };
    Some((config, alike))
}

/// How a piece comes about.
struct Merged<'a> {
    score: f32,
    left: &'a str,
    right: &'a str,
    unused: bool,
}

impl<'a> Merged<'a> {
    fn of(piece: &proto::Piece<'a>, normaliser: &Normaliser, pieces: &ByScore) -> Option<Self> {
        let text = normaliser.piece(piece.text)?;
        let split = pieces.split_of(&text)?;
        let blanks = text[..split].bytes().filter(|&byte| byte == b' ').count();
        let (left, right) = piece.text.split_at(split + (META.len_utf8() - 1) * blanks);
        Some(Self { score: piece.score, left, right, unused: piece.kind == Kind::Unused })
    }
}

/// The texts that hold no other.
fn shortest(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.collect();
    texts.sort_by_key(String::len);
    let mut kept: HashSet<String> = HashSet::new();
    for text in texts {
        // Of a long one it does not matter.
        let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
        let held = text.len() < 256
            && ends
                .clone()
                .any(|end| text[..end].char_indices().any(|(at, _)| kept.contains(&text[at..end])));
        if !held {
            kept.insert(text);
        }
    }
    kept.into_iter().collect()
}
