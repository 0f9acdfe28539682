//! Record shapes and where their fields are.

use serde::{Deserialize, Serialize};

/// How a record holds its prompt and response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What to read from a record. Field names are dotted paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct FieldSpec {
    /// The shape; `None`: decided from the first 100 records.
    pub shape: Option<Shape>,
    /// Overrides of the shape's own fields.
    pub prompt: Option<String>,
    /// The response field.
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
}

impl FieldSpec {
    /// Whether the shape still has to be decided (from sample records, or from columns).
    pub fn needs_shape(&self) -> bool {
        self.shape.is_none() && (self.prompt.is_none() || self.response.is_none())
    }
}
