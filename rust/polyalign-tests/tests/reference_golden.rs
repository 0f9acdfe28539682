//! The paper's variant against the values of its published code, and histograms against exact distances.

use crate::reference_common::{BUCKETS, Random, settings};
use polyalign::distance::histogram::{Distance, Histograms};
use polyalign::distance::samples::{self, Sorted};
use polyalign::features::paper::{CHINESE, NAMES, extract};
use polyalign::reference::{Builder, Query, Reference, Variant, features};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// Not to be stopped.
static GO_ON: AtomicBool = AtomicBool::new(false);

/// Without the measuring sticks this is `None`, and says so.
fn golden(name: &str) -> Option<String> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("POLYALIGN_SHARED").map_or(beside, PathBuf::from);
    let text = std::fs::read_to_string(shared.join("golden").join(name));
    text.inspect_err(|_| eprintln!("skipped: no {name} in {}; set POLYALIGN_SHARED", shared.display())).ok()
}

fn lines(text: &str) -> impl Iterator<Item = Value> + '_ {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

fn close(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() <= 1e-9 * expected.abs(), "{what}: {found}, not {expected}");
}

/// The golden references are of the features that every language has.
fn reference(predictions: &str) -> Reference {
    let builder = Builder::new(settings(Variant::Paper, 256)).unwrap();
    for row in lines(predictions) {
        let parts: Vec<&str> = row["bucket_id"].as_str().unwrap().split('|').collect();
        let bucket = builder.bucket(&parts).unwrap();
        builder.add_rows(bucket, &[0], &extract(row["reference_output"].as_str().unwrap(), false)).unwrap();
    }
    builder.finish().unwrap()
}

#[test]
fn the_papers_references_are_met() {
    let Some((predictions, expected)) =
        golden("eval/predictions.jsonl").zip(golden("bucket_references.json"))
    else {
        return;
    };
    let reference = reference(&predictions);
    let expected: Value = serde_json::from_str(&expected).unwrap();
    for (id, bucket) in expected.as_object().unwrap() {
        let number = reference.find(id).unwrap();
        assert_eq!(bucket["count"], reference.buckets()[number].rows);
        for (feature, name) in NAMES[..NAMES.len() - CHINESE].iter().enumerate() {
            let found = reference.distribution(number, feature);
            let stats = &bucket["feature_stats"][name];
            assert_eq!(stats["count"], found.count());
            let numbers =
                [("min", found.min()), ("max", found.max()), ("mean", found.mean()), ("std", found.std())];
            let quantiles = ["q10", "q25", "q50", "q75", "q90"].into_iter().zip([0.1, 0.25, 0.5, 0.75, 0.9]);
            let quantiles = quantiles.map(|(name, p)| (name, found.quantile(p)));
            for (key, value) in numbers.into_iter().chain(quantiles) {
                close(value, &stats[key], &format!("{key} of {name} in {id}"));
            }
            for (key, low, high) in [("support_q10_q90", 0.1, 0.9), ("support_q25_q75", 0.25, 0.75)] {
                let (low, high) = found.support(low, high);
                close(low, &bucket[key][name]["low"], name);
                close(high, &bucket[key][name]["high"], name);
            }
        }
    }
}

#[test]
fn the_papers_support_distances_are_met() {
    let Some((predictions, expected)) = golden("eval/predictions.jsonl").zip(golden("critic_targets.jsonl"))
    else {
        return;
    };
    let reference = reference(&predictions);
    let rows: Vec<Value> = lines(&expected).collect();
    let values: Vec<f64> =
        rows.iter().flat_map(|row| extract(row["text"].as_str().unwrap(), false)).collect();
    let targets: Vec<&str> = rows.iter().map(|row| row["bucket_id"].as_str().unwrap()).collect();
    for (key, low, high) in [("d_q10_q90", 0.1, 0.9), ("d_q25_q75", 0.25, 0.75)] {
        let query = Query { low, high, ..Query::default() };
        let found = reference.support_distances(&values, &targets, &query).unwrap();
        for (row, found) in rows.iter().zip(found) {
            close(found, &row[key], row["text"].as_str().unwrap());
        }
    }
    // The sampled humans, in single precision, are about where these are.
    let query = Query::default();
    let humans = &reference.calibrate(&targets[..1], &query).unwrap()[0];
    let median = humans.distances()[humans.distances().len() / 2];
    assert!((0.3..0.7).contains(&humans.percentile(median)));
}

type Shape = fn(&mut Random) -> f64;

/// About normal: the sum of twelve.
fn normal(random: &mut Random) -> f64 {
    (0..12).map(|_| random.share()).sum::<f64>() - 6.0
}

/// What features look like: counts, shares, means; spread out, bunched at an end, in two heaps.
const SHAPES: [(&str, &str, Shape); 8] = [
    ("char_count", "wide", |r| (100.0 * (0.8 * normal(r)).exp()).round()),
    ("char_count", "narrow", |r| (1500.0 + 60.0 * normal(r)).round()),
    ("word_count", "two heaps", |r| {
        if r.below(3) == 0 { 900.0 + r.below(90) as f64 } else { r.below(30) as f64 }
    }),
    ("bullet_line_count", "mostly none", |r| if r.below(10) == 0 { r.below(9) as f64 } else { 0.0 }),
    ("type_token_ratio", "shares", |r| (0.75 + 0.12 * normal(r)).clamp(0.0, 1.0)),
    ("punctuation_share", "small shares", |r| 0.03 * r.share() * r.share()),
    ("word_length_mean", "means", |r| 4.2 + 0.35 * normal(r)),
    ("flesch_reading_ease", "of both signs", |r| 20.0 + 40.0 * normal(r)),
];

/// Distances between histograms are within 4% of σ of those between the samples.
#[test]
fn histograms_are_near_the_samples() {
    for (name, shape, draw) in SHAPES {
        let feature = features(Variant::Default).iter().position(|info| info.name == name).unwrap();
        let mut random = Random(7);
        for (count, shift, stretch) in
            [(20, 0.0, 1.0), (200, 0.0, 1.0), (1000, 0.0, 1.1), (1000, 1.0, 0.7), (3000, 0.02, 1.0)]
        {
            let of = |random: &mut Random, shift: f64, stretch: f64| -> Vec<f32> {
                let one = |_| (draw(random) * stretch + shift) as f32;
                (0..count).map(one).map(|x| if name.ends_with("count") { x.round() } else { x }).collect()
            };
            let (x, y) = (of(&mut random, 0.0, 1.0), of(&mut random, shift, stretch));
            let [a, b] = [&x, &y].map(|values| distribution(feature, values));
            let both = [a.histogram(), b.histogram()];
            let both = Histograms::from_sparse(&[&both[0], &both[1]]).unwrap();
            let found = both.distances(Distance::Wasserstein, &[(0, 1)], &GO_ON).unwrap()[0];
            let sorted = [&x, &y].map(|values| Sorted::new(values, 1).unwrap());
            let exact = sorted[0].distances(&sorted[1], samples::Distance::Wasserstein).unwrap()[0];
            let sigma = a.std().min(b.std());
            assert!((found - exact).abs() <= 0.04 * sigma, "{shape}, {count}: {found} {exact} {sigma}");
        }
    }
}

fn distribution(feature: usize, values: &[f32]) -> polyalign::reference::Distribution {
    let width = features(Variant::Default).len();
    let builder = Builder::new(settings(Variant::Default, 0)).unwrap();
    let bucket = builder.bucket(&BUCKETS[0]).unwrap();
    let mut rows = vec![f32::NAN; values.len() * width];
    values.iter().enumerate().for_each(|(row, value)| rows[row * width + feature] = *value);
    builder.add_rows(bucket, &vec![0; values.len()], &rows).unwrap();
    builder.finish().unwrap().distribution(0, feature)
}

/// All features of all buckets at once are what the kernels say of each alone.
#[test]
fn differences_are_those_of_each_pair() {
    for variant in [Variant::Default, Variant::Paper] {
        let of = |seed| {
            let mut rows = crate::reference_common::rows(seed, 700, 9, variant);
            rows.retain(|row| row.bucket as u64 != seed);
            crate::reference_common::build(&rows, settings(variant, 0))
        };
        let (a, b) = (of(1), of(2));
        let difference = polyalign::reference::diff(&a, &b, &GO_ON).unwrap();
        let pairs = &difference.pairs;
        assert_eq!((pairs.len(), a.buckets().len(), b.buckets().len()), (7, 8, 8));
        assert_eq!(a.buckets()[difference.only_first[0]].id, BUCKETS[2].join("|"));
        assert_eq!(b.buckets()[difference.only_second[0]].id, BUCKETS[1].join("|"));
        assert_eq!(difference.comparisons.len(), pairs.len() * a.features().len());
        for found in &difference.comparisons {
            let (x, y) = pairs[found.pair];
            assert_eq!(a.buckets()[x].id, b.buckets()[y].id);
            let (p, q) = (a.distribution(x, found.feature), b.distribution(y, found.feature));
            assert_eq!(found.counts, (p.count(), q.count()));
            let expected = walked(&p, &q);
            assert!(
                (found.wasserstein - expected.0).abs() <= 1e-9 * expected.0.max(1.0),
                "{found:?} {expected:?}"
            );
            assert!((found.kolmogorov_smirnov - expected.1).abs() <= 1e-12);
            assert!((found.total_variation - expected.2).abs() <= 1e-12);
            let scale = p.std().max(a.features()[found.feature].scale);
            assert!((found.wasserstein_scaled * scale - found.wasserstein).abs() <= 1e-9 * found.wasserstein);
            assert!(
                found.energy >= 0.0
                    && found.hellinger <= 1.0
                    && found.jensen_shannon <= 0.833
                    && found.psi >= 0.0
            );
        }
        let within = polyalign::reference::compare(&a, &a, &[(0, 0), (0, 1)], &GO_ON).unwrap();
        assert!(within[..a.features().len()].iter().all(|same| same.wasserstein == 0.0 && same.psi == 0.0));
        assert!(polyalign::reference::compare(&a, &a, &[(0, 99)], &GO_ON).is_err());
    }
}

/// W1, Kolmogorov–Smirnov and total variation, bin by bin.
fn walked(p: &polyalign::reference::Distribution, q: &polyalign::reference::Distribution) -> (f64, f64, f64) {
    let mut steps: Vec<(i64, f64, f64)> = Vec::new();
    for (of, sign) in [(p, 1.0), (q, -1.0)] {
        let bins = of.cells().iter().zip(of.histogram());
        steps.extend(
            bins.map(|(cell, bin)| (cell.index, bin.mean, sign * cell.count as f64 / of.count() as f64)),
        );
    }
    steps.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (mut gap, mut wasserstein) = (0.0_f64, 0.0);
    for at in 0..steps.len() {
        gap += steps[at].2;
        wasserstein += steps.get(at + 1).map_or(0.0, |next| gap.abs() * (next.1 - steps[at].1));
    }
    steps.sort_by_key(|step| step.0);
    let shares: Vec<f64> =
        steps.chunk_by(|a, b| a.0 == b.0).map(|bin| bin.iter().map(|step| step.2).sum()).collect();
    let (mut gap, mut greatest) = (0.0_f64, 0.0_f64);
    for share in &shares {
        gap += share;
        greatest = greatest.max(gap.abs());
    }
    (wasserstein, greatest, 0.5 * shares.iter().map(|share| share.abs()).sum::<f64>())
}

#[test]
fn descriptions_are_the_distributions() {
    let rows = crate::reference_common::rows(1, 300, 4, Variant::Default);
    let reference = crate::reference_common::build(&rows, settings(Variant::Default, 0));
    let all = reference.describe(&AtomicBool::new(false)).unwrap();
    assert_eq!(all.len(), reference.buckets().len() * reference.features().len());
    for found in all.iter().filter(|found| found.count > 0) {
        let of = reference.distribution(found.bucket, found.feature);
        assert_eq!((found.count, found.mean, found.std), (of.count(), of.mean(), of.std()));
        assert_eq!((found.min, found.quantiles[2], found.max), (of.min(), of.quantile(0.5), of.max()));
    }
}
