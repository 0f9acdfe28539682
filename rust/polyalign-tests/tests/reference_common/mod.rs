//! Rows of made-up values, and references of them.
#![allow(dead_code, reason = "every test takes what it needs")]

use polyalign::features::bins::Bins;
use polyalign::reference::{Builder, Reference, Settings, Variant, features};

/// SplitMix64: small, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }

    /// 0 to 1, without 1.
    pub fn share(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A value that a feature of these bins may have: often absent, whole or at an edge, sometimes far out.
    pub fn value(&mut self, bins: Bins) -> f64 {
        let size = match self.below(8) {
            0 => return f64::NAN,
            1 => 0.0,
            2 | 3 => self.below(130) as f64,
            4 => (1_u64 << self.below(20)) as f64,
            5 => self.share() * 1e6,
            _ => self.share(),
        };
        match bins {
            Bins::Count { .. } => size.round(),
            Bins::Signed { .. } | Bins::Exact if self.below(2) == 0 => -size,
            _ => size,
        }
    }
}

/// A row of a bucket.
#[derive(Clone, Debug)]
pub struct Row {
    pub bucket: usize,
    pub key: u64,
    pub values: Vec<f64>,
}

pub const BUCKETS: [[&str; 4]; 9] = [
    ["en", "single", "qa", "short"],
    ["en", "single", "qa", "long"],
    ["en", "multi", "qa", "short"],
    ["en", "single", "chat", "short"],
    ["zh", "single", "qa", "short"],
    ["zh", "multi", "dialogue", "medium"],
    ["zh", "multi", "dialogue", "xlong"],
    ["und", "single", "qa", "short"],
    ["en", "single", "a%7Cb", "short"],
];

/// Rows of a variant in these buckets, with few distinct keys.
pub fn rows(seed: u64, count: usize, buckets: usize, variant: Variant) -> Vec<Row> {
    let mut random = Random(seed);
    // So that every bucket is of its own kind.
    let row = |random: &mut Random| {
        let bucket = random.below(buckets as u64) as usize;
        let value = |random: &mut Random, bins| match variant {
            Variant::Default => random.value(bins) as f32 as f64,
            Variant::Paper => (random.value(bins) * 1e6).round() / 1e6,
        };
        let values =
            features(variant).iter().map(|f| value(random, f.bins) * (1 + bucket % 3) as f64).collect();
        Row { bucket, key: random.below(40), values }
    };
    (0..count).map(|_| row(&mut random)).collect()
}

pub fn settings(variant: Variant, sample_size: u32) -> Settings {
    Settings { variant, sample_size, ..Settings::default() }
}

/// One builder, row by row.
pub fn build(rows: &[Row], settings: Settings) -> Reference {
    let builder = Builder::new(settings).unwrap();
    for row in rows {
        let bucket = builder.bucket(&BUCKETS[row.bucket]).unwrap();
        builder.add_rows(bucket, &[row.key], &row.values).unwrap();
    }
    builder.finish().unwrap()
}
