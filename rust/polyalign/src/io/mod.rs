//! Reading records, rejecting what can't be used, writing tables.

mod assemble;
pub mod batches;
pub mod block;
mod fields;
mod foreign;
mod forms;
pub mod input;
pub mod ipc;
pub mod json;
mod json_column;
pub mod open;
pub mod partition;
pub mod record;
pub(crate) mod roles;
pub mod rows;
pub mod shape;
pub mod split;
pub mod table;
pub mod turns;
pub(crate) mod unify;
pub mod validate;
mod zones;
