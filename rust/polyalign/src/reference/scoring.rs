//! Responses against the humans of their targets: bands, support distances, and how they rank among humans.

use super::target::{Found, Levels};
use super::{Query, Reference, Value, Variant, fixed};
use crate::Result;
use crate::distance::support::Bands;
use rayon::prelude::*;
use std::collections::HashMap;

/// The most that one feature counts.
const CAP: f64 = 5.0;

/// Low end, high end and standard deviation.
type Band = [f64; 3];
const NONE: Band = [f64::NAN; 3];

/// How far sampled humans are from the bands of their own target.
///
/// ```
/// # use polyalign::reference::Calibration;
/// let humans = Calibration::new(vec![(0.1, 1.0), (0.3, 1.0), (0.2, 2.0)]);
/// assert_eq!(humans.percentile(0.25), 0.75);
/// assert_eq!(humans.percentile(0.2), 0.5);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    /// Ascending.
    distances: Vec<f64>,
    /// Per distance, the weight of all before; and at the end that of all.
    weights: Vec<f64>,
}

impl Calibration {
    /// From distances and weights. Those that are NaN don't count.
    pub fn new(mut humans: Vec<(f64, f64)>) -> Self {
        humans.retain(|(distance, _)| !distance.is_nan());
        humans.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut weights = vec![0.0];
        humans.iter().for_each(|(_, weight)| weights.push(weights[weights.len() - 1] + weight));
        Self { distances: humans.into_iter().map(|(distance, _)| distance).collect(), weights }
    }

    /// The humans' distances, ascending.
    pub fn distances(&self) -> &[f64] {
        &self.distances
    }

    /// The share of humans that are closer than `distance`, counting half of those equally far. NaN without humans.
    pub fn percentile(&self, distance: f64) -> f64 {
        let Some(&total) = self.weights.last().filter(|total| **total > 0.0) else { return f64::NAN };
        if distance.is_nan() {
            return f64::NAN;
        }
        let closer = self.distances.partition_point(|human| *human < distance);
        let up_to = self.distances.partition_point(|human| *human <= distance);
        0.5 * (self.weights[closer] + self.weights[up_to]) / total
    }
}

impl Reference {
    /// The bands of targets, one row each, in order: between the quantiles `query.low` and `query.high`, with what
    /// serves each feature ([`Self::resolve`]) and none where nothing does.
    ///
    /// The least divisor is the feature's scale and a feature counts 5 at most; in the paper's variant 1e-6 and any.
    pub fn bands<S: AsRef<str>>(&self, targets: &[S], query: &Query) -> Result<Bands> {
        let mut levels = Levels::new(self);
        let found = levels.resolve_all(targets, query)?;
        self.bands_of(&levels, &found, query)
    }

    fn bands_of(&self, levels: &Levels<'_>, targets: &[Found], query: &Query) -> Result<Bands> {
        query.check()?;
        let measured = self.features().len() - if query.lm { 0 } else { self.settings.lm_features() };
        let place = |(feature, level): (usize, Option<usize>)| {
            level.filter(|_| feature < measured).map(|level| (level, feature))
        };
        let places: Vec<Option<(usize, usize)>> =
            targets.iter().flat_map(|target| target.feature_levels().enumerate().map(place)).collect();
        // Targets share ancestors: each is summed up once.
        let mut distinct: Vec<(usize, usize)> = places.iter().flatten().copied().collect();
        distinct.sort_unstable();
        distinct.dedup();
        let band = |&(level, feature): &(usize, usize)| -> Result<Band> {
            let humans = self.pooled(&levels.levels[level].buckets, feature)?;
            Ok([humans.quantile(query.low), humans.quantile(query.high), humans.std()])
        };
        let bands: Vec<Band> = distinct.par_iter().map(band).collect::<Result<_>>()?;
        let find = |place: (usize, usize)| distinct.binary_search(&place).map_or(NONE, |at| bands[at]);
        let rows: Vec<Band> = places.into_iter().map(|place| place.map_or(NONE, find)).collect();
        let column = |of: usize| rows.iter().map(|band| band[of]).collect::<Vec<f64>>();
        let floor: Vec<f64> = self.features().iter().map(|feature| feature.scale).collect();
        let cap = if self.variant() == Variant::Paper { f64::INFINITY } else { CAP };
        Bands::new(&column(0), &column(1), &column(2), &floor, cap)
    }

    /// The support distance of each row of `values` `[n, features]` from the humans of its target.
    ///
    /// NaN where nothing serves the target, and where fewer than half of its features are defined for the row.
    pub fn support_distances<V: Value, S: AsRef<str>>(
        &self,
        values: &[V],
        targets: &[S],
        query: &Query,
    ) -> Result<Vec<f64>> {
        let (names, rows) = distinct(targets);
        self.bands(&names, query)?.distances(values, &rows)
    }

    /// What each feature adds to the support distance of each row, `[n, features]`; NaN where it does not count.
    pub fn support_contributions<V: Value, S: AsRef<str>>(
        &self,
        values: &[V],
        targets: &[S],
        query: &Query,
    ) -> Result<Vec<f32>> {
        let (names, rows) = distinct(targets);
        self.bands(&names, query)?.contributions(values, &rows)
    }

    /// How the sampled humans of each target fare against its bands: what a distance is to be ranked among.
    ///
    /// The humans are those of the level that serves the target; where that is several buckets, each bucket's sample
    /// stands for all of its rows. Empty without a sample.
    pub fn calibrate<S: AsRef<str>>(&self, targets: &[S], query: &Query) -> Result<Vec<Calibration>> {
        let mut levels = Levels::new(self);
        let found = levels.resolve_all(targets, query)?;
        let bands = self.bands_of(&levels, &found, query)?;
        let calibrate = |(target, found): (usize, &Found)| {
            let mut humans = Vec::new();
            for &bucket in found.serving().map_or(&[][..], |level| &levels.levels[level].buckets) {
                let distances = self.sampled_distances(&bands, bucket, target)?;
                let weight = self.buckets[bucket].rows as f64 / distances.len() as f64;
                humans.extend(distances.into_iter().map(|distance| (distance, weight)));
            }
            Ok(Calibration::new(humans))
        };
        found.par_iter().enumerate().map(calibrate).collect()
    }

    fn sampled_distances(&self, bands: &Bands, bucket: usize, target: usize) -> Result<Vec<f64>> {
        let rows = self.sampled_rows(bucket);
        let targets = vec![target as i64; rows.len() / self.features().len()];
        match self.variant() {
            Variant::Default => bands.distances(rows, &targets),
            // Back to the decimals that a single-precision number stands for, where it is precise enough.
            Variant::Paper => {
                let decimal = |value: &f32| match fixed::to_fixed(*value, Variant::Paper) {
                    Some(fixed::ABSENT) | None => f64::NAN,
                    Some(fixed) => fixed::to_value(fixed, Variant::Paper),
                };
                bands.distances(&rows.iter().map(decimal).collect::<Vec<f64>>(), &targets)
            }
        }
    }
}

/// The distinct targets, and which of them each row has.
fn distinct<S: AsRef<str>>(targets: &[S]) -> (Vec<&str>, Vec<i64>) {
    let (mut names, mut numbers) = (Vec::new(), HashMap::new());
    let mut rows = Vec::with_capacity(targets.len());
    for target in targets {
        let target = target.as_ref();
        let number = *numbers.entry(target).or_insert_with(|| {
            names.push(target);
            names.len() as i64 - 1
        });
        rows.push(number);
    }
    (names, rows)
}
