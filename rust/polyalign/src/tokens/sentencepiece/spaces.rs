//! What a tokenizer.json makes of blanks before BPE: which become `▁`, and where one is put before a text.

use super::super::chars::META;
use super::super::steps::steps_of;
use serde_json::{Map, Value};

/// What is done about blanks.
pub(super) struct Spaces {
    pub(super) prefix: Prefix,
    /// Whether a pre-token begins at every `▁`.
    pub(super) split: bool,
    /// Whether the normaliser replaces blanks, so that added tokens of normalised text see `▁` in their place.
    pub(super) replaced: bool,
}

/// Where a `▁` is put before a stretch of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    Never,
    /// Before every stretch between raw added tokens.
    Each,
    /// Before every stretch that does not begin with one.
    Missing,
    /// Before that at the beginning of the text, if it does not begin with one.
    First,
}

/// Whether a `▁` is asked for at all.
pub(super) fn is_meant(rest: &Map<String, Value>) -> bool {
    let replaces = |step: &Value| matches!(kind(step), "Prepend" | "Replace");
    steps_of(rest.get("normalizer"), "normalizers").iter().any(|step| replaces(step))
        || steps_of(rest.get("pre_tokenizer"), "pretokenizers").iter().any(|step| kind(step) == "Metaspace")
}

impl Spaces {
    /// What steps of a normaliser and the pre-tokenizer of a file do; or which step is not one of these.
    pub(super) fn of(normalizers: &[&Value], rest: &Map<String, Value>) -> Result<Self, String> {
        let (mut prepended, mut replaced) = (false, false);
        for &step in normalizers {
            match kind(step) {
                "Prepend" if !prepended && step["prepend"] == "▁" => prepended = true,
                "Replace" if step["pattern"]["String"] == " " && step["content"] == "▁" => replaced = true,
                other => return Err(format!("normalizer {other}")),
            }
        }
        let mut metaspace = None;
        for step in steps_of(rest.get("pre_tokenizer"), "pretokenizers") {
            match kind(step) {
                "Metaspace" if metaspace.is_none() => metaspace = Some(read_metaspace(step)?),
                // No blank is left that it could find.
                "Split" if replaced && step["pattern"]["String"] == " " && step["invert"] == false => {}
                other => return Err(format!("pre-tokenizer {other} is not one of the fast ones")),
            }
        }
        match metaspace {
            None if replaced => {
                let prefix = if prepended { Prefix::Each } else { Prefix::Never };
                Ok(Self { prefix, split: false, replaced })
            }
            Some((Prefix::Never, split)) if prepended && replaced => {
                Ok(Self { prefix: Prefix::Each, split, replaced })
            }
            Some((prefix, split)) if !prepended => Ok(Self { prefix, split, replaced }),
            Some(_) => Err("a Prepend and a Metaspace that prepends".into()),
            None => Err("blanks that stay blanks".into()),
        }
    }

    /// Whether a `▁` is to be put before a stretch of text, the first of its text or not.
    pub(super) fn is_missing(&self, text: &str, first: bool) -> bool {
        let begins = || text.starts_with([' ', META]);
        match self.prefix {
            Prefix::Never => false,
            Prefix::Each => true,
            Prefix::Missing => !begins(),
            Prefix::First => first && !begins(),
        }
    }

    /// What the normaliser makes of a text, with blanks for `▁`.
    pub(super) fn normalise(&self, text: &str) -> String {
        let prefix = if self.prefix == Prefix::Each { " " } else { "" };
        format!("{prefix}{}", super::blank(text))
    }
}

fn kind(step: &Value) -> &str {
    step["type"].as_str().unwrap_or("without a type")
}

/// Where a `Metaspace` puts a `▁`, and whether it splits.
fn read_metaspace(step: &Value) -> Result<(Prefix, bool), String> {
    let unknown = || "a Metaspace of an unknown form".to_owned();
    let prefix = match (&step["prepend_scheme"], &step["add_prefix_space"]) {
        (Value::String(scheme), Value::Null | Value::Bool(true)) if scheme == "first" => Prefix::First,
        (Value::String(scheme), _) if scheme == "never" => Prefix::Never,
        (Value::String(scheme), Value::Null | Value::Bool(true)) if scheme == "always" => Prefix::Missing,
        (Value::Null, Value::Null | Value::Bool(true)) if step.get("prepend_scheme").is_none() => {
            Prefix::Missing
        }
        _ => return Err(unknown()),
    };
    let split = match &step["split"] {
        Value::Null => true,
        Value::Bool(split) => *split,
        _ => return Err(unknown()),
    };
    if step["replacement"] == "▁" { Ok((prefix, split)) } else { Err(unknown()) }
}
