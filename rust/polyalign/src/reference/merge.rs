//! Two references as one: counts add up.

use super::cells::{Cells, Indices};
use super::sample::{Samples, order};
use super::{Bucket, Reference, Settings};
use crate::{Error, Result};
use serde_json::json;
use std::cmp::Ordering;

impl Reference {
    /// The reference of both corpora together: the same bytes as if one builder had counted them, for any order.
    ///
    /// Refused, with what each has, if schema, tokenizer, variant, sample size, the rule for reasoning or the language model differ.
    pub fn merge(&self, other: &Self) -> Result<Self> {
        check_alike(&self.settings, &other.settings)?;
        let wide = matches!(self.cells.indices, Indices::Wide(_));
        let width = self.features().len();
        let mut merged = Self {
            settings: self.settings.clone(),
            sources: self.sources.union(&other.sources).cloned().collect(),
            buckets: Vec::new(),
            totals: Vec::new(),
            cells: Cells::new(wide, 0, self.cells.counts.len().max(other.cells.counts.len())),
            samples: Samples::new(),
        };
        let (mut a, mut b) = (0, 0);
        loop {
            let next = match (self.buckets.get(a), other.buckets.get(b)) {
                (Some(x), Some(y)) => x.id.cmp(&y.id),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            match next {
                Ordering::Less => merged.copy(self, a, width),
                Ordering::Greater => merged.copy(other, b, width),
                Ordering::Equal => merged.add(self, a, other, b)?,
            }
            a += usize::from(next.is_le());
            b += usize::from(next.is_ge());
        }
        super::validate::check_bucket_count(merged.buckets.len(), &merged.settings.schema)?;
        Ok(merged)
    }

    fn copy(&mut self, from: &Self, bucket: usize, width: usize) {
        self.buckets.push(from.buckets[bucket].clone());
        self.samples.push_bucket(from.samples.entries(bucket, width));
        for at in bucket * width..(bucket + 1) * width {
            self.totals.push(from.totals[at]);
            self.cells.push_row(from.cells.row(at));
        }
    }

    fn add(&mut self, a: &Self, bucket_a: usize, b: &Self, bucket_b: usize) -> Result<()> {
        let (x, features) = (&a.buckets[bucket_a], a.features());
        let too_many = || Error::Input(format!("reference: bucket {:?} has too many rows to add", x.id));
        let rows = x.rows.checked_add(b.buckets[bucket_b].rows).ok_or_else(too_many)?;
        self.buckets.push(Bucket { rows, ..x.clone() });
        for (feature, info) in features.iter().enumerate() {
            let sum =
                a.distribution(bucket_a, feature).plus(&b.distribution(bucket_b, feature), info.name)?;
            self.totals.push(sum.totals());
            self.cells.push_row(sum.cells().iter().copied());
        }
        let mut both: Vec<_> = a.samples.entries(bucket_a, features.len()).collect();
        both.extend(b.samples.entries(bucket_b, features.len()));
        both.sort_by(|x, y| order(*x, *y));
        both.truncate(self.settings.sample_size as usize);
        self.samples.push_bucket(both);
        Ok(())
    }
}

fn check_alike(a: &Settings, b: &Settings) -> Result<()> {
    let differ = |what: &str, a: &str, b: &str| {
        Err(Error::Input(format!("references of different {what} don't merge: {a} and {b}")))
    };
    if a.variant != b.variant {
        return differ("variants", a.variant.name(), b.variant.name());
    }
    if a.schema != b.schema {
        return differ("schemas", &a.schema.to_json(), &b.schema.to_json());
    }
    let tokenizer = |of: &Settings| of.tokenizer.clone().unwrap_or_else(|| "none".into());
    if a.tokenizer != b.tokenizer {
        return differ("tokenizers", &tokenizer(a), &tokenizer(b));
    }
    if a.sample_size != b.sample_size {
        return differ("sample sizes", &a.sample_size.to_string(), &b.sample_size.to_string());
    }
    if a.keep_thinking != b.keep_thinking {
        let reasoning = |of: &Settings| if of.keep_thinking { "kept" } else { "left out" };
        return differ("rules for reasoning", reasoning(a), reasoning(b));
    }
    if a.lm != b.lm {
        let lm = |of: &Settings| of.lm.as_ref().map_or_else(|| "none".into(), |lm| json!(lm).to_string());
        return differ("language models", &lm(a), &lm(b));
    }
    Ok(())
}
