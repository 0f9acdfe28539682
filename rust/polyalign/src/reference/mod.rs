//! The human reference: how each feature is distributed in every bucket.
//!
//! A [`Builder`] counts rows of feature values from any number of threads; [`Builder::finish`] makes a [`Reference`],
//! which merges with others, is saved and loaded, and answers for any target: a bucket id, with `*` for all values of
//! an axis. All counting is in whole numbers, so that a reference has the same bytes for any order, number of threads
//! and division of its rows.
//!
//! ```
//! use polyalign::reference::{Builder, Query, Reference, Settings};
//! use polyalign::features::registry::FEATURES;
//!
//! let builder = Builder::new(Settings::default())?;
//! let bucket = builder.bucket(&["en", "single", "qa", "short"])?;
//! let rows = vec![1.0_f32; 20 * FEATURES.len()];
//! let keys: Vec<u64> = (0..20).collect();
//! builder.add_rows(bucket, &keys, &rows)?;
//! let reference = builder.finish()?;
//! let resolved = reference.resolve("en|single|chat|short", &Query::default())?;
//! assert_eq!(resolved.served_by.as_deref(), Some("en|single|*|short"));
//! assert_eq!(Reference::from_bytes(&reference.to_bytes()?)?, reference);
//! # Ok::<(), polyalign::Error>(())
//! ```

mod accumulate;
mod builder;
mod cells;
mod compare;
pub(crate) mod counter;
mod describe;
mod distribution;
mod features;
mod file;
mod fixed;
mod load;
mod merge;
mod metadata;
pub mod meter;
mod population;
mod sample;
pub mod scorer;
mod scoring;
mod table;
mod target;
pub(crate) mod tensors;
pub(crate) mod validate;

pub use builder::Builder;
pub use compare::{Comparison, Difference, compare, diff};
pub use describe::Summary;
pub use distribution::{Cell, Distribution};
pub use features::{FeatureInfo, features, registry_sha256};
pub use fixed::Value;
pub use population::{Compared, Energy, Over, Population, Set, Term};
pub use scoring::Calibration;
pub use target::{Level, Query, Resolved};

use crate::buckets::BucketSchema;
use cells::Cells;
use distribution::Totals;
use sample::Samples;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Which features are counted, and by whose rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// The registry's features, [`crate::features::registry`]: bins, back-off, scales.
    #[default]
    Default,
    /// The paper's features, [`crate::features::paper`], by its published code: exact values, no back-off.
    Paper,
}

impl Variant {
    /// The name in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Paper => "paper",
        }
    }

    /// The variant of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Default, Self::Paper].into_iter().find(|variant| variant.name() == name)
    }
}

/// What a reference is made under. References of unlike settings don't merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What makes a bucket. Length edges must be known.
    pub schema: BucketSchema,
    /// SHA-256 of the tokenizer that lengths were counted with, 64 hexadecimal digits; `None`: words or characters.
    pub tokenizer: Option<String>,
    /// Which features.
    pub variant: Variant,
    /// How many rows of each bucket are kept to calibrate scores with; 0 for none, at most 65,536.
    pub sample_size: u32,
    /// Whether reasoning was counted as part of responses: what is scored against the reference is measured alike.
    pub keep_thinking: bool,
    /// The language model whose features are counted too; `None`: none.
    pub lm: Option<LanguageModel>,
}

/// A language model that gave features, and how it was asked: what is scored against the reference is measured alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageModel {
    /// Its name on the hub, or that of its folder.
    pub name: String,
    /// Which revision of it, where that was said.
    pub revision: Option<String>,
    /// How prompts stand before responses.
    pub prefix: String,
    /// Tokens that it sees at most.
    pub max_length: u32,
    /// What it is known again by: 64 hexadecimal digits.
    pub fingerprint: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            schema: BucketSchema::default(),
            tokenizer: None,
            variant: Variant::Default,
            sample_size: 256,
            keep_thinking: false,
            lm: None,
        }
    }
}

/// A bucket of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its id: the parts joined by `|`.
    pub id: String,
    /// Its parts, in the schema's axis order.
    pub parts: Vec<String>,
    /// How many humans' rows were counted.
    pub rows: u64,
}

/// The human distribution of every feature in every bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    settings: Settings,
    sources: BTreeSet<String>,
    /// By ascending id.
    buckets: Vec<Bucket>,
    /// `[buckets, features]`.
    totals: Vec<Totals>,
    /// A row of bins for each of `totals`.
    cells: Cells,
    samples: Samples,
}

impl Reference {
    /// What it was made under.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What makes its buckets.
    pub fn schema(&self) -> &BucketSchema {
        &self.settings.schema
    }

    /// Which features it has.
    pub fn variant(&self) -> Variant {
        self.settings.variant
    }

    /// Its features, in the order of a row's values.
    pub fn features(&self) -> &'static [FeatureInfo] {
        self.settings.features()
    }

    /// Where its rows are from, as whoever built it said.
    pub fn sources(&self) -> &BTreeSet<String> {
        &self.sources
    }

    /// Its buckets, by ascending id.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// How many rows were counted.
    pub fn rows(&self) -> u64 {
        self.buckets.iter().fold(0, |rows, bucket| rows.saturating_add(bucket.rows))
    }

    /// The number of the bucket with this id.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.buckets.binary_search_by(|bucket| bucket.id.as_str().cmp(id)).ok()
    }

    /// How a feature is distributed in a bucket.
    ///
    /// # Panics
    /// If there is no bucket or feature of that number.
    pub fn distribution(&self, bucket: usize, feature: usize) -> Distribution {
        let features = self.features();
        let at = bucket * features.len() + feature;
        Distribution::new(
            self.variant(),
            features[feature].bins,
            self.totals[at],
            self.cells.row(at).collect(),
        )
    }

    /// A bucket's sampled rows, `[n, features]`, as they were given.
    pub fn sampled_rows(&self, bucket: usize) -> &[f32] {
        self.samples.rows(bucket, self.features().len())
    }
}
