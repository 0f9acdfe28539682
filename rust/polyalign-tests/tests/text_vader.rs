//! Sentiments are those of the package, and of the same rules written as it has them.

use polyalign::text::{Sentiment, Vader};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::LazyLock;

const GOLDEN: &str = include_str!("vader_golden.jsonl");

/// `vader_golden.py` made the file.
#[test]
fn golden_sentiments_are_exact() {
    let mut vader = Vader::new();
    for line in GOLDEN.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let score = |name: &str| row[name].as_str().unwrap().parse::<f64>().unwrap();
        let expected = Sentiment {
            negative: score("neg"),
            neutral: score("neu"),
            positive: score("pos"),
            compound: score("compound"),
        };
        assert_eq!(vader.scores(row["text"].as_str().unwrap()), expected, "{line}");
    }
}

static LEXICON: LazyLock<HashMap<&str, f64>> = LazyLock::new(|| {
    let lines = include_str!("../../polyalign/src/text/vader_lexicon.txt").lines();
    lines
        .map(|line| line.split_once('\t').unwrap())
        .map(|(word, valence)| (word, valence.parse().unwrap()))
        .collect()
});

static EMOJI: LazyLock<HashMap<char, &str>> = LazyLock::new(|| {
    let lines = include_str!("../../polyalign/src/text/vader_emoji.txt").lines();
    lines
        .map(|line| line.split_once('\t').unwrap())
        .map(|(c, text)| (c.chars().next().unwrap(), text))
        .collect()
});

/// Some of each kind, and all that [`soup`] may make.
const BOOSTERS: [(&str, f64); 10] = [
    ("very", 0.293),
    ("so", 0.293),
    ("really", 0.293),
    ("kinda", -0.293),
    ("barely", -0.293),
    ("kindof", -0.293),
    ("sortof", -0.293),
    ("just enough", -0.293),
    ("kind of", -0.293),
    ("sort of", -0.293),
];
const NEGATIONS: [&str; 8] = ["not", "never", "without", "nor", "don't", "uh-uh", "wont", "despite"];
const IDIOMS: [(&str, f64); 9] = [
    ("the shit", 3.0),
    ("the bomb", 3.0),
    ("bad ass", 1.5),
    ("badass", 1.5),
    ("bus stop", 0.0),
    ("yeah right", -2.0),
    ("kiss of death", -1.5),
    ("to die for", 3.0),
    ("beating heart", 3.5),
];

/// The package's code, as near to its words as Rust is.
fn oracle(text: &str) -> Sentiment {
    let mut described = String::new();
    let mut after_space = true;
    for c in text.chars() {
        match EMOJI.get(&c) {
            Some(description) => {
                described += if after_space { "" } else { " " };
                described += description;
                after_space = false;
            }
            None => {
                described.push(c);
                after_space = c == ' ';
            }
        }
    }
    let blank = |c: char| c.is_whitespace() || matches!(c, '\x1C'..='\x1F');
    let words: Vec<&str> = described.split(blank).filter(|word| !word.is_empty()).map(strip).collect();
    let lower: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let upper = words.iter().filter(|word| is_upper(word)).count();
    let mixed = 0 < upper && upper < words.len();
    let mut valences: Vec<f64> = (0..words.len()).map(|i| valence(&words, &lower, i, mixed)).collect();
    if let Some(but) = lower.iter().position(|&word| word == "but") {
        for i in 0..valences.len() {
            let first = valences.iter().position(|&valence| valence == valences[i]).unwrap();
            valences[first] *= if first < but { 0.5 } else { 1.5 };
        }
    }
    score(&valences, &described)
}

fn strip(word: &str) -> &str {
    let stripped = word.trim_matches(|c: char| c.is_ascii_punctuation());
    if stripped.chars().count() <= 2 { word } else { stripped }
}

fn is_upper(word: &str) -> bool {
    word.chars().any(char::is_uppercase)
        && !word.chars().any(|c| c.is_lowercase() || matches!(c, 'ǅ' | 'ǈ' | 'ǋ'))
}

fn find(table: &[(&str, f64)], words: &str) -> Option<f64> {
    table.iter().find(|(key, _)| *key == words).map(|(_, value)| *value)
}

fn valence(words: &[&str], lower: &[&str], i: usize, mixed: bool) -> f64 {
    let item = lower[i];
    if find(&BOOSTERS, item).is_some() || item == "kind" && lower.get(i + 1) == Some(&"of") {
        return 0.0;
    }
    let Some(&known) = LEXICON.get(item) else { return 0.0 };
    let mut valence = known;
    if item == "no" && lower.get(i + 1).is_some_and(|next| LEXICON.contains_key(next)) {
        valence = 0.0;
    }
    if i > 0 && lower[i - 1] == "no"
        || i > 1 && lower[i - 2] == "no"
        || i > 2 && lower[i - 3] == "no" && ["or", "nor"].contains(&lower[i - 1])
    {
        valence = known * -0.74;
    }
    if is_upper(words[i]) && mixed {
        valence += if valence > 0.0 { 0.733 } else { -0.733 };
    }
    for back in 1..=3.min(i) {
        if LEXICON.contains_key(lower[i - back]) {
            continue;
        }
        let mut scalar = 0.0;
        if let Some(boost) = find(&BOOSTERS, lower[i - back]) {
            scalar = if valence < 0.0 { -boost } else { boost };
            if is_upper(words[i - back]) && mixed {
                scalar += if valence > 0.0 { 0.733 } else { -0.733 };
            }
        }
        valence += scalar * [1.0, 0.95, 0.9][back - 1];
        valence = negation(valence, lower, back, i);
        if back == 3 {
            valence = idioms(valence, lower, i);
        }
    }
    let least = i > 0 && lower[i - 1] == "least" && !(i > 1 && ["at", "very"].contains(&lower[i - 2]));
    if least { valence * -0.74 } else { valence }
}

fn negation(valence: f64, lower: &[&str], back: usize, i: usize) -> f64 {
    let intensifies = |word: &str| word == "so" || word == "this";
    let word = lower[i - back];
    let negated = NEGATIONS.contains(&word) || word.contains("n't");
    if back == 2 && word == "never" && intensifies(lower[i - 1])
        || back == 3 && (word == "never" && intensifies(lower[i - 2]) || intensifies(lower[i - 1]))
    {
        return valence * 1.25;
    }
    if back > 1 && word == "without" && (1..back).any(|back| lower[i - back] == "doubt") {
        return valence;
    }
    if negated { valence * -0.74 } else { valence }
}

fn idioms(mut valence: f64, lower: &[&str], i: usize) -> f64 {
    let phrase = |from: usize, to: usize| lower[from..=to].join(" ");
    let before = [(i - 1, i), (i - 2, i), (i - 2, i - 1), (i - 3, i - 1), (i - 3, i - 2)];
    if let Some(idiom) = before.iter().find_map(|&(from, to)| find(&IDIOMS, &phrase(from, to))) {
        valence = idiom;
    }
    for to in [i + 1, i + 2] {
        if to < lower.len() {
            valence = find(&IDIOMS, &phrase(i, to)).unwrap_or(valence);
        }
    }
    for (from, to) in [(i - 3, i - 1), (i - 3, i - 2), (i - 2, i - 1)] {
        valence += find(&BOOSTERS, &phrase(from, to)).unwrap_or(0.0);
    }
    valence
}

fn score(valences: &[f64], text: &str) -> Sentiment {
    if valences.is_empty() {
        return Sentiment::default();
    }
    let questions = text.matches('?').count() as f64;
    let asked = match questions {
        2.0 | 3.0 => questions * 0.18,
        4.0.. => 0.96,
        _ => 0.0,
    };
    let emphasis = text.matches('!').count().min(4) as f64 * 0.292 + asked;
    let mut sum = valences.iter().fold(0.0, |sum, valence| sum + valence);
    if sum != 0.0 {
        sum += if sum > 0.0 { emphasis } else { -emphasis };
    }
    let mut positive = valences.iter().filter(|&&v| v > 0.0).fold(0.0, |sum, valence| sum + (valence + 1.0));
    let mut negative = valences.iter().filter(|&&v| v < 0.0).fold(0.0, |sum, valence| sum + (valence - 1.0));
    let neutral = valences.iter().filter(|&&v| v == 0.0).count() as f64;
    if positive > f64::abs(negative) {
        positive += emphasis;
    } else if positive < f64::abs(negative) {
        negative -= emphasis;
    }
    let total = positive + f64::abs(negative) + neutral;
    Sentiment {
        negative: f64::abs(negative / total),
        neutral: f64::abs(neutral / total),
        positive: f64::abs(positive / total),
        compound: (sum / f64::sqrt(sum * sum + 15.0)).clamp(-1.0, 1.0),
    }
}

/// Words that rules name, words of the lexicon, and others, some loud, some among punctuation.
fn soup() -> impl Strategy<Value = String> {
    let named = "no or nor kind of sort just enough never so this without doubt least at very but the shit bomb bad \
        ass bus stop yeah right kiss death to die for beating heart not don't kinda really barely wouldn't've :) ;( \
        I it soup 中文 ÉCOLE 😀 💔 “good” \u{212A}ind";
    let named: Vec<String> = named.split_whitespace().map(str::to_string).collect();
    let mut lexicon: Vec<String> = LEXICON.keys().map(|word| word.to_string()).collect();
    lexicon.sort();
    let word = prop_oneof![
        5 => proptest::sample::select(named),
        2 => proptest::sample::select(lexicon),
        1 => "[a-fA-F!?.:)'é]{1,6}",
    ];
    let word =
        (word, 0..8, "[!?.,'(]{0,2}", 0..6).prop_map(|(word, case, mark, place)| match (case, place) {
            (0, _) => word.to_uppercase(),
            (_, 0) => word + &mark,
            (_, 1) => mark + &word,
            _ => word,
        });
    let blank = prop_oneof![8 => Just(" "), 1 => proptest::sample::select(vec!["\n", "  ", "\u{A0}", "\u{1C}", "", "😀"])];
    proptest::collection::vec((word, blank), 0..30)
        .prop_map(|words| words.into_iter().map(|(word, blank)| word + blank).collect())
}

proptest! {
    #[test]
    fn any_text_scores_as_by_the_packages_code(text in soup()) {
        prop_assert_eq!(Vader::new().scores(&text), oracle(&text));
    }

    #[test]
    fn any_text_has_shares_that_make_one(text in "\\PC{0,40}", words in soup()) {
        let mut vader = Vader::new();
        for text in [text, words] {
            let found = vader.scores(&text);
            let sum = found.negative + found.neutral + found.positive;
            prop_assert!((sum - 1.0).abs() < 1e-12 || found == Sentiment::default());
            prop_assert!(found.compound.abs() <= 1.0 && found.negative >= 0.0 && found.positive >= 0.0);
            prop_assert_eq!(found, Vader::new().scores(&text), "memory of texts before");
        }
    }
}

#[test]
fn long_texts_score_as_short_ones() {
    // More words than are compared one by one at "but".
    let words = ["good", "BAD", "very", "love", "hate", "soup", "great", "awful", "not"];
    let mut text = String::new();
    for i in 0..2_000usize {
        text += words[i * i % 17 % words.len()];
        text += if i == 900 { " but " } else { " " };
    }
    assert_eq!(Vader::new().scores(&text), oracle(&text));
}

#[test]
fn but_is_not_quadratic() {
    let text = "good but ".to_string() + &"good bad ".repeat(500_000);
    assert!(Vader::new().scores(&text).compound.abs() <= 1.0);
}
