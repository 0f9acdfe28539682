//! Targets: buckets, and all buckets that agree in some parts; and what stands in for those with too few humans.

use super::{Distribution, Reference, Variant};
use crate::buckets::{ALL, join_parts};
use crate::error::one_line;
use crate::{Error, Result};
use std::collections::HashMap;

/// How a reference is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Query {
    /// Fewer humans than this have no say: an ancestor's are used (in the paper's variant, none).
    pub min_count: u64,
    /// The quantile where a band begins.
    pub low: f64,
    /// The quantile where it ends.
    pub high: f64,
    /// Whether the features of a language model have a band: without their values of responses they count for nobody.
    pub lm: bool,
}

impl Query {
    /// An error unless the band is between two quantiles.
    pub fn check(&self) -> Result<()> {
        let Self { low, high, .. } = *self;
        if 0.0 <= low && low <= high && high <= 1.0 {
            return Ok(());
        }
        Err(Error::Input(format!(
            "a band from quantile {low} to {high}: they must be 0 to 1, the first not above the second"
        )))
    }
}

impl Default for Query {
    fn default() -> Self {
        Self { min_count: 20, low: 0.1, high: 0.9, lm: false }
    }
}

/// All stored buckets that agree in the parts that are not `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// Its id, with `*` for all values of an axis.
    pub id: String,
    /// Humans in it.
    pub rows: u64,
    /// The numbers of its buckets.
    pub buckets: Vec<usize>,
    /// Per feature, humans for whom it is defined.
    pub counts: Vec<u64>,
}

/// What serves a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The target, normalised.
    pub target: String,
    /// The nearest level with enough humans: the target itself or an ancestor.
    pub served_by: Option<String>,
    /// Why none serves.
    pub reason: Option<String>,
    /// The target and its ancestors, nearest first.
    pub levels: Vec<Level>,
    /// Per feature, the nearest of `levels` with enough humans for whom it is defined.
    pub feature_levels: Vec<Option<usize>>,
    /// How many features are served by a level beyond `served_by`.
    pub backed_off: usize,
    /// How many features no level serves.
    pub undefined: usize,
}

impl Resolved {
    /// The level that serves.
    pub fn serving(&self) -> Option<&Level> {
        let id = self.served_by.as_ref()?;
        self.levels.iter().find(|level| level.id == *id)
    }
}

impl Reference {
    /// What serves a target: a bucket's id, in which `*` stands for all values of an axis.
    ///
    /// A target with fewer than `min_count` humans backs off to its nearest ancestor that has them
    /// ([`crate::buckets::drop_order`]), each feature on its own; never to another language, and never in the paper's
    /// variant. An error if the target is none under the schema.
    pub fn resolve(&self, target: &str, query: &Query) -> Result<Resolved> {
        let mut levels = Levels::new(self);
        let found = levels.resolve(target, query)?;
        Ok(levels.spell_out(found))
    }

    /// What serves each of several targets.
    pub fn resolve_all<S: AsRef<str>>(&self, targets: &[S], query: &Query) -> Result<Vec<Resolved>> {
        let mut levels = Levels::new(self);
        let found = levels.resolve_all(targets, query)?;
        Ok(found.into_iter().map(|found| levels.spell_out(found)).collect())
    }

    /// How a feature is distributed among the humans that serve a target; `None` where too few do.
    ///
    /// # Panics
    /// If there is no feature of that number.
    pub fn target_distribution(&self, resolved: &Resolved, feature: usize) -> Result<Option<Distribution>> {
        let Some(level) = resolved.feature_levels[feature] else { return Ok(None) };
        self.pooled(&resolved.levels[level].buckets, feature).map(Some)
    }

    /// The sum of a feature's distributions in some buckets.
    pub(super) fn pooled(&self, buckets: &[usize], feature: usize) -> Result<Distribution> {
        let name = self.features()[feature].name;
        // In pairs, so that each bin is added a logarithmic number of times.
        match buckets {
            [] => Ok(self.nothing(feature)),
            [bucket] => Ok(self.distribution(*bucket, feature)),
            _ => {
                let (a, b) = buckets.split_at(buckets.len() / 2);
                self.pooled(a, feature)?.plus(&self.pooled(b, feature)?, name)
            }
        }
    }

    fn nothing(&self, feature: usize) -> Distribution {
        let bins = self.features()[feature].bins;
        Distribution::new(self.variant(), bins, Default::default(), Vec::new())
    }
}

/// Levels that targets have asked for, each worked out once.
pub(super) struct Levels<'a> {
    reference: &'a Reference,
    pub levels: Vec<Level>,
    numbers: HashMap<Vec<String>, usize>,
}

/// What serves a target, with levels as numbers of [`Levels::levels`].
pub(super) struct Found {
    target: String,
    /// Which of `levels` serves.
    serving: Option<usize>,
    levels: Vec<usize>,
    /// Which of `levels` serves each feature.
    feature_levels: Vec<Option<usize>>,
}

impl Found {
    /// The number of the level that serves.
    pub fn serving(&self) -> Option<usize> {
        self.serving.map(|at| self.levels[at])
    }

    /// Per feature, the number of the level that serves it.
    pub fn feature_levels(&self) -> impl Iterator<Item = Option<usize>> + '_ {
        self.feature_levels.iter().map(|level| level.map(|at| self.levels[at]))
    }
}

impl<'a> Levels<'a> {
    pub fn new(reference: &'a Reference) -> Self {
        Self { reference, levels: Vec::new(), numbers: HashMap::new() }
    }

    pub fn resolve(&mut self, target: &str, query: &Query) -> Result<Found> {
        let schema = self.reference.schema();
        let mut wanted = schema.levels(schema.parse_target(target)?);
        if self.reference.variant() == Variant::Paper {
            wanted.truncate(1);
        }
        let target = join_parts(&wanted[0]);
        let levels: Vec<usize> = wanted.iter().map(|parts| self.level(parts)).collect();
        let enough = |humans: u64| humans >= query.min_count.max(1);
        let nearest =
            |of: &dyn Fn(&Level) -> u64| levels.iter().position(|&level| enough(of(&self.levels[level])));
        let serving = nearest(&|level| level.rows);
        let features = self.reference.features().len();
        let feature_levels = (0..features).map(|feature| nearest(&|level| level.counts[feature])).collect();
        Ok(Found { target, serving, levels, feature_levels })
    }

    pub fn resolve_all<S: AsRef<str>>(&mut self, targets: &[S], query: &Query) -> Result<Vec<Found>> {
        targets.iter().map(|target| self.resolve(target.as_ref(), query)).collect()
    }

    /// In full; without a level that serves, with the reason.
    fn spell_out(&self, found: Found) -> Resolved {
        let Found { target, serving, levels, feature_levels } = found;
        let levels: Vec<Level> = levels.into_iter().map(|level| self.levels[level].clone()).collect();
        let beyond = |level: &&Option<usize>| level.is_some() && **level > serving;
        let reason = || {
            let last = levels.last()?;
            let id = one_line(&last.id);
            Some(match last.rows {
                0 => format!("no humans in `{id}`"),
                rows => format!("only {rows} humans in `{id}`"),
            })
        };
        Resolved {
            reason: if serving.is_some() { None } else { reason() },
            served_by: serving.map(|level| levels[level].id.clone()),
            backed_off: feature_levels.iter().filter(beyond).count(),
            undefined: feature_levels.iter().filter(|level| level.is_none()).count(),
            target,
            levels,
            feature_levels,
        }
    }

    fn level(&mut self, parts: &[String]) -> usize {
        if let Some(&number) = self.numbers.get(parts) {
            return number;
        }
        let reference = self.reference;
        let buckets = reference.buckets_of(parts);
        let mut counts = vec![0_u64; reference.features().len()];
        for &bucket in &buckets {
            let totals = reference.totals[bucket * counts.len()..].iter();
            counts
                .iter_mut()
                .zip(totals)
                .for_each(|(count, totals)| *count = count.saturating_add(totals.count));
        }
        let rows = buckets.iter().fold(0, |rows: u64, &b| rows.saturating_add(reference.buckets[b].rows));
        self.levels.push(Level { id: join_parts(parts), rows, buckets, counts });
        self.numbers.insert(parts.to_vec(), self.levels.len() - 1);
        self.levels.len() - 1
    }
}

impl Reference {
    fn buckets_of(&self, parts: &[String]) -> Vec<usize> {
        if parts.iter().all(|part| part != ALL) {
            return self.find(&join_parts(parts)).into_iter().collect();
        }
        let agrees = |bucket: &super::Bucket| {
            bucket.parts.iter().zip(parts).all(|(part, wanted)| wanted == ALL || part == wanted)
        };
        (0..self.buckets.len()).filter(|&bucket| agrees(&self.buckets[bucket])).collect()
    }
}
