//! From responses to rows of feature values.

use crate::Result;
use crate::buckets::{Axis, BucketSchema, language};
use crate::features::registry::{FEATURES, Group};
use crate::features::{Extractor, Input, Language, paper};
use crate::records::record::{Message, Record};
use crate::reference::Variant;
use std::sync::atomic::AtomicBool;
use twox_hash::XxHash3_64;

/// Rows of feature values of one variant, `[n, features]`.
#[derive(Clone, Debug)]
pub enum Values {
    /// Of the registry's features.
    Default(Vec<f32>),
    /// Of the paper's, with its decimals.
    Paper(Vec<f64>),
}

impl Values {
    /// No rows yet.
    pub fn new(variant: Variant) -> Self {
        match variant {
            Variant::Default => Self::Default(Vec::new()),
            Variant::Paper => Self::Paper(Vec::new()),
        }
    }

    /// Ends a row with the `lm` features of a language model; an empty slice: they are not known.
    ///
    /// # Panics
    /// If `values` are others than as many.
    pub fn end_row(&mut self, values: &[f32], lm: usize) {
        assert!(values.is_empty() || values.len() == lm, "a value a feature of the language model");
        // The paper's variant has none.
        if let Self::Default(all) = self {
            all.extend_from_slice(values);
            all.resize(all.len() + lm - values.len(), f32::NAN);
        }
    }

    /// Forgets all rows.
    pub fn clear(&mut self) {
        match self {
            Self::Default(values) => values.clear(),
            Self::Paper(values) => values.clear(),
        }
    }
}

/// Measures responses, one at a time. One for each thread.
pub struct Meter {
    /// None: the paper's features need no memory.
    extractor: Option<Extractor>,
}

impl Meter {
    /// For the features of a variant.
    pub fn new(variant: Variant) -> Self {
        Self { extractor: (variant == Variant::Default).then(|| Extractor::new(&Group::ALL)) }
    }

    /// Adds the row of a response in a language (a primary subtag) to `values`, which are of this variant. An empty
    /// prompt is none: the interaction with it is not defined.
    ///
    /// The paper's features are those that its published code has for every language.
    ///
    /// # Errors
    /// [`Interrupted`](crate::Error::Interrupted) soon after `stop` is set; what was added then means nothing.
    pub fn measure(
        &mut self,
        text: &str,
        language: &str,
        prompt: &[Message<'_>],
        values: &mut Values,
        stop: &AtomicBool,
    ) -> Result<()> {
        match (values, &mut self.extractor) {
            (Values::Default(values), Some(extractor)) => {
                let start = values.len();
                values.resize(start + FEATURES.len(), f32::NAN);
                let prompt = (!prompt.is_empty()).then_some(prompt);
                let input = Input { text, language: Language::of(language), prompt };
                extractor.extract_unless(input, &mut values[start..], stop)
            }
            (Values::Paper(values), _) => {
                values.extend(paper::extract_unless(text, false, stop)?);
                Ok(())
            }
            (Values::Default(_), None) => unreachable!("values of the meter's variant"),
        }
    }
}

/// In which language a bucket's responses are, for their features.
pub fn response_language<'a, S: AsRef<str>>(
    schema: &'a BucketSchema,
    parts: &'a [S],
    record: &Record<'_>,
) -> &'a str {
    match schema.axes.iter().position(|axis| *axis == Axis::Language) {
        Some(axis) => parts[axis].as_ref(),
        None => record.language.and_then(language::primary_subtag).unwrap_or(&schema.default_language),
    }
}

/// A number that stands for a record's prompt and response, the same wherever they come from: what a reference's sample
/// is drawn by.
pub fn record_key(record: &Record<'_>) -> u64 {
    mix(prompt_key(record), record.answer())
}

/// A number that stands for a record's prompt alone.
pub(crate) fn prompt_key(record: &Record<'_>) -> u64 {
    let message = |key: u64, message: &Message<'_>| mix(mix(key, message.role), message.content);
    record.prompt.iter().fold(0, message)
}

fn mix(key: u64, text: &str) -> u64 {
    const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
    (key.rotate_left(29) ^ XxHash3_64::oneshot(text.as_bytes())).wrapping_mul(MIX)
}
