//! Features of a response: what is compared with humans.
//!
//! [`registry`] says what each is; an [`Extractor`] computes them all in one pass over a response;
//! [`paper`] has those of the paper's published code.

mod analysis;
pub mod bins;
mod characters;
mod cut;
mod function;
mod interaction;
mod language;
mod length;
mod lexical;
mod lines;
mod orthography;
pub mod paper;
mod punctuation;
mod readability;
pub mod registry;
mod row;
mod sequence;
mod structure;
#[cfg(feature = "pos")]
pub mod syntax;
mod vocabulary;
mod word_classes;
mod words;

pub use bins::PLACES;
pub use cut::Cutter;
pub use language::{Language, Languages};

use crate::Result;
use crate::error::unless_stopped;
use crate::records::record::Message;
use crate::text::Vader;
use analysis::{Analysis, trim};
use registry::{FEATURES, Group, Id};
use row::Row;
use std::sync::atomic::AtomicBool;

/// What features are computed of.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The response.
    pub text: &'a str,
    /// Its language.
    pub language: Language,
    /// The messages before it; without them the interaction is not defined.
    pub prompt: Option<&'a [Message<'a>]>,
}

/// Bytes of a response and its prompt beyond which they are long: what is known of each word would take many times the
/// text, and working memory is given back after it.
const LONG: usize = 1 << 20;

/// Computes features, one response at a time. One for each thread: it remembers words.
///
/// ```
/// use polyalign::features::registry::{FEATURES, Group, Id};
/// use polyalign::features::{Extractor, Input, Language};
///
/// let mut extractor = Extractor::new(&Group::ALL);
/// let mut values = vec![0.0; FEATURES.len()];
/// extractor.extract(Input { text: "Yes. It is!", language: Language::English, prompt: None }, &mut values);
/// assert_eq!(values[Id::word_count as usize], 3.0);
/// assert_eq!(values[Id::exclamation_mark_count as usize], 1.0);
/// assert!(values[Id::clause_chars_mean as usize].is_nan(), "of Chinese alone");
/// ```
pub struct Extractor {
    groups: Vec<Group>,
    analysis: Analysis,
    lexical: lexical::LexicalScratch,
    interaction: interaction::InteractionScratch,
    vader: Vader,
    /// [`LONG`], but in tests.
    long: usize,
}

impl Extractor {
    /// For the features of these groups.
    pub fn new(groups: &[Group]) -> Self {
        Self {
            groups: Group::ALL.into_iter().filter(|group| groups.contains(group)).collect(),
            analysis: Analysis::new(),
            lexical: lexical::LexicalScratch::default(),
            interaction: interaction::InteractionScratch::default(),
            vader: Vader::new(),
            long: LONG,
        }
    }

    /// From now on, the features of these groups.
    pub fn set_groups(&mut self, groups: &[Group]) {
        self.groups = Group::ALL.into_iter().filter(|group| groups.contains(group)).collect();
    }

    /// The features of a response into `values`, one for each of [`FEATURES`]: NaN where one is of no group
    /// asked for, or is not defined.
    ///
    /// # Panics
    /// If `values` has another length.
    pub fn extract(&mut self, input: Input<'_>, values: &mut [f32]) {
        let never = AtomicBool::new(false);
        if self.extract_unless(input, values, &never).is_err() {
            unreachable!("nothing stops it");
        }
    }

    /// The same, unless it is stopped.
    ///
    /// # Errors
    /// [`Interrupted`](crate::Error::Interrupted) soon after `stop` is set.
    ///
    /// # Panics
    /// If `values` has another length.
    pub fn extract_unless(&mut self, input: Input<'_>, values: &mut [f32], stop: &AtomicBool) -> Result<()> {
        assert_eq!(values.len(), FEATURES.len(), "a value a feature");
        let asked = input.prompt.into_iter().flatten().map(|message| message.content.len());
        let long = input.text.len() + asked.sum::<usize>() > self.long;
        let result = self.fill(input, long, values, stop);
        if long {
            *self = Self { long: self.long, ..Self::new(&self.groups) };
        }
        result
    }

    fn fill(&mut self, input: Input<'_>, long: bool, values: &mut [f32], stop: &AtomicBool) -> Result<()> {
        let Input { text, language, prompt } = input;
        let text = trim(text);
        let row = &mut Row::new(values, language);
        let of = &mut self.analysis;
        of.fill(text, language, &self.groups, stop)?;
        for group in &self.groups {
            unless_stopped(stop)?;
            match group {
                Group::Length => length::fill(text, of, row),
                Group::Structure => structure::fill(text, of, row),
                Group::Lexical => lexical::fill(of, &mut self.lexical, row, stop)?,
                Group::Function => function::fill(of, row),
                Group::Punctuation => punctuation::fill(text, of, row),
                Group::Orthography => orthography::fill(text, of, row),
                Group::Readability => readability::fill(text, of, language, row),
                Group::Sentiment if language == Language::English => {
                    sentiment(text, &mut self.vader, row, stop)?;
                }
                // Of a language model there is nothing to compute here.
                Group::Sentiment | Group::Lm => {}
                Group::Interaction => {
                    if let Some(prompt) = prompt {
                        let with = (language, prompt, long);
                        interaction::fill(text, of, with, &mut self.interaction, row, stop)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn sentiment(text: &str, vader: &mut Vader, row: &mut Row<'_>, stop: &AtomicBool) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let scores = vader.scores_unless(text, stop)?;
    row.set(Id::vader_negative, scores.negative);
    row.set(Id::vader_neutral, scores.neutral);
    row.set(Id::vader_positive, scores.positive);
    row.set(Id::vader_compound, scores.compound);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(long: usize, input: Input<'_>) -> Vec<u32> {
        let mut extractor = Extractor { long, ..Extractor::new(&Group::ALL) };
        let mut values = vec![0.0; FEATURES.len()];
        extractor.extract(input, &mut values);
        values.into_iter().map(f32::to_bits).collect()
    }

    proptest! {
        /// Nothing but memory depends on it.
        #[test]
        fn long_texts_are_as_short_ones(
            text in "([abA] |[猫坐]|é1\\. ){0,60}",
            prompt in prop::collection::vec(("user|assistant|system", "([abcA] |[猫坐好]|é1\n){0,60}"), 0..5),
        ) {
            let prompt: Vec<Message<'_>> =
                prompt.iter().map(|(role, content)| Message { role, content }).collect();
            for language in [Language::English, Language::Chinese, Language::Spaced, Language::Other] {
                let input = Input { text: &text, language, prompt: Some(&prompt) };
                prop_assert_eq!(row(0, input), row(usize::MAX, input));
            }
        }
    }

    #[test]
    fn other_groups_may_be_asked_for_later() {
        let input = Input {
            text: "It IS so, said the extraordinary doctor.",
            language: Language::English,
            prompt: None,
        };
        let mut extractor = Extractor::new(&[Group::Length]);
        for group in Group::ALL {
            extractor.set_groups(&[group]);
            let mut rows = [vec![0.0; FEATURES.len()], vec![0.0; FEATURES.len()]];
            extractor.extract(input, &mut rows[0]);
            Extractor::new(&[group]).extract(input, &mut rows[1]);
            let [again, fresh] = rows.map(|row| row.into_iter().map(f32::to_bits).collect::<Vec<_>>());
            assert_eq!(again, fresh, "{group:?}");
        }
    }

    #[test]
    fn a_text_is_left_when_stopped() {
        let input = Input { text: "It is so.", language: Language::English, prompt: None };
        let mut values = vec![0.0; FEATURES.len()];
        let mut extractor = Extractor::new(&Group::ALL);
        let stopped = extractor.extract_unless(input, &mut values, &AtomicBool::new(true));
        assert!(matches!(stopped, Err(crate::Error::Interrupted)));
        let stopped = paper::extract_unless(input.text, true, &AtomicBool::new(true));
        assert!(matches!(stopped, Err(crate::Error::Interrupted)));
    }
}
