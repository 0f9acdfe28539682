//! Character classes, as the regular-expression engine of `tokenizers` (Oniguruma) sees them.

use super::unicode_table::RUNS;
use crate::text::class::ClassTable;
use std::sync::LazyLock;

/// Neither letter, mark, number, punctuation, symbol nor white space: controls, format characters, unassigned.
#[cfg(test)]
const OTHER: u8 = 0;
/// `\s`, without the two newlines.
pub(super) const SPACE: u8 = 1;
/// `[\r\n]`.
pub(super) const NEWLINE: u8 = 2;
/// `\p{N}`.
pub(super) const NUMBER: u8 = 3;
/// `[\p{P}\p{S}]`.
pub(super) const PUNCTUATION: u8 = 4;
/// `\p{M}`.
pub(super) const MARK: u8 = 5;
/// `[\p{Lu}\p{Lt}]`.
pub(super) const UPPER: u8 = 6;
/// `\p{Ll}`.
pub(super) const LOWER: u8 = 7;
/// `[\p{Lm}\p{Lo}]`: letters without case.
pub(super) const UNCASED: u8 = 8;
/// Flag beside the class: may be changed by NFC, or change its neighbours.
pub(super) const NFC_SUSPECT: u8 = 0x80;
/// Flag beside the class: `\p{Han}`.
const HAN: u8 = 0x10;
const CLASS: u8 = 0x0f;

/// Class and flag of every character.
pub(super) struct Table(ClassTable);

/// The table of all code points, expanded from its runs on first use.
pub(super) static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table(ClassTable::from_runs(RUNS.iter().map(|&run| (run >> 8, run as u8)))));

impl Table {
    /// Class and flag of a code point.
    #[inline(always)]
    pub(super) fn byte(&self, c: u32) -> u8 {
        self.0.of_code(c)
    }

    /// Class of a code point.
    #[inline(always)]
    pub(super) fn class(&self, c: u32) -> u8 {
        self.byte(c) & CLASS
    }

    /// Whether a code point is `\p{Han}`.
    #[inline(always)]
    pub(super) fn is_han(&self, c: u32) -> bool {
        self.byte(c) & HAN != 0
    }
}

/// Whether a class is `\p{L}`.
#[inline(always)]
pub(super) fn is_letter(class: u8) -> bool {
    class >= UPPER
}

/// Whether a class is `\s`.
#[inline(always)]
pub(super) fn is_space(class: u8) -> bool {
    class == SPACE || class == NEWLINE
}

/// Whether a byte of UTF-8 does not start a character.
#[inline(always)]
pub(super) fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// Decodes the character at `text[at..]`: its code point and length.
///
/// `text` must be UTF-8 and `at` the start of a character; anything else gives an unspecified
/// character, or panics.
#[inline(always)]
pub(super) fn decode(text: &[u8], at: usize) -> (u32, usize) {
    // One check of the bounds where there are four bytes.
    let bytes = match text[at..].first_chunk::<4>() {
        Some(bytes) => *bytes,
        None => {
            let mut bytes = [0; 4];
            bytes[..text.len() - at].copy_from_slice(&text[at..]);
            bytes
        }
    };
    let [b0, b1, b2, b3] = bytes.map(u32::from);
    match b0 {
        0..0x80 => (b0, 1),
        0xe0..0xf0 => ((b0 & 0x0f) << 12 | (b1 & 0x3f) << 6 | (b2 & 0x3f), 3),
        0x80..0xe0 => ((b0 & 0x1f) << 6 | (b1 & 0x3f), 2),
        _ => ((b0 & 0x07) << 18 | (b1 & 0x3f) << 12 | (b2 & 0x3f) << 6 | (b3 & 0x3f), 4),
    }
}

/// The length of the character that begins with a byte.
#[inline(always)]
pub(super) fn len_of_char(first: u8) -> usize {
    match first {
        0..0xc0 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::utils::SysRegex;

    fn matches(pattern: &str, text: &str) -> Vec<bool> {
        let mut hit = vec![false; text.len()];
        for (start, end) in SysRegex::new(pattern).unwrap().find_iter(text) {
            hit[start..end].fill(true);
        }
        hit
    }

    fn derive() -> Vec<u8> {
        use unicode_normalization_alignments::{IsNormalized, char::canonical_combining_class, is_nfc_quick};
        let text: String = ('\0'..=char::MAX).collect();
        let classes = [
            (r"\s", SPACE),
            (r"[\r\n]", NEWLINE),
            (r"\p{N}", NUMBER),
            (r"[\p{P}\p{S}]", PUNCTUATION),
            (r"\p{M}", MARK),
            (r"[\p{Lu}\p{Lt}]", UPPER),
            (r"\p{Ll}", LOWER),
            (r"[\p{Lm}\p{Lo}]", UNCASED),
        ];
        let mut flat = vec![OTHER; 0x110000];
        for (pattern, class) in classes {
            let hit = matches(pattern, &text);
            for (at, c) in text.char_indices().filter(|(at, _)| hit[*at]) {
                let before = flat[c as usize];
                assert!(before == OTHER || (before, class) == (SPACE, NEWLINE), "{c:?} at {at}");
                flat[c as usize] = class;
            }
        }
        let (letters, han) = (matches(r"\p{L}", &text), matches(r"\p{Han}", &text));
        for (at, c) in text.char_indices() {
            assert_eq!(letters[at], is_letter(flat[c as usize]), "{c:?}");
            let inert =
                is_nfc_quick(std::iter::once(c)) == IsNormalized::Yes && canonical_combining_class(c) == 0;
            if !inert {
                flat[c as usize] |= NFC_SUSPECT;
            }
            if han[at] {
                flat[c as usize] |= HAN;
            }
        }
        flat
    }

    #[test]
    fn table_agrees_with_oniguruma() {
        let flat = derive();
        if let Some(path) = std::env::var_os("POLYALIGN_WRITE_UNICODE_TABLE") {
            let mut out = String::from(
                "//! Generated by the test `unicode::tests::table_agrees_with_oniguruma`; do not edit.\n\n\
                 /// Runs of code points of one class: `first code point << 8 | class byte`, ascending.\n\
                 #[rustfmt::skip]\npub(super) static RUNS: &[u32] = &[\n",
            );
            let starts = (0..flat.len()).filter(|&c| c == 0 || flat[c] != flat[c - 1]);
            for line in
                starts.map(|c| format!("0x{:x}", c << 8 | flat[c] as usize)).collect::<Vec<_>>().chunks(10)
            {
                out += &format!("    {},\n", line.join(", "));
            }
            std::fs::write(path, out + "];\n").unwrap();
            return;
        }
        for (c, &byte) in flat.iter().enumerate() {
            assert_eq!(TABLE.byte(c as u32), byte, "U+{c:04X}");
        }
    }

    #[test]
    fn contractions_fold_only_the_long_s() {
        let re = SysRegex::new(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)").unwrap();
        let full = |text: &str| re.find_iter(text).next() == Some((0, text.len()));
        for c in '\0'..=char::MAX {
            let one = matches!(c, 's' | 'S' | 'ſ' | 't' | 'T' | 'm' | 'M' | 'd' | 'D');
            assert_eq!(full(&format!("'{c}")), one, "{c:?}");
            for (firsts, second) in [("rv", "e"), ("l", "l")] {
                let same = |a: &str| c.to_string().eq_ignore_ascii_case(a);
                for first in firsts.split_terminator("").skip(1) {
                    assert_eq!(full(&format!("'{first}{c}")), same(second), "{first}{c:?}");
                }
                let starts = firsts.contains(c.to_ascii_lowercase());
                assert_eq!(full(&format!("'{c}{second}")), starts, "{c:?}{second}");
            }
            // No other character stands in for the apostrophe, alone or with its letter.
            assert_eq!(full(&format!("{c}s")), c == '\'', "{c:?}");
            assert!(!full(&c.to_string()), "{c:?}");
        }
    }
}
