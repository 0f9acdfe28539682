//! Where the tokens of a model stand in its vocabulary.

use super::config::ModelConfig;
use super::hash::{hash_bytes, prefetch};

/// The places of tokens in a vocabulary, by open addressing.
pub(super) struct Vocab<'a> {
    slots: Vec<Slot<'a>>,
    len: usize,
}

#[derive(Clone, Copy)]
struct Slot<'a> {
    token: &'a str,
    /// Bits of the hash that its place doesn't tell.
    tag: u32,
    /// [`EMPTY`] if there is no token.
    place: u32,
}

const EMPTY: u32 = u32::MAX;

impl<'a> Vocab<'a> {
    /// The places of a model's tokens, a repeated one at its last; an error if two tokens share an id.
    pub(super) fn new(model: &'a ModelConfig) -> Result<Self, String> {
        let empty = Slot { token: "", tag: 0, place: EMPTY };
        let slots = vec![empty; (2 * model.vocab.len().max(4)).next_power_of_two()];
        let mut vocab = Self { slots, len: 0 };
        for (place, (token, _)) in model.vocab.iter().enumerate() {
            let hash = hash_bytes(token.0.as_bytes());
            let at = vocab.slot(&token.0, hash);
            vocab.len += (vocab.slots[at].place == EMPTY) as usize;
            vocab.slots[at] = Slot { token: &token.0, tag: tag(hash), place: place as u32 };
        }
        let places = vocab.slots.iter().filter(|slot| slot.place != EMPTY);
        let mut ids: Vec<u32> = places.map(|slot| model.vocab[slot.place as usize].1).collect();
        ids.sort_unstable();
        match ids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("two tokens of the vocabulary share the id {}", pair[0])),
            None => Ok(vocab),
        }
    }

    /// The place of a token.
    pub(super) fn get(&self, token: &str) -> Option<u32> {
        self.get_hashed(token, hash_bytes(token.as_bytes()))
    }

    /// The places of many tokens: what is read for one is fetched while others are looked up.
    pub(super) fn get_many<const N: usize>(&self, tokens: [&str; N]) -> [Option<u32>; N] {
        let hashes = tokens.map(|token| hash_bytes(token.as_bytes()));
        hashes.iter().for_each(|&hash| prefetch(&self.slots[self.first(hash)]));
        for hash in hashes {
            if let Some(byte) = self.slots[self.first(hash)].token.as_bytes().first() {
                prefetch(byte);
            }
        }
        std::array::from_fn(|i| self.get_hashed(tokens[i], hashes[i]))
    }

    /// The number of different tokens.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn get_hashed(&self, token: &str, hash: u64) -> Option<u32> {
        Some(self.slots[self.slot(token, hash)].place).filter(|&place| place != EMPTY)
    }

    fn first(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    /// The slot of a token, or the empty one where it would be.
    fn slot(&self, token: &str, hash: u64) -> usize {
        let mut at = self.first(hash);
        loop {
            let slot = &self.slots[at];
            if slot.place == EMPTY || slot.tag == tag(hash) && slot.token == token {
                return at;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}
