//! Why a record gets no bucket.

/// Why a record gets no bucket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unassigned {
    /// `language`, `track` or `ambiguous`; `bucket` for everything else.
    pub kind: &'static str,
    /// What is wrong, in words.
    pub reason: String,
}

impl From<String> for Unassigned {
    fn from(reason: String) -> Self {
        Self { kind: "bucket", reason }
    }
}
