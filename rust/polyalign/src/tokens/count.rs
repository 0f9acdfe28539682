//! The hot loop: from text to pre-tokens, from pre-tokens to pieces, from pieces to counts.
//!
//! Masks tell where pre-tokens start. Within them, characters that have a number ([`codes`](super::codes)) are cut
//! where no token spans the two, and those that come to lie alone or in pairs are counted from tables at once; other
//! pieces wait to be looked up ([`pieces`](super::pieces)). If 好的 is a token, and no other spans two of these
//! characters:
//!
//! ```text
//! text          好 的 ， ok
//! coded         1..1..1.....     characters that have a number
//! starts        1.....1....1     of pre-tokens, 好的|，ok, and the end
//! second        ...1..1.....     coded & coded << 3: with one before them
//! one           ...1........     of those, with which the two are one token
//! cuts          ......1..1..     second, but for what a token spans; and ASCII that no token joins with what is before
//! ends          1.....1..1.1     starts | cuts
//! lone          ......1.....     coded & ends & ends >> 3: ， is one token
//! pair          1...........     coded & ends & !(ends >> 3) & ends >> 6: 好的 is one
//! ```
//!
//! `ok` is left, and waits.

use super::codes::NO_CODE;
use super::han::Han;
use super::model::Model;
use super::pieces::{CountScratch, Pieces};
use super::pretokens::{
    BLOCK, Family, MOST_CODED, Machine, Piece, Portable, WINDOW, Wide, below, starts, stops, with_machine,
};
use super::unicode::{TABLE, decode, is_continuation};

/// What the loop reads.
#[derive(Clone, Copy)]
pub(super) struct Counting<'a> {
    pub(super) family: Family,
    pub(super) model: &'a Model,
}

/// The pre-token and the piece of it that the loop is in: they begin before, or at, where the loop is.
#[derive(Clone, Copy)]
struct Open {
    pre_token: usize,
    from: usize,
    /// Whether the loop is within the pre-token, at a Han character. As far as the masks can tell, what follows
    /// starts where it would if a pre-token started here.
    inside: bool,
    /// The number of the character before, if that is of three bytes too.
    left: u32,
}

impl Open {
    fn at(from: usize) -> Self {
        Self { pre_token: from, from, inside: false, left: NO_CODE }
    }
}

/// What is certain of a block.
struct Step {
    /// Tokens counted at once; other pieces wait.
    tokens: u32,
    bytes: usize,
}

/// Where the pieces of a block begin, and what is known of characters and pairs of three bytes.
pub(super) struct Cuts {
    pub(super) all: u64,
    /// The second characters of pairs of which it is known that the two alone are one token, or two.
    one: u64,
    two: u64,
    /// Characters of three bytes that are not simply one token.
    special: u64,
}

/// Whether masks may know the first character.
#[inline(always)]
fn may_begin_block<M: Machine>(_: M, text: &[u8]) -> bool {
    match text[0] {
        0..0x80 => true,
        0xe4..=0xe9 | 0xe2 | 0xef => M::WIDE,
        0xe3 => M::WIDE && text[1] == 0x80,
        _ => false,
    }
}

impl Counting<'_> {
    /// The number of tokens of a text below 2 GiB that holds no added tokens and needs no normalising.
    pub(super) fn count(self, text: &[u8], scratch: &mut CountScratch) -> u32 {
        let mut count = 0;
        self.count_each(text, &[(0, text.len())], std::slice::from_mut(&mut count), scratch);
        count
    }

    /// The same of several, which lie at some places in `text`, in order. Their pieces are looked up together: those of a
    /// short text alone would hardly overlap. What is read behind a text must be blanks, see [`Joined`](super::pieces::Joined).
    pub(super) fn count_each(
        self,
        text: &[u8],
        places: &[(usize, usize)],
        counts: &mut [u32],
        scratch: &mut CountScratch,
    ) {
        with_machine!(machine => self.each_family(machine, text, places, counts, scratch))
    }

    /// The number of tokens of a text's pre-tokens, which are known. If `cuts_characters`, they may begin or end within
    /// a character.
    pub(super) fn count_found(
        self,
        text: &[u8],
        found: &[Piece],
        cuts_characters: bool,
        scratch: &mut CountScratch,
    ) -> u32 {
        let mut count = 0;
        for &(from, to) in found {
            let (from, to) = (from as usize, to as usize);
            if scratch.pieces.is_full() {
                count += self.drain(Portable, text, scratch);
            }
            let piece = &text[from..to];
            if piece.is_ascii() {
                scratch.pieces.add_if(true, from, to - from, true);
            } else if cuts_characters && std::str::from_utf8(piece).is_err() {
                let whole = self.model.is_whole(piece);
                count += if whole { 1 } else { self.model.merges.count(piece, &mut scratch.merging) };
            } else {
                count += self.pre_token(Portable, text, Open::at(from), from, to, scratch);
            }
        }
        count + self.drain(Portable, text, scratch)
    }

    /// One copy of the loop for each family.
    #[inline(always)]
    fn each_family(
        self,
        machine: impl Machine,
        text: &[u8],
        places: &[(usize, usize)],
        counts: &mut [u32],
        scratch: &mut CountScratch,
    ) {
        match self.family {
            Family::Gpt2 => self.run(Family::Gpt2, machine, text, places, counts, scratch),
            Family::Gpt2Digits => self.run(Family::Gpt2Digits, machine, text, places, counts, scratch),
            Family::Cl100k => self.run(Family::Cl100k, machine, text, places, counts, scratch),
            Family::Qwen2 => self.run(Family::Qwen2, machine, text, places, counts, scratch),
            Family::Qwen35 => self.run(Family::Qwen35, machine, text, places, counts, scratch),
            Family::O200k => self.run(Family::O200k, machine, text, places, counts, scratch),
            Family::Tekken => self.run(Family::Tekken, machine, text, places, counts, scratch),
            Family::Kimi => self.run(Family::Kimi, machine, text, places, counts, scratch),
            Family::DeepSeek => self.run(Family::DeepSeek, machine, text, places, counts, scratch),
        }
    }

    #[inline(always)]
    fn run(
        self,
        family: Family,
        machine: impl Machine,
        text: &[u8],
        places: &[(usize, usize)],
        counts: &mut [u32],
        scratch: &mut CountScratch,
    ) {
        let Some((last, others)) = counts.split_last_mut() else { return };
        for (i, &(from, to)) in places.iter().enumerate() {
            if i > 0 {
                scratch.end_text(*last);
            }
            *last = self.find(family, machine, text, from, to, scratch);
        }
        *last += self.drain(machine, text, scratch);
        scratch.take_ended(others);
    }

    /// Finds the pieces of a text; the tokens of those that do not wait.
    #[inline(always)]
    fn find(
        self,
        family: Family,
        machine: impl Machine,
        text: &[u8],
        from: usize,
        to: usize,
        scratch: &mut CountScratch,
    ) -> u32 {
        let table = &*TABLE;
        let (mut count, mut at, mut open) = (0, from, Open::at(from));
        while at < to {
            if scratch.pieces.is_full() {
                count += self.drain(machine, text, scratch);
            }
            if may_begin_block(machine, &text[at..to])
                && let Some(step) = self.block(family, machine, text, at, to, &mut open, &mut scratch.pieces)
            {
                count += step.tokens;
                at += step.bytes;
                continue;
            }
            let end = family.next(&text[..to], table, open.pre_token);
            count += self.pre_token(machine, text, open, at, end, scratch);
            (at, open) = (end, Open::at(end));
        }
        count
    }

    /// Counts the pieces that wait; the tokens of those of a text that has not ended. One copy of the look-ups for each
    /// machine.
    #[inline(never)]
    pub(super) fn drain<M: Machine>(self, machine: M, text: &[u8], scratch: &mut CountScratch) -> u32 {
        machine.run(
            #[inline(always)]
            || scratch.count_pieces(machine, self.model, text),
        )
    }

    /// Finds the pieces that are certain of a block; `None` if no pre-token is.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn block<M: Machine>(
        self,
        family: Family,
        machine: M,
        text: &[u8],
        at: usize,
        to: usize,
        open: &mut Open,
        pieces: &mut Pieces,
    ) -> Option<Step> {
        let mut tail = [b' '; WINDOW];
        let window = text[at..].first_chunk::<WINDOW>().unwrap_or_else(|| {
            tail[..to - at].copy_from_slice(&text[at..to]);
            &tail
        });
        let block = window.first_chunk::<BLOCK>().expect("a window is longer than a block");
        let masks = machine.masks(block);
        let (len, end) = ((to - at).min(BLOCK), to - at <= BLOCK);
        if M::WIDE && masks.wide != 0 {
            let wide = machine.wide(&masks, window);
            return self.wide(family, machine, &wide, window, at, len, end, open, pieces);
        }
        let bytes = pieces.add_whole(machine, at, starts(family, &masks, block, len, end)?);
        *open = Open::at(at + bytes);
        (bytes > 0).then_some(Step { tokens: 0, bytes })
    }

    /// A block with Han or other characters beyond ASCII.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn wide(
        self,
        family: Family,
        machine: impl Machine,
        wide: &Wide,
        window: &[u8; WINDOW],
        at: usize,
        len: usize,
        end: bool,
        open: &mut Open,
        pieces: &mut Pieces,
    ) -> Option<Step> {
        let han = self.model.han.as_ref()?;
        let chars = (wide.leads & below(len)).count_ones() as usize;
        // Apostrophes stop the masks, and slashes after newlines are taken for granted.
        let found = starts(family, &wide.masks, &[b'/'; BLOCK], chars, end)?;
        let starts = machine.spread(found, wide.leads);
        let stop = machine.spread(stops(family, &wide.masks), wide.leads);
        let known = (stop.trailing_zeros() as usize).min(len);
        let resumable = wide.han & below(known);
        let last = 63 - (starts | resumable | 1).leading_zeros() as usize;
        if last == 0 {
            return None;
        }
        let inside = starts >> last & 1 == 0;
        let starts = starts & !(open.inside as u64);
        let codes = machine.codes(window);
        let cuts = self.cuts(machine, han, wide, &codes, window, open.left, known)?;
        let ends = (starts | cuts.all) & below(last) | (!inside as u64) << last;
        let left = if inside && wide.coded << 3 >> last & 1 != 0 { codes[last - 3] as u32 } else { NO_CODE };
        let mut tokens = 0;
        if ends != 0 {
            let (first, top) = (ends.trailing_zeros() as usize, 63 - ends.leading_zeros() as usize);
            let whole = open.from == open.pre_token && starts >> first & 1 != 0;
            pieces.add_if(at + first > open.from, open.from, at + first - open.from, whole);
            tokens = wide_pieces(han, wide, &cuts, ends, starts, &codes, at, pieces);
            open.from = at + top;
        }
        let started = starts & (below(last) | (!inside as u64) << last);
        if started != 0 {
            open.pre_token = at + 63 - started.leading_zeros() as usize;
        }
        (open.inside, open.left) = (inside, left);
        Some(Step { tokens, bytes: last })
    }

    /// Where no token spans; `None` if a character is not for tables. `left` comes before the block.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    pub(super) fn cuts(
        self,
        machine: impl Machine,
        han: &Han,
        wide: &Wide,
        codes: &[u16; BLOCK],
        window: &[u8; WINDOW],
        mut left: u32,
        known: usize,
    ) -> Option<Cuts> {
        let end = if left == NO_CODE { None } else { Some(left) };
        let places = wide.coded & below(known);
        // Only where the character before is of three bytes too.
        let second = places & (wide.coded << 3 | (left != NO_CODE) as u64);
        let mut flags = [u32::MAX; MOST_CODED];
        let (mut bits, mut special) = (places, 0);
        // Eight at a time, so that the number of rounds is easy to predict: those beyond the last are not read.
        for (round, flags) in flags.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            for (i, flags) in flags.iter_mut().enumerate() {
                let right = codes[bits.trailing_zeros() as usize & (BLOCK - 1)];
                bits &= bits.wrapping_sub(1);
                special |= ((han.of(right) != Han::SIMPLE) as u64) << (8 * round + i);
                *flags = han.pairs.find(left, right as u32);
                left = right as u32;
            }
            if bits == 0 {
                break;
            }
        }
        let [joined, one, odd] = machine.found(&flags).map(|found| machine.spread(found, places));
        let special = machine.spread(special, places);
        let mut cut = second & !joined;
        let mut bits = special;
        while bits != 0 {
            let at = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let of = han.of(codes[at & (BLOCK - 1)]);
            if of & Han::ODD != 0 {
                return None;
            }
            if of & Han::JOINED != 0 {
                let end = if at > 0 { Some(window[at - 1] as u32) } else { end };
                let (right, _) = decode(window, at);
                let joined = end.is_some_and(|end| self.model.boundaries.begins_within(end, right));
                cut &= !((joined as u64) << at);
            }
        }
        if han.leads {
            let mut bits = cut;
            while bits != 0 {
                let at = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let end = if at > 0 { Some(window[at - 1] as u32) } else { end };
                let joined = end.is_some_and(|end| self.model.boundaries.lead_joined(end as u8, window[at]));
                cut &= !((joined as u64) << at);
            }
        }
        let mut bits = wide.coded << 3 & wide.ascii & below(known);
        while bits != 0 {
            let at = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let (left, _) = decode(window, at - 3);
            cut |= (!self.model.boundaries.spanned(left, window[at] as u32) as u64) << at;
        }
        let known = second & joined & !odd;
        Some(Cuts { all: cut, one: known & one, two: known & !one, special })
    }

    /// Finds the pieces of a pre-token of any characters, from `start` on, where the open piece begins or goes on.
    #[inline(always)]
    fn pre_token(
        self,
        machine: impl Machine,
        text: &[u8],
        open: Open,
        start: usize,
        to: usize,
        scratch: &mut CountScratch,
    ) -> u32 {
        let (mut from, mut count) = (open.from, 0);
        let before =
            if open.inside { text[..start].iter().rposition(|&b| !is_continuation(b)) } else { None };
        let (mut left, len) = decode(text, before.unwrap_or(start));
        let mut at = before.unwrap_or(start) + len;
        while at < to {
            if scratch.pieces.is_full() {
                count += self.drain(machine, text, scratch);
            }
            let (right, len) = decode(text, at);
            let apart = !self.model.boundaries.spanned(left, right);
            scratch.pieces.add_if(apart, from, at - from, false);
            from = if apart { at } else { from };
            (left, at) = (right, at + len);
        }
        scratch.pieces.add_if(true, from, to - from, from == open.pre_token);
        count
    }
}

/// Counts lone characters and pairs between `ends`; other pieces wait.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) fn wide_pieces(
    han: &Han,
    wide: &Wide,
    cuts: &Cuts,
    ends: u64,
    starts: u64,
    codes: &[u16; BLOCK],
    at: usize,
    pieces: &mut Pieces,
) -> u32 {
    let first = wide.coded & ends;
    let lone = first & ends >> 3;
    let pair = first & !(ends >> 3) & ends >> 6;
    let [one, two] = [pair & cuts.one >> 3, pair & cuts.two >> 3];
    let mut count = lone.count_ones() + one.count_ones() + 2 * two.count_ones();
    let mut bits = lone & cuts.special;
    while bits != 0 {
        let of = han.of(codes[bits.trailing_zeros() as usize & (BLOCK - 1)]);
        count += (of & Han::COUNT) as u32 - 1;
        bits &= bits - 1;
    }
    let mut bits = ends & !lone & !one & !two & !(1 << (63 - ends.leading_zeros()));
    while bits != 0 {
        let from = bits.trailing_zeros() as usize;
        bits &= bits - 1;
        let to = (ends & u64::MAX << 1 << from).trailing_zeros() as usize;
        let is_whole = starts >> from & starts >> to & 1 != 0;
        pieces.add_if(true, at + from, to - from, is_whole);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::super::config::File;
    use super::super::pieces::Joined;
    use super::super::vocab::Vocab;
    use super::*;
    #[cfg(target_arch = "x86_64")]
    use crate::cpu::{Avx2, Avx512Vbmi2};
    use crate::cpu::{Level, at_most};
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    use serde_json::{Value, json};

    const FAMILIES: [Family; 9] = [
        Family::Gpt2,
        Family::Gpt2Digits,
        Family::Cl100k,
        Family::Qwen2,
        Family::Qwen35,
        Family::O200k,
        Family::Tekken,
        Family::Kimi,
        Family::DeepSeek,
    ];

    /// Bytes as a byte-level vocabulary spells them.
    fn spell(bytes: &[u8]) -> String {
        let mut spare = 0x100;
        let chars: Vec<char> = (0..=255u8)
            .map(|b| match b {
                b'!'..=b'~' | 0xa1..=0xac | 0xae.. => b as char,
                _ => {
                    spare += 1;
                    char::from_u32(spare - 1).unwrap()
                }
            })
            .collect();
        bytes.iter().map(|&b| chars[b as usize]).collect()
    }

    /// A model that merges each of some words from its first byte on.
    fn model() -> String {
        let words = "the he  the   ing ll 12 123 ... \n\n \n 你好 好吗 天气 很好， ，我 我们 们去 。” 是的 龥a a龥 的a ——  。\n é";
        let words = words.split(' ').map(str::as_bytes).chain([
            &b" the"[..],
            b" a",
            b"  ",
            "气很".as_bytes(),
            &[0xa5, 0xe4],
        ]);
        let mut vocab = serde_json::Map::new();
        for byte in 0..=255u8 {
            vocab.insert(spell(&[byte]), byte.into());
        }
        let mut merges: Vec<Value> = Vec::new();
        for word in words {
            for len in 2..=word.len() {
                merges.push(json!([spell(&word[..len - 1]), spell(&word[len - 1..len])]));
                let id = vocab.len();
                vocab.entry(spell(&word[..len])).or_insert(id.into());
            }
        }
        // No merges make these.
        for whole in ["吧", "公园", "hello"] {
            vocab.insert(spell(whole.as_bytes()), vocab.len().into());
        }
        json!({"added_tokens": [], "model": {"type": "BPE", "vocab": vocab, "merges": merges}}).to_string()
    }

    fn texts() -> impl Strategy<Value = String> {
        let words = "the| the|a|A|aB|ing|hello|HELLO|'s|'ll|'|12|1234|  |   |\n|\n\n|\r\n| \n|\t|/|.|...|\u{1}|\u{7f}|\
             你|好|吗|天气|很好|，|我们|我们去|公园|吧|。|”|“|——|……|是的|龥|龦|鿿|〇|一|\u{3000}|！|A|1|・|か|カナ|é|Ω|ſ|’|😀|\u{301}|\u{2028}|㐀|𠮷|가";
        let word = proptest::sample::select(words.split('|').collect::<Vec<_>>());
        let some = proptest::collection::vec((word, 1..5usize), 0..60);
        let mixed = some.prop_map(|v| v.into_iter().map(|(w, n)| w.repeat(n)).collect::<String>());
        let han = "你好吗天气很我们去公园吧是的龥一，。！”— \na1";
        let han = proptest::sample::select(han.chars().collect::<Vec<_>>());
        let han = (han, prop_oneof![3 => Just(1), 1 => 1..9usize]);
        let dense = proptest::collection::vec(han, 0..200)
            .prop_map(|v| v.into_iter().flat_map(|(c, n)| std::iter::repeat_n(c, n)).collect::<String>())
            .boxed();
        let cut = (dense.clone(), 60..70usize)
            .prop_map(|(text, len)| text[..text.floor_char_boundary(len)].to_owned());
        prop_oneof![3 => mixed, 2 => dense, 2 => cut, 1 => any::<String>()]
    }

    /// Pre-token by pre-token, without masks, cuts or caches.
    fn plainly(counting: Counting, text: &[u8], scratch: &mut CountScratch) -> u32 {
        let (mut at, mut count) = (0, 0);
        while at < text.len() {
            let to = counting.family.next(text, &TABLE, at);
            let piece = &text[at..to];
            count += if counting.model.is_whole(piece) {
                1
            } else {
                counting.model.count(piece, &mut scratch.merging)
            };
            at = to;
        }
        count
    }

    #[test]
    fn any_processor_counts_the_same() {
        let json = model();
        let file = File::parse(json.as_bytes()).unwrap();
        let vocab = Vocab::new(&file.model).unwrap();
        let cases = std::env::var("POLYALIGN_LONG").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
        for ignore_merges in [false, true] {
            let model = Model::build(&file.model, &vocab, ignore_merges).unwrap();
            for family in FAMILIES {
                let counting = Counting { family, model: &model };
                let scratches = std::cell::RefCell::new([CountScratch::default(), CountScratch::default()]);
                let config = Config { cases, failure_persistence: None, ..Config::default() };
                let agree = |text: String| {
                    let [here, portable] = &mut *scratches.borrow_mut();
                    let plain = plainly(counting, text.as_bytes(), here);
                    prop_assert_eq!(counting.count(text.as_bytes(), here), plain, "{:?}", family);
                    prop_assert_eq!(
                        at_most(Level::Portable, || counting.count(text.as_bytes(), portable)),
                        plain,
                        "{:?}",
                        family
                    );
                    Ok(())
                };
                TestRunner::new(config).run(&texts(), agree).unwrap();
            }
        }
    }

    #[test]
    fn texts_count_together_as_alone() {
        let json = model();
        let file = File::parse(json.as_bytes()).unwrap();
        let vocab = Vocab::new(&file.model).unwrap();
        let model = Model::build(&file.model, &vocab, true).unwrap();
        for family in FAMILIES {
            let counting = Counting { family, model: &model };
            let scratches = std::cell::RefCell::new([CountScratch::default(), CountScratch::default()]);
            let config = Config { cases: 50, failure_persistence: None, ..Config::default() };
            let agree = |texts: Vec<String>| {
                let [alone, together] = &mut *scratches.borrow_mut();
                let expected: Vec<u32> =
                    texts.iter().map(|text| plainly(counting, text.as_bytes(), alone)).collect();
                let mut joined = Joined::default();
                texts.iter().for_each(|text| joined.push(text));
                let (bytes, places) = (joined.text.as_bytes(), &joined.places);
                let mut counts = vec![0; texts.len()];
                counting.count_each(bytes, places, &mut counts, together);
                prop_assert_eq!(&counts, &expected, "{:?}", family);
                at_most(Level::Portable, || counting.count_each(bytes, places, &mut counts, together));
                prop_assert_eq!(&counts, &expected, "{:?}", family);
                Ok(())
            };
            TestRunner::new(config).run(&proptest::collection::vec(texts(), 1..40), agree).unwrap();
        }
    }

    /// Characters that random models merge, some of which share bytes.
    const CHARS: [&str; 5] = ["你", "佡", "好", "。", "a"];

    /// Random merges: those that make a character, and any of two neighbouring stretches of a text; sometimes not in
    /// the order in which they were drawn.
    fn merges() -> impl Strategy<Value = Vec<[Vec<u8>; 2]>> {
        let character = (0..CHARS.len()).prop_map(|i| {
            let bytes = CHARS[i].as_bytes();
            (1..bytes.len()).map(|at| [bytes[..at].to_vec(), bytes[at..at + 1].to_vec()]).collect::<Vec<_>>()
        });
        let len = proptest::sample::select(vec![1, 1, 2, 3, 3, 3, 6]);
        let from = proptest::sample::select(vec![0, 0, 1, 2]);
        let text = proptest::collection::vec(0..CHARS.len(), 5);
        let other = (text, from, len.clone(), len).prop_map(|(text, from, left, right)| {
            let text: Vec<u8> = text.iter().flat_map(|&i| CHARS[i].bytes()).collect();
            let stretches = text.get(from..from + left).zip(text.get(from + left..from + left + right));
            stretches.map(|(left, right)| [left.to_vec(), right.to_vec()]).into_iter().collect()
        });
        let drawn = proptest::collection::vec(prop_oneof![character, other], 0..16);
        let keys = prop_oneof![3 => Just(vec![0u8; 64]), 1 => proptest::collection::vec(0..4u8, 64)];
        (drawn, keys).prop_map(|(drawn, keys)| {
            let merges = drawn.concat();
            let mut order: Vec<usize> = (0..merges.len()).collect();
            order.sort_by_key(|&i| keys[i]);
            order.into_iter().map(|i| merges[i].clone()).collect()
        })
    }

    fn model_of(merges: &[[Vec<u8>; 2]]) -> String {
        let mut vocab: serde_json::Map<String, Value> =
            (0..=255u8).map(|byte| (spell(&[byte]), byte.into())).collect();
        for token in merges.iter().flat_map(|[a, b]| [a.clone(), b.clone(), [&a[..], b].concat()]) {
            let id = vocab.len();
            vocab.entry(spell(&token)).or_insert(id.into());
        }
        let merges: Vec<Value> = merges.iter().map(|[a, b]| json!([spell(a), spell(b)])).collect();
        json!({"added_tokens": [], "model": {"type": "BPE", "vocab": vocab, "merges": merges}}).to_string()
    }

    /// The tokens of a pre-token, merge by merge.
    fn merge_slowly(merges: &[[Vec<u8>; 2]], piece: &[u8]) -> u32 {
        let mut tokens: Vec<Vec<u8>> = piece.iter().map(|&byte| vec![byte]).collect();
        let rank = |pair: &[Vec<u8>]| merges.iter().rposition(|merge| merge == pair);
        while let Some((_, at)) =
            (1..tokens.len()).filter_map(|at| Some((rank(&tokens[at - 1..=at])?, at))).min()
        {
            let right = tokens.remove(at);
            tokens[at - 1].extend(right);
        }
        tokens.len() as u32
    }

    #[test]
    fn any_model_counts_as_its_merges_say() {
        let chars = proptest::sample::select(CHARS.to_vec());
        let text = proptest::collection::vec((chars, 1..3usize), 0..60)
            .prop_map(|v| v.into_iter().map(|(c, n)| c.repeat(n)).collect::<String>());
        let cases = std::env::var("POLYALIGN_LONG").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let agree = |(merges, texts, ignore_merges): (Vec<[Vec<u8>; 2]>, Vec<String>, bool)| {
            let json = model_of(&merges);
            let file = File::parse(json.as_bytes()).unwrap();
            let vocab = Vocab::new(&file.model).unwrap();
            let model = Model::build(&file.model, &vocab, ignore_merges).unwrap();
            let in_windows = |piece: &[u8], window: usize, scratch: &mut CountScratch| {
                let mut sizes = (0..).map(|growth| window << growth);
                sizes
                    .find_map(|size| model.merges.count_in_windows(piece, size, &mut scratch.merging))
                    .unwrap()
            };
            let counting = Counting { family: Family::Qwen2, model: &model };
            let (mut here, mut portable) = (CountScratch::default(), CountScratch::default());
            for text in texts {
                let text = text.as_bytes();
                let (mut at, mut slow) = (0, 0);
                while at < text.len() {
                    let to = counting.family.next(text, &TABLE, at);
                    let whole = ignore_merges && vocab.get(&spell(&text[at..to])).is_some();
                    let merged = merge_slowly(&merges, &text[at..to]);
                    for window in [1, 7, 24, 60] {
                        prop_assert_eq!(in_windows(&text[at..to], window, &mut here), merged, "{}", window);
                    }
                    slow += if whole { 1 } else { merged };
                    at = to;
                }
                prop_assert_eq!(counting.count(text, &mut here), slow);
                prop_assert_eq!(at_most(Level::Portable, || counting.count(text, &mut portable)), slow);
            }
            Ok(())
        };
        let cases_of = (merges(), proptest::collection::vec(text, 1..20), any::<bool>());
        TestRunner::new(config).run(&cases_of, agree).unwrap();
    }

    #[test]
    fn masks_of_any_processor_are_the_same() {
        #[cfg(target_arch = "x86_64")]
        if let Some(machine) = Avx2::get() {
            for shift in 0..=u8::MAX {
                let block = std::array::from_fn(|i| (i as u8).wrapping_add(shift));
                assert_eq!(machine.masks(&block), Portable.masks(&block));
            }
        }
    }

    /// A row of bits in an opening comment.
    #[cfg(target_arch = "x86_64")]
    fn row(source: &str, name: &str) -> u64 {
        let row =
            source.lines().find_map(|line| line.strip_prefix("//! ")?.strip_prefix(name)?.strip_prefix("  "));
        let bits = row.unwrap().trim().split("  ").next().unwrap();
        bits.bytes().enumerate().fold(0, |mask, (i, byte)| mask | u64::from(byte == b'1') << i)
    }

    #[cfg(target_arch = "x86_64")]
    fn comments_hold(machine: impl Machine) {
        let characters = ["好", "的", "，"].map(str::as_bytes);
        let pair = |left: &[u8], right: &[u8]| [left.to_vec(), right.to_vec()];
        let of_bytes = characters.iter().flat_map(|c| [pair(&c[..1], &c[1..2]), pair(&c[..2], &c[2..])]);
        let merges: Vec<_> = of_bytes.chain([pair(characters[0], characters[1])]).collect();
        let json = model_of(&merges);
        let file = File::parse(json.as_bytes()).unwrap();
        let model = Model::build(&file.model, &Vocab::new(&file.model).unwrap(), false).unwrap();
        let counting = Counting { family: Family::Cl100k, model: &model };

        let (text, len) = ("好的，ok", 11);
        let mut window = [b' '; WINDOW];
        window[..len].copy_from_slice(text.as_bytes());
        let wide = machine.wide(&machine.masks(window.first_chunk().unwrap()), &window);
        let in_wide = |name| row(include_str!("pretokens/wide.rs"), name);
        assert_eq!(in_wide("leads"), wide.leads & below(len));
        assert_eq!(in_wide("han"), wide.han);
        assert_eq!(in_wide("punctuation"), wide.coded & !wide.han);
        assert_eq!(in_wide("gathered"), wide.masks.han);
        let found = starts(Family::Cl100k, &wide.masks, &[b'/'; BLOCK], 5, true).unwrap();
        assert_eq!(in_wide("found"), found & below(5));
        let starts = machine.spread(found, wide.leads);
        assert_eq!(in_wide("starts"), starts & below(len));

        let here = |name| row(include_str!("count.rs"), name);
        assert_eq!((here("coded"), here("starts")), (wide.coded, starts));
        let codes = machine.codes(&window);
        let han = model.han.as_ref().unwrap();
        let cuts = counting.cuts(machine, han, &wide, &codes, &window, NO_CODE, len).unwrap();
        assert_eq!(here("second"), wide.coded & wide.coded << 3);
        assert_eq!((here("one"), here("cuts"), cuts.two), (cuts.one, cuts.all, 0));
        let ends = starts | cuts.all;
        assert_eq!(here("ends"), ends);
        assert_eq!(here("lone"), wide.coded & ends & ends >> 3);
        assert_eq!(here("pair"), wide.coded & ends & !(ends >> 3) & ends >> 6);

        // 好的 and ， are counted at once; ok, of two tokens, waits.
        let (mut open, mut scratch) = (Open::at(0), CountScratch::default());
        let step = counting.block(
            Family::Cl100k,
            machine,
            text.as_bytes(),
            0,
            text.len(),
            &mut open,
            &mut scratch.pieces,
        );
        assert_eq!(step.map(|step| (step.tokens, step.bytes)), Some((2, len)));
        assert_eq!(scratch.count_pieces(Portable, &model, text.as_bytes()), 2);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_opening_comments_hold() {
        if let Some(machine) = Avx2::get() {
            comments_hold(machine);
        }
        if let Some(machine) = Avx512Vbmi2::get() {
            comments_hold(machine);
        }
    }
}
