//! Case, digits, scripts.

use super::analysis::Analysis;
use super::characters::Kind;
use super::registry::Id;
use super::row::Row;
use super::words::Cases;

pub(super) fn fill(text: &str, of: &Analysis, row: &mut Row<'_>) {
    let digits = shares(of, row);
    row.count(Id::elongation_count, of.characters.elongations);
    let numbers = if digits > 0 { numbers(text) } else { Numbers::default() };
    row.count(Id::number_count, numbers.all);
    row.count(Id::year_count, numbers.years);
    row.count(Id::ordinal_count, numbers.ordinals);
    words(of, row);
    let first = text.chars().map(Kind::of).find(|kind| kind.is_letter());
    if let Some(first) = first {
        row.yes(Id::begins_lower_case, first.is_lower());
    }
}

/// Sets what follows from the characters alone; returns the digits.
fn shares(of: &Analysis, row: &mut Row<'_>) -> u32 {
    let totals = &of.characters.totals;
    let letters = totals.of(Kind::is_letter);
    let digits = totals.of(|kind| kind == Kind::Digit);
    row.ratio(Id::letter_share, letters, totals.visible);
    row.ratio(Id::uppercase_share, totals.of(Kind::is_upper), letters);
    row.ratio(Id::digit_share, digits, totals.visible);
    row.ratio(Id::non_ascii_share, totals.beyond_ascii, totals.visible);
    row.ratio(Id::han_share, totals.of(|kind| kind == Kind::HanLetter), letters);
    row.ratio(Id::latin_share, totals.of(Kind::is_latin), letters);
    let wide = totals.of(|kind| matches!(kind, Kind::WidePunctuation | Kind::WideSymbol));
    row.ratio(Id::full_width_share, wide, totals.of(Kind::is_mark));
    digits
}

#[derive(Default)]
struct Numbers {
    all: u32,
    years: u32,
    ordinals: u32,
}

/// Matches of `\p{Nd}+(?:[.,]\p{Nd}+)*`, with what follows them.
fn numbers(text: &str) -> Numbers {
    let mut found = Numbers::default();
    let mut rest = text;
    while let Some(start) = rest.find(is_digit) {
        let end = start + number_len(&rest[start..]);
        let number = &rest[start..end];
        found.all += 1;
        let year = number.len() == 4 && number.parse().is_ok_and(|year: u32| (1500..=2100).contains(&year));
        found.years += u32::from(year);
        found.ordinals += u32::from(is_ordinal(&rest[end..]));
        rest = &rest[end..];
    }
    found
}

fn is_digit(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_digit() } else { Kind::of(c) == Kind::Digit }
}

fn number_len(text: &str) -> usize {
    let mut len = 0;
    loop {
        len = text[len..].find(|c| !is_digit(c)).map_or(text.len(), |more| len + more);
        let mut after = text[len..].chars();
        if !(matches!(after.next(), Some('.' | ',')) && after.next().is_some_and(is_digit)) {
            return len;
        }
        len += 1;
    }
}

/// Whether `st`, `nd`, `rd` or `th` in any case comes next, and no letter or digit after it.
fn is_ordinal(rest: &str) -> bool {
    let ending = rest.get(..2).map(str::to_ascii_lowercase);
    ending.is_some_and(|ending| ["st", "nd", "rd", "th"].contains(&ending.as_str()))
        && !rest[2..].starts_with(|c| Kind::of(c).is_alphanumeric())
}

fn words(of: &Analysis, row: &mut Row<'_>) {
    let Cases { all_caps, title_case } = of.words.cases;
    row.count(Id::all_caps_word_count, all_caps);
    row.ratio(Id::title_case_share, title_case, of.words.all);
    row.ratio(Id::sentence_capital_share, of.sentences.upper, of.sentences.upper + of.sentences.lower);
}
