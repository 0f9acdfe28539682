//! Distances between one-dimensional distributions on shared bins.
//!
//! A distribution is a row of weights. Where its mass lies within a bin is one point, the bin's
//! *place* (the mean of what fell in), which may differ from row to row: Wasserstein and energy
//! distance are exactly those between these points. The other distances see the bins alone.
//!
//! A row is laid out once, as shares and as their sums from the left; a distance is then one pass over two rows:
//!
//! ```text
//! places        0     1     2
//! shares p      ¼     ½     ¼
//! shares q      ½     ½     0
//! F − G        −¼    −¼     0     up to and with each place
//! × step        1     1           to the next place
//! Wasserstein  |−¼| + |−¼| = ½
//! ```

use super::simd::{LANES, Lanes, ln, padded, sum, vectorised};
use crate::{Error, Result};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is measured between two rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distance {
    /// Wasserstein-1, ∫|F − G|, in the places' unit.
    Wasserstein,
    /// √(2 ∫(F − G)²), as `scipy.stats.energy_distance`; the Cramér distance times √2.
    Energy,
    /// The greatest |F − G| at a bin's end, 0 to 1.
    KolmogorovSmirnov,
    /// ½ Σ|p − q|, 0 to 1.
    TotalVariation,
    /// The square root of the Jensen–Shannon divergence in nats, 0 to √ln 2.
    JensenShannon,
    /// √(½ Σ(√p − √q)²), 0 to 1.
    Hellinger,
    /// Population stability index, Σ(p − q) ln(p/q), with shares below `floor` raised to it.
    Psi {
        /// Greater than 0.
        floor: f64,
    },
}

/// One bin of a sparse histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// The bin's number, ascending within a row.
    pub index: u32,
    /// How many values fell into it.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
}

/// Distributions of one feature on the same bins, laid out for comparing any two of them.
///
/// Rows without weight are allowed: every distance to them is NaN.
///
/// ```
/// use polyalign::distance::histogram::{Distance, Histograms};
/// let rows = Histograms::new(&[1.0, 2.0, 1.0, 2.0, 2.0, 0.0], &[], 3)?;
/// assert_eq!(rows.distances(Distance::Wasserstein, &[(0, 1)], &Default::default())?, [0.5]);
/// # Ok::<(), polyalign::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Histograms {
    rows: usize,
    /// Bins of a row, padded to whole lanes.
    width: usize,
    /// `[rows, width]`: each bin's part of the row's weight.
    share: Vec<f64>,
    /// `[rows, width + 1]`: the share of all bins before.
    cumulative: Vec<f64>,
    /// `[rows, width + 1]`: the places, after a copy of the first.
    place: Vec<f64>,
    /// Per row, the lane blocks that hold its weight: first, and one past the last.
    blocks: Vec<(usize, usize)>,
}

impl Histograms {
    /// From weights `[rows, bins]`, which need not add up to 1, and places: `[rows, bins]`, `[bins]`
    /// for all rows alike, or empty for 0, 1, 2, …. A place is not looked at where the weight is 0.
    ///
    /// An error if a weight is negative or not finite, or if places do not ascend from bin to bin.
    pub fn new(weights: &[f64], places: &[f64], bins: usize) -> Result<Self> {
        if bins == 0 || !weights.len().is_multiple_of(bins) {
            return Err(invalid(format!("{} weights are not rows of {bins} bins", weights.len())));
        }
        let rows = weights.len() / bins;
        if !(places.is_empty() || places.len() == bins || places.len() == weights.len()) {
            return Err(invalid(format!(
                "{} places are neither one for each of {bins} bins nor one for each weight",
                places.len()
            )));
        }
        if let Some(at) = weights.iter().position(|weight| !(0.0..f64::INFINITY).contains(weight)) {
            let (row, bin) = (at / bins, at % bins);
            return Err(invalid(format!(
                "row {row}, bin {bin} has weight {}: weights are finite and not negative",
                weights[at]
            )));
        }
        let place_of = |row: usize, bin: usize| match places.len() {
            0 => bin as f64,
            n if n == bins => places[bin],
            _ => places[row * bins + bin],
        };
        let common = common_places(weights, bins, &place_of)?;
        let width = padded(bins);
        let mut histograms = Self {
            rows,
            width,
            share: vec![0.0; rows * width],
            cumulative: vec![1.0; rows * (width + 1)],
            place: vec![common[bins - 1].1; rows * (width + 1)],
            blocks: vec![(0, 0); rows],
        };
        for (row, weights) in weights.chunks_exact(bins).enumerate() {
            histograms.fill(row, weights, &common, |bin| place_of(row, bin));
        }
        Ok(histograms)
    }

    /// From sparse rows; bins that no row has take no room.
    pub fn from_sparse(rows: &[&[Bin]]) -> Result<Self> {
        let mut used: Vec<u32> = rows.iter().flat_map(|row| row.iter().map(|bin| bin.index)).collect();
        used.sort_unstable();
        used.dedup();
        let bins = used.len().max(1);
        let mut weights = vec![0.0; rows.len() * bins];
        let mut places = vec![0.0; rows.len() * bins];
        for (row, sparse) in rows.iter().enumerate() {
            for bin in *sparse {
                let at = row * bins + used.partition_point(|&index| index < bin.index);
                weights[at] = bin.count as f64;
                places[at] = bin.mean;
            }
        }
        Self::new(&weights, &places, bins)
    }

    /// Most bins of most rows are empty: those cost a comparison.
    fn fill(&mut self, row: usize, weights: &[f64], common: &[(f64, f64)], place: impl Fn(usize) -> f64) {
        let (bins, width) = (weights.len(), self.width);
        let share = &mut self.share[row * width..][..width];
        let cumulative = &mut self.cumulative[row * (width + 1)..][..=width];
        let places = &mut self.place[row * (width + 1)..][..=width];
        let total: f64 = weights.iter().sum();
        let (mut before, mut share_before) = (0.0, 0.0);
        for (bin, &weight) in weights.iter().enumerate() {
            cumulative[bin] = share_before;
            places[bin + 1] = common[bin].0;
            if weight > 0.0 {
                share[bin] = weight / total;
                places[bin + 1] = place(bin);
                before += weight;
                share_before = before / total;
            }
        }
        places[0] = places[1];
        let first = weights.iter().position(|&weight| weight > 0.0);
        let last = weights.iter().rposition(|&weight| weight > 0.0);
        if let (Some(first), Some(last)) = (first, last) {
            // Exactly 1 after the last weight, however the quotients rounded.
            cumulative[last + 1..=bins].fill(1.0);
            self.blocks[row] = (first / LANES, last / LANES + 1);
        }
    }

    /// How many distributions there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The distance between the rows of each pair.
    ///
    /// An error if a pair names a row that is not there; [`Error::Interrupted`] soon after `stop` is set.
    pub fn distances(
        &self,
        distance: Distance,
        pairs: &[(usize, usize)],
        stop: &AtomicBool,
    ) -> Result<Vec<f64>> {
        if let Some((a, b)) = pairs.iter().find(|(a, b)| *a.max(b) >= self.rows) {
            return Err(invalid(format!(
                "pair ({a}, {b}) names a row that is not there: rows are {}",
                self.rows
            )));
        }
        let prepared = Prepared::new(self, distance);
        pairs.par_iter().with_min_len(64).map(|&(a, b)| prepared.unless_stopped(a, b, stop)).collect()
    }

    /// The distances between all rows: `[rows, rows]`, symmetric, 0 on the diagonal.
    ///
    /// [`Error::Interrupted`] soon after `stop` is set.
    pub fn pairwise(&self, distance: Distance, stop: &AtomicBool) -> Result<Vec<f64>> {
        let prepared = Prepared::new(self, distance);
        let rows = self.rows;
        let upper: Vec<Vec<f64>> = (0..rows)
            .into_par_iter()
            .map(|a| (a..rows).map(|b| prepared.unless_stopped(a, b, stop)).collect())
            .collect::<Result<_>>()?;
        let mut matrix = vec![0.0; rows * rows];
        for (a, distances) in upper.iter().enumerate() {
            for (b, &distance) in (a..rows).zip(distances) {
                matrix[a * rows + b] = distance;
                matrix[b * rows + a] = distance;
            }
        }
        Ok(matrix)
    }

    /// Row `a`'s part of an array of one value a bin, over the given blocks.
    fn bins<'a>(&self, values: &'a [f64], row: usize, (from, to): (usize, usize)) -> &'a [f64] {
        &values[row * self.width + from * LANES..row * self.width + to * LANES]
    }

    /// The same of an array that has one value more a row.
    fn edges<'a>(&self, values: &'a [f64], row: usize, (from, to): (usize, usize)) -> &'a [f64] {
        let start = row * (self.width + 1);
        &values[start + from * LANES..=start + to * LANES]
    }
}

/// Per bin, the least and greatest place of any row with weight there; the place of the bin before
/// where no row has any.
fn common_places(
    weights: &[f64],
    bins: usize,
    place_of: &impl Fn(usize, usize) -> f64,
) -> Result<Vec<(f64, f64)>> {
    let mut common: Vec<(f64, f64)> = vec![(f64::INFINITY, f64::NEG_INFINITY); bins];
    for (row, weights) in weights.chunks_exact(bins).enumerate() {
        for (bin, (_, common)) in
            weights.iter().zip(&mut common).enumerate().filter(|(_, (weight, _))| **weight > 0.0)
        {
            let place = place_of(row, bin);
            if !place.is_finite() {
                return Err(invalid(format!("row {row}, bin {bin} has place {place}: places are finite")));
            }
            *common = (common.0.min(place), common.1.max(place));
        }
    }
    let first = common.iter().find(|(least, greatest)| least <= greatest).map_or(0.0, |places| places.0);
    let mut before = (first, first);
    for (bin, places) in common.iter_mut().enumerate() {
        if places.0 > places.1 {
            *places = (before.1, before.1);
        }
        if places.0 < before.1 {
            return Err(invalid(format!(
                "bin {bin} has place {}, below place {} of a bin before it: places ascend with the bins",
                places.0, before.1
            )));
        }
        before = *places;
    }
    Ok(common)
}

/// Rows with what a distance needs of each alone worked out.
struct Prepared<'a> {
    of: &'a Histograms,
    distance: Distance,
    /// √p, or p raised to the floor.
    first: Vec<f64>,
    /// ln of p raised to the floor.
    second: Vec<f64>,
}

impl<'a> Prepared<'a> {
    fn new(of: &'a Histograms, distance: Distance) -> Self {
        let (first, second) = match distance {
            Distance::Hellinger => (of.share.iter().map(|p| p.sqrt()).collect(), Vec::new()),
            Distance::Psi { floor } => {
                let floored: Vec<f64> = of.share.iter().map(|p| p.max(floor)).collect();
                let logarithms = logarithms(&floored);
                (floored, logarithms)
            }
            _ => Default::default(),
        };
        Self { of, distance, first, second }
    }

    fn unless_stopped(&self, a: usize, b: usize, stop: &AtomicBool) -> Result<f64> {
        if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(self.between(a, b)) }
    }

    fn between(&self, a: usize, b: usize) -> f64 {
        let of = self.of;
        let (blocks_a, blocks_b) = (of.blocks[a], of.blocks[b]);
        if blocks_a.1 == 0 || blocks_b.1 == 0 {
            return f64::NAN;
        }
        let blocks = (blocks_a.0.min(blocks_b.0), blocks_a.1.max(blocks_b.1));
        let bins = |values: &'a [f64], row| of.bins(values, row, blocks);
        let edges = |values: &'a [f64], row| of.edges(values, row, blocks);
        let first = |row| of.bins(&self.first, row, blocks);
        let second = |row| of.bins(&self.second, row, blocks);
        let cdfs = || [edges(&of.cumulative, a), edges(&of.cumulative, b)];
        let shares = || [bins(&of.share, a), bins(&of.share, b)];
        let (before, here) = {
            let all = [
                edges(&of.cumulative, a),
                edges(&of.cumulative, b),
                edges(&of.place, a),
                edges(&of.place, b),
            ];
            (all.map(|values| &values[..values.len() - 1]), all.map(|values| &values[1..]))
        };
        match self.distance {
            Distance::Wasserstein => cdf_gap(before, here),
            Distance::Energy => (2.0 * cdf_gap_squared(before, here)).sqrt(),
            Distance::KolmogorovSmirnov => greatest_gap(cdfs()),
            Distance::TotalVariation => (0.5 * absolute_difference(shares())).min(1.0),
            Distance::JensenShannon => jensen_shannon_divergence(shares()).sqrt(),
            Distance::Hellinger => (0.5 * squared_difference([first(a), first(b)])).sqrt().min(1.0),
            Distance::Psi { .. } => stability([first(a), first(b)], [second(a), second(b)]),
        }
    }
}

fn blocks(values: &[f64]) -> impl Iterator<Item = &Lanes> {
    values.as_chunks::<LANES>().0.iter()
}

/// `negative` if `of` is below zero, `positive` if it is above.
#[inline(always)]
fn by_sign(of: f64, negative: f64, positive: f64) -> f64 {
    let mask = (of.to_bits().cast_signed() >> 63).cast_unsigned();
    f64::from_bits((negative.to_bits() & mask) | (positive.to_bits() & !mask))
}

/// Bins whose parts are worked out together.
const PARTS: usize = 16 * LANES;

/// F, G and the places x, y of two rows, a value a bin.
type Sides<'a> = [&'a [f64]; 4];

/// Adds up `part(differences of the CDFs) × length` over the pieces of the line between places.
///
/// Bin k has two pieces: from the greater place of the bin before to the lesser one here, where the
/// CDFs are those of all bins before; and between the two places here, where the row whose place
/// comes first has its bin already.
///
/// `before` and `here` overlap, a bin apart. The compiler must not know, or it shuffles lanes from one
/// to the other; what is chosen are results, not loaded values, which would become branches; and the
/// parts are stored before they are added up, or their order in the sum decides how they are loaded.
#[inline(always)]
fn over_pieces<'a>(before: Sides<'a>, here: Sides<'a>, part: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; LANES];
    let mut parts = [0.0; PARTS];
    for start in (0..before[0].len()).step_by(PARTS) {
        let length = PARTS.min(before[0].len() - start);
        let cut = |values: Sides<'a>| values.map(|values| &values[start..start + length]);
        let ([f0, g0, x0, y0], [f1, g1, x1, y1]) = (cut(before), cut(here));
        let parts = &mut parts[..length];
        for bin in 0..length {
            let first = x1[bin].min(y1[bin]) - x0[bin].max(y0[bin]);
            let order = x1[bin] - y1[bin];
            let within = by_sign(order, f1[bin] - g0[bin], f0[bin] - g1[bin]);
            parts[bin] = part(f0[bin] - g0[bin]) * first + part(within) * order.abs();
        }
        for block in blocks(parts) {
            for lane in 0..LANES {
                sums[lane] += block[lane];
            }
        }
    }
    sum(sums)
}

vectorised! {
    /// ∫|F − G|.
    fn cdf_gap(before: Sides<'_>, here: Sides<'_>) -> f64 {
        over_pieces(before, here, f64::abs)
    }
}

vectorised! {
    /// ∫(F − G)².
    fn cdf_gap_squared(before: Sides<'_>, here: Sides<'_>) -> f64 {
        over_pieces(before, here, |gap| gap * gap)
    }
}

vectorised! {
    /// max|F − G|; what comes after the last whole block is 1 − 1.
    fn greatest_gap(cdfs: [&[f64]; 2]) -> f64 {
        let mut greatest = [0.0_f64; LANES];
        for (f, g) in blocks(cdfs[0]).zip(blocks(cdfs[1])) {
            for lane in 0..LANES {
                let gap = (f[lane] - g[lane]).abs();
                greatest[lane] = if gap > greatest[lane] { gap } else { greatest[lane] };
            }
        }
        greatest.into_iter().fold(0.0, f64::max)
    }
}

vectorised! {
    /// Σ|p − q|.
    fn absolute_difference(rows: [&[f64]; 2]) -> f64 {
        let mut sums = [0.0; LANES];
        for (p, q) in blocks(rows[0]).zip(blocks(rows[1])) {
            for lane in 0..LANES {
                sums[lane] += (p[lane] - q[lane]).abs();
            }
        }
        sum(sums)
    }
}

vectorised! {
    /// Σ(p − q)².
    fn squared_difference(rows: [&[f64]; 2]) -> f64 {
        let mut sums = [0.0; LANES];
        for (p, q) in blocks(rows[0]).zip(blocks(rows[1])) {
            for lane in 0..LANES {
                let difference = p[lane] - q[lane];
                sums[lane] += difference * difference;
            }
        }
        sum(sums)
    }
}

vectorised! {
    /// Σ(p − q)(ln p − ln q).
    fn stability(shares: [&[f64]; 2], logarithms: [&[f64]; 2]) -> f64 {
        let mut sums = [0.0; LANES];
        let shares = blocks(shares[0]).zip(blocks(shares[1]));
        for ((p, q), (ln_p, ln_q)) in shares.zip(blocks(logarithms[0]).zip(blocks(logarithms[1]))) {
            for lane in 0..LANES {
                sums[lane] += (p[lane] - q[lane]) * (ln_p[lane] - ln_q[lane]);
            }
        }
        sum(sums)
    }
}

vectorised! {
    /// ½ Σ(p ln(p/m) + q ln(q/m)) with m = ½(p + q).
    ///
    /// With p = m(1 ± t) and q = m(1 ∓ t) a bin's part is m((1 + t) ln(1 + t) + (1 − t) ln(1 − t)), which
    /// is even in t: the rounding of 1 + t, which 1 − t makes up for, moves it only in second order.
    fn jensen_shannon_divergence(rows: [&[f64]; 2]) -> f64 {
        let mut sums = [0.0; LANES];
        for (p, q) in blocks(rows[0]).zip(blocks(rows[1])) {
            let mut more = [0.0; LANES];
            for lane in 0..LANES {
                let both = p[lane] + q[lane];
                let both = if both > f64::MIN_POSITIVE { both } else { f64::MIN_POSITIVE };
                more[lane] = 1.0 + (p[lane] - q[lane]).abs() / both;
            }
            let less = more.map(|more| 2.0 - more);
            let (ln_more, ln_less) = (ln(more), ln(less));
            for lane in 0..LANES {
                let part = more[lane] * ln_more[lane] + less[lane] * ln_less[lane];
                sums[lane] += 0.25 * (p[lane] + q[lane]) * part;
            }
        }
        let divergence = sum(sums);
        if divergence > 0.0 { divergence } else { 0.0 }
    }
}

vectorised! {
    /// ln of each value; their number is a multiple of the lanes.
    fn logarithms(values: &[f64]) -> Vec<f64> {
        let mut result = Vec::with_capacity(values.len());
        for block in blocks(values) {
            result.extend(ln(*block));
        }
        result
    }
}

fn invalid(message: String) -> Error {
    Error::Input(format!("histograms: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Distance; 7] = [
        Distance::Wasserstein,
        Distance::Energy,
        Distance::KolmogorovSmirnov,
        Distance::TotalVariation,
        Distance::JensenShannon,
        Distance::Hellinger,
        Distance::Psi { floor: 1e-4 },
    ];

    static GO_ON: AtomicBool = AtomicBool::new(false);

    /// One distribution as (place, share) by bin.
    type Atoms = Vec<(f64, f64)>;

    /// The definitions, read off the page.
    fn oracle(distance: Distance, p: &Atoms, q: &Atoms) -> f64 {
        let shares = || p.iter().zip(q).map(|(p, q)| (p.1, q.1));
        let part = |x: f64, m: f64| if x == 0.0 { 0.0 } else { x * (x / m).ln() };
        match distance {
            Distance::Wasserstein => integral(p, q, f64::abs),
            Distance::Energy => (2.0 * integral(p, q, |gap| gap * gap)).sqrt(),
            Distance::KolmogorovSmirnov => {
                let mut cdfs = (0.0, 0.0);
                shares().fold(0.0, |greatest: f64, (p, q)| {
                    cdfs = (cdfs.0 + p, cdfs.1 + q);
                    greatest.max((cdfs.0 - cdfs.1).abs())
                })
            }
            Distance::TotalVariation => 0.5 * shares().map(|(p, q)| (p - q).abs()).sum::<f64>(),
            Distance::JensenShannon => shares()
                .map(|(p, q)| 0.5 * (part(p, 0.5 * (p + q)) + part(q, 0.5 * (p + q))))
                .sum::<f64>()
                .max(0.0)
                .sqrt(),
            Distance::Hellinger => {
                (0.5 * shares().map(|(p, q)| (p.sqrt() - q.sqrt()).powi(2)).sum::<f64>()).sqrt()
            }
            Distance::Psi { floor } => {
                shares().map(|(p, q)| (p.max(floor), q.max(floor))).map(|(p, q)| (p - q) * (p / q).ln()).sum()
            }
        }
    }

    fn integral(p: &Atoms, q: &Atoms, part: impl Fn(f64) -> f64) -> f64 {
        let mut places: Vec<f64> = p.iter().chain(q).map(|atom| atom.0).collect();
        places.sort_by(f64::total_cmp);
        let cdf =
            |atoms: &Atoms, at: f64| atoms.iter().filter(|atom| atom.0 <= at).map(|atom| atom.1).sum::<f64>();
        places.windows(2).map(|gap| part(cdf(p, gap[0]) - cdf(q, gap[0])) * (gap[1] - gap[0])).sum()
    }

    fn atoms(counts: &[u32], within: &[f64]) -> Atoms {
        let total: u32 = counts.iter().sum();
        let place = |bin: usize| bin as f64 + within[bin];
        counts.iter().enumerate().map(|(bin, &n)| (place(bin), f64::from(n) / f64::from(total))).collect()
    }

    /// Counts and where in its bin each row's mass lies.
    fn rows(count: usize) -> impl Strategy<Value = (usize, Vec<Vec<u32>>, Vec<Vec<f64>>)> {
        (1_usize..40).prop_flat_map(move |bins| {
            let counts = prop::collection::vec(prop_oneof![Just(0_u32), 0..50_u32], bins)
                .prop_filter("some weight", |counts| counts.iter().any(|&n| n > 0));
            let within = prop::collection::vec(prop_oneof![Just(0.5), 0.0..1.0], bins);
            (Just(bins), prop::collection::vec(counts, count), prop::collection::vec(within, count))
        })
    }

    fn histograms(bins: usize, counts: &[Vec<u32>], within: &[Vec<f64>]) -> Histograms {
        let weights: Vec<f64> = counts.iter().flatten().map(|&n| f64::from(n)).collect();
        let places: Vec<f64> =
            within.iter().flat_map(|row| row.iter().enumerate().map(|(bin, x)| bin as f64 + x)).collect();
        Histograms::new(&weights, &places, bins).unwrap()
    }

    fn close(found: f64, expected: f64, tolerance: f64) -> bool {
        (found - expected).abs() <= tolerance * expected.abs().max(1.0)
    }

    proptest! {
        #[test]
        fn every_distance_is_its_definition((bins, counts, within) in rows(2)) {
            let both = histograms(bins, &counts, &within);
            let [p, q] = [0, 1].map(|row| atoms(&counts[row], &within[row]));
            for distance in ALL {
                let found = both.distances(distance, &[(0, 1)], &GO_ON).unwrap()[0];
                let expected = oracle(distance, &p, &q);
                // The oracle of Jensen–Shannon cancels where the two are nearly equal.
                let tolerance = if distance == Distance::JensenShannon { 2e-8 } else { 1e-12 };
                prop_assert!(close(found, expected, tolerance), "{distance:?}: {found} {expected}");
            }
        }

        #[test]
        fn identity_symmetry_and_triangles((bins, counts, within) in rows(3)) {
            let three = histograms(bins, &counts, &within);
            for distance in ALL {
                let matrix = three.pairwise(distance, &GO_ON).unwrap();
                let d = |a: usize, b: usize| matrix[a * 3 + b];
                for a in 0..3 {
                    prop_assert_eq!(d(a, a), 0.0);
                    for b in 0..3 {
                        prop_assert!(d(a, b) >= 0.0);
                        prop_assert_eq!(d(a, b).to_bits(), three.distances(distance, &[(b, a)], &GO_ON).unwrap()[0].to_bits());
                    }
                }
                if !matches!(distance, Distance::Psi { .. }) {
                    prop_assert!(d(0, 2) <= d(0, 1) + d(1, 2) + 1e-12, "{distance:?}");
                }
            }
        }

        #[test]
        fn sparse_rows_are_dense_rows((bins, counts, within) in rows(4)) {
            let dense = histograms(bins, &counts, &within);
            let sparse: Vec<Vec<Bin>> = counts.iter().zip(&within).map(|(counts, within)| {
                (0..bins).filter(|&bin| counts[bin] > 0).map(|bin| Bin {
                    index: bin as u32,
                    count: counts[bin].into(),
                    mean: bin as f64 + within[bin],
                }).collect()
            }).collect();
            let rows: Vec<&[Bin]> = sparse.iter().map(Vec::as_slice).collect();
            let sparse = Histograms::from_sparse(&rows).unwrap();
            for distance in ALL {
                if matches!(distance, Distance::Psi { .. }) {
                    continue; // Bins that are empty on both sides add nothing, in another order.
                }
                for (found, expected) in sparse.pairwise(distance, &GO_ON).unwrap().iter().zip(dense.pairwise(distance, &GO_ON).unwrap()) {
                    prop_assert!(close(*found, expected, 1e-12), "{distance:?}: {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn closed_forms() {
        // All of one row in bin 0, all of the other in bin 3.
        let two = Histograms::new(&[5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0], &[], 4).unwrap();
        let found = ALL.map(|distance| two.distances(distance, &[(0, 1)], &GO_ON).unwrap()[0]);
        let psi = 2.0 * (1.0 - 1e-4) * 1e4_f64.ln();
        let expected = [3.0, 6.0_f64.sqrt(), 1.0, 1.0, 2.0_f64.ln().sqrt(), 1.0, psi];
        for (found, expected) in found.into_iter().zip(expected) {
            assert!(close(found, expected, 1e-14), "{found} {expected}");
        }
    }

    #[test]
    fn small_differences_keep_their_digits() {
        // p = (½ + d, ½ − d), q the other way: the divergence is 2d² to first order.
        let d = 1e-9;
        let two = Histograms::new(&[0.5 + d, 0.5 - d, 0.5 - d, 0.5 + d], &[], 2).unwrap();
        let found = two.distances(Distance::JensenShannon, &[(0, 1)], &GO_ON).unwrap()[0];
        assert!((found / (2.0_f64.sqrt() * d) - 1.0).abs() < 1e-6, "{found}");
    }

    #[test]
    fn rows_without_weight_are_nan() {
        let two = Histograms::new(&[0.0, 0.0, 1.0, 2.0], &[], 2).unwrap();
        for distance in ALL {
            assert!(two.distances(distance, &[(0, 1)], &GO_ON).unwrap()[0].is_nan());
            assert!(two.distances(distance, &[(0, 0)], &GO_ON).unwrap()[0].is_nan());
        }
        let none = Histograms::from_sparse(&[&[], &[]]).unwrap();
        assert!(none.pairwise(Distance::Wasserstein, &GO_ON).unwrap().iter().all(|x| x.is_nan()));
    }

    #[test]
    fn what_can_not_be_used_is_an_error() {
        let error = |weights: &[f64], places: &[f64], bins| {
            Histograms::new(weights, places, bins).unwrap_err().to_string()
        };
        assert!(error(&[1.0, -1.0], &[], 2).contains("row 0, bin 1 has weight -1"));
        assert!(error(&[1.0, f64::NAN], &[], 1).contains("row 1, bin 0"));
        assert!(error(&[1.0], &[], 0).contains("rows of 0 bins"));
        assert!(error(&[1.0, 1.0], &[2.0, 1.0], 2).contains("places ascend"));
        assert!(error(&[1.0, 1.0], &[f64::NAN, 1.0], 2).contains("places are finite"));
        assert!(error(&[1.0; 4], &[1.0; 3], 2).contains("3 places"));
    }

    #[test]
    fn rows_that_are_not_there_and_a_stop_are_errors() {
        let two = Histograms::new(&[1.0, 2.0], &[], 1).unwrap();
        let error = |pairs, stop: bool| {
            two.distances(Distance::Energy, pairs, &AtomicBool::new(stop)).unwrap_err().to_string()
        };
        assert!(error(&[(0, 2)], false).contains("pair (0, 2) names a row that is not there"));
        assert_eq!(error(&[(0, 1)], true), "interrupted");
        assert!(two.pairwise(Distance::Energy, &AtomicBool::new(true)).is_err());
    }
}
