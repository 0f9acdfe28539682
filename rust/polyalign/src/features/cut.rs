//! The words of a text as features count them, in order.

use super::analysis::has_alphanumeric;
use super::language::Language;
use crate::text;
use crate::text::chinese::Segmenter;

/// Cuts texts into words: as UAX #29 has them where a language puts spaces between them, by the dictionary in Chinese,
/// and letter for letter where words can't be told.
///
/// ```
/// use polyalign::features::{Cutter, Language};
/// let mut cutter = Cutter::default();
/// assert_eq!(cutter.words("It isn't so.", Language::English), ["It", "isn't", "so"]);
/// assert_eq!(cutter.words("我们去公园散步。", Language::Chinese), ["我们", "去", "公园", "散步"]);
/// assert_eq!(cutter.words("猫です。", Language::of("ja")), ["猫", "で", "す"]);
/// ```
#[derive(Default)]
pub struct Cutter {
    segmenter: Option<Box<Segmenter>>,
    places: Vec<(u32, u32)>,
}

impl Cutter {
    /// The words of a text of that language.
    pub fn words<'a>(&mut self, text: &'a str, language: Language) -> Vec<&'a str> {
        self.places.clear();
        match language {
            Language::English | Language::Spaced => text::words(text, &mut self.places),
            Language::Chinese => {
                self.segmenter.get_or_insert_with(Box::default).cut(text, &mut self.places);
            }
            Language::Other => {
                let places = text.char_indices().map(|(at, c)| (at as u32, (at + c.len_utf8()) as u32));
                self.places.extend(places);
            }
        }
        let words = self.places.iter().map(|&(start, end)| &text[start as usize..end as usize]);
        words.filter(|word| has_alphanumeric(word)).collect()
    }
}
