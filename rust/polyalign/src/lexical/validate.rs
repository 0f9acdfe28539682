//! The rules that all counts keep, and that a file is held to.

use super::keys::{ANY, END_OF_KEYS, FIRST_SPARE};
use super::{Bucket, Lexical, Settings, sample};
use crate::reference::validate::{check_counted_under, check_sample_size};
use crate::{Error, Result};

const BITS: std::ops::RangeInclusive<u32> = 8..=28;

/// The settings with their schema checked, or the first rule they break.
pub(super) fn check_settings(mut settings: Settings) -> Result<Settings> {
    settings.schema = check_counted_under(settings.schema, settings.tokenizer.as_deref(), "lexical counts")?;
    check_sample_size(settings.sample_size).map_err(invalid)?;
    if !BITS.contains(&settings.bits) {
        let (least, most) = BITS.into_inner();
        return Err(invalid(format!("bits is {}: it must be {least} to {most}", settings.bits)));
    }
    Ok(settings)
}

/// What is said where not even single words have room.
pub(super) fn too_many_words(bits: u32) -> Error {
    invalid(format!(
        "more different words and spellings than the table of 2^{bits} n-grams has room for: give more bits"
    ))
}

pub(super) fn invalid(message: String) -> Error {
    Error::Input(format!("lexical counts: {message}"))
}

/// Whether what was read are counts; the error names the tensor and the rule it breaks.
pub(super) fn check(lexical: &Lexical) -> Result<(), String> {
    check_entries(lexical)?;
    let Lexical { settings, buckets, samples, .. } = lexical;
    settings.schema.check_bucket_count(buckets.len())?;
    for (Bucket { id, parts, rows }, sample) in buckets.iter().zip(samples) {
        settings.schema.check_parts(parts)?;
        if *rows == 0 {
            return Err(format!("tensor `rows`: bucket {id} has none"));
        }
        if sample.len() as u64 > u64::from(settings.sample_size).min(*rows) {
            return Err(format!("tensor `sample_offset`: bucket {id} has more sampled rows than there are"));
        }
        if !sample.is_sorted() || sample.iter().any(|(_, text)| text.len() > sample::LONGEST) {
            return Err(format!("tensor `sample_key`: the sample of bucket {id} is not sorted, or too long"));
        }
    }
    if !buckets.is_sorted_by(|a, b| a.id < b.id) {
        return Err("its bucket ids do not ascend".into());
    }
    Ok(())
}

fn check_entries(lexical: &Lexical) -> Result<(), String> {
    let entries = &lexical.entries;
    if entries.keys.len() > 1 << lexical.settings.bits {
        return Err("tensor `key` has more keys than its `bits` allow".into());
    }
    let bound = entries.bound;
    if bound != u64::MAX && (bound & ANY != 0 || !(FIRST_SPARE..END_OF_KEYS).contains(&bound)) {
        return Err("its `bound` is none".into());
    }
    let end = bound.min(END_OF_KEYS);
    if !entries.keys.is_sorted_by(|a, b| a < b) || entries.keys.last().is_some_and(|last| *last >= end) {
        return Err("tensor `key` does not ascend, or goes beyond its `bound`".into());
    }
    if entries.keys.iter().any(|key| key & ANY == ANY) {
        return Err("tensor `key` has the key of no n-gram".into());
    }
    if entries.counts.contains(&0) {
        return Err("tensor `count` has a 0".into());
    }
    Ok(())
}
