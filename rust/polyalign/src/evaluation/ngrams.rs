//! How much the answers of a set repeat one another: different n-grams, and the BLEU of each against all others.

use super::tokens::{Answer, Rules, ids, key};
use crate::error::unless_stopped;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::AtomicBool;

/// Answers in sets: the number of each one's, below `count`.
#[derive(Clone, Copy, Debug)]
pub struct Sets<'a> {
    /// Of each answer.
    pub of: &'a [u32],
    /// How many sets there are.
    pub count: usize,
}

/// N-grams of a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distinct {
    /// How many are different.
    pub different: u64,
    /// How many there are.
    pub all: u64,
}

/// The n-grams of each set.
pub fn distinct(
    answers: &[Answer<'_>],
    rules: Rules,
    n: usize,
    sets: Sets<'_>,
    stop: &AtomicBool,
) -> Result<Vec<Distinct>> {
    let (ids, members) = (ids(answers, rules, stop)?, sets.members(answers.len())?);
    let count = |rows: &Vec<usize>| {
        unless_stopped(stop)?;
        let keys = sorted_keys(rows.iter().map(|&row| &ids[row][..]), n);
        Ok(Distinct { different: runs(&keys).count() as u64, all: keys.len() as u64 })
    };
    members.par_iter().map(count).collect()
}

/// How many n-grams of all answers are said once, twice, …: (count, how many), ascending.
pub fn occurrences(
    answers: &[Answer<'_>],
    rules: Rules,
    n: usize,
    stop: &AtomicBool,
) -> Result<Vec<(u64, u64)>> {
    let ids = ids(answers, rules, stop)?;
    let keys = sorted_keys(ids.iter().map(|ids| &ids[..]), n);
    unless_stopped(stop)?;
    let mut found = BTreeMap::new();
    runs(&keys).for_each(|run| *found.entry(run as u64).or_default() += 1);
    Ok(found.into_iter().collect())
}

fn sorted_keys<'a>(texts: impl Iterator<Item = &'a [u64]>, n: usize) -> Vec<u64> {
    let mut keys: Vec<u64> = texts.flat_map(|ids| ids.windows(n).map(key)).collect();
    keys.par_sort_unstable();
    keys
}

/// The lengths of the runs of equal keys.
fn runs(keys: &[u64]) -> impl Iterator<Item = usize> + '_ {
    keys.chunk_by(|a, b| a == b).map(<[u64]>::len)
}

/// How BLEU is taken of short answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// Every order counts, those that an answer is too short for too, as NLTK has it.
    Whole,
    /// Only the orders that an answer has; answers without tokens are left out: NaN, and no reference.
    Left,
}

/// The BLEU of each answer against all others of its set, up to `n`-grams, smoothed by method 1 of NLTK; NaN where there
/// is no other.
///
/// Of each n-gram the most that an answer has, which that is, and the most of the others are all that is needed: the cost
/// grows with the tokens, not with the pairs of answers.
pub fn bleu_of_each(
    answers: &[Answer<'_>],
    rules: Rules,
    (n, short): (usize, Short),
    sets: Sets<'_>,
    stop: &AtomicBool,
) -> Result<Vec<f64>> {
    let (ids, members) = (ids(answers, rules, stop)?, sets.members(answers.len())?);
    let of_set = |rows: &Vec<usize>| {
        let kept = |row: &usize| short == Short::Whole || !ids[*row].is_empty();
        let rows: Vec<usize> = rows.iter().copied().filter(kept).collect();
        let texts: Vec<&[u64]> = rows.iter().map(|&row| &ids[row][..]).collect();
        Ok((rows, of_set(&texts, n, short, stop)?))
    };
    let mut found = vec![f64::NAN; answers.len()];
    for (rows, values) in members.par_iter().map(of_set).collect::<Result<Vec<_>>>()? {
        rows.into_iter().zip(values).for_each(|(row, value)| found[row] = value);
    }
    Ok(found)
}

fn of_set(texts: &[&[u64]], n: usize, short: Short, stop: &AtomicBool) -> Result<Vec<f64>> {
    if texts.len() < 2 {
        return Ok(vec![f64::NAN; texts.len()]);
    }
    let orders = (1..=n).into_par_iter().map(|order| matches(texts, order, stop));
    let orders: Vec<Vec<(u64, u64)>> = orders.collect::<Result<_>>()?;
    let mut lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
    lengths.sort_unstable();
    let bleu = |(text, tokens): (usize, &&[u64])| {
        if orders[0][text].0 == 0 {
            return 0.0;
        }
        let counted = orders.iter().map(|order| order[text]);
        let counted = counted.filter(|&(_, all)| short == Short::Whole || all > 0);
        // What is not met at all counts as a tenth.
        let precision = |(met, all): (u64, u64)| if met > 0 { met as f64 } else { 0.1 } / all.max(1) as f64;
        let (sum, orders) =
            counted.fold((0.0, 0), |(sum, orders), of| (sum + libm::log(precision(of)), orders + 1));
        brevity(tokens.len(), &lengths) * libm::exp(sum / f64::from(orders))
    };
    Ok(texts.iter().enumerate().map(bleu).collect())
}

/// Of each text, how many of its n-grams are met in another one, each as often as there at most; and how many it has.
fn matches(texts: &[&[u64]], n: usize, stop: &AtomicBool) -> Result<Vec<(u64, u64)>> {
    let counted = |text: &&[u64]| {
        let keys = sorted_keys(std::iter::once(*text), n);
        keys.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u32)).collect::<Vec<_>>()
    };
    let own: Vec<Vec<(u64, u32)>> = texts.par_iter().map(counted).collect();
    let mut most: HashMap<u64, Most, BuildHasherDefault<Hashed>> = HashMap::default();
    for (text, counts) in own.iter().enumerate() {
        unless_stopped(stop)?;
        for &(key, count) in counts {
            most.entry(key).or_default().add(text as u32, count);
        }
    }
    let met = |(text, counts): (usize, &Vec<(u64, u32)>)| {
        let met = |&(key, count): &(u64, u32)| u64::from(count.min(most[&key].without(text as u32)));
        (counts.iter().map(met).sum(), counts.iter().map(|&(_, count)| u64::from(count)).sum())
    };
    Ok(own.iter().enumerate().map(met).collect())
}

/// The most that a text has of an n-gram, which text that is, and the most that another has.
#[derive(Clone, Copy, Default)]
struct Most {
    first: u32,
    holder: u32,
    second: u32,
}

impl Most {
    fn add(&mut self, text: u32, count: u32) {
        if count > self.first {
            *self = Self { first: count, holder: text, second: self.first };
        } else {
            self.second = self.second.max(count);
        }
    }

    fn without(&self, text: u32) -> u32 {
        if self.holder == text { self.second } else { self.first }
    }
}

/// Keys are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0.rotate_left(8) ^ u64::from(byte));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// The penalty of a text against the nearest length of the others, the shorter of two as near. `lengths` ascend and have its
/// own among them.
fn brevity(length: usize, lengths: &[usize]) -> f64 {
    if length == 0 {
        return 0.0;
    }
    let own = lengths.partition_point(|&other| other < length);
    let below = own.checked_sub(1).map(|at| lengths[at]);
    let above = lengths.get(own + 1).copied();
    let nearest =
        below.into_iter().chain(above).min_by_key(|&other| (other.abs_diff(length), other)).unwrap_or(length);
    if length > nearest { 1.0 } else { libm::exp(1.0 - nearest as f64 / length as f64) }
}

impl Sets<'_> {
    /// The answers of each set.
    fn members(&self, answers: usize) -> Result<Vec<Vec<usize>>> {
        if self.of.len() != answers {
            return Err(Error::Input(format!("{answers} texts and {} numbers of their sets", self.of.len())));
        }
        let mut members = vec![Vec::new(); self.count];
        for (row, &set) in self.of.iter().enumerate() {
            let Some(rows) = members.get_mut(set as usize) else {
                return Err(Error::Input(format!("set {set}: there are {}", self.count)));
            };
            rows.push(row);
        }
        Ok(members)
    }
}
