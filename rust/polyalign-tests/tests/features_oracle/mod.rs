//! Slow, obvious features: each as the registry defines it. With the engine it shares its lists alone (classes of words,
//! common characters) and the segmentation of Chinese, which has an oracle of its own.

mod function;
mod interaction;
mod length;
mod lexical;
mod orthography;
mod punctuation;
mod readability;
mod structure;
pub mod texts;

use polyalign::features::registry::FEATURES;
use polyalign::features::{Input, Language, Languages};
use polyalign::text::chinese::Segmenter;
use regex::Regex;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use unicode_segmentation::UnicodeSegmentation;

/// A response, cut up.
pub struct Response<'a> {
    pub text: &'a str,
    pub language: Language,
    /// Those that are not blank.
    pub lines: Vec<&'a str>,
    pub sentences: Vec<&'a str>,
    /// The types of each sentence's words.
    pub sentence_types: Vec<Vec<String>>,
    /// As they stand.
    pub words: Vec<&'a str>,
    /// Words in lower case, in order.
    pub types: Vec<String>,
    /// How often each type occurs.
    pub counts: HashMap<String, usize>,
}

impl<'a> Response<'a> {
    fn new(text: &'a str, language: Language) -> Self {
        let text = text.trim();
        let words = words(text, language);
        let types: Vec<String> = words.iter().map(|(_, word)| lower(word)).collect();
        let mut counts = HashMap::new();
        for word in &types {
            *counts.entry(word.clone()).or_insert(0) += 1;
        }
        let (mut sentences, mut sentence_types) = (Vec::new(), Vec::new());
        for (start, sentence) in text.split_sentence_bound_indices().filter(|(_, s)| has_alphanumeric(s)) {
            let within = words.iter().filter(|(at, _)| (start..start + sentence.len()).contains(at));
            sentences.push(sentence.trim());
            sentence_types.push(within.map(|(_, word)| lower(word)).collect());
        }
        let lines = lines(text).into_iter().filter(|line| !is_blank(line)).collect();
        let words = words.into_iter().map(|(_, word)| word).collect();
        Self { text, language, lines, sentences, sentence_types, words, types, counts }
    }

    pub fn is_chinese(&self) -> bool {
        self.language == Language::Chinese
    }
}

/// The values of a response by feature; NaN where one is not defined.
pub struct Values(HashMap<&'static str, f64>);

impl Values {
    pub fn put(&mut self, name: &'static str, value: f64) {
        assert!(FEATURES.iter().any(|feature| feature.name == name), "{name} is no feature");
        assert!(self.0.insert(name, value).is_none(), "{name} twice");
    }

    pub fn count(&mut self, name: &'static str, count: usize) {
        self.put(name, count as f64);
    }

    /// 0/0 is NaN: a share of nothing is not defined.
    pub fn share(&mut self, name: &'static str, part: usize, whole: usize) {
        self.put(name, if whole == 0 { f64::NAN } else { part as f64 / whole as f64 });
    }

    /// Of nothing it is not defined.
    pub fn yes(&mut self, name: &'static str, yes: Option<bool>) {
        self.put(name, yes.map_or(f64::NAN, |yes| if yes { 1.0 } else { 0.0 }));
    }
}

/// All values in the registry's order, but for the sentiment's: NaN.
pub fn features(input: Input<'_>) -> Vec<f64> {
    let response = Response::new(input.text, input.language);
    let mut values = Values(HashMap::new());
    length::fill(&response, &mut values);
    structure::fill(&response, &mut values);
    lexical::fill(&response, &mut values);
    function::fill(&response, &mut values);
    punctuation::fill(&response, &mut values);
    orthography::fill(&response, &mut values);
    readability::fill(&response, &mut values);
    if let Some(prompt) = input.prompt {
        interaction::fill(&response, prompt, &mut values);
    }
    let value = |name| values.0.get(name).copied().unwrap_or(f64::NAN);
    let defined = |languages| is_among(input.language, languages);
    FEATURES.iter().map(|f| if defined(f.languages) { value(f.name) } else { f64::NAN }).collect()
}

pub fn is_among(language: Language, languages: Languages) -> bool {
    use Language::{Chinese, English, Other, Spaced};
    let known: &[Language] = match languages {
        Languages::All => &[English, Chinese, Spaced, Other],
        Languages::Words => &[English, Chinese, Spaced],
        Languages::Spaced => &[English, Spaced],
        Languages::EnglishChinese => &[English, Chinese],
        Languages::English => &[English],
        Languages::Chinese => &[Chinese],
    };
    known.contains(&language)
}

/// The language's words and where they begin; none where they can't be told.
fn words(text: &str, language: Language) -> Vec<(usize, &str)> {
    match language {
        Language::Chinese => {
            let mut places = Vec::new();
            Segmenter::new().cut(text, &mut places);
            let words =
                places.into_iter().map(|(start, end)| (start as usize, &text[start as usize..end as usize]));
            words.filter(|(_, word)| has_alphanumeric(word)).collect()
        }
        Language::English | Language::Spaced => text.unicode_word_indices().collect(),
        Language::Other => Vec::new(),
    }
}

pub fn lower(word: &str) -> String {
    word.chars().flat_map(char::to_lowercase).collect()
}

/// Blank ones too.
pub fn lines(text: &str) -> Vec<&str> {
    text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect()
}

pub fn has_alphanumeric(text: &str) -> bool {
    matches(r"[\p{L}\p{N}]", text)
}

pub fn is_blank(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

pub fn characters(text: &str) -> usize {
    text.chars().count()
}

/// Characters that are not white space.
pub fn visible(text: &str) -> Vec<char> {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

pub fn matches(pattern: &'static str, text: &str) -> bool {
    expression(pattern).is_match(text)
}

/// How many places match, none overlapping another.
pub fn count(pattern: &'static str, text: &str) -> usize {
    expression(pattern).find_iter(text).count()
}

pub fn find<'t>(pattern: &'static str, text: &'t str) -> Vec<&'t str> {
    expression(pattern).find_iter(text).map(|found| found.as_str()).collect()
}

pub fn expression(pattern: &'static str) -> &'static Regex {
    static KNOWN: LazyLock<Mutex<HashMap<&str, &Regex>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap();
    known.entry(pattern).or_insert_with(|| Box::leak(Box::new(Regex::new(pattern).unwrap())))
}

pub fn mean(values: &[usize]) -> f64 {
    values.iter().sum::<usize>() as f64 / values.len() as f64
}

/// The population's.
pub fn standard_deviation(values: &[usize]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|&value| (value as f64 - mean).powi(2)).sum();
    (squares / values.len() as f64).sqrt()
}

pub fn least(values: &[usize]) -> f64 {
    values.iter().min().map_or(f64::NAN, |&least| least as f64)
}

pub fn greatest(values: &[usize]) -> f64 {
    values.iter().max().map_or(f64::NAN, |&greatest| greatest as f64)
}

/// In bits, of what occurs so often each.
pub fn entropy(counts: impl Iterator<Item = usize>) -> f64 {
    let counts: Vec<f64> = counts.map(|count| count as f64).collect();
    let total: f64 = counts.iter().sum();
    if total == 0.0 {
        f64::NAN
    } else {
        counts.iter().map(|count| count / total * (total / count).log2()).sum()
    }
}
