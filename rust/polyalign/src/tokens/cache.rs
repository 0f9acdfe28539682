//! Counts of pieces already seen, kept inline in two fixed tables: one that stays in the nearest processor caches,
//! and one for what falls out of it.

use super::bpe::hash_bytes;

/// Longest key, in bytes.
pub(super) const MAX_KEY: usize = 15;

/// A piece of 1 to 15 bytes, padded with 0xff, which UTF-8 never holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key {
    low: u64,
    high: u64,
}

/// What to set beyond a piece of a given length.
static PAD: [(u64, u64); 16] = {
    let mut pad = [(0, 0); 16];
    let mut len = 0;
    while len < 16 {
        pad[len] = match len {
            0..8 => (u64::MAX << (8 * len), u64::MAX),
            _ => (0, u64::MAX << (8 * (len - 8))),
        };
        len += 1;
    }
    pad
};

impl Key {
    /// The key of the first `len` of 16 bytes, 1 to [`MAX_KEY`].
    #[inline(always)]
    pub(super) fn of(window: &[u8; 16], len: usize) -> Self {
        let (low, high) = window.split_at(8);
        let pad = PAD[len & 15];
        Self {
            low: u64::from_le_bytes(low.try_into().expect("8 of 16 bytes")) | pad.0,
            high: u64::from_le_bytes(high.try_into().expect("8 of 16 bytes")) | pad.1,
        }
    }

    /// The key of `text[at..to]`, 1 to [`MAX_KEY`] bytes.
    #[inline(always)]
    pub(super) fn at(text: &[u8], at: usize, to: usize) -> Self {
        match text.get(at..at + 16).and_then(|w| w.try_into().ok()) {
            Some(window) => Self::of(window, to - at),
            None => Self::near_end(text, at, to),
        }
    }

    #[cold]
    fn near_end(text: &[u8], at: usize, to: usize) -> Self {
        let mut window = [0; 16];
        window[..to - at].copy_from_slice(&text[at..to]);
        Self::of(&window, to - at)
    }

    #[inline(always)]
    fn hash(self) -> u64 {
        let mixed = (self.low ^ 0x9e37_79b9_7f4a_7c15) as u128 * (self.high ^ 0xc2b2_ae3d_27d4_eb4f) as u128;
        (mixed >> 64) as u64 ^ mixed as u64
    }
}

/// A key with its count in the last byte, which no key uses. An empty entry counts 0.
#[derive(Clone, Copy, Default)]
struct Entry {
    low: u64,
    high: u64,
}

impl Entry {
    fn new(key: Key, count: u32) -> Self {
        Self { low: key.low, high: (key.high << 8) >> 8 | (count as u64) << 56 }
    }

    #[inline(always)]
    fn is(&self, key: Key) -> bool {
        (self.high ^ key.high) << 8 | (self.low ^ key.low) == 0
    }

    #[inline(always)]
    fn count(&self) -> u32 {
        (self.high >> 56) as u32
    }
}

/// Sets of the first table, 2 entries each: 256 KiB.
const NEAR_BITS: u32 = 13;
/// Sets of the second table, 4 entries each: 2 MiB.
const FAR_BITS: u32 = 15;

/// Longest piece that is kept beyond [`MAX_KEY`].
const MAX_LONG: usize = 62;
/// Entries for long pieces: 256 KiB.
const LONG_BITS: u32 = 12;

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
    near: Box<[[Entry; 2]; 1 << NEAR_BITS]>,
    far: Box<[[Entry; 4]; 1 << FAR_BITS]>,
    victim: usize,
}

impl Cache {
    pub(super) fn new() -> Self {
        let far: Box<[[Entry; 4]]> = zeroed(1 << FAR_BITS);
        let near: Box<[[Entry; 2]]> = zeroed(1 << NEAR_BITS);
        Self {
            near: near.try_into().unwrap_or_else(|_| unreachable!("made with this length")),
            far: far.try_into().unwrap_or_else(|_| unreachable!("made with this length")),
            long: zeroed(1 << LONG_BITS),
            victim: 0,
        }
    }

    /// The count of a piece longer than [`MAX_KEY`], made by `count` if it is not kept.
    pub(super) fn long(&mut self, piece: &[u8], count: impl FnOnce() -> u32) -> u32 {
        if piece.len() > MAX_LONG {
            return count();
        }
        let entry = &mut self.long[hash_bytes(piece) as usize & ((1 << LONG_BITS) - 1)];
        if entry.len as usize != piece.len() || entry.bytes[..piece.len()] != *piece {
            entry.bytes[..piece.len()].copy_from_slice(piece);
            entry.len = piece.len() as u8;
            entry.count = count() as u8;
        }
        entry.count as u32
    }

    /// The count kept for `key` in the first table, or 0.
    #[inline(always)]
    pub(super) fn near(&self, key: Key) -> u32 {
        let [a, b] = &self.near[(key.hash() >> (64 - NEAR_BITS)) as usize];
        // Without branches: which of the two it is is hard to predict.
        (a.count() & 0u32.wrapping_sub(a.is(key) as u32)) | (b.count() & 0u32.wrapping_sub(b.is(key) as u32))
    }

    /// The count kept for `key` in the second table, or 0; a count found moves to the first.
    #[inline]
    pub(super) fn far(&mut self, key: Key) -> u32 {
        let set = &self.far[(key.hash() >> (64 - FAR_BITS)) as usize];
        let count = set.iter().find(|e| e.is(key)).map_or(0, Entry::count);
        if count > 0 {
            self.promote(key, count);
        }
        count
    }

    fn promote(&mut self, key: Key, count: u32) {
        let near = &mut self.near[(key.hash() >> (64 - NEAR_BITS)) as usize];
        near[1] = near[0];
        near[0] = Entry::new(key, count);
    }

    /// Keeps a count, in the place of another if its set is full.
    pub(super) fn insert(&mut self, key: Key, count: u32) {
        let set = &mut self.far[(key.hash() >> (64 - FAR_BITS)) as usize];
        let way = set.iter().position(|e| e.count() == 0).unwrap_or_else(|| {
            self.victim = (self.victim + 1) % set.len();
            self.victim
        });
        set[way] = Entry::new(key, count);
        self.promote(key, count);
    }
}

/// Empty entries, without a copy of them on the stack.
fn zeroed<T: Copy + Default>(n: usize) -> Box<[T]> {
    vec![T::default(); n].into_boxed_slice()
}
