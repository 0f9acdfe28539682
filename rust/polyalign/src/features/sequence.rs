//! The words of a text as a sequence of types: which are the same, and which pairs and triples recur.

use super::vocabulary::Vocabulary;

/// A set of numbers that numbers its members as they come.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    /// Member and its number, by hash; its length is a power of two.
    slots: Vec<(u64, u32)>,
    len: u32,
    /// All members, ascending, in place of `slots` where they are many: a quarter of the memory.
    sorted: Vec<u64>,
}

const FREE: u64 = u64::MAX;

impl Numbering {
    /// Empties the set, with room for `members`.
    pub fn clear(&mut self, members: usize) {
        let size = (2 * members).next_power_of_two().max(16);
        self.slots.clear();
        self.slots.resize(size, (FREE, 0));
        self.len = 0;
        self.sorted.clear();
    }

    /// Holds these members, each numbered by its place among all.
    fn sort(&mut self, members: impl Iterator<Item = u64>) {
        self.clear(0);
        self.sorted.extend(members);
        self.sorted.sort_unstable();
        self.sorted.dedup();
        self.sorted.shrink_to_fit();
        self.len = self.sorted.len() as u32;
    }

    pub fn len(&self) -> u32 {
        self.len
    }

    /// The number of a member, which is added if it is new. There must be room.
    #[inline]
    pub fn number(&mut self, member: u64) -> u32 {
        let slot = self.slot(member);
        if self.slots[slot].0 == FREE {
            self.slots[slot] = (member, self.len);
            self.len += 1;
        }
        self.slots[slot].1
    }

    /// The number of a member, if it is one.
    #[inline]
    pub fn get(&self, member: u64) -> Option<u32> {
        if !self.sorted.is_empty() {
            return self.sorted.binary_search(&member).ok().map(|at| at as u32);
        }
        let (found, number) = self.slots[self.slot(member)];
        (found != FREE).then_some(number)
    }

    #[inline]
    fn slot(&self, member: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = (member.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize & mask;
        while self.slots[slot].0 != member && self.slots[slot].0 != FREE {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

/// Words in order, each as the number of its type.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// The type of each word, numbered by first occurrence.
    pub types: Vec<u32>,
    /// By type: its number in the vocabulary.
    pub vocabulary: Vec<u32>,
    /// By type: how often it occurs.
    pub counts: Vec<u32>,
    /// Pairs of types in a row.
    pub pairs: Numbering,
    /// The number of each pair, in order; none where there are more than [`MANY`] words.
    pub pair_numbers: Vec<u32>,
}

/// Words above which pairs and triples are sorted rather than hashed: slower, in a fraction of the memory.
const MANY: usize = 1 << 18;

impl Sequence {
    /// The words at these places of a text, which is the response that the vocabulary has begun.
    pub fn fill(&mut self, text: &str, places: &[(u32, u32)], vocabulary: &mut Vocabulary) {
        self.types.clear();
        self.vocabulary.clear();
        self.counts.clear();
        for &place in places {
            let number = vocabulary.number(text, place);
            let types = self.counts.len() as u32;
            let of_word = vocabulary.type_of(number, types);
            if of_word == types {
                self.counts.push(0);
                self.vocabulary.push(number);
            }
            self.counts[of_word as usize] += 1;
            self.types.push(of_word);
        }
        self.pair_numbers.clear();
        let keys = self.types.windows(2).map(|pair| pair_key(pair[0], pair[1]));
        if self.types.len() > MANY {
            return self.pairs.sort(keys);
        }
        self.pairs.clear(self.types.len());
        for pair in self.types.windows(2) {
            self.pair_numbers.push(self.pairs.number(pair_key(pair[0], pair[1])));
        }
    }

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Different triples of words in a row.
    pub fn triples(&self, scratch: &mut Numbering) -> u32 {
        if self.types.len() > MANY {
            return self.triples_in_parts(PARTS);
        }
        scratch.clear(self.types.len());
        for (&pair, &third) in self.pair_numbers.iter().zip(self.types.iter().skip(2)) {
            scratch.number(pair_key(pair, third));
        }
        scratch.len()
    }

    /// The same, a part of the triples at a time.
    fn triples_in_parts(&self, parts: u64) -> u32 {
        let mut distinct = 0;
        let mut triples: Vec<u128> = Vec::new();
        for part in 0..parts {
            triples.clear();
            triples.extend(self.types.windows(3).filter_map(|of| {
                let pair = pair_key(of[0], of[1]);
                let mixed = (pair ^ u64::from(of[2]).rotate_left(17)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                ((mixed >> 32) % parts == part).then(|| u128::from(pair) << 32 | u128::from(of[2]))
            }));
            triples.sort_unstable();
            triples.dedup();
            distinct += triples.len() as u32;
        }
        distinct
    }
}

/// Parts that triples are counted in where words are many.
const PARTS: u64 = 16;

/// Two numbers below 2³² as one.
#[inline]
pub(super) fn pair_key(first: u32, second: u32) -> u64 {
    u64::from(first) << 32 | u64::from(second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorted_and_hashed_are_the_same(types in prop::collection::vec(0_u32..9, 0..200), parts in 1_u64..5) {
            let pairs = || types.windows(2).map(|pair| pair_key(pair[0], pair[1]));
            let (mut hashed, mut sorted) = (Numbering::default(), Numbering::default());
            hashed.clear(types.len());
            let pair_numbers = pairs().map(|pair| hashed.number(pair)).collect();
            sorted.sort(pairs());
            prop_assert_eq!(hashed.len(), sorted.len());
            for pair in (0..81).map(|pair| pair_key(pair / 9, pair % 9)) {
                prop_assert_eq!(hashed.get(pair).is_some(), sorted.get(pair).is_some());
                prop_assert!(sorted.get(pair).is_none_or(|number| number < sorted.len()));
            }
            let sequence = Sequence { types: types.clone(), pair_numbers, ..Sequence::default() };
            let of_parts = sequence.triples_in_parts(parts);
            prop_assert_eq!(sequence.triples(&mut Numbering::default()), of_parts);
        }
    }
}
