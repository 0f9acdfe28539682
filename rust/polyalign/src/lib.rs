//! The engine of polyalign: counting tokens, bucketing interactions, and distances
//! between what humans and models write. Plain Rust, no Python in it.
//!
//! Data flows one way: what [`stream`] reads of files becomes [`records`], whose responses go into [`buckets`] by their
//! length in [`tokens`]; the [`features`] of a response, measured on its [`text`], are what a [`reference`](mod@reference)
//! counts in every bucket and what the [`distance`] of others is taken in; their words, counted, are [`lexical`], and what
//! they say again or have in common with others is counted in [`evaluation`]. [`jobs`] put these together, one for each
//! command. Nothing imports what stands after it in that order: text, tokens, records, buckets, features, distance,
//! classifier, reference, lexical, evaluation, stream, jobs.

pub mod buckets;
pub mod classifier;
pub mod cpu;
pub mod distance;
mod error;
pub mod evaluation;
pub mod features;
mod hash;
pub mod jobs;
pub mod lexical;
pub mod records;
pub mod reference;
pub mod stream;
pub mod text;
pub mod tokens;

pub use error::{Error, Result};
