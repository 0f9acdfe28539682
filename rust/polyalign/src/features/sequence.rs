//! The words of a text as a sequence of types: which are the same, and which pairs and triples recur.

use super::vocabulary::Vocabulary;
use crate::Result;
use crate::error::unless_stopped;
use std::sync::atomic::AtomicBool;

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
    fn sort(&mut self, members: impl Iterator<Item = u64>, stop: &AtomicBool) -> Result<()> {
        self.clear(0);
        sort_distinct(members, &mut self.sorted, stop)?;
        self.len = self.sorted.len() as u32;
        Ok(())
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

/// The different ones of `members` into `sorted`, ascending; never more than twice as many lie there.
fn sort_distinct<T: Copy + Ord>(
    mut members: impl Iterator<Item = T>,
    sorted: &mut Vec<T>,
    stop: &AtomicBool,
) -> Result<()> {
    sorted.clear();
    loop {
        unless_stopped(stop)?;
        let before = sorted.len();
        sorted.extend(members.by_ref().take(before.max(1 << 16)));
        if sorted.len() == before {
            return Ok(());
        }
        sorted.sort_unstable();
        sorted.dedup();
    }
}

/// Where the words of texts come from.
pub(super) trait Source {
    /// Puts the places of words from byte `at` of a text on into `places`, emptied first: as many as are at hand.
    /// Returns where to go on. Where there are very many words, a text is asked for again.
    fn part(&mut self, text: &str, at: usize, places: &mut Vec<(u32, u32)>) -> usize;

    /// Is told the words of a text, in order, each once.
    fn met(&mut self, _text: &str, _places: &[(u32, u32)]) {}

    /// Is told types, by first occurrence: each one's number in the vocabulary and how often it occurs.
    fn counted(&mut self, _vocabulary: &Vocabulary, _numbers: &[u32], _counts: &[u32]) {}
}

/// Words in order, each as the number of its type.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// The type of each word of the first text, numbered by first occurrence.
    pub types: Vec<u32>,
    /// The types of the words of the other texts.
    pub others: Vec<u32>,
    /// Where in `others` each of these ends.
    pub ends: Vec<usize>,
    /// By type: how often it occurs.
    pub counts: Vec<u32>,
    /// Pairs of types in a row, in the first text.
    pub pairs: Numbering,
    /// The number of each pair, in order; none where there are more than [`MANY`] words.
    pub pair_numbers: Vec<u32>,
    /// By type of one pass: its number in the vocabulary.
    numbers: Vec<u32>,
    places: Vec<(u32, u32)>,
}

/// Words above which pairs and triples are sorted rather than hashed: slower, in a fraction of the memory.
const MANY: usize = 1 << 18;

/// The type of a word that a later pass will number.
const LATER: u32 = u32::MAX;

/// Bytes of texts whose words are numbered in one pass.
const SHORT: usize = super::LONG;

/// Where a part of the texts begins.
#[derive(Clone, Copy, Default)]
struct Start {
    text: usize,
    byte: usize,
    word: usize,
}

impl Sequence {
    /// The words of the response that the vocabulary has begun, and of other texts.
    ///
    /// A vocabulary takes many times the bytes of its words. So the words of long texts are numbered in passes, each
    /// of as many types as little memory holds.
    ///
    /// # Errors
    /// [`Interrupted`](crate::Error::Interrupted) soon after `stop` is set.
    pub fn fill(
        &mut self,
        texts: &[&str],
        vocabulary: &mut Vocabulary,
        source: &mut impl Source,
        stop: &AtomicBool,
    ) -> Result<()> {
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        self.number(texts, vocabulary, source, if bytes > SHORT { bytes / 64 } else { bytes }, stop)?;
        self.pair_numbers.clear();
        let keys = self.types.windows(2).map(|pair| pair_key(pair[0], pair[1]));
        if self.types.len() > MANY {
            return self.pairs.sort(keys, stop);
        }
        self.pairs.clear(self.types.len());
        for key in keys {
            self.pair_numbers.push(self.pairs.number(key));
        }
        Ok(())
    }

    /// Numbers the words in passes of about `room` types.
    fn number(
        &mut self,
        texts: &[&str],
        vocabulary: &mut Vocabulary,
        source: &mut impl Source,
        room: usize,
        stop: &AtomicBool,
    ) -> Result<()> {
        self.types.clear();
        self.ends.clear();
        self.counts.clear();
        let mut left = self.pass(texts, Start::default(), vocabulary, source, room, stop)?;
        while let Some(start) = left {
            vocabulary.renew();
            left = self.pass(texts, start, vocabulary, source, room, stop)?;
        }
        self.others.clear();
        if texts.len() > 1 {
            let first = self.ends.remove(0);
            self.others.extend(self.types.drain(first..));
            self.ends.iter_mut().for_each(|end| *end -= first);
        }
        Ok(())
    }

    /// Numbers words from the start on that have no number, until there is no room for more types; the first part with
    /// words that are left.
    fn pass(
        &mut self,
        texts: &[&str],
        start: Start,
        vocabulary: &mut Vocabulary,
        source: &mut impl Source,
        room: usize,
        stop: &AtomicBool,
    ) -> Result<Option<Start>> {
        let Self { types, counts, numbers, places, ends, .. } = self;
        let (first_type, most) = (counts.len(), vocabulary.len().saturating_add(room));
        let mut left = None;
        let mut part = start;
        numbers.clear();
        for (at, text) in texts.iter().enumerate().skip(start.text) {
            part = if at == start.text { start } else { Start { text: at, byte: 0, word: part.word } };
            while part.byte < text.len() {
                unless_stopped(stop)?;
                let end = source.part(text, part.byte, places);
                if part.word == types.len() {
                    source.met(text, places);
                    types.resize(part.word + places.len(), LATER);
                }
                let has_room = vocabulary.len() < most;
                for (of_word, &place) in types[part.word..].iter_mut().zip(&*places) {
                    if *of_word != LATER {
                        continue;
                    }
                    if has_room {
                        let number = vocabulary.number(text, place);
                        *of_word = vocabulary.type_of(number, counts.len() as u32);
                        if *of_word as usize == counts.len() {
                            counts.push(0);
                            numbers.push(number);
                        }
                    } else if let Some(known) = vocabulary.known(text, place) {
                        *of_word = known;
                    } else {
                        left = left.or(Some(part));
                        continue;
                    }
                    counts[*of_word as usize] += 1;
                }
                part = Start { byte: end, word: part.word + places.len(), ..part };
            }
            if ends.len() == at {
                ends.push(part.word);
            }
        }
        source.counted(vocabulary, numbers, &counts[first_type..]);
        Ok(left)
    }

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Different triples of words in a row.
    ///
    /// # Errors
    /// [`Interrupted`](crate::Error::Interrupted) soon after `stop` is set.
    pub fn triples(&self, scratch: &mut Numbering, stop: &AtomicBool) -> Result<u32> {
        if self.types.len() > MANY {
            return self.triples_in_parts(PARTS, stop);
        }
        scratch.clear(self.types.len());
        for (&pair, &third) in self.pair_numbers.iter().zip(self.types.iter().skip(2)) {
            scratch.number(pair_key(pair, third));
        }
        Ok(scratch.len())
    }

    /// The same, a part of the triples at a time.
    fn triples_in_parts(&self, parts: u64, stop: &AtomicBool) -> Result<u32> {
        let mut distinct = 0;
        let mut triples: Vec<u128> = Vec::new();
        for part in 0..parts {
            let of_part = self.types.windows(3).filter_map(|of| {
                let pair = pair_key(of[0], of[1]);
                let mixed = (pair ^ u64::from(of[2]).rotate_left(17)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                ((mixed >> 32) % parts == part).then(|| u128::from(pair) << 32 | u128::from(of[2]))
            });
            sort_distinct(of_part, &mut triples, stop)?;
            distinct += triples.len() as u32;
        }
        Ok(distinct)
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
    use super::super::language::Language;
    use super::*;
    use proptest::prelude::*;

    static GO_ON: AtomicBool = AtomicBool::new(false);

    /// Words between blanks, a few at a time; notes what it is told.
    #[derive(Default)]
    struct Blanks {
        met: usize,
        counts: Vec<u32>,
    }

    impl Source for Blanks {
        fn part(&mut self, text: &str, at: usize, places: &mut Vec<(u32, u32)>) -> usize {
            places.clear();
            let (mut end, mut start) = (at, at);
            for word in text[at..].split_inclusive(' ').take(3) {
                end += word.len();
                places.push((start as u32, (start + word.trim_end().len()) as u32));
                start = end;
            }
            places.retain(|(start, end)| start < end);
            end
        }

        fn met(&mut self, _: &str, places: &[(u32, u32)]) {
            self.met += places.len();
        }

        fn counted(&mut self, _: &Vocabulary, numbers: &[u32], counts: &[u32]) {
            assert_eq!(numbers.len(), counts.len());
            self.counts.extend(counts);
        }
    }

    proptest! {
        #[test]
        fn passes_do_not_matter(
            texts in prop::collection::vec("([a-dA-D]{1,2} | |[ab]{18,19} ){0,60}", 1..4), room in 0_usize..9
        ) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let number = |room| {
                let (mut sequence, mut source) = (Sequence::default(), Blanks::default());
                let mut vocabulary = Vocabulary::new(Language::English);
                // Words of an earlier response, which are no types of this one.
                vocabulary.begin();
                for word in ["a", "bb", "c"] {
                    vocabulary.number(word, (0, word.len() as u32));
                }
                vocabulary.begin();
                sequence.number(&texts, &mut vocabulary, &mut source, room, &GO_ON).unwrap();
                assert_eq!(sequence.counts, source.counts);
                assert_eq!(source.met, sequence.types.len() + sequence.others.len());
                (sequence.types, sequence.others, sequence.ends, sequence.counts)
            };
            let mut types: Vec<String> = Vec::new();
            let mut expected = texts.iter().flat_map(|text| text.split_whitespace()).map(|word| {
                let word = word.to_lowercase();
                types.iter().position(|known| *known == word).unwrap_or_else(|| {
                    types.push(word);
                    types.len() - 1
                }) as u32
            });
            let found = number(room.max(1));
            prop_assert!(found.0.iter().chain(&found.1).copied().eq(expected.by_ref()));
            prop_assert_eq!(found, number(usize::MAX));
        }

        #[test]
        fn sorted_and_hashed_are_the_same(types in prop::collection::vec(0_u32..9, 0..200), parts in 1_u64..5) {
            let pairs = || types.windows(2).map(|pair| pair_key(pair[0], pair[1]));
            let (mut hashed, mut sorted) = (Numbering::default(), Numbering::default());
            hashed.clear(types.len());
            let pair_numbers = pairs().map(|pair| hashed.number(pair)).collect();
            sorted.sort(pairs(), &GO_ON).unwrap();
            prop_assert_eq!(hashed.len(), sorted.len());
            for pair in (0..81).map(|pair| pair_key(pair / 9, pair % 9)) {
                prop_assert_eq!(hashed.get(pair).is_some(), sorted.get(pair).is_some());
                prop_assert!(sorted.get(pair).is_none_or(|number| number < sorted.len()));
            }
            let sequence = Sequence { types: types.clone(), pair_numbers, ..Sequence::default() };
            let of_parts = sequence.triples_in_parts(parts, &GO_ON).unwrap();
            prop_assert_eq!(sequence.triples(&mut Numbering::default(), &GO_ON).unwrap(), of_parts);
        }
    }

    #[test]
    fn a_few_members_that_come_often_take_little_room() {
        let mut sorted = Vec::new();
        sort_distinct((0..3_000_000_u64).map(|at| at % 1000), &mut sorted, &GO_ON).unwrap();
        assert!(sorted.iter().copied().eq(0..1000));
        assert!(sorted.capacity() < 1 << 18);
        let stopped = sort_distinct(0..10, &mut sorted, &AtomicBool::new(true));
        assert!(matches!(stopped, Err(crate::Error::Interrupted)));
    }
}
