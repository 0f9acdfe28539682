//! The masks by AVX-512.

use super::super::han::Pairs;
use super::blocks::{BLOCK, Masks};
use super::wide::{MOST_CODED, Machine, ROOM, WINDOW, Wide, matched_avx2};
use crate::cpu::Avx512Vbmi2;
use std::arch::x86_64::*;

// SAFETY of all calls below: `self` proves that the processor has the features they are compiled for.
impl Machine for Avx512Vbmi2 {
    const WIDE: bool = true;
    #[inline(always)]
    fn masks(self, block: &[u8; BLOCK]) -> Masks {
        // SAFETY: see above.
        unsafe { masks(block) }
    }
    #[inline(always)]
    fn wide(self, of_bytes: &Masks, window: &[u8; WINDOW]) -> Wide {
        // SAFETY: see above.
        unsafe { wide(of_bytes, window) }
    }
    #[inline(always)]
    fn codes(self, window: &[u8; WINDOW]) -> [u16; BLOCK] {
        // SAFETY: see above.
        unsafe { codes(window) }
    }
    #[inline(always)]
    fn found(self, flags: &[u32; MOST_CODED]) -> [u64; 3] {
        // SAFETY: see above.
        unsafe { found(flags) }
    }
    #[inline(always)]
    fn matched(self, first: &[u64; 4], second: &[u64; 4], key: [u64; 2]) -> u64 {
        // SAFETY: see above.
        unsafe { matched_avx2(first, second, key) }
    }
    #[inline(always)]
    fn spread(self, bits: u64, places: u64) -> u64 {
        // SAFETY: see above.
        unsafe { _pdep_u64(bits, places) }
    }
    #[inline(always)]
    fn stretches(self, starts: u64, at: &mut [u32; ROOM], len: &mut [u32; ROOM]) -> usize {
        // SAFETY: see above.
        unsafe { stretches(starts, at, len) }
    }
    #[inline(always)]
    fn run<R>(self, code: impl FnOnce() -> R) -> R {
        Avx512Vbmi2::run(self, code)
    }
}

/// The first 64 of some bytes.
#[target_feature(enable = "avx512f")]
#[inline]
fn load<const N: usize>(bytes: &[u8; N], at: usize) -> __m512i {
    let bytes: &[u8; BLOCK] = bytes[at..].first_chunk().expect("64 bytes are there");
    // SAFETY: the load reads the 64 bytes and needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512bw")]
#[inline]
fn is(x: __m512i, byte: u8) -> u64 {
    _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8(byte as i8))
}

/// `first <= x <= last`, unsigned.
#[target_feature(enable = "avx512bw")]
#[inline]
fn within(x: __m512i, first: u8, last: u8) -> u64 {
    let from = _mm512_sub_epi8(x, _mm512_set1_epi8(first as i8));
    _mm512_cmple_epu8_mask(from, _mm512_set1_epi8((last - first) as i8))
}

#[target_feature(enable = "avx512bw")]
#[inline]
fn masks(block: &[u8; BLOCK]) -> Masks {
    let x = load(block, 0);
    let newline = is(x, b'\r') | is(x, b'\n');
    let tab = within(x, b'\t', b'\r') & !newline;
    Masks {
        upper: within(x, b'A', b'Z'),
        lower: within(x, b'a', b'z'),
        digit: within(x, b'0', b'9'),
        space: is(x, b' '),
        tab,
        newline,
        apostrophe: is(x, b'\''),
        control: (within(x, 0, 0x1f) | is(x, 0x7f)) & !tab & !newline,
        wide: _mm512_movepi8_mask(x),
        ..Masks::default()
    }
}

/// The classes of [`Wide::avx2`].
#[target_feature(enable = "avx512bw,bmi2")]
#[inline]
fn wide(of_bytes: &Masks, window: &[u8; WINDOW]) -> Wide {
    let [a, b, c] = [load(window, 0), load(window, 1), load(window, 2)];
    let han =
        within(a, 0xe5, 0xe8) | is(a, 0xe4) & within(b, 0xb8, 0xbf) | is(a, 0xe9) & within(b, 0x80, 0xbd);
    let second = is(b, 0x80);
    let quotes = is(a, 0xe2) & second & within(c, 0x90, 0xa7);
    let stops = is(a, 0xe3) & second & (within(c, 0x81, 0x83) | within(c, 0x88, 0x91));
    let full = is(a, 0xef) & is(b, 0xbc) & (within(c, 0x81, 0x8f) | within(c, 0x9a, 0xa0));
    Wide::of(of_bytes, !within(a, 0x80, 0xbf), han, quotes | stops | full)
}

#[target_feature(enable = "avx512bw,avx512vbmi")]
#[inline]
fn codes(window: &[u8; WINDOW]) -> [u16; BLOCK] {
    const PAIRS: [[u8; BLOCK]; 2] = {
        // Bytes of the low halves and, from 64 on, of the high ones.
        let mut pairs = [[0; BLOCK]; 2];
        let mut i = 0;
        while i < 2 * BLOCK {
            pairs[i / BLOCK][i % BLOCK] = (i / 2 + i % 2 * BLOCK) as u8;
            i += 1;
        }
        pairs
    };
    let [a, b, c] = [load(window, 0), load(window, 1), load(window, 2)];
    let and = |x, byte: u8| _mm512_and_si512(x, _mm512_set1_epi8(byte as i8));
    // Shifts of 16 bits at once: what crosses bytes is masked away.
    let high = _mm512_or_si512(and(_mm512_slli_epi16::<4>(a), 0xf0), and(_mm512_srli_epi16::<2>(b), 0x0f));
    let low = _mm512_or_si512(and(_mm512_slli_epi16::<6>(b), 0xc0), and(c, 0x3f));
    let full = is(high, 0xff);
    let high = _mm512_sub_epi8(high, _mm512_set1_epi8(0x20));
    let high = _mm512_mask_blend_epi8(full, high, _mm512_set1_epi8(0x01));
    let mut codes = [0; BLOCK];
    for (i, pairs) in PAIRS.iter().enumerate() {
        let numbers = _mm512_permutex2var_epi8(low, load(pairs, 0), high);
        let half = &mut codes[i * BLOCK / 2..][..BLOCK / 2];
        // SAFETY: the store writes the 32 numbers and needs no alignment.
        unsafe { _mm512_storeu_si512(half.as_mut_ptr().cast(), numbers) };
    }
    codes
}

#[target_feature(enable = "avx512f,avx512vl")]
#[inline]
fn found(flags: &[u32; MOST_CODED]) -> [u64; 3] {
    let mut found = [0; 3];
    // Eight at a time, as they have been stored, so that the loads need not wait.
    for (i, flags) in flags.as_chunks::<8>().0.iter().enumerate() {
        // SAFETY: the load reads the 8 numbers and needs no alignment.
        let x = unsafe { _mm256_loadu_si256(flags.as_ptr().cast()) };
        let is = |x, number: u32| _mm256_cmpeq_epi32_mask(x, _mm256_set1_epi32(number as i32)) as u64;
        found[0] |= is(_mm256_srli_epi32::<2>(x), 0) << (8 * i);
        found[1] |= is(x, Pairs::ONE) << (8 * i);
        found[2] |= is(_mm256_srli_epi32::<1>(x), Pairs::ODD >> 1) << (8 * i);
    }
    found
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,bmi1,lzcnt,popcnt")]
#[inline]
fn stretches(starts: u64, at: &mut [u32; ROOM], len: &mut [u32; ROOM]) -> usize {
    const PLACES: [u8; BLOCK] = {
        let mut places = [0; BLOCK];
        let mut i = 0;
        while i < BLOCK {
            places[i] = i as u8;
            i += 1;
        }
        places
    };
    let ends = starts & !1;
    let begins = (starts | 1) & !(1 << (63 - (starts | 1).leading_zeros()));
    let places = load(&PLACES, 0);
    let from = _mm512_maskz_compress_epi8(begins, places);
    let bytes = _mm512_sub_epi8(_mm512_maskz_compress_epi8(ends, places), from);
    let count = ends.count_ones() as usize;
    let mut store = |i: usize, from: __m128i, bytes: __m128i| {
        let (at, len) = (&mut at[i..i + 16], &mut len[i..i + 16]);
        // SAFETY: the stores write 16 numbers each and need no alignment.
        unsafe {
            _mm512_storeu_si512(at.as_mut_ptr().cast(), _mm512_cvtepu8_epi32(from));
            _mm512_storeu_si512(len.as_mut_ptr().cast(), _mm512_cvtepu8_epi32(bytes));
        }
    };
    store(0, _mm512_extracti32x4_epi32::<0>(from), _mm512_extracti32x4_epi32::<0>(bytes));
    if count > 16 {
        store(16, _mm512_extracti32x4_epi32::<1>(from), _mm512_extracti32x4_epi32::<1>(bytes));
    }
    if count > 32 {
        store(32, _mm512_extracti32x4_epi32::<2>(from), _mm512_extracti32x4_epi32::<2>(bytes));
        store(48, _mm512_extracti32x4_epi32::<3>(from), _mm512_extracti32x4_epi32::<3>(bytes));
    }
    count
}
