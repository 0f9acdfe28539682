//! Character n-grams of a text, hashed into columns.
//!
//! A text in which runs of white space are one space each, with one more before and after, is cut into its n-grams of 1
//! to `most` characters: "ab" with `most` = 2 gives " ", "a", "b", " " and " a", "ab", "b ". Each falls into one of
//! 2^bits columns by its hash; a column's value is 1 + ln of its count, and the row has length 1, so that long texts do
//! not weigh more than short ones. The orders share the columns, and two n-grams may share one: with 2^18 of them and
//! some thousands of n-grams a text that costs little, and nothing need be kept of the corpus.

use crate::{Error, Result, error::unless_stopped};
use rayon::prelude::*;
use std::sync::atomic::AtomicBool;
use twox_hash::XxHash3_64;

/// The longest n-grams and the most columns that are any good.
const LONGEST: usize = 8;
const MOST_BITS: u32 = 24;

/// Which n-grams there are, and how many columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ngrams {
    most: usize,
    bits: u32,
}

/// Rows of few columns that are not 0: those of row `i` are `indptr[i]..indptr[i + 1]`, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sparse {
    /// Where each row begins, and where the last ends.
    pub indptr: Vec<i64>,
    /// Columns.
    pub indices: Vec<i32>,
    /// Their values.
    pub values: Vec<f32>,
}

/// Buffers kept from text to text.
#[derive(Debug, Default)]
pub struct NgramScratch {
    text: String,
    starts: Vec<u32>,
    columns: Vec<u32>,
    row: Vec<(u32, f32)>,
}

impl Ngrams {
    /// N-grams of 1 to `most` characters in 2^`bits` columns.
    ///
    /// # Errors
    /// `most` is not 1 to 8, or `bits` not 8 to 24.
    pub fn new(most: usize, bits: u32) -> Result<Self> {
        if !(1..=LONGEST).contains(&most) || !(8..=MOST_BITS).contains(&bits) {
            return Err(Error::Input(format!(
                "n-grams of 1 to {most} characters in 2^{bits} columns: give 1 to {LONGEST}, and 2^8 to 2^{MOST_BITS}"
            )));
        }
        Ok(Self { most, bits })
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        1 << self.bits
    }

    /// The columns of a text that are not 0, in order, with their values; none of a text of white space.
    pub fn row<'a>(&self, text: &str, scratch: &'a mut NgramScratch) -> &'a [(u32, f32)] {
        let NgramScratch { text: plain, starts, columns, row } = scratch;
        plain.clear();
        plain.push(' ');
        for word in text.split_whitespace() {
            plain.push_str(word);
            plain.push(' ');
        }
        starts.clear();
        row.clear();
        if plain.len() == 1 {
            return row;
        }
        starts.extend(plain.char_indices().map(|(at, _)| at as u32));
        starts.push(plain.len() as u32);
        columns.clear();
        for length in 1..=self.most.min(starts.len() - 1) {
            for ends in starts.windows(length + 1) {
                let gram = &plain.as_bytes()[ends[0] as usize..ends[length] as usize];
                columns.push((XxHash3_64::oneshot(gram) >> (64 - self.bits)) as u32);
            }
        }
        columns.sort_unstable();
        let mut squares = 0.0;
        for equal in columns.chunk_by(|a, b| a == b) {
            let value = 1.0 + libm::logf(equal.len() as f32);
            squares += value * value;
            row.push((equal[0], value));
        }
        let norm = squares.sqrt();
        row.iter_mut().for_each(|(_, value)| *value /= norm);
        row
    }

    /// The rows of texts.
    ///
    /// # Errors
    /// [`Interrupted`](Error::Interrupted) soon after `stop` is set.
    pub fn rows(&self, texts: &[&str], stop: &AtomicBool) -> Result<Sparse> {
        let rows: Vec<Vec<(u32, f32)>> = texts
            .par_iter()
            .map_init(NgramScratch::default, |scratch, text| {
                unless_stopped(stop)?;
                Ok(self.row(text, scratch).to_vec())
            })
            .collect::<Result<_>>()?;
        let mut sparse = Sparse { indptr: vec![0], ..Sparse::default() };
        for row in rows {
            sparse.indices.extend(row.iter().map(|(column, _)| *column as i32));
            sparse.values.extend(row.iter().map(|(_, value)| *value));
            sparse.indptr.push(sparse.indices.len() as i64);
        }
        Ok(sparse)
    }

    /// The sum of each text's columns by their weights, which is what a linear classifier takes for evidence.
    ///
    /// # Errors
    /// There is not one weight a column; [`Interrupted`](Error::Interrupted) soon after `stop` is set.
    pub fn scores(&self, texts: &[&str], weights: &[f32], stop: &AtomicBool) -> Result<Vec<f32>> {
        if weights.len() != self.columns() {
            return Err(Error::Input(format!("{} weights for {} columns", weights.len(), self.columns())));
        }
        let score = |scratch: &mut NgramScratch, text: &&str| {
            unless_stopped(stop)?;
            let row = self.row(text, scratch).iter();
            // In doubles and in the order of the columns: the same for whoever adds.
            let sum: f64 = row.map(|&(at, value)| f64::from(weights[at as usize]) * f64::from(value)).sum();
            Ok(sum as f32)
        };
        texts.par_iter().map_init(NgramScratch::default, score).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Word for word what the page says.
    fn slow(text: &str, most: usize, bits: u32) -> Vec<(u32, f32)> {
        let plain: Vec<char> =
            format!(" {} ", text.split_whitespace().collect::<Vec<_>>().join(" ")).chars().collect();
        let mut counts = BTreeMap::<u32, u32>::new();
        for length in 1..=most {
            for gram in plain.windows(length) {
                let gram: String = gram.iter().collect();
                *counts.entry((XxHash3_64::oneshot(gram.as_bytes()) >> (64 - bits)) as u32).or_default() += 1;
            }
        }
        let value = |count: u32| 1.0 + libm::logf(count as f32);
        let norm = counts.values().map(|&count| value(count).powi(2)).sum::<f32>().sqrt();
        counts.into_iter().map(|(column, count)| (column, value(count) / norm)).collect()
    }

    #[test]
    fn rows_are_the_slow_ones() {
        let ngrams = Ngrams::new(4, 10).unwrap();
        let mut scratch = NgramScratch::default();
        for text in ["a", "ab  ab\n\tab", "你今天过得怎么样？", "It is so, isn't it? 😀"] {
            let slow = slow(text, 4, 10);
            let row = ngrams.row(text, &mut scratch);
            assert_eq!(row.len(), slow.len(), "{text}");
            for (found, wanted) in row.iter().zip(&slow) {
                assert!(
                    found.0 == wanted.0 && (found.1 - wanted.1).abs() < 1e-6,
                    "{text}: {found:?} {wanted:?}"
                );
            }
        }
        assert!(ngrams.row(" \n", &mut scratch).is_empty());
    }

    #[test]
    fn scores_are_sums_of_rows() {
        let ngrams = Ngrams::new(3, 8).unwrap();
        let stop = AtomicBool::new(false);
        let weights: Vec<f32> = (0..256).map(|at| at as f32 - 100.0).collect();
        let texts = ["So it is.", "", "好的"];
        let rows = ngrams.rows(&texts, &stop).unwrap();
        let scores = ngrams.scores(&texts, &weights, &stop).unwrap();
        for (at, score) in scores.iter().enumerate() {
            let places = rows.indptr[at] as usize..rows.indptr[at + 1] as usize;
            let sum: f32 = places.map(|at| weights[rows.indices[at] as usize] * rows.values[at]).sum();
            assert!((sum - score).abs() < 1e-3, "{sum} {score}");
        }
        assert!(ngrams.scores(&texts, &weights[1..], &stop).is_err());
        assert!(Ngrams::new(9, 8).is_err() && Ngrams::new(1, 25).is_err());
    }
}
