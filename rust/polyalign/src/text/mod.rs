//! Text rules that need no tokenizer: sentences, words, characters, scripts, sentiment.

mod characters;
pub mod chinese;
pub(crate) mod class;
pub(crate) mod marks;
pub(crate) mod masks;
mod paper;
mod reasoning;
pub mod script;
mod sentences;
mod swar;
mod vader;
mod words;

pub use characters::count_characters;
pub use paper::count_words_paper;
pub use reasoning::{answer, reasoning};
pub use sentences::{Sentences, sentences};
pub use vader::{Sentiment, Vader};
pub(crate) use words::words_from;
pub use words::{count_words, words};

/// Where a character starts, at a byte or soon after it; else the text's end.
pub(crate) fn place_of_character(text: &str, byte: usize) -> usize {
    let mut at = byte.min(text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}
