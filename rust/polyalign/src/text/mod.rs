//! Text rules that need no tokenizer: words, characters, scripts.

mod characters;
pub(crate) mod class;
mod paper;
pub mod script;
mod swar;
mod words;

pub use characters::count_characters;
pub use paper::count_words_paper;
pub use words::{count_words, words};
