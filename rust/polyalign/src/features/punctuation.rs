//! Marks.

use super::analysis::Analysis;
use super::characters::Kind;
use super::registry::Id;
use super::row::Row;
use crate::text::marks::*;

pub(super) fn fill(text: &str, of: &Analysis, row: &mut Row<'_>) {
    let totals = &of.characters.totals;
    let marks = totals.of(Kind::is_mark);
    row.count(Id::punctuation_count, marks);
    row.ratio(Id::punctuation_share, marks, totals.visible);
    row.count(Id::symbol_count, totals.of(|kind| matches!(kind, Kind::Symbol | Kind::WideSymbol)));
    let characters = &of.characters;
    let any = |ascii: char, others: &[char]| characters.count(ascii) + characters.beyond_ascii(others);
    let greek = greek_questions(text, of);
    let (questions, exclamations, commas) =
        (any('?', &QUESTIONS) + greek, any('!', &EXCLAMATIONS), any(',', &COMMAS));
    row.count(Id::question_mark_count, questions);
    row.count(Id::exclamation_mark_count, exclamations);
    row.count(Id::comma_count, commas);
    row.count(Id::period_count, any('.', &PERIODS));
    row.count(Id::semicolon_count, any(';', &SEMICOLONS) - greek);
    row.count(Id::colon_count, any(':', &COLONS));
    row.count(Id::ellipsis_count, of.characters.ellipses);
    row.count(Id::quote_count, characters.any(['"', '“', '”', '„', '«', '»', '「', '」', '『', '』', '＂']));
    row.count(Id::apostrophe_count, characters.any(['\'', '’']));
    row.count(Id::hyphen_count, characters.any(['-', '‐']));
    row.count(Id::dash_count, characters.any(['–', '—', '―']));
    row.count(Id::slash_count, characters.any(['/', '／']));
    row.count(Id::parenthesis_count, characters.any(['(', ')', '（', '）']));
    row.count(
        Id::bracket_count,
        characters.any(['[', ']', '{', '}', '【', '】', '［', '］', '｛', '｝', '《', '》', '〈', '〉']),
    );
    let sentences = of.sentences.words.n;
    row.ratio(Id::commas_per_sentence, commas, sentences);
    row.ratio(Id::question_sentence_share, of.sentences.asking, sentences);
    row.ratio(Id::exclamation_sentence_share, of.sentences.exclaiming, sentences);
    if !text.is_empty() {
        row.yes(Id::ends_with_mark, ends_with_mark(text));
    }
    row.count(Id::repeated_mark_count, if questions + exclamations > 1 { repeated_marks(text) } else { 0 });
}

/// Semicolons that ask.
fn greek_questions(text: &str, of: &Analysis) -> u32 {
    if of.characters.count(';') == 0 || of.characters.totals.beyond_ascii == 0 {
        return 0;
    }
    text.match_indices(';').filter(|(at, _)| is_greek_question(&text[..*at])).count() as u32
}

fn ends_with_mark(text: &str) -> bool {
    let closing = ['"', '\'', '”', '’', '»', '」', '』', ')', '）', ']', '】', '》'];
    let end = text.trim_end_matches(closing);
    end.ends_with(['.', '!', '?', '…'])
        || end.ends_with(PERIODS)
        || end.ends_with(EXCLAMATIONS)
        || end.ends_with(QUESTIONS)
        || end.strip_suffix(';').is_some_and(is_greek_question)
}

/// Runs of two or more question and exclamation marks.
fn repeated_marks(text: &str) -> u32 {
    let is_mark = |c: char| matches!(c, '!' | '?') || QUESTIONS.contains(&c) || EXCLAMATIONS.contains(&c);
    let (mut found, mut run) = (0, 0);
    for c in text.chars() {
        run = if is_mark(c) { run + 1 } else { 0 };
        found += u32::from(run == 2);
    }
    found
}
