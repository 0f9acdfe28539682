//! How far what a reference says is from the exact values: quantiles, and Wasserstein-1 between buckets.
//!
//! ```text
//! cargo run --release --example reference_errors -- interactions.jsonl [ROWS]
//! ```
//!
//! Records have `human_answer`, `language`, `track` and `family`. Buckets are cut at 40, 120 and 240 words.

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
        println!("skipped: name a file of interactions");
        return Ok(());
    };
    let limit = arguments.next().map_or(Ok(usize::MAX), |rows| rows.parse())?;
    let mut rows = read(&path, limit)?;
    rows.retain(|_, values| values.len() >= 20 * FEATURES.len());
    let reference = build(&rows)?;
    println!("{} rows in {} buckets of 20 or more", reference.rows(), rows.len());
    quantiles(&reference, &rows);
    wasserstein(&reference, &rows)?;
    Ok(())
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
fn quantiles(reference: &Reference, rows: &Rows) {
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
    report("quantiles, relative", errors);
}

/// Errors of Wasserstein-1 between all pairs of buckets.
fn wasserstein(reference: &Reference, rows: &Rows) -> polyalign::Result<()> {
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
    report("Wasserstein-1, over the greater σ", by_sigma);
    report("Wasserstein-1, relative", relative);
    Ok(())
}

fn report(what: &str, mut errors: Vec<(f64, &str)>) {
    errors.sort_by(|a, b| a.0.total_cmp(&b.0));
    let at =
        |share: f64| errors.get((share * (errors.len().max(1) - 1) as f64) as usize).map_or(0.0, |e| e.0);
    println!(
        "{what}: {} values; median {:.5}, .95 {:.5}, .99 {:.5}",
        errors.len(),
        at(0.5),
        at(0.95),
        at(0.99)
    );
    let mut seen = Vec::new();
    for (error, name) in errors.iter().rev() {
        if !seen.contains(name) && seen.len() < 6 {
            println!("    at most {error:.5} of {name}");
            seen.push(name);
        }
    }
}
