//! Bucket ids: how parts are normalised, escaped, joined and read back.

use crate::error::quoted;
use crate::{Error, Result};
use std::borrow::Cow;

/// Bytes of a part, at most: a longer one is no label.
pub(super) const MAX_PART: usize = 1024;

/// What joins the parts of an id.
pub const SEPARATOR: char = '|';

/// A raw value as a part of an id: trimmed, lower-cased, `%` and `|` percent-escaped.
/// `None` where nothing is left.
///
/// ```
/// # use polyalign::buckets::normalise_part;
/// assert_eq!(normalise_part(" Q|A ").as_deref(), Some("q%7Ca"));
/// assert_eq!(normalise_part(" \t"), None);
/// ```
pub fn normalise_part(raw: &str) -> Option<String> {
    let trimmed = raw.trim();
    if trimmed.is_empty() {
        return None;
    }
    let lower = trimmed.to_lowercase();
    if !lower.contains(['%', SEPARATOR]) {
        return Some(lower);
    }
    Some(lower.replace('%', "%25").replace(SEPARATOR, "%7C"))
}

/// The id of a bucket: its parts joined by `|`.
pub fn join_parts<S: AsRef<str>>(parts: &[S]) -> String {
    let mut id = String::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            id.push(SEPARATOR);
        }
        id.push_str(part.as_ref());
    }
    id
}

/// The parts of an id, as they stand in it (escaped).
///
/// Errors if a part is blank or holds a `%` that escapes neither `%` nor `|`.
///
/// ```
/// # use polyalign::buckets::split_id;
/// assert_eq!(split_id("zh|multi|dialogue|short")?, ["zh", "multi", "dialogue", "short"]);
/// # Ok::<(), polyalign::Error>(())
/// ```
pub fn split_id(id: &str) -> Result<Vec<&str>> {
    let parts: Vec<&str> = id.split(SEPARATOR).collect();
    for part in &parts {
        let message = if part.trim().is_empty() {
            "has a blank part"
        } else if has_stray_percent(part) {
            "has a `%` that is not `%25` or `%7C`"
        } else if part.len() > 4 * MAX_PART {
            "has a part too long for a label"
        } else {
            continue;
        };
        return Err(Error::Schema(format!("bucket id {} {message}", quoted(id))));
    }
    Ok(parts)
}

/// The part's text without escapes, to show to people.
pub fn unescape_part(part: &str) -> Cow<'_, str> {
    if !part.contains('%') {
        return Cow::Borrowed(part);
    }
    Cow::Owned(part.replace("%7C", "|").replace("%25", "%"))
}

fn has_stray_percent(part: &str) -> bool {
    part.match_indices('%').any(|(at, _)| !matches!(part.get(at + 1..at + 3), Some("25" | "7C")))
}
