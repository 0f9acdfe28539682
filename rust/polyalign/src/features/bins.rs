//! Where a reference cuts a feature's values: fixed bins that depend on the feature alone.

use std::fmt;

/// Binary places that a value keeps.
pub const PLACES: u32 = 20;

/// The bins of a feature.
///
/// All are of one kind: equal bins from 0 up to a power of two, then a fixed number to each octave, so
/// that a bin is never wider than a sixty-fourth of the values in it; one more bin holds what is beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bins {
    /// Whole numbers: one bin each below 128, then 64 to an octave, up to 2^max_log2.
    Count {
        /// Where the last bin begins.
        max_log2: i8,
    },
    /// Numbers from 0: 128 bins below 2^min_log2, then 64 to an octave, up to 2^max_log2.
    Positive {
        /// Where octaves begin.
        min_log2: i8,
        /// Where the last bin begins.
        max_log2: i8,
    },
    /// Numbers from 0 to 1: 128 bins below 2^min_log2, then 64 to an octave.
    Share {
        /// Where octaves begin.
        min_log2: i8,
    },
    /// Numbers of either sign: the bins of [`Self::Positive`] and their mirror images.
    Signed {
        /// Where octaves begin.
        min_log2: i8,
        /// Where the last bins begin.
        max_log2: i8,
    },
    /// One bin for each value, in millionths: exact, for small corpora and values of at most six decimals.
    Exact,
}

/// Bins to an octave, as a power of two.
const SUB_BITS: u32 = 6;
/// Equal bins before the octaves begin, as a power of two.
const LINEAR_BITS: u32 = SUB_BITS + 1;
/// Fixed-point numbers are less than this, either side of 0: 2³¹ with 20 binary places.
pub const LIMIT: i64 = 1 << (31 + PLACES);

impl Bins {
    /// The bin of a fixed-point number (20 binary places; millionths for [`Self::Exact`]).
    ///
    /// Numbers below 0 fall into the first bin of kinds that begin at 0: those who count refuse them before.
    /// Bins are numbered in the order of their values, from 0 but for [`Self::Exact`], where the bin is the value.
    ///
    /// ```
    /// use polyalign::features::bins::Bins;
    /// let words = Bins::Count { max_log2: 18 };
    /// assert_eq!(words.index(42 << 20), 42);
    /// assert_eq!(words.index(1000 << 20), words.index(1007 << 20));
    /// assert_eq!(words.bounds(words.index(1000 << 20)), (1000 << 20, (1008 << 20) - 1));
    /// ```
    #[inline]
    pub fn index(self, value: i64) -> i64 {
        match self.cut() {
            None => value,
            Some(cut) => i64::from(cut.place(value).0),
        }
    }

    /// The least and greatest number of a bin. Of one that is not there: of the nearest.
    pub fn bounds(self, index: i64) -> (i64, i64) {
        match self.cut() {
            None => (index, index),
            Some(cut) => cut.bounds(index.clamp(0, i64::from(cut.bins()) - 1) as u32),
        }
    }

    /// What numbers of a bin are measured from, and on which side of it they are, 1 or −1: from the end nearest to 0, as
    /// what is beyond the last bins has no other.
    pub fn anchor(self, index: i64) -> (i64, i64) {
        match self.cut() {
            None => (index, 1),
            Some(cut) if cut.signed && index <= i64::from(cut.last) => {
                (-cut.bounds_positive(cut.last.saturating_sub(index.max(0) as u32)).0, -1)
            }
            Some(_) => (self.bounds(index).0, 1),
        }
    }

    /// How many bins there are; `None` where each value is one.
    pub fn count(self) -> Option<u32> {
        self.cut().map(Cut::bins)
    }

    /// The same bins as numbers to count with; `None` for [`Self::Exact`].
    pub fn cut(self) -> Option<Cut> {
        let (min_log2, max_log2, signed) = match self {
            Self::Count { max_log2 } => (LINEAR_BITS as i8, max_log2, false),
            Self::Positive { min_log2, max_log2 } => (min_log2, max_log2, false),
            Self::Share { min_log2 } => (min_log2, 0, false),
            Self::Signed { min_log2, max_log2 } => (min_log2, max_log2, true),
            Self::Exact => return None,
        };
        let octaves = u32::from(max_log2.abs_diff(min_log2));
        let shift = (PLACES as i32 + i32::from(min_log2) - LINEAR_BITS as i32) as u32;
        let last = (1 << LINEAR_BITS) + (octaves << SUB_BITS);
        Some(Cut { shift, last, end: 1 << (PLACES as i32 + i32::from(max_log2)), signed })
    }
}

impl fmt::Display for Bins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { max_log2 } => write!(f, "count {max_log2}"),
            Self::Positive { min_log2, max_log2 } => write!(f, "positive {min_log2} {max_log2}"),
            Self::Share { min_log2 } => write!(f, "share {min_log2}"),
            Self::Signed { min_log2, max_log2 } => write!(f, "signed {min_log2} {max_log2}"),
            Self::Exact => write!(f, "exact"),
        }
    }
}

/// Bins as the numbers that finding one takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The width of the equal bins, as a power of two.
    shift: u32,
    /// The bin of what is beyond.
    last: u32,
    /// Where that begins.
    end: i64,
    /// Whether there are mirror images.
    signed: bool,
}

impl Cut {
    /// How many bins there are.
    pub fn bins(self) -> u32 {
        (self.last + 1) << u32::from(self.signed)
    }

    /// Whether numbers below 0 have bins.
    pub fn signed(self) -> bool {
        self.signed
    }

    /// The bin of a number, and how far that is from the bin's [`Bins::anchor`].
    #[inline(always)]
    pub fn place(self, value: i64) -> (u32, u64) {
        if !self.signed {
            return self.place_positive(value.max(0) as u64);
        }
        let (bin, offset) = self.place_positive(value.unsigned_abs());
        (if value < 0 { self.last - bin } else { self.last + 1 + bin }, offset)
    }

    #[inline(always)]
    fn place_positive(self, value: u64) -> (u32, u64) {
        let units = value >> self.shift;
        // 0 among the equal bins, then one more each octave.
        let octave = (u64::BITS - 1 - SUB_BITS) - (units | 1 << SUB_BITS).leading_zeros();
        let bin = (units >> octave) as u32 + (octave << SUB_BITS);
        if bin >= self.last {
            return (self.last, value.wrapping_sub(self.end as u64));
        }
        (bin, value & ((1 << (self.shift + octave)) - 1))
    }

    fn bounds(self, bin: u32) -> (i64, i64) {
        if !self.signed {
            return self.bounds_positive(bin);
        }
        if bin > self.last {
            return self.bounds_positive(bin - self.last - 1);
        }
        let (low, high) = self.bounds_positive(self.last - bin);
        // 0 itself is not below 0.
        (-high, (-low).min(-1))
    }

    fn bounds_positive(self, bin: u32) -> (i64, i64) {
        if bin >= self.last {
            return (self.end, LIMIT - 1);
        }
        let octave = (bin >> SUB_BITS).saturating_sub(1);
        let low = i64::from(bin - (octave << SUB_BITS)) << (self.shift + octave);
        (low, low + (1 << (self.shift + octave)) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::registry::FEATURES;
    use proptest::prelude::*;

    const KINDS: [Bins; 6] = [
        Bins::Count { max_log2: 7 },
        Bins::Count { max_log2: 20 },
        Bins::Positive { min_log2: -5, max_log2: 7 },
        Bins::Share { min_log2: -8 },
        Bins::Signed { min_log2: -6, max_log2: 0 },
        Bins::Signed { min_log2: -1, max_log2: 10 },
    ];

    #[test]
    fn bins_of_every_feature_meet_and_cover_all_numbers() {
        for bins in FEATURES.iter().map(|feature| feature.bins).chain(KINDS) {
            let signed = bins.cut().unwrap().signed();
            let mut next = if signed { -(LIMIT - 1) } else { 0 };
            for index in 0..i64::from(bins.count().unwrap()) {
                let (low, high) = bins.bounds(index);
                assert!(low == next && high >= low, "{bins} {index}");
                assert_eq!((bins.index(low), bins.index(high)), (index, index), "{bins}");
                next = high + 1;
            }
            assert_eq!(next, LIMIT);
        }
    }

    #[test]
    fn small_whole_numbers_have_bins_of_their_own() {
        for value in 0..128 {
            assert_eq!(Bins::Count { max_log2: 20 }.index(value << PLACES), value);
        }
        let exact = Bins::Exact;
        assert_eq!((exact.index(-7), exact.bounds(-7), exact.count()), (-7, (-7, -7), None));
    }

    proptest! {
        #[test]
        fn a_number_is_in_its_bin(kind in 0..KINDS.len(), value in prop_oneof![-LIMIT + 1..LIMIT, -1 << 22..1_i64 << 22]) {
            let (bins, cut) = (KINDS[kind], KINDS[kind].cut().unwrap());
            let value = if cut.signed() { value } else { value.abs() };
            let (low, high) = bins.bounds(bins.index(value));
            prop_assert!((low..=high).contains(&value));
            let (index, offset) = cut.place(value);
            let (anchor, side) = bins.anchor(index.into());
            prop_assert_eq!((i64::from(index), anchor + side * offset as i64), (bins.index(value), value));
            let beyond = value.abs() >= cut.end;
            prop_assert!(beyond || high - low < (value.abs() >> SUB_BITS).max(1 << cut.shift));
        }
    }
}
