//! The rules that every reference keeps, and that a file is held to.

use super::Settings;
use super::target::ALL;
use crate::buckets::{Axis, BucketSchema, MAX_BUCKETS, join_parts, language, normalise_part, unescape_part};
use crate::{Error, Result};

/// Largest sample of a bucket.
const MAX_SAMPLE: u32 = 1 << 16;

/// The settings with their schema checked, or the first rule they break.
pub(super) fn check_settings(mut settings: Settings) -> Result<Settings> {
    settings.schema = settings.schema.validated()?;
    if settings.schema.needs_edges() {
        return Err(invalid("length_edges are \"auto\": find them by a first pass, then build".into()));
    }
    if let Some(sha256) = &settings.tokenizer
        && !(sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
    {
        return Err(invalid(format!("tokenizer {sha256:?} is no SHA-256 of 64 hexadecimal digits")));
    }
    if settings.sample_size > MAX_SAMPLE {
        return Err(invalid(format!("a sample of {} rows: at most {MAX_SAMPLE}", settings.sample_size)));
    }
    Ok(settings)
}

/// Whether `parts` make a bucket under the schema.
pub(super) fn check_parts<S: AsRef<str>>(schema: &BucketSchema, parts: &[S]) -> Result<()> {
    let id = || join_parts(parts);
    if parts.len() != schema.axes.len() {
        let (found, axes) = (parts.len(), schema.axis_names().join(", "));
        return Err(invalid(format!("bucket {:?} has {found} parts, not one for each of {axes}", id())));
    }
    for (axis, part) in schema.axes.iter().zip(parts) {
        let part = part.as_ref();
        let broken = if part == ALL {
            Err("a part is `*`, which stands for all: call it otherwise".to_owned())
        } else if !is_normal(part) {
            Err(format!("part {part:?} is not as ids have them: trimmed, lower case, `%` and `|` escaped"))
        } else {
            check_part(schema, axis, part)
        };
        broken.map_err(|what| invalid(format!("bucket {:?}: {what}", id())))?;
    }
    Ok(())
}

/// Whether a part is as it stands in ids.
fn is_normal(part: &str) -> bool {
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

/// An error if there are more buckets than a corpus may have.
pub(super) fn check_bucket_count(buckets: usize, schema: &BucketSchema) -> Result<()> {
    if buckets > MAX_BUCKETS {
        let axes = schema.axis_names().join(", ");
        return Err(invalid(format!("{buckets} buckets, more than {MAX_BUCKETS}: leave out one of {axes}")));
    }
    Ok(())
}

fn invalid(message: String) -> Error {
    Error::Input(format!("reference: {message}"))
}
