//! Sentences by UAX #29.
//!
//! Only after a full stop or the like, or after a line end, can a sentence end; the text between such marks
//! is skipped block by block, and the automaton of the rules runs from each mark until the matter is settled.

use super::class::ClassTable;
use super::masks;
use std::sync::LazyLock;

// `Sentence_Break` values; `Format` is as `Extend`.
const OTHER: u8 = 0;
const SEP: u8 = 1;
const CR: u8 = 2;
const LF: u8 = 3;
const SPACE: u8 = 4;
const UPPER: u8 = 5;
const LOWER: u8 = 6;
const OTHER_LETTER: u8 = 7;
const NUMERIC: u8 = 8;
const ATERM: u8 = 9;
const STERM: u8 = 10;
const CLOSE: u8 = 11;
const CONTINUE: u8 = 12;
const EXTEND: u8 = 13;

const ASCII: [u8; 128] = {
    let mut classes = [OTHER; 128];
    let mut byte = 0;
    while byte < 128 {
        classes[byte] = match byte as u8 {
            b'A'..=b'Z' => UPPER,
            b'a'..=b'z' => LOWER,
            b'0'..=b'9' => NUMERIC,
            b'\t' | 0x0B | 0x0C | b' ' => SPACE,
            b'\r' => CR,
            b'\n' => LF,
            b'.' => ATERM,
            b'!' | b'?' => STERM,
            b'"' | b'\'' | b'(' | b')' | b'[' | b']' | b'{' | b'}' => CLOSE,
            b',' | b'-' | b':' | b';' => CONTINUE,
            _ => OTHER,
        };
        byte += 1;
    }
    classes
};

/// The classes of Unicode 17: those of the expressions' 16, and what is new.
static CLASSES: LazyLock<ClassTable> = LazyLock::new(|| {
    ClassTable::new(&[
        (r"\p{SB=Sep}", SEP),
        (r"\p{SB=Sp}", SPACE),
        (r"[\p{SB=Upper}\u{A7CE}\u{A7D2}\u{A7D4}\u{16EA0}-\u{16EB8}]", UPPER),
        (r"[\p{SB=Lower}\u{A7CF}\u{A7F1}\u{16EBB}-\u{16ED3}]", LOWER),
        (r"\p{SB=OLetter}", OTHER_LETTER),
        (
            r"[\u{295}\u{88F}\u{C5C}\u{CDC}\u{10940}-\u{10959}\u{10EC5}-\u{10EC7}\u{11DB0}-\u{11DDB}]",
            OTHER_LETTER,
        ),
        (r"[\u{16FF2}-\u{16FF6}\u{187F8}-\u{187FF}\u{18D09}-\u{18D1E}\u{18D80}-\u{18DF2}]", OTHER_LETTER),
        (r"[\u{1E6C0}-\u{1E6DE}\u{1E6E0}-\u{1E6F4}\u{1E6FE}\u{1E6FF}]", OTHER_LETTER),
        (r"[\u{2B73A}-\u{2B73F}\u{2CEA2}-\u{2CEAD}\u{323B0}-\u{33479}]", OTHER_LETTER),
        (r"[\p{SB=Numeric}\u{11DE0}-\u{11DE9}]", NUMERIC),
        (r"\p{SB=ATerm}", ATERM),
        (r"\p{SB=STerm}", STERM),
        (r"\p{SB=Close}", CLOSE),
        (r"\p{SB=SContinue}", CONTINUE),
        (r"[\p{SB=Extend}\p{SB=Format}]", EXTEND),
        (r"[\u{1ACF}-\u{1ADD}\u{1AE0}-\u{1AEB}\u{10EFA}\u{10EFB}\u{11B60}-\u{11B67}]", EXTEND),
        (r"[\u{1E6E3}\u{1E6E6}\u{1E6EE}\u{1E6EF}\u{1E6F5}]", EXTEND),
    ])
});

/// What comes before a character, as far as it matters; what extends a character is not seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Other,
    /// A letter with case.
    Cased,
    Return,
    /// The end of a line or paragraph, complete.
    Separator,
    /// ATerm after a letter with case.
    CasedDot,
    /// ATerm.
    Dot,
    /// ATerm Close+.
    DotClose,
    /// ATerm Close* Sp+.
    DotSpace,
    /// STerm, and the same after it.
    Stop,
    StopClose,
    StopSpace,
}

/// Whether a sentence starts with the character, and the state after it.
#[inline]
fn step(state: State, class: u8, lower_follows: impl FnOnce() -> bool) -> (bool, State) {
    use State as S;
    match state {
        S::Return if class == LF => (false, S::Separator), // SB3
        S::Return | S::Separator => (true, after(class)),  // SB4
        _ if class == EXTEND => (false, state),            // SB5
        S::Other => (false, after(class)),
        S::Cased if class == ATERM => (false, S::CasedDot),
        S::Cased => (false, after(class)),
        _ => {
            let dot = matches!(state, S::CasedDot | S::Dot | S::DotClose | S::DotSpace);
            let spaced = matches!(state, S::DotSpace | S::StopSpace);
            let next = match class {
                CLOSE if !spaced && dot => S::DotClose,
                CLOSE if !spaced => S::StopClose,
                SPACE if dot => S::DotSpace,
                SPACE => S::StopSpace,
                _ => after(class),
            };
            let holds = match class {
                NUMERIC => matches!(state, S::CasedDot | S::Dot), // SB6
                UPPER => state == S::CasedDot,                    // SB7
                CONTINUE | STERM | ATERM => true,                 // SB8a
                CLOSE => !spaced,                                 // SB9
                SPACE | SEP | CR | LF => true,                    // SB9, SB10
                _ => false,
            };
            // SB8, SB11
            (!(holds || dot && lower_follows()), next)
        }
    }
}

/// The state after a character that nothing before matters to.
#[inline]
fn after(class: u8) -> State {
    match class {
        UPPER | LOWER => State::Cased,
        CR => State::Return,
        LF | SEP => State::Separator,
        ATERM => State::Dot,
        STERM => State::Stop,
        _ => State::Other,
    }
}

/// The UAX #29 sentences of a text: the places of their bytes. Each begins where the one before ends, so that they
/// cover the text. Texts are shorter than 4 GiB.
///
/// ```
/// # use polyalign::text::sentences;
/// let text = "It cost 3.50. \"Really?\" Yes.";
/// let sentences: Vec<_> = sentences(text).map(|(start, end)| &text[start as usize..end as usize]).collect();
/// assert_eq!(sentences, ["It cost 3.50. ", "\"Really?\" ", "Yes."]);
/// ```
pub fn sentences(text: &str) -> Sentences<'_> {
    Sentences { text, start: 0, at: 0, state: State::Other }
}

/// The [`sentences`] of a text.
#[derive(Clone)]
pub struct Sentences<'a> {
    text: &'a str,
    /// Where the next one starts, and up to where it is read.
    start: usize,
    at: usize,
    state: State,
}

impl Iterator for Sentences<'_> {
    type Item = (u32, u32);

    #[inline]
    fn next(&mut self) -> Option<(u32, u32)> {
        let classes = &*CLASSES;
        let Self { text, mut at, mut state, .. } = *self;
        let start = self.start;
        let end = loop {
            if matches!(state, State::Other | State::Cased) {
                let mark = next_mark(text, at, classes);
                state = state_before(&text[at..mark], state, classes);
                at = mark;
            }
            let Some((class, width)) = class_at(text, at, classes) else { break text.len() };
            let (starts, next) = step(state, class, || lower_follows(text, at, classes));
            let here = at;
            (state, at) = (next, at + width);
            if starts {
                break here;
            }
        };
        *self = Self { text, start: end, at, state };
        (start < end).then_some((start as u32, end as u32))
    }
}

/// The class and the width in bytes of the character that starts at `at`.
#[inline]
fn class_at(text: &str, at: usize, classes: &ClassTable) -> Option<(u8, usize)> {
    let byte = *text.as_bytes().get(at)?;
    if byte.is_ascii() {
        return Some((ASCII[usize::from(byte)], 1));
    }
    let c = text[at..].chars().next()?;
    Some((classes.get(c), c.len_utf8()))
}

/// Where the next mark is that may end a sentence, or the text's end.
fn next_mark(text: &str, mut at: usize, classes: &ClassTable) -> usize {
    let bytes = text.as_bytes();
    while at < bytes.len() {
        let (block, _) = masks::block(bytes, at);
        let mut found = masks::bits(&block, may_be_mark);
        while found != 0 {
            let place = at + found.trailing_zeros() as usize;
            let class = class_at(text, place, classes).map_or(OTHER, |(class, _)| class);
            if matches!(class, ATERM | STERM | SEP | CR | LF) {
                return place;
            }
            found &= found - 1;
        }
        at += masks::BLOCK;
    }
    bytes.len()
}

/// Whether a mark may start with the byte. All do that start so, and the letters of Latin, Greek, Cyrillic,
/// Han and Hangul for the most part do not.
#[inline(always)]
fn may_be_mark(byte: u8) -> bool {
    let ascii = (byte == b'.') | (byte == b'!') | (byte == b'?') | (byte == b'\n') | (byte == b'\r');
    let wide = (byte == 0xC2) | (byte.wrapping_sub(0xD6) <= 0xE3 - 0xD6) | (byte == 0xEA) | (byte >= 0xEF);
    ascii | wide
}

/// The state after text that has no marks.
fn state_before(text: &str, before: State, classes: &ClassTable) -> State {
    let class = |c: char| if c.is_ascii() { ASCII[c as usize] } else { classes.get(c) };
    let last = text.chars().rev().map(class).find(|&class| class != EXTEND);
    last.map_or(before, after)
}

/// Whether a lower-case letter follows before any other letter or mark (SB8). It ends at the next mark at the
/// latest, and is not asked again before, so that each character is seen once.
fn lower_follows(text: &str, mut at: usize, classes: &ClassTable) -> bool {
    while let Some((class, width)) = class_at(text, at, classes) {
        match class {
            LOWER => return true,
            OTHER_LETTER | UPPER | SEP | CR | LF | STERM | ATERM => return false,
            _ => at += width,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unicode_segmentation::UnicodeSegmentation;

    fn check(text: &str) {
        let found: Vec<_> = sentences(text).collect();
        let expected = text.split_sentence_bound_indices();
        let expected = expected.map(|(at, sentence)| (at as u32, (at + sentence.len()) as u32));
        assert!(found.iter().copied().eq(expected), "{text:?} {found:?}");
    }

    #[test]
    fn every_character_is_as_in_unicode_segmentation() {
        for c in '\0'..=char::MAX {
            for text in [
                format!("a{c}A.{c}{c}a a. {c}b a"),
                format!("a.{c}A! {c}b"),
                format!("1{c}.A{c} a?{c}) \r{c}"),
                format!("{c}\u{301}{c} a.) {c} 1 a.{c}A"),
            ] {
                check(&text);
            }
        }
    }

    #[test]
    fn all_short_sequences_of_classes_are_as_in_unicode_segmentation() {
        let characters = [
            '#', '\u{2028}', '\r', '\n', ' ', 'A', 'a', '中', '1', '.', '。', ')', ',', '\u{301}', '\u{3000}',
        ];
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            texts = texts.iter().flat_map(|text| characters.map(|c| format!("{text}{c}"))).collect();
            texts.iter().for_each(|text| check(text));
            // Long enough for whole blocks, at every offset within them.
            for text in texts.iter().step_by(texts.len().div_ceil(2_000)) {
                check(&text.repeat(15));
            }
        }
    }

    #[test]
    fn looking_ahead_is_not_quadratic() {
        // A million characters that each leave the question open: hopeless if each asks anew.
        for open in [")", " ) ", "1", ". 1 ", "\u{301}"] {
            let text = format!("a. {}", open.repeat(1_000_000));
            assert_eq!(sentences(&text).last().map(|place| place.1 as usize), Some(text.len()));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_as_in_unicode_segmentation(
            text in "([a-cA-C0-2.!?,;)\"' \r\n]{0,12}|[a-z ]{0,80}|\\PC|[。！？…．，」\u{85}\u{2029}É\u{301}\u{AD}中か한ß]){0,40}"
        ) {
            check(&text);
        }
    }
}
