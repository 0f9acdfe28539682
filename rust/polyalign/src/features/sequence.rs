//! The words of a text as a sequence of types: which are the same, and which pairs and triples recur.

use super::vocabulary::Vocabulary;

/// A set of numbers that numbers its members as they come.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    /// Member and its number, by hash; its length is a power of two.
    slots: Vec<(u64, u32)>,
    len: u32,
}

const FREE: u64 = u64::MAX;

impl Numbering {
    /// Empties the set, with room for `members`.
    pub fn clear(&mut self, members: usize) {
        let size = (2 * members).next_power_of_two().max(16);
        self.slots.clear();
        self.slots.resize(size, (FREE, 0));
        self.len = 0;
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
    /// The number of each pair, in order.
    pub pair_numbers: Vec<u32>,
}

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
        self.pairs.clear(self.types.len());
        self.pair_numbers.clear();
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
        scratch.clear(self.types.len());
        for (&pair, &third) in self.pair_numbers.iter().zip(self.types.iter().skip(2)) {
            scratch.number(pair_key(pair, third));
        }
        scratch.len()
    }
}

/// Two numbers below 2³² as one.
#[inline]
pub(super) fn pair_key(first: u32, second: u32) -> u64 {
    u64::from(first) << 32 | u64::from(second)
}
