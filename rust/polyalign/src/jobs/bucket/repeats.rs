//! Which rows repeat earlier ones, and what is held out of them: exact as long as there is room, then estimated.

use super::held_out::HeldOut;
use crate::records::record::{Message, Record};
use crate::stream::Place;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use twox_hash::XxHash3_64;

/// Different rows that are kept: as many as a table of 2²⁰ places takes without growing.
const ROWS: usize = 900_000;

/// Different hashes that are kept of other kinds: few, so that they are in the cache.
const OTHERS: usize = 28_000;

/// Rows that repeat earlier ones. Counted as long as there are at most 900,000 different rows, and 28,000 different prompts
/// or responses; beyond that estimated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeated {
    /// Rows with the prompt and response of an earlier row.
    pub rows: u64,
    /// Rows with the prompt of an earlier row.
    pub prompts: u64,
    /// Rows with the response of an earlier row.
    pub responses: u64,
    /// The standard error of `rows`; 0: it is exact.
    pub rows_error: u64,
    /// The standard error of `prompts`.
    pub prompts_error: u64,
    /// The standard error of `responses`.
    pub responses_error: u64,
    /// The first row with the prompt and response of an earlier row.
    pub first: Option<Repeat>,
}

/// A row that repeats another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeat {
    /// The file it is from.
    pub file: String,
    /// Its 0-based number there.
    pub row: u64,
    /// The file that what it repeats is from.
    pub of_file: String,
    /// The 0-based number of that there.
    pub of_row: u64,
}

/// What is held out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOutRows {
    /// Rows.
    pub rows: u64,
    /// Groups (prompts, of rows without a group). Estimated beyond 900,000.
    pub groups: u64,
    /// Different prompts. Estimated where there are more than 28,000 in all.
    pub prompts: u64,
    /// Those of them that rows have which train, as rows of one prompt are in different groups. Estimated likewise.
    pub shared_prompts: u64,
}

/// What one row is told from others by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Hash of its prompt; 0 if it has none.
    prompt: u64,
    /// Hash of its response, or of the two of a preference.
    response: u64,
    /// Of a row that is held out, the hash of what it is held out with.
    held_out: Option<u64>,
    file: u32,
    row: u64,
}

impl Row {
    /// Of a record at a place; `held_out`: what it is held out with, if it is.
    pub fn of(record: &Record<'_>, place: &Place, held_out: Option<u64>) -> Self {
        let prompt = record.prompt.iter().fold(0, message);
        let response = hash(1, record.response.content.as_bytes());
        let response =
            record.rejected.map_or(response, |rejected| hash(response, rejected.content.as_bytes()));
        Self { prompt, response, held_out, file: place.file, row: place.row }
    }

    fn both(&self) -> u64 {
        fold(self.prompt ^ WORDS[0], self.response ^ WORDS[1])
    }

    /// For a file of them.
    pub fn bytes(&self) -> [u8; Self::BYTES] {
        let held_out = u64::from(self.held_out.is_some()) << 32 | u64::from(self.file);
        let words = [self.prompt, self.response, self.held_out.unwrap_or(0), self.row, held_out];
        let mut bytes = [0; Self::BYTES];
        bytes.as_chunks_mut().0.iter_mut().zip(words).for_each(|(to, word)| *to = word.to_le_bytes());
        bytes
    }

    /// Length of [`Self::bytes`].
    pub const BYTES: usize = 40;

    /// From a file of them.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let word = |at: usize| u64::from_le_bytes(bytes.as_chunks().0[at]);
        let held_out = (word(4) >> 32 != 0).then(|| word(2));
        Self { prompt: word(0), response: word(1), held_out, file: word(4) as u32, row: word(3) }
    }
}

fn message(seed: u64, message: &Message<'_>) -> u64 {
    let role = match message.role {
        "user" => WORDS[2],
        "assistant" => WORDS[3],
        role => hash(0, role.as_bytes()),
    };
    hash(seed ^ role, message.content.as_bytes())
}

const WORDS: [u64; 4] =
    [0x9E37_79B9_7F4A_7C15, 0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB, 0xD6E8_FEB8_6659_FD93];

/// Both halves of a product.
#[inline(always)]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

/// XXH3 of bytes, after others with this hash. Its own seed costs more: a secret is made of it for every long text.
#[inline]
fn hash(before: u64, bytes: &[u8]) -> u64 {
    fold(XxHash3_64::oneshot(bytes) ^ before, WORDS[0])
}

/// Hashes are spread already; those that are kept have their highest bits in common.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are numbers");
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key.rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Different hashes, each with something: all of them, or, if there are too many, those below 2⁶⁴⁻ˢ, which are about one in
/// 2ˢ. Which these are does not depend on the order they come in.
#[derive(Debug)]
struct Distinct<T> {
    most: usize,
    shift: u32,
    kept: HashMap<u64, T, BuildHasherDefault<Spread>>,
}

impl<T> Distinct<T> {
    fn new(most: usize) -> Self {
        Self { most, shift: 0, kept: HashMap::default() }
    }

    #[inline]
    fn wants(&self, key: u64) -> bool {
        key <= u64::MAX >> self.shift
    }

    /// Puts something there, or calls `again` with what is there of this hash already.
    #[inline]
    fn insert(&mut self, key: u64, new: T, again: impl FnOnce(&mut T)) {
        if !self.wants(key) {
            return;
        }
        match self.kept.entry(key) {
            Entry::Occupied(mut there) => again(there.get_mut()),
            Entry::Vacant(free) => {
                free.insert(new);
                self.make_room();
            }
        }
    }

    fn make_room(&mut self) {
        while self.kept.len() > self.most {
            self.shift += 1;
            let highest = u64::MAX >> self.shift;
            self.kept.retain(|&key, _| key <= highest);
        }
    }

    /// How many there are.
    fn count(&self) -> u64 {
        self.scaled(self.kept.len())
    }

    fn count_where(&self, is: impl Fn(&T) -> bool) -> u64 {
        self.scaled(self.kept.values().filter(|value| is(value)).count())
    }

    fn scaled(&self, kept: usize) -> u64 {
        (kept as u64) << self.shift
    }

    /// The standard error of [`Self::count`]; 0 where all are kept.
    fn error(&self) -> u64 {
        let part = 0.5_f64.powi(self.shift as i32);
        ((self.kept.len() as f64 * (1.0 - part)).sqrt() / part).ceil() as u64
    }
}

/// A prompt has rows that train.
const TRAINS: u8 = 1;
/// A prompt has rows that are held out.
const HELD_OUT: u8 = 2;

/// How many rows have been seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    rows: u64,
    with_prompt: u64,
    held_out: u64,
}

/// What has been seen of rows, in their order.
#[derive(Debug)]
pub struct Repeats {
    counts: Counts,
    /// Of prompt and response together; each with the first row that has them.
    both: Distinct<(u32, u64)>,
    /// Each with what rows it has.
    prompts: Distinct<u8>,
    responses: Distinct<()>,
    /// What rows are held out with.
    groups: Distinct<()>,
    /// The first row that repeats another, and that one.
    first: Option<[(u32, u64); 2]>,
}

impl Default for Repeats {
    fn default() -> Self {
        Self::keeping(ROWS, OTHERS)
    }
}

impl Repeats {
    fn keeping(rows: usize, others: usize) -> Self {
        Self {
            counts: Counts::default(),
            both: Distinct::new(rows),
            prompts: Distinct::new(others),
            responses: Distinct::new(others),
            groups: Distinct::new(rows),
            first: None,
        }
    }

    /// Whether it makes a difference, but to the counts, that a row is seen.
    pub fn wants(&self, row: &Row) -> bool {
        self.both.wants(row.both())
            || self.responses.wants(row.response)
            || self.prompts.wants(row.prompt)
            || row.held_out.is_some_and(|group| self.groups.wants(group))
    }

    /// Sees a row.
    #[inline]
    pub fn add(&mut self, row: &Row) {
        let (place, first) = ((row.file, row.row), &mut self.first);
        self.counts.rows += 1;
        self.both.insert(row.both(), place, |&mut earlier| {
            first.get_or_insert([place, earlier]);
        });
        self.responses.insert(row.response, (), |()| {});
        let part = if row.held_out.is_some() { HELD_OUT } else { TRAINS };
        if row.prompt != 0 {
            self.counts.with_prompt += 1;
            self.prompts.insert(row.prompt, part, |parts| *parts |= part);
        }
        if let Some(group) = row.held_out {
            self.counts.held_out += 1;
            self.groups.insert(group, (), |()| {});
        }
    }

    /// How many rows were seen.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Puts the counts right where only the rows that are [wanted](Self::wants) were seen.
    pub fn set_counts(&mut self, counts: Counts) {
        self.counts = counts;
    }

    /// How many rows repeat what; `file`: the name of a file of this number.
    pub fn report(&self, file: impl Fn(u32) -> String) -> Repeated {
        let first = self.first.map(|[(number, row), (of_number, of_row)]| Repeat {
            file: file(number),
            row,
            of_file: file(of_number),
            of_row,
        });
        Repeated {
            rows: self.counts.rows.saturating_sub(self.both.count()),
            prompts: self.counts.with_prompt.saturating_sub(self.prompts.count()),
            responses: self.counts.rows.saturating_sub(self.responses.count()),
            rows_error: self.both.error(),
            prompts_error: self.prompts.error(),
            responses_error: self.responses.error(),
            first,
        }
    }

    /// What is held out, if anything was to be.
    pub fn held_out(&self, share: HeldOut) -> Option<HeldOutRows> {
        share.any().then(|| HeldOutRows {
            rows: self.counts.held_out,
            groups: self.groups.count(),
            prompts: self.prompts.count_where(|parts| parts & HELD_OUT != 0),
            shared_prompts: self.prompts.count_where(|&parts| parts == HELD_OUT | TRAINS),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(prompt: u64, response: u64, row: u64) -> Row {
        let key = |number: u64| XxHash3_64::oneshot(&number.to_le_bytes());
        let held_out = prompt.is_multiple_of(4).then(|| key(prompt));
        Row { prompt: key(prompt), response: key(response), held_out, file: 1, row }
    }

    fn report(repeats: &Repeats) -> (Repeated, Option<HeldOutRows>) {
        (repeats.report(|number| number.to_string()), repeats.held_out(HeldOut::new(0.5)))
    }

    #[test]
    fn rows_are_stored_whole() {
        for row in [row(1, 2, 3), row(4, 5, u64::MAX), Row { prompt: 0, file: u32::MAX, ..row(8, 0, 0) }] {
            assert_eq!(Row::from_bytes(&row.bytes()), row);
        }
    }

    #[test]
    fn every_byte_and_the_length_make_a_difference() {
        let mut seen = std::collections::HashSet::new();
        let mut texts = 0;
        for length in 0..150 {
            let mut bytes = vec![b'a'; length];
            for at in 0..length.max(1) {
                for byte in [b'a', b'b', 0] {
                    if byte == b'a' && at > 0 {
                        continue;
                    }
                    bytes.iter_mut().skip(at).take(1).for_each(|there| *there = byte);
                    texts += usize::from(byte == b'a' || length > 0);
                    // The highest bits alone say which hashes are kept.
                    seen.insert(hash(7, &bytes) >> 16);
                }
                bytes.iter_mut().for_each(|byte| *byte = b'a');
            }
        }
        assert_eq!(seen.len(), texts);
        assert_ne!(hash(1, b"ab"), hash(2, b"ab"));
        let ways = [hash(hash(0, b"ab"), b"c"), hash(hash(0, b"a"), b"bc"), hash(hash(0, b""), b"abc")];
        assert!(ways[0] != ways[1] && ways[1] != ways[2] && ways[0] != ways[2]);
    }

    #[test]
    fn all_is_counted_as_long_as_there_is_room() {
        let mut repeats = Repeats::keeping(1000, 1000);
        // 900 rows: 100 prompts, 300 responses, each pair of them three times.
        (0..900).for_each(|at| repeats.add(&row(at % 100, at % 300, at)));
        let (repeated, held_out) = report(&repeats);
        let first = Some(Repeat { file: "1".into(), row: 300, of_file: "1".into(), of_row: 0 });
        assert_eq!(
            repeated,
            Repeated { rows: 600, prompts: 800, responses: 600, first, ..Repeated::default() }
        );
        let held_out = held_out.unwrap();
        assert_eq!((held_out.rows, held_out.groups), (225, 25));
        assert_eq!((held_out.prompts, held_out.shared_prompts), (25, 0));
    }

    #[test]
    fn more_is_estimated_within_its_error_and_in_any_order() {
        let rows: Vec<Row> = (0..200_000).map(|at| row(at % 50_000, at % 120_000, at)).collect();
        let mut repeats = Repeats::keeping(4096, 4096);
        rows.iter().for_each(|row| repeats.add(row));
        assert!(repeats.responses.kept.len() <= 4096);
        let (found, held_out) = report(&repeats);
        // Of 600,000 different rows, as 50,000 and 120,000 have the divisor 10,000.
        assert_eq!((found.rows_error > 0, found.first.is_some()), (true, false));
        assert!(found.prompts_error < 1500 && found.responses_error < 3500);
        for (found, right, error) in [
            (found.prompts, 150_000, repeats.prompts.error()),
            (found.responses, 80_000, repeats.responses.error()),
            (held_out.unwrap().groups, 12_500, repeats.groups.error()),
        ] {
            assert!(found.abs_diff(right) < 4 * error, "{found}, not {right}, ±{error}");
        }
        let mut others = Repeats::keeping(4096, 4096);
        rows.iter().rev().for_each(|row| others.add(row));
        assert_eq!(Repeated { first: None, ..report(&others).0 }, Repeated { first: None, ..found });
    }
}
