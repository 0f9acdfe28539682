//! Why a record gets no bucket.

use crate::records::record::RejectKind;

/// Why a record gets no bucket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unassigned {
    /// [`RejectKind::Bucket`] but for its language, its track and what is ambiguous.
    pub kind: RejectKind,
    /// What is wrong, in words.
    pub reason: String,
}

impl From<String> for Unassigned {
    fn from(reason: String) -> Self {
        Self { kind: RejectKind::Bucket, reason }
    }
}
