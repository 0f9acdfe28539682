//! The paper's features: the values of its published code, and what holds for any text.

use polyalign::features::paper::{CHINESE, NAMES, extract, normalise};
use proptest::prelude::*;
use serde_json::Value;
use std::path::PathBuf;

fn value(text: &str, name: &str) -> f64 {
    extract(text, true)[NAMES.iter().position(|n| *n == name).unwrap()]
}

/// Without the measuring sticks this skips.
#[test]
fn golden_values_are_exact() {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("POLYALIGN_SHARED").map_or(beside, PathBuf::from);
    let Ok(lines) = std::fs::read_to_string(shared.join("golden/features.jsonl")) else {
        eprintln!("skipped: no golden features in {}; set POLYALIGN_SHARED", shared.display());
        return;
    };
    for line in lines.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = row["text"].as_str().unwrap();
        let chinese = row["language"] == "zh";
        let found = extract(text, chinese);
        for (name, expected) in row["features"].as_object().unwrap() {
            let at = NAMES.iter().position(|n| n == name).unwrap();
            assert_eq!(found[at], expected.as_f64().unwrap(), "{name} of {text:?}");
        }
        assert!(chinese || found[NAMES.len() - CHINESE..].iter().all(|value| value.is_nan()));
    }
}

#[test]
fn patterns_match_as_in_python() {
    let cases = [
        ("year_token_count", "1499 1500 1999 2099 2100 2101 x1999 1999年 (2024)", 5.0),
        ("ordinal_token_count", "1st 22ND 3rd, 4th x5th 6ths 7 th 1ſt", 5.0),
        ("url_count", "see HTTPS://a.b/c www.x.y, http:// www. xhttp://z", 3.0),
        ("email_count", "a.b+c@d-e.org, @x.y f@g h@i.j- 你@k.l", 3.0),
        ("bullet_line_count", "- a\n* b\n• c\n-d\n -  e", 4.0),
        ("enumerated_line_count", "1. a\n12) b\nx. c\nxy. d\n3.e", 3.0),
        ("code_fence_count", "```a``` ````", 3.0),
        ("ellipsis_count", "... …… ....... ..", 5.0),
        ("repeated_char_sequence_count", "aaa bb !!!! 哈哈哈", 3.0),
        ("digit_char_count", "12²٣①½", 5.0),
        ("paragraph_count", "a\nb\n\n \n\nc", 2.0),
        ("avg_syllables_per_word", "made table the beautiful", 7.0 / 4.0),
    ];
    for (name, text, expected) in cases {
        assert_eq!(value(text, name), expected, "{name} of {text:?}");
    }
}

#[test]
fn nothing_counts_nothing() {
    for text in ["", " \n\t"] {
        assert!(extract(text, true).iter().all(|value| *value == 0.0));
    }
}

proptest! {
    #[test]
    fn any_text_has_sound_values(text in r"([a-c '.\n!1@/-]|\PC|[\t\r\u{1C}你好。ſ_²]){0,40}") {
        let found = extract(&text, true);
        prop_assert!(found.iter().all(|value| value.is_finite() && *value >= 0.0));
        for (name, value) in NAMES.iter().zip(found) {
            let bounded = name.ends_with("_ratio") || name.starts_with("distinct_");
            prop_assert!(!bounded || value <= 1.0, "{} is {}", name, value);
        }
        let normal = normalise(&text);
        prop_assert_eq!(&normalise(&normal), &normal);
        prop_assert_eq!(extract(&normal, true), found);
    }
}
