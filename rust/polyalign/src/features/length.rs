//! How long the response, its sentences, lines and paragraphs are.

use super::analysis::{self, Analysis};
use super::registry::Id;
use super::row::{Row, Spread};

pub(super) fn fill(text: &str, of: &Analysis, row: &mut Row<'_>) {
    let characters = of.characters.all;
    row.count(Id::char_count, characters);
    row.count(Id::char_no_space_count, of.characters.totals.visible);
    row.count(Id::newline_count, of.characters.count('\n'));
    lines(text, of, row);
    sentences(of, row);
}

fn lines(text: &str, of: &Analysis, row: &mut Row<'_>) {
    let (mut lines, mut paragraphs) = (Spread::default(), Spread::default());
    let mut paragraph = Paragraph::default();
    for line in analysis::lines(text) {
        let whole = line.text.len() == text.len();
        let characters = if whole { of.characters.all } else { line.text.chars().count() as u32 };
        lines.add(characters, 1);
        if line.begins_paragraph && paragraph.lines > 0 {
            paragraphs.add(paragraph.characters(text), 1);
            paragraph = Paragraph::default();
        }
        if paragraph.lines == 0 {
            (paragraph.start, paragraph.of_first) = (line.start, characters);
        }
        paragraph.end = line.start + line.text.len();
        paragraph.lines += 1;
    }
    if paragraph.lines > 0 {
        paragraphs.add(paragraph.characters(text), 1);
    }
    row.count(Id::line_count, lines.n);
    row.set(Id::line_chars_mean, lines.mean());
    row.set(Id::line_chars_max, lines.greatest());
    row.count(Id::paragraph_count, paragraphs.n);
    row.set(Id::paragraph_chars_mean, paragraphs.mean());
    row.ratio(Id::paragraph_sentences_mean, of.sentences.words.n, paragraphs.n);
}

/// Lines without a blank one between them.
#[derive(Default)]
struct Paragraph {
    start: usize,
    end: usize,
    lines: u32,
    /// Characters of the first line.
    of_first: u32,
}

impl Paragraph {
    fn characters(&self, text: &str) -> u32 {
        if self.lines == 1 { self.of_first } else { text[self.start..self.end].chars().count() as u32 }
    }
}

fn sentences(of: &Analysis, row: &mut Row<'_>) {
    let characters = of.sentences.characters;
    row.count(Id::sentence_count, characters.n);
    row.set(Id::sentence_chars_mean, characters.mean());
    row.set(Id::sentence_chars_std, characters.std());
    row.set(Id::sentence_chars_min, characters.least());
    row.set(Id::sentence_chars_max, characters.greatest());
    let words = of.sentences.words;
    row.count(Id::word_count, of.words.all);
    row.set(Id::sentence_words_mean, words.mean());
    row.set(Id::sentence_words_std, words.std());
    row.set(Id::sentence_words_min, words.least());
    row.set(Id::sentence_words_max, words.greatest());
    if words.n > 0 {
        row.count(Id::first_sentence_words, of.sentences.first_words);
        row.count(Id::last_sentence_words, of.sentences.last_words);
    }
}
