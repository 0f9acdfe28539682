//! The hot loop: from text to pre-tokens, from pre-tokens to counts.

use super::bpe::Bpe;
use super::cache::{Key, MAX_KEY};
use super::fast::FastScratch;
use super::pretokens::{BLOCK, Family, Masks, starts};
use super::unicode::{TABLE, decode};

/// What the loop reads.
#[derive(Clone, Copy)]
pub(super) struct Hot<'a> {
    pub(super) family: Family,
    pub(super) bpe: &'a Bpe,
}

/// Cuts of a pre-token that are found before the pieces are looked up.
const MAX_CUTS: usize = 64;

/// A block and enough beyond it to load 16 bytes from each of its positions.
const WINDOW: usize = BLOCK + 16;

impl Hot<'_> {
    /// The number of tokens of a text that holds no added tokens and needs no normalising.
    pub(super) fn count(self, text: &[u8], scratch: &mut FastScratch) -> u32 {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
        {
            // SAFETY: the processor has these features.
            return unsafe { self.count_avx2(text, scratch) };
        }
        self.count_portable(text, scratch)
    }

    /// The loop as any processor runs it.
    pub(super) fn count_portable(self, text: &[u8], scratch: &mut FastScratch) -> u32 {
        self.each_family(text, scratch, Masks::portable)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn count_avx2(self, text: &[u8], scratch: &mut FastScratch) -> u32 {
        self.each_family(text, scratch, |block| Masks::avx2(block))
    }

    /// One copy of the loop for each family.
    #[inline(always)]
    fn each_family(
        self,
        text: &[u8],
        scratch: &mut FastScratch,
        masks: impl Fn(&[u8; BLOCK]) -> Masks,
    ) -> u32 {
        match self.family {
            Family::Gpt2 => self.run(Family::Gpt2, text, scratch, masks),
            Family::Cl100k => self.run(Family::Cl100k, text, scratch, masks),
            Family::Qwen2 => self.run(Family::Qwen2, text, scratch, masks),
            Family::O200k => self.run(Family::O200k, text, scratch, masks),
            Family::Tekken => self.run(Family::Tekken, text, scratch, masks),
            Family::DeepSeek => self.run(Family::DeepSeek, text, scratch, masks),
        }
    }

    #[inline(always)]
    fn run(
        self,
        family: Family,
        text: &[u8],
        scratch: &mut FastScratch,
        masks: impl Fn(&[u8; BLOCK]) -> Masks,
    ) -> u32 {
        let table = &*TABLE;
        let (mut count, mut at) = (0, 0);
        while at < text.len() {
            if text[at] < 0x80 {
                let (tokens, bytes) = self.block(family, &text[at..], scratch, &masks);
                if bytes > 0 {
                    count += tokens;
                    at += bytes;
                    continue;
                }
            }
            let to = family.next(text, table, at);
            count += self.pre_token(text, at, to, scratch);
            at = to;
        }
        count
    }

    /// Counts the pre-tokens of a block that are certain: tokens and bytes, (0, 0) if there is none.
    #[inline(always)]
    fn block(
        self,
        family: Family,
        text: &[u8],
        scratch: &mut FastScratch,
        masks: impl Fn(&[u8; BLOCK]) -> Masks,
    ) -> (u32, usize) {
        let mut tail = [b' '; WINDOW];
        let window = text.first_chunk::<WINDOW>().unwrap_or_else(|| {
            tail[..text.len()].copy_from_slice(text);
            &tail
        });
        let block = window.first_chunk::<BLOCK>().expect("a window is longer than a block");
        let found = starts(family, &masks(block), block, text.len().min(BLOCK), text.len() <= BLOCK);
        let Some(mut bits) = found else { return (0, 0) };
        bits &= !1;
        let (mut count, mut from) = (0, 0);
        while bits != 0 {
            let to = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            count += self.ascii_piece(window, from, to, scratch);
            from = to;
        }
        (count, from)
    }

    /// A pre-token within a block.
    #[inline(always)]
    fn ascii_piece(self, window: &[u8; WINDOW], from: usize, to: usize, scratch: &mut FastScratch) -> u32 {
        let len = to - from;
        if len > MAX_KEY {
            return self.long_pre_token(&window[from..to], scratch);
        }
        let bytes =
            window[from & 63..].first_chunk::<16>().expect("a window is 16 bytes longer than a block");
        let key = Key::of(bytes, len);
        let count = scratch.cache.near(key);
        if count > 0 { count } else { self.miss(key, &window[from..to], true, scratch) }
    }

    /// A pre-token of any characters: first where it is cut, then the counts of its pieces, so that the look-ups
    /// overlap.
    #[inline(always)]
    fn pre_token(self, text: &[u8], start: usize, to: usize, scratch: &mut FastScratch) -> u32 {
        let mut cuts = [0; MAX_CUTS];
        let (mut found, mut from, mut count) = (0, start, 0);
        let (mut left, len) = decode(text, start);
        let mut at = start + len;
        while at < to {
            let (right, len) = decode(text, at);
            cuts[found] = at;
            found += !self.bpe.boundaries.spanned(left, right) as usize;
            if found == MAX_CUTS {
                count += self.pieces(text, from, &cuts, scratch);
                (found, from) = (0, at);
            }
            (left, at) = (right, at + len);
        }
        count += self.pieces(text, from, &cuts[..found], scratch);
        from = if found > 0 { cuts[found - 1] } else { from };
        count + self.piece(text, from, to, from == start, scratch)
    }

    #[inline(always)]
    fn pieces(self, text: &[u8], mut from: usize, cuts: &[usize], scratch: &mut FastScratch) -> u32 {
        let mut count = 0;
        for &to in cuts {
            count += self.piece(text, from, to, false, scratch);
            from = to;
        }
        count
    }

    /// A piece; `whole` if it is all of a pre-token.
    #[inline(always)]
    fn piece(self, text: &[u8], from: usize, to: usize, whole: bool, scratch: &mut FastScratch) -> u32 {
        if to - from > MAX_KEY {
            return self.long_piece(&text[from..to], whole, scratch);
        }
        let key = Key::at(text, from, to);
        let count = scratch.cache.near(key);
        if count > 0 { count } else { self.miss(key, &text[from..to], whole, scratch) }
    }

    #[cold]
    #[inline(never)]
    fn long_pre_token(self, piece: &[u8], scratch: &mut FastScratch) -> u32 {
        self.long_piece(piece, true, scratch)
    }

    /// A piece too long for a key.
    #[inline(never)]
    fn long_piece(self, piece: &[u8], whole: bool, scratch: &mut FastScratch) -> u32 {
        if whole && self.bpe.is_whole(piece) {
            return 1;
        }
        let FastScratch { cache, bpe } = scratch;
        cache.long(piece, || self.bpe.count(piece, bpe))
    }

    /// A piece that is not in the nearest table.
    #[cold]
    #[inline(never)]
    fn miss(self, key: Key, piece: &[u8], whole: bool, scratch: &mut FastScratch) -> u32 {
        let count = scratch.cache.far(key);
        if count > 0 {
            return count;
        }
        let count = self.bpe.count(piece, &mut scratch.bpe);
        if count > 1 && self.bpe.is_whole(piece) {
            // One token as a whole pre-token, several as a part of one: not for the cache.
            return if whole { 1 } else { count };
        }
        scratch.cache.insert(key, count);
        count
    }
}
