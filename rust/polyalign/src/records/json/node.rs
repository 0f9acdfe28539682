//! A JSON value on the tape.

use super::tape::{NO_SLOT, NONE, Tape, Token, next};
use super::unescape::{key_bytes, unescape};
use crate::records::assemble::{Key, Kind, Node, Source};
use crate::records::fields::same;
use crate::records::record::{Reject, RejectKind};
use bumpalo::Bump;
use bumpalo::collections::String as ArenaString;

/// A record's text, and what is known of it: its tape.
pub(crate) struct JsonRecord<'a> {
    pub text: &'a str,
    pub tokens: &'a [Token],
    pub slots: &'a [u32],
    /// By top-level key: its slot, or [`NO_SLOT`].
    pub key_slots: &'a [u8],
    /// The slots that it has a value of, a bit each.
    pub present: u128,
}

/// Where a record's fields are: in itself, else in what its folders' names say.
pub(super) struct JsonSource<'a> {
    pub record: &'a JsonRecord<'a>,
    pub folder: Option<&'a JsonRecord<'a>>,
}

/// A value: its record, and its token there.
#[derive(Clone, Copy)]
pub(crate) struct JsonNode<'a> {
    pub record: &'a JsonRecord<'a>,
    pub at: usize,
}

impl<'a> JsonRecord<'a> {
    /// What a tape has of the text that it has read.
    pub(super) fn of(tape: &'a Tape, text: &'a str) -> Self {
        Self {
            text,
            tokens: &tape.tokens,
            slots: &tape.slots,
            key_slots: &tape.key_slots,
            present: tape.present,
        }
    }

    /// The value of a slot, if the record has it.
    #[inline]
    pub fn slot(&'a self, slot: usize) -> Option<JsonNode<'a>> {
        let at = self.slots[slot];
        (at != NONE).then_some(JsonNode { record: self, at: at as usize })
    }
}

impl<'a> Source<'a> for JsonSource<'a> {
    type Node = JsonNode<'a>;

    #[inline]
    fn slot(&self, slot: usize) -> Option<JsonNode<'a>> {
        self.record.slot(slot).or_else(|| self.folder?.slot(slot))
    }

    #[inline]
    fn present(&self) -> u128 {
        self.record.present | self.folder.map_or(0, |folder| folder.present)
    }

    fn others(&self, used: u128, each: &mut dyn FnMut(&'a str)) {
        if self.folder.is_none() && self.record.key_slots.len() == used.count_ones() as usize {
            return;
        }
        let record = self.record;
        let mut before = None;
        for &slot in record.key_slots {
            // Values with a slot are known already; the others' keys come after the value before.
            let value = match slot {
                NO_SLOT => JsonNode { record, at: before.map_or(0, |at| record.after(at)) + 1 },
                slot => JsonNode { record, at: record.slots[usize::from(slot)] as usize },
            };
            before = Some(value.at);
            let unused = slot == NO_SLOT || used >> slot & 1 == 0;
            if unused && value.kind() != Kind::Null {
                each(record.key(value.at - 1).raw);
            }
        }
    }
}

impl<'a> JsonRecord<'a> {
    /// The key that is the token at `at`.
    #[inline]
    fn key(&'a self, at: usize) -> JsonKey<'a> {
        let key = self.tokens[at];
        let raw = &self.text[key.start as usize + 1..key.rest() as usize];
        JsonKey { raw, escaped: key.escaped() }
    }

    /// The token after the value at `at`.
    #[inline]
    fn after(&self, at: usize) -> usize {
        next(self.tokens, self.text.as_bytes(), at)
    }

    /// The record's own members, and their slots.
    pub fn top_level(&'a self) -> impl Iterator<Item = (JsonKey<'a>, JsonNode<'a>, Option<usize>)> {
        let members = JsonNode { record: self, at: 0 }.pairs(0, self.tokens.len());
        members
            .zip(self.key_slots)
            .map(|((key, value), &slot)| (key, value, (slot != NO_SLOT).then_some(usize::from(slot))))
    }
}

impl<'a> Key<'a> for JsonKey<'a> {
    fn shown(self) -> &'a str {
        self.raw
    }
}

/// A member's key, as it stands between its quotes.
#[derive(Clone, Copy)]
pub(crate) struct JsonKey<'a> {
    pub raw: &'a str,
    escaped: bool,
}

impl PartialEq<str> for JsonKey<'_> {
    // Called for every member of every message.
    #[inline(always)]
    fn eq(&self, name: &str) -> bool {
        if self.escaped {
            return key_bytes(self.raw) == name.as_bytes();
        }
        same(self.raw.as_bytes(), name.as_bytes())
    }
}

impl JsonKey<'_> {
    /// The key for people: half characters replaced.
    pub fn lossy(self) -> String {
        if self.escaped {
            String::from_utf8_lossy(&key_bytes(self.raw)).into_owned()
        } else {
            self.raw.to_owned()
        }
    }
}

impl<'a> JsonNode<'a> {
    fn token(self) -> Token {
        self.record.tokens[self.at]
    }

    /// The value's bytes as they stand.
    pub fn raw(self) -> &'a str {
        let token = self.token();
        let start = token.start as usize;
        let end = match self.record.text.as_bytes()[start] {
            b'"' => token.rest() as usize + 1,
            b'{' | b'[' => self.record.tokens[token.rest() as usize].start as usize + 1,
            _ => token.rest() as usize,
        };
        &self.record.text[start..end]
    }

    /// The value's tokens' indices: those within it, and the one after them.
    fn inside(self) -> (usize, usize) {
        (self.at + 1, self.token().rest() as usize)
    }

    fn number_kind(self) -> Kind {
        let integer = self.raw().bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        if integer { Kind::Integer } else { Kind::Float }
    }

    fn with(self, at: usize) -> Self {
        Self { at, ..self }
    }

    /// The keys and values whose tokens are `from..to`.
    pub fn pairs(self, from: usize, to: usize) -> impl Iterator<Item = (JsonKey<'a>, Self)> {
        Pairs { of: self, at: from, to }
    }
}

/// Members of an object, from one token to another.
struct Pairs<'a> {
    of: JsonNode<'a>,
    at: usize,
    to: usize,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (JsonKey<'a>, JsonNode<'a>);

    // Called for every member of every message.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.to {
            return None;
        }
        let (record, at) = (self.of.record, self.at);
        self.at = record.after(at + 1);
        Some((record.key(at), self.of.with(at + 1)))
    }
}

impl<'a> Node<'a> for JsonNode<'a> {
    type Key = JsonKey<'a>;

    #[inline]
    fn kind(self) -> Kind {
        match self.record.text.as_bytes()[self.token().start as usize] {
            b'"' => Kind::Text,
            b'{' => Kind::Object,
            b'[' => Kind::List,
            b'n' => Kind::Null,
            b't' | b'f' => Kind::Bool,
            _ => self.number_kind(),
        }
    }

    fn offset(self) -> usize {
        self.token().start as usize
    }

    #[inline]
    fn text(self, arena: &'a Bump) -> Result<&'a str, Reject> {
        let token = self.token();
        let raw = &self.record.text[token.start as usize + 1..token.rest() as usize];
        if !token.escaped() {
            return Ok(raw);
        }
        let mut text = ArenaString::with_capacity_in(raw.len(), arena);
        self.push_text(&mut text)?;
        Ok(text.into_bump_str())
    }

    fn push_text(self, text: &mut ArenaString<'a>) -> Result<(), Reject> {
        let token = self.token();
        let start = token.start as usize + 1;
        let raw = &self.record.text[start..token.rest() as usize];
        if !token.escaped() {
            text.push_str(raw);
            return Ok(());
        }
        unescape(raw, text).map_err(|at| Reject {
            kind: RejectKind::Utf8,
            reason: "a lone surrogate (half a character) in a field that is read".to_owned(),
            offset: start + at,
            id: None,
        })
    }

    fn scalar(self, _: &'a Bump) -> &'a str {
        self.raw()
    }

    fn elements(self) -> impl Iterator<Item = Self> {
        let (mut at, end) = self.inside();
        std::iter::from_fn(move || {
            (at < end).then(|| {
                let element = self.with(at);
                at = self.record.after(at);
                element
            })
        })
    }

    fn members(self) -> impl Iterator<Item = (Self::Key, Self)> {
        let (from, to) = self.inside();
        self.pairs(from, to)
    }
}
