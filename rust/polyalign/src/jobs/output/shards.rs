//! What the files of a bucketed folder are called.

/// Where shards with the rows that train are, and those that are held out: a folder is put before it.
pub const TRAIN: &str = "train";
/// See [`TRAIN`].
pub const TEST: &str = "test";

/// The file of rejected records.
pub const REJECTS: &str = "rejects.jsonl";

/// Whether a file of an output, named with `/` between folders, holds what is held out.
pub fn is_test(file: &str) -> bool {
    file.rsplit('/').next().and_then(|name| name.strip_prefix(TEST)).is_some_and(|rest| rest.starts_with('-'))
}
