//! Counts of pre-tokens already seen, kept inline in one fixed table.

/// Longest key.
pub(super) const MAX_KEY: usize = 15;

const BITS: u32 = 16;
const WAYS: usize = 4;

/// A pre-token of up to 15 bytes, zero-padded, with `length << 4` in the last byte.
#[derive(Clone, Copy)]
pub(super) struct Key(u128);

impl Key {
    /// The key of `piece`, which holds at most [`MAX_KEY`] bytes.
    #[inline(always)]
    pub(super) fn new(piece: &[u8]) -> Self {
        let mut bytes = [0u8; 16];
        bytes[..piece.len()].copy_from_slice(piece);
        bytes[15] = (piece.len() as u8) << 4;
        Self(u128::from_le_bytes(bytes))
    }

    #[inline(always)]
    fn set(self) -> usize {
        let (low, high) = (self.0 as u64, (self.0 >> 64) as u64);
        let mixed = (low ^ high.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 32 ^ high).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        (mixed >> (64 - BITS + WAYS.trailing_zeros())) as usize
    }
}

/// A set-associative table: each entry is a key with its count in the low half of the last byte. (A piece of n
/// bytes has at most n tokens, so 15 is enough.)
pub(super) struct Cache {
    sets: Box<[[u128; WAYS]]>,
    victim: usize,
}

const COUNT_SHIFT: u32 = 120;

impl Cache {
    pub(super) fn new() -> Self {
        Self { sets: vec![[0; WAYS]; (1 << BITS) / WAYS].into_boxed_slice(), victim: 0 }
    }

    /// The count kept for `key`.
    #[inline(always)]
    pub(super) fn get(&self, key: Key) -> Option<u32> {
        self.sets[key.set()].iter().find_map(|entry| {
            let rest = entry ^ key.0;
            (rest & !(0xf << COUNT_SHIFT) == 0).then_some((rest >> COUNT_SHIFT) as u32)
        })
    }

    /// Keeps a count, in the place of another if its set is full.
    pub(super) fn insert(&mut self, key: Key, count: u32) {
        let set = &mut self.sets[key.set()];
        let way = set.iter().position(|&e| e == 0).unwrap_or_else(|| {
            self.victim = (self.victim + 1) % WAYS;
            self.victim
        });
        set[way] = key.0 | (count as u128) << COUNT_SHIFT;
    }
}
