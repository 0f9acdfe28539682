//! The hot loop: from text to pieces that no token reaches beyond, from pieces to counts.
//!
//! Whether a text is cut between two characters depends on the two alone. So a block may begin at any cut, and the cuts
//! within it are certain, all of them; the next block begins at the last.

use super::super::codes::NO_CODE;
use super::super::count::{self, wide_pieces};
use super::super::model::Model;
use super::super::pieces::CountScratch;
use super::super::pretokens::{BLOCK, Family, Machine, WINDOW, Wide, below, with_machine};
use super::super::unicode::decode;
use super::ascii::{Ascii, Cutting};

/// What the loop reads.
#[derive(Clone, Copy)]
pub(super) struct Counting<'a> {
    pub(super) model: &'a Model,
    pub(super) ascii: &'a Ascii,
}

impl<'a> Counting<'a> {
    /// The number of tokens of a text below 2 GiB that holds no added tokens.
    pub(super) fn count(self, text: &[u8], scratch: &mut CountScratch) -> u32 {
        with_machine!(machine => self.run(machine, text, scratch))
    }

    #[inline(always)]
    fn run<M: Machine + Cutting>(self, machine: M, text: &[u8], scratch: &mut CountScratch) -> u32 {
        let (mut count, mut at) = (0, 0);
        while at < text.len() {
            if scratch.pieces.is_full() {
                count += self.shared().drain(machine, text, scratch);
            }
            let (tokens, bytes) = self.block(machine, text, at, scratch);
            count += tokens;
            at += if bytes > 0 { bytes } else { self.by_char(text, at, scratch) };
        }
        count + self.shared().drain(machine, text, scratch)
    }

    /// What is shared with byte-level BPE, of which the family does not matter.
    #[inline(always)]
    fn shared(self) -> count::Counting<'a> {
        count::Counting { family: Family::Gpt2, model: self.model }
    }

    /// Finds the pieces of a block: the tokens of those counted at once, and where the last begins.
    #[inline(always)]
    fn block<M: Machine + Cutting>(
        self,
        machine: M,
        text: &[u8],
        at: usize,
        scratch: &mut CountScratch,
    ) -> (u32, usize) {
        if !M::WIDE && !text[at].is_ascii() {
            return (0, 0);
        }
        let rest = &text[at..];
        let mut tail = [b' '; WINDOW];
        let window = rest.first_chunk::<WINDOW>().unwrap_or_else(|| {
            tail[..rest.len()].copy_from_slice(rest);
            &tail
        });
        let block = window.first_chunk::<BLOCK>().expect("a window is longer than a block");
        let masks = machine.masks(block);
        let len = rest.len().min(BLOCK);
        let apart = machine.apart(self.ascii, block) & !1;
        let end = if len < BLOCK { 1 << len } else { 0 };
        if masks.wide == 0 {
            let starts = apart & below(len) | end | 1;
            return (0, scratch.pieces.add_whole(machine, at, starts));
        }
        if !M::WIDE {
            return (0, 0);
        }
        let wide = machine.wide(&masks, window);
        self.wide(machine, &wide, window, apart, at, len, scratch).unwrap_or((0, 0))
    }

    /// A block with characters beyond ASCII.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn wide(
        self,
        machine: impl Machine,
        wide: &Wide,
        window: &[u8; WINDOW],
        apart: u64,
        at: usize,
        len: usize,
        scratch: &mut CountScratch,
    ) -> Option<(u32, usize)> {
        let han = self.model.han.as_ref()?;
        let codes = machine.codes(window);
        let mut cuts = self.shared().cuts(machine, han, wide, &codes, window, NO_CODE, len)?;
        cuts.all |= apart & wide.ascii & wide.ascii << 1;
        let leads = wide.leads & below(len);
        let tabled = wide.ascii & wide.ascii << 1 | wide.coded << 3 & (wide.coded | wide.ascii);
        let mut bits = leads & !tabled & !1;
        while bits != 0 {
            let right = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let left = 63 - (leads & below(right)).leading_zeros() as usize;
            let joined = self.joined(decode(window, left).0, decode(window, right).0);
            cuts.all |= (!joined as u64) << right;
        }
        let end = if len < BLOCK { 1 << len } else { 0 };
        let ends = cuts.all & below(len) | end | 1;
        let last = 63 - ends.leading_zeros() as usize;
        if last == 0 {
            return None;
        }
        let tokens = wide_pieces(han, wide, &cuts, ends, 0, &codes, at, &mut scratch.pieces);
        Some((tokens, last))
    }

    /// Whether a token may hold two neighbouring characters.
    #[inline(always)]
    pub(super) fn joined(self, left: u32, right: u32) -> bool {
        let merges = &self.model.merges;
        self.model.boundaries.chars_joined(left, right) || merges.fuses(left) && merges.fuses(right)
    }

    /// Finds pieces character by character, to the first cut beyond a block; returns where that is.
    fn by_char(self, text: &[u8], at: usize, scratch: &mut CountScratch) -> usize {
        let (mut left, len) = decode(text, at);
        let (mut from, mut to) = (at, at + len);
        while to < text.len() {
            let (right, len) = decode(text, to);
            if !self.joined(left, right) {
                scratch.pieces.add_if(true, from, to - from, false);
                from = to;
                if to - at >= BLOCK {
                    return to - at;
                }
            }
            (left, to) = (right, to + len);
        }
        scratch.pieces.add_if(true, from, to - from, false);
        to - at
    }
}
