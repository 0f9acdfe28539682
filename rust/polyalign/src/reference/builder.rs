//! Counting rows of feature values from many threads.

use super::accumulate::{Accumulator, Block, Layout, TooLarge};
use super::cells::Cells;
use super::fixed::{ABSENT, Value, to_fixed};
use super::sample::{Entry, Samples};
use super::validate::check_settings;
use super::{Bucket, FeatureInfo, Reference, Settings};
use crate::buckets::BucketTable;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Rows that are turned into units together.
const BLOCK: usize = 256;

/// Features whose values are turned around together.
const TOGETHER: usize = 16;

/// Counts feature values of buckets, from any number of threads, in any order, with one result.
///
/// Memory does not grow with the rows: a bucket takes at most 16 bytes a bin and its sample.
pub struct Builder {
    settings: Settings,
    features: &'static [FeatureInfo],
    layout: Layout,
    buckets: RwLock<Buckets>,
    sources: Mutex<BTreeSet<String>>,
    /// What went wrong first: then the counts are not to be used.
    failure: Mutex<Option<String>>,
}

#[derive(Default)]
struct Buckets {
    table: BucketTable,
    counts: Vec<Arc<Mutex<Accumulator>>>,
}

/// The value of a lock that no thread can have left half-done.
macro_rules! lock {
    ($lock:expr) => {
        $lock.unwrap_or_else(PoisonError::into_inner)
    };
}

impl Builder {
    /// A builder that has counted nothing.
    ///
    /// An error if the schema's length edges are not known yet, the tokenizer is no SHA-256, or the sample too large.
    pub fn new(settings: Settings) -> Result<Self> {
        let settings = check_settings(settings)?;
        let features = settings.features();
        Ok(Self {
            features,
            layout: Layout::new(features),
            settings,
            buckets: RwLock::default(),
            sources: Mutex::default(),
            failure: Mutex::default(),
        })
    }

    /// What it counts under.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The number of the bucket with these parts (as they stand in ids), for [`Self::add_rows`].
    ///
    /// An error if there are too many buckets, which names the axis that has the most values, or if the parts are
    /// none under the schema.
    pub fn bucket<S: AsRef<str>>(&self, parts: &[S]) -> Result<usize> {
        super::validate::check_parts(&self.settings.schema, parts)?;
        let mut buckets = lock!(self.buckets.write());
        let bucket = buckets.table.insert(parts) as usize;
        if bucket == buckets.counts.len() {
            buckets.table.check(&self.settings.schema)?;
            let counts = Accumulator::new(self.features, self.settings.sample_size);
            buckets.counts.push(Arc::new(Mutex::new(counts)));
        }
        Ok(bucket)
    }

    /// Notes where rows are from.
    pub fn add_source(&self, label: &str) {
        lock!(self.sources.lock()).insert(label.to_owned());
    }

    /// Counts rows `[n, features]` of one bucket. NaN is a value that is not defined, and is not counted.
    ///
    /// `keys`: one for each row, a hash of its record; the rows with the smallest are the sample.
    ///
    /// Threads that add to one bucket wait for each other, so add all rows of a bucket that are at hand together.
    /// An error if a value can't be held (below 0 where the feature is not, infinite, 2³¹ or more); then
    /// [`Self::finish`] gives it again, as some of the rows may be counted.
    pub fn add_rows<V: Value>(&self, bucket: usize, keys: &[u64], values: &[V]) -> Result<()> {
        let result = self.try_add_rows(bucket, keys, values);
        if let Err(error) = &result {
            lock!(self.failure.lock()).get_or_insert_with(|| error.to_string());
        }
        result
    }

    fn try_add_rows<V: Value>(&self, bucket: usize, keys: &[u64], values: &[V]) -> Result<()> {
        let width = self.features.len();
        if values.len() != keys.len() * width {
            let (values, rows) = (values.len(), keys.len());
            return Err(invalid(format!("{values} values are not {rows} rows of {width} features")));
        }
        let Some(counts) = lock!(self.buckets.read()).counts.get(bucket).cloned() else {
            return Err(invalid(format!("there is no bucket {bucket}: ask `bucket` for its number")));
        };
        let mut block = Block { rows: 0, columns: Vec::new() };
        for (keys, values) in keys.chunks(BLOCK).zip(values.chunks(BLOCK * width)) {
            self.fill(&mut block, values)?;
            let mut counts = lock!(counts.lock());
            counts.add(self.features, &self.layout, &block).map_err(|failed| self.too_large(failed))?;
            for (&key, row) in keys.iter().zip(values.chunks_exact(width)) {
                if counts.sample.wants(key) {
                    counts.sample.add(Entry::new(key, row.iter().map(|value| value.single())));
                }
            }
        }
        Ok(())
    }

    /// Rows as columns of units.
    fn fill<V: Value>(&self, block: &mut Block, values: &[V]) -> Result<()> {
        let width = self.features.len();
        block.rows = values.len() / width;
        block.columns.resize(values.len(), ABSENT);
        let (rows, variant) = (block.rows, self.settings.variant);
        let lowest: Vec<i64> = self.features.iter().map(FeatureInfo::lowest).collect();
        // A cache line of values at a time, so that each is read once.
        for first in (0..width).step_by(TOGETHER) {
            let together = first..width.min(first + TOGETHER);
            for (number, row) in values.chunks_exact(width).enumerate() {
                for at in together.clone() {
                    block.columns[at * rows + number] = match to_fixed(row[at], variant) {
                        Some(value) if value >= lowest[at] || value == ABSENT => value,
                        _ => return Err(unusable(&self.features[at], row[at].into())),
                    };
                }
            }
        }
        Ok(())
    }

    fn too_large(&self, TooLarge(feature): TooLarge) -> Error {
        invalid(format!("the sums of `{}` are too large to hold", self.features[feature].name))
    }

    /// The reference of all that was counted.
    pub fn finish(self) -> Result<Reference> {
        if let Some(failure) = lock!(self.failure.into_inner()) {
            return Err(Error::Input(failure));
        }
        let Buckets { table, counts } = lock!(self.buckets.into_inner());
        let bound = counts.iter().map(|counts| lock!(counts.lock()).cell_bound()).sum();
        let mut counts: Vec<Option<_>> = counts.into_iter().map(Some).collect();
        let mut order: Vec<u32> = (0..table.len() as u32).collect();
        order.sort_unstable_by_key(|&bucket| table.id(bucket));
        let exact = self.features.iter().any(|feature| feature.cut.is_none());
        let mut reference = Reference {
            sources: lock!(self.sources.into_inner()),
            buckets: Vec::with_capacity(table.len()),
            totals: Vec::with_capacity(table.len() * self.features.len()),
            cells: Cells::new(exact, table.len() * self.features.len(), bound),
            samples: Samples::new(),
            settings: self.settings,
        };
        for bucket in order {
            let counts = counts[bucket as usize].take().and_then(Arc::into_inner);
            let Some(counts) = counts else { return Err(invalid("a thread is still adding rows".into())) };
            let (id, parts) = (table.id(bucket).to_owned(), table.parts(bucket).to_vec());
            let counts = lock!(counts.into_inner());
            push_bucket(&mut reference, Bucket { id, parts, rows: counts.rows }, counts, &self.layout)
                .map_err(|TooLarge(feature)| {
                    invalid(format!("the sums of `{}` are too large to hold", self.features[feature].name))
                })?;
        }
        Ok(reference)
    }
}

fn push_bucket(
    reference: &mut Reference,
    bucket: Bucket,
    mut counts: Accumulator,
    layout: &Layout,
) -> Result<(), TooLarge> {
    // A bucket that was asked for, but has no rows, is none.
    if bucket.rows == 0 {
        return Ok(());
    }
    let sample = std::mem::take(&mut counts.sample).into_sorted();
    let Reference { totals, cells, samples, buckets, .. } = reference;
    samples.push_bucket(sample.iter().map(|entry| (entry.key, &*entry.row)));
    buckets.push(bucket);
    counts.finish(reference.settings.features(), layout, |of_feature, row| {
        totals.push(of_feature);
        cells.push_row(row);
    })
}

fn unusable(feature: &FeatureInfo, value: f64) -> Error {
    let why =
        if value < 0.0 && feature.lowest() == 0 { "it is never below 0" } else { "it must be below 2³¹" };
    invalid(format!("`{}` is {value}, which can't be counted: {why}", feature.name))
}

fn invalid(message: String) -> Error {
    Error::Input(format!("reference: {message}"))
}
