//! Text rules that need no tokenizer: sentences, words, characters, scripts, sentiment.

mod characters;
pub mod chinese;
pub(crate) mod class;
pub(crate) mod marks;
mod masks;
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
pub use sentences::sentences;
pub use vader::{Sentiment, Vader};
pub use words::{count_words, words};
