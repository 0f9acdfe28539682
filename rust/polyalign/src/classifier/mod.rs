//! What tells the texts of people from those of machines, once it is trained: weights of hashed character n-grams, and
//! boosted trees over columns of numbers.
//!
//! Training is scikit-learn's; here is what it trains on and what scores: plain arrays in, numbers out, the same on every
//! processor and for any number of threads.

pub mod ngrams;
pub mod trees;
