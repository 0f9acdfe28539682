//! The buckets of a corpus, numbered in order of first appearance.

use super::key::join_parts;
use super::schema::{BucketSchema, MAX_BUCKETS};
use crate::{Error, Result};
use std::collections::HashMap;

/// Distinct buckets in order of first appearance.
///
/// A table grows without limit, so that it can be filled in parallel and merged;
/// [`BucketTable::check`] it whenever a chunk is done.
#[derive(Clone, Debug, Default)]
pub struct BucketTable {
    axes: Vec<Interner<Box<str>>>,
    buckets: Interner<Box<[u32]>>,
    key: Vec<u32>,
    ids: Vec<String>,
    parts: Vec<Vec<String>>,
}

impl BucketTable {
    /// Number of distinct buckets.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bucket's id: its parts joined by `|`.
    pub fn id(&self, bucket: u32) -> &str {
        &self.ids[bucket as usize]
    }

    /// The bucket's parts in the schema's axis order.
    pub fn parts(&self, bucket: u32) -> &[String] {
        &self.parts[bucket as usize]
    }

    /// The ids of all buckets, in order.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The distinct parts of one axis in order of first appearance.
    pub fn axis_parts(&self, axis: usize) -> impl ExactSizeIterator<Item = &str> {
        self.axes.get(axis).map_or(&[][..], |values| &values.items).iter().map(|part| &**part)
    }

    /// The bucket of these (normalised) parts, added if new. One part per axis, always as many.
    pub fn insert<S: AsRef<str>>(&mut self, parts: &[S]) -> u32 {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        key.extend(parts.iter().enumerate().map(|(axis, part)| self.part(axis, part.as_ref())));
        let bucket = self.bucket(&key);
        self.key = key;
        bucket
    }

    /// Adds another table's buckets; the result maps its numbers to this table's.
    pub fn merge(&mut self, other: &Self) -> Vec<u32> {
        other.parts.iter().map(|parts| self.insert(parts)).collect()
    }

    /// An error if there are more than [`MAX_BUCKETS`] buckets, which names the axis that has the
    /// most values.
    pub fn check(&self, schema: &BucketSchema) -> Result<()> {
        if self.len() <= MAX_BUCKETS {
            return Ok(());
        }
        // The first of equals, so that the message does not depend on order.
        let sizes = self.axes.iter().map(|axis| axis.items.len()).enumerate();
        let largest =
            sizes.max_by_key(|&(axis, values)| (values, usize::MAX - axis)).map_or(0, |(axis, _)| axis);
        Err(Error::Schema(format!(
            "more than {MAX_BUCKETS} buckets: axis `{}` has the most values; leave it out, or map its values to fewer",
            schema.axes[largest].name()
        )))
    }

    /// The number of a part on an axis, added if new.
    pub(super) fn part(&mut self, axis: usize, part: &str) -> u32 {
        if axis >= self.axes.len() {
            self.axes.resize_with(axis + 1, Interner::default);
        }
        self.axes[axis].number(part)
    }

    /// The bucket of these parts' numbers, added if new.
    pub(super) fn bucket(&mut self, key: &[u32]) -> u32 {
        let bucket = self.buckets.number(key);
        if bucket as usize == self.ids.len() {
            let part = |(axis, &number): (usize, &u32)| self.axes[axis].items[number as usize].to_string();
            let parts: Vec<String> = key.iter().enumerate().map(part).collect();
            self.ids.push(join_parts(&parts));
            self.parts.push(parts);
        }
        bucket
    }
}

/// Numbers distinct values in order of first appearance.
#[derive(Clone, Debug)]
struct Interner<K> {
    items: Vec<K>,
    numbers: HashMap<K, u32>,
    last: u32,
}

impl<K> Default for Interner<K> {
    fn default() -> Self {
        Self { items: Vec::new(), numbers: HashMap::new(), last: 0 }
    }
}

impl<K> Interner<K> {
    fn number<Q>(&mut self, value: &Q) -> u32
    where
        Q: Eq + std::hash::Hash + ?Sized,
        K: std::borrow::Borrow<Q> + Eq + std::hash::Hash + Clone,
        for<'q> K: From<&'q Q>,
    {
        // Neighbouring records mostly agree.
        if self.items.get(self.last as usize).is_some_and(|item| item.borrow() == value) {
            return self.last;
        }
        self.last = match self.numbers.get(value) {
            Some(&number) => number,
            None => {
                let number = self.items.len() as u32;
                self.items.push(value.into());
                self.numbers.insert(value.into(), number);
                number
            }
        };
        self.last
    }
}
