//! Words of Chinese, as [jieba](https://github.com/fxsjy/jieba) cuts them: a dictionary's words along the
//! most likely path, and what it leaves as single characters joined by a hidden Markov model.

mod coder;
mod common;
mod dictionary;
mod hmm;
mod lexicon;
#[cfg(feature = "pos")]
pub mod pos;
#[cfg(test)]
mod tests;

pub use common::is_common;
use dictionary::{ASCII_CODES, Code, Dictionary, FIRST_HAN, HAN, OTHER, UNKNOWN};

/// Cuts texts into words; holds the memory that takes, to be used again.
///
/// ```
/// let text = "我们都爱吃火锅！";
/// let mut words = Vec::new();
/// polyalign::text::chinese::Segmenter::new().cut(text, &mut words);
/// let words: Vec<&str> = words.iter().map(|&(start, end)| &text[start as usize..end as usize]).collect();
/// assert_eq!(words, ["我们", "都", "爱", "吃火锅", "！"]);
/// ```
pub struct Segmenter {
    dictionary: &'static Dictionary,
    block: Block,
    /// By character of the block: the logarithm of the best path from there to the end.
    scores: Vec<f64>,
    /// By character of the block: how many characters the first word of that path has.
    lengths: Vec<u8>,
    ends: Vec<u8>,
}

/// A run of characters that words can be made of.
#[derive(Default)]
struct Block {
    codes: Vec<Code>,
    /// Where in the text each character starts, and where the last ends.
    starts: Vec<u32>,
}

impl Default for Segmenter {
    fn default() -> Self {
        Self::new()
    }
}

impl Segmenter {
    /// A segmenter; the first reads the dictionary, which all share.
    pub fn new() -> Self {
        Segmenter {
            dictionary: Dictionary::get(),
            block: Block::default(),
            scores: Vec::new(),
            lengths: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Puts the places of all words of `text` into `words`, emptied first: bytes from start to end.
    ///
    /// Words follow each other without gaps; blanks, punctuation and whatever else is no word are there
    /// too, a character each (but `\r\n` is one). Equal to what `cut(text, true)` of the crate jieba-rs 0.11
    /// gives. Of a text of more than 4 GiB what lies beyond is left out.
    pub fn cut(&mut self, text: &str, words: &mut Vec<(u32, u32)>) {
        words.clear();
        let text = first_4_gib(text);
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            self.block.read(self.dictionary, text, at);
            if self.block.codes.is_empty() {
                let end = end_of_other(text, at);
                words.push((at as u32, end as u32));
                at = end;
                continue;
            }
            at = self.block.starts[self.block.codes.len()] as usize;
            self.find_path();
            self.follow_path(bytes, words);
        }
    }

    /// Finds the most likely way through the block, from its end to its begin.
    ///
    /// Of equally likely words the longest wins, and sums are made in jieba's order.
    fn find_path(&mut self) {
        let Dictionary { roots, nodes, weights, .. } = self.dictionary;
        let codes = &self.block.codes;
        self.scores.resize(codes.len() + 1, 0.0);
        self.lengths.resize(codes.len(), 0);
        self.scores[codes.len()] = 0.0;
        for start in (0..codes.len()).rev() {
            let mut node = roots[usize::from(codes[start])];
            let (mut best, mut length) = (f64::NEG_INFINITY, 0);
            let mut end = start + 1;
            loop {
                if node.weight != 0 {
                    let score = weights[usize::from(node.weight)] + self.scores[end];
                    if score >= best {
                        (best, length) = (score, end - start);
                    }
                }
                if node.base == 0 || end == codes.len() {
                    break;
                }
                let code = codes[end];
                node = nodes[node.base as usize + usize::from(code)];
                if node.label != code {
                    break;
                }
                end += 1;
            }
            if length == 0 {
                (best, length) = (weights[0] + self.scores[start + 1], 1);
            }
            self.scores[start] = best;
            self.lengths[start] = length as u8;
        }
    }

    /// Puts the words of the way into `words`, and those that runs of single characters make.
    fn follow_path(&mut self, bytes: &[u8], words: &mut Vec<(u32, u32)>) {
        let mut at = 0;
        while at < self.block.codes.len() {
            let singles = self.lengths[at..].iter().take_while(|&&length| length == 1).count();
            if singles > 0 {
                self.join(bytes, at, at + singles, words);
                at += singles;
            } else {
                let end = at + usize::from(self.lengths[at]);
                words.push((self.block.starts[at], self.block.starts[end]));
                at = end;
            }
        }
    }

    /// Puts the words of a run of single characters into `words`.
    fn join(&mut self, bytes: &[u8], start: usize, end: usize, words: &mut Vec<(u32, u32)>) {
        // A word of the dictionary that is less likely than its characters is not made after all.
        if end - start == 1 || self.dictionary.is_word(&self.block.codes[start..end]) {
            words.extend(self.block.starts[start..=end].windows(2).map(|pair| (pair[0], pair[1])));
            return;
        }
        let mut at = start;
        while at < end {
            let modelled = is_modelled(self.block.codes[at]);
            let run = self.block.codes[at..end].iter().take_while(|&&code| is_modelled(code) == modelled);
            let next = at + run.count();
            if modelled {
                self.join_han(at, next, words);
            } else {
                let (start, end) = (self.block.starts[at] as usize, self.block.starts[next] as usize);
                join_others(&bytes[..end], start, words);
            }
            at = next;
        }
    }

    fn join_han(&mut self, start: usize, end: usize, words: &mut Vec<(u32, u32)>) {
        let starts = &self.block.starts;
        if end - start == 1 {
            words.push((starts[start], starts[end]));
            return;
        }
        let emissions = &self.dictionary.emissions;
        let run = self.block.codes[start..end].iter().map(|&code| emissions[usize::from(code)]);
        hmm::ends(run, &mut self.ends);
        let mut from = starts[start];
        for (&ends, &to) in self.ends.iter().zip(&starts[start + 1..]) {
            if ends != 0 {
                words.push((from, to));
                from = to;
            }
        }
    }
}

impl Block {
    /// Reads the block that starts at byte `at` of `text`; none does if there is no character after.
    fn read(&mut self, dictionary: &Dictionary, text: &str, mut at: usize) {
        self.codes.clear();
        self.starts.clear();
        let bytes = text.as_bytes();
        while at < bytes.len() {
            let (code, length) = match bytes[at..] {
                [byte, ..] if byte < 0x80 => match ASCII_CODES[usize::from(byte)] {
                    OTHER => break,
                    code => (code, 1),
                },
                [a @ 0xE4, b @ 0xB8..=0xBF, c, ..] | [a @ 0xE5..=0xE9, b, c, ..] => {
                    let han = u16::from(a) << 12 | u16::from(b & 0x3F) << 6 | u16::from(c & 0x3F);
                    (dictionary.han[usize::from(han - HAN.start())], 3)
                }
                _ => match text[at..].chars().next() {
                    Some(c) if is_rare_han(c) => (OTHER, c.len_utf8()),
                    _ => break,
                },
            };
            self.codes.push(code);
            self.starts.push(at as u32);
            at += length;
        }
        self.starts.push(at as u32);
    }
}

/// Whether a Han character is in one of the blocks beside the main one that jieba knows.
fn is_rare_han(c: char) -> bool {
    matches!(c,
        '\u{3400}'..='\u{4DBF}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{2A6DF}'
        | '\u{2A700}'..='\u{2B73F}'
        | '\u{2B740}'..='\u{2B81F}'
        | '\u{2B820}'..='\u{2CEAF}'
        | '\u{2CEB0}'..='\u{2EBEF}'
        | '\u{2F800}'..='\u{2FA1F}')
}

/// Whether the hidden Markov model applies to a character.
fn is_modelled(code: Code) -> bool {
    code == UNKNOWN || code >= FIRST_HAN
}

/// As much of a text as `u32` has places for.
fn first_4_gib(text: &str) -> &str {
    let mut end = text.len().min(u32::MAX as usize);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The end of what starts at `at` and is no part of a block.
fn end_of_other(text: &str, at: usize) -> usize {
    if text.as_bytes()[at..].starts_with(b"\r\n") {
        return at + 2;
    }
    at + text[at..].chars().next().map_or(1, char::len_utf8)
}

/// Puts runs of ASCII letters and digits into `words`, such as `3.14`, `v1_2` and `50%`, and whatever lies between.
fn join_others(bytes: &[u8], mut at: usize, words: &mut Vec<(u32, u32)>) {
    while at < bytes.len() {
        let gap = bytes[at..].iter().take_while(|byte| !byte.is_ascii_alphanumeric()).count();
        let end = if gap > 0 { at + gap } else { end_of_alphanumerics(bytes, at) };
        words.push((at as u32, end as u32));
        at = end;
    }
}

/// The end of a run of letters and digits, joined by single `.`, `_` or `-`, with a `%` after it.
fn end_of_alphanumerics(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at += bytes[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        match bytes[at..] {
            [b'.' | b'_' | b'-', next, ..] if next.is_ascii_alphanumeric() => at += 1,
            [b'%', ..] => return at + 1,
            _ => return at,
        }
    }
}
