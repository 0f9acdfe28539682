//! The bucketing job: files in, buckets out; streaming, parallel, resumable, deterministic.
//!
//! [`run`] has its steps, from a [`Job`] to its [`Report`]. A table in memory needs none of them: [`assign_table`].

mod assign;
mod claims;
mod columns;
mod encode;
mod held_out;
mod job;
mod journal;
mod manifest;
mod output;
mod partition;
mod reading;
mod reference;
mod repeats;
mod report;
mod resume;
mod run;
mod seen;
mod stats;
mod table;
mod worker;

pub use crate::stream::input::Skipped;
pub use crate::stream::{Progress, Rejected, Unreadable};
pub use assign::assign_table;
pub use job::Job;
pub use reading::{Met, Reading};
pub use reference::ReferenceOutput;
pub use repeats::{HeldOutRows, Repeat, Repeated};
pub use report::{BucketReport, Report};
pub use run::run;
pub use stats::Quantiles;
pub use worker::Example;
