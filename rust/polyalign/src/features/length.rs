//! How long the response, its sentences, lines and paragraphs are.

use super::analysis::Analysis;
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
    let lines = Spread::of(of.lines.iter().map(|line| line.characters));
    row.count(Id::line_count, lines.n);
    row.set(Id::line_chars_mean, lines.mean());
    row.set(Id::line_chars_max, lines.greatest());
    let paragraphs = of.lines.chunk_by(|_, next| !next.begins_paragraph);
    let characters = paragraphs.map(|lines| match lines {
        [] => 0,
        [line] => line.characters,
        [first, .., last] => text[first.start as usize..last.end as usize].chars().count() as u32,
    });
    let paragraphs = Spread::of(characters);
    row.count(Id::paragraph_count, paragraphs.n);
    row.set(Id::paragraph_chars_mean, paragraphs.mean());
    row.ratio(Id::paragraph_sentences_mean, of.sentences.len() as u32, paragraphs.n);
}

fn sentences(of: &Analysis, row: &mut Row<'_>) {
    let characters = Spread::of(of.sentences.iter().map(|sentence| sentence.characters));
    row.count(Id::sentence_count, characters.n);
    row.set(Id::sentence_chars_mean, characters.mean());
    row.set(Id::sentence_chars_std, characters.std());
    row.set(Id::sentence_chars_min, characters.least());
    row.set(Id::sentence_chars_max, characters.greatest());
    let words = Spread::of(of.sentences.iter().map(|sentence| sentence.words));
    row.count(Id::word_count, of.words.len() as u32);
    row.set(Id::sentence_words_mean, words.mean());
    row.set(Id::sentence_words_std, words.std());
    row.set(Id::sentence_words_min, words.least());
    row.set(Id::sentence_words_max, words.greatest());
    if let [first, ..] = of.sentences[..] {
        row.count(Id::first_sentence_words, first.words);
    }
    if let [.., last] = of.sentences[..] {
        row.count(Id::last_sentence_words, last.words);
    }
}
