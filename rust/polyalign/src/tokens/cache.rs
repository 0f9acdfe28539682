//! Counts of pieces already seen, kept inline in two fixed tables: one that stays in the nearest processor caches,
//! and one for what falls out of it; and pieces that are one token, known beforehand.

use super::hash::{hash_bytes, prefetch};
use super::pretokens::{Machine, Portable};

/// Longest key, in bytes.
pub(super) const MAX_KEY: usize = 15;

/// A piece of 1 to 15 bytes, padded with 0xff, which UTF-8 never holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key {
    low: u64,
    high: u64,
}

/// What to set beyond a piece of a given length; where that is too long for a key, everything.
static PAD: [(u64, u64); MAX_KEY + 2] = {
    let mut pad = [(u64::MAX, u64::MAX); MAX_KEY + 2];
    let mut len = 0;
    while len <= MAX_KEY {
        pad[len] = match len {
            0..8 => (u64::MAX << (8 * len), u64::MAX),
            _ => (0, u64::MAX << (8 * (len - 8))),
        };
        len += 1;
    }
    pad
};

impl Key {
    /// The key of the first `len` of 16 bytes, 1 to [`MAX_KEY`]; of a longer piece, one that is never kept.
    #[inline(always)]
    fn of(window: &[u8; 16], len: usize) -> Self {
        let (low, high) = window.split_at(8);
        let pad = PAD[len.min(MAX_KEY + 1)];
        Self {
            low: u64::from_le_bytes(low.try_into().expect("8 of 16 bytes")) | pad.0,
            high: u64::from_le_bytes(high.try_into().expect("8 of 16 bytes")) | pad.1,
        }
    }

    /// The key of `text[at..at + len]`.
    #[inline(always)]
    pub(super) fn at(text: &[u8], at: usize, len: usize) -> Self {
        if let Some(window) = text[at..].first_chunk::<16>() {
            return Self::of(window, len);
        }
        // From the last 16 bytes, the first of which are not of the piece.
        let Some(last) = text.last_chunk::<16>() else { return Self::short(text, at, len) };
        let before = 16 - (text.len() - at);
        Self::of(&(u128::from_le_bytes(*last) >> (8 * before)).to_le_bytes(), len)
    }

    #[cold]
    fn short(text: &[u8], at: usize, len: usize) -> Self {
        let mut window = [0; 16];
        window[..len].copy_from_slice(&text[at..at + len]);
        Self::of(&window, len)
    }

    /// The key of a piece of ASCII that has one.
    pub(super) fn of_ascii(piece: &[u8]) -> Option<Self> {
        ((1..=MAX_KEY).contains(&piece.len()) && piece.is_ascii()).then(|| Self::short(piece, 0, piece.len()))
    }

    /// The piece, and how many of the bytes are of it.
    fn bytes(self) -> ([u8; 16], usize) {
        let bytes = ((self.high as u128) << 64 | self.low as u128).to_le_bytes();
        (bytes, bytes.iter().position(|&byte| byte == 0xff).unwrap_or(MAX_KEY))
    }

    #[inline(always)]
    fn hash(self) -> u64 {
        let mixed = (self.low ^ 0x9e37_79b9_7f4a_7c15) as u128 * (self.high ^ 0xc2b2_ae3d_27d4_eb4f) as u128;
        (mixed >> 64) as u64 ^ mixed as u64
    }
}

/// Four pieces with their counts, in one line of the processor's caches. A count is in the last byte of a key,
/// which no key uses; an empty entry counts 0.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Set {
    low: [u64; WAYS],
    high: [u64; WAYS],
}

const WAYS: usize = 4;
const COUNT_SHIFT: u32 = 56;

impl Set {
    /// The count kept for `key`, or 0.
    #[inline(always)]
    fn get(&self, machine: impl Machine, key: Key) -> u32 {
        (machine.matched(&self.low, &self.high, [key.low, key.high]) >> COUNT_SHIFT) as u32
    }

    fn has_room(&self) -> bool {
        self.high[WAYS - 1] >> COUNT_SHIFT == 0
    }

    /// Keeps a count in the place of the oldest.
    fn push(&mut self, key: Key, count: u32) {
        self.low.rotate_right(1);
        self.high.rotate_right(1);
        self.low[0] = key.low;
        self.high[0] = (key.high << 8) >> 8 | (count as u64) << COUNT_SHIFT;
    }
}

/// The tokens of ASCII that merging makes of their own bytes: pieces that are known before any text brings them. Fixed once
/// built, so all threads read the same. A token whose set is full is left out, and merged when it comes.
pub(super) struct Known {
    sets: Box<[Set]>,
}

impl Known {
    /// Of many tokens those that are known to be one, or that `is_one` says to be.
    pub(super) fn build(tokens: &[(Key, bool)], mut is_one: impl FnMut(&[u8]) -> bool) -> Self {
        let mut known = Self { sets: zeroed(tokens.len().div_ceil(WAYS / 2).next_power_of_two()) };
        for &(key, is_known) in tokens {
            let set = known.set(key);
            let set = &mut known.sets[set];
            let (bytes, len) = key.bytes();
            if set.has_room() && set.get(Portable, key) == 0 && (is_known || is_one(&bytes[..len])) {
                set.push(key, 1);
            }
        }
        known
    }

    /// Whether `key` is such a token.
    #[inline]
    pub(super) fn has(&self, key: Key) -> bool {
        self.sets[self.set(key)].get(Portable, key) > 0
    }

    #[inline]
    fn set(&self, key: Key) -> usize {
        (key.hash() >> 16) as usize & (self.sets.len() - 1)
    }
}

/// Sets of the first table: 256 KiB.
const NEAR_BITS: u32 = 12;
/// Sets of the second table: 2 MiB.
const FAR_BITS: u32 = 15;

/// Longest piece that is kept beyond [`MAX_KEY`].
const MAX_LONG: usize = 62;
/// Entries for long pieces: 2 MiB.
const LONG_BITS: u32 = 15;

/// A long piece: its bytes, its length (0 if the entry is empty), its count.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Long {
    bytes: [u8; MAX_LONG],
    len: u8,
    count: u8,
}

impl Default for Long {
    fn default() -> Self {
        Self { bytes: [0; MAX_LONG], len: 0, count: 0 }
    }
}

/// Two set-associative tables, and a plain one for pieces too long for them. (A piece of n bytes has at most n
/// tokens, so a byte holds the count.)
pub(super) struct Cache {
    long: Box<[Long]>,
    near: Box<[Set; 1 << NEAR_BITS]>,
    far: Box<[Set; 1 << FAR_BITS]>,
}

impl Default for Cache {
    fn default() -> Self {
        let far: Box<[Set]> = zeroed(1 << FAR_BITS);
        let near: Box<[Set]> = zeroed(1 << NEAR_BITS);
        Self {
            near: near.try_into().unwrap_or_else(|_| unreachable!("made with this length")),
            far: far.try_into().unwrap_or_else(|_| unreachable!("made with this length")),
            long: zeroed(1 << LONG_BITS),
        }
    }
}

impl Cache {
    /// The count of a piece longer than [`MAX_KEY`], made by `count` if it is not kept.
    pub(super) fn long(&mut self, piece: &[u8], count: impl FnOnce() -> u32) -> u32 {
        if piece.len() > MAX_LONG {
            return count();
        }
        let entry = &mut self.long[long_entry(piece)];
        if entry.len as usize != piece.len() || entry.bytes[..piece.len()] != *piece {
            entry.bytes[..piece.len()].copy_from_slice(piece);
            entry.len = piece.len() as u8;
            entry.count = count() as u8;
        }
        entry.count as u32
    }

    /// The count kept for a piece longer than [`MAX_KEY`].
    pub(super) fn find_long(&self, piece: &[u8]) -> Option<u32> {
        let entry = &self.long[long_entry(piece)];
        let found = entry.len as usize == piece.len() && entry.bytes[..piece.len()] == *piece;
        found.then_some(entry.count as u32)
    }

    /// Keeps the count of such a piece, if there is room for the two.
    pub(super) fn insert_long(&mut self, piece: &[u8], count: u32) {
        if let (Ok(count), true) = (u8::try_from(count), piece.len() <= MAX_LONG) {
            let entry = &mut self.long[long_entry(piece)];
            entry.bytes[..piece.len()].copy_from_slice(piece);
            (entry.len, entry.count) = (piece.len() as u8, count);
        }
    }

    /// The count kept for `key` in the first table, or 0.
    #[inline(always)]
    pub(super) fn near(&self, machine: impl Machine, key: Key) -> u32 {
        self.near[near_set(key)].get(machine, key)
    }

    /// The count kept for `key` in the second table, or 0.
    #[inline(always)]
    pub(super) fn far(&self, machine: impl Machine, key: Key) -> u32 {
        self.far[far_set(key)].get(machine, key)
    }

    /// Has what [`Self::far`] reads fetched.
    #[inline(always)]
    pub(super) fn prefetch(&self, key: Key) {
        prefetch(&self.far[far_set(key)]);
    }

    /// Moves a count to the first table.
    #[inline]
    pub(super) fn promote(&mut self, key: Key, count: u32) {
        let set = &mut self.near[near_set(key)];
        if set.get(Portable, key) == 0 {
            set.push(key, count);
        }
    }

    /// Keeps a count.
    pub(super) fn insert(&mut self, key: Key, count: u32) {
        self.far[far_set(key)].push(key, count);
        self.promote(key, count);
    }
}

fn long_entry(piece: &[u8]) -> usize {
    hash_bytes(piece) as usize & ((1 << LONG_BITS) - 1)
}

#[inline(always)]
fn near_set(key: Key) -> usize {
    (key.hash() >> (64 - NEAR_BITS)) as usize
}

#[inline(always)]
fn far_set(key: Key) -> usize {
    (key.hash() >> (64 - FAR_BITS)) as usize
}

/// Empty entries, without a copy of them on the stack.
fn zeroed<T: Copy + Default>(n: usize) -> Box<[T]> {
    vec![T::default(); n].into_boxed_slice()
}
