//! Where a pre-token may be cut because no token holds what lies on both sides.
//!
//! BPE never merges across such a place, so that what lies on each side is counted alone, and found again in caches. In
//! Chinese, where a pre-token may be a whole clause, that is most of the gain. Say the vocabulary has the tokens `好的`,
//! `的` with the byte E4, and the byte 84 with `你`. Then `好的` is joined (the first token), the `的你` (E7 9A 84, E4 BD A0)
//! twice: for the second token `的` is joined with all that begin with E4, for the third all characters that end with 84
//! are joined with `你`. `的好` (E5 A5 BD) is cut.

use super::codes::code;
use super::lacking::Bytes;
use super::unicode::{decode, is_continuation};

/// A hashed bit for each pair of neighbouring characters that some token spans: a collision only joins two
/// pieces, so cutting stays exact.
///
/// A token that ends within a character is entered for every character it could hold a part of, one that begins
/// within a character for every character that ends like that. After an ASCII character nothing is cut.
pub(super) struct Boundaries {
    pairs: Box<[u64; 1 << (PAIR_BITS - 6)]>,
    /// Where tokens begin within the character on the left.
    partial: Partial,
    /// The pairs of which both characters have a [`code`], as one number, with whether a token that is not of whole
    /// characters spans them.
    coded: Vec<(u32, bool)>,
    /// Characters that hold one of these are joined with what is on both sides.
    joining: Option<Bytes>,
}

/// Most pairs that are kept so: no real vocabulary has a hundredth.
const MAX_CODED: usize = 1 << 22;

const PAIR_BITS: u32 = 20;

impl Boundaries {
    pub(super) fn new() -> Self {
        let zeros = |n: usize| vec![0u64; n].into_boxed_slice();
        Self {
            pairs: zeros(1 << (PAIR_BITS - 6)).try_into().expect("made with this length"),
            partial: Partial::new(),
            coded: Vec::new(),
            joining: None,
        }
    }

    /// Has characters that hold one of these bytes joined with what is on both sides.
    pub(super) fn join_all_with(&mut self, bytes: Bytes) {
        self.joining = Some(bytes);
    }

    /// Whether a character is joined with what is on both sides, whatever that is.
    pub(super) fn joins_all(&self, c: u32) -> bool {
        let joins = |bytes: &Bytes| match char::from_u32(c) {
            Some(c) => c.encode_utf8(&mut [0; 4]).bytes().any(|byte| bytes.contains(byte)),
            None => false,
        };
        self.joining.as_ref().is_some_and(joins)
    }

    /// Enters a token.
    pub(super) fn add(&mut self, token: &[u8]) {
        if token.is_ascii() {
            return;
        }
        let partial = std::str::from_utf8(token).is_err();
        let mut start = 0;
        for at in 1..token.len() {
            if is_continuation(token[at]) {
                continue;
            }
            let (left, right) = (&token[start..at], &token[at..token.len().min(at + char_len(token[at]))]);
            start = at;
            if left[0] < 0x80 {
                continue;
            }
            let end = left[left.len() - 1] as u32;
            match (whole_char(left), whole_char(right)) {
                (Some(left), Some(right)) => self.join_pair(left, right, partial),
                (Some(left), None) if !is_four_byte_lead(right) => {
                    each_completion(right, &mut |c| self.join_pair(left, c, partial))
                }
                (None, Some(right)) => self.partial.join(end, right),
                (None, None) if right.len() == 1 && matches!(right[0], 0xe0..0xf0) => {
                    self.partial.join_lead(end, right[0])
                }
                (None, None) if !is_four_byte_lead(right) => {
                    each_completion(right, &mut |c| self.partial.join(end, c))
                }
                _ => self.partial.all_wide = true,
            }
        }
    }

    /// Enters that two characters stand in a token, whatever the left one is: where merging begins with characters.
    pub(super) fn join_chars(&mut self, left: char, right: char) {
        self.join_pair(left as u32, right as u32, false);
    }

    /// Whether two characters may stand in a token, if all were entered by [`Self::join_chars`].
    #[inline(always)]
    pub(super) fn chars_joined(&self, left: u32, right: u32) -> bool {
        let bit = pair_bit(left, right);
        self.pairs[bit >> 6] >> (bit & 63) & 1 != 0
    }

    fn join_pair(&mut self, left: u32, right: u32, partial: bool) {
        if let (Some(left), Some(right)) = (code(left), code(right))
            && self.coded.len() < MAX_CODED
        {
            self.coded.push((left << 15 | right, partial));
        }
        let bit = pair_bit(left, right);
        self.pairs[bit >> 6] |= 1 << (bit & 63);
    }

    /// Whether `c` is joined with some characters because tokens begin within them.
    pub(super) fn joined(&self, c: u16) -> bool {
        self.partial.may_join(c as u32)
    }

    /// Whether some token may begin within a character that ends like `end`, its last bytes or code point, and hold the
    /// beginning of `right`.
    pub(super) fn begins_within(&self, end: u32, right: u32) -> bool {
        self.partial.joins(end, right)
    }

    /// Whether tokens end with the first byte of a character of three bytes and begin within the character before.
    pub(super) fn has_leads(&self) -> bool {
        self.partial.leads.iter().any(|&leads| leads != 0)
    }

    /// Whether one does that where a character ends with the byte `end` and `lead` begins the next.
    #[inline(always)]
    pub(super) fn lead_joined(&self, end: u8, lead: u8) -> bool {
        self.partial.leads[end as usize & 63] >> (lead & 15) & 1 != 0
    }

    /// The pairs for Han, out of here; `None` if they are too many.
    pub(super) fn take_pairs(&mut self) -> Option<Vec<(u32, bool)>> {
        Some(std::mem::take(&mut self.coded)).filter(|pairs| pairs.len() < MAX_CODED)
    }

    /// Whether some token may hold the end of `left` and the beginning of `right`, two neighbouring characters.
    #[inline(always)]
    pub(super) fn spanned(&self, left: u32, right: u32) -> bool {
        let bit = pair_bit(left, right);
        let paired = self.pairs[bit >> 6] >> (bit & 63);
        // Without branches, but for what is rare: which boundaries are cut is hard to predict.
        let paired = (paired & 1 != 0) | (left < 0x80) | self.partial.joins(left, right);
        paired || self.joining.is_some() && (self.joins_all(left) || self.joins_all(right))
    }
}

/// Tokens that begin within a character and go on beyond it. All that is kept of that character are the six bits of its
/// last byte, which are also the last of its code point: more is joined than need be.
struct Partial {
    /// Characters that any of these tokens hold the beginning of, by the low 16 bits of the code point.
    any: Box<[u64; 1 << 10]>,
    /// The same by the last six bits of the character before, too.
    after: Box<[u64; 1 << 16]>,
    /// By the same six bits, the first bytes of characters of three bytes that end such a token.
    leads: [u16; 64],
    /// Whether all characters of four bytes are joined with whatever is before.
    all_wide: bool,
}

impl Partial {
    fn new() -> Self {
        let zeros = |n: usize| vec![0u64; n].into_boxed_slice();
        Self {
            any: zeros(1 << 10).try_into().expect("made with this length"),
            after: zeros(1 << 16).try_into().expect("made with this length"),
            leads: [0; 64],
            all_wide: false,
        }
    }

    fn join(&mut self, end: u32, c: u32) {
        let low = c as usize & 0xffff;
        self.any[low >> 6] |= 1 << (low & 63);
        self.after[(end as usize & 63) << 10 | low >> 6] |= 1 << (low & 63);
    }

    fn join_lead(&mut self, end: u32, lead: u8) {
        self.leads[end as usize & 63] |= 1 << (lead & 15);
    }

    #[inline(always)]
    fn may_join(&self, c: u32) -> bool {
        let low = c as usize & 0xffff;
        self.any[low >> 6] >> (low & 63) & 1 != 0
    }

    #[inline(always)]
    fn joins(&self, end: u32, c: u32) -> bool {
        let low = c as usize & 0xffff;
        let lead = c < 0x1_0000 && c > 0x7ff && self.leads[end as usize & 63] >> (c >> 12) & 1 != 0;
        let wide = self.all_wide && c > 0xffff;
        let after =
            self.may_join(c) && self.after[(end as usize & 63) << 10 | low >> 6] >> (low & 63) & 1 != 0;
        lead | wide | after
    }
}

#[inline(always)]
fn pair_bit(left: u32, right: u32) -> usize {
    let mixed = (left as u64) << 32 | right as u64;
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (left as u64).wrapping_mul(0xc2b2_ae3d_27d4_eb4f)) as usize
        >> (64 - PAIR_BITS)
}

fn is_four_byte_lead(part: &[u8]) -> bool {
    part.len() == 1 && part[0] >= 0xf0
}

/// Length of the character that a byte starts.
fn char_len(lead: u8) -> usize {
    match lead {
        0..0xc0 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

/// The code point, if all its bytes are there.
fn whole_char(bytes: &[u8]) -> Option<u32> {
    (!is_continuation(bytes[0]) && bytes.len() == char_len(bytes[0])).then(|| decode(bytes, 0).0)
}

/// Calls `each` on every character that begins with `part`.
fn each_completion(part: &[u8], each: &mut impl FnMut(u32)) {
    let missing = char_len(part[0]) - part.len();
    let mut bytes = [0x80; 4];
    bytes[..part.len()].copy_from_slice(part);
    let (first, _) = decode(&bytes[..char_len(part[0])], 0);
    for c in first..first + (1 << (6 * missing)) {
        each(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opening_comment_holds() {
        let spanned = |tokens: &[&[u8]], [left, right]: [char; 2]| {
            let mut boundaries = Boundaries::new();
            tokens.iter().for_each(|token| boundaries.add(token));
            boundaries.spanned(left as u32, right as u32)
        };
        let [whole, ends_within, begins_within] =
            ["好的".as_bytes(), b"\xe7\x9a\x84\xe4", b"\x84\xe4\xbd\xa0"];
        assert!(spanned(&[whole], ['好', '的']) && !spanned(&[ends_within, begins_within], ['好', '的']));
        assert!(spanned(&[ends_within], ['的', '你']) && spanned(&[begins_within], ['的', '你']));
        assert!(!spanned(&[whole], ['的', '你']));
        assert!(!spanned(&[whole, ends_within, begins_within], ['的', '好']));
    }
}
