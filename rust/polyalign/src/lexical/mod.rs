//! What humans say, word by word: counts of the n-grams of a corpus, and how surprising a response is under them.
//!
//! A [`Builder`] counts responses from any number of threads; [`Builder::finish`] makes a [`Lexical`], which merges with
//! others, is saved and loaded, and gives the surprisal of responses. All counts are whole numbers in one table of a
//! bounded size, by hashes of a level (a bucket, or buckets taken together) and of tokens ([`keys`]): so the same rows
//! give the same bytes for any order, number of threads and division.
//!
//! Of each response are counted
//!
//! | | of the bucket | of its ancestors | of its language |
//! |---|---|---|---|
//! | words and marks (languages with spaces; Chinese, by its dictionary) | alone, in pairs | alone | alone, in pairs, in threes |
//! | letters of these words | | | in up to fours |
//! | characters (Chinese, and languages whose words can't be told) | alone, in pairs | alone | in up to fours |
//!
//! Where there are more than the table holds, what is counted in the longest n-grams is left out first, context by context, in
//! the order of a hash: what is there is exact, and what is not there is passed over ([`table`]).

mod counter;
mod cut;
mod file;
mod keys;
mod merge;
mod own;
mod sample;
mod scorer;
mod surprisal;
mod table;
mod validate;

pub use counter::{Builder, Counter};
pub use scorer::{FEATURES, FURTHEST, Scratch, Step, Target};

use crate::buckets::BucketSchema;
use sample::Samples;
use std::collections::BTreeSet;
use std::sync::OnceLock;
use table::{Entries, Index};

/// What counts are made under. Those of unlike settings don't merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What makes a bucket. Length edges must be known.
    pub schema: BucketSchema,
    /// SHA-256 of the tokenizer that lengths were counted with, 64 hexadecimal digits; `None`: words or characters.
    pub tokenizer: Option<String>,
    /// Whether reasoning was counted as part of responses.
    pub keep_thinking: bool,
    /// How many responses of each bucket are kept to calibrate scores with; 0 for none, at most 65,536.
    pub sample_size: u32,
    /// The table holds 2 to this power n-grams, at most; 8 to 28.
    pub bits: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            schema: BucketSchema::default(),
            tokenizer: None,
            keep_thinking: false,
            sample_size: 1024,
            bits: 22,
        }
    }
}

/// A bucket whose humans were counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its id.
    pub id: String,
    /// Its parts, in the schema's axis order.
    pub parts: Vec<String>,
    /// How many humans' rows were counted.
    pub rows: u64,
}

/// The n-grams of a human corpus, counted.
#[derive(Debug)]
pub struct Lexical {
    settings: Settings,
    sources: BTreeSet<String>,
    /// By ascending id.
    buckets: Vec<Bucket>,
    entries: Entries,
    samples: Samples,
    /// Of the entries, made when they are first asked.
    index: OnceLock<Index>,
}

/// Whether both hold the same.
impl PartialEq for Lexical {
    fn eq(&self, other: &Self) -> bool {
        let Self { settings, sources, buckets, entries, samples, index: _ } = self;
        (settings, sources, buckets, samples, entries)
            == (&other.settings, &other.sources, &other.buckets, &other.samples, &other.entries)
    }
}

impl Lexical {
    /// What it was made under.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where its rows are from, as whoever built it said.
    pub fn sources(&self) -> &BTreeSet<String> {
        &self.sources
    }

    /// Its buckets, by ascending id.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// How many n-grams are counted, and whether more were met than there is room for.
    pub fn entries(&self) -> (usize, bool) {
        (self.entries.keys.len(), self.entries.bound != u64::MAX)
    }

    /// The sampled responses, with the numbers of their buckets.
    pub fn sampled(&self) -> impl Iterator<Item = (usize, &str)> {
        self.samples
            .iter()
            .enumerate()
            .flat_map(|(bucket, rows)| rows.iter().map(move |row| (bucket, &*row.1)))
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::new(&self.entries))
    }
}
