//! Jobs over references: building one from a corpus, and scoring responses against one.
//!
//! A [`Meter`] turns responses into rows of feature values; [`build`](build::build) counts those of a bucketed corpus,
//! [`score`](score::score) places those of any records among the humans of their buckets through a [`Scorer`].

mod batch;
pub mod build;
mod join;
mod manifest;
mod meter;
pub mod score;
mod scorer;
mod tally;
mod write;

pub use batch::{Response, Scored, measure_all};
pub use build::{BuildJob, build, count_table, finish};
pub use meter::{Batch, Meter, Values, record_key, response_language};
pub use score::{ScoreJob, ScoreReport, score};
pub use scorer::{Outside, Score, Scorer, Target};
pub use tally::Tally;
