//! SentencePiece's BPE, step by step as it has it: of all neighbours that make a piece together those are merged first
//! whose piece has the highest score, and of equals the leftmost.
//!
//! Slow and without exceptions. Merges by rank, which are fast, stand for it where every piece that comes about has a
//! score of its own: what becomes a piece is merged, up to then, with nothing around it, so always in the same way, and
//! the last of these merges is that of the piece.

use super::super::merges::MergeScratch;
use super::super::unicode::len_of_char;
use super::super::unigram::Unknown;
use aho_corasick::AhoCorasick;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

/// Pieces with their scores.
pub(super) struct ByScore {
    pieces: HashMap<Box<str>, Piece>,
}

#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) score: f32,
    /// Whether it is no token, but what it was merged of.
    pub(super) unused: bool,
}

/// A stretch of text, empty if it has been merged with the one before.
#[derive(Clone, Copy)]
struct Symbol {
    start: u32,
    len: u32,
    prev: u32,
    next: u32,
    /// Whether it is never merged.
    frozen: bool,
}

/// So often an unused piece is taken apart; what is left then is a token.
const DEEPEST: u32 = 100;
/// No symbol.
const NONE: u32 = u32::MAX;

/// Neighbours that make a piece.
#[derive(PartialEq)]
struct Pair {
    score: f32,
    left: u32,
    right: u32,
    size: u32,
}

impl Eq for Pair {}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl ByScore {
    pub(super) fn new(pieces: impl Iterator<Item = (Box<str>, Piece)>) -> Self {
        Self { pieces: pieces.collect() }
    }

    /// Whether there is such a piece that is a token.
    pub(super) fn has(&self, piece: &str) -> bool {
        self.pieces.get(piece).is_some_and(|piece| !piece.unused)
    }

    /// Where the last merge of a piece joins two, if merging alone comes to it.
    pub(super) fn split_of(&self, piece: &str) -> Option<usize> {
        let mut symbols = symbols(piece, None);
        let mut last = 0;
        self.merge(piece, &mut symbols, |_, _| (), |right| last = right, &MergeScratch::default());
        (symbols[0].len as usize == piece.len() && last > 0).then_some(last as usize)
    }

    /// The number of tokens of a text below 2 GiB, where those of `frozen` are tokens before all else.
    pub(super) fn count(
        &self,
        text: &str,
        frozen: Option<&AhoCorasick>,
        unknown: Unknown,
        scratch: &MergeScratch,
    ) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let mut symbols = symbols(text, frozen);
        let mut splits: HashMap<&str, usize> = HashMap::new();
        let keep = |left: Symbol, right: Symbol| {
            splits.insert(span(text, left.start, left.len + right.len), left.len as usize);
        };
        self.merge(text, &mut symbols, keep, |_| (), scratch);
        let (mut count, mut at, mut after_unknown) = (0, 0, false);
        let mut waiting = Vec::new();
        while at != NONE {
            let Symbol { start, len, next, .. } = symbols[at as usize];
            waiting.push((span(text, start, len), 0));
            while let Some((piece, depth)) = waiting.pop() {
                let known = self.pieces.get(piece);
                let unused = depth <= DEEPEST && known.is_some_and(|known| known.unused);
                let split = if unused { splits.get(piece) } else { None };
                if let Some(&split) = split {
                    let (left, right) = piece.split_at(split);
                    waiting.extend([(right, depth + 1), (left, depth + 1)]);
                    continue;
                }
                let is_token = known.is_some() && !unused;
                count += match unknown {
                    _ if is_token => 1,
                    Unknown::Bytes(blank) if piece == " " => blank,
                    Unknown::Bytes(_) => piece.len() as u32,
                    Unknown::Fused => !after_unknown as u32,
                };
                after_unknown = !is_token;
            }
            at = next;
        }
        count
    }

    /// Merges until nothing can be merged. `unused` is given neighbours that make a piece of this kind, `merged` where
    /// the right of two begins that are merged.
    fn merge(
        &self,
        text: &str,
        symbols: &mut [Symbol],
        mut unused: impl FnMut(Symbol, Symbol),
        mut merged: impl FnMut(u32),
        scratch: &MergeScratch,
    ) {
        let mut pair_of = |symbols: &[Symbol], left: u32, right: u32| {
            if left == NONE || right == NONE {
                return None;
            }
            let (a, b) = (symbols[left as usize], symbols[right as usize]);
            if a.frozen || b.frozen {
                return None;
            }
            let size = a.len + b.len;
            let piece = self.pieces.get(span(text, a.start, size))?;
            if piece.unused {
                unused(a, b);
            }
            Some(Pair { score: piece.score, left, right, size })
        };
        let first: Vec<Pair> =
            (1..symbols.len() as u32).filter_map(|right| pair_of(symbols, right - 1, right)).collect();
        let mut pairs = BinaryHeap::from(first);
        let mut round = 0_u32;
        while let Some(Pair { left, right, size, .. }) = pairs.pop() {
            round = round.wrapping_add(1);
            if round.is_multiple_of(1 << 16) && scratch.is_stopped() {
                return;
            }
            let (a, b) = (symbols[left as usize], symbols[right as usize]);
            if a.len == 0 || b.len == 0 || a.len + b.len != size {
                continue;
            }
            merged(b.start);
            symbols[left as usize] = Symbol { len: size, next: b.next, ..a };
            symbols[right as usize].len = 0;
            if let Some(next) = symbols.get_mut(b.next as usize) {
                next.prev = left;
            }
            pairs.extend(pair_of(symbols, a.prev, left));
            pairs.extend(pair_of(symbols, left, b.next));
        }
    }
}

fn span(text: &str, start: u32, len: u32) -> &str {
    &text[start as usize..(start + len) as usize]
}

/// A text by characters, but for what is frozen.
fn symbols(text: &str, frozen: Option<&AhoCorasick>) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    let mut push = |start: usize, len: usize, frozen: bool| {
        let n = symbols.len() as u32;
        symbols.push(Symbol {
            start: start as u32,
            len: len as u32,
            prev: n.wrapping_sub(1),
            next: n + 1,
            frozen,
        });
    };
    let by_char = |from: usize, to: usize, push: &mut dyn FnMut(usize, usize, bool)| {
        let mut at = from;
        while at < to {
            let len = len_of_char(text.as_bytes()[at]);
            push(at, len, false);
            at += len;
        }
    };
    let mut done = 0;
    for found in frozen.into_iter().flat_map(|frozen| frozen.find_iter(text)) {
        by_char(done, found.start(), &mut push);
        push(found.start(), found.len(), true);
        done = found.end();
    }
    by_char(done, text.len(), &mut push);
    if let Some(last) = symbols.last_mut() {
        last.next = NONE;
    }
    symbols
}
