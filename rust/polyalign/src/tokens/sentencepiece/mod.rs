//! BPE over characters, as SentencePiece has it: Llama 1 and 2, Mistral, CodeLlama, Phi-3, Yi, Gemma. Which tokenizer.json
//! that is, and a text's way through it: added tokens are cut out, what lies between gets its `▁`, and is counted
//! ([`count`]).
//!
//! A text is never rewritten with `▁` for its blanks: both stand for one symbol ([`chars`](super::chars)).

mod ascii;
mod count;
mod spaces;

use super::added::{Matcher, matchers};
use super::boundaries::Boundaries;
use super::byte_level::{check_model, check_post_processor};
use super::chars::{Chars, META};
use super::config::{File, ModelConfig, encodes_special_tokens};
use super::han::Han;
use super::merges::{Merges, Vocab};
use super::model::Model;
use super::pieces::CountScratch;
use ascii::Ascii;
use spaces::{Prefix, Spaces};
use std::collections::HashSet;
use std::convert::Infallible;

/// Counts with our own code.
pub(super) struct SentencePiece {
    raw: Matcher,
    normalised: Matcher,
    spaces: Spaces,
    /// With `ignore_merges`, the texts that are one token, with blanks for `▁`.
    whole: Option<HashSet<String>>,
    model: Model,
    ascii: Ascii,
}

impl SentencePiece {
    /// Whether a file asks for a `▁` in the place of blanks, so that [`Self::build`] is the one to ask.
    pub(super) fn is_meant(file: &File) -> bool {
        spaces::is_meant(&file.rest)
    }

    /// The fast path for a tokenizer, or why it has none.
    pub(super) fn build(file: File) -> Result<Self, String> {
        let File { added_tokens, model, rest } = file;
        if rest.get("version").is_some_and(|v| v != "1.0") {
            return Err("an unknown version".into());
        }
        check_post_processor(rest.get("post_processor"))?;
        let spaces = Spaces::of(&rest)?;
        check_model(&model.rest)?;
        let vocab = Vocab::new(&model)?;
        let whole = ignores_merges(&model).then(|| model.vocab.iter().map(|(t, _)| blank(&t.0)).collect());
        if whole.is_some() && spaces.split {
            return Err("ignore_merges with a Metaspace that splits".into());
        }
        let (tables, ascii) = tables(&model, &vocab, spaces.split)?;
        let id_of = |token: &str| vocab.get(token).map(|place| model.vocab[place as usize].1);
        if added_tokens.iter().any(|t| t.normalized && spaces.replaced && (t.lstrip || t.rstrip)) {
            return Err("an added token of normalised text that strips".into());
        }
        let normalise = |s: &str| if spaces.replaced { spaces.normalise(s) } else { s.to_owned() };
        let encode_special = encodes_special_tokens(&rest);
        let (raw, normalised) = matchers(added_tokens, id_of, vocab.len(), normalise, encode_special)?;
        if spaces.replaced && spaces.prefix == Prefix::First && !normalised.is_empty() {
            return Err("a Metaspace for the first piece after added tokens of normalised text".into());
        }
        Ok(Self { raw, normalised, spaces, whole, model: tables, ascii })
    }

    /// The number of tokens of a text.
    pub(super) fn count(&self, text: &str, scratch: &mut CountScratch) -> u32 {
        let mut count = 0;
        let found = self.raw.split(text, |part| {
            let first = part.as_ptr() == text.as_ptr();
            count += self.count_raw(part, first, scratch);
            Ok::<(), Infallible>(())
        });
        count + found.unwrap_or_else(|never| match never {})
    }

    /// A stretch without raw added tokens, the first of the text or not.
    fn count_raw(&self, text: &str, first: bool, scratch: &mut CountScratch) -> u32 {
        if self.normalised.is_empty() {
            return self.count_plain(text, self.spaces.is_missing(text, first), scratch);
        }
        if self.spaces.replaced {
            let text = self.spaces.normalise(text);
            return self.count_normalised(&text, first, scratch);
        }
        self.count_normalised(text, first, scratch)
    }

    fn count_normalised(&self, text: &str, first: bool, scratch: &mut CountScratch) -> u32 {
        let mut count = 0;
        let found = self.normalised.split(text, |part| {
            let first = first && part.as_ptr() == text.as_ptr();
            // What the normaliser prepends is there already.
            let missing = self.spaces.prefix != Prefix::Each && self.spaces.is_missing(part, first);
            count += self.count_plain(part, missing, scratch);
            Ok::<(), Infallible>(())
        });
        count + found.unwrap_or_else(|never| match never {})
    }

    /// A stretch without added tokens, to which a `▁` is prepended if it is `missing`.
    fn count_plain(&self, text: &str, missing: bool, scratch: &mut CountScratch) -> u32 {
        if !missing {
            return self.count_pieces(text, scratch);
        }
        let mut buffer = std::mem::take(&mut scratch.buffer);
        buffer.clear();
        buffer.push(' ');
        buffer.push_str(text);
        let count = self.count_pieces(&buffer, scratch);
        scratch.keep(buffer);
        count
    }

    fn count_pieces(&self, text: &str, scratch: &mut CountScratch) -> u32 {
        if self.whole.as_ref().is_some_and(|whole| whole.contains(&blank(text))) {
            return 1;
        }
        count::Counting { model: &self.model, ascii: &self.ascii }.count(text.as_bytes(), scratch)
    }
}

/// The text with blanks for `▁`.
fn blank(text: &str) -> String {
    text.replace(META, " ")
}

fn ignores_merges(model: &ModelConfig) -> bool {
    model.rest.get("ignore_merges").and_then(serde_json::Value::as_bool).unwrap_or(false)
}

/// The tables of a model. With `split` nothing is merged across what is before a `▁`.
fn tables(model: &ModelConfig, vocab: &Vocab, split: bool) -> Result<(Model, Ascii), String> {
    let chars = Chars::new(model, |token| vocab.get(token).is_some())?;
    let mut boundaries = Boundaries::new();
    let mut ascii = Ascii::default();
    let merges = Merges::of_chars(model, vocab, chars, |token| {
        for (left, right) in token.chars().zip(token.chars().skip(1)) {
            if split && right == META {
                continue;
            }
            for left in spellings(left) {
                for right in spellings(right) {
                    boundaries.join_chars(left, right);
                    ascii.join(left, right);
                }
            }
        }
    })?;
    ascii.join_all(|c| merges.fuses(c as u32));
    ascii.group();
    let pairs = boundaries.take_pairs();
    let mut han = pairs.and_then(|pairs| Han::build(&merges, &boundaries, pairs));
    if let Some(han) = &mut han {
        han.leave_out(|c| merges.fuses(c));
    }
    Ok((Model { merges, boundaries, han }, ascii))
}

/// A character as it may stand in a text.
fn spellings(c: char) -> impl Iterator<Item = char> + Clone {
    [Some(if c == META { ' ' } else { c }), (c == META).then_some(c)].into_iter().flatten()
}
