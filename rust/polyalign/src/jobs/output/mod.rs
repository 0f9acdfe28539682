//! What jobs write, and what they read of each other's outputs.
//!
//! [`publish`] makes an output appear whole or not at all; `manifest` is what a folder says of itself, `bucketed` finds
//! such folders among the inputs, `shards` names their files, and [`rows`] are theirs to look at.

pub(crate) mod bucketed;
pub(crate) mod manifest;
pub mod publish;
pub mod rows;
mod saved;
pub(crate) mod shards;
