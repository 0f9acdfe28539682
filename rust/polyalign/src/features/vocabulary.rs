//! Words met before, with what never changes about them, so that it is worked out once.

use super::characters::Kind;
use super::language::Language;
use super::lines::Lines;
use super::word_classes::{Classes, classes};
use twox_hash::XxHash3_64;

/// A word in lower case that fits 16 bytes, filled up with zeros.
type Short = u128;

/// What is known of a word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    /// Where its bytes lie, if they are more than 16.
    long: Option<(u32, u32)>,
    pub classes: Classes,
    /// Characters.
    pub characters: u32,
    /// Letters among them.
    pub letters: u32,
    /// ASCII letters' vowel groups; 1 for a word without letters.
    pub syllables: u32,
}

/// A place for a word: its key beside its number, so that looking it up reads one line of memory.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The bytes of a short word; the hash of a long one.
    key: Short,
    /// The number plus 1; 0 is free.
    number: u32,
    /// Bytes of a short word, [`LONG`] for a long one.
    len: u32,
}

const LONG: u32 = u32::MAX;
const FREE: Slot = Slot { key: 0, number: 0, len: 0 };

/// Words of one language, numbered as they come. Kept from text to text up to a bound.
#[derive(Debug)]
pub(super) struct Vocabulary {
    language: Language,
    /// By hash. Its length is a power of two, at least twice the words.
    slots: Vec<Slot>,
    words: Vec<Word>,
    /// By word: the last response it was met in, and its number among the types there.
    met: Vec<(u32, u32)>,
    /// By word: the last response whose user message it was met in.
    asked: Vec<u32>,
    /// The bytes of long words.
    bytes: Vec<u8>,
    lower: String,
    /// The number of the response under way.
    response: u32,
    /// Lines that words were numbered of.
    pub lines: Lines,
}

const SLOTS: usize = 1 << 12;
/// Words, and bytes of long ones, above which all are forgotten before the next response.
const MAX_WORDS: usize = 1 << 16;
const MAX_BYTES: usize = 4 << 20;

impl Vocabulary {
    pub fn new(language: Language) -> Self {
        Self {
            language,
            slots: vec![FREE; SLOTS],
            words: Vec::new(),
            met: Vec::new(),
            asked: Vec::new(),
            bytes: Vec::new(),
            lower: String::new(),
            response: 0,
            lines: Lines::default(),
        }
    }

    /// Begins a response.
    pub fn begin(&mut self) {
        if self.words.len() > MAX_WORDS || self.bytes.len() > MAX_BYTES || self.response == u32::MAX {
            *self = Self::new(self.language);
        }
        self.response += 1;
    }

    /// Forgets all words, and begins the response anew.
    pub fn renew(&mut self) {
        *self = Self::new(self.language);
        self.response = 1;
    }

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    pub fn word(&self, number: u32) -> &Word {
        &self.words[number as usize]
    }

    /// The number of a word among the types of the response: `types`, if it is the first of its type.
    #[inline]
    pub fn type_of(&mut self, number: u32, types: u32) -> u32 {
        let met = &mut self.met[number as usize];
        if met.0 != self.response {
            *met = (self.response, types);
        }
        met.1
    }

    /// The number of a word among the types of the response, if it is one.
    #[inline]
    pub fn known_type(&self, number: u32) -> Option<u32> {
        let (response, local) = self.met[number as usize];
        (response == self.response).then_some(local)
    }

    /// Whether a word is asked for the first time in the response's user message.
    #[inline]
    pub fn ask(&mut self, number: u32) -> bool {
        std::mem::replace(&mut self.asked[number as usize], self.response) != self.response
    }

    /// The number of the word of any case at a place of a text.
    #[inline]
    pub fn number(&mut self, text: &str, (start, end): (u32, u32)) -> u32 {
        match short(text.as_bytes(), start as usize, end as usize) {
            Some(short) => match self.find_short(short, (end - start) as usize) {
                Ok(number) => number,
                Err(slot) => self.insert_short(slot, short, &text[start as usize..end as usize]),
            },
            None => self.number_of_cased(&text[start as usize..end as usize]),
        }
    }

    /// The number among the types of the response of the word of any case at a place of a text, if it is one.
    #[cold]
    pub fn known(&mut self, text: &str, (start, end): (u32, u32)) -> Option<u32> {
        let number = match short(text.as_bytes(), start as usize, end as usize) {
            Some(short) => self.find_short(short, (end - start) as usize),
            None => {
                self.lower(&text[start as usize..end as usize]);
                match short_of(&self.lower) {
                    Some(short) => self.find_short(short, self.lower.len()),
                    None => self.find_long(&self.lower),
                }
            }
        };
        self.known_type(number.ok()?)
    }

    fn lower(&mut self, word: &str) {
        self.lower.clear();
        self.lower.extend(word.chars().flat_map(char::to_lowercase));
    }

    /// Of a word that is long, or whose lower case ASCII alone does not tell.
    #[cold]
    fn number_of_cased(&mut self, word: &str) -> u32 {
        self.lower(word);
        let lower = std::mem::take(&mut self.lower);
        let number = match short_of(&lower) {
            Some(short) => match self.find_short(short, lower.len()) {
                Ok(number) => number,
                Err(slot) => self.insert_short(slot, short, &lower),
            },
            None => match self.find_long(&lower) {
                Ok(number) => number,
                Err(slot) => {
                    let at = self.bytes.len() as u32;
                    self.bytes.extend_from_slice(lower.as_bytes());
                    let key = XxHash3_64::oneshot(lower.as_bytes());
                    self.insert(slot, key.into(), LONG, Some((at, lower.len() as u32)), &lower)
                }
            },
        };
        self.lower = lower;
        number
    }

    fn insert_short(&mut self, slot: usize, short: Short, word: &str) -> u32 {
        self.insert(slot, short, word.len() as u32, None, word)
    }

    /// The number of a long word, or the free slot where it belongs.
    fn find_long(&self, lower: &str) -> Result<u32, usize> {
        let key = XxHash3_64::oneshot(lower.as_bytes());
        let is_it = |slot: &Slot| {
            let long = self.words[slot.number as usize - 1].long;
            long.is_some_and(|(at, len)| &self.bytes[at as usize..(at + len) as usize] == lower.as_bytes())
        };
        self.find(key, key.into(), LONG, is_it)
    }

    /// The word's number, or the free slot where it belongs.
    #[inline]
    fn find_short(&self, short: Short, len: usize) -> Result<u32, usize> {
        self.find(hash_short(short, len), short, len as u32, |_| true)
    }

    #[inline]
    fn find(&self, hash: u64, key: Short, len: u32, is_it: impl Fn(&Slot) -> bool) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut at = (hash >> 32) as usize & mask;
        loop {
            let slot = &self.slots[at];
            if slot.number == 0 {
                return Err(at);
            }
            if slot.key == key && slot.len == len && is_it(slot) {
                return Ok(slot.number - 1);
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    fn insert(&mut self, slot: usize, key: Short, len: u32, long: Option<(u32, u32)>, word: &str) -> u32 {
        // Short words come here as they are written.
        let lower: String = word.chars().flat_map(char::to_lowercase).collect();
        self.words.push(Word {
            long,
            classes: classes(&lower, self.language),
            characters: lower.chars().count() as u32,
            letters: lower.chars().filter(|c| Kind::of(*c).is_letter()).count() as u32,
            syllables: syllables(&lower),
        });
        self.met.push((0, 0));
        self.asked.push(0);
        self.slots[slot] = Slot { key, number: self.words.len() as u32, len };
        // Few are met in a text of usual length; of very many, memory counts for more than how soon they are found.
        let room = if self.slots.len() >= 1 << 18 { self.slots.len() / 8 * 7 } else { self.slots.len() / 2 };
        if self.words.len() > room {
            self.grow();
        }
        self.words.len() as u32 - 1
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        let old = std::mem::replace(&mut self.slots, vec![FREE; mask + 1]);
        for slot in old.into_iter().filter(|slot| slot.number > 0) {
            let hash =
                if slot.len == LONG { slot.key as u64 } else { hash_short(slot.key, slot.len as usize) };
            let mut at = (hash >> 32) as usize & mask;
            while self.slots[at].number != 0 {
                at = (at + 1) & mask;
            }
            self.slots[at] = slot;
        }
    }
}

/// The bytes in lower case, if they are at most 16 and ASCII alone tells the case: Han and Kana have none.
#[inline]
fn short(bytes: &[u8], start: usize, end: usize) -> Option<Short> {
    const HIGH: u128 = u128::from_le_bytes([0x80; 16]);
    const EACH: u128 = u128::from_le_bytes([0x01; 16]);
    let len = end - start;
    if len > 16 {
        return None;
    }
    let block = match bytes.get(start..).and_then(<[u8]>::first_chunk::<16>) {
        Some(block) => Short::from_le_bytes(*block) & MASKS[len],
        None => {
            let mut block = [0; 16];
            block[..len].copy_from_slice(&bytes[start..end]);
            Short::from_le_bytes(block)
        }
    };
    if block & HIGH != 0 && block.to_le_bytes().iter().any(|byte| matches!(byte, 0xC0..=0xE2 | 0xEA..)) {
        // Lead bytes of two bytes, of U+1000 to U+2FFF, and of what lies beyond Han.
        return None;
    }
    let low = block & !HIGH;
    let at_least_a = low + EACH * (0x80 - b'A') as u128;
    let above_z = low + EACH * (0x7F - b'Z') as u128;
    Some(block | (at_least_a & !above_z & !block & HIGH) >> 2)
}

/// The first bytes of a block.
const MASKS: [Short; 17] = {
    let mut masks = [0; 17];
    let mut len = 1;
    while len <= 16 {
        masks[len] = Short::MAX >> (8 * (16 - len));
        len += 1;
    }
    masks
};

/// The bytes of a word in lower case, if they are at most 16.
fn short_of(lower: &str) -> Option<Short> {
    let mut block = [0; 16];
    block.get_mut(..lower.len())?.copy_from_slice(lower.as_bytes());
    Some(Short::from_le_bytes(block))
}

#[inline]
fn hash_short(short: Short, len: usize) -> u64 {
    let (low, high) = (short as u64, (short >> 64) as u64);
    let folded =
        u128::from(low ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(u128::from(high ^ 0xE703_7ED1_A0B4_28DB));
    (folded as u64 ^ (folded >> 64) as u64 ^ len as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Vowel groups of the ASCII letters of a word of any case, less a silent e at the end; at least 1.
pub(super) fn syllables(word: &str) -> u32 {
    let is_vowel = |letter: &u8| b"aeiouy".contains(letter);
    let (mut letters, mut groups, mut in_group) = (0_u32, 0_u32, false);
    let mut last = [0_u8; 2];
    for letter in word.bytes().map(|byte| byte.to_ascii_lowercase()).filter(u8::is_ascii_lowercase) {
        letters += 1;
        groups += u32::from(is_vowel(&letter) && !in_group);
        in_group = is_vowel(&letter);
        last = [last[1], letter];
    }
    if letters <= 3 {
        return 1;
    }
    let silent = last[1] == b'e' && !matches!(last[0], b'l' | b'y');
    if silent && groups > 1 { groups - 1 } else { groups.max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn words_are_the_same_if_they_are_in_lower_case(words in prop::collection::vec("[a-cA-CÉéß你Ａａ']{1,9}|[aAbB]{12,40}", 1..400)) {
            let mut vocabulary = Vocabulary::new(Language::English);
            let mut known: HashMap<String, u32> = HashMap::new();
            for word in &words {
                let lower: String = word.chars().flat_map(char::to_lowercase).collect();
                let number = vocabulary.number(word, (0, word.len() as u32));
                prop_assert_eq!(*known.entry(lower).or_insert(number), number);
                let within = format!("a{word} and more than sixteen bytes after it");
                prop_assert_eq!(vocabulary.number(&within, (1, 1 + word.len() as u32)), number);
            }
            let numbers: std::collections::HashSet<u32> = known.values().copied().collect();
            prop_assert_eq!(numbers.len(), known.len());
        }
    }

    #[test]
    fn many_long_words_are_told_apart() {
        let mut vocabulary = Vocabulary::new(Language::Spaced);
        let mut number = |i: u32| {
            let word = format!("averyveryverylongword{i}");
            vocabulary.number(&word, (0, word.len() as u32))
        };
        let numbers: Vec<u32> = (0..20_000).map(&mut number).collect();
        (0..20_000).for_each(|i| assert_eq!(number(i), numbers[i as usize]));
        assert_eq!(*numbers.last().unwrap(), 19_999);
    }

    #[test]
    fn syllables_are_vowel_groups() {
        let cases =
            [("the", 1), ("made", 1), ("table", 2), ("beautiful", 3), ("1999", 1), ("eye", 1), ("rhythm", 1)];
        cases.iter().for_each(|(word, expected)| assert_eq!(syllables(word), *expected, "{word}"));
    }
}
