//! Which pre-tokenizer a tokenizer.json asks for.

use super::super::ranks::{CL100K, GPT2, KIMI, O200K, QWEN2};
use super::general::General;
use super::scan::Family;
use serde_json::Value;

/// How a text is cut.
pub(in super::super) enum PreTokenizer {
    /// By a family's own automaton, after a space is put before the text if that is set.
    Known(Family, bool),
    /// Step by step.
    General(Box<General>),
}

const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK: [&str; 3] = [
    r"\p{N}{1,3}",
    "[一-龥\u{3040}-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
];

/// Other spellings of the same language, and the one used above. None changes a match: the possessive forms
/// stand before what they can't match anyway, `\s*[\r\n]` already reaches the last newline of the blanks.
const SPELLINGS: [(&str, &str); 8] = [
    (r"'(?i:[sdmt]|ll|ve|re)", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"),
    (r"'(?:[sdmt]|ll|ve|re)", r"'s|'t|'re|'ve|'m|'ll|'d"),
    (r"[^\r\n\p{L}\p{N}]?+\p{L}", r"[^\r\n\p{L}\p{N}]?\p{L}"),
    (r"\p{L}++", r"\p{L}+"),
    (r"\p{N}++", r"\p{N}+"),
    (r"[^\s\p{L}\p{N}]++", r"[^\s\p{L}\p{N}]+"),
    (r"[\r\n]*+", r"[\r\n]*"),
    (r"|\s*[\r\n]|", r"|\s*[\r\n]+|"),
];

/// How a `pre_tokenizer` member has texts cut, or why that is not for us.
pub(in super::super) fn recognise(pre_tokenizer: Option<&Value>) -> Result<PreTokenizer, String> {
    let Some(value) = pre_tokenizer.filter(|v| !v.is_null()) else {
        return Err("no pre-tokenizer".into());
    };
    let steps = match kind(value) {
        "Sequence" => value["pretokenizers"].as_array().map_or(&[][..], Vec::as_slice),
        _ => std::slice::from_ref(value),
    };
    if steps.is_empty() {
        return Err("an empty pre-tokenizer sequence".into());
    }
    if let Some((family, prefix_space)) = known(steps) {
        return Ok(PreTokenizer::Known(family, prefix_space));
    }
    let general = General::new(steps).map_err(|why| format!("pre-tokenizer {}: {why}", describe(steps)))?;
    Ok(PreTokenizer::General(Box::new(general)))
}

/// The family of some steps, and whether it puts a space before a text.
fn known(steps: &[Value]) -> Option<(Family, bool)> {
    let (last, splits) = steps.split_last().filter(|(last, _)| kind(last) == "ByteLevel")?;
    let prefix_space = last["add_prefix_space"].as_bool()?;
    let use_regex = last.get("use_regex").map_or(Some(true), Value::as_bool)?;
    if let ([], true) = (splits, use_regex) {
        return Some((Family::Gpt2, prefix_space));
    }
    // A ByteLevel after a split would put its prefix space before every piece.
    if prefix_space {
        return None;
    }
    if use_regex {
        let [digits] = splits else { return None };
        let each = kind(digits) == "Digits" && digits["individual_digits"] == true;
        return each.then_some((Family::Gpt2Digits, false));
    }
    let patterns: Option<Vec<(&str, bool)>> = splits.iter().map(split_pattern).collect();
    match patterns?.as_slice() {
        [(pattern, _)] => family_of(&respell(pattern)).map(|family| (family, false)),
        [(a, true), (b, true), (c, true)] if [*a, *b, *c] == DEEPSEEK => Some((Family::DeepSeek, false)),
        _ => None,
    }
}

fn kind(value: &Value) -> &str {
    value["type"].as_str().unwrap_or("")
}

fn describe(steps: &[Value]) -> String {
    let names: Vec<&str> = steps.iter().map(kind).collect();
    names.join(" + ")
}

/// The regular expression of a `Split` that keeps its matches apart, and whether it keeps what lies between
/// them too. (The one-split families match every character, so there nothing lies between.)
fn split_pattern(split: &Value) -> Option<(&str, bool)> {
    let pattern = split["pattern"].as_object().filter(|p| p.len() == 1)?;
    let regex = pattern.get("Regex")?.as_str().filter(|_| kind(split) == "Split")?;
    match (split["behavior"].as_str()?, split["invert"].as_bool()?) {
        ("Isolated", _) => Some((regex, true)),
        ("Removed", true) => Some((regex, false)),
        _ => None,
    }
}

/// Rewrites a pattern in the spelling of the constants above.
fn respell(pattern: &str) -> String {
    let mut out = pattern.to_owned();
    for (from, to) in SPELLINGS {
        out = out.replace(from, to);
    }
    // After `\s+(?!\S)` has failed only a lone blank is left, which `\s` and `\s+` match alike.
    if out.ends_with(r"|\s+(?!\S)|\s") {
        out.push('+');
    }
    out
}

fn family_of(pattern: &str) -> Option<Family> {
    Some(match pattern {
        GPT2 => Family::Gpt2,
        CL100K => Family::Cl100k,
        QWEN2 => Family::Qwen2,
        QWEN35 => Family::Qwen35,
        O200K => Family::O200k,
        TEKKEN => Family::Tekken,
        KIMI => Family::Kimi,
        _ => return None,
    })
}
