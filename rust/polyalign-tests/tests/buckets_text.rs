//! Words by the paper's rule, against values of the published code.
//!
//! Needs the shared golden files: set `POLYALIGN_SHARED`, or have them at `../shared`.

use polyalign::buckets::bin;
use polyalign::text::{count_characters, count_words_paper};
use std::path::PathBuf;

fn shared() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let folder = std::env::var_os("POLYALIGN_SHARED").map_or_else(|| beside.into(), PathBuf::from);
    folder.is_dir().then_some(folder)
}

#[test]
fn golden_lengths_and_bins_agree() {
    let Some(shared) = shared() else {
        eprintln!("skipped: no shared folder; set POLYALIGN_SHARED");
        return;
    };
    let lines = std::fs::read_to_string(shared.join("golden/features.jsonl")).unwrap();
    let names = ["short", "medium", "long", "xlong"];
    for line in lines.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = row["text"].as_str().unwrap();
        let length = count_words_paper(text);
        assert_eq!(u64::from(length), row["length_tokens"], "{}", row["id"]);
        assert_eq!(names[bin(&[40, 120, 240], length)], row["length_bin"], "{}", row["id"]);
        assert_eq!(u64::from(count_characters(text)), row["features"]["char_count"], "{}", row["id"]);
    }
    assert!(lines.lines().count() >= 200, "{} rows", lines.lines().count());
}

#[test]
fn the_papers_words_are_what_its_expression_finds() {
    for (text, words) in [
        ("", 0),
        (" \t\n\u{85}\u{A0}\u{2028}\u{3000}\u{1C}", 0),
        ("don't", 1),
        ("don''t", 4),
        ("a'b'c", 3),
        ("a'b'c'd", 3),
        ("'a'", 3),
        ("rock'n'roll", 3),
        ("a'1", 3),
        ("don’t", 3),
        ("café", 1),
        ("naïve", 2),
        ("été", 1),
        ("3.14", 3),
        ("12ab34", 3),
        ("٣٤5", 1),
        ("a_b", 2),
        ("_", 0),
        ("½²", 0),
        ("中文，OK。", 5),
        ("㐀豈\u{20000}", 2),
        ("カナ한", 0),
        ("e\u{301}", 2),
        ("😀👍🏽", 3),
        ("\u{200B}", 1),
        ("\0", 1),
        ("Ａ１", 1),
    ] {
        assert_eq!(count_words_paper(text), words, "{text:?}");
    }
}
