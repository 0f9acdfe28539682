//! A JSON value on the tape.

use super::tape::{Token, next};
use super::unescape::{key_bytes, unescape};
use crate::io::assemble::{Kind, Node};
use crate::io::record::Reject;
use bumpalo::Bump;
use bumpalo::collections::String as ArenaString;

/// A value: the record's text, its tape, and the value's token.
#[derive(Clone, Copy)]
pub(super) struct JsonNode<'a> {
    pub text: &'a str,
    pub tokens: &'a [Token],
    pub at: usize,
}

/// A member's key, as it stands between its quotes.
#[derive(Clone, Copy)]
pub(super) struct JsonKey<'a> {
    pub raw: &'a str,
    escaped: bool,
}

impl PartialEq<str> for JsonKey<'_> {
    #[inline]
    fn eq(&self, name: &str) -> bool {
        if self.escaped {
            return key_bytes(self.raw) == name.as_bytes();
        }
        // Names are short: quicker than a call to compare memory.
        self.raw.len() == name.len() && self.raw.bytes().zip(name.bytes()).all(|(a, b)| a == b)
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
        self.tokens[self.at]
    }

    /// The value's bytes as they stand.
    pub fn raw(self) -> &'a str {
        let token = self.token();
        let start = token.start as usize;
        let end = match self.text.as_bytes()[start] {
            b'"' => token.rest() as usize + 1,
            b'{' | b'[' => self.tokens[token.rest() as usize].start as usize + 1,
            _ => token.rest() as usize,
        };
        &self.text[start..end]
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

    fn after(self, at: usize) -> usize {
        next(self.tokens, self.text.as_bytes(), at)
    }

    /// The keys and values whose tokens are `from..to`.
    pub fn pairs(self, from: usize, to: usize) -> impl Iterator<Item = (JsonKey<'a>, Self)> {
        let mut at = from;
        std::iter::from_fn(move || {
            (at < to).then(|| {
                let key = self.tokens[at];
                let raw = &self.text[key.start as usize + 1..key.rest() as usize];
                let value = self.with(at + 1);
                at = self.after(at + 1);
                (JsonKey { raw, escaped: key.escaped() }, value)
            })
        })
    }
}

impl<'a> Node<'a> for JsonNode<'a> {
    type Key = JsonKey<'a>;

    #[inline]
    fn kind(self) -> Kind {
        match self.text.as_bytes()[self.token().start as usize] {
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
        let raw = &self.text[token.start as usize + 1..token.rest() as usize];
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
        let raw = &self.text[start..token.rest() as usize];
        if !token.escaped() {
            text.push_str(raw);
            return Ok(());
        }
        unescape(raw, text).map_err(|at| Reject {
            kind: "utf8",
            reason: "a lone surrogate (half a character) in a field that is read".to_owned(),
            offset: start + at,
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
                at = self.after(at);
                element
            })
        })
    }

    fn members(self) -> impl Iterator<Item = (Self::Key, Self)> {
        let (from, to) = self.inside();
        self.pairs(from, to)
    }
}
