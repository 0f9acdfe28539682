//! A reference is the same bytes however its rows are divided, ordered and counted.

use crate::reference_common::{BUCKETS, Random, Row, build, rows, settings};
use polyalign::features::registry::LM_FEATURES;
use polyalign::reference::{Builder, LanguageModel, Query, Reference, Settings, Variant, features};
use proptest::prelude::*;
use std::thread;

fn bytes(reference: &Reference) -> Vec<u8> {
    reference.to_bytes().unwrap()
}

fn variant() -> impl Strategy<Value = Variant> {
    prop_oneof![3 => Just(Variant::Default), 1 => Just(Variant::Paper)]
}

/// Rows in an order that the seed says.
fn shuffled(mut rows: Vec<Row>, seed: u64) -> Vec<Row> {
    let mut random = Random(seed);
    for at in (1..rows.len()).rev() {
        rows.swap(at, random.below(at as u64 + 1) as usize);
    }
    rows
}

/// From several threads, several rows of a bucket at once.
fn build_threaded(rows: &[Row], settings: Settings, threads: usize) -> Reference {
    let builder = Builder::new(settings).unwrap();
    thread::scope(|scope| {
        for part in rows.chunks(rows.len().div_ceil(threads).max(1)) {
            let builder = &builder;
            scope.spawn(move || {
                for (bucket, parts) in BUCKETS.iter().enumerate() {
                    let own: Vec<&Row> = part.iter().filter(|row| row.bucket == bucket).collect();
                    let keys: Vec<u64> = own.iter().map(|row| row.key).collect();
                    let values: Vec<f64> = own.iter().flat_map(|row| row.values.clone()).collect();
                    let number = builder.bucket(parts).unwrap();
                    builder.add_rows(number, &keys, &values).unwrap();
                }
            });
        }
    });
    builder.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn parts_merge_to_the_whole_in_any_order(
        variant in variant(), seed: u64, count in 0_usize..600, cuts in prop::collection::vec(0_usize..600, 0..4),
        sample in prop_oneof![Just(0_u32), 1..9_u32, Just(256)],
    ) {
        let settings = settings(variant, sample);
        let rows = rows(seed, count, BUCKETS.len(), variant);
        let whole = bytes(&build(&rows, settings.clone()));
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(count)).chain([0, count]).collect();
        cuts.sort_unstable();
        let rows = shuffled(rows, seed);
        let mut parts: Vec<Reference> =
            cuts.windows(2).map(|cut| build(&rows[cut[0]..cut[1]], settings.clone())).collect();
        // From both ends to the middle, then together.
        while parts.len() > 1 {
            let last = parts.pop().unwrap();
            let first = parts.swap_remove(0);
            let both = bytes(&first.merge(&last).unwrap());
            prop_assert_eq!(&both, &bytes(&last.merge(&first).unwrap()));
            parts.push(Reference::from_bytes(&both).unwrap());
        }
        prop_assert!(bytes(&parts[0]) == whole);
    }

    #[test]
    fn threads_and_blocks_change_nothing(variant in variant(), seed: u64, count in 1_usize..900, threads in 1_usize..6) {
        let settings = settings(variant, 7);
        let rows = rows(seed, count, 3, variant);
        let one = bytes(&build(&rows, settings.clone()));
        prop_assert!(bytes(&build_threaded(&shuffled(rows, seed), settings, threads)) == one);
    }

    #[test]
    fn the_sample_is_the_rows_with_the_smallest_keys(seed: u64, count in 1_usize..300, size in 1_u32..20) {
        let rows = rows(seed, count, 2, Variant::Default);
        let reference = build(&rows, settings(Variant::Default, size));
        for (number, bucket) in reference.buckets().iter().enumerate() {
            let own = rows.iter().filter(|row| BUCKETS[row.bucket].join("|") == bucket.id);
            let bits = |values: &[f64]| -> Vec<u32> {
                let one = |x: &f64| if x.is_nan() { f32::NAN } else { *x as f32 + 0.0 };
                values.iter().map(|x| one(x).to_bits()).collect()
            };
            let mut expected: Vec<(u64, Vec<u32>)> = own.map(|row| (row.key, bits(&row.values))).collect();
            expected.sort();
            expected.truncate(size as usize);
            let found: Vec<Vec<u32>> = reference
                .sampled_rows(number)
                .chunks_exact(reference.features().len())
                .map(|row| row.iter().map(|x| x.to_bits()).collect())
                .collect();
            prop_assert!(found.iter().eq(expected.iter().map(|(_, row)| row)));
        }
    }
}

#[test]
fn unlike_references_do_not_merge() {
    let of = |settings: Settings| Builder::new(settings).unwrap().finish().unwrap();
    let base = of(Settings::default());
    let refused = |settings: Settings| base.merge(&of(settings)).unwrap_err().to_string();
    let mut schema = Settings::default().schema;
    schema.axes.pop();
    assert!(refused(Settings { schema, ..Settings::default() }).contains("different schemas don't merge: {"));
    let tokenizer = Some("0123456789abcdef".repeat(4));
    assert!(
        refused(Settings { tokenizer, ..Settings::default() })
            .contains("tokenizers don't merge: none and 0123")
    );
    assert!(refused(settings(Variant::Paper, 256)).ends_with("default and paper"));
    assert!(refused(settings(Variant::Default, 255)).ends_with("256 and 255"));
    assert!(
        refused(Settings { sample_size: 256, ..with_lm() })
            .contains("different language models don't merge: none and {")
    );
}

fn with_lm() -> Settings {
    let lm = LanguageModel {
        name: "model".into(),
        revision: None,
        prefix: "chat".into(),
        max_length: 64,
        fingerprint: "0123456789abcdef".repeat(4),
    };
    Settings { lm: Some(lm), sample_size: 8, ..Settings::default() }
}

/// Rows with values of a language model after their own.
fn rows_with_lm(seed: u64, count: usize) -> Vec<Row> {
    let mut random = Random(seed);
    let more: Vec<_> = LM_FEATURES.iter().map(|feature| feature.bins).collect();
    let mut rows = rows(seed, count, 3, Variant::Default);
    for row in &mut rows {
        row.values.extend(more.iter().map(|&bins| random.value(bins) as f32 as f64));
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What a language model says adds up as all else does, and counts for nobody where it is not asked for.
    #[test]
    fn features_of_a_language_model_are_features(seed in any::<u64>(), cut in 0_usize..120) {
        let rows = rows_with_lm(seed, 120);
        let whole = build(&rows, with_lm());
        let parts = build(&rows[cut..], with_lm()).merge(&build(&rows[..cut], with_lm())).unwrap();
        prop_assert_eq!(parts.to_bytes().unwrap(), whole.to_bytes().unwrap());
        prop_assert_eq!(&Reference::from_bytes(&whole.to_bytes().unwrap()).unwrap(), &whole);
        let width = features(Variant::Default).len();
        let measured = |row: &Row| Row { values: row.values[..width].to_vec(), ..row.clone() };
        let plain = build(&rows.iter().map(measured).collect::<Vec<_>>(), settings(Variant::Default, 8));
        let query = Query { min_count: 5, ..Query::default() };
        for bucket in plain.buckets() {
            let target = [bucket.id.as_str()];
            for row in &rows {
                let with = whole.support_distances(&row.values, &target, &query).unwrap();
                let without = plain.support_distances(&row.values[..width], &target, &query).unwrap();
                prop_assert!(with[0] == without[0] || with[0].is_nan() && without[0].is_nan());
                let asked = whole.support_contributions(&row.values, &target, &Query { lm: true, ..query }).unwrap();
                let counted: Vec<f64> = asked.iter().filter(|part| !part.is_nan()).map(|&part| part.into()).collect();
                let mean = counted.iter().sum::<f64>() / counted.len() as f64;
                let all = whole.support_distances(&row.values, &target, &Query { lm: true, ..query }).unwrap();
                prop_assert!(all[0].is_nan() || (all[0] - mean).abs() <= 1e-6 * mean);
            }
            prop_assert_eq!(whole.calibrate(&target, &query).unwrap(), plain.calibrate(&target, &query).unwrap());
        }
    }
}

#[test]
fn what_can_not_be_counted_is_an_error_that_stays() {
    let width = features(Variant::Default).len();
    let feature = |name: &str| features(Variant::Default).iter().position(|f| f.name == name).unwrap();
    for (name, value, why) in [
        ("char_count", f32::INFINITY, "it must be below 2³¹"),
        ("char_count", -1.0, "it is never below 0"),
        ("flesch_reading_ease", -3e9, "it must be below 2³¹"),
    ] {
        let builder = Builder::new(Settings::default()).unwrap();
        let bucket = builder.bucket(&BUCKETS[0]).unwrap();
        let mut row = vec![0.0; width];
        row[feature(name)] = value;
        let error = builder.add_rows(bucket, &[1], &row).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(why), "{error}");
        assert_eq!(builder.finish().unwrap_err().to_string(), error);
    }
    let builder = Builder::new(Settings::default()).unwrap();
    assert!(
        builder.add_rows(0, &[1], &vec![0.0_f32; width]).unwrap_err().to_string().contains("no bucket 0")
    );
    assert!(
        builder.add_rows(0, &[1], &[0.0_f32]).unwrap_err().to_string().contains("1 values are not 1 rows")
    );
}

#[test]
fn sums_that_grow_too_large_are_an_error() {
    // Far beyond the last bin, where offsets are large.
    let builder = Builder::new(settings(Variant::Default, 0)).unwrap();
    let bucket = builder.bucket(&BUCKETS[0]).unwrap();
    let width = features(Variant::Default).len();
    let rows = vec![2_147_483_000.0_f32; 4200 * width];
    let error = builder.add_rows(bucket, &vec![0; 4200], &rows).unwrap_err().to_string();
    assert!(error.contains("`char_count` are too large"), "{error}");
    // And when two that fit are merged.
    let half = || {
        let builder = Builder::new(settings(Variant::Default, 0)).unwrap();
        let bucket = builder.bucket(&BUCKETS[0]).unwrap();
        builder.add_rows(bucket, &vec![0; 2048], &rows[..2048 * width]).unwrap();
        builder.finish().unwrap()
    };
    let error = half().merge(&half()).and_then(|both| both.merge(&half())).unwrap_err().to_string();
    assert!(error.contains("are too large to add"), "{error}");
}

/// On either side, as what lies there is measured from the end nearest to 0.
#[test]
fn many_values_beyond_the_last_bins_fit() {
    let builder = Builder::new(settings(Variant::Default, 0)).unwrap();
    let bucket = builder.bucket(&BUCKETS[0]).unwrap();
    let width = features(Variant::Default).len();
    let ease = features(Variant::Default).iter().position(|f| f.name == "flesch_reading_ease").unwrap();
    let mut rows = vec![f32::NAN; 10_000 * width];
    (0..10_000).for_each(|row| rows[row * width + ease] = if row % 2 == 0 { -5000.5 } else { 5000.25 });
    (0..20).for_each(|_| builder.add_rows(bucket, &vec![0; 10_000], &rows).unwrap());
    let found = builder.finish().unwrap().distribution(0, ease);
    assert_eq!((found.count(), found.mean()), (200_000, -0.125));
    assert_eq!(found.histogram().iter().map(|bin| bin.mean).collect::<Vec<_>>(), [-5000.5, 5000.25]);
}

#[test]
fn buckets_are_those_of_the_schema() {
    let builder = Builder::new(Settings::default()).unwrap();
    let refused = |parts: &[&str]| builder.bucket(parts).unwrap_err().to_string();
    assert!(refused(&["en", "single", "qa"]).contains("3 parts, not one for each of language, track"));
    assert!(refused(&["xx", "single", "qa", "short"]).contains("\"xx\" is no language"));
    assert!(refused(&["en", "both", "qa", "short"]).contains("neither `single` nor `multi`"));
    assert!(refused(&["en", "single", "qa", "tiny"]).contains("none of short, medium, long, xlong"));
    assert!(refused(&["en", "single", "*", "short"]).contains("stands for all"));
    assert!(refused(&["en", "single", "QA", "short"]).contains("not as ids have them"));
    assert!(refused(&["en", "single", "a|b", "short"]).contains("not as ids have them"));
    assert!(builder.bucket(&["en", "single", "a%7Cb", "short"]).is_ok());
    let mut auto = Settings::default();
    auto.schema.length_edges = polyalign::buckets::LengthEdges::Auto;
    assert!(Builder::new(auto).err().unwrap().to_string().contains("length_edges are \"auto\""));
    let odd = Settings { tokenizer: Some("abc".into()), ..Settings::default() };
    assert!(Builder::new(odd).err().unwrap().to_string().contains("no SHA-256"));
}
