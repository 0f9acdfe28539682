//! Buckets: `(language, track, family, length_bin)` and the user's own axes.

use crate::Result;
use crate::io::record::Record;
use crate::tokens::TokenCounter;

/// The axes, bins, units and language rules. Serialises to JSON and travels in every output.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct BucketSchema {}

/// Distinct buckets in order of first appearance.
#[derive(Clone, Debug, Default)]
pub struct BucketTable {}

impl BucketTable {
    /// Number of distinct buckets.
    pub fn len(&self) -> usize {
        todo!()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The bucket's id: its parts joined by `|`.
    pub fn id(&self, _bucket: u32) -> &str {
        todo!()
    }
    /// The bucket's parts in the schema's axis order.
    pub fn parts(&self, _bucket: u32) -> &[String] {
        todo!()
    }
}

/// What a record is assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Index into the [`BucketTable`].
    pub bucket: u32,
    /// Length of the response (without reasoning) in the schema's unit.
    pub length: u32,
    /// Tokens of the prompt's message contents; `None` without a tokenizer or if not counted.
    pub prompt_tokens: Option<u32>,
    /// Tokens of the response's content; `None` without a tokenizer.
    pub completion_tokens: Option<u32>,
}

/// Per-thread working memory of a [`Bucketer`].
pub struct Scratch {}

/// Assigns records to buckets.
#[derive(Clone)]
pub struct Bucketer {}

impl Bucketer {
    /// `count_prompt`: whether prompts are counted as well as responses.
    pub fn new(_schema: BucketSchema, _counter: Option<TokenCounter>, _count_prompt: bool) -> Result<Self> {
        todo!()
    }
    /// The schema.
    pub fn schema(&self) -> &BucketSchema {
        todo!()
    }
    /// Fresh working memory for one thread.
    pub fn scratch(&self) -> Scratch {
        todo!()
    }
    /// The record's bucket and counts; the error is the reason to reject the record.
    pub fn assign(
        &self,
        _record: &Record<'_>,
        _table: &mut BucketTable,
        _scratch: &mut Scratch,
    ) -> Result<Assignment, String> {
        todo!()
    }
}
