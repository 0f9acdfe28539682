//! Pre-token starts of ASCII text, 64 bytes at a time, by bit masks.
//!
//! A mask has one bit a byte, set where the byte is of the mask's class. What is before or after a byte is asked by
//! shifting: `letter << 1` is where a letter is before. Bit 0 written first, and blanks as `_`, cl100k cuts thus:
//!
//! ```text
//! text          Hi,_it's_42_ok
//! letter        11..11.1....11
//! first         1...1..1....1.    letter & !(letter << 1)
//! blank         ...1....1..1..
//! other         ..1...1.......    punctuation: what is nothing else
//! taken         ...11..1.1..1.    (blank | other) << 1: a word takes along the one character before it
//! word          1.............    first & !taken
//! last          ...1....1..1..    blank & !(blank >> 1): of a run of blanks the last stands alone, or with a word
//! digit         .........1....    every third digit of a run, beginning with its first
//! starts        1.11..1.11.1..    word | other | last | digit: Hi|,| it|'s| |42| ok
//! ```
//!
//! A block begins where a pre-token starts, so that nothing before it matters. The starts it gives are certain
//! up to where what follows the block could change them.

use super::scan::Family;

/// Bytes of a block.
pub(in super::super) const BLOCK: usize = 64;

/// One bit per byte of a block, by class; bit 0 is the first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Masks {
    pub upper: u64,
    pub lower: u64,
    pub digit: u64,
    pub space: u64,
    /// Blanks that are neither the space nor a newline.
    pub tab: u64,
    pub newline: u64,
    pub apostrophe: u64,
    /// Controls that are not blanks.
    pub control: u64,
    /// Not ASCII, and in none of the following.
    pub wide: u64,
    /// Han. These two are only ever found by character.
    pub han: u64,
    /// Punctuation that is not ASCII.
    pub marks: u64,
}

impl Masks {
    /// The masks of a block.
    pub(in super::super) fn portable(block: &[u8; BLOCK]) -> Self {
        let mut masks = Self::default();
        for (i, &byte) in block.iter().enumerate() {
            let mask = match byte {
                b'A'..=b'Z' => &mut masks.upper,
                b'a'..=b'z' => &mut masks.lower,
                b'0'..=b'9' => &mut masks.digit,
                b' ' => &mut masks.space,
                b'\t' | 0x0b | 0x0c => &mut masks.tab,
                b'\r' | b'\n' => &mut masks.newline,
                b'\'' => &mut masks.apostrophe,
                0..0x20 | 0x7f => &mut masks.control,
                0x80.. => &mut masks.wide,
                _ => continue,
            };
            *mask |= 1 << i;
        }
        masks
    }

    /// The same by AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(in super::super) fn avx2(block: &[u8; BLOCK]) -> Self {
        let (low, high) = block.split_at(32);
        let low = Self::half(low.try_into().expect("32 of 64 bytes"));
        let high = Self::half(high.try_into().expect("32 of 64 bytes"));
        let join = |low: u32, high: u32| low as u64 | (high as u64) << 32;
        Self {
            upper: join(low[0], high[0]),
            lower: join(low[1], high[1]),
            digit: join(low[2], high[2]),
            space: join(low[3], high[3]),
            tab: join(low[4], high[4]),
            newline: join(low[5], high[5]),
            apostrophe: join(low[6], high[6]),
            control: join(low[7], high[7]),
            wide: join(low[8], high[8]),
            ..Self::default()
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    #[inline]
    fn half(bytes: &[u8; 32]) -> [u32; 9] {
        use std::arch::x86_64::*;
        // SAFETY: the load reads the 32 bytes of the array and needs no alignment.
        let x = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
        let bits = |v| _mm256_movemask_epi8(v) as u32;
        let is = |byte: u8| _mm256_cmpeq_epi8(x, _mm256_set1_epi8(byte as i8));
        // Unsigned `first <= x <= first + span`.
        let within = |first: u8, span: u8| {
            let from = _mm256_sub_epi8(x, _mm256_set1_epi8(first as i8));
            _mm256_cmpeq_epi8(_mm256_min_epu8(from, _mm256_set1_epi8(span as i8)), from)
        };
        let newline = bits(_mm256_or_si256(is(b'\r'), is(b'\n')));
        let tab = bits(within(b'\t', 4)) & !newline;
        [
            bits(within(b'A', 25)),
            bits(within(b'a', 25)),
            bits(within(b'0', 9)),
            bits(is(b' ')),
            tab,
            newline,
            bits(is(b'\'')),
            bits(_mm256_or_si256(within(0, 0x1f), is(0x7f))) & !tab & !newline,
            bits(x),
        ]
    }
}

/// Where pre-tokens start in a block: bit 0, and those that are certain.
///
/// `len` bytes of the block are text; if `end`, the text ends there, the rest of the block is spaces, and the
/// first of them counts as a start too.
/// `None` if the masks can't tell.
#[inline(always)]
pub(in super::super) fn starts(
    family: Family,
    m: &Masks,
    block: &[u8; BLOCK],
    len: usize,
    end: bool,
) -> Option<u64> {
    let stop = stops(family, m);
    let known = (stop.trailing_zeros() as usize).min(len);
    let blank = m.space | m.tab;
    let white = blank | m.newline;
    // Within two bytes of here, what an apostrophe begins is not certain.
    let seen = if end && known == len { usize::MAX } else { known };
    let starts = match family {
        Family::Gpt2 | Family::Gpt2Digits => gpt2(family, m, block, seen),
        Family::Cl100k => words(family, m, block, seen)? | groups_of_three(m.digit),
        // Marks, in which the two differ, are not for masks.
        Family::Qwen2 | Family::Qwen35 => words(family, m, block, seen)? | m.digit,
        Family::O200k | Family::Kimi => words(family, m, block, seen)?,
        Family::Tekken => words(family, m, block, seen)? | m.digit,
        Family::DeepSeek => words(family, m, block, seen)? | groups_of_three(m.digit),
    };
    if end && known == len {
        return Some(starts & below(len) | bit(len));
    }
    // Blanks that reach the edge of what is known: only where they begin is certain.
    let solid = !white & below(known);
    let edge = BLOCK - solid.leading_zeros() as usize;
    Some(starts & below(if edge < known { edge + 1 } else { known }))
}

/// The characters that masks can't deal with.
#[inline(always)]
pub(in super::super) fn stops(family: Family, m: &Masks) -> u64 {
    match family {
        // Only ASCII punctuation takes the letters after it along.
        Family::DeepSeek => m.wide | m.control | (m.upper | m.lower) & m.marks << 1,
        // Whether Han and a capital are one word depends on what follows and what precedes.
        Family::O200k | Family::Tekken => m.wide | m.upper & m.han << 1,
        _ => m.wide,
    }
}

/// The lowest `n` bits.
#[inline(always)]
pub(in super::super) fn below(n: usize) -> u64 {
    if n >= 64 { u64::MAX } else { (1 << n) - 1 }
}

/// Punctuation: all ASCII that is nothing else.
#[inline(always)]
fn punctuation(m: &Masks) -> u64 {
    !(m.upper | m.lower | m.digit | m.space | m.tab | m.newline | m.wide | m.han)
}

/// Every third digit of a run.
#[inline(always)]
fn groups_of_three(digit: u64) -> u64 {
    let mut next = digit & !(digit << 1);
    let mut starts = next;
    let third = digit & digit << 1 & digit << 2;
    while next != 0 {
        next = next << 3 & third;
        starts |= next;
    }
    starts
}

#[inline(always)]
fn gpt2(family: Family, m: &Masks, block: &[u8; BLOCK], seen: usize) -> u64 {
    let letter = m.upper | m.lower | m.han;
    let white = m.space | m.tab | m.newline;
    let other = punctuation(m);
    let begins = |class: u64| class & !(class << 1) & !(m.space << 1);
    let other_start = begins(other);
    let mut last = white & !(white >> 1 | 1 << 63);
    let mut digits = begins(m.digit);
    if family == Family::Gpt2Digits {
        // Digits are cut out first, so that the blanks before them stay whole.
        digits = m.digit;
        last &= !(m.digit >> 1);
    }
    let mut starts = begins(letter) | digits | other_start | (white & !(white << 1)) | last;
    let mut apostrophes = m.apostrophe & other_start;
    while apostrophes != 0 {
        let at = apostrophes.trailing_zeros() as usize;
        apostrophes &= apostrophes - 1;
        if at + 2 >= seen {
            return starts & below(at + 1);
        }
        let len = contraction(block, at, false);
        if len > 0 {
            starts &= !(2 << at);
            starts |= letter & bit(at + len);
        }
    }
    starts
}

/// The families whose words take along one character before them.
#[inline(always)]
fn words(family: Family, m: &Masks, block: &[u8; BLOCK], seen: usize) -> Option<u64> {
    let letter = match family {
        Family::DeepSeek | Family::Kimi => m.upper | m.lower,
        _ => m.upper | m.lower | m.han,
    };
    let blank = m.space | m.tab;
    let other = punctuation(m);
    let mut other_start = other & !(other << 1) & !(m.space << 1);
    // Newlines right after punctuation belong to it.
    let swallowed = m.newline & !m.newline.wrapping_add(other << 1 & m.newline);
    let white = (blank | m.newline) & !swallowed;
    // Blanks between two newlines belong to both: not for masks.
    let after_newline = blank & m.newline << 1;
    if after_newline.wrapping_add(blank) & !blank & m.newline != 0 {
        return None;
    }
    let mut last = blank & !((blank | m.newline) >> 1 | 1 << 63);
    if family == Family::DeepSeek {
        // Numbers and Han are cut out first, so that the blanks before them stay whole.
        last &= !((m.digit | m.han) >> 1);
    }
    let mut word_start = letter & !(letter << 1) & !((blank | other_start) << 1);
    if matches!(family, Family::DeepSeek | Family::Kimi) {
        word_start |= m.han & !(m.han << 1);
    }
    if matches!(family, Family::O200k | Family::Tekken | Family::Kimi) {
        word_start |= m.upper & m.lower << 1;
    }
    if matches!(family, Family::O200k | Family::Tekken) {
        let slashes = swallowed << 1 & other;
        if slashes != 0 && any_slash(block, slashes) {
            return None;
        }
    }
    match family {
        Family::Cl100k | Family::Qwen2 | Family::Qwen35 => {
            let mut apostrophes = m.apostrophe & other_start;
            while apostrophes != 0 {
                let at = apostrophes.trailing_zeros() as usize;
                apostrophes &= apostrophes - 1;
                let len = contraction(block, at, true);
                if len > 0 {
                    word_start |= letter & bit(at + len);
                }
            }
        }
        Family::O200k | Family::Kimi => {
            // Contractions belong to the word before them, one to a word.
            let mut apostrophes = m.apostrophe & letter << 1;
            let (mut done, mut certain) = (0, u64::MAX);
            while apostrophes != 0 {
                let at = apostrophes.trailing_zeros() as usize;
                apostrophes &= apostrophes - 1;
                if at + 2 >= seen {
                    certain = below(at);
                    break;
                }
                let len = contraction(block, at, true);
                if len > 0 && at >= done {
                    done = at + len + 1;
                    other_start &= !bit(at);
                    // The letters of the contraction start nothing, what follows them does.
                    word_start &= !(bit(at + 1) | bit(at + 2) & below(at + len));
                    word_start |= letter & bit(at + len);
                }
            }
            let starts = other_start | white & !(white << 1) | last | after_newline | word_start;
            return Some((starts | groups_of_three(m.digit)) & certain);
        }
        _ => {}
    }
    Some(other_start | (white & !(white << 1)) | last | after_newline | word_start)
}

#[inline(always)]
fn bit(at: usize) -> u64 {
    if at < 64 { 1 << at } else { 0 }
}

#[cold]
fn any_slash(block: &[u8; BLOCK], mut at: u64) -> bool {
    while at != 0 {
        if block[at.trailing_zeros() as usize] == b'/' {
            return true;
        }
        at &= at - 1;
    }
    false
}

/// Length of the contraction at an apostrophe, 0 if there is none within the block.
#[inline(always)]
fn contraction(block: &[u8; BLOCK], at: usize, fold: bool) -> usize {
    let byte = |i: usize| block.get(at + i).map_or(0, |&b| if fold { b.to_ascii_lowercase() } else { b });
    match (byte(1), byte(2)) {
        (b's' | b't' | b'm' | b'd', _) => 2,
        (b'r' | b'v', b'e') | (b'l', b'l') => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of bits in the opening comment.
    fn row(name: &str) -> u64 {
        let lines = include_str!("blocks.rs").lines();
        let row = lines.filter_map(|line| line.strip_prefix("//! ")?.strip_prefix(name)?.strip_prefix("  "));
        let bits = row.flat_map(|row| row.trim().split("  ").next());
        bits.last()
            .unwrap()
            .bytes()
            .enumerate()
            .fold(0, |mask, (i, byte)| mask | u64::from(byte == b'1') << i)
    }

    #[test]
    fn the_opening_comment_holds() {
        let text = b"Hi, it's 42 ok";
        let mut block = [b' '; BLOCK];
        block[..text.len()].copy_from_slice(text);
        let (m, text) = (Masks::portable(&block), below(text.len()));
        let letter = m.upper | m.lower;
        assert_eq!(row("letter"), letter);
        assert_eq!(row("first"), letter & !(letter << 1));
        assert_eq!(row("blank"), m.space & text);
        assert_eq!(row("other"), punctuation(&m));
        assert_eq!(row("taken"), (row("blank") | row("other")) << 1);
        assert_eq!(row("word"), row("first") & !row("taken"));
        assert_eq!(row("last"), row("blank") & !(row("blank") >> 1));
        assert_eq!(row("digit"), groups_of_three(m.digit));
        assert_eq!(row("starts"), row("word") | row("other") | row("last") | row("digit"));
        assert_eq!(starts(Family::Cl100k, &m, &block, 14, true), Some(row("starts") | 1 << 14));
    }
}
