//! Features of a response: what is compared with humans.

pub mod paper;
