//! Telling languages in Latin script apart, by how likely each language's letters follow each other.
//!
//! `latin.bin` is made by the example `language_model`: for some ten thousand strings of up to five
//! letters, word boundaries among them, what their last letter costs each language after the others.
//! A text costs a language the sum over its letters, each by the longest string known that ends in it.

use std::sync::LazyLock;

/// The costs, compressed.
const MODEL: &[u8] = include_bytes!("latin.bin");
/// Costs of this much are one nat: a text is e times less likely.
pub(super) const NAT: i16 = 8;
/// Languages of the model at most, with the column of what all have in common.
pub(super) const COLUMNS: usize = 64;

/// The languages of the model, by column.
pub(super) fn languages() -> &'static [&'static str] {
    &COSTS.languages
}

static COSTS: LazyLock<Costs> = LazyLock::new(|| Costs::read(MODEL));

/// What stands between words, and letters that the model doesn't know.
const BOUNDARY: u8 = 1;
const UNKNOWN: u8 = 2;
const FIRST_LETTER: u8 = 3;
/// Letters before U+02B0 and from U+1E00 to U+1EFF have symbols by table.
const LOW: usize = 0x2B0;
const HIGH: std::ops::Range<usize> = 0x1E00..0x1F00;
/// Letters that a string has at most.
const ORDER: u32 = 5;

#[repr(align(64))]
#[derive(Clone, Copy)]
struct Row([u8; COLUMNS]);

/// The key in the upper 40 bits, whether longer strings end in it in bit 16, the row in the lower 16.
/// An empty slot is 0.
#[derive(Clone, Copy)]
struct Slot(u64);

impl Slot {
    const HAS_LONGER: u64 = 1 << 16;

    fn key(self) -> u64 {
        self.0 >> 24
    }
}

/// The row, and whether longer strings end in these two symbols.
type Pair = (u16, bool);

struct Costs {
    languages: Vec<&'static str>,
    /// Symbols of the characters of `LOW` and `HIGH`, in either case.
    symbols: Vec<u8>,
    symbol_count: usize,
    rows: Vec<Row>,
    /// The row of symbol 0; the others follow.
    singles: u16,
    /// Of two symbols, in order: the row, and whether longer strings end in them. No row: 0.
    pairs: Vec<Pair>,
    /// Open addressing over strings of three to five symbols.
    longer: Vec<Slot>,
}

impl Costs {
    fn read(file: &'static [u8]) -> Self {
        let file = zstd::decode_all(file).expect("latin.bin is zstd");
        let mut rest = &file[..];
        let mut take = |bytes: usize| {
            let (head, tail) = rest.split_at(bytes);
            rest = tail;
            head
        };
        let number =
            |bytes: &[u8]| bytes.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        let letters = number(take(4)) as usize;
        let letters: Vec<char> =
            take(4 * letters).chunks(4).filter_map(|c| char::from_u32(number(c) as u32)).collect();
        let count = number(take(4)) as usize;
        let tag = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let languages: Vec<&'static str> = take(4 * count)
            .chunks(4)
            .filter_map(|bytes| super::language::primary_subtag(&tag(bytes)))
            .collect();
        let row_count = number(take(4)) as usize;
        let keys: Vec<u64> = take(5 * row_count).chunks(5).map(number).collect();
        let mut rows = vec![Row([0; COLUMNS]); row_count + 1];
        for column in 0..=count {
            for (row, &cost) in rows[1..].iter_mut().zip(take(row_count)) {
                row.0[column] = cost;
            }
        }
        let symbol_count = letters.len() + usize::from(FIRST_LETTER);
        let mut costs = Self {
            languages,
            symbols: symbols(&letters),
            symbol_count,
            singles: rows.len() as u16,
            rows,
            pairs: vec![(0, false); symbol_count * symbol_count],
            longer: vec![Slot(0); (2 * row_count).next_power_of_two()],
        };
        costs.index(&keys);
        costs
    }

    /// Keys are in order of their lengths: what longer ones end in is there before them.
    fn index(&mut self, keys: &[u64]) {
        let mut singles = vec![Row([0; COLUMNS]); self.symbol_count];
        for (row, &key) in (1u16..).zip(keys) {
            match symbols_of(key) {
                1 => singles[key as usize] = self.rows[usize::from(row)],
                2 => {
                    let pair = self.pair(key);
                    self.pairs[pair].0 = row;
                }
                length => {
                    let slot = self.slot(key);
                    self.longer[slot] = Slot(key << 24 | u64::from(row));
                    let end = key & ((1 << (8 * (length - 1))) - 1);
                    if length == 3 {
                        let pair = self.pair(end);
                        self.pairs[pair].1 = true;
                    } else {
                        let slot = self.slot(end);
                        self.longer[slot].0 |= Slot::HAS_LONGER;
                    }
                }
            }
        }
        // Single symbols come behind all else, by symbol.
        self.rows.extend(singles);
    }

    fn pair(&self, key: u64) -> usize {
        (key >> 8 & 0xFF) as usize * self.symbol_count + (key & 0xFF) as usize
    }

    #[inline(always)]
    fn slot(&self, key: u64) -> usize {
        let mask = self.longer.len() - 1;
        let mut slot = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as usize & mask;
        while self.longer[slot].key() != key && self.longer[slot].0 != 0 {
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// The row of the longest string known that ends in the last symbol of `key`.
    #[inline(always)]
    fn row(&self, key: u64) -> u16 {
        let length = symbols_of(key);
        let (mut row, mut has_longer) = self.pairs[self.pair(key)];
        if length < 2 || row == 0 {
            return self.singles + (key & 0xFF) as u16;
        }
        let mut symbols = 3;
        while has_longer && symbols <= length {
            let found = self.longer[self.slot(key & ((1 << (8 * symbols)) - 1))].0;
            if found == 0 {
                break;
            }
            (row, has_longer) = (found as u16, found & Slot::HAS_LONGER != 0);
            symbols += 1;
        }
        row
    }

    #[inline(always)]
    fn symbol(&self, c: char) -> u8 {
        match c as usize {
            code if code < LOW => self.symbols[code],
            code if HIGH.contains(&code) => self.symbols[LOW + code - HIGH.start],
            _ if c.is_alphabetic() => UNKNOWN,
            _ => BOUNDARY,
        }
    }
}

fn symbols_of(key: u64) -> u32 {
    (64 - key.leading_zeros()).div_ceil(8)
}

fn symbols(letters: &[char]) -> Vec<u8> {
    let all = (0..LOW).chain(HIGH).filter_map(|code| char::from_u32(code as u32));
    all.map(|c| {
        let lower = c.to_lowercase().next().unwrap_or(c);
        match letters.iter().position(|&letter| letter == lower) {
            Some(at) => FIRST_LETTER + at as u8,
            None if c.is_alphabetic() => UNKNOWN,
            None => BOUNDARY,
        }
    })
    .collect()
}

/// What a word speaks against a language at most: one name in another language is not that language.
const MOST_OF_A_WORD: u16 = 7 * NAT as u16;
/// Letters of a word; what is longer is taken apart.
const MOST_LETTERS: usize = 64;

/// What a word costs.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Word {
    /// Per column, beyond the least.
    costs: [u8; COLUMNS],
}

/// What words that were met cost: most of a text are words that come again.
#[derive(Default)]
pub(super) struct Words {
    /// Their bytes, ASCII in lower case; 0: none. Empty until one is asked for.
    keys: Vec<u128>,
    words: Vec<Word>,
    /// What they cost at least, and their letters and the boundary.
    bases: Vec<(u16, u16)>,
}

impl Words {
    const SLOTS: usize = 4096;
    /// Words of more bytes are not remembered.
    const MAX_BYTES: usize = 16;

    /// The word whose bytes `key` are; one that has its slot goes.
    #[inline]
    fn get(&mut self, costs: &Costs, key: u128, word: &str) -> (&Word, (u16, u16)) {
        if self.keys.is_empty() {
            self.keys.resize(Self::SLOTS, 0);
            self.words.resize(Self::SLOTS, Word { costs: [0; COLUMNS] });
            self.bases.resize(Self::SLOTS, (0, 0));
        }
        let folded = (key >> 64) as u64 ^ (key as u64).rotate_left(29);
        let slot = (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 52) as usize % Self::SLOTS;
        if self.keys[slot] != key {
            self.keys[slot] = key;
            (self.words[slot], self.bases[slot]) = costs.word(word);
        }
        (&self.words[slot], self.bases[slot])
    }
}

impl Costs {
    /// What a word of at most [`MOST_LETTERS`] costs, and what [`Words::bases`] has of it.
    fn word(&self, word: &str) -> (Word, (u16, u16)) {
        let mut sums = [0u16; COLUMNS];
        let (mut key, mut letters) = (u64::from(BOUNDARY), 0);
        for c in word.chars().chain(std::iter::once(' ')) {
            key = (key & ((1 << (8 * (ORDER - 1))) - 1)) << 8 | u64::from(self.symbol(c));
            for (sum, &cost) in sums.iter_mut().zip(&self.rows[usize::from(self.row(key))].0) {
                *sum += u16::from(cost);
            }
            letters += 1;
        }
        let own = self.languages.len();
        let least = sums[..own].iter().copied().min().unwrap_or(0);
        let mut costs = [0; COLUMNS];
        for (cost, sum) in costs.iter_mut().zip(&sums[..own]) {
            *cost = (sum - least).min(MOST_OF_A_WORD) as u8;
        }
        (Word { costs }, (sums[own] + least, letters))
    }
}

/// The first bytes, at most 16, as a number, ASCII letters in lower case.
#[inline(always)]
fn pack(bytes: &[u8], count: usize) -> u128 {
    let all = match bytes.first_chunk() {
        Some(first) => u128::from_le_bytes(*first) & u128::MAX >> (8 * (Words::MAX_BYTES - count)),
        None => bytes[..count].iter().rev().fold(0, |key, &byte| key << 8 | u128::from(byte)),
    };
    // What is not ASCII stays.
    let lower = u128::from_le_bytes([0x20; 16]) & !(all >> 2) & u128::MAX >> (8 * (Words::MAX_BYTES - count));
    all | lower
}

/// What a text costs each language of the model.
#[derive(Clone, Copy)]
pub(super) struct Evidence {
    costs: [i16; COLUMNS],
    base: u32,
    letters: u32,
}

impl Default for Evidence {
    fn default() -> Self {
        Self { costs: [0; COLUMNS], base: 0, letters: 0 }
    }
}

impl Evidence {
    /// Adds a piece of a text; words end where it does.
    pub(super) fn add(&mut self, text: &str, words: &mut Words) {
        let costs = &*COSTS;
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let start = at;
            while let Some(&byte) = bytes.get(at) {
                at += if byte.is_ascii() {
                    if !byte.is_ascii_alphabetic() {
                        break;
                    }
                    1
                } else {
                    let Some(c) = text[at..].chars().next().filter(|&c| costs.symbol(c) != BOUNDARY) else {
                        break;
                    };
                    c.len_utf8()
                };
            }
            let word = &text[start..at];
            match word.len() {
                0 => at += text[at..].chars().next().map_or(1, char::len_utf8),
                length @ 1..=Words::MAX_BYTES => {
                    let (word, base) = words.get(costs, pack(&bytes[start..], length), word);
                    self.add_word(word, base);
                }
                _ => self.add_long(costs, word),
            }
        }
    }

    fn add_long(&mut self, costs: &Costs, word: &str) {
        let mut rest = word;
        while !rest.is_empty() {
            let end = rest.char_indices().nth(MOST_LETTERS).map_or(rest.len(), |(end, _)| end);
            let (word, base) = costs.word(&rest[..end]);
            self.add_word(&word, base);
            rest = &rest[end..];
        }
    }

    #[inline]
    fn add_word(&mut self, word: &Word, (base, letters): (u16, u16)) {
        for (sum, &cost) in self.costs.iter_mut().zip(&word.costs) {
            *sum = sum.saturating_add(i16::from(cost));
        }
        self.base += u32::from(base);
        self.letters += u32::from(letters);
    }

    /// What the text costs the languages, by column, beyond what it costs any.
    pub(super) fn costs(&self) -> &[i16; COLUMNS] {
        &self.costs
    }

    /// What the text costs whichever language, at least.
    pub(super) fn base(&self) -> u32 {
        self.base
    }

    /// Letters that were looked at, and a boundary a word.
    pub(super) fn letters(&self) -> u32 {
        self.letters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn the_file_is_well_formed() {
        let costs = &*COSTS;
        assert!((40..COLUMNS).contains(&costs.languages.len()));
        assert!(costs.languages.iter().all(|tag| super::super::language::primary_subtag(tag) == Some(*tag)));
        assert!(costs.rows.len() <= usize::from(u16::MAX));
        let taken = costs.longer.iter().filter(|slot| slot.0 != 0).count();
        assert!(taken * 2 < costs.longer.len(), "{taken}");
    }

    /// Costs of a text, a letter at a time, each by the longest string in a map.
    fn slow(text: &str) -> (Vec<u32>, u32) {
        let costs = &*COSTS;
        let mut rows: HashMap<u64, u16> =
            (0..costs.symbol_count as u64).map(|key| (key, costs.singles + key as u16)).collect();
        for first in 0..costs.symbol_count as u64 {
            for second in 0..costs.symbol_count as u64 {
                let key = first << 8 | second;
                if costs.pairs[costs.pair(key)].0 != 0 {
                    rows.insert(key, costs.pairs[costs.pair(key)].0);
                }
            }
        }
        rows.extend(costs.longer.iter().filter(|slot| slot.0 != 0).map(|slot| (slot.key(), slot.0 as u16)));
        let mut sums = vec![0; costs.languages.len()];
        let mut base = 0;
        for word in text.split(|c| costs.symbol(c) == BOUNDARY).filter(|word| !word.is_empty()) {
            let symbols: Vec<u64> =
                word.chars().map(|c| u64::from(costs.symbol(c))).chain([u64::from(BOUNDARY)]).collect();
            let mut word_sums = vec![0u32; sums.len()];
            for end in 0..symbols.len() {
                let all: Vec<u64> = [u64::from(BOUNDARY)].iter().chain(&symbols[..=end]).copied().collect();
                let from = all.len().saturating_sub(ORDER as usize);
                let longest = (from..all.len())
                    .find_map(|at| rows.get(&all[at..].iter().fold(0, |key, symbol| key << 8 | symbol)));
                let row = &costs.rows[usize::from(*longest.unwrap())].0;
                word_sums.iter_mut().zip(row).for_each(|(sum, &cost)| *sum += u32::from(cost));
                base += u32::from(row[sums.len()]);
            }
            let least = *word_sums.iter().min().unwrap();
            base += least;
            for (sum, cost) in sums.iter_mut().zip(word_sums) {
                *sum += (cost - least).min(u32::from(MOST_OF_A_WORD));
            }
        }
        (sums, base)
    }

    #[test]
    fn costs_are_those_of_one_letter_at_a_time() {
        let mut words = Words::default();
        for text in [
            "The quick brown fox, isn't it?",
            "ÇA VA BIEN, İstanbul’da çok güzel; ђ и ж",
            "Donaudampfschifffahrtsgesellschaftskapitän",
            "Tiếng Việt rất hay, ọkọ̀ ojú irin",
            "a",
            "",
            "the The THE tHe x",
        ] {
            for _ in 0..2 {
                let mut evidence = Evidence::default();
                evidence.add(text, &mut words);
                let own = &evidence.costs()[..languages().len()];
                let (sums, base) = slow(text);
                assert_eq!(own.iter().map(|&cost| cost as u32).collect::<Vec<_>>(), sums, "{text}");
                assert_eq!(evidence.base(), base, "{text}");
            }
        }
    }

    #[test]
    fn words_are_packed_alike_wherever_they_stand() {
        for word in ["a", "Straße", "sixteen letters_", "É"] {
            let padded = format!("{word} and more text behind it");
            let count = word.len();
            assert_eq!(pack(padded.as_bytes(), count), pack(word.as_bytes(), count), "{word}");
        }
        assert_eq!(pack(b"The", 3), pack(b"tHE", 3));
        assert_ne!(pack("ċ".as_bytes(), 2), pack("ī".as_bytes(), 2));
    }
}
