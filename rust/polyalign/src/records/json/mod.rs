//! Strict, lazy JSON: validates a whole record, borrows what is read, builds no tree.
//!
//! A record is read in two steps. The validator checks every byte against RFC 8259 and
//! notes on a tape where the values lie that will be read; then the shape's rules
//! pick prompt, response and labels off the tape.

mod extra;
mod node;
mod scan;
mod tape;
mod unescape;

use super::assemble::{Kind, Node, assemble, is_chat};
use super::decide::decide;
use super::fields::{Names, Plan};
use super::forms::{self, Sample};
use super::partition::Key;
use super::record::{Record, Reject, RejectKind};
use super::shape::FieldSpec;
use crate::error::shown;
use crate::{Error, Result};
use bumpalo::Bump;
pub(super) use node::{JsonKey, JsonNode};
use node::{JsonRecord, JsonSource};
use tape::{MAX_BYTES, Tape};

/// Reads records of one shape from JSON objects.
///
/// ```
/// use polyalign::records::json::{JsonRecords, JsonScratch};
/// use polyalign::records::shape::{FieldSpec, Shape};
///
/// let fields = FieldSpec { shape: Some(Shape::PromptCompletion), ..FieldSpec::default() };
/// let records = JsonRecords::new(&fields)?;
/// let mut scratch = JsonScratch::default();
/// let record = records.parse(r#"{"prompt": "Tea?", "completion": "Yes,\nplease."}"#, &mut scratch).unwrap();
/// assert_eq!(record.prompt[0].content, "Tea?");
/// assert_eq!(record.response.content, "Yes,\nplease.");
/// # Ok::<(), polyalign::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct JsonRecords {
    plan: Plan,
}

/// Per-thread working memory of [`JsonRecords`]: what a record borrows beside the input.
#[derive(Default)]
pub struct JsonScratch {
    arena: Bump,
    tape: Tape,
    folder: Folder,
}

/// What the names of a file's folders say, as a record whose members all records of the file have, unless they
/// have their own.
#[derive(Default)]
struct Folder {
    keys: Vec<Key>,
    text: String,
    tape: Tape,
    /// The names that the tape is about.
    names: u64,
}

impl JsonScratch {
    /// Ready for the next record; memory that a huge record needed is given back.
    fn clear(&mut self) {
        const KEPT: usize = 4 << 20;
        if self.arena.allocated_bytes() > KEPT {
            self.arena = Bump::new();
            self.tape.shrink();
        } else {
            self.arena.reset();
        }
    }
}

impl JsonRecords {
    /// `fields.shape` must be decided, unless `prompt` and `response` are both given.
    ///
    /// # Errors
    /// If it is not, or a field's name is empty.
    pub fn new(fields: &FieldSpec) -> Result<Self> {
        Ok(Self { plan: Plan::new(fields)? })
    }

    /// The records that follow are of a file with these keys.
    pub fn enter(&self, keys: &[Key], scratch: &mut JsonScratch) {
        let folder = &mut scratch.folder;
        if folder.keys == keys && folder.names == self.plan.names.id() {
            return;
        }
        let members = keys.iter().map(|key| (key.name.clone(), key.value.clone().into()));
        let text = serde_json::Value::Object(members.collect()).to_string();
        let mut tape = Tape::default();
        // What was just written is JSON.
        let read = tape.read(&text, &self.plan.names);
        debug_assert!(read.is_ok());
        *folder = Folder { keys: keys.to_vec(), text, tape, names: self.plan.names.id() };
    }

    /// Parses one JSON object (a line without its line end, or an array element).
    ///
    /// Validate a whole block with `simdutf8::basic::from_utf8` and slice its lines; for a block
    /// that is not UTF-8, use [`parse_bytes`](Self::parse_bytes) line by line.
    ///
    /// # Errors
    /// The reason to reject the record.
    pub fn parse<'a>(&self, record: &'a str, scratch: &'a mut JsonScratch) -> Result<Record<'a>, Reject> {
        scratch.clear();
        read(&mut scratch.tape, record, &self.plan.names)?;
        let JsonScratch { arena, tape, folder } = scratch;
        let (tape, arena) = (&*tape, &*arena);
        let json: &JsonRecord<'_> = arena.alloc(JsonRecord::of(tape, record));
        let folder: Option<&JsonRecord<'_>> = match folder.keys.is_empty() {
            true => None,
            false => Some(arena.alloc(JsonRecord::of(&folder.tape, &folder.text))),
        };
        let json = JsonSource { record: json, folder };
        let mut read = assemble(&self.plan, &json, arena)?;
        if self.plan.spec.keep_extra {
            read.record.extra = extra::extra(&json, &read, arena);
        }
        Ok(read.record)
    }

    /// As [`parse`](Self::parse), for bytes that may not be UTF-8 (rejected as `utf8`).
    ///
    /// # Errors
    /// The reason to reject the record.
    pub fn parse_bytes<'a>(
        &self,
        record: &'a [u8],
        scratch: &'a mut JsonScratch,
    ) -> Result<Record<'a>, Reject> {
        self.parse(utf8(record)?, scratch)
    }
}

/// The value that a text holds; `None` if that is no JSON.
pub(super) fn value<'a>(text: &'a str, arena: &'a Bump) -> Option<JsonNode<'a>> {
    let mut tape = Tape::default();
    if text.len() > MAX_BYTES || tape.read_value(text).is_err() {
        return None;
    }
    let tokens = arena.alloc_slice_copy(&tape.tokens);
    let record = JsonRecord { text, tokens, slots: &[], key_slots: &[], present: 0 };
    Some(JsonNode { record: arena.alloc(record), at: 0 })
}

fn utf8(record: &[u8]) -> Result<&str, Reject> {
    if let Ok(text) = simdutf8::basic::from_utf8(record) {
        return Ok(text);
    }
    std::str::from_utf8(record).map_err(|error| Reject {
        kind: RejectKind::Utf8,
        reason: "not valid UTF-8".to_owned(),
        offset: error.valid_up_to(),
        id: None,
    })
}

fn read(tape: &mut Tape, text: &str, names: &Names) -> Result<(), Reject> {
    if text.len() > MAX_BYTES {
        let reason = format!("the record has {} bytes, more than {MAX_BYTES}", text.len());
        return Err(Reject { kind: RejectKind::Size, reason, offset: 0, id: None });
    }
    tape.read(text, names).map_err(|broken| Reject {
        kind: RejectKind::Json,
        reason: broken.what.into_owned(),
        offset: broken.offset,
        id: None,
    })
}

/// The names of a record's top-level fields, in order.
///
/// # Errors
/// The reason to reject the record.
pub fn field_names(record: &[u8]) -> Result<Vec<String>, Reject> {
    let mut tape = Tape::default();
    let text = utf8(record)?;
    read(&mut tape, text, &Names::default())?;
    Ok(JsonRecord::of(&tape, text).top_level().map(|(key, ..)| key.lossy()).collect())
}

/// What the shape is decided from.
fn sample(record: &[u8]) -> Result<Sample, Reject> {
    let names = field_names(record)?;
    let mut tape = Tape::default();
    let text = utf8(record)?;
    read(&mut tape, text, &Names::of(&names))?;
    let record = JsonRecord::of(&tape, text);
    let mut sample = Sample { names, ..Sample::default() };
    for (key, value, _) in record.top_level() {
        if value.kind() == Kind::Text {
            sample.texts.push(key.lossy());
        } else if is_chat(value) {
            sample.chats.push(key.lossy());
        }
    }
    Ok(sample)
}

/// What to read from a corpus, from up to 100 of its first records (broken ones are passed over): `fields` with the
/// shape decided, and the field that holds the conversations where that is not the shape's own.
///
/// Not needed when [`FieldSpec::needs_shape`] says so.
///
/// # Errors
/// If no record has a known shape: lists the fields seen and the shapes known; if it can be read in two ways: says which.
/// If none is a JSON object: says what is wrong with the first.
pub fn decide_fields(samples: &[&[u8]], fields: &FieldSpec) -> Result<FieldSpec> {
    let mut broken = None;
    let mut seen = Vec::with_capacity(samples.len());
    for record in samples {
        match sample(record) {
            Ok(sample) => seen.push(sample),
            Err(reject) => broken = broken.or(Some(reject)),
        }
    }
    match broken {
        Some(reject) if seen.is_empty() => Err(Error::Input(format!(
            "not JSON records: none of the first {} is a JSON object; of the first, byte {}: {}{}",
            samples.len(),
            reject.offset,
            reject.reason,
            no_record(samples[0], &reject)
        ))),
        _ => decide(&seen, fields).map_err(|error| other_record(samples, &seen).map_or(error, Error::Input)),
    }
}

/// What a line that is no record may be instead, and what to do then.
fn no_record(line: &[u8], reject: &Reject) -> &'static str {
    match line.trim_ascii_start() {
        [0, ..] | [_, 0, ..] => "; it looks like UTF-16 text: convert it with iconv -f UTF-16 -t UTF-8",
        [b'[', ..] => "; a list of messages goes into an object: jq -c '{messages: .}'",
        [b'{', ..] if reject.offset >= line.len() => "; an object over several lines goes on one: jq -c .",
        _ => "",
    }
}

/// What records of no known shape are instead, and what to do then.
fn other_record(samples: &[&[u8]], seen: &[Sample]) -> Option<String> {
    if seen.iter().any(|sample| !sample.chats.is_empty()) || forms::refusal(seen).is_some() {
        return None;
    }
    let has = |fields: &[String], name: &str| fields.iter().any(|field| field == name);
    let message = |Sample { names, .. }: &Sample| {
        has(names, "role") && has(names, "content") || has(names, "from") && has(names, "value")
    };
    if !seen.is_empty() && seen.iter().all(message) {
        return Some(
            "each record is a message, not a conversation: put each conversation's list of messages into an \
             object, as jq -c '{messages: .}' does"
                .to_owned(),
        );
    }
    let [record] = samples else { return None };
    let name = list_of_objects(record)?;
    Some(format!(
        "no known record shape, but the one record has a list `{name}`: if these are the records, \
         jq -c '.[\"{name}\"][]' makes lines of them"
    ))
}

/// The first member of a record that is a list of objects.
fn list_of_objects(record: &[u8]) -> Option<String> {
    let text = utf8(record).ok()?;
    let mut tape = Tape::default();
    read(&mut tape, text, &Names::default()).ok()?;
    let record = JsonRecord::of(&tape, text);
    let is_list = |raw: &str| raw.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with('{'));
    record.top_level().find(|(_, value, _)| is_list(value.raw())).map(|(key, ..)| shown(&key.lossy()))
}
