//! The words of lines that come again.

use crate::text;
use twox_hash::XxHash3_64;

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

/// Remembers the words of lines, by the numbers that one vocabulary gives them.
#[derive(Debug, Default)]
pub(super) struct Lines {
    slots: Vec<Line>,
    places: Vec<(u32, u32)>,
    /// The words of the last line that is not kept.
    others: Vec<u32>,
}

impl Lines {
    /// The words of a line: what `number` makes of their places in it, always in the same way.
    pub fn words(&mut self, line: &str, number: impl FnMut((u32, u32)) -> u32) -> &[u32] {
        if !KEPT.contains(&line.len()) {
            number_all(line, number, &mut self.places, &mut self.others);
            return &self.others;
        }
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, Line::default);
        }
        let hash = XxHash3_64::oneshot(line.as_bytes());
        let kept = &mut self.slots[(hash >> 32) as usize % SLOTS];
        if kept.hash != hash || kept.text != line {
            kept.hash = hash;
            kept.text.clear();
            kept.text.push_str(line);
            number_all(line, number, &mut self.places, &mut kept.words);
        }
        &kept.words
    }
}

fn number_all(
    line: &str,
    number: impl FnMut((u32, u32)) -> u32,
    places: &mut Vec<(u32, u32)>,
    numbers: &mut Vec<u32>,
) {
    text::words(line, places);
    numbers.clear();
    numbers.extend(places.iter().copied().map(number));
}
