//! Counting tokens exactly as `tokenizers` 0.23 does, without building ids.

use crate::Result;
use std::path::Path;

/// Counts the tokens of texts under one `tokenizer.json`.
#[derive(Clone)]
pub struct TokenCounter {}

/// Per-thread working memory of a [`TokenCounter`]: caches and buffers.
pub struct Scratch {}

/// Which code counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Byte-level BPE, counted by our own code.
    Fast {
        /// The pre-tokenizer family, e.g. `qwen2`.
        pre_tokenizer: String,
    },
    /// The `tokenizers` crate, and why.
    Tokenizers {
        /// What the fast path does not cover.
        reason: String,
    },
}

impl TokenCounter {
    /// From the bytes of a tokenizer.json.
    pub fn from_json(_json: &[u8]) -> Result<Self> {
        todo!()
    }
    /// From a tokenizer.json file.
    pub fn from_file(_path: &Path) -> Result<Self> {
        todo!()
    }
    /// Which code counts.
    pub fn engine(&self) -> &Engine {
        todo!()
    }
    /// SHA-256 (hex) of the tokenizer's canonical JSON: equal for a path, an object and a hub name.
    pub fn sha256(&self) -> &str {
        todo!()
    }
    /// Fresh working memory for one thread.
    pub fn scratch(&self) -> Scratch {
        todo!()
    }
    /// `len(tokenizer.encode(text, add_special_tokens=False).ids)`, truncation and padding off.
    pub fn count(&self, _text: &str, _scratch: &mut Scratch) -> Result<u32> {
        todo!()
    }
    /// Counts many texts in parallel on the current rayon pool.
    pub fn count_batch(&self, _texts: &[&str]) -> Result<Vec<u32>> {
        todo!()
    }
}
