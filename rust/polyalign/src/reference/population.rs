//! The humans of a bucket as what samples are compared with as a set: the distributional term.

use super::meter::response_language;
use super::{Query, Reference, Resolved, Variant};
use crate::distance::energy::{Axis, Means, Points, Samples, apart_in_marginals, joint, marginals, spread};
use crate::features::registry::{FEATURES, Group};
use crate::records::record::Record;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// Between what the energy distance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Each feature's distribution, from the reference's histograms.
    Marginals,
    /// All features together, from the reference's sampled rows.
    Rows,
}

/// The humans that serve a target.
///
/// All of one level, so that they are one population: features that fewer than `min_count` of them have are left out.
#[derive(Debug)]
pub struct Population {
    /// Whose humans they are.
    pub served_by: Option<String>,
    /// Why there are none.
    pub reason: Option<String>,
    /// How many.
    pub humans: u64,
    axes: Vec<Axis>,
    /// Up to the reference's `sample_size` of them, drawn evenly.
    rows: Vec<Box<[f32]>>,
}

/// What is known of a set of samples beside its humans.
#[derive(Clone, Debug, PartialEq)]
pub struct Energy {
    /// The target, normalised.
    pub target: String,
    /// Whose humans stand for it.
    pub served_by: Option<String>,
    /// How many these are.
    pub humans: u64,
    /// Features that are compared.
    pub features: usize,
    /// Samples, and the prompts that they answer.
    pub samples: usize,
    /// Different ones.
    pub prompts: usize,
    /// 2 E d(Y, H) − E d(Y, Y′) − E d(H, H′), each mean without a sample or prompt and itself: 0 on average for humans.
    pub energy: f64,
    /// E d(H, H′).
    pub within: f64,
    /// What 95% of sets of as many humans' answers as there are prompts stay below, about; NaN without sampled rows.
    pub floor: f64,
    /// Why there is no energy distance.
    pub reason: Option<String>,
}

/// How many standard deviations above 0 the floor is: of the sums of squares that these are, 1.64 (many that count
/// alike) to 2 (one) leave 5% beyond.
const FLOOR: f64 = 2.0;

/// The distributional term of a reference: what it says of samples.
pub struct Term {
    reference: Arc<Reference>,
    query: Query,
    over: Over,
    /// Which of the registry's features are compared: those of a language model are not, which samples don't have.
    columns: Vec<bool>,
    known: RwLock<Known>,
}

/// What was asked for.
#[derive(Default)]
struct Known {
    /// By target as it was given: the target, normalised, and its humans.
    targets: HashMap<String, (String, Arc<Prepared>)>,
    /// By whose humans they are: many targets may have the same.
    populations: HashMap<String, Arc<Prepared>>,
}

/// Samples of any buckets, or what was sampled earlier.
#[derive(Clone, Copy, Debug)]
pub struct Set<'a> {
    /// `[n, features]`.
    pub rows: &'a [f32],
    /// The bucket of each.
    pub targets: &'a [&'a str],
    /// What prompt each answers: any number.
    pub prompts: &'a [i64],
}

/// Per sample, the mean distances; and by bucket what they are of. NaN where a bucket has no humans, and `others` where
/// it has no samples of other prompts.
#[derive(Clone, Debug)]
pub struct Compared {
    /// By sample.
    pub means: Means,
    /// The buckets, in the order of their first samples.
    pub buckets: Vec<Energy>,
}

impl Term {
    /// Of the features for which `columns` says so.
    ///
    /// # Errors
    /// A reference of the paper's variant, no features, or sampled rows asked of a reference with fewer than
    /// `min_count`.
    pub fn new(reference: Arc<Reference>, query: Query, over: Over, columns: Vec<bool>) -> Result<Self> {
        let settings = reference.settings();
        if settings.variant == Variant::Paper {
            return Err(Error::Input(
                "the distributional term is not of the paper's variant: build a reference without it".into(),
            ));
        }
        if !columns.contains(&true) || columns.len() != FEATURES.len() {
            return Err(Error::Input("features: none is named, so that there is nothing to compare".into()));
        }
        let (kept, least) = (settings.sample_size, query.min_count.max(2));
        if over == Over::Rows && u64::from(kept) < least {
            return Err(Error::Input(format!(
                "the reference keeps {kept} rows a bucket, but joint features need at least {least}: build it with a \
                 larger sample_size, or compare marginals"
            )));
        }
        Ok(Self { reference, query, over, columns, known: RwLock::default() })
    }

    /// The reference.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// In which language the responses of a target are, as far as it says; `None`: it is none under the schema.
    pub fn language(&self, target: &str) -> Option<String> {
        let schema = self.reference.schema();
        let parts = schema.parse_target(target).ok()?;
        Some(response_language(schema, &parts, &Record::default()).to_owned())
    }

    /// Compares the samples of every bucket with its humans, and with those of its other prompts and of the `pool`.
    ///
    /// Without prompts the features of interaction are left out.
    ///
    /// # Errors
    /// Sides that don't go together; [`Error::Interrupted`] soon after `stop` is set.
    pub fn compare(
        &self,
        own: Set<'_>,
        pool: Set<'_>,
        with_prompts: bool,
        stop: &AtomicBool,
    ) -> Result<Compared> {
        let width = FEATURES.len();
        for (name, set) in [("samples", &own), ("pool", &pool)] {
            let n = set.targets.len();
            if set.rows.len() != n * width || set.prompts.len() != n {
                return Err(Error::Input(format!(
                    "{name}: {} values, {n} buckets and {} prompts: give {width} values, a bucket and a prompt each",
                    set.rows.len(),
                    set.prompts.len()
                )));
            }
        }
        let groups = by_bucket(own.targets, pool.targets);
        let compared = |group: &Members<'_>| self.bucket(group, own, pool, with_prompts, stop);
        let found: Vec<(Means, Energy)> = groups.par_iter().map(compared).collect::<Result<_>>()?;
        let nan = vec![f64::NAN; own.targets.len()];
        let mut means = Means { population: nan.clone(), others: nan };
        for (group, (found, _)) in groups.iter().zip(&found) {
            for (&at, (population, others)) in
                group.own.iter().zip(found.population.iter().zip(&found.others))
            {
                (means.population[at], means.others[at]) = (*population, *others);
            }
        }
        Ok(Compared { means, buckets: found.into_iter().map(|(_, energy)| energy).collect() })
    }

    fn bucket(
        &self,
        group: &Members<'_>,
        own: Set<'_>,
        pool: Set<'_>,
        with_prompts: bool,
        stop: &AtomicBool,
    ) -> Result<(Means, Energy)> {
        let (target, prepared) = match self.prepared(group.target) {
            Ok(found) => found,
            Err(Error::Input(reason)) => return Ok(nobody(group, own, reason)),
            Err(error) => return Err(error),
        };
        let (population, view) = (&prepared.population, self.view(&prepared, with_prompts, stop)?);
        let view = match view {
            Ok(view) => view,
            Err(reason) => return Ok(nobody(group, own, reason.clone())),
        };
        let axes: Vec<&Axis> = view.axes.iter().map(|&at| &population.axes[at]).collect();
        let width = FEATURES.len();
        let mut samples = Samples::default();
        let mut numbers = HashMap::new();
        for (set, places) in [(own, &group.own), (pool, &group.pool)] {
            for &at in places {
                let next = numbers.len() as u32;
                samples.rows.push(&set.rows[at * width..(at + 1) * width]);
                samples.prompts.push(*numbers.entry(set.prompts[at]).or_insert(next));
            }
        }
        let mut means = match &view.points {
            None => marginals(&axes, &samples, stop)?,
            Some(points) => joint(&axes, points, &samples, stop)?,
        };
        let n = group.own.len();
        means.population.truncate(n);
        means.others.truncate(n);
        let prompts = samples.prompts[..n].iter().max().map_or(0, |most| *most as usize + 1);
        let humans = if view.points.is_some() { population.rows.len() as u64 } else { population.humans };
        let each = means.population.iter().zip(&means.others).map(|(humans, others)| 2.0 * humans - others);
        let energy = Energy {
            target,
            served_by: population.served_by.clone(),
            humans: population.humans,
            features: axes.len(),
            samples: n,
            prompts,
            energy: each.sum::<f64>() / n as f64 - view.within,
            within: view.within,
            floor: FLOOR * (2.0 * view.beyond).sqrt() * (1.0 / prompts as f64 + 1.0 / humans as f64),
            reason: means
                .others
                .iter()
                .any(|mean| mean.is_nan())
                .then(|| "no samples of other prompts".into()),
        };
        Ok((means, energy))
    }

    /// The target, normalised, and its humans.
    fn prepared(&self, asked: &str) -> Result<(String, Arc<Prepared>)> {
        const TARGETS: usize = 100_000;
        const POPULATIONS: usize = 1_000;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.targets.get(asked) {
            return Ok(found.clone());
        }
        let resolved = self.reference.resolve(asked, &self.query)?;
        let shared = resolved.served_by.as_ref().and_then(|id| known.populations.get(id)).map(Arc::clone);
        drop(known);
        let prepared = match shared {
            Some(prepared) => prepared,
            None => {
                let population = self.reference.population(&resolved, &self.query)?;
                Arc::new(Prepared { population, views: Default::default() })
            }
        };
        let found = (resolved.target, prepared);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.targets.len() >= TARGETS || known.populations.len() >= POPULATIONS {
            *known = Known::default();
        }
        if let Some(id) = resolved.served_by {
            known.populations.insert(id, Arc::clone(&found.1));
        }
        known.targets.insert(asked.to_owned(), found.clone());
        Ok(found)
    }

    /// The features of a population that count; the inner error is why none do.
    fn view<'a>(
        &self,
        prepared: &'a Prepared,
        with_prompts: bool,
        stop: &AtomicBool,
    ) -> Result<&'a Result<View, String>> {
        let place = &prepared.views[usize::from(with_prompts)];
        if place.get().is_none() {
            let is_told = |axis: &Axis| with_prompts || FEATURES[axis.column].group != Group::Interaction;
            let counts = |axis: &Axis| self.columns[axis.column] && is_told(axis);
            let view = prepared.population.view(counts, self.over, self.query.min_count.max(2), stop)?;
            // Another thread may have been quicker, with the same.
            let _ = place.set(view);
        }
        place.get().ok_or(Error::Interrupted)
    }
}

/// A population, and the features that count with and without prompts, once they were asked for.
struct Prepared {
    population: Population,
    views: [OnceLock<Result<View, String>>; 2],
}

/// What is compared of a population.
struct View {
    /// Which of its axes.
    axes: Vec<usize>,
    points: Option<Points>,
    within: f64,
    /// What its samples' energy distances vary by; NaN without sampled rows.
    beyond: f64,
}

impl Population {
    fn view(
        &self,
        counts: impl Fn(&Axis) -> bool,
        over: Over,
        least: u64,
        stop: &AtomicBool,
    ) -> Result<Result<View, String>> {
        let places: Vec<usize> = (0..self.axes.len()).filter(|&at| counts(&self.axes[at])).collect();
        if let Some(reason) = &self.reason {
            return Ok(Err(reason.clone()));
        }
        if places.is_empty() {
            return Ok(Err("none of the features is defined for enough humans".into()));
        }
        let (axes, n): (Vec<&Axis>, usize) =
            (places.iter().map(|&at| &self.axes[at]).collect(), self.rows.len());
        if over == Over::Rows {
            if (n as u64) < least {
                return Ok(Err(format!("only {n} sampled rows")));
            }
            let points = Points::new(&axes, self.rows.iter().map(|row| &**row));
            let (within, beyond) = spread(&points.apart(stop)?, n);
            return Ok(Ok(View { axes: places, points: Some(points), within, beyond }));
        }
        let within = axes.iter().map(|axis| axis.within()).sum::<f64>() / axes.len() as f64;
        let rows: Vec<&[f32]> = self.rows.iter().map(|row| &**row).collect();
        let beyond = if n < 2 { f64::NAN } else { spread(&apart_in_marginals(&axes, &rows, stop)?, n).1 };
        Ok(Ok(View { axes: places, points: None, within, beyond }))
    }
}

impl Reference {
    /// The humans that serve a target, as [`Reference::resolve`] told of it.
    ///
    /// # Errors
    /// Sums that are too large to add.
    pub fn population(&self, resolved: &Resolved, query: &Query) -> Result<Population> {
        let Some(level) = resolved.serving() else {
            return Ok(Population {
                served_by: None,
                reason: resolved.reason.clone(),
                humans: 0,
                axes: Vec::new(),
                rows: Vec::new(),
            });
        };
        let enough = |&column: &usize| level.counts[column] >= query.min_count.max(2);
        let axis = |column: usize| -> Result<Axis> {
            let humans = self.pooled(&level.buckets, column)?;
            let scale = humans.std().max(self.features()[column].scale);
            let values = humans.histogram().into_iter().map(|bin| (bin.mean, bin.count));
            Ok(Axis::new(
                column,
                humans.quantile(0.5),
                scale,
                values,
                level.rows.saturating_sub(humans.count()),
            ))
        };
        let columns: Vec<usize> = (0..FEATURES.len()).filter(enough).collect();
        let axes = columns.into_par_iter().map(axis).collect::<Result<_>>()?;
        // Each bucket has kept those with the least keys, so that these are the level's.
        let width = self.features().len();
        let mut rows: Vec<(u64, &[f32])> =
            level.buckets.iter().flat_map(|&bucket| self.samples.entries(bucket, width)).collect();
        rows.sort_by(|a, b| super::sample::order(*a, *b));
        rows.truncate(self.settings.sample_size as usize);
        Ok(Population {
            served_by: Some(level.id.clone()),
            reason: None,
            humans: level.rows,
            axes,
            rows: rows.into_iter().map(|(_, row)| row.into()).collect(),
        })
    }
}

/// The samples of a bucket, by number.
struct Members<'a> {
    target: &'a str,
    own: Vec<usize>,
    pool: Vec<usize>,
}

fn by_bucket<'a>(own: &[&'a str], pool: &[&str]) -> Vec<Members<'a>> {
    let mut groups: Vec<Members<'a>> = Vec::new();
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    for (at, &target) in own.iter().enumerate() {
        let number = *numbers.entry(target).or_insert_with(|| {
            groups.push(Members { target, own: Vec::new(), pool: Vec::new() });
            groups.len() - 1
        });
        groups[number].own.push(at);
    }
    for (at, target) in pool.iter().enumerate() {
        if let Some(&number) = numbers.get(target) {
            groups[number].pool.push(at);
        }
    }
    groups
}

/// What is said of samples that are compared with nobody.
fn nobody(group: &Members<'_>, own: Set<'_>, reason: String) -> (Means, Energy) {
    let n = group.own.len();
    let prompts: std::collections::HashSet<i64> = group.own.iter().map(|&at| own.prompts[at]).collect();
    let nan = vec![f64::NAN; n];
    let energy = Energy {
        target: group.target.to_owned(),
        served_by: None,
        humans: 0,
        features: 0,
        samples: n,
        prompts: prompts.len(),
        energy: f64::NAN,
        within: f64::NAN,
        floor: f64::NAN,
        reason: Some(reason),
    };
    (Means { population: nan.clone(), others: nan }, energy)
}
