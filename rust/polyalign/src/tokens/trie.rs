//! Which tokens a text begins with: a trie of bytes, as a double array.
//!
//! The child of a node at the byte `b` is the unit at `base ^ b`, if its label says so. No two nodes have the same base.

use std::collections::VecDeque;

/// Byte strings with a number each.
pub(super) struct Trie {
    units: Vec<Unit>,
    longest: usize,
}

#[derive(Clone, Copy, Default)]
struct Unit {
    /// Of the children, [`CHILDLESS`] if there are none.
    base: u32,
    /// The label and [`TAKEN`]; beyond, the number of the string that ends here, from 1 on.
    check: u32,
}

const BLOCK: usize = 256;
/// A block of units that are never taken.
const CHILDLESS: u32 = 0;
/// The base of the root.
const ROOT: u32 = BLOCK as u32;
/// Of a unit that is a node.
const TAKEN: u32 = 0x100;
const VALUE_SHIFT: u32 = 9;
/// The most strings.
pub(super) const MOST: usize = (1 << (32 - VALUE_SHIFT)) - 2;

impl Trie {
    /// Of at most [`MOST`] different strings, none of them empty, in the order of their bytes, each with its number.
    pub(super) fn new(strings: &[(&[u8], u32)]) -> Self {
        debug_assert!(strings.is_sorted() && strings.len() <= MOST);
        let mut trie = Self {
            units: vec![Unit::default(); 2 * BLOCK],
            longest: strings.iter().map(|(string, _)| string.len()).max().unwrap_or(0),
        };
        let mut room = Room::default();
        // Nodes whose children are to come: their base, their strings and how far these agree. The first come to lie
        // side by side.
        let mut waiting = VecDeque::from([(ROOT, 0..strings.len(), 0)]);
        room.take(ROOT, strings.iter().map(|(string, _)| string[0]));
        while let Some((base, range, depth)) = waiting.pop_front() {
            let mut from = range.start;
            while from < range.end {
                let label = strings[from].0[depth];
                let same = strings[from..range.end].iter().take_while(|(s, _)| s[depth] == label).count();
                let mut inner = from..from + same;
                from = inner.end;
                let mut check = TAKEN | label as u32;
                if strings[inner.start].0.len() == depth + 1 {
                    check |= (strings[inner.start].1 + 1) << VALUE_SHIFT;
                    inner.start += 1;
                }
                let mut own = CHILDLESS;
                if !inner.is_empty() {
                    let mut labels: Vec<u8> =
                        strings[inner.clone()].iter().map(|(s, _)| s[depth + 1]).collect();
                    labels.dedup();
                    own = room.find(&labels);
                    let needed = (own as usize / BLOCK + 1) * BLOCK;
                    trie.units.resize(needed.max(trie.units.len()), Unit::default());
                    waiting.push_back((own, inner, depth + 1));
                }
                trie.units[(base ^ label as u32) as usize] = Unit { base: own, check };
            }
        }
        trie
    }

    /// The length of the longest string.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Calls `each` with the length and the number of every string that `text` begins with, the shortest first.
    #[inline(always)]
    pub(super) fn prefixes(&self, text: &[u8], mut each: impl FnMut(usize, u32)) {
        let mut base = ROOT;
        for (i, &byte) in text.iter().enumerate() {
            let Some(unit) = self.units.get((base ^ byte as u32) as usize) else { return };
            if unit.check & 0x1ff != TAKEN | byte as u32 {
                return;
            }
            let value = unit.check >> VALUE_SHIFT;
            if value != 0 {
                each(i + 1, value - 1);
            }
            base = unit.base;
        }
    }
}

/// Which units and bases are taken, of blocks from the second on.
#[derive(Default)]
struct Room {
    blocks: Vec<Block>,
    /// Those that may have room.
    open: Vec<usize>,
}

#[derive(Clone, Default)]
struct Block {
    units: [u64; 4],
    bases: [u64; 4],
    /// How often there was no room in it.
    failures: u32,
}

/// A block that had no room so often is not asked again.
const MOST_FAILURES: u32 = 64;

fn is_set(set: &[u64; 4], i: u8) -> bool {
    set[i as usize / 64] >> (i % 64) & 1 != 0
}

impl Room {
    /// A base for children of these labels, which is then taken.
    fn find(&mut self, labels: &[u8]) -> u32 {
        let mut at = 0;
        while at < self.open.len() {
            let block = self.open[at];
            if let Some(low) = self.blocks[block].fit(labels) {
                let base = ((block + 1) * BLOCK) as u32 | low as u32;
                self.take(base, labels.iter().copied());
                return base;
            }
            self.blocks[block].failures += 1;
            if self.blocks[block].failures >= MOST_FAILURES {
                self.open.swap_remove(at);
            } else {
                at += 1;
            }
        }
        let base = ((self.blocks.len() + 1) * BLOCK) as u32;
        self.take(base, labels.iter().copied());
        base
    }

    fn take(&mut self, base: u32, labels: impl Iterator<Item = u8>) {
        let block = base as usize / BLOCK - 1;
        if block >= self.blocks.len() {
            self.blocks.push(Block::default());
            self.open.push(block);
        }
        let (block, low) = (&mut self.blocks[block], base as u8);
        block.bases[low as usize / 64] |= 1 << (low % 64);
        for label in labels {
            let unit = low ^ label;
            block.units[unit as usize / 64] |= 1 << (unit % 64);
        }
    }
}

impl Block {
    /// The lower byte of a base that is free and whose units are.
    fn fit(&self, labels: &[u8]) -> Option<u8> {
        for (word, taken) in self.units.iter().enumerate() {
            let mut free = !taken;
            while free != 0 {
                let low = (64 * word as u32 + free.trailing_zeros()) as u8 ^ labels[0];
                free &= free - 1;
                if !is_set(&self.bases, low) && labels[1..].iter().all(|l| !is_set(&self.units, low ^ l)) {
                    return Some(low);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every prefix is found, and nothing else.
    #[test]
    fn prefixes_are_those_of_a_set() {
        let mut state = 3u64;
        let mut random = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        for (count, kinds) in [(1, 256), (40, 3), (3000, 256), (3000, 5)] {
            let mut strings: Vec<Vec<u8>> =
                (0..count).map(|_| (0..=random(6)).map(|_| random(kinds) as u8).collect()).collect();
            strings.sort();
            strings.dedup();
            let numbered: Vec<(&[u8], u32)> =
                strings.iter().enumerate().map(|(i, s)| (s.as_slice(), i as u32)).collect();
            let trie = Trie::new(&numbered);
            for _ in 0..2000 {
                let text: Vec<u8> = (0..random(9)).map(|_| random(kinds) as u8).collect();
                let mut found = Vec::new();
                trie.prefixes(&text, |len, number| found.push((len, number)));
                let expected = (1..=text.len())
                    .filter_map(|len| Some((len, strings.binary_search(&text[..len].to_vec()).ok()? as u32)));
                assert_eq!(found, expected.collect::<Vec<_>>(), "{text:?}");
            }
        }
    }
}
