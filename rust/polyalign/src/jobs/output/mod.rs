//! What jobs write, and what they read of each other's outputs.

pub(crate) mod bucketed;
pub mod publish;
mod reference;
pub mod rows;
pub(crate) mod shards;
