//! Scoring responses against a reference: those of [files](score), or [many in memory](Scorer::score_all).

mod files;
mod join;
mod memory;
mod together;
mod write;

pub use files::{ScoreJob, ScoreReport, score};
pub use memory::{Response, Scored, measure_all};
