//! Readability formulas and what goes into them.

use super::analysis::Analysis;
use super::characters::Kind;
use super::language::Language;
use super::registry::Id;
use super::row::Row;
use super::words::Formulas;
use crate::text::chinese::is_common;

pub(super) fn fill(text: &str, of: &Analysis, language: Language, row: &mut Row<'_>) {
    match language {
        Language::Chinese => chinese(text, of, row),
        Language::Other => {}
        Language::English | Language::Spaced => spaced(of, language, row),
    }
}

fn spaced(of: &Analysis, language: Language, row: &mut Row<'_>) {
    let (words, sentences) = (of.words.all, of.sentences.words.n);
    if words == 0 {
        return;
    }
    let Formulas { syllables, polysyllables, long, characters, letters } = of.words.formulas;
    // A word may be all combining marks, which make no sentence.
    let per = |part: u32, whole: u32| if whole == 0 { f64::NAN } else { f64::from(part) / f64::from(whole) };
    row.set(Id::lix, per(words, sentences) + 100.0 * per(long, words));
    row.ratio(Id::rix, long, sentences);
    if language != Language::English {
        return;
    }
    let (words_a_sentence, syllables_a_word) = (per(words, sentences), per(syllables, words));
    row.set(Id::syllables_per_word, syllables_a_word);
    row.ratio(Id::polysyllable_share, polysyllables, words);
    row.set(Id::flesch_reading_ease, 206.835 - 1.015 * words_a_sentence - 84.6 * syllables_a_word);
    row.set(Id::flesch_kincaid_grade, 0.39 * words_a_sentence + 11.8 * syllables_a_word - 15.59);
    row.set(Id::gunning_fog, 0.4 * (words_a_sentence + 100.0 * per(polysyllables, words)));
    row.set(Id::smog_index, 1.043 * (30.0 * per(polysyllables, sentences)).sqrt() + 3.1291);
    row.set(Id::coleman_liau_index, 5.88 * per(letters, words) - 29.6 * per(sentences, words) - 15.8);
    row.set(Id::automated_readability_index, 4.71 * per(characters, words) + 0.5 * words_a_sentence - 21.43);
}

/// Ends of clauses, beside line ends.
fn ends_clause(c: char) -> bool {
    matches!(c, '，' | '；' | '：' | '。' | '！' | '？' | '…' | ',' | ';' | ':' | '!' | '?' | '\n')
}

fn chinese(text: &str, of: &Analysis, row: &mut Row<'_>) {
    let clauses = text.split(ends_clause).map(str::trim);
    let (mut found, mut characters) = (0, 0);
    for clause in clauses.filter(|clause| super::analysis::has_alphanumeric(clause)) {
        found += 1;
        characters += clause.chars().count() as u32;
    }
    row.ratio(Id::clause_chars_mean, characters, found);
    row.ratio(Id::clauses_per_sentence, found, of.sentences.words.n);
    let (mut han, mut common) = (0, 0);
    for (c, count) in of.characters.each().filter(|(c, _)| Kind::of(*c) == Kind::HanLetter) {
        han += count;
        common += if is_common(c) { count } else { 0 };
    }
    row.ratio(Id::common_character_share, common, han);
    row.ratio(Id::four_character_word_share, of.words.of_four, of.words.all);
}
