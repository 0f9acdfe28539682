//! Pieces of text found but not yet counted, and counting them. They are looked up in groups, so that the look-ups
//! overlap and only rare pieces wait for memory or take a branch of their own.

use super::cache::{Cache, Key, MAX_KEY};
use super::merges::MergeScratch;
use super::model::Model;
use super::pretokens::{Cutting, Machine, Portable, ROOM, WINDOW};
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

    /// The tokens of the last pieces counted, in a range of them.
    fn tokens(&self, range: Range<usize>) -> u32 {
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

/// Texts one behind the other, with blanks after each: a window that begins in it holds nothing of the next.
#[derive(Default)]
pub(super) struct Joined {
    pub(super) text: String,
    /// Where each begins and ends.
    pub(super) places: Vec<(usize, usize)>,
}

impl Joined {
    pub(super) fn push(&mut self, text: &str) {
        let from = self.text.len();
        self.text.push_str(text);
        self.places.push((from, self.text.len()));
        self.text.push_str(BETWEEN);
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.places.clear();
    }
}

/// As many blanks as a window has bytes.
const BETWEEN: &str = match std::str::from_utf8(&[b' '; WINDOW]) {
    Ok(blanks) => blanks,
    Err(_) => unreachable!(),
};

/// Texts that have ended, some of whose pieces may still wait.
#[derive(Default)]
struct Ended {
    /// The tokens of each, as far as they are counted.
    counts: Vec<u32>,
    /// The number of pieces up to the end of each of the last: of those that have waited since.
    pieces: Vec<usize>,
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
    ended: Ended,
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

    /// Notes that a text has ended of which `count` tokens are counted.
    #[inline(always)]
    pub(super) fn end_text(&mut self, count: u32) {
        self.ended.counts.push(count);
        self.ended.pieces.push(self.pieces.n);
    }

    /// The counts of the texts that have ended, of which no piece waits.
    pub(super) fn take_ended(&mut self, counts: &mut [u32]) {
        counts.copy_from_slice(&self.ended.counts);
        self.ended.counts.clear();
    }

    /// Gives texts that have ended the tokens of their pieces; how many that were.
    #[inline(always)]
    fn share_out(&mut self) -> u32 {
        let Ended { counts, pieces } = &mut self.ended;
        let first = counts.len() - pieces.len();
        let (mut from, mut sum) = (0, 0);
        for (count, to) in counts[first..].iter_mut().zip(pieces.drain(..)) {
            let tokens = self.pieces.tokens(from..to);
            *count += tokens;
            sum += tokens;
            from = to;
        }
        sum
    }

    /// Counts the pieces that wait, and makes room for others; the tokens of those of a text that has not ended.
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
        count - self.share_out()
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
