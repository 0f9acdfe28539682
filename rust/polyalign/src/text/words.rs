//! Words by UAX #29.
//!
//! Most characters of most texts need only a small automaton; what it does not know is left to
//! `unicode-segmentation`, from one certain word boundary to the next.

use super::swar::Block;
use super::{masks, place_of_character};
use unicode_segmentation::UnicodeSegmentation;

/// What the automaton tells characters apart by: `Word_Break` values, merged and split by whether
/// the character is a letter or digit.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Class {
    /// ALetter.
    Letter,
    /// Numeric.
    Digit,
    /// ExtendNumLet (`_`).
    Joiner,
    /// MidLetter: joins letters.
    MidLetter,
    /// MidNum: joins digits.
    MidDigit,
    /// MidNumLet and Single_Quote: joins letters or digits.
    Mid,
    /// Katakana.
    Katakana,
    /// A word by itself: Han, Hiragana.
    Alone,
    /// No part of any word.
    Other,
    /// `"`: the same, but that it joins Hebrew letters, which are not known here.
    Quote,
    /// Not known here.
    Unknown,
}

/// What comes before a character, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Start,
    Letter,
    Digit,
    Katakana,
    /// Joiners without a letter or digit before them.
    Joiner,
    /// Joiners after a letter or digit.
    JoinerInWord,
    /// A letter and what joins letters.
    LetterMid,
    /// A digit and what joins digits.
    DigitMid,
}

const STATES: usize = 8;
const CLASSES: usize = 10;

/// Whether a word starts with the character, and the state after it.
const fn step(state: State, class: Class) -> (bool, State) {
    use State as S;
    match class {
        Class::Letter => (!matches!(state, S::Letter | S::Digit | S::JoinerInWord | S::LetterMid), S::Letter),
        Class::Digit => (!matches!(state, S::Letter | S::Digit | S::JoinerInWord | S::DigitMid), S::Digit),
        Class::Katakana => (!matches!(state, S::Katakana | S::JoinerInWord), S::Katakana),
        Class::Joiner => match state {
            S::Letter | S::Digit | S::Katakana | S::JoinerInWord => (false, S::JoinerInWord),
            _ => (false, S::Joiner),
        },
        Class::MidLetter | Class::MidDigit | Class::Mid => match state {
            S::Letter if !matches!(class, Class::MidDigit) => (false, S::LetterMid),
            S::Digit if !matches!(class, Class::MidLetter) => (false, S::DigitMid),
            _ => (false, S::Start),
        },
        Class::Alone => (true, S::Start),
        Class::Other | Class::Quote | Class::Unknown => (false, S::Start),
    }
}

/// [`step`] as a table: by state and class, twice the next state plus whether a word starts.
const STEPS: [[u8; 16]; STATES] = {
    use Class as C;
    use State as S;
    let states =
        [S::Start, S::Letter, S::Digit, S::Katakana, S::Joiner, S::JoinerInWord, S::LetterMid, S::DigitMid];
    let classes = [
        C::Letter,
        C::Digit,
        C::Joiner,
        C::MidLetter,
        C::MidDigit,
        C::Mid,
        C::Katakana,
        C::Alone,
        C::Other,
        C::Quote,
    ];
    let mut table = [[0; 16]; STATES];
    let mut state = 0;
    while state < STATES {
        let mut class = 0;
        while class < CLASSES {
            let (starts, next) = step(states[state], classes[class]);
            table[state][class] = (next as u8) << 1 | starts as u8;
            class += 1;
        }
        state += 1;
    }
    table
};

const ASCII: [Class; 128] = {
    let mut classes = [Class::Other; 128];
    let mut byte = 0;
    while byte < 128 {
        classes[byte] = match byte as u8 {
            b'A'..=b'Z' | b'a'..=b'z' => Class::Letter,
            b'0'..=b'9' => Class::Digit,
            b'_' => Class::Joiner,
            b':' => Class::MidLetter,
            b',' | b';' => Class::MidDigit,
            b'.' | b'\'' => Class::Mid,
            b'"' => Class::Quote,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
};

/// The class of a character beyond ASCII.
#[inline]
fn class(c: char) -> Class {
    match c {
        '\u{4E00}'..='\u{9FFF}' | '\u{3400}'..='\u{4DBF}' | '\u{3041}'..='\u{3096}' => Class::Alone,
        '、'..='〃' | '〈'..='】' | '〔'..='〟' => Class::Other,
        '，' | '；' => Class::MidDigit,
        '：' => Class::MidLetter,
        '！' | '（' | '）' | '？' | '［' | '］' | '｛' | '｝' | '～' => Class::Other,
        '０'..='９' => Class::Digit,
        'Ａ'..='Ｚ' | 'ａ'..='ｚ' => Class::Letter,
        'ァ'..='ヺ' | 'ー'..='ヿ' => Class::Katakana,
        '가'..='힣' => Class::Letter,
        'À'..='Ö' | 'Ø'..='ö' | 'ø'..='\u{24F}' => Class::Letter,
        '\u{400}'..='\u{481}' | '\u{48A}'..='\u{52F}' => Class::Letter,
        'Α'..='Ρ' | 'Σ'..='Ω' | 'ά'..='ώ' => Class::Letter,
        'Ẁ'..='ỿ' => Class::Letter,
        '‘' | '’' => Class::Mid,
        '‐'..='―' | '“'..='„' | '†' | '‡' | '•' | '…' | '‹' | '›' | '€' => Class::Other,
        '\u{A0}'..='¨' | '«' | '¬' | '¯'..='±' | '´' | '¶' | '»' | '¿' | '×' | '÷' => Class::Other,
        _ => Class::Unknown,
    }
}

/// Number of UAX #29 words (segments with a letter or digit).
///
/// ```
/// # use polyalign::text::count_words;
/// assert_eq!(count_words("Don't panic: it's 3.14!"), 4);
/// assert_eq!(count_words("你好，world"), 3);
/// ```
pub fn count_words(text: &str) -> u32 {
    let bytes = text.as_bytes();
    let mut words = 0u32;
    let mut state = State::Start as u8;
    // What was counted is final up to here, as a word boundary certainly is.
    let mut cut = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if state == State::Start as u8
            && let Some(found) = ascii_words(bytes, at)
        {
            words += found.starts.count_ones();
            at += found.seen;
            continue;
        }
        if is_han(byte) {
            words += 1;
            state = State::Start as u8;
            at += 3;
            continue;
        }
        let (class, width) = if byte.is_ascii() { (ASCII[usize::from(byte)], 1) } else { wide(text, at) };
        if class == Class::Unknown {
            let start = cut + last_cut(&text[cut..at]);
            let end = next_cut(text, at + width);
            words -= count_known(&text[start..at]);
            words += text[start..end].unicode_words().count() as u32;
            (cut, state, at) = (end, State::Start as u8, end);
            continue;
        }
        let step = STEPS[usize::from(state)][class as usize];
        words += u32::from(step & 1);
        state = step >> 1;
        at += width;
    }
    words
}

/// The UAX #29 words of a text (segments with a letter or digit): the places of their bytes, in order,
/// into `words`, which is emptied first. Texts are shorter than 4 GiB.
///
/// ```
/// # use polyalign::text::words;
/// let (text, mut places) = ("Don't panic: 3.14!", Vec::new());
/// words(text, &mut places);
/// let words: Vec<_> = places.iter().map(|&(start, end)| &text[start as usize..end as usize]).collect();
/// assert_eq!(words, ["Don't", "panic", "3.14"]);
/// ```
pub fn words(text: &str, words: &mut Vec<(u32, u32)>) {
    words.clear();
    let bytes = text.as_bytes();
    let mut state = State::Start as u8;
    let (mut start, mut end) = (0, 0);
    // What lies before is final, as a word boundary certainly is here.
    let mut cut = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if state == State::Start as u8
            && let Some(found) = ascii_words(bytes, at)
        {
            words.extend(found.places().map(|(start, end)| (at as u32 + start, at as u32 + end)));
            at += found.seen;
            continue;
        }
        if is_han(byte) {
            if IN_WORD[usize::from(state)] {
                words.push((start as u32, end as u32));
            }
            state = State::Start as u8;
            while bytes.get(at).is_some_and(|&byte| is_han(byte)) {
                words.push((at as u32, at as u32 + 3));
                at += 3;
            }
            continue;
        }
        let (class, width) = if byte.is_ascii() { (ASCII[usize::from(byte)], 1) } else { wide(text, at) };
        if class == Class::Unknown {
            let (from, to) = (cut + last_cut(&text[cut..at]), next_cut(text, at + width));
            while words.last().is_some_and(|&(start, _)| start as usize >= from) {
                words.pop();
            }
            let word = |(at, word): (usize, &str)| ((from + at) as u32, (from + at + word.len()) as u32);
            words.extend(text[from..to].unicode_word_indices().map(word));
            (cut, state, at) = (to, State::Start as u8, to);
            continue;
        }
        let (starts, next) =
            (STEPS[usize::from(state)][class as usize] & 1, STEPS[usize::from(state)][class as usize] >> 1);
        if IN_WORD[usize::from(state)] && (starts == 1 || !IN_WORD[usize::from(next)]) {
            words.push((start as u32, end as u32));
        }
        if class == Class::Alone {
            words.push((at as u32, (at + width) as u32));
        } else if next == State::Joiner as u8 && state != next || starts == 1 && state != State::Joiner as u8
        {
            start = at;
        }
        at += width;
        if ENDS_WORD[usize::from(next)] {
            end = at;
        }
        state = next;
    }
    if IN_WORD[usize::from(state)] {
        words.push((start as u32, end as u32));
    }
}

/// Bytes of a text whose words are at hand at a time, if it can be cut after these.
const PART: usize = 1 << 16;

/// A part of the [`words`] of a text: those from byte `at` on. Where the next part begins comes back.
pub(crate) fn words_from(text: &str, at: usize, places: &mut Vec<(u32, u32)>) -> usize {
    let end = next_cut(text, place_of_character(text, at + PART));
    words(&text[at..end], places);
    if at > 0 {
        places.iter_mut().for_each(|(start, end)| {
            *start += at as u32;
            *end += at as u32;
        });
    }
    end
}

/// The states within a word.
const IN_WORD: [bool; STATES] = [false, true, true, true, false, true, true, true];

/// The states in which a word may end at once.
const ENDS_WORD: [bool; STATES] = [false, true, true, true, false, true, false, false];

/// Whether the character that starts with the byte is of U+5000 to U+9FFF: a word by itself, in three bytes.
#[inline(always)]
fn is_han(byte: u8) -> bool {
    matches!(byte, 0xE5..=0xE9)
}

/// The words of a block, before which nothing matters, up to where that is so again.
struct AsciiWords {
    /// Where words start and where they end, bit by bit.
    starts: u64,
    ends: u64,
    /// How many bytes were seen.
    seen: usize,
}

/// The words from `at` on, if what stands there is ASCII and not too long a word.
#[inline(always)]
fn ascii_words(bytes: &[u8], at: usize) -> Option<AsciiWords> {
    if Block::at(bytes, at)?.ascii() < 8 {
        return None;
    }
    let (block, size) = masks::block(bytes, at);
    let letters = masks::bits(&block, |byte| byte.is_ascii_alphabetic());
    let digits = masks::bits(&block, |byte| byte.is_ascii_digit());
    let joiners = masks::bits(&block, |byte| byte == b'_');
    let both = masks::bits(&block, |byte| (byte == b'.') | (byte == b'\''));
    let mid_letter = both | masks::bits(&block, |byte| byte == b':');
    let mid_digit = both | masks::bits(&block, |byte| (byte == b',') | (byte == b';'));
    let wide = masks::bits(&block, |byte| byte >= 0x80);
    let in_word = letters | digits;
    let mids = (mid_letter | mid_digit) & in_word << 1;
    // What no rule joins to anything, before the first character that is not ASCII.
    let cuts = !(in_word | joiners | mids) & below(wide.trailing_zeros());
    if cuts == 0 {
        return None;
    }
    let seen = 64 - cuts.leading_zeros();
    let joined = |mid: u64, class: u64| mid & class << 1 & class >> 1;
    let parts = (in_word | joiners | joined(mid_letter, letters) | joined(mid_digit, digits)) & below(seen);
    let mut words = AsciiWords {
        starts: parts & !(parts << 1),
        ends: !parts & parts << 1,
        seen: size.min(seen as usize),
    };
    if joiners != 0 {
        words.keep(in_word);
    }
    Some(words)
}

impl AsciiWords {
    /// Start and end of each word.
    #[inline(always)]
    fn places(&self) -> impl Iterator<Item = (u32, u32)> {
        let (mut starts, mut ends) = (self.starts, self.ends);
        (0..starts.count_ones()).map(move |_| {
            let place = (starts.trailing_zeros(), ends.trailing_zeros());
            starts &= starts.wrapping_sub(1);
            ends &= ends.wrapping_sub(1);
            place
        })
    }

    /// Keeps the words that have such bytes: joiners by themselves are no word.
    #[cold]
    fn keep(&mut self, bytes: u64) {
        let (mut starts, mut ends) = (0, 0);
        for (start, end) in self.places() {
            if bytes & below(end) & !below(start) != 0 {
                starts |= 1 << start;
                ends |= 1 << end;
            }
        }
        (self.starts, self.ends) = (starts, ends);
    }
}

/// The lowest bits.
#[inline(always)]
fn below(n: u32) -> u64 {
    if n >= 64 { u64::MAX } else { (1 << n) - 1 }
}

/// Words of a text without unknown characters.
fn count_known(text: &str) -> u32 {
    let mut state = State::Start as u8;
    let count = |c: char| {
        let step = STEPS[usize::from(state)][class_of(c) as usize];
        state = step >> 1;
        u32::from(step & 1)
    };
    text.chars().map(count).sum()
}

/// The class and the width in bytes of the character that starts at `at`.
#[inline]
fn wide(text: &str, at: usize) -> (Class, usize) {
    text[at..].chars().next().map_or((Class::Other, 1), |c| (class(c), c.len_utf8()))
}

/// Whether a word boundary certainly precedes the character.
fn is_cut(c: char) -> bool {
    matches!(class_of(c), Class::Other | Class::Alone)
}

/// Where the first character from `at` on is that a word boundary certainly precedes; else the text's end.
fn next_cut(text: &str, mut at: usize) -> usize {
    loop {
        at = text[at..].find(is_cut).map_or(text.len(), |more| at + more);
        // Spaces of any width are one segment.
        if !(text[at..].starts_with(' ') && text[..at].ends_with(is_wide_space)) {
            return at;
        }
        at = text.len() - text[at..].trim_start_matches(' ').len();
    }
}

/// `WSegSpace` beyond ASCII.
fn is_wide_space(c: char) -> bool {
    matches!(c, '\u{1680}' | '\u{2000}'..='\u{2006}' | '\u{2008}'..='\u{200A}' | '\u{205F}' | '\u{3000}')
}

/// Where the last character is that a word boundary certainly precedes; else the text's start.
fn last_cut(text: &str) -> usize {
    let at = text.rfind(is_cut).unwrap_or(0);
    // Spaces are one segment, and what extends the last one makes a word of them.
    if text[at..].starts_with(' ') { text[..at].trim_end_matches(' ').len() } else { at }
}

fn class_of(c: char) -> Class {
    if c.is_ascii() { ASCII[c as usize] } else { class(c) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn oracle(text: &str) -> u32 {
        text.unicode_words().count() as u32
    }

    /// Checks the places of the words too.
    fn count_words(text: &str) -> u32 {
        let mut places = Vec::new();
        words(text, &mut places);
        let expected = text.unicode_word_indices().map(|(at, word)| (at as u32, (at + word.len()) as u32));
        assert!(places.iter().copied().eq(expected), "{text:?} {places:?}");
        super::count_words(text)
    }

    #[test]
    fn every_character_counts_as_in_unicode_segmentation() {
        for c in '\0'..=char::MAX {
            for text in [
                format!("a{c}a"),
                format!("1{c}1 {c}"),
                format!("_{c}_{c}{c}中{c}の"),
                format!("カ{c}カ.{c}'b{c}\u{301}c"),
            ] {
                assert_eq!(count_words(&text), oracle(&text), "{text:?}");
            }
        }
    }

    #[test]
    fn spaces_of_any_width_are_one_segment() {
        let characters = [' ', '\u{3000}', '\u{2009}', '\u{2007}', '\u{A0}', '\u{A3E}', 'a', '。'];
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            texts = texts.iter().flat_map(|text| characters.map(|c| format!("{text}{c}"))).collect();
            for text in &texts {
                assert_eq!(count_words(text), oracle(text), "{text:?}");
            }
        }
    }

    #[test]
    fn all_short_sequences_of_classes_count_as_in_unicode_segmentation() {
        let characters =
            ['a', '1', '_', ':', ',', '.', 'カ', '中', ' ', '\u{301}', '\u{200D}', 'א', '"', '😀'];
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            texts = texts.iter().flat_map(|text| characters.map(|c| format!("{text}{c}"))).collect();
            for text in &texts {
                assert_eq!(count_words(text), oracle(text), "{text:?}");
            }
            // Long enough for whole blocks, at every offset within them.
            for text in texts.iter().step_by(texts.len().div_ceil(2_000)) {
                let long = text.repeat(25);
                assert_eq!(count_words(&long), oracle(&long), "{long:?}");
            }
        }
    }

    /// With a mark, whose neighbours no word spans, or without.
    #[test]
    fn parts_have_the_same_words() {
        for piece in ["word, ", "a_1.2'b ", "中カの ", "é\u{301}\u{2009} ", "א\"ב", "😀\u{200D}", "a", "ไ"]
        {
            let text = format!("x{}", piece.repeat(3 * PART / piece.len()));
            let (mut all, mut some, mut found, mut at) = (Vec::new(), Vec::new(), Vec::new(), 0);
            words(&text, &mut all);
            while at < text.len() {
                at = words_from(&text, at, &mut some);
                found.extend_from_slice(&some);
            }
            assert!(found == all, "{piece:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_counts_as_in_unicode_segmentation(text in "([a-c0-2_:,;.'\" ]{0,12}|\\PC|[\n\r]|[あ中カ，：’é한я😀\u{301}\u{200D}\u{AD}]){0,40}") {
            prop_assert_eq!(count_words(&text), oracle(&text));
        }
    }
}
