//! A response as a row of tokens: words and marks, or characters.

use super::keys::{self, View};
use crate::features::Language;
use crate::text::chinese::Segmenter;
use crate::text::{place_of_character, words_from};

/// A word, a mark, or a character.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub id: u64,
    /// Its bytes in the text.
    pub start: usize,
    pub end: usize,
    /// Its bytes in lower case, where it is a word or a mark.
    lower: (u32, u32),
}

/// What a response in a language is cut into.
pub(super) const fn views(language: Language) -> &'static [View] {
    match language {
        Language::English | Language::Spaced => &[View::Words],
        Language::Chinese => &[View::Words, View::Characters],
        Language::Other => &[View::Characters],
    }
}

/// Bytes of a text whose characters are at hand at a time.
const PART: usize = 1 << 16;

/// Cuts texts, a part at a time; holds the memory that takes.
#[derive(Default)]
pub(super) struct Cutter {
    tokens: Vec<Token>,
    lower: String,
    places: Vec<(u32, u32)>,
    segmenter: Option<Box<Segmenter>>,
}

impl Cutter {
    /// Puts the tokens of a text from byte `at` on in its hands, as many as it takes at a time. Returns where to go on.
    pub fn part(&mut self, text: &str, at: usize, language: Language, view: View) -> usize {
        self.tokens.clear();
        self.lower.clear();
        if view == View::Characters {
            return self.characters(text, at);
        }
        let mut places = std::mem::take(&mut self.places);
        let end = match language {
            Language::Chinese => {
                self.segmenter.get_or_insert_with(Box::default).cut_from(text, at, &mut places)
            }
            _ => words_from(text, at, &mut places),
        };
        let mut done = at;
        for &(start, end) in &places {
            self.marks(text, done, start as usize);
            self.word(text, start as usize, end as usize);
            done = end as usize;
        }
        self.marks(text, done, end);
        self.places = places;
        end
    }

    /// The tokens at hand.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// A word or mark in lower case.
    pub fn lower(&self, token: &Token) -> &str {
        &self.lower[token.lower.0 as usize..token.lower.1 as usize]
    }

    /// Each character between words that is no blank.
    fn marks(&mut self, text: &str, start: usize, end: usize) {
        for (at, c) in text[start..end].char_indices() {
            if !c.is_whitespace() {
                self.word(text, start + at, start + at + c.len_utf8());
            }
        }
    }

    fn word(&mut self, text: &str, start: usize, end: usize) {
        let (word, first) = (&text[start..end], self.lower.len());
        if word.is_ascii() {
            self.lower.push_str(word);
            self.lower[first..].make_ascii_lowercase();
        } else {
            self.lower.extend(word.chars().flat_map(char::to_lowercase));
        }
        // Of what a dictionary cuts, blanks are pieces too.
        if self.lower[first..].trim_start().is_empty() {
            self.lower.truncate(first);
            return;
        }
        let id = keys::word(&self.lower[first..]);
        self.tokens.push(Token { id, start, end, lower: (first as u32, self.lower.len() as u32) });
    }

    fn characters(&mut self, text: &str, at: usize) -> usize {
        let end = place_of_character(text, at.saturating_add(PART));
        for (place, c) in text[at..end].char_indices() {
            if !c.is_whitespace() {
                let lower = c.to_lowercase().next().unwrap_or(c);
                let start = at + place;
                let end = start + c.len_utf8();
                self.tokens.push(Token { id: keys::character(lower), start, end, lower: (0, 0) });
            }
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, language: Language, view: View) -> Vec<String> {
        let (mut cutter, mut at, mut found) = (Cutter::default(), 0, Vec::new());
        while at < text.len() {
            at = cutter.part(text, at, language, view);
            for token in cutter.tokens() {
                let shown =
                    if view == View::Words { cutter.lower(token) } else { &text[token.start..token.end] };
                found.push(shown.to_owned());
            }
        }
        found
    }

    #[test]
    fn words_are_lower_and_marks_are_tokens() {
        assert_eq!(
            cut("Don't — PANIC!  (Écoute…)", Language::English, View::Words),
            ["don't", "—", "panic", "!", "(", "écoute", "…", ")"]
        );
        assert_eq!(
            cut("我们都爱 吃火锅！\nOK", Language::Chinese, View::Words),
            ["我们", "都", "爱", "吃火锅", "！", "ok"]
        );
        assert_eq!(cut("我 A！", Language::Chinese, View::Characters), ["我", "A", "！"]);
        assert_eq!(cut(" \n\u{3000}", Language::Chinese, View::Words), [""; 0]);
        assert_eq!(cut("", Language::English, View::Words), [""; 0]);
    }

    #[test]
    fn long_texts_are_cut_alike() {
        let text = "It is, é so. ".repeat(20_000);
        let words = cut(&text, Language::English, View::Words);
        assert_eq!(words.len(), 6 * 20_000);
        assert!(words.chunks(6).all(|chunk| chunk == ["it", "is", ",", "é", "so", "."]));
        assert_eq!(cut(&text, Language::Other, View::Characters).len(), 9 * 20_000);
    }
}
