//! Parts of very many characters, window by window: all that is at hand of a character would take many times the text.

use super::lexicon::LONGEST;
use super::{Ahead, BREAK, Code, JOINED, Segmenter, code_at, find_paths, hmm, is_modelled, join_others};

impl Segmenter {
    /// Puts the words of the part of `text` that begins at byte `start` into `words`, and gives its end.
    pub(super) fn cut_long(&mut self, text: &str, start: usize, words: &mut Vec<(u32, u32)>) -> usize {
        let mut windows = vec![start];
        let (mut characters, mut end) = (0, start);
        loop {
            let is_last;
            (end, is_last) = self.part.read(self.dictionary, text, end, self.sizes);
            characters += self.part.codes.len();
            if is_last {
                break;
            }
            windows.push(end);
        }
        let mut lengths = vec![0; characters];
        let mut ahead = Ahead::nothing();
        for &window in windows.iter().rev() {
            self.part.read(self.dictionary, text, window, self.sizes);
            let first = characters - self.part.codes.len();
            self.part.codes.extend_from_slice(&ahead.codes);
            self.part.look_up(self.dictionary);
            find_paths(self.dictionary, &self.part, &ahead, &mut self.scores, &mut self.lengths);
            lengths[first..characters].copy_from_slice(&self.lengths);
            let codes = &self.part.codes[..LONGEST.min(self.part.codes.len())];
            ahead = Ahead {
                codes: codes.to_vec(),
                scores: self.scores[..=codes.len()].to_vec(),
                is_single: matches!(lengths[first], 1 | JOINED) && codes[0] != BREAK,
            };
            characters = first;
        }
        self.follow_long(text, start, &lengths, words);
        end
    }

    /// Puts the words of the ways into `words`, and those that runs of single characters make.
    fn follow_long(&mut self, text: &str, mut at: usize, lengths: &[u8], words: &mut Vec<(u32, u32)>) {
        let mut rest = lengths;
        while let Some(&length) = rest.first() {
            let joined = rest.iter().take_while(|&&length| length == JOINED).count();
            let characters = if joined > 0 { joined + 1 } else { usize::from(length) };
            let end = (0..characters).fold(at, |at, _| after(text, at));
            if joined > 0 {
                self.join_long(text, at, end, characters, words);
            } else {
                words.push((at as u32, end as u32));
            }
            rest = &rest[characters..];
            at = end;
        }
    }

    /// Puts the words of a run of single characters into `words`.
    fn join_long(
        &mut self,
        text: &str,
        start: usize,
        end: usize,
        characters: usize,
        words: &mut Vec<(u32, u32)>,
    ) {
        if characters <= LONGEST {
            let codes: Vec<Code> = self.codes(text, start, end).map(|(_, code)| code).collect();
            if self.dictionary.is_word(&codes) {
                words.extend(text[start..end].char_indices().map(|(place, c)| {
                    let at = start + place;
                    (at as u32, (at + c.len_utf8()) as u32)
                }));
                return;
            }
        }
        let mut at = start;
        while at < end {
            let modelled = is_modelled(code_at(self.dictionary, text, at).0);
            let others = self.codes(text, at, end).find(|&(_, code)| is_modelled(code) != modelled);
            let next = others.map_or(end, |(place, _)| place);
            if modelled {
                self.join_han_long(text, at, next, words);
            } else {
                join_others(&text.as_bytes()[..next], at, words);
            }
            at = next;
        }
    }

    fn join_han_long(&mut self, text: &str, start: usize, end: usize, words: &mut Vec<(u32, u32)>) {
        let mut ends = std::mem::take(&mut self.ends);
        let emissions = &self.dictionary.emissions;
        let run = self.codes(text, start, end).map(|(_, code)| emissions[usize::from(code)]);
        hmm::ends(run, &mut ends);
        let (mut from, mut at) = (start, start);
        for &is_end in &ends {
            at = after(text, at);
            // One character is a word, whatever the model says.
            if is_end != 0 || ends.len() == 1 {
                words.push((from as u32, at as u32));
                from = at;
            }
        }
        self.ends = ends;
    }

    /// The characters between two bytes: where each starts, and its code.
    fn codes(&self, text: &str, mut at: usize, end: usize) -> impl Iterator<Item = (usize, Code)> {
        std::iter::from_fn(move || {
            let place = (at < end).then_some(at)?;
            let (code, length) = code_at(self.dictionary, text, place);
            at += length;
            Some((place, code))
        })
    }
}

/// Where the character at a byte ends; `\r\n` is one.
fn after(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    match bytes[at] {
        b'\r' => at + 1 + usize::from(bytes.get(at + 1) == Some(&b'\n')),
        0..0x80 => at + 1,
        0x80..0xE0 => at + 2,
        0xE0..0xF0 => at + 3,
        _ => at + 4,
    }
}
