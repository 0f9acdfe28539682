//! Telling languages in Latin script apart, by how likely each language's letters follow each other.
//!
//! `latin.bin` is made by the example `language_model`: for some ten thousand strings of up to five
//! letters, word boundaries among them, what their last letter costs each language after the others.
//! A text costs a language the sum over its letters, each by the longest string known that ends in it.

use crate::text::masks::{BLOCK, bits, block};
use std::sync::LazyLock;

/// The strings and their costs, compressed.
const FILE: &[u8] = include_bytes!("latin.bin");
/// Costs of this much are one nat: a text is e times less likely.
pub(super) const NAT: i16 = 8;
/// The languages of the file, by column.
pub(super) const LANGUAGES: [&str; 50] = [
    "af", "sq", "az", "eu", "bs", "ca", "hr", "cs", "da", "nl", "en", "eo", "et", "fi", "fr", "lg", "de",
    "hu", "is", "id", "ga", "it", "la", "lv", "lt", "ms", "mi", "nb", "nn", "pl", "pt", "ro", "sr", "sn",
    "sk", "sl", "so", "st", "es", "sw", "sv", "tl", "ts", "tn", "tr", "vi", "cy", "xh", "yo", "zu",
];

/// What stands between words, and letters that the model doesn't know.
const BOUNDARY: u8 = 1;
const UNKNOWN: u8 = 2;
const FIRST_LETTER: u8 = 3;
/// Letters before U+02B0 and from U+1E00 to U+1EFF have symbols by table.
const LOW: usize = 0x2B0;
const HIGH: std::ops::Range<usize> = 0x1E00..0x1F00;
/// Letters that a string has at most.
const ORDER: u32 = 5;

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::read(FILE));

/// The strings, each a row of costs.
struct Model {
    /// Symbols of the characters of `LOW` and `HIGH`, in either case.
    symbols: Vec<u8>,
    symbol_count: usize,
    /// By two symbols in order: the row of both, or that of the last, and whether longer strings end in both.
    pairs: Vec<(u16, bool)>,
    /// Open addressing over strings of three to five symbols.
    longer: Vec<Slot>,
    /// By language the cost of each row beyond the least of all languages, which are the last.
    columns: Vec<Vec<u8>>,
}

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

impl Model {
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
        let languages = number(take(4)) as usize;
        let tags = take(4 * languages).chunks(4).map(<[u8]>::trim_ascii_end);
        assert!(tags.eq(LANGUAGES.map(str::as_bytes)), "latin.bin has other languages");
        let strings = number(take(4)) as usize;
        let keys: Vec<u64> = take(5 * strings).chunks(5).map(number).collect();
        // Row 0 is that of symbols which are no string.
        let columns = (0..=languages).map(|_| [&[0], take(strings)].concat()).collect();
        let symbol_count = letters.len() + usize::from(FIRST_LETTER);
        let mut model = Self {
            symbols: symbols(&letters),
            symbol_count,
            pairs: vec![(0, false); symbol_count * symbol_count],
            longer: vec![Slot(0); (2 * strings).next_power_of_two()],
            columns,
        };
        model.index(&keys);
        model
    }

    /// Keys are in order of their lengths: what longer ones end in is there before them.
    fn index(&mut self, keys: &[u64]) {
        for (row, &key) in (1u16..).zip(keys) {
            match symbols_of(key) {
                1 => (0..self.symbol_count as u64).for_each(|before| {
                    let pair = self.pair(before << 8 | key);
                    self.pairs[pair].0 = row;
                }),
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

    /// The row of the longest string known that ends in the last symbol of `key`, which has at least two.
    #[inline(always)]
    fn row(&self, key: u64) -> usize {
        let length = symbols_of(key);
        let (mut row, mut has_longer) = self.pairs[self.pair(key)];
        let mut symbols = 3;
        while has_longer && symbols <= length {
            let found = self.longer[self.slot(key & ((1 << (8 * symbols)) - 1))].0;
            if found == 0 {
                break;
            }
            (row, has_longer) = (found as u16, found & Slot::HAS_LONGER != 0);
            symbols += 1;
        }
        usize::from(row)
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
const MOST_OF_A_WORD: u16 = 9 * NAT as u16;
/// Letters of a word; what is longer is taken apart.
const MOST_LETTERS: usize = 64;
/// What a place without a language costs: most.
const NONE: u8 = u8::MAX;

/// What strings cost some of the languages.
pub(super) struct Costs<const N: usize> {
    model: &'static Model,
    /// A row a string: the costs of up to `N - 1` languages beyond the least of them, which is the last.
    rows: Vec<u8>,
    /// Where the first row begins: at a line of the processor's caches.
    first: usize,
}

/// Bytes of a line of the processor's caches.
const LINE: usize = 64;

impl<const N: usize> Costs<N> {
    /// Of the languages of these columns, at most `N - 1`.
    pub(super) fn new(columns: &[usize]) -> Self {
        let model = &*MODEL;
        let mut rows = vec![NONE; model.columns[0].len() * N + LINE];
        let first = rows.as_ptr().align_offset(LINE).min(LINE);
        for (at, row) in
            rows[first..].as_chunks_mut::<N>().0.iter_mut().enumerate().take(model.columns[0].len())
        {
            let costs = columns.iter().map(|&column| model.columns[column][at]);
            let least = costs.clone().min().unwrap_or(0);
            row.iter_mut().zip(costs).for_each(|(own, cost)| *own = cost - least);
            row[N - 1] = least.saturating_add(model.columns[LANGUAGES.len()][at]);
        }
        Self { model, rows, first }
    }

    #[inline(always)]
    fn row(&self, key: u64) -> &[u8; N] {
        self.rows[self.first + self.model.row(key) * N..].first_chunk().expect("a row of the model")
    }

    /// What a word of at most [`MOST_LETTERS`] costs.
    #[inline(never)]
    fn word(&self, word: &str) -> Word<N> {
        let mut sums = [0u16; N];
        let (mut key, mut letters) = (u64::from(BOUNDARY), 0);
        for c in word.chars().chain(std::iter::once(' ')) {
            key = (key & ((1 << (8 * (ORDER - 1))) - 1)) << 8 | u64::from(self.model.symbol(c));
            for (sum, &cost) in sums.iter_mut().zip(self.row(key)) {
                *sum += u16::from(cost);
            }
            letters += 1;
        }
        let base = sums[N - 1];
        sums[N - 1] = u16::MAX;
        let least = sums.iter().copied().fold(u16::MAX, u16::min);
        let mut costs = [0; N];
        for (cost, sum) in costs.iter_mut().zip(sums) {
            *cost = (sum - least).min(MOST_OF_A_WORD) as u8;
        }
        Word { costs, least: base + least, letters }
    }
}

/// What a word costs.
#[derive(Clone, Copy)]
struct Word<const N: usize> {
    /// By language, beyond the least.
    costs: [u8; N],
    least: u16,
    /// With the boundary.
    letters: u16,
}

/// What words that were met cost: most of a text are words that come again. Of one [`Costs`].
#[derive(Default)]
pub(super) struct Words<const N: usize> {
    /// None until a word is asked for.
    places: Vec<Place<N>>,
}

/// A place for two words: with few languages a line of the processor's caches, with many three.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Place<const N: usize> {
    costs: [[u8; N]; 2],
    /// The words' bytes, ASCII in lower case; 0: none.
    keys: [u128; 2],
    /// Their least costs and letters.
    sums: [(u16, u16); 2],
    /// Whether the second was asked for last.
    second: bool,
}

impl<const N: usize> Words<N> {
    const PLACES: usize = 2048;
    /// Words of more bytes are not remembered.
    const MAX_BYTES: usize = 16;

    /// The costs, least cost and letters of the word whose bytes `key` are; `make` says them. In a place that word
    /// goes that was asked for before the other.
    #[inline(always)]
    fn get(&mut self, key: u128, make: impl FnOnce() -> Word<N>) -> (&[u8; N], (u16, u16)) {
        let folded = (key >> 64) as u64 ^ (key as u64).rotate_left(29);
        let at = (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 53) as usize;
        let keys = self.places.get(at).map_or([0; 2], |place| place.keys);
        let second = keys[1] == key;
        if !second && keys[0] != key {
            self.keep(at, key, make());
            let place = &self.places[at];
            return place.word();
        }
        let place = &mut self.places[at];
        place.second = second;
        place.word()
    }

    #[cold]
    #[inline(never)]
    fn keep(&mut self, at: usize, key: u128, word: Word<N>) {
        if self.places.is_empty() {
            let none = Place { costs: [[0; N]; 2], keys: [0; 2], sums: [(0, 0); 2], second: false };
            self.places.resize(Self::PLACES, none);
        }
        let place = &mut self.places[at];
        place.second = !place.second;
        let own = usize::from(place.second);
        (place.keys[own], place.costs[own], place.sums[own]) = (key, word.costs, (word.least, word.letters));
    }
}

impl<const N: usize> Place<N> {
    #[inline(always)]
    fn word(&self) -> (&[u8; N], (u16, u16)) {
        (&self.costs[usize::from(self.second)], self.sums[usize::from(self.second)])
    }
}

/// Masks of the lowest bytes.
const LOWEST: [u128; 17] = {
    let mut masks = [0; 17];
    let mut count = 1;
    while count < 17 {
        masks[count] = u128::MAX >> (8 * (16 - count));
        count += 1;
    }
    masks
};

/// The `count` bytes at `start`, at most 16, as a number, ASCII letters in lower case.
#[inline(always)]
fn pack(bytes: &[u8], start: usize, count: usize) -> u128 {
    let all = match bytes[start..].first_chunk() {
        Some(first) => u128::from_le_bytes(*first),
        None => last_bytes(bytes, start),
    };
    // What is not ASCII stays.
    let lower = u128::from_le_bytes([0x20; 16]) & !(all >> 2);
    (all | lower) & LOWEST[count]
}

/// Those from `start`, fewer than 16, as a number.
#[inline(never)]
fn last_bytes(bytes: &[u8], start: usize) -> u128 {
    match bytes.last_chunk() {
        Some(last) => u128::from_le_bytes(*last) >> (8 * (16 - (bytes.len() - start))),
        None => bytes[start..].iter().rev().fold(0, |key, &byte| key << 8 | u128::from(byte)),
    }
}

/// What a text costs each of up to `N` languages.
#[derive(Clone, Copy)]
pub(super) struct Evidence<const N: usize> {
    costs: [i16; N],
    base: u32,
    letters: u32,
}

impl<const N: usize> Default for Evidence<N> {
    fn default() -> Self {
        Self { costs: [0; N], base: 0, letters: 0 }
    }
}

impl<const N: usize> Evidence<N> {
    /// Adds a piece of a text; words end where it does.
    pub(super) fn add(&mut self, text: &str, costs: &Costs<N>, words: &mut Words<N>) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let (block, size) = block(bytes, at);
            // Blanks follow the text's end.
            let mut letters = bits(&block, |byte| (byte | 0x20).wrapping_sub(b'a') < 26 || byte >= 0x80);
            let wide = bits(&block, |byte| byte >= 0x80);
            let mut next = at + size;
            while letters != 0 {
                let start = letters.trailing_zeros();
                let end = start + (!(letters >> start)).trailing_zeros();
                let mut run = at + start as usize..at + end as usize;
                if end as usize == BLOCK {
                    // Perhaps the word goes on.
                    if start > 0 {
                        next = run.start;
                        break;
                    }
                    let is_letter = |byte: &&u8| byte.is_ascii_alphabetic() || !byte.is_ascii();
                    run.end += bytes[run.end..].iter().take_while(is_letter).count();
                    next = run.end;
                }
                let is_ascii = (wide >> start).trailing_zeros() >= end - start;
                if is_ascii && run.len() <= Words::<N>::MAX_BYTES {
                    let key = pack(bytes, run.start, run.len());
                    let (costs, sums) = words.get(key, || costs.word(&text[run]));
                    self.add_word(costs, sums);
                } else {
                    self.add_run(&text[run], costs, words);
                }
                letters &= u64::MAX.checked_shl(end).unwrap_or(0);
            }
            at = next;
        }
    }

    /// Adds a run of ASCII letters and other characters, of which some may stand between words.
    fn add_run(&mut self, run: &str, costs: &Costs<N>, words: &mut Words<N>) {
        let is_boundary = |c: char| !c.is_ascii() && costs.model.symbol(c) == BOUNDARY;
        for word in run.split(is_boundary) {
            match word.len() {
                0 => {}
                length @ 1..=16 => {
                    let key = pack(word.as_bytes(), 0, length);
                    let (costs, sums) = words.get(key, || costs.word(word));
                    self.add_word(costs, sums);
                }
                _ => self.add_long(costs, word),
            }
        }
    }

    fn add_long(&mut self, costs: &Costs<N>, word: &str) {
        let mut rest = word;
        while !rest.is_empty() {
            let end = rest.char_indices().nth(MOST_LETTERS).map_or(rest.len(), |(end, _)| end);
            let word = costs.word(&rest[..end]);
            self.add_word(&word.costs, (word.least, word.letters));
            rest = &rest[end..];
        }
    }

    #[inline(always)]
    fn add_word(&mut self, costs: &[u8; N], (least, letters): (u16, u16)) {
        // Copies: what is written can't be what is read, so many are added at a time.
        let (mut sums, costs) = (self.costs, *costs);
        for (sum, cost) in sums.iter_mut().zip(costs) {
            *sum += i16::from(cost);
        }
        self.costs = sums;
        self.base += u32::from(least);
        self.letters += u32::from(letters);
    }

    /// What the text costs the languages beyond what it costs any.
    pub(super) fn costs(&self) -> &[i16; N] {
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

    const MANY: [usize; 50] = {
        let mut columns = [0; 50];
        let mut column = 0;
        while column < 50 {
            columns[column] = column;
            column += 1;
        }
        columns
    };

    #[test]
    fn the_file_is_well_formed() {
        let model = &*MODEL;
        assert!(LANGUAGES.iter().all(|tag| super::super::language::primary_subtag(tag) == Some(*tag)));
        assert_eq!(model.columns.len(), LANGUAGES.len() + 1);
        assert!(model.columns[0].len() <= usize::from(u16::MAX));
        let taken = model.longer.iter().filter(|slot| slot.0 != 0).count();
        assert!(taken * 2 < model.longer.len(), "{taken}");
    }

    /// Costs of a text for the languages of these columns, a letter at a time, each by the longest string in a map.
    fn slow(text: &str, columns: &[usize]) -> (Vec<u32>, u32) {
        let model = &*MODEL;
        let mut rows: HashMap<u64, u16> = HashMap::new();
        for first in 0..model.symbol_count as u64 {
            for second in 0..model.symbol_count as u64 {
                let key = first << 8 | second;
                rows.insert(key, model.pairs[model.pair(key)].0);
            }
        }
        rows.extend(model.longer.iter().filter(|slot| slot.0 != 0).map(|slot| (slot.key(), slot.0 as u16)));
        let (mut sums, mut base) = (vec![0; columns.len()], 0);
        for word in text.split(|c| model.symbol(c) == BOUNDARY).filter(|word| !word.is_empty()) {
            let symbols: Vec<u64> =
                word.chars().map(|c| u64::from(model.symbol(c))).chain([u64::from(BOUNDARY)]).collect();
            let mut word_sums = vec![0u32; sums.len()];
            for end in 0..symbols.len() {
                let all: Vec<u64> = [u64::from(BOUNDARY)].iter().chain(&symbols[..=end]).copied().collect();
                let from = all.len().saturating_sub(ORDER as usize);
                let longest = (from..all.len())
                    .find_map(|at| rows.get(&all[at..].iter().fold(0, |key, symbol| key << 8 | symbol)));
                let row = usize::from(*longest.unwrap());
                let cost = |column: usize| u32::from(model.columns[column][row]);
                word_sums.iter_mut().zip(columns).for_each(|(sum, &column)| *sum += cost(column));
                base += cost(LANGUAGES.len());
            }
            let least = *word_sums.iter().min().unwrap();
            base += least;
            for (sum, cost) in sums.iter_mut().zip(word_sums) {
                *sum += (cost - least).min(u32::from(MOST_OF_A_WORD));
            }
        }
        (sums, base)
    }

    fn costs_are_those_of_one_letter_at_a_time<const N: usize>(columns: &[usize]) {
        let costs = Costs::<N>::new(columns);
        let mut words = Words::default();
        let sentence =
            "A sentence longer than sixty-four bytes, so that its words stand at any place of a block, and à";
        for text in (0..70).filter_map(|start| sentence.get(start..)).chain([
            "The quick brown fox, isn't it?",
            "ÇA VA BIEN, İstanbul’da çok güzel; ђ и ж — l’été",
            "Donaudampfschifffahrtsgesellschaftskapitän",
            "Tiếng Việt rất hay, ọkọ̀ ojú irin",
            "a",
            "",
            "the The THE tHe x",
        ]) {
            for _ in 0..2 {
                let mut evidence = Evidence::default();
                evidence.add(text, &costs, &mut words);
                let own = &evidence.costs()[..columns.len()];
                let (sums, base) = slow(text, columns);
                assert_eq!(own.iter().map(|&cost| cost as u32).collect::<Vec<_>>(), sums, "{text}");
                assert_eq!(evidence.base(), base, "{text}");
            }
        }
    }

    #[test]
    fn costs_of_many_languages_are_those_of_one_letter_at_a_time() {
        costs_are_those_of_one_letter_at_a_time::<64>(&MANY);
    }

    #[test]
    fn costs_of_few_languages_are_those_of_one_letter_at_a_time() {
        costs_are_those_of_one_letter_at_a_time::<8>(&[10, 14]);
        costs_are_those_of_one_letter_at_a_time::<8>(&[4, 6, 32, 3, 8, 46, 49]);
    }

    #[test]
    fn words_that_were_forgotten_cost_the_same() {
        let costs = Costs::<8>::new(&[10, 14]);
        let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
        let texts: Vec<String> = (0..9_000)
            .map(|n| [letter(n), letter(n / 26), letter(n / 676), letter(n * 7)].iter().collect())
            .collect();
        let mut words = Words::default();
        for text in texts.iter().chain(&texts) {
            let (mut remembered, mut new) = (Evidence::default(), Evidence::default());
            remembered.add(text, &costs, &mut words);
            new.add_long(&costs, text);
            assert_eq!((remembered.costs, remembered.base), (new.costs, new.base), "{text}");
        }
    }

    #[test]
    fn words_are_packed_alike_wherever_they_stand() {
        for word in ["a", "Straße", "sixteen letters_", "É"] {
            for before in ["", "and text before it "] {
                for behind in ["", "!", " and more text behind it"] {
                    let padded = format!("{before}{word}{behind}");
                    let packed = pack(padded.as_bytes(), before.len(), word.len());
                    assert_eq!(packed, pack(word.as_bytes(), 0, word.len()), "{padded}");
                }
            }
        }
        assert_eq!(pack(b"The", 0, 3), pack(b"tHE", 0, 3));
        assert_ne!(pack("ċ".as_bytes(), 0, 2), pack("ī".as_bytes(), 0, 2));
    }
}
