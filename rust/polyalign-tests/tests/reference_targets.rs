//! Back-off, bands, support distances and percentiles against their definitions, worked out from the rows.

use crate::reference_common::{BUCKETS, Row, build, rows, settings};
use polyalign::buckets::{BucketSchema, ancestors};
use polyalign::reference::{Calibration, Query, Reference, Settings, Variant};
use proptest::prelude::*;

/// The levels of a target by [`ancestors`], nearest first.
fn chain(schema: &BucketSchema, target: &str) -> Vec<Vec<String>> {
    let parts: Vec<&str> = target.split('|').collect();
    let named = |parts: Vec<Option<&str>>| parts.iter().map(|part| part.unwrap_or("*").to_owned()).collect();
    let mut levels: Vec<Vec<String>> = vec![parts.iter().map(|part| part.to_string()).collect()];
    levels.extend(ancestors(schema, &parts).into_iter().map(named));
    levels.dedup();
    levels
}

fn humans<'a>(rows: &'a [Row], level: &[String]) -> Vec<&'a Row> {
    let agrees = |row: &&Row| {
        BUCKETS[row.bucket].iter().zip(level).all(|(part, wanted)| wanted == "*" || part == wanted)
    };
    rows.iter().filter(agrees).collect()
}

const TARGETS: [&str; 8] = [
    "en|single|qa|short",
    "en|single|qa|*",
    "en|multi|chat|long",
    "zh|multi|dialogue|xlong",
    "zh|*|*|medium",
    "en|*|*|*",
    "fr|single|qa|short",
    "en|single|a%7Cb|short",
];

/// Per feature, the values that serve the target.
fn serving(
    rows: &[Row],
    target: &str,
    min_count: usize,
    variant: Variant,
    features: usize,
) -> Vec<Option<Vec<Row>>> {
    let levels = match variant {
        Variant::Default => chain(&BucketSchema::default(), target),
        Variant::Paper => chain(&BucketSchema::default(), target)[..1].to_vec(),
    };
    let of = |feature: usize| {
        let defined = |level: &Vec<String>| -> Vec<Row> {
            let all = humans(rows, level);
            all.into_iter().filter(|row| !row.values[feature].is_nan()).cloned().collect()
        };
        levels.iter().map(defined).find(|rows| rows.len() >= min_count)
    };
    (0..features).map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_feature_is_served_by_the_nearest_level_with_enough_humans(
        paper: bool, seed: u64, count in 0_usize..500, min_count in 1_u64..40,
    ) {
        let variant = if paper { Variant::Paper } else { Variant::Default };
        let rows = rows(seed, count, BUCKETS.len(), variant);
        let reference = build(&rows, settings(variant, 0));
        let query = Query { min_count, ..Query::default() };
        let width = reference.features().len();
        let together = reference.resolve_all(&TARGETS, &query).unwrap();
        for (target, resolved) in TARGETS.iter().zip(&together) {
            prop_assert_eq!(&reference.resolve(target, &query).unwrap(), resolved);
            let expected = serving(&rows, target, min_count as usize, variant, width);
            for (feature, expected) in expected.iter().enumerate() {
                let found = reference.target_distribution(resolved, feature).unwrap();
                let Some(expected) = expected else {
                    prop_assert!(found.is_none());
                    continue;
                };
                // The same as if these rows alone had been counted, in one bucket.
                let one: Vec<Row> = expected.iter().map(|row| Row { bucket: 0, ..row.clone() }).collect();
                let alone = build(&one, settings(variant, 0));
                prop_assert_eq!(found.unwrap(), alone.distribution(0, feature));
            }
            prop_assert_eq!(resolved.undefined, expected.iter().filter(|rows| rows.is_none()).count());
            let mut levels = chain(reference.schema(), target);
            levels.truncate(if paper { 1 } else { levels.len() });
            let level = levels.iter().find(|level| humans(&rows, level).len() as u64 >= min_count);
            prop_assert_eq!(resolved.served_by.clone(), level.map(|level| level.join("|")));
            prop_assert_eq!(resolved.reason.is_some(), level.is_none());
            prop_assert_eq!(resolved.serving().map(|level| level.rows), level.map(|level| humans(&rows, level).len() as u64));
        }
    }

    #[test]
    fn support_distances_are_their_definition(paper: bool, seed: u64, count in 0_usize..400) {
        let variant = if paper { Variant::Paper } else { Variant::Default };
        let rows = rows(seed, count, BUCKETS.len(), variant);
        let reference = build(&rows, settings(variant, 0));
        let query = Query::default();
        let responses = crate::reference_common::rows(seed ^ 1, TARGETS.len(), 3, variant);
        let values: Vec<f64> = responses.iter().flat_map(|row| row.values.clone()).collect();
        let found = reference.support_distances(&values, &TARGETS, &query).unwrap();
        for (at, target) in TARGETS.iter().enumerate() {
            let resolved = reference.resolve(target, &query).unwrap();
            let expected = distance(&reference, &resolved, &responses[at].values);
            prop_assert!(
                (found[at] - expected).abs() <= 1e-9 * expected || (found[at].is_nan() && expected.is_nan()),
                "{target}: {} {expected}", found[at]
            );
        }
    }

    #[test]
    fn percentiles_are_shares_of_the_sampled_humans(seed: u64, count in 30_usize..300, size in 1_u32..30) {
        let rows = rows(seed, count, 4, Variant::Default);
        let reference = build(&rows, settings(Variant::Default, size));
        let query = Query::default();
        let targets = &TARGETS[..3];
        let calibrations = reference.calibrate(targets, &query).unwrap();
        for (target, found) in targets.iter().zip(&calibrations) {
            let resolved = reference.resolve(target, &query).unwrap();
            let mut humans: Vec<(f64, f64)> = Vec::new();
            for &bucket in resolved.serving().map_or(&[][..], |level| &level.buckets) {
                let sampled = reference.sampled_rows(bucket).chunks_exact(reference.features().len());
                let weight = reference.buckets()[bucket].rows as f64 / sampled.len() as f64;
                let bands = reference.bands(&[target], &query).unwrap();
                humans.extend(sampled.map(|row| (bands.distances(row, &[0]).unwrap()[0], weight)));
            }
            humans.retain(|(distance, _)| !distance.is_nan());
            prop_assert_eq!(found.distances().len(), humans.len());
            let total: f64 = humans.iter().map(|human| human.1).sum();
            for x in humans.iter().map(|human| human.0).chain([-1.0, 0.5, 9.0]) {
                let weight = |is: &dyn Fn(f64) -> bool| -> f64 {
                    humans.iter().filter(|human| is(human.0)).map(|human| human.1).sum()
                };
                let expected = (weight(&|human| human < x) + 0.5 * weight(&|human| human == x)) / total;
                let percentile = found.percentile(x);
                prop_assert!((percentile - expected).abs() < 1e-9 || humans.is_empty(), "{percentile} {expected}");
            }
        }
    }
}

/// The support distance read off the page.
fn distance(reference: &Reference, resolved: &polyalign::reference::Resolved, values: &[f64]) -> f64 {
    let (mut total, mut counted, mut defined) = (0.0, 0, 0);
    let paper = reference.variant() == Variant::Paper;
    for (feature, info) in reference.features().iter().enumerate() {
        let Some(humans) = reference.target_distribution(resolved, feature).unwrap() else { continue };
        let (low, high) = humans.support(0.1, 0.9);
        defined += 1;
        if values[feature].is_nan() {
            continue;
        }
        counted += 1;
        let outside = (low - values[feature]).max(values[feature] - high).max(0.0);
        let divisor = (high - low).max(humans.std()).max(if paper { 1e-6 } else { info.scale });
        total += if paper { outside / divisor } else { (outside / divisor).min(5.0) };
    }
    if counted == 0 || 2 * counted < defined { f64::NAN } else { total / f64::from(counted) }
}

#[test]
fn targets_that_are_none_are_errors() {
    let reference = build(&rows(1, 100, 4, Variant::Default), settings(Variant::Default, 0));
    let refused = |target: &str| reference.resolve(target, &Query::default()).unwrap_err().to_string();
    assert!(refused("en|single|qa").contains("3 parts, not one for each of language, track, family, length"));
    assert!(refused("*|single|qa|short").contains("has no language"));
    assert!(refused("xx|single|qa|short").contains("\"xx\" is no language"));
    assert!(refused("en|both|qa|short").contains("neither `single` nor `multi`"));
    assert!(refused("en|single|qa|tiny").contains("none of short, medium, long, xlong"));
    assert!(refused("en|single||short").contains("blank part"));
    let query = Query { low: 0.9, high: 0.1, ..Query::default() };
    assert!(reference.bands(&["en|single|qa|*"], &query).unwrap_err().to_string().contains("0.9 to 0.1"));
}

#[test]
fn another_language_never_serves() {
    let reference = build(&rows(1, 400, 4, Variant::Default), settings(Variant::Default, 3));
    let query = Query::default();
    let resolved = reference.resolve("FR|Single|QA|short", &query).unwrap();
    assert_eq!(resolved.target, "fr|single|qa|short");
    assert_eq!((resolved.served_by, resolved.reason.as_deref()), (None, Some("no humans in `fr|*|*|*`")));
    assert_eq!(resolved.undefined, reference.features().len());
    let width = reference.features().len();
    let targets = ["fr|single|qa|short"];
    assert!(reference.support_distances(&vec![0.0_f32; width], &targets, &query).unwrap()[0].is_nan());
    assert_eq!(reference.calibrate(&targets, &query).unwrap(), [Calibration::new(vec![])]);
    assert!(Calibration::new(vec![]).percentile(0.0).is_nan());
}

/// Without a language axis everything is the last ancestor.
#[test]
fn a_schema_without_languages_backs_off_to_everything() {
    let schema = BucketSchema::from_json(r#"{"axes": ["family", "length"]}"#).unwrap();
    let builder = polyalign::reference::Builder::new(Settings { schema, ..Settings::default() }).unwrap();
    let width = polyalign::reference::features(Variant::Default).len();
    for family in ["qa", "chat"] {
        let bucket = builder.bucket(&[family, "short"]).unwrap();
        builder.add_rows(bucket, &[0; 10], &vec![1.0_f32; 10 * width]).unwrap();
    }
    let reference = builder.finish().unwrap();
    let resolved = reference.resolve("dialogue|long", &Query::default()).unwrap();
    assert_eq!(resolved.served_by.as_deref(), Some("*|*"));
    assert_eq!(resolved.levels.iter().map(|level| level.rows).collect::<Vec<_>>(), [0, 0, 20]);
}
