//! Words by the paper's rule.

use super::class::ClassTable;
use super::swar::{self, Block};
use std::sync::LazyLock;

const LETTER: u8 = 1;
const DIGIT: u8 = 2;
const HAN: u8 = 3;
const SKIPPED: u8 = 4;
// 0, the rest, are marks: a word each.

/// Python's `\w` is `str.isalnum` or `_`, its `\s` `str.isspace`.
static CLASSES: LazyLock<ClassTable> = LazyLock::new(|| {
    ClassTable::new(&[
        (r"[\p{L}\p{N}_]", SKIPPED),
        (r"[\p{White_Space}\x1C-\x1F]", SKIPPED),
        (r"\p{Nd}", DIGIT),
        (r"[\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF]", HAN),
        (r"[A-Za-z]", LETTER),
    ])
});

/// Number of words by the paper's rule: matches of
/// `[A-Za-z]+(?:'[A-Za-z]+)?|\d+|[㐀-䶿一-鿿豈-﫿]|[^\w\s]` as Python's `re` finds them.
///
/// The paper normalises white space first; that neither joins nor parts words, so it is not done
/// here. Letters outside ASCII and Han belong to no word, as in the paper.
///
/// ```
/// # use polyalign::text::count_words_paper;
/// assert_eq!(count_words_paper("Don't  panic: 42"), 4);
/// assert_eq!(count_words_paper("1997年。"), 3);
/// ```
pub fn count_words_paper(text: &str) -> u32 {
    let classes = &*CLASSES;
    let bytes = text.as_bytes();
    let mut words = 0u32;
    let mut state = State::Between;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if let Some((starts, next)) = block(bytes, at, state) {
            words += starts;
            state = next;
            at += 8;
            continue;
        }
        if matches!(byte, 0xE5..=0xE9) {
            // U+5000 to U+9FFF: Han.
            words += 1;
            state = State::Between;
            at += 3;
            continue;
        }
        let Some(c) = text[at..].chars().next() else { break };
        at += c.len_utf8();
        state = match classes.get(c) {
            LETTER if matches!(state, State::Letters | State::Joined) => state,
            LETTER if state == State::Apostrophe => {
                // It was counted as a mark, but joins what is one word.
                words -= 1;
                State::Joined
            }
            LETTER => {
                words += 1;
                State::Letters
            }
            DIGIT => {
                words += u32::from(state != State::Digits);
                State::Digits
            }
            SKIPPED => State::Between,
            _ => {
                words += 1;
                if c == '\'' && state == State::Letters { State::Apostrophe } else { State::Between }
            }
        };
    }
    words
}

/// What comes before a character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    /// Letters that an apostrophe and more letters may follow.
    Letters,
    /// Letters, an apostrophe, letters: no more may follow.
    Joined,
    /// Letters and an apostrophe.
    Apostrophe,
    Digits,
}

/// The words that start in the eight bytes at `at`, and the state after them, if they are ASCII and
/// no apostrophe is about.
#[inline]
fn block(bytes: &[u8], at: usize, state: State) -> Option<(u32, State)> {
    let block = Block::at(bytes, at)?;
    let (letter_before, digit_before) = match state {
        State::Between => (0, 0),
        State::Letters => (0x80, 0),
        State::Digits => (0, 0x80),
        State::Joined | State::Apostrophe => return None,
    };
    if block.ascii() < 8 || block.equal(b'\'') != 0 {
        return None;
    }
    let (letters, digits) = (block.letters(), block.within(b'0', b'9'));
    let skipped = block.within(b'\t', b'\r') | block.within(0x1C, b' ') | block.equal(b'_');
    let marks = swar::ALL & !(letters | digits | skipped);
    let starts = marks | letters & !(letters << 8 | letter_before) | digits & !(digits << 8 | digit_before);
    let last = |set: u64| set >> 63 != 0;
    let next = match (last(letters), last(digits)) {
        (true, _) => State::Letters,
        (_, true) => State::Digits,
        _ => State::Between,
    };
    Some((swar::size(starts), next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// The rule as an expression; the regex crate's classes are spelt out as Python's.
    fn oracle(text: &str) -> u32 {
        static RULE: LazyLock<regex::Regex> = LazyLock::new(|| {
            let rule = r"[A-Za-z]+(?:'[A-Za-z]+)?|\p{Nd}+|[㐀-䶿一-鿿\u{F900}-\u{FAFF}]|[^\p{L}\p{N}_\p{White_Space}\x1C-\x1F]";
            regex::Regex::new(rule).unwrap()
        });
        RULE.find_iter(text).count() as u32
    }

    proptest! {
        #[test]
        fn counts_what_the_expression_finds(text in "([a-c0-2_:,' \"\t\x1C\x7F]{0,12}|\\PC|[\n\r]|['é中５½\u{301}\u{200D}]){0,30}") {
            prop_assert_eq!(count_words_paper(&text), oracle(&text), "{:?}", text);
        }
    }

    #[test]
    fn every_character_counts_as_in_the_expression() {
        for c in '\0'..=char::MAX {
            let text = format!("a{c}a 1{c}1{c}{c}a'{c}'a");
            assert_eq!(count_words_paper(&text), oracle(&text), "{text:?}");
        }
    }
}
