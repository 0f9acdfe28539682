//! From what files hold to interactions: JSON and Arrow tables, in whatever shape, as [`Record`](record::Record)s.
//!
//! [`json`] and [`table`] find a record's fields, one per kind of input; `assemble` makes a prompt, a response and labels of
//! them by the rules of its [`shape`], the same for both. What can't be used is a [`Reject`](record::Reject) with a reason.
//! Nothing here opens a file.

mod assemble;
mod decide;
pub(crate) mod fields;
mod forms;
pub mod json;
pub(crate) mod json_column;
pub(crate) mod partition;
pub mod record;
pub(crate) mod roles;
pub mod shape;
pub mod table;
pub mod turns;
pub(crate) mod unify;
pub mod validate;
