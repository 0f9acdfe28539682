//! Numbers below 2¹⁵ for the characters that Chinese text is made of, all of three bytes: small enough for plain
//! tables, and two of them for a key of 30 bits.
//!
//! `好` is U+597D: its number is 0x597D - 0x2000 = 0x397D. `，` is U+FF0C: 0x10C.

/// How many numbers there are.
pub(super) const CODES: usize = 1 << 15;
/// No character has this number.
pub(super) const NO_CODE: u32 = CODES as u32 - 1;

/// The number, below 2¹⁵, of a code point: Han, and the marks that come with it.
#[inline]
pub(super) fn code(c: u32) -> Option<u32> {
    match c {
        0x2010..=0x2027 | 0x3001..=0x3011 | 0x4e00..=0x9f7f => Some(c - 0x2000),
        0xff01..=0xff20 => Some(c & 0xff | 0x100),
        _ => None,
    }
}

/// The code points that have a number.
pub(super) fn coded() -> impl Iterator<Item = (u32, u32)> {
    (0x2000..=0xffff).filter_map(|c| Some((c, code(c)?)))
}

/// The code point of a number.
pub(super) fn decode(code: u32) -> u32 {
    if (0x101..=0x120).contains(&code) { code & 0xff | 0xff00 } else { code + 0x2000 }
}

/// The bytes of a code point of three.
pub(super) fn utf8(c: u32) -> [u8; 3] {
    [0xe0 | c >> 12, 0x80 | c >> 6 & 0x3f, 0x80 | c & 0x3f].map(|byte| byte as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_decode() {
        let mut seen = std::collections::HashSet::new();
        for (c, code) in coded() {
            assert!(code < 0x7fff && seen.insert(code));
            assert_eq!(decode(code), c);
            assert_eq!(utf8(c), *char::from_u32(c).unwrap().to_string().as_bytes());
        }
    }
}
