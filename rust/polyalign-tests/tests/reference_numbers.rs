//! Moments, quantiles and shares against the sorted values.

use crate::reference_common::{BUCKETS, build, rows, settings};
use polyalign::features::bins::Bins;
use polyalign::reference::{Builder, Distribution, FeatureInfo, Reference, Variant, features};
use proptest::prelude::*;

/// A feature's values in a bucket, ascending, as a reference holds them.
fn sorted(rows: &[crate::reference_common::Row], feature: usize, variant: Variant) -> Vec<f64> {
    let held = |value: f64| match variant {
        Variant::Default => (value * 1_048_576.0).round_ties_even() / 1_048_576.0,
        Variant::Paper => value,
    };
    let mut values: Vec<f64> =
        rows.iter().map(|row| held(row.values[feature])).filter(|value| !value.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn check_moments(found: &Distribution, values: &[f64]) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let largest = values.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    assert_eq!(found.count(), values.len() as u64);
    assert_eq!((found.min(), found.max()), (values[0] + 0.0, values[values.len() - 1] + 0.0));
    assert!((found.mean() - mean).abs() <= 1e-12 * largest, "{} {mean}", found.mean());
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
    let (std, expected) = (found.std(), variance.sqrt());
    assert!((std - expected).abs() <= 1e-9 * expected + 1e-12 * largest, "{std} {expected}");
}

/// The width of the bin that a value is in; 0 where values of the bin are all the same.
fn width(info: &FeatureInfo, value: f64) -> f64 {
    let fixed = (value * 1_048_576.0).round() as i64;
    let (low, high) = info.bins.bounds(info.bins.index(fixed));
    let whole = matches!(info.bins, Bins::Count { .. }) && high - low < 1 << 20;
    if whole { 0.0 } else { (high - low) as f64 / 1_048_576.0 }
}

fn check_quantiles(info: &FeatureInfo, found: &Distribution, values: &[f64]) {
    let n = values.len();
    let mut before = f64::NEG_INFINITY;
    for step in 0..=40 {
        let p = f64::from(step) / 40.0;
        // The rank in whole numbers: ⌈n·step/40⌉.
        let exact = values[(n * step as usize).div_ceil(40).max(1) - 1];
        let quantile = found.quantile(p);
        assert!((quantile - exact).abs() <= width(info, exact), "{}: {quantile} {exact}", info.name);
        assert!(quantile >= before);
        before = quantile;
    }
    assert_eq!((found.quantile(0.0), found.quantile(1.0)), (found.min(), found.max()));
}

fn check_cdf(info: &FeatureInfo, found: &Distribution, values: &[f64]) {
    let share = |x: f64| values.iter().filter(|value| **value <= x).count() as f64 / values.len() as f64;
    let mut before = 0.0;
    for x in values.iter().flat_map(|x| [x - 1e-3, *x, x + 1e-3]).collect::<Vec<_>>().into_iter() {
        let cdf = found.cdf(x);
        assert!((0.0..=1.0).contains(&cdf));
        // Wrong by no more than what shares the bin.
        let (low, high) = info.bins.bounds(info.bins.index((x * 1_048_576.0).floor() as i64));
        let (low, high) = (low as f64 / 1_048_576.0, high as f64 / 1_048_576.0);
        let least = share(low.next_down());
        assert!(cdf >= least - 1e-12 && cdf <= share(high) + 1e-12, "{}: cdf({x}) is {cdf}", info.name);
        if width(info, x) == 0.0 && x.fract() == 0.0 {
            assert!((cdf - share(x)).abs() <= 1e-12);
        }
        before = f64::max(before, cdf);
    }
    assert_eq!(found.cdf(found.max()), 1.0);
    assert_eq!(found.cdf(found.min() - 1e-3), 0.0);
    let mut grid: Vec<f64> = values.iter().flat_map(|x| [x * 0.99, *x, x * 1.01]).collect();
    grid.sort_by(f64::total_cmp);
    assert!(grid.iter().map(|x| found.cdf(*x)).is_sorted(), "{} falls", info.name);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn numbers_are_those_of_the_sorted_values(seed: u64, count in 1_usize..400) {
        let rows = rows(seed, count, 1, Variant::Default);
        let reference = build(&rows, settings(Variant::Default, 0));
        for (feature, info) in reference.features().iter().enumerate() {
            let values = sorted(&rows, feature, Variant::Default);
            let found = reference.distribution(0, feature);
            if values.is_empty() {
                prop_assert!(found.mean().is_nan() && found.quantile(0.5).is_nan() && found.cdf(0.0).is_nan());
                continue;
            }
            check_moments(&found, &values);
            check_quantiles(info, &found, &values);
            check_cdf(info, &found, &values);
        }
    }

    #[test]
    fn the_papers_numbers_are_exact(seed: u64, count in 1_usize..300) {
        let rows = rows(seed, count, 1, Variant::Paper);
        let reference = build(&rows, settings(Variant::Paper, 0));
        for feature in 0..reference.features().len() {
            let values = sorted(&rows, feature, Variant::Paper);
            let found = reference.distribution(0, feature);
            if values.is_empty() {
                continue;
            }
            check_moments(&found, &values);
            for p in [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0] {
                let rank = ((values.len() - 1) as f64 * p).round_ties_even() as usize;
                prop_assert_eq!(found.quantile(p), values[rank]);
            }
            for x in &values {
                let share = values.iter().filter(|value| *value <= x).count() as f64 / values.len() as f64;
                prop_assert_eq!(found.cdf(*x), share);
            }
        }
    }
}

/// Quantiles between two whole numbers that floating point rounds over.
#[test]
fn ranks_are_not_rounded_up() {
    for n in (1..200).chain([999, 1000, 1001]) {
        let of = whole_numbers(n);
        for tenths in 0..=10 {
            let rank = (n * tenths).div_ceil(10).max(1);
            let exact = (rank - 1) as f64;
            if exact < 128.0 {
                assert_eq!(of.quantile(tenths as f64 / 10.0), exact, "{n} {tenths}");
            }
        }
    }
}

/// The numbers 0 to n − 1 as counts.
fn whole_numbers(n: u64) -> Distribution {
    let width = features(Variant::Default).len();
    let builder = Builder::new(settings(Variant::Default, 0)).unwrap();
    let bucket = builder.bucket(&BUCKETS[0]).unwrap();
    let mut rows = vec![f32::NAN; n as usize * width];
    (0..n as usize).for_each(|i| rows[i * width] = i as f32);
    builder.add_rows(bucket, &vec![0; n as usize], &rows).unwrap();
    builder.finish().unwrap().distribution(0, 0)
}

#[test]
fn bars_cover_the_values() {
    let reference: Reference = build(&rows(3, 200, 1, Variant::Default), settings(Variant::Default, 0));
    for feature in 0..reference.features().len() {
        let found = reference.distribution(0, feature);
        let bars = found.bars();
        assert_eq!(bars.iter().map(|bar| bar.2).sum::<u64>(), found.count());
        assert_eq!((bars[0].0, bars[bars.len() - 1].1), (found.min(), found.max()));
        assert!(bars.iter().all(|bar| bar.0 <= bar.1));
        assert!(bars.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        let histogram = found.histogram();
        assert!(histogram.iter().zip(&bars).all(|(bin, bar)| bar.0 <= bin.mean && bin.mean <= bar.1));
    }
}
