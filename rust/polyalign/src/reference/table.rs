//! A reference as Arrow tables, and as what a page shows.

use super::{Comparison, Difference, Query, Reference, Variant, diff};
use crate::features::registry::{self, FEATURES, Feature, LM_FEATURES};
use crate::{Error, Result};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, RecordBatch, StringArray, UInt64Array,
};
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Few distinct strings.
fn labels(keys: impl Iterator<Item = usize>, values: Vec<&str>) -> Result<ArrayRef> {
    let keys: Int32Array = keys.map(|key| key as i32).collect();
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(StringArray::from(values)))?))
}

fn numbers<T>(rows: &[T], of: impl Fn(&T) -> f64) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<Float64Array>())
}

fn counts<T>(rows: &[T], of: impl Fn(&T) -> u64) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<UInt64Array>())
}

impl Reference {
    fn bucket_ids(&self) -> Vec<&str> {
        self.buckets.iter().map(|bucket| bucket.id.as_str()).collect()
    }

    fn feature_names(&self) -> Vec<&str> {
        self.features().iter().map(|feature| feature.name).collect()
    }

    /// [`Self::describe`] as a table: `bucket`, `feature`, `count`, `mean`, `std`, `min`, `q10` … `q90`, `max`.
    ///
    /// [`Error::Interrupted`] soon after `stop` is set.
    pub fn describe_table(&self, stop: &AtomicBool) -> Result<RecordBatch> {
        let rows = self.describe(stop)?;
        let quantile = |at: usize| numbers(&rows, |row| row.quantiles[at]);
        Ok(RecordBatch::try_from_iter([
            ("bucket", labels(rows.iter().map(|row| row.bucket), self.bucket_ids())?),
            ("feature", labels(rows.iter().map(|row| row.feature), self.feature_names())?),
            ("count", counts(&rows, |row| row.count)),
            ("mean", numbers(&rows, |row| row.mean)),
            ("std", numbers(&rows, |row| row.std)),
            ("min", numbers(&rows, |row| row.min)),
            ("q10", quantile(0)),
            ("q25", quantile(1)),
            ("q50", quantile(2)),
            ("q75", quantile(3)),
            ("q90", quantile(4)),
            ("max", numbers(&rows, |row| row.max)),
        ])?)
    }

    /// All bins as a table: `bucket`, `feature`, `low`, `high`, `count`, `mean`. Ends of open bins are infinite.
    pub fn bins_table(&self) -> Result<RecordBatch> {
        let features = self.features().len();
        let mut rows = Vec::new();
        for bucket in 0..self.buckets.len() {
            for feature in 0..features {
                let of = self.distribution(bucket, feature);
                for ((low, high, count), cell) in of.bars().into_iter().zip(of.cells()) {
                    rows.push((bucket, feature, low, high, count, of.place(cell)));
                }
            }
        }
        Ok(RecordBatch::try_from_iter([
            ("bucket", labels(rows.iter().map(|row| row.0), self.bucket_ids())?),
            ("feature", labels(rows.iter().map(|row| row.1), self.feature_names())?),
            ("low", numbers(&rows, |row| row.2)),
            ("high", numbers(&rows, |row| row.3)),
            ("count", counts(&rows, |row| row.4)),
            ("mean", numbers(&rows, |row| row.5)),
        ])?)
    }

    /// How the buckets that both references have differ, as a table: `bucket`, `feature`, `count`, `other_count`, and a
    /// column a distance; `wasserstein_scaled` is over σ.
    ///
    /// An error as of [`diff`].
    pub fn diff_table(&self, other: &Self, stop: &AtomicBool) -> Result<RecordBatch> {
        let Difference { pairs, comparisons: rows, .. } = diff(self, other, stop)?;
        let number = |of: fn(&Comparison) -> f64| numbers(&rows, of);
        Ok(RecordBatch::try_from_iter([
            ("bucket", labels(rows.iter().map(|row| pairs[row.pair].0), self.bucket_ids())?),
            ("feature", labels(rows.iter().map(|row| row.feature), self.feature_names())?),
            ("count", counts(&rows, |row| row.counts.0)),
            ("other_count", counts(&rows, |row| row.counts.1)),
            ("wasserstein", number(|row| row.wasserstein)),
            ("wasserstein_scaled", number(|row| row.wasserstein_scaled)),
            ("energy", number(|row| row.energy)),
            ("ks", number(|row| row.kolmogorov_smirnov)),
            ("total_variation", number(|row| row.total_variation)),
            ("jensen_shannon", number(|row| row.jensen_shannon)),
            ("hellinger", number(|row| row.hellinger)),
            ("psi", number(|row| row.psi)),
        ])?)
    }

    /// All that a page shows: settings, features, and each bucket with its histograms.
    ///
    /// [`Error::Interrupted`] soon after `stop` is set.
    pub fn page(&self, title: &str, query: &Query, stop: &AtomicBool) -> Result<Value> {
        let bucket = |number: usize| {
            if stop.load(Ordering::Relaxed) {
                Err(Error::Interrupted)
            } else {
                self.page_bucket(number, query)
            }
        };
        let buckets: Vec<Value> =
            (0..self.buckets.len()).into_par_iter().map(bucket).collect::<Result<_>>()?;
        let schema = self.schema();
        Ok(json!({
            "title": title,
            "labels": self.sources(),
            "variant": self.variant().name(),
            "registry": {"version": registry::VERSION},
            "schema": {
                "axes": schema.axis_names(),
                "length_unit": schema.length_unit.map(|unit| unit.name()),
                "length_edges": schema.length_edges,
            },
            "min_count": query.min_count,
            "features": self.features().iter().enumerate().map(|(at, _)| self.page_feature(at)).collect::<Vec<_>>(),
            "buckets": buckets,
        }))
    }

    fn page_feature(&self, feature: usize) -> Value {
        let info = &self.features()[feature];
        let of_registry = |feature: &Feature| (feature.group.name(), feature.definition, feature.unit);
        let of_paper = ("paper", "As the paper's published code computes it.", "");
        let (group, definition, unit) = match self.variant() {
            Variant::Default => FEATURES.iter().chain(LM_FEATURES).nth(feature).map_or(of_paper, of_registry),
            Variant::Paper => of_paper,
        };
        json!({
            "name": info.name,
            "group": group,
            "definition": definition,
            "unit": unit,
            "languages": info.languages,
            "scale": info.scale,
        })
    }

    fn page_bucket(&self, number: usize, query: &Query) -> Result<Value> {
        let bucket = &self.buckets[number];
        let backed_off = match self.variant() {
            // Those that the bucket's own humans don't serve, though others do.
            Variant::Default => {
                let levels = self.resolve(&bucket.id, query)?.feature_levels;
                levels.into_iter().flatten().filter(|level| *level > 0).count()
            }
            Variant::Paper => 0,
        };
        let mut features = Map::new();
        for (at, info) in self.features().iter().enumerate() {
            let of = self.distribution(number, at);
            if of.count() == 0 {
                continue;
            }
            let open = |end: f64| if end.is_finite() { Some(end) } else { None };
            let bins: Vec<_> = of
                .bars()
                .into_iter()
                .map(|(low, high, count)| json!([open(low), open(high), count]))
                .collect();
            let [q10, q25, q50, q75, q90] = [0.1, 0.25, 0.5, 0.75, 0.9].map(|p| of.quantile(p));
            features.insert(
                info.name.to_owned(),
                json!({
                    "count": of.count(), "mean": of.mean(), "std": of.std(), "min": of.min(), "max": of.max(),
                    "q10": q10, "q25": q25, "q50": q50, "q75": q75, "q90": q90, "bins": bins,
                }),
            );
        }
        Ok(json!({
            "bucket": bucket.id, "parts": bucket.parts, "rows": bucket.rows,
            "backed_off": backed_off, "features": features,
        }))
    }
}
