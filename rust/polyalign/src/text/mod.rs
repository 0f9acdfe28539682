//! Text rules that need no tokenizer: words, characters, scripts.

/// Number of UAX #29 words (segments with a letter or digit).
pub fn count_words(_text: &str) -> u32 {
    todo!()
}
/// Number of words by the paper's rule (its `word` regex on the normalised text).
pub fn count_words_paper(_text: &str) -> u32 {
    todo!()
}
/// Number of Unicode scalar values.
pub fn count_characters(_text: &str) -> u32 {
    todo!()
}
