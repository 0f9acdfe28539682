//! Values as whole numbers of a small unit, so that their sums are exact and the same in any order.

use super::Variant;
use crate::features::PLACES;
use crate::features::bins::LIMIT;

/// Stands for a value that is not defined.
pub(crate) const ABSENT: i64 = i64::MIN;

/// A feature's value: `f32`, or `f64` as the paper's variant has them.
pub trait Value: Copy + Send + Sync + Into<f64> {
    /// The value as an `f32` holds it.
    fn single(self) -> f32;
}

impl Value for f32 {
    fn single(self) -> f32 {
        self
    }
}

impl Value for f64 {
    fn single(self) -> f32 {
        self as f32
    }
}

/// How many units make 1.
pub(crate) fn units(variant: Variant) -> f64 {
    match variant {
        Variant::Default => f64::from(1_u32 << PLACES),
        Variant::Paper => 1e6,
    }
}

/// The value in units, a half to the even one; [`ABSENT`] for NaN, `None` if it is too far from 0 (2³¹).
#[inline(always)]
pub(crate) fn to_fixed<V: Value>(value: V, variant: Variant) -> Option<i64> {
    // 2^52 + 2^51: what is added to it is rounded to a whole number, half to even.
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    let value: f64 = match variant {
        Variant::Default => value.single().into(),
        Variant::Paper => value.into(),
    };
    if value.is_nan() {
        return Some(ABSENT);
    }
    let fixed = ((value * units(variant) + MAGIC).to_bits() as i64).wrapping_sub(MAGIC.to_bits() as i64);
    (value.abs() <= 2_147_483_648.0 && fixed.abs() < LIMIT).then_some(fixed)
}

/// Units as a value: the nearest `f64`.
#[inline]
pub(crate) fn to_value(fixed: i64, variant: Variant) -> f64 {
    fixed as f64 / units(variant)
}

/// Σx / n in units, without rounding away what is below one unit.
pub(crate) fn mean(sum: i128, count: u64) -> f64 {
    let (whole, rest) = nearest(sum, count);
    whole as f64 + rest as f64 / count as f64
}

/// The population variance in squared units, from Σx and Σx².
///
/// Taken around the whole number next to the mean, where nothing cancels. That sum is at most Σx² + n, so it fits even
/// where terms on the way to it do not: they wrap, and wrap back.
pub(crate) fn variance(sum: i128, squares: i128, count: u64) -> f64 {
    let (whole, rest) = nearest(sum, count);
    let around = squares
        .wrapping_sub(whole.wrapping_mul(sum).wrapping_mul(2))
        .wrapping_add(whole.wrapping_mul(whole).wrapping_mul(i128::from(count)));
    let shift = rest as f64 / count as f64;
    (around as f64 / count as f64 - shift * shift).max(0.0)
}

/// The whole number nearest to the mean, and what is left of the sum.
fn nearest(sum: i128, count: u64) -> (i128, i128) {
    let count = i128::from(count.max(1));
    let whole = (sum + count / 2).div_euclid(count);
    (whole, sum - whole * count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn six_decimals_come_back(millionths in -2_000_000_000_000_000_i64..2_000_000_000_000_000) {
            let value: f64 = format!("{}e-6", millionths).parse().unwrap();
            let fixed = to_fixed(value, Variant::Paper).unwrap();
            prop_assert_eq!(fixed, millionths);
            prop_assert_eq!(to_value(fixed, Variant::Paper), value);
        }

        #[test]
        fn a_value_is_within_half_a_unit(value in prop_oneof![-2e9_f32..2e9, -1.0_f32..1.0, -1e-5_f32..1e-5]) {
            let fixed = to_fixed(value, Variant::Default).unwrap();
            let exact = f64::from(value) * 1_048_576.0;
            prop_assert_eq!(fixed as f64, exact.round_ties_even());
            prop_assert_eq!(f64::from(to_value(fixed, Variant::Default) as f32), to_value(fixed, Variant::Default));
        }

        #[test]
        fn moments_are_those_of_the_values(
            start in prop_oneof![-1000_i64..1000, -LIMIT + 2000..LIMIT - 2000],
            steps in prop::collection::vec(-1000_i64..1000, 1..50),
        ) {
            let values: Vec<i128> = steps.iter().map(|step| i128::from(start + step)).collect();
            let (sum, squares) = (values.iter().sum(), values.iter().map(|x| x * x).sum());
            let n = steps.len() as f64;
            let near = steps.iter().map(|&step| step as f64).sum::<f64>() / n;
            let spread = steps.iter().map(|&step| (step as f64 - near).powi(2)).sum::<f64>() / n;
            let found = variance(sum, squares, steps.len() as u64);
            prop_assert!((found - spread).abs() <= 1e-9 * spread, "{found} {spread}");
            let found = mean(sum, steps.len() as u64);
            prop_assert!((found - start as f64 - near).abs() <= 0.51, "{found}");
        }
    }

    #[test]
    fn what_can_not_be_held_is_none() {
        for value in [f32::INFINITY, -f32::INFINITY, 2_147_483_648.0, -3e9] {
            assert_eq!(to_fixed(value, Variant::Default), None);
        }
        assert_eq!(to_fixed(2_147_483_647.999_999_5_f64, Variant::Paper), Some(2_147_483_648_000_000));
        assert_eq!(to_fixed(f32::NAN, Variant::Default), Some(ABSENT));
        assert_eq!(to_fixed(-0.0_f32, Variant::Default), Some(0));
    }

    #[test]
    fn constant_values_have_no_variance() {
        let x = i128::from(LIMIT - 1);
        assert_eq!(variance(3 * x, 3 * x * x, 3), 0.0);
        assert_eq!(mean(3 * x, 3), x as f64);
    }
}
