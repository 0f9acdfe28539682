//! Counts of two corpora as one: they add up.

use super::keys::FIRST_SPARE;
use super::sample::Row;
use super::validate::{invalid, too_many_words};
use super::{Bucket, Lexical, Settings};
use crate::Result;
use std::cmp::Ordering;
use std::sync::OnceLock;

impl Lexical {
    /// The counts of both corpora together: the same bytes as if one builder had counted them, for any order.
    ///
    /// # Errors
    /// Settings differ, and what each has is said; more different words, or buckets, than there may be.
    pub fn merge(&self, other: &Self) -> Result<Self> {
        check_alike(&self.settings, &other.settings)?;
        let Settings { bits, sample_size, ref schema, .. } = self.settings;
        let theirs = &other.entries;
        let entries = self.entries.plus(theirs.iter(), theirs.bound, theirs.keys.len(), 1 << bits);
        if entries.bound < FIRST_SPARE {
            return Err(too_many_words(bits));
        }
        let (mut buckets, mut samples) = (Vec::new(), Vec::new());
        let of = |of: &Self, at: usize| Some((of.buckets.get(at)?.clone(), of.samples.get(at)?.clone()));
        let (mut a, mut b) = (0, 0);
        loop {
            let next = match (of(self, a), of(other, b)) {
                (Some(x), Some(y)) => match x.0.id.cmp(&y.0.id) {
                    Ordering::Less => x,
                    Ordering::Greater => y,
                    Ordering::Equal => {
                        let rows = x.0.rows.saturating_add(y.0.rows);
                        (Bucket { rows, ..x.0 }, smallest(x.1, y.1, sample_size))
                    }
                },
                (Some(x), None) => x,
                (None, Some(y)) => y,
                (None, None) => break,
            };
            a += usize::from(self.buckets.get(a).is_some_and(|bucket| bucket.id == next.0.id));
            b += usize::from(other.buckets.get(b).is_some_and(|bucket| bucket.id == next.0.id));
            buckets.push(next.0);
            samples.push(next.1);
        }
        schema.check_bucket_count(buckets.len()).map_err(invalid)?;
        Ok(Self {
            settings: self.settings.clone(),
            sources: self.sources.union(&other.sources).cloned().collect(),
            buckets,
            entries,
            samples,
            index: OnceLock::new(),
        })
    }
}

fn smallest(mut a: Vec<Row>, b: Vec<Row>, size: u32) -> Vec<Row> {
    a.extend(b);
    a.sort();
    a.truncate(size as usize);
    a
}

fn check_alike(a: &Settings, b: &Settings) -> Result<()> {
    let differ = |what: &str, a: &str, b: &str| {
        Err(invalid(format!("counts of different {what} don't merge: {a} and {b}")))
    };
    if a.schema != b.schema {
        return differ("schemas", &a.schema.to_json(), &b.schema.to_json());
    }
    let tokenizer = |of: &Settings| of.tokenizer.clone().unwrap_or_else(|| "none".into());
    if a.tokenizer != b.tokenizer {
        return differ("tokenizers", &tokenizer(a), &tokenizer(b));
    }
    if a.keep_thinking != b.keep_thinking {
        let reasoning = |of: &Settings| if of.keep_thinking { "kept" } else { "left out" };
        return differ("rules for reasoning", reasoning(a), reasoning(b));
    }
    if a.bits != b.bits {
        return differ("bits", &a.bits.to_string(), &b.bits.to_string());
    }
    if a.sample_size != b.sample_size {
        return differ("sample sizes", &a.sample_size.to_string(), &b.sample_size.to_string());
    }
    Ok(())
}
