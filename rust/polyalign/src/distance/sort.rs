//! Sorting numbers by their bits.

/// A floating-point type that samples come in.
pub trait Sample: Copy + Send + Sync + PartialOrd + 'static {
    /// The value as a double, exactly.
    fn to_f64(self) -> f64;

    /// Sorts values that are not NaN, ascending. `scratch` is working memory.
    fn sort(values: &mut Vec<Self>, scratch: &mut Vec<u32>);
}

impl Sample for f32 {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.into()
    }

    fn sort(values: &mut Vec<Self>, scratch: &mut Vec<u32>) {
        if values.len() < RADIX_FROM {
            return values.sort_unstable_by(Self::total_cmp);
        }
        radix_sort(values, scratch);
    }
}

impl Sample for f64 {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }

    fn sort(values: &mut Vec<Self>, _: &mut Vec<u32>) {
        values.sort_unstable_by(Self::total_cmp);
    }
}

/// Below this many values the counters cost more than comparing.
const RADIX_FROM: usize = 256;
const DIGIT_BITS: usize = 11;
const DIGITS: usize = 1 << DIGIT_BITS;

/// Least significant digit first, three digits of 11 bits; a digit that all values share is passed over.
fn radix_sort(values: &mut [f32], scratch: &mut Vec<u32>) {
    let n = values.len();
    scratch.clear();
    scratch.resize(2 * n, 0);
    let (mut from, mut to) = scratch.split_at_mut(n);
    let mut counts = [[0_u32; DIGITS]; 3];
    for (key, value) in from.iter_mut().zip(&*values) {
        *key = to_key(*value);
        for (digit, counts) in counts.iter_mut().enumerate() {
            counts[digit_of(*key, digit)] += 1;
        }
    }
    for (digit, counts) in counts.iter_mut().enumerate() {
        if counts[digit_of(from[0], digit)] as usize == n {
            continue;
        }
        let mut start = 0;
        for count in counts.iter_mut() {
            start += std::mem::replace(count, start);
        }
        for &key in &*from {
            let place = &mut counts[digit_of(key, digit)];
            to[*place as usize] = key;
            *place += 1;
        }
        std::mem::swap(&mut from, &mut to);
    }
    for (value, key) in values.iter_mut().zip(&*from) {
        *value = from_key(*key);
    }
}

#[inline(always)]
fn digit_of(key: u32, digit: usize) -> usize {
    (key >> (digit * DIGIT_BITS)) as usize % DIGITS
}

/// Bits that order as the numbers do: all flipped if negative, else the sign alone.
#[inline(always)]
fn to_key(value: f32) -> u32 {
    let bits = value.to_bits();
    bits ^ (((bits.cast_signed() >> 31).cast_unsigned()) | 1 << 31)
}

#[inline(always)]
fn from_key(key: u32) -> f32 {
    f32::from_bits(key ^ ((((!key).cast_signed() >> 31).cast_unsigned()) | 1 << 31))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn radix_sorts_as_comparing_does(mut values in prop::collection::vec(prop_oneof![
            any::<f32>().prop_filter("a number", |x| !x.is_nan()),
            (-3_i8..3).prop_map(f32::from),
        ], 1..600)) {
            let mut expected = values.clone();
            expected.sort_by(f32::total_cmp);
            radix_sort(&mut values, &mut Vec::new());
            prop_assert!(values.iter().map(|x| x.to_bits()).eq(expected.iter().map(|x| x.to_bits())));
        }
    }
}
