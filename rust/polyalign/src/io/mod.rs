//! Reading records, rejecting what can't be used, writing tables.

pub mod json;
pub mod record;
pub mod rows;
pub mod shape;
pub mod table;
