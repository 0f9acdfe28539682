//! Bytes that a vocabulary has no token for, and what `tokenizers` puts in their place.
//!
//! A byte-level vocabulary spells the byte 04 as the character `Ą`. Without a token `Ą` it gives, if the model falls back
//! to bytes and has both, the tokens `<0xC4>` and `<0x84>` of the bytes of that character; else the unknown token, if the
//! model names one, once for several in a row if they are fused; else nothing at all, so that what stands on both sides
//! become neighbours.

use super::config::ModelConfig;
use super::vocab::Vocab;
use serde_json::Value;

/// What stands for the bytes without a token.
pub(super) struct Lacking {
    /// By byte.
    instead: [Instead; 256],
    unknown: Option<u32>,
    fuse: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Instead {
    /// The byte has a token: its number is the byte.
    Itself,
    /// Tokens of a fallback to bytes.
    Tokens(u32, Option<u32>),
    /// The unknown token, or nothing.
    Unknown,
}

/// A set of bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Bytes([u64; 4]);

impl Bytes {
    pub(super) fn insert(&mut self, byte: u8) {
        self.0[byte as usize >> 6] |= 1 << (byte & 63);
    }

    #[inline]
    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0[byte as usize >> 6] >> (byte & 63) & 1 != 0
    }
}

impl Lacking {
    /// What stands for the bytes that `spelled` spells and that have no token, or why that can't be told. `number`
    /// gives the number of the token at a place of the vocabulary. `None` if all have one.
    pub(super) fn new(
        model: &ModelConfig,
        vocab: &Vocab,
        spelled: impl Iterator<Item = (u8, char)>,
        mut number: impl FnMut(u32) -> u32,
    ) -> Result<Option<Self>, String> {
        let flag = |name: &str| model.rest.get(name).and_then(Value::as_bool).unwrap_or(false);
        let mut instead = [Instead::Itself; 256];
        let mut any = None;
        for (byte, c) in spelled {
            let mut utf8 = [0; 4];
            let spelling = c.encode_utf8(&mut utf8);
            if vocab.get(spelling).is_some() {
                continue;
            }
            any = any.or(Some(byte));
            let mut tokens = spelling.bytes().map(|b| vocab.get(&format!("<{b:#04X}>")));
            instead[byte as usize] = match (flag("byte_fallback"), tokens.next().flatten(), tokens.next()) {
                (true, Some(one), None) => Instead::Tokens(number(one), None),
                (true, Some(one), Some(Some(two))) => Instead::Tokens(number(one), Some(number(two))),
                _ => Instead::Unknown,
            };
        }
        let Some(byte) = any else { return Ok(None) };
        let unknown = match model.rest.get("unk_token").and_then(Value::as_str) {
            None => None,
            Some("") => return Err(format!("no token for the byte {byte:#04x}, and an empty unknown token")),
            Some(token) => {
                let place = vocab.get(token).ok_or_else(|| {
                    format!("no token for the byte {byte:#04x}, nor the unknown token {token:?}")
                })?;
                Some(number(place))
            }
        };
        Ok(Some(Self { instead, unknown, fuse: flag("fuse_unk") }))
    }

    /// The bytes without a token.
    pub(super) fn bytes(&self) -> Bytes {
        let mut bytes = Bytes::default();
        (0..=255u8).filter(|&byte| self.is_without(byte)).for_each(|byte| bytes.insert(byte));
        bytes
    }

    /// Whether only bytes' own tokens come of text: the others vanish.
    pub(super) fn vanish(&self) -> bool {
        self.unknown.is_none() && !self.instead.iter().any(|i| matches!(i, Instead::Tokens(..)))
    }

    fn is_without(&self, byte: u8) -> bool {
        self.instead[byte as usize] != Instead::Itself
    }

    /// Whether a piece has such bytes.
    pub(super) fn occur_in(&self, piece: &[u8]) -> bool {
        piece.iter().any(|&byte| self.is_without(byte))
    }

    /// Adds the tokens that merging begins with.
    pub(super) fn spell(&self, piece: &[u8], out: &mut Vec<u32>) {
        // The unknown token waits for a byte that has one, or an unknown byte: tokens of a fallback overtake it.
        let mut waiting = false;
        for &byte in piece {
            match self.instead[byte as usize] {
                Instead::Itself => {
                    out.extend(self.unknown.filter(|_| waiting));
                    waiting = false;
                    out.push(byte as u32);
                }
                Instead::Tokens(one, two) => {
                    out.push(one);
                    out.extend(two);
                }
                Instead::Unknown => {
                    out.extend(self.unknown.filter(|_| waiting && !self.fuse));
                    waiting = true;
                }
            }
        }
        out.extend(self.unknown.filter(|_| waiting));
    }
}
