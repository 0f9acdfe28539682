//! Responses among the humans of their targets.

use super::meter::{Values, response_language};
use crate::distance::support::Bands;
use crate::features::PLACES;
use crate::features::registry::{FEATURES, Group};
use crate::records::record::Record;
use crate::reference::{Calibration, Distribution, Query, Reference, Variant};
use crate::{Error, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// How far a response is from its target's humans.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The support distance; NaN where there is none.
    pub distance: f64,
    /// The share of humans that are closer; NaN where there is none, or the reference has no sample.
    pub percentile: f64,
    /// Whether there is no response to score.
    pub empty: bool,
}

/// The step between values.
const GRID: f64 = 1.0 / (1_u64 << PLACES) as f64;

/// A feature that puts a response outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outside {
    /// The feature's number.
    pub feature: usize,
    /// The response's value.
    pub value: f64,
    /// The band that holds most humans.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// What the feature adds to the mean that is the distance, 0 to 5.
    pub counts: f64,
    /// The share of humans with a value that is not above the response's.
    pub cdf: f64,
    /// The share of humans that are strictly less far out: below the value where that is above the band, above it
    /// where that is below.
    pub share: f64,
}

/// What serves a target, ready to score against.
#[derive(Debug)]
pub struct Target {
    /// The target, normalised.
    pub id: String,
    /// The bucket, or buckets taken together, whose humans serve it.
    pub served_by: Option<String>,
    /// Why none do.
    pub reason: Option<String>,
    bands: Bands,
    calibration: Calibration,
    /// Its parts.
    pub parts: Vec<String>,
    /// By feature: how it is distributed among the humans that serve, once that was asked.
    humans: Vec<OnceLock<Option<Distribution>>>,
}

impl Target {
    /// Why a score is NaN.
    pub fn reason_of(&self, score: Score) -> Option<&str> {
        if !score.distance.is_nan() {
            return None;
        }
        if score.empty {
            return Some("the response is empty");
        }
        Some(self.reason.as_deref().unwrap_or("fewer than half of the features are defined for the response"))
    }

    /// The kind of that reason: few, whatever the records hold.
    pub fn kind_of(&self, score: Score) -> Option<&'static str> {
        match (self.reason_of(score)?, &self.reason) {
            _ if score.empty => Some("empty"),
            (_, Some(_)) => Some("no_humans"),
            (_, None) => Some("undefined"),
        }
    }

    /// Scores a response, whose row is the last of `values`.
    pub fn score(&self, text: &str, values: &Values) -> Score {
        let width = self.bands.features();
        let empty = text.trim().is_empty();
        let distance = match values {
            _ if empty => f64::NAN,
            Values::Default(values) => self.bands.distance(&values[values.len() - width..], 0),
            Values::Paper(values) => self.bands.distance(&values[values.len() - width..], 0),
        };
        let percentile = self.calibration.percentile(distance);
        Score { distance, percentile, empty }
    }

    fn humans(&self, reference: &Reference, query: &Query, feature: usize) -> Result<&Option<Distribution>> {
        if self.humans[feature].get().is_none() {
            let resolved = reference.resolve(&self.id, query)?;
            let humans = reference.target_distribution(&resolved, feature)?;
            // Another thread may have been quicker, with the same.
            let _ = self.humans[feature].set(humans);
        }
        Ok(self.humans[feature].get().unwrap_or(&None))
    }

    /// The `most` features that put the last row of `values` outside, those that count most first.
    pub fn outside(
        &self,
        reference: &Reference,
        query: &Query,
        values: &Values,
        most: usize,
    ) -> Result<Vec<Outside>> {
        let width = self.bands.features();
        let row: Vec<f64> = match values {
            Values::Default(values) => values[values.len() - width..].iter().map(|&v| v.into()).collect(),
            Values::Paper(values) => values[values.len() - width..].to_vec(),
        };
        let counts = self.bands.contributions_of(&row, 0);
        let mut order: Vec<usize> = (0..width).filter(|&feature| counts[feature] > 0.0).collect();
        order.sort_by(|&a, &b| counts[b].total_cmp(&counts[a]).then(a.cmp(&b)));
        let order = varied(order, &counts, reference.variant(), most);
        if order.is_empty() {
            return Ok(Vec::new());
        }
        let outside = |feature: usize| {
            let humans = self.humans(reference, query, feature)?;
            let (low, high) = self.bands.band(0, feature);
            let (value, counts) = (row[feature], counts[feature].into());
            let cdf = |x: f64| humans.as_ref().map_or(f64::NAN, |humans| humans.cdf(x));
            // Values lie on a grid, so that nothing is between one and the next below it.
            let share = if value > high { cdf(value - GRID) } else { 1.0 - cdf(value) };
            let cdf = cdf(value);
            Ok(Outside { feature, value, low, high, counts, cdf, share })
        };
        order.into_iter().map(outside).collect()
    }
}

/// Scores against one reference, from any number of threads; what serves a target is worked out once.
pub struct Scorer {
    reference: Arc<Reference>,
    query: Query,
    targets: RwLock<HashMap<String, Arc<Target>>>,
    /// Where targets are worked out; without one, on rayon's current threads.
    pool: Option<ThreadPool>,
}

/// Targets kept at a time: a stream of made-up ones must not fill the memory.
const MAX_TARGETS: usize = 20_000;

impl Scorer {
    /// With bands between the query's quantiles.
    pub fn new(reference: Arc<Reference>, query: Query) -> Self {
        Self { reference, query, targets: RwLock::default(), pool: None }
    }

    /// Works targets out on `threads` threads of its own: for use from threads that are not rayon's.
    ///
    /// # Errors
    /// Threads that can't be started.
    pub fn with_threads(self, threads: usize) -> Result<Self> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("polyalign-{index}"))
            .build()
            .map_err(|error| Error::Input(format!("can't start {threads} threads: {error}")))?;
        Ok(Self { pool: Some(pool), ..self })
    }

    /// The reference.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Does something on the threads where targets are worked out.
    pub fn install<T: Send>(&self, work: impl FnOnce(&Arc<Reference>) -> T + Send) -> T {
        match &self.pool {
            Some(pool) => pool.install(|| work(&self.reference)),
            None => work(&self.reference),
        }
    }

    /// How it is asked.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// In which language the responses of a target are, as far as it says.
    pub fn language<'a>(&'a self, target: &'a Target) -> &'a str {
        response_language(self.reference.schema(), &target.parts, &Record::default())
    }

    /// What serves a target: a bucket's id, in which `*` stands for all values of an axis.
    ///
    /// # Errors
    /// A target that is none under the reference's schema.
    pub fn target(&self, id: &str) -> Result<Arc<Target>> {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = targets.get(id) {
            return Ok(Arc::clone(target));
        }
        drop(targets);
        let made = match &self.pool {
            Some(pool) => pool.install(|| self.make(id)),
            None => self.make(id),
        };
        let target = Arc::new(made?);
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        if targets.len() >= MAX_TARGETS {
            targets.clear();
        }
        targets.insert(id.to_owned(), Arc::clone(&target));
        Ok(target)
    }

    fn make(&self, id: &str) -> Result<Target> {
        let resolved = self.reference.resolve(id, &self.query)?;
        let ids = [resolved.target.as_str()];
        let calibration = self.reference.calibrate(&ids, &self.query)?.pop().unwrap_or_default();
        let parts = resolved.target.split(crate::buckets::SEPARATOR).map(str::to_owned).collect();
        Ok(Target {
            bands: self.reference.bands(&ids, &self.query)?,
            calibration,
            parts,
            humans: (0..self.reference.features().len()).map(|_| OnceLock::new()).collect(),
            served_by: resolved.served_by,
            reason: resolved.reason,
            id: resolved.target,
        })
    }
}

/// The first `most` of features in descending order of what they count; of those that count the same, one of each group
/// before a second of any.
fn varied(order: Vec<usize>, counts: &[f32], variant: Variant, most: usize) -> Vec<usize> {
    let group = |feature: usize| match variant {
        Variant::Default => FEATURES.get(feature).map_or(Group::Lm, |feature| feature.group) as usize,
        Variant::Paper => 0,
    };
    let mut seen = [0_usize; Group::Lm as usize + 1];
    let rank = |feature: usize| {
        let seen = &mut seen[group(feature)];
        *seen += 1;
        (feature, *seen)
    };
    let mut ranked: Vec<(usize, usize)> = order.into_iter().map(rank).collect();
    ranked.sort_by(|a, b| counts[b.0].total_cmp(&counts[a.0]).then(a.1.cmp(&b.1)));
    ranked.into_iter().take(most).map(|(feature, _)| feature).collect()
}

impl Outside {
    /// In words: the feature, its value, and where humans are.
    pub fn in_words(&self, reference: &Reference) -> String {
        let name = reference.features()[self.feature].name;
        let [value, low, high] = [self.value, self.low, self.high].map(shown);
        let usual = if low == high { low } else { format!("{low} to {high}") };
        let side = if self.value > self.high { "above" } else { "below" };
        let humans = match (self.share * 100.0).floor() {
            percent if percent >= 100.0 => "all humans".to_owned(),
            percent => format!("{percent}% of humans"),
        };
        format!("{name} is {value}, {side} {humans} (usual: {usual})")
    }
}

/// A number for people: whole, or with three digits that count.
fn shown(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return format!("{value}");
    }
    let digits = (2.0 - libm::log10(value.abs()).floor()).clamp(0.0, 6.0) as usize;
    let shown = format!("{value:.digits$}");
    shown.trim_end_matches('0').trim_end_matches('.').to_owned()
}
