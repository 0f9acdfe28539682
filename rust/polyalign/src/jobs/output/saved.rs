//! References and lexical counts as files that appear as a whole.

use super::publish::{Claim, Kind, publish};
use crate::Result;
use crate::lexical::Lexical;
use crate::reference::Reference;
use std::fs::Permissions;
use std::path::Path;
use std::{fs, io};

impl Reference {
    /// Writes the file. What was there before is replaced as a whole or, if anything fails, not at all.
    ///
    /// # Errors
    /// A file that can't be written, or that another job is writing.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let claim = Claim::take(path.as_ref(), Kind::File, true)?;
        self.write_to(&claim)?;
        publish(&[&claim])
    }

    /// Writes the file that is claimed, which does not appear yet.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn write_to(&self, claim: &Claim) -> Result<()> {
        write(claim, |path, permissions| self.write(path, permissions))
    }
}

impl Lexical {
    /// Writes the file. What was there before is replaced as a whole or, if anything fails, not at all.
    ///
    /// # Errors
    /// A file that can't be written, or that another job is writing.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let claim = Claim::take(path.as_ref(), Kind::File, true)?;
        write(&claim, |path, permissions| self.write(path, permissions))?;
        publish(&[&claim])
    }
}

/// Writes a file that is claimed.
fn write(claim: &Claim, to: impl FnOnce(&Path, Permissions) -> io::Result<()>) -> Result<()> {
    // The library makes a file that its owner alone may read; this one is to be as any other. And it makes it under
    // a name of its own first.
    let permissions = claim.create()?.metadata().map(|meta| meta.permissions());
    let write = || -> io::Result<()> {
        let path = claim.scratch()?.join("file");
        to(&path, permissions?)?;
        fs::rename(path, claim.work())
    };
    write().map_err(|e| claim.failed(e))
}
