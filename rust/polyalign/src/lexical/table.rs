//! The counts: sorted by key, at most so many; and where each is found.
//!
//! Where there are more n-grams than room, the contexts that stand last are left out whole, from the first that does not
//! fit on. What is held is exact. A context that one part of a corpus leaves out, all of it leaves out too, so that parts
//! merge to the same table in any order.

use super::keys::ANY;
use std::sync::atomic::{AtomicU64, Ordering};

/// N-grams with how often they occur.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entries {
    /// Ascending.
    pub keys: Vec<u64>,
    /// A count stops at the largest number there is.
    pub counts: Vec<u32>,
    /// Keys from here on are left out.
    pub bound: u64,
}

impl Entries {
    pub fn new() -> Self {
        Self { keys: Vec::new(), counts: Vec::new(), bound: u64::MAX }
    }

    /// Counts by ascending keys, each once.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        self.keys.iter().copied().zip(self.counts.iter().copied())
    }

    /// The sum of both, as far as there is room.
    pub fn plus(
        &self,
        other: impl Iterator<Item = (u64, u32)>,
        others_bound: u64,
        others_len: usize,
        capacity: usize,
    ) -> Self {
        let bound = self.bound.min(others_bound);
        let mut sum = Self { bound, ..Self::new() };
        let most = (self.keys.len() + others_len).min(capacity + 1);
        sum.keys.reserve(most);
        sum.counts.reserve(most);
        let within = |&(key, _): &(u64, u32)| key < bound;
        let (mut a, mut b) = (self.iter().take_while(within).peekable(), other.take_while(within).peekable());
        while sum.keys.len() <= capacity {
            let next = match (a.peek(), b.peek()) {
                (Some(x), Some(y)) if x.0 == y.0 => {
                    let sum = (x.0, x.1.saturating_add(y.1));
                    a.next();
                    b.next();
                    Some(sum)
                }
                (Some(x), Some(y)) if y.0 < x.0 => b.next(),
                (Some(_), _) => a.next(),
                (None, _) => b.next(),
            };
            let Some((key, count)) = next else { break };
            sum.keys.push(key);
            sum.counts.push(count);
        }
        if let Some(&first_beyond) = sum.keys.get(capacity) {
            sum.bound = first_beyond & !ANY;
            let kept = sum.keys.partition_point(|&key| key < sum.bound);
            sum.keys.truncate(kept);
            sum.counts.truncate(kept);
        }
        sum
    }
}

/// A place for the count of an n-gram, or for what is known of a context.
#[derive(Clone, Copy, Debug)]
struct Slot {
    key: u64,
    /// Of a context: of all its n-grams.
    count: u32,
    /// Of a context: how many n-grams it has.
    types: u32,
}

/// No key is so large.
const FREE: Slot = Slot { key: u64::MAX, count: 0, types: 0 };

/// All that follows a context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Following {
    /// How often the context occurs.
    pub count: u32,
    /// How many different tokens follow it.
    pub types: u32,
}

/// Where counts are found.
#[derive(Debug)]
pub(super) struct Index {
    /// By hash; about three in five are taken.
    slots: Box<[Slot]>,
    /// Keys from here on are left out.
    bound: u64,
    /// Another for each.
    pub serial: u64,
}

static SERIAL: AtomicU64 = AtomicU64::new(1);

impl Index {
    pub fn new(entries: &Entries) -> Self {
        let of_context = |a: &u64, b: &u64| a | ANY == b | ANY;
        let used = entries.keys.len() + entries.keys.chunk_by(of_context).count();
        let slots = vec![FREE; used + used * 3 / 5 + 2].into_boxed_slice();
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mut index = Self { slots, bound: entries.bound, serial };
        let mut at = 0;
        for keys in entries.keys.chunk_by(of_context) {
            let counts = &entries.counts[at..at + keys.len()];
            at += keys.len();
            let count = counts.iter().fold(0_u32, |sum, &count| sum.saturating_add(count));
            index.insert(Slot { key: keys[0] | ANY, count, types: keys.len() as u32 });
            for (&key, &count) in keys.iter().zip(counts) {
                index.insert(Slot { key, count, types: 1 });
            }
        }
        index
    }

    fn insert(&mut self, slot: Slot) {
        let at = self.place(slot.key);
        self.slots[at] = slot;
    }

    #[inline]
    fn first_place(&self, key: u64) -> usize {
        let hash = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize
    }

    #[inline]
    fn place(&self, key: u64) -> usize {
        let mut at = self.first_place(key);
        while self.slots[at].key != key && self.slots[at].key != u64::MAX {
            at += 1;
            if at == self.slots.len() {
                at = 0;
            }
        }
        at
    }
}

/// Whom counts are asked of.
pub(super) trait Counts {
    /// How often an n-gram occurs.
    fn count(&self, key: u64) -> u32;

    /// What follows a context.
    fn following(&self, context: u64) -> Following;

    /// Whether a context is not left out: it is there, or was never met.
    fn holds(&self, context: u64) -> bool;

    /// Asks for the memory where an n-gram or a context is looked up.
    fn touch(&self, key: u64);
}

impl Counts for Index {
    #[inline]
    fn count(&self, key: u64) -> u32 {
        self.slots[self.place(key)].count
    }

    #[inline]
    fn following(&self, context: u64) -> Following {
        let Slot { count, types, .. } = self.slots[self.place(context)];
        Following { count, types }
    }

    #[inline]
    fn holds(&self, context: u64) -> bool {
        context & !ANY < self.bound
    }

    #[inline]
    fn touch(&self, key: u64) {
        // Nothing waits for what is read.
        std::hint::black_box(self.slots[self.first_place(key)].count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const CAPACITY: usize = 24;

    fn of(keys: &[u64]) -> Entries {
        let mut counts: BTreeMap<u64, u32> = BTreeMap::new();
        keys.iter().for_each(|key| *counts.entry(*key).or_default() += 1);
        let len = counts.len();
        Entries::new().plus(counts.into_iter(), u64::MAX, len, CAPACITY)
    }

    fn both(a: &Entries, b: &Entries) -> Entries {
        a.plus(b.iter(), b.bound, b.keys.len(), CAPACITY)
    }

    fn key() -> impl Strategy<Value = u64> {
        (0_u64..12, 0_u64..6).prop_map(|(context, token)| context << 27 | token)
    }

    proptest! {
        #[test]
        fn parts_merge_to_the_whole(
            keys in prop::collection::vec(key(), 0..120), cuts in prop::collection::vec(0_usize..120, 2)
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.min(&keys.len())).collect();
            cuts.sort_unstable();
            let parts = [&keys[..cuts[0]], &keys[cuts[0]..cuts[1]], &keys[cuts[1]..]].map(of);
            let whole = of(&keys);
            for [a, b, c] in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
                for merged in [
                    both(&both(&parts[a], &parts[b]), &parts[c]),
                    both(&parts[a], &both(&parts[b], &parts[c])),
                ] {
                    prop_assert_eq!(&merged.keys, &whole.keys);
                    prop_assert_eq!(&merged.counts, &whole.counts);
                    prop_assert_eq!(merged.bound, whole.bound);
                }
            }
        }

        #[test]
        fn what_is_held_is_exact(keys in prop::collection::vec(key(), 0..120)) {
            let held = of(&keys);
            prop_assert!(held.keys.len() <= CAPACITY);
            let index = Index::new(&held);
            for context in 0..12_u64 {
                let own: Vec<u64> = keys.iter().copied().filter(|key| key >> 27 == context).collect();
                let is_held = context << 27 < held.bound;
                let types = own.iter().collect::<std::collections::BTreeSet<_>>().len();
                let expected = Following { count: own.len() as u32, types: types as u32 };
                let found = index.following(context << 27 | ANY);
                prop_assert_eq!(found, if is_held { expected } else { Following::default() });
                for key in (0..6).map(|token| context << 27 | token) {
                    let count = own.iter().filter(|own| **own == key).count() as u32;
                    prop_assert_eq!(index.count(key), if is_held { count } else { 0 });
                }
            }
            // The next context does not fit.
            let next = keys.iter().filter(|key| **key & !ANY == held.bound).collect::<std::collections::BTreeSet<_>>();
            prop_assert!(held.bound == u64::MAX || held.keys.len() + next.len() > CAPACITY);
        }
    }

    #[test]
    fn counts_stop_at_the_largest() {
        let most = Entries { keys: vec![1, 2], counts: vec![u32::MAX - 1, 1], bound: u64::MAX };
        let sum = both(&both(&most, &most), &most);
        assert_eq!(sum.counts, [u32::MAX, 3]);
        assert_eq!(Index::new(&sum).following(ANY).count, u32::MAX);
    }
}
