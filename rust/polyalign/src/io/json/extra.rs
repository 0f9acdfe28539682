//! A record's remaining members, each value's bytes as they stood.

use super::node::{JsonKey, JsonNode};
use super::tape::Tape;
use crate::io::assemble::{Assembled, Kind, Node, ReadList, is_read_member};
use bumpalo::Bump;
use bumpalo::collections::String as ArenaString;

/// The record's own members.
pub(super) fn top_level<'a>(
    text: &'a str,
    tape: &'a Tape,
) -> impl Iterator<Item = (JsonKey<'a>, JsonNode<'a>)> {
    let record = JsonNode { text, tokens: &tape.tokens, at: 0 };
    record.pairs(0, tape.tokens.len())
}

/// What is left of the record as one object; `None` if nothing is.
pub(super) fn extra<'a>(
    text: &'a str,
    tape: &'a Tape,
    read: &Assembled<'a>,
    arena: &'a Bump,
) -> Option<&'a str> {
    let consumed = |value: usize| {
        let slot = tape.slots.iter().position(|&at| at as usize == value);
        slot.filter(|slot| read.consumed >> slot & 1 == 1)
    };
    let whole = top_level(text, tape).filter(|(_, value)| consumed(value.at).is_none());
    let length: usize = whole.map(|(key, value)| key.raw.len() + value.raw().len() + 4).sum();
    let mut object = Object::new(ArenaString::with_capacity_in(length + 2, arena));
    for (key, value) in top_level(text, tape) {
        match consumed(value.at) {
            None => object.member(key).push_str(value.raw()),
            Some(slot) => {
                let list = read.lists.iter().flatten().find(|list| list.slot == slot && list.rest);
                if let Some(list) = list {
                    unread(value, list, object.member(key));
                }
            }
        }
    }
    object.finish()
}

/// An object being written.
struct Object<'a> {
    text: ArenaString<'a>,
    empty: bool,
}

impl<'a> Object<'a> {
    fn new(mut text: ArenaString<'a>) -> Self {
        text.push('{');
        Self { text, empty: true }
    }
    /// Writes a key; the caller writes the value.
    fn member(&mut self, key: JsonKey<'_>) -> &mut ArenaString<'a> {
        self.text.push_str(if self.empty { "\"" } else { ",\"" });
        self.empty = false;
        self.text.push_str(key.raw);
        self.text.push_str("\":");
        &mut self.text
    }
    fn finish(mut self) -> Option<&'a str> {
        self.text.push('}');
        (!self.empty).then(|| self.text.into_bump_str())
    }
}

/// Of a list of messages, one object a message with what was not read of it.
fn unread(list: JsonNode<'_>, read: &ReadList, text: &mut ArenaString<'_>) {
    text.push('[');
    for (index, message) in list.elements().enumerate() {
        if index > 0 {
            text.push(',');
        }
        if index >= read.used || message.kind() != Kind::Object {
            text.push_str(message.raw());
            continue;
        }
        text.push('{');
        let is_read = is_read_member(message, read.keys);
        let mut comma = "\"";
        for (key, value) in message.members().filter(|(_, value)| !is_read(value.offset())) {
            for piece in [comma, key.raw, "\":", value.raw()] {
                text.push_str(piece);
            }
            comma = ",\"";
        }
        text.push('}');
    }
    text.push(']');
}
