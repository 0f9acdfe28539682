//! What the commands run: each a [`stream`](crate::stream) of records in, and an output that appears as a whole.
//!
//! [`bucket`] sorts a corpus into buckets, [`build`] counts a reference of it, [`lexical`] its n-grams, [`score`] measures
//! responses against a reference. What they write is in [`output`], what became of the records in a [`Tally`].

pub mod bucket;
pub mod build;
pub mod lexical;
mod named;
pub mod output;
pub(crate) mod rejects;
pub mod score;
pub(crate) mod tally;

pub use rejects::Rejects;
pub use tally::Tally;
