//! The words of lines that come again.

use super::vocabulary::{Vocabulary, hash};
use crate::text;

/// Lines kept at a time, each in the slot of its hash.
const SLOTS: usize = 1 << 10;
/// Lines of other lengths are not kept: short ones are quick, long ones would take much room.
const KEPT: std::ops::Range<usize> = 16..2048;

/// A line and its words' numbers in the vocabulary.
#[derive(Debug, Default)]
struct Line {
    hash: u64,
    text: String,
    words: Vec<u32>,
}

/// Remembers the words of lines, numbered by one vocabulary.
#[derive(Debug, Default)]
pub(super) struct Lines {
    slots: Vec<Line>,
    places: Vec<(u32, u32)>,
    /// The words of the last line that is not kept.
    others: Vec<u32>,
}

impl Lines {
    /// The words of a line, as numbers of the vocabulary: always the same one.
    pub fn words(&mut self, line: &str, vocabulary: &mut Vocabulary) -> &[u32] {
        if !KEPT.contains(&line.len()) {
            number_all(line, vocabulary, &mut self.places, &mut self.others);
            return &self.others;
        }
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, Line::default);
        }
        let hash = hash(line.as_bytes());
        let kept = &mut self.slots[(hash >> 32) as usize % SLOTS];
        if kept.hash != hash || kept.text != line {
            kept.hash = hash;
            kept.text.clear();
            kept.text.push_str(line);
            number_all(line, vocabulary, &mut self.places, &mut kept.words);
        }
        &kept.words
    }
}

fn number_all(text: &str, vocabulary: &mut Vocabulary, places: &mut Vec<(u32, u32)>, numbers: &mut Vec<u32>) {
    text::words(text, places);
    numbers.clear();
    numbers.extend(places.iter().map(|&place| vocabulary.number(text, place)));
}
