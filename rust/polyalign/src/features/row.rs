//! A row of values in the making, and the arithmetic that fills it.

use super::bins::PLACES;
use super::language::Language;
use super::registry::{FEATURES, Id};
use std::sync::LazyLock;

/// The values of one response, in the registry's order; NaN where a feature is not defined.
pub(super) struct Row<'a> {
    values: &'a mut [f32],
    language: Language,
}

impl<'a> Row<'a> {
    /// With nothing defined yet.
    pub fn new(values: &'a mut [f32], language: Language) -> Self {
        values.fill(f32::NAN);
        Self { values, language }
    }

    /// Sets a value, unless the feature is not defined in the language.
    #[inline]
    pub fn set(&mut self, id: Id, value: f64) {
        self.put(id, rounded(value));
    }

    #[inline]
    pub fn count(&mut self, id: Id, count: u32) {
        self.put(id, count as f32);
    }

    #[inline]
    fn put(&mut self, id: Id, value: f32) {
        if self.language.is_among(FEATURES[id as usize].languages) {
            self.values[id as usize] = value;
        }
    }

    /// A ratio; one to nothing is not defined.
    #[inline]
    pub fn ratio(&mut self, id: Id, part: u32, whole: u32) {
        if whole > 0 {
            self.set(id, f64::from(part) / f64::from(whole));
        }
    }

    /// 0 or 1.
    pub fn yes(&mut self, id: Id, yes: bool) {
        self.set(id, f64::from(u8::from(yes)));
    }
}

/// To 20 binary places, a tie to even, as the references keep them; then to single precision.
#[inline]
pub(super) fn rounded(value: f64) -> f32 {
    // In [2⁵¹, 2⁵²) the last place of a double is a half, in [2⁵², 2⁵³) a one: adding the magic number rounds.
    const MAGIC: f64 = ((1_u64 << 52) + (1_u64 << 51)) as f64 / (1_u64 << PLACES) as f64;
    const WHOLE: f64 = (1_u64 << (51 - PLACES)) as f64;
    if value.abs() < WHOLE { ((value + MAGIC) - MAGIC) as f32 } else { value as f32 }
}

/// Count, sum and sum of squares of whole numbers, all exact.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub n: u32,
    pub min: u32,
    pub max: u32,
    sum: u64,
    squares: u128,
}

impl Default for Spread {
    /// Of nothing.
    fn default() -> Self {
        Self { n: 0, min: u32::MAX, max: 0, sum: 0, squares: 0 }
    }
}

impl Spread {
    /// Adds a value so many times.
    #[inline]
    pub fn add(&mut self, value: u32, times: u32) {
        self.n += times;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum += u64::from(value) * u64::from(times);
        self.squares += u128::from(u64::from(value) * u64::from(value)) * u128::from(times);
    }

    /// NaN of nothing, as all that follow.
    pub fn mean(&self) -> f64 {
        self.sum as f64 / f64::from(self.n)
    }

    /// The population's standard deviation.
    pub fn std(&self) -> f64 {
        let n = u128::from(self.n);
        let squared = n * self.squares - u128::from(self.sum) * u128::from(self.sum);
        (squared as f64).sqrt() / f64::from(self.n)
    }

    pub fn least(&self) -> f64 {
        if self.n == 0 { f64::NAN } else { self.min.into() }
    }

    pub fn greatest(&self) -> f64 {
        if self.n == 0 { f64::NAN } else { self.max.into() }
    }
}

/// n log₂ n, 0 of 0.
#[inline]
pub(super) fn n_log2_n(n: u32) -> f64 {
    static SMALL: LazyLock<[f64; 256]> =
        LazyLock::new(|| std::array::from_fn(|n| if n == 0 { 0.0 } else { n as f64 * libm::log2(n as f64) }));
    match SMALL.get(n as usize) {
        Some(value) => *value,
        None => f64::from(n) * libm::log2(n.into()),
    }
}

/// Shannon entropy in bits of counts that add up to `total`, from the sum of n log₂ n over them.
pub(super) fn entropy(logs: f64, total: u32) -> f64 {
    // Rounding may leave a little below 0 where one value has it all.
    ((n_log2_n(total) - logs) / f64::from(total)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_keep_twenty_binary_places(value in prop_oneof![-2.0_f64..2.0, -1e7_f64..1e7, any::<f64>()]) {
            let scale = f64::from(1_u32 << PLACES);
            let expected = (value * scale).round_ties_even() / scale;
            let expected = expected as f32;
            let found = rounded(value);
            prop_assert!(found == expected || value.is_nan() || !(value * 1048576.0).is_finite(), "{value} {found} {expected}");
        }

        #[test]
        fn spreads_are_their_definition(values in prop::collection::vec(0_u32..5000, 1..40)) {
            let of = |values: &[u32], times| {
                let mut spread = Spread::default();
                values.iter().for_each(|&value| spread.add(value, times));
                spread
            };
            let spread = of(&values, 1);
            prop_assert_eq!(format!("{:?}", of(&values.repeat(3), 1)), format!("{:?}", of(&values, 3)));
            let n = values.len() as f64;
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
            let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
            prop_assert!((spread.mean() - mean).abs() < 1e-9 && (spread.std() - variance.sqrt()).abs() < 1e-9);
            prop_assert_eq!(f64::from(*values.iter().min().unwrap()), spread.least());
        }

        #[test]
        fn entropy_is_its_definition(counts in prop::collection::vec(1_u32..600, 1..30)) {
            let total: u32 = counts.iter().sum();
            let share = |&count: &u32| f64::from(count) / f64::from(total);
            let expected: f64 = -counts.iter().map(share).map(|p| p * p.log2()).sum::<f64>();
            let logs = counts.iter().copied().map(n_log2_n).sum();
            prop_assert!((entropy(logs, total) - expected).abs() < 1e-9);
        }
    }
}
