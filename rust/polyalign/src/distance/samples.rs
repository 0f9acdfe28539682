//! Exact distances between one-dimensional samples of any sizes, feature by feature.
//!
//! Each set of samples is sorted once; a distance is then one merge. NaNs are left out; a feature
//! without values on either side gives NaN.

pub use super::sort::{Key, Sample};

use super::sort::sort;
use crate::{Error, Result};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is measured between two samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// Wasserstein-1, ∫|F − G|.
    Wasserstein,
    /// Wasserstein-2, √∫(F⁻¹ − G⁻¹)² over the quantiles.
    Wasserstein2,
    /// √(2 ∫(F − G)²), as `scipy.stats.energy_distance`.
    Energy,
    /// The greatest |F − G|, 0 to 1: the statistic of the two-sample Kolmogorov–Smirnov test.
    KolmogorovSmirnov,
}

/// Columns transposed at a time: a cache line of a row.
const COLUMNS: usize = 16;

/// A set of responses' features, each sorted.
#[derive(Clone, Debug)]
pub struct Sorted<T> {
    /// One column a feature, ascending, without NaN.
    columns: Vec<Vec<T>>,
}

impl<T: Sample> Sorted<T> {
    /// From values `[n, features]`.
    pub fn new(values: &[T], features: usize) -> Result<Self> {
        if features == 0 || !values.len().is_multiple_of(features) {
            return Err(Error::Input(format!(
                "samples: {} values are not rows of {features} features",
                values.len()
            )));
        }
        let groups: Vec<Vec<Vec<T>>> = (0..features.div_ceil(COLUMNS))
            .into_par_iter()
            .map(|group| sorted_columns(values, features, group * COLUMNS))
            .collect();
        Ok(Self { columns: groups.into_iter().flatten().collect() })
    }

    /// The number of features.
    pub fn features(&self) -> usize {
        self.columns.len()
    }

    /// The distance between two sets in each feature.
    pub fn distances(&self, other: &Self, distance: Distance) -> Result<Vec<f64>> {
        if self.features() != other.features() {
            return Err(Error::Input(format!(
                "samples: one side has {} features, the other {}",
                self.features(),
                other.features()
            )));
        }
        let columns = self.columns.par_iter().zip(&other.columns).with_min_len(4);
        Ok(columns.map(|(x, y)| between(distance, x, y)).collect())
    }
}

/// The distances between all sets in each feature: `[sets, sets, features]`, symmetric.
///
/// [`Error::Interrupted`] soon after `stop` is set.
pub fn pairwise<T: Sample>(sets: &[Sorted<T>], distance: Distance, stop: &AtomicBool) -> Result<Vec<f64>> {
    let features = sets.first().map_or(0, Sorted::features);
    let count = sets.len();
    let pairs: Vec<(usize, usize)> = (0..count).flat_map(|a| (a..count).map(move |b| (a, b))).collect();
    let of_pair = |&(a, b): &(usize, usize)| {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        sets[a].distances(&sets[b], distance)
    };
    let found: Vec<Vec<f64>> = pairs.par_iter().map(of_pair).collect::<Result<_>>()?;
    let mut all = vec![0.0; count * count * features];
    for ((a, b), distances) in pairs.into_iter().zip(found) {
        for at in [a * count + b, b * count + a] {
            all[at * features..(at + 1) * features].copy_from_slice(&distances);
        }
    }
    Ok(all)
}

/// A few neighbouring columns of row-major values, read row by row and then sorted.
fn sorted_columns<T: Sample>(values: &[T], features: usize, first: usize) -> Vec<Vec<T>> {
    let width = COLUMNS.min(features - first);
    let rows = values.len() / features;
    let mut columns: Vec<Vec<T>> = (0..width).map(|_| Vec::with_capacity(rows)).collect();
    for row in values.chunks_exact(features) {
        for (column, &value) in columns.iter_mut().zip(&row[first..first + width]) {
            column.push(value);
        }
    }
    let mut scratch = Vec::new();
    for column in &mut columns {
        column.retain(|value| value.partial_cmp(value).is_some());
        sort(column, &mut scratch);
    }
    columns
}

/// The distance between two sorted samples.
fn between<T: Sample>(distance: Distance, x: &[T], y: &[T]) -> f64 {
    if x.is_empty() || y.is_empty() {
        return f64::NAN;
    }
    let scale = x.len() as f64 * y.len() as f64;
    match distance {
        Distance::KolmogorovSmirnov => merge(x, y, 0.0, greatest_gap) / scale,
        Distance::Wasserstein => along_the_line(x, y, |gap, length| gap.abs() * length) / scale,
        Distance::Wasserstein2 => wasserstein2(x, y),
        Distance::Energy => (2.0 * along_the_line(x, y, |gap, length| gap * gap * length)).sqrt() / scale,
    }
}

/// ∫ part(F − G), with F − G in units of 1 / (|x| |y|).
///
/// Equal parts at an infinity are no distance apart; unequal ones are infinitely far.
fn along_the_line<T: Sample>(x: &[T], y: &[T], part: impl Fn(f64, f64) -> f64) -> f64 {
    let steps = (y.len() as f64, x.len() as f64);
    match finite_parts(x, y) {
        None => f64::INFINITY,
        Some(([], _)) => 0.0,
        Some((x, y)) => merge_steps(x, y, steps, 0.0, |sum, gap, length| sum + part(gap, length)),
    }
}

/// √∫(F⁻¹ − G⁻¹)², of infinities as [`along_the_line`].
fn wasserstein2<T: Sample>(x: &[T], y: &[T]) -> f64 {
    match finite_parts(x, y) {
        None => f64::INFINITY,
        Some(([], _)) => 0.0,
        Some((finite_x, finite_y)) => {
            let squares = quantile_sum(finite_x, finite_y, (y.len(), x.len()), |gap| gap * gap);
            (squares / (x.len() as f64 * y.len() as f64)).sqrt()
        }
    }
}

/// The finite values of both; nothing if they have different parts at an infinity.
fn finite_parts<'a, T: Sample>(x: &'a [T], y: &'a [T]) -> Option<(&'a [T], &'a [T])> {
    let [(x0, x1), (y0, y1)] = [finite(x), finite(y)];
    let equal = |of_x: usize, of_y: usize| of_x as u128 * y.len() as u128 == of_y as u128 * x.len() as u128;
    (equal(x0, y0) && equal(x1, y1)).then(|| (&x[x0..x1], &y[y0..y1]))
}

/// The range of finite values in a sorted sample.
fn finite<T: Sample>(values: &[T]) -> (usize, usize) {
    let from = values.partition_point(|value| value.to_f64() == f64::NEG_INFINITY);
    (from, values.partition_point(|value| value.to_f64() < f64::INFINITY).max(from))
}

#[inline(always)]
fn greatest_gap(greatest: f64, gap: f64, length: f64) -> f64 {
    // Equal values come one by one; only what lies between different ones counts.
    if length > 0.0 && gap.abs() > greatest { gap.abs() } else { greatest }
}

fn merge<T: Sample>(x: &[T], y: &[T], start: f64, fold: impl Fn(f64, f64, f64) -> f64) -> f64 {
    merge_steps(x, y, (y.len() as f64, x.len() as f64), start, fold)
}

/// Walks up the values of both, and folds in (F − G, length) of every piece between two neighbours.
/// A value of `x` raises F − G by `steps.0`, one of `y` lowers it by `steps.1`: whole numbers, so
/// that the gap is exact below 2⁵³.
#[inline(always)]
fn merge_steps<T: Sample>(
    x: &[T],
    y: &[T],
    (up, down): (f64, f64),
    start: f64,
    fold: impl Fn(f64, f64, f64) -> f64,
) -> f64 {
    let (mut i, mut j, mut gap, mut folded) = (0, 0, 0.0, start);
    let mut before = x[0].to_f64().min(y[0].to_f64());
    while i < x.len() && j < y.len() {
        let (a, b) = (x[i].to_f64(), y[j].to_f64());
        let of_x = a <= b;
        let value = if of_x { a } else { b };
        folded = fold(folded, gap, value - before);
        before = value;
        gap += if of_x { up } else { -down };
        i += usize::from(of_x);
        j += usize::from(!of_x);
    }
    for (rest, step) in [(&x[i..], up), (&y[j..], -down)] {
        for value in rest {
            folded = fold(folded, gap, value.to_f64() - before);
            before = value.to_f64();
            gap += step;
        }
    }
    folded
}

/// W_p^p between two sorted samples: ∫|F⁻¹ − G⁻¹|^p over the quantiles, `part` being |·|^p.
pub(super) fn quantile_distance(x: &[f64], y: &[f64], part: impl Fn(f64) -> f64) -> f64 {
    if x.len() == y.len() {
        return x.iter().zip(y).map(|(x, y)| part(x - y)).sum::<f64>() / x.len() as f64;
    }
    quantile_sum(x, y, (y.len(), x.len()), part) / (x.len() as f64 * y.len() as f64)
}

/// Σ part(x − y) over the quantiles of both, a value of x spanning `spans.0` of them, one of y `spans.1`.
fn quantile_sum<T: Sample>(x: &[T], y: &[T], spans: (usize, usize), part: impl Fn(f64) -> f64) -> f64 {
    let (mut i, mut j, mut left, mut total) = (0, 0, spans, 0.0);
    while i < x.len() && j < y.len() {
        let step = left.0.min(left.1);
        total += step as f64 * part(x[i].to_f64() - y[j].to_f64());
        left = (left.0 - step, left.1 - step);
        if left.0 == 0 {
            (i, left.0) = (i + 1, spans.0);
        }
        if left.1 == 0 {
            (j, left.1) = (j + 1, spans.1);
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Distance; 4] =
        [Distance::Wasserstein, Distance::Wasserstein2, Distance::Energy, Distance::KolmogorovSmirnov];

    /// The definitions: the empirical distribution functions, evaluated one place at a time.
    fn oracle(distance: Distance, x: &[f64], y: &[f64]) -> f64 {
        let kept = |values: &[f64]| values.iter().copied().filter(|v| !v.is_nan()).collect::<Vec<f64>>();
        let (x, y) = (kept(x), kept(y));
        if x.is_empty() || y.is_empty() {
            return f64::NAN;
        }
        let mut places: Vec<f64> = x.iter().chain(&y).copied().collect();
        places.sort_by(f64::total_cmp);
        let cdf = |values: &[f64], at: f64| {
            values.iter().filter(|&&v| v <= at).count() as f64 / values.len() as f64
        };
        let gap = |at: f64| (cdf(&x, at) - cdf(&y, at)).abs();
        let integral = |power: i32| -> f64 {
            places.windows(2).map(|pair| gap(pair[0]).powi(power) * (pair[1] - pair[0])).sum()
        };
        // Each value as often as the other side has values, matched in order.
        let matched = || -> f64 {
            let repeated = |of: &[f64], times: usize| {
                let mut all: Vec<f64> = of.iter().flat_map(|&v| std::iter::repeat_n(v, times)).collect();
                all.sort_by(f64::total_cmp);
                all
            };
            let (x, y) = (repeated(&x, y.len()), repeated(&y, x.len()));
            x.iter().zip(&y).map(|(x, y)| (x - y).powi(2)).sum::<f64>() / x.len() as f64
        };
        match distance {
            Distance::Wasserstein => integral(1),
            Distance::Wasserstein2 => matched().sqrt(),
            Distance::Energy => (2.0 * integral(2)).sqrt(),
            Distance::KolmogorovSmirnov => places.iter().map(|&at| gap(at)).fold(0.0, f64::max),
        }
    }

    fn one<T: Sample>(distance: Distance, x: &[T], y: &[T]) -> f64 {
        Sorted::new(x, 1).unwrap().distances(&Sorted::new(y, 1).unwrap(), distance).unwrap()[0]
    }

    fn close(found: f64, expected: f64) -> bool {
        (found.is_nan() && expected.is_nan()) || (found - expected).abs() <= 1e-12 * expected.abs().max(1.0)
    }

    fn values(longest: usize) -> impl Strategy<Value = Vec<f32>> {
        let value =
            prop_oneof![4 => -10.0_f32..10.0, 2 => (-3_i8..3).prop_map(f32::from), 1 => Just(f32::NAN)];
        prop::collection::vec(value, 0..longest)
    }

    proptest! {
        #[test]
        fn every_distance_is_its_definition(x in values(40), y in values(400)) {
            let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
            for distance in ALL {
                let expected = oracle(distance, &wide(&x), &wide(&y));
                prop_assert!(close(one(distance, &x, &y), expected), "{distance:?} {expected}");
                prop_assert!(close(one(distance, &wide(&x), &wide(&y)), expected), "{distance:?} {expected}");
            }
        }

        #[test]
        fn identity_symmetry_and_triangles(x in values(30), y in values(30), z in values(30)) {
            for distance in ALL {
                let d = |a: &[f32], b: &[f32]| one(distance, a, b);
                prop_assert!(d(&x, &x) == 0.0 || x.iter().all(|v| v.is_nan()));
                prop_assert!(close(d(&x, &y), d(&y, &x)));
                let sides = d(&x, &y) + d(&y, &z);
                prop_assert!(d(&x, &z).is_nan() || sides.is_nan() || d(&x, &z) <= sides + 1e-12);
            }
        }

        #[test]
        fn quantiles_give_the_same_wasserstein(
            mut x in prop::collection::vec(-10.0_f64..10.0, 1..30),
            mut y in prop::collection::vec(-10.0_f64..10.0, 1..30),
        ) {
            x.sort_by(f64::total_cmp);
            y.sort_by(f64::total_cmp);
            prop_assert!(close(quantile_distance(&x, &y, f64::abs), between(Distance::Wasserstein, &x, &y)));
        }

        #[test]
        fn features_are_columns(x in prop::collection::vec(-1.0_f32..1.0, 37 * 3), y in prop::collection::vec(-1.0_f32..1.0, 37 * 2)) {
            let found = Sorted::new(&x, 37).unwrap().distances(&Sorted::new(&y, 37).unwrap(), Distance::Energy).unwrap();
            for (feature, found) in found.iter().enumerate() {
                let column = |values: &[f32]| values.iter().skip(feature).step_by(37).copied().collect::<Vec<f32>>();
                prop_assert_eq!(*found, one(Distance::Energy, &column(&x), &column(&y)));
            }
        }
    }

    #[test]
    fn closed_forms() {
        for distance in [Distance::Wasserstein, Distance::Energy] {
            let shift = one(distance, &[0.0_f32, 0.0], &[4.0]);
            assert_eq!(shift, if distance == Distance::Wasserstein { 4.0 } else { 8.0_f64.sqrt() });
        }
        assert_eq!(one(Distance::KolmogorovSmirnov, &[1.0_f64, 2.0, 3.0, 4.0], &[2.5]), 0.5);
        assert_eq!(one(Distance::Wasserstein, &[1.0_f64, 2.0, 3.0], &[3.5, 1.5, 2.5]), 0.5);
        assert_eq!(one(Distance::Wasserstein2, &[0.0_f32, 0.0], &[3.0, 5.0]), 17.0_f64.sqrt());
    }

    #[test]
    fn infinities() {
        let inf = f32::INFINITY;
        assert_eq!(one(Distance::Wasserstein, &[1.0, inf], &[2.0, inf]), 0.5);
        assert_eq!(one(Distance::Wasserstein, &[1.0, inf], &[2.0, 2.0]), f64::INFINITY);
        assert_eq!(one(Distance::Wasserstein2, &[1.0, inf], &[3.0, inf]), 2.0_f64.sqrt());
        assert_eq!(one(Distance::Wasserstein2, &[1.0, -inf], &[2.0, 2.0]), f64::INFINITY);
        assert_eq!(one(Distance::Wasserstein2, &[inf], &[inf]), 0.0);
        assert_eq!(one(Distance::Energy, &[-inf, 3.0], &[2.0, 2.0]), f64::INFINITY);
        assert_eq!(one(Distance::Wasserstein, &[inf], &[inf]), 0.0);
        assert_eq!(one(Distance::KolmogorovSmirnov, &[-inf, 3.0], &[2.0, inf]), 0.5);
        assert_eq!(one(Distance::KolmogorovSmirnov, &[inf], &[inf, inf]), 0.0);
    }

    #[test]
    fn all_pairs_of_sets() {
        let sets: Vec<Sorted<f32>> = [&[0.0, 1.0][..], &[2.0, 2.0, 4.0, 4.0], &[f32::NAN, 0.0]]
            .map(|v| Sorted::new(v, 2).unwrap())
            .into();
        let found = pairwise(&sets, Distance::Wasserstein, &AtomicBool::new(false)).unwrap();
        assert_eq!(found[..4], [0.0, 0.0, 3.0, 2.0]);
        assert!(found[4].is_nan());
        assert_eq!(found[5], 1.0);
        assert_eq!(found[6..12][..2], [3.0, 2.0]);
        assert!(pairwise::<f32>(&[], Distance::Energy, &AtomicBool::new(false)).unwrap().is_empty());
        let stopped = pairwise(&sets, Distance::Energy, &AtomicBool::new(true));
        assert!(matches!(stopped, Err(Error::Interrupted)));
    }

    #[test]
    fn what_can_not_be_used_is_an_error() {
        assert!(Sorted::new(&[1.0_f32; 3], 2).unwrap_err().to_string().contains("rows of 2"));
        let [a, b] = [1, 2].map(|features| Sorted::new(&[1.0_f64; 2], features).unwrap());
        assert!(a.distances(&b, Distance::Energy).unwrap_err().to_string().contains("the other 2"));
    }
}
