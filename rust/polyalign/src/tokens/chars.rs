//! What merging begins with where that is not bytes: a character that is in the vocabulary, or what stands for one that is not.

use super::config::ModelConfig;
use super::unicode::decode;
use serde_json::Value;
use std::collections::HashMap;

/// What SentencePiece writes for a blank.
pub(super) const META: char = '▁';

/// The symbols that characters begin as.
pub(super) struct Chars {
    /// By code point.
    low: Box<[u32]>,
    high: HashMap<u32, u32>,
    unknown: Unknown,
    /// Of ASCII characters that stand alone or with their like, how many are one token at most; else 0.
    runs: [u8; 128],
}

/// What stands for a character that is not in the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown {
    /// A token for each of its bytes.
    Bytes,
    /// The unknown token.
    Each,
    /// The unknown token, one for any number of them in a row.
    Fused,
}

/// No symbol.
const NONE: u32 = u32::MAX;
/// A symbol below 256, of a byte or of what is unknown, is never merged.
const UNKNOWN: u32 = 0;

impl Chars {
    /// Without the characters, for a vocabulary of which `is_known` tells; or why unknown ones can't be counted here.
    pub(super) fn new(model: &ModelConfig, is_known: impl Fn(&str) -> bool) -> Result<Self, String> {
        let flag = |name: &str| model.rest.get(name).and_then(Value::as_bool).unwrap_or(false);
        let unk = model.rest.get("unk_token").and_then(Value::as_str);
        let bytes: Vec<String> = (0..=255u8).map(|byte| format!("<{byte:#04X}>")).collect();
        let missing = |byte: &u8| !matches!(byte, 0xc0 | 0xc1 | 0xf5..) && !is_known(&bytes[*byte as usize]);
        let fallback = flag("byte_fallback") && (0..=255u8).any(|byte| is_known(&bytes[byte as usize]));
        let unknown = match fallback {
            true => match (0..=255u8).find(missing) {
                Some(byte) => return Err(format!("no token for the byte {byte:#04x}")),
                // Its bytes are more than those of the blank that stands for it.
                None if !is_known("▁") => return Err("no token for ▁".into()),
                None => Unknown::Bytes,
            },
            false if !unk.is_some_and(&is_known) => return Err("no unknown token".into()),
            false if flag("fuse_unk") => Unknown::Fused,
            false => Unknown::Each,
        };
        let never: &[String] = if fallback { &bytes } else { &[] };
        let unk = unk.filter(|_| !fallback);
        let is_never =
            |token: &str| Some(token) == unk || token.starts_with("<0x") && never.iter().any(|b| b == token);
        match model.merges.iter().flat_map(|(a, b)| [&*a.0, &*b.0]).find(|token| is_never(token)) {
            Some(token) => Err(format!("a merge of {token}, which stands for what is unknown")),
            None => {
                Ok(Self { low: vec![NONE; 1 << 16].into(), high: HashMap::new(), unknown, runs: [0; 128] })
            }
        }
    }

    /// Gives a character its symbol.
    pub(super) fn insert(&mut self, c: char, id: u32) {
        // What stands for a blank in a text is the symbol of `▁`.
        if c == ' ' {
            return;
        }
        match self.low.get_mut(c as usize) {
            Some(place) => *place = id,
            None => drop(self.high.insert(c as u32, id)),
        }
        if c == META {
            self.low[' ' as usize] = id;
        }
    }

    /// Has up to `most` of an ASCII character be one token, whatever the merges say: no other token holds it.
    pub(super) fn insert_run(&mut self, c: u8, most: u8) {
        self.runs[c as usize] = most;
    }

    /// The first of such characters in a piece: where, how often in a row, and as how many tokens.
    pub(super) fn find_run(&self, piece: &[u8]) -> Option<(usize, usize, u32)> {
        let most = |byte: u8| self.runs.get(byte as usize).map_or(0, |&most| most as usize);
        let at = piece.iter().position(|&byte| most(byte) > 0)?;
        let len = piece[at..].iter().take_while(|&&byte| byte == piece[at]).count();
        Some((at, len, len.div_ceil(most(piece[at])) as u32))
    }

    fn get(&self, c: u32) -> Option<u32> {
        match self.low.get(c as usize) {
            Some(&id) => Some(id).filter(|&id| id != NONE),
            None => self.high.get(&c).copied(),
        }
    }

    /// Whether a character becomes one token with others like it.
    pub(super) fn fuses(&self, c: u32) -> bool {
        self.unknown == Unknown::Fused && self.get(c).is_none()
    }

    /// Calls `each` with the number of every symbol that a piece begins as.
    #[inline]
    pub(super) fn spell(&self, piece: &[u8], mut each: impl FnMut(u32)) {
        let (mut at, mut fused) = (0, false);
        while at < piece.len() {
            let (c, len) = decode(piece, at);
            let known = self.get(c);
            match (known, self.unknown) {
                (Some(id), _) => each(id),
                (None, Unknown::Bytes) => piece[at..at + len].iter().for_each(|&byte| each(byte as u32)),
                (None, Unknown::Fused) if fused => {}
                (None, _) => each(UNKNOWN),
            }
            (at, fused) = (at + len, known.is_none());
        }
    }
}
