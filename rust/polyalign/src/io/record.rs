//! One interaction as the rest of the engine sees it, whatever file or record shape it came from.

use std::borrow::Cow;

/// A chat message. `content` is text; anything else was rejected before it got here.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Message<'a> {
    /// `system`, `user`, `assistant`, … as the record has it, mapped to TRL's names.
    pub role: Cow<'a, str>,
    /// The message's text.
    pub content: Cow<'a, str>,
}

/// A record: a prompt and the response to it, and what the record says of itself.
///
/// All text borrows from the input where it needs no unescaping.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Record<'a> {
    /// The record's id, if it has one.
    pub id: Option<Cow<'a, str>>,
    /// All messages before the response.
    pub prompt: Vec<Message<'a>>,
    /// The response's role and content (in preference rows: `chosen`).
    pub response: Message<'a>,
    /// Preference rows only: the rejected response.
    pub rejected: Option<Message<'a>>,
    /// Bytes at the start of `response.content` that are reasoning (a leading `<think>…</think>`
    /// block and the white space after it); they don't count to length or features.
    pub thinking: usize,
    /// Values of the record's own axis and label fields.
    pub language: Option<Cow<'a, str>>,
    /// `single` or `multi`, if the record says so.
    pub track: Option<Cow<'a, str>>,
    /// Response family, if the record says so.
    pub family: Option<Cow<'a, str>>,
    /// Value of the source field (`dataset`, `source`), which a family map is keyed by.
    pub source: Option<Cow<'a, str>>,
    /// Conversation or paragraph the record belongs to.
    pub group: Option<Cow<'a, str>>,
    /// Values of the schema's custom axes, in schema order.
    pub custom: Vec<Option<Cow<'a, str>>>,
    /// The record's remaining members as one JSON object, each value's bytes as they stood, in
    /// order; `None` when there are none (or the caller does not want them).
    pub extra: Option<String>,
}

impl Record<'_> {
    /// The response without its leading reasoning.
    pub fn answer(&self) -> &str {
        &self.response.content[self.thinking..]
    }
}
