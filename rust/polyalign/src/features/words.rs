//! What is summed up of the words of a response.

use super::characters::Kind;
use super::language::Language;
use super::registry::Group;
use super::row::Spread;
use super::vocabulary::Word;
use super::word_classes::Classes;

/// The words of a response, none where they can't be told, summed up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Words {
    pub all: u32,
    pub cases: Cases,
    pub of_four: u32,
    pub lengths: Lengths,
    pub classes: ClassCounts,
    pub formulas: Formulas,
}

/// Which of the sums over [`Words`] are asked for; the others stay as they are of no words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub cases: bool,
    pub lengths: bool,
    pub classes: bool,
    pub formulas: bool,
}

impl Asked {
    pub fn by(groups: &[Group]) -> Self {
        let asks = |group| groups.contains(&group);
        Self {
            cases: asks(Group::Orthography),
            lengths: asks(Group::Lexical),
            classes: asks(Group::Function),
            formulas: asks(Group::Readability),
        }
    }
}

/// Words by their capitals.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cases {
    pub all_caps: u32,
    pub title_case: u32,
}

impl Cases {
    #[inline]
    pub fn add(&mut self, word: &str) {
        if !word.as_bytes()[0].is_ascii_lowercase() {
            self.all_caps += u32::from(is_all_caps(word));
            self.title_case += u32::from(is_title_case(word));
        }
    }
}

/// Two letters or more, all uppercase.
fn is_all_caps(word: &str) -> bool {
    let mut letters = word.chars().map(Kind::of).filter(|kind| kind.is_letter());
    letters.by_ref().take(2).filter(|kind| kind.is_upper()).count() == 2 && letters.all(Kind::is_upper)
}

/// An uppercase letter, and no other after it.
fn is_title_case(word: &str) -> bool {
    let mut characters = word.chars().map(Kind::of);
    characters.next().is_some_and(Kind::is_upper) && !characters.any(Kind::is_upper)
}

/// Words by their characters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lengths {
    pub all: Spread,
    pub short: u32,
    pub long: u32,
    pub very_long: u32,
}

impl Lengths {
    /// Adds a word that occurs so many times.
    #[inline]
    pub fn add(&mut self, word: &Word, count: u32, language: Language) {
        let [short, long, very_long] = if language == Language::Chinese { [1, 3, 4] } else { [3, 7, 11] };
        let length = word.characters;
        self.all.add(length, count);
        self.short += if length <= short { count } else { 0 };
        self.long += if length >= long { count } else { 0 };
        self.very_long += if length >= very_long { count } else { 0 };
    }
}

/// Words by class.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClassCounts {
    pub words: [u32; Classes::COUNT],
    /// Types that are no function words.
    pub content_types: u32,
}

impl ClassCounts {
    /// Adds a word that occurs so many times.
    #[inline]
    pub fn add(&mut self, word: &Word, count: u32) {
        let mut classes = word.classes.0;
        self.content_types += u32::from(classes & Classes::STOPWORD.0 == 0);
        while classes != 0 {
            self.words[classes.trailing_zeros() as usize] += count;
            classes &= classes - 1;
        }
    }
}

/// Longer words than this are long in the Swedish indices.
const LIX_CHARACTERS: u32 = 6;

/// What the formulas count of words.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Formulas {
    pub syllables: u32,
    pub polysyllables: u32,
    pub long: u32,
    pub characters: u32,
    pub letters: u32,
}

impl Formulas {
    /// Adds a word that occurs so many times.
    #[inline]
    pub fn add(&mut self, word: &Word, count: u32) {
        self.syllables += word.syllables * count;
        self.polysyllables += if word.syllables >= 3 { count } else { 0 };
        self.long += if word.characters > LIX_CHARACTERS { count } else { 0 };
        self.characters += word.characters * count;
        self.letters += word.letters * count;
    }
}

/// Whether a word is four Han characters.
pub(super) fn is_of_four(word: &str) -> bool {
    let mut len = 0;
    word.chars().all(|c| {
        len += 1;
        Kind::of(c) == Kind::HanLetter
    }) && len == 4
}
