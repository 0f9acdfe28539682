//! How far a response's features lie outside the bands that hold most humans of its bucket.
//!
//! A feature counts 0 inside its band; outside, the way to the nearer end in units of max(high − low, σ, s_f), at most `cap`.
//! The distance is the mean over features. Of a band of 10 to 20 words, with σ = 4 and s_f = 1, responses of 15, 35 and 100
//! words count 0, 15/10 = 1.5, and 5 rather than 80/10.

use super::simd::{LANES, Lanes, sum, vectorised};
use crate::{Error, Result};
use rayon::prelude::*;

/// A response's value: `f32` or `f64`.
trait Number: Copy + Sync + Into<f64> {}
impl<V: Copy + Sync + Into<f64>> Number for V {}

/// The bands of every bucket, ready to be scored against.
///
/// ```
/// use polyalign::distance::support::Bands;
/// let bands = Bands::new(&[10.0], &[20.0], &[4.0], &[1.0], 5.0)?;
/// assert_eq!(bands.distances(&[15.0, 35.0, 100.0], &[0, 0, 0])?, [0.0, 1.5, 5.0]);
/// # Ok::<(), polyalign::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bands {
    buckets: usize,
    features: usize,
    cap: f64,
    /// `[buckets, features]`; NaN where the bucket has no band for the feature.
    low: Vec<f64>,
    high: Vec<f64>,
    /// 1 / max(high − low, scale, floor).
    inverse: Vec<f64>,
    /// Per bucket, how many features have a band.
    defined: Vec<usize>,
}

impl Bands {
    /// From `low`, `high` and `scale` (σ), each `[buckets, features]`, and `floor` `[features]`: the
    /// least divisor of each feature, s_f. A NaN in `low` or `high` means that the bucket has no band
    /// for the feature; a NaN in `scale` counts as 0.
    ///
    /// `cap` is the most that one feature counts: 5 by default, infinity with a floor of 1e-6 for the
    /// paper's form.
    pub fn new(low: &[f64], high: &[f64], scale: &[f64], floor: &[f64], cap: f64) -> Result<Self> {
        let features = floor.len();
        if features == 0 || !low.len().is_multiple_of(features) {
            return Err(invalid(format!("{} lower ends are not rows of {features} features", low.len())));
        }
        if high.len() != low.len() || scale.len() != low.len() {
            return Err(invalid(format!(
                "low, high and scale have {}, {} and {} values: they must have the same shape",
                low.len(),
                high.len(),
                scale.len()
            )));
        }
        if let Some(feature) = floor.iter().position(|floor| !(*floor > 0.0 && floor.is_finite())) {
            return Err(invalid(format!(
                "floor[{feature}] is {}: it must be finite and above 0",
                floor[feature]
            )));
        }
        if cap.is_nan() || cap <= 0.0 {
            return Err(invalid(format!("cap is {cap}: it must be above 0")));
        }
        if let Some(at) = low.iter().zip(high).position(|(low, high)| low > high) {
            let (bucket, feature) = (at / features, at % features);
            return Err(invalid(format!(
                "low[{bucket}, {feature}] is {}, above high, {}",
                low[at], high[at]
            )));
        }
        let divisor = |at: usize| (high[at] - low[at]).max(scale[at]).max(floor[at % features]);
        let has_band = |at: usize| !(low[at].is_nan() || high[at].is_nan());
        let buckets = low.len() / features;
        Ok(Self {
            buckets,
            features,
            cap,
            low: low.to_vec(),
            high: high.to_vec(),
            inverse: (0..low.len()).map(|at| 1.0 / divisor(at)).collect(),
            defined: (0..buckets)
                .map(|bucket| (0..features).filter(|f| has_band(bucket * features + f)).count())
                .collect(),
        })
    }

    /// The number of features.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The ends of a bucket's band of a feature; NaN where it has none.
    ///
    /// # Panics
    /// If there is no bucket or feature of that number.
    pub fn band(&self, bucket: usize, feature: usize) -> (f64, f64) {
        let at = bucket * self.features + feature;
        (self.low[at], self.high[at])
    }

    /// The support distance of each row of `values` `[n, features]` from its bucket's bands.
    ///
    /// A feature counts 0 inside the band, else min(cap, distance to the nearer end × inverse); the
    /// result is the mean over the features that both have a band and are not NaN. It is NaN where
    /// fewer than half of the bucket's bands have a value, where the bucket has no band, and where
    /// `buckets` holds a number that is not a bucket's (such as −1).
    pub fn distances<V: Copy + Sync + Into<f64>>(&self, values: &[V], buckets: &[i64]) -> Result<Vec<f64>> {
        self.check(values, buckets)?;
        let rows = values.par_chunks_exact(self.features).with_min_len(256);
        Ok(rows.zip(buckets).map(|(values, &bucket)| self.distance(values, bucket)).collect())
    }

    /// What each feature adds to the mean, `[n, features]`: NaN where it is not counted.
    pub fn contributions<V: Copy + Sync + Into<f64>>(
        &self,
        values: &[V],
        buckets: &[i64],
    ) -> Result<Vec<f32>> {
        self.check(values, buckets)?;
        let mut parts = vec![f32::NAN; values.len()];
        let rows = values.par_chunks_exact(self.features).with_min_len(256).zip(buckets);
        let all = parts.par_chunks_exact_mut(self.features).zip(rows);
        all.for_each(|(parts, (values, &bucket))| self.fill_contributions(values, bucket, parts));
        Ok(parts)
    }

    /// What each feature adds to the mean of one row, as [`Self::contributions`] has it. `values` are as many as the features.
    pub fn contributions_of<V: Copy + Sync + Into<f64>>(&self, values: &[V], bucket: i64) -> Vec<f32> {
        let mut parts = vec![f32::NAN; values.len()];
        self.fill_contributions(values, bucket, &mut parts);
        parts
    }

    fn fill_contributions<V: Number>(&self, values: &[V], bucket: i64, parts: &mut [f32]) {
        let Some(Row { low, high, inverse, .. }) = self.bucket(bucket) else { return };
        let bands = low.iter().zip(high).zip(inverse);
        for ((part, &value), ((&low, &high), &inverse)) in parts.iter_mut().zip(values).zip(bands) {
            let (outside, counts) = contribution(value.into(), low, high, inverse, self.cap);
            *part = if counts == 1.0 { outside as f32 } else { f32::NAN };
        }
    }

    fn check<V>(&self, values: &[V], buckets: &[i64]) -> Result<()> {
        if values.len() != buckets.len() * self.features {
            return Err(invalid(format!(
                "{} values are not {} rows of {} features",
                values.len(),
                buckets.len(),
                self.features
            )));
        }
        Ok(())
    }

    fn bucket(&self, bucket: i64) -> Option<Row<'_>> {
        let bucket = usize::try_from(bucket).ok().filter(|&bucket| bucket < self.buckets)?;
        let at = bucket * self.features..(bucket + 1) * self.features;
        Some(Row {
            low: &self.low[at.clone()],
            high: &self.high[at.clone()],
            inverse: &self.inverse[at],
            defined: self.defined[bucket],
        })
    }

    /// The support distance of one row, as [`Self::distances`] has it. `values` are as many as the features.
    pub fn distance<V: Copy + Sync + Into<f64>>(&self, values: &[V], bucket: i64) -> f64 {
        let Some(Row { low, high, inverse, defined }) = self.bucket(bucket) else { return f64::NAN };
        let (total, counted) = total(values, low, high, inverse, self.cap);
        if counted == 0.0 || 2.0 * counted < defined as f64 { f64::NAN } else { total / counted }
    }
}

/// The bands of one bucket.
struct Row<'a> {
    low: &'a [f64],
    high: &'a [f64],
    inverse: &'a [f64],
    defined: usize,
}

/// What one feature counts, and whether it does: 1 or 0.
#[inline(always)]
fn contribution(value: f64, low: f64, high: f64, inverse: f64, cap: f64) -> (f64, f64) {
    let (below, above) = (low - value, value - high);
    let outside = if below > above { below } else { above };
    let outside = if outside > 0.0 { outside * inverse } else { 0.0 };
    let capped = if outside < cap { outside } else { cap };
    let counts = !(value.is_nan() | low.is_nan() | high.is_nan());
    (if counts { capped } else { 0.0 }, if counts { 1.0 } else { 0.0 })
}

vectorised! {
    /// What all features count, and how many do.
    fn total<V: Number>(values: &[V], low: &[f64], high: &[f64], inverse: &[f64], cap: f64) -> (f64, f64) {
        let (values, low, high) = (values.as_chunks::<LANES>(), low.as_chunks(), high.as_chunks());
        let inverse = inverse.as_chunks();
        let mut sums: [Lanes; 2] = [[0.0; LANES]; 2];
        for (((values, low), high), inverse) in values.0.iter().zip(low.0).zip(high.0).zip(inverse.0) {
            let (low, high, inverse): (&Lanes, &Lanes, &Lanes) = (low, high, inverse);
            for lane in 0..LANES {
                let part = contribution(values[lane].into(), low[lane], high[lane], inverse[lane], cap);
                sums[0][lane] += part.0;
                sums[1][lane] += part.1;
            }
        }
        let [mut total, mut counted] = sums;
        let bands = low.1.iter().zip(high.1).zip(inverse.1);
        let lanes = total.iter_mut().zip(&mut counted);
        for (((total, counted), &value), ((&low, &high), &inverse)) in lanes.zip(values.1).zip(bands) {
            let part = contribution(value.into(), low, high, inverse, cap);
            *total += part.0;
            *counted += part.1;
        }
        (sum(total), sum(counted))
    }
}

fn invalid(message: String) -> Error {
    Error::Input(format!("support distance: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, read off the page.
    fn oracle(values: &[f32], low: &[f64], high: &[f64], scale: &[f64], floor: &[f64], cap: f64) -> f64 {
        let (mut total, mut counted, mut defined) = (0.0, 0, 0);
        for feature in 0..values.len() {
            let (value, low, high) = (f64::from(values[feature]), low[feature], high[feature]);
            if low.is_nan() || high.is_nan() {
                continue;
            }
            defined += 1;
            if value.is_nan() {
                continue;
            }
            counted += 1;
            if value < low || value > high {
                let nearer = if value < low { low - value } else { value - high };
                total += (nearer / (high - low).max(scale[feature]).max(floor[feature])).min(cap);
            }
        }
        if counted == 0 || 2 * counted < defined { f64::NAN } else { total / f64::from(counted) }
    }

    fn value() -> impl Strategy<Value = f32> {
        prop_oneof![8 => -100.0_f32..100.0, 1 => Just(f32::NAN), 1 => Just(f32::INFINITY), 1 => Just(0.0)]
    }

    fn band() -> impl Strategy<Value = (f64, f64, f64)> {
        let band = (-50.0..50.0, prop_oneof![Just(0.0), 0.0..20.0], prop_oneof![Just(0.0), 0.0..9.0]);
        (band, 0..8).prop_map(
            |((low, width, scale), kind)| {
                if kind == 0 { (f64::NAN, low, scale) } else { (low, low + width, scale) }
            },
        )
    }

    proptest! {
        #[test]
        fn every_row_is_its_definition(
            (values, bands, floor) in (1_usize..40).prop_flat_map(|features| (
                prop::collection::vec(value(), 3 * features),
                prop::collection::vec(band(), 2 * features),
                prop::collection::vec(1e-3..2.0, features),
            )),
            cap in prop_oneof![Just(5.0), Just(f64::INFINITY)],
        ) {
            let features = floor.len();
            let column = |of: fn(&(f64, f64, f64)) -> f64| bands.iter().map(of).collect::<Vec<f64>>();
            let (low, high, scale) = (column(|b| b.0), column(|b| b.1), column(|b| b.2));
            let made = Bands::new(&low, &high, &scale, &floor, cap).unwrap();
            let buckets = [1, 0, -1];
            let found = made.distances(&values, &buckets).unwrap();
            let parts = made.contributions(&values, &buckets).unwrap();
            prop_assert!(found[2].is_nan() && parts[2 * features..].iter().all(|part| part.is_nan()));
            for row in 0..2 {
                let at = buckets[row] as usize * features..(buckets[row] as usize + 1) * features;
                let values = &values[row * features..(row + 1) * features];
                let expected = oracle(values, &low[at.clone()], &high[at.clone()], &scale[at], &floor, cap);
                prop_assert!(
                    found[row] == expected
                        || (found[row].is_nan() && expected.is_nan())
                        || (found[row] - expected).abs() <= 1e-12 * expected,
                    "{} {expected}", found[row]
                );
                let counted: Vec<f64> =
                    parts[row * features..(row + 1) * features].iter().filter(|p| !p.is_nan()).map(|&p| p.into()).collect();
                let mean = counted.iter().sum::<f64>() / counted.len() as f64;
                prop_assert!(found[row].is_nan() || mean == found[row] || (mean - found[row]).abs() <= 1e-6 * mean);
            }
        }
    }

    #[test]
    fn closed_forms() {
        let bands = Bands::new(&[0.0, 0.0], &[2.0, 2.0], &[1.0, 4.0], &[1.0, 1.0], 5.0).unwrap();
        let values = [1.0, 2.0, 5.0, -4.0, 1e9, 0.0, f32::NAN, 3.0];
        let found = bands.distances(&values, &[0; 4]).unwrap();
        assert_eq!(found, [0.0, (1.5 + 1.0) / 2.0, 2.5, 0.25]);
        // The paper's: no cap, and a floor of a millionth where humans are all the same.
        let paper = Bands::new(&[0.0], &[0.0], &[0.0], &[1e-6], f64::INFINITY).unwrap();
        assert!((paper.distances(&[1.0], &[0]).unwrap()[0] - 1e6).abs() < 1e-6);
    }

    #[test]
    fn fewer_than_half_of_the_bands_is_nan() {
        let bands = Bands::new(&[0.0; 4], &[1.0; 4], &[0.0; 4], &[1.0; 4], 5.0).unwrap();
        let nan = f32::NAN;
        assert!(bands.distances(&[0.0, nan, nan, nan], &[0]).unwrap()[0].is_nan());
        assert_eq!(bands.distances(&[0.0, 2.0, nan, nan], &[0]).unwrap()[0], 0.5);
    }

    #[test]
    fn what_can_not_be_used_is_an_error() {
        let error = |bands: Result<Bands>| bands.unwrap_err().to_string();
        assert!(
            error(Bands::new(&[1.0], &[0.0], &[0.0], &[1.0], 5.0)).contains("low[0, 0] is 1, above high")
        );
        assert!(error(Bands::new(&[0.0], &[0.0], &[0.0], &[0.0], 5.0)).contains("floor[0] is 0"));
        assert!(error(Bands::new(&[0.0], &[0.0], &[0.0], &[1.0], f64::NAN)).contains("cap is NaN"));
        assert!(error(Bands::new(&[0.0; 3], &[0.0; 3], &[0.0; 3], &[1.0; 2], 5.0)).contains("rows of 2"));
        let bands = Bands::new(&[0.0], &[0.0], &[0.0], &[1.0], 5.0).unwrap();
        assert!(bands.distances(&[0.0; 3], &[0; 2]).unwrap_err().to_string().contains("2 rows of 1"));
    }
}
