//! Words of Chinese, as [jieba](https://github.com/fxsjy/jieba) cuts them: a dictionary's words along the
//! most likely path, and what it leaves as single characters joined by a hidden Markov model.

mod common;
mod dictionary;
mod hmm;
mod lexicon;
mod long;
#[cfg(feature = "pos")]
pub mod pos;
#[cfg(test)]
mod tests;

pub use common::is_common;
use dictionary::{ASCII_CODES, BREAK, Code, Dictionary, FIRST_HAN, FREE, HAN, Node, OTHER, UNKNOWN};
use lexicon::LONGEST;

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
    part: Part,
    /// By character of the part: the logarithm of the best path from there to the end of its block.
    scores: Vec<f64>,
    /// By character of the part: how many characters the first word of that path has, or [`JOINED`].
    lengths: Vec<u8>,
    ends: Vec<u8>,
    nothing: Ahead,
    /// [`PART`] and [`LONG`], but in tests.
    sizes: [usize; 2],
}

/// Of a word of one character that another such word follows.
const JOINED: u8 = LONGEST as u8 + 1;

/// Texts are cut in parts that end with a block, as soon after so many characters as one does.
const PART: usize = 1 << 15;

/// Characters of a part beyond which it is cut in windows.
const LONG: usize = 4 * PART;

/// What comes after the characters at hand, as far as it matters to them.
struct Ahead {
    /// Of up to [`LONGEST`] characters.
    codes: Vec<Code>,
    /// Of the paths from each of these on, and from after them.
    scores: Vec<f64>,
    /// Whether the first of them is a word of one character.
    is_single: bool,
}

impl Ahead {
    /// The end of a block.
    fn nothing() -> Self {
        Self { codes: Vec::new(), scores: vec![0.0], is_single: false }
    }
}

/// A part of a text.
#[derive(Default)]
struct Part {
    codes: Vec<Code>,
    heads: Vec<Head>,
    /// Where in the text each character starts, and where the last ends.
    starts: Vec<u32>,
}

/// What the dictionary has of a character and the next.
#[derive(Clone, Copy)]
struct Head {
    /// The index of the weight of the word of one character.
    weight: u16,
    pair: Node,
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
            part: Part::default(),
            scores: Vec::new(),
            lengths: Vec::new(),
            ends: Vec::new(),
            nothing: Ahead::nothing(),
            sizes: [PART, LONG],
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
        let mut at = 0;
        while at < text.len() {
            at = self.cut_part(text, at, words);
        }
    }

    /// A part of the words that [`Self::cut`] gives: those from byte `at` on. Where the next part begins comes back.
    pub(crate) fn cut_from(&mut self, text: &str, at: usize, words: &mut Vec<(u32, u32)>) -> usize {
        words.clear();
        self.cut_part(text, at, words)
    }

    fn cut_part(&mut self, text: &str, at: usize, words: &mut Vec<(u32, u32)>) -> usize {
        let (end, is_whole) = self.part.read(self.dictionary, text, at, self.sizes);
        if !is_whole {
            return self.cut_long(text, at, words);
        }
        self.part.look_up(self.dictionary);
        find_paths(self.dictionary, &self.part, &self.nothing, &mut self.scores, &mut self.lengths);
        self.follow_paths(text.as_bytes(), words);
        end
    }

    /// Puts the words of the ways into `words`, and those that runs of single characters make.
    fn follow_paths(&mut self, bytes: &[u8], words: &mut Vec<(u32, u32)>) {
        let mut at = 0;
        while at < self.part.codes.len() {
            let length = self.lengths[at];
            if length == JOINED {
                let run = 1 + self.lengths[at..].iter().take_while(|&&length| length == JOINED).count();
                self.join(bytes, at, at + run, words);
                at += run;
            } else {
                let end = at + usize::from(length);
                words.push((self.part.starts[at], self.part.starts[end]));
                at = end;
            }
        }
    }

    /// Puts the words of a run of single characters into `words`.
    fn join(&mut self, bytes: &[u8], start: usize, end: usize, words: &mut Vec<(u32, u32)>) {
        // A word of the dictionary that is less likely than its characters is not made after all.
        if self.dictionary.is_word(&self.part.codes[start..end]) {
            words.extend(self.part.starts[start..=end].windows(2).map(|pair| (pair[0], pair[1])));
            return;
        }
        let mut at = start;
        while at < end {
            let modelled = is_modelled(self.part.codes[at]);
            let run = self.part.codes[at..end].iter().take_while(|&&code| is_modelled(code) == modelled);
            let next = at + run.count();
            if modelled {
                self.join_han(at, next, words);
            } else {
                let (start, end) = (self.part.starts[at] as usize, self.part.starts[next] as usize);
                join_others(&bytes[..end], start, words);
            }
            at = next;
        }
    }

    fn join_han(&mut self, start: usize, end: usize, words: &mut Vec<(u32, u32)>) {
        let starts = &self.part.starts;
        if end - start == 1 {
            words.push((starts[start], starts[end]));
            return;
        }
        let emissions = &self.dictionary.emissions;
        let run = self.part.codes[start..end].iter().map(|&code| emissions[usize::from(code)]);
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

/// Finds the most likely way through each block, from its end to its begin. The part has the codes ahead, too.
///
/// Of equally likely words the longest wins, and sums are made in jieba's order.
fn find_paths(
    dictionary: &Dictionary,
    part: &Part,
    ahead: &Ahead,
    scores: &mut Vec<f64>,
    lengths: &mut Vec<u8>,
) {
    let Dictionary { nodes, weights, single, .. } = dictionary;
    let Part { codes, heads, .. } = part;
    let n = codes.len() - ahead.codes.len();
    scores.resize(codes.len() + 1, 0.0);
    lengths.resize(n, 0);
    scores[n..].copy_from_slice(&ahead.scores);
    let (mut next, mut after_next) = (ahead.scores[0], ahead.scores.get(1).copied().unwrap_or_default());
    let mut single_follows = ahead.is_single;
    for (start, &Head { weight, pair }) in heads[..n].iter().enumerate().rev() {
        let score = weights[usize::from(weight)] + next;
        let longer = weights[usize::from(pair.weight)] + after_next;
        let mut best = if longer >= score { longer } else { score };
        let mut length = 1 + usize::from(longer >= score);
        let mut node = pair;
        let mut end = start + 2;
        while let Some(&code) = codes.get(end)
            && node.may_precede(code)
        {
            node = nodes[node.place(code)];
            if node.label != code {
                break;
            }
            end += 1;
            let score = weights[usize::from(node.weight)] + scores[end];
            if score >= best {
                (best, length) = (score, end - start);
            }
        }
        if best == f64::NEG_INFINITY {
            (best, length) = (single + next, 1);
        }
        let parts = codes[start] == BREAK;
        let is_single = length == 1 && !parts;
        best = if parts { 0.0 } else { best };
        scores[start] = best;
        lengths[start] = if is_single && single_follows { JOINED } else { length as u8 };
        single_follows = is_single;
        (next, after_next) = (best, next);
    }
}

impl Part {
    /// Reads the part of `text` from byte `at` on: gives its end, and whether that is a block's, which it is unless
    /// that is far.
    fn read(
        &mut self,
        dictionary: &Dictionary,
        text: &str,
        mut at: usize,
        [most, far]: [usize; 2],
    ) -> (usize, bool) {
        self.codes.clear();
        self.starts.clear();
        let bytes = text.as_bytes();
        let mut is_whole = true;
        while at < bytes.len() {
            let (code, length) = code_at(dictionary, text, at);
            self.codes.push(code);
            self.starts.push(at as u32);
            at += length;
            if code == BREAK {
                at += usize::from(bytes[at - 1] == b'\r' && bytes.get(at) == Some(&b'\n'));
                if self.codes.len() >= most {
                    break;
                }
            } else if self.codes.len() >= far {
                is_whole = at == bytes.len();
                break;
            }
        }
        self.starts.push(at as u32);
        (at, is_whole)
    }

    /// Looks up every pair, before ways are sought: so the processor waits for many at once.
    fn look_up(&mut self, dictionary: &Dictionary) {
        let Dictionary { roots, nodes, .. } = dictionary;
        self.heads.clear();
        let seconds = self.codes.iter().skip(1).copied().chain([BREAK]);
        self.heads.extend(self.codes.iter().zip(seconds).map(|(&first, second)| {
            let root = roots[usize::from(first)];
            let pair = nodes[root.place(second)];
            Head { weight: root.weight, pair: if pair.label == second { pair } else { FREE } }
        }));
    }
}

/// The code and the bytes of the character at a byte.
#[inline(always)]
fn code_at(dictionary: &Dictionary, text: &str, at: usize) -> (Code, usize) {
    match text.as_bytes()[at..] {
        [byte, ..] if byte < 0x80 => (ASCII_CODES[usize::from(byte)], 1),
        [a @ 0xE0..0xF0, b, c, ..] => {
            let c = u16::from(a) << 12 | u16::from(b & 0x3F) << 6 | u16::from(c & 0x3F);
            match dictionary.han.get(usize::from(c.wrapping_sub(*HAN.start()))) {
                Some(&code) => (code, 3),
                None if is_rare_han(c.into()) => (OTHER, 3),
                None => (BREAK, 3),
            }
        }
        _ => match text[at..].chars().next() {
            Some(c) if is_rare_han(c.into()) => (OTHER, c.len_utf8()),
            c => (BREAK, c.map_or(1, char::len_utf8)),
        },
    }
}

/// Whether a character is in one of the blocks of Han beside the main one that jieba knows.
fn is_rare_han(c: u32) -> bool {
    matches!(c,
        0x3400..=0x4DBF
        | 0xF900..=0xFAFF
        | 0x20000..=0x2A6DF
        | 0x2A700..=0x2B73F
        | 0x2B740..=0x2B81F
        | 0x2B820..=0x2CEAF
        | 0x2CEB0..=0x2EBEF
        | 0x2F800..=0x2FA1F)
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
