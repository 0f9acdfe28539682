//! How far what a reference says is from the exact values: quantiles, and Wasserstein-1 between buckets.
//!
//! ```text
//! cargo run --release --example reference_errors -- interactions.jsonl [ROWS]
//! ```
//!
//! Prints the tables of `docs/accuracy.md`. Records have `human_answer`, `language`, `track` and `family`. Buckets are cut at 40, 120 and 240 words.

mod common;

use common::say;
use polyalign::distance::samples::{Distance, Sorted};
use polyalign::features::registry::{FEATURES, Group};
use polyalign::features::{Extractor, Input, Language};
use polyalign::reference::{Builder, Reference, Settings, compare};
use polyalign::text::count_words;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::sync::atomic::AtomicBool;

/// Rows of feature values by bucket id.
type Rows = BTreeMap<String, Vec<f32>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else {
        say!("skipped: name a file of interactions");
        return Ok(());
    };
    let limit = arguments.next().map_or(Ok(usize::MAX), |rows| rows.parse())?;
    let mut rows = read(&path, limit)?;
    rows.retain(|_, values| values.len() >= 20 * FEATURES.len());
    let reference = build(&rows)?;
    say!("{} rows in {} buckets of 20 or more", reference.rows(), rows.len());
    let [by_sigma, relative] = wasserstein(&reference, &rows)?;
    let measures = [quantiles(&reference, &rows), by_sigma, relative];
    say!("\n| error | values | median | 95 % | 99 % | most |\n| --- | ---: | ---: | ---: | ---: | ---: |");
    let names = ["of a quantile, relative", "of W1, over the greater σ", "of W1, relative"];
    names.iter().zip(&measures).for_each(|(name, errors)| print_summary(name, errors));
    say!("\n| feature | quantile, most | W1 / σ, most | W1 relative, 95 % |\n| --- | ---: | ---: | ---: |");
    for feature in FEATURES {
        let of =
            |errors: &Errors, share| at(errors.iter().filter(|e| e.1 == feature.name).map(|e| e.0), share);
        let [quantile, by_sigma, relative] = &measures;
        let cells =
            [of(quantile, 1.0), of(by_sigma, 1.0), of(relative, 0.95)].map(|e| e.map_or("–".into(), percent));
        say!("| `{}` | {} |", feature.name, cells.join(" | "));
    }
    Ok(())
}

/// An error and its feature, one a value compared.
type Errors = Vec<(f64, &'static str)>;

fn print_summary(name: &str, errors: &Errors) {
    let of = |share| at(errors.iter().map(|error| error.0), share).map_or("–".into(), percent);
    say!("| {name} | {} | {} | {} | {} | {} |", errors.len(), of(0.5), of(0.95), of(0.99), of(1.0));
}

fn percent(error: f64) -> String {
    if error == 0.0 { "0".into() } else { format!("{:.2} %", 100.0 * error) }
}

/// The error that a share of them does not exceed.
fn at(errors: impl Iterator<Item = f64>, share: f64) -> Option<f64> {
    let mut errors: Vec<f64> = errors.collect();
    errors.sort_by(f64::total_cmp);
    errors.get((share * errors.len().saturating_sub(1) as f64).ceil() as usize).copied()
}

fn read(path: &str, limit: usize) -> Result<Rows, Box<dyn std::error::Error>> {
    let mut extractor = Extractor::new(&Group::ALL);
    let mut values = vec![0.0; FEATURES.len()];
    let mut rows = Rows::new();
    for line in BufReader::new(std::fs::File::open(path)?).lines().take(limit) {
        let record: Value = serde_json::from_str(&line?)?;
        let field = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let text = field("human_answer");
        let language = match field("language").as_str() {
            "zh" => Language::Chinese,
            _ => Language::English,
        };
        let bin = ["short", "medium", "long", "xlong"];
        let bin = bin[[40, 120, 240].iter().filter(|edge| count_words(&text) > **edge).count()];
        let id = format!("{}|{}|{}|{bin}", field("language"), field("track"), field("family"));
        extractor.extract(Input { text: &text, language, prompt: None }, &mut values);
        rows.entry(id).or_default().extend_from_slice(&values);
    }
    Ok(rows)
}

fn build(rows: &Rows) -> polyalign::Result<Reference> {
    let builder = Builder::new(Settings::default())?;
    for (id, values) in rows {
        let bucket = builder.bucket(&id.split('|').collect::<Vec<_>>())?;
        builder.add_rows(bucket, &vec![0; values.len() / FEATURES.len()], values)?;
    }
    builder.finish()
}

fn column(values: &[f32], feature: usize) -> Vec<f32> {
    let column = values.iter().skip(feature).step_by(FEATURES.len()).copied();
    let mut column: Vec<f32> = column.filter(|value| !value.is_nan()).collect();
    column.sort_by(f32::total_cmp);
    column
}

/// Relative errors of five quantiles, of every feature in every bucket of 20 or more.
fn quantiles(reference: &Reference, rows: &Rows) -> Errors {
    let mut errors = Vec::new();
    for (bucket, values) in rows.values().enumerate() {
        for (feature, info) in FEATURES.iter().enumerate() {
            let (exact, found) = (column(values, feature), reference.distribution(bucket, feature));
            for tenth in [2_usize, 5, 10, 15, 18].into_iter().filter(|_| exact.len() >= 20) {
                let exact = f64::from(exact[(exact.len() * tenth).div_ceil(20) - 1]);
                let error = (found.quantile(tenth as f64 / 20.0) - exact).abs();
                errors.push((if error < 1e-5 { 0.0 } else { error / exact.abs() }, info.name));
            }
        }
    }
    errors
}

/// Errors of Wasserstein-1 between all pairs of buckets.
fn wasserstein(reference: &Reference, rows: &Rows) -> polyalign::Result<[Errors; 2]> {
    let pairs: Vec<(usize, usize)> = (0..rows.len()).flat_map(|a| (0..a).map(move |b| (a, b))).collect();
    let found = compare(reference, reference, &pairs, &AtomicBool::new(false))?;
    let values: Vec<&Vec<f32>> = rows.values().collect();
    let (mut by_sigma, mut relative) = (Vec::new(), Vec::new());
    for (feature, info) in FEATURES.iter().enumerate() {
        let columns: Vec<Vec<f32>> = values.iter().map(|values| column(values, feature)).collect();
        let sorted: Vec<Sorted<f32>> =
            columns.iter().map(|column| Sorted::new(column, 1)).collect::<polyalign::Result<_>>()?;
        for (at, &(a, b)) in pairs.iter().enumerate() {
            if columns[a].len() < 20 || columns[b].len() < 20 {
                continue;
            }
            let exact = sorted[a].distances(&sorted[b], Distance::Wasserstein)?[0];
            let error = (found[at * FEATURES.len() + feature].wasserstein - exact).abs();
            let sigma = |bucket| reference.distribution(bucket, feature).std();
            let error = if error < 1e-5 { 0.0 } else { error };
            by_sigma.push((if error == 0.0 { 0.0 } else { error / sigma(a).max(sigma(b)) }, info.name));
            relative.push((if error == 0.0 { 0.0 } else { error / exact }, info.name));
        }
    }
    Ok([by_sigma, relative])
}
