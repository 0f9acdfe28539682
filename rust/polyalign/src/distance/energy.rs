//! The energy distance from a set of samples to a population, 2 E d(y, H) − E d(y, y′) − E d(h, h′), and what each
//! sample has to do with it.
//!
//! Values are standardised: their distance from the population's median over its σ, and what is further than [`CAP`] σ
//! from the median counts as that far. A value that is not defined lies at the median, and one σ off in a direction of
//! its own from all that are. Over [`marginals`] d is the mean over the features of the distances in each; [`joint`],
//! the Euclidean distance over √features. Both are of negative type: E² is 0 only where the distributions that they see
//! are the same.

use super::embedding::squared_distance;
use crate::Result;
use crate::error::unless_stopped;
use rayon::prelude::*;
use std::sync::atomic::AtomicBool;

/// How many σ from the median a value is at the most.
pub const CAP: f64 = 5.0;

/// Features that a thread takes at a time.
const AXES: usize = 16;

/// How one feature is distributed in the population.
#[derive(Clone, Debug)]
pub struct Axis {
    /// The feature's place in a row.
    pub column: usize,
    median: f32,
    per_unit: f64,
    /// Ascending standardised values.
    values: Vec<f64>,
    /// How many of the population have a value that is less than each of `values`, and at the end all.
    below: Vec<f64>,
    /// The sums of these.
    sums: Vec<f64>,
    /// The share that has no value.
    undefined: f64,
    within: f64,
}

impl Axis {
    /// From a population's ascending values and how many have each, its median and scale (above 0), and how many have
    /// no value.
    pub fn new(
        column: usize,
        median: f64,
        scale: f64,
        values: impl IntoIterator<Item = (f64, u64)>,
        undefined: u64,
    ) -> Self {
        let (median, per_unit) = (median as f32, 1.0 / scale);
        let mut axis = Self {
            column,
            median,
            per_unit,
            values: Vec::new(),
            below: vec![0.0],
            sums: vec![0.0],
            undefined: 0.0,
            within: 0.0,
        };
        // Those without one lie at the median.
        let (mut missing, mut last) = ((0.0, undefined as f64), (0.0, 0.0));
        let mut push = |value: f64, count: f64| {
            if count > 0.0 {
                last = (last.0 + count, last.1 + count * value);
                axis.values.push(value);
                axis.below.push(last.0);
                axis.sums.push(last.1);
            }
        };
        for (value, count) in values {
            let value = standardised(value, median, per_unit);
            if value >= 0.0 {
                push(missing.0, std::mem::take(&mut missing.1));
            }
            push(value, count as f64);
        }
        push(missing.0, missing.1);
        let all = last.0;
        axis.undefined = undefined as f64 / all.max(1.0);
        let apart: f64 = (0..axis.values.len())
            .map(|at| (axis.below[at + 1] - axis.below[at]) * axis.total_from(axis.values[at]))
            .sum();
        let mixed = 2.0 * undefined as f64 * (all - undefined as f64);
        axis.within = if all > 1.0 { (apart + mixed) / (all * (all - 1.0)) } else { f64::NAN };
        axis
    }

    /// The mean distance between two of the population.
    pub fn within(&self) -> f64 {
        self.within
    }

    /// A value's place; 0 for one that is not defined.
    fn place(&self, value: f32) -> f64 {
        if value.is_nan() { 0.0 } else { standardised(value.into(), self.median, self.per_unit) }
    }

    /// Σ |z − h| over the population.
    fn total_from(&self, z: f64) -> f64 {
        self.total_after(z, 0).0
    }

    /// The same, if `start` values are known to be less; and how many are.
    fn total_after(&self, z: f64, start: usize) -> (f64, usize) {
        let at = start + self.values[start..].partition_point(|value| *value < z);
        let (all, sum) = (self.below[self.values.len()], self.sums[self.values.len()]);
        (total(z, (self.below[at], self.sums[at]), (all, sum)), at)
    }
}

fn standardised(value: f64, median: f32, per_unit: f64) -> f64 {
    ((value - f64::from(median)) * per_unit).clamp(-CAP, CAP)
}

/// Σ |z − x|, of how many x are below z and their sum, and of how many there are and their sum.
fn total(z: f64, (below, sum_below): (f64, f64), (all, sum): (f64, f64)) -> f64 {
    (z * (2.0 * below - all) + (sum - 2.0 * sum_below)).max(0.0)
}

/// Samples of one bucket.
#[derive(Clone, Debug, Default)]
pub struct Samples<'a> {
    /// Feature values of each.
    pub rows: Vec<&'a [f32]>,
    /// Which prompt each answers, numbered from 0.
    pub prompts: Vec<u32>,
}

impl Samples<'_> {
    /// How many samples each prompt has.
    fn sizes(&self) -> Vec<u32> {
        let mut sizes = vec![0; self.prompts.iter().max().map_or(0, |most| *most as usize + 1)];
        self.prompts.iter().for_each(|&prompt| sizes[prompt as usize] += 1);
        sizes
    }
}

/// The mean distance of each sample from the population, and from the samples of other prompts (NaN where there are
/// none).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Means {
    /// E d(y, H).
    pub population: Vec<f64>,
    /// E d(y, Y′).
    pub others: Vec<f64>,
}

/// The mean distances over marginals, for n samples in O(n log n).
///
/// # Errors
/// [`Error::Interrupted`](crate::Error::Interrupted) soon after `stop` is set.
pub fn marginals(axes: &[&Axis], samples: &Samples<'_>, stop: &AtomicBool) -> Result<Means> {
    let sizes = samples.sizes();
    let part = |axes: &[&Axis]| {
        let mut sums = Sums::new(samples, &sizes);
        for axis in axes {
            unless_stopped(stop)?;
            sums.add(axis, samples);
        }
        Ok(sums.means)
    };
    let parts: Vec<Means> = axes.par_chunks(AXES).map(part).collect::<Result<_>>()?;
    let mut means = nothing(samples.rows.len());
    for part in parts {
        add(&mut means.population, &part.population);
        add(&mut means.others, &part.others);
    }
    let count = axes.len() as f64;
    means.population.iter_mut().for_each(|mean| *mean /= count);
    for (mean, &prompt) in means.others.iter_mut().zip(&samples.prompts) {
        let others = samples.rows.len() - sizes[prompt as usize] as usize;
        *mean = if others == 0 { f64::NAN } else { *mean / (others as f64 * count) };
    }
    Ok(means)
}

fn nothing(n: usize) -> Means {
    Means { population: vec![0.0; n], others: vec![0.0; n] }
}

fn add(sums: &mut [f64], more: &[f64]) {
    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// Sums over some features; of distances from others, not their mean.
struct Sums<'a> {
    means: Means,
    sizes: &'a [u32],
    /// Values as whole numbers in their order, each before its sample's number.
    order: Vec<u64>,
    /// How many samples of each prompt came before, their sum, and the sum of all of them.
    own: Vec<[f64; 3]>,
    undefined: Vec<u32>,
}

impl<'a> Sums<'a> {
    fn new(samples: &Samples<'_>, sizes: &'a [u32]) -> Self {
        Self {
            means: nothing(samples.rows.len()),
            sizes,
            order: Vec::with_capacity(samples.rows.len()),
            own: vec![[0.0; 3]; sizes.len()],
            undefined: vec![0; sizes.len()],
        }
    }

    fn add(&mut self, axis: &Axis, samples: &Samples<'_>) {
        let prompt = |key: u64| samples.prompts[key as u32 as usize] as usize;
        self.order.clear();
        for (at, row) in samples.rows.iter().enumerate() {
            let value = row[axis.column];
            let value = if value.is_nan() { axis.median } else { value };
            self.order.push(u64::from(ascending(value)) << 32 | at as u64);
        }
        self.order.sort_unstable();
        self.own.iter_mut().for_each(|own| *own = [0.0; 3]);
        let place = |key: u64| axis.place(back((key >> 32) as u32));
        let mut sum = 0.0;
        for &key in &self.order {
            let z = place(key);
            sum += z;
            self.own[prompt(key)][2] += z;
        }
        let all = (self.order.len() as f64, sum);
        let (mut before, mut humans) = ((0.0, 0.0), 0);
        for run in self.order.chunk_by(|a, b| a >> 32 == b >> 32) {
            let z = place(run[0]);
            let from_population;
            (from_population, humans) = axis.total_after(z, humans);
            let from_population = from_population / axis.below[axis.values.len()];
            let from_all = total(z, before, all);
            for &key in run {
                let [count, sum, own] = self.own[prompt(key)];
                let size = f64::from(self.sizes[prompt(key)]);
                let sample = key as u32 as usize;
                self.means.population[sample] += from_population;
                self.means.others[sample] += (from_all - total(z, (count, sum), (size, own))).max(0.0);
            }
            for &key in run {
                let own = &mut self.own[prompt(key)];
                (own[0], own[1]) = (own[0] + 1.0, own[1] + z);
            }
            before = (before.0 + run.len() as f64, before.1 + z * run.len() as f64);
        }
        self.add_undefined(axis, samples);
    }

    /// Adds what values that are not defined are off those that are.
    fn add_undefined(&mut self, axis: &Axis, samples: &Samples<'_>) {
        self.undefined.iter_mut().for_each(|count| *count = 0);
        let mut undefined = 0;
        for (row, &prompt) in samples.rows.iter().zip(&samples.prompts) {
            let missing = u32::from(row[axis.column].is_nan());
            undefined += missing;
            self.undefined[prompt as usize] += missing;
        }
        if undefined == 0 && axis.undefined == 0.0 {
            return;
        }
        for (at, (row, &prompt)) in samples.rows.iter().zip(&samples.prompts).enumerate() {
            let prompt = prompt as usize;
            let others = samples.rows.len() as u32 - self.sizes[prompt];
            let missing = undefined - self.undefined[prompt];
            let (share, count) = if row[axis.column].is_nan() {
                (1.0 - axis.undefined, others - missing)
            } else {
                (axis.undefined, missing)
            };
            self.means.population[at] += share;
            self.means.others[at] += f64::from(count);
        }
    }
}

/// A number that is in the order of values; no NaN. 0 and −0 are one.
fn ascending(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

/// The value of such a number.
fn back(number: u32) -> f32 {
    f32::from_bits(if number >> 31 == 1 { number & !(1 << 31) } else { !number })
}

/// Rows as points of a space in which the Euclidean distance is that of [`joint`].
#[derive(Clone, Debug)]
pub struct Points {
    values: Vec<f32>,
    width: usize,
}

impl Points {
    /// Of rows of feature values.
    pub fn new<'a>(axes: &[&Axis], rows: impl Iterator<Item = &'a [f32]>) -> Self {
        let scale = 1.0 / (axes.len() as f64).sqrt();
        let mut values = Vec::new();
        for row in rows {
            values.extend(axes.iter().map(|axis| (axis.place(row[axis.column]) * scale) as f32));
            let undefined = |axis: &&Axis| if row[axis.column].is_nan() { scale as f32 } else { 0.0 };
            values.extend(axes.iter().map(undefined));
        }
        Self { values, width: 2 * axes.len() }
    }

    fn each(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.width.max(1))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.each().len()
    }

    /// The distances between all, [n, n].
    pub fn apart(&self, stop: &AtomicBool) -> Result<Vec<f64>> {
        let distances = |point: &[f32]| {
            unless_stopped(stop)?;
            Ok(self.each().map(|other| squared_distance(point, other).sqrt()).collect::<Vec<f64>>())
        };
        let rows: Vec<Vec<f64>> =
            self.values.par_chunks_exact(self.width.max(1)).map(distances).collect::<Result<_>>()?;
        Ok(rows.concat())
    }
}

/// The mean distances over joint features from a population's points, for n samples in O(n · (n + population)).
///
/// # Errors
/// [`Error::Interrupted`](crate::Error::Interrupted) soon after `stop` is set.
pub fn joint(axes: &[&Axis], population: &Points, samples: &Samples<'_>, stop: &AtomicBool) -> Result<Means> {
    let points = Points::new(axes, samples.rows.iter().copied());
    let mean = |(at, point): (usize, &[f32])| {
        unless_stopped(stop)?;
        let distance = |other: &[f32]| squared_distance(point, other).sqrt();
        let sum: f64 = population.each().map(distance).sum();
        let own = samples.prompts[at];
        let (mut others, mut count) = (0.0, 0_u64);
        for (other, _) in points.each().zip(&samples.prompts).filter(|(_, prompt)| **prompt != own) {
            others += distance(other);
            count += 1;
        }
        let others = if count == 0 { f64::NAN } else { others / count as f64 };
        Ok((sum / population.count() as f64, others))
    };
    let rows = points.values.par_chunks_exact(points.width.max(1)).enumerate();
    let means: Vec<(f64, f64)> = rows.map(mean).collect::<Result<_>>()?;
    let (population, others) = means.into_iter().unzip();
    Ok(Means { population, others })
}

/// The distances between rows over marginals, [n, n].
pub fn apart_in_marginals(axes: &[&Axis], rows: &[&[f32]], stop: &AtomicBool) -> Result<Vec<f64>> {
    let place = |row: &&[f32]| -> Vec<f64> {
        let undefined = |axis: &&Axis| f64::from(u8::from(row[axis.column].is_nan()));
        axes.iter().map(|axis| axis.place(row[axis.column])).chain(axes.iter().map(undefined)).collect()
    };
    let places: Vec<Vec<f64>> = rows.iter().map(place).collect();
    let distances = |x: &Vec<f64>| {
        unless_stopped(stop)?;
        let distance =
            |y: &Vec<f64>| x.iter().zip(y).map(|(x, y)| (x - y).abs()).sum::<f64>() / axes.len() as f64;
        Ok(places.iter().map(distance).collect::<Vec<f64>>())
    };
    let rows: Vec<Vec<f64>> = places.par_iter().map(distances).collect::<Result<_>>()?;
    Ok(rows.concat())
}

/// The mean of [n, n] distances between different ones, and the mean square of what they are beyond the distances of
/// both from all: by which the energy distance of samples of one distribution varies.
pub fn spread(apart: &[f64], n: usize) -> (f64, f64) {
    let count = n as f64;
    let means: Vec<f64> =
        apart.chunks_exact(n.max(1)).map(|row| row.iter().sum::<f64>() / (count - 1.0)).collect();
    let within = means.iter().sum::<f64>() / count;
    let mut squares = 0.0;
    for (x, row) in apart.chunks_exact(n.max(1)).enumerate() {
        for (y, distance) in row.iter().enumerate().filter(|(y, _)| *y != x) {
            let beyond = distance - means[x] - means[y] + within;
            squares += beyond * beyond;
        }
    }
    (within, squares / (count * (count - 1.0)))
}
