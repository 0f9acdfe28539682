//! What a bucketing job may make: its folder, and the reference beside it, which appear together.

use super::job::Job;
use super::reference::ReferenceOutput;
use crate::Result;
use crate::jobs::output::publish::{self, Claim, Kind};
use std::path::{Path, PathBuf};

/// The right to make all outputs of a job.
pub struct Claims {
    /// The reference's file, if one is made.
    pub reference: Option<Claim>,
    /// The folder.
    pub output: Claim,
}

impl Claims {
    /// Claims what the job is to make, with its folder at `output`.
    ///
    /// # Errors
    /// As [`Claim::take`].
    pub fn take(job: &Job, output: &Path) -> Result<Self> {
        let output = Claim::take(output, Kind::Buckets, job.overwrite)?;
        let beside =
            |wanted: &ReferenceOutput| Claim::take_beside(&wanted.path, Kind::File, job.overwrite, &output);
        let reference = job.reference.as_ref().map(beside).transpose()?;
        Ok(Self { reference, output })
    }

    /// In the order in which they appear.
    pub fn each(&self) -> impl Iterator<Item = &Claim> {
        self.reference.iter().chain([&self.output])
    }

    /// Where the job writes.
    pub fn places(&self) -> Vec<PathBuf> {
        self.each().flat_map(|claim| [claim.out().to_path_buf(), claim.partial().to_path_buf()]).collect()
    }

    /// Makes all of it appear.
    ///
    /// # Errors
    /// As [`publish::publish`].
    pub fn publish(&self) -> Result<()> {
        publish::publish(&self.each().collect::<Vec<_>>())
    }
}
