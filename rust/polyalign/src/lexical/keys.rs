//! Keys of n-grams: hashes of a level, of the tokens before, and of a token.
//!
//! A key is, from its high bits: the rank of its kind (3 bits), a hash of its context (34), a hash of its token (27). So in
//! the order of keys the n-grams of one context stand together, and what is to be left out first stands last.

use twox_hash::XxHash3_64;

const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
const TOKEN_BITS: u32 = 27;
const RANK_SHIFT: u32 = 61;

/// The token's bits of a key: in a key of no n-gram, they stand for the context as a whole.
pub(super) const ANY: u64 = (1 << TOKEN_BITS) - 1;

/// The first key that may be left out.
pub(super) const FIRST_SPARE: u64 = 1 << RANK_SHIFT;

/// The end of all keys.
pub(super) const END_OF_KEYS: u64 = 5 << RANK_SHIFT;

/// What n-grams are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// The characters of a word.
    Spelling = 0,
    /// Words and marks.
    Words = 1,
    /// Characters.
    Characters = 2,
}

impl View {
    /// The longest n-grams.
    pub const fn orders(self) -> usize {
        match self {
            Self::Words => 3,
            Self::Spelling | Self::Characters => LONGEST,
        }
    }
}

/// The longest n-grams of all.
pub(super) const LONGEST: usize = 4;

/// The token before the first.
pub(super) const BEGIN: u64 = finish(1);
/// The token after the last.
pub(super) const END: u64 = finish(2);

/// The token of a word in lower case.
pub(super) fn word(lower: &str) -> u64 {
    XxHash3_64::oneshot(lower.as_bytes())
}

/// The token of a character.
#[inline]
pub(super) fn character(c: char) -> u64 {
    finish(0x100 + c as u64)
}

/// The number of a level, by its id with `*` for all values of an axis.
pub(super) fn level(id: &str) -> u64 {
    XxHash3_64::oneshot(id.as_bytes())
}

/// The key of a context as a whole: of all tokens that follow `history` (the oldest first) in a level.
#[inline]
pub(super) fn context(level: u64, is_language: bool, view: View, history: &[u64]) -> u64 {
    let order = history.len() + 1;
    let rank = match (view, order) {
        (View::Spelling, _) | (_, 1) => 0,
        (_, 2) => 2 - u64::from(is_language),
        (_, longer) => longer as u64,
    };
    let kind = (view as u64 * 8 + order as u64).wrapping_mul(MIX);
    let hash =
        history.iter().fold(level ^ kind, |hash, token| (hash.rotate_left(29) ^ token).wrapping_mul(MIX));
    rank << RANK_SHIFT | finish(hash) >> 30 << TOKEN_BITS | ANY
}

/// The key of a token in a context.
#[inline]
pub(super) fn gram(context: u64, token: u64) -> u64 {
    context & !ANY | (token >> (64 - TOKEN_BITS)).min(ANY - 1)
}

/// Spreads what a number says over all its bits.
const fn finish(number: u64) -> u64 {
    let number = (number ^ number >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let number = (number ^ number >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    number ^ number >> 32
}

/// The last tokens, the oldest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct History([u64; LONGEST - 1]);

impl History {
    /// Before the first token.
    pub const fn new() -> Self {
        Self([BEGIN; LONGEST - 1])
    }

    /// The last `count` tokens.
    #[inline]
    pub fn last(&self, count: usize) -> &[u64] {
        &self.0[LONGEST - 1 - count..]
    }

    #[inline]
    pub fn push(&mut self, token: u64) {
        self.0.rotate_left(1);
        self.0[LONGEST - 2] = token;
    }
}

/// The levels that a response is counted in: its bucket, its ancestors, and last its language. A language alone is one.
#[derive(Clone, Debug)]
pub(super) struct Levels(Vec<u64>);

impl Levels {
    /// By the ids, nearest first; at least one.
    pub fn new(ids: &[String]) -> Self {
        Self(ids.iter().map(|id| level(id)).collect())
    }

    pub fn language(&self) -> u64 {
        self.0[self.0.len() - 1]
    }

    /// The bucket, if it is not the language itself.
    fn bucket(&self) -> Option<u64> {
        (self.0.len() > 1).then(|| self.0[0])
    }

    /// The contexts of single tokens, in the order in which they are asked: the language's first, the bucket's last.
    pub fn alone(&self, view: View) -> impl Iterator<Item = u64> {
        let language = self.0.len() - 1;
        (0..self.0.len()).rev().map(move |at| context(self.0[at], at == language, view, &[]))
    }

    /// The contexts of longer n-grams of the next token, with their orders: the language's pairs, the bucket's, the
    /// language's longer ones.
    #[inline]
    pub fn longer(&self, view: View, history: &History) -> Longer {
        let language = |order: usize| context(self.language(), true, view, history.last(order - 1));
        let mut longer = Longer::default();
        longer.push(2, true, language(2));
        if let Some(bucket) = self.bucket() {
            longer.push(2, false, context(bucket, false, view, history.last(1)));
        }
        (3..=view.orders()).for_each(|order| longer.push(order, true, language(order)));
        longer
    }
}

/// A few contexts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Longer {
    all: [Longest; LONGEST],
    len: usize,
}

/// A context of n-grams of two tokens or more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Longest {
    pub order: usize,
    pub is_language: bool,
    pub context: u64,
}

impl Longer {
    #[inline]
    fn push(&mut self, order: usize, is_language: bool, context: u64) {
        self.all[self.len] = Longest { order, is_language, context };
        self.len += 1;
    }

    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &Longest> {
        self.all[..self.len].iter()
    }
}

/// The contexts of a word's characters and of its end, with the tokens, shortest context first.
pub(super) fn spelled(word: &str, mut each: impl FnMut(&History, u64)) {
    let mut history = History::new();
    for token in word.chars().map(character).chain([END]) {
        each(&history, token);
        history.push(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_may_be_left_out_stand_last() {
        let history = [5, 6, 7];
        let rank = |is_language, view, order: usize| {
            context(9, is_language, view, &history[3 - (order - 1)..]) >> RANK_SHIFT
        };
        assert_eq!([1, 2, 3, 4].map(|order| rank(true, View::Spelling, order)), [0; 4]);
        assert_eq!([1, 2].map(|order| rank(false, View::Words, order)), [0, 2]);
        assert_eq!([1, 2, 3].map(|order| rank(true, View::Words, order)), [0, 1, 3]);
        assert_eq!([1, 2, 3, 4].map(|order| rank(true, View::Characters, order)), [0, 1, 3, 4]);
    }

    #[test]
    fn a_gram_is_of_its_context_and_is_never_the_context() {
        let context = context(9, true, View::Words, &[7]);
        for token in [0, 1, 1 << 36, word("a"), character('我'), u64::MAX] {
            let key = gram(context, token);
            assert_eq!(key | ANY, context);
            assert_ne!(key, context);
        }
        assert_ne!(gram(context, word("a")), gram(context, word("b")));
    }

    #[test]
    fn history_matters_in_order() {
        let of = |history: &[u64]| context(1, true, View::Words, history);
        let all = [of(&[]), of(&[1]), of(&[2]), of(&[1, 2]), of(&[2, 1]), of(&[1, 1])];
        assert!(all.iter().enumerate().all(|(at, one)| !all[..at].contains(one)));
    }
}
