//! Byte-level BPE and nothing else: the number of tokens of a piece of text by merging its bytes.
//!
//! Of all neighbours in a piece those are merged first whose merge has the lowest rank, until no two have a merge. With
//! the merges `t h` (rank 0), `h e` (1) and `th e` (2), `hethe` goes h·e·t·h·e, h·e·th·e, he·th·e, he·the: two tokens.
//!
//! Up to [`SHORT`] bytes the lowest rank is found by looking at all of them, beyond that by a heap, and beyond
//! [`WINDOW`] bytes a window at a time.

use super::alphabet::Alphabet;
use super::chars::Chars;
use super::config::ModelConfig;
use super::hash::{hash_bytes, prefetch};
use super::lacking::Lacking;
use super::vocab::Vocab;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The merges of a model, over bytes.
pub(super) struct Merges {
    ranks: Ranks,
    /// With `ignore_merges`, the byte strings that are one token whatever the merges say.
    whole: Option<ByteSet>,
    /// Bytes without a token, if there are such.
    pub(super) lacking: Option<Lacking>,
    /// What characters begin as, where merging begins with them and not with bytes.
    chars: Option<Box<Chars>>,
}

/// Working memory for long pre-tokens.
#[derive(Default)]
pub(super) struct MergeScratch {
    symbols: Vec<Symbol>,
    /// Rank and place of the merges that may come next, as one number each.
    heap: BinaryHeap<Reverse<u64>>,
    /// Where the tokens of the last window begin.
    starts: Vec<usize>,
    /// The first tokens of a piece with bytes that have none.
    spelled: Vec<u32>,
    /// Set when counting is to stop.
    pub(super) stop: Option<Arc<AtomicBool>>,
}

#[derive(Clone, Copy)]
struct Symbol {
    id: u32,
    prev: u32,
    next: u32,
}

/// No token, no merge.
pub(super) const NONE: u32 = u32::MAX;
/// Up to this many bytes merges are found by scanning, beyond it by a heap.
pub(super) const SHORT: usize = 32;
/// Bytes of a long pre-token that are merged at a time: symbols and heap stay in the processor's caches.
const WINDOW: usize = 32 << 10;
/// Tokens of the window before that are merged again with what follows, at first.
const AGAIN: usize = 4;

impl Merges {
    /// The tables of a model, or why the fast path can't stand for it. Whatever is wrong with the model itself
    /// is also only a reason: the `tokenizers` crate then says what.
    ///
    /// Tokens are known by numbers of our own here, see [`Ids`].
    /// `each` is given the bytes of every token that a piece may come to, and whether they are known to be it alone.
    pub(super) fn build(
        model: &ModelConfig,
        vocab: &Vocab,
        ignore_merges: bool,
        mut each: impl FnMut(&[u8], bool),
    ) -> Result<Self, String> {
        if model.vocab.len() + model.merges.len() + 256 > 1 << ID_BITS {
            return Err("more than two million tokens and merges".into());
        }
        let alphabet = Alphabet::new();
        let mut bytes = [NONE; 256];
        for (byte, c) in alphabet.spelled() {
            bytes[byte as usize] = vocab.get(c.encode_utf8(&mut [0; 4])).unwrap_or(NONE);
        }
        let mut decoded = Vec::new();
        let (mut list, foreign) = read(model, vocab, |token| alphabet.decode(token, &mut decoded))?;
        let (ranks, mut ids) = number(&list, &bytes, model.vocab.len());
        let lacking = Lacking::new(model, vocab, alphabet.spelled(), |place| ids.operand(place))?;
        let vanish = lacking.as_ref().is_none_or(Lacking::vanish);
        if foreign && !vanish {
            return Err("merges of what stands for bytes without a token".into());
        }
        let mut merges = Self { ranks, whole: None, lacking, chars: None };
        // A list in order holds one merge a token, of tokens made before: little in it could be left out.
        let derived = vanish && !merges.ranks.in_order;
        if derived {
            list = merges.effective(list, model, &alphabet);
            merges.ranks = number(&list, &bytes, model.vocab.len()).0;
        }
        for merge in &list {
            alphabet.decode(&model.vocab[merge.made as usize].0.0, &mut decoded);
            each(&decoded, derived);
        }
        if ignore_merges {
            let mut whole = ByteSet::with_capacity(model.vocab.len());
            for (token, _) in &model.vocab {
                if alphabet.decode(&token.0, &mut decoded) {
                    each(&decoded, false);
                    whole.insert(&decoded);
                }
            }
            merges.whole = Some(whole);
        }
        Ok(merges)
    }

    /// The same where merging begins with characters; `chars` gets them.
    pub(super) fn of_chars(
        model: &ModelConfig,
        vocab: &Vocab,
        mut chars: Chars,
        mut each: impl FnMut(&str),
    ) -> Result<Self, String> {
        if model.vocab.len() + model.merges.len() + 256 > 1 << ID_BITS {
            return Err("more than two million tokens and merges".into());
        }
        let (list, _) = read(model, vocab, |token| {
            each(token);
            true
        })?;
        let (ranks, mut ids) = number(&list, &[NONE; 256], model.vocab.len());
        for (token, _) in &model.vocab {
            let mut characters = token.0.chars();
            if let (Some(c), None) = (characters.next(), characters.next()) {
                // A repeated token counts where it is last.
                chars.insert(c, ids.operand(vocab.get(&token.0).expect("it is in the vocabulary")));
            }
        }
        Ok(Self { ranks, whole: None, lacking: None, chars: Some(Box::new(chars)) })
    }

    /// Whether merging begins with characters.
    pub(super) fn is_of_chars(&self) -> bool {
        self.chars.is_some()
    }

    /// Whether an unknown character becomes one token with others beside it.
    #[inline]
    pub(super) fn fuses(&self, c: u32) -> bool {
        self.chars.as_ref().is_some_and(|chars| chars.fuses(c))
    }

    /// Whether the pre-token is one token whatever the merges say.
    #[inline]
    pub(super) fn is_whole(&self, piece: &[u8]) -> bool {
        self.whole.as_ref().is_some_and(|w| w.contains(piece))
    }

    /// Of a list of merges those that ever come about; without the others everything is merged as before.
    ///
    /// What becomes a token is merged, up to then, with nothing around it: as it would be alone. So of all merges that
    /// make a token one at most comes about, the last when the token's bytes are merged alone.
    fn effective(&self, list: Vec<Merge>, model: &ModelConfig, alphabet: &Alphabet) -> Vec<Merge> {
        let mut keep = vec![false; list.len()];
        let mut seen = vec![false; model.vocab.len()];
        let (mut token, mut scratch) = (Vec::new(), MergeScratch::default());
        for merge in &list {
            if std::mem::replace(&mut seen[merge.made as usize], true) {
                continue;
            }
            alphabet.decode(&model.vocab[merge.made as usize].0.0, &mut token);
            let mut last = 0;
            if self.derive(&token, &mut scratch, |rank| last = rank) == 1 {
                keep[last as usize] = true;
            }
        }
        let mut keep = keep.into_iter();
        list.into_iter().filter(|_| keep.next() == Some(true)).collect()
    }

    /// The number of tokens of a piece whose bytes all have tokens. `each` is given the ranks of its merges, in order.
    pub(super) fn derive(&self, piece: &[u8], scratch: &mut MergeScratch, each: impl FnMut(u32)) -> u32 {
        if piece.len() > SHORT {
            return self.merge_all(piece, scratch, each);
        }
        self.merge_each(&mut self.symbols(piece), each)
    }

    /// The number of tokens of a pre-token, or of a part of it that no token crosses. `is_whole` comes first.
    pub(super) fn count(&self, piece: &[u8], scratch: &mut MergeScratch) -> u32 {
        let (mut rest, mut count) = (piece, 0);
        while let Some((at, len, tokens)) = self.chars.as_ref().and_then(|chars| chars.find_run(rest)) {
            count += tokens + if at > 0 { self.count_merged(&rest[..at], scratch) } else { 0 };
            rest = &rest[at + len..];
        }
        count + if rest.is_empty() { 0 } else { self.count_merged(rest, scratch) }
    }

    /// The same where merges alone tell.
    fn count_merged(&self, piece: &[u8], scratch: &mut MergeScratch) -> u32 {
        if let Some(lacking) = self.lacking_in(piece) {
            return self.count_spelled(scratch, |out| lacking.spell(piece, out));
        }
        if piece.len() <= SHORT {
            return self.merge(&mut self.symbols(piece));
        }
        match &self.chars {
            Some(chars) => self.count_spelled(scratch, |out| chars.spell(piece, |id| out.push(id))),
            None => self.count_long(piece, scratch),
        }
    }

    /// The number of tokens of a piece that does not begin as its bytes.
    fn count_spelled(&self, scratch: &mut MergeScratch, spell: impl FnOnce(&mut Vec<u32>)) -> u32 {
        let mut spelled = std::mem::take(&mut scratch.spelled);
        spelled.clear();
        spell(&mut spelled);
        let count = self.count_long(&spelled, scratch);
        if spelled.capacity() <= 4 * WINDOW {
            scratch.spelled = spelled;
        }
        count
    }

    /// What stands for bytes without a token, if the piece holds such.
    #[inline]
    pub(super) fn lacking_in(&self, piece: &[u8]) -> Option<&Lacking> {
        self.lacking.as_ref().filter(|lacking| lacking.occur_in(piece))
    }

    /// A piece of at most [`SHORT`] bytes before anything is merged.
    pub(super) fn symbols(&self, piece: &[u8]) -> Symbols {
        let mut symbols = Symbols { n: piece.len(), ..Symbols::default() };
        if let Some(chars) = &self.chars {
            symbols.n = 0;
            chars.spell(piece, |id| {
                symbols.ids[symbols.n] = id;
                symbols.n += 1;
            });
            for i in 1..symbols.n {
                symbols.ranks[i - 1] = self.ranks.rank(symbols.ids[i - 1], symbols.ids[i]);
            }
            return symbols;
        }
        for (i, &byte) in piece.iter().enumerate() {
            symbols.ids[i] = byte as u32;
            symbols.ranks[i] = piece.get(i + 1).map_or(NONE, |&next| self.ranks.rank_of_bytes(byte, next));
        }
        symbols
    }

    /// By token, the lowest rank of the merges that take it, or [`NONE`].
    pub(super) fn first_uses(&self) -> FirstUses {
        if self.is_of_chars() {
            // No character is made by merges.
            return FirstUses::new();
        }
        let mut lowest = HashMap::with_capacity(self.ranks.made.len());
        for &slot in self.ranks.slots.iter().filter(|slot| **slot != EMPTY) {
            let (pair, rank) = (slot >> RANK_BITS, slot as u32 & ((1 << RANK_BITS) - 1));
            for id in [pair >> ID_BITS, pair & ((1 << ID_BITS) - 1)] {
                lowest.entry(id as u32).and_modify(|first| *first = rank.min(*first)).or_insert(rank);
            }
        }
        lowest
    }

    /// The rank of the merge of two tokens, or [`NONE`].
    pub(super) fn rank(&self, left: u32, right: u32) -> u32 {
        self.ranks.rank(left, right)
    }

    /// The rank of the merge of two bytes, or [`NONE`].
    pub(super) fn rank_of_bytes(&self, a: u8, b: u8) -> u32 {
        self.ranks.rank_of_bytes(a, b)
    }

    /// Merges until nothing can be merged, and returns how many tokens are left.
    pub(super) fn merge(&self, symbols: &mut Symbols) -> u32 {
        self.merge_each(symbols, |_| ())
    }

    /// The same; `each` is given the ranks of the merges, in order.
    #[inline(always)]
    pub(super) fn merge_each(
        &self,
        Symbols { ids, ranks, n }: &mut Symbols,
        mut each: impl FnMut(u32),
    ) -> u32 {
        let mut n = *n;
        while n > 1 {
            let (mut best, mut lowest) = (0, ranks[0]);
            for (i, &rank) in ranks[1..n - 1].iter().enumerate() {
                if rank < lowest {
                    (best, lowest) = (i + 1, rank);
                }
            }
            if lowest == NONE {
                break;
            }
            each(lowest);
            n -= 1;
            ids[best] = self.ranks.made(lowest);
            for i in best + 1..n {
                ids[i] = ids[i + 1];
                ranks[i] = ranks[i + 1];
            }
            if best + 1 < n {
                self.ranks.prefetch(ids[best], ids[best + 1]);
            }
            if best > 0 {
                ranks[best - 1] = self.ranks.rank(ids[best - 1], ids[best]);
            }
            ranks[best] = if best + 1 < n { self.ranks.rank(ids[best], ids[best + 1]) } else { NONE };
        }
        n as u32
    }

    /// The number of tokens of a piece of any length, in memory of a window's size. A byte is its token, see [`Ids`].
    fn count_long(&self, piece: &[impl Copy + Into<u32>], scratch: &mut MergeScratch) -> u32 {
        if piece.len() <= WINDOW {
            return self.merge_all(piece, scratch, |_| ());
        }
        let mut window = WINDOW;
        loop {
            if let Some(count) = self.count_in_windows(piece, window, scratch) {
                scratch.shrink();
                return count;
            }
            window *= 8;
        }
    }

    /// The same, merged a window at a time; `None` if what a window adds changes more than the window before.
    ///
    /// Tokens in a row are those of their text if each two neighbours are those of theirs: until a merge crosses a
    /// place between two of them, merges within them come in the same order, whatever lies beyond. So the last tokens
    /// are merged again with what follows, and the rest stays if its last token and the first new one are apart.
    pub(super) fn count_in_windows(
        &self,
        piece: &[impl Copy + Into<u32>],
        window: usize,
        scratch: &mut MergeScratch,
    ) -> Option<u32> {
        let (mut before, mut to) = (0, 0);
        scratch.starts.clear();
        while to < piece.len() && !scratch.is_stopped() {
            let next = piece.len().min(to + window);
            let mut again = AGAIN;
            let from = loop {
                let kept = scratch.starts.len().saturating_sub(again);
                if kept == 0 && before > 0 {
                    return None;
                }
                let from = scratch.starts.get(kept).copied().unwrap_or(to);
                self.merge_all(&piece[from..next], scratch, |_| ());
                if kept == 0 || self.is_apart(piece, scratch.starts[kept - 1], from, scratch) {
                    before += kept;
                    break from;
                }
                again *= 4;
            };
            scratch.starts.clear();
            let mut at = 0;
            while at < next - from {
                scratch.starts.push(from + at);
                at = scratch.symbols[at].next as usize;
            }
            to = next;
        }
        Some((before + scratch.starts.len()) as u32)
    }

    /// Whether the token from `left` on and the first of those just merged, from `right` on, are what their text gives.
    fn is_apart(
        &self,
        piece: &[impl Copy + Into<u32>],
        left: usize,
        right: usize,
        scratch: &mut MergeScratch,
    ) -> bool {
        let end = right + scratch.symbols[0].next as usize;
        let merged = std::mem::take(&mut scratch.symbols);
        self.merge_all(&piece[left..end], scratch, |_| ());
        let first = scratch.symbols[0].next as usize;
        let apart = first == right - left && scratch.symbols[first].next as usize == end - left;
        scratch.symbols = merged;
        apart
    }

    /// Merges until nothing can be merged. Tokens are the symbols that are left, from the first on; returns how many.
    /// `each` is given the ranks of the merges, in order.
    fn merge_all(
        &self,
        piece: &[impl Copy + Into<u32>],
        scratch: &mut MergeScratch,
        mut each: impl FnMut(u32),
    ) -> u32 {
        let MergeScratch { symbols, heap, stop, .. } = scratch;
        let len = piece.len() as u32;
        symbols.clear();
        heap.clear();
        symbols.extend(piece.iter().enumerate().map(|(i, &token)| Symbol {
            id: token.into(),
            prev: (i as u32).wrapping_sub(1),
            next: i as u32 + 1,
        }));
        let push = |heap: &mut BinaryHeap<_>, at: u32, a: u32, b: u32| {
            let rank = self.ranks.rank(a, b);
            if rank != NONE {
                heap.push(Reverse((rank as u64) << 32 | at as u64));
            }
        };
        // Filled at once, in linear time.
        let mut first = std::mem::take(heap).into_vec();
        first.extend(symbols.windows(2).enumerate().filter_map(|(i, pair)| {
            let rank = self.ranks.rank(pair[0].id, pair[1].id);
            (rank != NONE).then_some(Reverse((rank as u64) << 32 | i as u64))
        }));
        *heap = BinaryHeap::from(first);
        let (mut count, mut round) = (len, 0_u32);
        while let Some(Reverse(next)) = heap.pop() {
            round = round.wrapping_add(1);
            if round.is_multiple_of(1 << 16) && is_set(stop) {
                break;
            }
            let (rank, at) = ((next >> 32) as u32, next as u32);
            let symbol = symbols[at as usize];
            if symbol.id == NONE || symbol.next == len {
                continue;
            }
            let right = symbols[symbol.next as usize];
            // An entry whose symbols have changed since it was pushed.
            if self.ranks.rank(symbol.id, right.id) != rank {
                continue;
            }
            each(rank);
            let new = self.ranks.made(rank);
            symbols[symbol.next as usize].id = NONE;
            symbols[at as usize] = Symbol { id: new, next: right.next, ..symbol };
            count -= 1;
            if right.next < len {
                symbols[right.next as usize].prev = at;
                push(heap, at, new, symbols[right.next as usize].id);
            }
            if symbol.prev != NONE {
                push(heap, symbol.prev, symbols[symbol.prev as usize].id, new);
            }
        }
        count
    }
}

impl MergeScratch {
    /// Whether counting is to stop: what it comes to then means nothing.
    pub(super) fn is_stopped(&self) -> bool {
        is_set(&self.stop)
    }

    /// Gives back what only a window beyond the usual needed.
    fn shrink(&mut self) {
        const KEPT: usize = 4 * WINDOW;
        if self.symbols.capacity() > KEPT || self.heap.capacity() > KEPT {
            let stop = self.stop.take();
            *self = Self { stop, ..Self::default() };
        }
    }
}

fn is_set(stop: &Option<Arc<AtomicBool>>) -> bool {
    stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
}

/// The tokens of a short piece while it is merged.
pub(super) struct Symbols {
    pub(super) ids: [u32; SHORT],
    /// The rank of the merge of each with the next, or [`NONE`].
    pub(super) ranks: [u32; SHORT],
    pub(super) n: usize,
}

impl Default for Symbols {
    fn default() -> Self {
        Self { ids: [0; SHORT], ranks: [NONE; SHORT], n: 0 }
    }
}

/// By token, the lowest rank of the merges that take it.
pub(super) type FirstUses = HashMap<u32, u32>;

/// A merge, by places in the vocabulary.
struct Merge {
    left: u32,
    right: u32,
    made: u32,
}

/// Merges that are looked up at a time.
const AT_ONCE: usize = 16;

/// The merges of a model whose tokens a text could come to, as `is_of_text` says, and whether there are others.
fn read(
    model: &ModelConfig,
    vocab: &Vocab,
    mut is_of_text: impl FnMut(&str) -> bool,
) -> Result<(Vec<Merge>, bool), String> {
    let (mut list, mut foreign) = (Vec::with_capacity(model.merges.len()), false);
    let mut joined = String::new();
    for some in model.merges.chunks(AT_ONCE) {
        joined.clear();
        let mut tokens = [""; 3 * AT_ONCE];
        for (left, right) in some {
            joined.push_str(&left.0);
            joined.push_str(&right.0);
        }
        let mut rest = joined.as_str();
        for ((left, right), tokens) in some.iter().zip(tokens.as_chunks_mut::<3>().0) {
            let (made, others) = rest.split_at(left.0.len() + right.0.len());
            (*tokens, rest) = ([&left.0, &right.0, made], others);
        }
        let places = vocab.get_many(tokens);
        for (tokens, places) in
            tokens.as_chunks::<3>().0.iter().zip(places.as_chunks::<3>().0).take(some.len())
        {
            let &[Some(left), Some(right), Some(made)] = places else {
                let missing = places.iter().position(Option::is_none).expect("not all are there");
                return Err(format!("the merge token {:?} is not in the vocabulary", tokens[missing]));
            };
            if is_of_text(tokens[2]) {
                list.push(Merge { left, right, made });
            } else {
                foreign = true;
            }
        }
    }
    Ok((list, foreign))
}

/// The ranks of a list of merges, and the numbers of tokens in it.
fn number(list: &[Merge], bytes: &[u32; 256], places: usize) -> (Ranks, Ids) {
    let mut ranks = Ranks::with_capacity(list.len());
    let mut ids = Ids::new(bytes, places, list.len());
    for (rank, merge) in list.iter().enumerate() {
        let (left, right) = (ids.operand(merge.left), ids.operand(merge.right));
        ranks.made.push(ids.made(merge.made, rank));
        ranks.insert(left, right, rank as u32);
    }
    ranks.index_bytes();
    (ranks, ids)
}

/// Numbers tokens so that what a merge makes need not be looked up: a byte's own token is the byte, and what a
/// merge makes for the first time is 256 and the rank of the merge.
struct Ids {
    by_place: Vec<u32>,
    merges: usize,
    others: u32,
}

impl Ids {
    fn new(bytes: &[u32; 256], places: usize, merges: usize) -> Self {
        let mut by_place = vec![NONE; places];
        for (byte, &place) in bytes.iter().enumerate().filter(|(_, place)| **place != NONE) {
            by_place[place as usize] = byte as u32;
        }
        Self { by_place, merges, others: 0 }
    }

    /// The token at a place of the vocabulary, made by a merge or not.
    fn operand(&mut self, place: u32) -> u32 {
        let id = &mut self.by_place[place as usize];
        if *id == NONE {
            *id = 256 + self.merges as u32 + self.others;
            self.others += 1;
        }
        *id
    }

    /// The same, made by the merge of a rank.
    fn made(&mut self, place: u32, rank: usize) -> u32 {
        let id = &mut self.by_place[place as usize];
        if *id == NONE {
            *id = 256 + rank as u32;
        }
        *id
    }
}

const ID_BITS: u32 = 21;
const RANK_BITS: u32 = 22;

/// The ranks of merges by pair: open addressing, at most two thirds full. A slot holds both ids and the rank.
struct Ranks {
    slots: Vec<u64>,
    shift: u32,
    /// The token that the merge of each rank makes.
    made: Vec<u32>,
    /// Whether that is always 256 and the rank.
    in_order: bool,
    /// The rank of the merge of each two bytes, or [`NONE`].
    of_bytes: Box<[u32]>,
}

const EMPTY: u64 = u64::MAX;

impl Ranks {
    fn with_capacity(n: usize) -> Self {
        let bits = (n.max(4) * 3 / 2).next_power_of_two().trailing_zeros();
        Self {
            slots: vec![EMPTY; 1 << bits],
            shift: 64 - bits,
            made: Vec::with_capacity(n),
            in_order: false,
            of_bytes: Box::default(),
        }
    }

    /// When all merges are there.
    fn index_bytes(&mut self) {
        self.in_order = self.made.iter().enumerate().all(|(rank, &id)| id == 256 + rank as u32);
        self.of_bytes = (0..1 << 16).map(|pair| self.rank(pair >> 8, pair & 0xff)).collect();
    }

    #[inline]
    fn made(&self, rank: u32) -> u32 {
        if self.in_order { 256 + rank } else { self.made[rank as usize] }
    }

    #[inline]
    fn rank_of_bytes(&self, a: u8, b: u8) -> u32 {
        self.of_bytes[(a as usize) << 8 | b as usize]
    }

    #[inline]
    fn slot(&self, pair: u64) -> usize {
        (pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    /// A later merge of the same pair replaces the earlier.
    fn insert(&mut self, a: u32, b: u32, rank: u32) {
        let pair = (a as u64) << ID_BITS | b as u64;
        let mut at = self.slot(pair);
        while self.slots[at] != EMPTY && self.slots[at] >> RANK_BITS != pair {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = pair << RANK_BITS | rank as u64;
    }

    /// Has what [`Self::rank`] reads first fetched.
    #[inline]
    fn prefetch(&self, a: u32, b: u32) {
        prefetch(&self.slots[self.slot((a as u64) << ID_BITS | b as u64)]);
    }

    /// The rank of the merge of two tokens, or [`NONE`].
    #[inline]
    fn rank(&self, a: u32, b: u32) -> u32 {
        let pair = (a as u64) << ID_BITS | b as u64;
        let mut at = self.slot(pair);
        loop {
            let slot = self.slots[at];
            if slot == EMPTY {
                return NONE;
            }
            if slot >> RANK_BITS == pair {
                return slot as u32 & ((1 << RANK_BITS) - 1);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
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
