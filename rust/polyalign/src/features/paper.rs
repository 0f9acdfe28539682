//! The features of the paper's published code, value for value.
//!
//! Those that depend on its English tools (NLTK's tokeniser, tagger and sentiment) are left out: their definitions are free,
//! and ours are other features. The rest are defined for every text, but that sentences and tokens are only for Chinese.

use super::language::Language;
use super::sequence::{Numbering, Sequence, Source};
use super::vocabulary::{Vocabulary, syllables};
use crate::Result;
use crate::error::unless_stopped;
use crate::text::class::ClassTable;
use std::cell::RefCell;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

/// The features' names, in the order of [`extract`]. The last [`CHINESE`] are of Chinese texts alone.
pub const NAMES: [&str; 69] = [
    "char_count",
    "char_no_space_count",
    "whitespace_count",
    "newline_count",
    "paragraph_count",
    "punctuation_count",
    "digit_char_count",
    "alphabetic_char_count",
    "uppercase_char_count",
    "lowercase_char_count",
    "non_ascii_char_count",
    "word_token_count",
    "unique_word_count",
    "avg_word_length",
    "short_word_count",
    "medium_word_count",
    "long_word_count",
    "very_long_word_count",
    "short_word_ratio",
    "long_word_ratio",
    "very_long_word_ratio",
    "type_token_ratio",
    "root_ttr",
    "corrected_ttr",
    "hapax_ratio",
    "dislegomena_ratio",
    "distinct_1",
    "distinct_2",
    "distinct_3",
    "repeated_token_ratio",
    "question_mark_count",
    "exclamation_mark_count",
    "comma_count",
    "semicolon_count",
    "colon_count",
    "period_count",
    "ellipsis_count",
    "quote_count",
    "apostrophe_count",
    "hyphen_count",
    "slash_count",
    "parenthesis_count",
    "bracket_count",
    "year_token_count",
    "ordinal_token_count",
    "url_count",
    "email_count",
    "bullet_line_count",
    "enumerated_line_count",
    "code_fence_count",
    "inline_code_marker_count",
    "repeated_char_sequence_count",
    "avg_syllables_per_word",
    "token_count",
    "sentence_count",
    "avg_char_per_token",
    "avg_char_per_sentence",
    "avg_tokens_per_sentence",
    "min_tokens_per_sentence",
    "max_tokens_per_sentence",
    "std_tokens_per_sentence",
    "avg_sentence_char_length",
    "min_sentence_char_length",
    "max_sentence_char_length",
    "std_sentence_char_length",
    "punctuation_density",
    "question_sentence_ratio",
    "exclam_sentence_ratio",
    "terminal_punctuation_ratio",
];

/// How many of [`NAMES`], at their end, are of Chinese texts alone.
pub const CHINESE: usize = 16;

/// The paper's features of a text, in the order of [`NAMES`], rounded to six decimals; NaN where they are not defined.
///
/// ```
/// # use polyalign::features::paper::{NAMES, extract};
/// let values = extract("Don't panic: 42!", false);
/// let value = |name| values[NAMES.iter().position(|n| *n == name).unwrap()];
/// assert_eq!(value("word_token_count"), 3.0);
/// assert_eq!(value("avg_word_length"), 4.0);
/// assert!(value("sentence_count").is_nan());
/// ```
pub fn extract(text: &str, chinese: bool) -> [f64; 69] {
    match extract_unless(text, chinese, &AtomicBool::new(false)) {
        Ok(values) => values,
        Err(_) => unreachable!("nothing stops it"),
    }
}

/// The same, unless it is stopped.
///
/// # Errors
/// [`Interrupted`](crate::Error::Interrupted) soon after `stop` is set.
pub fn extract_unless(text: &str, chinese: bool, stop: &AtomicBool) -> Result<[f64; 69]> {
    let text = normalise(text);
    let mut out = Values { values: [f64::NAN; 69], n: 0 };
    characters(&text, &mut out);
    let syllables = lexical(&text, &mut out, stop)?;
    marks(&text, &mut out);
    patterns(&text, &mut out, stop)?;
    out.push(syllables);
    debug_assert_eq!(out.n, NAMES.len() - CHINESE);
    if chinese {
        sentences(&text, &mut out, stop)?;
    }
    Ok(out.values.map(round))
}

struct Values {
    values: [f64; 69],
    n: usize,
}

impl Values {
    fn push(&mut self, value: f64) {
        self.values[self.n] = value;
        self.n += 1;
    }

    fn count(&mut self, count: usize) {
        self.push(count as f64);
    }
}

/// A ratio with denominator 0 is 0.
fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

/// To six decimals as Python rounds: the decimal nearest to the exact value, a tie to even.
fn round(value: f64) -> f64 {
    if value.is_nan() || value.fract() == 0.0 {
        return value;
    }
    format!("{value:.6}").parse().unwrap_or(value)
}

const SPACE: u8 = 1;
const MARK: u8 = 0;
const UNDERSCORE: u8 = 2;
const LETTER: u8 = 3;
const NUMBER: u8 = 4;
const DIGIT: u8 = 5;
/// Digits that are no decimal digits: `str.isdigit` has them, `\d` has not.
const OTHER_DIGIT: u8 = 6;

/// Python's classes: `\s` is `str.isspace`, `\w` is `str.isalnum` or `_`.
static CLASSES: LazyLock<ClassTable> = LazyLock::new(|| {
    ClassTable::new(&[
        (r"[\p{White_Space}\x1C-\x1F]", SPACE),
        (r"\p{N}", NUMBER),
        (r"\p{L}", LETTER),
        (r"\p{Nd}", DIGIT),
        (
            r"[\u00B2\u00B3\u00B9\u1369-\u1371\u19DA\u2070\u2074-\u2079\u2080-\u2089\u2460-\u2468\u2474-\u247C\u2488-\u2490\u24EA\u24F5-\u24FD\u24FF\u2776-\u277E\u2780-\u2788\u278A-\u2792\x{10A40}-\x{10A43}\x{10E60}-\x{10E68}\x{11052}-\x{1105A}\x{1F100}-\x{1F10A}]",
            OTHER_DIGIT,
        ),
    ])
});

fn class(c: char) -> u8 {
    if c == '_' { UNDERSCORE } else { CLASSES.get(c) }
}

fn is_space(c: char) -> bool {
    class(c) == SPACE
}

fn is_mark(c: char) -> bool {
    class(c) == MARK
}

/// `\w`.
fn is_word(c: char) -> bool {
    class(c) >= UNDERSCORE
}

/// `\d`.
fn is_decimal(c: char) -> bool {
    class(c) == DIGIT
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}')
}

/// One kind of line end, one space between words, one blank line between paragraphs, nothing at the ends.
pub fn normalise(text: &str) -> String {
    let text = text.trim_matches(is_space);
    let mut out = String::with_capacity(text.len());
    let mut blank = false;
    // Of `\r\n` one line end, of `\r` another.
    let lines = text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'));
    for line in lines {
        let mut words = line.split(is_space).filter(|word| !word.is_empty());
        let Some(first) = words.next() else {
            blank = true;
            continue;
        };
        if !out.is_empty() {
            out.push_str(if blank { "\n\n" } else { "\n" });
        }
        blank = false;
        out.push_str(first);
        for word in words {
            out.push(' ');
            out.push_str(word);
        }
    }
    out
}

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// ASCII letters, with an apostrophe and more of them, perhaps.
    Alpha,
    Digits,
    Han,
    Mark,
}

#[derive(Clone, Copy)]
struct Token {
    kind: Kind,
    /// Its first byte, and the one after its last.
    start: usize,
    end: usize,
}

/// The end of the run of such characters that begins at a byte.
fn run(text: &str, start: usize, is: impl Fn(char) -> bool) -> usize {
    text[start..].find(|c| !is(c)).map_or(text.len(), |length| start + length)
}

/// Matches of `[A-Za-z]+(?:'[A-Za-z]+)?|\d+|[㐀-䶿一-鿿豈-﫿]|[^\w\s]`, from a byte on.
fn tokens(text: &str, mut at: usize) -> impl Iterator<Item = Token> {
    let letter = |c: char| c.is_ascii_alphabetic();
    std::iter::from_fn(move || {
        loop {
            let start = at;
            let c = text[start..].chars().next()?;
            at += c.len_utf8();
            let kind = if letter(c) {
                at = run(text, at, letter);
                if text[at..].strip_prefix('\'').is_some_and(|rest| rest.starts_with(letter)) {
                    at = run(text, at + 1, letter);
                }
                Kind::Alpha
            } else if is_decimal(c) {
                at = run(text, at, is_decimal);
                Kind::Digits
            } else if is_han(c) {
                Kind::Han
            } else if is_mark(c) {
                Kind::Mark
            } else {
                continue;
            };
            return Some(Token { kind, start, end: at });
        }
    })
}

fn characters(text: &str, out: &mut Values) {
    let [mut all, mut visible, mut spaces, mut newlines, mut paragraphs, mut marks] = [0; 6];
    let [mut digits, mut letters, mut upper, mut lower, mut beyond_ascii] = [0; 5];
    // Of the two characters before: whether they are line ends.
    let mut before = [true, true];
    for c in text.chars() {
        let class = class(c);
        all += 1;
        visible += usize::from(c != ' ' && c != '\n');
        spaces += usize::from(class == SPACE);
        newlines += usize::from(c == '\n');
        paragraphs += usize::from(c != '\n' && before == [true, true]);
        before = [before[1], c == '\n'];
        marks += usize::from(class == MARK);
        digits += usize::from(matches!(class, DIGIT | OTHER_DIGIT));
        letters += usize::from(class == LETTER);
        upper += usize::from(c.is_uppercase());
        lower += usize::from(c.is_lowercase());
        beyond_ascii += usize::from(!c.is_ascii());
    }
    let counts =
        [all, visible, spaces, newlines, paragraphs, marks, digits, letters, upper, lower, beyond_ascii];
    counts.into_iter().for_each(|count| out.count(count));
}

/// The tokens that are no marks, summed up as they come.
#[derive(Default)]
struct Words {
    all: usize,
    /// Characters.
    characters: usize,
    /// Of up to 3 characters, of 4 to 6, of 7 and more, of 11 and more.
    by_length: [usize; 4],
    /// Of ASCII letters; syllables of these.
    spelt: u64,
    syllables: u64,
}

/// Tokens at hand at a time.
const PART: usize = 1 << 12;

impl Source for Words {
    fn part(&mut self, text: &str, at: usize, places: &mut Vec<(u32, u32)>) -> usize {
        places.clear();
        let mut end = text.len();
        for token in tokens(text, at) {
            if token.kind != Kind::Mark {
                places.push((token.start as u32, token.end as u32));
            }
            if places.len() == PART {
                end = token.end;
                break;
            }
        }
        end
    }

    fn met(&mut self, text: &str, places: &[(u32, u32)]) {
        for &(start, end) in places {
            let word = &text[start as usize..end as usize];
            let length = word.chars().count();
            self.all += 1;
            self.characters += length;
            let is = [length <= 3, (4..=6).contains(&length), length >= 7, length >= 11];
            self.by_length.iter_mut().zip(is).for_each(|(count, is)| *count += usize::from(is));
            if word.starts_with(|c: char| c.is_ascii_alphabetic()) {
                self.spelt += 1;
                self.syllables += u64::from(syllables(word));
            }
        }
    }
}

/// Working memory, kept from text to text.
struct Scratch {
    vocabulary: Vocabulary,
    sequence: Sequence,
    triples: Numbering,
}

thread_local! {
    static SCRATCH: RefCell<Option<Scratch>> = const { RefCell::new(None) };
}

/// Puts in what words say; syllables of a word on average come back.
fn lexical(text: &str, out: &mut Values, stop: &AtomicBool) -> Result<f64> {
    let new = || Scratch {
        vocabulary: Vocabulary::new(Language::Other),
        sequence: Sequence::default(),
        triples: Numbering::default(),
    };
    SCRATCH.with_borrow_mut(|kept| {
        let scratch = kept.get_or_insert_with(new);
        let mut words = Words::default();
        let Scratch { vocabulary, sequence, triples } = scratch;
        vocabulary.begin();
        sequence.fill(&[text], vocabulary, &mut words, stop)?;
        let grams = [sequence.pairs.len(), sequence.triples(triples, stop)?];
        words.report(&sequence.counts, grams, out);
        if text.len() > super::LONG {
            *kept = None;
        }
        Ok(ratio(words.syllables as f64, words.spelt as f64))
    })
}

impl Words {
    /// With how often each type occurs, and different pairs and triples in a row.
    fn report(&self, counts: &[u32], [pairs, triples]: [u32; 2], out: &mut Values) {
        let (n, types) = (self.all as f64, counts.len() as f64);
        let [short, _, long, very_long] = self.by_length;
        out.push(n);
        out.push(types);
        out.push(ratio(self.characters as f64, n));
        self.by_length.into_iter().for_each(|count| out.count(count));
        [short, long, very_long].into_iter().for_each(|count| out.push(ratio(count as f64, n)));
        out.push(ratio(types, n));
        out.push(ratio(types, n.sqrt()));
        out.push(ratio(types, (2.0 * n).sqrt()));
        let seen = |times: u32| counts.iter().filter(|count| **count == times).count() as f64;
        out.push(ratio(seen(1), n));
        out.push(ratio(seen(2), n));
        out.push(ratio(types, n));
        out.push(ratio(pairs.into(), self.all.saturating_sub(1) as f64));
        out.push(ratio(triples.into(), self.all.saturating_sub(2) as f64));
        out.push(ratio(n - types, n));
    }
}

const MARKS: [&str; 6] = ["?？", "!！", ",，", ";；", ":：", ".。"];
const MORE_MARKS: [&str; 6] = ["\"“”‘’「」『』", "'", "-–—－", "/", "()（）", "[]{}【】"];

fn marks(text: &str, out: &mut Values) {
    let (mut counts, mut more, mut ellipses) = ([0; 6], [0; 6], 0);
    for c in text.chars().filter(|c| is_mark(*c)) {
        let add = |counts: &mut [usize; 6], sets: [&str; 6]| {
            counts.iter_mut().zip(sets).for_each(|(count, set)| *count += usize::from(set.contains(c)));
        };
        add(&mut counts, MARKS);
        add(&mut more, MORE_MARKS);
        ellipses += usize::from(c == '…');
    }
    ellipses += runs(text).filter(|(c, _)| *c == '.').map(|(_, length)| length / 3).sum::<usize>();
    counts.into_iter().chain([ellipses]).chain(more).for_each(|count| out.count(count));
}

/// Runs of one character, with their lengths.
fn runs(text: &str) -> impl Iterator<Item = (char, usize)> {
    let mut rest = text.chars();
    let mut next = rest.next();
    std::iter::from_fn(move || {
        let c = next?;
        let mut length = 1;
        loop {
            next = rest.next();
            if next != Some(c) {
                return Some((c, length));
            }
            length += 1;
        }
    })
}

fn patterns(text: &str, out: &mut Values, stop: &AtomicBool) -> Result<()> {
    for count in [years, ordinals, urls, emails] {
        unless_stopped(stop)?;
        out.count(count(text));
    }
    unless_stopped(stop)?;
    out.count(text.split('\n').filter(|line| is_bullet(line)).count());
    out.count(text.split('\n').filter(|line| is_enumerated(line)).count());
    let (mut fences, mut backticks, mut repeated) = (0, 0, 0);
    for (c, length) in runs(text) {
        if c == '`' {
            fences += length / 3;
            backticks += length;
        }
        repeated += usize::from(c != '\n' && length > 2);
    }
    [fences, backticks, repeated].into_iter().for_each(|count| out.count(count));
    Ok(())
}

/// `\b` at a byte.
fn is_boundary(text: &str, at: usize) -> bool {
    text[..at].ends_with(is_word) != text[at..].starts_with(is_word)
}

/// `\b(?:1[5-9]\d\d|20\d\d|2100)\b`.
fn years(text: &str) -> usize {
    let is_year = |&at: &usize| {
        let mut chars = text[at..].chars();
        let mut next = || chars.next().unwrap_or(' ');
        let four = [next(), next(), next(), next()];
        let is_year = match four {
            ['1', '5'..='9', a, b] | ['2', '0', a, b] => is_decimal(a) && is_decimal(b),
            _ => four == ['2', '1', '0', '0'],
        };
        let length: usize = four.iter().map(|c| c.len_utf8()).sum();
        is_year && is_boundary(text, at) && is_boundary(text, at + length)
    };
    memchr::memchr2_iter(b'1', b'2', text.as_bytes()).filter(is_year).count()
}

/// The rest of `text` if it starts with `pattern` in any case. The long s is an s in Python's eyes.
fn after<'a>(text: &'a str, pattern: &str) -> Option<&'a str> {
    let folded = |c: char| if c == 'ſ' { 's' } else { c.to_ascii_lowercase() };
    let mut rest = text.chars();
    pattern.chars().all(|p| rest.next().is_some_and(|c| folded(c) == p)).then_some(rest.as_str())
}

/// `\b\d+(?:st|nd|rd|th)\b`, any case.
fn ordinals(text: &str) -> usize {
    let (mut found, mut at) = (0, 0);
    while let Some(start) = text[at..].find(is_decimal).map(|more| at + more) {
        at = run(text, start, is_decimal);
        let rest = ["st", "nd", "rd", "th"].iter().find_map(|suffix| after(&text[at..], suffix));
        let ends = |rest: &str| is_boundary(text, text.len() - rest.len());
        found += usize::from(is_boundary(text, start) && rest.is_some_and(ends));
    }
    found
}

/// `https?://\S+|www\.\S+`, any case.
fn urls(text: &str) -> usize {
    let (mut found, mut at) = (0, 0);
    while let Some(start) = text[at..].find(['h', 'H', 'w', 'W']).map(|more| at + more) {
        let rest = ["https://", "http://", "www."].iter().find_map(|prefix| after(&text[start..], prefix));
        at = start + 1;
        if let Some(rest) = rest.filter(|rest| rest.starts_with(|c: char| !is_space(c))) {
            found += 1;
            at = run(text, text.len() - rest.len(), |c| !is_space(c));
        }
    }
    found
}

/// `\b[\w.+-]+@[\w-]+\.[\w.-]+\b`.
fn emails(text: &str) -> usize {
    let of_name = |c: char| is_word(c) || ".+-".contains(c);
    let (mut found, mut at) = (0, 0);
    while let Some(start) = text[at..].find(of_name).map(|more| at + more) {
        at = run(text, start, of_name);
        let mut starts = text[start..at].char_indices().map(|(place, _)| start + place);
        if text[at..].starts_with('@')
            && let Some(end) = after_name(text, at)
            && starts.any(|start| is_boundary(text, start))
        {
            found += 1;
            at = end;
        }
    }
    found
}

/// The end of `@[\w-]+\.[\w.-]+\b`, the first of which is at a byte.
fn after_name(text: &str, at: usize) -> Option<usize> {
    let host = run(text, at + 1, |c| is_word(c) || c == '-');
    if host == at + 1 || !text[host..].starts_with('.') {
        return None;
    }
    let end = run(text, host + 1, |c| is_word(c) || ".-".contains(c));
    let ends = text[host + 1..end].char_indices().rev().map(|(place, c)| host + 1 + place + c.len_utf8());
    ends.into_iter().find(|end| is_boundary(text, *end))
}

/// `[-*•]\s+`, in a normalised line.
fn is_bullet(line: &str) -> bool {
    let mut chars = line.chars();
    chars.next().is_some_and(|c| "-*•".contains(c)) && chars.next().is_some_and(is_space)
}

/// `(\d+|[A-Za-z])[.)]\s+`, in a normalised line.
fn is_enumerated(line: &str) -> bool {
    let mut chars = line.chars();
    let after = match chars.next() {
        Some(c) if is_decimal(c) => chars.find(|c| !is_decimal(*c)),
        Some(c) if c.is_ascii_alphabetic() => chars.next(),
        _ => None,
    };
    matches!(after, Some('.' | ')')) && chars.next().is_some_and(is_space)
}

/// The sentences of a text and how many tokens end in each: they end after each of `.!?。！？；;` and with their line.
fn each_sentence(text: &str, stop: &AtomicBool, mut each: impl FnMut(&str, f64)) -> Result<()> {
    let mut tokens = tokens(text, 0).peekable();
    let ends = text.match_indices(|c: char| ".!?。！？；;\n".contains(c)).map(|(at, end)| at + end.len());
    let mut start = 0;
    for end in ends.chain([text.len()]) {
        unless_stopped(stop)?;
        let sentence = text[start..end].trim_matches(is_space);
        let mut own = 0_u32;
        while tokens.next_if(|token| token.end <= end).is_some() {
            own += 1;
        }
        start = end;
        if !sentence.is_empty() {
            each(sentence, own.into());
        }
    }
    Ok(())
}

/// Mean, least and greatest of values, and the squares of their distances from the mean.
#[derive(Default)]
struct Spread {
    n: f64,
    sum: f64,
    min: Option<f64>,
    max: Option<f64>,
    squares: f64,
}

impl Spread {
    fn add(&mut self, value: f64) {
        self.n += 1.0;
        self.sum += value;
        self.min = Some(self.min.map_or(value, |min| min.min(value)));
        self.max = Some(self.max.map_or(value, |max| max.max(value)));
    }

    fn mean(&self) -> f64 {
        ratio(self.sum, self.n)
    }

    /// Once all are added, each again.
    fn add_square(&mut self, value: f64) {
        let distance = value - self.mean();
        self.squares += distance * distance;
    }

    /// Mean, minimum, maximum and population standard deviation; 0 of nothing.
    fn report(&self, out: &mut Values) {
        out.push(self.mean());
        out.push(self.min.unwrap_or(0.0));
        out.push(self.max.unwrap_or(0.0));
        out.push(ratio(self.squares, self.n).sqrt());
    }
}

fn sentences(text: &str, out: &mut Values, stop: &AtomicBool) -> Result<()> {
    let (mut lengths, mut owns) = (Spread::default(), Spread::default());
    let [mut asking, mut exclaiming, mut ended] = [0.0; 3];
    each_sentence(text, stop, |sentence, own| {
        owns.add(own);
        lengths.add(sentence.chars().count() as f64);
        asking += f64::from(u8::from(sentence.contains(['?', '？'])));
        exclaiming += f64::from(u8::from(sentence.contains(['!', '！'])));
        ended += f64::from(u8::from(sentence.ends_with(|c: char| ".!?。！？".contains(c))));
    })?;
    each_sentence(text, stop, |sentence, own| {
        owns.add_square(own);
        lengths.add_square(sentence.chars().count() as f64);
    })?;
    let [mut all, mut visible, mut marks] = [0.0; 3];
    for c in text.chars() {
        all += 1.0;
        visible += f64::from(u8::from(!matches!(c, ' ' | '\n')));
        marks += f64::from(u8::from(is_mark(c)));
    }
    let (tokens, n) = (tokens(text, 0).count() as f64, owns.n);
    out.push(tokens);
    out.push(n);
    out.push(ratio(visible, tokens));
    out.push(ratio(all, n));
    owns.report(out);
    lengths.report(out);
    out.push(ratio(marks, tokens));
    out.push(ratio(asking, n));
    out.push(ratio(exclaiming, n));
    out.push(ratio(ended, n));
    Ok(())
}
