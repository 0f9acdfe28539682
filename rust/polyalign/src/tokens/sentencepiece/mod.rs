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
use super::cache::Key;
use super::chars::{Chars, META};
use super::config::{AddedToken, File, ModelConfig, encodes_special_tokens};
use super::han::Han;
use super::merges::Merges;
use super::model::Model;
use super::normalise::Normaliser;
use super::pieces::CountScratch;
use super::steps::steps_of;
use super::vocab::Vocab;
use ascii::Ascii;
use spaces::{Prefix, Spaces};
use std::collections::HashSet;
use std::convert::Infallible;

/// Counts with our own code.
pub(super) struct SentencePiece {
    raw: Matcher,
    normalised: Matcher,
    /// What is done before blanks become `▁`.
    forms: Normaliser,
    spaces: Spaces,
    /// With `ignore_merges`, the texts that are one token, with blanks for `▁`.
    whole: Option<HashSet<String>>,
    tables: Tables,
}

impl SentencePiece {
    /// Whether a file asks for a `▁` in the place of blanks, so that [`Self::build`] is the one to ask.
    pub(super) fn is_meant(file: &File) -> bool {
        spaces::is_meant(&file.rest)
    }

    /// The fast path for a tokenizer, or why it has none.
    pub(super) fn build(file: &File) -> Result<Self, String> {
        let File { added_tokens, model, rest } = file;
        let mut added_tokens = added_tokens.clone();
        if rest.get("version").is_some_and(|v| v != "1.0") {
            return Err("an unknown version".into());
        }
        check_post_processor(rest.get("post_processor"))?;
        let steps = steps_of(rest.get("normalizer"), "normalizers");
        let (forms, others) = Normaliser::split(&steps);
        let spaces = Spaces::of(others, rest)?;
        check_model(&model.rest)?;
        let vocab = Vocab::new(model)?;
        let whole = ignores_merges(model).then(|| model.vocab.iter().map(|(t, _)| blank(&t.0)).collect());
        if whole.is_some() && spaces.split {
            return Err("ignore_merges with a Metaspace that splits".into());
        }
        let id_of = |token: &str| vocab.get(token).map(|place| model.vocab[place as usize].1);
        let normalise = |s: &str| {
            let s = forms.apply(s).map_err(|e| e.to_string())?;
            Ok(if spaces.replaced && !s.is_empty() { spaces.normalise(&s) } else { s.into_owned() })
        };
        let encode_special = encodes_special_tokens(rest);
        let plain = spaces.prefix == Prefix::Never && whole.is_none() && !encode_special;
        let runs =
            if plain { take_runs(&mut added_tokens, |token| id_of(token).is_some()) } else { Vec::new() };
        let tables = Tables::new(model, &vocab, spaces.split, &runs)?;
        let (raw, mut normalised) = matchers(added_tokens, id_of, vocab.len(), normalise, encode_special)?;
        if spaces.replaced {
            normalised.keep_blanks();
        }
        let changed = spaces.replaced || !forms.is_none();
        if changed && spaces.prefix == Prefix::First && !normalised.is_empty() {
            return Err("a Metaspace for the first piece after added tokens of normalised text".into());
        }
        Ok(Self { raw, normalised, forms, spaces, whole, tables })
    }

    /// The number of tokens of a text.
    ///
    /// # Errors
    /// As [`Normaliser::apply`].
    pub(super) fn count(&self, text: &str, scratch: &mut CountScratch) -> crate::Result<u32> {
        self.raw.count(text, |part| {
            let first = part.as_ptr() == text.as_ptr();
            Ok(self.count_raw(&self.forms.apply(part)?, first, scratch))
        })
    }

    /// A stretch without raw added tokens, in its form, the first of the text or not.
    fn count_raw(&self, text: &str, first: bool, scratch: &mut CountScratch) -> u32 {
        if text.is_empty() {
            return 0;
        }
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
        let Ok(count) = self.normalised.count(text, |part| {
            let first = first && part.as_ptr() == text.as_ptr();
            // What the normaliser prepends is there already.
            let missing = self.spaces.prefix != Prefix::Each && self.spaces.is_missing(part, first);
            Ok::<_, Infallible>(self.count_plain(part, missing, scratch))
        });
        count
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
        self.tables.count(text, scratch)
    }
}

/// The text with blanks for `▁`.
fn blank(text: &str) -> String {
    text.replace(META, " ")
}

fn ignores_merges(model: &ModelConfig) -> bool {
    model.rest.get("ignore_merges").and_then(serde_json::Value::as_bool).unwrap_or(false)
}

/// Takes those added tokens out that are one ASCII character up to so many times, as newlines in Gemma: each of these
/// characters, and how many of it are one token at most. Where texts are cut for a token, nothing is put before what
/// follows, and no other token has to do with the character, a run of it is like any piece.
pub(super) fn take_runs(added: &mut Vec<AddedToken>, is_known: impl Fn(&str) -> bool) -> Vec<(u8, u8)> {
    let mut contents: Vec<&str> = added.iter().map(|token| token.content.as_str()).collect();
    contents.sort_unstable();
    let repeated = contents.windows(2).any(|pair| pair[0] == pair[1]);
    if repeated || added.iter().any(|token| token.lstrip || token.rstrip || token.normalized) {
        return Vec::new();
    }
    let is_run = |token: &AddedToken, c: u8| token.content.bytes().all(|byte| byte == c);
    let most_of = |c: u8| {
        let with: Vec<&AddedToken> =
            added.iter().filter(|token| token.content.as_bytes().contains(&c)).collect();
        let plain = |token: &&AddedToken| is_run(token, c) && !token.single_word && is_known(&token.content);
        // All differ: as many as the longest is long are all up to it.
        let most = with.iter().map(|token| token.content.len()).max().unwrap_or(0);
        (with.iter().all(plain) && most == with.len() && (1..256).contains(&most)).then_some((c, most as u8))
    };
    let first: std::collections::BTreeSet<u8> =
        added.iter().filter_map(|t| t.content.bytes().next()).collect();
    let runs: Vec<(u8, u8)> =
        first.into_iter().filter(|&c| c < 128 && c != b' ').filter_map(most_of).collect();
    added.retain(|token| !runs.iter().any(|&(c, _)| is_run(token, c)));
    runs
}

/// Merges of characters, and where texts may be cut.
pub(super) struct Tables {
    model: Model,
    ascii: Ascii,
}

impl Tables {
    /// Those of a model. With `split` nothing is merged across what is before a `▁`; `runs` are what [`take_runs`] took.
    pub(super) fn new(
        model: &ModelConfig,
        vocab: &Vocab,
        split: bool,
        runs: &[(u8, u8)],
    ) -> Result<Self, String> {
        let mut chars = Chars::new(model, |token| vocab.get(token).is_some())?;
        runs.iter().for_each(|&(c, most)| chars.insert_run(c, most));
        let is_run = |c: char| runs.iter().any(|&(run, _)| run as char == c);
        let mut boundaries = Boundaries::new();
        let mut ascii = Ascii::default();
        let merges = Merges::of_chars(model, vocab, chars, |token| {
            for (left, right) in token.chars().zip(token.chars().skip(1)) {
                if split && right == META || is_run(left) || is_run(right) {
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
        for &(c, _) in runs {
            boundaries.join_chars(c as char, c as char);
            ascii.join(c as char, c as char);
        }
        ascii.join_all(|c| merges.fuses(c as u32) && !is_run(c as char));
        ascii.group();
        let pairs = boundaries.take_pairs();
        let mut han = pairs.and_then(|pairs| Han::build(&merges, &boundaries, pairs));
        if let Some(han) = &mut han {
            han.leave_out(|c| merges.fuses(c));
        }
        let blanked = |token: &str| Key::of_ascii(blank(token).as_bytes());
        let tokens = model.vocab.iter().filter_map(|(token, _)| Some((blanked(&token.0)?, false)));
        let tokens: Vec<_> = tokens.collect();
        Ok(Self { model: Model::new(merges, boundaries, han, &tokens), ascii })
    }

    /// Whether a token may hold two neighbouring characters.
    pub(super) fn joined(&self, left: char, right: char) -> bool {
        self.counting().joined(left as u32, right as u32)
    }

    /// The number of tokens of a text below 2 GiB.
    pub(super) fn count(&self, text: &str, scratch: &mut CountScratch) -> u32 {
        self.counting().count(text.as_bytes(), scratch)
    }

    fn counting(&self) -> count::Counting<'_> {
        count::Counting { model: &self.model, ascii: &self.ascii }
    }
}

/// A character as it may stand in a text.
fn spellings(c: char) -> impl Iterator<Item = char> + Clone {
    [Some(if c == META { ' ' } else { c }), (c == META).then_some(c)].into_iter().flatten()
}
