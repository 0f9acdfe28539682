//! Where ASCII text may be cut because no token holds two neighbouring characters.
//!
//! For each character there is a set of those that may follow it in a token. Characters that are followed alike are put
//! in a group; there are eight groups at most, so that a byte says of a character by which groups it may be preceded.
//! With the tokens `▁a`, `ab` and `!!` the groups are `{▁, a}`, `{!}` and the rest, and the text `▁ab!!` is
//! `▁ab|!!`.

use super::super::pretokens::{BLOCK, Portable};
#[cfg(target_arch = "x86_64")]
use crate::cpu::{Avx2, Avx512Vbmi2};

/// Which ASCII characters some token holds in a row.
pub(super) struct Ascii {
    /// By the left character, a bit for each right one.
    joined: [u128; 128],
    /// The group of a left character, as a bit.
    left: [u8; 128],
    /// The groups that a right character is joined with.
    right: [u8; 128],
}

impl Default for Ascii {
    fn default() -> Self {
        Self { joined: [0; 128], left: [0; 128], right: [0; 128] }
    }
}

/// Groups of left characters, each a bit of a byte.
const GROUPS: usize = 8;

impl Ascii {
    /// Has two characters stay together, if both are ASCII.
    pub(super) fn join(&mut self, left: char, right: char) {
        if left.is_ascii() && right.is_ascii() {
            self.joined[left as usize] |= 1 << right as u32;
        }
    }

    /// The same with any two of a set.
    pub(super) fn join_all(&mut self, is_member: impl Fn(u8) -> bool) {
        let members = (0..128).filter(|&c| is_member(c)).fold(0, |set, c| set | 1u128 << c);
        for c in (0..128).filter(|c| members >> c & 1 != 0) {
            self.joined[c] |= members;
        }
    }

    /// Puts the characters in groups, when all are joined. Where there are too many groups, those become one that are
    /// followed most alike, and more is joined than need be.
    pub(super) fn group(&mut self) {
        // The characters of a group, and all that may follow any of them.
        let mut groups: Vec<(u128, u128)> = Vec::new();
        for (c, &followers) in self.joined.iter().enumerate() {
            match groups.iter_mut().find(|(_, f)| *f == followers) {
                Some(group) => group.0 |= 1 << c,
                None => groups.push((1 << c, followers)),
            }
        }
        while groups.len() > GROUPS {
            let pairs = (0..groups.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
            let (i, j) = pairs.min_by_key(|&(i, j)| loss(groups[i], groups[j])).expect("more than one group");
            let (members, followers) = groups.swap_remove(j);
            groups[i] = (groups[i].0 | members, groups[i].1 | followers);
        }
        for (bit, (members, followers)) in groups.into_iter().enumerate() {
            for c in 0..128 {
                self.left[c] |= ((members >> c & 1) as u8) << bit;
                self.right[c] |= ((followers >> c & 1) as u8) << bit;
            }
        }
    }

    /// Whether two ASCII characters are apart.
    #[inline(always)]
    pub(super) fn apart(&self, left: u8, right: u8) -> bool {
        self.left[left as usize & 127] & self.right[right as usize & 127] == 0
    }
}

/// How often, about, two characters more would not be cut if two groups were one.
fn loss(a: (u128, u128), b: (u128, u128)) -> u64 {
    let union = a.1 | b.1;
    weight(a.0) * weight(union & !a.1) + weight(b.0) * weight(union & !b.1)
}

/// How frequent the characters of a set are, about.
fn weight(mut set: u128) -> u64 {
    let mut sum = 0;
    while set != 0 {
        sum += match set.trailing_zeros() as u8 {
            b' ' => 1000,
            b'a'..=b'z' => 200,
            b'A'..=b'Z' | b'0'..=b'9' => 20,
            b'.' | b',' | b'\n' => 60,
            b'!'..=b'~' => 10,
            _ => 1,
        };
        set &= set - 1;
    }
    sum
}

/// Finds cuts with the instructions that a processor has.
pub(super) trait Cutting: Copy {
    /// Where ASCII characters of a block are apart from the ASCII character before; of others, and of the first, anything.
    fn apart(self, ascii: &Ascii, block: &[u8; BLOCK]) -> u64;
}

#[inline(always)]
fn one_by_one(ascii: &Ascii, block: &[u8; BLOCK]) -> u64 {
    (1..BLOCK).fold(0, |cut, i| cut | (ascii.apart(block[i - 1], block[i]) as u64) << i)
}

impl Cutting for Portable {
    #[inline(always)]
    fn apart(self, ascii: &Ascii, block: &[u8; BLOCK]) -> u64 {
        one_by_one(ascii, block)
    }
}

#[cfg(target_arch = "x86_64")]
impl Cutting for Avx2 {
    #[inline(always)]
    fn apart(self, ascii: &Ascii, block: &[u8; BLOCK]) -> u64 {
        one_by_one(ascii, block)
    }
}

#[cfg(target_arch = "x86_64")]
impl Cutting for Avx512Vbmi2 {
    #[inline(always)]
    fn apart(self, ascii: &Ascii, block: &[u8; BLOCK]) -> u64 {
        // SAFETY: `self` proves that the processor has the features.
        unsafe { apart(ascii, block) }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw,avx512vbmi")]
#[inline]
fn apart(ascii: &Ascii, block: &[u8; BLOCK]) -> u64 {
    use std::arch::x86_64::*;
    // SAFETY: the loads read 64 bytes of 64, or of 128 at 0 and 64, and need no alignment.
    let load = |bytes: &[u8], at: usize| unsafe { _mm512_loadu_si512(bytes[at..at + BLOCK].as_ptr().cast()) };
    let x = load(block, 0);
    let left = _mm512_permutex2var_epi8(load(&ascii.left, 0), x, load(&ascii.left, BLOCK));
    let right = _mm512_permutex2var_epi8(load(&ascii.right, 0), x, load(&ascii.right, BLOCK));
    // The groups of the characters before.
    const BEFORE: [u8; BLOCK] = {
        let mut before = [0; BLOCK];
        let mut i = 1;
        while i < BLOCK {
            before[i] = i as u8 - 1;
            i += 1;
        }
        before
    };
    _mm512_testn_epi8_mask(_mm512_permutexvar_epi8(load(&BEFORE, 0), left), right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opening_comment_holds() {
        let mut ascii = Ascii::default();
        for (left, right) in [(' ', 'a'), ('a', 'b'), ('!', '!')] {
            ascii.join(left, right);
        }
        ascii.group();
        let text = b" ab!!";
        let cuts: Vec<usize> = (1..text.len()).filter(|&i| ascii.apart(text[i - 1], text[i])).collect();
        assert_eq!(cuts, [3]);
    }

    /// Nothing is cut that is joined, and with few groups nothing joined that is apart; every machine finds the same.
    #[test]
    fn groups_keep_what_is_joined() {
        let mut state = 7u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 57) as u8
        };
        for kinds in [3, 8, 60] {
            let mut ascii = Ascii::default();
            for left in 0..128u8 {
                for right in 0..128u8 {
                    if left as usize % kinds == right as usize % kinds {
                        ascii.join(left as char, right as char);
                    }
                }
            }
            let joined = ascii.joined;
            ascii.group();
            for left in 0..128u8 {
                for right in 0..128u8 {
                    let is_joined = joined[left as usize] >> right & 1 != 0;
                    assert!(if is_joined {
                        !ascii.apart(left, right)
                    } else {
                        kinds > 8 || ascii.apart(left, right)
                    });
                }
            }
            let block: [u8; BLOCK] = std::array::from_fn(|_| random());
            let expected = one_by_one(&ascii, &block);
            #[cfg(target_arch = "x86_64")]
            if let Some(machine) = Avx512Vbmi2::get() {
                assert_eq!(machine.apart(&ascii, &block) & !1, expected);
            }
            assert_eq!(Portable.apart(&ascii, &block), expected);
        }
    }
}
