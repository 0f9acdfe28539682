//! Characters.

/// Number of Unicode scalar values.
pub fn count_characters(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}
