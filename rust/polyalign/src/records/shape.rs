//! Record shapes and where their fields are.

use super::roles::ROLES;
use crate::error::shown;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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

    /// All fields the shape may have, by which it is told from others.
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

    /// Where else the shape's prompt may stand.
    pub(crate) const fn spare_fields(self) -> &'static [&'static str] {
        match self {
            Self::Preference => {
                &["conversations", "messages", "instruction", "input", "history", "question", "context"]
            }
            Self::Alpaca => &["context"],
            Self::PromptCompletion => &["history"],
            _ => &[],
        }
    }

    /// The fields by which the shape is known: those of the prompt and those of the response.
    pub(super) const fn signs(self) -> (&'static [&'static str], &'static [&'static str]) {
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
        let has_path = |path: &String| has(path) || has(path.split('.').next().unwrap_or(path));
        if let Some(path) = &spec.messages {
            return matches!(self, Self::Messages | Self::ShareGpt) && has_path(path);
        }
        if let Some(path) = &spec.rejected {
            let chosen = spec.response.as_ref().map_or_else(|| has("chosen"), has_path);
            return self == Self::Preference && chosen && has_path(path);
        }
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
}

/// What a model's response is called, the plainest name first.
pub const RESPONSES: [&str; 5] = ["response", "prediction", "generated_text", "output", "completion"];

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

/// Where the group is looked for: the first that says something wins.
pub const GROUPS: [&str; 14] = [
    "group",
    "group_id",
    "meta.group",
    "metadata.group",
    "conversation_id",
    "conversation_hash",
    "dialogue_id",
    "dialog_id",
    "chat_id",
    "thread_id",
    "session_id",
    "message_tree_id",
    "parent_id",
    "parent_message_id",
];

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
    /// The field that holds the whole conversation, in place of `messages` or `conversations`; not beside `prompt`
    /// or `response`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<String>,
    /// The rejected response of a preference, in place of `rejected`; `response` is then the chosen one, in place of
    /// `chosen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// The system message of a conversation that has none. Default `system`, then `system_prompt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// What roles stand for: `user`, `assistant`, `system` or `tool` by the role as records have it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<String, String>,
    /// Default `language`, then `lang`.
    pub language: Option<String>,
    /// Default `track`.
    pub track: Option<String>,
    /// Default `family`.
    pub family: Option<String>,
    /// Default `source`, then `dataset`.
    pub source: Option<String>,
    /// Default: the first of [`GROUPS`] that says something.
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
    /// For a model's responses, with `lenient`: one of [`RESPONSES`] is the response, whatever else the record holds.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub samples: bool,
}

impl FieldSpec {
    /// Whether the shape still has to be decided (from sample records, or from columns).
    pub fn needs_shape(&self) -> bool {
        self.known_shape().is_none() && (self.prompt.is_none() || self.response.is_none())
    }

    /// The shape, where it is given or follows from the fields that are named.
    pub(crate) fn known_shape(&self) -> Option<Shape> {
        match (self.shape, &self.messages, &self.rejected) {
            (None, Some(_), _) => Some(Shape::Messages),
            (None, None, Some(_)) => Some(Shape::Preference),
            (shape, ..) => shape,
        }
    }

    /// Refuses fields that contradict each other.
    ///
    /// # Errors
    /// A field named twice, and a conversation beside a prompt, a response or a shape that has none.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |reason: String| Err(Error::Input(reason));
        let Self { shape, prompt, response, messages, rejected, .. } = self;
        if let Some(rejected) = rejected {
            if [prompt, response].iter().any(|path| path.as_ref() == Some(rejected)) {
                return wrong(format!(
                    "`{rejected}` can't be the rejected response and another part as well"
                ));
            }
            if let Some(messages) = messages {
                return wrong(format!(
                    "`{messages}` is named as the whole conversation beside a rejected response: name the chosen one \
                     with --response-field {messages}, which may hold the whole conversation"
                ));
            }
            if let Some(shape) = shape.filter(|shape| *shape != Shape::Preference) {
                return wrong(format!(
                    "`{rejected}` is named as the rejected response, but records of the shape {shape} have none: leave \
                     out --shape or --rejected-field"
                ));
            }
        }
        if let (Some(prompt), Some(response)) = (prompt, response)
            && prompt == response
        {
            return wrong(format!(
                "`{prompt}` can't be both the prompt and the response: if it holds whole conversations, name it with \
                 --messages-field {prompt}"
            ));
        }
        if let Some((_, role)) = self.roles.iter().find(|(_, role)| !ROLES.contains(&role.as_str())) {
            return wrong(format!("`{}` is no role: use one of {}", shown(role), ROLES.join(", ")));
        }
        let Some(messages) = messages else { return Ok(()) };
        if let Some((name, path)) = [("prompt", prompt), ("response", response)]
            .iter()
            .find_map(|(name, path)| path.as_ref().map(|path| (name, path)))
        {
            return wrong(format!(
                "`{messages}` is named as the whole conversation and `{path}` as the {name}: give --messages-field \
                 alone, or --prompt-field and --response-field"
            ));
        }
        match shape {
            None | Some(Shape::Messages | Shape::ShareGpt) => Ok(()),
            Some(shape) => wrong(format!(
                "`{messages}` is named as the whole conversation, but records of the shape {shape} have none: leave \
                 out --shape or --messages-field"
            )),
        }
    }
}
