//! What of a text is prose: the words that people write, without what belongs to machines.

use memchr::{memchr2, memmem};

/// Calls `each` with the prose of a text, piece by piece, until it says that it has enough.
///
/// Left out are code in fences or backticks, and whatever between two spaces is no word: addresses,
/// identifiers, markup, numbers with letters. Words keep their hyphens, apostrophes and marks.
pub(super) fn prose<'a>(text: &'a str, mut each: impl FnMut(&'a str) -> bool) {
    if memchr2(b'`', b'~', text.as_bytes()).is_none() {
        words(text, &mut each);
        return;
    }
    let mut rest = text;
    while let Some((before, after)) = next_code(rest) {
        if !words(before, &mut each) {
            return;
        }
        rest = after;
    }
    words(rest, &mut each);
}

/// The text before the first code, and the text after it.
fn next_code(text: &str) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        at += memchr2(b'`', b'~', &bytes[at..])?;
        let mark = bytes[at];
        let run = bytes[at..].iter().take_while(|&&byte| byte == mark).count();
        let (fence, inside) = (&text[at..at + run], &text[at + run..]);
        if run >= 3 && is_line_start(&text[..at]) {
            return Some((&text[..at], after_fence(inside, fence)));
        }
        // Within a paragraph, as Markdown has it.
        let paragraph = inside.find("\n\n").map_or(inside, |end| &inside[..end]);
        if mark == b'`'
            && let Some(end) = memmem::find(paragraph.as_bytes(), fence.as_bytes())
        {
            return Some((&text[..at], &inside[end + run..]));
        }
        at += run;
    }
}

fn is_line_start(before: &str) -> bool {
    before
        .rsplit('\n')
        .next()
        .is_some_and(|line| line.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'>')))
}

/// The text behind the line that closes a fence; none if nothing closes it.
fn after_fence<'a>(inside: &'a str, fence: &str) -> &'a str {
    let mut lines = inside.split_inclusive('\n').skip(1);
    let mut at = inside.find('\n').map_or(inside.len(), |end| end + 1);
    for line in &mut lines {
        at += line.len();
        if line.trim_start_matches([' ', '\t', '>']).starts_with(fence) {
            break;
        }
    }
    &inside[at..]
}

/// What a byte is in a word.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Class {
    Lower,
    Upper,
    /// A hyphen or an apostrophe.
    Joiner,
    /// What may stand about a word, not in it.
    Mark,
    /// What no word has.
    Foreign,
    Space,
    /// Beginnings of characters that may be letters of another script.
    Wide,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Mark; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' => Class::Lower,
            b'A'..=b'Z' => Class::Upper,
            b'\'' | b'-' => Class::Joiner,
            b'0'..=b'9' | b'_' | b'/' | b'\\' | b'@' | b'#' | b'=' | b'<' | b'>' | b'{' | b'}' => {
                Class::Foreign
            }
            b'|' | b'^' | b'+' | b'$' | b'%' | b'&' => Class::Foreign,
            b'\t'..=b'\r' | b' ' => Class::Space,
            // Latin letters and combining marks; what continues a character goes with its beginning.
            0x80..=0xBF | 0xC3..=0xCD => Class::Lower,
            0xC0.. => Class::Wide,
            _ => Class::Mark,
        };
        byte += 1;
    }
    classes
};

/// How far the word between two spaces has come.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Before,
    Lower,
    Upper,
    Joined,
    After,
    NoWord,
}

impl State {
    const fn next(self, class: Class) -> Self {
        match (self, class) {
            (Self::NoWord, _) | (_, Class::Foreign) => Self::NoWord,
            // `fileName` and `file.name` are no words.
            (Self::Lower, Class::Upper) | (Self::After, Class::Lower | Class::Upper) => Self::NoWord,
            (_, Class::Lower) => Self::Lower,
            (_, Class::Upper) => Self::Upper,
            (Self::Before, _) => Self::Before,
            (Self::Lower | Self::Upper, Class::Joiner) => Self::Joined,
            _ => Self::After,
        }
    }
}

/// Stretches of words are given out when they have this many bytes.
const PIECE: usize = 48;

/// [`State::next`] of every state and class.
const NEXT: [[State; 8]; 6] = {
    use {Class as C, State as S};
    let states = [S::Before, S::Lower, S::Upper, S::Joined, S::After, S::NoWord];
    let classes = [C::Lower, C::Upper, C::Joiner, C::Mark, C::Foreign, C::Space, C::Wide];
    let mut next = [[S::Before; 8]; 6];
    let mut state = 0;
    while state < states.len() {
        let mut class = 0;
        while class < classes.len() {
            next[state][class] = states[state].next(classes[class]);
            class += 1;
        }
        state += 1;
    }
    next
};

/// Calls `each` with the stretches of words; false if it has enough.
fn words<'a>(text: &'a str, each: &mut impl FnMut(&'a str) -> bool) -> bool {
    let bytes = text.as_bytes();
    if is_plain(bytes) {
        return bytes.is_empty() || each(text);
    }
    // Where what is not yet given to `each` begins, and where the word at hand does.
    let (mut kept, mut word) = (0, 0);
    let mut state = State::Before;
    let mut at = 0;
    while at < bytes.len() {
        let mut class = CLASSES[usize::from(bytes[at])];
        let mut width = 1;
        if let Class::Wide = class {
            (class, width) = wide(&bytes[at..]);
        }
        if !matches!(class, Class::Space | Class::Wide) {
            state = NEXT[state as usize][class as usize];
            at += width;
            continue;
        }
        let end = if state == State::NoWord { word } else { at };
        // Not all at once: little may be enough.
        if state == State::NoWord || end - kept >= PIECE {
            if kept < end && !each(&text[kept..end]) {
                return false;
            }
            kept = at;
        }
        at += width;
        (state, word) = (State::Before, at);
    }
    let end = if state == State::NoWord { word } else { bytes.len() };
    kept >= end || each(&text[kept..end])
}

/// Bytes that are looked at together, with the one behind them.
const BLOCK: usize = 32;

/// Whether nothing in the text may be other than prose: true of most, and told many bytes at a time.
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(block) = rest.first_chunk() {
        if !is_plain_block(block) {
            return false;
        }
        rest = &rest[BLOCK..];
    }
    match bytes.last_chunk() {
        Some(block) => is_plain_block(block),
        None => {
            let mut block = [b' '; BLOCK + 1];
            block[..bytes.len()].copy_from_slice(bytes);
            is_plain_block(&block)
        }
    }
}

#[inline(always)]
fn is_plain_block(bytes: &[u8; BLOCK + 1]) -> bool {
    let is_letter = |byte: u8| (byte | 0x20).wrapping_sub(b'a') < 26;
    let is_stop = |byte: u8| (byte == b'.') | (byte == b',') | (byte == b'!') | (byte == b'?');
    let is_other =
        |byte: u8| (byte == b' ') | (byte == b'\'') | (byte == b'-') | (byte == b'\n') | (byte >= 0x80);
    let mut plain = true;
    for at in 0..BLOCK {
        let (byte, next) = (bytes[at], bytes[at + 1]);
        let is_camel = (byte.wrapping_sub(b'a') < 26) & (next.wrapping_sub(b'A') < 26);
        plain &= is_letter(byte) | is_stop(byte) | is_other(byte);
        plain &= !is_camel & !(is_stop(byte) & is_letter(next));
    }
    let last = bytes[BLOCK];
    plain & (is_letter(last) | is_stop(last) | is_other(last))
}

/// What a character of two to four bytes is in a word of Latin letters, and its bytes.
fn wide(bytes: &[u8]) -> (Class, usize) {
    match bytes {
        [0xC2, ..] => (Class::Wide, 2),
        [0xE2, 0x80, 0x99 | 0x91 | 0x90, ..] => (Class::Joiner, 3),
        // Latin Extended Additional.
        [0xE1, 0xB8..=0xBB, ..] => (Class::Lower, 3),
        [..0xE0, ..] => (Class::Wide, 2),
        [..0xF0, ..] => (Class::Wide, 3),
        _ => (Class::Wide, 4.min(bytes.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        let mut pieces = Vec::new();
        prose(text, |piece| {
            pieces.push(piece.trim());
            true
        });
        pieces.retain(|piece| !piece.is_empty());
        pieces.join(" ")
    }

    #[test]
    fn code_addresses_identifiers_and_markup_are_no_prose() {
        for (text, expected) in [
            ("plain words, it's \"well-known\" (yes).", "plain words, it's \"well-known\" (yes)."),
            ("**bold** and <b>tag</b>", "**bold** and"),
            ("use `np.sqrt(x)` here", "use here"),
            ("a lone ` backtick", "a lone ` backtick"),
            ("before\n```python\nimport os\n```\nafter", "before after"),
            ("before\n~~~\nimport os\n~~~\nafter", "before after"),
            ("open\n```\nnever closed", "open"),
            ("see https://example.com/a?b=c or a.b@c.org now", "see or now"),
            ("call file.name, my_name, myName and C++", "call and"),
            ("\\section{Intro} #tag @user 3rd v2.0 42", ""),
            ("请用print(x)函数，好吗？", "请用 函数，好吗？"),
            ("Ọkọ̀ ojú irin", "Ọkọ̀ ojú irin"),
            ("l’eau “fraîche” — là", "l’eau “fraîche” — là"),
            ("tiếng Việt", "tiếng Việt"),
            ("", ""),
        ] {
            assert_eq!(of(text), expected, "{text:?}");
        }
    }

    #[test]
    fn stops_when_told() {
        let mut pieces = 0;
        prose("one x_1 two x_2 three", |_| {
            pieces += 1;
            pieces < 2
        });
        assert_eq!(pieces, 2);
    }

    #[test]
    fn never_splits_a_character() {
        let characters =
            ["a", "É", "ß", "ẹ", "\u{301}", "’", "«", "好", "😀", " ", "_", "`", "\n", "~", ".", "и"];
        for a in characters {
            for b in characters {
                for c in characters {
                    let text = format!("{a}{b}{c}{a}{b}");
                    prose(&text, |piece| !piece.is_empty());
                }
            }
        }
    }
}
