//! Reading records, rejecting what can't be used, writing tables.

mod assemble;
pub mod batches;
pub mod block;
mod fields;
pub mod input;
pub mod json;
pub mod open;
pub mod record;
pub mod rows;
pub mod shape;
pub mod split;
pub mod table;
