//! A reference as a table.

use super::Reference;
use crate::{Error, Result};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// One feature in one bucket, in numbers. NaN where no human has a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The bucket's number.
    pub bucket: usize,
    /// The feature's number.
    pub feature: usize,
    /// Humans for whom it is defined.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Population standard deviation.
    pub std: f64,
    /// The least value.
    pub min: f64,
    /// Quantiles .1, .25, .5, .75 and .9.
    pub quantiles: [f64; 5],
    /// The greatest value.
    pub max: f64,
}

impl Reference {
    /// Every feature of every bucket in numbers: by bucket, then feature. On rayon's current threads.
    ///
    /// # Errors
    /// [`Error::Interrupted`] soon after `stop` is set.
    pub fn describe(&self, stop: &AtomicBool) -> Result<Vec<Summary>> {
        let features = self.features().len();
        let summary = |at: usize| {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let (bucket, feature) = (at / features, at % features);
            let of = self.distribution(bucket, feature);
            Ok(Summary {
                bucket,
                feature,
                count: of.count(),
                mean: of.mean(),
                std: of.std(),
                min: of.min(),
                quantiles: [0.1, 0.25, 0.5, 0.75, 0.9].map(|p| of.quantile(p)),
                max: of.max(),
            })
        };
        (0..self.buckets.len() * features).into_par_iter().map(summary).collect()
    }
}
