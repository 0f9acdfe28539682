//! Writes the table of all features into `docs/features.md`, between its markers.
//!
//! `cargo run --release --example feature_table`

use polyalign::features::bins::Bins;
use polyalign::features::registry::{CONVENTIONS, FEATURES, Feature, Group, LM_FEATURES, VERSION};
use std::fmt::Write;

const BEGIN: &str = "<!-- features: begin -->\n";
const END: &str = "<!-- features: end -->\n";

/// Where the page is.
pub const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/features.md");

/// The page with the registry's table; `None` if it has no markers.
pub fn updated(page: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{}{END}{after}", table()))
}

fn table() -> String {
    let mut text = format!(
        "Version {VERSION} of the registry: {} features, and {} of a language model.\n",
        FEATURES.len(),
        LM_FEATURES.len()
    );
    for group in Group::ALL.into_iter().chain([Group::Lm]) {
        let all = FEATURES.iter().chain(LM_FEATURES);
        let features: Vec<&Feature> = all.filter(|feature| feature.group == group).collect();
        let name = group.name();
        writeln!(text, "\n### {name} ({})\n", features.len()).expect("memory");
        text.push_str(
            "| name | definition | unit | range | languages | s_f | bins |\n|---|---|---|---|---|---|---|\n",
        );
        for feature in features {
            writeln!(text, "{}", row(feature)).expect("memory");
        }
    }
    text.push_str("\n### Conventions\n\n");
    for convention in CONVENTIONS {
        writeln!(text, "- {convention}").expect("memory");
    }
    text
}

fn row(feature: &Feature) -> String {
    let Feature { name, definition, unit, languages, scale, bins, .. } = feature;
    let definition = escaped(definition);
    let range = match feature.range() {
        (f64::NEG_INFINITY, _) => "any".to_owned(),
        (least, f64::INFINITY) => format!("≥ {least}"),
        (least, greatest) => format!("{least} to {greatest}"),
    };
    let (languages, bins) = (languages.name(), described(*bins));
    format!("| `{name}` | {definition} | {unit} | {range} | {languages} | {scale} | {bins} |")
}

/// As Markdown shows it in a cell of a table.
fn escaped(definition: &str) -> String {
    let mut text = String::new();
    let mut in_code = false;
    for c in definition.chars() {
        in_code ^= c == '`';
        let special = if in_code { c == '|' } else { "\\|*_[]<>#".contains(c) };
        text.extend(special.then_some('\\'));
        text.push(c);
    }
    text
}

/// How wide the narrow bins are, and where the last begins.
fn described(bins: Bins) -> String {
    let power = |log2: i8| if log2 < 0 { format!("1/{}", 1 << -log2) } else { (1_u32 << log2).to_string() };
    match bins {
        Bins::Count { max_log2 } => format!("1, to {}", power(max_log2)),
        Bins::Share { min_log2 } => format!("{}, to 1", power(min_log2 - 7)),
        Bins::Positive { min_log2, max_log2 } => format!("{}, to {}", power(min_log2 - 7), power(max_log2)),
        Bins::Signed { min_log2, max_log2 } => format!("{}, to ±{}", power(min_log2 - 7), power(max_log2)),
        Bins::Exact => "each value".to_string(),
    }
}

#[allow(dead_code, reason = "the test that includes this file has its own")]
fn main() -> std::io::Result<()> {
    let page = std::fs::read_to_string(PAGE)?;
    let page = updated(&page).ok_or_else(|| std::io::Error::other("docs/features.md has no markers"))?;
    std::fs::write(PAGE, page)
}
