//! Masks of text that mixes ASCII with Han and the common punctuation of three bytes, one bit per character.
//!
//! The rules of [`blocks`](super::blocks) are about neighbouring characters, so the masks of bytes are gathered to one
//! bit a character, and the starts that are found so are spread to the bytes again. As cl100k cuts:
//!
//! ```text
//! text          好 的 ， ok       three bytes each, and two
//! leads         1..1..1..11      bytes that start a character
//! han           1..1.......
//! punctuation   ......1....
//! gathered      11...            Han, the bits at `leads` alone (PEXT)
//! found         1.1..            starts, by character: 好的|，ok
//! starts        1.....1....      the same at `leads` (PDEP)
//! ```

#[cfg(target_arch = "x86_64")]
use super::super::han::Pairs;
#[cfg(target_arch = "x86_64")]
use super::blocks::below;
use super::blocks::{BLOCK, Masks};
#[cfg(target_arch = "x86_64")]
use crate::cpu::Avx2;

/// A block and enough beyond it to load 16 bytes from each of its positions.
pub(in super::super) const WINDOW: usize = BLOCK + 16;

/// As many characters of three bytes as start in a block, and a few more.
pub(in super::super) const MOST_CODED: usize = 24;

/// What [`Machine::stretches`] may write to.
pub(in super::super) const ROOM: usize = BLOCK + 16;

/// The characters that start in a block.
pub(in super::super) struct Wide {
    /// By character. What is neither ASCII, Han nor common punctuation is `wide`, and so are apostrophes.
    pub masks: Masks,
    /// The bytes that start a character; the other masks are of such bytes too.
    pub leads: u64,
    /// Han and common punctuation: characters of three bytes.
    pub coded: u64,
    pub han: u64,
    pub ascii: u64,
}

/// What the loop does with the instructions that a processor has.
pub(in super::super) trait Machine: Copy {
    /// Whether there are instructions for [`Self::wide`].
    const WIDE: bool;
    fn masks(self, block: &[u8; BLOCK]) -> Masks;
    fn wide(self, masks: &Masks, window: &[u8; WINDOW]) -> Wide;
    /// The number ([`code`](super::super::codes::code)) of the character that starts at each byte, where it is
    /// one of those that have one.
    fn codes(self, window: &[u8; WINDOW]) -> [u16; BLOCK];
    /// Of what [`Pairs::find`] gave: which are there, which are [`Pairs::ONE`], which are [`Pairs::ODD`].
    fn found(self, flags: &[u32; MOST_CODED]) -> [u64; 3];
    /// Puts the lowest bits where `places` has its bits.
    fn spread(self, bits: u64, places: u64) -> u64;
    /// Where the stretches between the bits of `starts` begin, and their lengths; returns how many there are. The
    /// first begins at 0. What is written beyond them means nothing.
    #[inline(always)]
    fn stretches(self, starts: u64, at: &mut [u32; ROOM], len: &mut [u32; ROOM]) -> usize {
        let mut bits = starts & !1;
        let count = bits.count_ones() as usize;
        let (mut i, mut from) = (0, 0);
        // Eight at a time: the number of rounds is easy to predict.
        while i < count {
            for _ in 0..8 {
                let to = bits.trailing_zeros();
                at[i] = from;
                len[i] = to.wrapping_sub(from);
                from = to;
                bits &= bits.wrapping_sub(1);
                i += 1;
            }
        }
        count
    }
    /// Of four pairs of numbers the second where the pair is `key`, but for the highest byte; 0 if none is.
    #[inline(always)]
    fn matched(self, first: &[u64; 4], second: &[u64; 4], key: [u64; 2]) -> u64 {
        let is_key = |i: usize| (first[i] ^ key[0]) | (second[i] ^ key[1]) << 8 == 0;
        (0..4).map(|i| if is_key(i) { second[i] } else { 0 }).fold(0, |all, one| all | one)
    }
    /// Runs code that is compiled for the machine.
    fn run<R>(self, code: impl FnOnce() -> R) -> R;
}

/// Any processor.
#[derive(Clone, Copy)]
pub(in super::super) struct Portable;

impl Machine for Portable {
    const WIDE: bool = false;
    #[inline(always)]
    fn masks(self, block: &[u8; BLOCK]) -> Masks {
        Masks::portable(block)
    }
    #[inline(always)]
    fn wide(self, _: &Masks, _: &[u8; WINDOW]) -> Wide {
        unreachable!("asked for only where WIDE is set")
    }
    #[inline(always)]
    fn codes(self, _: &[u8; WINDOW]) -> [u16; BLOCK] {
        unreachable!("asked for only where WIDE is set")
    }
    #[inline(always)]
    fn found(self, _: &[u32; MOST_CODED]) -> [u64; 3] {
        unreachable!("asked for only where WIDE is set")
    }
    #[inline(always)]
    fn spread(self, _: u64, _: u64) -> u64 {
        0
    }
    #[inline(always)]
    fn run<R>(self, code: impl FnOnce() -> R) -> R {
        code()
    }
}

#[cfg(target_arch = "x86_64")]
impl Machine for Avx2 {
    const WIDE: bool = true;
    #[inline(always)]
    fn masks(self, block: &[u8; BLOCK]) -> Masks {
        // SAFETY: `self` proves that the processor has AVX2.
        unsafe { Masks::avx2(block) }
    }
    #[inline(always)]
    fn wide(self, masks: &Masks, window: &[u8; WINDOW]) -> Wide {
        // SAFETY: `self` proves that the processor has AVX2 and BMI2.
        unsafe { Wide::avx2(masks, window) }
    }
    #[inline(always)]
    fn codes(self, window: &[u8; WINDOW]) -> [u16; BLOCK] {
        // SAFETY: `self` proves that the processor has AVX2.
        unsafe { codes_avx2(window) }
    }
    #[inline(always)]
    fn found(self, flags: &[u32; MOST_CODED]) -> [u64; 3] {
        // SAFETY: `self` proves that the processor has AVX2.
        unsafe { found_avx2(flags) }
    }
    #[inline(always)]
    fn matched(self, first: &[u64; 4], second: &[u64; 4], key: [u64; 2]) -> u64 {
        // SAFETY: `self` proves that the processor has AVX2.
        unsafe { matched_avx2(first, second, key) }
    }
    #[inline(always)]
    fn spread(self, bits: u64, places: u64) -> u64 {
        // SAFETY: `self` proves that the processor has BMI2.
        unsafe { std::arch::x86_64::_pdep_u64(bits, places) }
    }
    #[inline(always)]
    fn run<R>(self, code: impl FnOnce() -> R) -> R {
        Avx2::run(self, code)
    }
}

#[cfg(target_arch = "x86_64")]
impl Wide {
    /// From the masks of the block's bytes.
    #[target_feature(enable = "avx2,bmi2")]
    #[inline]
    fn avx2(m: &Masks, window: &[u8; WINDOW]) -> Self {
        let first: &[u8; 34] = window[..34].try_into().expect("34 of 80 bytes");
        let second: &[u8; 34] = window[32..66].try_into().expect("34 of 80 bytes");
        let [first, second] = [Self::half(first), Self::half(second)];
        let join = |i: usize| first[i] as u64 | (second[i] as u64) << 32;
        Self::of(m, join(0), join(1), join(2))
    }

    /// From the masks of bytes, of all and of those that start a character.
    #[target_feature(enable = "bmi2")]
    #[inline]
    pub(super) fn of(m: &Masks, leads: u64, han: u64, punctuation: u64) -> Self {
        let coded = han | punctuation;
        let by_char = |bytes: u64| std::arch::x86_64::_pext_u64(bytes, leads);
        let masks = Masks {
            upper: by_char(m.upper),
            lower: by_char(m.lower),
            digit: by_char(m.digit),
            // As in a block of bytes, spaces follow the end.
            space: by_char(m.space) | !below(leads.count_ones() as usize),
            tab: by_char(m.tab),
            newline: by_char(m.newline),
            apostrophe: 0,
            control: by_char(m.control),
            wide: by_char(m.wide & !coded | m.apostrophe),
            han: by_char(han),
            marks: by_char(punctuation),
        };
        Self { masks, leads, coded, han, ascii: !m.wide }
    }

    /// Leads, Han and punctuation among 32 bytes that two more follow.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn half(bytes: &[u8; 34]) -> [u32; 3] {
        use std::arch::x86_64::*;
        // SAFETY: the loads read 32 bytes at 0, 1 and 2 of the 34 and need no alignment.
        let [a, b, c] = [0, 1, 2].map(|i| unsafe { _mm256_loadu_si256(bytes.as_ptr().add(i).cast()) });
        let bits = |v| _mm256_movemask_epi8(v) as u32;
        let is = |x, byte: u8| _mm256_cmpeq_epi8(x, _mm256_set1_epi8(byte as i8));
        let within = |x, first: u8, last: u8| {
            let from = _mm256_sub_epi8(x, _mm256_set1_epi8(first as i8));
            _mm256_cmpeq_epi8(_mm256_min_epu8(from, _mm256_set1_epi8((last - first) as i8)), from)
        };
        let or = |x, y| _mm256_or_si256(x, y);
        let and = |x, y| _mm256_and_si256(x, y);
        // U+4E00 to U+9F7F.
        let han = or(
            within(a, 0xe5, 0xe8),
            or(and(is(a, 0xe4), within(b, 0xb8, 0xbf)), and(is(a, 0xe9), within(b, 0x80, 0xbd))),
        );
        // U+2010 to U+2027.
        let quotes = and(and(is(a, 0xe2), is(b, 0x80)), within(c, 0x90, 0xa7));
        // U+3001 to U+3003 and U+3008 to U+3011.
        let stops = and(and(is(a, 0xe3), is(b, 0x80)), or(within(c, 0x81, 0x83), within(c, 0x88, 0x91)));
        // U+FF01 to U+FF0F and U+FF1A to U+FF20.
        let full = and(and(is(a, 0xef), is(b, 0xbc)), or(within(c, 0x81, 0x8f), within(c, 0x9a, 0xa0)));
        [!bits(within(a, 0x80, 0xbf)), bits(han), bits(or(quotes, or(stops, full)))]
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn codes_avx2(window: &[u8; WINDOW]) -> [u16; BLOCK] {
    use std::arch::x86_64::*;
    let mut codes = [0; BLOCK];
    for half in [0, 32] {
        // SAFETY: the loads read 32 bytes at 0 to 34 of the 80 and need no alignment.
        let [a, b, c] =
            [0, 1, 2].map(|i| unsafe { _mm256_loadu_si256(window.as_ptr().add(half + i).cast()) });
        let all = |byte: u8| _mm256_set1_epi8(byte as i8);
        let and = |x, byte| _mm256_and_si256(x, all(byte));
        let or = |x, y| _mm256_or_si256(x, y);
        // Shifts of 16 bits at once: what crosses bytes is masked away.
        let high = or(and(_mm256_slli_epi16::<4>(a), 0xf0), and(_mm256_srli_epi16::<2>(b), 0x0f));
        let low = or(and(_mm256_slli_epi16::<6>(b), 0xc0), and(c, 0x3f));
        let full = _mm256_cmpeq_epi8(high, all(0xff));
        let high = _mm256_blendv_epi8(_mm256_sub_epi8(high, all(0x20)), all(0x01), full);
        let (even, odd) = (_mm256_unpacklo_epi8(low, high), _mm256_unpackhi_epi8(low, high));
        let first = _mm256_permute2x128_si256::<0x20>(even, odd);
        let second = _mm256_permute2x128_si256::<0x31>(even, odd);
        // SAFETY: the stores write 16 numbers each, at 0, 16, 32 and 48 of the 64, and need no alignment.
        unsafe {
            _mm256_storeu_si256(codes.as_mut_ptr().add(half).cast(), first);
            _mm256_storeu_si256(codes.as_mut_ptr().add(half + 16).cast(), second);
        }
    }
    codes
}

/// [`Machine::matched`]. Written out, since the compiler takes branches to it, which are hard to predict.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn matched_avx2(first: &[u64; 4], second: &[u64; 4], key: [u64; 2]) -> u64 {
    use std::arch::x86_64::*;
    // SAFETY: the loads read four numbers each and need no alignment.
    let [a, b] = [first, second].map(|four| unsafe { _mm256_loadu_si256(four.as_ptr().cast()) });
    let [x, y] = key.map(|number| _mm256_set1_epi64x(number as i64));
    let differ = _mm256_or_si256(_mm256_xor_si256(a, x), _mm256_slli_epi64::<8>(_mm256_xor_si256(b, y)));
    let found = _mm256_and_si256(b, _mm256_cmpeq_epi64(differ, _mm256_setzero_si256()));
    let two = _mm_or_si128(_mm256_castsi256_si128(found), _mm256_extracti128_si256::<1>(found));
    _mm_cvtsi128_si64(_mm_or_si128(two, _mm_unpackhi_epi64(two, two))) as u64
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn found_avx2(flags: &[u32; MOST_CODED]) -> [u64; 3] {
    use std::arch::x86_64::*;
    let mut found = [0; 3];
    for (i, flags) in flags.as_chunks::<8>().0.iter().enumerate() {
        // SAFETY: the load reads the 8 numbers and needs no alignment.
        let x = unsafe { _mm256_loadu_si256(flags.as_ptr().cast()) };
        let bits = |v| _mm256_movemask_ps(_mm256_castsi256_ps(v)) as u64;
        let is = |x, number| bits(_mm256_cmpeq_epi32(x, _mm256_set1_epi32(number)));
        found[0] |= is(_mm256_srli_epi32::<2>(x), 0) << (8 * i);
        found[1] |= is(x, Pairs::ONE as i32) << (8 * i);
        found[2] |= is(_mm256_srli_epi32::<1>(x), (Pairs::ODD >> 1) as i32) << (8 * i);
    }
    found
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::super::super::codes::code;
    use super::super::super::unicode::{PUNCTUATION, TABLE, UNCASED};
    use super::*;
    use crate::cpu::Avx512Vbmi2;

    #[test]
    fn classes_of_three_bytes_agree_with_the_table() {
        if let Some(machine) = Avx2::get() {
            classes_agree(machine);
        }
        if let Some(machine) = Avx512Vbmi2::get() {
            classes_agree(machine);
        }
    }

    fn classes_agree(machine: impl Machine) {
        let (mut han, mut marks) = (0, 0);
        for c in '\u{80}'..=char::MAX {
            for before in [0, 1, 29, 30, 31, 59, 60, 61, 62, 63] {
                let mut window = [b' '; WINDOW];
                c.encode_utf8(&mut window[before..]);
                let bytes: [u8; BLOCK] = window[..BLOCK].try_into().unwrap();
                assert_eq!(machine.masks(&bytes), Masks::portable(&bytes));
                let wide = machine.wide(&Masks::portable(&bytes), &window);
                let at = |mask: u64| mask >> before & 1 != 0;
                if let Some(code) = code(c as u32) {
                    assert_eq!(machine.codes(&window)[before] as u32, code, "{c:?}");
                }
                assert!(!at(wide.coded) || code(c as u32).is_some(), "{c:?}");
                assert!(at(wide.leads) && at(wide.masks.wide | wide.masks.han | wide.masks.marks), "{c:?}");
                assert_eq!(at(wide.masks.han | wide.masks.marks), at(wide.coded), "{c:?}");
                let class = TABLE.class(c as u32);
                if at(wide.masks.han) {
                    assert!(class == UNCASED && ('\u{4e00}'..='\u{9fa5}').contains(&c), "{c:?}");
                    han += 1;
                }
                if at(wide.masks.marks) {
                    assert_eq!(class, PUNCTUATION, "{c:?}");
                    marks += 1;
                }
            }
        }
        assert_eq!((han, marks), (10 * (0x9f80 - 0x4e00), 10 * (24 + 3 + 10 + 15 + 7)));
    }
}
