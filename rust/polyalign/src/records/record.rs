//! One interaction as the rest of the engine sees it, whatever file or record shape it came from.

use serde::{Deserialize, Serialize};

/// A chat message. `content` is text; anything else was rejected before it got here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Message<'a> {
    /// `system`, `user`, `assistant`, `tool`, … : the record's own word, mapped to TRL's names.
    pub role: &'a str,
    /// The message's text.
    pub content: &'a str,
}

/// A record: a prompt and the response to it, and what the record says of itself.
///
/// All text borrows from the input where it needs no unescaping or joining, else from the reader's
/// working memory, so a record is a handful of pointers: reading one allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Record<'a> {
    /// The record's id, if it has one.
    pub id: Option<&'a str>,
    /// All messages before the response.
    pub prompt: &'a [Message<'a>],
    /// The response's role and content (in preference rows: `chosen`).
    pub response: Message<'a>,
    /// Preference rows only: the rejected response (may be empty).
    pub rejected: Option<Message<'a>>,
    /// Bytes at the start of `response.content` that are reasoning ([`crate::text::reasoning`]); they don't count to
    /// length or features.
    pub thinking: usize,
    /// The record's own language label, as it stands there.
    pub language: Option<&'a str>,
    /// `single` or `multi`, if the record says so.
    pub track: Option<&'a str>,
    /// Response family, if the record says so.
    pub family: Option<&'a str>,
    /// Value of the source field (`source`, `dataset`), which a family map is keyed by.
    pub source: Option<&'a str>,
    /// Conversation or paragraph the record belongs to.
    pub group: Option<&'a str>,
    /// Values of the schema's custom axes, in schema order.
    pub custom: &'a [Option<&'a str>],
    /// The record's remaining members as one JSON object, each value's bytes as they stood, in
    /// order; `None` when there are none (or the caller does not want them).
    pub extra: Option<&'a str>,
    /// What is worth saying of how it was read.
    pub notes: Notes<'a>,
}

/// What is worth saying of how a record was read: what was guessed, joined or not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Notes<'a> {
    /// What was joined or left out.
    pub events: Events,
    /// Roles that are known under another name, or not at all; each once.
    pub roles: &'a [RoleTaken<'a>],
    /// Fields that were not used; each once.
    pub unused: &'a [Unused<'a>],
    /// The field that gave the group, if it was found and not named.
    pub group: Option<&'static str>,
}

/// A role, and what it was taken for; the same if it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleTaken<'a> {
    /// The role as the record has it.
    pub role: &'a str,
    /// `user`, `assistant`, `system`, `tool`, or the role itself.
    pub taken: &'a str,
}

/// A field that was not used: a top-level one, or a member of a list's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unused<'a> {
    /// The list of messages; empty for top-level fields.
    pub list: &'a str,
    /// The field's name.
    pub name: &'a str,
}

/// Something that was done to a record while it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The record's own system message was put first.
    System,
    /// Two fields were joined into one user message.
    Joined,
    /// Messages that two fields hold were taken once.
    Once,
    /// One field's messages were put after another's.
    After,
    /// Text parts of a message were joined.
    Parts,
    /// Tool calls beside a message's text were left out.
    Calls,
    /// Messages after the response were left out.
    Trailing,
    /// The rejected response, which answers another prompt, was left out.
    OtherPrompt,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::System,
        Self::Joined,
        Self::Once,
        Self::After,
        Self::Parts,
        Self::Calls,
        Self::Trailing,
        Self::OtherPrompt,
    ];

    /// A stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Joined => "joined",
            Self::Once => "once",
            Self::After => "after",
            Self::Parts => "parts",
            Self::Calls => "tool_calls",
            Self::Trailing => "trailing",
            Self::OtherPrompt => "prompt_mismatch",
        }
    }
}

/// A set of [`Event`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Events(u16);

impl Events {
    /// Adds one.
    pub fn add(&mut self, event: Event) {
        self.0 |= 1 << event as u16;
    }

    /// Those that are in it.
    pub fn iter(self) -> impl Iterator<Item = Event> {
        Event::ALL.into_iter().filter(move |event| self.0 >> *event as u16 & 1 == 1)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl<'a> Record<'a> {
    /// The response without its leading reasoning.
    pub fn answer(&self) -> &'a str {
        &self.response.content[self.thinking..]
    }
}

/// The kinds of reasons why a record can't be used; reports and the rejects file have them by their [names](Self::name), in
/// alphabetical order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectKind {
    /// It can be read in two ways.
    Ambiguous,
    /// It has no bucket, for another reason than those of its own.
    Bucket,
    /// It is the rest of a file that can't be read.
    File,
    /// It is no JSON, or has a key twice.
    Json,
    /// Its language is none, or none that the schema allows.
    Language,
    /// There is no response, or none that says anything.
    NoResponse,
    /// It has another shape than the corpus.
    Shape,
    /// It is too large.
    Size,
    /// Its track is none.
    Track,
    /// A field holds something of another type.
    Type,
    /// It is no UTF-8.
    Utf8,
}

impl RejectKind {
    /// The name in reports and in the rejects file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ambiguous => "ambiguous",
            Self::Bucket => "bucket",
            Self::File => "file",
            Self::Json => "json",
            Self::Language => "language",
            Self::NoResponse => "no_response",
            Self::Shape => "shape",
            Self::Size => "size",
            Self::Track => "track",
            Self::Type => "type",
            Self::Utf8 => "utf8",
        }
    }
}

/// Why a record can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The kind of reason.
    pub kind: RejectKind,
    /// One line for people.
    pub reason: String,
    /// Byte offset within the record where it was noticed (0 in tables).
    pub offset: usize,
    /// The record's id, if it could be read.
    pub id: Option<Box<str>>,
}
