//! Telling languages in Latin script apart: a vote of frequent words and letters, and a statistical
//! detector where that is undecided.

use std::sync::LazyLock;

/// Per language its frequent words and its letters beyond `a` to `z`.
const TABLE: &str = include_str!("latin.tsv");
/// Words longer than this many bytes are not looked at.
const MAX_WORD: usize = 8;
const SLOTS: usize = 8192;
/// Votes of a word for each of the languages it is frequent in, by how many these are: the more, the
/// less it says.
const WORD_VOTES: [u32; 9] = [0, 12, 9, 7, 6, 5, 5, 4, 4];
/// The same of a letter.
const LETTER_VOTES: [u32; 9] = [0, 6, 4, 3, 3, 2, 2, 2, 2];

/// The known languages in Latin script; a set of them is the bits of a `u64`.
pub(super) fn languages() -> &'static [&'static str] {
    &FREQUENT.languages
}

static FREQUENT: LazyLock<Frequent> = LazyLock::new(Frequent::new);

struct Frequent {
    languages: Vec<&'static str>,
    /// Open addressing; an empty slot has the key 0.
    words: Box<[(u64, u64); SLOTS]>,
    /// Letters and the languages they occur in, in order.
    letters: Vec<(char, u64)>,
}

impl Frequent {
    fn new() -> Self {
        let mut frequent =
            Self { languages: Vec::new(), words: Box::new([(0, 0); SLOTS]), letters: Vec::new() };
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let mut columns = line.split('\t');
            let (tag, words, letters) = (columns.next(), columns.next(), columns.next());
            let language = 1 << frequent.languages.len();
            frequent.languages.extend(tag);
            for word in words.unwrap_or_default().split(' ') {
                let slot = frequent.slot(pack(word));
                frequent.words[slot].0 = pack(word);
                frequent.words[slot].1 |= language;
            }
            for letter in letters.unwrap_or_default().chars() {
                match frequent.letters.binary_search_by_key(&letter, |&(known, _)| known) {
                    Ok(at) => frequent.letters[at].1 |= language,
                    Err(at) => frequent.letters.insert(at, (letter, language)),
                }
            }
        }
        frequent
    }

    /// Where the word is, or would go.
    #[inline]
    fn slot(&self, word: u64) -> usize {
        let mut slot = (word.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - SLOTS.trailing_zeros())) as usize;
        while self.words[slot].0 != word && self.words[slot].0 != 0 {
            slot = (slot + 1) % SLOTS;
        }
        slot
    }

    #[inline]
    fn word(&self, word: u64) -> u64 {
        self.words[self.slot(word)].1
    }

    fn letter(&self, letter: char) -> u64 {
        let at = self.letters.binary_search_by_key(&letter, |&(known, _)| known);
        at.map_or(0, |at| self.letters[at].1)
    }
}

/// A word of at most eight bytes, none of them NUL, as a number.
fn pack(word: &str) -> u64 {
    word.bytes().fold(0, |packed, byte| packed << 8 | u64::from(byte))
}

/// Votes beyond doubt, if no other language has half as many.
const DECISIVE: u32 = 24;

/// What the words and letters of a text speak for.
#[derive(Clone, Copy)]
pub(super) struct Votes {
    candidates: u64,
    votes: [u32; 64],
}

impl Votes {
    pub(super) fn new(candidates: u64) -> Self {
        Self { candidates, votes: [0; 64] }
    }

    fn cast(&mut self, languages: u64, votes: &[u32; 9]) {
        let mut languages = languages & self.candidates;
        let each = votes[languages.count_ones().min(8) as usize];
        while languages != 0 {
            self.votes[languages.trailing_zeros() as usize] += each;
            languages &= languages - 1;
        }
    }

    /// Counts a text's words and letters.
    pub(super) fn add(&mut self, text: &str) {
        let frequent = &*FREQUENT;
        let (mut word, mut length) = (0u64, 0usize);
        let mut rest = text.as_bytes();
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            if byte.is_ascii_alphabetic() || (byte == b'\'' && length > 0) {
                word = word << 8 | u64::from(byte | 0x20);
                length += 1;
                continue;
            }
            if byte.is_ascii() {
                if length > 0 && length <= MAX_WORD {
                    self.cast(frequent.word(word), &WORD_VOTES);
                }
                (word, length) = (0, 0);
                continue;
            }
            // Never empty: `byte` starts a character.
            let at = text.len() - rest.len() - 1;
            let Some(c) = text[at..].chars().next() else { break };
            rest = &text.as_bytes()[at + c.len_utf8()..];
            let c = if c == '’' { '\'' } else { c };
            if !c.is_alphabetic() && c != '\'' {
                if length > 0 && length <= MAX_WORD {
                    self.cast(frequent.word(word), &WORD_VOTES);
                }
                (word, length) = (0, 0);
                continue;
            }
            for lower in c.to_lowercase() {
                self.cast(frequent.letter(lower), &LETTER_VOTES);
                let mut buffer = [0; 4];
                for &byte in lower.encode_utf8(&mut buffer).as_bytes() {
                    word = word << 8 | u64::from(byte);
                    length += 1;
                }
            }
        }
        if length > 0 && length <= MAX_WORD {
            self.cast(frequent.word(word), &WORD_VOTES);
        }
    }

    /// Votes for a language.
    pub(super) fn get(&self, language: &str) -> u32 {
        languages().iter().position(|tag| *tag == language).map_or(0, |bit| self.votes[bit])
    }

    /// The language most votes are for (of equals the first), and whether that is beyond doubt.
    pub(super) fn winner(&self) -> Option<(&'static str, bool)> {
        let (mut first, mut second) = ((0, 0), 0);
        for (language, &votes) in self.votes[..languages().len()].iter().enumerate() {
            if votes > first.1 {
                second = first.1;
                first = (language, votes);
            } else {
                second = second.max(votes);
            }
        }
        let decided = first.1 >= DECISIVE && first.1 >= 2 * second;
        (first.1 > 0).then(|| (languages()[first.0], decided))
    }
}

/// The statistical detector's verdict on a text in Latin script; it always has one.
pub(super) fn statistical(text: &str) -> &'static str {
    use whichlang::Lang;
    match whichlang::detect_language(text) {
        Lang::Deu => "de",
        Lang::Fra => "fr",
        Lang::Ita => "it",
        Lang::Nld => "nl",
        Lang::Por => "pt",
        Lang::Spa => "es",
        Lang::Swe => "sv",
        Lang::Tur => "tr",
        Lang::Vie => "vi",
        // The rest are languages in other scripts, which Latin letters rule out.
        _ => "en",
    }
}

/// The languages that [`statistical`] knows.
pub(super) const STATISTICAL: [&str; 10] = ["de", "en", "es", "fr", "it", "nl", "pt", "sv", "tr", "vi"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_well_formed() {
        assert!(languages().len() <= 64);
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<_> = line.split('\t').collect();
            assert_eq!(columns.len(), 3, "{line}");
            assert_eq!(super::super::language::primary_subtag(columns[0]), Some(columns[0]));
            assert!(columns[1].split(' ').all(|word| (1..=MAX_WORD).contains(&word.len())), "{line}");
        }
        let taken = FREQUENT.words.iter().filter(|(word, _)| *word != 0).count();
        assert!(taken < SLOTS / 2, "{taken}");
    }

    #[test]
    fn votes_tell_close_languages_apart() {
        for (text, language) in [
            ("It's what you'd want, isn't it? I think so.", "en"),
            ("Das ist nicht so, wie du denkst.", "de"),
            ("Eu não sei o que você quer dizer com isso.", "pt"),
            ("No sé lo que quieres decir con eso, pero está bien.", "es"),
            ("Nie wiem, co masz na myśli, ale to jest dobrze.", "pl"),
            ("Jeg ved ikke hvad du mener, men det er godt nok efter min mening.", "da"),
            ("En tiedä mitä se tarkoittaa, mutta se on hyvä.", "fi"),
        ] {
            let mut votes = Votes::new(u64::MAX);
            votes.add(text);
            assert_eq!(votes.winner().map(|(winner, _)| winner), Some(language), "{text}");
        }
    }
}
