//! The characters of everyday Chinese.

/// The 3,755 characters of level one of GB 2312 (rows 16 to 55), a row a line.
const CHARACTERS: &[u8] = include_bytes!("common.txt");

const FIRST: u32 = 0x4E00;
const COUNT: usize = 0x5200;

/// A bit for each character from [`FIRST`] on.
static BITS: [u64; COUNT / 64] = {
    let mut bits = [0; COUNT / 64];
    let mut at = 0;
    while at < CHARACTERS.len() {
        if CHARACTERS[at] < 0x80 {
            at += 1;
            continue;
        }
        let [a, b, c] = [CHARACTERS[at] as usize, CHARACTERS[at + 1] as usize, CHARACTERS[at + 2] as usize];
        let i = ((a & 0xF) << 12 | (b & 0x3F) << 6 | c & 0x3F) - FIRST as usize;
        bits[i / 64] |= 1 << (i % 64);
        at += 3;
    }
    bits
};

/// Whether `c` is one of the 3,755 characters of level one of GB 2312, the common ones of (simplified)
/// Chinese.
///
/// ```
/// use polyalign::text::chinese::is_common;
/// assert!(is_common('我'));
/// assert!(!is_common('龘') && !is_common('們') && !is_common('a') && !is_common('。'));
/// ```
#[inline]
pub fn is_common(c: char) -> bool {
    let i = (c as u32).wrapping_sub(FIRST) as usize;
    BITS.get(i / 64).is_some_and(|bits| bits >> (i % 64) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_characters_are_those_of_the_list() {
        let listed = std::str::from_utf8(CHARACTERS).expect("UTF-8");
        assert_eq!(listed.lines().count(), 40);
        assert!(listed.starts_with("啊阿埃") && listed.ends_with("尊遵昨左佐柞做作坐座\n"));
        let common = ('\0'..=char::MAX).filter(|&c| is_common(c)).count();
        assert_eq!(common, 3755);
        assert!(listed.lines().flat_map(str::chars).all(is_common));
    }
}
