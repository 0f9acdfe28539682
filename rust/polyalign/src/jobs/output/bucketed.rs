//! Folders that a bucketing job made, among the inputs: what is to be read of them, and what they were made under.

use super::manifest::{BUCKETS, MANIFEST, Manifest};
use super::shards::is_test;
use crate::buckets::{BucketSchema, LengthUnit};
use crate::reference::Reference;
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Inputs with bucketed folders replaced by what is in them, and the schema and tokenizer that these have in common.
#[derive(Debug, Default)]
pub(crate) struct Bucketed {
    pub inputs: Vec<String>,
    pub schema: Option<BucketSchema>,
    pub tokenizer: Option<String>,
    /// Whether reasoning was counted as part of responses.
    pub keep_thinking: bool,
    /// Files of what is held out, and how many rows they have.
    pub held_out: (Vec<PathBuf>, u64),
    first: Option<String>,
}

impl Bucketed {
    /// Looks into the inputs.
    ///
    /// # Errors
    /// A manifest that can't be read, folders of different schemas or tokenizers, and folders without texts where
    /// `needs_texts`.
    pub fn find(inputs: &[String], needs_texts: bool) -> Result<Self> {
        let mut found = Self::default();
        for input in inputs {
            let path = Path::new(input).join(MANIFEST);
            if !path.is_file() {
                found.inputs.push(input.clone());
                continue;
            }
            let bytes = fs::read(&path).map_err(|error| Error::io(&path, error))?;
            found.add(input, &path, &bytes, needs_texts)?;
        }
        Ok(found)
    }

    /// Refuses buckets that a reference means otherwise.
    ///
    /// # Errors
    /// What differs.
    pub fn check_fits(&self, reference: &Reference) -> Result<()> {
        let (Some(schema), Some(first)) = (&self.schema, &self.first) else { return Ok(()) };
        let settings = reference.settings();
        schema.check_fits(reference.schema()).map_err(|error| Error::Input(format!("{first}: {error}")))?;
        if let (Some(ours), Some(theirs)) = (&self.tokenizer, &settings.tokenizer)
            && schema.length_unit == Some(LengthUnit::Tokens)
            && ours != theirs
        {
            return Err(Error::Input(format!(
                "{first}: bucketed by the tokenizer with SHA-256 {ours}, the reference by that with {theirs}: \
                 bucket the records alike, or build the reference of the same corpus"
            )));
        }
        Ok(())
    }

    fn add(&mut self, input: &str, path: &Path, bytes: &[u8], needs_texts: bool) -> Result<()> {
        let refuse = |what: String| Err(Error::Input(format!("{}: {what}", path.display())));
        let manifest: Manifest = match serde_json::from_slice(bytes) {
            Ok(manifest) => manifest,
            Err(error) => return refuse(format!("not a manifest of polyalign bucket: {error}")),
        };
        if manifest.format != BUCKETS {
            return refuse(format!("a manifest of {:?}, not of polyalign bucket", manifest.format));
        }
        if needs_texts && manifest.has_assignments_only() {
            return refuse(
                "written without texts (--assignments-only): bucket the corpus with --reference instead"
                    .into(),
            );
        }
        let schema = BucketSchema::from_json(&manifest.schema.to_string())?;
        let keeps_thinking = manifest.keeps_thinking();
        let tokenizer = manifest.tokenizer.map(|tokenizer| tokenizer.sha256);
        if let (Some(known), Some(first)) = (&self.schema, &self.first) {
            if *known != schema {
                return refuse(format!("bucketed by another schema than {first}"));
            }
            if self.keep_thinking != keeps_thinking {
                return refuse(format!(
                    "bucketed with reasoning kept otherwise than {first} (--keep-thinking)"
                ));
            }
            if self.tokenizer != tokenizer {
                return refuse(format!("bucketed with another tokenizer than {first}"));
            }
        }
        self.first.get_or_insert_with(|| input.to_owned());
        (self.schema, self.tokenizer) = (Some(schema), tokenizer);
        self.keep_thinking |= keeps_thinking;
        for shard in manifest.shards.iter().filter(|shard| is_test(&shard.file)) {
            self.held_out.0.push(Path::new(input).join(&shard.file));
            self.held_out.1 += shard.rows;
        }
        self.inputs.push(Path::new(input).join("data").to_string_lossy().into_owned());
        Ok(())
    }
}
