//! A BPE model as counting uses it: its merges, where pieces may be cut because no token lies across, and what is known
//! of Chinese beforehand.

use super::boundaries::Boundaries;
use super::cache::{Key, Known};
use super::config::ModelConfig;
use super::han::Han;
use super::merges::{MergeScratch, Merges, SHORT, Symbols};
use super::vocab::Vocab;

/// A BPE model over bytes.
pub(super) struct Model {
    pub(super) merges: Merges,
    /// Where no token spans.
    pub(super) boundaries: Boundaries,
    /// What is known of Han, if it is not too much for tables.
    pub(super) han: Option<Han>,
    pub(super) known: Known,
}

impl Model {
    /// The tables of a model, or why the fast path can't stand for it, as [`Merges::build`].
    pub(super) fn build(model: &ModelConfig, vocab: &Vocab, ignore_merges: bool) -> Result<Self, String> {
        let mut boundaries = Boundaries::new();
        let mut tokens = Vec::with_capacity(model.merges.len());
        let merges = Merges::build(model, vocab, ignore_merges, |token, is_one| {
            boundaries.add(token);
            tokens.extend(Key::of_ascii(token).map(|key| (key, is_one)));
        })?;
        if let Some(lacking) = &merges.lacking {
            boundaries.join_all_with(lacking.bytes());
        }
        let pairs = boundaries.take_pairs();
        let han = pairs.and_then(|pairs| Han::build(&merges, &boundaries, pairs));
        Ok(Self::new(merges, boundaries, han, &tokens))
    }

    /// `tokens` are such as pieces may come to, each with whether its text is known to be one token; of others that is
    /// found out.
    pub(super) fn new(
        merges: Merges,
        boundaries: Boundaries,
        han: Option<Han>,
        tokens: &[(Key, bool)],
    ) -> Self {
        let mut model = Self { merges, boundaries, han, known: Known::build(&[], |_| false) };
        let mut scratch = MergeScratch::default();
        model.known = Known::build(tokens, |token| model.count(token, &mut scratch) == 1);
        model
    }

    /// Whether the pre-token is one token whatever the merges say.
    #[inline]
    pub(super) fn is_whole(&self, piece: &[u8]) -> bool {
        self.merges.is_whole(piece)
    }

    /// The number of tokens of a pre-token, or of a part of it that no token crosses. `is_whole` comes first.
    pub(super) fn count(&self, piece: &[u8], scratch: &mut MergeScratch) -> u32 {
        let bytes = piece.last().is_none_or(u8::is_ascii) || self.merges.is_of_chars();
        let by_characters = !bytes && piece.len() <= 3 * SHORT && self.merges.lacking_in(piece).is_none();
        if let Some(han) = self.han.as_ref().filter(|_| by_characters) {
            let mut symbols = Symbols::default();
            if han.symbols(&self.merges, &self.boundaries, piece, &mut symbols) {
                return self.merges.merge(&mut symbols);
            }
        }
        self.merges.count(piece, scratch)
    }
}
