//! NFC, in the Unicode version that `tokenizers` applies.

use super::unicode::{NFC_SUSPECT, TABLE};
use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Whether NFC would change nothing; may say false of a text that is normalised.
pub(super) fn is_nfc(text: &str) -> bool {
    let suspect = |c: char| c >= '\u{300}' && TABLE.byte(c as u32) & NFC_SUSPECT != 0;
    !text.chars().any(suspect) || is_nfc_quick(text.chars()) == IsNormalized::Yes
}

/// The text in NFC.
pub(super) fn nfc(text: &str) -> String {
    text.nfc().map(|(c, _)| c).collect()
}
