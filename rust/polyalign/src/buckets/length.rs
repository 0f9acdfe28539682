//! Length bins: where a length falls, and edges from the corpus itself.

use super::schema::LengthEdges;
use std::collections::BTreeMap;

/// Languages with fewer responses than this get the quartiles of all responses.
const MIN_COUNT: u64 = 20;

/// The bin of a length under rising, inclusive upper edges: 0 to `edges.len()`.
#[inline]
pub fn bin(edges: &[u32], length: u32) -> usize {
    // A handful of edges: counting is quicker than searching.
    if edges.len() <= 8 {
        return edges.iter().filter(|&&edge| length > edge).count();
    }
    edges.partition_point(|&edge| length > edge)
}

/// How often each length occurs, by language. Merging is associative and commutative.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LengthHistograms {
    languages: BTreeMap<String, BTreeMap<u32, u64>>,
}

impl LengthHistograms {
    /// Counts one response.
    pub fn add(&mut self, language: &str, length: u32) {
        // Not `entry`, which would allocate the key every time.
        match self.languages.get_mut(language) {
            Some(lengths) => *lengths.entry(length).or_default() += 1,
            None => {
                self.languages.insert(language.into(), BTreeMap::from([(length, 1)]));
            }
        }
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        for (language, lengths) in &other.languages {
            let own = self.languages.entry(language.clone()).or_default();
            for (&length, count) in lengths {
                *own.entry(length).or_default() += count;
            }
        }
    }

    /// Responses counted.
    pub fn count(&self) -> u64 {
        self.languages.values().flat_map(BTreeMap::values).sum()
    }

    /// Edges at the quartiles (nearest-rank) of each language's lengths; `None` of no responses.
    ///
    /// The default, which serves languages with fewer than 20 responses, is the quartiles of all. Where
    /// quartiles coincide the upper is moved up by one, as edges must rise.
    pub fn quartile_edges(&self) -> Option<LengthEdges> {
        let mut all = BTreeMap::new();
        for lengths in self.languages.values() {
            for (&length, &count) in lengths {
                *all.entry(length).or_default() += count;
            }
        }
        let default = quartiles(&all)?;
        let own = self.languages.iter().filter(|(_, lengths)| lengths.values().sum::<u64>() >= MIN_COUNT);
        let languages = own.filter_map(|(language, lengths)| Some((language.clone(), quartiles(lengths)?)));
        Some(LengthEdges::Fixed { default, languages: languages.collect() })
    }
}

fn quartiles(lengths: &BTreeMap<u32, u64>) -> Option<Vec<u32>> {
    let total: u64 = lengths.values().sum();
    if total == 0 {
        return None;
    }
    let mut edges: Vec<u32> = Vec::with_capacity(3);
    let mut below = 0;
    for (&length, &count) in lengths {
        below += count;
        while edges.len() < 3 && below >= (total * (edges.len() as u64 + 1)).div_ceil(4) {
            let least = edges.last().map_or(0, |&edge| edge.saturating_add(1));
            edges.push(length.max(least));
        }
    }
    // A longest response of u32::MAX leaves no room for the next edge.
    edges.dedup();
    while edges.len() < 3 {
        edges.insert(0, edges[0] - 1);
    }
    Some(edges)
}
