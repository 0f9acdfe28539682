//! Targets: ids in which a part may stand for all values of its axis; and what a part may be under a schema.

use super::backoff::drop_order;
use super::key::{SEPARATOR, join_parts, normalise_part, unescape_part};
use super::language;
use super::schema::{Axis, BucketSchema, MAX_BUCKETS};
use crate::{Error, Result};

/// The part of a target that stands for all values of its axis.
pub const ALL: &str = "*";

impl BucketSchema {
    /// Whether `parts` make a bucket under the schema; the error says why not.
    pub(crate) fn check_parts<S: AsRef<str>>(&self, parts: &[S]) -> Result<(), String> {
        let id = || join_parts(parts);
        if parts.len() != self.axes.len() {
            let (found, axes) = (parts.len(), self.axis_names().join(", "));
            return Err(format!("bucket {:?} has {found} parts, not one for each of {axes}", id()));
        }
        for (axis, part) in self.axes.iter().zip(parts) {
            let part = part.as_ref();
            let broken = if part == ALL {
                Err("a part is `*`, which stands for all: call it otherwise".to_owned())
            } else if !is_normal(part) {
                Err(format!(
                    "part {part:?} is not as ids have them: trimmed, lower case, `%` and `|` escaped"
                ))
            } else {
                self.check_part(axis, part)
            };
            broken.map_err(|what| format!("bucket {:?}: {what}", id()))?;
        }
        Ok(())
    }

    /// Whether a part may stand on an axis; the error says why not.
    fn check_part(&self, axis: &Axis, part: &str) -> Result<(), String> {
        match axis {
            Axis::Language => {
                let known = language::primary_subtag(part) == Some(part) || part == self.default_language;
                let listed = |languages: &Vec<String>| {
                    languages.iter().any(|language| language == part) || part == self.default_language
                };
                if !known {
                    return Err(format!("{part:?} is no language; give a code such as `en`, `zh`, `yue`"));
                }
                if !self.languages.as_ref().is_none_or(listed) {
                    return Err(format!("language {part:?} is not among the schema's"));
                }
            }
            Axis::Track if !matches!(part, "single" | "multi") => {
                return Err(format!("track {part:?} is neither `single` nor `multi`"));
            }
            Axis::Length => {
                let names = self.bin_names();
                if !names.iter().filter_map(|name| normalise_part(name)).any(|name| name == part) {
                    return Err(format!("length bin {part:?} is none of {}", names.join(", ")));
                }
            }
            Axis::Track | Axis::Family | Axis::Custom(_) => {}
        }
        Ok(())
    }

    /// Whether a corpus may have so many buckets; the error says what to do.
    pub(crate) fn check_bucket_count(&self, buckets: usize) -> Result<(), String> {
        if buckets > MAX_BUCKETS {
            let axes = self.axis_names().join(", ");
            return Err(format!("{buckets} buckets, more than {MAX_BUCKETS}: leave out one of {axes}"));
        }
        Ok(())
    }

    /// A target's parts, normalised.
    ///
    /// # Errors
    /// A target that is none under the schema: the wrong number of parts, a blank one, one that its axis does not have,
    /// or no language.
    pub(crate) fn parse_target(&self, target: &str) -> Result<Vec<String>> {
        if target.trim().is_empty() {
            return Err(Error::Input("no bucket is named".into()));
        }
        let normal = |part: &str| normalise_part(&unescape_part(part)).unwrap_or_default();
        let parts: Vec<String> = target.split(SEPARATOR).map(normal).collect();
        if parts.len() != self.axes.len() {
            let (found, axes) = (parts.len(), self.axis_names().join(", "));
            return Err(Error::Input(format!(
                "target {target:?} has {found} parts, not one for each of {axes}; write `*` for all values of an axis"
            )));
        }
        for (axis, part) in self.axes.iter().zip(&parts) {
            if part == ALL && *axis == Axis::Language {
                return Err(Error::Input(format!(
                    "target {target:?} has no language: name one, as humans of several are never taken together"
                )));
            }
            if part.is_empty() {
                return Err(Error::Input(format!(
                    "target {target:?} has a blank part; write `*` for all values"
                )));
            }
            if part != ALL {
                self.check_part(axis, part)
                    .map_err(|what| Error::Input(format!("target {target:?}: {what}")))?;
            }
        }
        Ok(parts)
    }

    /// A target and its ancestors, nearest first, each once, with `*` for what is dropped.
    pub(crate) fn levels(&self, mut parts: Vec<String>) -> Vec<Vec<String>> {
        let mut levels = vec![parts.clone()];
        for axis in drop_order(self) {
            if parts[axis] != ALL {
                parts[axis] = ALL.into();
                levels.push(parts.clone());
            }
        }
        levels
    }
}

/// Whether a part is as it stands in ids.
fn is_normal(part: &str) -> bool {
    normalise_part(&unescape_part(part)).is_some_and(|normal| normal == part)
}
