//! Every feature against its definition, written the slow, obvious way; and what holds for any text.
//!
//! The real corpus needs the shared files: set `POLYALIGN_SHARED`, or have them at `../shared`.

use crate::features_oracle::texts::TEXTS;
use polyalign::features::bins::Bins;
use polyalign::features::registry::{FEATURES, Group, Id};
use polyalign::features::{Extractor, Input, Language};
use polyalign::records::record::Message;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

const KINDS: [&str; 4] = ["en", "zh", "fr", "th"];

fn extract(extractor: &mut Extractor, input: Input<'_>) -> Vec<f32> {
    let mut values = vec![0.0; FEATURES.len()];
    extractor.extract(input, &mut values);
    values
}

/// NaN is equal to itself as bits.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// What differs from the oracle, by feature.
fn differences(extractor: &mut Extractor, input: Input<'_>) -> Vec<(&'static str, String)> {
    let found = extract(extractor, input);
    let expected = crate::features_oracle::features(input);
    let mut differences = Vec::new();
    for ((feature, found), expected) in FEATURES.iter().zip(found).zip(expected) {
        let found = f64::from(found);
        let near = (found - expected).abs() <= 1e-6 * expected.abs() + (-20_f64).exp2();
        let equal = match feature.bins {
            _ if feature.group == Group::Sentiment => true,
            Bins::Count { .. } => found == expected,
            _ => near,
        };
        if !(equal || found.is_nan() && expected.is_nan()) {
            let Input { text, language, prompt } = input;
            differences.push((
                feature.name,
                format!("{found}, not {expected}: {language:?} {text:?} after {prompt:?}"),
            ));
        }
    }
    differences
}

/// One example for each feature that differs anywhere.
#[derive(Default)]
struct Report(BTreeMap<&'static str, (u32, String)>);

impl Report {
    fn add(&mut self, differences: Vec<(&'static str, String)>) {
        for (feature, example) in differences {
            let entry = self.0.entry(feature).or_insert((0, example.clone()));
            entry.0 += 1;
            if example.len() < entry.1.len() {
                entry.1 = example;
            }
        }
    }

    fn check(self) {
        let lines: Vec<String> = self
            .0
            .iter()
            .map(|(name, (times, example))| format!("{name} ({times} times) {example}"))
            .collect();
        assert!(lines.is_empty(), "\n{}", lines.join("\n"));
    }
}

fn conversation<'a>(user: &'a str) -> [Message<'a>; 4] {
    let message = |role, content| Message { role, content };
    [
        message("system", "You are a helpful assistant."),
        message("user", "Hello there, 你好 one two"),
        message("assistant", "Hi! How can I help you? 我能帮您什么？"),
        message("user", user),
    ]
}

#[test]
fn answers_as_people_write_them() {
    let mut report = Report::default();
    let extractor = &mut Extractor::new(&Group::ALL);
    for (language, user, text) in TEXTS {
        let prompt = conversation(user);
        for language in KINDS.iter().chain([language]) {
            let language = Language::of(language);
            for prompt in [None, Some(&prompt[..]), Some(&prompt[3..]), Some(&prompt[..1]), Some(&[])] {
                report.add(differences(extractor, Input { text, language, prompt }));
            }
        }
    }
    report.check();
}

/// Pieces of what matters to some feature.
const PIECES: &[&str] = &[
    " ",
    " ",
    " ",
    " ",
    "\n",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    "\u{A0}",
    "\u{3000}",
    "\u{2028}",
    "\u{85}",
    "the",
    "The",
    "I",
    "don't",
    "it’s",
    "can't",
    "CAN",
    "NASA",
    "table",
    "made",
    "readability",
    "extraordinarily",
    "e",
    "eye",
    "a",
    "A",
    "1",
    "12",
    "1999",
    "2100",
    "3.14",
    "1,000",
    "1st",
    "２",
    "½",
    "²",
    "-",
    "- ",
    "* ",
    "• ",
    "1. ",
    "2) ",
    "3、",
    "a. ",
    "# ",
    "### ",
    "> ",
    "| ",
    " |",
    "```",
    "~~~",
    "`",
    "**",
    "](",
    "[",
    "$x",
    "\\(",
    "http://a.b",
    "www.",
    "a@b.c",
    ":)",
    " ;-P",
    " :D",
    "😀",
    "👍🏽",
    "❤\u{FE0F}",
    "❤",
    "5\u{FE0F}",
    "\u{FE0F}",
    "🇫🇷",
    "\u{200D}",
    ".",
    ".",
    ". ",
    "!",
    "?",
    "!?",
    "...",
    "…",
    "。",
    "！",
    "？",
    "，",
    "、",
    "；",
    "：",
    "“",
    "”",
    "\"",
    "'",
    "’",
    "「",
    "」",
    "(",
    ")",
    "（",
    "）",
    "《",
    "》",
    "–",
    "—",
    "/",
    "_",
    "%",
    "+",
    "€",
    "我",
    "你",
    "的",
    "不",
    "中国",
    "人民",
    "什么",
    "因为",
    "一心一意",
    "國",
    "龘",
    "aaa",
    "哈哈哈",
    "é",
    "e\u{301}",
    "\u{301}",
    "ß",
    "Σ",
    "ς",
    "İ",
    "ǅ",
    "ª",
    "ไทย",
    "ครับ",
    "カタカナ",
    "ひらがな",
    "한국",
    "שלום",
    "مرحبا",
    "ｗ",
    "Ｗ",
];

fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        12 => prop::sample::select(PIECES).prop_map(str::to_string),
        3 => "[a-zA-Z]{1,12}",
        1 => any::<char>().prop_map(String::from),
        1 => "\\PC",
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn kinds() -> impl Strategy<Value = Language> {
    prop::sample::select(KINDS.map(Language::of).to_vec())
}

proptest! {
    #[test]
    fn any_text(text in texts(), user in texts(), kind in kinds()) {
        let prompt = conversation(&user);
        let input = Input { text: &text, language: kind, prompt: Some(&prompt) };
        let differences = differences(&mut Extractor::new(&Group::ALL), input);
        prop_assert!(differences.is_empty(), "{differences:#?}");
    }

    #[test]
    fn values_do_not_depend_on_what_came_before(inputs in prop::collection::vec((texts(), texts(), kinds()), 1..8)) {
        let mut worn = Extractor::new(&Group::ALL);
        for (text, user, language) in &inputs {
            let prompt = conversation(user);
            let input = Input { text, language: *language, prompt: Some(&prompt) };
            let fresh = extract(&mut Extractor::new(&Group::ALL), input);
            prop_assert_eq!(bits(&extract(&mut worn, input)), bits(&fresh));
        }
    }

    #[test]
    fn groups_do_not_depend_on_each_other(
        text in texts(), user in texts(), kind in kinds(), groups in prop::sample::subsequence(&Group::ALL[..], 0..9)
    ) {
        let prompt = conversation(&user);
        let input = Input { text: &text, language: kind, prompt: Some(&prompt) };
        let all = extract(&mut Extractor::new(&Group::ALL), input);
        let some = extract(&mut Extractor::new(&groups), input);
        for ((feature, all), some) in FEATURES.iter().zip(all).zip(some) {
            let expected = if groups.contains(&feature.group) { all } else { f32::NAN };
            prop_assert_eq!(some.to_bits(), expected.to_bits(), "{}", feature.name);
        }
    }

    #[test]
    fn values_are_in_their_range(text in texts(), user in texts(), kind in kinds()) {
        let prompt = conversation(&user);
        let input = Input { text: &text, language: kind, prompt: Some(&prompt) };
        for (feature, value) in FEATURES.iter().zip(extract(&mut Extractor::new(&Group::ALL), input)) {
            let name = feature.name;
            if !crate::features_oracle::is_among(kind, feature.languages) {
                prop_assert!(value.is_nan(), "{} is {} in another language", name, value);
            }
            if value.is_nan() {
                continue;
            }
            prop_assert!((value * (-20_f32).exp2().recip()).fract() == 0.0, "{} is {}, off the grid", name, value);
            match (feature.unit, feature.bins) {
                ("share", _) => prop_assert!((0.0..=1.0).contains(&value), "{} is {}", name, value),
                ("0 or 1", _) => prop_assert!(value == 0.0 || value == 1.0, "{} is {}", name, value),
                ("-1 to 1", _) => prop_assert!((-1.0..=1.0).contains(&value), "{} is {}", name, value),
                (_, Bins::Count { .. }) => prop_assert!(value >= 0.0 && value.fract() == 0.0, "{} is {}", name, value),
                (_, Bins::Signed { .. }) => prop_assert!(value.is_finite(), "{} is {}", name, value),
                _ => prop_assert!(value >= 0.0 && value.is_finite(), "{} is {}", name, value),
            }
        }
    }

    #[test]
    fn white_space_around_a_text_does_not_matter(
        text in texts(), kind in kinds(), before in "[ \\t\\r\\n\u{A0}\u{3000}\u{2028}]{0,4}", after in "\\s{0,4}"
    ) {
        let prompt = conversation("Why? 为什么？");
        let input = Input { text: &text, language: kind, prompt: Some(&prompt) };
        let extractor = &mut Extractor::new(&Group::ALL);
        let alone = extract(extractor, input);
        let around = extract(extractor, Input { text: &format!("{before}{text}{after}"), ..input });
        prop_assert_eq!(bits(&around), bits(&alone));
    }

    #[test]
    fn shares_of_sentiment_make_one(text in texts()) {
        let input = Input { text: &text, language: Language::English, prompt: None };
        let values = extract(&mut Extractor::new(&[Group::Sentiment]), input);
        let [negative, neutral, positive] =
            [Id::vader_negative, Id::vader_neutral, Id::vader_positive].map(|id| values[id as usize]);
        let sum = negative + neutral + positive;
        prop_assert!(text.trim().is_empty() == sum.is_nan());
        prop_assert!(sum.is_nan() || sum == 0.0 || (sum - 1.0).abs() < 1e-5, "{}", sum);
    }
}

#[test]
fn sentiment_has_the_sign_of_its_words() {
    let compound = |text| {
        let input = Input { text, language: Language::English, prompt: None };
        extract(&mut Extractor::new(&[Group::Sentiment]), input)[Id::vader_compound as usize]
    };
    assert!(compound("What a wonderful, lovely day! I love it.") > 0.5);
    assert!(compound("This is horrible, I hate it.") < -0.5);
    assert_eq!(compound("The table has four legs."), 0.0);
}

/// An answer that has everything that its language's features are of.
#[test]
fn what_the_language_has_is_defined() {
    let prompt = conversation("What do you mean? 什么意思？");
    for (language, text) in [
        ("en", "Well, I think it is good. It isn't bad!"),
        ("zh", "我觉得很好。这个不错！"),
        ("fr", "Je pense que oui. C'est bien !"),
        ("th", "ผมคิดว่าดี ok?"),
    ] {
        let language = Language::of(language);
        let values =
            extract(&mut Extractor::new(&Group::ALL), Input { text, language, prompt: Some(&prompt) });
        for (feature, value) in FEATURES.iter().zip(&values) {
            let defined = crate::features_oracle::is_among(language, feature.languages);
            assert_eq!(value.is_finite(), defined, "{} of {text}: {value}", feature.name);
        }
        let values = extract(&mut Extractor::new(&Group::ALL), Input { text, language, prompt: None });
        for (feature, value) in FEATURES.iter().zip(&values) {
            let defined = crate::features_oracle::is_among(language, feature.languages)
                && feature.group != Group::Interaction;
            assert_eq!(value.is_finite(), defined, "{} of {text}: {value}", feature.name);
        }
    }
}

/// There is nothing to take a mean of; there are no words, which is a number.
#[test]
fn of_an_empty_text_only_counts_are_defined() {
    for text in ["", " \r\n\u{A0}"] {
        for kind in KINDS.map(Language::of) {
            let values =
                extract(&mut Extractor::new(&Group::ALL), Input { text, language: kind, prompt: None });
            for (feature, value) in FEATURES.iter().zip(&values) {
                let counts = feature.name.ends_with("_count")
                    && crate::features_oracle::is_among(kind, feature.languages);
                let defined = counts && feature.group != Group::Interaction;
                assert_eq!(*value == 0.0, defined, "{} of {kind:?} {text:?}: {value}", feature.name);
                assert_eq!(value.is_nan(), !defined, "{} of {kind:?} {text:?}: {value}", feature.name);
            }
        }
    }
}

/// More words than are remembered, and long ones; then a text from before.
#[test]
fn forgetting_words_does_not_matter() {
    let mut extractor = Extractor::new(&Group::ALL);
    let long = "x".repeat(40);
    let words: String = (0..70_000).map(|i| format!("w{i} {long}{i}\n")).collect();
    for language in KINDS.map(Language::of) {
        let prompt = conversation("The cat sat, 猫坐着。");
        let input =
            Input { text: "The cat sat. The dog stood! 猫坐着。", language, prompt: Some(&prompt) };
        let before = extract(&mut extractor, input);
        let many = extract(&mut extractor, Input { text: &words, language, prompt: Some(&prompt) });
        let types = many[Id::type_count as usize];
        assert!(types == 140_000.0 || types.is_nan(), "{types}");
        assert_eq!(bits(&extract(&mut extractor, input)), bits(&before));
    }
}

/// Texts at which a search that looks ahead or back again and again would not end.
#[test]
fn long_texts_take_linear_time() {
    const BYTES: usize = 1 << 18;
    let extractor = &mut Extractor::new(&Group::ALL);
    let pieces = [
        "a", " ", "\n", ".", "1", "'", "_", "-", "@", "#", "`", "|", "!", "*", "好", "。", "…", "\u{301}",
        "\u{200D}", "😀", "\u{FE0F}", "א\"", "e", "a'", "1.", "1,", "a.", ". )", ".1", "- \n", "1. x\n",
        "```\n", "www.", "http://", "a@b.", ":) ", "的", "A ", "\r", "\r\n", "ไ", "ー", "𠀀",
    ];
    for piece in pieces {
        let text = format!("x{}x", piece.repeat(BYTES / piece.len()));
        for language in KINDS.map(Language::of) {
            let prompt = [Message { role: "user", content: &text }];
            let values = extract(extractor, Input { text: &text, language, prompt: Some(&prompt) });
            assert_eq!(values[Id::char_count as usize], text.chars().count() as f32, "{piece:?}");
            assert_eq!(values[Id::user_chars_ratio as usize], 1.0, "{piece:?}");
        }
    }
    let text = "a".repeat(10_000_000);
    let values = extract(extractor, Input { text: &text, language: Language::English, prompt: None });
    assert_eq!((values[Id::char_count as usize], values[Id::word_count as usize]), (1e7, 1.0));
}

/// Every twentieth answer of the real corpus.
#[test]
fn real_answers() {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("POLYALIGN_SHARED").map_or(beside, PathBuf::from);
    let Ok(file) = File::open(shared.join("data/interactions.jsonl.zst")) else {
        eprintln!("skipped: no corpus in {}; set POLYALIGN_SHARED", shared.display());
        return;
    };
    let mut report = Report::default();
    let extractor = &mut Extractor::new(&Group::ALL);
    let mut overflows = BTreeMap::new();
    let mut answers = 0;
    for line in BufReader::new(zstd::Decoder::new(file).unwrap()).lines().step_by(20) {
        let record: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let turns = record["dialogue_history"].as_array().into_iter().flatten();
        let mut prompt: Vec<Message<'_>> = turns
            .map(|turn| Message {
                role: turn["role"].as_str().unwrap(),
                content: text_of(turn, &["content", "text"]),
            })
            .collect();
        prompt.push(Message { role: "user", content: text_of(&record, &["question"]) });
        let text = text_of(&record, &["human_answer"]);
        let language = Language::of(text_of(&record, &["language"]));
        let input = Input { text, language, prompt: Some(&prompt) };
        answers += u32::from(!text.is_empty());
        report.add(differences(extractor, input));
        for (feature, value) in FEATURES.iter().zip(extract(extractor, input)) {
            if overflows_bins(feature.bins, value) {
                overflows.insert(feature.name, (value, text.to_string()));
            }
        }
    }
    report.check();
    assert!(answers > 1000, "{answers} answers");
    assert!(overflows.is_empty(), "{overflows:#?}");
}

fn text_of<'a>(value: &'a Value, keys: &[&str]) -> &'a str {
    keys.iter().find_map(|key| value[*key].as_str()).unwrap_or("")
}

/// Whether the value is in the bin for what is beyond; in that of shares is 1 alone.
fn overflows_bins(bins: Bins, value: f32) -> bool {
    let beyond_one = matches!(bins, Bins::Share { .. } | Bins::Signed { max_log2: 0, .. });
    if value.is_nan() || beyond_one && value.abs() <= 1.0 {
        return false;
    }
    let index = bins.index((f64::from(value) * 20_f64.exp2()) as i64);
    let last = i64::from(bins.count().unwrap()) - 1;
    index == last || matches!(bins, Bins::Signed { .. }) && index == 0
}
