//! A response taken apart once: characters, lines, sentences, words.

use super::characters::{Characters, Kind};
use super::language::Language;
use super::sequence::Sequence;
use super::vocabulary::Vocabulary;
use crate::text;
use crate::text::chinese::Segmenter;
use crate::text::marks::{EXCLAMATIONS, QUESTIONS, is_greek_question};

/// A line that is not blank.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub start: u32,
    /// Where it ends, before its line end.
    pub end: u32,
    pub characters: u32,
    /// Whether a blank line, or nothing, comes before.
    pub begins_paragraph: bool,
}

/// A sentence with a letter or digit, without the white space around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sentence {
    pub characters: u32,
    /// Words that begin in it.
    pub words: u32,
    /// The first of them.
    pub first_word: u32,
    /// The marks after its last letter or digit.
    pub asks: bool,
    pub exclaims: bool,
    /// Its first letter.
    pub first_letter: Kind,
}

/// Of one response. Buffers are kept from response to response.
pub(super) struct Analysis {
    pub characters: Characters,
    pub lines: Vec<Line>,
    pub sentences: Vec<Sentence>,
    /// Places of words; none where words can't be told.
    pub words: Vec<(u32, u32)>,
    pub sequence: Sequence,
    segmenter: Option<Box<Segmenter>>,
    segments: Vec<(u32, u32)>,
    vocabularies: Vec<Vocabulary>,
}

const LANGUAGES: [Language; 4] = [Language::English, Language::Chinese, Language::Spaced, Language::Other];

impl Analysis {
    pub fn new() -> Self {
        Self {
            characters: Characters::new(),
            lines: Vec::new(),
            sentences: Vec::new(),
            words: Vec::new(),
            sequence: Sequence::default(),
            segmenter: None,
            segments: Vec::new(),
            vocabularies: LANGUAGES.into_iter().map(Vocabulary::new).collect(),
        }
    }

    /// The vocabulary of a language's words.
    pub fn vocabulary(&self, language: Language) -> &Vocabulary {
        &self.vocabularies[language as usize]
    }

    pub fn vocabulary_mut(&mut self, language: Language) -> &mut Vocabulary {
        &mut self.vocabularies[language as usize]
    }

    /// Takes a text apart that has no white space at its ends.
    pub fn fill(&mut self, text: &str, language: Language) {
        self.characters.fill(text);
        self.fill_lines(text);
        self.fill_words(text, language);
        self.fill_sentences(text);
    }

    fn fill_lines(&mut self, text: &str) {
        self.lines.clear();
        let mut start = 0;
        let mut begins_paragraph = true;
        loop {
            let end = memchr::memchr(b'\n', &text.as_bytes()[start..]).map_or(text.len(), |at| start + at);
            let line = &text[start..end];
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.chars().all(char::is_whitespace) {
                begins_paragraph = true;
            } else {
                let whole = line.len() == text.len();
                self.lines.push(Line {
                    start: start as u32,
                    end: (start + line.len()) as u32,
                    characters: if whole { self.characters.all } else { line.chars().count() as u32 },
                    begins_paragraph,
                });
                begins_paragraph = false;
            }
            if end == text.len() {
                return;
            }
            start = end + 1;
        }
    }

    fn fill_words(&mut self, text: &str, language: Language) {
        match language {
            Language::English | Language::Spaced => text::words(text, &mut self.words),
            Language::Chinese => {
                let segmenter = self.segmenter.get_or_insert_with(Box::default);
                segmenter.cut(text, &mut self.words);
                self.words.retain(|&(start, end)| has_alphanumeric(&text[start as usize..end as usize]));
            }
            Language::Other => self.words.clear(),
        }
        let vocabulary = &mut self.vocabularies[language as usize];
        vocabulary.begin();
        self.sequence.fill(text, &self.words, vocabulary);
    }

    fn fill_sentences(&mut self, text: &str) {
        self.sentences.clear();
        text::sentences(text, &mut self.segments);
        let mut word = 0;
        for &(start, end) in &self.segments {
            let first_word = word;
            while self.words.get(word).is_some_and(|(start, _)| *start < end) {
                word += 1;
            }
            let words = (word - first_word) as u32;
            let sentence = trim(&text[start as usize..end as usize]);
            self.sentences.extend(sentence_of(sentence, first_word as u32, words));
        }
    }
}

/// The text without the white space at its ends; quick where ASCII tells.
pub(super) fn trim(text: &str) -> &str {
    let is_blank = |byte: &u8| matches!(byte, b'\t'..=b'\r' | b' ');
    let bytes = text.as_bytes();
    let start = bytes.iter().take_while(|byte| is_blank(byte)).count();
    let end = bytes.len() - bytes[start..].iter().rev().take_while(|byte| is_blank(byte)).count();
    let trimmed = &text[start..end];
    match (trimmed.as_bytes().first(), trimmed.as_bytes().last()) {
        (Some(first), Some(last)) if first.is_ascii() && last.is_ascii() => trimmed,
        _ => trimmed.trim(),
    }
}

/// Whether any character is a letter or digit.
pub(super) fn has_alphanumeric(text: &str) -> bool {
    text.chars().any(|c| Kind::of(c).is_alphanumeric())
}

/// Whether a sentence asks by Armenian's mark, which stands within a word, or by Greek's semicolon.
fn asks_within(sentence: &str) -> bool {
    if sentence.is_ascii() {
        return false;
    }
    let end = sentence.trim_end_matches(|c| !Kind::of(c).is_alphanumeric());
    sentence.contains('՞') || sentence[end.len()..].starts_with(';') && is_greek_question(end)
}

fn sentence_of(sentence: &str, first_word: u32, words: u32) -> Option<Sentence> {
    if !has_alphanumeric(sentence) {
        return None;
    }
    let after = || sentence.chars().rev().take_while(|c| !Kind::of(*c).is_alphanumeric());
    let first_letter = sentence.chars().map(Kind::of).find(|kind| kind.is_letter());
    Some(Sentence {
        characters: sentence.chars().count() as u32,
        words,
        first_word,
        asks: after().any(|c| c == '?' || QUESTIONS.contains(&c)) || asks_within(sentence),
        exclaims: after().any(|c| c == '!' || EXCLAMATIONS.contains(&c)),
        first_letter: first_letter.unwrap_or(Kind::None),
    })
}
