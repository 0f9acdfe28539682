//! The fast path: byte-level BPE with a known pre-tokenizer. Which tokenizer.json it covers, and a text's way through
//! it: added tokens are cut out, what lies between is normalised, and counted ([`Counting`]).

use super::added::{Matcher, matchers};
use super::config::{File, encodes_special_tokens};
use super::count::Counting;
use super::model::Model;
use super::normalise::Normaliser;
use super::pieces::CountScratch;
use super::pretokens::{Family, PreTokenizer, recognise};
use super::steps::steps_of;
use super::vocab::Vocab;
use serde_json::Value;
use std::borrow::Cow;
use std::convert::Infallible;

/// Bytes of texts that are counted together, about, and of the longest such text.
const TOGETHER: usize = 16 << 10;
const LONGEST: usize = 4 << 10;

/// Counts with our own code.
pub(super) struct ByteLevel {
    raw: Matcher,
    normalised: Matcher,
    normaliser: Normaliser,
    pre_tokenizer: PreTokenizer,
    model: Model,
}

impl ByteLevel {
    /// The fast path for a tokenizer, or why it has none.
    pub(super) fn build(file: &File) -> Result<Self, String> {
        let File { added_tokens, model, rest } = file;
        if rest.get("version").is_some_and(|v| v != "1.0") {
            return Err("an unknown version".into());
        }
        check_post_processor(rest.get("post_processor"))?;
        let steps = steps_of(rest.get("normalizer"), "normalizers");
        let (normaliser, others) = Normaliser::split(&steps);
        if let Some(step) = others.first() {
            return Err(format!("normalizer {}", step["type"].as_str().unwrap_or("without a type")));
        }
        let pre_tokenizer = recognise(rest.get("pre_tokenizer"))?;
        check_model(&model.rest)?;
        let flag = |name: &str| model.rest.get(name).and_then(Value::as_bool).unwrap_or(false);
        let vocab = Vocab::new(model)?;
        let tables = Model::build(model, &vocab, flag("ignore_merges"))?;
        let id_of = |token: &str| vocab.get(token).map(|place| model.vocab[place as usize].1);
        let normalise = |s: &str| normaliser.apply(s).map(Cow::into_owned).map_err(|e| e.to_string());
        let encode_special = encodes_special_tokens(rest);
        let (raw, normalised) =
            matchers(added_tokens.clone(), id_of, vocab.len(), normalise, encode_special)?;
        Ok(Self { raw, normalised, normaliser, pre_tokenizer, model: tables })
    }

    /// The name of the pre-tokenizer's family.
    pub(super) fn pre_tokenizer(&self) -> &'static str {
        match &self.pre_tokenizer {
            PreTokenizer::Known(family, _) => family.name(),
            PreTokenizer::General(_) => "general",
        }
    }

    /// The number of tokens of a text.
    ///
    /// # Errors
    /// As [`Normaliser::apply`].
    pub(super) fn count(&self, text: &str, scratch: &mut CountScratch) -> crate::Result<u32> {
        self.raw.count(text, |part| Ok(self.count_normalised(&self.normaliser.apply(part)?, scratch)))
    }

    /// Counts the first texts together, where that is faster; returns how many.
    ///
    /// # Errors
    /// As [`Self::count`] of the first text.
    pub(super) fn count_together(
        &self,
        texts: &[&str],
        counts: &mut [u32],
        scratch: &mut CountScratch,
    ) -> crate::Result<usize> {
        let PreTokenizer::Known(family, false) = self.pre_tokenizer else { return Ok(0) };
        let mut joined = std::mem::take(&mut scratch.joined);
        joined.clear();
        for text in texts.iter().take_while(|text| text.len() <= LONGEST) {
            joined.push(text);
            if joined.text.len() >= TOGETHER {
                break;
            }
        }
        let mut apart = Vec::new();
        if !self.is_surely_plain(&joined.text) {
            for (i, place) in joined.places.iter_mut().enumerate().filter(|(i, _)| !self.is_plain(texts[*i]))
            {
                // Nothing is counted there.
                place.1 = place.0;
                apart.push(i);
            }
        }
        let together = joined.places.len();
        let counter = Counting { family, model: &self.model };
        counter.count_each(joined.text.as_bytes(), &joined.places, &mut counts[..together], scratch);
        scratch.joined = joined;
        for i in apart {
            match self.count(texts[i], scratch) {
                Ok(count) => counts[i] = count,
                Err(error) if i == 0 => return Err(error),
                Err(_) => return Ok(i),
            }
        }
        Ok(together)
    }

    /// Whether a text has no added tokens in it and needs no normalising.
    fn is_plain(&self, text: &str) -> bool {
        self.raw.is_absent(text) && self.normaliser.keeps(text) && self.normalised.is_absent(text)
    }

    /// The same, but for texts of which a glance does not tell.
    fn is_surely_plain(&self, text: &str) -> bool {
        self.raw.is_absent(text) && self.normaliser.surely_keeps(text) && self.normalised.is_absent(text)
    }

    /// A stretch without raw added tokens, normalised.
    fn count_normalised(&self, text: &str, scratch: &mut CountScratch) -> u32 {
        let Ok(count) =
            self.normalised.count(text, |part| Ok::<_, Infallible>(self.count_plain(part, scratch)));
        count
    }

    /// A normalised stretch without added tokens.
    fn count_plain(&self, text: &str, scratch: &mut CountScratch) -> u32 {
        match &self.pre_tokenizer {
            PreTokenizer::Known(family, prefix_space) => {
                let counter = Counting { family: *family, model: &self.model };
                if *prefix_space && !text.starts_with(' ') {
                    counter.count(format!(" {text}").as_bytes(), scratch)
                } else {
                    counter.count(text.as_bytes(), scratch)
                }
            }
            PreTokenizer::General(general) => {
                let counter = Counting { family: Family::Gpt2, model: &self.model };
                let mut cutting = std::mem::take(&mut scratch.cutting);
                let (text, found) = general.cut(text, &mut cutting);
                let count = counter.count_found(text, found, general.cuts_characters(), scratch);
                scratch.keep_cutting(cutting);
                count
            }
        }
    }
}

/// A post-processor must leave the number of tokens alone when special tokens are not added.
pub(super) fn check_post_processor(processor: Option<&Value>) -> Result<(), String> {
    let Some(value) = processor.filter(|v| !v.is_null()) else { return Ok(()) };
    let kind = value["type"].as_str().unwrap_or("without a type");
    match kind {
        "ByteLevel" | "BertProcessing" | "RobertaProcessing" => Ok(()),
        "TemplateProcessing" => {
            let pieces = value["single"].as_array().map_or(&[][..], Vec::as_slice);
            let sequences: Vec<_> = pieces.iter().filter_map(|p| p.get("Sequence")).collect();
            let once = matches!(sequences.as_slice(), [only] if only["id"] == "A");
            if once { Ok(()) } else { Err("a template that does not hold the text once".into()) }
        }
        "Sequence" => {
            let steps =
                value["processors"].as_array().ok_or("a post-processor sequence without processors")?;
            steps.iter().try_for_each(|step| check_post_processor(Some(step)))
        }
        _ => Err(format!("post-processor {kind}")),
    }
}

/// Members of a BPE model that change what it does.
pub(super) fn check_model(rest: &serde_json::Map<String, Value>) -> Result<(), String> {
    let kind = rest.get("type").and_then(Value::as_str).unwrap_or("without a type");
    if kind != "BPE" {
        return Err(format!("model {kind}"));
    }
    for name in ["continuing_subword_prefix", "end_of_word_suffix"] {
        match rest.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(s)) if s.is_empty() => {}
            Some(_) => return Err(format!("BPE with {name}")),
        }
    }
    for name in ["ignore_merges", "fuse_unk", "byte_fallback"] {
        if !matches!(rest.get(name), None | Some(Value::Null | Value::Bool(_))) {
            return Err(format!("{name} is not a boolean"));
        }
    }
    if !matches!(rest.get("unk_token"), None | Some(Value::Null | Value::String(_))) {
        return Err("unk_token is not a string".into());
    }
    if !matches!(rest.get("dropout"), None | Some(Value::Null | Value::Number(_))) {
        return Err("dropout is not a number".into());
    }
    Ok(())
}
