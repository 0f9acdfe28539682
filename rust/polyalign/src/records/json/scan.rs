//! The end of a run of plain string bytes: the next `"`, `\` or control character.
//!
//! Three ways to find it, tested equal: 16 bytes at a time (SSE2, always there on x86-64; else
//! words), 64 at a time where the machine has AVX2, and the obvious loop for the last bytes.

#[cfg(target_arch = "x86_64")]
use crate::cpu::Avx2;

/// Whether a byte ends a run of plain string bytes.
#[inline(always)]
const fn stops(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// The first place at or after `from` whose byte ends a run; `bytes.len()` if there is none.
#[inline(always)]
pub(super) fn string_stop(bytes: &[u8], from: usize) -> usize {
    // Most strings are short: two blocks in line before a call is worth it.
    let mut at = from;
    for _ in 0..2 {
        let Some(block) = block::<16>(bytes, at) else { return tail(bytes, at) };
        let mask = mask16(block);
        if mask != 0 {
            return at + mask.trailing_zeros() as usize;
        }
        at += 16;
    }
    long(bytes, at)
}

#[inline(always)]
fn block<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>())
}

/// The obvious loop, and the tests' oracle.
fn tail(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.iter().position(|&byte| stops(byte)).map_or(bytes.len(), |n| from + n)
}

#[inline(never)]
fn long(bytes: &[u8], from: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    if Avx2::get().is_some() {
        // SAFETY: the processor has AVX2.
        return unsafe { long_avx2(bytes, from) };
    }
    long_blocks(bytes, from)
}

fn long_blocks(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(block) = block::<16>(bytes, at) {
        let mask = mask16(block);
        if mask != 0 {
            return at + mask.trailing_zeros() as usize;
        }
        at += 16;
    }
    tail(bytes, at)
}

/// One bit a byte of the block, set where it ends a run.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn mask16(block: &[u8; 16]) -> u32 {
    use std::arch::x86_64::*;
    // SAFETY: x86-64 has SSE2, and the load reads exactly the 16 bytes of `block`, at any alignment.
    unsafe {
        let bytes = _mm_loadu_si128(block.as_ptr().cast());
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let escape = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, escape), control)) as u32
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn mask16(block: &[u8; 16]) -> u32 {
    mask16_words(block)
}

/// As [`mask16`], but only its lowest set bit means something.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn mask16_words(block: &[u8; 16]) -> u32 {
    let word = |half: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&block[half * 8..half * 8 + 8]);
        u64::from_le_bytes(bytes)
    };
    let first = |word: u64| {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x8080_8080_8080_8080;
        // The lowest byte below n (n <= 128): borrows only spoil the bytes above it.
        let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word & HIGH;
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let escape = below(word ^ (ONES * u64::from(b'\\')), 1);
        let found = quote | escape | below(word, 0x20);
        if found == 0 { 0 } else { 1 << (found.trailing_zeros() / 8) }
    };
    first(word(0)) | first(word(1)) << 8
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn long_avx2(bytes: &[u8], from: usize) -> usize {
    use std::arch::x86_64::*;
    let quote = _mm256_set1_epi8(b'"' as i8);
    let escape = _mm256_set1_epi8(b'\\' as i8);
    let control = _mm256_set1_epi8(0x1f);
    let stops = |bytes: __m256i| {
        let found = _mm256_or_si256(_mm256_cmpeq_epi8(bytes, quote), _mm256_cmpeq_epi8(bytes, escape));
        _mm256_or_si256(found, _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, control), bytes))
    };
    let mut at = from;
    while let Some(block) = block::<64>(bytes, at) {
        let start: *const __m256i = block.as_ptr().cast();
        // SAFETY: the two loads read exactly the 64 bytes of `block`, at any alignment.
        let (low, high) = unsafe { (_mm256_loadu_si256(start), _mm256_loadu_si256(start.add(1))) };
        let (low, high) = (stops(low), stops(high));
        let low = u64::from(_mm256_movemask_epi8(low) as u32);
        let high = u64::from(_mm256_movemask_epi8(high) as u32);
        let mask = low | high << 32;
        if mask != 0 {
            return at + mask.trailing_zeros() as usize;
        }
        at += 64;
    }
    long_blocks(bytes, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(bytes: &[u8]) {
        for from in 0..=bytes.len() {
            let expected = tail(bytes, from);
            assert_eq!(string_stop(bytes, from), expected, "in line, from {from} of {bytes:?}");
            assert_eq!(long(bytes, from), expected, "long, from {from} of {bytes:?}");
            assert_eq!(long_blocks(bytes, from), expected, "blocks, from {from} of {bytes:?}");
        }
    }

    #[test]
    fn every_byte_at_every_place_of_a_block() {
        for place in [0, 1, 7, 8, 15, 16, 31, 32, 33, 63, 64, 95, 96, 97, 127, 130] {
            for byte in 0..=255u8 {
                let mut bytes = [b'x'; 131];
                bytes[place] = byte;
                let expected = if stops(byte) { place } else { bytes.len() };
                assert_eq!(tail(&bytes, 0), expected);
                assert_eq!(string_stop(&bytes, 0), expected, "{byte} at {place}");
                assert_eq!(long(&bytes, 0), expected, "{byte} at {place}");
                assert_eq!(long_blocks(&bytes, 0), expected, "{byte} at {place}");
            }
        }
    }

    #[test]
    fn words_agree_with_lanes() {
        for place in 0..16 {
            for byte in 0..=255u8 {
                for next in [b'!', b'#', b'"', b'[', b']', 0x1f, 0x20, 0x21, 0x80, 0xff] {
                    let mut block = [0xa0; 16];
                    block[place] = byte;
                    block[(place + 1) % 16] = next;
                    let expected = block.iter().position(|&byte| stops(byte)).unwrap_or(32);
                    assert_eq!(mask16_words(&block).trailing_zeros() as usize, expected, "{block:?}");
                    assert_eq!(mask16(&block).trailing_zeros() as usize, expected, "{block:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn random_bytes(bytes in prop::collection::vec(prop_oneof![8 => 0x20..=0xffu8, 1 => any::<u8>()], 0..200)) {
            check(&bytes);
        }
    }
}
