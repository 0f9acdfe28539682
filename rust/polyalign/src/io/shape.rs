//! Record shapes and where their fields are.

use super::record::shown;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a record holds its prompt and response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// TRL `messages`.
    Messages,
    /// `prompt` / `completion`, text or messages.
    PromptCompletion,
    /// ShareGPT `conversations` of `from` / `value`.
    #[serde(rename = "sharegpt")]
    ShareGpt,
    /// Alpaca `instruction` / `input` / `output` / `history`.
    Alpaca,
    /// `question` / `context` / `dialogue_history` / `human_answer`.
    #[serde(rename = "polyalign")]
    PolyAlign,
    /// Preference `prompt` / `chosen` / `rejected`.
    Preference,
}

impl Shape {
    /// All shapes, in the order they are looked for: the first whose fields are there wins, so the
    /// most telling fields come first.
    pub const ALL: [Self; 6] = [
        Self::Preference,
        Self::PolyAlign,
        Self::Messages,
        Self::ShareGpt,
        Self::Alpaca,
        Self::PromptCompletion,
    ];

    /// The shape's name, as `--shape` and the manifest have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::PromptCompletion => "prompt_completion",
            Self::ShareGpt => "sharegpt",
            Self::Alpaca => "alpaca",
            Self::PolyAlign => "polyalign",
            Self::Preference => "preference",
        }
    }

    /// All fields the shape may have.
    pub const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Messages => &["messages"],
            Self::PromptCompletion => &["prompt", "completion"],
            Self::ShareGpt => &["conversations"],
            Self::Alpaca => &["instruction", "input", "output", "history"],
            Self::PolyAlign => &["question", "context", "dialogue_history", "human_answer"],
            Self::Preference => &["prompt", "chosen", "rejected"],
        }
    }

    /// The fields by which the shape is known: those of the prompt and those of the response.
    const fn signs(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Messages => (&["messages"], &["messages"]),
            Self::PromptCompletion => (&["prompt"], &["completion"]),
            Self::ShareGpt => (&["conversations"], &["conversations"]),
            Self::Alpaca => (&["instruction"], &["output"]),
            Self::PolyAlign => (&[], &["human_answer"]),
            Self::Preference => (&[], &["chosen", "rejected"]),
        }
    }

    /// The shape of a record with the fields that `has` knows, if any fits; what `spec` overrides
    /// is not looked for.
    pub fn of(has: impl Fn(&str) -> bool, spec: &FieldSpec) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.fits(&has, spec))
    }

    /// Whether a record with the fields that `has` knows may have this shape.
    pub fn fits(self, has: impl Fn(&str) -> bool, spec: &FieldSpec) -> bool {
        let (mut prompt, mut response) = self.signs();
        if spec.response.is_some() {
            // Without its responses a preference record is a prompt alone.
            if self == Self::Preference {
                return false;
            }
            (prompt, response) = (&self.fields()[..1], &[]);
        }
        if spec.prompt.is_some() || spec.lenient && self == Self::PromptCompletion {
            prompt = &[];
        }
        prompt.iter().chain(response).all(|field| has(field))
    }

    /// The shape that most of `samples` (the field names of some records) have; of equals the
    /// first seen.
    ///
    /// # Errors
    /// If none of them has a known shape: lists the fields seen and the shapes known.
    pub fn decide(samples: &[Vec<String>], spec: &FieldSpec) -> Result<Self> {
        let mut votes: Vec<(Self, usize)> = Vec::new();
        for sample in samples {
            if let Some(shape) = Self::of(|field| sample.iter().any(|name| name == field), spec) {
                match votes.iter_mut().find(|(known, _)| *known == shape) {
                    Some((_, count)) => *count += 1,
                    None => votes.push((shape, 1)),
                }
            }
        }
        let most = votes.iter().map(|&(_, count)| count).max();
        let winner = votes.iter().find(|(_, count)| Some(*count) == most);
        winner.map(|&(shape, _)| shape).ok_or_else(|| unknown(samples))
    }
}

/// The error for records of no known shape.
fn unknown(samples: &[Vec<String>]) -> Error {
    const SHOWN: usize = 20;
    let mut seen: Vec<String> = Vec::new();
    for name in samples.iter().flatten().map(|name| shown(name)) {
        if seen.len() <= SHOWN && !seen.contains(&name) {
            seen.push(name);
        }
    }
    let dots = if seen.len() > SHOWN { ", …" } else { "" };
    seen.truncate(SHOWN);
    let known: Vec<String> =
        Shape::ALL.iter().map(|shape| format!("{shape} ({})", shape.fields().join(", "))).collect();
    let fields = if seen.is_empty() { "none".to_owned() } else { seen.join(", ") + dots };
    Error::Input(format!(
        "no known record shape: fields seen: {fields}; shapes known: {}; name the fields with --prompt-field \
         and --response-field",
        known.join(", ")
    ))
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Shape {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|shape| shape.name() == name).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|shape| shape.name()).collect();
            Error::Input(format!("unknown shape `{name}`: use one of {}", known.join(", ")))
        })
    }
}

/// What to read from a record. Field names are dotted paths (`meta.group`); a key that itself holds
/// the dots wins over the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct FieldSpec {
    /// The shape; `None`: decided from the first 100 records.
    pub shape: Option<Shape>,
    /// The prompt field, text or messages, in place of the shape's own.
    pub prompt: Option<String>,
    /// The response field, text or messages, in place of the shape's own.
    pub response: Option<String>,
    /// Default `language`, then `lang`.
    pub language: Option<String>,
    /// Default `track`.
    pub track: Option<String>,
    /// Default `family`.
    pub family: Option<String>,
    /// Default `source`, then `dataset`.
    pub source: Option<String>,
    /// Default `group`.
    pub group: Option<String>,
    /// Default `id`.
    pub id: Option<String>,
    /// Columns of the schema's custom axes, in schema order.
    pub custom: Vec<String>,
    /// Keep the record's remaining members in `Record::extra`.
    pub keep_extra: bool,
    /// Count a leading reasoning block as part of the response.
    pub keep_thinking: bool,
    /// For measuring responses: take a record without the field `prompt` for one with an empty prompt, and an empty
    /// response as it is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lenient: bool,
}

impl FieldSpec {
    /// Whether the shape still has to be decided (from sample records, or from columns).
    pub fn needs_shape(&self) -> bool {
        self.shape.is_none() && (self.prompt.is_none() || self.response.is_none())
    }
}
