//! NFC, in the Unicode version that `tokenizers` applies.

use super::unicode::{NFC_SUSPECT, TABLE};
use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Whether NFC would change nothing; may say false of a text that is normalised.
pub(super) fn is_nfc(text: &str) -> bool {
    if !may_hold_suspects(text.as_bytes()) {
        return true;
    }
    let table = &*TABLE;
    let suspect = |c: char| c >= '\u{300}' && table.byte(c as u32) & NFC_SUSPECT != 0;
    !text.chars().any(suspect) || is_nfc_quick(text.chars()) == IsNormalized::Yes
}

/// Whether some character is neither ASCII nor of the ranges that Chinese, Japanese and most Latin text is made of.
fn may_hold_suspects(text: &[u8]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if let Some(machine) = crate::cpu::Avx2::get() {
        return machine.run(
            #[inline(always)]
            || any_suspect_start(text),
        );
    }
    any_suspect_start(text)
}

#[inline(always)]
fn any_suspect_start(text: &[u8]) -> bool {
    const WINDOW: usize = CHUNK + 2;
    let mut at = 0;
    while let Some(window) = text[at..].first_chunk::<WINDOW>() {
        if any_suspect_in(window) {
            return true;
        }
        at += CHUNK;
    }
    let mut last = [0; WINDOW + CHUNK];
    last[..text.len() - at].copy_from_slice(&text[at..]);
    let [first, second] = [0, CHUNK].map(|i| last[i..].first_chunk::<WINDOW>().expect("twice as long"));
    any_suspect_in(first) || any_suspect_in(second)
}

const CHUNK: usize = 64;

/// Without branches within a chunk, so that it is compiled to vector instructions.
#[inline(always)]
fn any_suspect_in(window: &[u8; CHUNK + 2]) -> bool {
    if window[..CHUNK].iter().fold(0, |highest, &byte| highest.max(byte)) < FIRST_SUSPECT {
        return false;
    }
    let mut any = false;
    for i in 0..CHUNK {
        any |= suspect_start(window[i], window[i + 1], window[i + 2]);
    }
    any
}

/// Characters that start with a lower byte are not changed.
const FIRST_SUSPECT: u8 = 0xcc;

/// Whether a character that starts with these bytes may be changed by NFC or change its neighbours.
#[inline(always)]
fn suspect_start(a: u8, b: u8, c: u8) -> bool {
    let plain = (a.wrapping_sub(0xe4) <= 5) // U+4000 to U+9FFF
        | ((a == 0xef) & ((b == 0xbc) | (b == 0xbd))) // full-width forms
        | ((a == 0xe2) & (b == 0x80) & (c >= 0x90)) // quotation marks, dashes
        | ((a == 0xe3) & (b == 0x80) & (c < 0xaa)) // ideographic punctuation
        | ((a == 0xe3) & ((b == 0x81) | (b == 0x83) | (b == 0x82) & (c.wrapping_sub(0x99) > 1))); // kana
    (a >= FIRST_SUSPECT) & !plain
}

/// The text in NFC.
pub(super) fn nfc(text: &str) -> String {
    text.nfc().map(|(c, _)| c).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suspect_is_seen() {
        for c in '\0'..=char::MAX {
            if TABLE.byte(c as u32) & NFC_SUSPECT != 0 {
                for text in [format!("{c}"), format!("{}{c}{}", "a".repeat(63), "你".repeat(50))] {
                    assert!(
                        any_suspect_start(text.as_bytes()) && may_hold_suspects(text.as_bytes()),
                        "{c:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn ordinary_texts_hold_no_suspects() {
        let text = "“Hello” – it’s 你好，世界！「カタカナ」。 naïve".repeat(9);
        assert!(!any_suspect_start(text.as_bytes()) && !may_hold_suspects(text.as_bytes()));
    }
}
