//! What jobs write, and what they read of each other's outputs.

pub(crate) mod bucketed;
pub mod publish;
pub mod rows;
