//! What merging makes of the characters that Chinese is made of, worked out when a model is loaded: of each alone, and
//! of each pair that some token spans. Most Chinese is counted from these tables without merging anything.

use super::boundaries::Boundaries;
use super::codes::{CODES, NO_CODE, code, coded, decode, utf8};
use super::merges::{Merges, NONE, SHORT, Symbols};
use super::unicode;

/// Tables by the numbers of [`code`], of Han and of the marks that come with it.
pub(super) struct Han {
    /// Flags, and the tokens of a character that is cut off from its neighbours.
    of: Box<[u8; CODES]>,
    /// The token that a character is before any merge takes it, or [`NONE`].
    places: Box<[u32; CODES]>,
    pub(super) pairs: Pairs,
    /// Whether there are tokens that [`Boundaries::lead_joined`] is about.
    pub(super) leads: bool,
}

impl Han {
    /// Joined with some characters because tokens begin within them.
    pub(super) const JOINED: u8 = 0x80;
    /// One token alone, but several beside others, or of bytes without tokens: not for tables.
    pub(super) const ODD: u8 = 0x40;
    /// The tokens of the character where it is cut off from its neighbours.
    pub(super) const COUNT: u8 = 0x03;
    /// One token, cut or not as pairs have it.
    pub(super) const SIMPLE: u8 = 1;

    pub(super) fn empty() -> Self {
        Self {
            of: filled(0),
            places: filled(NONE),
            pairs: Pairs::build(&[]).unwrap_or_else(|| unreachable!("no pairs")),
            leads: false,
        }
    }

    /// The tables of a model; `None` if they would be too large.
    ///
    /// `pairs` are all that some token spans, each with whether a token does that is not of whole characters.
    pub(super) fn build(merges: &Merges, boundaries: &Boundaries, pairs: Vec<(u32, bool)>) -> Option<Self> {
        let mut han = Self::empty();
        let first_uses = merges.first_uses();
        let mut late = Vec::new();
        for (c, code) in coded() {
            let (bytes, at) = (utf8(c), code as usize);
            let (mut symbols, mut highest) = (merges.symbols(&bytes), 0);
            let count = merges.merge_each(&mut symbols, |rank| highest = rank.max(highest));
            let place = symbols.ids[0];
            let odd = count > 1 && merges.is_whole(&bytes) || boundaries.joins_all(c);
            let odd = if odd { Self::ODD } else { 0 };
            let joined = if boundaries.joined(c as u16) { Self::JOINED } else { 0 };
            han.of[at] = count as u8 | odd | joined;
            if han.of[at] & !Self::JOINED == Self::SIMPLE {
                han.places[at] = place;
                if first_uses.get(&place).is_some_and(|&first| first < highest) {
                    late.push(at);
                }
            }
        }
        han.leads = boundaries.has_leads();
        han.pairs = Pairs::build(&han.with_ranks(merges, boundaries, pairs))?;
        for at in late {
            han.places[at] = NONE;
        }
        Some(han)
    }

    /// Has characters be none for tables.
    pub(super) fn leave_out(&mut self, is_left_out: impl Fn(u32) -> bool) {
        for (_, code) in coded().filter(|&(c, _)| is_left_out(c)) {
            self.of[code as usize] |= Self::ODD;
        }
    }

    /// The pairs, each once, with what is known of a piece that is only the two, and the rank of their merge.
    fn with_ranks(
        &self,
        merges: &Merges,
        boundaries: &Boundaries,
        mut pairs: Vec<(u32, bool)>,
    ) -> Vec<(u32, u32)> {
        // Of two that are the same the one with the flag comes first.
        pairs.sort_unstable_by_key(|&(key, partial)| (key, !partial));
        pairs.dedup_by_key(|pair| pair.0);
        let with_rank = |&(key, partial): &(u32, bool)| {
            let codes = [key >> 15, key & 0x7fff];
            let [left, right] = codes.map(|code| self.places[code as usize]);
            let partial = partial || boundaries.begins_within(codes[0], decode(codes[1]));
            if partial || left == NONE || right == NONE {
                return (key << 2 | Pairs::ODD, NONE);
            }
            let rank = merges.rank(left, right);
            let whole = || merges.is_whole(codes.map(|code| utf8(decode(code))).as_flattened());
            let flags = match rank {
                NONE if whole() => Pairs::ODD,
                NONE => 0,
                _ => Pairs::ONE,
            };
            (key << 2 | flags, rank)
        };
        pairs.iter().map(with_rank).collect()
    }

    /// The flags and the count of a character.
    #[inline(always)]
    pub(super) fn of(&self, code: u16) -> u8 {
        self.of[code as usize & (CODES - 1)]
    }

    /// The characters of a piece as tokens, or where parts of them may be merged their bytes; false if those are more
    /// than `symbols` can hold.
    ///
    /// If no token that spans a character's two ends holds only a part of it, its bytes are merged with one another and
    /// with nothing else until they are one token; and if no merge that takes this one comes before those that make it,
    /// merging may begin with the character.
    pub(super) fn symbols(
        &self,
        merges: &Merges,
        boundaries: &Boundaries,
        piece: &[u8],
        symbols: &mut Symbols,
    ) -> bool {
        let mut chars = [Char::default(); MOST];
        let (mut n, mut at, mut left) = (0, 0, NO_CODE);
        while at < piece.len() {
            if n == MOST {
                return false;
            }
            let (c, len) = unicode::decode(piece, at);
            let right = code(c).unwrap_or(NO_CODE);
            let place = self.places[right as usize];
            chars[n] = Char { at: at as u8, len: len as u8, place, rank: NONE };
            if n > 0 {
                match self.pairs.find_rank(left, right) {
                    (Pairs::ONE, rank) => chars[n - 1].rank = rank,
                    (0, _) => {}
                    (4.., _) if left != NO_CODE && right != NO_CODE && !boundaries.begins_within(left, c) => {
                    }
                    _ => {
                        chars[n - 1].place = NONE;
                        chars[n].place = NONE;
                    }
                }
            }
            (n, at, left) = (n + 1, at + len, right);
        }
        fill(symbols, merges, piece, &chars[..n])
    }
}

/// Most characters that merging may begin with.
const MOST: usize = 32;

/// A character of a piece.
#[derive(Clone, Copy, Default)]
struct Char {
    at: u8,
    len: u8,
    /// The token that it is before anything is merged, or [`NONE`].
    place: u32,
    /// The rank of the merge with the next, or [`NONE`].
    rank: u32,
}

/// The symbols of a piece from its characters; false if they are too many.
fn fill(symbols: &mut Symbols, merges: &Merges, piece: &[u8], chars: &[Char]) -> bool {
    let bytes = |c: &Char| if c.place == NONE { c.len as usize } else { 1 };
    if chars.iter().map(bytes).sum::<usize>() > SHORT {
        return false;
    }
    let mut n = 0;
    for (i, c) in chars.iter().enumerate() {
        if c.place != NONE {
            let alone = chars.get(i + 1).is_none_or(|next| next.place == NONE);
            (symbols.ids[n], symbols.ranks[n]) = (c.place, if alone { NONE } else { c.rank });
            n += 1;
            continue;
        }
        let end = (c.at + c.len) as usize;
        // No token holds a whole character and the beginning of the next.
        let follows = chars.get(i + 1).is_some_and(|next| next.place == NONE);
        for at in c.at as usize..end {
            symbols.ids[n] = piece[at] as u32;
            let next = if at + 1 < end || follows { piece.get(at + 1) } else { None };
            symbols.ranks[n] = next.map_or(NONE, |&next| merges.rank_of_bytes(piece[at], next));
            n += 1;
        }
    }
    symbols.n = n;
    true
}

fn filled<T: Copy, const N: usize>(value: T) -> Box<[T; N]> {
    vec![value; N].try_into().unwrap_or_else(|_| unreachable!("made with this length"))
}

/// Pairs of neighbouring characters in a perfect hash: one probe says whether a pair is there.
pub(super) struct Pairs {
    /// A multiplier for each group of keys.
    seeds: Box<[u16]>,
    /// Keys and flags.
    slots: Box<[u32]>,
    /// The rank of the merge of each, or [`NONE`].
    ranks: Box<[u32]>,
    seed_shift: u32,
    slot_shift: u32,
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
/// Most slots, 4 bytes each.
const MAX_SLOT_BITS: u32 = 20;
/// No key: both would be [`NO_CODE`].
const EMPTY: u32 = u32::MAX;

impl Pairs {
    /// Alone the two are one token.
    pub(super) const ONE: u32 = 1;
    /// How many tokens the two are alone is not known here.
    pub(super) const ODD: u32 = 2;

    /// The hash of keys with their flags; `None` if they are too many.
    fn build(entries: &[(u32, u32)]) -> Option<Self> {
        let bits = (entries.len() * 9 / 8).max(64).next_power_of_two().trailing_zeros();
        (bits..=MAX_SLOT_BITS).find_map(|bits| Self::with_slots(entries, bits))
    }

    fn with_slots(entries: &[(u32, u32)], bits: u32) -> Option<Self> {
        let seed_bits = bits - 2;
        let mut hash = Self {
            seeds: vec![1; 1 << seed_bits].into(),
            slots: vec![EMPTY; 1 << bits].into(),
            ranks: vec![NONE; 1 << bits].into(),
            seed_shift: 64 - seed_bits,
            slot_shift: 64 - bits,
        };
        let mut groups = vec![Vec::new(); 1 << seed_bits];
        for &(entry, _) in entries {
            groups[hash.group(entry >> 2)].push(entry);
        }
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.sort_by_key(|&group| std::cmp::Reverse(groups[group].len()));
        for group in order {
            hash.place(group, &groups[group])?;
        }
        for &(entry, rank) in entries {
            let key = entry >> 2;
            hash.ranks[hash.slot(key, hash.seeds[hash.group(key)])] = rank;
        }
        Some(hash)
    }

    /// Finds a multiplier that puts all of a group into empty slots.
    fn place(&mut self, group: usize, entries: &[u32]) -> Option<()> {
        'seeds: for seed in (1..=u16::MAX).step_by(2) {
            for (i, &entry) in entries.iter().enumerate() {
                let slot = self.slot(entry >> 2, seed);
                if self.slots[slot] != EMPTY {
                    for &entry in &entries[..i] {
                        let slot = self.slot(entry >> 2, seed);
                        self.slots[slot] = EMPTY;
                    }
                    continue 'seeds;
                }
                self.slots[slot] = entry;
            }
            self.seeds[group] = seed;
            return Some(());
        }
        None
    }

    #[inline(always)]
    fn group(&self, key: u32) -> usize {
        ((key as u64).wrapping_mul(MIX) >> self.seed_shift) as usize
    }

    #[inline(always)]
    fn slot(&self, key: u32, seed: u16) -> usize {
        ((key as u64).wrapping_mul(MIX).wrapping_mul(seed as u64) >> self.slot_shift) as usize
    }

    /// The flags of a pair; 4 or more if no token spans it.
    #[inline(always)]
    pub(super) fn find(&self, left: u32, right: u32) -> u32 {
        let key = left << 15 | right;
        // SAFETY: the shifts leave as many bits as there are seeds, and slots.
        unsafe {
            let seed = *self.seeds.get_unchecked(self.group(key));
            *self.slots.get_unchecked(self.slot(key, seed)) ^ key << 2
        }
    }

    /// The same with the rank of the merge, or [`NONE`].
    fn find_rank(&self, left: u32, right: u32) -> (u32, u32) {
        let key = left << 15 | right;
        let slot = self.slot(key, self.seeds[self.group(key)]);
        let flags = self.slots[slot] ^ key << 2;
        (flags, if flags == Self::ONE { self.ranks[slot] } else { NONE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_and_others_are_not() {
        for n in [0, 1, 2, 60, 3_000, 40_000] {
            let entries: Vec<(u32, u32)> =
                (0..n).map(|i: u32| (i.wrapping_mul(0x9e37_79b1) & !3 | (i % 3), i)).collect();
            let pairs = Pairs::build(&entries).unwrap();
            let kept: std::collections::HashSet<u32> = entries.iter().map(|(entry, _)| entry >> 2).collect();
            for (entry, rank) in entries {
                let (left, right, flags) = (entry >> 17, entry >> 2 & 0x7fff, entry & 3);
                assert_eq!(pairs.find(left, right), flags);
                assert_eq!(pairs.find_rank(left, right), (flags, if flags == 1 { rank } else { NONE }));
            }
            for key in (0..1 << 30).step_by(99_991).filter(|key| !kept.contains(key)) {
                assert!(pairs.find(key >> 15, key & 0x7fff) >= 4);
            }
        }
    }
}
