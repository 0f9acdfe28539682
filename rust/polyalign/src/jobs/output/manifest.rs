//! `manifest.json`, with which an output folder is whole: what it is, how it came about, and which files it has.
//!
//! A bucketing job writes a [`Manifest`]; whoever reads the folder gets the same type back, as far as any reader needs it.
//! Of a folder of any kind, those that `polyalign pairs` writes among them, a [`Listing`] is what all have in common.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The name of it in the folder.
pub const MANIFEST: &str = "manifest.json";

/// What the manifest of a folder of buckets is of.
pub const BUCKETS: &str = "polyalign buckets";
/// What that of a folder of pairs is of.
pub const PAIRS: &str = "polyalign pairs";
/// What that of a critic is of.
pub const CRITIC: &str = "polyalign critic";

/// What a folder of buckets says of itself.
///
/// `Told` is what it tells people besides; it is written and never read, so that a folder of another version can be used
/// whatever that counted.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest<Told = ()> {
    /// [`BUCKETS`].
    pub format: String,
    /// The layout of the folder; raised when it changes.
    #[serde(default)]
    pub format_version: u32,
    /// What made it.
    #[serde(default)]
    pub polyalign_version: String,
    /// What makes its buckets, with the edges found.
    pub schema: Value,
    /// What was read from the records, with the shape decided.
    #[serde(default)]
    pub fields: Value,
    /// All other settings that the output depends on, as they were given.
    pub settings: Map<String, Value>,
    /// What counted tokens.
    pub tokenizer: Option<Tokenizer>,
    /// What else there is to know.
    #[serde(flatten, skip_deserializing)]
    pub told: Told,
    /// The file of rejected records.
    #[serde(default)]
    pub rejects: Option<ListedFile>,
    /// The files of rows.
    #[serde(default)]
    pub shards: Vec<ListedFile>,
}

impl<Told> Manifest<Told> {
    /// Whether reasoning was counted as part of responses.
    pub fn keeps_thinking(&self) -> bool {
        self.fields.get("keep_thinking") == Some(&Value::Bool(true))
    }

    /// Whether rows are there without their texts.
    pub fn has_assignments_only(&self) -> bool {
        self.settings.get("assignments_only") == Some(&Value::Bool(true))
    }
}

/// The tokenizer that lengths were counted with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tokenizer {
    /// Checksum of its `tokenizer.json`.
    pub sha256: String,
    /// What counted with it, in words.
    #[serde(default)]
    pub engine: String,
}

/// A file of an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    /// Relative to the output folder, with `/` between folders.
    pub file: String,
    /// Rows.
    #[serde(default)]
    pub rows: u64,
    /// Bytes; pairs don't say.
    #[serde(default)]
    pub bytes: u64,
    /// Checksum.
    #[serde(default)]
    pub sha256: String,
}

/// What every folder of ours says: what it is, and which files belong to it.
#[derive(Debug, Deserialize)]
pub struct Listing {
    /// [`BUCKETS`], [`PAIRS`] or [`CRITIC`].
    pub format: String,
    /// The files of rows; a critic's `files` have none.
    #[serde(alias = "files")]
    pub shards: Vec<ListedFile>,
    /// The file of rejected records, if it has one.
    #[serde(default)]
    pub rejects: Option<ListedFile>,
}

impl Listing {
    /// All files but the manifest itself.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.shards.iter().chain(&self.rejects).map(|listed| listed.file.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Told {
        counts: u64,
    }

    fn written() -> Manifest<Told> {
        let listed = |file: &str| ListedFile { file: file.into(), rows: 2, bytes: 3, sha256: "ab".into() };
        Manifest {
            format: BUCKETS.into(),
            format_version: 1,
            polyalign_version: "1".into(),
            schema: serde_json::json!({ "version": 1 }),
            fields: serde_json::json!({ "keep_thinking": true }),
            settings: Map::from_iter([("assignments_only".into(), true.into())]),
            tokenizer: None,
            told: Told { counts: 4 },
            rejects: Some(listed("rejects.jsonl")),
            shards: vec![listed("data/train-00000.parquet")],
        }
    }

    #[test]
    fn what_is_written_is_read_but_for_what_it_tells() {
        let mut json = serde_json::to_value(written()).unwrap();
        let names: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let told = names.iter().position(|name| *name == "counts").unwrap();
        assert_eq!(names[told - 1..], ["tokenizer", "counts", "rejects", "shards"]);
        json["counts"] = "of another version".into();
        let read: Manifest = serde_json::from_value(json.clone()).unwrap();
        assert!(read.keeps_thinking() && read.has_assignments_only());
        assert_eq!(read.shards, written().shards);
        let listing: Listing = serde_json::from_value(json).unwrap();
        assert_eq!(listing.files().collect::<Vec<_>>(), ["data/train-00000.parquet", "rejects.jsonl"]);
    }

    #[test]
    fn pairs_have_shards_alone() {
        let pairs =
            r#"{"format": "polyalign pairs", "shards": [{"file": "data/a", "rows": 1, "sha256": "ab"}]}"#;
        let listing: Listing = serde_json::from_str(pairs).unwrap();
        assert_eq!((listing.format.as_str(), listing.files().count()), (PAIRS, 1));
    }

    #[test]
    fn critics_have_files_without_rows() {
        let critic = r#"{"format": "polyalign critic", "files": [{"file": "tensors.safetensors"}]}"#;
        let listing: Listing = serde_json::from_str(critic).unwrap();
        assert_eq!((listing.format.as_str(), listing.files().count()), (CRITIC, 1));
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = serde_json::from_str::<Manifest>(r#"{"format": "polyalign buckets"}"#).unwrap_err();
        assert!(missing.to_string().contains("missing field `schema`"), "{missing}");
    }
}
