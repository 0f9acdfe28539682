//! Features of a response: what is compared with humans.
//!
//! [`registry`] says what each is; an [`Extractor`] computes them all in one pass over a response;
//! [`paper`] has those of the paper's published code.

mod analysis;
pub mod bins;
mod characters;
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

pub use language::Language;
pub use row::PLACES;

use crate::io::record::Message;
use crate::text::Vader;
use analysis::{Analysis, trim};
use registry::{FEATURES, Group, Id};
use row::Row;

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

/// Bytes of a text after which working memory is given back: it is many times the text's.
const LONG: usize = 4 << 20;

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
    lexical: lexical::Scratch,
    interaction: interaction::Scratch,
    vader: Vader,
}

impl Extractor {
    /// For the features of these groups.
    pub fn new(groups: &[Group]) -> Self {
        Self {
            groups: Group::ALL.into_iter().filter(|group| groups.contains(group)).collect(),
            analysis: Analysis::new(),
            lexical: lexical::Scratch::default(),
            interaction: interaction::Scratch::default(),
            vader: Vader::new(),
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
        assert_eq!(values.len(), FEATURES.len(), "a value a feature");
        let Input { text, language, prompt } = input;
        let text = trim(text);
        let row = &mut Row::new(values, language);
        let of = &mut self.analysis;
        of.fill(text, language);
        for group in &self.groups {
            match group {
                Group::Length => length::fill(text, of, row),
                Group::Structure => structure::fill(text, of, row),
                Group::Lexical => lexical::fill(of, language, &mut self.lexical, row),
                Group::Function => function::fill(of, language, row),
                Group::Punctuation => punctuation::fill(text, of, row),
                Group::Orthography => orthography::fill(text, of, row),
                Group::Readability => readability::fill(text, of, language, row),
                Group::Sentiment if language == Language::English => sentiment(text, &mut self.vader, row),
                Group::Sentiment => {}
                Group::Interaction => {
                    if let Some(prompt) = prompt {
                        interaction::fill(text, of, language, prompt, &mut self.interaction, row);
                    }
                }
            }
        }
        let asked = prompt.into_iter().flatten().map(|message| message.content.len());
        if text.len() + asked.sum::<usize>() > LONG {
            *self = Self::new(&self.groups);
        }
    }
}

fn sentiment(text: &str, vader: &mut Vader, row: &mut Row<'_>) {
    if text.is_empty() {
        return;
    }
    let scores = vader.scores(text);
    row.set(Id::vader_negative, scores.negative);
    row.set(Id::vader_neutral, scores.neutral);
    row.set(Id::vader_positive, scores.positive);
    row.set(Id::vader_compound, scores.compound);
}
