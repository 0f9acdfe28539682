//! Buckets: `(language, track, family, length_bin)` and the user's own axes.
//!
//! A [`BucketSchema`] says what makes a bucket; a [`Bucketer`] assigns records to the buckets of a
//! [`BucketTable`]; [`ancestors`] are what a bucket with too little data falls back on.

mod backoff;
mod bucketer;
mod detect;
pub mod family;
mod key;
pub mod language;
mod latin;
mod length;
mod prose;
mod schema;
mod table;
mod target;
pub mod track;
mod unassigned;

pub use backoff::{ancestors, drop_order};
pub use bucketer::{Assignment, Bucketer, BucketerScratch};
pub use key::{SEPARATOR, join_parts, normalise_part, split_id, unescape_part};
pub use language::UNDETERMINED;
pub use length::{LengthHistograms, bin};
pub use schema::{
    Axis, BucketSchema, CustomAxis, DEFAULT_EDGES, LengthEdges, LengthUnit, MAX_BUCKETS, SCHEMA_VERSION,
};
pub use table::BucketTable;
pub use target::ALL;
pub use unassigned::Unassigned;
