//! Distances between distributions of references: every feature of every pair of buckets.

use super::{Distribution, Reference};
use crate::distance::histogram::{Bin, Distance, Histograms};
use crate::features::bins::Bins;
use crate::{Error, Result};
use rayon::prelude::*;
use std::sync::atomic::AtomicBool;

/// The share that PSI raises smaller ones to.
const PSI_FLOOR: f64 = 1e-4;
/// Pairs whose bins are laid out together.
const PAIRS: usize = 64;

/// How one feature of one pair of buckets differs. All are NaN where either has no values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The pair's place among those asked for.
    pub pair: usize,
    /// The feature's number.
    pub feature: usize,
    /// Values on either side.
    pub counts: (u64, u64),
    /// Wasserstein-1, in the feature's unit.
    pub wasserstein: f64,
    /// The same over max(σ, s_f): σ of the first side, s_f the feature's scale.
    pub wasserstein_scaled: f64,
    /// Energy distance.
    pub energy: f64,
    /// Kolmogorov–Smirnov.
    pub kolmogorov_smirnov: f64,
    /// Total variation.
    pub total_variation: f64,
    /// Jensen–Shannon distance.
    pub jensen_shannon: f64,
    /// Hellinger distance.
    pub hellinger: f64,
    /// Population stability index, shares below 1e-4 raised to it.
    pub psi: f64,
}

/// Two references side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The buckets that both have: their numbers on either side.
    pub pairs: Vec<(usize, usize)>,
    /// The buckets that only the first has.
    pub only_first: Vec<usize>,
    /// The buckets that only the second has.
    pub only_second: Vec<usize>,
    /// Every feature of every pair: by pair, then feature.
    pub comparisons: Vec<Comparison>,
}

/// How two references differ in every feature of the buckets that both have.
///
/// An error if they have different features or schemas; [`Error::Interrupted`] soon after `stop` is set.
pub fn diff(a: &Reference, b: &Reference, stop: &AtomicBool) -> Result<Difference> {
    if a.schema() != b.schema() {
        return Err(Error::Input(format!(
            "references of different schemas have no buckets to compare: {} and {}",
            a.schema().to_json(),
            b.schema().to_json()
        )));
    }
    let number = |of: &Reference, at: usize, other: &Reference| other.find(&of.buckets[at].id);
    let first = 0..a.buckets.len();
    let pairs: Vec<(usize, usize)> =
        first.clone().filter_map(|at| number(a, at, b).map(|other| (at, other))).collect();
    Ok(Difference {
        comparisons: compare(a, b, &pairs, stop)?,
        pairs,
        only_first: first.filter(|at| number(a, *at, b).is_none()).collect(),
        only_second: (0..b.buckets.len()).filter(|at| number(b, *at, a).is_none()).collect(),
    })
}

/// How a bucket of `a` and one of `b` differ, for each of `pairs` (numbers of buckets) and every feature that both have: by
/// pair, then feature. The same reference twice compares buckets within it.
///
/// # Errors
/// If the references have different features, or a pair names a bucket that is not there; [`Error::Interrupted`] soon
/// after `stop` is set.
pub fn compare(
    a: &Reference,
    b: &Reference,
    pairs: &[(usize, usize)],
    stop: &AtomicBool,
) -> Result<Vec<Comparison>> {
    if a.variant() != b.variant() {
        let (a, b) = (a.variant().name(), b.variant().name());
        return Err(Error::Input(format!("references of different variants can't be compared: {a} and {b}")));
    }
    if let Some(pair) = pairs.iter().find(|pair| pair.0 >= a.buckets.len() || pair.1 >= b.buckets.len()) {
        return Err(Error::Input(format!("pair {pair:?} names a bucket that is not there")));
    }
    let features = shared_features(a, b);
    let jobs: Vec<(usize, usize)> = (0..pairs.len().div_ceil(PAIRS))
        .flat_map(|chunk| (0..features).map(move |feature| (chunk, feature)))
        .collect();
    let parts: Result<Vec<Vec<Comparison>>> = jobs
        .into_par_iter()
        .map(|(chunk, feature)| {
            let first = chunk * PAIRS;
            compare_feature(a, b, &pairs[first..pairs.len().min(first + PAIRS)], first, feature, stop)
        })
        .collect();
    let mut all = parts?.concat();
    all.sort_unstable_by_key(|comparison| (comparison.pair, comparison.feature));
    Ok(all)
}

/// How many features both have: those of different language models are different ones.
fn shared_features(a: &Reference, b: &Reference) -> usize {
    let of_models = if a.settings.lm == b.settings.lm { a.settings.lm_features() } else { 0 };
    a.features().len() - a.settings.lm_features() + of_models
}

fn compare_feature(
    a: &Reference,
    b: &Reference,
    pairs: &[(usize, usize)],
    first: usize,
    feature: usize,
    stop: &AtomicBool,
) -> Result<Vec<Comparison>> {
    let info = &a.features()[feature];
    let of = |pair: &(usize, usize)| [a.distribution(pair.0, feature), b.distribution(pair.1, feature)];
    let sides: Vec<[Distribution; 2]> = pairs.iter().map(of).collect();
    // Exact values of many buckets are many bins.
    let together = if info.bins == Bins::Exact { 1 } else { PAIRS };
    let mut all = Vec::with_capacity(pairs.len());
    for (chunk, sides) in sides.chunks(together).enumerate() {
        let rows = numbered(sides);
        let rows: Vec<&[Bin]> = rows.iter().map(Vec::as_slice).collect();
        let histograms = Histograms::from_sparse(&rows)?;
        let within: Vec<(usize, usize)> = (0..sides.len()).map(|pair| (2 * pair, 2 * pair + 1)).collect();
        let measure = |distance| histograms.distances(distance, &within, stop);
        let wasserstein = measure(Distance::Wasserstein)?;
        let energy = measure(Distance::Energy)?;
        let kolmogorov_smirnov = measure(Distance::KolmogorovSmirnov)?;
        let total_variation = measure(Distance::TotalVariation)?;
        let jensen_shannon = measure(Distance::JensenShannon)?;
        let hellinger = measure(Distance::Hellinger)?;
        let psi = measure(Distance::Psi { floor: PSI_FLOOR })?;
        all.extend(sides.iter().enumerate().map(|(at, [x, y])| Comparison {
            pair: first + chunk * together + at,
            feature,
            counts: (x.count(), y.count()),
            wasserstein: wasserstein[at],
            wasserstein_scaled: wasserstein[at] / x.std().max(info.scale),
            energy: energy[at],
            kolmogorov_smirnov: kolmogorov_smirnov[at],
            total_variation: total_variation[at],
            jensen_shannon: jensen_shannon[at],
            hellinger: hellinger[at],
            psi: psi[at],
        }));
    }
    Ok(all)
}

/// The histograms of all sides, with bins numbered in common.
fn numbered(sides: &[[Distribution; 2]]) -> Vec<Vec<Bin>> {
    let mut indices: Vec<i64> =
        sides.iter().flatten().flat_map(|d| d.cells().iter().map(|c| c.index)).collect();
    indices.sort_unstable();
    indices.dedup();
    let number = |index: i64| indices.partition_point(|other| *other < index) as u32;
    let row = |of: &Distribution| {
        of.cells()
            .iter()
            .map(|cell| Bin { index: number(cell.index), count: cell.count, mean: of.place(cell) })
            .collect()
    };
    sides.iter().flatten().map(row).collect()
}
