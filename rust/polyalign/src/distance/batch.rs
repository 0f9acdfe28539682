//! Histogram distances for many features at once, each on places of its own.

use super::histogram::{Distance, Histograms};
use crate::{Error, Result};
use rayon::prelude::*;
use std::sync::atomic::AtomicBool;

/// Two sides of rows of weights, and the places that their bins have in each group.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// `[rows, bins]` of either side.
    pub weights: [&'a [f64]; 2],
    /// `[groups, bins]` for either side, or empty for 0, 1, 2, … in all.
    pub places: [&'a [f64]; 2],
    /// Bins of a row.
    pub bins: usize,
}

/// A row of either side, to be compared on the places of a group: a feature, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Rows of the first and of the second side.
    pub rows: [usize; 2],
    /// Which places they are on.
    pub group: usize,
}

impl Batch<'_> {
    /// The distance of each pair.
    ///
    /// An error if a row or a group is not there, if a weight is negative or not finite, or if the
    /// places of a group do not ascend; [`Error::Interrupted`] soon after `stop` is set.
    pub fn distances(&self, distance: Distance, pairs: &[Pair], stop: &AtomicBool) -> Result<Vec<f64>> {
        self.check(pairs)?;
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by_key(|&at| pairs[at].group);
        let groups: Vec<&[usize]> = order.chunk_by(|&a, &b| pairs[a].group == pairs[b].group).collect();
        let found: Vec<Vec<f64>> = groups
            .par_iter()
            .map(|group| {
                let pairs: Vec<Pair> = group.iter().map(|&at| pairs[at]).collect();
                self.group(distance, &pairs, stop)
            })
            .collect::<Result<_>>()?;
        let mut all = vec![0.0; pairs.len()];
        for (&at, distance) in groups.into_iter().flatten().zip(found.into_iter().flatten()) {
            all[at] = distance;
        }
        Ok(all)
    }

    fn check(&self, pairs: &[Pair]) -> Result<()> {
        let bins = self.bins;
        let rows = self.weights.map(|weights| weights.len() / bins.max(1));
        let whole = [self.weights, self.places]
            .iter()
            .flatten()
            .all(|values| values.len().is_multiple_of(bins.max(1)));
        if bins == 0 || !whole {
            return Err(invalid(format!("weights and places are not rows of {bins} bins")));
        }
        let has_group =
            |group: usize| self.places.iter().all(|places| places.is_empty() || group < places.len() / bins);
        let there = |pair: &Pair| pair.rows[0] < rows[0] && pair.rows[1] < rows[1] && has_group(pair.group);
        match pairs.iter().position(|pair| !there(pair)) {
            None => Ok(()),
            Some(at) => Err(invalid(format!("pair {at} names a row or a group that is not there"))),
        }
    }

    /// The distances of pairs that are all of one group.
    fn group(&self, distance: Distance, pairs: &[Pair], stop: &AtomicBool) -> Result<Vec<f64>> {
        let rows = [0, 1].map(|side| {
            let mut rows: Vec<usize> = pairs.iter().map(|pair| pair.rows[side]).collect();
            rows.sort_unstable();
            rows.dedup();
            rows
        });
        let bins = self.bins;
        let group = pairs[0].group * bins..(pairs[0].group + 1) * bins;
        let own = self.places.map(|places| places.get(group.clone()).unwrap_or_default());
        let (mut weights, mut places) = (Vec::new(), Vec::new());
        for (side, rows) in rows.iter().enumerate() {
            for row in rows {
                weights.extend_from_slice(&self.weights[side][row * bins..(row + 1) * bins]);
                match own[side] {
                    [] => places.extend((0..bins).map(|bin| bin as f64)),
                    own => places.extend_from_slice(own),
                }
            }
        }
        let common = if own[0] == own[1] { own[0] } else { &places };
        let at = |side: usize, row: usize| rows[side].partition_point(|&other| other < row);
        let pairs: Vec<(usize, usize)> =
            pairs.iter().map(|pair| (at(0, pair.rows[0]), rows[0].len() + at(1, pair.rows[1]))).collect();
        Histograms::new(&weights, common, bins)?.distances(distance, &pairs, stop)
    }
}

fn invalid(message: String) -> Error {
    Error::Input(format!("histograms: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    static GO_ON: AtomicBool = AtomicBool::new(false);

    proptest! {
        #[test]
        fn every_pair_is_that_of_its_rows_alone(
            (bins, weights, steps) in (1_usize..12).prop_flat_map(|bins| (
                Just(bins),
                prop::collection::vec(prop_oneof![Just(0.0), 0.0..5.0_f64], 7 * bins),
                prop::collection::vec(0.0..2.0_f64, 3 * bins),
            )),
            pairs in prop::collection::vec((0_usize..4, 0_usize..3, 0_usize..3), 0..20),
        ) {
            let ascending = |steps: &[f64]| steps.iter().scan(0.0, |sum, step| { *sum += step; Some(*sum) }).collect::<Vec<f64>>();
            let places: Vec<f64> = steps.chunks(bins).flat_map(ascending).collect();
            let (p, q) = weights.split_at(4 * bins);
            let batch = Batch { weights: [p, q], places: [&places; 2], bins };
            let pairs: Vec<Pair> = pairs.into_iter().map(|(p, q, group)| Pair { rows: [p, q], group }).collect();
            let found = batch.distances(Distance::Wasserstein, &pairs, &GO_ON).unwrap();
            for (pair, found) in pairs.iter().zip(found) {
                let row = |of: &[f64], row: usize| of[row * bins..(row + 1) * bins].to_vec();
                let both = [row(p, pair.rows[0]), row(q, pair.rows[1])].concat();
                let alone = Histograms::new(&both, &row(&places, pair.group), bins).unwrap();
                let expected = alone.distances(Distance::Wasserstein, &[(0, 1)], &GO_ON).unwrap()[0];
                prop_assert!(found.to_bits() == expected.to_bits() || (found - expected).abs() < 1e-12, "{found} {expected}");
            }
        }
    }

    #[test]
    fn sides_may_have_places_of_their_own() {
        let batch =
            Batch { weights: [&[1.0, 1.0], &[1.0, 1.0]], places: [&[0.0, 2.0], &[1.0, 3.0]], bins: 2 };
        let pair = Pair { rows: [0, 0], group: 0 };
        assert_eq!(batch.distances(Distance::Wasserstein, &[pair], &GO_ON).unwrap(), [1.0]);
        let batch = Batch { places: [&[], &[]], ..batch };
        assert_eq!(batch.distances(Distance::Wasserstein, &[pair], &GO_ON).unwrap(), [0.0]);
    }

    #[test]
    fn what_can_not_be_used_is_an_error() {
        let batch = Batch { weights: [&[1.0, 1.0]; 2], places: [&[0.0, 1.0]; 2], bins: 2 };
        let error = |batch: Batch<'_>, rows, group, stop: bool| {
            let pairs = [Pair { rows, group }];
            batch.distances(Distance::Energy, &pairs, &AtomicBool::new(stop)).unwrap_err().to_string()
        };
        assert!(error(batch, [0, 1], 0, false).contains("pair 0 names"));
        assert!(error(batch, [0, 0], 1, false).contains("pair 0 names"));
        assert!(error(Batch { bins: 0, ..batch }, [0, 0], 0, false).contains("rows of 0 bins"));
        assert!(error(Batch { bins: 3, ..batch }, [0, 0], 0, false).contains("rows of 3 bins"));
        assert_eq!(error(batch, [0, 0], 0, true), "interrupted");
    }
}
