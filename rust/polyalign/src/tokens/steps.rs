//! The steps of a tokenizer.json before its model.

use serde_json::Value;

/// What a step is called.
pub(super) fn kind(step: &Value) -> &str {
    step["type"].as_str().unwrap_or("")
}

/// The steps of a member, those of sequences in their places.
pub(super) fn steps<'v>(value: &'v Value, name: &str) -> Vec<&'v Value> {
    match value[name].as_array() {
        Some(steps_in) if kind(value) == "Sequence" => {
            steps_in.iter().flat_map(|step| steps(step, name)).collect()
        }
        _ if value.is_null() => Vec::new(),
        _ => vec![value],
    }
}

/// The same of a member that may not be there.
pub(super) fn steps_of<'v>(value: Option<&'v Value>, name: &str) -> Vec<&'v Value> {
    value.map_or_else(Vec::new, |value| steps(value, name))
}
