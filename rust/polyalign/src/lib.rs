//! The engine of polyalign: counting tokens, bucketing interactions, and distances
//! between what humans and models write. Plain Rust, no Python in it.
//!
//! Data flows one way: [`io`] records → [`buckets`] → [`bucketing`] (the streaming job).
//! [`tokens`] and [`text`] are the leaves; [`features`] of a response are numbers to compare with humans',
//! whose distribution in every bucket is a [`reference`](mod@reference), and [`distance`] has the kernels that compare them.

pub mod bucketing;
pub mod buckets;
pub mod cpu;
pub mod distance;
pub mod error;
pub mod features;
pub mod io;
pub mod publish;
pub mod reference;
pub mod scoring;
pub mod stream;
pub mod text;
pub mod tokens;

pub use error::{Error, Result};
