//! The features a reference counts, by variant; and those of a language model after them, where it has any.

use super::{Settings, Variant};
use crate::features::bins::{Bins, Cut};
use crate::features::{paper, registry};
use crate::hash::hex;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// What a reference needs to know of a feature.
#[derive(Clone, Copy, Debug)]
pub struct FeatureInfo {
    /// Its name.
    pub name: &'static str,
    /// Where its values are cut.
    pub bins: Bins,
    /// The least unit that distances from its band are measured in (s_f).
    pub scale: f64,
    /// In which languages it is defined, in words.
    pub languages: &'static str,
    /// `bins`, ready to count with.
    pub(super) cut: Option<Cut>,
}

impl FeatureInfo {
    fn new(name: &'static str, bins: Bins, scale: f64, languages: &'static str) -> Self {
        Self { name, bins, scale, languages, cut: bins.cut() }
    }

    /// The least number that can be counted, in units.
    pub(super) fn lowest(&self) -> i64 {
        match self.cut {
            Some(cut) if !cut.signed() => 0,
            _ => -crate::features::bins::LIMIT + 1,
        }
    }
}

struct Set {
    features: Vec<FeatureInfo>,
    sha256: String,
}

fn of_registry<'a>(features: impl Iterator<Item = &'a registry::Feature>) -> Set {
    let info = |f: &registry::Feature| FeatureInfo::new(f.name, f.bins, f.scale.into(), f.languages.name());
    Set::new(features.map(info).collect())
}

static DEFAULT: LazyLock<Set> = LazyLock::new(|| of_registry(registry::FEATURES.iter()));

static WITH_LM: LazyLock<Set> =
    LazyLock::new(|| of_registry(registry::FEATURES.iter().chain(registry::LM_FEATURES)));

static PAPER: LazyLock<Set> = LazyLock::new(|| {
    let first_chinese = paper::NAMES.len() - paper::CHINESE;
    let languages = |at| if at < first_chinese { "all" } else { "zh" };
    let info = |(at, name): (usize, &&'static str)| FeatureInfo::new(name, Bins::Exact, 1e-6, languages(at));
    Set::new(paper::NAMES.iter().enumerate().map(info).collect())
});

impl Set {
    fn new(features: Vec<FeatureInfo>) -> Self {
        let mut hash = Sha256::new();
        for FeatureInfo { name, bins, scale, languages, .. } in &features {
            hash.update(format!("{name}\t{bins}\t{scale}\t{languages}\n"));
        }
        let sha256 = hex(&hash.finalize());
        Self { features, sha256 }
    }
}

fn set(variant: Variant) -> &'static Set {
    match variant {
        Variant::Default => &DEFAULT,
        Variant::Paper => &PAPER,
    }
}

/// The features of a variant, in the order of a row's values.
///
/// ```
/// use polyalign::reference::{Variant, features};
/// assert_eq!(features(Variant::Default)[0].name, "char_count");
/// assert_eq!(features(Variant::Paper).len(), 69);
/// ```
pub fn features(variant: Variant) -> &'static [FeatureInfo] {
    &set(variant).features
}

/// SHA-256 over names, bins, scales and languages of a variant's features: what must agree for counts to add up.
pub fn registry_sha256(variant: Variant) -> &'static str {
    &set(variant).sha256
}

impl Settings {
    fn set(&self) -> &'static Set {
        if self.lm.is_some() { &WITH_LM } else { set(self.variant) }
    }

    /// The features that are counted, in the order of a row's values: those that texts are measured by, and then the
    /// language model's.
    pub fn features(&self) -> &'static [FeatureInfo] {
        &self.set().features
    }

    /// How many of them are a language model's.
    pub fn lm_features(&self) -> usize {
        if self.lm.is_some() { registry::LM_FEATURES.len() } else { 0 }
    }

    /// As [`registry_sha256`], of these features.
    pub fn registry_sha256(&self) -> &'static str {
        &self.set().sha256
    }
}
