//! The features of the paper's published code, value for value.
//!
//! Those that depend on its English tools (NLTK's tokeniser, tagger and sentiment) are left out: their definitions are free,
//! and ours are other features. The rest are defined for every text, but that sentences and tokens are only for Chinese.

use crate::text::class::ClassTable;
use std::collections::HashMap;
use std::sync::LazyLock;

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
    let text = normalise(text);
    let chars: Vec<char> = text.chars().collect();
    let tokens = tokens(&chars);
    let mut out = Values { values: [f64::NAN; 69], n: 0 };
    characters(&chars, &mut out);
    lexical(&tokens, &mut out);
    marks(&chars, &mut out);
    patterns(&text, &chars, &mut out);
    out.push(syllables(&tokens));
    debug_assert_eq!(out.n, NAMES.len() - CHINESE);
    if chinese {
        sentences(&chars, &tokens, &mut out);
    }
    out.values.map(round)
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
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(text.len());
    let mut blank = 0;
    for line in text.trim_matches(is_space).split('\n') {
        let mut words = line.split(is_space).filter(|word| !word.is_empty()).peekable();
        if words.peek().is_none() {
            blank += 1;
            continue;
        }
        if !out.is_empty() {
            out.push_str(if blank > 0 { "\n\n" } else { "\n" });
        }
        blank = 0;
        for (i, word) in words.enumerate() {
            if i > 0 {
                out.push(' ');
            }
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

struct Token {
    kind: Kind,
    /// Lower-cased if [`Kind::Alpha`].
    text: String,
    /// Characters.
    len: usize,
    /// The place after it.
    end: usize,
}

/// Matches of `[A-Za-z]+(?:'[A-Za-z]+)?|\d+|[㐀-䶿一-鿿豈-﫿]|[^\w\s]`.
fn tokens(chars: &[char]) -> Vec<Token> {
    let run =
        |from: usize, is: &dyn Fn(char) -> bool| from + chars[from..].iter().take_while(|c| is(**c)).count();
    let letter = |c: char| c.is_ascii_alphabetic();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let (kind, end) = if letter(c) {
            let end = run(at, &letter);
            let joined = chars.get(end) == Some(&'\'') && chars.get(end + 1).is_some_and(|c| letter(*c));
            (Kind::Alpha, if joined { run(end + 1, &letter) } else { end })
        } else if is_decimal(c) {
            (Kind::Digits, run(at, &is_decimal))
        } else if is_han(c) {
            (Kind::Han, at + 1)
        } else if is_mark(c) {
            (Kind::Mark, at + 1)
        } else {
            at += 1;
            continue;
        };
        let lower = kind == Kind::Alpha;
        let spell = |c: &char| if lower { c.to_ascii_lowercase() } else { *c };
        tokens.push(Token { kind, text: chars[at..end].iter().map(spell).collect(), len: end - at, end });
        at = end;
    }
    tokens
}

fn characters(chars: &[char], out: &mut Values) {
    let count = |is: &dyn Fn(char) -> bool| chars.iter().filter(|c| is(**c)).count();
    out.count(chars.len());
    out.count(count(&|c| c != ' ' && c != '\n'));
    out.count(count(&is_space));
    out.count(count(&|c| c == '\n'));
    let mut paragraphs = 0;
    for (i, &c) in chars.iter().enumerate() {
        paragraphs += usize::from(c != '\n' && (i == 0 || chars[..i].ends_with(&['\n', '\n'])));
    }
    out.count(paragraphs);
    out.count(count(&is_mark));
    out.count(count(&|c| matches!(class(c), DIGIT | OTHER_DIGIT)));
    out.count(count(&|c| class(c) == LETTER));
    out.count(count(&char::is_uppercase));
    out.count(count(&char::is_lowercase));
    out.count(count(&|c| !c.is_ascii()));
}

fn lexical(tokens: &[Token], out: &mut Values) {
    let words: Vec<&Token> = tokens.iter().filter(|token| token.kind != Kind::Mark).collect();
    let mut ids = HashMap::new();
    let mut counts: Vec<usize> = Vec::new();
    let sequence: Vec<usize> = words
        .iter()
        .map(|word| {
            let id = *ids.entry(word.text.as_str()).or_insert(counts.len());
            if id == counts.len() {
                counts.push(0);
            }
            counts[id] += 1;
            id
        })
        .collect();
    let (n, types) = (words.len() as f64, counts.len() as f64);
    let of_length = |from: usize, to: usize| words.iter().filter(|w| (from..=to).contains(&w.len)).count();
    let lengths: usize = words.iter().map(|word| word.len).sum();
    let [short, medium, long, very_long] =
        [of_length(0, 3), of_length(4, 6), of_length(7, usize::MAX), of_length(11, usize::MAX)];
    out.push(n);
    out.push(types);
    out.push(ratio(lengths as f64, n));
    [short, medium, long, very_long].into_iter().for_each(|count| out.count(count));
    [short, long, very_long].into_iter().for_each(|count| out.push(ratio(count as f64, n)));
    out.push(ratio(types, n));
    out.push(ratio(types, n.sqrt()));
    out.push(ratio(types, (2.0 * n).sqrt()));
    let seen = |times: usize| counts.iter().filter(|count| **count == times).count() as f64;
    out.push(ratio(seen(1), n));
    out.push(ratio(seen(2), n));
    for size in 1..=3 {
        let mut grams: Vec<&[usize]> = sequence.windows(size).collect();
        let all = grams.len();
        grams.sort_unstable();
        grams.dedup();
        out.push(ratio(grams.len() as f64, all as f64));
    }
    out.push(ratio(n - types, n));
}

fn marks(chars: &[char], out: &mut Values) {
    let mut count = |set: &str| out.count(chars.iter().filter(|c| set.contains(**c)).count());
    ["?？", "!！", ",，", ";；", ":：", ".。"].into_iter().for_each(&mut count);
    let mut ellipses = chars.iter().filter(|c| **c == '…').count();
    ellipses += runs(chars).filter(|(c, _)| *c == '.').map(|(_, length)| length / 3).sum::<usize>();
    out.count(ellipses);
    let mut count = |set: &str| out.count(chars.iter().filter(|c| set.contains(**c)).count());
    ["\"“”‘’「」『』", "'", "-–—－", "/", "()（）", "[]{}【】"].into_iter().for_each(&mut count);
}

/// Runs of one character, with their lengths.
fn runs(chars: &[char]) -> impl Iterator<Item = (char, usize)> {
    chars.chunk_by(|a, b| a == b).map(|run| (run[0], run.len()))
}

fn patterns(text: &str, chars: &[char], out: &mut Values) {
    out.count(years(chars));
    out.count(ordinals(chars));
    out.count(urls(chars));
    out.count(emails(chars));
    out.count(text.split('\n').filter(|line| is_bullet(line)).count());
    out.count(text.split('\n').filter(|line| is_enumerated(line)).count());
    out.count(runs(chars).filter(|(c, _)| *c == '`').map(|(_, length)| length / 3).sum());
    out.count(chars.iter().filter(|c| **c == '`').count());
    out.count(runs(chars).filter(|(c, length)| *c != '\n' && *length > 2).count());
}

/// Whether a word character is at `at`.
fn word_at(chars: &[char], at: usize) -> bool {
    chars.get(at).is_some_and(|c| is_word(*c))
}

/// `\b`.
fn is_boundary(chars: &[char], at: usize) -> bool {
    (at > 0 && word_at(chars, at - 1)) != word_at(chars, at)
}

/// `\b(?:1[5-9]\d\d|20\d\d|2100)\b`.
fn years(chars: &[char]) -> usize {
    let is_year = |four: &[char]| match four {
        ['1', '5'..='9', a, b] | ['2', '0', a, b] => is_decimal(*a) && is_decimal(*b),
        _ => four == ['2', '1', '0', '0'],
    };
    let at =
        |(i, four): (usize, &[char])| is_year(four) && is_boundary(chars, i) && is_boundary(chars, i + 4);
    chars.windows(4).enumerate().filter(|&window| at(window)).count()
}

/// Whether `chars` start with `pattern` in any case. The long s is an s in Python's eyes.
fn starts(chars: &[char], pattern: &str) -> bool {
    let folded = |c: char| if c == 'ſ' { 's' } else { c.to_ascii_lowercase() };
    let mut rest = chars.iter();
    pattern.chars().all(|p| rest.next().is_some_and(|c| folded(*c) == p))
}

/// `\b\d+(?:st|nd|rd|th)\b`, any case.
fn ordinals(chars: &[char]) -> usize {
    let mut found = 0;
    let mut at = 0;
    while at < chars.len() {
        let digits = chars[at..].iter().take_while(|c| is_decimal(**c)).count();
        if digits == 0 {
            at += 1;
            continue;
        }
        let end = at + digits;
        let suffix = ["st", "nd", "rd", "th"].iter().any(|suffix| starts(&chars[end..], suffix));
        found += usize::from(suffix && is_boundary(chars, at) && is_boundary(chars, end + 2));
        at = end;
    }
    found
}

/// `https?://\S+|www\.\S+`, any case.
fn urls(chars: &[char]) -> usize {
    let (mut found, mut at) = (0, 0);
    while at < chars.len() {
        let prefixes = ["https://", "http://", "www."];
        let prefix = prefixes.iter().find(|prefix| starts(&chars[at..], prefix)).map_or(0, |p| p.len());
        let rest = chars[at + prefix..].iter().take_while(|c| !is_space(**c)).count();
        if prefix > 0 && rest > 0 {
            found += 1;
            at += prefix + rest;
        } else {
            at += 1;
        }
    }
    found
}

/// `\b[\w.+-]+@[\w-]+\.[\w.-]+\b`.
fn emails(chars: &[char]) -> usize {
    let run = |from: usize, others: &str| {
        from + chars[from..].iter().take_while(|c| is_word(**c) || others.contains(**c)).count()
    };
    let (mut found, mut at) = (0, 0);
    while at < chars.len() {
        let name = run(at, ".+-");
        if name == at {
            at += 1;
            continue;
        }
        let starts_well = (at..name).any(|start| is_boundary(chars, start));
        match after_name(chars, name, &run).filter(|_| starts_well) {
            Some(end) => {
                found += 1;
                at = end;
            }
            None => at = name,
        }
    }
    found
}

/// The end of `@[\w-]+\.[\w.-]+\b`, if that is at `at`.
fn after_name(chars: &[char], at: usize, run: &dyn Fn(usize, &str) -> usize) -> Option<usize> {
    if chars.get(at) != Some(&'@') {
        return None;
    }
    let host = run(at + 1, "-");
    if host == at + 1 || chars.get(host) != Some(&'.') {
        return None;
    }
    (host + 2..=run(host + 1, ".-")).rev().find(|end| is_boundary(chars, *end))
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

/// Syllables of the words of ASCII letters, on average.
fn syllables(tokens: &[Token]) -> f64 {
    let words = tokens.iter().filter(|token| token.kind == Kind::Alpha);
    let (n, all) = words.fold((0, 0), |(n, all), word| (n + 1, all + syllables_of(&word.text)));
    ratio(all as f64, n as f64)
}

fn syllables_of(word: &str) -> usize {
    let letters: Vec<u8> = word.bytes().filter(u8::is_ascii_lowercase).collect();
    if letters.len() <= 3 {
        return 1;
    }
    let is_vowel = |letter: &u8| b"aeiouy".contains(letter);
    let groups =
        letters.chunk_by(|a, b| is_vowel(a) == is_vowel(b)).filter(|group| is_vowel(&group[0])).count();
    let silent = letters.ends_with(b"e") && !letters.ends_with(b"le") && !letters.ends_with(b"ye");
    if silent && groups > 1 { groups - 1 } else { groups.max(1) }
}

/// Sentences end after each of `.!?。！？；;` and with their line.
fn sentences(chars: &[char], tokens: &[Token], out: &mut Values) {
    let mut found: Vec<(&[char], f64)> = Vec::new();
    let (mut start, mut rest) = (0, tokens);
    for (i, &c) in chars.iter().enumerate() {
        let end = i + 1;
        if !".!?。！？；;\n".contains(c) && end < chars.len() {
            continue;
        }
        let sentence = trim(&chars[start..end]);
        let own = rest.iter().take_while(|token| token.end <= end).count();
        rest = &rest[own..];
        start = end;
        if !sentence.is_empty() {
            found.push((sentence, own as f64));
        }
    }
    let lengths: Vec<f64> = found.iter().map(|(sentence, _)| sentence.len() as f64).collect();
    let own: Vec<f64> = found.iter().map(|(_, own)| *own).collect();
    let (all, n) = (tokens.len() as f64, found.len() as f64);
    let no_space = chars.iter().filter(|c| !matches!(c, ' ' | '\n')).count() as f64;
    let with =
        |marks: &str| found.iter().filter(|(s, _)| s.iter().any(|c| marks.contains(*c))).count() as f64;
    let ended =
        found.iter().filter(|(s, _)| s.last().is_some_and(|c| ".!?。！？".contains(*c))).count() as f64;
    out.push(all);
    out.push(n);
    out.push(ratio(no_space, all));
    out.push(ratio(chars.len() as f64, n));
    spread(&own, out);
    spread(&lengths, out);
    out.push(ratio(chars.iter().filter(|c| is_mark(**c)).count() as f64, all));
    out.push(ratio(with("?？"), n));
    out.push(ratio(with("!！"), n));
    out.push(ratio(ended, n));
}

fn trim(chars: &[char]) -> &[char] {
    let start = chars.iter().take_while(|c| is_space(**c)).count();
    let end = chars.len() - chars[start..].iter().rev().take_while(|c| is_space(**c)).count();
    &chars[start..end]
}

/// Mean, minimum, maximum and population standard deviation; 0 of nothing.
fn spread(values: &[f64], out: &mut Values) {
    let n = values.len() as f64;
    let mean = ratio(values.iter().sum(), n);
    out.push(mean);
    out.push(values.iter().copied().reduce(f64::min).unwrap_or(0.0));
    out.push(values.iter().copied().reduce(f64::max).unwrap_or(0.0));
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    out.push(ratio(squares, n).sqrt());
}
