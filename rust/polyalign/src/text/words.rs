//! Words by UAX #29.

use unicode_segmentation::UnicodeSegmentation;

/// Number of UAX #29 words (segments with a letter or digit).
pub fn count_words(text: &str) -> u32 {
    u32::try_from(text.unicode_words().count()).unwrap_or(u32::MAX)
}
