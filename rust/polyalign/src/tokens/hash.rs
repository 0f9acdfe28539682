//! What the tables of this folder are looked up by: a hash of bytes, and fetching ahead.

/// A hash of a byte string, good in all its bits.
pub(super) fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..tail.len()].copy_from_slice(tail);
    let mut hash = bytes.len() as u64;
    for word in words.iter().chain([&last]) {
        let mixed = (hash ^ u64::from_le_bytes(*word)) as u128 * 0x9e37_79b9_7f4a_7c15;
        hash = (mixed >> 64) as u64 ^ mixed as u64;
    }
    hash
}

/// Has a place in memory fetched that will be read soon.
#[inline(always)]
pub(super) fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the processor has SSE, as all of its kind do; a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
