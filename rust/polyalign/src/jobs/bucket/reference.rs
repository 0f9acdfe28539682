//! The reference of what is bucketed, made in the same pass: what is asked for, and what it is counted into.

use crate::Result;
use crate::buckets::Bucketer;
use crate::jobs::build::{BuildJob, build};
use crate::reference::{Builder, Reference, Settings, Variant};
use crate::stream::Progress;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A reference to make beside the output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReferenceOutput {
    /// The file to make.
    pub path: PathBuf,
    /// Where the rows are from, in the user's words.
    pub sources: Vec<String>,
    /// Rows of each bucket kept to calibrate scores with.
    pub sample_size: u32,
}

impl Default for ReferenceOutput {
    fn default() -> Self {
        let Settings { sample_size, .. } = Settings::default();
        Self { path: PathBuf::new(), sources: Vec::new(), sample_size }
    }
}

impl ReferenceOutput {
    /// An empty builder of it.
    pub(super) fn builder(&self, bucketer: &Bucketer, keep_thinking: bool) -> Result<Builder> {
        let builder = Builder::new(Settings {
            schema: bucketer.schema().clone(),
            tokenizer: bucketer.counter().map(|counter| counter.sha256().to_owned()),
            variant: Variant::Default,
            sample_size: self.sample_size,
            keep_thinking,
            lm: None,
        })?;
        self.sources.iter().for_each(|source| builder.add_source(source));
        Ok(builder)
    }

    /// Of an output that was written in several runs: read again.
    pub(super) fn rebuild(&self, output: &Path, threads: usize, progress: &Progress) -> Result<Reference> {
        let job = BuildJob {
            inputs: vec![output.to_string_lossy().into_owned()],
            sources: self.sources.clone(),
            sample_size: self.sample_size,
            threads,
            ..BuildJob::default()
        };
        Ok(build(&job, progress)?.0)
    }
}
