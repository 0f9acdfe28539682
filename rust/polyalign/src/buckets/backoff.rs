//! Back-off: which coarser buckets stand in for one with too little data.

use super::schema::{Axis, BucketSchema};

/// The axes of `schema` in the order in which back-off drops them: custom axes from the last, then
/// family, then track, then length. The language is never dropped.
pub fn drop_order(schema: &BucketSchema) -> Vec<usize> {
    let mut order: Vec<usize> =
        (0..schema.axes.len()).rev().filter(|&i| matches!(schema.axes[i], Axis::Custom(_))).collect();
    for axis in [Axis::Family, Axis::Track, Axis::Length] {
        order.extend(schema.axes.iter().position(|a| *a == axis));
    }
    order
}

/// The ancestors of a bucket, nearest first. A dropped part is `None`, which means all values.
///
/// Length goes last of what is dropped, as most features scale with it. The last ancestor is the
/// language alone (everything, in a schema without languages).
///
/// ```
/// use polyalign::buckets::{BucketSchema, ancestors};
/// let chain = ancestors(&BucketSchema::default(), &["zh", "multi", "qa", "short"]);
/// assert_eq!(chain, [
///     [Some("zh"), Some("multi"), None, Some("short")],
///     [Some("zh"), None, None, Some("short")],
///     [Some("zh"), None, None, None],
/// ]);
/// ```
///
/// # Panics
/// If `parts` are not as many as the schema's axes.
pub fn ancestors<'p, S: AsRef<str>>(schema: &BucketSchema, parts: &'p [S]) -> Vec<Vec<Option<&'p str>>> {
    assert_eq!(parts.len(), schema.axes.len(), "one part per axis");
    let mut kept: Vec<Option<&str>> = parts.iter().map(|part| Some(part.as_ref())).collect();
    let drop = |axis: usize| {
        kept[axis] = None;
        kept.clone()
    };
    drop_order(schema).into_iter().map(drop).collect()
}
