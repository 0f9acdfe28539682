//! A record's remaining members, each value's bytes as they stood.

use super::node::{JsonKey, JsonNode, JsonRecord, JsonSource};
use crate::records::assemble::{Assembled, Kind, Node, ReadList, is_read_member};
use bumpalo::Bump;
use bumpalo::collections::String as ArenaString;

/// What is left of the record as one object; `None` if nothing is.
pub(super) fn extra<'a>(source: &JsonSource<'a>, read: &Assembled<'a>, arena: &'a Bump) -> Option<&'a str> {
    let record = source.record;
    let mut object = Object::new(ArenaString::with_capacity_in(record.text.len().min(1 << 10), arena));
    for (key, value, slot) in record.top_level() {
        match slot.filter(|slot| read.consumed >> slot & 1 == 1) {
            None => object.member(key, value.raw().len()).push_str(value.raw()),
            Some(slot) => {
                let list = read.lists.iter().flatten().find(|list| list.slot == slot && list.rest);
                if let Some(list) = list {
                    unread(value, list, object.member(key, 0));
                }
            }
        }
    }
    if let Some(folder) = source.folder {
        unread_keys(record, folder, read, &mut object);
    }
    object.finish()
}

/// Of what the folders' names say, what was not read and the record does not say itself.
fn unread_keys<'a>(
    record: &'a JsonRecord<'a>,
    folder: &'a JsonRecord<'a>,
    read: &Assembled<'a>,
    object: &mut Object<'a>,
) {
    for (key, value, slot) in folder.top_level() {
        let is_read = slot.is_some_and(|slot| read.consumed >> slot & 1 == 1);
        let name = key.lossy();
        if !is_read && record.top_level().all(|(own, ..)| own != *name.as_str()) {
            object.member(key, value.raw().len()).push_str(value.raw());
        }
    }
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
    /// Writes a key; the caller writes the value, of `length` bytes or more.
    fn member(&mut self, key: JsonKey<'_>, length: usize) -> &mut ArenaString<'a> {
        self.text.reserve(key.raw.len() + length + 5);
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
