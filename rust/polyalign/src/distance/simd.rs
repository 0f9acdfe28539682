//! Loops over fixed lanes, compiled three times: for any processor, for AVX2 and for AVX-512.
//!
//! Sums run in [`LANES`] accumulators whatever the registers' width, and nothing is fused, so all
//! give the same bits.

/// Independent accumulators of a sum.
pub(super) const LANES: usize = 8;

/// One value a lane.
pub(super) type Lanes = [f64; LANES];

/// The sum of the lanes, in a fixed order.
#[inline(always)]
pub(super) fn sum(lanes: Lanes) -> f64 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

/// The least multiple of [`LANES`] that is at least `n`.
pub(super) const fn padded(n: usize) -> usize {
    n.next_multiple_of(LANES)
}

/// Defines a function whose body is also compiled for AVX2 and AVX-512, and runs the widest that the
/// processor has.
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident$(<$T:ident: $bound:ident>)?($($arg:ident: $type:ty),* $(,)?) -> $result:ty $body:block) => {
        $(#[$meta])*
        $vis fn $name$(<$T: $bound>)?($($arg: $type),*) -> $result {
            #[inline(always)]
            fn portable$(<$T: $bound>)?($($arg: $type),*) -> $result $body

            #[cfg(target_arch = "x86_64")]
            if let Some(machine) = $crate::cpu::Avx512::get() {
                return machine.run(
                    #[inline(always)]
                    move || portable($($arg),*),
                );
            }
            #[cfg(target_arch = "x86_64")]
            if let Some(machine) = $crate::cpu::Avx2::get() {
                return machine.run(
                    #[inline(always)]
                    move || portable($($arg),*),
                );
            }
            portable($($arg),*)
        }
    };
}
pub(super) use vectorised;

/// Natural logarithm of each lane; 0 for 0, so that x ln x is 0 there. Within 2 ulp; lanes must be
/// at least 0 and finite, and those under the smallest normal number count as that.
#[inline(always)]
pub(super) fn ln(x: Lanes) -> Lanes {
    // x = 2^k (1 + f) with 1 + f in [√½, √2); ln(1 + f) by the series of fdlibm's `log`.
    const SQRT_HALF: u64 = 0x3FE6_A09E_667F_3BCD;
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const SERIES: [f64; 7] = [
        6.666_666_666_666_735e-1,
        3.999_999_999_940_942e-1,
        2.857_142_874_366_239e-1,
        2.222_219_843_214_978_4e-1,
        1.818_357_216_161_805e-1,
        1.531_383_769_920_937_3e-1,
        1.479_819_860_511_658_6e-1,
    ];
    // 2^52 + 2^51: adding an integer to its bits makes it the integer's double, without a conversion.
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    let mut result = [0.0; LANES];
    for (result, x) in result.iter_mut().zip(x) {
        let bits = x.max(f64::MIN_POSITIVE).to_bits();
        // Biased by 1023 so that the shift may be a logical one.
        let k = (bits.wrapping_sub(SQRT_HALF).wrapping_add(1023 << 52)) >> 52;
        let f = f64::from_bits(bits.wrapping_sub(k.wrapping_sub(1023) << 52)) - 1.0;
        let k = f64::from_bits(MAGIC.to_bits() + k) - (MAGIC + 1023.0);
        let s = f / (2.0 + f);
        let z = s * s;
        let w = z * z;
        let even = w * (SERIES[1] + w * (SERIES[3] + w * SERIES[5]));
        let odd = z * (SERIES[0] + w * (SERIES[2] + w * (SERIES[4] + w * SERIES[6])));
        let half = 0.5 * f * f;
        let value = k * LN2_HIGH - ((half - (s * (half + (even + odd)) + k * LN2_LOW)) - f);
        *result = if x == 0.0 { 0.0 } else { value };
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Level, at_most};
    use crate::distance::histogram::{Distance, Histograms};
    use crate::distance::support::Bands;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicBool;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn all_instructions_give_the_same_bits(
            weights in prop::collection::vec(0.0..9.0, 3 * 37),
            values in prop::collection::vec(-50.0_f32..50.0, 3 * 37),
            ends in prop::collection::vec((-20.0..0.0, 0.0..20.0, 0.0..5.0), 37),
        ) {
            let never = AtomicBool::new(false);
            let histograms = Histograms::new(&weights, &[], 37).unwrap();
            let column = |of: fn(&(f64, f64, f64)) -> f64| ends.iter().map(of).collect::<Vec<f64>>();
            let bands = Bands::new(&column(|e| e.0), &column(|e| e.1), &column(|e| e.2), &[0.3; 37], 5.0).unwrap();
            let measure = || {
                let psi = Distance::Psi { floor: 1e-4 };
                let kinds = [
                    Distance::Wasserstein, Distance::Energy, Distance::KolmogorovSmirnov, Distance::TotalVariation,
                    Distance::JensenShannon, Distance::Hellinger, psi,
                ];
                let mut all: Vec<u64> = kinds
                    .iter()
                    .flat_map(|kind| histograms.pairwise(*kind, &never).unwrap())
                    .map(f64::to_bits)
                    .collect();
                all.extend(bands.distances(&values, &[0; 3]).unwrap().into_iter().map(f64::to_bits));
                all
            };
            let widest = measure();
            for level in [Level::Portable, Level::Avx2] {
                prop_assert_eq!(&at_most(level, measure), &widest, "{:?}", level);
            }
        }
    }

    proptest! {
        #[test]
        fn logarithms_are_those_of_the_standard_library(x in prop_oneof![0.0..2.0, 1.0 - 1e-6..1.0 + 1e-6, 1e-300..1e300]) {
            let found = ln([x; LANES])[3];
            prop_assert!((found - x.ln()).abs() <= 4.0 * f64::EPSILON * x.ln().abs(), "{found} {}", x.ln());
        }
    }

    #[test]
    fn logarithms_at_the_edges() {
        assert_eq!(ln([0.0; LANES]), [0.0; LANES]);
        assert_eq!(ln([1.0; LANES]), [0.0; LANES]);
        assert_eq!(ln([f64::MIN_POSITIVE; LANES])[0], f64::MIN_POSITIVE.ln());
    }
}
