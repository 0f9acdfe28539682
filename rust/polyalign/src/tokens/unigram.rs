//! Unigram: of all ways to cut a text into tokens, the one whose scores sum to most.
//!
//! For every place the best way to it is found from the left, and of it only its sum and its number of tokens are kept,
//! for as many places as the longest token is long.

use super::trie::{MOST, Trie};
use super::unicode::len_of_char;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A vocabulary with scores.
pub(super) struct Unigram {
    trie: Trie,
    /// By token; what is passed over is not a number.
    scores: Vec<f64>,
    unknown: u32,
    unknown_score: f64,
    unknown_is: Unknown,
}

/// What a character without a token is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// One token with others in a row.
    Fused,
    /// A token for each of its bytes, a blank being of so many.
    Bytes(u32),
}

/// The best way to a place.
#[derive(Clone, Copy, Default)]
pub(super) struct Node {
    score: f64,
    tokens: u32,
    reached: bool,
    /// Whether it ends with what is unknown.
    unknown: bool,
}

/// How exact sums are.
pub(super) trait Sums {
    /// Sums beyond it, and below what is as far below zero, are counted from zero again.
    const MOST: f64;
    fn round(sum: f64) -> f64;
}

/// As in `tokenizers`.
pub(super) struct Double;
/// As in SentencePiece since 0.2.2.
pub(super) struct Single;

impl Sums for Double {
    const MOST: f64 = f64::INFINITY;
    #[inline(always)]
    fn round(sum: f64) -> f64 {
        sum
    }
}

impl Sums for Single {
    const MOST: f64 = 1e5;
    #[inline(always)]
    fn round(sum: f64) -> f64 {
        sum as f32 as f64
    }
}

/// Longest token, in bytes.
pub(super) const LONGEST: usize = 4096;
/// Bytes between two looks whether to stop.
const ROUND: usize = 1 << 20;

impl Unigram {
    /// Of different tokens, none empty, with their scores, of which one that is not a number says that the token is
    /// passed over; `unknown` is the number of the unknown one. Or what is too much.
    pub(super) fn new(
        tokens: &[(impl AsRef<[u8]>, f64)],
        unknown: u32,
        unknown_score: f64,
        unknown_is: Unknown,
    ) -> Result<Self, String> {
        if tokens.len() > MOST {
            return Err("more than eight million tokens".into());
        }
        if let Some((token, _)) = tokens.iter().find(|(token, _)| token.as_ref().len() > LONGEST) {
            return Err(format!("a token of {} bytes, the most are {LONGEST}", token.as_ref().len()));
        }
        let mut strings: Vec<(&[u8], u32)> = Vec::with_capacity(tokens.len());
        strings.extend(tokens.iter().zip(0..).map(|((token, _), i)| (token.as_ref(), i)));
        strings.sort_unstable();
        let scores = tokens.iter().map(|&(_, score)| score).collect();
        Ok(Self { trie: Trie::new(&strings), scores, unknown, unknown_score, unknown_is })
    }

    /// The number of tokens of a text; what it comes to when `stop` is set means nothing.
    #[inline(always)]
    pub(super) fn count<S: Sums>(
        &self,
        text: &[u8],
        nodes: &mut Vec<Node>,
        stop: &Option<Arc<AtomicBool>>,
    ) -> u32 {
        // No token or character reaches further.
        let ring = (self.trie.longest().max(4) + 1).next_power_of_two();
        nodes.clear();
        nodes.resize(ring, Node::default());
        let nodes = &mut nodes[..ring];
        let (mut at, mut next_look) = (0, ROUND);
        while at < text.len() {
            let mut here = std::mem::take(&mut nodes[at & (ring - 1)]);
            if here.score.abs() > S::MOST {
                nodes.iter_mut().for_each(|node| node.score = S::round(node.score - here.score));
                here.score = 0.0;
            }
            let rest = &text[at..];
            let len = len_of_char(rest[0]);
            let mut alone = false;
            self.trie.prefixes(rest, |token_len, token| {
                let sum = S::round(self.scores[token as usize] + here.score);
                let node = &mut nodes[(at + token_len) & (ring - 1)];
                if sum.is_nan() {
                    return;
                }
                alone |= token_len == len;
                if !node.reached || sum > node.score {
                    let unknown = token == self.unknown;
                    let tokens = here.tokens + !(unknown && here.unknown) as u32;
                    *node = Node { score: sum, tokens, reached: true, unknown };
                }
            });
            if !alone {
                let sum = S::round(self.unknown_score + here.score);
                let node = &mut nodes[(at + len) & (ring - 1)];
                if !node.reached || sum > node.score {
                    let more = match self.unknown_is {
                        Unknown::Fused => !here.unknown as u32,
                        Unknown::Bytes(blank) if rest[0] == b' ' => blank,
                        Unknown::Bytes(_) => len as u32,
                    };
                    *node = Node { score: sum, tokens: here.tokens + more, reached: true, unknown: true };
                }
            }
            at += len;
            if at > next_look {
                if stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                    break;
                }
                next_look = at + ROUND;
            }
        }
        nodes[at & (ring - 1)].tokens
    }
}
