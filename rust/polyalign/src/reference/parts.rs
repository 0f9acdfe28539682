//! The parts of a bucket's id and of a target: what may stand on an axis.

use crate::buckets::{Axis, BucketSchema, language, normalise_part, unescape_part};

/// The part of a target that stands for all values of its axis.
pub(super) const ALL: &str = "*";

/// Whether a part is as it stands in ids.
pub(super) fn is_normal(part: &str) -> bool {
    normalise_part(&unescape_part(part)).is_some_and(|normal| normal == part)
}

/// Whether a part may stand on an axis; the error says why not.
pub(super) fn check_part(schema: &BucketSchema, axis: &Axis, part: &str) -> Result<(), String> {
    match axis {
        Axis::Language => {
            let known = language::primary_subtag(part) == Some(part) || part == schema.default_language;
            let listed = |languages: &Vec<String>| {
                languages.iter().any(|language| language == part) || part == schema.default_language
            };
            if !known {
                return Err(format!("{part:?} is no language; give a code such as `en`, `zh`, `yue`"));
            }
            if !schema.languages.as_ref().is_none_or(listed) {
                return Err(format!("language {part:?} is not among the schema's"));
            }
        }
        Axis::Track if !matches!(part, "single" | "multi") => {
            return Err(format!("track {part:?} is neither `single` nor `multi`"));
        }
        Axis::Length => {
            let names = schema.bin_names();
            if !names.iter().filter_map(|name| normalise_part(name)).any(|name| name == part) {
                return Err(format!("length bin {part:?} is none of {}", names.join(", ")));
            }
        }
        Axis::Track | Axis::Family | Axis::Custom(_) => {}
    }
    Ok(())
}
