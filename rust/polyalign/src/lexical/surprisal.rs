//! The surprisal of tokens: what is counted of longer n-grams, with what they leave over for shorter ones.
//!
//! From the shortest n-grams to the longest, each step takes a share off what was seen and gives it to the step before:
//! p(w | h) = max(c(h w) − D, 0) / c(h) + D · t(h) / c(h) · p′(w), c(h) being how often the context occurs, t(h) how many
//! different tokens follow it. A context that was never met, or that the table leaves out, is passed over. The first step
//! is a single token in its language; what a word that was never seen gets there goes to its letters, by
//! p(w | h) = (c(h w) + t(h) · p′(w)) / (c(h) + t(h)).

use super::keys::{LONGEST, View, context, gram, spelled};
use super::table::{Counts, Following};

/// Nats that a token costs, at most.
pub(super) const MOST: f64 = 50.0;

/// The share of one occurrence that is taken off.
const DISCOUNT: f64 = 0.75;

/// Of a character that was never seen.
const ANY_CHARACTER: f64 = 1.0 / 65_536.0;

/// p after a step: `count` is that of the token in the context.
#[inline]
pub(super) fn interpolate(p: f64, count: u32, of: Following) -> f64 {
    if of.count == 0 {
        return p;
    }
    let seen = (f64::from(count) - DISCOUNT).max(0.0);
    (seen + DISCOUNT * f64::from(of.types) * p) / f64::from(of.count)
}

/// The surprisal of a probability, in nats.
#[inline]
pub(super) fn nats(p: f64) -> f64 {
    (-libm::log(p)).clamp(0.0, MOST)
}

/// What a token that was never seen is worth, before it shares in what a language's words leave over.
pub(super) fn of_unseen(counts: &impl Counts, language: u64, view: View, lower: &str) -> f64 {
    match view {
        View::Words => libm::exp(-spelling(counts, language, lower).0.min(MOST)),
        View::Spelling | View::Characters => ANY_CHARACTER,
    }
}

/// The surprisal of a word's letters and of its end, and how many these are.
pub(super) fn spelling(counts: &impl Counts, language: u64, lower: &str) -> (f64, u32) {
    let (mut sum, mut characters) = (0.0, 0);
    spelled(lower, |history, token| {
        let mut p = ANY_CHARACTER;
        for order in 1..=LONGEST {
            let context = context(language, true, View::Spelling, history.last(order - 1));
            let Following { count, types } = counts.following(context);
            if count == 0 {
                break;
            }
            let types = f64::from(types);
            p = (f64::from(counts.count(gram(context, token))) + types * p) / (f64::from(count) + types);
        }
        sum -= libm::log(p);
        characters += 1;
    });
    (sum, characters)
}
