//! What is counted of answers to judge a model by: tokens in common with the humans', n-grams said again, phrases said
//! more often, and sums over groups of rows drawn anew.
//!
//! Answers are cut by [`tokens`]. [`overlap`] compares pairs of them, [`ngrams`] the answers of a set with one another,
//! [`phrases`] those of two sides; [`bootstrap`] draws. All is told by 64-bit hashes of tokens and of n-grams, and counts
//! are whole numbers: the same for any number of threads.
//!
//! What may take long is given a flag, `stop`: once it is set, the result is
//! [`Error::Interrupted`](crate::Error::Interrupted) within moments.

pub mod bootstrap;
pub mod ngrams;
pub mod overlap;
pub mod phrases;
pub mod tokens;
