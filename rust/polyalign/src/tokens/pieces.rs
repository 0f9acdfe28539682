//! Pieces of text found but not yet counted, and counting them. They are looked up in groups, so that the look-ups
//! overlap and only rare pieces wait for memory or take a branch of their own.

use super::cache::{Cache, Key, MAX_KEY};
use super::merges::MergeScratch;
use super::model::Model;
use super::pretokens::{Cutting, Machine, Portable, ROOM};
use super::unigram::Node;
use std::ops::Range;

/// Pieces that are kept before they are looked up; a block may add [`ROOM`] to them.
const GROUP: usize = 1024;
/// A flag beside a length: all of a pre-token.
const WHOLE: u32 = 1 << 31;

/// Places of pieces in a text.
pub(super) struct Pieces {
    n: usize,
    at: [u32; GROUP + ROOM],
    /// Bytes, and [`WHOLE`].
    len: [u32; GROUP + ROOM],
    missed: [u16; GROUP + ROOM],
    /// What each came to when they were counted.
    counts: [u32; GROUP + ROOM],
}

impl Default for Pieces {
    fn default() -> Self {
        let places = [0; GROUP + ROOM];
        Self { n: 0, at: places, len: places, missed: [0; GROUP + ROOM], counts: places }
    }
}

impl Pieces {
    /// Whether the pieces so far must be counted before others are added.
    #[inline(always)]
    pub(super) fn is_full(&self) -> bool {
        self.n >= GROUP
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.n
    }

    /// Whether so many more can be added.
    pub(super) fn have_room_for(&self, more: usize) -> bool {
        self.n + more <= GROUP
    }

    /// The tokens of the last pieces counted, in a range of them.
    pub(super) fn tokens(&self, range: Range<usize>) -> u32 {
        self.counts[range].iter().sum()
    }

    /// Adds the whole pre-tokens between the bits of `starts`, of which bit 0 is at `at`; returns where the last starts.
    #[inline(always)]
    pub(super) fn add_whole(&mut self, machine: impl Machine, at: usize, starts: u64) -> usize {
        let start = at as u32;
        let (ats, lens) = (room(&mut self.at, self.n), room(&mut self.len, self.n));
        let count = machine.stretches(starts, ats, lens);
        for (at, len) in
            ats.as_chunks_mut::<16>().0.iter_mut().zip(lens.as_chunks_mut::<16>().0).take(count.div_ceil(16))
        {
            for (at, len) in at.iter_mut().zip(len) {
                *at = at.wrapping_add(start);
                *len |= WHOLE;
            }
        }
        self.n += count;
        63 - (starts | 1).leading_zeros() as usize
    }

    /// Adds a piece if `keep`. There must be room, see [`Self::is_full`].
    #[inline(always)]
    pub(super) fn add_if(&mut self, keep: bool, at: usize, len: usize, whole: bool) {
        self.at[self.n] = at as u32;
        self.len[self.n] = len as u32 | if whole { WHOLE } else { 0 };
        self.n += keep as usize;
    }

    #[inline(always)]
    fn key(&self, text: &[u8], i: usize) -> Key {
        Key::at(text, self.at[i] as usize, (self.len[i] & !WHOLE) as usize)
    }
}

/// What a block may write.
#[inline(always)]
fn room(places: &mut [u32; GROUP + ROOM], n: usize) -> &mut [u32; ROOM] {
    places[n..].first_chunk_mut().expect("counted when full")
}

/// Texts one behind the other.
#[derive(Default)]
pub(super) struct Joined {
    pub(super) bytes: Vec<u8>,
    /// The number of pieces up to the end of each.
    pub(super) ends: Vec<usize>,
}

/// Working memory of counting: pieces that wait, and what is known of those before them.
#[derive(Default)]
pub(super) struct CountScratch {
    pub(super) cache: Cache,
    pub(super) merging: MergeScratch,
    pub(super) pieces: Pieces,
    /// Of Unigram.
    pub(super) nodes: Vec<Node>,
    /// For a text with something put before it.
    pub(super) buffer: String,
    /// Texts that are counted together.
    pub(super) joined: Joined,
    /// What the steps of a pre-tokenizer without an automaton leave.
    pub(super) cutting: Cutting,
}

impl CountScratch {
    /// Keeps a buffer for the next text, unless it is large.
    pub(super) fn keep(&mut self, buffer: String) {
        if buffer.capacity() <= 1 << 20 {
            self.buffer = buffer;
        }
    }

    /// The same.
    pub(super) fn keep_cutting(&mut self, cutting: Cutting) {
        if cutting.size() <= 1 << 20 {
            self.cutting = cutting;
        }
    }

    /// Counts the pieces that wait, and makes room for others.
    #[inline(always)]
    pub(super) fn count_pieces(&mut self, machine: impl Machine, model: &Model, text: &[u8]) -> u32 {
        let Self { cache, pieces, .. } = self;
        let (mut count, mut missed) = (0, 0);
        for i in 0..pieces.n {
            let kept = cache.near(machine, pieces.key(text, i));
            count += kept;
            pieces.counts[i] = kept;
            pieces.missed[missed] = i as u16;
            missed += (kept == 0) as usize;
        }
        for &i in &pieces.missed[..missed] {
            cache.prefetch(pieces.key(text, i as usize));
        }
        let mut rare = 0;
        for i in 0..missed {
            let piece = pieces.missed[i];
            let key = pieces.key(text, piece as usize);
            let kept = cache.far(machine, key);
            count += kept;
            pieces.counts[piece as usize] = kept;
            pieces.missed[rare] = piece;
            rare += (kept == 0) as usize;
            if kept > 0 {
                cache.promote(key, kept);
            }
        }
        for i in 0..rare {
            let piece = self.pieces.missed[i] as usize;
            let tokens = self.rare(model, text, piece);
            count += tokens;
            self.pieces.counts[piece] = tokens;
        }
        self.pieces.n = 0;
        count
    }

    /// A piece in neither table.
    #[inline(never)]
    fn rare(&mut self, model: &Model, text: &[u8], i: usize) -> u32 {
        let Self { cache, pieces, merging, .. } = self;
        let (at, len, whole) = (pieces.at[i] as usize, pieces.len[i] & !WHOLE, pieces.len[i] & WHOLE != 0);
        let piece = &text[at..at + len as usize];
        if piece.len() > MAX_KEY {
            if whole && model.is_whole(piece) {
                return 1;
            }
            return cache.long(piece, || model.count(piece, merging));
        }
        let key = pieces.key(text, i);
        // It may have come twice since.
        let kept = cache.far(Portable, key);
        if kept > 0 {
            return kept;
        }
        if model.known.has(key) {
            cache.insert(key, 1);
            return 1;
        }
        let count = model.count(piece, merging);
        if count != 1 && model.is_whole(piece) {
            // One token as a whole pre-token, others as a part of one: not for the cache.
            return if whole { 1 } else { count };
        }
        // None, where all bytes are without a token: what is not kept.
        if count > 0 {
            cache.insert(key, count);
        }
        count
    }
}
