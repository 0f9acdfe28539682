//! Features of a response: what is compared with humans.

pub mod bins;
pub mod paper;
pub mod registry;
