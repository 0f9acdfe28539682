//! Where a reference cuts a feature's values: fixed bins that depend on the feature alone.

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
    /// One bin for each value of a fixed-point number with 20 binary places: exact, for small corpora.
    Exact,
}
