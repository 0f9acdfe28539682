//! A response taken apart once: characters, sentences, words.
//!
//! What is kept of sentences and words are sums, but for the words as a sequence of types: a list of places takes many
//! times the text where words are short.

use super::characters::{Characters, Kind};
use super::language::Language;
use super::registry::Group;
use super::row::Spread;
use super::sequence::{Sequence, Source};
use super::vocabulary::Vocabulary;
use super::words::{Asked, Words, is_of_four};
use crate::Result;
use crate::error::unless_stopped;
use crate::text;
use crate::text::chinese::Segmenter;
use crate::text::marks::{EXCLAMATIONS, QUESTIONS, is_greek_question};
use std::sync::atomic::AtomicBool;

/// A line that is not blank.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// Without its line end.
    pub text: &'a str,
    /// Where it starts.
    pub start: usize,
    /// Whether a blank line, or nothing, comes before.
    pub begins_paragraph: bool,
}

/// The lines of a text that are not blank.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let (mut start, mut begins_paragraph) = (0, true);
    let ends = memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]);
    ends.filter_map(move |end| {
        let from = std::mem::replace(&mut start, end + 1);
        let line = &text[from..end];
        let line = line.strip_suffix('\r').unwrap_or(line);
        let is_blank = line.chars().all(char::is_whitespace);
        let begins_paragraph = std::mem::replace(&mut begins_paragraph, is_blank);
        (!is_blank).then_some(Line { text: line, start: from, begins_paragraph })
    })
}

/// The sentences of a response with a letter or digit, without the white space around them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sentences {
    pub characters: Spread,
    /// Words that begin in each.
    pub words: Spread,
    /// In the first and in the last.
    pub first_words: u32,
    pub last_words: u32,
    /// By the marks after the last letter or digit.
    pub asking: u32,
    pub exclaiming: u32,
    /// By the first letter.
    pub lower: u32,
    pub upper: u32,
    /// With words; and those of them that begin with a word that one before begins with.
    pub worded: u32,
    pub repeated: u32,
}

/// Of one response. Buffers are kept from response to response.
pub(super) struct Analysis {
    pub characters: Characters,
    pub sentences: Sentences,
    pub words: Words,
    pub sequence: Sequence,
    /// The bytes at which words begin, a bit each.
    starts: Vec<u64>,
    /// By type: whether a sentence begins with it.
    begins: Vec<bool>,
    segmenter: Option<Box<Segmenter>>,
    vocabularies: Vec<Vocabulary>,
}

const LANGUAGES: [Language; 4] = [Language::English, Language::Chinese, Language::Spaced, Language::Other];

impl Analysis {
    pub fn new() -> Self {
        Self {
            characters: Characters::new(),
            sentences: Sentences::default(),
            words: Words::default(),
            sequence: Sequence::default(),
            starts: Vec::new(),
            begins: Vec::new(),
            segmenter: None,
            vocabularies: LANGUAGES.into_iter().map(Vocabulary::new).collect(),
        }
    }

    pub fn vocabulary_mut(&mut self, language: Language) -> &mut Vocabulary {
        &mut self.vocabularies[language as usize]
    }

    /// Takes a text apart that has no white space at its ends, as far as the features of these groups need it.
    pub fn fill(
        &mut self,
        text: &str,
        language: Language,
        groups: &[Group],
        stop: &AtomicBool,
    ) -> Result<()> {
        self.characters.fill(text, stop)?;
        self.fill_words(text, language, Asked::by(groups), stop)?;
        self.fill_sentences(text, stop)
    }

    fn fill_words(&mut self, text: &str, language: Language, asked: Asked, stop: &AtomicBool) -> Result<()> {
        self.words = Words::default();
        self.starts.clear();
        self.starts.resize(text.len() / 64 + 1, 0);
        let mut source = Own {
            language,
            asked,
            segmenter: &mut self.segmenter,
            has_capitals: self.characters.totals.of(Kind::is_upper) > 0,
            starts: &mut self.starts,
            words: &mut self.words,
        };
        let vocabulary = &mut self.vocabularies[language as usize];
        vocabulary.begin();
        self.sequence.fill(&[text], vocabulary, &mut source, stop)
    }

    fn fill_sentences(&mut self, text: &str, stop: &AtomicBool) -> Result<()> {
        self.begins.clear();
        self.begins.resize(self.sequence.counts.len(), false);
        let mut sentences = Sentences::default();
        let mut first_word = 0;
        for (start, end) in text::sentences(text) {
            unless_stopped(stop)?;
            let words = ones(&self.starts, start as usize, end as usize);
            let sentence = trim(&text[start as usize..end as usize]);
            if sentences.add(sentence, words) && words > 0 {
                let word = self.sequence.types[first_word] as usize;
                sentences.worded += 1;
                sentences.repeated += u32::from(std::mem::replace(&mut self.begins[word], true));
            }
            first_word += words as usize;
        }
        self.sentences = sentences;
        Ok(())
    }
}

/// The words of the language of a response, and what is summed up of them.
struct Own<'a> {
    language: Language,
    asked: Asked,
    segmenter: &'a mut Option<Box<Segmenter>>,
    has_capitals: bool,
    starts: &'a mut [u64],
    words: &'a mut Words,
}

impl Source for Own<'_> {
    fn part(&mut self, text: &str, at: usize, places: &mut Vec<(u32, u32)>) -> usize {
        match self.language {
            Language::English | Language::Spaced => text::words_from(text, at, places),
            Language::Chinese => {
                let segmenter = self.segmenter.get_or_insert_with(Box::default);
                let end = segmenter.cut_from(text, at, places);
                places.retain(|&(start, end)| has_alphanumeric(&text[start as usize..end as usize]));
                end
            }
            Language::Other => {
                places.clear();
                text.len()
            }
        }
    }

    fn met(&mut self, text: &str, places: &[(u32, u32)]) {
        self.words.all += places.len() as u32;
        for &(start, end) in places {
            self.starts[start as usize / 64] |= 1 << (start % 64);
            let word = &text[start as usize..end as usize];
            if self.asked.cases && self.has_capitals {
                self.words.cases.add(word);
            }
            if self.asked.formulas && self.language == Language::Chinese {
                self.words.of_four += u32::from(is_of_four(word));
            }
        }
    }

    fn counted(&mut self, vocabulary: &Vocabulary, numbers: &[u32], counts: &[u32]) {
        let Words { lengths, classes, formulas, .. } = &mut *self.words;
        for (&number, &count) in numbers.iter().zip(counts) {
            let word = vocabulary.word(number);
            if self.asked.lengths {
                lengths.add(word, count, self.language);
            }
            if self.asked.classes {
                classes.add(word, count);
            }
            if self.asked.formulas {
                formulas.add(word, count);
            }
        }
    }
}

/// How many of the bits from one to another are set.
fn ones(bits: &[u64], start: usize, end: usize) -> u32 {
    let (first, last) = (start / 64, end / 64);
    let (from, to) = (u64::MAX << (start % 64), !(u64::MAX << (end % 64)));
    if first == last {
        return (bits[first] & from & to).count_ones();
    }
    let between: u32 = bits[first + 1..last].iter().map(|bits| bits.count_ones()).sum();
    (bits[first] & from).count_ones() + between + (bits[last] & to).count_ones()
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

impl Sentences {
    /// Adds a sentence without white space at its ends in which so many words begin, unless it has neither letter nor
    /// digit.
    fn add(&mut self, sentence: &str, words: u32) -> bool {
        if !has_alphanumeric(sentence) {
            return false;
        }
        let after = || sentence.chars().rev().take_while(|c| !Kind::of(*c).is_alphanumeric());
        let asks = after().any(|c| c == '?' || QUESTIONS.contains(&c)) || asks_within(sentence);
        let exclaims = after().any(|c| c == '!' || EXCLAMATIONS.contains(&c));
        let first_letter = sentence.chars().map(Kind::of).find(|kind| kind.is_letter());
        if self.words.n == 0 {
            self.first_words = words;
        }
        self.last_words = words;
        self.characters.add(sentence.chars().count() as u32, 1);
        self.words.add(words, 1);
        self.asking += u32::from(asks);
        self.exclaiming += u32::from(exclaims);
        self.lower += u32::from(first_letter.is_some_and(Kind::is_lower));
        self.upper += u32::from(first_letter.is_some_and(Kind::is_upper));
        true
    }
}
