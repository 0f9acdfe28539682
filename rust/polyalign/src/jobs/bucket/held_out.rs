//! Which rows are held out, told by a hash of what belongs together.

use crate::records::record::Record;
use twox_hash::XxHash3_64;

/// A share of all groups, the same ones of any corpus.
#[derive(Clone, Copy, Debug)]
pub struct HeldOut {
    below: u64,
}

impl HeldOut {
    /// About this share, from 0 to 1.
    pub fn new(share: f64) -> Self {
        Self { below: (share * 2f64.powi(64)) as u64 }
    }

    /// Whether any may be.
    pub fn any(self) -> bool {
        self.below > 0
    }

    /// What a row is held out with, if it is: a hash of its group, else its prompt; without one, its response.
    pub fn key(self, record: &Record<'_>) -> Option<u64> {
        if self.any() { Some(key(record)).filter(|key| *key < self.below) } else { None }
    }
}

/// What rows have in common that stay together: XXH3 of the group, or of each message's role and content, a zero byte
/// after either. Trainers tell the same.
fn key(record: &Record<'_>) -> u64 {
    if let Some(group) = record.group {
        return XxHash3_64::oneshot(group.as_bytes());
    }
    let response = std::slice::from_ref(&record.response);
    let messages = if record.prompt.is_empty() { response } else { record.prompt };
    let mut bytes = Vec::new();
    for text in messages.iter().flat_map(|message| [message.role, message.content]) {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    XxHash3_64::oneshot(&bytes)
}
