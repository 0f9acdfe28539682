//! Byte-level BPE: the number of tokens of one pre-token.

use super::boundaries::Boundaries;
use super::config::Model;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// A BPE model over bytes.
pub(super) struct Bpe {
    /// The id of each byte's own token.
    bytes: [u32; 256],
    merges: PairMap,
    /// With `ignore_merges`, the byte strings that are one token whatever the merges say.
    whole: Option<ByteSet>,
    /// Where no token spans.
    pub(super) boundaries: Boundaries,
}

/// Working memory for long pre-tokens.
#[derive(Default)]
pub(super) struct BpeScratch {
    symbols: Vec<Symbol>,
    heap: BinaryHeap<Reverse<(u32, u32)>>,
}

#[derive(Clone, Copy)]
struct Symbol {
    id: u32,
    prev: u32,
    next: u32,
}

const NONE: u32 = u32::MAX;
/// Up to this many bytes merges are found by scanning, beyond it by a heap.
const SHORT: usize = 32;

impl Bpe {
    /// The tables of a model, or why the fast path can't stand for it. Whatever is wrong with the model itself
    /// is also only a reason: the `tokenizers` crate then says what.
    pub(super) fn build(model: &Model, ignore_merges: bool) -> Result<Self, String> {
        let alphabet = Alphabet::new();
        let mut ids: HashMap<&str, u32> = HashMap::with_capacity(model.vocab.len());
        for (token, id) in &model.vocab {
            ids.insert(&token.0, *id);
        }
        let mut owners =
            HashMap::with_capacity_and_hasher(ids.len(), BuildHasherDefault::<PairHasher>::default());
        for (token, id) in &ids {
            if owners.insert(*id as u64, *token).is_some() {
                return Err(format!("two tokens of the vocabulary share the id {id}"));
            }
        }
        let mut bytes = [NONE; 256];
        for byte in 0..=255u8 {
            // These never occur in UTF-8.
            if matches!(byte, 0xc0 | 0xc1 | 0xf5..) {
                continue;
            }
            let c = alphabet.char_of[byte as usize];
            bytes[byte as usize] = *ids
                .get(c.encode_utf8(&mut [0; 4]) as &str)
                .ok_or_else(|| format!("no token for the byte {byte:#04x}"))?;
        }
        let mut merges = PairMap::with_capacity(model.merges.len());
        let mut boundaries = Boundaries::new();
        let (mut joined, mut decoded) = (String::new(), Vec::new());
        for (rank, (a, b)) in model.merges.iter().enumerate() {
            let id_of = |t: &str| {
                ids.get(t).copied().ok_or_else(|| format!("the merge token {t:?} is not in the vocabulary"))
            };
            joined.clear();
            joined.push_str(&a.0);
            joined.push_str(&b.0);
            let (a, b, new) = (id_of(&a.0)?, id_of(&b.0)?, id_of(&joined)?);
            if alphabet.decode(&joined, &mut decoded) {
                boundaries.add(&decoded);
                merges.insert(a, b, Merge { rank: rank as u32, new });
            }
        }
        let whole = ignore_merges.then(|| {
            let mut whole = ByteSet::with_capacity(ids.len());
            for token in ids.keys() {
                if alphabet.decode(token, &mut decoded) {
                    boundaries.add(&decoded);
                    whole.insert(&decoded);
                }
            }
            whole
        });
        Ok(Self { bytes, merges, whole, boundaries })
    }

    /// Whether the pre-token is one token whatever the merges say.
    #[inline]
    pub(super) fn is_whole(&self, piece: &[u8]) -> bool {
        self.whole.as_ref().is_some_and(|w| w.contains(piece))
    }

    /// The number of tokens of a pre-token, or of a part of it that no token crosses. `is_whole` comes first.
    pub(super) fn count(&self, piece: &[u8], scratch: &mut BpeScratch) -> u32 {
        if piece.len() <= SHORT { self.count_short(piece) } else { self.count_long(piece, scratch) }
    }

    fn count_short(&self, piece: &[u8]) -> u32 {
        let mut ids = [0u32; SHORT];
        let mut merges = [Merge::NONE; SHORT];
        let mut n = piece.len();
        for (id, &byte) in ids.iter_mut().zip(piece) {
            *id = self.bytes[byte as usize];
        }
        for i in 0..n.saturating_sub(1) {
            merges[i] = self.merges.get(ids[i], ids[i + 1]);
        }
        while n > 1 {
            let mut best = 0;
            for i in 1..n - 1 {
                if merges[i].rank < merges[best].rank {
                    best = i;
                }
            }
            if merges[best].rank == NONE {
                break;
            }
            ids[best] = merges[best].new;
            ids.copy_within(best + 2..n, best + 1);
            merges.copy_within((best + 2).min(n)..n, best + 1);
            n -= 1;
            if best > 0 {
                merges[best - 1] = self.merges.get(ids[best - 1], ids[best]);
            }
            merges[best] = if best + 1 < n { self.merges.get(ids[best], ids[best + 1]) } else { Merge::NONE };
        }
        n as u32
    }

    fn count_long(&self, piece: &[u8], scratch: &mut BpeScratch) -> u32 {
        let BpeScratch { symbols, heap } = scratch;
        let len = piece.len() as u32;
        symbols.clear();
        heap.clear();
        symbols.extend(piece.iter().enumerate().map(|(i, &byte)| Symbol {
            id: self.bytes[byte as usize],
            prev: (i as u32).wrapping_sub(1),
            next: i as u32 + 1,
        }));
        let push = |heap: &mut BinaryHeap<_>, at: u32, a: u32, b: u32| {
            let merge = self.merges.get(a, b);
            if merge.rank != NONE {
                heap.push(Reverse((merge.rank, at)));
            }
        };
        for (i, pair) in symbols.windows(2).enumerate() {
            push(heap, i as u32, pair[0].id, pair[1].id);
        }
        let mut count = len;
        while let Some(Reverse((rank, at))) = heap.pop() {
            let symbol = symbols[at as usize];
            if symbol.id == NONE || symbol.next == len {
                continue;
            }
            let right = symbols[symbol.next as usize];
            let merge = self.merges.get(symbol.id, right.id);
            // An entry whose symbols have changed since it was pushed.
            if merge.rank != rank {
                continue;
            }
            symbols[symbol.next as usize].id = NONE;
            symbols[at as usize] = Symbol { id: merge.new, next: right.next, ..symbol };
            count -= 1;
            if right.next < len {
                symbols[right.next as usize].prev = at;
                push(heap, at, merge.new, symbols[right.next as usize].id);
            }
            if symbol.prev != NONE {
                push(heap, symbol.prev, symbols[symbol.prev as usize].id, merge.new);
            }
        }
        count
    }
}

/// Byte strings, end to end in one vector, found by open addressing.
struct ByteSet {
    bytes: Vec<u8>,
    /// Start and end of each string; empty if both are 0.
    slots: Vec<(u32, u32)>,
}

impl ByteSet {
    fn with_capacity(n: usize) -> Self {
        Self { bytes: Vec::with_capacity(8 * n), slots: vec![(0, 0); (2 * n.max(4)).next_power_of_two()] }
    }

    /// The slot of `string`, or the empty one where it would be.
    fn slot(&self, string: &[u8]) -> usize {
        let mut at = hash_bytes(string) as usize & (self.slots.len() - 1);
        loop {
            let (start, end) = self.slots[at];
            if end == 0 || self.bytes[start as usize..end as usize] == *string {
                return at;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    fn insert(&mut self, string: &[u8]) {
        let at = self.slot(string);
        if self.slots[at].1 == 0 && !string.is_empty() {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(string);
            self.slots[at] = (start as u32, self.bytes.len() as u32);
        }
    }

    fn contains(&self, string: &[u8]) -> bool {
        self.slots[self.slot(string)].1 != 0
    }
}

/// A hash of a byte string, good in all its bits.
pub(super) fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..tail.len()].copy_from_slice(tail);
    let mut hash = bytes.len() as u64;
    for word in words.iter().chain([&last]) {
        let mixed = (hash ^ u64::from_le_bytes(*word)) as u128 * 0x9e37_79b9_7f4a_7c15;
        hash = (mixed >> 64) as u64 ^ mixed as u64;
    }
    hash
}

/// A merge: its rank, and the id of the token it makes.
#[derive(Clone, Copy)]
struct Merge {
    rank: u32,
    new: u32,
}

impl Merge {
    const NONE: Self = Self { rank: NONE, new: NONE };
}

/// Merges by pair: open addressing, at most half full.
struct PairMap {
    slots: Vec<(u64, Merge)>,
    shift: u32,
}

const EMPTY: u64 = u64::MAX;

impl PairMap {
    fn with_capacity(n: usize) -> Self {
        let bits = (2 * n.max(4)).next_power_of_two().trailing_zeros();
        Self { slots: vec![(EMPTY, Merge::NONE); 1 << bits], shift: 64 - bits }
    }

    #[inline]
    fn slot(&self, key: u64) -> usize {
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    /// A later merge of the same pair replaces the earlier.
    fn insert(&mut self, a: u32, b: u32, merge: Merge) {
        let key = (a as u64) << 32 | b as u64;
        let mut at = self.slot(key);
        while self.slots[at].0 != EMPTY && self.slots[at].0 != key {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = (key, merge);
    }

    #[inline]
    fn get(&self, a: u32, b: u32) -> Merge {
        let key = (a as u64) << 32 | b as u64;
        let mut at = self.slot(key);
        loop {
            let (k, merge) = self.slots[at];
            if k == key {
                return merge;
            }
            if k == EMPTY {
                return Merge::NONE;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }
}

/// Hashes a `u64` by one multiplication.
#[derive(Default)]
struct PairHasher(u64);

impl Hasher for PairHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 keys are hashed")
    }
    fn write_u64(&mut self, key: u64) {
        let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

/// The characters that stand for bytes in a byte-level vocabulary.
struct Alphabet {
    char_of: [char; 256],
    byte_of: [u16; 512],
}

impl Alphabet {
    fn new() -> Self {
        let (mut char_of, mut byte_of) = (['\0'; 256], [u16::MAX; 512]);
        let mut spare = 256;
        for byte in 0..=255u8 {
            let printable = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..);
            let c = if printable { byte as u32 } else { spare };
            spare += !printable as u32;
            char_of[byte as usize] = char::from_u32(c).expect("below 0x200");
            byte_of[c as usize] = byte as u16;
        }
        Self { char_of, byte_of }
    }

    /// The bytes a token stands for; false if it holds other characters.
    fn decode(&self, token: &str, out: &mut Vec<u8>) -> bool {
        out.clear();
        for c in token.chars() {
            match self.byte_of.get(c as usize) {
                Some(&byte) if byte <= 0xff => out.push(byte as u8),
                _ => return false,
            }
        }
        true
    }
}
