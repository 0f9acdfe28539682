//! Sixty-four bytes at a time: sets of bytes are bits of a `u64`, the first byte the lowest.

/// Bytes of a block.
pub const BLOCK: usize = 64;

/// The block at `at` and how many bytes of it are the text's; blanks follow its end.
#[inline(always)]
pub fn block(bytes: &[u8], at: usize) -> ([u8; BLOCK], usize) {
    let rest = bytes.get(at..).unwrap_or_default();
    if let Some(block) = rest.first_chunk() {
        return (*block, BLOCK);
    }
    let mut block = [b' '; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    (block, rest.len())
}

/// Which bytes are such.
#[inline(always)]
pub fn bits(block: &[u8; BLOCK], is: impl Fn(u8) -> bool) -> u64 {
    let mut flags = [0u8; BLOCK];
    // A loop that fills flags is vectorised, one that shifts bits is not.
    for (flag, &byte) in flags.iter_mut().zip(block) {
        *flag = if is(byte) { 0xFF } else { 0 };
    }
    let sixteens = flags.as_chunks::<16>().0;
    sixteens.iter().enumerate().fold(0, |bits, (i, flags)| bits | u64::from(movemask(flags)) << (16 * i))
}

/// The high bit of each byte.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn movemask(flags: &[u8; 16]) -> u16 {
    use std::arch::x86_64::*;
    // SAFETY: x86-64 has SSE2, and the load reads exactly the 16 bytes, at any alignment.
    unsafe { _mm_movemask_epi8(_mm_loadu_si128(flags.as_ptr().cast())) as u16 }
}

#[cfg(not(target_arch = "x86_64"))]
use portable_movemask as movemask;

/// The same without instructions for it; the bytes must be 0 or 255.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn portable_movemask(flags: &[u8; 16]) -> u16 {
    let eight = |i: usize| {
        let flags = u64::from_le_bytes(flags.as_chunks::<8>().0[i]) & 0x0101_0101_0101_0101;
        (flags.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u16
    };
    eight(0) | eight(1) << 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place() {
        for place in 0..BLOCK {
            for byte in 0..=255 {
                let mut block = [b'-'; BLOCK];
                block[place] = byte;
                let expected = if byte == b'-' { u64::MAX } else { 1 << place };
                assert_eq!(bits(&block, |b| b == byte), expected, "{byte} at {place}");
            }
        }
    }

    #[test]
    fn every_set_of_sixteen_bytes() {
        for bits in 0..=u16::MAX {
            let flags = std::array::from_fn(|i| if bits >> i & 1 == 1 { 255 } else { 0 });
            assert_eq!((movemask(&flags), portable_movemask(&flags)), (bits, bits));
        }
    }

    #[test]
    fn the_last_block_is_filled_with_blanks() {
        let (last, size) = block(b"abc", 1);
        assert_eq!((&last[..3], size), (&b"bc "[..], 2));
        assert_eq!(block(&[b'x'; 70], 6), ([b'x'; BLOCK], BLOCK));
        assert_eq!(block(b"abc", 3).1, 0);
    }
}
