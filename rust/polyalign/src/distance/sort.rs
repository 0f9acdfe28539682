//! Sorting numbers by their bits.
//!
//! As whole numbers, bits order as the values do where these are positive, and the other way round where they are negative.
//! A key has all bits of negative values flipped, of others the sign alone, and so orders as the values do:
//!
//! ```text
//! value   bits        key
//!  −2     C0000000    3FFFFFFF
//!  −1     BF800000    407FFFFF
//!   0     00000000    80000000
//!   1     3F800000    BF800000
//! ```
//!
//! Keys are sorted by three digits of 11 bits, the least significant first: those of doubles by their leading 33 bits, then by
//! comparing the few that have these in common.

/// A floating-point type that samples come in.
pub trait Sample: Copy + Send + Sync + PartialOrd + 'static {
    /// Whole numbers that order as the values do.
    type Key: Key;

    /// The value as a double, exactly.
    fn to_f64(self) -> f64;

    /// Its key.
    fn to_key(self) -> Self::Key;

    /// The value of a key.
    fn from_key(key: Self::Key) -> Self;
}

/// A whole number to sort by.
pub trait Key: Copy + Default + Ord {
    /// What lies above the lowest bits that [`Key::digit`] leaves out.
    fn leading(self) -> Self;

    /// A digit of 11 bits, 0 to 2 from the least significant.
    fn digit(self, number: usize) -> usize;
}

impl Sample for f32 {
    type Key = u32;

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.into()
    }

    /// Bits that order as the numbers do: all flipped if negative, else the sign alone.
    #[inline(always)]
    fn to_key(self) -> u32 {
        let bits = self.to_bits();
        bits ^ (((bits.cast_signed() >> 31).cast_unsigned()) | 1 << 31)
    }

    #[inline(always)]
    fn from_key(key: u32) -> f32 {
        f32::from_bits(key ^ ((((!key).cast_signed() >> 31).cast_unsigned()) | 1 << 31))
    }
}

impl Sample for f64 {
    type Key = u64;

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }

    #[inline(always)]
    fn to_key(self) -> u64 {
        let bits = self.to_bits();
        bits ^ (((bits.cast_signed() >> 63).cast_unsigned()) | 1 << 63)
    }

    #[inline(always)]
    fn from_key(key: u64) -> f64 {
        f64::from_bits(key ^ ((((!key).cast_signed() >> 63).cast_unsigned()) | 1 << 63))
    }
}

impl Key for u32 {
    #[inline(always)]
    fn leading(self) -> u32 {
        self
    }

    #[inline(always)]
    fn digit(self, number: usize) -> usize {
        (self >> (number * DIGIT_BITS)) as usize % DIGITS
    }
}

/// Bits of a double's key below its three digits.
const BELOW: usize = 64 - 3 * DIGIT_BITS;

impl Key for u64 {
    #[inline(always)]
    fn leading(self) -> u64 {
        self >> BELOW
    }

    #[inline(always)]
    fn digit(self, number: usize) -> usize {
        (self >> (BELOW + number * DIGIT_BITS)) as usize % DIGITS
    }
}

/// Below this many values the counters cost more than comparing.
const RADIX_FROM: usize = 256;
const DIGIT_BITS: usize = 11;
const DIGITS: usize = 1 << DIGIT_BITS;

/// Sorts values that are not NaN, ascending. `scratch` is working memory.
pub(super) fn sort<T: Sample>(values: &mut [T], scratch: &mut Vec<T::Key>) {
    if values.len() < RADIX_FROM {
        return values.sort_unstable_by_key(|value| value.to_key());
    }
    radix_sort(values, scratch);
}

/// Least significant digit first; a digit that all values share is passed over. Then by comparing,
/// where values have all digits in common.
fn radix_sort<T: Sample>(values: &mut [T], scratch: &mut Vec<T::Key>) {
    let n = values.len();
    scratch.clear();
    scratch.resize(2 * n, T::Key::default());
    let (mut from, mut to) = scratch.split_at_mut(n);
    let mut counts = [[0_u32; DIGITS]; 3];
    for (key, value) in from.iter_mut().zip(&*values) {
        *key = value.to_key();
        for (digit, counts) in counts.iter_mut().enumerate() {
            counts[key.digit(digit)] += 1;
        }
    }
    for (digit, counts) in counts.iter_mut().enumerate() {
        if counts[from[0].digit(digit)] as usize == n {
            continue;
        }
        let mut start = 0;
        for count in counts.iter_mut() {
            start += std::mem::replace(count, start);
        }
        for &key in &*from {
            let place = &mut counts[key.digit(digit)];
            to[*place as usize] = key;
            *place += 1;
        }
        std::mem::swap(&mut from, &mut to);
    }
    if !from.is_sorted() {
        from.chunk_by_mut(|a, b| a.leading() == b.leading()).for_each(<[T::Key]>::sort_unstable);
    }
    for (value, key) in values.iter_mut().zip(&*from) {
        *value = T::from_key(*key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check<T: Sample>(mut values: Vec<T>, to_bits: impl Fn(&T) -> u64) {
        let mut expected = values.clone();
        expected.sort_by(|a, b| a.partial_cmp(b).unwrap().then(a.to_key().cmp(&b.to_key())));
        radix_sort(&mut values, &mut Vec::new());
        assert!(values.iter().map(&to_bits).eq(expected.iter().map(&to_bits)));
    }

    proptest! {
        #[test]
        fn radix_sorts_as_comparing_does(values in prop::collection::vec(prop_oneof![
            any::<f64>().prop_filter("a number", |x| !x.is_nan()),
            (-3_i8..3).prop_map(f64::from),
            // Alike in all digits.
            (0_u8..9).prop_map(|n| 1.0 + f64::from(n) * f64::EPSILON),
        ], 1..600)) {
            check(values.iter().map(|&x| x as f32).collect(), |x: &f32| x.to_bits().into());
            check(values, |x: &f64| x.to_bits());
        }
    }
}
