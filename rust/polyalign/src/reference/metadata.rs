//! What a reference's file says of itself, as one line of JSON.

use super::{LanguageModel, Reference, Settings, Variant, validate};
use crate::buckets::BucketSchema;
use crate::error::one_line;
use crate::features::registry::VERSION;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The name of the one entry of the file's metadata.
pub(super) const KEY: &str = "polyalign";
const FORMAT: &str = "polyalign-reference";
const FORMAT_VERSION: u64 = 1;
/// Longest label of a source.
const MAX_SOURCE: usize = 4096;

/// The metadata, read.
pub(super) struct Metadata {
    pub settings: Settings,
    pub sources: BTreeSet<String>,
    pub bucket_ids: Vec<String>,
    /// Of all else in the file.
    pub content_sha256: String,
}

/// One line of JSON, keys sorted: the same reference gives the same bytes.
pub(super) fn write(reference: &Reference, content_sha256: &str) -> String {
    let mut json = content(reference);
    json["content_sha256"] = content_sha256.into();
    json.sort_all_objects();
    json.to_string()
}

/// All that the metadata says, but for the hash of the content.
pub(super) fn content(reference: &Reference) -> Value {
    let Settings { schema, tokenizer, variant, sample_size, keep_thinking, lm } = &reference.settings;
    let schema: Value = serde_json::from_str(&schema.to_json()).unwrap_or_default();
    let names: Vec<&str> = reference.features().iter().map(|feature| feature.name).collect();
    let ids: Vec<&str> = reference.buckets.iter().map(|bucket| bucket.id.as_str()).collect();
    let mut json = json!({
        "buckets": ids,
        "features": names,
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "registry_sha256": reference.settings.registry_sha256(),
        "registry_version": VERSION,
        "sample_size": sample_size,
        "schema": schema,
        "sources": reference.sources,
        "tokenizer_sha256": tokenizer,
        "variant": variant.name(),
    });
    // Only where it is so: a reference without it is one of before.
    if *keep_thinking {
        json["keep_thinking"] = true.into();
    }
    if let Some(lm) = lm {
        json["lm"] = json!(lm);
    }
    json.sort_all_objects();
    json
}

/// Reads and checks the metadata; the error says what is wrong with it.
pub(super) fn read(text: &str) -> Result<Metadata, String> {
    let json: Value = serde_json::from_str(text).map_err(|e| format!("its metadata is no JSON: {e}"))?;
    if json["format"] != FORMAT {
        return Err("it is another kind of file: it has no polyalign reference in it".into());
    }
    match json["format_version"].as_u64() {
        Some(FORMAT_VERSION) => {}
        Some(version) if version > FORMAT_VERSION => {
            return Err(format!(
                "written by a newer polyalign, in format {version}; this one reads {FORMAT_VERSION}: update polyalign"
            ));
        }
        _ => return Err("its `format_version` is no version".into()),
    }
    let text = |key: &str| json[key].as_str().ok_or_else(|| format!("its `{key}` is no text"));
    let variant = text("variant")?;
    let variant = Variant::named(variant).ok_or_else(|| format!("its variant {variant:?} is not known"))?;
    // Written out, as `schema` may hold anything.
    let schema =
        BucketSchema::from_json(&json["schema"].to_string()).map_err(|e| one_line(&e.to_string()))?;
    let tokenizer = match &json["tokenizer_sha256"] {
        Value::Null => None,
        Value::String(sha256) => Some(sha256.clone()),
        _ => return Err("its `tokenizer_sha256` is neither null nor text".into()),
    };
    let sample_size = json["sample_size"].as_u64().and_then(|size| u32::try_from(size).ok());
    let sample_size = sample_size.ok_or("its `sample_size` is no number of rows")?;
    let keep_thinking = match &json["keep_thinking"] {
        Value::Null => false,
        Value::Bool(true) => true,
        _ => return Err("its `keep_thinking` is not true".into()),
    };
    let lm = match &json["lm"] {
        Value::Null => None,
        lm => {
            Some(LanguageModel::deserialize(lm).map_err(|e| format!("its `lm` is no language model: {e}"))?)
        }
    };
    let settings = Settings { schema, tokenizer, variant, sample_size, keep_thinking, lm };
    check_registry(&json, &settings, text("registry_sha256")?)?;
    let settings = validate::check_settings(settings).map_err(|e| e.to_string())?;
    let sources = texts(&json["sources"], "sources")?;
    if !sources.is_sorted_by(|a, b| a < b) || sources.iter().any(|source| source.len() > MAX_SOURCE) {
        return Err("its `sources` are not sorted, or too long".into());
    }
    let bucket_ids = texts(&json["buckets"], "buckets")?;
    let content_sha256 = text("content_sha256")?.to_owned();
    Ok(Metadata { settings, sources: sources.into_iter().collect(), bucket_ids, content_sha256 })
}

fn check_registry(json: &Value, settings: &Settings, sha256: &str) -> Result<(), String> {
    let version = json["registry_version"].as_u64().ok_or("its `registry_version` is no number")?;
    let own = (u64::from(VERSION), settings.registry_sha256());
    if (version, sha256) != own {
        let short = |sha256: &str| sha256.chars().take(12).collect::<String>();
        return Err(format!(
            "its features are those of registry version {version} ({}), this polyalign's of version {} ({}): build it again, or use the polyalign that built it",
            short(sha256),
            own.0,
            short(own.1)
        ));
    }
    let names = texts(&json["features"], "features")?;
    if !names.iter().map(String::as_str).eq(settings.features().iter().map(|feature| feature.name)) {
        return Err("its `features` are not those of its registry".into());
    }
    Ok(())
}

fn texts(json: &Value, what: &str) -> Result<Vec<String>, String> {
    let text = |item: &Value| item.as_str().map(str::to_owned);
    let texts = json.as_array().and_then(|items| items.iter().map(text).collect());
    texts.ok_or_else(|| format!("its `{what}` are no list of texts"))
}
