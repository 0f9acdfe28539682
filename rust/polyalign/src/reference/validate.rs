//! The rules that every reference keeps, and that a file is held to.

use super::distribution::{Cell, Totals};
use super::sample::{canonical, order};
use super::{Bucket, FeatureInfo, LanguageModel, Reference, Settings, Variant, fixed};
use crate::buckets::BucketSchema;
use crate::{Error, Result};

/// Largest sample of a bucket.
const MAX_SAMPLE: u32 = 1 << 16;

/// The settings with their schema checked, or the first rule they break.
pub(super) fn check_settings(mut settings: Settings) -> Result<Settings> {
    settings.schema = check_counted_under(settings.schema, settings.tokenizer.as_deref(), "reference")?;
    check_sample_size(settings.sample_size).map_err(invalid)?;
    if let Some(lm) = &settings.lm {
        check_lm(lm, settings.variant).map_err(invalid)?;
    }
    Ok(settings)
}

/// Whether this can be a language model that gave features; the error says what is wrong.
fn check_lm(lm: &LanguageModel, variant: Variant) -> Result<(), String> {
    const LONGEST_NAME: usize = 4096;
    let LanguageModel { name, revision, prefix, max_length, fingerprint } = lm;
    if variant != Variant::Default {
        return Err("the paper's variant has no features of a language model".into());
    }
    if name.is_empty()
        || name.len() > LONGEST_NAME
        || revision.as_ref().is_some_and(|r| r.len() > LONGEST_NAME)
    {
        return Err("its language model's name or revision is empty, or too long".into());
    }
    if !matches!(prefix.as_str(), "chat" | "paper" | "plain") || *max_length < 2 {
        return Err("its language model can't have been asked so (`prefix`, `max_length`)".into());
    }
    if !is_sha256(fingerprint) {
        return Err("its language model's fingerprint is not 64 hexadecimal digits".into());
    }
    Ok(())
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The schema, checked, of what is counted by buckets; `what` begins the message.
pub(crate) fn check_counted_under(
    schema: BucketSchema,
    tokenizer: Option<&str>,
    what: &str,
) -> Result<BucketSchema> {
    let schema = schema.validated()?;
    if schema.needs_edges() {
        return Err(Error::Input(format!(
            "{what}: length_edges are \"auto\": find them by a first pass, then build"
        )));
    }
    if let Some(sha256) = tokenizer
        && !is_sha256(sha256)
    {
        return Err(Error::Input(format!(
            "{what}: tokenizer {sha256:?} is no SHA-256 of 64 hexadecimal digits"
        )));
    }
    Ok(schema)
}

/// Whether so many rows of a bucket may be sampled; the error says how many may.
pub(crate) fn check_sample_size(size: u32) -> Result<(), String> {
    if size > MAX_SAMPLE {
        return Err(format!("a sample of {size} rows: at most {MAX_SAMPLE}"));
    }
    Ok(())
}

/// Whether `parts` make a bucket under the schema.
pub(super) fn check_parts<S: AsRef<str>>(schema: &BucketSchema, parts: &[S]) -> Result<()> {
    schema.check_parts(parts).map_err(invalid)
}

/// An error if there are more buckets than a corpus may have.
pub(super) fn check_bucket_count(buckets: usize, schema: &BucketSchema) -> Result<()> {
    schema.check_bucket_count(buckets).map_err(invalid)
}

/// Whether what was read is a reference; the error names the tensor and the rule it breaks.
pub(super) fn check(reference: &Reference) -> Result<(), String> {
    check_buckets(reference)?;
    let width = reference.features().len();
    check_offsets("bin_offset", &reference.cells.offsets, reference.cells.counts.len())?;
    for (at, totals) in reference.totals.iter().enumerate() {
        let (bucket, info) = (&reference.buckets[at / width], &reference.features()[at % width]);
        let counted = if totals.count > bucket.rows {
            Err("`count` is above `rows`")
        } else {
            check_feature(info, totals, reference.cells.row(at))
        };
        counted.map_err(|what| format!("feature `{}` of bucket {}: {what}", info.name, bucket.id))?;
    }
    check_samples(reference)
}

fn check_buckets(reference: &Reference) -> Result<(), String> {
    let buckets = &reference.buckets;
    check_bucket_count(buckets.len(), reference.schema()).map_err(|e| e.to_string())?;
    for Bucket { id, parts, rows } in buckets {
        check_parts(reference.schema(), parts).map_err(|e| e.to_string())?;
        if *rows == 0 {
            return Err(format!("tensor `rows`: bucket {id} has none"));
        }
    }
    if !buckets.is_sorted_by(|a, b| a.id < b.id) {
        return Err("its bucket ids do not ascend".into());
    }
    Ok(())
}

/// Whether offsets begin at 0, never fall, and end at `end`.
pub(crate) fn check_offsets(name: &str, offsets: &[u64], end: usize) -> Result<(), String> {
    let ends = offsets.first() == Some(&0) && offsets.last() == Some(&(end as u64));
    if ends && offsets.is_sorted() {
        return Ok(());
    }
    Err(format!("tensor `{name}` does not rise from 0 to {end}"))
}

/// Whether bins and totals are those of some values.
fn check_feature(
    info: &FeatureInfo,
    totals: &Totals,
    cells: impl ExactSizeIterator<Item = Cell>,
) -> Result<(), &'static str> {
    if totals.count == 0 {
        let nothing = cells.len() == 0 && *totals == Totals::default();
        return if nothing { Ok(()) } else { Err("`count` is 0, but there are bins or sums") };
    }
    if totals.min < info.lowest() || totals.min > totals.max {
        return Err("`min` is below 0 or above `max`");
    }
    let mut found = Found::default();
    let (first, last) = (info.bins.index(totals.min), info.bins.index(totals.max));
    let (mut before, mut ends) = (None, (None, None));
    for cell in cells {
        if before.is_some_and(|before| cell.index <= before) || cell.index < first || cell.index > last {
            return Err("`bin_index` does not ascend, or is not between the bins of `min` and `max`");
        }
        before = Some(cell.index);
        ends = (ends.0.or(before), before);
        found.add(info, totals, cell)?;
    }
    if ends != (Some(first), Some(last)) {
        return Err("`min` and `max` are not in the first and the last bin");
    }
    if found.count != totals.count || found.sum != totals.sum {
        return Err("`count` or `sum` is not that of the bins");
    }
    if totals.squares < found.least_squares || totals.squares > found.most_squares {
        return Err("`square_sum` is that of no values in these bins");
    }
    Ok(())
}

/// What the bins say of the totals.
#[derive(Default)]
struct Found {
    count: u64,
    sum: i128,
    least_squares: i128,
    most_squares: i128,
}

impl Found {
    fn add(&mut self, info: &FeatureInfo, totals: &Totals, cell: Cell) -> Result<(), &'static str> {
        const TOO_LARGE: &str = "`bin_count` is too large";
        let (low, high) = info.bins.bounds(cell.index);
        let (low, high) = (low.max(totals.min), high.min(totals.max));
        let (anchor, side) = info.bins.anchor(cell.index);
        let count = i128::from(cell.count);
        let sum = i128::from(anchor) * count + i128::from(side) * i128::from(cell.sum);
        let (low, high) = (i128::from(low), i128::from(high));
        if count == 0 {
            return Err("`bin_count` is 0");
        }
        // One value is the least, and one the greatest.
        let least = low * (count - 1) + if cell.index == info.bins.index(totals.max) { high } else { low };
        let most = high * (count - 1) + if cell.index == info.bins.index(totals.min) { low } else { high };
        if sum < least || sum > most {
            return Err("`bin_sum` is that of no values in the bin");
        }
        let add = |total: &mut i128, more: Option<i128>| -> Option<()> {
            *total = total.checked_add(more?)?;
            Some(())
        };
        self.count = self.count.checked_add(cell.count).ok_or(TOO_LARGE)?;
        let added = add(&mut self.sum, Some(sum))
            .and_then(|()| add(&mut self.least_squares, least_squares(sum, count)))
            .and_then(|()| add(&mut self.most_squares, most_squares(sum, count, low, high)));
        added.ok_or(TOO_LARGE)
    }
}

/// The least Σx² of whole numbers: all next to their mean.
fn least_squares(sum: i128, count: i128) -> Option<i128> {
    let (whole, more) = (sum.div_euclid(count), sum.rem_euclid(count));
    (whole * whole).checked_mul(count - more)?.checked_add(((whole + 1) * (whole + 1)).checked_mul(more)?)
}

/// The greatest Σx²: all at an end, but for one that makes up the sum.
fn most_squares(sum: i128, count: i128, low: i128, high: i128) -> Option<i128> {
    if low == high {
        return (low * low).checked_mul(count);
    }
    let (at_high, rest) = ((sum - low * count) / (high - low), (sum - low * count) % (high - low));
    let at_ends = (high * high).checked_mul(at_high)?;
    if at_high == count {
        return Some(at_ends);
    }
    let at_low = (low * low).checked_mul(count - at_high - 1)?;
    at_ends.checked_add(at_low)?.checked_add((low + rest) * (low + rest))
}

fn check_samples(reference: &Reference) -> Result<(), String> {
    let (samples, width) = (&reference.samples, reference.features().len());
    check_offsets("sample_offset", &samples.offsets, samples.keys.len())?;
    for (at, bucket) in reference.buckets.iter().enumerate() {
        let entries = samples.entries(at, width);
        let expected = bucket.rows.min(reference.settings.sample_size.into());
        if entries.clone().count() as u64 != expected {
            return Err(format!(
                "tensor `sample_offset`: bucket {} has not {expected} sampled rows",
                bucket.id
            ));
        }
        if !entries.clone().is_sorted_by(|a, b| order(*a, *b).is_le()) {
            return Err(format!("tensor `sample_key`: the sample of bucket {} is not sorted", bucket.id));
        }
        let totals = &reference.totals[at * width..(at + 1) * width];
        let usable =
            |row: &[f32]| row.iter().zip(totals).all(|(x, of)| is_sampled(*x, of, reference.variant()));
        if !entries.map(|(_, row)| row).all(usable) {
            return Err(format!("tensor `sample_row`: bucket {} has a row that was not counted", bucket.id));
        }
    }
    Ok(())
}

/// Whether a value can have been counted. The paper's lose digits in a sample, so they may lie a little outside.
fn is_sampled(value: f32, totals: &Totals, variant: Variant) -> bool {
    if value.to_bits() != canonical(value).to_bits() || value.is_nan() {
        return value.is_nan() && value.to_bits() == canonical(value).to_bits();
    }
    let counted = |fixed: i64| totals.count > 0 && (totals.min..=totals.max).contains(&fixed);
    match variant {
        Variant::Default => fixed::to_fixed(value, variant).is_some_and(counted),
        Variant::Paper => value.is_finite() && totals.count > 0,
    }
}

fn invalid(message: String) -> Error {
    Error::Input(format!("reference: {message}"))
}
