//! Distances between what humans write and what a model writes.
//!
//! [`histogram`] ([`batch`] for many features at once) and [`samples`] compare one-dimensional
//! distributions, feature by feature; [`support`] places one response against the bands of its
//! bucket; [`embedding`] compares sets of vectors; [`energy`] a set with a population, sample by sample. Inputs are `f32` or `f64`, sums are `f64`, and every result has the same bits for any
//! number of threads: each is worked out by one thread, in one order.

pub mod batch;
pub mod embedding;
pub mod energy;
pub mod histogram;
pub mod samples;
mod simd;
mod sort;
pub mod support;
